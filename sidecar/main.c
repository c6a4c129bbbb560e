/*
 * main.c
 *		factoryd: the decision engine over HTTP.
 *
 * One event loop a thread; nothing in them ever blocks, and they share nothing that is
 * written but counters.  The main thread's loop accepts clients and deals them out,
 * and tells the others what signals say.  SIGTERM and SIGINT finish what runs, within
 * FACTORYD_DRAIN, and a second one does not wait; SIGHUP reads settings, keys, the
 * certificate and what is served anew.
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "auth.h"
#include "catalog.h"
#include "exchange.h"
#include "factoryd.h"
#include "http.h"
#include "listener.h"
#include "log.h"
#include "mailbox.h"
#include "pool.h"
#include "rate.h"
#include "route.h"
#include "service.h"
#include "setup.h"
#include "slice.h"
#include "text.h"
#include "watch.h"

typedef struct Main
{
	const char *path;    /* of the file of settings, or NULL */
	const Setup *setup;  /* in force */
	const Setup *wanted; /* good, but for its anonymous role, which is asked about */
	Factoryd *loops;
	int loop_count;
	long clients;
	int next; /* loop that gets the next client */
	Listener *listener;
	Watch *watch;
	RateCounts *rate_counts;
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

static PoolPlan
plan_pool(Factoryd *factoryd)
{
	const Config *config = factoryd->config;
	long loops = factoryd->loop_count;
	PoolPlan plan = {.database = config->database,
					 .lasting = config->pool / loops,
					 .queue = (config->queue + loops - 1) / loops,
					 .connected = connected,
					 .context = factoryd};

	/* What does not divide evenly goes to the first ones. */
	plan.lasting += factoryd->number < config->pool % loops;
	plan.most = plan.lasting + config->pool_overflow / loops +
				(factoryd->number < config->pool_overflow % loops);
	return plan;
}

static PoolPlan
plan_read_pool(Factoryd *factoryd)
{
	PoolPlan plan = plan_pool(factoryd);

	plan.database = factoryd->config->database_read;
	plan.connected = connected_to_standby;
	if (*plan.database == '\0')
		plan.lasting = plan.most = 0;
	return plan;
}

