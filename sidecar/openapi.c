/*
 * openapi.c
 *		GET /: what is served, as an OpenAPI 2.0 document.
 *
 * To each role what it may use: the database is asked, as that role.
 */
#include "openapi.h"

#include <stdlib.h>
#include <string.h>

#include "catalog.h"
#include "rest.h"
#include "route.h"
#include "text.h"

#define OPENAPI_TYPE "application/openapi+json; charset=utf-8"

/* By relation what its caller may do: r, i, u, d; and the functions that it may call. */
static const char rights_sql[] =
	"SELECT pg_catalog.json_build_object("
	" 'relations', (SELECT pg_catalog.json_object_agg(c.relname, pg_catalog.concat("
	"   CASE WHEN pg_catalog.has_any_column_privilege(c.oid, 'SELECT') THEN 'r' END,"
	"   CASE WHEN pg_catalog.has_any_column_privilege(c.oid, 'INSERT') THEN 'i' END,"
	"   CASE WHEN pg_catalog.has_any_column_privilege(c.oid, 'UPDATE') THEN 'u' END,"
	"   CASE WHEN pg_catalog.has_table_privilege(c.oid, 'DELETE') THEN 'd' END))"
	"  FROM pg_catalog.pg_class c WHERE c.relnamespace = n.oid"
	"   AND c.relkind IN ('r', 'v', 'm', 'f', 'p')),"
	" 'functions', (SELECT pg_catalog.json_object_agg(DISTINCT p.proname, true)"
	"  FROM pg_catalog.pg_proc p WHERE p.pronamespace = n.oid"
	"   AND pg_catalog.has_function_privilege(p.oid, 'EXECUTE')))::pg_catalog.text"
	" FROM pg_catalog.pg_namespace n WHERE n.nspname = $2"
	" AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')";

/* JSON's type of a column's type; text for all others. */
static const char *const json_types[][2] = {
	{"int2", "integer"},   {"int4", "integer"},  {"int8", "integer"},
	{"oid", "integer"},    {"float4", "number"}, {"float8", "number"},
	{"numeric", "number"}, {"bool", "boolean"},  {"json", ""},
	{"jsonb", ""},
};

static void
set_type(json_t *schema, const char *base, const char *format)
{
	const char *type = base[0] == '_' ? "array" : "string";

	for (size_t i = 0; i < sizeof(json_types) / sizeof(json_types[0]); i++)
		if (strcmp(json_types[i][0], base) == 0)
			type = json_types[i][1];
	if (*type)
		json_object_set_new(schema, "type", json_string(type));
	if (strcmp(type, "array") == 0)
		json_object_set_new(schema, "items", json_object());
	json_object_set_new(schema, "format", json_string(format));
}

/*
 * The column's comment, and behind it what PostgREST's tools read: whether it is of the
 * primary key, and what it refers to.  NULL for nothing; the caller frees.
 */
static char *
describe_column(const Catalog *catalog, const CatalogRelation *relation, int index)
{
	const CatalogColumn *column = &relation->columns[index];
	Buffer text = {0};
	int count;
	const CatalogLink *links = catalog_links(catalog, &count);

	if (column->comment)
		buffer_add_format(&text, "%s\n\n", column->comment);
	if (column->is_key)
		buffer_add_text(&text, "Note:\nThis is a Primary Key.<pk/>");
	for (int i = 0; i < count; i++)
	{
		const CatalogRelation *to = catalog_numbered(catalog, links[i].to);
		const char *target;

		if (links[i].from != catalog_number(catalog, relation) || links[i].count != 1 ||
			links[i].from_columns[0] != index)
			continue;
		target = to->columns[links[i].to_columns[0]].name;
		buffer_add_format(&text,
						  "%sThis is a Foreign Key to `%s.%s`.<fk table='%s' "
						  "column='%s'/>",
						  column->is_key ? "\n" : "Note:\n", to->name, target, to->name,
						  target);
		break;
	}
	return text.length ? buffer_detach(&text) : NULL;
}

