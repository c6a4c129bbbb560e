/*
 * analysis.c
 *		What rules do together, found without judging anything.
 *
 * A rule's tests (rule_test.c) make a box: for each column the keys where it can
 * hold.  Boxes that meet are rules that both match; a box inside an earlier one is a
 * rule that never answers; what no box covers is a gap.  Pairs are compared all, so
 * overlaps are exact; covering by several boxes is a search that splits columns at
 * the boxes' bounds, and gives up after a number of steps, saying so.
 *
 * A rule with parts that are no tests lies somewhere inside its box: that it cannot
 * match is certain, that it does is tried by evaluating it at a witness.  Let values
 * are taken as free: the witness says what they would have to be.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "rules/analysis_int.h"
#include "rules/rule_index.h"

Finding *
analysis_finding(Analysis *a, FindingKind kind, const char *level, int rule,
				 char *message)
{
	Finding *finding = palloc0(sizeof(Finding));

	finding->kind = kind;
	finding->level = level;
	finding->rule = rule;
	finding->other = -1;
	finding->message = message;
	finding->rows = -1;
	a->findings = lappend(a->findings, finding);
	return finding;
}

const char *
analysis_rule_id(const Analysis *a, int rule)
{
	return a->decision->rules[rule].id;
}

/* --- boxes ------------------------------------------------------------------------ */

/* Is the column asked in one way only?  Two ways know nothing of each other. */
static bool
is_mixed(const Analysis *a, int column)
{
	for (int i = 0; i < a->columns; i++)
		if (i != column && a->set->columns[i].attno == a->set->columns[column].attno)
			return true;
	return false;
}

static void
make_box(Analysis *a, int rule, const bool *mixed)
{
	const RuleTests *tests = &a->set->rules[rule];

	a->whole[rule] = tests->complete;
	for (int i = 0; i < tests->count; i++)
	{
		const Test *test = tests->test[i];
		const Test *domain = a->domain[test->column];
		Test *side = test_and(test, domain);

		side->at_null = test->at_null == NULL_HOLDS && domain->at_null == NULL_HOLDS
							? NULL_HOLDS
							: NULL_FAILS;
		a->box[(Size) rule * a->columns + test->column] = side;
		a->empty[rule] |= side->count == 0 && side->at_null == NULL_FAILS;
		a->whole[rule] &= !mixed[test->column];
	}
}

/* Columns in an order in which a search learns most early. */
static void
make_order(Analysis *a)
{
	int rules = a->decision->rule_count;
	int *uses = palloc0(sizeof(int) * Max(a->columns, 1));

	for (int rule = 0; rule < rules; rule++)
		for (int column = 0; column < a->columns; column++)
			uses[column] += box_side(a, rule, column) != NULL;
	for (int i = 0; i < a->columns; i++)
	{
		int at = i;

		for (; at > 0 && uses[a->order[at - 1]] < uses[i]; at--)
			a->order[at] = a->order[at - 1];
		a->order[at] = i;
	}
	for (int rule = 0; rule < rules; rule++)
	{
		a->last[rule] = -1;
		for (int i = 0; i < a->columns; i++)
			if (box_side(a, rule, a->order[i]) != NULL)
				a->last[rule] = i;
	}
}

static void
analysis_begin(Analysis *a, Decision *decision)
{
	int rules = Max(decision->rule_count, 1);
	bool *mixed;

	memset(a, 0, sizeof(*a));
	a->decision = decision;
	a->set = rule_index_tests(decision);
	a->columns = a->set->column_count;
	a->steps = ANALYSIS_STEPS;
	a->evaluations = ANALYSIS_EVALUATIONS;
	a->domain = palloc(sizeof(Test *) * Max(a->columns, 1));
	mixed = palloc(sizeof(bool) * Max(a->columns, 1));
	for (int i = 0; i < a->columns; i++)
	{
		a->domain[i] = column_domain(decision, &a->set->columns[i], i);
		mixed[i] = is_mixed(a, i);
	}
	a->box = palloc0(sizeof(Test *) * rules * Max(a->columns, 1));
	a->empty = palloc0(sizeof(bool) * rules);
	a->whole = palloc0(sizeof(bool) * rules);
	a->order = palloc0(sizeof(int) * Max(a->columns, 1));
	a->last = palloc0(sizeof(int) * rules);
	for (int rule = 0; rule < decision->rule_count; rule++)
		make_box(a, rule, mixed);
	make_order(a);
}

/* A range where both hold, or NULL alone; false where there is neither. */
static bool
sides_meet(const Test *one, const Test *other, Choice *choice)
{
	for (int i = 0, j = 0; i < one->count && j < other->count;)
	{
		int64 low = Max(one->ranges[i].low, other->ranges[j].low);
		int64 high = Min(one->ranges[i].high, other->ranges[j].high);

		if (low <= high)
		{
			*choice = (Choice){true, false, {low, high}};
			return true;
		}
		if (one->ranges[i].high < other->ranges[j].high)
			i++;
		else
			j++;
	}
	*choice = (Choice){true, true, {0, 0}};
	return one->at_null == NULL_HOLDS && other->at_null == NULL_HOLDS;
}

