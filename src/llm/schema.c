/*
 * schema.c
 *		Checking a document against a JSON schema.
 *
 * A subset: what the keyword table lists.  Keywords that would restrict a value
 * but are not in it are refused by llm_schema_error(), so that nothing is taken
 * for checked that was not; annotations (title, description, format, ...) are
 * passed over.
 */
#include "postgres.h"

#include <math.h>

#include "base/document.h"
#include "lib/stringinfo.h"
#include "llm/llm_int.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/numeric.h"

/* A text longer than this is not repeated in a phrase. */
#define SHOWN_TEXT_LENGTH 40

/* The place and what is wrong there. */
static char *fault_at(const char *path, const char *format, ...)
	pg_attribute_printf(2, 3);
static char *check_value(Jsonb *schema, Jsonb *value, const char *path);

static char *
fault_at(const char *path, const char *format, ...)
{
	StringInfoData out;
	va_list arguments;
	int needed;

	initStringInfo(&out);
	appendStringInfo(&out, "%s: ", path);
	do
	{
		va_start(arguments, format);
		needed = appendStringInfoVA(&out, format, arguments);
		va_end(arguments);
		if (needed > 0)
			enlargeStringInfo(&out, needed);
	} while (needed > 0);
	return out.data;
}

static char *
shown(Jsonb *value)
{
	char *text = doc_to_text(value);

	return strlen(text) > SHOWN_TEXT_LENGTH ? psprintf("a long %s", doc_kind(value))
											: text;
}

/* As a number; the value must be one. */
static double
number_of(Jsonb *value)
{
	JsonbValue scalar;

	JsonbExtractScalar(&value->root, &scalar);
	return doc_value_number(&scalar);
}

static bool
is_kind(Jsonb *value, const char *kind)
{
	return strcmp(doc_kind(value), kind) == 0;
}

static bool
documents_are_equal(Jsonb *one, Jsonb *other)
{
	return compareJsonbContainers(&one->root, &other->root) == 0;
}

/* --- one function a keyword ----------------------------------------------------------- */

static bool
is_of_type(Jsonb *value, const char *type)
{
	if (strcmp(type, "integer") == 0)
		return is_kind(value, "number") && number_of(value) == floor(number_of(value));
	return is_kind(value, type);
}

static char *
check_type(Jsonb *rule, Jsonb *schema, Jsonb *value, const char *path)
{
	List *types = doc_elements(rule);
	ListCell *cell;
	JsonbValue scalar;

	if (is_kind(rule, "string"))
	{
		JsonbExtractScalar(&rule->root, &scalar);
		types = list_make1(&scalar);
	}
	foreach (cell, types)
		if (is_of_type(value, doc_value_text(lfirst(cell))))
			return NULL;
	return fault_at(path, "must be of type %s, not %s", doc_to_text(rule), shown(value));
}

static char *
check_enum(Jsonb *rule, Jsonb *schema, Jsonb *value, const char *path)
{
	ListCell *cell;

	foreach (cell, doc_elements(rule))
		if (documents_are_equal(doc_from_value(lfirst(cell)), value))
			return NULL;
	return fault_at(path, "%s is not one of %s", shown(value), doc_to_text(rule));
}

static char *
check_const(Jsonb *rule, Jsonb *schema, Jsonb *value, const char *path)
{
	if (documents_are_equal(rule, value))
		return NULL;
	return fault_at(path, "must be %s, not %s", doc_to_text(rule), shown(value));
}

static char *
check_any_of(Jsonb *rule, Jsonb *schema, Jsonb *value, const char *path)
{
	ListCell *cell;
	char *fault = NULL;

	foreach (cell, doc_elements(rule))
	{
		fault = check_value(doc_from_value(lfirst(cell)), value, path);
		if (fault == NULL)
			return NULL;
	}
	return fault_at(path, "fits none of the alternatives");
}

