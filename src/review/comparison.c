/*
 * comparison.c
 *		Pairs of outcomes, counted; on their way from worker to leader, and as a report.
 *
 * Each process gives outcomes numbers of its own; what parallel workers have counted is
 * added up by the words.
 */
#include "postgres.h"

#include "base/document.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "lib/stringinfo.h"
#include "review/comparison.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/json.h"
#include "utils/memutils.h"

typedef struct OutcomeEntry
{
	Words words;
	int number;
	uint32 hash;
	char status; /* the table's */
} OutcomeEntry;

/* An example with room for its document. */
typedef struct KeptExample
{
	Example example;
	int room;
} KeptExample;

typedef struct PairEntry
{
	uint64 key; /* PAIR_KEY() */
	int64 count;
	KeptExample *least; /* NULL: none */
	KeptExample *greatest;
	char status;
} PairEntry;

#define PAIR_KEY(was, becomes) ((uint64) (was) << 32 | (uint32) (becomes))
#define PAIR_WAS(key) ((int) ((key) >> 32))
#define PAIR_BECOMES(key) ((int) (uint32) (key))

static uint32
words_hash(const Words *words)
{
	return hash_combine(hash_bytes((const unsigned char *) words->status,
								   words->status_length),
						(uint32) words->result_length);
}

static bool
words_equal(const Words *one, const Words *other)
{
	return one->status_length == other->status_length &&
		   one->result_length == other->result_length &&
		   memcmp(one->status, other->status, one->status_length) == 0 &&
		   memcmp(one->result, other->result, one->result_length) == 0;
}

#define SH_PREFIX outcomes
#define SH_ELEMENT_TYPE OutcomeEntry
#define SH_KEY_TYPE Words
#define SH_KEY words
#define SH_HASH_KEY(table, key) words_hash(&(key))
#define SH_EQUAL(table, a, b) words_equal(&(a), &(b))
#define SH_STORE_HASH
#define SH_GET_HASH(table, entry) ((entry)->hash)
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

#define SH_PREFIX pairs
#define SH_ELEMENT_TYPE PairEntry
#define SH_KEY_TYPE uint64
#define SH_KEY key
#define SH_HASH_KEY(table, key) murmurhash32((uint32) ((key) >> 15 ^ (key)))
#define SH_EQUAL(table, a, b) ((a) == (b))
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

Comparison *
comparison_begin(MemoryContext parent, int table_count)
{
	MemoryContext context =
		AllocSetContextCreate(parent, "pg_factory comparison", ALLOCSET_DEFAULT_SIZES);
	Comparison *comparison = MemoryContextAllocZero(context, sizeof(Comparison));

	comparison->context = context;
	comparison->outcomes = outcomes_create(context, 64, NULL);
	comparison->capacity = 64;
	comparison->words = MemoryContextAlloc(context, sizeof(Words) * comparison->capacity);
	comparison->table_count = table_count;
	comparison->pairs = MemoryContextAlloc(context, sizeof(pairs_hash *) * table_count);
	for (int i = 0; i < table_count; i++)
		comparison->pairs[i] = pairs_create(context, 64, NULL);
	return comparison;
}

/* --- counting ------------------------------------------------------------------------- */

int
outcome_number(Comparison *comparison, const Words *words)
{
	bool found;
	OutcomeEntry *entry = outcomes_insert(comparison->outcomes, *words, &found);
	MemoryContext caller;
	Words own = *words;

	if (found)
		return entry->number;
	entry->number = comparison->outcomes->members - 1;
	caller = MemoryContextSwitchTo(comparison->context);
	own.status = pnstrdup(words->status, words->status_length);
	own.result = pnstrdup(words->result, words->result_length);
	if (entry->number == comparison->capacity)
	{
		comparison->capacity *= 2;
		comparison->words =
			repalloc(comparison->words, sizeof(Words) * comparison->capacity);
	}
	MemoryContextSwitchTo(caller);
	entry->words = comparison->words[entry->number] = own;
	return entry->number;
}

static PairEntry *
count_pair(Comparison *comparison, int table, int was, int becomes, int64 count)
{
	bool found;
	PairEntry *pair =
		pairs_insert(comparison->pairs[table], PAIR_KEY(was, becomes), &found);

	if (!found)
	{
		pair->count = 0;
		pair->least = pair->greatest = NULL;
	}
	pair->count += count;
	return pair;
}

static void
keep(const Comparison *comparison, KeptExample **place, const Example *example)
{
	int size = VARSIZE(example->input);
	KeptExample *kept = *place;
	Jsonb *room;

	if (kept == NULL)
		kept = *place = MemoryContextAllocZero(comparison->context, sizeof(KeptExample));
	if (kept->room < size)
	{
		if (kept->example.input != NULL)
			pfree(kept->example.input);
		kept->example.input = MemoryContextAlloc(comparison->context, size);
		kept->room = size;
	}
	room = kept->example.input;
	memcpy(room, example->input, size);
	kept->example = *example;
	kept->example.input = room;
}

