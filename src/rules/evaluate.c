/*
 * evaluate.c
 *		One input judged by a decision's rules.
 *
 * A condition that is NULL or fails is *undecided*: it does not match, and where no
 * other rule matches the result is unknown, never the default.  Failing is caught
 * by one subtransaction around all let values and one around the conditions from
 * the first that may raise; after a failure the rest goes on in a new one.  Where
 * the index alone decides, and for what is made of leakproof functions, none is
 * begun, nor are the owner's rights taken: nothing is evaluated.
 *
 * Sentences are made when they are asked for.
 */
#include "postgres.h"

#include "base/attempt.h"
#include "base/errors.h"
#include "executor/executor.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "portability/instr_time.h"
#include "rules/rule_index.h"
#include "rules/rules_int.h"
#include "utils/builtins.h"

/* --- the loop ------------------------------------------------------------------------------ */

static void
compute_let(Evaluation *run, int i)
{
	Decision *decision = run->decision;
	int at = DECISION_LET_ATTNO(decision, i) - 1;

	decision->slot->tts_values[at] =
		expression_evaluate(decision, &decision->lets[i].value,
							&decision->slot->tts_isnull[at]);
}

static void
note_hit(Evaluation *run, Rule *rule)
{
	run->stopped = run->decision->hit_policy == HIT_FIRST && !run->every;
	run->hits = run->stopped ? rule->alone : lappend(run->hits, rule);
}

static void
decide_rule(Evaluation *run, Rule *rule)
{
	bool isnull;
	bool holds;

	holds =
		DatumGetBool(expression_evaluate(run->decision, &rule->when, &isnull)) && !isnull;
	if (isnull)
		evaluation_null_rule(run, rule);
	else if (holds)
		note_hit(run, rule);
}

/* The next rule to look at, or -1; the index leaves out those that fail. */
static int
next_rule(const Evaluation *run, RuleStanding *standing)
{
	*standing = RULE_OPEN;
	if (run->stopped)
		return -1;
	if (run->indexed)
		return rule_index_next(run->decision, run->next_rule, standing);
	return run->next_rule < run->decision->rule_count ? run->next_rule : -1;
}

/* next_let and next_rule are advanced first: after an error they name the culprit. */
static void
lets_body(void *argument)
{
	Evaluation *run = argument;

	while (run->next_let < run->decision->let_count)
		compute_let(run, run->next_let++);
}

/* Notes what the index is sure of; true where a rule must be evaluated. */
static bool
skip_to_open(Evaluation *run)
{
	RuleStanding standing;
	int number;

	while ((number = next_rule(run, &standing)) >= 0)
	{
		if (standing == RULE_OPEN)
		{
			run->next_rule = number;
			return true;
		}
		run->next_rule = number + 1;
		if (standing == RULE_HOLDS)
			note_hit(run, decision_rule(run->decision, number));
		else
			evaluation_null_rule(run, decision_rule(run->decision, number));
	}
	return false;
}

static void
decide_next(Evaluation *run)
{
	Rule *rule = decision_rule(run->decision, run->next_rule++);

	CHECK_FOR_INTERRUPTS();
	run->evaluating = true;
	decide_rule(run, rule);
	run->evaluating = false;
}

static void
rules_body(void *argument)
{
	Evaluation *run = argument;

	while (skip_to_open(run))
		decide_next(run);
}

static void
note_failure(Evaluation *run, const ErrorData *error)
{
	Decision *decision = run->decision;

	/* What on_null => error raised is the caller's. */
	if (error->sqlerrcode == ERRCODE_FACTORY_INVALID_INPUT)
		ReThrowError(unconstify(ErrorData *, error));
	if (run->evaluating)
	{
		Rule *rule = decision_rule(decision, run->next_rule - 1);

		run->evaluating = false;
		evaluation_undecided(run, rule->index,
							 psprintf(phrase(decision, PHRASE_RULE), rule->id),
							 pstrdup(error->message));
	}
	else
	{
		int i = run->next_let - 1;

		decision->slot->tts_isnull[DECISION_LET_ATTNO(decision, i) - 1] = true;
		decision->let_errors[i] = pstrdup(error->message);
	}
}

static void
lets_steps(void *argument)
{
	ErrorData *error;

	while ((error = attempt(lets_body, argument)) != NULL)
		note_failure(argument, error);
}

static void
rules_steps(void *argument)
{
	ErrorData *error;

	while ((error = attempt(rules_body, argument)) != NULL)
		note_failure(argument, error);
}

/* --- from hits to a verdict ------------------------------------------------------------------- */

static int
by_priority(const ListCell *a, const ListCell *b)
{
	const Rule *left = lfirst(a);
	const Rule *right = lfirst(b);

	if (left->priority != right->priority)
		return left->priority > right->priority ? -1 : 1;
	return left->index - right->index;
}

