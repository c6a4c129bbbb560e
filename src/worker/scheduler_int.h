/*
 * scheduler_int.h
 *		What the scheduler's files share.
 */
#ifndef FACTORY_SCHEDULER_INT_H
#define FACTORY_SCHEDULER_INT_H

#include "utils/elog.h"
#include "worker/worker_int.h"

/* False where the slot is no longer meant for us. */
extern bool scheduler_enter_slot(int i, Oid database);

/* From now on an announcement is news. */
extern void scheduler_begin_look(void);

/* Gives the slot up, unless work was announced since the last look. */
extern bool scheduler_give_up_slot(void);

extern void scheduler_show(bool busy, TimestampTz next_wake);

/* Shown in worker_status; a change is worth a line in the log.  NULL: at work. */
extern void scheduler_show_rest(const char *reason);
extern bool scheduler_rests(void);
extern const char *scheduler_rest(void);

/*
 * Bookkeeping: false where the extension has gone.  Waits for a DROP EXTENSION
 * without a snapshot.  A cancel is meant for a refresh: it waits for the next one
 * to begin, or is dropped where there is none.
 */
extern bool scheduler_begin(void);
extern void scheduler_end(void);

extern void scheduler_set_limit(const char *name, int milliseconds);

/* Ends a failed transaction; the error is copied into the context. */
extern ErrorData *scheduler_rescue(MemoryContext context);

/* A PerformedFunction.  A session that holds a schedule holds up no other view. */
extern bool scheduler_record(RefreshRun *run, bool is_task, const ErrorData *error);

/* Here and now: where performers are not wanted, or cannot be had. */
extern void scheduler_run_here(RefreshRun *run, MemoryContext context);

extern void scheduler_tidy_logs(void);

#endif /* FACTORY_SCHEDULER_INT_H */
