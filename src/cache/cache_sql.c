/*
 * cache_sql.c
 *		The room's door to SQL.
 */
#include "postgres.h"

#include "base/clock.h"
#include "base/compat.h"
#include "base/nearest.h"
#include "base/tenant.h"
#include "cache/cache_int.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "metrics/metrics.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/tuplestore.h"

static CacheKind
kind_from_name(const char *name)
{
	const char *near = nearest_name(name, cache_kind_names, CACHE_KIND_COUNT);

	for (int i = 0; i < CACHE_KIND_COUNT; i++)
		if (strcmp(cache_kind_names[i], name) == 0)
			return i;
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("the cache has no kind \"%s\"", name),
					near ? errhint("Did you mean \"%s\"?", near)
						 : errhint("The kinds are \"judgment\" and \"question\".")));
}

FACTORY_FUNCTION(factory_flush_cache);

Datum
factory_flush_cache(PG_FUNCTION_ARGS)
{
	CacheScope scope = {.kind = CACHE_KIND_COUNT, .tenant = tenant_current()};

	if (!PG_ARGISNULL(0))
	{
		scope.subject = text_to_cstring(PG_GETARG_TEXT_PP(0));
		scope.kind = CACHE_JUDGMENT;
	}
	if (!PG_ARGISNULL(1))
		scope.kind = kind_from_name(text_to_cstring(PG_GETARG_TEXT_PP(1)));
	PG_RETURN_INT64(cache_empty_now(&scope));
}

FACTORY_FUNCTION(factory_cache_outdated);

/* A trigger: what is kept of a kind, of the row's tenant, may not be so any more. */
Datum
factory_cache_outdated(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	TupleDesc desc;

	if (!CALLED_AS_TRIGGER(fcinfo) || trigger->tg_trigger->tgnargs != 1)
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"factory.cache_outdated\" can only be called as "
						"a trigger of one argument")));
	desc = RelationGetDescr(trigger->tg_relation);
	cache_empty_at_commit(kind_from_name(trigger->tg_trigger->tgargs[0]),
						  TRIGGER_FIRED_FOR_ROW(trigger->tg_event)
							  ? SPI_getvalue(trigger->tg_trigtuple, desc,
											 SPI_fnumber(desc, "tenant_id"))
							  : NULL,
						  NULL);
	return PointerGetDatum(NULL);
}

static double
looks(CacheLevel level, CacheKind kind, MetricId metric)
{
	return metric_series_value(
		metric_series(metric,
					  METRIC_LABELS(cache_level_names[level], cache_kind_names[kind])));
}

static CacheHolding
count_held(CacheLevel level, CacheKind kind)
{
	CacheScope scope = {.kind = kind, .tenant = tenant_current()};
	CacheHolding holding = {0};

	if (level == CACHE_L1)
		memory_count(&scope, clock_now(), &holding);
	else if (level == CACHE_TABLE)
		table_count(kind, clock_now(), &holding);
	return holding;
}

FACTORY_FUNCTION(factory_cache_levels);

/* (level, kind, capacity, entries, bytes, hits, misses) of this tenant. */
Datum
factory_cache_levels(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;

	InitMaterializedSRF(fcinfo, 0);
	for (int level = 0; level < CACHE_LEVEL_COUNT; level++)
	{
		/* What is on Redis, only Redis knows. */
		bool is_redis = level == CACHE_REDIS;

		for (int kind = 0; kind < CACHE_KIND_COUNT && (!is_redis || redis_is_wanted());
			 kind++)
		{
			CacheHolding holding = count_held(level, kind);
			Datum values[] = {
				CStringGetTextDatum(cache_level_names[level]),
				CStringGetTextDatum(cache_kind_names[kind]),
				Int32GetDatum(memory_capacity()),
				Int64GetDatum(holding.entries),
				Int64GetDatum(holding.bytes),
				Int64GetDatum((int64) looks(level, kind, METRIC_CACHE_HITS)),
				Int64GetDatum((int64) looks(level, kind, METRIC_CACHE_MISSES))};
			bool nulls[lengthof(values)] = {
				[2] = level != CACHE_L1, [3] = is_redis, [4] = is_redis};

			tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
		}
	}
	return (Datum) 0;
}
