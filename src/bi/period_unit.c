/*
 * period_unit.c
 *		Units of time in words: named from today on, or counted.
 */
#include "postgres.h"

#include "bi/period_int.h"

/* --- units by name --------------------------------------------------------------- */

/* "지난주", "이번 달", "last year": this one (0) or one of those before. */
static struct
{
	Phrases phrases;
	PeriodUnit unit;
	int offset;
} anchors[] = {
	{{"오늘|금일|당일|today"}, UNIT_DAY, 0},
	{{"어제|작일|전일|어저께|yesterday"}, UNIT_DAY, -1},
	{{"그저께|그제|엊그제|엊그저께|the day before yesterday|day before yesterday"},
	 UNIT_DAY,
	 -2},
	{{"그끄저께|그그저께"}, UNIT_DAY, -3},
	{{"이번 주|금주|this week|주초부터|week to date|wtd"}, UNIT_WEEK, 0},
	{{"지난 주|저번 주|전주|last week|previous week|the previous week"}, UNIT_WEEK, -1},
	{{"지지난 주|저저번 주|the week before last|week before last"}, UNIT_WEEK, -2},
	{{"이번 달|이달|금월|당월|this month|월초부터|이번 달 들어|month to date|mtd"},
	 UNIT_MONTH,
	 0},
	{{"지난 달|저번 달|전월|전달|last month|previous month|the previous month"},
	 UNIT_MONTH,
	 -1},
	{{"지지난 달|저저번 달|전전월|the month before last|month before last"},
	 UNIT_MONTH,
	 -2},
	{{"이번 분기|금분기|당분기|this quarter|quarter to date|qtd"}, UNIT_QUARTER, 0},
	{{"지난 분기|저번 분기|전분기|직전 분기|last quarter|previous quarter"},
	 UNIT_QUARTER,
	 -1},
	{{"이번 반기|this half year"}, UNIT_HALF, 0},
	{{"지난 반기|전반기|last half year"}, UNIT_HALF, -1},
	{{"올해|금년|이번 해|당해|this year|연초부터|올해 들어|year to date|ytd"},
	 UNIT_YEAR,
	 0},
	{{"작년|지난해|지난 해|저번 해|전년|last year|previous year|the previous year"},
	 UNIT_YEAR,
	 -1},
	{{"재작년|지지난해|the year before last|year before last"}, UNIT_YEAR, -2},
};

Phrases phrases_month = {"월달|월"};
static Phrases day_suffix = {"일"};
static Phrases weekday_rest = {"요일|욜"};
Phrases phrases_of = {"의|of|in|,"};

static struct
{
	Phrases phrases;
	int from; /* 1 Monday */
	int until;
} weekdays[] = {
	{{"월요일|월욜|monday|mon"}, 1, 1},    {{"화요일|화욜|tuesday|tue"}, 2, 2},
	{{"수요일|수욜|wednesday|wed"}, 3, 3}, {{"목요일|목욜|thursday|thu"}, 4, 4},
	{{"금요일|금욜|friday|fri"}, 5, 5},    {{"토요일|토욜|saturday|sat"}, 6, 6},
	{{"일요일|일욜|sunday|sun"}, 7, 7},    {{"주말|weekend"}, 6, 7},
	{{"평일|주중|weekday"}, 1, 5},
};

int
scan_weekday(Scan *scan)
{
	return scan_row(scan, &weekdays[0].phrases, sizeof(weekdays[0]), lengthof(weekdays));
}

bool
period_set_weekdays(PeriodSpan *period, DateADT week, int row)
{
	period_set(period, week + weekdays[row].from - 1, week + weekdays[row].until,
			   UNIT_DAY);
	period->weekday = true;
	return true;
}

/* "3분기", "Q3", "3rd quarter": 1..4; "상반기", "first half", "H1": 5, 6; 0 for none. */
int
scan_part_of_year(Scan *scan)
{
	static Phrases quarter = {"분기|사분기"};
	static struct
	{
		Phrases phrases;
		int part;
	} parts[] = {
		{{"q1|first quarter|1st quarter|일사분기"}, 1},
		{{"q2|second quarter|2nd quarter|이사분기"}, 2},
		{{"q3|third quarter|3rd quarter|삼사분기"}, 3},
		{{"q4|fourth quarter|4th quarter|사사분기"}, 4},
		{{"상반기|first half|h1|1st half"}, 5},
		{{"하반기|second half|h2|2nd half"}, 6},
	};
	int mark = scan->at, digits;
	int number = scan_number(scan, &digits);
	int row;

	if (number >= 1 && number <= 4 && digits == 1 && scan_suffix(scan, &quarter))
		return number;
	scan->at = mark;
	row = scan_row(scan, &parts[0].phrases, sizeof(parts[0]), lengthof(parts));
	return row >= 0 ? parts[row].part : 0;
}

