/*
 * plan_period.c
 *		The period of a plan, and the one it is compared with: those that were named,
 *		or those that the rest of the question calls for.
 *
 * What is assumed rather than said lowers the plan's confidence; where neither the
 * question nor the catalogue has a period, one is asked for.
 */
#include "postgres.h"

#include "bi/bi_int.h"

static void
assume_period(QuestionPlan *plan, const char *code, DateADT today)
{
	if (!period_from_code(code, today, &plan->period))
		return;
	plan->period.assumed = true;
	plan->period.text = pstrdup(code);
	plan->confidence = Min(plan->confidence, 0.8);
}

/* What is compared with a period of that kind, where only the latter was named. */
static const char *const current_codes[] = {[UNIT_DAY] = "today",
											[UNIT_WEEK] = "this_week",
											[UNIT_MONTH] = "this_month",
											[UNIT_QUARTER] = "this_quarter",
											[UNIT_YEAR] = "this_year"};

static void
assume_current(QuestionPlan *plan, PeriodUnit unit, DateADT today)
{
	if (unit < lengthof(current_codes) && current_codes[unit])
		assume_period(plan, current_codes[unit], today);
}

static void
ask_one_period(QuestionPlan *plan)
{
	plan_ask_back(plan, 0.4,
				  pstrdup(plan->korean
							  ? "기간을 하나만, 또는 비교할 두 기간을 말해 주세요."
							  : "Name one period, or two to compare."),
				  NIL);
}

/* One period, or two that are compared: the later one with the earlier. */
static void
settle_named_periods(Reading *reading, DateADT today)
{
	QuestionPlan *plan = reading->plan;
	List *periods = list_copy(reading->periods);
	Token *first, *second;

	if (reading->baseline)
		plan->base = reading->baseline->period;
	if (list_length(periods) + (reading->baseline != NULL) > 2 ||
		(list_length(periods) > 1 &&
		 !(reading->said[OP_COMPARE] || reading->said[OP_BASELINE])))
	{
		ask_one_period(plan);
		return;
	}
	if (periods != NIL)
	{
		first = linitial(periods);
		plan->period = first->period;
	}
	if (list_length(periods) == 2)
	{
		second = lsecond(periods);
		plan->base = second->period;
		if (plan->base.from > plan->period.from)
		{
			plan->base = plan->period;
			plan->period = second->period;
		}
	}
	if (reading->baseline && !plan->period.set)
		assume_current(plan, plan->base.unit, today);
	if (plan->base.set && !plan->period.set)
		plan_ask_period(plan);
}

/* "전주 대비": the same stretch one unit earlier; as far as the period has come. */
static void
settle_versus(Reading *reading, DateADT today)
{
	QuestionPlan *plan = reading->plan;
	PeriodSpan *period = &plan->period;
	const char *otherwise = plan->catalog->default_period;

	if (plan->base.set)
	{
		ask_one_period(plan);
		return;
	}
	if (!period->set && reading->versus != UNIT_NONE)
		assume_current(plan, reading->versus, today);
	else if (!period->set && otherwise)
		assume_period(plan, otherwise, today);
	if (!period->set)
	{
		plan_ask_period(plan);
		return;
	}
	if (period->from <= today && period->until > today + 1)
		period->until = today + 1;
	if (!period_before(period, reading->versus, &plan->base))
	{
		plan_ask_back(
			plan, 0.4,
			pstrdup(plan->korean
						? "기간이 비교 간격보다 길어 서로 겹칩니다. 기간을 줄이거나 "
						  "두 기간을 직접 말해 주세요."
						: "The period is longer than the step back, so the two "
						  "overlap. Name a shorter period, or both."),
			NIL);
		return;
	}
	plan->base.set = true;
}

/* No period said: now, the catalogue's own, or a question back. */
void
plan_settle_period(Reading *reading, DateADT today)
{
	QuestionPlan *plan = reading->plan;
	bool shaped = plan->dimensions != NIL || plan->filters != NIL || reading->bundle ||
				  reading->said[OP_TREND] || reading->grain != GRAIN_NONE ||
				  reading->said[OP_WEEKDAYS] || reading->said[OP_HOUR_OF_DAY] ||
				  list_length(plan->metrics) > 1;

	settle_named_periods(reading, today);
	if (plan->clarification == NULL && reading->versus_said)
		settle_versus(reading, today);
	if (plan->clarification || plan->period.set || plan_any_metric(plan, "last"))
		return;
	if (plan->weekdays != 0)
		plan_ask_weekday(plan);
	else if (reading->said[OP_NOW] || reading->grain == GRAIN_HOUR)
		assume_period(plan, "today", today);
	else if (reading->grain == GRAIN_WEEK)
		assume_period(plan, "last_4_weeks", today);
	else if (reading->grain == GRAIN_MONTH && !reading->bundle)
		assume_period(plan, "last_3_months", today);
	else if (reading->grain == GRAIN_QUARTER || reading->grain == GRAIN_YEAR)
		assume_period(plan, "this_year", today);
	else if (shaped && plan->catalog->default_period)
		assume_period(plan, plan->catalog->default_period, today);
	if (!plan->period.set)
		plan_ask_period(plan);
}
