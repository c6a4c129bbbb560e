/*
 * jwt.c
 *		Whether a JSON web token is ours and in force.
 *
 * A key is of one algorithm: the token's own word for it only picks among our keys and
 * is never followed beyond that, so a public key cannot be taken for a secret.  The
 * signature is checked before a byte of the payload is parsed.
 */
#include "jwt.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/param_build.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "log.h"
#include "text.h"

#define TOKEN_LIMIT 8192

/* The longest signature understood: RSA with 8192 bits. */
#define SIGNATURE_LIMIT 1024

/* Fewer bits than this are no key any more. */
#define RSA_BITS_LEAST 2048
#define SECRET_LEAST 32

/* Clocks of two machines differ. */
#define LEEWAY_SECONDS 30

typedef enum JwtAlgorithm
{
	JWT_HS256,
	JWT_RS256,
	JWT_ES256,
	JWT_EDDSA,
	JWT_ALGORITHM_COUNT
} JwtAlgorithm;

static const char *const algorithm_names[JWT_ALGORITHM_COUNT] = {"HS256", "RS256",
																 "ES256", "EdDSA"};

typedef struct JwtKey
{
	JwtAlgorithm algorithm;
	char *id; /* "" where it has none */
	unsigned char *secret;
	size_t secret_length;
	EVP_PKEY *public;
} JwtKey;

struct JwtKeys
{
	JwtKey *keys;
	int count;
};

static int
base64url_value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '-' ? 62 : c == '_' ? 63 : -1;
}

/*
 * Decodes unpadded base64url; the length, or -1 where it is not exactly that.
 * Bits left over must be zero: one signature has one spelling.
 */
static long
decode_base64url(const char *text, size_t length, unsigned char *bytes)
{
	unsigned int bits = 0;
	int held = 0;
	long used = 0;

	for (size_t i = 0; i < length; i++)
	{
		int value = base64url_value(text[i]);

		if (value < 0)
			return -1;
		bits = (bits << 6) | value;
		held += 6;
		if (held >= 8)
		{
			held -= 8;
			bytes[used++] = (bits >> held) & 0xff;
		}
	}
	if (held >= 6 || (bits & ((1u << held) - 1)) != 0)
		return -1;
	return used;
}

static json_t *
decode_object(const char *text, size_t length)
{
	unsigned char *bytes = memory_new(length + 1);
	long used = decode_base64url(text, length, bytes);
	json_t *object = NULL;

	if (used > 0)
		object = json_loadb((char *) bytes, used, JSON_REJECT_DUPLICATES, NULL);
	free(bytes);
	if (object && !json_is_object(object))
	{
		json_decref(object);
		object = NULL;
	}
	return object;
}

/* --- keys ------------------------------------------------------------------------ */

static JwtKey *
add_key(JwtKeys *keys, JwtAlgorithm algorithm, const char *id)
{
	JwtKey *key;

	keys->keys = memory_resize(keys->keys, (keys->count + 1) * sizeof(JwtKey));
	key = &keys->keys[keys->count++];
	memset(key, 0, sizeof(*key));
	key->algorithm = algorithm;
	key->id = text_copy(id ? id : "");
	return key;
}

/* A member of a key in base64url; the caller frees.  NULL where it is not there. */
static unsigned char *
key_member(const json_t *key, const char *name, size_t *length)
{
	const char *text = json_string_value(json_object_get(key, name));
	unsigned char *bytes;
	long used;

	if (text == NULL)
		return NULL;
	bytes = memory_new(strlen(text) + 1);
	used = decode_base64url(text, strlen(text), bytes);
	if (used <= 0)
	{
		free(bytes);
		return NULL;
	}
	*length = used;
	return bytes;
}

static EVP_PKEY *
key_from_parameters(const char *type, OSSL_PARAM_BLD *builder)
{
	OSSL_PARAM *parameters = OSSL_PARAM_BLD_to_param(builder);
	EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
	EVP_PKEY *key = NULL;

	if (parameters && context && EVP_PKEY_fromdata_init(context) == 1)
		EVP_PKEY_fromdata(context, &key, EVP_PKEY_PUBLIC_KEY, parameters);
	EVP_PKEY_CTX_free(context);
	OSSL_PARAM_free(parameters);
	return key;
}

