/*
 * followup.c
 *		"그럼 LINE-B는?": what a question leaves out, taken from the last answer.
 *
 * Only a fragment takes anything: a question without a metric, one with nothing
 * but a metric, or one that says "then".  What it names itself always wins.  The
 * context is the caller's word: names are looked up in the catalogue, values
 * become literals, and what does not fit is left out.
 */
#include "postgres.h"

#include "bi/bi_int.h"

static const char *const unit_names[] = {"",        "day",  "week", "month",
										 "quarter", "half", "year"};

const char *
period_unit_name(PeriodUnit unit)
{
	return unit_names[unit];
}

static bool
read_date(char *text, DateADT *date)
{
	int year, month, day;

	if (text == NULL || sscanf(text, "%4d-%2d-%2d", &year, &month, &day) != 3)
		return false;
	return period_date(year, month, day, date);
}

/* A period as plan_put_period() writes it. */
bool
period_from_document(Jsonb *doc, PeriodSpan *period)
{
	char *unit = doc_get_string(doc, "unit");

	memset(period, 0, sizeof(*period));
	if (doc == NULL || !read_date(doc_get_string(doc, "from"), &period->from) ||
		!read_date(doc_get_string(doc, "until"), &period->until) ||
		period->from >= period->until)
		return false;
	for (int i = 0; unit && i < lengthof(unit_names); i++)
		if (strcmp(unit_names[i], unit) == 0)
			period->unit = i;
	period->text = doc_get_string(doc, "text");
	period->assumed = doc_get_bool(doc, "assumed", false);
	period->range = period->until - period->from > 1;
	period->set = true;
	return true;
}

static void
inherit_metrics(QuestionPlan *plan, Jsonb *last)
{
	ListCell *cell;

	foreach (cell, doc_elements(doc_get_doc(last, "metrics")))
	{
		Jsonb *doc = doc_from_value(lfirst(cell));
		char *name = doc_get_string(doc, "name");
		char *how = doc_get_string(doc, "aggregation");
		Metric *metric = name ? catalog_metric(plan->catalog, name) : NULL;

		if (metric)
			plan->metrics = list_append_unique_ptr(plan->metrics, metric);
		if (metric && how && strcmp(how, "avg_per_day") == 0)
			plan->average_daily = true;
	}
}

static bool
filters_dimension(QuestionPlan *plan, Dimension *dimension)
{
	ListCell *cell;

	foreach (cell, plan->filters)
		if (((PlanFilter *) lfirst(cell))->dimension == dimension)
			return true;
	return false;
}

/* "LINE-A 불량률", then "라인별로": the line is no longer one. */
static void
inherit_filters(Reading *reading, Jsonb *last)
{
	QuestionPlan *plan = reading->plan;
	List *inherited = NIL;
	ListCell *cell, *value;

	foreach (cell, doc_elements(doc_get_doc(last, "filters")))
	{
		Jsonb *doc = doc_from_value(lfirst(cell));
		char *field = doc_get_string(doc, "field");
		char *operator= doc_get_string(doc, "operator");
		Dimension *dimension = field ? catalog_dimension(plan->catalog, field) : NULL;
		PlanFilter *filter;

		if (dimension == NULL || filters_dimension(plan, dimension) ||
			list_member_ptr(plan->dimensions, dimension) ||
			list_member_ptr(reading->mentioned, dimension))
			continue;
		filter = palloc0(sizeof(PlanFilter));
		filter->dimension = dimension;
		filter->excluded = operator&& strncmp(operator, "not", 3) == 0;
		foreach (value, doc_elements(doc_get_doc(doc, "values")))
			if (doc_value_text(lfirst(value)))
				filter->values = lappend(filter->values, doc_value_text(lfirst(value)));
		if (filter->values != NIL)
			inherited = lappend(inherited, filter);
	}
	plan->filters = list_concat(plan->filters, inherited);
}

/* "라인별 불량률", then "LINE-A는?": one line needs no grouping. */
static void
inherit_dimensions(Reading *reading, Jsonb *last, List *own_filters)
{
	QuestionPlan *plan = reading->plan;
	ListCell *cell, *filter_cell;

	if (plan->dimensions != NIL || reading->mentioned != NIL || reading->said[OP_DETAIL])
		return;
	foreach (cell, doc_elements(doc_get_doc(last, "dimensions")))
	{
		char *name = doc_value_text(lfirst(cell));
		Dimension *dimension = name ? catalog_dimension(plan->catalog, name) : NULL;
		bool single = false;

		foreach (filter_cell, own_filters)
		{
			PlanFilter *filter = lfirst(filter_cell);

			single |= filter->dimension == dimension && list_length(filter->values) == 1;
		}
		if (dimension && !single)
			plan->dimensions = list_append_unique_ptr(plan->dimensions, dimension);
	}
}

