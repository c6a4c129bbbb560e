/*
 * freshness.c
 *		How old a dataset's data is, and the rows of questions asked a moment ago.
 *
 * A stored result is found by a key that holds the statement (its dates resolved),
 * the reader and all that tells a change of the data: the last report of the ETL,
 * the last refresh, the relation's file and its count of changed rows.  So nothing
 * has to be emptied: what changed is not found any more.  A relation without such
 * signs (a view, a foreign table) is stale for factory.question_cache_ttl at most.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "base/base.h"
#include "base/clock.h"
#include "base/house.h"
#include "bi/bi_int.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "pgstat.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

/* Larger results are read again. */
#define CACHED_BYTES_MAX (1024 * 1024)
/* Advisory locks of ours: a second writer of the same key goes without. */
#define CACHE_LOCK_CLASS 1180791859

static const char *const status_query =
	"SELECT (SELECT max(etl_done_at) FROM factory.dataset_status"
	"        WHERE tenant_id = $1 AND ($2 IS NULL OR dataset = $2)),"
	" (SELECT max(finished_at) FROM (SELECT finished_at FROM factory.refresh_run"
	"   WHERE view_oid = $3 AND status = 'succeeded' ORDER BY id DESC LIMIT 1) AS last),"
	" (SELECT next_due FROM factory.refresh_schedule"
	"  WHERE view = $3::pg_catalog.regclass AND enabled)";

static const char *const find_query =
	"SELECT answer FROM factory.answer_cache"
	" WHERE tenant_id = $1 AND key = pg_catalog.sha256(pg_catalog.convert_to($2, 'UTF8'))"
	" AND created_at <= $3 AND expires_at > $3";

static const char *const store_query =
	"INSERT INTO factory.answer_cache (tenant_id, key, answer, created_at, expires_at)"
	" SELECT $1, pg_catalog.sha256(pg_catalog.convert_to($2, 'UTF8')), $3, $4, $5"
	" WHERE pg_catalog.pg_try_advisory_xact_lock($6, pg_catalog.hashtext($2))"
	" ON CONFLICT (tenant_id, key) DO UPDATE"
	" SET answer = excluded.answer, created_at = excluded.created_at,"
	" expires_at = excluded.expires_at";

/* Not while others may write the same keys: their locks are skipped. */
static const char *const sweep_query =
	"DELETE FROM factory.answer_cache WHERE tenant_id = $1 AND key IN ("
	" SELECT key FROM factory.answer_cache WHERE tenant_id = $1 AND expires_at < $2"
	" ORDER BY expires_at LIMIT 20 FOR UPDATE SKIP LOCKED)";

static const char *const report_query =
	"INSERT INTO factory.dataset_status AS s (tenant_id, dataset, etl_done_at, "
	"reported_by)"
	" VALUES ($1, $2, $3, $4) ON CONFLICT (tenant_id, dataset) DO UPDATE"
	" SET etl_done_at = greatest(excluded.etl_done_at, s.etl_done_at"
	" + interval '1 microsecond'), reported_by = excluded.reported_by";

/* The plan of a fixed statement, prepared once. */
static SPIPlanPtr
prepared(SPIPlanPtr *plan, const char *query, int count, Oid *types)
{
	if (*plan == NULL)
	{
		SPIPlanPtr fresh = SPI_prepare(query, count, types);

		if (fresh == NULL || SPI_keepplan(fresh) != 0)
			elog(ERROR, "could not prepare a statement of the question room");
		*plan = fresh;
	}
	return *plan;
}

static TimestampTz
time_column(int column)
{
	bool isnull;
	Datum value =
		SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, column, &isnull);

	return isnull ? 0 : DatumGetTimestampTz(value);
}

/* --- age ------------------------------------------------------------------------- */

