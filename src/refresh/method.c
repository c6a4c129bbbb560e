/*
 * method.c
 *		How a view is refreshed, and why so.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "catalog/pg_index.h"
#include "refresh/refresh_int.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/relcache.h"
#include "utils/syscache.h"

bool
refresh_is_view(Oid view)
{
	return get_rel_relkind(view) == RELKIND_MATVIEW;
}

void
refresh_view_name(Oid view, char *name)
{
	strlcpy(name,
			quote_qualified_identifier(get_namespace_name(get_rel_namespace(view)),
									   get_rel_name(view)),
			REFRESH_NAME_SIZE);
}

/* A copy of the view's row, or of its index's; raises nothing. */
static bool
read_class(Oid relation, FormData_pg_class *form)
{
	HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relation));

	if (!HeapTupleIsValid(tuple))
		return false;
	*form = *(Form_pg_class) GETSTRUCT(tuple);
	ReleaseSysCache(tuple);
	return true;
}

/* The server's own conditions: a valid unique index on plain columns, whole. */
static bool
index_row_is_usable(HeapTuple tuple)
{
	Form_pg_index index = (Form_pg_index) GETSTRUCT(tuple);

	if (!index->indisunique || !index->indimmediate || !index->indisvalid ||
		index->indnatts < 1)
		return false;
	for (int i = 0; i < index->indnatts; i++)
		if (index->indkey.values[i] <= 0)
			return false;
	return heap_attisnull(tuple, Anum_pg_index_indpred, NULL);
}

static bool
index_is_usable(Oid index)
{
	HeapTuple tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(index));
	FormData_pg_class form;
	bool usable;

	if (!HeapTupleIsValid(tuple))
		return false;
	usable = index_row_is_usable(tuple);
	ReleaseSysCache(tuple);
	return usable && read_class(index, &form) && form.relam == BTREE_AM_OID;
}

Oid
refresh_usable_index(Oid view)
{
	Relation relation = table_open(view, AccessShareLock);
	List *indexes = RelationGetIndexList(relation);
	Oid best = InvalidOid;
	char *best_name = NULL;
	ListCell *cell;

	foreach (cell, indexes)
	{
		Oid index = lfirst_oid(cell);
		char *name = get_rel_name(index);

		if (name == NULL || !index_is_usable(index))
			continue;
		if (best_name == NULL || strcmp(name, best_name) < 0)
		{
			best = index;
			best_name = name;
		}
	}
	table_close(relation, AccessShareLock);
	return best;
}

static bool
view_is_populated(Oid view)
{
	FormData_pg_class form;

	return read_class(view, &form) && form.relispopulated;
}

void
refresh_choose_method(Oid view, RefreshWish wish, RefreshMethod *method, char *reason)
{
	Oid index = wish == WISH_FULL ? InvalidOid : refresh_usable_index(view);

	*method = REFRESH_FULL;
	if (!view_is_populated(view))
		strlcpy(reason, "first fill cannot be concurrent", REFRESH_REASON_SIZE);
	else if (wish == WISH_FULL)
		strlcpy(reason, "the schedule says not concurrently", REFRESH_REASON_SIZE);
	else if (OidIsValid(index))
	{
		*method = REFRESH_CONCURRENT;
		snprintf(reason, REFRESH_REASON_SIZE, "unique index %s",
				 quote_identifier(get_rel_name(index)));
	}
	else if (wish == WISH_CONCURRENT)
	{
		/* The server refuses it, and says so better than a lock on readers would. */
		*method = REFRESH_CONCURRENT;
		strlcpy(reason, "the schedule says concurrently", REFRESH_REASON_SIZE);
	}
	else
		strlcpy(reason, "no unique index", REFRESH_REASON_SIZE);
}
