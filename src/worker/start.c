/*
 * start.c
 *		What all our processes of a database have in common: how they are registered,
 *		started by the launcher, and the session they have.
 */
#include "postgres.h"

#include "base/compat.h"
#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "worker/worker_int.h"

bool
worker_register(const char *kind, const char *function, Oid database, Datum argument,
				BackgroundWorkerHandle **handle)
{
	MemoryContext caller = MemoryContextSwitchTo(TopMemoryContext);
	BackgroundWorker worker;
	bool registered;

	memset(&worker, 0, sizeof(worker));
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION |
					   COMPAT_BGWORKER_INTERRUPTIBLE;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	strlcpy(worker.bgw_library_name, "pg_factory", sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, function, sizeof(worker.bgw_function_name));
	snprintf(worker.bgw_name, BGW_MAXLEN, "pg_factory %s for database %u", kind,
			 database);
	snprintf(worker.bgw_type, BGW_MAXLEN, "pg_factory %s", kind);
	worker.bgw_notify_pid = MyProcPid;
	worker.bgw_main_arg = argument;
	memcpy(worker.bgw_extra, &database, sizeof(database));

	if (*handle != NULL)
		pfree(*handle);
	*handle = NULL;
	registered = RegisterDynamicBackgroundWorker(&worker, handle);
	MemoryContextSwitchTo(caller);
	return registered;
}

/* --- what the launcher starts ------------------------------------------------------------ */

void
started_prepare(StartedKind *started, int places)
{
	started->places = places;
	started->handles = MemoryContextAllocZero(TopMemoryContext,
											  places * sizeof(started->handles[0]) + 1);
}

void
started_start(StartedKind *started, int place, Oid database)
{
	if (worker_register(started->kind, started->function, database, Int32GetDatum(place),
						&started->handles[place]))
	{
		started->told = false;
		return;
	}
	started->failed(place);
	if (started->told)
		return;
	started->told = true;
	ereport(LOG,
			(errmsg("no background worker is free for a %s; trying again", started->kind),
			 errhint("Raise \"max_worker_processes\".")));
}

void
started_notice_failed(StartedKind *started)
{
	for (int i = 0; i < started->places; i++)
	{
		pid_t pid;

		if (started->handles[i] == NULL ||
			GetBackgroundWorkerPid(started->handles[i], &pid) != BGWH_STOPPED)
			continue;
		pfree(started->handles[i]);
		started->handles[i] = NULL;
		started->failed(i);
	}
}

/* --- what they have in common --------------------------------------------------------------- */

void
worker_connect(Oid database, const char *name)
{
	BackgroundWorkerInitializeConnectionByOid(database, InvalidOid, 0);
	SetConfigOption("application_name", name, PGC_USERSET, PGC_S_SESSION);
	/*
	 * Flushed here: what is to be done is written before the deed, also after a crash.
	 * But a standby that is away must not hold up work or a shutdown.
	 */
	SetConfigOption("synchronous_commit", "local", PGC_USERSET, PGC_S_SESSION);
	SetConfigOption("statement_timeout", "0", PGC_USERSET, PGC_S_SESSION);
	SetConfigOption("idle_in_transaction_session_timeout", "0", PGC_USERSET,
					PGC_S_SESSION);
	SetConfigOption("default_transaction_read_only", "off", PGC_USERSET, PGC_S_SESSION);
}
