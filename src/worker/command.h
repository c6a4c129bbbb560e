/*
 * command.h
 *		Runs the text of a scheduled task.
 */
#ifndef FACTORY_COMMAND_H
#define FACTORY_COMMAND_H

#include "utils/palloc.h"

/*
 * As psql -c would: one statement alone may be one that allows no transaction block
 * (VACUUM, or CALL of a procedure that commits); several are one transaction.  Limits
 * of 0 are none.  Outside of a transaction; raises what the command raises.
 */
extern void command_run(const char *text, int timeout_ms, int lock_timeout_ms,
						MemoryContext context);

#endif /* FACTORY_COMMAND_H */
