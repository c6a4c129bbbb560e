/*
 * pool.c
 *		Connections to the database, and the calls that are run on them.
 *
 * libpq in pipeline mode, never blocking: a call goes out in one write, often with
 * others, as statement, Sync, and its answers come back in one read.  Everything
 * before a Sync is one transaction, so no BEGIN and COMMIT travel, an error undoes
 * all of it, and done is called only after the Sync: after the commit.
 *
 * Calls that only read and whose statements have been quick so far are sent behind one
 * another on the same connection, SLOTS_MOST at most, where all connections are busy, or
 * where the server is quicker with them than we are: it goes from one to the next
 * without waiting for us.  Only they, because a cancel that comes late hits the next
 * one, which is then run again; and a write is never run again.  Where one takes long
 * after all, those behind it are run elsewhere.
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

/* What a call waits before one more connection than the lasting ones is made for it. */
#define PRESSURE_MS 50

/* What a connection beyond the lasting ones may rest before it is closed. */
#define OVERFLOW_REST_MS 10000

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

static void
count_queued(Pool *pool, const Call *call, long by)
{
	COUNT(pool->counters.queued, by);
	if (call->waiting)
		COUNT(*call->waiting, by);
}

void
pool_leave_queue(Pool *pool, Call *call)
{
	TAILQ_REMOVE(&pool->queue, call, link);
	count_queued(pool, call, -1);
}

/* --- statements ---------------------------------------------------------------- */

/* The settings always have the first numbers. */
void
pool_forget_statements(Pool *pool)
{
	for (int i = 0; i < pool->statement_count; i++)
		free(pool->statements[i]);
	memset(pool->statement_slots, 0, sizeof(pool->statement_slots));
	memset(pool->statement_us, 0, sizeof(pool->statement_us));
	pool->statement_count = 0;
	pool->generation++;
	for (int i = 0; i < SETTINGS_KINDS; i++)
		pool_statement_number(pool, "", pool_settings_sql[i]);
}

/* The number of a role's statement. */
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
			{
				pool_forget_statements(pool);
				return pool_statement_number(pool, role, sql);
			}
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
		pool_tell(call, CALL_AWAY);
	}
}

/* The running connection with the fewest calls that may take this one as well, or NULL. */
static PoolConnection *
find_shared(Pool *pool, const Call *call)
{
	PoolConnection *connection;
	PoolConnection *found = NULL;
	uint64_t now_us = text_clock_us();

	LIST_FOREACH(connection, &pool->connections, link)
	if (connection_may_share(connection, call, now_us) &&
		(found == NULL || connection->slot_count < found->slot_count))
		found = connection;
	return found;
}

/*
 * The connection for a call, or NULL where it has to wait.  What the server answers
 * faster than we ask goes behind others though connections are idle: it runs on
 * without sleeping between them, and we read several answers at once.
 */
static PoolConnection *
find_connection(Pool *pool, Call *call)
{
	PoolConnection *connection = TAILQ_FIRST(&pool->idle);
	PoolConnection *shared = NULL;

	if (connection && connection_wants_probe(connection))
	{
		connection_probe(connection);
		return NULL;
	}
	if (call_may_share(pool, call) && (connection == NULL || call_is_swift(pool, call)))
		shared = find_shared(pool, call);
	return shared ? shared : connection;
}

/* Whether one more connection should be made. */
static bool
wants_connection(const Pool *pool)
{
	long there = pool->counters.open + pool->connecting;

	if (pool->resting || there >= pool->plan.lasting + pool->pressed)
		return false;
	return pool->connecting + pool->greeting < pool->counters.queued || there == 0;
}