static char *
check_required(Jsonb *rule, Jsonb *schema, Jsonb *value, const char *path)
{
	ListCell *cell;

	if (!is_kind(value, "object"))
		return NULL;
	foreach (cell, doc_elements(rule))
	{
		char *key = doc_value_text(lfirst(cell));

		if (doc_get(value, key) == NULL)
			return fault_at(path, "key \"%s\" is missing", key);
	}
	return NULL;
}

static char *
check_properties(Jsonb *rule, Jsonb *schema, Jsonb *value, const char *path)
{
	ListCell *cell;

	foreach (cell, doc_keys(rule))
	{
		const char *key = lfirst(cell);
		Jsonb *member = doc_get_doc(value, key);
		char *fault = NULL;

		if (member != NULL)
			fault =
				check_value(doc_get_doc(rule, key), member, psprintf("%s.%s", path, key));
		if (fault != NULL)
			return fault;
	}
	return NULL;
}

/* false, true, or the schema of the keys that "properties" does not name. */
static char *
check_additional(Jsonb *rule, Jsonb *schema, Jsonb *value, const char *path)
{
	Jsonb *properties = doc_get_doc(schema, "properties");
	ListCell *cell;

	foreach (cell, doc_keys(value))
	{
		const char *key = lfirst(cell);
		char *fault;

		if (doc_get(properties, key) != NULL)
			continue;
		if (is_kind(rule, "boolean") && strcmp(doc_to_text(rule), "false") == 0)
			return fault_at(path, "key \"%s\" is not expected",
							strlen(key) > SHOWN_TEXT_LENGTH ? "..." : key);
		fault = check_value(rule, doc_get_doc(value, key), psprintf("%s.%s", path, key));
		if (fault != NULL)
			return fault;
	}
	return NULL;
}

static char *
check_items(Jsonb *rule, Jsonb *schema, Jsonb *value, const char *path)
{
	ListCell *cell;

	foreach (cell, doc_elements(value))
	{
		char *fault = check_value(rule, doc_from_value(lfirst(cell)),
								  psprintf("%s[%d]", path, foreach_current_index(cell)));

		if (fault != NULL)
			return fault;
	}
	return NULL;
}

/* --- limits: keywords that compare one measure with one number -------------------------- */

typedef enum Comparison
{
	AT_LEAST,
	AT_MOST,
	ABOVE,
	BELOW
} Comparison;

typedef struct LimitRule
{
	const char *keyword;
	const char *kind; /* of the values it applies to */
	Comparison comparison;
	const char *words;
} LimitRule;

static const LimitRule limit_rules[] = {
	{"minimum", "number", AT_LEAST, "must be at least"},
	{"maximum", "number", AT_MOST, "must be at most"},
	{"exclusiveMinimum", "number", ABOVE, "must be above"},
	{"exclusiveMaximum", "number", BELOW, "must be below"},
	{"minLength", "string", AT_LEAST, "must be of length at least"},
	{"maxLength", "string", AT_MOST, "must be of length at most"},
	{"minItems", "array", AT_LEAST, "must be of length at least"},
	{"maxItems", "array", AT_MOST, "must be of length at most"},
	{"minProperties", "object", AT_LEAST, "must be of length at least"},
	{"maxProperties", "object", AT_MOST, "must be of length at most"},
};

static double
measure_of(Jsonb *value)
{
	JsonbValue scalar;

	if (!JB_ROOT_IS_SCALAR(value))
		return JB_ROOT_COUNT(value);
	JsonbExtractScalar(&value->root, &scalar);
	if (scalar.type == jbvString)
		return pg_mbstrlen_with_len(scalar.val.string.val, scalar.val.string.len);
	return doc_value_number(&scalar);
}

static bool
comparison_holds(double measure, Comparison comparison, double limit)
{
	switch (comparison)
	{
		case AT_LEAST:
			return measure >= limit;
		case AT_MOST:
			return measure <= limit;
		case ABOVE:
			return measure > limit;
		case BELOW:
			return measure < limit;
	}
	return false;
}

