/*
 * exchange.c
 *		One request on its way to the database and back.
 *
 * An exchange lives from exchange_begin to its one answer, or to exchange_abandon.
 * The request's body and head are good for just as long.
 */
#include "exchange.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "catalog.h"
#include "jwt.h"
#include "route.h"
#include "status.h"
#include "text.h"

#define JSON_TYPE "application/json; charset=utf-8"
#define METRICS_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* Results longer than this are handed to the socket as they are, not copied. */
#define COPY_LIMIT 4096

/* --- identifiers ---------------------------------------------------------------- */

static bool
is_identifier(const char *text)
{
	size_t length = strlen(text);

	for (size_t i = 0; i < length; i++)
		if (!isalnum((unsigned char) text[i]) && !strchr("-_.:", text[i]))
			return false;
	return length > 0 && length <= IDENTIFIER_LENGTH;
}

/* What the client calls it, where that is fit for a header and a log; else our own. */
static void
take_identifier(char *target, const HttpRequest *request, const char *header)
{
	const char *given = http_head_value(&request->head, header);

	if (given && is_identifier(given))
		strcpy(target, given);
	else
		text_random_hex(target, 32);
}

Exchange *
exchange_begin(Factoryd *factoryd, HttpRequest *request, ReplyStyle style)
{
	Exchange *exchange = memory_new(sizeof(Exchange));

	exchange->factoryd = factoryd;
	exchange->request = request;
	exchange->style = style;
	exchange->timeout_code = "ERR_TIMEOUT";
	exchange->call.role = "none";
	exchange->call.claims = "";
	exchange->call.owner = exchange;
	take_identifier(exchange->request_id, request, "x-request-id");
	take_identifier(exchange->trace_id, request, "x-trace-id");
	request->owner = exchange;
	return exchange;
}

static void
end_exchange(Exchange *exchange)
{
	if (exchange->waits)
		catalog_forget(exchange->factoryd->catalog, exchange);
	if (exchange->runs)
		pool_abandon(exchange->factoryd->pool, &exchange->call);
	json_decref(exchange->claims);
	json_decref(exchange->body);
	free(exchange->claims_text);
	free(exchange->headers_text);
	free(exchange->sql);
	free(exchange->value);
	free(exchange);
}

void
exchange_abandon(Exchange *exchange)
{
	end_exchange(exchange);
}

/* --- answers ---------------------------------------------------------------------- */

static void
add_json_text(struct evbuffer *body, const char *text)
{
	json_t *value = text ? json_string(text) : json_null();
	char *encoded;

	/* What the database says is UTF-8; what a client's path held may not be. */
	if (value == NULL)
		value = json_string("(not UTF-8)");
	encoded = json_dumps(value, JSON_ENCODE_ANY);
	evbuffer_add(body, encoded, strlen(encoded));
	free(encoded);
	json_decref(value);
}

static void
add_member(struct evbuffer *body, const char *name, const char *text)
{
	evbuffer_add_printf(body, "\"%s\":", name);
	add_json_text(body, text);
}

static void
add_meta(struct evbuffer *body, const Exchange *exchange)
{
	struct timespec now;
	struct timespec wall;
	struct tm utc;
	char second[32];
	double ms;

	clock_gettime(CLOCK_MONOTONIC, &now);
	clock_gettime(CLOCK_REALTIME, &wall);
	gmtime_r(&wall.tv_sec, &utc);
	strftime(second, sizeof(second), "%Y-%m-%dT%H:%M:%S", &utc);
	ms = (now.tv_sec - exchange->request->received.tv_sec) * 1e3 +
		 (now.tv_nsec - exchange->request->received.tv_nsec) / 1e6;
	evbuffer_add_printf(body,
						",\"meta\":{\"request_id\":\"%s\",\"trace_id\":\"%s\","
						"\"timestamp\":\"%s.%03ldZ\",\"duration_ms\":%.3f}}",
						exchange->request_id, exchange->trace_id, second,
						wall.tv_nsec / 1000000, ms);
}

static void
answer(Exchange *exchange, int status, const char *type, struct evbuffer *body)
{
	struct evbuffer *headers = evbuffer_new();
	HttpRequest *request = exchange->request;

	evbuffer_add_printf(headers, "X-Request-ID: %s\r\nX-Trace-ID: %s\r\n",
						exchange->request_id, exchange->trace_id);
	if (status != 204)
		evbuffer_add_printf(headers, "Content-Type: %s\r\n", type);
	if (status == 401)
		evbuffer_add_printf(headers, "WWW-Authenticate: Bearer\r\n");
	if (status == 503)
		evbuffer_add_printf(headers, "Retry-After: 1\r\n");
	if (exchange->allow)
		evbuffer_add_printf(headers, "Allow: %s\r\n", exchange->allow);
	end_exchange(exchange);
	http_reply(request, status, headers, body);
	evbuffer_free(headers);
	evbuffer_free(body);
}

