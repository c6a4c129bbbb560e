/*
 * schedule.c
 *		When something is due: the grammar of schedules and their next time.
 *
 * A calendar schedule is six sets of numbers.  Its next time is sought in local
 * time, where days are simple, and then placed on the real time line, where the
 * zone's jumps are.  "Local seconds" are a local date and time counted as if it
 * were UTC.
 */
#include "postgres.h"

#include <ctype.h>

#include "base/clock.h"
#include "base/compat.h"
#include "base/errors.h"
#include "base/schedule.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/timestamp.h"

#define SCHEDULE_MAX_TOKENS 8
#define SCHEDULE_MAX_LENGTH 400
#define SCHEDULE_MAX_INTERVAL (366 * SECS_PER_DAY)
#define SCHEDULE_MAX_COUNT 10000

/* A date comes back on the same weekday within twelve years. */
#define SCHEDULE_SEARCH_DAYS (13 * 366)

#define SECONDS_FROM_1970_TO_2000 \
	((int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * SECS_PER_DAY)

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

static const char *const month_names[] = {"jan", "feb", "mar", "apr", "may", "jun", "jul",
										  "aug", "sep", "oct", "nov", "dec", NULL};
static const char *const weekday_names[] = {"sun", "mon", "tue", "wed",
											"thu", "fri", "sat", NULL};
static const char *const weekday_long_names[] = {"sunday",    "monday",   "tuesday",
												 "wednesday", "thursday", "friday",
												 "saturday",  NULL};

static const struct
{
	const char *name;
	int min;
	int max;
	const char *const *names; /* of the numbers from min, or NULL */
} fields[FIELD_COUNT] = {
	{"second", 0, 59},
	{"minute", 0, 59},
	{"hour", 0, 23},
	{"day of month", 1, 31},
	{"month", 1, 12, month_names},
	{"day of week", 0, 7, weekday_names}, /* 7 is Sunday too */
};

/* Words that stand alone. */
static const struct
{
	const char *word;
	const char *cron;
} aliases[] = {
	{"hourly", "0 * * * *"},    {"daily", "0 0 * * *"},    {"weekly", "0 0 * * 0"},
	{"@hourly", "0 * * * *"},   {"@daily", "0 0 * * *"},   {"@midnight", "0 0 * * *"},
	{"@weekly", "0 0 * * 0"},   {"@monthly", "0 0 1 * *"}, {"@yearly", "0 0 1 1 *"},
	{"@annually", "0 0 1 1 *"},
};

/* Units of "every". */
static const struct
{
	const char *word;
	const char *plural;
	int seconds;
} units[] = {
	{"second", "seconds", 1},
	{"minute", "minutes", SECS_PER_MINUTE},
	{"hour", "hours", SECS_PER_HOUR},
};

/* Days that "at" may follow. */
static const struct
{
	const char *word;
	uint64 weekdays;
} day_words[] = {
	{"daily", 0x7f},
	{"weekdays", 0x3e},
	{"weekends", 0x41},
};

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

/* --- errors --------------------------------------------------------------------- */

/* Raises; detail says where and what is wrong, hint what would be right. */
static void refuse(const char *text, const char *hint, const char *detail_format, ...)
	pg_attribute_printf(3, 4) __attribute__((noreturn));

static void
refuse(const char *text, const char *hint, const char *detail_format, ...)
{
	StringInfoData detail;

	initStringInfo(&detail);
	for (;;)
	{
		va_list args;
		int needed;

		va_start(args, detail_format);
		needed = appendStringInfoVA(&detail, detail_format, args);
		va_end(args);
		if (needed == 0)
			break;
		enlargeStringInfo(&detail, needed);
	}
	ereport(ERROR, (errcode(ERRCODE_FACTORY_INVALID_SCHEDULE),
					errmsg("schedule \"%s\" is not valid", text),
					errdetail_internal("%s", detail.data), errhint("%s", hint)));
	pg_unreachable();
}

/* --- reading cron --------------------------------------------------------------- */

/* The number that a name of the field stands for, or -1. */
static int
field_named(ScheduleField field, const char *word, int length)
{
	const char *const *names = fields[field].names;

	if (names == NULL || length != 3)
		return -1;
	for (int i = 0; names[i] != NULL; i++)
		if (strncmp(names[i], word, 3) == 0)
			return fields[field].min + i;
	return -1;
}

/* What a hint says about a field. */
static const char *
field_hint(ScheduleField field)
{
	return psprintf("A %s is a number from %d to %d%s; use *, lists (1,3), ranges (1-5) "
					"and steps (*/5).",
					fields[field].name, fields[field].min, fields[field].max,
					field == FIELD_MONTH     ? " or a name from jan to dec"
					: field == FIELD_WEEKDAY ? " (0 and 7 are Sunday) or a name from sun "
											   "to sat"
											 : "");
}

/* Reads one number or name at *at and moves on. */
static int
read_value(const Reader *reader, const Token *token, ScheduleField field, char **at)
{
	char *start = *at;
	int place = token->place + (int) (start - token->word);
	long value;

	if (isdigit((unsigned char) *start))
	{
		while (isdigit((unsigned char) **at))
			(*at)++;
		value = *at - start > 4 ? 99999 : strtol(start, NULL, 10);
	}
	else
	{
		while (isalpha((unsigned char) **at))
			(*at)++;
		value = field_named(field, start, (int) (*at - start));
		if (value < 0)
			refuse(reader->text, field_hint(field),
				   "The %s at position %d cannot be read.", fields[field].name, place);
	}
	if (value < fields[field].min || value > fields[field].max)
		refuse(reader->text, field_hint(field),
			   "The %s at position %d is %.*s, not between %d and %d.",
			   fields[field].name, place, (int) (*at - start), start, fields[field].min,
			   fields[field].max);
	return (int) value;
}

/* Reads "/n" where there is one; 1 where not. */
static int
read_step(const Reader *reader, const Token *token, ScheduleField field, char **at)
{
	int place;
	long step;
	char *start;

	if (**at != '/')
		return 1;
	start = ++(*at);
	place = token->place + (int) (start - token->word);
	while (isdigit((unsigned char) **at))
		(*at)++;
	step = *at - start > 4 ? 99999 : strtol(start, NULL, 10);
	if (step < 1 || step > fields[field].max)
		refuse(reader->text, field_hint(field),
			   "The step of the %s at position %d is not between 1 and %d.",
			   fields[field].name, place, fields[field].max);
	return (int) step;
}

/* One member of a list: a value, a range or a star, with a step or not. */
static uint64
read_member(const Reader *reader, const Token *token, ScheduleField field, char **at)
{
	int first, last, step, place;
	bool single = false;
	uint64 set = 0;

	place = token->place + (int) (*at - token->word);
	if (**at == '*')
	{
		(*at)++;
		first = fields[field].min;
		last = field == FIELD_WEEKDAY ? 6 : fields[field].max;
	}
	else
	{
		first = last = read_value(reader, token, field, at);
		if (**at == '-')
		{
			(*at)++;
			last = read_value(reader, token, field, at);
		}
		else
			single = true;
	}
	if (single && **at == '/')
		refuse(reader->text,
			   psprintf("For a step write a range: %d-%d%s.", first, fields[field].max,
						*at),
			   "The %s at position %d has a step but no range.", fields[field].name,
			   place);
	if (last < first)
		refuse(reader->text,
			   psprintf("Write %d-%d,%d-%d to go round the end.", first,
						fields[field].max, fields[field].min, last),
			   "The range of the %s at position %d runs backwards.", fields[field].name,
			   place);
	step = read_step(reader, token, field, at);
	for (int value = first; value <= last; value += step)
		set |= UINT64CONST(1) << value;
	return set;
}

/* Whether the member ends here. */
static bool
ends_member(const char *at)
{
	return *at == '\0' || *at == ',';
}

/* "L" as a day of the month: its last one. */
static bool
read_last_day(ScheduleField field, char **at, Schedule *schedule)
{
	if (field != FIELD_DAY || **at != 'l' || !ends_member(*at + 1))
		return false;
	(*at)++;
	schedule->last_day = true;
	return true;
}

/* "fri#2", "5#2": the second Friday; "5L": the last one. */
static bool
read_nth_weekday(const Reader *reader, const Token *token, ScheduleField field, char **at,
				 Schedule *schedule)
{
	char *end = *at;
	int weekday, nth = 0;

	if (field != FIELD_WEEKDAY)
		return false;
	end += strcspn(end, "#,");
	if (*end != '#' && (end[-1] != 'l' || !isdigit((unsigned char) **at) || end == *at))
		return false;
	weekday = read_value(reader, token, field, at) % 7;
	if (**at == '#')
	{
		nth = (*at)[1] - '0';
		if (nth < 1 || nth > 5 || !ends_member(*at + 2))
			refuse(reader->text, "Write fri#2 for the second Friday, from #1 to #5.",
				   "The number after \"#\" at position %d is not between 1 and 5.",
				   token->place + (int) (*at - token->word) + 1);
		(*at)++;
	}
	(*at)++;
	schedule->nth[nth] |= UINT64CONST(1) << weekday;
	return true;
}

static uint64
read_field(const Reader *reader, const Token *token, ScheduleField field,
		   Schedule *schedule)
{
	char *at = token->word;
	uint64 set = 0;

	for (;;)
	{
		if (!read_last_day(field, &at, schedule) &&
			!read_nth_weekday(reader, token, field, &at, schedule))
			set |= read_member(reader, token, field, &at);
		if (*at == '\0')
			break;
		if (*at != ',')
			refuse(reader->text, field_hint(field),
				   "The %s is followed by \"%s\" at position %d.", fields[field].name, at,
				   token->place + (int) (at - token->word));
		at++;
	}
	if (field == FIELD_WEEKDAY && (set & (1 << 7)))
		set = (set & 0x7f) | 1;
	return set;
}

static void
read_cron(const Reader *reader, Schedule *schedule)
{
	int skipped = FIELD_COUNT - reader->count; /* five fields: no seconds */

	if (reader->count != 5 && reader->count != 6)
		refuse(reader->text, HINT_FORMS,
			   "Cron has 5 fields (minute, hour, day of month, month, day of week), or 6 "
			   "with seconds first; this has %d.",
			   reader->count);
	schedule->allowed[FIELD_SECOND] = 1;
	for (int i = 0; i < reader->count; i++)
		schedule->allowed[skipped + i] =
			read_field(reader, &reader->tokens[i], skipped + i, schedule);
	schedule->day_is_star = reader->tokens[FIELD_DAY - skipped].word[0] == '*';
	schedule->weekday_is_star = reader->tokens[FIELD_WEEKDAY - skipped].word[0] == '*';
}

/* --- reading words -------------------------------------------------------------- */

static bool
token_is(const Reader *reader, int i, const char *word)
{
	return i < reader->count && strcmp(reader->tokens[i].word, word) == 0;
}

/* The end of the text is as good a place for an error as any. */
static int
token_place(const Reader *reader, int i)
{
	return i < reader->count ? reader->tokens[i].place : (int) strlen(reader->text) + 1;
}

/* Two digits or one, up to max, at *at; -1 where there is no number. */
static int
read_clock_part(char **at, int *value)
{
	char *start = *at;

	while (isdigit((unsigned char) **at))
		(*at)++;
	if (*at == start || *at - start > 2)
		return -1;
	*value = atoi(start);
	return 0;
}

/* "06:00" or "06:00:30". */
static void
read_time(const Reader *reader, int i, Schedule *schedule)
{
	static const char *const hint =
		"Write the time like 06:00 or 06:00:30, from 00:00 to 23:59:59.";
	int part[3] = {0, 0, 0};
	int parts = 0;
	char *at;

	if (i >= reader->count)
		refuse(reader->text, hint, "A time is missing at position %d.",
			   token_place(reader, i));
	at = reader->tokens[i].word;
	while (parts < 3 && read_clock_part(&at, &part[parts]) == 0)
	{
		parts++;
		if (*at != ':')
			break;
		at++;
	}
	if (parts < 2 || *at != '\0' || at[-1] == ':')
		refuse(reader->text, hint, "\"%s\" at position %d is not a time.",
			   reader->tokens[i].word, token_place(reader, i));
	for (int j = 0; j < parts; j++)
	{
		ScheduleField field = FIELD_HOUR - j;

		if (part[j] > fields[field].max)
			refuse(reader->text, hint,
				   "The %s of \"%s\" at position %d is not between 0 and %d.",
				   fields[field].name, reader->tokens[i].word, token_place(reader, i),
				   fields[field].max);
		schedule->allowed[field] = UINT64CONST(1) << part[j];
	}
	schedule->allowed[FIELD_SECOND] = UINT64CONST(1) << part[2];
}

/* What follows the days: nothing (midnight) or "at" a time, and then the end. */
static void
read_at(const Reader *reader, int i, Schedule *schedule)
{
	if (i < reader->count)
	{
		if (!token_is(reader, i, "at"))
			refuse(reader->text, HINT_FORMS, "\"at\" is expected at position %d.",
				   token_place(reader, i));
		read_time(reader, i + 1, schedule);
		i += 2;
	}
	if (i < reader->count)
		refuse(reader->text, HINT_FORMS, "\"%s\" at position %d is one word too many.",
			   reader->tokens[i].word, token_place(reader, i));
}

/* Every day, at midnight. */
static void
allow_midnights(Schedule *schedule)
{
	schedule->allowed[FIELD_SECOND] = 1;
	schedule->allowed[FIELD_MINUTE] = 1;
	schedule->allowed[FIELD_HOUR] = 1;
	schedule->allowed[FIELD_DAY] = ~UINT64CONST(1);
	schedule->allowed[FIELD_MONTH] = ~UINT64CONST(1);
	schedule->allowed[FIELD_WEEKDAY] = 0x7f;
	schedule->day_is_star = true;
	schedule->weekday_is_star = true;
}

/* "every 15 minutes", "every second". */
static void
read_every(const Reader *reader, Schedule *schedule)
{
	static const char *const hint =
		"Write \"every 15 minutes\": a number and seconds, minutes or hours. For days "
		"write \"daily at 06:00\".";
	int unit_at = 1;
	int64 count = 1;

	if (reader->count > 1 && isdigit((unsigned char) reader->tokens[1].word[0]))
	{
		char *end;

		count = strtoi64(reader->tokens[1].word, &end, 10);
		if (*end != '\0' || count < 1 || count > SCHEDULE_MAX_INTERVAL)
			refuse(reader->text, hint, "\"%s\" at position %d is not a number from 1.",
				   reader->tokens[1].word, token_place(reader, 1));
		unit_at = 2;
	}
	for (int i = 0; i < lengthof(units); i++)
		if (token_is(reader, unit_at, units[i].word) ||
			token_is(reader, unit_at, units[i].plural))
			schedule->every = count * units[i].seconds;
	if (schedule->every == 0)
		refuse(reader->text, hint, "A unit of time is expected at position %d.",
			   token_place(reader, unit_at));
	if (schedule->every > SCHEDULE_MAX_INTERVAL)
		refuse(reader->text, hint, "The interval is longer than 366 days.");
	if (reader->count > unit_at + 1)
		refuse(reader->text, hint, "\"%s\" at position %d is one word too many.",
			   reader->tokens[unit_at + 1].word, token_place(reader, unit_at + 1));
}

/* "weekly on monday at 06:00". */
static void
read_weekly(const Reader *reader, Schedule *schedule)
{
	allow_midnights(schedule);
	for (int i = 0; i < 7; i++)
		if (token_is(reader, 2, weekday_long_names[i]) ||
			token_is(reader, 2, weekday_names[i]))
		{
			schedule->allowed[FIELD_WEEKDAY] = UINT64CONST(1) << i;
			schedule->weekday_is_star = false;
			read_at(reader, 3, schedule);
			return;
		}
	refuse(reader->text, "Write \"weekly on monday at 06:00\".",
		   "A day of the week is expected at position %d.", token_place(reader, 2));
}

static void
read_words(const Reader *reader, Schedule *schedule)
{
	if (token_is(reader, 0, "every"))
	{
		read_every(reader, schedule);
		return;
	}
	if (token_is(reader, 0, "weekly") && token_is(reader, 1, "on"))
	{
		read_weekly(reader, schedule);
		return;
	}
	for (int i = 0; i < lengthof(day_words); i++)
		if (token_is(reader, 0, day_words[i].word))
		{
			allow_midnights(schedule);
			schedule->allowed[FIELD_WEEKDAY] = day_words[i].weekdays;
			schedule->weekday_is_star = day_words[i].weekdays == 0x7f;
			read_at(reader, 1, schedule);
			return;
		}
	refuse(reader->text, HINT_FORMS, "\"%s\" at position %d begins no known schedule.",
		   reader->tokens[0].word, reader->tokens[0].place);
}

/* --- reading -------------------------------------------------------------------- */

/* Cuts the text into words in lower case. */
static void
split(Reader *reader, const char *text)
{
	char *copy = pstrdup(text);
	char *at = copy;

	reader->text = text;
	reader->count = 0;
	for (;;)
	{
		while (isspace((unsigned char) *at))
			at++;
		if (*at == '\0')
			return;
		if (reader->count == SCHEDULE_MAX_TOKENS)
			refuse(text, HINT_FORMS, "It has more than %d words.", SCHEDULE_MAX_TOKENS);
		reader->tokens[reader->count].word = at;
		reader->tokens[reader->count].place = (int) (at - copy) + 1;
		reader->count++;
		for (; *at != '\0' && !isspace((unsigned char) *at); at++)
			*at = pg_ascii_tolower((unsigned char) *at);
		if (*at != '\0')
			*at++ = '\0';
	}
}

static bool local_next(const Schedule *schedule, int64 after, int64 *next);

Schedule *
schedule_parse(const char *text)
{
	Schedule *schedule = palloc0(sizeof(Schedule));
	Reader reader;
	int64 first;

	if (strlen(text) > SCHEDULE_MAX_LENGTH)
		refuse(pnstrdup(text, pg_mbcliplen(text, strlen(text), 40)), HINT_FORMS,
			   "It is longer than %d bytes.", SCHEDULE_MAX_LENGTH);
	split(&reader, text);
	if (reader.count == 0)
		refuse(text, HINT_FORMS, "It is empty.");
	if (reader.count == 1)
		for (int i = 0; i < lengthof(aliases); i++)
			if (token_is(&reader, 0, aliases[i].word))
				split(&reader, aliases[i].cron);

	if (strchr("0123456789*,-/?#", reader.tokens[0].word[0]) != NULL)
		read_cron(&reader, schedule);
	else
		read_words(&reader, schedule);

	if (schedule->every == 0 && !local_next(schedule, 0, &first))
		refuse(text,
			   "Check the days of the months: no month of the schedule has that day.",
			   "It would never be due.");
	return schedule;
}

/* --- the next time -------------------------------------------------------------- */

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
	for (int value = from; value <= fields[field].max; value++)
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

/* --- for SQL -------------------------------------------------------------------- */

typedef struct DueTimes
{
	Schedule *schedule;
	pg_tz *zone;
	TimestampTz last;
} DueTimes;

static void
begin_due_times(FunctionCallInfo fcinfo, FuncCallContext *call)
{
	MemoryContext before = MemoryContextSwitchTo(call->multi_call_memory_ctx);
	DueTimes *due = palloc(sizeof(DueTimes));
	int count = PG_ARGISNULL(3) ? 1 : PG_GETARG_INT32(3);

	if (PG_ARGISNULL(0))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("schedule must not be null"), errhint(HINT_FORMS)));
	if (count < 0 || count > SCHEDULE_MAX_COUNT)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("count %d is not between 0 and %d", count, SCHEDULE_MAX_COUNT)));
	due->schedule = schedule_parse(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	due->last = PG_ARGISNULL(1) ? clock_now() : PG_GETARG_TIMESTAMPTZ(1);
	due->zone = clock_zone(PG_ARGISNULL(2) ? clock_plant_zone()
										   : text_to_cstring(PG_GETARG_TEXT_PP(2)));
	call->user_fctx = due;
	call->max_calls = count;
	MemoryContextSwitchTo(before);
}

FACTORY_FUNCTION(factory_schedule_next);

Datum
factory_schedule_next(PG_FUNCTION_ARGS)
{
	FuncCallContext *call;
	DueTimes *due;

	if (SRF_IS_FIRSTCALL())
		begin_due_times(fcinfo, SRF_FIRSTCALL_INIT());
	call = SRF_PERCALL_SETUP();
	if (call->call_cntr >= call->max_calls)
		SRF_RETURN_DONE(call);
	due = call->user_fctx;
	CHECK_FOR_INTERRUPTS();
	due->last = schedule_next(due->schedule, due->last, due->zone);
	SRF_RETURN_NEXT(call, TimestampTzGetDatum(due->last));
}
