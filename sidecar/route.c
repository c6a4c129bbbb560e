/*
 * route.c
 *		Which path is which SQL call.
 *
 * One row is one route: there is no business logic here.  The probes and /metrics
 * need no token, because nothing of a request reaches their statements; they run as
 * the anonymous role, or as the connection's own user where there is none.
 */
#include "route.h"

#include <jansson.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "catalog.h"
#include "cors.h"
#include "exchange.h"
#include "openapi.h"
#include "pool.h"
#include "rate.h"
#include "rest.h"
#include "rpc.h"
#include "text.h"

/* How a request becomes the statement's values. */
typedef enum RouteInput
{
	INPUT_NONE,
	INPUT_BODY,       /* $2: the body, a JSON object */
	INPUT_OPTIONS,    /* $3: options from the headers, a JSON object */
	INPUT_SELF,       /* $2: what factoryd knows of itself, a JSON object */
	INPUT_NAME_BODY,  /* $2: the name that the path ends in; $3: the body */
	INPUT_NAME,       /* $2: the name that the path ends in */
	INPUT_LIMIT,      /* $2: limit of the query string, or NULL */
	INPUT_CALL,       /* the function's arguments */
	INPUT_DESCRIPTION /* none: what is served is described */
} RouteInput;

typedef struct Route
{
	const char *method;
	const char *path; /* a prefix where it ends in a slash: one more name follows */
	ReplyStyle style;
	bool open;  /* to anybody */
	bool reads; /* the statement may be run on a standby */
	RouteInput input;
	Service service;
	const char *sql;
	const char *timeout_code;
	int status;
} Route;

#define JUDGE \
	"SELECT factory.api_judgment_execute($2::pg_catalog.jsonb || $3::pg_catalog.jsonb)"
/* The body as g.r, for statements that take it apart. */
#define BODY " FROM (SELECT $2::pg_catalog.jsonb) AS g(r)"
#define REPLAY \
	"SELECT factory.replay(decision => coalesce(r ->> 'workflow_id', r ->> 'decision')," \
	" version => (r ->> 'version')::pg_catalog.int4," \
	" since => (r ->> 'since')::pg_catalog.timestamptz," \
	" until => (r ->> 'until')::pg_catalog.timestamptz)" BODY
#define CREATE \
	"SELECT pg_catalog.jsonb_build_object('workflow_id', r ->> 'name', 'version'," \
	" factory.create_decision(name => r ->> 'name', definition => r -> 'definition'," \
	" description => r ->> 'description'), 'status', 'active')" BODY
#define DEPLOY \
	"SELECT pg_catalog.jsonb_build_object('workflow_id', n, 'version', r -> 'version'," \
	" 'deployed', factory.deploy(decision => n, version => (r ->> " \
	"'version')::pg_catalog.int4," \
	" canary_pct => (r ->> 'canary_pct')::pg_catalog.numeric," \
	" changelog => r ->> 'changelog') IS NOT NULL)" BODY \
	", LATERAL (SELECT coalesce(r ->> 'workflow_id', r ->> 'decision')) AS w(n)"
#define ROLLBACK \
	"SELECT pg_catalog.jsonb_build_object('workflow_id', n, 'version'," \
	" factory.rollback(decision => n, reason => r ->> 'reason'))" BODY \
	", LATERAL (SELECT coalesce(r ->> 'workflow_id', r ->> 'decision')) AS w(n)"
#define AUDIT \
	"SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.to_jsonb(a) - 'tenant_id'), '[]')" \
	" FROM (SELECT * FROM factory.audit_log ORDER BY created_at DESC" \
	" LIMIT least(greatest(coalesce($2::pg_catalog.int4, 20), 1), 100)) AS a"
#define ASK "SELECT factory.api_bi_execute_nl_query($2::pg_catalog.jsonb)"

