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

#include "common/int.h"
#include "port/pg_bitutils.h"
#include "rules/rule_image.h"
#include "rules/rule_index.h"
#include "rules/rule_test.h"
#include "utils/memutils.h"

#include <math.h>

#define INDEX_MAX_SEGMENTS 8192
#define INDEX_MAX_CELLS 4096
#define CHUNK_WORDS 4 /* a bitmap's length is a multiple of it */

bool rule_index_enabled = true;
int rule_index_memory_kb;

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

	/* the inputs taken in last: as many columns as were asked for */
	const TupleTableSlot *slot;
	int located;
	const uint64 **now; /* a column: the bitmap of the segment where it is */
	const uint64 **open;
	int open_count;
	int chunk; /* what bits are of, or -1 */
	uint64 bits[CHUNK_WORDS];
} RuleIndex;

/* --- segments --------------------------------------------------------------------------- */

/* The test of a rule on a column, or NULL. */
static const Test *
rule_test(const RuleIndex *index, int rule, int column)
{
	const RuleTests *tests = &index->set.rules[rule];

	for (int i = 0; i < tests->count; i++)
		if (tests->test[i]->column == column)
			return tests->test[i];
	return NULL;
}

static int
count_bounds(const RuleIndex *index, int column, int rule_count)
{
	int count = 0;

	for (int i = 0; i < rule_count; i++)
	{
		const Test *test = rule_test(index, i, column);

		count += test ? 2 * test->count : 0;
	}
	return count;
}

static void *
index_alloc(RuleIndex *index, Size size)
{
	index->bytes += size;
	return palloc0(Max(size, 1));
}

/* A column's share of what bitmaps may take. */
static int
most_segments(const RuleIndex *index)
{
	Size share = (Size) rule_index_memory_kb * 1024 / Max(index->set.column_count, 1);
	Size most = share / (sizeof(uint64) * index->word_count);

	return (int) Max(Min(most, INDEX_MAX_SEGMENTS), 2);
}

/* Sorted, without doubles, and thinned out where they are too many. */
static void
make_segments(RuleIndex *index, IndexColumn *column, int rule_count)
{
	int64 *starts =
		palloc(sizeof(int64) * (1 + count_bounds(index, column->number, rule_count)));
	int most = most_segments(index);
	int count = 0, kept = 0, step;

	starts[count++] = PG_INT64_MIN;
	for (int i = 0; i < rule_count; i++)
	{
		const Test *test = rule_test(index, i, column->number);

		for (int j = 0; test != NULL && j < test->count; j++)
		{
			starts[count++] = test->ranges[j].low;
			if (!pg_add_s64_overflow(test->ranges[j].high, 1, &starts[count]))
				count++;
		}
	}
	qsort(starts, count, sizeof(int64), compare_keys);
	for (int i = 0; i < count; i++)
		if (i == 0 || starts[i] != starts[kept - 1])
			starts[kept++] = starts[i];
	step = (kept + most - 1) / most;
	column->exact = step == 1;
	column->segment_count = (kept + step - 1) / step;
	column->starts = index_alloc(index, sizeof(int64) * column->segment_count);
	for (int i = 0; i < column->segment_count; i++)
		column->starts[i] = starts[i * step];
	pfree(starts);
}

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

/* --- from a key to its segment -------------------------------------------------------------- */

static bool
is_dictionary(const IndexColumn *column)
{
	return column->key->form == KEY_WORD || column->key->form == KEY_ORDINAL;
}

/* Keys of a dictionary begin at -1 and are few. */
static void
make_key_map(RuleIndex *index, IndexColumn *column)
{
	int count = 2 + Max(column->key->word_count, 2 * column->key->landmark_count);

	column->by_key = index_alloc(index, sizeof(int32) * count);
	for (int i = 0; i < count; i++)
		column->by_key[i] = search_segment(column, i - 1, 0, column->segment_count - 1);
}

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
	uint64 hash = (head ^ (uint64) length << 56) * UINT64CONST(0x9E3779B97F4A7C15);

	hash = (hash ^ hash >> 32 ^ tail) * UINT64CONST(0x9FB21C651E98DF25);
	return (uint32) (hash >> 32) & column->word_mask;
}