void
exchange_reply_text(Exchange *exchange, int status, const char *type, const char *text)
{
	struct evbuffer *body = evbuffer_new();

	evbuffer_add(body, text, strlen(text));
	answer(exchange, status, type, body);
}

/* The four members that PostgREST's clients know. */
static void
add_problem(struct evbuffer *body, const char *code, const char *message,
			const char *detail, const char *hint, const char *detail_name)
{
	evbuffer_add(body, "{", 1);
	add_member(body, "code", code);
	evbuffer_add(body, ",", 1);
	add_member(body, "message", message);
	evbuffer_add(body, ",", 1);
	add_member(body, detail_name, detail);
	evbuffer_add(body, ",", 1);
	add_member(body, "hint", hint);
	evbuffer_add(body, "}", 1);
}

void
exchange_reply_problem(Exchange *exchange, int status, const char *code,
					   const char *message, const char *detail, const char *hint)
{
	struct evbuffer *body = evbuffer_new();

	switch (exchange->style)
	{
		case STYLE_API:
			evbuffer_add_printf(body, "{\"success\":false,\"error\":");
			add_problem(body, code, message, detail, hint, "detail");
			add_meta(body, exchange);
			break;
		case STYLE_HEALTH:
			evbuffer_add_printf(body, "{\"status\":\"down\",\"error\":");
			add_problem(body, code, message, detail, hint, "details");
			evbuffer_add(body, "}", 1);
			status = 503;
			break;
		default:
			add_problem(body, code, message, detail, hint, "details");
	}
	answer(exchange, status, JSON_TYPE, body);
}

void
exchange_write_refusal(struct evbuffer *body, int status, const char *why)
{
	add_problem(body, status_code(status), http_reason(status), why, NULL, "details");
}

static void
free_result(const void *data, size_t length, void *result)
{
	(void) data;
	(void) length;
	PQclear(result);
}

/* Puts the result's only value into the body, without a copy where it is long. */
static void
add_result(struct evbuffer *body, CallOutcome *outcome, const char *otherwise)
{
	PGresult *result = outcome->result;
	int length;

	if (result == NULL || PQntuples(result) < 1 || PQgetisnull(result, 0, 0))
	{
		evbuffer_add(body, otherwise, strlen(otherwise));
		return;
	}
	length = PQgetlength(result, 0, 0);
	if (length <= COPY_LIMIT)
		evbuffer_add(body, PQgetvalue(result, 0, 0), length);
	else
	{
		outcome->result = NULL;
		evbuffer_add_reference(body, PQgetvalue(result, 0, 0), length, free_result,
							   result);
	}
}

static void
answer_result(Exchange *exchange, CallOutcome *outcome)
{
	struct evbuffer *body = evbuffer_new();

	if (exchange->no_content)
	{
		answer(exchange, 204, NULL, body);
		return;
	}
	switch (exchange->style)
	{
		case STYLE_API:
			evbuffer_add_printf(body, "{\"success\":true,\"data\":");
			add_result(body, outcome, "null");
			add_meta(body, exchange);
			break;
		case STYLE_METRICS:
			add_result(body, outcome, "");
			route_add_metrics(body, exchange->factoryd);
			answer(exchange, 200, METRICS_TYPE, body);
			return;
		default:
			add_result(body, outcome, "null");
	}
	answer(exchange, 200, JSON_TYPE, body);
}

/* A statement of ours that names what is not there: the extension is missing or old. */
static bool
misses_extension(const Exchange *exchange, const char *sqlstate)
{
	return exchange->fixed_sql &&
		   (strcmp(sqlstate, "42883") == 0 || strcmp(sqlstate, "3F000") == 0);
}

static void
answer_failure(Exchange *exchange, const CallOutcome *outcome)
{
	const Status *status = status_of_sqlstate(outcome->sqlstate, exchange->anonymous);
	bool rest = exchange->style != STYLE_API;
	const char *code = status->code;

	if (exchange->style == STYLE_METRICS)
	{
		struct evbuffer *body = evbuffer_new();

		/* A scraper learns from factoryd_database_up that the rest is missing. */
		route_add_metrics(body, exchange->factoryd);
		answer(exchange, 200, METRICS_TYPE, body);
		return;
	}
	if (misses_extension(exchange, outcome->sqlstate))
	{
		exchange_reply_problem(
			exchange, 503, rest ? outcome->sqlstate : "ERR_SERVICE_UNAVAILABLE",
			outcome->message, NULL,
			"Run CREATE EXTENSION pg_factory in that database, or ALTER "
			"EXTENSION pg_factory UPDATE.");
		return;
	}
	if (status->status == 504 && strncmp(outcome->sqlstate, "57", 2) == 0)
		code = exchange->timeout_code;

	/* A token for a role that does not exist is no token. */
	if (outcome->fault == CALL_NOT_ALLOWED && strcmp(outcome->sqlstate, "22023") == 0)
	{
		exchange_reply_problem(
			exchange, 401, rest ? outcome->sqlstate : "ERR_UNAUTHORIZED",
			outcome->message, NULL,
			"The token's claim \"role\" names a role of the database.");
		return;
	}
	exchange_reply_problem(exchange, status->status, rest ? outcome->sqlstate : code,
						   outcome->message, outcome->detail, outcome->hint);
}

