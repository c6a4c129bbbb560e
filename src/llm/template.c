/*
 * template.c
 *		"{{ path }}" in a text, filled with a document's values.  No code.
 *
 * The path "." is all of the document in few tokens: a line for each key whose value is
 * not null.
 */
#include "postgres.h"

#include <ctype.h>

#include "base/document.h"
#include "base/errors.h"
#include "lib/stringinfo.h"
#include "llm/llm_int.h"
#include "mb/pg_wchar.h"

#define TEMPLATE_OPEN "{{"
#define TEMPLATE_CLOSE "}}"
#define TEMPLATE_ALL "."

static void
refuse_template(const char *template_text, const char *at, const char *fault,
				const char *hint)
{
	int position = pg_mbstrlen_with_len(template_text, at - template_text) + 1;

	ereport(ERROR, (errcode(ERRCODE_FACTORY_INVALID_TEMPLATE),
					errmsg("%s at character %d of the template", fault, position),
					errhint("%s", hint)));
}

/* The member of an array that a step like "0" names, or NULL. */
static Jsonb *
array_member(Jsonb *array, const char *step)
{
	char *end;
	long number = strtol(step, &end, 10);
	List *members = doc_elements(array);

	if (*end != '\0' || !isdigit((unsigned char) step[0]) ||
		number >= list_length(members))
		return NULL;
	return doc_from_value(list_nth(members, number));
}

static Jsonb *
follow_path(Jsonb *values, char *path)
{
	char *rest = path;
	char *step;

	while (values != NULL && (step = strsep(&rest, ".")) != NULL)
		values = JB_ROOT_IS_OBJECT(values) ? doc_get_doc(values, step)
										   : array_member(values, step);
	return values;
}

/* JSON without the blanks that the server writes between its tokens. */
static void
append_compact(StringInfo out, const char *json)
{
	bool in_string = false;

	for (const char *c = json; *c; c++)
	{
		if (*c == '"')
			in_string = !in_string;
		else if (in_string && *c == '\\')
			appendStringInfoChar(out, *c++);
		if (in_string || *c != ' ')
			appendStringInfoChar(out, *c);
	}
}

static void
append_value(StringInfo out, Jsonb *value)
{
	JsonbValue scalar;

	if (value == NULL)
		appendStringInfoString(out, "null");
	else if (strcmp(doc_kind(value), "string") == 0)
	{
		JsonbExtractScalar(&value->root, &scalar);
		appendBinaryStringInfo(out, scalar.val.string.val, scalar.val.string.len);
	}
	else
		append_compact(out, doc_to_text(value));
}

static void
append_all(StringInfo out, Jsonb *values)
{
	ListCell *cell;
	const char *between = "";

	foreach (cell, doc_keys(values))
	{
		const char *key = lfirst(cell);

		if (doc_get(values, key)->type == jbvNull)
			continue;
		appendStringInfo(out, "%s%s: ", between, key);
		append_value(out, doc_get_doc(values, key));
		between = "\n";
	}
}

/* What stands between the braces, without blanks at its ends. */
static char *
path_between(const char *begin, const char *end)
{
	while (begin < end && isspace((unsigned char) *begin))
		begin++;
	while (end > begin && isspace((unsigned char) end[-1]))
		end--;
	return pnstrdup(begin, end - begin);
}

char *
llm_render_template(const char *template_text, Jsonb *values)
{
	const char *rest = template_text;
	const char *open;
	StringInfoData out;

	initStringInfo(&out);
	while ((open = strstr(rest, TEMPLATE_OPEN)) != NULL)
	{
		const char *path = open + strlen(TEMPLATE_OPEN);
		const char *close = strstr(path, TEMPLATE_CLOSE);
		char *name;

		if (close == NULL)
			refuse_template(template_text, open, "unclosed \"{{\"",
							"Close it with \"}}\", as in \"{{ line_code }}\".");
		name = path_between(path, close);
		if (name[0] == '\0' || strchr(name, '{') != NULL)
			refuse_template(template_text, open, "no path between \"{{\" and \"}}\"",
							"Write the name of an input, as in \"{{ line_code }}\".");
		appendBinaryStringInfo(&out, rest, open - rest);
		if (strcmp(name, TEMPLATE_ALL) == 0)
			append_all(&out, values);
		else
			append_value(&out, follow_path(values, name));
		rest = close + strlen(TEMPLATE_CLOSE);
	}
	appendStringInfoString(&out, rest);
	return out.data;
}