static void
make_word_table(RuleIndex *index, IndexColumn *column)
{
	uint32 size = 16;

	while (size < (uint32) column->key->word_count * 2)
		size *= 2;
	column->word_mask = size - 1;
	column->words = index_alloc(index, sizeof(IndexWord) * size);
	for (uint32 i = 0; i < size; i++)
		column->words[i].length = -1;
	for (int i = 0; i < column->key->word_count; i++)
	{
		const Word *word = &column->key->words[i];
		IndexWord made = {.length = word->length, .key = i};
		uint32 place;

		word_ends(word->data, word->length, &made.head, &made.tail);
		made.segment = column->by_key[i + 1];
		place = place_of_word(column, made.head, made.tail, made.length);
		while (column->words[place].length >= 0)
			place = (place + 1) & column->word_mask;
		column->words[place] = made;
	}
}

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

/* Where a key lies on the line that the grid divides: ascending with the key. */
static double
key_position(const IndexColumn *column, int64 key)
{
	if (column->form != KEY_FLOAT4 && column->form != KEY_FLOAT8)
		return (double) key;
	return float_of_key(key);
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

static int
grid_cell(const IndexColumn *column, int64 key)
{
	return cell_at(column, key_position(column, key));
}

static void
make_grid(RuleIndex *index, IndexColumn *column)
{
	double low = 0, high = 0;
	int found = 0, segment = 0;
	int cell_count = Min(INDEX_MAX_CELLS, column->segment_count * 4);

	for (int i = 1; i < column->segment_count; i++)
	{
		double at = key_position(column, column->starts[i]);

		if (!isfinite(at))
			continue;
		if (found++ == 0)
			low = at;
		high = at;
	}
	column->last_cell = cell_count - 1;
	column->grid_low = low;
	column->grid_scale = cell_count / (high - low);
	if (!isfinite(column->grid_scale) || column->grid_scale <= 0)
		column->grid_scale = 1;
	column->cells = index_alloc(index, sizeof(uint16) * (cell_count + 1));
	for (int cell = 0; cell <= cell_count; cell++)
	{
		while (segment + 1 < column->segment_count &&
			   grid_cell(column, column->starts[segment + 1]) < cell)
			segment++;
		column->cells[cell] = segment;
	}
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

/* --- bitmaps ------------------------------------------------------------------------------------ */

static void
set_rule(uint64 *bitmap, int rule)
{
	bitmap[rule / 64] |= UINT64CONST(1) << (rule % 64);
}

static pg_attribute_always_inline bool
has_rule(const uint64 *bitmap, int rule)
{
	return (bitmap[rule / 64] >> (rule % 64) & 1) != 0;
}

static uint64 *
new_bitmap(RuleIndex *index)
{
	return index_alloc(index, sizeof(uint64) * index->word_count);
}

/* A rule begins to stand, or ceases to, at the beginning of a segment. */
typedef struct Turn
{
	int segment;
	int rule;
} Turn;

static int
compare_turns(const void *a, const void *b)
{
	return ((const Turn *) a)->segment - ((const Turn *) b)->segment;
}

/* The segments that a test's ranges touch, those that touch each other as one. */
static int
add_turns(const IndexColumn *column, const Test *test, int rule, Turn *turns)
{
	int count = 0;

	for (int i = 0; i < test->count; i++)
	{
		int last = column->segment_count - 1;
		int first = search_segment(column, test->ranges[i].low, 0, last);
		int behind = search_segment(column, test->ranges[i].high, 0, last) + 1;

		if (count > 0 && turns[count - 1].segment >= first)
			turns[count - 1].segment = behind;
		else
		{
			turns[count++] = (Turn){first, rule};
			turns[count++] = (Turn){behind, rule};
		}
	}
	return count;
}

/* From segment to segment, what changes there. */
static void
sweep(RuleIndex *index, IndexColumn *column, uint64 *standing, const Turn *turns,
	  int count)
{
	int next = 0;

	for (int segment = 0; segment < column->segment_count; segment++)
	{
		for (; next < count && turns[next].segment == segment; next++)
			standing[turns[next].rule / 64] ^= UINT64CONST(1) << (turns[next].rule % 64);
		column->density += pg_popcount((const char *) standing,
									   (int) sizeof(uint64) * index->word_count) /
						   (double) column->segment_count;
		memcpy(column->standing + (Size) segment * index->word_count, standing,
			   sizeof(uint64) * index->word_count);
	}
}

/* All turns of a column, in order. */
static Turn *
make_turns(const RuleIndex *index, const IndexColumn *column, int rule_count, int *count)
{
	Turn *turns =
		palloc(sizeof(Turn) * (count_bounds(index, column->number, rule_count) + 1));

	*count = 0;
	for (int i = 0; i < rule_count; i++)
	{
		const Test *test = rule_test(index, i, column->number);

		if (test != NULL)
			*count += add_turns(column, test, i, turns + *count);
	}
	qsort(turns, *count, sizeof(Turn), compare_turns);
	return turns;
}

static void
fill_bitmaps(RuleIndex *index, IndexColumn *column, int rule_count, const Turn *turns,
			 int count)
{
	uint64 *standing = palloc0(sizeof(uint64) * Max(index->word_count, 1));
	uint64 *open = new_bitmap(index);
	bool any_open = false;

	column->standing =
		index_alloc(index, sizeof(uint64) * index->word_count * column->segment_count);
	column->standing_null = new_bitmap(index);
	for (int i = 0; i < rule_count; i++)
	{
		const Test *test = rule_test(index, i, column->number);

		if (test == NULL)
			set_rule(standing, i);
		if (test == NULL || test->at_null != NULL_FAILS)
			set_rule(column->standing_null, i);
		if (test != NULL && test->at_null == NULL_OPEN)
		{
			set_rule(open, i);
			any_open = true;
		}
	}
	column->open_null = any_open ? open : NULL;
	sweep(index, column, standing, turns, count);
	pfree(standing);
}

/* A column that only parts named which then were no tests needs no look-up. */
static bool
is_used(const RuleIndex *index, int column, int rule_count)
{
	for (int i = 0; i < rule_count; i++)
		if (rule_test(index, i, column) != NULL)
			return true;
	return false;
}

static IndexColumn *
new_column(RuleIndex *index, int number)
{
	IndexColumn *column = &index->columns[index->column_count++];

	column->key = &index->set.columns[number];
	column->form = column->key->form;
	column->at = column->key->attno - 1;
	column->number = number;
	return column;
}

/* Its segments are there. */
static void
make_ways(RuleIndex *index, IndexColumn *column)
{
	if (is_dictionary(column))
		make_key_map(index, column);
	else
		make_grid(index, column);
	if (column->form == KEY_WORD)
		make_word_table(index, column);
	index->exact &= column->exact;
}

static void
add_column(RuleIndex *index, int number, int rule_count)
{
	IndexColumn *column = new_column(index, number);
	Turn *turns;
	int count;

	make_segments(index, column, rule_count);
	make_ways(index, column);
	turns = make_turns(index, column, rule_count, &count);
	fill_bitmaps(index, column, rule_count, turns, count);
	pfree(turns);
}

/* What leaves the fewest rules is asked first. */
static int
compare_columns(const void *a, const void *b)
{
	const IndexColumn *left = a, *right = b;

	if (left->density != right->density)
		return left->density < right->density ? -1 : 1;
	return left->number - right->number;
}

/* The test set is there. */
static void
index_begin(RuleIndex *index, int rule_count)
{
	int columns = Max(index->set.column_count, 1);

	index->word_count = TYPEALIGN(CHUNK_WORDS, Max((rule_count + 63) / 64, 1));
	index->exact = true;
	index->all = new_bitmap(index);
	index->residue = new_bitmap(index);
	for (int i = 0; i < rule_count; i++)
	{
		set_rule(index->all, i);
		if (!index->set.rules[i].complete)
			set_rule(index->residue, i);
	}
	index->columns = palloc0(sizeof(IndexColumn) * columns);
	index->by_number = palloc0(sizeof(IndexColumn *) * columns);
	index->now = palloc(sizeof(uint64 *) * columns);
	index->open = palloc(sizeof(uint64 *) * columns);
}

static void
index_end(RuleIndex *index)
{
	qsort(index->columns, index->column_count, sizeof(IndexColumn), compare_columns);
	for (int i = 0; i < index->column_count; i++)
		index->by_number[index->columns[i].number] = &index->columns[i];
}

void
rule_index_build(Decision *decision)
{
	MemoryContext caller = MemoryContextSwitchTo(decision->context);
	RuleIndex *index = palloc0(sizeof(RuleIndex));

	test_set_build(decision, &index->set);
	index_begin(index, decision->rule_count);
	for (int i = 0; i < index->set.column_count; i++)
		if (is_used(index, i, decision->rule_count))
			add_column(index, i, decision->rule_count);
	index_end(index);
	decision->index = index;
	MemoryContextSwitchTo(caller);
}

/* --- as bytes: the segments and what changes at them; bitmaps are made from that -------- */

static void
write_column(const RuleIndex *index, const IndexColumn *column, int rule_count,
			 StringInfo image)
{
	int count;
	Turn *turns = make_turns(index, column, rule_count, &count);

	image_put_int(image, column->number);
	image_put_int(image, column->exact);
	image_put_int(image, column->segment_count);
	image_put(image, column->starts, sizeof(int64) * column->segment_count);
	image_put_int(image, count);
	image_put(image, turns, sizeof(Turn) * count);
	pfree(turns);
}

void
rule_index_write(const Decision *decision, StringInfo image)
{
	const RuleIndex *index = decision->index;

	image_put_int(image, index->column_count);
	for (int i = 0; i < index->column_count; i++)
		write_column(index, &index->columns[i], decision->rule_count, image);
}

/* Turns must be of rules and segments that there are, and in order. */
static bool
turns_are_sound(const IndexColumn *column, const Turn *turns, int count, int rule_count)
{
	for (int i = 0; i < count; i++)
		if (turns[i].segment < (i > 0 ? turns[i - 1].segment : 0) ||
			turns[i].segment > column->segment_count || turns[i].rule < 0 ||
			turns[i].rule >= rule_count)
			return false;
	return true;
}

/* Segments follow each other from the least key on. */
static bool
segments_are_sound(const IndexColumn *column)
{
	if (column->starts[0] != PG_INT64_MIN)
		return false;
	for (int i = 1; i < column->segment_count; i++)
		if (column->starts[i] <= column->starts[i - 1])
			return false;
	return true;
}

static bool
restore_column(RuleIndex *index, int rule_count, ImageReader *reader)
{
	int number = image_take_int(reader, 0, index->set.column_count - 1);
	IndexColumn *column;
	const Turn *turns;
	int count;

	if (reader->failed)
		return false;
	column = new_column(index, number);
	column->exact = image_take_int(reader, 0, 1) != 0;
	column->segment_count = image_take_int(reader, 1, most_segments(index));
	column->starts =
		unconstify(void *, image_take(reader, sizeof(int64) * column->segment_count));
	count = image_take_int(reader, 0, INT_MAX / (int) sizeof(Turn));
	turns = image_take(reader, sizeof(Turn) * count);
	if (reader->failed || !segments_are_sound(column) ||
		!turns_are_sound(column, turns, count, rule_count))
		return false;
	make_ways(index, column);
	fill_bitmaps(index, column, rule_count, turns, count);
	return true;
}

bool
rule_index_restore(Decision *decision, ImageReader *reader)
{
	MemoryContext caller = MemoryContextSwitchTo(decision->context);
	RuleIndex *index = palloc0(sizeof(RuleIndex));
	bool sound = test_set_read(&index->set, decision, reader);
	int columns = 0;

	if (sound)
	{
		index_begin(index, decision->rule_count);
		columns = image_take_int(reader, 0, index->set.column_count);
	}
	for (int i = 0; i < columns && sound; i++)
		sound = restore_column(index, decision->rule_count, reader);
	if (sound)
		index_end(index);
	decision->index = index;
	MemoryContextSwitchTo(caller);
	return sound && !reader->failed;
}

const TestSet *
rule_index_tests(const Decision *decision)
{
	return &decision->index->set;
}

Size
rule_index_size(const Decision *decision)
{
	return decision->index->bytes;
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
	return index->now[at] = column->standing + (Size) segment * index->word_count;
}

static void
locate_all(RuleIndex *index)
{
	while (index->located < index->column_count)
		(void) locate_next(index);
}

void
rule_index_load(Decision *decision)
{
	RuleIndex *index = decision->index;

	index->slot = decision->slot;
	index->located = 0;
	index->open_count = 0;
	index->chunk = -1;
	/* Of so many rules some pass every column: bitmaps come from memory meanwhile. */
	if (index->word_count > CHUNK_WORDS)
		for (int i = 0; i < index->column_count; i++)
			__builtin_prefetch(locate_next(index));
}

static pg_attribute_always_inline bool
is_open(const RuleIndex *index, int rule)
{
	if (has_rule(index->residue, rule))
		return true;
	for (int i = 0; i < index->open_count; i++)
		if (has_rule(index->open[i], rule))
			return true;
	return false;
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
 * rule is left, all columns were located.
 */
static pg_attribute_always_inline void
and_chunk(RuleIndex *index, int chunk)
{
	Size at = (Size) chunk * CHUNK_WORDS;
	uint64 a = index->all[at], b = index->all[at + 1];
	uint64 c = index->all[at + 2], d = index->all[at + 3];

	for (int i = 0; i < index->column_count; i++)
	{
		const uint64 *now = i < index->located ? index->now[i] : locate_next(index);

		a &= now[at];
		b &= now[at + 1];
		c &= now[at + 2];
		d &= now[at + 3];
		if ((a | b | c | d) == 0)
			break;
	}
	index->bits[0] = a;
	index->bits[1] = b;
	index->bits[2] = c;
	index->bits[3] = d;
	index->chunk = chunk;
}

int
rule_index_next(const Decision *decision, int from, RuleStanding *standing)
{
	RuleIndex *index = decision->index;
	uint64 mask = ~UINT64CONST(0) << (from % 64);

	for (int word = from / 64; word < index->word_count; word++, mask = ~UINT64CONST(0))
	{
		uint64 bits;

		if (word / CHUNK_WORDS != index->chunk)
			and_chunk(index, word / CHUNK_WORDS);
		bits = index->bits[word % CHUNK_WORDS] & mask;
		for (; bits != 0; bits &= bits - 1)
		{
			int rule = word * 64 + pg_rightmost_one_pos64(bits);

			if (!index->exact && !passes_tests(index, rule))
				continue;
			*standing = is_open(index, rule) ? RULE_OPEN : RULE_HOLDS;
			return rule;
		}
	}
	return -1;
}

/* --- what nearly was --------------------------------------------------------------------- */

#define STEPS_LOOKED_AT 32 /* segments to either side of a column's own */

bool
rule_index_key(const Decision *decision, int column, int64 *key)
{
	const IndexColumn *asked = decision->index->by_number[column];

	locate_all(decision->index);
	*key = asked->now_key;
	return !asked->now_null;
}

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

	locate_all(decision->index);
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

	locate_all(decision->index);
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
