/*
 * held.c
 *		Whether somebody holds a row of ours, asked without writing.
 *
 * SELECT ... FOR UPDATE SKIP LOCKED would tell, too, but leaves its mark in the row,
 * and so in the WAL.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/multixact.h"
#include "access/table.h"
#include "base/house.h"
#include "refresh/refresh_int.h"
#include "storage/bufmgr.h"
#include "storage/procarray.h"

static bool
locker_is_alive(const HeapTupleHeaderData *row)
{
	TransactionId locker = HeapTupleHeaderGetRawXmax(row);

	if (row->t_infomask & HEAP_XMAX_INVALID)
		return false;
	if (row->t_infomask & HEAP_XMAX_IS_MULTI)
		return !HEAP_LOCKED_UPGRADED(row->t_infomask) &&
			   MultiXactIdIsRunning(locker, HEAP_XMAX_IS_LOCKED_ONLY(row->t_infomask));
	return TransactionIdIsValid(locker) && !TransactionIdIsCurrentTransactionId(locker) &&
		   TransactionIdIsInProgress(locker);
}

bool
refresh_row_is_held(ItemPointer row)
{
	Relation schedules = table_open(house_relation("refresh_schedule"), AccessShareLock);
	HeapTupleData tuple = {.t_self = *row};
	Buffer buffer;
	bool held = false;

	if (heap_fetch(schedules, SnapshotAny, &tuple, &buffer, false))
	{
		held = locker_is_alive(tuple.t_data);
		ReleaseBuffer(buffer);
	}
	table_close(schedules, AccessShareLock);
	return held;
}
