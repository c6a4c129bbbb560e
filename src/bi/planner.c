/*
 * planner.c
 *		From the words of a question to a plan, or to a question back.
 *
 * No word is skipped: one that is in no vocabulary, or has two meanings, turns
 * the plan into a question back.  A wrong number is worse than none.
 */
#include "postgres.h"

#include "base/errors.h"
#include "bi/bi_int.h"

#define PLAN_MAX_METRICS 6
#define PLAN_MAX_QUESTION 2000 /* bytes */
#define PLAN_DAILY_DAYS 92     /* longer trends are monthly */

const char *
metric_label(Metric *metric, bool korean)
{
	return metric->label[korean ? 0 : 1];
}

const char *
dimension_label(Dimension *dimension, bool korean)
{
	return dimension->label[korean ? 0 : 1];
}

void
plan_ask_back(QuestionPlan *plan, double confidence, char *text, List *choices)
{
	if (plan->clarification)
		return;
	plan->clarification = text;
	plan->choices = choices;
	plan->confidence = confidence;
}

/* --- the whole ---------------------------------------------------------------- */

static bool
any_metric(QuestionPlan *plan, const char *additivity)
{
	ListCell *cell;

	foreach (cell, plan->metrics)
		if (strcmp(((Metric *) lfirst(cell))->additivity, additivity) == 0)
			return true;
	return false;
}

/* What naming the dimension, or a value of it, alone asks for. */
static void
add_default_metric(QuestionPlan *plan, Dimension *dimension)
{
	Metric *metric = dimension->default_metric
						 ? catalog_metric(plan->catalog, dimension->default_metric)
						 : NULL;

	if (metric)
		plan->metrics = list_append_unique_ptr(plan->metrics, metric);
}

static void
settle_metrics(Reading *reading)
{
	QuestionPlan *plan = reading->plan;
	List *dimensions = list_concat_copy(plan->dimensions, reading->mentioned);
	ListCell *cell;

	if (plan->metrics == NIL)
		foreach (cell, dimensions)
			add_default_metric(plan, lfirst(cell));
	if (plan->metrics == NIL)
		foreach (cell, plan->filters)
			add_default_metric(plan, ((PlanFilter *) lfirst(cell))->dimension);
	foreach (cell, plan->conditions)
		plan->metrics = list_append_unique_ptr(plan->metrics,
											   ((PlanCondition *) lfirst(cell))->metric);
	if (plan->metrics == NIL)
		plan_ask_back(plan, 0.3,
					  pstrdup(
						  reading->versus_said
							  ? (plan->korean ? "무엇을 비교할까요?" : "Compare what?")
							  : (plan->korean ? "어떤 지표를 원하시나요?"
											  : "Which metric do you want?")),
					  choices_of_metrics(plan));
	else if (reading->said[OP_COUNTED] && any_metric(plan, "ratio"))
		plan_ask_back(plan, 0.4,
					  pstrdup(plan->korean
								  ? "비율에는 수량이 없습니다. 무엇의 수량인가요?"
								  : "A rate has no count. The count of what?"),
					  choices_of_metrics(plan));
	else if (list_length(plan->metrics) > PLAN_MAX_METRICS)
		plan_ask_back(plan, 0.4,
					  pstrdup(plan->korean
								  ? "지표가 너무 많습니다. 몇 가지만 골라 주세요."
								  : "That is too many metrics at once. Choose some."),
					  choices_of_metrics(plan));
}

/* One level finer than what is grouped by or filtered: line below plant. */
static void
add_finer_dimensions(QuestionPlan *plan)
{
	List *coarse = list_copy(plan->dimensions);
	ListCell *cell, *other;

	foreach (cell, plan->filters)
		coarse = list_append_unique_ptr(coarse, ((PlanFilter *) lfirst(cell))->dimension);
	foreach (cell, plan->catalog->dimensions)
	{
		Dimension *dimension = lfirst(cell);

		foreach (other, coarse)
			if (dimension->parent &&
				strcmp(dimension->parent, ((Dimension *) lfirst(other))->name) == 0 &&
				!list_member_ptr(coarse, dimension))
				plan->dimensions = list_append_unique_ptr(plan->dimensions, dimension);
	}
}

