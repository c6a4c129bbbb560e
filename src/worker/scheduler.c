/*
 * scheduler.c
 *		One process in a database that has something to do: waits for the next due
 *		time, does what is due, leaves when nothing is left.
 *
 * While it waits it holds no lock and no snapshot.  Its books are not flushed (but
 * where a deed must come after them): what a crash takes of them, it takes of the
 * schedule's progress as well, and that is made up.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "base/activity.h"
#include "base/clock.h"
#include "base/compat.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "portability/instr_time.h"
#include "postmaster/interrupt.h"
#include "refresh/refresh.h"
#include "storage/ipc.h"
#include "storage/lock.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "worker/scheduler_int.h"

/* Nobody sleeps longer: the wall clock may have been set meanwhile. */
#define SCHEDULER_NAP_MS (60 * 1000L)

/* Processes for what is due are started so much before. */
#define SCHEDULER_WARM_USEC USECS_PER_SEC

/* A due row that a session holds locked, or a step that failed: look again. */
#define SCHEDULER_RETRY_MS 1000L

/* Key of the lock that keeps a second scheduler out; SQL cannot reach class 3. */
#define SCHEDULER_LOCK_KEY 0x50466163
#define SCHEDULER_LOCK_CLASS 3

bool worker_is_scheduler = false;

static uint32 wait_event = 0;

/* What was due before this was missed. */
static TimestampTz serving_since = 0;

/* When the audit log was looked after last. */
static TimestampTz tidied_at = 0;

/* There may be runs in the table that nobody is doing. */
static bool unsettled = true;

/* The last step failed. */
static bool failed = false;

/* No process could be had for a task: none is tried before. */
static int64 no_worker_until = 0;

typedef enum StepResult
{
	STEP_AGAIN, /* something was done: look for more */
	STEP_WAIT,
	STEP_LEAVE
} StepResult;

static void
lock_out_others(void)
{
	LOCKTAG tag;

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, SCHEDULER_LOCK_KEY, 0, SCHEDULER_LOCK_CLASS);
	StartTransactionCommand();
	(void) LockAcquire(&tag, ExclusiveLock, true, false);
	CommitTransactionCommand();
}

/* --- what is claimed -------------------------------------------------------------------- */

/* Of one look: runs and tasks that are recorded and shall begin. */
typedef struct Claimed
{
	List *runs;
	List *tasks;
	List *overdue; /* views whose refresh is to be cancelled */
} Claimed;

/* What is only to be cancelled ends when it ends. */
static bool
anything_begins(const Claimed *claimed)
{
	ListCell *cell;

	foreach (cell, claimed->tasks)
		if (((const RefreshTask *) lfirst(cell))->instead_of == 0)
			return true;
	return claimed->runs != NIL;
}

/* How many refreshes may be claimed: as many as can begin at once. */
static int
room_for_runs(void)
{
	int room = performers_free();

	return room > 0 || performers_busy(false) > 0 ? room : 1;
}

static RefreshClaim
claim_runs(Claimed *claimed, TimestampTz *next_due)
{
	int room = room_for_runs();
	RefreshClaim claim = REFRESH_CLAIM_WAIT;

	refresh_take_changes();
	while (list_length(claimed->runs) < room)
	{
		RefreshRun run = {0};

		claim = refresh_claim(serving_since, &run, next_due);
		if (claim == REFRESH_CLAIM_SETTLED)
			continue;
		if (claim != REFRESH_CLAIM_RUN)
			return claim;
		claimed->runs =
			lappend(claimed->runs, memcpy(palloc(sizeof(run)), &run, sizeof(run)));
		refresh_set_busy(run.view, true);
	}
	/* Whatever else is due waits for one of those under way. */
	*next_due = DT_NOEND;
	return REFRESH_CLAIM_WAIT;
}

static int64
monotonic_ms(void)
{
	instr_time now;

	INSTR_TIME_SET_CURRENT(now);
	return (int64) INSTR_TIME_GET_MICROSEC(now) / 1000;
}

/* How many tasks may be claimed. */
static int
room_for_tasks(void)
{
	if (monotonic_ms() < no_worker_until)
		return 0;
	return performers_max_tasks - performers_busy(true);
}

/* It stays due, until there is a place. */
static void
put_back(const RefreshTask *task)
{
	ereport(LOG,
			(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
			 errmsg("no background worker is free for task \"%s\"", task->run.view_name),
			 errhint("Raise \"max_worker_processes\".")));
	no_worker_until = monotonic_ms() + SCHEDULER_RETRY_MS;
	if (scheduler_begin())
		task_put_back(&task->run);
	scheduler_end();
}

