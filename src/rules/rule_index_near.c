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

static pg_attribute_always_inline void
add_near(const RuleIndex *index, Nearness *near, int at, int words)
{
	uint64 fails[CHUNK_WORDS] = {0}, fails_twice[CHUNK_WORDS] = {0};

	for (int i = 0; i < index->column_count; i++)
		for (int k = 0; k < words; k++)
		{
			uint64 here = ~index->now[i][at + k];

			fails_twice[k] |= fails[k] & here;
			fails[k] |= here;
		}
	for (int k = 0; k < words; k++)
	{
		uint64 close = index->all[at + k] & ~fails_twice[k];

		near->rules[near->count] =
			(NearRules){at + k, close & ~fails[k], close & fails[k]};
		near->count += close != 0;
	}
}

Nearness
rule_index_nearness(const Decision *decision)
{
	RuleIndex *index = decision->index;
	Nearness near = {0, palloc(sizeof(NearRules) * index->word_count)};

	rule_index_locate_all(index);
	if (index->word_count == FEW_WORDS)
		add_near(index, &near, 0, FEW_WORDS);
	else
		for (int at = 0; at < index->word_count; at += CHUNK_WORDS)
			add_near(index, &near, at, CHUNK_WORDS);
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

/*
 * The first rule that stands is the first in every column's own segment.  Along a
 * column another one comes first where it ceases to stand, or where a rule before it
 * that fails in this column alone begins to.
 *
 * A *turn* is where that is, and which rule it is: the distance in segments above the
 * rule's number, so that the least is the nearest, and of the nearest the first rule.
 * A distance to the wrong side is above all others, being negative.
 */
typedef struct Turns
{
	uint64 above;
	uint64 below;
} Turns;

#define NO_TURN PG_UINT64_MAX
#define RULE_SOUGHT PG_UINT32_MAX /* the one that stood has ended: which is next? */

static pg_attribute_always_inline uint64
turn(int32 distance, uint32 rule)
{
	return (uint64) (uint32) distance << 32 | rule;
}

/* The segments of a column where a rule stands, if they are in one piece. */
typedef struct RuleSpan
{
	int32 first;
	int32 last;
} RuleSpan;

static const RuleSpan nowhere = {-1, PG_INT32_MAX}; /* below is above, above below */
static const RuleSpan in_pieces = {-2, -2};

static int
segment_of(const IndexColumn *column, int64 key)
{
	return search_segment(column, key, 0, column->segment_count - 1);
}

static RuleSpan
span_of(const IndexColumn *column, const KeyRange *range)
{
	return (RuleSpan){segment_of(column, range->low), segment_of(column, range->high)};
}

static RuleSpan
make_span(const IndexColumn *column, const Test *test)
{
	if (test == NULL)
		return (RuleSpan){0, column->segment_count - 1};
	if (test->count == 0)
		return nowhere;
	return test->count > 1 ? in_pieces : span_of(column, &test->ranges[0]);
}

/* Rule by rule, of all columns: made when the first explanation is. */
static void
make_spans(const Decision *decision)
{
	RuleIndex *index = decision->index;
	Size size = sizeof(RuleSpan) * index->column_count * decision->rule_count;
	RuleSpan *span = MemoryContextAllocHuge(decision->context, Max(size, 1));

	index->spans = span;
	index->bytes += size;
	for (int rule = 0; rule < decision->rule_count; rule++)
		for (int i = 0; i < index->column_count; i++)
		{
			const IndexColumn *column = &index->columns[i];

			*span++ = make_span(column, rule_index_test(index, rule, column->number));
		}
}

static pg_attribute_always_inline RuleSpan
kept_span(const RuleIndex *index, int rule, int at)
{
	return index->spans[rule * index->column_count + at];
}

/* Where a rule in pieces that fails begins to stand: the last piece below, and the next. */
static RuleSpan
span_of_pieces(const IndexColumn *column, const Test *test)
{
	int behind = 0;

	while (behind < test->count && test->ranges[behind].low <= column->now_key)
		behind++;
	return (RuleSpan){behind < test->count ? segment_of(column, test->ranges[behind].low)
										   : nowhere.first,
					  behind > 0 ? segment_of(column, test->ranges[behind - 1].high)
								 : nowhere.last};
}

/* The piece of a rule that stands. */
static RuleSpan
span_of_own_piece(const IndexColumn *column, const Test *test)
{
	int own = 0;

	while (test->ranges[own].high < column->now_key)
		own++;
	return span_of(column, &test->ranges[own]);
}

/* The one column where it fails. */
static pg_attribute_always_inline int
failing_column(const RuleIndex *index, int rule)
{
	int at = 0;

	/* No branch: nobody could foretell it. */
	for (int i = 1; i < index->column_count; i++)
		at = has_rule(index->now[i], rule) ? at : i;
	return at;
}

/* A rule that fails in one column. */
static pg_attribute_always_inline void
note_beginning(const RuleIndex *index, int rule, Turns *turns)
{
	int at = failing_column(index, rule);
	const IndexColumn *column = &index->columns[at];
	RuleSpan span = kept_span(index, rule, at);

	if (unlikely(span.first == in_pieces.first))
		span = span_of_pieces(column, rule_index_test(index, rule, column->number));
	turns[at].above = Min(turns[at].above, turn(span.first - column->now_segment, rule));
	turns[at].below = Min(turns[at].below, turn(column->now_segment - span.last, rule));
}

/* Of all rules before the first that stands; which that is, or -1. */
static pg_attribute_always_inline int
note_beginnings(const RuleIndex *index, const Nearness *nearness, Turns *turns)
{
	for (int i = 0; i < nearness->count; i++)
	{
		const NearRules *rules = &nearness->rules[i];
		uint64 before = rules->none ? (rules->none & -rules->none) - 1 : ~UINT64CONST(0);

		for (uint64 bits = rules->one & before; bits != 0; bits &= bits - 1)
			note_beginning(index, rules->word * 64 + pg_rightmost_one_pos64(bits), turns);
		if (rules->none != 0)
			return rules->word * 64 + pg_rightmost_one_pos64(rules->none);
	}
	return -1;
}

/* Of the first that stands, in a column. */
static void
note_end(const RuleIndex *index, int rule, int at, Turns *turns)
{
	const IndexColumn *column = &index->columns[at];
	RuleSpan span = kept_span(index, rule, at);

	if (unlikely(span.first == in_pieces.first))
		span = span_of_own_piece(column, rule_index_test(index, rule, column->number));
	turns->above =
		Min(turns->above, turn(span.last + 1 - column->now_segment, RULE_SOUGHT));
	turns->below =
		Min(turns->below, turn(column->now_segment - span.first + 1, RULE_SOUGHT));
}

/* The first rule that stands in a segment if the other columns stay; -1: none. */
static int
first_in_segment(const RuleIndex *index, const Nearness *nearness, int at, int segment)
{
	const uint64 *standing =
		index->columns[at].standing + (Size) segment * index->word_count;

	for (int i = 0; i < nearness->count; i++)
	{
		const NearRules *rules = &nearness->rules[i];
		uint64 bits = (rules->none | (rules->one & ~index->now[at][rules->word])) &
					  standing[rules->word];

		if (bits != 0)
			return rules->word * 64 + pg_rightmost_one_pos64(bits);
	}
	return -1;
}

/* False where it is too far away, or nothing can be promised of the rule. */
static bool
step_to(const RuleIndex *index, const Nearness *nearness, int at, uint64 nearest,
		bool upward, IndexStep *step)
{
	const IndexColumn *column = &index->columns[at];
	uint32 distance = (uint32) (nearest >> 32), rule = (uint32) nearest;
	int segment;

	if (distance > STEPS_LOOKED_AT)
		return false;
	segment = column->now_segment + (upward ? (int) distance : -(int) distance);
	if (segment < 0 || segment >= column->segment_count)
		return false;
	step->column = column->number;
	step->segment = segment;
	step->range.low = column->starts[segment];
	step->range.high = segment + 1 < column->segment_count
						   ? column->starts[segment + 1] - 1
						   : PG_INT64_MAX;
	step->upward = upward;
	step->rule =
		rule == RULE_SOUGHT ? first_in_segment(index, nearness, at, segment) : (int) rule;
	/* What must be evaluated promises nothing. */
	return step->rule < 0 || !is_open(index, step->rule);
}

int
rule_index_steps(const Decision *decision, const Nearness *nearness, IndexStep **steps)
{
	const RuleIndex *index = decision->index;
	Turns *turns = palloc(sizeof(Turns) * (index->column_count + 1));
	int count = 0, first;

	*steps = palloc(sizeof(IndexStep) * (2 * index->column_count + 1));
	if (!index->exact)
		return 0;
	if (index->spans == NULL)
		make_spans(decision);
	for (int i = 0; i < index->column_count; i++)
		turns[i] = (Turns){NO_TURN, NO_TURN};
	first = note_beginnings(index, nearness, turns);
	for (int i = 0; i < index->column_count; i++)
	{
		/* What NULL fails, no key can change. */
		if (index->columns[i].now_null)
			continue;
		if (first >= 0)
			note_end(index, first, i, &turns[i]);
		count += step_to(index, nearness, i, turns[i].above, true, *steps + count);
		count += step_to(index, nearness, i, turns[i].below, false, *steps + count);
	}
	return count;
}

int
rule_index_segments(const Decision *decision, int column)
{
	return decision->index->by_number[column]->segment_count;
}
