/*
 * catalog_read.c
 *		The document that the database makes of what is served, as structs.
 */
#include "catalog_int.h"

#include <stdlib.h>
#include <string.h>

#include "text.h"

static void
free_functions(Catalog *catalog)
{
	for (int i = 0; i < catalog->count; i++)
	{
		CatalogFunction *function = &catalog->functions[i];

		for (int j = 0; j < function->argument_count; j++)
		{
			free(function->arguments[j].name);
			free(function->arguments[j].type);
		}
		free(function->arguments);
		free(function->schema);
		free(function->name);
		free(function->quoted);
		free(function->returns);
		free(function->comment);
	}
	free(catalog->functions);
	catalog->functions = NULL;
	catalog->count = 0;
}

static void
free_relations(Catalog *catalog)
{
	for (int i = 0; i < catalog->relation_count; i++)
	{
		CatalogRelation *relation = &catalog->relations[i];

		for (int j = 0; j < relation->column_count; j++)
		{
			free(relation->columns[j].name);
			free(relation->columns[j].type);
			free(relation->columns[j].format);
			free(relation->columns[j].base);
			free(relation->columns[j].otherwise);
			free(relation->columns[j].comment);
		}
		free(relation->columns);
		free(relation->schema);
		free(relation->name);
		free(relation->quoted);
		free(relation->comment);
	}
	for (int i = 0; i < catalog->link_count; i++)
		free(catalog->links[i].name);
	free(catalog->relations);
	free(catalog->links);
	catalog->relations = NULL;
	catalog->links = NULL;
	catalog->relation_count = 0;
	catalog->link_count = 0;
}

bool
catalog_is_true(const json_t *object, const char *name)
{
	return json_is_true(json_object_get(object, name));
}

static char *
copy_of(const json_t *object, const char *name)
{
	return text_copy(json_string_value(json_object_get(object, name)));
}

/* The same, or NULL where it is null. */
static char *
copy_or_null(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text ? text_copy(text) : NULL;
}

/* "schema"."name" */
static char *
quote_both(const char *schema_name, const char *name)
{
	Buffer quoted = {0};

	buffer_add_identifier(&quoted, schema_name);
	buffer_add_char(&quoted, '.');
	buffer_add_identifier(&quoted, name);
	return buffer_detach(&quoted);
}

static void
read_function(CatalogFunction *function, const json_t *line)
{
	const json_t *arguments = json_object_get(line, "arguments");

	function->schema = copy_of(line, "schema");
	function->name = copy_of(line, "name");
	function->quoted = quote_both(function->schema, function->name);
	function->comment = copy_or_null(line, "comment");
	function->returns = copy_of(line, "returns");
	function->may_write = catalog_is_true(line, "may_write");
	function->is_set = catalog_is_true(line, "is_set");
	function->is_composite = catalog_is_true(line, "is_composite");
	function->is_void = catalog_is_true(line, "is_void");
	function->is_variadic = catalog_is_true(line, "is_variadic");
	function->gives_one = catalog_is_true(line, "gives_one");
	function->argument_count = (int) json_array_size(arguments);
	function->arguments =
		memory_new((function->argument_count + 1) * sizeof(CatalogArgument));
	for (int i = 0; i < function->argument_count; i++)
	{
		const json_t *argument = json_array_get(arguments, i);

		function->arguments[i].name = copy_of(argument, "name");
		function->arguments[i].type = copy_of(argument, "type");
		function->arguments[i].required = catalog_is_true(argument, "required");
	}
}

static void
read_functions(Catalog *catalog, const json_t *lines)
{
	size_t count = json_array_size(lines);

	free_functions(catalog);
	catalog->functions = memory_new((count + 1) * sizeof(CatalogFunction));
	catalog->count = (int) count;
	for (size_t i = 0; i < count; i++)
		read_function(&catalog->functions[i], json_array_get(lines, i));
}

static void
read_column(CatalogColumn *column, const json_t *line)
{
	column->name = copy_of(line, "name");
	column->type = copy_of(line, "type");
	column->format = copy_of(line, "format");
	column->base = copy_of(line, "base");
	column->otherwise = copy_or_null(line, "default");
	column->comment = copy_or_null(line, "comment");
	column->required = catalog_is_true(line, "required");
	column->is_key = catalog_is_true(line, "key");
	column->is_generated = catalog_is_true(line, "generated");
}

