/*
 * generation.c
 *		Tokens that answers are kept under.
 *
 * Shared memory, a table that others write meanwhile, a server of others: none of them
 * knows what a transaction empties, or whether it commits.  So nothing has to be taken
 * away there: factory.cache_generation has a random mark for all answers, and more for
 * each tenant, kind and subject that was emptied since.  A ticket's token is a digest of
 * all marks that are about it, and is in its key.  To empty is to add a mark: from the
 * commit on, in every backend and on every standby, what was kept before is found no more;
 * nor is what somebody keeps later who began to compute before.
 *
 * Marks are added, never changed, so no two who empty wait for each other or fail, at any
 * isolation level.  Where nobody can be in the way, who adds one takes older ones of its
 * scope away: with a mark that was never there before, no token comes back.
 *
 * Tokens are read once and kept until a relcache invalidation of the table says that
 * a mark was written.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "base/house.h"
#include "cache/cache_int.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#define GENERATION_NAME_MAX 256

static const char *const read_query =
	"SELECT pg_catalog.sha256(pg_catalog.convert_to("
	"pg_catalog.string_agg(generation::text, ' ' ORDER BY generation), 'UTF8'))"
	" FROM factory.cache_generation"
	" WHERE tenant IN ('', $1) AND kind IN ('', $2) AND subject IN ('', $3)";

static const char *const add_query =
	"INSERT INTO factory.cache_generation (tenant, kind, subject)"
	" VALUES (coalesce($1, ''), coalesce($2, ''), coalesce($3, ''))";

static const char *const take_older_query =
	"DELETE FROM factory.cache_generation WHERE ctid = ANY (ARRAY("
	"SELECT ctid FROM factory.cache_generation WHERE tenant = coalesce($1, '')"
	" AND kind = coalesce($2, '') AND subject = coalesce($3, '')"
	" FOR UPDATE SKIP LOCKED))";

typedef struct KnownToken
{
	char name[GENERATION_NAME_MAX];
	bool valid;
	unsigned char token[CACHE_TOKEN_BYTES];
} KnownToken;

static HTAB *known_tokens = NULL;
static Oid generation_relation = InvalidOid;
static uint64 changes = 0; /* of the table, that we were told of */

/* May come at any moment: flags only. */
static void
relation_changed(Datum argument, Oid relation)
{
	HASH_SEQ_STATUS scan;
	KnownToken *known;

	if (relation != InvalidOid && relation != generation_relation)
		return;
	changes++;
	hash_seq_init(&scan, known_tokens);
	while ((known = hash_seq_search(&scan)) != NULL)
		known->valid = false;
}

static void
make_known_tokens(void)
{
	HASHCTL control = {.keysize = GENERATION_NAME_MAX, .entrysize = sizeof(KnownToken)};

	control.hcxt = CacheMemoryContext;
	known_tokens = hash_create("pg_factory cache generations", 64, &control,
							   HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
	CacheRegisterRelcacheCallback(relation_changed, (Datum) 0);
}

/* The newest marks, also in a transaction with an old snapshot: the token is kept. */
static bool
query_token(const CacheTicket *ticket, unsigned char *token)
{
	Oid types[] = {TEXTOID, TEXTOID, TEXTOID};
	Datum values[] = {CStringGetTextDatum(ticket->tenant),
					  CStringGetTextDatum(cache_kind_names[ticket->kind]),
					  CStringGetTextDatum(ticket->subject)};
	HouseRights saved;
	Datum digest;
	bool isnull;

	house_enter_for_all(&saved);
	SPI_connect();
	PushActiveSnapshot(GetLatestSnapshot());
	if (SPI_execute_with_args(read_query, 3, types, values, NULL, true, 1) !=
			SPI_OK_SELECT ||
		SPI_processed != 1)
		elog(ERROR, "could not read generations of the cache");
	PopActiveSnapshot();
	digest = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
	if (!isnull)
		memcpy(token, VARDATA_ANY(DatumGetByteaPP(digest)), CACHE_TOKEN_BYTES);
	SPI_finish();
	house_leave(&saved);
	return !isnull;
}

/* False where no answer can be kept.  A change told of meanwhile has it read again. */
static bool
read_token(const CacheTicket *ticket, KnownToken *known)
{
	uint64 before;

	/* A dropped and created extension has another table. */
	generation_relation = house_relation("cache_generation");
	do
	{
		CHECK_FOR_INTERRUPTS();
		before = changes;
		if (!query_token(ticket, known->token))
			return false;
	} while (changes != before);
	known->valid = true;
	return true;
}

bool
generation_token(const CacheTicket *ticket, unsigned char *token)
{
	char name[GENERATION_NAME_MAX];
	KnownToken *known;
	bool found;

	if (IsInParallelMode() || snprintf(name, sizeof(name), "%d %s\n%s", ticket->kind,
									   ticket->tenant, ticket->subject) >= sizeof(name))
		return false;
	if (known_tokens == NULL)
		make_known_tokens();
	known = hash_search(known_tokens, name, HASH_ENTER, &found);
	if (!found)
		known->valid = false;
	if (!known->valid && !read_token(ticket, known))
		return false;
	memcpy(token, known->token, CACHE_TOKEN_BYTES);
	return true;
}

/* --- another token ------------------------------------------------------------------- */

/* A statement about the marks of a scope. */
static void
execute_for(const char *query, const CacheScope *scope, int expected)
{
	const char *names[] = {scope->tenant,
						   scope->kind == CACHE_KIND_COUNT
							   ? NULL
							   : cache_kind_names[scope->kind],
						   scope->subject};
	Oid types[] = {TEXTOID, TEXTOID, TEXTOID};
	Datum values[lengthof(names)];
	char nulls[lengthof(names)];

	for (int i = 0; i < lengthof(names); i++)
	{
		nulls[i] = names[i] ? ' ' : 'n';
		values[i] = names[i] ? CStringGetTextDatum(names[i]) : (Datum) 0;
	}
	if (SPI_execute_with_args(query, 3, types, values, nulls, false, 0) != expected)
		elog(ERROR, "could not renew a generation of the cache");
}

void
generation_renew(const CacheScope *scope)
{
	Oid relation = house_relation_if_exists("cache_generation");
	HouseRights saved;

	if (RecoveryInProgress() || XactReadOnly || !OidIsValid(relation))
		return;
	/* Whoever changes another tenant's rows may not be bound to that tenant. */
	house_enter_for_all(&saved);
	SPI_connect();
	/* With an old snapshot, to take away what somebody else has taken is an error. */
	if (!IsolationUsesXactSnapshot())
		execute_for(take_older_query, scope, SPI_OK_DELETE);
	execute_for(add_query, scope, SPI_OK_INSERT);
	SPI_finish();
	house_leave(&saved);
	CacheInvalidateRelcacheByRelid(relation);
	/* So that this transaction is told, too. */
	CommandCounterIncrement();
}
