/*
 * rest_sql.c
 *		The statement for what a query of PostgREST's conventions asks.
 *
 * A level of the query is a SELECT of its own; what is embedded in it is joined
 * LATERAL, so limits and orders of each level hold.  Relations are called t0, t1, ...
 * and joins e1, e2, ...: names of a client's appear only as columns, in quotes.
 */
#include "rest_sql.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"

#define SOURCE "factoryd_source"

/* The parts of a SELECT, written side by side. */
typedef struct Parts
{
	Buffer list;
	Buffer from;
	Buffer where;
} Parts;

typedef struct Scope
{
	RestStatement *statement;
	const RestLevel *level;
	const CatalogRelation *relation; /* or NULL */
	int number;                      /* of t */
	bool counts;                     /* only how many rows */
	int joins[64];                   /* number of e for each embedding, in order */
} Scope;

typedef enum LinkKind
{
	LINK_TO_ONE,
	LINK_TO_MANY,
	LINK_ACROSS /* many to many, by a junction */
} LinkKind;

/* How one relation leads to another. */
typedef struct Way
{
	LinkKind kind;
	const CatalogRelation *target;
	const CatalogLink *link;     /* ours, theirs, or across: the junction's to us */
	const CatalogLink *far_link; /* across: the junction's to them */
	bool forward;                /* the link is ours */
} Way;

static bool write_level(Scope *scope, const char *from, const char *condition,
						Buffer *sql);

/* --- problems ---------------------------------------------------------------------- */

void
rest_problem_free(RestProblem *problem)
{
	free(problem->message);
	free(problem->detail);
	free(problem->hint);
	memset(problem, 0, sizeof(*problem));
}

static bool __attribute__((format(printf, 4, 5)))
refuse(RestStatement *statement, int status, const char *code, const char *format, ...)
{
	RestProblem *problem = statement->problem;
	va_list arguments;

	rest_problem_free(problem);
	problem->status = status;
	problem->code = code;
	va_start(arguments, format);
	if (vasprintf(&problem->message, format, arguments) < 0)
		abort();
	va_end(arguments);
	return false;
}

/* --- ways from one relation to another ------------------------------------------------ */

static bool
name_is(const char *wanted, const char *name)
{
	return wanted && strcmp(wanted, name) == 0;
}

/* Whether a hint means this link: by its constraint, a column of it, or a relation. */
static bool
hint_fits(const Catalog *catalog, const char *hint, const CatalogLink *link,
		  const CatalogRelation *junction)
{
	const CatalogRelation *from = catalog_numbered(catalog, link->from);
	const CatalogRelation *to = catalog_numbered(catalog, link->to);

	if (hint == NULL || name_is(hint, link->name) ||
		(junction && name_is(hint, junction->name)))
		return true;
	return link->count == 1 &&
		   (name_is(hint, from->columns[link->from_columns[0]].name) ||
			name_is(hint, to->columns[link->to_columns[0]].name));
}

typedef struct Search
{
	const RestItem *item;
	const CatalogRelation *origin;
	Way found[8];
	int count;
} Search;

static void
add_way(Search *search, LinkKind kind, const CatalogRelation *target,
		const CatalogLink *link, const CatalogLink *far_link, bool forward)
{
	if (search->count < 8)
		search->found[search->count++] = (Way){kind, target, link, far_link, forward};
}

/*
 * A foreign key of ours, or to us.  What is asked for may be its name or column too.
 * Where it leads from a relation to itself, its column means the one row that it names
 * and its constraint the rows that name ours.
 */
static void
try_link(const Catalog *catalog, Search *search, const CatalogLink *link)
{
	const CatalogRelation *from = catalog_numbered(catalog, link->from);
	const CatalogRelation *to = catalog_numbered(catalog, link->to);
	const RestItem *item = search->item;
	const char *column =
		link->count == 1 ? from->columns[link->from_columns[0]].name : "";
	bool forward = name_is(item->relation, to->name) ||
				   name_is(item->relation, link->name) || name_is(item->relation, column);
	bool backward = name_is(item->relation, from->name) ||
					(from != to && name_is(item->relation, link->name));

	if (from == to && item->hint)
	{
		forward = forward && name_is(item->hint, column);
		backward = backward && name_is(item->hint, link->name);
	}
	if (from == search->origin && forward && hint_fits(catalog, item->hint, link, NULL))
		add_way(search, LINK_TO_ONE, to, link, NULL, true);
	if (to == search->origin && backward && hint_fits(catalog, item->hint, link, NULL))
		add_way(search, link->is_unique ? LINK_TO_ONE : LINK_TO_MANY, from, link, NULL,
				false);
}

