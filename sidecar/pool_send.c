/*
 * pool_send.c
 *		A call is sent whole: what its transaction begins with, its statements, Sync.
 *
 * A server that is idle gets it at once, one that is busy at the end of the loop's turn,
 * with the others that the turn has brought.
 */
#include <string.h>

#include "gather.h"
#include "pool_int.h"
#include "text.h"

/* The server's own statement_timeout comes first; this is for a server that is stuck. */
#define STATEMENT_GRACE_MS 3000

/* What a connection may take to say that it lives. */
#define PROBE_TIMEOUT_MS 5000

/* $1's type where the extension is missing: it is NULL then. */
#define TEXT_TYPE ((Oid) 25)

/* Room for parameters is made for so many more. */
#define PARAMETERS_SPARE 16

/* Writes what the socket takes; the rest when it is writable again. */
bool
connection_flush(PoolConnection *connection)
{
	int left = gather_write(&connection->gathered, PQsocket(connection->conn));

	if (left == 0)
		left = PQflush(connection->conn);
	if (left < 0)
		return false;
	if (left > 0)
		event_add(connection->writable, NULL);
	return true;
}

static void
write_later(PoolConnection *connection)
{
	Pool *pool = connection->pool;

	if (connection->unwritten)
		return;
	connection->unwritten = true;
	TAILQ_INSERT_TAIL(&pool->unwritten, connection, unwritten_link);
	event_active(pool->writer, EV_TIMEOUT, 0);
}

