/*
 * listener.c
 *		The port: accepts clients and hands them on.
 *
 * One loop accepts for all and deals clients out in turn.  With a socket each
 * (SO_REUSEPORT) the kernel would deal by a hash, and a loop with few clients would
 * leave its part of the pool unused.
 */
#include "listener.h"

#include <errno.h>
#include <event2/listener.h>
#include <event2/util.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "log.h"
#include "text.h"

#define ACCEPT_PAUSE_MS 1000
#define BACKLOG 4096

struct Listener
{
	struct evconnlistener *port;
	struct event *pause;
	void (*came)(int fd, void *context);
	void *context;
};

static void
client_came(struct evconnlistener *port, evutil_socket_t fd, struct sockaddr *address,
			int length, void *context)
{
	Listener *listener = context;

	(void) port;
	(void) address;
	(void) length;
	listener->came(fd, listener->context);
}

static void
accept_again(evutil_socket_t fd, short what, void *context)
{
	Listener *listener = context;

	(void) fd;
	(void) what;
	evconnlistener_enable(listener->port);
}

/* Out of file descriptors, most likely: trying again at once would spin. */
static void
accept_failed(struct evconnlistener *port, void *context)
{
	Listener *listener = context;
	struct timeval pause = {ACCEPT_PAUSE_MS / 1000, 0};

	log_error("could not accept a client: %s",
			  evutil_socket_error_to_string(EVUTIL_SOCKET_ERROR()));
	evconnlistener_disable(port);
	evtimer_add(listener->pause, &pause);
}

Listener *
listener_open(struct event_base *base, const char *address,
			  void (*came)(int fd, void *context), void *context)
{
	struct sockaddr_storage parsed;
	int length = sizeof(parsed);
	Listener *listener;

	memset(&parsed, 0, sizeof(parsed));
	if (evutil_parse_sockaddr_port(address, (struct sockaddr *) &parsed, &length) < 0)
	{
		log_error("FACTORYD_LISTEN \"%s\" is not an address and a port", address);
		log_hint("Write it like 127.0.0.1:8080, 0.0.0.0:8080 or [::1]:8080.");
		return NULL;
	}
	listener = memory_new(sizeof(Listener));
	listener->came = came;
	listener->context = context;
	listener->port =
		evconnlistener_new_bind(base, client_came, listener,
								LEV_OPT_CLOSE_ON_FREE | LEV_OPT_REUSEABLE |
									LEV_OPT_CLOSE_ON_EXEC,
								BACKLOG, (struct sockaddr *) &parsed, length);
	if (listener->port == NULL)
	{
		log_error("could not listen on %s: %s", address, strerror(errno));
		if (errno == EADDRINUSE)
			log_hint(
				"Another program has that port; choose another with FACTORYD_LISTEN.");
		free(listener);
		return NULL;
	}
	evconnlistener_set_error_cb(listener->port, accept_failed);
	listener->pause = evtimer_new(base, accept_again, listener);
	return listener;
}

void
listener_close(Listener *listener)
{
	if (listener == NULL)
		return;
	evconnlistener_free(listener->port);
	event_free(listener->pause);
	free(listener);
}
