/*
 * gate_sql.c
 *		The gate as SQL sees it: breakers, paces, and beginning anew.
 */
#include "postgres.h"

#include "base/compat.h"
#include "fmgr.h"
#include "foreign/foreign.h"
#include "funcapi.h"
#include "llm/gate_int.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

/* The server under its present name; NULL where it is gone. */
static char *
server_name(Oid server)
{
	ForeignServer *foreign = GetForeignServerExtended(server, FSV_MISSING_OK);

	return foreign ? foreign->servername : NULL;
}

FACTORY_FUNCTION(factory_breakers);

Datum
factory_breakers(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	TimestampTz now = GetCurrentTimestamp();
	int count;
	GateServer *servers = gate_copy_servers(&count);

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < count; i++)
	{
		const GateServer *server = &servers[i];
		BreakerState state = breaker_shown_state(server, now);
		char *name = server_name(server->server);
		Datum values[9];
		bool nulls[9] = {false};

		if (name == NULL)
			continue;
		values[0] = CStringGetTextDatum(name);
		values[1] = CStringGetTextDatum(breaker_state_names[state]);
		values[2] = Int32GetDatum(server->calls);
		values[3] = Int32GetDatum(breaker_failures(server));
		values[4] = TimestampTzGetDatum(server->since);
		values[5] = TimestampTzGetDatum(breaker_open_until(server));
		nulls[5] = state != BREAKER_OPEN;
		values[6] = Int64GetDatum(server->rejected);
		values[7] = Int64GetDatum(server->opened);
		values[8] = Int32GetDatum((int32) server->retries);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}

static void
put_count(Datum *values, bool *nulls, int column, double count)
{
	values[column] = Int64GetDatum((int64) Max(0, count));
	nulls[column] = count < 0;
}

static double
limit_or_none(const GateAllowance *allowance)
{
	return allowance->limit > 0 ? allowance->limit : -1;
}

static GateModel *
copy_models(int *count, TimestampTz now)
{
	GateModel *copies = palloc(mul_size(gate_places, sizeof(GateModel)));

	*count = 0;
	LWLockAcquire(gate_shared->lock, LW_SHARED);
	for (int i = 0; i < gate_places; i++)
		if (gate_shared->models[i].database == MyDatabaseId)
			copies[(*count)++] = gate_shared->models[i];
	LWLockRelease(gate_shared->lock);
	return copies;
}

FACTORY_FUNCTION(factory_paces);

Datum
factory_paces(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	TimestampTz now = GetCurrentTimestamp();
	int count;
	GateModel *models = copy_models(&count, now);

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < count; i++)
	{
		GateModel *model = &models[i];
		char *name = server_name(model->server);
		Datum values[7];
		bool nulls[7] = {false};
		int64 requests, tokens;

		if (name == NULL)
			continue;
		pace_last_minute(model, now, &requests, &tokens);
		values[0] = CStringGetTextDatum(name);
		values[1] = CStringGetTextDatum(model->name);
		values[2] = Int64GetDatum(requests);
		values[3] = Int64GetDatum(tokens);
		put_count(values, nulls, 4, limit_or_none(&model->requests));
		put_count(values, nulls, 5, limit_or_none(&model->tokens));
		values[6] = TimestampTzGetDatum(model->paused_until);
		nulls[6] = model->paused_until <= now;
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}

FACTORY_FUNCTION(factory_reset_breaker);

/* Forgets what was learned of a server and its models. */
Datum
factory_reset_breaker(PG_FUNCTION_ARGS)
{
	Oid server = get_foreign_server_oid(text_to_cstring(PG_GETARG_TEXT_PP(0)), false);
	TimestampTz now = GetCurrentTimestamp();

	LWLockAcquire(gate_shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < gate_places; i++)
	{
		GateServer *known = &gate_shared->servers[i];
		GateModel *model = &gate_shared->models[i];

		if (known->database == MyDatabaseId && known->server == server)
			breaker_begin(known, now);
		if (model->database == MyDatabaseId && model->server == server)
		{
			model->paused_until = 0;
			memset(&model->requests, 0, sizeof(GateAllowance));
			memset(&model->tokens, 0, sizeof(GateAllowance));
		}
	}
	LWLockRelease(gate_shared->lock);
	PG_RETURN_VOID();
}
