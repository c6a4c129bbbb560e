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
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "catalog.h"
#include "exchange.h"
#include "pool.h"
#include "rpc.h"
#include "text.h"

/* How a request becomes the statement's values. */
typedef enum RouteInput
{
	INPUT_NONE,
	INPUT_BODY,    /* $1: the body, a JSON object */
	INPUT_OPTIONS, /* $2: options from the headers, a JSON object */
	INPUT_SELF,    /* $1: what factoryd knows of itself, a JSON object */
	INPUT_CALL     /* the function's arguments */
} RouteInput;

typedef struct Route
{
	const char *method;
	const char *path; /* a prefix where it ends in a slash */
	ReplyStyle style;
	bool open; /* to anybody */
	RouteInput input;
	const char *sql;
	const char *timeout_code;
} Route;

static const Route routes[] = {
	{"POST", "/api/v1/judgment/execute", STYLE_API, false, INPUT_OPTIONS,
	 "SELECT factory.api_judgment_execute($1::pg_catalog.jsonb || $2::pg_catalog.jsonb)",
	 "ERR_JUD_EXECUTION_TIMEOUT"},
	{"POST", "/api/v1/bi/execute-nl-query", STYLE_API, false, INPUT_BODY,
	 "SELECT factory.api_bi_execute_nl_query($1::pg_catalog.jsonb)",
	 "ERR_BI_QUERY_TIMEOUT"},
	{"GET", "/api/v1/dashboard", STYLE_API, false, INPUT_NONE,
	 "SELECT factory.api_dashboard()", "ERR_BI_QUERY_TIMEOUT"},
	{"POST", "/rpc/", STYLE_REST, false, INPUT_CALL, NULL, NULL},
	{"GET", "/rpc/", STYLE_REST, false, INPUT_CALL, NULL, NULL},
	{"GET", "/health", STYLE_HEALTH, true, INPUT_SELF,
	 "SELECT factory.health() || $1::pg_catalog.jsonb", NULL},
	{"GET", "/ready", STYLE_HEALTH, true, INPUT_NONE, "SELECT factory.ready()", NULL},
	{"GET", "/metrics", STYLE_METRICS, true, INPUT_NONE, "SELECT factory.metrics()",
	 NULL},
};

#define ROUTE_COUNT (sizeof(routes) / sizeof(routes[0]))

