/*
 * buffer.c
 *		Bytes that grow at the end and are taken from the front.
 */
#include "buffer.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"

#define CAPACITY_LEAST 256

char *
buffer_grow(Buffer *buffer, size_t more)
{
	size_t wanted;

	if (__builtin_add_overflow(buffer->length, more, &wanted))
		abort();
	if (buffer->start + wanted > buffer->capacity)
	{
		if (buffer->start > 0 && buffer->length > 0)
			memmove(buffer->memory, buffer->memory + buffer->start, buffer->length);
		buffer->start = 0;
		if (wanted > buffer->capacity)
		{
			size_t capacity = buffer->capacity * 2;

			if (capacity < CAPACITY_LEAST)
				capacity = CAPACITY_LEAST;
			if (capacity < wanted)
				capacity = wanted;
			buffer->memory = memory_resize(buffer->memory, capacity);
			buffer->capacity = capacity;
		}
	}
	return buffer->memory + buffer->start + buffer->length;
}

void
buffer_add_number(Buffer *buffer, long long number)
{
	char digits[24];
	char *at = digits + sizeof(digits);
	unsigned long long left =
		number < 0 ? 0ULL - (unsigned long long) number : (unsigned long long) number;

	if (number >= 0 && number < 10)
	{
		buffer_add_char(buffer, (char) ('0' + number));
		return;
	}
	do
		*--at = (char) ('0' + left % 10);
	while ((left /= 10) > 0);
	if (number < 0)
		*--at = '-';
	buffer_add(buffer, at, digits + sizeof(digits) - at);
}

void
buffer_add_format(Buffer *buffer, const char *format, ...)
{
	va_list arguments;
	int length;

	va_start(arguments, format);
	length = vsnprintf(NULL, 0, format, arguments);
	va_end(arguments);
	va_start(arguments, format);
	vsnprintf(buffer_reserve(buffer, length + 1), length + 1, format, arguments);
	va_end(arguments);
	buffer->length += length;
}

static int
hex_value(char digit)
{
	return digit >= 'a' ? digit - 'a' + 10 : digit - '0';
}

void
buffer_add_hex(Buffer *buffer, const char *hex)
{
	for (; hex[0] && hex[1]; hex += 2)
		buffer_add_char(buffer, (char) (hex_value(hex[0]) << 4 | hex_value(hex[1])));
}

void
buffer_add_identifier(Buffer *buffer, const char *name)
{
	buffer_add_char(buffer, '"');
	for (; *name; name++)
	{
		if (*name == '"')
			buffer_add_char(buffer, '"');
		buffer_add_char(buffer, *name);
	}
	buffer_add_char(buffer, '"');
}

/* Means the same whether standard_conforming_strings is on or off. */
void
buffer_add_literal(Buffer *buffer, const char *text)
{
	if (strchr(text, '\\'))
		buffer_add_text(buffer, " E");
	buffer_add_char(buffer, '\'');
	for (; *text; text++)
	{
		if (*text == '\'' || *text == '\\')
			buffer_add_char(buffer, *text);
		buffer_add_char(buffer, *text);
	}
	buffer_add_char(buffer, '\'');
}

/* Whether one of eight bytes is a control character, a quote or a backslash. */
static bool
has_escaped(uint64_t eight)
{
	const uint64_t ones = UINT64_C(0x0101010101010101);
	uint64_t quotes = eight ^ (ones * '"');
	uint64_t slashes = eight ^ (ones * '\\');

	return (((eight - ones * ' ') & ~eight) | ((quotes - ones) & ~quotes) |
			((slashes - ones) & ~slashes)) &
		   (ones * 0x80);
}

/* How many bytes from here on stand in a JSON string as they are. */
static size_t
plain_in_json(const char *text, const char *end)
{
	const char *at = text;
	uint64_t eight;

	for (; end - at >= 8; at += 8)
	{
		memcpy(&eight, at, 8);
		if (has_escaped(eight))
			break;
	}
	while (at < end && (unsigned char) *at >= ' ' && *at != '"' && *at != '\\')
		at++;
	return at - text;
}

void
buffer_add_json(Buffer *buffer, const char *text)
{
	const char *end;

	if (text == NULL)
	{
		buffer_add(buffer, "null", 4);
		return;
	}
	end = text + strlen(text);
	if (!text_is_utf8(text, end - text))
	{
		text = "(not UTF-8)";
		end = text + strlen(text);
	}
	buffer_add_char(buffer, '"');
	for (;;)
	{
		size_t plain = plain_in_json(text, end);

		buffer_add(buffer, text, plain);
		text += plain;
		if (text == end)
			break;
		if (*text == '"' || *text == '\\')
		{
			buffer_add_char(buffer, '\\');
			buffer_add_char(buffer, *text);
		}
		else
			buffer_add_format(buffer, "\\u%04x", *text);
		text++;
	}
	buffer_add_char(buffer, '"');
}

void
buffer_take(Buffer *buffer, size_t length)
{
	buffer->length -= length;
	buffer->start = buffer->length > 0 ? buffer->start + length : 0;
}

char *
buffer_text(Buffer *buffer)
{
	*buffer_reserve(buffer, 1) = '\0';
	return buffer_bytes(buffer);
}

char *
buffer_detach(Buffer *buffer)
{
	char *text = memory_new(buffer->length + 1);

	memcpy(text, buffer_text(buffer), buffer->length);
	buffer_free(buffer);
	return text;
}

void
buffer_clear(Buffer *buffer, size_t keep)
{
	buffer->start = 0;
	buffer->length = 0;
	if (buffer->capacity > keep)
		buffer_free(buffer);
}

void
buffer_free(Buffer *buffer)
{
	free(buffer->memory);
	memset(buffer, 0, sizeof(*buffer));
}
