/*
 * performer_int.h
 *		What passes between a scheduler and a performer.
 */
#ifndef FACTORY_PERFORMER_INT_H
#define FACTORY_PERFORMER_INT_H

#include "port/atomics.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "worker/worker_int.h"

#define OUTCOME_TEXT_SIZE 2048

/* GIVEN -> DONE -> NONE by turns; a performer that leaves makes NONE to GONE. */
typedef enum OrderState
{
	ORDER_NONE,
	ORDER_GIVEN,
	ORDER_DONE,
	ORDER_GONE
} OrderState;

/* In shared memory.  All but the state belongs to whose turn it is. */
typedef struct Order
{
	pg_atomic_uint32 state;
	Oid database;
	Oid owner; /* a task's; InvalidOid for refreshes */
	PGPROC *scheduler;
	PGPROC *performer; /* NULL until it is there */
	RefreshRun run;
	bool failed;
	int sqlstate;
	char message[OUTCOME_TEXT_SIZE];
	char detail[OUTCOME_TEXT_SIZE];
	char command[FLEXIBLE_ARRAY_MEMBER];
} Order;

/* The lock that the performers of a database share, until the transaction or they end. */
extern void performers_lock(LOCKMODE mode, bool for_session);

#endif /* FACTORY_PERFORMER_INT_H */
