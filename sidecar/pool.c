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
 * more), or dead: closed, but a cancel is still on its way.  libpq before 17 can
 * only cancel by blocking, so a short-lived thread does it; the connection is not
 * used again before that thread is through, lest the cancel hit the next call.
 *
 * A call is run at most once: where a connection breaks under it, its owner is told
 * that nobody knows (CALL_LOST), and the client decides.
 */
#include "pool.h"

#include <event2/util.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "errand.h"
#include "log.h"
#include "resolve.h"
#include "text.h"

#define CONNECT_TIMEOUT_MS 10000
#define RETRY_FIRST_MS 100
#define RETRY_LONGEST_MS 5000

/* What a cancelled statement may take to end before its connection is closed. */
#define CANCEL_TIMEOUT_MS 10000

/* The server's own statement_timeout comes first; this is for a server that is stuck. */
#define STATEMENT_GRACE_MS 3000

/* A probe does not stand in line. */
#define URGENT_WAIT_MS 2000

/* Statements remembered; those beyond are planned anew each time. */
#define STATEMENTS_MOST 1024
#define STATEMENT_SLOTS (STATEMENTS_MOST * 2)

static const char settings_sql[] =
	"SELECT pg_catalog.set_config('search_path', $1, true),"
	" pg_catalog.set_config('role', $2, true),"
	" pg_catalog.set_config('statement_timeout', $3, true),"
	" pg_catalog.set_config('request.jwt.claims', $4, true),"
	" pg_catalog.set_config('request.method', $5, true),"
	" pg_catalog.set_config('request.path', $6, true),"
	" pg_catalog.set_config('request.headers', $7, true),"
	" CASE WHEN $8 THEN pg_catalog.set_config('transaction_read_only', 'on', true) END";

#define SETTINGS_VALUES 8

typedef enum ConnectionState
{
	CONNECTION_CONNECTING,
	CONNECTION_IDLE,
	CONNECTION_RUNNING,
	CONNECTION_DEAD
} ConnectionState;

/* What the server answers next, in the order it was sent. */
typedef enum Step
{
	STEP_PREPARE_SETTINGS,
	STEP_SETTINGS,
	STEP_PREPARE_CALL,
	STEP_CALL,
	STEP_SYNC
} Step;

#define STEPS_MOST 5

struct PoolConnection
{
	Pool *pool;
	LIST_ENTRY(PoolConnection) link;
	TAILQ_ENTRY(PoolConnection) idle_link;
	PGconn *conn;
	ConnectionState state;
	struct event *readable;
	struct event *writable;
	struct event *timer; /* connecting, or waiting for a cancelled statement */
	struct timespec born;
	bool prepared[STATEMENTS_MOST];
	bool on_errand; /* a thread is busy for it */

	Call *call; /* NULL where nobody waits for it */
	Step steps[STEPS_MOST];
	int step_count;
	int step;
	int statement;    /* of the call, or -1 */
	PGresult *result; /* of the call */
	PGresult *error;  /* the first one */
	bool refused_role;
};

struct Pool
{
	struct event_base *base;
	const Config *config;
	void (*connected)(void *context);
	void *connected_context;
	char *search_path;
	char statement_timeout[24];
	char *target;
	LIST_HEAD(, PoolConnection) connections;
	TAILQ_HEAD(, PoolConnection) idle; /* last used first: its caches are warm */
	TAILQ_HEAD(, Call) queue;
	long connecting;
	struct event *retry;
	long retry_ms;
	bool resting;    /* the last attempt failed; retry is set */
	bool complained; /* and the log has said so */
	Errands *errands;
	bool resolves;                     /* names have to be looked up to connect */
	char *statements[STATEMENTS_MOST]; /* "role\nsql" */
	int statement_count;
	short statement_slots[STATEMENT_SLOTS]; /* index + 1 */
	PoolCounters counters;
	bool closing;
};

static void balance(Pool *pool);
static void make_idle(PoolConnection *connection);

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

static void
arm(struct event *timer, long ms)
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

static void
tell(Call *call, CallFault fault)
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
forget_timer(Call *call)
{
	if (call->timer)
		event_free(call->timer);
	call->timer = NULL;
}

