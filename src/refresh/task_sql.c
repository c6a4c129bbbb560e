/*
 * task_sql.c
 *		SQL functions: scheduling a command, taking it away, taking it up again.
 *
 * The owner of a task is whoever calls, as the server knows him: in a function of
 * somebody's that has its owner's rights, that owner.  The session's role would not do:
 * what a superuser merely calls could schedule commands of his.
 */
#include "postgres.h"

#include "base/compat.h"
#include "base/house.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"

/* The arguments of schedule_task, and before them its caller. */
#define TASK_ARGUMENTS 15

/*
 * Maintenance of somebody's table or view runs what he wrote there, in his name but at
 * another's time: it may not reach further than that.
 */
static void
refuse_in_maintenance(void)
{
	if (InSecurityRestrictedOperation())
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("cannot change tasks within a security-restricted "
							   "operation")));
}

/* A function of the house's, with the caller before the arguments. */
static Datum
call_house(const char *query, FunctionCallInfo fcinfo, bool *isnull)
{
	Oid types[1 + TASK_ARGUMENTS] = {OIDOID,      TEXTOID,     TEXTOID,     TEXTOID,
									 TEXTOID,     TEXTOID,     INTERVALOID, TEXTOID,
									 INTERVALOID, INTERVALOID, INT4OID,     INTERVALOID,
									 INT4OID,     INTERVALOID, TEXTOID,     BOOLOID};
	Datum values[1 + TASK_ARGUMENTS];
	char nulls[1 + TASK_ARGUMENTS];
	HouseRights saved;
	Datum result;

	refuse_in_maintenance();
	Assert(PG_NARGS() <= TASK_ARGUMENTS);
	values[0] = ObjectIdGetDatum(GetUserId());
	nulls[0] = ' ';
	for (int i = 0; i < PG_NARGS(); i++)
	{
		values[i + 1] = fcinfo->args[i].value;
		nulls[i + 1] = fcinfo->args[i].isnull ? 'n' : ' ';
	}
	house_enter(&saved);
	SPI_connect();
	SPI_execute_with_args(query, 1 + PG_NARGS(), types, values, nulls, false, 0);
	/* A timestamp or nothing: no memory of SPI's. */
	result = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, isnull);
	SPI_finish();
	house_leave(&saved);
	return result;
}

FACTORY_FUNCTION(factory_schedule_task);

Datum
factory_schedule_task(PG_FUNCTION_ARGS)
{
	bool isnull;

	return call_house("SELECT factory.store_task($1::pg_catalog.regrole, $2, $3, $4, $5, "
					  "$6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)",
					  fcinfo, &isnull);
}

FACTORY_FUNCTION(factory_unschedule_task);

Datum
factory_unschedule_task(PG_FUNCTION_ARGS)
{
	bool isnull;

	(void) call_house("SELECT factory.remove_task($1::pg_catalog.regrole, $2)", fcinfo,
					  &isnull);
	PG_RETURN_VOID();
}

FACTORY_FUNCTION(factory_resume_task);

Datum
factory_resume_task(PG_FUNCTION_ARGS)
{
	bool isnull;

	(void) call_house("SELECT factory.take_up_task($1::pg_catalog.regrole, $2)", fcinfo,
					  &isnull);
	PG_RETURN_VOID();
}