static bool
path_matches(const Route *route, const char *path)
{
	size_t length = strlen(route->path);

	if (route->path[length - 1] != '/')
		return strcmp(route->path, path) == 0;
	return strncmp(route->path, path, length) == 0 && path[length] &&
		   !strchr(path + length, '/');
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
	Exchange *exchange = exchange_begin(factoryd, request, api ? STYLE_API : STYLE_REST);

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

/* Parses the body; answers the exchange where it is no JSON object. */
static bool
parse_body(Exchange *exchange)
{
	const HttpRequest *request = exchange->request;
	json_error_t error;

	if (!body_is_declared_json(request))
	{
		exchange_reply_problem(exchange, 415,
							   exchange->style == STYLE_API ? "ERR_MEDIA_TYPE"
															: "PGRST107",
							   "The body is not declared as JSON.", NULL,
							   "Send the header \"Content-Type: application/json\".");
		return false;
	}
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
				  (json_int_t) factoryd->config.pool);
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

static void
set_values(Exchange *exchange, const Route *route)
{
	Call *call = &exchange->call;

	switch (route->input)
	{
		case INPUT_OPTIONS:
			call->values[1] = options_of(exchange->request);
			call->value_count = 2;
			/* fall through */
		case INPUT_BODY:
			call->values[0] =
				exchange->request->body_length ? exchange->request->body : "{}";
			if (call->value_count == 0)
				call->value_count = 1;
			break;
		case INPUT_SELF:
			exchange->value = describe_self(exchange->factoryd);
			call->values[0] = exchange->value;
			call->value_count = 1;
			break;
		default:
			break;
	}
}

/* --- requests ------------------------------------------------------------------------------ */

static const Route *
route_of(const HttpRequest *request)
{
	for (size_t i = 0; i < ROUTE_COUNT; i++)
		if (path_matches(&routes[i], request->head.path) &&
			method_matches(&routes[i], request->head.method))
			return &routes[i];
	return NULL;
}

static void
request_came(HttpRequest *request, void *context)
{
	Factoryd *factoryd = context;
	const Route *route = route_of(request);
	Exchange *exchange;

	if (route == NULL)
	{
		reply_no_route(factoryd, request);
		return;
	}
	exchange = exchange_begin(factoryd, request, route->style);
	exchange->fixed_sql = route->sql != NULL;
	exchange->call.sql = route->sql;
	if (route->timeout_code)
		exchange->timeout_code = route->timeout_code;
	if (!route->open && !exchange_authenticate(exchange))
		return;
	if (strcmp(route->method, "POST") == 0 && !parse_body(exchange))
		return;
	if (route->input == INPUT_CALL)
	{
		if (http_decode_escapes(request->head.path, false) < 0)
			exchange_reply_problem(exchange, 400, "PGRST100", "The path cannot be read.",
								   NULL, NULL);
		else
		{
			exchange->resume = rpc_call;
			catalog_await(factoryd->catalog, exchange);
		}
		return;
	}
	exchange->call.read_only = route->open;
	exchange->call.urgent = route->open;
	if (route->open && factoryd->config.anon_role[0])
		exchange->call.role = factoryd->config.anon_role;
	set_values(exchange, route);
	if (route->open)
		exchange_run(exchange);
	else
	{
		exchange->resume = exchange_run;
		catalog_await(factoryd->catalog, exchange);
	}
}

static void
client_left(HttpRequest *request, void *context)
{
	(void) context;
	exchange_abandon(request->owner);
}

static void
request_refused(struct evbuffer *body, int status, const char *why, void *context)
{
	(void) context;
	exchange_write_refusal(body, status, why);
}

HttpHandler
route_handler(Factoryd *factoryd)
{
	return (HttpHandler){request_came, client_left, request_refused, factoryd};
}

/* --- factoryd's own metrics ------------------------------------------------------------------ */

static void
add_series(struct evbuffer *body, const char *name, const char *type, const char *help,
		   long long value)
{
	evbuffer_add_printf(body, "# HELP %s %s\n# TYPE %s %s\n%s %lld\n", name, help, name,
						type, name, value);
}

void
route_add_metrics(struct evbuffer *body, const Factoryd *factoryd)
{
	const PoolCounters *pool = pool_counters(factoryd->pool);
	const HttpCounters *http = http_counters(factoryd->http);

	add_series(body, "factoryd_database_up", "gauge", "Whether a connection is open.",
			   pool->open > 0);
	add_series(body, "factoryd_pool_connections", "gauge", "Connections to the database.",
			   pool->open);
	add_series(body, "factoryd_pool_busy", "gauge", "Connections running a statement.",
			   pool->busy);
	add_series(body, "factoryd_pool_waiting", "gauge",
			   "Requests waiting for a connection.", pool->queued);
	add_series(body, "factoryd_pool_calls_total", "counter", "Statements run.",
			   pool->calls);
	add_series(body, "factoryd_pool_cancelled_total", "counter",
			   "Statements cancelled because nobody waited any more.", pool->cancelled);
	add_series(body, "factoryd_pool_connect_failures_total", "counter",
			   "Attempts to connect that failed.", pool->reconnects);
	add_series(body, "factoryd_clients", "gauge", "Clients connected.",
			   http->connections);
	add_series(body, "factoryd_requests_active", "gauge", "Requests being answered.",
			   http->requests);
	add_series(body, "factoryd_clients_rejected_total", "counter",
			   "Clients refused for want of room.", http->rejected);
	add_series(body, "factoryd_clients_gone_total", "counter",
			   "Clients gone before their answer.", http->disconnected);
	evbuffer_add_printf(body, "# HELP factoryd_requests_total Requests answered.\n"
							  "# TYPE factoryd_requests_total counter\n");
	for (int i = 2; i < 6; i++)
		evbuffer_add_printf(body, "factoryd_requests_total{status=\"%dxx\"} %lld\n", i,
							http->answered[i]);
}
