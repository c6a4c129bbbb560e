/*
 * catalog_int.h
 *		What catalog.c and catalog_read.c share: the catalogue itself.
 */
#ifndef FACTORYD_CATALOG_INT_H
#define FACTORYD_CATALOG_INT_H

#include <jansson.h>
#include <time.h>

#include "catalog.h"
#include "exchange.h"

struct Catalog
{
	Factoryd *factoryd;
	CatalogFunction *functions;
	int count;
	CatalogRelation *relations;
	int relation_count;
	CatalogLink *links;
	int link_count;
	char *schema_text;
	const char **schemas;
	int schema_count;
	bool loaded;
	bool loading;
	bool again; /* something changed while it was loading */
	time_t loaded_at;
	TAILQ_HEAD(, Exchange) waiting;
	char *values[2]; /* of the call */
	Call call;
};

/* What is to be known of the role that a parameter names. */
#define CATALOG_ROLE(parameter) \
	"(SELECT pg_catalog.json_build_object('superuser', rolsuper," \
	"  'member', pg_catalog.pg_has_role(session_user, oid, 'MEMBER'))" \
	" FROM pg_catalog.pg_roles WHERE rolname = " parameter ")"

/* catalog_sql.c */
extern const char catalog_sql[];

/* catalog_read.c: makes it what the database's document says, instead of what it was. */
extern void catalog_read(Catalog *catalog, const json_t *document);
extern void catalog_empty(Catalog *catalog);
extern bool catalog_is_true(const json_t *object, const char *name);

#endif /* FACTORYD_CATALOG_INT_H */
