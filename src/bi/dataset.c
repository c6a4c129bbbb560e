/*
 * dataset.c
 *		Which dataset answers a plan: the cheapest that has all of it.
 *
 * A materialized view costs less than its facts, as long as it is filled and was
 * refreshed after the period's last day.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "base/base.h"
#include "base/clock.h"
#include "bi/bi_int.h"
#include "catalog/pg_class.h"
#include "lib/stringinfo.h"
#include "utils/datetime.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

MetricSource *
dataset_metric(Metric *metric, Dataset *dataset)
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
		if (dataset_metric(lfirst(cell), dataset) == NULL)
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

/* Sets plan->dataset, with a warning where days may be missing; false: asks back. */
bool
dataset_choose(QuestionPlan *plan)
{
	plan->dataset = cheapest_dataset(plan, COVERS_ALL);
	if (plan->dataset)
		return true;
	plan->dataset = cheapest_dataset(plan, COVERS_LATEST);
	if (plan->dataset == NULL)
		plan->dataset = cheapest_dataset(plan, COVERS_SOME);
	if (plan->dataset == NULL)
	{
		ask_for_other_shape(plan);
		return false;
	}
	plan->warnings =
		lappend(plan->warnings,
				psprintf(plan->korean
							 ? "데이터셋 \"%s\"에 이 기간의 일부가 없을 수 있습니다."
							 : "Dataset \"%s\" may lack a part of this period.",
						 plan->dataset->name));
	return true;
}
