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

#endif /* FACTORYD_JSON_SCAN_H */
