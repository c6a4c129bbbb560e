/*
 * compile_rows.c
 *		Which rows a statement reads: of a period, by the plan's filters, with what
 *		joins say about them.
 *
 * Days are the plant's.  A period's ends are compared with the time column as it is,
 * so that an index on it serves.
 */
#include "postgres.h"

#include "bi/bi_int.h"
#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"

/* --- time ----------------------------------------------------------------------- */

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

char *
plan_local_day(QuestionPlan *plan)
{
	return plan->dataset->time_type == DATEOID ? plan->dataset->time_column
											   : psprintf("(%s)::date", local_time(plan));
}

/* The time column cut to the grain, or what recurs of it. */
char *
plan_time_expression(QuestionPlan *plan)
{
	char *local = local_time(plan);

	if (plan->part == PART_WEEKDAY)
		return psprintf("extract(isodow FROM %s)::int", plan_local_day(plan));
	if (plan->part == PART_HOUR)
		return psprintf("extract(hour FROM %s)::int", local);
	if (plan->grain == GRAIN_HOUR)
		return psprintf("date_trunc('hour', %s)", local);
	if (plan->grain == GRAIN_DAY)
		return plan_local_day(plan);
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

/* --- conditions ----------------------------------------------------------------- */

/* A joined dimension is a column of its join's own name; nothing else has it. */
const char *
dimension_column(Dimension *dimension)
{
	return dimension->join ? quote_identifier(psprintf("joined_%s", dimension->name))
						   : dimension->sql;
}

char *
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
	return psprintf("extract(isodow FROM %s) IN (%s)", plan_local_day(plan), days.data);
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

/* --- joins ---------------------------------------------------------------------- */

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

/* --- the rows ------------------------------------------------------------------- */

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
		appendStringInfo(&inner, "\nGROUP BY %s", plan_time_expression(plan));
	appendStringInfoChar(&inner, ')');
	return lappend(list_copy(conditions), inner.data);
}

void
plan_append_rows(StringInfo sql, QuestionPlan *plan, const PeriodSpan *period)
{
	append_from(sql, plan);
	append_where(sql, latest_condition(plan, plan_conditions(plan, period)));
}

/* Counts keys that would double rows, and rows without a partner, of each join. */
void
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
