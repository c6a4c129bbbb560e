/*
 * writer_start.c
 *		What the launcher does for writers: starts those that sessions ask for.
 */
#include "postgres.h"

#include "base/queue.h"
#include "miscadmin.h"
#include "utils/timestamp.h"
#include "worker/worker_int.h"

static StartedKind writers = {.kind = "writer",
							  .function = "factory_writer_main",
							  .failed = queue_start_failed};

void
writers_prepare(void)
{
	started_prepare(&writers, queue_max_databases);
	queue_set_launcher(MyLatch);
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

	started_notice_failed(&writers);
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
		{
			queue_start_begins(i);
			started_start(&writers, i, database);
		}
		else
			queue_forget(i);
	}
	return nearest;
}
