/*
 * catalog_check.c
 *		Refuses a catalogue that would give wrong answers or none: shape first,
 *		names next, and every SQL expression by PostgreSQL itself.
 */
#include "postgres.h"

#include "base/errors.h"
#include "base/nearest.h"
#include "bi/bi_int.h"

/* A member of a section: its name and the JSON kinds it may have. */
typedef struct Member
{
	const char *name;
	const char *kinds; /* s string, n number, a array of strings, o object, l list */
	bool required;
} Member;

#define MEMBERS_MAX 16

static const Member catalog_members[MEMBERS_MAX] = {
	{"domain", "s", true}, {"description", "s"},    {"timezone", "s"},
	{"defaults", "o"},     {"datasets", "o", true}, {"metrics", "o", true},
	{"dimensions", "o"},   {"bundles", "o"},        {"ambiguous", "o"},
	{"questions", "l"},    {"widgets", "l"},        {"tables", "a"},
	{"joins", "o"},        {"roles", "a"}};

static const Member default_members[MEMBERS_MAX] = {{"period", "s"}, {"max_rows", "n"}};

static const Member dataset_members[MEMBERS_MAX] = {
	{"relation", "s", true}, {"grain", "s", true}, {"time", "s"},
	{"dimensions", "a"},     {"cost", "n"},        {"keeps_days", "n"},
	{"lag_days", "n"},       {"description", "s"}, {"roles", "a"}};

static const Member metric_members[MEMBERS_MAX] = {
	{"sql", "so", true}, {"datasets", "a"}, {"label", "so"},      {"format", "s"},
	{"unit", "s"},       {"chart", "s"},    {"good", "s"},        {"additivity", "s"},
	{"synonyms", "a"},   {"detail", "a"},   {"description", "s"}, {"roles", "a"},
	{"not_over", "a"}};

static const Member dimension_members[MEMBERS_MAX] = {
	{"column", "s"},      {"sql", "s"},          {"label", "so"},  {"synonyms", "a"},
	{"values", "a"},      {"values_query", "s"}, {"aliases", "o"}, {"metric", "s"},
	{"description", "s"}, {"join", "s"},         {"roles", "a"},   {"parent", "s"}};

static const Member join_members[MEMBERS_MAX] = {{"relation", "s", true},
												 {"on", "s", true},
												 {"key", "s"},
												 {"cardinality", "s"},
												 {"description", "s"}};

static const Member bundle_members[MEMBERS_MAX] = {{"metrics", "a", true},
												   {"synonyms", "a"},
												   {"description", "s"}};

static const Member question_members[MEMBERS_MAX] = {{"question", "s", true},
													 {"also", "a"},
													 {"sql", "s"},
													 {"means", "s"}};

static const Member widget_members[MEMBERS_MAX] = {{"title", "so", true},
												   {"question", "s", true}};

/* Words a member may have; NULL ends. */
static const struct
{
	const Member *members;
	const char *name;
	const char *choices[8];
} choice_table[] = {
	{dataset_members,
	 "grain",
	 {"none", "hour", "day", "week", "month", "quarter", "year"}},
	{metric_members, "format", {"number", "percent", "currency", "duration"}},
	{metric_members, "chart", {"line", "bar", "pie", "gauge", "table"}},
	{join_members, "cardinality", {"many_to_one", "one_to_one"}},
	{metric_members, "good", {"up", "down"}},
	{metric_members, "additivity", {"sum", "ratio", "last", "none"}},
};

static void
catalog_is_wrong(const char *path, char *problem, char *hint)
{
	ereport(ERROR, (errcode(ERRCODE_FACTORY_INVALID_CATALOG),
					errmsg("catalogue is not valid at \"%s\": %s", path, problem),
					hint ? errhint("%s", hint) : 0));
}

static char *
nearest_hint(const char *given, const char *const *known, int count)
{
	const char *nearest = nearest_name(given, known, count);
	StringInfoData all;

	if (nearest)
		return psprintf("Did you mean \"%s\"?", nearest);
	initStringInfo(&all);
	for (int i = 0; i < count; i++)
		appendStringInfo(&all, "%s%s", i ? ", " : "", known[i]);
	return psprintf("Known here: %s.", all.data);
}

/* --- shape ------------------------------------------------------------------ */

