/*
 * period.c
 *		Phrases of time, resolved to days: half-open, in the plant's zone.
 *
 * "The last N days" are the N whole days before today; "last week" is the
 * previous Monday to Sunday.  "This week" and its like end with today.
 */
#include "postgres.h"

#include "base/clock.h"
#include "bi/bi_int.h"
#include "utils/datetime.h"

/* A place in a line that moves on as phrases are found. */
typedef struct Scan
{
	const Line *line;
	int at;
} Scan;

/* None of the phrases here has a separator inside. */
#define SCAN_LONGEST_WORD 32

static bool
scan_word(Scan *scan, const char *text)
{
	static bool no_gaps[SCAN_LONGEST_WORD];
	Word word = {.key = unconstify(char *, text), .gap = no_gaps, .length = strlen(text)};
	int length = word_match(scan->line, scan->at, &word);

	Assert(word.length < SCAN_LONGEST_WORD);
	scan->at += length;
	return length > 0;
}

static bool
scan_any(Scan *scan, const char *const *texts, int count)
{
	for (int i = 0; i < count; i++)
		if (scan_word(scan, texts[i]))
			return true;
	return false;
}

/* Digits without a break; -1 where there are none or too many. */
static int
scan_number(Scan *scan, int *digits)
{
	int number = 0;
	int start = scan->at;

	while (scan->at < scan->line->length && scan->line->text[scan->at] >= '0' &&
		   scan->line->text[scan->at] <= '9' &&
		   (scan->at == start || scan->line->gap[scan->at] == GAP_NONE))
	{
		if (scan->at - start >= 8)
			return -1;
		number = number * 10 + (scan->line->text[scan->at++] - '0');
	}
	*digits = scan->at - start;
	return *digits > 0 ? number : -1;
}

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

static DateADT
week_start(DateADT date)
{
	/* j2day() counts from Sunday. */
	return date - (j2day(date + POSTGRES_EPOCH_JDATE) + 6) % 7;
}

/* The first day of the month that many months away. */
static DateADT
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

static DateADT
quarter_start(DateADT date, int quarters)
{
	int year, month, day;

	date_parts(date, &year, &month, &day);
	return month_start(date, -((month - 1) % 3) + quarters * 3);
}

static DateADT
year_start(DateADT date, int years)
{
	int year, month, day;

	date_parts(date, &year, &month, &day);
	return month_start(date, -(month - 1) + years * 12);
}

static bool
period_set(PeriodSpan *period, DateADT from, DateADT until)
{
	period->set = true;
	period->from = from;
	period->until = until;
	period->range = until - from > 1;
	return true;
}

/* What is going on ends with today, but counts as a range from its first day on. */
static bool
period_running(PeriodSpan *period, DateADT from, DateADT today)
{
	period_set(period, from, today + 1);
	period->range = true;
	return true;
}

static bool
period_last(PeriodSpan *period, int count, char unit, DateADT today)
{
	if (count < 1 || count > 3660)
		return false;
	switch (unit)
	{
		case 'd':
			return period_set(period, today - count, today);
		case 'w':
			return period_set(period, week_start(today) - 7 * count, week_start(today));
		case 'm':
			return count <= 120 &&
				   period_set(period, month_start(today, -count), month_start(today, 0));
		default:
			return false;
	}
}

