/*
 * guarded_run.c
 *		Runs a statement nobody has to trust.
 *
 * Everything happens as the reader role, in a subtransaction that is read-only
 * and always rolled back, under a timer of our own.  The tree that the guard has
 * walked is the tree that is planned and run: the text is never parsed again, and
 * no plan cache may revalidate it.
 *
 * Danger: row security is bound when the tree is rewritten, permissions when the
 * portal starts.  The reader must stay the current user from one to the other.
 */
#include "postgres.h"

#include <fcntl.h>
#include <unistd.h>

#include "access/xact.h"
#include "base/clock.h"
#include "base/errors.h"
#include "bi/bi_int.h"
#include "catalog/pg_type.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "storage/latch.h"
#include "tcop/dest.h"
#include "tcop/pquery.h"
#include "tcop/tcopprot.h"
#include "utils/acl.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/portal.h"
#include "utils/snapmgr.h"
#include "utils/timeout.h"

/* How often a run's memory is looked at. */
#define RUN_MEMORY_TICK_MS 20
/* Of each sort and hash: the caller's own work_mem, but no more than this. */
#define RUN_WORK_MEM_KB (64 * 1024)

/* One run: what to do, and what came of it. */
typedef struct Run
{
	const char *sql;
	List *relations; /* what it may name; NIL: whatever the reader may read */
	int max_rows;
	GuardedResult *result; /* NULL: judge only */
	Verdict *verdict;
} Run;

/* Takes rows from the executor as JSON arrays. */
typedef struct RowReceiver
{
	DestReceiver receiver;
	GuardedResult *result;
	MemoryContext context;
	FmgrInfo *to_jsonb; /* one a column: the function looks its type up once */
	int max_rows;
	int64 max_bytes;
} RowReceiver;

/* What the statement sees, whatever the caller has set. */
static const struct
{
	const char *name;
	const char *value;
} pinned_settings[] = {
	{"DateStyle", "ISO, YMD"},
	{"IntervalStyle", "postgres"},
	{"extra_float_digits", "1"},
	{"jit", "off"},
	{"max_parallel_workers_per_gather", "0"},
	{"row_security", "on"},
	{"xmloption", "content"},
};

static TimeoutId run_timeout = MAX_TIMEOUTS;
static TimeoutId memory_timeout = MAX_TIMEOUTS;
static volatile sig_atomic_t run_timed_out = false;
static volatile sig_atomic_t run_too_big = false;
static long memory_limit_pages; /* of our own, not shared; 0: not watched */

static void
run_cancel(void)
{
	InterruptPending = true;
	QueryCancelPending = true;
	SetLatch(MyLatch);
}

/* Signal context. */
static void
run_deadline_passed(void)
{
	run_timed_out = true;
	run_cancel();
}

/*
 * Pages of memory that are this process's alone; 0 where the system does not tell.
 * Only calls that a signal handler may make.
 */
static long
own_pages(void)
{
	char text[128];
	long fields[3] = {0};
	int file = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
	ssize_t length;
	int field = 0;

	if (file < 0)
		return 0;
	length = read(file, text, sizeof(text));
	close(file);
	/* "size resident shared ...", in pages */
	for (ssize_t i = 0; i < length && field < lengthof(fields); i++)
	{
		if (text[i] == ' ')
			field++;
		else if (text[i] >= '0' && text[i] <= '9')
			fields[field] = fields[field] * 10 + (text[i] - '0');
	}
	return fields[1] - fields[2];
}

/* Signal context: work_mem bounds sorts and hashes, nothing bounds string_agg(). */
static void
run_memory_watched(void)
{
	int saved = errno;

	if (memory_limit_pages > 0 && own_pages() > memory_limit_pages)
	{
		run_too_big = true;
		run_cancel();
	}
	errno = saved;
}

static void
start_timers(void)
{
	long pages = own_pages();

	run_timed_out = run_too_big = false;
	memory_limit_pages =
		pages > 0 ? pages + (long) bi_memory_kb * 1024 / sysconf(_SC_PAGESIZE) : 0;
	enable_timeout_after(run_timeout, bi_timeout_ms);
	enable_timeout_every(memory_timeout,
						 TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
													 RUN_MEMORY_TICK_MS),
						 RUN_MEMORY_TICK_MS);
}

static void
stop_timers(void)
{
	disable_timeout(run_timeout, false);
	disable_timeout(memory_timeout, false);
}

static void
pin_setting(const char *name, const char *value)
{
	(void) set_config_option(name, value, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE,
							 true, 0, false);
}