static bool
kind_fits(const JsonbValue *value, const char *kinds)
{
	const char *kind = doc_value_kind(value);

	for (const char *wanted = kinds; *wanted; wanted++)
		if ((*wanted == 's' && strcmp(kind, "string") == 0) ||
			(*wanted == 'n' && strcmp(kind, "number") == 0) ||
			(*wanted == 'o' && strcmp(kind, "object") == 0) ||
			((*wanted == 'a' || *wanted == 'l') && strcmp(kind, "array") == 0))
			return true;
	return false;
}

static const char *
kinds_text(const char *kinds)
{
	switch (kinds[0])
	{
		case 'n':
			return "a number";
		case 'o':
			return "an object";
		case 'a':
			return "an array of texts";
		case 'l':
			return "an array of objects";
		default:
			return kinds[1] ? "a text or an object" : "a text";
	}
}

static void
check_choice(const Member *members, const char *path, const char *name, char *given)
{
	for (int i = 0; i < lengthof(choice_table); i++)
	{
		int count = 0;

		if (choice_table[i].members != members || strcmp(choice_table[i].name, name) != 0)
			continue;
		while (count < 8 && choice_table[i].choices[count])
		{
			if (strcmp(choice_table[i].choices[count], given) == 0)
				return;
			count++;
		}
		catalog_is_wrong(psprintf("%s.%s", path, name),
						 psprintf("\"%s\" is not known", given),
						 nearest_hint(given, choice_table[i].choices, count));
	}
}

static void
check_elements(Jsonb *doc, const char *path, const char *name, char wanted)
{
	int i = 0;
	ListCell *cell;

	foreach (cell, doc_elements(doc_get_doc(doc, name)))
	{
		if (!kind_fits(lfirst(cell), wanted == 'a' ? "s" : "o"))
			catalog_is_wrong(psprintf("%s.%s[%d]", path, name, i),
							 psprintf("expected %s, found %s",
									  wanted == 'a' ? "a text" : "an object",
									  doc_value_kind(lfirst(cell))),
							 NULL);
		i++;
	}
}

static void
check_members(Jsonb *doc, const char *path, const Member *members)
{
	const char *known[MEMBERS_MAX];
	int count = 0;
	ListCell *cell;

	if (strcmp(doc_kind(doc), "object") != 0)
		catalog_is_wrong(path, psprintf("expected an object, found %s", doc_kind(doc)),
						 NULL);
	for (; count < MEMBERS_MAX && members[count].name; count++)
		known[count] = members[count].name;
	foreach (cell, doc_keys(doc))
	{
		bool found = false;

		for (int i = 0; i < count; i++)
			found |= strcmp(known[i], lfirst(cell)) == 0;
		if (!found)
			catalog_is_wrong(psprintf("%s.%s", path, (char *) lfirst(cell)),
							 pstrdup("the key is not known"),
							 nearest_hint(lfirst(cell), known, count));
	}
	for (int i = 0; i < count; i++)
	{
		JsonbValue *value = doc_get(doc, known[i]);

		if (value == NULL && members[i].required)
			catalog_is_wrong(path, psprintf("key \"%s\" is missing", known[i]), NULL);
		if (value == NULL)
			continue;
		if (!kind_fits(value, members[i].kinds))
			catalog_is_wrong(psprintf("%s.%s", path, known[i]),
							 psprintf("expected %s, found %s",
									  kinds_text(members[i].kinds),
									  doc_value_kind(value)),
							 NULL);
		if (value->type == jbvString)
			check_choice(members, path, known[i], doc_value_text(value));
		if (members[i].kinds[0] == 'a' || members[i].kinds[0] == 'l')
			check_elements(doc, path, known[i], members[i].kinds[0]);
	}
}

static void
check_section(Jsonb *document, const char *section, const Member *members)
{
	Jsonb *all = doc_get_doc(document, section);
	ListCell *cell;

	foreach (cell, doc_keys(all))
		check_members(doc_get_doc(all, lfirst(cell)),
					  psprintf("$.%s.%s", section, (char *) lfirst(cell)), members);
}

static void
check_list(Jsonb *document, const char *section, const Member *members)
{
	int i = 0;
	ListCell *cell;

	foreach (cell, doc_elements(doc_get_doc(document, section)))
		check_members(doc_from_value(lfirst(cell)), psprintf("$.%s[%d]", section, i++),
					  members);
}

