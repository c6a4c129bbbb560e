/*
 * catalog_findings.c
 *		What a catalogue would do wrong without being refused for it: words with two
 *		meanings, joins that double rows, sums that do not add up.
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/base.h"
#include "bi/bi_int.h"
#include "utils/resowner.h"

static void
add_finding(List **findings, const char *level, char *path, char *message)
{
	CatalogFinding *finding = palloc(sizeof(CatalogFinding));

	finding->level = level;
	finding->path = path;
	finding->message = message;
	*findings = lappend(*findings, finding);
}

/* --- words ------------------------------------------------------------------------- */

static char *
word_meaning(const Word *word)
{
	switch (word->kind)
	{
		case WORD_METRIC:
			return psprintf("metric \"%s\"", ((Metric *) word->item)->name);
		case WORD_DIMENSION:
			return psprintf("dimension \"%s\"", ((Dimension *) word->item)->name);
		case WORD_BUNDLE:
			return psprintf("bundle \"%s\"", ((Bundle *) word->item)->name);
		case WORD_VALUE:
			return psprintf("value \"%s\" of dimension \"%s\"", word->value,
							((Dimension *) word->item)->name);
		case WORD_AMBIGUOUS:
			return pstrdup("an entry under \"ambiguous\"");
		default:
			return pstrdup("a word that every catalogue shares");
	}
}

static bool
words_collide(const Word *a, const Word *b)
{
	if (a->length != b->length || memcmp(a->key, b->key, a->length) != 0)
		return false;
	if (a->item == NULL && b->item == NULL)
		return false;
	/* Particles stand behind a word, never in its place. */
	if (a->kind == WORD_PARTICLE || b->kind == WORD_PARTICLE)
		return false;
	return a->item != b->item || a->kind != b->kind ||
		   (a->value && b->value && strcmp(a->value, b->value) != 0);
}

static void
find_ambiguous_words(Catalog *catalog, List **findings)
{
	for (int bucket = 0; bucket < WORD_BUCKETS; bucket++)
	{
		List *words = catalog->words[bucket];

		for (int i = 0; i < list_length(words); i++)
			for (int k = i + 1; k < list_length(words); k++)
			{
				Word *a = list_nth(words, i), *b = list_nth(words, k);

				if (words_collide(a, b))
					add_finding(findings, "warning", NULL,
								psprintf("\"%s\" means %s and %s", a->key,
										 word_meaning(a), word_meaning(b)));
			}
	}
}

/* --- metrics ----------------------------------------------------------------------- */

static bool
calls(const char *sql, const char *name)
{
	int length = strlen(name);

	for (const char *c = sql; *c; c++)
		if (pg_strncasecmp(c, name, length) == 0)
			return true;
	return false;
}

static void
find_wrong_sums(Catalog *catalog, List **findings)
{
	ListCell *cell, *source_cell;

	foreach (cell, catalog->metrics)
	{
		Metric *metric = lfirst(cell);
		char *path = psprintf("$.metrics.%s", metric->name);
		bool averages = false, divides = false;

		foreach (source_cell, metric->sources)
		{
			const char *sql = ((MetricSource *) lfirst(source_cell))->sql;

			averages |= calls(sql, "avg(");
			divides |= strchr(sql, '/') != NULL;
		}
		if (metric->sources == NIL)
			add_finding(findings, "warning", path,
						pstrdup("no dataset has it, so it cannot be asked for"));
		if (strcmp(metric->additivity, "sum") == 0 && (averages || divides))
			add_finding(findings, "warning", path,
						pstrdup("it is declared to add up, but its SQL averages or "
								"divides: declare \"additivity\": \"ratio\""));
		if (strcmp(metric->additivity, "ratio") == 0 && averages)
			add_finding(findings, "warning", path,
						pstrdup("it averages rows of unequal weight: divide a sum by a "
								"sum instead"));
		if (strcmp(metric->additivity, "last") == 0)
			foreach (source_cell, metric->sources)
			{
				Dataset *dataset = ((MetricSource *) lfirst(source_cell))->dataset;

				if (dataset->time_column == NULL)
					add_finding(findings, "warning", path,
								psprintf("dataset \"%s\" has no \"time\", so its latest "
										 "moment is not known",
										 dataset->name));
			}
	}
}

