/*
 * schedule_next.c
 *		The next time at which a schedule is due.
 *
 * A calendar schedule's next time is sought in local time, where days are simple, and
 * then placed on the real time line, where the zone's jumps are.  "Local seconds" are
 * a local date and time counted as if it were UTC.
 */
#include "postgres.h"

#include "base/errors.h"
#include "base/schedule_int.h"
#include "utils/datetime.h"
#include "utils/timestamp.h"

/* A date comes back on the same weekday within twelve years. */
#define SCHEDULE_SEARCH_DAYS (13 * 366)

#define SECONDS_FROM_1970_TO_2000 \
	((int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * SECS_PER_DAY)

/* --- in local time -------------------------------------------------------------- */

static bool
allows(const Schedule *schedule, ScheduleField field, int value)
{
	return (schedule->allowed[field] >> value) & 1;
}

static bool
is_last_day(int year, int month, int day)
{
	return day == day_tab[isleap(year)][month - 1];
}

/* Whether this day is such a weekday of its month: the second Friday, or the last. */
static bool
is_nth_weekday(const Schedule *schedule, int year, int month, int day, int weekday)
{
	bool last = day + 7 > day_tab[isleap(year)][month - 1];

	return ((schedule->nth[(day + 6) / 7] >> weekday) & 1) ||
		   (last && ((schedule->nth[0] >> weekday) & 1));
}

static bool
allows_day(const Schedule *schedule, int julian)
{
	int year, month, day;
	bool day_fits, weekday_fits;

	j2date(julian, &year, &month, &day);
	if (!allows(schedule, FIELD_MONTH, month))
		return false;
	day_fits = allows(schedule, FIELD_DAY, day) ||
			   (schedule->last_day && is_last_day(year, month, day));
	weekday_fits = allows(schedule, FIELD_WEEKDAY, j2day(julian)) ||
				   is_nth_weekday(schedule, year, month, day, j2day(julian));
	if (schedule->day_is_star || schedule->weekday_is_star)
		return day_fits && weekday_fits;
	return day_fits || weekday_fits;
}

/* The first allowed value of a field from "from" on, or -1. */
static int
next_allowed(const Schedule *schedule, ScheduleField field, int from)
{
	for (int value = from; value <= schedule_fields[field].max; value++)
		if (allows(schedule, field, value))
			return value;
	return -1;
}

/* The first allowed second of a day from "from" on, or -1. */
static int
next_in_day(const Schedule *schedule, int from)
{
	int from_hour = from / SECS_PER_HOUR;
	int hour = next_allowed(schedule, FIELD_HOUR, from_hour);

	for (; hour >= 0; hour = next_allowed(schedule, FIELD_HOUR, hour + 1))
	{
		int rest = hour == from_hour ? from % SECS_PER_HOUR : 0;
		int from_minute = rest / SECS_PER_MINUTE;
		int minute = next_allowed(schedule, FIELD_MINUTE, from_minute);

		for (; minute >= 0; minute = next_allowed(schedule, FIELD_MINUTE, minute + 1))
		{
			int from_second = minute == from_minute ? rest % SECS_PER_MINUTE : 0;
			int second = next_allowed(schedule, FIELD_SECOND, from_second);

			if (second >= 0)
				return hour * SECS_PER_HOUR + minute * SECS_PER_MINUTE + second;
		}
	}
	return -1;
}

static int64
floor_div(int64 value, int64 by)
{
	return value >= 0 ? value / by : -((-value + by - 1) / by);
}

/* The first allowed local second later than "after"; false where there is none. */
static bool
local_next(const Schedule *schedule, int64 after, int64 *next)
{
	int64 from = after + 1;
	int64 day = floor_div(from, SECS_PER_DAY);
	int second = (int) (from - day * SECS_PER_DAY);

	for (int i = 0; i < SCHEDULE_SEARCH_DAYS; i++, day++, second = 0)
	{
		int found;

		if (!allows_day(schedule, (int) day + UNIX_EPOCH_JDATE))
			continue;
		found = next_in_day(schedule, second);
		if (found >= 0)
		{
			*next = day * SECS_PER_DAY + found;
			return true;
		}
	}
	return false;
}

/* --- on the real time line ------------------------------------------------------ */

/* What the zone does at a moment: its offset, and its next change if any. */
typedef struct ZoneSpan
{
	long int offset;
	bool ends;
	pg_time_t end;
	long int next_offset;
} ZoneSpan;

static ZoneSpan
zone_span(pg_tz *zone, pg_time_t moment)
{
	ZoneSpan span;
	int is_dst, next_is_dst;

	span.ends = pg_next_dst_boundary(&moment, &span.offset, &is_dst, &span.end,
									 &span.next_offset, &next_is_dst, zone) == 1;
	return span;
}

/*
 * The first moment that shows this local time; in a gap, the first moment after
 * it.  Never runs backwards: a later local time is never placed earlier.
 */
static pg_time_t
moment_of_local(pg_tz *zone, int64 local)
{
	pg_time_t from = local - SECS_PER_DAY;

	for (;;)
	{
		ZoneSpan span = zone_span(zone, from);

		if (!span.ends || local - span.offset < span.end)
			return local - span.offset;
		if (local - span.next_offset < span.end)
			return span.end;
		from = span.end;
	}
}

/* Due in every hour: the offset does not matter to such a schedule. */
static bool
runs_every_hour(const Schedule *schedule)
{
	return (schedule->allowed[FIELD_HOUR] & 0xffffff) == 0xffffff;
}

/* Fixed times of the day: found in local time, then placed. */
static bool
fixed_next(const Schedule *schedule, pg_time_t after, pg_tz *zone, pg_time_t *next)
{
	int64 local = after + zone_span(zone, after).offset;

	while (local_next(schedule, local, &local))
	{
		*next = moment_of_local(zone, local);
		if (*next > after)
			return true;
	}
	return false;
}

/* Every hour: walks real time, span of the zone by span. */
static bool
hourly_next(const Schedule *schedule, pg_time_t after, pg_tz *zone, pg_time_t *next)
{
	for (;;)
	{
		ZoneSpan span = zone_span(zone, after);
		int64 local;

		/* The second before a change may lie in the span before. */
		if (span.ends && after + 1 == span.end)
			span = zone_span(zone, after + 1);
		if (!local_next(schedule, after + span.offset, &local))
			return false;
		*next = local - span.offset;
		if (!span.ends || *next < span.end)
			return true;
		after = span.end - 1;
	}
}

/*
 * Counted from the first local midnight of 2000: the same grid after every
 * restart, and round times on the wall.
 */
static pg_time_t
interval_next(const Schedule *schedule, pg_time_t after, pg_tz *zone)
{
	pg_time_t anchor = moment_of_local(zone, SECONDS_FROM_1970_TO_2000);

	return anchor + (floor_div(after - anchor, schedule->every) + 1) * schedule->every;
}

bool
schedule_is_ever_due(const Schedule *schedule)
{
	int64 first;

	return schedule->every > 0 || local_next(schedule, 0, &first);
}

TimestampTz
schedule_next(const Schedule *schedule, TimestampTz after, pg_tz *zone)
{
	pg_time_t from = floor_div(after, USECS_PER_SEC) + SECONDS_FROM_1970_TO_2000;
	pg_time_t next = 0;
	bool found = true;

	if (TIMESTAMP_NOT_FINITE(after))
		ereport(ERROR, (errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
						errmsg("a schedule has no due time after infinity")));
	if (schedule->every > 0)
		next = interval_next(schedule, from, zone);
	else if (runs_every_hour(schedule))
		found = hourly_next(schedule, from, zone, &next);
	else
		found = fixed_next(schedule, from, zone, &next);
	if (!found)
		ereport(ERROR, (errcode(ERRCODE_FACTORY_INVALID_SCHEDULE),
						errmsg("the schedule is never due again")));
	return (next - SECONDS_FROM_1970_TO_2000) * USECS_PER_SEC;
}
