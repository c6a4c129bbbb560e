/*
 * factoryd.h
 *		One event loop of factoryd: everything that it owns.  There are no globals.
 *
 * A loop is a thread with its own clients, connections to the database and keys; of
 * the others it only reads counters.
 */
#ifndef FACTORYD_H
#define FACTORYD_H

#include <event2/event.h>
#include <pthread.h>

#include "buffer.h"
#include "config.h"

typedef struct Factoryd Factoryd;

struct Factoryd
{
	const Config *config; /* the setup's */
	Factoryd *loops;      /* all of them, this one included; [0] is the main thread's */
	int loop_count;
	int number;
	long *clients_of_all;
	const struct Setup *setup;      /* that this loop works by */
	struct RateCounts *rate_counts; /* shared */
	struct event_base *base;
	struct HttpServer *http;
	struct Pool *pool;
	struct Pool *read_pool; /* NULL where there is none */
	struct Catalog *catalog;
	struct Auth *auth;
	struct Mailbox *mailbox;
	struct event *drain_deadline;
	pthread_t thread;
	struct ServiceCounters *services;
	Buffer headers; /* of the reply being written */
	Buffer body;
	struct Exchange *spare; /* ended ones, for those to come */
	int spare_count;
	bool failed;       /* the exit status says so */
	bool no_strangers; /* the anonymous role has turned out not to be fit for any */
};

/* Ends all loops at once: something is wrong that only an operator can mend. */
extern void factoryd_fail(Factoryd *factoryd);

/* Makes all loops read anew what they serve. */
extern void factoryd_reload_catalogs(Factoryd *factoryd);

#endif /* FACTORYD_H */
