/*
 * planner.c
 *		From the words of a question to a plan, or to a question back.
 *
 * No word is skipped: one that is in no vocabulary, or has two meanings, turns
 * the plan into a question back.  A wrong number is worse than none.
 *
 * The words are read in reading.c; then what they leave open is settled: metrics and
 * dimensions here, periods in plan_period.c, order and shape in plan_shape.c.
 */
#include "postgres.h"

#include "base/errors.h"
#include "bi/bi_int.h"

#define PLAN_MAX_METRICS 6
#define PLAN_MAX_QUESTION 2000 /* bytes */

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

/* --- metrics and dimensions ----------------------------------------------------- */

bool
plan_any_metric(QuestionPlan *plan, const char *additivity)
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
	else if (reading->said[OP_COUNTED] && plan_any_metric(plan, "ratio"))
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

/* --- the whole ------------------------------------------------------------------ */

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
	if (plan_any_metric(plan, "last") &&
		(plan_any_metric(plan, "sum") || plan_any_metric(plan, "ratio") ||
		 plan_any_metric(plan, "none")))
		plan_ask_apart(plan);
	if (plan_any_metric(plan, "last") && plan->part != PART_NONE)
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
	plan_settle_period(reading, today);
	if (plan->clarification)
		return;
	if (reading->said[OP_COMPARE] && plan->dimensions == NIL && !plan->base.set &&
		list_length(plan->metrics) < 2 && reading->grain == GRAIN_NONE &&
		!reading->said[OP_WEEKDAYS])
		plan_ask_dimension(plan);
	plan_settle_order(reading);
	if (plan->clarification)
		return;
	if (plan->next == NULL)
		split_second_answer(reading);
	plan_settle_shape(reading);
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

/* --- entry ---------------------------------------------------------------------- */

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

/* What is so before the first word is read. */
static QuestionPlan *
plan_begin(const char *question, Line *line)
{
	QuestionPlan *plan = palloc0(sizeof(QuestionPlan));

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
	return plan;
}

QuestionPlan *
plan_question(const char *question, Jsonb *context)
{
	QuestionPlan *plan;
	VerifiedQuestion *verified;
	Line *line;

	if (strlen(question) > PLAN_MAX_QUESTION)
		ereport(ERROR, (errcode(ERRCODE_FACTORY_QUESTION_NOT_UNDERSTOOD),
						errmsg("question has %zu bytes, the limit is %d",
							   strlen(question), PLAN_MAX_QUESTION),
						errhint("Ask for one thing, in a sentence.")));
	line = line_read(question);
	plan = plan_begin(question, line);
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
