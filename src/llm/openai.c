/*
 * openai.c
 *		The provider "openai": chat completions, as OpenAI made them and vLLM,
 *		Ollama, llama.cpp and Azure speak them.
 */
#include "postgres.h"

#include <math.h>

#include "base/document.h"
#include "lib/stringinfo.h"
#include "llm/llm_int.h"

static char *
bearer_header(const char *key)
{
	return psprintf("Authorization: Bearer %s", key);
}

static char *
azure_header(const char *key)
{
	return psprintf("api-key: %s", key);
}

static char *
chat_path(const LlmPrompt *prompt)
{
	return "/chat/completions";
}

/* --- the request ------------------------------------------------------------------------ */

static void
put_messages(LlmBody *b, const LlmPrompt *prompt)
{
	const char *system = prompt_system_text(prompt);

	body_begin_list(b, "messages");
	if (system != NULL)
		prompt_put_message(b, "system", system);
	prompt_put_turns(b, prompt);
	body_end_list(b);
}

static void
put_response_format(LlmBody *b, const LlmPrompt *prompt)
{
	if (prompt->form == LLM_FORM_TEXT)
		return;
	body_begin_object(b, "response_format");
	if (prompt->form == LLM_FORM_OBJECT)
		body_put_string(b, "type", "json_object");
	else
	{
		body_put_string(b, "type", "json_schema");
		body_begin_object(b, "json_schema");
		body_put_string(b, "name", "answer");
		body_put_doc(b, "schema", prompt->schema);
		body_end_object(b);
	}
	body_end_object(b);
}

static void
write_request(LlmBody *b, const LlmPrompt *prompt)
{
	body_begin_object(b, NULL);
	body_put_string(b, "model", prompt->provider_model);
	put_messages(b, prompt);
	put_response_format(b, prompt);
	if (!isnan(prompt->options->temperature))
		body_put_number(b, "temperature", prompt->options->temperature);
	if (prompt->options->max_tokens > 0)
		body_put_int(b, "max_tokens", prompt->options->max_tokens);
	body_end_object(b);
}

/* --- the answer -------------------------------------------------------------------------- */

/* The words, whether one string or a list of parts; NULL for none. */
static char *
message_text(Jsonb *message)
{
	char *text = doc_get_string(message, "content");
	StringInfoData joined;
	ListCell *cell;

	if (text != NULL)
		return text;
	initStringInfo(&joined);
	foreach (cell, doc_elements(doc_get_doc(message, "content")))
	{
		char *part = doc_get_string(doc_from_value(lfirst(cell)), "text");

		if (part != NULL)
			appendStringInfoString(&joined, part);
	}
	return joined.len > 0 ? joined.data : NULL;
}

static void
read_choice(Jsonb *choice, LlmReading *reading)
{
	Jsonb *message = doc_get_doc(choice, "message");
	char *finish = doc_get_string(choice, "finish_reason");
	char *refusal = doc_get_string(message, "refusal");

	reading->text = message_text(message);
	if (finish != NULL && strcmp(finish, "content_filter") == 0)
		reading_fail(reading, LLM_REFUSED, true,
					 "the provider's content filter held the answer",
					 "Reword the prompt.");
	else if (refusal != NULL && refusal[0] != '\0')
		reading_fail(reading, LLM_REFUSED, true, "the model declined to answer",
					 "Reword the prompt.");
	else if (finish != NULL && strcmp(finish, "length") == 0)
		reading_fail(reading, LLM_ANSWER_INVALID, true,
					 "the answer was cut at the token limit",
					 "Raise option \"max_tokens\" of the model, or ask for less.");
	else if (reading->text == NULL &&
			 doc_elements(doc_get_doc(message, "tool_calls")) != NIL)
		reading_fail(reading, LLM_ANSWER_INVALID, false,
					 "the model called a tool instead of answering", NULL);
	else if (reading->text == NULL || reading->text[0] == '\0')
		reading_fail(reading, LLM_ANSWER_INVALID, false, "the answer is empty", NULL);
}

