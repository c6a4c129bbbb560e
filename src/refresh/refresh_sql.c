/*
 * refresh_sql.c
 *		The room's door to SQL: schedule, unschedule, refresh now.
 */
#include "postgres.h"

#include "base/clock.h"
#include "base/compat.h"
#include "base/errors.h"
#include "base/house.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "refresh/refresh_int.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

/* Raises unless this is a materialized view of the caller's. */
static void
require_own_view(Oid view)
{
	char *name = get_rel_name(view);

	if (name == NULL)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
						errmsg("materialized view with OID %u does not exist", view)));
	if (!refresh_is_view(view))
		ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
						errmsg("\"%s\" is not a materialized view", name),
						errhint("Only what CREATE MATERIALIZED VIEW made can be "
								"refreshed.")));
	if (!compat_owns_relation(view, GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_MATVIEW, name);
}

static void
require_argument(FunctionCallInfo fcinfo, int argument, const char *name)
{
	if (PG_ARGISNULL(argument))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("%s must not be null", name)));
}

static void
require_usable_index(Oid view)
{
	char name[REFRESH_NAME_SIZE];

	if (OidIsValid(refresh_usable_index(view)))
		return;
	refresh_view_name(view, name);
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("cannot refresh materialized view \"%s\" concurrently",
					get_rel_name(view)),
			 errdetail("It has no unique index on plain columns without a WHERE clause."),
			 errhint("CREATE UNIQUE INDEX ON %s (...); or leave out concurrently.",
					 name)));
}

/* --- schedule_refresh ------------------------------------------------------------- */

typedef struct NewSchedule
{
	Oid view;
	char *schedule;
	const char *timezone;
	bool concurrent;
	bool concurrent_is_null;
	TimestampTz next_due;
} NewSchedule;

/* Writes it; true where it took the place of another. */
static bool
store_schedule(const NewSchedule *new)
{
	char name[REFRESH_NAME_SIZE];
	Oid types[] = {OIDOID, TEXTOID, TEXTOID, TEXTOID, BOOLOID, TIMESTAMPTZOID};
	Datum values[6];
	char nulls[] = {' ', ' ', ' ', ' ', new->concurrent_is_null ? 'n' : ' ', ' '};
	HouseRights saved;
	bool isnull, replaced;

	refresh_view_name(new->view, name);
	values[0] = ObjectIdGetDatum(new->view);
	values[1] = CStringGetTextDatum(name);
	values[2] = CStringGetTextDatum(new->schedule);
	values[3] = CStringGetTextDatum(new->timezone);
	values[4] = BoolGetDatum(new->concurrent);
	values[5] = TimestampTzGetDatum(new->next_due);
	house_enter(&saved);
	SPI_connect();
	/* No row limit: it would stop short of the statement's trigger. */
	SPI_execute_with_args(
		"INSERT INTO factory.refresh_schedule AS s "
		"(view, view_name, schedule, timezone, concurrent, next_due) "
		"VALUES ($1::pg_catalog.regclass, $2, $3, $4, $5, $6) "
		"ON CONFLICT (view) DO UPDATE SET view_name = excluded.view_name, "
		"schedule = excluded.schedule, timezone = excluded.timezone, "
		"concurrent = excluded.concurrent, next_due = excluded.next_due, enabled = true "
		"RETURNING xmax <> '0'::pg_catalog.xid",
		6, types, values, nulls, false, 0);
	replaced = DatumGetBool(
		SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	SPI_finish();
	house_leave(&saved);
	return replaced;
}

FACTORY_FUNCTION(factory_schedule_refresh);

Datum
factory_schedule_refresh(PG_FUNCTION_ARGS)
{
	NewSchedule new = {0};

	require_argument(fcinfo, 0, "view");
	require_argument(fcinfo, 1, "schedule");
	new.view = PG_GETARG_OID(0);
	new.schedule = text_to_cstring(PG_GETARG_TEXT_PP(1));
	new.timezone =
		PG_ARGISNULL(2) ? clock_plant_zone() : text_to_cstring(PG_GETARG_TEXT_PP(2));
	new.concurrent_is_null = PG_ARGISNULL(3);
	new.concurrent = !new.concurrent_is_null &&PG_GETARG_BOOL(3);

	require_own_view(new.view);
	new.next_due = schedule_next(schedule_parse(new.schedule), clock_now(),
								 clock_zone(new.timezone));
	if (new.concurrent)
		require_usable_index(new.view);
	if (store_schedule(&new))
		ereport(NOTICE, (errmsg("the schedule of materialized view \"%s\" is replaced",
								get_rel_name(new.view))));
	PG_RETURN_TIMESTAMPTZ(new.next_due);
}

/* --- unschedule_refresh ------------------------------------------------------------ */

FACTORY_FUNCTION(factory_unschedule_refresh);

Datum
factory_unschedule_refresh(PG_FUNCTION_ARGS)
{
	Oid view = PG_GETARG_OID(0);
	Oid types[] = {OIDOID};
	Datum values[] = {ObjectIdGetDatum(view)};
	char *name = get_rel_name(view);
	HouseRights saved;
	uint64 removed;

	/* What was dropped belongs to nobody: there is no owner left to ask. */
	if (name != NULL)
		require_own_view(view);
	house_enter(&saved);
	SPI_connect();
	SPI_execute_with_args("DELETE FROM factory.refresh_schedule "
						  "WHERE view::pg_catalog.oid = $1",
						  1, types, values, NULL, false, 0);
	removed = SPI_processed;
	SPI_finish();
	house_leave(&saved);
	if (removed == 0)
		ereport(ERROR, (errcode(ERRCODE_FACTORY_NOT_SCHEDULED),
						errmsg("materialized view \"%s\" has no schedule",
							   name ? name : psprintf("%u", view)),
						errhint("View factory.refresh_status lists what is scheduled.")));
	PG_RETURN_VOID();
}

/* --- refresh_now --------------------------------------------------------------------- */

FACTORY_FUNCTION(factory_refresh_now);

/* In the caller's transaction, as the caller: when it fails, nothing stays of it. */
Datum
factory_refresh_now(PG_FUNCTION_ARGS)
{
	RefreshRun run = {0};
	HouseRights saved;

	run.view = PG_GETARG_OID(0);
	require_own_view(run.view);
	refresh_view_name(run.view, run.view_name);
	refresh_choose_method(run.view, WISH_ANY, &run.method, run.reason);
	house_enter(&saved);
	SPI_connect();
	refresh_record_start(&run);
	SPI_finish();
	house_leave(&saved);
	refresh_perform(&run);
	refresh_record(&run, NULL);
	PG_RETURN_INT64(run.id);
}
