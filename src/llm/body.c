/*
 * body.c
 *		The JSON text of a request, written in the order in which it is put.
 */
#include "postgres.h"

#include <math.h>

#include "base/document_text.h"
#include "common/shortest_dec.h"
#include "llm/llm_int.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/jsonb.h"

void
body_begin(LlmBody *b)
{
	initStringInfo(&b->text);
	b->is_first = true;
}

static bool
is_plain(const char *text, size_t length)
{
	const char *end = text + length;

	/* Its NUL is special, too. */
	while (!plain_special[(unsigned char) *text])
		text++;
	return text == end;
}

static void
put_quoted(LlmBody *b, const char *text)
{
	size_t length = strlen(text);

	if (!is_plain(text, length))
	{
		escape_json(&b->text, text);
		return;
	}
	appendStringInfoCharMacro(&b->text, '"');
	appendBinaryStringInfo(&b->text, text, length);
	appendStringInfoCharMacro(&b->text, '"');
}

/* Whatever comes before a value: in a list the key is NULL. */
static void
put_key(LlmBody *b, const char *key)
{
	if (!b->is_first)
		appendStringInfoCharMacro(&b->text, ',');
	b->is_first = false;
	if (key == NULL)
		return;
	put_quoted(b, key);
	appendStringInfoCharMacro(&b->text, ':');
}

static void
begin_container(LlmBody *b, const char *key, char sign)
{
	put_key(b, key);
	appendStringInfoCharMacro(&b->text, sign);
	b->is_first = true;
}

static void
end_container(LlmBody *b, char sign)
{
	appendStringInfoCharMacro(&b->text, sign);
	b->is_first = false;
}

void
body_begin_object(LlmBody *b, const char *key)
{
	begin_container(b, key, '{');
}

void
body_end_object(LlmBody *b)
{
	end_container(b, '}');
}

void
body_begin_list(LlmBody *b, const char *key)
{
	begin_container(b, key, '[');
}

void
body_end_list(LlmBody *b)
{
	end_container(b, ']');
}

void
body_put_string(LlmBody *b, const char *key, const char *text)
{
	put_key(b, key);
	put_quoted(b, text);
}

void
body_put_number(LlmBody *b, const char *key, double number)
{
	char text[DOUBLE_SHORTEST_DECIMAL_LEN];

	Assert(!isnan(number) && !isinf(number));
	put_key(b, key);
	appendBinaryStringInfo(&b->text, text, double_to_shortest_decimal_buf(number, text));
}

void
body_put_int(LlmBody *b, const char *key, int number)
{
	put_key(b, key);
	appendStringInfo(&b->text, "%d", number);
}

void
body_put_doc(LlmBody *b, const char *key, Jsonb *doc)
{
	put_key(b, key);
	(void) JsonbToCString(&b->text, &doc->root, VARSIZE(doc));
}
