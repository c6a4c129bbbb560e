/*
 * buffer.h
 *		Bytes that grow at the end and are taken from the front.
 *
 * A Buffer of zeros is an empty one.  It keeps its memory when it is emptied, so that
 * what is built again and again costs no allocation.
 */
#ifndef FACTORYD_BUFFER_H
#define FACTORYD_BUFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

typedef struct Buffer
{
	char *memory;
	size_t start; /* of what is held */
	size_t length;
	size_t capacity;
} Buffer;

static inline char *
buffer_bytes(const Buffer *buffer)
{
	return buffer->memory + buffer->start;
}

/* buffer_reserve() where there is not enough memory. */
extern char *buffer_grow(Buffer *buffer, size_t more);

/* Room for that many more bytes behind the last one, whose place it returns. */
static inline char *
buffer_reserve(Buffer *buffer, size_t more)
{
	if (more > buffer->capacity - buffer->start - buffer->length)
		return buffer_grow(buffer, more);
	return buffer->memory + buffer->start + buffer->length;
}

static inline void
buffer_add(Buffer *buffer, const void *bytes, size_t length)
{
	if (length == 0)
		return;
	memcpy(buffer_reserve(buffer, length), bytes, length);
	buffer->length += length;
}

static inline void
buffer_add_text(Buffer *buffer, const char *text)
{
	buffer_add(buffer, text, strlen(text));
}

static inline void
buffer_add_char(Buffer *buffer, char character)
{
	if (buffer->start + buffer->length == buffer->capacity)
		buffer_grow(buffer, 1);
	buffer->memory[buffer->start + buffer->length++] = character;
}

extern void buffer_add_number(Buffer *buffer, long long number);
extern void buffer_add_format(Buffer *buffer, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* As an SQL identifier or an SQL literal, quotes included. */
extern void buffer_add_hex(Buffer *buffer, const char *hex); /* the bytes it writes */
extern void buffer_add_identifier(Buffer *buffer, const char *name);
extern void buffer_add_literal(Buffer *buffer, const char *text);

/* As a JSON string, or null.  What is not UTF-8 becomes "(not UTF-8)". */
extern void buffer_add_json(Buffer *buffer, const char *text);

/* Takes bytes off the front. */
extern void buffer_take(Buffer *buffer, size_t length);

/* The text so far, ended by a zero byte that does not count; never NULL. */
extern char *buffer_text(Buffer *buffer);

/* The text as the caller's own; the buffer is empty afterwards. */
extern char *buffer_detach(Buffer *buffer);

/* Empties it; gives memory beyond keep back. */
extern void buffer_clear(Buffer *buffer, size_t keep);
extern void buffer_free(Buffer *buffer);

#endif /* FACTORYD_BUFFER_H */
