/*
 * ask.c
 *		A question from its text to its answer.
 */
#include "postgres.h"

#include "bi/bi_int.h"
#include "metrics/metrics.h"
#include "portability/instr_time.h"
#include "utils/builtins.h"

static double
elapsed_ms(instr_time started)
{
	instr_time now;

	INSTR_TIME_SET_CURRENT(now);
	INSTR_TIME_SUBTRACT(now, started);
	return INSTR_TIME_GET_MILLISEC(now);
}

/* The plan, asked of a model where the catalogue leaves it open and one is set. */
QuestionPlan *
ask_plan(const char *question, Jsonb *context, double *plan_ms)
{
	instr_time started;
	QuestionPlan *plan;

	INSTR_TIME_SET_CURRENT(started);
	plan = plan_question(question, context);
	if (plan->clarification && bi_model && bi_model[0])
		(void) model_plan(plan);
	*plan_ms = elapsed_ms(started);
	metric_observe(METRIC_BI_PLAN_DURATION, *plan_ms / 1000, METRIC_NO_LABELS);
	return plan;
}

static Metric *
metric_of_column(QuestionPlan *plan, const char *name)
{
	ListCell *cell;

	foreach (cell, plan->metrics)
		if (strcmp(((Metric *) lfirst(cell))->name, name) == 0)
			return lfirst(cell);
	return NULL;
}

const char *
plan_column_label(QuestionPlan *plan, const char *name)
{
	static const struct
	{
		const char *name;
		const char *korean;
		const char *english;
	} times[] = {{"date", "날짜", "Date"},
				 {"hour", "시간", "Hour"},
				 {"week", "주", "Week"},
				 {"month", "월", "Month"}};
	Metric *metric = metric_of_column(plan, name);
	ListCell *cell;

	if (metric)
		return metric_label(metric, plan->korean);
	foreach (cell, plan->dimensions)
		if (strcmp(((Dimension *) lfirst(cell))->name, name) == 0)
			return dimension_label(lfirst(cell), plan->korean);
	for (int i = 0; i < lengthof(times); i++)
		if (strcmp(times[i].name, name) == 0)
			return plan->korean ? times[i].korean : times[i].english;
	return name;
}

static void
put_columns(DocBuilder *b, QuestionPlan *plan, const GuardedResult *result)
{
	doc_begin_array(b, "columns");
	for (int i = 0; i < result->column_count; i++)
	{
		Metric *metric = metric_of_column(plan, result->names[i]);

		doc_begin_object(b, NULL);
		doc_put_string(b, "name", result->names[i]);
		doc_put_string(b, "type", format_type_be(result->types[i]));
		doc_put_string(b, "label", plan_column_label(plan, result->names[i]));
		if (metric && metric->unit)
			doc_put_string(b, "unit", metric->unit);
		if (metric && metric->format)
			doc_put_string(b, "format", metric->format);
		doc_end_object(b);
	}
	doc_end_array(b);
}

static void
put_rows(DocBuilder *b, const GuardedResult *result)
{
	ListCell *cell;

	doc_begin_array(b, "rows");
	foreach (cell, result->rows)
		doc_put_doc(b, NULL, lfirst(cell));
	doc_end_array(b);
	doc_put_int(b, "row_count", list_length(result->rows));
	doc_put_bool(b, "truncated", result->truncated);
}

static void
put_warnings(DocBuilder *b, QuestionPlan *plan, const GuardedResult *result)
{
	ListCell *cell;

	doc_begin_array(b, "warnings");
	foreach (cell, plan->warnings)
		doc_put_string(b, NULL, lfirst(cell));
	if (result->truncated)
		doc_put_string(b, NULL,
					   plan->korean ? "결과가 잘렸습니다." : "The result was cut off.");
	doc_end_array(b);
}

/* One number says more beside the same one a period earlier. */
static void
put_previous(DocBuilder *b, QuestionPlan *plan)
{
	QuestionPlan earlier = *plan;
	GuardedResult result;
	Verdict verdict;

	if (plan->metrics == NIL || plan->dimensions != NIL || plan->grain != GRAIN_NONE ||
		plan->part != PART_NONE || plan->base.set || !plan->period.set ||
		!period_before(&plan->period, UNIT_NONE, &earlier.period))
		return;
	earlier.warnings = NIL;
	plan_compile(&earlier);
	if (earlier.clarification || earlier.warnings != NIL)
		return;
	guarded_run(earlier.sql, GUARD_READER, 1, &result, &verdict);
	if (!verdict.ok || result.rows == NIL)
		return;
	doc_begin_object(b, "previous");
	doc_put_string(b, "from", period_date_text(earlier.period.from));
	doc_put_string(b, "until", period_date_text(earlier.period.until));
	doc_put_doc(b, "row", linitial(result.rows));
	doc_end_object(b);
}

