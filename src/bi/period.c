/*
 * period.c
 *		Phrases of time, resolved to days: half-open, in the plant's zone.
 *
 * "The last N days" are the N whole days before today; "last week" is the
 * previous Monday to Sunday.  "This week" and its like end with today.  A date
 * without a year is the last one that has begun.
 *
 * A phrase is a point (a day, week, month, quarter, half or year, however it is
 * named), or two points with "부터 ... 까지" or "~" between them.  Of all ways to
 * read a point the longest counts.
 */
#include "postgres.h"

#include "base/clock.h"
#include "bi/bi_int.h"
#include "utils/datetime.h"
#include "utils/memutils.h"

#define LAST_DAYS_MAX 3660
#define LAST_MONTHS_MAX 120

/* A place in a line that moves on as phrases are found. */
typedef struct Scan
{
	const Line *line;
	int at;
	DateADT today;
	/* The first point of a range, whose year, month and week the second shares. */
	const PeriodSpan *first;
} Scan;

/* Alternatives separated by |, made into words once. */
typedef struct Phrases
{
	const char *texts;
	List *words;
} Phrases;

static bool scan_point(Scan *scan, PeriodSpan *period);

/* --- words -------------------------------------------------------------------- */

static List *
phrases_words(Phrases *phrases)
{
	MemoryContext old;
	char *rest, *text;

	if (phrases->words != NIL)
		return phrases->words;
	old = MemoryContextSwitchTo(TopMemoryContext);
	rest = pstrdup(phrases->texts);
	while ((text = strsep(&rest, "|")) != NULL)
		phrases->words =
			lappend(phrases->words, word_make(text, WORD_PERIOD, NULL, NULL, 0));
	MemoryContextSwitchTo(old);
	return phrases->words;
}

/* How far the longest of the phrases reaches; 0 where none stands there. */
static int
phrases_match(Scan *scan, Phrases *phrases)
{
	int longest = 0;
	ListCell *cell;

	foreach (cell, phrases_words(phrases))
		longest = Max(longest, word_match(scan->line, scan->at, lfirst(cell)));
	return longest;
}

static bool
scan_phrases(Scan *scan, Phrases *phrases)
{
	int length = phrases_match(scan, phrases);

	scan->at += length;
	return length > 0;
}

/* A suffix: only right behind what is before it. */
static bool
scan_suffix(Scan *scan, Phrases *phrases)
{
	return scan->line->gap[scan->at] == GAP_NONE && scan_phrases(scan, phrases);
}

