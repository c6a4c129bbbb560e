/*
 * document.c
 *		Reading JSON documents with the server's own functions.
 *
 * jansson is no choice inside a backend: its json_object() and the server's
 * share a name, and the server's wins.
 */
#include "postgres.h"

#include "base/attempt.h"
#include "base/document.h"
#include "base/number.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/numeric.h"

/* --- reading --------------------------------------------------------------- */

JsonbValue *
doc_get(Jsonb *doc, const char *key)
{
	if (doc == NULL || !JB_ROOT_IS_OBJECT(doc))
		return NULL;
	return getKeyJsonValueFromContainer(&doc->root, key, strlen(key), NULL);
}

Jsonb *
doc_get_doc(Jsonb *doc, const char *key)
{
	JsonbValue *value = doc_get(doc, key);

	return value ? doc_from_value(value) : NULL;
}

char *
doc_get_string(Jsonb *doc, const char *key)
{
	JsonbValue *value = doc_get(doc, key);

	if (value == NULL || value->type != jbvString)
		return NULL;
	return pnstrdup(value->val.string.val, value->val.string.len);
}

double
doc_get_number(Jsonb *doc, const char *key, double otherwise)
{
	JsonbValue *value = doc_get(doc, key);

	return value && value->type == jbvNumeric ? doc_value_number(value) : otherwise;
}

bool
doc_get_bool(Jsonb *doc, const char *key, bool otherwise)
{
	JsonbValue *value = doc_get(doc, key);

	return value && value->type == jbvBool ? value->val.boolean : otherwise;
}

char *
doc_value_text(const JsonbValue *value)
{
	switch (value->type)
	{
		case jbvNull:
			return NULL;
		case jbvString:
			return pnstrdup(value->val.string.val, value->val.string.len);
		case jbvBool:
			return pstrdup(value->val.boolean ? "true" : "false");
		case jbvNumeric:
			return DatumGetCString(
				DirectFunctionCall1(numeric_out, NumericGetDatum(value->val.numeric)));
		default:
			return doc_to_text(doc_from_value(value));
	}
}

double
doc_value_number(const JsonbValue *value)
{
	return number_to_double(NumericGetDatum(value->val.numeric));
}

const char *
doc_value_kind(const JsonbValue *value)
{
	switch (value->type)
	{
		case jbvNull:
			return "null";
		case jbvString:
			return "string";
		case jbvNumeric:
			return "number";
		case jbvBool:
			return "boolean";
		case jbvArray:
			return "array";
		case jbvObject:
			return "object";
		case jbvBinary:
			return JsonContainerIsArray(value->val.binary.data) ? "array" : "object";
		default:
			return "value";
	}
}

const char *
doc_kind(Jsonb *doc)
{
	JsonbValue scalar;

	if (JB_ROOT_IS_OBJECT(doc))
		return "object";
	if (!JB_ROOT_IS_SCALAR(doc))
		return "array";
	JsonbExtractScalar(&doc->root, &scalar);
	return doc_value_kind(&scalar);
}

static bool
container_is_deeper_than(const JsonbContainer *container, int levels)
{
	uint32 size = JsonContainerSize(container);
	uint32 first = JsonContainerIsObject(container) ? size : 0; /* after the keys */
	uint32 count = first + size;
	const char *values = (const char *) &container->children[count];

	if (levels == 0)
		return true;
	for (uint32 i = first; i < count; i++)
		if (JBE_ISCONTAINER(container->children[i]) &&
			container_is_deeper_than(
				(const JsonbContainer *) (values +
										  INTALIGN(getJsonbOffset(container, i))),
				levels - 1))
			return true;
	return false;
}

bool
doc_is_deeper_than(Jsonb *doc, int levels)
{
	/* Each takes its own header and an entry in the one around it. */
	if (VARSIZE(doc) < (Size) levels * (sizeof(uint32) + sizeof(JEntry)) ||
		JB_ROOT_IS_SCALAR(doc))
		return false;
	return container_is_deeper_than(&doc->root, levels);
}

Jsonb *
doc_from_value(const JsonbValue *value)
{
	return JsonbValueToJsonb(unconstify(JsonbValue *, value));
}

List *
doc_elements(Jsonb *doc)
{
	List *elements = NIL;
	uint32 count;

	if (doc == NULL || !JB_ROOT_IS_ARRAY(doc) || JB_ROOT_IS_SCALAR(doc))
		return NIL;
	count = JB_ROOT_COUNT(doc);
	for (uint32 i = 0; i < count; i++)
		elements = lappend(elements, getIthJsonbValueFromContainer(&doc->root, i));
	return elements;
}

List *
doc_keys(Jsonb *doc)
{
	List *keys = NIL;
	JsonbIterator *it;
	JsonbValue value;
	JsonbIteratorToken token;

	if (doc == NULL || !JB_ROOT_IS_OBJECT(doc))
		return NIL;
	it = JsonbIteratorInit(&doc->root);
	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
		if (token == WJB_KEY)
			keys = lappend(keys, pnstrdup(value.val.string.val, value.val.string.len));
	return keys;
}

char *
doc_to_text(Jsonb *doc)
{
	return JsonbToCString(NULL, &doc->root, VARSIZE(doc));
}

/* --- parsing text ------------------------------------------------------------ */

Jsonb *
doc_parse_trusted(const char *text)
{
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(text)));
}

typedef struct ParseAttempt
{
	char *text;
	Jsonb *doc;
} ParseAttempt;

static void
parse_body(void *argument)
{
	ParseAttempt *parse = argument;
	char *server_text = pg_any_to_server(parse->text, strlen(parse->text), PG_UTF8);

	parse->doc = doc_parse_trusted(server_text);
}

Jsonb *
doc_parse(const char *text, int length, char **why)
{
	ParseAttempt parse = {0};
	ErrorData *error;

	*why = NULL;
	if (!pg_verify_mbstr(PG_UTF8, text, length, true))
	{
		*why = pstrdup("the text is not valid UTF-8");
		return NULL;
	}
	parse.doc = doc_parse_plain(text, length);
	if (parse.doc != NULL)
		return parse.doc;
	parse.text = pnstrdup(text, length);
	error = attempt(parse_body, &parse);
	if (error == NULL)
		return parse.doc;
	*why = error->detail ? psprintf("%s: %s", error->message, error->detail)
						 : pstrdup(error->message);
	return NULL;
}
