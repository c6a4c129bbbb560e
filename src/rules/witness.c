/*
 * witness.c
 *		From keys of tests back to values: inputs that show what an analysis found.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "base/attempt.h"
#include "catalog/pg_enum.h"
#include "catalog/pg_type.h"
#include "rules/analysis.h"
#include "utils/builtins.h"
#include "utils/catcache.h"
#include "utils/date.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

/* --- what a column may be ------------------------------------------------------- */

static Test *
range_test(int number, int64 low, int64 high)
{
	KeyRange range = {low, high};

	return test_make(number, NULL_FAILS, &range, 1);
}

static Test *
enum_domain(Oid type, int number)
{
	CatCList *members = SearchSysCacheList1(ENUMTYPOIDNAME, ObjectIdGetDatum(type));
	Test *all = test_make(number, NULL_FAILS, NULL, 0);

	for (int i = 0; i < members->n_members; i++)
	{
		Form_pg_enum member = (Form_pg_enum) GETSTRUCT(&members->members[i]->tuple);

		all = test_or(all, range_test(number, member->oid, member->oid));
	}
	ReleaseCatCacheList(members);
	return all;
}

static Test *
type_domain(const TestColumn *column, int number)
{
	Test *numbers;

	switch (column->form)
	{
		case KEY_INT2:
			return range_test(number, PG_INT16_MIN, PG_INT16_MAX);
		case KEY_INT4:
		case KEY_DATE:
			return range_test(number, PG_INT32_MIN, PG_INT32_MAX);
		case KEY_BOOL:
			return range_test(number, 0, 1);
		case KEY_TIME:
			return range_test(number, 0, USECS_PER_DAY);
		case KEY_OID:
			return column->type == OIDOID ? range_test(number, 0, PG_UINT32_MAX)
										  : enum_domain(column->type, number);
		case KEY_WORD:
			return range_test(number, -1, column->word_count - 1);
		case KEY_ORDINAL:
			return range_test(number, 0, 2 * (int64) column->landmark_count);
		case KEY_FLOAT4:
		case KEY_FLOAT8:
			numbers = range_test(number, key_of_float(-INFINITY), key_of_float(INFINITY));
			return test_or(numbers, range_test(number, PG_INT64_MAX, PG_INT64_MAX));
		default:
			return range_test(number, PG_INT64_MIN, PG_INT64_MAX);
	}
}

/* What min, max and enum of an input leave. */
static Test *
narrow_to_input(const TestColumn *column, const Input *input, Test *domain)
{
	Test *allowed;
	ListCell *cell;

	if (input->has_min)
		domain =
			test_and(domain, range_test(domain->column, key_of_value(column, input->min),
										PG_INT64_MAX));
	if (input->has_max)
		domain = test_and(domain, range_test(domain->column, PG_INT64_MIN,
											 key_of_value(column, input->max)));
	if (input->allowed == NIL)
		return domain;
	allowed = test_make(domain->column, NULL_FAILS, NULL, 0);
	foreach (cell, input->allowed)
	{
		int64 key = key_of_value(column, *(Datum *) lfirst(cell));

		allowed = test_or(allowed, range_test(domain->column, key, key));
	}
	return test_and(domain, allowed);
}

Test *
column_domain(const Decision *decision, const TestColumn *column, int number)
{
	Test *domain = type_domain(column, number);
	const Input *input;

	domain->at_null = NULL_HOLDS;
	if (column->attno > decision->input_count)
		return domain;
	input = &decision->inputs[column->attno - 1];
	domain = narrow_to_input(column, input, domain);
	domain->at_null = input->required || input->has_default ? NULL_FAILS : NULL_HOLDS;
	return domain;
}

/* --- keys that people like ---------------------------------------------------------- */

static bool
in_range(const KeyRange *range, int64 key)
{
	return key >= range->low && key <= range->high;
}

/* 0.06 rather than 0.05000000000000001; NaN and infinity only where nothing else is. */
static double
pick_float(const KeyRange *range)
{
	double low = float_of_key(range->low);
	double high = float_of_key(range->high);
	double scale = 1;

	if (isnan(low) || isinf(low) == 1 || isinf(high) == -1)
		return low;
	if (in_range(range, key_of_float(0)))
		return 0;
	for (int digits = 0; digits <= 9; digits++, scale *= 10)
	{
		double candidate =
			low > 0 ? ceil(low * scale) / scale : floor(high * scale) / scale;

		if (isfinite(candidate) && in_range(range, key_of_float(candidate)))
			return candidate;
	}
	return isfinite(low) ? low : high;
}

