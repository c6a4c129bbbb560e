/*
 * auth.c
 *		Who a bearer token speaks for.
 *
 * A client sends the same token with each request: what it says is kept, with the
 * whole token as the key, so that its signature is checked once.  Its times are looked
 * at each time.
 */
#include "auth.h"

#include <stdlib.h>
#include <string.h>

#include "claim.h"
#include "text.h"

#define KEPT_MOST 512 /* power of 2 */

/* What the database said of a key holds so long. */
#define KEY_HOLDS_MS 30000

/* Such a tenant needs no naming. */
#define TENANT_DEFAULT "default"

struct Auth
{
	const Config *config;
	const JwtKeys *keys;
	Token *kept[KEPT_MOST];
	Token *keys_kept[KEPT_MOST];
};

Auth *
auth_open(const Config *config, const JwtKeys *keys)
{
	Auth *auth = memory_new(sizeof(Auth));

	auth->config = config;
	auth->keys = keys;
	return auth;
}

static void
forget_all(Auth *auth)
{
	for (int i = 0; i < KEPT_MOST; i++)
	{
		auth_release(auth->kept[i]);
		auth_release(auth->keys_kept[i]);
		auth->kept[i] = auth->keys_kept[i] = NULL;
	}
}

void
auth_change(Auth *auth, const Config *config, const JwtKeys *keys)
{
	forget_all(auth);
	auth->config = config;
	auth->keys = keys;
}

void
auth_close(Auth *auth)
{
	if (auth == NULL)
		return;
	forget_all(auth);
	free(auth);
}

bool
auth_has_keys(const Auth *auth)
{
	return jwt_keys_count(auth->keys) > 0;
}

void
auth_release(Token *token)
{
	if (token == NULL || --token->references > 0)
		return;
	json_decref(token->claims);
	free(token->claims_text);
	free(token->text);
	free(token);
}

static const char *
claimed_text(const json_t *claims, const char *name, bool *wrong)
{
	const json_t *claim = claim_find(claims, name);

	*wrong = claim && !json_is_null(claim) && !json_is_string(claim);
	return json_string_value(claim);
}

static Token *
new_token(const Auth *auth, const char *text, json_t *claims)
{
	Token *token = memory_new(sizeof(Token));

	token->text = text_copy(text);
	token->claims = claims;
	token->claims_text = json_dumps(claims, JSON_COMPACT);
	token->role =
		claimed_text(claims, auth->config->jwt_role_claim, &token->role_is_wrong);
	token->tenant =
		claimed_text(claims, auth->config->jwt_tenant_claim, &token->tenant_is_wrong);
	token->references = 1;
	return token;
}

/* "aud" is one name or a list of them. */
static bool
is_meant_for(const json_t *claims, const char *audience)
{
	const json_t *claim = json_object_get(claims, "aud");
	const json_t *one;
	size_t index;

	if (*audience == '\0')
		return true;
	if (json_is_string(claim))
		return strcmp(json_string_value(claim), audience) == 0;
	json_array_foreach(claim, index, one)
	{
		if (json_is_string(one) && strcmp(json_string_value(one), audience) == 0)
			return true;
	}
	return false;
}

static bool
is_issued_by(const json_t *claims, const char *issuer)
{
	const char *claim = json_string_value(json_object_get(claims, "iss"));

	return *issuer == '\0' || (claim && strcmp(claim, issuer) == 0);
}

JwtVerdict
auth_check(Auth *auth, const char *text, Token **token)
{
	Token **place = &auth->kept[text_hash(text) & (KEPT_MOST - 1)];
	JwtVerdict verdict;
	json_t *claims;

	*token = NULL;
	if (*place && strcmp((*place)->text, text) == 0)
		verdict = jwt_check_times((*place)->claims);
	else
	{
		verdict = jwt_verify(text, auth->keys, &claims);
		if (verdict != JWT_GOOD)
			return verdict;
		if (!is_meant_for(claims, auth->config->jwt_audience) ||
			!is_issued_by(claims, auth->config->jwt_issuer))
		{
			json_decref(claims);
			return JWT_WRONG_AUDIENCE;
		}
		auth_release(*place);
		*place = new_token(auth, text, claims);
	}
	if (verdict == JWT_GOOD)
	{
		*token = *place;
		(*token)->references++;
	}
	return verdict;
}

Token *
auth_find_key(Auth *auth, const char *key)
{
	Token *token = auth->keys_kept[text_hash(key) & (KEPT_MOST - 1)];

	if (token == NULL || strcmp(token->text, key) != 0 ||
		text_clock_ms() - token->kept_at > KEY_HOLDS_MS)
		return NULL;
	token->references++;
	return token;
}

void
auth_keep_key(Auth *auth, const char *key, json_t *claims)
{
	Token **place = &auth->keys_kept[text_hash(key) & (KEPT_MOST - 1)];
	const char *tenant = json_string_value(json_object_get(claims, "tenant"));
	Token *token = new_token(auth, key, claims);

	token->role = json_string_value(json_object_get(claims, "role"));
	token->tenant = tenant && strcmp(tenant, TENANT_DEFAULT) != 0 ? tenant : NULL;
	token->role_is_wrong = false;
	token->tenant_is_wrong = false;
	token->kept_at = text_clock_ms();
	auth_release(*place);
	*place = token;
}
