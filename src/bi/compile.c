/*
 * compile.c
 *		From a plan to SQL: the cheapest dataset that has all of it, and a
 *		statement in which nothing but literals comes from the question.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "base/base.h"
#include "bi/bi_int.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/syscache.h"

static const char *const grain_names[] = {"none", "hour", "day", "week", "month"};

const char *
grain_name(Grain grain)
{
	return grain_names[grain];
}

Grain
grain_from_name(const char *name)
{
	for (int i = 0; name && i < lengthof(grain_names); i++)
		if (strcmp(grain_names[i], name) == 0)
			return i;
	return GRAIN_NONE;
}

/* --- dataset ------------------------------------------------------------------ */

static MetricSource *
metric_source(Metric *metric, Dataset *dataset)
{
	ListCell *cell;

	foreach (cell, metric->sources)
	{
		MetricSource *source = lfirst(cell);

		if (source->dataset == dataset)
			return source;
	}
	return NULL;
}

static bool
dataset_has_dimension(Dataset *dataset, Dimension *dimension)
{
	ListCell *cell;

	foreach (cell, dataset->dimensions)
		if (strcmp(lfirst(cell), dimension->name) == 0)
			return true;
	return false;
}

/* A materialized view that was never refreshed cannot be read. */
static bool
relation_is_filled(Oid relation)
{
	HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relation));
	bool filled;

	if (!HeapTupleIsValid(tuple))
		return false;
	filled = ((Form_pg_class) GETSTRUCT(tuple))->relispopulated;
	ReleaseSysCache(tuple);
	return filled;
}

/* Are all days of the period in it? */
static bool
dataset_covers(Dataset *dataset, QuestionPlan *plan)
{
	DateADT today;

	if (!relation_is_filled(dataset->relid))
		return false;
	if (!plan->period.set)
		return true;
	if (dataset->time_column == NULL)
		return false;
	today = period_today(catalog_zone(plan->catalog));
	if (dataset->keeps_days > 0 && plan->period.from < today - dataset->keeps_days)
		return false;
	return dataset->lag_days == 0 || plan->period.until <= today + 1 - dataset->lag_days;
}

static bool
dataset_answers(Dataset *dataset, QuestionPlan *plan)
{
	ListCell *cell;

	if (plan->grain != GRAIN_NONE &&
		(dataset->time_column == NULL || dataset->grain == GRAIN_NONE ||
		 dataset->grain > plan->grain))
		return false;
	if (plan->period.set && dataset->grain > GRAIN_DAY)
		return false;
	foreach (cell, plan->metrics)
		if (metric_source(lfirst(cell), dataset) == NULL)
			return false;
	foreach (cell, plan->dimensions)
		if (!dataset_has_dimension(dataset, lfirst(cell)))
			return false;
	foreach (cell, plan->filters)
		if (!dataset_has_dimension(dataset, ((PlanFilter *) lfirst(cell))->dimension))
			return false;
	return true;
}

/*
 * The cheapest dataset with everything; where none covers the whole period, one
 * that at least can be read and has the latest days.
 */
static Dataset *
cheapest_dataset(QuestionPlan *plan, bool covering)
{
	Dataset *best = NULL;
	ListCell *cell;

	foreach (cell, plan->catalog->datasets)
	{
		Dataset *dataset = lfirst(cell);

		if (dataset_answers(dataset, plan) &&
			(covering ? dataset_covers(dataset, plan)
					  : relation_is_filled(dataset->relid) && dataset->lag_days == 0) &&
			(best == NULL || dataset->cost < best->cost))
			best = dataset;
	}
	return best;
}

static void
ask_for_other_shape(QuestionPlan *plan)
{
	StringInfoData names;
	ListCell *cell;

	initStringInfo(&names);
	foreach (cell, plan->metrics)
		appendStringInfo(&names, "%s%s", names.len ? ", " : "",
						 metric_label(lfirst(cell), plan->korean));
	foreach (cell, plan->dimensions)
		appendStringInfo(&names, ", %s", dimension_label(lfirst(cell), plan->korean));
	foreach (cell, plan->filters)
		appendStringInfo(&names, ", %s",
						 dimension_label(((PlanFilter *) lfirst(cell))->dimension,
										 plan->korean));
	if (plan->grain != GRAIN_NONE)
		appendStringInfo(&names, ", %s", grain_name(plan->grain));
	plan_ask_back(plan, 0.3,
				  psprintf(plan->korean ? "이것을 함께 담은 데이터셋이 없습니다: %s"
										: "No dataset has these together: %s",
						   names.data),
				  NIL);
}

