/*
 * http.c
 *		The HTTP/1.1 server: connections in, requests out, replies back.
 *
 * Our own, on libevent's events alone: evhttp is lenient where two parsers could
 * disagree and has no deadline for a whole request, and a bufferevent asks the kernel
 * how much there is before each read and allocates for each reply.  Here a request
 * that comes whole costs one read, one write, no allocation and no timer.
 *
 * A client is in one of the states of http_int.h.  One of its requests is answered at a
 * time; what it sends meanwhile stays in the socket once READ_AHEAD is buffered.
 * An end of input while a request is answered means that the client is gone
 * (nobody can tell a half-closed socket from a closed one): its statement is
 * cancelled.  Before a close we say so and read on for a moment, because closing
 * with unread input makes the kernel throw away the reply.
 */
#include "http_int.h"

#include <errno.h>
#include <event2/util.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "log.h"
#include "text.h"

#define WRITE_TIMEOUT_MS 60000
#define LINGER_MS 2000

/* Clients beyond the limit that are told so; still more are cut off. */
#define REFUSALS_MOST 64

static void input_came(evutil_socket_t fd, short what, void *context);

const HttpCounters *
http_counters(const HttpServer *server)
{
	return &server->counters;
}

bool
http_is_draining(const HttpServer *server)
{
	return server->draining;
}

/* --- a client's life -------------------------------------------------------- */

void
client_set_timer(Client *client, ClientTimer kind)
{
	client->rests_since = text_clock_ms();
	if (client->timer_kind == kind)
		return;
	client->timer_kind = kind;
	if (kind == TIMER_NONE)
		event_del(&client->timer);
	else
		event_add(&client->timer, client->server->durations[kind]);
}

void
client_forget_request(Client *client)
{
	buffer_clear(&client->head, KEEP_MEMORY);
	buffer_clear(&client->body, KEEP_MEMORY);
	if (client->input.length == 0)
		buffer_clear(&client->input, KEEP_MEMORY);
	client->request.body = NULL;
	client->request.body_length = 0;
	client->request.owner = NULL;
	client->trailer_bytes = 0;
	client->head_scanned = 0;
	client->streaming = false;
	client->stream_waits = false;
}

void
client_drop(Client *client)
{
	HttpServer *server = client->server;

	if (client->state == CLIENT_ANSWERING)
	{
		COUNT(server->counters.requests, -1);
		COUNT(server->counters.disconnected, 1);
		server->handler.gone(&client->request, server->handler.context);
	}
	TAILQ_REMOVE(&server->clients, client, link);
	COUNT(server->counters.connections, -1);
	__atomic_sub_fetch(server->clients_of_all, 1, __ATOMIC_RELAXED);
	event_del(&client->readable);
	event_del(&client->writable);
	event_del(&client->timer);
	tls_free(client->tls);
	close(client->fd);
	buffer_free(&client->input);
	buffer_free(&client->output);
	buffer_free(&client->head);
	buffer_free(&client->body);
	free(client);
	if (server->draining && server->counters.connections == 0 && server->drained)
		server->drained(server->drained_context);
}

void
client_want_input(Client *client, bool wanted)
{
	if (client->reading == wanted)
		return;
	client->reading = wanted;
	if (!wanted)
		event_del(&client->readable);
	else
	{
		event_add(&client->readable, NULL);
		/* What TLS has decoded already does not make the socket readable. */
		if (client->tls && tls_has_input(client->tls))
			event_active(&client->readable, EV_READ, 0);
	}
}

/* The last reply is written: say that nothing follows, and wait for the client. */
void
client_linger(Client *client)
{
	if (client->ended || client->state == CLIENT_LINGERING)
	{
		client_drop(client);
		return;
	}
	client->state = CLIENT_LINGERING;
	if (client->tls)
		tls_shutdown(client->tls);
	shutdown(client->fd, SHUT_WR);
	client_want_input(client, true);
	client_set_timer(client, TIMER_LINGER);
}

