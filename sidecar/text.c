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
#include <time.h>

#include "log.h"

#define SMALL_BLOCK 1024

static void
die_without_memory(size_t size)
{
	log_error("out of memory: %zu bytes were not to be had", size);
	abort();
}

void *
memory_new(size_t size)
{
	/* What is small is kept for the next by malloc(), but not by calloc(). */
	void *block = size <= SMALL_BLOCK ? malloc(size) : calloc(1, size);

	if (block == NULL)
		die_without_memory(size);
	return size <= SMALL_BLOCK ? memset(block, 0, size) : block;
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

/* xoshiro256**, each thread its own, seeded by the system. */
static uint64_t
next_random(void)
{
	static __thread uint64_t state[4];
	uint64_t result;
	uint64_t shifted;

	if (!(state[0] | state[1] | state[2] | state[3]))
		evutil_secure_rng_get_bytes(state, sizeof(state));
	result = state[1] * 5;
	result = ((result << 7) | (result >> 57)) * 9;
	shifted = state[1] << 17;
	state[2] ^= state[0];
	state[3] ^= state[1];
	state[1] ^= state[2];
	state[0] ^= state[3];
	state[2] ^= shifted;
	state[3] = (state[3] << 45) | (state[3] >> 19);
	return result;
}

/* Four bits of each byte as a hexadecimal digit, eight at a time. */
static uint64_t
digits_of(uint64_t bits)
{
	const uint64_t ones = UINT64_C(0x0101010101010101);
	uint64_t values = bits & (ones * 15);
	uint64_t letters = ((values + ones * 6) >> 4) & ones; /* those of ten and more */

	return values + ones * '0' + letters * ('a' - '0' - 10);
}

void
text_unique_hex(char *target)
{
	for (int i = 0; i < TEXT_UNIQUE_LENGTH; i += 16)
	{
		uint64_t bits = next_random();
		uint64_t digits[2] = {digits_of(bits), digits_of(bits >> 4)};

		memcpy(target + i, digits, sizeof(digits));
	}
	target[TEXT_UNIQUE_LENGTH] = '\0';
}

/* How many bytes from here on are ASCII and none is zero. */
static size_t
plain_length(const unsigned char *at, size_t length)
{
	size_t plain = 0;
	uint64_t eight;

	for (; plain + 8 <= length; plain += 8)
	{
		memcpy(&eight, at + plain, 8);
		if ((eight | (eight - UINT64_C(0x0101010101010101))) &
			UINT64_C(0x8080808080808080))
			break;
	}
	while (plain < length && at[plain] > 0 && at[plain] < 0x80)
		plain++;
	return plain;
}

bool
text_is_utf8(const char *text, size_t length)
{
	const unsigned char *at = (const unsigned char *) text;
	const unsigned char *end = at + length;

	while (at < end)
	{
		unsigned int code;
		int more;
		unsigned int least;

		at += plain_length(at, end - at);
		if (at == end)
			break;
		code = *at++;
		if (code >= 0xc2 && code <= 0xdf)
			more = 1, least = 0x80, code &= 0x1f;
		else if (code >= 0xe0 && code <= 0xef)
			more = 2, least = 0x800, code &= 0x0f;
		else if (code >= 0xf0 && code <= 0xf4)
			more = 3, least = 0x10000, code &= 0x07;
		else
			return false;
		for (; more > 0; more--)
		{
			if (at == end || (*at & 0xc0) != 0x80)
				return false;
			code = (code << 6) | (*at++ & 0x3f);
		}
		if (code < least || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
			return false;
	}
	return true;
}

long long
text_clock_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

uint64_t
text_clock_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * UINT64_C(1000000) + now.tv_nsec / 1000;
}

uint64_t
text_hash(const char *text)
{
	const uint64_t prime = UINT64_C(1099511628211);
	uint64_t hash = UINT64_C(14695981039346656037);
	size_t length = strlen(text);
	uint64_t eight;

	for (; length >= 8; text += 8, length -= 8)
	{
		memcpy(&eight, text, 8);
		hash = (hash ^ eight) * prime;
		hash ^= hash >> 32;
	}
	for (; length > 0; text++, length--)
		hash = (hash ^ (unsigned char) *text) * prime;
	return hash;
}
