/*
 * pool.c
 *		Connections to the database, and the calls that are run on them.
 *
 * libpq in pipeline mode, never blocking: a call goes out in one write as
 * settings, statement, Sync, and its answers come back in one read.  Everything
 * before a Sync is one transaction, so no BEGIN and COMMIT travel, an error undoes
 * all of it, and done is called only after the Sync: after the commit.
 *
 * A statement is prepared once a connection and role.  Not once a connection: a
 * plan may have inlined a function that the next role may not execute.
 *
 * A connection is connecting, idle, running (its call gone where nobody waits any
 * more), or dead: closed, but its errand is still on its way.  An errand is what
 * would block, done by a thread: cancelling (before libpq 17), and looking up the
 * host's name.  A connection is not used again before its cancel is through, lest
 * it hit the next call.
 *
 * A call is run at most once: where a connection breaks under it, its owner is told
 * that nobody knows (CALL_LOST), and the client decides.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "pool_int.h"
#include "resolve.h"
#include "text.h"

/* A probe does not stand in line. */
#define URGENT_WAIT_MS 2000

const PoolCounters *
pool_counters(const Pool *pool)
{
	return &pool->counters;
}

const char *
pool_target(const Pool *pool)
{
	return pool->target ? pool->target : "the database";
}

void
pool_arm(struct event *timer, long ms)
{
	struct timeval delay = {ms / 1000, ms % 1000 * 1000};

	evtimer_add(timer, &delay);
}

/* --- outcomes ----------------------------------------------------------------- */

static const struct
{
	const char *sqlstate;
	const char *message;
	const char *hint;
} faults[] = {
	[CALL_FINE] = {"00000", "", NULL},
	[CALL_FAILED] = {"XX000", "the database reported an error", NULL},
	[CALL_NOT_ALLOWED] = {"42501", "the database refused the role", NULL},
	[CALL_AWAY] = {"08001", "the database cannot be reached", "Try again soon."},
	[CALL_LOST] =
		{"08006", "the connection to the database broke",
		 "Whether the statement took effect is not known; look before you repeat it."},
	[CALL_CROWDED] = {"53300", "too many requests are waiting for the database",
					  "Try again soon, or raise FACTORYD_QUEUE."},
	[CALL_WAITED] = {"53300", "no connection to the database became free in time",
					 "Try again soon, or raise FACTORYD_POOL or FACTORYD_POOL_WAIT."},
	[CALL_TOOK_TOO_LONG] = {"57014", "the statement took too long and was cancelled",
							"Ask for less, or raise FACTORYD_REQUEST_TIMEOUT."},
};

void
pool_tell(Call *call, CallFault fault)
{
	CallOutcome outcome = {fault,
						   NULL,
						   faults[fault].sqlstate,
						   faults[fault].message,
						   NULL,
						   faults[fault].hint};

	call->done(call, &outcome);
}

void
pool_forget_timer(Call *call)
{
	if (call->timer)
		event_free(call->timer);
	call->timer = NULL;
}

void
pool_leave_queue(Pool *pool, Call *call)
{
	TAILQ_REMOVE(&pool->queue, call, link);
	pool->counters.queued--;
}

/* --- statements ---------------------------------------------------------------- */

/* The number of a role's statement, or -1 where there is no room for more. */
int
pool_statement_number(Pool *pool, const char *role, const char *sql)
{
	size_t role_length = strlen(role);
	uint64_t slot = text_hash(sql) * 31 + text_hash(role);

	for (;; slot++)
	{
		short *entry = &pool->statement_slots[slot % STATEMENT_SLOTS];
		const char *known;

		if (*entry == 0)
		{
			if (pool->statement_count == STATEMENTS_MOST)
				return -1;
			pool->statements[pool->statement_count] = text_format("%s\n%s", role, sql);
			*entry = (short) ++pool->statement_count;
			return *entry - 1;
		}
		known = pool->statements[*entry - 1];
		if (strncmp(known, role, role_length) == 0 && known[role_length] == '\n' &&
			strcmp(known + role_length + 1, sql) == 0)
			return *entry - 1;
	}
}

/* --- the queue ------------------------------------------------------------------ */

void
pool_fail_queue(Pool *pool)
{
	Call *call;

	while ((call = TAILQ_FIRST(&pool->queue)) != NULL)
	{
		pool_leave_queue(pool, call);
		pool_forget_timer(call);
		pool_tell(call, CALL_AWAY);
	}
}

/* Gives idle connections the calls that wait, and makes more where some still wait. */
void
pool_balance(Pool *pool)
{
	PoolConnection *connection;
	Call *call;

	if (pool->closing)
		return;
	while ((call = TAILQ_FIRST(&pool->queue)) != NULL &&
		   (connection = TAILQ_FIRST(&pool->idle)) != NULL)
	{
		pool_leave_queue(pool, call);
		call_start(connection, call);
	}
	while (!pool->resting &&
		   pool->counters.open + pool->connecting < pool->config->pool &&
		   (pool->connecting < pool->counters.queued ||
			pool->counters.open + pool->connecting == 0))
		connection_start(pool);
}

