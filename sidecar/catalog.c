/*
 * catalog.c
 *		The functions, tables and views that are served, and whether we may at all.
 *
 * Read in one statement when the first connection comes up, on SIGHUP, and when a
 * function is asked for that is not in it (at most once a second).  The same
 * statement looks at the anonymous role: one that is not fit ends factoryd at the start,
 * and later lets no strangers in.
 */
#include "catalog_int.h"

#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "pool.h"
#include "text.h"

#define FRESH_SECONDS 1

/* Whether a role is one that strangers may have. */
static bool
role_is_fit(const char *name, const json_t *role)
{
	if (*name == '\0')
		return true;
	if (!json_is_object(role))
	{
		log_error("role \"%s\" of FACTORYD_ANON_ROLE does not exist", name);
		log_hint("Run CREATE ROLE \"%s\" NOLOGIN and grant it what strangers may do.",
				 name);
		return false;
	}
	if (catalog_is_true(role, "superuser"))
	{
		log_error("role \"%s\" of FACTORYD_ANON_ROLE is a superuser", name);
		log_hint("Anybody who reaches the port would be one too; make a role that may do "
				 "little.");
		return false;
	}
	if (!catalog_is_true(role, "member"))
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

/* False where factoryd ends for it. */
static bool
judge_anonymous_role(Catalog *catalog, const json_t *role)
{
	Factoryd *factoryd = catalog->factoryd;
	bool fit;

	/* It is complained of once. */
	if (factoryd->no_strangers && !json_is_object(role))
		return true;
	fit = role_is_fit(catalog->values[1], role);
	if (!fit && !catalog->loaded)
	{
		factoryd_fail(factoryd);
		return false;
	}
	if (!fit && !factoryd->no_strangers)
		log_error("requests without a token are refused until that is mended");
	factoryd->no_strangers = !fit;
	return true;
}

static void
split_schemas(Catalog *catalog, const char *schemas)
{
	char *rest = text_copy(schemas);
	char *name;

	free(catalog->schema_text);
	free(catalog->schemas);
	catalog->schema_text = rest;
	catalog->schemas = memory_new((strlen(rest) + 1) * sizeof(char *));
	catalog->schema_count = 0;
	while ((name = strsep(&rest, ", ")) != NULL)
		if (*name)
			catalog->schemas[catalog->schema_count++] = name;
}

static void
catalog_came(Call *call, CallOutcome *outcome)
{
	Catalog *catalog = call->owner;
	json_t *document = NULL;
	bool again = catalog->again;

	catalog->loading = catalog->again = false;
	if (outcome->fault == CALL_FINE)
		document = json_loads(PQgetvalue(outcome->result, 0, 0), 0, NULL);
	if (document == NULL)
	{
		if (outcome->fault != CALL_AWAY)
			log_error("could not read the functions to serve: %s", outcome->message);
		wake_waiting(catalog, outcome->message);
		return;
	}
	if (!judge_anonymous_role(catalog, json_object_get(document, "anonymous")))
	{
		json_decref(document);
		return;
	}
	split_schemas(catalog, catalog->values[0]);
	catalog_read(catalog, document);
	json_decref(document);
	catalog->loaded = true;
	catalog->loaded_at = time(NULL);
	wake_waiting(catalog, NULL);
	if (again)
		catalog_reload(catalog);
}

void
catalog_reload(Catalog *catalog)
{
	Call *call = &catalog->call;

	if (catalog->loading)
	{
		/* One that still waits for a connection will see what has changed. */
		catalog->again = catalog->again || call->connection != NULL;
		return;
	}
	memset(call, 0, sizeof(*call));
	free(catalog->values[0]);
	free(catalog->values[1]);
	catalog->values[0] = text_copy(catalog->factoryd->config->schemas);
	catalog->values[1] = text_copy(catalog->factoryd->config->anon_role);
	call->main = (CallStatement){catalog_sql, (const char *const *) catalog->values, 2};
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
	if (!catalog->loading)
		catalog_reload(catalog);
}

/* --- a role that is to be for strangers ------------------------------------------------- */

typedef struct RoleQuestion
{
	Call call;
	char *role;
	const char *values[1];
	void (*told)(bool fit, void *context);
	void *context;
} RoleQuestion;

static void
role_came(Call *call, CallOutcome *outcome)
{
	RoleQuestion *question = call->owner;
	json_t *role = NULL;
	bool fit = false;

	if (outcome->fault != CALL_FINE)
		log_error("could not ask the database about role \"%s\": %s", question->role,
				  outcome->message);
	else
	{
		if (!PQgetisnull(outcome->result, 0, 0))
			role = json_loads(PQgetvalue(outcome->result, 0, 0), 0, NULL);
		fit = role_is_fit(question->role, role);
		json_decref(role);
	}
	question->told(fit, question->context);
	free(question->role);
	free(question);
}

void
catalog_ask_role(Factoryd *factoryd, const char *role,
				 void (*told)(bool fit, void *context), void *context)
{
	RoleQuestion *question = memory_new(sizeof(RoleQuestion));
	Call *call = &question->call;

	question->role = text_copy(role);
	question->values[0] = question->role;
	question->told = told;
	question->context = context;
	call->main =
		(CallStatement){"SELECT " CATALOG_ROLE("$2") "::text", question->values, 1};
	call->role = "none";
	call->claims = call->method = call->path = call->headers = "";
	call->read_only = true;
	call->urgent = true;
	call->done = role_came;
	call->owner = question;
	pool_submit(factoryd->pool, call);
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

const CatalogRelation *
catalog_relation(const Catalog *catalog, const char *schema, const char *name)
{
	for (int i = 0; i < catalog->relation_count; i++)
		if (strcmp(catalog->relations[i].name, name) == 0 &&
			strcmp(catalog->relations[i].schema, schema) == 0)
			return &catalog->relations[i];
	return NULL;
}

const CatalogRelation *
catalog_relations(const Catalog *catalog, int *count)
{
	*count = catalog->relation_count;
	return catalog->relations;
}

int
catalog_number(const Catalog *catalog, const CatalogRelation *relation)
{
	return (int) (relation - catalog->relations);
}

const CatalogRelation *
catalog_numbered(const Catalog *catalog, int number)
{
	return number < 0 ? NULL : &catalog->relations[number];
}

const CatalogLink *
catalog_links(const Catalog *catalog, int *count)
{
	*count = catalog->link_count;
	return catalog->links;
}

int
catalog_column(const CatalogRelation *relation, const char *name)
{
	for (int i = 0; i < relation->column_count; i++)
		if (strcmp(relation->columns[i].name, name) == 0)
			return i;
	return -1;
}

const char *const *
catalog_schemas(const Catalog *catalog, int *count)
{
	*count = catalog->schema_count;
	return catalog->schemas;
}

Catalog *
catalog_new(Factoryd *factoryd)
{
	Catalog *catalog = memory_new(sizeof(Catalog));

	catalog->factoryd = factoryd;
	TAILQ_INIT(&catalog->waiting);
	split_schemas(catalog, factoryd->config->schemas);
	return catalog;
}

void
catalog_free(Catalog *catalog)
{
	catalog_empty(catalog);
	free(catalog->schema_text);
	free(catalog->schemas);
	free(catalog->values[0]);
	free(catalog->values[1]);
	free(catalog);
}
