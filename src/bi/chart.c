/*
 * chart.c
 *		The chart that fits an answer, as a Vega-Lite 5 specification: data, never
 *		code.
 *
 * A series is a line, categories are bars, shares of few parts a pie, one row of
 * numbers a text; two metrics of different units get two axes.
 */
#include "postgres.h"

#include "bi/bi_int.h"

#define CHART_SCHEMA "https://vega.github.io/schema/vega-lite/v5.json"
#define CHART_PIE_PARTS 5

static bool
same_unit(const Metric *a, const Metric *b)
{
	const char *left = a->unit ? a->unit : "";
	const char *right = b->unit ? b->unit : "";
	const char *left_format = a->format ? a->format : "number";
	const char *right_format = b->format ? b->format : "number";

	return strcmp(left, right) == 0 && strcmp(left_format, right_format) == 0;
}

static const char *
number_format(const Metric *metric)
{
	return metric->format && strcmp(metric->format, "percent") == 0 ? ".2%" : ",.6~r";
}

static void
put_values(DocBuilder *b, const GuardedResult *result)
{
	ListCell *row;

	doc_begin_object(b, "data");
	doc_begin_array(b, "values");
	foreach (row, result->rows)
	{
		List *columns = doc_elements(lfirst(row));

		doc_begin_object(b, NULL);
		for (int i = 0; i < result->column_count; i++)
			doc_put_value(b, result->names[i], list_nth(columns, i));
		doc_end_object(b);
	}
	doc_end_array(b);
	doc_end_object(b);
}

static void
put_channel(DocBuilder *b, const char *channel, const char *field, const char *type,
			const char *title)
{
	doc_begin_object(b, channel);
	doc_put_string(b, "field", field);
	doc_put_string(b, "type", type);
	doc_put_string(b, "title", title);
	doc_end_object(b);
}

static void
put_metric_channel(DocBuilder *b, const char *channel, Metric *metric, bool korean)
{
	doc_begin_object(b, channel);
	doc_put_string(b, "field", metric->name);
	doc_put_string(b, "type", "quantitative");
	doc_put_string(b, "title", metric_label(metric, korean));
	doc_begin_object(b, "axis");
	doc_put_string(b, "format", number_format(metric));
	doc_end_object(b);
	doc_end_object(b);
}

/* The column along which values stand: the first one that is no metric. */
static void
put_position(DocBuilder *b, QuestionPlan *plan, const char *channel, const char *column)
{
	doc_begin_object(b, channel);
	doc_put_string(b, "field", column);
	doc_put_string(b, "type", plan->grain == GRAIN_NONE ? "nominal" : "temporal");
	doc_put_string(b, "title", plan_column_label(plan, column));
	/* The rows' own order is the answer's. */
	if (plan->grain == GRAIN_NONE)
		doc_put_null(b, "sort");
	doc_end_object(b);
}

/* A second grouping column colours. */
static void
put_color(DocBuilder *b, QuestionPlan *plan)
{
	int position = plan->grain == GRAIN_NONE ? 1 : 0;

	if (list_length(plan->dimensions) > position)
	{
		Dimension *dimension = list_nth(plan->dimensions, position);

		put_channel(b, "color", dimension->name, "nominal",
					dimension_label(dimension, plan->korean));
	}
}

static void
put_mark(DocBuilder *b, const char *mark)
{
	doc_begin_object(b, "mark");
	doc_put_string(b, "type", mark);
	doc_put_bool(b, "tooltip", true);
	if (strcmp(mark, "line") == 0)
		doc_put_bool(b, "point", true);
	doc_end_object(b);
}

static void
put_view(DocBuilder *b, QuestionPlan *plan, const char *column, Metric *metric,
		 const char *mark)
{
	bool sideways = strcmp(mark, "bar") == 0 && plan->order_by != NULL;

	put_mark(b, mark);
	doc_begin_object(b, "encoding");
	put_position(b, plan, sideways ? "y" : "x", column);
	put_metric_channel(b, sideways ? "x" : "y", metric, plan->korean);
	put_color(b, plan);
	doc_end_object(b);
}

