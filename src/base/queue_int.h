/*
 * queue_int.h
 *		The places of the queues in shared memory: one a database that uses one.
 *
 *	FREE -> WANTED		a session has a row and no writer is there
 *	WANTED -> STARTING	the launcher asked for a writer
 *	STARTING -> RUNNING	the writer is there
 *	RUNNING -> FREE		it had nothing to do for long, or was asked to leave
 *	RUNNING -> WANTED	it died; what is in the ring waits for the next
 */
#ifndef FACTORY_QUEUE_INT_H
#define FACTORY_QUEUE_INT_H

#include "base/queue.h"
#include "base/ring.h"
#include "storage/condition_variable.h"
#include "storage/latch.h"
#include "storage/lwlock.h"

#define QUEUE_MAX_KINDS 16

typedef enum PlaceState
{
	PLACE_FREE,
	PLACE_WANTED,
	PLACE_STARTING,
	PLACE_RUNNING
} PlaceState;

typedef struct QueuePlace
{
	LWLock *door;            /* of putting; set once */
	Oid database;            /* InvalidOid: free; under QueueShared.lock and door */
	bool open;               /* rows may be put; under door */
	Latch *latch;            /* of its writer; under door */
	PlaceState state;        /* the rest under QueueShared.lock */
	int pid;                 /* of its writer; 0 where there is none */
	int failures;            /* writers that died one after another */
	TimestampTz since;       /* when the state was reached */
	TimestampTz not_before;  /* WANTED: when the launcher may try again */
	ConditionVariable moved; /* room was made, or the door was opened */
	pg_atomic_uint64 records;
	pg_atomic_uint64 put;
	pg_atomic_uint64 written;
	pg_atomic_uint64 waited; /* rows for which there was no room at first */
	pg_atomic_uint64 direct; /* rows that were not taken */
	pg_atomic_uint64 dropped;
} QueuePlace;

typedef struct QueueShared
{
	LWLock *lock;
	Latch *launcher;  /* under lock */
	QueueTotals gone; /* of places that were given up; under lock */
	QueuePlace places[FLEXIBLE_ARRAY_MEMBER]; /* then the rings */
} QueueShared;

extern QueueShared *queue_shared;
extern QueueKind *queue_kinds[QUEUE_MAX_KINDS];
extern int queue_kind_count;

extern Ring *queue_ring(const QueuePlace *place);

extern TupleDesc queue_kind_shape(QueueKind *kind);

/* How far it came with that kind's rows of this part of the ring: the rest is a statement's. */
extern uint64 queue_write_directly(QueueKind *kind, uint64 from, uint64 to);

/* False where that is not as good as an INSERT: then nothing was written. */
extern bool queue_insert_directly(const QueueKind *kind, const Datum *values,
								  const bool *nulls);

/* In a writer: the place it serves. */
extern QueuePlace *queue_my_place(void);

#endif /* FACTORY_QUEUE_INT_H */
