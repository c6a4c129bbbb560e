/*
 * job_piece.c
 *		The pieces of a job: begun, its model asked, its answer taken.  Each runs with
 *		the rights and for the tenant of who submitted it, in a transaction of the
 *		runner's; what fails in it fails the job alone.
 */
#include "postgres.h"

#include "base/attempt.h"
#include "base/document.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "worker/job_int.h"

/* --- for a job: with its rights and its tenant ------------------------------------------- */

typedef struct Acting
{
	Job *job;
	void (*body)(Job *job);
} Acting;

static void
act(void *argument)
{
	Acting *acting = argument;
	int level = NewGUCNestLevel();
	Oid user;
	int security;

	GetUserIdAndSecContext(&user, &security);
	tenant_act_for(acting->job->tenant);
	SetUserIdAndSecContext(acting->job->role, security | SECURITY_LOCAL_USERID_CHANGE);
	acting->body(acting->job);
	SetUserIdAndSecContext(user, security);
	AtEOXact_GUC(true, level);
}

static ErrorData *
act_for(Job *job, void (*body)(Job *job))
{
	Acting acting = {job, body};

	return attempt_whatever(act, &acting);
}

/* --- the pieces of a job -------------------------------------------------------------------- */

static Jsonb *
object_of(Jsonb *input, const char *key)
{
	JsonbValue *value = doc_get(input, key);

	return value == NULL || value->type == jbvNull ? NULL : doc_from_value(value);
}

static void
begin_completion(Job *job)
{
	Jsonb *input = job->task.input;

	job->request = (LlmRequest){
		.model = job->task.decision,
		.system = doc_get_string(input, "system"),
		.user = doc_get_string(input, "prompt"),
		.schema = object_of(input, "schema"),
		.options = object_of(input, "options"),
		.purpose = "complete",
		.joins = true,
	};
	job->asks = true;
}

static void
begin_judgment(Job *job)
{
	judgment_task_begin(&job->task);
	/* A turn would end with this transaction; and nothing here may wait. */
	job->asks =
		job->task.request != NULL && !judgment_task_recall(&job->task, CACHE_NO_TURN);
	if (job->asks)
		job->request = *job->task.request;
}

static bool
is_judgment(const Job *job)
{
	return strcmp(job->kind, "judgment") == 0;
}

static void
begin(Job *job)
{
	MemoryContext before = MemoryContextSwitchTo(job->context);

	if (is_judgment(job))
		begin_judgment(job);
	else
		begin_completion(job);
	job->request.not_after = job->deadline;
	MemoryContextSwitchTo(before);
}

static void
start(Job *job)
{
	MemoryContext before = MemoryContextSwitchTo(job->context);

	job->call = llm_start(&job->request);
	MemoryContextSwitchTo(before);
}

/* The one it followed has ended, or its own deadline has come. */
static void
stop_following(Job *job)
{
	MemoryContext before = MemoryContextSwitchTo(job->context);

	if (!judgment_task_recall(&job->task, CACHE_NO_TURN))
		start(job);
	MemoryContextSwitchTo(before);
}

static void
step(Job *job)
{
	if (job->call == NULL)
		stop_following(job);
	if (job->call != NULL)
		(void) llm_step(job->call);
}

static void
complete_judgment(Job *job)
{
	LlmAnswer *answer = job->call ? llm_answer(job->call) : NULL;
	Datum result;

	if (answer != NULL)
		judgment_task_keep(&job->task, answer);
	judgment_task_complete(&job->task, answer);
	result = judgment_task_result(&job->task);
	job_table_done(job, result, judgment_result_type());
}

static void
complete_completion(Job *job)
{
	LlmAnswer *answer = llm_answer(job->call);

	if (answer->failure == LLM_OK)
		job_table_done(job, JsonbPGetDatum(llm_answer_document(answer)), JSONBOID);
	else
		job_table_failed(job, answer->sqlstate,
						 llm_failure_text(job->task.decision, answer));
}

static void
complete(Job *job)
{
	if (is_judgment(job))
		complete_judgment(job);
	else
		complete_completion(job);
}

/* --- for the runner ------------------------------------------------------------------------ */

/* False, with the job's row settled, where it failed. */
static bool
try_piece(Job *job, void (*body)(Job *job))
{
	ErrorData *error = act_for(job, body);

	if (error != NULL)
		job_table_failed(job, error->sqlerrcode, error->message);
	return error == NULL;
}

bool
job_begin(Job *job)
{
	return try_piece(job, begin);
}

bool
job_start(Job *job)
{
	return try_piece(job, start);
}

bool
job_step(Job *job)
{
	return try_piece(job, step);
}

bool
job_complete(Job *job)
{
	return try_piece(job, complete);
}
