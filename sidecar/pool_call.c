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

/* What a connection may take to say that it lives. */
#define PROBE_TIMEOUT_MS 5000

/*
 * In WHERE, so that nothing comes back.  Conditions of one cost are evaluated in their
 * order: the tenant is named while the connection's own user, who may, is still the
 * one who asks.  A standby refuses even to be told that it may write: that is left out.
 */
#define SETTINGS \
	" pg_catalog.set_config('search_path', $1, true) IS NOT NULL" \
	" AND pg_catalog.set_config('statement_timeout', $3, true) IS NOT NULL" \
	" AND pg_catalog.set_config('request.jwt.claims', $4, true) IS NOT NULL" \
	" AND pg_catalog.set_config('request.method', $5, true) IS NOT NULL" \
	" AND pg_catalog.set_config('request.path', $6, true) IS NOT NULL" \
	" AND pg_catalog.set_config('request.headers', $7, true) IS NOT NULL" \
	" AND pg_catalog.set_config('role', $2, true) IS NOT NULL" \
	" AND CASE WHEN $8 THEN pg_catalog.set_config('transaction_read_only', 'on', true)" \
	" IS NOT NULL ELSE true END"

const char *const pool_settings_sql[2] = {
	"SELECT WHERE" SETTINGS,
	"SELECT WHERE pg_catalog.set_config('factory.tenant', $9, true) IS NOT NULL "
	"AND" SETTINGS,
};

#define SETTINGS_VALUES 9

static uint64_t
now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * UINT64_C(1000000) + now.tv_nsec / 1000;
}

/* Nothing runs on it any more. */
void
connection_make_idle(PoolConnection *connection)
{
	Pool *pool = connection->pool;
	long long now = text_clock_ms();

	connection->used = now;
	connection->hit = false;
	connection->probing = false;
	connection->cancel_deadline = 0;
	if (now - connection->born > pool->config->pool_recycle ||
		connection->generation != pool->generation)
	{
		connection_close(connection);
		return;
	}
	COUNT(pool->counters.busy, -1);
	connection->state = CONNECTION_IDLE;
	TAILQ_INSERT_HEAD(&pool->idle, connection, idle_link);
}

static void
make_running(PoolConnection *connection)
{
	if (connection->state == CONNECTION_RUNNING)
		return;
	TAILQ_REMOVE(&connection->pool->idle, connection, idle_link);
	connection->state = CONNECTION_RUNNING;
	COUNT(connection->pool->counters.busy, 1);
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
	else if (connection->slot_count == 0)
		connection_make_idle(connection); /* its statement had ended before */
	pool_balance(pool);
}

/* Cancels what the connection runs now. */
void
connection_cancel(PoolConnection *connection)
{
	Cancellation *cancellation;

	if (connection->on_errand)
		return;
	cancellation = memory_new(sizeof(Cancellation));
	cancellation->errand = (Errand){send_cancel, cancel_ended, NULL};
	cancellation->cancel = PQgetCancel(connection->conn);
	cancellation->connection = connection;
	if (!errand_start(connection->pool->errands, &cancellation->errand))
	{
		PQfreeCancel(cancellation->cancel);
		free(cancellation);
		connection_lose(connection);
		return;
	}
	connection->on_errand = true;
	connection->hit = true;
	connection->cancel_deadline = text_clock_ms() + CANCEL_TIMEOUT_MS;
	COUNT(connection->pool->counters.cancelled, 1);
}

/*
 * Takes the call off its connection.  Where it is the one that runs, it is cancelled;
 * where others are before it, it will be when its turn comes and it is not quick.
 */
void
call_take_away(Call *call)
{
	PoolConnection *connection = call->connection;

	call->connection = NULL;
	for (int i = 0; i < connection->slot_count; i++)
	{
		if (connection_slot(connection, i)->call != call)
			continue;
		connection_slot(connection, i)->call = NULL;
		if (connection->paused)
		{
			connection->paused = false;
			event_add(connection->readable, NULL);
			event_active(connection->readable, EV_READ, 0);
		}
		if (i == 0)
			connection_cancel(connection);
		return;
	}
}

/* --- the answers ------------------------------------------------------------------- */

static void
describe(CallOutcome *outcome, const PGresult *error, bool refused_settings)
{
	const char *sqlstate = PQresultErrorField(error, PG_DIAG_SQLSTATE);
	const char *message = PQresultErrorField(error, PG_DIAG_MESSAGE_PRIMARY);

	outcome->fault = refused_settings ? CALL_NOT_ALLOWED : CALL_FAILED;
	outcome->sqlstate = sqlstate ? sqlstate : "XX000";
	outcome->message = message ? message : "the database reported an error";
	outcome->detail = PQresultErrorField(error, PG_DIAG_MESSAGE_DETAIL);
	outcome->hint = PQresultErrorField(error, PG_DIAG_MESSAGE_HINT);
}

