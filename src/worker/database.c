/*
 * database.c
 *		Commands that need a database empty, and the end of our extension.
 *
 * DROP DATABASE and its like refuse while a scheduler is connected.  So before
 * they run the scheduler is asked to leave and the database is barred; when their
 * transaction ends, however it ends, the bar falls and the launcher looks again.
 */
#include "postgres.h"

#include "base/compat.h"
#include "base/queue.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_database.h"
#include "catalog/pg_extension.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "pgstat.h"
#include "storage/proc.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/memutils.h"
#include "worker/worker_int.h"

static uint32 wait_event = 0;
static ProcessUtility_hook_type previous_utility = NULL;
static object_access_hook_type previous_object_access = NULL;

/* Databases that this transaction has barred, or wants looked into. */
static List *barred = NIL;
static List *look_into = NIL;

static List *
remember(List *list, Oid database)
{
	MemoryContext before = MemoryContextSwitchTo(TopMemoryContext);

	list = lappend_oid(list, database);
	MemoryContextSwitchTo(before);
	return list;
}

/* --- barring ---------------------------------------------------------------------------- */

/* False once scheduler, writer and job runner have gone. */
static bool
ask_to_leave(Oid database)
{
	WorkerSlot *slot;
	int pid;
	bool runs_jobs;

	LWLockAcquire(worker_shared->lock, LW_SHARED);
	slot = slot_of_database(database);
	pid = slot != NULL ? slot->pid : 0;
	if (pid != 0)
		kill(pid, SIGTERM);
	runs_jobs = job_runner_ask_to_leave(database);
	LWLockRelease(worker_shared->lock);
	return queue_ask_to_leave(database) || pid != 0 || runs_jobs;
}

static void
bar_database(Oid database)
{
	WorkerSlot *slot;

	barred = remember(barred, database);
	LWLockAcquire(worker_shared->lock, LW_EXCLUSIVE);
	slot = slot_take(database);
	if (slot != NULL)
		slot->bars++;
	else
		barred = list_delete_last(barred);
	LWLockRelease(worker_shared->lock);

	ConditionVariablePrepareToSleep(&worker_shared->gone);
	while (ask_to_leave(database))
		ConditionVariableSleep(&worker_shared->gone,
							   compat_named_wait(&wait_event, "FactoryWorkerLeaves"));
	ConditionVariableCancelSleep();
}

/* The caller holds the lock. */
static void
want_look(Oid database)
{
	WorkerSlot *slot = slot_take(database);

	if (slot == NULL || slot->bars > 0)
		return;
	if (slot->state == SLOT_FREE)
		slot_enter(slot, SLOT_WANTED);
	/* The launcher may have found just before that it is not served. */
	slot->announced = true;
	slot->not_before = 0;
	launcher_wake();
}

void
database_unbar_all(void)
{
	ListCell *cell;

	if (barred == NIL && look_into == NIL)
		return;
	LWLockAcquire(worker_shared->lock, LW_EXCLUSIVE);
	foreach (cell, barred)
	{
		WorkerSlot *slot = slot_of_database(lfirst_oid(cell));

		if (slot != NULL && slot->bars > 0)
			slot->bars--;
		want_look(lfirst_oid(cell));
	}
	foreach (cell, look_into)
		want_look(lfirst_oid(cell));
	LWLockRelease(worker_shared->lock);
	list_free(barred);
	list_free(look_into);
	barred = look_into = NIL;
}

/* --- the commands ----------------------------------------------------------------------- */

static const char *
option_text(List *options, const char *name)
{
	ListCell *cell;

	foreach (cell, options)
	{
		DefElem *option = lfirst_node(DefElem, cell);

		if (strcmp(option->defname, name) == 0 && option->arg != NULL)
			return defGetString(option);
	}
	return NULL;
}

/* The database that must be empty for this command, or NULL. */
static const char *
database_in_the_way(Node *statement)
{
	switch (nodeTag(statement))
	{
		case T_DropdbStmt:
			return castNode(DropdbStmt, statement)->dbname;
		case T_CreatedbStmt:
			return option_text(castNode(CreatedbStmt, statement)->options, "template");
		case T_AlterDatabaseStmt:
			if (option_text(castNode(AlterDatabaseStmt, statement)->options,
							"tablespace") == NULL)
				return NULL;
			return castNode(AlterDatabaseStmt, statement)->dbname;
		case T_RenameStmt:
			if (castNode(RenameStmt, statement)->renameType != OBJECT_DATABASE)
				return NULL;
			return castNode(RenameStmt, statement)->subname;
		default:
			return NULL;
	}
}

/* Nobody may stop another's scheduler by a command that will be refused anyway. */
static void
make_way(Node *statement)
{
	const char *name = database_in_the_way(statement);
	Oid database;

	if (name == NULL || worker_shared == NULL)
		return;
	database = get_database_oid(name, true);
	if (OidIsValid(database) && database != MyDatabaseId &&
		compat_owns_database(database, GetUserId()))
		bar_database(database);
}

/*
 * The database that may have something to do after this command, or NULL: a copy has
 * schedules from its first moment, and one that was a template or closed may be neither
 * now.
 */
static char *
database_to_look_into(Node *statement)
{
	if (IsA(statement, CreatedbStmt))
		return pstrdup(castNode(CreatedbStmt, statement)->dbname);
	if (IsA(statement, AlterDatabaseStmt))
		return pstrdup(castNode(AlterDatabaseStmt, statement)->dbname);
	return NULL;
}

static void
look_into_database(const char *name)
{
	Oid database = get_database_oid(name, true);

	if (OidIsValid(database) && worker_shared != NULL)
		look_into = remember(look_into, database);
}

static void
run_utility(PlannedStmt *planned, const char *text, bool read_only,
			ProcessUtilityContext context, ParamListInfo parameters,
			QueryEnvironment *environment, DestReceiver *receiver,
			QueryCompletion *completion)
{
	Node *statement = planned->utilityStmt;
	/* The statement may not outlive its execution. */
	char *name = database_to_look_into(statement);

	if (context == PROCESS_UTILITY_TOPLEVEL)
		make_way(statement);
	(previous_utility ? previous_utility
					  : standard_ProcessUtility)(planned, text, read_only, context,
												 parameters, environment, receiver,
												 completion);
	if (name != NULL)
		look_into_database(name);
}

/* --- DROP EXTENSION --------------------------------------------------------------------- */

static void
see_object_access(ObjectAccessType access, Oid class, Oid object, int part,
				  void *argument)
{
	if (previous_object_access)
		previous_object_access(access, class, object, part, argument);
	if (access == OAT_DROP && class == ExtensionRelationId)
		worker_wake_at_commit();
}

void
database_install_hooks(void)
{
	previous_utility = ProcessUtility_hook;
	ProcessUtility_hook = run_utility;
	previous_object_access = object_access_hook;
	object_access_hook = see_object_access;
}
