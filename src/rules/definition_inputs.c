/*
 * definition_inputs.c
 *		Inputs: their types, defaults, bounds and enumerations.
 */
#include "postgres.h"

#include "base/attempt.h"
#include "base/errors.h"
#include "miscadmin.h"
#include "rules/definition.h"
#include "rules/dependency.h"
#include "rules/limits.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

const char *const on_null_names[ON_NULL_CHOICES] = {"unknown", "no_match", "error"};

/* A JSON value as one of the input's type, for default, min, max and enum. */
static bool
read_constant(Reader *reader, Input *input, const JsonbValue *json, const char *path,
			  Datum *result)
{
	MemoryContext caller = MemoryContextSwitchTo(reader->decision->context);
	bool isnull;
	char *why;

	*result = value_from_json(&input->value, json, &isnull, &why);
	/* A number of JSON lies in its document. */
	if (why == NULL && !isnull)
		*result = datumCopy(*result, input->value.by_value, input->value.length);
	MemoryContextSwitchTo(caller);
	if (why == NULL && !isnull)
		return true;
	reader_report(reader, pstrdup(path), why ? why : pstrdup("null has no meaning here"),
				  NULL);
	return false;
}

static bool
read_bound(Reader *reader, Input *input, Jsonb *spec, const char *path, const char *key,
		   Datum *bound, char **text)
{
	JsonbValue *value = doc_get(spec, key);

	if (value == NULL)
		return false;
	if (!read_constant(reader, input, value, PATH("%s.%s", path, key), bound))
		return false;
	*text = MemoryContextStrdup(reader->decision->context, doc_value_text(value));
	return true;
}

static void
read_allowed(Reader *reader, Input *input, Jsonb *spec, const char *path)
{
	JsonbValue *list = reader_kind(reader, spec, path, "enum", "array");
	MemoryContext caller;
	ListCell *cell;

	if (list == NULL)
		return;
	caller = MemoryContextSwitchTo(reader->decision->context);
	input->allowed_text = doc_value_text(list);
	foreach (cell, doc_elements(doc_from_value(list)))
	{
		Datum *member = palloc(sizeof(Datum));

		if (read_constant(reader, input, lfirst(cell),
						  PATH("%s.enum[%d]", path, foreach_current_index(cell)), member))
			input->allowed = lappend(input->allowed, member);
	}
	MemoryContextSwitchTo(caller);
}

/* min, max and enum compare with the type's own btree order. */
static void
prepare_comparison(Reader *reader, Input *input, const char *path)
{
	TypeCacheEntry *entry;

	if (!input->has_min && !input->has_max && input->allowed == NIL)
		return;
	entry = lookup_type_cache(input->value.type, TYPECACHE_CMP_PROC_FINFO);
	if (!OidIsValid(entry->cmp_proc_finfo.fn_oid))
	{
		reader_report(reader, pstrdup(path),
					  PATH("values of type %s have no order", input->type_name), NULL);
		return;
	}
	fmgr_info_cxt(entry->cmp_proc_finfo.fn_oid, &input->compare,
				  reader->decision->context);
}

/* An input that nothing fits, or not even its own default, is a slip of the pen. */
static void
check_constants(Reader *reader, Input *input, Jsonb *spec, const char *path)
{
	Datum otherwise = input->default_value;
	char *text;

	if (!reader->problems->collect || !OidIsValid(input->compare.fn_oid))
		return;
	if (input->has_min && input->has_max &&
		input_compare(input, input->min, input->max) > 0)
		reader_report(reader, PATH("%s.min", path),
					  PATH("min %s is greater than max %s", input->min_text,
						   input->max_text),
					  "No value lies between them: exchange or correct them.");
	if (!input->has_default)
		return;
	text = doc_value_text(doc_get(spec, "default"));
	if (input->has_min && input_compare(input, otherwise, input->min) < 0)
		reader_report(reader, PATH("%s.default", path),
					  PATH("default %s is less than min %s", text, input->min_text),
					  "An absent input would always be refused.");
	if (input->has_max && input_compare(input, otherwise, input->max) > 0)
		reader_report(reader, PATH("%s.default", path),
					  PATH("default %s is greater than max %s", text, input->max_text),
					  "An absent input would always be refused.");
	if (!input_is_allowed(input, otherwise))
		reader_report(reader, PATH("%s.default", path),
					  PATH("default %s is not one of %s", text, input->allowed_text),
					  "An absent input would always be refused.");
}

