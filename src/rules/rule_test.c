/*
 * rule_test.c
 *		From conditions to tests: what one column must be for a rule to hold.
 *
 * A condition is an AND of parts.  A part that only compares one column with
 * constants becomes a test, whatever AND, OR and NOT it is made of: a set of key
 * ranges where it is true, and what it is at NULL.  Parts of one column are
 * intersected.  Anything else stays to be evaluated.
 *
 * Keys of dictionary columns depend on all constants, so the conditions are walked
 * twice: once to collect, then, the dictionaries sealed, to make the tests.
 */
#include "postgres.h"

#include <math.h>

#include "access/stratnum.h"
#include "base/number.h"
#include "catalog/pg_type.h"
#include "common/int.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "rules/rule_image.h"
#include "rules/rule_test.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/datum.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"

static const struct
{
	Oid type;
	KeyForm form;
} key_forms[] = {
	{INT2OID, KEY_INT2},     {INT4OID, KEY_INT4},        {INT8OID, KEY_INT8},
	{FLOAT4OID, KEY_FLOAT4}, {FLOAT8OID, KEY_FLOAT8},    {BOOLOID, KEY_BOOL},
	{DATEOID, KEY_DATE},     {TIMESTAMPOID, KEY_INT8},   {TIMESTAMPTZOID, KEY_INT8},
	{TIMEOID, KEY_TIME},     {OIDOID, KEY_OID},          {TEXTOID, KEY_WORD},
	{VARCHAROID, KEY_WORD},  {NUMERICOID, KEY_ORDINAL},  {BPCHAROID, KEY_ORDINAL},
	{UUIDOID, KEY_ORDINAL},  {INTERVALOID, KEY_ORDINAL},
};

static KeyForm
key_form(Oid type)
{
	for (int i = 0; i < lengthof(key_forms); i++)
		if (key_forms[i].type == type)
			return key_forms[i].form;
	return type_is_enum(type) ? KEY_OID : KEY_NONE;
}

static bool
is_integer(Oid type)
{
	return type == INT2OID || type == INT4OID || type == INT8OID;
}

static bool
is_float(Oid type)
{
	return type == FLOAT4OID || type == FLOAT8OID;
}

static bool
is_text(Oid type)
{
	return type == TEXTOID || type == VARCHAROID;
}

/*
 * May a column of one type be compared with a constant of another by their keys?
 * Times must be of the very same type: others depend on the time zone.
 */
static bool
keys_are_comparable(Oid column, Oid constant)
{
	return column == constant || (is_integer(column) && is_integer(constant)) ||
		   (is_float(column) && is_float(constant)) ||
		   (is_text(column) && is_text(constant));
}

/* --- keys ----------------------------------------------------------------------------- */

static double
rough_value(const TestColumn *column, Datum value)
{
	return column->type == NUMERICOID ? number_to_double(value) : 0;
}

/* NaN is above all numbers, as in PostgreSQL. */
static int
compare_rough(double one, double other)
{
	if (one < other)
		return -1;
	if (one > other)
		return 1;
	return (int) isnan(one) - (int) isnan(other);
}

static int
compare_landmarks(const TestColumn *column, const Landmark *one, const Landmark *other)
{
	int order = compare_rough(one->rough, other->rough);

	if (order != 0)
		return order;
	return DatumGetInt32(FunctionCall2Coll(unconstify(FmgrInfo *, &column->compare),
										   column->collation, one->value, other->value));
}