static void
try_junctions(const Catalog *catalog, Search *search)
{
	int count;
	const CatalogLink *links = catalog_links(catalog, &count);
	int origin = catalog_number(catalog, search->origin);

	for (int i = 0; i < count; i++)
		for (int j = 0; links[i].to == origin && links[i].is_in_key && j < count; j++)
		{
			const CatalogRelation *target = catalog_numbered(catalog, links[j].to);
			const CatalogRelation *junction = catalog_numbered(catalog, links[j].from);

			if (i == j || links[j].from != links[i].from || !links[j].is_in_key ||
				!name_is(search->item->relation, target->name))
				continue;
			if (hint_fits(catalog, search->item->hint, &links[j], junction) ||
				hint_fits(catalog, search->item->hint, &links[i], junction))
				add_way(search, LINK_ACROSS, target, &links[i], &links[j], false);
		}
}

static const char *
cardinality(const Way *way)
{
	if (way->kind == LINK_ACROSS)
		return "many-to-many";
	if (way->kind == LINK_TO_MANY)
		return "one-to-many";
	return way->forward ? "many-to-one" : "one-to-one";
}

static bool
refuse_ambiguous(RestStatement *statement, const Search *search)
{
	Buffer detail = {0};
	Buffer hint = {0};

	refuse(statement, 300, "PGRST201",
		   "Could not embed because more than one relationship was found for '%s' and "
		   "'%s'",
		   search->origin->name, search->item->relation);
	buffer_add_char(&detail, '[');
	buffer_add_format(&hint, "Try changing '%s' to one of the following: ",
					  search->item->relation);
	for (int i = 0; i < search->count; i++)
	{
		const Way *way = &search->found[i];

		buffer_add_text(&detail, i ? "," : "");
		buffer_add_text(&detail, "{\"cardinality\":");
		buffer_add_json(&detail, cardinality(way));
		buffer_add_text(&detail, ",\"relationship\":");
		buffer_add_json(&detail, way->link->name);
		buffer_add_text(&detail, ",\"embedding\":");
		buffer_add_json(&detail, way->target->name);
		buffer_add_char(&detail, '}');
		buffer_add_format(
			&hint, "%s'%s!%s'", i ? ", " : "", search->item->relation,
			way->kind == LINK_ACROSS
				? catalog_numbered(statement->catalog, way->link->from)->name
				: way->link->name);
	}
	buffer_add_char(&detail, ']');
	statement->problem->detail = buffer_detach(&detail);
	statement->problem->hint = buffer_detach(&hint);
	return false;
}

static bool
find_way(RestStatement *statement, const CatalogRelation *origin, const RestItem *item,
		 Way *way)
{
	Search search = {.item = item, .origin = origin};
	int count;
	const CatalogLink *links = catalog_links(statement->catalog, &count);

	for (int i = 0; origin && i < count; i++)
		try_link(statement->catalog, &search, &links[i]);
	if (origin && (search.count == 0 || item->hint))
		try_junctions(statement->catalog, &search);
	if (search.count > 1)
		return refuse_ambiguous(statement, &search);
	if (search.count == 1)
	{
		*way = search.found[0];
		return true;
	}
	refuse(statement, 400, "PGRST200",
		   "Could not find a relationship between '%s' and '%s' in the schema cache",
		   origin ? origin->name : "the function's rows", item->relation);
	statement->problem->detail =
		text_format("Searched for a foreign key relationship between '%s' and '%s'%s%s%s "
					"in the schema "
					"'%s', but no matches were found.",
					origin ? origin->name : "the function's rows", item->relation,
					item->hint ? " using the hint '" : "", item->hint ? item->hint : "",
					item->hint ? "'" : "", origin ? origin->schema : "");
	return false;
}

/* --- fields ------------------------------------------------------------------------------ */

