/*
 * many.c
 *		complete_many(): a prompt for each row of a query, many under way at once.
 *
 * Rows are fetched as places become free and given out in their order.  Equal
 * prompts are asked once; for that, the different prompts of a statement and their
 * answers stay in memory until it ends.
 */
#include "postgres.h"

#include "base/compat.h"
#include "base/query_rows.h"
#include "common/hashfn.h"
#include "fmgr.h"
#include "funcapi.h"
#include "lib/ilist.h"
#include "llm/llm.h"
#include "llm/llm_int.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#define MANY_COLUMNS 5

/* A prompt that was asked, and what came of it. */
typedef struct Question
{
	uint64 hash;  /* of the prompt: the table's key */
	char status;  /* the table's own */
	int64 number; /* the first row that asks it */
	char *prompt;
	bool done;
	LlmCall *call;         /* under way, or NULL */
	MemoryContext context; /* the call's */
	Jsonb *answer;         /* of a success */
	char *error;           /* of a failure */
	char *state;           /* its SQLSTATE */
} Question;

#define SH_PREFIX question
#define SH_ELEMENT_TYPE QuestionEntry
#define SH_KEY_TYPE uint64
#define SH_KEY hash
#define SH_HASH_KEY(table, key) ((uint32) (key))
#define SH_EQUAL(table, a, b) ((a) == (b))
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE

/* The table may move its entries, so it holds pointers. */
typedef struct QuestionEntry
{
	uint64 hash;
	char status;
	Question *question;
} QuestionEntry;

#include "lib/simplehash.h"

/* A row of the query that has not been given out yet. */
typedef struct Row
{
	dlist_node node;
	int64 number;
	Question *question;
} Row;

typedef struct Many
{
	LlmRequest request; /* but for the prompt */
	const char *prompt_template;
	int concurrency;
	MemoryContext context; /* the statement's */
	QueryRows rows;
	int64 row_count;
	question_hash *asked;
	dlist_head waiting; /* rows, in order */
	int waiting_count;
	Question **under_way;
	LlmCall **calls;
	int call_count;
	ReturnSetInfo *result;
} Many;

/* --- the query --------------------------------------------------------------------------- */

static void
open_query(Many *many, const char *query)
{
	int columns;

	query_rows_open(&many->rows, query, "complete_many",
					"Write one SELECT whose rows are the prompts.");
	columns = query_rows_columns(&many->rows)->natts;
	if (many->prompt_template == NULL && columns != 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the query of complete_many has %d columns, not one", columns),
				 errhint("Select the prompt alone, or give argument \"prompt\" "
						 "with a {{ column }} for each value.")));
}

/* NULL where the query's only column is. */
static char *
row_prompt(const Many *many, HeapTuple tuple)
{
	if (many->prompt_template == NULL)
		return SPI_getvalue(tuple, query_rows_columns(&many->rows), 1);
	return llm_render_template(many->prompt_template,
							   query_rows_document(&many->rows, tuple));
}

/* --- asking -------------------------------------------------------------------------------- */

static void
fail_question(Question *question, const char *error, int state)
{
	question->done = true;
	question->error = pstrdup(error);
	question->state = pstrdup(unpack_sql_state(state));
}

static void
start_question(Many *many, Question *question)
{
	MemoryContext before;

	question->context =
		AllocSetContextCreate(many->context, "factory call", ALLOCSET_SMALL_SIZES);
	before = MemoryContextSwitchTo(question->context);
	many->request.user = question->prompt;
	question->call = llm_start(&many->request);
	MemoryContextSwitchTo(before);
	many->under_way[many->call_count] = question;
	many->calls[many->call_count++] = question->call;
}

static Question *
make_question(Many *many, char *prompt)
{
	Question *question = palloc0(sizeof(Question));

	question->number = many->row_count;
	question->prompt = prompt;
	if (prompt == NULL)
		fail_question(question, "the prompt is null", ERRCODE_NULL_VALUE_NOT_ALLOWED);
	else
		start_question(many, question);
	return question;
}

/* Another row's question where the prompt is the same. */
static Question *
find_or_ask(Many *many, char *prompt)
{
	uint64 hash;
	bool found;
	QuestionEntry *entry;

	if (prompt == NULL)
		return make_question(many, NULL);
	hash = DatumGetUInt64(hash_any_extended((unsigned char *) prompt, strlen(prompt), 0));
	entry = question_insert(many->asked, hash, &found);
	if (!found)
		entry->question = make_question(many, prompt);
	else if (strcmp(entry->question->prompt, prompt) != 0)
		return make_question(many, prompt);
	return entry->question;
}

