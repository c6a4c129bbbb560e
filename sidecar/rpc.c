/*
 * rpc.c
 *		POST and GET /rpc/NAME: calling a function by name, as PostgREST does.
 *
 * Arguments are bound, one value each; a list for an array's argument is taken apart
 * by json_to_record with the function's own types.  Nothing a client sends is ever
 * part of a statement but quoted names.  The same names always give the same
 * statement, so it is prepared once.
 */
#include "rpc_int.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "form.h"
#include "json_scan.h"
#include "rest.h"
#include "route.h"
#include "text.h"

/* A body that is no JSON, and the type of the nameless argument that takes it. */
static const struct
{
	const char *media;
	const char *type;
} whole_bodies[] = {
	{"text/plain", "pg_catalog.text"},
	{"text/xml", "pg_catalog.xml"},
	{"application/octet-stream", "pg_catalog.bytea"},
};

static const char *
asked_name(Exchange *exchange)
{
	return buffer_bytes(&exchange->path) + strlen("/rpc/");
}

static bool
is_get(const Exchange *exchange)
{
	return strcmp(exchange->request->head.method, "POST") != 0;
}

/* Whether arguments are words of a query string or a form: their types read them. */
bool
rpc_has_words(const Exchange *exchange)
{
	return is_get(exchange) || rest_body_is(exchange->request, FORM_TYPE);
}

/* The type that takes the body as it is, or NULL where it is to be JSON. */
const char *
rpc_whole_body_type(const Exchange *exchange)
{
	const char *media = http_head_value(&exchange->request->head, "content-type");
	size_t length = media ? strcspn(media, "; ") : 0;

	for (size_t i = 0; length && i < sizeof(whole_bodies) / sizeof(whole_bodies[0]); i++)
		if (strlen(whole_bodies[i].media) == length &&
			strncasecmp(whole_bodies[i].media, media, length) == 0)
			return whole_bodies[i].type;
	return NULL;
}

bool
rpc_takes_json(const CatalogArgument *argument)
{
	return strcmp(argument->type, "pg_catalog.json") == 0 ||
		   strcmp(argument->type, "pg_catalog.jsonb") == 0;
}

bool
rpc_is_given(const Exchange *exchange, const char *name)
{
	return exchange->is_plain ? json_plain_member(&exchange->plain, name) != NULL
							  : json_object_get(exchange->body, name) != NULL;
}

size_t
rpc_given_count(const Exchange *exchange)
{
	return exchange->is_plain ? (size_t) exchange->plain.count
							  : json_object_size(exchange->body);
}

/* --- the statement ---------------------------------------------------------------- */

/* Whether the argument's own type can read it: a list may be an array of any type. */
static bool
is_bound_alone(const Exchange *exchange, const CatalogArgument *argument)
{
	const json_t *value;

	if (exchange->is_plain || rpc_takes_json(argument))
		return true;
	value = json_object_get(exchange->body, argument->name);
	return !(json_is_array(value) || json_is_object(value));
}

static char *
text_of_plain(const JsonMember *given, bool as_json)
{
	if (given->value[0] == 'n') /* null: nothing else begins so */
		return NULL;
	if (given->value[0] == '"' && !as_json)
		return strndup(given->value + 1, given->length - 2);
	return strndup(given->value, given->length);
}

/* As it was sent: a parser's numbers are not exact. */
static char *
text_of(const Exchange *exchange, const CatalogArgument *argument)
{
	const json_t *value;
	const char *text;
	size_t length;

	if (exchange->is_plain)
		return text_of_plain(json_plain_member(&exchange->plain, argument->name),
							 rpc_takes_json(argument));
	value = json_object_get(exchange->body, argument->name);
	if (json_is_null(value))
		return NULL;
	if (json_is_string(value) && (rpc_has_words(exchange) || !rpc_takes_json(argument)))
		return text_copy(json_string_value(value));
	if (json_scan_member(exchange->request->body, argument->name, &text, &length))
		return strndup(text, length);
	return json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
}

/* $2::pg_catalog.int4 */
static void
add_parameter(Buffer *sql, int number, const char *type)
{
	buffer_add_char(sql, '$');
	buffer_add_number(sql, number);
	buffer_add(sql, "::", 2);
	buffer_add_text(sql, type);
}

/* "a" => $2::pg_catalog.int4, or "a" => given."a" with a column of that name. */
static void
pass_argument(Exchange *exchange, const CatalogArgument *argument, bool variadic,
			  Buffer *passed, Buffer *columns)
{
	if (variadic)
		buffer_add_text(passed, "VARIADIC ");
	buffer_add_identifier(passed, argument->name);
	buffer_add_text(passed, " => ");
	if (is_bound_alone(exchange, argument))
	{
		add_parameter(passed, values_take(&exchange->values, text_of(exchange, argument)),
					  argument->type);
		return;
	}
	buffer_add_text(passed, "given.");
	buffer_add_identifier(passed, argument->name);
	buffer_add_text(columns, columns->length ? ", " : "");
	buffer_add_identifier(columns, argument->name);
	buffer_add_format(columns, " %s", argument->type);
}

