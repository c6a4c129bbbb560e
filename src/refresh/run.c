/*
 * run.c
 *		One refresh: recorded before the deed, done, and its outcome recorded.
 */
#include "postgres.h"

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
refresh_record_start(RefreshRun *run)
{
	Oid types[] = {OIDOID, TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID, TEXTOID, TEXTOID};
	Datum values[] = {ObjectIdGetDatum(run->view),
					  CStringGetTextDatum(run->view_name),
					  TimestampTzGetDatum(run->scheduled_for),
					  TimestampTzGetDatum(clock_now()),
					  CStringGetTextDatum(method_names[run->method]),
					  CStringGetTextDatum(run->reason)};
	char nulls[] = {' ', ' ', run->scheduled_for ? ' ' : 'n', ' ', ' ', ' '};
	bool isnull;

	run->started = clock_now();
	refresh_query("INSERT INTO factory.refresh_run (view_oid, view, "
				  "scheduled_for, started_at, status, method, reason) "
				  "VALUES ($1, $2, $3, $4, 'running', $5, $6) RETURNING id",
				  6, types, values, nulls, false, 0);
	run->id = DatumGetInt64(
		SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	run->began_us = monotonic_us();
}

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

/* The history keeps its length and its age: usually this takes away one row. */
void
refresh_prune(const char *statement, int64 newest)
{
	Oid types[] = {INT8OID, TIMESTAMPTZOID};
	Datum values[] = {Int64GetDatum(newest - refresh_history_runs),
					  TimestampTzGetDatum(clock_now() -
										  refresh_history_days * USECS_PER_DAY)};

	refresh_query(statement, 2, types, values, NULL, false, 0);
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

/* The schedule after a run that succeeded. */
static void
settle_success(const RefreshRun *run, double duration_ms)
{
	Oid types[] = {OIDOID, TIMESTAMPTZOID, FLOAT8OID, TIMESTAMPTZOID};
	Datum values[] = {ObjectIdGetDatum(run->view), TimestampTzGetDatum(run->started),
					  Float8GetDatum(duration_ms), TimestampTzGetDatum(clock_now())};

	/*
	 * A target of staleness is met when the next run ends in time: it begins two of
	 * the last run's durations before, but not in the first half of the target.
	 */
	refresh_query(
		"UPDATE factory.refresh_schedule SET fresh_as_of = $2, attempts = 0, "
		"failures = 0, next_due = CASE WHEN within IS NOT NULL THEN LEAST(next_due, "
		"$2 + within - LEAST(within / 2, pg_catalog.make_interval(secs => $3 / 500))) "
		"WHEN overlap = 'skip' AND times IS NOT NULL AND next_due <= $4 "
		"THEN (SELECT n FROM factory.schedule_next(times, $4, timezone) AS n) "
		"ELSE next_due END WHERE view::pg_catalog.oid = $1",
		4, types, values, NULL, false, 0);
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

void
refresh_record(const RefreshRun *run, const ErrorData *error)
{
	const char *status = error ? "failed" : "succeeded";
	double duration_ms = (monotonic_us() - run->began_us) / 1000.0;
	Oid types[] = {INT8OID, TIMESTAMPTZOID, FLOAT8OID, TEXTOID, TEXTOID, TEXTOID};
	Datum values[] = {Int64GetDatum(run->id),
					  TimestampTzGetDatum(clock_now()),
					  Float8GetDatum(duration_ms),
					  CStringGetTextDatum(status),
					  error ? refresh_error_text(error) : (Datum) 0,
					  error ? CStringGetTextDatum(unpack_sql_state(error->sqlerrcode))
							: (Datum) 0};
	char nulls[] = {' ', ' ', ' ', ' ', error ? ' ' : 'n', error ? ' ' : 'n'};
	HouseRights saved;

	if (run->tenant[0] != '\0')
		tenant_act_for(run->tenant);
	house_enter(&saved);
	SPI_connect();
	refresh_query("UPDATE factory.refresh_run SET finished_at = $2, "
				  "duration_ms = $3, status = $4, error = $5, sqlstate = $6 "
				  "WHERE id = $1",
				  6, types, values, nulls, false, 0);
	refresh_prune("DELETE FROM factory.refresh_run WHERE (id <= $1 OR started_at < $2) "
				  "AND status <> 'running'",
				  run->id);
	if (error == NULL)
		settle_success(run, duration_ms);
	else
	{
		settle_failure(run);
		tell_failure(run);
	}
	SPI_finish();
	house_leave(&saved);
	refresh_remember_run(run->view, error == NULL);
	metric_add(METRIC_REFRESH_RUNS, 1, METRIC_LABELS(run->view_name, status));
	metric_observe(METRIC_REFRESH_DURATION, duration_ms / 1000.0,
				   METRIC_LABELS(run->view_name));
}
