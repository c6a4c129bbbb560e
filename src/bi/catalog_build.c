/*
 * catalog_build.c
 *		From a catalogue's documents to what a question can name: datasets, metrics,
 *		dimensions, bundles, checked questions.
 *
 * Several domains make one catalogue.  What its user may not see, and what names a
 * relation or column that is not there, is left out: the rest keeps working.
 */
#include "postgres.h"

#include "bi/bi_int.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/varlena.h"

#define CATALOG_TENANT_COLUMN "tenant_id"

static List *
strings_of(Jsonb *doc, const char *key)
{
	List *strings = NIL;
	ListCell *cell;

	foreach (cell, doc_elements(doc_get_doc(doc, key)))
		strings = lappend(strings, doc_value_text(lfirst(cell)));
	return strings;
}

/* "roles": whoever is a member of one of them; without the key, everybody. */
static bool
is_visible(Catalog *catalog, Jsonb *doc)
{
	List *roles = strings_of(doc, "roles");
	ListCell *cell;

	if (doc_get(doc, "roles") == NULL)
		return true;
	catalog->restricted = true;
	if (!OidIsValid(catalog->user))
		return true;
	foreach (cell, roles)
	{
		Oid role = get_role_oid(lfirst(cell), true);

		if (OidIsValid(role) && has_privs_of_role(catalog->user, role))
			return true;
	}
	return false;
}

/* --- relations --------------------------------------------------------------- */

static Oid
relation_oid(const char *name)
{
	List *parts = textToQualifiedNameList(cstring_to_text(name));
	char *schemas;
	List *path;
	ListCell *cell;

	if (list_length(parts) == 2)
	{
		Oid schema = get_namespace_oid(strVal(linitial(parts)), true);

		return OidIsValid(schema) ? get_relname_relid(strVal(lsecond(parts)), schema)
								  : InvalidOid;
	}
	schemas = pstrdup(bi_reader_search_path);
	if (list_length(parts) != 1 || !SplitIdentifierString(schemas, ',', &path))
		return InvalidOid;
	foreach (cell, path)
	{
		Oid schema = get_namespace_oid(lfirst(cell), true);
		Oid relation = OidIsValid(schema)
						   ? get_relname_relid(strVal(linitial(parts)), schema)
						   : InvalidOid;

		if (OidIsValid(relation))
			return relation;
	}
	return InvalidOid;
}

/* What a dataset costs where its author does not say: what is made ready is cheap. */
static double
default_cost(Oid relation, Grain grain)
{
	double cost = get_rel_relkind(relation) == RELKIND_MATVIEW ? 10 : 100;

	return grain == GRAIN_HOUR ? cost * 2 : cost;
}

static Dataset *
dataset_build(const char *name, Jsonb *doc, char *zone)
{
	Dataset *dataset = palloc0(sizeof(Dataset));
	char *time = doc_get_string(doc, "time");

	dataset->name = pstrdup(name);
	dataset->relid = relation_oid(doc_get_string(doc, "relation"));
	if (!OidIsValid(dataset->relid))
		return NULL;
	dataset->relation =
		quote_qualified_identifier(get_namespace_name(get_rel_namespace(dataset->relid)),
								   get_rel_name(dataset->relid));
	if (time)
	{
		AttrNumber column = get_attnum(dataset->relid, time);

		if (column == InvalidAttrNumber)
			return NULL;
		dataset->time_column = pstrdup(quote_identifier(time));
		dataset->time_type = get_atttype(dataset->relid, column);
	}
	dataset->grain = grain_from_name(doc_get_string(doc, "grain"));
	dataset->dimensions = strings_of(doc, "dimensions");
	dataset->cost =
		doc_get_number(doc, "cost", default_cost(dataset->relid, dataset->grain));
	dataset->keeps_days = (int) doc_get_number(doc, "keeps_days", 0);
	dataset->lag_days = (int) doc_get_number(doc, "lag_days", 0);
	dataset->has_tenant =
		get_attnum(dataset->relid, CATALOG_TENANT_COLUMN) != InvalidAttrNumber;
	dataset->zone = zone;
	return dataset;
}

static CatalogJoin *
join_build(const char *name, Jsonb *doc)
{
	CatalogJoin *join = palloc0(sizeof(CatalogJoin));

	join->name = pstrdup(name);
	join->relid = relation_oid(doc_get_string(doc, "relation"));
	if (!OidIsValid(join->relid))
		return NULL;
	join->relation =
		quote_qualified_identifier(get_namespace_name(get_rel_namespace(join->relid)),
								   get_rel_name(join->relid));
	join->on = pstrdup(quote_identifier(doc_get_string(doc, "on")));
	join->key = doc_get_string(doc, "key")
					? pstrdup(quote_identifier(doc_get_string(doc, "key")))
					: join->on;
	join->has_tenant =
		get_attnum(join->relid, CATALOG_TENANT_COLUMN) != InvalidAttrNumber;
	return join;
}

