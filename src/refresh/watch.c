/*
 * watch.c
 *		Who waits for whom: predecessors of a view, and tables whose changes it awaits.
 *
 * A watched table has a trigger that writes one row a transaction.  It belongs to
 * the table: whoever schedules a view "on change" needs the right to put it there.
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/clock.h"
#include "base/compat.h"
#include "base/errors.h"
#include "base/house.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "refresh/refresh_int.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#define WATCH_TRIGGER "factory_note_change"

/* --- predecessors ------------------------------------------------------------------- */

/* What a view comes after, as its schedule says, and the materialized views it reads. */
static const char *const before_query =
	"SELECT p.view::pg_catalog.oid, 'after' FROM factory.refresh_schedule AS s, "
	"pg_catalog.unnest(s.after_views) AS p(view) WHERE s.view::pg_catalog.oid = $1 "
	"UNION ALL SELECT r.relation, 'reads' FROM factory.view_sources($1, false) AS r "
	"WHERE r.kind = 'm' ORDER BY 2, 1";

/* A view that must be there before another: it is what that one comes after, or reads. */
typedef struct Before
{
	Oid view;
	const char *how;
	const struct Before *other; /* NULL: the schedule to come names it */
} Before;

static bool
is_among(const List *found, Oid view)
{
	ListCell *cell;

	foreach (cell, found)
		if (((const Before *) lfirst(cell))->view == view)
			return true;
	return false;
}

static List *
add_before(List *found, Oid view, const char *how, const Before *other)
{
	Before *before = palloc(sizeof(Before));

	*before = (Before){view, how, other};
	return lappend(found, before);
}

static List *
add_all_before(List *found, const Before *other)
{
	Oid types[] = {OIDOID};
	Datum values[] = {ObjectIdGetDatum(other->view)};
	SPITupleTable *rows;
	bool isnull;

	SPI_execute_with_args(before_query, 1, types, values, NULL, true, 0);
	rows = SPI_tuptable;
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		Oid view =
			DatumGetObjectId(SPI_getbinval(rows->vals[i], rows->tupdesc, 1, &isnull));

		if (!is_among(found, view))
			found = add_before(found, view, SPI_getvalue(rows->vals[i], rows->tupdesc, 2),
							   other);
	}
	SPI_freetuptable(rows);
	return found;
}

/* "c reads b after a", of the last. */
static char *
way_to(const Before *last)
{
	char *name =
		DatumGetCString(DirectFunctionCall1(regclassout, ObjectIdGetDatum(last->view)));

	if (last->other == NULL)
		return name;
	return psprintf("%s %s %s", way_to(last->other), last->how, name);
}

/* Each view is looked at once, the nearest first. */
void
refresh_refuse_cycle(Oid view, List *after)
{
	List *found = NIL;
	HouseRights saved;
	ListCell *cell;

	foreach (cell, after)
		found = add_before(found, lfirst_oid(cell), NULL, NULL);
	house_enter(&saved);
	SPI_connect();
	for (int i = 0; i < list_length(found); i++)
	{
		const Before *before = list_nth(found, i);

		CHECK_FOR_INTERRUPTS();
		if (before->view == view)
			ereport(ERROR, (errcode(ERRCODE_FACTORY_INVALID_SCHEDULE),
							errmsg("the views would wait for each other"),
							errdetail("Already: %s.", way_to(before)),
							errhint("Leave one \"after\" out.")));
		found = add_all_before(found, before);
	}
	SPI_finish();
	house_leave(&saved);
}

/* --- changes ---------------------------------------------------------------------------- */

/* Tables, leaves of partitioned ones aside, that the view reads and nobody watches yet. */
static const char *const unwatched_query =
	"SELECT c.oid::pg_catalog.regclass::pg_catalog.text, c.relkind "
	"FROM factory.view_sources($1, true) AS s JOIN pg_catalog.pg_class AS c "
	"ON c.oid = s.relation WHERE c.relkind NOT IN ('m', 'v') AND NOT EXISTS (SELECT FROM "
	"pg_catalog.pg_trigger AS t WHERE t.tgrelid = c.oid AND t.tgname = '" WATCH_TRIGGER
	"') ORDER BY 1";

