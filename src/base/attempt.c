/*
 * attempt.c
 *		Running something that may raise, and going on.
 *
 * Only a subtransaction makes it safe to continue after an error: it releases
 * locks, pins and memory that the body held, and restores user and settings.
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/attempt.h"
#include "base/compat.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

static bool
survivable(const ErrorData *error)
{
	return error->sqlerrcode != ERRCODE_QUERY_CANCELED &&
		   ERRCODE_TO_CATEGORY(error->sqlerrcode) != ERRCODE_INSUFFICIENT_RESOURCES &&
		   ERRCODE_TO_CATEGORY(error->sqlerrcode) != ERRCODE_OPERATOR_INTERVENTION;
}

ErrorData *
attempt_whatever(AttemptBody body, void *argument)
{
	MemoryContext caller = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	ErrorData *volatile error = NULL;

	if (!compat_subtransaction_is_allowed())
	{
		body(argument);
		return NULL;
	}
	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(caller);
	PG_TRY();
	{
		body(argument);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(caller);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(caller);
	CurrentResourceOwner = owner;
	return error;
}

ErrorData *
attempt(AttemptBody body, void *argument)
{
	ErrorData *error = attempt_whatever(body, argument);

	if (error != NULL && !survivable(error))
		ReThrowError(error);
	return error;
}
