/*
 * result_text.c
 *		A judgment as text, as record_out() writes it.
 *
 * Most of a judgment's text is its explanation.  record_out() has it written as JSON,
 * copies that, looks through it for what needs quotes and copies it again, a character
 * at a time; here it is written once, with the record's quotes in it.
 */
#include "postgres.h"

#include "fmgr.h"
#include "judgment/judgment_int.h"
#include "judgment/result.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/numeric.h"

/* The text has no end (NUL) before result_write sets it. */
static inline void
put(StringInfo out, const char *text, int length)
{
	if (unlikely(out->len + length >= out->maxlen))
		enlargeStringInfo(out, length);
	memcpy(out->data + out->len, text, length);
	out->len += length;
}

static inline void
put_char(StringInfo out, char c)
{
	put(out, &c, 1);
}

#define PUT(out, literal) put((out), (literal), sizeof(literal) - 1)

/* --- quotes ------------------------------------------------------------------------ */

/* What record_out() puts in quotes; what counts as space is the database's matter. */
static const bool *
quoted_characters(void)
{
	static bool quoted[256];

	if (!quoted['"'])
	{
		for (int c = 0; c < 256; c++)
			quoted[c] = isspace(c);
		quoted['('] = quoted[')'] = quoted[','] = quoted['\\'] = quoted['"'] = true;
	}
	return quoted;
}

static bool
needs_quotes(const char *text, int length)
{
	const bool *quoted = quoted_characters();

	for (int i = 0; i < length; i++)
		if (quoted[(unsigned char) text[i]])
			return true;
	return length == 0;
}

/* A column whose text is ready. */
static void
write_text(StringInfo out, const char *text, int length)
{
	const char *end = text + length;

	if (!needs_quotes(text, length))
	{
		put(out, text, length);
		return;
	}
	put_char(out, '"');
	for (; text < end; text++)
	{
		if (*text == '"' || *text == '\\')
			put_char(out, *text);
		put_char(out, *text);
	}
	put_char(out, '"');
}

/* --- JSON in quotes ------------------------------------------------------------------- */

/* What does not stand for itself in a string. */
static const bool escaped[256] = {[0 ... 31] = true, ['"'] = true, ['\\'] = true};

/* As escape_json() has it, quotes and backslashes doubled. */
static void
write_escaped(StringInfo out, unsigned char c)
{
	static const char *const short_forms[256] = {
		['"'] = "\\\\\"\"", ['\\'] = "\\\\\\\\", ['\b'] = "\\\\b", ['\f'] = "\\\\f",
		['\n'] = "\\\\n",   ['\r'] = "\\\\r",    ['\t'] = "\\\\t"};

	if (short_forms[c] != NULL)
		appendStringInfoString(out, short_forms[c]);
	else
		appendStringInfo(out, "\\\\u%04x", c);
}

static void
write_string(StringInfo out, const char *text, int length)
{
	const char *end = text + length;

	PUT(out, "\"\"");
	while (text < end)
	{
		const char *run = text;

		while (text < end && !escaped[(unsigned char) *text])
			text++;
		put(out, run, text - run);
		if (text < end)
			write_escaped(out, *text++);
	}
	PUT(out, "\"\"");
}

static void write_container(StringInfo out, JsonbContainer *container);

/* The child that ends at that offset and begins at the one before. */
static void
write_child(StringInfo out, JEntry type, char *data, uint32 begin, uint32 end)
{
	if (JBE_ISSTRING(type))
		write_string(out, data + begin, end - begin);
	else if (JBE_ISNUMERIC(type))
		appendStringInfoString(out, DatumGetCString(DirectFunctionCall1(
										numeric_out,
										PointerGetDatum(data + INTALIGN(begin)))));
	else if (JBE_ISCONTAINER(type))
		write_container(out, (JsonbContainer *) (data + INTALIGN(begin)));
	else if (JBE_ISNULL(type))
		PUT(out, "null");
	else if (JBE_ISBOOL_TRUE(type))
		PUT(out, "true");
	else
		PUT(out, "false");
}

