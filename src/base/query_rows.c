/*
 * query_rows.c
 *		The rows of a query that a caller gave as text, one at a time, as documents.
 *
 * A cursor fetches a row when there is use for it, so that a large query takes no
 * more memory than a small one.
 */
#include "postgres.h"

#include "base/document.h"
#include "base/query_rows.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "utils/fmgroids.h"

/* to_jsonb() looks a column's type up once, by an expression of that type. */
static FmgrInfo *
prepare_columns(TupleDesc columns)
{
	FmgrInfo *to_jsonb = palloc0(sizeof(FmgrInfo) * columns->natts);

	for (int i = 0; i < columns->natts; i++)
	{
		Form_pg_attribute column = TupleDescAttr(columns, i);
		Node *argument = (Node *) makeNullConst(column->atttypid, -1, InvalidOid);

		fmgr_info(F_TO_JSONB, &to_jsonb[i]);
		fmgr_info_set_expr((Node *) makeFuncExpr(F_TO_JSONB, JSONBOID,
												 list_make1(argument), InvalidOid,
												 InvalidOid, COERCE_EXPLICIT_CALL),
						   &to_jsonb[i]);
	}
	return to_jsonb;
}

void
query_rows_open(QueryRows *rows, const char *query, const char *function,
				const char *hint)
{
	SPIPlanPtr plan = SPI_prepare(query, 0, NULL);

	if (plan == NULL || !SPI_is_cursor_plan(plan))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"query\" of %s is not a query", function),
						errhint("%s", hint)));
	rows->portal = SPI_cursor_open(NULL, plan, NULL, NULL, false);
	rows->to_jsonb = prepare_columns(rows->portal->tupDesc);
	rows->exhausted = false;
}

HeapTuple
query_rows_fetch(QueryRows *rows)
{
	if (rows->exhausted)
		return NULL;
	SPI_cursor_fetch(rows->portal, true, 1);
	if (SPI_processed > 0)
		return SPI_tuptable->vals[0];
	query_rows_release();
	rows->exhausted = true;
	return NULL;
}

void
query_rows_release(void)
{
	SPI_freetuptable(SPI_tuptable);
}

void
query_rows_feed(QueryRows *rows, QueryRowsRoom has_room, QueryRowsTake take, void *taker)
{
	HeapTuple row;

	while (has_room(taker) && (row = query_rows_fetch(rows)) != NULL)
	{
		CHECK_FOR_INTERRUPTS();
		take(taker, row);
		query_rows_release();
	}
}

Jsonb *
query_rows_document(const QueryRows *rows, HeapTuple row)
{
	TupleDesc columns = query_rows_columns(rows);
	DocBuilder b;

	doc_build(&b);
	doc_begin_object(&b, NULL);
	for (int i = 0; i < columns->natts; i++)
	{
		bool is_null;
		Datum value = SPI_getbinval(row, columns, i + 1, &is_null);
		const char *name = NameStr(TupleDescAttr(columns, i)->attname);

		if (is_null)
			doc_put_null(&b, name);
		else
			doc_put_doc(&b, name,
						DatumGetJsonbP(FunctionCall1(&rows->to_jsonb[i], value)));
	}
	doc_end_object(&b);
	return doc_finish(&b);
}
