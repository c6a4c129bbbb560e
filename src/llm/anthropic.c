/*
 * anthropic.c
 *		The provider "anthropic": messages.
 *
 * A schema is given as a tool that the model must call: what it calls it with is
 * the answer.  A tool's input is an object, so another schema goes in words.
 */
#include "postgres.h"

#include <math.h>

#include "base/document.h"
#include "lib/stringinfo.h"
#include "llm/llm_int.h"

#define ANTHROPIC_VERSION "anthropic-version: 2023-06-01"
#define ANTHROPIC_TOOL "answer"

/* The provider wants a limit; this one is used where the model states none. */
#define ANTHROPIC_MAX_TOKENS 4096

static char *
key_header(const char *key)
{
	return psprintf("x-api-key: %s", key);
}

static char *
messages_path(const LlmPrompt *prompt)
{
	return "/messages";
}

/* --- the request ------------------------------------------------------------------------ */

static void
put_tool(LlmBody *b, Jsonb *schema)
{
	body_begin_list(b, "tools");
	body_begin_object(b, NULL);
	body_put_string(b, "name", ANTHROPIC_TOOL);
	body_put_string(b, "description", "Gives the answer.");
	body_put_doc(b, "input_schema", schema);
	body_end_object(b);
	body_end_list(b);
	body_begin_object(b, "tool_choice");
	body_put_string(b, "type", "tool");
	body_put_string(b, "name", ANTHROPIC_TOOL);
	body_end_object(b);
}

static bool
is_object_schema(Jsonb *schema)
{
	char *type = doc_get_string(schema, "type");

	return type != NULL && strcmp(type, "object") == 0;
}

static void
write_request(LlmBody *b, const LlmPrompt *given)
{
	LlmPrompt prompt = *given;
	const char *system;

	if (prompt.form == LLM_FORM_SCHEMA && !is_object_schema(prompt.schema))
		prompt.form = LLM_FORM_OBJECT;
	system = prompt_system_text(&prompt);
	body_begin_object(b, NULL);
	body_put_string(b, "model", prompt.provider_model);
	if (system != NULL)
		body_put_string(b, "system", system);
	body_begin_list(b, "messages");
	prompt_put_turns(b, &prompt);
	body_end_list(b);
	if (prompt.form == LLM_FORM_SCHEMA)
		put_tool(b, prompt.schema);
	body_put_int(b, "max_tokens",
				 prompt.options->max_tokens > 0 ? prompt.options->max_tokens
												: ANTHROPIC_MAX_TOKENS);
	if (!isnan(prompt.options->temperature))
		body_put_number(b, "temperature", prompt.options->temperature);
	body_end_object(b);
}

/* --- the answer -------------------------------------------------------------------------- */

static bool
is_word(const char *text, const char *word)
{
	return text != NULL && strcmp(text, word) == 0;
}

/* What the tool was called with, else the words of all text blocks; NULL for none. */
static char *
content_text(Jsonb *content)
{
	StringInfoData joined;
	ListCell *cell;

	initStringInfo(&joined);
	foreach (cell, doc_elements(content))
	{
		Jsonb *block = doc_from_value(lfirst(cell));
		char *type = doc_get_string(block, "type");
		char *text = doc_get_string(block, "text");

		if (is_word(type, "tool_use") &&
			is_word(doc_get_string(block, "name"), ANTHROPIC_TOOL) &&
			doc_get(block, "input") != NULL)
			return doc_to_text(doc_get_doc(block, "input"));
		if (is_word(type, "text") && text != NULL)
			appendStringInfoString(&joined, text);
	}
	return joined.len > 0 ? joined.data : NULL;
}

static void
read_answer(Jsonb *document, LlmReading *reading)
{
	Jsonb *usage = doc_get_doc(document, "usage");
	Jsonb *content = doc_get_doc(document, "content");
	char *stop = doc_get_string(document, "stop_reason");

	reading->model = doc_get_string(document, "model");
	reading->prompt_tokens = reading_tokens(usage, "input_tokens") +
							 reading_tokens(usage, "cache_creation_input_tokens") +
							 reading_tokens(usage, "cache_read_input_tokens");
	reading->completion_tokens = reading_tokens(usage, "output_tokens");
	reading->text = content_text(content);
	if (is_word(doc_get_string(document, "type"), "error"))
		reading_fail(reading, LLM_ANSWER_INVALID, false, "the answer is an error message",
					 NULL);
	else if (is_word(stop, "refusal"))
		reading_fail(reading, LLM_REFUSED, true, "the model declined to answer",
					 "Reword the prompt.");
	else if (is_word(stop, "max_tokens"))
		reading_fail(reading, LLM_ANSWER_INVALID, true,
					 "the answer was cut at the token limit",
					 "Raise option \"max_tokens\" of the model, or ask for less.");
	else if (content == NULL || strcmp(doc_kind(content), "array") != 0)
		reading_fail(reading, LLM_ANSWER_INVALID, false, "the answer has no content",
					 "Check that \"base_url\" leads to Anthropic's API.");
	else if (reading->text == NULL && is_word(stop, "tool_use"))
		reading_fail(reading, LLM_ANSWER_INVALID, false,
					 "the model called a tool instead of answering", NULL);
	else if (reading->text == NULL)
		reading_fail(reading, LLM_ANSWER_INVALID, false, "the answer is empty", NULL);
}

static char *
read_error(Jsonb *document)
{
	return doc_get_string(doc_get_doc(document, "error"), "type");
}

const LlmProvider anthropic_provider = {
	.name = "anthropic",
	.path = messages_path,
	.header = ANTHROPIC_VERSION,
	.key_header = key_header,
	.write_request = write_request,
	.read_answer = read_answer,
	.read_error = read_error,
};
