/*
 * table.c
 *		The second level: an unlogged table, read and written by the house.
 *
 * Rows are written in the caller's transaction, so a rollback takes them away.  They are
 * added, never changed, and the newest of a key counts: nobody who keeps an answer waits
 * for another's transaction, or fails for it.  Those that are of no more use are taken out
 * where no one else does so just now.  On a standby there is no unlogged table to read.
 */
#include "postgres.h"

#include "access/parallel.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "base/house.h"
#include "base/tenant.h"
#include "cache/cache_int.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

bool cache_use_table;

static const char *const find_query =
	"SELECT value, created_at, expires_at FROM factory.cache_entry"
	" WHERE tenant_id = $1 AND key = $2 AND created_at <= $3 AND expires_at > $3"
	" ORDER BY created_at DESC LIMIT 1";

static const char *const put_query =
	"INSERT INTO factory.cache_entry"
	" (tenant_id, key, kind, subject, value, created_at, expires_at)"
	" VALUES ($1, $2, $3, $4, $5, $6, $7)";

static const char *const sweep_query =
	"DELETE FROM factory.cache_entry WHERE ctid = ANY (ARRAY("
	"SELECT ctid FROM factory.cache_entry WHERE tenant_id = $1 AND expires_at <= $2"
	" ORDER BY expires_at LIMIT 20 FOR UPDATE SKIP LOCKED))";

static const char *const empty_query =
	"DELETE FROM factory.cache_entry WHERE ctid = ANY (ARRAY("
	"SELECT ctid FROM factory.cache_entry WHERE ($1 IS NULL OR tenant_id = $1)"
	" AND ($2 IS NULL OR kind = $2) AND ($3 IS NULL OR subject = $3)"
	" FOR UPDATE SKIP LOCKED))";

static const char *const count_query =
	"SELECT pg_catalog.count(*),"
	" coalesce(pg_catalog.sum(pg_catalog.length(value)), 0)::bigint"
	" FROM factory.cache_entry WHERE tenant_id = $1 AND kind = $2 AND expires_at > $3";

static bool
is_readable(void)
{
	return cache_use_table && !RecoveryInProgress() && !IsInParallelMode();
}

/* With an old snapshot, to take out what somebody else has taken is an error. */
static bool
may_take_out(void)
{
	return !IsolationUsesXactSnapshot();
}

/* The plan of a fixed statement, prepared once. */
static SPIPlanPtr
prepared(SPIPlanPtr *plan, const char *query, int count, Oid *types)
{
	if (*plan == NULL)
	{
		SPIPlanPtr fresh = SPI_prepare(query, count, types);

		if (fresh == NULL || SPI_keepplan(fresh) != 0)
			elog(ERROR, "could not prepare a statement of the cache");
		*plan = fresh;
	}
	return *plan;
}

static Datum
bytes_datum(const void *bytes, Size size)
{
	bytea *result = palloc(VARHDRSZ + size);

	SET_VARSIZE(result, VARHDRSZ + size);
	memcpy(VARDATA(result), bytes, size);
	return PointerGetDatum(result);
}

static void
take_row(CacheFound *found, MemoryContext caller)
{
	HeapTuple row = SPI_tuptable->vals[0];
	TupleDesc desc = SPI_tuptable->tupdesc;
	bool isnull;
	bytea *value = DatumGetByteaPP(SPI_getbinval(row, desc, 1, &isnull));

	found->size = VARSIZE_ANY_EXHDR(value);
	found->bytes = MemoryContextAlloc(caller, Max(found->size, 1));
	memcpy(found->bytes, VARDATA_ANY(value), found->size);
	found->created_at = DatumGetTimestampTz(SPI_getbinval(row, desc, 2, &isnull));
	found->expires_at = DatumGetTimestampTz(SPI_getbinval(row, desc, 3, &isnull));
	found->level = CACHE_TABLE;
}

bool
table_find(const CacheTicket *ticket, TimestampTz now, CacheFound *found)
{
	static SPIPlanPtr plan = NULL;
	Oid types[] = {TEXTOID, BYTEAOID, TIMESTAMPTZOID};
	Datum values[] = {CStringGetTextDatum(ticket->tenant),
					  bytes_datum(ticket->digest, CACHE_DIGEST_BYTES),
					  TimestampTzGetDatum(now)};
	MemoryContext caller = CurrentMemoryContext;
	HouseRights saved;
	bool is_there;

	if (!is_readable())
		return false;
	house_enter(&saved);
	SPI_connect();
	is_there = SPI_execute_plan(prepared(&plan, find_query, 3, types), values, NULL, true,
								1) == SPI_OK_SELECT &&
			   SPI_processed == 1;
	if (is_there)
		take_row(found, caller);
	SPI_finish();
	house_leave(&saved);
	return is_there;
}