/* --- what can be asked for --------------------------------------------------- */

/* "label": "text" for both languages, or {"ko": ..., "en": ...}. */
static void
labels_of(Jsonb *doc, const char *name, char **label)
{
	Jsonb *both = doc_get_doc(doc, "label");
	char *one = doc_get_string(doc, "label");

	label[0] = one ? one : doc_get_string(both, "ko");
	label[1] = one ? one : doc_get_string(both, "en");
	if (label[1] == NULL)
		label[1] = label[0] ? label[0] : pstrdup(name);
	if (label[0] == NULL)
		label[0] = label[1];
}

static void
metric_add_source(Catalog *catalog, Metric *metric, const char *dataset, char *sql)
{
	Dataset *found = catalog_dataset(catalog, dataset);
	MetricSource *source;

	if (found == NULL)
		return;
	source = palloc(sizeof(MetricSource));
	source->dataset = found;
	source->sql = sql;
	metric->sources = lappend(metric->sources, source);
}

static void
metric_build(Catalog *catalog, const char *name, Jsonb *doc)
{
	Metric *metric = palloc0(sizeof(Metric));
	Jsonb *by_dataset = doc_get_doc(doc, "sql");
	char *sql = doc_get_string(doc, "sql");
	ListCell *cell;

	metric->name = pstrdup(name);
	labels_of(doc, name, metric->label);
	metric->format = doc_get_string(doc, "format");
	metric->unit = doc_get_string(doc, "unit");
	metric->chart = doc_get_string(doc, "chart");
	metric->good = doc_get_string(doc, "good");
	metric->additivity = doc_get_string(doc, "additivity");
	if (metric->additivity == NULL)
		metric->additivity = pstrdup("sum");
	metric->detail = strings_of(doc, "detail");
	metric->not_over = strings_of(doc, "not_over");
	if (sql)
	{
		foreach (cell, strings_of(doc, "datasets"))
			metric_add_source(catalog, metric, lfirst(cell), sql);
	}
	else
	{
		foreach (cell, doc_keys(by_dataset))
			metric_add_source(catalog, metric, lfirst(cell),
							  doc_get_string(by_dataset, lfirst(cell)));
	}
	catalog->metrics = lappend(catalog->metrics, metric);
	catalog_add_names(catalog, name, metric->label, strings_of(doc, "synonyms"),
					  WORD_METRIC, metric);
}

static CatalogJoin *
catalog_join(Catalog *catalog, const char *name)
{
	ListCell *cell;

	foreach (cell, catalog->joins)
		if (strcmp(((CatalogJoin *) lfirst(cell))->name, name) == 0)
			return lfirst(cell);
	return NULL;
}

static void
dimension_build(Catalog *catalog, const char *name, Jsonb *doc, char *domain)
{
	Dimension *dimension = palloc0(sizeof(Dimension));
	char *column = doc_get_string(doc, "column");
	char *join = doc_get_string(doc, "join");
	Jsonb *aliases = doc_get_doc(doc, "aliases");
	ListCell *cell, *alias;

	dimension->name = pstrdup(name);
	dimension->domain = domain;
	labels_of(doc, name, dimension->label);
	dimension->sql =
		column ? pstrdup(quote_identifier(column)) : doc_get_string(doc, "sql");
	if (join)
		dimension->join = catalog_join(catalog, join);
	if (join && dimension->join == NULL)
		return;
	dimension->values_query = doc_get_string(doc, "values_query");
	dimension->default_metric = doc_get_string(doc, "metric");
	dimension->parent = doc_get_string(doc, "parent");
	catalog->dimensions = lappend(catalog->dimensions, dimension);
	catalog_add_names(catalog, name, dimension->label, strings_of(doc, "synonyms"),
					  WORD_DIMENSION, dimension);
	foreach (cell, strings_of(doc, "values"))
		dimension_add_value(catalog, dimension, lfirst(cell));
	foreach (cell, doc_keys(aliases))
		foreach (alias, strings_of(aliases, lfirst(cell)))
			dimension_add_alias(catalog, dimension, lfirst(alias), lfirst(cell));
}

static void
bundle_build(Catalog *catalog, const char *name, Jsonb *doc)
{
	Bundle *bundle = palloc0(sizeof(Bundle));
	ListCell *cell;

	bundle->name = pstrdup(name);
	foreach (cell, strings_of(doc, "metrics"))
	{
		Metric *metric = catalog_metric(catalog, lfirst(cell));

		if (metric)
			bundle->metrics = lappend(bundle->metrics, metric);
	}
	catalog->bundles = lappend(catalog->bundles, bundle);
	catalog_add_names(catalog, name, NULL, strings_of(doc, "synonyms"), WORD_BUNDLE,
					  bundle);
}

/* --- questions and words ----------------------------------------------------- */

