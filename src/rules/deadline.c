/*
 * deadline.c
 *		No more time for what a decision evaluates than the setting allows.
 *
 * A timer asks for a cancel, which whatever is evaluated heeds, regular expressions
 * too; the error that comes of it is told from the caller's own cancel by a flag.
 * Of deadlines within each other the outermost counts.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "rules/rules_int.h"
#include "storage/latch.h"
#include "utils/memutils.h"
#include "utils/timeout.h"

int judgment_time_limit_ms;

static TimeoutId deadline = MAX_TIMEOUTS;
static bool running = false;
static volatile sig_atomic_t passed = false;

/* Signal context. */
static void
deadline_passed(void)
{
	passed = true;
	InterruptPending = true;
	QueryCancelPending = true;
	SetLatch(MyLatch);
}

static void
deadline_begin(void)
{
	if (deadline == MAX_TIMEOUTS)
		deadline = RegisterTimeout(USER_TIMEOUT, deadline_passed);
	passed = false;
	running = true;
	enable_timeout_after(deadline, judgment_time_limit_ms);
}

/* True where the time ran out; the cancel that was asked for is taken back. */
static bool
deadline_end(void)
{
	disable_timeout(deadline, false);
	running = false;
	if (passed)
		QueryCancelPending = false;
	return passed;
}

bool
deadline_run(void (*body)(void *), void *argument)
{
	MemoryContext caller = CurrentMemoryContext;

	if (running || judgment_time_limit_ms == 0)
	{
		body(argument);
		return true;
	}
	deadline_begin();
	PG_TRY();
	{
		body(argument);
	}
	PG_CATCH();
	{
		if (!deadline_end() || geterrcode() != ERRCODE_QUERY_CANCELED)
			PG_RE_THROW();
		MemoryContextSwitchTo(caller);
		FlushErrorState();
		return false;
	}
	PG_END_TRY();
	return !deadline_end();
}
