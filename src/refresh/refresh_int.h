/*
 * refresh_int.h
 *		What the files of this room share.
 */
#ifndef FACTORY_REFRESH_INT_H
#define FACTORY_REFRESH_INT_H

#include "base/schedule.h"
#include "refresh/refresh.h"
#include "storage/itemptr.h"

/* What a schedule wants of the method. */
typedef enum RefreshWish
{
	WISH_ANY, /* concurrently where an index allows */
	WISH_CONCURRENT,
	WISH_FULL
} RefreshWish;

typedef struct DueSchedule
{
	char *tenant;
	Oid view;
	char *view_name;
	char *times; /* NULL where no times are named */
	char *timezone;
	char *why;
	char *catch_up;
	char *holidays;
	RefreshWish wish;
	bool by_events;    /* others write, too, when it is due, while it runs */
	int64 window_usec; /* missed due times older than this are not caught up */
	int64 jitter_usec;
	int64 within_usec;
	int timeout_ms;
	int lock_timeout_ms;
	TimestampTz due;
	TimestampTz wave; /* the same, or when it was to be looked at again after a skip */
	TimestampTz now;
	TimestampTz next; /* computed; DT_NOEND where no time is named */
	bool worth_it;    /* computed: not too late to catch up */
} DueSchedule;

/* SPI_execute_with_args for constant texts: each is prepared once a process. */
extern int refresh_query(const char *query, int count, Oid *types, Datum *values,
						 const char *nulls, bool read_only, long limit);

/* next_due.c: an AttemptBody on a DueSchedule that computes next and worth_it. */
extern void refresh_compute_next(void *due);

/* Whether the time at which it came due is on a holiday of its calendar. */
extern bool refresh_rests(const DueSchedule *due);

/*
 * due.c: reads the schedule that has been due longest; else tells when the next is.
 * As the house for all tenants, inside SPI.
 */
extern RefreshClaim refresh_find_due(DueSchedule *due, TimestampTz *next_due);

/* Rows were written, or time has passed: what is due has to be read again. */
extern void refresh_forget_due(void);

/* That view is skipped, which writes no row: what is due is still known. */
extern void refresh_skip_due(Oid view, TimestampTz next);

/* What listeners of the house hear on. */
#define REFRESH_CHANNEL "factory_events"

/* method.c: chooses method and reason by the catalogue as it is now. */
extern void refresh_choose_method(Oid view, RefreshWish wish, RefreshMethod *method,
								  char *reason);

/* The first index, by name, that REFRESH CONCURRENTLY can use; or InvalidOid. */
extern Oid refresh_usable_index(Oid view);

/* Whether this is a materialized view that still exists. */
extern bool refresh_is_view(Oid view);

/* "schema.name", quoted where needed. */
extern void refresh_view_name(Oid view, char *name);

/* What a view reads; good until the next lock, or whatever else takes invalidations. */
typedef struct RefreshSources
{
	List *views;   /* materialized ones, through others, too */
	List *tables;  /* whose rows it is made of: leaves of partitioned ones, mat. views */
	bool tell;     /* as long as no row of these changes, it says the same */
	int64 edition; /* another one: a definition has changed */
} RefreshSources;

/* As Unix has it, to the microsecond for some centuries: for metrics. */
static inline double
refresh_moment_seconds(TimestampTz moment)
{
	return moment / (double) USECS_PER_SEC +
		   (double) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * SECS_PER_DAY;
}

/* sources.c: inside SPI, as one who may call factory.view_sources. */
extern const RefreshSources *refresh_sources(Oid view);
extern void refresh_forget_sources(Oid view);

/* unchanged.c: hints, kept in this process; never a proof. */
extern bool refresh_seems_unchanged(Oid view);
extern void refresh_remember_run(Oid view, bool succeeded);
extern void refresh_forget_view(Oid view); /* it was dropped */
extern void refresh_note_check(Oid view, TimestampTz moment);
extern TimestampTz refresh_checked_at(Oid view);
extern void refresh_skip_to(Oid view, TimestampTz moment);
extern TimestampTz refresh_skipped_to(Oid view);
extern bool refresh_is_busy(Oid view);

/* A view that is due waits until that source of its has been refreshed. */
extern void refresh_await(Oid view, Oid source);
extern bool refresh_awaits_busy(Oid view);

/* watch.c: raises where a view would wait for itself. */
extern void refresh_refuse_cycle(Oid view, List *after);

/* Puts a trigger on each table that the view reads, as the caller. */
extern void refresh_watch_sources(Oid view);

/* The settings of these names. */
extern int refresh_timeout_ms;
extern int refresh_lock_timeout_ms;
extern int refresh_retries;
extern int refresh_retry_delay_ms;
extern int refresh_pause_after;

/* Setting factory.refresh_history_runs. */
extern int refresh_history_runs;

/* Setting factory.refresh_history_days. */
extern int refresh_history_days;

/* Message and detail, as a person would read them. */
extern Datum refresh_error_text(const ErrorData *error);

/* A history that is bounded: what to delete up to run $1, or what began before $2. */
typedef struct RefreshHistory
{
	const char *by_number;
	const char *by_age;
	int runs;           /* since the last look at the number */
	int days;           /* what the limit was at the last look at the age */
	TimestampTz looked; /* when that was */
} RefreshHistory;

/* After each run. */
extern void refresh_prune(RefreshHistory *history, int64 newest);

/* run.c: a run begins; and into the books with it, which fills in its id. */
extern void refresh_begin(RefreshRun *run);
extern void refresh_record_start(RefreshRun *run);

/* That, and its schedule is moved on: durably.  Inside SPI, as the house. */
extern void refresh_mark_now(RefreshRun *run);

/* held.c: whether a session that has not ended its transaction holds that row. */
extern bool refresh_row_is_held(ItemPointer row);

#endif /* FACTORY_REFRESH_INT_H */
