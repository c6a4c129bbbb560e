/*
 * gemini.c
 *		The provider "gemini": Google's generateContent.
 */
#include "postgres.h"

#include <math.h>

#include "base/document.h"
#include "http/http.h"
#include "lib/stringinfo.h"
#include "llm/llm_int.h"

static char *
key_header(const char *key)
{
	return psprintf("x-goog-api-key: %s", key);
}

/* The model is a part of the path. */
static char *
generate_path(const LlmPrompt *prompt)
{
	return psprintf("/models/%s:generateContent",
					http_url_escape(prompt->provider_model));
}

/* --- the request ------------------------------------------------------------------------ */

static void
put_content(LlmBody *b, const char *key, const char *role, const char *text)
{
	body_begin_object(b, key);
	if (role != NULL)
		body_put_string(b, "role", role);
	body_begin_list(b, "parts");
	body_begin_object(b, NULL);
	body_put_string(b, "text", text);
	body_end_object(b);
	body_end_list(b);
	body_end_object(b);
}

static void
put_contents(LlmBody *b, const LlmPrompt *prompt)
{
	const char *repair = prompt_repair_text(prompt);

	body_begin_list(b, "contents");
	put_content(b, NULL, "user", prompt->user);
	if (repair != NULL)
	{
		put_content(b, NULL, "model", prompt->bad_answer);
		put_content(b, NULL, "user", repair);
	}
	body_end_list(b);
}

static void
put_configuration(LlmBody *b, const LlmPrompt *prompt)
{
	body_begin_object(b, "generationConfig");
	if (prompt->form != LLM_FORM_TEXT)
		body_put_string(b, "responseMimeType", "application/json");
	if (prompt->form == LLM_FORM_SCHEMA)
		body_put_doc(b, "responseJsonSchema", prompt->schema);
	if (!isnan(prompt->options->temperature))
		body_put_number(b, "temperature", prompt->options->temperature);
	if (prompt->options->max_tokens > 0)
		body_put_int(b, "maxOutputTokens", prompt->options->max_tokens);
	body_end_object(b);
}

static void
write_request(LlmBody *b, const LlmPrompt *prompt)
{
	const char *system = prompt_system_text(prompt);

	body_begin_object(b, NULL);
	if (system != NULL)
		put_content(b, "systemInstruction", NULL, system);
	put_contents(b, prompt);
	put_configuration(b, prompt);
	body_end_object(b);
}

/* --- the answer -------------------------------------------------------------------------- */

/* How a candidate may end without an answer for us. */
static const struct FinishRow
{
	const char *word;
	LlmFailure failure;
	const char *reason;
	const char *hint;
} finish_rows[] = {
	{"MAX_TOKENS", LLM_ANSWER_INVALID, "the answer was cut at the token limit",
	 "Raise option \"max_tokens\" of the model, or ask for less."},
	{"SAFETY", LLM_REFUSED, "the provider's content filter held the answer",
	 "Reword the prompt."},
	{"RECITATION", LLM_REFUSED, "the provider's content filter held the answer",
	 "Reword the prompt."},
	{"PROHIBITED_CONTENT", LLM_REFUSED, "the provider's content filter held the answer",
	 "Reword the prompt."},
	{"BLOCKLIST", LLM_REFUSED, "the provider's content filter held the answer",
	 "Reword the prompt."},
	{"SPII", LLM_REFUSED, "the provider's content filter held the answer",
	 "Take personal data out of the prompt."},
};

/* The words of all parts but the model's thoughts; NULL for none. */
static char *
parts_text(Jsonb *parts)
{
	StringInfoData joined;
	ListCell *cell;

	initStringInfo(&joined);
	foreach (cell, doc_elements(parts))
	{
		Jsonb *part = doc_from_value(lfirst(cell));
		char *text = doc_get_string(part, "text");

		if (text != NULL && !doc_get_bool(part, "thought", false))
			appendStringInfoString(&joined, text);
	}
	return joined.len > 0 ? joined.data : NULL;
}

static void
read_candidate(Jsonb *candidate, LlmReading *reading)
{
	Jsonb *parts = doc_get_doc(doc_get_doc(candidate, "content"), "parts");
	char *finish = doc_get_string(candidate, "finishReason");

	reading->text = parts_text(parts);
	for (int i = 0; finish != NULL && i < lengthof(finish_rows); i++)
		if (strcmp(finish, finish_rows[i].word) == 0)
		{
			reading_fail(reading, finish_rows[i].failure, true, finish_rows[i].reason,
						 finish_rows[i].hint);
			return;
		}
	if (reading->text == NULL && parts != NULL &&
		strstr(doc_to_text(parts), "functionCall"))
		reading_fail(reading, LLM_ANSWER_INVALID, false,
					 "the model called a tool instead of answering", NULL);
	else if (reading->text == NULL)
		reading_fail(reading, LLM_ANSWER_INVALID, false, "the answer is empty", NULL);
}

static void
read_answer(Jsonb *document, LlmReading *reading)
{
	Jsonb *usage = doc_get_doc(document, "usageMetadata");
	List *candidates = doc_elements(doc_get_doc(document, "candidates"));

	reading->model = doc_get_string(document, "modelVersion");
	reading->prompt_tokens = reading_tokens(usage, "promptTokenCount");
	reading->completion_tokens = reading_tokens(usage, "candidatesTokenCount") +
								 reading_tokens(usage, "thoughtsTokenCount");
	if (doc_get_doc(document, "error") != NULL)
		reading_fail(reading, LLM_ANSWER_INVALID, false, "the answer is an error message",
					 NULL);
	else if (candidates != NIL)
		read_candidate(doc_from_value(linitial(candidates)), reading);
	else if (doc_get_string(doc_get_doc(document, "promptFeedback"), "blockReason"))
		reading_fail(reading, LLM_REFUSED, true,
					 "the provider's content filter held the prompt",
					 "Reword the prompt.");
	else
		reading_fail(reading, LLM_ANSWER_INVALID, false, "the answer has no candidates",
					 "Check that \"base_url\" leads to Gemini's API.");
}

static char *
read_error(Jsonb *document)
{
	char *status = doc_get_string(doc_get_doc(document, "error"), "status");

	for (char *c = status; c != NULL && *c; c++)
		*c = pg_tolower((unsigned char) *c);
	return status;
}

const LlmProvider gemini_provider = {
	.name = "gemini",
	.path = generate_path,
	.key_header = key_header,
	.write_request = write_request,
	.read_answer = read_answer,
	.read_error = read_error,
};
