/*
 * performer.c
 *		A process that does what is due on a scheduler's behalf.
 *
 * One that refreshes is warm: it waits on its latch for the next order and leaves
 * after a minute and a half without.  A task gets a process of its own, connected as the
 * task's owner, which ends with it: nothing of a session outlives it, and VACUUM works.
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/compat.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/interrupt.h"
#include "storage/dsm.h"
#include "storage/ipc.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timeout.h"
#include "worker/command.h"
#include "worker/performer_int.h"

/* A warm performer without an order leaves after this: what is due every minute finds it. */
#define PERFORMER_IDLE_MS (90 * 1000L)

/* Key of the lock that performers share; SQL cannot reach class 3. */
#define PERFORMER_LOCK_KEY 0x50466164
#define PERFORMER_LOCK_CLASS 3

static uint32 wait_event = 0;

void
performers_lock(LOCKMODE mode, bool for_session)
{
	LOCKTAG tag;

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, PERFORMER_LOCK_KEY, 0, PERFORMER_LOCK_CLASS);
	StartTransactionCommand();
	(void) LockAcquire(&tag, mode, for_session, false);
	CommitTransactionCommand();
}

static void
perform(const Order *order, MemoryContext context)
{
	const RefreshRun *run = &order->run;
	char doing[REFRESH_NAME_SIZE + 32];

	if (OidIsValid(order->owner))
	{
		pgstat_report_activity(STATE_RUNNING, order->command);
		command_run(order->command, run->timeout_ms, run->lock_timeout_ms, context);
	}
	else
	{
		snprintf(doing, sizeof(doing), "refreshing %s", run->view_name);
		pgstat_report_activity(STATE_RUNNING, doing);
		perform_refresh(run);
	}
}

static void
keep_error(Order *order, const ErrorData *error)
{
	order->failed = true;
	order->sqlstate = error->sqlerrcode;
	strlcpy(order->message, error->message ? error->message : "", OUTCOME_TEXT_SIZE);
	strlcpy(order->detail, error->detail ? error->detail : "", OUTCOME_TEXT_SIZE);
}

static void
carry_out(Order *order, MemoryContext context)
{
	MemoryContextReset(context);
	MemoryContextSwitchTo(context);
	/* A cancel was meant for what came before. */
	QueryCancelPending = false;
	PG_TRY();
	{
		perform(order, context);
	}
	PG_CATCH();
	{
		HOLD_INTERRUPTS();
		disable_timeout(STATEMENT_TIMEOUT, false);
		MemoryContextSwitchTo(context);
		keep_error(order, CopyErrorData());
		FlushErrorState();
		/* Also of a block that the command left open. */
		AbortOutOfAnyTransaction();
		MemoryContextSwitchTo(context);
		QueryCancelPending = false;
		RESUME_INTERRUPTS();
	}
	PG_END_TRY();
	pgstat_report_stat(true);
	pgstat_report_activity(STATE_IDLE, "waiting for an order");
	pg_write_barrier();
	pg_atomic_write_u32(&order->state, ORDER_DONE);
	SetLatch(&order->scheduler->procLatch);
}

/* False where none came for long, and none will: we are gone. */
static bool
wait_for_order(Order *order)
{
	long idle = PERFORMER_IDLE_MS;

	while (pg_atomic_read_u32(&order->state) != ORDER_GIVEN)
	{
		uint32 none = ORDER_NONE;
		int events;

		events = WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, idle,
						   compat_named_wait(&wait_event, "FactoryPerformerMain"));
		if (events & WL_LATCH_SET)
			ResetLatch(MyLatch);
		HOLD_CANCEL_INTERRUPTS();
		CHECK_FOR_INTERRUPTS();
		RESUME_CANCEL_INTERRUPTS();
		if ((events & WL_LATCH_SET) == 0 &&
			pg_atomic_compare_exchange_u32(&order->state, &none, ORDER_GONE))
			return false;
	}
	pg_read_barrier();
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
	}
	return true;
}

/* A task's session is as its owner's is. */
static void
connect_for(const Order *order)
{
	if (!OidIsValid(order->owner))
	{
		worker_connect(order->database, "pg_factory refresh");
		return;
	}
	BackgroundWorkerInitializeConnectionByOid(order->database, order->owner,
											  COMPAT_BYPASS_ROLE_LOGIN);
	SetConfigOption("application_name", "pg_factory task", PGC_USERSET, PGC_S_SESSION);
}

void
factory_performer_main(Datum argument)
{
	dsm_segment *segment;
	Order *order;
	MemoryContext context;

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	segment = dsm_attach(DatumGetUInt32(argument));
	if (segment == NULL) /* the scheduler has gone */
		proc_exit(0);
	dsm_pin_mapping(segment);
	order = dsm_segment_address(segment);
	/* Of a task, DROP EXTENSION and the like are commands like others. */
	worker_is_scheduler = !OidIsValid(order->owner);
	connect_for(order);
	performers_lock(ShareLock, true);
	order->performer = MyProc;
	pg_memory_barrier();
	context = AllocSetContextCreate(TopMemoryContext, "factory performer",
									ALLOCSET_DEFAULT_SIZES);
	while (wait_for_order(order))
	{
		bool once = OidIsValid(order->owner);

		carry_out(order, context);
		if (once)
			break;
	}
	proc_exit(0);
}
