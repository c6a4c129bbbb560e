/*
 * scheduler_run.c
 *		A scheduler's transactions: the books, and a refresh that it does itself.
 *
 * Bookkeeping and deed are separate transactions: a refresh holds no lock of ours, so
 * DROP EXTENSION never waits for it.
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/compat.h"
#include "base/tenant.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timeout.h"
#include "worker/scheduler_int.h"

/* --- transactions ----------------------------------------------------------------------- */

bool
scheduler_begin(void)
{
	bool installed;

	QueryCancelPending = false;
	HOLD_CANCEL_INTERRUPTS();
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	installed = refresh_is_installed();
	PushActiveSnapshot(GetTransactionSnapshot());
	return installed;
}

void
scheduler_end(void)
{
	PopActiveSnapshot();
	CommitTransactionCommand();
	/* Not the macro that counts down: an error that was survived has set it to 0. */
	QueryCancelHoldoffCount = 0;
	pgstat_report_stat(false);
}

/* --- a run ------------------------------------------------------------------------------ */

void
scheduler_set_limit(const char *name, int milliseconds)
{
	char value[32];

	snprintf(value, sizeof(value), "%d", milliseconds);
	SetConfigOption(name, value, PGC_SUSET, PGC_S_SESSION);
}

void
perform_refresh(const RefreshRun *run)
{
	scheduler_set_limit("lock_timeout", run->lock_timeout_ms);
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	tenant_act_for(run->tenant);
	if (run->timeout_ms > 0)
		enable_timeout_after(STATEMENT_TIMEOUT, run->timeout_ms);
	refresh_perform(run);
	disable_timeout(STATEMENT_TIMEOUT, false);
	CommitTransactionCommand();
	pgstat_report_stat(false);
}

ErrorData *
scheduler_rescue(MemoryContext context)
{
	ErrorData *error;

	HOLD_INTERRUPTS();
	disable_timeout(STATEMENT_TIMEOUT, false);
	MemoryContextSwitchTo(context);
	error = CopyErrorData();
	FlushErrorState();
	AbortCurrentTransaction();
	MemoryContextSwitchTo(context);
	QueryCancelPending = false;
	RESUME_INTERRUPTS();
	return error;
}

/* The error of a run, or NULL. */
static ErrorData *
run_error(const RefreshRun *run, MemoryContext context)
{
	ErrorData *volatile error = NULL;

	PG_TRY();
	{
		perform_refresh(run);
	}
	PG_CATCH();
	{
		error = scheduler_rescue(context);
	}
	PG_END_TRY();
	scheduler_set_limit("lock_timeout", 0);
	return error;
}

static void
record(RefreshRun *run, bool is_task, const ErrorData *error)
{
	int level = NewGUCNestLevel();

	if (is_task)
		task_record(run, error);
	else
	{
		refresh_record(run, error);
		refresh_set_busy(run->view, false);
	}
	/* It was for a tenant; what follows is not. */
	AtEOXact_GUC(true, level);
	if (error != NULL)
		ereport(LOG, (errmsg("%s run " INT64_FORMAT " of \"%s\" failed: %s",
							 is_task ? "task" : "refresh", run->id, run->view_name,
							 error->message)));
}

bool
scheduler_record(RefreshRun *run, bool is_task, const ErrorData *error)
{
	if (!is_task && refresh_schedule_is_held(run->view))
		return false;
	record(run, is_task, error);
	return true;
}

/* Nobody could write it down later, while it runs here.  False where there are no books. */
static bool
is_in_books(RefreshRun *run)
{
	if (run->id != 0)
		return true;
	if (scheduler_begin())
		refresh_mark(run);
	scheduler_end();
	return run->id != 0;
}

void
scheduler_run_here(RefreshRun *run, MemoryContext context)
{
	ErrorData *error;
	char doing[REFRESH_NAME_SIZE + 32];

	if (!is_in_books(run))
		return;
	snprintf(doing, sizeof(doing), "refreshing %s", run->view_name);
	pgstat_report_activity(STATE_RUNNING, doing);
	scheduler_show(true, 0);
	error = run_error(run, context);
	if (scheduler_begin())
		record(run, false, error);
	scheduler_end();
	refresh_set_busy(run->view, false);
}
