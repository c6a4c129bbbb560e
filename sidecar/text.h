/*
 * text.h
 *		Small things about strings that several files need.
 */
#ifndef FACTORYD_TEXT_H
#define FACTORYD_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Allocation that ends the program where there is no memory left. */
extern void *memory_new(size_t size); /* zeroed */
extern void *memory_resize(void *block, size_t size);
extern char *text_copy(const char *text);
extern char *text_format(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* "name" as an SQL identifier, always in quotes; caller frees. */
extern char *text_quote_identifier(const char *name);

/* How many edits lead from one to the other; LONGEST_NAME where either is longer. */
#define LONGEST_NAME 64
extern int text_distance(const char *from, const char *to);

/* Whether a name is near enough to another to be what was meant. */
extern bool text_is_near(const char *given, const char *meant, int distance);

/*
 * So many hexadecimal digits, with a zero byte: a name that nobody else has.  It can be
 * guessed: no secret.
 */
#define TEXT_UNIQUE_LENGTH 32
extern void text_unique_hex(char *target);

/* Whether it is well-formed UTF-8 without a zero byte. */
extern bool text_is_utf8(const char *text, size_t length);

/* Milliseconds of a clock that only goes forward, to within some of them; cheap. */
extern long long text_clock_ms(void);
extern uint64_t text_clock_us(void);

/* FNV-1a, eight bytes at a time. */
extern uint64_t text_hash(const char *text);

#endif /* FACTORYD_TEXT_H */
