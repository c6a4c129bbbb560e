/*
 * rest_body.c
 *		What a request writes: JSON, CSV or a form, and which columns it names.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "csv.h"
#include "form.h"
#include "rest.h"
#include "text.h"

bool
rest_refuse_body(Exchange *exchange, const char *message, const char *detail)
{
	exchange_reply_problem(exchange, 400, "PGRST102", message, detail, NULL);
	return false;
}

bool
rest_body_is(const HttpRequest *request, const char *type)
{
	const char *given = http_head_value(&request->head, "content-type");
	size_t length = given ? strcspn(given, "; ") : 0;

	return length == strlen(type) && strncasecmp(given, type, length) == 0;
}

/* The body's text as JSON, parsed into rest->body. */
bool
rest_read_body(Exchange *exchange, const char **text)
{
	const HttpRequest *request = exchange->request;
	Rest *rest = exchange->rest;
	json_error_t error;

	*text = request->body_length ? request->body : "{}";
	if (rest_body_is(request, "text/csv"))
	{
		rest->body_text = csv_as_json(request->body);
		if (rest->body_text == NULL)
			return rest_refuse_body(exchange, "All lines must have same number of fields",
									NULL);
		*text = rest->body_text;
	}
	else if (rest_body_is(request, FORM_TYPE))
	{
		json_t *fields = form_fields(request->body, false);

		if (fields == NULL)
			return rest_refuse_body(exchange, "The form cannot be read", NULL);
		rest->body_text = json_dumps(fields, JSON_COMPACT);
		*text = rest->body_text;
		json_decref(fields);
	}
	else if (request->body_length && !rest_body_is(request, "application/json") &&
			 http_head_value(&request->head, "content-type"))
	{
		exchange_reply_problem(exchange, 415, "PGRST102", "Content-Type not acceptable",
							   NULL, "Send application/json, text/csv or " FORM_TYPE ".");
		return false;
	}
	rest->body = json_loads(*text, JSON_DECODE_INT_AS_REAL, &error);
	if (rest->body == NULL)
		return rest_refuse_body(exchange, "Empty or invalid json", error.text);
	return true;
}

static bool
has_key(const json_t *object, const char *key)
{
	return json_object_get(object, key) != NULL;
}

/* Whether each object of the list has the same keys as the first. */
static bool
keys_are_equal(const json_t *list)
{
	json_t *first = json_array_get(list, 0);
	const json_t *one;
	const char *key;
	json_t *value;
	size_t index;

	json_array_foreach(list, index, one)
	{
		if (!json_is_object(one) || json_object_size(one) != json_object_size(first))
			return false;
		json_object_foreach(first, key, value)
		{
			if (!has_key(one, key))
				return false;
		}
	}
	return true;
}

static void
add_body_column(RestWrite *write, const char **columns, const char *name)
{
	columns[write->column_count++] = name;
}

static size_t
count_columns(const RestQuery *query, const json_t *object)
{
	size_t count = json_object_size(object);

	for (const RestName *name = query->columns; name; name = name->next)
		count++;
	return count;
}

/* Which columns are written: those of columns=, else the members of the body. */
bool
rest_read_columns(Exchange *exchange)
{
	Rest *rest = exchange->rest;
	RestWrite *write = &rest->write;
	json_t *first = write->is_list ? json_array_get(rest->body, 0) : rest->body;
	const json_t *one;
	const char *key;
	json_t *value;
	size_t index;

	json_array_foreach(rest->body, index, one)
	{
		if (!json_is_object(one))
			return rest_refuse_body(exchange,
									"The body is not an object or a list of them.", NULL);
	}
	if (write->is_list && !rest->query.has_columns && !keys_are_equal(rest->body))
		return rest_refuse_body(exchange, "All object keys must match", NULL);
	rest->columns = memory_new((count_columns(&rest->query, first) + 1) * sizeof(char *));
	for (const RestName *name = rest->query.columns; name; name = name->next)
		add_body_column(write, rest->columns, name->name);
	if (!rest->query.has_columns)
		json_object_foreach(first, key, value)
		{
			add_body_column(write, rest->columns, key);
		}
	write->columns = rest->columns;
	return true;
}
