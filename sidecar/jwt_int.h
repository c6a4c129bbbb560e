/*
 * jwt_int.h
 *		What jwt.c and jwt_keys.c share: algorithms and keys.
 */
#ifndef FACTORYD_JWT_INT_H
#define FACTORYD_JWT_INT_H

#include <openssl/evp.h>
#include <stddef.h>

#include "jwt.h"

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

/* Bytes of a coordinate of a point, at most. */
#define COORDINATE_MOST 66

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

/* jwt_keys.c */
#define JWT_ALGORITHM_COUNT 13

extern const JwtAlgorithm jwt_algorithms[JWT_ALGORITHM_COUNT];

/*
 * jwt.c: decodes unpadded base64url; the length, or -1 where it is not exactly that.
 * Bits left over must be zero: one signature has one spelling.
 */
extern long jwt_decode_base64url(const char *text, size_t length, unsigned char *bytes);

#endif /* FACTORYD_JWT_INT_H */
