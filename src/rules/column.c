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

static const ValueType *
column_type(const Decision *decision, int attno)
{
	return attno <= decision->input_count ? &decision->inputs[attno - 1].value
										  : &DECISION_LET_OF_ATTNO(decision, attno)->type;
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
put_column(DocBuilder *b, const Decision *decision, int attno)
{
	const char *name = decision_column_name(decision, attno);

	if (decision->slot->tts_isnull[attno - 1])
		doc_put_null(b, name);
	else
		value_put(b, name, column_type(decision, attno),
				  decision->slot->tts_values[attno - 1]);
}

/* The columns of a document of values, in the order in which it is stored. */
typedef struct ValuesShape
{
	DocShape shape;
	const char **names;
	int *attnos;
} ValuesShape;

static void
add_column(ValuesShape *shape, int count, int attno, const char *name)
{
	int i = count;

	for (; i > 0 && doc_compare_keys(name, shape->names[i - 1]) < 0; i--)
	{
		shape->names[i] = shape->names[i - 1];
		shape->attnos[i] = shape->attnos[i - 1];
	}
	shape->names[i] = name;
	shape->attnos[i] = attno;
}

static const ValuesShape *
values_shape(Decision *decision, bool with_lets)
{
	ValuesShape *shape = decision->values_shapes[with_lets];
	int most = decision->input_count + decision->let_count, count = 0;
	MemoryContext caller;

	if (shape != NULL)
		return shape;
	caller = MemoryContextSwitchTo(decision->context);
	shape = palloc(sizeof(ValuesShape));
	shape->names = palloc(sizeof(char *) * (most + 1));
	shape->attnos = palloc(sizeof(int) * (most + 1));
	for (int i = 0; i < decision->input_count; i++)
		add_column(shape, count++, DECISION_INPUT_ATTNO(i), decision->inputs[i].name);
	for (int i = 0; with_lets && i < decision->let_count; i++)
		add_column(shape, count++, DECISION_LET_ATTNO(decision, i),
				   decision->lets[i].name);
	doc_shape(&shape->shape, decision->context, shape->names, count);
	MemoryContextSwitchTo(caller);
	return decision->values_shapes[with_lets] = shape;
}

void
decision_put_values(DocBuilder *b, const char *name, Decision *decision, bool with_lets)
{
	const ValuesShape *shape = values_shape(decision, with_lets);

	doc_begin_shaped(b, name, &shape->shape);
	for (int i = 0; i < shape->shape.count; i++)
		put_column(b, decision, shape->attnos[i]);
	doc_end_shaped(b);
}

Jsonb *
decision_values(Decision *decision, bool with_lets)
{
	DocBuilder b;

	doc_build(&b);
	decision_put_values(&b, NULL, decision, with_lets);
	return doc_finish(&b);
}

/* Six digits are enough for people: 0.0198020 rather than 0.019801980198019802. */
static DocText
short_number(double value, char *room)
{
	bool exact;

	return (DocText){room, number_to_text(value, 6, room, &exact)};
}

static DocText
whole_number(int64 value, char *room)
{
	StaticAssertStmt(NUMBER_TEXT_ROOM > MAXINT8LEN, "a bigint must fit");
	return (DocText){room, pg_lltoa(value, room)};
}

/* Numbers are written into the room. */
static DocText
value_text(const ValueType *type, Datum value, char *room)
{
	text *words;
	char *printed;

	switch (type->number_type)
	{
		case INT2OID:
			return whole_number(DatumGetInt16(value), room);
		case INT4OID:
			return whole_number(DatumGetInt32(value), room);
		case FLOAT4OID:
			return short_number(DatumGetFloat4(value), room);
		case FLOAT8OID:
			return short_number(DatumGetFloat8(value), room);
		case TEXTOID:
		case VARCHAROID:
			words = DatumGetTextPP(value);
			return (DocText){VARDATA_ANY(words), VARSIZE_ANY_EXHDR(words)};
		default:
			printed = value_to_text(type, value);
			return (DocText){printed, (int) strlen(printed)};
	}
}

static DocText
column_text(const Decision *decision, int attno, char *room)
{
	if (decision->slot->tts_isnull[attno - 1])
		return (DocText){"NULL", 4};
	return value_text(column_type(decision, attno), decision->slot->tts_values[attno - 1],
					  room);
}

void
column_texts_begin(ColumnTexts *texts, const Decision *decision)
{
	int count = DECISION_COLUMN_COUNT(decision);

	texts->decision = decision;
	texts->of = palloc(count * (sizeof(DocText) + NUMBER_TEXT_ROOM));
	texts->room = (char *) (texts->of + count);
	memset(texts->of, 0, sizeof(DocText) * count);
}

DocText
column_texts_get(ColumnTexts *texts, int attno)
{
	DocText *kept = &texts->of[attno - 1];

	if (kept->data == NULL)
		*kept = column_text(texts->decision, attno,
							texts->room + (Size) NUMBER_TEXT_ROOM * (attno - 1));
	return *kept;
}

void
append_doc_text(StringInfo words, DocText text)
{
	appendBinaryStringInfo(words, text.data, text.length);
}

char *
explanation_render(Decision *decision, const char *template_text)
{
	char room[NUMBER_TEXT_ROOM];
	StringInfoData text;
	const char *at = template_text;
	const char *open, *close;

	initStringInfo(&text);
	while ((open = strchr(at, '{')) != NULL && (close = strchr(open, '}')) != NULL)
	{
		int attno = decision_column(decision, pnstrdup(open + 1, close - open - 1));

		appendBinaryStringInfo(&text, at, open - at);
		if (attno > 0)
			append_doc_text(&text, column_text(decision, attno, room));
		else
			appendBinaryStringInfo(&text, open, close - open + 1);
		at = close + 1;
	}
	appendStringInfoString(&text, at);
	return text.data;
}
