/*
 * empty.c
 *		What a deployment makes old is emptied when it commits, and only then.
 *
 * All of it is out of reach with the transaction's new token (generation.c).  What follows
 * makes room: the table's rows go with the transaction, by themselves; for shared memory,
 * which knows none, it is remembered with the depth of the (sub)transaction that wants it,
 * and forgotten with it.
 */
#include "postgres.h"

#include "access/xact.h"
#include "cache/cache_int.h"
#include "nodes/pg_list.h"
#include "utils/memutils.h"

/* More subjects than this in one transaction, and all is emptied. */
#define EMPTY_MAX_SCOPES 1000

typedef struct Pending
{
	CacheScope scope;
	int level;
} Pending;

static List *pending = NIL; /* of Pending *, in TopTransactionContext */
static bool callbacks_registered = false;

static void
empty_pending(void)
{
	ListCell *cell;

	foreach (cell, pending)
		(void) memory_empty(&((Pending *) lfirst(cell))->scope);
}

static void
transaction_ends(XactEvent event, void *argument)
{
	switch (event)
	{
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_PREPARE: /* its commit happens where nobody remembers */
			empty_pending();
			pending = NIL;
			break;
		case XACT_EVENT_ABORT:
			pending = NIL;
			break;
		default:
			break;
	}
}

static void
subtransaction_ends(SubXactEvent event, SubTransactionId subxact, SubTransactionId parent,
					void *argument)
{
	int level = GetCurrentTransactionNestLevel();
	ListCell *cell;

	foreach (cell, pending)
	{
		Pending *one = lfirst(cell);

		if (event == SUBXACT_EVENT_ABORT_SUB && one->level >= level)
			pending = foreach_delete_current(pending, cell);
		else if (event == SUBXACT_EVENT_COMMIT_SUB)
			one->level = Min(one->level, level - 1);
	}
}

static bool
same_name(const char *one, const char *other)
{
	return one == NULL || other == NULL ? one == other : strcmp(one, other) == 0;
}

static bool
is_pending(const CacheScope *scope, int level)
{
	ListCell *cell;

	foreach (cell, pending)
	{
		const Pending *one = lfirst(cell);

		if (one->level <= level && one->scope.kind == scope->kind &&
			same_name(one->scope.tenant, scope->tenant) &&
			same_name(one->scope.subject, scope->subject))
			return true;
	}
	return false;
}

static void
remember(const CacheScope *scope)
{
	MemoryContext caller = MemoryContextSwitchTo(TopTransactionContext);
	Pending *one = palloc0(sizeof(Pending));

	one->level = GetCurrentTransactionNestLevel();
	one->scope = *scope;
	if (list_length(pending) >= EMPTY_MAX_SCOPES)
		one->scope = (CacheScope){CACHE_KIND_COUNT, NULL, NULL};
	if (one->scope.tenant != NULL)
		one->scope.tenant = pstrdup(one->scope.tenant);
	if (one->scope.subject != NULL)
		one->scope.subject = pstrdup(one->scope.subject);
	if (!is_pending(&one->scope, one->level))
		pending = lappend(pending, one);
	MemoryContextSwitchTo(caller);
	if (callbacks_registered)
		return;
	RegisterXactCallback(transaction_ends, NULL);
	RegisterSubXactCallback(subtransaction_ends, NULL);
	callbacks_registered = true;
}

void
cache_empty_at_commit(CacheKind kind, const char *tenant, const char *subject)
{
	CacheScope scope = {kind, tenant, subject};

	/* A restore may bring thousands of rows of one decision. */
	if (is_pending(&scope, GetCurrentTransactionNestLevel()))
		return;
	(void) table_empty(&scope);
	generation_renew(&scope);
	remember(&scope);
}

int64
cache_empty_now(const CacheScope *scope)
{
	int64 taken = table_empty(scope);

	taken += memory_empty(scope);
	generation_renew(scope);
	remember(scope);
	return taken;
}
