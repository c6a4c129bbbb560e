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
#include "rules/analysis.h"
#include "rules/rule_index.h"

typedef struct Analysis
{
	Decision *decision;
	const TestSet *set;
	int columns;
	Test **domain;    /* a column: what it may be */
	const Test **box; /* a rule and column: where it can hold; NULL: anywhere */
	bool *empty;      /* a rule: nowhere */
	bool *whole;      /* a rule: it holds everywhere in its box */
	int *order;       /* columns, those that most rules test first */
	int *last;        /* a rule: the last place in order that it tests, or -1 */
	int64 steps;      /* left, of all searches */
	int evaluations;  /* left */
	List *findings;
} Analysis;

static const Test *
box_side(const Analysis *a, int rule, int column)
{
	return a->box[(Size) rule * a->columns + column];
}

static Finding *
add_finding(Analysis *a, FindingKind kind, const char *level, int rule, char *message)
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

static const char *
rule_id(const Analysis *a, int rule)
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
static bool
boxes_meet(const Analysis *a, int one, int other, Choice *choices)
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

static void
choose_rest(const Analysis *a, Choice *choices)
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
static bool
comes_before(const Decision *decision, int one, int other)
{
	const Rule *rules = decision->rules;

	if (decision->hit_policy == HIT_PRIORITY &&
		rules[one].priority != rules[other].priority)
		return rules[one].priority > rules[other].priority;
	return one < other;
}

/* Both hold at the witness: certain of boxes, tried of rules that are more than that. */
static Truth
holds_there(Analysis *a, int rule, const Choice *choices)
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
	int winner = comes_before(decision, one, other) ? one : other;
	Finding *finding = add_finding(
		a, FINDING_OVERLAP, refused ? "warning" : "info", other,
		refused
			? psprintf("rules \"%s\" and \"%s\" overlap: hit policy \"%s\" forbids it",
					   rule_id(a, one), rule_id(a, other),
					   hit_policy_names[decision->hit_policy])
			: psprintf("rules \"%s\" and \"%s\" overlap with different outcomes: "
					   "\"%s\" answers",
					   rule_id(a, one), rule_id(a, other), rule_id(a, winner)));

	finding->other = one;
	choose_rest(a, choices);
	finding->witness = witness_make(decision, a->set, choices);
}

static void
report_possible(Analysis *a, int rule, int count)
{
	if (count > 0)
		add_finding(a, FINDING_OTHER, "undecided", rule,
					psprintf("rule \"%s\" has parts that are more than comparisons of "
							 "one column with constants: overlaps with %d rules before "
							 "it are possible",
							 rule_id(a, rule), count));
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
			if (a->empty[one] || !boxes_meet(a, one, other, choices) ||
				(decision->hit_policy != HIT_UNIQUE &&
				 !outcomes_differ(&decision->rules[one], &decision->rules[other])))
				continue;
			if (holds_there(a, one, choices) != TRUTH_TRUE ||
				holds_there(a, other, choices) != TRUTH_TRUE)
				possible++;
			else if (found++ < ANALYSIS_MAX_OVERLAPS)
				report_overlap(a, one, other, choices);
		}
		report_possible(a, other, possible);
	}
	if (found > ANALYSIS_MAX_OVERLAPS)
		add_finding(a, FINDING_OTHER, "info", -1,
					psprintf("%lld pairs of rules overlap; %d of them are listed",
							 (long long) found, ANALYSIS_MAX_OVERLAPS));
}

/* --- what several boxes cover ------------------------------------------------------------ */

typedef struct Search
{
	Analysis *a;
	const Test **side; /* a column: where to search */
	Choice *choices;   /* where it is now; at the end, what no rule covers */
	int64 steps;       /* left */
	bool gave_up;
	/* Is what was found good enough to stop? */
	bool (*found)(struct Search *search);
} Search;

