/*
 * job_table.c
 *		factory.job: the queue that is a table, so that a job commits with its caller.
 */
#include "postgres.h"

#include <limits.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/compat.h"
#include "base/document.h"
#include "base/errors.h"
#include "base/house.h"
#include "base/quota.h"
#include "base/settings.h"
#include "catalog/pg_type.h"
#include "commands/async.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "worker/job_int.h"

/* What listeners of the house hear on. */
#define JOB_CHANNEL "factory_events"

/* A job whose runner was lost so often is not tried again: it may be why. */
#define JOB_MAX_LOSSES "3"

/* The scheduler is told that often at most that jobs have ended. */
#define TELL_SCHEDULER_MS (60 * 1000L)

/* A session that has seen the queue far from full submits so many without looking. */
#define ADMIT_PART 64

int job_concurrency;
static int job_retention_s;
static int job_max_queued;

static const Setting settings[] = {
	{"factory.job_concurrency",
	 "Sets how many models a database's job runner asks at the same time.", SETTING_INT,
	 &job_concurrency, .boot = 256, .min = 1, .max = 1024, .context = PGC_SIGHUP},
	{"factory.job_max_queued",
	 "Sets how many jobs may wait in a database; more are refused.", SETTING_INT,
	 &job_max_queued, .boot = 100000, .min = 1, .max = INT_MAX, .context = PGC_SIGHUP},
	{"factory.job_retention",
	 "Sets how long a job that has ended is kept; 0 means for ever.", SETTING_INT,
	 &job_retention_s, .boot = 7 * 24 * 60 * 60, .min = 0, .max = INT_MAX,
	 .context = PGC_SIGHUP, .flags = GUC_UNIT_S},
};

void
jobs_define_settings(void)
{
	settings_define(settings, lengthof(settings));
	quota_counted_by(QUOTA_JOBS, "SELECT tenant_id, pg_catalog.count(*) FROM factory.job "
								 "WHERE state IN ('queued', 'running') GROUP BY 1");
}

/* --- statements of ours ------------------------------------------------------------------ */

typedef struct Statement
{
	HouseRights saved;
} Statement;

/* For the rows of all tenants; plans lead through our indexes, however old statistics are. */
static void
statement_begin(Statement *statement)
{
	house_enter_for_all(&statement->saved);
	(void) set_config_option("enable_seqscan", "off", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	SPI_connect();
}

static void
statement_end(const Statement *statement)
{
	SPI_finish();
	house_leave(&statement->saved);
}

static void
run(const char *text, int count, Oid *types, Datum *values, const char *nulls)
{
	if (SPI_execute_with_args(text, count, types, values, nulls, false, 0) < 0)
		elog(ERROR, "could not run \"%s\"", text);
}

static Datum
column(int row, int number, bool *is_null)
{
	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, number, is_null);
}

static int64
first_count(void)
{
	bool is_null;

	return DatumGetInt64(column(0, 1, &is_null));
}

bool
jobs_are_waiting(void)
{
	Statement statement;
	bool waiting;

	if (!OidIsValid(house_relation_if_exists("job")))
		return false;
	statement_begin(&statement);
	run("SELECT FROM factory.job WHERE state = 'queued' UNION ALL "
		"SELECT FROM factory.job WHERE state = 'running' LIMIT 1",
		0, NULL, NULL, NULL);
	waiting = SPI_processed > 0;
	statement_end(&statement);
	return waiting;
}

/* --- submitting ---------------------------------------------------------------------------- */

static int64
count_jobs(const char *condition, const char *tenant, int64 limit)
{
	Oid types[] = {INT8OID, TEXTOID};
	Datum values[] = {Int64GetDatum(limit), CStringGetTextDatum(tenant)};
	Statement statement;
	int64 count;

	statement_begin(&statement);
	run(psprintf("SELECT count(*) FROM (SELECT FROM factory.job WHERE %s LIMIT $1) AS "
				 "counted WHERE $2 IS NOT NULL",
				 condition),
		2, types, values, NULL);
	count = first_count();
	statement_end(&statement);
	return count;
}

static void
admit_to_queue(void)
{
	static int64 without_looking = 0;
	int64 waiting;

	if (without_looking-- > 0)
		return;
	waiting = count_jobs("state = 'queued'", "", job_max_queued);
	if (waiting >= job_max_queued)
	{
		without_looking = 0;
		ereport(ERROR,
				(errcode(ERRCODE_FACTORY_QUEUE_FULL), errmsg("the queue of jobs is full"),
				 errdetail("%d jobs wait; that is the limit.", job_max_queued),
				 errhint("Submit later, or raise \"factory.job_max_queued\".")));
	}
	without_looking = (job_max_queued - waiting) / ADMIT_PART;
}

/* Jobs of transactions that have not committed are seen by none but their own. */
static void
admit_to_quota(void)
{
	int64 limit = quota_limit(QUOTA_JOBS);

	if (limit >= 0)
		quota_check(QUOTA_JOBS,
					count_jobs("state IN ('queued', 'running') AND tenant_id = $2",
							   tenant_current(), limit) +
						1,
					clock_now());
}

