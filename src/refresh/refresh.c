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
#include "base/errors.h"
#include "base/house.h"
#include "base/settings.h"
#include "catalog/namespace.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "common/hashfn.h"
#include "executor/spi.h"
#include "metrics/metrics.h"
#include "miscadmin.h"
#include "refresh/refresh_int.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

/* Policy "all" catches up the last so many. */
#define REFRESH_MAX_CATCH_UP 100

/* Due times in a row that may be holidays. */
#define REFRESH_MAX_HOLIDAYS 1000

int refresh_timeout_ms = 0;
int refresh_lock_timeout_ms = 0;
int refresh_history_runs = 0;
int refresh_history_days = 0;
int refresh_retries = 0;
int refresh_retry_delay_ms = 0;
int refresh_pause_after = 0;

static const Setting settings[] = {
	{"factory.refresh_timeout",
	 "Sets the longest time that a scheduled refresh may take; 0 means no limit.",
	 SETTING_INT, &refresh_timeout_ms, .boot = 3600 * 1000, .min = 0, .max = INT_MAX,
	 .context = PGC_SIGHUP, .flags = GUC_UNIT_MS},
	{"factory.refresh_lock_timeout",
	 "Sets how long a scheduled refresh waits for its locks; 0 means no limit.",
	 SETTING_INT, &refresh_lock_timeout_ms, .boot = 60 * 1000, .min = 0, .max = INT_MAX,
	 .context = PGC_SIGHUP, .flags = GUC_UNIT_MS,
	 .detail = "While a plain refresh waits for its lock, readers of the view queue "
			   "behind it."},
	{"factory.refresh_retries",
	 "Sets how often a scheduled refresh that failed is tried again.", SETTING_INT,
	 &refresh_retries, .boot = 3, .min = 0, .max = 1000, .context = PGC_SIGHUP},
	{"factory.refresh_retry_delay",
	 "Sets the pause before the first retry of a refresh; it doubles with each further.",
	 SETTING_INT, &refresh_retry_delay_ms, .boot = 60 * 1000, .min = 0,
	 .max = 24 * 3600 * 1000, .context = PGC_SIGHUP, .flags = GUC_UNIT_MS},
	{"factory.refresh_pause_after",
	 "Sets after how many failures in a row, retries included each time, a schedule is "
	 "paused; 0 means never.",
	 SETTING_INT, &refresh_pause_after, .boot = 5, .min = 0, .max = 1000,
	 .context = PGC_SIGHUP},
	{"factory.refresh_history_days",
	 "Sets for how many days runs of refreshes and tasks are remembered.", SETTING_INT,
	 &refresh_history_days, .boot = 90, .min = 1, .max = 36500, .context = PGC_SIGHUP},
	{"factory.refresh_history_runs",
	 "Sets how many runs of refreshes, and how many of tasks, a database remembers.",
	 SETTING_INT, &refresh_history_runs, .boot = 10000, .min = 1, .max = 10000000,
	 .context = PGC_SIGHUP},
};

void
refresh_define_settings(void)
{
	settings_define(settings, lengthof(settings));
}

/* --- statements that are prepared once ------------------------------------------ */

#define MAX_PREPARED 32

int
refresh_query(const char *query, int count, Oid *types, Datum *values, const char *nulls,
			  bool read_only, long limit)
{
	static struct
	{
		const char *query;
		SPIPlanPtr plan;
	} prepared[MAX_PREPARED];
	int i = 0;

	while (i < MAX_PREPARED && prepared[i].query != NULL && prepared[i].query != query)
		i++;
	if (i == MAX_PREPARED)
		return SPI_execute_with_args(query, count, types, values, nulls, read_only,
									 limit);
	if (prepared[i].query == NULL)
	{
		SPIPlanPtr plan = SPI_prepare(query, count, types);

		if (plan == NULL || SPI_keepplan(plan) != 0)
			elog(ERROR, "could not prepare \"%s\"", query);
		prepared[i].plan = plan;
		prepared[i].query = query;
	}
	return SPI_execute_plan(prepared[i].plan, values, nulls, read_only, limit);
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

/* A shape for what several queries select, so that one function reads it. */
#define SCHEDULE_COLUMNS \
	"tenant_id, view::pg_catalog.oid, view_name, times, timezone, due_why, " \
	"coalesce(catch_up, 'last'), holidays, concurrent, next_due, " \
	"extract(epoch FROM coalesce(catch_up_window, '1 day')) * 1000000, " \
	"extract(epoch FROM coalesce(jitter, '0')) * 1000000, " \
	"extract(epoch FROM within) * 1000000, extract(epoch FROM timeout) * 1000, " \
	"extract(epoch FROM lock_timeout) * 1000, on_change OR coalesce(overlap, '') = " \
	"'cancel_running' OR pg_catalog.cardinality(after_views) > 0, ctid"

static char *
row_text(int column)
{
	return SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, column);
}