static void
pin_settings(void)
{
	for (int i = 0; i < lengthof(pinned_settings); i++)
		pin_setting(pinned_settings[i].name, pinned_settings[i].value);
	if (work_mem > RUN_WORK_MEM_KB)
		pin_setting("work_mem", psprintf("%d", RUN_WORK_MEM_KB));
	pin_setting("hash_mem_multiplier", "1");
	pin_setting("TimeZone", clock_plant_zone());
	/* pg_temp last and by name: else it comes first, and shadows. */
	pin_setting("search_path", psprintf("pg_catalog, %s, pg_temp",
										bi_reader_search_path && bi_reader_search_path[0]
											? bi_reader_search_path
											: "public"));
}

/* The reader, or InvalidOid where the setting names nobody fit for it. */
static Oid
reader_oid(Verdict *verdict)
{
	Oid reader = get_role_oid(bi_reader_role, true);

	if (!OidIsValid(reader))
		guard_refuse(verdict, "reader",
					 psprintf("reader role \"%s\" does not exist", bi_reader_role),
					 pstrdup("Create it with CREATE ROLE, or set factory.reader_role to "
							 "another role without rights to change anything."));
	else if (superuser_arg(reader))
	{
		guard_refuse(verdict, "reader",
					 psprintf("reader role \"%s\" is a superuser", bi_reader_role),
					 pstrdup("Set factory.reader_role to a role that may only read."));
		reader = InvalidOid;
	}
	return reader;
}

/* --- rows ------------------------------------------------------------------ */

static void
receiver_startup(DestReceiver *self, int operation, TupleDesc type)
{
	RowReceiver *receiver = (RowReceiver *) self;
	GuardedResult *result = receiver->result;
	MemoryContext old = MemoryContextSwitchTo(receiver->context);

	result->column_count = type->natts;
	result->names = palloc0(sizeof(char *) * Max(type->natts, 1));
	result->types = palloc0(sizeof(Oid) * Max(type->natts, 1));
	receiver->to_jsonb = palloc0(sizeof(FmgrInfo) * Max(type->natts, 1));
	for (int i = 0; i < type->natts; i++)
	{
		Form_pg_attribute column = TupleDescAttr(type, i);
		Node *argument = (Node *) makeNullConst(column->atttypid, -1, InvalidOid);

		result->names[i] = pstrdup(NameStr(column->attname));
		result->types[i] = column->atttypid;
		fmgr_info(F_TO_JSONB, &receiver->to_jsonb[i]);
		fmgr_info_set_expr((Node *) makeFuncExpr(F_TO_JSONB, JSONBOID,
												 list_make1(argument), InvalidOid,
												 InvalidOid, COERCE_EXPLICIT_CALL),
						   &receiver->to_jsonb[i]);
	}
	MemoryContextSwitchTo(old);
}

/* False ends the run: enough rows, or enough bytes. */
static bool
receiver_take_row(TupleTableSlot *slot, DestReceiver *self)
{
	RowReceiver *receiver = (RowReceiver *) self;
	GuardedResult *result = receiver->result;
	MemoryContext old;
	DocBuilder b;
	Jsonb *row;

	if (list_length(result->rows) >= receiver->max_rows ||
		result->bytes >= receiver->max_bytes)
	{
		result->truncated = true;
		return false;
	}
	slot_getallattrs(slot);
	old = MemoryContextSwitchTo(receiver->context);
	doc_build(&b);
	doc_begin_array(&b, NULL);
	for (int i = 0; i < result->column_count; i++)
	{
		if (slot->tts_isnull[i])
			doc_put_null(&b, NULL);
		else
			doc_put_doc(&b, NULL,
						DatumGetJsonbP(
							FunctionCall1(&receiver->to_jsonb[i], slot->tts_values[i])));
	}
	doc_end_array(&b);
	row = doc_finish(&b);
	result->rows = lappend(result->rows, row);
	result->bytes += VARSIZE(row);
	MemoryContextSwitchTo(old);
	return true;
}

static void
receiver_nothing(DestReceiver *self)
{
}

static void
run_plan(Run *run, Query *query)
{
	RowReceiver receiver = {
		.receiver = {receiver_take_row, receiver_startup, receiver_nothing,
					 receiver_nothing, DestNone},
		.result = run->result,
		.context = CurrentMemoryContext,
		.max_rows = run->max_rows,
		.max_bytes = (int64) bi_max_bytes_kb * 1024,
	};
	PlannedStmt *plan = compat_pg_plan_query(query, run->sql, 0);
	Portal portal = CreateNewPortal();

	/* Plan and text are the caller's, and outlive the portal. */
	portal->visible = false;
	PortalDefineQuery(portal, NULL, run->sql, CMDTAG_SELECT, list_make1(plan), NULL);
	portal->cursorOptions = CURSOR_OPT_NO_SCROLL;
	PortalStart(portal, NULL, 0, GetActiveSnapshot());
	PopActiveSnapshot();
	(void) PortalRunFetch(portal, FETCH_FORWARD, (long) run->max_rows + 1,
						  &receiver.receiver);
	PortalDrop(portal, false);
}