/* Rows, chart and how they came about, for one plan. */
static void
put_answer(DocBuilder *b, QuestionPlan *plan)
{
	GuardedResult result;
	Verdict verdict;
	instr_time started;
	double run_ms;

	INSTR_TIME_SET_CURRENT(started);
	guarded_run(plan->sql,
				strcmp(plan->source, "model") == 0 ? GUARD_CATALOG : GUARD_READER,
				bi_max_rows, &result, &verdict);
	run_ms = elapsed_ms(started);
	if (!verdict.ok)
	{
		metric_add(METRIC_BI_QUERIES, 1, METRIC_LABELS("error", plan->source));
		verdict_raise(&verdict);
	}
	metric_observe(METRIC_BI_QUERY_DURATION, run_ms / 1000, METRIC_NO_LABELS);
	doc_put_string(b, "sql", plan->sql);
	doc_put_string(b, "source", plan->source);
	doc_put_doc(b, "plan", plan_to_document(plan));
	put_columns(b, plan, &result);
	put_rows(b, &result);
	doc_put_doc(b, "chart", chart_for(plan, &result, plan->question));
	plan_put_period(b, "period", plan);
	plan_put_filters(b, "filters", plan);
	doc_put_string(b, "dataset", plan->dataset ? plan->dataset->name : NULL);
	put_warnings(b, plan, &result);
	if (result.rows == NIL)
		doc_put_string(b, "message",
					   plan->korean ? "이 조건에 맞는 데이터가 없습니다."
									: "There is no data for this.");
	else
		put_previous(b, plan);
	doc_put_number(b, "execution_time_ms", run_ms);
}

static void
put_no_answer(DocBuilder *b, QuestionPlan *plan)
{
	doc_put_null(b, "sql");
	doc_put_string(b, "source", plan->source);
	doc_put_doc(b, "plan", plan_to_document(plan));
	doc_begin_array(b, "columns");
	doc_end_array(b);
	doc_begin_array(b, "rows");
	doc_end_array(b);
	doc_put_int(b, "row_count", 0);
	doc_put_bool(b, "truncated", false);
	doc_put_null(b, "chart");
	plan_put_period(b, "period", plan);
	plan_put_filters(b, "filters", plan);
	doc_put_null(b, "dataset");
	doc_put_string(b, "message", plan->clarification);
	doc_put_number(b, "execution_time_ms", 0);
}

Jsonb *
ask_question(const char *question, Jsonb *context)
{
	double plan_ms;
	QuestionPlan *plan = ask_plan(question, context, &plan_ms);
	DocBuilder b;

	doc_build(&b);
	doc_begin_object(&b, NULL);
	doc_put_string(&b, "question", question);
	if (plan->clarification)
		put_no_answer(&b, plan);
	else
		put_answer(&b, plan);
	doc_put_bool(&b, "from_cache", false);
	doc_put_number(&b, "confidence", plan->confidence);
	plan_put_clarification(&b, plan);
	doc_put_string(&b, "degraded", plan->degraded);
	doc_put_number(&b, "plan_time_ms", plan_ms);
	if (plan->next && plan->clarification == NULL && plan->next->clarification == NULL)
	{
		doc_begin_array(&b, "more");
		doc_begin_object(&b, NULL);
		put_answer(&b, plan->next);
		doc_end_object(&b);
		doc_end_array(&b);
	}
	doc_end_object(&b);
	metric_add(METRIC_BI_QUERIES, 1,
			   METRIC_LABELS(plan->clarification ? "clarification" : "success",
							 plan->source));
	return doc_finish(&b);
}

Jsonb *
ask_plan_only(const char *question, Jsonb *context)
{
	double plan_ms;
	QuestionPlan *plan = ask_plan(question, context, &plan_ms);
	DocBuilder b;

	doc_build(&b);
	doc_begin_object(&b, NULL);
	doc_put_string(&b, "question", question);
	doc_put_string(&b, "sql", plan->clarification ? NULL : plan->sql);
	doc_put_string(&b, "source", plan->source);
	doc_put_doc(&b, "plan", plan_to_document(plan));
	plan_put_period(&b, "period", plan);
	plan_put_filters(&b, "filters", plan);
	doc_put_string(&b, "dataset", plan->dataset ? plan->dataset->name : NULL);
	doc_put_number(&b, "confidence", plan->confidence);
	plan_put_clarification(&b, plan);
	doc_put_string(&b, "degraded", plan->degraded);
	doc_put_number(&b, "plan_time_ms", plan_ms);
	doc_end_object(&b);
	return doc_finish(&b);
}
