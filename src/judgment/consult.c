/*
 * consult.c
 *		A model is asked: what it is told, and what it answers.
 *
 * The same question a moment ago needs no model: its answer is given again.  What is
 * no answer is never kept.
 */
#include "postgres.h"

#include <math.h>

#include "access/sysattr.h"
#include "catalog/pg_collation.h"
#include "judgment/judgment_int.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

struct Consultation
{
	Judgment *judgment;
	ModelVerdict *model; /* known already, or NULL */
	LlmCall *call;       /* under way, or NULL */
	JudgmentKeeping keeping;
	bool keeps; /* an answer is kept by that */
};

/* --- the prompt --------------------------------------------------------------------- */

/* A marked input, or a value computed from one. */
static bool
is_personal(const Decision *decision, int attno)
{
	const Bitmapset *reads;
	int read = -1;

	if (attno <= decision->input_count)
		return decision->inputs[attno - 1].pii;
	if (attno == DECISION_TIME_ATTNO(decision))
		return false;
	reads = DECISION_LET_OF_ATTNO(decision, attno)->value.columns;
	while ((read = bms_next_member(reads, read)) >= 0)
		if (is_personal(decision, read + FirstLowInvalidHeapAttributeNumber))
			return true;
	return false;
}

/* Personal data does not leave the house; rules have seen it as it is. */
static void
put_masked(DocBuilder *b, const Decision *decision, const char *name,
		   const JsonbValue *value)
{
	bool masks = llm_masks_personal() && value->type != jbvNull;

	if (masks && is_personal(decision, decision_column(decision, name)))
		doc_put_string(b, name, "***");
	else if (masks && value->type == jbvString && llm_field_is_name(name))
		doc_put_string(b, name, llm_mask_name(doc_value_text(value)));
	else
		doc_put_value(b, name, value);
}

/* A reason may quote inputs. */
static char *
masked_reason(Decision *decision, Evaluation *rules)
{
	char *reason = evaluation_reason(rules);
	Jsonb *values = decision_values(decision, true);
	ListCell *cell;

	foreach (cell, doc_keys(values))
	{
		const JsonbValue *value = doc_get(values, lfirst(cell));
		bool masks = llm_masks_personal() && value->type != jbvNull &&
					 is_personal(decision, decision_column(decision, lfirst(cell)));
		char *quoted = masks ? doc_value_text(value) : "";

		if (quoted[0] != '\0')
			reason =
				TextDatumGetCString(DirectFunctionCall3Coll(replace_text, C_COLLATION_OID,
															CStringGetTextDatum(reason),
															CStringGetTextDatum(quoted),
															CStringGetTextDatum("***")));
	}
	return reason;
}

/* What the templates can name: inputs, let values, context, and the rules' result. */
static Jsonb *
prompt_values(Decision *decision, Evaluation *rules, Jsonb *context)
{
	Jsonb *values = decision_values(decision, true);
	DocBuilder b;
	ListCell *cell;

	doc_build(&b);
	doc_begin_object(&b, NULL);
	foreach (cell, doc_keys(values))
		put_masked(&b, decision, lfirst(cell), doc_get(values, lfirst(cell)));
	if (context != NULL && decision_column(decision, "context") == 0)
		doc_put_doc(&b, "context", context);
	if (rules != NULL && decision_column(decision, "rule") == 0)
	{
		doc_begin_object(&b, "rule");
		doc_put_string(&b, "status", rules->verdict ? rules->verdict->status : "unknown");
		if (rules->verdict != NULL)
			doc_put_number(&b, "confidence", rules->verdict->confidence);
		doc_put_string(&b, "reason", masked_reason(decision, rules));
		doc_end_object(&b);
	}
	doc_end_object(&b);
	return doc_finish(&b);
}

/* The shape of the answer in words, for servers that take no schema. */
static char *
answer_shape(const Decision *decision)
{
	StringInfoData text;
	ListCell *cell;

	initStringInfo(&text);
	appendStringInfoString(&text, "Answer with JSON only: {\"status\": one of");
	foreach (cell, decision->statuses)
		appendStringInfo(&text, " %s", strVal(lfirst(cell)));
	appendStringInfo(&text,
					 ", \"severity\": info|warning|critical, \"confidence\": 0..1, "
					 "\"explanation\": one sentence in %s, "
					 "\"recommended_actions\": [texts]}.",
					 strcmp(decision->language, "ko") == 0 ? "Korean" : "English");
	return text.data;
}

LlmRequest
model_request(const Judgment *judgment, Evaluation *rules, Jsonb *context)
{
	Decision *decision = judgment->decision;
	Jsonb *values = prompt_values(decision, rules, context);
	const char *system = decision->prompt_system
							 ? llm_render_template(decision->prompt_system, values)
							 : "Manufacturing quality expert. Judge the production data.";

	return (LlmRequest){
		.model = decision->prompt_model,
		.system = psprintf("%s\n%s", system, answer_shape(decision)),
		.user = llm_render_template(decision->prompt_user, values),
		.schema = decision->answer_schema,
		.purpose = "judgment",
		.subject = decision->name,
		.execution_id = &judgment->execution_id,
		.ladder = decision->prompt_ladder,
		.ladder_confidence = isnan(decision->prompt_ladder_confidence)
								 ? llm_ladder_confidence
								 : decision->prompt_ladder_confidence,
	};
}