FACTORY_FUNCTION(factory_admit_job);

Datum
factory_admit_job(PG_FUNCTION_ARGS)
{
	admit_to_queue();
	admit_to_quota();
	PG_RETURN_VOID();
}

/* --- claiming --------------------------------------------------------------------------------- */

/*
 * Tenants take turns, whoever has least under way first, and of equals the next by name
 * after the one that was last; within a tenant priority, then age decide.
 */
static const char *const claim_query =
	"WITH RECURSIVE waiting AS ("
	" (SELECT tenant_id FROM factory.job WHERE state = 'queued' ORDER BY tenant_id LIMIT "
	"1)"
	" UNION ALL"
	" SELECT (SELECT j.tenant_id FROM factory.job AS j WHERE j.state = 'queued'"
	"   AND j.tenant_id > w.tenant_id ORDER BY j.tenant_id LIMIT 1)"
	" FROM waiting AS w WHERE w.tenant_id IS NOT NULL), "
	"load AS (SELECT tenant_id, count(*) AS jobs FROM factory.job WHERE state = 'running'"
	" GROUP BY tenant_id), "
	"chosen AS (SELECT c.id, row_number() OVER (ORDER BY c.turn + coalesce(l.jobs, 0),"
	"  w.tenant_id <= $2, w.tenant_id, c.id) AS place"
	" FROM waiting AS w LEFT JOIN load AS l USING (tenant_id)"
	" CROSS JOIN LATERAL (SELECT q.id, row_number() OVER (ORDER BY q.priority DESC, q.id)"
	"   AS turn FROM (SELECT j.id, j.priority FROM factory.job AS j"
	"     WHERE j.state = 'queued' AND j.tenant_id = w.tenant_id"
	"     ORDER BY j.priority DESC, j.id LIMIT $1) AS q) AS c"
	" WHERE w.tenant_id IS NOT NULL ORDER BY place LIMIT $1) "
	"SELECT j.id, j.tenant_id, j.kind, j.subject, j.input, j.policy, j.skip_cache,"
	" j.deadline, r.oid, pg_catalog.has_function_privilege(r.oid, CASE j.kind WHEN "
	"'judgment'"
	"  THEN 'factory.judge_async(text, jsonb, text, interval, int, text, bool)'"
	"  ELSE 'factory.complete_async(text, text, text, jsonb, jsonb, interval, int, text)'"
	"  END, 'EXECUTE') "
	"FROM chosen AS c JOIN factory.job AS j ON j.id = c.id"
	" LEFT JOIN pg_catalog.pg_authid AS r ON r.rolname = j.submitted_by "
	"WHERE j.state = 'queued' ORDER BY c.place FOR UPDATE OF j SKIP LOCKED";

static char *
text_column(int row, int number)
{
	bool is_null;
	Datum value = column(row, number, &is_null);

	return is_null ? NULL : TextDatumGetCString(value);
}

/* In the job's own memory. */
static Job *
read_job(int row)
{
	MemoryContext context =
		AllocSetContextCreate(TopMemoryContext, "factory job", ALLOCSET_SMALL_SIZES);
	MemoryContext before = MemoryContextSwitchTo(context);
	Job *job = palloc0(sizeof(Job));
	bool is_null;

	job->context = context;
	job->id = DatumGetInt64(column(row, 1, &is_null));
	job->tenant = text_column(row, 2);
	job->kind = text_column(row, 3);
	job->task.decision = text_column(row, 4);
	job->task.input = DatumGetJsonbPCopy(column(row, 5, &is_null));
	job->task.policy = text_column(row, 6);
	job->task.skip_cache = DatumGetBool(column(row, 7, &is_null));
	job->deadline = DatumGetTimestampTz(column(row, 8, &is_null));
	if (is_null)
		job->deadline = DT_NOEND;
	job->role = DatumGetObjectId(column(row, 9, &is_null));
	if (is_null)
		job->role = InvalidOid;
	job->allowed = DatumGetBool(column(row, 10, &is_null)) && !is_null;
	MemoryContextSwitchTo(before);
	return job;
}

List *
job_table_claim(int places)
{
	static char last[TENANT_NAME_MAX + 1] = "";
	Oid types[] = {INT4OID, TEXTOID};
	Datum values[] = {Int32GetDatum(places), CStringGetTextDatum(last)};
	MemoryContext caller = CurrentMemoryContext;
	Statement statement;
	List *jobs = NIL;

	statement_begin(&statement);
	run(claim_query, 2, types, values, NULL);
	for (int i = 0; i < (int) SPI_processed; i++)
	{
		Job *job = read_job(i);
		MemoryContext before = MemoryContextSwitchTo(caller);

		jobs = lappend(jobs, job);
		strlcpy(last, job->tenant, sizeof(last));
		MemoryContextSwitchTo(before);
	}
	statement_end(&statement);
	return jobs;
}

