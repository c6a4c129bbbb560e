/*
 * refresh_sql.c
 *		The room's door to SQL: schedule, unschedule, refresh now.
 */
#include "postgres.h"

#include <math.h>

#include "base/clock.h"
#include "base/compat.h"
#include "base/errors.h"
#include "base/house.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "metrics/metrics.h"
#include "miscadmin.h"
#include "refresh/declaration.h"
#include "refresh/refresh_int.h"
#include "utils/acl.h"
#include "utils/array.h"
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

/* --- what refresh_status asks ------------------------------------------------------- */

FACTORY_FUNCTION(factory_unchanged_at);

/* By name, as the metrics have it: NULL where it was never found so. */
Datum
factory_unchanged_at(PG_FUNCTION_ARGS)
{
	double seconds = metric_value(METRIC_REFRESH_UNCHANGED,
								  METRIC_LABELS(text_to_cstring(PG_GETARG_TEXT_PP(0))));

	if (seconds <= 0)
		PG_RETURN_NULL();
	PG_RETURN_TIMESTAMPTZ(
		(TimestampTz) rint((seconds - refresh_moment_seconds(0)) * USECS_PER_SEC));
}

/* --- schedule_refresh ------------------------------------------------------------- */

/* The arguments that are policies, as they follow "concurrently". */
typedef enum PolicyKind
{
	POLICY_SPAN,
	POLICY_COUNT,
	POLICY_WORD
} PolicyKind;

static const struct
{
	const char *name;
	Oid type;
	PolicyKind kind;
	const char *words; /* of a POLICY_WORD: what it may be */
} policies[] = {
	{"catch_up", TEXTOID, POLICY_WORD, "none, last, all"},
	{"catch_up_window", INTERVALOID, POLICY_SPAN},
	{"overlap", TEXTOID, POLICY_WORD, "skip, queue_one, cancel_running"},
	{"timeout", INTERVALOID, POLICY_SPAN},
	{"lock_timeout", INTERVALOID, POLICY_SPAN},
	{"retries", INT4OID, POLICY_COUNT},
	{"retry_delay", INTERVALOID, POLICY_SPAN},
	{"pause_after", INT4OID, POLICY_COUNT},
	{"jitter", INTERVALOID, POLICY_SPAN},
	{"holidays", TEXTOID, POLICY_WORD},
	{"quiet", INTERVALOID, POLICY_SPAN},
};

#define POLICIES lengthof(policies)
#define FIRST_POLICY 4 /* the number of its argument */
#define FIXED_COLUMNS 11

/* Retries and failures are counted in small numbers. */
#define POLICY_COUNT_MAX 1000

static bool
word_is_one_of(const char *word, const char *words)
{
	const char *at = strstr(words, word);
	size_t length = strlen(word);

	return length > 0 && at != NULL && (at[length] == '\0' || at[length] == ',') &&
		   (at == words || at[-1] == ' ');
}

static void
check_policy(int i, Datum value)
{
	bool valid = true;
	const char *hint = "It is a span of time, not negative.";

	if (policies[i].kind == POLICY_SPAN)
	{
		Interval *span = DatumGetIntervalP(value);

		valid = span->time >= 0 && span->day >= 0 && span->month >= 0;
	}
	else if (policies[i].kind == POLICY_COUNT)
	{
		valid = DatumGetInt32(value) >= 0 && DatumGetInt32(value) <= POLICY_COUNT_MAX;
		hint = psprintf("It is a number from 0 to %d.", POLICY_COUNT_MAX);
	}
	else if (policies[i].words != NULL)
	{
		valid = word_is_one_of(TextDatumGetCString(value), policies[i].words);
		hint = psprintf("It is one of %s.", policies[i].words);
	}
	if (!valid)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("\"%s\" of the schedule is not valid", policies[i].name),
						errhint("%s", hint)));
}

/* Names of the policies' columns, and their places as parameters. */
static void
list_policies(StringInfo names, StringInfo places, StringInfo updates)
{
	for (int i = 0; i < POLICIES; i++)
	{
		appendStringInfo(names, ", %s", policies[i].name);
		appendStringInfo(places, ", $%d", FIXED_COLUMNS + i + 1);
		appendStringInfo(updates, ", %s = excluded.%s", policies[i].name,
						 policies[i].name);
	}
}

