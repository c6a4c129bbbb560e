/*
 * performer_pool.c
 *		A scheduler's performers: who there is, who gets what, what came of it.
 *
 * Orders and outcomes lie in a segment of shared memory each; the scheduler keeps
 * the books.
 */
#include "postgres.h"

#include "base/compat.h"
#include "base/settings.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "portability/instr_time.h"
#include "storage/dsm.h"
#include "storage/ipc.h"
#include "utils/array.h"
#include "utils/memutils.h"
#include "worker/performer_int.h"

/* A refresh that takes longer gets its line in the history before it ends. */
#define PERFORMER_MARK_MS 100

typedef struct Performer
{
	dsm_segment *segment;
	Order *order;
	RefreshRun run; /* the scheduler's copy: the books are kept by it */
	BackgroundWorkerHandle *handle;
	bool told;
	bool cancelled; /* to make room for the next run */
} Performer;

static int max_refreshes = 2;
int performers_max_tasks = 2;

static List *performers = NIL;
static bool ending_at_exit = false;

static const Setting settings[] = {
	{"factory.refresh_workers",
	 "Sets how many views of a database are refreshed at the same time; 0 leaves them "
	 "to the scheduler, one by one.",
	 SETTING_INT, &max_refreshes, .boot = 2, .min = 0, .max = 64, .context = PGC_SIGHUP,
	 .detail = "Each takes one of \"max_worker_processes\" while there is work for it."},
	{"factory.task_workers",
	 "Sets how many scheduled tasks of a database run at the same time.", SETTING_INT,
	 &performers_max_tasks, .boot = 2, .min = 1, .max = 64, .context = PGC_SIGHUP,
	 .detail = "Each takes one of \"max_worker_processes\" while it runs."},
};

void
performers_define_settings(void)
{
	settings_define(settings, lengthof(settings));
}

/* --- who there is -------------------------------------------------------------------- */

static OrderState
state_of(const Performer *performer)
{
	return (OrderState) pg_atomic_read_u32(&performer->order->state);
}

static bool
is_task(const Performer *performer)
{
	return OidIsValid(performer->order->owner);
}

static bool
has_ended(const Performer *performer)
{
	pid_t pid;

	return GetBackgroundWorkerPid(performer->handle, &pid) == BGWH_STOPPED;
}

static bool
is_busy(const Performer *performer)
{
	return (state_of(performer) == ORDER_GIVEN || state_of(performer) == ORDER_DONE) &&
		   !performer->told;
}

/* Its outcome is there, or will never be. */
static bool
is_over(const Performer *performer)
{
	return state_of(performer) == ORDER_DONE ||
		   (state_of(performer) == ORDER_GIVEN && has_ended(performer));
}

static void
let_go(Performer *performer)
{
	performers = list_delete_ptr(performers, performer);
	dsm_detach(performer->segment);
	pfree(performer->handle);
	pfree(performer);
}

/* Those that left on their own. */
static void
forget_gone(void)
{
	ListCell *cell;
	List *all = list_copy(performers);

	foreach (cell, all)
	{
		Performer *performer = lfirst(cell);

		if (!is_busy(performer) && !performer->told &&
			(state_of(performer) == ORDER_GONE || has_ended(performer)))
			let_go(performer);
	}
	list_free(all);
}

int
performers_busy(bool tasks)
{
	ListCell *cell;
	int busy = 0;

	foreach (cell, performers)
		if (is_task(lfirst(cell)) == tasks && is_busy(lfirst(cell)))
			busy++;
	return busy;
}

int
performers_free(void)
{
	return Max(0, max_refreshes - performers_busy(false));
}

