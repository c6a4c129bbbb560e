/*
 * rest_query.c
 *		What a query string of PostgREST's conventions asks for.
 *
 * A recursive descent over each parameter's value.  Names are whatever is between the
 * characters that mean something, or anything in double quotes; whether there is such
 * a column is the database's business.
 */
#include "rest_query_int.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http_parse.h"
#include "text.h"

/* --- what is wrong --------------------------------------------------------------- */

bool
query_refuse(RestQuery *query, const char *code, const char *message, const char *format,
			 ...)
{
	char detail[512];
	va_list arguments;

	if (query->code)
		return false;
	va_start(arguments, format);
	vsnprintf(detail, sizeof(detail), format, arguments);
	va_end(arguments);
	query->code = code;
	query->message = arena_copy(&query->arena, message, strlen(message));
	query->detail = arena_copy(&query->arena, detail, strlen(detail));
	return false;
}

bool
reader_expected(Reader *reader, const char *wanted)
{
	char message[256];

	snprintf(message, sizeof(message),
			 "\"failed to parse %s parameter (%.100s)\" (line 1, column %zd)",
			 reader->what, reader->start, reader->at - reader->start + 1);
	return query_refuse(reader->query, "PGRST100", message,
						"unexpected %s%.*s%s expecting %s",
						*reader->at ? "\"" : "end of input", *reader->at ? 1 : 0,
						reader->at, *reader->at ? "\"" : "", wanted);
}

bool
reader_go_deeper(Reader *reader)
{
	if (++reader->depth <= REST_DEPTH_MOST)
		return true;
	return query_refuse(reader->query, "PGRST100", "The query is nested too deeply.",
						"More than %d levels.", REST_DEPTH_MOST);
}

/* --- names and fields --------------------------------------------------------------- */

bool
reader_take(Reader *reader, const char *token)
{
	size_t length = strlen(token);

	if (strncmp(reader->at, token, length) != 0)
		return false;
	reader->at += length;
	return true;
}

/* What is in double quotes, backslashes taken away; NULL where they do not end. */
char *
reader_read_quoted(Reader *reader)
{
	char *text = arena_new(&reader->query->arena, strlen(reader->at) + 1);
	char *to = text;

	for (reader->at++; *reader->at && *reader->at != '"'; reader->at++)
	{
		if (*reader->at == '\\' && reader->at[1])
			reader->at++;
		*to++ = *reader->at;
	}
	if (!reader_take(reader, "\""))
	{
		reader_expected(reader, "\"\\\"\"");
		return NULL;
	}
	return text;
}

/* Up to one of the characters that end it, or to an arrow; NULL where it is empty. */
char *
reader_read_name(Reader *reader, const char *ends)
{
	const char *start = reader->at;

	if (*reader->at == '"')
		return reader_read_quoted(reader);
	while (*reader->at && !strchr(ends, *reader->at) && strncmp(reader->at, "->", 2) != 0)
		reader->at++;
	if (reader->at == start)
	{
		reader_expected(reader, "field name (* or [a..z0..9_$])");
		return NULL;
	}
	return arena_copy(&reader->query->arena, start, reader->at - start);
}

static bool
is_index(const char *key)
{
	key += *key == '-';
	return *key && strlen(key) < 10 && strspn(key, "0123456789") == strlen(key);
}

bool
reader_read_path(Reader *reader, RestStep **path, const char *ends)
{
	int depth = 0;

	while (strncmp(reader->at, "->", 2) == 0)
	{
		RestStep *step = arena_new(&reader->query->arena, sizeof(RestStep));
		bool quoted;

		reader->at += 2;
		step->as_text = reader_take(reader, ">");
		quoted = *reader->at == '"';
		step->key = reader_read_name(reader, ends);
		if (step->key == NULL)
			return false;
		if (++depth > REST_DEPTH_MOST)
			return query_refuse(reader->query, "PGRST100", "The JSON path is too long.",
								"More than %d steps.", REST_DEPTH_MOST);
		step->is_index = !quoted && is_index(step->key);
		*path = step;
		path = &step->next;
	}
	return true;
}

/* --- order, limits, lists of names ---------------------------------------------------- */

static bool
read_order_words(Reader *reader, RestOrder *order)
{
	while (reader_take(reader, "."))
	{
		if (reader_take(reader, "asc"))
			order->descending = false;
		else if (reader_take(reader, "desc"))
			order->descending = true;
		else if (reader_take(reader, "nullsfirst"))
			order->nulls = NULLS_FIRST;
		else if (reader_take(reader, "nullslast"))
			order->nulls = NULLS_LAST;
		else
			return reader_expected(reader, "asc, desc, nullsfirst or nullslast");
	}
	return true;
}

