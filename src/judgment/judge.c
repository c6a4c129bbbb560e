/*
 * judge.c
 *		One judgment: rules and model, one beside the other or one after the other.
 *
 * The way: let values -> model asked (where the policy asks it whatever the rules
 * say) -> rules -> model awaited -> combined.  Where the policy asks the model only
 * if the rules are unsure, their result goes into the prompt.  A model that cannot
 * be had degrades the answer and says why; it never raises, never counts as a
 * number and never overrules what the rules said.
 */
#include "postgres.h"

#include "base/clock.h"
#include "common/pg_prng.h"
#include "judgment/judgment_int.h"
#include "lib/stringinfo.h"
#include "port/pg_bswap.h"
#include "portability/instr_time.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

typedef enum ModelUse
{
	MODEL_NEVER,
	MODEL_BESIDE,    /* at the same time as the rules */
	MODEL_INSTEAD,   /* the rules are not asked */
	MODEL_FIRST,     /* the rules if it fails */
	MODEL_IF_UNSURE, /* after the rules, if they are below a confidence */
	MODEL_IF_BELOW_GATE
} ModelUse;

static const ModelUse model_uses[POLICY_COUNT] = {
	[POLICY_RULE_ONLY] = MODEL_NEVER,         [POLICY_LLM_ONLY] = MODEL_INSTEAD,
	[POLICY_RULE_FALLBACK] = MODEL_IF_UNSURE, [POLICY_LLM_FALLBACK] = MODEL_FIRST,
	[POLICY_HYBRID_WEIGHTED] = MODEL_BESIDE,  [POLICY_HYBRID_GATE] = MODEL_IF_BELOW_GATE,
	[POLICY_ESCALATE] = MODEL_NEVER,
};

