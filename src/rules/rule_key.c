/*
 * rule_key.c
 *		Keys: 64-bit integers that order and equal as a column's values do.
 *
 * Numbers and times are their own keys.  Of other types the key is the place among the
 * constants that rules name, in a dictionary that is sealed once all are known.
 */
#include "postgres.h"

#include <math.h>

#include "base/number.h"
#include "catalog/pg_type.h"
#include "rules/rule_key.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"

static const struct
{
	Oid type;
	KeyForm form;
} key_forms[] = {
	{INT2OID, KEY_INT2},     {INT4OID, KEY_INT4},        {INT8OID, KEY_INT8},
	{FLOAT4OID, KEY_FLOAT4}, {FLOAT8OID, KEY_FLOAT8},    {BOOLOID, KEY_BOOL},
	{DATEOID, KEY_DATE},     {TIMESTAMPOID, KEY_INT8},   {TIMESTAMPTZOID, KEY_INT8},
	{TIMEOID, KEY_TIME},     {OIDOID, KEY_OID},          {TEXTOID, KEY_WORD},
	{VARCHAROID, KEY_WORD},  {NUMERICOID, KEY_ORDINAL},  {BPCHAROID, KEY_ORDINAL},
	{UUIDOID, KEY_ORDINAL},  {INTERVALOID, KEY_ORDINAL},
};

KeyForm
key_form_of(Oid type)
{
	for (int i = 0; i < lengthof(key_forms); i++)
		if (key_forms[i].type == type)
			return key_forms[i].form;
	return type_is_enum(type) ? KEY_OID : KEY_NONE;
}
/* --- keys ----------------------------------------------------------------------------- */

double
landmark_rough(const TestColumn *column, Datum value)
{
	return column->type == NUMERICOID ? number_to_double(value) : 0;
}

/* NaN is above all numbers, as in PostgreSQL. */
static int
compare_rough(double one, double other)
{
	if (one < other)
		return -1;
	if (one > other)
		return 1;
	return (int) isnan(one) - (int) isnan(other);
}

static int
compare_landmarks(const TestColumn *column, const Landmark *one, const Landmark *other)
{
	int order = compare_rough(one->rough, other->rough);

	if (order != 0)
		return order;
	return DatumGetInt32(FunctionCall2Coll(unconstify(FmgrInfo *, &column->compare),
										   column->collation, one->value, other->value));
}

