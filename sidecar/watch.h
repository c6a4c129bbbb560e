/*
 * watch.h
 *		Hears from the database that what is served has changed.
 */
#ifndef FACTORYD_WATCH_H
#define FACTORYD_WATCH_H

#include <event2/event.h>

typedef struct Watch Watch;

/*
 * Listens to a channel on a connection of its own, for good: heard is called for every
 * notification, and where some may have been missed.
 */
extern Watch *watch_open(struct event_base *base, const char *database,
						 const char *channel, void (*heard)(void *context),
						 void *context);
extern void watch_close(Watch *watch); /* NULL is none */

#endif /* FACTORYD_WATCH_H */
