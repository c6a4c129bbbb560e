/*
 * launcher.c
 *		One process a server: sees to it that every database with something to do
 *		has a scheduler, and every one whose sessions hand over rows a writer.
 *
 * It belongs to no database, so it stands in nobody's way.  When it starts (with
 * the server, after a crash, on promotion) nothing is known about the databases:
 * it has each looked into once, by a scheduler that leaves where it finds nothing.
 * From then on sessions announce what they schedule.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "base/compat.h"
#include "base/queue.h"
#include "catalog/pg_database.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "tcop/tcopprot.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/relcache.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "worker/worker_int.h"

static uint32 wait_event = 0;

/* Databases that are looked into at the same time. */
#define LAUNCHER_LOOKS_AT_ONCE 3

/* Databases that nobody has looked into yet. */
static List *unseen = NIL;

/* --- databases ------------------------------------------------------------------------ */

static bool
database_is_served(Form_pg_database database)
{
	return database->datallowconn && !database->datistemplate &&
		   database->datconnlimit != DATCONNLIMIT_INVALID_DB;
}

static void
list_databases(MemoryContext context)
{
	Relation relation;
	TableScanDesc scan;
	HeapTuple tuple;

	StartTransactionCommand();
	(void) GetTransactionSnapshot();
	relation = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(relation, 0, NULL);
	while ((tuple = heap_getnext(scan, ForwardScanDirection)) != NULL)
	{
		Form_pg_database database = (Form_pg_database) GETSTRUCT(tuple);
		MemoryContext before;

		if (!database_is_served(database))
			continue;
		before = MemoryContextSwitchTo(context);
		unseen = lappend_oid(unseen, database->oid);
		MemoryContextSwitchTo(before);
	}
	table_endscan(scan);
	table_close(relation, AccessShareLock);
	CommitTransactionCommand();
	MemoryContextSwitchTo(context);
}

/*
 * Asks the table and not the cache: who changed the database wakes us at commit, and its
 * invalidations are sent a moment later.  A new server has no index that can be read
 * without a database.
 */
bool
launcher_serves(Oid database)
{
	MemoryContext before = CurrentMemoryContext;
	Relation relation;
	SysScanDesc scan;
	ScanKeyData key;
	HeapTuple tuple;
	bool served;

	StartTransactionCommand();
	relation = table_open(DatabaseRelationId, AccessShareLock);
	ScanKeyInit(&key, Anum_pg_database_oid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(database));
	scan = systable_beginscan(relation, DatabaseOidIndexId, criticalSharedRelcachesBuilt,
							  NULL, 1, &key);
	tuple = systable_getnext(scan);
	served = HeapTupleIsValid(tuple) &&
			 database_is_served((Form_pg_database) GETSTRUCT(tuple));
	systable_endscan(scan);
	table_close(relation, AccessShareLock);
	CommitTransactionCommand();
	MemoryContextSwitchTo(before);
	return served;
}

/* --- starting ------------------------------------------------------------------------- */

static void
start_failed(int place)
{
	WorkerSlot *slot = &worker_shared->slots[place];

	LWLockAcquire(worker_shared->lock, LW_EXCLUSIVE);
	if (slot->state == SLOT_STARTING)
		slot_try_later(slot);
	LWLockRelease(worker_shared->lock);
}

static StartedKind schedulers = {.kind = "scheduler",
								 .function = "factory_scheduler_main",
								 .failed = start_failed};

/* Puts databases nobody has looked into onto the table, a few at a time. */
static void
want_looks(void)
{
	int looking = 0;

	LWLockAcquire(worker_shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < worker_max_databases; i++)
		if (worker_shared->slots[i].state == SLOT_WANTED ||
			worker_shared->slots[i].state == SLOT_STARTING)
			looking++;
	while (unseen != NIL && looking < LAUNCHER_LOOKS_AT_ONCE)
	{
		WorkerSlot *slot = slot_take(linitial_oid(unseen));

		if (slot == NULL)
			break;
		unseen = list_delete_first(unseen);
		if (slot->state != SLOT_FREE)
			continue;
		slot_enter(slot, SLOT_WANTED);
		looking++;
	}
	LWLockRelease(worker_shared->lock);
}

/* A place is free and some announcement found none: nobody knows whose it was. */
static bool
somebody_was_overlooked(void)
{
	bool look;

	LWLockAcquire(worker_shared->lock, LW_EXCLUSIVE);
	look = worker_shared->overlooked && unseen == NIL &&
		   slot_of_database(InvalidOid) != NULL;
	if (look)
		worker_shared->overlooked = false;
	LWLockRelease(worker_shared->lock);
	return look;
}

