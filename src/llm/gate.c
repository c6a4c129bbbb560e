/*
 * gate.c
 *		The places of servers and models in shared memory, and the way through.
 *
 * A place belongs to a server of a database at its address, or to a model with the key
 * that pays for it; the one that was not used for longest is given to another.
 */
#include "postgres.h"

#include <limits.h>

#include "base/settings.h"
#include "http/http.h"
#include "lib/stringinfo.h"
#include "llm/gate_int.h"
#include "metrics/metrics.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/shmem.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#define GATE_TRANCHE "pg_factory_gate"

GateShared *gate_shared = NULL;
int gate_places = 256;

static const Setting settings[] = {
	{"factory.max_model_servers",
	 "Sets how many servers, and how many models, of all databases are kept in mind.",
	 SETTING_INT, &gate_places, .boot = 256, .min = 1, .max = 65536,
	 .context = PGC_POSTMASTER},
};

static void tell_metrics(StringInfo text);

void
gate_define_settings(void)
{
	breaker_define_settings();
	settings_define(settings, lengthof(settings));
	metric_register_teller("models", tell_metrics);
}

static Size
shmem_size(void)
{
	Size size = MAXALIGN(sizeof(GateShared));

	size = add_size(size, MAXALIGN(mul_size(gate_places, sizeof(GateServer))));
	return add_size(size, mul_size(gate_places, sizeof(GateModel)));
}

void
gate_request_shmem(void)
{
	RequestAddinShmemSpace(shmem_size());
	RequestNamedLWLockTranche(GATE_TRANCHE, 1);
}

void
gate_attach_shmem(void)
{
	bool found;

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	gate_shared = ShmemInitStruct("pg_factory gate", shmem_size(), &found);
	if (!found)
	{
		char *at = (char *) gate_shared + MAXALIGN(sizeof(GateShared));

		memset(gate_shared, 0, shmem_size());
		gate_shared->lock = &GetNamedLWLockTranche(GATE_TRANCHE)->lock;
		gate_shared->servers = (GateServer *) at;
		gate_shared->models =
			(GateModel *) (at + MAXALIGN(gate_places * sizeof(GateServer)));
	}
	LWLockRelease(AddinShmemInitLock);
}

/* --- places; the caller holds the lock ------------------------------------------------- */

static GateServer *
find_server(const GatePass *pass, TimestampTz now)
{
	GateServer *oldest = &gate_shared->servers[0];

	for (int i = 0; i < gate_places; i++)
	{
		GateServer *server = &gate_shared->servers[i];

		if (server->database == MyDatabaseId && server->server == pass->server &&
			server->address == pass->address)
		{
			server->used_at = now;
			return server;
		}
		if (server->used_at < oldest->used_at)
			oldest = server;
		if (!OidIsValid(server->database))
			break; /* places are taken in order */
	}
	memset(oldest, 0, sizeof(GateServer));
	oldest->database = MyDatabaseId;
	oldest->server = pass->server;
	oldest->address = pass->address;
	oldest->used_at = now;
	strlcpy(oldest->name, pass->server_name, NAMEDATALEN);
	breaker_begin(oldest, now);
	return oldest;
}

static GateModel *
find_model(const GatePass *pass, TimestampTz now)
{
	GateModel *oldest = &gate_shared->models[0];

	for (int i = 0; i < gate_places; i++)
	{
		GateModel *model = &gate_shared->models[i];

		if (model->database == MyDatabaseId && model->server == pass->server &&
			model->account == pass->account)
		{
			model->used_at = now;
			return model;
		}
		if (model->used_at < oldest->used_at)
			oldest = model;
		if (!OidIsValid(model->database))
			break;
	}
	memset(oldest, 0, sizeof(GateModel));
	oldest->database = MyDatabaseId;
	oldest->server = pass->server;
	oldest->account = pass->account;
	oldest->used_at = now;
	strlcpy(oldest->name, pass->model_name, NAMEDATALEN);
	return oldest;
}

/* --- the way through --------------------------------------------------------------------- */

static void
log_change(const GatePass *pass, const BreakerChange *change)
{
	if (!change->happened || change->to == BREAKER_HALF_OPEN)
		return;
	if (change->to == BREAKER_OPEN)
		ereport(LOG, (errmsg("model server \"%s\" keeps failing and is left alone",
							 pass->server_name),
					  errhint("View factory.breaker_status shows until when.")));
	else
		ereport(LOG, (errmsg("model server \"%s\" works again", pass->server_name)));
}

static void
note_change(GateServer *server, const BreakerChange *change)
{
	if (change->happened)
		server->changes[change->from][change->to]++;
}

