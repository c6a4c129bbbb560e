/*
 * main.c
 *		factoryd: the decision engine over HTTP.
 *
 * One event loop a thread; nothing in them ever blocks, and they share nothing that is
 * written but counters.  The main thread's loop accepts clients and deals them out,
 * and tells the others what signals say.  SIGTERM and SIGINT finish what runs, within
 * FACTORYD_DRAIN, and a second one does not wait; SIGHUP reads keys and what is served
 * anew.
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "auth.h"
#include "catalog.h"
#include "factoryd.h"
#include "http.h"
#include "listener.h"
#include "log.h"
#include "mailbox.h"
#include "pool.h"
#include "rate.h"
#include "route.h"
#include "service.h"
#include "text.h"
#include "tls.h"
#include "watch.h"

typedef struct Main
{
	Config config;
	Factoryd *loops;
	long clients;
	int next; /* loop that gets the next client */
	Listener *listener;
	Watch *watch;
	RateLimits *limits;
	bool draining;
} Main;

/* --- between loops ----------------------------------------------------------------- */

static void
tell_all(Factoryd *factoryd, LetterKind kind)
{
	for (int i = 0; i < factoryd->loop_count; i++)
		mailbox_send(factoryd->loops[i].mailbox, (Letter){kind, 0, 0});
}

void
factoryd_fail(Factoryd *factoryd)
{
	factoryd->failed = true;
	tell_all(factoryd, LETTER_STOP);
}

void
factoryd_reload_catalogs(Factoryd *factoryd)
{
	tell_all(factoryd, LETTER_CATALOG);
}

static void
drained(void *context)
{
	Factoryd *factoryd = context;

	event_base_loopexit(factoryd->base, NULL);
}

static void
drain(Factoryd *factoryd)
{
	struct timeval limit = {factoryd->config->drain / 1000,
							factoryd->config->drain % 1000 * 1000};

	if (http_is_draining(factoryd->http))
		return;
	evtimer_add(factoryd->drain_deadline, &limit);
	http_drain(factoryd->http, drained, factoryd);
}

/* Where the new ones are not good the old ones stay. */
static void
reload_keys(Factoryd *factoryd)
{
	Auth *fresh = auth_open(factoryd->config);

	if (fresh == NULL)
		return;
	auth_close(factoryd->auth);
	factoryd->auth = fresh;
}

static void
letter_came(const Letter *letter, void *context)
{
	Factoryd *factoryd = context;

	switch (letter->kind)
	{
		case LETTER_CLIENT:
			http_adopt(factoryd->http, letter->number, letter->more);
			break;
		case LETTER_DRAIN:
			drain(factoryd);
			break;
		case LETTER_STOP:
			event_base_loopbreak(factoryd->base);
			break;
		case LETTER_KEYS:
			reload_keys(factoryd);
			catalog_reload(factoryd->catalog);
			break;
		case LETTER_CATALOG:
			catalog_reload(factoryd->catalog);
			break;
		case LETTER_HURRY:
			pool_hurry(factoryd->pool);
			break;
	}
}

static void
client_came(int fd, void *context)
{
	Main *all = context;
	Factoryd *factoryd = &all->loops[all->next];
	long clients = __atomic_add_fetch(&all->clients, 1, __ATOMIC_RELAXED);

	all->next = (all->next + 1) % factoryd->loop_count;
	if (factoryd->number == 0)
		http_adopt(factoryd->http, fd, clients);
	else if (!mailbox_send(factoryd->mailbox, (Letter){LETTER_CLIENT, fd, clients}))
	{
		__atomic_sub_fetch(&all->clients, 1, __ATOMIC_RELAXED);
		close(fd);
	}
}

/* --- signals and deadlines ------------------------------------------------------------ */

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
	Main *all = context;

	(void) what;
	if (all->draining)
	{
		tell_all(all->loops, LETTER_STOP);
		return;
	}
	log_info("stopping on signal %d", (int) signal_number);
	all->draining = true;
	listener_close(all->listener);
	all->listener = NULL;
	tell_all(all->loops, LETTER_DRAIN);
}

static void
reload(evutil_socket_t signal_number, short what, void *context)
{
	Main *all = context;

	(void) signal_number;
	(void) what;
	log_info("reading keys and what is served anew");
	tell_all(all->loops, LETTER_KEYS);
}

static void
heard(void *context)
{
	Main *all = context;

	factoryd_reload_catalogs(all->loops);
}

static void
connected(void *context)
{
	Factoryd *factoryd = context;

	catalog_reload(factoryd->catalog);
	tell_all(factoryd, LETTER_HURRY);
}

