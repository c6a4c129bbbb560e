/*
 * claim.h
 *		A claim of a token by its name, or by the way to it.
 */
#ifndef FACTORYD_CLAIM_H
#define FACTORYD_CLAIM_H

#include <jansson.h>
#include <stdbool.h>

/*
 * The claim of that name.  One that begins with a dot is a way through claims in claims,
 * as PostgREST writes it: .app."a.b".roles[0] is the first of the list "roles".  NULL where
 * there is none, or where the name is empty.
 */
extern const json_t *claim_find(const json_t *claims, const char *name);

/* Whether such a name can be followed at all. */
extern bool claim_name_is_good(const char *name);

#endif /* FACTORYD_CLAIM_H */