static void
leave_queue(Pool *pool, Call *call)
{
	TAILQ_REMOVE(&pool->queue, call, link);
	pool->counters.queued--;
}

/* --- statements ---------------------------------------------------------------- */

/* The number of a role's statement, or -1 where there is no room for more. */
static int
statement_number(Pool *pool, const char *role, const char *sql)
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

/* --- a connection's end --------------------------------------------------------- */

static void
free_connection(PoolConnection *connection)
{
	event_free(connection->timer);
	free(connection);
}

/* Closes it; what it ran is the caller's to tell. */
static void
close_connection(PoolConnection *connection)
{
	Pool *pool = connection->pool;

	LIST_REMOVE(connection, link);
	if (connection->state == CONNECTION_CONNECTING)
		pool->connecting--;
	else
		pool->counters.open--;
	if (connection->state == CONNECTION_IDLE)
		TAILQ_REMOVE(&pool->idle, connection, idle_link);
	if (connection->state == CONNECTION_RUNNING)
		pool->counters.busy--;
	if (connection->readable)
		event_free(connection->readable);
	if (connection->writable)
		event_free(connection->writable);
	evtimer_del(connection->timer);
	PQclear(connection->result);
	PQclear(connection->error);
	PQfinish(connection->conn);
	connection->conn = NULL;
	connection->state = CONNECTION_DEAD;
	if (!connection->on_errand)
		free_connection(connection);
}

/* The server is gone, or sent us away.  Its last words are told, not ours. */
static void
lose_connection(PoolConnection *connection)
{
	Pool *pool = connection->pool;
	Call *call = connection->call;
	PGresult *error = connection->error;

	if (!pool->closing && pool->counters.open == 1 &&
		connection->state != CONNECTION_CONNECTING)
		log_error("lost the last connection to %s", pool_target(pool));
	connection->error = NULL;
	connection->call = NULL;
	close_connection(connection);
	if (call)
	{
		forget_timer(call);
		tell(call, CALL_LOST);
	}
	PQclear(error);
	balance(pool);
}

/* --- cancelling ------------------------------------------------------------------ */

typedef struct Cancellation
{
	Errand errand; /* must be first */
	PGcancel *cancel;
	PoolConnection *connection;
} Cancellation;

static void
send_cancel(Errand *errand)
{
	char reason[256];

	PQcancel(((Cancellation *) errand)->cancel, reason, sizeof(reason));
}

static void
cancel_ended(Errand *errand)
{
	Cancellation *cancellation = (Cancellation *) errand;
	PoolConnection *connection = cancellation->connection;
	Pool *pool = connection->pool;

	PQfreeCancel(cancellation->cancel);
	free(cancellation);
	connection->on_errand = false;
	if (connection->state == CONNECTION_DEAD)
		free_connection(connection);
	else if (connection->step_count == 0)
		make_idle(connection); /* its statement had ended before */
	balance(pool);
}

static bool
start_cancel(PoolConnection *connection)
{
	Cancellation *cancellation = memory_new(sizeof(Cancellation));

	cancellation->errand = (Errand){send_cancel, cancel_ended, NULL};
	cancellation->cancel = PQgetCancel(connection->conn);
	cancellation->connection = connection;
	if (!errand_start(connection->pool->errands, &cancellation->errand))
	{
		PQfreeCancel(cancellation->cancel);
		free(cancellation);
		return false;
	}
	connection->on_errand = true;
	connection->pool->counters.cancelled++;
	return true;
}

/* Takes the call off its connection, which is free again once the server gave up. */
static void
take_call_away(Call *call)
{
	PoolConnection *connection = call->connection;

	forget_timer(call);
	call->connection = NULL;
	connection->call = NULL;
	if (start_cancel(connection))
		arm(connection->timer, CANCEL_TIMEOUT_MS);
	else
		lose_connection(connection);
}

/* --- running a call --------------------------------------------------------------- */

static void
make_idle(PoolConnection *connection)
{
	Pool *pool = connection->pool;
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	if ((now.tv_sec - connection->born.tv_sec) * 1000 > pool->config->pool_recycle)
	{
		close_connection(connection);
		return;
	}
	pool->counters.busy--;
	connection->state = CONNECTION_IDLE;
	TAILQ_INSERT_HEAD(&pool->idle, connection, idle_link);
}

