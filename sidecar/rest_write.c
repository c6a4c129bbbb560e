/*
 * rest_write.c
 *		The statement for what is to be inserted, changed or deleted.
 *
 * One statement: WITH factoryd_source AS (INSERT ... RETURNING ...) SELECT how many, what
 * comes back, and where it is found.  Guards in it raise an error where what was changed
 * is not what may be, so that nothing is.
 */
#include "rest_sql_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"

#define SOURCE "factoryd_source"

static const CatalogColumn *
column_of(const CatalogRelation *relation, const char *name)
{
	return &relation->columns[catalog_column(relation, name)];
}

static bool
know_columns(RestStatement *statement, const CatalogRelation *relation,
			 const RestWrite *write)
{
	for (int i = 0; i < write->column_count; i++)
		if (catalog_column(relation, write->columns[i]) < 0)
			return rest_refuse(
				statement, 400, "PGRST204",
				"Could not find the '%s' column of '%s' in the schema cache",
				write->columns[i], relation->name);
	return true;
}

static void
list_columns(Buffer *sql, const RestWrite *write, const char *of)
{
	for (int i = 0; i < write->column_count; i++)
	{
		buffer_add_text(sql, i ? ", " : "");
		buffer_add_text(sql, of);
		buffer_add_identifier(sql, write->columns[i]);
	}
}

/* json_to_record[set]($n) AS name("a" type, ...) */
static void
write_given(RestStatement *statement, const CatalogRelation *relation,
			const RestWrite *write, const char *name, Buffer *sql)
{
	buffer_add_format(sql, "pg_catalog.json_to_record%s($%d::pg_catalog.json) AS \"%s\"(",
					  write->is_list ? "set" : "",
					  values_add(statement->values, write->body), name);
	for (int i = 0; i < write->column_count; i++)
	{
		buffer_add_text(sql, i ? ", " : "");
		buffer_add_identifier(sql, write->columns[i]);
		buffer_add_format(sql, " %s", column_of(relation, write->columns[i])->type);
	}
	buffer_add_char(sql, ')');
}

/* The same, with each column's default where an object has no such member. */
static void
write_given_or_default(RestStatement *statement, const CatalogRelation *relation,
					   const RestWrite *write, Buffer *sql)
{
	int body = values_add(statement->values, write->body);

	buffer_add_text(sql, "(SELECT ");
	for (int i = 0; i < write->column_count; i++)
	{
		const char *otherwise = column_of(relation, write->columns[i])->otherwise;

		buffer_add_text(sql, i ? ", " : "");
		if (otherwise)
			buffer_add_format(sql, "CASE WHEN \"e\".\"v\" ? $%d::pg_catalog.text THEN ",
							  values_copy(statement->values, write->columns[i],
										  strlen(write->columns[i])));
		buffer_add_text(sql, "\"g\".");
		buffer_add_identifier(sql, write->columns[i]);
		if (otherwise)
			buffer_add_format(sql, " ELSE %s END", otherwise);
		buffer_add_text(sql, " AS ");
		buffer_add_identifier(sql, write->columns[i]);
	}
	if (write->is_list)
		buffer_add_format(sql,
						  " FROM pg_catalog.jsonb_array_elements($%d::pg_catalog.jsonb)",
						  body);
	else
		buffer_add_format(sql, " FROM (SELECT $%d::pg_catalog.jsonb)", body);
	buffer_add_text(
		sql,
		" AS \"e\"(\"v\"), LATERAL pg_catalog.jsonb_to_record(\"e\".\"v\") AS \"g\"(");
	for (int i = 0; i < write->column_count; i++)
	{
		buffer_add_text(sql, i ? ", " : "");
		buffer_add_identifier(sql, write->columns[i]);
		buffer_add_format(sql, " %s", column_of(relation, write->columns[i])->type);
	}
	buffer_add_text(sql, ")) AS \"t0\"");
}

static void
write_conflict(RestStatement *statement, const CatalogRelation *relation,
			   const RestWrite *write, Buffer *sql)
{
	const char *between = " ON CONFLICT (";
	bool any = false;

	if (write->conflict == CONFLICT_ERROR)
		return;
	for (const RestName *name = statement->query->on_conflict; name; name = name->next)
	{
		buffer_add_text(sql, between);
		buffer_add_identifier(sql, name->name);
		between = ", ";
		any = true;
	}
	for (int i = 0; statement->query->on_conflict == NULL && i < relation->column_count;
		 i++)
		if (relation->columns[i].is_key)
		{
			buffer_add_text(sql, between);
			buffer_add_identifier(sql, relation->columns[i].name);
			between = ", ";
			any = true;
		}
	if (any)
		buffer_add_char(sql, ')');
	else if (write->conflict == CONFLICT_IGNORE)
		buffer_add_text(sql, " ON CONFLICT");
	else
		return; /* nothing that could conflict */
	if (write->conflict == CONFLICT_IGNORE || write->column_count == 0)
	{
		buffer_add_text(sql, " DO NOTHING");
		return;
	}
	buffer_add_text(sql, " DO UPDATE SET ");
	for (int i = 0; i < write->column_count; i++)
	{
		buffer_add_text(sql, i ? ", " : "");
		buffer_add_identifier(sql, write->columns[i]);
		buffer_add_text(sql, " = EXCLUDED.");
		buffer_add_identifier(sql, write->columns[i]);
	}
}