static bool
read_order(Reader *reader, RestLevel *level)
{
	RestOrder **last = &level->order;

	level->order = NULL;
	do
	{
		RestOrder *order = arena_new(&reader->query->arena, sizeof(RestOrder));

		order->field.name = reader_read_name(reader, ".,()");
		if (order->field.name == NULL)
			return false;
		if (reader_take(reader, "("))
		{
			order->relation = order->field.name;
			order->field.name = reader_read_name(reader, ".,()");
			if (order->field.name == NULL)
				return false;
		}
		if (!reader_read_path(reader, &order->field.path, ".,()"))
			return false;
		if (order->relation && !reader_take(reader, ")"))
			return reader_expected(reader, "\")\"");
		if (!read_order_words(reader, order))
			return false;
		*last = order;
		last = &order->next;
	} while (reader_take(reader, ","));
	return *reader->at == '\0' || reader_expected(reader, "\",\" or end of input");
}

static bool
read_count(Reader *reader, long long *count)
{
	char *rest;

	errno = 0;
	*count = strtoll(reader->at, &rest, 10);
	if (rest == reader->at || *rest || errno)
		return reader_expected(reader, "a whole number");
	if (*count < 0)
		return query_refuse(reader->query, "PGRST103", "Requested range not satisfiable",
							"Limit should be greater than or equal to zero.");
	return true;
}

static bool
read_names(Reader *reader, RestName **names)
{
	do
	{
		RestName *name = arena_new(&reader->query->arena, sizeof(RestName));

		name->name = reader_read_name(reader, ",");
		if (name->name == NULL)
			return false;
		*names = name;
		names = &name->next;
	} while (reader_take(reader, ","));
	return *reader->at == '\0' || reader_expected(reader, "\",\" or end of input");
}

/* --- parameters -------------------------------------------------------------------------- */

typedef struct Parameter
{
	char *key;
	char *value;
} Parameter;

static RestLevel *
embedded_level(const RestLevel *level, const char *name, size_t length)
{
	for (const RestItem *item = level->items; item; item = item->next)
	{
		const char *its = item->alias ? item->alias : item->relation;

		if (item->kind == ITEM_EMBED && strlen(its) == length &&
			strncmp(its, name, length) == 0)
			return item->level;
	}
	return NULL;
}

static bool
is_logic_word(const char *key)
{
	return strcmp(key, "and") == 0 || strcmp(key, "or") == 0 ||
		   strcmp(key, "not.and") == 0 || strcmp(key, "not.or") == 0;
}

/*
 * Cuts the embedded relations off the front of a key: "lines.plant.limit" is the limit
 * of plant in lines.  NULL, and refused, where there is no such one.
 */
static RestLevel *
find_level(RestQuery *query, char **key)
{
	RestLevel *level = &query->top;

	for (;;)
	{
		const char *arrow = strstr(*key, "->");
		char *dot = **key == '"' ? strstr(*key + 1, "\".") : strchr(*key, '.');
		const char *name = *key;
		size_t length;

		if (dot && **key == '"')
			dot++;
		if (dot == NULL || (arrow && arrow < dot) || is_logic_word(*key))
			return level;
		length = dot - name;
		if (*name == '"')
		{
			name++;
			length -= 2;
		}
		level = embedded_level(level, name, length);
		if (level == NULL)
		{
			query_refuse(query, "PGRST108", "",
						 "Verify that it is included in the 'select' query parameter.");
			if (query->message && *query->message == '\0')
			{
				char message[200];

				snprintf(message, sizeof(message),
						 "'%.*s' is not an embedded resource in this request",
						 (int) (length < 100 ? length : 100), name);
				query->message = arena_copy(&query->arena, message, strlen(message));
			}
			return NULL;
		}
		*key = dot + 1;
	}
}

static bool
read_logic_parameter(Reader *reader, RestLevel *level, const char *key)
{
	RestLogic *logic = arena_new(&reader->query->arena, sizeof(RestLogic));

	logic->negated = strncmp(key, "not.", 4) == 0;
	logic->kind =
		strcmp(key + (logic->negated ? 4 : 0), "or") == 0 ? LOGIC_OR : LOGIC_AND;
	if (!reader_take(reader, "("))
		return reader_expected(reader, "\"(\"");
	if (!reader_read_logic_list(reader, logic))
		return false;
	if (*reader->at)
		return reader_expected(reader, "end of input");
	query_add_filter(level, logic);
	return true;
}

