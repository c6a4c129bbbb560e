/*
 * prepare.c
 *		What a call needs before a byte is sent: its model, leave to spend, a prompt that
 *		may leave, a server, its pace, its budgets.
 */
#include "postgres.h"

#include "base/activity.h"
#include "base/errors.h"
#include "base/quota.h"
#include "common/hashfn.h"
#include "llm/llm_int.h"

/* What an answer is expected to take where max_tokens does not say. */
#define LLM_EXPECTED_ANSWER_TOKENS 256

static int
call_timeout(const LlmRequest *request, const LlmOptions *options)
{
	if (request->deadline_ms > 0)
		return request->deadline_ms;
	return options->timeout_ms > 0 ? options->timeout_ms : llm_timeout_ms;
}

TimestampTz
call_deadline(const LlmCall *call, const LlmOptions *options)
{
	const LlmRequest *request = &call->request;
	TimestampTz deadline =
		TimestampTzPlusMilliseconds(call->started, call_timeout(request, options));

	return request->not_after != 0 ? Min(deadline, request->not_after) : deadline;
}

static size_t
prompt_length(const LlmRequest *request)
{
	return strlen(request->user) + (request->system ? strlen(request->system) : 0) +
		   (request->schema ? VARSIZE(request->schema) : 0);
}

int64
llm_estimated_tokens(const char *text)
{
	int64 ascii = 0, others = 0;

	for (; text != NULL && *text != '\0'; text++)
	{
		if (!IS_HIGHBIT_SET(*text))
			ascii++;
		else if (((unsigned char) *text & 0xC0) != 0x80)
			others++;
	}
	return (ascii + 3) / 4 + others;
}

int64
call_prompt_tokens(const LlmCall *call)
{
	return llm_estimated_tokens(call->request.user) +
		   llm_estimated_tokens(call->request.system) +
		   (call->request.schema ? VARSIZE(call->request.schema) / 4 : 0);
}

static int64
expected_answer_tokens(const LlmCall *call)
{
	return call->options.max_tokens > 0 ? call->options.max_tokens
										: LLM_EXPECTED_ANSWER_TOKENS;
}

void
call_use_model(LlmCall *call, LlmModel *model)
{
	call->model = model;
	call->request.model = model->name;
	call->options = model->options;
	if (call->request.options != NULL)
		options_read(&call->options, call->request.options);
}

static void
take_model(LlmCall *call)
{
	const char *name = call->request.model;
	LlmModel *model = name ? model_find(name) : model_above(MODEL_NO_TIER);

	if (model != NULL)
	{
		call_use_model(call, model);
		return;
	}
	if (name == NULL)
		call->request.model = "unknown";
	call_end(
		call, LLM_NO_MODEL,
		name ? psprintf("model \"%s\" does not exist", name) : "no model has a tier",
		name ? "Create it with factory.create_model(); table factory.model lists those "
			   "there are."
			 : "Give the models of the ladder one by factory.alter_model(tier => ...).");
}

static void
take_ladder(LlmCall *call)
{
	if (call->ladder == NULL && ladder_is_wanted(call))
		ladder_begin(call);
}

/* Of a ladder, its first model's holds for all. */
static void
take_deadline(LlmCall *call)
{
	if (call->deadline == 0)
		call->deadline = call_deadline(call, &call->options);
}

/* What is switched off, or is a copy that nobody has activated, spends nothing. */
static void
take_activity(LlmCall *call)
{
	const char *reason;

	if (house_may_act(&reason))
		return;
	call_end(call, LLM_DENIED, psprintf("the factory rests, %s", reason),
			 house_rest_hint());
	call->answer.sqlstate = ERRCODE_FACTORY_AT_REST;
}

static void
take_ledger(LlmCall *call)
{
	const char *obstacle = ledger_obstacle();

	if (obstacle == NULL)
		return;
	call_end(call, LLM_DENIED, psprintf("no ledger can be kept, %s", obstacle),
			 "Call the model in a transaction that may write, on the primary.");
	call->answer.sqlstate = ERRCODE_READ_ONLY_SQL_TRANSACTION;
}

