/*
 * analysis_cover.c
 *		What several rules cover together: rules that never answer, inputs that no rule
 *		answers.
 *
 * A search splits columns at the bounds of the boxes (analysis.c) and gives up after a
 * number of steps, saying so.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "rules/analysis_int.h"

#include <math.h>

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
	analysis_finding(a, FINDING_HIDDEN, "warning", rule,
					 psprintf("rule \"%s\" never holds: no value of \"%s\" satisfies it",
							  analysis_rule_id(a, rule), name));
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
	Finding *finding = analysis_finding(a, FINDING_HIDDEN, "warning", rule, message);

	(void) analysis_boxes_meet(a, rule, rule, choices);
	analysis_choose_rest(a, choices);
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
		analysis_finding(
			a, FINDING_OTHER, "undecided", rule,
			psprintf("whether rules before it leave anything to rule \"%s\" was "
					 "not found within %d steps",
					 analysis_rule_id(a, rule), ANALYSIS_STEPS_OF_A_RULE));
	else if (!uncovered)
		report_hidden(a, rule,
					  psprintf("rule \"%s\" never answers: %d rules before it cover all "
							   "that it holds for",
							   analysis_rule_id(a, rule), count),
					  choices);
}

/* Under "first" and "priority" a rule can be hidden behind others. */
void
analysis_find_hidden(Analysis *a)
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
				!analysis_comes_before(decision, other, rule) ||
				!analysis_boxes_meet(a, other, rule, choices))
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
						 analysis_rule_id(a, rule), analysis_rule_id(a, mask)),
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
		if (inside && analysis_holds_there(a, rule, choices) != TRUTH_FALSE)
		{
			gaps->unsure++;
			return a->evaluations <= 0;
		}
	}
	finding =
		analysis_finding(a, FINDING_OTHER, answered ? "info" : "warning", -1,
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

void
analysis_find_gaps(Analysis *a)
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
		analysis_finding(
			a, FINDING_OTHER, "undecided", -1,
			psprintf("whether some input is left to no rule was not found within "
					 "%d steps",
					 ANALYSIS_STEPS));
	else if (gaps.unsure > 0)
		analysis_finding(a, FINDING_OTHER, "undecided", -1,
						 pstrdup(
							 "whether some input is left to no rule hangs on conditions "
							 "that are more than comparisons with constants"));
}