/* Beginnings of segments inside the side's ranges, where candidates change. */
static int
collect_starts(Search *search, int column, const int *rules, int count, int64 **starts)
{
	const Test *side = search->side[column];
	int room = side->count, n = 0, kept = 0;

	for (int i = 0; i < count; i++)
	{
		const Test *test = box_side(search->a, rules[i], column);

		room += test ? 2 * test->count : 0;
	}
	*starts = palloc(sizeof(int64) * Max(room, 1));
	for (int i = 0; i < side->count; i++)
		(*starts)[n++] = side->ranges[i].low;
	for (int i = 0; i < count; i++)
	{
		const Test *test = box_side(search->a, rules[i], column);

		for (int j = 0; test != NULL && j < test->count; j++)
		{
			if (test_holds(side, test->ranges[j].low))
				(*starts)[n++] = test->ranges[j].low;
			if (test->ranges[j].high < PG_INT64_MAX &&
				test_holds(side, test->ranges[j].high + 1))
				(*starts)[n++] = test->ranges[j].high + 1;
		}
	}
	qsort(*starts, n, sizeof(int64), compare_keys);
	for (int i = 0; i < n; i++)
		if (i == 0 || (*starts)[i] != (*starts)[kept - 1])
			(*starts)[kept++] = (*starts)[i];
	return kept;
}

/* The end of the segment that begins there: the next beginning, or the range's end. */
static int64
segment_end(const Test *side, const int64 *starts, int count, int i)
{
	int64 end = i + 1 < count ? starts[i + 1] - 1 : PG_INT64_MAX;

	for (int j = 0; j < side->count; j++)
		if (starts[i] >= side->ranges[j].low && starts[i] <= side->ranges[j].high)
			return Min(end, side->ranges[j].high);
	return end;
}

static int
rules_at(const Search *search, int column, const int *rules, int count,
		 const Choice *choice, int *result)
{
	int kept = 0;

	for (int i = 0; i < count; i++)
	{
		const Test *test = box_side(search->a, rules[i], column);

		if (test == NULL || (choice->is_null ? test->at_null == NULL_HOLDS
											 : test_holds(test, choice->range.low)))
			result[kept++] = rules[i];
	}
	return kept;
}

static bool search_uncovered(Search *search, int place, const int *rules, int count);

static bool
search_segment_at(Search *search, int place, const int *rules, int count, Choice choice,
				  int *room)
{
	int column = search->a->order[place];
	int kept = rules_at(search, column, rules, count, &choice, room);

	search->choices[column] = choice;
	return search_uncovered(search, place + 1, room, kept);
}

/* True where something was found that no rule covers, and it was good enough. */
static bool
search_uncovered(Search *search, int place, const int *rules, int count)
{
	Analysis *a = search->a;
	const Test *side;
	int64 *starts;
	int *room;
	int segments;
	bool found = false;

	CHECK_FOR_INTERRUPTS();
	search->steps -= count + 1;
	a->steps -= count + 1;
	if (search->steps < 0 || a->steps < 0)
	{
		search->gave_up = true;
		return false;
	}
	for (int i = 0; i < count; i++)
		if (a->last[rules[i]] < place)
			return false; /* covered, whatever the other columns are */
	if (place == a->columns)
		return search->found(search);
	side = search->side[a->order[place]];
	room = palloc(sizeof(int) * Max(count, 1));
	segments = collect_starts(search, a->order[place], rules, count, &starts);
	for (int i = 0; i < segments && !found && !search->gave_up; i++)
	{
		KeyRange range = {starts[i], segment_end(side, starts, segments, i)};

		found = search_segment_at(search, place, rules, count,
								  (Choice){true, false, range}, room);
	}
	if (!found && !search->gave_up && side->at_null == NULL_HOLDS)
		found = search_segment_at(search, place, rules, count,
								  (Choice){true, true, {0, 0}}, room);
	pfree(room);
	pfree(starts);
	return found;
}

/* --- rules that never answer ---------------------------------------------------------------- */