static char *
check_limits(Jsonb *schema, Jsonb *value, const char *path)
{
	for (int i = 0; i < lengthof(limit_rules); i++)
	{
		const LimitRule *rule = &limit_rules[i];
		Jsonb *limit = doc_get_doc(schema, rule->keyword);

		if (limit == NULL || !is_kind(value, rule->kind))
			continue;
		if (!comparison_holds(measure_of(value), rule->comparison, number_of(limit)))
			return fault_at(path, "%s %s, not %s", rule->words, doc_to_text(limit),
							is_kind(value, "number")
								? shown(value)
								: psprintf("%.0f", measure_of(value)));
	}
	return NULL;
}

/* --- the keyword table ---------------------------------------------------------------------- */

/* What a keyword's own value must look like. */
typedef enum RuleShape
{
	SHAPE_ANY,
	SHAPE_TYPE,
	SHAPE_ARRAY,
	SHAPE_NAMES,
	SHAPE_SCHEMA,
	SHAPE_SCHEMA_LIST,
	SHAPE_SCHEMA_MAP
} RuleShape;

typedef struct KeywordRule
{
	const char *keyword;
	RuleShape shape;
	char *(*check)(Jsonb *rule, Jsonb *schema, Jsonb *value, const char *path);
} KeywordRule;

/* In the order of the most telling fault. */
static const KeywordRule keyword_rules[] = {
	{"type", SHAPE_TYPE, check_type},
	{"const", SHAPE_ANY, check_const},
	{"enum", SHAPE_ARRAY, check_enum},
	{"required", SHAPE_NAMES, check_required},
	{"properties", SHAPE_SCHEMA_MAP, check_properties},
	{"additionalProperties", SHAPE_SCHEMA, check_additional},
	{"items", SHAPE_SCHEMA, check_items},
	{"anyOf", SHAPE_SCHEMA_LIST, check_any_of},
};

/* Keywords that restrict a value and that we do not check. */
static const char *const unsupported_keywords[] = {
	"$ref",
	"$dynamicRef",
	"$recursiveRef",
	"allOf",
	"oneOf",
	"not",
	"if",
	"dependencies",
	"contains",
	"dependentRequired",
	"dependentSchemas",
	"patternProperties",
	"propertyNames",
	"prefixItems",
	"unevaluatedProperties",
	"unevaluatedItems",
	"uniqueItems",
	"multipleOf",
	"pattern",
};

static char *
check_value(Jsonb *schema, Jsonb *value, const char *path)
{
	check_stack_depth();
	if (is_kind(schema, "boolean"))
		return strcmp(doc_to_text(schema), "true") == 0
				   ? NULL
				   : fault_at(path, "no value is allowed here");
	for (int i = 0; i < lengthof(keyword_rules); i++)
	{
		Jsonb *rule = doc_get_doc(schema, keyword_rules[i].keyword);
		char *fault = rule ? keyword_rules[i].check(rule, schema, value, path) : NULL;

		if (fault != NULL)
			return fault;
	}
	return check_limits(schema, value, path);
}

/* --- is the schema itself one we can check by? ------------------------------------------------ */

static char *schema_fault(Jsonb *schema, const char *path);

static const char *const type_names[] = {"array",  "boolean", "integer", "null",
										 "number", "object",  "string"};

static bool
is_type_name(const JsonbValue *value)
{
	if (value->type != jbvString)
		return false;
	for (int i = 0; i < lengthof(type_names); i++)
		if (strcmp(doc_value_text(value), type_names[i]) == 0)
			return true;
	return false;
}

static char *
type_fault(Jsonb *rule, const char *path)
{
	List *types = doc_elements(rule);
	ListCell *cell;
	JsonbValue scalar;

	if (JB_ROOT_IS_SCALAR(rule))
	{
		JsonbExtractScalar(&rule->root, &scalar);
		types = list_make1(&scalar);
	}
	if (types == NIL)
		return fault_at(path, "no type is named");
	foreach (cell, types)
		if (!is_type_name(lfirst(cell)))
			return fault_at(path, "%s is no type of JSON schema",
							doc_to_text(doc_from_value(lfirst(cell))));
	return NULL;
}