Datum
performers_runs(bool tasks)
{
	Datum *ids = palloc(sizeof(Datum) * (list_length(performers) + 1));
	ListCell *cell;
	int n = 0;

	foreach (cell, performers)
	{
		Performer *performer = lfirst(cell);

		if (is_task(performer) == tasks && is_busy(performer))
			ids[n++] = Int64GetDatum(performer->run.id);
	}
	return PointerGetDatum(construct_array(ids, n, INT8OID, sizeof(int64),
										   FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

/* --- starting ------------------------------------------------------------------------ */

/* The scheduler ends: nobody is left who would hear of an outcome. */
static void
end_all(int code, Datum argument)
{
	ListCell *cell;

	foreach (cell, performers)
		TerminateBackgroundWorker(((Performer *) lfirst(cell))->handle);
}

static Performer *
make_performer(Oid owner, const char *command)
{
	MemoryContext before = MemoryContextSwitchTo(TopMemoryContext);
	Performer *performer = palloc0(sizeof(Performer));
	size_t size = offsetof(Order, command) + strlen(command) + 1;

	performer->segment = dsm_create(size, 0);
	dsm_pin_mapping(performer->segment);
	performer->order = dsm_segment_address(performer->segment);
	memset(performer->order, 0, offsetof(Order, command));
	pg_atomic_init_u32(&performer->order->state, ORDER_NONE);
	performer->order->database = MyDatabaseId;
	performer->order->owner = owner;
	performer->order->scheduler = MyProc;
	strcpy(performer->order->command, command);
	MemoryContextSwitchTo(before);
	return performer;
}

static bool
register_process(Performer *performer)
{
	MemoryContext before = MemoryContextSwitchTo(TopMemoryContext);
	bool registered =
		worker_register(is_task(performer) ? "task worker" : "refresh worker",
						"factory_performer_main", MyDatabaseId,
						UInt32GetDatum(dsm_segment_handle(performer->segment)),
						&performer->handle);

	if (registered)
		performers = lappend(performers, performer);
	MemoryContextSwitchTo(before);
	if (registered && !ending_at_exit)
	{
		before_shmem_exit(end_all, (Datum) 0);
		ending_at_exit = true;
	}
	return registered;
}

static void
give(Performer *performer, const RefreshRun *run)
{
	Order *order = performer->order;

	performer->run = *run;
	order->run = *run;
	order->failed = false;
	performer->told = false;
	performer->cancelled = false;
	pg_write_barrier();
	pg_atomic_write_u32(&order->state, ORDER_GIVEN);
}

/* False where it left meanwhile. */
static bool
give_to_warm(Performer *performer, const RefreshRun *run)
{
	uint32 none = ORDER_NONE;
	PGPROC *process;

	/* It may not leave while the order is being written: DONE is our turn. */
	if (!pg_atomic_compare_exchange_u32(&performer->order->state, &none, ORDER_DONE))
		return false;
	give(performer, run);
	/* One that comes just now writes its place, and then looks for an order. */
	pg_memory_barrier();
	process = performer->order->performer;
	if (process != NULL)
		SetLatch(&process->procLatch);
	return true;
}

static bool
start_performer(Oid owner, const char *command, const RefreshRun *run)
{
	Performer *performer = make_performer(owner, command);

	give(performer, run);
	if (register_process(performer))
		return true;
	dsm_detach(performer->segment);
	pfree(performer);
	return false;
}

bool
performers_give(const RefreshRun *run)
{
	ListCell *cell;

	if (max_refreshes == 0)
		return false;
	forget_gone();
	foreach (cell, performers)
	{
		Performer *performer = lfirst(cell);

		if (!is_task(performer) && state_of(performer) == ORDER_NONE &&
			give_to_warm(performer, run))
			return true;
	}
	return start_performer(InvalidOid, "", run);
}

int
performers_idle(void)
{
	ListCell *cell;
	int idle = 0;

	forget_gone();
	foreach (cell, performers)
		if (!is_task(lfirst(cell)) && state_of(lfirst(cell)) == ORDER_NONE)
			idle++;
	return idle;
}

/* Where no process can be had, that will be seen when there is an order. */
void
performers_warm(int wanted)
{
	int idle = performers_idle();

	for (wanted = Min(wanted, performers_free()); idle < wanted; idle++)
	{
		Performer *performer = make_performer(InvalidOid, "");

		if (register_process(performer))
			continue;
		dsm_detach(performer->segment);
		pfree(performer);
		return;
	}
}

bool
performers_start_task(const RefreshTask *task)
{
	return start_performer(task->owner, task->command, &task->run);
}

/* Once a run: it may take a while to end. */
static void
cancel(Performer *performer)
{
	pid_t pid;

	if (performer->cancelled || state_of(performer) != ORDER_GIVEN ||
		GetBackgroundWorkerPid(performer->handle, &pid) != BGWH_STARTED)
		return;
	performer->cancelled = true;
	kill(pid, SIGINT);
}

void
performers_cancel_task(int64 run)
{
	ListCell *cell;

	foreach (cell, performers)
	{
		Performer *performer = lfirst(cell);

		if (is_task(performer) && performer->run.id == run)
			cancel(performer);
	}
}

void
performers_cancel_refresh(Oid view)
{
	ListCell *cell;

	foreach (cell, performers)
	{
		Performer *performer = lfirst(cell);

		if (!is_task(performer) && performer->run.view == view)
			cancel(performer);
	}
}

/* --- outcomes ------------------------------------------------------------------------ */

static ErrorData *
outcome(const Performer *performer)
{
	const Order *order = performer->order;
	ErrorData *error;

	if (state_of(performer) == ORDER_DONE && !order->failed)
		return NULL;
	error = palloc0(sizeof(ErrorData));
	if (state_of(performer) == ORDER_DONE)
	{
		error->sqlerrcode = order->sqlstate;
		error->message = pstrdup(order->message);
		error->detail = order->detail[0] != '\0' ? pstrdup(order->detail) : NULL;
		if (performer->cancelled && order->sqlstate == ERRCODE_QUERY_CANCELED)
			error->message = pstrdup("cancelled, because it came due again");
		return error;
	}
	error->sqlerrcode = ERRCODE_ADMIN_SHUTDOWN;
	error->message = pstrdup("its process ended before it was done");
	error->detail = pstrdup("The server's log says why.");
	return error;
}

bool
performers_tell(PerformedFunction told)
{
	ListCell *cell;
	bool all = true;

	foreach (cell, performers)
	{
		Performer *performer = lfirst(cell);

		if (!is_over(performer))
			continue;
		pg_read_barrier();
		performer->told = told(&performer->run, is_task(performer), outcome(performer));
		all = all && performer->told;
	}
	return all;
}

/* Milliseconds until that run has to be in the books; -1 where it is, or is none. */
static long
until_mark(const Performer *performer)
{
	instr_time now;
	int64 age_ms;

	if (is_task(performer) || state_of(performer) != ORDER_GIVEN ||
		performer->run.id != 0)
		return -1;
	INSTR_TIME_SET_CURRENT(now);
	age_ms = ((int64) INSTR_TIME_GET_MICROSEC(now) - performer->run.began_us) / 1000;
	return Max(0, PERFORMER_MARK_MS - age_ms);
}

void
performers_mark_long(void)
{
	ListCell *cell;

	foreach (cell, performers)
		if (until_mark(lfirst(cell)) == 0)
			refresh_mark(&((Performer *) lfirst(cell))->run);
}

long
performers_until_mark(void)
{
	ListCell *cell;
	long nearest = -1;

	foreach (cell, performers)
	{
		long wait = until_mark(lfirst(cell));

		if (wait >= 0 && (nearest < 0 || wait < nearest))
			nearest = wait;
	}
	return nearest;
}

void
performers_remember_busy(void)
{
	ListCell *cell;

	foreach (cell, performers)
		if (!is_task(lfirst(cell)) && (state_of(lfirst(cell)) == ORDER_GIVEN ||
									   state_of(lfirst(cell)) == ORDER_DONE))
			refresh_set_busy(((Performer *) lfirst(cell))->run.view, true);
}

void
performers_forget_told(void)
{
	ListCell *cell;
	List *all = list_copy(performers);

	foreach (cell, all)
	{
		Performer *performer = lfirst(cell);

		if (!performer->told)
			continue;
		performer->told = false;
		if (is_task(performer) || has_ended(performer))
			let_go(performer);
		else
			pg_atomic_write_u32(&performer->order->state, ORDER_NONE);
	}
	list_free(all);
	forget_gone();
}

void
performers_wait_for_old(void)
{
	performers_lock(ExclusiveLock, false);
}