static Datum
oid_array(List *oids)
{
	Datum *values = palloc(sizeof(Datum) * (list_length(oids) + 1));
	ListCell *cell;
	int n = 0;

	foreach (cell, oids)
		values[n++] = ObjectIdGetDatum(lfirst_oid(cell));
	return PointerGetDatum(
		construct_array(values, n, REGCLASSOID, sizeof(Oid), true, TYPALIGN_INT));
}

static Datum
span_of(int64 usec)
{
	Interval *span = palloc0(sizeof(Interval));

	span->time = usec;
	return IntervalPGetDatum(span);
}

typedef struct NewSchedule
{
	Oid view;
	const char *schedule;
	const char *timezone;
	Declaration *declaration;
	NullableDatum concurrent;
	NullableDatum policies[POLICIES];
	bool enabled;
	bool due;
	TimestampTz next_due;
} NewSchedule;

/* Writes it; true where it took the place of another. */
static bool
store_schedule(const NewSchedule *new)
{
	static const Oid fixed[FIXED_COLUMNS] = {OIDOID,  TEXTOID,          TEXTOID,
											 TEXTOID, BOOLOID,          BOOLOID,
											 TEXTOID, REGCLASSARRAYOID, BOOLOID,
											 BOOLOID, INTERVALOID};
	const Declaration *said = new->declaration;
	Oid types[FIXED_COLUMNS + POLICIES + 1];
	Datum values[FIXED_COLUMNS + POLICIES + 1];
	char nulls[FIXED_COLUMNS + POLICIES + 1];
	int last = FIXED_COLUMNS + POLICIES;
	char name[REFRESH_NAME_SIZE];
	StringInfoData names, places, updates, query;
	HouseRights saved;
	bool isnull, replaced;

	initStringInfo(&names);
	initStringInfo(&places);
	initStringInfo(&updates);
	initStringInfo(&query);
	list_policies(&names, &places, &updates);
	memcpy(types, fixed, sizeof(fixed));
	memset(nulls, ' ', sizeof(nulls));
	refresh_view_name(new->view, name);
	values[0] = ObjectIdGetDatum(new->view);
	values[1] = CStringGetTextDatum(name);
	values[2] = CStringGetTextDatum(new->schedule);
	values[3] = CStringGetTextDatum(new->timezone);
	values[4] = new->concurrent.value;
	nulls[4] = new->concurrent.isnull ? 'n' : ' ';
	values[5] = BoolGetDatum(new->enabled);
	values[6] = said->times ? CStringGetTextDatum(said->times) : (Datum) 0;
	nulls[6] = said->times ? ' ' : 'n';
	values[7] = oid_array(said->after);
	values[8] = BoolGetDatum(said->after_any);
	values[9] = BoolGetDatum(said->on_change);
	values[10] = span_of(said->within_usec);
	nulls[10] = said->within_usec ? ' ' : 'n';
	for (int i = 0; i < POLICIES; i++)
	{
		types[FIXED_COLUMNS + i] = policies[i].type;
		values[FIXED_COLUMNS + i] = new->policies[i].value;
		nulls[FIXED_COLUMNS + i] = new->policies[i].isnull ? 'n' : ' ';
	}
	types[last] = TIMESTAMPTZOID;
	values[last] = TimestampTzGetDatum(new->next_due);
	nulls[last] = new->due ? ' ' : 'n';
	appendStringInfo(
		&query,
		"INSERT INTO factory.refresh_schedule AS s (view, view_name, schedule, timezone, "
		"concurrent, enabled, times, after_views, after_any, on_change, within%s, "
		"next_due) VALUES ($1::pg_catalog.regclass, $2, $3, $4, $5, $6, $7, $8, $9, $10, "
		"$11%s, $%d) ON CONFLICT (view) DO UPDATE SET view_name = excluded.view_name, "
		"schedule = excluded.schedule, timezone = excluded.timezone, "
		"concurrent = excluded.concurrent, enabled = excluded.enabled, "
		"times = excluded.times, after_views = excluded.after_views, "
		"after_any = excluded.after_any, on_change = excluded.on_change, "
		"within = excluded.within, next_due = excluded.next_due, due_why = 'schedule', "
		"attempts = 0, failures = 0, paused_since = NULL%s "
		"RETURNING xmax <> '0'::pg_catalog.xid",
		names.data, places.data, last + 1, updates.data);
	house_enter(&saved);
	SPI_connect();
	/* No row limit: it would stop short of the statement's trigger. */
	SPI_execute_with_args(query.data, last + 1, types, values, nulls, false, 0);
	replaced = DatumGetBool(
		SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	SPI_finish();
	house_leave(&saved);
	return replaced;
}

static int64
usec_of(const NullableDatum *span)
{
	const Interval *value;

	if (span->isnull)
		return 0;
	value = DatumGetIntervalP(span->value);
	return value->time + value->day * USECS_PER_DAY +
		   value->month * (DAYS_PER_MONTH * USECS_PER_DAY);
}

static const NullableDatum *
policy(const NewSchedule *new, const char *name)
{
	for (int i = 0; i < POLICIES; i++)
		if (strcmp(policies[i].name, name) == 0)
			return &new->policies[i];
	elog(ERROR, "there is no policy \"%s\"", name);
}

/* The first due time: of the calendar, or at once where events decide what follows. */
static void
find_first_due(NewSchedule *new)
{
	const Declaration *said = new->declaration;
	const NullableDatum *holidays = policy(new, "holidays");
	char name[REFRESH_NAME_SIZE];
	DueSchedule due = {.view_name = name,
					   .times = said->times,
					   .timezone = unconstify(char *, new->timezone),
					   .catch_up = "last",
					   .jitter_usec = usec_of(policy(new, "jitter")),
					   .now = clock_now()};
	HouseRights saved;

	new->due = said->times != NULL || said->on_change || said->within_usec > 0;
	new->next_due = due.now;
	if (said->times == NULL || said->on_change || said->within_usec > 0)
		return;
	refresh_view_name(new->view, name);
	due.holidays = holidays->isnull ? NULL : TextDatumGetCString(holidays->value);
	house_enter(&saved);
	SPI_connect();
	refresh_compute_next(&due);
	SPI_finish();
	house_leave(&saved);
	new->next_due = due.next;
}

FACTORY_FUNCTION(factory_schedule_refresh);

Datum
factory_schedule_refresh(PG_FUNCTION_ARGS)
{
	NewSchedule new = {0};
	int last = FIRST_POLICY + POLICIES;

	require_argument(fcinfo, 0, "view");
	require_argument(fcinfo, 1, "schedule");
	new.view = PG_GETARG_OID(0);
	new.schedule = text_to_cstring(PG_GETARG_TEXT_PP(1));
	new.timezone =
		PG_ARGISNULL(2) ? clock_plant_zone() : text_to_cstring(PG_GETARG_TEXT_PP(2));
	new.concurrent = fcinfo->args[3];
	for (int i = 0; i < POLICIES; i++)
	{
		new.policies[i] = fcinfo->args[FIRST_POLICY + i];
		if (!new.policies[i].isnull)
			check_policy(i, new.policies[i].value);
	}
	new.enabled = PG_ARGISNULL(last) || PG_GETARG_BOOL(last);

	require_own_view(new.view);
	new.declaration = declaration_parse(new.schedule);
	(void) clock_zone(new.timezone);
	refresh_refuse_cycle(new.view, new.declaration->after);
	find_first_due(&new);
	if (!new.concurrent.isnull && DatumGetBool(new.concurrent.value))
		require_usable_index(new.view);
	if (store_schedule(&new))
		ereport(NOTICE, (errmsg("the schedule of materialized view \"%s\" is replaced",
								get_rel_name(new.view))));
	if (new.declaration->on_change)
		refresh_watch_sources(new.view);
	if (!new.due)
		PG_RETURN_NULL();
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
	refresh_begin(&run);
	refresh_record_start(&run);
	SPI_finish();
	house_leave(&saved);
	refresh_perform(&run);
	refresh_record(&run, NULL);
	PG_RETURN_INT64(run.id);
}
