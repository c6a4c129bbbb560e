/*
 * backtest.c
 *		Rows of the log, or of a query, decided by versions and counted: the transition
 *		functions of two aggregates.
 *
 * Nothing but outcomes is worked out, and nothing is written.
 */
#include "postgres.h"

#include "base/clock.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "nodes/makefuncs.h"
#include "review/comparison.h"
#include "rules/rules.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"

typedef struct AnswerEntry
{
	Answer *answer;
	int number; /* its outcome's */
	char status;
} AnswerEntry;

#define SH_PREFIX answers
#define SH_ELEMENT_TYPE AnswerEntry
#define SH_KEY_TYPE Answer *
#define SH_KEY answer
#define SH_HASH_KEY(table, key) murmurhash32((uint32) ((uintptr_t) (key) >> 3))
#define SH_EQUAL(table, a, b) ((a) == (b))
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

typedef struct Contender
{
	int version;
	DecisionPin pin;
	answers_hash *answers;
	Decision *seen;     /* the decision of the row before, of which */
	bool takes_rows;    /* rows are as good as documents, */
	bool is_like_first; /* and what fits the first version fits */
} Contender;

/* What the transition functions keep from row to row. */
typedef struct Backtest
{
	Comparison *comparison;
	char *decision;
	TimestampTz now; /* of a query's rows */
	List *contenders;
	FmgrInfo to_jsonb;
} Backtest;

static Backtest *
backtest_begin(FunctionCallInfo fcinfo, int table_count)
{
	MemoryContext memory;
	Comparison *comparison;
	Backtest *test;

	if (!AggCheckCallContext(fcinfo, &memory))
		elog(ERROR, "outcomes are counted by an aggregate");
	comparison = comparison_begin(memory, table_count);
	test = comparison->work =
		MemoryContextAllocZero(comparison->context, sizeof(Backtest));
	test->comparison = comparison;
	test->now = clock_now();
	test->decision =
		MemoryContextStrdup(comparison->context, text_to_cstring(PG_GETARG_TEXT_PP(1)));
	return test;
}

static Contender *
add_contender(Backtest *test, int version)
{
	MemoryContext memory = test->comparison->context;
	MemoryContext caller = MemoryContextSwitchTo(memory);
	Contender *added = palloc0(sizeof(Contender));

	added->version = version;
	added->answers = answers_create(memory, 64, NULL);
	test->contenders = lappend(test->contenders, added);
	MemoryContextSwitchTo(caller);
	return added;
}

static Contender *
contender(Backtest *test, int version)
{
	ListCell *cell;

	foreach (cell, test->contenders)
		if (((Contender *) lfirst(cell))->version == version)
			return lfirst(cell);
	return add_contender(test, version);
}

/* --- outcomes --------------------------------------------------------------------------- */

/* NULL is unknown, for both. */
static Words
words_of(const NullableDatum *status, const NullableDatum *result)
{
	Words words = {"unknown", "unknown", 7, 7};

	if (!status->isnull)
	{
		words.status = VARDATA_ANY(DatumGetPointer(status->value));
		words.status_length = VARSIZE_ANY_EXHDR(DatumGetPointer(status->value));
	}
	if (!result->isnull)
	{
		words.result = VARDATA_ANY(DatumGetPointer(result->value));
		words.result_length = VARSIZE_ANY_EXHDR(DatumGetPointer(result->value));
	}
	return words;
}

/* An input that a version does not take is an outcome too. */
static int
invalid_number(const Backtest *test)
{
	const Words words = {"invalid", "unknown", 7, 7};

	return outcome_number(test->comparison, &words);
}

/* The outcome of what is in the decision's slot, by its rules alone. */
static int
decide(const Backtest *test, Contender *one, Decision *decision, TimestampTz at)
{
	Evaluation run;
	AnswerEntry *entry;
	Words words;
	bool found;

	if (!evaluation_by_index(&run, decision))
	{
		evaluation_start(&run, decision, at);
		evaluation_run(&run);
	}
	entry = answers_insert(one->answers, run.answer, &found);
	if (!found)
	{
		words = words_of(&run.answer->status, &run.answer->result);
		entry->number = outcome_number(test->comparison, &words);
	}
	return entry->number;
}

/* --- rows of the log ---------------------------------------------------------------------- */

static int
decide_document(const Backtest *test, Contender *one, Jsonb *input, TimestampTz at)
{
	Decision *decision = decision_for_call(&one->pin, test->decision, one->version);

	if (!inputs_take_json(decision, input))
		return invalid_number(test);
	return decide(test, one, decision, at);
}

static bool
was_by_rules(const text *method)
{
	static const char by_rules[] = "rule_only";

	return VARSIZE_ANY_EXHDR(method) == sizeof(by_rules) - 1 &&
		   memcmp(VARDATA_ANY(method), by_rules, sizeof(by_rules) - 1) == 0;
}

FACTORY_FUNCTION(factory_count_replayed);

/*
 * (state, decision, version, method_used, status, result, version of that day, input,
 * created_at, execution_id).  What rules alone had said is in the log; where a model
 * had a say, the rules of that day are asked again, so that rules are compared with
 * rules.  For both it is the time of that day.
 */