/* The row of a table whose phrases stand there and are longest; -1 for none. */
static int
scan_row(Scan *scan, Phrases *rows, size_t stride, int count)
{
	int found = -1, longest = 0;

	for (int i = 0; i < count; i++)
	{
		int length = phrases_match(scan, (Phrases *) ((char *) rows + i * stride));

		if (length > longest)
		{
			longest = length;
			found = i;
		}
	}
	scan->at += longest;
	return found;
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

/* A number in digits or words, as it counts days or weeks; -1 for none. */
static int
scan_count(Scan *scan)
{
	static struct
	{
		Phrases phrases;
		int number;
	} words[] = {{{"한|one|a"}, 1},   {{"두|two"}, 2},       {{"세|석|three"}, 3},
				 {{"네|넉|four"}, 4}, {{"다섯|five"}, 5},    {{"여섯|six"}, 6},
				 {{"일곱|seven"}, 7}, {{"여덟|eight"}, 8},   {{"아홉|nine"}, 9},
				 {{"열|ten"}, 10},    {{"열두|twelve"}, 12}, {{"삼"}, 3},
				 {{"육"}, 6},         {{"eleven|열한"}, 11}};
	int mark = scan->at;
	int digits;
	int number = scan_number(scan, &digits);
	int row;

	if (number >= 0)
		return digits <= 4 ? number : -1;
	scan->at = mark;
	row = scan_row(scan, &words[0].phrases, sizeof(words[0]), lengthof(words));
	return row >= 0 ? words[row].number : -1;
}

/* --- the calendar --------------------------------------------------------------- */

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

static int
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

static DateADT
week_start(DateADT date)
{
	return date - date_weekday(date) + 1;
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
static DateADT
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

static bool
period_set(PeriodSpan *period, DateADT from, DateADT until, PeriodUnit unit)
{
	period->set = true;
	period->from = from;
	period->until = until;
	period->unit = unit;
	period->range = until - from > 1;
	return true;
}

static bool
period_set_unit(PeriodSpan *period, DateADT day, PeriodUnit unit, int offset)
{
	return period_set(period, unit_start(day, unit, offset),
					  unit_start(day, unit, offset + 1), unit);
}

/* What is going on ends with today, but counts as a range from its first day on. */
static bool
period_set_running(PeriodSpan *period, DateADT from, DateADT today, PeriodUnit unit)
{
	period_set(period, from, today + 1, unit);
	period->range = true;
	return true;
}

static bool
period_set_relative(PeriodSpan *period, DateADT today, PeriodUnit unit, int offset)
{
	if (offset == 0 && unit != UNIT_DAY)
		return period_set_running(period, unit_start(today, unit, 0), today, unit);
	return period_set_unit(period, today, unit, offset);
}

static bool
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

static Phrases year_suffix = {"년도|년"};
static Phrases month_suffix = {"월달|월"};
static Phrases day_suffix = {"일"};
static Phrases weekday_rest = {"요일|욜"};
static Phrases of_words = {"의|of|in|,"};
static Phrases ordinal = {"st|nd|rd|th"};

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

static int
scan_weekday(Scan *scan)
{
	return scan_row(scan, &weekdays[0].phrases, sizeof(weekdays[0]), lengthof(weekdays));
}

static bool
period_set_weekdays(PeriodSpan *period, DateADT week, int row)
{
	period_set(period, week + weekdays[row].from - 1, week + weekdays[row].until,
			   UNIT_DAY);
	period->weekday = true;
	return true;
}

/* "3분기", "Q3", "3rd quarter": 1..4; "상반기", "first half", "H1": 5, 6; 0 for none. */
static int
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

static bool
period_set_part(PeriodSpan *period, int year, int part)
{
	PeriodUnit unit = part > 4 ? UNIT_HALF : UNIT_QUARTER;
	DateADT first;

	if (!period_date(year, part > 4 ? (part - 5) * 6 + 1 : part * 3 - 2, 1, &first))
		return false;
	return period_set_unit(period, first, unit, 0);
}

/* "3월", not the first syllable of "월요일". */
static int
scan_month_number(Scan *scan)
{
	int digits;
	int number = scan_number(scan, &digits);

	if (number < 1 || number > 12 || digits > 2 || !scan_phrases(scan, &month_suffix))
		return -1;
	return scan->line->gap[scan->at] == GAP_NONE && phrases_match(scan, &weekday_rest) > 0
			   ? -1
			   : number;
}

/* "일", not the beginning of "일요일" or "일별". */
static bool
scan_day_suffix(Scan *scan)
{
	static Phrases others = {"일별|일요일|일욜|일간|일 평균|일평균"};

	return phrases_match(scan, &others) == 0 && scan_phrases(scan, &day_suffix);
}

/* "20일" of the month that begins there. */
static bool
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
static bool
scan_within_year(Scan *scan, int year, PeriodSpan *period)
{
	int mark = scan->at;
	int part, month;
	DateADT first;

	(void) scan_suffix(scan, &of_words);
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
		(void) scan_suffix(scan, &of_words);
		if (unit == UNIT_MONTH && scan_day_of_month(scan, start, period))
			return;
		row = unit == UNIT_WEEK ? scan_weekday(scan) : -1;
		if (row >= 0)
			period_set_weekdays(period, start, row);
		else
			scan->at = mark;
	}
}

static bool
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
static bool
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
static bool
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

/* --- dates ------------------------------------------------------------------------ */

/* The last such day or month that has begun; in a range, of the first point's year. */
static bool
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
static bool
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
static bool
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

static bool
scan_tilde(Scan *scan)
{
	bool found = scan->line->text[scan->at] == '~';

	scan->at += found;
	return found;
}

/* 2025-11-20, 2025/11/20, 2025.11.20, 2025-11, 20251120. */
static bool
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
static bool
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
static int
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

	(void) scan_phrases(scan, &of_words);
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
static bool
scan_english_date(Scan *scan, PeriodSpan *period)
{
	int day = scan_english_day(scan);
	int month, year;
	DateADT date;

	if (day > 0)
		(void) scan_phrases(scan, &of_words);
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
static bool
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

/*
 * "지난 월요일", "last Friday", "지난 주말": the last that is over; "Monday last week",
 * "this Friday".  A weekday alone names no day.
 */
static bool
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
	(void) scan_phrases(scan, &of_words);
	anchor = scan_row(scan, &anchors[0].phrases, sizeof(anchors[0]), lengthof(anchors));
	return anchor >= 0 && anchors[anchor].unit == UNIT_WEEK &&
		   period_set_weekdays(period,
							   unit_start(scan->today, UNIT_WEEK, anchors[anchor].offset),
							   row);
}

/* The second point of a range says only its day: "11월 1일부터 7일까지". */
static bool
scan_day_of_first(Scan *scan, PeriodSpan *period)
{
	DateADT month;
	int day;

	if (scan->first == NULL || scan->first->unit != UNIT_DAY)
		return false;
	month = month_start(scan->first->from, 0);
	if (scan_day_of_month(scan, month, period))
		return true;
	if (scan->line->korean)
		return false;
	day = scan_english_day(scan);
	return day > 0 && month + day <= month_start(month, 1) &&
		   period_set(period, month + day - 1, month + day, UNIT_DAY);
}

static bool
scan_point(Scan *scan, PeriodSpan *period)
{
	static bool (*const readings[])(Scan *, PeriodSpan *) = {
		scan_last,          scan_ago,         scan_anchor,       scan_korean_date,
		scan_iso_date,      scan_slash_date,  scan_english_date, scan_quarter_or_half,
		scan_named_weekday, scan_day_of_first};
	int start = scan->at, end = start;

	for (int i = 0; i < lengthof(readings); i++)
	{
		PeriodSpan found = {0};

		scan->at = start;
		if (readings[i](scan, &found) && scan->at > end)
		{
			end = scan->at;
			*period = found;
		}
	}
	scan->at = end;
	return end > start;
}

/* --- ranges ------------------------------------------------------------------------ */

/* From the first point to the second, both included; or on to today. */
static bool
scan_until(Scan *scan, PeriodSpan *period, bool between)
{
	static Phrases joints = {"부터|에서|to|until|till|through"};
	static Phrases and = {"and"};
	static Phrases now = {"지금|현재|now|present"};
	static Phrases open = {"부터|이후|이후로"};
	static Phrases closing = {"까지|사이|동안|간"};
	PeriodSpan end = {0};
	int mark = scan->at;

	if (between ? scan_phrases(scan, &and)
				: scan_phrases(scan, &joints) || scan_tilde(scan) || scan_mark(scan, '-'))
	{
		if (period->from <= scan->today && scan_phrases(scan, &now))
		{
			(void) scan_suffix(scan, &closing);
			return period_set_running(period, period->from, scan->today, UNIT_NONE);
		}
		scan->first = period;
		if (scan_point(scan, &end) && end.until > period->from &&
			end.from >= period->from)
		{
			(void) scan_suffix(scan, &closing);
			return period_set(period, period->from, end.until, UNIT_NONE);
		}
	}
	scan->first = NULL;
	scan->at = mark;
	if (between || period->from > scan->today || !scan_phrases(scan, &open))
		return false;
	return period_set_running(period, period->from, scan->today, UNIT_NONE);
}

/* "11월 1~7일", "1~3월": the number before "~" shares the unit behind. */
static bool
scan_short_range(Scan *scan, PeriodSpan *period)
{
	int mark = scan->at, digits;
	int month = scan_month_number(scan);
	int from, until;
	DateADT first;

	if (month < 0)
		scan->at = mark;
	from = scan_number(scan, &digits);
	if (from < 1 || digits > 2 || !scan_tilde(scan))
		return false;
	until = scan_number(scan, &digits);
	if (until <= from || digits > 2)
		return false;
	if (month < 0)
		return until <= 12 && scan_suffix(scan, &month_suffix) &&
			   date_without_year(scan, until, 1, &first) &&
			   period_set(period, month_start(first, from - until), month_start(first, 1),
						  UNIT_NONE);
	return scan_day_suffix(scan) && date_without_year(scan, month, 1, &first) &&
		   first + until <= month_start(first, 1) &&
		   period_set(period, first + from - 1, first + until, UNIT_NONE);
}

/*
 * "Until yesterday", "어제까지", "before June" do not say where they begin, "from
 * yesterday" not where it ends: no guess is made.
 */
static bool
period_is_open(Scan *scan, bool headed)
{
	static Phrases tails = {"까지|이전|전까지|이전까지|이후까지|경|쯤|즈음|무렵"};

	return headed || scan_phrases(scan, &tails);
}

/* The length of the period phrase at that place, 0 for none. */
int
period_match(const Line *line, int at, DateADT today, PeriodSpan *period)
{
	static struct
	{
		Phrases phrases;
		char kind;
	} heads[] = {{{"since"}, 's'},
				 {{"between"}, 'b'},
				 {{"from"}, 'f'},
				 {{"over|during|in|within|for|on|at|throughout"}, 'i'},
				 {{"until|till|before|after|by|around"}, 'o'}};
	/* "by weekday" groups, it is no day's name. */
	static Phrases grouping = {"weekday|weekdays"};
	Scan scan = {.line = line, .at = at, .today = today};
	int row = scan_row(&scan, &heads[0].phrases, sizeof(heads[0]), lengthof(heads));
	char head = row >= 0 ? heads[row].kind : scan_tilde(&scan) ? 'o' : 0;
	int start = scan.at;
	bool ranged;

	memset(period, 0, sizeof(*period));
	if (head == 'o' && phrases_match(&scan, &grouping) > 0)
		return 0;
	if (scan_short_range(&scan, period))
		return scan.at - at;
	scan.at = start;
	memset(period, 0, sizeof(*period));
	if (!scan_point(&scan, period))
	{
		memset(period, 0, sizeof(*period));
		return 0;
	}
	if (head == 's' && period->from <= today)
	{
		period_set_running(period, period->from, today, UNIT_NONE);
		return scan.at - at;
	}
	ranged = scan_until(&scan, period, head == 'b');
	if (!ranged && period_is_open(&scan, head != 0 && head != 'i'))
		period->open = true;
	return scan.at - at;
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
