/*
 * dependency.h
 *		What of users' a decision's expressions are made of, and its being dropped or renamed.
 */
#ifndef FACTORY_RULES_DEPENDENCY_H
#define FACTORY_RULES_DEPENDENCY_H

#include "rules/rules_int.h"

/* Adds to decision->uses; what comes with the server is not noted. */
extern void dependency_note_type(Decision *decision, Oid type);
extern void dependency_note_expression(Decision *decision, Node *node);

/* A decision function depends on what its rules use: in pg_depend. */
extern void dependency_record(Oid function, const Decision *decision);

/* The same of a version, as rows of factory.decision_dependency. */
extern void dependency_save(const char *name, int version, const Decision *decision);

/* Nobody drops what it uses until the transaction ends; raises where somebody just did. */
extern void dependency_hold(const Decision *decision);

/* Whether some decision of this backend uses the row type, or the type with that hash. */
extern bool dependency_of_relation(Oid relation);
extern bool dependency_of_type(uint32 hash);

/* While the library is loaded: hears of what is dropped or renamed. */
extern void dependency_watch(void);

#endif /* FACTORY_RULES_DEPENDENCY_H */
