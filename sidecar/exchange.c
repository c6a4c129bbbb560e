/*
 * exchange.c
 *		One request on its way to the database and back.
 *
 * An exchange lives from exchange_begin to its one answer, or to exchange_abandon.
 * The request's body and head are good for just as long.
 */
#include "exchange_int.h"

#include <ctype.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "catalog.h"
#include "cors.h"
#include "rest.h"
#include "route.h"
#include "status.h"
#include "text.h"

#define METRICS_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* What a request's headers take as JSON, mostly. */
#define HEADERS_USUAL 512

/* Memory for replies that a loop keeps. */
#define KEEP_REPLY 65536

/*
 * Ended exchanges that a loop keeps for those to come, and what a buffer of theirs may
 * have.  None where a sanitizer is to see who touches one that has ended.
 */
#ifdef __SANITIZE_ADDRESS__
#define SPARE_MOST 0
#else
#define SPARE_MOST 64
#endif
#define KEEP_BUFFER 2048

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
		text_unique_hex(target);
}

/* --- life ------------------------------------------------------------------------- */

static Exchange *
take_spare(Factoryd *factoryd)
{
	Exchange *exchange = factoryd->spare;

	if (exchange == NULL)
		return memory_new(sizeof(Exchange));
	factoryd->spare = exchange->next_spare;
	factoryd->spare_count--;
	exchange->next_spare = NULL;
	return exchange;
}

static void
free_exchange(Exchange *exchange)
{
	rest_free(exchange->rest);
	buffer_free(&exchange->claims);
	buffer_free(&exchange->path);
	buffer_free(&exchange->headers);
	buffer_free(&exchange->extra);
	free(exchange);
}

/* Nothing of the request may be left when the next one comes. */
static void
keep_spare(Factoryd *factoryd, Exchange *exchange)
{
	size_t kept = offsetof(Exchange, factoryd);

	rest_clear(exchange->rest);
	buffer_clear(&exchange->claims, KEEP_BUFFER);
	buffer_clear(&exchange->path, KEEP_BUFFER);
	buffer_clear(&exchange->headers, KEEP_BUFFER);
	buffer_clear(&exchange->extra, KEEP_BUFFER);
	memset((char *) exchange + kept, 0, sizeof(Exchange) - kept);
	exchange->next_spare = factoryd->spare;
	factoryd->spare = exchange;
	factoryd->spare_count++;
}

void
exchange_free_spare(Factoryd *factoryd)
{
	while (factoryd->spare)
		free_exchange(take_spare(factoryd));
}

Exchange *
exchange_begin(Factoryd *factoryd, HttpRequest *request, ReplyStyle style,
			   Service service)
{
	Exchange *exchange = take_spare(factoryd);

	exchange->factoryd = factoryd;
	exchange->request = request;
	exchange->style = style;
	exchange->service = service;
	exchange->counters = &factoryd->services[service];
	COUNT(exchange->counters->active, 1);
	exchange->timeout_code = "ERR_TIMEOUT";
	exchange->status = 200;
	exchange->call.role = "none";
	exchange->call.claims = NULL;
	exchange->call.owner = exchange;
	exchange->call.waiting = &exchange->counters->waiting;
	take_identifier(exchange->request_id, request, "x-request-id");
	take_identifier(exchange->trace_id, request, "x-trace-id");
	request->owner = exchange;
	return exchange;
}

static double
ms_since_received(const Exchange *exchange)
{
	const struct timespec *received = &exchange->request->received;
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (now.tv_sec - received->tv_sec) * 1e3 +
		   (now.tv_nsec - received->tv_nsec) / 1e6;
}

static void
end_exchange(Exchange *exchange)
{
	Factoryd *factoryd = exchange->factoryd;

	if (exchange->waits)
		catalog_forget(factoryd->catalog, exchange);
	if (exchange->runs)
		pool_abandon(exchange->call.pool, &exchange->call);
	COUNT(exchange->counters->active, -1);
	if (exchange->answered)
		service_note_answer(exchange->counters, exchange->answered, exchange->took_us);
	auth_release(exchange->token);
	json_decref(exchange->body);
	free(exchange->role);
	free(exchange->sql);
	values_free(&exchange->values);
	if (factoryd->spare_count < SPARE_MOST)
		keep_spare(factoryd, exchange);
	else
		free_exchange(exchange);
}

void
exchange_abandon(Exchange *exchange)
{
	end_exchange(exchange);
}

/* --- answers ---------------------------------------------------------------------- */

