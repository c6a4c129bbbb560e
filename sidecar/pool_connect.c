/*
 * pool_connect.c
 *		A connection's beginning and its end.
 *
 * libpq connects in steps that never block; the look-up of a host's name would, and
 * is an errand.  After a failure the pool rests, a little longer each time.
 */
#include <event2/util.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "pool_int.h"
#include "resolve.h"
#include "text.h"

#define CONNECT_TIMEOUT_MS 10000
#define RETRY_FIRST_MS 100
#define RETRY_LONGEST_MS 5000

/* --- a connection's end --------------------------------------------------------- */

void
connection_free(PoolConnection *connection)
{
	event_free(connection->timer);
	free(connection);
}

/* Closes it; what it ran is the caller's to tell. */
void
connection_close(PoolConnection *connection)
{
	Pool *pool = connection->pool;

	LIST_REMOVE(connection, link);
	if (connection->unwritten)
		TAILQ_REMOVE(&pool->unwritten, connection, unwritten_link);
	buffer_free(&connection->gathered);
	if (connection->state == CONNECTION_RUNNING && !connection->greeted)
		pool->greeting--;
	if (connection->state == CONNECTION_CONNECTING)
		pool->connecting--;
	else
		COUNT(pool->counters.open, -1);
	if (connection->state == CONNECTION_IDLE)
		TAILQ_REMOVE(&pool->idle, connection, idle_link);
	if (connection->state == CONNECTION_RUNNING)
		COUNT(pool->counters.busy, -1);
	if (connection->readable)
		event_free(connection->readable);
	if (connection->writable)
		event_free(connection->writable);
	evtimer_del(connection->timer);
	for (int i = 0; i < SLOTS_MOST; i++)
	{
		PQclear(connection->slots[i].result);
		PQclear(connection->slots[i].error);
	}
	PQfinish(connection->conn);
	connection->conn = NULL;
	connection->state = CONNECTION_DEAD;
	if (!connection->on_errand && !connection->held)
		connection_free(connection);
}

/* The server is gone, or sent us away.  Whoever waited is told that nobody knows. */
void
connection_lose(PoolConnection *connection)
{
	Pool *pool = connection->pool;
	Call *calls[SLOTS_MOST];
	int count = connection->slot_count;

	if (!pool->closing && pool->counters.open == 1 &&
		connection->state != CONNECTION_CONNECTING)
		log_error("lost the last connection to %s", pool_target(pool));
	for (int i = 0; i < count; i++)
	{
		calls[i] = connection_slot(connection, i)->call;
		if (calls[i])
			calls[i]->connection = NULL;
	}
	connection_close(connection);

	/* Telling one may abandon another, which is not in the queue: all are told first. */
	for (int i = 0; i < count; i++)
		if (calls[i])
			pool_tell(calls[i], CALL_LOST);
	pool_balance(pool);
}

/* --- connecting --------------------------------------------------------------------- */

/* Rests before the next attempt: longer each time, never exactly as long as others. */
static void
rest(Pool *pool)
{
	unsigned char jitter;

	if (pool->retry_ms == 0)
		pool->retry_ms = RETRY_FIRST_MS;
	evutil_secure_rng_get_bytes(&jitter, 1);
	pool_arm(pool->retry, pool->retry_ms + pool->retry_ms * jitter / 512);
	pool->retry_ms *= 2;
	if (pool->retry_ms > RETRY_LONGEST_MS)
		pool->retry_ms = RETRY_LONGEST_MS;
	pool->resting = true;
}

static void
connect_failed(PoolConnection *connection, const char *reason)
{
	Pool *pool = connection->pool;

	if (!pool->complained)
		log_error("could not connect to the database: %s", reason);
	pool->complained = true;
	COUNT(pool->counters.reconnects, 1);
	connection_close(connection);
	if (!pool->resting)
		rest(pool);
	if (pool->counters.open == 0 && pool->connecting == 0)
	{
		COUNT(pool->counters.away, 1 - pool->counters.away);
		pool_fail_queue(pool);
	}
}

static void
remember_target(Pool *pool, PGconn *conn)
{
	free(pool->target);
	pool->target =
		text_format("%s@%s:%s/%s", PQuser(conn), PQhost(conn), PQport(conn), PQdb(conn));
}

