/*
 * rule_index.c
 *		Which rules a set of inputs leaves standing, without evaluating them.
 *
 * For each column that has tests (rule_test.c) the keys are cut into segments at
 * every bound of a test, and each segment has a bitmap of the rules that stand
 * there; NULL has one more, and one of the rules that it leaves open.  A decision
 * looks up one bitmap a column and ANDs them, the most selective column first; it
 * looks up no more columns once nothing is left.  What is left holds, but for rules
 * with parts that are no tests, or with a test that met NULL: those are open, and
 * are evaluated.
 *
 * A grid over the keys finds a segment in about one step.  Where many rules have
 * many bounds, segments are made coarser, so that all columns' bitmaps take no more
 * than factory.rule_index_memory; rules that such a column leaves standing have their
 * test of it checked one by one.
 *
 * A rule that fails a test fails, whatever its other parts are: the interpreter
 * gives the same answer, since conditions are put in an order in which parts that
 * cannot raise come first (expression.c).
 */
#include "postgres.h"

#include "port/pg_bitutils.h"
#include "rules/rule_index_int.h"

bool rule_index_enabled = true;

/* --- where a value lies -------------------------------------------------------------- */

static pg_attribute_always_inline int
locate_word(const IndexColumn *column, Datum value, int64 *key)
{
	text *packed = DatumGetTextPP(value);
	const char *data = VARDATA_ANY(packed);
	int length = VARSIZE_ANY_EXHDR(packed);
	uint64 head, tail;
	uint32 place;

	word_ends(data, length, &head, &tail);
	place = place_of_word(column, head, tail, length);
	for (; column->words[place].length >= 0; place = (place + 1) & column->word_mask)
	{
		const IndexWord *word = &column->words[place];

		if (word->head == head && word->tail == tail && word->length == length &&
			(length <= 16 ||
			 memcmp(column->key->words[word->key].data, data, length) == 0))
		{
			*key = word->key;
			return word->segment;
		}
	}
	*key = -1;
	return column->by_key[0];
}

/* A cell has seldom more than one bound in it; the last step takes no branch. */
static pg_attribute_always_inline int
segment_in_grid(const IndexColumn *column, int64 key, double position)
{
	int cell = cell_at(column, position);
	int low = column->cells[cell], high = column->cells[cell + 1];

	if (unlikely(high - low > 1))
		return search_segment(column, key, low, high);
	return low + (int) ((low < high) & (column->starts[high] <= key));
}

/* The key of a value and the segment where it lies: the inner loop of a decision. */
static pg_attribute_always_inline int
locate(const IndexColumn *column, Datum value, int64 *key)
{
	double number;

	switch (column->form)
	{
		case KEY_FLOAT8:
			number = DatumGetFloat8(value);
			*key = key_of_float(number);
			return segment_in_grid(column, *key, number);
		case KEY_FLOAT4:
			number = DatumGetFloat4(value);
			*key = key_of_float(number);
			return segment_in_grid(column, *key, number);
		case KEY_INT4:
			*key = DatumGetInt32(value);
			return segment_in_grid(column, *key, (double) *key);
		case KEY_WORD:
			return locate_word(column, value, key);
		case KEY_ORDINAL:
			*key = key_of_value(column->key, value);
			return column->by_key[*key + 1];
		default:
			*key = key_of_value(column->key, value);
			return segment_in_grid(column, *key, (double) *key);
	}
}

/* --- asking ------------------------------------------------------------------------------- */

/* The bitmap of one more column; nothing may have changed in the slot meanwhile. */
static pg_attribute_always_inline const uint64 *
locate_next(RuleIndex *index)
{
	int at = index->located++;
	IndexColumn *column = &index->columns[at];
	const TupleTableSlot *slot = index->slot;
	int segment;

	column->now_null = slot->tts_isnull[column->at];
	if (unlikely(column->now_null))
	{
		if (column->open_null != NULL)
			index->open[index->open_count++] = column->open_null;
		return index->now[at] = column->standing_null;
	}
	segment = locate(column, slot->tts_values[column->at], &column->now_key);
	column->now_segment = segment;
	return index->now[at] = column->standing + (Size) segment * index->word_count;
}

void
rule_index_locate_all(RuleIndex *index)
{
	while (index->located < index->column_count)
		(void) locate_next(index);
}