/* --- the frame -------------------------------------------------------------- */

static void
run_as_reader(Run *run)
{
	Query *query;

	CHECK_FOR_INTERRUPTS();
	PushActiveSnapshot(GetTransactionSnapshot());
	run->verdict->layer = "analysis";
	query = guard_analyse(run->sql, run->relations, run->verdict);
	if (query == NULL)
		return;
	run->verdict->layer = "run";
	if (run->result != NULL)
		run_plan(run, query);
	run->verdict->ok = true;
}

static void
verdict_from_error(Verdict *verdict, ErrorData *error)
{
	verdict->ok = false;
	verdict->sqlstate = error->sqlerrcode;
	if (run_timed_out && error->sqlerrcode == ERRCODE_QUERY_CANCELED)
	{
		verdict->layer = "timeout";
		verdict->reason = psprintf("the statement ran longer than %d ms", bi_timeout_ms);
		verdict->hint =
			pstrdup("Ask for a shorter period, or have factory.question_timeout raised.");
		return;
	}
	if (run_too_big && error->sqlerrcode == ERRCODE_QUERY_CANCELED)
	{
		verdict->layer = "memory";
		verdict->sqlstate = ERRCODE_OUT_OF_MEMORY;
		verdict->reason =
			psprintf("the statement took more than %d MB of memory", bi_memory_kb / 1024);
		verdict->hint = pstrdup("Aggregate less in one statement, or have "
								"factory.question_memory raised.");
		return;
	}
	if (verdict->layer == NULL)
		verdict->layer = "run";
	verdict->reason = error->detail ? psprintf("%s: %s", error->message, error->detail)
									: pstrdup(error->message);
	verdict->hint = error->hint ? pstrdup(error->hint) : NULL;
}

void
guarded_run(const char *sql, GuardScope scope, int max_rows, GuardedResult *result,
			Verdict *verdict)
{
	/* As the caller sees it: from here on the reader asks. */
	Catalog *catalog = scope == GUARD_CATALOG ? catalog_get() : NULL;
	Run run = {sql, catalog ? catalog->relations : NIL, max_rows, result, verdict};
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	Oid reader;
	ErrorData *volatile error = NULL;
	int settings_level;
	Oid user;
	int security;

	memset(verdict, 0, sizeof(*verdict));
	if (result)
		memset(result, 0, sizeof(*result));
	reader = reader_oid(verdict);
	if (!OidIsValid(reader))
		return;
	/* Not at load: a backend's start wipes the handlers. */
	if (run_timeout == MAX_TIMEOUTS)
	{
		run_timeout = RegisterTimeout(USER_TIMEOUT, run_deadline_passed);
		memory_timeout = RegisterTimeout(USER_TIMEOUT, run_memory_watched);
	}

	GetUserIdAndSecContext(&user, &security);
	settings_level = NewGUCNestLevel();
	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	run_timed_out = run_too_big = false;
	PG_TRY();
	{
		pin_settings();
		SetUserIdAndSecContext(reader, security | SECURITY_LOCAL_USERID_CHANGE |
										   SECURITY_RESTRICTED_OPERATION);
		/* Restored by the subtransaction's end; 18 refuses the setting's own way. */
		XactReadOnly = true;
		start_timers();
		run_as_reader(&run);
		stop_timers();
		/* It fired when the work was already done. */
		if (run_timed_out || run_too_big)
			QueryCancelPending = false;
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		stop_timers();
	}
	PG_END_TRY();

	SetUserIdAndSecContext(user, security);
	RollbackAndReleaseCurrentSubTransaction();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	AtEOXact_GUC(false, settings_level);

	if (error == NULL)
		return;
	if (error->sqlerrcode == ERRCODE_QUERY_CANCELED && !run_timed_out && !run_too_big)
		ReThrowError(error);
	verdict_from_error(verdict, error);
}

void
verdict_raise(const Verdict *verdict)
{
	bool ran = strcmp(verdict->layer, "run") == 0;
	int code = ERRCODE_FACTORY_SQL_REFUSED;

	if (strcmp(verdict->layer, "timeout") == 0)
		code = ERRCODE_FACTORY_QUESTION_TIMEOUT;
	else if (ran && verdict->sqlstate != 0)
		code = verdict->sqlstate;
	ereport(ERROR,
			(errcode(code),
			 ran ? errmsg("statement failed: %s", verdict->reason)
				 : errmsg("statement refused: %s", verdict->reason),
			 ran ? 0 : errdetail("The guard's layer \"%s\" refused it.", verdict->layer),
			 verdict->hint ? errhint("%s", verdict->hint) : 0));
}
