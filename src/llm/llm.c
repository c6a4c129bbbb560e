/*
 * llm.c
 *		A call to a model: its tries, one deadline over all of them, its end.
 *
 * Everything of a call lives in the context it was started in.  Between start and
 * finish nothing is held but memory and a connection.  A call is a machine of
 * five states, driven from outside, so that one loop can drive many:
 *
 *		paused	its moment comes: it is sent
 *		sent	the answer, or a limit of time, comes: it ends or pauses
 *		following	another's call of the same ends (join.c): it ends, or is sent
 *		climbing	its next model is to be asked at once (ladder.c)
 *		ended	the answer is there
 */
#include "postgres.h"

#include <limits.h>
#include <math.h>

#include "base/document.h"
#include "base/errors.h"
#include "base/quota.h"
#include "base/settings.h"
#include "common/pg_prng.h"
#include "http/http.h"
#include "llm/llm.h"
#include "llm/llm_int.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#define LLM_MAX_ATTEMPTS 3

/* Tries of an answer that was not usable, the model told what was wrong. */
#define LLM_MAX_REPAIRS 1

int llm_timeout_ms;
static int llm_retry_delay_ms;
static int llm_max_answer_kb;
int llm_max_prompt_kb;

static const Setting settings[] = {
	{"factory.llm_timeout",
	 "Sets the time a call to a model may take, over all its tries.", SETTING_INT,
	 &llm_timeout_ms, .boot = 15000, .min = 1, .max = INT_MAX, .context = PGC_USERSET,
	 .flags = GUC_UNIT_MS},
	{"factory.llm_retry_delay",
	 "Sets the pause before a call's second try; it doubles with each further try.",
	 SETTING_INT, &llm_retry_delay_ms, .boot = 1000, .min = 0, .max = 60000,
	 .context = PGC_USERSET, .flags = GUC_UNIT_MS},
	{"factory.llm_max_answer",
	 "Sets the size of a model's answer above which it is refused.", SETTING_INT,
	 &llm_max_answer_kb, .boot = 4096, .min = 1, .max = 1024 * 1024, .context = PGC_SUSET,
	 .flags = GUC_UNIT_KB},
	{"factory.llm_max_prompt", "Sets the size of a prompt above which no model is asked.",
	 SETTING_INT, &llm_max_prompt_kb, .boot = 1024, .min = 1, .max = 64 * 1024,
	 .context = PGC_SUSET, .flags = GUC_UNIT_KB},
};

void
llm_define_settings(void)
{
	settings_define(settings, lengthof(settings));
	budget_define_settings();
	gate_define_settings();
	join_define_settings();
	ladder_define_settings();
	ledger_define();
	mask_define_settings();
	quota_count_from(QUOTA_TOKENS,
					 "SELECT sum(total_tokens)::bigint FROM factory.llm_call "
					 "WHERE tenant_id = $1 AND called_at >= $2 AND called_at < $3 "
					 "AND $4 IS NOT NULL");
}

void
llm_request_shmem(void)
{
	budget_request_shmem();
	gate_request_shmem();
	join_request_shmem();
}

void
llm_attach_shmem(void)
{
	budget_attach_shmem();
	gate_attach_shmem();
	join_attach_shmem();
}

static const int failure_states[] = {
	[LLM_OK] = ERRCODE_SUCCESSFUL_COMPLETION,
	[LLM_NO_MODEL] = ERRCODE_FACTORY_UNDEFINED_MODEL,
	[LLM_UNREACHABLE] = ERRCODE_FACTORY_MODEL_UNREACHABLE,
	[LLM_TIMEOUT] = ERRCODE_FACTORY_MODEL_TIMEOUT,
	[LLM_REFUSED] = ERRCODE_FACTORY_MODEL_REFUSED,
	[LLM_ANSWER_INVALID] = ERRCODE_FACTORY_MODEL_ANSWER_INVALID,
	[LLM_DENIED] = ERRCODE_FACTORY_EGRESS_DENIED,
	[LLM_SHUT] = ERRCODE_FACTORY_MODEL_SHUT,
	[LLM_PACED] = ERRCODE_FACTORY_MODEL_PACED,
	[LLM_OVER_BUDGET] = ERRCODE_FACTORY_OVER_BUDGET,
};

