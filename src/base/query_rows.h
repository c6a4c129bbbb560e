/*
 * query_rows.h
 *		The rows of a query that a caller gave as text, one at a time, as documents.
 *
 *		SPI_connect();
 *		query_rows_open(&rows, query, "judge_many", hint);
 *		while ((row = query_rows_fetch(&rows)) != NULL)
 *		{
 *			... query_rows_document(&rows, row) ...
 *			query_rows_release();
 *		}
 */
#ifndef FACTORY_QUERY_ROWS_H
#define FACTORY_QUERY_ROWS_H

#include "access/htup.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "utils/jsonb.h"

typedef struct QueryRows
{
	Portal portal;
	FmgrInfo *to_jsonb; /* one a column */
	bool exhausted;
} QueryRows;

/*
 * In the current memory context.  Raises where the text is no query that returns rows:
 * it is argument "query" of the function, and the hint says what to write.
 */
extern void query_rows_open(QueryRows *rows, const char *query, const char *function,
							const char *hint);

/* The next row, until it is released; NULL after the last, also if asked again. */
extern HeapTuple query_rows_fetch(QueryRows *rows);
extern void query_rows_release(void);

/* Each next row, as long as there is room for one: a row is asked for only then. */
typedef bool (*QueryRowsRoom)(void *taker);
typedef void (*QueryRowsTake)(void *taker, HeapTuple row);

extern void query_rows_feed(QueryRows *rows, QueryRowsRoom has_room, QueryRowsTake take,
							void *taker);

static inline TupleDesc
query_rows_columns(const QueryRows *rows)
{
	return rows->portal->tupDesc;
}

/* An object with the columns by name, as to_jsonb() has their values. */
extern Jsonb *query_rows_document(const QueryRows *rows, HeapTuple row);

#endif /* FACTORY_QUERY_ROWS_H */
