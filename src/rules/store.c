/*
 * store.c
 *		Decisions in tables, and compiled in this backend's memory.
 *
 * Which version is in force is read once and kept until a relcache invalidation of
 * factory.deployment says that something was deployed: at commit, in every backend
 * (the table's trigger sends it).  Versions are immutable; a compiled one is kept
 * as long as its definition's hash and owner are what the table says, and no
 * function, operator or type was redefined.
 *
 * Replaced decisions are freed at the end of the transaction: somebody up the
 * stack may still be reading them.
 */
#include "postgres.h"

#include <math.h>

#include "access/xact.h"
#include "base/base.h"
#include "base/errors.h"
#include "base/house.h"
#include "base/lookup.h"
#include "base/nearest.h"
#include "base/number.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "rules/dependency.h"
#include "rules/store_int.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

/* Columns, as in tables.sql. */
#define DECISION_TENANT 1
#define DECISION_NAME 2
#define DEPLOYMENT_TENANT 2
#define DEPLOYMENT_DECISION 3
#define DEPLOYMENT_VERSION 4
#define DEPLOYMENT_CANARY_PCT 6
#define VERSION_TENANT 1
#define VERSION_DECISION 2
#define VERSION_NUMBER 3
#define VERSION_DEFINITION 4
#define VERSION_HASH 5
#define VERSION_OWNER 6
#define RULE_INDEX_IMAGE 4

typedef struct Compiled
{
	int version;
	char *hash;
	Oid owner;
	uint64 functions_seen; /* functions_changed when it was compiled */
	Decision *decision;
} Compiled;

/* Compared byte by byte; the tenant's name is one pointer a backend. */
typedef struct CachedKey
{
	const char *tenant;
	char name[DECISION_NAME_MAX + 1];
} CachedKey;

typedef struct CachedName
{
	CachedKey key;
	bool valid;   /* in_force is what the tables say */
	int in_force; /* 0: nothing is deployed */
	int canary_version;
	int canary_share;
	List *compiled; /* of Compiled * */
} CachedName;

static HTAB *cached_names = NULL;
static uint64 times_forgotten = 0; /* what is in force */
static uint64 functions_changed = 0;
static List *retired = NIL;        /* of Decision *, freed at the transaction's end */
static uint64 decisions_freed = 0; /* how often retired ones were freed */
static Oid deployment_relation = InvalidOid;
static Oid dependency_relation = InvalidOid;
static bool relations_known = false; /* they are what the catalogue says */

/* --- invalidation --------------------------------------------------------------------- */

static void
forget_in_force(void)
{
	HASH_SEQ_STATUS scan;
	CachedName *entry;

	times_forgotten++;
	hash_seq_init(&scan, cached_names);
	while ((entry = hash_seq_search(&scan)) != NULL)
		entry->valid = false;
}

/* May come at any moment: flags only. */
static void
relation_changed(Datum argument, Oid relation)
{
	bool used = relation == InvalidOid || relation == dependency_relation ||
				dependency_of_relation(relation);

	if (used)
		functions_changed++;
	if (used || relation == deployment_relation)
		forget_in_force();
	/* A dropped and created extension has others. */
	if (relation == InvalidOid || relation == dependency_relation ||
		relation == deployment_relation)
		relations_known = false;
}

static void
function_changed(Datum argument, int cache, uint32 hash)
{
	functions_changed++;
	forget_in_force();
}

/* Types come and go with every table: only those that are used count. */
static void
type_changed(Datum argument, int cache, uint32 hash)
{
	if (dependency_of_type(hash))
		function_changed(argument, cache, hash);
}

static void
free_retired(XactEvent event, void *argument)
{
	ListCell *cell;

	if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT)
		return;
	foreach (cell, retired)
		decision_free(lfirst(cell));
	if (retired != NIL)
		decisions_freed++;
	list_free(retired);
	retired = NIL;
}

void
decision_retire(Decision *decision)
{
	MemoryContext caller = MemoryContextSwitchTo(CacheMemoryContext);

	retired = lappend(retired, decision);
	MemoryContextSwitchTo(caller);
}

uint64
decisions_freed_so_far(void)
{
	return decisions_freed;
}

