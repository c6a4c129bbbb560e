/*
 * answer.c
 *		What came back from a try, and what follows from it.
 */
#include "postgres.h"

#include <ctype.h>

#include "base/document.h"
#include "http/http.h"
#include "llm/llm_int.h"
#include "mb/pg_wchar.h"
#include "metrics/metrics.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

/* A code word of a provider's error message is shown up to this length. */
#define ERROR_CODE_LENGTH 64

/* What a repair shows the model of its own answer. */
#define REPAIR_SHOWN_BYTES 4000

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

bool
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

/* --- answers ----------------------------------------------------------------------------- */

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
	call_fail(call, LLM_ANSWER_INVALID, reason, hint);
	return NEXT_REPAIR;
}

/* The model's words as the document that was asked for. */
static NextTry
take_json(LlmCall *call, char *text)
{
	char *bare = without_fence(text);
	char *shown = pnstrdup(text, pg_mbcliplen(text, strlen(text), REPAIR_SHOWN_BYTES));
	char *utf8 = pg_server_to_any(bare, strlen(bare), PG_UTF8);
	char *why;
	Jsonb *json = doc_parse(utf8, strlen(utf8), &why);

	call->bad_answer = shown;
	/* The parser's own words would repeat a piece of the answer. */
	if (json == NULL)
		return answer_is_invalid(call, "the model's words are not JSON", NULL);
	why = llm_check_schema(call->request.schema, json);
	if (why != NULL)
		return answer_is_invalid(
			call, psprintf("the model's JSON does not fit the schema, %s", why), NULL);
	call->bad_answer = NULL;
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
		return reading->is_final ? NEXT_NONE : NEXT_REPAIR;
	}
	if (reading->failure != LLM_OK)
	{
		call_fail(call, reading->failure, reading->reason, reading->hint);
		return NEXT_NONE;
	}
	answer->text = reading->text;
	answer->failure = LLM_OK;
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
	const LlmProvider *provider = call->server->provider;
	LlmReading reading = {.failure = LLM_OK};
	char *why;
	Jsonb *document;
	bool says_json =
		got->content_type == NULL || strstr(got->content_type, "json") != NULL;

	if (provider->read_usual != NULL &&
		provider->read_usual(got->body, got->body_length, &reading))
		return take_reading(call, &reading);
	document = doc_parse(got->body, got->body_length, &why);
	if (document == NULL)
		return answer_is_invalid(
			call,
			says_json ? "the answer is not valid JSON"
					  : content_type_words(got->content_type),
			"Check that option \"base_url\" of the server leads to the provider's API.");
	provider->read_answer(document, &reading);
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
		call_fail(call, row->failure, "the server answered 400 (bad request)", row->hint);
		return NEXT_AT_ONCE;
	}
	call_fail(call, row->failure,
			  psprintf("the server answered %ld (%s)", got->status,
					   code ? code : row->words),
			  row->hint);
	/* An empty account does not fill by waiting. */
	if (code != NULL && strcmp(code, "insufficient_quota") == 0)
		return NEXT_NONE;
	return row->next;
}

NextTry
call_take_result(LlmCall *call, const HttpAnswer *got)
{
	switch (got->outcome)
	{
		case HTTP_ANSWERED:
			if (got->status >= 200 && got->status <= 299)
				return take_answer(call, got);
			return take_status(call, got);
		case HTTP_TIMED_OUT:
			call_fail(call, LLM_TIMEOUT, got->reason,
					  strstr(got->reason, "\"factory.") != NULL
						  ? "Raise that setting, or check that the server is up."
						  : "Raise \"factory.llm_timeout\" or option \"timeout\" of the "
							"model.");
			return NEXT_LATER;
		case HTTP_DENIED:
			call_fail(
				call, LLM_DENIED, got->reason,
				"If that is meant, set option \"allow_http\" or \"allow_private\" of the "
				"server.");
			return NEXT_NONE;
		case HTTP_TOO_LARGE:
			call_fail(call, LLM_ANSWER_INVALID, got->reason,
					  "Ask for less, or raise \"factory.llm_max_answer\".");
			return NEXT_NONE;
		default:
			call_fail(call, LLM_UNREACHABLE, got->reason,
					  "Check that the server is up, and option \"base_url\".");
			return NEXT_LATER;
	}
}