static const char *
read_rsa(JwtKey *key, const json_t *given)
{
	size_t modulus_length = 0;
	size_t exponent_length = 0;
	unsigned char *modulus = key_member(given, "n", &modulus_length);
	unsigned char *exponent = key_member(given, "e", &exponent_length);
	OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
	BIGNUM *n = modulus ? BN_bin2bn(modulus, (int) modulus_length, NULL) : NULL;
	BIGNUM *e = exponent ? BN_bin2bn(exponent, (int) exponent_length, NULL) : NULL;

	if (n && e && OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_N, n) &&
		OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_E, e))
		key->public = key_from_parameters("RSA", builder);
	BN_free(n);
	BN_free(e);
	OSSL_PARAM_BLD_free(builder);
	free(modulus);
	free(exponent);
	if (key->public && EVP_PKEY_get_bits(key->public) < RSA_BITS_LEAST)
		return "an RSA key of fewer than 2048 bits";
	return key->public ? NULL : "no RSA key in \"n\" and \"e\"";
}

static const char *
read_ec(JwtKey *key, const json_t *given)
{
	const char *curve = json_string_value(json_object_get(given, "crv"));
	size_t x_length = 0;
	size_t y_length = 0;
	unsigned char *x = key_member(given, "x", &x_length);
	unsigned char *y = key_member(given, "y", &y_length);
	unsigned char point[65] = {4};
	OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();

	if (curve && strcmp(curve, "P-256") == 0 && x && y && x_length == 32 &&
		y_length == 32)
	{
		memcpy(point + 1, x, 32);
		memcpy(point + 33, y, 32);
		OSSL_PARAM_BLD_push_utf8_string(builder, OSSL_PKEY_PARAM_GROUP_NAME, "prime256v1",
										0);
		OSSL_PARAM_BLD_push_octet_string(builder, OSSL_PKEY_PARAM_PUB_KEY, point,
										 sizeof(point));
		key->public = key_from_parameters("EC", builder);
	}
	OSSL_PARAM_BLD_free(builder);
	free(x);
	free(y);
	return key->public ? NULL : "no point of curve P-256 in \"x\" and \"y\"";
}

static const char *
read_ed25519(JwtKey *key, const json_t *given)
{
	const char *curve = json_string_value(json_object_get(given, "crv"));
	size_t length = 0;
	unsigned char *x = key_member(given, "x", &length);

	if (curve && strcmp(curve, "Ed25519") == 0 && x && length == 32)
		key->public = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, x, length);
	free(x);
	return key->public ? NULL : "no Ed25519 key in \"x\"";
}

static const char *
read_secret(JwtKey *key, const json_t *given)
{
	key->secret = key_member(given, "k", &key->secret_length);
	if (key->secret == NULL || key->secret_length < SECRET_LEAST)
		return "no secret of 32 bytes or more in \"k\"";
	return NULL;
}

static const struct
{
	const char *type;
	JwtAlgorithm algorithm;
	const char *(*read)(JwtKey *key, const json_t *given);
} key_types[] = {
	{"oct", JWT_HS256, read_secret},
	{"RSA", JWT_RS256, read_rsa},
	{"EC", JWT_ES256, read_ec},
	{"OKP", JWT_EDDSA, read_ed25519},
};

/* Adds one key of the set; what is wrong with it, or NULL. */
static const char *
read_key(JwtKeys *keys, const json_t *given)
{
	const char *type = json_string_value(json_object_get(given, "kty"));
	const char *algorithm = json_string_value(json_object_get(given, "alg"));
	const char *use = json_string_value(json_object_get(given, "use"));

	if (use && strcmp(use, "sig") != 0)
		return NULL; /* for encryption: not ours to use */
	for (size_t i = 0; type && i < sizeof(key_types) / sizeof(key_types[0]); i++)
	{
		if (strcmp(key_types[i].type, type) != 0)
			continue;
		if (algorithm && strcmp(algorithm, algorithm_names[key_types[i].algorithm]) != 0)
			return "an algorithm other than HS256, RS256, ES256 and EdDSA";
		return key_types[i].read(add_key(keys, key_types[i].algorithm,
										 json_string_value(
											 json_object_get(given, "kid"))),
								 given);
	}
	return "a type other than oct, RSA, EC and OKP";
}

static bool
read_key_set(JwtKeys *keys, const char *file)
{
	json_error_t error;
	json_t *set = json_load_file(file, JSON_REJECT_DUPLICATES, &error);
	const json_t *list = json_object_get(set, "keys");
	const json_t *given;
	const char *wrong = NULL;
	size_t index;

	if (!json_is_array(list))
	{
		log_error("FACTORYD_JWKS_FILE \"%s\" is not a JSON web key set%s%s", file,
				  set ? "" : ": ", set ? "" : error.text);
		log_hint(
			"It looks like {\"keys\": [{\"kty\": \"RSA\", \"n\": ..., \"e\": ...}]}.");
		json_decref(set);
		return false;
	}
	json_array_foreach(list, index, given)
	{
		wrong = read_key(keys, given);
		if (wrong == NULL)
			continue;
		log_error("key %zu of FACTORYD_JWKS_FILE \"%s\" has %s", index + 1, file, wrong);
		break;
	}
	json_decref(set);
	ERR_clear_error();
	return wrong == NULL;
}

