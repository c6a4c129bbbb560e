/*
 * rest_change.c
 *		POST, PATCH, PUT and DELETE of a table or view, and their answers.
 */
#include "rest_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- the answer ------------------------------------------------------------------- */

static const struct
{
	const char *code;
	int status;
	const char *message;
	const char *detail;
} guards[] = {
	{"PGRST116", 406, "Cannot coerce the result to a single JSON object",
	 "The result contains %lld rows"},
	{"PGRST115", 400, "Payload values do not match URL in primary key column(s)", NULL},
	{"PGRST124", 400, "Query result exceeds max-affected preference constraint",
	 "The query affects %lld rows"},
};

/* An error that our own guard raised, so that nothing was changed. */
static bool
answer_guard(Exchange *exchange, const CallOutcome *outcome)
{
	if (rest_answer_zone(exchange, outcome))
		return true;
	if (outcome->fault != CALL_FAILED || strcmp(outcome->sqlstate, "22P02") != 0)
		return false;
	for (size_t i = 0; i < sizeof(guards) / sizeof(guards[0]); i++)
	{
		const char *found = strstr(outcome->message, guards[i].code);
		char detail[100] = "";

		if (found == NULL || found[-1] != '"')
			continue;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		if (guards[i].detail)
			snprintf(detail, sizeof(detail), guards[i].detail,
					 strtoll(found + strlen(guards[i].code), NULL, 10));
#pragma GCC diagnostic pop
		exchange_reply_problem(exchange, guards[i].status, guards[i].code,
							   guards[i].message, *detail ? detail : NULL, NULL);
		return true;
	}
	return false;
}

static void
add_applied(Buffer *headers, const Rest *rest)
{
	const RestPreferences *prefer = &rest->prefer;
	static const char *const returns[] = {"return=minimal", "return=headers-only",
										  "return=representation"};
	static const char *const conflicts[] = {NULL, "resolution=merge-duplicates",
											"resolution=ignore-duplicates"};

	if (!prefer->returns_said && !prefer->conflict_said)
		return;
	buffer_add_format(headers, "Preference-Applied: %s%s%s\r\n",
					  prefer->conflict_said ? conflicts[prefer->conflict] : "",
					  prefer->conflict_said && prefer->returns_said ? ", " : "",
					  prefer->returns_said ? returns[prefer->returns] : "");
}

static void
answer_change(Exchange *exchange, CallOutcome *outcome)
{
	Rest *rest = exchange->rest;
	const PGresult *result = outcome->result;
	bool inserts = rest->write.change == CHANGE_INSERT;
	long long count = strtoll(PQgetvalue(result, 0, 0), NULL, 10);
	bool rows = rest->write.returns == RETURN_ROWS;

	buffer_add_format(&exchange->extra, "Content-Range: ");
	if (inserts || count == 0)
		buffer_add_text(&exchange->extra, "*");
	else
		buffer_add_format(&exchange->extra, "0-%lld", count - 1);
	buffer_add_format(&exchange->extra, "/%s", rest->prefer.counting ? "" : "*");
	if (rest->prefer.counting)
		buffer_add_number(&exchange->extra, count);
	buffer_add_text(&exchange->extra, "\r\n");
	add_applied(&exchange->extra, rest);
	if (!PQgetisnull(result, 0, 2))
		buffer_add_format(&exchange->extra, "Location: %s%s\r\n",
						  exchange->request->head.path, PQgetvalue(result, 0, 2));
	if (rows)
		exchange_reply(exchange, inserts ? 201 : 200, rest->media.answer,
					   PQgetvalue(result, 0, 1), PQgetlength(result, 0, 1));
	else
		exchange_reply(exchange, inserts ? 201 : 204, NULL, "", 0);
}

/* --- what is written ------------------------------------------------------------------------ */

/* PUT replaces one row: its filters are the primary key, equal and nothing else. */
static bool
put_is_whole(const Exchange *exchange, const CatalogRelation *relation)
{
	const RestLevel *top = &exchange->rest->query.top;
	int filters = 0;

	for (const RestLogic *filter = top->filters; filter; filter = filter->next, filters++)
	{
		int column = filter->kind == LOGIC_CONDITION && !filter->field.path
						 ? catalog_column(relation, filter->field.name)
						 : -1;

		if (column < 0 || !relation->columns[column].is_key || filter->negated ||
			strcmp(filter->operator->name, "eq") != 0)
			return false;
	}
	return filters == relation->key_count && relation->key_count > 0 &&
		   json_is_object(exchange->rest->body);
}

