/*
 * turn.c
 *		One computes, others with the same key wait for it.
 *
 * Who misses first takes a place with its key; who misses later finds it there and
 * sleeps until the place is left.  A place is left when the answer is put or given
 * up, at the latest when the (sub)transaction or the backend that took it ends.  Who
 * has waited looks once more, and else computes for itself: nobody waits twice.  Who
 * holds a place does not wait, so no two wait for each other, and nobody for himself.
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/compat.h"
#include "cache/cache_int.h"
#include "miscadmin.h"
#include "storage/condition_variable.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/timestamp.h"

#define TURN_TRANCHE "pg_factory_cache_turns"

/* Answers under way at once that others can wait for. */
#define TURN_PLACES 256

/* Longer than this, and one computes for oneself: a model's usual limit, twice. */
#define TURN_PATIENCE_MS 30000

typedef struct Place
{
	unsigned char digest[CACHE_DIGEST_BYTES]; /* under lock, as all but changed */
	int owner;                                /* process; 0: free */
	uint64 serial;                            /* counts who was here */
	ConditionVariable changed;                /* told when the place is left */
} Place;

typedef struct Turns
{
	LWLock *lock;
	Place places[TURN_PLACES];
} Turns;

static Turns *turns = NULL;

/* What this backend holds: at most TURN_PLACES, each with its transaction's depth. */
static int levels[TURN_PLACES]; /* 0: not ours */
static int held = 0;
static bool callbacks_registered = false;

Size
turn_shmem_size(void)
{
	return sizeof(Turns);
}

void
turn_attach(void)
{
	bool found;

	turns = ShmemInitStruct("pg_factory cache turns", sizeof(Turns), &found);
	if (found)
		return;
	memset(turns, 0, sizeof(Turns));
	turns->lock = &GetNamedLWLockTranche(TURN_TRANCHE)->lock;
	for (int i = 0; i < TURN_PLACES; i++)
		ConditionVariableInit(&turns->places[i].changed);
}

/* --- leaving ------------------------------------------------------------------------------ */

static void
leave(int position)
{
	Place *place = &turns->places[position];

	levels[position] = 0;
	held--;
	LWLockAcquire(turns->lock, LW_EXCLUSIVE);
	place->owner = 0;
	place->serial++;
	LWLockRelease(turns->lock);
	ConditionVariableBroadcast(&place->changed);
}

static void
leave_from_level(int level)
{
	for (int i = 0; held > 0 && i < TURN_PLACES; i++)
		if (levels[i] >= level)
			leave(i);
}

static void
transaction_ends(XactEvent event, void *argument)
{
	if (held > 0 && (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT ||
					 event == XACT_EVENT_PREPARE))
		leave_from_level(1);
}

static void
subtransaction_ends(SubXactEvent event, SubTransactionId subxact, SubTransactionId parent,
					void *argument)
{
	int level = GetCurrentTransactionNestLevel();

	if (held == 0)
		return;
	if (event == SUBXACT_EVENT_ABORT_SUB)
		leave_from_level(level);
	else if (event == SUBXACT_EVENT_COMMIT_SUB)
		for (int i = 0; i < TURN_PLACES; i++)
			levels[i] = Min(levels[i], level - 1);
}

static void
backend_exits(int code, Datum argument)
{
	leave_from_level(1);
}

/* --- taking ------------------------------------------------------------------------------- */

static void
take(int position, CacheTicket *ticket)
{
	Place *place = &turns->places[position];

	memcpy(place->digest, ticket->digest, CACHE_DIGEST_BYTES);
	place->owner = MyProcPid;
	levels[position] = Max(GetCurrentTransactionNestLevel(), 1);
	held++;
	ticket->turn = position;
}

/* The place where somebody else computes this, or -1: then we took one, if one was free. */
static int
find_or_take(CacheTicket *ticket, uint64 *serial)
{
	int free = -1;
	int other = -1;

	LWLockAcquire(turns->lock, LW_EXCLUSIVE);
	for (int i = 0; i < TURN_PLACES; i++)
	{
		Place *place = &turns->places[i];

		if (place->owner == 0)
			free = free < 0 ? i : free;
		else if (memcmp(place->digest, ticket->digest, CACHE_DIGEST_BYTES) == 0)
		{
			other = i;
			*serial = place->serial;
			break;
		}
	}
	if (other < 0 && free >= 0)
		take(free, ticket);
	LWLockRelease(turns->lock);
	return other;
}

static bool
is_under_way(const Place *place, uint64 serial)
{
	bool result;

	LWLockAcquire(turns->lock, LW_SHARED);
	result = place->owner != 0 && place->serial == serial;
	LWLockRelease(turns->lock);
	return result;
}

static void
wait_for(Place *place, uint64 serial)
{
	static uint32 wait_event = 0;
	TimestampTz until =
		TimestampTzPlusMilliseconds(GetCurrentTimestamp(), TURN_PATIENCE_MS);

	ConditionVariablePrepareToSleep(&place->changed);
	while (is_under_way(place, serial))
	{
		long left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), until);

		if (left <= 0 ||
			ConditionVariableTimedSleep(&place->changed, left,
										compat_named_wait(&wait_event, "FactoryCache")))
			break;
	}
	ConditionVariableCancelSleep();
}

static void
register_callbacks(void)
{
	if (callbacks_registered)
		return;
	RegisterXactCallback(transaction_ends, NULL);
	RegisterSubXactCallback(subtransaction_ends, NULL);
	before_shmem_exit(backend_exits, (Datum) 0);
	callbacks_registered = true;
}

void
turn_take(CacheTicket *ticket, bool waits)
{
	uint64 serial = 0;
	int other;

	register_callbacks();
	other = find_or_take(ticket, &serial);
	if (other >= 0 && waits && held == 0)
		wait_for(&turns->places[other], serial);
}

void
turn_end(CacheTicket *ticket)
{
	if (ticket->turn >= 0 && levels[ticket->turn] > 0)
		leave(ticket->turn);
	ticket->turn = -1;
}
