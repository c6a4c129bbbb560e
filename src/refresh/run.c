/*
 * run.c
 *		One refresh: done, and recorded.
 *
 * A run that is over soon is written once, when it has ended.  A crash meanwhile leaves
 * its schedule due, and it is made up for.  What goes on longer gets its line first, and
 * its schedule is moved on, so that what was lost is known as lost.
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/clock.h"
#include "base/compat.h"
#include "base/house.h"
#include "catalog/pg_type.h"
#include "commands/async.h"
#include "executor/spi.h"
#include "metrics/metrics.h"
#include "portability/instr_time.h"
#include "refresh/refresh_int.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

static const char *const method_names[] = {
	[REFRESH_FULL] = "full",
	[REFRESH_CONCURRENT] = "concurrent",
};

static int64
monotonic_us(void)
{
	instr_time now;

	INSTR_TIME_SET_CURRENT(now);
	return (int64) INSTR_TIME_GET_MICROSEC(now);
}

void
refresh_begin(RefreshRun *run)
{
	run->started = clock_now();
	run->began_us = monotonic_us();
}

/* --- the books ---------------------------------------------------------------------- */

static int64
returned_id(void)
{
	bool isnull;

	return DatumGetInt64(
		SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
}

void
refresh_record_start(RefreshRun *run)
{
	Oid types[] = {OIDOID, TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID, TEXTOID, TEXTOID};
	Datum values[] = {ObjectIdGetDatum(run->view),
					  CStringGetTextDatum(run->view_name),
					  TimestampTzGetDatum(run->scheduled_for),
					  TimestampTzGetDatum(run->started),
					  CStringGetTextDatum(method_names[run->method]),
					  CStringGetTextDatum(run->reason)};
	char nulls[] = {' ', ' ', run->scheduled_for ? ' ' : 'n', ' ', ' ', ' '};

	refresh_query("INSERT INTO factory.refresh_run (view_oid, view, "
				  "scheduled_for, started_at, status, method, reason) "
				  "VALUES ($1, $2, $3, $4, 'running', $5, $6) RETURNING id",
				  6, types, values, nulls, false, 0);
	run->id = returned_id();
}

/* Unless a session has set another time meanwhile. */
static void
move_on(const RefreshRun *run)
{
	Oid types[] = {OIDOID, TIMESTAMPTZOID, TIMESTAMPTZOID, TEXTOID};
	Datum values[] = {ObjectIdGetDatum(run->view),
					  TimestampTzGetDatum(run->scheduled_for),
					  TimestampTzGetDatum(run->next),
					  CStringGetTextDatum(run->view_name)};
	char nulls[] = {' ', ' ', run->next == DT_NOEND ? 'n' : ' ', ' '};

	if (!run->moves)
		return;
	refresh_query("UPDATE factory.refresh_schedule "
				  "SET next_due = $3, view_name = $4, due_why = 'schedule' "
				  "WHERE view::pg_catalog.oid = $1 AND next_due = $2",
				  4, types, values, nulls, false, 0);
}

/* The deed comes after: a crash must not undo this. */
void
refresh_mark_now(RefreshRun *run)
{
	refresh_record_start(run);
	move_on(run);
	ForceSyncCommit();
}

static bool
is_held(Oid view)
{
	Oid types[] = {OIDOID};
	Datum values[] = {ObjectIdGetDatum(view)}, place;
	bool isnull;

	refresh_query("SELECT ctid FROM factory.refresh_schedule "
				  "WHERE view::pg_catalog.oid = $1",
				  1, types, values, NULL, false, 1);
	if (SPI_processed == 0)
		return false;
	place = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
	return refresh_row_is_held((ItemPointer) DatumGetPointer(place));
}

bool
refresh_schedule_is_held(Oid view)
{
	HouseRights saved;
	bool held;

	house_enter_for_all(&saved);
	SPI_connect();
	held = is_held(view);
	SPI_finish();
	house_leave(&saved);
	return held;
}

/* A schedule that is held stays due: the run's end moves it on, or it is made up for. */
void
refresh_mark(RefreshRun *run)
{
	HouseRights saved;

	tenant_act_for(run->tenant);
	house_enter(&saved);
	SPI_connect();
	refresh_record_start(run);
	if (!is_held(run->view))
		move_on(run);
	SPI_finish();
	house_leave(&saved);
	ForceSyncCommit();
}

/* How a run ended. */
typedef struct Outcome
{
	const char *status;
	double duration_ms;
	const ErrorData *error;
} Outcome;

#define OUTCOME_COLUMNS 5

static void
outcome_values(const Outcome *outcome, Datum *values, char *nulls)
{
	const ErrorData *error = outcome->error;

	memset(nulls, ' ', OUTCOME_COLUMNS);
	values[0] = TimestampTzGetDatum(clock_now());
	values[1] = Float8GetDatum(outcome->duration_ms);
	values[2] = CStringGetTextDatum(outcome->status);
	if (error == NULL)
	{
		nulls[3] = nulls[4] = 'n';
		return;
	}
	values[3] = refresh_error_text(error);
	values[4] = CStringGetTextDatum(unpack_sql_state(error->sqlerrcode));
}

/* False where it is not in the books. */
static bool
complete_row(const RefreshRun *run, const Outcome *outcome)
{
	Oid types[] = {TIMESTAMPTZOID, FLOAT8OID, TEXTOID, TEXTOID, TEXTOID, OIDOID, INT8OID};
	Datum values[7];
	char nulls[8] = "       ";

	outcome_values(outcome, values, nulls);
	values[5] = ObjectIdGetDatum(run->view);
	values[6] = Int64GetDatum(run->id);
	refresh_query("UPDATE factory.refresh_run SET finished_at = $1, "
				  "duration_ms = $2, status = $3, error = $4, sqlstate = $5 "
				  "WHERE view_oid = $6 AND id = $7",
				  7, types, values, nulls, false, 0);
	return SPI_processed > 0;
}

/* Begin and end at once. */
static void
insert_row(RefreshRun *run, const Outcome *outcome)
{
	Oid types[] = {TIMESTAMPTZOID, FLOAT8OID,      TEXTOID, TEXTOID,
				   TEXTOID,        OIDOID,         TEXTOID, TEXTOID,
				   TIMESTAMPTZOID, TIMESTAMPTZOID, TEXTOID};
	Datum values[11];
	char nulls[12] = "           ";

	outcome_values(outcome, values, nulls);
	values[5] = ObjectIdGetDatum(run->view);
	values[6] = CStringGetTextDatum(run->view_name);
	values[7] = CStringGetTextDatum(method_names[run->method]);
	values[8] = TimestampTzGetDatum(run->scheduled_for);
	values[9] = TimestampTzGetDatum(run->started);
	values[10] = CStringGetTextDatum(run->reason);
	nulls[8] = run->scheduled_for ? ' ' : 'n';
	refresh_query("INSERT INTO factory.refresh_run (finished_at, duration_ms, status, "
				  "error, sqlstate, view_oid, view, method, scheduled_for, started_at, "
				  "reason) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) "
				  "RETURNING id",
				  11, types, values, nulls, false, 0);
	run->id = returned_id();
}

/* --- the deed ------------------------------------------------------------------------ */

/*
 * Takes the lock that the server itself is about to take, and reads the name under
 * it: a rename in between cannot lead us to another view.  The snapshot comes after
 * the lock, so that waiting for it holds back no vacuum.
 */
void
refresh_perform(const RefreshRun *run)
{
	bool concurrent = run->method == REFRESH_CONCURRENT;
	char name[REFRESH_NAME_SIZE];
	char *statement;

	LockRelationOid(run->view, concurrent ? ExclusiveLock : AccessExclusiveLock);
	if (!refresh_is_view(run->view))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("materialized view \"%s\" does not exist", run->view_name)));
	refresh_view_name(run->view, name);
	statement = psprintf("REFRESH MATERIALIZED VIEW %s%s",
						 concurrent ? "CONCURRENTLY " : "", name);
	PushActiveSnapshot(GetTransactionSnapshot());
	SPI_connect();
	if (SPI_execute(statement, false, 0) != SPI_OK_UTILITY)
		elog(ERROR, "could not run \"%s\"", statement);
	SPI_finish();
	PopActiveSnapshot();
}

