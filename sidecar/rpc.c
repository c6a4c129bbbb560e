/*
 * rpc.c
 *		POST and GET /rpc/NAME: calling a function by name, as PostgREST does.
 *
 * The arguments are one JSON object, bound as one value and taken apart by
 * json_to_record with the function's own types: nothing a client sends is ever
 * part of a statement, not even a name, since names come from the catalogue.
 * The same names always give the same statement, so it is prepared once.
 */
#include "rpc.h"

#include <stdlib.h>
#include <string.h>

#include "catalog.h"
#include "json_scan.h"
#include "text.h"

/* In every statement; no function's column is likely to be called that. */
#define ROW "factoryd_row"

typedef enum Fit
{
	FIT_NOT,
	FIT_NAMED, /* each key is an argument, and none that is needed is missing */
	FIT_WHOLE  /* its one nameless argument takes the whole body */
} Fit;

static const char *
asked_name(const Exchange *exchange)
{
	return strrchr(exchange->request->head.path, '/') + 1;
}

static Fit
fit_of(const CatalogFunction *function, json_t *arguments)
{
	size_t used = 0;
	bool complete = true;

	if (function->argument_count == 1 && function->arguments[0].name[0] == '\0')
		return strcmp(function->arguments[0].type, "pg_catalog.json") == 0 ||
					   strcmp(function->arguments[0].type, "pg_catalog.jsonb") == 0
				   ? FIT_WHOLE
				   : FIT_NOT;
	for (int i = 0; i < function->argument_count; i++)
	{
		const CatalogArgument *argument = &function->arguments[i];

		if (argument->name[0] && json_object_get(arguments, argument->name))
			used++;
		else if (argument->required)
			complete = false;
	}
	return complete && used == json_object_size(arguments) ? FIT_NAMED : FIT_NOT;
}

/*
 * The function that is meant, or NULL; *also is another of the same schema that fits
 * as well.  Names go before a nameless argument.
 */
static const CatalogFunction *
find_function(const Exchange *exchange, const char *name, Fit *fit,
			  const CatalogFunction **also)
{
	const CatalogFunction *functions;
	const CatalogFunction *found = NULL;
	int count;

	*also = NULL;
	*fit = FIT_NOT;
	functions = catalog_functions(exchange->factoryd->catalog, &count);
	for (int i = 0; i < count; i++)
	{
		const CatalogFunction *function = &functions[i];
		Fit its_fit;

		if (strcmp(function->name, name) != 0)
			continue;
		if (found && strcmp(function->schema, found->schema) != 0)
			break;
		its_fit = fit_of(function, exchange->body);
		if (its_fit == FIT_NOT || (found && its_fit == FIT_WHOLE))
			continue;
		if (found && *fit == FIT_NAMED)
		{
			*also = function;
			break;
		}
		found = function;
		*fit = its_fit;
	}
	return found;
}

/* --- the statement ---------------------------------------------------------------- */

static bool
takes_json(const CatalogArgument *argument)
{
	return strcmp(argument->type, "pg_catalog.json") == 0 ||
		   strcmp(argument->type, "pg_catalog.jsonb") == 0;
}

/* Whether the argument's own type can read it: a list may be an array of any type. */
static bool
is_bound_alone(const CatalogArgument *argument, const json_t *value)
{
	return takes_json(argument) || !(json_is_array(value) || json_is_object(value));
}

/* As it was sent: a parser's numbers are not exact. */
static char *
text_of(const Exchange *exchange, const CatalogArgument *argument, const json_t *value)
{
	const char *text;
	size_t length;

	if (json_is_null(value))
		return NULL;
	if (json_is_string(value) && !takes_json(argument))
		return text_copy(json_string_value(value));
	if (json_scan_member(exchange->request->body, argument->name, &text, &length))
		return strndup(text, length);
	return json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
}