void
pool_write(evutil_socket_t fd, short what, void *context)
{
	Pool *pool = context;
	PoolConnection *connection;

	(void) fd;
	(void) what;
	while ((connection = TAILQ_FIRST(&pool->unwritten)) != NULL)
	{
		TAILQ_REMOVE(&pool->unwritten, connection, unwritten_link);
		connection->unwritten = false;
		if (!connection_flush(connection))
			connection_lose(connection);
	}
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

static const char *
name_of(const PoolConnection *connection, int number)
{
	return connection->pool->statement_names[number];
}

/* What the server must know of a statement before it runs; type, where there is one, is $1's. */
static bool
prepare(PoolConnection *connection, Slot *slot, int number, const char *sql,
		const Oid *type)
{
	if (connection->prepared[number] == PREPARED_YES)
		return true;
	if (!PQsendPrepare(connection->conn, name_of(connection, number), sql, type ? 1 : 0,
					   type))
		return false;
	add_step(slot, STEP_PREPARE, number);
	connection->prepared[number] = PREPARED_SENT;
	return true;
}

bool
connection_send_plainly(PoolConnection *connection, Slot *slot, StepKind kind, int number,
						const CallStatement *statement)
{
	if (!prepare(connection, slot, number, statement->sql, NULL))
		return false;
	add_step(slot, kind, number);
	return PQsendQueryPrepared(connection->conn, name_of(connection, number),
							   statement->value_count, statement->values, NULL, NULL,
							   0) == 1;
}

/* The statement's parameters: $1 for the request, and its values. */
static const char **
parameters_of(Pool *pool, const CallStatement *statement, const char *request)
{
	int count = statement->value_count + 1;

	if (count > pool->parameter_room)
	{
		pool->parameter_room = count + PARAMETERS_SPARE;
		pool->parameters =
			memory_resize(pool->parameters, pool->parameter_room * sizeof(char *));
		pool->formats = memory_resize(pool->formats, pool->parameter_room * sizeof(int));
		memset(pool->formats, 0, pool->parameter_room * sizeof(int));
		pool->formats[0] = 1;
	}
	pool->parameters[0] = request;
	for (int i = 1; i < count; i++)
		pool->parameters[i] = statement->values[i - 1];
	return pool->parameters;
}

/* The first statement of a call that it begins with carries the request, others NULL. */
static bool
send_one(PoolConnection *connection, Slot *slot, StepKind kind, int number,
		 const CallStatement *statement)
{
	Pool *pool = connection->pool;
	bool carries = slot->carries && slot->step_count == 0;
	int length = (int) pool->packed.length;
	const Oid type = connection->request_type ? connection->request_type : TEXT_TYPE;
	const char **parameters;

	if (!prepare(connection, slot, number, statement->sql, &type))
		return false;
	add_step(slot, kind, number);
	parameters =
		parameters_of(pool, statement, carries ? buffer_bytes(&pool->packed) : NULL);
	return PQsendQueryPrepared(connection->conn, name_of(connection, number),
							   statement->value_count + 1, parameters, &length,
							   carries ? pool->formats : NULL, 0) == 1;
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

static const char zone_sql[] =
	"SELECT WHERE pg_catalog.set_config('TimeZone', $2, true) IS NULL";

static bool
send_undo(PoolConnection *connection, Slot *slot, const Call *call)
{
	for (int i = 0; i < UNDO_COUNT; i++)
	{
		int number = pool_statement_number(connection->pool, call->role, undo[i].sql);

		if (connection->generation != connection->pool->generation ||
			!connection_send_plainly(connection, slot, STEP_UNDO, number, &undo[i]))
			return false;
	}
	return true;
}

static bool
send_zone(PoolConnection *connection, Slot *slot, const Call *call)
{
	CallStatement zone = {zone_sql, &call->timezone, 1};

	return send_beside(connection, slot, call, STEP_CHECK, &zone);
}

static bool
send_statements(PoolConnection *connection, Slot *slot, Call *call)
{
	Pool *pool = connection->pool;

	if (call->check.sql && !send_beside(connection, slot, call, STEP_CHECK, &call->check))
		return false;
	if (call->timezone && !send_zone(connection, slot, call))
		return false;
	for (int i = 0; i < call->aside_count; i++)
		if (!send_beside(connection, slot, call, STEP_ASIDE, &call->asides[i]))
			return false;
	slot->statement = number_of(pool, call);
	if (connection->generation != pool->generation ||
		!send_one(connection, slot, STEP_MAIN, slot->statement, &call->main))
		return false;
	return !call->rolls_back || send_undo(connection, slot, call);
}

/* The number of the statement that goes first. */
int
call_first_number(Pool *pool, Call *call)
{
	if (call->check.sql)
		return pool_statement_number(pool, call->role, call->check.sql);
	if (call->timezone)
		return pool_statement_number(pool, call->role, zone_sql);
	if (call->aside_count)
		return pool_statement_number(pool, call->role, call->asides[0].sql);
	return number_of(pool, call);
}

static Slot *
begin_slot(PoolConnection *connection, Call *call)
{
	Slot *slot = connection_slot(connection, connection->slot_count++);

	memset(slot, 0, sizeof(*slot));
	slot->call = call;
	slot->statement = -1;
	slot->began_us = text_clock_us();
	return slot;
}

static bool
end_slot(PoolConnection *connection, Slot *slot)
{
	add_step(slot, STEP_SYNC, -1);
	return PQpipelineSync(connection->conn) == 1;
}

static bool
is_stalled(const PoolConnection *connection, uint64_t now_us)
{
	const Slot *front = connection_slot((PoolConnection *) connection, 0);

	return now_us > front->began_us + STALLED_US;
}

/*
 * They only read, so that they may run twice: what comes of them here is nobody's any
 * more.  A statement that was quick until now may have met a lock.
 */
void
connection_release_stuck(PoolConnection *connection)
{
	if (connection->slot_count < 2 || !is_stalled(connection, text_clock_us()))
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

/* Whether the call may be sent behind others at all. */
bool
call_may_share(Pool *pool, Call *call)
{
	uint32_t took;

	if (!call->read_only || call->row || call->aside_count || call->check.sql ||
		call->timezone || call->rolls_back)
		return false;
	took = pool->statement_us[number_of(pool, call)];
	return took > 0 && took < QUICK_US;
}

/* Whether its statement is one that takes the server less time than it takes us. */
bool
call_is_swift(Pool *pool, Call *call)
{
	return pool->statement_us[number_of(pool, call)] < SWIFT_US;
}

/* Whether such a call may be sent behind those that the connection runs. */
bool
connection_may_share(const PoolConnection *connection, const Call *call, uint64_t now_us)
{
	const Pool *pool = connection->pool;

	if (connection->state != CONNECTION_RUNNING || connection->slot_count == 0 ||
		connection->slot_count == SLOTS_MOST || connection->on_errand ||
		connection->cancel_deadline || connection->paused || connection->probing ||
		connection->generation != pool->generation ||
		connection->prepared[call->number] != PREPARED_YES ||
		!connection_begins_at_once(connection, call))
		return false;
	for (int i = 0; i < connection->slot_count; i++)
		if (!connection_slot((PoolConnection *) connection, i)->shares)
			return false;
	return !is_stalled(connection, now_us);
}

void
call_start(PoolConnection *connection, Call *call)
{
	Pool *pool = connection->pool;
	Slot *slot;
	bool sent;

	/* It may make all numbers change; then the connection learns them anew. */
	if (call->check.sql)
		pool_statement_number(pool, call->role, call->check.sql);
	if (call->timezone)
		pool_statement_number(pool, call->role, zone_sql);
	for (int i = 0; call->rolls_back && i < UNDO_COUNT; i++)
		pool_statement_number(pool, call->role, undo[i].sql);
	for (int i = 0; i < call->aside_count; i++)
		pool_statement_number(pool, call->role, call->asides[i].sql);
	number_of(pool, call);
	if (connection->generation != pool->generation && connection->slot_count == 0)
	{
		/* Names of the past are not used again: they end with the connection. */
		bool repeated = call->repeated;

		connection_close(connection);
		pool_queue_again(pool, call);
		call->repeated = repeated;
		return;
	}
	make_running(connection);
	COUNT(pool->counters.calls, 1);
	slot = begin_slot(connection, call);
	call->connection = connection;
	call->deadline = text_clock_ms() + pool->config->request_timeout + STATEMENT_GRACE_MS;
	gather_begin(&connection->gathered);
	sent = call_send_beginning(connection, slot, call) &&
		   send_statements(connection, slot, call) && end_slot(connection, slot);
	gather_end();

	/* A server that sleeps begins now; one that is busy gets it with the others. */
	if (sent && connection->slot_count == 1)
		sent = connection_flush(connection);
	else if (sent)
		write_later(connection);
	if (!sent)
	{
		connection_lose(connection);
		return;
	}
	slot->shares = call->read_only && !call->row && !call->rolls_back &&
				   slot->statement >= 0 && pool->statement_us[slot->statement] < QUICK_US;
}

void
connection_probe(PoolConnection *connection)
{
	Slot *slot;

	make_running(connection);
	connection->probing = true;
	connection->asked = text_clock_ms();
	connection->cancel_deadline = connection->asked + PROBE_TIMEOUT_MS;
	slot = begin_slot(connection, NULL);
	add_step(slot, STEP_PROBE, -1);
	if (!PQsendQueryParams(connection->conn, pool_type_sql, 0, NULL, NULL, NULL, NULL,
						   0) ||
		!end_slot(connection, slot) || !connection_flush(connection))
		connection_lose(connection);
}
