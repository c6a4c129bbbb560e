/*
 * compile.c
 *		From a plan to SQL: a statement in which nothing but literals comes from
 *		the question.
 *
 * Here are its columns, groups, order and places, and how two periods are laid side by
 * side; the rows it reads are the matter of compile_rows.c.
 */
#include "postgres.h"

#include "bi/bi_int.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"

/* --- parts of a statement ------------------------------------------------------- */

static char *
metric_expression(QuestionPlan *plan, Metric *metric)
{
	char *sql = dataset_metric(metric, plan->dataset)->sql;

	if (!plan->average_daily || strcmp(metric->additivity, "sum") != 0)
		return sql;
	/* The mean over the days that have data. */
	return psprintf("round((%s)::numeric / nullif(count(DISTINCT %s), 0), 2)", sql,
					plan_local_day(plan));
}

static bool
metric_has_share(QuestionPlan *plan, Metric *metric)
{
	return plan->share && strcmp(metric->additivity, "ratio") != 0 &&
		   strcmp(metric->additivity, "none") != 0;
}

static void
append_column(StringInfo sql, const char *expression, const char *name)
{
	const char *quoted = quote_identifier(name);

	appendStringInfoString(sql, expression);
	if (strcmp(expression, quoted) != 0)
		appendStringInfo(sql, " AS %s", quoted);
}

/* The names of the columns that are grouped by, quoted. */
static List *
group_names(QuestionPlan *plan)
{
	List *names = NIL;
	ListCell *cell;

	if (plan_has_time(plan))
		names = lappend(names, pstrdup(quote_identifier(plan_time_name(plan))));
	foreach (cell, plan->dimensions)
		names =
			lappend(names, pstrdup(quote_identifier(((Dimension *) lfirst(cell))->name)));
	return names;
}

static char *
joined_names(List *names)
{
	StringInfoData text;
	ListCell *cell;

	initStringInfo(&text);
	foreach (cell, names)
		appendStringInfo(&text, "%s%s", text.len ? ", " : "", (char *) lfirst(cell));
	return text.data;
}

/* Its part of the whole; of each stretch of time where there are several. */
static void
append_share(StringInfo sql, QuestionPlan *plan, Metric *metric, char *expression)
{
	char *part = plan_has_time(plan) && plan->dimensions != NIL
					 ? psprintf("PARTITION BY %s", plan_time_expression(plan))
					 : pstrdup("");

	appendStringInfo(
		sql,
		",\n       round((%s)::numeric / nullif(sum((%s)::numeric) OVER (%s), 0), "
		"6) AS %s",
		expression, expression, part,
		quote_identifier(psprintf("%s_share", metric->name)));
}

static void
append_columns(StringInfo sql, QuestionPlan *plan, const char *shifted)
{
	bool first = true;
	ListCell *cell;

	if (plan_has_time(plan))
	{
		char *time = plan_time_expression(plan);

		append_column(sql, shifted ? psprintf(shifted, time) : time,
					  plan_time_name(plan));
		first = false;
	}
	foreach (cell, plan->dimensions)
	{
		Dimension *dimension = lfirst(cell);

		appendStringInfoString(sql, first ? "" : ", ");
		append_column(sql, dimension_column(dimension), dimension->name);
		first = false;
	}
	foreach (cell, plan->metrics)
	{
		Metric *metric = lfirst(cell);
		char *expression = metric_expression(plan, metric);

		appendStringInfo(sql, "%s\n       %s AS %s", first ? "" : ",", expression,
						 quote_identifier(metric->name));
		if (metric_has_share(plan, metric))
			append_share(sql, plan, metric, expression);
		first = false;
	}
}

static void
append_having(StringInfo sql, QuestionPlan *plan)
{
	ListCell *cell;

	foreach (cell, plan->conditions)
	{
		PlanCondition *condition = lfirst(cell);

		appendStringInfo(sql, "%s%s %s %s",
						 cell == list_head(plan->conditions) ? "\nHAVING " : "\n   AND ",
						 metric_expression(plan, condition->metric), condition->operator,
						 condition->number);
	}
}

/* One period's groups. */
static void
append_body(StringInfo sql, QuestionPlan *plan, const PeriodSpan *period,
			const char *shifted, bool having)
{
	int grouped = list_length(group_names(plan));

	appendStringInfoString(sql, "SELECT ");
	append_columns(sql, plan, shifted);
	plan_append_rows(sql, plan, period);
	for (int i = 1; i <= grouped; i++)
		appendStringInfo(sql, "%s%d", i == 1 ? "\nGROUP BY " : ", ", i);
	if (grouped == 0)
		appendStringInfoString(sql, "\nHAVING count(*) > 0");
	else if (having)
		append_having(sql, plan);
}