/* Works by another setup from now on. */
static void
change_setup(Factoryd *factoryd, const Setup *setup)
{
	const Setup *before = factoryd->setup;
	const Config *config = &setup->config;
	PoolPlan plan;

	factoryd->setup = setup;
	factoryd->config = config;
	auth_change(factoryd->auth, config, setup->keys);
	http_change(factoryd->http, config, setup->tls);
	plan = plan_pool(factoryd);
	pool_change(factoryd->pool, config, &plan);
	plan = plan_read_pool(factoryd);
	if (factoryd->read_pool)
		pool_change(factoryd->read_pool, config, &plan);
	else if (*config->database_read)
		factoryd->read_pool = pool_open(factoryd->base, config, &plan);
	catalog_reload(factoryd->catalog);
	setup_release(before);
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
		case LETTER_SETUP:
			change_setup(factoryd, (const Setup *) (intptr_t) letter->more);
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
heard(void *context)
{
	Main *all = context;

	factoryd_reload_catalogs(all->loops);
}

static void
put_in_force(Main *all, const Setup *setup)
{
	setup_release(all->setup);
	all->setup = setup;
	for (int i = 0; i < all->loop_count; i++)
	{
		Letter letter = {LETTER_SETUP, 0, (long) (intptr_t) setup_hold(setup)};

		if (!mailbox_send(all->loops[i].mailbox, letter))
			setup_release(setup);
	}
	watch_close(all->watch);
	all->watch = watch_open(all->loops[0].base, &setup->config, heard, all);
	log_info("new settings are in force");
}

static void
refuse_setup(void)
{
	log_error("the new settings are not good: the old ones stay in force");
}

static void
role_is_known(bool fit, void *context)
{
	Main *all = context;
	const Setup *wanted = all->wanted;

	all->wanted = NULL;
	if (fit)
		put_in_force(all, wanted);
	else
	{
		setup_release(wanted);
		refuse_setup();
	}
}

/*
 * What is wrong with a setup is found before it counts.  The anonymous role of another
 * database cannot be asked about here: the catalogue looks at it.
 */
static void
reload(evutil_socket_t signal_number, short what, void *context)
{
	Main *all = context;
	const Config *old = &all->setup->config;
	const Setup *fresh;

	(void) signal_number;
	(void) what;
	log_info("reading settings, keys and what is served anew");
	if (all->wanted)
		return; /* the one before is being looked at */
	fresh = setup_load(all->path, all->setup, all->loop_count);
	if (fresh == NULL)
		refuse_setup();
	else if (strcmp(fresh->config.anon_role, old->anon_role) != 0 &&
			 strcmp(fresh->config.database, old->database) == 0 &&
			 *fresh->config.anon_role)
	{
		all->wanted = fresh;
		catalog_ask_role(&all->loops[0], fresh->config.anon_role, role_is_known, all);
	}
	else
		put_in_force(all, fresh);
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

static bool
start_loop(Factoryd *factoryd)
{
	const Config *config = factoryd->config;
	PoolPlan plan = plan_pool(factoryd);
	PoolPlan read_plan = plan_read_pool(factoryd);

	factoryd->base = event_base_new();
	if (factoryd->base == NULL)
	{
		log_error("could not make an event loop");
		return false;
	}
	factoryd->services = memory_new(SERVICE_COUNT * sizeof(ServiceCounters));
	factoryd->drain_deadline = evtimer_new(factoryd->base, drain_overdue, factoryd);
	factoryd->auth = auth_open(config, factoryd->setup->keys);
	factoryd->mailbox = mailbox_open(factoryd->base, letter_came, factoryd);
	if (factoryd->mailbox == NULL)
		return false;
	factoryd->http = http_open(factoryd->base, config, factoryd->setup->tls,
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
	setup_release(factoryd->setup);
	free(factoryd->services);
	exchange_free_spare(factoryd);
	buffer_free(&factoryd->headers);
	buffer_free(&factoryd->body);
}

static void *
run_loop(void *argument)
{
	Factoryd *factoryd = argument;

	slice_ask_short();
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
	log_info("factoryd %s listens on %s", FACTORYD_VERSION, all->setup->config.listen);
	slice_ask_short();
	event_base_dispatch(first->base);
	for (int i = 1; i < started; i++)
		pthread_join(all->loops[i].thread, NULL);
	for (int i = 0; i < 3; i++)
		event_free(signals[i].event);
}

static bool
start(Main *all)
{
	const Config *config;
	int count;

	all->setup = setup_load(all->path, NULL, 0);
	if (all->setup == NULL)
		return false;
	config = &all->setup->config;
	count = all->loop_count = config_loop_count(config);
	all->rate_counts = rate_counts_new();
	all->loops = memory_new(count * sizeof(Factoryd));
	for (int i = 0; i < count; i++)
	{
		all->loops[i].setup = setup_hold(all->setup);
		all->loops[i].config = config;
		all->loops[i].loops = all->loops;
		all->loops[i].loop_count = count;
		all->loops[i].number = i;
		all->loops[i].clients_of_all = &all->clients;
		all->loops[i].rate_counts = all->rate_counts;
	}
	for (int i = 0; i < count; i++)
		if (!start_loop(&all->loops[i]))
			return false;
	all->listener = listener_open(all->loops[0].base, config->listen, client_came, all);
	if (all->listener)
		all->watch = watch_open(all->loops[0].base, config, heard, all);
	return all->listener != NULL;
}

static bool
end(Main *all)
{
	bool failed = false;

	listener_close(all->listener);
	watch_close(all->watch);
	for (int i = 0; all->loops && i < all->loop_count; i++)
	{
		failed = failed || all->loops[i].failed;
		end_loop(&all->loops[i]);
	}
	free(all->loops);
	rate_counts_free(all->rate_counts);
	setup_release(all->wanted);
	setup_release(all->setup);
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
	Main all = {0};
	bool failed;
	int option;

	while ((option = getopt_long(argc, argv, "c:Vh", options, NULL)) != -1)
	{
		switch (option)
		{
			case 'c':
				all.path = optarg;
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
	failed = !start(&all);
	if (!failed)
	{
		serve(&all);
		log_info("stopped");
	}
	return end(&all) || failed ? 1 : 0;
}
