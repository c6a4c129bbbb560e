/*
 * rest_query_select.c
 *		select=: columns, renames, casts, aggregates, what is embedded and spread.
 */
#include "rest_query_int.h"

#include <string.h>

static RestLevel *
new_level(RestQuery *query)
{
	RestLevel *level = arena_new(&query->arena, sizeof(RestLevel));

	level->limit = -1;
	return level;
}

/* !hint and !inner in any order, then (...). */
static bool
read_embed(Reader *reader, RestItem *item)
{
	item->kind = ITEM_EMBED;
	item->relation = item->field.name;
	while (reader_take(reader, "!"))
	{
		char *word = reader_read_name(reader, "!(),");

		if (word == NULL)
			return false;
		if (strcmp(word, "inner") == 0)
			item->inner = true;
		else if (strcmp(word, "left") != 0)
			item->hint = word;
	}
	item->level = new_level(reader->query);
	if (!reader_take(reader, "(") || !reader_go_deeper(reader))
		return reader_expected(reader, "\"(\"");
	if (*reader->at != ')' && !reader_read_items(reader, item->level))
		return false;
	reader->depth--;
	if (!reader_take(reader, ")"))
		return reader_expected(reader, "\",\" or \")\"");

	item->level->nothing = item->level->items == NULL;
	return true;
}

static const char *const aggregates[] = {"avg", "count", "max", "min", "sum"};

/* sum()::type, behind the dot; or count() alone. */
static bool
read_aggregate(Reader *reader, RestItem *item)
{
	for (size_t i = 0; i < sizeof(aggregates) / sizeof(aggregates[0]); i++)
		if (reader_take(reader, aggregates[i]))
		{
			item->aggregate = aggregates[i];
			break;
		}
	if (item->aggregate == NULL || !reader_take(reader, "()"))
		return reader_expected(reader, "avg(), count(), max(), min() or sum()");
	item->number = ++reader->query->aggregates;
	if (!reader_take(reader, "::"))
		return true;
	item->aggregate_cast = reader_read_name(reader, ",()");
	return item->aggregate_cast != NULL;
}

static bool
read_item(Reader *reader, RestItem *item)
{
	static const char ends[] = ",:()!.";

	item->kind = ITEM_FIELD;
	if (reader_take(reader, "*"))
	{
		item->kind = ITEM_ALL;
		return true;
	}
	item->spread = reader_take(reader, "...");
	if (strncmp(reader->at, "count()", 7) == 0)
		return read_aggregate(reader, item);
	item->field.name = reader_read_name(reader, ends);
	if (item->field.name == NULL)
		return false;
	if (*reader->at == ':' && reader->at[1] != ':')
	{
		reader->at++;
		item->alias = item->field.name;
		item->field.name = NULL;
		if (strncmp(reader->at, "count()", 7) == 0)
			return read_aggregate(reader, item);
		item->field.name = reader_read_name(reader, ends);
		if (item->field.name == NULL)
			return false;
	}
	if (*reader->at == '!' || *reader->at == '(')
		return read_embed(reader, item);
	if (item->spread)
		return reader_expected(reader, "\"(\"");
	if (!reader_read_path(reader, &item->field.path, ",:()."))
		return false;
	if (reader_take(reader, "::"))
	{
		item->cast = reader_read_name(reader, ",().");
		if (item->cast == NULL)
			return false;
	}
	return !reader_take(reader, ".") || read_aggregate(reader, item);
}

bool
reader_read_items(Reader *reader, RestLevel *level)
{
	RestItem **last = &level->items;

	do
	{
		RestItem *item = arena_new(&reader->query->arena, sizeof(RestItem));

		if (!read_item(reader, item))
			return false;
		level->aggregates = level->aggregates || item->aggregate ||
							(item->spread && item->level->aggregates);
		*last = item;
		last = &item->next;
	} while (reader_take(reader, ","));
	return true;
}