static List *
unwatched_tables(Oid view)
{
	Oid types[] = {OIDOID};
	Datum values[] = {ObjectIdGetDatum(view)};
	List *tables = NIL;
	HouseRights saved;
	MemoryContext caller = CurrentMemoryContext;

	SPI_connect();
	/* Names come out qualified, whatever the caller's search_path is. */
	house_enter(&saved);
	SPI_execute_with_args(unwatched_query, 1, types, values, NULL, true, 0);
	house_leave(&saved);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple row = SPI_tuptable->vals[i];
		char *name = SPI_getvalue(row, SPI_tuptable->tupdesc, 1);
		char *kind = SPI_getvalue(row, SPI_tuptable->tupdesc, 2);
		MemoryContext before;

		if (*kind != RELKIND_RELATION && *kind != RELKIND_PARTITIONED_TABLE)
			ereport(ERROR, (errcode(ERRCODE_FACTORY_INVALID_SCHEDULE),
							errmsg("changes of \"%s\" cannot be noticed", name),
							errdetail("It is not a table of this server."),
							errhint("Write times or \"within 5 minutes\" instead of \"on "
									"change\".")));
		before = MemoryContextSwitchTo(caller);
		tables = lappend(tables, pstrdup(name));
		MemoryContextSwitchTo(before);
	}
	SPI_finish();
	return tables;
}

void
refresh_watch_sources(Oid view)
{
	List *tables = unwatched_tables(view);
	ListCell *cell;

	SPI_connect();
	foreach (cell, tables)
	{
		char *statement =
			psprintf("CREATE TRIGGER " WATCH_TRIGGER
					 " AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE "
					 "ON %s FOR EACH STATEMENT EXECUTE FUNCTION factory.note_change()",
					 (char *) lfirst(cell));

		if (SPI_execute(statement, false, 0) != SPI_OK_UTILITY)
			elog(ERROR, "could not watch \"%s\"", (char *) lfirst(cell));
	}
	SPI_finish();
}

/* Tables that this transaction's rows tell of already. */
static List *noted = NIL;
static bool forgetting = false;

static void
forget_at_end(XactEvent event, void *argument)
{
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT ||
		event == XACT_EVENT_PREPARE)
	{
		list_free(noted);
		noted = NIL;
	}
}

/* A savepoint that is undone takes its row away: what it noted counts no more. */
static void
forget_at_undo(SubXactEvent event, SubTransactionId mine, SubTransactionId parent,
			   void *argument)
{
	if (event == SUBXACT_EVENT_ABORT_SUB)
	{
		list_free(noted);
		noted = NIL;
	}
}

static void
remember_noted(Oid relation)
{
	MemoryContext before = MemoryContextSwitchTo(TopMemoryContext);

	if (!forgetting)
	{
		RegisterXactCallback(forget_at_end, NULL);
		RegisterSubXactCallback(forget_at_undo, NULL);
		forgetting = true;
	}
	noted = lappend_oid(noted, relation);
	MemoryContextSwitchTo(before);
}

FACTORY_FUNCTION(factory_note_change);

Datum
factory_note_change(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	Oid types[] = {OIDOID, TIMESTAMPTZOID};
	Datum values[2];
	HouseRights saved;
	Oid relation;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("function \"%s\" can only be called as a trigger",
							   "factory.note_change")));
	relation = RelationGetRelid(trigger->tg_relation);
	if (list_member_oid(noted, relation))
		PG_RETURN_POINTER(NULL);
	values[0] = ObjectIdGetDatum(relation);
	values[1] = TimestampTzGetDatum(clock_now());
	house_enter(&saved);
	SPI_connect();
	SPI_execute_with_args("INSERT INTO factory.refresh_change (relation, changed_at) "
						  "VALUES ($1, $2)",
						  2, types, values, NULL, false, 0);
	SPI_finish();
	house_leave(&saved);
	remember_noted(relation);
	PG_RETURN_POINTER(NULL);
}
