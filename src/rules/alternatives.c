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
#include "rules/alternatives.h"
#include "rules/analysis.h"
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
	bool exact;

	*text = palloc(NUMBER_TEXT_ROOM);
	(void) number_to_text(float_of_key(key), column->form == KEY_FLOAT8 ? 15 : 6, *text,
						  &exact);
	return exact;
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

/* What is said of a rule that would answer, or of none. */
typedef struct RuleNames
{
	DocText id; /* NULL: not made yet */
	DocText status;
} RuleNames;

/* In the decision's memory; no more than the index has segments and its tests bounds. */
typedef struct AlternativeTexts
{
	DocText *names;   /* a column of the test set: its name */
	RuleNames *rules; /* the last is what none would say */
	DocText **with;   /* a column: of each segment, reached upward and downward */
	DocText **needs;  /* a rule: of each of its tests, from below each range and above */
} AlternativeTexts;

static const DocText no_value = {"", -1}; /* the segment has none */

static DocText
text_of(const char *words)
{
	return (DocText){words, (int) strlen(words)};
}

static AlternativeTexts *
make_texts(const Decision *decision)
{
	const TestSet *set = rule_index_tests(decision);
	AlternativeTexts *made = palloc(sizeof(AlternativeTexts));

	made->names = palloc(sizeof(DocText) * (set->column_count + 1));
	for (int i = 0; i < set->column_count; i++)
		made->names[i] = text_of(decision_column_name(decision, set->columns[i].attno));
	made->rules = palloc0(sizeof(RuleNames) * (decision->rule_count + 1));
	made->with = palloc0(sizeof(DocText *) * (set->column_count + 1));
	made->needs = palloc0(sizeof(DocText *) * (decision->rule_count + 1));
	return made;
}

static AlternativeTexts *
texts_kept(Decision *decision)
{
	MemoryContext caller;

	if (decision->alternatives != NULL)
		return decision->alternatives;
	caller = MemoryContextSwitchTo(decision->context);
	decision->alternatives = make_texts(decision);
	MemoryContextSwitchTo(caller);
	return decision->alternatives;
}

/* Of a rule, or of none: -1. */
static const RuleNames *
names_of_rule(Decision *decision, int rule)
{
	RuleNames *names =
		&texts_kept(decision)->rules[rule >= 0 ? rule : decision->rule_count];
	const Verdict *verdict = decision->otherwise;
	const char *id = "";

	if (names->id.data != NULL)
		return names;
	if (rule >= 0)
	{
		const Rule *words = decision_rule_words(decision, rule);

		verdict = &words->then;
		id = words->id;
	}
	names->status = text_of(verdict && verdict->status ? verdict->status : "unknown");
	names->id = text_of(id);
	return names;
}