static void
read_input_spec(Reader *reader, Input *input, Jsonb *spec, const char *path)
{
	static const char *const keys[] = {"type", "required", "enum",    "min",        "max",
									   "pii",  "default",  "on_null", "description"};
	JsonbValue *otherwise;
	int choice;

	reader_check_keys(reader, spec, path, keys, lengthof(keys));
	input->required = reader_boolean(reader, spec, path, "required");
	input->pii = reader_boolean(reader, spec, path, "pii");
	choice = reader_choice(reader, spec, path, "on_null", on_null_names, ON_NULL_CHOICES);
	if (choice >= 0)
		input->on_null = (OnNull) choice;
	(void) reader_string(reader, spec, path, "description");
	otherwise = doc_get(spec, "default");
	if (otherwise != NULL)
		input->has_default =
			read_constant(reader, input, otherwise, PATH("%s.default", path),
						  &input->default_value);
	input->has_min =
		read_bound(reader, input, spec, path, "min", &input->min, &input->min_text);
	input->has_max =
		read_bound(reader, input, spec, path, "max", &input->max, &input->max_text);
	read_allowed(reader, input, spec, path);
	prepare_comparison(reader, input, path);
	check_constants(reader, input, spec, path);
}

static void
read_input(Reader *reader, Input *input, const char *name, JsonbValue *value)
{
	const char *path = PATH("$.inputs.%s", name);
	Jsonb *spec = NULL;
	char *type_name;
	char *why;
	MemoryContext caller;
	bool known;

	memset(input, 0, sizeof(*input));
	input->name = MemoryContextStrdup(reader->decision->context, name);
	input->name_length = strlen(name);
	input->on_null = reader->decision->on_null;
	if (strcmp(doc_value_kind(value), "object") == 0)
	{
		spec = doc_from_value(value);
		type_name = reader_string(reader, spec, path, "type");
	}
	else
		type_name = value->type == jbvString ? doc_value_text(value) : NULL;

	caller = MemoryContextSwitchTo(reader->decision->context);
	input->type_name = type_name ? pstrdup(type_name) : "text";
	known = type_name && value_type_resolve(type_name, &input->value, &why);
	if (!known)
		value_type_init(TEXTOID, -1, &input->value);
	MemoryContextSwitchTo(caller);
	dependency_note_type(reader->decision, input->value.type);
	if (!known)
		reader_report(reader, pstrdup(path),
					  type_name ? why : pstrdup("an input needs a type"),
					  pstrdup(
						  "Write \"name\": \"type\", or \"name\": {\"type\": \"...\"}."));
	if (spec != NULL && known)
		read_input_spec(reader, input, spec, path);
	input->plain = !input->required && !input->has_default && !input->has_min &&
				   !input->has_max && input->allowed == NIL;
}

void
read_inputs(Reader *reader, Jsonb *definition)
{
	Decision *decision = reader->decision;
	Jsonb *inputs = reader_object(reader, definition, "$", "inputs");
	List *names = doc_keys(inputs);
	ListCell *cell;

	if (doc_get(definition, "inputs") == NULL)
		reader_report(reader, pstrdup("$.inputs"), pstrdup("inputs are missing"),
					  pstrdup(
						  "Declare them: \"inputs\": {\"defect_rate\": \"float8\"}."));
	if (!limit_inputs(reader->problems, list_length(names)))
		return;
	decision->inputs = MemoryContextAllocZero(decision->context,
											  sizeof(Input) * Max(list_length(names), 1));
	foreach (cell, names)
	{
		const char *name = lfirst(cell);

		read_input(reader, &decision->inputs[decision->input_count], name,
				   doc_get(inputs, name));
		decision->input_count++;
	}
}
