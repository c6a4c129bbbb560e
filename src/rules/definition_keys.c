/*
 * definition_keys.c
 *		The keys of a definition: which are known, and what kind their values are.
 */
#include "postgres.h"

#include "base/nearest.h"
#include "rules/definition.h"

void
reader_report(Reader *reader, char *path, char *message, char *hint)
{
	problem_report(reader->problems, "error", reader->rule, path, message, hint);
}

/* Reports keys that nobody knows, with the nearest one that is known. */
void
reader_check_keys(Reader *reader, Jsonb *object, const char *path,
				  const char *const *known, int count)
{
	ListCell *cell;

	foreach (cell, doc_keys(object))
	{
		const char *key = lfirst(cell);
		const char *near;
		bool found = false;

		for (int i = 0; i < count && !found; i++)
			found = strcmp(known[i], key) == 0;
		if (found)
			continue;
		near = nearest_name(key, known, count);
		reader_report(reader, PATH("%s.%s", path, key),
					  PATH("key \"%s\" is not known", key),
					  near ? PATH("Did you mean \"%s\"?", near) : NULL);
	}
}

/* How a value of each kind is written. */
static char *
kind_hint(const char *kind)
{
	if (strcmp(kind, "string") == 0)
		return "Write it in double quotes.";
	if (strcmp(kind, "number") == 0)
		return "Write digits without quotes.";
	if (strcmp(kind, "boolean") == 0)
		return "Write true or false, without quotes.";
	if (strcmp(kind, "array") == 0)
		return "Write a list in brackets: [...].";
	return "Write names and values in braces: {\"name\": ...}.";
}

static void
reader_report_kind(Reader *reader, char *path, const JsonbValue *value, const char *kind)
{
	reader_report(reader, path,
				  PATH("%s %s is wanted, not %s", strchr("aeiou", kind[0]) ? "an" : "a",
					   kind, doc_value_kind(value)),
				  kind_hint(kind));
}

/* The value under a key if it is of the kind; else reports and returns NULL. */
JsonbValue *
reader_kind(Reader *reader, Jsonb *object, const char *path, const char *key,
			const char *kind)
{
	JsonbValue *value = doc_get(object, key);

	if (value == NULL)
		return NULL;
	if (strcmp(doc_value_kind(value), kind) == 0)
		return value;
	reader_report_kind(reader, PATH("%s.%s", path, key), value, kind);
	return NULL;
}

Jsonb *
reader_object(Reader *reader, Jsonb *object, const char *path, const char *key)
{
	JsonbValue *value = reader_kind(reader, object, path, key, "object");

	return value ? doc_from_value(value) : NULL;
}

char *
reader_string(Reader *reader, Jsonb *object, const char *path, const char *key)
{
	JsonbValue *value = reader_kind(reader, object, path, key, "string");

	return value ? doc_value_text(value) : NULL;
}

bool
reader_boolean(Reader *reader, Jsonb *object, const char *path, const char *key)
{
	JsonbValue *value = reader_kind(reader, object, path, key, "boolean");

	return value != NULL && value->val.boolean;
}

/* Every member of a list is to be a string. */
void
reader_check_strings(Reader *reader, Jsonb *list, const char *path)
{
	ListCell *cell;

	foreach (cell, doc_elements(list))
	{
		const JsonbValue *member = lfirst(cell);

		if (member->type != jbvString)
			reader_report_kind(reader, PATH("%s[%d]", path, foreach_current_index(cell)),
							   member, "string");
	}
}

/* A number in 0..1, or the given one where absent. */
double
reader_share(Reader *reader, Jsonb *object, const char *path, const char *key,
			 double otherwise)
{
	JsonbValue *value = reader_kind(reader, object, path, key, "number");
	double share;

	if (value == NULL)
		return otherwise;
	share = doc_value_number(value);
	if (share >= 0 && share <= 1)
		return share;
	reader_report(reader, PATH("%s.%s", path, key),
				  PATH("%s is not between 0 and 1", doc_value_text(value)),
				  pstrdup("0.95 means 95 percent."));
	return otherwise;
}

/* An index into names, by a string under the key; -1 where absent or unknown. */
int
reader_choice(Reader *reader, Jsonb *object, const char *path, const char *key,
			  const char *const *names, int count)
{
	char *text = reader_string(reader, object, path, key);
	const char *near;

	if (text == NULL)
		return -1;
	for (int i = 0; i < count; i++)
		if (pg_strcasecmp(text, names[i]) == 0)
			return i;
	near = nearest_name(text, names, count);
	reader_report(reader, PATH("%s.%s", path, key), PATH("\"%s\" is not known", text),
				  near ? PATH("Did you mean \"%s\"?", near) : NULL);
	return -1;
}