static int
in_order_of_ids(const Example *example, const KeptExample *kept)
{
	return memcmp(example->id.data, kept->example.id.data, UUID_LEN);
}

static void
keep_extremes(const Comparison *comparison, PairEntry *pair, const Example *example)
{
	if (pair->least == NULL || in_order_of_ids(example, pair->least) < 0)
		keep(comparison, &pair->least, example);
	if (in_order_of_ids(example, pair->least) != 0 &&
		(pair->greatest == NULL || in_order_of_ids(example, pair->greatest) > 0))
		keep(comparison, &pair->greatest, example);
}

void
comparison_count(Comparison *comparison, int table, int was, int becomes,
				 const Example *example)
{
	PairEntry *pair = count_pair(comparison, table, was, becomes, 1);

	if (was != becomes && example != NULL)
		keep_extremes(comparison, pair, example);
}

bool
comparison_wants_example(Comparison *comparison, int table, int was, int becomes)
{
	return was != becomes &&
		   pairs_lookup(comparison->pairs[table], PAIR_KEY(was, becomes)) == NULL;
}

/* --- from worker to leader ------------------------------------------------------------ */

static void
put_bytes(StringInfo message, const void *bytes, int length)
{
	appendBinaryStringInfo(message, bytes, length);
}

static void
put_number(StringInfo message, int number)
{
	put_bytes(message, &number, sizeof(number));
}

static void
put_kept(StringInfo message, const KeptExample *kept)
{
	put_number(message, kept ? VARSIZE(kept->example.input) : 0);
	if (kept == NULL)
		return;
	put_bytes(message, &kept->example, sizeof(Example));
	put_bytes(message, kept->example.input, VARSIZE(kept->example.input));
}

static void
put_table(StringInfo message, pairs_hash *pairs)
{
	pairs_iterator at;
	PairEntry *pair;

	put_number(message, pairs->members);
	pairs_start_iterate(pairs, &at);
	while ((pair = pairs_iterate(pairs, &at)) != NULL)
	{
		put_bytes(message, pair, sizeof(*pair));
		put_kept(message, pair->least);
		put_kept(message, pair->greatest);
	}
}

FACTORY_FUNCTION(factory_comparison_serialize);

Datum
factory_comparison_serialize(PG_FUNCTION_ARGS)
{
	Comparison *comparison = (Comparison *) PG_GETARG_POINTER(0);
	int count = comparison->outcomes->members;
	StringInfoData message;

	initStringInfo(&message);
	put_number(&message, 0); /* the bytea's head */
	put_number(&message, comparison->table_count);
	put_number(&message, count);
	for (int i = 0; i < count; i++)
	{
		const Words *words = &comparison->words[i];

		put_number(&message, words->status_length);
		put_bytes(&message, words->status, words->status_length);
		put_number(&message, words->result_length);
		put_bytes(&message, words->result, words->result_length);
	}
	for (int i = 0; i < comparison->table_count; i++)
		put_table(&message, comparison->pairs[i]);
	SET_VARSIZE(message.data, message.len);
	PG_RETURN_BYTEA_P(message.data);
}

static const char *
take_bytes(const char **at, int length)
{
	const char *bytes = *at;

	*at += length;
	return bytes;
}

static int
take_number(const char **at)
{
	int number;

	memcpy(&number, take_bytes(at, sizeof(number)), sizeof(number));
	return number;
}

static void
take_kept(const Comparison *comparison, KeptExample **place, const char **at)
{
	int size = take_number(at);
	Example example;

	*place = NULL;
	if (size == 0)
		return;
	memcpy(&example, take_bytes(at, sizeof(example)), sizeof(example));
	example.input = palloc(size);
	memcpy(example.input, take_bytes(at, size), size);
	keep(comparison, place, &example);
}

static void
take_table(Comparison *comparison, int table, const char **at)
{
	int count = take_number(at);

	for (int i = 0; i < count; i++)
	{
		PairEntry sent, *pair;

		memcpy(&sent, take_bytes(at, sizeof(sent)), sizeof(sent));
		pair = count_pair(comparison, table, PAIR_WAS(sent.key), PAIR_BECOMES(sent.key),
						  sent.count);
		take_kept(comparison, &pair->least, at);
		take_kept(comparison, &pair->greatest, at);
	}
}

FACTORY_FUNCTION(factory_comparison_deserialize);

