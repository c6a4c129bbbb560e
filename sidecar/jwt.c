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
#include <openssl/rsa.h>
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

typedef enum JwtFamily
{
	FAMILY_SECRET,
	FAMILY_RSA,
	FAMILY_RSA_PSS,
	FAMILY_EC,
	FAMILY_ED25519
} JwtFamily;

/* Of several for one type of key the first is meant where the key names none. */
typedef struct JwtAlgorithm
{
	const char *name;
	const char *type; /* "kty" of its keys */
	JwtFamily family;
	const char *digest;   /* NULL: the family's own */
	const char *curve;    /* "crv" of its keys; NULL for any */
	const char *group;    /* what OpenSSL calls that */
	int coordinate_bytes; /* of a point of it */
} JwtAlgorithm;

#define COORDINATE_MOST 66

static const JwtAlgorithm algorithms[] = {
	{"HS256", "oct", FAMILY_SECRET, "SHA256", NULL, NULL, 0},
	{"HS384", "oct", FAMILY_SECRET, "SHA384", NULL, NULL, 0},
	{"HS512", "oct", FAMILY_SECRET, "SHA512", NULL, NULL, 0},
	{"RS256", "RSA", FAMILY_RSA, "SHA256", NULL, NULL, 0},
	{"RS384", "RSA", FAMILY_RSA, "SHA384", NULL, NULL, 0},
	{"RS512", "RSA", FAMILY_RSA, "SHA512", NULL, NULL, 0},
	{"PS256", "RSA", FAMILY_RSA_PSS, "SHA256", NULL, NULL, 0},
	{"PS384", "RSA", FAMILY_RSA_PSS, "SHA384", NULL, NULL, 0},
	{"PS512", "RSA", FAMILY_RSA_PSS, "SHA512", NULL, NULL, 0},
	{"ES256", "EC", FAMILY_EC, "SHA256", "P-256", "prime256v1", 32},
	{"ES384", "EC", FAMILY_EC, "SHA384", "P-384", "secp384r1", 48},
	{"ES512", "EC", FAMILY_EC, "SHA512", "P-521", "secp521r1", COORDINATE_MOST},
	{"EdDSA", "OKP", FAMILY_ED25519, NULL, "Ed25519", NULL, 0},
};

#define ALGORITHM_COUNT (sizeof(algorithms) / sizeof(algorithms[0]))

