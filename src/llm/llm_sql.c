/*
 * llm_sql.c
 *		The room's SQL functions.
 */
#include "postgres.h"

#include <math.h>

#include "base/compat.h"
#include "base/document.h"
#include "base/errors.h"
#include "fmgr.h"
#include "llm/llm.h"
#include "llm/llm_int.h"
#include "utils/builtins.h"

FACTORY_FUNCTION(factory_check_model_options);

Datum
factory_check_model_options(PG_FUNCTION_ARGS)
{
	LlmOptions ignored;

	options_read(&ignored, PG_GETARG_JSONB_P(0));
	PG_RETURN_VOID();
}

/* --- complete ---------------------------------------------------------------------------- */

/* Between the model's name and the reason; NULL where the reason says it all. */
static const char *const failure_words[] = {
	[LLM_NO_MODEL] = NULL,
	[LLM_UNREACHABLE] = "could not be reached",
	[LLM_TIMEOUT] = "did not answer in time",
	[LLM_REFUSED] = "did not take the request",
	[LLM_ANSWER_INVALID] = "gave no usable answer",
	[LLM_DENIED] = "must not be called",
	[LLM_SHUT] = "is not called",
	[LLM_PACED] = "cannot be called in time",
	[LLM_OVER_BUDGET] = "is not called",
};

/* One phrase: what the model did, and why. */
char *
llm_failure_text(const char *model, const LlmAnswer *answer)
{
	const char *words = failure_words[answer->failure];
	const char *failed = answer->asked ? answer->asked : model;

	return words ? psprintf("model \"%s\" %s: %s", failed, words, answer->reason)
				 : pstrdup(answer->reason);
}

static void
raise_failure(const char *model, const LlmAnswer *answer)
{
	ereport(ERROR,
			(errcode(answer->sqlstate), errmsg("%s", llm_failure_text(model, answer)),
			 answer->attempts > 1 ? errdetail("It was tried %d times.", answer->attempts)
								  : 0,
			 answer->hint ? errhint("%s", answer->hint) : 0));
}

static const DocShape *
answer_shape(bool is_joined, bool has_ladder)
{
	static DocShape shapes[2][2];
	const char *keys[] = {"json", "text", "model", "usage", NULL, NULL, NULL, NULL, NULL};
	int count = 4;

	if (is_joined)
		keys[count++] = "joined";
	if (has_ladder)
		keys[count++] = "ladder";
	keys[count++] = "attempts";
	keys[count++] = "cost_usd";
	keys[count++] = "latency_ms";
	doc_shape_once(&shapes[is_joined][has_ladder], keys, count);
	return &shapes[is_joined][has_ladder];
}

static void
put_usage(DocBuilder *b, const LlmAnswer *answer)
{
	static const char *const keys[] = {"total_tokens", "prompt_tokens",
									   "completion_tokens"};
	static DocShape shape;

	doc_shape_once(&shape, keys, lengthof(keys));
	doc_begin_shaped(b, "usage", &shape);
	doc_put_int(b, "total_tokens", answer->prompt_tokens + answer->completion_tokens);
	doc_put_int(b, "prompt_tokens", answer->prompt_tokens);
	doc_put_int(b, "completion_tokens", answer->completion_tokens);
	doc_end_shaped(b);
}

Jsonb *
llm_answer_document(const LlmAnswer *answer)
{
	DocBuilder b;

	doc_build(&b);
	doc_begin_shaped(&b, NULL, answer_shape(answer->is_joined, answer->ladder != NULL));
	doc_put_doc(&b, "json", answer->json);
	doc_put_string(&b, "text", answer->text);
	doc_put_string(&b, "model", answer->model);
	put_usage(&b, answer);
	if (answer->is_joined)
		doc_put_bool(&b, "joined", true);
	if (answer->ladder != NULL)
		doc_put_doc(&b, "ladder", answer->ladder);
	doc_put_int(&b, "attempts", answer->attempts);
	doc_put_number(&b, "cost_usd", answer->cost_usd);
	doc_put_decimal(&b, "latency_ms", (int64) rint(answer->latency_ms * 1000), 3);
	doc_end_shaped(&b);
	return doc_finish(&b);
}

static Jsonb *
complete(const LlmRequest *request)
{
	LlmAnswer *answer = llm_finish(llm_start(request));

	if (answer->failure != LLM_OK)
		raise_failure(request->model, answer);
	return llm_answer_document(answer);
}

static void
require_argument(FunctionCallInfo fcinfo, int number, const char *name)
{
	if (PG_ARGISNULL(number))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("argument \"%s\" of complete must not be null", name),
						errhint("Give it a text.")));
}

void
llm_refuse_unusable_schema(Jsonb *schema)
{
	char *fault = llm_schema_error(schema);

	if (fault != NULL)
		ereport(ERROR, (errcode(ERRCODE_FACTORY_INVALID_SCHEMA),
						errmsg("the schema cannot be checked: %s", fault),
						errhint("docs/models.md lists the keywords that can.")));
}

FACTORY_FUNCTION(factory_complete);

Datum
factory_complete(PG_FUNCTION_ARGS)
{
	LlmRequest request = {.purpose = "complete", .joins = join_is_free()};

	require_argument(fcinfo, 0, "model");
	require_argument(fcinfo, 1, "prompt");
	request.model = text_to_cstring(PG_GETARG_TEXT_PP(0));
	request.user = text_to_cstring(PG_GETARG_TEXT_PP(1));
	if (!PG_ARGISNULL(2))
		request.system = text_to_cstring(PG_GETARG_TEXT_PP(2));
	if (!PG_ARGISNULL(3))
	{
		request.schema = PG_GETARG_JSONB_P(3);
		llm_refuse_unusable_schema(request.schema);
	}
	if (!PG_ARGISNULL(4))
		request.options = PG_GETARG_JSONB_P(4);
	PG_RETURN_JSONB_P(complete(&request));
}

/* --- templates and schemas, for those who write them ---------------------------------------- */

FACTORY_FUNCTION(factory_render_template);

Datum
factory_render_template(PG_FUNCTION_ARGS)
{
	char *template_text = text_to_cstring(PG_GETARG_TEXT_PP(0));

	PG_RETURN_TEXT_P(
		cstring_to_text(llm_render_template(template_text, PG_GETARG_JSONB_P(1))));
}

FACTORY_FUNCTION(factory_check_schema);

Datum
factory_check_schema(PG_FUNCTION_ARGS)
{
	Jsonb *schema = PG_GETARG_JSONB_P(0);
	char *fault;

	llm_refuse_unusable_schema(schema);
	fault = llm_check_schema(schema, PG_GETARG_JSONB_P(1));
	if (fault == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(fault));
}
