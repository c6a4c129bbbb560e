/*
 * store.h
 *		Writing decisions: versions and deployments.
 */
#ifndef FACTORY_RULES_STORE_H
#define FACTORY_RULES_STORE_H

#include "utils/jsonb.h"

/* All raise what is wrong; versions are returned. The caller becomes the owner. */
extern int decision_create(const char *name, Jsonb *definition, const char *description);
extern int decision_save(const char *name, Jsonb *definition, const char *changelog);
/* Keeps others from changing what is in force until the transaction ends. */
extern void decision_lock(const char *name);
/* Keeps others from dropping what a version uses; raises where something is missing. */
extern void decision_hold(const char *name, int version);
/* Compiled versions are compiled anew before they are used again. */
extern void decisions_outdate(void);

#endif /* FACTORY_RULES_STORE_H */
