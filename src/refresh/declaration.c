/*
 * declaration.c
 *		The text of a schedule, part by part.
 */
#include "postgres.h"

#include <ctype.h>

#include "base/attempt.h"
#include "base/compat.h"
#include "base/errors.h"
#include "base/schedule.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "refresh/declaration.h"
#include "refresh/refresh_int.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/varlena.h"

/* Staleness below this is a matter for triggers. */
#define WITHIN_MIN_USEC USECS_PER_SEC

static void
raise_twice(const char *what)
{
	ereport(ERROR, (errcode(ERRCODE_FACTORY_INVALID_SCHEDULE),
					errmsg("the schedule says \"%s\" twice", what),
					errhint("Say it once; join different parts by \"or\".")));
}

/* The text after a leading word, or NULL where it begins otherwise. */
static char *
after_word(char *text, const char *word)
{
	size_t length = strlen(word);

	if (pg_strncasecmp(text, word, length) != 0 ||
		(text[length] != '\0' && !isspace((unsigned char) text[length])))
		return NULL;
	text += length;
	while (isspace((unsigned char) *text))
		text++;
	return text;
}

static char *
trimmed(char *text)
{
	char *end = text + strlen(text);

	while (end > text && isspace((unsigned char) end[-1]))
		*--end = '\0';
	while (isspace((unsigned char) *text))
		text++;
	return text;
}

typedef struct ViewName
{
	const char *text;
	List *words;
} ViewName;

/* An AttemptBody. */
static void
read_name(void *argument)
{
	ViewName *name = argument;

	name->words = textToQualifiedNameList(cstring_to_text(name->text));
}

static Oid
view_of_name(const char *text)
{
	ViewName name = {.text = text};
	Oid view = InvalidOid;

	if (attempt(read_name, &name) == NULL)
		view = RangeVarGetRelid(makeRangeVarFromNameList(name.words), NoLock, true);
	if (!OidIsValid(view) || !refresh_is_view(view))
		ereport(ERROR,
				(errcode(ERRCODE_FACTORY_INVALID_SCHEDULE),
				 errmsg("\"%s\" in the schedule is not a materialized view", text),
				 errhint("Write after mv_a, mv_b with names of materialized views.")));
	return view;
}

static void
take_after(Declaration *declaration, char *rest)
{
	char *names = after_word(rest, "any");

	if (declaration->after != NIL)
		raise_twice("after");
	declaration->after_any = names != NULL;
	names = names ? names : (after_word(rest, "all") ? after_word(rest, "all") : rest);
	for (char *name = strtok(names, ","); name != NULL; name = strtok(NULL, ","))
		declaration->after =
			list_append_unique_oid(declaration->after, view_of_name(trimmed(name)));
	if (declaration->after == NIL)
		ereport(ERROR, (errcode(ERRCODE_FACTORY_INVALID_SCHEDULE),
						errmsg("\"after\" in the schedule names no view"),
						errhint("Write it like: after mv_a, mv_b.")));
}

typedef struct Span
{
	const char *text;
	Interval *interval;
} Span;

/* An AttemptBody. */
static void
read_span(void *argument)
{
	Span *span = argument;

	span->interval = DatumGetIntervalP(
		DirectFunctionCall3(interval_in, CStringGetDatum(span->text),
							ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
}

static void
take_within(Declaration *declaration, char *rest)
{
	Span span = {.text = rest};

	if (declaration->within_usec != 0)
		raise_twice("within");
	if (attempt(read_span, &span) != NULL)
		ereport(ERROR, (errcode(ERRCODE_FACTORY_INVALID_SCHEDULE),
						errmsg("\"%s\" behind \"within\" in the schedule is not a span "
							   "of time",
							   rest),
						errhint("Write it like: within 5 minutes.")));
	declaration->within_usec = span.interval->time + span.interval->day * USECS_PER_DAY +
							   span.interval->month * (DAYS_PER_MONTH * USECS_PER_DAY);
	if (declaration->within_usec < WITHIN_MIN_USEC)
		ereport(ERROR, (errcode(ERRCODE_FACTORY_INVALID_SCHEDULE),
						errmsg("\"within\" in the schedule must be at least 1 second"),
						errhint("Write it like: within 5 minutes.")));
}

static void
take_part(Declaration *declaration, char *part)
{
	char *rest;

	if ((rest = after_word(part, "after")) != NULL)
		take_after(declaration, rest);
	else if ((rest = after_word(part, "within")) != NULL)
		take_within(declaration, rest);
	else if ((rest = after_word(part, "on")) != NULL)
	{
		if (pg_strcasecmp(rest, "change") != 0)
			ereport(ERROR,
					(errcode(ERRCODE_FACTORY_INVALID_SCHEDULE),
					 errmsg("\"%s\" behind \"on\" in the schedule is not known", rest),
					 errhint("Write \"on change\", alone or joined by \"or\".")));
		if (declaration->on_change)
			raise_twice("on change");
		declaration->on_change = true;
	}
	else
	{
		if (declaration->times != NULL)
			raise_twice("a time");
		(void) schedule_parse(part);
		declaration->times = part;
	}
}

/* Cuts the text behind its next " or "; NULL where there is none. */
static char *
cut_at_or(char *text)
{
	for (char *at = text; *at != '\0'; at++)
		if (isspace((unsigned char) at[0]) && pg_strncasecmp(at + 1, "or", 2) == 0 &&
			isspace((unsigned char) at[3]))
		{
			*at = '\0';
			return at + 4;
		}
	return NULL;
}

Declaration *
declaration_parse(const char *text)
{
	Declaration *declaration = palloc0(sizeof(Declaration));
	char *part = pstrdup(text);

	while (part != NULL)
	{
		char *next = cut_at_or(part);

		take_part(declaration, trimmed(part));
		part = next;
	}
	return declaration;
}
