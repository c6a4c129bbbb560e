/*
 * refresh.c
 *		Which schedule is due, and what that means now.
 *
 * Everything here is bookkeeping in short transactions; none is open while a view
 * is being refreshed.  What is due is found among the schedules of all tenants; what
 * follows is done as the house, for the tenant that the schedule is of.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "base/attempt.h"
#include "base/clock.h"
#include "base/compat.h"
#include "base/house.h"
#include "base/settings.h"
#include "catalog/namespace.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "refresh/refresh_int.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

/* A missed due time older than this is not caught up: policy "last", one day. */
#define REFRESH_CATCH_UP_WINDOW ((int64) USECS_PER_DAY)

static int timeout_ms = 0;
static int lock_timeout_ms = 0;
int refresh_history_runs = 0;

static const Setting settings[] = {
	{"factory.refresh_timeout",
	 "Sets the longest time that a scheduled refresh may take; 0 means no limit.",
	 SETTING_INT, &timeout_ms, .boot = 3600 * 1000, .min = 0, .max = INT_MAX,
	 .context = PGC_SIGHUP, .flags = GUC_UNIT_MS},
	{"factory.refresh_lock_timeout",
	 "Sets how long a scheduled refresh waits for its locks; 0 means no limit.",
	 SETTING_INT, &lock_timeout_ms, .boot = 60 * 1000, .min = 0, .max = INT_MAX,
	 .context = PGC_SIGHUP, .flags = GUC_UNIT_MS,
	 .detail = "While a plain refresh waits for its lock, readers of the view queue "
			   "behind it."},
	{"factory.refresh_history_runs", "Sets how many refresh runs a database remembers.",
	 SETTING_INT, &refresh_history_runs, .boot = 10000, .min = 1, .max = 10000000,
	 .context = PGC_SIGHUP},
};

void
refresh_define_settings(void)
{
	settings_define(settings, lengthof(settings));
}

int
refresh_timeout_ms(void)
{
	return timeout_ms;
}

int
refresh_lock_timeout_ms(void)
{
	return lock_timeout_ms;
}

/*
 * DROP EXTENSION locks the extension first and the tables after; so do we, or the
 * two could wait for each other.
 */
bool
refresh_is_installed(void)
{
	Oid extension = get_extension_oid("pg_factory", true);

	if (!OidIsValid(extension))
		return false;
	LockDatabaseObject(ExtensionRelationId, extension, 0, AccessShareLock);
	return get_extension_oid("pg_factory", true) == extension &&
		   OidIsValid(house_relation_if_exists("refresh_schedule"));
}

/* --- a schedule's row ----------------------------------------------------------- */

typedef struct DueSchedule
{
	char *tenant;
	Oid view;
	char *view_name;
	char *schedule;
	char *timezone;
	RefreshWish wish;
	TimestampTz due;
	TimestampTz now;
	TimestampTz next; /* computed */
	bool worth_it;    /* computed: not too late to catch up */
} DueSchedule;

static char *
row_text(HeapTuple row, TupleDesc shape, int column)
{
	return SPI_getvalue(row, shape, column);
}

static RefreshWish
wish_from(bool isnull, bool concurrent)
{
	if (isnull)
		return WISH_ANY;
	return concurrent ? WISH_CONCURRENT : WISH_FULL;
}

/*
 * The schedule that has been due longest, its row locked.  A row that a session
 * holds is passed over, so that nobody's open transaction stops the others.
 */
