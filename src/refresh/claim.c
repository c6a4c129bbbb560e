/*
 * claim.c
 *		What follows when a schedule is due: a run, a skip, or a line that says why not.
 *
 * Everything here is bookkeeping in short transactions; none is open while a view
 * is being refreshed.  What is due is found among the schedules of all tenants; what
 * follows is done as the house, for the tenant that the schedule is of.
 */
#include "postgres.h"

#include "base/attempt.h"
#include "base/clock.h"
#include "base/compat.h"
#include "base/house.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "metrics/metrics.h"
#include "refresh/refresh_int.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

/* --- what comes of it without a run --------------------------------------------- */

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
	refresh_forget_view(due->view);
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

/* Counted, and told by refresh_status: no row is written. */
static void
note_unchanged(const char *view_name, TimestampTz moment)
{
	metric_add(METRIC_REFRESH_SKIPPED, 1, METRIC_LABELS(view_name));
	metric_set(METRIC_REFRESH_UNCHANGED, refresh_moment_seconds(moment),
			   METRIC_LABELS(view_name));
}

static bool
came_by_time(const DueSchedule *due)
{
	return strcmp(due->why, "schedule") == 0;
}

/* --- a target of staleness --------------------------------------------------------- */

/*
 * Targets that come due soon, and share a source with this one, come due with it: one
 * wave refreshes what they share once.
 */
static void
gather_wave(const DueSchedule *due)
{
	Oid types[] = {OIDOID, TIMESTAMPTZOID};
	Datum values[] = {ObjectIdGetDatum(due->view), TimestampTzGetDatum(due->wave)};

	refresh_query(
		"UPDATE factory.refresh_schedule AS w SET next_due = $2 WHERE w.view IN ("
		"SELECT s.view FROM factory.refresh_schedule AS s WHERE s.within IS NOT NULL "
		"AND s.enabled AND s.paused_since IS NULL AND s.view::pg_catalog.oid <> $1 "
		"AND s.next_due > $2 AND s.next_due <= $2 + s.within / 4 AND EXISTS (SELECT FROM "
		"factory.view_sources(s.view::pg_catalog.oid, true) AS theirs JOIN "
		"factory.view_sources($1, true) AS ours ON ours.relation = theirs.relation "
		"WHERE ours.kind = 'm') FOR UPDATE SKIP LOCKED)",
		2, types, values, NULL, false, 0);
}

/* What becomes of a source of a view that is due. */
typedef enum SourceState
{
	SOURCE_FRESH,
	SOURCE_FAILED,
	SOURCE_BUSY,
	SOURCE_STALE
} SourceState;

/* One that no run has refreshed since the view came due; failed: nor could one. */
static SourceState
state_of_source(const DueSchedule *due, Oid source, bool failed)
{
	if (failed)
		return SOURCE_FAILED;
	if (refresh_checked_at(source) >= due->wave)
		return SOURCE_FRESH;
	if (refresh_is_busy(source))
		return SOURCE_BUSY;
	if (!refresh_seems_unchanged(source))
		return SOURCE_STALE;
	refresh_note_check(source, due->now);
	return SOURCE_FRESH;
}

/*
 * A target of staleness concerns what the view reads as well: the first materialized
 * view among its sources, from the bottom up, that is not as new as it shall be.
 */
static SourceState
find_stale_source(const DueSchedule *due, Oid *source)
{
	Oid types[] = {OIDOID, TIMESTAMPTZOID};
	Datum values[] = {ObjectIdGetDatum(due->view), TimestampTzGetDatum(due->wave)};
	SourceState state = SOURCE_FRESH;
	SPITupleTable *rows;
	uint64 count;

	refresh_query(
		"SELECT s.relation, coalesce((SELECT r.status = 'failed' FROM "
		"factory.refresh_run AS r WHERE r.view_oid = s.relation AND r.started_at >= $2 "
		"ORDER BY r.id DESC LIMIT 1), false) "
		"FROM factory.view_sources($1, true) AS s WHERE s.kind = 'm' "
		"AND NOT EXISTS (SELECT FROM factory.refresh_run AS r WHERE r.view_oid = "
		"s.relation AND r.started_at >= $2 AND r.status = 'succeeded') "
		"ORDER BY s.depth DESC, s.relation",
		2, types, values, NULL, false, 0);
	rows = SPI_tuptable;
	count = SPI_processed;
	for (uint64 i = 0; i < count && state == SOURCE_FRESH; i++)
	{
		bool isnull;
		bool failed =
			DatumGetBool(SPI_getbinval(rows->vals[i], rows->tupdesc, 2, &isnull));

		*source =
			DatumGetObjectId(SPI_getbinval(rows->vals[i], rows->tupdesc, 1, &isnull));
		state = state_of_source(due, *source, failed);
	}
	return state;
}

/* --- a run ---------------------------------------------------------------------- */

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
	refresh_begin(run);
}

static RefreshClaim
skip_unchanged(const DueSchedule *due)
{
	TimestampTz next = due->next;

	if (due->within_usec > 0)
		next = Min(next, due->now + due->within_usec / 2);
	refresh_skip_due(due->view, next);
	note_unchanged(due->view_name, due->now);
	return REFRESH_CLAIM_SETTLED;
}

static RefreshClaim
settle_within(DueSchedule *due, RefreshRun *run)
{
	Oid source;

	gather_wave(due);
	switch (find_stale_source(due, &source))
	{
		case SOURCE_FRESH:
			return REFRESH_CLAIM_NOTHING;
		case SOURCE_FAILED:
			record_no_run(due, "failed", "a view that it reads could not be refreshed",
						  NULL);
			due->next = Min(due->next, due->now + due->within_usec);
			move_on(due, due->view_name);
			return REFRESH_CLAIM_SETTLED;
		case SOURCE_BUSY:
			refresh_await(due->view, source);
			return REFRESH_CLAIM_SETTLED;
		case SOURCE_STALE:
			refresh_await(due->view, source);
			begin_source_run(due, source, run);
			return REFRESH_CLAIM_RUN;
	}
	pg_unreachable();
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
	/* Its calendar may have changed since its due time was computed. */
	if (came_by_time(due) && refresh_rests(due))
	{
		move_on(due, due->view_name);
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

RefreshClaim
refresh_claim(TimestampTz serving_since, RefreshRun *run, TimestampTz *next_due)
{
	DueSchedule due = {.now = clock_now()};
	RefreshClaim claim;
	HouseRights saved;

	memset(run, 0, sizeof(*run));
	SPI_connect();
	house_enter_for_all(&saved);
	claim = refresh_find_due(&due, next_due);
	house_leave(&saved);
	/* Unless what follows is a skip. */
	refresh_forget_due();
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
