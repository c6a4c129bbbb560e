/*
 * queue_direct.c
 *		Writing a row straight into its table and indexes.
 *
 * That is what an INSERT comes to where nothing else has a say, at a fraction of its
 * cost.  Where triggers, checks, rules, somebody's policy or an unusual index do have
 * one, or an error is to be raised, nothing is written: the statement does it all.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "base/house.h"
#include "base/queue_direct.h"
#include "base/queue_int.h"
#include "base/tenant.h"
#include "catalog/index.h"
#include "catalog/pg_class.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "partitioning/partbounds.h"
#include "partitioning/partdesc.h"
#include "rewrite/rowsecurity.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/partcache.h"
#include "utils/rel.h"

typedef struct QueueRow
{
	const QueueKind *kind;
	const Datum *values;
	const bool *nulls;
} QueueRow;

/* Which of the row's columns it is; they are mostly in the table's order. */
static int
row_column(const QueueRow *row, const char *name, int likely)
{
	const QueueKind *kind = row->kind;

	if (likely < kind->column_count && strcmp(kind->columns[likely].name, name) == 0)
		return likely;
	for (int i = 0; i < kind->column_count; i++)
		if (strcmp(kind->columns[i].name, name) == 0)
			return i;
	return -1;
}

/* --- whether nothing else has a say ------------------------------------------------------ */

/* Our policy asks for the tenant's own rows. */
static bool
is_tenants(const QueueRow *row)
{
	int column = row_column(row, "tenant_id", 0);
	const char *tenant = tenant_current();
	const text *value;

	if (column < 0)
		return true;
	if (row->nulls[column])
		return false;
	value = (const text *) DatumGetPointer(row->values[column]);
	return VARSIZE_ANY_EXHDR(value) == strlen(tenant) &&
		   memcmp(VARDATA_ANY(value), tenant, strlen(tenant)) == 0;
}

static bool
policies_allow(Relation table, const QueueRow *row)
{
	ListCell *cell;

	if (!table->rd_rel->relrowsecurity)
		return true;
	foreach (cell, table->rd_rsdesc->policies)
		if (strcmp(((RowSecurityPolicy *) lfirst(cell))->policy_name, "tenant") != 0)
			return false;
	return is_tenants(row);
}

bool
direct_has_no_hooks(Relation table)
{
	return table->trigdesc == NULL && table->rd_rules == NULL;
}

bool
direct_takes_rows(Relation target)
{
	TupleConstr *constraints = RelationGetDescr(target)->constr;

	return target->rd_rel->relkind == RELKIND_RELATION && direct_has_no_hooks(target) &&
		   (constraints == NULL || constraints->num_check == 0);
}

static bool
may_write(Relation table, const QueueRow *row)
{
	return !XactReadOnly && !RecoveryInProgress() && !IsInParallelMode() &&
		   direct_has_no_hooks(table) && policies_allow(table, row) &&
		   pg_class_aclcheck(RelationGetRelid(table), table->rd_rel->relowner,
							 ACL_INSERT) == ACLCHECK_OK;
}

/* --- where to --------------------------------------------------------------------------- */

AttrNumber
direct_partition_column(Relation table)
{
	PartitionKey key = RelationGetPartitionKey(table);

	if (key->strategy != PARTITION_STRATEGY_RANGE || key->partnatts != 1)
		return InvalidAttrNumber;
	return Max(key->partattrs[0], InvalidAttrNumber);
}

/* As the server finds it. */
Oid
direct_partition(Relation table, Datum value)
{
	PartitionKey key = RelationGetPartitionKey(table);
	PartitionDesc partitions = RelationGetPartitionDesc(table, true);
	PartitionBoundInfo bounds = partitions->boundinfo;
	bool equal;
	int found;

	if (bounds == NULL)
		return InvalidOid;
	found = partition_range_datum_bsearch(key->partsupfunc, key->partcollation, bounds, 1,
										  &value, &equal);
	found = bounds->indexes[found + 1];
	if (found < 0)
		found = bounds->default_index;
	return found < 0 ? InvalidOid : partitions->oids[found];
}

/* InvalidOid where there is none, or by another kind of key. */
static Oid
partition_of(Relation table, const QueueRow *row)
{
	AttrNumber number = direct_partition_column(table);
	Form_pg_attribute attribute;
	int column;

	if (number == InvalidAttrNumber)
		return InvalidOid;
	attribute = TupleDescAttr(RelationGetDescr(table), number - 1);
	column = row_column(row, NameStr(attribute->attname), number - 1);
	if (column < 0 || row->nulls[column] ||
		attribute->atttypid != row->kind->columns[column].type)
		return InvalidOid;
	return direct_partition(table, row->values[column]);
}