JwtKeys *
jwt_keys_open(const char *secret, const char *jwks_file)
{
	JwtKeys *keys = memory_new(sizeof(JwtKeys));

	if (*secret)
	{
		JwtKey *key = add_key(keys, JWT_HS256, "");

		key->secret = (unsigned char *) text_copy(secret);
		key->secret_length = strlen(secret);
	}
	if (*jwks_file && !read_key_set(keys, jwks_file))
	{
		jwt_keys_close(keys);
		return NULL;
	}
	return keys;
}

void
jwt_keys_close(JwtKeys *keys)
{
	for (int i = 0; i < keys->count; i++)
	{
		free(keys->keys[i].id);
		if (keys->keys[i].secret)
			OPENSSL_cleanse(keys->keys[i].secret, keys->keys[i].secret_length);
		free(keys->keys[i].secret);
		EVP_PKEY_free(keys->keys[i].public);
	}
	free(keys->keys);
	free(keys);
}

int
jwt_keys_count(const JwtKeys *keys)
{
	return keys->count;
}

/* --- signatures -------------------------------------------------------------------- */

typedef struct Signed
{
	const unsigned char *text;
	size_t length;
	const unsigned char *signature;
	size_t signature_length;
} Signed;

static bool
hmac_fits(const JwtKey *key, const Signed *what)
{
	unsigned char ours[EVP_MAX_MD_SIZE];
	unsigned int length = 0;

	return what->signature_length == 32 &&
		   HMAC(EVP_sha256(), key->secret, (int) key->secret_length, what->text,
				what->length, ours, &length) != NULL &&
		   length == 32 && CRYPTO_memcmp(what->signature, ours, 32) == 0;
}

static bool
public_key_fits(const JwtKey *key, const EVP_MD *digest, const unsigned char *signature,
				size_t signature_length, const Signed *what)
{
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	bool fits = context &&
				EVP_DigestVerifyInit(context, NULL, digest, NULL, key->public) == 1 &&
				EVP_DigestVerify(context, signature, signature_length, what->text,
								 what->length) == 1;

	EVP_MD_CTX_free(context);
	ERR_clear_error();
	return fits;
}

/* A token has r and s side by side, 32 bytes each; OpenSSL wants them in DER. */
static bool
ecdsa_fits(const JwtKey *key, const Signed *what)
{
	ECDSA_SIG *signature;
	unsigned char der[80];
	unsigned char *end = der;
	int length;

	if (what->signature_length != 64)
		return false;
	signature = ECDSA_SIG_new();
	ECDSA_SIG_set0(signature, BN_bin2bn(what->signature, 32, NULL),
				   BN_bin2bn(what->signature + 32, 32, NULL));
	length = i2d_ECDSA_SIG(signature, &end);
	ECDSA_SIG_free(signature);
	return length > 0 && public_key_fits(key, EVP_sha256(), der, length, what);
}

static bool
signature_fits(const JwtKey *key, const Signed *what)
{
	switch (key->algorithm)
	{
		case JWT_HS256:
			return hmac_fits(key, what);
		case JWT_RS256:
			return public_key_fits(key, EVP_sha256(), what->signature,
								   what->signature_length, what);
		case JWT_ES256:
			return ecdsa_fits(key, what);
		default:
			return public_key_fits(key, NULL, what->signature, what->signature_length,
								   what);
	}
}

/* --- tokens -------------------------------------------------------------------------- */

/* Reads which algorithm and, in *id (the caller frees), which key. */
static JwtVerdict
read_header(const char *text, size_t length, JwtAlgorithm *algorithm, char **id)
{
	json_t *header = decode_object(text, length);
	const char *name = json_string_value(json_object_get(header, "alg"));
	const char *key = json_string_value(json_object_get(header, "kid"));
	JwtVerdict verdict = JWT_WRONG_ALGORITHM;

	*id = NULL;
	if (header == NULL || json_object_get(header, "crit"))
		verdict = JWT_MALFORMED;
	for (int i = 0; name && verdict == JWT_WRONG_ALGORITHM && i < JWT_ALGORITHM_COUNT;
		 i++)
	{
		if (strcmp(name, algorithm_names[i]) != 0)
			continue;
		*algorithm = (JwtAlgorithm) i;
		*id = key ? text_copy(key) : NULL;
		verdict = JWT_GOOD;
	}
	json_decref(header);
	return verdict;
}

