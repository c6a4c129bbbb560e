/*
 * cache.h
 *		Answers already paid for, given again: in shared memory, in a table or on Redis.
 *
 *		CacheTicket ticket;
 *		CacheFound found;
 *
 *		cache_key(&ticket, CACHE_JUDGMENT, "defect_rate", material, length);
 *		if (!cache_find(&ticket, CACHE_AWAIT_TURN, &found))
 *			... compute ..., cache_put(&ticket, bytes, size, ttl_ms);
 *
 * A key is a digest of the database, the tenant, the kind, the subject and all that
 * the answer depends on: what has another key is another answer, so nobody meets
 * what was kept for others.  The key is to be made before anything is read that the answer
 * depends on and the key has not: what is emptied meanwhile has another key.  While one computes, others with the same key wait for
 * it; where it gives up, fails or takes too long, each computes for itself.  Who is
 * waited for waits for nobody: two who did so would wait for each other.
 */
#ifndef FACTORY_CACHE_H
#define FACTORY_CACHE_H

#include "datatype/timestamp.h"

#define CACHE_DIGEST_BYTES 32
#define CACHE_TOKEN_BYTES 32

typedef enum CacheKind
{
	CACHE_JUDGMENT,
	CACHE_QUESTION,
	CACHE_KIND_COUNT
} CacheKind;

extern const char *const cache_kind_names[CACHE_KIND_COUNT];

typedef enum CacheLevel
{
	CACHE_L1,    /* this server's shared memory */
	CACHE_TABLE, /* factory.cache_entry */
	CACHE_REDIS, /* in the table's place, where factory.cache_redis names one */
	CACHE_LEVEL_COUNT
} CacheLevel;

extern const char *const cache_level_names[CACHE_LEVEL_COUNT];

typedef struct CacheTicket
{
	unsigned char digest[CACHE_DIGEST_BYTES];
	unsigned char
		token[CACHE_TOKEN_BYTES]; /* changes when it is emptied; in the digest */
	bool is_usable;               /* there is a token */
	CacheKind kind;
	const char *tenant;  /* tenant_current() */
	const char *subject; /* what it is emptied by: the decision's name */
	int turn;            /* the place where others wait for us; -1: they do not */
	TimestampTz put_at;  /* 0: not yet */
} CacheTicket;

typedef struct CacheFound
{
	void *bytes; /* in the caller's memory */
	Size size;
	CacheLevel level;
	TimestampTz created_at;
	TimestampTz expires_at;
} CacheFound;

/* What a miss means for others, and others for us. */
typedef enum CacheTurn
{
	CACHE_NO_TURN,   /* nobody waits for anybody */
	CACHE_TAKE_TURN, /* others wait for us */
	CACHE_AWAIT_TURN /* the same, and we for who was first, unless others wait for us */
} CacheTurn;

/* The subject must live as long as the ticket. */
extern void cache_key(CacheTicket *ticket, CacheKind kind, const char *subject,
					  const void *material, Size length);

/*
 * True with what was kept.  False: it is to be computed, and where a turn was taken
 * others may be waiting for it until cache_put(), cache_give_up() or the end of the
 * (sub)transaction.  Raises only on cancel, shutdown and lack of memory.
 */
extern bool cache_find(CacheTicket *ticket, CacheTurn turn, CacheFound *found);

/* Keeps it at every level that will have it; who finds it began before it was emptied. */
extern void cache_put(CacheTicket *ticket, const void *bytes, Size size, int64 ttl_ms);

/*
 * The same in memory alone, for who goes on working in this transaction: rows of the
 * second level, which others would wait for, can follow by cache_put(), as old as this.
 */
extern void cache_put_in_memory(CacheTicket *ticket, const void *bytes, Size size,
								int64 ttl_ms);
extern void cache_give_up(CacheTicket *ticket);

/*
 * Empties a kind (CACHE_KIND_COUNT: all) and subject (NULL: all) of a tenant (NULL:
 * all) when the transaction commits, everywhere; not if it, or the subtransaction,
 * rolls back.
 */
extern void cache_empty_at_commit(CacheKind kind, const char *tenant,
								  const char *subject);

extern void cache_define_settings(void);
extern void cache_request_shmem(void);
extern void cache_attach_shmem(void);

#endif /* FACTORY_CACHE_H */