GateVerdict
gate_ask(GatePass *pass)
{
	TimestampTz now = GetCurrentTimestamp();
	BreakerChange change = {false};
	GateVerdict verdict = GATE_SHUT;
	GateServer *server;

	LWLockAcquire(gate_shared->lock, LW_EXCLUSIVE);
	server = find_server(pass, now);
	if (breaker_admits(server, pass, now, &change))
	{
		GateModel *model = find_model(pass, now);

		pass->moment = pace_moment(model, pass, now);
		verdict = pass->moment > now ? GATE_WAIT : GATE_GO;
		if (verdict == GATE_GO)
		{
			pace_count(model, 1, pass->tokens, now);
			pass->counted_at = now;
			pass->knocked = true;
		}
	}
	note_change(server, &change);
	LWLockRelease(gate_shared->lock);
	return verdict;
}

bool
gate_allows_retry(const GatePass *pass)
{
	bool allowed;

	LWLockAcquire(gate_shared->lock, LW_EXCLUSIVE);
	allowed =
		!pass->on_trial && breaker_takes_retry(find_server(pass, GetCurrentTimestamp()));
	LWLockRelease(gate_shared->lock);
	return allowed;
}

void
gate_learn(GatePass *pass, const HttpAnswer *got, int64 tokens, double pause_ms,
		   TimestampTz now)
{
	GateModel *model;

	LWLockAcquire(gate_shared->lock, LW_EXCLUSIVE);
	model = find_model(pass, now);
	pace_correct(model, pass->counted_at, tokens - pass->tokens, now);
	pace_learn(model, got, pause_ms, now);
	LWLockRelease(gate_shared->lock);
}

void
gate_end(GatePass *pass, GateOutcome outcome, TimestampTz now)
{
	BreakerChange change = {false};
	GateServer *server;

	if (!pass->knocked && !pass->on_trial)
		return;
	LWLockAcquire(gate_shared->lock, LW_EXCLUSIVE);
	server = find_server(pass, now);
	breaker_takes(server, pass, outcome, now, &change);
	note_change(server, &change);
	LWLockRelease(gate_shared->lock);
	pass->knocked = false;
	pass->on_trial = false;
	log_change(pass, &change);
}

/* --- the metrics --------------------------------------------------------------------------- */

#define STATE_METRIC "circuit_breaker_state"
#define CHANGES_METRIC "circuit_breaker_state_changes_total"

static void
tell_changes(StringInfo text, const GateServer *server)
{
	for (int from = BREAKER_CLOSED; from <= BREAKER_OPEN; from++)
		for (int to = BREAKER_CLOSED; to <= BREAKER_OPEN; to++)
			if (server->changes[from][to] > 0)
				metric_tell_value(text, CHANGES_METRIC, server->changes[from][to],
								  (const char *const[]){"service", "llm", "node_id",
														server->name, "from_state",
														breaker_state_names[from],
														"to_state",
														breaker_state_names[to], NULL});
}

/* Servers of this database; the lock is not held while the text grows. */
static void
tell_metrics(StringInfo text)
{
	int count;
	TimestampTz now = GetCurrentTimestamp();
	GateServer *servers = gate_copy_servers(&count);

	metric_tell_name(
		text, STATE_METRIC, "gauge",
		"Breakers of this database's servers: 0 closed, 1 half open, 2 open.");
	for (int i = 0; i < count; i++)
		metric_tell_value(text, STATE_METRIC, breaker_shown_state(&servers[i], now),
						  (const char *const[]){"service", "llm", "node_id",
												servers[i].name, NULL});
	metric_tell_name(text, CHANGES_METRIC, "counter", "Changes of a breaker's state.");
	for (int i = 0; i < count; i++)
		tell_changes(text, &servers[i]);
}

bool
gate_is_trusted(const char *server)
{
	bool trusted = true;

	LWLockAcquire(gate_shared->lock, LW_SHARED);
	/* Places are taken in order. */
	for (int i = 0; i < gate_places && OidIsValid(gate_shared->servers[i].database); i++)
		if (gate_shared->servers[i].database == MyDatabaseId &&
			strcmp(gate_shared->servers[i].name, server) == 0)
			trusted &= gate_shared->servers[i].state == BREAKER_CLOSED;
	LWLockRelease(gate_shared->lock);
	return trusted;
}

GateServer *
gate_copy_servers(int *count)
{
	GateServer *copies = palloc(mul_size(gate_places, sizeof(GateServer)));

	*count = 0;
	LWLockAcquire(gate_shared->lock, LW_SHARED);
	for (int i = 0; i < gate_places; i++)
		if (gate_shared->servers[i].database == MyDatabaseId)
			copies[(*count)++] = gate_shared->servers[i];
	LWLockRelease(gate_shared->lock);
	return copies;
}