static void
settle_dimensions(Reading *reading)
{
	QuestionPlan *plan = reading->plan;
	ListCell *cell, *name;

	foreach (cell, reading->mentioned)
		plan->dimensions = list_append_unique_ptr(plan->dimensions, lfirst(cell));
	foreach (cell, plan->filters)
	{
		PlanFilter *filter = lfirst(cell);

		if (list_length(filter->values) > 1 && !filter->excluded)
			plan->dimensions =
				list_append_unique_ptr(plan->dimensions, filter->dimension);
	}
	if (reading->said[OP_DETAIL])
		add_finer_dimensions(plan);
	if (reading->said[OP_DETAIL] && plan->dimensions == NIL)
		foreach (name, ((Metric *) linitial(plan->metrics))->detail)
		{
			Dimension *dimension = catalog_dimension(plan->catalog, lfirst(name));

			if (dimension)
				plan->dimensions = list_append_unique_ptr(plan->dimensions, dimension);
		}
}

/* --- periods -------------------------------------------------------------------- */

static void
assume_period(QuestionPlan *plan, const char *code, DateADT today)
{
	if (!period_from_code(code, today, &plan->period))
		return;
	plan->period.assumed = true;
	plan->period.text = pstrdup(code);
	plan->confidence = Min(plan->confidence, 0.8);
}

/* What is compared with a period of that kind, where only the latter was named. */
static const char *const current_codes[] = {[UNIT_DAY] = "today",
											[UNIT_WEEK] = "this_week",
											[UNIT_MONTH] = "this_month",
											[UNIT_QUARTER] = "this_quarter",
											[UNIT_YEAR] = "this_year"};

static void
assume_current(QuestionPlan *plan, PeriodUnit unit, DateADT today)
{
	if (unit < lengthof(current_codes) && current_codes[unit])
		assume_period(plan, current_codes[unit], today);
}

static void
ask_one_period(QuestionPlan *plan)
{
	plan_ask_back(plan, 0.4,
				  pstrdup(plan->korean
							  ? "기간을 하나만, 또는 비교할 두 기간을 말해 주세요."
							  : "Name one period, or two to compare."),
				  NIL);
}

/* One period, or two that are compared: the later one with the earlier. */
static void
settle_named_periods(Reading *reading, DateADT today)
{
	QuestionPlan *plan = reading->plan;
	List *periods = list_copy(reading->periods);
	Token *first, *second;

	if (reading->baseline)
		plan->base = reading->baseline->period;
	if (list_length(periods) + (reading->baseline != NULL) > 2 ||
		(list_length(periods) > 1 &&
		 !(reading->said[OP_COMPARE] || reading->said[OP_BASELINE])))
	{
		ask_one_period(plan);
		return;
	}
	if (periods != NIL)
	{
		first = linitial(periods);
		plan->period = first->period;
	}
	if (list_length(periods) == 2)
	{
		second = lsecond(periods);
		plan->base = second->period;
		if (plan->base.from > plan->period.from)
		{
			plan->base = plan->period;
			plan->period = second->period;
		}
	}
	if (reading->baseline && !plan->period.set)
		assume_current(plan, plan->base.unit, today);
	if (plan->base.set && !plan->period.set)
		plan_ask_period(plan);
}

/* "전주 대비": the same stretch one unit earlier; as far as the period has come. */
static void
settle_versus(Reading *reading, DateADT today)
{
	QuestionPlan *plan = reading->plan;
	PeriodSpan *period = &plan->period;
	const char *otherwise = plan->catalog->default_period;

	if (plan->base.set)
	{
		ask_one_period(plan);
		return;
	}
	if (!period->set && reading->versus != UNIT_NONE)
		assume_current(plan, reading->versus, today);
	else if (!period->set && otherwise)
		assume_period(plan, otherwise, today);
	if (!period->set)
	{
		plan_ask_period(plan);
		return;
	}
	if (period->from <= today && period->until > today + 1)
		period->until = today + 1;
	if (!period_before(period, reading->versus, &plan->base))
	{
		plan_ask_back(
			plan, 0.4,
			pstrdup(plan->korean
						? "기간이 비교 간격보다 길어 서로 겹칩니다. 기간을 줄이거나 "
						  "두 기간을 직접 말해 주세요."
						: "The period is longer than the step back, so the two "
						  "overlap. Name a shorter period, or both."),
			NIL);
		return;
	}
	plan->base.set = true;
}