static void
add_member(Buffer *body, const char *name, const char *text)
{
	buffer_add_char(body, '"');
	buffer_add_text(body, name);
	buffer_add(body, "\":", 2);
	buffer_add_json(body, text);
}

static void
add_meta(Buffer *body, const Exchange *exchange)
{
	struct timespec wall;
	struct tm utc;
	char second[32];

	clock_gettime(CLOCK_REALTIME, &wall);
	gmtime_r(&wall.tv_sec, &utc);
	strftime(second, sizeof(second), "%Y-%m-%dT%H:%M:%S", &utc);
	buffer_add_format(body,
					  ",\"meta\":{\"request_id\":\"%s\",\"trace_id\":\"%s\","
					  "\"timestamp\":\"%s.%03ldZ\",\"duration_ms\":%.3f}}",
					  exchange->request_id, exchange->trace_id, second,
					  wall.tv_nsec / 1000000, ms_since_received(exchange));
}

/* The header lines of an answer, in the loop's own buffer. */
static const Buffer *
write_headers(Exchange *exchange, int status, const char *type)
{
	Buffer *headers = &exchange->factoryd->headers;

	exchange->answered = status;
	exchange->took_us = (long long) (ms_since_received(exchange) * 1000);
	buffer_clear(headers, KEEP_REPLY);
	buffer_add(headers, "X-Request-ID: ", 14);
	buffer_add_text(headers, exchange->request_id);
	buffer_add(headers, "\r\nX-Trace-ID: ", 14);
	buffer_add_text(headers, exchange->trace_id);
	buffer_add(headers, "\r\n", 2);
	if (status != 204 && type)
	{
		buffer_add(headers, "Content-Type: ", 14);
		buffer_add_text(headers, type);
		buffer_add(headers, "\r\n", 2);
	}
	if (status == 401)
		buffer_add_text(headers, "WWW-Authenticate: Bearer\r\n");
	if (status == 503)
		buffer_add_text(headers, "Retry-After: 1\r\n");
	if (exchange->allow)
		buffer_add_format(headers, "Allow: %s\r\n", exchange->allow);
	if (exchange->call.rolls_back && status < 300)
		buffer_add_text(headers, "Preference-Applied: tx=rollback\r\n");
	if (exchange->call.timezone && status < 300)
		buffer_add_format(headers, "Preference-Applied: timezone=%s\r\n",
						  exchange->call.timezone);
	cors_add_headers(headers, exchange->factoryd->config, &exchange->request->head);
	buffer_add(headers, buffer_bytes(&exchange->extra), exchange->extra.length);
	return headers;
}

void
exchange_reply(Exchange *exchange, int status, const char *type, const char *body,
			   size_t length)
{
	HttpRequest *request = exchange->request;
	const Buffer *headers = write_headers(exchange, status, type);

	/* The body may be the exchange's own: it is sent or copied first. */
	http_reply(request, status, headers, body, length);
	end_exchange(exchange);
}

void
exchange_reply_text(Exchange *exchange, int status, const char *type, const char *text)
{
	exchange_reply(exchange, status, type, text, strlen(text));
}

void
exchange_begin_stream(Exchange *exchange, int status, const char *type)
{
	exchange->streams = true;
	http_stream_begin(exchange->request, status, write_headers(exchange, status, type));
}

void
exchange_end_stream(Exchange *exchange)
{
	HttpRequest *request = exchange->request;

	exchange->took_us = (long long) (ms_since_received(exchange) * 1000);
	end_exchange(exchange);
	http_stream_end(request);
}

void
exchange_cut_stream(Exchange *exchange)
{
	HttpRequest *request = exchange->request;

	end_exchange(exchange);
	http_stream_cut(request);
}

/* The loop's own buffer, emptied: for a body that is sent at once. */
static Buffer *
fresh_body(Exchange *exchange)
{
	buffer_clear(&exchange->factoryd->body, KEEP_REPLY);
	return &exchange->factoryd->body;
}

static void
reply_body(Exchange *exchange, int status, const char *type, const Buffer *body)
{
	exchange_reply(exchange, status, type, buffer_bytes(body), body->length);
}

/* The four members that PostgREST's clients know. */
static void
add_problem(Buffer *body, const char *code, const char *message, const char *detail,
			const char *hint, const char *detail_name)
{
	buffer_add_char(body, '{');
	add_member(body, "code", code);
	buffer_add_char(body, ',');
	add_member(body, "message", message);
	buffer_add_char(body, ',');
	add_member(body, detail_name, detail);
	buffer_add_char(body, ',');
	add_member(body, "hint", hint);
	buffer_add_char(body, '}');
}

