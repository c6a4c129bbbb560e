/*
 * audit.h
 *		Who changed what: one row of factory.audit_log, in the same transaction.
 */
#ifndef FACTORY_AUDIT_H
#define FACTORY_AUDIT_H

#include "utils/jsonb.h"

/*
 * Writes one row: action "create", object type "decision", object "defect_check",
 * and what was before and after (NULL where there is nothing to say; never keys,
 * prompts or rows).  Call it after the deed, as the caller or as the house: who did
 * it is found out here.  Raises where the row cannot be written, so that nothing is
 * done without one; writes nothing where nothing can be changed (standby, read-only
 * transaction).
 */
extern void audit_write(const char *action, const char *object_type, const char *object,
						Jsonb *before, Jsonb *after);

/* Sees commands that change settings, servers and their keys; guards the log's tables. */
extern void audit_install_hooks(void);

extern void audit_define_settings(void);

#endif /* FACTORY_AUDIT_H */
