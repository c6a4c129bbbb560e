/*
 * task.c
 *		Scheduled commands: which is due, and how its run ended.
 *
 * A task is run at most once a due time: when nobody knows how far a run came, it is
 * not repeated.  Its runs are rows of their own, factory.task_run.
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/attempt.h"
#include "base/clock.h"
#include "base/compat.h"
#include "base/house.h"
#include "catalog/pg_type.h"
#include "commands/async.h"
#include "executor/spi.h"
#include "metrics/metrics.h"
#include "portability/instr_time.h"
#include "refresh/refresh_int.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/timestamp.h"

/* One row of what is due. */
typedef struct DueTask
{
	DueSchedule schedule; /* view_name is the task's, view its number */
	int64 id;
	Oid owner;
	bool owner_is_gone;
	char *command;
	char *overlap;
	int64 running; /* the run that is going on; 0 for none */
} DueTask;

/* --- reading ---------------------------------------------------------------------- */

static const char *const due_query =
	"SELECT t.tenant_id, t.id, t.name, t.owner::pg_catalog.oid, a.oid IS NULL, "
	"t.command, "
	"t.times, t.timezone, t.due_why, coalesce(t.catch_up, 'last'), t.holidays, "
	"t.next_due, extract(epoch FROM coalesce(t.catch_up_window, '1 day')) * 1000000, "
	"extract(epoch FROM coalesce(t.jitter, '0')) * 1000000, "
	"extract(epoch FROM t.timeout) * 1000, extract(epoch FROM t.lock_timeout) * 1000, "
	"coalesce(t.overlap, 'skip'), r.id FROM factory.task AS t "
	"LEFT JOIN pg_catalog.pg_roles AS a ON a.oid = t.owner::pg_catalog.oid "
	"LEFT JOIN LATERAL (SELECT r.id FROM factory.task_run AS r WHERE r.task_id = t.id "
	"AND r.status = 'running' ORDER BY r.id DESC LIMIT 1) AS r ON true "
	"WHERE t.enabled AND t.paused_since IS NULL AND t.next_due <= $1 "
	"AND (r.id IS NULL OR t.overlap IS DISTINCT FROM 'queue_one') "
	"ORDER BY t.next_due, t.id FOR UPDATE OF t SKIP LOCKED";

static const char *const next_query =
	"SELECT pg_catalog.min(next_due), pg_catalog.count(*) FROM factory.task "
	"WHERE enabled AND paused_since IS NULL AND next_due > $1";

static char *
column_text(const SPITupleTable *rows, uint64 row, int column)
{
	return SPI_getvalue(rows->vals[row], rows->tupdesc, column);
}

static int64
column_number(const SPITupleTable *rows, uint64 row, int column, int64 when_null)
{
	char *text = column_text(rows, row, column);

	/* Whole numbers of any size, and numeric ones of intervals. */
	if (text == NULL)
		return when_null;
	return strchr(text, '.') ? (int64) strtod(text, NULL) : strtoi64(text, NULL, 10);
}

static DueTask *
read_due(const SPITupleTable *rows, uint64 row, TimestampTz now)
{
	DueTask *task = palloc0(sizeof(DueTask));
	DueSchedule *schedule = &task->schedule;
	bool isnull;

	schedule->tenant = column_text(rows, row, 1);
	task->id = column_number(rows, row, 2, 0);
	schedule->view_name = column_text(rows, row, 3);
	task->owner = (Oid) column_number(rows, row, 4, 0);
	task->owner_is_gone = *column_text(rows, row, 5) == 't';
	task->command = column_text(rows, row, 6);
	schedule->times = column_text(rows, row, 7);
	schedule->timezone = column_text(rows, row, 8);
	schedule->why = column_text(rows, row, 9);
	schedule->catch_up = column_text(rows, row, 10);
	schedule->holidays = column_text(rows, row, 11);
	schedule->due =
		DatumGetTimestampTz(SPI_getbinval(rows->vals[row], rows->tupdesc, 12, &isnull));
	schedule->window_usec = column_number(rows, row, 13, 0);
	schedule->jitter_usec = column_number(rows, row, 14, 0);
	schedule->timeout_ms = (int) Min(column_number(rows, row, 15, 0), INT_MAX);
	schedule->lock_timeout_ms = (int) Min(column_number(rows, row, 16, 0), INT_MAX);
	task->overlap = column_text(rows, row, 17);
	task->running = column_number(rows, row, 18, 0);
	schedule->now = now;
	return task;
}