void
table_put(const CacheTicket *ticket, const void *bytes, Size size, TimestampTz created_at,
		  TimestampTz expires_at)
{
	static SPIPlanPtr put = NULL, sweep = NULL;
	Oid sweep_types[] = {TEXTOID, TIMESTAMPTZOID};
	Oid types[] = {TEXTOID,  BYTEAOID,       TEXTOID,       TEXTOID,
				   BYTEAOID, TIMESTAMPTZOID, TIMESTAMPTZOID};
	HouseRights saved;

	if (!is_readable() || XactReadOnly)
		return;
	house_enter(&saved);
	SPI_connect();
	{
		Datum values[] = {CStringGetTextDatum(ticket->tenant),
						  bytes_datum(ticket->digest, CACHE_DIGEST_BYTES),
						  CStringGetTextDatum(cache_kind_names[ticket->kind]),
						  CStringGetTextDatum(ticket->subject),
						  bytes_datum(bytes, size),
						  TimestampTzGetDatum(created_at),
						  TimestampTzGetDatum(expires_at)};
		Datum sweep_values[] = {values[0], values[5]};

		if (may_take_out())
			(void) SPI_execute_plan(prepared(&sweep, sweep_query, 2, sweep_types),
									sweep_values, NULL, false, 0);
		(void) SPI_execute_plan(prepared(&put, put_query, 7, types), values, NULL, false,
								0);
	}
	SPI_finish();
	house_leave(&saved);
}

void
table_count(CacheKind kind, TimestampTz now, CacheHolding *holding)
{
	static SPIPlanPtr plan = NULL;
	Oid types[] = {TEXTOID, TEXTOID, TIMESTAMPTZOID};
	Datum values[] = {CStringGetTextDatum(tenant_current()),
					  CStringGetTextDatum(cache_kind_names[kind]),
					  TimestampTzGetDatum(now)};
	HouseRights saved;

	if (!is_readable())
		return;
	house_enter(&saved);
	SPI_connect();
	if (SPI_execute_plan(prepared(&plan, count_query, 3, types), values, NULL, true, 1) ==
			SPI_OK_SELECT &&
		SPI_processed == 1)
	{
		HeapTuple row = SPI_tuptable->vals[0];
		bool isnull;

		holding->entries =
			DatumGetInt64(SPI_getbinval(row, SPI_tuptable->tupdesc, 1, &isnull));
		holding->bytes =
			DatumGetInt64(SPI_getbinval(row, SPI_tuptable->tupdesc, 2, &isnull));
	}
	SPI_finish();
	house_leave(&saved);
}

int64
table_empty(const CacheScope *scope)
{
	static SPIPlanPtr plan = NULL;
	Oid types[] = {TEXTOID, TEXTOID, TEXTOID};
	const char *names[] = {scope->tenant,
						   scope->kind == CACHE_KIND_COUNT
							   ? NULL
							   : cache_kind_names[scope->kind],
						   scope->subject};
	Datum values[lengthof(names)];
	char nulls[lengthof(names)];
	HouseRights saved;
	int64 taken;

	if (RecoveryInProgress() || XactReadOnly || !may_take_out() ||
		!OidIsValid(house_relation_if_exists("cache_entry")))
		return 0;
	for (int i = 0; i < lengthof(names); i++)
	{
		nulls[i] = names[i] ? ' ' : 'n';
		values[i] = names[i] ? CStringGetTextDatum(names[i]) : (Datum) 0;
	}
	/* Whoever changes another tenant's rows may not be bound to that tenant. */
	house_enter_for_all(&saved);
	SPI_connect();
	if (SPI_execute_plan(prepared(&plan, empty_query, 3, types), values, nulls, false,
						 0) != SPI_OK_DELETE)
		elog(ERROR, "could not empty the cache's table");
	taken = SPI_processed;
	SPI_finish();
	house_leave(&saved);
	return taken;
}