static void
verified_build(Catalog *catalog, Jsonb *doc)
{
	List *wordings = lcons(doc_get_string(doc, "question"), strings_of(doc, "also"));
	ListCell *cell;

	foreach (cell, wordings)
	{
		VerifiedQuestion *verified = palloc0(sizeof(VerifiedQuestion));

		verified->question = lfirst(cell);
		verified->sql = doc_get_string(doc, "sql");
		verified->means = doc_get_string(doc, "means");
		catalog->verified = lappend(catalog->verified, verified);
	}
}

static void
ambiguous_build(Catalog *catalog, char *word, Jsonb *section)
{
	AmbiguousWord *ambiguous = palloc0(sizeof(AmbiguousWord));

	ambiguous->word = word;
	ambiguous->choices = strings_of(section, word);
	catalog_add_word(catalog, word_make(word, WORD_AMBIGUOUS, ambiguous, NULL, 0));
}

/* --- the whole --------------------------------------------------------------- */

static void
domain_build_data(Catalog *catalog, Jsonb *document)
{
	Jsonb *datasets = doc_get_doc(document, "datasets");
	Jsonb *joins = doc_get_doc(document, "joins");
	char *zone = doc_get_string(document, "timezone");
	ListCell *cell;

	if (catalog->zone == NULL)
		catalog->zone = zone;
	foreach (cell, doc_keys(datasets))
	{
		Jsonb *doc = doc_get_doc(datasets, lfirst(cell));
		Dataset *dataset =
			is_visible(catalog, doc) ? dataset_build(lfirst(cell), doc, zone) : NULL;

		if (dataset == NULL)
			continue;
		catalog->datasets = lappend(catalog->datasets, dataset);
		catalog->relations = lappend_oid(catalog->relations, dataset->relid);
	}
	foreach (cell, doc_keys(joins))
	{
		CatalogJoin *join = join_build(lfirst(cell), doc_get_doc(joins, lfirst(cell)));

		if (join == NULL)
			continue;
		catalog->joins = lappend(catalog->joins, join);
		catalog->relations = lappend_oid(catalog->relations, join->relid);
	}
	foreach (cell, strings_of(document, "tables"))
	{
		Oid relation = relation_oid(lfirst(cell));

		if (OidIsValid(relation))
			catalog->relations = lappend_oid(catalog->relations, relation);
	}
}

static void
domain_build(Catalog *catalog, Jsonb *document)
{
	Jsonb *metrics = doc_get_doc(document, "metrics");
	Jsonb *dimensions = doc_get_doc(document, "dimensions");
	Jsonb *bundles = doc_get_doc(document, "bundles");
	Jsonb *ambiguous = doc_get_doc(document, "ambiguous");
	Jsonb *defaults = doc_get_doc(document, "defaults");
	char *domain = doc_get_string(document, "domain");
	ListCell *cell;

	if (!is_visible(catalog, document))
		return;
	catalog->domains = lappend(catalog->domains, domain);
	if (catalog->default_period == NULL)
		catalog->default_period = doc_get_string(defaults, "period");
	catalog->max_rows = (int) doc_get_number(defaults, "max_rows", catalog->max_rows);
	domain_build_data(catalog, document);
	foreach (cell, doc_keys(metrics))
		if (is_visible(catalog, doc_get_doc(metrics, lfirst(cell))))
			metric_build(catalog, lfirst(cell), doc_get_doc(metrics, lfirst(cell)));
	foreach (cell, doc_keys(dimensions))
		if (is_visible(catalog, doc_get_doc(dimensions, lfirst(cell))))
			dimension_build(catalog, lfirst(cell), doc_get_doc(dimensions, lfirst(cell)),
							domain);
	foreach (cell, doc_keys(bundles))
		bundle_build(catalog, lfirst(cell), doc_get_doc(bundles, lfirst(cell)));
	foreach (cell, doc_keys(ambiguous))
		ambiguous_build(catalog, lfirst(cell), ambiguous);
	foreach (cell, doc_elements(doc_get_doc(document, "questions")))
		verified_build(catalog, doc_from_value(lfirst(cell)));
	foreach (cell, doc_elements(doc_get_doc(document, "widgets")))
		catalog->widgets = lappend(catalog->widgets, doc_from_value(lfirst(cell)));
}

Catalog *
catalog_build(List *documents, const char *tenant, List *verified, Oid user)
{
	Catalog *catalog = palloc0(sizeof(Catalog));
	ListCell *cell;

	catalog->context = CurrentMemoryContext;
	catalog->tenant = pstrdup(tenant);
	catalog->max_rows = bi_max_rows;
	catalog->verified = verified;
	catalog->user = user;
	foreach (cell, documents)
		domain_build(catalog, lfirst(cell));
	foreach (cell, words_builtin())
		catalog_add_word(catalog, lfirst(cell));
	return catalog;
}
