/*
 * activity.c
 *		Whether the house may act here and now.
 *
 * What the tables say is read once and kept until a trigger on them tells every
 * backend, at commit, that it has changed.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xlog.h"
#include "base/activity.h"
#include "base/compat.h"
#include "base/house.h"
#include "base/settings.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/rel.h"

/* Columns of factory.activation and factory.worker_pause, as in tables.sql. */
#define ACTIVATION_SYSTEM 1
#define ACTIVATION_DATABASE 2
#define ACTIVATION_CLUSTERS 3
#define PAUSE_REASON 2
#define PAUSE_BY 3

/* Room for a reason, which may quote what somebody wrote. */
#define REST_REASON_SIZE 256

static bool enabled = true;

/* How far a row of factory.activation fits this place; the worst row counts. */
typedef enum Fit
{
	FIT_NO_ROW,
	FIT_HERE,
	FIT_OTHER_CLUSTER,
	FIT_OTHER_DATABASE,
	FIT_OTHER_SYSTEM
} Fit;

static const struct
{
	const char *reason;
	const char *hint;
} fits[] = {
	[FIT_NO_ROW] = {"this database was restored from a dump and not activated since",
					"If it shall act on its own, run SELECT factory.activate();."},
	[FIT_OTHER_CLUSTER] = {"cluster_name of this server is not among those activated",
						   "If this server shall act, run SELECT factory.activate();, "
						   "naming all servers that may."},
	[FIT_OTHER_DATABASE] =
		{"this database is a copy or a restored dump of the one that was activated",
		 "If it shall act on its own, run SELECT "
		 "factory.activate();."},
	[FIT_OTHER_SYSTEM] = {"this database was activated in another server",
						  "If it shall act here, run SELECT factory.activate();."},
};

/* What the tables said when they were read last. */
static bool known = false;
static Fit fit = FIT_NO_ROW;
static bool paused = false;
static char pause_reason[REST_REASON_SIZE];

static const char *rest_hint = NULL;

static Oid activation_relation = InvalidOid;
static Oid pause_relation = InvalidOid;

static const Setting settings[] = {
	{"factory.enabled",
	 "Enables calls of models, scheduled refreshes and jobs; off, judgments answer by "
	 "rules and write nothing.",
	 SETTING_BOOL, &enabled, .boot = 1, .context = PGC_SUSET},
};

void
activity_define_settings(void)
{
	settings_define(settings, lengthof(settings));
}

/* --- what invalidates ----------------------------------------------------------------- */

/* May come at any moment: a flag only. */
static void
relation_changed(Datum argument, Oid relation)
{
	if (relation == InvalidOid || relation == activation_relation ||
		relation == pause_relation)
		known = false;
}

static void
watch(void)
{
	static bool watching = false;

	/* A dropped and created extension has other tables. */
	activation_relation = house_relation_if_exists("activation");
	pause_relation = house_relation_if_exists("worker_pause");
	if (watching)
		return;
	CacheRegisterRelcacheCallback(relation_changed, (Datum) 0);
	watching = true;
}

FACTORY_FUNCTION(factory_activity_changed);

Datum
factory_activity_changed(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("function \"%s\" can only be called as a trigger",
							   "factory.activity_changed")));
	CacheInvalidateRelcache(trigger->tg_relation);
	PG_RETURN_POINTER(NULL);
}

/* --- reading -------------------------------------------------------------------------- */

static bool
names_this_cluster(Datum names)
{
	Datum *elements;
	bool *nulls;
	int count;

	deconstruct_array(DatumGetArrayTypeP(names), TEXTOID, -1, false, TYPALIGN_INT,
					  &elements, &nulls, &count);
	for (int i = 0; i < count; i++)
		if (!nulls[i] && strcmp(TextDatumGetCString(elements[i]), cluster_name) == 0)
			return true;
	return false;
}

static Fit
row_fit(HeapTuple tuple, TupleDesc shape)
{
	bool isnull;
	uint64 system =
		(uint64) DatumGetInt64(heap_getattr(tuple, ACTIVATION_SYSTEM, shape, &isnull));
	Oid database =
		DatumGetObjectId(heap_getattr(tuple, ACTIVATION_DATABASE, shape, &isnull));

	if (system != GetSystemIdentifier())
		return FIT_OTHER_SYSTEM;
	if (database != MyDatabaseId)
		return FIT_OTHER_DATABASE;
	return names_this_cluster(heap_getattr(tuple, ACTIVATION_CLUSTERS, shape, &isnull))
			   ? FIT_HERE
			   : FIT_OTHER_CLUSTER;
}

