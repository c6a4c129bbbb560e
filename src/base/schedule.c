/*
 * schedule.c
 *		Reading a schedule: the words of its text, and what they mean.
 *
 * Whatever form it is written in, a calendar schedule becomes the same six sets of
 * numbers.  Cron is read by schedule_cron.c; a single word such as "daily" stands for
 * a cron text.
 */
#include "postgres.h"

#include <ctype.h>

#include "base/errors.h"
#include "base/schedule_int.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "utils/timestamp.h"

#define SCHEDULE_MAX_LENGTH 400
#define SCHEDULE_MAX_INTERVAL (366 * SECS_PER_DAY)

static const char *const weekday_long_names[] = {"sunday",    "monday",   "tuesday",
												 "wednesday", "thursday", "friday",
												 "saturday",  NULL};

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

void
schedule_refuse(const char *text, const char *hint, const char *detail_format, ...)
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

/* --- words ---------------------------------------------------------------------- */

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
		schedule_refuse(reader->text, hint, "A time is missing at position %d.",
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
		schedule_refuse(reader->text, hint, "\"%s\" at position %d is not a time.",
						reader->tokens[i].word, token_place(reader, i));
	for (int j = 0; j < parts; j++)
	{
		ScheduleField field = FIELD_HOUR - j;
		const FieldRange *range = &schedule_fields[field];

		if (part[j] > range->max)
			schedule_refuse(reader->text, hint,
							"The %s of \"%s\" at position %d is not between 0 and %d.",
							range->name, reader->tokens[i].word, token_place(reader, i),
							range->max);
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
			schedule_refuse(reader->text, HINT_FORMS,
							"\"at\" is expected at position %d.", token_place(reader, i));
		read_time(reader, i + 1, schedule);
		i += 2;
	}
	if (i < reader->count)
		schedule_refuse(reader->text, HINT_FORMS,
						"\"%s\" at position %d is one word too many.",
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
			schedule_refuse(reader->text, hint,
							"\"%s\" at position %d is not a number from 1.",
							reader->tokens[1].word, token_place(reader, 1));
		unit_at = 2;
	}
	for (int i = 0; i < lengthof(units); i++)
		if (token_is(reader, unit_at, units[i].word) ||
			token_is(reader, unit_at, units[i].plural))
			schedule->every = count * units[i].seconds;
	if (schedule->every == 0)
		schedule_refuse(reader->text, hint, "A unit of time is expected at position %d.",
						token_place(reader, unit_at));
	if (schedule->every > SCHEDULE_MAX_INTERVAL)
		schedule_refuse(reader->text, hint, "The interval is longer than 366 days.");
	if (reader->count > unit_at + 1)
		schedule_refuse(reader->text, hint, "\"%s\" at position %d is one word too many.",
						reader->tokens[unit_at + 1].word,
						token_place(reader, unit_at + 1));
}

/* "weekly on monday at 06:00". */
static void
read_weekly(const Reader *reader, Schedule *schedule)
{
	allow_midnights(schedule);
	for (int i = 0; i < 7; i++)
		if (token_is(reader, 2, weekday_long_names[i]) ||
			token_is(reader, 2, schedule_fields[FIELD_WEEKDAY].names[i]))
		{
			schedule->allowed[FIELD_WEEKDAY] = UINT64CONST(1) << i;
			schedule->weekday_is_star = false;
			read_at(reader, 3, schedule);
			return;
		}
	schedule_refuse(reader->text, "Write \"weekly on monday at 06:00\".",
					"A day of the week is expected at position %d.",
					token_place(reader, 2));
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
	schedule_refuse(reader->text, HINT_FORMS,
					"\"%s\" at position %d begins no known schedule.",
					reader->tokens[0].word, reader->tokens[0].place);
}

/* --- the whole ------------------------------------------------------------------ */

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
			schedule_refuse(text, HINT_FORMS, "It has more than %d words.",
							SCHEDULE_MAX_TOKENS);
		reader->tokens[reader->count].word = at;
		reader->tokens[reader->count].place = (int) (at - copy) + 1;
		reader->count++;
		for (; *at != '\0' && !isspace((unsigned char) *at); at++)
			*at = pg_ascii_tolower((unsigned char) *at);
		if (*at != '\0')
			*at++ = '\0';
	}
}

Schedule *
schedule_parse(const char *text)
{
	Schedule *schedule = palloc0(sizeof(Schedule));
	Reader reader;

	if (strlen(text) > SCHEDULE_MAX_LENGTH)
		schedule_refuse(pnstrdup(text, pg_mbcliplen(text, strlen(text), 40)), HINT_FORMS,
						"It is longer than %d bytes.", SCHEDULE_MAX_LENGTH);
	split(&reader, text);
	if (reader.count == 0)
		schedule_refuse(text, HINT_FORMS, "It is empty.");
	if (reader.count == 1)
		for (int i = 0; i < lengthof(aliases); i++)
			if (token_is(&reader, 0, aliases[i].word))
				split(&reader, aliases[i].cron);

	if (strchr("0123456789*,-/?#", reader.tokens[0].word[0]) != NULL)
		schedule_read_cron(&reader, schedule);
	else
		read_words(&reader, schedule);

	if (!schedule_is_ever_due(schedule))
		schedule_refuse(
			text, "Check the days of the months: no month of the schedule has that day.",
			"It would never be due.");
	return schedule;
}
