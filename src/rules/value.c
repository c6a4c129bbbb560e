/*
 * value.c
 *		Values of the types that inputs declare: from JSON, and to text.
 */
#include "postgres.h"

#include <float.h>

#include "base/attempt.h"
#include "base/number.h"
#include "catalog/pg_type.h"
#include "parser/parse_type.h"
#include "rules/rules_int.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"

static InputForm
form_of_type(Oid type)
{
	if (OidIsValid(get_element_type(type)))
		return FORM_ARRAY;
	switch (type)
	{
		case INT2OID:
		case INT4OID:
		case INT8OID:
		case FLOAT4OID:
		case FLOAT8OID:
		case NUMERICOID:
			return FORM_NUMBER;
		case BOOLOID:
			return FORM_BOOLEAN;
		case JSONOID:
		case JSONBOID:
			return FORM_DOCUMENT;
		default:
			return FORM_TEXT;
	}
}

void
value_type_init(Oid type, int32 typmod, ValueType *result)
{
	Oid in, out, base = getBaseType(type);
	bool is_varlena;

	memset(result, 0, sizeof(*result));
	result->type = type;
	result->typmod = typmod;
	result->collation = get_typcollation(type);
	get_typlenbyvalalign(type, &result->length, &result->by_value, &result->align);
	getTypeInputInfo(type, &in, &result->in_param);
	fmgr_info_cxt(in, &result->in, CurrentMemoryContext);
	getTypeOutputInfo(type, &out, &is_varlena);
	fmgr_info_cxt(out, &result->out, CurrentMemoryContext);
	result->form = form_of_type(base);
	result->number_type = base;
	if (result->form == FORM_ARRAY)
	{
		result->element = palloc(sizeof(ValueType));
		value_type_init(get_element_type(base), typmod, result->element);
	}
}

typedef struct TypeAttempt
{
	const char *name;
	Oid type;
	int32 typmod;
} TypeAttempt;

static void
type_body(void *argument)
{
	TypeAttempt *wanted = argument;

	compat_parse_type_string(wanted->name, &wanted->type, &wanted->typmod);
}

bool
value_type_resolve(const char *name, ValueType *result, char **why)
{
	TypeAttempt wanted = {.name = name};
	ErrorData *error = attempt(type_body, &wanted);
	char kind;

	if (error != NULL)
	{
		*why = error->message;
		return false;
	}
	kind = get_typtype(wanted.type);
	if (kind == TYPTYPE_PSEUDO || kind == TYPTYPE_COMPOSITE)
	{
		*why = psprintf("type \"%s\" cannot be an input", name);
		return false;
	}
	value_type_init(wanted.type, wanted.typmod, result);
	return true;
}

/* "number 7.5", "string \"abc\"": what came, as errors say it. */
static char *
received(const JsonbValue *json)
{
	switch (json->type)
	{
		case jbvNull:
			return pstrdup("null");
		case jbvString:
			/* A long text is not repeated: the field's name says where it is. */
			if (json->val.string.len > 40)
				return psprintf("a string of %d bytes", json->val.string.len);
			return psprintf("string \"%.*s\"", json->val.string.len,
							json->val.string.val);
		case jbvNumeric:
		case jbvBool:
			return psprintf("%s %s", doc_value_kind(json), doc_value_text(json));
		default:
			return psprintf("an %s", doc_value_kind(json));
	}
}

static char *
mismatch(const ValueType *type, const JsonbValue *json)
{
	return psprintf("expected %s, received %s",
					format_type_with_typemod(type->type, type->typmod), received(json));
}

/* An integer of the given range from JSON's number; false where it is none. */
static bool
integer_from_numeric(Numeric number, int64 min, int64 max, int64 *result)
{
	return number_to_int64(NumericGetDatum(number), result) && *result >= min &&
		   *result <= max;
}

