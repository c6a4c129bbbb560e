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
	long long kept_at; /* of a key */
} Token;

/* Settings and keys are somebody else's, and outlive the auth or the next change. */
extern Auth *auth_open(const Config *config, const JwtKeys *keys);
extern void auth_change(Auth *auth, const Config *config, const JwtKeys *keys);
extern void auth_close(Auth *auth); /* NULL is none */

/* Whether there is anything to check tokens with. */
extern bool auth_has_keys(const Auth *auth);

/* On JWT_GOOD *token is held by the caller. */
extern JwtVerdict auth_check(Auth *auth, const char *text, Token **token);
extern void auth_release(Token *token); /* NULL is none */

/*
 * The same for a machine's key, of which the database knows: NULL where it was not told
 * within the last half minute.  Held by the caller.
 */
extern Token *auth_find_key(Auth *auth, const char *key);

/* What the database said of a key; claims is the auth's afterwards. */
extern void auth_keep_key(Auth *auth, const char *key, json_t *claims);

#endif /* FACTORYD_AUTH_H */
