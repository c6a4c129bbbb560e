/*
 * catalog.h
 *		The functions, tables and views that are served, and whether we may at all.
 */
#ifndef FACTORYD_CATALOG_H
#define FACTORYD_CATALOG_H

#include <stdbool.h>

#include "factoryd.h"

typedef struct CatalogArgument
{
	char *name; /* "" where it has none */
	char *type; /* schema-qualified and quoted */
	bool required;
} CatalogArgument;

typedef struct CatalogFunction
{
	char *schema;
	char *name;
	char *quoted; /* "schema"."name" */
	CatalogArgument *arguments;
	int argument_count;
	char *returns;  /* its type, schema-qualified and quoted */
	bool may_write; /* VOLATILE */
	bool is_set;
	bool is_composite;
	bool is_void;
	bool is_variadic; /* the last argument */
	int relation;     /* whose rows it returns, or -1 */
	int row_of;       /* whose row is its only argument, or -1 */
	bool gives_one;   /* at most one row */
	char *comment;    /* or NULL */
} CatalogFunction;

typedef struct CatalogColumn
{
	char *name;
	char *type;      /* schema-qualified and quoted */
	char *format;    /* as people write it, with its modifier */
	char *base;      /* bare name of the type */
	char *otherwise; /* its default's expression, or NULL */
	char *comment;   /* or NULL */
	bool required;   /* neither NULL nor left out */
	bool is_key;     /* of the primary key */
	bool is_generated;
} CatalogColumn;

typedef struct CatalogRelation
{
	char *schema;
	char *name;
	char *quoted;
	char *comment; /* or NULL */
	CatalogColumn *columns;
	int column_count;
	int key_count; /* columns of the primary key */
	bool may_insert;
	bool may_update;
	bool may_delete;
} CatalogRelation;

#define CATALOG_KEY_MOST 32

/* A foreign key between two relations that are served. */
typedef struct CatalogLink
{
	char *name;
	int from;  /* relation that has the constraint */
	int to;    /* relation it refers to */
	int count; /* columns */
	int from_columns[CATALOG_KEY_MOST];
	int to_columns[CATALOG_KEY_MOST];
	bool is_unique; /* at most one row of from for a row of to */
	bool is_in_key; /* its columns are part of from's primary key */
} CatalogLink;

typedef struct Catalog Catalog;
struct Exchange;

extern Catalog *catalog_new(Factoryd *factoryd);
extern void catalog_free(Catalog *catalog);

/* Whether strangers may have that role; the log says why not.  told is called once. */
extern void catalog_ask_role(Factoryd *factoryd, const char *role,
							 void (*told)(bool fit, void *context), void *context);

/* Reads it anew; what is asked meanwhile is answered from the old one. */
extern void catalog_reload(Catalog *catalog);

/*
 * Calls the exchange's resume, at once or when the catalogue has been read; answers
 * it with an error where it cannot be.
 */
extern void catalog_await(Catalog *catalog, struct Exchange *exchange);

/* The same, but reads it anew first, unless it is fresh: then false, and nothing. */
extern bool catalog_await_newer(Catalog *catalog, struct Exchange *exchange);

/* The exchange waits no more. */
extern void catalog_forget(Catalog *catalog, struct Exchange *exchange);

/* The functions, schemas in the order of FACTORYD_SCHEMAS. */
extern const CatalogFunction *catalog_functions(const Catalog *catalog, int *count);

/* The relation of that name in that schema, or NULL. */
extern const CatalogRelation *catalog_relation(const Catalog *catalog, const char *schema,
											   const char *name);
extern const CatalogRelation *catalog_relations(const Catalog *catalog, int *count);
extern int catalog_number(const Catalog *catalog, const CatalogRelation *relation);
extern const CatalogRelation *catalog_numbered(const Catalog *catalog, int number);
extern const CatalogLink *catalog_links(const Catalog *catalog, int *count);

/* The column's number in its relation, or -1. */
extern int catalog_column(const CatalogRelation *relation, const char *name);

/* The schemas that are served, in order; the first is where names are looked for. */
extern const char *const *catalog_schemas(const Catalog *catalog, int *count);

#endif /* FACTORYD_CATALOG_H */
