/*
 * redis.c
 *		The second level on Redis, in the table's place where one is named.
 *
 * What comes from there is not trusted: an answer carries a keyed digest, made with
 * its ticket's token, of itself, its key and its times.  The token is in
 * the key's name, too, so whoever can read or write that Redis can neither bring us an
 * answer nor find one by what was asked.
 */
#include "postgres.h"

#include <hiredis/hiredis.h>

#include "access/xlog.h"
#include "base/settings.h"
#include "cache/cache_int.h"
#include "common/hmac.h"
#include "common/sha2.h"
#include "utils/timestamp.h"

#define KEY_PREFIX "pg_factory:"
#define KEY_LENGTH (sizeof(KEY_PREFIX) - 1 + 2 * PG_SHA256_DIGEST_LENGTH)

/* In front of an answer. */
typedef struct KeptHead
{
	unsigned char digest[PG_SHA256_DIGEST_LENGTH];
	int64 created_at;
	int64 expires_at;
} KeptHead;

static const Setting settings[] = {
	{"factory.cache_redis",
	 "Sets the address of a Redis that keeps answers in the table's place.",
	 SETTING_STRING, &redis_urls, .boot_text = "", .context = PGC_SIGHUP,
	 .check_text = redis_check_urls},
	{"factory.cache_redis_ca_file",
	 "Sets the file of authorities that vouch for Redis; empty: the system's.",
	 SETTING_STRING, &redis_ca_file, .boot_text = "", .context = PGC_SIGHUP,
	 .flags = GUC_SUPERUSER_ONLY},
	{"factory.cache_redis_master",
	 "Sets the name that sentinels know the master by; the addresses are theirs then.",
	 SETTING_STRING, &redis_master, .boot_text = "", .context = PGC_SIGHUP},
	{"factory.cache_redis_password_file",
	 "Sets the file that the password of Redis is in.", SETTING_STRING,
	 &redis_password_file, .boot_text = "", .context = PGC_SIGHUP,
	 .flags = GUC_SUPERUSER_ONLY},
	{"factory.cache_redis_timeout", "Sets how long a look at Redis may take.",
	 SETTING_INT, &redis_timeout_ms, .boot = 100, .min = 1, .max = 5000,
	 .context = PGC_SIGHUP, .flags = GUC_UNIT_MS},
};

void
redis_define_settings(void)
{
	settings_define(settings, lengthof(settings));
}

/* --- names and seals ---------------------------------------------------------------------- */

/* Keyed with the token, of what it is for, the ticket and some bytes. */
static void
seal(unsigned char *digest, const char *purpose, const CacheTicket *ticket,
	 const void *bytes, Size size)
{
	uint64 system = GetSystemIdentifier();
	pg_hmac_ctx *context = pg_hmac_create(PG_SHA256);

	if (context == NULL || pg_hmac_init(context, ticket->token, CACHE_TOKEN_BYTES) < 0 ||
		pg_hmac_update(context, (const uint8 *) purpose, strlen(purpose)) < 0 ||
		pg_hmac_update(context, (const uint8 *) &system, sizeof(system)) < 0 ||
		pg_hmac_update(context, ticket->digest, CACHE_DIGEST_BYTES) < 0 ||
		pg_hmac_update(context, bytes, size) < 0 ||
		pg_hmac_final(context, digest, PG_SHA256_DIGEST_LENGTH) < 0)
		elog(ERROR, "could not seal an answer of the cache");
	pg_hmac_free(context);
}

static void
make_key(char *key, const CacheTicket *ticket)
{
	unsigned char digest[PG_SHA256_DIGEST_LENGTH];
	char *end = key + strlen(strcpy(key, KEY_PREFIX));

	seal(digest, "key", ticket, "", 0);
	for (int i = 0; i < PG_SHA256_DIGEST_LENGTH; i++, end += 2)
		sprintf(end, "%02x", digest[i]);
}

/* --- the level -------------------------------------------------------------------------------- */

/* Whether these bytes are what was kept by us, for this ticket, and are not too old. */
static bool
is_ours(const CacheTicket *ticket, const char *bytes, Size size, TimestampTz now)
{
	unsigned char digest[PG_SHA256_DIGEST_LENGTH];
	KeptHead head;

	if (size < sizeof(head))
		return false;
	memcpy(&head, bytes, sizeof(head));
	seal(digest, "answer", ticket, bytes + sizeof(digest), size - sizeof(digest));
	return memcmp(digest, head.digest, sizeof(digest)) == 0 && head.created_at <= now &&
		   head.expires_at > now;
}

static void
take_answer(CacheFound *found, const char *bytes, Size size)
{
	KeptHead head;

	memcpy(&head, bytes, sizeof(head));
	found->size = size - sizeof(head);
	found->bytes = palloc(Max(found->size, 1));
	memcpy(found->bytes, bytes + sizeof(head), found->size);
	found->created_at = head.created_at;
	found->expires_at = head.expires_at;
	found->level = CACHE_REDIS;
}

bool
redis_find(const CacheTicket *ticket, TimestampTz now, CacheFound *found)
{
	char key[KEY_LENGTH + 1];
	redisReply *reply;
	bool is_there;

	make_key(key, ticket);
	reply = redis_command(2, (const char *[]){"GET", key}, NULL);
	is_there = reply != NULL && reply->type == REDIS_REPLY_STRING &&
			   is_ours(ticket, reply->str, reply->len, now);
	if (is_there)
		take_answer(found, reply->str, reply->len);
	if (reply != NULL)
		freeReplyObject(reply);
	return is_there;
}

void
redis_put(const CacheTicket *ticket, const void *bytes, Size size, TimestampTz created_at,
		  TimestampTz expires_at)
{
	char key[KEY_LENGTH + 1];
	char time_left[32];
	Size whole = sizeof(KeptHead) + size;
	char *kept = palloc(whole);
	KeptHead head = {.created_at = created_at, .expires_at = expires_at};
	redisReply *reply;

	memcpy(kept, &head, sizeof(head));
	memcpy(kept + sizeof(head), bytes, size);
	seal((unsigned char *) kept, "answer", ticket, kept + sizeof(head.digest),
		 whole - sizeof(head.digest));
	make_key(key, ticket);
	snprintf(time_left, sizeof(time_left), INT64_FORMAT,
			 Max((expires_at - created_at) / 1000, 1));
	reply = redis_command(5, (const char *[]){"SET", key, kept, "PX", time_left},
						  (const size_t[]){3, KEY_LENGTH, whole, 2, strlen(time_left)});
	if (reply != NULL)
		freeReplyObject(reply);
	pfree(kept);
}
