/*
 * text.c
 *		Small things about strings that several files need.
 */
#include "text.h"

#include <event2/util.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"

static void
die_without_memory(size_t size)
{
	log_error("out of memory: %zu bytes were not to be had", size);
	abort();
}

void *
memory_new(size_t size)
{
	void *block = calloc(1, size);

	if (block == NULL)
		die_without_memory(size);
	return block;
}

void *
memory_resize(void *block, size_t size)
{
	void *larger = realloc(block, size);

	if (larger == NULL)
		die_without_memory(size);
	return larger;
}

char *
text_copy(const char *text)
{
	size_t size = strlen(text) + 1;

	return memcpy(memory_new(size), text, size);
}

char *
text_format(const char *format, ...)
{
	va_list arguments;
	char *text;
	int length;

	va_start(arguments, format);
	length = vasprintf(&text, format, arguments);
	va_end(arguments);
	if (length < 0)
		die_without_memory(strlen(format));
	return text;
}

char *
text_quote_identifier(const char *name)
{
	char *quoted = memory_new(2 * strlen(name) + 3);
	char *end = quoted;

	*end++ = '"';
	for (; *name; name++)
	{
		if (*name == '"')
			*end++ = '"';
		*end++ = *name;
	}
	*end++ = '"';
	return quoted;
}

int
text_distance(const char *from, const char *to)
{
	size_t width = strlen(to);
	int row[LONGEST_NAME + 1];

	if (width > LONGEST_NAME || strlen(from) > LONGEST_NAME)
		return LONGEST_NAME;
	for (size_t j = 0; j <= width; j++)
		row[j] = (int) j;
	for (size_t i = 0; from[i]; i++)
	{
		int diagonal = row[0];

		row[0] = (int) i + 1;
		for (size_t j = 0; j < width; j++)
		{
			int best = diagonal + (from[i] != to[j]);

			diagonal = row[j + 1];
			if (row[j] + 1 < best)
				best = row[j] + 1;
			if (diagonal + 1 < best)
				best = diagonal + 1;
			row[j + 1] = best;
		}
	}
	return row[width];
}

bool
text_is_near(const char *given, const char *meant, int distance)
{
	size_t given_length = strlen(given);
	size_t meant_length = strlen(meant);
	size_t longer = given_length > meant_length ? given_length : meant_length;

	return (size_t) distance * 2 <= longer;
}

void
text_random_hex(char *target, size_t length)
{
	static const char digits[] = "0123456789abcdef";
	unsigned char bytes[32];

	for (size_t i = 0; i < length; i++)
	{
		if (i % sizeof(bytes) == 0)
			evutil_secure_rng_get_bytes(bytes, sizeof(bytes));
		target[i] = digits[bytes[i % sizeof(bytes)] & 15];
	}
	target[length] = '\0';
}

uint64_t
text_hash(const char *text)
{
	uint64_t hash = UINT64_C(14695981039346656037);

	for (; *text; text++)
		hash = (hash ^ (unsigned char) *text) * UINT64_C(1099511628211);
	return hash;
}
