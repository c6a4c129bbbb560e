/*
 * unchanged.c
 *		Whether anything that a view reads was changed since its last run.
 *
 * The answer is a hint, never a proof: it compares the server's counters of changed
 * rows, which a session may report some seconds late, the files of the tables, and the
 * edition of what the view is made of (sources.c).
 * A change that is missed now is seen at the next due time.  What reads foreign
 * tables, or calls anything that is not immutable (now(), say), is never unchanged.
 *
 * Here is also what this scheduler is doing: which views are being refreshed.
 *
 * It is remembered in the scheduler's memory: whoever restarts knows nothing, and
 * refreshes.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "base/compat.h"
#include "catalog/pg_class.h"
#include "lib/stringinfo.h"
#include "pgstat.h"
#include "refresh/refresh_int.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

typedef struct Known
{
	Oid view;
	char *taken;         /* the state before the run under way; or NULL */
	char *seen;          /* the state that the contents are at least as new as; or NULL */
	TimestampTz checked; /* when it was found unchanged for a view that reads it */
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
		entry->checked = entry->skip_to = 0;
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

/* The state of all tables that a view reads, as text; NULL where that cannot be told. */
static char *
state_of(Oid view)
{
	const RefreshSources *sources = refresh_sources(view);
	StringInfoData state;
	ListCell *cell;

	if (!sources->tell)
		return NULL;
	initStringInfo(&state);
	appendStringInfo(&state, INT64_FORMAT, sources->edition);
	foreach (cell, sources->tables)
	{
		Oid table = lfirst_oid(cell);
		HeapTuple row = SearchSysCache1(RELOID, ObjectIdGetDatum(table));
		const PgStat_StatTabEntry *counts = pgstat_fetch_stat_tabentry(table);

		if (!HeapTupleIsValid(row))
			return NULL;
		appendStringInfo(&state, " %u:%u:" INT64_FORMAT, table,
						 ((Form_pg_class) GETSTRUCT(row))->relfilenode,
						 counts
							 ? (int64) (counts->tuples_inserted + counts->tuples_updated +
										counts->tuples_deleted)
							 : 0);
		ReleaseSysCache(row);
	}
	return state.data;
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
refresh_forget_view(Oid view)
{
	Known *entry = known_of(view);

	keep(&entry->taken, NULL);
	keep(&entry->seen, NULL);
	hash_search(known, &view, HASH_REMOVE, NULL);
	refresh_forget_sources(view);
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
refresh_note_check(Oid view, TimestampTz moment)
{
	known_of(view)->checked = moment;
}

TimestampTz
refresh_checked_at(Oid view)
{
	return known_of(view)->checked;
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
