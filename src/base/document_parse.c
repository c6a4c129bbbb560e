/*
 * document_parse.c
 *		Reading JSON text quickly, where it is plain.
 *
 * The server's parser makes a token, a call and an allocation of everything.  Here the
 * text is read once, strings are made in place, and what is found is put where it is
 * stored.  Whatever is not plain (document_text.h) is left to the server.
 */
#include "postgres.h"

#include "base/document.h"
#include "base/document_text.h"
#include "mb/pg_wchar.h"

typedef struct Reader
{
	char *at;
	DocBuilder builder;
	int level;
} Reader;

static bool read_value(Reader *r, const char *key);

static bool
read_number(Reader *r, const char *key)
{
	int64 number;
	int decimals;

	if (!plain_number(&r->at, &number, &decimals))
		return false;
	doc_put_decimal(&r->builder, key, number, decimals);
	return true;
}

static bool
read_members(Reader *r)
{
	do
	{
		char *key;
		int length;

		plain_skip_blanks(&r->at);
		if (*r->at != '"' || (key = plain_string(&r->at, &length)) == NULL ||
			!plain_take(&r->at, ':') || !read_value(r, key))
			return false;
	} while (plain_take(&r->at, ','));
	return plain_take(&r->at, '}');
}

static bool
read_elements(Reader *r)
{
	do
	{
		if (!read_value(r, NULL))
			return false;
	} while (plain_take(&r->at, ','));
	return plain_take(&r->at, ']');
}

static bool
read_container(Reader *r, const char *key)
{
	bool is_object = *r->at++ == '{';
	bool is_read;

	if (r->level++ == PLAIN_LEVELS)
		return false;
	if (is_object)
		doc_begin_object(&r->builder, key);
	else
		doc_begin_array(&r->builder, key);
	is_read = plain_take(&r->at, is_object ? '}' : ']') ||
			  (is_object ? read_members(r) : read_elements(r));
	if (!is_read)
		return false;
	if (is_object)
		doc_end_object(&r->builder);
	else
		doc_end_array(&r->builder);
	r->level--;
	return true;
}

static bool
read_value(Reader *r, const char *key)
{
	char *text;
	int length;

	plain_skip_blanks(&r->at);
	switch (*r->at)
	{
		case '{':
		case '[':
			return read_container(r, key);
		case '"':
			text = plain_string(&r->at, &length);
			if (text != NULL)
				doc_put_text(&r->builder, key, text, length);
			return text != NULL;
		case 't':
			doc_put_bool(&r->builder, key, true);
			return plain_word(&r->at, "true");
		case 'f':
			doc_put_bool(&r->builder, key, false);
			return plain_word(&r->at, "false");
		case 'n':
			doc_put_null(&r->builder, key);
			return plain_word(&r->at, "null");
		default:
			return read_number(r, key);
	}
}

Jsonb *
doc_parse_plain(const char *text, int length)
{
	Reader r = {.level = 0};
	Jsonb *doc = NULL;
	char *copy;

	if (length > PLAIN_BYTES || GetDatabaseEncoding() != PG_UTF8)
		return NULL;
	copy = r.at = palloc(length + 1);
	memcpy(copy, text, length);
	copy[length] = '\0';
	doc_build(&r.builder);
	plain_skip_blanks(&r.at);
	if ((*r.at == '{' || *r.at == '[') && read_container(&r, NULL))
	{
		plain_skip_blanks(&r.at);
		if (r.at == copy + length)
			doc = doc_finish(&r.builder);
	}
	pfree(copy);
	return doc;
}