static void
write_column(Buffer *sql, int number, const char *column)
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
	write_column(sql, scope->number, field->name);
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
static const char *
name_of(const RestItem *item)
{
	const char *name = item->field.name;

	if (item->alias)
		return item->alias;
	for (const RestStep *step = item->field.path; step; step = step->next)
		if (!step->is_index)
			name = step->key;
	return name;
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

static void
write_filters(const Scope *scope, Buffer *where)
{
	for (const RestLogic *filter = scope->level->filters; filter; filter = filter->next)
	{
		buffer_add_text(where, where->length ? " AND " : "");
		write_logic(scope, where, filter);
	}
}

/* --- embedding -------------------------------------------------------------------------- */

static void
write_equal(Buffer *sql, int left, const CatalogRelation *left_relation, int left_column,
			int right, const CatalogRelation *right_relation, int right_column)
{
	buffer_add_text(sql, sql->length ? " AND " : "");
	write_column(sql, left, left_relation->columns[left_column].name);
	buffer_add_text(sql, " = ");
	write_column(sql, right, right_relation->columns[right_column].name);
}

/* From what and on which condition the target's rows come, for a row of the origin. */
static void
write_way(RestStatement *statement, const Scope *origin, const Way *way, int target,
		  Buffer *from, Buffer *condition)
{
	const CatalogLink *link = way->link;
	const CatalogRelation *ours = origin->relation;
	const CatalogRelation *junction;
	bool forward = way->forward;
	int between;

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

static void
begin_list(Buffer *list)
{
	buffer_add_text(list, list->length ? ", " : "");
}

/* The columns of what is spread, as columns of the level it is spread into. */
static void
write_spread(const RestItem *item, const CatalogRelation *target, int join, Buffer *list)
{
	const RestItem *one = item->level->items;

	for (int i = 0; (one == NULL || one->kind == ITEM_ALL) && i < target->column_count;
		 i++)
	{
		begin_list(list);
		buffer_add_format(list, "\"e%d\".", join);
		buffer_add_identifier(list, target->columns[i].name);
	}
	for (; one; one = one->next)
	{
		if (one->kind == ITEM_ALL)
			continue;
		begin_list(list);
		buffer_add_format(list, "\"e%d\".", join);
		buffer_add_identifier(list, one->kind == ITEM_EMBED && !one->alias
										? one->relation
										: name_of(one));
	}
}

static void
write_join(const RestItem *item, const Way *way, int join, const Buffer *rows,
		   Parts *parts)
{
	const char *name = item->alias ? item->alias : item->relation;
	bool many = way->kind != LINK_TO_ONE;

	buffer_add_text(&parts->from,
					item->inner ? " INNER JOIN LATERAL (" : " LEFT JOIN LATERAL (");
	if (many)
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
		write_spread(item, way->target, join, &parts->list);
		return;
	}
	begin_list(&parts->list);
	buffer_add_format(
		&parts->list,
		many ? "coalesce(\"e%d\".\"factoryd_rows\", '[]'::pg_catalog.json) AS "
			 : "\"e%d\".\"factoryd_one\" AS ",
		join);
	buffer_add_identifier(&parts->list, name);
}

static bool
write_embed(Scope *scope, const RestItem *item, int index, Parts *parts)
{
	RestStatement *statement = scope->statement;
	Scope inner = {.statement = statement, .level = item->level};
	Buffer from = {0};
	Buffer condition = {0};
	Buffer rows = {0};
	Way way;
	bool good;

	if (!find_way(statement, scope->relation, item, &way))
		return false;
	if (item->spread && way.kind != LINK_TO_ONE)
		return refuse(statement, 400, "PGRST119",
					  "A spread operation on '%s' is not possible: it is not to-one",
					  item->relation);
	inner.relation = way.target;
	inner.number = ++statement->names;
	scope->joins[index] = inner.number;
	write_way(statement, scope, &way, inner.number, &from, &condition);
	good = write_level(&inner, buffer_text(&from), buffer_text(&condition), &rows);
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
		write_join(item, &way, inner.number, &rows, parts);
	buffer_free(&from);
	buffer_free(&condition);
	buffer_free(&rows);
	return good;
}

/* Whether the rows that are counted depend on an embedding. */
static bool
counts_for_rows(const RestLevel *level, const RestItem *item)
{
	const char *name = item->alias ? item->alias : item->relation;

	if (item->inner)
		return true;
	for (const RestLogic *filter = level->filters; filter; filter = filter->next)
		if (filter->kind != LOGIC_CONDITION || strcmp(filter->field.name, name) == 0)
			return true;
	return false;
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
		return refuse(statement, 400, "PGRST108",
					  "'%s' is not an embedded resource in this request",
					  order->relation);
	if (!find_way(statement, scope->relation, item, &way))
		return false;
	if (way.kind != LINK_TO_ONE)
	{
		refuse(statement, 400, "PGRST118", "A related order on '%s' is not possible",
			   order->relation);
		statement->problem->detail = text_format(
			"'%s' and '%s' do not form a many-to-one or one-to-one relationship",
			scope->relation->name, order->relation);
		return false;
	}
	inner.relation = way.target;
	inner.number = ++statement->names;
	write_way(statement, scope, &way, inner.number, &from, &condition);
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
write_item(const Scope *scope, const RestItem *item, Buffer *list)
{
	begin_list(list);
	if (item->kind == ITEM_ALL)
	{
		buffer_add_format(list, "\"t%d\".*", scope->number);
		return;
	}
	buffer_add_text(list, item->cast ? "CAST(" : "");
	write_field(scope, list, &item->field);
	if (item->cast)
	{
		buffer_add_text(list, " AS ");
		write_type(list, item->cast);
		buffer_add_char(list, ')');
	}
	buffer_add_text(list, " AS ");
	buffer_add_identifier(list, name_of(item));
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
				write_item(scope, item, &parts->list);
			continue;
		}
		if (embeddings == 64)
			return refuse(scope->statement, 400, "PGRST100", "Too many embeddings");
		if ((!scope->counts || counts_for_rows(level, item)) &&
			!write_embed(scope, item, embeddings, parts))
			return false;
		embeddings++;
	}
	return true;
}