static void
report_empty(Analysis *a, int rule)
{
	const RuleTests *tests = &a->set->rules[rule];
	const char *name = "";

	for (int i = 0; i < tests->count; i++)
	{
		const Test *side = box_side(a, rule, tests->test[i]->column);

		if (side->count == 0 && side->at_null == NULL_FAILS)
			name = decision_column_name(a->decision, a->set->columns[side->column].attno);
	}
	add_finding(a, FINDING_HIDDEN, "warning", rule,
				psprintf("rule \"%s\" never holds: no value of \"%s\" satisfies it",
						 rule_id(a, rule), name));
}

static bool
side_within(const Test *inner, const Test *outer)
{
	int j = 0;

	if (inner->at_null == NULL_HOLDS && outer->at_null != NULL_HOLDS)
		return false;
	for (int i = 0; i < inner->count; i++)
	{
		while (j < outer->count && outer->ranges[j].high < inner->ranges[i].low)
			j++;
		if (j == outer->count || outer->ranges[j].low > inner->ranges[i].low ||
			outer->ranges[j].high < inner->ranges[i].high)
			return false;
	}
	return true;
}

static bool
box_within(const Analysis *a, int inner, int outer)
{
	for (int i = 0; i < a->columns; i++)
	{
		const Test *outer_side = box_side(a, outer, i);
		const Test *inner_side = box_side(a, inner, i);

		if (outer_side != NULL &&
			!side_within(inner_side ? inner_side : a->domain[i], outer_side))
			return false;
	}
	return true;
}

static bool
stop_at_once(Search *search)
{
	return true;
}

static Finding *
report_hidden(Analysis *a, int rule, char *message, Choice *choices)
{
	Finding *finding = add_finding(a, FINDING_HIDDEN, "warning", rule, message);

	(void) boxes_meet(a, rule, rule, choices);
	choose_rest(a, choices);
	finding->witness = witness_make(a->decision, a->set, choices);
	return finding;
}

static void
search_cover(Analysis *a, int rule, const int *before, int count, Choice *choices)
{
	Search search = {.a = a,
					 .side = palloc(sizeof(Test *) * Max(a->columns, 1)),
					 .choices = choices,
					 .steps = ANALYSIS_STEPS_OF_A_RULE,
					 .found = stop_at_once};
	bool uncovered;

	for (int i = 0; i < a->columns; i++)
	{
		const Test *side = box_side(a, rule, i);

		search.side[i] = side ? side : a->domain[i];
	}
	uncovered = search_uncovered(&search, 0, before, count);
	if (search.gave_up)
		add_finding(a, FINDING_OTHER, "undecided", rule,
					psprintf("whether rules before it leave anything to rule \"%s\" was "
							 "not found within %d steps",
							 rule_id(a, rule), ANALYSIS_STEPS_OF_A_RULE));
	else if (!uncovered)
		report_hidden(a, rule,
					  psprintf("rule \"%s\" never answers: %d rules before it cover all "
							   "that it holds for",
							   rule_id(a, rule), count),
					  choices);
}

/* Under "first" and "priority" a rule can be hidden behind others. */
static void
find_hidden(Analysis *a)
{
	Decision *decision = a->decision;
	Choice *choices = palloc0(sizeof(Choice) * Max(a->columns, 1));
	int *before = palloc(sizeof(int) * Max(decision->rule_count, 1));

	for (int rule = 0; rule < decision->rule_count; rule++)
	{
		int count = 0, mask = -1;

		CHECK_FOR_INTERRUPTS();
		if (a->empty[rule])
		{
			report_empty(a, rule);
			continue;
		}
		if (decision->hit_policy != HIT_FIRST && decision->hit_policy != HIT_PRIORITY)
			continue;
		for (int other = 0; other < decision->rule_count && mask < 0; other++)
		{
			if (other == rule || !a->whole[other] || a->empty[other] ||
				!comes_before(decision, other, rule) ||
				!boxes_meet(a, other, rule, choices))
				continue;
			before[count++] = other;
			if (box_within(a, rule, other))
				mask = other;
		}
		if (mask >= 0)
			report_hidden(
				a, rule,
				psprintf("rule \"%s\" is masked by \"%s\", which holds whenever "
						 "it does",
						 rule_id(a, rule), rule_id(a, mask)),
				choices);
		else if (count > 1)
			search_cover(a, rule, before, count, choices);
	}
}

