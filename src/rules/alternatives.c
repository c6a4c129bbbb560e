/*
 * alternatives.c
 *		What nearly was: the rule that misses least, and the single changes that would
 *		flip the outcome.
 *
 * Both are read off the index's bitmaps when somebody reads an explanation.  Rules
 * with parts that are no tests are not promised anything of: a change that would
 * reach one of them first is left out.
 */
#include "postgres.h"

#include "base/number.h"
#include "lib/stringinfo.h"
#include "rules/analysis.h"
#include "rules/rule_index.h"
#include "utils/builtins.h"

#define WORDS_NAMED 3 /* of those that a test allows */

/* --- what a test needs, in words -------------------------------------------------- */

static bool
is_float(const TestColumn *column)
{
	return column->form == KEY_FLOAT4 || column->form == KEY_FLOAT8;
}

/* True where the text is the key's very number. */
static bool
number_text(const TestColumn *column, int64 key, char **text)
{
	*text = palloc(NUMBER_TEXT_ROOM);
	return number_to_text(float_of_key(key), column->form == KEY_FLOAT8 ? 15 : 6, *text);
}

/* The value of a key that some constant has; NULL where it lies between constants. */
static char *
key_text(const Decision *decision, const TestColumn *column, int64 key)
{
	Choice choice = {true, false, {key, key}};
	char *text;

	if (is_float(column))
	{
		(void) number_text(column, key, &text);
		return text;
	}
	if (column->form == KEY_ORDINAL && key % 2 == 0)
		return NULL;
	return choice_text(decision, column, &choice);
}

/* "> 70" rather than ">= 70.0000000000001": of two neighbours the shorter is the bound. */
static char *
bound_text(const Decision *decision, const TestColumn *column, int64 key, bool is_low)
{
	int64 outside = is_low ? key - 1 : key + 1;
	char *inner, *outer;
	bool is_short = is_float(column) && number_text(column, key, &inner);

	if (!is_short)
		inner = key_text(decision, column, key);
	if (is_short || (!is_float(column) && inner != NULL))
		return psprintf("%s %s", is_low ? ">=" : "<=", inner);
	outer = key_text(decision, column, outside);
	if (inner == NULL || strlen(outer) < strlen(inner) ||
		(strcmp(outer, inner) == 0 && key_of_float(strtod(outer, NULL)) != key))
		return psprintf("%s %s", is_low ? ">" : "<", outer);
	return psprintf("%s %s", is_low ? ">=" : "<=", inner);
}

static char *
words_text(const TestColumn *column, const Test *test)
{
	StringInfoData text;
	int named = 0;

	initStringInfo(&text);
	for (int i = 0; i < test->count; i++)
		for (int64 key = Max(test->ranges[i].low, 0);
			 key <= Min(test->ranges[i].high, column->word_count - 1); key++)
		{
			if (named++ == WORDS_NAMED)
			{
				appendStringInfoString(&text, ", ...");
				return text.data;
			}
			appendStringInfo(&text, "%s%.*s", named > 1 ? ", " : "= ",
							 column->words[key].length, column->words[key].data);
		}
	return named > 0 ? text.data : pstrdup("another value");
}

static char *
members_text(const Decision *decision, const TestColumn *column, const Test *test)
{
	const Test *there = test_and(test, column_domain(decision, column, test->column));
	StringInfoData text;

	initStringInfo(&text);
	for (int i = 0; i < there->count && i <= WORDS_NAMED; i++)
		appendStringInfo(&text, "%s%s", i ? ", " : "= ",
						 i == WORDS_NAMED
							 ? "..."
							 : key_text(decision, column, there->ranges[i].low));
	return text.data;
}

/* What the column would have to be, as near to the key as the test allows. */
static char *
needs_text(const Decision *decision, const TestColumn *column, const Test *test,
		   bool is_null, int64 key)
{
	if (test->count == 0)
		return pstrdup(test->at_null == NULL_HOLDS ? "NULL" : "-");
	if (column->form == KEY_WORD)
		return words_text(column, test);
	if (column->form == KEY_OID && column->type != OIDOID)
		return members_text(decision, column, test);
	if (is_null)
		return pstrdup("IS NOT NULL");
	for (int i = 0; i < test->count; i++)
		if (key < test->ranges[i].low)
		{
			if (test->ranges[i].low == test->ranges[i].high)
				return psprintf("= %s", key_text(decision, column, test->ranges[i].low));
			return bound_text(decision, column, test->ranges[i].low, true);
		}
	return bound_text(decision, column, test->ranges[test->count - 1].high, false);
}