/* --- two periods ----------------------------------------------------------------- */

/*
 * The earlier period's time as the later one's, so that both meet: a pattern with
 * one place for the expression, or NULL where they do not match.
 */
static char *
shift_pattern(QuestionPlan *plan)
{
	int days = plan->period.from - plan->base.from;
	int months = period_months_between(plan->base.from, plan->period.from);
	bool whole = period_is_month_start(plan->period.from) &&
				 period_is_month_start(plan->base.from);

	switch (plan->grain)
	{
		case GRAIN_NONE:
			return pstrdup("%s");
		case GRAIN_HOUR:
			return psprintf("%%s + interval '%d days'", days);
		case GRAIN_DAY:
			return psprintf("%%s + %d", days);
		case GRAIN_WEEK:
			return days % 7 == 0 ? psprintf("%%s + %d", days) : NULL;
		case GRAIN_MONTH:
			return whole ? psprintf("(%%s + interval '%d months')::date", months) : NULL;
		case GRAIN_QUARTER:
			return whole && months % 3 == 0
					   ? psprintf("(%%s + interval '%d months')::date", months)
					   : NULL;
		default:
			return whole && months % 12 == 0
					   ? psprintf("(%%s + interval '%d months')::date", months)
					   : NULL;
	}
}

static void
append_compared_columns(StringInfo sql, QuestionPlan *plan)
{
	char *groups = joined_names(group_names(plan));
	ListCell *cell;

	appendStringInfo(sql, "SELECT %s", groups);
	foreach (cell, plan->metrics)
	{
		const char *name = ((Metric *) lfirst(cell))->name;
		const char *column = quote_identifier(name);

		appendStringInfo(
			sql,
			"%s\n       later.%s, earlier.%s AS %s, later.%s - earlier.%s AS %s,"
			"\n       round((later.%s - earlier.%s)::numeric / nullif(abs(earlier.%s), "
			"0)::numeric, 6) AS %s",
			cell == list_head(plan->metrics) && groups[0] == '\0' ? "" : ",", column,
			column, quote_identifier(psprintf("%s_previous", name)), column, column,
			quote_identifier(psprintf("%s_change", name)), column, column, column,
			quote_identifier(psprintf("%s_change_rate", name)));
	}
}

/* False where the two periods' series cannot be laid side by side. */
static bool
append_comparison(StringInfo sql, QuestionPlan *plan)
{
	char *shifted = shift_pattern(plan);
	List *names = group_names(plan);
	ListCell *cell;

	if (shifted == NULL)
		return false;
	append_compared_columns(sql, plan);
	appendStringInfoString(sql, "\nFROM (");
	append_body(sql, plan, &plan->period, NULL, false);
	appendStringInfoString(sql, ") AS later\nFULL JOIN (");
	append_body(sql, plan, &plan->base, shifted, false);
	appendStringInfoString(sql, ") AS earlier ");
	if (names == NIL)
		appendStringInfoString(sql, "ON true");
	else
		appendStringInfo(sql, "USING (%s)", joined_names(names));
	foreach (cell, plan->conditions)
	{
		PlanCondition *condition = lfirst(cell);

		appendStringInfo(sql, "%slater.%s %s %s",
						 cell == list_head(plan->conditions) ? "\nWHERE " : "\n  AND ",
						 quote_identifier(condition->metric->name), condition->operator,
						 condition->number);
	}
	return true;
}

/* --- order and places -------------------------------------------------------------- */

/* A metric's column by its place, which no name of a table's can shadow. */
static int
metric_position(QuestionPlan *plan, Metric *wanted)
{
	int position = list_length(group_names(plan)) + 1;
	ListCell *cell;

	foreach (cell, plan->metrics)
	{
		if (lfirst(cell) == wanted)
			break;
		position += plan->base.set ? 4 : metric_has_share(plan, lfirst(cell)) ? 2 : 1;
	}
	return position;
}

