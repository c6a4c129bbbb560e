/*
 * jwt.h
 *		Whether a JSON web token is ours and in force.
 */
#ifndef FACTORYD_JWT_H
#define FACTORYD_JWT_H

#include <jansson.h>
#include <stdbool.h>

typedef struct JwtKeys JwtKeys;

typedef enum JwtVerdict
{
	JWT_GOOD,
	JWT_MALFORMED,
	JWT_WRONG_ALGORITHM,
	JWT_WRONG_SIGNATURE,
	JWT_NO_SUCH_KEY,
	JWT_WRONG_AUDIENCE,
	JWT_EXPIRED,
	JWT_NOT_YET_VALID,
	JWT_VERDICT_COUNT
} JwtVerdict;

/*
 * The keys of a secret (HS256) and of a JSON web key set's file; "" for either is none.
 * NULL where the file is not good, and the log says why.
 */
extern JwtKeys *jwt_keys_open(const char *secret, const char *jwks_file);
extern void jwt_keys_close(JwtKeys *keys);
extern int jwt_keys_count(const JwtKeys *keys);

/*
 * Checks a token signed with HS256, RS256, ES256 or EdDSA.  On JWT_GOOD *claims is its
 * payload, which the caller owns.
 */
extern JwtVerdict jwt_verify(const char *token, const JwtKeys *keys, json_t **claims);

/* Only its times. */
extern JwtVerdict jwt_check_times(const json_t *claims);

/* A sentence. */
extern const char *jwt_explain(JwtVerdict verdict);

#endif /* FACTORYD_JWT_H */