static void
read_relation(CatalogRelation *relation, const json_t *line)
{
	const json_t *columns = json_object_get(line, "columns");

	relation->schema = copy_of(line, "schema");
	relation->name = copy_of(line, "name");
	relation->quoted = quote_both(relation->schema, relation->name);
	relation->comment = copy_or_null(line, "comment");
	relation->may_insert = catalog_is_true(line, "insert");
	relation->may_update = catalog_is_true(line, "update");
	relation->may_delete = catalog_is_true(line, "delete");
	relation->column_count = (int) json_array_size(columns);
	relation->columns = memory_new((relation->column_count + 1) * sizeof(CatalogColumn));
	for (int i = 0; i < relation->column_count; i++)
	{
		read_column(&relation->columns[i], json_array_get(columns, i));
		relation->key_count += relation->columns[i].is_key;
	}
}

/* The relation with that OID, or -1. */
static int
relation_with_oid(const json_t *lines, const char *oid)
{
	const json_t *line;
	size_t index;

	json_array_foreach(lines, index, line)
	{
		if (oid && strcmp(json_string_value(json_object_get(line, "oid")), oid) == 0)
			return (int) index;
	}
	return -1;
}

static bool
read_link_columns(const CatalogRelation *relation, const json_t *names, int *columns)
{
	const json_t *name;
	size_t index;

	json_array_foreach(names, index, name)
	{
		columns[index] = catalog_column(relation, json_string_value(name));
		if (columns[index] < 0)
			return false;
	}
	return true;
}

/* False where one of its ends is not served. */
static bool
read_link(const Catalog *catalog, const json_t *relations, CatalogLink *link,
		  const json_t *line)
{
	const json_t *from_columns = json_object_get(line, "from_columns");

	link->from =
		relation_with_oid(relations, json_string_value(json_object_get(line, "from")));
	link->to =
		relation_with_oid(relations, json_string_value(json_object_get(line, "to")));
	link->count = (int) json_array_size(from_columns);
	if (link->from < 0 || link->to < 0 || link->count > CATALOG_KEY_MOST)
		return false;
	link->is_unique = catalog_is_true(line, "unique");
	link->is_in_key = catalog_is_true(line, "in_key");
	if (!read_link_columns(&catalog->relations[link->from], from_columns,
						   link->from_columns) ||
		!read_link_columns(&catalog->relations[link->to],
						   json_object_get(line, "to_columns"), link->to_columns))
		return false;
	link->name = copy_of(line, "name");
	return true;
}

static void
read_relations(Catalog *catalog, const json_t *relations, const json_t *links)
{
	size_t count = json_array_size(relations);
	const json_t *line;
	size_t index;

	free_relations(catalog);
	catalog->relations = memory_new((count + 1) * sizeof(CatalogRelation));
	catalog->relation_count = (int) count;
	for (size_t i = 0; i < count; i++)
		read_relation(&catalog->relations[i], json_array_get(relations, i));
	catalog->links = memory_new((json_array_size(links) + 1) * sizeof(CatalogLink));
	json_array_foreach(links, index, line)
	{
		if (read_link(catalog, relations, &catalog->links[catalog->link_count], line))
			catalog->link_count++;
	}
}

/* What rows a function takes and returns, where they are a relation's. */
static void
connect_functions(Catalog *catalog, const json_t *functions, const json_t *relations)
{
	for (int i = 0; i < catalog->count; i++)
	{
		const json_t *line = json_array_get(functions, i);
		CatalogFunction *function = &catalog->functions[i];

		function->relation =
			relation_with_oid(relations,
							  json_string_value(json_object_get(line, "relation")));
		function->row_of =
			relation_with_oid(relations,
							  json_string_value(json_object_get(line, "row_of")));
	}
}

void
catalog_read(Catalog *catalog, const json_t *document)
{
	const json_t *functions = json_object_get(document, "functions");
	const json_t *relations = json_object_get(document, "relations");

	read_functions(catalog, functions);
	read_relations(catalog, relations, json_object_get(document, "links"));
	connect_functions(catalog, functions, relations);
}

void
catalog_empty(Catalog *catalog)
{
	free_functions(catalog);
	free_relations(catalog);
}
