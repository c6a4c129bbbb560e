/*
 * pool_call.c
 *		A call on its connection: answered in order, or taken away.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pool_int.h"
#include "text.h"

/* What a cancelled statement may take to end before its connection is closed. */
#define CANCEL_TIMEOUT_MS 10000

/* Nothing runs on it any more. */
void
connection_make_idle(PoolConnection *connection)
{
	Pool *pool = connection->pool;
	long long now = text_clock_ms();

	connection->used = now;
	if (!connection->greeted)
		pool->greeting--;
	connection->greeted = true;
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

	/* It is to hit the call, not to come before it; that it fails, a read will tell. */
	(void) connection_flush(connection);
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
	uint64_t took = text_clock_us() - slot->began_us;
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

	return connection->hit && slot->shares && sqlstate && strcmp(sqlstate, "57014") == 0;
}

/* The Sync is answered: what was to commit has committed. */
static void
finish_slot(PoolConnection *connection)
{
	Pool *pool = connection->pool;
	Slot slot = *connection_slot(connection, 0);
	CallOutcome outcome = {CALL_FINE, slot.result, "00000", "", NULL, NULL};
	bool misses = slot_misses_extension(connection, &slot);
	bool again = slot.call && !slot.call->repeated &&
				 (misses || was_hit_by_mistake(connection, &slot));

	if (again && misses)
		pool_forget_statements(pool);
	memset(connection_slot(connection, 0), 0, sizeof(Slot));
	connection->first = (connection->first + 1) % SLOTS_MOST;
	connection->slot_count--;
	connection->cancel_deadline = 0;
	if (slot.error)
		describe(&outcome, slot.error, slot.refused_settings);
	else if (slot.call)
		note_duration(pool, &slot);
	if (connection->slot_count > 0)
		connection_slot(connection, 0)->began_us = text_clock_us();
	else if (!connection->on_errand)
		connection_make_idle(connection);
	if (again)
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
	slot->refused_settings = slot_failed_to_begin(slot, error);
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
			if (step->kind == STEP_PROBE)
				connection_take_type(connection, answer);
			else if (step->kind == STEP_ASIDE)
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

void
call_socket_writable(evutil_socket_t fd, short what, void *context)
{
	PoolConnection *connection = context;

	(void) fd;
	(void) what;
	if (!connection_flush(connection))
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