/* --- the prompt --------------------------------------------------------------------- */

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
	{
		int attno = decision_column(decision, lfirst(cell));
		bool pii = attno <= decision->input_count && decision->inputs[attno - 1].pii;

		/* Personal data does not leave the house. */
		if (pii)
			doc_put_string(&b, lfirst(cell), "***");
		else
			doc_put_value(&b, lfirst(cell), doc_get(values, lfirst(cell)));
	}
	if (context != NULL && decision_column(decision, "context") == 0)
		doc_put_doc(&b, "context", context);
	if (rules != NULL && decision_column(decision, "rule") == 0)
	{
		doc_begin_object(&b, "rule");
		doc_put_string(&b, "status", rules->verdict ? rules->verdict->status : "unknown");
		if (rules->verdict != NULL)
			doc_put_number(&b, "confidence", rules->verdict->confidence);
		doc_put_string(&b, "reason", evaluation_reason(rules));
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

static LlmRequest
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

/* Of a judgment in pieces: what was asked in between, and nothing now. */
static ModelVerdict *
given_answer(const Judgment *judgment)
{
	ModelVerdict *model;

	if (judgment->given != NULL)
		return read_answer(judgment->given);
	model = palloc0(sizeof(ModelVerdict));
	model->answer = palloc0(sizeof(LlmAnswer));
	model->failure = "the rules were sure when it was time to ask a model";
	return model;
}

static ModelVerdict *
consult_model(const Judgment *judgment, Evaluation *rules, Jsonb *context)
{
	if (judgment->decision->prompt_user == NULL)
		return no_prompt(judgment->decision);
	if (judgment->in_pieces)
		return given_answer(judgment);
	return read_answer(llm_finish(ask_model(judgment, rules, context)));
}

/* --- the policies --------------------------------------------------------------------- */

static bool
rules_below(const Evaluation *rules, double confidence)
{
	return rules->verdict == NULL || rules->verdict->confidence < confidence;
}

static void
judge_beside(Judgment *judgment, Evaluation *rules, Jsonb *context)
{
	Decision *decision = judgment->decision;
	LlmCall *call = NULL;

	if (decision->prompt_user != NULL && !judgment->in_pieces)
		call = ask_model(judgment, NULL, context);
	evaluation_finish(rules);
	judgment->evaluation = rules;
	judgment->model =
		call ? read_answer(llm_finish(call)) : consult_model(judgment, NULL, context);
}

static void
judge_rules_first(Judgment *judgment, Evaluation *rules, double enough, Jsonb *context)
{
	evaluation_finish(rules);
	judgment->evaluation = rules;
	if (rules_below(rules, enough))
		judgment->model = consult_model(judgment, rules, context);
}

static void
judge_by_policy(Judgment *judgment, Evaluation *rules, Jsonb *context)
{
	Decision *decision = judgment->decision;

	switch (model_uses[judgment->policy])
	{
		case MODEL_NEVER:
			evaluation_finish(rules);
			judgment->evaluation = rules;
			break;
		case MODEL_BESIDE:
			judge_beside(judgment, rules, context);
			break;
		case MODEL_INSTEAD:
			judgment->model = consult_model(judgment, NULL, context);
			break;
		case MODEL_FIRST:
			judgment->model = consult_model(judgment, NULL, context);
			if (judgment->model->failure != NULL)
			{
				evaluation_finish(rules);
				judgment->evaluation = rules;
			}
			break;
		case MODEL_IF_UNSURE:
			judge_rules_first(judgment, rules, decision->fallback_confidence, context);
			break;
		case MODEL_IF_BELOW_GATE:
			judge_rules_first(judgment, rules, decision->gate, context);
			break;
	}
}

/* --- identity --------------------------------------------------------------------------- */

/* UUIDv7 (RFC 9562): milliseconds since 1970, then random bits: sorted by time. */
static void
execution_id_make(TimestampTz at, pg_uuid_t *id)
{
	uint64 milliseconds =
		(at + (int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY) / 1000;
	uint64 high = pg_hton64(milliseconds << 16 |
							(pg_prng_uint64(&pg_global_prng_state) & 0x0fff) | 0x7000);
	uint64 low = pg_hton64((pg_prng_uint64(&pg_global_prng_state) >> 2) |
						   UINT64CONST(0x8000000000000000));

	memcpy(id->data, &high, 8);
	memcpy(id->data + 8, &low, 8);
}

Judgment *
judgment_begin(Decision *decision, JudgmentPolicy policy)
{
	Judgment *judgment = palloc0(sizeof(Judgment));

	judgment->decision = decision;
	judgment->policy = policy;
	judgment->created_at = clock_now();
	execution_id_make(judgment->created_at, &judgment->execution_id);
	return judgment;
}

/* --- in one piece, or two ----------------------------------------------------------------- */

/* The rules' result where the prompt tells it; else NULL. */
static Evaluation *
rules_to_tell(const Judgment *judgment, Evaluation *rules)
{
	switch (model_uses[judgment->policy])
	{
		case MODEL_IF_UNSURE:
		case MODEL_IF_BELOW_GATE:
			evaluation_finish(rules);
			return rules;
		default:
			return NULL;
	}
}

static double
confidence_enough(const Judgment *judgment)
{
	return model_uses[judgment->policy] == MODEL_IF_UNSURE
			   ? judgment->decision->fallback_confidence
			   : judgment->decision->gate;
}

LlmRequest *
judgment_request(const Judgment *judgment, Jsonb *context)
{
	LlmRequest *request;
	Evaluation *rules;

	if (model_uses[judgment->policy] == MODEL_NEVER ||
		judgment->decision->prompt_user == NULL)
		return NULL;
	rules = rules_to_tell(judgment,
						  evaluation_begin(judgment->decision, judgment->created_at));
	if (rules != NULL && !rules_below(rules, confidence_enough(judgment)))
		return NULL;
	request = palloc(sizeof(LlmRequest));
	*request = model_request(judgment, rules, context);
	return request;
}

static void
judgment_run(Judgment *judgment, Jsonb *context)
{
	instr_time begin, end;

	INSTR_TIME_SET_CURRENT(begin);
	judge_by_policy(judgment, evaluation_begin(judgment->decision, judgment->created_at),
					context);
	judgment_combine(judgment);
	INSTR_TIME_SET_CURRENT(end);
	INSTR_TIME_SUBTRACT(end, begin);
	judgment->elapsed_ms = INSTR_TIME_GET_MILLISEC(end);
}

Judgment *
judgment_make(Decision *decision, JudgmentPolicy policy, Jsonb *context)
{
	Judgment *judgment = judgment_begin(decision, policy);

	judgment_run(judgment, context);
	return judgment;
}

void
judgment_complete(Judgment *judgment, LlmAnswer *answer)
{
	judgment->in_pieces = true;
	judgment->given = answer;
	judgment_run(judgment, NULL);
	if (answer != NULL)
		judgment->elapsed_ms += answer->latency_ms;
}

Judgment *
judgment_decide(Decision *decision)
{
	return judgment_make(decision, POLICY_RULE_ONLY, NULL);
}