static void
read_activation(void)
{
	Relation relation;
	SysScanDesc scan;
	HeapTuple tuple;

	fit = FIT_NO_ROW;
	if (!OidIsValid(activation_relation))
		return;
	relation = table_open(activation_relation, AccessShareLock);
	scan = systable_beginscan(relation, InvalidOid, false, NULL, 0, NULL);
	while ((tuple = systable_getnext(scan)) != NULL)
		fit = Max(fit, row_fit(tuple, RelationGetDescr(relation)));
	systable_endscan(scan);
	table_close(relation, AccessShareLock);
}

static void
describe_pause(HeapTuple tuple, TupleDesc shape)
{
	bool isnull;
	Datum by = heap_getattr(tuple, PAUSE_BY, shape, &isnull);
	Datum why = heap_getattr(tuple, PAUSE_REASON, shape, &isnull);

	snprintf(pause_reason, sizeof(pause_reason), "workers are paused by %s%s%s",
			 NameStr(*DatumGetName(by)), isnull ? "" : ": ",
			 isnull ? "" : TextDatumGetCString(why));
}

static void
read_pause(void)
{
	Relation relation;
	SysScanDesc scan;
	HeapTuple tuple;

	paused = false;
	if (!OidIsValid(pause_relation))
		return;
	relation = table_open(pause_relation, AccessShareLock);
	scan = systable_beginscan(relation, InvalidOid, false, NULL, 0, NULL);
	while ((tuple = systable_getnext(scan)) != NULL)
	{
		paused = true;
		describe_pause(tuple, RelationGetDescr(relation));
	}
	systable_endscan(scan);
	table_close(relation, AccessShareLock);
}

/* Opening a table may bring the news that it has changed: then once more. */
static void
find_out(void)
{
	MemoryContext caller;
	MemoryContext work;

	if (known)
		return;
	work = AllocSetContextCreate(CurrentMemoryContext, "factory activity",
								 ALLOCSET_SMALL_SIZES);
	caller = MemoryContextSwitchTo(work);
	while (!known)
	{
		watch();
		known = true;
		read_activation();
		read_pause();
	}
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(work);
}

/* --- the door --------------------------------------------------------------------------- */

static bool
rest(const char **reason, const char *why, const char *hint)
{
	*reason = why;
	rest_hint = hint;
	return false;
}

bool
house_is_enabled(void)
{
	return enabled;
}

bool
house_may_act(const char **reason)
{
	if (!enabled)
		return rest(reason, "factory.enabled is off",
					"Run ALTER SYSTEM RESET factory.enabled; SELECT pg_reload_conf(); "
					"or find where else it is set in pg_settings.");
	find_out();
	if (fit != FIT_HERE)
		return rest(reason, fits[fit].reason, fits[fit].hint);
	*reason = rest_hint = NULL;
	return true;
}

bool
house_may_work(const char **reason)
{
	/*
	 * A commit wakes workers before it tells other backends what it changed: what is
	 * remembered may be stale, and nobody would wake them again.
	 */
	known = false;
	if (!house_may_act(reason))
		return false;
	if (paused)
		return rest(reason, pause_reason, "Run SELECT factory.resume_workers();.");
	return true;
}

const char *
house_rest_hint(void)
{
	return rest_hint;
}

FACTORY_FUNCTION(factory_activity);

Datum
factory_activity(PG_FUNCTION_ARGS)
{
	const char *reason;
	bool may_act = house_may_act(&reason);
	bool may_work = house_may_work(&reason);
	Datum values[4];
	bool nulls[4] = {false, false, reason == NULL, reason == NULL};
	TupleDesc shape;

	if (get_call_result_type(fcinfo, NULL, &shape) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	values[0] = BoolGetDatum(may_act);
	values[1] = BoolGetDatum(may_work);
	values[2] = reason ? CStringGetTextDatum(reason) : (Datum) 0;
	values[3] = reason ? CStringGetTextDatum(rest_hint) : (Datum) 0;
	PG_RETURN_DATUM(
		HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(shape), values, nulls)));
}