static const Route routes[] = {
	{"POST", "/api/v1/judgment/execute", STYLE_API, false, false, INPUT_OPTIONS,
	 SERVICE_JUDGMENT, JUDGE, "ERR_JUD_EXECUTION_TIMEOUT", 200},
	{"POST", "/api/v2/judgment/execute", STYLE_API, false, false, INPUT_OPTIONS,
	 SERVICE_JUDGMENT, JUDGE, "ERR_JUD_EXECUTION_TIMEOUT", 200},
	{"POST", "/api/v1/judgments/execute", STYLE_API, false, false, INPUT_OPTIONS,
	 SERVICE_JUDGMENT, JUDGE, "ERR_JUD_EXECUTION_TIMEOUT", 200},
	{"POST", "/api/v1/judgment/simulate", STYLE_API, false, false, INPUT_BODY,
	 SERVICE_LEARNING, REPLAY, "ERR_TIMEOUT", 200},
	{"POST", "/api/v2/judgment/replay", STYLE_API, false, false, INPUT_BODY,
	 SERVICE_LEARNING, REPLAY, "ERR_TIMEOUT", 200},
	{"GET", "/api/v1/judgment/recent", STYLE_API, false, true, INPUT_LIMIT, SERVICE_REST,
	 "SELECT factory.api_judgment_recent($2::pg_catalog.int4)", "ERR_TIMEOUT", 200},
	{"GET", "/api/v1/judgment/", STYLE_API, false, false, INPUT_NAME, SERVICE_REST,
	 "SELECT factory.api_judgment($2::pg_catalog.uuid)", "ERR_TIMEOUT", 200},
	{"POST", "/api/v1/feedback", STYLE_API, false, false, INPUT_BODY, SERVICE_LEARNING,
	 "SELECT factory.api_feedback($2::pg_catalog.jsonb)", "ERR_TIMEOUT", 201},
	{"POST", "/api/v1/approvals/", STYLE_API, false, false, INPUT_NAME_BODY,
	 SERVICE_JUDGMENT,
	 "SELECT factory.api_approval($2::pg_catalog.uuid, $3::pg_catalog.jsonb)",
	 "ERR_TIMEOUT", 200},
	{"POST", "/api/v1/rules/rulesets", STYLE_API, false, false, INPUT_BODY,
	 SERVICE_LEARNING, CREATE, "ERR_TIMEOUT", 201},
	{"POST", "/api/v1/learning/deploy", STYLE_API, false, false, INPUT_BODY,
	 SERVICE_LEARNING, DEPLOY, "ERR_TIMEOUT", 200},
	{"POST", "/api/v1/learning/rollback", STYLE_API, false, false, INPUT_BODY,
	 SERVICE_LEARNING, ROLLBACK, "ERR_TIMEOUT", 200},
	{"GET", "/api/v1/audit-logs", STYLE_API, false, true, INPUT_LIMIT, SERVICE_REST,
	 AUDIT, "ERR_TIMEOUT", 200},
	{"GET", "/api/v1/bi/catalog/datasets", STYLE_API, false, true, INPUT_NONE, SERVICE_BI,
	 "SELECT factory.describe_catalog()", "ERR_BI_QUERY_TIMEOUT", 200},
	{"POST", "/api/v1/bi/execute-nl-query", STYLE_API, false, true, INPUT_BODY,
	 SERVICE_BI, ASK, "ERR_BI_QUERY_TIMEOUT", 200},
	{"POST", "/api/v1/bi/plan", STYLE_API, false, true, INPUT_BODY, SERVICE_BI,
	 "SELECT factory.api_bi_plan($2::pg_catalog.jsonb)", "ERR_BI_QUERY_TIMEOUT", 200},
	{"GET", "/api/v1/dashboard", STYLE_API, false, true, INPUT_NONE, SERVICE_BI,
	 "SELECT factory.api_dashboard()", "ERR_BI_QUERY_TIMEOUT", 200},
	{"POST", "/rpc/", STYLE_REST, false, false, INPUT_CALL, SERVICE_REST, NULL, NULL,
	 200},
	{"GET", "/rpc/", STYLE_REST, false, false, INPUT_CALL, SERVICE_REST, NULL, NULL, 200},
	{"GET", "/", STYLE_REST, false, false, INPUT_DESCRIPTION, SERVICE_REST, NULL, NULL,
	 200},
	{"GET", "/health", STYLE_HEALTH, true, false, INPUT_SELF, SERVICE_PROBES,
	 "SELECT factory.health() || $2::pg_catalog.jsonb", NULL, 200},
	{"GET", "/ready", STYLE_HEALTH, true, false, INPUT_NONE, SERVICE_PROBES,
	 "SELECT factory.ready()", NULL, 200},
	{"GET", "/metrics", STYLE_METRICS, true, false, INPUT_NONE, SERVICE_PROBES,
	 "SELECT factory.metrics()", NULL, 200},
};

#define ROUTE_COUNT (sizeof(routes) / sizeof(routes[0]))