bool
period_from_code(const char *code, DateADT today, PeriodSpan *period)
{
	DateADT week = week_start(today);
	int count;
	char unit;

	if (strcmp(code, "today") == 0)
		return period_set(period, today, today + 1);
	if (strcmp(code, "yesterday") == 0)
		return period_set(period, today - 1, today);
	if (strcmp(code, "day_before_yesterday") == 0)
		return period_set(period, today - 2, today - 1);
	if (strcmp(code, "this_week") == 0)
		return period_running(period, week, today);
	if (strcmp(code, "last_week") == 0)
		return period_set(period, week - 7, week);
	if (strcmp(code, "week_before_last") == 0)
		return period_set(period, week - 14, week - 7);
	if (strcmp(code, "this_month") == 0)
		return period_running(period, month_start(today, 0), today);
	if (strcmp(code, "last_month") == 0)
		return period_set(period, month_start(today, -1), month_start(today, 0));
	if (strcmp(code, "this_quarter") == 0)
		return period_running(period, quarter_start(today, 0), today);
	if (strcmp(code, "last_quarter") == 0)
		return period_set(period, quarter_start(today, -1), quarter_start(today, 0));
	if (strcmp(code, "this_year") == 0)
		return period_running(period, year_start(today, 0), today);
	if (strcmp(code, "last_year") == 0)
		return period_set(period, year_start(today, -1), year_start(today, 0));
	if (sscanf(code, "last_%d_%c", &count, &unit) == 2)
		return period_last(period, count, unit, today);
	return false;
}

/* --- phrases with numbers -------------------------------------------------- */

/* "지난 7일간", "최근 4주", "last 7 days", "7일간". */
static bool
scan_last(Scan *scan, DateADT today, PeriodSpan *period)
{
	static const char *const heads[] = {"지난", "최근", "과거",     "이전",
										"last", "past", "previous", "recent"};
	static const struct
	{
		const char *text;
		char unit;
	} units[] = {{"일", 'd'}, {"days", 'd'},   {"day", 'd'},  {"주일", 'w'},
				 {"주", 'w'}, {"weeks", 'w'},  {"week", 'w'}, {"개월", 'm'},
				 {"달", 'm'}, {"months", 'm'}, {"month", 'm'}};
	static const char *const tails[] = {"간", "동안", "치"};
	bool headed = scan_any(scan, heads, lengthof(heads));
	int digits;
	int count = scan_number(scan, &digits);
	char unit = 0;

	if (count < 0 || digits > 4)
		return false;
	for (int i = 0; i < lengthof(units) && unit == 0; i++)
		if (scan_word(scan, units[i].text))
			unit = units[i].unit;
	if (unit == 0)
		return false;
	if (!scan_any(scan, tails, lengthof(tails)) && !headed)
		return false;
	if (!headed && unit != 'd' && !scan->line->korean)
		return false;
	return period_last(period, count, unit, today);
}

/* A day or month without its year: the last one that has begun. */
static bool
recent_date(int month, int day, DateADT today, DateADT *date)
{
	int year, ignored;

	date_parts(today, &year, &ignored, &ignored);
	if (period_date(year, month, day, date) && *date <= today)
		return true;
	return period_date(year - 1, month, day, date);
}

static bool
period_month(PeriodSpan *period, DateADT first)
{
	return period_set(period, first, month_start(first, 1));
}

/* "2025년 3월 5일" and any part of it that names a period. */
static bool
scan_korean_date(Scan *scan, DateADT today, PeriodSpan *period)
{
	int digits, number, month = 0, day = 0, year = 0, mark;
	DateADT date;

	number = scan_number(scan, &digits);
	if (number < 0)
		return false;
	if (digits == 4 && scan_word(scan, "년"))
	{
		year = number;
		mark = scan->at;
		number = scan_number(scan, &digits);
		if (number < 0 || !scan_word(scan, "월"))
		{
			scan->at = mark;
			return period_date(year, 1, 1, &date) &&
				   period_set(period, date, year_start(date, 1));
		}
		month = number;
	}
	else if (digits <= 2 && scan_word(scan, "월"))
		month = number;
	else
		return false;
	mark = scan->at;
	number = scan_number(scan, &digits);
	if (number >= 0 && digits <= 2 && scan_word(scan, "일"))
		day = number;
	else
		scan->at = mark;
	if (!(year ? period_date(year, month, day ? day : 1, &date)
			   : recent_date(month, day ? day : 1, today, &date)))
		return false;
	return day ? period_set(period, date, date + 1) : period_month(period, date);
}

