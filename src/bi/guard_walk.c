/*
 * guard_walk.c
 *		Looks at every node of an analysed statement, before it is planned.
 *
 * All lists here say what is allowed; what is not on them, and so whatever a
 * later PostgreSQL brings, is refused.
 */
#include "postgres.h"

#include "access/transam.h"
#include "bi/bi_int.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"

#define FUNCTION_HINT \
	"Table factory.allowed_function lists what may be called; its owner can add to it."

typedef struct Walk
{
	Oid reader;
	List *relations; /* NIL: whatever the reader may select */
	bool outer;      /* names the author wrote; false: views expanded */
	Verdict *verdict;
} Walk;

/* How to say it instead. */
static const struct
{
	const char *function;
	const char *hint;
} function_hints[] = {
	{"format", "Put texts together with || or concat()."},
	{"random", "Use TABLESAMPLE, or order by a column."},
	{"clock_timestamp", "Use now()."},
	{"timeofday", "Use now()."},
	{"pg_sleep", "A question never waits."},
	{"query_to_xml", "Write the inner query as a subquery."},
	{"table_to_xml", "Read the table in FROM."},
	{"xmlagg", "Use jsonb_agg()."},
	{"current_setting", "Write the value itself."},
};

static bool guard_walker(Node *node, void *context);

static bool
refuse_function(Walk *walk, Oid function)
{
	char *name = get_func_name(function);
	char *schema =
		name ? get_namespace_name(get_func_namespace(function)) : pstrdup("unknown");

	for (int i = 0; name && i < lengthof(function_hints); i++)
		if (strcmp(name, function_hints[i].function) == 0)
			return guard_refuse(walk->verdict, "function",
								psprintf("function %s.%s is not on the allow list",
										 schema, name),
								pstrdup(function_hints[i].hint));
	return guard_refuse(walk->verdict, "function",
						psprintf("function %s.%s is not on the allow list", schema,
								 name ? name : "?"),
						pstrdup(FUNCTION_HINT));
}

static bool
function_refused(Oid function, void *context)
{
	if (function_is_allowed(function))
		return false;
	return refuse_function((Walk *) context, function);
}

/* The function behind an operator that ORDER BY, GROUP BY or DISTINCT will call. */
static bool
operator_refused(Oid operator, Walk * walk)
{
	return OidIsValid(operator) && function_refused(get_opcode(operator), walk);
}

/* --- relations -------------------------------------------------------------- */

static bool
reader_may_select(Oid relation, Oid reader)
{
	return pg_class_aclcheck(relation, reader, ACL_SELECT) == ACLCHECK_OK ||
		   pg_attribute_aclcheck_all(relation, reader, ACL_SELECT, ACLMASK_ANY) ==
			   ACLCHECK_OK;
}

static bool
relation_refused(RangeTblEntry *rte, Walk *walk)
{
	Oid schema = get_rel_namespace(rte->relid);
	char *name = get_rel_name(rte->relid);

	if (rte->relid < FirstNormalObjectId || schema == PG_CATALOG_NAMESPACE ||
		schema == PG_TOAST_NAMESPACE)
		return guard_refuse(walk->verdict, "relation",
							psprintf("\"%s\" is a system catalog", name),
							pstrdup("Read the tables of the catalogue instead."));
	if (get_rel_persistence(rte->relid) == RELPERSISTENCE_TEMP)
		return guard_refuse(walk->verdict, "relation",
							psprintf("\"%s\" is a temporary relation", name),
							pstrdup("Use WITH instead of a temporary table."));
	if (rte->relkind != RELKIND_RELATION && rte->relkind != RELKIND_PARTITIONED_TABLE &&
		rte->relkind != RELKIND_VIEW && rte->relkind != RELKIND_MATVIEW &&
		rte->relkind != RELKIND_FOREIGN_TABLE)
		return guard_refuse(walk->verdict, "relation",
							psprintf("\"%s\" is neither a table nor a view", name), NULL);
	if (!walk->outer)
		return false;
	if (!reader_may_select(rte->relid, walk->reader))
		return guard_refuse(
			walk->verdict, "relation",
			psprintf("role \"%s\" may not read \"%s\"",
					 GetUserNameFromId(walk->reader, false), name),
			psprintf("GRANT SELECT ON %s TO %s, if questions may read it.",
					 quote_qualified_identifier(get_namespace_name(schema), name),
					 quote_identifier(GetUserNameFromId(walk->reader, false))));
	if (walk->relations != NIL && !list_member_oid(walk->relations, rte->relid))
		return guard_refuse(walk->verdict, "relation",
							psprintf("\"%s\" is not in the catalogue", name),
							pstrdup("Name it under \"datasets\" or \"tables\" of a "
									"catalogue, if questions may read it."));
	return false;
}

static bool
sample_refused(TableSampleClause *sample, Walk *walk)
{
	return sample != NULL && (function_refused(sample->tsmhandler, walk) ||
							  guard_walker((Node *) sample->args, walk) ||
							  guard_walker((Node *) sample->repeatable, walk));
}