Datum
factory_count_replayed(PG_FUNCTION_ARGS)
{
	Backtest *test = PG_ARGISNULL(0) ? backtest_begin(fcinfo, 1)
									 : ((Comparison *) PG_GETARG_POINTER(0))->work;
	Example example = {.judged_at = PG_GETARG_TIMESTAMPTZ(8),
					   .version = PG_GETARG_INT32(6),
					   .input = PG_GETARG_JSONB_P(7)};
	int was, becomes;

	if (was_by_rules(PG_GETARG_TEXT_PP(3)))
	{
		Words words = words_of(&fcinfo->args[4], &fcinfo->args[5]);

		was = outcome_number(test->comparison, &words);
	}
	else
		was = decide_document(test, contender(test, example.version), example.input,
							  example.judged_at);
	becomes = decide_document(test, contender(test, PG_GETARG_INT32(2)), example.input,
							  example.judged_at);
	example.id = *PG_GETARG_UUID_P(9);
	comparison_count(test->comparison, 0, was, becomes, &example);
	PG_RETURN_POINTER(test->comparison);
}

/* --- rows of a query ------------------------------------------------------------------------ */

static Backtest *
begin_with_versions(FunctionCallInfo fcinfo)
{
	ArrayType *versions = PG_GETARG_ARRAYTYPE_P(2);
	int count = ArrayGetNItems(ARR_NDIM(versions), ARR_DIMS(versions));
	const int32 *numbers = (const int32 *) ARR_DATA_PTR(versions);
	Backtest *test = backtest_begin(fcinfo, count);
	MemoryContext memory = test->comparison->context;
	MemoryContext caller = MemoryContextSwitchTo(memory);
	Const *row = makeNullConst(RECORDOID, -1, InvalidOid);

	for (int i = 0; i < count; i++)
		(void) add_contender(test, numbers[i]);
	fmgr_info_cxt(F_TO_JSONB, &test->to_jsonb, memory);
	fmgr_info_set_expr((Node *) makeFuncExpr(F_TO_JSONB, JSONBOID, list_make1(row),
											 InvalidOid, InvalidOid,
											 COERCE_EXPLICIT_CALL),
					   &test->to_jsonb);
	MemoryContextSwitchTo(caller);
	return test;
}

/* A row, and the document it makes where that is asked for. */
typedef struct GivenRow
{
	HeapTupleHeader row;
	Jsonb *document;
} GivenRow;

static Jsonb *
row_document(Backtest *test, GivenRow *given)
{
	if (given->document == NULL)
		given->document =
			DatumGetJsonbP(FunctionCall1(&test->to_jsonb, PointerGetDatum(given->row)));
	return given->document;
}

/* What is the same for every row. */
static Decision *
look_at(const Backtest *test, Contender *one, const GivenRow *given)
{
	const Contender *first = linitial(test->contenders);
	Decision *decision = decision_for_call(&one->pin, test->decision, one->version);

	if (one->seen == decision)
		return decision;
	one->takes_rows = inputs_are_columns(decision, given->row);
	one->is_like_first = one != first && inputs_are_alike(first->seen, decision);
	one->seen = decision;
	return decision;
}

/* A row as it is, where that is the same as the document it makes. */
static bool
take_row(Backtest *test, const Contender *one, Decision *decision, GivenRow *given)
{
	if (one->takes_rows)
		return inputs_take_row(decision, given->row);
	return inputs_take_json(decision, row_document(test, given));
}

FACTORY_FUNCTION(factory_count_backtested);

/* The first version beside itself changes nothing, which nobody asks for beside others. */
static void
count_outcomes(Backtest *test, int table, int was, int becomes, GivenRow *given)
{
	Example example = {.version = 0};

	if (table == 0 && test->comparison->table_count > 1)
		return;
	if (comparison_wants_example(test->comparison, table, was, becomes))
		example.input = row_document(test, given);
	comparison_count(test->comparison, table, was, becomes,
					 example.input ? &example : NULL);
}

/* (state, decision, versions, row): each version beside the first. */
Datum
factory_count_backtested(PG_FUNCTION_ARGS)
{
	Backtest *test = PG_ARGISNULL(0) ? begin_with_versions(fcinfo)
									 : ((Comparison *) PG_GETARG_POINTER(0))->work;
	const Contender *first = linitial(test->contenders);
	GivenRow given = {.row = PG_GETARG_HEAPTUPLEHEADER(3)};
	bool taken_by_first = false;
	int was = 0;

	for (int i = 0; i < test->comparison->table_count; i++)
	{
		Contender *one = list_nth(test->contenders, i);
		Decision *decision = look_at(test, one, &given);
		bool takes_it = true;
		int becomes;

		if (taken_by_first && one->is_like_first)
			inputs_copy(first->seen, decision);
		else
			takes_it = take_row(test, one, decision, &given);
		becomes =
			takes_it ? decide(test, one, decision, test->now) : invalid_number(test);
		if (i == 0)
		{
			was = becomes;
			taken_by_first = takes_it;
		}
		count_outcomes(test, i, was, becomes, &given);
	}
	PG_RETURN_POINTER(test->comparison);
}
