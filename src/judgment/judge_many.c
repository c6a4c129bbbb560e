/*
 * judge_many.c
 *		judge_many(): a judgment for each row of a query, many models thinking at once.
 *
 * Rows are fetched as places become free and given out in their order.  A row that no
 * model is asked for takes no place.  Equal prompts are asked once; for that, the
 * different prompts of a statement and their answers stay in memory until it ends.
 * What nobody has asked in this statement is looked for in the cache before; what was
 * answered is kept in the cache's memory at once, and in its table at the end, for
 * whoever deploys would wait for rows that we have written.
 */
#include "postgres.h"

#include "base/attempt.h"
#include "base/compat.h"
#include "base/query_rows.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "fmgr.h"
#include "funcapi.h"
#include "judgment/judgment.h"
#include "judgment/judgment_int.h"
#include "lib/ilist.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

/* What a model was asked, and what came of it. */
typedef struct Question
{
	int version; /* of the decision, which has the model and what it may answer */
	char *system;
	char *user;
	LlmCall *call;       /* under way, or NULL */
	JudgmentTask *asker; /* as long as it is */
	LlmAnswer *answer;
	unsigned char key[CACHE_DIGEST_BYTES]; /* by which the asker keeps it */
} Question;

/* The table may move its entries, so it holds pointers. */
typedef struct AskedEntry
{
	uint64 hash;
	char status;
	Question *question;
} AskedEntry;

#define SH_PREFIX asked
#define SH_ELEMENT_TYPE AskedEntry
#define SH_KEY_TYPE uint64
#define SH_KEY hash
#define SH_HASH_KEY(table, key) ((uint32) (key))
#define SH_EQUAL(table, a, b) ((a) == (b))
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

/* What goes into the cache's table at the end. */
typedef struct Kept
{
	JudgmentKeeping keeping;
	const LlmAnswer *answer;
} Kept;

/* A row of the query that has not been given out yet. */
typedef struct Row
{
	dlist_node node;
	MemoryContext context;
	JudgmentTask task;
	Question *question; /* NULL: no model is asked */
	ErrorData *error;   /* it cannot be judged */
} Row;

typedef struct Many
{
	const char *decision;
	const char *policy;
	bool skip_cache;
	DecisionPin pin; /* one for the whole statement */
	int concurrency;
	MemoryContext context; /* the statement's */
	MemoryContext scratch; /* a row's that is given out */
	QueryRows rows;
	asked_hash *asked;
	dlist_head waiting; /* rows, in order */
	int waiting_count;
	List *kept; /* of Kept * */
	Question **under_way;
	LlmCall **calls;
	int call_count;
	ReturnSetInfo *result;
} Many;

/* --- the query --------------------------------------------------------------------------- */

/* A single column of type jsonb is the input; else the columns are its keys. */
static Jsonb *
row_input(const Many *many, HeapTuple tuple)
{
	TupleDesc columns = query_rows_columns(&many->rows);

	if (columns->natts == 1 && TupleDescAttr(columns, 0)->atttypid == JSONBOID)
	{
		bool is_null;
		Datum value = SPI_getbinval(tuple, columns, 1, &is_null);

		if (!is_null)
			return DatumGetJsonbPCopy(value);
	}
	return query_rows_document(&many->rows, tuple);
}

/* --- asking -------------------------------------------------------------------------------- */

static uint64
prompt_hash(const LlmRequest *request, int version)
{
	uint64 system =
		DatumGetUInt64(hash_any_extended((const unsigned char *) request->system,
										 strlen(request->system), version));

	return DatumGetUInt64(hash_any_extended((const unsigned char *) request->user,
											strlen(request->user), system));
}

static bool
asks_the_same(const Question *question, const JudgmentTask *task)
{
	return question->version == task->version &&
		   strcmp(question->user, task->request->user) == 0 &&
		   strcmp(question->system, task->request->system) == 0;
}

static Question *
ask(Many *many, JudgmentTask *task)
{
	MemoryContext before = MemoryContextSwitchTo(many->context);
	Question *question = palloc0(sizeof(Question));

	question->version = task->version;
	question->system = pstrdup(task->request->system);
	question->user = pstrdup(task->request->user);
	question->asker = task;
	memcpy(question->key, task->keeping.ticket.digest, CACHE_DIGEST_BYTES);
	MemoryContextSwitchTo(before);
	question->call = llm_start(task->request);
	many->under_way[many->call_count] = question;
	many->calls[many->call_count++] = question->call;
	return question;
}

