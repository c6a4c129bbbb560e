/*
 * queue.c
 *		The queues' places in shared memory, and handing rows over.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/htup_details.h"
#include "base/base.h"
#include "base/compat.h"
#include "base/queue_int.h"
#include "base/settings.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/shmem.h"
#include "utils/timestamp.h"

#define QUEUE_TRANCHE "pg_factory_queues"

/* A writer that died is started again after this, doubled each time. */
#define RETRY_MS 1000
#define RETRY_DOUBLINGS 6

QueueShared *queue_shared = NULL;
QueueKind *queue_kinds[QUEUE_MAX_KINDS];
int queue_kind_count = 0;

int queue_max_databases = 4;
int queue_delay_ms = 200;
static int queue_kilobytes = 4096;
static int timeout_ms = 1000;

static uint32 wait_event = 0;

static const Setting settings[] = {
	{"factory.queue_databases",
	 "Sets how many databases can hand rows to writers at the same time; 0 means none.",
	 SETTING_INT, &queue_max_databases, .boot = 4, .min = 0, .max = 1000,
	 .context = PGC_POSTMASTER},
	{"factory.queue_delay", "Sets how long a writer collects rows before it writes them.",
	 SETTING_INT, &queue_delay_ms, .boot = 200, .min = 0, .max = 60000,
	 .context = PGC_SIGHUP, .flags = GUC_UNIT_MS,
	 .detail = "It writes sooner where half of the queue is full."},
	{"factory.queue_size", "Sets the size of each database's queue.", SETTING_INT,
	 &queue_kilobytes, .boot = 4096, .min = 16, .max = 1024 * 1024,
	 .context = PGC_POSTMASTER, .flags = GUC_UNIT_KB},
	{"factory.queue_timeout", "Sets how long a session waits for room in a full queue.",
	 SETTING_INT, &timeout_ms, .boot = 1000, .min = 0, .max = 600000,
	 .context = PGC_SUSET, .flags = GUC_UNIT_MS,
	 .detail = "Then it writes the row itself, in its own transaction."},
};

void
queue_define_settings(void)
{
	settings_define(settings, lengthof(settings));
}

/* --- shared memory ---------------------------------------------------------------------- */

static Size
ring_bytes(void)
{
	return (Size) queue_kilobytes * 1024;
}

static Size
places_size(void)
{
	return MAXALIGN(add_size(offsetof(QueueShared, places),
							 mul_size(queue_max_databases, sizeof(QueuePlace))));
}

static Size
shared_size(void)
{
	return add_size(places_size(),
					mul_size(queue_max_databases, ring_footprint(ring_bytes())));
}

Ring *
queue_ring(const QueuePlace *place)
{
	return (Ring *) ((char *) queue_shared + places_size() +
					 (place - queue_shared->places) * ring_footprint(ring_bytes()));
}

void
queue_request_shmem(void)
{
	RequestAddinShmemSpace(shared_size());
	RequestNamedLWLockTranche(QUEUE_TRANCHE, 1 + queue_max_databases);
}

void
queue_attach_shmem(void)
{
	LWLockPadded *locks;
	bool found;

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	queue_shared = ShmemInitStruct("pg_factory queues", shared_size(), &found);
	if (!found)
	{
		memset(queue_shared, 0, places_size());
		locks = GetNamedLWLockTranche(QUEUE_TRANCHE);
		queue_shared->lock = &locks[0].lock;
		for (int i = 0; i < queue_max_databases; i++)
			queue_shared->places[i].door = &locks[i + 1].lock;
	}
	LWLockRelease(AddinShmemInitLock);
}

/* --- places: all under QueueShared.lock --------------------------------------------------- */

static QueuePlace *
place_of(Oid database)
{
	for (int i = 0; i < queue_max_databases; i++)
		if (queue_shared->places[i].database == database)
			return &queue_shared->places[i];
	return NULL;
}

static void
enter_state(QueuePlace *place, PlaceState state)
{
	place->state = state;
	place->since = GetCurrentTimestamp();
}

static void
try_later(QueuePlace *place)
{
	int doublings = Min(place->failures, RETRY_DOUBLINGS);

	place->failures++;
	enter_state(place, PLACE_WANTED);
	place->not_before = TimestampTzPlusMilliseconds(place->since, RETRY_MS << doublings);
}

