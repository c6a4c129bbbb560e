/*
 * service.c
 *		What each service is at, and all that factoryd counts as Prometheus' text.
 *
 * Each loop counts for itself, without locks; what is told is the sum of all.  Labels
 * are words of ours, so there are as many series as there are rows here.
 */
#include "service.h"

#include "http.h"
#include "pool.h"

const char *const service_names[SERVICE_COUNT] = {"judgment", "bi", "learning", "rest",
												  "probes"};

static const char *const rejection_names[REJECTION_COUNT] = {"rate", "queue", "database"};

/* The requirement's boundaries, those of its targets, and some below. */
static const struct
{
	long long us;
	const char *text;
} bounds[SERVICE_BOUNDS - 1] = {
	{500, "0.0005"}, {1000, "0.001"},  {5000, "0.005"}, {10000, "0.01"}, {50000, "0.05"},
	{100000, "0.1"}, {300000, "0.3"},  {500000, "0.5"}, {800000, "0.8"}, {1500000, "1.5"},
	{2000000, "2"},  {2500000, "2.5"}, {3000000, "3"},  {5000000, "5"},  {10000000, "10"},
};

void
service_note_answer(ServiceCounters *counters, int status, long long us)
{
	int i = 0;

	while (i < SERVICE_BOUNDS - 1 && us > bounds[i].us)
		i++;
	COUNT(counters->answered[status / 100 % 6], 1);
	COUNT(counters->took[i], 1);
	COUNT(counters->took_us, us);
}

/* --- sums over all loops ---------------------------------------------------------- */

_Static_assert(sizeof(long) == sizeof(long long), "counters are of one size");

static long long
counter_at(const void *counters, size_t offset)
{
	return COUNTED(*(const long long *) ((const char *) counters + offset));
}

static long long
pool_counter(const Factoryd *factoryd, size_t offset)
{
	const Pool *pools[] = {factoryd->pool, factoryd->read_pool};
	long long sum = 0;

	for (int i = 0; i < 2; i++)
		if (pools[i])
			sum += counter_at(pool_counters(pools[i]), offset);
	return sum;
}

static long long
http_counter(const Factoryd *factoryd, size_t offset)
{
	return counter_at(http_counters(factoryd->http), offset);
}

typedef long long (*CounterOfLoop)(const Factoryd *factoryd, size_t offset);

static long long
sum_of_loops(const Factoryd *factoryd, CounterOfLoop of_loop, size_t offset)
{
	long long sum = 0;

	for (int i = 0; i < factoryd->loop_count; i++)
		sum += of_loop(&factoryd->loops[i], offset);
	return sum;
}

static long long
sum_of_service(const Factoryd *factoryd, Service service, size_t offset)
{
	long long sum = 0;

	for (int i = 0; i < factoryd->loop_count; i++)
		sum += counter_at(&factoryd->loops[i].services[service], offset);
	return sum;
}

/* --- the text ------------------------------------------------------------------------ */

static const struct
{
	const char *name;
	const char *type;
	const char *help;
	CounterOfLoop of_loop;
	size_t offset;
} series[] = {
	{"factoryd_pool_connections", "gauge", "Connections to the database.", pool_counter,
	 offsetof(PoolCounters, open)},
	{"factoryd_pool_busy", "gauge", "Connections running a statement.", pool_counter,
	 offsetof(PoolCounters, busy)},
	{"factoryd_pool_waiting", "gauge", "Requests waiting for a connection.", pool_counter,
	 offsetof(PoolCounters, queued)},
	{"factoryd_pool_calls_total", "counter", "Statements run.", pool_counter,
	 offsetof(PoolCounters, calls)},
	{"factoryd_pool_cancelled_total", "counter",
	 "Statements cancelled because nobody waited any more.", pool_counter,
	 offsetof(PoolCounters, cancelled)},
	{"factoryd_pool_refused_total", "counter",
	 "Requests refused because no connection was free in time.", pool_counter,
	 offsetof(PoolCounters, refused)},
	{"factoryd_pool_connect_failures_total", "counter",
	 "Attempts to connect that failed.", pool_counter,
	 offsetof(PoolCounters, reconnects)},
	{"factoryd_clients", "gauge", "Clients connected.", http_counter,
	 offsetof(HttpCounters, connections)},
	{"factoryd_requests_active", "gauge", "Requests being answered.", http_counter,
	 offsetof(HttpCounters, requests)},
	{"factoryd_clients_accepted_total", "counter", "Clients that connected.",
	 http_counter, offsetof(HttpCounters, accepted)},
	{"factoryd_clients_rejected_total", "counter", "Clients refused for want of room.",
	 http_counter, offsetof(HttpCounters, rejected)},
	{"factoryd_clients_gone_total", "counter", "Clients gone before their answer.",
	 http_counter, offsetof(HttpCounters, disconnected)},
};

