/*
 * budget.c
 *		What a tenant, a role or a model may take a day or a month, in tokens and money:
 *		reserved before a byte is sent, settled when the call is over.
 *
 * Limits are rows of factory.llm_budget, read at every call.  What is used is counted in
 * shared memory; what was used before the server started is counted once from the
 * ledger.  The call that reaches a limit is finished, the next one is refused: beyond a
 * limit goes only what calls under way take more than was reserved for them.
 */
#include "postgres.h"

#include <math.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/compat.h"
#include "base/house.h"
#include "base/settings.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "llm/budget_int.h"
#include "llm/llm_int.h"
#include "miscadmin.h"
#include "pgtime.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#define BUDGET_TRANCHE "pg_factory_budgets"
#define BUDGET_WARNING 0.8

typedef struct BudgetPlace
{
	BudgetKey key;
	int64 serial; /* of the key's stay here */
	TimestampTz period_start;
	TimestampTz period_end;
	TimestampTz used_at;
	bool loaded; /* the ledger was counted */
	bool warned;
	int64 tokens;
	int64 nano_usd;
	int64 reserved_tokens;
	int64 reserved_nano_usd;
} BudgetPlace;

typedef struct BudgetShared
{
	LWLock *lock;
	int64 last_serial;
	BudgetPlace places[FLEXIBLE_ARRAY_MEMBER];
} BudgetShared;

static BudgetShared *shared = NULL;
static int max_budgets = 512;

static const Setting settings[] = {
	{"factory.max_budgets", "Sets how many budgets, of all databases, are counted.",
	 SETTING_INT, &max_budgets, .boot = 512, .min = 1, .max = 65536,
	 .context = PGC_POSTMASTER},
};

void
budget_define_settings(void)
{
	settings_define(settings, lengthof(settings));
}

static Size
shmem_size(void)
{
	return add_size(offsetof(BudgetShared, places),
					mul_size(max_budgets, sizeof(BudgetPlace)));
}

void
budget_request_shmem(void)
{
	RequestAddinShmemSpace(shmem_size());
	RequestNamedLWLockTranche(BUDGET_TRANCHE, 1);
}

void
budget_attach_shmem(void)
{
	bool found;

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	shared = ShmemInitStruct("pg_factory budgets", shmem_size(), &found);
	if (!found)
	{
		memset(shared, 0, shmem_size());
		shared->lock = &GetNamedLWLockTranche(BUDGET_TRANCHE)->lock;
	}
	LWLockRelease(AddinShmemInitLock);
}

/* --- periods ------------------------------------------------------------------------------- */

/* The beginning of the day or month around a moment, in the server's log_timezone. */
static TimestampTz
period_around(const char *period, TimestampTz moment)
{
	const char *zone = pg_get_timezone_name(log_timezone);

	return DatumGetTimestampTz(
		DirectFunctionCall3(timestamptz_trunc_zone, CStringGetTextDatum(period),
							TimestampTzGetDatum(moment), CStringGetTextDatum(zone)));
}

/* A moment that is surely in the period after the one that begins there. */
static TimestampTz
later(const char *period, TimestampTz start)
{
	return start +
		   (strcmp(period, "day") == 0 ? 36 * USECS_PER_HOUR : 45 * USECS_PER_DAY);
}

/* --- places; the caller holds the lock ------------------------------------------------------- */

static BudgetPlace *
take_place(const BudgetKey *key, TimestampTz now)
{
	BudgetPlace *oldest = NULL;

	for (int i = 0; i < max_budgets; i++)
	{
		BudgetPlace *place = &shared->places[i];

		if (memcmp(&place->key, key, sizeof(BudgetKey)) == 0)
		{
			place->used_at = now;
			return place;
		}
		if (place->reserved_tokens == 0 &&
			(oldest == NULL || place->used_at < oldest->used_at))
			oldest = place;
	}
	if (oldest == NULL)
		return NULL;
	memset(oldest, 0, sizeof(BudgetPlace));
	oldest->key = *key;
	oldest->serial = ++shared->last_serial;
	oldest->used_at = now;
	return oldest;
}

static void
begin_period(BudgetPlace *place, TimestampTz start, TimestampTz end)
{
	place->period_start = start;
	place->period_end = end;
	place->loaded = false;
	place->warned = false;
	place->tokens = 0;
	place->nano_usd = 0;
}

/* --- what was used before we counted ------------------------------------------------------------ */

