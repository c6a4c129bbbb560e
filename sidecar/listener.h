/*
 * listener.h
 *		The port: accepts clients and hands them on.
 */
#ifndef FACTORYD_LISTENER_H
#define FACTORYD_LISTENER_H

#include <event2/event.h>

typedef struct Listener Listener;

/* NULL where it cannot listen there, and the log says why. */
extern Listener *listener_open(struct event_base *base, const char *address,
							   void (*came)(int fd, void *context), void *context);
extern void listener_close(Listener *listener); /* NULL is none */

#endif /* FACTORYD_LISTENER_H */
