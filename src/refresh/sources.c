/*
 * sources.c
 *		What a view reads, remembered until a definition changes.
 *
 * The catalogue is walked once a view and process.  A view in between that is replaced, a
 * partition that comes or goes, a function that is replaced: whoever asks next walks
 * again, and gets another edition, by which others see that it is not what it was.
 */
#include "postgres.h"

#include "access/table.h"
#include "base/compat.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "optimizer/optimizer.h"
#include "refresh/refresh_int.h"
#include "rewrite/prs2lock.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"

typedef struct Entry
{
	Oid view;
	bool known;   /* what follows holds */
	bool touched; /* the view's own row changed: as at each refresh, or it is another */
	Oid rule;     /* its query in pg_rewrite: who has another is another view */
	RefreshSources sources;
	List *relations; /* whose definition is part of this */
	List *functions; /* hash values of theirs, as invalidations name them */
	MemoryContext context;
} Entry;

static HTAB *entries = NULL;
static int64 last_edition = 0;

/* What changed while a view is walked: it is not yet known whether that concerns it. */
#define MEANWHILE_MAX 64
static uint32 meanwhile[MEANWHILE_MAX];
static int meanwhile_count = 0;

/* --- what makes it void ------------------------------------------------------------- */

static void
note_meanwhile(uint32 what)
{
	if (meanwhile_count < MEANWHILE_MAX)
		meanwhile[meanwhile_count] = what;
	meanwhile_count++;
}

/* Whether it was changed behind the walk's back.  Where much was, it is. */
static bool
was_overtaken(const Entry *entry)
{
	if (meanwhile_count > MEANWHILE_MAX)
		return true;
	for (int i = 0; i < meanwhile_count; i++)
		if (meanwhile[i] == 0 || list_member_oid(entry->relations, meanwhile[i]) ||
			list_member_int(entry->functions, (int) meanwhile[i]))
			return true;
	return false;
}

/* Nothing is freed here: somebody may be reading. */
static void
relation_changed(Datum argument, Oid relation)
{
	HASH_SEQ_STATUS all;
	Entry *entry;

	note_meanwhile(relation);
	hash_seq_init(&all, entries);
	while ((entry = hash_seq_search(&all)) != NULL)
	{
		if (!OidIsValid(relation) || list_member_oid(entry->relations, relation))
			entry->known = false;
		if (entry->view == relation)
			entry->touched = true;
	}
}

static void
function_changed(Datum argument, int cache, uint32 hash)
{
	HASH_SEQ_STATUS all;
	Entry *entry;

	note_meanwhile(hash);
	hash_seq_init(&all, entries);
	while ((entry = hash_seq_search(&all)) != NULL)
		if (hash == 0 || list_member_int(entry->functions, (int) hash))
			entry->known = false;
}

static Entry *
entry_of(Oid view)
{
	HASHCTL shape = {.keysize = sizeof(Oid), .entrysize = sizeof(Entry)};
	Entry *entry;
	bool found;

	if (entries == NULL)
	{
		entries =
			hash_create("pg_factory views' sources", 64, &shape, HASH_ELEM | HASH_BLOBS);
		CacheRegisterRelcacheCallback(relation_changed, (Datum) 0);
		CacheRegisterSyscacheCallback(PROCOID, function_changed, (Datum) 0);
	}
	entry = hash_search(entries, &view, HASH_ENTER, &found);
	if (!found)
	{
		memset(entry, 0, sizeof(*entry));
		entry->view = view;
		entry->context =
			AllocSetContextCreate(TopMemoryContext, "pg_factory view's sources",
								  ALLOCSET_SMALL_SIZES);
	}
	return entry;
}

/* --- walking --------------------------------------------------------------------------- */

/* Its query's place in pg_rewrite; and whether it says the same as long as its tables do. */
static Oid
read_rule(Oid view, bool *immutable)
{
	Relation relation = table_open(view, AccessShareLock);
	const RuleLock *rules = relation->rd_rules;
	Oid rule = rules && rules->numLocks > 0 ? rules->rules[0]->ruleId : InvalidOid;

	for (int i = 0; immutable != NULL && rules && i < rules->numLocks; i++)
	{
		ListCell *cell;

		foreach (cell, rules->rules[i]->actions)
			if (contain_mutable_functions(lfirst(cell)))
				*immutable = false;
	}
	table_close(relation, AccessShareLock);
	return rule;
}

