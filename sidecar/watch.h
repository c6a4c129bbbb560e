/*
 * watch.h
 *		Hears from the database that what is served has changed.
 */
#ifndef FACTORYD_WATCH_H
#define FACTORYD_WATCH_H

#include <event2/event.h>

#include "config.h"

typedef struct Watch Watch;

/*
 * Listens to FACTORYD_CHANNEL on a connection of its own, and looks for itself every
 * FACTORYD_LOOK_INTERVAL: heard is called for every notification, where some may have been
 * missed, and where what is served is not what it was.  NULL where neither is wanted.
 */
extern Watch *watch_open(struct event_base *base, const Config *config,
						 void (*heard)(void *context), void *context);
extern void watch_close(Watch *watch); /* NULL is none */

#endif /* FACTORYD_WATCH_H */
