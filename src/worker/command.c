/*
 * command.c
 *		Runs the text of a scheduled task, as the server runs what a client sends.
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/compat.h"
#include "nodes/parsenodes.h"
#include "parser/analyze.h"
#include "tcop/dest.h"
#include "tcop/pquery.h"
#include "tcop/tcopprot.h"
#include "tcop/utility.h"
#include "utils/memutils.h"
#include "utils/portal.h"
#include "utils/snapmgr.h"
#include "utils/timeout.h"
#include "worker/command.h"

static List *
plan_statement(RawStmt *statement, const char *text)
{
	bool needs_snapshot = analyze_requires_snapshot(statement);
	List *queries, *plans;

	if (needs_snapshot)
		PushActiveSnapshot(GetTransactionSnapshot());
	queries = pg_analyze_and_rewrite_fixedparams(statement, text, NULL, 0, NULL);
	plans = pg_plan_queries(queries, text, CURSOR_OPT_PARALLEL_OK, NULL);
	if (needs_snapshot)
		PopActiveSnapshot();
	return plans;
}

static void
run_statement(RawStmt *statement, const char *text, bool alone)
{
	List *plans = plan_statement(statement, text);
	DestReceiver *receiver = CreateDestReceiver(DestNone);
	Portal portal = CreatePortal("", true, true);
	QueryCompletion completion;

	portal->visible = false;
	PortalDefineQuery(portal, NULL, text, CreateCommandTag(statement->stmt), plans, NULL);
	PortalStart(portal, NULL, 0, InvalidSnapshot);
	(void) compat_portal_run(portal, alone, receiver, &completion);
	receiver->rDestroy(receiver);
	PortalDrop(portal, false);
}

static void
begin(MemoryContext context, int timeout_ms)
{
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	/* It ends with no transaction, and VACUUM has several. */
	MemoryContextSwitchTo(context);
	if (timeout_ms > 0 && !get_timeout_active(STATEMENT_TIMEOUT))
		enable_timeout_after(STATEMENT_TIMEOUT, timeout_ms);
}

static void
run_statements(const char *text, int timeout_ms, MemoryContext context)
{
	List *statements = pg_parse_query(text);
	bool alone = list_length(statements) == 1;
	bool open = false;
	ListCell *cell;

	foreach (cell, statements)
	{
		RawStmt *statement = lfirst_node(RawStmt, cell);

		if (!open)
			begin(context, timeout_ms);
		open = true;
		if (!alone)
			BeginImplicitTransactionBlock();
		run_statement(statement, text, alone);
		if (IsA(statement->stmt, TransactionStmt))
		{
			CommitTransactionCommand();
			open = false;
		}
		else
			CommandCounterIncrement();
		MemoryContextSwitchTo(context);
	}
	if (open && !alone)
		EndImplicitTransactionBlock();
	if (open)
		CommitTransactionCommand();
	MemoryContextSwitchTo(context);
}

void
command_run(const char *text, int timeout_ms, int lock_timeout_ms, MemoryContext context)
{
	char limit[32];

	if (lock_timeout_ms > 0)
	{
		snprintf(limit, sizeof(limit), "%d", lock_timeout_ms);
		SetConfigOption("lock_timeout", limit, PGC_USERSET, PGC_S_SESSION);
	}
	/* What the server keeps for the length of a client's message. */
	MessageContext = context;
	debug_query_string = text;
	run_statements(text, timeout_ms, context);
	disable_timeout(STATEMENT_TIMEOUT, false);
	debug_query_string = NULL;
	if (IsTransactionBlock())
		ereport(ERROR, (errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
						errmsg("the command left its transaction open"),
						errhint("End it with COMMIT, or leave BEGIN out.")));
}