/* 2025-11-20, 2025-11, 20251120. */
static bool
scan_iso_date(Scan *scan, PeriodSpan *period)
{
	int digits, year, month, day, mark;
	DateADT date;

	year = scan_number(scan, &digits);
	if (digits == 8)
		return period_date(year / 10000, year / 100 % 100, year % 100, &date) &&
			   period_set(period, date, date + 1);
	if (year < 0 || digits != 4 || scan->line->gap[scan->at] != GAP_JOINT)
		return false;
	month = scan_number(scan, &digits);
	if (month < 0 || digits > 2)
		return false;
	mark = scan->at;
	if (scan->line->gap[scan->at] == GAP_JOINT)
	{
		day = scan_number(scan, &digits);
		if (day >= 0 && digits <= 2)
			return period_date(year, month, day, &date) &&
				   period_set(period, date, date + 1);
		scan->at = mark;
	}
	return period_date(year, month, 1, &date) && period_month(period, date);
}

/* "November 20", "20 Nov 2025", "March 2025". */
static bool
scan_english_date(Scan *scan, DateADT today, PeriodSpan *period)
{
	static const char *const names[] = {"january",   "february", "march",    "april",
										"may",       "june",     "july",     "august",
										"september", "october",  "november", "december",
										"jan",       "feb",      "mar",      "apr",
										"may",       "jun",      "jul",      "aug",
										"sep",       "oct",      "nov",      "dec"};
	int digits, number, month = 0, day = 0, year = 0, mark;
	DateADT date;

	for (int i = 0; i < lengthof(names) && month == 0; i++)
		if (scan_word(scan, names[i]))
			month = i % 12 + 1;
	if (month == 0)
		return false;
	for (int i = 0; i < 2; i++)
	{
		mark = scan->at;
		number = scan_number(scan, &digits);
		if (number >= 0 && digits <= 2 && day == 0 && year == 0)
			day = number;
		else if (number >= 0 && digits == 4)
			year = number;
		else
		{
			scan->at = mark;
			break;
		}
	}
	if (!(year ? period_date(year, month, day ? day : 1, &date)
			   : recent_date(month, day ? day : 1, today, &date)))
		return false;
	return day ? period_set(period, date, date + 1) : period_month(period, date);
}

static bool
scan_date(Scan *scan, DateADT today, PeriodSpan *period)
{
	int mark = scan->at;

	if (scan_korean_date(scan, today, period))
		return true;
	scan->at = mark;
	if (scan_iso_date(scan, period))
		return true;
	scan->at = mark;
	if (scan_english_date(scan, today, period))
		return true;
	scan->at = mark;
	return false;
}

/* "11월 1일부터 11월 7일까지", "2025-11-01 ~ 2025-11-07": both ends belong to it. */
static void
scan_range_end(Scan *scan, DateADT today, PeriodSpan *period)
{
	static const char *const joints[] = {"부터", "에서", "~", "to", "until", "through"};
	PeriodSpan end = {0};
	int mark = scan->at;

	if (scan_any(scan, joints, lengthof(joints)) && scan_date(scan, today, &end) &&
		end.until > period->from)
	{
		(void) scan_word(scan, "까지");
		period_set(period, period->from, end.until);
		return;
	}
	scan->at = mark;
}

int
period_match(const Line *line, int at, DateADT today, PeriodSpan *period)
{
	Scan scan = {line, at};

	memset(period, 0, sizeof(*period));
	if (scan_last(&scan, today, period))
		return scan.at - at;
	scan.at = at;
	memset(period, 0, sizeof(*period));
	if (!scan_date(&scan, today, period))
	{
		memset(period, 0, sizeof(*period));
		return 0;
	}
	scan_range_end(&scan, today, period);
	return scan.at - at;
}

/* --- days ------------------------------------------------------------------- */

char *
period_date_text(DateADT date)
{
	int year, month, day;

	date_parts(date, &year, &month, &day);
	return psprintf("%04d-%02d-%02d", year, month, day);
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