/* --- names ------------------------------------------------------------------ */

/* Every name in an array (or key of an object) must be a key of that section. */
static void
check_names(Jsonb *document, Jsonb *doc, const char *path, const char *key,
			const char *section)
{
	Jsonb *names = doc_get_doc(doc, key);
	List *known = doc_keys(doc_get_doc(document, section));
	const char **known_names = palloc(sizeof(char *) * (list_length(known) + 1));
	List *given = NIL;
	ListCell *cell;

	foreach (cell, known)
		known_names[foreach_current_index(cell)] = lfirst(cell);
	if (names == NULL)
		return;
	if (strcmp(doc_kind(names), "object") == 0)
		given = doc_keys(names);
	foreach (cell, doc_elements(names))
		given = lappend(given, doc_value_text(lfirst(cell)));
	foreach (cell, given)
	{
		if (doc_get(doc_get_doc(document, section), lfirst(cell)) == NULL)
			catalog_is_wrong(psprintf("%s.%s", path, key),
							 psprintf("\"%s\" is not one of \"%s\"",
									  (char *) lfirst(cell), section),
							 nearest_hint(lfirst(cell), known_names, list_length(known)));
	}
}

static void
check_metric_names(Jsonb *document)
{
	Jsonb *metrics = doc_get_doc(document, "metrics");
	ListCell *cell;

	foreach (cell, doc_keys(metrics))
	{
		Jsonb *metric = doc_get_doc(metrics, lfirst(cell));
		char *path = psprintf("$.metrics.%s", (char *) lfirst(cell));

		check_names(document, metric, path, "datasets", "datasets");
		check_names(document, metric, path, "detail", "dimensions");
		check_names(document, metric, path, "not_over", "dimensions");
		if (doc_get_string(metric, "sql") == NULL)
			check_names(document, metric, path, "sql", "datasets");
		else if (doc_get(metric, "datasets") == NULL)
			catalog_is_wrong(path, pstrdup("key \"datasets\" is missing"),
							 pstrdup("Name the datasets it can be computed from, or make "
									 "\"sql\" an object with one expression a dataset."));
	}
}

/* A hierarchy has an end: line < plant, and no plant below its own line. */
static void
check_dimension_parent(Jsonb *document, char *name)
{
	Jsonb *dimensions = doc_get_doc(document, "dimensions");
	char *path = psprintf("$.dimensions.%s.parent", name);
	List *below = list_make1(makeString(name));
	char *parent = doc_get_string(doc_get_doc(dimensions, name), "parent");

	for (; parent; parent = doc_get_string(doc_get_doc(dimensions, parent), "parent"))
	{
		if (doc_get(dimensions, parent) == NULL)
			catalog_is_wrong(path,
							 psprintf("\"%s\" is not one of \"dimensions\"", parent),
							 pstrdup("Name the dimension that is one level coarser."));
		if (list_member(below, makeString(parent)))
			catalog_is_wrong(path, psprintf("\"%s\" is above itself", parent),
							 pstrdup("Leave out \"parent\" at the coarsest level."));
		below = lappend(below, makeString(parent));
	}
}

static void
check_dimension_columns(Jsonb *document)
{
	Jsonb *dimensions = doc_get_doc(document, "dimensions");
	ListCell *cell;

	foreach (cell, doc_keys(dimensions))
	{
		Jsonb *dimension = doc_get_doc(dimensions, lfirst(cell));

		if ((doc_get(dimension, "column") == NULL) == (doc_get(dimension, "sql") == NULL))
			catalog_is_wrong(psprintf("$.dimensions.%s", (char *) lfirst(cell)),
							 pstrdup("it needs \"column\" or \"sql\", and only one"),
							 NULL);
		check_dimension_parent(document, lfirst(cell));
	}
}

static void
check_references(Jsonb *document)
{
	Jsonb *datasets = doc_get_doc(document, "datasets");
	Jsonb *bundles = doc_get_doc(document, "bundles");
	ListCell *cell;

	foreach (cell, doc_keys(datasets))
		check_names(document, doc_get_doc(datasets, lfirst(cell)),
					psprintf("$.datasets.%s", (char *) lfirst(cell)), "dimensions",
					"dimensions");
	foreach (cell, doc_keys(bundles))
		check_names(document, doc_get_doc(bundles, lfirst(cell)),
					psprintf("$.bundles.%s", (char *) lfirst(cell)), "metrics",
					"metrics");
	check_metric_names(document);
	check_dimension_columns(document);
}

