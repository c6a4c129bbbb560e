/*
 * rest_sql.c
 *		The statement for what a query of PostgREST's conventions asks.
 *
 * A level of the query is a SELECT of its own; what is embedded in it is joined
 * LATERAL, so limits and orders of each level hold.  Relations are called t0, t1, ...
 * and joins e1, e2, ...: names of a client's appear only as columns, in quotes.
 */
#include "rest_sql_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"

/* --- fields ------------------------------------------------------------------------------ */

void
rest_write_column(Buffer *sql, int number, const char *column)
{
	buffer_add_format(sql, "\"t%d\".", number);
	buffer_add_identifier(sql, column);
}

/* The bare name of a column's type, "" where it is not known. */
static const char *
type_of(const CatalogRelation *relation, const char *column)
{
	int index = relation ? catalog_column(relation, column) : -1;

	return index < 0 ? "" : relation->columns[index].base;
}

static bool
is_json_type(const char *type)
{
	return strcmp(type, "json") == 0 || strcmp(type, "jsonb") == 0;
}

static void
write_field(const Scope *scope, Buffer *sql, const RestField *field)
{
	const char *type = type_of(scope->relation, field->name);
	bool wraps = field->path && *type && !is_json_type(type);

	buffer_add_text(sql, wraps ? "pg_catalog.to_jsonb(" : "");
	rest_write_column(sql, scope->number, field->name);
	buffer_add_text(sql, wraps ? ")" : "");
	for (const RestStep *step = field->path; step; step = step->next)
		buffer_add_format(sql, "%s$%d::pg_catalog.%s", step->as_text ? "->>" : "->",
						  values_copy(scope->statement->values, step->key,
									  strlen(step->key)),
						  step->is_index ? "int4" : "text");
}

/* SQL's names of types that are not their names in pg_type. */
static const char *const type_names[][2] = {
	{"int", "int4"},
	{"integer", "int4"},
	{"bigint", "int8"},
	{"smallint", "int2"},
	{"real", "float4"},
	{"float", "float8"},
	{"double precision", "float8"},
	{"boolean", "bool"},
	{"decimal", "numeric"},
	{"character varying", "varchar"},
	{"char", "bpchar"},
	{"character", "bpchar"},
	{"timestamp with time zone", "timestamptz"},
	{"timestamp without time zone", "timestamp"},
	{"time with time zone", "timetz"},
	{"time without time zone", "time"},
};

static void
write_type(Buffer *sql, const char *name)
{
	size_t length = strlen(name);
	bool array = length > 2 && strcmp(name + length - 2, "[]") == 0;
	char *bare = strndup(name, array ? length - 2 : length);
	const char *known = bare;

	for (size_t i = 0; i < sizeof(type_names) / sizeof(type_names[0]); i++)
		if (strcasecmp(type_names[i][0], bare) == 0)
			known = type_names[i][1];
	buffer_add_identifier(sql, known);
	buffer_add_text(sql, array ? "[]" : "");
	free(bare);
}

/* The name a field has in the answer. */
const char *
rest_item_name(const RestItem *item)
{
	const char *name = item->field.name;

	if (item->alias)
		return item->alias;
	if (item->aggregate)
		return item->aggregate;
	for (const RestStep *step = item->field.path; step; step = step->next)
		if (!step->is_index)
			name = step->key;
	return name;
}

static void
end_cast(Buffer *list, const char *type)
{
	if (type == NULL)
		return;
	buffer_add_text(list, " AS ");
	write_type(list, type);
	buffer_add_char(list, ')');
}

void
rest_begin_aggregate(Buffer *list, const RestItem *item)
{
	buffer_add_text(list, item->aggregate_cast ? "CAST(" : "");
	buffer_add_format(list, "pg_catalog.%s(", item->aggregate);
}

void
rest_end_aggregate(Buffer *list, const RestItem *item)
{
	buffer_add_char(list, ')');
	end_cast(list, item->aggregate_cast);
	buffer_add_text(list, " AS ");
	buffer_add_identifier(list, rest_item_name(item));
}

