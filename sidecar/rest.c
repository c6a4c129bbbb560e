/*
 * rest.c
 *		PostgREST's conventions: tables, views and what functions return.
 *
 * Rows of what only reads are sent on as they come, so an answer of any length takes
 * little memory; what a write returns is sent only when it has committed.
 */
#include "rest_int.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "status.h"
#include "text.h"

/* What a buffer may have for the next exchange. */
#define KEEP_BUFFER 2048

/* Rows are sent on where so many bytes of them are there. */
#define SEND_SIZE 32768

/* count=estimated counts up to here, and asks the planner beyond. */
#define ESTIMATED_MOST 1000

static void
free_members(Rest *rest)
{
	rest_query_free(&rest->query);
	rest_problem_free(&rest->problem);
	for (int i = 0; i < 2; i++)
	{
		values_free(&rest->count_values[i]);
		buffer_free(&rest->count_sql[i]);
	}
	json_decref(rest->body);
	free(rest->columns);
	free(rest->body_text);
}

void
rest_free(struct Rest *rest)
{
	if (rest == NULL)
		return;
	free_members(rest);
	buffer_free(&rest->sql);
	buffer_free(&rest->rows);
	buffer_free(&rest->call);
	free(rest);
}

void
rest_clear(struct Rest *rest)
{
	size_t kept = offsetof(Rest, query);

	if (rest == NULL)
		return;
	free_members(rest);
	buffer_clear(&rest->sql, KEEP_BUFFER);
	buffer_clear(&rest->rows, KEEP_BUFFER);
	buffer_clear(&rest->call, KEEP_BUFFER);
	memset((char *) rest + kept, 0, sizeof(Rest) - kept);
}

void
rest_reply_problem(Exchange *exchange)
{
	RestProblem problem = exchange->rest->problem;

	/* The exchange ends with the answer, and the problem with it. */
	memset(&exchange->rest->problem, 0, sizeof(problem));
	exchange_reply_problem(exchange, problem.status, problem.code, problem.message,
						   problem.detail, problem.hint);
	rest_problem_free(&problem);
}

bool
rest_begin(Exchange *exchange, bool (*is_argument)(const char *name, void *context),
		   void *context)
{
	const char *query = exchange->request->head.query;
	Rest *rest = exchange->rest;

	if (rest == NULL)
		rest = exchange->rest = memory_new(sizeof(Rest));
	rest_query_free(&rest->query);
	memset(&rest->query, 0, sizeof(rest->query));
	rest->head = strcmp(exchange->request->head.method, "HEAD") == 0;
	if (!rest_read_accept(exchange) || !rest_read_prefer(exchange))
		return false;
	if (!rest_query_read(&rest->query,
						 query ? arena_copy(&rest->query.arena, query, strlen(query))
							   : NULL,
						 is_argument, context))
	{
		int status = strcmp(rest->query.code, "PGRST103") == 0 ? 416 : 400;

		exchange_reply_problem(exchange, status, rest->query.code, rest->query.message,
							   rest->query.detail, NULL);
		return false;
	}
	if (rest->query.aggregates && !exchange->factoryd->config->aggregates)
	{
		exchange_reply_problem(exchange, 400, "PGRST123",
							   "Use of aggregate functions is not allowed", NULL,
							   "FACTORYD_AGGREGATES = on allows it.");
		return false;
	}
	rest_read_range(exchange);
	return true;
}

/* --- the answer of a SELECT ------------------------------------------------------------- */

/* How many rows there are in all, or -1 where nobody asked. */
static long long
total_of(const Exchange *exchange)
{
	const Call *call = &exchange->call;
	long long counted;
	long long planned;

	if (exchange->rest->prefer.counting == COUNTING_NONE || call->aside_count == 0)
		return -1;
	counted = strtoll(call->aside_values[0], NULL, 10);
	if (call->aside_count < 2 || counted <= ESTIMATED_MOST)
		return counted;
	planned = strtoll(call->aside_values[1], NULL, 10);
	return planned > counted ? planned : counted;
}

static void
add_range(Buffer *headers, long long first, long long count, long long total)
{
	if (count > 0)
		buffer_add_format(headers, "Content-Range: %lld-%lld/", first, first + count - 1);
	else
		buffer_add_text(headers, "Content-Range: */");
	if (total >= 0)
		buffer_add_number(headers, total);
	else
		buffer_add_char(headers, '*');
	buffer_add(headers, "\r\n", 2);
}

