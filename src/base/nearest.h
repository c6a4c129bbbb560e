/*
 * nearest.h
 *		"Did you mean": the known name closest to a misspelt one.
 */
#ifndef FACTORY_NEAREST_H
#define FACTORY_NEAREST_H

/* The closest of the names, or NULL where none is close enough to be meant. */
extern const char *nearest_name(const char *given, const char *const *known, int count);

#endif /* FACTORY_NEAREST_H */