static void
begin_place(QueuePlace *place, Oid database)
{
	LWLockAcquire(place->door, LW_EXCLUSIVE);
	ring_init(queue_ring(place), ring_bytes());
	place->database = database;
	place->open = false;
	place->latch = NULL;
	LWLockRelease(place->door);
	place->pid = 0;
	place->failures = 0;
	place->not_before = 0;
	ConditionVariableInit(&place->moved);
	pg_atomic_init_u64(&place->records, 0);
	pg_atomic_init_u64(&place->put, 0);
	pg_atomic_init_u64(&place->written, 0);
	pg_atomic_init_u64(&place->waited, 0);
	pg_atomic_init_u64(&place->direct, 0);
	pg_atomic_init_u64(&place->dropped, 0);
	enter_state(place, PLACE_WANTED);
}

static void
read_totals(QueuePlace *place, QueueTotals *totals)
{
	totals->records = pg_atomic_read_u64(&place->records);
	totals->bytes = ring_used(queue_ring(place));
	totals->put = pg_atomic_read_u64(&place->put);
	totals->written = pg_atomic_read_u64(&place->written);
	totals->waited = pg_atomic_read_u64(&place->waited);
	totals->direct = pg_atomic_read_u64(&place->direct);
	totals->dropped = pg_atomic_read_u64(&place->dropped);
}

static void
add_totals(QueueTotals *sum, const QueueTotals *more)
{
	sum->records += more->records;
	sum->bytes += more->bytes;
	sum->put += more->put;
	sum->written += more->written;
	sum->waited += more->waited;
	sum->direct += more->direct;
	sum->dropped += more->dropped;
}

/* What is still in it is lost. */
static void
end_place(QueuePlace *place)
{
	QueueTotals last;

	pg_atomic_fetch_add_u64(&place->dropped, pg_atomic_read_u64(&place->records));
	read_totals(place, &last);
	last.records = last.bytes = 0;
	add_totals(&queue_shared->gone, &last);
	LWLockAcquire(place->door, LW_EXCLUSIVE);
	place->database = InvalidOid;
	place->open = false;
	place->latch = NULL;
	LWLockRelease(place->door);
	place->pid = 0;
	enter_state(place, PLACE_FREE);
	ConditionVariableBroadcast(&place->moved);
}

static void
wake_launcher(void)
{
	if (queue_shared->launcher != NULL)
		SetLatch(queue_shared->launcher);
}

/* This database's place, a new one where it has none; NULL where all are taken. */
static QueuePlace *
take_place(void)
{
	QueuePlace *place;

	LWLockAcquire(queue_shared->lock, LW_EXCLUSIVE);
	place = place_of(MyDatabaseId);
	if (place == NULL)
	{
		place = place_of(InvalidOid);
		if (place != NULL)
			begin_place(place, MyDatabaseId);
	}
	if (place != NULL && place->state == PLACE_WANTED)
		wake_launcher();
	LWLockRelease(queue_shared->lock);
	return place;
}

/* --- rows --------------------------------------------------------------------------------- */

void
queue_register(QueueKind *kind)
{
	if (queue_kind_count >= QUEUE_MAX_KINDS)
		elog(ERROR, "too many kinds of rows");
	kind->number = queue_kind_count;
	queue_kinds[queue_kind_count++] = kind;
}

TupleDesc
queue_kind_shape(QueueKind *kind)
{
	MemoryContext caller;
	TupleDesc shape;

	if (kind->shape != NULL)
		return kind->shape;
	caller = MemoryContextSwitchTo(TopMemoryContext);
	shape = CreateTemplateTupleDesc(kind->column_count);
	for (int i = 0; i < kind->column_count; i++)
		TupleDescInitEntry(shape, i + 1, kind->columns[i].name, kind->columns[i].type, -1,
						   0);
	compat_finish_tuple_desc(shape);
	MemoryContextSwitchTo(caller);
	return kind->shape = shape;
}

/* One that stands for itself: the tables that values may point into are not the writer's. */
static HeapTuple
make_row(QueueKind *kind, const Datum *values, const bool *nulls)
{
	TupleDesc shape = queue_kind_shape(kind);
	Datum *own = palloc(sizeof(Datum) * kind->column_count);

	for (int i = 0; i < kind->column_count; i++)
	{
		own[i] = values[i];
		if (!nulls[i] && TupleDescAttr(shape, i)->attlen == -1 &&
			VARATT_IS_EXTERNAL(DatumGetPointer(values[i])))
			own[i] = PointerGetDatum(
				detoast_external_attr((struct varlena *) DatumGetPointer(values[i])));
	}
	return heap_form_tuple(shape, own, unconstify(bool *, nulls));
}

typedef enum PutResult
{
	PUT_DONE,
	PUT_NO_WRITER,
	PUT_NO_ROOM
} PutResult;