static char *
whole_body(Exchange *exchange)
{
	const HttpRequest *request = exchange->request;
	const char *type = rpc_whole_body_type(exchange);
	Buffer hex = {0};

	if (type && strcmp(type, "pg_catalog.bytea") == 0)
	{
		buffer_add_text(&hex, "\\x");
		for (size_t i = 0; i < request->body_length; i++)
			buffer_add_format(&hex, "%02x", (unsigned char) request->body[i]);
		return buffer_detach(&hex);
	}
	if (rpc_has_words(exchange) || (request->body_length == 0 && exchange->body))
		return json_dumps(exchange->body, JSON_COMPACT);
	return text_copy(request->body);
}

/* One word for a variadic argument is a list of one. */
static void
list_variadic(Exchange *exchange, const CatalogFunction *function)
{
	const char *name = function->arguments[function->argument_count - 1].name;
	json_t *value = json_object_get(exchange->body, name);

	if (json_is_string(value))
		json_object_set_new(exchange->body, name, json_pack("[O]", value));
}

/* The call, and in columns what it takes of a JSON object, if anything. */
static void
write_call(Exchange *exchange, const CatalogFunction *function, Fit fit, Buffer *call,
		   Buffer *columns)
{
	bool first = true;

	buffer_add_text(call, function->quoted);
	buffer_add_char(call, '(');
	if (fit == FIT_NAMED && function->is_variadic && rpc_has_words(exchange))
		list_variadic(exchange, function);
	if (fit == FIT_WHOLE)
		add_parameter(call, values_take(&exchange->values, whole_body(exchange)),
					  function->arguments[0].type);
	for (int i = 0; fit == FIT_NAMED && i < function->argument_count; i++)
	{
		const CatalogArgument *argument = &function->arguments[i];

		if (!rpc_is_given(exchange, argument->name))
			continue;
		buffer_add_text(call, first ? "" : ", ");
		pass_argument(exchange, argument,
					  function->is_variadic && i == function->argument_count - 1, call,
					  columns);
		first = false;
	}
	buffer_add_char(call, ')');
}

/* " FROM json_to_record(...) AS given(...)" where the call needs it. */
static void
write_given(Exchange *exchange, Buffer *columns, Buffer *given)
{
	if (columns->length)
		buffer_add_format(given,
						  "pg_catalog.json_to_record($%d::pg_catalog.json) AS given(%s)",
						  values_take(&exchange->values, whole_body(exchange)),
						  buffer_text(columns));
}

/* Types whose text is their JSON, so that the server need not make it. */
static bool
is_json_already(const char *type)
{
	static const char *const types[] = {"pg_catalog.int2", "pg_catalog.int4",
										"pg_catalog.int8", "pg_catalog.json",
										"pg_catalog.jsonb"};

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (strcmp(type, types[i]) == 0)
			return true;
	return false;
}

/* What stands around the call of a function of one value. */
static void
write_one_value(Buffer *sql, const RestRaw *raw, const CatalogFunction *function,
				const Buffer *call)
{
	bool bytes = raw && strcmp(function->returns, "pg_catalog.bytea") == 0;
	const char *before = "SELECT pg_catalog.to_json(";
	const char *after = ")::pg_catalog.text";

	if (raw == NULL && is_json_already(function->returns))
	{
		before = "SELECT ";
		after = "";
	}
	else if (raw && !raw->binary)
		before = "SELECT (";
	else if (raw && bytes)
	{
		before = "SELECT pg_catalog.encode(";
		after = ", 'hex')";
	}
	else if (raw)
	{
		before = "SELECT pg_catalog.encode(pg_catalog.convert_to((";
		after = ")::pg_catalog.text, 'UTF8'), 'hex')";
	}
	buffer_add_text(sql, before);
	buffer_add(sql, buffer_bytes(call), call->length);
	buffer_add_text(sql, after);
}

/* One value: the whole answer.  One of several: a row each. */
static void
run_scalar(Exchange *exchange, const CatalogFunction *function, Buffer *call,
		   Buffer *given)
{
	Rest *rest = exchange->rest;
	Buffer *sql = &rest->sql;

	if (rest->raw && (function->is_set ||
					  (rest->raw->of && strcmp(rest->raw->of, function->returns) != 0)))
		rest->raw = NULL;
	if (rest->only_raw && rest->raw == NULL)
	{
		rest_reply_no_media(exchange);
		return;
	}
	rest->scalar = !function->is_set;
	rest->media.shape = SHAPE_JSON;
	if (function->is_set)
		buffer_add_format(sql,
						  "SELECT pg_catalog.to_json(called.value)::pg_catalog.text FROM "
						  "(SELECT %s AS value%s%s) AS called",
						  buffer_text(call), given->length ? " FROM " : "",
						  buffer_text(given));
	else
	{
		write_one_value(sql, rest->raw, function, call);
		buffer_add_text(sql, given->length ? " FROM " : "");
		buffer_add(sql, buffer_bytes(given), given->length);
	}
	rest_run_rows(exchange, buffer_text(sql));
}