static void
connect_done(PoolConnection *connection)
{
	Pool *pool = connection->pool;
	bool first = pool->counters.open == 0;

	evtimer_del(connection->timer);
	if (PQsetnonblocking(connection->conn, 1) != 0 ||
		!PQenterPipelineMode(connection->conn))
	{
		connect_failed(connection, PQerrorMessage(connection->conn));
		return;
	}
	connection->readable =
		event_new(pool->base, PQsocket(connection->conn), EV_READ | EV_PERSIST,
				  call_socket_readable, connection);
	connection->writable = event_new(pool->base, PQsocket(connection->conn), EV_WRITE,
									 call_socket_writable, connection);
	event_add(connection->readable, NULL);
	connection->born = connection->used = text_clock_ms();
	connection->generation = pool->generation;
	pool->connecting--;
	COUNT(pool->counters.open, 1);
	COUNT(pool->counters.away, -pool->counters.away);
	pool->retry_ms = 0;
	pool->complained = false;
	connection->state = CONNECTION_IDLE;
	TAILQ_INSERT_HEAD(&pool->idle, connection, idle_link);
	if (first)
	{
		remember_target(pool, connection->conn);
		log_info("connected to %s", pool->target);
	}
	pool->greeting++;
	connection_probe(connection);
	if (first)
		pool->plan.connected(pool->plan.context);
	pool_balance(pool);
}

static void
connect_step(evutil_socket_t fd, short what, void *context)
{
	PoolConnection *connection = context;
	PostgresPollingStatusType status = PQconnectPoll(connection->conn);

	(void) fd;
	(void) what;

	/* libpq goes from one address and socket to the next as it sees fit. */
	event_free(connection->readable);
	connection->readable = NULL;
	if (status == PGRES_POLLING_OK)
		connect_done(connection);
	else if (status == PGRES_POLLING_FAILED || PQsocket(connection->conn) < 0)
		connect_failed(connection, PQerrorMessage(connection->conn));
	else
	{
		connection->readable =
			event_new(connection->pool->base, PQsocket(connection->conn),
					  status == PGRES_POLLING_READING ? EV_READ : EV_WRITE, connect_step,
					  connection);
		event_add(connection->readable, NULL);
	}
}

static void
connection_overdue(evutil_socket_t fd, short what, void *context)
{
	PoolConnection *connection = context;

	(void) fd;
	(void) what;
	if (connection->state == CONNECTION_CONNECTING)
		connect_failed(connection, "no answer within 10 s");
	else
		connection_lose(connection);
}

static void
ignore_notice(void *context, const PGresult *notice)
{
	(void) context;
	(void) notice;
}

/* addresses is NULL where libpq needs no name looked up. */
static void
open_socket(PoolConnection *connection, const Addresses *addresses)
{
	const char *const keywords[] = {
		"dbname", "client_encoding", "fallback_application_name",
		"host",   "hostaddr",        "port",
		NULL};
	const char *const values[] = {connection->pool->plan.database,
								  "UTF8",
								  "factoryd",
								  addresses ? addresses->host : NULL,
								  addresses ? addresses->hostaddr : NULL,
								  addresses ? addresses->port : NULL,
								  NULL};
	PGconn *conn = PQconnectStartParams(keywords, values, 1);

	connection->conn = conn;
	if (conn == NULL || PQstatus(conn) == CONNECTION_BAD || PQsocket(conn) < 0)
	{
		connect_failed(connection, conn ? PQerrorMessage(conn) : "out of memory");
		return;
	}
	PQsetNoticeReceiver(conn, ignore_notice, NULL);
	connection->readable = event_new(connection->pool->base, PQsocket(conn), EV_WRITE,
									 connect_step, connection);
	event_add(connection->readable, NULL);
}

typedef struct Lookup
{
	Errand errand; /* must be first */
	PoolConnection *connection;
	char *database;
	Addresses found;
} Lookup;

static void
look_up(Errand *errand)
{
	Lookup *lookup = (Lookup *) errand;

	resolve_addresses(lookup->database, &lookup->found);
}

static void
lookup_ended(Errand *errand)
{
	Lookup *lookup = (Lookup *) errand;
	PoolConnection *connection = lookup->connection;

	connection->on_errand = false;
	if (connection->state == CONNECTION_DEAD)
		connection_free(connection);
	else if (lookup->found.host == NULL)
		connect_failed(connection, lookup->found.reason);
	else
		open_socket(connection, &lookup->found);
	resolve_forget(&lookup->found);
	free(lookup->database);
	free(lookup);
}

static void
start_lookup(PoolConnection *connection)
{
	Lookup *lookup = memory_new(sizeof(Lookup));

	lookup->errand = (Errand){look_up, lookup_ended, NULL};
	lookup->connection = connection;
	lookup->database = text_copy(connection->pool->plan.database);
	connection->on_errand = errand_start(connection->pool->errands, &lookup->errand);
	if (!connection->on_errand)
	{
		free(lookup->database);
		free(lookup);
		connect_failed(connection, "no thread to look up the host's name");
	}
}

void
connection_start(Pool *pool)
{
	PoolConnection *connection = memory_new(sizeof(PoolConnection));

	connection->pool = pool;
	connection->timer = evtimer_new(pool->base, connection_overdue, connection);
	connection->state = CONNECTION_CONNECTING;
	LIST_INSERT_HEAD(&pool->connections, connection, link);
	pool->connecting++;
	pool_arm(connection->timer, CONNECT_TIMEOUT_MS);
	if (pool->resolves)
		start_lookup(connection);
	else
		open_socket(connection, NULL);
}