static json_t *
describe_relation(const Catalog *catalog, const CatalogRelation *relation)
{
	json_t *properties = json_object();
	json_t *required = json_array();
	json_t *definition;

	for (int i = 0; i < relation->column_count; i++)
	{
		const CatalogColumn *column = &relation->columns[i];
		json_t *property = json_object();
		char *description = describe_column(catalog, relation, i);

		set_type(property, column->base, column->format);
		if (description)
			json_object_set_new(property, "description", json_string(description));
		free(description);
		if (column->otherwise)
			json_object_set_new(property, "default", json_string(column->otherwise));
		json_object_set_new(properties, column->name, property);
		if (column->required)
			json_array_append_new(required, json_string(column->name));
	}
	definition = json_pack("{s:s, s:o}", "type", "object", "properties", properties);
	if (json_array_size(required) > 0)
		json_object_set(definition, "required", required);
	json_decref(required);
	if (relation->comment)
		json_object_set_new(definition, "description", json_string(relation->comment));
	return definition;
}

static json_t *
parameter(const char *name, const char *in, const char *type)
{
	return json_pack("{s:s, s:s, s:s, s:b}", "name", name, "in", in, "type", type,
					 "required", 0);
}

static json_t *
operation(const char *name, const char *status, const char *description,
		  json_t *parameters)
{
	return json_pack("{s:[s], s:{s:{s:s}}, s:o}", "tags", name, "responses", status,
					 "description", description, "parameters", parameters);
}

static json_t *
row_parameters(const CatalogRelation *relation, bool body)
{
	static const char *const common[] = {"select", "order", "limit", "offset"};
	json_t *list = json_array();

	for (int i = 0; i < relation->column_count; i++)
		json_array_append_new(list,
							  parameter(relation->columns[i].name, "query", "string"));
	for (size_t i = 0; !body && i < sizeof(common) / sizeof(common[0]); i++)
		json_array_append_new(list, parameter(common[i], "query", "string"));
	if (body)
	{
		char *reference = text_format("#/definitions/%s", relation->name);

		json_array_append_new(list, json_pack("{s:s, s:s, s:{s:s}}", "name", "body", "in",
											  "body", "schema", "$ref", reference));
		free(reference);
	}
	json_array_append_new(list, parameter("Prefer", "header", "string"));
	return list;
}

/* Each with what of it the role may do. */
static json_t *
describe_paths(const CatalogRelation *relation, const char *rights)
{
	json_t *path = json_object();
	const char *name = relation->name;

	if (strchr(rights, 'r'))
		json_object_set_new(path, "get",
							operation(name, "200", "OK",
									  row_parameters(relation, false)));
	if (relation->may_insert && strchr(rights, 'i'))
		json_object_set_new(path, "post",
							operation(name, "201", "Created",
									  row_parameters(relation, true)));
	if (relation->may_update && strchr(rights, 'u'))
		json_object_set_new(path, "patch",
							operation(name, "204", "No Content",
									  row_parameters(relation, true)));
	if (relation->may_delete && strchr(rights, 'd'))
		json_object_set_new(path, "delete",
							operation(name, "204", "No Content",
									  row_parameters(relation, false)));
	return path;
}

static json_t *
describe_function(const CatalogFunction *function)
{
	json_t *properties = json_object();
	json_t *required = json_array();
	json_t *queries = json_array();
	json_t *path = json_object();
	json_t *body;
	char *tag = text_format("(rpc) %s", function->name);

	for (int i = 0; i < function->argument_count; i++)
	{
		const CatalogArgument *argument = &function->arguments[i];

		json_object_set_new(properties, argument->name,
							json_pack("{s:s}", "format", argument->type));
		json_array_append_new(queries, parameter(argument->name, "query", "string"));
		if (argument->required)
			json_array_append_new(required, json_string(argument->name));
	}
	body = json_pack("{s:s, s:s, s:b, s:{s:s, s:o}}", "name", "args", "in", "body",
					 "required", 1, "schema", "type", "object", "properties", properties);
	if (json_array_size(required) > 0)
		json_object_set(json_object_get(body, "schema"), "required", required);
	json_decref(required);
	json_object_set_new(path, "post",
						operation(tag, "200",
								  function->comment ? function->comment : "OK",
								  json_pack("[o]", body)));
	if (!function->may_write)
		json_object_set_new(path, "get", operation(tag, "200", "OK", queries));
	else
		json_decref(queries);
	free(tag);
	return path;
}