static int64
key_of_landmark(const TestColumn *column, Datum value)
{
	Landmark wanted = {rough_value(column, value), value};
	int low = 0, high = column->landmark_count;

	while (low < high)
	{
		int middle = (low + high) / 2;
		int order = compare_landmarks(column, &wanted, &column->landmarks[middle]);

		if (order == 0)
			return (int64) middle * 2 + 1;
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return (int64) low * 2;
}

int64
key_of_value(const TestColumn *column, Datum value)
{
	switch (column->form)
	{
		case KEY_INT2:
			return DatumGetInt16(value);
		case KEY_INT4:
			return DatumGetInt32(value);
		case KEY_INT8:
			return DatumGetInt64(value);
		case KEY_FLOAT4:
			return key_of_float(DatumGetFloat4(value));
		case KEY_FLOAT8:
			return key_of_float(DatumGetFloat8(value));
		case KEY_BOOL:
			return DatumGetBool(value) ? 1 : 0;
		case KEY_DATE:
			return DatumGetDateADT(value);
		case KEY_TIME:
			return DatumGetTimeADT(value);
		case KEY_OID:
			return DatumGetObjectId(value);
		case KEY_WORD:
			return key_of_text(column, value);
		case KEY_ORDINAL:
			if (column->type == NUMERICOID)
				value = PointerGetDatum(PG_DETOAST_DATUM_PACKED(value));
			return key_of_landmark(column, value);
		case KEY_NONE:
			break;
	}
	elog(ERROR, "unexpected key form %d", (int) column->form);
	return 0;
}

/* --- dictionaries ------------------------------------------------------------------------ */

static void
add_word(TestColumn *column, Datum value)
{
	text *packed = DatumGetTextPP(value);

	if (column->word_count == column->word_room)
	{
		column->word_room = Max(16, column->word_room * 2);
		column->words = column->words
							? repalloc(column->words, sizeof(Word) * column->word_room)
							: palloc(sizeof(Word) * column->word_room);
	}
	column->words[column->word_count].data = VARDATA_ANY(packed);
	column->words[column->word_count++].length = VARSIZE_ANY_EXHDR(packed);
}

static void
add_landmark(TestColumn *column, Datum value)
{
	if (column->landmark_count == column->landmark_room)
	{
		column->landmark_room = Max(16, column->landmark_room * 2);
		column->landmarks =
			column->landmarks
				? repalloc(column->landmarks, sizeof(Landmark) * column->landmark_room)
				: palloc(sizeof(Landmark) * column->landmark_room);
	}
	column->landmarks[column->landmark_count].rough = rough_value(column, value);
	column->landmarks[column->landmark_count++].value = value;
}

/* Words find their place by hash; those that occur twice have one. */
static void
seal_words(TestColumn *column)
{
	uint32 size = 16;
	int kept = 0;

	while (size < (uint32) column->word_count * 2)
		size *= 2;
	column->slots = palloc0(sizeof(int32) * size);
	column->slot_mask = size - 1;
	for (int i = 0; i < column->word_count; i++)
	{
		Word word = column->words[i];
		uint32 slot;

		if (kept > 0 && key_of_word(column, word.data, word.length) >= 0)
			continue;
		slot = word_hash(word.data, word.length) & column->slot_mask;
		while (column->slots[slot] != 0)
			slot = (slot + 1) & column->slot_mask;
		column->words[kept] = word;
		column->slots[slot] = ++kept;
	}
	column->word_count = kept;
}

static int
landmark_order(const void *one, const void *other, void *column)
{
	return compare_landmarks(column, one, other);
}

static void
seal_landmarks(TestColumn *column)
{
	int kept = 0;

	qsort_arg(column->landmarks, column->landmark_count, sizeof(Landmark), landmark_order,
			  column);
	for (int i = 0; i < column->landmark_count; i++)
		if (kept == 0 || compare_landmarks(column, &column->landmarks[kept - 1],
										   &column->landmarks[i]) != 0)
			column->landmarks[kept++] = column->landmarks[i];
	column->landmark_count = kept;
}

static void
seal_columns(TestSet *set)
{
	for (int i = 0; i < set->column_count; i++)
	{
		TestColumn *column = &set->columns[i];

		if (column->form == KEY_WORD)
			seal_words(column);
		else if (column->form == KEY_ORDINAL && column->landmark_count > 0)
			seal_landmarks(column);
		column->sealed = true;
	}
}

/* The key of a constant; before the column is sealed it is only noted. */
static int64
key_of_constant(TestColumn *column, Oid type, Datum value)
{
	if (type == INT2OID)
		return DatumGetInt16(value);
	if (type == INT4OID)
		return DatumGetInt32(value);
	if (type == FLOAT4OID)
		return key_of_float(DatumGetFloat4(value));
	if (type == FLOAT8OID)
		return key_of_float(DatumGetFloat8(value));
	if (!column->sealed && column->form == KEY_WORD)
		add_word(column, value);
	else if (!column->sealed && column->form == KEY_ORDINAL)
		add_landmark(column, value);
	else
		return key_of_value(column, value);
	return 0;
}

/* --- columns --------------------------------------------------------------------------------- */

static void
prepare_comparison(TestColumn *column)
{
	Oid type = is_text(column->type) ? TEXTOID : column->type;

	if (column->form == KEY_ORDINAL)
		fmgr_info_cxt(lookup_type_cache(type, TYPECACHE_CMP_PROC)->cmp_proc,
					  &column->compare, CurrentMemoryContext);
}

static int
test_column(TestSet *set, const Var *var, KeyForm form, Oid collation)
{
	TestColumn *column;

	for (int i = 0; i < set->column_count; i++)
	{
		column = &set->columns[i];
		if (column->attno == var->varattno && column->form == form &&
			column->collation == collation)
			return i;
	}
	if (set->column_count == set->column_room)
	{
		set->column_room = Max(8, set->column_room * 2);
		set->columns = set->columns
						   ? repalloc(set->columns, sizeof(TestColumn) * set->column_room)
						   : palloc(sizeof(TestColumn) * set->column_room);
	}
	column = &set->columns[set->column_count];
	memset(column, 0, sizeof(*column));
	column->attno = var->varattno;
	column->form = form;
	column->type = var->vartype;
	column->collation = collation;
	prepare_comparison(column);
	return set->column_count++;
}

static Node *
without_relabel(Node *node)
{
	while (node != NULL && IsA(node, RelabelType))
		node = (Node *) ((RelabelType *) node)->arg;
	return node;
}

/* The column behind a node, if it is one that can have tests. */
static Var *
column_of(const Decision *decision, Node *node)
{
	Var *var = (Var *) without_relabel(node);

	if (var == NULL || !IsA(var, Var) || var->varattno == DECISION_TIME_ATTNO(decision) ||
		key_form(var->vartype) == KEY_NONE)
		return NULL;
	return var;
}

/* --- making and combining tests ------------------------------------------------------------------ */

static const KeyRange all_keys = {PG_INT64_MIN, PG_INT64_MAX};

Test *
test_make(int column, AtNull at_null, const KeyRange *ranges, int count)
{
	Test *test = palloc(offsetof(Test, ranges) + sizeof(KeyRange) * count);

	test->column = column;
	test->at_null = at_null;
	test->count = count;
	if (count > 0)
		memcpy(test->ranges, ranges, sizeof(KeyRange) * count);
	return test;
}

static AtNull
null_not(AtNull value)
{
	return NULL_HOLDS - value;
}

Test *
test_not(const Test *test)
{
	KeyRange *gaps = palloc(sizeof(KeyRange) * (test->count + 1));
	int64 begin = PG_INT64_MIN;
	bool open = true; /* is there anything at or after begin? */
	int count = 0;

	for (int i = 0; i < test->count; i++)
	{
		if (test->ranges[i].low > begin)
			gaps[count++] = (KeyRange){begin, test->ranges[i].low - 1};
		open = !pg_add_s64_overflow(test->ranges[i].high, 1, &begin);
	}
	if (open)
		gaps[count++] = (KeyRange){begin, PG_INT64_MAX};
	return test_make(test->column, null_not(test->at_null), gaps, count);
}

Test *
test_and(const Test *one, const Test *other)
{
	KeyRange *both = palloc(sizeof(KeyRange) * (one->count + other->count + 1));
	int count = 0;

	for (int i = 0, j = 0; i < one->count && j < other->count;)
	{
		int64 low = Max(one->ranges[i].low, other->ranges[j].low);
		int64 high = Min(one->ranges[i].high, other->ranges[j].high);

		if (low <= high)
			both[count++] = (KeyRange){low, high};
		if (one->ranges[i].high < other->ranges[j].high)
			i++;
		else
			j++;
	}
	return test_make(one->column, Min(one->at_null, other->at_null), both, count);
}

/* a OR b is NOT (NOT a AND NOT b). */
Test *
test_or(const Test *one, const Test *other)
{
	return test_not(test_and(test_not(one), test_not(other)));
}

static Test *
test_combine(Test *one, Test *other, bool is_and)
{
	return is_and ? test_and(one, other) : test_or(one, other);
}

/* key op constant */
static Test *
test_compare(int column, int strategy, int64 key)
{
	KeyRange range = all_keys;
	Test *equal;

	switch (strategy)
	{
		case BTLessStrategyNumber:
			if (key == PG_INT64_MIN)
				return test_make(column, NULL_OPEN, NULL, 0);
			range.high = key - 1;
			break;
		case BTLessEqualStrategyNumber:
			range.high = key;
			break;
		case BTGreaterEqualStrategyNumber:
			range.low = key;
			break;
		case BTGreaterStrategyNumber:
			if (key == PG_INT64_MAX)
				return test_make(column, NULL_OPEN, NULL, 0);
			range.low = key + 1;
			break;
		default:
			range.low = range.high = key;
			equal = test_make(column, NULL_OPEN, &range, 1);
			return strategy == BTEqualStrategyNumber ? equal : test_not(equal);
	}
	return test_make(column, NULL_OPEN, &range, 1);
}

/* --- from nodes to tests ------------------------------------------------------------------------------ */

typedef struct Walk
{
	const Decision *decision;
	TestSet *set;
} Walk;

static int
mirrored(int strategy)
{
	static const int mirror[] = {0, 5, 4, 3, 2, 1, COMPAT_NOT_EQUAL_STRATEGY};

	return mirror[strategy];
}

static bool
is_equality(int strategy)
{
	return strategy == BTEqualStrategyNumber || strategy == COMPAT_NOT_EQUAL_STRATEGY;
}

/*
 * The column for a comparison, or -1.  Texts are equal by their bytes under any
 * deterministic collation; their order is the collation's.  Enums are only compared
 * for equality: their order can change.
 */
static int
column_for(Walk *walk, const Var *var, Oid constant, int strategy, Oid collation)
{
	KeyForm form = key_form(var->vartype);

	if (!keys_are_comparable(var->vartype, constant))
		return -1;
	if (form == KEY_OID && var->vartype != OIDOID && !is_equality(strategy))
		return -1;
	if (form == KEY_WORD || var->vartype == BPCHAROID)
	{
		if (!OidIsValid(collation) || !get_collation_isdeterministic(collation))
			return -1;
		if (form == KEY_WORD && !is_equality(strategy))
			form = KEY_ORDINAL;
	}
	return test_column(walk->set, var, form,
					   form == KEY_ORDINAL ? collation : InvalidOid);
}

static Test *
test_of_constant(Walk *walk, const Var *var, int strategy, Oid type, Datum value,
				 Oid collation)
{
	int column = column_for(walk, var, type, strategy, collation);

	if (column < 0)
		return NULL;
	return test_compare(column, strategy,
						key_of_constant(&walk->set->columns[column], type, value));
}

/* An integer column cast to a type with fractions: numeric always, float8 if exact. */
static Var *
widened_integer(const Decision *decision, Node *node)
{
	FuncExpr *cast = (FuncExpr *) node;
	Var *var;

	if (!IsA(node, FuncExpr) || list_length(cast->args) != 1)
		return NULL;
	switch (cast->funcid)
	{
		case F_NUMERIC_INT2:
		case F_NUMERIC_INT4:
		case F_NUMERIC_INT8:
		case F_FLOAT8_INT2:
		case F_FLOAT8_INT4:
			var = column_of(decision, linitial(cast->args));
			return var != NULL && is_integer(var->vartype) ? var : NULL;
		default:
			return NULL;
	}
}

/* The greatest integer that is not above the constant; false where there is none. */
static bool
floor_of(const Const *constant, int64 *result, bool *exact)
{
	Datum below;
	float8 value;

	if (constant->consttype == NUMERICOID)
	{
		below = DirectFunctionCall1(numeric_floor, constant->constvalue);
		*exact =
			DatumGetBool(DirectFunctionCall2(numeric_eq, below, constant->constvalue));
		return number_to_int64(below, result);
	}
	if (constant->consttype != FLOAT8OID)
		return false;
	value = DatumGetFloat8(constant->constvalue);
	if (!isfinite(value) || fabs(value) > 1e15)
		return false;
	*result = (int64) floor(value);
	*exact = (double) *result == value;
	return true;
}

/* integer op 2.5: the same as integer op' 2, or always, or never. */
static Test *
test_of_fraction(Walk *walk, const Var *var, int strategy, const Const *constant)
{
	int column;
	int64 whole;
	bool exact;

	if (!floor_of(constant, &whole, &exact))
		return NULL;
	column = column_for(walk, var, var->vartype, strategy, InvalidOid);
	if (exact || column < 0)
		return column < 0 ? NULL : test_compare(column, strategy, whole);
	switch (strategy)
	{
		case BTLessStrategyNumber:
		case BTLessEqualStrategyNumber:
			return test_compare(column, BTLessEqualStrategyNumber, whole);
		case BTGreaterStrategyNumber:
		case BTGreaterEqualStrategyNumber:
			return test_compare(column, BTGreaterStrategyNumber, whole);
		case BTEqualStrategyNumber:
			return test_make(column, NULL_OPEN, NULL, 0);
		default:
			return test_make(column, NULL_OPEN, &all_keys, 1);
	}
}

static Const *
constant_of(Node *node)
{
	Const *constant = (Const *) without_relabel(node);

	return IsA(constant, Const) && !constant->constisnull ? constant : NULL;
}

static Test *
test_of_sides(Walk *walk, Node *left, Node *right, int strategy, Oid collation)
{
	const Const *constant = constant_of(right);
	Var *var;

	if (constant == NULL)
		return NULL;
	var = column_of(walk->decision, left);
	if (var != NULL)
		return test_of_constant(walk, var, strategy, constant->consttype,
								constant->constvalue, collation);
	var = widened_integer(walk->decision, left);
	return var ? test_of_fraction(walk, var, strategy, constant) : NULL;
}

/* column op constant, or constant op column. */
static Test *
test_of_operator(Walk *walk, const OpExpr *op)
{
	int strategy = compat_operator_strategy(op->opno);
	Test *test;

	if (strategy == 0 || list_length(op->args) != 2)
		return NULL;
	test = test_of_sides(walk, linitial(op->args), lsecond(op->args), strategy,
						 op->inputcollid);
	return test ? test
				: test_of_sides(walk, lsecond(op->args), linitial(op->args),
								mirrored(strategy), op->inputcollid);
}

/* IS DISTINCT FROM is <> that is true at NULL. */
static Test *
test_of_distinct(Walk *walk, const DistinctExpr *distinct)
{
	Test *test = test_of_operator(walk, (const OpExpr *) distinct);

	if (test == NULL)
		return NULL;
	test = test_not(test);
	test->at_null = NULL_HOLDS;
	return test;
}

/* column IN (constants), NOT IN, op ANY and op ALL of an array without NULLs. */
static Test *
test_of_list(Walk *walk, const ScalarArrayOpExpr *op)
{
	Var *var = column_of(walk->decision, linitial(op->args));
	Const *constant = constant_of(lsecond(op->args));
	int strategy = compat_operator_strategy(op->opno);
	ArrayType *array;
	Oid type;
	int16 length;
	bool by_value;
	char align;
	Datum *values;
	bool *nulls;
	int count;
	Test *all = NULL;

	if (var == NULL || constant == NULL || strategy == 0)
		return NULL;
	array = DatumGetArrayTypeP(constant->constvalue);
	type = ARR_ELEMTYPE(array);
	if (array_contains_nulls(array))
		return NULL;
	get_typlenbyvalalign(type, &length, &by_value, &align);
	deconstruct_array(array, type, length, by_value, align, &values, &nulls, &count);
	if (count == 0 || count > TEST_MAX_RANGES / 2)
		return NULL;
	for (int i = 0; i < count; i++)
	{
		Test *one =
			test_of_constant(walk, var, strategy, type, values[i], op->inputcollid);

		if (one == NULL)
			return NULL;
		all = all ? test_combine(all, one, !op->useOr) : one;
	}
	return all;
}

static Test *
test_of_column(Walk *walk, const Var *var)
{
	KeyRange yes = {1, 1};

	if (var->vartype != BOOLOID)
		return NULL;
	return test_make(test_column(walk->set, var, KEY_BOOL, InvalidOid), NULL_OPEN, &yes,
					 1);
}

/* Any column of a decision has one form in which it can be asked for NULL. */
static Test *
test_of_null(Walk *walk, const NullTest *node)
{
	Var *var = column_of(walk->decision, (Node *) node->arg);
	KeyForm form;
	int column;

	if (var == NULL || node->argisrow)
		return NULL;
	form = key_form(var->vartype);
	if (form == KEY_ORDINAL)
		column = test_column(walk->set, var, form, var->varcollid);
	else
		column = test_column(walk->set, var, form, InvalidOid);
	if (node->nulltesttype == IS_NULL)
		return test_make(column, NULL_HOLDS, NULL, 0);
	return test_make(column, NULL_FAILS, &all_keys, 1);
}

static Test *test_of_part(Walk *walk, Node *part);

/* x IS TRUE and its relatives are never NULL. */
static Test *
test_of_boolean_test(Walk *walk, const BooleanTest *node)
{
	Test *test = test_of_part(walk, (Node *) node->arg);
	AtNull at_null;

	if (test == NULL)
		return NULL;
	at_null = test->at_null;
	switch (node->booltesttype)
	{
		case IS_TRUE:
			test->at_null = at_null == NULL_HOLDS ? NULL_HOLDS : NULL_FAILS;
			return test;
		case IS_NOT_TRUE:
			test = test_not(test);
			test->at_null = at_null == NULL_HOLDS ? NULL_FAILS : NULL_HOLDS;
			return test;
		case IS_FALSE:
			test = test_not(test);
			test->at_null = at_null == NULL_FAILS ? NULL_HOLDS : NULL_FAILS;
			return test;
		case IS_NOT_FALSE:
			test->at_null = at_null == NULL_FAILS ? NULL_FAILS : NULL_HOLDS;
			return test;
		default:
			return NULL;
	}
}

/* AND, OR and NOT of tests of one and the same column. */
static Test *
test_of_logic(Walk *walk, const BoolExpr *node)
{
	Test *all = NULL;
	ListCell *cell;

	foreach (cell, node->args)
	{
		Test *one = test_of_part(walk, lfirst(cell));

		if (one == NULL || (all != NULL && one->column != all->column))
			return NULL;
		all = all ? test_combine(all, one, node->boolop == AND_EXPR) : one;
		if (all->count > TEST_MAX_RANGES)
			return NULL;
	}
	return node->boolop == NOT_EXPR ? test_not(all) : all;
}

static Test *
test_of_part(Walk *walk, Node *part)
{
	switch (nodeTag(part))
	{
		case T_OpExpr:
			return test_of_operator(walk, (OpExpr *) part);
		case T_DistinctExpr:
			return test_of_distinct(walk, (DistinctExpr *) part);
		case T_ScalarArrayOpExpr:
			return test_of_list(walk, (ScalarArrayOpExpr *) part);
		case T_NullTest:
			return test_of_null(walk, (NullTest *) part);
		case T_BooleanTest:
			return test_of_boolean_test(walk, (BooleanTest *) part);
		case T_Var:
			return test_of_column(walk, (Var *) part);
		case T_BoolExpr:
			return test_of_logic(walk, (BoolExpr *) part);
		default:
			return NULL;
	}
}

/* Tests of one column become one. */
static void
add_test(RuleTests *tests, Test *test)
{
	for (int i = 0; i < tests->count; i++)
		if (tests->test[i]->column == test->column)
		{
			tests->test[i] = test_and(tests->test[i], test);
			return;
		}
	tests->test[tests->count++] = test;
}

static void
collect_tests(Walk *walk, const Rule *rule, RuleTests *tests)
{
	List *parts = make_ands_implicit(rule->when.expr);
	ListCell *cell;

	tests->complete = true;
	tests->count = 0;
	tests->test = palloc(sizeof(Test *) * Max(list_length(parts), 1));
	foreach (cell, parts)
	{
		Test *test = test_of_part(walk, lfirst(cell));

		if (test == NULL)
			tests->complete = false;
		else
			add_test(tests, test);
	}
}

/* --- the whole set ------------------------------------------------------------------------ */

static void *
copy_of(const void *data, Size size)
{
	void *copy = palloc(Max(size, 1));

	if (size > 0)
		memcpy(copy, data, size);
	return copy;
}

/* Only what is asked later is kept: in the current memory context. */
static void
copy_set(const Decision *decision, const TestSet *from, TestSet *to)
{
	*to = *from;
	to->columns = copy_of(from->columns, sizeof(TestColumn) * from->column_count);
	for (int i = 0; i < to->column_count; i++)
	{
		TestColumn *column = &to->columns[i];

		column->words = copy_of(column->words, sizeof(Word) * column->word_count);
		if (column->slots != NULL)
			column->slots =
				copy_of(column->slots, sizeof(int32) * (column->slot_mask + 1));
		column->landmarks =
			copy_of(column->landmarks, sizeof(Landmark) * column->landmark_count);
		column->compare.fn_mcxt = CurrentMemoryContext;
		column->compare.fn_extra = NULL;
	}
	to->rules = copy_of(from->rules, sizeof(RuleTests) * decision->rule_count);
	for (int i = 0; i < decision->rule_count; i++)
	{
		RuleTests *tests = &to->rules[i];

		tests->test = copy_of(tests->test, sizeof(Test *) * tests->count);
		for (int j = 0; j < tests->count; j++)
		{
			const Test *test = tests->test[j];

			tests->test[j] =
				test_make(test->column, test->at_null, test->ranges, test->count);
		}
	}
}

void
test_set_build(const Decision *decision, TestSet *set)
{
	MemoryContext scratch =
		AllocSetContextCreate(CurrentMemoryContext, "pg_factory rule tests",
							  ALLOCSET_DEFAULT_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(scratch);
	TestSet built = {.column_count = 0};
	Walk walk = {decision, &built};

	built.rules = palloc0(sizeof(RuleTests) * Max(decision->rule_count, 1));
	for (int pass = 0; pass < 2; pass++)
	{
		for (int i = 0; i < decision->rule_count; i++)
			collect_tests(&walk, &decision->rules[i], &built.rules[i]);
		if (pass == 0)
			seal_columns(&built);
	}
	MemoryContextSwitchTo(caller);
	copy_set(decision, &built, set);
	MemoryContextDelete(scratch);
}

/* --- as bytes ----------------------------------------------------------------------------- */

typedef struct ColumnImage
{
	int32 attno;
	int32 form;
	Oid type;
	Oid collation;
	int32 word_count;
	int32 landmark_count;
} ColumnImage;

static void
write_column(const TestColumn *column, StringInfo image)
{
	ColumnImage fixed = {column->attno,     column->form,       column->type,
						 column->collation, column->word_count, column->landmark_count};
	int16 length;
	bool by_value;

	image_put(image, &fixed, sizeof(fixed));
	for (int i = 0; i < column->word_count; i++)
	{
		image_put_int(image, column->words[i].length);
		image_put(image, column->words[i].data, column->words[i].length);
	}
	get_typlenbyval(column->type, &length, &by_value);
	for (int i = 0; i < column->landmark_count; i++)
	{
		Datum value = column->landmarks[i].value;
		Size size = datumGetSize(value, by_value, length);

		image_put_int(image, (int) size);
		image_put(image, DatumGetPointer(value), size);
	}
}

void
test_set_write(const TestSet *set, int rule_count, StringInfo image)
{
	image_put_int(image, set->column_count);
	for (int i = 0; i < set->column_count; i++)
		write_column(&set->columns[i], image);
	for (int i = 0; i < rule_count; i++)
	{
		const RuleTests *tests = &set->rules[i];

		image_put_int(image, tests->complete ? tests->count : -1 - tests->count);
		for (int j = 0; j < tests->count; j++)
			image_put(image, tests->test[j],
					  offsetof(Test, ranges) + sizeof(KeyRange) * tests->test[j]->count);
	}
}

/*
 * What is read is asked to make sense, beyond the image's checksum: whatever the bytes
 * are, they may lead to a wrong answer at worst, never out of memory that is ours.
 */
static bool
column_is_sound(const TestColumn *column, const Decision *decision,
				const ImageReader *reader)
{
	int64 room = (reader->end - reader->at) / (2 * sizeof(int64));

	return column->attno >= 1 && column->attno <= decision->columns->natts &&
		   TupleDescAttr(decision->columns, column->attno - 1)->atttypid ==
			   column->type &&
		   column->form == key_form(column->type) && column->form != KEY_NONE &&
		   column->collation == InvalidOid && column->word_count >= 0 &&
		   column->word_count <= (column->form == KEY_WORD ? room : 0) &&
		   column->landmark_count >= 0 &&
		   column->landmark_count <= (column->form == KEY_ORDINAL ? room : 0);
}

/* A numeric has two bytes of sign and scale at least; in its long form, two of weight. */
static bool
numeric_is_sound(const char *value, Size size)
{
	uint16 header;

	if (size < VARHDRSZ + sizeof(header) || !VARATT_IS_4B_U(value) ||
		VARSIZE(value) != size)
		return false;
	memcpy(&header, VARDATA(value), sizeof(header));
	return (header & 0x8000) != 0 || size >= VARHDRSZ + 2 * sizeof(header);
}

static bool
landmark_is_sound(const TestColumn *column, const char *value, Size size)
{
	return column->type == NUMERICOID ? numeric_is_sound(value, size)
									  : size == get_typlen(column->type);
}

/* The least and the greatest key that a test of the column can have but for no bound. */
static bool
key_is_sound(const TestColumn *column, int64 key)
{
	if (key == PG_INT64_MIN || key == PG_INT64_MAX)
		return true;
	if (column->form == KEY_WORD)
		return key >= -1 && key <= column->word_count;
	if (column->form == KEY_ORDINAL)
		return key >= -1 && key <= 2 * (int64) column->landmark_count;
	return true;
}

static bool
test_is_sound(const Test *test, const TestColumn *column)
{
	if (test->at_null < NULL_FAILS || test->at_null > NULL_HOLDS)
		return false;
	for (int i = 0; i < test->count; i++)
	{
		const KeyRange *range = &test->ranges[i];

		if (range->low > range->high || !key_is_sound(column, range->low) ||
			!key_is_sound(column, range->high) ||
			(i > 0 && range->low <= test->ranges[i - 1].high))
			return false;
	}
	return true;
}

static void
read_words(TestColumn *column, ImageReader *reader)
{
	column->words = palloc0(sizeof(Word) * Max(column->word_count, 1));
	for (int i = 0; i < column->word_count && !reader->failed; i++)
	{
		column->words[i].length = image_take_int(reader, 0, INT_MAX);
		column->words[i].data = image_take(reader, column->words[i].length);
	}
	if (!reader->failed && column->form == KEY_WORD)
		seal_words(column);
}

static void
read_landmarks(TestColumn *column, ImageReader *reader)
{
	column->landmarks = palloc0(sizeof(Landmark) * Max(column->landmark_count, 1));
	for (int i = 0; i < column->landmark_count && !reader->failed; i++)
	{
		int size = image_take_int(reader, 1, INT_MAX);
		const void *value = image_take(reader, size);

		reader->failed |= value == NULL || !landmark_is_sound(column, value, size);
		if (reader->failed)
			return;
		column->landmarks[i].value = PointerGetDatum(value);
		column->landmarks[i].rough = rough_value(column, column->landmarks[i].value);
	}
}

static void
read_column(TestColumn *column, const Decision *decision, ImageReader *reader)
{
	const ColumnImage *fixed = image_take(reader, sizeof(ColumnImage));
	int words;

	if (fixed == NULL)
		return;
	column->attno = fixed->attno;
	column->form = (KeyForm) fixed->form;
	column->type = fixed->type;
	column->collation = fixed->collation;
	column->word_count = words = fixed->word_count;
	column->landmark_count = fixed->landmark_count;
	if (!column_is_sound(column, decision, reader))
	{
		reader->failed = true;
		return;
	}
	prepare_comparison(column);
	read_words(column, reader);
	read_landmarks(column, reader);
	reader->failed |= column->word_count != words;
	column->sealed = true;
}

/* Tests stay where they are, in the image. */
static void
read_rule_tests(TestSet *set, RuleTests *tests, ImageReader *reader)
{
	int count = image_take_int(reader, -1 - set->column_count, set->column_count);

	tests->complete = count >= 0;
	tests->count = count >= 0 ? count : -1 - count;
	tests->test = palloc(sizeof(Test *) * Max(tests->count, 1));
	for (int i = 0; i < tests->count; i++)
	{
		Test *test = unconstify(void *, image_take(reader, offsetof(Test, ranges)));

		if (test == NULL || test->count < 0 || test->column < 0 ||
			test->column >= set->column_count)
			reader->failed = true;
		else
			(void) image_take(reader, sizeof(KeyRange) * test->count);
		reader->failed |=
			!reader->failed && !test_is_sound(test, &set->columns[test->column]);
		if (reader->failed)
			return;
		tests->test[i] = test;
	}
}

bool
test_set_read(TestSet *set, const Decision *decision, ImageReader *reader)
{
	memset(set, 0, sizeof(*set));
	set->column_count = image_take_int(reader, 0, DECISION_COLUMN_COUNT(decision) * 2);
	set->columns = palloc0(sizeof(TestColumn) * Max(set->column_count, 1));
	for (int i = 0; i < set->column_count && !reader->failed; i++)
		read_column(&set->columns[i], decision, reader);
	set->rules = palloc0(sizeof(RuleTests) * Max(decision->rule_count, 1));
	for (int i = 0; i < decision->rule_count && !reader->failed; i++)
		read_rule_tests(set, &set->rules[i], reader);
	return !reader->failed;
}

/* For qsort(). */
int
compare_keys(const void *a, const void *b)
{
	int64 left = *(const int64 *) a;
	int64 right = *(const int64 *) b;

	return left < right ? -1 : left > right;
}

/* --- asking ---------------------------------------------------------------------------------------------- */

bool
test_holds(const Test *test, int64 key)
{
	int low = 0, high = test->count - 1;

	while (low <= high)
	{
		int middle = (low + high) / 2;

		if (key < test->ranges[middle].low)
			high = middle - 1;
		else if (key > test->ranges[middle].high)
			low = middle + 1;
		else
			return true;
	}
	return false;
}