void
catalog_check_document(Jsonb *document)
{
	char *zone;

	check_members(document, "$", catalog_members);
	check_section(document, "datasets", dataset_members);
	check_section(document, "metrics", metric_members);
	check_section(document, "joins", join_members);
	check_section(document, "dimensions", dimension_members);
	check_section(document, "bundles", bundle_members);
	check_list(document, "questions", question_members);
	check_list(document, "widgets", widget_members);
	if (doc_get(document, "defaults"))
		check_members(doc_get_doc(document, "defaults"), "$.defaults", default_members);
	zone = doc_get_string(document, "timezone");
	if (zone && pg_tzset(zone) == NULL)
		catalog_is_wrong("$.timezone", psprintf("\"%s\" is no time zone", zone),
						 pstrdup("View pg_timezone_names lists them."));
	check_references(document);
}

/* --- SQL -------------------------------------------------------------------- */

static void
check_statement(const char *path, char *sql)
{
	Verdict verdict;

	guarded_run(sql, GUARD_READER, 0, NULL, &verdict);
	if (!verdict.ok)
		catalog_is_wrong(path, verdict.reason, verdict.hint);
}

static void
check_datasets(Catalog *catalog, Jsonb *document)
{
	Jsonb *datasets = doc_get_doc(document, "datasets");
	ListCell *cell;

	foreach (cell, doc_keys(datasets))
	{
		Jsonb *doc = doc_get_doc(datasets, lfirst(cell));
		char *time = doc_get_string(doc, "time");

		if (catalog_dataset(catalog, lfirst(cell)) != NULL)
			continue;
		catalog_is_wrong(psprintf("$.datasets.%s", (char *) lfirst(cell)),
						 psprintf("relation \"%s\"%s is not there",
								  doc_get_string(doc, "relation"),
								  time ? psprintf(" or its column \"%s\"", time) : ""),
						 pstrdup("Names resolve by factory.reader_search_path."));
	}
}

static void
check_dataset_dimensions(Catalog *catalog, Dataset *dataset)
{
	ListCell *cell;

	foreach (cell, dataset->dimensions)
	{
		Dimension *dimension = catalog_dimension(catalog, lfirst(cell));

		char *path =
			psprintf("$.datasets.%s.dimensions.%s", dataset->name, (char *) lfirst(cell));

		if (dimension == NULL)
			catalog_is_wrong(path,
							 pstrdup("its \"join\" names no relation that is there"),
							 pstrdup("Declare it under \"joins\"."));
		if (dimension->join == NULL)
			check_statement(path, psprintf("SELECT (%s\n) FROM %s", dimension->sql,
										   dataset->relation));
		else
			check_statement(
				path,
				psprintf("SELECT (%s\n) FROM %s WHERE %s IN (SELECT %s FROM %s)",
						 dimension->sql, dimension->join->relation, dimension->join->key,
						 dimension->join->on, dataset->relation));
	}
}

/* GROUP BY () makes a column outside of an aggregate an error. */
static void
check_metric_sources(Metric *metric)
{
	ListCell *cell;

	foreach (cell, metric->sources)
	{
		MetricSource *source = lfirst(cell);

		check_statement(psprintf("$.metrics.%s.sql (dataset %s)", metric->name,
								 source->dataset->name),
						psprintf("SELECT (%s\n) FROM %s GROUP BY ()", source->sql,
								 source->dataset->relation));
	}
}

void
catalog_check_sql(Catalog *catalog, Jsonb *document)
{
	ListCell *cell;

	check_datasets(catalog, document);
	foreach (cell, catalog->datasets)
		check_dataset_dimensions(catalog, lfirst(cell));
	foreach (cell, catalog->metrics)
		check_metric_sources(lfirst(cell));
	foreach (cell, catalog->dimensions)
	{
		Dimension *dimension = lfirst(cell);

		if (dimension->values_query)
			check_statement(psprintf("$.dimensions.%s.values_query", dimension->name),
							dimension->values_query);
	}
	foreach (cell, catalog->verified)
	{
		VerifiedQuestion *verified = lfirst(cell);

		if (verified->sql)
			check_statement(psprintf("$.questions (%s)", verified->question),
							verified_sample(verified->sql));
	}
}
