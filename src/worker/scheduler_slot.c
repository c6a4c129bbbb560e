/*
 * scheduler_slot.c
 *		A scheduler's place in shared memory: taken, shown to others, given up.
 */
#include "postgres.h"

#include "base/activity.h"
#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "worker/scheduler_int.h"

static WorkerSlot *my_slot = NULL;

/*
 * At process exit.  A scheduler that leaves in peace has given up its slot before;
 * in any other case the launcher shall start another.
 */
static void
leave_slot(int code, Datum argument)
{
	WorkerSlot *slot = my_slot;

	LWLockAcquire(worker_shared->lock, LW_EXCLUSIVE);
	if (slot->pid == MyProcPid)
	{
		slot_release(slot);
		slot->database = DatumGetObjectId(argument);
		slot_try_later(slot);
		launcher_wake();
	}
	LWLockRelease(worker_shared->lock);
	ConditionVariableBroadcast(&worker_shared->gone);
}

bool
scheduler_enter_slot(int i, Oid database)
{
	bool mine;

	my_slot = &worker_shared->slots[i];
	LWLockAcquire(worker_shared->lock, LW_EXCLUSIVE);
	mine = my_slot->state == SLOT_STARTING && my_slot->database == database &&
		   my_slot->pid == 0 && my_slot->bars == 0;
	if (mine)
	{
		my_slot->pid = MyProcPid;
		my_slot->latch = MyLatch;
		my_slot->announced = false;
		slot_enter(my_slot, SLOT_RUNNING);
	}
	else if (my_slot->state == SLOT_STARTING && my_slot->database == database &&
			 my_slot->pid == 0)
		slot_enter(my_slot, SLOT_WANTED);
	LWLockRelease(worker_shared->lock);
	if (mine)
		on_shmem_exit(leave_slot, ObjectIdGetDatum(database));
	return mine;
}

void
scheduler_begin_look(void)
{
	LWLockAcquire(worker_shared->lock, LW_EXCLUSIVE);
	my_slot->announced = false;
	LWLockRelease(worker_shared->lock);
}

bool
scheduler_give_up_slot(void)
{
	bool announced;

	LWLockAcquire(worker_shared->lock, LW_EXCLUSIVE);
	announced = my_slot->announced;
	if (!announced)
		slot_release(my_slot);
	LWLockRelease(worker_shared->lock);
	return !announced;
}

void
scheduler_show(bool busy, TimestampTz next_wake)
{
	LWLockAcquire(worker_shared->lock, LW_EXCLUSIVE);
	my_slot->busy = busy;
	my_slot->next_wake = next_wake;
	if (busy)
		my_slot->failures = 0;
	LWLockRelease(worker_shared->lock);
}

void
scheduler_show_rest(const char *reason)
{
	bool changed;

	LWLockAcquire(worker_shared->lock, LW_EXCLUSIVE);
	changed = strncmp(my_slot->rest, reason ? reason : "", REST_SIZE - 1) != 0;
	if (changed)
		strlcpy(my_slot->rest, reason ? reason : "", REST_SIZE);
	LWLockRelease(worker_shared->lock);
	if (changed && reason != NULL)
		ereport(LOG, (errmsg("workers of database \"%s\" rest: %s",
							 get_database_name(MyDatabaseId), reason),
					  errhint("%s", house_rest_hint())));
	else if (changed)
		ereport(LOG, (errmsg("workers of database \"%s\" work again",
							 get_database_name(MyDatabaseId))));
}

bool
scheduler_rests(void)
{
	/* Only we write it. */
	return my_slot->rest[0] != '\0';
}

const char *
scheduler_rest(void)
{
	return my_slot->rest;
}