void
pool_balance(Pool *pool)
{
	PoolConnection *connection;
	Call *call;

	if (pool->closing)
		return;
	while ((call = TAILQ_FIRST(&pool->queue)) != NULL &&
		   (connection = find_connection(pool, call)) != NULL)
	{
		pool_leave_queue(pool, call);
		call_start(connection, call);
	}
	while (wants_connection(pool))
		connection_start(pool);
	pool_tick(pool);
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

void
pool_hurry(Pool *pool)
{
	if (!pool->resting)
		return;
	evtimer_del(pool->retry);
	pool->resting = false;
	pool_balance(pool);
}

/* --- deadlines ------------------------------------------------------------------------ */

/* Those whose deadline is over; urgent ones stand in front, so all are looked at. */
static void
end_waiting(Pool *pool, long long now)
{
	Call *call;
	Call *next;

	for (call = TAILQ_FIRST(&pool->queue); call; call = next)
	{
		next = TAILQ_NEXT(call, link);
		if (now < call->deadline)
			continue;
		pool_leave_queue(pool, call);
		COUNT(pool->counters.refused, 1);
		pool_tell(call, CALL_WAITED);
		next = TAILQ_FIRST(&pool->queue); /* done may have changed all */
	}
}

/* A running connection's deadlines; it may be gone after this: true. */
static bool
watch_connection(PoolConnection *connection, long long now)
{
	Slot *front = connection_slot(connection, 0);
	Call *call = front->call;

	connection_release_stuck(connection);
	if (connection->cancel_deadline && now >= connection->cancel_deadline)
	{
		connection_lose(connection);
		return true;
	}
	if (connection->probing)
		return false;
	if (call && now >= call->deadline)
	{
		call_take_away(call);
		pool_tell(call, CALL_TOOK_TOO_LONG);
		return true;
	}
	if (call == NULL && !connection->on_errand && !connection->cancel_deadline)
		connection_cancel(connection);
	return false;
}

static void
watch_connections(Pool *pool, long long now)
{
	PoolConnection *connection;
	PoolConnection *next;

	for (connection = LIST_FIRST(&pool->connections); connection; connection = next)
	{
		next = LIST_NEXT(connection, link);
		if (connection->state == CONNECTION_IDLE &&
			pool->counters.open > pool->plan.lasting &&
			now - connection->used > OVERFLOW_REST_MS)
			connection_close(connection);
		else if (connection->state == CONNECTION_RUNNING && connection->slot_count > 0 &&
				 watch_connection(connection, now))
			next = LIST_FIRST(&pool->connections);
	}
}

static void
tick_came(evutil_socket_t fd, short what, void *context)
{
	Pool *pool = context;
	long long now = text_clock_ms();
	const Call *first;

	(void) fd;
	(void) what;
	pool->ticking = false;
	end_waiting(pool, now);
	watch_connections(pool, now);
	first = TAILQ_FIRST(&pool->queue);
	pool->pressed = 0;
	if (first && !pool->counters.away &&
		now + pool->config->pool_wait - first->deadline >= PRESSURE_MS)
		pool->pressed = pool->plan.most - pool->plan.lasting;
	pool_balance(pool);
}

/* Keeps the ticker going while there is a deadline to watch. */
void
pool_tick(Pool *pool)
{
	if (pool->ticking || (pool->counters.queued == 0 && pool->counters.busy == 0 &&
						  pool->counters.open <= pool->plan.lasting))
		return;
	pool->ticking = true;
	pool_arm(pool->ticker, TICK_MS);
}

/* --- the door ------------------------------------------------------------------------- */

void
pool_submit(Pool *pool, Call *call)
{
	call->connection = NULL;
	call->generation = 0;
	call->pool = pool;
	if (pool->counters.away || pool->closing)
	{
		pool_tell(call, CALL_AWAY);
		return;
	}

	/* Those that a connection is free or on its way for do not count as waiting. */
	if (!call->urgent && pool->counters.queued >=
							 pool->plan.queue + pool->plan.lasting - pool->counters.busy)
	{
		COUNT(pool->counters.refused, 1);
		pool_tell(call, CALL_CROWDED);
		return;
	}
	call->deadline =
		text_clock_ms() + (call->urgent ? URGENT_WAIT_MS : pool->config->pool_wait);
	if (call->urgent)
		TAILQ_INSERT_HEAD(&pool->queue, call, link);
	else
		TAILQ_INSERT_TAIL(&pool->queue, call, link);
	count_queued(pool, call, 1);
	pool_balance(pool);
}

/* A call that only reads: hit by a cancel for another, or stuck behind another. */
void
pool_queue_again(Pool *pool, Call *call)
{
	call->connection = NULL;
	call->repeated = true;
	call->deadline = text_clock_ms() + pool->config->pool_wait;
	TAILQ_INSERT_HEAD(&pool->queue, call, link);
	count_queued(pool, call, 1);
}

void
pool_abandon(Pool *pool, Call *call)
{
	if (call->connection)
		call_take_away(call);
	else
		pool_leave_queue(pool, call);
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

bool
pool_database_is_good(const char *database)
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

/* Takes over what it is told, none of it by pointer but the settings. */
static void
take_plan(Pool *pool, const Config *config, const PoolPlan *plan)
{
	free((char *) pool->plan.database);
	free(pool->search_path);
	pool->plan = *plan;
	pool->plan.database = text_copy(plan->database);
	pool->config = config;
	pool->resolves = resolve_is_needed(plan->database);
	pool->search_path = quote_schemas(config->schemas);
	snprintf(pool->statement_timeout, sizeof(pool->statement_timeout), "%ld",
			 config->request_timeout);
}

/* Connections that run something close once they are idle: they are of the past. */
static void
leave_database(Pool *pool)
{
	PoolConnection *connection;
	PoolConnection *next;

	for (connection = LIST_FIRST(&pool->connections); connection; connection = next)
	{
		next = LIST_NEXT(connection, link);
		if (connection->state != CONNECTION_RUNNING)
			connection_close(connection);
	}
	pool_forget_statements(pool);
	pool->complained = false;
	pool->retry_ms = 0;
	pool_hurry(pool);
}

void
pool_change(Pool *pool, const Config *config, const PoolPlan *plan)
{
	bool moves = strcmp(pool->plan.database, plan->database) != 0;

	take_plan(pool, config, plan);
	if (moves)
		leave_database(pool);
	if (plan->most == 0)
		pool_fail_queue(pool);
	pool_balance(pool);
}

Pool *
pool_open(struct event_base *base, const Config *config, const PoolPlan *plan)
{
	Errands *errands = errands_open(base);
	Pool *pool;

	if (errands == NULL)
		return NULL;
	pool = memory_new(sizeof(Pool));
	pool->errands = errands;
	pool->base = base;
	take_plan(pool, config, plan);
	pool->retry = evtimer_new(base, retry_came, pool);
	pool->ticker = evtimer_new(base, tick_came, pool);
	pool->writer = evtimer_new(base, pool_write, pool);
	LIST_INIT(&pool->connections);
	TAILQ_INIT(&pool->idle);
	TAILQ_INIT(&pool->queue);
	TAILQ_INIT(&pool->unwritten);
	for (int i = 0; i < STATEMENTS_MOST; i++)
		snprintf(pool->statement_names[i], sizeof(pool->statement_names[i]), "s%d", i);
	pool_forget_statements(pool);
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
	event_free(pool->ticker);
	event_free(pool->writer);
	errands_close(pool->errands);
	for (int i = 0; i < pool->statement_count; i++)
		free(pool->statements[i]);
	free((char *) pool->plan.database);
	free(pool->search_path);
	buffer_free(&pool->packed);
	free(pool->parameters);
	free(pool->formats);
	free(pool->target);
	free(pool);
}