static int64
pick_integer(const KeyRange *range)
{
	if (in_range(range, 0))
		return 0;
	return range->low > 0 ? range->low : range->high;
}

/* A landmark rather than the gap beside it. */
static int64
pick_ordinal(const KeyRange *range)
{
	if (range->low % 2 != 0 || range->low == range->high)
		return range->low;
	return range->low + 1;
}

/* --- values in the gaps of a dictionary ---------------------------------------------- */

static Datum
numeric_beside(Datum value, int64 step)
{
	return DirectFunctionCall2(numeric_add, value,
							   DirectFunctionCall1(int8_numeric, Int64GetDatum(step)));
}

static Datum
numeric_in_gap(const TestColumn *column, int gap)
{
	const Landmark *marks = column->landmarks;
	Datum two = DirectFunctionCall1(int8_numeric, Int64GetDatum(2));

	if (column->landmark_count == 0)
		return DirectFunctionCall1(int8_numeric, Int64GetDatum(0));
	if (gap == 0)
		return numeric_beside(marks[0].value, -1);
	if (gap == column->landmark_count)
		return numeric_beside(marks[gap - 1].value, 1);
	return DirectFunctionCall2(numeric_div,
							   DirectFunctionCall2(numeric_add, marks[gap - 1].value,
												   marks[gap].value),
							   two);
}

static Datum
text_in_gap(const TestColumn *column, int gap, int try)
{
	static const char *const endings[] = {" ", "0", "a", "~"};
	char *before =
		gap > 0 ? TextDatumGetCString(column->landmarks[gap - 1].value) : pstrdup("");

	if (gap == 0 && try == 0)
		return CStringGetTextDatum("");
	return CStringGetTextDatum(psprintf("%s%s", before, endings[try % 4]));
}

/* A value with an even key, which lies between constants; false where none is found. */
static bool
value_in_gap(const TestColumn *column, int64 key, Datum *value)
{
	bool is_text = column->type == TEXTOID || column->type == VARCHAROID;

	for (int try = 0; try < (is_text ? 4 : 1); try++)
	{
		if (is_text)
			*value = text_in_gap(column, (int) (key / 2), try);
		else if (column->type == NUMERICOID)
			*value = numeric_in_gap(column, (int) (key / 2));
		else
			return false;
		if (key_of_value(column, *value) == key)
			return true;
	}
	return false;
}

/* A text that is none of those that rules name, but one that the input allows. */
static Datum
another_word(const Decision *decision, const TestColumn *column)
{
	char *text = "other";
	ListCell *cell;

	if (column->attno <= decision->input_count)
		foreach (cell, decision->inputs[column->attno - 1].allowed)
			if (key_of_value(column, *(Datum *) lfirst(cell)) == -1)
				return *(Datum *) lfirst(cell);
	while (key_of_word(column, text, strlen(text)) >= 0)
		text = psprintf("%s-", text);
	return CStringGetTextDatum(text);
}

static bool
value_of_choice(const Decision *decision, const TestColumn *column, const KeyRange *range,
				Datum *value)
{
	int64 key = pick_integer(range);

	switch (column->form)
	{
		case KEY_INT2:
			*value = Int16GetDatum((int16) key);
			return true;
		case KEY_INT4:
			*value = Int32GetDatum((int32) key);
			return true;
		case KEY_DATE:
			*value = DateADTGetDatum((DateADT) key);
			return true;
		case KEY_BOOL:
			*value = BoolGetDatum(key != 0);
			return true;
		case KEY_TIME:
			*value = TimeADTGetDatum(key);
			return true;
		case KEY_OID:
			*value = ObjectIdGetDatum((Oid) key);
			return true;
		case KEY_FLOAT4:
			*value = Float4GetDatum((float4) pick_float(range));
			return true;
		case KEY_FLOAT8:
			*value = Float8GetDatum(pick_float(range));
			return true;
		case KEY_WORD:
			key = range->low >= 0 || range->high < 0 ? range->low : range->low + 1;
			*value = key < 0 ? another_word(decision, column)
							 : PointerGetDatum(
								   cstring_to_text_with_len(column->words[key].data,
															column->words[key].length));
			return true;
		case KEY_ORDINAL:
			key = pick_ordinal(range);
			*value = key % 2 ? column->landmarks[key / 2].value : (Datum) 0;
			return key % 2 ? true : value_in_gap(column, key, value);
		default:
			*value = Int64GetDatum(key);
			return true;
	}
}

