/*
 * schedule_sql.c
 *		factory.schedule_next(): a schedule's next due times, for who wants to see them.
 */
#include "postgres.h"

#include "base/clock.h"
#include "base/compat.h"
#include "base/schedule_int.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#define SCHEDULE_MAX_COUNT 10000

typedef struct DueTimes
{
	Schedule *schedule;
	pg_tz *zone;
	TimestampTz last;
} DueTimes;

static void
begin_due_times(FunctionCallInfo fcinfo, FuncCallContext *call)
{
	MemoryContext before = MemoryContextSwitchTo(call->multi_call_memory_ctx);
	DueTimes *due = palloc(sizeof(DueTimes));
	int count = PG_ARGISNULL(3) ? 1 : PG_GETARG_INT32(3);

	if (PG_ARGISNULL(0))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("schedule must not be null"), errhint(HINT_FORMS)));
	if (count < 0 || count > SCHEDULE_MAX_COUNT)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("count %d is not between 0 and %d", count, SCHEDULE_MAX_COUNT)));
	due->schedule = schedule_parse(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	due->last = PG_ARGISNULL(1) ? clock_now() : PG_GETARG_TIMESTAMPTZ(1);
	due->zone = clock_zone(PG_ARGISNULL(2) ? clock_plant_zone()
										   : text_to_cstring(PG_GETARG_TEXT_PP(2)));
	call->user_fctx = due;
	call->max_calls = count;
	MemoryContextSwitchTo(before);
}

FACTORY_FUNCTION(factory_schedule_next);

Datum
factory_schedule_next(PG_FUNCTION_ARGS)
{
	FuncCallContext *call;
	DueTimes *due;

	if (SRF_IS_FIRSTCALL())
		begin_due_times(fcinfo, SRF_FIRSTCALL_INIT());
	call = SRF_PERCALL_SETUP();
	if (call->call_cntr >= call->max_calls)
		SRF_RETURN_DONE(call);
	due = call->user_fctx;
	CHECK_FOR_INTERRUPTS();
	due->last = schedule_next(due->schedule, due->last, due->zone);
	SRF_RETURN_NEXT(call, TimestampTzGetDatum(due->last));
}
