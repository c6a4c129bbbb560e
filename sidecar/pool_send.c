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

/*
 * What a transaction begins with, in WHERE, so that nothing comes back.  The extension
 * has a function for it, which sets only what is not as wanted already: with it a small
 * statement costs the server half.  Where it is missing, the server's own functions do:
 * conditions of one cost are evaluated in their order, so the tenant is named while the
 * connection's own user, who may, is still the one who asks.  A standby refuses even to
 * be told that it may write: that is left out.
 */
#define SETTINGS \
	" pg_catalog.set_config('search_path', $1, true) IS NOT NULL" \
	" AND pg_catalog.set_config('statement_timeout', $2, true) IS NOT NULL" \
	" AND pg_catalog.set_config('request.jwt.claims', $3, true) IS NOT NULL" \
	" AND pg_catalog.set_config('request.method', $4, true) IS NOT NULL" \
	" AND pg_catalog.set_config('request.path', $5, true) IS NOT NULL" \
	" AND pg_catalog.set_config('request.headers', $6, true) IS NOT NULL" \
	" AND pg_catalog.set_config('role', $7, true) IS NOT NULL" \
	" AND CASE WHEN $8 THEN pg_catalog.set_config('transaction_read_only', 'on', true)" \
	" IS NOT NULL ELSE true END"

const char *const pool_settings_sql[SETTINGS_KINDS] = {
	[SETTINGS_OURS] = "SELECT WHERE factory.begin_request($1)",
	[SETTINGS_PLAIN] = "SELECT WHERE" SETTINGS,
	[SETTINGS_PLAIN_TENANT] =
		"SELECT WHERE pg_catalog.set_config('factory.tenant', $9, true) IS NOT NULL "
		"AND" SETTINGS,
};

#define SETTINGS_VALUES 9

/* Memory for the settings of a call that a pool keeps. */
#define KEEP_PACKED 65536

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

static bool
send_one(PoolConnection *connection, Slot *slot, StepKind kind, int number,
		 const CallStatement *statement)
{
	const char *name = connection->pool->statement_names[number];

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

/* The number of the statement that the call begins with. */
static SettingsKind
settings_kind(const Pool *pool, const Call *call)
{
	if (text_clock_ms() >= pool->plain_until)
		return SETTINGS_OURS;
	return call->tenant ? SETTINGS_PLAIN_TENANT : SETTINGS_PLAIN;
}

static void
pack_field(Buffer *packed, const char *field)
{
	size_t length = strlen(field);

	buffer_add_number(packed, (long long) length);
	buffer_add_char(packed, ':');
	buffer_add(packed, field, length);
	buffer_add_char(packed, ',');
}

/* As src/api/request.c reads them: the tenant, the last, may be missing. */
static const char *
pack_settings(Pool *pool, const Call *call)
{
	const char *const fields[] = {pool->search_path,
								  pool->statement_timeout,
								  call->read_only ? "t" : "f",
								  call->claims,
								  call->method,
								  call->path,
								  call->headers,
								  call->role};
	Buffer *packed = &pool->packed;

	buffer_clear(packed, KEEP_PACKED);
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
		pack_field(packed, fields[i] ? fields[i] : "");
	if (call->tenant)
		pack_field(packed, call->tenant);
	return buffer_text(packed);
}

static bool
send_settings_plainly(PoolConnection *connection, Slot *slot, const Call *call,
					  SettingsKind kind)
{
	Pool *pool = connection->pool;
	const char *const values[SETTINGS_VALUES] = {
		pool->search_path, pool->statement_timeout,
		call->claims,      call->method,
		call->path,        call->headers,
		call->role,        call->read_only ? "t" : "f",
		call->tenant};
	CallStatement settings = {pool_settings_sql[kind], values,
							  SETTINGS_VALUES - (kind == SETTINGS_PLAIN)};

	return send_one(connection, slot, STEP_SETTINGS, kind, &settings);
}

static bool
send_settings(PoolConnection *connection, Slot *slot, const Call *call)
{
	SettingsKind kind = settings_kind(connection->pool, call);
	const char *packed;
	CallStatement settings = {pool_settings_sql[kind], &packed, 1};

	if (kind != SETTINGS_OURS)
		return send_settings_plainly(connection, slot, call, kind);
	packed = pack_settings(connection->pool, call);
	return send_one(connection, slot, STEP_SETTINGS, kind, &settings);
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
	"SELECT WHERE pg_catalog.set_config('TimeZone', $1, true) IS NULL";

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
	slot->began_us = pool_now_us();
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
	if (connection->slot_count < 2 || !is_stalled(connection, pool_now_us()))
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
		connection->prepared[settings_kind(pool, call)] != PREPARED_YES ||
		connection->prepared[call->number] != PREPARED_YES)
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
	gather_begin(&connection->gathered);
	sent = send_settings(connection, slot, call) &&
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

/* Asks an idle connection whether it lives; it is idle again when it has said so. */
void
connection_probe(PoolConnection *connection)
{
	make_running(connection);
	connection->probing = true;
	connection->cancel_deadline = text_clock_ms() + PROBE_TIMEOUT_MS;
	if (!end_slot(connection, begin_slot(connection, NULL)) ||
		!connection_flush(connection))
		connection_lose(connection);
}
