/*
 * refresh.c
 *		The room's settings and prepared statements, and what is done before claims.
 */
#include "postgres.h"

#include "base/clock.h"
#include "base/compat.h"
#include "base/house.h"
#include "base/settings.h"
#include "catalog/namespace.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "executor/spi.h"
#include "refresh/refresh_int.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

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

/* --- before claims -------------------------------------------------------------- */

/* The tables that were changed, and since when: as arrays; false for none. */
static bool
take_notes(Datum *tables, Datum *since)
{
	bool isnull;

	refresh_query(
		"WITH change AS (DELETE FROM factory.refresh_change RETURNING relation, "
		"changed_at), first AS (SELECT relation, pg_catalog.min(changed_at) AS "
		"at FROM change GROUP BY relation) SELECT "
		"pg_catalog.array_agg(relation), pg_catalog.array_agg(at) FROM first",
		0, NULL, NULL, NULL, false, 0);
	*tables = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
	*since = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &isnull);
	return !isnull;
}

/* Changes of tables make due what reads them and wants to be refreshed on change. */
void
refresh_take_changes(void)
{
	Oid types[] = {OIDARRAYOID, TIMESTAMPTZARRAYOID};
	Datum values[2];
	HouseRights saved;

	refresh_forget_due();
	SPI_connect();
	house_enter_for_all(&saved);
	if (take_notes(&values[0], &values[1]))
		refresh_query(
			"WITH early AS (SELECT s.view, pg_catalog.min(c.at) AS at "
			"FROM factory.refresh_schedule AS s, "
			"factory.view_sources(s.view::pg_catalog.oid, true) AS v "
			"JOIN ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2)) "
			"AS c (relation, at) ON c.relation = v.relation WHERE s.on_change GROUP BY "
			"s.view) "
			"UPDATE factory.refresh_schedule AS s SET due_why = 'a table it reads was "
			"changed', "
			"next_due = LEAST(s.next_due, early.at + coalesce(s.quiet, '1 second')) "
			"FROM early WHERE s.view::pg_catalog.oid = early.view::pg_catalog.oid",
			2, types, values, NULL, false, 0);
	house_leave(&saved);
	SPI_finish();
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