static void
describe(CallOutcome *outcome, const PGresult *error, bool refused_role)
{
	const char *sqlstate = PQresultErrorField(error, PG_DIAG_SQLSTATE);
	const char *message = PQresultErrorField(error, PG_DIAG_MESSAGE_PRIMARY);

	outcome->fault = refused_role ? CALL_NOT_ALLOWED : CALL_FAILED;
	outcome->sqlstate = sqlstate ? sqlstate : faults[CALL_FAILED].sqlstate;
	outcome->message = message ? message : faults[CALL_FAILED].message;
	outcome->detail = PQresultErrorField(error, PG_DIAG_MESSAGE_DETAIL);
	outcome->hint = PQresultErrorField(error, PG_DIAG_MESSAGE_HINT);
}

/* The Sync is answered: what was to commit has committed. */
static void
finish_call(PoolConnection *connection)
{
	Pool *pool = connection->pool;
	Call *call = connection->call;
	PGresult *error = connection->error;
	CallOutcome outcome = {CALL_FINE, connection->result, "00000", "", NULL, NULL};

	connection->call = NULL;
	connection->result = NULL;
	connection->error = NULL;
	evtimer_del(connection->timer);
	if (error)
		describe(&outcome, error, connection->refused_role);
	connection->step_count = 0;
	if (!connection->on_errand)
		make_idle(connection);
	if (call)
	{
		forget_timer(call);
		call->done(call, &outcome);
	}
	PQclear(outcome.result);
	PQclear(error);
	balance(pool);
}

static void
keep_error(PoolConnection *connection, PGresult *error)
{
	if (connection->error)
	{
		PQclear(error);
		return;
	}
	connection->error = error;
	connection->refused_role = connection->step < connection->step_count &&
							   connection->steps[connection->step] <= STEP_SETTINGS;
}

/* One answer; false where it was the last of the call. */
static bool
take_answer(PoolConnection *connection, PGresult *answer)
{
	Step step = connection->steps[connection->step];

	switch (PQresultStatus(answer))
	{
		case PGRES_PIPELINE_SYNC:
			PQclear(answer);
			return false;
		case PGRES_TUPLES_OK:
			if (step == STEP_CALL && connection->result == NULL)
			{
				connection->result = answer;
				return true;
			}
			break;
		case PGRES_COMMAND_OK:
			if (step == STEP_PREPARE_SETTINGS)
				connection->prepared[0] = true;
			else if (step == STEP_PREPARE_CALL)
				connection->prepared[connection->statement] = true;
			break;
		case PGRES_PIPELINE_ABORTED:
			break;
		default:
			keep_error(connection, answer);
			return true;
	}
	PQclear(answer);
	return true;
}

static void
read_answers(PoolConnection *connection)
{
	while (connection->step_count > 0 && !PQisBusy(connection->conn))
	{
		PGresult *answer = PQgetResult(connection->conn);

		if (PQstatus(connection->conn) == CONNECTION_BAD)
		{
			PQclear(answer);
			lose_connection(connection);
			return;
		}
		if (answer == NULL)
		{
			/* The end of one statement's answers. */
			if (connection->step < connection->step_count - 1)
				connection->step++;
		}
		else if (!take_answer(connection, answer))
		{
			finish_call(connection);
			return;
		}
	}
}

/* Writes what the socket takes; the rest when it is writable again. */
static bool
flush_output(PoolConnection *connection)
{
	int left = PQflush(connection->conn);

	if (left < 0)
		return false;
	if (left > 0)
		event_add(connection->writable, NULL);
	return true;
}

static void
socket_writable(evutil_socket_t fd, short what, void *context)
{
	PoolConnection *connection = context;

	(void) fd;
	(void) what;
	if (!flush_output(connection))
		lose_connection(connection);
}

static void
socket_readable(evutil_socket_t fd, short what, void *context)
{
	PoolConnection *connection = context;

	(void) fd;
	(void) what;
	if (!PQconsumeInput(connection->conn))
		lose_connection(connection);
	else if (connection->step_count > 0)
		read_answers(connection);
}