static SPIPlanPtr
prepared(SPIPlanPtr *plan, const char *query, int count, Oid *types)
{
	if (*plan == NULL)
	{
		*plan = SPI_prepare(query, count, types);
		if (*plan == NULL)
			elog(ERROR, "could not prepare \"%s\"", query);
		SPI_keepplan(*plan);
	}
	return *plan;
}

static const char *const history_query =
	"SELECT pg_catalog.sum(total_tokens)::pg_catalog.int8, "
	"pg_catalog.sum(cost_usd)::pg_catalog.float8 FROM factory.llm_call "
	"WHERE tenant_id OPERATOR(pg_catalog.=) $1 AND called_at OPERATOR(pg_catalog.>=) $2 "
	"AND ($3 OPERATOR(pg_catalog.=) 'tenant' "
	"OR $3 OPERATOR(pg_catalog.=) 'role' AND called_by OPERATOR(pg_catalog.=) "
	"$4::pg_catalog.name "
	"OR $3 OPERATOR(pg_catalog.=) 'model' AND model OPERATOR(pg_catalog.=) $4)";

static void
count_history(const BudgetKey *key, TimestampTz since, int64 *tokens, int64 *nano_usd)
{
	static SPIPlanPtr plan = NULL;
	Datum arguments[] = {CStringGetTextDatum(key->tenant), TimestampTzGetDatum(since),
						 CStringGetTextDatum(key->kind), CStringGetTextDatum(key->name)};
	HouseRights saved;
	bool is_null;
	Datum value;

	house_enter(&saved);
	SPI_connect();
	if (SPI_execute_plan(prepared(&plan, history_query, 4,
								  (Oid[]){TEXTOID, TIMESTAMPTZOID, TEXTOID, TEXTOID}),
						 arguments, NULL, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not run \"%s\"", history_query);
	value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &is_null);
	*tokens = is_null ? 0 : DatumGetInt64(value);
	value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &is_null);
	*nano_usd = is_null ? 0 : (int64) (DatumGetFloat8(value) * NANO);
	SPI_finish();
	house_leave(&saved);
}

/* Has the budget a place, of this period, with the ledger counted?  Makes it so. */
static bool
prepare_place(const BudgetKey *key, TimestampTz now)
{
	BudgetPlace *place;
	TimestampTz start;
	int64 tokens, nano_usd;
	bool ready;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	place = take_place(key, now);
	ready = place != NULL && place->loaded && now < place->period_end &&
			now >= place->period_start;
	LWLockRelease(shared->lock);
	if (place == NULL || ready)
		return place != NULL;
	start = period_around(key->period, now);
	count_history(key, start, &tokens, &nano_usd);
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	place = take_place(key, now);
	if (place != NULL && (!place->loaded || place->period_start != start))
	{
		begin_period(place, start, period_around(key->period, later(key->period, start)));
		place->loaded = true;
		place->tokens = tokens;
		place->nano_usd = nano_usd;
	}
	LWLockRelease(shared->lock);
	return place != NULL;
}

/* --- reserving -------------------------------------------------------------------------------------- */

/* The greater part of both limits that is used or reserved; 1: all of it. */
static double
part_used(const BudgetPlace *place, const Budget *budget)
{
	double part = 0;

	if (budget->tokens >= 0)
		part = budget->tokens == 0
				   ? 1
				   : (double) (place->tokens + place->reserved_tokens) / budget->tokens;
	if (budget->nano_usd >= 0)
		part = Max(part,
				   budget->nano_usd < 1
					   ? 1
					   : (place->nano_usd + place->reserved_nano_usd) / budget->nano_usd);
	return part;
}

static char *
whose(const Budget *budget)
{
	return psprintf("the %s's budget of %s \"%s\"", budget->key.period, budget->key.kind,
					budget->key.name);
}

/* True where there was something left: so much of it is held now. */
static bool
hold(const Budget *budget, BudgetHold *taken, int64 tokens, int64 nano_usd,
	 TimestampTz now, bool *warn)
{
	BudgetPlace *place;
	double part;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	place = take_place(&budget->key, now);
	part = place ? part_used(place, budget) : 1;
	if (part < 1)
	{
		place->reserved_tokens += tokens;
		place->reserved_nano_usd += nano_usd;
		taken->place = place - shared->places;
		taken->serial = place->serial;
		taken->tokens = tokens;
		taken->nano_usd = nano_usd;
		*warn = part >= BUDGET_WARNING && !place->warned;
		place->warned |= *warn;
	}
	LWLockRelease(shared->lock);
	return part < 1;
}

