/*
 * auth.h
 *		Who a bearer token speaks for.
 */
#ifndef FACTORYD_AUTH_H
#define FACTORYD_AUTH_H

#include <jansson.h>

#include "config.h"
#include "jwt.h"

typedef struct Auth Auth;

/* A token that was checked.  Good as long as it is held. */
typedef struct Token
{
	char *text;
	json_t *claims;
	char *claims_text;
	const char *role;   /* NULL where it names none */
	const char *tenant; /* NULL where it names none, or where we do not ask */
	bool role_is_wrong; /* it is no string */
	bool tenant_is_wrong;
	int references;
} Token;

/* Reads the keys; NULL where they are not good, and the log says why. */
extern Auth *auth_open(const Config *config);
extern void auth_close(Auth *auth);

/* Whether there is anything to check tokens with. */
extern bool auth_has_keys(const Auth *auth);

/* On JWT_GOOD *token is held by the caller. */
extern JwtVerdict auth_check(Auth *auth, const char *text, Token **token);
extern void auth_release(Token *token); /* NULL is none */

#endif /* FACTORYD_AUTH_H */