/* --- joins ------------------------------------------------------------------------- */

static double
count_of(char *sql)
{
	GuardedResult result;
	Verdict verdict;

	guarded_run(sql, GUARD_READER, 1, &result, &verdict);
	if (!verdict.ok || result.rows == NIL)
		return -1;
	return doc_value_number(linitial(doc_elements(linitial(result.rows))));
}

static bool
dataset_uses_join(Catalog *catalog, Dataset *dataset, CatalogJoin *join)
{
	ListCell *cell;

	foreach (cell, dataset->dimensions)
	{
		Dimension *dimension = catalog_dimension(catalog, lfirst(cell));

		if (dimension && dimension->join == join)
			return true;
	}
	return false;
}

static void
find_fan_outs(Catalog *catalog, List **findings)
{
	ListCell *cell, *dataset_cell;

	foreach (cell, catalog->joins)
	{
		CatalogJoin *join = lfirst(cell);
		char *path = psprintf("$.joins.%s", join->name);
		const char *tenant =
			join->has_tenant ? " WHERE tenant_id = factory.current_tenant()" : "";
		double doubled = count_of(
			psprintf("SELECT count(*) FROM (SELECT 1 FROM %s%s GROUP BY %s HAVING "
					 "count(*) > 1) AS doubled",
					 join->relation, tenant, join->key));

		if (doubled > 0)
			add_finding(findings, "error", path,
						psprintf("%.0f keys of %s occur more than once: the join would "
								 "count rows twice",
								 doubled, join->relation));
		foreach (dataset_cell, catalog->datasets)
		{
			Dataset *dataset = lfirst(dataset_cell);
			double lost;

			if (!dataset_uses_join(catalog, dataset, join))
				continue;
			lost = count_of(
				psprintf("SELECT count(*) FROM %s WHERE %s NOT IN (SELECT %s FROM %s "
						 "WHERE %s IS NOT NULL)",
						 dataset->relation, join->on, join->key, join->relation,
						 join->key));
			if (lost > 0)
				add_finding(findings, "warning", path,
							psprintf("%.0f rows of dataset \"%s\" have no partner in %s",
									 lost, dataset->name, join->relation));
		}
	}
}

/* --- all ----------------------------------------------------------------------------- */

/* What load_catalog() would raise, as a finding; NULL where it would not. */
static ErrorData *
error_of_document(Jsonb *document)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	ErrorData *volatile error = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		catalog_check_document(document);
		catalog_check_sql(catalog_build(list_make1(document), tenant_current(), NIL,
										InvalidOid),
						  document);
		ReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
		/* Not the catalogue's doing. */
		if (error->sqlerrcode == ERRCODE_QUERY_CANCELED ||
			error->sqlerrcode == ERRCODE_ADMIN_SHUTDOWN)
			ReThrowError(error);
	}
	PG_END_TRY();
	return error;
}

List *
catalog_findings(Jsonb *document)
{
	List *findings = NIL;
	ErrorData *error = error_of_document(document);
	Catalog *catalog;

	if (error)
	{
		add_finding(&findings, "error", NULL,
					error->hint ? psprintf("%s. %s", error->message, error->hint)
								: error->message);
		return findings;
	}
	catalog = catalog_build(list_make1(document), tenant_current(), NIL, InvalidOid);
	(void) catalog_read_values(catalog, true);
	find_ambiguous_words(catalog, &findings);
	find_wrong_sums(catalog, &findings);
	find_fan_outs(catalog, &findings);
	return findings;
}