static bool
send_settings(PoolConnection *connection, const Call *call)
{
	Pool *pool = connection->pool;
	const char *const values[SETTINGS_VALUES] = {pool->search_path,
												 call->role,
												 pool->statement_timeout,
												 call->claims,
												 call->method,
												 call->path,
												 call->headers,
												 call->read_only ? "t" : "f"};

	if (!connection->prepared[0])
	{
		if (!PQsendPrepare(connection->conn, "s0", settings_sql, 0, NULL))
			return false;
		connection->steps[connection->step_count++] = STEP_PREPARE_SETTINGS;
	}
	connection->steps[connection->step_count++] = STEP_SETTINGS;
	return PQsendQueryPrepared(connection->conn, "s0", SETTINGS_VALUES, values, NULL,
							   NULL, 0) == 1;
}

static bool
send_statement(PoolConnection *connection, const Call *call)
{
	int number = statement_number(connection->pool, call->role, call->sql);
	char name[16];

	connection->statement = number;
	if (number >= 0 && !connection->prepared[number])
	{
		snprintf(name, sizeof(name), "s%d", number);
		if (!PQsendPrepare(connection->conn, name, call->sql, 0, NULL))
			return false;
		connection->steps[connection->step_count++] = STEP_PREPARE_CALL;
	}
	connection->steps[connection->step_count++] = STEP_CALL;
	if (number < 0)
		return PQsendQueryParams(connection->conn, call->sql, call->value_count, NULL,
								 call->values, NULL, NULL, 0) == 1;
	snprintf(name, sizeof(name), "s%d", number);
	return PQsendQueryPrepared(connection->conn, name, call->value_count, call->values,
							   NULL, NULL, 0) == 1;
}

static void
start_call(PoolConnection *connection, Call *call)
{
	Pool *pool = connection->pool;

	TAILQ_REMOVE(&pool->idle, connection, idle_link);
	connection->state = CONNECTION_RUNNING;
	pool->counters.busy++;
	pool->counters.calls++;
	connection->call = call;
	connection->step = 0;
	connection->step_count = 0;
	connection->refused_role = false;
	call->connection = connection;
	arm(call->timer, pool->config->request_timeout + STATEMENT_GRACE_MS);
	if (!send_settings(connection, call) || !send_statement(connection, call) ||
		!PQpipelineSync(connection->conn) || !flush_output(connection))
	{
		lose_connection(connection);
		return;
	}
	connection->steps[connection->step_count++] = STEP_SYNC;
}

/* --- connecting --------------------------------------------------------------------- */

static void
fail_queue(Pool *pool)
{
	Call *call;

	while ((call = TAILQ_FIRST(&pool->queue)) != NULL)
	{
		leave_queue(pool, call);
		forget_timer(call);
		tell(call, CALL_AWAY);
	}
}

