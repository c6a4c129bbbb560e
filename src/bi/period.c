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

#include "bi/period_int.h"

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
		return until <= 12 && scan_suffix(scan, &phrases_month) &&
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