/*
 * How long the statement takes: near its best times, because the others are those when
 * the processor was busy elsewhere, but a statement that has become slow is found out.
 */
static void
note_duration(Pool *pool, const Slot *slot)
{
	uint64_t took = now_us() - slot->began_us;
	uint32_t *average;

	if (slot->statement < 0 || slot->statement >= pool->statement_count)
		return;
	average = &pool->statement_us[slot->statement];
	if (took > 1000000)
		took = 1000000;
	if (*average == 0)
		*average = (uint32_t) took + 1;
	else if (took < *average)
		*average = (uint32_t) ((*average + took) / 2 + 1);
	else
		*average += (uint32_t) ((took - *average) / 32);
}

/* Whether the call was hit by a cancel that was meant for one before it. */
static bool
was_hit_by_mistake(const PoolConnection *connection, const Slot *slot)
{
	const char *sqlstate =
		slot->error ? PQresultErrorField(slot->error, PG_DIAG_SQLSTATE) : NULL;

	return connection->hit && slot->shares && slot->call && !slot->call->repeated &&
		   sqlstate && strcmp(sqlstate, "57014") == 0;
}

/* The Sync is answered: what was to commit has committed. */
static void
finish_slot(PoolConnection *connection)
{
	Pool *pool = connection->pool;
	Slot slot = *connection_slot(connection, 0);
	CallOutcome outcome = {CALL_FINE, slot.result, "00000", "", NULL, NULL};

	memset(connection_slot(connection, 0), 0, sizeof(Slot));
	connection->first = (connection->first + 1) % SLOTS_MOST;
	connection->slot_count--;
	connection->cancel_deadline = 0;
	if (slot.error)
		describe(&outcome, slot.error, slot.refused_settings);
	else if (slot.call)
		note_duration(pool, &slot);
	if (connection->slot_count > 0)
		connection_slot(connection, 0)->began_us = now_us();
	else if (!connection->on_errand)
		connection_make_idle(connection);
	if (was_hit_by_mistake(connection, &slot))
		pool_queue_again(pool, slot.call);
	else if (slot.call)
	{
		slot.call->connection = NULL;
		slot.call->done(slot.call, &outcome);
	}
	PQclear(outcome.result);
	PQclear(slot.error);
	pool_balance(pool);
}

static void
keep_error(Slot *slot, PGresult *error)
{
	if (slot->error)
	{
		PQclear(error);
		return;
	}
	slot->error = error;
	for (int i = 0; i < slot->step; i++)
		if (slot->steps[i].kind == STEP_SETTINGS)
			return;
	slot->refused_settings = true;
}

/* The number itself, or the one of rows in a plan. */
static const char *
aside_number(char *text)
{
	char *rows = strstr(text, "\"Plan Rows\": ");

	if (rows == NULL)
		return text;
	rows += strlen("\"Plan Rows\": ");
	rows[strspn(rows, "0123456789")] = '\0';
	return rows;
}

static void
take_aside(Slot *slot, const PGresult *answer)
{
	int index = 0;
	char *value;

	if (slot->call == NULL)
		return;
	for (int i = 0; i < slot->step; i++)
		index += slot->steps[i].kind == STEP_ASIDE;
	value = slot->call->aside_values[index];
	value[0] = '\0';
	if (PQntuples(answer) > 0)
		snprintf(value, sizeof(slot->call->aside_values[index]), "%s",
				 aside_number(PQgetvalue(answer, 0, 0)));
}

/* One answer; false where it was the last of the slot. */
static bool
take_answer(PoolConnection *connection, PGresult *answer)
{
	Slot *slot = connection_slot(connection, 0);
	Step *step = &slot->steps[slot->step];
	unsigned char *prepared =
		step->statement >= 0 ? &connection->prepared[step->statement] : NULL;

	switch (PQresultStatus(answer))
	{
		case PGRES_PIPELINE_SYNC:
			PQclear(answer);
			return false;
		case PGRES_SINGLE_TUPLE:
			if (slot->call && slot->call->row && !slot->call->row(slot->call, answer))
			{
				/* The call may have been abandoned meanwhile. */
				if (slot->call)
				{
					connection->paused = true;
					event_del(connection->readable);
				}
			}
			break;
		case PGRES_TUPLES_OK:
			if (step->kind == STEP_ASIDE)
				take_aside(slot, answer);
			else if (step->kind == STEP_MAIN && slot->result == NULL)
			{
				slot->result = answer;
				return true;
			}
			break;
		case PGRES_COMMAND_OK:
			if (step->kind == STEP_PREPARE)
				*prepared = PREPARED_YES;
			break;
		case PGRES_PIPELINE_ABORTED:
			if (step->kind == STEP_PREPARE)
				*prepared = PREPARED_NOT;
			break;
		default:
			if (step->kind == STEP_PREPARE)
				*prepared = PREPARED_NOT;
			keep_error(slot, answer);
			return true;
	}
	PQclear(answer);
	return true;
}

