/*
 * column.c
 *		A decision's columns by name, and what is in them as texts and documents.
 */
#include "postgres.h"

#include "base/number.h"
#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "rules/rules_int.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/json.h"
#include "utils/numeric.h"

/* --- by name ----------------------------------------------------------------------- */

int
decision_column(const Decision *decision, const char *name)
{
	for (int i = 0; i < decision->input_count; i++)
		if (strcmp(decision->inputs[i].name, name) == 0)
			return DECISION_INPUT_ATTNO(i);
	for (int i = 0; i < decision->let_count; i++)
		if (strcmp(decision->lets[i].name, name) == 0)
			return DECISION_LET_ATTNO(decision, i);
	return 0;
}

const char *
decision_column_name(const Decision *decision, int attno)
{
	return attno <= decision->input_count ? decision->inputs[attno - 1].name
										  : DECISION_LET_OF_ATTNO(decision, attno)->name;
}

/* --- as texts and documents ------------------------------------------------------- */

void
value_put(DocBuilder *b, const char *name, const ValueType *type, Datum value)
{
	JsonbValue number = {.type = jbvNumeric};
	char moment[MAXDATELEN + 1];
	text *words;

	switch (type->number_type)
	{
		case INT2OID:
			doc_put_int(b, name, DatumGetInt16(value));
			break;
		case INT4OID:
			doc_put_int(b, name, DatumGetInt32(value));
			break;
		case INT8OID:
			doc_put_int(b, name, DatumGetInt64(value));
			break;
		case FLOAT4OID:
			doc_put_number(b, name, DatumGetFloat4(value));
			break;
		case FLOAT8OID:
			doc_put_number(b, name, DatumGetFloat8(value));
			break;
		case NUMERICOID:
			number.val.numeric = DatumGetNumeric(value);
			if (numeric_is_nan(number.val.numeric) || numeric_is_inf(number.val.numeric))
				doc_put_null(b, name);
			else
				doc_put_value(b, name, &number);
			break;
		case BOOLOID:
			doc_put_bool(b, name, DatumGetBool(value));
			break;
		case JSONBOID:
			doc_put_doc(b, name, DatumGetJsonbP(value));
			break;
		case TEXTOID:
		case VARCHAROID:
			words = DatumGetTextPP(value);
			doc_put_text(b, name, VARDATA_ANY(words), VARSIZE_ANY_EXHDR(words));
			break;
		case DATEOID:
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
			/* Whatever the session's date style is. */
			JsonEncodeDateTime(moment, value, type->number_type, NULL);
			doc_put_string(b, name, moment);
			break;
		default:
			doc_put_string(b, name, value_to_text(type, value));
			break;
	}
}

static void
put_column(DocBuilder *b, const Decision *decision, int attno, const ValueType *type)
{
	const char *name = decision_column_name(decision, attno);

	if (decision->slot->tts_isnull[attno - 1])
		doc_put_null(b, name);
	else
		value_put(b, name, type, decision->slot->tts_values[attno - 1]);
}

Jsonb *
decision_values(Decision *decision, bool with_lets)
{
	DocBuilder b;

	doc_build(&b);
	doc_begin_object(&b, NULL);
	for (int i = 0; i < decision->input_count; i++)
		put_column(&b, decision, DECISION_INPUT_ATTNO(i), &decision->inputs[i].value);
	for (int i = 0; with_lets && i < decision->let_count; i++)
		put_column(&b, decision, DECISION_LET_ATTNO(decision, i),
				   &decision->lets[i].type);
	doc_end_object(&b);
	return doc_finish(&b);
}

/* Six digits are enough for people: 0.0198020 rather than 0.019801980198019802. */
static char *
short_number(double value)
{
	char *text = palloc(NUMBER_TEXT_ROOM);

	(void) number_to_text(value, 6, text);
	return text;
}

char *
decision_column_text(const Decision *decision, int attno)
{
	const ValueType *type = attno <= decision->input_count
								? &decision->inputs[attno - 1].value
								: &DECISION_LET_OF_ATTNO(decision, attno)->type;
	Datum value = decision->slot->tts_values[attno - 1];

	if (decision->slot->tts_isnull[attno - 1])
		return "NULL";
	if (type->number_type == FLOAT8OID)
		return short_number(DatumGetFloat8(value));
	if (type->number_type == FLOAT4OID)
		return short_number(DatumGetFloat4(value));
	return value_to_text(type, value);
}

char *
explanation_render(Decision *decision, const char *template_text)
{
	StringInfoData text;
	const char *at = template_text;
	const char *open, *close;

	initStringInfo(&text);
	while ((open = strchr(at, '{')) != NULL && (close = strchr(open, '}')) != NULL)
	{
		int attno = decision_column(decision, pnstrdup(open + 1, close - open - 1));

		appendBinaryStringInfo(&text, at, open - at);
		if (attno > 0)
			appendStringInfoString(&text, decision_column_text(decision, attno));
		else
			appendBinaryStringInfo(&text, open, close - open + 1);
		at = close + 1;
	}
	appendStringInfoString(&text, at);
	return text.data;
}
