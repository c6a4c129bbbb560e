/*
 * jwt.c
 *		Whether a bearer token is ours and in force.
 *
 * The algorithm is pinned: the token's own word for it is compared, never followed.
 * The signature is checked before a byte of the payload is parsed.
 */
#include "jwt.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "text.h"

#define TOKEN_LIMIT 8192

/* Clocks of two machines differ. */
#define LEEWAY_SECONDS 30

#define SIGNATURE_LENGTH 32

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

static JwtVerdict
check_header(const char *text, size_t length)
{
	json_t *header = decode_object(text, length);
	const char *algorithm = json_string_value(json_object_get(header, "alg"));
	JwtVerdict verdict = JWT_GOOD;

	if (header == NULL || json_object_get(header, "crit"))
		verdict = JWT_MALFORMED;
	else if (algorithm == NULL || strcmp(algorithm, "HS256") != 0)
		verdict = JWT_WRONG_ALGORITHM;
	json_decref(header);
	return verdict;
}

static bool
signature_is_ours(const char *signed_text, size_t length, const char *signature,
				  const char *secret)
{
	unsigned char given[SIGNATURE_LENGTH + 3];
	unsigned char ours[EVP_MAX_MD_SIZE];
	unsigned int ours_length = 0;

	/* 32 bytes are 43 characters. */
	if (strlen(signature) != 43 ||
		decode_base64url(signature, 43, given) != SIGNATURE_LENGTH)
		return false;
	if (HMAC(EVP_sha256(), secret, (int) strlen(secret),
			 (const unsigned char *) signed_text, length, ours, &ours_length) == NULL)
		return false;
	return CRYPTO_memcmp(given, ours, SIGNATURE_LENGTH) == 0;
}

/* A point in time claimed; false where it is no number. */
static bool
claimed_time(const json_t *claims, const char *name, double fallback, double *seconds)
{
	const json_t *claim = json_object_get(claims, name);

	*seconds = claim ? json_number_value(claim) : fallback;
	return claim == NULL || json_is_number(claim);
}

static JwtVerdict
check_times(const json_t *claims)
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

JwtVerdict
jwt_verify(const char *token, const char *secret, json_t **claims)
{
	const char *payload = strchr(token, '.');
	const char *signature = payload ? strchr(payload + 1, '.') : NULL;
	JwtVerdict verdict;

	*claims = NULL;
	if (signature == NULL || strlen(token) > TOKEN_LIMIT)
		return JWT_MALFORMED;
	verdict = check_header(token, payload - token);
	if (verdict != JWT_GOOD)
		return verdict;
	if (!signature_is_ours(token, signature - token, signature + 1, secret))
		return JWT_WRONG_SIGNATURE;
	*claims = decode_object(payload + 1, signature - payload - 1);
	if (*claims == NULL)
		return JWT_MALFORMED;
	verdict = check_times(*claims);
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
		[JWT_WRONG_ALGORITHM] = "The token is not signed with HS256.",
		[JWT_WRONG_SIGNATURE] = "The token's signature is not ours.",
		[JWT_EXPIRED] = "The token has expired.",
		[JWT_NOT_YET_VALID] = "The token is not valid yet.",
	};

	return sentences[verdict];
}
