/*
 * plan_document.c
 *		A plan as JSON: what plan() shows and ask() gives along.
 */
#include "postgres.h"

#include "bi/bi_int.h"

static void
put_period(DocBuilder *b, const char *key, QuestionPlan *plan, const PeriodSpan *period)
{
	if (!period->set)
	{
		doc_put_null(b, key);
		return;
	}
	doc_begin_object(b, key);
	doc_put_string(b, "from", period_date_text(period->from));
	doc_put_string(b, "until", period_date_text(period->until));
	doc_put_string(b, "timezone", catalog_zone(plan->catalog));
	doc_put_string(b, "text", period->text);
	doc_put_bool(b, "assumed", period->assumed);
	if (period->unit != UNIT_NONE)
		doc_put_string(b, "unit", period_unit_name(period->unit));
	doc_end_object(b);
}

void
plan_put_period(DocBuilder *b, const char *key, QuestionPlan *plan)
{
	put_period(b, key, plan, &plan->period);
}

void
plan_put_filters(DocBuilder *b, const char *key, QuestionPlan *plan)
{
	ListCell *cell, *value;

	doc_begin_array(b, key);
	foreach (cell, plan->filters)
	{
		PlanFilter *filter = lfirst(cell);

		doc_begin_object(b, NULL);
		doc_put_string(b, "field", filter->dimension->name);
		doc_put_string(b, "operator",
					   list_length(filter->values) > 1
						   ? (filter->excluded ? "not in" : "in")
						   : (filter->excluded ? "not =" : "="));
		doc_begin_array(b, "values");
		foreach (value, filter->values)
			doc_put_string(b, NULL, lfirst(value));
		doc_end_array(b);
		doc_end_object(b);
	}
	doc_end_array(b);
}

void
plan_put_clarification(DocBuilder *b, QuestionPlan *plan)
{
	ListCell *cell;

	if (plan->clarification == NULL)
	{
		doc_put_null(b, "clarification");
		return;
	}
	doc_begin_object(b, "clarification");
	doc_put_string(b, "question", plan->clarification);
	doc_begin_array(b, "choices");
	foreach (cell, plan->choices)
		doc_put_string(b, NULL, lfirst(cell));
	doc_end_array(b);
	doc_end_object(b);
}

/* The period as a condition on the dataset's column. */
static void
put_time_range(DocBuilder *b, QuestionPlan *plan)
{
	if (!plan->period.set || plan->dataset == NULL || plan->dataset->time_column == NULL)
		return;
	doc_begin_object(b, "time_range");
	doc_put_string(b, "field", plan->dataset->time_column);
	doc_put_string(b, "start", period_date_text(plan->period.from));
	doc_put_string(b, "end", period_date_text(plan->period.until));
	doc_end_object(b);
}

static void
put_conditions(DocBuilder *b, QuestionPlan *plan)
{
	ListCell *cell;

	if (plan->conditions == NIL)
		return;
	doc_begin_array(b, "conditions");
	foreach (cell, plan->conditions)
	{
		PlanCondition *condition = lfirst(cell);

		doc_begin_object(b, NULL);
		doc_put_string(b, "metric", condition->metric->name);
		doc_put_string(b, "operator", condition->operator);
		doc_put_number(b, "number", strtod(condition->number, NULL));
		doc_put_string(b, "text", condition->text);
		doc_end_object(b);
	}
	doc_end_array(b);
}

Jsonb *
plan_to_document(QuestionPlan *plan)
{
	DocBuilder b;
	ListCell *cell;

	doc_build(&b);
	doc_begin_object(&b, NULL);
	doc_put_string(&b, "query_text", plan->question);
	doc_put_string(&b, "intent", plan->intent);
	doc_put_number(&b, "confidence", plan->confidence);
	doc_put_bool(&b, "clarification_needed", plan->clarification != NULL);
	doc_begin_array(&b, "datasets");
	if (plan->dataset)
		doc_put_string(&b, NULL, plan->dataset->name);
	doc_end_array(&b);
	doc_begin_array(&b, "metrics");
	foreach (cell, plan->metrics)
	{
		Metric *metric = lfirst(cell);

		doc_begin_object(&b, NULL);
		doc_put_string(&b, "name", metric->name);
		doc_put_string(&b, "aggregation",
					   plan->average_daily && strcmp(metric->additivity, "sum") == 0
						   ? "avg_per_day"
						   : metric->additivity);
		doc_put_string(&b, "label", metric_label(metric, plan->korean));
		doc_end_object(&b);
	}
	doc_end_array(&b);
	doc_begin_array(&b, "dimensions");
	if (plan_has_time(plan))
		doc_put_string(&b, NULL, plan_time_name(plan));
	foreach (cell, plan->dimensions)
		doc_put_string(&b, NULL, ((Dimension *) lfirst(cell))->name);
	doc_end_array(&b);
	plan_put_filters(&b, "filters", plan);
	plan_put_period(&b, "period", plan);
	put_time_range(&b, plan);
	if (plan->base.set)
		put_period(&b, "compared_with", plan, &plan->base);
	put_conditions(&b, plan);
	if (plan->weekdays)
		doc_put_int(&b, "weekdays", plan->weekdays);
	if (plan->share)
		doc_put_bool(&b, "share", true);
	doc_put_string(&b, "granularity",
				   plan->grain == GRAIN_NONE ? NULL : grain_name(plan->grain));
	if (plan->order_by)
	{
		doc_begin_object(&b, "sort");
		doc_put_string(&b, "field", plan->order_by->name);
		doc_put_string(&b, "direction", plan->ascending ? "asc" : "desc");
		doc_end_object(&b);
	}
	if (plan->limit > 0)
		doc_put_int(&b, "limit", plan->limit);
	doc_put_string(&b, "chart_type", plan->clarification ? NULL : plan_chart_type(plan));
	doc_end_object(&b);
	return doc_finish(&b);
}
