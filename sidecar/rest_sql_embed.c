/*
 * rest_sql_embed.c
 *		Relations inside relations: the ways to them, their joins, what is spread.
 */
#include "rest_sql_int.h"

#include <string.h>

static void
write_equal(Buffer *sql, int left, const CatalogRelation *left_relation, int left_column,
			int right, const CatalogRelation *right_relation, int right_column)
{
	buffer_add_text(sql, sql->length ? " AND " : "");
	rest_write_column(sql, left, left_relation->columns[left_column].name);
	buffer_add_text(sql, " = ");
	rest_write_column(sql, right, right_relation->columns[right_column].name);
}

/* From what and on which condition the target's rows come, for a row of the origin. */
void
rest_write_way(RestStatement *statement, const Scope *origin, const Way *way, int target,
			   Buffer *from, Buffer *condition)
{
	const CatalogLink *link = way->link;
	const CatalogRelation *ours = origin->relation;
	const CatalogRelation *junction;
	bool forward = way->forward;
	int between;

	if (way->function)
	{
		buffer_add_format(from, "%s(\"t%d\".*) AS \"t%d\"", way->function->quoted,
						  origin->number, target);
		buffer_add_text(condition, "true");
		return;
	}
	buffer_add_format(from, "%s AS \"t%d\"", way->target->quoted, target);
	if (way->kind != LINK_ACROSS)
	{
		for (int i = 0; i < link->count; i++)
			write_equal(condition, target, way->target,
						forward ? link->to_columns[i] : link->from_columns[i],
						origin->number, ours,
						forward ? link->from_columns[i] : link->to_columns[i]);
		return;
	}
	junction = catalog_numbered(statement->catalog, link->from);
	between = ++statement->names;
	buffer_add_format(from, ", %s AS \"t%d\"", junction->quoted, between);
	for (int i = 0; i < link->count; i++)
		write_equal(condition, between, junction, link->from_columns[i], origin->number,
					ours, link->to_columns[i]);
	link = way->far_link;
	for (int i = 0; i < link->count; i++)
		write_equal(condition, between, junction, link->from_columns[i], target,
					way->target, link->to_columns[i]);
}

/* One more column, which is a group of its own where it is no aggregate. */
void
rest_begin_column(Parts *parts, bool is_group)
{
	buffer_add_text(&parts->list, parts->list.length ? ", " : "");
	parts->columns++;
	if (!is_group)
		return;
	buffer_add_text(&parts->groups, parts->groups.length ? ", " : "");
	buffer_add_number(&parts->groups, parts->columns);
}

/* What is spread, one column after the other. */
typedef void (*SpreadWriter)(Parts *parts, const char *column, int join);

/* What an aggregate is made of, on its way through a level that is spread. */
void
rest_write_raw_name(Buffer *sql, const RestItem *item)
{
	buffer_add_format(sql, "\"factoryd_raw%d\"", item->number);
}

static void
spread_aggregate(Parts *parts, const RestItem *item, int join, bool is_spread)
{
	Buffer *list = &parts->list;

	rest_begin_column(parts, is_spread);
	if (!is_spread)
		rest_begin_aggregate(list, item);
	buffer_add_format(list, "\"e%d\".", join);
	rest_write_raw_name(list, item);
	if (!is_spread)
		rest_end_aggregate(list, item);
}

static void
spread_row(Parts *parts, const char *column, int join)
{
	rest_begin_column(parts, true);
	buffer_add_format(&parts->list, "\"e%d\".", join);
	buffer_add_identifier(&parts->list, column);
}

static void
spread_list(Parts *parts, const char *column, int join)
{
	rest_begin_column(parts, true);
	buffer_add_format(&parts->list, "coalesce(\"e%d\".", join);
	buffer_add_identifier(&parts->list, column);
	buffer_add_text(&parts->list, ", '[]') AS ");
	buffer_add_identifier(&parts->list, column);
}

/* Each column of many rows is a list. */
static void
gather_list(Parts *parts, const char *column, int join)
{
	buffer_add_format(&parts->from, "pg_catalog.jsonb_agg(\"r%d\".", join);
	buffer_add_identifier(&parts->from, column);
	buffer_add_text(&parts->from, ") AS ");
	buffer_add_identifier(&parts->from, column);
	buffer_add_text(&parts->from, ", ");
}

static void
for_each_spread(const Scope *scope, const RestItem *item, const CatalogRelation *target,
				int join, SpreadWriter write, Parts *parts)
{
	const RestItem *one = item->level->items;
	Way way;

	for (int i = 0; one == NULL && i < target->column_count; i++)
		write(parts, target->columns[i].name, join);
	for (; one; one = one->next)
	{
		for (int i = 0; one->kind == ITEM_ALL && i < target->column_count; i++)
			write(parts, target->columns[i].name, join);
		if (one->aggregate)
			spread_aggregate(parts, one, join, scope->is_spread);
		else if (one->kind == ITEM_FIELD)
			write(parts, rest_item_name(one), join);
		if (one->kind != ITEM_EMBED || one->level->nothing)
			continue;
		if (!one->spread)
			write(parts, one->alias ? one->alias : one->relation, join);
		else if (rest_find_way(scope->statement, target, one, &way))
			for_each_spread(scope, one, way.target, join, write, parts);
	}
}

