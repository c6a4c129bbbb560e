/*
 * job_slots.c
 *		A place in shared memory for each database that has jobs, and announcing them.
 *
 * As with schedulers nothing polls: who submits a job says so at commit, and that wakes
 * the database's runner, or the launcher where there is none yet.  All of it is under
 * the workers' lock.
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/compat.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "storage/shmem.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "worker/job_int.h"

/* A runner that died is started again after this, doubled each time. */
#define RETRY_MS 1000
#define RETRY_DOUBLINGS 6

typedef struct JobSlot
{
	SlotState state;
	Oid database; /* InvalidOid: the place is free */
	int pid;
	Latch *latch;
	bool announced;
	int failures;
	int calls; /* under way */
	TimestampTz since;
	TimestampTz not_before;
	char rest[REST_SIZE]; /* why it does nothing; empty where it works */
} JobSlot;

bool worker_is_job_runner = false;

static JobSlot *slots = NULL;
static JobSlot *my_slot = NULL;
static bool wake_at_commit = false;

Size
job_slots_size(void)
{
	return mul_size(worker_max_databases, sizeof(JobSlot));
}

void
job_slots_attach(void)
{
	bool found;

	slots = ShmemInitStruct("pg_factory job runners", job_slots_size(), &found);
	if (!found)
		memset(slots, 0, job_slots_size());
}

/* --- places: the caller holds the lock ------------------------------------------------------ */

static JobSlot *
slot_of(Oid database)
{
	for (int i = 0; i < worker_max_databases; i++)
		if (slots[i].database == database)
			return &slots[i];
	return NULL;
}

static JobSlot *
take_slot(Oid database)
{
	JobSlot *slot = slot_of(database);

	if (slot == NULL && (slot = slot_of(InvalidOid)) != NULL)
	{
		memset(slot, 0, sizeof(*slot));
		slot->database = database;
	}
	return slot;
}

static void
enter(JobSlot *slot, SlotState state)
{
	slot->state = state;
	slot->since = GetCurrentTimestamp();
}

/* Somebody needs the database empty. */
static bool
is_barred(Oid database)
{
	WorkerSlot *scheduler = slot_of_database(database);

	return scheduler != NULL && scheduler->bars > 0;
}

static void
want(Oid database)
{
	JobSlot *slot = take_slot(database);

	if (slot == NULL)
		return;
	slot->announced = true;
	if (slot->latch != NULL)
		SetLatch(slot->latch);
	else if (slot->state == SLOT_FREE)
	{
		enter(slot, SLOT_WANTED);
		launcher_wake();
	}
}

static void
try_later(JobSlot *slot)
{
	int doublings = Min(slot->failures, RETRY_DOUBLINGS);

	slot->failures++;
	enter(slot, SLOT_WANTED);
	slot->not_before = TimestampTzPlusMilliseconds(slot->since, RETRY_MS << doublings);
	launcher_wake();
}

/* --- announcing -------------------------------------------------------------------------------- */

void
job_runner_want(void)
{
	LWLockAcquire(worker_shared->lock, LW_EXCLUSIVE);
	want(MyDatabaseId);
	LWLockRelease(worker_shared->lock);
}

bool
job_runner_is_wanted(void)
{
	JobSlot *slot;
	bool wanted;

	LWLockAcquire(worker_shared->lock, LW_SHARED);
	slot = slot_of(MyDatabaseId);
	wanted = slot != NULL && slot->state != SLOT_FREE;
	LWLockRelease(worker_shared->lock);
	return wanted;
}

void
job_runner_wake(void)
{
	JobSlot *slot;

	LWLockAcquire(worker_shared->lock, LW_EXCLUSIVE);
	slot = slot_of(MyDatabaseId);
	if (slot != NULL && slot->latch != NULL)
	{
		slot->announced = true;
		SetLatch(slot->latch);
	}
	LWLockRelease(worker_shared->lock);
}

void
job_runner_at_transaction_end(bool committed)
{
	if (committed && wake_at_commit)
		job_runner_want();
	wake_at_commit = false;
}

bool
job_runner_ask_to_leave(Oid database)
{
	JobSlot *slot = slot_of(database);

	if (slot == NULL || slot->pid == 0)
		return false;
	kill(slot->pid, SIGTERM);
	return true;
}

FACTORY_FUNCTION(factory_wake_job_runner);

Datum
factory_wake_job_runner(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("function \"%s\" can only be called as a trigger",
							   "factory.wake_job_runner")));
	if (!worker_is_job_runner && worker_shared != NULL)
		wake_at_commit = true;
	PG_RETURN_POINTER(NULL);
}

/* --- for the launcher ---------------------------------------------------------------------------- */

static void
start_failed(int place)
{
	LWLockAcquire(worker_shared->lock, LW_EXCLUSIVE);
	if (slots[place].state == SLOT_STARTING)
		try_later(&slots[place]);
	LWLockRelease(worker_shared->lock);
}

static StartedKind runners = {.kind = "job runner",
							  .function = "factory_job_runner_main",
							  .failed = start_failed};

