/*
 * memory.c
 *		The first level: a fixed number of entries in shared memory.
 *
 * The lock is held shared to read an entry and exclusive to fill or empty some, never
 * for longer than it takes to copy one or to look at the heads of all.  When an entry
 * was last used is an atomic, written under the shared lock; where there is no room
 * the one that was not used for longest gives way.  An entry that has expired is not
 * found and gives way first, so there is no cleaner to forget.
 */
#include "postgres.h"

#include "base/clock.h"
#include "base/settings.h"
#include "cache/cache_int.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "port/pg_bitutils.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/timestamp.h"

#define MEMORY_TRANCHE "pg_factory_cache"

/* All but used are written under the exclusive lock. */
typedef struct Entry
{
	unsigned char digest[CACHE_DIGEST_BYTES];
	Oid database; /* InvalidOid: free */
	CacheKind kind;
	uint64 tenant; /* hashes of the names */
	uint64 subject;
	TimestampTz created_at;
	TimestampTz expires_at;
	uint32 size;
	int next; /* of the same bucket; -1: the last */
	pg_atomic_uint64 used;
} Entry;

typedef struct Memory
{
	LWLock *lock;
	pg_atomic_uint64 uses; /* counts up: an entry's used is one of its values */
	int count;             /* set once, as all below */
	uint32 entry_bytes;
	uint32 bucket_mask;
	int *buckets; /* the first entry's position, or -1; under lock */
	Entry *entries;
	char *bytes;
} Memory;

static Memory *memory = NULL;
static int max_entries = 1000;
static int entry_bytes = 4096;
static int ttl_ms = 60000;

static const Setting settings[] = {
	{"factory.cache_entries", "Sets how many answers the cache in shared memory holds.",
	 SETTING_INT, &max_entries, .boot = 1000, .min = 0, .max = 1000000,
	 .context = PGC_POSTMASTER,
	 .detail = "Of all databases; the one that was not used for longest gives way."},
	{"factory.cache_entry_size",
	 "Sets how large an answer in the cache in shared memory may be.", SETTING_INT,
	 &entry_bytes, .boot = 4096, .min = 256, .max = 1024 * 1024,
	 .context = PGC_POSTMASTER, .flags = GUC_UNIT_BYTE,
	 .detail = "Larger ones are kept at the second level alone."},
	{"factory.cache_l1_ttl",
	 "Sets how long the cache in shared memory keeps an answer at most.", SETTING_INT,
	 &ttl_ms, .boot = 60000, .min = 0, .max = 86400000, .context = PGC_SUSET,
	 .flags = GUC_UNIT_MS},
};

void
memory_define_settings(void)
{
	settings_define(settings, lengthof(settings));
}

/* --- shared memory ---------------------------------------------------------------------- */

static uint32
bucket_count(void)
{
	return pg_nextpower2_32(Max(max_entries, 1) * 2);
}

Size
memory_shmem_size(void)
{
	Size size = MAXALIGN(sizeof(Memory));

	size = add_size(size, MAXALIGN(mul_size(bucket_count(), sizeof(int))));
	size = add_size(size, MAXALIGN(mul_size(max_entries, sizeof(Entry))));
	return add_size(size, mul_size(max_entries, MAXALIGN(entry_bytes)));
}

static void
memory_init(void)
{
	char *at = (char *) memory + MAXALIGN(sizeof(Memory));

	memory->lock = &GetNamedLWLockTranche(MEMORY_TRANCHE)->lock;
	pg_atomic_init_u64(&memory->uses, 0);
	memory->count = max_entries;
	memory->entry_bytes = MAXALIGN(entry_bytes);
	memory->bucket_mask = bucket_count() - 1;
	memory->buckets = (int *) at;
	at += MAXALIGN(bucket_count() * sizeof(int));
	memory->entries = (Entry *) at;
	at += MAXALIGN(max_entries * sizeof(Entry));
	memory->bytes = at;
	for (int i = 0; i <= memory->bucket_mask; i++)
		memory->buckets[i] = -1;
	for (int i = 0; i < memory->count; i++)
	{
		memory->entries[i].database = InvalidOid;
		pg_atomic_init_u64(&memory->entries[i].used, 0);
	}
}

void
memory_attach(void)
{
	bool found;

	memory = ShmemInitStruct("pg_factory cache", memory_shmem_size(), &found);
	if (!found)
		memory_init();
}

int
memory_capacity(void)
{
	return memory->count;
}

/* --- looking ------------------------------------------------------------------------------ */

static uint64
name_hash(const char *name)
{
	return hash_bytes_extended((const unsigned char *) name, strlen(name), 0);
}

static int *
bucket_of(const unsigned char *digest)
{
	uint32 hash;

	memcpy(&hash, digest, sizeof(hash));
	return &memory->buckets[hash & memory->bucket_mask];
}

/* Where the position of that entry stands; what stands there is -1 if it is missing. */
static int *
look_up(const unsigned char *digest)
{
	int *link = bucket_of(digest);

	while (*link >= 0 &&
		   memcmp(memory->entries[*link].digest, digest, CACHE_DIGEST_BYTES) != 0)
		link = &memory->entries[*link].next;
	return link;
}

static bool
is_fresh(const Entry *entry, TimestampTz now)
{
	return entry->created_at <= now && now < entry->expires_at;
}