/* --- inputs that no rule answers ---------------------------------------------------------------- */

typedef struct GapSearch
{
	Search search; /* first */
	int listed;
	int unsure;
} GapSearch;

static bool
note_gap(Search *search)
{
	GapSearch *gaps = (GapSearch *) search;
	Analysis *a = search->a;
	Decision *decision = a->decision;
	bool answered = decision->otherwise != NULL;
	Choice *choices = search->choices;
	Finding *finding;

	for (int rule = 0; rule < decision->rule_count; rule++)
	{
		bool inside = !a->whole[rule] && !a->empty[rule];

		for (int i = 0; i < a->columns && inside; i++)
		{
			const Test *side = box_side(a, rule, i);

			inside = side == NULL || test_holds(side, choices[i].range.low);
		}
		if (inside && holds_there(a, rule, choices) != TRUTH_FALSE)
		{
			gaps->unsure++;
			return a->evaluations <= 0;
		}
	}
	finding = add_finding(a, FINDING_OTHER, answered ? "info" : "warning", -1,
						  pstrdup(answered ? "no rule matches: the default answers"
										   : "no rule matches, and there is no default: "
											 "the answer is unknown"));
	finding->witness = witness_make(decision, a->set, choices);
	return ++gaps->listed >= ANALYSIS_MAX_GAPS;
}

/* Where NULL makes the answer unknown, and what JSON cannot say, is no gap. */
static const Test *
ordinary_values(const Analysis *a, int column)
{
	KeyForm form = a->set->columns[column].form;
	KeyRange finite = {key_of_float(-INFINITY) + 1, key_of_float(INFINITY) - 1};
	Test *side = test_make(column, NULL_FAILS, a->domain[column]->ranges,
						   a->domain[column]->count);

	if (form == KEY_FLOAT4 || form == KEY_FLOAT8)
		side = test_and(side, test_make(column, NULL_FAILS, &finite, 1));
	return side;
}

static void
find_gaps(Analysis *a)
{
	Decision *decision = a->decision;
	int *rules = palloc(sizeof(int) * Max(decision->rule_count, 1));
	GapSearch gaps = {.search = {.a = a,
								 .side = palloc(sizeof(Test *) * Max(a->columns, 1)),
								 .choices = palloc0(sizeof(Choice) * Max(a->columns, 1)),
								 .found = note_gap}};
	int count = 0;

	for (int i = 0; i < a->columns; i++)
		gaps.search.side[i] = ordinary_values(a, i);
	for (int rule = 0; rule < decision->rule_count; rule++)
		if (a->whole[rule] && !a->empty[rule])
			rules[count++] = rule;
	gaps.search.steps = a->steps;
	(void) search_uncovered(&gaps.search, 0, rules, count);
	if (gaps.listed > 0 || decision->otherwise != NULL)
		return;
	if (gaps.search.gave_up)
		add_finding(a, FINDING_OTHER, "undecided", -1,
					psprintf("whether some input is left to no rule was not found within "
							 "%d steps",
							 ANALYSIS_STEPS));
	else if (gaps.unsure > 0)
		add_finding(a, FINDING_OTHER, "undecided", -1,
					pstrdup("whether some input is left to no rule hangs on conditions "
							"that are more than comparisons with constants"));
}

List *
decision_analyse(Decision *decision)
{
	Analysis analysis;

	analysis_begin(&analysis, decision);
	find_hidden(&analysis);
	find_gaps(&analysis);
	find_overlaps(&analysis);
	return analysis.findings;
}
