/*
 * period_calendar.c
 *		Spans of days: months, weeks and the like, and what is a unit earlier.
 */
#include "postgres.h"

#include "base/clock.h"
#include "bi/period_int.h"
#include "utils/datetime.h"

/* The day, where the calendar has it. */
bool
period_date(int year, int month, int day, DateADT *date)
{
	if (year < 1900 || year > 9999 || month < 1 || month > 12 || day < 1 ||
		day > day_tab[isleap(year)][month - 1])
		return false;
	*date = date2j(year, month, day) - POSTGRES_EPOCH_JDATE;
	return true;
}

static void
date_parts(DateADT date, int *year, int *month, int *day)
{
	j2date(date + POSTGRES_EPOCH_JDATE, year, month, day);
}

int
date_year(DateADT date)
{
	int year, month, day;

	date_parts(date, &year, &month, &day);
	return year;
}

/* Monday is 1, Sunday 7. */
static int
date_weekday(DateADT date)
{
	/* j2day() counts from Sunday. */
	return (j2day(date + POSTGRES_EPOCH_JDATE) + 6) % 7 + 1;
}

DateADT
week_start(DateADT date)
{
	return date - date_weekday(date) + 1;
}

/* The first day of the month that many months away. */
DateADT
month_start(DateADT date, int months)
{
	int year, month, day;
	DateADT result = date;

	date_parts(date, &year, &month, &day);
	month += months - 1;
	year += month / 12;
	month %= 12;
	if (month < 0)
	{
		month += 12;
		year--;
	}
	(void) period_date(year, month + 1, 1, &result);
	return result;
}

/* The same day that many months away, or that month's last. */
static DateADT
add_months(DateADT date, int months)
{
	int year, month, day;
	DateADT first = month_start(date, months);
	DateADT next = month_start(date, months + 1);

	date_parts(date, &year, &month, &day);
	return Min(first + day - 1, next - 1);
}

static const int unit_months[] = {
	[UNIT_MONTH] = 1, [UNIT_QUARTER] = 3, [UNIT_HALF] = 6, [UNIT_YEAR] = 12};

/* Where the unit begins that the day is in, so many units away. */
DateADT
unit_start(DateADT date, PeriodUnit unit, int offset)
{
	int year, month, day;

	if (unit == UNIT_DAY)
		return date + offset;
	if (unit == UNIT_WEEK)
		return week_start(date) + 7 * offset;
	date_parts(date, &year, &month, &day);
	return month_start(date,
					   -((month - 1) % unit_months[unit]) + offset * unit_months[unit]);
}

bool
period_set(PeriodSpan *period, DateADT from, DateADT until, PeriodUnit unit)
{
	period->set = true;
	period->from = from;
	period->until = until;
	period->unit = unit;
	period->range = until - from > 1;
	return true;
}

bool
period_set_unit(PeriodSpan *period, DateADT day, PeriodUnit unit, int offset)
{
	return period_set(period, unit_start(day, unit, offset),
					  unit_start(day, unit, offset + 1), unit);
}

/* What is going on ends with today, but counts as a range from its first day on. */
bool
period_set_running(PeriodSpan *period, DateADT from, DateADT today, PeriodUnit unit)
{
	period_set(period, from, today + 1, unit);
	period->range = true;
	return true;
}

bool
period_set_relative(PeriodSpan *period, DateADT today, PeriodUnit unit, int offset)
{
	if (offset == 0 && unit != UNIT_DAY)
		return period_set_running(period, unit_start(today, unit, 0), today, unit);
	return period_set_unit(period, today, unit, offset);
}

bool
period_set_last(PeriodSpan *period, int count, PeriodUnit unit, DateADT today)
{
	int months = count * unit_months[unit];

	if (count < 1 || count > LAST_DAYS_MAX || months > LAST_MONTHS_MAX)
		return false;
	return period_set(period, unit_start(today, unit, -count), unit_start(today, unit, 0),
					  count == 1 ? unit : UNIT_NONE);
}

