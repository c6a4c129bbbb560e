/*
 * rest_way.c
 *		How one relation leads to another: foreign keys, both ways and across junctions.
 */
#include "rest_sql_int.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"

/* --- problems ---------------------------------------------------------------------- */

void
rest_problem_free(RestProblem *problem)
{
	free(problem->message);
	free(problem->detail);
	free(problem->hint);
	memset(problem, 0, sizeof(*problem));
}

bool
rest_refuse(RestStatement *statement, int status, const char *code, const char *format,
			...)
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

/* --- ways --------------------------------------------------------------------------- */

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
		search->found[search->count++] =
			(Way){kind, target, link, far_link, forward, NULL};
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

	rest_refuse(
		statement, 300, "PGRST201",
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

/* A function of that name that takes one of our rows and gives a relation's. */
static bool
find_function(RestStatement *statement, const CatalogRelation *origin,
			  const RestItem *item, Way *way)
{
	int count;
	const CatalogFunction *functions = catalog_functions(statement->catalog, &count);
	int number = catalog_number(statement->catalog, origin);

	for (int i = 0; i < count; i++)
	{
		const CatalogFunction *function = &functions[i];

		if (function->row_of != number || function->relation < 0 ||
			strcmp(function->name, item->relation) != 0)
			continue;
		*way = (Way){.kind = function->gives_one ? LINK_TO_ONE : LINK_TO_MANY,
					 .target = catalog_numbered(statement->catalog, function->relation),
					 .function = function};
		return true;
	}
	return false;
}

bool
rest_find_way(RestStatement *statement, const CatalogRelation *origin,
			  const RestItem *item, Way *way)
{
	Search search = {.item = item, .origin = origin};
	int count;
	const CatalogLink *links = catalog_links(statement->catalog, &count);

	if (origin && find_function(statement, origin, item, way))
		return true;
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
	rest_refuse(statement, 400, "PGRST200",
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
