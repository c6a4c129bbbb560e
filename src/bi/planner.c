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

/* A follow-up ("그럼 LINE-B는?") keeps what the last plan had and this one lacks. */
static void
inherit_from_context(QuestionPlan *plan, Jsonb *context)
{
	Jsonb *last = doc_get_doc(context, "plan");
	Jsonb *period = doc_get_doc(last, "period");
	char *code = doc_get_string(period, "text");
	ListCell *cell;

	if (last == NULL || plan->metrics != NIL)
		return;
	foreach (cell, doc_elements(doc_get_doc(last, "metrics")))
	{
		char *name = doc_get_string(doc_from_value(lfirst(cell)), "name");
		Metric *metric = name ? catalog_metric(plan->catalog, name) : NULL;

		if (metric)
			plan->metrics = list_append_unique_ptr(plan->metrics, metric);
	}
	if (plan->period.set || code == NULL)
		return;
	foreach (cell, tokens_read(line_read(code), plan->catalog,
							   period_today(catalog_zone(plan->catalog))))
	{
		Token *token = lfirst(cell);

		if (token->kind == WORD_PERIOD)
			plan->period = token->period;
	}
}

static void
settle_metrics(Reading *reading)
{
	QuestionPlan *plan = reading->plan;
	List *dimensions = list_concat_copy(plan->dimensions, reading->mentioned);
	ListCell *cell;

	if (plan->metrics == NIL)
		foreach (cell, dimensions)
		{
			Dimension *dimension = lfirst(cell);
			Metric *metric =
				dimension->default_metric
					? catalog_metric(plan->catalog, dimension->default_metric)
					: NULL;

			if (metric)
				plan->metrics = list_append_unique_ptr(plan->metrics, metric);
		}
	if (plan->metrics == NIL)
		plan_ask_back(plan, 0.3,
					  pstrdup(
						  reading->said[OP_VERSUS_PREVIOUS]
							  ? (plan->korean ? "무엇을 비교할까요?" : "Compare what?")
							  : (plan->korean ? "어떤 지표를 원하시나요?"
											  : "Which metric do you want?")),
					  choices_of_metrics(plan));
	else if (list_length(plan->metrics) > PLAN_MAX_METRICS)
		plan_ask_back(plan, 0.4,
					  pstrdup(plan->korean
								  ? "지표가 너무 많습니다. 몇 가지만 골라 주세요."
								  : "That is too many metrics at once. Choose some."),
					  choices_of_metrics(plan));
	else if (reading->said[OP_VERSUS_PREVIOUS])
	{
		const char *label = metric_label(linitial(plan->metrics), plan->korean);

		plan_ask_back(
			plan, 0.4,
			pstrdup(plan->korean
						? "두 기간을 한 번에 비교하지는 않습니다. 기간별로 물어보세요."
						: "Two periods are not compared in one answer. Ask for each."),
			list_make2(
				psprintf(plan->korean ? "이번 주 일별 %s" : "daily %s this week", label),
				psprintf(plan->korean ? "지난주 일별 %s" : "daily %s last week", label)));
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

		if (list_length(filter->values) > 1)
			plan->dimensions =
				list_append_unique_ptr(plan->dimensions, filter->dimension);
	}
	if (reading->said[OP_DETAIL] && plan->dimensions == NIL)
		foreach (name, ((Metric *) linitial(plan->metrics))->detail)
		{
			Dimension *dimension = catalog_dimension(plan->catalog, lfirst(name));

			if (dimension)
				plan->dimensions = list_append_unique_ptr(plan->dimensions, dimension);
		}
}

static void
assume_period(QuestionPlan *plan, const char *code, DateADT today)
{
	if (!period_from_code(code, today, &plan->period))
		return;
	plan->period.assumed = true;
	plan->period.text = pstrdup(code);
	plan->confidence = Min(plan->confidence, 0.8);
}

/* No period said: now, the catalogue's own, or a question back. */
static void
settle_period(Reading *reading, DateADT today)
{
	QuestionPlan *plan = reading->plan;
	bool shaped = plan->dimensions != NIL || plan->filters != NIL || reading->bundle ||
				  reading->said[OP_TREND] || reading->grain != GRAIN_NONE ||
				  list_length(plan->metrics) > 1;

	if (plan->period.set || any_metric(plan, "last"))
		return;
	if (reading->said[OP_NOW] || reading->grain == GRAIN_HOUR)
		assume_period(plan, "today", today);
	else if (reading->grain == GRAIN_WEEK)
		assume_period(plan, "last_4_weeks", today);
	else if (reading->grain == GRAIN_MONTH && !reading->bundle)
		assume_period(plan, "last_3_months", today);
	else if (shaped && plan->catalog->default_period)
		assume_period(plan, plan->catalog->default_period, today);
	if (!plan->period.set)
		plan_ask_period(plan);
}

/* A series, or one total? */
static void
settle_grain(Reading *reading)
{
	QuestionPlan *plan = reading->plan;
	int days = plan->period.until - plan->period.from;
	bool trend = reading->said[OP_TREND];
	bool ranking = plan->limit > 0 || plan->order_by != NULL;

	plan->grain = reading->grain;
	/* "월간 리포트" is this month's report, not one by months. */
	if (plan->grain == GRAIN_MONTH && reading->bundle && plan->period.assumed)
		plan->grain = GRAIN_NONE;
	if (plan->grain == GRAIN_DAY && reading->bundle && days <= 1)
		plan->grain = GRAIN_NONE;
	if (plan->grain != GRAIN_NONE || ranking || !plan->period.set)
		return;
	if (reading->said[OP_CHART] && plan->dimensions == NIL)
		trend = true;
	/* A rate over several days says little as one number. */
	if (plan->period.range && plan->dimensions == NIL && any_metric(plan, "ratio") &&
		!reading->said[OP_AVERAGE] && !reading->bundle && !plan->period.assumed)
		trend = true;
	if (trend && plan->period.range)
		plan->grain = days > PLAN_DAILY_DAYS ? GRAIN_MONTH : GRAIN_DAY;
	else if (trend)
		plan->grain = GRAIN_HOUR;
}