void
store_prepare(void)
{
	HASHCTL control = {.keysize = sizeof(CachedKey), .entrysize = sizeof(CachedName)};
	uint64 before = times_forgotten;

	if (relations_known)
		return;
	deployment_relation = house_relation("deployment");
	dependency_relation = house_relation("decision_dependency");
	if (cached_names != NULL)
	{
		relations_known = times_forgotten == before;
		return;
	}
	control.hcxt = CacheMemoryContext;
	cached_names = hash_create("pg_factory decisions", 64, &control,
							   HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	CacheRegisterRelcacheCallback(relation_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(PROCOID, function_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(OPEROID, function_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(ENUMOID, function_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(TYPEOID, type_changed, (Datum) 0);
	RegisterXactCallback(free_retired, NULL);
}

void
functions_watch(void)
{
	store_prepare();
}

/* Flags only: it may come at any moment. */
void
decisions_outdate(void)
{
	functions_changed++;
	if (cached_names != NULL)
		forget_in_force();
}

uint64
functions_changed_so_far(void)
{
	return functions_changed;
}

/* --- reading ------------------------------------------------------------------------------ */

/*
 * What is in force is asked of the newest snapshot, also in a transaction with an
 * old one: else a backend could keep an answer that was out of date when it was
 * read.  Parallel workers have their leader's snapshot only.
 */
static void
house_query(HouseRights *saved, const char *sql, int count, Oid *types, Datum *values)
{
	bool newest = !IsInParallelMode();

	house_enter(saved);
	SPI_connect();
	if (newest)
		PushActiveSnapshot(GetLatestSnapshot());
	if (SPI_execute_with_args(sql, count, types, values, NULL, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read decisions");
	if (newest)
		PopActiveSnapshot();
}

static void
house_query_end(HouseRights *saved)
{
	SPI_finish();
	house_leave(saved);
}

static char *
column_text(int row, int number)
{
	return SPI_getvalue(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, number);
}

/* The nearest name to one that does not exist, for the hint. */
static char *
nearest_decision(const char *name)
{
	MemoryContext caller = CurrentMemoryContext;
	Oid types[] = {TEXTOID};
	Datum values[] = {CStringGetTextDatum(tenant_current())};
	HouseRights saved;
	const char **names;
	const char *near;
	char *result = NULL;

	house_query(&saved, "SELECT name FROM factory.decision WHERE tenant_id = $1", 1,
				types, values);
	names = palloc(sizeof(char *) * Max(SPI_processed, 1));
	for (uint64 i = 0; i < SPI_processed; i++)
		names[i] = column_text(i, 1);
	near = nearest_name(name, names, SPI_processed);
	if (near != NULL)
		result = MemoryContextStrdup(caller, near);
	house_query_end(&saved);
	return result;
}

void
store_raise_undefined(const char *name)
{
	char *near = nearest_decision(name);

	ereport(ERROR, (errcode(ERRCODE_FACTORY_UNDEFINED_DECISION),
					errmsg("decision \"%s\" does not exist", name),
					near ? errhint("Did you mean \"%s\"?", near)
						 : errhint("View factory.decision_status lists the decisions.")));
}

static bool
decision_exists(const char *name)
{
	ScanKeyData keys[2];
	Lookup lookup;
	bool exists;

	lookup_text_key(&keys[0], DECISION_TENANT, tenant_current());
	lookup_text_key(&keys[1], DECISION_NAME, name);
	lookup_begin(&lookup, "decision");
	exists = HeapTupleIsValid(lookup_row(&lookup, "decision_pkey", keys, 2));
	lookup_end(&lookup);
	return exists;
}

static int
deployed_version(const Lookup *lookup, HeapTuple row)
{
	bool isnull;

	if (!HeapTupleIsValid(row))
		return 0;
	return DatumGetInt32(lookup_column(lookup, row, DEPLOYMENT_VERSION, &isnull));
}

/* Its part of CANARY_WHOLE. */
static int
canary_share(const Lookup *lookup, HeapTuple row)
{
	bool isnull = true;
	Datum percent = 0;

	if (HeapTupleIsValid(row))
		percent = lookup_column(lookup, row, DEPLOYMENT_CANARY_PCT, &isnull);
	return isnull ? 0 : (int) rint(number_to_double(percent) * (CANARY_WHOLE / 100));
}

static void
read_in_force(const char *name, CachedName *found)
{
	ScanKeyData keys[2];
	Lookup lookup;
	HeapTuple row;

	lookup_text_key(&keys[0], DEPLOYMENT_TENANT, tenant_current());
	lookup_text_key(&keys[1], DEPLOYMENT_DECISION, name);
	lookup_begin(&lookup, "deployment");
	row = lookup_row(&lookup, "deployment_active", keys, 2);
	found->in_force = deployed_version(&lookup, row);
	lookup_text_key(&keys[0], DEPLOYMENT_TENANT, tenant_current());
	lookup_text_key(&keys[1], DEPLOYMENT_DECISION, name);
	row = lookup_row(&lookup, "deployment_canary", keys, 2);
	found->canary_version = deployed_version(&lookup, row);
	found->canary_share = canary_share(&lookup, row);
	lookup_end(&lookup);
	if (found->in_force == 0 && !decision_exists(name))
		store_raise_undefined(name);
}

void
store_version_keys(ScanKey keys, const char *name, int version)
{
	lookup_text_key(&keys[0], VERSION_TENANT, tenant_current());
	lookup_text_key(&keys[1], VERSION_DECISION, name);
	ScanKeyInit(&keys[2], VERSION_NUMBER, BTEqualStrategyNumber, F_INT4EQ,
				Int32GetDatum(version));
}

static bytea *
read_image(const char *name, int version)
{
	ScanKeyData keys[3];
	Lookup lookup;
	HeapTuple row;
	bytea *image = NULL;
	bool isnull;

	store_version_keys(keys, name, version);
	lookup_begin(&lookup, "rule_index");
	row = lookup_row(&lookup, "rule_index_pkey", keys, 3);
	if (HeapTupleIsValid(row))
		image = (bytea *) PG_DETOAST_DATUM_COPY(
			lookup_column(&lookup, row, RULE_INDEX_IMAGE, &isnull));
	lookup_end(&lookup);
	return image;
}

bool
store_read_version(const char *name, int version, bool with_definition,
				   StoredVersion *stored)
{
	ScanKeyData keys[3];
	Lookup lookup;
	HeapTuple row;
	bool exists;
	bool isnull;

	store_version_keys(keys, name, version);
	lookup_begin(&lookup, "decision_version");
	row = lookup_row(&lookup, "decision_version_pkey", keys, 3);
	exists = HeapTupleIsValid(row);
	if (exists)
	{
		stored->hash =
			TextDatumGetCString(lookup_column(&lookup, row, VERSION_HASH, &isnull));
		stored->owner =
			DatumGetObjectId(lookup_column(&lookup, row, VERSION_OWNER, &isnull));
	}
	if (exists && with_definition)
		stored->definition = (Jsonb *) PG_DETOAST_DATUM_COPY(
			lookup_column(&lookup, row, VERSION_DEFINITION, &isnull));
	lookup_end(&lookup);
	if (exists && with_definition)
		stored->image = read_image(name, version);
	return exists;
}

/* --- compiled versions --------------------------------------------------------------------- */

static Compiled *
find_compiled(CachedName *entry, int version)
{
	ListCell *cell;

	foreach (cell, entry->compiled)
		if (((Compiled *) lfirst(cell))->version == version)
			return lfirst(cell);
	return NULL;
}

Jsonb *
decision_definition(const char *name, int version)
{
	StoredVersion stored;

	if (!store_read_version(name, version, true, &stored))
		ereport(ERROR, (errcode(ERRCODE_FACTORY_UNDEFINED_DECISION),
						errmsg("decision \"%s\" has no version %d", name, version),
						errhint("View factory.decision_definition lists the versions.")));
	return stored.definition;
}

void
store_check_owner(const char *name, int version, Oid owner)
{
	if (SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(owner)))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("owner of decision \"%s\" version %d does not exist", name, version),
			 errdetail("Its conditions run with the owner's rights."),
			 errhint("Save the definition again as a new version and deploy it.")));
}

static Decision *
compile_version(CachedName *entry, int version, Compiled *compiled)
{
	Problems problems = {.collect = false};
	StoredVersion stored;
	Decision *decision;
	MemoryContext caller;
	uint64 functions_seen = functions_changed;

	if (!store_read_version(entry->key.name, version, true, &stored))
		ereport(ERROR,
				(errcode(ERRCODE_FACTORY_UNDEFINED_DECISION),
				 errmsg("decision \"%s\" has no version %d", entry->key.name, version),
				 errhint("View factory.decision_definition lists the versions.")));
	store_check_owner(entry->key.name, version, stored.owner);
	decision = stored.image ? decision_open(entry->key.name, version, stored.owner,
											stored.definition, stored.hash, stored.image)
							: NULL;
	if (decision == NULL)
		decision = decision_compile(entry->key.name, version, stored.owner,
									stored.definition, &problems);
	decision->hash = MemoryContextStrdup(decision->context, stored.hash);
	caller = MemoryContextSwitchTo(CacheMemoryContext);
	MemoryContextSetParent(decision->context, CacheMemoryContext);
	if (compiled == NULL)
	{
		compiled = palloc0(sizeof(Compiled));
		entry->compiled = lappend(entry->compiled, compiled);
	}
	else
	{
		retired = lappend(retired, compiled->decision);
		pfree(compiled->hash);
	}
	compiled->version = version;
	compiled->hash = pstrdup(stored.hash);
	compiled->owner = stored.owner;
	compiled->functions_seen = functions_seen;
	compiled->decision = decision;
	MemoryContextSwitchTo(caller);
	return decision;
}

static bool
is_current(CachedName *entry, const Compiled *compiled)
{
	StoredVersion stored;

	return compiled->functions_seen == functions_changed &&
		   store_read_version(entry->key.name, compiled->version, false, &stored) &&
		   strcmp(stored.hash, compiled->hash) == 0 && stored.owner == compiled->owner;
}

static CachedName *
cached_name(const char *name)
{
	CachedName *entry;
	CachedKey key;
	bool found;

	if (strlen(name) > DECISION_NAME_MAX)
		store_raise_undefined(name);
	memset(&key, 0, sizeof(key));
	key.tenant = tenant_current();
	strlcpy(key.name, name, sizeof(key.name));
	entry = hash_search(cached_names, &key, HASH_ENTER, &found);
	if (!found)
	{
		entry->valid = false;
		entry->compiled = NIL;
	}
	return entry;
}

void
decisions_compiled(void (*see)(const Decision *, void *), void *argument)
{
	HASH_SEQ_STATUS scan;
	CachedName *entry;
	ListCell *cell;

	if (cached_names == NULL)
		return;
	hash_seq_init(&scan, cached_names);
	while ((entry = hash_seq_search(&scan)) != NULL)
		if (entry->key.tenant == tenant_current())
			foreach (cell, entry->compiled)
				see(((Compiled *) lfirst(cell))->decision, argument);
}

/*
 * A caller that asks for a name that is not there leaves an entry behind that is
 * never valid: it is taken out again, so that guesses do not fill memory.
 */
static void
refresh_name(CachedName *entry)
{
	CachedKey key = entry->key;
	CachedName found;
	uint64 forgotten = times_forgotten;

	if (entry->compiled == NIL)
		(void) hash_search(cached_names, &key, HASH_REMOVE, NULL);
	read_in_force(key.name, &found);
	entry = cached_name(key.name);
	entry->in_force = found.in_force;
	entry->canary_version = found.canary_version;
	entry->canary_share = found.canary_share;
	/* What was deployed while it was read is read at the next judgment. */
	entry->valid = forgotten == times_forgotten;
}

Decision *
decision_lookup(const char *name, int version)
{
	CachedName *entry;
	Compiled *compiled;
	bool checked;

	store_prepare();
	entry = cached_name(name);
	checked = entry->valid;
	if (!checked)
	{
		refresh_name(entry);
		entry = cached_name(name);
	}
	if (version == 0)
		version = entry->in_force;
	if (version == 0)
		ereport(ERROR, (errcode(ERRCODE_FACTORY_UNDEFINED_DECISION),
						errmsg("decision \"%s\" has no version in force", name),
						errhint("Run factory.deploy(%s, version, changelog => '...').",
								quote_literal_cstr(name))));
	compiled = find_compiled(entry, version);
	if (compiled != NULL && (checked || is_current(entry, compiled)))
		return compiled->decision;
	return compile_version(entry, version, compiled);
}

/*
 * A call site may outlive its statement, a decision its transaction: the pin holds
 * within both only.
 */
static bool
pin_holds(const DecisionPin *pin, const char *name, int version)
{
	return pin->decision != NULL && pin->version == version &&
		   pin->tenant == tenant_current() &&
		   pin->statement == GetCurrentStatementStartTimestamp() &&
		   pin->freed == decisions_freed && strcmp(pin->name, name) == 0;
}

Decision *
decision_for_call(DecisionPin *pin, const char *name, int version)
{
	if (pin_holds(pin, name, version))
		return pin->decision;
	/* A statement that touches no table would not hear of a deployment else. */
	AcceptInvalidationMessages();
	pin->decision = NULL;
	pin->decision = decision_lookup(name, version);
	pin->canary_version = pin->canary_share = 0;
	if (version == 0)
	{
		const CachedName *entry = cached_name(name);

		pin->canary_version = entry->canary_version;
		pin->canary_share = entry->canary_share;
	}
	strlcpy(pin->name, name, sizeof(pin->name));
	pin->version = version;
	pin->tenant = tenant_current();
	pin->statement = GetCurrentStatementStartTimestamp();
	pin->freed = decisions_freed;
	return pin->decision;
}
