/*
 * writer.c
 *		One process in a database whose sessions hand rows over: writes them into
 *		their tables, many a transaction.
 *
 * It sleeps on its latch until there are rows, collects for factory.queue_delay, and
 * writes.  When it ends, it shuts the door first and then writes what is in: whoever
 * comes later writes for himself.
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/activity.h"
#include "base/compat.h"
#include "base/queue.h"
#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/interrupt.h"
#include "refresh/refresh.h"
#include "storage/ipc.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "worker/worker_int.h"

/* Without a row for so long it gives up its place. */
#define WRITER_IDLE_MS (60 * 1000L)

/* A batch that failed is tried again after this. */
#define WRITER_RETRY_MS 1000L

/* Somebody may hold the table; at the end there is not for ever. */
#define WRITER_LOCK_TIMEOUT "5s"
#define WRITER_LAST_TRIES 3

static uint32 wait_event = 0;
static MemoryContext batch_memory = NULL;

/* The extension is not there. */
static bool nowhere = false;

/* Rows of a batch that cannot be written as a whole are tried one by one. */
static bool one_by_one = false;

typedef enum BatchResult
{
	BATCH_WRITTEN,
	BATCH_FAILED,
	BATCH_NOWHERE /* the extension is gone */
} BatchResult;

/* --- writing ------------------------------------------------------------------------------ */

static BatchResult
write_batch(void)
{
	bool installed;

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	installed = refresh_is_installed();
	PushActiveSnapshot(GetTransactionSnapshot());
	if (installed)
		queue_write_batch(one_by_one);
	PopActiveSnapshot();
	CommitTransactionCommand();
	if (!installed)
		return BATCH_NOWHERE;
	queue_batch_done();
	pgstat_report_stat(false);
	return BATCH_WRITTEN;
}

/* A row that does not fit is the row's fault; all else may pass. */
static bool
is_a_rows_fault(int sqlstate)
{
	switch (ERRCODE_TO_CATEGORY(sqlstate))
	{
		case ERRCODE_TO_CATEGORY(ERRCODE_DATA_EXCEPTION):
		case ERRCODE_TO_CATEGORY(ERRCODE_INTEGRITY_CONSTRAINT_VIOLATION):
		case ERRCODE_TO_CATEGORY(ERRCODE_SYNTAX_ERROR_OR_ACCESS_RULE_VIOLATION):
		case ERRCODE_TO_CATEGORY(ERRCODE_PROGRAM_LIMIT_EXCEEDED):
			return true;
		default:
			return false;
	}
}

static BatchResult
safe_batch(void)
{
	volatile BatchResult result = BATCH_FAILED;

	MemoryContextReset(batch_memory);
	MemoryContextSwitchTo(batch_memory);
	pgstat_report_activity(STATE_RUNNING, "writing rows");
	PG_TRY();
	{
		result = write_batch();
		one_by_one = false;
	}
	PG_CATCH();
	{
		bool its_row = is_a_rows_fault(geterrcode());

		HOLD_INTERRUPTS();
		if (!its_row || one_by_one)
			EmitErrorReport();
		MemoryContextSwitchTo(batch_memory);
		FlushErrorState();
		AbortCurrentTransaction();
		RESUME_INTERRUPTS();
		if (its_row && !one_by_one)
			result = BATCH_WRITTEN; /* tried again at once, row by row */
		one_by_one = its_row;
	}
	PG_END_TRY();
	MemoryContextSwitchTo(TopMemoryContext);
	return result;
}

/* All that is in, as long as it goes. */
static BatchResult
write_all(void)
{
	BatchResult result = BATCH_WRITTEN;

	while (result == BATCH_WRITTEN && !queue_is_empty())
		result = safe_batch();
	return result;
}

/*
 * What is in by now.  Rows that come meanwhile are collected anew: who ran after them
 * would commit a handful at a time.
 */
static BatchResult
write_collected(void)
{
	uint64 end = queue_end();
	BatchResult result = BATCH_WRITTEN;

	while (result == BATCH_WRITTEN && queue_holds_before(end))
		result = safe_batch();
	return result;
}

/* --- waiting ------------------------------------------------------------------------------- */

