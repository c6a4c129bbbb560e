/*
 * combine.c
 *		From what the rules say and what the model says to one verdict, or to none
 *		where a person is to decide.
 *
 * Pure functions.  The formula is the documents' (spec 1.5): confidences are
 * weighted, the more confident side gives the status (a tie is the model's), the
 * graver side the severity, actions are the union with the rules' first.
 */
#include "postgres.h"

#include "judgment/judgment_int.h"

static bool
model_answered(const Judgment *judgment)
{
	return judgment->model != NULL && judgment->model->failure == NULL;
}

static bool
rules_answered(const Judgment *judgment)
{
	return judgment->evaluation != NULL && judgment->evaluation->verdict != NULL;
}

static bool
same_status(const Verdict *one, const Verdict *other)
{
	return one->status != NULL && other->status != NULL &&
		   strcmp(one->status, other->status) == 0;
}

/* Whose status it is; the decision can say so beforehand. */
static bool
rules_win(const Decision *decision, const Verdict *rule, const Verdict *model)
{
	switch (decision->conflict_resolution)
	{
		case CONFLICT_RULE_PRIORITY:
			return true;
		case CONFLICT_LLM_PRIORITY:
			return false;
		default:
			return rule->confidence > model->confidence;
	}
}

static Verdict
weighted(const Decision *decision, const Verdict *rule, const Verdict *model)
{
	Verdict both = rules_win(decision, rule, model) ? *rule : *model;

	both.confidence = rule->confidence * decision->rule_weight +
					  model->confidence * decision->llm_weight;
	both.severity = Max(rule->severity, model->severity);
	both.actions = actions_add(list_copy(rule->actions), model->actions);
	return both;
}

static void
say_done(Judgment *judgment, JudgmentPolicy done)
{
	judgment->done = done;
	judgment->method = judgment_method_names[done];
}

static void
settle(Judgment *judgment, const Verdict *verdict, JudgmentPolicy done)
{
	judgment->verdict = *verdict;
	judgment->known = true;
	say_done(judgment, done);
}

/*
 * The rules could not decide, the model could.  Asked as a fallback, its word
 * counts in full; in a weighted judgment only for its share.
 */
static void
settle_by_model(Judgment *judgment)
{
	Verdict verdict = judgment->model->verdict;

	if (judgment->policy == POLICY_HYBRID_WEIGHTED ||
		judgment->policy == POLICY_HYBRID_GATE)
		verdict.confidence *= judgment->decision->llm_weight;
	settle(judgment, &verdict, POLICY_LLM_ONLY);
}

static bool
model_alone(JudgmentPolicy policy)
{
	return policy == POLICY_LLM_ONLY || policy == POLICY_LLM_FALLBACK;
}

/* Both answered, they disagree, and the decision leaves that to a person. */
static bool
is_left_to_a_person(const Judgment *judgment)
{
	return judgment->decision->conflict_resolution == CONFLICT_HUMAN_ESCALATE &&
		   !same_status(judgment->evaluation->verdict, &judgment->model->verdict);
}

void
judgment_combine(Judgment *judgment)
{
	bool rules = rules_answered(judgment);
	bool model = model_answered(judgment);

	if (judgment->model != NULL && judgment->model->failure != NULL)
		judgment->degraded = judgment->model->failure;

	if (judgment->policy == POLICY_ESCALATE)
		say_done(judgment, POLICY_ESCALATE);
	else if (model && (model_alone(judgment->policy) || !rules))
		settle_by_model(judgment);
	else if (model && rules && is_left_to_a_person(judgment))
	{
		judgment->conflict = true;
		say_done(judgment, POLICY_ESCALATE);
	}
	else if (model && rules)
	{
		Verdict both = weighted(judgment->decision, judgment->evaluation->verdict,
								&judgment->model->verdict);

		settle(judgment, &both, judgment->policy);
	}
	else if (rules)
		settle(judgment, judgment->evaluation->verdict, POLICY_RULE_ONLY);
	else
		say_done(judgment, judgment->evaluation ? POLICY_RULE_ONLY : POLICY_LLM_ONLY);
	judgment->result =
		judgment->known ? severity_result(judgment->verdict.severity) : "unknown";
}