static void
write_list(StringInfo out, JsonbContainer *list)
{
	int count = JsonContainerSize(list);
	char *data = (char *) &list->children[count];
	uint32 begin = 0;

	for (int i = 0; i < count; i++)
	{
		JEntry type = list->children[i];
		uint32 end = begin;

		if (i > 0)
			PUT(out, ", ");
		JBE_ADVANCE_OFFSET(end, type);
		write_child(out, type, data, begin, end);
		begin = end;
	}
}

/* Its keys come first, then its values. */
static void
write_object(StringInfo out, JsonbContainer *object)
{
	int count = JsonContainerSize(object);
	char *data = (char *) &object->children[count * 2];
	uint32 key = 0;
	uint32 value = getJsonbOffset(object, count);

	for (int i = 0; i < count; i++)
	{
		JEntry type = object->children[count + i];
		uint32 key_end = key;
		uint32 value_end = value;

		if (i > 0)
			PUT(out, ", ");
		JBE_ADVANCE_OFFSET(key_end, object->children[i]);
		JBE_ADVANCE_OFFSET(value_end, type);
		write_string(out, data + key, key_end - key);
		PUT(out, ": ");
		write_child(out, type, data, value, value_end);
		key = key_end;
		value = value_end;
	}
}

static void
write_container(StringInfo out, JsonbContainer *container)
{
	check_stack_depth();
	if (JsonContainerIsScalar(container))
	{
		write_list(out, container);
		return;
	}
	if (JsonContainerIsObject(container))
	{
		put_char(out, '{');
		write_object(out, container);
		put_char(out, '}');
		return;
	}
	put_char(out, '[');
	write_list(out, container);
	put_char(out, ']');
}

/* In quotes, unless nothing in it asks for them: [], {} and the like. */
static void
write_document(StringInfo out, Jsonb *document)
{
	int quote = out->len;
	int length;

	put_char(out, '"');
	write_container(out, &document->root);
	length = out->len - quote - 1;
	if (needs_quotes(out->data + quote + 1, length))
	{
		put_char(out, '"');
		return;
	}
	memmove(out->data + quote, out->data + quote + 1, length);
	out->len--;
}

/* --- the row ---------------------------------------------------------------------------- */

/* What writes a column: 0 where this file does. */
static const Oid column_writers[J_COLUMNS] = {
	[J_EXECUTION_ID] = F_UUID_OUT,      [J_VERSION] = F_INT4OUT,
	[J_CONFIDENCE] = F_FLOAT8OUT,       [J_MATCHED_RULES] = F_ARRAY_OUT,
	[J_FROM_CACHE] = F_BOOLOUT,         [J_TIME] = F_FLOAT8OUT,
	[J_CREATED_AT] = F_TIMESTAMPTZ_OUT,
};

/* Looked up once a session, for some keep there what they know of their type. */
static FmgrInfo *
column_writer(int column)
{
	static FmgrInfo writers[J_COLUMNS];

	if (writers[column].fn_oid == InvalidOid)
		fmgr_info_cxt(column_writers[column], &writers[column], TopMemoryContext);
	return &writers[column];
}

static void
write_column(StringInfo out, int column, Datum value)
{
	char *written;

	switch (column)
	{
		case J_ACTIONS:
		case J_OUTCOME:
		case J_EXPLANATION:
		case J_COMPONENTS:
			write_document(out, result_document(value));
			return;
		case J_DECISION:
		case J_RESULT:
		case J_STATUS:
		case J_SEVERITY:
		case J_METHOD:
		case J_POLICY:
		case J_DEGRADED:
		{
			text *datum = DatumGetTextPP(value);

			write_text(out, VARDATA_ANY(datum), VARSIZE_ANY_EXHDR(datum));
			return;
		}
		default:
			written = OutputFunctionCall(column_writer(column), value);
			write_text(out, written, strlen(written));
			return;
	}
}

void
result_write(StringInfo out, const Datum *values, const bool *nulls)
{
	put_char(out, '(');
	for (int column = 0; column < J_COLUMNS; column++)
	{
		if (column > 0)
			put_char(out, ',');
		if (!nulls[column])
			write_column(out, column, values[column]);
	}
	put_char(out, ')');
	out->data[out->len] = '\0';
}
