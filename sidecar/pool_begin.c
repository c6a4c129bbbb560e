/*
 * pool_begin.c
 *		What a call's transaction begins with: who asks, and what it may know.
 *
 * It is a parameter of the call's first statement, of the extension's type
 * factory.request: the server reads parameters before it looks at the statement's plan,
 * so no statement goes before, and a small call costs the server half.  A statement that is
 * not prepared yet has the extension's function before it, because it is to be parsed
 * with its caller's rights and search path.  Where the extension is missing, the server's
 * own functions do.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pool_int.h"
#include "text.h"

/* How long the extension is not asked for again where it is missing. */
#define PLAIN_MS 30000

/* Memory for the settings of a call that a pool keeps. */
#define KEEP_PACKED 65536

#define SETTINGS_VALUES 9

/*
 * In WHERE, so that nothing comes back.  Conditions of one cost are evaluated in their
 * order, so the tenant is named while the connection's own user, who may, is still the
 * one who asks.  A standby refuses even to be told that it may write: that is left out.
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

/*
 * The type must be the extension's: another's could read what others send.  Nor are the
 * operators to be others': a call before may have left its search path behind.
 */
#define IS " OPERATOR(pg_catalog.=) "

const char pool_type_sql[] =
	"SELECT t.oid FROM pg_catalog.pg_extension AS e, pg_catalog.pg_depend AS d, "
	"pg_catalog.pg_type AS t WHERE e.extname" IS "'pg_factory'"
	" AND d.refclassid" IS "e.tableoid AND d.refobjid" IS "e.oid AND d.deptype" IS "'e'"
	" AND d.classid" IS "t.tableoid AND d.objid" IS "t.oid AND t.typname" IS "'request'";

/* --- what is known of the extension ----------------------------------------------------- */

void
connection_take_type(PoolConnection *connection, const PGresult *answer)
{
	Oid type =
		PQntuples(answer) > 0 ? (Oid) strtoul(PQgetvalue(answer, 0, 0), NULL, 10) : 0;

	/* What it has prepared has a parameter of the type before: it ends when it is idle. */
	if (connection->greeted && type != connection->request_type)
		connection->generation = 0;
	connection->request_type = type;
}

bool
connection_wants_probe(const PoolConnection *connection)
{
	long long now = text_clock_ms();

	return now - connection->used > connection->pool->config->pool_probe ||
		   (connection->request_type == 0 && now - connection->asked > PLAIN_MS);
}

/* --- sending ---------------------------------------------------------------------------- */

static SettingsKind
settings_kind(const PoolConnection *connection, const Call *call)
{
	if (connection->request_type)
		return SETTINGS_OURS;
	return call->tenant ? SETTINGS_PLAIN_TENANT : SETTINGS_PLAIN;
}

/* Whether a call whose statement is prepared needs nothing else to be. */
bool
connection_begins_at_once(const PoolConnection *connection, const Call *call)
{
	return connection->request_type ||
		   connection->prepared[settings_kind(connection, call)] == PREPARED_YES;
}

static void
pack_field(Buffer *packed, const char *field)
{
	size_t length = strlen(field);
	char *place;

	buffer_add_number(packed, (long long) length);
	place = buffer_reserve(packed, length + 2);
	*place = ':';
	memcpy(place + 1, field, length);
	place[length + 1] = ',';
	packed->length += length + 2;
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
send_settings_plainly(PoolConnection *connection, Slot *slot, const Call *call)
{
	Pool *pool = connection->pool;
	SettingsKind kind = settings_kind(connection, call);
	const char *const values[SETTINGS_VALUES] = {
		pool->search_path, pool->statement_timeout,
		call->claims,      call->method,
		call->path,        call->headers,
		call->role,        call->read_only ? "t" : "f",
		call->tenant};
	CallStatement settings = {pool_settings_sql[kind], values,
							  SETTINGS_VALUES - (kind == SETTINGS_PLAIN)};

	return connection_send_plainly(connection, slot, STEP_SETTINGS, kind, &settings);
}

bool
call_send_beginning(PoolConnection *connection, Slot *slot, Call *call)
{
	Pool *pool = connection->pool;
	const char *packed;
	CallStatement settings = {pool_settings_sql[SETTINGS_OURS], &packed, 1};

	if (connection->request_type == 0)
		return send_settings_plainly(connection, slot, call);
	packed = pack_settings(pool, call);
	slot->carries = connection->prepared[call_first_number(pool, call)] == PREPARED_YES;
	return slot->carries || connection_send_plainly(connection, slot, STEP_SETTINGS,
													SETTINGS_OURS, &settings);
}

/* --- where it fails ----------------------------------------------------------------------- */

static bool
says(const PGresult *error, int field, const char *text)
{
	const char *said = PQresultErrorField(error, field);

	return said && strcmp(said, text) == 0;
}

/* Whether the slot's error, which its present step met, is of what it begins with. */
bool
slot_failed_to_begin(const Slot *slot, const PGresult *error)
{
	if (slot->carries)
		return slot->step == 0 && says(error, PG_DIAG_DATATYPE_NAME, "request") &&
			   says(error, PG_DIAG_SCHEMA_NAME, "factory");
	for (int i = 0; i < slot->step; i++)
		if (slot->steps[i].kind == STEP_SETTINGS)
			return false;
	return true;
}

/*
 * Whether the extension is not what it was when the connection was made: the function is
 * missing, or the type.  Nothing of the call was run.
 */
bool
slot_misses_extension(const PoolConnection *connection, const Slot *slot)
{
	char message[64];

	if (connection->request_type == 0 || slot->error == NULL)
		return false;
	if (slot->refused_settings && !slot->carries)
		return says(slot->error, PG_DIAG_SQLSTATE, "42883") ||
			   says(slot->error, PG_DIAG_SQLSTATE, "3F000");
	snprintf(message, sizeof(message), "cache lookup failed for type %u",
			 connection->request_type);
	return says(slot->error, PG_DIAG_SQLSTATE, "XX000") &&
		   says(slot->error, PG_DIAG_MESSAGE_PRIMARY, message);
}