void
exchange_reply_problem(Exchange *exchange, int status, const char *code,
					   const char *message, const char *detail, const char *hint)
{
	Buffer *body = fresh_body(exchange);

	switch (exchange->style)
	{
		case STYLE_API:
			buffer_add_text(body, "{\"success\":false,\"error\":");
			add_problem(body, code, message, detail, hint, "detail");
			add_meta(body, exchange);
			break;
		case STYLE_HEALTH:
			buffer_add_text(body, "{\"status\":\"down\",\"error\":");
			add_problem(body, code, message, detail, hint, "details");
			buffer_add_char(body, '}');
			status = 503;
			break;
		default:
			add_problem(body, code, message, detail, hint, "details");
	}
	reply_body(exchange, status, JSON_TYPE, body);
}

void
exchange_write_refusal(Buffer *body, int status, const char *why)
{
	add_problem(body, status_code(status), http_reason(status), why, NULL, "details");
}

/* The result's only value; null where it has none. */
static const char *
only_value(const CallOutcome *outcome, const char *otherwise, size_t *length)
{
	const PGresult *result = outcome->result;

	if (result == NULL || PQntuples(result) < 1 || PQnfields(result) < 1 ||
		PQgetisnull(result, 0, 0))
	{
		*length = strlen(otherwise);
		return otherwise;
	}
	*length = PQgetlength(result, 0, 0);
	return PQgetvalue(result, 0, 0);
}

static void
answer_result(Exchange *exchange, CallOutcome *outcome)
{
	size_t length;
	const char *value =
		only_value(outcome, exchange->style == STYLE_METRICS ? "" : "null", &length);
	Buffer *body;

	if (exchange->style == STYLE_REST || exchange->style == STYLE_HEALTH)
	{
		exchange_reply(exchange, 200, JSON_TYPE, value, length);
		return;
	}
	body = fresh_body(exchange);
	if (exchange->style == STYLE_METRICS)
	{
		buffer_add(body, value, length);
		service_add_metrics(body, exchange->factoryd);
		reply_body(exchange, 200, METRICS_TYPE, body);
		return;
	}
	buffer_add_text(body, "{\"success\":true,\"data\":");
	buffer_add(body, value, length);
	add_meta(body, exchange);
	reply_body(exchange, exchange->status, JSON_TYPE, body);
}

/* A statement of ours that names what is not there: the extension is missing or old. */
static bool
misses_extension(const Exchange *exchange, const char *sqlstate)
{
	return exchange->fixed_sql &&
		   (strcmp(sqlstate, "42883") == 0 || strcmp(sqlstate, "3F000") == 0);
}

static void
note_rejection(Exchange *exchange, CallFault fault)
{
	if (fault == CALL_CROWDED || fault == CALL_WAITED)
		COUNT(exchange->counters->rejected[REJECTED_QUEUE], 1);
	else if (fault == CALL_AWAY)
		COUNT(exchange->counters->rejected[REJECTED_DATABASE], 1);
}