/* --- the end of a call ---------------------------------------------------------------------- */

void
call_fail(LlmCall *call, LlmFailure failure, const char *reason, const char *hint)
{
	call->answer.failure = failure;
	call->answer.sqlstate = failure_states[failure];
	call->answer.reason = pstrdup(reason);
	call->answer.hint = hint ? pstrdup(hint) : NULL;
}

void
call_end(LlmCall *call, LlmFailure failure, const char *reason, const char *hint)
{
	call_fail(call, failure, reason, hint);
	call->state = CALL_ENDED;
}

static double
cost_of(const LlmModel *model, int64 prompt_tokens, int64 completion_tokens)
{
	if (prompt_tokens == 0 && completion_tokens == 0)
		return 0;
	return (prompt_tokens * model->input_price +
			completion_tokens * model->output_price) /
		   1e6;
}

/* Does a call that ended so say anything about its server? */
static GateOutcome
gate_outcome(const LlmCall *call)
{
	double had_ms = (call->deadline - call->started) / 1000.0;

	if (call->answer.attempts == 0)
		return GATE_UNCLEAR;
	if (call->answer.failure == LLM_UNREACHABLE)
		return GATE_FAILS;
	/* Whoever has no patience must not shut the server for all. */
	if (call->answer.failure == LLM_TIMEOUT)
		return had_ms >= gate_min_timeout_ms ? GATE_FAILS : GATE_UNCLEAR;
	return call->answer.failure == LLM_DENIED || call->throttled ? GATE_UNCLEAR
																 : GATE_WORKS;
}

static void
settle(LlmCall *call)
{
	LlmAnswer *answer = &call->answer;
	TimestampTz now = GetCurrentTimestamp();
	LlmLedgerRow row = {&call->request, call->model, answer, now};

	answer->latency_ms = (now - call->started) / 1000.0;
	gate_end(&call->pass, gate_outcome(call), now);
	if (call->model != NULL)
		answer->cost_usd =
			cost_of(call->model, answer->prompt_tokens, answer->completion_tokens);
	budget_settle(&call->holds, answer->prompt_tokens + answer->completion_tokens,
				  answer->cost_usd);
	quota_add(QUOTA_TOKENS, answer->prompt_tokens + answer->completion_tokens);
	ledger_enter(&row);
	call->state = call->ladder && ladder_climbs(call) ? CALL_CLIMBING : CALL_ENDED;
	if (call->place != 0 && call->state == CALL_ENDED)
		join_answer(call);
}

/* --- one try -------------------------------------------------------------------------------- */

/* In UTF-8. */
static char *
request_body(const LlmProvider *provider, const LlmPrompt *prompt)
{
	LlmBody b;

	body_begin(&b);
	provider->write_request(&b, prompt);
	return pg_server_to_any(b.text.data, b.text.len, PG_UTF8);
}

static void
send_try(LlmCall *call)
{
	const LlmServer *server = call->server;
	LlmPrompt prompt = {.provider_model = call->model->provider_model,
						.system = call->request.system,
						.user = call->request.user,
						.schema = call->request.schema,
						.form = call->form,
						.bad_answer = call->bad_answer,
						.fault = call->bad_answer ? call->answer.reason : NULL,
						.options = &call->options};
	char *body = request_body(server->provider, &prompt);
	HttpRequest request = {.method = "POST",
						   .url = http_url_join(server->base_url,
												server->provider->path(&prompt)),
						   .body = body,
						   .body_length = strlen(body),
						   .deadline = call->deadline,
						   .max_answer = (size_t) llm_max_answer_kb * 1024,
						   .is_anew = call->was_cut,
						   .allow_http = server->allow_http,
						   .allow_private = server->allow_private,
						   .ca_file = server->ca_file,
						   .keep_headers = "ratelimit",
						   .group = server->name,
						   .group_limit = server->max_connections};

	request.headers =
		list_make2("Content-Type: application/json", "Accept: application/json");
	if (server->provider->header != NULL)
		request.headers =
			lappend(request.headers, unconstify(char *, server->provider->header));
	if (server->key != NULL)
		request.headers =
			lappend(request.headers, server->provider->key_header(server->key));
	call->answer.attempts++;
	call->throttled = false;
	call->state = CALL_SENT;
	call->transfer = http_start(&request);
	/* It has its own of it. */
	pfree(body);
}