/* "SELECT ... FROM from WHERE condition AND filters ..." */
static bool
write_level(Scope *scope, const char *from, const char *condition, Buffer *sql)
{
	Parts parts = {{0}, {0}, {0}};
	bool good;

	buffer_add_text(&parts.from, from);
	buffer_add_text(&parts.where, condition);
	good = write_items(scope, &parts);
	if (good)
	{
		write_filters(scope, &parts.where);
		buffer_add_format(sql, "SELECT %s FROM %s",
						  scope->counts ? "" : buffer_text(&parts.list),
						  buffer_text(&parts.from));
		if (parts.where.length)
			buffer_add_format(sql, " WHERE %s", buffer_text(&parts.where));
		if (!scope->counts)
		{
			good = write_order(scope, sql);
			write_limits(scope, sql);
		}
	}
	buffer_free(&parts.list);
	buffer_free(&parts.from);
	buffer_free(&parts.where);
	return good;
}

/* --- statements that read ------------------------------------------------------------------ */

static bool
write_top(RestStatement *statement, const RestSource *source, bool counts, Buffer *sql)
{
	Scope scope = {statement, &statement->query->top, source->relation, 0, counts, {0}};
	char *from = text_format("%s AS \"t0\"", source->from);
	bool good = write_level(&scope, from, "", sql);

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
	if (!write_top(statement, source, false, statement->sql))
		return false;
	buffer_add_text(statement->sql, ") AS \"r\"");
	return true;
}

bool
rest_write_count(RestStatement *statement, const RestSource *source, long long most)
{
	buffer_add_text(statement->sql, "SELECT pg_catalog.count(*)::pg_catalog.text FROM (");
	if (!write_top(statement, source, true, statement->sql))
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
	return write_top(statement, source, true, statement->sql);
}

/* --- statements that write ------------------------------------------------------------------- */

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
			return refuse(statement, 400, "PGRST204",
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
	Scope given = {statement, &statement->query->top, relation, 0, false, {0}};
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
		write_filters(&given, &where);
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

	write_column(&one, 0, column);
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
			add_returned(list, item->field.name);
			continue;
		}
		if (!find_way(statement, relation, item, &way))
			return false;
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
	good = write_top(&inner, &source, false, sql);
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
	Scope scope = {statement, &statement->query->top, relation, 0, false, {0}};
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
		write_filters(&scope, &where);
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
