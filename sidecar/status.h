/*
 * status.h
 *		Which HTTP status and which error code of ours an SQLSTATE becomes.
 */
#ifndef FACTORYD_STATUS_H
#define FACTORYD_STATUS_H

#include <stdbool.h>

typedef struct Status
{
	const char *sqlstate; /* or the beginning of it */
	int status;
	const char *code; /* of the /api routes */
} Status;

/* Never NULL.  An anonymous caller who may not is asked who he is: 401, not 403. */
extern const Status *status_of_sqlstate(const char *sqlstate, bool anonymous);

/* The code of the /api routes for a status that no SQLSTATE led to. */
extern const char *status_code(int status);

#endif /* FACTORYD_STATUS_H */
