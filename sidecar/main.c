/*
 * main.c
 *		factoryd: the decision engine over HTTP.
 *
 * One event loop; nothing in it ever blocks.  SIGTERM and SIGINT finish what runs,
 * within FACTORYD_DRAIN, and a second one does not wait; SIGHUP reads the functions
 * to serve anew.
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "catalog.h"
#include "factoryd.h"
#include "http.h"
#include "log.h"
#include "pool.h"
#include "route.h"

static void
connected(void *context)
{
	Factoryd *factoryd = context;

	catalog_reload(factoryd->catalog);
}

static void
drained(void *context)
{
	Factoryd *factoryd = context;

	event_base_loopexit(factoryd->base, NULL);
}

static void
drain_overdue(evutil_socket_t fd, short what, void *context)
{
	Factoryd *factoryd = context;

	(void) fd;
	(void) what;
	log_info("FACTORYD_DRAIN is over: %ld requests are cut off",
			 http_counters(factoryd->http)->requests);
	event_base_loopbreak(factoryd->base);
}

static void
stop(evutil_socket_t signal_number, short what, void *context)
{
	Factoryd *factoryd = context;
	struct timeval limit = {factoryd->config.drain / 1000,
							factoryd->config.drain % 1000 * 1000};

	(void) what;
	if (http_is_draining(factoryd->http))
	{
		event_base_loopbreak(factoryd->base);
		return;
	}
	log_info("stopping on signal %d", (int) signal_number);
	evtimer_add(factoryd->drain_deadline, &limit);
	http_drain(factoryd->http, drained, factoryd);
}

static void
reload(evutil_socket_t signal_number, short what, void *context)
{
	Factoryd *factoryd = context;

	(void) signal_number;
	(void) what;
	catalog_reload(factoryd->catalog);
}

/* A client is a file descriptor: take as many as we may. */
static void
raise_descriptor_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max)
	{
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

static void
serve(Factoryd *factoryd)
{
	struct
	{
		int number;
		event_callback_fn reaction;
		struct event *event;
	} signals[] = {{SIGTERM, stop, NULL}, {SIGINT, stop, NULL}, {SIGHUP, reload, NULL}};

	for (int i = 0; i < 3; i++)
	{
		signals[i].event = evsignal_new(factoryd->base, signals[i].number,
										signals[i].reaction, factoryd);
		evsignal_add(signals[i].event, NULL);
	}
	factoryd->drain_deadline = evtimer_new(factoryd->base, drain_overdue, factoryd);
	log_info("factoryd %s listens on %s", FACTORYD_VERSION, factoryd->config.listen);
	event_base_dispatch(factoryd->base);
	for (int i = 0; i < 3; i++)
		event_free(signals[i].event);
	event_free(factoryd->drain_deadline);
}

static bool
start(Factoryd *factoryd)
{
	factoryd->base = event_base_new();
	if (factoryd->base == NULL)
	{
		log_error("could not make an event loop");
		return false;
	}
	factoryd->http =
		http_listen(factoryd->base, &factoryd->config, route_handler(factoryd));
	if (factoryd->http == NULL)
		return false;
	factoryd->catalog = catalog_new(factoryd);
	factoryd->pool = pool_open(factoryd->base, &factoryd->config, connected, factoryd);
	return factoryd->pool != NULL;
}

/* Undoes as much of the start as there was. */
static void
end(Factoryd *factoryd)
{
	if (factoryd->http)
		http_free(factoryd->http);
	if (factoryd->pool)
		pool_close(factoryd->pool);
	if (factoryd->catalog)
		catalog_free(factoryd->catalog);
	if (factoryd->base)
		event_base_free(factoryd->base);
	config_free(&factoryd->config);
}

static void
print_usage(void)
{
	printf("factoryd serves pg_factory over HTTP.\n\n"
		   "Usage: factoryd [-c FILE]\n\n"
		   "  -c, --config FILE  read KEY=VALUE lines from FILE\n"
		   "  -V, --version      print the version and exit\n"
		   "  -h, --help         print this and exit\n\n");
	config_print_help();
}

int
main(int argc, char **argv)
{
	static const struct option options[] = {{"config", required_argument, NULL, 'c'},
											{"version", no_argument, NULL, 'V'},
											{"help", no_argument, NULL, 'h'},
											{NULL, 0, NULL, 0}};
	Factoryd factoryd = {0};
	const char *path = NULL;
	int option;

	while ((option = getopt_long(argc, argv, "c:Vh", options, NULL)) != -1)
	{
		switch (option)
		{
			case 'c':
				path = optarg;
				break;
			case 'V':
				printf("factoryd (pg_factory) %s\n", FACTORYD_VERSION);
				return 0;
			case 'h':
				print_usage();
				return 0;
			default:
				fprintf(stderr, "Try \"factoryd --help\".\n");
				return 2;
		}
	}
	signal(SIGPIPE, SIG_IGN);
	raise_descriptor_limit();
	factoryd.failed = !config_load(&factoryd.config, path) || !start(&factoryd);
	if (!factoryd.failed)
	{
		serve(&factoryd);
		log_info("stopped");
	}
	end(&factoryd);
	return factoryd.failed ? 1 : 0;
}
