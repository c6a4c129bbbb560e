/*
 * rule_index_build.c
 *		The rule index made: of a decision's tests, or of an image.
 *
 * The keys of a column are cut into segments, ways are laid from a key to its segment,
 * and a sweep over the segments leaves a bitmap in each.
 */
#include "postgres.h"

#include "common/int.h"
#include "port/pg_bitutils.h"
#include "rules/rule_image.h"
#include "rules/rule_index_int.h"
#include "utils/memutils.h"

#define INDEX_MAX_SEGMENTS 8192
#define INDEX_MAX_CELLS 4096

int rule_index_memory_kb;

/* --- segments --------------------------------------------------------------------------- */

static int
count_bounds(const RuleIndex *index, int column, int rule_count)
{
	int count = 0;

	for (int i = 0; i < rule_count; i++)
	{
		const Test *test = rule_index_test(index, i, column);

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
		const Test *test = rule_index_test(index, i, column->number);

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

static void
make_word_table(RuleIndex *index, IndexColumn *column)
{
	uint32 size = 16;

	while (size < (uint32) column->key->word_count * 2)
		size *= 2;
	column->word_mask = size - 1;
	column->word_shift = 64 - pg_leftmost_one_pos32(size);
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

/* Where a key lies on the line that the grid divides: ascending with the key. */
static double
key_position(const IndexColumn *column, int64 key)
{
	if (column->form != KEY_FLOAT4 && column->form != KEY_FLOAT8)
		return (double) key;
	return float_of_key(key);
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

/* --- bitmaps ------------------------------------------------------------------------------------ */

static void
set_rule(uint64 *bitmap, int rule)
{
	bitmap[rule / 64] |= UINT64CONST(1) << (rule % 64);
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
		const Test *test = rule_index_test(index, i, column->number);

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
		const Test *test = rule_index_test(index, i, column->number);

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
		if (rule_index_test(index, i, column) != NULL)
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

	index->word_count = (rule_count + 63) / 64;
	index->word_count = index->word_count <= FEW_WORDS
							? FEW_WORDS
							: TYPEALIGN(CHUNK_WORDS, index->word_count);
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

Size
rule_index_size(const Decision *decision)
{
	return decision->index->bytes;
}
