/*
 * ask.c
 *		A question from its text to its answer.
 */
#include "postgres.h"

#include "base/audit.h"
#include "base/errors.h"
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

/* Who ran which statement that no catalogue made. */
void
audit_statement(const char *sql, const char *source, int rows)
{
	DocBuilder b;

	doc_build(&b);
	doc_begin_object(&b, NULL);
	doc_put_string(&b, "sql", sql);
	doc_put_string(&b, "source", source);
	doc_put_int(&b, "rows", rows);
	doc_end_object(&b);
	audit_write("run", "statement", source, NULL, doc_finish(&b));
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

/* The metric a column shows, and what of it: its place among column_kinds. */
static const struct
{
	const char *suffix;
	const char *korean;
	const char *english;
	bool is_rate; /* shown as a percentage, whatever the metric is */
} column_kinds[] = {{"", "", "", false},
					{"_previous", " (비교 기간)", " (before)", false},
					{"_change", " 증감", " change", false},
					{"_change_rate", " 증감률", " change rate", true},
					{"_share", " 비중", " share", true}};

static Metric *
metric_of_column(QuestionPlan *plan, const char *name, int *kind)
{
	ListCell *cell;

	foreach (cell, plan->metrics)
	{
		Metric *metric = lfirst(cell);
		int length = strlen(metric->name);

		if (strncmp(metric->name, name, length) != 0)
			continue;
		for (*kind = 0; *kind < lengthof(column_kinds); (*kind)++)
			if (strcmp(name + length, column_kinds[*kind].suffix) == 0)
				return metric;
	}
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
				 {"month", "월", "Month"},
				 {"quarter", "분기", "Quarter"},
				 {"year", "연도", "Year"},
				 {"weekday", "요일 (1 월 ~ 7 일)", "Weekday (1 Monday to 7 Sunday)"},
				 {"hour_of_day", "시", "Hour of day"}};
	int kind;
	Metric *metric = metric_of_column(plan, name, &kind);
	ListCell *cell;

	if (metric)
		return psprintf("%s%s%s", metric_label(metric, plan->korean),
						plan->average_daily && strcmp(metric->additivity, "sum") == 0
							? (plan->korean ? " (일평균)" : " (a day)")
							: "",
						plan->korean ? column_kinds[kind].korean
									 : column_kinds[kind].english);
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
		int kind;
		Metric *metric = metric_of_column(plan, result->names[i], &kind);
		bool is_rate = metric && column_kinds[kind].is_rate;

		doc_begin_object(b, NULL);
		doc_put_string(b, "name", result->names[i]);
		doc_put_string(b, "type", format_type_be(result->types[i]));
		doc_put_string(b, "label", plan_column_label(plan, result->names[i]));
		if (metric && (is_rate || metric->unit))
			doc_put_string(b, "unit", is_rate ? "%" : metric->unit);
		if (metric && (is_rate || metric->format))
			doc_put_string(b, "format", is_rate ? "percent" : metric->format);
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

/* --- what to mind ------------------------------------------------------------------ */

static void
warn(QuestionPlan *plan, const char *korean, const char *english)
{
	plan->warnings = lappend(plan->warnings, pstrdup(plan->korean ? korean : english));
}

/* Days that are not over, or have not come. */
static void
warn_of_open_period(QuestionPlan *plan)
{
	DateADT today = period_today(catalog_zone(plan->catalog));
	int days = plan->period.until - plan->period.from;
	int base_days = plan->base.until - plan->base.from;

	if (!plan->period.set)
		return;
	if (plan->period.from > today)
		warn(plan, "이 기간은 아직 오지 않았습니다.", "This period has not come yet.");
	else if (plan->period.until > today)
		plan->warnings =
			lappend(plan->warnings,
					psprintf(plan->korean ? "오늘(%s)은 아직 끝나지 않았습니다."
										  : "Today (%s) is not over yet.",
							 period_date_text(today)));
	if (plan->base.set && days != base_days)
		plan->warnings =
			lappend(plan->warnings,
					psprintf(plan->korean
								 ? "두 기간의 길이가 다릅니다: %d일과 %d일."
								 : "The periods differ in length: %d and %d days.",
							 days, base_days));
}

static void
warn_of_age(QuestionPlan *plan)
{
	if (plan->freshness.overdue)
		warn(plan, "이 데이터의 갱신이 예정보다 늦어지고 있습니다.",
			 "The refresh of this data is overdue.");
}

/*
 * Keys that a join would double make every sum wrong: no answer then.  Rows without
 * a partner are in the answer, under no name; that is said.
 */
static void
check_joins(QuestionPlan *plan)
{
	GuardedResult result;
	Verdict verdict;
	ListCell *cell;

	if (plan->join_check == NULL)
		return;
	guarded_run_cached(plan->join_check, GUARD_READER, 100, plan->dataset,
					   &plan->freshness, plan->skip_cache, &result, &verdict);
	if (!verdict.ok)
		verdict_raise(&verdict);
	foreach (cell, result.rows)
	{
		List *columns = doc_elements(lfirst(cell));
		char *join = doc_value_text(linitial(columns));
		double doubled = doc_value_number(lsecond(columns));
		double lost = doc_value_number(lthird(columns));

		if (doubled > 0)
			ereport(ERROR,
					(errcode(ERRCODE_CARDINALITY_VIOLATION),
					 errmsg("join \"%s\" finds several rows for one key", join),
					 errdetail("%.0f keys occur more than once, so sums would count "
							   "rows twice.",
							   doubled),
					 errhint("Make the key unique in the joined relation, or join a "
							 "view in which it is.")));
		if (lost > 0)
			plan->warnings = lappend(
				plan->warnings,
				psprintf(plan->korean
							 ? "%.0f개 행은 \"%s\"에 짝이 없어 이름 없이 집계되었습니다."
							 : "%.0f rows have no partner in \"%s\" and are counted "
							   "under no name.",
						 lost, join));
	}
}

static void
put_warnings(DocBuilder *b, QuestionPlan *plan, const GuardedResult *result)
{
	ListCell *cell;

	if (result->truncated ||
		list_length(result->rows) >= Min(plan->catalog->max_rows, bi_max_rows))
		warn(plan, "결과가 잘렸습니다.", "The result was cut off.");
	if (plan->limit > 0 && !plan->rank_in_time && plan->rank_within == NIL &&
		list_length(result->rows) > plan->limit)
		warn(plan, "동점이 있어 요청한 수보다 많습니다.",
			 "There are ties, so there are more than asked for.");
	doc_begin_array(b, "warnings");
	foreach (cell, plan->warnings)
		doc_put_string(b, NULL, lfirst(cell));
	doc_end_array(b);
}

/* --- the answer --------------------------------------------------------------------- */

/* One number says more beside the same one a period earlier. */
static Jsonb *
previous_row(QuestionPlan *plan, QuestionPlan *earlier)
{
	GuardedResult result;
	Verdict verdict;

	*earlier = *plan;
	if (plan->metrics == NIL || plan->dimensions != NIL || plan->grain != GRAIN_NONE ||
		plan->part != PART_NONE || plan->base.set || !plan->period.set ||
		!period_before(&plan->period, UNIT_NONE, &earlier->period))
		return NULL;
	earlier->warnings = NIL;
	plan_compile(earlier);
	if (earlier->clarification || earlier->warnings != NIL)
		return NULL;
	guarded_run_cached(earlier->sql, GUARD_READER, 1, earlier->dataset, &plan->freshness,
					   plan->skip_cache, &result, &verdict);
	if (!verdict.ok || result.rows == NIL)
		return NULL;
	return linitial(result.rows);
}

static void
put_previous(DocBuilder *b, const QuestionPlan *earlier, Jsonb *row)
{
	doc_begin_object(b, "previous");
	doc_put_string(b, "from", period_date_text(earlier->period.from));
	doc_put_string(b, "until", period_date_text(earlier->period.until));
	doc_put_doc(b, "row", row);
	doc_end_object(b);
}

static void
run_plan(QuestionPlan *plan, GuardedResult *result)
{
	bool modelled = strcmp(plan->source, "model") == 0;
	Verdict verdict;

	freshness_read(plan->dataset, &plan->freshness);
	check_joins(plan);
	guarded_run_cached(plan->sql, modelled ? GUARD_CATALOG : GUARD_READER, bi_max_rows,
					   plan->dataset, &plan->freshness, plan->skip_cache, result,
					   &verdict);
	if (!verdict.ok)
	{
		metric_add(METRIC_BI_QUERIES, 1, METRIC_LABELS("error", plan->source));
		verdict_raise(&verdict);
	}
	if (modelled)
		audit_statement(plan->sql, "model", list_length(result->rows));
}

/* Rows, chart and how they came about, for one plan. */
static bool
put_answer(DocBuilder *b, QuestionPlan *plan)
{
	GuardedResult result;
	QuestionPlan earlier;
	Jsonb *previous;
	instr_time started;
	double run_ms;

	INSTR_TIME_SET_CURRENT(started);
	run_plan(plan, &result);
	run_ms = elapsed_ms(started);
	metric_observe(METRIC_BI_QUERY_DURATION, run_ms / 1000, METRIC_NO_LABELS);
	warn_of_open_period(plan);
	warn_of_age(plan);
	doc_put_string(b, "sql", plan->sql);
	doc_put_string(b, "source", result.from_cache ? "cache" : plan->source);
	doc_put_doc(b, "plan", plan_to_document(plan));
	put_columns(b, plan, &result);
	put_rows(b, &result);
	doc_put_doc(b, "chart", chart_for(plan, &result, plan->question));
	plan_put_period(b, "period", plan);
	plan_put_filters(b, "filters", plan);
	doc_put_string(b, "dataset", plan->dataset ? plan->dataset->name : NULL);
	freshness_put(b, "freshness", plan->dataset, &plan->freshness);
	put_warnings(b, plan, &result);
	previous = result.rows == NIL ? NULL : previous_row(plan, &earlier);
	if (result.rows == NIL)
		doc_put_string(b, "message",
					   plan->korean ? "이 조건에 맞는 데이터가 없습니다."
									: "There is no data for this.");
	if (previous)
		put_previous(b, &earlier, previous);
	if (plan->narrates)
		doc_put_string(b, "narration",
					   narrate_answer(plan, &result, previous ? &earlier : NULL,
									  previous));
	if (plan->exports)
		doc_put_string(b, "csv", csv_of_result(plan, &result));
	doc_put_number(b, "execution_time_ms", run_ms);
	return result.from_cache;
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
ask_question(const char *question, Jsonb *context, bool narrates, bool skip_cache)
{
	double plan_ms;
	QuestionPlan *plan = ask_plan(question, context, &plan_ms);
	bool from_cache = false;
	DocBuilder b;

	for (QuestionPlan *part = plan; part; part = part->next)
	{
		part->narrates = narrates;
		part->skip_cache = skip_cache;
	}
	doc_build(&b);
	doc_begin_object(&b, NULL);
	doc_put_string(&b, "question", question);
	if (plan->clarification)
		put_no_answer(&b, plan);
	else
		from_cache = put_answer(&b, plan);
	doc_put_bool(&b, "from_cache", from_cache);
	doc_put_number(&b, "confidence", plan->confidence);
	plan_put_clarification(&b, plan);
	doc_put_string(&b, "degraded", plan->degraded);
	doc_put_number(&b, "plan_time_ms", plan_ms);
	if (plan->next && plan->clarification == NULL && plan->next->clarification == NULL)
	{
		doc_begin_array(&b, "more");
		doc_begin_object(&b, NULL);
		(void) put_answer(&b, plan->next);
		doc_end_object(&b);
		doc_end_array(&b);
	}
	doc_end_object(&b);
	metric_add(METRIC_BI_QUERIES, 1,
			   METRIC_LABELS(plan->clarification ? "clarification" : "success",
							 from_cache ? "cache" : plan->source));
	return doc_finish(&b);
}

/* The rows of an answer as CSV; raises where the question goes back. */
char *
ask_csv(const char *question, Jsonb *context)
{
	double plan_ms;
	QuestionPlan *plan = ask_plan(question, context, &plan_ms);
	GuardedResult result;

	if (plan->clarification)
		ereport(ERROR,
				(errcode(ERRCODE_FACTORY_QUESTION_NOT_UNDERSTOOD),
				 errmsg("question has no answer: %s", plan->clarification),
				 errhint("factory.ask() gives the choices under \"clarification\".")));
	run_plan(plan, &result);
	return csv_of_result(plan, &result);
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