typedef struct JwtKey
{
	const JwtAlgorithm *algorithm;
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
add_key(JwtKeys *keys, const JwtAlgorithm *algorithm, const char *id)
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

/* The x and y of a point, as long as the curve's are. */
static bool
read_point(const JwtKey *key, const json_t *given, unsigned char *point)
{
	size_t bytes = key->algorithm->coordinate_bytes;
	size_t x_length = 0;
	size_t y_length = 0;
	unsigned char *x = key_member(given, "x", &x_length);
	unsigned char *y = key_member(given, "y", &y_length);
	bool fits = x && y && x_length == bytes && y_length == bytes;

	if (fits)
	{
		memcpy(point, x, bytes);
		memcpy(point + bytes, y, bytes);
	}
	free(x);
	free(y);
	return fits;
}

static const char *
read_ec(JwtKey *key, const json_t *given)
{
	unsigned char point[1 + 2 * COORDINATE_MOST] = {4};
	OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();

	if (read_point(key, given, point + 1))
	{
		OSSL_PARAM_BLD_push_utf8_string(builder, OSSL_PKEY_PARAM_GROUP_NAME,
										key->algorithm->group, 0);
		OSSL_PARAM_BLD_push_octet_string(builder, OSSL_PKEY_PARAM_PUB_KEY, point,
										 1 + 2 * key->algorithm->coordinate_bytes);
		key->public = key_from_parameters("EC", builder);
	}
	OSSL_PARAM_BLD_free(builder);
	return key->public ? NULL : "no point of its curve in \"x\" and \"y\"";
}

static const char *
read_ed25519(JwtKey *key, const json_t *given)
{
	size_t length = 0;
	unsigned char *x = key_member(given, "x", &length);

	if (x && length == 32)
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

static const char *(*const key_readers[])(JwtKey *key, const json_t *given) = {
	[FAMILY_SECRET] = read_secret,   [FAMILY_RSA] = read_rsa,
	[FAMILY_RSA_PSS] = read_rsa,     [FAMILY_EC] = read_ec,
	[FAMILY_ED25519] = read_ed25519,
};

/* The algorithm of a key: the one it names, else the one of its type and curve. */
static const char *
algorithm_of_key(const json_t *given, const JwtAlgorithm **algorithm)
{
	const char *type = json_string_value(json_object_get(given, "kty"));
	const char *name = json_string_value(json_object_get(given, "alg"));
	const char *curve = json_string_value(json_object_get(given, "crv"));
	const char *wrong = "a type other than oct, RSA, EC and OKP";

	for (size_t i = 0; type && i < ALGORITHM_COUNT; i++)
	{
		const JwtAlgorithm *known = &algorithms[i];

		if (strcmp(known->type, type) != 0)
			continue;
		wrong = "an algorithm that is not understood or not of its type";
		if (name && strcmp(known->name, name) != 0)
			continue;
		wrong = "a curve that is not understood or not of its algorithm";
		if (known->curve && (!curve || strcmp(known->curve, curve) != 0))
			continue;
		*algorithm = known;
		return NULL;
	}
	return wrong;
}

/* Adds one key of the set; what is wrong with it, or NULL. */
static const char *
read_key(JwtKeys *keys, const json_t *given)
{
	const char *id = json_string_value(json_object_get(given, "kid"));
	const char *use = json_string_value(json_object_get(given, "use"));
	const JwtAlgorithm *algorithm = NULL;
	const char *wrong;

	if (use && strcmp(use, "sig") != 0)
		return NULL; /* for encryption: not ours to use */
	wrong = algorithm_of_key(given, &algorithm);
	return wrong ? wrong
				 : key_readers[algorithm->family](add_key(keys, algorithm, id), given);
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
		JwtKey *key = add_key(keys, &algorithms[0], "");

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
	const EVP_MD *digest = EVP_get_digestbyname(key->algorithm->digest);
	unsigned char ours[EVP_MAX_MD_SIZE];
	unsigned int length = 0;

	return HMAC(digest, key->secret, (int) key->secret_length, what->text, what->length,
				ours, &length) != NULL &&
		   what->signature_length == length &&
		   CRYPTO_memcmp(what->signature, ours, length) == 0;
}

/* PSS as JSON web tokens have it: a salt as long as the digest. */
static bool
set_padding(const JwtKey *key, EVP_PKEY_CTX *parameters)
{
	return key->algorithm->family != FAMILY_RSA_PSS ||
		   (EVP_PKEY_CTX_set_rsa_padding(parameters, RSA_PKCS1_PSS_PADDING) == 1 &&
			EVP_PKEY_CTX_set_rsa_pss_saltlen(parameters, RSA_PSS_SALTLEN_DIGEST) == 1);
}

static bool
public_key_fits(const JwtKey *key, const unsigned char *signature,
				size_t signature_length, const Signed *what)
{
	const char *name = key->algorithm->digest;
	const EVP_MD *digest = name ? EVP_get_digestbyname(name) : NULL;
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	EVP_PKEY_CTX *parameters = NULL;
	bool fits =
		context &&
		EVP_DigestVerifyInit(context, &parameters, digest, NULL, key->public) == 1 &&
		set_padding(key, parameters) &&
		EVP_DigestVerify(context, signature, signature_length, what->text,
						 what->length) == 1;

	EVP_MD_CTX_free(context);
	ERR_clear_error();
	return fits;
}

/* A token has r and s side by side; OpenSSL wants them in DER. */
static bool
ecdsa_fits(const JwtKey *key, const Signed *what)
{
	int bytes = key->algorithm->coordinate_bytes;
	ECDSA_SIG *signature;
	unsigned char der[2 * COORDINATE_MOST + 16];
	unsigned char *end = der;
	int length;

	if (what->signature_length != 2 * (size_t) bytes)
		return false;
	signature = ECDSA_SIG_new();
	ECDSA_SIG_set0(signature, BN_bin2bn(what->signature, bytes, NULL),
				   BN_bin2bn(what->signature + bytes, bytes, NULL));
	length = i2d_ECDSA_SIG(signature, &end);
	ECDSA_SIG_free(signature);
	return length > 0 && public_key_fits(key, der, length, what);
}

static bool
signature_fits(const JwtKey *key, const Signed *what)
{
	switch (key->algorithm->family)
	{
		case FAMILY_SECRET:
			return hmac_fits(key, what);
		case FAMILY_EC:
			return ecdsa_fits(key, what);
		default:
			return public_key_fits(key, what->signature, what->signature_length, what);
	}
}

/* --- tokens -------------------------------------------------------------------------- */

/* Reads which algorithm and, in *id (the caller frees), which key. */
static JwtVerdict
read_header(const char *text, size_t length, const JwtAlgorithm **algorithm, char **id)
{
	json_t *header = decode_object(text, length);
	const char *name = json_string_value(json_object_get(header, "alg"));
	const char *key = json_string_value(json_object_get(header, "kid"));
	JwtVerdict verdict = JWT_WRONG_ALGORITHM;

	*id = NULL;
	if (header == NULL || json_object_get(header, "crit"))
		verdict = JWT_MALFORMED;
	for (size_t i = 0; name && verdict == JWT_WRONG_ALGORITHM && i < ALGORITHM_COUNT; i++)
	{
		if (strcmp(name, algorithms[i].name) != 0)
			continue;
		*algorithm = &algorithms[i];
		*id = key ? text_copy(key) : NULL;
		verdict = JWT_GOOD;
	}
	json_decref(header);
	return verdict;
}

/* A key without an id may have signed any token, a token without one be of any key. */
static JwtVerdict
check_signature(const JwtKeys *keys, const JwtAlgorithm *algorithm, const char *id,
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
	const JwtAlgorithm *algorithm = NULL;
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
			"The token is signed with none of HS, RS, PS, ES (256, 384, 512) and EdDSA.",
		[JWT_WRONG_SIGNATURE] = "The token's signature is not ours.",
		[JWT_NO_SUCH_KEY] = "None of our keys can have signed the token.",
		[JWT_WRONG_AUDIENCE] = "The token is meant for, or issued by, somebody else.",
		[JWT_EXPIRED] = "The token has expired.",
		[JWT_NOT_YET_VALID] = "The token is not valid yet.",
	};

	return sentences[verdict];
}