/* The end of one statement's answers: on to the next, whose rows may come singly. */
static void
next_step(PoolConnection *connection)
{
	Slot *slot = connection_slot(connection, 0);

	if (slot->step >= slot->step_count - 1)
		return;
	slot->step++;
	if (slot->steps[slot->step].kind == STEP_MAIN && slot->call && slot->call->row)
		PQsetSingleRowMode(connection->conn);
}

/* Whoever is told of an answer may close the connection: it is held meanwhile. */
static void
read_answers(PoolConnection *connection)
{
	connection->held = true;
	while (connection->state == CONNECTION_RUNNING && connection->slot_count > 0 &&
		   !connection->paused && !PQisBusy(connection->conn))
	{
		PGresult *answer = PQgetResult(connection->conn);

		if (PQstatus(connection->conn) == CONNECTION_BAD)
		{
			PQclear(answer);
			connection_lose(connection);
		}
		else if (answer == NULL)
			next_step(connection);
		else if (!take_answer(connection, answer))
			finish_slot(connection);
	}
	connection->held = false;
	if (connection->state == CONNECTION_DEAD && !connection->on_errand)
		connection_free(connection);
}

void
pool_resume(Pool *pool, Call *call)
{
	PoolConnection *connection = call->connection;

	(void) pool;
	if (connection == NULL || !connection->paused)
		return;
	connection->paused = false;
	event_add(connection->readable, NULL);
	event_active(connection->readable, EV_READ, 0);
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
	else if (connection->slot_count > 0)
		read_answers(connection);
}

/* --- sending --------------------------------------------------------------------------- */

/* The number of a call's main statement: looked up once, unless all change. */
static int
number_of(Pool *pool, Call *call)
{
	if (call->generation != pool->generation)
	{
		call->number = pool_statement_number(pool, call->role, call->main.sql);
		call->generation = pool->generation;
	}
	return call->number;
}

static void
add_step(Slot *slot, StepKind kind, int statement)
{
	slot->steps[slot->step_count++] = (Step){kind, (short) statement};
}

static bool
send_one(PoolConnection *connection, Slot *slot, StepKind kind, int number,
		 const CallStatement *statement)
{
	char name[16];

	snprintf(name, sizeof(name), "s%d", number);
	if (connection->prepared[number] != PREPARED_YES)
	{
		if (!PQsendPrepare(connection->conn, name, statement->sql, 0, NULL))
			return false;
		add_step(slot, STEP_PREPARE, number);
		connection->prepared[number] = PREPARED_SENT;
	}
	add_step(slot, kind, number);
	return PQsendQueryPrepared(connection->conn, name, statement->value_count,
							   statement->values, NULL, NULL, 0) == 1;
}

static bool
send_settings(PoolConnection *connection, Slot *slot, const Call *call)
{
	Pool *pool = connection->pool;
	bool tenant = call->tenant != NULL;
	const char *const values[SETTINGS_VALUES] = {pool->search_path,
												 call->role,
												 pool->statement_timeout,
												 call->claims,
												 call->method,
												 call->path,
												 call->headers,
												 call->read_only ? "t" : "f",
												 call->tenant};
	CallStatement settings = {pool_settings_sql[tenant], values,
							  SETTINGS_VALUES - !tenant};

	return send_one(connection, slot, STEP_SETTINGS, tenant, &settings);
}

static bool
send_beside(PoolConnection *connection, Slot *slot, const Call *call, StepKind kind,
			const CallStatement *statement)
{
	Pool *pool = connection->pool;
	int number = pool_statement_number(pool, call->role, statement->sql);

	/* Where all numbers have changed, those it has are not those that are meant. */
	return connection->generation == pool->generation &&
		   send_one(connection, slot, kind, number, statement);
}

/* What would have failed at the commit fails before; ROLLBACK ends what Sync would have. */
static const CallStatement undo[] = {{"SET CONSTRAINTS ALL IMMEDIATE", NULL, 0},
									 {"ROLLBACK", NULL, 0}};

#define UNDO_COUNT ((int) (sizeof(undo) / sizeof(undo[0])))