/* No period said: now, the catalogue's own, or a question back. */
static void
settle_period(Reading *reading, DateADT today)
{
	QuestionPlan *plan = reading->plan;
	bool shaped = plan->dimensions != NIL || plan->filters != NIL || reading->bundle ||
				  reading->said[OP_TREND] || reading->grain != GRAIN_NONE ||
				  reading->said[OP_WEEKDAYS] || reading->said[OP_HOUR_OF_DAY] ||
				  list_length(plan->metrics) > 1;

	settle_named_periods(reading, today);
	if (plan->clarification == NULL && reading->versus_said)
		settle_versus(reading, today);
	if (plan->clarification || plan->period.set || any_metric(plan, "last"))
		return;
	if (plan->weekdays != 0)
		plan_ask_weekday(plan);
	else if (reading->said[OP_NOW] || reading->grain == GRAIN_HOUR)
		assume_period(plan, "today", today);
	else if (reading->grain == GRAIN_WEEK)
		assume_period(plan, "last_4_weeks", today);
	else if (reading->grain == GRAIN_MONTH && !reading->bundle)
		assume_period(plan, "last_3_months", today);
	else if (reading->grain == GRAIN_QUARTER || reading->grain == GRAIN_YEAR)
		assume_period(plan, "this_year", today);
	else if (shaped && plan->catalog->default_period)
		assume_period(plan, plan->catalog->default_period, today);
	if (!plan->period.set)
		plan_ask_period(plan);
}

/* --- shape ---------------------------------------------------------------------- */

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
	if (plan->period.range && plan->dimensions == NIL && any_metric(plan, "ratio") &&
		!reading->said[OP_AVERAGE] && !reading->bundle && !plan->period.assumed &&
		!plan->base.set && !plan->follows)
		trend = true;
	if (trend && plan->period.range)
		plan->grain = days > PLAN_DAILY_DAYS ? GRAIN_MONTH : GRAIN_DAY;
	else if (trend)
		plan->grain = GRAIN_HOUR;
}

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

static void
settle_order(Reading *reading)
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