/* A key without an id may have signed any token, a token without one be of any key. */
static JwtVerdict
check_signature(const JwtKeys *keys, JwtAlgorithm algorithm, const char *id,
				const Signed *what)
{
	JwtVerdict verdict = JWT_NO_SUCH_KEY;

	for (int i = 0; i < keys->count; i++)
	{
		const JwtKey *key = &keys->keys[i];

		if (key->algorithm != algorithm)
			continue;
		if (id && key->id[0] && strcmp(key->id, id) != 0)
			continue;
		if (signature_fits(key, what))
			return JWT_GOOD;
		verdict = JWT_WRONG_SIGNATURE;
	}
	return verdict;
}

/* A point in time claimed; false where it is no number. */
static bool
claimed_time(const json_t *claims, const char *name, double fallback, double *seconds)
{
	const json_t *claim = json_object_get(claims, name);

	*seconds = claim ? json_number_value(claim) : fallback;
	return claim == NULL || json_is_number(claim);
}

JwtVerdict
jwt_check_times(const json_t *claims)
{
	double now = (double) time(NULL);
	double expires;
	double begins;
	double issued;

	if (!claimed_time(claims, "exp", now + LEEWAY_SECONDS + 1, &expires) ||
		!claimed_time(claims, "nbf", now, &begins) ||
		!claimed_time(claims, "iat", now, &issued))
		return JWT_MALFORMED;
	if (expires + LEEWAY_SECONDS <= now)
		return JWT_EXPIRED;
	if (begins > now + LEEWAY_SECONDS || issued > now + LEEWAY_SECONDS)
		return JWT_NOT_YET_VALID;
	return JWT_GOOD;
}

static JwtVerdict
verify_parts(const char *token, const char *payload, const char *signature,
			 const JwtKeys *keys)
{
	unsigned char bytes[SIGNATURE_LIMIT + 3];
	JwtAlgorithm algorithm = JWT_HS256;
	Signed what = {(const unsigned char *) token, signature - token, bytes, 0};
	JwtVerdict verdict;
	char *id;
	long length;

	verdict = read_header(token, payload - token, &algorithm, &id);
	if (verdict == JWT_GOOD)
	{
		verdict = JWT_WRONG_SIGNATURE;
		length = strlen(signature + 1) > SIGNATURE_LIMIT * 4 / 3
					 ? -1
					 : decode_base64url(signature + 1, strlen(signature + 1), bytes);
		what.signature_length = length > 0 ? length : 0;
		if (length > 0)
			verdict = check_signature(keys, algorithm, id, &what);
	}
	free(id);
	return verdict;
}

JwtVerdict
jwt_verify(const char *token, const JwtKeys *keys, json_t **claims)
{
	const char *payload = strchr(token, '.');
	const char *signature = payload ? strchr(payload + 1, '.') : NULL;
	JwtVerdict verdict;

	*claims = NULL;
	if (signature == NULL || strlen(token) > TOKEN_LIMIT)
		return JWT_MALFORMED;
	verdict = verify_parts(token, payload, signature, keys);
	if (verdict != JWT_GOOD)
		return verdict;
	*claims = decode_object(payload + 1, signature - payload - 1);
	if (*claims == NULL)
		return JWT_MALFORMED;
	verdict = jwt_check_times(*claims);
	if (verdict != JWT_GOOD)
	{
		json_decref(*claims);
		*claims = NULL;
	}
	return verdict;
}

const char *
jwt_explain(JwtVerdict verdict)
{
	static const char *const sentences[JWT_VERDICT_COUNT] = {
		[JWT_GOOD] = "The token is good.",
		[JWT_MALFORMED] = "The bearer token is not a JSON web token.",
		[JWT_WRONG_ALGORITHM] =
			"The token is not signed with HS256, RS256, ES256 or EdDSA.",
		[JWT_WRONG_SIGNATURE] = "The token's signature is not ours.",
		[JWT_NO_SUCH_KEY] = "None of our keys can have signed the token.",
		[JWT_WRONG_AUDIENCE] = "The token is meant for, or issued by, somebody else.",
		[JWT_EXPIRED] = "The token has expired.",
		[JWT_NOT_YET_VALID] = "The token is not valid yet.",
	};

	return sentences[verdict];
}