void
job_runners_prepare(void)
{
	started_prepare(&runners, worker_max_databases);
	LWLockAcquire(worker_shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < worker_max_databases; i++)
		if (slots[i].state == SLOT_STARTING)
			enter(&slots[i], SLOT_WANTED);
	LWLockRelease(worker_shared->lock);
}

/* The database whose runner is to be started now, or how long that one has to wait. */
static Oid
begin_start(JobSlot *slot, long *wait)
{
	TimestampTz now = GetCurrentTimestamp();
	Oid database = InvalidOid;

	*wait = -1;
	LWLockAcquire(worker_shared->lock, LW_EXCLUSIVE);
	if (slot->state == SLOT_WANTED)
	{
		if (is_barred(slot->database))
			; /* its end wakes the launcher */
		else if (slot->not_before > now)
			*wait = TimestampDifferenceMilliseconds(now, slot->not_before) + 1;
		else
		{
			database = slot->database;
			enter(slot, SLOT_STARTING);
		}
	}
	LWLockRelease(worker_shared->lock);
	return database;
}

static void
forget(int place)
{
	LWLockAcquire(worker_shared->lock, LW_EXCLUSIVE);
	memset(&slots[place], 0, sizeof(slots[place]));
	LWLockRelease(worker_shared->lock);
}

long
job_runners_start_wanted(void)
{
	long nearest = -1;

	started_notice_failed(&runners);
	for (int i = 0; i < worker_max_databases; i++)
	{
		long wait;
		Oid database = begin_start(&slots[i], &wait);

		if (OidIsValid(database) && launcher_serves(database))
			started_start(&runners, i, database);
		else if (OidIsValid(database))
			forget(i);
		else if (wait >= 0)
			nearest = nearest < 0 ? wait : Min(nearest, wait);
	}
	return nearest;
}

/* --- for the runner --------------------------------------------------------------------------------- */

bool
job_slot_enter(int place, Oid database)
{
	JobSlot *slot = &slots[place];
	bool mine;

	LWLockAcquire(worker_shared->lock, LW_EXCLUSIVE);
	mine = slot->state == SLOT_STARTING && slot->database == database && slot->pid == 0;
	if (mine && is_barred(database))
	{
		enter(slot, SLOT_WANTED);
		mine = false;
	}
	if (mine)
	{
		my_slot = slot;
		slot->pid = MyProcPid;
		slot->latch = MyLatch;
		slot->announced = true;
		enter(slot, SLOT_RUNNING);
	}
	LWLockRelease(worker_shared->lock);
	return mine;
}

bool
job_slot_leave(void)
{
	bool announced;

	LWLockAcquire(worker_shared->lock, LW_EXCLUSIVE);
	announced = my_slot->announced;
	if (!announced)
		memset(my_slot, 0, sizeof(*my_slot));
	LWLockRelease(worker_shared->lock);
	return !announced;
}

void
job_slot_abandon(void)
{
	LWLockAcquire(worker_shared->lock, LW_EXCLUSIVE);
	if (my_slot->pid == MyProcPid)
	{
		my_slot->pid = 0;
		my_slot->latch = NULL;
		my_slot->calls = 0;
		my_slot->rest[0] = '\0';
		try_later(my_slot);
	}
	LWLockRelease(worker_shared->lock);
	ConditionVariableBroadcast(&worker_shared->gone);
}

void
job_slot_begin_look(void)
{
	LWLockAcquire(worker_shared->lock, LW_EXCLUSIVE);
	my_slot->announced = false;
	LWLockRelease(worker_shared->lock);
}

bool
job_slot_announced(void)
{
	return my_slot->announced;
}

void
job_slot_show(int calls, const char *rest)
{
	LWLockAcquire(worker_shared->lock, LW_EXCLUSIVE);
	my_slot->calls = calls;
	if (calls > 0)
		my_slot->failures = 0;
	strlcpy(my_slot->rest, rest ? rest : "", REST_SIZE);
	LWLockRelease(worker_shared->lock);
}

/* --- for who looks on -------------------------------------------------------------------------------- */

static char *
state_words(const JobSlot *slot)
{
	switch (slot->state)
	{
		case SLOT_WANTED:
			return pstrdup(slot->failures > 0 ? "restarting" : "wanted");
		case SLOT_STARTING:
			return pstrdup("starting");
		default:
			break;
	}
	if (slot->rest[0] != '\0')
		return psprintf("resting: %s", slot->rest);
	if (slot->calls > 0)
		return psprintf("%d calls under way", slot->calls);
	return pstrdup("waiting");
}

bool
job_runner_info(int place, Oid *database, int *pid, char **state, TimestampTz *since)
{
	JobSlot slot;

	LWLockAcquire(worker_shared->lock, LW_SHARED);
	slot = slots[place];
	LWLockRelease(worker_shared->lock);
	if (!OidIsValid(slot.database) || slot.state == SLOT_FREE)
		return false;
	*database = slot.database;
	*pid = slot.pid;
	*state = state_words(&slot);
	*since = slot.since;
	return true;
}
