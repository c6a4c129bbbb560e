/*
 * plan_shape.c
 *		The shape of an answer: what is ranked and within what, a series or one total,
 *		means and shares.
 *
 * The same words ask for different shapes beside others, so each is judged with the
 * whole question; where two shapes remain, the plan becomes a question back.
 */
#include "postgres.h"

#include "bi/bi_int.h"

#define PLAN_DAILY_DAYS 92 /* longer trends are monthly */

/* --- order ---------------------------------------------------------------------- */

/* Which way "best" and "worst" go is the metric's to say. */
static bool
ranking_falls(Reading *reading, Metric *metric, bool *falls)
{
	bool best = reading->said[OP_BEST], worst = reading->said[OP_WORST];
	bool high = reading->said[OP_TOP] || reading->said[OP_HIGH];
	bool low = reading->said[OP_BOTTOM] || reading->said[OP_LOW];

	if (best == worst && high == low)
		return false;
	if (best != worst && !high && !low)
	{
		if (metric->good == NULL)
			return false;
		*falls = (strcmp(metric->good, "up") == 0) == best;
		return true;
	}
	/* "하위 3개 높은 순": the first word picks, the other sorts. */
	if (best || worst || (high && low))
		return false;
	*falls = high;
	return true;
}

static void
ask_ranking(Reading *reading)
{
	QuestionPlan *plan = reading->plan;
	Metric *metric = linitial(plan->metrics);
	const char *label = metric_label(metric, plan->korean);

	plan_ask_back(
		plan, 0.4,
		pstrdup(plan->korean ? "어떤 순서인지 분명하지 않습니다."
							 : "The order is unclear."),
		list_make2(psprintf(plan->korean ? "%s 높은 순" : "%s, descending", label),
				   psprintf(plan->korean ? "%s 낮은 순" : "%s, ascending", label)));
}

/*
 * What is ranked, and within what: "일별 상위 3개 라인" are three lines of each day,
 * "라인별 불량률이 가장 높은 날" one day of each line.
 */
static void
settle_rank_groups(Reading *reading)
{
	QuestionPlan *plan = reading->plan;
	bool days = reading->said[OP_DAYS];
	bool in_time = reading->grain != GRAIN_NONE && !days;
	bool subject = days || reading->mentioned != NIL;
	List *within = NIL;
	ListCell *cell;

	foreach (cell, plan->dimensions)
		if (!list_member_ptr(reading->mentioned, lfirst(cell)))
			within = lappend(within, lfirst(cell));
	if (within == NIL && !in_time)
		return;
	if (!subject)
	{
		/* "라인별 최고 불량률": the highest line, or each line's highest day? */
		if ((!reading->limit && plan->limit == 1) ||
			(plan->limit > 0 && list_length(within) > 1 && reading->group_words > 1))
			plan_ask_rank(plan);
		else if (in_time && within != NIL)
			plan->rank_in_time = true;
		return;
	}
	if ((in_time ? reading->grain_at : reading->grouped_at) > reading->ranked_at)
	{
		plan_ask_rank(plan);
		return;
	}
	plan->rank_within = within;
	plan->rank_in_time = in_time;
}

void
plan_settle_order(Reading *reading)
{
	QuestionPlan *plan = reading->plan;
	bool falls;

	if (reading->ranked_at < 0)
	{
		if (reading->said[OP_SUPERLATIVE])
			ask_ranking(reading);
		return;
	}
	if (plan->dimensions == NIL && reading->grain == GRAIN_NONE &&
		!reading->said[OP_WEEKDAYS] && !reading->said[OP_HOUR_OF_DAY])
	{
		plan_ask_dimension(plan);
		return;
	}
	plan->order_by =
		reading->order_by && list_member_ptr(plan->metrics, reading->order_by)
			? reading->order_by
			: linitial(plan->metrics);
	if (!ranking_falls(reading, plan->order_by, &falls))
	{
		ask_ranking(reading);
		return;
	}
	plan->ascending = !falls;
	if (reading->limit > 0)
		plan->limit = reading->limit;
	else if ((!reading->said[OP_HIGH] && !reading->said[OP_LOW]) ||
			 reading->said[OP_SUPERLATIVE])
		plan->limit = 1;
	settle_rank_groups(reading);
	/* Sorting alone needs no places. */
	if (plan->limit == 0)
	{
		plan->rank_within = NIL;
		plan->rank_in_time = false;
	}
}

/* --- series, means and shares --------------------------------------------------- */

