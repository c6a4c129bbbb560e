/*
 * refresh_int.h
 *		What the files of this room share.
 */
#ifndef FACTORY_REFRESH_INT_H
#define FACTORY_REFRESH_INT_H

#include "base/schedule.h"
#include "refresh/refresh.h"

/* What a schedule wants of the method. */
typedef enum RefreshWish
{
	WISH_ANY, /* concurrently where an index allows */
	WISH_CONCURRENT,
	WISH_FULL
} RefreshWish;

/* method.c: chooses method and reason by the catalogue as it is now. */
extern void refresh_choose_method(Oid view, RefreshWish wish, RefreshMethod *method,
								  char *reason);

/* The first index, by name, that REFRESH CONCURRENTLY can use; or InvalidOid. */
extern Oid refresh_usable_index(Oid view);

/* Whether this is a materialized view that still exists. */
extern bool refresh_is_view(Oid view);

/* "schema.name", quoted where needed. */
extern void refresh_view_name(Oid view, char *name);

/* unchanged.c: hints, kept in this process; never a proof. */
extern bool refresh_seems_unchanged(Oid view);
extern void refresh_remember_run(Oid view, bool succeeded);
extern void refresh_skip_to(Oid view, TimestampTz moment);
extern TimestampTz refresh_skipped_to(Oid view);

/* watch.c: raises where a view would wait for itself. */
extern void refresh_refuse_cycle(Oid view, List *after);

/* Puts a trigger on each table that the view reads, as the caller. */
extern void refresh_watch_sources(Oid view);

/* Settings factory.refresh_retries, refresh_retry_delay, refresh_pause_after. */
extern int refresh_retries;
extern int refresh_retry_delay_ms;
extern int refresh_pause_after;

/* Setting factory.refresh_history_runs. */
extern int refresh_history_runs;

/* run.c: records a run that begins now, and fills in its id. */
extern void refresh_record_start(RefreshRun *run);

#endif /* FACTORY_REFRESH_INT_H */