/* --- SQL ---------------------------------------------------------------------- */

static char *
quote_text(const char *text)
{
	return quote_literal_cstr(text);
}

/* The start of a day in the plant, as the time column's type compares it. */
static char *
day_literal(Dataset *dataset, DateADT day, const char *zone)
{
	char *text = period_date_text(day);

	switch (dataset->time_type)
	{
		case TIMESTAMPTZOID:
			return psprintf("TIMESTAMP '%s' AT TIME ZONE %s", text, quote_text(zone));
		case TIMESTAMPOID:
			return psprintf("TIMESTAMP '%s'", text);
		default:
			return psprintf("DATE '%s'", text);
	}
}

/* The time column cut to the grain, in the plant's zone. */
static char *
time_expression(QuestionPlan *plan)
{
	Dataset *dataset = plan->dataset;
	char *local = dataset->time_column;

	if (dataset->time_type == TIMESTAMPTZOID)
		local = psprintf("%s AT TIME ZONE %s", local,
						 quote_text(dataset->zone ? dataset->zone
												  : catalog_zone(plan->catalog)));
	if (plan->grain == GRAIN_HOUR)
		return psprintf("date_trunc('hour', %s)", local);
	if (plan->grain == GRAIN_DAY)
		return dataset->time_type == DATEOID ? local : psprintf("(%s)::date", local);
	return psprintf("date_trunc('%s', %s)::date", grain_name(plan->grain), local);
}

static char *
filter_condition(PlanFilter *filter)
{
	StringInfoData values;
	ListCell *cell;

	if (list_length(filter->values) == 1)
		return psprintf("%s = %s", filter->dimension->sql,
						quote_text(linitial(filter->values)));
	initStringInfo(&values);
	foreach (cell, filter->values)
		appendStringInfo(&values, "%s%s", values.len ? ", " : "",
						 quote_text(lfirst(cell)));
	return psprintf("%s IN (%s)", filter->dimension->sql, values.data);
}

static List *
plan_conditions(QuestionPlan *plan)
{
	Dataset *dataset = plan->dataset;
	const char *zone = dataset->zone ? dataset->zone : catalog_zone(plan->catalog);
	List *conditions = NIL;
	ListCell *cell;

	if (dataset->has_tenant)
		conditions = lappend(conditions, pstrdup("tenant_id = factory.current_tenant()"));
	if (plan->period.set && dataset->time_column)
	{
		conditions =
			lappend(conditions, psprintf("%s >= %s", dataset->time_column,
										 day_literal(dataset, plan->period.from, zone)));
		conditions =
			lappend(conditions, psprintf("%s < %s", dataset->time_column,
										 day_literal(dataset, plan->period.until, zone)));
	}
	foreach (cell, plan->filters)
		conditions = lappend(conditions, filter_condition(lfirst(cell)));
	return conditions;
}

static void
append_where(StringInfo sql, List *conditions)
{
	ListCell *cell;

	foreach (cell, conditions)
		appendStringInfo(sql, "%s%s",
						 cell == list_head(conditions) ? "\nWHERE " : "\n  AND ",
						 (char *) lfirst(cell));
}

/* A stock is of one moment: the last one there is. */
static List *
latest_condition(QuestionPlan *plan, List *conditions)
{
	StringInfoData inner;
	bool last = false;
	ListCell *cell;

	foreach (cell, plan->metrics)
		last |= strcmp(((Metric *) lfirst(cell))->additivity, "last") == 0;
	if (!last || plan->grain != GRAIN_NONE || plan->dataset->time_column == NULL)
		return conditions;
	initStringInfo(&inner);
	appendStringInfo(&inner, "%s = (SELECT max(%s) FROM %s", plan->dataset->time_column,
					 plan->dataset->time_column, plan->dataset->relation);
	append_where(&inner, conditions);
	appendStringInfoChar(&inner, ')');
	return lappend(list_copy(conditions), inner.data);
}

static char *
metric_expression(QuestionPlan *plan, Metric *metric)
{
	char *sql = metric_source(metric, plan->dataset)->sql;

	if (!plan->average_daily || strcmp(metric->additivity, "sum") != 0)
		return sql;
	/* The mean over the days that have data. */
	return psprintf("round((%s)::numeric / nullif(count(DISTINCT %s), 0), 2)", sql,
					plan->dataset->time_type == DATEOID
						? plan->dataset->time_column
						: psprintf("(%s AT TIME ZONE %s)::date",
								   plan->dataset->time_column,
								   quote_text(catalog_zone(plan->catalog))));
}

