/*
 * rule_range.c
 *		Tests as sets of keys: made, combined, asked.
 */
#include "postgres.h"

#include "access/stratnum.h"
#include "common/int.h"
#include "rules/rule_test.h"

Test *
test_make(int column, AtNull at_null, const KeyRange *ranges, int count)
{
	/* All of it becomes part of an image, what lies between its members, too. */
	Test *test = palloc0(offsetof(Test, ranges) + sizeof(KeyRange) * count);

	test->column = column;
	test->at_null = at_null;
	test->count = count;
	if (count > 0)
		memcpy(test->ranges, ranges, sizeof(KeyRange) * count);
	return test;
}

static AtNull
null_not(AtNull value)
{
	return NULL_HOLDS - value;
}

Test *
test_not(const Test *test)
{
	KeyRange *gaps = palloc(sizeof(KeyRange) * (test->count + 1));
	int64 begin = PG_INT64_MIN;
	bool open = true; /* is there anything at or after begin? */
	int count = 0;

	for (int i = 0; i < test->count; i++)
	{
		if (test->ranges[i].low > begin)
			gaps[count++] = (KeyRange){begin, test->ranges[i].low - 1};
		open = !pg_add_s64_overflow(test->ranges[i].high, 1, &begin);
	}
	if (open)
		gaps[count++] = (KeyRange){begin, PG_INT64_MAX};
	return test_make(test->column, null_not(test->at_null), gaps, count);
}

Test *
test_and(const Test *one, const Test *other)
{
	KeyRange *both = palloc(sizeof(KeyRange) * (one->count + other->count + 1));
	int count = 0;

	for (int i = 0, j = 0; i < one->count && j < other->count;)
	{
		int64 low = Max(one->ranges[i].low, other->ranges[j].low);
		int64 high = Min(one->ranges[i].high, other->ranges[j].high);

		if (low <= high)
			both[count++] = (KeyRange){low, high};
		if (one->ranges[i].high < other->ranges[j].high)
			i++;
		else
			j++;
	}
	return test_make(one->column, Min(one->at_null, other->at_null), both, count);
}

/* a OR b is NOT (NOT a AND NOT b). */
Test *
test_or(const Test *one, const Test *other)
{
	return test_not(test_and(test_not(one), test_not(other)));
}

Test *
test_combine(Test *one, Test *other, bool is_and)
{
	return is_and ? test_and(one, other) : test_or(one, other);
}

Test *
test_compare(int column, int strategy, int64 key)
{
	KeyRange range = {PG_INT64_MIN, PG_INT64_MAX};
	Test *equal;

	switch (strategy)
	{
		case BTLessStrategyNumber:
			if (key == PG_INT64_MIN)
				return test_make(column, NULL_OPEN, NULL, 0);
			range.high = key - 1;
			break;
		case BTLessEqualStrategyNumber:
			range.high = key;
			break;
		case BTGreaterEqualStrategyNumber:
			range.low = key;
			break;
		case BTGreaterStrategyNumber:
			if (key == PG_INT64_MAX)
				return test_make(column, NULL_OPEN, NULL, 0);
			range.low = key + 1;
			break;
		default:
			range.low = range.high = key;
			equal = test_make(column, NULL_OPEN, &range, 1);
			return strategy == BTEqualStrategyNumber ? equal : test_not(equal);
	}
	return test_make(column, NULL_OPEN, &range, 1);
}

/* For qsort(). */
int
compare_keys(const void *a, const void *b)
{
	int64 left = *(const int64 *) a;
	int64 right = *(const int64 *) b;

	return left < right ? -1 : left > right;
}

bool
test_holds(const Test *test, int64 key)
{
	int low = 0, high = test->count - 1;

	while (low <= high)
	{
		int middle = (low + high) / 2;

		if (key < test->ranges[middle].low)
			high = middle - 1;
		else if (key > test->ranges[middle].high)
			low = middle + 1;
		else
			return true;
	}
	return false;
}