static void
connected_to_standby(void *context)
{
	(void) context;
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

/* --- a loop's life ----------------------------------------------------------------------- */

static PoolPlan
plan_pool(const Factoryd *factoryd, const char *database,
		  void (*connected)(void *context))
{
	const Config *config = factoryd->config;
	long loops = factoryd->loop_count;
	PoolPlan plan = {database, config->pool / loops, 0, connected, (void *) factoryd};

	/* What does not divide evenly goes to the first ones. */
	plan.lasting += factoryd->number < config->pool % loops;
	plan.most = plan.lasting + config->pool_overflow / loops +
				(factoryd->number < config->pool_overflow % loops);
	return plan;
}

static bool
start_loop(Factoryd *factoryd)
{
	const Config *config = factoryd->config;
	PoolPlan plan = plan_pool(factoryd, config->database, connected);
	PoolPlan read_plan = plan_pool(factoryd, config->database_read, connected_to_standby);

	factoryd->base = event_base_new();
	if (factoryd->base == NULL)
	{
		log_error("could not make an event loop");
		return false;
	}
	factoryd->services = memory_new(SERVICE_COUNT * sizeof(ServiceCounters));
	factoryd->drain_deadline = evtimer_new(factoryd->base, drain_overdue, factoryd);
	factoryd->auth = auth_open(config);
	factoryd->mailbox = mailbox_open(factoryd->base, letter_came, factoryd);
	if (factoryd->auth == NULL || factoryd->mailbox == NULL)
		return false;
	factoryd->http = http_open(factoryd->base, config, factoryd->tls,
							   factoryd->clients_of_all, route_handler(factoryd));
	factoryd->catalog = catalog_new(factoryd);
	factoryd->pool = pool_open(factoryd->base, config, &plan);
	if (factoryd->pool && *config->database_read)
		factoryd->read_pool = pool_open(factoryd->base, config, &read_plan);
	return factoryd->pool && (factoryd->read_pool || !*config->database_read);
}

/* Undoes as much of the start as there was. */
static void
end_loop(Factoryd *factoryd)
{
	if (factoryd->http)
		http_free(factoryd->http);
	if (factoryd->pool)
		pool_close(factoryd->pool);
	if (factoryd->read_pool)
		pool_close(factoryd->read_pool);
	if (factoryd->catalog)
		catalog_free(factoryd->catalog);
	auth_close(factoryd->auth);
	mailbox_close(factoryd->mailbox);
	if (factoryd->drain_deadline)
		event_free(factoryd->drain_deadline);
	if (factoryd->base)
		event_base_free(factoryd->base);
	free(factoryd->services);
	buffer_free(&factoryd->headers);
	buffer_free(&factoryd->body);
}

static void *
run_loop(void *argument)
{
	Factoryd *factoryd = argument;

	event_base_dispatch(factoryd->base);
	return NULL;
}

/* The threads of all loops but the first, which is ours; signals are ours alone. */
static int
start_threads(Main *all)
{
	sigset_t every;
	sigset_t before;
	int started = 1;

	sigfillset(&every);
	pthread_sigmask(SIG_SETMASK, &every, &before);
	while (started < all->loops->loop_count &&
		   pthread_create(&all->loops[started].thread, NULL, run_loop,
						  &all->loops[started]) == 0)
		started++;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return started;
}

static void
serve(Main *all)
{
	struct
	{
		int number;
		event_callback_fn reaction;
		struct event *event;
	} signals[] = {{SIGTERM, stop, NULL}, {SIGINT, stop, NULL}, {SIGHUP, reload, NULL}};
	Factoryd *first = &all->loops[0];
	int started;

	for (int i = 0; i < 3; i++)
	{
		signals[i].event =
			evsignal_new(first->base, signals[i].number, signals[i].reaction, all);
		evsignal_add(signals[i].event, NULL);
	}
	started = start_threads(all);
	if (started < first->loop_count)
	{
		log_error("could not start %d threads", first->loop_count);
		factoryd_fail(first);
	}
	log_info("factoryd %s listens on %s", FACTORYD_VERSION, all->config.listen);
	event_base_dispatch(first->base);
	for (int i = 1; i < started; i++)
		pthread_join(all->loops[i].thread, NULL);
	for (int i = 0; i < 3; i++)
		event_free(signals[i].event);
}

static bool
start(Main *all, struct TlsContext **tls)
{
	int count = (int) all->config.loops;

	if (*all->config.tls_cert_file)
	{
		*tls = tls_open(all->config.tls_cert_file, all->config.tls_key_file);
		if (*tls == NULL)
			return false;
	}
	all->limits = rate_open(all->config.rate_limits);
	if (all->limits == NULL)
		return false;
	all->loops = memory_new(count * sizeof(Factoryd));
	for (int i = 0; i < count; i++)
	{
		all->loops[i].config = &all->config;
		all->loops[i].loops = all->loops;
		all->loops[i].loop_count = count;
		all->loops[i].number = i;
		all->loops[i].clients_of_all = &all->clients;
		all->loops[i].tls = *tls;
		all->loops[i].limits = all->limits;
	}
	for (int i = 0; i < count; i++)
		if (!start_loop(&all->loops[i]))
			return false;
	all->listener =
		listener_open(all->loops[0].base, all->config.listen, client_came, all);
	if (all->listener && *all->config.channel)
		all->watch = watch_open(all->loops[0].base, all->config.database,
								all->config.channel, heard, all);
	return all->listener != NULL;
}

static bool
end(Main *all, struct TlsContext *tls)
{
	bool failed = false;

	listener_close(all->listener);
	watch_close(all->watch);
	for (int i = 0; all->loops && i < all->config.loops; i++)
	{
		failed = failed || all->loops[i].failed;
		end_loop(&all->loops[i]);
	}
	free(all->loops);
	rate_close(all->limits);
	tls_close(tls);
	config_free(&all->config);
	return failed;
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
	struct TlsContext *tls = NULL;
	Main all = {0};
	bool failed;
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
	failed = !config_load(&all.config, path) || !start(&all, &tls);
	if (!failed)
	{
		serve(&all);
		log_info("stopped");
	}
	return end(&all, tls) || failed ? 1 : 0;
}
