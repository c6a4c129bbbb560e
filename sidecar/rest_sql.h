/*
 * rest_sql.h
 *		The statement for what a query of PostgREST's conventions asks.
 *
 * Pure but for the catalogue: names are quoted, values are bound.
 */
#ifndef FACTORYD_REST_SQL_H
#define FACTORYD_REST_SQL_H

#include "buffer.h"
#include "catalog.h"
#include "rest_query.h"
#include "values.h"

typedef struct RestProblem
{
	int status; /* 0: none */
	const char *code;
	char *message;
	char *detail; /* JSON where it begins with [ */
	char *hint;
} RestProblem;

extern void rest_problem_free(RestProblem *problem);

typedef enum RestShape
{
	SHAPE_JSON, /* a row is one JSON text */
	SHAPE_STRIPPED /* the same without its nulls */,
	SHAPE_COLUMNS /* a row is its columns */
} RestShape;

/* Where the rows come from. */
typedef struct RestSource
{
	const CatalogRelation *relation; /* NULL where it is unknown */
	const char *from;                /* what stands behind FROM, without a name */
} RestSource;

/* Everything that is written for one statement. */
typedef struct RestStatement
{
	const Catalog *catalog;
	const RestQuery *query;
	long long max_rows; /* of any level; 0 for no limit */
	Values *values;
	Buffer *sql;
	RestProblem *problem;
	int names; /* given out so far */
} RestStatement;

/* Each is false where the problem says why not. */
extern bool rest_write_select(RestStatement *statement, const RestSource *source,
							  RestShape shape);

/* How many rows there were without limit and offset; no more than most, where not 0. */
extern bool rest_write_count(RestStatement *statement, const RestSource *source,
							 long long most);

/* EXPLAIN of the same. */
extern bool rest_write_estimate(RestStatement *statement, const RestSource *source);

typedef enum RestChange
{
	CHANGE_INSERT,
	CHANGE_UPDATE,
	CHANGE_DELETE,
	CHANGE_PUT
} RestChange;

typedef enum RestReturn
{
	RETURN_MINIMAL,
	RETURN_HEADERS,
	RETURN_ROWS
} RestReturn;

typedef enum RestConflict
{
	CONFLICT_ERROR,
	CONFLICT_MERGE,
	CONFLICT_IGNORE
} RestConflict;

typedef struct RestWrite
{
	RestChange change;
	RestReturn returns;
	RestConflict conflict;
	RestShape shape;
	bool single;            /* exactly one row is wanted, or none is changed */
	bool defaults;          /* a member that is missing is the column's default */
	long long max_affected; /* -1 for any number */
	const char *body;       /* JSON */
	bool is_list;           /* of objects */
	const char **columns;
	int column_count;
} RestWrite;

/*
 * Gives one row: how many there were, the JSON of those that are returned, and where the
 * first one is found (a query string).  What must not have happened raises an error whose
 * message holds "PGRST116 n", "PGRST124 n" or "PGRST115 n": n rows were changed.
 */
extern bool rest_write_change(RestStatement *statement, const RestSource *source,
							  const RestWrite *write);

#endif /* FACTORYD_REST_SQL_H */
