/*
 * values.h
 *		The values of a statement: what a client sent and is bound, never spliced.
 *
 * The first is $2: $1 is whose request it is, which the pool binds (pool.h).
 */
#ifndef FACTORYD_VALUES_H
#define FACTORYD_VALUES_H

#include <stddef.h>

/* The protocol counts them in 16 bits. */
#define VALUES_MOST 60000

/* So many need no memory of their own: most statements have fewer. */
#define VALUES_FEW 4

/* Of zeros it is empty.  It may not be copied: items may be its own few. */
typedef struct Values
{
	const char **items;
	int count;
	int capacity;
	char **owned; /* those to be freed, NULL for others */
	const char *few_items[VALUES_FEW];
	char *few_owned[VALUES_FEW];
} Values;

/* The number of a value that outlives the statement; NULL is SQL's NULL. */
extern int values_add(Values *values, const char *text);

/* The same for a value that is freed with the values. */
extern int values_take(Values *values, char *text);

/* The same for a copy; an equal value that was added so has the same number. */
extern int values_copy(Values *values, const char *text, size_t length);
extern void values_free(Values *values);

#endif /* FACTORYD_VALUES_H */
