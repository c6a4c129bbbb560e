/*
 * cache_int.h
 *		Between the files of the cache room.
 */
#ifndef FACTORY_CACHE_INT_H
#define FACTORY_CACHE_INT_H

#include "cache/cache.h"
#include "utils/guc.h"

/* What is emptied: the database's, or a part of it. */
typedef struct CacheScope
{
	CacheKind kind;      /* CACHE_KIND_COUNT: all */
	const char *tenant;  /* NULL: all */
	const char *subject; /* NULL: all */
} CacheScope;

/* --- memory.c: the first level ------------------------------------------------------ */

extern void memory_define_settings(void);
extern Size memory_shmem_size(void);
extern void memory_attach(void);

extern bool memory_find(const CacheTicket *ticket, TimestampTz now, CacheFound *found);
extern void memory_put(const CacheTicket *ticket, const void *bytes, Size size,
					   TimestampTz created_at, TimestampTz expires_at);

/* Never raises. */
extern int64 memory_empty(const CacheScope *scope);

typedef struct CacheHolding
{
	int64 entries;
	int64 bytes;
} CacheHolding;

extern void memory_count(const CacheScope *scope, TimestampTz now, CacheHolding *holding);
extern int memory_capacity(void);

/* --- turn.c: one computes, others wait ------------------------------------------------ */

extern Size turn_shmem_size(void);
extern void turn_attach(void);

/*
 * It is ours to compute, and others wait, if a place was free; or somebody else does,
 * and, if we wait, is through now.  Who holds a place does not wait.
 */
extern void turn_take(CacheTicket *ticket, bool waits);
extern void turn_end(CacheTicket *ticket);

/* --- table.c: the second level, in factory.cache_entry --------------------------------- */

extern bool cache_use_table; /* setting factory.cache_table */

extern bool table_find(const CacheTicket *ticket, TimestampTz now, CacheFound *found);
extern void table_put(const CacheTicket *ticket, const void *bytes, Size size,
					  TimestampTz created_at, TimestampTz expires_at);
extern void table_count(CacheKind kind, TimestampTz now, CacheHolding *holding);

/* Returns the rows that went. */
extern int64 table_empty(const CacheScope *scope);

/* --- generation.c: what answers are kept under ------------------------------------------ */

/* Of the ticket's tenant, kind and subject; false where nothing can be kept. */
extern bool generation_token(const CacheTicket *ticket, unsigned char *token);

/* From the commit on, and in this transaction at once, nothing kept before is found. */
extern void generation_renew(const CacheScope *scope);

/* --- redis.c: the second level, on Redis ---------------------------------------------------- */

extern void redis_define_settings(void);
extern bool redis_find(const CacheTicket *ticket, TimestampTz now, CacheFound *found);
extern void redis_put(const CacheTicket *ticket, const void *bytes, Size size,
					  TimestampTz created_at, TimestampTz expires_at);

/* --- redis_client.c: talking to it ------------------------------------------------------------ */

extern char *redis_urls;          /* setting factory.cache_redis */
extern char *redis_master;        /* setting factory.cache_redis_master */
extern char *redis_password_file; /* setting factory.cache_redis_password_file */
extern char *redis_ca_file;       /* setting factory.cache_redis_ca_file */
extern int redis_timeout_ms;      /* setting factory.cache_redis_timeout */

extern bool redis_check_urls(char **value, void **extra, GucSource source);
extern bool redis_is_wanted(void);

/*
 * A command by its words (lengths NULL: they are texts); its reply is the caller's to
 * free, NULL where there is none in time or it is an error.  Raises only on cancel,
 * shutdown and lack of memory.
 */
extern struct redisReply *redis_command(int count, const char **words,
										const size_t *lengths);

/* --- empty.c ----------------------------------------------------------------------------- */

/* At once, and again at commit: what others keep in between is not to stay. */
extern int64 cache_empty_now(const CacheScope *scope);

#endif /* FACTORY_CACHE_INT_H */
