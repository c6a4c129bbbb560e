/*
 * jwt.c
 *		Whether a JSON web token is ours and in force.
 *
 * A key is of one algorithm: the token's own word for it only picks among our keys and
 * is never followed beyond that, so a public key cannot be taken for a secret.  The
 * signature is checked before a byte of the payload is parsed.
 */
#include "jwt_int.h"

#include <openssl/crypto.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/hmac.h>
#include <openssl/rsa.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "text.h"

#define TOKEN_LIMIT 8192

/* The longest signature understood: RSA with 8192 bits. */
#define SIGNATURE_LIMIT 1024

/* Clocks of two machines differ. */
#define LEEWAY_SECONDS 30

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

long
jwt_decode_base64url(const char *text, size_t length, unsigned char *bytes)
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
	long used = jwt_decode_base64url(text, length, bytes);
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
	for (size_t i = 0; name && verdict == JWT_WRONG_ALGORITHM && i < JWT_ALGORITHM_COUNT;
		 i++)
	{
		if (strcmp(name, jwt_algorithms[i].name) != 0)
			continue;
		*algorithm = &jwt_algorithms[i];
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
					 : jwt_decode_base64url(signature + 1, strlen(signature + 1), bytes);
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