/* --- the whole input ------------------------------------------------------------------ */

static const ValueType *
column_type(const Decision *decision, int attno)
{
	return attno <= decision->input_count ? &decision->inputs[attno - 1].value
										  : &DECISION_LET_OF_ATTNO(decision, attno)->type;
}

/* The choice that says what the column is: of several forms of one, the first. */
static const Choice *
choice_of(const TestSet *set, const Choice *choices, int attno, int *number)
{
	for (int i = 0; i < set->column_count; i++)
		if (set->columns[i].attno == attno && choices[i].chosen)
		{
			*number = i;
			return &choices[i];
		}
	return NULL;
}

static void
put_choice(DocBuilder *b, const Decision *decision, const TestColumn *column,
		   const Choice *choice)
{
	const ValueType *type = column_type(decision, column->attno);
	const char *name = decision_column_name(decision, column->attno);
	Datum value;

	if (choice->is_null)
		doc_put_null(b, name);
	else if (!value_of_choice(decision, column, &choice->range, &value))
		doc_put_string(b, name, "between two of the rules' constants");
	else if (type->number_type == FLOAT8OID && !isfinite(DatumGetFloat8(value)))
		doc_put_string(b, name, value_to_text(type, value));
	else if (type->number_type == FLOAT4OID && !isfinite(DatumGetFloat4(value)))
		doc_put_string(b, name, value_to_text(type, value));
	else
		value_put(b, name, type, value);
}

char *
choice_text(const Decision *decision, const TestColumn *column, const Choice *choice)
{
	Datum value;

	if (!value_of_choice(decision, column, &choice->range, &value))
		return NULL;
	return value_to_text(column_type(decision, column->attno), value);
}

Jsonb *
witness_make(const Decision *decision, const TestSet *set, const Choice *choices)
{
	DocBuilder b;

	doc_build(&b);
	doc_begin_object(&b, NULL);
	for (int attno = 1; attno <= DECISION_COLUMN_COUNT(decision); attno++)
	{
		int number;
		const Choice *choice = choice_of(set, choices, attno, &number);

		if (choice != NULL)
			put_choice(&b, decision, &set->columns[number], choice);
	}
	doc_end_object(&b);
	return doc_finish(&b);
}

bool
witness_load(Decision *decision, const TestSet *set, const Choice *choices)
{
	TupleTableSlot *slot = decision->slot;

	memset(slot->tts_isnull, true, DECISION_COLUMN_COUNT(decision));
	slot->tts_values[DECISION_TIME_ATTNO(decision) - 1] = TimestampTzGetDatum(0);
	slot->tts_isnull[DECISION_TIME_ATTNO(decision) - 1] = false;
	if (TTS_EMPTY(slot))
		ExecStoreVirtualTuple(slot);
	for (int i = set->column_count - 1; i >= 0; i--)
	{
		const TestColumn *column = &set->columns[i];
		int at = column->attno - 1;

		if (!choices[i].chosen || choices[i].is_null)
			continue;
		if (!value_of_choice(decision, column, &choices[i].range, &slot->tts_values[at]))
			return false;
		slot->tts_isnull[at] = false;
	}
	return true;
}

/* --- what only evaluation tells ------------------------------------------------------ */

typedef struct HoldsAttempt
{
	Decision *decision;
	Rule *rule;
	bool isnull;
	bool holds;
} HoldsAttempt;

static void
holds_body(void *argument)
{
	HoldsAttempt *work = argument;

	work->holds = DatumGetBool(
		expression_evaluate(work->decision, &work->rule->when, &work->isnull));
}

/* For an analysis; the caller is the owner. */
Truth
rule_truth(Decision *decision, Rule *rule)
{
	HoldsAttempt work = {decision, rule, true, false};

	decision->econtext->ecxt_per_tuple_memory = CurrentMemoryContext;
	if (attempt(holds_body, &work) != NULL || work.isnull)
		return TRUTH_UNKNOWN;
	return work.holds ? TRUTH_TRUE : TRUTH_FALSE;
}
