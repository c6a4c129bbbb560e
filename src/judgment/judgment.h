/*
 * judgment.h
 *		Decisions, their rules, and judging by them.
 */
#ifndef FACTORY_JUDGMENT_H
#define FACTORY_JUDGMENT_H

#include "cache/cache.h"
#include "llm/llm.h"

extern void judgment_define_settings(void);
extern void judgment_install_hooks(void);

/* By what an answer is kept: the key, whose judgment it was, how long. */
typedef struct JudgmentKeeping
{
	CacheTicket ticket;
	pg_uuid_t execution_id;
	int64 ttl_ms;
	bool later; /* the table's row comes later, by keeping it again */
} JudgmentKeeping;

/*
 * A judgment in two pieces.  Between them nothing is held: they may be in different
 * transactions, and a model may think in the meantime.
 *
 *		judgment_task_begin(&task);
 *		if (task.request != NULL && !judgment_task_recall(&task, CACHE_NO_TURN))
 *			... ask, wait, judgment_task_keep(&task, answer) ...
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
	bool skip_cache;               /* a fresh answer is wanted */
	const struct DecisionPin *pin; /* what is in force; NULL: when it begins */

	/* written by begin, in the current memory context */
	int version; /* the one in force, or its canary */
	pg_uuid_t execution_id;
	TimestampTz created_at;
	LlmRequest *request; /* what a model is to be asked; NULL: nothing */
	bool keeps;          /* the answer is to be kept */
	JudgmentKeeping keeping;

	CacheFound *recalled;      /* an answer of a moment ago, or NULL */
	struct Judgment *judgment; /* completed; valid until another task is */
} JudgmentTask;

extern void judgment_task_begin(JudgmentTask *task);

/* True where the answer to the request is known from a moment ago: none is needed. */
extern bool judgment_task_recall(JudgmentTask *task, CacheTurn turn);

/* For others who ask the same; as soon as it is there, for they may be waiting. */
extern void judgment_task_keep(JudgmentTask *task, const LlmAnswer *answer);

/* The same; what is no answer gives the key up. */
extern void judgment_keep(JudgmentKeeping *keeping, const LlmAnswer *answer);

extern void judgment_task_complete(JudgmentTask *task, LlmAnswer *answer);

/* A row of type factory.judgment, logged. */
extern Datum judgment_task_result(JudgmentTask *task);

/* The same for a task that failed: unknown, with the reason. */
extern Datum judgment_task_failure(const JudgmentTask *task, const ErrorData *error);

/* The type factory.judgment. */
extern Oid judgment_result_type(void);

#endif /* FACTORY_JUDGMENT_H */
