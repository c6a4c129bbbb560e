/*
 * unchanged.c
 *		Whether anything that a view reads was changed since its last run.
 *
 * The answer is a hint, never a proof: it compares the server's counters of changed
 * rows, which a session may report some seconds late, and the files of the tables.
 * A change that is missed now is seen at the next due time.  What reads foreign
 * tables, or calls anything that is not immutable (now(), say), is never unchanged.
 *
 * Here is also what this scheduler is doing: which views are being refreshed.
 *
 * It is remembered in the scheduler's memory: whoever restarts knows nothing, and
 * refreshes.
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
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

typedef struct Known
{
	Oid view;
	char *taken;         /* the state before the run under way; or NULL */
	char *seen;          /* the state that the contents are at least as new as; or NULL */
	TimestampTz skip_to; /* not due before, though its row says so */
	bool busy;           /* somebody refreshes it */
	Oid awaits;          /* the source that is refreshed for it; or InvalidOid */
} Known;

static HTAB *known = NULL;

static Known *
known_of(Oid view)
{
	HASHCTL shape = {.keysize = sizeof(Oid), .entrysize = sizeof(Known)};
	Known *entry;
	bool found;

	if (known == NULL)
		known =
			hash_create("pg_factory unchanged views", 64, &shape, HASH_ELEM | HASH_BLOBS);
	entry = hash_search(known, &view, HASH_ENTER, &found);
	if (!found)
	{
		entry->taken = entry->seen = NULL;
		entry->skip_to = 0;
		entry->busy = false;
		entry->awaits = InvalidOid;
	}
	return entry;
}

static void
keep(char **place, const char *text)
{
	if (*place != NULL)
		pfree(*place);
	*place = text ? MemoryContextStrdup(TopMemoryContext, text) : NULL;
}

/* Whether the query behind a view, of either kind, says the same as long as its tables do. */
static bool
query_is_immutable(Oid view)
{
	Relation relation = table_open(view, AccessShareLock);
	bool immutable = true;

	for (int i = 0; relation->rd_rules && i < relation->rd_rules->numLocks; i++)
	{
		ListCell *cell;

		foreach (cell, relation->rd_rules->rules[i]->actions)
			if (contain_mutable_functions(lfirst(cell)))
				immutable = false;
	}
	table_close(relation, AccessShareLock);
	return immutable;
}

/*
 * The state of everything a view reads, as text; NULL where that cannot be told.
 * Plain views are looked through; a materialized one is a table like others.
 */
static const char *const state_query =
	"WITH leaf AS (SELECT DISTINCT coalesce(p.relid, s.relation)::pg_catalog.oid AS "
	"relation FROM factory.view_sources($1, false) AS s LEFT JOIN LATERAL "
	"pg_catalog.pg_partition_tree(s.relation) AS p ON true) "
	"SELECT c.oid, c.relkind, pg_catalog.format('%s:%s:%s', c.oid, c.relfilenode, "
	"pg_catalog.pg_stat_get_tuples_inserted(c.oid) "
	"+ pg_catalog.pg_stat_get_tuples_updated(c.oid) "
	"+ pg_catalog.pg_stat_get_tuples_deleted(c.oid)) "
	"FROM leaf JOIN pg_catalog.pg_class AS c ON c.oid = leaf.relation ORDER BY c.oid";

static bool
kind_can_tell(char kind)
{
	return kind == RELKIND_RELATION || kind == RELKIND_PARTITIONED_TABLE ||
		   kind == RELKIND_MATVIEW || kind == RELKIND_VIEW;
}

/* Inside SPI, as one who may read factory.view_sources. */
static char *
state_of(Oid view)
{
	static SPIPlanPtr plan = NULL;
	Oid types[] = {OIDOID};
	Datum values[] = {ObjectIdGetDatum(view)};
	StringInfoData state;
	bool tells = true;

	if (!query_is_immutable(view))
		return NULL;
	if (plan == NULL)
	{
		plan = SPI_prepare(state_query, 1, types);
		SPI_keepplan(plan);
	}
	SPI_execute_plan(plan, values, NULL, true, 0);
	initStringInfo(&state);
	for (uint64 i = 0; tells && i < SPI_processed; i++)
	{
		HeapTuple row = SPI_tuptable->vals[i];
		bool isnull;
		Oid relation =
			DatumGetObjectId(SPI_getbinval(row, SPI_tuptable->tupdesc, 1, &isnull));
		char kind = DatumGetChar(SPI_getbinval(row, SPI_tuptable->tupdesc, 2, &isnull));

		tells =
			kind_can_tell(kind) && (kind != RELKIND_VIEW || query_is_immutable(relation));
		appendStringInfo(&state, "%s ", SPI_getvalue(row, SPI_tuptable->tupdesc, 3));
	}
	return tells ? state.data : NULL;
}

bool
refresh_seems_unchanged(Oid view)
{
	Known *entry = known_of(view);
	char *state = state_of(view);

	keep(&entry->taken, state);
	return state != NULL && entry->seen != NULL && strcmp(state, entry->seen) == 0;
}

void
refresh_remember_run(Oid view, bool succeeded)
{
	Known *entry = known_of(view);

	keep(&entry->seen, succeeded ? entry->taken : NULL);
	entry->skip_to = 0;
}

void
refresh_skip_to(Oid view, TimestampTz moment)
{
	known_of(view)->skip_to = moment;
}

TimestampTz
refresh_skipped_to(Oid view)
{
	Known *entry = known ? hash_search(known, &view, HASH_FIND, NULL) : NULL;

	return entry ? entry->skip_to : 0;
}

void
refresh_set_busy(Oid view, bool busy)
{
	known_of(view)->busy = busy;
}

void
refresh_forget_busy(void)
{
	HASH_SEQ_STATUS all;
	Known *entry;

	if (known == NULL)
		return;
	hash_seq_init(&all, known);
	while ((entry = hash_seq_search(&all)) != NULL)
		entry->busy = false;
}

bool
refresh_is_busy(Oid view)
{
	Known *entry = known ? hash_search(known, &view, HASH_FIND, NULL) : NULL;

	return entry != NULL && entry->busy;
}

void
refresh_await(Oid view, Oid source)
{
	known_of(view)->awaits = source;
}

bool
refresh_awaits_busy(Oid view)
{
	Known *entry = known ? hash_search(known, &view, HASH_FIND, NULL) : NULL;

	return entry != NULL && refresh_is_busy(entry->awaits);
}