static void
describe(Buffer *body, const char *name, const char *type, const char *help)
{
	buffer_add_format(body, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void
add_gauge(Buffer *body, const char *name, const char *help, long long value)
{
	describe(body, name, "gauge", help);
	buffer_add_format(body, "%s %lld\n", name, value);
}

static void
add_by_service(Buffer *body, const Factoryd *factoryd, const char *name, const char *help,
			   size_t offset)
{
	describe(body, name, "gauge", help);
	for (int i = 0; i < SERVICE_COUNT; i++)
		buffer_add_format(body, "%s{service=\"%s\"} %lld\n", name, service_names[i],
						  sum_of_service(factoryd, i, offset));
}

static void
add_answers(Buffer *body, const Factoryd *factoryd)
{
	describe(body, "factoryd_requests_total", "counter",
			 "Requests answered, those refused before they were whole included.");
	for (int i = 2; i < 6; i++)
		buffer_add_format(body, "factoryd_requests_total{status=\"%dxx\"} %lld\n", i,
						  sum_of_loops(factoryd, http_counter,
									   offsetof(HttpCounters, answered) +
										   i * sizeof(long long)));
	describe(body, "factoryd_service_requests_total", "counter",
			 "Requests answered, by service.");
	for (int i = 0; i < SERVICE_COUNT; i++)
		for (int status = 2; status < 6; status++)
			buffer_add_format(
				body,
				"factoryd_service_requests_total{service=\"%s\",status=\"%dxx\"} %lld\n",
				service_names[i], status,
				sum_of_service(factoryd, i,
							   offsetof(ServiceCounters, answered) +
								   status * sizeof(long long)));
}

static void
add_rejections(Buffer *body, const Factoryd *factoryd)
{
	describe(body, "factoryd_service_rejected_total", "counter",
			 "Requests sent away without having been tried, by reason.");
	for (int i = 0; i < SERVICE_COUNT; i++)
		for (int reason = 0; reason < REJECTION_COUNT; reason++)
			buffer_add_format(
				body,
				"factoryd_service_rejected_total{service=\"%s\",reason=\"%s\"} %lld\n",
				service_names[i], rejection_names[reason],
				sum_of_service(factoryd, i,
							   offsetof(ServiceCounters, rejected) +
								   reason * sizeof(long long)));
}

static void
add_durations(Buffer *body, const Factoryd *factoryd, Service service)
{
	static const char name[] = "factoryd_service_duration_seconds";
	const char *label = service_names[service];
	long long us = sum_of_service(factoryd, service, offsetof(ServiceCounters, took_us));
	long long count = 0;

	for (int i = 0; i < SERVICE_BOUNDS; i++)
	{
		count += sum_of_service(factoryd, service,
								offsetof(ServiceCounters, took) + i * sizeof(long long));
		buffer_add_format(body, "%s_bucket{service=\"%s\",le=\"%s\"} %lld\n", name, label,
						  i < SERVICE_BOUNDS - 1 ? bounds[i].text : "+Inf", count);
	}
	buffer_add_format(body, "%s_sum{service=\"%s\"} %lld.%06lld\n", name, label,
					  us / 1000000, us % 1000000);
	buffer_add_format(body, "%s_count{service=\"%s\"} %lld\n", name, label, count);
}

void
service_add_metrics(Buffer *body, const Factoryd *factoryd)
{
	const Config *config = factoryd->config;

	add_gauge(body, "factoryd_database_up", "Whether a connection is open.",
			  sum_of_loops(factoryd, pool_counter, offsetof(PoolCounters, open)) > 0);
	for (size_t i = 0; i < sizeof(series) / sizeof(series[0]); i++)
	{
		describe(body, series[i].name, series[i].type, series[i].help);
		buffer_add_format(body, "%s %lld\n", series[i].name,
						  sum_of_loops(factoryd, series[i].of_loop, series[i].offset));
	}
	add_gauge(body, "factoryd_pool_connections_limit",
			  "Connections to the database that there may be.",
			  (config->pool + config->pool_overflow) * (*config->database_read ? 2 : 1));
	add_gauge(body, "factoryd_pool_waiting_limit",
			  "Requests that may wait for a connection.", config->queue);
	add_by_service(body, factoryd, "factoryd_service_active", "Requests being answered.",
				   offsetof(ServiceCounters, active));
	add_by_service(body, factoryd, "factoryd_service_waiting",
				   "Requests waiting for a connection to the database.",
				   offsetof(ServiceCounters, waiting));
	add_answers(body, factoryd);
	add_rejections(body, factoryd);
	describe(body, "factoryd_service_duration_seconds", "histogram",
			 "Time from a request's last byte to its answer.");
	for (int i = 0; i < SERVICE_COUNT; i++)
		add_durations(body, factoryd, i);
}