static bool
kind_can_tell(char kind)
{
	return kind == RELKIND_RELATION || kind == RELKIND_PARTITIONED_TABLE ||
		   kind == RELKIND_MATVIEW || kind == RELKIND_VIEW;
}

/* What it reads itself, plain views looked through: a materialized one is a table. */
static void
note_direct(Entry *entry, Oid relation, char kind)
{
	RefreshSources *sources = &entry->sources;

	if (!kind_can_tell(kind))
		sources->tell = false;
	else if (kind == RELKIND_VIEW)
		(void) read_rule(relation, &sources->tell);
	else
		sources->tables = lappend_oid(sources->tables, relation);
}

static void
note_source(Entry *entry, HeapTuple row, TupleDesc columns)
{
	bool isnull;
	Oid object = DatumGetObjectId(SPI_getbinval(row, columns, 1, &isnull));
	char kind = DatumGetChar(SPI_getbinval(row, columns, 2, &isnull));
	char way = DatumGetChar(SPI_getbinval(row, columns, 3, &isnull));

	if (way == 'f')
	{
		entry->functions =
			lappend_int(entry->functions,
						(int) GetSysCacheHashValue1(PROCOID, ObjectIdGetDatum(object)));
		return;
	}
	if (kind == RELKIND_VIEW || kind == RELKIND_PARTITIONED_TABLE)
		entry->relations = list_append_unique_oid(entry->relations, object);
	if (way == 'd')
		note_direct(entry, object, kind);
	else if (kind == RELKIND_MATVIEW)
		entry->sources.views = lappend_oid(entry->sources.views, object);
}

/* Ways: d, directly, with the leaves of partitioned tables; t, through others; f, calls. */
static const char *const walk_query =
	"WITH direct AS (SELECT relation, kind FROM factory.view_sources($1, false)), "
	"leaf AS (SELECT DISTINCT coalesce(p.relid, d.relation)::pg_catalog.oid AS relation "
	"FROM direct AS d LEFT JOIN LATERAL pg_catalog.pg_partition_tree(d.relation) AS p "
	"ON true) "
	"SELECT c.oid, c.relkind, 'd'::pg_catalog.\"char\" FROM leaf JOIN "
	"pg_catalog.pg_class AS c ON c.oid = leaf.relation UNION ALL "
	"SELECT relation, kind, 't' FROM factory.view_sources($1, true) UNION ALL "
	"SELECT DISTINCT f.refobjid, 'f'::pg_catalog.\"char\", 'f'::pg_catalog.\"char\" FROM "
	"(SELECT $1 AS view UNION ALL SELECT relation FROM direct WHERE kind = 'v') AS v "
	"JOIN pg_catalog.pg_rewrite AS r ON r.ev_class = v.view "
	"JOIN pg_catalog.pg_depend AS f ON f.classid = 'pg_catalog.pg_rewrite'::"
	"pg_catalog.regclass AND f.objid = r.oid AND f.refclassid = "
	"'pg_catalog.pg_proc'::pg_catalog.regclass ORDER BY 1";

static void
walk(Entry *entry)
{
	Oid types[] = {OIDOID};
	Datum values[] = {ObjectIdGetDatum(entry->view)};
	RefreshSources *sources = &entry->sources;
	MemoryContext before;

	MemoryContextReset(entry->context);
	memset(sources, 0, sizeof(*sources));
	entry->relations = entry->functions = NIL;
	entry->known = entry->touched = false;
	meanwhile_count = 0;
	sources->edition = ++last_edition;
	sources->tell = true;
	entry->rule = read_rule(entry->view, &sources->tell);
	refresh_query(walk_query, 1, types, values, NULL, false, 0);
	before = MemoryContextSwitchTo(entry->context);
	for (uint64 i = 0; i < SPI_processed; i++)
		note_source(entry, SPI_tuptable->vals[i], SPI_tuptable->tupdesc);
	MemoryContextSwitchTo(before);
	entry->known = !was_overtaken(entry);
}

const RefreshSources *
refresh_sources(Oid view)
{
	Entry *entry = entry_of(view);

	if (entry->known && entry->touched)
		entry->known = read_rule(view, NULL) == entry->rule;
	entry->touched = false;
	if (!entry->known)
		walk(entry);
	return &entry->sources;
}

void
refresh_forget_sources(Oid view)
{
	Entry *entry = entries ? hash_search(entries, &view, HASH_FIND, NULL) : NULL;

	if (entry == NULL)
		return;
	MemoryContextDelete(entry->context);
	hash_search(entries, &view, HASH_REMOVE, NULL);
}
