/*
 * http_parse.h
 *		A request's head, from bytes to names and values.
 *
 * Pure: no sockets, no clock, no memory but what it is given.
 */
#ifndef FACTORYD_HTTP_PARSE_H
#define FACTORYD_HTTP_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define HTTP_HEADERS_MOST 100

typedef struct HttpHeader
{
	char *name; /* lower case */
	char *value;
	size_t name_length;
} HttpHeader;

typedef enum HttpBodyKind
{
	HTTP_BODY_NONE,
	HTTP_BODY_LENGTH,
	HTTP_BODY_CHUNKED
} HttpBodyKind;

/* All text points into the head that was parsed. */
typedef struct HttpHead
{
	char *method;
	char *path;  /* as sent: not decoded */
	char *query; /* after the question mark; NULL where there is none */
	int minor;   /* of HTTP/1.x */
	bool keep_alive;
	bool expects_continue;
	HttpBodyKind body;
	uint64_t body_length;
	HttpHeader headers[HTTP_HEADERS_MOST];
	int header_count;
	uint64_t names; /* a bit for each of the headers' names; some share one */
} HttpHead;

/*
 * Parses a head of that many bytes, its closing empty line included; cuts it into
 * strings in place.  Returns 0, or the status to refuse it with and the reason.
 */
extern int http_parse_head(char *text, size_t length, HttpHead *head, const char **why);

static inline uint64_t
http_name_bit(const char *name, size_t length)
{
	return UINT64_C(1) << ((name[0] + 5 * length) % 64);
}

/* The same as http_head_value(), by looking at each header. */
extern const char *http_find_value(const HttpHead *head, const char *name, size_t length);

/* A header's value by its lower-case name, or NULL: most that are asked for are not there. */
static inline const char *
http_head_value(const HttpHead *head, const char *name)
{
	size_t length = strlen(name);

	return head->names & http_name_bit(name, length) ? http_find_value(head, name, length)
													 : NULL;
}

/* The size in a chunk's first line, extensions ignored; false where it has none. */
extern bool http_parse_chunk_size(const char *line, uint64_t *size);

/*
 * Decodes %xx (and + where asked) in place; returns the new length, or -1 where
 * an escape is broken or a zero byte would come out.
 */
extern long http_decode_escapes(char *text, bool plus_is_space);

#endif /* FACTORYD_HTTP_PARSE_H */
