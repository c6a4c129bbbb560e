/*
 * catalog.c
 *		The catalogue in a backend's memory: built from its documents, forgotten
 *		when they or the relations they name change.
 *
 * A catalogue lives in its own memory context until the first look after an
 * invalidation.
 */
#include "postgres.h"

#include "base/base.h"
#include "base/clock.h"
#include "base/house.h"
#include "bi/bi_int.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#define CATALOG_TABLE "catalog"
#define VERIFIED_TABLE "verified_question"

static const char *const current_documents =
	"SELECT DISTINCT ON (domain) document FROM factory.catalog"
	" WHERE tenant_id = $1 ORDER BY domain, version DESC";

static Catalog *current = NULL;
static bool current_valid = false;
static Oid catalog_table = InvalidOid;
static Oid verified_table = InvalidOid;
static bool catalog_watched = false;

static void
catalog_forget(Datum arg, Oid relation)
{
	if (relation == InvalidOid || relation == catalog_table ||
		relation == verified_table ||
		(current && list_member_oid(current->relations, relation)))
		current_valid = false;
}

/* Who is a member of what changed. */
static void
catalog_forget_roles(Datum arg, int cache, uint32 hash)
{
	if (current && current->restricted)
		current_valid = false;
}

static List *
catalog_read_documents(const char *tenant, MemoryContext context)
{
	Oid types[] = {TEXTOID};
	Datum values[] = {CStringGetTextDatum(tenant)};
	List *documents = NIL;
	HouseRights saved;

	house_enter(&saved);
	catalog_table = house_relation(CATALOG_TABLE);
	SPI_connect();
	if (SPI_execute_with_args(current_documents, 1, types, values, NULL, true, 0) !=
		SPI_OK_SELECT)
		elog(ERROR, "could not read the catalogues");
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		bool isnull;
		Datum document =
			SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull);
		MemoryContext old = MemoryContextSwitchTo(context);

		documents = lappend(documents, DatumGetJsonbPCopy(document));
		MemoryContextSwitchTo(old);
	}
	SPI_finish();
	house_leave(&saved);
	return documents;
}

static void
catalog_load(const char *tenant)
{
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "factory catalogue",
							  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	List *documents;
	Catalog *fresh;

	if (!catalog_watched)
	{
		CacheRegisterRelcacheCallback(catalog_forget, (Datum) 0);
		CacheRegisterSyscacheCallback(AUTHMEMMEMROLE, catalog_forget_roles, (Datum) 0);
		catalog_watched = true;
	}
	/* Before reading: what changes while we read must be read again. */
	current_valid = true;
	documents = catalog_read_documents(tenant, context);
	verified_table = house_relation(VERIFIED_TABLE);
	fresh = catalog_build(documents, tenant, verified_read(context), GetUserId());
	MemoryContextSwitchTo(old);
	MemoryContextSetParent(context, CacheMemoryContext);
	/* A plan of this transaction may still point into it. */
	if (current)
		MemoryContextSetParent(current->context, TopTransactionContext);
	current = fresh;
}

Catalog *
catalog_get(void)
{
	const char *tenant = tenant_current();

	if (current == NULL || !current_valid || strcmp(current->tenant, tenant) != 0 ||
		(current->restricted && current->user != GetUserId()))
	{
		current_valid = false;
		catalog_load(tenant);
	}
	return current->domains ? current : NULL;
}

/* --- finding ----------------------------------------------------------------- */

Metric *
catalog_metric(Catalog *catalog, const char *name)
{
	ListCell *cell;

	foreach (cell, catalog->metrics)
		if (strcmp(((Metric *) lfirst(cell))->name, name) == 0)
			return lfirst(cell);
	return NULL;
}

Dimension *
catalog_dimension(Catalog *catalog, const char *name)
{
	ListCell *cell;

	foreach (cell, catalog->dimensions)
		if (strcmp(((Dimension *) lfirst(cell))->name, name) == 0)
			return lfirst(cell);
	return NULL;
}

Dataset *
catalog_dataset(Catalog *catalog, const char *name)
{
	ListCell *cell;

	foreach (cell, catalog->datasets)
		if (strcmp(((Dataset *) lfirst(cell))->name, name) == 0)
			return lfirst(cell);
	return NULL;
}

const char *
catalog_zone(Catalog *catalog)
{
	return catalog && catalog->zone ? catalog->zone : clock_plant_zone();
}

/* --- describing ---------------------------------------------------------------- */

static void
put_labels(DocBuilder *b, char **label, const char *language)
{
	if (language)
	{
		doc_put_string(b, "label", label[strcmp(language, "ko") == 0 ? 0 : 1]);
		return;
	}
	doc_begin_object(b, "label");
	doc_put_string(b, "ko", label[0]);
	doc_put_string(b, "en", label[1]);
	doc_end_object(b);
}

static void
put_metric(DocBuilder *b, Metric *metric, const char *language)
{
	doc_begin_object(b, NULL);
	doc_put_string(b, "name", metric->name);
	put_labels(b, metric->label, language);
	doc_put_string(b, "format", metric->format);
	doc_put_string(b, "unit", metric->unit);
	doc_end_object(b);
}

static void
put_dimension(DocBuilder *b, Dimension *dimension, const char *language)
{
	ListCell *cell;

	doc_begin_object(b, NULL);
	doc_put_string(b, "name", dimension->name);
	put_labels(b, dimension->label, language);
	if (dimension->parent)
		doc_put_string(b, "parent", dimension->parent);
	doc_begin_array(b, "values");
	foreach (cell, dimension->values)
		doc_put_string(b, NULL, lfirst(cell));
	doc_end_array(b);
	doc_end_object(b);
}

static void
put_dataset(DocBuilder *b, Dataset *dataset)
{
	ListCell *cell;

	doc_begin_object(b, NULL);
	doc_put_string(b, "name", dataset->name);
	doc_put_string(b, "grain", grain_name(dataset->grain));
	doc_begin_array(b, "dimensions");
	foreach (cell, dataset->dimensions)
		doc_put_string(b, NULL, lfirst(cell));
	doc_end_array(b);
	doc_end_object(b);
}

Jsonb *
catalog_describe(Catalog *catalog, const char *language)
{
	DocBuilder b;
	ListCell *cell;

	doc_build(&b);
	doc_begin_object(&b, NULL);
	doc_begin_array(&b, "metrics");
	foreach (cell, catalog ? catalog->metrics : NIL)
		put_metric(&b, lfirst(cell), language);
	doc_end_array(&b);
	doc_begin_array(&b, "dimensions");
	foreach (cell, catalog ? catalog->dimensions : NIL)
		put_dimension(&b, lfirst(cell), language);
	doc_end_array(&b);
	doc_begin_array(&b, "datasets");
	foreach (cell, catalog ? catalog->datasets : NIL)
		put_dataset(&b, lfirst(cell));
	doc_end_array(&b);
	doc_begin_array(&b, "questions");
	foreach (cell, catalog ? catalog->verified : NIL)
		doc_put_string(&b, NULL, ((VerifiedQuestion *) lfirst(cell))->question);
	doc_end_array(&b);
	doc_begin_array(&b, "widgets");
	foreach (cell, catalog ? catalog->widgets : NIL)
		doc_put_doc(&b, NULL, lfirst(cell));
	doc_end_array(&b);
	doc_end_object(&b);
	return doc_finish(&b);
}
