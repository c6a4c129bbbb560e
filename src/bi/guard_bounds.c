/*
 * guard_bounds.c
 *		Calls that can make much out of little: their size must be known first.
 *
 * lpad() of a billion ignores a cancel, a series of a billion rows only ends by
 * the timer.  They are allowed where their arguments are constants, or become
 * so (now() - interval '7 days'), and small.
 */
#include "postgres.h"

#include <math.h>

#include "bi/bi_int.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_type.h"
#include "nodes/nodeFuncs.h"
#include "nodes/pathnodes.h"
#include "optimizer/optimizer.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"

#define BOUNDED_SERIES_ROWS 100000
#define BOUNDED_TEXT_LENGTH 1000
#define BOUNDED_EXPONENT 100

/* True where the arguments (folded) stay within the limit. */
typedef bool (*BoundCheck)(List *arguments, int position, double limit);

/* The constant an argument comes down to; false where it depends on a row. */
static bool
argument_constant(List *arguments, int position, Datum *value, Oid *type)
{
	PlannerGlobal *global = makeNode(PlannerGlobal);
	PlannerInfo *root = makeNode(PlannerInfo);
	Node *folded;
	Const *constant;

	root->glob = global;
	folded = estimate_expression_value(root, list_nth(arguments, position));
	if (!IsA(folded, Const))
		return false;
	constant = (Const *) folded;
	/* A NULL yields nothing at all: as small as can be. */
	*type = constant->constisnull ? InvalidOid : constant->consttype;
	*value = constant->constvalue;
	return true;
}

/* The constant as a number: microseconds for times. */
static bool
argument_number(List *arguments, int position, double *number)
{
	Datum value;
	Oid type;
	Interval *span;

	if (!argument_constant(arguments, position, &value, &type))
		return false;
	switch (type)
	{
		case InvalidOid:
			*number = 0;
			return true;
		case INT4OID:
			*number = DatumGetInt32(value);
			return true;
		case INT8OID:
			*number = (double) DatumGetInt64(value);
			return true;
		case NUMERICOID:
			*number =
				DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow, value));
			return true;
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
			*number = (double) DatumGetTimestamp(value);
			return true;
		case INTERVALOID:
			span = DatumGetIntervalP(value);
			*number = (double) span->time + (double) span->day * USECS_PER_DAY +
					  (double) span->month * 28 * USECS_PER_DAY;
			return true;
		default:
			return false;
	}
}

static bool
series_is_short(List *arguments, int position, double limit)
{
	double from, until, step = 1;

	if (!argument_number(arguments, 0, &from) || !argument_number(arguments, 1, &until))
		return false;
	if (list_length(arguments) > 2 && !argument_number(arguments, 2, &step))
		return false;
	return step != 0 && (until - from) / step <= limit;
}

static bool
number_is_small(List *arguments, int position, double limit)
{
	double number;

	return argument_number(arguments, position, &number) && fabs(number) <= limit;
}

static bool
calls_bounded_function(Oid function, void *context)
{
	char *name = get_func_name(function);

	return name && (strcmp(name, "repeat") == 0 || strcmp(name, "lpad") == 0 ||
					strcmp(name, "rpad") == 0 || strcmp(name, "string_agg") == 0 ||
					strcmp(name, "replace") == 0);
}

static bool
grows_text_walker(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (check_functions_in_node(node, calls_bounded_function, context))
		return true;
	return expression_tree_walker(node, grows_text_walker, context);
}

/* A thousand times a thousand times a thousand is not small. */
static bool
repeats_plain_text(List *arguments, int position, double limit)
{
	return number_is_small(arguments, position, limit) &&
		   !grows_text_walker(linitial(arguments), NULL);
}

static const struct
{
	const char *function;
	Oid first_type; /* InvalidOid: any */
	int position;   /* of the argument that counts */
	double limit;
	BoundCheck is_bounded;
	const char *what;
} bounded_calls[] = {
	{"generate_series", InvalidOid, 0, BOUNDED_SERIES_ROWS, series_is_short,
	 "rows between constant bounds"},
	{"repeat", InvalidOid, 1, BOUNDED_TEXT_LENGTH, repeats_plain_text,
	 "times, a constant, and of a text that is not made so itself"},
	{"lpad", InvalidOid, 1, BOUNDED_TEXT_LENGTH, number_is_small,
	 "characters, a constant"},
	{"rpad", InvalidOid, 1, BOUNDED_TEXT_LENGTH, number_is_small,
	 "characters, a constant"},
	{"power", NUMERICOID, 1, BOUNDED_EXPONENT, number_is_small,
	 "as a constant exponent of numeric"},
	{"pow", NUMERICOID, 1, BOUNDED_EXPONENT, number_is_small,
	 "as a constant exponent of numeric"},
	{"numeric_power", NUMERICOID, 1, BOUNDED_EXPONENT, number_is_small,
	 "as a constant exponent of numeric"},
};

static List *
call_arguments(Node *call)
{
	return IsA(call, FuncExpr) ? ((FuncExpr *) call)->args : ((OpExpr *) call)->args;
}

bool
guard_call_is_bounded(Node *call, Oid function, Verdict *verdict)
{
	List *arguments = call_arguments(call);
	char *name;

	if (get_func_namespace(function) != PG_CATALOG_NAMESPACE)
		return true;
	name = get_func_name(function);
	for (int i = 0; i < lengthof(bounded_calls); i++)
	{
		if (strcmp(name, bounded_calls[i].function) != 0)
			continue;
		if (OidIsValid(bounded_calls[i].first_type) &&
			exprType(linitial(arguments)) != bounded_calls[i].first_type)
			continue;
		if (bounded_calls[i].is_bounded(arguments, bounded_calls[i].position,
										bounded_calls[i].limit))
			return true;
		guard_refuse(verdict, "series",
					 psprintf("%s() is not bounded by constants, or too large", name),
					 psprintf("At most %.0f %s.", bounded_calls[i].limit,
							  bounded_calls[i].what));
		return false;
	}
	return true;
}
