/*
 * generation.c
 *		Tokens that answers beyond this database are kept under.
 *
 * A server of others knows nothing of our transactions.  So nothing is ever emptied
 * there: factory.cache_generation has a random token for all answers, and one for each
 * tenant, kind and subject that was emptied since; to empty is to write another token,
 * and what was kept under the old one is found no more, from the commit on, in every
 * backend and on every standby, whether or not that server could be reached then.
 *
 * Tokens are read once and kept until a relcache invalidation of the table says that
 * one was written.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "base/house.h"
#include "cache/cache_int.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#define GENERATION_NAME_MAX 256
#define GENERATION_TOKEN_MAX 160 /* four UUIDs and three spaces */

static const char *const read_query =
	"SELECT pg_catalog.string_agg(generation::text, ' ' ORDER BY tenant, kind, "
	"subject)"
	" FROM factory.cache_generation"
	" WHERE tenant IN ('', $1) AND kind IN ('', $2) AND subject IN ('', $3)";

static const char *const renew_query =
	"INSERT INTO factory.cache_generation (tenant, kind, subject)"
	" VALUES (coalesce($1, ''), coalesce($2, ''), coalesce($3, ''))"
	" ON CONFLICT (tenant, kind, subject)"
	" DO UPDATE SET generation = pg_catalog.gen_random_uuid()";

typedef struct KnownToken
{
	char name[GENERATION_NAME_MAX];
	bool valid;
	char token[GENERATION_TOKEN_MAX];
} KnownToken;

static HTAB *known_tokens = NULL;
static Oid generation_relation = InvalidOid;

/* May come at any moment: flags only. */
static void
relation_changed(Datum argument, Oid relation)
{
	HASH_SEQ_STATUS scan;
	KnownToken *known;

	if (relation != InvalidOid && relation != generation_relation)
		return;
	hash_seq_init(&scan, known_tokens);
	while ((known = hash_seq_search(&scan)) != NULL)
		known->valid = false;
}

static void
prepare(void)
{
	HASHCTL control = {.keysize = GENERATION_NAME_MAX, .entrysize = sizeof(KnownToken)};

	/* A dropped and created extension has another table. */
	generation_relation = house_relation("cache_generation");
	if (known_tokens != NULL)
		return;
	control.hcxt = CacheMemoryContext;
	known_tokens = hash_create("pg_factory cache generations", 64, &control,
							   HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
	CacheRegisterRelcacheCallback(relation_changed, (Datum) 0);
}

/* The newest ones, also in a transaction with an old snapshot: they are kept. */
static void
read_token(const CacheTicket *ticket, KnownToken *known)
{
	Oid types[] = {TEXTOID, TEXTOID, TEXTOID};
	Datum values[] = {CStringGetTextDatum(ticket->tenant),
					  CStringGetTextDatum(cache_kind_names[ticket->kind]),
					  CStringGetTextDatum(ticket->subject)};
	HouseRights saved;
	char *token;

	house_enter_for_all(&saved);
	SPI_connect();
	PushActiveSnapshot(GetLatestSnapshot());
	if (SPI_execute_with_args(read_query, 3, types, values, NULL, true, 1) !=
			SPI_OK_SELECT ||
		SPI_processed != 1)
		elog(ERROR, "could not read generations of the cache");
	PopActiveSnapshot();
	token = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
	if (token != NULL && strlen(token) < GENERATION_TOKEN_MAX)
	{
		strlcpy(known->token, token, GENERATION_TOKEN_MAX);
		known->valid = true;
	}
	SPI_finish();
	house_leave(&saved);
}

const char *
generation_token(const CacheTicket *ticket)
{
	char name[GENERATION_NAME_MAX];
	KnownToken *known;
	bool found;

	prepare();
	if (snprintf(name, sizeof(name), "%d %s\n%s", ticket->kind, ticket->tenant,
				 ticket->subject) >= sizeof(name))
		return NULL;
	known = hash_search(known_tokens, name, HASH_ENTER, &found);
	if (!found)
		known->valid = false;
	if (!known->valid)
		read_token(ticket, known);
	return known->valid ? known->token : NULL;
}

void
generation_renew(const CacheScope *scope)
{
	const char *names[] = {scope->tenant,
						   scope->kind == CACHE_KIND_COUNT
							   ? NULL
							   : cache_kind_names[scope->kind],
						   scope->subject};
	Oid relation = house_relation_if_exists("cache_generation");
	Oid types[] = {TEXTOID, TEXTOID, TEXTOID};
	Datum values[lengthof(names)];
	char nulls[lengthof(names)];
	HouseRights saved;

	if (RecoveryInProgress() || XactReadOnly || !OidIsValid(relation))
		return;
	for (int i = 0; i < lengthof(names); i++)
	{
		nulls[i] = names[i] ? ' ' : 'n';
		values[i] = names[i] ? CStringGetTextDatum(names[i]) : (Datum) 0;
	}
	/* Whoever changes another tenant's rows may not be bound to that tenant. */
	house_enter_for_all(&saved);
	SPI_connect();
	if (SPI_execute_with_args(renew_query, 3, types, values, nulls, false, 0) !=
		SPI_OK_INSERT)
		elog(ERROR, "could not renew a generation of the cache");
	SPI_finish();
	house_leave(&saved);
	CacheInvalidateRelcacheByRelid(relation);
}
