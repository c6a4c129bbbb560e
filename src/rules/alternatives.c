/*
 * alternatives.c
 *		What nearly was: the rule that misses least, and the single changes that would
 *		flip the outcome.
 *
 * Both are read off the index's bitmaps when somebody reads an explanation; what is
 * said of a bound is the same each time, and kept with the decision.  Rules
 * with parts that are no tests are not promised anything of: a change that would
 * reach one of them first is left out.
 */
#include "postgres.h"

#include "base/number.h"
#include "catalog/pg_type.h"
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

/* --- texts that are made once ------------------------------------------------------- */

/* In the decision's memory; no more than the index has segments and its tests bounds. */
typedef struct Alternatives
{
	DocText **with;  /* a column: of each segment, reached upward and downward */
	DocText **needs; /* a rule: of each of its tests, from below each range and above */
} Alternatives;

static const DocText no_value = {"", -1}; /* the segment has none */

static Alternatives *
alternatives_of(Decision *decision)
{
	const TestSet *set = rule_index_tests(decision);
	MemoryContext caller;
	Alternatives *made;

	if (decision->alternatives != NULL)
		return decision->alternatives;
	caller = MemoryContextSwitchTo(decision->context);
	made = palloc(sizeof(Alternatives));
	made->with = palloc0(sizeof(DocText *) * (set->column_count + 1));
	made->needs = palloc0(sizeof(DocText *) * (decision->rule_count + 1));
	decision->alternatives = made;
	MemoryContextSwitchTo(caller);
	return made;
}

static DocText *
new_texts(const Decision *decision, int count)
{
	return MemoryContextAllocZero(decision->context, sizeof(DocText) * count);
}

static DocText
text_of(const char *words)
{
	return (DocText){words, (int) strlen(words)};
}

static void
keep_text(const Decision *decision, DocText *kept, DocText text)
{
	char *copy = MemoryContextAlloc(decision->context, text.length + 1);

	memcpy(copy, text.data, text.length);
	*kept = (DocText){copy, text.length};
}

/* Times and the like are written as the session's settings are. */
static bool
reads_settings(const TestColumn *column)
{
	switch (column->type)
	{
		case BOOLOID:
		case INT2OID:
		case INT4OID:
		case INT8OID:
		case FLOAT4OID:
		case FLOAT8OID:
		case NUMERICOID:
		case TEXTOID:
		case VARCHAROID:
		case BPCHAROID:
			return false;
		default:
			return true;
	}
}

/* --- the nearest miss --------------------------------------------------------------- */

/* The first range that is above the key, or how many there are. */
static int
range_above(const TestColumn *column, const Test *test, int64 key)
{
	int i = 0;

	if (column->form == KEY_WORD)
		return 0;
	while (i < test->count && key >= test->ranges[i].low)
		i++;
	return i;
}

static DocText *
needs_of_rule(Decision *decision, int rule)
{
	DocText **needs = &alternatives_of(decision)->needs[rule];
	const RuleTests *tests = &rule_index_tests(decision)->rules[rule];
	int count = 0;

	if (*needs == NULL)
	{
		for (int i = 0; i < tests->count; i++)
			count += tests->test[i]->count + 1;
		*needs = new_texts(decision, count);
	}
	return *needs;
}

static DocText
needs_words(const Decision *decision, const Test *test, bool is_null, int64 key,
			DocText *kept)
{
	const TestColumn *column = &rule_index_tests(decision)->columns[test->column];
	DocText made;

	if (is_null || reads_settings(column))
		return text_of(needs_text(decision, column, test, is_null, key));
	kept += range_above(column, test, key);
	if (kept->data != NULL)
		return *kept;
	made = text_of(needs_text(decision, column, test, false, key));
	keep_text(decision, kept, made);
	return *kept;
}

static void
put_need(DocBuilder *b, const Decision *decision, int attno, DocText needs,
		 ColumnTexts *texts)
{
	static const char *const keys[] = {"is", "name", "needs"};
	static DocTextsShape shape;
	DocText values[] = {column_texts_get(texts, attno),
						text_of(decision_column_name(decision, attno)), needs};

	if (shape.count == 0)
		doc_texts_shape(&shape, keys, lengthof(keys));
	doc_put_texts(b, NULL, &shape, values);
}

