/*
 * rule_test.h
 *		From conditions to tests: what one column must be for a rule to hold.
 *
 * A *test* says of one column for which keys the condition's part is true, and what
 * the part is where the column is NULL.  A *key* is a 64-bit integer that orders and
 * equals as the column's values do.
 */
#ifndef FACTORY_RULE_TEST_H
#define FACTORY_RULE_TEST_H

#include "lib/stringinfo.h"
#include "rules/rules_int.h"

#include <math.h>

/* More ranges than that in one test, and its part is evaluated instead. */
#define TEST_MAX_RANGES 1000

typedef enum KeyForm
{
	KEY_NONE, /* no tests on columns of this type */
	KEY_INT2,
	KEY_INT4,
	KEY_INT8,
	KEY_FLOAT4,
	KEY_FLOAT8,
	KEY_BOOL,
	KEY_DATE,
	KEY_TIME,
	KEY_OID,    /* and enums: equality only */
	KEY_WORD,   /* texts for equality: the place in a dictionary, by its bytes */
	KEY_ORDINAL /* the place among the constants, by the type's own order */
} KeyForm;

/* Three-valued logic: AND is the least, OR the greatest, NOT the mirror image. */
typedef enum AtNull
{
	NULL_FAILS,
	NULL_OPEN, /* NULL: the rule is undecided, and must say why */
	NULL_HOLDS
} AtNull;

typedef struct KeyRange
{
	int64 low;
	int64 high; /* included */
} KeyRange;

typedef struct Test
{
	int column; /* in TestSet.columns */
	AtNull at_null;
	int count;
	KeyRange ranges[FLEXIBLE_ARRAY_MEMBER]; /* where true: ascending, apart */
} Test;

typedef struct Word
{
	const char *data;
	int length;
} Word;

/* A constant of a KEY_ORDINAL column; its key is 2 * place + 1, a gap's is even. */
typedef struct Landmark
{
	double rough; /* of numeric: different doubles decide */
	Datum value;
} Landmark;

typedef struct TestColumn
{
	int attno;
	KeyForm form;
	Oid type;
	Oid collation;

	/* KEY_WORD: the key is the place in words, or -1 for none of them. */
	Word *words;
	int word_count;
	int word_room;
	int32 *slots; /* open addressing: place + 1, or 0 */
	uint32 slot_mask;

	/* KEY_ORDINAL: ascending once sealed. */
	Landmark *landmarks;
	int landmark_count;
	int landmark_room;
	FmgrInfo compare;
	bool sealed;
} TestColumn;

typedef struct RuleTests
{
	Test **test; /* one a column at most */
	int count;
	bool complete; /* the tests are the whole condition */
} RuleTests;

typedef struct TestSet
{
	TestColumn *columns;
	int column_count;
	int column_room;
	RuleTests *rules;
} TestSet;

/* The tests of all rules, in the current memory context. */
extern void test_set_build(const Decision *decision, TestSet *set);

/* The order of float8 as PostgreSQL has it: -0 equals 0, NaN is above infinity. */
static inline int64
key_of_float(float8 value)
{
	uint64 bits, sign;

	if (unlikely(isnan(value)))
		return PG_INT64_MAX;
	memcpy(&bits, &value, sizeof(bits));
	sign = 0 - (bits >> 63);
	return (int64) (((bits & PG_INT64_MAX) ^ sign) - sign);
}

/* The other way round. */
static inline float8
float_of_key(int64 key)
{
	uint64 bits = key >= 0 ? (uint64) key : (uint64) PG_INT64_MIN - (uint64) key;
	float8 value;

	if (key == PG_INT64_MAX)
		return NAN;
	memcpy(&value, &bits, sizeof(value));
	return value;
}

/* Eight bytes at a time; who wants collisions only makes his own decision slow. */
static inline uint32
word_hash(const char *data, int length)
{
	uint64 hash = (uint64) length * UINT64CONST(0x9E3779B97F4A7C15);
	uint64 chunk;

	for (; length >= 8; data += 8, length -= 8)
	{
		memcpy(&chunk, data, 8);
		hash = (hash ^ chunk) * UINT64CONST(0x9FB21C651E98DF25);
		hash ^= hash >> 32;
	}
	chunk = 0;
	for (int i = 0; i < length; i++)
		chunk = chunk << 8 | (unsigned char) data[i];
	hash = (hash ^ chunk) * UINT64CONST(0x9FB21C651E98DF25);
	return (uint32) (hash ^ hash >> 32);
}

static inline int64
key_of_word(const TestColumn *column, const char *data, int length)
{
	uint32 slot;

	if (column->word_count == 0)
		return -1;
	slot = word_hash(data, length) & column->slot_mask;
	while (column->slots[slot] != 0)
	{
		const Word *word = &column->words[column->slots[slot] - 1];

		if (word->length == length && memcmp(word->data, data, length) == 0)
			return column->slots[slot] - 1;
		slot = (slot + 1) & column->slot_mask;
	}
	return -1;
}

static inline int64
key_of_text(const TestColumn *column, Datum value)
{
	text *packed = DatumGetTextPP(value);

	return key_of_word(column, VARDATA_ANY(packed), VARSIZE_ANY_EXHDR(packed));
}

/* The set as bytes of an image (rule_image.h), and back: false where they make no sense. */
struct ImageReader;
extern void test_set_write(const TestSet *set, int rule_count, StringInfo image);
extern bool test_set_read(TestSet *set, const Decision *decision,
						  struct ImageReader *reader);

/* The key of a value that is not NULL. */
extern int64 key_of_value(const TestColumn *column, Datum value);

/* Tests of one column made and combined, in the current memory context. */
extern Test *test_make(int column, AtNull at_null, const KeyRange *ranges, int count);
extern Test *test_not(const Test *test);
extern Test *test_and(const Test *one, const Test *other);
extern Test *test_or(const Test *one, const Test *other);
extern Test *test_combine(Test *one, Test *other, bool is_and);
extern Test *test_compare(int column, int strategy, int64 key); /* key op constant */

/* The order of keys, for qsort(). */
extern int compare_keys(const void *a, const void *b);

/* Whether the test is true of a key. */
extern bool test_holds(const Test *test, int64 key);

#endif /* FACTORY_RULE_TEST_H */