static int
status_of_range(long long count, long long total)
{
	return total >= 0 && count < total ? 206 : 200;
}

static void
add_csv_value(Buffer *rows, const char *value, size_t length)
{
	if (memchr(value, ',', length) == NULL && memchr(value, '"', length) == NULL &&
		memchr(value, '\n', length) == NULL && memchr(value, '\r', length) == NULL)
	{
		buffer_add(rows, value, length);
		return;
	}
	buffer_add_char(rows, '"');
	for (size_t i = 0; i < length; i++)
	{
		if (value[i] == '"')
			buffer_add_char(rows, '"');
		buffer_add_char(rows, value[i]);
	}
	buffer_add_char(rows, '"');
}

static void
add_csv_names(Rest *rest, const PGresult *row)
{
	for (int i = 0; i < PQnfields(row); i++)
	{
		const char *name = PQfname(row, i);

		buffer_add_text(&rest->rows, i ? "," : "");
		add_csv_value(&rest->rows, name, strlen(name));
	}
}

static void
add_csv_row(Rest *rest, const PGresult *row)
{
	if (rest->count == 1)
		add_csv_names(rest, row);
	for (int i = 0; i < PQnfields(row); i++)
	{
		buffer_add_char(&rest->rows, i ? ',' : '\n');
		if (!PQgetisnull(row, 0, i))
			add_csv_value(&rest->rows, PQgetvalue(row, 0, i), PQgetlength(row, 0, i));
	}
}

static void
add_row(Rest *rest, const PGresult *row)
{
	rest->count++;
	if (rest->head || (rest->media.single && rest->count > 1))
		return;
	if (rest->media.shape == SHAPE_COLUMNS)
	{
		add_csv_row(rest, row);
		return;
	}
	if (!rest->media.single)
		buffer_add_text(&rest->rows, rest->count == 1 ? "[" : ",\n ");
	if (PQgetisnull(row, 0, 0))
		buffer_add(&rest->rows, "null", 4);
	else
		buffer_add(&rest->rows, PQgetvalue(row, 0, 0), PQgetlength(row, 0, 0));
}

/* Where it is known how many rows there are, it is known which ones are sent. */
static void
begin_stream(Exchange *exchange)
{
	Rest *rest = exchange->rest;
	const RestLevel *top = &rest->query.top;
	long long most = exchange->factoryd->config->max_rows;
	long long total = total_of(exchange);
	long long count = total - top->offset;
	int status = 200;

	if (top->limit >= 0 && count > top->limit)
		count = top->limit;
	if (most > 0 && count > most)
		count = most;
	if (total >= 0 && rest->prefer.counting == COUNTING_EXACT)
	{
		add_range(&exchange->extra, top->offset, count, total);
		status = status_of_range(count, total);
	}
	exchange_begin_stream(exchange, status, rest->media.answer);
}

static bool
take_row(Call *call, PGresult *row)
{
	Exchange *exchange = call->owner;
	Rest *rest = exchange->rest;
	bool more;

	add_row(rest, row);
	if (rest->rows.length < SEND_SIZE || !call->read_only || rest->media.single)
		return true;
	if (!exchange->streams)
		begin_stream(exchange);
	more =
		http_stream_add(exchange->request, buffer_bytes(&rest->rows), rest->rows.length);
	buffer_clear(&rest->rows, SEND_SIZE * 2);
	return more;
}

static void
reply_not_single(Exchange *exchange, long long count)
{
	char detail[80];

	snprintf(detail, sizeof(detail), "The result contains %lld rows", count);
	exchange_reply_problem(exchange, 406, "PGRST116",
						   "Cannot coerce the result to a single JSON object", detail,
						   NULL);
}