static DocText *
new_texts(const Decision *decision, int count)
{
	return MemoryContextAllocZero(decision->context, sizeof(DocText) * count);
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
	DocText **needs = &texts_kept(decision)->needs[rule];
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
put_need(DocBuilder *b, Decision *decision, int column, DocText needs, ColumnTexts *texts)
{
	static const char *const keys[] = {"is", "name", "needs"};
	static DocShape shape;
	int attno = rule_index_tests(decision)->columns[column].attno;
	DocText values[] = {column_texts_get(texts, attno),
						texts_kept(decision)->names[column], needs};

	doc_shape_once(&shape, keys, lengthof(keys));
	doc_put_texts(b, NULL, &shape, values);
}

/* A test that keeps the rule from standing. */
typedef struct Failure
{
	const Test *test;
	DocText needs;
} Failure;

static int
find_failures(Decision *decision, int rule, Failure *failures)
{
	const RuleTests *tests = &rule_index_tests(decision)->rules[rule];
	DocText *needs = needs_of_rule(decision, rule);
	int count = 0;

	for (int i = 0; i < tests->count; needs += tests->test[i++]->count + 1)
	{
		const Test *test = tests->test[i];
		int64 key;
		bool is_null = !rule_index_key(decision, test->column, &key);

		if (is_null ? test->at_null == NULL_FAILS : !test_holds(test, key))
			failures[count++] =
				(Failure){test, needs_words(decision, test, is_null, key, needs)};
	}
	return count;
}

void
alternatives_put_miss(DocBuilder *b, const Alternatives *found, ColumnTexts *texts)
{
	static const char *const keys[] = {"rule", "needs"};
	static DocShape shape;
	Decision *decision = found->decision;
	DocText id = names_of_rule(decision, found->miss)->id;
	Failure *failures =
		palloc(sizeof(Failure) * (rule_index_tests(decision)->column_count + 1));
	int count = find_failures(decision, found->miss, failures);

	doc_shape_once(&shape, keys, lengthof(keys));
	doc_begin_shaped(b, "nearest_miss", &shape);
	doc_put_text(b, "rule", id.data, id.length);
	doc_begin_list(b, "needs", count);
	for (int i = 0; i < count; i++)
		put_need(b, decision, failures[i].test->column, failures[i].needs, texts);
	doc_end_list(b);
	doc_end_shaped(b);
}

/* --- what would flip it ------------------------------------------------------------------ */

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
	DocText **with = &texts_kept(decision)->with[step->column];
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

static bool
is_same(DocText one, DocText other)
{
	return one.length == other.length && memcmp(one.data, other.data, one.length) == 0;
}

/* A step that leads to another status, and to a value that there is. */
typedef struct Flip
{
	const IndexStep *step;
	const RuleNames *to;
	DocText with;
} Flip;

static int
find_flips(const Alternatives *found, const IndexStep *steps, int count, Flip *flips)
{
	Decision *decision = found->decision;
	DocText answer = names_of_rule(decision, found->answering)->status;
	int flip_count = 0;

	for (int i = 0; i < count; i++)
	{
		Flip flip = {&steps[i], names_of_rule(decision, steps[i].rule)};

		if (is_same(flip.to->status, answer))
			continue;
		flip.with = with_words(decision, flip.step);
		if (flip.with.length >= 0)
			flips[flip_count++] = flip;
	}
	return flip_count;
}

static void
put_flip(DocBuilder *b, Decision *decision, const Flip *flip, ColumnTexts *texts)
{
	static const char *const keys[] = {"is", "name", "rule", "with", "status"};
	static const char *const keys_to_none[] = {"is", "name", "with", "status"};
	static DocShape to_rule, to_none;
	int column = flip->step->column;
	DocText values[lengthof(keys)];
	int count = 0;

	doc_shape_once(&to_rule, keys, lengthof(keys));
	doc_shape_once(&to_none, keys_to_none, lengthof(keys_to_none));
	values[count++] =
		column_texts_get(texts, rule_index_tests(decision)->columns[column].attno);
	values[count++] = texts_kept(decision)->names[column];
	if (flip->step->rule >= 0)
		values[count++] = flip->to->id;
	values[count++] = flip->with;
	values[count++] = flip->to->status;
	doc_put_texts(b, NULL, flip->step->rule >= 0 ? &to_rule : &to_none, values);
}

void
alternatives_put_flips(DocBuilder *b, const Alternatives *found, ColumnTexts *texts)
{
	IndexStep *steps;
	int count = rule_index_steps(found->decision, &found->nearness, &steps);
	Flip *flips = palloc(sizeof(Flip) * (count + 1));

	count = find_flips(found, steps, count, flips);
	doc_begin_list(b, "flips", count);
	for (int i = 0; i < count; i++)
		put_flip(b, found->decision, &flips[i], texts);
	doc_end_list(b);
}

bool
alternatives_find(Alternatives *found, const Evaluation *run)
{
	Decision *decision = run->decision;
	bool is_first = decision->hit_policy == HIT_FIRST;

	/* An evaluation that is under way has the index's working space. */
	if (decision->busy)
		return false;
	found->decision = decision;
	found->answering = run->hits == NIL ? -1 : ((Rule *) linitial(run->hits))->index;
	/* Where it is explained at once, the index still has the inputs. */
	if (!rule_index_has(decision, run->load))
		(void) rule_index_load(decision);
	found->nearness = rule_index_nearness(decision);
	found->miss =
		rule_index_nearest_miss(decision, &found->nearness,
								is_first && found->answering >= 0 ? found->answering
																  : decision->rule_count);
	found->has_flips =
		run->undecided == NIL && (is_first || decision->hit_policy == HIT_UNIQUE ||
								  decision->hit_policy == HIT_ANY);
	return true;
}