/*
 * By hand and not by the server's walker: that one would also walk row security's
 * own conditions, which are their owner's business.
 */
static bool
range_entry_refused(RangeTblEntry *rte, Walk *walk)
{
	if (COMPAT_IS_GROUP_RTE(rte))
		return guard_walker((Node *) COMPAT_GROUP_EXPRESSIONS(rte), walk);
	switch (rte->rtekind)
	{
		case RTE_RELATION:
			return relation_refused(rte, walk) || sample_refused(rte->tablesample, walk);
		case RTE_SUBQUERY:
			return guard_walker((Node *) rte->subquery, walk);
		case RTE_FUNCTION:
			return guard_walker((Node *) rte->functions, walk);
		case RTE_VALUES:
			return guard_walker((Node *) rte->values_lists, walk);
		case RTE_JOIN:
			return guard_walker((Node *) rte->joinaliasvars, walk);
		case RTE_CTE:
		case RTE_RESULT:
			return false;
		case RTE_TABLEFUNC:
			return guard_refuse(
				walk->verdict, "node", pstrdup("XMLTABLE and JSON_TABLE are not allowed"),
				pstrdup("Use jsonb_to_recordset() or jsonb_array_elements()."));
		default:
			return guard_refuse(walk->verdict, "node",
								pstrdup("a kind of FROM entry is not allowed"), NULL);
	}
}

/* --- nodes ------------------------------------------------------------------ */

static bool
query_refused(Query *query, Walk *walk)
{
	ListCell *cell;

	check_stack_depth();
	if (query->commandType != CMD_SELECT || query->utilityStmt || query->hasModifyingCTE)
		return guard_refuse(walk->verdict, "select",
							pstrdup("the statement changes data"),
							pstrdup("Only reading is allowed, also inside WITH."));
	if (query->rowMarks != NIL || query->hasForUpdate)
		return guard_refuse(walk->verdict, "select", pstrdup("the statement locks rows"),
							pstrdup("Leave out FOR UPDATE and FOR SHARE."));
	if (query->hasRecursive)
		return guard_refuse(walk->verdict, "recursion",
							pstrdup("WITH RECURSIVE has no bound"),
							pstrdup("Use generate_series() with constant bounds, or join "
									"the levels that you need."));
	foreach (cell, query->rtable)
		if (range_entry_refused(lfirst_node(RangeTblEntry, cell), walk))
			return true;
	return query_tree_walker(query, guard_walker, walk,
							 QTW_IGNORE_RANGE_TABLE | QTW_EXAMINE_SORTGROUP);
}

static bool
sort_refused(SortGroupClause *sort, Walk *walk)
{
	return operator_refused(sort->eqop, walk) || operator_refused(sort->sortop, walk);
}

static bool
window_refused(WindowClause *window, Walk *walk)
{
	return (OidIsValid(window->startInRangeFunc) &&
			function_refused(window->startInRangeFunc, walk)) ||
		   (OidIsValid(window->endInRangeFunc) &&
			function_refused(window->endInRangeFunc, walk));
}

/*
 * Types whose input looks into the catalogues (a literal of theirs already has),
 * or runs code of its owner's.
 */
static bool
type_refused(Oid type, Walk *walk)
{
	Oid element = get_element_type(type);

	if (OidIsValid(element))
		type = element;
	if (get_typtype(type) == TYPTYPE_DOMAIN && type >= FirstNormalObjectId)
		return guard_refuse(walk->verdict, "node",
							psprintf("a cast to domain %s is not allowed",
									 format_type_be(type)),
							pstrdup("Cast to the domain's base type."));
	switch (type)
	{
		case REGCLASSOID:
		case REGPROCOID:
		case REGPROCEDUREOID:
		case REGOPEROID:
		case REGOPERATOROID:
		case REGTYPEOID:
		case REGROLEOID:
		case REGNAMESPACEOID:
		case REGCONFIGOID:
		case REGDICTIONARYOID:
		case REGCOLLATIONOID:
		case XMLOID:
		/* Of an input or output function called by name: it would run any type's. */
		case CSTRINGOID:
			return guard_refuse(walk->verdict, "node",
								psprintf("a value of type %s is not allowed",
										 format_type_be(type)),
								NULL);
		default:
			return false;
	}
}

/* Where a row lies and who wrote it: other transactions' business. */
static bool
system_column_refused(Var *var, Walk *walk)
{
	if (var->varattno >= 0 || !walk->outer)
		return false;
	return guard_refuse(walk->verdict, "relation",
						pstrdup("system columns are not for questions to read"),
						pstrdup("Leave out ctid, xmin, tableoid and their like."));
}

/* AS t(a integer, ...): every column's type is an input function. */
static bool
column_list_refused(RangeTblFunction *function, Walk *walk)
{
	ListCell *cell;

	foreach (cell, function->funccoltypes)
	{
		if (lfirst_oid(cell) >= FirstNormalObjectId)
			return guard_refuse(walk->verdict, "node",
								psprintf("a column list of type %s is not allowed",
										 format_type_be(lfirst_oid(cell))),
								pstrdup("Use PostgreSQL's own types."));
		if (type_refused(lfirst_oid(cell), walk))
			return true;
	}
	return false;
}

