/*
 * rest_query.c
 *		What a query string of PostgREST's conventions asks for.
 *
 * A recursive descent over each parameter's value.  Names are whatever is between the
 * characters that mean something, or anything in double quotes; whether there is such
 * a column is the database's business.
 */
#include "rest_query.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "buffer.h"
#include "http_parse.h"
#include "text.h"

static const RestOperator operators[] = {
	{"eq", "=", OPERAND_VALUE, true},
	{"neq", "<>", OPERAND_VALUE, false},
	{"gt", ">", OPERAND_VALUE, true},
	{"gte", ">=", OPERAND_VALUE, true},
	{"lt", "<", OPERAND_VALUE, true},
	{"lte", "<=", OPERAND_VALUE, true},
	{"like", "LIKE", OPERAND_PATTERN, true},
	{"ilike", "ILIKE", OPERAND_PATTERN, true},
	{"match", "~", OPERAND_VALUE, true},
	{"imatch", "~*", OPERAND_VALUE, true},
	{"in", "IN", OPERAND_LIST, false},
	{"is", "IS", OPERAND_WORD, false},
	{"isdistinct", "IS DISTINCT FROM", OPERAND_VALUE, false},
	{"fts", "pg_catalog.to_tsquery", OPERAND_SEARCH, false},
	{"plfts", "pg_catalog.plainto_tsquery", OPERAND_SEARCH, false},
	{"phfts", "pg_catalog.phraseto_tsquery", OPERAND_SEARCH, false},
	{"wfts", "pg_catalog.websearch_to_tsquery", OPERAND_SEARCH, false},
	{"cs", "@>", OPERAND_VALUE, false},
	{"cd", "<@", OPERAND_VALUE, false},
	{"ov", "&&", OPERAND_VALUE, false},
	{"sl", "<<", OPERAND_VALUE, false},
	{"sr", ">>", OPERAND_VALUE, false},
	{"nxr", "&<", OPERAND_VALUE, false},
	{"nxl", "&>", OPERAND_VALUE, false},
	{"adj", "-|-", OPERAND_VALUE, false},
};

/* SQL's own words, by PostgREST's. */
static const char *const words[][2] = {
	{"null", "NULL"},   {"not_null", "NOT NULL"}, {"true", "TRUE"},
	{"false", "FALSE"}, {"unknown", "UNKNOWN"},
};

typedef struct Reader
{
	RestQuery *query;
	const char *start;
	const char *at;
	const char *what; /* the parameter that is read */
	int depth;
} Reader;

/* --- what is wrong --------------------------------------------------------------- */

static bool __attribute__((format(printf, 4, 5)))
refuse(RestQuery *query, const char *code, const char *message, const char *format, ...)
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

static bool
expected(Reader *reader, const char *wanted)
{
	char message[256];

	snprintf(message, sizeof(message),
			 "\"failed to parse %s parameter (%.100s)\" (line 1, column %zd)",
			 reader->what, reader->start, reader->at - reader->start + 1);
	return refuse(reader->query, "PGRST100", message, "unexpected %s%.*s%s expecting %s",
				  *reader->at ? "\"" : "end of input", *reader->at ? 1 : 0, reader->at,
				  *reader->at ? "\"" : "", wanted);
}

static bool
go_deeper(Reader *reader)
{
	if (++reader->depth <= REST_DEPTH_MOST)
		return true;
	return refuse(reader->query, "PGRST100", "The query is nested too deeply.",
				  "More than %d levels.", REST_DEPTH_MOST);
}

/* --- names and fields --------------------------------------------------------------- */

static bool
take(Reader *reader, const char *token)
{
	size_t length = strlen(token);

	if (strncmp(reader->at, token, length) != 0)
		return false;
	reader->at += length;
	return true;
}

/* What is in double quotes, backslashes taken away; NULL where they do not end. */
static char *
read_quoted(Reader *reader)
{
	char *text = arena_new(&reader->query->arena, strlen(reader->at) + 1);
	char *to = text;

	for (reader->at++; *reader->at && *reader->at != '"'; reader->at++)
	{
		if (*reader->at == '\\' && reader->at[1])
			reader->at++;
		*to++ = *reader->at;
	}
	if (!take(reader, "\""))
	{
		expected(reader, "\"\\\"\"");
		return NULL;
	}
	return text;
}

