/*
 * rpc_find.c
 *		Which function is meant by a name and arguments, and what is said where none is.
 */
#include "rpc_int.h"

#include <stdlib.h>
#include <string.h>

#include "text.h"

static Fit
fit_of(const Exchange *exchange, const CatalogFunction *function)
{
	const char *whole =
		exchange->body || exchange->is_plain ? NULL : rpc_whole_body_type(exchange);
	size_t used = 0;
	bool complete = true;

	if (function->argument_count == 1 && function->arguments[0].name[0] == '\0')
	{
		if (whole ? strcmp(function->arguments[0].type, whole) == 0
				  : rpc_takes_json(&function->arguments[0]) && !rpc_has_words(exchange))
			return FIT_WHOLE;
		return FIT_NOT;
	}
	if (whole)
		return FIT_NOT;
	for (int i = 0; i < function->argument_count; i++)
	{
		const CatalogArgument *argument = &function->arguments[i];

		if (argument->name[0] && rpc_is_given(exchange, argument->name))
			used++;
		else if (argument->required &&
				 !(function->is_variadic && i == function->argument_count - 1))
			complete = false;
	}
	return complete && used == rpc_given_count(exchange) ? FIT_NAMED : FIT_NOT;
}

const CatalogFunction *
rpc_find(const Exchange *exchange, const char *schema, const char *name, Fit *fit,
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

		if (strcmp(function->name, name) != 0 ||
			(schema && strcmp(function->schema, schema) != 0))
			continue;
		if (found && strcmp(function->schema, found->schema) != 0)
			break;
		its_fit = fit_of(exchange, function);
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

/* --- what cannot be called ----------------------------------------------------------- */

static void
add_key(Buffer *list, const char *key, size_t length)
{
	buffer_add_text(list, list->length ? ", " : "");
	buffer_add(list, key, length);
}

static char *
list_keys(const Exchange *exchange)
{
	Buffer list = {0};
	const char *key;
	json_t *value;

	for (int i = 0; exchange->is_plain && i < exchange->plain.count; i++)
		add_key(&list, exchange->plain.members[i].name,
				exchange->plain.members[i].name_length);
	json_object_foreach(exchange->body, key, value)
	{
		add_key(&list, key, strlen(key));
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

void
rpc_reply_not_found(Exchange *exchange, const char *name)
{
	const CatalogFunction *nearest = nearest_function(exchange, name);
	char *keys = list_keys(exchange);
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

void
rpc_reply_ambiguous(Exchange *exchange, const CatalogFunction *one,
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
