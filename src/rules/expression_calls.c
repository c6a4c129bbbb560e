/*
 * expression_calls.c
 *		What a decision's expressions may call, and what follows from what they call.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/transam.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "rules/dependency.h"
#include "rules/rules_int.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

/* --- what may be called -------------------------------------------------------------- */

static bool
is_time_type(Oid type)
{
	return type == DATEOID || type == TIMEOID || type == TIMETZOID ||
		   type == TIMESTAMPOID || type == TIMESTAMPTZOID || type == INTERVALOID;
}

/* Stable functions without a time argument whose only variable is a setting. */
static const char *const stable_allowed[] = {
	"concat", "concat_ws", "to_date", "to_timestamp", "array_to_string",
};

/*
 * STABLE functions read more than their arguments.  Those that read the time zone
 * or the date style to handle a time are allowed; age(x) with one argument asks for
 * today, and the rest (current_setting, has_table_privilege, ...) for the server.
 */
static bool
stable_is_allowed(Form_pg_proc proc)
{
	const char *name = NameStr(proc->proname);

	if (proc->pronamespace != PG_CATALOG_NAMESPACE || proc->proretset)
		return false;
	for (int i = 0; i < lengthof(stable_allowed); i++)
		if (strcmp(name, stable_allowed[i]) == 0)
			return true;
	if (strcmp(name, "age") == 0 && proc->pronargs == 1)
		return false;
	if (is_time_type(proc->prorettype))
		return true;
	for (int i = 0; i < proc->pronargs; i++)
		if (is_time_type(proc->proargtypes.values[i]))
			return true;
	return false;
}

static bool
function_is_refused(Oid function, void *context)
{
	HeapTuple tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	Form_pg_proc proc;
	char *name;
	char volatility;
	bool allowed;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", function);
	proc = (Form_pg_proc) GETSTRUCT(tuple);
	volatility = proc->provolatile;
	allowed = volatility == PROVOLATILE_IMMUTABLE ||
			  (volatility == PROVOLATILE_STABLE && stable_is_allowed(proc));
	name = pstrdup(NameStr(proc->proname));
	ReleaseSysCache(tuple);
	if (!allowed)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
				 errmsg("function %s() is %s and cannot be used in a decision", name,
						volatility == PROVOLATILE_STABLE ? "stable" : "volatile"),
				 errhint("Use immutable functions; now() is the judgment's own time.")));
	return false;
}

static bool
refuse_calls(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, SQLValueFunction))
		ereport(ERROR, (errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
						errmsg("the session's own values cannot be used in a decision"),
						errhint("Give what the rule needs as an input.")));
	if (check_functions_in_node(node, function_is_refused, NULL))
		return true;
	return expression_tree_walker(node, refuse_calls, context);
}

void
expression_refuse_calls(Node *node)
{
	(void) refuse_calls(node, NULL);
}

/* --- what follows from what is called --------------------------------------------- */

/* Not marked leakproof, but they raise as little: any two values compare, any fits. */
static const Oid never_raise[] = {
	F_NUMERIC_EQ,   F_NUMERIC_NE,  F_NUMERIC_LT,  F_NUMERIC_LE,   F_NUMERIC_GT,
	F_NUMERIC_GE,   F_ENUM_EQ,     F_ENUM_NE,     F_NUMERIC_INT2, F_NUMERIC_INT4,
	F_NUMERIC_INT8, F_FLOAT8_INT2, F_FLOAT8_INT4, F_FLOAT8_INT8,
};

static bool
function_may_raise(Oid function, void *context)
{
	for (int i = 0; i < lengthof(never_raise); i++)
		if (never_raise[i] == function)
			return false;
	return !get_func_leakproof(function);
}

/* Leakproof functions promise never to raise; anything else may. */
static bool
may_raise(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (check_functions_in_node(node, function_may_raise, NULL))
		return true;
	switch (nodeTag(node))
	{
		case T_Var:
		case T_Const:
		case T_List:
		case T_FuncExpr:
		case T_OpExpr:
		case T_DistinctExpr:
		case T_NullIfExpr:
		case T_ScalarArrayOpExpr:
		case T_BoolExpr:
		case T_RelabelType:
		case T_CaseExpr:
		case T_CaseWhen:
		case T_CaseTestExpr:
		case T_CoalesceExpr:
		case T_NullTest:
		case T_BooleanTest:
			return expression_tree_walker(node, may_raise, context);
		default:
			return true;
	}
}

bool
expression_may_raise(Node *node)
{
	return may_raise(node, NULL);
}

static bool
is_users_function(Oid function, void *context)
{
	return function >= FirstNormalObjectId;
}

static bool
calls_users_function(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (check_functions_in_node(node, is_users_function, NULL))
		return true;
	return expression_tree_walker(node, calls_users_function, context);
}

static bool
is_parallel_unsafe(Oid function, void *context)
{
	return func_parallel(function) != PROPARALLEL_SAFE;
}

static bool
calls_parallel_unsafe(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (check_functions_in_node(node, is_parallel_unsafe, NULL))
		return true;
	return expression_tree_walker(node, calls_parallel_unsafe, context);
}

void
expression_note_calls(Decision *decision, Node *node)
{
	dependency_note_expression(decision, node);
	decision->needs_search_path |= calls_users_function(node, NULL);
	decision->is_mutable |= contain_mutable_functions(node);
	decision->parallel_unsafe |= calls_parallel_unsafe(node, NULL);
}
