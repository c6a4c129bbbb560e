/*
 * rest_query_logic.c
 *		Conditions: operators with their values, and what joins them.
 */
#include "rest_query_int.h"

#include <string.h>
#include <strings.h>

#include "buffer.h"

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

	if (!reader_take(reader, "("))
		return reader_expected(reader, "\"(\"");
	buffer_add_char(&array, '{');
	while (good && *reader->at != ')' && *reader->at)
	{
		if (*reader->at == '"')
		{
			char *text = reader_read_quoted(reader);

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
		if (!reader_take(reader, ","))
			break;
	}
	good =
		good && (reader_take(reader, ")") || reader_expected(reader, "\",\" or \")\""));
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
		condition->value = reader_read_quoted(reader);
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
	return reader_expected(reader, "null, not_null, true, false or unknown");
}

/* (any), (all), or a search's (language). */
static bool
read_modifier(Reader *reader, RestLogic *condition)
{
	char *word;

	if (!reader_take(reader, "("))
		return true;
	word = reader_read_name(reader, ")");
	if (word == NULL || !reader_take(reader, ")"))
		return reader_expected(reader, "\")\"");
	if (condition->operator->operand == OPERAND_SEARCH)
		condition->language = word;
	else if (condition->operator->quantified && strcmp(word, "any") == 0)
		condition->quantifier = QUANTIFIER_ANY;
	else if (condition->operator->quantified && strcmp(word, "all") == 0)
		condition->quantifier = QUANTIFIER_ALL;
	else
		return reader_expected(reader, "an operator that takes (any) and (all)");
	return true;
}

/* [not.]operator[(modifier)].value */
bool
reader_read_condition(Reader *reader, RestLogic *condition, bool alone)
{
	size_t length;

	condition->kind = LOGIC_CONDITION;
	while (reader_take(reader, "not."))
		condition->negated = !condition->negated;
	length = strspn(reader->at, "abcdefghijklmnopqrstuvwxyz");
	condition->operator= find_operator(reader->at, length);
	if (condition->operator== NULL)
		return reader_expected(reader, "operator (eq, gt, ...)");
	reader->at += length;
	if (!read_modifier(reader, condition))
		return false;
	if (!reader_take(reader, "."))
		return reader_expected(reader, "\".\"");
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

/* and(...), not.or(...), or a field with its condition. */
static bool
read_logic(Reader *reader, RestLogic *logic)
{
	const char *start = reader->at;
	bool negated = false;

	while (reader_take(reader, "not."))
		negated = !negated;
	logic->negated = negated;
	logic->kind = LOGIC_AND;
	if (reader_take(reader, "and("))
		return reader_read_logic_list(reader, logic);
	logic->kind = LOGIC_OR;
	if (reader_take(reader, "or("))
		return reader_read_logic_list(reader, logic);
	reader->at = start;
	logic->negated = false;
	logic->field.name = reader_read_name(reader, ".,()");
	if (logic->field.name == NULL ||
		!reader_read_path(reader, &logic->field.path, ".,()"))
		return false;
	if (!reader_take(reader, "."))
		return reader_expected(reader, "\".\"");
	return reader_read_condition(reader, logic, false);
}

/* Behind the opening bracket. */
bool
reader_read_logic_list(Reader *reader, RestLogic *logic)
{
	RestLogic **last = &logic->first;

	if (!reader_go_deeper(reader))
		return false;
	do
	{
		RestLogic *one = arena_new(&reader->query->arena, sizeof(RestLogic));

		if (!read_logic(reader, one))
			return false;
		*last = one;
		last = &one->next;
	} while (reader_take(reader, ","));
	reader->depth--;
	return reader_take(reader, ")") || reader_expected(reader, "\",\" or \")\"");
}

void
query_add_filter(RestLevel *level, RestLogic *logic)
{
	RestLogic **last = &level->filters;

	while (*last)
		last = &(*last)->next;
	*last = logic;
}