/* The table itself, or the partition that the row belongs into; NULL where neither fits. */
static Relation
open_target(Relation table, const QueueRow *row)
{
	Relation target;
	Oid partition;

	if (table->rd_rel->relkind == RELKIND_RELATION)
		return table_open(RelationGetRelid(table), RowExclusiveLock);
	partition = partition_of(table, row);
	if (!OidIsValid(partition))
		return NULL;
	target = table_open(partition, RowExclusiveLock);
	if (partition_of(table, row) == partition)
		return target;
	/* While the lock was waited for, another partition was made for such rows. */
	table_close(target, NoLock);
	return NULL;
}

/* --- the row ------------------------------------------------------------------------------ */

/* False where a column of the table is not to be had as it is from one of the row. */
static bool
fill_slot(TupleTableSlot *slot, const QueueRow *row)
{
	TupleDesc desc = slot->tts_tupleDescriptor;
	int filled = 0;

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(desc, i);
		int column;

		slot->tts_values[i] = (Datum) 0;
		slot->tts_isnull[i] = true;
		if (attribute->attisdropped)
			continue;
		column = row_column(row, NameStr(attribute->attname), i);
		if (column < 0 || attribute->atttypid != row->kind->columns[column].type ||
			attribute->atttypmod >= 0 || attribute->attgenerated != '\0' ||
			attribute->attidentity != '\0' ||
			(attribute->attnotnull && row->nulls[column]))
			return false;
		slot->tts_values[i] = row->values[column];
		slot->tts_isnull[i] = row->nulls[column];
		filled++;
	}
	ExecStoreVirtualTuple(slot);
	return filled == row->kind->column_count;
}

bool
direct_indexes_are_plain(const ResultRelInfo *target)
{
	for (int i = 0; i < target->ri_NumIndices; i++)
	{
		const IndexInfo *index = target->ri_IndexRelationInfo[i];

		if (index->ii_Expressions != NIL || index->ii_Predicate != NIL ||
			index->ii_ExclusionOps != NULL ||
			!target->ri_IndexRelationDescs[i]->rd_index->indimmediate)
			return false;
	}
	return true;
}

void
direct_insert_into_index(const ResultRelInfo *target, int number, TupleTableSlot *slot)
{
	Relation index = target->ri_IndexRelationDescs[number];
	IndexInfo *info = target->ri_IndexRelationInfo[number];
	Datum values[INDEX_MAX_KEYS];
	bool nulls[INDEX_MAX_KEYS];

	if (!info->ii_ReadyForInserts)
		return;
	FormIndexDatum(info, slot, NULL, values, nulls);
	(void) index_insert(index, values, nulls, &slot->tts_tid, target->ri_RelationDesc,
						index->rd_index->indisunique ? UNIQUE_CHECK_YES : UNIQUE_CHECK_NO,
						false, info);
}

static bool
insert_into(Relation target, const QueueRow *row)
{
	ResultRelInfo *info;
	TupleTableSlot *slot;
	bool fits;

	if (!direct_takes_rows(target))
		return false;
	info = makeNode(ResultRelInfo);
	InitResultRelInfo(info, target, 1, NULL, 0);
	ExecOpenIndices(info, false);
	slot = MakeSingleTupleTableSlot(RelationGetDescr(target), &TTSOpsVirtual);
	fits = direct_indexes_are_plain(info) && fill_slot(slot, row);
	if (fits)
	{
		table_tuple_insert(target, slot, GetCurrentCommandId(true), 0, NULL);
		for (int i = 0; i < info->ri_NumIndices; i++)
			direct_insert_into_index(info, i, slot);
	}
	ExecDropSingleTupleTableSlot(slot);
	ExecCloseIndices(info);
	return fits;
}

/* Locks are kept until the transaction ends, as those of a statement are. */
bool
queue_insert_directly(const QueueKind *kind, const Datum *values, const bool *nulls)
{
	QueueRow row = {kind, values, nulls};
	Relation table = table_open(house_relation(kind->table), RowExclusiveLock);
	Relation target = may_write(table, &row) ? open_target(table, &row) : NULL;
	bool written = target != NULL && insert_into(target, &row);

	if (target != NULL)
		table_close(target, NoLock);
	table_close(table, NoLock);
	/* So that what comes next sees it. */
	if (written)
		CommandCounterIncrement();
	return written;
}
