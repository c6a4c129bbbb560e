/*
 * ring.c
 *		Records of any size in a bounded piece of memory.
 *
 * A record that would run over the end begins anew at the beginning; what is left
 * before the end is a record of its own that nobody reads.
 */
#include "postgres.h"

#include "base/ring.h"

/* No other record has it. */
#define RING_FILLER PG_UINT32_MAX

#define RECORD_SIZE(length) MAXALIGN(offsetof(RingRecord, data) + (length))

static Size
data_size(Size bytes)
{
	return bytes / MAXIMUM_ALIGNOF * MAXIMUM_ALIGNOF;
}

Size
ring_footprint(Size bytes)
{
	return MAXALIGN(offsetof(Ring, data) + data_size(bytes));
}

void
ring_init(Ring *ring, Size bytes)
{
	pg_atomic_init_u64(&ring->head, 0);
	pg_atomic_init_u64(&ring->tail, 0);
	ring->size = data_size(bytes);
}

/* At half the size it would fit an empty ring; a quarter leaves company. */
Size
ring_longest(const Ring *ring)
{
	return ring->size / 4 - offsetof(RingRecord, data) - MAXIMUM_ALIGNOF;
}

static RingRecord *
record_at(Ring *ring, uint64 position)
{
	return (RingRecord *) (ring->data + position % ring->size);
}

static void
put_filler(Ring *ring, uint64 position, uint64 bytes)
{
	RingRecord *filler = record_at(ring, position);

	filler->kind = RING_FILLER;
	filler->length = bytes - offsetof(RingRecord, data);
}

bool
ring_put(Ring *ring, uint32 kind, const void *data, uint32 length, bool *wake)
{
	uint64 head = pg_atomic_read_u64(&ring->head);
	uint64 tail = pg_atomic_read_u64(&ring->tail);
	uint64 to_end = ring->size - head % ring->size;
	uint64 needed = RECORD_SIZE(length);
	uint64 filler = needed > to_end ? to_end : 0;
	RingRecord *record;

	Assert(length <= ring_longest(ring));
	if (head - tail + filler + needed > ring->size)
		return false;
	/* What was read from there was read before the tail moved. */
	pg_memory_barrier();
	if (filler > 0)
		put_filler(ring, head, filler);
	record = record_at(ring, head + filler);
	record->kind = kind;
	record->length = length;
	memcpy(record->data, data, length);
	pg_write_barrier();
	pg_atomic_write_u64(&ring->head, head + filler + needed);
	/* The consumer writes the tail and then reads the head: one of us sees the other. */
	pg_memory_barrier();
	tail = pg_atomic_read_u64(&ring->tail);
	*wake = tail == head || (head - tail <= ring->size / 2 &&
							 head + filler + needed - tail > ring->size / 2);
	return true;
}

uint64
ring_used(Ring *ring)
{
	uint64 tail = pg_atomic_read_u64(&ring->tail);

	pg_memory_barrier();
	return pg_atomic_read_u64(&ring->head) - tail;
}

RingRecord *
ring_read(Ring *ring, uint64 *position, uint64 end)
{
	while (*position < end)
	{
		RingRecord *record = record_at(ring, *position);

		pg_read_barrier();
		*position += RECORD_SIZE(record->length);
		if (record->kind != RING_FILLER)
			return record;
	}
	return NULL;
}

void
ring_release(Ring *ring, uint64 position)
{
	pg_memory_barrier();
	pg_atomic_write_u64(&ring->tail, position);
	pg_memory_barrier();
}
