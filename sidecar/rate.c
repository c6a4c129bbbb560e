/*
 * rate.c
 *		How many requests one caller may make.
 *
 * A caller is who the token or key says, else the address.  Each has, for each group of
 * routes, three counts: in this minute, in this hour, and in this second (the burst).
 * They are kept in a table of fixed size that all loops share without locks: a caller's
 * hash is its place, and where two fall together the younger one takes it over and
 * begins anew, so that a limit may be missed but never applied to a stranger.
 */
#include "rate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "exchange.h"
#include "log.h"
#include "setup.h"
#include "text.h"

#define PLACES 65536 /* power of 2 */

typedef enum RateWindow
{
	WINDOW_SECOND,
	WINDOW_MINUTE,
	WINDOW_HOUR,
	WINDOW_COUNT
} RateWindow;

static const struct
{
	const char *unit;
	long seconds;
} windows[WINDOW_COUNT] = {{"s", 1}, {"min", 60}, {"h", 3600}};

/* Atomics: caller's hash, and for each window when it began and how many there were. */
typedef struct Place
{
	uint64_t caller;
	uint64_t counts[WINDOW_COUNT]; /* window's number << 24 | count */
} Place;

struct RateLimits
{
	long most[SERVICE_PROBES][WINDOW_COUNT]; /* 0: no limit */
	bool any;
};

struct RateCounts
{
	Place places[PLACES];
};

/* --- "judgment 30/min 500/h burst 5, bi 60/min" ---------------------------------------- */

static int
find_group(const char *name)
{
	for (int i = 0; i < SERVICE_PROBES; i++)
		if (strcasecmp(service_names[i], name) == 0)
			return i;
	return -1;
}

static bool
read_limit(long *most, const char *word, bool *burst)
{
	char unit[8];
	long count;
	char end;

	if (*burst)
	{
		*burst = false;
		return sscanf(word, "%ld%c", &most[WINDOW_SECOND], &end) == 1 &&
			   most[WINDOW_SECOND] > 0;
	}
	if (strcmp(word, "burst") == 0)
	{
		*burst = true;
		return true;
	}
	if (sscanf(word, "%ld/%7s%c", &count, unit, &end) != 2 || count <= 0 ||
		count >= 1 << 24)
		return false;
	for (int i = 0; i < WINDOW_COUNT; i++)
		if (strcmp(windows[i].unit, unit) == 0)
		{
			most[i] = count;
			return true;
		}
	return false;
}

static bool
read_group(RateLimits *limits, char *text)
{
	char *word = strsep(&text, " ");
	int group = find_group(word);
	bool burst = false;

	if (group < 0)
		return false;
	while ((word = strsep(&text, " ")) != NULL)
		if (*word && !read_limit(limits->most[group], word, &burst))
			return false;
	limits->any = true;
	return !burst;
}

RateLimits *
rate_open(const char *text)
{
	RateLimits *limits = memory_new(sizeof(RateLimits));
	char *copy = text_copy(text);
	char *rest = copy;
	char *group;
	bool good = true;

	while (good && (group = strsep(&rest, ",;")) != NULL)
	{
		group += strspn(group, " ");
		if (*group)
			good = read_group(limits, group);
	}
	free(copy);
	if (good)
		return limits;
	log_error("FACTORYD_RATE_LIMITS \"%s\" cannot be read", text);
	log_hint(
		"Write it like \"judgment 30/min 500/h burst 5, bi 60/min, rest 100/s\"; groups "
		"are judgment, bi, learning and rest.");
	free(limits);
	return NULL;
}

void
rate_close(RateLimits *limits)
{
	free(limits);
}

RateCounts *
rate_counts_new(void)
{
	return memory_new(sizeof(RateCounts));
}

void
rate_counts_free(RateCounts *counts)
{
	free(counts);
}

/* --- counting ---------------------------------------------------------------------------- */

static uint64_t
hash_of_caller(const Exchange *exchange)
{
	const json_t *claims = exchange->token ? exchange->token->claims : NULL;
	const char *subject = json_string_value(json_object_get(claims, "sub"));
	char address[64];
	uint64_t hash;

	if (subject == NULL)
		subject = json_string_value(json_object_get(claims, "api_key"));
	if (subject == NULL)
		subject = http_peer(exchange->request, address, sizeof(address));
	hash = text_hash(subject) * 31 + exchange->service;
	if (exchange->call.tenant)
		hash = hash * 31 + text_hash(exchange->call.tenant);
	return hash ? hash : 1;
}

/* The count in the window that now is, this request included. */
static long
count_one(uint64_t *cell, uint64_t window)
{
	uint64_t before = __atomic_load_n(cell, __ATOMIC_RELAXED);
	uint64_t after;

	do
		after = before >> 24 == window ? before + 1 : window << 24 | 1;
	while (!__atomic_compare_exchange_n(cell, &before, after, true, __ATOMIC_RELAXED,
										__ATOMIC_RELAXED));
	return (long) (after & 0xffffff);
}

static void
add_headers(Exchange *exchange, long most, long left, long reset)
{
	buffer_add_format(&exchange->extra,
					  "X-RateLimit-Limit: %ld\r\nX-RateLimit-Remaining: %ld\r\n"
					  "X-RateLimit-Reset: %ld\r\n",
					  most, left, reset);
}

static bool
refuse(Exchange *exchange, long most, RateWindow window, long wait, long reset)
{
	char message[80];

	COUNT(exchange->counters->rejected[REJECTED_RATE], 1);
	add_headers(exchange, most, 0, reset);
	buffer_add_format(&exchange->extra,
					  "X-RateLimit-RetryAfter: %ld\r\nRetry-After: %ld\r\n", wait, wait);
	snprintf(message, sizeof(message), "More than %ld requests in one %s.", most,
			 window == WINDOW_SECOND   ? "second"
			 : window == WINDOW_MINUTE ? "minute"
									   : "hour");
	exchange_reply_problem(exchange, 429, "ERR_RATE_LIMIT", message, NULL,
						   "Retry-After says in how many seconds there may be more.");
	return false;
}

bool
rate_allows(Exchange *exchange)
{
	const RateLimits *limits = exchange->factoryd->setup->rates;
	uint64_t caller;
	Place *place;
	time_t now;
	long shown_most = 0;
	long shown_left = 0;
	long shown_reset = 0;

	if (exchange->service == SERVICE_PROBES || !limits->any)
		return true;
	caller = hash_of_caller(exchange);
	place = &exchange->factoryd->rate_counts->places[caller & (PLACES - 1)];
	now = time(NULL);
	if (__atomic_exchange_n(&place->caller, caller, __ATOMIC_RELAXED) != caller)
		for (int i = 0; i < WINDOW_COUNT; i++)
			__atomic_store_n(&place->counts[i], 0, __ATOMIC_RELAXED);
	for (int i = 0; i < WINDOW_COUNT; i++)
	{
		long most = limits->most[exchange->service][i];
		long seconds = windows[i].seconds;
		long reset = (now / seconds + 1) * seconds;
		long count;

		if (most == 0)
			continue;
		count = count_one(&place->counts[i], now / seconds);
		if (count > most)
			return refuse(exchange, most, i, reset - now, reset);
		if (shown_most == 0 || i == WINDOW_MINUTE)
		{
			shown_most = most;
			shown_left = most - count;
			shown_reset = reset;
		}
	}
	if (shown_most)
		add_headers(exchange, shown_most, shown_left, shown_reset);
	return true;
}