/* Without a dataset: the latest report of any. */
void
freshness_read(const Dataset *dataset, Freshness *freshness)
{
	static SPIPlanPtr plan = NULL;
	Oid types[] = {TEXTOID, TEXTOID, OIDOID};
	Datum values[] = {CStringGetTextDatum(tenant_current()),
					  dataset ? CStringGetTextDatum(dataset->name) : (Datum) 0,
					  ObjectIdGetDatum(dataset ? dataset->relid : InvalidOid)};
	char nulls[] = {' ', dataset ? ' ' : 'n', ' '};
	HouseRights saved;

	memset(freshness, 0, sizeof(*freshness));
	/* A view's refresh concerns whoever reads it, not only the tenant who ran it. */
	house_enter_for_all(&saved);
	SPI_connect();
	if (SPI_execute_plan(prepared(&plan, status_query, 3, types), values, nulls, true,
						 1) == SPI_OK_SELECT &&
		SPI_processed == 1)
	{
		freshness->etl_done_at = time_column(1);
		freshness->refreshed_at = time_column(2);
		freshness->next_due = time_column(3);
	}
	SPI_finish();
	house_leave(&saved);
	freshness->overdue = freshness->next_due != 0 && freshness->next_due < clock_now();
}

void
freshness_put(DocBuilder *b, const char *key, const Dataset *dataset,
			  const Freshness *freshness)
{
	static const char *const names[] = {"etl_done_at", "refreshed_at"};
	TimestampTz times[] = {freshness->etl_done_at, freshness->refreshed_at};

	if (dataset == NULL)
	{
		doc_put_null(b, key);
		return;
	}
	doc_begin_object(b, key);
	doc_put_string(b, "dataset", dataset->name);
	doc_put_bool(b, "materialized", get_rel_relkind(dataset->relid) == RELKIND_MATVIEW);
	for (int i = 0; i < lengthof(names); i++)
		doc_put_string(b, names[i],
					   times[i] ? pstrdup(timestamptz_to_str(times[i])) : NULL);
	doc_put_bool(b, "stale", freshness->overdue);
	doc_end_object(b);
}

void
freshness_report(const char *dataset)
{
	Oid types[] = {TEXTOID, TEXTOID, TIMESTAMPTZOID, TEXTOID};
	Datum values[] = {CStringGetTextDatum(tenant_current()), CStringGetTextDatum(dataset),
					  TimestampTzGetDatum(clock_now()),
					  CStringGetTextDatum(GetUserNameFromId(GetUserId(), false))};
	HouseRights saved;

	house_enter(&saved);
	SPI_connect();
	if (SPI_execute_with_args(report_query, 4, types, values, NULL, false, 0) !=
		SPI_OK_INSERT)
		elog(ERROR, "could not store the dataset's status");
	SPI_finish();
	house_leave(&saved);
}

/* --- stored rows ------------------------------------------------------------------- */

/* What changes when the relation's rows do, as far as the server counts. */
static char *
relation_mark(Oid relid)
{
	HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	PgStat_StatTabEntry *counts = pgstat_fetch_stat_tabentry(relid);
	Oid file = InvalidOid;
	int64 changes;

	if (HeapTupleIsValid(tuple))
	{
		file = ((Form_pg_class) GETSTRUCT(tuple))->relfilenode;
		ReleaseSysCache(tuple);
	}
	changes = compat_unreported_changes(relid);
	if (counts)
		changes +=
			counts->tuples_inserted + counts->tuples_updated + counts->tuples_deleted;
	return psprintf("%u %lld", file, (long long) changes);
}

static char *
cache_key(const char *sql, GuardScope scope, int max_rows, const Dataset *dataset,
		  const Freshness *freshness)
{
	return psprintf("%d %d %d %s|%s|%lld %lld|%s|%s", (int) scope, max_rows,
					bi_max_bytes_kb, bi_reader_role, bi_reader_search_path,
					(long long) freshness->etl_done_at,
					(long long) freshness->refreshed_at,
					dataset ? relation_mark(dataset->relid) : "", sql);
}

static void
result_from_document(GuardedResult *result, Jsonb *doc)
{
	List *names = doc_elements(doc_get_doc(doc, "names"));
	List *types = doc_elements(doc_get_doc(doc, "types"));
	ListCell *cell;

	memset(result, 0, sizeof(*result));
	result->column_count = list_length(names);
	result->names = palloc0(sizeof(char *) * Max(result->column_count, 1));
	result->types = palloc0(sizeof(Oid) * Max(result->column_count, 1));
	for (int i = 0; i < result->column_count; i++)
	{
		result->names[i] = doc_value_text(list_nth(names, i));
		result->types[i] = (Oid) doc_value_number(list_nth(types, i));
	}
	foreach (cell, doc_elements(doc_get_doc(doc, "rows")))
		result->rows = lappend(result->rows, doc_from_value(lfirst(cell)));
	result->truncated = doc_get_bool(doc, "truncated", false);
	result->from_cache = true;
}