/* --- codes ---------------------------------------------------------------------- */

static const struct
{
	const char *code;
	PeriodUnit unit;
	int offset;
} period_codes[] = {
	{"today", UNIT_DAY, 0},
	{"yesterday", UNIT_DAY, -1},
	{"this_week", UNIT_WEEK, 0},
	{"last_week", UNIT_WEEK, -1},
	{"this_month", UNIT_MONTH, 0},
	{"last_month", UNIT_MONTH, -1},
	{"this_quarter", UNIT_QUARTER, 0},
	{"last_quarter", UNIT_QUARTER, -1},
	{"this_year", UNIT_YEAR, 0},
	{"last_year", UNIT_YEAR, -1},
};

static PeriodUnit
unit_from_letter(char letter)
{
	switch (letter)
	{
		case 'd':
			return UNIT_DAY;
		case 'w':
			return UNIT_WEEK;
		case 'm':
			return UNIT_MONTH;
		default:
			return UNIT_NONE;
	}
}

bool
period_from_code(const char *code, DateADT today, PeriodSpan *period)
{
	int count;
	char letter;

	for (int i = 0; i < lengthof(period_codes); i++)
		if (strcmp(period_codes[i].code, code) == 0)
			return period_set_relative(period, today, period_codes[i].unit,
									   period_codes[i].offset);
	if (sscanf(code, "last_%d_%c", &count, &letter) == 2 &&
		unit_from_letter(letter) != UNIT_NONE)
		return period_set_last(period, count, unit_from_letter(letter), today);
	return false;
}

/* --- comparing -------------------------------------------------------------------- */

/* The same stretch, one unit earlier; false where it would overlap. */
bool
period_before(const PeriodSpan *period, PeriodUnit unit, PeriodSpan *earlier)
{
	int days = period->until - period->from;
	bool whole = period->unit >= UNIT_MONTH && unit_months[period->unit] > 0 &&
				 period->from == unit_start(period->from, period->unit, 0) &&
				 period->until == unit_start(period->from, period->unit, 1);

	*earlier = *period;
	if (unit == UNIT_NONE)
	{
		unit = whole ? period->unit : UNIT_DAY;
		earlier->from -= days;
	}
	else if (unit == UNIT_DAY || unit == UNIT_WEEK)
		earlier->from -= unit == UNIT_WEEK ? 7 : 1;
	if (unit == UNIT_DAY || unit == UNIT_WEEK)
		earlier->until = earlier->from + days;
	else
	{
		earlier->from = add_months(period->from, -unit_months[unit]);
		/* A whole month stays one, whatever its length. */
		earlier->until =
			whole ? add_months(period->until, -unit_months[unit])
				  : Min(earlier->from + days,
						Max(add_months(period->until, -unit_months[unit]),
							add_months(period->until - 1, -unit_months[unit]) + 1));
	}
	earlier->assumed = false;
	earlier->text = NULL;
	return earlier->until <= period->from;
}

/* --- days ------------------------------------------------------------------------- */

char *
period_date_text(DateADT date)
{
	int year, month, day;

	date_parts(date, &year, &month, &day);
	return psprintf("%04d-%02d-%02d", year, month, day);
}

bool
period_is_month_start(DateADT date)
{
	return date == month_start(date, 0);
}

/* Months from one day to another, by their months alone. */
int
period_months_between(DateADT from, DateADT until)
{
	int year, month, day, year2, month2;

	date_parts(from, &year, &month, &day);
	date_parts(until, &year2, &month2, &day);
	return (year2 - year) * 12 + month2 - month;
}

DateADT
period_today(const char *zone)
{
	struct pg_tm tm;
	fsec_t fraction;
	int offset;

	if (timestamp2tm(clock_now(), &offset, &tm, &fraction, NULL, clock_zone(zone)) != 0)
		ereport(ERROR, (errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
						errmsg("timestamp out of range")));
	return date2j(tm.tm_year, tm.tm_mon, tm.tm_mday) - POSTGRES_EPOCH_JDATE;
}