static void
take_quota(LlmCall *call)
{
	const char *hint;
	char *obstacle = quota_obstacle(QUOTA_TOKENS, &hint);

	if (obstacle == NULL)
		return;
	call_end(call, LLM_DENIED, obstacle, hint);
	call->answer.sqlstate = ERRCODE_FACTORY_QUOTA_EXCEEDED;
}

/* What there is nothing to mask in stays where it is. */
static const char *
masked(const char *text)
{
	char *result = llm_mask_personal(text);

	if (strcmp(result, text) != 0)
		return result;
	pfree(result);
	return text;
}

/* The one place that every prompt passes, whoever wrote it. */
static void
mask_prompt(LlmCall *call)
{
	LlmRequest *request = &call->request;

	if (call->is_masked || !llm_masks_personal())
		return;
	call->is_masked = true;
	request->user = masked(request->user);
	if (request->system != NULL)
		request->system = masked(request->system);
}

static void
take_prompt(LlmCall *call)
{
	const LlmRequest *request = &call->request;
	char *fault = request->schema ? llm_schema_error(request->schema) : NULL;

	if (fault != NULL)
	{
		call_end(call, LLM_ANSWER_INVALID,
				 psprintf("the schema is not usable, %s", fault),
				 "Use only what docs/models.md lists.");
		call->answer.sqlstate = ERRCODE_FACTORY_INVALID_SCHEMA;
	}
	else if (prompt_length(request) > (size_t) llm_max_prompt_kb * 1024)
		call_end(call, LLM_REFUSED,
				 psprintf("the prompt is over the limit of %d kB", llm_max_prompt_kb),
				 "Ask with less, or raise \"factory.llm_max_prompt\".");
	else if (request->schema != NULL)
		call->form = model_is_plain(call) ? LLM_FORM_OBJECT : LLM_FORM_SCHEMA;
}

static uint64
hash_text(const char *text, uint64 seed)
{
	return text ? DatumGetUInt64(
					  hash_any_extended((const unsigned char *) text, strlen(text), seed))
				: seed;
}

static void
take_pass(LlmCall *call)
{
	const LlmServer *server = call->server;

	call->pass.server = server->id;
	call->pass.address = hash_text(server->base_url, 0);
	call->pass.server_name = server->name;
	call->pass.account =
		hash_text(server->key, hash_text(call->model->provider_model, 0));
	call->pass.model_name = call->model->provider_model;
	call->pass.requests_per_minute = call->options.requests_per_minute;
	call->pass.tokens_per_minute = call->options.tokens_per_minute;
	call->pass.deadline = call->deadline;
	call->pass.tokens = call_prompt_tokens(call) + expected_answer_tokens(call);
}

static void
take_server(LlmCall *call)
{
	LlmTrouble trouble = {0};

	call->server = server_find(call->model->server, &trouble);
	if (call->server != NULL)
	{
		take_pass(call);
		return;
	}
	call_end(call, LLM_NO_MODEL, trouble.reason, trouble.hint);
	call->answer.sqlstate = trouble.sqlstate;
}

static void
take_budgets(LlmCall *call)
{
	char *obstacle = budget_reserve(&call->holds, call->model, call_prompt_tokens(call),
									expected_answer_tokens(call));

	if (obstacle != NULL)
		call_end(call, LLM_OVER_BUDGET, obstacle,
				 "View factory.budget_status shows what is used; "
				 "factory.set_budget() changes it.");
}

void
call_prepare(LlmCall *call)
{
	static void (*const steps[])(LlmCall * call) = {
		take_model, take_ladder, take_deadline, take_activity, take_ledger,
		take_quota, mask_prompt, take_prompt,   take_server,   take_budgets,
	};

	for (int i = 0; i < lengthof(steps) && call->state != CALL_ENDED; i++)
		steps[i](call);
}
