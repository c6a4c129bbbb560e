/*
 * rule_index_near.c
 *		What nearly was: the rule that misses least, and the nearest segments where
 *		another is the first.
 *
 * Both are about rules that one column alone keeps from standing.  64 rules at once,
 * two bitmaps say which ones fail in a column, and which in two: that takes one pass
 * over what was looked up, and leaves few words to go on with.
 */
#include "postgres.h"

#include "port/pg_bitutils.h"
#include "rules/rule_index_int.h"

#define STEPS_LOOKED_AT 32 /* segments to either side of a column's own */

typedef struct NearRules
{
	int word;    /* of a bitmap */
	uint64 none; /* rules that stand in every column */
	uint64 one;  /* that stand in all but one */
} NearRules;

Nearness
rule_index_nearness(const Decision *decision)
{
	RuleIndex *index = decision->index;
	Nearness near = {0, palloc(sizeof(NearRules) * index->word_count)};

	rule_index_locate_all(index);
	for (int word = 0; word < index->word_count; word++)
	{
		uint64 fails = 0, fails_twice = 0;

		for (int i = 0; i < index->column_count; i++)
		{
			uint64 here = ~index->now[i][word];

			fails_twice |= fails & here;
			fails |= here;
		}
		if ((index->all[word] & ~fails_twice) != 0)
			near.rules[near.count++] =
				(NearRules){word, index->all[word] & ~fails,
							index->all[word] & fails & ~fails_twice};
	}
	return near;
}

/* --- the nearest miss ---------------------------------------------------------------- */

static uint64
rules_before(int word, int before)
{
	return before - word * 64 < 64 ? (UINT64CONST(1) << (before - word * 64)) - 1
								   : ~UINT64CONST(0);
}

/*
 * Of rules that fail in two columns or more: those are counted for 64 rules at once, in
 * three bitmaps that are the digits of their numbers; seven or more count as seven.
 */
static int
fewest_failures(const RuleIndex *index, int before)
{
	int nearest = -1;
	int least = 8;

	for (int word = 0; word * 64 < before && least > 1; word++)
	{
		uint64 digit[3] = {0, 0, 0};
		uint64 wanted = index->all[word] & rules_before(word, before);

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

int
rule_index_nearest_miss(const Decision *decision, const Nearness *nearness, int before)
{
	for (int i = 0; i < nearness->count; i++)
	{
		const NearRules *rules = &nearness->rules[i];
		uint64 one;

		if (rules->word * 64 >= before)
			break;
		one = rules->one & rules_before(rules->word, before);
		if (one != 0)
			return rules->word * 64 + pg_rightmost_one_pos64(one);
	}
	return fewest_failures(decision->index, before);
}

/* --- steps to another rule -------------------------------------------------------------- */

/* The words of a bitmap that are not empty, and where they are. */
typedef struct SparseBitmap
{
	int count;
	int *at;
	uint64 *bits;
} SparseBitmap;

/* The first rule that stands in a segment if the other columns stay; -1: none. */
static pg_attribute_always_inline int
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

static const uint64 *
standing_in(const RuleIndex *index, const IndexColumn *column, int segment)
{
	return column->standing + (Size) segment * index->word_count;
}

/* True where there is a step; of now, the rule that stands first where the column is. */
static bool
step_aside(const RuleIndex *index, const IndexColumn *column, const SparseBitmap *others,
		   int own, int now, int direction, IndexStep *step)
{
	int last = direction > 0 ? Min(own + STEPS_LOOKED_AT, column->segment_count - 1)
							 : Max(own - STEPS_LOOKED_AT, 0);

	for (int segment = own; segment != last;)
	{
		int first;

		segment += direction;
		first = first_in_segment(others, standing_in(index, column, segment));
		if (first == now)
			continue;
		/* What must be evaluated promises nothing. */
		if (first >= 0 && is_open(index, first))
			return false;
		step->column = column->number;
		step->segment = segment;
		step->range.low = column->starts[segment];
		step->range.high = segment + 1 < column->segment_count
							   ? column->starts[segment + 1] - 1
							   : PG_INT64_MAX;
		step->upward = direction > 0;
		step->rule = first;
		return true;
	}
	return false;
}

/* What all columns but one leave standing. */
static void
stand_in_others(const RuleIndex *index, const Nearness *nearness, int but,
				SparseBitmap *others)
{
	others->count = 0;
	for (int i = 0; i < nearness->count; i++)
	{
		const NearRules *rules = &nearness->rules[i];
		uint64 bits = rules->none | (rules->one & ~index->now[but][rules->word]);

		others->at[others->count] = rules->word;
		others->bits[others->count] = bits;
		others->count += bits != 0;
	}
}

int
rule_index_steps(const Decision *decision, const Nearness *nearness, IndexStep **steps)
{
	const RuleIndex *index = decision->index;
	SparseBitmap others = {0, palloc(sizeof(int) * (nearness->count + 1)),
						   palloc(sizeof(uint64) * (nearness->count + 1))};
	int count = 0;

	*steps = palloc(sizeof(IndexStep) * (2 * index->column_count + 1));
	for (int i = 0; i < index->column_count && index->exact; i++)
	{
		const IndexColumn *column = &index->columns[i];
		int own, now;

		if (column->now_null)
			continue;
		stand_in_others(index, nearness, i, &others);
		/* Whatever this column is, nothing would stand. */
		if (others.count == 0)
			continue;
		own = (int) ((index->now[i] - column->standing) / index->word_count);
		now = first_in_segment(&others, index->now[i]);
		count += step_aside(index, column, &others, own, now, 1, *steps + count);
		count += step_aside(index, column, &others, own, now, -1, *steps + count);
	}
	return count;
}

int
rule_index_segments(const Decision *decision, int column)
{
	return decision->index->by_number[column]->segment_count;
}
