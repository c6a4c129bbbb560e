/*
 * llm.c
 *		A call to a model: its tries, one deadline over all of them, its end.
 *
 * Everything of a call lives in the context it was started in.  Between start and
 * finish nothing is held but memory and a connection.
 */
#include "postgres.h"

#include <ctype.h>
#include <limits.h>
#include <math.h>

#include "base/activity.h"
#include "base/document.h"
#include "base/errors.h"
#include "base/quota.h"
#include "base/settings.h"
#include "common/pg_prng.h"
#include "http/http.h"
#include "llm/llm.h"
#include "llm/llm_int.h"
#include "mb/pg_wchar.h"
#include "metrics/metrics.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#define LLM_MAX_ATTEMPTS 3

/* A code word of a provider's error message is shown up to this length. */
#define ERROR_CODE_LENGTH 64

static int llm_timeout_ms;
static int llm_retry_delay_ms;
static int llm_max_answer_kb;
static int llm_max_prompt_kb;

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
	quota_count_from(QUOTA_TOKENS,
					 "SELECT sum(total_tokens)::bigint FROM factory.llm_call "
					 "WHERE tenant_id = $1 AND called_at >= $2 AND called_at < $3 "
					 "AND $4 IS NOT NULL");
}

struct LlmCall
{
	MemoryContext context;
	LlmRequest request;
	LlmModel *model;
	LlmServer *server;
	LlmOptions options;
	LlmForm form;
	TimestampTz started;
	TimestampTz deadline;
	HttpTransfer *transfer; /* of the try under way */
	bool ended;
	LlmAnswer answer;
};

/* What follows a try that failed. */
typedef enum NextTry
{
	NEXT_NONE,
	NEXT_AT_ONCE,
	NEXT_LATER
} NextTry;

static const int failure_states[] = {
	[LLM_OK] = ERRCODE_SUCCESSFUL_COMPLETION,
	[LLM_NO_MODEL] = ERRCODE_FACTORY_UNDEFINED_MODEL,
	[LLM_UNREACHABLE] = ERRCODE_FACTORY_MODEL_UNREACHABLE,
	[LLM_TIMEOUT] = ERRCODE_FACTORY_MODEL_TIMEOUT,
	[LLM_REFUSED] = ERRCODE_FACTORY_MODEL_REFUSED,
	[LLM_ANSWER_INVALID] = ERRCODE_FACTORY_MODEL_ANSWER_INVALID,
	[LLM_DENIED] = ERRCODE_FACTORY_EGRESS_DENIED,
};

/* --- the end of a call ---------------------------------------------------------------------- */

static void
fail(LlmCall *call, LlmFailure failure, const char *reason, const char *hint)
{
	call->answer.failure = failure;
	call->answer.sqlstate = failure_states[failure];
	call->answer.reason = pstrdup(reason);
	call->answer.hint = hint ? pstrdup(hint) : NULL;
}

