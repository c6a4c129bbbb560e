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

#include "judgment/judgment_int.h"

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

/* The key of a value that is not NULL. */
extern int64 key_of_value(const TestColumn *column, Datum value);

/* Whether the test is true of a key. */
extern bool test_holds(const Test *test, int64 key);

#endif /* FACTORY_RULE_TEST_H */
