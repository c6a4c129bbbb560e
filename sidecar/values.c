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

int
values_add(Values *values, const char *text)
{
	if (values->count == values->capacity)
	{
		values->capacity = values->capacity ? values->capacity * 2 : 8;
		values->items =
			memory_resize(values->items, values->capacity * sizeof(values->items[0]));
		values->owned =
			memory_resize(values->owned, values->capacity * sizeof(values->owned[0]));
	}
	values->owned[values->count] = NULL;
	values->items[values->count++] = text;
	return values->count;
}

int
values_take(Values *values, char *text)
{
	int number = values_add(values, text);

	values->owned[number - 1] = text;
	return number;
}

int
values_copy(Values *values, const char *text, size_t length)
{
	char *copy;

	for (int i = 0; i < values->count && i < COMPARED_MOST; i++)
		if (values->owned[i] && strncmp(values->owned[i], text, length) == 0 &&
			values->owned[i][length] == '\0')
			return i + 1;
	copy = memory_new(length + 1);
	memcpy(copy, text, length);
	return values_take(values, copy);
}

void
values_free(Values *values)
{
	for (int i = 0; i < values->count; i++)
		free(values->owned[i]);
	free(values->items);
	free(values->owned);
	memset(values, 0, sizeof(*values));
}
