/*
 * catalog_words.c
 *		The words a catalogue knows: names, labels, synonyms, and the values of its
 *		dimensions.
 *
 * Values that stand in tables are read by queries of the catalogue's own, as the
 * reader, when a question comes: what was added since is found at most ten minutes
 * later, or at once where a question has a word nobody knows.
 */
#include "postgres.h"

#include "bi/bi_int.h"
#include "utils/timestamp.h"

#define CATALOG_MAX_VALUES 10000
/* A word that is in no vocabulary has them read again at once. */
#define CATALOG_VALUES_TTL_MS 600000

/* --- names ------------------------------------------------------------------- */

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

void
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

void
catalog_add_names(Catalog *catalog, const char *name, char **label, List *synonyms,
				  WordKind kind, void *item)
{
	ListCell *cell;

	add_word(catalog, name, kind, item, NULL);
	if (label)
	{
		add_word(catalog, label[0], kind, item, NULL);
		add_word(catalog, label[1], kind, item, NULL);
	}
	foreach (cell, synonyms)
		add_word(catalog, lfirst(cell), kind, item, NULL);
}

/* --- values ------------------------------------------------------------------ */

void
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

void
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