bool
period_set_part(PeriodSpan *period, int year, int part)
{
	PeriodUnit unit = part > 4 ? UNIT_HALF : UNIT_QUARTER;
	DateADT first;

	if (!period_date(year, part > 4 ? (part - 5) * 6 + 1 : part * 3 - 2, 1, &first))
		return false;
	return period_set_unit(period, first, unit, 0);
}

/* "3월", not the first syllable of "월요일". */
int
scan_month_number(Scan *scan)
{
	int digits;
	int number = scan_number(scan, &digits);

	if (number < 1 || number > 12 || digits > 2 || !scan_phrases(scan, &phrases_month))
		return -1;
	return scan->line->gap[scan->at] == GAP_NONE && phrases_match(scan, &weekday_rest) > 0
			   ? -1
			   : number;
}

/* "일", not the beginning of "일요일" or "일별". */
bool
scan_day_suffix(Scan *scan)
{
	static Phrases others = {"일별|일요일|일욜|일간|일 평균|일평균"};

	return phrases_match(scan, &others) == 0 && scan_phrases(scan, &day_suffix);
}

/* "20일" of the month that begins there. */
bool
scan_day_of_month(Scan *scan, DateADT month, PeriodSpan *period)
{
	int mark = scan->at, digits;
	int number = scan_number(scan, &digits);
	DateADT next = month_start(month, 1);

	if (number >= 1 && digits <= 2 && scan_day_suffix(scan) && month + number <= next)
		return period_set(period, month + number - 1, month + number, UNIT_DAY);
	scan->at = mark;
	return false;
}

/* What stands behind a year: a half, a quarter, a month, a day of it; or nothing. */
bool
scan_within_year(Scan *scan, int year, PeriodSpan *period)
{
	int mark = scan->at;
	int part, month;
	DateADT first;

	(void) scan_suffix(scan, &phrases_of);
	part = scan_part_of_year(scan);
	if (part > 0)
		return period_set_part(period, year, part);
	month = scan_month_number(scan);
	if (month > 0 && period_date(year, month, 1, &first))
	{
		period_set_unit(period, first, UNIT_MONTH, 0);
		(void) scan_day_of_month(scan, first, period);
		return true;
	}
	scan->at = mark;
	return false;
}

static void
scan_within_anchor(Scan *scan, PeriodUnit unit, int offset, PeriodSpan *period)
{
	DateADT start = unit_start(scan->today, unit, offset);
	int mark = scan->at;
	int row;

	if (unit == UNIT_YEAR && scan_within_year(scan, date_year(start), period))
		period->year_named = true;
	else if (unit == UNIT_MONTH || unit == UNIT_WEEK)
	{
		(void) scan_suffix(scan, &phrases_of);
		if (unit == UNIT_MONTH && scan_day_of_month(scan, start, period))
			return;
		row = unit == UNIT_WEEK ? scan_weekday(scan) : -1;
		if (row >= 0)
			period_set_weekdays(period, start, row);
		else
			scan->at = mark;
	}
}

bool
scan_anchor(Scan *scan, PeriodSpan *period)
{
	int row = scan_row(scan, &anchors[0].phrases, sizeof(anchors[0]), lengthof(anchors));

	if (row < 0)
		return false;
	period_set_relative(period, scan->today, anchors[row].unit, anchors[row].offset);
	period->year_named = anchors[row].unit == UNIT_YEAR;
	scan_within_anchor(scan, anchors[row].unit, anchors[row].offset, period);
	return true;
}

/* --- counted units ---------------------------------------------------------------- */

static struct
{
	Phrases phrases;
	PeriodUnit unit;
} counted_units[] = {
	{{"일|days|day"}, UNIT_DAY},
	{{"주일|주|weeks|week"}, UNIT_WEEK},
	{{"개월|달|months|month"}, UNIT_MONTH},
	{{"분기|개 분기|quarters|quarter"}, UNIT_QUARTER},
	{{"년|years|year"}, UNIT_YEAR},
};