static void
write_insert(RestStatement *statement, const CatalogRelation *relation,
			 const RestWrite *write, Buffer *sql)
{
	Scope given = {.statement = statement,
				   .level = &statement->query->top,
				   .relation = relation};
	Buffer where = {0};

	buffer_add_format(sql, "INSERT INTO %s AS \"t0\"", relation->quoted);
	if (write->column_count == 0)
		buffer_add_text(sql, " DEFAULT VALUES");
	else
	{
		buffer_add_text(sql, "(");
		list_columns(sql, write, "");
		buffer_add_text(sql, ") SELECT ");
		list_columns(sql, write, "\"t0\".");
		buffer_add_text(sql, " FROM ");

		/* Called t0 here too: the filters of PUT speak of it. */
		if (write->defaults)
			write_given_or_default(statement, relation, write, sql);
		else
			write_given(statement, relation, write, "t0", sql);
	}
	if (write->change == CHANGE_PUT)
	{
		rest_write_filters(&given, &where);
		if (where.length)
			buffer_add_format(sql, " WHERE %s", buffer_text(&where));
	}
	buffer_free(&where);
	write_conflict(statement, relation, write, sql);
}

static void
write_update(RestStatement *statement, const CatalogRelation *relation,
			 const RestWrite *write, Buffer *sql)
{
	buffer_add_format(sql, "UPDATE %s AS \"t0\" SET ", relation->quoted);
	for (int i = 0; i < write->column_count; i++)
	{
		buffer_add_text(sql, i ? ", " : "");
		buffer_add_identifier(sql, write->columns[i]);
		buffer_add_text(sql, " = \"g\".");
		buffer_add_identifier(sql, write->columns[i]);
	}
	buffer_add_text(sql, " FROM ");
	write_given(statement, relation, write, "g", sql);
}

/* Each column once: what is returned is a relation again. */
static void
add_returned(Buffer *list, const char *column)
{
	Buffer one = {0};
	const char *found;
	size_t length;

	rest_write_column(&one, 0, column);
	length = one.length;
	found = strstr(buffer_text(list), buffer_text(&one));
	while (found && found[length] == '"')
		found = strstr(found + length, buffer_text(&one));
	if (found == NULL)
	{
		buffer_add_text(list, list->length ? ", " : "");
		buffer_add(list, buffer_bytes(&one), length);
	}
	buffer_free(&one);
}

/*
 * What RETURNING has to give for what is selected from it: no more, because each column
 * needs the right to read it.
 */
static bool
list_returned(RestStatement *statement, const CatalogRelation *relation,
			  const RestWrite *write, Buffer *list)
{
	const RestLevel *level = &statement->query->top;
	Way way;

	if (write->returns == RETURN_HEADERS)
		for (int i = 0; i < relation->column_count; i++)
			if (relation->columns[i].is_key)
				add_returned(list, relation->columns[i].name);
	if (write->returns == RETURN_ROWS && level->items == NULL)
		buffer_add_text(list, "\"t0\".*");
	for (const RestItem *item = level->items; write->returns == RETURN_ROWS && item;
		 item = item->next)
	{
		if (item->kind == ITEM_ALL)
		{
			buffer_clear(list, 0);
			buffer_add_text(list, "\"t0\".*");
			return true;
		}
		if (item->kind == ITEM_FIELD)
		{
			if (item->field.name)
				add_returned(list, item->field.name);
			continue;
		}
		if (!rest_find_way(statement, relation, item, &way))
			return false;
		if (way.function)
			return rest_refuse(statement, 400, "PGRST127",
							   "What a write returns has no '%s': it is no foreign key",
							   item->relation);
		for (int i = 0; i < way.link->count; i++)
		{
			int column =
				way.forward ? way.link->from_columns[i] : way.link->to_columns[i];

			add_returned(list, relation->columns[column].name);
		}
	}
	for (const RestOrder *order = level->order; write->returns == RETURN_ROWS && order;
		 order = order->next)
		if (order->relation == NULL && level->items)
			add_returned(list, order->field.name);
	if (list->length == 0)
		buffer_add_text(list, "1");
	return true;
}

