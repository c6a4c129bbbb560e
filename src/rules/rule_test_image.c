/*
 * rule_test_image.c
 *		A decision's tests as bytes of an image, and back.
 */
#include "postgres.h"

#include "rules/rule_image.h"
#include "rules/rule_key.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"

typedef struct ColumnImage
{
	int32 attno;
	int32 form;
	Oid type;
	Oid collation;
	int32 word_count;
	int32 landmark_count;
} ColumnImage;

static void
write_column(const TestColumn *column, StringInfo image)
{
	ColumnImage fixed = {column->attno,     column->form,       column->type,
						 column->collation, column->word_count, column->landmark_count};
	int16 length;
	bool by_value;

	image_put(image, &fixed, sizeof(fixed));
	for (int i = 0; i < column->word_count; i++)
	{
		image_put_int(image, column->words[i].length);
		image_put(image, column->words[i].data, column->words[i].length);
	}
	get_typlenbyval(column->type, &length, &by_value);
	for (int i = 0; i < column->landmark_count; i++)
	{
		Datum value = column->landmarks[i].value;
		Size size = datumGetSize(value, by_value, length);

		image_put_int(image, (int) size);
		image_put(image, DatumGetPointer(value), size);
	}
}

void
test_set_write(const TestSet *set, int rule_count, StringInfo image)
{
	image_put_int(image, set->column_count);
	for (int i = 0; i < set->column_count; i++)
		write_column(&set->columns[i], image);
	for (int i = 0; i < rule_count; i++)
	{
		const RuleTests *tests = &set->rules[i];

		image_put_int(image, tests->complete ? tests->count : -1 - tests->count);
		for (int j = 0; j < tests->count; j++)
			image_put(image, tests->test[j],
					  offsetof(Test, ranges) + sizeof(KeyRange) * tests->test[j]->count);
	}
}

/*
 * What is read is asked to make sense, beyond the image's checksum: whatever the bytes
 * are, they may lead to a wrong answer at worst, never out of memory that is ours.
 */
static bool
column_is_sound(const TestColumn *column, const Decision *decision,
				const ImageReader *reader)
{
	int64 room = (reader->end - reader->at) / (2 * sizeof(int64));

	return column->attno >= 1 && column->attno <= decision->columns->natts &&
		   TupleDescAttr(decision->columns, column->attno - 1)->atttypid ==
			   column->type &&
		   column->form == key_form_of(column->type) && column->form != KEY_NONE &&
		   column->collation == InvalidOid && column->word_count >= 0 &&
		   column->word_count <= (column->form == KEY_WORD ? room : 0) &&
		   column->landmark_count >= 0 &&
		   column->landmark_count <= (column->form == KEY_ORDINAL ? room : 0);
}

/* A numeric has two bytes of sign and scale at least; in its long form, two of weight. */
static bool
numeric_is_sound(const char *value, Size size)
{
	uint16 header;

	if (size < VARHDRSZ + sizeof(header) || !VARATT_IS_4B_U(value) ||
		VARSIZE(value) != size)
		return false;
	memcpy(&header, VARDATA(value), sizeof(header));
	return (header & 0x8000) != 0 || size >= VARHDRSZ + 2 * sizeof(header);
}

static bool
landmark_is_sound(const TestColumn *column, const char *value, Size size)
{
	return column->type == NUMERICOID ? numeric_is_sound(value, size)
									  : size == get_typlen(column->type);
}

/* The least and the greatest key that a test of the column can have but for no bound. */
static bool
key_is_sound(const TestColumn *column, int64 key)
{
	if (key == PG_INT64_MIN || key == PG_INT64_MAX)
		return true;
	if (column->form == KEY_WORD)
		return key >= -1 && key <= column->word_count;
	if (column->form == KEY_ORDINAL)
		return key >= -1 && key <= 2 * (int64) column->landmark_count;
	return true;
}

