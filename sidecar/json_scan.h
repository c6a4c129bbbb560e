/*
 * json_scan.h
 *		The text of a JSON document's parts, as it was sent.
 *
 * A parser's numbers are not what was sent: 1.10 and 12345678901234567890 must reach
 * the database digit by digit.
 */
#ifndef FACTORYD_JSON_SCAN_H
#define FACTORYD_JSON_SCAN_H

#include <stdbool.h>
#include <stddef.h>

/*
 * The text of an object's member: the last one of that name, as everybody takes it.
 * The document must be one that a parser has accepted, ended by a zero byte.
 */
extern bool json_scan_member(const char *object, const char *name, const char **value,
							 size_t *length);

/* Members of a plain object, at most. */
#define JSON_PLAIN_MOST 16

/* As it was sent: a string has its quotes. */
typedef struct JsonMember
{
	const char *name;
	size_t name_length;
	const char *value;
	size_t length;
} JsonMember;

typedef struct JsonPlain
{
	JsonMember members[JSON_PLAIN_MOST];
	int count;
} JsonPlain;

/*
 * Reads an object of few members whose names differ, whose values are neither lists nor
 * objects, and whose strings are ASCII without escapes: what most bodies are, at a tenth
 * of what a parser costs.  False for all else, which is a parser's, good or not.  The
 * text is ended by a zero byte, and pointed into.
 */
extern bool json_scan_plain(const char *text, size_t length, JsonPlain *plain);

/* The member of that name, or NULL. */
extern const JsonMember *json_plain_member(const JsonPlain *plain, const char *name);

#endif /* FACTORYD_JSON_SCAN_H */
