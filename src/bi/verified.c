/*
 * verified.c
 *		Questions whose answer a person has checked: from the catalogue's documents
 *		and from factory.verified_question.
 *
 * A question may have parameters: "{line} 상태" stands for every value of dimension
 * "line", "{period}" for any phrase of time.  In its SQL {line} becomes a literal,
 * {from} and {until} the days.
 */
#include "postgres.h"

#include "base/audit.h"
#include "base/base.h"
#include "base/errors.h"
#include "base/house.h"
#include "bi/bi_int.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#define VERIFIED_PARAMETERS 8

static const char *const read_query =
	"SELECT question, sql, means FROM factory.verified_question"
	" WHERE tenant_id = $1 ORDER BY question";

static const char *const store_query =
	"INSERT INTO factory.verified_question (tenant_id, question, sql, means, verified_by)"
	" VALUES ($1, $2, $3, $4, $5) ON CONFLICT (tenant_id, question) DO UPDATE"
	" SET sql = excluded.sql, means = excluded.means, verified_by = excluded.verified_by,"
	" verified_at = factory.clock_now()";

/* What the parameters of a question stand for. */
typedef struct Bindings
{
	int count;
	const char *names[VERIFIED_PARAMETERS];
	char *values[VERIFIED_PARAMETERS];
	PeriodSpan period;
} Bindings;

/* --- table -------------------------------------------------------------------------- */

static char *
column_text(int column, uint64 row)
{
	return SPI_getvalue(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column);
}

List *
verified_read(MemoryContext context)
{
	Oid types[] = {TEXTOID};
	Datum values[] = {CStringGetTextDatum(tenant_current())};
	List *verified = NIL;
	HouseRights saved;

	house_enter(&saved);
	SPI_connect();
	if (SPI_execute_with_args(read_query, 1, types, values, NULL, true, 0) !=
		SPI_OK_SELECT)
		elog(ERROR, "could not read the verified questions");
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		char *sql = column_text(2, i), *means = column_text(3, i);
		MemoryContext old = MemoryContextSwitchTo(context);
		VerifiedQuestion *question = palloc0(sizeof(VerifiedQuestion));

		question->question = pstrdup(column_text(1, i));
		question->sql = sql ? pstrdup(sql) : NULL;
		question->means = means ? pstrdup(means) : NULL;
		verified = lappend(verified, question);
		MemoryContextSwitchTo(old);
	}
	SPI_finish();
	house_leave(&saved);
	return verified;
}

static void
check_verified(const char *question, char *sql, char *means)
{
	Verdict verdict;
	QuestionPlan *plan;

	if ((sql == NULL) == (means == NULL))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a verified question needs \"sql\" or \"means\", and only one"),
				 errhint("\"means\" is another wording that factory.plan() "
						 "understands.")));
	if (sql)
	{
		guarded_run(verified_sample(sql), GUARD_CATALOG, 0, NULL, &verdict);
		if (!verdict.ok)
			verdict_raise(&verdict);
		return;
	}
	if (strchr(means, '{'))
		return;
	plan = plan_question(means, NULL);
	if (plan->clarification)
		ereport(ERROR,
				(errcode(ERRCODE_FACTORY_QUESTION_NOT_UNDERSTOOD),
				 errmsg("\"means\" is not understood itself: %s", plan->clarification),
				 errhint("Try it with factory.plan() first.")));
}

void
verified_store(char *question, char *sql, char *means)
{
	Oid types[] = {TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID};
	Datum values[] = {CStringGetTextDatum(tenant_current()),
					  CStringGetTextDatum(question),
					  sql ? CStringGetTextDatum(sql) : (Datum) 0,
					  means ? CStringGetTextDatum(means) : (Datum) 0,
					  CStringGetTextDatum(GetUserNameFromId(GetUserId(), false))};
	char nulls[] = {' ', ' ', sql ? ' ' : 'n', means ? ' ' : 'n', ' '};
	DocBuilder after;
	HouseRights saved;

	check_verified(question, sql, means);
	house_enter(&saved);
	SPI_connect();
	if (SPI_execute_with_args(store_query, 5, types, values, nulls, false, 0) !=
		SPI_OK_INSERT)
		elog(ERROR, "could not store the verified question");
	SPI_finish();
	house_leave(&saved);
	doc_build(&after);
	doc_begin_object(&after, NULL);
	doc_put_string(&after, "sql", sql);
	doc_put_string(&after, "means", means);
	doc_end_object(&after);
	audit_write("verify", "question", question, NULL, doc_finish(&after));
}

/* --- parameters ---------------------------------------------------------------------- */

