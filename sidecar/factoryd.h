/*
 * factoryd.h
 *		One server: everything that a loop owns.  There are no globals.
 */
#ifndef FACTORYD_H
#define FACTORYD_H

#include <event2/event.h>

#include "config.h"

typedef struct Factoryd
{
	Config config;
	struct event_base *base;
	struct HttpServer *http;
	struct Pool *pool;
	struct Catalog *catalog;
	struct event *drain_deadline;
	bool failed; /* the exit status says so */
} Factoryd;

#endif /* FACTORYD_H */