uint64
rule_index_load(Decision *decision)
{
	RuleIndex *index = decision->index;

	index->load++;
	index->slot = decision->slot;
	index->located = 0;
	index->open_count = 0;
	index->chunk = -1;
	/* Of so many rules some pass every column: bitmaps come from memory meanwhile. */
	if (index->word_count > CHUNK_WORDS)
		for (int i = 0; i < index->column_count; i++)
			__builtin_prefetch(locate_next(index));
	return index->load;
}

bool
rule_index_has(const Decision *decision, uint64 load)
{
	return load != 0 && decision->index->load == load;
}

/* What coarse segments left standing is tested itself. */
static bool
passes_tests(const RuleIndex *index, int rule)
{
	const RuleTests *tests = &index->set.rules[rule];

	for (int i = 0; i < tests->count; i++)
	{
		const IndexColumn *column = index->by_number[tests->test[i]->column];

		if (!column->now_null && !test_holds(tests->test[i], column->now_key))
			return false;
	}
	return true;
}

/*
 * Bitmaps are ANDed a chunk at a time, and no further than somebody asks.  Where a
 * rule is left, all columns were located.  Once they are, to go on to the last costs
 * less than to guess wrong where nothing is left.
 */
static pg_attribute_always_inline void
and_chunk(RuleIndex *index, int chunk)
{
	Size at = (Size) chunk * CHUNK_WORDS;
	uint64 a = index->all[at], b = index->all[at + 1];
	uint64 c = index->all[at + 2], d = index->all[at + 3];
	int located = index->located;

	for (int i = 0; i < index->column_count; i++)
	{
		const uint64 *now;

		if (i >= located && (a | b | c | d) == 0)
			break;
		now = i < located ? index->now[i] : locate_next(index);
		a &= now[at];
		b &= now[at + 1];
		c &= now[at + 2];
		d &= now[at + 3];
	}
	index->bits[0] = a;
	index->bits[1] = b;
	index->bits[2] = c;
	index->bits[3] = d;
	index->chunk = chunk;
}

/* The same where there is no more than a short chunk. */
static pg_attribute_always_inline void
and_few(RuleIndex *index)
{
	uint64 a = index->all[0], b = index->all[1];

	for (int i = 0; i < index->located; i++)
	{
		a &= index->now[i][0];
		b &= index->now[i][1];
	}
	while (index->located < index->column_count && (a | b) != 0)
	{
		const uint64 *now = locate_next(index);

		a &= now[0];
		b &= now[1];
	}
	index->bits[0] = a;
	index->bits[1] = b;
	index->chunk = 0;
}

/* The first of these rules that passes its tests; -1: none. */
static pg_attribute_always_inline int
first_passing(const RuleIndex *index, int word, uint64 bits, RuleStanding *standing)
{
	for (; bits != 0; bits &= bits - 1)
	{
		int rule = word * 64 + pg_rightmost_one_pos64(bits);

		if (!index->exact && !passes_tests(index, rule))
			continue;
		*standing = has_rule(index->residue, rule) ? RULE_OPEN
					: is_null(index, rule)         ? RULE_NULL
												   : RULE_HOLDS;
		return rule;
	}
	return -1;
}

static pg_noinline int
next_of_few(RuleIndex *index, int from, RuleStanding *standing)
{
	uint64 mask = ~UINT64CONST(0) << (from % 64);
	int rule = -1;

	if (index->chunk != 0)
		and_few(index);
	if (from < 64)
	{
		rule = first_passing(index, 0, index->bits[0] & mask, standing);
		mask = ~UINT64CONST(0);
	}
	if (rule < 0 && from < 64 * FEW_WORDS)
		rule = first_passing(index, 1, index->bits[1] & mask, standing);
	return rule;
}

int
rule_index_next(const Decision *decision, int from, RuleStanding *standing)
{
	RuleIndex *index = decision->index;
	uint64 mask = ~UINT64CONST(0) << (from % 64);

	if (index->word_count == FEW_WORDS)
		return next_of_few(index, from, standing);
	for (int word = from / 64; word < index->word_count; word++, mask = ~UINT64CONST(0))
	{
		int rule;

		if (word / CHUNK_WORDS != index->chunk)
			and_chunk(index, word / CHUNK_WORDS);
		rule =
			first_passing(index, word, index->bits[word % CHUNK_WORDS] & mask, standing);
		if (rule >= 0)
			return rule;
	}
	return -1;
}

bool
rule_index_key(const Decision *decision, int column, int64 *key)
{
	const IndexColumn *asked = decision->index->by_number[column];

	rule_index_locate_all(decision->index);
	*key = asked->now_key;
	return !asked->now_null;
}

const TestSet *
rule_index_tests(const Decision *decision)
{
	return &decision->index->set;
}
