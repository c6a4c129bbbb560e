/*
 * pace.c
 *		How fast a model may be asked: by its own options, and by what its server says.
 *
 * Options are kept strictly: in no 60 seconds are there more requests, or tokens, than
 * they say.  Servers tell in headers what is left and when all of it is back; between
 * answers that is counted down, and up again, here.
 */
#include "postgres.h"

#include <ctype.h>
#include <limits.h>
#include <math.h>

#include "http/http.h"
#include "llm/gate_int.h"
#include "utils/datetime.h"
#include "utils/timestamp.h"

/* A server's word stops all sessions for so long at most; then one of them asks again. */
#define PACE_MAX_PAUSE_MS (60 * 1000.0)

/* --- the last minute ------------------------------------------------------------------- */

static int64
second_of(TimestampTz moment)
{
	return moment / USECS_PER_SEC;
}

/* Clears what has passed since the last look. */
static void
turn(GateModel *model, TimestampTz now)
{
	int64 second = second_of(now);
	int64 passed = second - model->second;

	if (passed <= 0)
		return;
	for (int64 i = 0; i < Min(passed, PACE_SECONDS); i++)
	{
		int slot = (second - i) % PACE_SECONDS;

		model->sent[slot] = 0;
		model->taken[slot] = 0;
	}
	model->second = second;
}

void
pace_last_minute(GateModel *model, TimestampTz now, int64 *requests, int64 *tokens)
{
	turn(model, now);
	*requests = 0;
	*tokens = 0;
	for (int i = 0; i < PACE_SECONDS; i++)
	{
		*requests += model->sent[i];
		*tokens += model->taken[i];
	}
}

/* When enough of the last minute has passed for one request of so many tokens. */
static TimestampTz
minute_moment(GateModel *model, const GatePass *pass, TimestampTz now)
{
	/* One that asks for more than there is in a minute goes when nothing else did. */
	int64 tokens = Min(pass->tokens, pass->tokens_per_minute);
	int64 requests, taken, second;

	if (pass->requests_per_minute <= 0 && pass->tokens_per_minute <= 0)
		return now;
	pace_last_minute(model, now, &requests, &taken);
	second = model->second - (PACE_SECONDS - 1);
	while (second <= model->second &&
		   ((pass->requests_per_minute > 0 && requests >= pass->requests_per_minute) ||
			(pass->tokens_per_minute > 0 && taken > 0 &&
			 taken + tokens > pass->tokens_per_minute)))
	{
		requests -= model->sent[second % PACE_SECONDS];
		taken -= model->taken[second % PACE_SECONDS];
		second++;
	}
	/* The slot before that one must have left the window. */
	if (second == model->second - (PACE_SECONDS - 1))
		return now;
	return (second - 1 + PACE_SECONDS) * USECS_PER_SEC;
}

void
pace_count(GateModel *model, int requests, int64 tokens, TimestampTz now)
{
	turn(model, now);
	model->sent[model->second % PACE_SECONDS] += requests;
	model->taken[model->second % PACE_SECONDS] += tokens;
	model->requests.left -= requests;
	model->tokens.left -= tokens;
}

void
pace_correct(GateModel *model, TimestampTz counted_at, int64 tokens, TimestampTz now)
{
	int64 second = second_of(counted_at);

	turn(model, now);
	if (second <= model->second - PACE_SECONDS || second > model->second)
		return;
	model->taken[second % PACE_SECONDS] += tokens;
}

/* --- what the server said ----------------------------------------------------------------- */

static TimestampTz
allowance_moment(const GateAllowance *allowance, double wanted, TimestampTz now)
{
	double there;

	if (allowance->limit <= 0 || allowance->unit_us <= 0)
		return now;
	wanted = Min(wanted, allowance->limit);
	there = Min(allowance->left + (now - allowance->at) / allowance->unit_us,
				allowance->limit);
	if (there >= wanted)
		return now;
	return now + (TimestampTz) Min((wanted - there) * allowance->unit_us,
								   PACE_MAX_PAUSE_MS * 1000);
}

TimestampTz
pace_moment(GateModel *model, const GatePass *pass, TimestampTz now)
{
	TimestampTz moment = model->paused_until;

	moment = Max(moment, allowance_moment(&model->requests, 1, now));
	moment = Max(moment, allowance_moment(&model->tokens, pass->tokens, now));
	return Max(moment, minute_moment(model, pass, now));
}