/* A numeric column as an integer; the default where it is null. */
static int64
row_number(int column, int64 when_null)
{
	char *text = row_text(column);

	return text ? (int64) strtod(text, NULL) : when_null;
}

static RefreshWish
wish_from(const char *concurrent)
{
	if (concurrent == NULL)
		return WISH_ANY;
	return *concurrent == 't' ? WISH_CONCURRENT : WISH_FULL;
}

static void
read_schedule(DueSchedule *due)
{
	bool isnull;

	due->tenant = row_text(1);
	due->view = (Oid) strtoul(row_text(2), NULL, 10);
	due->view_name = row_text(3);
	due->times = row_text(4);
	due->timezone = row_text(5);
	due->why = row_text(6);
	due->catch_up = row_text(7);
	due->holidays = row_text(8);
	due->wish = wish_from(row_text(9));
	due->due = DatumGetTimestampTz(
		SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 10, &isnull));
	due->window_usec = row_number(11, 0);
	due->jitter_usec = row_number(12, 0);
	due->within_usec = row_number(13, 0);
	due->timeout_ms = (int) Min(row_number(14, refresh_timeout_ms), INT_MAX);
	due->lock_timeout_ms = (int) Min(row_number(15, refresh_lock_timeout_ms), INT_MAX);
	due->by_events = *row_text(16) == 't';
}

/*
 * Reads the row, and locks none: that would be written, too.  A row that a session
 * holds is passed over, so that nobody's open transaction stops the others.
 */
static bool
take_schedule(Oid view, DueSchedule *due)
{
	Oid types[] = {OIDOID, TIMESTAMPTZOID};
	Datum values[] = {ObjectIdGetDatum(view), TimestampTzGetDatum(due->now)};
	Datum place;
	bool isnull;

	refresh_query("SELECT " SCHEDULE_COLUMNS " FROM factory.refresh_schedule "
				  "WHERE view::pg_catalog.oid = $1 AND enabled "
				  "AND paused_since IS NULL AND next_due <= $2",
				  2, types, values, NULL, false, 1);
	if (SPI_processed == 0)
		return false;
	place = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 17, &isnull);
	if (refresh_row_is_held((ItemPointer) DatumGetPointer(place)))
		return false;
	read_schedule(due);
	return true;
}

/* Whether one of the materialized views that this one reads is due or under way. */
static bool
source_is_ahead(Oid view, const List *due)
{
	static const char *const query =
		"SELECT s.relation FROM factory.view_sources($1, true) AS s WHERE s.kind = 'm'";
	Oid types[] = {OIDOID};
	Datum values[] = {ObjectIdGetDatum(view)};

	refresh_query(query, 1, types, values, NULL, false, 0);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		bool isnull;
		Oid source = DatumGetObjectId(
			SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull));

		if (list_member_oid(due, source) || refresh_is_busy(source))
			return true;
	}
	return false;
}

/*
 * What was due when the table was read.  As long as each claim ends with a skip, which
 * writes nothing, the next need not read it again: many views may be due together.
 */
static struct
{
	bool known;
	List *views; /* in the transaction's memory */
	TimestampTz next_due;
	int next_count; /* how many views are due then */
} due_now;

static void
note_next(TimestampTz moment)
{
	if (moment < due_now.next_due)
		due_now.next_count = 0;
	due_now.next_due = Min(due_now.next_due, moment);
	if (moment == due_now.next_due)
		due_now.next_count++;
}

