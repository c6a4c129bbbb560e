/*
 * rule_index_near.c
 *		What nearly was: the rule that misses least, and the nearest segments where
 *		another is the first.
 */
#include "postgres.h"

#include "port/pg_bitutils.h"
#include "rules/rule_index_int.h"

#define STEPS_LOOKED_AT 32 /* segments to either side of a column's own */

/*
 * Failing tests are counted for 64 rules at once, in three bitmaps that are the
 * digits of their numbers; seven or more count as seven.
 */
int
rule_index_nearest_miss(const Decision *decision, int before)
{
	const RuleIndex *index = decision->index;
	int nearest = -1;
	int least = 8;

	rule_index_locate_all(decision->index);
	for (int word = 0; word * 64 < before && least > 1; word++)
	{
		uint64 digit[3] = {0, 0, 0};
		uint64 wanted = index->all[word];

		if (before - word * 64 < 64)
			wanted &= (UINT64CONST(1) << (before - word * 64)) - 1;
		for (int i = 0; i < index->column_count; i++)
		{
			uint64 fails = ~index->now[i][word] & ~(digit[0] & digit[1] & digit[2]);
			uint64 carry = digit[0] & fails;

			digit[0] ^= fails;
			digit[2] ^= digit[1] & carry;
			digit[1] ^= carry;
		}
		for (int count = 1; count < least; count++)
		{
			uint64 there = wanted & (count & 1 ? digit[0] : ~digit[0]) &
						   (count & 2 ? digit[1] : ~digit[1]) &
						   (count & 4 ? digit[2] : ~digit[2]);

			if (there != 0)
			{
				least = count;
				nearest = word * 64 + pg_rightmost_one_pos64(there);
			}
		}
	}
	return nearest;
}

/* The words of a bitmap that are not empty, and where they are. */
typedef struct SparseBitmap
{
	int count;
	int *at;
	uint64 *bits;
} SparseBitmap;

/* The first rule that stands in a segment if the other columns stay; -1: none. */
static int
first_in_segment(const SparseBitmap *others, const uint64 *standing)
{
	for (int i = 0; i < others->count; i++)
	{
		uint64 both = others->bits[i] & standing[others->at[i]];

		if (both != 0)
			return others->at[i] * 64 + pg_rightmost_one_pos64(both);
	}
	return -1;
}

static void
step_aside(const RuleIndex *index, int at, const SparseBitmap *others, int own,
		   int direction, List **steps)
{
	const IndexColumn *column = &index->columns[at];
	int now = first_in_segment(others, column->standing + (Size) own * index->word_count);

	for (int looked = 1; looked <= STEPS_LOOKED_AT; looked++)
	{
		int segment = own + looked * direction;
		IndexStep *step;
		int first;

		if (segment < 0 || segment >= column->segment_count)
			return;
		first = first_in_segment(others,
								 column->standing + (Size) segment * index->word_count);
		if (first == now)
			continue;
		/* What must be evaluated promises nothing. */
		if (first >= 0 && is_open(index, first))
			return;
		step = palloc(sizeof(IndexStep));
		step->column = column->number;
		step->range.low = column->starts[segment];
		step->range.high = segment + 1 < column->segment_count
							   ? column->starts[segment + 1] - 1
							   : PG_INT64_MAX;
		step->upward = direction > 0;
		step->rule = first;
		*steps = lappend(*steps, step);
		return;
	}
}

/* The AND of all columns but one: of those before it, and word by word of the rest. */
static void
and_others(const RuleIndex *index, int but, const uint64 *before, SparseBitmap *others)
{
	others->count = 0;
	for (int word = 0; word < index->word_count; word++)
	{
		uint64 bits = before[word];

		for (int i = but + 1; i < index->column_count && bits != 0; i++)
			bits &= index->now[i][word];
		if (bits == 0)
			continue;
		others->at[others->count] = word;
		others->bits[others->count++] = bits;
	}
}

List *
rule_index_steps(const Decision *decision)
{
	const RuleIndex *index = decision->index;
	uint64 *before = palloc(sizeof(uint64) * index->word_count);
	SparseBitmap others = {0, palloc(sizeof(int) * index->word_count),
						   palloc(sizeof(uint64) * index->word_count)};
	List *steps = NIL;

	rule_index_locate_all(decision->index);
	memcpy(before, index->all, sizeof(uint64) * index->word_count);
	for (int i = 0; i < index->column_count && index->exact; i++)
	{
		const IndexColumn *column = &index->columns[i];
		int own;

		and_others(index, i, before, &others);
		if (!column->now_null)
		{
			own = search_segment(column, column->now_key, 0, column->segment_count - 1);
			step_aside(index, i, &others, own, 1, &steps);
			step_aside(index, i, &others, own, -1, &steps);
		}
		for (int word = 0; word < index->word_count; word++)
			before[word] &= index->now[i][word];
	}
	return steps;
}
