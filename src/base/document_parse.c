/*
 * document_parse.c
 *		Reading JSON text quickly, where it is plain.
 *
 * The server's parser makes a token, a call and an allocation of everything.  Here the
 * text is read once, strings are made in place, and what is found is put where it is
 * stored.  Whatever is not plain is left to the server: other encodings, \u, exponents,
 * long numbers, scalars, depth, size, and every fault, for it words them.
 */
#include "postgres.h"

#include "base/document.h"
#include "mb/pg_wchar.h"

#define PLAIN_BYTES (1024 * 1024)
#define PLAIN_LEVELS 64
#define PLAIN_DIGITS 17 /* an int64 has them all */

typedef struct Reader
{
	char *at; /* ends with a NUL, which is no part of any JSON */
	DocBuilder builder;
	int level;
} Reader;

static bool read_value(Reader *r, const char *key);

static void
skip_blanks(Reader *r)
{
	while (*r->at == ' ' || *r->at == '\n' || *r->at == '\t' || *r->at == '\r')
		r->at++;
}

/* Past blanks and that sign, where it stands. */
static bool
take(Reader *r, char sign)
{
	skip_blanks(r);
	if (*r->at != sign)
		return false;
	r->at++;
	return true;
}

/* What stands for itself after a backslash, or for another; 0: nothing plain. */
static char
escaped(char sign)
{
	switch (sign)
	{
		case '"':
		case '\\':
		case '/':
			return sign;
		case 'b':
			return '\b';
		case 'f':
			return '\f';
		case 'n':
			return '\n';
		case 'r':
			return '\r';
		case 't':
			return '\t';
		default:
			return 0;
	}
}

/* From its quote on, in place; NULL where it is not plain. */
static char *
read_string(Reader *r, int *length)
{
	char *begin = ++r->at;
	char *end = begin;

	while (*r->at != '"')
	{
		if ((unsigned char) *r->at < ' ')
			return NULL;
		if (*r->at == '\\')
		{
			*end = escaped(r->at[1]);
			if (*end++ == 0)
				return NULL;
			r->at += 2;
		}
		else
			*end++ = *r->at++;
	}
	r->at++;
	*length = (int) (end - begin);
	*end = '\0';
	return begin;
}

static bool
is_digit(char sign)
{
	return sign >= '0' && sign <= '9';
}

static bool
read_number(Reader *r, const char *key)
{
	bool is_negative = *r->at == '-';
	int64 number = 0;
	int digits = 0, decimals = 0;

	r->at += is_negative;
	if (!is_digit(*r->at) || (r->at[0] == '0' && is_digit(r->at[1])))
		return false;
	for (; is_digit(*r->at) && digits <= PLAIN_DIGITS; digits++)
		number = number * 10 + (*r->at++ - '0');
	if (*r->at == '.')
	{
		for (r->at++; is_digit(*r->at) && digits <= PLAIN_DIGITS; digits++, decimals++)
			number = number * 10 + (*r->at++ - '0');
		if (decimals == 0)
			return false;
	}
	if (digits > PLAIN_DIGITS || *r->at == 'e' || *r->at == 'E' || *r->at == '.')
		return false;
	doc_put_decimal(&r->builder, key, is_negative ? -number : number, decimals);
	return true;
}

static bool
read_word(Reader *r, const char *word)
{
	size_t length = strlen(word);

	if (strncmp(r->at, word, length) != 0)
		return false;
	r->at += length;
	return true;
}

static bool
read_members(Reader *r)
{
	do
	{
		char *key;
		int length;

		skip_blanks(r);
		if (*r->at != '"' || (key = read_string(r, &length)) == NULL || !take(r, ':') ||
			!read_value(r, key))
			return false;
	} while (take(r, ','));
	return take(r, '}');
}

static bool
read_elements(Reader *r)
{
	do
	{
		if (!read_value(r, NULL))
			return false;
	} while (take(r, ','));
	return take(r, ']');
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
	is_read = take(r, is_object ? '}' : ']') ||
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

	skip_blanks(r);
	switch (*r->at)
	{
		case '{':
		case '[':
			return read_container(r, key);
		case '"':
			text = read_string(r, &length);
			if (text != NULL)
				doc_put_text(&r->builder, key, text, length);
			return text != NULL;
		case 't':
			doc_put_bool(&r->builder, key, true);
			return read_word(r, "true");
		case 'f':
			doc_put_bool(&r->builder, key, false);
			return read_word(r, "false");
		case 'n':
			doc_put_null(&r->builder, key);
			return read_word(r, "null");
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
	skip_blanks(&r);
	if ((*r.at == '{' || *r.at == '[') && read_container(&r, NULL))
	{
		skip_blanks(&r);
		if (r.at == copy + length)
			doc = doc_finish(&r.builder);
	}
	pfree(copy);
	return doc;
}