/* A series, or one total? */
static void
settle_grain(Reading *reading)
{
	QuestionPlan *plan = reading->plan;
	int days = plan->period.until - plan->period.from;
	bool trend = reading->said[OP_TREND];
	bool ranking = plan->limit > 0 || plan->order_by != NULL || plan->conditions != NIL;

	plan->grain = reading->grain;
	if (reading->said[OP_WEEKDAYS])
		plan->part = PART_WEEKDAY;
	else if (reading->said[OP_HOUR_OF_DAY] && (!plan->period.set || days > 1))
		plan->part = PART_HOUR;
	else if (reading->said[OP_HOUR_OF_DAY])
		plan->grain = GRAIN_HOUR;
	/* "월간 리포트" is this month's report, not one by months. */
	if (plan->grain == GRAIN_MONTH && reading->bundle && plan->period.assumed)
		plan->grain = GRAIN_NONE;
	if (plan->grain == GRAIN_DAY && reading->bundle && days <= 1)
		plan->grain = GRAIN_NONE;
	if (plan->grain != GRAIN_NONE || plan->part != PART_NONE || ranking ||
		!plan->period.set)
		return;
	if (reading->said[OP_CHART] && plan->dimensions == NIL && !plan->base.set)
		trend = true;
	/* A rate over several days says little as one number. */
	if (plan->period.range && plan->dimensions == NIL && plan_any_metric(plan, "ratio") &&
		!reading->said[OP_AVERAGE] && !reading->bundle && !plan->period.assumed &&
		!plan->base.set && !plan->follows)
		trend = true;
	if (trend && plan->period.range)
		plan->grain = days > PLAN_DAILY_DAYS ? GRAIN_MONTH : GRAIN_DAY;
	else if (trend)
		plan->grain = GRAIN_HOUR;
}

static void
settle_average(Reading *reading)
{
	QuestionPlan *plan = reading->plan;

	plan->average_daily = reading->said[OP_AVERAGE_DAILY] ||
						  (reading->said[OP_AVERAGE] && plan_any_metric(plan, "sum"));
	if (!plan->average_daily && !reading->said[OP_AVERAGE])
		return;
	/* The mean of stocks, of weekly totals: not what one sum gives. */
	if (plan_any_metric(plan, "last") ||
		(plan->average_daily && (plan->grain > GRAIN_DAY || plan->grain == GRAIN_HOUR) &&
		 !reading->said[OP_AVERAGE_DAILY]))
		plan_ask_average(plan);
	if (plan->grain == GRAIN_DAY && plan->average_daily)
		plan->grain = GRAIN_NONE;
}

/* "LINE-A의 비중" is its part of all lines; among named ones it may be either. */
static void
settle_share(Reading *reading)
{
	QuestionPlan *plan = reading->plan;
	bool additive = plan_any_metric(plan, "sum") || plan_any_metric(plan, "last");
	ListCell *cell;

	if (!reading->said[OP_SHARE] || !additive || plan->average_daily)
		return;
	foreach (cell, plan->filters)
	{
		PlanFilter *filter = lfirst(cell);

		if (list_member_ptr(plan->dimensions, filter->dimension))
		{
			plan_ask_share(plan, filter->dimension);
			return;
		}
	}
	if (plan->dimensions == NIL && list_length(plan->filters) == 1 && !plan->base.set)
	{
		PlanFilter *filter = linitial(plan->filters);

		plan->dimensions = list_make1(filter->dimension);
		plan->share_of = filter;
	}
	if (plan->dimensions == NIL && plan->part == PART_NONE)
		plan_ask_dimension(plan);
	else if (plan->base.set)
		plan_ask_share(plan, linitial(plan->dimensions));
	plan->share = true;
}

static void
settle_intent(Reading *reading)
{
	QuestionPlan *plan = reading->plan;

	if (plan->base.set)
		plan->intent = "comparison";
	else if (plan->grain != GRAIN_NONE && plan->order_by == NULL)
		plan->intent = "trend";
	else if (plan->order_by)
		plan->intent = "ranking";
	else if (reading->said[OP_SHARE])
		plan->intent = "distribution";
	else if (reading->said[OP_DETAIL])
		plan->intent = "drilldown";
	else if (plan->dimensions != NIL || plan->part != PART_NONE)
		plan->intent = "comparison";
	else
		plan->intent = "summary";
	if (reading->said[OP_TABLE])
		plan->chart = "table";
	else if (reading->said[OP_SHARE] && plan->grain == GRAIN_NONE)
		plan->chart = "pie";
	plan->exports |= reading->said[OP_EXPORT];
}

void
plan_settle_shape(Reading *reading)
{
	settle_grain(reading);
	settle_average(reading);
	settle_share(reading);
	settle_intent(reading);
}
