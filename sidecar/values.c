/*
 * values.c
 *		The values of a statement: what a client sent and is bound, never spliced.
 */
#include "values.h"

#include <stdlib.h>
#include <string.h>

#include "text.h"

/* Equal values are looked for among so many at most. */
#define COMPARED_MOST 64

/* The same list, in memory for twice as many. */
static void *
grow(void *list, void *few, int count, int capacity)
{
	void *larger = memory_resize(list == few ? NULL : list, capacity * sizeof(char *));

	return list == few ? memcpy(larger, few, count * sizeof(char *)) : larger;
}

static void
make_room(Values *values)
{
	if (values->capacity == 0)
	{
		values->capacity = VALUES_FEW;
		values->items = values->few_items;
		values->owned = values->few_owned;
		return;
	}
	values->capacity *= 2;
	values->items =
		grow(values->items, values->few_items, values->count, values->capacity);
	values->owned =
		grow(values->owned, values->few_owned, values->count, values->capacity);
}

int
values_add(Values *values, const char *text)
{
	if (values->count == values->capacity)
		make_room(values);
	values->owned[values->count] = NULL;
	values->items[values->count++] = text;
	return values->count + 1;
}

int
values_take(Values *values, char *text)
{
	int number = values_add(values, text);

	values->owned[values->count - 1] = text;
	return number;
}

int
values_copy(Values *values, const char *text, size_t length)
{
	char *copy;

	for (int i = 0; i < values->count && i < COMPARED_MOST; i++)
		if (values->owned[i] && strncmp(values->owned[i], text, length) == 0 &&
			values->owned[i][length] == '\0')
			return i + 2;
	copy = memory_new(length + 1);
	memcpy(copy, text, length);
	return values_take(values, copy);
}

void
values_free(Values *values)
{
	if (values->capacity == 0)
		return;
	for (int i = 0; i < values->count; i++)
		free(values->owned[i]);
	if (values->items != values->few_items)
	{
		free(values->items);
		free(values->owned);
	}
	memset(values, 0, sizeof(*values));
}