/* Rests before the next attempt: longer each time, never exactly as long as others. */
static void
rest(Pool *pool)
{
	unsigned char jitter;

	evutil_secure_rng_get_bytes(&jitter, 1);
	arm(pool->retry, pool->retry_ms + pool->retry_ms * jitter / 512);
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
	pool->counters.reconnects++;
	close_connection(connection);
	if (!pool->resting)
		rest(pool);
	if (pool->counters.open == 0 && pool->connecting == 0)
	{
		pool->counters.away = true;
		fail_queue(pool);
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
	connection->readable = event_new(pool->base, PQsocket(connection->conn),
									 EV_READ | EV_PERSIST, socket_readable, connection);
	connection->writable = event_new(pool->base, PQsocket(connection->conn), EV_WRITE,
									 socket_writable, connection);
	event_add(connection->readable, NULL);
	clock_gettime(CLOCK_MONOTONIC, &connection->born);
	pool->connecting--;
	pool->counters.open++;
	pool->counters.away = false;
	pool->retry_ms = RETRY_FIRST_MS;
	pool->complained = false;
	connection->state = CONNECTION_IDLE;
	TAILQ_INSERT_HEAD(&pool->idle, connection, idle_link);
	if (first)
	{
		remember_target(pool, connection->conn);
		log_info("connected to %s", pool->target);
		pool->connected(pool->connected_context);
	}
	balance(pool);
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
		lose_connection(connection);
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
	const char *const values[] = {connection->pool->config->database,
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
		free_connection(connection);
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
	lookup->database = text_copy(connection->pool->config->database);
	connection->on_errand = errand_start(connection->pool->errands, &lookup->errand);
	if (!connection->on_errand)
	{
		free(lookup->database);
		free(lookup);
		connect_failed(connection, "no thread to look up the host's name");
	}
}

static void
start_connecting(Pool *pool)
{
	PoolConnection *connection = memory_new(sizeof(PoolConnection));

	connection->pool = pool;
	connection->timer = evtimer_new(pool->base, connection_overdue, connection);
	connection->state = CONNECTION_CONNECTING;
	LIST_INSERT_HEAD(&pool->connections, connection, link);
	pool->connecting++;
	arm(connection->timer, CONNECT_TIMEOUT_MS);
	if (pool->resolves)
		start_lookup(connection);
	else
		open_socket(connection, NULL);
}

/* Gives idle connections the calls that wait, and makes more where some still wait. */
static void
balance(Pool *pool)
{
	PoolConnection *connection;
	Call *call;

	if (pool->closing)
		return;
	while ((call = TAILQ_FIRST(&pool->queue)) != NULL &&
		   (connection = TAILQ_FIRST(&pool->idle)) != NULL)
	{
		leave_queue(pool, call);
		start_call(connection, call);
	}
	while (!pool->resting &&
		   pool->counters.open + pool->connecting < pool->config->pool &&
		   (pool->connecting < pool->counters.queued ||
			pool->counters.open + pool->connecting == 0))
		start_connecting(pool);
}

static void
retry_came(evutil_socket_t fd, short what, void *context)
{
	Pool *pool = context;

	(void) fd;
	(void) what;
	pool->resting = false;
	balance(pool);
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
		take_call_away(call);
		tell(call, CALL_TOOK_TOO_LONG);
	}
	else
	{
		leave_queue(call->pool, call);
		forget_timer(call);
		tell(call, CALL_WAITED);
	}
}

void
pool_submit(Pool *pool, Call *call)
{
	call->connection = NULL;
	call->timer = NULL;
	if (pool->counters.away || pool->closing)
	{
		tell(call, CALL_AWAY);
		return;
	}

	/* Those that a connection is free or on its way for do not count as waiting. */
	if (!call->urgent && pool->counters.queued >= pool->config->queue +
													  pool->config->pool -
													  pool->counters.busy)
	{
		tell(call, CALL_CROWDED);
		return;
	}
	call->pool = pool;
	call->timer = evtimer_new(pool->base, call_overdue, call);
	arm(call->timer, call->urgent ? URGENT_WAIT_MS : pool->config->pool_wait);
	if (call->urgent)
		TAILQ_INSERT_HEAD(&pool->queue, call, link);
	else
		TAILQ_INSERT_TAIL(&pool->queue, call, link);
	pool->counters.queued++;
	balance(pool);
}

void
pool_abandon(Pool *pool, Call *call)
{
	if (call->connection)
		take_call_away(call);
	else
	{
		leave_queue(pool, call);
		forget_timer(call);
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
	pool->retry_ms = RETRY_FIRST_MS;
	pool->retry = evtimer_new(base, retry_came, pool);
	snprintf(pool->statement_timeout, sizeof(pool->statement_timeout), "%ldms",
			 config->request_timeout);
	LIST_INIT(&pool->connections);
	TAILQ_INIT(&pool->idle);
	TAILQ_INIT(&pool->queue);
	statement_number(pool, "", settings_sql);
	balance(pool);
	return pool;
}

void
pool_close(Pool *pool)
{
	PoolConnection *connection;

	pool->closing = true;
	fail_queue(pool);
	while ((connection = LIST_FIRST(&pool->connections)) != NULL)
		lose_connection(connection);
	event_free(pool->retry);
	errands_close(pool->errands);
	for (int i = 0; i < pool->statement_count; i++)
		free(pool->statements[i]);
	free(pool->search_path);
	free(pool->target);
	free(pool);
}
