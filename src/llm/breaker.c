/*
 * breaker.c
 *		A server that keeps failing is left alone for a while, then tried once.
 *
 *		closed		calls go; of the last ones more than a share failed: open
 *		open		no call goes, until factory.breaker_open_time is over: half open
 *		half open	one call goes; it works: closed, it fails: open
 */
#include "postgres.h"

#include <limits.h>

#include "base/settings.h"
#include "llm/gate_int.h"
#include "port/pg_bitutils.h"
#include "utils/timestamp.h"

/* A trial whose call vanished without a word is over so long after its deadline. */
#define TRIAL_GRACE_MS 1000

const char *const breaker_state_names[] = {
	[BREAKER_CLOSED] = "closed",
	[BREAKER_HALF_OPEN] = "half_open",
	[BREAKER_OPEN] = "open",
};

static int window = 10;
static int min_calls = 5;
static int failure_percent = 50;
static int open_ms = 30000;
static int retry_percent = 20;
static int retry_burst = 20;
int gate_min_timeout_ms = 1000;

static const Setting settings[] = {
	{"factory.breaker_failure_percent",
	 "Sets the share of a server's last calls; when more fail, it is left alone.",
	 SETTING_INT, &failure_percent, .boot = 50, .min = 0, .max = 100,
	 .context = PGC_SIGHUP},
	{"factory.breaker_min_calls",
	 "Sets how many calls a server must have had before it may be left alone.",
	 SETTING_INT, &min_calls, .boot = 5, .min = 1, .max = BREAKER_MAX_WINDOW,
	 .context = PGC_SIGHUP},
	{"factory.breaker_min_timeout",
	 "Sets the time a call must have had before its running out counts as a failure.",
	 SETTING_INT, &gate_min_timeout_ms, .boot = 1000, .min = 0, .max = INT_MAX,
	 .context = PGC_SIGHUP, .flags = GUC_UNIT_MS},
	{"factory.breaker_open_time",
	 "Sets how long a failing server is left alone before it is tried again.",
	 SETTING_INT, &open_ms, .boot = 30000, .min = 1, .max = INT_MAX,
	 .context = PGC_SIGHUP, .flags = GUC_UNIT_MS},
	{"factory.breaker_window",
	 "Sets how many of a server's last calls are looked at; 0 leaves none alone.",
	 SETTING_INT, &window, .boot = 10, .min = 0, .max = BREAKER_MAX_WINDOW,
	 .context = PGC_SIGHUP},
	{"factory.llm_retry_burst",
	 "Sets how many retries all sessions together may do at once at a server.",
	 SETTING_INT, &retry_burst, .boot = 20, .min = 0, .max = 1000000,
	 .context = PGC_SIGHUP},
	{"factory.llm_retry_percent",
	 "Sets how many retries all sessions together may do for 100 calls at a server.",
	 SETTING_INT, &retry_percent, .boot = 20, .min = 0, .max = 1000,
	 .context = PGC_SIGHUP},
};

void
breaker_define_settings(void)
{
	settings_define(settings, lengthof(settings));
}

static void
enter(GateServer *server, BreakerState state, TimestampTz now, BreakerChange *change)
{
	change->happened = true;
	change->from = server->state;
	change->to = state;
	server->state = state;
	server->since = now;
	server->trial_until = 0;
	if (state == BREAKER_OPEN)
		server->opened++;
	else if (state == BREAKER_CLOSED)
	{
		server->failures = 0;
		server->calls = 0;
	}
}

void
breaker_begin(GateServer *server, TimestampTz now)
{
	server->state = BREAKER_CLOSED;
	server->since = now;
	server->trial_until = 0;
	server->failures = 0;
	server->calls = 0;
	server->retries = retry_burst;
}

TimestampTz
breaker_open_until(const GateServer *server)
{
	return TimestampTzPlusMilliseconds(server->since, open_ms);
}

BreakerState
breaker_shown_state(const GateServer *server, TimestampTz now)
{
	if (server->state == BREAKER_OPEN && now >= breaker_open_until(server))
		return BREAKER_HALF_OPEN;
	return server->state;
}

int
breaker_failures(const GateServer *server)
{
	return pg_popcount64(server->failures);
}

bool
breaker_admits(GateServer *server, GatePass *pass, TimestampTz now, BreakerChange *change)
{
	if (window == 0 || server->state == BREAKER_CLOSED || pass->on_trial)
		return true;
	if (server->state == BREAKER_OPEN && now >= breaker_open_until(server))
		enter(server, BREAKER_HALF_OPEN, now, change);
	if (server->state == BREAKER_OPEN || server->trial_until > now)
	{
		server->rejected++;
		pass->moment = server->state == BREAKER_OPEN ? breaker_open_until(server)
													 : server->trial_until;
		return false;
	}
	pass->on_trial = true;
	server->trial_until = TimestampTzPlusMilliseconds(pass->deadline, TRIAL_GRACE_MS);
	return true;
}

static void
remember(GateServer *server, bool failed, TimestampTz now, BreakerChange *change)
{
	int width = Min(window, BREAKER_MAX_WINDOW);
	uint64 mask = width == 64 ? PG_UINT64_MAX : (UINT64CONST(1) << width) - 1;

	server->failures = ((server->failures << 1) | (failed ? 1 : 0)) & mask;
	server->calls = Min(server->calls + 1, width);
	/* A window narrower than the least number of calls: a full one will do. */
	if (failed && server->calls >= Min(min_calls, width) &&
		breaker_failures(server) * 100 > failure_percent * server->calls)
		enter(server, BREAKER_OPEN, now, change);
}

void
breaker_takes(GateServer *server, const GatePass *pass, GateOutcome outcome,
			  TimestampTz now, BreakerChange *change)
{
	if (pass->on_trial && server->state == BREAKER_HALF_OPEN)
	{
		if (outcome == GATE_UNCLEAR)
			server->trial_until = 0;
		else
			enter(server, outcome == GATE_WORKS ? BREAKER_CLOSED : BREAKER_OPEN, now,
				  change);
	}
	/* Calls that began before it opened do not matter any more. */
	else if (server->state == BREAKER_CLOSED && outcome != GATE_UNCLEAR && window > 0)
		remember(server, outcome == GATE_FAILS, now, change);
	if (!pass->on_trial && pass->knocked)
		server->retries = Min(server->retries + retry_percent / 100.0, retry_burst);
}

bool
breaker_takes_retry(GateServer *server)
{
	if ((server->state != BREAKER_CLOSED && window > 0) || server->retries < 1)
		return false;
	server->retries -= 1;
	return true;
}
