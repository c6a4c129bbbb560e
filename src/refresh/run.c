/*
 * run.c
 *		One refresh: recorded before the deed, done, and its outcome recorded.
 */
#include "postgres.h"

#include "base/clock.h"
#include "base/compat.h"
#include "base/house.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "metrics/metrics.h"
#include "portability/instr_time.h"
#include "refresh/refresh_int.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
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

	SPI_execute_with_args("INSERT INTO factory.refresh_run (view_oid, view, "
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

/* The history keeps its length: usually this takes away one row. */
static void
prune_history(int64 newest)
{
	Oid types[] = {INT8OID};
	Datum values[] = {Int64GetDatum(newest - refresh_history_runs)};

	SPI_execute_with_args("DELETE FROM factory.refresh_run "
						  "WHERE id <= $1 AND status <> 'running'",
						  1, types, values, NULL, false, 0);
}

/* Message and detail, as a person would read them. */
static Datum
error_text(const ErrorData *error)
{
	return CStringGetTextDatum(error->detail
								   ? psprintf("%s: %s", error->message, error->detail)
								   : error->message);
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
					  error ? error_text(error) : (Datum) 0,
					  error ? CStringGetTextDatum(unpack_sql_state(error->sqlerrcode))
							: (Datum) 0};
	char nulls[] = {' ', ' ', ' ', ' ', error ? ' ' : 'n', error ? ' ' : 'n'};
	HouseRights saved;

	if (run->tenant[0] != '\0')
		tenant_act_for(run->tenant);
	house_enter(&saved);
	SPI_connect();
	SPI_execute_with_args("UPDATE factory.refresh_run SET finished_at = $2, "
						  "duration_ms = $3, status = $4, error = $5, sqlstate = $6 "
						  "WHERE id = $1",
						  6, types, values, nulls, false, 0);
	prune_history(run->id);
	SPI_finish();
	house_leave(&saved);
	metric_add(METRIC_REFRESH_RUNS, 1, METRIC_LABELS(run->view_name, status));
	metric_observe(METRIC_REFRESH_DURATION, duration_ms / 1000.0,
				   METRIC_LABELS(run->view_name));
}