static bool
read_filter(RestQuery *query, RestLevel *level, const char *key, const char *value)
{
	RestLogic *condition = arena_new(&query->arena, sizeof(RestLogic));
	Reader name = {query, key, key, "filter", 0};
	Reader reader = {query, value, value, "filter", 0};

	condition->field.name = reader_read_name(&name, "");
	if (condition->field.name == NULL ||
		!reader_read_path(&name, &condition->field.path, ""))
		return false;
	if (*name.at)
		return reader_expected(&name, "end of input");
	if (!reader_read_condition(&reader, condition, true))
		return false;
	if (*reader.at)
		return reader_expected(&reader, "end of input");
	query_add_filter(level, condition);
	return true;
}

static bool
read_parameter(RestQuery *query, Parameter *parameter)
{
	char *key = parameter->key;
	const char *value = parameter->value;
	RestLevel *level;
	Reader reader;

	if (strcmp(key, "select") == 0)
		return true;
	level = find_level(query, &key);
	if (level == NULL)
		return false;
	reader = (Reader){query, value, value, key, 0};
	if (strcmp(key, "order") == 0)
		return *value == '\0' || read_order(&reader, level);
	if (strcmp(key, "limit") == 0)
	{
		query->has_limit = query->has_limit || level == &query->top;
		return read_count(&reader, &level->limit);
	}
	if (strcmp(key, "offset") == 0)
		return read_count(&reader, &level->offset);
	if (is_logic_word(key))
	{
		reader.what = "logic tree";
		return read_logic_parameter(&reader, level, key);
	}
	if (level == &query->top && strcmp(key, "columns") == 0)
	{
		query->has_columns = true;
		return read_names(&reader, &query->columns);
	}
	if (level == &query->top && strcmp(key, "on_conflict") == 0)
	{
		query->has_on_conflict = true;
		return read_names(&reader, &query->on_conflict);
	}
	return read_filter(query, level, key, value);
}

/* Cuts name=value off the text; false where an escape is broken or it is not UTF-8. */
static bool
cut_parameter(char **text, Parameter *parameter)
{
	char *pair = strsep(text, "&");
	char *value = strchr(pair, '=');

	if (value)
		*value++ = '\0';
	else
		value = pair + strlen(pair);
	parameter->key = pair;
	parameter->value = value;
	return http_decode_escapes(pair, true) >= 0 &&
		   http_decode_escapes(value, true) >= 0 && text_is_utf8(pair, strlen(pair)) &&
		   text_is_utf8(value, strlen(value));
}

static bool
read_select(RestQuery *query, const char *value)
{
	Reader reader = {query, value, value, "select", 0};

	if (*value == '\0')
		return true;
	if (!reader_read_items(&reader, &query->top))
		return false;
	return *reader.at == '\0' || reader_expected(&reader, "\",\" or end of input");
}

static void
add_argument(RestQuery *query, const Parameter *parameter)
{
	RestArgument **last = &query->arguments;

	while (*last)
		last = &(*last)->next;
	*last = arena_new(&query->arena, sizeof(RestArgument));
	(*last)->name = parameter->key;
	(*last)->value = parameter->value;
}

#define PARAMETERS_MOST 256

bool
rest_query_read(RestQuery *query, char *text,
				bool (*is_argument)(const char *name, void *context), void *context)
{
	Parameter parameters[PARAMETERS_MOST];
	int count = 0;

	query->top.limit = -1;
	while (text && *text)
	{
		if (*text == '&')
		{
			text++;
			continue;
		}
		if (count == PARAMETERS_MOST)
			return query_refuse(query, "PGRST100",
								"The query string has too many parameters.",
								"More than %d.", PARAMETERS_MOST);
		if (!cut_parameter(&text, &parameters[count]))
			return query_refuse(query, "PGRST100", "The query string cannot be read.",
								"It holds a broken escape, or is not UTF-8.");
		if (is_argument && is_argument(parameters[count].key, context))
			add_argument(query, &parameters[count]);
		else
			count++;
	}

	/* What is embedded must be known before what is asked of it. */
	for (int i = 0; i < count; i++)
		if (strcmp(parameters[i].key, "select") == 0 &&
			!read_select(query, parameters[i].value))
			return false;
	for (int i = 0; i < count; i++)
		if (!read_parameter(query, &parameters[i]))
			return false;
	return true;
}

void
rest_query_free(RestQuery *query)
{
	arena_free(&query->arena);
}
