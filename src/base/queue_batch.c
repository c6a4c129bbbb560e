/*
 * queue_batch.c
 *		Writing many of a queue's rows straight into their table and indexes.
 *
 * A row in the ring is already what the table stores, where both have the same columns:
 * a page's worth goes in at a time.  As with queue_direct.c, what triggers, checks, rules
 * or an unusual index have a say in, or what is an error, is left to the statement.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "base/house.h"
#include "base/queue_direct.h"
#include "base/queue_int.h"
#include "catalog/pg_class.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "utils/rel.h"

/* Rows that are copied before they are written. */
#define BATCH_SLOTS 256

typedef struct BatchTarget
{
	Relation table;
	AttrNumber part_column; /* InvalidAttrNumber: it has no partitions */
	Relation relation;      /* where rows go now: the table or a partition; or NULL */
	ResultRelInfo *info;    /* its indexes */
	TupleTableSlot *slots[BATCH_SLOTS];
	int slot_count; /* made */
	int row_count;  /* in use */
} BatchTarget;

/* --- whether rows fit ---------------------------------------------------------------------- */

/* What is stored of one is stored of the other. */
static bool
is_same_column(Form_pg_attribute of_table, Form_pg_attribute of_row)
{
	return !of_table->attisdropped && of_table->attgenerated == '\0' &&
		   of_table->attidentity == '\0' && of_table->atttypmod < 0 &&
		   of_table->atttypid == of_row->atttypid &&
		   strcmp(NameStr(of_table->attname), NameStr(of_row->attname)) == 0;
}

static bool
has_same_columns(Relation table, TupleDesc shape)
{
	TupleDesc desc = RelationGetDescr(table);

	if (desc->natts != shape->natts)
		return false;
	for (int i = 0; i < shape->natts; i++)
		if (!is_same_column(TupleDescAttr(desc, i), TupleDescAttr(shape, i)))
			return false;
	return true;
}

/* No NULL where none may be. */
static bool
is_complete(const HeapTupleData *row, TupleDesc desc)
{
	if (!HeapTupleHasNulls(row))
		return true;
	for (int i = 0; i < desc->natts; i++)
		if (TupleDescAttr(desc, i)->attnotnull && att_isnull(i, row->t_data->t_bits))
			return false;
	return true;
}

/* --- where to ------------------------------------------------------------------------------ */

static bool
begin_target(BatchTarget *target, const QueueKind *kind, TupleDesc shape)
{
	memset(target, 0, sizeof(*target));
	target->table = table_open(house_relation(kind->table), RowExclusiveLock);
	if (!direct_has_no_hooks(target->table) || !has_same_columns(target->table, shape))
		return false;
	if (target->table->rd_rel->relkind != RELKIND_PARTITIONED_TABLE)
		return true;
	target->part_column = direct_partition_column(target->table);
	return target->part_column != InvalidAttrNumber;
}

static Oid
relation_for(const BatchTarget *target, HeapTuple row)
{
	Datum value;
	bool isnull;

	if (target->part_column == InvalidAttrNumber)
		return RelationGetRelid(target->table);
	value =
		heap_getattr(row, target->part_column, RelationGetDescr(target->table), &isnull);
	return isnull ? InvalidOid : direct_partition(target->table, value);
}

static void
close_relation(BatchTarget *target)
{
	if (target->relation == NULL)
		return;
	for (int i = 0; i < target->slot_count; i++)
		ExecDropSingleTupleTableSlot(target->slots[i]);
	target->slot_count = 0;
	ExecCloseIndices(target->info);
	table_close(target->relation, NoLock);
	target->relation = NULL;
}

/* False where rows cannot go straight into it. */
static bool
open_relation(BatchTarget *target, Oid id, HeapTuple row, TupleDesc shape)
{
	if (!OidIsValid(id))
		return false;
	target->relation = table_open(id, RowExclusiveLock);
	target->info = makeNode(ResultRelInfo);
	InitResultRelInfo(target->info, target->relation, 1, NULL, 0);
	ExecOpenIndices(target->info, false);
	return direct_takes_rows(target->relation) &&
		   has_same_columns(target->relation, shape) &&
		   direct_indexes_are_plain(target->info) &&
		   /* While the lock was waited for, another may have been made for such rows. */
		   relation_for(target, row) == id;
}

/* --- writing -------------------------------------------------------------------------------- */

static void
write_rows(BatchTarget *target)
{
	if (target->row_count == 0)
		return;
	table_multi_insert(target->relation, target->slots, target->row_count,
					   GetCurrentCommandId(true), 0, NULL);
	for (int i = 0; i < target->info->ri_NumIndices; i++)
		for (int row = 0; row < target->row_count; row++)
			direct_insert_into_index(target->info, i, target->slots[row]);
	for (int row = 0; row < target->row_count; row++)
		ExecClearTuple(target->slots[row]);
	target->row_count = 0;
}

static void
add_row(BatchTarget *target, HeapTuple row)
{
	if (target->row_count == BATCH_SLOTS)
		write_rows(target);
	if (target->row_count == target->slot_count)
		target->slots[target->slot_count++] = table_slot_create(target->relation, NULL);
	ExecForceStoreHeapTuple(row, target->slots[target->row_count++], false);
}

/* False where the row is none that can go straight in. */
static bool
take_row(BatchTarget *target, HeapTuple row, TupleDesc shape)
{
	Oid id = relation_for(target, row);

	if (target->relation == NULL || RelationGetRelid(target->relation) != id)
	{
		write_rows(target);
		close_relation(target);
		if (!open_relation(target, id, row, shape))
			return false;
	}
	if (!is_complete(row, RelationGetDescr(target->relation)))
		return false;
	add_row(target, row);
	return true;
}

/* Locks are kept until the transaction ends, as those of a statement are. */
uint64
queue_write_directly(QueueKind *kind, uint64 from, uint64 to)
{
	Ring *ring = queue_ring(queue_my_place());
	TupleDesc shape = queue_kind_shape(kind);
	BatchTarget *target = palloc(sizeof(BatchTarget));
	bool fits = begin_target(target, kind, shape);
	uint64 position = from, done = from;
	RingRecord *record;

	while (fits && (record = ring_read(ring, &position, to)) != NULL)
	{
		HeapTupleData row = {.t_len = record->length,
							 .t_data = (HeapTupleHeader) record->data};

		CHECK_FOR_INTERRUPTS();
		fits = record->kind != (uint32) kind->number || take_row(target, &row, shape);
		if (fits)
			done = position;
	}
	write_rows(target);
	close_relation(target);
	table_close(target->table, NoLock);
	CommandCounterIncrement();
	return fits ? to : done;
}
