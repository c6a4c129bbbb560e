/*
 * lookup.c
 *		Rows of our own tables by a key, through the table's index.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "access/xact.h"
#include "base/house.h"
#include "base/lookup.h"
#include "catalog/pg_collation.h"
#include "storage/lockdefs.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

void
lookup_begin(Lookup *lookup, const char *table)
{
	lookup->relation = table_open(house_relation(table), AccessShareLock);
	lookup->snapshot =
		RegisterSnapshot(IsInParallelMode() ? GetActiveSnapshot() : GetLatestSnapshot());
	lookup->scan = NULL;
}

static void
lookup_end_scan(Lookup *lookup)
{
	if (lookup->scan != NULL)
		systable_endscan(lookup->scan);
	lookup->scan = NULL;
}

void
lookup_end(Lookup *lookup)
{
	lookup_end_scan(lookup);
	UnregisterSnapshot(lookup->snapshot);
	table_close(lookup->relation, AccessShareLock);
}

HeapTuple
lookup_row(Lookup *lookup, const char *index, ScanKey keys, int count)
{
	lookup_end_scan(lookup);
	lookup->scan = systable_beginscan(lookup->relation, house_relation(index), true,
									  lookup->snapshot, count, keys);
	return systable_getnext(lookup->scan);
}

HeapTuple
lookup_next(Lookup *lookup)
{
	return systable_getnext(lookup->scan);
}

Datum
lookup_column(const Lookup *lookup, HeapTuple row, int column, bool *isnull)
{
	return heap_getattr(row, column, RelationGetDescr(lookup->relation), isnull);
}

void
lookup_text_key(ScanKey key, int column, const char *value)
{
	ScanKeyEntryInitialize(key, 0, column, BTEqualStrategyNumber, InvalidOid,
						   DEFAULT_COLLATION_OID, F_TEXTEQ, CStringGetTextDatum(value));
}