static void
answer_select(Exchange *exchange, CallOutcome *outcome)
{
	Rest *rest = exchange->rest;
	long long offset = rest->query.top.offset;
	long long total = total_of(exchange);
	char detail[120];

	(void) outcome;
	if (rest->media.single && rest->count != 1)
	{
		reply_not_single(exchange, rest->count);
		return;
	}
	if (!rest->media.single && rest->media.shape != SHAPE_COLUMNS && !rest->head)
		buffer_add_text(&rest->rows, rest->count ? "]" : "[]");
	if (exchange->streams)
	{
		http_stream_add(exchange->request, buffer_bytes(&rest->rows), rest->rows.length);
		exchange_end_stream(exchange);
		return;
	}
	if (total >= 0 && offset > 0 && offset > total)
	{
		snprintf(detail, sizeof(detail),
				 "An offset of %lld was requested, but there are only %lld rows.", offset,
				 total);
		add_range(&exchange->extra, 0, 0, total);
		exchange_reply_problem(exchange, 416, "PGRST103",
							   "Requested range not satisfiable", detail, NULL);
		return;
	}
	add_range(&exchange->extra, offset, rest->count, total);
	exchange_reply(exchange, status_of_range(rest->count, total), rest->media.answer,
				   buffer_text(&rest->rows), rest->rows.length);
}

/* What the statements' text and values are, once nothing is added to them. */
static void
set_asides(Exchange *exchange)
{
	Rest *rest = exchange->rest;
	Call *call = &exchange->call;

	call->aside_count = 0;
	for (int i = 0; i < 2; i++)
		if (rest->count_sql[i].length)
			call->asides[call->aside_count++] =
				(CallStatement){buffer_text(&rest->count_sql[i]),
								rest->count_values[i].items, rest->count_values[i].count};
}

static bool
write_counts(Exchange *exchange, RestStatement statement, const RestSource *source)
{
	Rest *rest = exchange->rest;
	RestCounting counting = rest->prefer.counting;
	int used = 0;

	if (counting == COUNTING_EXACT || counting == COUNTING_ESTIMATED)
	{
		statement.values = &rest->count_values[used];
		statement.sql = &rest->count_sql[used++];
		if (!rest_write_count(&statement, source,
							  counting == COUNTING_ESTIMATED ? ESTIMATED_MOST + 1 : 0))
			return false;
	}
	if (counting == COUNTING_PLANNED || counting == COUNTING_ESTIMATED)
	{
		statement.values = &rest->count_values[used];
		statement.sql = &rest->count_sql[used];
		if (!rest_write_estimate(&statement, source))
			return false;
	}
	return true;
}

RestStatement
rest_statement(Exchange *exchange)
{
	Rest *rest = exchange->rest;

	return (RestStatement){.catalog = exchange->factoryd->catalog,
						   .query = &rest->query,
						   .max_rows = exchange->factoryd->config->max_rows,
						   .values = &exchange->values,
						   .sql = &rest->sql,
						   .problem = &rest->problem};
}

static void
reply_no_range(Exchange *exchange)
{
	exchange_reply_problem(exchange, 416, "PGRST103", "Requested range not satisfiable",
						   "The lower boundary must be lower than or equal to the upper "
						   "boundary in the Range header.",
						   NULL);
}

/* The value itself, in no JSON. */
static void
answer_raw(Exchange *exchange, const PGresult *result)
{
	const RestRaw *raw = exchange->rest->raw;
	Buffer *rows = &exchange->rest->rows;
	const char *value = PQntuples(result) < 1 ? "" : PQgetvalue(result, 0, 0);

	if (raw->binary)
		buffer_add_hex(rows, value);
	else
		buffer_add_text(rows, value);
	exchange_reply(exchange, 200, raw->answer, buffer_bytes(rows), rows->length);
}

/* One value is the whole answer: it comes as it is, and quick ones share a connection. */
static void
answer_scalar(Exchange *exchange, CallOutcome *outcome)
{
	const PGresult *result = outcome->result;
	const RestMedia *media = &exchange->rest->media;
	const char *type = media->single ? media->answer : JSON_TYPE;

	if (exchange->rest->raw)
		answer_raw(exchange, result);
	else if (PQntuples(result) < 1 || PQgetisnull(result, 0, 0))
		exchange_reply_text(exchange, 200, type, "null");
	else
		exchange_reply(exchange, 200, type, PQgetvalue(result, 0, 0),
					   PQgetlength(result, 0, 0));
}

/*
 * A time zone that there is not, and that nothing was run with: refused where that was
 * asked for, else the request is run without.
 */