/* A route of the engine: a JSON object in, our envelope out. */
static void
add_route(const char *method, const char *path, bool prefix, const char *service,
		  void *context)
{
	json_t *paths = context;
	bool posts = strcmp(method, "POST") == 0;
	char *full = text_format("%s%s", path, prefix ? "{id}" : "");
	json_t *at = json_object_get(paths, full);
	json_t *parameters = json_array();

	if (prefix)
		json_array_append_new(parameters,
							  json_pack("{s:s, s:s, s:s, s:b}", "name", "id", "in",
										"path", "type", "string", "required", 1));
	if (posts)
		json_array_append_new(parameters, json_pack("{s:s, s:s, s:b, s:{s:s}}", "name",
													"body", "in", "body", "required", 1,
													"schema", "type", "object"));
	if (at == NULL)
	{
		at = json_object();
		json_object_set_new(paths, full, at);
	}
	json_object_set_new(at, posts ? "post" : "get",
						operation(service, "200", "OK", parameters));
	free(full);
}

static void
add_path(json_t *paths, const char *prefix, const char *name, json_t *path)
{
	char *full = text_format("%s%s", prefix, name);

	/* Names that are overloaded have one path: the first. */
	if (json_object_get(paths, full))
		json_decref(path);
	else
		json_object_set_new(paths, full, path);
	free(full);
}

static void
add_relations(const Catalog *catalog, const char *schema, const json_t *rights,
			  json_t *paths, json_t *definitions)
{
	int count;
	const CatalogRelation *relations = catalog_relations(catalog, &count);

	for (int i = 0; i < count; i++)
	{
		const CatalogRelation *relation = &relations[i];
		const char *may = json_string_value(json_object_get(rights, relation->name));

		if (strcmp(relation->schema, schema) != 0 || may == NULL || *may == '\0')
			continue;
		json_object_set_new(definitions, relation->name,
							describe_relation(catalog, relation));
		add_path(paths, "/", relation->name, describe_paths(relation, may));
	}
}

static void
add_functions(const Catalog *catalog, const char *schema, const json_t *rights,
			  json_t *paths)
{
	int count;
	const CatalogFunction *functions = catalog_functions(catalog, &count);

	for (int i = 0; i < count; i++)
		if (strcmp(functions[i].schema, schema) == 0 &&
			json_object_get(rights, functions[i].name))
			add_path(paths, "/rpc/", functions[i].name, describe_function(&functions[i]));
}

/* The rights are there: none where the schema itself is closed to the role. */
static void
describe(Exchange *exchange, CallOutcome *outcome)
{
	const Catalog *catalog = exchange->factoryd->catalog;
	const char *schema = exchange->values.items[0];
	json_t *rights = PQntuples(outcome->result) == 1
						 ? json_loads(PQgetvalue(outcome->result, 0, 0), 0, NULL)
						 : NULL;
	json_t *paths = json_object();
	json_t *definitions = json_object();
	json_t *document;
	char *text;

	add_relations(catalog, schema, json_object_get(rights, "relations"), paths,
				  definitions);
	add_functions(catalog, schema, json_object_get(rights, "functions"), paths);
	json_decref(rights);
	route_each(add_route, paths);
	document =
		json_pack("{s:s, s:{s:s, s:s, s:s}, s:s, s:[s, s, s], s:[s, s, s], s:o, s:o}",
				  "swagger", "2.0", "info", "title", "pg_factory", "description",
				  "What factoryd serves.", "version", FACTORYD_VERSION, "basePath", "/",
				  "consumes", "application/json", "application/vnd.pgrst.object+json",
				  "text/csv", "produces", "application/json",
				  "application/vnd.pgrst.object+json", "text/csv", "paths", paths,
				  "definitions", definitions);
	text = json_dumps(document, JSON_COMPACT);
	json_decref(document);
	exchange_reply_text(exchange, 200, OPENAPI_TYPE, text);
	free(text);
}

void
openapi_describe(Exchange *exchange)
{
	const char *schema;
	int count;

	if (!rest_profile(exchange, &schema))
		return;
	if (schema == NULL)
		schema = catalog_schemas(exchange->factoryd->catalog, &count)[0];
	values_take(&exchange->values, text_copy(schema));
	exchange->call.main.sql = rights_sql;
	exchange->call.read_only = true;
	exchange->reads = true;
	exchange->answer = describe;
	exchange_run(exchange);
}