static void
inherit_period(Reading *reading, Jsonb *last)
{
	QuestionPlan *plan = reading->plan;
	Token *token;
	PeriodSpan period;
	int weekdays = (int) doc_get_number(last, "weekdays", 0);

	if (reading->periods != NIL || reading->baseline ||
		!period_from_document(doc_get_doc(last, "period"), &period))
		return;
	token = palloc0(sizeof(Token));
	token->kind = WORD_PERIOD;
	token->text = period.text ? period.text : pstrdup("");
	token->period = period;
	reading->periods = lappend(reading->periods, token);
	if (plan->weekdays == 0)
		plan->weekdays = weekdays & 0xFE;
	if (!reading->versus_said &&
		period_from_document(doc_get_doc(last, "compared_with"), &period))
	{
		reading->baseline = palloc0(sizeof(Token));
		reading->baseline->kind = WORD_PERIOD;
		reading->baseline->text = token->text;
		reading->baseline->period = period;
	}
}

/* A day has no series of days. */
static void
inherit_grain(Reading *reading, Jsonb *last, bool own_period)
{
	Grain grain = grain_from_name(doc_get_string(last, "granularity"));
	PeriodSpan *period =
		reading->periods ? &((Token *) linitial(reading->periods))->period : NULL;

	if (reading->grain != GRAIN_NONE || reading->said[OP_DETAIL] ||
		reading->versus_said || reading->said[OP_WEEKDAYS])
		return;
	if (own_period && grain >= GRAIN_DAY && period && !period->range)
		return;
	reading->grain = grain;
}

static void
inherit_conditions(Reading *reading, Jsonb *last)
{
	static const char *const operators[] = {">=", ">", "<=", "<"};
	QuestionPlan *plan = reading->plan;
	ListCell *cell;

	foreach (cell, doc_elements(doc_get_doc(last, "conditions")))
	{
		Jsonb *doc = doc_from_value(lfirst(cell));
		char *name = doc_get_string(doc, "metric");
		char *operator= doc_get_string(doc, "operator");
		Metric *metric = name ? catalog_metric(plan->catalog, name) : NULL;
		PlanCondition *condition = palloc0(sizeof(PlanCondition));

		for (int i = 0; operator&& i<lengthof(operators); i++)
			if (strcmp(operators[i], operator) == 0)
				condition->operator= operators[i];
		if (metric == NULL || condition->operator== NULL)
			continue;
		condition->metric = metric;
		condition->number = psprintf("%.12g", doc_get_number(doc, "number", 0));
		condition->text = doc_get_string(doc, "text");
		plan->conditions = lappend(plan->conditions, condition);
	}
}

static void
inherit_order(Reading *reading, Jsonb *last)
{
	Jsonb *sort = doc_get_doc(last, "sort");
	char *name = doc_get_string(sort, "field");
	char *direction = doc_get_string(sort, "direction");
	Metric *metric = name ? catalog_metric(reading->plan->catalog, name) : NULL;
	int limit = (int) doc_get_number(last, "limit", 0);

	if (reading->ranked_at >= 0 || metric == NULL || direction == NULL)
		return;
	reading->ranked_at = 0;
	reading->order_by = metric;
	reading->said[strcmp(direction, "asc") == 0 ? OP_LOW : OP_HIGH] = true;
	reading->limit = Max(limit, 0);
}

/* Nothing but a metric, or everything but one. */
bool
reading_is_fragment(Reading *reading)
{
	QuestionPlan *plan = reading->plan;
	bool shaped = plan->dimensions != NIL || reading->mentioned != NIL ||
				  plan->filters != NIL || reading->periods != NIL ||
				  reading->grain != GRAIN_NONE;

	return plan->metrics == NIL || reading->said[OP_FOLLOW_UP] || !shaped;
}

void
plan_inherit(Reading *reading, Jsonb *context)
{
	QuestionPlan *plan = reading->plan;
	Jsonb *last = doc_get_doc(context, "plan");
	bool own_metrics = plan->metrics != NIL;
	bool own_period = reading->periods != NIL;
	List *own_filters = list_copy(plan->filters);

	if (last == NULL || doc_elements(doc_get_doc(last, "metrics")) == NIL ||
		!reading_is_fragment(reading))
		return;
	plan->follows = true;
	if (!own_metrics)
	{
		inherit_metrics(plan, last);
		inherit_conditions(reading, last);
		inherit_order(reading, last);
		if (plan->average_daily)
			reading->said[OP_AVERAGE_DAILY] = true;
		if (doc_get_bool(last, "share", false))
			reading->said[OP_SHARE] = true;
	}
	inherit_filters(reading, last);
	inherit_dimensions(reading, last, own_filters);
	inherit_period(reading, last);
	inherit_grain(reading, last, own_period);
}