static void
settle_order(Reading *reading)
{
	QuestionPlan *plan = reading->plan;
	bool falling = reading->said[OP_TOP] || reading->said[OP_HIGH];
	bool rising = reading->said[OP_BOTTOM] || reading->said[OP_LOW];

	if (!falling && !rising)
		return;
	if (plan->dimensions == NIL)
	{
		plan_ask_dimension(plan);
		return;
	}
	plan->order_by = linitial(plan->metrics);
	plan->ascending = rising;
	if (reading->number > 0)
		plan->limit = reading->number;
	else if (reading->said[OP_TOP] || reading->said[OP_BOTTOM])
		plan->limit = 1;
}

static void
settle_average(Reading *reading)
{
	QuestionPlan *plan = reading->plan;

	plan->average_daily = reading->said[OP_AVERAGE_DAILY] ||
						  (reading->said[OP_AVERAGE] && any_metric(plan, "sum"));
	if (plan->average_daily && plan->grain == GRAIN_DAY)
		plan->grain = GRAIN_NONE;
}

static void
settle_intent(Reading *reading)
{
	QuestionPlan *plan = reading->plan;

	if (plan->grain != GRAIN_NONE)
		plan->intent = "trend";
	else if (plan->order_by)
		plan->intent = "ranking";
	else if (reading->said[OP_SHARE])
		plan->intent = "distribution";
	else if (reading->said[OP_DETAIL])
		plan->intent = "drilldown";
	else if (plan->dimensions != NIL)
		plan->intent = "comparison";
	else
		plan->intent = "summary";
	if (reading->said[OP_TABLE])
		plan->chart = "table";
	else if (reading->said[OP_SHARE] && plan->grain == GRAIN_NONE)
		plan->chart = "pie";
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

	if (!(reading->said[OP_TREND] && reading->said[OP_SHARE]) || plan->metrics == NIL)
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
		plan->dimensions = list_delete_ptr(list_copy(plan->dimensions), dimension);
		plan->next = second;
		reading->said[OP_SHARE] = false;
		return;
	}
}

static void
settle_plan(Reading *reading, Jsonb *context, DateADT today)
{
	QuestionPlan *plan = reading->plan;

	inherit_from_context(plan, context);
	settle_metrics(reading);
	if (plan->clarification)
		return;
	settle_dimensions(reading);
	if (reading->said[OP_COMPARE] && plan->dimensions == NIL &&
		list_length(plan->metrics) < 2)
	{
		plan_ask_dimension(plan);
		return;
	}
	settle_period(reading, today);
	settle_order(reading);
	if (plan->clarification)
		return;
	if (plan->next == NULL)
		split_second_answer(reading);
	settle_grain(reading);
	settle_average(reading);
	settle_intent(reading);
	if (plan->next)
	{
		plan->next->period = plan->period;
		plan_compile(plan->next);
	}
	plan_compile(plan);
}

/* --- entry -------------------------------------------------------------------- */

/* The same question, whatever its spaces and punctuation. */
static bool
same_question(Line *line, const char *question)
{
	Line *other = line_read(question);

	return line->length == other->length &&
		   memcmp(line->text, other->text, line->length) == 0;
}

static VerifiedQuestion *
verified_question(Catalog *catalog, Line *line)
{
	ListCell *cell;

	foreach (cell, catalog->verified)
		if (same_question(line, ((VerifiedQuestion *) lfirst(cell))->question))
			return lfirst(cell);
	return NULL;
}

static List *
read_all_tokens(Reading *reading, Line *line, DateADT today)
{
	QuestionPlan *plan = reading->plan;
	List *tokens = tokens_read(line, plan->catalog, today);

	for (int i = 0; i < list_length(tokens); i++)
		reading_add_token(reading, tokens, i);
	return tokens;
}

static void
plan_from_words(QuestionPlan *plan, Line *line, Jsonb *context)
{
	DateADT today = period_today(catalog_zone(plan->catalog));
	Reading reading = {.plan = plan, .number = -1};
	List *tokens = read_all_tokens(&reading, line, today);

	/* The unknown word may be a value that came since the values were read. */
	if (reading.unknown != NIL && catalog_read_values(plan->catalog, true))
	{
		plan->metrics = plan->dimensions = plan->filters = NIL;
		memset(&plan->period, 0, sizeof(plan->period));
		memset(&reading, 0, sizeof(reading));
		reading.plan = plan;
		reading.number = -1;
		tokens = read_all_tokens(&reading, line, today);
	}
	if (!reading_leaves_open(&reading, tokens))
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
	verified = verified_question(plan->catalog, line);
	if (verified)
	{
		plan->source = "verified";
		plan->confidence = 1.0;
	}
	if (verified && verified->sql)
		plan->sql = verified->sql;
	else if (line->length == 0)
		plan_ask_back(plan, 0, pstrdup("The question is empty."),
					  choices_of_metrics(plan));
	else
		plan_from_words(plan,
						verified && verified->means ? line_read(verified->means) : line,
						context);
	return plan;
}
