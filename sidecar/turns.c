/*
 * turns.c
 *		A loop's turns, one after another, until it is told to end.
 *
 * While calls are at the server, a loop that has nothing to do lets whoever is ready to
 * run go first, and looks again, before it sleeps: meanwhile server and clients go on, so
 * that the next turn finds more at once, and fewer sleep and have to be woken.  Where
 * what runs instead takes long, it is not theirs, and the loop sleeps as ever for a while,
 * the longer the more often that happens.
 */
#include "turns.h"

#include <event2/event.h>
#include <sched.h>
#include <stdint.h>

#include "pool.h"
#include "text.h"

/* How often it looks in vain before it sleeps. */
#define LOOKS 3

/* What others may take, and for how long none is let go first where they took more. */
#define LONG_US 2500
#define REST_FIRST_US 20000
#define REST_LONGEST_US 1000000

/* After so many that were short, the next long one counts as the first. */
#define SHORT_ENOUGH 1000

typedef struct Courtesy
{
	uint64_t rests_until;
	uint64_t rest_us;
	int shorts; /* in a row */
} Courtesy;

/* False where nobody is let go first. */
static bool
let_others_run(Courtesy *courtesy)
{
	uint64_t before = text_clock_us();
	uint64_t after;

	if (before < courtesy->rests_until)
		return false;
	sched_yield();
	after = text_clock_us();
	if (after - before < LONG_US)
	{
		courtesy->shorts++;
		return true;
	}
	courtesy->rest_us *= 2;
	if (courtesy->shorts >= SHORT_ENOUGH || courtesy->rest_us == 0)
		courtesy->rest_us = REST_FIRST_US;
	else if (courtesy->rest_us > REST_LONGEST_US)
		courtesy->rest_us = REST_LONGEST_US;
	courtesy->shorts = 0;
	courtesy->rests_until = after + courtesy->rest_us;
	return true;
}

static bool
has_ended(struct event_base *base)
{
	return event_base_got_exit(base) || event_base_got_break(base);
}

/* Turns that do not wait, as long as they bring new calls every now and then. */
static void
look_again(const Factoryd *factoryd, Courtesy *courtesy)
{
	const PoolCounters *counters = pool_counters(factoryd->pool);
	long long calls = counters->calls;

	for (int looks = 0; looks < LOOKS; looks++)
	{
		if (counters->busy == 0 || !let_others_run(courtesy))
			return;
		if (event_base_loop(factoryd->base, EVLOOP_NONBLOCK) < 0 ||
			has_ended(factoryd->base))
			return;
		if (counters->calls != calls)
			looks = -1;
		calls = counters->calls;
	}
}

void
turns_run(const Factoryd *factoryd)
{
	Courtesy courtesy = {0, 0, 0};

	while (event_base_loop(factoryd->base, EVLOOP_ONCE) == 0 &&
		   !has_ended(factoryd->base))
	{
		look_again(factoryd, &courtesy);
		if (has_ended(factoryd->base))
			return;
	}
}