/* It may be longer by this part: then it is looked at less often than each run. */
#define HISTORY_SLACK 100

void
refresh_prune(RefreshHistory *history, int64 newest)
{
	TimestampTz now = clock_now();
	TimestampTz oldest = now - refresh_history_days * USECS_PER_DAY;
	int64 last = newest - refresh_history_runs;
	Oid number[] = {INT8OID}, moment[] = {TIMESTAMPTZOID};
	Datum up_to = Int64GetDatum(last), before = TimestampTzGetDatum(oldest);

	if (++history->runs > refresh_history_runs / HISTORY_SLACK)
	{
		history->runs = 0;
		refresh_query(history->by_number, 1, number, &up_to, NULL, false, 0);
	}
	if (history->days != refresh_history_days ||
		now - history->looked >= USECS_PER_HOUR || now < history->looked)
	{
		history->days = refresh_history_days;
		history->looked = now;
		refresh_query(history->by_age, 1, moment, &before, NULL, false, 0);
	}
}

/* Message and detail, as a person would read them. */
Datum
refresh_error_text(const ErrorData *error)
{
	return CStringGetTextDatum(error->detail
								   ? psprintf("%s: %s", error->message, error->detail)
								   : error->message);
}

/* --- what follows ------------------------------------------------------------------ */

