/*
 * comparison.h
 *		What versions say to the same inputs: how often each pair of outcomes comes up.
 *
 * An outcome is a status and a result.  A comparison numbers those that it sees, and
 * has one table of pairs for each version that is compared with the first.
 */
#ifndef FACTORY_COMPARISON_H
#define FACTORY_COMPARISON_H

#include "datatype/timestamp.h"
#include "fmgr.h"
#include "utils/jsonb.h"
#include "utils/uuid.h"

typedef struct Words
{
	const char *status;
	const char *result;
	int status_length;
	int result_length;
} Words;

/* One input of a pair; of a query's rows only the document is known. */
typedef struct Example
{
	pg_uuid_t id;
	TimestampTz judged_at;
	int version;
	Jsonb *input;
} Example;

/* The state of an aggregate. */
typedef struct Comparison
{
	MemoryContext context; /* of all of it */
	int table_count;
	void *work; /* of who counts; NULL in what came from a worker */
	struct outcomes_hash *outcomes;
	struct pairs_hash **pairs; /* one a table */
	Words *words;              /* outcomes by number */
	int capacity;
} Comparison;

extern Comparison *comparison_begin(MemoryContext parent, int table_count);

extern int outcome_number(Comparison *comparison, const Words *words);

/*
 * Counts one input; where the outcomes differ, the examples with the least and the
 * greatest id are kept.  Of what is without ids, the first is.
 */
extern void comparison_count(Comparison *comparison, int table, int was, int becomes,
							 const Example *example);

/* Whether an example without an id would be kept. */
extern bool comparison_wants_example(Comparison *comparison, int table, int was,
									 int becomes);

#endif /* FACTORY_COMPARISON_H */
