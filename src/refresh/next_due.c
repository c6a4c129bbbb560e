/*
 * next_due.c
 *		When a schedule is due next: holidays, jitter, what was missed.
 */
#include "postgres.h"

#include "base/clock.h"
#include "base/compat.h"
#include "base/errors.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "executor/spi.h"
#include "refresh/refresh_int.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

/* Policy "all" catches up the last so many. */
#define REFRESH_MAX_CATCH_UP 100

/* Due times in a row that may be holidays. */
#define REFRESH_MAX_HOLIDAYS 1000

/* Whether that moment's day, in the schedule's zone, is a holiday of its calendar. */
static bool
is_holiday(const DueSchedule *due, TimestampTz moment)
{
	Oid types[] = {TEXTOID, TIMESTAMPTZOID, TEXTOID};
	Datum values[] = {CStringGetTextDatum(due->holidays), TimestampTzGetDatum(moment),
					  CStringGetTextDatum(due->timezone)};

	refresh_query("SELECT FROM factory.holiday WHERE calendar = $1 "
				  "AND day = pg_catalog.timezone($3, $2)::pg_catalog.date",
				  3, types, values, NULL, true, 1);
	return SPI_processed > 0;
}

/* The first due time after that moment which is no holiday. */
static TimestampTz
next_time(const DueSchedule *due, const Schedule *schedule, pg_tz *zone,
		  TimestampTz after)
{
	for (int days = 0; days < REFRESH_MAX_HOLIDAYS; days++)
	{
		after = schedule_next(schedule, after, zone);
		if (due->holidays == NULL || !is_holiday(due, after))
			return after;
	}
	ereport(ERROR,
			(errcode(ERRCODE_FACTORY_INVALID_SCHEDULE),
			 errmsg("the schedule of \"%s\" has only holidays ahead", due->view_name),
			 errhint("Table factory.holiday lists the days of calendar \"%s\".",
					 due->holidays)));
}

/* The same for each view at each time: views that are due together spread. */
static int64
jitter_of(const DueSchedule *due)
{
	if (due->jitter_usec <= 0)
		return 0;
	return (int64) (hash_bytes((const unsigned char *) due->view_name,
							   strlen(due->view_name)) /
					(double) PG_UINT32_MAX * due->jitter_usec);
}

/* Where all missed times are caught up, the next is not far: but not more than so many. */
static TimestampTz
earliest_to_catch_up(const DueSchedule *due, const Schedule *schedule, pg_tz *zone)
{
	TimestampTz last[REFRESH_MAX_CATCH_UP];
	TimestampTz moment = due->due;
	int64 count = 0;

	while ((moment = next_time(due, schedule, zone, moment)) <= due->now)
		last[count++ % REFRESH_MAX_CATCH_UP] = moment;
	if (count == 0)
		return moment;
	return count < REFRESH_MAX_CATCH_UP ? last[0] : last[count % REFRESH_MAX_CATCH_UP];
}

/* An AttemptBody: the text and the zone may have become unreadable. */
void
refresh_compute_next(void *argument)
{
	DueSchedule *due = argument;
	Schedule *schedule;
	pg_tz *zone;

	due->next = DT_NOEND;
	due->worth_it = true;
	if (due->times == NULL)
		return;
	schedule = schedule_parse(due->times);
	zone = clock_zone(due->timezone);
	if (strcmp(due->catch_up, "all") == 0)
		due->next = earliest_to_catch_up(due, schedule, zone);
	else
		due->next = next_time(due, schedule, zone, due->now);
	due->next += jitter_of(due);
	due->worth_it =
		strcmp(due->catch_up, "none") != 0 &&
		schedule_next(schedule, due->now - due->window_usec, zone) <= due->now;
}

/* A target of staleness has no calendar: its contents grow old on any day. */
bool
refresh_rests(const DueSchedule *due)
{
	return due->holidays != NULL && due->times != NULL && due->within_usec == 0 &&
		   is_holiday(due, due->due - jitter_of(due));
}
