/*
 * task.c
 *		A judgment in two pieces: begun, and completed when the model has answered.
 *
 * The second piece fills the inputs and runs the rules again, at the same moment of
 * the judgment: rules cost microseconds, and so nothing of the first needs to be kept.
 */
#include "postgres.h"

#include "base/activity.h"
#include "base/clock.h"
#include "base/house.h"
#include "base/quota.h"
#include "judgment/judgment.h"
#include "judgment/judgment_int.h"
#include "judgment/limits.h"
#include "judgment/result.h"
#include "utils/lsyscache.h"

Oid
judgment_result_type(void)
{
	return get_rel_type_id(house_relation("judgment"));
}

static Judgment *
task_judgment(const JudgmentTask *task, Decision *decision)
{
	JudgmentPolicy policy =
		task->policy ? judgment_policy_from_name(task->policy) : decision->policy;

	inputs_from_json(decision, task->input);
	return judgment_begin(decision, policy);
}

static void
begin(JudgmentTask *task, Decision *decision)
{
	Judgment *judgment = task_judgment(task, decision);

	if (house_is_enabled())
		quota_take(QUOTA_JUDGMENTS, 1, clock_now());
	task->version = decision->version;
	task->execution_id = judgment->execution_id;
	task->created_at = judgment->created_at;
	task->request = judgment_request(judgment, NULL);
	if (task->request == NULL)
		return;
	/* The task lives as long as its model is asked; the decision may not. */
	task->request->execution_id = &task->execution_id;
	task->request->subject = task->decision;
	if (task->request->model != NULL)
		task->request->model = pstrdup(task->request->model);
	task->request->schema = memcpy(palloc(VARSIZE(task->request->schema)),
								   task->request->schema, VARSIZE(task->request->schema));
}

static void
complete(JudgmentTask *task, Decision *decision, LlmAnswer *answer)
{
	Judgment *judgment = task_judgment(task, decision);

	judgment->execution_id = task->execution_id;
	judgment->created_at = task->created_at;
	judgment_complete(judgment, answer);
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
	ResultShape shape;

	judgment_log(task->judgment, task->input);
	judgment_count_end(task->judgment);
	result_shape_of_type(&shape);
	return result_make(&shape, task->judgment, true);
}

Datum
judgment_task_failure(const JudgmentTask *task, const ErrorData *error)
{
	ResultShape shape;

	result_shape_of_type(&shape);
	return result_of_failure(&shape, task->decision, task->policy, error);
}