bool
memory_find(const CacheTicket *ticket, TimestampTz now, CacheFound *found)
{
	char *copy;
	bool is_there;
	int position;

	if (memory->count == 0)
		return false;
	copy = palloc(memory->entry_bytes);
	LWLockAcquire(memory->lock, LW_SHARED);
	position = *look_up(ticket->digest);
	is_there = position >= 0 && is_fresh(&memory->entries[position], now);
	if (is_there)
	{
		Entry *entry = &memory->entries[position];

		memcpy(copy, memory->bytes + (Size) position * memory->entry_bytes, entry->size);
		found->size = entry->size;
		found->created_at = entry->created_at;
		found->expires_at = entry->expires_at;
		pg_atomic_write_u64(&entry->used, pg_atomic_add_fetch_u64(&memory->uses, 1));
	}
	LWLockRelease(memory->lock);
	found->bytes = copy;
	found->level = CACHE_L1;
	if (!is_there)
		pfree(copy);
	return is_there;
}

/* --- filling -------------------------------------------------------------------------------- */

static void
take_out(int position)
{
	Entry *entry = &memory->entries[position];

	*look_up(entry->digest) = entry->next;
	entry->database = InvalidOid;
}

/* A free entry, an expired one, or the one that was not used for longest. */
static int
make_room(TimestampTz now)
{
	uint64 longest = PG_UINT64_MAX;
	int position = 0;

	for (int i = 0; i < memory->count; i++)
	{
		Entry *entry = &memory->entries[i];
		uint64 used = pg_atomic_read_u64(&entry->used);

		if (entry->database == InvalidOid)
			return i;
		if (now >= entry->expires_at)
			used = 0;
		if (used < longest)
		{
			longest = used;
			position = i;
		}
	}
	take_out(position);
	return position;
}

static void
fill(int position, const CacheTicket *ticket, const void *bytes, Size size,
	 TimestampTz created_at, TimestampTz expires_at)
{
	Entry *entry = &memory->entries[position];

	memcpy(entry->digest, ticket->digest, CACHE_DIGEST_BYTES);
	entry->database = MyDatabaseId;
	entry->kind = ticket->kind;
	entry->tenant = name_hash(ticket->tenant);
	entry->subject = name_hash(ticket->subject);
	entry->created_at = created_at;
	entry->expires_at = expires_at;
	entry->size = size;
	entry->next = *bucket_of(ticket->digest);
	*bucket_of(ticket->digest) = position;
	pg_atomic_write_u64(&entry->used, pg_atomic_add_fetch_u64(&memory->uses, 1));
	memcpy(memory->bytes + (Size) position * memory->entry_bytes, bytes, size);
}

void
memory_put(const CacheTicket *ticket, const void *bytes, Size size,
		   TimestampTz created_at, TimestampTz expires_at)
{
	TimestampTz now = clock_now();
	int position;

	expires_at = Min(expires_at, now + ttl_ms * INT64CONST(1000));
	if (size > memory->entry_bytes || memory->count == 0 || expires_at <= now)
		return;
	LWLockAcquire(memory->lock, LW_EXCLUSIVE);
	position = *look_up(ticket->digest);
	if (position >= 0)
		take_out(position);
	else
		position = make_room(now);
	fill(position, ticket, bytes, size, created_at, expires_at);
	LWLockRelease(memory->lock);
}

/* --- emptying --------------------------------------------------------------------------------- */

/* A scope as entries know it. */
typedef struct HashedScope
{
	CacheKind kind;
	const uint64 *tenant; /* NULL: all */
	const uint64 *subject;
	uint64 hashes[2];
} HashedScope;

static void
hash_scope(const CacheScope *scope, HashedScope *hashed)
{
	memset(hashed, 0, sizeof(*hashed));
	hashed->kind = scope->kind;
	if (scope->tenant != NULL)
	{
		hashed->hashes[0] = name_hash(scope->tenant);
		hashed->tenant = &hashed->hashes[0];
	}
	if (scope->subject != NULL)
	{
		hashed->hashes[1] = name_hash(scope->subject);
		hashed->subject = &hashed->hashes[1];
	}
}

static bool
in_scope(const Entry *entry, const HashedScope *scope)
{
	return entry->database == MyDatabaseId &&
		   (scope->kind == CACHE_KIND_COUNT || scope->kind == entry->kind) &&
		   (scope->tenant == NULL || *scope->tenant == entry->tenant) &&
		   (scope->subject == NULL || *scope->subject == entry->subject);
}

int64
memory_empty(const CacheScope *scope)
{
	HashedScope hashed;
	int64 taken = 0;

	hash_scope(scope, &hashed);
	LWLockAcquire(memory->lock, LW_EXCLUSIVE);
	for (int i = 0; i < memory->count; i++)
	{
		if (in_scope(&memory->entries[i], &hashed))
		{
			take_out(i);
			taken++;
		}
	}
	LWLockRelease(memory->lock);
	return taken;
}

void
memory_count(const CacheScope *scope, TimestampTz now, CacheHolding *holding)
{
	HashedScope hashed;

	hash_scope(scope, &hashed);
	memset(holding, 0, sizeof(*holding));
	LWLockAcquire(memory->lock, LW_SHARED);
	for (int i = 0; i < memory->count; i++)
	{
		const Entry *entry = &memory->entries[i];

		if (in_scope(entry, &hashed) && is_fresh(entry, now))
		{
			holding->entries++;
			holding->bytes += entry->size;
		}
	}
	LWLockRelease(memory->lock);
}
