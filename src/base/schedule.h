/*
 * schedule.h
 *		When something is due: the grammar of schedules and their next time.
 *
 * Pure functions: nothing here reads the clock or the catalogue.
 */
#ifndef FACTORY_SCHEDULE_H
#define FACTORY_SCHEDULE_H

#include "datatype/timestamp.h"
#include "pgtime.h"

typedef struct Schedule Schedule;

/*
 * Cron (five fields, or six with seconds first) or words such as "daily at
 * 06:00".  Raises ERRCODE_FACTORY_INVALID_SCHEDULE, which says where and what
 * would be right, also where the schedule would never be due.  The result is
 * one palloc'd piece.
 */
extern Schedule *schedule_parse(const char *text);

/*
 * The first due time later than "after".  A fixed time that the zone skips is
 * due at the first instant after the gap, one that comes twice is due once, the
 * first time.  What runs in every hour, and intervals, follow real time.
 */
extern TimestampTz schedule_next(const Schedule *schedule, TimestampTz after,
								 pg_tz *zone);

#endif /* FACTORY_SCHEDULE_H */