/* False where it has to wait. */
static bool
start_task(const RefreshTask *task)
{
	if (task->instead_of != 0)
		performers_cancel_task(task->instead_of);
	else if (monotonic_ms() < no_worker_until || !performers_start_task(task))
	{
		put_back(task);
		return false;
	}
	return true;
}

/* False where something could not be left to others: what is due has changed. */
static bool
start_claimed(const Claimed *claimed, MemoryContext context)
{
	ListCell *cell;
	bool all = true;

	foreach (cell, claimed->overdue)
		performers_cancel_refresh(lfirst_oid(cell));
	foreach (cell, claimed->tasks)
		if (!start_task(lfirst(cell)))
			all = false;
	foreach (cell, claimed->runs)
		if (!performers_give(lfirst(cell)))
		{
			scheduler_run_here(lfirst(cell), context);
			all = false;
		}
	if (performers_busy(false) + performers_busy(true) > 0)
		scheduler_show(true, 0);
	return all;
}

/* --- a step ----------------------------------------------------------------------------- */

/* What it writes is not ours to lose. */
static TimestampTz
tend_durably(void)
{
	XLogRecPtr before = XactLastRecEnd;
	TimestampTz next = tend();

	if (XactLastRecEnd != before)
		ForceSyncCommit();
	return next;
}

/* Into the books: what was lost, then what is due; where nothing is, the rest. */
static RefreshClaim
claim_all(Claimed *claimed, TimestampTz *next_due, MemoryContext context)
{
	TimestampTz next_tend = DT_NOEND;
	RefreshClaim claim;
	MemoryContext before = MemoryContextSwitchTo(context);

	if (unsettled)
		refresh_settle_lost(performers_runs(false), performers_runs(true));
	unsettled = false;
	claim = claim_runs(claimed, next_due);
	if (performers_busy(false) > 0 || claimed->runs != NIL)
		claimed->overdue = refresh_overdue(next_due, context);
	claimed->tasks = task_claim(serving_since, room_for_tasks(), next_due, context);
	MemoryContextSwitchTo(before);
	/* Of a runner that is there nothing needs to be said.  What is due comes first. */
	if (!anything_begins(claimed) && !job_runner_is_wanted() && jobs_are_waiting())
		job_runner_want();
	if (monotonic_ms() < no_worker_until)
		*next_due = Min(*next_due, clock_now() + SCHEDULER_RETRY_MS * 1000);
	if (!anything_begins(claimed))
		next_tend = tend_durably();
	else /* soon, but not before what is due */
		next_tend = clock_now() + SCHEDULER_RETRY_MS * 1000;
	*next_due = Min(*next_due, next_tend);
	if (claim == REFRESH_CLAIM_NOTHING && (next_tend != DT_NOEND || refresh_is_wanted()))
		claim = REFRESH_CLAIM_WAIT;
	return claim;
}

/* What performers have done goes into the books, and what they do for long. */
static void
settle_performed(TimestampTz *next_look)
{
	if (!performers_tell(scheduler_record))
		*next_look = clock_now() + SCHEDULER_RETRY_MS * 1000;
	performers_mark_long();
}

/* A step failed: what was done is settled, whatever it failed of. */
static void
settle_apart(void)
{
	TimestampTz next_look;

	refresh_forget_busy();
	performers_remember_busy();
	if (scheduler_begin())
		settle_performed(&next_look);
	scheduler_end();
	performers_forget_told();
	failed = false;
}

/* One look, in a transaction of its own, and what follows from it. */
static StepResult
step(MemoryContext context, TimestampTz *next_due)
{
	RefreshClaim claim = REFRESH_CLAIM_NOTHING;
	Claimed claimed = {NIL, NIL, NIL};
	const char *reason = NULL;
	TimestampTz next_look = DT_NOEND;
	bool started;

	scheduler_begin_look();
	pgstat_report_activity(STATE_RUNNING, "looking for what is due");
	if (failed)
		settle_apart();
	if (scheduler_begin())
	{
		settle_performed(&next_look);
		if (house_may_work(&reason))
			claim = claim_all(&claimed, next_due, context);
		else
			claim = refresh_is_wanted() ? REFRESH_CLAIM_WAIT : REFRESH_CLAIM_NOTHING;
		scheduler_show_rest(claim == REFRESH_CLAIM_WAIT ? reason : NULL);
	}
	scheduler_end();
	performers_forget_told();
	*next_due = Min(*next_due, next_look);
	started = start_claimed(&claimed, context);
	if (anything_begins(&claimed))
		return started ? STEP_WAIT : STEP_AGAIN;
	if (claim == REFRESH_CLAIM_NOTHING)
		return scheduler_give_up_slot() ? STEP_LEAVE : STEP_AGAIN;
	if (reason != NULL || clock_now() - tidied_at < USECS_PER_DAY)
		return STEP_WAIT;
	tidied_at = clock_now();
	scheduler_tidy_logs();
	return STEP_AGAIN;
}

