/*
 * attempt.h
 *		Running something that may raise, and going on.
 */
#ifndef FACTORY_ATTEMPT_H
#define FACTORY_ATTEMPT_H

#include "utils/elog.h"

typedef void (*AttemptBody)(void *argument);

/*
 * Runs the body in a subtransaction of its own, in the current memory context.
 * NULL when it worked; else all it did in the database is undone and the error is
 * returned.  Cancel, shutdown and lack of memory or disk are raised on: those are
 * not the body's to survive.  Where the server allows no subtransaction (in
 * parallel mode before 17) the body runs without, and every error is raised.
 */
extern ErrorData *attempt(AttemptBody body, void *argument);

/*
 * The same, and no error is raised on: for a process that works for many, where one of
 * them must not hold up the others, whatever code their functions raise.
 */
extern ErrorData *attempt_whatever(AttemptBody body, void *argument);

#endif /* FACTORY_ATTEMPT_H */