/* The views that are due, but for those that somebody refreshes. */
static List *
list_due(const SPITupleTable *rows, uint64 count, TimestampTz now)
{
	List *due = NIL;

	for (uint64 i = 0; i < count; i++)
	{
		bool isnull;
		Oid view =
			DatumGetObjectId(SPI_getbinval(rows->vals[i], rows->tupdesc, 1, &isnull));
		Datum value = SPI_getbinval(rows->vals[i], rows->tupdesc, 2, &isnull);
		TimestampTz moment = isnull ? DT_NOEND : DatumGetTimestampTz(value);

		moment = Max(moment, refresh_skipped_to(view));
		if (moment > now)
			note_next(moment);
		else if (!refresh_is_busy(view))
			due = lappend_oid(due, view);
	}
	return due;
}

/* False where nothing is scheduled. */
static bool
look_what_is_due(TimestampTz now)
{
	static const char *const query =
		"SELECT view::pg_catalog.oid, next_due FROM factory.refresh_schedule "
		"WHERE enabled AND paused_since IS NULL ORDER BY next_due, view::pg_catalog.oid";
	MemoryContext before;

	if (due_now.known)
		return true;
	due_now.next_due = DT_NOEND;
	due_now.next_count = 0;
	refresh_query(query, 0, NULL, NULL, NULL, false, 0);
	if (SPI_processed == 0)
		return false;
	before = MemoryContextSwitchTo(TopTransactionContext);
	due_now.views = list_due(SPI_tuptable, SPI_processed, now);
	MemoryContextSwitchTo(before);
	due_now.known = true;
	return true;
}

/*
 * The schedule that has been due longest, its row read; else when the next is due.
 * What was skipped because nothing had changed is due when memory says so.  A view
 * comes after those that it reads; when they are done, somebody looks again.
 */
static RefreshClaim
find_due(DueSchedule *due, TimestampTz *next_due)
{
	ListCell *cell;
	bool held = false;

	*next_due = DT_NOEND;
	if (!look_what_is_due(due->now))
		return REFRESH_CLAIM_NOTHING;
	*next_due = due_now.next_due;
	foreach (cell, due_now.views)
	{
		if (refresh_awaits_busy(lfirst_oid(cell)) ||
			source_is_ahead(lfirst_oid(cell), due_now.views))
			continue;
		if (take_schedule(lfirst_oid(cell), due))
			return REFRESH_CLAIM_RUN;
		held = true;
	}
	/* A session holds its row: look again soon. */
	if (held)
		*next_due = due->now;
	return REFRESH_CLAIM_WAIT;
}