static Datum
id_array(List *jobs)
{
	Datum *ids = palloc(sizeof(Datum) * (list_length(jobs) + 1));
	ListCell *cell;

	foreach (cell, jobs)
		ids[foreach_current_index(cell)] = Int64GetDatum(((Job *) lfirst(cell))->id);
	return PointerGetDatum(construct_array(ids, list_length(jobs), INT8OID, sizeof(int64),
										   FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

void
job_table_mark_running(List *jobs)
{
	Oid types[] = {INT8ARRAYOID};
	Datum values[] = {id_array(jobs)};
	Statement statement;

	if (jobs == NIL)
		return;
	statement_begin(&statement);
	run("UPDATE factory.job SET state = 'running', attempts = attempts + 1, "
		"started_at = pg_catalog.clock_timestamp() WHERE id = ANY ($1)",
		1, types, values, NULL);
	statement_end(&statement);
}

List *
job_table_cancelled(void)
{
	MemoryContext caller = CurrentMemoryContext;
	Statement statement;
	List *ids = NIL;

	statement_begin(&statement);
	run("SELECT id FROM factory.job WHERE state = 'running' AND cancel", 0, NULL, NULL,
		NULL);
	for (int i = 0; i < (int) SPI_processed; i++)
	{
		MemoryContext before = MemoryContextSwitchTo(caller);
		int64 *id = palloc(sizeof(int64));
		bool is_null;

		*id = DatumGetInt64(column(i, 1, &is_null));
		ids = lappend(ids, id);
		MemoryContextSwitchTo(before);
	}
	statement_end(&statement);
	return ids;
}

/* --- the end of a job ----------------------------------------------------------------------- */

/* It deletes what ended long ago, also where a runner is never idle. */
static void
tell_scheduler(void)
{
	static TimestampTz told_at = 0;
	TimestampTz now = GetCurrentTimestamp();

	if (job_retention_s == 0 ||
		now < TimestampTzPlusMilliseconds(told_at, TELL_SCHEDULER_MS))
		return;
	told_at = now;
	worker_wake_at_commit();
}

static void
tell(const char *event, int64 id)
{
	Async_Notify(JOB_CHANNEL,
				 psprintf("{\"event\": \"%s\", \"job\": " INT64_FORMAT "}", event, id));
	tell_scheduler();
}

/* Running by nobody we know of: its runner was lost between question and answer. */
void
job_table_settle_lost(List *known)
{
	Oid types[] = {INT8ARRAYOID};
	Datum values[] = {id_array(known)};
	Statement statement;

	statement_begin(&statement);
	run("UPDATE factory.job SET "
		"state = CASE WHEN cancel THEN 'cancelled' WHEN on_unknown = 'fail' THEN "
		"'failed' "
		" WHEN on_unknown = 'retry' AND losses + 1 < " JOB_MAX_LOSSES " THEN 'queued' "
		" ELSE 'unknown' END, losses = losses + 1, "
		"finished_at = CASE WHEN cancel OR on_unknown = 'fail' "
		" THEN pg_catalog.clock_timestamp() END, "
		"error = 'the worker ended before the answer came', sqlstate = 'PF501' "
		"WHERE state = 'running' AND id <> ALL ($1) RETURNING id, state",
		1, types, values, NULL);
	for (int i = 0; i < (int) SPI_processed; i++)
	{
		bool is_null;
		char *state = text_column(i, 2);

		if (strcmp(state, "queued") != 0)
			tell(psprintf("job_%s", state), DatumGetInt64(column(i, 1, &is_null)));
	}
	statement_end(&statement);
}

void
job_table_done(const Job *job, Datum result, Oid type)
{
	Oid types[] = {INT8OID, type};
	Datum values[] = {Int64GetDatum(job->id), result};
	Statement statement;

	statement_begin(&statement);
	run("UPDATE factory.job SET state = 'done', result = pg_catalog.to_jsonb($2), "
		"started_at = coalesce(started_at, pg_catalog.clock_timestamp()), "
		"attempts = greatest(attempts, 1), error = NULL, sqlstate = NULL, "
		"finished_at = pg_catalog.clock_timestamp() WHERE id = $1",
		2, types, values, NULL);
	tell("job_done", job->id);
	statement_end(&statement);
}

void
job_table_failed(const Job *job, int sqlstate, const char *message)
{
	Oid types[] = {INT8OID, TEXTOID, TEXTOID};
	Datum values[] = {Int64GetDatum(job->id), CStringGetTextDatum(message),
					  CStringGetTextDatum(unpack_sql_state(sqlstate))};
	Statement statement;

	statement_begin(&statement);
	run("UPDATE factory.job SET state = 'failed', error = $2, sqlstate = $3, "
		"finished_at = pg_catalog.clock_timestamp() WHERE id = $1",
		3, types, values, NULL);
	tell("job_failed", job->id);
	statement_end(&statement);
}

void
job_table_cancel(const Job *job)
{
	Oid types[] = {INT8OID};
	Datum values[] = {Int64GetDatum(job->id)};
	Statement statement;

	statement_begin(&statement);
	run("UPDATE factory.job SET state = 'cancelled', "
		"finished_at = pg_catalog.clock_timestamp() WHERE id = $1",
		1, types, values, NULL);
	tell("job_cancelled", job->id);
	statement_end(&statement);
}