void
exchange_answer_failure(Exchange *exchange, const CallOutcome *outcome)
{
	const Status *status = status_of_sqlstate(outcome->sqlstate, exchange->anonymous);
	bool rest = exchange->style != STYLE_API;
	const char *code = status->code;

	note_rejection(exchange, outcome->fault);
	if (exchange_was_refused_tenant(exchange, outcome))
	{
		exchange_refuse_tenant(exchange);
		return;
	}
	if (exchange->style == STYLE_METRICS)
	{
		Buffer *body = fresh_body(exchange);

		/* A scraper learns from factoryd_database_up that the rest is missing. */
		service_add_metrics(body, exchange->factoryd);
		reply_body(exchange, 200, METRICS_TYPE, body);
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
	if (outcome->fault == CALL_NOT_ALLOWED && exchange->call.tenant &&
		strcmp(outcome->sqlstate, "42501") == 0)
	{
		exchange_reply_problem(
			exchange, 403, rest ? "42501" : "ERR_FORBIDDEN", outcome->message,
			outcome->detail,
			"The token names a tenant: GRANT SET ON PARAMETER factory.tenant TO the user "
			"of "
			"FACTORYD_DATABASE, or set FACTORYD_JWT_TENANT_CLAIM to nothing.");
		return;
	}
	exchange_reply_problem(exchange, status->status, rest ? outcome->sqlstate : code,
						   outcome->message, outcome->detail, outcome->hint);
}

/* The standby is away: what only reads may go to the primary as well. */
static bool
try_primary(Exchange *exchange, const CallOutcome *outcome)
{
	Factoryd *factoryd = exchange->factoryd;

	if (exchange->call.pool != factoryd->read_pool || exchange->tried_read ||
		exchange->streams || (outcome->fault != CALL_AWAY && outcome->fault != CALL_LOST))
		return false;
	exchange->tried_read = true;
	exchange->runs = true;
	pool_submit(factoryd->pool, &exchange->call);
	return true;
}

void
exchange_run_again(Exchange *exchange)
{
	exchange->runs = true;
	pool_submit(exchange->call.pool, &exchange->call);
}

static void
call_done(Call *call, CallOutcome *outcome)
{
	Exchange *exchange = call->owner;

	exchange->runs = false;
	if (outcome->fault == CALL_FINE && exchange->answer)
		exchange->answer(exchange, outcome);
	else if (outcome->fault == CALL_FINE)
		answer_result(exchange, outcome);
	else if (try_primary(exchange, outcome))
		return;
	else if (exchange->streams)
		exchange_cut_stream(exchange);
	else if (!exchange->answer_failure || !exchange->answer_failure(exchange, outcome))
		exchange_answer_failure(exchange, outcome);
}

/* --- to the database ---------------------------------------------------------------- */

/* What authenticates is not handed on; the identifiers are added as we know them. */
static const struct
{
	const char *name;
	size_t length;
} left_out[] = {{"authorization", 13}, {"cookie", 6},        {"proxy-authorization", 19},
				{"x-api-key", 9},      {"x-request-id", 12}, {"x-trace-id", 10}};

static bool
is_left_out(const HttpHeader *header)
{
	for (size_t i = 0; i < sizeof(left_out) / sizeof(left_out[0]); i++)
		if (header->name_length == left_out[i].length &&
			memcmp(header->name, left_out[i].name, left_out[i].length) == 0)
			return true;
	return false;
}

/* A name or value in which nothing is to be escaped, as one of an object's members. */
static void
add_plain(Buffer *text, const char *plain, size_t length, char end)
{
	char *place = buffer_reserve(text, length + 3);

	*place++ = '"';
	memcpy(place, plain, length);
	place[length] = '"';
	place[length + 1] = end;
	text->length += length + 3;
}

/*
 * The headers as PostgREST hands them on, without what authenticates.  Their names are
 * tokens and our identifiers have no other characters than names: neither has any that
 * JSON escapes.
 */
static const char *
describe_headers(Exchange *exchange)
{
	const HttpHead *head = &exchange->request->head;
	Buffer *text = &exchange->headers;

	buffer_reserve(text, HEADERS_USUAL);
	buffer_add_char(text, '{');
	for (int i = 0; i < head->header_count; i++)
	{
		const HttpHeader *header = &head->headers[i];

		if (is_left_out(header))
			continue;
		add_plain(text, header->name, header->name_length, ':');
		buffer_add_json(text, header->value);
		buffer_add_char(text, ',');
	}
	add_plain(text, "x-request-id", strlen("x-request-id"), ':');
	add_plain(text, exchange->request_id, strlen(exchange->request_id), ',');
	add_plain(text, "x-trace-id", strlen("x-trace-id"), ':');
	add_plain(text, exchange->trace_id, strlen(exchange->trace_id), '}');
	return buffer_text(text);
}

/* The path as the database may see it: it must be UTF-8. */
static const char *
path_of(const Exchange *exchange)
{
	const char *path = exchange->request->head.path;

	return text_is_utf8(path, strlen(path)) ? path : "";
}

static const char *
claims_of_anonymous(Exchange *exchange)
{
	Buffer *claims = &exchange->claims;

	buffer_clear(claims, HEADERS_USUAL);
	buffer_add_text(claims, "{\"role\":");
	buffer_add_json(claims, exchange->call.role);
	buffer_add_char(claims, '}');
	return buffer_text(claims);
}

void
exchange_run(Exchange *exchange)
{
	Factoryd *factoryd = exchange->factoryd;
	Call *call = &exchange->call;
	Pool *pool = factoryd->pool;

	if (call->claims == NULL)
		call->claims = exchange->anonymous ? claims_of_anonymous(exchange) : "";
	if (call->main.values == NULL)
	{
		call->main.values = exchange->values.items;
		call->main.value_count = exchange->values.count;
	}
	call->headers = describe_headers(exchange);
	call->method = exchange->request->head.method;
	call->path = path_of(exchange);
	call->done = call_done;
	if (exchange->reads && (call->read_only || exchange->fixed_sql) &&
		factoryd->read_pool && !pool_counters(factoryd->read_pool)->away)
		pool = factoryd->read_pool;
	exchange->runs = true;
	pool_submit(pool, call);
}