/* The gate is shut: a call that had its tries ends as the last of them did. */
static void
end_at_gate(LlmCall *call, LlmFailure failure, char *reason, const char *hint)
{
	if (call->answer.attempts == 0)
		call_fail(call, failure, reason, hint);
	settle(call);
}

static void
start_try(LlmCall *call)
{
	switch (gate_ask(&call->pass))
	{
		case GATE_GO:
			send_try(call);
			break;
		case GATE_WAIT:
			call->moment = call->pass.moment;
			call->state = CALL_PAUSED;
			if (call->moment >= call->deadline)
				end_at_gate(
					call, LLM_PACED, "it takes no further request before the deadline",
					"View factory.pace_status shows its limits; call less often.");
			break;
		case GATE_SHUT:
			end_at_gate(call, LLM_SHUT,
						psprintf("server \"%s\" kept failing, its breaker is open",
								 call->server->name),
						"It is tried again by itself; view factory.breaker_status shows "
						"when.");
			break;
	}
}

/* --- trying again --------------------------------------------------------------------------- */

/* What the server asks for, else 1, 2, ... times the setting, a tenth more or less. */
static double
pause_ms(const LlmCall *call, const HttpAnswer *got)
{
	double pause;

	if (got->retry_after_ms >= 0)
		return got->retry_after_ms;
	pause = ldexp(llm_retry_delay_ms, call->answer.attempts - 1);
	return pause * (0.9 + 0.2 * pg_prng_double(&pg_global_prng_state));
}

static bool
has_try_left(const LlmCall *call, NextTry next)
{
	if (next == NEXT_NONE || call->answer.attempts >= LLM_MAX_ATTEMPTS)
		return false;
	if (next == NEXT_REPAIR)
		return call->repairs < LLM_MAX_REPAIRS;
	return next != NEXT_LATER || gate_allows_retry(&call->pass);
}

/* Pauses before the next try, unless the call has no try or no time left. */
static void
plan_next_try(LlmCall *call, NextTry next, const HttpAnswer *got, TimestampTz now)
{
	call->moment = now;
	if (next == NEXT_LATER)
		call->moment = TimestampTzPlusMilliseconds(now, (int64) pause_ms(call, got));
	if (call->moment >= call->deadline || !has_try_left(call, next))
	{
		settle(call);
		return;
	}
	call->repairs += next == NEXT_REPAIR;
	call->state = CALL_PAUSED;
}

static int64
tokens_so_far(const LlmCall *call)
{
	return call->answer.prompt_tokens + call->answer.completion_tokens;
}

static void
take_transfer(LlmCall *call)
{
	HttpAnswer *got = http_take_answer(call->transfer);
	NextTry next;
	int64 before = tokens_so_far(call);
	TimestampTz now;

	call->transfer = NULL;
	next = call_take_result(call, got);
	call->throttled = got->outcome == HTTP_ANSWERED && got->status == 429;
	call->was_cut = got->outcome == HTTP_UNREACHABLE;
	now = GetCurrentTimestamp();
	gate_learn(&call->pass, got, tokens_so_far(call) - before,
			   call->throttled ? pause_ms(call, got) : -1, now);
	plan_next_try(call, next, got, now);
	pfree(got->body);
}

/* --- the door --------------------------------------------------------------------------------- */

static int64
given_up_tokens(const LlmCall *call)
{
	return call->answer.attempts > 0 ? call_prompt_tokens(call) : 0;
}