/* What the schedule's next due time would be: $5 was this run's, and $6 comes after it. */
#define MOVED_ON "(CASE WHEN next_due = $5 THEN $6 ELSE next_due END)"

/* The schedule after a run that succeeded. */
static void
settle_success(const RefreshRun *run, double duration_ms)
{
	Oid types[] = {OIDOID,         TIMESTAMPTZOID, FLOAT8OID, TIMESTAMPTZOID,
				   TIMESTAMPTZOID, TIMESTAMPTZOID, TEXTOID};
	Datum values[] = {ObjectIdGetDatum(run->view),
					  TimestampTzGetDatum(run->started),
					  Float8GetDatum(duration_ms),
					  TimestampTzGetDatum(clock_now()),
					  TimestampTzGetDatum(run->scheduled_for),
					  TimestampTzGetDatum(run->next),
					  CStringGetTextDatum(run->view_name)};
	char nulls[] = {
		' ', ' ', ' ', ' ', run->moves ? ' ' : 'n', run->next == DT_NOEND ? 'n' : ' ',
		' '};

	/*
	 * A target of staleness is met when the next run ends in time: it begins two of
	 * the last run's durations before, but not in the first half of the target.  A run
	 * for a view that reads it counts as its own.
	 */
	refresh_query(
		"UPDATE factory.refresh_schedule SET fresh_as_of = $2, attempts = 0, "
		"failures = 0, view_name = $7, due_why = CASE WHEN next_due = $5 THEN 'schedule' "
		"ELSE due_why END, next_due = CASE WHEN within IS NOT NULL THEN LEAST("
		"CASE WHEN times IS NOT NULL OR due_why <> 'schedule' THEN " MOVED_ON " END"
		", $2 + within - LEAST(within / 2, pg_catalog.make_interval(secs => $3 / 500))) "
		"WHEN overlap = 'skip' AND times IS NOT NULL AND " MOVED_ON " <= $4 "
		"THEN (SELECT n FROM factory.schedule_next(times, $4, timezone) AS n) "
		"ELSE " MOVED_ON " END WHERE view::pg_catalog.oid = $1",
		7, types, values, nulls, false, 0);
	/* Whoever waits for this view, and for others that were refreshed since, too. */
	refresh_query(
		"UPDATE factory.refresh_schedule AS f SET next_due = LEAST(f.next_due, $4), "
		"due_why = 'after ' || (SELECT s.view FROM factory.refresh_run AS s "
		"WHERE s.view_oid = $1 ORDER BY s.id DESC LIMIT 1) "
		"WHERE $1 = ANY (f.after_views::pg_catalog.oid[]) AND (f.after_any OR NOT EXISTS "
		"(SELECT FROM pg_catalog.unnest(f.after_views) AS p(view) WHERE NOT EXISTS "
		"(SELECT FROM factory.refresh_run AS r WHERE r.view_oid = p.view::pg_catalog.oid "
		"AND r.status = 'succeeded' "
		"AND r.started_at > coalesce(f.fresh_as_of, '-infinity')))) "
		"AND $3 IS NOT NULL AND $2 IS NOT NULL",
		4, types, values, NULL, false, 0);
}

