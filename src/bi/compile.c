/*
 * compile.c
 *		From a plan to SQL: a statement in which nothing but literals comes from
 *		the question.
 */
#include "postgres.h"

#include "bi/bi_int.h"
#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"

static const char *const grain_names[] = {"none",  "hour",    "day", "week",
										  "month", "quarter", "year"};

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

/* What a series' column is called. */
const char *
grain_column(Grain grain)
{
	return grain == GRAIN_DAY ? "date" : grain_names[grain];
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

static const char *
dataset_zone(QuestionPlan *plan)
{
	return plan->dataset->zone ? plan->dataset->zone : catalog_zone(plan->catalog);
}

/* The time column as the plant's clock shows it. */
static char *
local_time(QuestionPlan *plan)
{
	Dataset *dataset = plan->dataset;

	if (dataset->time_type == TIMESTAMPTZOID)
		return psprintf("%s AT TIME ZONE %s", dataset->time_column,
						quote_text(dataset_zone(plan)));
	return dataset->time_column;
}

static char *
local_day(QuestionPlan *plan)
{
	return plan->dataset->time_type == DATEOID ? plan->dataset->time_column
											   : psprintf("(%s)::date", local_time(plan));
}

/* The time column cut to the grain, or what recurs of it. */
static char *
time_expression(QuestionPlan *plan)
{
	char *local = local_time(plan);

	if (plan->part == PART_WEEKDAY)
		return psprintf("extract(isodow FROM %s)::int", local_day(plan));
	if (plan->part == PART_HOUR)
		return psprintf("extract(hour FROM %s)::int", local);
	if (plan->grain == GRAIN_HOUR)
		return psprintf("date_trunc('hour', %s)", local);
	if (plan->grain == GRAIN_DAY)
		return local_day(plan);
	return psprintf("date_trunc('%s', %s)::date", grain_name(plan->grain), local);
}

const char *
plan_time_name(QuestionPlan *plan)
{
	if (plan->part == PART_WEEKDAY)
		return "weekday";
	return plan->part == PART_HOUR ? "hour_of_day" : grain_column(plan->grain);
}

bool
plan_has_time(QuestionPlan *plan)
{
	return plan->grain != GRAIN_NONE || plan->part != PART_NONE;
}

/* A joined dimension is a column of its join's own name; nothing else has it. */
static const char *
dimension_column(Dimension *dimension)
{
	return dimension->join ? quote_identifier(psprintf("joined_%s", dimension->name))
						   : dimension->sql;
}

static char *
filter_condition(const char *column, PlanFilter *filter)
{
	StringInfoData values;
	ListCell *cell;

	if (list_length(filter->values) == 1)
		return psprintf("%s %s %s", column, filter->excluded ? "IS DISTINCT FROM" : "=",
						quote_text(linitial(filter->values)));
	initStringInfo(&values);
	foreach (cell, filter->values)
		appendStringInfo(&values, "%s%s", values.len ? ", " : "",
						 quote_text(lfirst(cell)));
	if (filter->excluded)
		return psprintf("(%s IN (%s)) IS NOT TRUE", column, values.data);
	return psprintf("%s IN (%s)", column, values.data);
}

static char *
weekday_condition(QuestionPlan *plan)
{
	StringInfoData days;

	initStringInfo(&days);
	for (int day = 1; day <= 7; day++)
		if (plan->weekdays & 1 << day)
			appendStringInfo(&days, "%s%d", days.len ? ", " : "", day);
	return psprintf("extract(isodow FROM %s) IN (%s)", local_day(plan), days.data);
}

static List *
plan_conditions(QuestionPlan *plan, const PeriodSpan *period)
{
	Dataset *dataset = plan->dataset;
	const char *zone = dataset_zone(plan);
	List *conditions = NIL;
	ListCell *cell;

	if (dataset->has_tenant)
		conditions = lappend(conditions, pstrdup("tenant_id = factory.current_tenant()"));
	if (period->set && dataset->time_column)
	{
		conditions =
			lappend(conditions, psprintf("%s >= %s", dataset->time_column,
										 day_literal(dataset, period->from, zone)));
		conditions =
			lappend(conditions, psprintf("%s < %s", dataset->time_column,
										 day_literal(dataset, period->until, zone)));
	}
	if (plan->weekdays != 0)
		conditions = lappend(conditions, weekday_condition(plan));
	foreach (cell, plan->filters)
	{
		PlanFilter *filter = lfirst(cell);

		if (filter != plan->share_of)
			conditions =
				lappend(conditions,
						filter_condition(dimension_column(filter->dimension), filter));
	}
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

/* --- joins -------------------------------------------------------------------- */

static List *
plan_joins(QuestionPlan *plan)
{
	List *joins = NIL;
	ListCell *cell;

	foreach (cell, plan->dimensions)
		if (((Dimension *) lfirst(cell))->join)
			joins = list_append_unique_ptr(joins, ((Dimension *) lfirst(cell))->join);
	foreach (cell, plan->filters)
	{
		CatalogJoin *join = ((PlanFilter *) lfirst(cell))->dimension->join;

		if (join)
			joins = list_append_unique_ptr(joins, join);
	}
	return joins;
}

static bool
plan_uses_dimension(QuestionPlan *plan, Dimension *dimension)
{
	ListCell *cell;

	foreach (cell, plan->filters)
		if (((PlanFilter *) lfirst(cell))->dimension == dimension)
			return true;
	return list_member_ptr(plan->dimensions, dimension);
}

/*
 * A LEFT JOIN: no row is lost for want of a partner, it is counted under no name.
 * The joined side shows columns that nobody else has, so that an expression of the
 * dataset's keeps its meaning.
 */
static void
append_join(StringInfo sql, QuestionPlan *plan, CatalogJoin *join)
{
	ListCell *cell;

	appendStringInfo(sql, "\nLEFT JOIN (SELECT %s AS %s", join->key,
					 quote_identifier(psprintf("joined_key_%s", join->name)));
	foreach (cell, plan->catalog->dimensions)
	{
		Dimension *dimension = lfirst(cell);

		if (dimension->join == join && plan_uses_dimension(plan, dimension))
			appendStringInfo(sql, ", %s AS %s", dimension->sql,
							 dimension_column(dimension));
	}
	appendStringInfo(sql, " FROM %s", join->relation);
	if (join->has_tenant)
		appendStringInfoString(sql, " WHERE tenant_id = factory.current_tenant()");
	appendStringInfo(sql, ") AS %s ON %s = %s",
					 quote_identifier(psprintf("joined_%s", join->name)),
					 quote_identifier(psprintf("joined_key_%s", join->name)), join->on);
}

static void
append_from(StringInfo sql, QuestionPlan *plan)
{
	ListCell *cell;

	appendStringInfo(sql, "\nFROM %s", plan->dataset->relation);
	foreach (cell, plan_joins(plan))
		append_join(sql, plan, lfirst(cell));
}

/* Counts keys that would double rows, and rows without a partner, of each join. */
static void
plan_compile_join_check(QuestionPlan *plan)
{
	StringInfoData sql;
	List *joins = plan_joins(plan);
	ListCell *cell;

	if (joins == NIL)
		return;
	initStringInfo(&sql);
	foreach (cell, joins)
	{
		CatalogJoin *join = lfirst(cell);

		appendStringInfo(
			&sql,
			"%s\nSELECT %s, (SELECT count(*) FROM (SELECT 1 FROM %s%s GROUP BY %s HAVING "
			"count(*) > 1) AS doubled), count(*) FILTER (WHERE %s IS NULL)",
			cell == list_head(joins) ? "" : "\nUNION ALL", quote_text(join->name),
			join->relation,
			join->has_tenant ? " WHERE tenant_id = factory.current_tenant()" : "",
			join->key, quote_identifier(psprintf("joined_key_%s", join->name)));
		append_from(&sql, plan);
		append_where(&sql, plan_conditions(plan, &plan->period));
	}
	plan->join_check = sql.data;
}

/* --- parts of a statement ------------------------------------------------------- */

/* A stock is of one moment: the last one there is, in each stretch of the grain. */
static List *
latest_condition(QuestionPlan *plan, List *conditions)
{
	StringInfoData inner;
	bool last = false;
	ListCell *cell;

	foreach (cell, plan->metrics)
		last |= strcmp(((Metric *) lfirst(cell))->additivity, "last") == 0;
	if (!last || plan->dataset->time_column == NULL ||
		(plan->grain != GRAIN_NONE && plan->grain <= plan->dataset->grain))
		return conditions;
	initStringInfo(&inner);
	appendStringInfo(&inner, "%s IN (SELECT max(%s)", plan->dataset->time_column,
					 plan->dataset->time_column);
	append_from(&inner, plan);
	append_where(&inner, conditions);
	if (plan->grain != GRAIN_NONE)
		appendStringInfo(&inner, "\nGROUP BY %s", time_expression(plan));
	appendStringInfoChar(&inner, ')');
	return lappend(list_copy(conditions), inner.data);
}

static char *
metric_expression(QuestionPlan *plan, Metric *metric)
{
	char *sql = dataset_metric(metric, plan->dataset)->sql;

	if (!plan->average_daily || strcmp(metric->additivity, "sum") != 0)
		return sql;
	/* The mean over the days that have data. */
	return psprintf("round((%s)::numeric / nullif(count(DISTINCT %s), 0), 2)", sql,
					local_day(plan));
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
					 ? psprintf("PARTITION BY %s", time_expression(plan))
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
		char *time = time_expression(plan);

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
	append_from(sql, plan);
	append_where(sql, latest_condition(plan, plan_conditions(plan, period)));
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

/* The first so many of each: as many more as share the last place. */
static char *
ranked_statement(QuestionPlan *plan, char *inner)
{
	StringInfoData sql, within;
	List *columns = group_names(plan);
	ListCell *cell;

	initStringInfo(&within);
	if (plan->rank_in_time)
		appendStringInfoString(&within, quote_identifier(plan_time_name(plan)));
	foreach (cell, plan->rank_within)
		appendStringInfo(&within, "%s%s", within.len ? ", " : "",
						 quote_identifier(((Dimension *) lfirst(cell))->name));
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
	initStringInfo(&sql);
	appendStringInfo(&sql,
					 "SELECT %s\nFROM (SELECT *, rank() OVER (%s%s%sORDER BY %s %s NULLS "
					 "LAST) AS place\nFROM (%s) AS groups) AS ranked\nWHERE place <= %d",
					 joined_names(columns), within.len ? "PARTITION BY " : "",
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