static bool
test_is_sound(const Test *test, const TestColumn *column)
{
	if (test->at_null < NULL_FAILS || test->at_null > NULL_HOLDS)
		return false;
	for (int i = 0; i < test->count; i++)
	{
		const KeyRange *range = &test->ranges[i];

		if (range->low > range->high || !key_is_sound(column, range->low) ||
			!key_is_sound(column, range->high) ||
			(i > 0 && range->low <= test->ranges[i - 1].high))
			return false;
	}
	return true;
}

static void
read_words(TestColumn *column, ImageReader *reader)
{
	column->words = palloc0(sizeof(Word) * Max(column->word_count, 1));
	for (int i = 0; i < column->word_count && !reader->failed; i++)
	{
		column->words[i].length = image_take_int(reader, 0, INT_MAX);
		column->words[i].data = image_take(reader, column->words[i].length);
	}
	if (!reader->failed && column->form == KEY_WORD)
		test_column_seal_words(column);
}

static void
read_landmarks(TestColumn *column, ImageReader *reader)
{
	column->landmarks = palloc0(sizeof(Landmark) * Max(column->landmark_count, 1));
	for (int i = 0; i < column->landmark_count && !reader->failed; i++)
	{
		int size = image_take_int(reader, 1, INT_MAX);
		const void *value = image_take(reader, size);

		reader->failed |= value == NULL || !landmark_is_sound(column, value, size);
		if (reader->failed)
			return;
		column->landmarks[i].value = PointerGetDatum(value);
		column->landmarks[i].rough = landmark_rough(column, column->landmarks[i].value);
	}
}

static void
read_column(TestColumn *column, const Decision *decision, ImageReader *reader)
{
	const ColumnImage *fixed = image_take(reader, sizeof(ColumnImage));
	int words;

	if (fixed == NULL)
		return;
	column->attno = fixed->attno;
	column->form = (KeyForm) fixed->form;
	column->type = fixed->type;
	column->collation = fixed->collation;
	column->word_count = words = fixed->word_count;
	column->landmark_count = fixed->landmark_count;
	if (!column_is_sound(column, decision, reader))
	{
		reader->failed = true;
		return;
	}
	test_column_prepare(column);
	read_words(column, reader);
	read_landmarks(column, reader);
	reader->failed |= column->word_count != words;
	column->sealed = true;
}

/* Tests stay where they are, in the image. */
static void
read_rule_tests(TestSet *set, RuleTests *tests, ImageReader *reader)
{
	int count = image_take_int(reader, -1 - set->column_count, set->column_count);

	tests->complete = count >= 0;
	tests->count = count >= 0 ? count : -1 - count;
	tests->test = palloc(sizeof(Test *) * Max(tests->count, 1));
	for (int i = 0; i < tests->count; i++)
	{
		Test *test = unconstify(void *, image_take(reader, offsetof(Test, ranges)));

		if (test == NULL || test->count < 0 || test->column < 0 ||
			test->column >= set->column_count)
			reader->failed = true;
		else
			(void) image_take(reader, sizeof(KeyRange) * test->count);
		reader->failed |=
			!reader->failed && !test_is_sound(test, &set->columns[test->column]);
		if (reader->failed)
			return;
		tests->test[i] = test;
	}
}

bool
test_set_read(TestSet *set, const Decision *decision, ImageReader *reader)
{
	memset(set, 0, sizeof(*set));
	set->column_count = image_take_int(reader, 0, DECISION_COLUMN_COUNT(decision) * 2);
	set->columns = palloc0(sizeof(TestColumn) * Max(set->column_count, 1));
	for (int i = 0; i < set->column_count && !reader->failed; i++)
		read_column(&set->columns[i], decision, reader);
	set->rules = palloc0(sizeof(RuleTests) * Max(decision->rule_count, 1));
	for (int i = 0; i < decision->rule_count && !reader->failed; i++)
		read_rule_tests(set, &set->rules[i], reader);
	return !reader->failed;
}
