/*
 * clock.h
 *		The time, as the whole house sees it.
 */
#ifndef FACTORY_CLOCK_H
#define FACTORY_CLOCK_H

#include "datatype/timestamp.h"
#include "pgtime.h"

/*
 * Wall-clock time, or the moment that factory.frozen_clock names: tests hold
 * the clock still, and everything that asks "what day is it" asks here.
 */
extern TimestampTz clock_now(void);

/* When the statement began: the same in each of its rows and workers. */
extern TimestampTz clock_statement(void);

/* The zone of that name; raises where there is none. */
extern pg_tz *clock_zone(const char *name);

/* The plant's zone: setting factory.timezone, else the session's TimeZone. */
extern const char *clock_plant_zone(void);

#endif /* FACTORY_CLOCK_H */
