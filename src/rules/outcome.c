/*
 * outcome.c
 *		What hits give: computed outcomes, and those of several hits collected.
 */
#include "postgres.h"

#include "base/attempt.h"
#include "rules/rules_int.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/numeric.h"

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
		evaluation_undecided(run, rule->index,
							 psprintf(phrase(run->decision, PHRASE_RULE_VALUE),
									  computed->name, rule->id),
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

/* One hit's value; of the numbers the sum, the least or the greatest so far. */
static void
add_number(const Collected *collected, Datum number, Datum *all)
{
	bool is_sum = strcmp(collected->function, "sum") == 0;
	PGFunction before = strcmp(collected->function, "min") == 0 ? numeric_lt : numeric_gt;

	if (*all == (Datum) 0)
		*all = number;
	else if (is_sum)
		*all = DirectFunctionCall2(numeric_add, *all, number);
	else if (DatumGetBool(DirectFunctionCall2(before, number, *all)))
		*all = number;
}

/*
 * sum, min, max, count or list of one key over the hits' outcomes, exactly: numbers
 * stay decimal.  What is null or not there counts for nothing; of nothing the sum is
 * 0, and least and greatest are null.
 */
static void
put_collected(DocBuilder *b, const Collected *collected, List *outcomes)
{
	bool is_list = strcmp(collected->function, "list") == 0;
	JsonbValue number = {.type = jbvNumeric};
	Datum all = (Datum) 0;
	int count = 0;
	ListCell *cell;

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
			add_number(collected, NumericGetDatum(value->val.numeric), &all);
	}
	if (all != (Datum) 0)
		number.val.numeric = DatumGetNumeric(all);
	if (is_list)
		doc_end_array(b);
	else if (strcmp(collected->function, "count") == 0)
		doc_put_int(b, collected->name, count);
	else if (all != (Datum) 0)
		doc_put_value(b, collected->name, &number);
	else if (strcmp(collected->function, "sum") == 0)
		doc_put_int(b, collected->name, 0);
	else
		doc_put_null(b, collected->name);
}

Jsonb *
outcome_collected(const Decision *decision, List *outcomes)
{
	DocBuilder b;
	ListCell *cell;

	if (decision->collected == NIL)
		return answer_hits(outcomes);
	doc_build(&b);
	doc_begin_object(&b, NULL);
	foreach (cell, decision->collected)
		put_collected(&b, lfirst(cell), outcomes);
	doc_begin_array(&b, "hits");
	foreach (cell, outcomes)
		doc_put_doc(&b, NULL, lfirst(cell));
	doc_end_array(&b);
	doc_end_object(&b);
	return doc_finish(&b);
}

static Jsonb *
collect_outcomes(Evaluation *run)
{
	List *outcomes = NIL;
	ListCell *cell;

	foreach (cell, run->hits)
	{
		Rule *rule = lfirst(cell);

		outcomes = lappend(outcomes, rule->computed == NIL
										 ? answer_of_rule(run->decision, rule)->hit
										 : rule_outcome(run, rule, true));
	}
	return outcome_collected(run->decision, outcomes);
}

bool
decision_keeps_hits(const Decision *decision)
{
	return decision->hit_policy == HIT_COLLECT ||
		   decision->hit_policy == HIT_RULE_ORDER ||
		   decision->hit_policy == HIT_OUTPUT_ORDER;
}

bool
evaluation_computes(const Evaluation *run)
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
	else if (decision_keeps_hits(run->decision))
		run->outcome = collect_outcomes(run);
	else
		run->outcome = rule_outcome(run, linitial(run->hits), false);
	return run->outcome;
}