/* Another row's question; its answer is kept by this row's key, too, if that differs. */
static Question *
share(Question *question, JudgmentTask *task)
{
	if (memcmp(question->key, task->keeping.ticket.digest, CACHE_DIGEST_BYTES) == 0)
		task->keeps = false;
	return question;
}

/*
 * Another row's question where the prompt is the same; NULL where the cache has the
 * answer.  Nobody is waited for while models of ours are under way.
 */
static Question *
find_or_ask(Many *many, JudgmentTask *task)
{
	CacheTurn turn = many->call_count == 0 ? CACHE_AWAIT_TURN : CACHE_TAKE_TURN;
	uint64 hash = prompt_hash(task->request, task->version);
	AskedEntry *entry = asked_lookup(many->asked, hash);
	Question *question;
	bool found;

	if (entry != NULL && asks_the_same(entry->question, task))
		return share(entry->question, task);
	if (judgment_task_recall(task, turn))
		return NULL;
	question = ask(many, task);
	entry = asked_insert(many->asked, hash, &found);
	if (!found)
		entry->question = question;
	return question;
}

static void
begin_task(void *argument)
{
	judgment_task_begin(argument);
}

static void
take_row(Many *many, HeapTuple tuple)
{
	MemoryContext context =
		AllocSetContextCreate(many->context, "factory row", ALLOCSET_SMALL_SIZES);
	MemoryContext before = MemoryContextSwitchTo(context);
	Row *row = palloc0(sizeof(Row));

	row->context = context;
	row->task = (JudgmentTask){.decision = many->decision,
							   .policy = many->policy,
							   .skip_cache = many->skip_cache,
							   .pin = &many->pin,
							   .input = row_input(many, tuple)};
	row->error = attempt(begin_task, &row->task);
	row->task.keeping.later = true;
	if (row->error == NULL && row->task.request != NULL)
		row->question = find_or_ask(many, &row->task);
	MemoryContextSwitchTo(before);
	dlist_push_tail(&many->waiting, &row->node);
	many->waiting_count++;
}

/* --- answering ------------------------------------------------------------------------------ */

static void
complete_task(void *argument)
{
	Row *row = argument;

	judgment_task_complete(&row->task, row->question ? row->question->answer : NULL);
}

static void
remember_to_keep(Many *many, const Row *row)
{
	MemoryContext before;
	Kept *kept;

	if (!row->task.keeps || row->question == NULL ||
		row->question->answer->failure != LLM_OK || row->question->answer->is_stopgap)
		return;
	before = MemoryContextSwitchTo(many->context);
	kept = palloc(sizeof(Kept));
	*kept = (Kept){row->task.keeping, row->question->answer};
	kept->keeping.ticket.subject = many->decision;
	many->kept = lappend(many->kept, kept);
	MemoryContextSwitchTo(before);
}

static void
give_out(Many *many, Row *row)
{
	MemoryContext before = MemoryContextSwitchTo(many->scratch);
	HeapTupleData tuple = {0};
	Datum result;

	if (row->error == NULL)
		row->error = attempt(complete_task, row);
	if (row->error == NULL)
		result = judgment_task_result(&row->task);
	else
		result = judgment_task_failure(&row->task, row->error);
	tuple.t_data = DatumGetHeapTupleHeader(result);
	tuple.t_len = HeapTupleHeaderGetDatumLength(tuple.t_data);
	tuplestore_puttuple(many->result->setResult, &tuple);
	MemoryContextSwitchTo(before);
	MemoryContextReset(many->scratch);
}

static void
give_out_done(Many *many)
{
	while (!dlist_is_empty(&many->waiting))
	{
		Row *row = dlist_head_element(Row, node, &many->waiting);

		if (row->question != NULL && row->question->answer == NULL)
			break;
		give_out(many, row);
		remember_to_keep(many, row);
		dlist_delete(&row->node);
		many->waiting_count--;
		MemoryContextDelete(row->context);
	}
}

