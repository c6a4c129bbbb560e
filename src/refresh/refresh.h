/*
 * refresh.h
 *		Materialized views that keep themselves fresh: what is due, and a run.
 *
 * The functions below run inside a transaction of the caller's.
 */
#ifndef FACTORY_REFRESH_H
#define FACTORY_REFRESH_H

#include "base/tenant.h"
#include "datatype/timestamp.h"
#include "nodes/pg_list.h"
#include "utils/elog.h"
#include "utils/palloc.h"

/* A qualified name of two quoted identifiers, each character doubled at worst. */
#define REFRESH_NAME_SIZE (4 * NAMEDATALEN + 8)
#define REFRESH_REASON_SIZE 512

typedef enum RefreshMethod
{
	REFRESH_FULL,
	REFRESH_CONCURRENT
} RefreshMethod;

/* One run, claimed and not yet settled.  Fixed size: it outlives transactions. */
typedef struct RefreshRun
{
	int64 id; /* 0: not in the books yet */
	char tenant[TENANT_NAME_MAX + 1];
	Oid view;
	char view_name[REFRESH_NAME_SIZE];
	RefreshMethod method;
	char reason[REFRESH_REASON_SIZE];
	TimestampTz scheduled_for; /* 0: nobody scheduled it, somebody asked */
	bool moves;                /* its end, or its mark, moves the schedule on to next */
	TimestampTz next;          /* DT_NOEND where no time is named */
	TimestampTz started;
	int64 began_us;      /* on the monotonic clock */
	int timeout_ms;      /* 0 for no limit */
	int lock_timeout_ms; /* 0 for no limit */
} RefreshRun;

/* A command of its owner's, claimed; its run has its name for a view's. */
typedef struct RefreshTask
{
	RefreshRun run;
	Oid owner;
	char *command;
	int64 instead_of; /* a run of the same task that shall be cancelled first; or 0 */
} RefreshTask;

typedef enum RefreshClaim
{
	REFRESH_CLAIM_RUN,     /* a run to do */
	REFRESH_CLAIM_SETTLED, /* something was due and needs no run; claim again */
	REFRESH_CLAIM_WAIT,    /* nothing is due before *next_due */
	REFRESH_CLAIM_NOTHING  /* there is no schedule at all */
} RefreshClaim;

extern void refresh_define_settings(void);

/*
 * Whether the extension is there.  Keeps it there until the transaction ends, so
 * call this first in every transaction that touches our tables.
 */
extern bool refresh_is_installed(void);

/* Settles the runs that a stopped server or worker left behind: all but the alive. */
extern void refresh_settle_lost(Datum alive_refreshes, Datum alive_tasks);

/* What was changed makes due what awaits changes; before claims. */
extern void refresh_take_changes(void);

/*
 * The views that came due again while somebody refreshes them, and whose schedules say
 * to cancel that.  *next_due becomes earlier where one comes due later.
 */
extern List *refresh_overdue(TimestampTz *next_due, MemoryContext context);

/* Somebody refreshes that view: it is not claimed, nor what reads it. */
extern void refresh_set_busy(Oid view, bool busy);
extern void refresh_forget_busy(void);

/*
 * Takes the next due schedule.  What was due before serving_since was missed: it is
 * caught up once.  The run comes into the books when it ends, or by refresh_mark(); at
 * once where its schedule has to be moved on before it begins.
 */
extern RefreshClaim refresh_claim(TimestampTz serving_since, RefreshRun *run,
								  TimestampTz *next_due);

/* How many views are due next at the same time, as the last claim saw it, and when. */
extern int refresh_due_next(TimestampTz *moment);

/*
 * The tasks that are due, at most so many: each is recorded as running and moved on.
 * *next_due becomes earlier where the next task is.
 */
extern List *task_claim(TimestampTz serving_since, int most, TimestampTz *next_due,
						MemoryContext context);

/* A run that could not begin: its task is due again, as if it had not been claimed. */
extern void task_put_back(const RefreshRun *run);

/* Records how a task's run ended. */
extern void task_record(const RefreshRun *run, const ErrorData *error);

/* Refreshes the view.  Touches none of our tables; raises as REFRESH does. */
extern void refresh_perform(const RefreshRun *run);

/* A run that is not in the books and goes on: whatever happens, it will be known. */
extern void refresh_mark(RefreshRun *run);

/* Whether a session holds the view's schedule: who records its run would wait for that. */
extern bool refresh_schedule_is_held(Oid view);

/* Records how it ended: error is NULL where it worked. */
extern void refresh_record(RefreshRun *run, const ErrorData *error);

/* Whether any tenant has anything scheduled; for workers. */
extern bool refresh_is_wanted(void);

#endif /* FACTORY_REFRESH_H */