Datum
factory_comparison_deserialize(PG_FUNCTION_ARGS)
{
	bytea *message = PG_GETARG_BYTEA_P(0);
	const char *at = VARDATA(message);
	int table_count = take_number(&at);
	Comparison *comparison = comparison_begin(CurrentMemoryContext, table_count);
	int count = take_number(&at);

	for (int i = 0; i < count; i++)
	{
		Words words;

		words.status_length = take_number(&at);
		words.status = take_bytes(&at, words.status_length);
		words.result_length = take_number(&at);
		words.result = take_bytes(&at, words.result_length);
		(void) outcome_number(comparison, &words);
	}
	for (int i = 0; i < table_count; i++)
		take_table(comparison, i, &at);
	PG_RETURN_POINTER(comparison);
}

static void
add_pairs(Comparison *comparison, const Comparison *other, int table)
{
	pairs_iterator at;
	PairEntry *theirs;

	pairs_start_iterate(other->pairs[table], &at);
	while ((theirs = pairs_iterate(other->pairs[table], &at)) != NULL)
	{
		int was = outcome_number(comparison, &other->words[PAIR_WAS(theirs->key)]);
		int becomes =
			outcome_number(comparison, &other->words[PAIR_BECOMES(theirs->key)]);
		PairEntry *pair = count_pair(comparison, table, was, becomes, theirs->count);

		if (theirs->least != NULL)
			keep_extremes(comparison, pair, &theirs->least->example);
		if (theirs->greatest != NULL)
			keep_extremes(comparison, pair, &theirs->greatest->example);
	}
}

FACTORY_FUNCTION(factory_comparison_combine);

Datum
factory_comparison_combine(PG_FUNCTION_ARGS)
{
	Comparison *comparison = PG_ARGISNULL(0) ? NULL : (Comparison *) PG_GETARG_POINTER(0);
	const Comparison *other =
		PG_ARGISNULL(1) ? NULL : (Comparison *) PG_GETARG_POINTER(1);
	MemoryContext memory;

	if (!AggCheckCallContext(fcinfo, &memory))
		elog(ERROR, "comparisons are combined by an aggregate");
	if (other == NULL && comparison == NULL)
		PG_RETURN_NULL();
	if (other == NULL)
		PG_RETURN_POINTER(comparison);
	if (comparison == NULL)
		comparison = comparison_begin(memory, other->table_count);
	for (int i = 0; i < other->table_count; i++)
		add_pairs(comparison, other, i);
	PG_RETURN_POINTER(comparison);
}

/* --- what a report is made of ----------------------------------------------------------- */

static void
put_words(DocBuilder *b, const char *key, const Words *words)
{
	doc_begin_array(b, key);
	doc_put_string(b, NULL, words->status);
	doc_put_string(b, NULL, words->result);
	doc_end_array(b);
}

static void
put_example(DocBuilder *b, const KeptExample *kept)
{
	const Example *example;
	char time[MAXDATELEN + 1];

	if (kept == NULL)
		return;
	example = &kept->example;
	if (example->version == 0)
	{
		doc_put_doc(b, NULL, example->input);
		return;
	}
	doc_begin_object(b, NULL);
	doc_put_string(b, "execution_id",
				   DatumGetCString(
					   DirectFunctionCall1(uuid_out, UUIDPGetDatum(&example->id))));
	doc_put_int(b, "version", example->version);
	doc_put_doc(b, "input", example->input);
	JsonEncodeDateTime(time, TimestampTzGetDatum(example->judged_at), TIMESTAMPTZOID,
					   NULL);
	doc_put_string(b, "created_at", time);
	doc_end_object(b);
}

static void
put_pair(DocBuilder *b, const Comparison *comparison, const PairEntry *pair)
{
	doc_begin_object(b, NULL);
	put_words(b, "was", &comparison->words[PAIR_WAS(pair->key)]);
	put_words(b, "becomes", &comparison->words[PAIR_BECOMES(pair->key)]);
	doc_put_int(b, "count", pair->count);
	if (pair->least != NULL)
	{
		doc_begin_array(b, "examples");
		put_example(b, pair->least);
		put_example(b, pair->greatest);
		doc_end_array(b);
	}
	doc_end_object(b);
}

FACTORY_FUNCTION(factory_comparison_pairs);

Datum
factory_comparison_pairs(PG_FUNCTION_ARGS)
{
	const Comparison *comparison = (Comparison *) PG_GETARG_POINTER(0);
	DocBuilder b;

	doc_build(&b);
	doc_begin_array(&b, NULL);
	for (int i = 0; i < comparison->table_count; i++)
	{
		pairs_iterator at;
		PairEntry *pair;

		doc_begin_array(&b, NULL);
		pairs_start_iterate(comparison->pairs[i], &at);
		while ((pair = pairs_iterate(comparison->pairs[i], &at)) != NULL)
			put_pair(&b, comparison, pair);
		doc_end_array(&b);
	}
	doc_end_array(&b);
	PG_RETURN_JSONB_P(doc_finish(&b));
}
