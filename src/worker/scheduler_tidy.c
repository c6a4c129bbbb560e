/*
 * scheduler_tidy.c
 *		Once a day: months of the logs are made ahead, and old ones dropped.
 */
#include "postgres.h"

#include "base/attempt.h"
#include "base/months.h"
#include "miscadmin.h"
#include "worker/scheduler_int.h"

/* The audit log's readers are not held up longer than this. */
#define TIDY_LOCK_TIMEOUT_MS 1000

/*
 * To the server the end of a lock_timeout is a cancel, which bookkeeping lets wait: else
 * a reader of a log would hold up the scheduler, and whoever comes behind it for the
 * log's lock.
 */
static void
let_limits_through(void)
{
	RESUME_CANCEL_INTERRUPTS();
}

static void
hold_cancels(void)
{
	HOLD_CANCEL_INTERRUPTS();
}

static void
drop_months(void *log)
{
	months_drop_old(*(int *) log);
}

static void
drop_old(int log)
{
	ErrorData *error;

	let_limits_through();
	error = attempt(drop_months, &log);
	hold_cancels();
	if (error != NULL)
		ereport(LOG, (errmsg("could not drop old months: %s", error->message)));
}

/* Once a day: months ahead are made, and those that are old enough go. */
void
scheduler_tidy_logs(void)
{
	scheduler_set_limit("lock_timeout", TIDY_LOCK_TIMEOUT_MS);
	if (scheduler_begin())
	{
		let_limits_through();
		months_make();
		hold_cancels();
	}
	scheduler_end();
	/* One that somebody is reading keeps no other from going. */
	for (int i = 0; i < months_log_count(); i++)
	{
		if (scheduler_begin())
			drop_old(i);
		scheduler_end();
	}
	scheduler_set_limit("lock_timeout", 0);
}
