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
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "rules/rule_key.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/numeric.h"

/* --- columns --------------------------------------------------------------------------------- */

/*
 * May a column of one type be compared with a constant of another by their keys?
 * Times must be of the very same type: others depend on the time zone.
 */
static bool
keys_are_comparable(Oid column, Oid constant)
{
	return column == constant || (key_is_integer(column) && key_is_integer(constant)) ||
		   (key_is_float(column) && key_is_float(constant)) ||
		   (key_is_text(column) && key_is_text(constant));
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
	test_column_prepare(column);
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
		key_form_of(var->vartype) == KEY_NONE)
		return NULL;
	return var;
}

/* --- from nodes to tests ------------------------------------------------------------------------------ */

static const KeyRange all_keys = {PG_INT64_MIN, PG_INT64_MAX};

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
	KeyForm form = key_form_of(var->vartype);

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
			return var != NULL && key_is_integer(var->vartype) ? var : NULL;
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
	form = key_form_of(var->vartype);
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
			test_set_seal(&built);
	}
	MemoryContextSwitchTo(caller);
	copy_set(decision, &built, set);
	MemoryContextDelete(scratch);
}
