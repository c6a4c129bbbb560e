/*
 * rule_key.h
 *		Keys of values, and the dictionaries of those that are no numbers.
 */
#ifndef FACTORY_RULE_KEY_H
#define FACTORY_RULE_KEY_H

#include "catalog/pg_type.h"
#include "rules/rule_test.h"

/* KEY_NONE where a type's columns have no tests. */
extern KeyForm key_form_of(Oid type);

static inline bool
key_is_integer(Oid type)
{
	return type == INT2OID || type == INT4OID || type == INT8OID;
}

static inline bool
key_is_float(Oid type)
{
	return type == FLOAT4OID || type == FLOAT8OID;
}

static inline bool
key_is_text(Oid type)
{
	return type == TEXTOID || type == VARCHAROID;
}

/* Finds how the column's type compares, where that is asked for. */
extern void test_column_prepare(TestColumn *column);

/* The key of a constant; before the column is sealed it is only noted. */
extern int64 key_of_constant(TestColumn *column, Oid type, Datum value);

/* All constants are known: from now on they have keys. */
extern void test_set_seal(TestSet *set);

/* Words find their place by hash; those that occur twice have one. */
extern void test_column_seal_words(TestColumn *column);

/* The nearest double to a landmark's value; 0 where it is no number. */
extern double landmark_rough(const TestColumn *column, Datum value);

#endif /* FACTORY_RULE_KEY_H */