/* "하루", "이틀": a number of days in one word; else a number and its unit. */
static int
scan_counted(Scan *scan, PeriodUnit *unit)
{
	static struct
	{
		Phrases phrases;
		int days;
	} days[] = {{{"하루"}, 1}, {{"이틀"}, 2}, {{"사흘"}, 3},  {{"나흘"}, 4},
				{{"닷새"}, 5}, {{"엿새"}, 6}, {{"열흘"}, 10}, {{"보름"}, 15}};
	int row = scan_row(scan, &days[0].phrases, sizeof(days[0]), lengthof(days));
	int count;

	*unit = UNIT_DAY;
	if (row >= 0)
		return days[row].days;
	count = scan_count(scan);
	if (count < 0)
		return -1;
	row = scan_row(scan, &counted_units[0].phrases, sizeof(counted_units[0]),
				   lengthof(counted_units));
	if (row < 0)
		return -1;
	*unit = counted_units[row].unit;
	return count;
}

/* "지난 7일간", "최근 4주", "last 7 days", "7일간"; a month in words is 30 days. */
bool
scan_last(Scan *scan, PeriodSpan *period)
{
	static Phrases heads = {
		"지난|최근|과거|이전|last|past|previous|recent|the last|the past"};
	static Phrases tails = {"간|동안|치|사이"};
	static struct
	{
		Phrases phrases;
		int days;
	} spans[] = {
		{{"최근 일주일|지난 일주일|일주일간|일주일 동안|past week|the past week"}, 7},
		{{"최근 한 달|지난 한 달|한 달간|한 달 동안|past month|the past month"}, 30}};
	int row = scan_row(scan, &spans[0].phrases, sizeof(spans[0]), lengthof(spans));
	bool headed;
	int count;
	PeriodUnit unit;

	if (row >= 0)
	{
		(void) scan_suffix(scan, &tails);
		return period_set_last(period, spans[row].days, UNIT_DAY, scan->today);
	}
	headed = scan_phrases(scan, &heads);
	count = scan_counted(scan, &unit);
	if (count < 0 || (!scan_phrases(scan, &tails) && !headed))
		return false;
	return period_set_last(period, count, unit, scan->today);
}

/* "3일 전", "two weeks ago": that day, that whole week. */
bool
scan_ago(Scan *scan, PeriodSpan *period)
{
	static Phrases tails = {"전|ago"};
	static Phrases comparing = {"전 대비|전보다"};
	PeriodUnit unit;
	int count = scan_counted(scan, &unit);

	if (count < 1 || count > LAST_DAYS_MAX || phrases_match(scan, &comparing) > 0 ||
		!scan_phrases(scan, &tails))
		return false;
	return period_set_unit(period, scan->today, unit, -count);
}

/* --- weekdays ------------------------------------------------------------------------ */

/*
 * "지난 월요일", "last Friday", "지난 주말": the last that is over; "Monday last week",
 * "this Friday".  A weekday alone names no day.
 */
bool
scan_named_weekday(Scan *scan, PeriodSpan *period)
{
	static Phrases before = {"지난|저번|최근|last|past|previous"};
	static Phrases current = {"이번|this"};
	DateADT week = week_start(scan->today);
	bool last = scan_phrases(scan, &before);
	bool this = !last && scan_phrases(scan, &current);
	int row = scan_weekday(scan);
	int anchor;

	/* "Last weekdays" are none in particular. */
	if (row < 0 || (last && weekdays[row].until - weekdays[row].from > 1))
		return false;
	if (last && week + weekdays[row].until > scan->today)
		week -= 7;
	if (last || this)
		return period_set_weekdays(period, week, row);
	if (scan->first && scan->first->weekday)
		return period_set_weekdays(period, week_start(scan->first->from), row);
	(void) scan_phrases(scan, &phrases_of);
	anchor = scan_row(scan, &anchors[0].phrases, sizeof(anchors[0]), lengthof(anchors));
	return anchor >= 0 && anchors[anchor].unit == UNIT_WEEK &&
		   period_set_weekdays(period,
							   unit_start(scan->today, UNIT_WEEK, anchors[anchor].offset),
							   row);
}

/* A weekday that names no day: "월요일", "weekends"; bits from 1 (Monday) on. */
int
weekdays_match(const Line *line, int at, int *days)
{
	Scan scan = {.line = line, .at = at};
	int row = scan_weekday(&scan);

	*days = 0;
	for (int day = row >= 0 ? weekdays[row].from : 8;
		 row >= 0 && day <= weekdays[row].until; day++)
		*days |= 1 << day;
	return scan.at - at;
}
