/*
 * jwt_keys.c
 *		The keys that tokens are checked with: a secret, and a JSON web key set.
 */
#include "jwt_int.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/param_build.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "text.h"

/* Fewer bits than this are no key any more. */
#define RSA_BITS_LEAST 2048
#define SECRET_LEAST 32

const JwtAlgorithm jwt_algorithms[JWT_ALGORITHM_COUNT] = {
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
	used = jwt_decode_base64url(text, strlen(text), bytes);
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

	for (size_t i = 0; type && i < JWT_ALGORITHM_COUNT; i++)
	{
		const JwtAlgorithm *known = &jwt_algorithms[i];

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
		JwtKey *key = add_key(keys, &jwt_algorithms[0], "");

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