/* --- events ------------------------------------------------------------------- */

static void
input_ended(Client *client)
{
	client->ended = true;
	client_want_input(client, false);
	/* It may read its last replies though it sends no more. */
	if (client_has_unwritten(client) && client->state != CLIENT_ANSWERING)
		client->state = CLIENT_CLOSING;
	else
		client_drop(client);
}

static void
input_came(evutil_socket_t fd, short what, void *context)
{
	Client *client = context;
	char *place = client->server->arrived;
	ssize_t length;

	(void) what;
	if (client->state == CLIENT_HANDSHAKE)
	{
		client_advance(client);
		return;
	}
	if (client->tls)
		length = tls_read(client->tls, place, READ_SIZE);
	else
		length = recv(fd, place, READ_SIZE, 0);
	if (length < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
		return;
	if (length <= 0)
	{
		input_ended(client);
		return;
	}
	buffer_add(&client->input, place, length);
	if (client->tls && tls_has_input(client->tls))
		event_active(&client->readable, EV_READ, 0);
	client_advance(client);
}

static void
output_goes(evutil_socket_t fd, short what, void *context)
{
	Client *client = context;
	Buffer *output = &client->output;
	struct iovec piece;
	ssize_t written;

	(void) fd;
	if (client->broken || (what & EV_TIMEOUT))
	{
		client_drop(client);
		return;
	}
	if (client->state == CLIENT_HANDSHAKE)
	{
		client_advance(client);
		return;
	}
	piece = (struct iovec){buffer_bytes(output), output->length};
	written = output->length ? client_write_some(client, &piece, 1) : 0;
	if (written < 0)
	{
		client->broken = true;
		client_drop(client);
		return;
	}
	buffer_take(output, written);
	if (output->length > 0)
		event_add(&client->writable, client->server->write_timeout);
	else
		buffer_clear(output, KEEP_MEMORY);
	if (client->streaming && client->stream_waits &&
		output->length < UNREAD_REPLIES_RESUME)
	{
		client->stream_waits = false;
		client->server->handler.writable(&client->request,
										 client->server->handler.context);
		return;
	}
	if (client->ended && client->state != CLIENT_CLOSING &&
		client->state != CLIENT_ANSWERING && output->length == 0)
		client_drop(client);
	else
		client_advance(client);
}

static void
time_passed(evutil_socket_t fd, short what, void *context)
{
	Client *client = context;
	ClientTimer kind = client->timer_kind;
	long long rested = text_clock_ms() - client->rests_since;

	(void) fd;
	(void) what;
	client->timer_kind = TIMER_NONE;
	if (kind == TIMER_READ)
	{
		client_refuse(client, 408,
					  "The request was not whole within FACTORYD_READ_TIMEOUT.");
		client_advance(client);
	}
	else if (kind == TIMER_IDLE &&
			 (client_has_unwritten(client) || client->state == CLIENT_ANSWERING ||
			  rested + 10 < client->server->config->idle_timeout))
	{
		long left = client->server->config->idle_timeout - rested;
		struct timeval delay = {left / 1000, left % 1000 * 1000};

		client->timer_kind = TIMER_IDLE;
		event_add(&client->timer,
				  left > 0 ? &delay : client->server->durations[TIMER_IDLE]);
	}
	else
		client_drop(client);
}

void
http_adopt(HttpServer *server, int fd, long clients)
{
	long most = server->config->max_connections;
	int yes = 1;
	Client *client;

	if (clients >= most + REFUSALS_MOST || server->draining)
	{
		COUNT(server->counters.rejected, 1);
		__atomic_sub_fetch(server->clients_of_all, 1, __ATOMIC_RELAXED);
		close(fd);
		return;
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
	client = memory_new(sizeof(Client));
	client->server = server;
	client->fd = fd;
	client->state = CLIENT_HEAD;
	if (server->tls)
	{
		client->tls = tls_accept(server->tls, fd);
		client->state = CLIENT_HANDSHAKE;
	}
	event_assign(&client->readable, server->base, fd, EV_READ | EV_PERSIST, input_came,
				 client);
	event_assign(&client->writable, server->base, fd, EV_WRITE, output_goes, client);
	evtimer_assign(&client->timer, server->base, time_passed, client);
	TAILQ_INSERT_TAIL(&server->clients, client, link);
	COUNT(server->counters.connections, 1);
	COUNT(server->counters.accepted, 1);
	client_want_input(client, true);
	client_set_timer(client, server->tls ? TIMER_READ : TIMER_IDLE);
	if (clients > most)
	{
		COUNT(server->counters.rejected, 1);
		client->state = CLIENT_HEAD;
		client_refuse(client, 503,
					  "As many clients as FACTORYD_MAX_CONNECTIONS are connected.");
		client_advance(client);
	}
}

const char *
http_peer(const HttpRequest *request, char *target, size_t size)
{
	const Client *client = (const Client *) request;
	struct sockaddr_storage address;
	socklen_t length = sizeof(address);

	target[0] = '\0';
	if (getpeername(client->fd, (struct sockaddr *) &address, &length) != 0)
		return target;
	if (address.ss_family == AF_INET)
		evutil_inet_ntop(AF_INET, &((struct sockaddr_in *) &address)->sin_addr, target,
						 size);
	else if (address.ss_family == AF_INET6)
		evutil_inet_ntop(AF_INET6, &((struct sockaddr_in6 *) &address)->sin6_addr, target,
						 size);
	return target;
}

/*
 * Timers of one duration are a queue: setting one costs the same however many wait.
 * There are 256 such durations in a loop's life; the next ones are plain.
 */
static const struct timeval *
common_duration(HttpServer *server, ClientTimer kind, long ms)
{
	struct timeval *plain = &server->plain_durations[kind];
	const struct timeval *common;

	*plain = (struct timeval){ms / 1000, ms % 1000 * 1000};
	common = event_base_init_common_timeout(server->base, plain);
	return common ? common : plain;
}

void
http_change(HttpServer *server, const Config *config, struct TlsContext *tls)
{
	server->config = config;
	server->tls = tls;
	server->durations[TIMER_IDLE] =
		common_duration(server, TIMER_IDLE, config->idle_timeout);
	server->durations[TIMER_READ] =
		common_duration(server, TIMER_READ, config->read_timeout);
}

HttpServer *
http_open(struct event_base *base, const Config *config, struct TlsContext *tls,
		  long *clients_of_all, HttpHandler handler)
{
	HttpServer *server = memory_new(sizeof(HttpServer));

	server->base = base;
	server->clients_of_all = clients_of_all;
	server->handler = handler;
	server->durations[TIMER_LINGER] = common_duration(server, TIMER_LINGER, LINGER_MS);
	server->write_timeout = common_duration(server, TIMER_NONE, WRITE_TIMEOUT_MS);
	http_change(server, config, tls);
	TAILQ_INIT(&server->clients);
	return server;
}

void
http_drain(HttpServer *server, void (*drained)(void *context), void *context)
{
	Client *client;
	Client *next;

	server->draining = true;
	for (client = TAILQ_FIRST(&server->clients); client; client = next)
	{
		next = TAILQ_NEXT(client, link);
		if (client->state != CLIENT_HEAD || client->input.length > 0)
			continue;
		client->state = CLIENT_CLOSING;
		if (!client_has_unwritten(client))
			client_drop(client);
	}
	server->drained = drained;
	server->drained_context = context;
	if (server->counters.connections == 0)
		drained(context);
}

void
http_free(HttpServer *server)
{
	server->drained = NULL;
	while (!TAILQ_EMPTY(&server->clients))
		client_drop(TAILQ_FIRST(&server->clients));
	buffer_free(&server->scratch);
	free(server);
}