/* The value of the header of that name, or NULL. */
static const char *
header(const HttpAnswer *got, const char *name)
{
	size_t length = strlen(name);
	ListCell *cell;

	foreach (cell, got->headers)
	{
		const char *line = lfirst(cell);

		if (strncmp(line, name, length) == 0 && line[length] == ':')
			return line + length + 1 + strspn(line + length + 1, " \t");
	}
	return NULL;
}

static double
count_header(const HttpAnswer *got, const char *name)
{
	const char *value = header(got, name);
	char *end;
	double count;

	if (value == NULL || !isdigit((unsigned char) *value))
		return -1;
	count = strtod(value, &end);
	return *end == '\0' && count < 1e15 ? count : -1;
}

/* "2026-11-23T09:00:00Z": how many milliseconds that is away. */
static double
until_moment(const char *value, TimestampTz now)
{
	int year, month, day, hour, minute, second;
	double moment;

	if (sscanf(value, "%4d-%2d-%2dT%2d:%2d:%2d", &year, &month, &day, &hour, &minute,
			   &second) != 6 ||
		month < 1 || month > MONTHS_PER_YEAR || day < 1 || day > 31)
		return -1;
	moment = (date2j(year, month, day) - POSTGRES_EPOCH_JDATE) * (double) USECS_PER_DAY +
			 ((hour * 60.0 + minute) * 60.0 + second) * USECS_PER_SEC;
	return Max(0, (moment - now) / 1000.0);
}

/* Behind the unit; a bare number is of seconds. */
static const char *
take_unit(const char *unit, double amount, double *total_ms)
{
	static const struct
	{
		const char *name;
		double ms;
	} units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}};

	for (int i = 0; i < lengthof(units); i++)
		if (strncmp(unit, units[i].name, strlen(units[i].name)) == 0)
		{
			*total_ms += amount * units[i].ms;
			return unit + strlen(units[i].name);
		}
	*total_ms += amount * 1000;
	return unit;
}

/* "6m0s", "20ms", "1.5" (seconds), or a moment: in milliseconds; -1 for none. */
static double
span_header(const HttpAnswer *got, const char *name, TimestampTz now)
{
	const char *value = header(got, name);
	double total = 0;

	if (value == NULL || !isdigit((unsigned char) *value))
		return -1;
	if (strchr(value, 'T') != NULL)
		return until_moment(value, now);
	while (isdigit((unsigned char) *value))
	{
		char *unit;
		double amount = strtod(value, &unit);

		value = take_unit(unit, amount, &total);
	}
	return *value == '\0' ? total : -1;
}

static void
learn(GateAllowance *allowance, double limit, double left, double back_ms,
	  TimestampTz now)
{
	if (limit <= 0 || left < 0 || back_ms < 0)
		return;
	allowance->limit = limit;
	allowance->left = Min(left, limit);
	allowance->unit_us =
		allowance->left < limit ? back_ms * 1000 / (limit - allowance->left) : 0;
	allowance->at = now;
}

void
pace_learn(GateModel *model, const HttpAnswer *got, double pause_ms, TimestampTz now)
{
	if (pause_ms > 0)
	{
		TimestampTz until = now + (TimestampTz) (Min(pause_ms, PACE_MAX_PAUSE_MS) * 1000);

		model->paused_until = Max(model->paused_until, until);
	}
	if (got->headers == NIL)
		return;
	learn(&model->requests, count_header(got, "x-ratelimit-limit-requests"),
		  count_header(got, "x-ratelimit-remaining-requests"),
		  span_header(got, "x-ratelimit-reset-requests", now), now);
	learn(&model->tokens, count_header(got, "x-ratelimit-limit-tokens"),
		  count_header(got, "x-ratelimit-remaining-tokens"),
		  span_header(got, "x-ratelimit-reset-tokens", now), now);
	learn(&model->requests, count_header(got, "anthropic-ratelimit-requests-limit"),
		  count_header(got, "anthropic-ratelimit-requests-remaining"),
		  span_header(got, "anthropic-ratelimit-requests-reset", now), now);
	learn(&model->tokens, count_header(got, "anthropic-ratelimit-tokens-limit"),
		  count_header(got, "anthropic-ratelimit-tokens-remaining"),
		  span_header(got, "anthropic-ratelimit-tokens-reset", now), now);
}