static void
violation(const Decision *decision, const Rule *one, const Rule *other)
{
	ereport(ERROR,
			(errcode(ERRCODE_FACTORY_HIT_POLICY_VIOLATION),
			 errmsg("rules \"%s\" and \"%s\" of decision \"%s\" both match", one->id,
					other->id, decision->name),
			 errdetail("Hit policy \"%s\" forbids it%s.",
					   hit_policy_names[decision->hit_policy],
					   decision->hit_policy == HIT_ANY ? " where outcomes differ" : ""),
			 errhint("Make the conditions exclude each other, or choose another "
					 "\"hit_policy\".")));
}

static bool
same_outcome(const Rule *one, const Rule *other)
{
	return compareJsonbContainers(&one->then.outcome->root, &other->then.outcome->root) ==
			   0 &&
		   one->computed == NIL && other->computed == NIL;
}

/* Orders the hits, drops what the hit policy drops, raises what it forbids. */
static void
apply_hit_policy(Evaluation *run)
{
	Decision *decision = run->decision;
	List *hits = run->hits;
	bool ordered =
		decision->hit_policy == HIT_PRIORITY || decision->hit_policy == HIT_OUTPUT_ORDER;

	if (list_length(hits) < 2)
		return;
	if (ordered)
		list_sort(hits, by_priority);
	if (decision->hit_policy == HIT_UNIQUE)
		violation(decision, linitial(hits), lsecond(hits));
	if (decision->hit_policy == HIT_ANY)
		for (int i = 1; i < list_length(hits); i++)
			if (!same_outcome(linitial(hits), list_nth(hits, i)))
				violation(decision, linitial(hits), list_nth(hits, i));
	if (decision->hit_policy == HIT_PRIORITY || decision->hit_policy == HIT_ANY)
		run->hits = list_truncate(hits, 1);
}

static Rule *
gravest_of(List *hits)
{
	Rule *gravest = linitial(hits);
	ListCell *cell;

	if (list_length(hits) == 1)
		return gravest;
	foreach (cell, hits)
		if (((Rule *) lfirst(cell))->then.severity > gravest->then.severity)
			gravest = lfirst(cell);
	return gravest;
}

/* Several hits answer with the most severe one; actions of all are kept. */
static Verdict *
verdict_of_hits(List *hits, Rule *gravest)
{
	Verdict *verdict;
	List *actions = NIL;
	ListCell *cell;

	if (list_length(hits) == 1)
		return &gravest->then;
	foreach (cell, hits)
	{
		const Verdict *one = &((Rule *) lfirst(cell))->then;

		if (one->actions != NIL)
			actions = actions_add(actions, one->actions);
	}
	verdict = palloc(sizeof(Verdict));
	*verdict = gravest->then;
	verdict->actions = actions;
	return verdict;
}

static char *
hit_reason(Decision *decision, Rule *rule)
{
	if (rule->because != NULL)
		return explanation_render(decision, rule->because);
	if (rule->then.explanation != NULL)
		return explanation_render(decision, rule->then.explanation);
	return rule_words(decision, rule)->reason;
}

char *
evaluation_reason(Evaluation *run)
{
	Decision *decision = run->decision;

	if (run->reason != NULL)
		return run->reason;
	if (run->hits != NIL)
		run->reason = hit_reason(decision, linitial(run->hits));
	else if (run->undecided != NIL)
		run->reason = evaluation_undecided_text(decision, run->undecided);
	else if (run->verdict != NULL && decision->otherwise_because != NULL)
		run->reason = explanation_render(decision, decision->otherwise_because);
	else
		run->reason = psprintf(phrase(decision, run->verdict ? PHRASE_NONE_MATCHES
															 : PHRASE_NO_DEFAULT),
							   decision->rule_count);
	return run->reason;
}

DocText
evaluation_reason_text(Evaluation *run)
{
	Rule *rule = run->hits != NIL ? linitial(run->hits) : NULL;
	char *reason;

	if (rule != NULL && rule->because == NULL && rule->then.explanation == NULL)
		return rule_words(run->decision, rule)->reason_text;
	reason = evaluation_reason(run);
	return (DocText){reason, (int) strlen(reason)};
}

static void
conclude(Evaluation *run)
{
	Decision *decision = run->decision;

	run->decided = run->stopped ? run->next_rule : decision->rule_count;
	apply_hit_policy(run);
	if (run->hits != NIL)
	{
		Rule *gravest = gravest_of(run->hits);

		run->verdict = verdict_of_hits(run->hits, gravest);
		run->answer = answer_of_rule(decision, gravest);
		run->alone = list_length(run->hits) == 1 && gravest->computed == NIL;
	}
	else if (run->undecided == NIL && decision->otherwise != NULL)
	{
		run->verdict = decision->otherwise;
		run->answer = answer_of_rule(decision, NULL);
		run->alone = true;
	}
	else
	{
		run->answer = answer_unknown(decision);
		run->alone = true;
	}
}

/* --- the door ------------------------------------------------------------------------------------- */

