/*
 * period_int.h
 *		Between the files that read phrases of time.
 */
#ifndef FACTORY_PERIOD_INT_H
#define FACTORY_PERIOD_INT_H

#include "bi/bi_int.h"

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

/* --- period_scan.c: words and numbers; each moves on past what it found --- */

extern int phrases_match(Scan *scan, Phrases *phrases);
extern bool scan_phrases(Scan *scan, Phrases *phrases);
extern bool scan_suffix(Scan *scan, Phrases *phrases);
extern int scan_row(Scan *scan, Phrases *rows, size_t stride, int count);
extern int scan_number(Scan *scan, int *digits);
extern int scan_count(Scan *scan);

/* --- period_calendar.c: days, and spans of them; what sets a span returns true --- */

extern int date_year(DateADT date);
extern DateADT week_start(DateADT date);
extern DateADT month_start(DateADT date, int months);
extern DateADT unit_start(DateADT date, PeriodUnit unit, int offset);
extern bool period_set(PeriodSpan *period, DateADT from, DateADT until, PeriodUnit unit);
extern bool period_set_unit(PeriodSpan *period, DateADT day, PeriodUnit unit, int offset);
extern bool period_set_running(PeriodSpan *period, DateADT from, DateADT today,
							   PeriodUnit unit);
extern bool period_set_relative(PeriodSpan *period, DateADT today, PeriodUnit unit,
								int offset);
extern bool period_set_last(PeriodSpan *period, int count, PeriodUnit unit,
							DateADT today);

/* --- period_unit.c: days, weeks, months, quarters, years by name, or counted --- */

extern Phrases phrases_of;    /* "의", "of" */
extern Phrases phrases_month; /* "월" */

extern int scan_weekday(Scan *scan);
extern bool period_set_weekdays(PeriodSpan *period, DateADT week, int row);
extern int scan_part_of_year(Scan *scan);
extern bool period_set_part(PeriodSpan *period, int year, int part);
extern int scan_month_number(Scan *scan);
extern bool scan_day_suffix(Scan *scan);
extern bool scan_day_of_month(Scan *scan, DateADT month, PeriodSpan *period);
extern bool scan_within_year(Scan *scan, int year, PeriodSpan *period);
extern bool scan_anchor(Scan *scan, PeriodSpan *period);
extern bool scan_last(Scan *scan, PeriodSpan *period);
extern bool scan_ago(Scan *scan, PeriodSpan *period);
extern bool scan_named_weekday(Scan *scan, PeriodSpan *period);

/* --- period_date.c: dates as Koreans, ISO and the English write them --- */

extern bool date_without_year(Scan *scan, int month, int day, DateADT *date);
extern bool scan_mark(Scan *scan, char mark);
extern bool scan_tilde(Scan *scan);
extern bool scan_korean_date(Scan *scan, PeriodSpan *period);
extern bool scan_iso_date(Scan *scan, PeriodSpan *period);
extern bool scan_slash_date(Scan *scan, PeriodSpan *period);
extern int scan_english_day(Scan *scan);
extern bool scan_english_date(Scan *scan, PeriodSpan *period);
extern bool scan_quarter_or_half(Scan *scan, PeriodSpan *period);

#endif /* FACTORY_PERIOD_INT_H */