static void
take_row(Many *many, HeapTuple tuple)
{
	MemoryContext before = MemoryContextSwitchTo(many->context);
	Row *row = palloc(sizeof(Row));

	row->number = ++many->row_count;
	row->question = find_or_ask(many, row_prompt(many, tuple));
	dlist_push_tail(&many->waiting, &row->node);
	many->waiting_count++;
	MemoryContextSwitchTo(before);
}

/* --- answering ------------------------------------------------------------------------------ */

static Jsonb *
copy_document(Jsonb *document)
{
	Jsonb *copy = palloc(VARSIZE(document));

	memcpy(copy, document, VARSIZE(document));
	return copy;
}

static void
take_question_answer(Many *many, int place)
{
	Question *question = many->under_way[place];
	LlmAnswer *answer = llm_answer(question->call);
	MemoryContext before = MemoryContextSwitchTo(many->context);

	if (answer->failure == LLM_OK)
		question->answer = copy_document(llm_answer_document(answer));
	else
		fail_question(question, llm_failure_text(many->request.model, answer),
					  answer->sqlstate);
	question->done = true;
	question->call = NULL;
	MemoryContextSwitchTo(before);
	MemoryContextDelete(question->context);
	many->call_count--;
	many->under_way[place] = many->under_way[many->call_count];
	many->calls[place] = many->calls[many->call_count];
}

static Datum
text_or_null(const char *text, bool *is_null)
{
	*is_null = text == NULL;
	return text ? CStringGetTextDatum(text) : (Datum) 0;
}

static void
give_out(Many *many, const Row *row)
{
	const Question *question = row->question;
	Datum values[MANY_COLUMNS];
	bool nulls[MANY_COLUMNS] = {false};

	values[0] = Int64GetDatum(row->number);
	values[1] = JsonbPGetDatum(question->answer);
	nulls[1] = question->answer == NULL;
	values[2] = text_or_null(question->error, &nulls[2]);
	values[3] = text_or_null(question->state, &nulls[3]);
	values[4] = Int64GetDatum(question->number);
	nulls[4] = question->number == row->number;
	tuplestore_putvalues(many->result->setResult, many->result->setDesc, values, nulls);
}

static void
give_out_done(Many *many)
{
	while (!dlist_is_empty(&many->waiting))
	{
		Row *row = dlist_head_element(Row, node, &many->waiting);

		if (!row->question->done)
			break;
		give_out(many, row);
		dlist_delete(&row->node);
		many->waiting_count--;
		pfree(row);
	}
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
		give_out_done(many);
		if (many->call_count == 0)
			break;
		take_question_answer(many, llm_wait_any(many->calls, many->call_count));
	}
}

/* --- SQL --------------------------------------------------------------------------------------- */

static char *
text_argument(FunctionCallInfo fcinfo, int number)
{
	return PG_ARGISNULL(number) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(number));
}

static char *
required_argument(FunctionCallInfo fcinfo, int number, const char *name)
{
	char *value = text_argument(fcinfo, number);

	if (value == NULL)
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("argument \"%s\" of complete_many must not be null", name),
						errhint("Give it a text.")));
	return value;
}

int
llm_concurrency(const char *function, int concurrency)
{
	if (concurrency < 1 || concurrency > LLM_MAX_CONCURRENCY)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"concurrency\" of %s must be 1 to %d", function,
						LLM_MAX_CONCURRENCY),
				 errhint("16 is usual; a server's option \"max_connections\" limits it, "
						 "too.")));
	return concurrency;
}

FACTORY_FUNCTION(factory_complete_many);

Datum
factory_complete_many(PG_FUNCTION_ARGS)
{
	Many many = {.request = {.purpose = "complete", .joins = join_is_free()}};
	char *query = required_argument(fcinfo, 1, "query");

	many.request.model = required_argument(fcinfo, 0, "model");
	many.prompt_template = text_argument(fcinfo, 2);
	many.request.system = text_argument(fcinfo, 3);
	if (!PG_ARGISNULL(4))
	{
		many.request.schema = PG_GETARG_JSONB_P(4);
		llm_refuse_unusable_schema(many.request.schema);
	}
	if (!PG_ARGISNULL(5))
		many.request.options = PG_GETARG_JSONB_P(5);
	many.concurrency =
		llm_concurrency("complete_many", PG_ARGISNULL(6) ? 0 : PG_GETARG_INT32(6));

	InitMaterializedSRF(fcinfo, 0);
	many.result = (ReturnSetInfo *) fcinfo->resultinfo;
	many.context = CurrentMemoryContext;
	many.asked = question_create(CurrentMemoryContext, 128, NULL);
	many.under_way = palloc(many.concurrency * sizeof(Question *));
	many.calls = palloc(many.concurrency * sizeof(LlmCall *));
	dlist_init(&many.waiting);
	SPI_connect();
	open_query(&many, query);
	run_many(&many);
	SPI_finish();
	PG_RETURN_NULL();
}
