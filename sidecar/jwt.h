/*
 * jwt.h
 *		Whether a bearer token is ours and in force.
 */
#ifndef FACTORYD_JWT_H
#define FACTORYD_JWT_H

#include <jansson.h>

typedef enum JwtVerdict
{
	JWT_GOOD,
	JWT_MALFORMED,
	JWT_WRONG_ALGORITHM,
	JWT_WRONG_SIGNATURE,
	JWT_EXPIRED,
	JWT_NOT_YET_VALID,
	JWT_VERDICT_COUNT
} JwtVerdict;

/*
 * Checks a token signed with HS256.  On JWT_GOOD *claims is its payload, which the
 * caller owns.
 */
extern JwtVerdict jwt_verify(const char *token, const char *secret, json_t **claims);

/* A sentence. */
extern const char *jwt_explain(JwtVerdict verdict);

#endif /* FACTORYD_JWT_H */