static void
warn_of(const Budget *budget)
{
	ereport(WARNING,
			(errcode(ERRCODE_WARNING),
			 errmsg("%s is used to %d %%", whose(budget), (int) (BUDGET_WARNING * 100)),
			 errhint("At 100 %% calls are refused; view factory.budget_status "
					 "shows how far it is.")));
}

char *
budget_strain(const char *model)
{
	Budget budgets[BUDGET_MAX_HOLDS];
	TimestampTz now = clock_now();
	int count = budget_find_limits(model, budgets);

	for (int i = 0; i < count; i++)
	{
		BudgetPlace *place;
		double part;

		if (!prepare_place(&budgets[i].key, now))
			continue;
		LWLockAcquire(shared->lock, LW_EXCLUSIVE);
		place = take_place(&budgets[i].key, now);
		part = place ? part_used(place, &budgets[i]) : 0;
		LWLockRelease(shared->lock);
		if (part >= BUDGET_WARNING)
			return psprintf("%s is used to %d %%", whose(&budgets[i]),
							(int) (BUDGET_WARNING * 100));
	}
	return NULL;
}

char *
budget_reserve(BudgetHolds *holds, const LlmModel *model, int64 prompt_tokens,
			   int64 answer_tokens)
{
	Budget budgets[BUDGET_MAX_HOLDS];
	int count = budget_find_limits(model->name, budgets);
	TimestampTz now = count > 0 ? clock_now() : 0;
	double cost =
		(prompt_tokens * model->input_price + answer_tokens * model->output_price) *
		(NANO / 1e6);

	for (int i = 0; i < count; i++)
	{
		bool warn = false;

		if (budgets[i].nano_usd >= 0 && isnan(cost))
			return psprintf("%s is in money, and the model has no prices",
							whose(&budgets[i]));
		if (!prepare_place(&budgets[i].key, now))
			return psprintf("%s cannot be counted, there are more than "
							"\"factory.max_budgets\"",
							whose(&budgets[i]));
		if (!hold(&budgets[i], &holds->of[holds->count], prompt_tokens + answer_tokens,
				  isnan(cost) ? 0 : (int64) cost, now, &warn))
			return psprintf("%s is used up", whose(&budgets[i]));
		holds->count++;
		if (warn)
			warn_of(&budgets[i]);
	}
	return NULL;
}

void
budget_settle(BudgetHolds *holds, int64 tokens, double cost_usd)
{
	int64 nano_usd = isnan(cost_usd) ? 0 : (int64) (cost_usd * NANO);

	if (holds->count == 0)
		return;
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < holds->count; i++)
	{
		const BudgetHold *taken = &holds->of[i];
		BudgetPlace *place = &shared->places[taken->place];

		if (place->serial != taken->serial)
			continue;
		place->reserved_tokens -= taken->tokens;
		place->reserved_nano_usd -= taken->nano_usd;
		place->tokens += tokens;
		place->nano_usd += nano_usd;
	}
	LWLockRelease(shared->lock);
	holds->count = 0;
}

/* --- for SQL ----------------------------------------------------------------------------------------- */

#define USAGE_COLUMNS 9

static void
put_place(ReturnSetInfo *result, const BudgetPlace *place)
{
	bool nulls[USAGE_COLUMNS] = {false};
	Datum values[USAGE_COLUMNS] = {
		CStringGetTextDatum(place->key.tenant),
		CStringGetTextDatum(place->key.kind),
		CStringGetTextDatum(place->key.name),
		CStringGetTextDatum(place->key.period),
		TimestampTzGetDatum(place->period_start),
		Int64GetDatum(place->tokens),
		Int64GetDatum(place->reserved_tokens),
		Float8GetDatum(place->nano_usd / NANO),
		Float8GetDatum(place->reserved_nano_usd / NANO),
	};

	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

FACTORY_FUNCTION(factory_budget_usage);

/* What is used in the present period of budgets of this database. */
Datum
factory_budget_usage(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	BudgetPlace *copies = palloc(mul_size(max_budgets, sizeof(BudgetPlace)));
	TimestampTz now = clock_now();

	InitMaterializedSRF(fcinfo, 0);
	LWLockAcquire(shared->lock, LW_SHARED);
	memcpy(copies, shared->places, max_budgets * sizeof(BudgetPlace));
	LWLockRelease(shared->lock);
	for (int i = 0; i < max_budgets; i++)
		if (copies[i].key.database == MyDatabaseId && copies[i].loaded &&
			now >= copies[i].period_start && now < copies[i].period_end &&
			tenant_may_see(copies[i].key.tenant))
			put_place(result, &copies[i]);
	return (Datum) 0;
}