/* --- conditions ----------------------------------------------------------------------- */

static int
bind_text(const Scope *scope, const char *text)
{
	return values_copy(scope->statement->values, text, strlen(text));
}

/* The join of an embedding that a condition or an order names, or 0. */
static int
join_named(const Scope *scope, const char *name, const RestItem **found)
{
	int index = 0;

	for (const RestItem *item = scope->level->items; item; item = item->next)
	{
		if (item->kind != ITEM_EMBED)
			continue;
		if (strcmp(item->alias ? item->alias : item->relation, name) == 0)
		{
			*found = item;
			return scope->joins[index];
		}
		index++;
	}
	return 0;
}

static void
write_search(const Scope *scope, Buffer *sql, const RestLogic *condition)
{
	const char *type = type_of(scope->relation, condition->field.name);
	bool is_text = condition->field.path || (*type && strcmp(type, "tsvector") != 0);
	char language[80] = "";

	if (condition->language)
		snprintf(language, sizeof(language),
				 "$%d::pg_catalog.text::pg_catalog.regconfig, ",
				 bind_text(scope, condition->language));
	if (is_text)
		buffer_add_format(sql, "pg_catalog.to_tsvector(%s", language);
	write_field(scope, sql, &condition->field);
	buffer_add_format(sql, "%s @@ %s(%s$%d::pg_catalog.text)", is_text ? ")" : "",
					  condition->operator->sql, language,
					  bind_text(scope, condition->value));
}

static void
write_comparison(const Scope *scope, Buffer *sql, const RestLogic *condition)
{
	const RestOperator *operator= condition->operator;
	const RestItem *item;
	int join;

	if (operator->operand == OPERAND_SEARCH)
	{
		write_search(scope, sql, condition);
		return;
	}
	if (operator->operand ==
		OPERAND_WORD &&(join = join_named(scope, condition->field.name, &item)) != 0)
	{
		/* Whether there is anything embedded. */
		buffer_add_format(sql, "\"e%d\".\"factoryd_rows\" IS %s", join, condition->value);
		return;
	}
	write_field(scope, sql, &condition->field);
	if (operator->operand == OPERAND_WORD)
		buffer_add_format(sql, " IS %s", condition->value);
	else if (operator->operand == OPERAND_LIST)
		buffer_add_format(sql, " = ANY ($%d)", bind_text(scope, condition->value));
	else if (condition->quantifier != QUANTIFIER_NONE)
		buffer_add_format(sql, " %s %s ($%d)", operator->sql,
						  condition->quantifier == QUANTIFIER_ANY ? "ANY" : "ALL",
						  bind_text(scope, condition->value));
	else
		buffer_add_format(sql, " %s $%d", operator->sql,
						  bind_text(scope, condition->value));
}

static void
write_logic(const Scope *scope, Buffer *sql, const RestLogic *logic)
{
	const char *word = logic->kind == LOGIC_OR ? " OR " : " AND ";

	buffer_add_text(sql, logic->negated ? "NOT (" : "(");
	if (logic->kind == LOGIC_CONDITION)
		write_comparison(scope, sql, logic);
	for (const RestLogic *one = logic->first; one; one = one->next)
	{
		write_logic(scope, sql, one);
		buffer_add_text(sql, one->next ? word : "");
	}
	buffer_add_char(sql, ')');
}

void
rest_write_filters(const Scope *scope, Buffer *where)
{
	for (const RestLogic *filter = scope->level->filters; filter; filter = filter->next)
	{
		buffer_add_text(where, where->length ? " AND " : "");
		write_logic(scope, where, filter);
	}
}

/* --- order ------------------------------------------------------------------------------ */

