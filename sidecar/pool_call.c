/*
 * pool_call.c
 *		A call on its connection: sent whole, answered in order, or taken away.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pool_int.h"
#include "text.h"

/* What a cancelled statement may take to end before its connection is closed. */
#define CANCEL_TIMEOUT_MS 10000

/* The server's own statement_timeout comes first; this is for a server that is stuck. */
#define STATEMENT_GRACE_MS 3000

const char pool_settings_sql[] =
	"SELECT pg_catalog.set_config('search_path', $1, true),"
	" pg_catalog.set_config('role', $2, true),"
	" pg_catalog.set_config('statement_timeout', $3, true),"
	" pg_catalog.set_config('request.jwt.claims', $4, true),"
	" pg_catalog.set_config('request.method', $5, true),"
	" pg_catalog.set_config('request.path', $6, true),"
	" pg_catalog.set_config('request.headers', $7, true),"
	" CASE WHEN $8 THEN pg_catalog.set_config('transaction_read_only', 'on', true) END";

#define SETTINGS_VALUES 8

static void
make_idle(PoolConnection *connection)
{
	Pool *pool = connection->pool;
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	if ((now.tv_sec - connection->born.tv_sec) * 1000 > pool->config->pool_recycle)
	{
		connection_close(connection);
		return;
	}
	pool->counters.busy--;
	connection->state = CONNECTION_IDLE;
	TAILQ_INSERT_HEAD(&pool->idle, connection, idle_link);
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
		connection_free(connection);
	else if (connection->step_count == 0)
		make_idle(connection); /* its statement had ended before */
	pool_balance(pool);
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
void
call_take_away(Call *call)
{
	PoolConnection *connection = call->connection;

	pool_forget_timer(call);
	call->connection = NULL;
	connection->call = NULL;
	if (start_cancel(connection))
		pool_arm(connection->timer, CANCEL_TIMEOUT_MS);
	else
		connection_lose(connection);
}

/* --- running a call --------------------------------------------------------------- */

static void
describe(CallOutcome *outcome, const PGresult *error, bool refused_role)
{
	const char *sqlstate = PQresultErrorField(error, PG_DIAG_SQLSTATE);
	const char *message = PQresultErrorField(error, PG_DIAG_MESSAGE_PRIMARY);

	outcome->fault = refused_role ? CALL_NOT_ALLOWED : CALL_FAILED;
	outcome->sqlstate = sqlstate ? sqlstate : "XX000";
	outcome->message = message ? message : "the database reported an error";
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
		pool_forget_timer(call);
		call->done(call, &outcome);
	}
	PQclear(outcome.result);
	PQclear(error);
	pool_balance(pool);
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
			connection_lose(connection);
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

void
call_socket_writable(evutil_socket_t fd, short what, void *context)
{
	PoolConnection *connection = context;

	(void) fd;
	(void) what;
	if (!flush_output(connection))
		connection_lose(connection);
}

void
call_socket_readable(evutil_socket_t fd, short what, void *context)
{
	PoolConnection *connection = context;

	(void) fd;
	(void) what;
	if (!PQconsumeInput(connection->conn))
		connection_lose(connection);
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
		if (!PQsendPrepare(connection->conn, "s0", pool_settings_sql, 0, NULL))
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
	int number = pool_statement_number(connection->pool, call->role, call->sql);
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

void
call_start(PoolConnection *connection, Call *call)
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
	pool_arm(call->timer, pool->config->request_timeout + STATEMENT_GRACE_MS);
	if (!send_settings(connection, call) || !send_statement(connection, call) ||
		!PQpipelineSync(connection->conn) || !flush_output(connection))
	{
		connection_lose(connection);
		return;
	}
	connection->steps[connection->step_count++] = STEP_SYNC;
}
