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
 * Sentences and documents are made when they are asked for.
 */
#include "postgres.h"

#include <math.h>

#include "access/sysattr.h"
#include "base/attempt.h"
#include "base/errors.h"
#include "base/number.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "portability/instr_time.h"
#include "rules/rule_index.h"
#include "rules/rules_int.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"

int
decision_column(const Decision *decision, const char *name)
{
	for (int i = 0; i < decision->input_count; i++)
		if (strcmp(decision->inputs[i].name, name) == 0)
			return DECISION_INPUT_ATTNO(i);
	for (int i = 0; i < decision->let_count; i++)
		if (strcmp(decision->lets[i].name, name) == 0)
			return DECISION_LET_ATTNO(decision, i);
	return 0;
}

const char *
decision_column_name(const Decision *decision, int attno)
{
	return attno <= decision->input_count ? decision->inputs[attno - 1].name
										  : DECISION_LET_OF_ATTNO(decision, attno)->name;
}

/* --- undecided rules ------------------------------------------------------------------- */

static void
add_undecided(Evaluation *run, int rule, char *what, char *why)
{
	Undecided *undecided = palloc(sizeof(Undecided));

	undecided->rule = rule;
	undecided->what = what;
	undecided->why = why;
	run->undecided = lappend(run->undecided, undecided);
}

static OnNull
column_on_null(const Decision *decision, int attno)
{
	return attno <= decision->input_count ? decision->inputs[attno - 1].on_null
										  : decision->on_null;
}

/*
 * Why a condition is NULL: the NULL columns it reads, and for let values that could
 * not be computed, the reason.  The strictest on_null among them counts.
 */
static char *
null_reason(const Decision *decision, const Expression *expression, OnNull *on_null)
{
	StringInfoData text;
	int member = -1;
	int found = 0;

	initStringInfo(&text);
	*on_null = ON_NULL_NO_MATCH;
	while ((member = bms_next_member(expression->columns, member)) >= 0)
	{
		int attno = member + FirstLowInvalidHeapAttributeNumber;
		OnNull wanted;
		char *error = NULL;

		if (attno <= 0 || attno == DECISION_TIME_ATTNO(decision) ||
			!decision->slot->tts_isnull[attno - 1])
			continue;
		wanted = column_on_null(decision, attno);
		if (wanted == ON_NULL_ERROR || *on_null == ON_NULL_NO_MATCH)
			*on_null = wanted;
		if (attno > decision->input_count)
			error =
				decision
					->let_errors[DECISION_LET_OF_ATTNO(decision, attno) - decision->lets];
		appendStringInfoString(&text, found++ ? ", " : "");
		appendStringInfo(&text, phrase(decision, PHRASE_IS_NULL),
						 decision_column_name(decision, attno));
		if (error != NULL)
			appendStringInfo(&text, " (%s)", error);
	}
	if (found == 0)
	{
		*on_null = decision->on_null;
		appendStringInfoString(&text, phrase(decision, PHRASE_CONDITION_IS_NULL));
	}
	return text.data;
}

static void
rule_is_null(Evaluation *run, const Rule *rule)
{
	OnNull on_null;
	char *why = null_reason(run->decision, &rule->when, &on_null);

	if (on_null == ON_NULL_ERROR && !run->every)
		ereport(ERROR, (errcode(ERRCODE_FACTORY_INVALID_INPUT),
						errmsg("rule \"%s\" of decision \"%s\" cannot be decided: %s",
							   rule->id, run->decision->name, why),
						errhint("Give the value, or set \"on_null\" to \"unknown\" or "
								"\"no_match\".")));
	if (on_null != ON_NULL_NO_MATCH)
		add_undecided(run, rule->index,
					  psprintf(phrase(run->decision, PHRASE_RULE), rule->id), why);
}

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
		rule_is_null(run, rule);
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