/* A field of an embedded relation that there is one of. */
static bool
write_related(const Scope *scope, Buffer *sql, const RestOrder *order)
{
	RestStatement *statement = scope->statement;
	const RestItem *item = NULL;
	Scope inner = {.statement = statement, .level = scope->level};
	Buffer from = {0};
	Buffer condition = {0};
	Way way;

	if (join_named(scope, order->relation, &item) == 0)
		return rest_refuse(statement, 400, "PGRST108",
						   "'%s' is not an embedded resource in this request",
						   order->relation);
	if (!rest_find_way(statement, scope->relation, item, &way))
		return false;
	if (way.kind != LINK_TO_ONE)
	{
		rest_refuse(statement, 400, "PGRST118", "A related order on '%s' is not possible",
					order->relation);
		statement->problem->detail = text_format(
			"'%s' and '%s' do not form a many-to-one or one-to-one relationship",
			scope->relation->name, order->relation);
		return false;
	}
	inner.relation = way.target;
	inner.number = ++statement->names;
	rest_write_way(statement, scope, &way, inner.number, &from, &condition);
	buffer_add_text(sql, "(SELECT ");
	write_field(&inner, sql, &order->field);
	buffer_add_format(sql, " FROM %s WHERE %s)", buffer_text(&from),
					  buffer_text(&condition));
	buffer_free(&from);
	buffer_free(&condition);
	return true;
}

static bool
write_order(const Scope *scope, Buffer *sql)
{
	const char *between = " ORDER BY ";

	for (const RestOrder *order = scope->level->order; order; order = order->next)
	{
		buffer_add_text(sql, between);
		between = ", ";
		if (order->relation == NULL)
			write_field(scope, sql, &order->field);
		else if (!write_related(scope, sql, order))
			return false;
		buffer_add_text(sql, order->descending ? " DESC" : "");
		if (order->nulls != NULLS_UNSAID)
			buffer_add_text(sql,
							order->nulls == NULLS_FIRST ? " NULLS FIRST" : " NULLS LAST");
	}
	return true;
}

static void
write_number(const Scope *scope, Buffer *sql, const char *word, long long number)
{
	char digits[24];

	snprintf(digits, sizeof(digits), "%lld", number);
	buffer_add_format(sql, " %s $%d::pg_catalog.int8", word, bind_text(scope, digits));
}

static void
write_limits(const Scope *scope, Buffer *sql)
{
	long long limit = scope->level->limit;
	long long most = scope->statement->max_rows;

	if (most > 0 && (limit < 0 || limit > most))
		limit = most;
	if (limit >= 0)
		write_number(scope, sql, "LIMIT", limit);
	if (scope->level->offset > 0)
		write_number(scope, sql, "OFFSET", scope->level->offset);
}

/* --- a level -------------------------------------------------------------------------------- */

static void
write_value(const Scope *scope, Buffer *list, const RestItem *item)
{
	buffer_add_text(list, item->cast ? "CAST(" : "");
	write_field(scope, list, &item->field);
	end_cast(list, item->cast);
}

/* Of rows without a field, that they are there. */
static void
write_raw(const Scope *scope, const RestItem *item, Buffer *list)
{
	if (item->field.name)
		write_value(scope, list, item);
	else
		buffer_add_text(list, "true");
	buffer_add_text(list, " AS ");
	rest_write_raw_name(list, item);
}

static void
write_item(const Scope *scope, const RestItem *item, Parts *parts)
{
	Buffer *list = &parts->list;

	rest_begin_column(parts, item->aggregate == NULL);
	if (item->aggregate && scope->is_spread)
	{
		write_raw(scope, item, list);
		return;
	}
	if (item->kind == ITEM_ALL)
	{
		buffer_add_format(list, "\"t%d\".*", scope->number);
		for (int i = 1; scope->relation && i < scope->relation->column_count; i++)
			buffer_add_format(&parts->groups, ", %d", ++parts->columns);
		return;
	}
	if (item->aggregate)
		rest_begin_aggregate(list, item);
	if (item->field.name)
		write_value(scope, list, item);
	else
		buffer_add_char(list, '*');
	if (item->aggregate)
	{
		rest_end_aggregate(list, item);
		return;
	}
	buffer_add_text(list, " AS ");
	buffer_add_identifier(list, rest_item_name(item));
}