/* "a" => $1::pg_catalog.int4, or "a" => given."a" with a column of that name. */
static void
pass_argument(Exchange *exchange, const CatalogArgument *argument, const json_t *value,
			  bool variadic, Buffer *passed, Buffer *columns)
{
	if (passed->length)
		buffer_add_text(passed, ", ");
	if (variadic)
		buffer_add_text(passed, "VARIADIC ");
	buffer_add_identifier(passed, argument->name);
	buffer_add_text(passed, " => ");
	if (is_bound_alone(argument, value))
	{
		buffer_add_format(passed, "$%d::%s",
						  values_take(&exchange->values,
									  text_of(exchange, argument, value)),
						  argument->type);
		return;
	}
	buffer_add_text(passed, "given.");
	buffer_add_identifier(passed, argument->name);
	buffer_add_text(columns, columns->length ? ", " : "");
	buffer_add_identifier(columns, argument->name);
	buffer_add_format(columns, " %s", argument->type);
}

/* How the answer becomes one text: %s are the call and where its arguments come from. */
static const char *
shape_of(const CatalogFunction *function)
{
	if (function->is_void)
		return "SELECT %1$s%2$s%3$s";
	if (function->is_composite && function->is_set)
		return "SELECT coalesce(pg_catalog.json_agg(" ROW
			   "), '[]')::pg_catalog.text FROM "
			   "(SELECT called.* FROM %4$s%1$s AS called) AS " ROW;
	if (function->is_composite)
		return "SELECT pg_catalog.to_json(" ROW ")::pg_catalog.text FROM "
			   "(SELECT called.* FROM %4$s%1$s AS called) AS " ROW;
	if (function->is_set)
		return "SELECT coalesce(pg_catalog.json_agg(" ROW
			   ".value), '[]')::pg_catalog.text "
			   "FROM (SELECT %1$s AS value%2$s%3$s) AS " ROW;
	return "SELECT pg_catalog.to_json(%1$s)::pg_catalog.text%2$s%3$s";
}

static char *
whole_body(Exchange *exchange)
{
	return exchange->request->body_length > 0 ? text_copy(exchange->request->body)
											  : json_dumps(exchange->body, JSON_COMPACT);
}

static char *
write_statement(Exchange *exchange, const CatalogFunction *function, Fit fit)
{
	Buffer columns = {0};
	Buffer passed = {0};
	char *called;
	char *source;
	char *lateral;
	char *statement;

	if (fit == FIT_WHOLE)
		buffer_add_format(&passed, "$%d::%s",
						  values_take(&exchange->values, whole_body(exchange)),
						  function->arguments[0].type);
	for (int i = 0; fit == FIT_NAMED && i < function->argument_count; i++)
	{
		const CatalogArgument *argument = &function->arguments[i];
		const json_t *value = json_object_get(exchange->body, argument->name);

		if (value)
			pass_argument(exchange, argument, value,
						  function->is_variadic && i == function->argument_count - 1,
						  &passed, &columns);
	}
	called = text_format("%s(%s)", function->quoted, buffer_text(&passed));
	source = text_copy("");
	if (columns.length)
	{
		free(source);
		source =
			text_format("pg_catalog.json_to_record($%d::pg_catalog.json) AS given(%s)",
						values_take(&exchange->values, whole_body(exchange)),
						buffer_text(&columns));
	}
	lateral = source[0] ? text_format("%s, LATERAL ", source) : text_copy("");
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	statement = text_format(shape_of(function), called, source[0] ? " FROM " : "", source,
							lateral);
#pragma GCC diagnostic pop
	buffer_free(&columns);
	buffer_free(&passed);
	free(called);
	free(source);
	free(lateral);
	return statement;
}

/* --- what cannot be called ----------------------------------------------------------- */

static char *
list_keys(json_t *arguments)
{
	Buffer list = {0};
	const char *key;
	json_t *value;

	json_object_foreach(arguments, key, value)
	{
		buffer_add_text(&list, list.length ? ", " : "");
		buffer_add_text(&list, key);
	}
	return buffer_detach(&list);
}

/* "schema.name(a, b)", what is optional in brackets. */
static char *
describe_function(const CatalogFunction *function)
{
	Buffer text = {0};

	buffer_add_format(&text, "%s.%s(", function->schema, function->name);
	for (int i = 0; i < function->argument_count; i++)
	{
		const CatalogArgument *argument = &function->arguments[i];

		buffer_add_text(&text, i ? ", " : "");
		buffer_add_format(&text, argument->required ? "%s" : "[%s]", argument->name);
	}
	buffer_add_char(&text, ')');
	return buffer_detach(&text);
}

