/*
 * queue_direct.h
 *		When rows may go straight into a table and its indexes, and how: for who writes
 *		one, and for who writes many.
 */
#ifndef FACTORY_QUEUE_DIRECT_H
#define FACTORY_QUEUE_DIRECT_H

#include "nodes/execnodes.h"
#include "utils/relcache.h"

/* No trigger and no rule. */
extern bool direct_has_no_hooks(Relation table);

/* Neither those nor checks, and it is a table. */
extern bool direct_takes_rows(Relation target);

/* No expressions, predicates, exclusions, and nothing put off to the commit. */
extern bool direct_indexes_are_plain(const ResultRelInfo *target);

extern void direct_insert_into_index(const ResultRelInfo *target, int number,
									 TupleTableSlot *slot);

/* The column by whose ranges the table is parted; InvalidAttrNumber: not like that. */
extern AttrNumber direct_partition_column(Relation table);

/* The partition for such rows, InvalidOid where there is none. */
extern Oid direct_partition(Relation table, Datum value);

#endif /* FACTORY_QUEUE_DIRECT_H */
