/*
 * cache_int.h
 *		Between the files of the cache room.
 */
#ifndef FACTORY_CACHE_INT_H
#define FACTORY_CACHE_INT_H

#include "cache/cache.h"

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
extern uint64 memory_emptied_so_far(void);

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

/* --- empty.c ----------------------------------------------------------------------------- */

/* At once, and again at commit: what others keep in between is not to stay. */
extern int64 cache_empty_now(const CacheScope *scope);

#endif /* FACTORY_CACHE_INT_H */