static int64
key_of_landmark(const TestColumn *column, Datum value)
{
	Landmark wanted = {landmark_rough(column, value), value};
	int low = 0, high = column->landmark_count;

	while (low < high)
	{
		int middle = (low + high) / 2;
		int order = compare_landmarks(column, &wanted, &column->landmarks[middle]);

		if (order == 0)
			return (int64) middle * 2 + 1;
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return (int64) low * 2;
}

int64
key_of_value(const TestColumn *column, Datum value)
{
	switch (column->form)
	{
		case KEY_INT2:
			return DatumGetInt16(value);
		case KEY_INT4:
			return DatumGetInt32(value);
		case KEY_INT8:
			return DatumGetInt64(value);
		case KEY_FLOAT4:
			return key_of_float(DatumGetFloat4(value));
		case KEY_FLOAT8:
			return key_of_float(DatumGetFloat8(value));
		case KEY_BOOL:
			return DatumGetBool(value) ? 1 : 0;
		case KEY_DATE:
			return DatumGetDateADT(value);
		case KEY_TIME:
			return DatumGetTimeADT(value);
		case KEY_OID:
			return DatumGetObjectId(value);
		case KEY_WORD:
			return key_of_text(column, value);
		case KEY_ORDINAL:
			if (column->type == NUMERICOID)
				value = PointerGetDatum(PG_DETOAST_DATUM_PACKED(value));
			return key_of_landmark(column, value);
		case KEY_NONE:
			break;
	}
	elog(ERROR, "unexpected key form %d", (int) column->form);
	return 0;
}

/* --- dictionaries ------------------------------------------------------------------------ */

static void
add_word(TestColumn *column, Datum value)
{
	text *packed = DatumGetTextPP(value);

	if (column->word_count == column->word_room)
	{
		column->word_room = Max(16, column->word_room * 2);
		column->words = column->words
							? repalloc(column->words, sizeof(Word) * column->word_room)
							: palloc(sizeof(Word) * column->word_room);
	}
	column->words[column->word_count].data = VARDATA_ANY(packed);
	column->words[column->word_count++].length = VARSIZE_ANY_EXHDR(packed);
}

static void
add_landmark(TestColumn *column, Datum value)
{
	if (column->landmark_count == column->landmark_room)
	{
		column->landmark_room = Max(16, column->landmark_room * 2);
		column->landmarks =
			column->landmarks
				? repalloc(column->landmarks, sizeof(Landmark) * column->landmark_room)
				: palloc(sizeof(Landmark) * column->landmark_room);
	}
	column->landmarks[column->landmark_count].rough = landmark_rough(column, value);
	column->landmarks[column->landmark_count++].value = value;
}

void
test_column_seal_words(TestColumn *column)
{
	uint32 size = 16;
	int kept = 0;

	while (size < (uint32) column->word_count * 2)
		size *= 2;
	column->slots = palloc0(sizeof(int32) * size);
	column->slot_mask = size - 1;
	for (int i = 0; i < column->word_count; i++)
	{
		Word word = column->words[i];
		uint32 slot;

		if (kept > 0 && key_of_word(column, word.data, word.length) >= 0)
			continue;
		slot = word_hash(word.data, word.length) & column->slot_mask;
		while (column->slots[slot] != 0)
			slot = (slot + 1) & column->slot_mask;
		column->words[kept] = word;
		column->slots[slot] = ++kept;
	}
	column->word_count = kept;
}

static int
landmark_order(const void *one, const void *other, void *column)
{
	return compare_landmarks(column, one, other);
}

static void
seal_landmarks(TestColumn *column)
{
	int kept = 0;

	qsort_arg(column->landmarks, column->landmark_count, sizeof(Landmark), landmark_order,
			  column);
	for (int i = 0; i < column->landmark_count; i++)
		if (kept == 0 || compare_landmarks(column, &column->landmarks[kept - 1],
										   &column->landmarks[i]) != 0)
			column->landmarks[kept++] = column->landmarks[i];
	column->landmark_count = kept;
}

void
test_set_seal(TestSet *set)
{
	for (int i = 0; i < set->column_count; i++)
	{
		TestColumn *column = &set->columns[i];

		if (column->form == KEY_WORD)
			test_column_seal_words(column);
		else if (column->form == KEY_ORDINAL && column->landmark_count > 0)
			seal_landmarks(column);
		column->sealed = true;
	}
}

int64
key_of_constant(TestColumn *column, Oid type, Datum value)
{
	if (type == INT2OID)
		return DatumGetInt16(value);
	if (type == INT4OID)
		return DatumGetInt32(value);
	if (type == FLOAT4OID)
		return key_of_float(DatumGetFloat4(value));
	if (type == FLOAT8OID)
		return key_of_float(DatumGetFloat8(value));
	if (!column->sealed && column->form == KEY_WORD)
		add_word(column, value);
	else if (!column->sealed && column->form == KEY_ORDINAL)
		add_landmark(column, value);
	else
		return key_of_value(column, value);
	return 0;
}

void
test_column_prepare(TestColumn *column)
{
	Oid type = key_is_text(column->type) ? TEXTOID : column->type;

	if (column->form == KEY_ORDINAL)
		fmgr_info_cxt(lookup_type_cache(type, TYPECACHE_CMP_PROC)->cmp_proc,
					  &column->compare, CurrentMemoryContext);
}