static bool
is_prefix(const Route *route)
{
	size_t length = strlen(route->path);

	return length > 1 && route->path[length - 1] == '/';
}

/* Whether it is worth looking closer: all paths begin with a slash. */
static bool
begins_alike(const Route *route, const char *path)
{
	return path[0] == '/' && path[1] == route->path[1];
}

/* Some route's whole path. */
static bool
is_own_path(const char *path)
{
	for (size_t i = 0; i < ROUTE_COUNT; i++)
		if (begins_alike(&routes[i], path) && !is_prefix(&routes[i]) &&
			strcmp(routes[i].path, path) == 0)
			return true;
	return false;
}

/* A path that is a route's own is no name behind another's prefix. */
static bool
path_matches(const Route *route, const char *path)
{
	size_t length;

	if (!is_prefix(route))
		return strcmp(route->path, path) == 0;
	length = strlen(route->path);
	return strncmp(route->path, path, length) == 0 && path[length] != '\0' &&
		   strchr(path + length, '/') == NULL && !is_own_path(path);
}

void
route_each(void (*tell)(const char *method, const char *path, bool prefix,
						const char *service, void *context),
		   void *context)
{
	for (size_t i = 0; i < ROUTE_COUNT; i++)
		if (routes[i].sql)
			tell(routes[i].method, routes[i].path, is_prefix(&routes[i]),
				 service_names[routes[i].service], context);
}

/* HEAD is GET without a body. */
static bool
method_matches(const Route *route, const char *method)
{
	return strcmp(route->method, method) == 0 ||
		   (strcmp(method, "HEAD") == 0 && strcmp(route->method, "GET") == 0);
}

/* --- where nothing matches ------------------------------------------------------------- */

static const char *
methods_of(const char *path)
{
	bool get = false;
	bool post = false;

	for (size_t i = 0; i < ROUTE_COUNT; i++)
	{
		if (!path_matches(&routes[i], path))
			continue;
		if (strcmp(routes[i].method, "GET") == 0)
			get = true;
		else
			post = true;
	}
	return get && post ? "GET, HEAD, POST" : get ? "GET, HEAD" : post ? "POST" : NULL;
}

static void
reply_no_route(Factoryd *factoryd, HttpRequest *request)
{
	const char *path = request->head.path;
	bool api = strncmp(path, "/api/", 5) == 0;
	Exchange *exchange =
		exchange_begin(factoryd, request, api ? STYLE_API : STYLE_REST, SERVICE_PROBES);

	exchange->allow = methods_of(path);
	if (exchange->allow)
		exchange_reply_problem(exchange, 405, api ? "ERR_METHOD_NOT_ALLOWED" : "PGRST117",
							   "The path does not take that method.", NULL,
							   "The header \"Allow\" lists those it takes.");
	else
		exchange_reply_problem(
			exchange, 404, api ? "ERR_NOT_FOUND" : "PGRST125",
			"There is nothing under that path.", NULL,
			"docs/http.md lists the routes; functions are under /rpc/.");
}

/* --- from a request to a statement's values ---------------------------------------------- */

static bool
body_is_declared_json(const HttpRequest *request)
{
	const char *type = http_head_value(&request->head, "content-type");
	size_t length = type ? strcspn(type, "; ") : 0;

	if (type == NULL || request->body_length == 0)
		return true;
	return (length == 16 && strncasecmp(type, "application/json", 16) == 0) ||
		   (length > 5 && strncasecmp(type + length - 5, "+json", 5) == 0);
}

static void
reply_bad_body(Exchange *exchange, const char *message, const char *detail)
{
	bool api = exchange->style == STYLE_API;

	exchange_reply_problem(exchange, 400, api ? "ERR_INVALID_JSON" : "PGRST102", message,
						   detail, "Send one JSON object, in UTF-8.");
}

/* Into exchange->body; false, and answered, where it is no JSON object. */
static bool
parse_wholly(Exchange *exchange)
{
	const HttpRequest *request = exchange->request;
	json_error_t error;

	if (request->body_length == 0)
		exchange->body = json_object();
	else
		exchange->body = json_loadb(request->body, request->body_length,
									JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL, &error);
	if (exchange->body == NULL)
	{
		char *detail = text_format("Line %d, column %d: %s.", error.line, error.column,
								   json_error_code(&error) == json_error_invalid_utf8
									   ? "the text is not UTF-8"
								   : json_error_code(&error) == json_error_stack_overflow
									   ? "it is nested too deeply"
									   : "the text is not JSON");

		reply_bad_body(exchange, "The body is not JSON.", detail);
		free(detail);
		return false;
	}
	if (!json_is_object(exchange->body))
	{
		reply_bad_body(exchange, "The body is not a JSON object.", NULL);
		return false;
	}
	return true;
}