static void
put_nearest_miss(DocBuilder *b, Decision *decision, int rule, ColumnTexts *texts)
{
	const TestSet *set = rule_index_tests(decision);
	const RuleTests *tests = &set->rules[rule];
	DocText *needs = needs_of_rule(decision, rule);

	doc_begin_object(b, "nearest_miss");
	doc_put_string(b, "rule", decision_rule_words(decision, rule)->id);
	doc_begin_array(b, "needs");
	for (int i = 0; i < tests->count; needs += tests->test[i++]->count + 1)
	{
		const Test *test = tests->test[i];
		int64 key;
		bool is_null = !rule_index_key(decision, test->column, &key);

		if (is_null ? test->at_null == NULL_FAILS : !test_holds(test, key))
			put_need(b, decision, set->columns[test->column].attno,
					 needs_words(decision, test, is_null, key, needs), texts);
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

static DocText
make_with(const Decision *decision, const IndexStep *step)
{
	const TestColumn *column = &rule_index_tests(decision)->columns[step->column];
	const Test *test = test_make(step->column, NULL_FAILS, &step->range, 1);

	/* Keys that no value has are no change that anybody can make. */
	if (test_and(test, column_domain(decision, column, step->column))->count == 0)
		return no_value;
	return text_of(needs_text(decision, column, test, false,
							  step->upward ? PG_INT64_MIN : PG_INT64_MAX));
}

static DocText
with_words(Decision *decision, const IndexStep *step)
{
	DocText **with = &alternatives_of(decision)->with[step->column];
	DocText *kept, made;

	if (reads_settings(&rule_index_tests(decision)->columns[step->column]))
		return make_with(decision, step);
	if (*with == NULL)
		*with = new_texts(decision, 2 * rule_index_segments(decision, step->column));
	kept = &(*with)[2 * step->segment + step->upward];
	if (kept->data != NULL)
		return *kept;
	made = make_with(decision, step);
	if (made.length < 0)
		*kept = made;
	else
		keep_text(decision, kept, made);
	return *kept;
}

/* In the order in which they are stored. */
static const char *const flip_keys[] = {"is", "name", "rule", "with", "status"};
static const char *const flip_to_none_keys[] = {"is", "name", "with", "status"};

static void
put_flip(DocBuilder *b, Decision *decision, const IndexStep *step, DocText status,
		 ColumnTexts *texts)
{
	static DocTextsShape flip, flip_to_none;
	int attno = rule_index_tests(decision)->columns[step->column].attno;
	DocText with = with_words(decision, step);
	DocText values[lengthof(flip_keys)];
	int count = 0;

	if (flip.count == 0)
	{
		doc_texts_shape(&flip, flip_keys, lengthof(flip_keys));
		doc_texts_shape(&flip_to_none, flip_to_none_keys, lengthof(flip_to_none_keys));
	}
	if (with.length < 0)
		return;
	values[count++] = column_texts_get(texts, attno);
	values[count++] = text_of(decision_column_name(decision, attno));
	if (step->rule >= 0)
		values[count++] = text_of(decision_rule_words(decision, step->rule)->id);
	values[count++] = with;
	values[count++] = status;
	doc_put_texts(b, NULL, step->rule >= 0 ? &flip : &flip_to_none, values);
}

static void
put_flips(DocBuilder *b, Decision *decision, const Nearness *nearness, int answering,
		  ColumnTexts *texts)
{
	const char *answer = status_of(decision, answering);
	IndexStep *steps;
	int count = rule_index_steps(decision, nearness, &steps);

	doc_begin_array(b, "flips");
	for (int i = 0; i < count; i++)
	{
		const char *status = status_of(decision, steps[i].rule);

		if (strcmp(status, answer) != 0)
			put_flip(b, decision, &steps[i], text_of(status), texts);
	}
	doc_end_array(b);
}

/* While the slot holds the inputs that were judged. */
void
explain_alternatives(DocBuilder *b, const Evaluation *run, ColumnTexts *texts)
{
	Decision *decision = run->decision;
	bool is_first = decision->hit_policy == HIT_FIRST;
	int answering = -1;
	Nearness nearness;
	int miss;

	/* An evaluation that is under way has the index's working space. */
	if (decision->busy)
		return;
	if (run->hits != NIL)
		answering = ((Rule *) linitial(run->hits))->index;
	/* Where it is explained at once, the index still has the inputs. */
	if (!rule_index_has(decision, run->load))
		(void) rule_index_load(decision);
	nearness = rule_index_nearness(decision);
	miss = rule_index_nearest_miss(decision, &nearness,
								   is_first && answering >= 0 ? answering
															  : decision->rule_count);
	if (miss >= 0)
		put_nearest_miss(b, decision, miss, texts);
	if (run->undecided == NIL && (is_first || decision->hit_policy == HIT_UNIQUE ||
								  decision->hit_policy == HIT_ANY))
		put_flips(b, decision, &nearness, answering, texts);
}