static void
settle_average(Reading *reading)
{
	QuestionPlan *plan = reading->plan;

	plan->average_daily = reading->said[OP_AVERAGE_DAILY] ||
						  (reading->said[OP_AVERAGE] && any_metric(plan, "sum"));
	if (!plan->average_daily && !reading->said[OP_AVERAGE])
		return;
	/* The mean of stocks, of weekly totals: not what one sum gives. */
	if (any_metric(plan, "last") ||
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
	bool additive = any_metric(plan, "sum") || any_metric(plan, "last");
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

/*
 * "불량률 추이와 불량 유형별 분포": where a dimension belongs to another metric
 * than the one named, it becomes a second answer with the same filters.
 */
static void
split_second_answer(Reading *reading)
{
	QuestionPlan *plan = reading->plan;
	QuestionPlan *second;
	ListCell *cell;

	if (!(reading->said[OP_TREND] && reading->said[OP_SHARE]) || plan->metrics == NIL ||
		plan->base.set)
		return;
	foreach (cell, plan->dimensions)
	{
		Dimension *dimension = lfirst(cell);
		Metric *metric = dimension->default_metric
							 ? catalog_metric(plan->catalog, dimension->default_metric)
							 : NULL;

		if (metric == NULL || list_member_ptr(plan->metrics, metric))
			continue;
		second = palloc(sizeof(QuestionPlan));
		*second = *plan;
		second->metrics = list_make1(metric);
		second->dimensions = list_make1(dimension);
		second->intent = "distribution";
		second->chart = "pie";
		second->grain = GRAIN_NONE;
		second->share = true;
		plan->dimensions = list_delete_ptr(list_copy(plan->dimensions), dimension);
		plan->next = second;
		reading->said[OP_SHARE] = false;
		return;
	}
}

/* What the metrics themselves forbid. */
static void
check_metrics(Reading *reading)
{
	QuestionPlan *plan = reading->plan;
	ListCell *cell, *name;

	/* A stock is of its latest day; a sum beside it would be of that day only. */
	if (any_metric(plan, "last") &&
		(any_metric(plan, "sum") || any_metric(plan, "ratio") ||
		 any_metric(plan, "none")))
		plan_ask_apart(plan);
	if (any_metric(plan, "last") && plan->part != PART_NONE)
		plan_ask_average(plan);
	foreach (cell, plan->metrics)
		foreach (name, ((Metric *) lfirst(cell))->not_over)
		{
			Dimension *dimension = catalog_dimension(plan->catalog, lfirst(name));
			bool fixed = list_member_ptr(plan->dimensions, dimension);
			ListCell *filter_cell;

			foreach (filter_cell, plan->filters)
			{
				PlanFilter *filter = lfirst(filter_cell);

				fixed |= filter->dimension == dimension && !filter->excluded &&
						 list_length(filter->values) == 1;
			}
			if (dimension && !fixed)
				plan_ask_split(plan, lfirst(cell), dimension);
		}
}

static void
settle_plan(Reading *reading, Jsonb *context, DateADT today)
{
	QuestionPlan *plan = reading->plan;

	plan_inherit(reading, context);
	settle_metrics(reading);
	if (plan->clarification)
		return;
	settle_dimensions(reading);
	settle_period(reading, today);
	if (plan->clarification)
		return;
	if (reading->said[OP_COMPARE] && plan->dimensions == NIL && !plan->base.set &&
		list_length(plan->metrics) < 2 && reading->grain == GRAIN_NONE &&
		!reading->said[OP_WEEKDAYS])
		plan_ask_dimension(plan);
	settle_order(reading);
	if (plan->clarification)
		return;
	if (plan->next == NULL)
		split_second_answer(reading);
	settle_grain(reading);
	settle_average(reading);
	settle_share(reading);
	settle_intent(reading);
	check_metrics(reading);
	if (plan->conditions != NIL && plan->dimensions == NIL && plan->grain == GRAIN_NONE &&
		plan->part == PART_NONE)
		plan_ask_dimension(plan);
	if (plan->clarification)
		return;
	if (plan->next)
	{
		plan->next->period = plan->period;
		plan_compile(plan->next);
	}
	plan_compile(plan);
}

/* --- entry -------------------------------------------------------------------- */

static void
read_all_tokens(Reading *reading, QuestionPlan *plan, Line *line, DateADT today)
{
	memset(reading, 0, sizeof(*reading));
	reading->plan = plan;
	reading->line = line;
	reading->ranked_at = reading->grouped_at = reading->grain_at = -1;
	plan->metrics = plan->dimensions = plan->filters = plan->conditions = NIL;
	plan->weekdays = 0;
	reading->tokens = tokens_read(line, plan->catalog, today);
	for (int i = 0; i < list_length(reading->tokens); i++)
		reading_add_token(reading, i);
	reading_take_conditions(reading);
}

static void
plan_from_words(QuestionPlan *plan, Line *line, Jsonb *context)
{
	DateADT today = period_today(catalog_zone(plan->catalog));
	Reading reading;

	read_all_tokens(&reading, plan, line, today);
	/* The unknown word may be a value that came since the values were read. */
	if (reading.unknown != NIL && catalog_read_values(plan->catalog, true))
		read_all_tokens(&reading, plan, line, today);
	if (!reading_leaves_open(&reading))
		settle_plan(&reading, context, today);
}

QuestionPlan *
plan_question(const char *question, Jsonb *context)
{
	QuestionPlan *plan = palloc0(sizeof(QuestionPlan));
	VerifiedQuestion *verified;
	Line *line;

	if (strlen(question) > PLAN_MAX_QUESTION)
		ereport(ERROR, (errcode(ERRCODE_FACTORY_QUESTION_NOT_UNDERSTOOD),
						errmsg("question has %zu bytes, the limit is %d",
							   strlen(question), PLAN_MAX_QUESTION),
						errhint("Ask for one thing, in a sentence.")));
	line = line_read(question);

	plan->question = question;
	plan->korean = line->korean;
	plan->source = "catalog";
	plan->confidence = 0.95;
	plan->catalog = catalog_get();
	if (plan->catalog == NULL)
		ereport(ERROR, (errcode(ERRCODE_FACTORY_INVALID_CATALOG),
						errmsg("no catalogue is loaded"),
						errhint("Load one with factory.load_catalog(); demo/catalog.json "
								"is an example.")));
	catalog_read_values(plan->catalog, false);
	verified =
		verified_find(plan->catalog, line, period_today(catalog_zone(plan->catalog)));
	if (verified)
	{
		plan->source = "verified";
		plan->confidence = 1.0;
	}
	if (verified && verified->sql)
	{
		plan->sql = verified->sql;
		plan->period = verified->period;
	}
	else if (line->length == 0)
		plan_ask_back(plan, 0, pstrdup("The question is empty."),
					  choices_of_metrics(plan));
	else
		plan_from_words(plan,
						verified && verified->means ? line_read(verified->means) : line,
						context);
	return plan;
}
