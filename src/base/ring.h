/*
 * ring.h
 *		Records of any size in a bounded piece of memory: many put, one takes.
 *
 * Positions are bytes counted since the beginning; they only grow.  Producers keep
 * each other out; the one consumer needs no lock: what lies between tail and head
 * stays as it is until the consumer releases it.
 */
#ifndef FACTORY_RING_H
#define FACTORY_RING_H

#include "port/atomics.h"

typedef struct Ring
{
	pg_atomic_uint64 head; /* where the next record goes; written by producers */
	pg_atomic_uint64 tail; /* the oldest record; written by the consumer */
	uint64 size;           /* bytes of data; set once */
	char data[FLEXIBLE_ARRAY_MEMBER];
} Ring;

typedef struct RingRecord
{
	uint32 length; /* of data */
	uint32 kind;
	char data[FLEXIBLE_ARRAY_MEMBER];
} RingRecord;

/* Shared memory that a ring for that many bytes takes. */
extern Size ring_footprint(Size bytes);
extern void ring_init(Ring *ring, Size bytes);

/* The longest record that may be put: it fits wherever the ring's end lies. */
extern Size ring_longest(const Ring *ring);

/*
 * False where there is no room now.  The caller keeps other producers out.  wake is
 * set where the consumer may have seen an empty ring, or should hurry: half is full.
 */
extern bool ring_put(Ring *ring, uint32 kind, const void *data, uint32 length,
					 bool *wake);

/* Bytes that are in it. */
extern uint64 ring_used(Ring *ring);

/* The record at a position, which moves behind it; NULL at the end. */
extern RingRecord *ring_read(Ring *ring, uint64 *position, uint64 end);

/* The consumer is done with all before that position. */
extern void ring_release(Ring *ring, uint64 position);

#endif /* FACTORY_RING_H */