static char *
names_fault(Jsonb *rule, const char *path)
{
	ListCell *cell;

	if (!is_kind(rule, "array"))
		return fault_at(path, "must be an array of keys");
	foreach (cell, doc_elements(rule))
		if (((JsonbValue *) lfirst(cell))->type != jbvString)
			return fault_at(path, "must be an array of keys");
	return NULL;
}

static char *
list_fault(Jsonb *rule, const char *path)
{
	ListCell *cell;

	if (doc_elements(rule) == NIL)
		return fault_at(path, "must be an array of schemas");
	foreach (cell, doc_elements(rule))
	{
		char *fault = schema_fault(doc_from_value(lfirst(cell)),
								   psprintf("%s[%d]", path, foreach_current_index(cell)));

		if (fault != NULL)
			return fault;
	}
	return NULL;
}

static char *
map_fault(Jsonb *rule, const char *path)
{
	ListCell *cell;

	if (!JB_ROOT_IS_OBJECT(rule))
		return fault_at(path, "must be an object of schemas");
	foreach (cell, doc_keys(rule))
	{
		const char *key = lfirst(cell);
		char *fault = schema_fault(doc_get_doc(rule, key), psprintf("%s.%s", path, key));

		if (fault != NULL)
			return fault;
	}
	return NULL;
}

static char *
shape_fault(RuleShape shape, Jsonb *rule, const char *path)
{
	switch (shape)
	{
		case SHAPE_ANY:
			return NULL;
		case SHAPE_TYPE:
			return type_fault(rule, path);
		case SHAPE_ARRAY:
			return is_kind(rule, "array") ? NULL : fault_at(path, "must be an array");
		case SHAPE_NAMES:
			return names_fault(rule, path);
		case SHAPE_SCHEMA:
			return schema_fault(rule, path);
		case SHAPE_SCHEMA_LIST:
			return list_fault(rule, path);
		case SHAPE_SCHEMA_MAP:
			return map_fault(rule, path);
	}
	return NULL;
}

static char *
limits_fault(Jsonb *schema, const char *path)
{
	for (int i = 0; i < lengthof(limit_rules); i++)
	{
		Jsonb *limit = doc_get_doc(schema, limit_rules[i].keyword);

		if (limit != NULL && !is_kind(limit, "number"))
			return fault_at(psprintf("%s.%s", path, limit_rules[i].keyword),
							"must be a number");
	}
	return NULL;
}

static char *
schema_fault(Jsonb *schema, const char *path)
{
	check_stack_depth();
	if (is_kind(schema, "boolean"))
		return NULL;
	if (!JB_ROOT_IS_OBJECT(schema))
		return fault_at(path, "a schema is an object, not %s", shown(schema));
	for (int i = 0; i < lengthof(unsupported_keywords); i++)
		if (doc_get(schema, unsupported_keywords[i]) != NULL)
			return fault_at(path, "\"%s\" is not supported", unsupported_keywords[i]);
	for (int i = 0; i < lengthof(keyword_rules); i++)
	{
		const KeywordRule *row = &keyword_rules[i];
		Jsonb *rule = doc_get_doc(schema, row->keyword);
		char *fault = NULL;

		if (rule != NULL)
			fault = shape_fault(row->shape, rule, psprintf("%s.%s", path, row->keyword));
		if (fault != NULL)
			return fault;
	}
	return limits_fault(schema, path);
}

char *
llm_schema_error(Jsonb *schema)
{
	return schema_fault(schema, "$");
}

char *
llm_check_schema(Jsonb *schema, Jsonb *value)
{
	char *fault = llm_schema_error(schema);

	if (fault != NULL)
		return psprintf("the schema is not usable, %s", fault);
	return check_value(schema, value, "$");
}
