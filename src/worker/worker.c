/*
 * worker.c
 *		The table of databases that need a scheduler, and announcing work.
 *
 * Nothing polls: a session that changes schedules says so at commit, and that
 * wakes the scheduler, or the launcher where there is none yet.
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/compat.h"
#include "base/queue.h"
#include "base/settings.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/shmem.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"
#include "worker/worker_int.h"

#define LAUNCHER_RESTART_SECONDS 3

/* A scheduler that died is started again after this, doubled each time. */
#define RETRY_MS 1000
#define RETRY_DOUBLINGS 6

#define WORKER_TRANCHE "factory_worker"

WorkerShared *worker_shared = NULL;
int worker_max_databases = 64;

/* This transaction has changed what there is to do. */
static bool wake_at_commit = false;

static const Setting settings[] = {
	{"factory.max_databases",
	 "Sets how many databases of the server can have a scheduler at the same time.",
	 SETTING_INT, &worker_max_databases, .boot = 64, .min = 1, .max = 10000,
	 .context = PGC_POSTMASTER},
};

void
worker_define_settings(void)
{
	settings_define(settings, lengthof(settings));
	performers_define_settings();
	jobs_define_settings();
}

static Size
shared_size(void)
{
	return add_size(offsetof(WorkerShared, slots),
					mul_size(worker_max_databases, sizeof(WorkerSlot)));
}

void
worker_request_shmem(void)
{
	RequestAddinShmemSpace(add_size(shared_size(), job_slots_size()));
	RequestNamedLWLockTranche(WORKER_TRANCHE, 1);
}

void
worker_attach_shmem(void)
{
	bool found;

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	worker_shared = ShmemInitStruct("pg_factory workers", shared_size(), &found);
	if (!found)
	{
		memset(worker_shared, 0, shared_size());
		worker_shared->lock = &GetNamedLWLockTranche(WORKER_TRANCHE)->lock;
		ConditionVariableInit(&worker_shared->gone);
	}
	job_slots_attach();
	LWLockRelease(AddinShmemInitLock);
}

/* --- slots ------------------------------------------------------------------------ */

WorkerSlot *
slot_of_database(Oid database)
{
	for (int i = 0; i < worker_max_databases; i++)
		if (worker_shared->slots[i].database == database)
			return &worker_shared->slots[i];
	return NULL;
}

/* The database's slot, a new one in state FREE where it has none. */
WorkerSlot *
slot_take(Oid database)
{
	WorkerSlot *slot = slot_of_database(database);

	if (slot == NULL)
	{
		slot = slot_of_database(InvalidOid);
		if (slot == NULL)
			return NULL;
		memset(slot, 0, sizeof(*slot));
		slot->database = database;
	}
	return slot;
}

void
slot_enter(WorkerSlot *slot, SlotState state)
{
	slot->state = state;
	slot->since = GetCurrentTimestamp();
}

/* A bar must outlive the scheduler it ended. */
void
slot_release(WorkerSlot *slot)
{
	slot->pid = 0;
	slot->latch = NULL;
	slot->busy = false;
	slot->next_wake = 0;
	slot->rest[0] = '\0';
	slot_enter(slot, SLOT_FREE);
	if (slot->bars == 0)
		slot->database = InvalidOid;
}

bool
slot_is_barred(Oid database)
{
	WorkerSlot *slot;
	bool barred;

	LWLockAcquire(worker_shared->lock, LW_SHARED);
	slot = slot_of_database(database);
	barred = slot != NULL && slot->bars > 0;
	LWLockRelease(worker_shared->lock);
	return barred;
}

void
slot_try_later(WorkerSlot *slot)
{
	int doublings = Min(slot->failures, RETRY_DOUBLINGS);

	slot->failures++;
	slot_enter(slot, SLOT_WANTED);
	slot->not_before = TimestampTzPlusMilliseconds(slot->since, RETRY_MS << doublings);
}

void
launcher_wake(void)
{
	if (worker_shared->launcher_latch != NULL)
		SetLatch(worker_shared->launcher_latch);
}

/* --- announcing work ---------------------------------------------------------------- */

void
worker_announce(void)
{
	WorkerSlot *slot;

	LWLockAcquire(worker_shared->lock, LW_EXCLUSIVE);
	slot = slot_take(MyDatabaseId);
	if (slot != NULL)
	{
		slot->announced = true;
		if (slot->latch != NULL)
			SetLatch(slot->latch);
		else if (slot->state == SLOT_FREE)
		{
			slot_enter(slot, SLOT_WANTED);
			launcher_wake();
		}
	}
	else
		worker_shared->overlooked = true;
	LWLockRelease(worker_shared->lock);
}