static void
call_done(Call *call, CallOutcome *outcome)
{
	Exchange *exchange = call->owner;

	exchange->runs = false;
	if (outcome->fault == CALL_FINE)
		answer_result(exchange, outcome);
	else
		answer_failure(exchange, outcome);
}

/* --- who asks --------------------------------------------------------------------- */

static void
reply_unauthorized(Exchange *exchange, int status, const char *rest_code,
				   const char *api_code, const char *message, const char *hint)
{
	exchange_reply_problem(exchange, status,
						   exchange->style == STYLE_API ? api_code : rest_code, message,
						   NULL, hint);
}

static bool
take_token(Exchange *exchange, const char *token)
{
	const Config *config = &exchange->factoryd->config;
	const json_t *role;
	JwtVerdict verdict;

	if (config->jwt_secret[0] == '\0')
	{
		reply_unauthorized(exchange, 500, "PGRST300", "ERR_INTERNAL",
						   "Tokens cannot be checked here.", "Set FACTORYD_JWT_SECRET.");
		return false;
	}
	verdict = jwt_verify(token, config->jwt_secret, &exchange->claims);
	if (verdict != JWT_GOOD)
	{
		reply_unauthorized(exchange, 401,
						   verdict == JWT_EXPIRED || verdict == JWT_NOT_YET_VALID
							   ? "PGRST303"
							   : "PGRST301",
						   verdict == JWT_EXPIRED ? "ERR_TOKEN_EXPIRED"
												  : "ERR_UNAUTHORIZED",
						   jwt_explain(verdict), NULL);
		return false;
	}
	role = json_object_get(exchange->claims, "role");
	if (role && !json_is_string(role))
	{
		reply_unauthorized(exchange, 401, "PGRST303", "ERR_UNAUTHORIZED",
						   "The token's claim \"role\" is not a string.", NULL);
		return false;
	}
	if (role)
		exchange->call.role = json_string_value(role);
	return true;
}

bool
exchange_authenticate(Exchange *exchange)
{
	const char *header = http_head_value(&exchange->request->head, "authorization");
	const char *anonymous = exchange->factoryd->config.anon_role;

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
		exchange->call.role = anonymous;
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

/* --- to the database ---------------------------------------------------------------- */

/* The headers as PostgREST hands them on, without what authenticates. */
static char *
describe_headers(const Exchange *exchange)
{
	const HttpHead *head = &exchange->request->head;
	json_t *headers = json_object();
	char *text;

	for (int i = 0; i < head->header_count; i++)
	{
		const char *name = head->headers[i].name;

		if (strcmp(name, "authorization") != 0 && strcmp(name, "cookie") != 0 &&
			strcmp(name, "proxy-authorization") != 0)
			json_object_set_new(headers, name, json_string(head->headers[i].value));
	}
	json_object_set_new(headers, "x-request-id", json_string(exchange->request_id));
	json_object_set_new(headers, "x-trace-id", json_string(exchange->trace_id));
	text = json_dumps(headers, JSON_COMPACT);
	json_decref(headers);
	return text;
}

/* The path as the database may see it: it must be UTF-8. */
static const char *
path_of(const Exchange *exchange)
{
	json_t *text = json_string(exchange->request->head.path);

	if (text == NULL)
		return "";
	json_decref(text);
	return exchange->request->head.path;
}

void
exchange_run(Exchange *exchange)
{
	Call *call = &exchange->call;

	if (exchange->claims)
		exchange->claims_text = json_dumps(exchange->claims, JSON_COMPACT);
	else if (exchange->anonymous)
	{
		json_t *claims = json_pack("{s:s}", "role", call->role);

		exchange->claims_text = json_dumps(claims, JSON_COMPACT);
		json_decref(claims);
	}
	exchange->headers_text = describe_headers(exchange);
	call->claims = exchange->claims_text ? exchange->claims_text : "";
	call->headers = exchange->headers_text;
	call->method = exchange->request->head.method;
	call->path = path_of(exchange);
	call->done = call_done;
	exchange->runs = true;
	pool_submit(exchange->factoryd->pool, call);
}