/* A step that cannot end the process: what fails is logged and tried again. */
static StepResult
safe_step(MemoryContext context, TimestampTz *next_due)
{
	volatile StepResult result = STEP_WAIT;

	PG_TRY();
	{
		result = step(context, next_due);
	}
	PG_CATCH();
	{
		EmitErrorReport();
		(void) scheduler_rescue(context);
		scheduler_set_limit("lock_timeout", 0);
		unsettled = failed = true;
		*next_due = clock_now() + SCHEDULER_RETRY_MS * 1000;
	}
	PG_END_TRY();
	return result;
}

/* --- waiting ---------------------------------------------------------------------------- */

static long
time_until(TimestampTz moment)
{
	TimestampTz now = clock_now();

	/* What is due already and was not taken is in somebody's hands. */
	if (moment <= now)
		return SCHEDULER_RETRY_MS;
	return Min(SCHEDULER_NAP_MS, (moment - now) / 1000 + 1);
}

/*
 * Sleeps until the latch is set (true), the moment comes or a run has to be written
 * down, a nap at a time.
 */
static bool
sleep_until(TimestampTz moment)
{
	TimestampTz before = 0;
	long mark = performers_until_mark();

	while ((clock_now() < moment && mark != 0) || before == 0)
	{
		/* A clock that stands still will not bring the moment nearer. */
		long nap = clock_now() == before ? SCHEDULER_NAP_MS : time_until(moment);
		int events;

		if (mark >= 0)
			nap = Min(nap, Max(mark, 1));
		before = clock_now();
		events = WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, nap,
						   compat_named_wait(&wait_event, "FactorySchedulerMain"));
		if (events & WL_LATCH_SET)
			return true;
		mark = performers_until_mark();
	}
	return false;
}

/* Here a cancel finds no refresh to cancel, and is none. */
static void
heed_interrupts(void)
{
	HOLD_CANCEL_INTERRUPTS();
	CHECK_FOR_INTERRUPTS();
	RESUME_CANCEL_INTERRUPTS();
	QueryCancelPending = false;
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
	}
}

/*
 * The moment to start processes for the refreshes that are due next, and how many are
 * wanted; DT_NOEND where they are there, or it is too late to be early.
 */
static TimestampTz
warm_moment(int *wanted)
{
	TimestampTz due;

	*wanted = refresh_due_next(&due);
	if (due == DT_NOEND || due - SCHEDULER_WARM_USEC <= clock_now() ||
		performers_idle() >= Min(*wanted, performers_free()))
		return DT_NOEND;
	return due - SCHEDULER_WARM_USEC;
}

/* Until the moment comes, or a session announces work. */
static void
wait_until(TimestampTz moment)
{
	int wanted;
	TimestampTz warm = warm_moment(&wanted);

	scheduler_show(performers_busy(false) + performers_busy(true) > 0, moment);
	pgstat_report_activity(STATE_IDLE, scheduler_rests()
										   ? psprintf("resting: %s", scheduler_rest())
										   : "waiting for the next due time");
	pgstat_report_stat(true);
	if (sleep_until(Min(moment, warm)))
		ResetLatch(MyLatch);
	else if (warm < moment && warm <= clock_now())
		performers_warm(wanted);
	heed_interrupts();
}

/* --- the process ------------------------------------------------------------------------ */

void
factory_scheduler_main(Datum argument)
{
	Oid database;
	MemoryContext context;
	StepResult result;

	memcpy(&database, MyBgworkerEntry->bgw_extra, sizeof(database));
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	worker_is_scheduler = true;
	if (!scheduler_enter_slot(DatumGetInt32(argument), database))
		proc_exit(0);
	BackgroundWorkerUnblockSignals();
	worker_connect(database, "pg_factory scheduler");
	SetConfigOption("synchronous_commit", "off", PGC_USERSET, PGC_S_SESSION);
	lock_out_others();
	performers_wait_for_old();
	serving_since = clock_now();
	context = AllocSetContextCreate(TopMemoryContext, "factory scheduler",
									ALLOCSET_DEFAULT_SIZES);
	do
	{
		TimestampTz next_due = DT_NOEND;

		heed_interrupts();
		MemoryContextReset(context);
		MemoryContextSwitchTo(context);
		result = safe_step(context, &next_due);
		if (result == STEP_WAIT)
			wait_until(next_due);
	} while (result != STEP_LEAVE);
	proc_exit(0);
}
