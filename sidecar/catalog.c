/*
 * catalog.c
 *		The functions that /rpc serves, and whether we may serve at all.
 *
 * Read in one statement when the first connection comes up, on SIGHUP, and when a
 * function is asked for that is not in it (at most once a second).  The same
 * statement looks at the anonymous role: a superuser there ends factoryd.
 */
#include "catalog.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "exchange.h"
#include "log.h"
#include "pool.h"
#include "text.h"

#define FRESH_SECONDS 1

static const char catalog_sql[] =
	"SELECT pg_catalog.json_build_object("
	" 'anonymous', (SELECT pg_catalog.json_build_object('superuser', rolsuper,"
	"    'member', pg_catalog.pg_has_role(session_user, oid, 'MEMBER'))"
	"   FROM pg_catalog.pg_roles WHERE rolname = $2),"
	" 'functions', (SELECT pg_catalog.json_agg(found.line ORDER BY found.schema_position,"
	"    found.name, found.oid) FROM ("
	"  SELECT p.oid, p.proname AS name, s.position AS schema_position,"
	"   pg_catalog.json_build_object('schema', n.nspname, 'name', p.proname,"
	"    'may_write', p.provolatile = 'v', 'is_set', p.proretset,"
	"    'is_composite', t.typtype = 'c'"
	"     OR coalesce(p.proargmodes::text[] && '{t,b,o}'::text[], false),"
	"    'is_void', t.typname = 'void' AND t.typtype = 'p',"
	"    'is_variadic', p.provariadic <> 0,"
	"    'arguments', coalesce(a.list, '[]'::json)) AS line"
	"  FROM pg_catalog.unnest(pg_catalog.string_to_array($1, ',')) WITH ORDINALITY"
	"    AS s(name, position)"
	"  JOIN pg_catalog.pg_namespace n ON n.nspname = pg_catalog.btrim(s.name)"
	"  JOIN pg_catalog.pg_proc p ON p.pronamespace = n.oid"
	"  JOIN pg_catalog.pg_type t ON t.oid = p.prorettype"
	"  LEFT JOIN LATERAL ("
	"   SELECT pg_catalog.json_agg(pg_catalog.json_build_object("
	"     'name', coalesce(i.name, ''),"
	"     'type', pg_catalog.format('%I.%I', tn.nspname, at.typname),"
	"     'required', i.position <= p.pronargs - p.pronargdefaults) ORDER BY i.position) "
	"AS list,"
	"    pg_catalog.bool_or(at.typtype = 'p') AS has_pseudo"
	"   FROM (SELECT u.type, u.name,"
	"      pg_catalog.row_number() OVER (ORDER BY u.ordinality) AS position"
	"     FROM ROWS FROM ("
	"      pg_catalog.unnest(coalesce(p.proallargtypes, p.proargtypes::oid[])),"
	"      pg_catalog.unnest(p.proargnames), pg_catalog.unnest(p.proargmodes::text[]))"
	"      WITH ORDINALITY"
	"      AS u(type, name, mode, ordinality)"
	"     WHERE coalesce(u.mode, 'i') IN ('i', 'b', 'v')) AS i"
	"   JOIN pg_catalog.pg_type at ON at.oid = i.type"
	"   JOIN pg_catalog.pg_namespace tn ON tn.oid = at.typnamespace) AS a ON true"
	"  WHERE p.prokind = 'f' AND NOT coalesce(a.has_pseudo, false)"
	"   AND (t.typtype <> 'p' OR t.typname = 'void' OR (t.typname = 'record'"
	"     AND coalesce(p.proargmodes::text[] && '{t,b,o}'::text[], false)))"
	" ) AS found))::text";

struct Catalog
{
	Factoryd *factoryd;
	CatalogFunction *functions;
	int count;
	bool loaded;
	bool loading;
	time_t loaded_at;
	TAILQ_HEAD(, Exchange) waiting;
	const char *values[2];
	Call call;
};

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
	}
	free(catalog->functions);
	catalog->functions = NULL;
	catalog->count = 0;
}

static bool
is_true(const json_t *object, const char *name)
{
	return json_is_true(json_object_get(object, name));
}

static char *
copy_of(const json_t *object, const char *name)
{
	return text_copy(json_string_value(json_object_get(object, name)));
}