static void
nothing_to_do(Exchange *exchange)
{
	bool rows = exchange->rest->write.returns == RETURN_ROWS;
	bool inserts = exchange->rest->write.change == CHANGE_INSERT;

	buffer_add_text(&exchange->extra, "Content-Range: */*\r\n");
	exchange_reply_text(exchange,
						inserts ? 201
						: rows  ? 200
								: 204,
						rows ? JSON_TYPE : NULL, rows ? "[]" : "");
}

static void
run_change(Exchange *exchange, const CatalogRelation *relation)
{
	Rest *rest = exchange->rest;
	RestStatement statement = rest_statement(exchange);
	RestSource source = {relation, relation->quoted};

	if (!rest_write_change(&statement, &source, &rest->write))
	{
		rest_reply_problem(exchange);
		return;
	}
	exchange->call.main.sql = buffer_text(&rest->sql);
	exchange->answer = answer_change;
	exchange->answer_failure = answer_guard;
	exchange_run(exchange);
}

static const struct
{
	const char *method;
	RestChange change;
} changes[] = {
	{"POST", CHANGE_INSERT},
	{"PATCH", CHANGE_UPDATE},
	{"PUT", CHANGE_PUT},
	{"DELETE", CHANGE_DELETE},
};

static const RestChange *
change_of(const char *method)
{
	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++)
		if (strcmp(method, changes[i].method) == 0)
			return &changes[i].change;
	return NULL;
}

bool
rest_is_change(const char *method)
{
	return change_of(method) != NULL;
}

/* Which of the rows are meant is not said, and more than was meant is never changed. */
static bool
refuse_limits(Exchange *exchange, RestChange change)
{
	const RestLevel *top = &exchange->rest->query.top;
	char message[100];

	if (change == CHANGE_INSERT || (top->limit < 0 && top->offset == 0))
		return false;
	snprintf(message, sizeof(message),
			 "limit/offset querystring parameters are not allowed for %s",
			 exchange->request->head.method);
	exchange_reply_problem(
		exchange, 400, "PGRST114", message, NULL,
		"Filter by a key; Prefer: handling=strict, max-affected=N refuses to change "
		"more rows than that.");
	return true;
}

void
rest_serve_change(Exchange *exchange, const CatalogRelation *relation, const char *method)
{
	RestChange change = *change_of(method);
	Rest *rest = exchange->rest;
	RestWrite *write = &rest->write;

	if (refuse_limits(exchange, change))
		return;
	*write = (RestWrite){.change = change,
						 .returns = rest->prefer.returns,
						 .conflict = rest->prefer.conflict,
						 .shape = rest->media.shape == SHAPE_COLUMNS ? SHAPE_JSON
																	 : rest->media.shape,
						 .single = rest->media.single,
						 .defaults = rest->prefer.defaults && change == CHANGE_INSERT,
						 .max_affected = rest->prefer.max_affected};
	if (rest->media.shape == SHAPE_COLUMNS)
	{
		rest->media.shape = SHAPE_JSON;
		rest->media.answer = JSON_TYPE;
	}
	if (write->single && write->returns != RETURN_ROWS)
		write->single = false;
	if (change == CHANGE_PUT)
		write->conflict = CONFLICT_MERGE;
	if (change != CHANGE_DELETE)
	{
		if (!rest_read_body(exchange, &write->body))
			return;
		write->is_list = json_is_array(rest->body);
		if (change == CHANGE_UPDATE && write->is_list)
		{
			rest_refuse_body(exchange, "The body of PATCH is one object.", NULL);
			return;
		}
		if (!rest_read_columns(exchange))
			return;
		if ((write->is_list && json_array_size(rest->body) == 0) ||
			(change == CHANGE_UPDATE && write->column_count == 0))
		{
			nothing_to_do(exchange);
			return;
		}
	}
	if (change == CHANGE_PUT && !put_is_whole(exchange, relation))
	{
		exchange_reply_problem(exchange, 405, "PGRST105",
							   "Filters must include all and only primary key columns "
							   "with 'eq' operators",
							   NULL, NULL);
		return;
	}
	run_change(exchange, relation);
}