/* Raises an error where so many rows were changed that none may be. */
static void
write_guard(Buffer *sql, const char *code, const char *condition)
{
	buffer_add_format(sql,
					  ", CASE WHEN (SELECT pg_catalog.count(*) FROM \"" SOURCE
					  "\") %s THEN ('%s ' || (SELECT pg_catalog.count(*) FROM \"" SOURCE
					  "\"))::pg_catalog.int4 END",
					  condition, code);
}

static void
write_location(const CatalogRelation *relation, const RestWrite *write, Buffer *sql)
{
	const char *between = "";

	if (write->returns != RETURN_HEADERS || relation->key_count == 0)
	{
		buffer_add_text(sql, ", NULL");
		return;
	}
	buffer_add_text(sql, ", (SELECT pg_catalog.concat(");
	for (int i = 0; i < relation->column_count; i++)
	{
		if (!relation->columns[i].is_key)
			continue;
		buffer_add_text(sql, between);
		buffer_add_literal(sql, *between ? "&" : "?");
		buffer_add_text(sql, ", ");
		buffer_add_literal(sql, relation->columns[i].name);
		buffer_add_text(sql, ", '=eq.', \"" SOURCE "\".");
		buffer_add_identifier(sql, relation->columns[i].name);
		between = ", ";
	}
	buffer_add_text(sql, ") FROM \"" SOURCE "\" LIMIT 1)");
}

static bool
write_representation(RestStatement *statement, const CatalogRelation *relation,
					 const RestWrite *write, Buffer *sql)
{
	RestSource source = {relation, "\"" SOURCE "\""};
	const char *row = write->shape == SHAPE_STRIPPED
						  ? "pg_catalog.json_strip_nulls(pg_catalog.row_to_json(\"r\".*))"
						  : "pg_catalog.row_to_json(\"r\".*)";
	RestQuery rows = *statement->query;
	RestStatement inner = *statement;
	bool good;

	/* Filters and limits chose what to change; all that was changed is returned. */
	rows.top.filters = NULL;
	rows.top.limit = -1;
	rows.top.offset = 0;
	inner.query = &rows;
	inner.max_rows = 0;
	if (write->single)
		buffer_add_format(sql, ", (SELECT %s FROM (", row);
	else
		buffer_add_format(sql, ", coalesce((SELECT pg_catalog.json_agg(%s) FROM (", row);
	good = rest_write_top(&inner, &source, false, sql);
	buffer_add_text(sql, write->single ? ") AS \"r\" LIMIT 1)::pg_catalog.text"
									   : ") AS \"r\"), '[]')::pg_catalog.text");
	statement->names = inner.names;
	return good;
}

bool
rest_write_change(RestStatement *statement, const RestSource *source,
				  const RestWrite *write)
{
	const CatalogRelation *relation = source->relation;
	Scope scope = {.statement = statement,
				   .level = &statement->query->top,
				   .relation = relation};
	Buffer *sql = statement->sql;
	Buffer where = {0};
	Buffer returned = {0};
	char most[40];
	bool good;

	if (!know_columns(statement, relation, write) ||
		!list_returned(statement, relation, write, &returned))
	{
		buffer_free(&returned);
		return false;
	}
	buffer_add_text(sql, "WITH \"" SOURCE "\" AS (");
	if (write->change == CHANGE_INSERT || write->change == CHANGE_PUT)
		write_insert(statement, relation, write, sql);
	else
	{
		if (write->change == CHANGE_UPDATE)
			write_update(statement, relation, write, sql);
		else
			buffer_add_format(sql, "DELETE FROM %s AS \"t0\"", relation->quoted);
		rest_write_filters(&scope, &where);
		if (where.length)
			buffer_add_format(sql, " WHERE %s", buffer_text(&where));
	}
	buffer_add_format(sql,
					  " RETURNING %s) SELECT (SELECT pg_catalog.count(*) FROM \"" SOURCE
					  "\")",
					  buffer_text(&returned));
	good = true;
	if (write->returns == RETURN_ROWS)
		good = write_representation(statement, relation, write, sql);
	else
		buffer_add_text(sql, ", NULL");
	write_location(relation, write, sql);
	if (write->single)
		write_guard(sql, "PGRST116", "<> 1");
	if (write->change == CHANGE_PUT)
		write_guard(sql, "PGRST115", "<> 1");
	if (write->max_affected >= 0)
	{
		snprintf(most, sizeof(most), "> %lld", write->max_affected);
		write_guard(sql, "PGRST124", most);
	}
	buffer_free(&where);
	buffer_free(&returned);
	return good;
}