static void
append_column(StringInfo sql, const char *expression, const char *name)
{
	const char *quoted = quote_identifier(name);

	appendStringInfoString(sql, expression);
	if (strcmp(expression, quoted) != 0)
		appendStringInfo(sql, " AS %s", quoted);
}

static int
append_columns(StringInfo sql, QuestionPlan *plan)
{
	int grouped = 0;
	ListCell *cell;

	if (plan->grain != GRAIN_NONE)
	{
		append_column(sql, time_expression(plan),
					  plan->grain == GRAIN_DAY ? "date" : grain_name(plan->grain));
		grouped++;
	}
	foreach (cell, plan->dimensions)
	{
		Dimension *dimension = lfirst(cell);

		appendStringInfoString(sql, grouped ? ", " : "");
		append_column(sql, dimension->sql, dimension->name);
		grouped++;
	}
	foreach (cell, plan->metrics)
	{
		Metric *metric = lfirst(cell);

		appendStringInfo(sql, "%s\n       %s AS %s",
						 cell == list_head(plan->metrics) && !grouped ? "" : ",",
						 metric_expression(plan, metric), quote_identifier(metric->name));
	}
	return grouped;
}

static void
append_order(StringInfo sql, QuestionPlan *plan, int grouped)
{
	int first_metric = grouped + 1;

	if (grouped == 0)
		return;
	if (plan->grain != GRAIN_NONE && plan->order_by == NULL)
	{
		appendStringInfoString(sql, "\nORDER BY 1");
		for (int i = 2; i <= grouped; i++)
			appendStringInfo(sql, ", %d", i);
		return;
	}
	appendStringInfo(sql, "\nORDER BY %d %s NULLS LAST", first_metric,
					 plan->ascending ? "ASC" : "DESC");
	for (int i = 1; i <= grouped; i++)
		appendStringInfo(sql, ", %d", i);
}

void
plan_compile(QuestionPlan *plan)
{
	StringInfoData sql;
	int grouped;
	int limit = Min(plan->catalog->max_rows, bi_max_rows);

	plan->dataset = cheapest_dataset(plan, true);
	if (plan->dataset == NULL)
	{
		plan->dataset = cheapest_dataset(plan, false);
		if (plan->dataset == NULL)
		{
			ask_for_other_shape(plan);
			return;
		}
		plan->warnings =
			lappend(plan->warnings,
					psprintf(plan->korean
								 ? "데이터셋 \"%s\"에 이 기간의 일부가 없을 수 있습니다."
								 : "Dataset \"%s\" may lack a part of this period.",
							 plan->dataset->name));
	}
	initStringInfo(&sql);
	appendStringInfoString(&sql, "SELECT ");
	grouped = append_columns(&sql, plan);
	appendStringInfo(&sql, "\nFROM %s", plan->dataset->relation);
	append_where(&sql, latest_condition(plan, plan_conditions(plan)));
	if (grouped > 0)
	{
		appendStringInfoString(&sql, "\nGROUP BY 1");
		for (int i = 2; i <= grouped; i++)
			appendStringInfo(&sql, ", %d", i);
	}
	else
		appendStringInfoString(&sql, "\nHAVING count(*) > 0");
	append_order(&sql, plan, grouped);
	appendStringInfo(&sql, "\nLIMIT %d",
					 plan->limit > 0 ? Min(plan->limit, limit) : limit);
	plan->sql = sql.data;
}

/* --- plan as a document ------------------------------------------------------- */

void
plan_put_period(DocBuilder *b, const char *key, QuestionPlan *plan)
{
	if (!plan->period.set)
	{
		doc_put_null(b, key);
		return;
	}
	doc_begin_object(b, key);
	doc_put_string(b, "from", period_date_text(plan->period.from));
	doc_put_string(b, "until", period_date_text(plan->period.until));
	doc_put_string(b, "timezone", catalog_zone(plan->catalog));
	doc_put_string(b, "text", plan->period.text);
	doc_put_bool(b, "assumed", plan->period.assumed);
	doc_end_object(b);
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
		doc_put_string(b, "operator", list_length(filter->values) > 1 ? "in" : "=");
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
	if (plan->grain != GRAIN_NONE)
		doc_put_string(&b, NULL,
					   plan->grain == GRAIN_DAY ? "date" : grain_name(plan->grain));
	foreach (cell, plan->dimensions)
		doc_put_string(&b, NULL, ((Dimension *) lfirst(cell))->name);
	doc_end_array(&b);
	plan_put_filters(&b, "filters", plan);
	plan_put_period(&b, "period", plan);
	put_time_range(&b, plan);
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