/* --- the nearest miss --------------------------------------------------------------- */

static void
put_nearest_miss(DocBuilder *b, Decision *decision, int before)
{
	const TestSet *set = rule_index_tests(decision);
	int rule = rule_index_nearest_miss(decision, before);
	const RuleTests *tests;

	if (rule < 0)
		return;
	tests = &set->rules[rule];
	doc_begin_object(b, "nearest_miss");
	doc_put_string(b, "rule", decision_rule_words(decision, rule)->id);
	doc_begin_array(b, "needs");
	for (int i = 0; i < tests->count; i++)
	{
		const Test *test = tests->test[i];
		const TestColumn *column = &set->columns[test->column];
		int64 key;
		bool is_null = !rule_index_key(decision, test->column, &key);

		if (is_null ? test->at_null != NULL_FAILS : test_holds(test, key))
			continue;
		doc_begin_object(b, NULL);
		doc_put_string(b, "is", decision_column_text(decision, column->attno));
		doc_put_string(b, "name", decision_column_name(decision, column->attno));
		doc_put_string(b, "needs", needs_text(decision, column, test, is_null, key));
		doc_end_object(b);
	}
	doc_end_array(b);
	doc_end_object(b);
}

/* --- what would flip it ------------------------------------------------------------------ */

static const char *
status_of(const Decision *decision, int rule)
{
	const Verdict *verdict =
		rule >= 0 ? &decision_rule_words(decision, rule)->then : decision->otherwise;

	return verdict && verdict->status ? verdict->status : "unknown";
}

static void
put_flip(DocBuilder *b, const Decision *decision, const IndexStep *step)
{
	const TestColumn *column = &rule_index_tests(decision)->columns[step->column];
	const Test *test = test_make(step->column, NULL_FAILS, &step->range, 1);

	/* Keys that no value has are no change that anybody can make. */
	if (test_and(test, column_domain(decision, column, step->column))->count == 0)
		return;
	/* In the order in which they are stored. */
	doc_begin_object(b, NULL);
	doc_put_string(b, "is", decision_column_text(decision, column->attno));
	doc_put_string(b, "name", decision_column_name(decision, column->attno));
	if (step->rule >= 0)
		doc_put_string(b, "rule", decision_rule_words(decision, step->rule)->id);
	doc_put_string(b, "with",
				   needs_text(decision, column, test, false,
							  step->upward ? PG_INT64_MIN : PG_INT64_MAX));
	doc_put_string(b, "status", status_of(decision, step->rule));
	doc_end_object(b);
}

static void
put_flips(DocBuilder *b, Decision *decision, int answering)
{
	const char *status = status_of(decision, answering);
	List *steps = rule_index_steps(decision);
	ListCell *cell;

	doc_begin_array(b, "flips");
	foreach (cell, steps)
	{
		const IndexStep *step = lfirst(cell);

		if (strcmp(status_of(decision, step->rule), status) != 0)
			put_flip(b, decision, step);
	}
	doc_end_array(b);
}

/* While the slot holds the inputs that were judged. */
void
explain_alternatives(DocBuilder *b, const Evaluation *run)
{
	Decision *decision = run->decision;
	bool is_first = decision->hit_policy == HIT_FIRST;
	int answering = -1;

	/* An evaluation that is under way has the index's working space. */
	if (decision->busy)
		return;
	if (run->hits != NIL)
		answering = ((Rule *) linitial(run->hits))->index;
	rule_index_load(decision);
	put_nearest_miss(b, decision,
					 is_first && answering >= 0 ? answering : decision->rule_count);
	if (run->undecided == NIL && (is_first || decision->hit_policy == HIT_UNIQUE ||
								  decision->hit_policy == HIT_ANY))
		put_flips(b, decision, answering);
}
