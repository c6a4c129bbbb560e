/*
 * period_date.c
 *		Dates, months, quarters and halves of a year.
 */
#include "postgres.h"

#include "bi/period_int.h"

static Phrases ordinal = {"st|nd|rd|th"};
static Phrases year_suffix = {"년도|년"};

/* The last such day or month that has begun; in a range, of the first point's year. */
bool
date_without_year(Scan *scan, int month, int day, DateADT *date)
{
	int year = date_year(scan->today);

	if (scan->first && scan->first->year_named)
	{
		year = date_year(scan->first->from);
		return period_date(year, month, day, date) &&
			   (*date > scan->first->from || period_date(year + 1, month, day, date));
	}
	if (period_date(year, month, day, date) && *date <= scan->today)
		return true;
	return period_date(year - 1, month, day, date);
}

static bool
period_set_month(PeriodSpan *period, DateADT first)
{
	return period_set_unit(period, first, UNIT_MONTH, 0);
}

/* "2025년 3월 5일" and any part of it that names a period; "25년" is 2025. */
bool
scan_korean_date(Scan *scan, PeriodSpan *period)
{
	static Phrases heads = {"지난|저번"};
	bool before = scan_phrases(scan, &heads);
	int mark, digits, number, month;
	DateADT date;

	mark = scan->at;
	number = scan_number(scan, &digits);
	if (number >= 0 && (digits == 4 || digits == 2) && scan_phrases(scan, &year_suffix))
	{
		int year = digits == 2 ? 2000 + number : number;

		period->year_named = true;
		if (scan_within_year(scan, year, period))
			return true;
		return digits == 4 && period_date(year, 1, 1, &date) &&
			   period_set_unit(period, date, UNIT_YEAR, 0);
	}
	scan->at = mark;
	month = scan_month_number(scan);
	if (month < 0)
		return false;
	mark = scan->at;
	number = scan_number(scan, &digits);
	if (number >= 0 && digits <= 2 && scan_day_suffix(scan))
		return date_without_year(scan, month, number, &date) &&
			   period_set(period, date, date + 1, UNIT_DAY);
	scan->at = mark;
	if (!date_without_year(scan, month, 1, &date))
		return false;
	/* "지난 3월" is over. */
	if (before && month_start(date, 1) > scan->today)
		date = month_start(date, -12);
	return period_set_month(period, date);
}

/* Is the next number only divided from the last by that character? */
bool
scan_mark(Scan *scan, char mark)
{
	const Line *line = scan->line;

	if (mark == '.' && line->text[scan->at] == '.')
	{
		scan->at++;
		return true;
	}
	return scan->at < line->length && line->gap[scan->at] == GAP_JOINT &&
		   line->question[line->origin[scan->at] - 1] == mark;
}

bool
scan_tilde(Scan *scan)
{
	bool found = scan->line->text[scan->at] == '~';

	scan->at += found;
	return found;
}

/* 2025-11-20, 2025/11/20, 2025.11.20, 2025-11, 20251120. */
bool
scan_iso_date(Scan *scan, PeriodSpan *period)
{
	static const char marks[] = {'-', '/', '.'};
	int digits, year, month, day, mark;
	char divider = 0;
	DateADT date;

	year = scan_number(scan, &digits);
	period->year_named = true;
	if (digits == 8 && year > 0)
		return period_date(year / 10000, year / 100 % 100, year % 100, &date) &&
			   period_set(period, date, date + 1, UNIT_DAY);
	if (year < 0 || digits != 4)
		return false;
	for (int i = 0; i < lengthof(marks) && divider == 0; i++)
		if (scan_mark(scan, marks[i]))
			divider = marks[i];
	if (divider == 0)
		return false;
	month = scan_number(scan, &digits);
	if (month < 0 || digits > 2)
		return false;
	mark = scan->at;
	if (scan_mark(scan, divider))
	{
		day = scan_number(scan, &digits);
		if (day >= 0 && digits <= 2)
			return period_date(year, month, day, &date) &&
				   period_set(period, date, date + 1, UNIT_DAY);
	}
	scan->at = mark;
	/* "2025.11" is a number. */
	return divider != '.' && period_date(year, month, 1, &date) &&
		   period_set_month(period, date);
}