static void
end_with(LlmCall *call, LlmFailure failure, const char *reason, const char *hint)
{
	fail(call, failure, reason, hint);
	call->ended = true;
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

static void
settle(LlmCall *call)
{
	LlmAnswer *answer = &call->answer;
	LlmLedgerRow row = {&call->request, call->model, answer};

	answer->latency_ms = (GetCurrentTimestamp() - call->started) / 1000.0;
	if (call->model != NULL)
		answer->cost_usd =
			cost_of(call->model, answer->prompt_tokens, answer->completion_tokens);
	quota_add(QUOTA_TOKENS, answer->prompt_tokens + answer->completion_tokens);
	ledger_enter(&row);
}

/* --- models that do not know schemas ---------------------------------------------------- */

/*
 * Models, as "server/model", that refused a schema and then answered without one:
 * this session does not offer them one again.  Never more than there are models.
 */
static List *plain_models = NIL;

static char *
model_address(const LlmCall *call)
{
	return psprintf("%s/%s", call->model->server, call->model->provider_model);
}

static bool
model_is_plain(const LlmCall *call)
{
	char *address = model_address(call);
	ListCell *cell;

	foreach (cell, plain_models)
		if (strcmp(lfirst(cell), address) == 0)
			return true;
	return false;
}

static void
remember_plain_model(const LlmCall *call)
{
	MemoryContext caller;

	if (model_is_plain(call))
		return;
	caller = MemoryContextSwitchTo(TopMemoryContext);
	plain_models = lappend(plain_models, model_address(call));
	MemoryContextSwitchTo(caller);
}

/* --- one try -------------------------------------------------------------------------------- */

static void
start_try(LlmCall *call)
{
	const LlmServer *server = call->server;
	LlmPrompt prompt = {.provider_model = call->model->provider_model,
						.system = call->request.system,
						.user = call->request.user,
						.schema = call->request.schema,
						.form = call->form,
						.options = &call->options};
	char *text = doc_to_text(server->provider->write_request(&prompt));
	char *body = pg_server_to_any(text, strlen(text), PG_UTF8);
	HttpRequest request = {.method = "POST",
						   .url = http_url_join(server->base_url, server->provider->path),
						   .body = body,
						   .body_length = strlen(body),
						   .deadline = call->deadline,
						   .max_answer = (size_t) llm_max_answer_kb * 1024,
						   .allow_http = server->allow_http,
						   .allow_private = server->allow_private,
						   .ca_file = server->ca_file,
						   .group = server->name,
						   .group_limit = server->max_connections};

	request.headers =
		list_make2("Content-Type: application/json", "Accept: application/json");
	if (server->key != NULL)
		request.headers =
			lappend(request.headers, server->provider->key_header(server->key));
	call->answer.attempts++;
	call->transfer = http_start(&request);
}

/* ```json ... ```, which many models put around what they were asked for bare. */
static char *
without_fence(char *text)
{
	char *end;

	while (isspace((unsigned char) *text))
		text++;
	if (strncmp(text, "```", 3) != 0)
		return text;
	text += 3;
	text += strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ");
	end = text + strlen(text);
	while (end > text && isspace((unsigned char) end[-1]))
		end--;
	if (end - text < 3 || strncmp(end - 3, "```", 3) != 0)
		return text;
	return pnstrdup(text, end - 3 - text);
}

static NextTry
answer_is_invalid(LlmCall *call, const char *reason, const char *hint)
{
	metric_add(METRIC_LLM_PARSING_FAILURES, 1, METRIC_LABELS(call->model->name));
	fail(call, LLM_ANSWER_INVALID, reason, hint);
	return NEXT_AT_ONCE;
}

/* The model's words as the document that was asked for. */
static NextTry
take_json(LlmCall *call, char *text)
{
	char *bare = without_fence(text);
	char *utf8 = pg_server_to_any(bare, strlen(bare), PG_UTF8);
	char *why;
	Jsonb *json = doc_parse(utf8, strlen(utf8), &why);

	/* The parser's own words would repeat a piece of the answer. */
	if (json == NULL)
		return answer_is_invalid(call, "the model's words are not JSON", NULL);
	why = llm_check_schema(call->request.schema, json);
	if (why != NULL)
		return answer_is_invalid(
			call, psprintf("the model's JSON does not fit the schema, %s", why), NULL);
	call->answer.json = json;
	if (call->form == LLM_FORM_OBJECT)
		remember_plain_model(call);
	return NEXT_NONE;
}

static NextTry
take_reading(LlmCall *call, const LlmReading *reading)
{
	LlmAnswer *answer = &call->answer;

	answer->model = reading->model;
	answer->prompt_tokens += reading->prompt_tokens;
	answer->completion_tokens += reading->completion_tokens;
	if (reading->failure == LLM_ANSWER_INVALID)
	{
		(void) answer_is_invalid(call, reading->reason, reading->hint);
		return reading->is_final ? NEXT_NONE : NEXT_AT_ONCE;
	}
	if (reading->failure != LLM_OK)
	{
		fail(call, reading->failure, reading->reason, reading->hint);
		return NEXT_NONE;
	}
	answer->failure = LLM_OK;
	answer->text = reading->text;
	answer->sqlstate = ERRCODE_SUCCESSFUL_COMPLETION;
	answer->reason = NULL;
	answer->hint = NULL;
	return call->request.schema ? take_json(call, reading->text) : NEXT_NONE;
}

/* A type as "text/html", or nothing where the peer says something odd. */
static const char *
content_type_words(const char *content_type)
{
	size_t length =
		content_type ? strspn(content_type, "abcdefghijklmnopqrstuvwxyz/+-.") : 0;

	return length > 0 && length < 64
			   ? psprintf("the answer is not JSON but %.*s", (int) length, content_type)
			   : "the answer is not JSON";
}

static NextTry
take_answer(LlmCall *call, const HttpAnswer *got)
{
	LlmReading reading = {.failure = LLM_OK};
	char *why;
	Jsonb *document = doc_parse(got->body, got->body_length, &why);
	bool says_json =
		got->content_type == NULL || strstr(got->content_type, "json") != NULL;

	if (document == NULL)
		return answer_is_invalid(
			call,
			says_json ? "the answer is not valid JSON"
					  : content_type_words(got->content_type),
			"Check that option \"base_url\" of the server leads to the provider's API.");
	call->server->provider->read_answer(document, &reading);
	return take_reading(call, &reading);
}

/* --- answers that are no success --------------------------------------------------------------- */

typedef struct StatusRow
{
	int first;
	int last;
	LlmFailure failure;
	NextTry next;
	const char *words;
	const char *hint;
} StatusRow;

static const StatusRow status_rows[] = {
	{300, 399, LLM_UNREACHABLE, NEXT_NONE, "redirects are not followed",
	 "Set option \"base_url\" of the server to where it redirects, if you trust that."},
	{400, 400, LLM_REFUSED, NEXT_NONE, "bad request",
	 "Check the model's options and the prompt's length."},
	{401, 401, LLM_REFUSED, NEXT_NONE, "the key is missing or not valid",
	 "Check the user mapping for the model's server."},
	{402, 402, LLM_REFUSED, NEXT_NONE, "payment required",
	 "Check the account's balance."},
	{403, 403, LLM_REFUSED, NEXT_NONE, "forbidden",
	 "Check what the key in the user mapping is allowed to do."},
	{404, 404, LLM_REFUSED, NEXT_NONE, "not found",
	 "Check the model's name at the provider, and option \"base_url\" of the server."},
	{408, 408, LLM_UNREACHABLE, NEXT_LATER, "request timeout", NULL},
	{425, 425, LLM_UNREACHABLE, NEXT_LATER, "too early", NULL},
	{429, 429, LLM_REFUSED, NEXT_LATER, "too many requests",
	 "Call less often, or raise the limit at the provider."},
	{400, 499, LLM_REFUSED, NEXT_NONE, "refused", NULL},
	{500, 599, LLM_UNREACHABLE, NEXT_LATER, "the server has a problem",
	 "Try again later."},
	{100, 999, LLM_ANSWER_INVALID, NEXT_NONE, "unexpected status", NULL},
};

static const StatusRow *
status_row(long status)
{
	for (int i = 0; i < lengthof(status_rows) - 1; i++)
		if (status >= status_rows[i].first && status <= status_rows[i].last)
			return &status_rows[i];
	return &status_rows[lengthof(status_rows) - 1];
}

/*
 * The provider's own word for the error, such as "model_not_found"; NULL where it
 * has none, or where it might be a piece of the key.
 */
static char *
error_code(const LlmCall *call, const HttpAnswer *got)
{
	const char *key = call->server->key;
	char *why;
	Jsonb *document = doc_parse(got->body, got->body_length, &why);
	char *code = document ? call->server->provider->read_error(document) : NULL;

	if (code == NULL || strlen(code) > ERROR_CODE_LENGTH ||
		code[strspn(code, "abcdefghijklmnopqrstuvwxyz_")] != '\0')
		return NULL;
	if (key != NULL && (strstr(key, code) != NULL || strstr(code, key) != NULL))
		return NULL;
	return code;
}

static NextTry
take_status(LlmCall *call, const HttpAnswer *got)
{
	const StatusRow *row = status_row(got->status);
	char *code = error_code(call, got);

	if (got->status == 400 && call->form == LLM_FORM_SCHEMA)
	{
		/* Perhaps it is the schema that this server does not know. */
		call->form = LLM_FORM_OBJECT;
		fail(call, row->failure, "the server answered 400 (bad request)", row->hint);
		return NEXT_AT_ONCE;
	}
	fail(call, row->failure,
		 psprintf("the server answered %ld (%s)", got->status, code ? code : row->words),
		 row->hint);
	/* An empty account does not fill by waiting. */
	if (code != NULL && strcmp(code, "insufficient_quota") == 0)
		return NEXT_NONE;
	return row->next;
}

static NextTry
take_result(LlmCall *call, const HttpAnswer *got)
{
	switch (got->outcome)
	{
		case HTTP_ANSWERED:
			if (got->status >= 200 && got->status <= 299)
				return take_answer(call, got);
			return take_status(call, got);
		case HTTP_TIMED_OUT:
			fail(call, LLM_TIMEOUT, got->reason,
				 "Raise \"factory.llm_timeout\" or option \"timeout\" of the model.");
			return NEXT_NONE;
		case HTTP_DENIED:
			fail(
				call, LLM_DENIED, got->reason,
				"If that is meant, set option \"allow_http\" or \"allow_private\" of the "
				"server.");
			return NEXT_NONE;
		case HTTP_TOO_LARGE:
			fail(call, LLM_ANSWER_INVALID, got->reason,
				 "Ask for less, or raise \"factory.llm_max_answer\".");
			return NEXT_NONE;
		default:
			fail(call, LLM_UNREACHABLE, got->reason,
				 "Check that the server is up, and option \"base_url\".");
			return NEXT_LATER;
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

/* Waits and tries again, unless the call has no try or no time left. */
static void
try_again(LlmCall *call, NextTry next, const HttpAnswer *got)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz moment = now;

	if (next == NEXT_LATER)
		moment = TimestampTzPlusMilliseconds(now, (int64) pause_ms(call, got));
	call->ended = next == NEXT_NONE || call->answer.attempts >= LLM_MAX_ATTEMPTS ||
				  moment >= call->deadline;
	if (call->ended)
		return;
	if (moment > now)
		http_sleep_until(moment);
	start_try(call);
}

/* --- the door --------------------------------------------------------------------------------- */

static int
timeout_of(const LlmCall *call)
{
	if (call->request.deadline_ms > 0)
		return call->request.deadline_ms;
	return call->options.timeout_ms > 0 ? call->options.timeout_ms : llm_timeout_ms;
}

static size_t
prompt_length(const LlmRequest *request)
{
	return strlen(request->user) + (request->system ? strlen(request->system) : 0) +
		   (request->schema ? VARSIZE(request->schema) : 0);
}

static void
take_model(LlmCall *call)
{
	call->model = model_find(call->request.model);
	if (call->model == NULL)
	{
		end_with(call, LLM_NO_MODEL,
				 psprintf("model \"%s\" does not exist", call->request.model),
				 "Create it with factory.create_model(); table factory.model lists those "
				 "there are.");
		return;
	}
	call->options = call->model->options;
	if (call->request.options != NULL)
		options_read(&call->options, call->request.options);
	call->deadline = TimestampTzPlusMilliseconds(call->started, timeout_of(call));
}

/* What is switched off, or is a copy that nobody has activated, spends nothing. */
static void
take_activity(LlmCall *call)
{
	const char *reason;

	if (house_may_act(&reason))
		return;
	end_with(call, LLM_DENIED, psprintf("the factory rests, %s", reason),
			 house_rest_hint());
	call->answer.sqlstate = ERRCODE_FACTORY_AT_REST;
}

static void
take_ledger(LlmCall *call)
{
	const char *obstacle = ledger_obstacle();

	if (obstacle == NULL)
		return;
	end_with(call, LLM_DENIED, psprintf("no ledger can be kept, %s", obstacle),
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
	end_with(call, LLM_DENIED, obstacle, hint);
	call->answer.sqlstate = ERRCODE_FACTORY_QUOTA_EXCEEDED;
}

static void
take_prompt(LlmCall *call)
{
	const LlmRequest *request = &call->request;
	char *fault = request->schema ? llm_schema_error(request->schema) : NULL;

	if (fault != NULL)
	{
		end_with(call, LLM_ANSWER_INVALID,
				 psprintf("the schema is not usable, %s", fault),
				 "Use only what docs/models.md lists.");
		call->answer.sqlstate = ERRCODE_FACTORY_INVALID_SCHEMA;
	}
	else if (prompt_length(request) > (size_t) llm_max_prompt_kb * 1024)
		end_with(call, LLM_REFUSED,
				 psprintf("the prompt is over the limit of %d kB", llm_max_prompt_kb),
				 "Ask with less, or raise \"factory.llm_max_prompt\".");
	else if (request->schema != NULL)
		call->form = model_is_plain(call) ? LLM_FORM_OBJECT : LLM_FORM_SCHEMA;
}

static void
take_server(LlmCall *call)
{
	LlmTrouble trouble = {0};

	call->server = server_find(call->model->server, &trouble);
	if (call->server != NULL)
		return;
	end_with(call, LLM_NO_MODEL, trouble.reason, trouble.hint);
	call->answer.sqlstate = trouble.sqlstate;
}

LlmCall *
llm_start(const LlmRequest *request)
{
	LlmCall *call = palloc0(sizeof(LlmCall));

	call->context = CurrentMemoryContext;
	call->request = *request;
	call->started = GetCurrentTimestamp();
	take_model(call);
	if (!call->ended)
		take_activity(call);
	if (!call->ended)
		take_ledger(call);
	if (!call->ended)
		take_quota(call);
	if (!call->ended)
		take_prompt(call);
	if (!call->ended)
		take_server(call);
	if (!call->ended)
		start_try(call);
	return call;
}

LlmAnswer *
llm_finish(LlmCall *call)
{
	MemoryContext caller = MemoryContextSwitchTo(call->context);

	while (!call->ended)
	{
		HttpAnswer *got = http_finish(call->transfer);

		try_again(call, take_result(call, got), got);
	}
	settle(call);
	MemoryContextSwitchTo(caller);
	return &call->answer;
}

void
llm_abandon(LlmCall *call)
{
	if (call->transfer != NULL)
		http_abandon(call->transfer);
	call->ended = true;
}