static Datum
number_from_json(const ValueType *type, const JsonbValue *json, char **why)
{
	Numeric number = json->val.numeric;
	int64 integer;
	double real;

	switch (type->number_type)
	{
		case INT2OID:
			if (integer_from_numeric(number, PG_INT16_MIN, PG_INT16_MAX, &integer))
				return Int16GetDatum((int16) integer);
			break;
		case INT4OID:
			if (integer_from_numeric(number, PG_INT32_MIN, PG_INT32_MAX, &integer))
				return Int32GetDatum((int32) integer);
			break;
		case INT8OID:
			if (integer_from_numeric(number, PG_INT64_MIN, PG_INT64_MAX, &integer))
				return Int64GetDatum(integer);
			break;
		case FLOAT4OID:
			real = doc_value_number(json);
			if (real >= -FLT_MAX && real <= FLT_MAX)
				return Float4GetDatum((float4) real);
			break;
		case FLOAT8OID:
			return Float8GetDatum(doc_value_number(json));
		default:
			if (type->typmod < 0)
				return NumericGetDatum(number);
			return DirectFunctionCall2(numeric, NumericGetDatum(number),
									   Int32GetDatum(type->typmod));
	}
	*why = mismatch(type, json);
	return (Datum) 0;
}

typedef struct InputAttempt
{
	FmgrInfo *in;
	char *text;
	Oid param;
	int32 typmod;
	Datum value;
} InputAttempt;

static void
input_body(void *argument)
{
	InputAttempt *input = argument;

	input->value = InputFunctionCall(input->in, input->text, input->param, input->typmod);
}

/*
 * The type's input function may raise: that is this field's problem, not the
 * caller's end.
 */
static Datum
text_from_json(const ValueType *type, const JsonbValue *json, char **why)
{
	InputAttempt input = {
		.in = unconstify(FmgrInfo *, &type->in),
		.param = type->in_param,
		.typmod = type->typmod,
	};
	ErrorData *error;

	if (type->type == TEXTOID || (type->type == VARCHAROID && type->typmod < 0))
		return PointerGetDatum(
			cstring_to_text_with_len(json->val.string.val, json->val.string.len));
	input.text = pnstrdup(json->val.string.val, json->val.string.len);
	error = attempt(input_body, &input);
	if (error != NULL)
		*why = psprintf("%s (%s)", mismatch(type, json), error->message);
	return input.value;
}

static Datum
array_from_json(const ValueType *type, const JsonbValue *json, char **why)
{
	const ValueType *element = type->element;
	List *members = doc_elements(doc_from_value(json));
	int count = list_length(members);
	Datum *values = palloc(sizeof(Datum) * Max(count, 1));
	bool *nulls = palloc(sizeof(bool) * Max(count, 1));
	int dims[1] = {count}, bounds[1] = {1};
	ListCell *cell;

	if (count == 0)
		return PointerGetDatum(construct_empty_array(element->type));
	foreach (cell, members)
	{
		int i = foreach_current_index(cell);

		values[i] = value_from_json(element, (JsonbValue *) lfirst(cell), &nulls[i], why);
		if (*why != NULL)
		{
			*why = psprintf("element %d: %s", i, *why);
			return (Datum) 0;
		}
	}
	return PointerGetDatum(construct_md_array(values, nulls, 1, dims, bounds,
											  element->type, element->length,
											  element->by_value, element->align));
}

Datum
value_from_json(const ValueType *type, const JsonbValue *json, bool *isnull, char **why)
{
	bool is_array =
		json->type == jbvBinary && JsonContainerIsArray(json->val.binary.data);

	*why = NULL;
	*isnull = json->type == jbvNull && type->form != FORM_DOCUMENT;
	if (*isnull)
		return (Datum) 0;
	if (type->form == FORM_NUMBER && json->type == jbvNumeric)
		return number_from_json(type, json, why);
	if (type->form == FORM_BOOLEAN && json->type == jbvBool)
		return BoolGetDatum(json->val.boolean);
	if (type->form == FORM_TEXT && json->type == jbvString)
		return text_from_json(type, json, why);
	if (type->form == FORM_ARRAY && is_array)
		return array_from_json(type, json, why);
	if (type->form == FORM_DOCUMENT)
	{
		Jsonb *doc = doc_from_value(json);

		if (getBaseType(type->type) == JSONBOID)
			return JsonbPGetDatum(doc);
		return CStringGetTextDatum(doc_to_text(doc));
	}
	*why = mismatch(type, json);
	return (Datum) 0;
}

char *
value_to_text(const ValueType *type, Datum value)
{
	return OutputFunctionCall(unconstify(FmgrInfo *, &type->out), value);
}