bool
rest_answer_zone(Exchange *exchange, const CallOutcome *outcome)
{
	Call *call = &exchange->call;
	char *detail;

	if (call->timezone == NULL || outcome->fault != CALL_FAILED ||
		strcmp(outcome->sqlstate, "22023") != 0 ||
		strstr(outcome->message, "\"TimeZone\"") == NULL)
		return false;
	if (!exchange->rest->prefer.strict)
	{
		call->timezone = NULL;
		exchange_run_again(exchange);
		return true;
	}
	detail = text_format("Invalid preferences: timezone=%s", call->timezone);
	exchange_reply_problem(exchange, 400, "PGRST122",
						   "Invalid preferences given with handling=strict", detail,
						   NULL);
	free(detail);
	return true;
}

void
rest_run_rows(Exchange *exchange, const char *sql)
{
	bool scalar = exchange->rest->scalar;

	exchange->call.main.sql = sql;
	exchange->call.row = scalar ? NULL : take_row;
	exchange->answer = scalar ? answer_scalar : answer_select;
	exchange->answer_failure = rest_answer_zone;
	set_asides(exchange);
	exchange_run(exchange);
}

void
rest_run_select(Exchange *exchange, const RestSource *source)
{
	Rest *rest = exchange->rest;
	RestStatement statement = rest_statement(exchange);

	if (rest->only_raw)
		rest_reply_no_media(exchange);
	else if (rest->offset_over)
		reply_no_range(exchange);
	else if (!rest_write_select(&statement, source, rest->media.shape) ||
			 (exchange->call.read_only && !write_counts(exchange, statement, source)))
		rest_reply_problem(exchange);
	else
		rest_run_rows(exchange, buffer_text(&rest->sql));
}

/* --- the door --------------------------------------------------------------------------------- */

static const CatalogRelation *
find_relation(Exchange *exchange, const char *schema, const char *name)
{
	const Catalog *catalog = exchange->factoryd->catalog;
	const CatalogRelation *found;
	int count;
	const char *const *schemas = catalog_schemas(catalog, &count);

	if (schema)
		return catalog_relation(catalog, schema, name);
	for (int i = 0; i < count; i++)
		if ((found = catalog_relation(catalog, schemas[i], name)) != NULL)
			return found;
	return NULL;
}

static void
reply_no_relation(Exchange *exchange, const char *schema, const char *name)
{
	int schema_count;
	const char *const *schemas =
		catalog_schemas(exchange->factoryd->catalog, &schema_count);
	int count;
	const CatalogRelation *relations =
		catalog_relations(exchange->factoryd->catalog, &count);
	const CatalogRelation *nearest = NULL;
	int least = LONGEST_NAME;
	char *message = text_format("Could not find the table '%s.%s' in the schema cache",
								schema ? schema : schemas[0], name);
	char *hint = NULL;

	for (int i = 0; i < count; i++)
	{
		int distance = text_distance(name, relations[i].name);

		if (distance < least)
		{
			least = distance;
			nearest = &relations[i];
		}
	}
	if (nearest && text_is_near(name, nearest->name, least))
		hint = text_format("Perhaps you meant the table '%s.%s'", nearest->schema,
						   nearest->name);
	exchange_reply_problem(exchange, 404, "PGRST205", message, NULL, hint);
	free(message);
	free(hint);
}

static void
serve_relation(Exchange *exchange, bool may_look_again)
{
	const char *method = exchange->request->head.method;
	const char *name = buffer_text(&exchange->path) + 1;
	const CatalogRelation *relation;
	const char *schema;

	if (!rest_profile(exchange, &schema))
		return;
	relation = find_relation(exchange, schema, name);
	if (relation == NULL)
	{
		buffer_clear(&exchange->extra, 0);
		if (!may_look_again ||
			!catalog_await_newer(exchange->factoryd->catalog, exchange))
			reply_no_relation(exchange, schema, name);
		return;
	}
	if (!rest_begin(exchange, NULL, NULL))
		return;
	if (rest_is_change(method))
	{
		if (exchange->rest->only_raw)
			rest_reply_no_media(exchange);
		else
			rest_serve_change(exchange, relation, method);
		return;
	}
	exchange->call.read_only = true;
	exchange->reads = true;
	rest_run_select(exchange, &(RestSource){relation, relation->quoted});
}

static void
serve_or_give_up(Exchange *exchange)
{
	serve_relation(exchange, false);
}

void
rest_serve(Exchange *exchange)
{
	exchange->resume = serve_or_give_up;
	serve_relation(exchange, true);
}