static bool
find_due(DueSchedule *due)
{
	Oid types[] = {TIMESTAMPTZOID};
	Datum values[] = {TimestampTzGetDatum(due->now)};
	HeapTuple row;
	TupleDesc shape;
	bool isnull;
	Datum value;

	SPI_execute_with_args("SELECT view::pg_catalog.oid, view_name, schedule, timezone, "
						  "concurrent, next_due, tenant_id FROM factory.refresh_schedule "
						  "WHERE enabled AND next_due <= $1 "
						  "ORDER BY next_due, view::pg_catalog.oid LIMIT 1 "
						  "FOR UPDATE SKIP LOCKED",
						  1, types, values, NULL, false, 1);
	if (SPI_processed == 0)
		return false;
	row = SPI_tuptable->vals[0];
	shape = SPI_tuptable->tupdesc;
	due->view = DatumGetObjectId(SPI_getbinval(row, shape, 1, &isnull));
	due->view_name = row_text(row, shape, 2);
	due->schedule = row_text(row, shape, 3);
	due->timezone = row_text(row, shape, 4);
	value = SPI_getbinval(row, shape, 5, &isnull);
	due->wish = wish_from(isnull, !isnull && DatumGetBool(value));
	due->due = DatumGetTimestampTz(SPI_getbinval(row, shape, 6, &isnull));
	due->tenant = row_text(row, shape, 7);
	return true;
}

/* The earliest due time of all; false where there is no schedule. */
static bool
find_next_due(TimestampTz *next_due)
{
	bool isnull;
	Datum value;

	SPI_execute("SELECT pg_catalog.min(next_due) FROM factory.refresh_schedule "
				"WHERE enabled",
				false, 1);
	value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
	*next_due = isnull ? DT_NOEND : DatumGetTimestampTz(value);
	return !isnull;
}

static void
move_on(const DueSchedule *due, const char *view_name)
{
	Oid types[] = {OIDOID, TIMESTAMPTZOID, TEXTOID};
	Datum values[] = {ObjectIdGetDatum(due->view), TimestampTzGetDatum(due->next),
					  CStringGetTextDatum(view_name)};

	SPI_execute_with_args("UPDATE factory.refresh_schedule "
						  "SET next_due = $2, view_name = $3 "
						  "WHERE view::pg_catalog.oid = $1",
						  3, types, values, NULL, false, 0);
}

/* --- what becomes of it ----------------------------------------------------------- */

/* Something was due and no run came of it: the history says why. */
static void
record_no_run(const DueSchedule *due, const char *status, const char *reason,
			  const ErrorData *error)
{
	Oid types[] = {OIDOID,  TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID,
				   TEXTOID, TEXTOID, TEXTOID,        TEXTOID};
	Datum values[] = {ObjectIdGetDatum(due->view),
					  CStringGetTextDatum(due->view_name),
					  TimestampTzGetDatum(due->due),
					  TimestampTzGetDatum(due->now),
					  CStringGetTextDatum(status),
					  CStringGetTextDatum(reason),
					  error ? CStringGetTextDatum(error->message) : (Datum) 0,
					  error ? CStringGetTextDatum(unpack_sql_state(error->sqlerrcode))
							: (Datum) 0};
	char nulls[] = {' ', ' ', ' ', ' ', ' ', ' ', error ? ' ' : 'n', error ? ' ' : 'n'};

	SPI_execute_with_args("INSERT INTO factory.refresh_run (view_oid, view, "
						  "scheduled_for, started_at, finished_at, duration_ms, status, "
						  "reason, error, sqlstate) "
						  "VALUES ($1, $2, $3, $4, $4, 0, $5, $6, $7, $8)",
						  8, types, values, nulls, false, 0);
}

static void
forget_dropped_view(const DueSchedule *due)
{
	Oid types[] = {OIDOID};
	Datum values[] = {ObjectIdGetDatum(due->view)};

	record_no_run(due, "skipped", "the view was dropped, and its schedule with it", NULL);
	SPI_execute_with_args("DELETE FROM factory.refresh_schedule "
						  "WHERE view::pg_catalog.oid = $1",
						  1, types, values, NULL, false, 0);
}

/* A schedule that cannot be computed any more would be due forever. */
static void
disable_unreadable(const DueSchedule *due, const ErrorData *error)
{
	Oid types[] = {OIDOID};
	Datum values[] = {ObjectIdGetDatum(due->view)};

	record_no_run(due, "failed", "the schedule cannot be read and is disabled", error);
	SPI_execute_with_args("UPDATE factory.refresh_schedule SET enabled = false "
						  "WHERE view::pg_catalog.oid = $1",
						  1, types, values, NULL, false, 0);
}

