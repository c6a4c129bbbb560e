/*
 * lookup.h
 *		Rows of our own tables by a key: without the parser, the planner and what those
 *		read of the catalogue, which the first call of a session would wait for, and
 *		without an executor, which every call would.
 *
 *		ScanKeyData keys[2];
 *		Lookup lookup;
 *
 *		lookup_text_key(&keys[0], MODEL_TENANT, tenant_current());
 *		lookup_text_key(&keys[1], MODEL_NAME, name);
 *		lookup_begin(&lookup, "model");
 *		row = lookup_row(&lookup, "model_pkey", keys, 2);
 *		...
 *		lookup_end(&lookup);
 *
 * Row security is not asked, so the tenant is part of each key.  A lookup reads one
 * table by one snapshot, the newest, also in a transaction with an old one: what is
 * kept of it must not be out of date when it was read.  The snapshot is taken when the
 * table is open: opening it takes in the invalidations of what the snapshot sees.
 * Parallel workers have their leader's snapshot only.
 */
#ifndef FACTORY_LOOKUP_H
#define FACTORY_LOOKUP_H

#include "access/htup.h"
#include "access/relscan.h"
#include "access/skey.h"
#include "utils/relcache.h"
#include "utils/snapshot.h"

typedef struct Lookup
{
	Relation relation;
	Snapshot snapshot;
	struct SysScanDescData *scan; /* NULL: none was begun */
} Lookup;

extern void lookup_begin(Lookup *lookup, const char *table);

/* NULL where there is none; it holds until the next. */
extern HeapTuple lookup_row(Lookup *lookup, const char *index, ScanKey keys, int count);

/* Another row by the same keys, or NULL. */
extern HeapTuple lookup_next(Lookup *lookup);

extern Datum lookup_column(const Lookup *lookup, HeapTuple row, int column, bool *isnull);
extern void lookup_end(Lookup *lookup);

/* That column is that text. */
extern void lookup_text_key(ScanKey key, int column, const char *value);

#endif /* FACTORY_LOOKUP_H */