static void
write_join(const Scope *scope, const RestItem *item, const Way *way, int join,
		   const Buffer *rows, Parts *parts)
{
	const char *name = item->alias ? item->alias : item->relation;
	bool many = way->kind != LINK_TO_ONE;

	buffer_add_text(&parts->from,
					item->inner ? " INNER JOIN LATERAL (" : " LEFT JOIN LATERAL (");
	if (many && item->spread && !item->level->nothing)
	{
		buffer_add_text(&parts->from, "SELECT ");
		for_each_spread(scope, item, way->target, join, gather_list, parts);
		buffer_add_text(&parts->from, "CASE WHEN pg_catalog.count(*) > 0 THEN true END "
									  "AS \"factoryd_rows\" FROM (");
	}
	else if (many)
		buffer_add_format(
			&parts->from,
			"SELECT pg_catalog.json_agg(\"r%d\".*) AS \"factoryd_rows\" FROM (", join);
	else
		buffer_add_format(&parts->from,
						  "SELECT \"r%d\".*, true AS \"factoryd_rows\" FROM (", join);
	buffer_add(&parts->from, buffer_bytes(rows), rows->length);
	buffer_add_format(&parts->from, ") AS \"r%d\") AS \"e%d\" ON %s", join, join, "true");
	if (many && item->inner)
	{
		buffer_add_text(&parts->where, parts->where.length ? " AND " : "");
		buffer_add_format(&parts->where, "\"e%d\".\"factoryd_rows\" IS NOT NULL", join);
	}
	if (item->level->nothing)
		return;
	if (item->spread)
	{
		for_each_spread(scope, item, way->target, join, many ? spread_list : spread_row,
						parts);
		return;
	}
	rest_begin_column(parts, true);
	buffer_add_format(&parts->list,
					  many ? "coalesce(\"e%d\".\"factoryd_rows\", '[]'::pg_catalog.json)"
						   : "\"e%d\".\"factoryd_one\"",
					  join);

	/* There is no equality of json to make groups by. */
	buffer_add_text(&parts->list,
					scope->level->aggregates ? "::pg_catalog.jsonb AS " : " AS ");
	buffer_add_identifier(&parts->list, name);
}

bool
rest_write_embed(Scope *scope, const RestItem *item, int index, Parts *parts)
{
	RestStatement *statement = scope->statement;
	Scope inner = {.statement = statement, .level = item->level};
	Buffer from = {0};
	Buffer condition = {0};
	Buffer rows = {0};
	Way way;
	bool good;

	if (!rest_find_way(statement, scope->relation, item, &way))
		return false;
	inner.is_spread = item->spread && way.kind == LINK_TO_ONE;
	if (item->spread && item->level->aggregates && !inner.is_spread)
		return rest_refuse(statement, 400, "PGRST127",
						   "'%s' is spread to many: its columns are lists, and have no "
						   "aggregates",
						   item->relation);
	inner.relation = way.target;
	inner.number = ++statement->names;
	scope->joins[index] = inner.number;
	rest_write_way(statement, scope, &way, inner.number, &from, &condition);
	good = rest_write_level(&inner, buffer_text(&from), buffer_text(&condition), &rows);
	if (good && way.kind == LINK_TO_ONE && !item->spread)
	{
		/* The row becomes JSON where it is whole; the join then carries one column. */
		Buffer wrapped = {0};

		buffer_add_format(
			&wrapped,
			"SELECT pg_catalog.row_to_json(\"o%d\".*) AS \"factoryd_one\" FROM (",
			inner.number);
		buffer_add(&wrapped, buffer_bytes(&rows), rows.length);
		buffer_add_format(&wrapped, ") AS \"o%d\"", inner.number);
		buffer_free(&rows);
		rows = wrapped;
	}
	if (good)
		write_join(scope, item, &way, inner.number, &rows, parts);
	buffer_free(&from);
	buffer_free(&condition);
	buffer_free(&rows);
	return good;
}

/* Whether the rows that are counted depend on an embedding. */
bool
rest_counts_for_rows(const RestLevel *level, const RestItem *item)
{
	const char *name = item->alias ? item->alias : item->relation;

	if (item->inner)
		return true;
	for (const RestLogic *filter = level->filters; filter; filter = filter->next)
		if (filter->kind != LOGIC_CONDITION || strcmp(filter->field.name, name) == 0)
			return true;
	return false;
}