/* The call lives in its row's memory; the answer must outlive that. */
static LlmAnswer *
keep_answer(const LlmAnswer *answer)
{
	LlmAnswer *copy = palloc(sizeof(LlmAnswer));

	*copy = *answer;
	copy->reason = answer->reason ? pstrdup(answer->reason) : NULL;
	copy->hint = answer->hint ? pstrdup(answer->hint) : NULL;
	copy->text = answer->text ? pstrdup(answer->text) : NULL;
	copy->model = answer->model ? pstrdup(answer->model) : NULL;
	copy->asked = answer->asked ? pstrdup(answer->asked) : NULL;
	if (answer->ladder != NULL)
		copy->ladder = memcpy(palloc(VARSIZE(answer->ladder)), answer->ladder,
							  VARSIZE(answer->ladder));
	if (answer->json != NULL)
		copy->json =
			memcpy(palloc(VARSIZE(answer->json)), answer->json, VARSIZE(answer->json));
	return copy;
}

/* Others may be waiting for it; its row may still wait for those before it. */
static void
keep_in_memory(Many *many, Question *question)
{
	MemoryContext before = MemoryContextSwitchTo(many->scratch);

	judgment_task_keep(question->asker, question->answer);
	question->asker = NULL;
	MemoryContextSwitchTo(before);
	MemoryContextReset(many->scratch);
}

static void
keep_in_table(Many *many)
{
	ListCell *cell;

	foreach (cell, many->kept)
	{
		Kept *kept = lfirst(cell);
		MemoryContext before = MemoryContextSwitchTo(many->scratch);

		kept->keeping.later = false;
		judgment_keep(&kept->keeping, kept->answer);
		MemoryContextSwitchTo(before);
		MemoryContextReset(many->scratch);
	}
}

static void
take_answer(Many *many, int place)
{
	Question *question = many->under_way[place];
	MemoryContext before = MemoryContextSwitchTo(many->context);

	question->answer = keep_answer(llm_answer(question->call));
	question->call = NULL;
	MemoryContextSwitchTo(before);
	keep_in_memory(many, question);
	many->call_count--;
	many->under_way[place] = many->under_way[many->call_count];
	many->calls[place] = many->calls[many->call_count];
}

static bool
has_room(void *taker)
{
	const Many *many = taker;

	return many->call_count < many->concurrency && many->waiting_count < LLM_MAX_WAITING;
}

static void
take_and_give_out(void *taker, HeapTuple tuple)
{
	take_row(taker, tuple);
	give_out_done(taker);
}

static void
run_many(Many *many)
{
	for (;;)
	{
		query_rows_feed(&many->rows, has_room, take_and_give_out, many);
		if (many->call_count == 0)
			break;
		take_answer(many, llm_wait_any(many->calls, many->call_count));
		give_out_done(many);
	}
}

/* --- SQL --------------------------------------------------------------------------------------- */

static char *
required_argument(FunctionCallInfo fcinfo, int number, const char *name)
{
	if (PG_ARGISNULL(number))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("argument \"%s\" of judge_many must not be null", name),
						errhint("Give it a text.")));
	return text_to_cstring(PG_GETARG_TEXT_PP(number));
}

FACTORY_FUNCTION(factory_judge_many);

Datum
factory_judge_many(PG_FUNCTION_ARGS)
{
	Many many = {0};
	char *query = required_argument(fcinfo, 1, "query");

	many.decision = required_argument(fcinfo, 0, "decision");
	many.concurrency =
		llm_concurrency("judge_many", PG_ARGISNULL(2) ? 0 : PG_GETARG_INT32(2));
	if (!PG_ARGISNULL(3))
	{
		many.policy = text_to_cstring(PG_GETARG_TEXT_PP(3));
		(void) judgment_policy_from_name(many.policy);
	}
	many.skip_cache = !PG_ARGISNULL(4) && PG_GETARG_BOOL(4);
	(void) decision_for_call(&many.pin, many.decision, 0);

	InitMaterializedSRF(fcinfo, 0);
	many.result = (ReturnSetInfo *) fcinfo->resultinfo;
	many.context = CurrentMemoryContext;
	many.scratch = AllocSetContextCreate(CurrentMemoryContext, "factory row given out",
										 ALLOCSET_DEFAULT_SIZES);
	many.asked = asked_create(CurrentMemoryContext, 128, NULL);
	many.under_way = palloc(many.concurrency * sizeof(Question *));
	many.calls = palloc(many.concurrency * sizeof(LlmCall *));
	dlist_init(&many.waiting);
	SPI_connect();
	query_rows_open(&many.rows, query, "judge_many",
					"Write one SELECT whose columns are inputs by name.");
	run_many(&many);
	keep_in_table(&many);
	SPI_finish();
	return (Datum) 0;
}