static Jsonb *
result_to_document(const GuardedResult *result)
{
	DocBuilder b;
	ListCell *cell;

	doc_build(&b);
	doc_begin_object(&b, NULL);
	doc_begin_array(&b, "names");
	for (int i = 0; i < result->column_count; i++)
		doc_put_string(&b, NULL, result->names[i]);
	doc_end_array(&b);
	doc_begin_array(&b, "types");
	for (int i = 0; i < result->column_count; i++)
		doc_put_int(&b, NULL, result->types[i]);
	doc_end_array(&b);
	doc_begin_array(&b, "rows");
	foreach (cell, result->rows)
		doc_put_doc(&b, NULL, lfirst(cell));
	doc_end_array(&b);
	doc_put_bool(&b, "truncated", result->truncated);
	doc_end_object(&b);
	return doc_finish(&b);
}

static bool
result_find(const char *key, GuardedResult *result)
{
	static SPIPlanPtr plan = NULL;
	Oid types[] = {TEXTOID, TEXTOID, TIMESTAMPTZOID};
	Datum values[] = {CStringGetTextDatum(tenant_current()), CStringGetTextDatum(key),
					  TimestampTzGetDatum(clock_now())};
	MemoryContext context = CurrentMemoryContext;
	Jsonb *found = NULL;
	HouseRights saved;

	house_enter(&saved);
	SPI_connect();
	if (SPI_execute_plan(prepared(&plan, find_query, 3, types), values, NULL, true, 1) ==
			SPI_OK_SELECT &&
		SPI_processed == 1)
	{
		bool isnull;
		Datum answer =
			SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
		MemoryContext old = MemoryContextSwitchTo(context);

		found = DatumGetJsonbPCopy(answer);
		MemoryContextSwitchTo(old);
	}
	SPI_finish();
	house_leave(&saved);
	if (found)
		result_from_document(result, found);
	return found != NULL;
}

static void
result_store(const char *key, const GuardedResult *result)
{
	static SPIPlanPtr store = NULL, sweep = NULL;
	Oid types[] = {TEXTOID, TEXTOID, JSONBOID, TIMESTAMPTZOID, TIMESTAMPTZOID, INT4OID};
	Oid sweep_types[] = {TEXTOID, TIMESTAMPTZOID};
	TimestampTz now = clock_now();
	Datum values[] = {CStringGetTextDatum(tenant_current()),
					  CStringGetTextDatum(key),
					  JsonbPGetDatum(result_to_document(result)),
					  TimestampTzGetDatum(now),
					  TimestampTzGetDatum(now + bi_cache_ttl_ms * INT64CONST(1000)),
					  Int32GetDatum(CACHE_LOCK_CLASS)};
	Datum sweep_values[] = {values[0], TimestampTzGetDatum(now)};
	HouseRights saved;

	house_enter(&saved);
	SPI_connect();
	(void) SPI_execute_plan(prepared(&sweep, sweep_query, 2, sweep_types), sweep_values,
							NULL, false, 0);
	(void) SPI_execute_plan(prepared(&store, store_query, 6, types), values, NULL, false,
							0);
	SPI_finish();
	house_leave(&saved);
}

/*
 * guarded_run(), or what it gave a moment ago.  Nothing is stored on a standby or in
 * a read-only transaction, and nothing is read there that could not be stored.  A
 * transaction with a snapshot of its own neither gives nor takes: its rows are older than
 * the signs of a change that a key has.
 */
void
guarded_run_cached(const char *sql, GuardScope scope, int max_rows,
				   const Dataset *dataset, const Freshness *freshness, bool skip,
				   GuardedResult *result, Verdict *verdict)
{
	/* What this transaction has written, the counts do not tell. */
	bool usable = bi_cache_ttl_ms > 0 && !skip && !RecoveryInProgress() &&
				  !IsolationUsesXactSnapshot() &&
				  !TransactionIdIsValid(GetTopTransactionIdIfAny());
	char *key = usable ? cache_key(sql, scope, max_rows, dataset, freshness) : NULL;

	memset(verdict, 0, sizeof(*verdict));
	if (usable && result_find(key, result))
	{
		verdict->ok = true;
		return;
	}
	guarded_run(sql, scope, max_rows, result, verdict);
	if (usable && verdict->ok && !XactReadOnly && result->bytes <= CACHED_BYTES_MAX)
		result_store(key, result);
}
