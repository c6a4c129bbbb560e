/*
 * schedule_int.h
 *		What reading a schedule and finding its next time share: six sets of numbers.
 */
#ifndef FACTORY_SCHEDULE_INT_H
#define FACTORY_SCHEDULE_INT_H

#include "base/schedule.h"

#define SCHEDULE_MAX_TOKENS 8

typedef enum ScheduleField
{
	FIELD_SECOND,
	FIELD_MINUTE,
	FIELD_HOUR,
	FIELD_DAY,
	FIELD_MONTH,
	FIELD_WEEKDAY,
	FIELD_COUNT
} ScheduleField;

struct Schedule
{
	int64 every;                 /* seconds between due times; 0 for a calendar */
	uint64 allowed[FIELD_COUNT]; /* bit n: the field may be n */
	bool last_day;               /* the last day of each month, too */
	uint64 nth[6];               /* bit n of nth[k]: the k-th weekday n of a month; */
								 /* nth[0]: the last one */
	bool day_is_star;            /* the field began with a star: as in cron, */
	bool weekday_is_star;        /* days and weekdays are OR-ed if neither did */
};

/* What may be written for a field. */
typedef struct FieldRange
{
	const char *name;
	int min;
	int max;
	const char *const *names; /* of the numbers from min, or NULL */
} FieldRange;

typedef struct Token
{
	char *word; /* in lower case */
	int place;  /* of its first character in the text, from 1 */
} Token;

typedef struct Reader
{
	const char *text;
	Token tokens[SCHEDULE_MAX_TOKENS];
	int count;
} Reader;

#define HINT_FORMS \
	"Write cron (\"0 6 * * *\", or six fields with seconds first) or words: \"daily at " \
	"06:00\", \"hourly\", \"every 15 minutes\", \"weekdays at 07:30\", \"weekly on " \
	"monday at 06:00\"."

extern const FieldRange schedule_fields[FIELD_COUNT];

/* Raises; detail says where and what is wrong, hint what would be right. */
extern void schedule_refuse(const char *text, const char *hint, const char *detail_format,
							...) pg_attribute_printf(3, 4) __attribute__((noreturn));

extern void schedule_read_cron(const Reader *reader, Schedule *schedule);

/* False where no month of the schedule has a day of it. */
extern bool schedule_is_ever_due(const Schedule *schedule);

#endif /* FACTORY_SCHEDULE_INT_H */