/* What a call holds of shared memory; its memory may be about to go. */
static void
let_go(LlmCall *call)
{
	join_end(call);
	gate_end(&call->pass, GATE_UNCLEAR, GetCurrentTimestamp());
	/* The server has read the prompt; what else it did nobody knows. */
	budget_settle(&call->holds, given_up_tokens(call),
				  call->model ? cost_of(call->model, given_up_tokens(call), 0) : 0);
}

static void
call_is_reset(void *argument)
{
	let_go(argument);
}

static void
begin(LlmCall *call)
{
	call->started = GetCurrentTimestamp();
	call_prepare(call);
	if (call->state == CALL_ENDED)
		settle(call);
	else
		start_try(call);
}

/* As if it were new, but for its deadline. */
static void
begin_next_model(LlmCall *call)
{
	call->state = CALL_PAUSED;
	call->model = NULL;
	call->server = NULL;
	call->repairs = 0;
	call->throttled = false;
	call->was_cut = false;
	call->bad_answer = NULL;
	call->form = LLM_FORM_TEXT;
	memset(&call->answer, 0, sizeof(LlmAnswer));
	memset(&call->pass, 0, sizeof(GatePass));
	begin(call);
}

LlmCall *
llm_start(const LlmRequest *request)
{
	LlmCall *call = palloc0(sizeof(LlmCall));

	call->context = CurrentMemoryContext;
	call->request = *request;
	call->on_reset.func = call_is_reset;
	call->on_reset.arg = call;
	MemoryContextRegisterResetCallback(call->context, &call->on_reset);
	if (!request->joins || !join_begin(call))
		begin(call);
	return call;
}

/* --- driving ------------------------------------------------------------------------------------ */

bool
llm_ready(LlmCall *call)
{
	switch (call->state)
	{
		case CALL_PAUSED:
			return GetCurrentTimestamp() >= call->moment;
		case CALL_SENT:
			return http_ended(call->transfer);
		case CALL_FOLLOWING:
			return join_is_over(call);
		case CALL_CLIMBING:
		case CALL_ENDED:
			break;
	}
	return true;
}

bool
llm_step(LlmCall *call)
{
	MemoryContext caller = MemoryContextSwitchTo(call->context);

	while (call->state != CALL_ENDED && llm_ready(call))
	{
		if (call->state == CALL_CLIMBING)
			begin_next_model(call);
		else if (call->state == CALL_PAUSED)
			start_try(call);
		else if (call->state == CALL_SENT)
			take_transfer(call);
		else if (!join_take(call))
			begin(call);
	}
	MemoryContextSwitchTo(caller);
	return call->state == CALL_ENDED;
}

TimestampTz
llm_next_moment(const LlmCall *call)
{
	switch (call->state)
	{
		case CALL_PAUSED:
		case CALL_FOLLOWING:
			return call->moment;
		case CALL_SENT:
			return http_next_moment(call->transfer);
		case CALL_CLIMBING:
		case CALL_ENDED:
			break;
	}
	return 0;
}

void
llm_wait(TimestampTz until)
{
	join_wait(until);
}

int
llm_wait_any(LlmCall *const *calls, int count)
{
	for (;;)
	{
		TimestampTz nearest = DT_NOEND;

		for (int i = 0; i < count; i++)
		{
			if (llm_step(calls[i]))
				return i;
			nearest = Min(nearest, llm_next_moment(calls[i]));
		}
		if (count == 1 && calls[0]->state == CALL_FOLLOWING)
			join_wait_alone(calls[0]);
		else
			join_wait(nearest);
	}
}

LlmAnswer *
llm_finish(LlmCall *call)
{
	PG_TRY();
	{
		(void) llm_wait_any(&call, 1);
	}
	PG_CATCH();
	{
		llm_abandon(call);
		PG_RE_THROW();
	}
	PG_END_TRY();
	return &call->answer;
}

LlmAnswer *
llm_answer(LlmCall *call)
{
	Assert(call->state == CALL_ENDED);
	return &call->answer;
}

void
llm_abandon(LlmCall *call)
{
	if (call->transfer != NULL)
		http_abandon(call->transfer);
	call->transfer = NULL;
	let_go(call);
	call->state = CALL_ENDED;
}
