/*
 * catalog.c
 *		The catalogue in a backend's memory: built from its documents, forgotten
 *		when they or the relations they name change.
 *
 * Several domains make one vocabulary.  A catalogue lives in its own memory
 * context until the first look after an invalidation.
 */
#include "postgres.h"

#include "base/base.h"
#include "base/clock.h"
#include "base/house.h"
#include "bi/bi_int.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/varlena.h"

#define CATALOG_TABLE "catalog"
#define VERIFIED_TABLE "verified_question"
#define CATALOG_TENANT_COLUMN "tenant_id"
#define CATALOG_MAX_VALUES 10000
/* A word that is in no vocabulary has them read again at once. */
#define CATALOG_VALUES_TTL_MS 600000

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

/* --- building ---------------------------------------------------------------- */

static List *
strings_of(Jsonb *doc, const char *key)
{
	List *strings = NIL;
	ListCell *cell;

	foreach (cell, doc_elements(doc_get_doc(doc, key)))
		strings = lappend(strings, doc_value_text(lfirst(cell)));
	return strings;
}

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

/* By its first letter, in whatever script. */
int
word_bucket(const char *text)
{
	unsigned char first = text[0];
	uint32 code = first;

	if (first >= 0xE0 && text[1] && text[2])
		code = (first & 0x0F) << 12 | (text[1] & 0x3F) << 6 | (text[2] & 0x3F);
	return (code ^ code >> 10) % WORD_BUCKETS;
}

static void
catalog_add_word(Catalog *catalog, Word *word)
{
	List **bucket = &catalog->words[word_bucket(word->key)];

	if (word->length > 0)
		*bucket = lappend(*bucket, word);
}

static void
add_word(Catalog *catalog, const char *text, WordKind kind, void *item, char *value)
{
	Word *word = word_make(text, kind, item, value, 0);

	catalog_add_word(catalog, word);
}

static void
add_names(Catalog *catalog, const char *name, char **label, Jsonb *doc, WordKind kind,
		  void *item)
{
	ListCell *cell;

	add_word(catalog, name, kind, item, NULL);
	if (label)
	{
		add_word(catalog, label[0], kind, item, NULL);
		add_word(catalog, label[1], kind, item, NULL);
	}
	foreach (cell, strings_of(doc, "synonyms"))
		add_word(catalog, lfirst(cell), kind, item, NULL);
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
	add_names(catalog, name, metric->label, doc, WORD_METRIC, metric);
}

static void
dimension_add_alias(Catalog *catalog, Dimension *dimension, char *alias, char *value)
{
	DimensionAlias *entry;
	ListCell *cell;

	foreach (cell, dimension->aliases)
	{
		entry = lfirst(cell);
		if (strcmp(entry->alias, alias) == 0 && strcmp(entry->value, value) == 0)
			return;
	}
	entry = palloc(sizeof(DimensionAlias));
	entry->alias = pstrdup(alias);
	entry->value = value = pstrdup(value);
	dimension->aliases = lappend(dimension->aliases, entry);
	add_word(catalog, alias, WORD_VALUE, dimension, value);
}

static void
dimension_add_value(Catalog *catalog, Dimension *dimension, char *value)
{
	ListCell *cell;

	foreach (cell, dimension->values)
		if (strcmp(lfirst(cell), value) == 0)
			return;
	value = pstrdup(value);
	dimension->values = lappend(dimension->values, value);
	add_word(catalog, value, WORD_VALUE, dimension, value);
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
	add_names(catalog, name, dimension->label, doc, WORD_DIMENSION, dimension);
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
	add_names(catalog, name, NULL, doc, WORD_BUNDLE, bundle);
}

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
	add_word(catalog, word, WORD_AMBIGUOUS, ambiguous, NULL);
}

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

/* --- values ------------------------------------------------------------------ */

/* First column: the value; further columns: other names for it. */
static void
dimension_read_values(Catalog *catalog, Dimension *dimension)
{
	GuardedResult result;
	Verdict verdict;
	MemoryContext old;
	ListCell *cell;

	guarded_run(dimension->values_query, GUARD_READER, CATALOG_MAX_VALUES, &result,
				&verdict);
	if (!verdict.ok)
		ereport(WARNING, (errcode(ERRCODE_WARNING),
						  errmsg("values of dimension \"%s\" could not be read: %s",
								 dimension->name, verdict.reason),
						  errhint("Run its \"values_query\" with factory.run_sql().")));
	foreach (cell, result.rows)
	{
		List *columns = doc_elements(lfirst(cell));
		char *value = columns ? doc_value_text(linitial(columns)) : NULL;

		if (value == NULL)
			continue;
		old = MemoryContextSwitchTo(catalog->context);
		dimension_add_value(catalog, dimension, value);
		for (int i = 1; i < list_length(columns); i++)
		{
			char *name = doc_value_text(list_nth(columns, i));

			if (name)
				dimension_add_alias(catalog, dimension, name, value);
		}
		MemoryContextSwitchTo(old);
	}
}

bool
catalog_read_values(Catalog *catalog, bool forced)
{
	TimestampTz now = GetCurrentTimestamp();
	ListCell *cell;

	if (catalog->values_read != 0 && !forced &&
		!TimestampDifferenceExceeds(catalog->values_read, now, CATALOG_VALUES_TTL_MS))
		return false;
	foreach (cell, catalog->dimensions)
	{
		Dimension *dimension = lfirst(cell);

		if (dimension->values_query)
			dimension_read_values(catalog, dimension);
	}
	catalog->values_read = now;
	return true;
}

/* --- the current one ----------------------------------------------------------- */

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
	ListCell *cell, *value;

	doc_build(&b);
	doc_begin_object(&b, NULL);
	doc_begin_array(&b, "metrics");
	foreach (cell, catalog ? catalog->metrics : NIL)
	{
		Metric *metric = lfirst(cell);

		doc_begin_object(&b, NULL);
		doc_put_string(&b, "name", metric->name);
		put_labels(&b, metric->label, language);
		doc_put_string(&b, "format", metric->format);
		doc_put_string(&b, "unit", metric->unit);
		doc_end_object(&b);
	}
	doc_end_array(&b);
	doc_begin_array(&b, "dimensions");
	foreach (cell, catalog ? catalog->dimensions : NIL)
	{
		Dimension *dimension = lfirst(cell);

		doc_begin_object(&b, NULL);
		doc_put_string(&b, "name", dimension->name);
		put_labels(&b, dimension->label, language);
		if (dimension->parent)
			doc_put_string(&b, "parent", dimension->parent);
		doc_begin_array(&b, "values");
		foreach (value, dimension->values)
			doc_put_string(&b, NULL, lfirst(value));
		doc_end_array(&b);
		doc_end_object(&b);
	}
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