static void
read_function(CatalogFunction *function, const json_t *line)
{
	const json_t *arguments = json_object_get(line, "arguments");
	char *schema;
	char *name;

	function->schema = copy_of(line, "schema");
	function->name = copy_of(line, "name");
	schema = text_quote_identifier(function->schema);
	name = text_quote_identifier(function->name);
	function->quoted = text_format("%s.%s", schema, name);
	free(schema);
	free(name);
	function->may_write = is_true(line, "may_write");
	function->is_set = is_true(line, "is_set");
	function->is_composite = is_true(line, "is_composite");
	function->is_void = is_true(line, "is_void");
	function->is_variadic = is_true(line, "is_variadic");
	function->argument_count = (int) json_array_size(arguments);
	function->arguments =
		memory_new((function->argument_count + 1) * sizeof(CatalogArgument));
	for (int i = 0; i < function->argument_count; i++)
	{
		const json_t *argument = json_array_get(arguments, i);

		function->arguments[i].name = copy_of(argument, "name");
		function->arguments[i].type = copy_of(argument, "type");
		function->arguments[i].required = is_true(argument, "required");
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

/* Whether the anonymous role is one that strangers may have. */
static bool
anonymous_role_is_fit(const Catalog *catalog, const json_t *role)
{
	const char *name = catalog->factoryd->config->anon_role;

	if (*name == '\0')
		return true;
	if (!json_is_object(role))
	{
		log_error("role \"%s\" of FACTORYD_ANON_ROLE does not exist", name);
		log_hint("Run CREATE ROLE \"%s\" NOLOGIN and grant it what strangers may do.",
				 name);
		return false;
	}
	if (is_true(role, "superuser"))
	{
		log_error("role \"%s\" of FACTORYD_ANON_ROLE is a superuser", name);
		log_hint("Anybody who reaches the port would be one too; make a role that may do "
				 "little.");
		return false;
	}
	if (!is_true(role, "member"))
	{
		log_error("the user of FACTORYD_DATABASE is not a member of role \"%s\"", name);
		log_hint("Run GRANT \"%s\" TO that user, or choose another FACTORYD_ANON_ROLE.",
				 name);
		return false;
	}
	return true;
}

static void
wake_waiting(Catalog *catalog, const char *why)
{
	Exchange *exchange;

	while ((exchange = TAILQ_FIRST(&catalog->waiting)) != NULL)
	{
		TAILQ_REMOVE(&catalog->waiting, exchange, waiting);
		exchange->waits = false;
		if (catalog->loaded)
			exchange->resume(exchange);
		else
			exchange_reply_problem(exchange, 503,
								   exchange->style == STYLE_API
									   ? "ERR_SERVICE_UNAVAILABLE"
									   : "PGRST002",
								   "The database cannot be asked what it offers.", why,
								   "Try again soon.");
	}
}

static void
catalog_came(Call *call, CallOutcome *outcome)
{
	Catalog *catalog = call->owner;
	json_t *document = NULL;

	catalog->loading = false;
	if (outcome->fault == CALL_FINE)
		document = json_loads(PQgetvalue(outcome->result, 0, 0), 0, NULL);
	if (document == NULL)
	{
		if (outcome->fault != CALL_AWAY)
			log_error("could not read the functions to serve: %s", outcome->message);
		wake_waiting(catalog, outcome->message);
		return;
	}
	if (!anonymous_role_is_fit(catalog, json_object_get(document, "anonymous")))
	{
		factoryd_fail(catalog->factoryd);
		json_decref(document);
		return;
	}
	read_functions(catalog, json_object_get(document, "functions"));
	json_decref(document);
	catalog->loaded = true;
	catalog->loaded_at = time(NULL);
	wake_waiting(catalog, NULL);
}

void
catalog_reload(Catalog *catalog)
{
	Call *call = &catalog->call;

	if (catalog->loading)
		return;
	memset(call, 0, sizeof(*call));
	catalog->values[0] = catalog->factoryd->config->schemas;
	catalog->values[1] = catalog->factoryd->config->anon_role;
	call->main = (CallStatement){catalog_sql, catalog->values, 2};
	call->role = "none";
	call->claims = call->method = call->path = call->headers = "";
	call->read_only = true;
	call->urgent = true;
	call->done = catalog_came;
	call->owner = catalog;
	catalog->loading = true;
	pool_submit(catalog->factoryd->pool, call);
}

static void
wait_for_it(Catalog *catalog, Exchange *exchange)
{
	exchange->waits = true;
	TAILQ_INSERT_TAIL(&catalog->waiting, exchange, waiting);
	catalog_reload(catalog);
}

void
catalog_await(Catalog *catalog, Exchange *exchange)
{
	if (catalog->loaded)
		exchange->resume(exchange);
	else
		wait_for_it(catalog, exchange);
}

bool
catalog_await_newer(Catalog *catalog, Exchange *exchange)
{
	if (time(NULL) - catalog->loaded_at < FRESH_SECONDS)
		return false;
	wait_for_it(catalog, exchange);
	return true;
}

void
catalog_forget(Catalog *catalog, Exchange *exchange)
{
	TAILQ_REMOVE(&catalog->waiting, exchange, waiting);
	exchange->waits = false;
}

const CatalogFunction *
catalog_functions(const Catalog *catalog, int *count)
{
	*count = catalog->count;
	return catalog->functions;
}

Catalog *
catalog_new(Factoryd *factoryd)
{
	Catalog *catalog = memory_new(sizeof(Catalog));

	catalog->factoryd = factoryd;
	TAILQ_INIT(&catalog->waiting);
	return catalog;
}

void
catalog_free(Catalog *catalog)
{
	free_functions(catalog);
	free(catalog);
}
