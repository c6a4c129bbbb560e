/*
 * guard.c
 *		From a text of unknown origin to a tree that may be planned.
 *
 * The layers, in order: text, statement, select, analysis, then the walk of the
 * analysed tree (guard_walk.c) before and after views are expanded.  Nothing is
 * folded, planned or executed before all of them have agreed.
 */
#include "postgres.h"

#include "access/table.h"
#include "base/base.h"
#include "bi/bi_int.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "parser/analyze.h"
#include "parser/parse_collate.h"
#include "parser/parse_node.h"
#include "parser/parse_oper.h"
#include "parser/parser.h"
#include "tcop/tcopprot.h"
#include "utils/lsyscache.h"

/* The parser cannot be interrupted, so what it reads is short. */
#define GUARD_MAX_TEXT (64 * 1024)

/* The column that says whose row it is. */
#define GUARD_TENANT_COLUMN "tenant_id"

bool
guard_refuse(Verdict *verdict, const char *layer, char *reason, char *hint)
{
	verdict->ok = false;
	verdict->layer = layer;
	verdict->reason = reason;
	verdict->hint = hint;
	return true;
}

/* INTO and FOR UPDATE can hide in any arm of a UNION. */
static bool
select_writes_or_locks(SelectStmt *select, Verdict *verdict)
{
	check_stack_depth();
	if (select->intoClause)
		return guard_refuse(verdict, "select", pstrdup("SELECT INTO creates a table"),
							pstrdup("Leave out INTO."));
	if (select->lockingClause != NIL)
		return guard_refuse(verdict, "select", pstrdup("the statement locks rows"),
							pstrdup("Leave out FOR UPDATE and FOR SHARE."));
	if (select->op == SETOP_NONE)
		return false;
	return select_writes_or_locks(select->larg, verdict) ||
		   select_writes_or_locks(select->rarg, verdict);
}

static RawStmt *
guard_parse(const char *sql, Verdict *verdict)
{
	List *statements;
	RawStmt *statement;

	if (strlen(sql) > GUARD_MAX_TEXT)
	{
		guard_refuse(verdict, "text",
					 psprintf("the statement has %zu bytes, the limit is %d", strlen(sql),
							  GUARD_MAX_TEXT),
					 pstrdup("Ask for less in one statement."));
		return NULL;
	}
	statements = raw_parser(sql, RAW_PARSE_DEFAULT);
	if (list_length(statements) != 1)
	{
		guard_refuse(verdict, "statement",
					 psprintf("the text holds %d statements", list_length(statements)),
					 pstrdup("Give exactly one SELECT."));
		return NULL;
	}
	statement = linitial_node(RawStmt, statements);
	if (!IsA(statement->stmt, SelectStmt))
	{
		guard_refuse(verdict, "select", pstrdup("the statement is not a SELECT"),
					 pstrdup("Only SELECT, VALUES and WITH ... SELECT are allowed."));
		return NULL;
	}
	if (select_writes_or_locks((SelectStmt *) statement->stmt, verdict))
		return NULL;
	return statement;
}

Query *
guard_analyse(const char *sql, List *relations, Verdict *verdict)
{
	RawStmt *statement = guard_parse(sql, verdict);
	List *rewritten;
	Query *query;

	if (statement == NULL)
		return NULL;
	query = parse_analyze_fixedparams(statement, sql, NULL, 0, NULL);
	if (guard_walk(query, GetUserId(), relations, true, verdict))
		return NULL;
	rewritten = pg_rewrite_query(query);
	if (list_length(rewritten) != 1)
	{
		guard_refuse(verdict, "select",
					 pstrdup("a rule turns the statement into several"),
					 pstrdup("Read a table or view without rules."));
		return NULL;
	}
	query = linitial_node(Query, rewritten);
	if (guard_walk(query, GetUserId(), NIL, false, verdict))
		return NULL;
	guard_add_tenant(query);
	return query;
}

/* --- tenants ---------------------------------------------------------------- */

/* tenant_id = '...', as the parser would have understood it. */
static Node *
tenant_condition(RangeTblEntry *rte, Index index, AttrNumber column)
{
	ParseState *state = make_parsestate(NULL);
	Oid type, collation;
	int32 typmod;
	Node *left, *right, *condition;
	const char *tenant = tenant_current();

	get_atttypetypmodcoll(rte->relid, column, &type, &typmod, &collation);
	left = (Node *) makeVar(index, column, type, typmod, collation, 0);
	right = (Node *) makeConst(UNKNOWNOID, -1, InvalidOid, -2, CStringGetDatum(tenant),
							   false, false);
	condition =
		(Node *) make_op(state, list_make2(makeString("pg_catalog"), makeString("=")),
						 left, right, NULL, -1);
	assign_expr_collations(state, condition);
	free_parsestate(state);
	return condition;
}

static bool
tenant_walker(Node *node, void *context)
{
	Query *query = (Query *) node;
	Index index = 0;
	ListCell *cell;

	if (node == NULL)
		return false;
	if (!IsA(node, Query))
		return expression_tree_walker(node, tenant_walker, context);
	foreach (cell, query->rtable)
	{
		RangeTblEntry *rte = lfirst_node(RangeTblEntry, cell);
		AttrNumber column;

		index++;
		if (rte->rtekind != RTE_RELATION)
			continue;
		column = get_attnum(rte->relid, GUARD_TENANT_COLUMN);
		/* First of all conditions: nothing else may see another tenant's row. */
		if (column != InvalidAttrNumber)
			rte->securityQuals =
				lcons(tenant_condition(rte, index, column), rte->securityQuals);
	}
	return query_tree_walker(query, tenant_walker, context, 0);
}

/*
 * Whatever was asked: of a table with a tenant column only this tenant's rows.
 * Row security would do the same, but materialized views have none.
 */
void
guard_add_tenant(Query *query)
{
	(void) tenant_walker((Node *) query, NULL);
}
