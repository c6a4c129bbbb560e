/*
 * result_send.c
 *		Judgments on their way to a client that wants them as text.
 *
 * SELECT factory.judge(...) spends more on making text of its answer than on the
 * answer.  So where a statement's rows go to a client and have columns of type
 * factory.judgment, somebody stands between the plan and the client: it writes those
 * columns itself (result_text.c) and hands them on as text that is ready.  The rows'
 * description stays what it was.
 */
#include "postgres.h"

#include "access/tupdesc.h"
#include "base/compat.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "executor/tuptable.h"
#include "judgment/judgment.h"
#include "judgment/judgment_int.h"
#include "judgment/result.h"
#include "tcop/dest.h"
#include "tcop/pquery.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"

static ExecutorRun_hook_type previous_run = NULL;

/* Room for most judgments' text. */
#define USUAL_BYTES 3000

typedef struct ResultSender
{
	DestReceiver receiver; /* first: it is what the executor knows */
	DestReceiver *client;
	TupleTableSlot *slot;  /* a row with its judgments written */
	MemoryContext context; /* all of this */
	MemoryContext row;
	Bitmapset *judgments; /* columns, from 0 */
} ResultSender;

/* --- rows ------------------------------------------------------------------------------ */

static char *
judgment_text(Datum value)
{
	const Datum *values;
	const bool *nulls;
	StringInfoData out;

	if (!result_columns(value, &values, &nulls))
		return OidOutputFunctionCall(F_RECORD_OUT, value);
	initStringInfo(&out);
	enlargeStringInfo(&out, USUAL_BYTES);
	result_write(&out, values, nulls);
	return out.data;
}

static bool
send_row(TupleTableSlot *from, DestReceiver *self)
{
	ResultSender *sender = (ResultSender *) self;
	TupleTableSlot *to = sender->slot;
	MemoryContext caller;
	int column = -1;

	slot_getallattrs(from);
	ExecClearTuple(to);
	memcpy(to->tts_values, from->tts_values, sizeof(Datum) * from->tts_nvalid);
	memcpy(to->tts_isnull, from->tts_isnull, sizeof(bool) * from->tts_nvalid);
	MemoryContextReset(sender->row);
	caller = MemoryContextSwitchTo(sender->row);
	while ((column = bms_next_member(sender->judgments, column)) >= 0)
		if (!to->tts_isnull[column])
			to->tts_values[column] =
				CStringGetDatum(judgment_text(from->tts_values[column]));
	MemoryContextSwitchTo(caller);
	ExecStoreVirtualTuple(to);
	return sender->client->receiveSlot(to, sender->client);
}

static void
send_startup(DestReceiver *self, int operation, TupleDesc columns)
{
	DestReceiver *client = ((ResultSender *) self)->client;

	client->rStartup(client, operation, columns);
}

static void
send_shutdown(DestReceiver *self)
{
	DestReceiver *client = ((ResultSender *) self)->client;

	client->rShutdown(client);
}

/* The client's own is its portal's to end. */
static void
send_destroy(DestReceiver *self)
{
}

/* --- statements --------------------------------------------------------------------------- */

static Bitmapset *
judgment_columns(TupleDesc columns, const int16 *formats)
{
	Oid type = result_type();
	Bitmapset *found = NULL;

	for (int i = 0; i < columns->natts; i++)
		if (TupleDescAttr(columns, i)->atttypid == type && formats[i] == 0)
			found = bms_add_member(found, i);
	return found;
}

/*
 * The rows' formats are known of a portal that runs for itself: one with a name may be
 * run by FETCH, in other formats than its own.
 */
static Bitmapset *
judgments_for_client(const QueryDesc *query)
{
	Portal portal = ActivePortal;

	if (result_type() == InvalidOid || query->tupDesc == NULL ||
		(query->dest->mydest != DestRemote && query->dest->mydest != DestRemoteExecute))
		return NULL;
	if (portal == NULL || portal->queryDesc != query || portal->name[0] != '\0' ||
		portal->formats == NULL)
		return NULL;
	return judgment_columns(query->tupDesc, portal->formats);
}

/* Such a row's description, the judgments being text that is ready. */
static TupleDesc
written_columns(TupleDesc columns, const Bitmapset *judgments)
{
	TupleDesc written = CreateTupleDescCopy(columns);
	int column = -1;

	while ((column = bms_next_member(judgments, column)) >= 0)
		TupleDescInitEntry(written, column + 1,
						   NameStr(TupleDescAttr(columns, column)->attname), CSTRINGOID,
						   -1, 0);
	compat_finish_tuple_desc(written);
	return written;
}

/* A portal may be run many times: what a run takes ends with it. */
static ResultSender *
result_sender(const QueryDesc *query, Bitmapset *judgments)
{
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "pg_factory judgments for a client",
							  ALLOCSET_SMALL_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(context);
	ResultSender *sender = palloc0(sizeof(ResultSender));

	sender->receiver = (DestReceiver){.receiveSlot = send_row,
									  .rStartup = send_startup,
									  .rShutdown = send_shutdown,
									  .rDestroy = send_destroy,
									  .mydest = query->dest->mydest};
	sender->client = query->dest;
	sender->slot = MakeSingleTupleTableSlot(written_columns(query->tupDesc, judgments),
											&TTSOpsVirtual);
	sender->context = context;
	sender->row = AllocSetContextCreate(context, "pg_factory judgment text",
										ALLOCSET_DEFAULT_SIZES);
	sender->judgments = judgments;
	MemoryContextSwitchTo(caller);
	return sender;
}

static void
run(COMPAT_RUN_PARAMETERS)
{
	DestReceiver *client = query->dest;
	Bitmapset *judgments = judgments_for_client(query);
	ResultSender *sender = NULL;

	/* After an error nothing of the query is used again. */
	if (judgments != NULL)
	{
		sender = result_sender(query, judgments);
		query->dest = &sender->receiver;
	}
	if (previous_run)
		previous_run(COMPAT_RUN_ARGUMENTS);
	else
		standard_ExecutorRun(COMPAT_RUN_ARGUMENTS);
	query->dest = client;
	if (sender != NULL)
		MemoryContextDelete(sender->context);
	bms_free(judgments);
}

void
judgment_install_hooks(void)
{
	previous_run = ExecutorRun_hook;
	ExecutorRun_hook = run;
}