/* Up to one of the characters that end it, or to an arrow; NULL where it is empty. */
static char *
read_name(Reader *reader, const char *ends)
{
	const char *start = reader->at;

	if (*reader->at == '"')
		return read_quoted(reader);
	while (*reader->at && !strchr(ends, *reader->at) && strncmp(reader->at, "->", 2) != 0)
		reader->at++;
	if (reader->at == start)
	{
		expected(reader, "field name (* or [a..z0..9_$])");
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

static bool
read_path(Reader *reader, RestStep **path, const char *ends)
{
	int depth = 0;

	while (strncmp(reader->at, "->", 2) == 0)
	{
		RestStep *step = arena_new(&reader->query->arena, sizeof(RestStep));
		bool quoted;

		reader->at += 2;
		step->as_text = take(reader, ">");
		quoted = *reader->at == '"';
		step->key = read_name(reader, ends);
		if (step->key == NULL)
			return false;
		if (++depth > REST_DEPTH_MOST)
			return refuse(reader->query, "PGRST100", "The JSON path is too long.",
						  "More than %d steps.", REST_DEPTH_MOST);
		step->is_index = !quoted && is_index(step->key);
		*path = step;
		path = &step->next;
	}
	return true;
}

/* --- select ---------------------------------------------------------------------------- */

static bool read_items(Reader *reader, RestLevel *level);

static RestLevel *
new_level(RestQuery *query)
{
	RestLevel *level = arena_new(&query->arena, sizeof(RestLevel));

	level->limit = -1;
	return level;
}

/* !hint and !inner in any order, then (...). */
static bool
read_embed(Reader *reader, RestItem *item)
{
	item->kind = ITEM_EMBED;
	item->relation = item->field.name;
	while (take(reader, "!"))
	{
		char *word = read_name(reader, "!(),");

		if (word == NULL)
			return false;
		if (strcmp(word, "inner") == 0)
			item->inner = true;
		else if (strcmp(word, "left") != 0)
			item->hint = word;
	}
	item->level = new_level(reader->query);
	if (!take(reader, "(") || !go_deeper(reader))
		return expected(reader, "\"(\"");
	if (*reader->at != ')' && !read_items(reader, item->level))
		return false;
	reader->depth--;
	if (!take(reader, ")"))
		return expected(reader, "\",\" or \")\"");

	item->level->nothing = item->level->items == NULL;
	return true;
}

static const char *const aggregates[] = {"avg", "count", "max", "min", "sum"};

/* sum()::type, behind the dot; or count() alone. */
static bool
read_aggregate(Reader *reader, RestItem *item)
{
	for (size_t i = 0; i < sizeof(aggregates) / sizeof(aggregates[0]); i++)
		if (take(reader, aggregates[i]))
		{
			item->aggregate = aggregates[i];
			break;
		}
	if (item->aggregate == NULL || !take(reader, "()"))
		return expected(reader, "avg(), count(), max(), min() or sum()");
	item->number = ++reader->query->aggregates;
	if (!take(reader, "::"))
		return true;
	item->aggregate_cast = read_name(reader, ",()");
	return item->aggregate_cast != NULL;
}

static bool
read_item(Reader *reader, RestItem *item)
{
	static const char ends[] = ",:()!.";

	item->kind = ITEM_FIELD;
	if (take(reader, "*"))
	{
		item->kind = ITEM_ALL;
		return true;
	}
	item->spread = take(reader, "...");
	if (strncmp(reader->at, "count()", 7) == 0)
		return read_aggregate(reader, item);
	item->field.name = read_name(reader, ends);
	if (item->field.name == NULL)
		return false;
	if (*reader->at == ':' && reader->at[1] != ':')
	{
		reader->at++;
		item->alias = item->field.name;
		item->field.name = NULL;
		if (strncmp(reader->at, "count()", 7) == 0)
			return read_aggregate(reader, item);
		item->field.name = read_name(reader, ends);
		if (item->field.name == NULL)
			return false;
	}
	if (*reader->at == '!' || *reader->at == '(')
		return read_embed(reader, item);
	if (item->spread)
		return expected(reader, "\"(\"");
	if (!read_path(reader, &item->field.path, ",:()."))
		return false;
	if (take(reader, "::"))
	{
		item->cast = read_name(reader, ",().");
		if (item->cast == NULL)
			return false;
	}
	return !take(reader, ".") || read_aggregate(reader, item);
}

static bool
read_items(Reader *reader, RestLevel *level)
{
	RestItem **last = &level->items;

	do
	{
		RestItem *item = arena_new(&reader->query->arena, sizeof(RestItem));

		if (!read_item(reader, item))
			return false;
		level->aggregates = level->aggregates || item->aggregate ||
							(item->spread && item->level->aggregates);
		*last = item;
		last = &item->next;
	} while (take(reader, ","));
	return true;
}

/* --- conditions --------------------------------------------------------------------- */

static const RestOperator *
find_operator(const char *name, size_t length)
{
	for (size_t i = 0; i < sizeof(operators) / sizeof(operators[0]); i++)
		if (strlen(operators[i].name) == length &&
			strncmp(operators[i].name, name, length) == 0)
			return &operators[i];
	return NULL;
}

/* One of (a,"b,c") as an element of an array's literal. */
static void
add_element(Buffer *array, const char *text, size_t length)
{
	if (array->length > 1)
		buffer_add_char(array, ',');
	buffer_add_char(array, '"');
	for (size_t i = 0; i < length; i++)
	{
		if (text[i] == '"' || text[i] == '\\')
			buffer_add_char(array, '\\');
		buffer_add_char(array, text[i]);
	}
	buffer_add_char(array, '"');
}

static bool
read_list(Reader *reader, RestLogic *condition)
{
	Buffer array = {0};
	bool good = true;

	if (!take(reader, "("))
		return expected(reader, "\"(\"");
	buffer_add_char(&array, '{');
	while (good && *reader->at != ')' && *reader->at)
	{
		if (*reader->at == '"')
		{
			char *text = read_quoted(reader);

			good = text != NULL;
			if (good)
				add_element(&array, text, strlen(text));
		}
		else
		{
			size_t length = strcspn(reader->at, ",)");

			add_element(&array, reader->at, length);
			reader->at += length;
		}
		if (!take(reader, ","))
			break;
	}
	good = good && (take(reader, ")") || expected(reader, "\",\" or \")\""));
	buffer_add_char(&array, '}');
	if (good)
		condition->value =
			arena_copy(&reader->query->arena, buffer_bytes(&array), array.length);
	buffer_free(&array);
	return good;
}

/* How far a value inside and(...) goes: to a comma or ) that no bracket encloses. */
static size_t
value_length(const char *text)
{
	size_t length = 0;
	int depth = 0;

	for (; text[length]; length++)
	{
		char c = text[length];

		if (depth == 0 && (c == ',' || c == ')'))
			break;
		if (c == '"')
			while (text[length + 1] && text[++length] != '"')
				length += text[length] == '\\' && text[length + 1];
		depth += c == '(' || c == '{' || c == '[';
		depth -= c == ')' || c == '}' || c == ']';
		if (depth < 0)
			depth = 0;
	}
	return length;
}

/* alone: the rest of the parameter is the value, whatever is in it. */
static bool
read_value(Reader *reader, RestLogic *condition, bool alone)
{
	if (!alone && *reader->at == '"')
		condition->value = read_quoted(reader);
	else
	{
		size_t length = alone ? strlen(reader->at) : value_length(reader->at);

		condition->value = arena_copy(&reader->query->arena, reader->at, length);
		reader->at += length;
	}
	if (condition->value == NULL)
		return false;
	if (condition->operator->operand == OPERAND_PATTERN)
		for (char *c = condition->value; *c; c++)
			if (*c == '*')
				*c = '%';
	return true;
}

static bool
read_word(Reader *reader, RestLogic *condition)
{
	size_t length = strcspn(reader->at, ",)");

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strlen(words[i][0]) == length &&
			strncasecmp(words[i][0], reader->at, length) == 0)
		{
			reader->at += length;
			condition->value = (char *) words[i][1];
			return true;
		}
	return expected(reader, "null, not_null, true, false or unknown");
}

/* (any), (all), or a search's (language). */
static bool
read_modifier(Reader *reader, RestLogic *condition)
{
	char *word;

	if (!take(reader, "("))
		return true;
	word = read_name(reader, ")");
	if (word == NULL || !take(reader, ")"))
		return expected(reader, "\")\"");
	if (condition->operator->operand == OPERAND_SEARCH)
		condition->language = word;
	else if (condition->operator->quantified && strcmp(word, "any") == 0)
		condition->quantifier = QUANTIFIER_ANY;
	else if (condition->operator->quantified && strcmp(word, "all") == 0)
		condition->quantifier = QUANTIFIER_ALL;
	else
		return expected(reader, "an operator that takes (any) and (all)");
	return true;
}

/* [not.]operator[(modifier)].value */
static bool
read_condition(Reader *reader, RestLogic *condition, bool alone)
{
	size_t length;

	condition->kind = LOGIC_CONDITION;
	while (take(reader, "not."))
		condition->negated = !condition->negated;
	length = strspn(reader->at, "abcdefghijklmnopqrstuvwxyz");
	condition->operator= find_operator(reader->at, length);
	if (condition->operator== NULL)
		return expected(reader, "operator (eq, gt, ...)");
	reader->at += length;
	if (!read_modifier(reader, condition))
		return false;
	if (!take(reader, "."))
		return expected(reader, "\".\"");
	switch (condition->operator->operand)
	{
		case OPERAND_LIST:
			return read_list(reader, condition);
		case OPERAND_WORD:
			return read_word(reader, condition);
		default:
			return read_value(reader, condition, alone);
	}
}

static bool read_logic_list(Reader *reader, RestLogic *logic);

/* and(...), not.or(...), or a field with its condition. */
static bool
read_logic(Reader *reader, RestLogic *logic)
{
	const char *start = reader->at;
	bool negated = false;

	while (take(reader, "not."))
		negated = !negated;
	logic->negated = negated;
	logic->kind = LOGIC_AND;
	if (take(reader, "and("))
		return read_logic_list(reader, logic);
	logic->kind = LOGIC_OR;
	if (take(reader, "or("))
		return read_logic_list(reader, logic);
	reader->at = start;
	logic->negated = false;
	logic->field.name = read_name(reader, ".,()");
	if (logic->field.name == NULL || !read_path(reader, &logic->field.path, ".,()"))
		return false;
	if (!take(reader, "."))
		return expected(reader, "\".\"");
	return read_condition(reader, logic, false);
}

/* Behind the opening bracket. */
static bool
read_logic_list(Reader *reader, RestLogic *logic)
{
	RestLogic **last = &logic->first;

	if (!go_deeper(reader))
		return false;
	do
	{
		RestLogic *one = arena_new(&reader->query->arena, sizeof(RestLogic));

		if (!read_logic(reader, one))
			return false;
		*last = one;
		last = &one->next;
	} while (take(reader, ","));
	reader->depth--;
	return take(reader, ")") || expected(reader, "\",\" or \")\"");
}

static void
add_filter(RestLevel *level, RestLogic *logic)
{
	RestLogic **last = &level->filters;

	while (*last)
		last = &(*last)->next;
	*last = logic;
}

/* --- order, limits, lists of names ---------------------------------------------------- */

static bool
read_order_words(Reader *reader, RestOrder *order)
{
	while (take(reader, "."))
	{
		if (take(reader, "asc"))
			order->descending = false;
		else if (take(reader, "desc"))
			order->descending = true;
		else if (take(reader, "nullsfirst"))
			order->nulls = NULLS_FIRST;
		else if (take(reader, "nullslast"))
			order->nulls = NULLS_LAST;
		else
			return expected(reader, "asc, desc, nullsfirst or nullslast");
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

		order->field.name = read_name(reader, ".,()");
		if (order->field.name == NULL)
			return false;
		if (take(reader, "("))
		{
			order->relation = order->field.name;
			order->field.name = read_name(reader, ".,()");
			if (order->field.name == NULL)
				return false;
		}
		if (!read_path(reader, &order->field.path, ".,()"))
			return false;
		if (order->relation && !take(reader, ")"))
			return expected(reader, "\")\"");
		if (!read_order_words(reader, order))
			return false;
		*last = order;
		last = &order->next;
	} while (take(reader, ","));
	return *reader->at == '\0' || expected(reader, "\",\" or end of input");
}

static bool
read_count(Reader *reader, long long *count)
{
	char *rest;

	errno = 0;
	*count = strtoll(reader->at, &rest, 10);
	if (rest == reader->at || *rest || errno)
		return expected(reader, "a whole number");
	if (*count < 0)
		return refuse(reader->query, "PGRST103", "Requested range not satisfiable",
					  "Limit should be greater than or equal to zero.");
	return true;
}

static bool
read_names(Reader *reader, RestName **names)
{
	do
	{
		RestName *name = arena_new(&reader->query->arena, sizeof(RestName));

		name->name = read_name(reader, ",");
		if (name->name == NULL)
			return false;
		*names = name;
		names = &name->next;
	} while (take(reader, ","));
	return *reader->at == '\0' || expected(reader, "\",\" or end of input");
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
			refuse(query, "PGRST108", "",
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
	if (!take(reader, "("))
		return expected(reader, "\"(\"");
	if (!read_logic_list(reader, logic))
		return false;
	if (*reader->at)
		return expected(reader, "end of input");
	add_filter(level, logic);
	return true;
}

static bool
read_filter(RestQuery *query, RestLevel *level, const char *key, const char *value)
{
	RestLogic *condition = arena_new(&query->arena, sizeof(RestLogic));
	Reader name = {query, key, key, "filter", 0};
	Reader reader = {query, value, value, "filter", 0};

	condition->field.name = read_name(&name, "");
	if (condition->field.name == NULL || !read_path(&name, &condition->field.path, ""))
		return false;
	if (*name.at)
		return expected(&name, "end of input");
	if (!read_condition(&reader, condition, true))
		return false;
	if (*reader.at)
		return expected(&reader, "end of input");
	add_filter(level, condition);
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
	if (!read_items(&reader, &query->top))
		return false;
	return *reader.at == '\0' || expected(&reader, "\",\" or end of input");
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
			return refuse(query, "PGRST100", "The query string has too many parameters.",
						  "More than %d.", PARAMETERS_MOST);
		if (!cut_parameter(&text, &parameters[count]))
			return refuse(query, "PGRST100", "The query string cannot be read.",
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