static PutResult
put_row(QueuePlace *place, const QueueKind *kind, HeapTuple row)
{
	PutResult result = PUT_NO_WRITER;
	Latch *latch = NULL;
	bool wake = true;

	LWLockAcquire(place->door, LW_EXCLUSIVE);
	if (place->database == MyDatabaseId && place->open)
	{
		latch = place->latch;
		result = PUT_NO_ROOM;
		/* Counted first: the writer counts down what it has seen. */
		pg_atomic_fetch_add_u64(&place->records, 1);
		if (ring_put(queue_ring(place), kind->number, row->t_data, row->t_len, &wake))
			result = PUT_DONE;
		else
			pg_atomic_fetch_sub_u64(&place->records, 1);
	}
	LWLockRelease(place->door);
	if (result == PUT_DONE)
		pg_atomic_fetch_add_u64(&place->put, 1);
	if (latch != NULL && wake)
		SetLatch(latch);
	return result;
}

/* Waits for room, and for a writer if it is worth the patience. */
static PutResult
put_row_waiting(QueuePlace *place, const QueueKind *kind, HeapTuple row, int patience_ms)
{
	TimestampTz began = GetCurrentTimestamp();
	PutResult result;
	bool waited = false;

	ConditionVariablePrepareToSleep(&place->moved);
	while ((result = put_row(place, kind, row)) != PUT_DONE)
	{
		int limit = result == PUT_NO_ROOM ? Max(timeout_ms, patience_ms) : patience_ms;
		long left = limit - TimestampDifferenceMilliseconds(began, GetCurrentTimestamp());

		if (left <= 0)
			break;
		waited |= result == PUT_NO_ROOM;
		(void) ConditionVariableTimedSleep(&place->moved, left,
										   compat_named_wait(&wait_event,
															 "FactoryQueue"));
	}
	ConditionVariableCancelSleep();
	if (waited)
		pg_atomic_fetch_add_u64(&place->waited, 1);
	return result;
}

bool
queue_put_patiently(QueueKind *kind, const Datum *values, const bool *nulls,
					int patience_ms)
{
	static QueuePlace *place = NULL;
	PutResult result = PUT_NO_WRITER;
	HeapTuple row;

	if (queue_max_databases == 0)
		return false;
	if (place == NULL || place->database != MyDatabaseId || !place->open)
		place = take_place();
	if (place == NULL)
		return false;
	row = make_row(kind, values, nulls);
	if (row->t_len <= ring_longest(queue_ring(place)))
	{
		result = put_row(place, kind, row);
		if (result == PUT_NO_ROOM || (result == PUT_NO_WRITER && patience_ms > 0))
			result = put_row_waiting(place, kind, row, patience_ms);
	}
	heap_freetuple(row);
	if (result != PUT_DONE && place->database == MyDatabaseId)
		pg_atomic_fetch_add_u64(&place->direct, 1);
	return result == PUT_DONE;
}

bool
queue_put(QueueKind *kind, const Datum *values, const bool *nulls)
{
	return queue_put_patiently(kind, values, nulls, 0);
}

void
queue_count_dropped(int rows)
{
	LWLockAcquire(queue_shared->lock, LW_EXCLUSIVE);
	queue_shared->gone.dropped += rows;
	LWLockRelease(queue_shared->lock);
}

/* --- the launcher's part ---------------------------------------------------------------------- */

void
queue_set_launcher(Latch *latch)
{
	LWLockAcquire(queue_shared->lock, LW_EXCLUSIVE);
	queue_shared->launcher = latch;
	/* Starts whose end nobody was told. */
	for (int i = 0; i < queue_max_databases; i++)
		if (queue_shared->places[i].state == PLACE_STARTING)
			enter_state(&queue_shared->places[i], PLACE_WANTED);
	LWLockRelease(queue_shared->lock);
}

bool
queue_wants_writer(int place, Oid *database, TimestampTz *not_before)
{
	QueuePlace *wanted = &queue_shared->places[place];
	bool wants;

	LWLockAcquire(queue_shared->lock, LW_SHARED);
	wants = wanted->state == PLACE_WANTED;
	*database = wanted->database;
	*not_before = wanted->not_before;
	LWLockRelease(queue_shared->lock);
	return wants;
}

void
queue_start_begins(int place)
{
	LWLockAcquire(queue_shared->lock, LW_EXCLUSIVE);
	if (queue_shared->places[place].state == PLACE_WANTED)
		enter_state(&queue_shared->places[place], PLACE_STARTING);
	LWLockRelease(queue_shared->lock);
}

void
queue_start_failed(int place)
{
	LWLockAcquire(queue_shared->lock, LW_EXCLUSIVE);
	if (queue_shared->places[place].state == PLACE_STARTING)
		try_later(&queue_shared->places[place]);
	LWLockRelease(queue_shared->lock);
}