static LlmCall *
ask_model(const Judgment *judgment, Evaluation *rules, Jsonb *context)
{
	LlmRequest request = model_request(judgment, rules, context);

	return llm_start(&request);
}

/* --- the answer ---------------------------------------------------------------------- */

/* The schema was checked where the answer came in. */
static ModelVerdict *
read_answer(LlmAnswer *answer)
{
	ModelVerdict *model = palloc0(sizeof(ModelVerdict));

	model->answer = answer;
	if (answer->failure != LLM_OK)
		model->failure = psprintf("model could not be had: %s", answer->reason);
	else
		verdict_read(answer->json, &model->verdict);
	return model;
}

static ModelVerdict *
no_prompt(const Decision *decision)
{
	ModelVerdict *model = palloc0(sizeof(ModelVerdict));

	model->answer = palloc0(sizeof(LlmAnswer));
	model->failure =
		psprintf("decision \"%s\" has no prompt, so no model was asked", decision->name);
	return model;
}

/* --- an answer of a moment ago -------------------------------------------------------- */

static Jsonb *
answer_to_document(const LlmAnswer *answer)
{
	DocBuilder b;

	doc_build(&b);
	doc_begin_object(&b, NULL);
	doc_put_doc(&b, "json", answer->json);
	doc_put_string(&b, "model", answer->model);
	doc_put_int(&b, "prompt_tokens", answer->prompt_tokens);
	doc_put_int(&b, "completion_tokens", answer->completion_tokens);
	doc_put_number(&b, "cost_usd", answer->cost_usd);
	doc_put_number(&b, "latency_ms", answer->latency_ms);
	doc_put_int(&b, "attempts", answer->attempts);
	if (answer->ladder != NULL)
		doc_put_doc(&b, "ladder", answer->ladder);
	doc_end_object(&b);
	return doc_finish(&b);
}

static LlmAnswer *
answer_from_document(Jsonb *document)
{
	LlmAnswer *answer = palloc0(sizeof(LlmAnswer));

	answer->failure = LLM_OK;
	answer->json = doc_get_doc(document, "json");
	answer->model = doc_get_string(document, "model");
	answer->prompt_tokens = (int64) doc_get_number(document, "prompt_tokens", 0);
	answer->completion_tokens = (int64) doc_get_number(document, "completion_tokens", 0);
	answer->cost_usd = doc_get_number(document, "cost_usd", NAN);
	answer->latency_ms = doc_get_number(document, "latency_ms", 0);
	answer->attempts = (int) doc_get_number(document, "attempts", 0);
	answer->ladder = doc_get_doc(document, "ladder");
	return answer;
}

static ModelVerdict *
find_answer(Consultation *consultation)
{
	const void *bytes;
	Size size;

	if (!consultation->keeps ||
		!recall_find(consultation->judgment, &consultation->keeping.ticket, &bytes,
					 &size))
		return NULL;
	return read_answer(answer_from_document((Jsonb *) bytes));
}

void
judgment_keep(JudgmentKeeping *keeping, const LlmAnswer *answer)
{
	Jsonb *document;

	if (answer->failure != LLM_OK || answer->is_stopgap)
	{
		cache_give_up(&keeping->ticket);
		return;
	}
	document = answer_to_document(answer);
	recall_keep(keeping, document, VARSIZE(document));
}

/* Of a judgment in pieces: what was asked in between, or known before; nothing now. */
static ModelVerdict *
given_answer(Judgment *judgment)
{
	ModelVerdict *model;
	Size size;

	if (judgment->given != NULL)
		return read_answer(judgment->given);
	if (judgment->remembered != NULL)
	{
		judgment->recalled = judgment->remembered;
		return read_answer(
			answer_from_document((Jsonb *) recall_bytes(judgment->recalled, &size)));
	}
	model = palloc0(sizeof(ModelVerdict));
	model->answer = palloc0(sizeof(LlmAnswer));
	model->failure = "the rules were sure when it was time to ask a model";
	return model;
}

/* --- the door --------------------------------------------------------------------------- */

Consultation *
consult_begin(Judgment *judgment, Evaluation *rules, Jsonb *context)
{
	Consultation *consultation = palloc0(sizeof(Consultation));

	consultation->judgment = judgment;
	if (judgment->decision->prompt_user == NULL)
	{
		consultation->model = no_prompt(judgment->decision);
		return consultation;
	}
	if (judgment->in_pieces)
	{
		consultation->model = given_answer(judgment);
		return consultation;
	}
	consultation->keeps = recall_key(judgment, rules, context, &consultation->keeping);
	consultation->model = find_answer(consultation);
	if (consultation->model == NULL)
		consultation->call = ask_model(judgment, rules, context);
	return consultation;
}

ModelVerdict *
consult_end(Consultation *consultation)
{
	if (consultation->call != NULL)
	{
		consultation->model = read_answer(llm_finish(consultation->call));
		consultation->call = NULL;
		if (consultation->keeps)
			judgment_keep(&consultation->keeping, consultation->model->answer);
	}
	return consultation->model;
}
