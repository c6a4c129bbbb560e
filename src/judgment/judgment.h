/*
 * judgment.h
 *		Decisions, their rules, and judging by them.
 */
#ifndef FACTORY_JUDGMENT_H
#define FACTORY_JUDGMENT_H

#include "llm/llm.h"

extern void judgment_define_settings(void);

/*
 * A judgment in two pieces.  Between them nothing is held: they may be in different
 * transactions, and a model may think in the meantime.
 *
 *		judgment_task_begin(&task);
 *		if (task.request != NULL) ... ask, wait ...
 *		judgment_task_complete(&task, answer);
 *		row = judgment_task_result(&task);
 *
 * Who may survive an error runs begin and complete in attempt(); the result is logged
 * where it is made.
 */
typedef struct JudgmentTask
{
	const char *decision;
	const char *policy; /* NULL: the decision's own */
	Jsonb *input;
	int version; /* 0: the one in force, which begin writes here */

	/* written by begin, in the current memory context */
	pg_uuid_t execution_id;
	TimestampTz created_at;
	LlmRequest *request; /* what a model is to be asked; NULL: nothing */

	struct Judgment *judgment; /* completed; valid until another task is */
} JudgmentTask;

extern void judgment_task_begin(JudgmentTask *task);
extern void judgment_task_complete(JudgmentTask *task, LlmAnswer *answer);

/* A row of type factory.judgment, logged. */
extern Datum judgment_task_result(JudgmentTask *task);

/* The same for a task that failed: unknown, with the reason. */
extern Datum judgment_task_failure(const JudgmentTask *task, const ErrorData *error);

/* The type factory.judgment. */
extern Oid judgment_result_type(void);

#endif /* FACTORY_JUDGMENT_H */