/* Notes the hits that the index is sure of; true where a rule must be evaluated. */
static bool
skip_to_open(Evaluation *run)
{
	RuleStanding standing;
	int number;

	while ((number = next_rule(run, &standing)) >= 0)
	{
		if (standing != RULE_HOLDS)
		{
			run->next_rule = number;
			return true;
		}
		run->next_rule = number + 1;
		note_hit(run, decision_rule(run->decision, number));
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
		add_undecided(run, rule->index, psprintf(phrase(decision, PHRASE_RULE), rule->id),
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

typedef struct ComputeAttempt
{
	Decision *decision;
	Expression *expression;
	Datum value;
	bool isnull;
} ComputeAttempt;

static void
compute_body(void *argument)
{
	ComputeAttempt *work = argument;

	work->value = expression_evaluate(work->decision, work->expression, &work->isnull);
}

/* A computed outcome that fails is null, and said. */
static Jsonb *
compute_outcome(Evaluation *run, const Rule *rule, Computed *computed)
{
	ComputeAttempt work = {run->decision, &computed->value, (Datum) 0, true};
	ErrorData *error = NULL;

	if (computed->value.may_raise)
		error = attempt(compute_body, &work);
	else
		compute_body(&work);
	if (error != NULL)
		add_undecided(run, rule->index,
					  psprintf(phrase(run->decision, PHRASE_RULE_VALUE), computed->name,
							   rule->id),
					  error->message);
	return work.isnull ? NULL : DatumGetJsonbP(work.value);
}

static Jsonb *
rule_outcome(Evaluation *run, Rule *rule, bool with_id)
{
	Jsonb *then = rule->then.outcome;
	DocBuilder b;
	ListCell *cell;

	if (rule->computed == NIL && !with_id)
		return then;
	doc_build(&b);
	doc_begin_object(&b, NULL);
	if (with_id)
		doc_put_string(&b, "rule", rule->id);
	foreach (cell, doc_keys(then))
		doc_put_value(&b, lfirst(cell), doc_get(then, lfirst(cell)));
	foreach (cell, rule->computed)
		doc_put_doc(&b, ((Computed *) lfirst(cell))->name,
					compute_outcome(run, rule, lfirst(cell)));
	doc_end_object(&b);
	return doc_finish(&b);
}

/* sum, min, max, count or list of one key over the hits' outcomes. */
static void
put_collected(DocBuilder *b, const Collected *collected, List *outcomes)
{
	double total = 0, least = INFINITY, greatest = -INFINITY;
	int count = 0;
	ListCell *cell;
	bool is_list = strcmp(collected->function, "list") == 0;

	if (is_list)
		doc_begin_array(b, collected->name);
	foreach (cell, outcomes)
	{
		JsonbValue *value = doc_get(lfirst(cell), collected->name);

		if (value == NULL || value->type == jbvNull)
			continue;
		count++;
		if (is_list)
			doc_put_value(b, NULL, value);
		else if (value->type == jbvNumeric)
		{
			double number = doc_value_number(value);

			total += number;
			least = Min(least, number);
			greatest = Max(greatest, number);
		}
	}
	if (is_list)
		doc_end_array(b);
	else if (strcmp(collected->function, "count") == 0)
		doc_put_int(b, collected->name, count);
	else if (strcmp(collected->function, "sum") == 0)
		doc_put_number(b, collected->name, total);
	else /* min and max of nothing are null, as in SQL */
		doc_put_number(b, collected->name,
					   strcmp(collected->function, "min") == 0 ? least : greatest);
}

static Jsonb *
collect_outcomes(Evaluation *run)
{
	List *outcomes = NIL;
	DocBuilder b;
	ListCell *cell;

	foreach (cell, run->hits)
	{
		Rule *rule = lfirst(cell);

		outcomes =
			lappend(outcomes, rule->computed == NIL ? answer_hit(run->decision, rule)
													: rule_outcome(run, rule, true));
	}
	if (run->decision->collected == NIL)
		return answer_hits(outcomes);
	doc_build(&b);
	doc_begin_object(&b, NULL);
	foreach (cell, run->decision->collected)
		put_collected(&b, lfirst(cell), outcomes);
	doc_begin_array(&b, "hits");
	foreach (cell, outcomes)
		doc_put_doc(&b, NULL, lfirst(cell));
	doc_end_array(&b);
	doc_end_object(&b);
	return doc_finish(&b);
}

static bool
keeps_all_hits(const Decision *decision)
{
	return decision->hit_policy == HIT_COLLECT ||
		   decision->hit_policy == HIT_RULE_ORDER ||
		   decision->hit_policy == HIT_OUTPUT_ORDER;
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
undecided_text(const Decision *decision, const List *undecided)
{
	StringInfoData text;
	ListCell *cell;

	initStringInfo(&text);
	foreach (cell, undecided)
	{
		const Undecided *one = lfirst(cell);

		appendStringInfoString(&text, foreach_current_index(cell) ? "; " : "");
		appendStringInfo(&text, phrase(decision, PHRASE_UNDECIDED), one->what, one->why);
	}
	return text.data;
}

static char *
hit_reason(Decision *decision, const Rule *rule)
{
	if (rule->because != NULL)
		return explanation_render(decision, rule->because);
	if (rule->then.explanation != NULL)
		return explanation_render(decision, rule->then.explanation);
	return psprintf(phrase(decision, PHRASE_RULE_HOLDS), rule->id, rule->when.text);
}

static bool
computes_outcomes(const Evaluation *run)
{
	ListCell *cell;

	foreach (cell, run->hits)
		if (((Rule *) lfirst(cell))->computed != NIL)
			return true;
	return false;
}

Jsonb *
evaluation_outcome(Evaluation *run)
{
	if (run->outcome != NULL)
		return run->outcome;
	if (run->hits == NIL)
		run->outcome = run->verdict ? run->verdict->outcome : NULL;
	else if (keeps_all_hits(run->decision))
		run->outcome = collect_outcomes(run);
	else
		run->outcome = rule_outcome(run, linitial(run->hits), false);
	return run->outcome;
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
		run->reason = undecided_text(decision, run->undecided);
	else if (run->verdict != NULL && decision->otherwise_because != NULL)
		run->reason = explanation_render(decision, decision->otherwise_because);
	else
		run->reason = psprintf(phrase(decision, run->verdict ? PHRASE_NONE_MATCHES
															 : PHRASE_NO_DEFAULT),
							   decision->rule_count);
	return run->reason;
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
		run->alone = !keeps_all_hits(decision) && gravest->computed == NIL;
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
	rule_index_load(decision);
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
		rule_index_load(run->decision);
	if (skip_to_open(run))
		run_as_owner(run, open_rules_part);
	conclude(run);
	if (computes_outcomes(run))
		run_as_owner(run, outcome_part);
}

void
evaluation_run_every(Evaluation *run)
{
	run->every = true;
	run->indexed = rule_index_enabled;
	if (run->indexed)
		rule_index_load(run->decision);
	if (skip_to_open(run))
		run_as_owner(run, open_rules_part);
}

typedef struct HoldsAttempt
{
	Decision *decision;
	Rule *rule;
	bool isnull;
	bool holds;
} HoldsAttempt;

static void
holds_body(void *argument)
{
	HoldsAttempt *work = argument;

	work->holds = DatumGetBool(
		expression_evaluate(work->decision, &work->rule->when, &work->isnull));
}

/* For an analysis; the caller is the owner. */
Truth
rule_truth(Decision *decision, Rule *rule)
{
	HoldsAttempt work = {decision, rule, true, false};

	decision->econtext->ecxt_per_tuple_memory = CurrentMemoryContext;
	if (attempt(holds_body, &work) != NULL || work.isnull)
		return TRUTH_UNKNOWN;
	return work.holds ? TRUTH_TRUE : TRUTH_FALSE;
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
	if (computes_outcomes(run))
		run_as_owner(run, outcome_part);
}

/* --- values as texts and documents --------------------------------------------------------------- */

void
value_put(DocBuilder *b, const char *name, const ValueType *type, Datum value)
{
	JsonbValue number = {.type = jbvNumeric};
	char moment[MAXDATELEN + 1];
	text *words;

	switch (type->number_type)
	{
		case INT2OID:
			doc_put_int(b, name, DatumGetInt16(value));
			break;
		case INT4OID:
			doc_put_int(b, name, DatumGetInt32(value));
			break;
		case INT8OID:
			doc_put_int(b, name, DatumGetInt64(value));
			break;
		case FLOAT4OID:
			doc_put_number(b, name, DatumGetFloat4(value));
			break;
		case FLOAT8OID:
			doc_put_number(b, name, DatumGetFloat8(value));
			break;
		case NUMERICOID:
			number.val.numeric = DatumGetNumeric(value);
			if (numeric_is_nan(number.val.numeric) || numeric_is_inf(number.val.numeric))
				doc_put_null(b, name);
			else
				doc_put_value(b, name, &number);
			break;
		case BOOLOID:
			doc_put_bool(b, name, DatumGetBool(value));
			break;
		case JSONBOID:
			doc_put_doc(b, name, DatumGetJsonbP(value));
			break;
		case TEXTOID:
		case VARCHAROID:
			words = DatumGetTextPP(value);
			doc_put_text(b, name, VARDATA_ANY(words), VARSIZE_ANY_EXHDR(words));
			break;
		case DATEOID:
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
			/* Whatever the session's date style is. */
			JsonEncodeDateTime(moment, value, type->number_type, NULL);
			doc_put_string(b, name, moment);
			break;
		default:
			doc_put_string(b, name, value_to_text(type, value));
			break;
	}
}

static void
put_column(DocBuilder *b, const Decision *decision, int attno, const ValueType *type)
{
	const char *name = decision_column_name(decision, attno);

	if (decision->slot->tts_isnull[attno - 1])
		doc_put_null(b, name);
	else
		value_put(b, name, type, decision->slot->tts_values[attno - 1]);
}

Jsonb *
decision_values(Decision *decision, bool with_lets)
{
	DocBuilder b;

	doc_build(&b);
	doc_begin_object(&b, NULL);
	for (int i = 0; i < decision->input_count; i++)
		put_column(&b, decision, DECISION_INPUT_ATTNO(i), &decision->inputs[i].value);
	for (int i = 0; with_lets && i < decision->let_count; i++)
		put_column(&b, decision, DECISION_LET_ATTNO(decision, i),
				   &decision->lets[i].type);
	doc_end_object(&b);
	return doc_finish(&b);
}

/* Six digits are enough for people: 0.0198020 rather than 0.019801980198019802. */
static char *
short_number(double value)
{
	char *text = palloc(NUMBER_TEXT_ROOM);

	(void) number_to_text(value, 6, text);
	return text;
}

char *
decision_column_text(const Decision *decision, int attno)
{
	const ValueType *type = attno <= decision->input_count
								? &decision->inputs[attno - 1].value
								: &DECISION_LET_OF_ATTNO(decision, attno)->type;
	Datum value = decision->slot->tts_values[attno - 1];

	if (decision->slot->tts_isnull[attno - 1])
		return "NULL";
	if (type->number_type == FLOAT8OID)
		return short_number(DatumGetFloat8(value));
	if (type->number_type == FLOAT4OID)
		return short_number(DatumGetFloat4(value));
	return value_to_text(type, value);
}

char *
explanation_render(Decision *decision, const char *template_text)
{
	StringInfoData text;
	const char *at = template_text;
	const char *open, *close;

	initStringInfo(&text);
	while ((open = strchr(at, '{')) != NULL && (close = strchr(open, '}')) != NULL)
	{
		int attno = decision_column(decision, pnstrdup(open + 1, close - open - 1));

		appendBinaryStringInfo(&text, at, open - at);
		if (attno > 0)
			appendStringInfoString(&text, decision_column_text(decision, attno));
		else
			appendBinaryStringInfo(&text, open, close - open + 1);
		at = close + 1;
	}
	appendStringInfoString(&text, at);
	return text.data;
}