static bool
send_statements(PoolConnection *connection, Slot *slot, Call *call)
{
	Pool *pool = connection->pool;

	if (call->check.sql && !send_beside(connection, slot, call, STEP_CHECK, &call->check))
		return false;
	for (int i = 0; i < call->aside_count; i++)
		if (!send_beside(connection, slot, call, STEP_ASIDE, &call->asides[i]))
			return false;
	slot->statement = number_of(pool, call);
	if (connection->generation != pool->generation ||
		!send_one(connection, slot, STEP_MAIN, slot->statement, &call->main))
		return false;
	for (int i = 0; call->rolls_back && i < UNDO_COUNT; i++)
		if (!send_beside(connection, slot, call, STEP_UNDO, &undo[i]))
			return false;
	return true;
}

static Slot *
begin_slot(PoolConnection *connection, Call *call)
{
	Slot *slot = connection_slot(connection, connection->slot_count++);

	memset(slot, 0, sizeof(*slot));
	slot->call = call;
	slot->statement = -1;
	slot->began_us = now_us();
	return slot;
}

static bool
end_slot(PoolConnection *connection, Slot *slot)
{
	add_step(slot, STEP_SYNC, -1);
	return PQpipelineSync(connection->conn) && flush_output(connection);
}

static bool
is_stalled(const PoolConnection *connection)
{
	const Slot *front = connection_slot((PoolConnection *) connection, 0);

	return now_us() - front->began_us > STALLED_US;
}

/*
 * They only read, so that they may run twice: what comes of them here is nobody's any
 * more.  A statement that was quick until now may have met a lock.
 */
void
connection_release_stuck(PoolConnection *connection)
{
	if (connection->slot_count < 2 || !is_stalled(connection))
		return;
	for (int i = 1; i < connection->slot_count; i++)
	{
		Slot *slot = connection_slot(connection, i);
		Call *call = slot->call;

		if (call == NULL || !slot->shares || call->repeated)
			continue;
		slot->call = NULL;
		pool_queue_again(connection->pool, call);
	}
}

/* Whether a call may be sent behind those that the connection runs. */
bool
connection_may_share(const PoolConnection *connection, Call *call)
{
	Pool *pool = connection->pool;
	int number;

	if (connection->state != CONNECTION_RUNNING || connection->slot_count == 0 ||
		connection->slot_count == SLOTS_MOST || connection->on_errand ||
		connection->cancel_deadline || connection->paused || connection->probing ||
		!call->read_only || call->row || call->aside_count || call->check.sql ||
		call->tenant || call->rolls_back || is_stalled(connection))
		return false;
	for (int i = 0; i < connection->slot_count; i++)
		if (!connection_slot((PoolConnection *) connection, i)->shares)
			return false;
	number = number_of(pool, call);
	return connection->generation == pool->generation &&
		   connection->prepared[0] == PREPARED_YES &&
		   connection->prepared[number] == PREPARED_YES &&
		   pool->statement_us[number] > 0 && pool->statement_us[number] < QUICK_US;
}

/* Whether its statement is one that takes the server less time than it takes us. */
bool
call_is_swift(Pool *pool, Call *call)
{
	int number;

	if (call->row || call->aside_count || call->check.sql || call->rolls_back)
		return false;
	number = number_of(pool, call);
	return pool->statement_us[number] > 0 && pool->statement_us[number] < SWIFT_US;
}

void
call_start(PoolConnection *connection, Call *call)
{
	Pool *pool = connection->pool;
	Slot *slot;

	/* It may make all numbers change; then the connection learns them anew. */
	if (call->check.sql)
		pool_statement_number(pool, call->role, call->check.sql);
	for (int i = 0; call->rolls_back && i < UNDO_COUNT; i++)
		pool_statement_number(pool, call->role, undo[i].sql);
	for (int i = 0; i < call->aside_count; i++)
		pool_statement_number(pool, call->role, call->asides[i].sql);
	number_of(pool, call);
	if (connection->generation != pool->generation && connection->slot_count == 0)
	{
		/* Names of the past are not used again: they end with the connection. */
		connection_close(connection);
		pool_queue_again(pool, call);
		call->repeated = false;
		return;
	}
	make_running(connection);
	COUNT(pool->counters.calls, 1);
	slot = begin_slot(connection, call);
	call->connection = connection;
	call->deadline = text_clock_ms() + pool->config->request_timeout + STATEMENT_GRACE_MS;
	if (!send_settings(connection, slot, call) ||
		!send_statements(connection, slot, call) || !end_slot(connection, slot))
	{
		connection_lose(connection);
		return;
	}
	slot->shares = call->read_only && !call->row && !call->rolls_back &&
				   slot->statement >= 0 && pool->statement_us[slot->statement] < QUICK_US;
}

/* Asks an idle connection whether it lives; it is idle again when it has said so. */
void
connection_probe(PoolConnection *connection)
{
	make_running(connection);
	connection->probing = true;
	connection->cancel_deadline = text_clock_ms() + PROBE_TIMEOUT_MS;
	if (!end_slot(connection, begin_slot(connection, NULL)))
		connection_lose(connection);
}