void
queue_forget(int place)
{
	LWLockAcquire(queue_shared->lock, LW_EXCLUSIVE);
	if (queue_shared->places[place].state == PLACE_WANTED)
		end_place(&queue_shared->places[place]);
	LWLockRelease(queue_shared->lock);
}

bool
queue_ask_to_leave(Oid database)
{
	QueuePlace *place;
	int pid;

	LWLockAcquire(queue_shared->lock, LW_SHARED);
	place = place_of(database);
	pid = place != NULL ? place->pid : 0;
	if (pid != 0)
		kill(pid, SIGTERM);
	LWLockRelease(queue_shared->lock);
	return pid != 0;
}

void
queue_wake_writer(void)
{
	QueuePlace *place;

	LWLockAcquire(queue_shared->lock, LW_SHARED);
	place = place_of(MyDatabaseId);
	if (place != NULL && place->latch != NULL)
		SetLatch(place->latch);
	LWLockRelease(queue_shared->lock);
}

/* --- the writer's place -------------------------------------------------------------------------- */

static QueuePlace *my_place = NULL;

bool
queue_attach(int place, Oid database)
{
	QueuePlace *mine = &queue_shared->places[place];
	bool meant;

	LWLockAcquire(queue_shared->lock, LW_EXCLUSIVE);
	meant = mine->state == PLACE_STARTING && mine->database == database && mine->pid == 0;
	if (meant)
	{
		mine->pid = MyProcPid;
		LWLockAcquire(mine->door, LW_EXCLUSIVE);
		mine->latch = MyLatch;
		LWLockRelease(mine->door);
		enter_state(mine, PLACE_RUNNING);
		my_place = mine;
	}
	LWLockRelease(queue_shared->lock);
	return meant;
}

QueuePlace *
queue_my_place(void)
{
	return my_place;
}

void
queue_open_door(bool open)
{
	bool changed;

	LWLockAcquire(my_place->door, LW_EXCLUSIVE);
	changed = my_place->open != open;
	my_place->open = open;
	LWLockRelease(my_place->door);
	if (changed && open)
		ConditionVariableBroadcast(&my_place->moved);
}

bool
queue_leave(void)
{
	bool empty;

	LWLockAcquire(queue_shared->lock, LW_EXCLUSIVE);
	LWLockAcquire(my_place->door, LW_EXCLUSIVE);
	empty = ring_used(queue_ring(my_place)) == 0;
	if (empty)
		my_place->open = false;
	LWLockRelease(my_place->door);
	if (empty)
	{
		end_place(my_place);
		my_place = NULL;
	}
	LWLockRelease(queue_shared->lock);
	return empty;
}

void
queue_abandon(void)
{
	if (my_place == NULL)
		return;
	LWLockAcquire(queue_shared->lock, LW_EXCLUSIVE);
	LWLockAcquire(my_place->door, LW_EXCLUSIVE);
	my_place->open = false;
	my_place->latch = NULL;
	LWLockRelease(my_place->door);
	my_place->pid = 0;
	try_later(my_place);
	wake_launcher();
	LWLockRelease(queue_shared->lock);
	my_place = NULL;
}

/* --- looking on ------------------------------------------------------------------------------------ */

static const char *
place_state_name(const QueuePlace *place)
{
	switch (place->state)
	{
		case PLACE_FREE:
			break;
		case PLACE_WANTED:
			return place->failures > 0 ? "restarting" : "wanted";
		case PLACE_STARTING:
			return "starting";
		case PLACE_RUNNING:
			return place->open ? "open" : "closed";
	}
	return "free";
}

bool
queue_info(int number, QueueInfo *info)
{
	QueuePlace *place = &queue_shared->places[number];

	LWLockAcquire(queue_shared->lock, LW_SHARED);
	info->database = place->database;
	if (OidIsValid(place->database))
	{
		info->pid = place->pid;
		info->state = place_state_name(place);
		info->since = place->since;
		info->size = queue_ring(place)->size;
		read_totals(place, &info->totals);
	}
	LWLockRelease(queue_shared->lock);
	return OidIsValid(info->database);
}

void
queue_totals(QueueTotals *totals)
{
	LWLockAcquire(queue_shared->lock, LW_SHARED);
	*totals = queue_shared->gone;
	for (int i = 0; i < queue_max_databases; i++)
	{
		QueueTotals of_place;

		if (!OidIsValid(queue_shared->places[i].database))
			continue;
		read_totals(&queue_shared->places[i], &of_place);
		add_totals(totals, &of_place);
	}
	LWLockRelease(queue_shared->lock);
}