static void
move_on(const DueSchedule *due, const char *view_name)
{
	Oid types[] = {OIDOID, TIMESTAMPTZOID, TEXTOID};
	Datum values[] = {ObjectIdGetDatum(due->view), TimestampTzGetDatum(due->next),
					  CStringGetTextDatum(view_name)};
	char nulls[] = {' ', due->next == DT_NOEND ? 'n' : ' ', ' '};

	refresh_query("UPDATE factory.refresh_schedule "
				  "SET next_due = $2, view_name = $3, due_why = 'schedule' "
				  "WHERE view::pg_catalog.oid = $1",
				  3, types, values, nulls, false, 0);
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

	refresh_query("INSERT INTO factory.refresh_run (view_oid, view, "
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
	refresh_query("DELETE FROM factory.refresh_schedule "
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
	refresh_query("UPDATE factory.refresh_schedule SET enabled = false "
				  "WHERE view::pg_catalog.oid = $1",
				  1, types, values, NULL, false, 0);
}

/* Whether that moment's day, in the schedule's zone, is a holiday of its calendar. */
static bool
is_holiday(const DueSchedule *due, TimestampTz moment)
{
	Oid types[] = {TEXTOID, TIMESTAMPTZOID, TEXTOID};
	Datum values[] = {CStringGetTextDatum(due->holidays), TimestampTzGetDatum(moment),
					  CStringGetTextDatum(due->timezone)};

	refresh_query("SELECT FROM factory.holiday WHERE calendar = $1 "
				  "AND day = pg_catalog.timezone($3, $2)::pg_catalog.date",
				  3, types, values, NULL, true, 1);
	return SPI_processed > 0;
}

/* The first due time after that moment which is no holiday. */
static TimestampTz
next_time(const DueSchedule *due, const Schedule *schedule, pg_tz *zone,
		  TimestampTz after)
{
	for (int days = 0; days < REFRESH_MAX_HOLIDAYS; days++)
	{
		after = schedule_next(schedule, after, zone);
		if (due->holidays == NULL || !is_holiday(due, after))
			return after;
	}
	ereport(ERROR,
			(errcode(ERRCODE_FACTORY_INVALID_SCHEDULE),
			 errmsg("the schedule of \"%s\" has only holidays ahead", due->view_name),
			 errhint("Table factory.holiday lists the days of calendar \"%s\".",
					 due->holidays)));
}

/* The same for each view at each time: views that are due together spread. */
static int64
jitter_of(const DueSchedule *due)
{
	if (due->jitter_usec <= 0)
		return 0;
	return (int64) (hash_bytes((const unsigned char *) due->view_name,
							   strlen(due->view_name)) /
					(double) PG_UINT32_MAX * due->jitter_usec);
}

/* Where all missed times are caught up, the next is not far: but not more than so many. */
static TimestampTz
earliest_to_catch_up(const DueSchedule *due, const Schedule *schedule, pg_tz *zone)
{
	TimestampTz last[REFRESH_MAX_CATCH_UP];
	TimestampTz moment = due->due;
	int64 count = 0;

	while ((moment = next_time(due, schedule, zone, moment)) <= due->now)
		last[count++ % REFRESH_MAX_CATCH_UP] = moment;
	if (count == 0)
		return moment;
	return count < REFRESH_MAX_CATCH_UP ? last[0] : last[count % REFRESH_MAX_CATCH_UP];
}

/* An AttemptBody: the text and the zone may have become unreadable. */
void
refresh_compute_next(void *argument)
{
	DueSchedule *due = argument;
	Schedule *schedule;
	pg_tz *zone;

	due->next = DT_NOEND;
	due->worth_it = true;
	if (due->times == NULL)
		return;
	schedule = schedule_parse(due->times);
	zone = clock_zone(due->timezone);
	if (strcmp(due->catch_up, "all") == 0)
		due->next = earliest_to_catch_up(due, schedule, zone);
	else
		due->next = next_time(due, schedule, zone, due->now);
	due->next += jitter_of(due);
	due->worth_it =
		strcmp(due->catch_up, "none") != 0 &&
		schedule_next(schedule, due->now - due->window_usec, zone) <= due->now;
}

static bool
came_by_time(const DueSchedule *due)
{
	return strcmp(due->why, "schedule") == 0;
}

/*
 * A target of staleness concerns what the view reads as well: the first materialized
 * view among its sources, from the bottom up, that was not refreshed since this one
 * came due; InvalidOid where none is left.  False where one of them failed.
 */
static bool
find_stale_source(const DueSchedule *due, Oid *source)
{
	Oid types[] = {OIDOID, TIMESTAMPTZOID};
	Datum values[] = {ObjectIdGetDatum(due->view), TimestampTzGetDatum(due->due)};
	bool isnull, failed;

	*source = InvalidOid;
	refresh_query(
		"SELECT s.relation, coalesce((SELECT r.status = 'failed' FROM "
		"factory.refresh_run AS r WHERE r.view_oid = s.relation AND r.started_at >= $2 "
		"ORDER BY r.id DESC LIMIT 1), false) "
		"FROM factory.view_sources($1, true) AS s WHERE s.kind = 'm' "
		"AND NOT EXISTS (SELECT FROM factory.refresh_run AS r WHERE r.view_oid = "
		"s.relation AND r.started_at >= $2 AND r.status = 'succeeded') "
		"ORDER BY s.depth DESC, s.relation LIMIT 1",
		2, types, values, NULL, false, 1);
	if (SPI_processed == 0)
		return true;
	*source = DatumGetObjectId(
		SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	failed = DatumGetBool(
		SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &isnull));
	return !failed;
}

static void
fill_run(const DueSchedule *due, Oid view, RefreshRun *run)
{
	strlcpy(run->tenant, due->tenant, sizeof(run->tenant));
	run->view = view;
	run->next = due->next;
	run->scheduled_for = due->due;
	run->timeout_ms = due->timeout_ms;
	run->lock_timeout_ms = due->lock_timeout_ms;
	refresh_view_name(view, run->view_name);
}

static void
begin_run(const DueSchedule *due, bool missed, TimestampTz serving_since, RefreshRun *run)
{
	char reason[REFRESH_REASON_SIZE];

	fill_run(due, due->view, run);
	refresh_choose_method(due->view, due->wish, &run->method, reason);
	snprintf(run->reason, sizeof(run->reason), "%s%s%s%s",
			 missed ? "caught up, nobody was there when it was due; " : "",
			 came_by_time(due) ? "" : due->why, came_by_time(due) ? "" : "; ", reason);
	run->moves = true;
	refresh_begin(run);
	/*
	 * What the last server or scheduler may have died of is written down before, and so
	 * is what others might make due again, not knowing that it runs.
	 */
	if (due->by_events || due->due < serving_since)
		refresh_mark_now(run);
}

/* A source's run on behalf of the view that is due, which stays due. */
static void
begin_source_run(const DueSchedule *due, Oid source, RefreshRun *run)
{
	char reason[REFRESH_REASON_SIZE];

	fill_run(due, source, run);
	refresh_choose_method(source, WISH_ANY, &run->method, reason);
	snprintf(run->reason, sizeof(run->reason), "for %s, which reads it; %s",
			 due->view_name, reason);
	(void) refresh_seems_unchanged(source);
	refresh_begin(run);
}

static RefreshClaim
skip_unchanged(const DueSchedule *due)
{
	TimestampTz next = due->next;

	if (due->within_usec > 0)
		next = Min(next, due->now + due->within_usec / 2);
	refresh_skip_to(due->view, next);
	due_now.known = true;
	due_now.views = list_delete_oid(due_now.views, due->view);
	note_next(next);
	metric_add(METRIC_REFRESH_SKIPPED, 1, METRIC_LABELS(due->view_name));
	return REFRESH_CLAIM_SETTLED;
}

static RefreshClaim
settle_within(DueSchedule *due, RefreshRun *run)
{
	Oid source;

	if (!find_stale_source(due, &source))
	{
		record_no_run(due, "failed", "a view that it reads could not be refreshed", NULL);
		due->next = Min(due->next, due->now + due->within_usec);
		move_on(due, due->view_name);
		return REFRESH_CLAIM_SETTLED;
	}
	if (!OidIsValid(source))
		return REFRESH_CLAIM_NOTHING;
	refresh_await(due->view, source);
	if (refresh_is_busy(source))
		return REFRESH_CLAIM_SETTLED;
	begin_source_run(due, source, run);
	return REFRESH_CLAIM_RUN;
}

static RefreshClaim
settle_due(DueSchedule *due, TimestampTz serving_since, RefreshRun *run)
{
	bool missed = came_by_time(due) && due->due < serving_since;
	ErrorData *error;
	RefreshClaim claim;

	if (!refresh_is_view(due->view))
	{
		forget_dropped_view(due);
		return REFRESH_CLAIM_SETTLED;
	}
	error = attempt(refresh_compute_next, due);
	if (error != NULL)
	{
		disable_unreadable(due, error);
		return REFRESH_CLAIM_SETTLED;
	}
	if (missed && !due->worth_it)
	{
		record_no_run(due, "skipped",
					  strcmp(due->catch_up, "none") == 0
						  ? "missed, and the schedule says not to catch up"
						  : "missed more than its window ago",
					  NULL);
		move_on(due, due->view_name);
		return REFRESH_CLAIM_SETTLED;
	}
	if (due->within_usec > 0 &&
		(claim = settle_within(due, run)) != REFRESH_CLAIM_NOTHING)
		return claim;
	if (refresh_seems_unchanged(due->view) && came_by_time(due))
		return skip_unchanged(due);
	begin_run(due, missed, serving_since, run);
	return REFRESH_CLAIM_RUN;
}

/* Changes of tables make due what reads them and wants to be refreshed on change. */
void
refresh_take_changes(void)
{
	HouseRights saved;

	/* A look begins: what the last one knew has gone with its transaction. */
	due_now.known = false;
	SPI_connect();
	house_enter_for_all(&saved);
	refresh_query(
		"WITH change AS (DELETE FROM factory.refresh_change RETURNING relation, "
		"changed_at), early AS (SELECT s.view, pg_catalog.min(c.changed_at) AS at "
		"FROM factory.refresh_schedule AS s, "
		"factory.view_sources(s.view::pg_catalog.oid, "
		"true) AS v JOIN change AS c ON c.relation = v.relation "
		"WHERE s.on_change GROUP BY s.view) "
		"UPDATE factory.refresh_schedule AS s SET due_why = 'a table it reads was "
		"changed', "
		"next_due = LEAST(s.next_due, early.at + coalesce(s.quiet, '1 second')) "
		"FROM early WHERE s.view::pg_catalog.oid = early.view::pg_catalog.oid",
		0, NULL, NULL, NULL, false, 0);
	house_leave(&saved);
	SPI_finish();
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
	claim = find_due(&due, next_due);
	house_leave(&saved);
	/* Unless what follows is a skip. */
	due_now.known = false;
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

int
refresh_due_next(TimestampTz *moment)
{
	*moment = due_now.next_due;
	return due_now.next_count;
}

List *
refresh_overdue(TimestampTz *next_due, MemoryContext context)
{
	TimestampTz now = clock_now();
	List *overdue = NIL;
	HouseRights saved;

	SPI_connect();
	house_enter_for_all(&saved);
	refresh_query("SELECT view::pg_catalog.oid, next_due FROM factory.refresh_schedule "
				  "WHERE overlap = 'cancel_running' AND enabled "
				  "AND paused_since IS NULL AND next_due IS NOT NULL",
				  0, NULL, NULL, NULL, true, 0);
	house_leave(&saved);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		MemoryContext before = MemoryContextSwitchTo(context);
		HeapTuple row = SPI_tuptable->vals[i];
		bool isnull;
		Oid view =
			DatumGetObjectId(SPI_getbinval(row, SPI_tuptable->tupdesc, 1, &isnull));
		TimestampTz due =
			DatumGetTimestampTz(SPI_getbinval(row, SPI_tuptable->tupdesc, 2, &isnull));

		if (refresh_is_busy(view) && due <= now)
			overdue = lappend_oid(overdue, view);
		else if (refresh_is_busy(view))
			*next_due = Min(*next_due, due);
		MemoryContextSwitchTo(before);
	}
	SPI_finish();
	return overdue;
}

/*
 * A lost run is due again at once, but only once: a view that brings the server
 * down must not do so for ever.  Of a task nobody knows how far it came: it is not
 * repeated.
 */
void
refresh_settle_lost(Datum alive_refreshes, Datum alive_tasks)
{
	Oid types[] = {TIMESTAMPTZOID, INT8ARRAYOID};
	Datum values[] = {TimestampTzGetDatum(clock_now()), alive_refreshes};
	HouseRights saved;

	house_enter_for_all(&saved);
	SPI_connect();
	SPI_execute_with_args(
		"WITH lost AS (UPDATE factory.refresh_run SET status = 'failed', "
		"finished_at = $1, error = 'server stopped', sqlstate = '57P01' "
		"WHERE status = 'running' AND id <> ALL ($2) RETURNING view_oid, scheduled_for, "
		"reason) UPDATE factory.refresh_schedule AS s "
		"SET next_due = least(s.next_due, CASE WHEN lost.reason NOT LIKE 'caught up%' "
		"THEN lost.scheduled_for ELSE $1 + s.within END) FROM lost "
		"WHERE s.view::pg_catalog.oid = lost.view_oid AND lost.scheduled_for IS NOT NULL",
		2, types, values, NULL, false, 0);
	values[1] = alive_tasks;
	SPI_execute_with_args("UPDATE factory.task_run SET status = 'failed', "
						  "finished_at = $1, error = 'server stopped; how far it came is "
						  "not known', sqlstate = '57P01' "
						  "WHERE status = 'running' AND id <> ALL ($2)",
						  2, types, values, NULL, false, 0);
	SPI_finish();
	house_leave(&saved);
}

bool
refresh_is_wanted(void)
{
	bool wanted;

	SPI_connect();
	SPI_execute("SELECT FROM factory.refresh_schedule WHERE enabled "
				"UNION ALL SELECT FROM factory.task WHERE enabled LIMIT 1",
				true, 1);
	wanted = SPI_processed > 0;
	SPI_finish();
	return wanted;
}