static void
raise_timeout(const Evaluation *run)
{
	const Decision *decision = run->decision;

	ereport(ERROR,
			(errcode(ERRCODE_FACTORY_JUDGMENT_TIMEOUT),
			 errmsg("decision \"%s\" took more than %d ms to evaluate", decision->name,
					judgment_time_limit_ms),
			 run->evaluating ? errdetail("Rule \"%s\" was being evaluated.",
										 decision_rule(decision, run->next_rule - 1)->id)
							 : 0,
			 errhint("Simplify the expression, or raise factory.judgment_time_limit.")));
}

/* What may raise may take its time, too; functions that cannot are quick. */
static void
run_in_time(Evaluation *run, void (*part)(void *))
{
	if (!deadline_run(part, run))
		raise_timeout(run);
}

/* Runs a part of the evaluation with the owner's rights; the decision is busy meanwhile. */
static void
run_as_owner(Evaluation *run, void (*part)(Evaluation *))
{
	Decision *decision = run->decision;
	OwnerRights rights;

	owner_rights_begin(decision->owner, decision->needs_search_path, &rights);
	decision->busy = true;
	PG_TRY();
	{
		part(run);
	}
	PG_FINALLY();
	{
		decision->busy = false;
	}
	PG_END_TRY();
	owner_rights_end(&rights);
}

static void
lets_part(Evaluation *run)
{
	if (run->decision->lets_may_raise)
		run_in_time(run, lets_steps);
	else
		lets_body(run);
}

/* From the first rule that must be evaluated on. */
static void
open_rules_part(Evaluation *run)
{
	while (!decision_rule(run->decision, run->next_rule)->when.may_raise)
	{
		decide_next(run);
		if (!skip_to_open(run))
			return;
	}
	run_in_time(run, rules_steps);
}

/* Computed outcomes are expressions too. */
static void
outcome_steps(void *argument)
{
	(void) evaluation_outcome(argument);
}

static void
outcome_part(Evaluation *run)
{
	run_in_time(run, outcome_steps);
}

Evaluation *
evaluation_begin(Decision *decision, TimestampTz at)
{
	Evaluation *run = palloc(sizeof(Evaluation));

	evaluation_start(run, decision, at);
	return run;
}

void
evaluation_start(Evaluation *run, Decision *decision, TimestampTz at)
{
	int time = DECISION_TIME_ATTNO(decision) - 1;

	memset(run, 0, sizeof(*run));
	run->decision = decision;
	decision->slot->tts_values[time] = TimestampTzGetDatum(at);
	decision->slot->tts_isnull[time] = false;
	if (TTS_EMPTY(decision->slot))
		ExecStoreVirtualTuple(decision->slot);
	if (decision->let_count > 0)
	{
		memset(&decision->slot->tts_isnull[time + 1], true, decision->let_count);
		memset(decision->let_errors, 0, sizeof(char *) * decision->let_count);
		run_as_owner(run, lets_part);
	}
}

bool
evaluation_by_index(Evaluation *run, Decision *decision)
{
	RuleStanding standing;
	int number;
	Rule *rule;

	if (decision->hit_policy != HIT_FIRST || decision->let_count > 0 ||
		!rule_index_enabled)
		return false;
	(void) rule_index_load(decision);
	number = rule_index_next(decision, 0, &standing);
	rule = number < 0 ? NULL : decision_rule(decision, number);
	if (rule != NULL ? standing != RULE_HOLDS || rule->computed != NIL
					 : decision->otherwise == NULL)
		return false;
	run->decision = decision;
	run->hits = rule ? rule->alone : NIL;
	run->verdict = rule ? &rule->then : decision->otherwise;
	run->answer = answer_of_rule(decision, rule);
	run->alone = true;
	return true;
}

void
evaluation_run(Evaluation *run)
{
	run->indexed = rule_index_enabled;
	if (run->indexed)
		run->load = rule_index_load(run->decision);
	if (skip_to_open(run))
		run_as_owner(run, open_rules_part);
	conclude(run);
	if (evaluation_computes(run))
		run_as_owner(run, outcome_part);
}

void
evaluation_run_every(Evaluation *run)
{
	run->every = true;
	run->indexed = rule_index_enabled;
	if (run->indexed)
		run->load = rule_index_load(run->decision);
	if (skip_to_open(run))
		run_as_owner(run, open_rules_part);
}

void
evaluation_finish(Evaluation *run)
{
	instr_time begin, end;

	INSTR_TIME_SET_CURRENT(begin);
	evaluation_run(run);
	INSTR_TIME_SET_CURRENT(end);
	INSTR_TIME_SUBTRACT(end, begin);
	run->elapsed_ms = INSTR_TIME_GET_MILLISEC(end);
}

void
evaluation_resume(Evaluation *run, const int32 *hits, int count, int decided)
{
	Decision *decision = run->decision;

	for (int i = 0; i < count; i++)
		run->hits = lappend(run->hits, decision_rule(decision, hits[i]));
	run->stopped = true;
	run->next_rule = decided;
	conclude(run);
	if (evaluation_computes(run))
		run_as_owner(run, outcome_part);
}
