/*
 * exchange_caller.c
 *		Who asks: a token, a machine's key or a stranger, and for which tenant.
 */
#include "exchange_int.h"

#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "text.h"

/* Bytes of a machine's key, at most. */
#define KEY_LIMIT 256

/* --- tokens ----------------------------------------------------------------------- */

static void
reply_unauthorized(Exchange *exchange, int status, const char *rest_code,
				   const char *api_code, const char *message, const char *hint)
{
	exchange_reply_problem(exchange, status,
						   exchange->style == STYLE_API ? api_code : rest_code, message,
						   NULL, hint);
}

static bool
take_token(Exchange *exchange, const char *text)
{
	Auth *auth = exchange->factoryd->auth;
	const Token *token;
	JwtVerdict verdict;

	if (!auth_has_keys(auth))
	{
		reply_unauthorized(exchange, 500, "PGRST300", "ERR_INTERNAL",
						   "Tokens cannot be checked here.",
						   "Set FACTORYD_JWT_SECRET or FACTORYD_JWKS_FILE.");
		return false;
	}
	verdict = auth_check(auth, text, &exchange->token);
	if (verdict != JWT_GOOD)
	{
		bool out_of_time = verdict == JWT_EXPIRED || verdict == JWT_NOT_YET_VALID ||
						   verdict == JWT_WRONG_AUDIENCE;

		reply_unauthorized(exchange, 401, out_of_time ? "PGRST303" : "PGRST301",
						   verdict == JWT_EXPIRED ? "ERR_TOKEN_EXPIRED"
												  : "ERR_UNAUTHORIZED",
						   jwt_explain(verdict), NULL);
		return false;
	}
	token = exchange->token;
	if (token->role_is_wrong || token->tenant_is_wrong)
	{
		reply_unauthorized(exchange, 401, "PGRST303", "ERR_UNAUTHORIZED",
						   token->role_is_wrong
							   ? "The token's claim \"role\" is not a string."
							   : "The token's claim of the tenant is not a string.",
						   NULL);
		return false;
	}
	exchange->call.role = token->role;
	exchange->call.tenant = token->tenant;
	exchange->call.claims = token->claims_text;
	return true;
}

/* --- keys of machines --------------------------------------------------------------- */

static const char *
key_of(const Exchange *exchange)
{
	return http_head_value(&exchange->request->head, "x-api-key");
}

/* "fk.TENANT.SECRET": the tenant, which the caller frees, or NULL. */
static char *
tenant_of_key(const char *key)
{
	const char *end = strrchr(key, '.');

	if (strncmp(key, "fk.", 3) != 0 || end <= key + 3 || strlen(key) > KEY_LIMIT ||
		!text_is_utf8(key, strlen(key)))
		return NULL;
	return strndup(key + 3, end - key - 3);
}

static char *
hash_of_key(const char *key)
{
	unsigned char digest[32];
	char *hex = memory_new(65);

	SHA256((const unsigned char *) key, strlen(key), digest);
	for (int i = 0; i < 32; i++)
		sprintf(hex + 2 * i, "%02x", digest[i]);
	return hex;
}

static void
refuse_key(Exchange *exchange)
{
	reply_unauthorized(exchange, 401, "PGRST301", "ERR_UNAUTHORIZED",
					   "The key of X-API-Key is not in force.",
					   "factory.create_api_key() makes one.");
}

/* The lookup is over: the call is the request's own from now on. */
static void
key_told(Call *call, CallOutcome *outcome)
{
	Exchange *exchange = call->owner;
	json_t *claims = NULL;

	exchange->runs = false;
	if (outcome->fault != CALL_FINE)
	{
		exchange->fixed_sql = true;
		exchange_answer_failure(exchange, outcome);
		return;
	}
	if (PQntuples(outcome->result) == 1 && !PQgetisnull(outcome->result, 0, 0))
		claims = json_loads(PQgetvalue(outcome->result, 0, 0), 0, NULL);
	if (claims == NULL)
	{
		refuse_key(exchange);
		return;
	}
	auth_keep_key(exchange->factoryd->auth, key_of(exchange), claims);
	values_free(&exchange->values);
	memset(call, 0, sizeof(*call));
	call->waiting = &exchange->counters->waiting;
	call->role = "none";
	call->owner = exchange;
	exchange->next(exchange);
}