static void
at_transaction_end(XactEvent event, void *argument)
{
	if (event == XACT_EVENT_COMMIT && wake_at_commit)
	{
		worker_announce();
		queue_wake_writer();
		job_runner_wake();
	}
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT)
	{
		wake_at_commit = false;
		job_runner_at_transaction_end(event == XACT_EVENT_COMMIT);
		database_unbar_all();
	}
}

/* Whether this database has a slot, or could get one. */
static bool
slot_is_possible(void)
{
	bool possible;

	LWLockAcquire(worker_shared->lock, LW_SHARED);
	possible =
		slot_of_database(MyDatabaseId) != NULL || slot_of_database(InvalidOid) != NULL;
	LWLockRelease(worker_shared->lock);
	return possible;
}

void
worker_wake_at_commit(void)
{
	if (worker_shared == NULL || wake_at_commit)
		return;
	if (!slot_is_possible())
		ereport(WARNING,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("no scheduler can be started for this database"),
				 errdetail("All %d places for databases are taken; it waits for one.",
						   worker_max_databases),
				 errhint("Raise \"factory.max_databases\" and restart the server.")));
	wake_at_commit = true;
}

FACTORY_FUNCTION(factory_wake_scheduler);

/* A trigger on the tables that say what there is to do. */
Datum
factory_wake_scheduler(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(
			ERROR,
			(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
			 errmsg(
				 "function \"factory.wake_scheduler\" can only be called as a trigger")));
	/* A scheduler looks again after everything it does. */
	if (!worker_is_scheduler)
		worker_wake_at_commit();
	PG_RETURN_POINTER(NULL);
}

/* --- the launcher's registration ------------------------------------------------------ */

void
worker_register_launcher(void)
{
	BackgroundWorker worker;

	memset(&worker, 0, sizeof(worker));
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = LAUNCHER_RESTART_SECONDS;
	strlcpy(worker.bgw_library_name, "pg_factory", sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, "factory_launcher_main",
			sizeof(worker.bgw_function_name));
	strlcpy(worker.bgw_name, "pg_factory launcher", BGW_MAXLEN);
	strlcpy(worker.bgw_type, "pg_factory launcher", BGW_MAXLEN);
	RegisterBackgroundWorker(&worker);
	RegisterXactCallback(at_transaction_end, NULL);
	database_install_hooks();
}

/* --- for SQL -------------------------------------------------------------------------- */

static const char *
slot_state_name(const WorkerSlot *slot)
{
	if (slot->bars > 0)
		return "barred";
	switch (slot->state)
	{
		case SLOT_FREE:
			return "free";
		case SLOT_WANTED:
			return slot->failures > 0 ? "restarting" : "wanted";
		case SLOT_STARTING:
			return "starting";
		case SLOT_RUNNING:
			if (slot->rest[0] != '\0')
				return psprintf("resting: %s", slot->rest);
			return slot->busy ? "refreshing" : "waiting";
	}
	return "unknown";
}

static void
put_row(ReturnSetInfo *result, const char *kind, Oid database, int pid, const char *state,
		TimestampTz since, TimestampTz next_wake)
{
	Datum values[] = {CStringGetTextDatum(kind),  ObjectIdGetDatum(database),
					  Int32GetDatum(pid),         CStringGetTextDatum(state),
					  TimestampTzGetDatum(since), TimestampTzGetDatum(next_wake)};
	bool nulls[] = {false,      !OidIsValid(database), pid == 0, false,
					since == 0, next_wake == 0};

	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

FACTORY_FUNCTION(factory_worker_slots);

Datum
factory_worker_slots(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	WorkerShared *copy = palloc(shared_size());

	InitMaterializedSRF(fcinfo, 0);
	LWLockAcquire(worker_shared->lock, LW_SHARED);
	memcpy(copy, worker_shared, shared_size());
	LWLockRelease(worker_shared->lock);

	put_row(result, "launcher", InvalidOid, copy->launcher_pid,
			copy->launcher_pid != 0 ? "waiting" : "not running", copy->launcher_since, 0);
	for (int i = 0; i < worker_max_databases; i++)
	{
		WorkerSlot *slot = &copy->slots[i];

		if (OidIsValid(slot->database))
			put_row(result, "scheduler", slot->database, slot->pid, slot_state_name(slot),
					slot->since, slot->next_wake);
	}
	for (int i = 0; i < worker_max_databases; i++)
	{
		Oid database;
		int pid;
		char *state;
		TimestampTz since;

		if (job_runner_info(i, &database, &pid, &state, &since))
			put_row(result, "job_runner", database, pid, state, since, 0);
	}
	for (int i = 0; i < queue_max_databases; i++)
	{
		QueueInfo info;

		if (queue_info(i, &info))
			put_row(result, "writer", info.database, info.pid, info.state, info.since, 0);
	}
	return (Datum) 0;
}
