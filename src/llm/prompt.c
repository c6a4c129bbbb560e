/*
 * prompt.c
 *		What every provider's request and answer needs.
 */
#include "postgres.h"

#include "base/document.h"
#include "llm/llm_int.h"

const char *
prompt_system_text(const LlmPrompt *prompt)
{
	if (prompt->form != LLM_FORM_OBJECT)
		return prompt->system;
	return psprintf("%s%sAnswer with JSON alone, by this JSON schema: %s",
					prompt->system ? prompt->system : "", prompt->system ? "\n\n" : "",
					doc_to_text(prompt->schema));
}

const char *
prompt_repair_text(const LlmPrompt *prompt)
{
	if (prompt->bad_answer == NULL)
		return NULL;
	return psprintf("This answer cannot be used: %s. Answer again, with JSON alone.",
					prompt->fault);
}

void
reading_fail(LlmReading *reading, LlmFailure failure, bool is_final, const char *reason,
			 const char *hint)
{
	reading->failure = failure;
	reading->is_final = is_final;
	reading->reason = reason;
	reading->hint = hint;
}

int64
reading_tokens(Jsonb *usage, const char *key)
{
	double count = doc_get_number(usage, key, 0);

	return count >= 0 && count < READING_MAX_TOKENS ? (int64) count : 0;
}

void
prompt_put_message(LlmBody *b, const char *role, const char *content)
{
	body_begin_object(b, NULL);
	body_put_string(b, "role", role);
	body_put_string(b, "content", content);
	body_end_object(b);
}

void
prompt_put_turns(LlmBody *b, const LlmPrompt *prompt)
{
	const char *repair = prompt_repair_text(prompt);

	prompt_put_message(b, "user", prompt->user);
	if (repair == NULL)
		return;
	prompt_put_message(b, "assistant", prompt->bad_answer);
	prompt_put_message(b, "user", repair);
}