/* Whatever it was woken for shows in what is looked at next. */
static void
heed_latch(void)
{
	ResetLatch(MyLatch);
	/* Here is no statement to cancel. */
	QueryCancelPending = false;
	CHECK_FOR_INTERRUPTS();
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
	}
}

/* False when the time is over. */
static bool
wait_latch(long timeout_ms)
{
	int events;

	events = WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
					   timeout_ms, compat_named_wait(&wait_event, "FactoryWriterMain"));
	heed_latch();
	return (events & WL_LATCH_SET) != 0;
}

/* Whether workers may work here; where not, sessions write for themselves. */
static bool
may_work(void)
{
	const char *reason = NULL;
	bool may;

	StartTransactionCommand();
	nowhere = !refresh_is_installed();
	may = !nowhere && house_may_work(&reason);
	if (!may)
		pgstat_report_activity(STATE_IDLE,
							   reason ? psprintf("resting: %s", reason) : "resting");
	CommitTransactionCommand();
	MemoryContextSwitchTo(TopMemoryContext);
	return may;
}

/* --- the end --------------------------------------------------------------------------------- */

static void
give_up_rows(void)
{
	int lost = queue_discard();

	if (lost > 0)
		ereport(LOG, (errmsg("%d queued rows of database \"%s\" are lost: they could not "
							 "be written",
							 lost, get_database_name(MyDatabaseId))));
}

/* Writes what is in and leaves: nobody puts more once the door is shut. */
static void
close_and_leave(void)
{
	BatchResult result = BATCH_FAILED;

	queue_open_door(false);
	for (int i = 0; i < WRITER_LAST_TRIES && result == BATCH_FAILED; i++)
		result = write_all();
	if (result == BATCH_NOWHERE)
		(void) queue_discard();
	else if (result == BATCH_FAILED)
	{
		StartTransactionCommand();
		give_up_rows();
		CommitTransactionCommand();
	}
	(void) queue_leave();
	proc_exit(0);
}

/* At process exit without leave: the next writer goes on. */
static void
at_exit(int code, Datum argument)
{
	queue_abandon();
	ConditionVariableBroadcast(&worker_shared->gone);
}

/* --- the process ------------------------------------------------------------------------------- */

/* Until there is something to write; false where there was nothing for long. */
static bool
wait_for_rows(void)
{
	while (queue_is_empty() && !ShutdownRequestPending)
	{
		if (!may_work())
			return true;
		queue_open_door(true);
		pgstat_report_activity(STATE_IDLE, "waiting for rows");
		pgstat_report_stat(true);
		if (!wait_latch(WRITER_IDLE_MS) && queue_is_empty())
			return false;
	}
	return true;
}

/* Lets rows come together: many in a transaction cost little. */
static void
collect(void)
{
	if (queue_delay_ms > 0 && !ShutdownRequestPending && !queue_is_half_full())
		(void) wait_latch(queue_delay_ms);
}

static void
serve(void)
{
	heed_latch();
	if (!may_work())
	{
		queue_open_door(false);
		(void) write_all();
		if (nowhere)
			close_and_leave();
		(void) wait_latch(WRITER_IDLE_MS);
		return;
	}
	if (!wait_for_rows())
		close_and_leave();
	collect();
	switch (write_collected())
	{
		case BATCH_WRITTEN:
			break;
		case BATCH_FAILED:
			/* Sessions that write for themselves see why. */
			queue_open_door(false);
			(void) wait_latch(WRITER_RETRY_MS);
			break;
		case BATCH_NOWHERE:
			close_and_leave();
	}
}

void
factory_writer_main(Datum argument)
{
	Oid database;

	memcpy(&database, MyBgworkerEntry->bgw_extra, sizeof(database));
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	/* Not die(): what is in the queue is written first. */
	pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
	if (!queue_attach(DatumGetInt32(argument), database))
		proc_exit(0);
	on_shmem_exit(at_exit, (Datum) 0);
	BackgroundWorkerUnblockSignals();
	worker_connect(database, "pg_factory writer");
	SetConfigOption("lock_timeout", WRITER_LOCK_TIMEOUT, PGC_USERSET, PGC_S_SESSION);
	batch_memory =
		AllocSetContextCreate(TopMemoryContext, "factory writer", ALLOCSET_DEFAULT_SIZES);
	while (!ShutdownRequestPending)
		serve();
	close_and_leave();
}