void
exchange_identify(Exchange *exchange, void (*next)(Exchange *exchange))
{
	const char *key = key_of(exchange);
	Call *call = &exchange->call;
	Token *known;
	char *tenant;

	if (key == NULL || (known = auth_find_key(exchange->factoryd->auth, key)) != NULL)
	{
		if (key)
			exchange->token = known;
		next(exchange);
		return;
	}
	tenant = tenant_of_key(key);
	if (tenant == NULL)
	{
		refuse_key(exchange);
		return;
	}
	exchange->next = next;
	values_take(&exchange->values, tenant);
	values_take(&exchange->values, hash_of_key(key));
	call->main = (CallStatement){"SELECT factory.api_key_claims($2, $3)",
								 exchange->values.items, 2};
	call->claims = call->method = call->path = call->headers = "";
	call->done = key_told;
	exchange->runs = true;
	pool_submit(exchange->factoryd->pool, call);
}

static void
take_key(Exchange *exchange)
{
	if (exchange->token == NULL)
		exchange->token = auth_find_key(exchange->factoryd->auth, key_of(exchange));
	exchange->call.role = exchange->token->role;
	exchange->call.tenant = exchange->token->tenant;
	exchange->call.claims = exchange->token->claims_text;
}

/* --- which tenant ------------------------------------------------------------------- */

/* By the role itself.  The cast cannot be folded: it fails where it is reached. */
static const char tenant_check_sql[] =
	"SELECT WHERE CASE WHEN factory.current_tenant() = $2::pg_catalog.text THEN true"
	" ELSE ('X-Tenant-ID is not ' || factory.current_tenant())::pg_catalog.bool END";

void
exchange_refuse_tenant(Exchange *exchange)
{
	exchange_reply_problem(
		exchange, 403, exchange->style == STYLE_API ? "ERR_FORBIDDEN" : "42501",
		"X-Tenant-ID names another tenant than the caller's.", NULL,
		"The tenant is the token's, or follows from its role: leave the header out.");
}

/* Whether the check refused the call, rather than the call's own statement. */
bool
exchange_was_refused_tenant(const Exchange *exchange, const CallOutcome *outcome)
{
	return exchange->tenant && strcmp(outcome->sqlstate, "22P02") == 0 &&
		   strstr(outcome->message, "\"X-Tenant-ID is not ") != NULL;
}

/*
 * X-Tenant-ID never chooses a tenant: it is held against the one that is verified, here
 * where the token names it, and in the database where it follows from the role.
 */
static bool
tenant_agrees(Exchange *exchange)
{
	const char *named = http_head_value(&exchange->request->head, "x-tenant-id");
	Call *call = &exchange->call;

	if (named == NULL || *named == '\0')
		return true;
	if (!text_is_utf8(named, strlen(named)) ||
		(call->tenant && strcmp(call->tenant, named) != 0))
	{
		exchange_refuse_tenant(exchange);
		return false;
	}
	if (call->tenant == NULL)
	{
		exchange->tenant = named;
		call->check = (CallStatement){tenant_check_sql, &exchange->tenant, 1};
	}
	return true;
}

static bool
take_role(Exchange *exchange)
{
	const char *header = http_head_value(&exchange->request->head, "authorization");
	const Factoryd *factoryd = exchange->factoryd;
	const char *anonymous = factoryd->no_strangers ? "" : factoryd->config->anon_role;

	if (key_of(exchange))
	{
		take_key(exchange);
		return true;
	}
	if (header && strncasecmp(header, "Bearer ", 7) != 0)
	{
		reply_unauthorized(exchange, 401, "PGRST301", "ERR_UNAUTHORIZED",
						   "The only Authorization understood is \"Bearer\".", NULL);
		return false;
	}
	exchange->call.role = NULL;
	if (header && !take_token(exchange, header + 7 + strspn(header + 7, " ")))
		return false;
	if (exchange->call.role == NULL)
	{
		exchange->anonymous = true;
		exchange->role = text_copy(anonymous);
		exchange->call.role = exchange->role;
	}
	/* "none" would be the connection's own user, who may be anybody. */
	if (exchange->call.role[0] == '\0' || strcmp(exchange->call.role, "none") == 0)
	{
		reply_unauthorized(
			exchange, 401, "PGRST302", "ERR_UNAUTHORIZED",
			"Anonymous access is disabled.",
			"Send a token whose claim \"role\" names a role of the database.");
		return false;
	}
	return true;
}

bool
exchange_authenticate(Exchange *exchange)
{
	return take_role(exchange) && tenant_agrees(exchange);
}