bool
route_parse_body(Exchange *exchange)
{
	const HttpRequest *request = exchange->request;

	if (!body_is_declared_json(request))
	{
		exchange_reply_problem(exchange, 415,
							   exchange->style == STYLE_API ? "ERR_MEDIA_TYPE"
															: "PGRST107",
							   "The body is not declared as JSON.", NULL,
							   "Send the header \"Content-Type: application/json\".");
		return false;
	}
	exchange->is_plain =
		json_scan_plain(request->body, request->body_length, &exchange->plain);
	return exchange->is_plain || parse_wholly(exchange);
}

static char *
describe_self(const Factoryd *factoryd)
{
	const PoolCounters *pool = pool_counters(factoryd->pool);
	const HttpCounters *http = http_counters(factoryd->http);
	json_t *self =
		json_pack("{s:{s:s, s:I, s:{s:I, s:I, s:I, s:I}}}", "factoryd", "version",
				  FACTORYD_VERSION, "clients", (json_int_t) http->connections, "pool",
				  "open", (json_int_t) pool->open, "busy", (json_int_t) pool->busy,
				  "waiting", (json_int_t) pool->queued, "most",
				  (json_int_t) factoryd->config->pool);
	char *text = json_dumps(self, JSON_COMPACT);

	json_decref(self);
	return text;
}

static const char *
options_of(const HttpRequest *request)
{
	const char *skip = http_head_value(&request->head, "x-skip-cache");

	return skip && strcasecmp(skip, "true") == 0 ? "{\"skip_cache\": true}" : "{}";
}

/* The query string's limit, as far as it is a number. */
static char *
limit_of(const HttpRequest *request)
{
	const char *query = request->head.query;
	const char *limit = query ? strstr(query, "limit=") : NULL;
	size_t digits = limit ? strspn(limit + 6, "0123456789") : 0;

	if (limit == NULL || (limit != query && limit[-1] != '&') || digits == 0 ||
		digits > 6)
		return NULL;
	return strndup(limit + 6, digits);
}

static void
set_values(Exchange *exchange, const Route *route)
{
	Values *values = &exchange->values;

	if (route->input == INPUT_NAME || route->input == INPUT_NAME_BODY)
		values_add(values, buffer_bytes(&exchange->path) + strlen(route->path));
	if (route->input == INPUT_OPTIONS || route->input == INPUT_BODY ||
		route->input == INPUT_NAME_BODY)
		values_add(values,
				   exchange->request->body_length ? exchange->request->body : "{}");
	if (route->input == INPUT_OPTIONS)
		values_add(values, options_of(exchange->request));
	if (route->input == INPUT_SELF)
		values_take(values, describe_self(exchange->factoryd));
	if (route->input == INPUT_LIMIT)
		values_take(values, limit_of(exchange->request));
}

/* --- requests ------------------------------------------------------------------------------ */

static const Route *
route_of(const HttpRequest *request)
{
	for (size_t i = 0; i < ROUTE_COUNT; i++)
		if (begins_alike(&routes[i], request->head.path) &&
			method_matches(&routes[i], request->head.method) &&
			path_matches(&routes[i], request->head.path))
			return &routes[i];
	return NULL;
}

static const char *const relation_methods[] = {"GET",   "HEAD", "POST",
											   "PATCH", "PUT",  "DELETE"};

/* One name that no route has may be a table's or a view's. */
static bool
may_be_relation(const char *path)
{
	return path[0] == '/' && path[1] != '\0' && strchr(path + 1, '/') == NULL &&
		   methods_of(path) == NULL;
}

/* And is asked for as one where the method is one that they take. */
static bool
is_relation(const HttpRequest *request)
{
	if (!may_be_relation(request->head.path))
		return false;
	for (size_t i = 0; i < sizeof(relation_methods) / sizeof(relation_methods[0]); i++)
		if (strcmp(relation_methods[i], request->head.method) == 0)
			return true;
	return false;
}

