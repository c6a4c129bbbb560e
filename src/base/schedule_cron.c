/*
 * schedule_cron.c
 *		Cron's grammar: each field a list of numbers, names, ranges and steps.
 *
 * Five fields as everywhere, or six with seconds first.  Days of the month may be "L",
 * the last one; days of the week "fri#2", the second Friday, or "5L", the last one.
 */
#include "postgres.h"

#include <ctype.h>

#include "base/schedule_int.h"

static const char *const month_names[] = {"jan", "feb", "mar", "apr", "may", "jun", "jul",
										  "aug", "sep", "oct", "nov", "dec", NULL};
static const char *const weekday_names[] = {"sun", "mon", "tue", "wed",
											"thu", "fri", "sat", NULL};

const FieldRange schedule_fields[FIELD_COUNT] = {
	{"second", 0, 59},
	{"minute", 0, 59},
	{"hour", 0, 23},
	{"day of month", 1, 31},
	{"month", 1, 12, month_names},
	{"day of week", 0, 7, weekday_names}, /* 7 is Sunday too */
};

/* The number that a name of the field stands for, or -1. */
static int
field_named(ScheduleField field, const char *word, int length)
{
	const FieldRange *range = &schedule_fields[field];
	const char *const *names = range->names;

	if (names == NULL || length != 3)
		return -1;
	for (int i = 0; names[i] != NULL; i++)
		if (strncmp(names[i], word, 3) == 0)
			return range->min + i;
	return -1;
}

/* What a hint says about a field. */
static const char *
field_hint(ScheduleField field)
{
	const FieldRange *range = &schedule_fields[field];

	return psprintf("A %s is a number from %d to %d%s; use *, lists (1,3), ranges (1-5) "
					"and steps (*/5).",
					range->name, range->min, range->max,
					field == FIELD_MONTH     ? " or a name from jan to dec"
					: field == FIELD_WEEKDAY ? " (0 and 7 are Sunday) or a name from sun "
											   "to sat"
											 : "");
}

/* Reads one number or name at *at and moves on. */
static int
read_value(const Reader *reader, const Token *token, ScheduleField field, char **at)
{
	const FieldRange *range = &schedule_fields[field];
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
			schedule_refuse(reader->text, field_hint(field),
							"The %s at position %d cannot be read.", range->name, place);
	}
	if (value < range->min || value > range->max)
		schedule_refuse(reader->text, field_hint(field),
						"The %s at position %d is %.*s, not between %d and %d.",
						range->name, place, (int) (*at - start), start, range->min,
						range->max);
	return (int) value;
}

/* Reads "/n" where there is one; 1 where not. */
static int
read_step(const Reader *reader, const Token *token, ScheduleField field, char **at)
{
	const FieldRange *range = &schedule_fields[field];
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
	if (step < 1 || step > range->max)
		schedule_refuse(reader->text, field_hint(field),
						"The step of the %s at position %d is not between 1 and %d.",
						range->name, place, range->max);
	return (int) step;
}

/* A star, a range or a single value: the first number of it and the last. */
static void
read_range(const Reader *reader, const Token *token, ScheduleField field, char **at,
		   int *first, int *last)
{
	const FieldRange *range = &schedule_fields[field];
	int place = token->place + (int) (*at - token->word);

	if (**at == '*')
	{
		(*at)++;
		*first = range->min;
		*last = field == FIELD_WEEKDAY ? 6 : range->max;
		return;
	}
	*first = *last = read_value(reader, token, field, at);
	if (**at == '-')
	{
		(*at)++;
		*last = read_value(reader, token, field, at);
	}
	else if (**at == '/')
		schedule_refuse(reader->text,
						psprintf("For a step write a range: %d-%d%s.", *first, range->max,
								 *at),
						"The %s at position %d has a step but no range.", range->name,
						place);
	if (*last < *first)
		schedule_refuse(reader->text,
						psprintf("Write %d-%d,%d-%d to go round the end.", *first,
								 range->max, range->min, *last),
						"The range of the %s at position %d runs backwards.", range->name,
						place);
}

/* One member of a list: a value, a range or a star, with a step or not. */
static uint64
read_member(const Reader *reader, const Token *token, ScheduleField field, char **at)
{
	int first, last, step;
	uint64 set = 0;

	read_range(reader, token, field, at, &first, &last);
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
			schedule_refuse(
				reader->text, "Write fri#2 for the second Friday, from #1 to #5.",
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
	const FieldRange *range = &schedule_fields[field];
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
			schedule_refuse(reader->text, field_hint(field),
							"The %s is followed by \"%s\" at position %d.", range->name,
							at, token->place + (int) (at - token->word));
		at++;
	}
	if (field == FIELD_WEEKDAY && (set & (1 << 7)))
		set = (set & 0x7f) | 1;
	return set;
}

void
schedule_read_cron(const Reader *reader, Schedule *schedule)
{
	int skipped = FIELD_COUNT - reader->count; /* five fields: no seconds */

	if (reader->count != 5 && reader->count != 6)
		schedule_refuse(
			reader->text, HINT_FORMS,
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