static bool
write_items(Scope *scope, Parts *parts)
{
	const RestLevel *level = scope->level;
	int embeddings = 0;

	if (level->items == NULL && !level->nothing && !scope->counts)
		buffer_add_format(&parts->list, "\"t%d\".*", scope->number);
	for (const RestItem *item = level->items; item; item = item->next)
	{
		if (item->kind != ITEM_EMBED)
		{
			if (!scope->counts)
				write_item(scope, item, parts);
			continue;
		}
		if (embeddings == 64)
			return rest_refuse(scope->statement, 400, "PGRST100", "Too many embeddings");
		if ((!scope->counts || rest_counts_for_rows(level, item)) &&
			!rest_write_embed(scope, item, embeddings, parts))
			return false;
		embeddings++;
	}
	return true;
}

/* "SELECT ... FROM from WHERE condition AND filters ..." */
bool
rest_write_level(Scope *scope, const char *from, const char *condition, Buffer *sql)
{
	Parts parts = {0};
	bool good;

	buffer_add_text(&parts.from, from);
	buffer_add_text(&parts.where, condition);
	good = write_items(scope, &parts);
	if (good)
	{
		rest_write_filters(scope, &parts.where);
		buffer_add_format(sql, "SELECT %s FROM %s",
						  scope->counts ? "" : buffer_text(&parts.list),
						  buffer_text(&parts.from));
		if (parts.where.length)
			buffer_add_format(sql, " WHERE %s", buffer_text(&parts.where));
		if (!scope->counts && scope->level->aggregates && !scope->is_spread &&
			parts.groups.length)
			buffer_add_format(sql, " GROUP BY %s", buffer_text(&parts.groups));
		if (!scope->counts)
		{
			good = write_order(scope, sql);
			write_limits(scope, sql);
		}
	}
	buffer_free(&parts.list);
	buffer_free(&parts.from);
	buffer_free(&parts.where);
	buffer_free(&parts.groups);
	return good;
}

/* --- statements that read ------------------------------------------------------------------ */

bool
rest_write_top(RestStatement *statement, const RestSource *source, bool counts,
			   Buffer *sql)
{
	Scope scope = {.statement = statement,
				   .level = &statement->query->top,
				   .relation = source->relation,
				   .counts = counts};
	char *from = text_format("%s AS \"t0\"", source->from);
	bool good = rest_write_level(&scope, from, "", sql);

	free(from);
	return good;
}

static const char *const row_texts[] = {
	[SHAPE_JSON] = "pg_catalog.row_to_json(\"r\".*)::pg_catalog.text",
	[SHAPE_STRIPPED] =
		"pg_catalog.json_strip_nulls(pg_catalog.row_to_json(\"r\".*))::pg_catalog.text",
	[SHAPE_COLUMNS] = "\"r\".*",
};

bool
rest_write_select(RestStatement *statement, const RestSource *source, RestShape shape)
{
	buffer_add_format(statement->sql, "SELECT %s FROM (", row_texts[shape]);
	if (!rest_write_top(statement, source, false, statement->sql))
		return false;
	buffer_add_text(statement->sql, ") AS \"r\"");
	return true;
}

bool
rest_write_count(RestStatement *statement, const RestSource *source, long long most)
{
	buffer_add_text(statement->sql, "SELECT pg_catalog.count(*)::pg_catalog.text FROM (");
	if (!rest_write_top(statement, source, true, statement->sql))
		return false;
	if (most > 0)
		buffer_add_format(statement->sql, " LIMIT %lld", most);
	buffer_add_text(statement->sql, ") AS \"r\"");
	return true;
}

bool
rest_write_estimate(RestStatement *statement, const RestSource *source)
{
	buffer_add_text(statement->sql, "EXPLAIN (FORMAT JSON) ");
	return rest_write_top(statement, source, true, statement->sql);
}
