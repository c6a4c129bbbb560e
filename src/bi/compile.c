/*
 * compile.c
 *		From a plan to SQL: the cheapest dataset that has all of it, and a
 *		statement in which nothing but literals comes from the question.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "base/base.h"
#include "base/clock.h"
#include "bi/bi_int.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

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

static bool
dataset_covers_period(Dataset *dataset, const PeriodSpan *period, DateADT today)
{
	if (dataset->keeps_days > 0 && period->from < today - dataset->keeps_days)
		return false;
	return dataset->lag_days == 0 || period->until <= today + 1 - dataset->lag_days;
}

/*
 * A view that was filled before the period was over lacks its end.  Where nobody
 * recorded the refresh, "lag_days" is all that is known.
 */
static bool
dataset_was_filled_after(Dataset *dataset, QuestionPlan *plan, DateADT today)
{
	Freshness freshness;
	DateADT filled;
	struct pg_tm tm;
	fsec_t fraction;
	int offset;

	if (get_rel_relkind(dataset->relid) != RELKIND_MATVIEW)
		return true;
	freshness_read(dataset, &freshness);
	if (freshness.refreshed_at == 0 ||
		timestamp2tm(freshness.refreshed_at, &offset, &tm, &fraction, NULL,
					 clock_zone(catalog_zone(plan->catalog))) != 0)
		return true;
	filled = date2j(tm.tm_year, tm.tm_mon, tm.tm_mday) - POSTGRES_EPOCH_JDATE;
	return filled >= Min(plan->period.until, today);
}

/* Are all days of the periods in it? */
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
	return dataset_covers_period(dataset, &plan->period, today) &&
		   (!plan->base.set || dataset_covers_period(dataset, &plan->base, today)) &&
		   dataset_was_filled_after(dataset, plan, today);
}

/* Weeks and months cannot tell a day, except where whole ones are asked for. */
static bool
grain_divides(Grain grain, const PeriodSpan *period)
{
	if (grain <= GRAIN_DAY || !period->set)
		return true;
	if (grain == GRAIN_WEEK)
		return period->unit == UNIT_WEEK && period->until - period->from == 7;
	return grain == GRAIN_MONTH && period_is_month_start(period->from) &&
		   period_is_month_start(period->until);
}

static bool
dataset_has_time(Dataset *dataset, QuestionPlan *plan)
{
	Grain finest = plan->part == PART_HOUR ? GRAIN_HOUR : GRAIN_DAY;

	if (plan->grain != GRAIN_NONE &&
		(dataset->time_column == NULL || dataset->grain == GRAIN_NONE ||
		 dataset->grain > plan->grain ||
		 (dataset->grain == GRAIN_WEEK && plan->grain > GRAIN_WEEK)))
		return false;
	if ((plan->part != PART_NONE || plan->weekdays != 0 || plan->average_daily) &&
		(dataset->time_column == NULL || dataset->grain == GRAIN_NONE ||
		 dataset->grain > finest))
		return false;
	return grain_divides(dataset->grain, &plan->period) &&
		   grain_divides(dataset->grain, &plan->base);
}

static bool
dataset_answers(Dataset *dataset, QuestionPlan *plan)
{
	ListCell *cell;

	if (!dataset_has_time(dataset, plan))
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

/* How much of the period a dataset must have. */
typedef enum Coverage
{
	COVERS_ALL,
	COVERS_LATEST, /* no part of the latest days is missing by design */
	COVERS_SOME
} Coverage;

/* The cheapest dataset with everything that is asked for. */
static Dataset *
cheapest_dataset(QuestionPlan *plan, Coverage coverage)
{
	Dataset *best = NULL;
	ListCell *cell;

	foreach (cell, plan->catalog->datasets)
	{
		Dataset *dataset = lfirst(cell);

		if ((best && dataset->cost >= best->cost) || !dataset_answers(dataset, plan) ||
			!relation_is_filled(dataset->relid))
			continue;
		if ((coverage == COVERS_ALL && !dataset_covers(dataset, plan)) ||
			(coverage == COVERS_LATEST && dataset->lag_days > 0))
			continue;
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

static const char *
time_name(QuestionPlan *plan)
{
	if (plan->part == PART_WEEKDAY)
		return "weekday";
	return plan->part == PART_HOUR ? "hour_of_day" : grain_column(plan->grain);
}

static bool
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
	char *sql = metric_source(metric, plan->dataset)->sql;

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
		names = lappend(names, pstrdup(quote_identifier(time_name(plan))));
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

		append_column(sql, shifted ? psprintf(shifted, time) : time, time_name(plan));
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
		appendStringInfoString(&within, quote_identifier(time_name(plan)));
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

static bool
choose_dataset(QuestionPlan *plan)
{
	plan->dataset = cheapest_dataset(plan, COVERS_ALL);
	if (plan->dataset)
		return true;
	plan->dataset = cheapest_dataset(plan, COVERS_LATEST);
	if (plan->dataset == NULL)
		plan->dataset = cheapest_dataset(plan, COVERS_SOME);
	if (plan->dataset == NULL)
		return false;
	plan->warnings =
		lappend(plan->warnings,
				psprintf(plan->korean
							 ? "데이터셋 \"%s\"에 이 기간의 일부가 없을 수 있습니다."
							 : "Dataset \"%s\" may lack a part of this period.",
						 plan->dataset->name));
	return true;
}

void
plan_compile(QuestionPlan *plan)
{
	StringInfoData sql;
	bool shared = plan->share_of || (plan->share && plan->conditions != NIL);

	if (!choose_dataset(plan))
	{
		ask_for_other_shape(plan);
		return;
	}
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

/* --- plan as a document ------------------------------------------------------- */

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
		doc_put_string(&b, NULL, time_name(plan));
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