/* --- writing ------------------------------------------------------------------------ */

/* A run that begins, or one that will not be; returns its id. */
static int64
record_task_run(const DueTask *task, const char *status, const char *reason,
				const ErrorData *error)
{
	static const char *const query =
		"INSERT INTO factory.task_run (task_id, task, owner, scheduled_for, started_at, "
		"finished_at, status, reason, error, sqlstate) VALUES ($1, $2, $3, $4, $5, "
		"CASE WHEN $6 <> 'running' THEN $5 END, $6, $7, $8, $9) RETURNING id";
	Oid types[] = {INT8OID, TEXTOID, OIDOID,  TIMESTAMPTZOID, TIMESTAMPTZOID,
				   TEXTOID, TEXTOID, TEXTOID, TEXTOID};
	Datum values[] = {Int64GetDatum(task->id),
					  CStringGetTextDatum(task->schedule.view_name),
					  ObjectIdGetDatum(task->owner),
					  TimestampTzGetDatum(task->schedule.due),
					  TimestampTzGetDatum(task->schedule.now),
					  CStringGetTextDatum(status),
					  reason ? CStringGetTextDatum(reason) : (Datum) 0,
					  error ? CStringGetTextDatum(error->message) : (Datum) 0,
					  error ? CStringGetTextDatum(unpack_sql_state(error->sqlerrcode))
							: (Datum) 0};
	char nulls[] = {' ', ' ', ' ', ' ', ' ', ' ', ' ', ' ', ' '};
	bool isnull;

	nulls[6] = reason ? ' ' : 'n';
	nulls[7] = nulls[8] = error ? ' ' : 'n';
	refresh_query(query, lengthof(types), types, values, nulls, false, 0);
	return DatumGetInt64(
		SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
}

static void
move_task_on(const DueTask *task)
{
	Oid types[] = {INT8OID, TIMESTAMPTZOID};
	Datum values[] = {Int64GetDatum(task->id), TimestampTzGetDatum(task->schedule.next)};

	refresh_query("UPDATE factory.task SET next_due = $2, due_why = 'schedule' "
				  "WHERE id = $1",
				  2, types, values, NULL, false, 0);
}

static void
disable_task(const DueTask *task, const char *reason, const ErrorData *error)
{
	Oid types[] = {INT8OID};
	Datum values[] = {Int64GetDatum(task->id)};

	(void) record_task_run(task, "failed", reason, error);
	refresh_query("UPDATE factory.task SET enabled = false WHERE id = $1", 1, types,
				  values, NULL, false, 0);
}

/* --- claiming ------------------------------------------------------------------------- */

static void
fill_task(const DueTask *due, bool missed, RefreshTask *task)
{
	RefreshRun *run = &task->run;
	instr_time now;

	INSTR_TIME_SET_CURRENT(now);
	strlcpy(run->tenant, due->schedule.tenant, sizeof(run->tenant));
	strlcpy(run->view_name, due->schedule.view_name, sizeof(run->view_name));
	run->scheduled_for = due->schedule.due;
	run->started = due->schedule.now;
	run->began_us = (int64) INSTR_TIME_GET_MICROSEC(now);
	run->timeout_ms = due->schedule.timeout_ms;
	run->lock_timeout_ms = due->schedule.lock_timeout_ms;
	run->id =
		record_task_run(due, "running",
						missed ? "caught up, nobody was there when it was due"
						: strcmp(due->schedule.why, "schedule") != 0 ? due->schedule.why
																	 : NULL,
						NULL);
	task->owner = due->owner;
	task->command = due->command;
	/* It is done at most once: the deed comes after this line, whatever happens. */
	ForceSyncCommit();
}

/* True where something is to be done for it now: a run, or the end of one. */
static bool
settle_task(DueTask *due, TimestampTz serving_since, RefreshTask *task)
{
	bool by_time = strcmp(due->schedule.why, "schedule") == 0;
	bool missed = by_time && due->schedule.due < serving_since;
	ErrorData *error;

	if (due->running != 0 && strcmp(due->overlap, "cancel_running") == 0)
	{
		task->instead_of = due->running;
		return true;
	}
	if (due->owner_is_gone)
	{
		disable_task(due, "its owner was dropped, and it is disabled", NULL);
		return false;
	}
	error = attempt(refresh_compute_next, &due->schedule);
	if (error != NULL)
	{
		disable_task(due, "the schedule cannot be read and is disabled", error);
		return false;
	}
	if (by_time && refresh_rests(&due->schedule))
	{
		move_task_on(due);
		return false;
	}
	if (due->running == 0 && (!missed || due->schedule.worth_it))
		fill_task(due, missed, task);
	else
		(void) record_task_run(due, "skipped",
							   due->running != 0 ? "its last run is still going on"
							   : strcmp(due->schedule.catch_up, "none") == 0
								   ? "missed, and the schedule says not to catch up"
								   : "missed more than its window ago",
							   NULL);
	move_task_on(due);
	return task->run.id != 0;
}

static TimestampTz
next_task(TimestampTz now)
{
	Oid types[] = {TIMESTAMPTZOID};
	Datum values[] = {TimestampTzGetDatum(now)};
	bool isnull;
	Datum next;

	refresh_query(next_query, 1, types, values, NULL, false, 0);
	next = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
	return isnull ? DT_NOEND : DatumGetTimestampTz(next);
}

/* What was claimed outlives SPI: it belongs to the caller's context. */
static RefreshTask *
copy_task(const RefreshTask *task, MemoryContext context)
{
	MemoryContext before = MemoryContextSwitchTo(context);
	RefreshTask *copy = palloc(sizeof(RefreshTask));

	*copy = *task;
	copy->command = task->command ? pstrdup(task->command) : NULL;
	MemoryContextSwitchTo(before);
	return copy;
}

static List *
claim_due(TimestampTz serving_since, int most, TimestampTz now, MemoryContext context)
{
	Oid types[] = {TIMESTAMPTZOID};
	Datum values[] = {TimestampTzGetDatum(now)};
	List *claimed = NIL;
	HouseRights saved;
	SPITupleTable *rows;
	uint64 count;

	house_enter_for_all(&saved);
	refresh_query(due_query, 1, types, values, NULL, false, 0);
	house_leave(&saved);
	rows = SPI_tuptable;
	count = SPI_processed;
	for (uint64 i = 0; i < count && list_length(claimed) < most; i++)
	{
		DueTask *due = read_due(rows, i, now);
		RefreshTask task = {0};

		tenant_act_for(due->schedule.tenant);
		house_enter(&saved);
		if (settle_task(due, serving_since, &task))
		{
			MemoryContext before = MemoryContextSwitchTo(context);

			claimed = lappend(claimed, copy_task(&task, context));
			MemoryContextSwitchTo(before);
		}
		house_leave(&saved);
	}
	return claimed;
}

List *
task_claim(TimestampTz serving_since, int most, TimestampTz *next_due,
		   MemoryContext context)
{
	TimestampTz now = clock_now();
	List *claimed = NIL;
	HouseRights saved;

	SPI_connect();
	if (most > 0)
		claimed = claim_due(serving_since, most, now, context);
	house_enter_for_all(&saved);
	*next_due = Min(*next_due, next_task(now));
	house_leave(&saved);
	SPI_finish();
	return claimed;
}

void
task_put_back(const RefreshRun *run)
{
	Oid types[] = {INT8OID};
	Datum values[] = {Int64GetDatum(run->id)};
	HouseRights saved;

	tenant_act_for(run->tenant);
	house_enter(&saved);
	SPI_connect();
	refresh_query("WITH gone AS (DELETE FROM factory.task_run WHERE id = $1 "
				  "RETURNING task_id, scheduled_for, reason) "
				  "UPDATE factory.task AS t SET next_due = gone.scheduled_for, "
				  "due_why = coalesce(gone.reason, 'schedule') FROM gone "
				  "WHERE t.id = gone.task_id",
				  1, types, values, NULL, false, 0);
	SPI_finish();
	house_leave(&saved);
	ForceSyncCommit();
}

/* --- how it ended ------------------------------------------------------------------------ */

static void
settle_task_failure(const RefreshRun *run)
{
	static const char *const query =
		"UPDATE factory.task AS s SET "
		"attempts = CASE WHEN p.again THEN attempts + 1 ELSE 0 END, "
		"failures = failures + CASE WHEN p.again THEN 0 ELSE 1 END, "
		"due_why = CASE WHEN p.again THEN pg_catalog.format('retry %s of %s', "
		"attempts + 1, p.retries) ELSE due_why END, "
		"next_due = CASE WHEN p.again THEN LEAST(next_due, $2 + p.pause) "
		"ELSE next_due END, "
		"paused_since = CASE WHEN NOT p.again AND p.most > 0 AND failures + 1 >= p.most "
		"THEN $2 END FROM (SELECT id, attempts < coalesce(retries, 0) AS again, "
		"coalesce(retries, 0) AS retries, coalesce(pause_after, $4) AS most, "
		"coalesce(retry_delay, pg_catalog.make_interval(secs => $3)) "
		"* pg_catalog.power(2, LEAST(attempts, 20)) AS pause FROM factory.task WHERE id "
		"= "
		"(SELECT r.task_id FROM factory.task_run AS r WHERE r.id = $1)) AS p "
		"WHERE s.id = p.id RETURNING paused_since IS NOT NULL";
	Oid types[] = {INT8OID, TIMESTAMPTZOID, FLOAT8OID, INT4OID};
	Datum values[] = {Int64GetDatum(run->id), TimestampTzGetDatum(clock_now()),
					  Float8GetDatum(refresh_retry_delay_ms / 1000.0),
					  Int32GetDatum(refresh_pause_after)};
	bool isnull, paused;
	StringInfoData payload;

	refresh_query(query, lengthof(types), types, values, NULL, false, 0);
	paused = SPI_processed > 0 &&
			 DatumGetBool(
				 SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	initStringInfo(&payload);
	appendStringInfo(&payload, "{\"event\": \"%s\", \"task\": ",
					 paused ? "task_paused" : "task_failed");
	escape_json(&payload, run->view_name);
	appendStringInfo(&payload, ", \"run\": " INT64_FORMAT "}", run->id);
	Async_Notify(REFRESH_CHANNEL, payload.data);
}

static void
settle_task_success(const RefreshRun *run)
{
	Oid types[] = {INT8OID};
	Datum values[] = {Int64GetDatum(run->id)};

	refresh_query("UPDATE factory.task SET attempts = 0, failures = 0 WHERE id = "
				  "(SELECT r.task_id FROM factory.task_run AS r WHERE r.id = $1) "
				  "AND (attempts > 0 OR failures > 0)",
				  1, types, values, NULL, false, 0);
}

static void
write_outcome(const RefreshRun *run, const ErrorData *error, double duration_ms)
{
	static const char *const query =
		"UPDATE factory.task_run SET finished_at = $2, duration_ms = $3, status = $4, "
		"error = $5, sqlstate = $6 WHERE id = $1";
	Oid types[] = {INT8OID, TIMESTAMPTZOID, FLOAT8OID, TEXTOID, TEXTOID, TEXTOID};
	Datum values[] = {Int64GetDatum(run->id),
					  TimestampTzGetDatum(clock_now()),
					  Float8GetDatum(duration_ms),
					  CStringGetTextDatum(error ? "failed" : "succeeded"),
					  error ? refresh_error_text(error) : (Datum) 0,
					  error ? CStringGetTextDatum(unpack_sql_state(error->sqlerrcode))
							: (Datum) 0};
	char nulls[] = {' ', ' ', ' ', ' ', error ? ' ' : 'n', error ? ' ' : 'n'};

	refresh_query(query, lengthof(types), types, values, nulls, false, 0);
}

static RefreshHistory history = {
	.by_number = "DELETE FROM factory.task_run WHERE id <= $1 AND status <> 'running'",
	.by_age =
		"DELETE FROM factory.task_run WHERE started_at < $1 AND status <> 'running'",
};

void
task_record(const RefreshRun *run, const ErrorData *error)
{
	HouseRights saved;
	instr_time now;
	double duration_ms;

	INSTR_TIME_SET_CURRENT(now);
	duration_ms = ((int64) INSTR_TIME_GET_MICROSEC(now) - run->began_us) / 1000.0;
	tenant_act_for(run->tenant);
	house_enter(&saved);
	SPI_connect();
	write_outcome(run, error, duration_ms);
	refresh_prune(&history, run->id);
	if (error == NULL)
		settle_task_success(run);
	else
		settle_task_failure(run);
	SPI_finish();
	house_leave(&saved);
	ForceSyncCommit();
	metric_add(METRIC_TASK_RUNS, 1,
			   METRIC_LABELS(run->view_name, error ? "failed" : "succeeded"));
	metric_observe(METRIC_TASK_DURATION, duration_ms / 1000.0,
				   METRIC_LABELS(run->view_name));
}
