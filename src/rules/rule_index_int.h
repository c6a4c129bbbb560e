/*
 * rule_index_int.h
 *		What the files of the rule index share: how it lies in memory.
 */
#ifndef FACTORY_RULE_INDEX_INT_H
#define FACTORY_RULE_INDEX_INT_H

#include "rules/rule_index.h"
#include "rules/rule_test.h"

#include <math.h>

/* A bitmap's length is a multiple of the one, or it is the other. */
#define CHUNK_WORDS 4
#define FEW_WORDS 2

/* A word of a dictionary by its first and its last bytes; up to 16 that is all of it. */
typedef struct IndexWord
{
	uint64 head;
	uint64 tail;
	int32 length; /* -1: nobody is here */
	int32 key;
	int32 segment;
} IndexWord;

typedef struct IndexColumn
{
	/* what was taken in last */
	int64 now_key;
	int now_segment;
	bool now_null;

	const TestColumn *key;
	KeyForm form;
	int at;     /* in the slot */
	int number; /* in the test set */
	bool exact; /* every bound of a test begins or ends a segment */
	int segment_count;
	int64 *starts;    /* first key of each segment, ascending */
	uint64 *standing; /* a bitmap a segment: rules that stand there */
	uint64 *standing_null;
	uint64 *open_null; /* rules that NULL leaves open; NULL where there are none */
	double density;    /* share of the rules that a segment leaves standing */

	int32 *by_key;    /* dictionaries: the segment of key - 1 */
	IndexWord *words; /* KEY_WORD: a hash table with open addressing */
	uint32 word_mask;
	int word_shift; /* leaves as many bits of a hash as the mask has */
	double grid_low;
	double grid_scale;
	double last_cell;
	uint16 *cells; /* last segment that begins before the cell; one more at the end */
} IndexColumn;

typedef struct RuleIndex
{
	TestSet set;
	IndexColumn *columns;
	int column_count;
	int word_count;  /* of one bitmap */
	uint64 *all;     /* every rule */
	uint64 *residue; /* rules that have parts which are no tests */
	bool exact;      /* every column is */
	Size bytes;

	IndexColumn **by_number; /* in the test set */
	struct RuleSpan *spans;  /* for explanations; NULL: not made yet */

	/* the inputs taken in last: as many columns as were asked for */
	uint64 load; /* how often that was done */
	const TupleTableSlot *slot;
	int located;
	const uint64 **now; /* a column: the bitmap of the segment where it is */
	const uint64 **open;
	int open_count;
	int chunk; /* what bits are of, or -1 */
	uint64 bits[CHUNK_WORDS];
} RuleIndex;

/* Takes in the columns that nobody has asked for yet. */
extern void rule_index_locate_all(RuleIndex *index);

static pg_attribute_always_inline int
search_segment(const IndexColumn *column, int64 key, int low, int high)
{
	while (low < high)
	{
		int middle = (low + high + 1) / 2;

		if (column->starts[middle] <= key)
			low = middle;
		else
			high = middle - 1;
	}
	return low;
}

/* The test of a rule on a column of the test set, or NULL. */
static inline const Test *
rule_index_test(const RuleIndex *index, int rule, int column)
{
	const RuleTests *tests = &index->set.rules[rule];

	for (int i = 0; i < tests->count; i++)
		if (tests->test[i]->column == column)
			return tests->test[i];
	return NULL;
}

static pg_attribute_always_inline bool
has_rule(const uint64 *bitmap, int rule)
{
	return (bitmap[rule / 64] >> (rule % 64) & 1) != 0;
}

/* Does a column that is NULL leave it so? */
static pg_attribute_always_inline bool
is_null(const RuleIndex *index, int rule)
{
	for (int i = 0; i < index->open_count; i++)
		if (has_rule(index->open[i], rule))
			return true;
	return false;
}

static pg_attribute_always_inline bool
is_open(const RuleIndex *index, int rule)
{
	return has_rule(index->residue, rule) || is_null(index, rule);
}

/* --- from a key to its segment ------------------------------------------------------ */

static pg_attribute_always_inline uint64
four_bytes(const char *data)
{
	uint32 bytes;

	memcpy(&bytes, data, sizeof(bytes));
	return bytes;
}

static pg_attribute_always_inline uint64
eight_bytes(const char *data)
{
	uint64 bytes;

	memcpy(&bytes, data, sizeof(bytes));
	return bytes;
}

/* First and last bytes overlap where the word is short: no loop over them. */
static pg_attribute_always_inline void
word_ends(const char *data, int length, uint64 *head, uint64 *tail)
{
	*tail = 0;
	if (length >= 8)
	{
		*head = eight_bytes(data);
		*tail = eight_bytes(data + length - 8);
	}
	else if (length >= 4)
		*head = four_bytes(data) | four_bytes(data + length - 4) << 32;
	else if (length > 0)
		*head = (uint64) (unsigned char) data[0] |
				(uint64) (unsigned char) data[length / 2] << 8 |
				(uint64) (unsigned char) data[length - 1] << 16;
	else
		*head = 0;
}

static pg_attribute_always_inline uint32
place_of_word(const IndexColumn *column, uint64 head, uint64 tail, int length)
{
	/* Both products are made at once; every bit of a factor goes up into the last ones. */
	uint64 hash = (head ^ (uint64) length << 56) * UINT64CONST(0x9E3779B97F4A7C15) +
				  tail * UINT64CONST(0x9FB21C651E98DF25);

	return (uint32) (hash >> column->word_shift);
}

/* NaN, above all numbers, has the last cell. */
static pg_attribute_always_inline int
cell_at(const IndexColumn *column, double position)
{
	double at = (position - column->grid_low) * column->grid_scale;

	if (unlikely(isnan(at)))
		return (int) column->last_cell;
	at = at > 0 ? at : 0;
	at = at < column->last_cell ? at : column->last_cell;
	return (int) at;
}

#endif /* FACTORY_RULE_INDEX_INT_H */