static void
retry_came(evutil_socket_t fd, short what, void *context)
{
	Pool *pool = context;

	(void) fd;
	(void) what;
	pool->resting = false;
	pool_balance(pool);
}

/* --- the door ------------------------------------------------------------------------- */

static void
call_overdue(evutil_socket_t fd, short what, void *context)
{
	Call *call = context;
	PoolConnection *connection = call->connection;

	(void) fd;
	(void) what;
	if (connection)
	{
		call_take_away(call);
		pool_tell(call, CALL_TOOK_TOO_LONG);
	}
	else
	{
		pool_leave_queue(call->pool, call);
		pool_forget_timer(call);
		pool_tell(call, CALL_WAITED);
	}
}

void
pool_submit(Pool *pool, Call *call)
{
	call->connection = NULL;
	call->timer = NULL;
	if (pool->counters.away || pool->closing)
	{
		pool_tell(call, CALL_AWAY);
		return;
	}

	/* Those that a connection is free or on its way for do not count as waiting. */
	if (!call->urgent && pool->counters.queued >= pool->config->queue +
													  pool->config->pool -
													  pool->counters.busy)
	{
		pool_tell(call, CALL_CROWDED);
		return;
	}
	call->pool = pool;
	call->timer = evtimer_new(pool->base, call_overdue, call);
	pool_arm(call->timer, call->urgent ? URGENT_WAIT_MS : pool->config->pool_wait);
	if (call->urgent)
		TAILQ_INSERT_HEAD(&pool->queue, call, link);
	else
		TAILQ_INSERT_TAIL(&pool->queue, call, link);
	pool->counters.queued++;
	pool_balance(pool);
}

void
pool_abandon(Pool *pool, Call *call)
{
	if (call->connection)
		call_take_away(call);
	else
	{
		pool_leave_queue(pool, call);
		pool_forget_timer(call);
	}
}

/* "a, b" as a search path: the schemas in order, and public for what they build on. */
static char *
quote_schemas(const char *schemas)
{
	char *copy = text_copy(schemas);
	char *path = text_copy("");
	char *rest = copy;
	char *name;

	while ((name = strsep(&rest, ", ")) != NULL)
	{
		char *quoted;
		char *longer;

		if (*name == '\0')
			continue;
		quoted = text_quote_identifier(name);
		longer = text_format("%s%s, ", path, quoted);
		free(quoted);
		free(path);
		path = longer;
	}
	name = text_format("%s\"public\"", path);
	free(path);
	free(copy);
	return name;
}

static bool
connection_string_is_good(const char *database)
{
	PQconninfoOption *options;
	char *reason = NULL;

	if (*database == '\0')
		return true;
	options = PQconninfoParse(database, &reason);
	if (options)
	{
		PQconninfoFree(options);
		return true;
	}

	/* The reason may quote the password: it stays here. */
	PQfreemem(reason);
	log_error("FACTORYD_DATABASE is not a connection string");
	log_hint(
		"Write it like postgresql://user@host:5432/dbname, special characters as %%XX.");
	return false;
}

Pool *
pool_open(struct event_base *base, const Config *config, void (*connected)(void *context),
		  void *context)
{
	Errands *errands;
	Pool *pool;

	if (!connection_string_is_good(config->database))
		return NULL;
	errands = errands_open(base);
	if (errands == NULL)
		return NULL;
	pool = memory_new(sizeof(Pool));
	pool->errands = errands;
	pool->resolves = resolve_is_needed(config->database);
	pool->base = base;
	pool->config = config;
	pool->connected = connected;
	pool->connected_context = context;
	pool->search_path = quote_schemas(config->schemas);
	pool->retry = evtimer_new(base, retry_came, pool);
	snprintf(pool->statement_timeout, sizeof(pool->statement_timeout), "%ldms",
			 config->request_timeout);
	LIST_INIT(&pool->connections);
	TAILQ_INIT(&pool->idle);
	TAILQ_INIT(&pool->queue);
	pool_statement_number(pool, "", pool_settings_sql);
	pool_balance(pool);
	return pool;
}

void
pool_close(Pool *pool)
{
	PoolConnection *connection;

	pool->closing = true;
	pool_fail_queue(pool);
	while ((connection = LIST_FIRST(&pool->connections)) != NULL)
		connection_lose(connection);
	event_free(pool->retry);
	errands_close(pool->errands);
	for (int i = 0; i < pool->statement_count; i++)
		free(pool->statements[i]);
	free(pool->search_path);
	free(pool->target);
	free(pool);
}
