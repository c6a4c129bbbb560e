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

/* --- the policies --------------------------------------------------------------------- */

static bool
rules_below(const Evaluation *rules, double confidence)
{
	return rules->verdict == NULL || rules->verdict->confidence < confidence;
}

static ModelVerdict *
consult_model(Judgment *judgment, Evaluation *rules, Jsonb *context)
{
	return consult_end(consult_begin(judgment, rules, context));
}

static void
judge_beside(Judgment *judgment, Evaluation *rules, Jsonb *context)
{
	Consultation *consultation = consult_begin(judgment, NULL, context);

	evaluation_finish(rules);
	judgment->evaluation = rules;
	judgment->model = consult_end(consultation);
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
			rules_finish(judgment, rules);
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

Evaluation *
judgment_rules_told(const Judgment *judgment)
{
	Evaluation *rules = evaluation_begin(judgment->decision, judgment->created_at);

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

bool
judgment_asks_model(const Judgment *judgment, Evaluation **told)
{
	if (model_uses[judgment->policy] == MODEL_NEVER ||
		judgment->decision->prompt_user == NULL)
		return false;
	*told = judgment_rules_told(judgment);
	return *told == NULL || rules_below(*told, confidence_enough(judgment));
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
	/* Where they are all there is, the clock is not read again for the rules. */
	if (model_uses[judgment->policy] == MODEL_NEVER)
		judgment->evaluation->elapsed_ms = judgment->elapsed_ms;
}

void
judgment_make(Judgment *judgment, Jsonb *context, Recall recall)
{
	judgment->recall = recall;
	judgment_run(judgment, context);
}

void
judgment_complete(Judgment *judgment, LlmAnswer *answer, CacheFound *remembered)
{
	judgment->in_pieces = true;
	judgment->given = answer;
	judgment->remembered = remembered;
	judgment_run(judgment, NULL);
	if (answer != NULL)
		judgment->elapsed_ms += answer->latency_ms;
}

Judgment *
judgment_decide(Decision *decision)
{
	Judgment *judgment = judgment_begin(decision, POLICY_RULE_ONLY);

	judgment_make(judgment, NULL, RECALL_NEVER);
	return judgment;
}
