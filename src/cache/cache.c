/*
 * cache.c
 *		The levels, one after the other.
 *
 * What is found at the second level is kept at the first again, for the rest of its
 * time.  Every look is counted, by level and kind, for the tenant who looked.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "base/clock.h"
#include "base/settings.h"
#include "base/tenant.h"
#include "cache/cache.h"
#include "cache/cache_int.h"
#include "common/cryptohash.h"
#include "common/sha2.h"
#include "metrics/metrics.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"

StaticAssertDecl(CACHE_DIGEST_BYTES == PG_SHA256_DIGEST_LENGTH, "a key is a SHA-256");

const char *const cache_kind_names[CACHE_KIND_COUNT] = {
	[CACHE_JUDGMENT] = "judgment",
	[CACHE_QUESTION] = "question",
};

const char *const cache_level_names[CACHE_LEVEL_COUNT] = {
	[CACHE_L1] = "l1",
	[CACHE_TABLE] = "table",
	[CACHE_REDIS] = "redis",
};

static const Setting settings[] = {
	{"factory.cache_table",
	 "Enables keeping answers in a table, beyond the memory's time.", SETTING_BOOL,
	 &cache_use_table, .boot = true, .context = PGC_SUSET},
};

void
cache_define_settings(void)
{
	memory_define_settings();
	redis_define_settings();
	settings_define(settings, lengthof(settings));
}

void
cache_request_shmem(void)
{
	RequestAddinShmemSpace(add_size(memory_shmem_size(), turn_shmem_size()));
	RequestNamedLWLockTranche("pg_factory_cache", 1);
	RequestNamedLWLockTranche("pg_factory_cache_turns", 1);
}

void
cache_attach_shmem(void)
{
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	memory_attach();
	turn_attach();
	LWLockRelease(AddinShmemInitLock);
}

/* --- keys --------------------------------------------------------------------------------- */

static void
digest_add(pg_cryptohash_ctx *context, const void *bytes, Size length)
{
	if (pg_cryptohash_update(context, bytes, length) < 0)
		elog(ERROR, "could not digest a key of the cache");
}

/* A text and its end, so that two texts never read as two others. */
static void
digest_add_text(pg_cryptohash_ctx *context, const char *text)
{
	digest_add(context, text, strlen(text) + 1);
}

void
cache_key(CacheTicket *ticket, CacheKind kind, const char *subject, const void *material,
		  Size length)
{
	pg_cryptohash_ctx *context = pg_cryptohash_create(PG_SHA256);

	memset(ticket, 0, sizeof(*ticket));
	ticket->kind = kind;
	ticket->tenant = tenant_current();
	ticket->subject = subject;
	ticket->turn = -1;
	ticket->is_usable = generation_token(ticket, ticket->token);
	if (context == NULL || pg_cryptohash_init(context) < 0)
		elog(ERROR, "could not begin a key of the cache");
	digest_add(context, &MyDatabaseId, sizeof(MyDatabaseId));
	digest_add(context, ticket->token, CACHE_TOKEN_BYTES);
	digest_add_text(context, ticket->tenant);
	digest_add_text(context, cache_kind_names[kind]);
	digest_add_text(context, subject);
	digest_add(context, material, length);
	if (pg_cryptohash_final(context, ticket->digest, CACHE_DIGEST_BYTES) < 0)
		elog(ERROR, "could not end a key of the cache");
	pg_cryptohash_free(context);
}

/* --- looking -------------------------------------------------------------------------------- */

/* The series of what was counted last are kept; the tenant's name is one pointer. */
static void
count_look(const CacheTicket *ticket, CacheLevel level, bool hit)
{
	static struct MetricSeries *series[CACHE_LEVEL_COUNT][CACHE_KIND_COUNT][2];
	static const char *tenant = NULL;
	struct MetricSeries **one = &series[level][ticket->kind][hit];

	if (tenant != ticket->tenant)
		memset(series, 0, sizeof(series));
	tenant = ticket->tenant;
	if (*one == NULL)
		*one = metric_series(hit ? METRIC_CACHE_HITS : METRIC_CACHE_MISSES,
							 METRIC_LABELS(cache_level_names[level],
										   cache_kind_names[ticket->kind]));
	metric_series_add(*one, 1);
	if (level != CACHE_L1)
		metric_add(hit ? METRIC_L2_HITS : METRIC_L2_MISSES, 1, METRIC_NO_LABELS);
}

static bool
find_in_memory(CacheTicket *ticket, CacheFound *found)
{
	bool hit = memory_find(ticket, clock_now(), found);

	if (memory_capacity() > 0)
		count_look(ticket, CACHE_L1, hit);
	return hit;
}

static bool
find_at_second(CacheTicket *ticket, CacheLevel level, CacheFound *found)
{
	TimestampTz now = clock_now();
	bool hit = level == CACHE_REDIS ? redis_find(ticket, now, found)
									: table_find(ticket, now, found);

	count_look(ticket, level, hit);
	if (hit)
		memory_put(ticket, found->bytes, found->size, found->created_at,
				   found->expires_at);
	return hit;
}

static bool
find_beyond(CacheTicket *ticket, CacheFound *found)
{
	if (redis_is_wanted())
		return find_at_second(ticket, CACHE_REDIS, found);
	return cache_use_table && !RecoveryInProgress() &&
		   find_at_second(ticket, CACHE_TABLE, found);
}

bool
cache_find(CacheTicket *ticket, CacheTurn turn, CacheFound *found)
{
	if (!ticket->is_usable)
		return false;
	if (find_in_memory(ticket, found) || find_beyond(ticket, found))
		return true;
	if (turn == CACHE_NO_TURN)
		return false;
	turn_take(ticket, turn == CACHE_AWAIT_TURN);
	/* Whoever was before us may have been through just now. */
	if (!memory_find(ticket, clock_now(), found))
		return false;
	turn_end(ticket);
	count_look(ticket, CACHE_L1, true);
	return true;
}

/* --- keeping ---------------------------------------------------------------------------------- */

static void
put(CacheTicket *ticket, const void *bytes, Size size, int64 ttl_ms, bool beyond)
{
	TimestampTz now = clock_now();
	TimestampTz expires_at;

	if (ticket->put_at == 0)
		ticket->put_at = now;
	expires_at = ticket->put_at + ttl_ms * INT64CONST(1000);
	if (expires_at > now && ticket->is_usable)
	{
		memory_put(ticket, bytes, size, ticket->put_at, expires_at);
		if (beyond && redis_is_wanted())
			redis_put(ticket, bytes, size, ticket->put_at, expires_at);
		else if (beyond)
			table_put(ticket, bytes, size, ticket->put_at, expires_at);
	}
	turn_end(ticket);
}

void
cache_put(CacheTicket *ticket, const void *bytes, Size size, int64 ttl_ms)
{
	put(ticket, bytes, size, ttl_ms, true);
}

void
cache_put_in_memory(CacheTicket *ticket, const void *bytes, Size size, int64 ttl_ms)
{
	put(ticket, bytes, size, ttl_ms, false);
}

void
cache_give_up(CacheTicket *ticket)
{
	turn_end(ticket);
}