static void
append_order(StringInfo sql, QuestionPlan *plan)
{
	int grouped = list_length(group_names(plan));
	Metric *metric = plan->order_by ? plan->order_by : linitial(plan->metrics);

	if (grouped == 0)
		return;
	if (plan_has_time(plan) && plan->order_by == NULL)
	{
		for (int i = 1; i <= grouped; i++)
			appendStringInfo(sql, "%s%d", i == 1 ? "\nORDER BY " : ", ", i);
		return;
	}
	appendStringInfoString(sql, "\nORDER BY ");
	if (plan->rank_in_time)
		appendStringInfoString(sql, "1, ");
	for (int i = 0; i < list_length(plan->dimensions); i++)
		if (list_member_ptr(plan->rank_within, list_nth(plan->dimensions, i)))
			appendStringInfo(sql, "%d, ", i + 1 + plan_has_time(plan));
	appendStringInfo(sql, "%d %s NULLS LAST", metric_position(plan, metric),
					 plan->ascending ? "ASC" : "DESC");
	for (int i = 1; i <= grouped; i++)
		appendStringInfo(sql, ", %d", i);
}

/* The names of the columns that the statement has so far, quoted. */
static List *
column_names(QuestionPlan *plan)
{
	List *columns = group_names(plan);
	ListCell *cell;

	foreach (cell, plan->metrics)
	{
		Metric *metric = lfirst(cell);

		columns = lappend(columns, pstrdup(quote_identifier(metric->name)));
		if (plan->base.set)
		{
			static const char *const suffixes[] = {"previous", "change", "change_rate"};

			for (int i = 0; i < lengthof(suffixes); i++)
				columns =
					lappend(columns, pstrdup(quote_identifier(
										 psprintf("%s_%s", metric->name, suffixes[i]))));
		}
		else if (metric_has_share(plan, metric))
			columns =
				lappend(columns,
						pstrdup(quote_identifier(psprintf("%s_share", metric->name))));
	}
	return columns;
}

/* The first so many of each: as many more as share the last place. */
static char *
ranked_statement(QuestionPlan *plan, char *inner)
{
	StringInfoData sql, within;
	ListCell *cell;

	initStringInfo(&within);
	if (plan->rank_in_time)
		appendStringInfoString(&within, quote_identifier(plan_time_name(plan)));
	foreach (cell, plan->rank_within)
		appendStringInfo(&within, "%s%s", within.len ? ", " : "",
						 quote_identifier(((Dimension *) lfirst(cell))->name));
	initStringInfo(&sql);
	appendStringInfo(&sql,
					 "SELECT %s\nFROM (SELECT *, rank() OVER (%s%s%sORDER BY %s %s NULLS "
					 "LAST) AS place\nFROM (%s) AS groups) AS ranked\nWHERE place <= %d",
					 joined_names(column_names(plan)), within.len ? "PARTITION BY " : "",
					 within.len ? within.data : "", within.len ? " " : "",
					 quote_identifier(plan->order_by->name),
					 plan->ascending ? "ASC" : "DESC", inner, plan->limit);
	return sql.data;
}

/* Conditions that must not change the whole of which a share is part. */
static char *
filtered_statement(QuestionPlan *plan, char *inner)
{
	StringInfoData sql;
	bool first = true;
	ListCell *cell;

	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT *\nFROM (%s) AS groups", inner);
	if (plan->share_of)
	{
		appendStringInfo(&sql, "\nWHERE %s",
						 filter_condition(quote_identifier(
											  plan->share_of->dimension->name),
										  plan->share_of));
		first = false;
	}
	foreach (cell, plan->conditions)
	{
		PlanCondition *condition = lfirst(cell);

		appendStringInfo(&sql, "%s%s %s %s", first ? "\nWHERE " : "\n  AND ",
						 quote_identifier(condition->metric->name), condition->operator,
						 condition->number);
		first = false;
	}
	return sql.data;
}

void
plan_compile(QuestionPlan *plan)
{
	StringInfoData sql;
	bool shared = plan->share_of || (plan->share && plan->conditions != NIL);

	if (!dataset_choose(plan))
		return;
	initStringInfo(&sql);
	if (!plan->base.set)
		append_body(&sql, plan, &plan->period, NULL, !shared);
	else if (!append_comparison(&sql, plan))
	{
		plan_ask_back(plan, 0.4,
					  pstrdup(plan->korean
								  ? "두 기간을 이 단위로 나란히 놓을 수 없습니다."
								  : "The two periods cannot be laid side by side in "
									"these units."),
					  NIL);
		return;
	}
	if (shared)
		sql.data = filtered_statement(plan, sql.data);
	if (plan->limit > 0 && plan->order_by)
		sql.data = ranked_statement(plan, sql.data);
	sql.len = sql.maxlen = strlen(sql.data);
	sql.maxlen++;
	append_order(&sql, plan);
	appendStringInfo(&sql, "\nLIMIT %d", Min(plan->catalog->max_rows, bi_max_rows));
	plan->sql = sql.data;
	plan_compile_join_check(plan);
}