/* An AttemptBody: the text and the zone may have become unreadable. */
static void
compute_next(void *argument)
{
	DueSchedule *due = argument;
	Schedule *schedule = schedule_parse(due->schedule);
	pg_tz *zone = clock_zone(due->timezone);

	due->next = schedule_next(schedule, due->now, zone);
	due->worth_it =
		schedule_next(schedule, due->now - REFRESH_CATCH_UP_WINDOW, zone) <= due->now;
}

static void
begin_run(const DueSchedule *due, bool missed, RefreshRun *run)
{
	char reason[REFRESH_REASON_SIZE];

	strlcpy(run->tenant, due->tenant, sizeof(run->tenant));
	run->view = due->view;
	run->scheduled_for = due->due;
	refresh_view_name(due->view, run->view_name);
	refresh_choose_method(due->view, due->wish, &run->method, reason);
	snprintf(run->reason, sizeof(run->reason), "%s%s",
			 missed ? "caught up, nobody was there when it was due; " : "", reason);
	refresh_record_start(run);
	move_on(due, run->view_name);
}

static RefreshClaim
settle_due(DueSchedule *due, TimestampTz serving_since, RefreshRun *run)
{
	bool missed = due->due < serving_since;
	ErrorData *error;

	if (!refresh_is_view(due->view))
	{
		forget_dropped_view(due);
		return REFRESH_CLAIM_SETTLED;
	}
	error = attempt(compute_next, due);
	if (error != NULL)
	{
		disable_unreadable(due, error);
		return REFRESH_CLAIM_SETTLED;
	}
	if (missed && !due->worth_it)
	{
		record_no_run(due, "skipped", "missed more than a day ago", NULL);
		move_on(due, due->view_name);
		return REFRESH_CLAIM_SETTLED;
	}
	begin_run(due, missed, run);
	return REFRESH_CLAIM_RUN;
}

RefreshClaim
refresh_claim(TimestampTz serving_since, RefreshRun *run, TimestampTz *next_due)
{
	DueSchedule due = {.now = clock_now()};
	RefreshClaim claim;
	HouseRights saved;

	memset(run, 0, sizeof(*run));
	SPI_connect();
	house_enter_for_all(&saved);
	if (find_due(&due))
		claim = REFRESH_CLAIM_RUN;
	else if (find_next_due(next_due))
		claim = REFRESH_CLAIM_WAIT;
	else
		claim = REFRESH_CLAIM_NOTHING;
	house_leave(&saved);
	if (claim == REFRESH_CLAIM_RUN)
	{
		tenant_act_for(due.tenant);
		house_enter(&saved);
		claim = settle_due(&due, serving_since, run);
		house_leave(&saved);
	}
	SPI_finish();
	return claim;
}

/*
 * A lost run is due again at once, but only once: a view that brings the server
 * down must not do so for ever.
 */
void
refresh_settle_lost(void)
{
	Oid types[] = {TIMESTAMPTZOID};
	Datum values[] = {TimestampTzGetDatum(clock_now())};
	HouseRights saved;

	house_enter_for_all(&saved);
	SPI_connect();
	SPI_execute_with_args(
		"WITH lost AS (UPDATE factory.refresh_run SET status = 'failed', "
		"finished_at = $1, error = 'server stopped', sqlstate = '57P01' "
		"WHERE status = 'running' RETURNING view_oid, scheduled_for, reason) "
		"UPDATE factory.refresh_schedule AS s "
		"SET next_due = least(s.next_due, lost.scheduled_for) FROM lost "
		"WHERE s.view::pg_catalog.oid = lost.view_oid AND lost.scheduled_for IS NOT NULL "
		"AND lost.reason NOT LIKE 'caught up%'",
		1, types, values, NULL, false, 0);
	SPI_finish();
	house_leave(&saved);
}

bool
refresh_is_wanted(void)
{
	bool wanted;

	SPI_connect();
	SPI_execute("SELECT FROM factory.refresh_schedule WHERE enabled LIMIT 1", true, 1);
	wanted = SPI_processed > 0;
	SPI_finish();
	return wanted;
}