/* Fills in what the two rules leave open, so that the witness is a whole input. */
bool
analysis_boxes_meet(const Analysis *a, int one, int other, Choice *choices)
{
	for (int i = 0; i < a->columns; i++)
	{
		int column = a->order[i];
		const Test *left = box_side(a, one, column);
		const Test *right = box_side(a, other, column);

		choices[column].chosen = false;
		if (left == NULL && right == NULL)
			continue;
		if (!sides_meet(left ? left : a->domain[column],
						right ? right : a->domain[column], &choices[column]))
			return false;
	}
	return true;
}

void
analysis_choose_rest(const Analysis *a, Choice *choices)
{
	for (int i = 0; i < a->columns; i++)
		if (!choices[i].chosen)
			(void) sides_meet(a->domain[i], a->domain[i], &choices[i]);
}

/* --- overlaps ------------------------------------------------------------------------ */

static bool
outcomes_differ(const Rule *one, const Rule *other)
{
	return one->computed != NIL || other->computed != NIL ||
		   compareJsonbContainers(&one->then.outcome->root, &other->then.outcome->root) !=
			   0;
}

static bool
keeps_all_hits(const Decision *decision)
{
	return decision->hit_policy == HIT_COLLECT ||
		   decision->hit_policy == HIT_RULE_ORDER ||
		   decision->hit_policy == HIT_OUTPUT_ORDER;
}

/* Which of two rules that hold answers: the one given first, or the other? */
bool
analysis_comes_before(const Decision *decision, int one, int other)
{
	const Rule *rules = decision->rules;

	if (decision->hit_policy == HIT_PRIORITY &&
		rules[one].priority != rules[other].priority)
		return rules[one].priority > rules[other].priority;
	return one < other;
}

/* Both hold at the witness: certain of boxes, tried of rules that are more than that. */
Truth
analysis_holds_there(Analysis *a, int rule, const Choice *choices)
{
	if (a->whole[rule])
		return TRUTH_TRUE;
	if (a->evaluations-- <= 0 || !witness_load(a->decision, a->set, choices))
		return TRUTH_UNKNOWN;
	return rule_truth(a->decision, &a->decision->rules[rule]);
}

static void
report_overlap(Analysis *a, int one, int other, Choice *choices)
{
	Decision *decision = a->decision;
	bool refused = decision->hit_policy == HIT_UNIQUE || decision->hit_policy == HIT_ANY;
	int winner = analysis_comes_before(decision, one, other) ? one : other;
	Finding *finding = analysis_finding(
		a, FINDING_OVERLAP, refused ? "warning" : "info", other,
		refused
			? psprintf("rules \"%s\" and \"%s\" overlap: hit policy \"%s\" forbids it",
					   analysis_rule_id(a, one), analysis_rule_id(a, other),
					   hit_policy_names[decision->hit_policy])
			: psprintf("rules \"%s\" and \"%s\" overlap with different outcomes: "
					   "\"%s\" answers",
					   analysis_rule_id(a, one), analysis_rule_id(a, other),
					   analysis_rule_id(a, winner)));

	finding->other = one;
	analysis_choose_rest(a, choices);
	finding->witness = witness_make(decision, a->set, choices);
}

static void
report_possible(Analysis *a, int rule, int count)
{
	if (count > 0)
		analysis_finding(
			a, FINDING_OTHER, "undecided", rule,
			psprintf("rule \"%s\" has parts that are more than comparisons of "
					 "one column with constants: overlaps with %d rules before "
					 "it are possible",
					 analysis_rule_id(a, rule), count));
}

static void
find_overlaps(Analysis *a)
{
	Decision *decision = a->decision;
	Choice *choices = palloc0(sizeof(Choice) * Max(a->columns, 1));
	int64 found = 0;

	if (keeps_all_hits(decision))
		return;
	for (int other = 1; other < decision->rule_count; other++)
	{
		int possible = 0;

		CHECK_FOR_INTERRUPTS();
		for (int one = 0; one < other && !a->empty[other]; one++)
		{
			if (a->empty[one] || !analysis_boxes_meet(a, one, other, choices) ||
				(decision->hit_policy != HIT_UNIQUE &&
				 !outcomes_differ(&decision->rules[one], &decision->rules[other])))
				continue;
			if (analysis_holds_there(a, one, choices) != TRUTH_TRUE ||
				analysis_holds_there(a, other, choices) != TRUTH_TRUE)
				possible++;
			else if (found++ < ANALYSIS_MAX_OVERLAPS)
				report_overlap(a, one, other, choices);
		}
		report_possible(a, other, possible);
	}
	if (found > ANALYSIS_MAX_OVERLAPS)
		analysis_finding(a, FINDING_OTHER, "info", -1,
						 psprintf("%lld pairs of rules overlap; %d of them are listed",
								  (long long) found, ANALYSIS_MAX_OVERLAPS));
}

List *
decision_analyse(Decision *decision)
{
	Analysis analysis;

	analysis_begin(&analysis, decision);
	analysis_find_hidden(&analysis);
	analysis_find_gaps(&analysis);
	find_overlaps(&analysis);
	return analysis.findings;
}