static void
read_answer(Jsonb *document, LlmReading *reading)
{
	Jsonb *usage = doc_get_doc(document, "usage");
	JsonbValue *error = doc_get(document, "error");
	List *choices = doc_elements(doc_get_doc(document, "choices"));

	reading->model = doc_get_string(document, "model");
	reading->prompt_tokens = reading_tokens(usage, "prompt_tokens");
	reading->completion_tokens = reading_tokens(usage, "completion_tokens");
	if (error != NULL && error->type != jbvNull)
		reading_fail(reading, LLM_ANSWER_INVALID, false, "the answer is an error message",
					 NULL);
	else if (choices == NIL)
		reading_fail(reading, LLM_ANSWER_INVALID, false, "the answer has no choices",
					 "Check that \"base_url\" leads to an OpenAI-compatible server.");
	else
		read_choice(doc_from_value(linitial(choices)), reading);
}

static char *
read_error(Jsonb *document)
{
	Jsonb *error = doc_get_doc(document, "error");
	char *code = doc_get_string(error, "code");

	return code ? code : doc_get_string(error, "type");
}

/* --- the usual answer ---------------------------------------------------------------------- */

enum
{
	PICK_MODEL,
	PICK_PROMPT_TOKENS,
	PICK_COMPLETION_TOKENS,
	PICK_ERROR,
	PICK_CONTENT,
	PICK_REFUSAL,
	PICK_FINISH,
	PICK_COUNT
};

static const char *const pick_paths[PICK_COUNT][5] = {
	[PICK_MODEL] = {"model"},
	[PICK_PROMPT_TOKENS] = {"usage", "prompt_tokens"},
	[PICK_COMPLETION_TOKENS] = {"usage", "completion_tokens"},
	[PICK_ERROR] = {"error"},
	[PICK_CONTENT] = {"choices", DOC_PICK_FIRST, "message", "content"},
	[PICK_REFUSAL] = {"choices", DOC_PICK_FIRST, "message", "refusal"},
	[PICK_FINISH] = {"choices", DOC_PICK_FIRST, "finish_reason"},
};

/* Not there, or null. */
static bool
is_nothing(const DocPick *pick)
{
	return pick->kind <= DOC_PICK_NULL;
}

static bool
is_count(const DocPick *pick)
{
	return pick->kind == DOC_PICK_NUMBER && pick->decimals == 0 && pick->number >= 0 &&
		   pick->number < READING_MAX_TOKENS;
}

/* Nothing in it wants more than a glance: it stopped by itself and has some words. */
static bool
read_usual(const char *text, int length, LlmReading *reading)
{
	DocPick picks[PICK_COUNT];

	for (int i = 0; i < PICK_COUNT; i++)
		picks[i].path = pick_paths[i];
	if (!doc_pick(text, length, picks, PICK_COUNT) || !is_nothing(&picks[PICK_ERROR]) ||
		!is_nothing(&picks[PICK_REFUSAL]) || picks[PICK_FINISH].kind != DOC_PICK_STRING ||
		strcmp(picks[PICK_FINISH].text, "stop") != 0 ||
		picks[PICK_CONTENT].kind != DOC_PICK_STRING || picks[PICK_CONTENT].length == 0 ||
		picks[PICK_MODEL].kind != DOC_PICK_STRING ||
		!is_count(&picks[PICK_PROMPT_TOKENS]) ||
		!is_count(&picks[PICK_COMPLETION_TOKENS]))
		return false;
	reading->model = picks[PICK_MODEL].text;
	reading->text = picks[PICK_CONTENT].text;
	reading->prompt_tokens = picks[PICK_PROMPT_TOKENS].number;
	reading->completion_tokens = picks[PICK_COMPLETION_TOKENS].number;
	return true;
}

/* --- the rows -------------------------------------------------------------------------------- */

const LlmProvider openai_provider = {
	.name = "openai",
	.path = chat_path,
	.key_header = bearer_header,
	.write_request = write_request,
	.read_usual = read_usual,
	.read_answer = read_answer,
	.read_error = read_error,
};

/* Azure: the deployment is in base_url, the key in a header of its own. */
const LlmProvider azure_provider = {
	.name = "azure",
	.path = chat_path,
	.key_header = azure_header,
	.write_request = write_request,
	.read_usual = read_usual,
	.read_answer = read_answer,
	.read_error = read_error,
};