/* Marks a wanted slot as starting; InvalidOid where it is not its turn. */
static Oid
begin_start(WorkerSlot *slot, TimestampTz now)
{
	Oid database = InvalidOid;

	LWLockAcquire(worker_shared->lock, LW_EXCLUSIVE);
	if (slot->state == SLOT_WANTED && slot->bars == 0 && slot->not_before <= now)
	{
		database = slot->database;
		slot->announced = false;
		slot_enter(slot, SLOT_STARTING);
	}
	LWLockRelease(worker_shared->lock);
	return database;
}

static void
start_wanted(void)
{
	TimestampTz now = GetCurrentTimestamp();

	for (int i = 0; i < worker_max_databases; i++)
	{
		WorkerSlot *slot = &worker_shared->slots[i];
		Oid database = begin_start(slot, now);

		if (!OidIsValid(database))
			continue;
		if (launcher_serves(database))
			started_start(&schedulers, i, database);
		else
		{
			LWLockAcquire(worker_shared->lock, LW_EXCLUSIVE);
			if (slot->announced)
			{
				slot_enter(slot, SLOT_WANTED);
				launcher_wake();
			}
			else
				slot_release(slot);
			LWLockRelease(worker_shared->lock);
		}
	}
}

/* Milliseconds until a wanted slot may be tried again; -1 where none waits. */
static long
time_to_next_try(void)
{
	TimestampTz now = GetCurrentTimestamp();
	long nearest = -1;

	LWLockAcquire(worker_shared->lock, LW_SHARED);
	for (int i = 0; i < worker_max_databases; i++)
	{
		WorkerSlot *slot = &worker_shared->slots[i];
		long wait;

		if (slot->state != SLOT_WANTED || slot->bars > 0)
			continue;
		wait = TimestampDifferenceMilliseconds(now, slot->not_before) + 1;
		if (nearest < 0 || wait < nearest)
			nearest = wait;
	}
	LWLockRelease(worker_shared->lock);
	return nearest;
}

/* --- the process ------------------------------------------------------------------------ */

static void
leave_table(int code, Datum argument)
{
	LWLockAcquire(worker_shared->lock, LW_EXCLUSIVE);
	if (worker_shared->launcher_pid == MyProcPid)
	{
		worker_shared->launcher_pid = 0;
		worker_shared->launcher_latch = NULL;
		worker_shared->launcher_since = 0;
	}
	LWLockRelease(worker_shared->lock);
	queue_set_launcher(NULL);
}

/* Starts that a launcher before us left without knowing how they ended. */
static void
take_table(void)
{
	on_shmem_exit(leave_table, (Datum) 0);
	LWLockAcquire(worker_shared->lock, LW_EXCLUSIVE);
	worker_shared->launcher_pid = MyProcPid;
	worker_shared->launcher_latch = MyLatch;
	worker_shared->launcher_since = GetCurrentTimestamp();
	for (int i = 0; i < worker_max_databases; i++)
		if (worker_shared->slots[i].state == SLOT_STARTING)
			slot_enter(&worker_shared->slots[i], SLOT_WANTED);
	LWLockRelease(worker_shared->lock);
}

void
factory_launcher_main(Datum argument)
{
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	started_prepare(&schedulers, worker_max_databases);
	take_table();
	writers_prepare();
	job_runners_prepare();
	MemoryContextSwitchTo(TopMemoryContext);
	list_databases(TopMemoryContext);

	for (;;)
	{
		long timeout, others;

		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}
		started_notice_failed(&schedulers);
		if (somebody_was_overlooked())
			list_databases(TopMemoryContext);
		want_looks();
		start_wanted();
		timeout = time_to_next_try();
		others = writers_start_wanted();
		if (others >= 0)
			timeout = timeout < 0 ? others : Min(timeout, others);
		others = job_runners_start_wanted();
		if (others >= 0)
			timeout = timeout < 0 ? others : Min(timeout, others);
		pgstat_report_activity(STATE_IDLE, NULL);
		(void) WaitLatch(MyLatch,
						 WL_LATCH_SET | WL_EXIT_ON_PM_DEATH |
							 (timeout >= 0 ? WL_TIMEOUT : 0),
						 timeout, compat_named_wait(&wait_event, "FactoryLauncherMain"));
	}
}