static bool
value_function_refused(SQLValueFunction *function, Walk *walk)
{
	if (function->op <= SVFOP_LOCALTIMESTAMP_N)
		return false;
	return guard_refuse(walk->verdict, "function",
						pstrdup("who asks is not for generated SQL to read"),
						pstrdup("Leave out CURRENT_USER and its like."));
}

static bool
min_max_refused(MinMaxExpr *node, Walk *walk)
{
	TypeCacheEntry *type = lookup_type_cache(node->minmaxtype, TYPECACHE_CMP_PROC);

	return OidIsValid(type->cmp_proc) && function_refused(type->cmp_proc, walk);
}

static bool
subscript_refused(SubscriptingRef *node, Walk *walk)
{
	Oid element;
	Oid handler = get_typsubscript(node->refcontainertype, &element);

	if (node->refassgnexpr == NULL &&
		(handler == F_ARRAY_SUBSCRIPT_HANDLER || handler == F_JSONB_SUBSCRIPT_HANDLER ||
		 handler == F_RAW_ARRAY_SUBSCRIPT_HANDLER))
		return false;
	return guard_refuse(walk->verdict, "node",
						pstrdup("subscripts of this type are not allowed"), NULL);
}

static bool
set_operation_refused(SetOperationStmt *node, Walk *walk)
{
	ListCell *cell;

	foreach (cell, node->groupClauses)
		if (sort_refused(lfirst_node(SortGroupClause, cell), walk))
			return true;
	return false;
}

/* What the node itself says, its children aside. */
static bool
node_refused(Node *node, Walk *walk)
{
	switch (nodeTag(node))
	{
		case T_Const:
			return type_refused(((Const *) node)->consttype, walk);
		case T_CoerceViaIO:
			return type_refused(((CoerceViaIO *) node)->resulttype, walk);
		case T_RangeTblFunction:
			return column_list_refused((RangeTblFunction *) node, walk);
		case T_FuncExpr:
			return type_refused(((FuncExpr *) node)->funcresulttype, walk) ||
				   !guard_call_is_bounded(node, ((FuncExpr *) node)->funcid,
										  walk->verdict);
		case T_Var:
			return system_column_refused((Var *) node, walk);
		case T_OpExpr:
			return !guard_call_is_bounded(node, ((OpExpr *) node)->opfuncid,
										  walk->verdict);
		case T_SQLValueFunction:
			return value_function_refused((SQLValueFunction *) node, walk);
		case T_MinMaxExpr:
			return min_max_refused((MinMaxExpr *) node, walk);
		case T_SubscriptingRef:
			return subscript_refused((SubscriptingRef *) node, walk);
		case T_SetOperationStmt:
			return set_operation_refused((SetOperationStmt *) node, walk);
		case T_SortGroupClause:
			return sort_refused((SortGroupClause *) node, walk);
		case T_WindowClause:
			return window_refused((WindowClause *) node, walk);
		case T_List:
		case T_IntList:
		case T_OidList:
		case T_Param:
		case T_Aggref:
		case T_GroupingFunc:
		case T_WindowFunc:
		case T_NamedArgExpr:
		case T_DistinctExpr:
		case T_NullIfExpr:
		case T_ScalarArrayOpExpr:
		case T_BoolExpr:
		case T_SubLink:
		case T_FieldSelect:
		case T_RelabelType:
		case T_ArrayCoerceExpr:
		case T_ConvertRowtypeExpr:
		case T_CollateExpr:
		case T_CaseExpr:
		case T_CaseWhen:
		case T_CaseTestExpr:
		case T_ArrayExpr:
		case T_RowExpr:
		case T_RowCompareExpr:
		case T_CoalesceExpr:
		case T_NullTest:
		case T_BooleanTest:
		case T_GroupingSet:
		case T_CommonTableExpr:
		case T_RangeTblRef:
		case T_FromExpr:
		case T_JoinExpr:
		case T_TargetEntry:
			return false;
		default:
			return guard_refuse(
				walk->verdict, "node",
				pstrdup("the statement uses a construct that is not allowed"),
				pstrdup("XML, JSON constructors of the SQL standard and casts to domains "
						"are among them; use jsonb functions and plain types."));
	}
}

static bool
guard_walker(Node *node, void *context)
{
	Walk *walk = (Walk *) context;

	if (node == NULL)
		return false;
	if (IsA(node, Query))
		return query_refused((Query *) node, walk);
	if (check_functions_in_node(node, function_refused, walk))
		return true;
	/* Children first: a bound is computed only from what has been allowed. */
	if (expression_tree_walker(node, guard_walker, walk))
		return true;
	return node_refused(node, walk);
}

/* True where the statement is refused. */
bool
guard_walk(Query *query, Oid reader, List *relations, bool outer, Verdict *verdict)
{
	Walk walk = {reader, relations, outer, verdict};

	return query_refused(query, &walk);
}