/* The schedule after a run that failed: a retry, the next due time, or a pause. */
static void
settle_failure(const RefreshRun *run)
{
	Oid types[] = {OIDOID, TIMESTAMPTZOID, INT4OID, FLOAT8OID, INT4OID};
	Datum values[] = {ObjectIdGetDatum(run->view), TimestampTzGetDatum(clock_now()),
					  Int32GetDatum(refresh_retries),
					  Float8GetDatum(refresh_retry_delay_ms / 1000.0),
					  Int32GetDatum(refresh_pause_after)};

	move_on(run);
	refresh_query(
		"UPDATE factory.refresh_schedule AS s SET "
		"attempts = CASE WHEN p.again THEN attempts + 1 ELSE 0 END, "
		"failures = failures + CASE WHEN p.again THEN 0 ELSE 1 END, "
		"due_why = CASE WHEN p.again THEN pg_catalog.format('retry %s of %s', "
		"attempts + 1, p.retries) ELSE 'schedule' END, "
		"next_due = CASE WHEN p.again THEN LEAST(next_due, $2 + p.pause) "
		"WHEN within IS NOT NULL THEN LEAST(next_due, $2 + within) ELSE next_due END, "
		"paused_since = CASE WHEN NOT p.again AND p.most > 0 AND failures + 1 >= p.most "
		"THEN $2 END FROM (SELECT view, attempts < coalesce(retries, $3) AS again, "
		"coalesce(retries, $3) AS retries, coalesce(pause_after, $5) AS most, "
		"coalesce(retry_delay, pg_catalog.make_interval(secs => $4)) "
		"* pg_catalog.power(2, LEAST(attempts, 20)) AS pause "
		"FROM factory.refresh_schedule WHERE view::pg_catalog.oid = $1) AS p "
		"WHERE s.view = p.view RETURNING paused_since IS NOT NULL",
		5, types, values, NULL, false, 0);
}

/* Listeners hear of what failed; names only, since anybody can listen. */
static void
tell_failure(const RefreshRun *run)
{
	bool isnull;
	bool paused = SPI_processed > 0 &&
				  DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc,
											 1, &isnull));
	StringInfoData payload;

	initStringInfo(&payload);
	appendStringInfo(&payload, "{\"event\": \"%s\", \"view\": ",
					 paused ? "refresh_paused" : "refresh_failed");
	escape_json(&payload, run->view_name);
	appendStringInfo(&payload, ", \"run\": " INT64_FORMAT "}", run->id);
	Async_Notify(REFRESH_CHANNEL, payload.data);
}

static RefreshHistory history = {
	.by_number = "DELETE FROM factory.refresh_run WHERE id <= $1 AND status <> 'running'",
	.by_age =
		"DELETE FROM factory.refresh_run WHERE started_at < $1 AND status <> 'running'",
};

void
refresh_record(RefreshRun *run, const ErrorData *error)
{
	Outcome outcome = {.status = error ? "failed" : "succeeded",
					   .duration_ms = (monotonic_us() - run->began_us) / 1000.0,
					   .error = error};
	HouseRights saved;

	if (run->tenant[0] != '\0')
		tenant_act_for(run->tenant);
	house_enter(&saved);
	SPI_connect();
	if (run->id == 0 || !complete_row(run, &outcome))
		insert_row(run, &outcome);
	refresh_prune(&history, run->id);
	if (error == NULL)
		settle_success(run, outcome.duration_ms);
	else
	{
		settle_failure(run);
		tell_failure(run);
	}
	SPI_finish();
	house_leave(&saved);
	refresh_remember_run(run->view, error == NULL);
	metric_add(METRIC_REFRESH_RUNS, 1, METRIC_LABELS(run->view_name, outcome.status));
	metric_observe(METRIC_REFRESH_DURATION, outcome.duration_ms / 1000.0,
				   METRIC_LABELS(run->view_name));
}