/* The path's escapes decoded, beside the path; false, and answered, where they cannot be. */
static bool
decode_path(Exchange *exchange)
{
	const char *path = exchange->request->head.path;

	buffer_add(&exchange->path, path, strlen(path) + 1);
	if (http_decode_escapes(buffer_bytes(&exchange->path), false) >= 0 &&
		text_is_utf8(buffer_bytes(&exchange->path),
					 strlen(buffer_bytes(&exchange->path))))
		return true;
	exchange_reply_problem(exchange, 400, "PGRST100", "The path cannot be read.", NULL,
						   NULL);
	return false;
}

static void
serve_relation(Exchange *exchange)
{
	if (!exchange_authenticate(exchange) || !rate_allows(exchange) ||
		!decode_path(exchange))
		return;
	exchange->resume = rest_serve;
	catalog_await(exchange->factoryd->catalog, exchange);
}

static void
await_catalog(Exchange *exchange, void (*resume)(Exchange *exchange))
{
	exchange->resume = resume;
	catalog_await(exchange->factoryd->catalog, exchange);
}

static void
serve_route(Exchange *exchange)
{
	const Route *route = exchange->route;
	const Config *config = exchange->factoryd->config;

	if (!route->open && !exchange_authenticate(exchange))
		return;
	if (!rate_allows(exchange))
		return;
	if ((route->input == INPUT_OPTIONS || route->input == INPUT_BODY ||
		 route->input == INPUT_NAME_BODY) &&
		!route_parse_body(exchange))
		return;
	if ((route->input == INPUT_CALL || route->input == INPUT_NAME ||
		 route->input == INPUT_NAME_BODY) &&
		!decode_path(exchange))
		return;
	if (route->input == INPUT_CALL || route->input == INPUT_DESCRIPTION)
	{
		await_catalog(exchange, route->input == INPUT_CALL ? rpc_call : openapi_describe);
		return;
	}
	exchange->call.read_only = route->open;
	exchange->call.urgent = route->open;
	if (route->open && config->anon_role[0] && !exchange->factoryd->no_strangers)
		exchange->call.role = exchange->role = text_copy(config->anon_role);
	exchange->call.main.sql = route->sql;
	set_values(exchange, route);
	if (route->open)
		exchange_run(exchange);
	else
		await_catalog(exchange, exchange_run);
}

/* OPTIONS: what the path takes, and for a browser whether its page may ask. */
static void
reply_options(Factoryd *factoryd, HttpRequest *request)
{
	const char *path = request->head.path;
	const char *methods =
		may_be_relation(path) ? "GET, HEAD, POST, PATCH, PUT, DELETE" : methods_of(path);
	Exchange *exchange;

	if (methods == NULL)
	{
		reply_no_route(factoryd, request);
		return;
	}
	exchange = exchange_begin(factoryd, request, STYLE_REST, SERVICE_PROBES);
	exchange->allow = methods;
	cors_add_permission(&exchange->extra, factoryd->config, &request->head, methods);
	exchange_reply(exchange, 200, NULL, "", 0);
}

static void
request_came(HttpRequest *request, void *context)
{
	Factoryd *factoryd = context;
	const Route *route = route_of(request);
	Exchange *exchange;

	if (strcmp(request->head.method, "OPTIONS") == 0)
	{
		reply_options(factoryd, request);
		return;
	}
	if (route == NULL && !is_relation(request))
	{
		reply_no_route(factoryd, request);
		return;
	}
	exchange = exchange_begin(factoryd, request, route ? route->style : STYLE_REST,
							  route ? route->service : SERVICE_REST);
	if (route == NULL)
	{
		exchange_identify(exchange, serve_relation);
		return;
	}
	exchange->route = route;
	exchange->status = route->status;
	exchange->fixed_sql = route->sql != NULL;
	exchange->reads = route->reads;
	if (route->timeout_code)
		exchange->timeout_code = route->timeout_code;
	if (route->open)
		serve_route(exchange);
	else
		exchange_identify(exchange, serve_route);
}

static void
client_left(HttpRequest *request, void *context)
{
	(void) context;
	exchange_abandon(request->owner);
}

static void
client_reads(HttpRequest *request, void *context)
{
	Exchange *exchange = request->owner;

	(void) context;
	if (exchange->runs)
		pool_resume(exchange->call.pool, &exchange->call);
}

static void
request_refused(Buffer *body, int status, const char *why, void *context)
{
	(void) context;
	exchange_write_refusal(body, status, why);
}

HttpHandler
route_handler(Factoryd *factoryd)
{
	return (HttpHandler){request_came, client_left, client_reads, request_refused,
						 factoryd};
}