/*
 * 11/20, and 11/20/2025.  In an English question the day may come first: where
 * both readings are possible it is neither.
 */
bool
scan_slash_date(Scan *scan, PeriodSpan *period)
{
	int digits, month, day, year, mark;
	DateADT date;

	month = scan_number(scan, &digits);
	if (month < 1 || digits > 2 || !scan_mark(scan, '/'))
		return false;
	day = scan_number(scan, &digits);
	if (day < 1 || digits > 2 || (!scan->line->korean && day <= 12 && day != month))
		return false;
	mark = scan->at;
	if (scan_mark(scan, '/'))
	{
		year = scan_number(scan, &digits);
		period->year_named = true;
		return digits == 4 && period_date(year, month, day, &date) &&
			   period_set(period, date, date + 1, UNIT_DAY);
	}
	scan->at = mark;
	return date_without_year(scan, month, day, &date) &&
		   period_set(period, date, date + 1, UNIT_DAY);
}

static int
scan_english_month(Scan *scan)
{
	static struct
	{
		Phrases phrases;
	} months[] = {{{"january|jan"}}, {{"february|feb"}}, {{"march|mar"}},
				  {{"april|apr"}},   {{"may"}},          {{"june|jun"}},
				  {{"july|jul"}},    {{"august|aug"}},   {{"september|sep|sept"}},
				  {{"october|oct"}}, {{"november|nov"}}, {{"december|dec"}}};

	return scan_row(scan, &months[0].phrases, sizeof(months[0]), lengthof(months)) + 1;
}

/* "20", "20th"; 0 where none stands there. */
int
scan_english_day(Scan *scan)
{
	int mark = scan->at, digits;
	int number = scan_number(scan, &digits);

	if (number >= 1 && number <= 31 && digits <= 2)
	{
		(void) scan_suffix(scan, &ordinal);
		return number;
	}
	scan->at = mark;
	return 0;
}

/* "2025", "of 2025", "last year"; 0 for none. */
static int
scan_english_year(Scan *scan)
{
	static struct
	{
		Phrases phrases;
		int offset;
	} years[] = {{{"this year"}, 0}, {{"last year|previous year"}, -1}};
	int mark = scan->at, digits, number, row;

	(void) scan_phrases(scan, &phrases_of);
	row = scan_row(scan, &years[0].phrases, sizeof(years[0]), lengthof(years));
	if (row >= 0)
		return date_year(scan->today) + years[row].offset;
	number = scan_number(scan, &digits);
	if (number >= 1900 && digits == 4)
		return number;
	scan->at = mark;
	return 0;
}

/* "November 20", "20 Nov 2025", "March 2025", "March last year". */
bool
scan_english_date(Scan *scan, PeriodSpan *period)
{
	int day = scan_english_day(scan);
	int month, year;
	DateADT date;

	if (day > 0)
		(void) scan_phrases(scan, &phrases_of);
	month = scan_english_month(scan);
	if (month == 0)
		return false;
	if (day == 0)
		day = scan_english_day(scan);
	year = scan_english_year(scan);
	period->year_named = year > 0;
	if (!(year ? period_date(year, month, day ? day : 1, &date)
			   : date_without_year(scan, month, day ? day : 1, &date)))
		return false;
	return day ? period_set(period, date, date + 1, UNIT_DAY)
			   : period_set_month(period, date);
}

/* "3분기", "Q3 2025", "first half of last year": without a year the last begun. */
bool
scan_quarter_or_half(Scan *scan, PeriodSpan *period)
{
	int part = scan_part_of_year(scan);
	int year;

	if (part == 0)
		return false;
	year = scan_english_year(scan);
	period->year_named = year > 0;
	if (year > 0)
		return period_set_part(period, year, part);
	if (scan->first && scan->first->year_named)
		return period_set_part(period, date_year(scan->first->from), part);
	year = date_year(scan->today);
	return period_set_part(period, year, part) &&
		   (period->from <= scan->today || period_set_part(period, year - 1, part));
}
