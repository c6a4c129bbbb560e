/*
 * task.c
 *		A judgment in two pieces: begun, and completed when the model has answered.
 *
 * The second piece fills the inputs and runs the rules again, at the same moment of
 * the judgment: rules cost microseconds, and so nothing of the first needs to be kept.
 * Which version judges, and what is known from a moment ago, is as judge() has it.
 */
#include "postgres.h"

#include "base/activity.h"
#include "base/clock.h"
#include "base/house.h"
#include "base/quota.h"
#include "judgment/judgment.h"
#include "judgment/judgment_int.h"
#include "judgment/result.h"
#include "rules/limits.h"
#include "utils/lsyscache.h"

Oid
judgment_result_type(void)
{
	return get_rel_type_id(house_relation("judgment"));
}

/* The version in force, or the one that is tried on inputs like this. */
static int
choose_version(const JudgmentTask *task)
{
	DecisionPin now = {0};
	const DecisionPin *pin = task->pin;
	int tried;

	if (pin == NULL)
	{
		(void) decision_for_call(&now, task->decision, 0);
		pin = &now;
	}
	tried = canary_version(pin, task->input, NULL);
	return tried != 0 ? tried : pin->decision->version;
}

static Judgment *
task_judgment(const JudgmentTask *task, Decision *decision)
{
	JudgmentPolicy policy =
		task->policy ? judgment_policy_from_name(task->policy) : decision->policy;
	Judgment *judgment;

	inputs_from_json(decision, task->input);
	judgment = judgment_begin(decision, policy);
	judgment->recall = task->skip_cache ? RECALL_AFRESH : RECALL_ALLOWED;
	return judgment;
}

/* The task lives as long as its model is asked; the decision may not. */
static LlmRequest *
task_request(JudgmentTask *task, const Judgment *judgment, Evaluation *told)
{
	LlmRequest *request = palloc(sizeof(LlmRequest));

	*request = model_request(judgment, told, NULL);
	request->execution_id = &task->execution_id;
	request->subject = task->decision;
	if (request->model != NULL)
		request->model = pstrdup(request->model);
	request->schema = memcpy(palloc(VARSIZE(request->schema)), request->schema,
							 VARSIZE(request->schema));
	return request;
}

static void
begin(JudgmentTask *task, Decision *decision)
{
	Judgment *judgment = task_judgment(task, decision);
	Evaluation *told;

	if (house_is_enabled())
		quota_take(QUOTA_JUDGMENTS, 1, clock_now());
	task->execution_id = judgment->execution_id;
	task->created_at = judgment->created_at;
	task->request = NULL;
	if (!judgment_asks_model(judgment, &told))
		return;
	task->keeps = recall_key(judgment, told, NULL, &task->keeping);
	task->keeping.ticket.subject = task->decision;
	task->request = task_request(task, judgment, told);
}

static void
complete(JudgmentTask *task, Decision *decision, LlmAnswer *answer)
{
	Judgment *judgment = task_judgment(task, decision);

	judgment->execution_id = task->execution_id;
	judgment->created_at = task->created_at;
	judgment_complete(judgment, answer, task->recalled);
	task->judgment = judgment;
}

static JudgmentPolicy
policy_to_count(const JudgmentTask *task, const Decision *decision)
{
	JudgmentPolicy policy;

	if (task->policy != NULL && judgment_policy_lookup(task->policy, &policy))
		return policy;
	return decision->policy;
}

void
judgment_task_begin(JudgmentTask *task)
{
	Decision *decision;

	limit_input(task->decision, task->input);
	task->version = choose_version(task);
	decision = decision_lookup(task->decision, task->version);
	judgment_count_request(decision);
	PG_TRY();
	{
		begin(task, decision);
	}
	PG_CATCH();
	{
		judgment_count_error(task->decision, policy_to_count(task, decision));
		PG_RE_THROW();
	}
	PG_END_TRY();
}

bool
judgment_task_recall(JudgmentTask *task, CacheTurn turn)
{
	if (task->keeps && !task->skip_cache)
		task->recalled = recall_look(task->decision, &task->keeping.ticket, turn);
	if (task->recalled == NULL)
		return false;
	task->keeps = false;
	task->request = NULL;
	return true;
}

void
judgment_task_keep(JudgmentTask *task, const LlmAnswer *answer)
{
	if (task->keeps)
		judgment_keep(&task->keeping, answer);
}

void
judgment_task_complete(JudgmentTask *task, LlmAnswer *answer)
{
	Decision *decision = decision_lookup(task->decision, task->version);

	PG_TRY();
	{
		complete(task, decision, answer);
	}
	PG_CATCH();
	{
		judgment_count_error(task->decision, policy_to_count(task, decision));
		PG_RE_THROW();
	}
	PG_END_TRY();
}

Datum
judgment_task_result(JudgmentTask *task)
{
	judgment_log(task->judgment, task->input);
	judgment_count_end(task->judgment);
	return result_make(result_shape(judgment_result_type()), task->judgment, true);
}

Datum
judgment_task_failure(const JudgmentTask *task, const ErrorData *error)
{
	return result_of_failure(result_shape(judgment_result_type()), task->decision,
							 task->policy, error);
}
