/*
 * writer_start.c
 *		What the launcher does for writers: starts those that sessions ask for.
 */
#include "postgres.h"

#include "base/compat.h"
#include "base/queue.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "worker/worker_int.h"

static BackgroundWorkerHandle **handles;

void
writers_prepare(void)
{
	handles = MemoryContextAllocZero(TopMemoryContext,
									 queue_max_databases * sizeof(handles[0]) + 1);
	queue_set_launcher(MyLatch);
}

static void
start_writer(int place, Oid database)
{
	queue_start_begins(place);
	if (!worker_register("writer", "factory_writer_main", database, Int32GetDatum(place),
						 &handles[place]))
	{
		queue_start_failed(place);
		ereport(LOG, (errmsg("no background worker is free for a writer; trying again"),
					  errhint("Raise \"max_worker_processes\".")));
	}
}

/* A process that ended before it could take its place. */
static void
notice_failed_starts(void)
{
	for (int i = 0; i < queue_max_databases; i++)
	{
		pid_t pid;

		if (handles[i] == NULL ||
			GetBackgroundWorkerPid(handles[i], &pid) != BGWH_STOPPED)
			continue;
		pfree(handles[i]);
		handles[i] = NULL;
		queue_start_failed(i);
	}
}

/* Milliseconds until one may be started; 0 for now. */
static long
time_until(TimestampTz moment)
{
	TimestampTz now = GetCurrentTimestamp();

	return moment <= now ? 0 : TimestampDifferenceMilliseconds(now, moment) + 1;
}

long
writers_start_wanted(void)
{
	long nearest = -1;

	notice_failed_starts();
	for (int i = 0; i < queue_max_databases; i++)
	{
		TimestampTz not_before;
		Oid database;
		long wait;

		if (!queue_wants_writer(i, &database, &not_before) || slot_is_barred(database))
			continue;
		wait = time_until(not_before);
		if (wait > 0)
			nearest = nearest < 0 ? wait : Min(nearest, wait);
		else if (launcher_serves(database))
			start_writer(i, database);
		else
			queue_forget(i);
	}
	return nearest;
}