/* With something in every parameter's place, so that it can be analysed. */
char *
verified_sample(const char *text)
{
	StringInfoData sample;

	initStringInfo(&sample);
	for (const char *c = text; *c; c++)
	{
		const char *end = *c == '{' ? strchr(c, '}') : NULL;
		char *name = end ? pnstrdup(c + 1, end - c - 1) : NULL;

		if (end == NULL ||
			strspn(name, "abcdefghijklmnopqrstuvwxyz_0123456789") != strlen(name))
		{
			appendStringInfoChar(&sample, *c);
			continue;
		}
		appendStringInfoString(&sample,
							   strcmp(name, "from") == 0 || strcmp(name, "until") == 0
								   ? "DATE '2000-01-01'"
								   : "''");
		c = end;
	}
	return sample.data;
}

static char *
bound_value(const Bindings *bindings, const char *name, bool literal)
{
	for (int i = 0; i < bindings->count; i++)
		if (strcmp(bindings->names[i], name) == 0)
			return literal ? quote_literal_cstr(bindings->values[i])
						   : bindings->values[i];
	if (literal && bindings->period.set && strcmp(name, "from") == 0)
		return psprintf("DATE '%s'", period_date_text(bindings->period.from));
	if (literal && bindings->period.set && strcmp(name, "until") == 0)
		return psprintf("DATE '%s'", period_date_text(bindings->period.until));
	return NULL;
}

/* The text with its parameters filled in; braces that are none stay. */
static char *
filled_in(const char *text, const Bindings *bindings, bool literal)
{
	StringInfoData filled;

	initStringInfo(&filled);
	for (const char *c = text; *c; c++)
	{
		const char *end = *c == '{' ? strchr(c, '}') : NULL;
		char *value =
			end ? bound_value(bindings, pnstrdup(c + 1, end - c - 1), literal) : NULL;

		if (value == NULL)
		{
			appendStringInfoChar(&filled, *c);
			continue;
		}
		appendStringInfoString(&filled, value);
		c = end;
	}
	return filled.data;
}

/* The longest value of the dimension there. */
static int
match_value(Line *line, int at, Catalog *catalog, Dimension *dimension, char **value)
{
	int longest = 0;
	ListCell *cell;

	foreach (cell, catalog->words[word_bucket(line->text + at)])
	{
		Word *word = lfirst(cell);
		int length = word->kind == WORD_VALUE && word->item == dimension
						 ? word_match(line, at, word)
						 : 0;

		if (length > longest)
		{
			longest = length;
			*value = word->value;
		}
	}
	return longest;
}

static int
match_parameter(Line *line, int at, Catalog *catalog, DateADT today, char *name,
				Bindings *bindings)
{
	Dimension *dimension;
	char *value = NULL;
	int length;

	if (bindings->count >= VERIFIED_PARAMETERS)
		return 0;
	if (strcmp(name, "period") == 0)
	{
		length = period_match(line, at, today, &bindings->period);
		if (length > 0 && bindings->period.open)
			return 0;
		value = line_text(line, at, at + length);
	}
	else
	{
		dimension = catalog_dimension(catalog, name);
		length = dimension ? match_value(line, at, catalog, dimension, &value) : 0;
	}
	if (length == 0)
		return 0;
	bindings->names[bindings->count] = name;
	bindings->values[bindings->count++] = value;
	return length;
}

/* The same question, whatever its spaces and punctuation. */
static bool
question_matches(Line *line, Catalog *catalog, DateADT today, const char *pattern,
				 Bindings *bindings)
{
	int at = 0;

	memset(bindings, 0, sizeof(*bindings));
	while (*pattern)
	{
		const char *brace = strchr(pattern, '{');
		const char *end = brace ? strchr(brace, '}') : NULL;
		int length = end ? brace - pattern : strlen(pattern);
		Line *fixed = line_read(pnstrdup(pattern, length));

		if (at + fixed->length > line->length ||
			memcmp(line->text + at, fixed->text, fixed->length) != 0)
			return false;
		at += fixed->length;
		pattern += length;
		if (end == NULL)
			continue;
		length = at < line->length
					 ? match_parameter(line, at, catalog, today,
									   pnstrdup(brace + 1, end - brace - 1), bindings)
					 : 0;
		if (length == 0)
			return false;
		at += length;
		pattern = end + 1;
	}
	return at == line->length;
}

VerifiedQuestion *
verified_find(Catalog *catalog, Line *line, DateADT today)
{
	ListCell *cell;

	foreach (cell, catalog->verified)
	{
		VerifiedQuestion *verified = lfirst(cell);
		VerifiedQuestion *found;
		Bindings bindings;

		if (!question_matches(line, catalog, today, verified->question, &bindings))
			continue;
		found = palloc0(sizeof(VerifiedQuestion));
		found->question = verified->question;
		if (verified->sql)
			found->sql = filled_in(verified->sql, &bindings, true);
		if (verified->means)
			found->means = filled_in(verified->means, &bindings, false);
		found->period = bindings.period;
		return found;
	}
	return NULL;
}