/* Several metrics: two axes where their units differ, panels where there are more. */
static void
put_views(DocBuilder *b, QuestionPlan *plan, const char *column, const char *mark)
{
	bool layered = list_length(plan->metrics) == 2;
	bool independent =
		layered && !same_unit(linitial(plan->metrics), lsecond(plan->metrics));
	ListCell *cell;

	doc_begin_array(b, layered ? "layer" : "vconcat");
	foreach (cell, plan->metrics)
	{
		doc_begin_object(b, NULL);
		put_view(b, plan, column, lfirst(cell),
				 layered && cell != list_head(plan->metrics) ? "line" : mark);
		doc_end_object(b);
	}
	doc_end_array(b);
	if (independent)
	{
		doc_begin_object(b, "resolve");
		doc_begin_object(b, "scale");
		doc_put_string(b, "y", "independent");
		doc_end_object(b);
		doc_end_object(b);
	}
}

static void
put_pie(DocBuilder *b, QuestionPlan *plan, const char *column)
{
	put_mark(b, "arc");
	doc_begin_object(b, "encoding");
	put_metric_channel(b, "theta", linitial(plan->metrics), plan->korean);
	put_channel(b, "color", column, "nominal",
				dimension_label(linitial(plan->dimensions), plan->korean));
	doc_end_object(b);
}

static void
put_numbers(DocBuilder *b, QuestionPlan *plan)
{
	ListCell *cell;

	doc_begin_array(b, "hconcat");
	foreach (cell, plan->metrics)
	{
		Metric *metric = lfirst(cell);

		doc_begin_object(b, NULL);
		doc_put_string(b, "title", metric_label(metric, plan->korean));
		doc_begin_object(b, "mark");
		doc_put_string(b, "type", "text");
		doc_put_int(b, "fontSize", 32);
		doc_end_object(b);
		doc_begin_object(b, "encoding");
		doc_begin_object(b, "text");
		doc_put_string(b, "field", metric->name);
		doc_put_string(b, "type", "quantitative");
		doc_put_string(b, "format", number_format(metric));
		doc_end_object(b);
		doc_end_object(b);
		doc_end_object(b);
	}
	doc_end_array(b);
}

/* The chart a plan asks for, before its rows are known. */
const char *
plan_chart_type(QuestionPlan *plan)
{
	/* Only what adds up has shares: a rate has none. */
	bool one_share =
		list_length(plan->metrics) == 1 && list_length(plan->dimensions) == 1 &&
		strcmp(((Metric *) linitial(plan->metrics))->additivity, "ratio") != 0;

	if (plan->metrics == NIL || (plan->chart && strcmp(plan->chart, "table") == 0))
		return "table";
	if (plan->grain != GRAIN_NONE)
		return "line";
	if (plan->dimensions == NIL)
		return "kpi";
	return plan->chart && strcmp(plan->chart, "pie") == 0 && one_share ? "pie" : "bar";
}

/* NULL where a table serves best. */
Jsonb *
chart_for(QuestionPlan *plan, const GuardedResult *result, const char *title)
{
	const char *type = plan_chart_type(plan);
	DocBuilder b;

	if (strcmp(type, "table") == 0 || result->rows == NIL)
		return NULL;
	if (strcmp(type, "pie") == 0 && list_length(result->rows) > CHART_PIE_PARTS)
		type = "bar";
	doc_build(&b);
	doc_begin_object(&b, NULL);
	doc_put_string(&b, "$schema", CHART_SCHEMA);
	doc_put_string(&b, "title", title);
	doc_begin_object(&b, "usermeta");
	doc_put_string(&b, "type", type);
	doc_end_object(&b);
	put_values(&b, result);
	if (strcmp(type, "kpi") == 0)
		put_numbers(&b, plan);
	else if (strcmp(type, "pie") == 0)
		put_pie(&b, plan, result->names[0]);
	else if (list_length(plan->metrics) == 1)
		put_view(&b, plan, result->names[0], linitial(plan->metrics), type);
	else
		put_views(&b, plan, result->names[0], type);
	doc_end_object(&b);
	return doc_finish(&b);
}