/* The function whose name is nearest, the name itself before all others. */
static const CatalogFunction *
nearest_function(const Exchange *exchange, const char *name)
{
	const CatalogFunction *functions;
	const CatalogFunction *nearest = NULL;
	int least = LONGEST_NAME;
	int count;

	functions = catalog_functions(exchange->factoryd->catalog, &count);
	for (int i = 0; i < count; i++)
	{
		int distance = text_distance(name, functions[i].name);

		if (distance < least)
		{
			least = distance;
			nearest = &functions[i];
		}
	}
	return nearest && text_is_near(name, nearest->name, least) ? nearest : NULL;
}

static void
reply_not_found(Exchange *exchange, const char *name)
{
	const CatalogFunction *nearest = nearest_function(exchange, name);
	char *keys = list_keys(exchange->body);
	char *message =
		text_format("Could not find the function %s(%s) in the schema cache", name, keys);
	char *detail =
		text_format("Searched the schemas %s for a function of that name with %s%s.",
					exchange->factoryd->config->schemas,
					keys[0] ? "the arguments " : "no arguments", keys);
	char *meant = nearest ? describe_function(nearest) : NULL;
	char *hint =
		nearest ? text_format("Perhaps you meant to call the function %s", meant) : NULL;

	exchange_reply_problem(exchange, 404, "PGRST202", message, detail, hint);
	free(keys);
	free(message);
	free(detail);
	free(meant);
	free(hint);
}

static void
reply_ambiguous(Exchange *exchange, const CatalogFunction *one,
				const CatalogFunction *other)
{
	char *first = describe_function(one);
	char *second = describe_function(other);
	char *message = text_format("Could not choose between %s and %s", first, second);

	exchange_reply_problem(exchange, 300, "PGRST203", message, NULL,
						   "Give the functions different names or arguments.");
	free(first);
	free(second);
	free(message);
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
	bool reads = strcmp(exchange->request->head.method, "POST") != 0;

	if (reads && function->may_write)
	{
		exchange->allow = "POST";
		exchange_reply_problem(exchange, 405, "25006", "The function may write.", NULL,
							   "Call it with POST, or declare it STABLE.");
		return;
	}
	exchange->sql = write_statement(exchange, function, fit);
	exchange->call.main.sql = exchange->sql;
	exchange->call.read_only = !function->may_write;
	exchange->reads = !function->may_write;
	if (function->is_void)
		exchange->answer = answer_void;
	exchange_run(exchange);
}

static void
call_or_refuse(Exchange *exchange, bool may_look_again)
{
	const char *name = asked_name(exchange);
	const CatalogFunction *also;
	const CatalogFunction *function;
	Fit fit;

	function = find_function(exchange, name, &fit, &also);
	if (also)
		reply_ambiguous(exchange, function, also);
	else if (function)
		run_function(exchange, function, fit);
	else if (!may_look_again ||
			 !catalog_await_newer(exchange->factoryd->catalog, exchange))
		reply_not_found(exchange, name);
}

static void
call_or_give_up(Exchange *exchange)
{
	call_or_refuse(exchange, false);
}

/* GET's arguments: name=value&..., each a string that the argument's type reads. */
static bool
read_query(Exchange *exchange)
{
	char *rest = exchange->request->head.query;
	char *pair;

	exchange->body = json_object();
	while (rest && (pair = strsep(&rest, "&")) != NULL)
	{
		char *value = strchr(pair, '=');
		json_t *text;

		if (*pair == '\0')
			continue;
		if (value)
			*value++ = '\0';
		if (http_decode_escapes(pair, true) < 0 ||
			(value && http_decode_escapes(value, true) < 0))
			return false;
		text = json_string(value ? value : "");
		if (text == NULL || json_object_set_new(exchange->body, pair, text) != 0)
			return false;
	}
	return true;
}

void
rpc_call(Exchange *exchange)
{
	if (exchange->body == NULL && !read_query(exchange))
	{
		exchange_reply_problem(exchange, 400, "PGRST100",
							   "The query string cannot be read.",
							   "It holds a broken escape, or is not UTF-8.", NULL);
		return;
	}
	exchange->resume = call_or_give_up;
	call_or_refuse(exchange, true);
}
