/*
 * allowed.c
 *		The functions that generated SQL may call.
 *
 * Table factory.allowed_function names them; a backend resolves the names to
 * OIDs once and keeps the set until the table changes (its trigger sends a
 * relcache invalidation) or any relation's definition is lost from the cache.
 */
#include "postgres.h"

#include "base/house.h"
#include "bi/bi_int.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#define ALLOWED_TABLE "allowed_function"

/*
 * A name alone means all functions of that name; an owner's row wins over a
 * shipped one, an exact one over a name.
 */
static const char *const allowed_query =
	"SELECT found.oid, found.allowed FROM ("
	" SELECT DISTINCT ON (p.oid) p.oid, a.allowed"
	" FROM factory.allowed_function a"
	" CROSS JOIN LATERAL (SELECT pg_catalog.parse_ident("
	"   pg_catalog.split_part(a.function, '(', 1)) AS part) i"
	" JOIN pg_catalog.pg_namespace n ON n.nspname = i.part[1]"
	" JOIN pg_catalog.pg_proc p ON p.pronamespace = n.oid AND p.proname = i.part[2]"
	" WHERE pg_catalog.strpos(a.function, '(') = 0"
	"   OR p.oid = pg_catalog.to_regprocedure(a.function)::pg_catalog.oid"
	" ORDER BY p.oid, a.shipped, pg_catalog.strpos(a.function, '(') = 0) found";

static HTAB *allowed = NULL;
static Oid allowed_table = InvalidOid;
static bool allowed_watched = false;

static void
allowed_forget(Datum arg, Oid relation)
{
	if (relation == InvalidOid || relation == allowed_table)
		allowed_table = InvalidOid;
}

static HTAB *
allowed_make_set(void)
{
	HASHCTL control = {.keysize = sizeof(Oid),
					   .entrysize = sizeof(Oid),
					   .hcxt = CacheMemoryContext};

	return hash_create("factory allowed functions", 2048, &control,
					   HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

static void
allowed_load(void)
{
	HouseRights saved;
	HTAB *fresh;
	Oid table;

	if (!allowed_watched)
	{
		CacheRegisterRelcacheCallback(allowed_forget, (Datum) 0);
		allowed_watched = true;
	}
	house_enter(&saved);
	table = house_relation(ALLOWED_TABLE);
	fresh = allowed_make_set();
	SPI_connect();
	if (SPI_execute(allowed_query, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read the allowed functions");
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		bool isnull;
		Datum function =
			SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull);
		Datum granted =
			SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 2, &isnull);
		Oid oid = DatumGetObjectId(function);

		if (DatumGetBool(granted))
			(void) hash_search(fresh, &oid, HASH_ENTER, NULL);
	}
	SPI_finish();
	house_leave(&saved);
	if (allowed)
		hash_destroy(allowed);
	allowed = fresh;
	allowed_table = table;
}

bool
function_is_allowed(Oid function)
{
	if (allowed == NULL || !OidIsValid(allowed_table))
		allowed_load();
	return hash_search(allowed, &function, HASH_FIND, NULL) != NULL;
}

FACTORY_FUNCTION(factory_bi_table_changed);

/* Trigger: other backends forget what they know of this table's rows. */
Datum
factory_bi_table_changed(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo))
		elog(ERROR, "factory.bi_table_changed() is a trigger function");
	CacheInvalidateRelcacheByRelid(RelationGetRelid(trigger->tg_relation));
	return PointerGetDatum(NULL);
}
