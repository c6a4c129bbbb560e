/*
 * table_text.c
 *		Decision tables as text: CSV, and conditions taken apart into its cells.
 */
#include "postgres.h"

#include <ctype.h>

#include "base/compat.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/tuplestore.h"

static Datum
text_array(List *texts)
{
	Datum *values = palloc(sizeof(Datum) * Max(list_length(texts), 1));
	ListCell *cell;

	foreach (cell, texts)
		values[foreach_current_index(cell)] = CStringGetTextDatum((char *) lfirst(cell));
	return PointerGetDatum(
		construct_array(values, list_length(texts), TEXTOID, -1, false, TYPALIGN_INT));
}

/* --- CSV (RFC 4180) --------------------------------------------------------------------- */

typedef struct CsvReader
{
	const char *at;
	int line;
} CsvReader;

static char *
read_quoted_field(CsvReader *reader)
{
	StringInfoData field;
	int began = reader->line;

	initStringInfo(&field);
	for (reader->at++;; reader->at++)
	{
		if (*reader->at == '\0')
			ereport(ERROR,
					(errcode(ERRCODE_BAD_COPY_FILE_FORMAT),
					 errmsg("line %d of the table ends within quotes", began),
					 errhint("Close the field with \"; write a \" within it twice.")));
		if (*reader->at == '"' && *++reader->at != '"')
			break;
		if (*reader->at == '\n')
			reader->line++;
		appendStringInfoChar(&field, *reader->at);
	}
	if (*reader->at != '\0' && strchr(",\r\n", *reader->at) == NULL)
		ereport(ERROR, (errcode(ERRCODE_BAD_COPY_FILE_FORMAT),
						errmsg("line %d of the table goes on after closing quotes",
							   reader->line),
						errhint("Write a \" within a quoted field twice.")));
	return field.data;
}

static char *
read_field(CsvReader *reader)
{
	size_t length;
	char *field;

	if (*reader->at == '"')
		return read_quoted_field(reader);
	length = strcspn(reader->at, ",\r\n");
	field = pnstrdup(reader->at, length);
	reader->at += length;
	return field;
}

/* One line's fields; leaves the reader behind the line's end. */
static List *
read_line(CsvReader *reader)
{
	List *fields = list_make1(read_field(reader));

	while (*reader->at == ',')
	{
		reader->at++;
		fields = lappend(fields, read_field(reader));
	}
	if (*reader->at == '\r')
		reader->at++;
	if (*reader->at == '\n')
		reader->at++;
	reader->line++;
	return fields;
}

FACTORY_FUNCTION(factory_csv_lines);

/* Set of (line, fields); a byte order mark in front is left out, so are empty lines. */
Datum
factory_csv_lines(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	CsvReader reader = {text_to_cstring(PG_GETARG_TEXT_PP(0)), 1};

	InitMaterializedSRF(fcinfo, 0);
	if (strncmp(reader.at, "\xEF\xBB\xBF", 3) == 0)
		reader.at += 3;
	while (*reader.at != '\0')
	{
		int line = reader.line;
		List *fields = read_line(&reader);
		Datum values[] = {Int32GetDatum(line), text_array(fields)};
		bool nulls[] = {false, false};

		CHECK_FOR_INTERRUPTS();
		if (list_length(fields) > 1 || *(char *) linitial(fields) != '\0')
			tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/* --- conditions ------------------------------------------------------------------------------ */

typedef struct ConditionScan
{
	const char *at;
	int depth;          /* of parentheses and brackets */
	bool between;       /* the next AND belongs to a BETWEEN */
	bool has_other_way; /* an OR or CASE at the top: not to be taken apart */
} ConditionScan;

static void
skip_quoted(ConditionScan *scan)
{
	char quote = *scan->at++;

	for (; *scan->at != '\0' && *scan->at != quote; scan->at++)
		if (*scan->at == '\\')
			scan->has_other_way = true;
	if (*scan->at != '\0')
		scan->at++;
}

static bool
is_word_character(char c)
{
	return isalnum((unsigned char) c) || c == '_' || c == '$' || IS_HIGHBIT_SET(c);
}

/* Takes one word at the top; true where it is an AND between two conditions. */
static bool
take_word(ConditionScan *scan)
{
	const char *word = scan->at;
	size_t length;

	while (is_word_character(*scan->at))
		scan->at++;
	length = scan->at - word;
	if (scan->depth > 0)
		return false;
	if (length == 7 && pg_strncasecmp(word, "between", 7) == 0)
		scan->between = true;
	else if (length == 3 && pg_strncasecmp(word, "and", 3) == 0)
	{
		if (!scan->between)
			return true;
		scan->between = false;
	}
	else if ((length == 2 && pg_strncasecmp(word, "or", 2) == 0) ||
			 (length == 4 && pg_strncasecmp(word, "case", 4) == 0))
		scan->has_other_way = true;
	return false;
}

static void
take_character(ConditionScan *scan)
{
	if (*scan->at == '(' || *scan->at == '[')
		scan->depth++;
	else if (*scan->at == ')' || *scan->at == ']')
		scan->depth--;
	else if (*scan->at == '$' || *scan->at == '\\' || strncmp(scan->at, "--", 2) == 0 ||
			 strncmp(scan->at, "/*", 2) == 0)
		scan->has_other_way = true;
	scan->at++;
}

static char *
trimmed(const char *from, const char *to)
{
	while (from < to && isspace((unsigned char) *from))
		from++;
	while (to > from && isspace((unsigned char) to[-1]))
		to--;
	return pnstrdup(from, to - from);
}

/*
 * The conditions that a condition joins by AND; NIL where that cannot be said for
 * sure: OR, CASE, comments, escapes.
 */
static List *
condition_parts(const char *condition)
{
	ConditionScan scan = {condition};
	const char *part = condition;
	List *parts = NIL;

	while (*scan.at != '\0')
	{
		const char *word = scan.at;

		if (*scan.at == '\'' || *scan.at == '"')
			skip_quoted(&scan);
		else if (!is_word_character(*scan.at) || *scan.at == '$')
			take_character(&scan);
		else if (take_word(&scan))
		{
			parts = lappend(parts, trimmed(part, word));
			part = scan.at;
		}
	}
	if (scan.has_other_way || scan.depth != 0)
		return NIL;
	return lappend(parts, trimmed(part, scan.at));
}

FACTORY_FUNCTION(factory_condition_parts);

Datum
factory_condition_parts(PG_FUNCTION_ARGS)
{
	List *parts = condition_parts(text_to_cstring(PG_GETARG_TEXT_PP(0)));

	if (parts == NIL)
		PG_RETURN_NULL();
	return text_array(parts);
}