/* Rows: what a query may ask of a table's it may ask of these. */
static void
run_rows(Exchange *exchange, const CatalogFunction *function, Buffer *call, Buffer *given)
{
	RestSource source;
	char *from;

	source.relation = catalog_numbered(exchange->factoryd->catalog, function->relation);
	from = given->length ? text_format("(SELECT called.* FROM %s, LATERAL %s AS called)",
									   buffer_text(given), buffer_text(call))
						 : text_copy(buffer_text(call));
	source.from = from;
	exchange->rest->scalar =
		!function->is_set && exchange->rest->media.shape != SHAPE_COLUMNS;

	/* A count would call the function twice. */
	exchange->rest->prefer.counting = COUNTING_NONE;
	rest_run_select(exchange, &source);
	free(from);
}

/* --- the call -------------------------------------------------------------------------- */

static void
answer_void(Exchange *exchange, CallOutcome *outcome)
{
	(void) outcome;
	exchange_reply(exchange, 204, NULL, "", 0);
}

static void
run_function(Exchange *exchange, const CatalogFunction *function, Fit fit)
{
	Buffer *call = &exchange->rest->call;
	Buffer columns = {0};
	Buffer given = {0};

	if (is_get(exchange) && function->may_write)
	{
		exchange->allow = "POST";
		exchange_reply_problem(exchange, 405, "25006", "The function may write.", NULL,
							   "Call it with POST, or declare it STABLE.");
		return;
	}
	exchange->call.read_only = !function->may_write;
	exchange->reads = !function->may_write;
	write_call(exchange, function, fit, call, &columns);
	write_given(exchange, &columns, &given);
	if (function->is_void)
	{
		exchange->sql = text_format("SELECT %s%s%s", buffer_text(call),
									given.length ? " FROM " : "", buffer_text(&given));
		exchange->call.main.sql = exchange->sql;
		exchange->answer = answer_void;
		exchange_run(exchange);
	}
	else if (function->is_composite)
		run_rows(exchange, function, call, &given);
	else
		run_scalar(exchange, function, call, &given);
	buffer_free(&columns);
	buffer_free(&given);
}

typedef struct Asked
{
	Exchange *exchange;
	const char *name;
	const char *schema;
} Asked;

/* Whether a function of the asked name has such an argument. */
static bool
is_argument(const char *name, void *context)
{
	const Asked *asked = context;
	const CatalogFunction *functions;
	int count;

	functions = catalog_functions(asked->exchange->factoryd->catalog, &count);
	for (int i = 0; i < count; i++)
		for (int j = 0; strcmp(functions[i].name, asked->name) == 0 &&
						j < functions[i].argument_count;
			 j++)
			if (strcmp(functions[i].arguments[j].name, name) == 0)
				return true;
	return false;
}

/* GET's arguments: each a string that the argument's type reads; repeated ones a list. */
static void
take_arguments(Exchange *exchange)
{
	exchange->body = json_object();
	for (const RestArgument *argument = exchange->rest->query.arguments; argument;
		 argument = argument->next)
	{
		json_t *before = json_object_get(exchange->body, argument->name);
		json_t *value = json_string(argument->value);

		if (json_is_array(before))
			json_array_append_new(before, value);
		else if (before)
			json_object_set_new(exchange->body, argument->name,
								json_pack("[O, o]", before, value));
		else
			json_object_set_new(exchange->body, argument->name, value);
	}
}

static void
call_or_refuse(Exchange *exchange, bool may_look_again)
{
	Asked asked = {exchange, asked_name(exchange), NULL};
	const CatalogFunction *also;
	const CatalogFunction *function;
	Fit fit;

	if (!rest_profile(exchange, &asked.schema))
		return;
	if (!rest_begin(exchange, is_get(exchange) ? is_argument : NULL, &asked))
		return;
	if (is_get(exchange))
	{
		json_decref(exchange->body);
		take_arguments(exchange);
	}
	function = rpc_find(exchange, asked.schema, asked.name, &fit, &also);
	if (also)
		rpc_reply_ambiguous(exchange, function, also);
	else if (function)
		run_function(exchange, function, fit);
	else
	{
		buffer_clear(&exchange->extra, 0);
		if (!may_look_again ||
			!catalog_await_newer(exchange->factoryd->catalog, exchange))
			rpc_reply_not_found(exchange, asked.name);
	}
}

static void
call_or_give_up(Exchange *exchange)
{
	call_or_refuse(exchange, false);
}

void
rpc_call(Exchange *exchange)
{
	if (!is_get(exchange) && rest_body_is(exchange->request, FORM_TYPE))
	{
		exchange->body = form_fields(exchange->request->body, true);
		if (exchange->body == NULL)
		{
			rest_refuse_body(exchange, "The form cannot be read", NULL);
			return;
		}
	}
	else if (!is_get(exchange) && !rpc_whole_body_type(exchange) &&
			 !route_parse_body(exchange))
		return;
	exchange->resume = call_or_give_up;
	call_or_refuse(exchange, true);
}
