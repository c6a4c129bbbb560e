/*
 * catalog.h
 *		The functions that /rpc serves, and whether we may serve at all.
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
	bool may_write; /* VOLATILE */
	bool is_set;
	bool is_composite;
	bool is_void;
	bool is_variadic; /* the last argument */
} CatalogFunction;

typedef struct Catalog Catalog;
struct Exchange;

extern Catalog *catalog_new(Factoryd *factoryd);
extern void catalog_free(Catalog *catalog);

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

#endif /* FACTORYD_CATALOG_H */
