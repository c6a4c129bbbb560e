/*
 * http.c
 *		The HTTP/1.1 server: connections in, requests out, replies back.
 *
 * Our own, on libevent's bufferevents, rather than evhttp: evhttp answers one
 * request of a pipelining client at a time only by luck of its buffers, is lenient
 * where two parsers could disagree, has no deadline for a whole request, and
 * spends more on a request than the rest of factoryd.  bufferevents leave the way
 * open to TLS (bufferevent_openssl) without a change here.
 *
 * A client is in one of the states below.  One of its requests is answered at a
 * time; what it sends meanwhile stays in the socket once READ_AHEAD is buffered.
 * An end of input while a request is answered means that the client is gone
 * (nobody can tell a half-closed socket from a closed one): its statement is
 * cancelled.  Before a close we say so and read on for a moment, because closing
 * with unread input makes the kernel throw away the reply.
 */
#include "http.h"

#include <errno.h>
#include <event2/bufferevent.h>
#include <event2/listener.h>
#include <event2/util.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <time.h>

#include "log.h"
#include "text.h"

#define HEAD_LIMIT 16384
#define CHUNK_LINE_LIMIT 4096
#define READ_AHEAD 65536

/* A client that does not read its replies gets no more of them. */
#define UNREAD_REPLIES_LIMIT (1024 * 1024)

#define WRITE_TIMEOUT_MS 60000
#define LINGER_MS 2000
#define ACCEPT_PAUSE_MS 1000

/* Clients beyond the limit that are told so; still more are cut off. */
#define REFUSALS_MOST 64

typedef enum ClientState
{
	CLIENT_HEAD,       /* waits for, or reads, a request's head */
	CLIENT_BODY,       /* reads a body of known length */
	CLIENT_CHUNK_SIZE, /* reads the line before a chunk */
	CLIENT_CHUNK,      /* reads a chunk */
	CLIENT_CHUNK_END,  /* reads the line end behind a chunk */
	CLIENT_TRAILERS,   /* reads what follows the last chunk */
	CLIENT_ANSWERING,  /* the handler has the request */
	CLIENT_CLOSING,    /* writes its last reply */
	CLIENT_LINGERING   /* has its last reply; input is thrown away */
} ClientState;

typedef enum ClientTimer
{
	TIMER_NONE,
	TIMER_IDLE,
	TIMER_READ,
	TIMER_LINGER
} ClientTimer;

typedef struct Client
{
	HttpRequest request; /* must be first: a request leads to its client */
	HttpServer *server;
	TAILQ_ENTRY(Client) link;
	struct bufferevent *stream;
	struct event *timer;
	ClientTimer timer_kind;
	ClientState state;
	char *head_text;      /* what request.head points into */
	size_t head_scanned;  /* bytes of input known to hold no end of head */
	uint64_t body_left;   /* of the body or chunk being read */
	size_t body_capacity; /* without the zero byte */
	size_t trailer_bytes;
	bool advancing; /* advance() is on the stack */
	bool ended;     /* the client sends no more */
} Client;

struct HttpServer
{
	struct event_base *base;
	const Config *config;
	HttpHandler handler;
	struct evconnlistener *listener;
	struct event *accept_pause;
	TAILQ_HEAD(, Client) clients;
	HttpCounters counters;
	time_t date_second;
	char date[40];
	bool draining;
	void (*drained)(void *context);
	void *drained_context;
};

static void advance(Client *client);

static const struct
{
	int status;
	const char *phrase;
} reasons[] = {
	{200, "OK"},
	{201, "Created"},
	{204, "No Content"},
	{300, "Multiple Choices"},
	{400, "Bad Request"},
	{401, "Unauthorized"},
	{403, "Forbidden"},
	{404, "Not Found"},
	{405, "Method Not Allowed"},
	{408, "Request Timeout"},
	{409, "Conflict"},
	{413, "Content Too Large"},
	{415, "Unsupported Media Type"},
	{417, "Expectation Failed"},
	{422, "Unprocessable Content"},
	{429, "Too Many Requests"},
	{431, "Request Header Fields Too Large"},
	{500, "Internal Server Error"},
	{501, "Not Implemented"},
	{502, "Bad Gateway"},
	{503, "Service Unavailable"},
	{504, "Gateway Timeout"},
	{505, "HTTP Version Not Supported"},
};

const char *
http_reason(int status)
{
	for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
		if (reasons[i].status == status)
			return reasons[i].phrase;
	return "Unknown";
}

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

static void
set_timer(Client *client, ClientTimer kind)
{
	const Config *config = client->server->config;
	long ms = kind == TIMER_IDLE   ? config->idle_timeout
			  : kind == TIMER_READ ? config->read_timeout
								   : LINGER_MS;
	struct timeval delay = {ms / 1000, ms % 1000 * 1000};

	if (client->timer_kind == kind && kind != TIMER_IDLE)
		return;
	client->timer_kind = kind;
	if (kind == TIMER_NONE)
		evtimer_del(client->timer);
	else
		evtimer_add(client->timer, &delay);
}

static bool
has_unwritten(Client *client)
{
	return evbuffer_get_length(bufferevent_get_output(client->stream)) > 0;
}

static void
forget_request(Client *client)
{
	free(client->head_text);
	free(client->request.body);
	client->head_text = NULL;
	client->request.body = NULL;
	client->request.body_length = 0;
	client->request.owner = NULL;
	client->body_capacity = 0;
	client->trailer_bytes = 0;
	client->head_scanned = 0;
}

static void
drop_client(Client *client)
{
	HttpServer *server = client->server;

	if (client->state == CLIENT_ANSWERING)
	{
		server->counters.requests--;
		server->counters.disconnected++;
		server->handler.gone(&client->request, server->handler.context);
	}
	forget_request(client);
	TAILQ_REMOVE(&server->clients, client, link);
	server->counters.connections--;
	bufferevent_free(client->stream);
	event_free(client->timer);
	free(client);
	if (server->draining && server->counters.connections == 0 && server->drained)
		server->drained(server->drained_context);
}

/* The last reply is written: say that nothing follows, and wait for the client. */
static void
linger(Client *client)
{
	if (client->ended || client->state == CLIENT_LINGERING)
	{
		drop_client(client);
		return;
	}
	client->state = CLIENT_LINGERING;
	shutdown(bufferevent_getfd(client->stream), SHUT_WR);
	set_timer(client, TIMER_LINGER);
}

/* --- replies ----------------------------------------------------------------- */

static const char *
date_now(HttpServer *server)
{
	time_t now = time(NULL);

	if (now != server->date_second)
	{
		struct tm utc;

		gmtime_r(&now, &utc);
		strftime(server->date, sizeof(server->date), "%a, %d %b %Y %H:%M:%S GMT", &utc);
		server->date_second = now;
	}
	return server->date;
}

/*
 * Writes at once what the socket takes: most replies never see the event loop.
 * Only the rest goes through the stream.
 */
static bool
send_reply(Client *client, struct evbuffer *reply)
{
	struct evbuffer *waiting = bufferevent_get_output(client->stream);

	if (evbuffer_get_length(waiting) == 0)
	{
		if (evbuffer_write(reply, bufferevent_getfd(client->stream)) < 0 &&
			errno != EAGAIN && errno != EINTR)
			return false;
	}
	if (evbuffer_get_length(reply) > 0)
		bufferevent_write_buffer(client->stream, reply);
	return true;
}

static void
write_reply(Client *client, int status, struct evbuffer *headers, struct evbuffer *body,
			bool keep_alive, bool head_only)
{
	HttpServer *server = client->server;
	struct evbuffer *reply = evbuffer_new();
	bool written;

	server->counters.answered[status / 100]++;
	evbuffer_add_printf(reply, "HTTP/1.1 %d %s\r\nDate: %s\r\n", status,
						http_reason(status), date_now(server));
	if (status != 204)
		evbuffer_add_printf(reply, "Content-Length: %zu\r\n", evbuffer_get_length(body));
	if (!keep_alive)
		evbuffer_add_printf(reply, "Connection: close\r\n");
	else if (client->request.head.minor == 0)
		evbuffer_add_printf(reply, "Connection: keep-alive\r\n");
	if (headers)
		evbuffer_add_buffer(reply, headers);
	evbuffer_add(reply, "\r\n", 2);
	if (head_only || status == 204)
		evbuffer_drain(body, evbuffer_get_length(body));
	else
		evbuffer_add_buffer(reply, body);
	written = send_reply(client, reply);
	evbuffer_free(reply);
	forget_request(client);

	client->state = keep_alive && written ? CLIENT_HEAD : CLIENT_CLOSING;
	if (!written)
		client->ended = true;
	set_timer(client, keep_alive && written ? TIMER_IDLE : TIMER_NONE);
}

void
http_reply(HttpRequest *request, int status, struct evbuffer *headers,
		   struct evbuffer *body)
{
	Client *client = (Client *) request;
	HttpServer *server = client->server;
	bool head_only = strcmp(request->head.method, "HEAD") == 0;

	server->counters.requests--;
	write_reply(client, status, headers, body,
				request->head.keep_alive && !server->draining, head_only);
	if (!client->advancing)
		advance(client);
}

/* Refuses a request that is not whole: where the next one begins is unknown. */
static void
refuse(Client *client, int status, const char *why)
{
	HttpServer *server = client->server;
	struct evbuffer *headers = evbuffer_new();
	struct evbuffer *body = evbuffer_new();

	client->request.head.minor = 1;
	server->handler.refused(body, status, why, server->handler.context);
	evbuffer_add_printf(headers, "Content-Type: application/json\r\n");
	if (status == 503)
		evbuffer_add_printf(headers, "Retry-After: 1\r\n");
	write_reply(client, status, headers, body, false, false);
	evbuffer_free(headers);
	evbuffer_free(body);
}

/* --- reading a request ------------------------------------------------------- */

/*
 * Each of these reads one part of a request: true where the next part may follow
 * at once, false where more input is needed (or the state is no reading one).
 */

static bool
hand_over(Client *client)
{
	HttpServer *server = client->server;

	clock_gettime(CLOCK_MONOTONIC, &client->request.received);
	client->state = CLIENT_ANSWERING;
	set_timer(client, TIMER_NONE);
	server->counters.requests++;
	server->handler.request(&client->request, server->handler.context);
	return true;
}

/* Makes room for more of the body; false where it would become too long. */
static bool
grow_body(Client *client, uint64_t more)
{
	HttpRequest *request = &client->request;
	uint64_t wanted = request->body_length + more;

	if (wanted > (uint64_t) client->server->config->max_body)
	{
		refuse(client, 413, "The body is longer than FACTORYD_MAX_BODY allows.");
		return false;
	}
	if (wanted > client->body_capacity || request->body == NULL)
	{
		size_t capacity = client->body_capacity * 2;

		if (capacity < wanted)
			capacity = wanted;
		request->body = memory_resize(request->body, capacity + 1);
		client->body_capacity = capacity;
	}
	request->body[request->body_length] = '\0';
	return true;
}

static bool
begin_body(Client *client)
{
	HttpHead *head = &client->request.head;

	client->body_left = head->body == HTTP_BODY_LENGTH ? head->body_length : 0;
	if (!grow_body(client, client->body_left))
		return false;
	if (head->body == HTTP_BODY_NONE)
		return hand_over(client);
	if (head->expects_continue &&
		evbuffer_get_length(bufferevent_get_input(client->stream)) == 0)
		bufferevent_write(client->stream, "HTTP/1.1 100 Continue\r\n\r\n", 25);
	client->state = head->body == HTTP_BODY_LENGTH ? CLIENT_BODY : CLIENT_CHUNK_SIZE;
	return true;
}

static void
skip_empty_lines(struct evbuffer *input)
{
	char start[2];

	while (evbuffer_copyout(input, start, 2) == 2 && start[0] == '\r' && start[1] == '\n')
		evbuffer_drain(input, 2);
}

/* Whether the input's first line is ended by a bare LF: no end of head would come. */
static bool
ends_line_wrongly(struct evbuffer *input)
{
	struct evbuffer_ptr at = evbuffer_search(input, "\n", 1, NULL);
	char before[HEAD_LIMIT];

	if (at.pos < 0 || at.pos >= HEAD_LIMIT)
		return false;
	if (at.pos == 0)
		return true;
	evbuffer_copyout(input, before, at.pos);
	return before[at.pos - 1] != '\r';
}

static bool
read_head(Client *client)
{
	struct evbuffer *input = bufferevent_get_input(client->stream);
	struct evbuffer_ptr from;
	struct evbuffer_ptr end;
	const char *why;
	size_t length;
	int status;

	/* A client that does not read gets no more replies to leave unread. */
	if (evbuffer_get_length(bufferevent_get_output(client->stream)) >
		UNREAD_REPLIES_LIMIT)
		return false;
	skip_empty_lines(input);
	length = evbuffer_get_length(input);
	if (length == 0)
		return false;
	set_timer(client, TIMER_READ);
	evbuffer_ptr_set(input, &from, client->head_scanned, EVBUFFER_PTR_SET);
	end = evbuffer_search(input, "\r\n\r\n", 4, &from);
	if (end.pos < 0)
	{
		client->head_scanned = length > 3 ? length - 3 : 0;
		if (length > HEAD_LIMIT)
			refuse(client, 431, "The head is longer than 16 kB.");
		else if (ends_line_wrongly(input))
			refuse(client, 400, "A line of the head is not ended by CR LF.");
		return false;
	}
	length = end.pos + 4;
	if (length > HEAD_LIMIT)
	{
		refuse(client, 431, "The head is longer than 16 kB.");
		return false;
	}
	client->head_scanned = 0;
	client->head_text = memory_new(length);
	evbuffer_remove(input, client->head_text, length);
	status = http_parse_head(client->head_text, length, &client->request.head, &why);
	if (status)
	{
		refuse(client, status, why);
		return false;
	}
	return begin_body(client);
}

/* Moves input into the body; true where all of the part has come. */
static bool
take_body(Client *client)
{
	struct evbuffer *input = bufferevent_get_input(client->stream);
	HttpRequest *request = &client->request;
	size_t length = evbuffer_get_length(input);

	if (length > client->body_left)
		length = client->body_left;
	evbuffer_remove(input, request->body + request->body_length, length);
	request->body_length += length;
	request->body[request->body_length] = '\0';
	client->body_left -= length;
	return client->body_left == 0;
}

static bool
read_body(Client *client)
{
	return take_body(client) && hand_over(client);
}

/* The next line, which the caller frees; NULL where it is not whole yet. */
static char *
next_line(Client *client, size_t *length)
{
	struct evbuffer *input = bufferevent_get_input(client->stream);
	char *line = evbuffer_readln(input, length, EVBUFFER_EOL_CRLF_STRICT);

	if (line == NULL && evbuffer_get_length(input) > CHUNK_LINE_LIMIT)
		refuse(client, 400, "A line of the chunked body is too long.");
	return line;
}

static bool
read_chunk_size(Client *client)
{
	size_t length;
	char *line = next_line(client, &length);
	bool good;

	if (line == NULL)
		return false;
	good = strlen(line) == length && http_parse_chunk_size(line, &client->body_left);
	free(line);
	if (!good)
	{
		refuse(client, 400, "A chunk does not begin with its size.");
		return false;
	}
	if (client->body_left > 0 && !grow_body(client, client->body_left))
		return false;
	client->state = client->body_left > 0 ? CLIENT_CHUNK : CLIENT_TRAILERS;
	return true;
}

static bool
read_chunk(Client *client)
{
	if (!take_body(client))
		return false;
	client->state = CLIENT_CHUNK_END;
	return true;
}

static bool
read_chunk_end(Client *client)
{
	struct evbuffer *input = bufferevent_get_input(client->stream);
	char end[2];

	if (evbuffer_get_length(input) < 2)
		return false;
	evbuffer_remove(input, end, 2);
	if (end[0] != '\r' || end[1] != '\n')
	{
		refuse(client, 400, "A chunk is longer than its size.");
		return false;
	}
	client->state = CLIENT_CHUNK_SIZE;
	return true;
}

/* Trailers are read and forgotten: nothing of ours may depend on them. */
static bool
read_trailers(Client *client)
{
	size_t length;
	char *line = next_line(client, &length);

	if (line == NULL)
		return false;
	free(line);
	if (length == 0)
		return hand_over(client);
	client->trailer_bytes += length;
	if (client->trailer_bytes > HEAD_LIMIT)
	{
		refuse(client, 431, "The trailers are longer than 16 kB.");
		return false;
	}
	return true;
}

static bool
wait_for_handler(Client *client)
{
	(void) client;
	return false;
}

static bool
discard_input(Client *client)
{
	struct evbuffer *input = bufferevent_get_input(client->stream);

	evbuffer_drain(input, evbuffer_get_length(input));
	return false;
}

static bool (*const readers[])(Client *) = {
	[CLIENT_HEAD] = read_head,
	[CLIENT_BODY] = read_body,
	[CLIENT_CHUNK_SIZE] = read_chunk_size,
	[CLIENT_CHUNK] = read_chunk,
	[CLIENT_CHUNK_END] = read_chunk_end,
	[CLIENT_TRAILERS] = read_trailers,
	[CLIENT_ANSWERING] = wait_for_handler,
	[CLIENT_CLOSING] = discard_input,
	[CLIENT_LINGERING] = discard_input,
};

/* Goes as far as the input reaches; the client may be gone after this. */
static void
advance(Client *client)
{
	client->advancing = true;
	while (readers[client->state](client))
		;
	client->advancing = false;
	if (client->state == CLIENT_CLOSING && !has_unwritten(client))
		linger(client);
}

/* --- events ------------------------------------------------------------------- */

static void
input_came(struct bufferevent *stream, void *context)
{
	(void) stream;
	advance(context);
}

static void
output_went(struct bufferevent *stream, void *context)
{
	(void) stream;
	advance(context);
}

static void
stream_event(struct bufferevent *stream, short what, void *context)
{
	Client *client = context;

	(void) stream;
	client->ended = true;
	/* It may read its last replies though it sends no more. */
	if ((what & BEV_EVENT_EOF) && has_unwritten(client) &&
		client->state != CLIENT_ANSWERING)
		client->state = CLIENT_CLOSING;
	else
		drop_client(client);
}

static void
time_passed(evutil_socket_t fd, short what, void *context)
{
	Client *client = context;

	(void) fd;
	(void) what;
	if (client->timer_kind == TIMER_READ)
	{
		client->timer_kind = TIMER_NONE;
		refuse(client, 408, "The request was not whole within FACTORYD_READ_TIMEOUT.");
		advance(client);
	}
	else if (client->timer_kind == TIMER_IDLE && has_unwritten(client))
		set_timer(client, TIMER_IDLE);
	else
		drop_client(client);
}

static void
client_came(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *address,
			int address_length, void *context)
{
	HttpServer *server = context;
	struct timeval write_timeout = {WRITE_TIMEOUT_MS / 1000, 0};
	long most = server->config->max_connections;
	int yes = 1;
	Client *client;

	(void) listener;
	(void) address;
	(void) address_length;
	if (server->counters.connections >= most + REFUSALS_MOST)
	{
		server->counters.rejected++;
		evutil_closesocket(fd);
		return;
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
	client = memory_new(sizeof(Client));
	client->server = server;
	client->stream = bufferevent_socket_new(server->base, fd, BEV_OPT_CLOSE_ON_FREE);
	client->timer = evtimer_new(server->base, time_passed, client);
	TAILQ_INSERT_TAIL(&server->clients, client, link);
	server->counters.connections++;
	server->counters.accepted++;
	bufferevent_setcb(client->stream, input_came, output_went, stream_event, client);
	bufferevent_setwatermark(client->stream, EV_READ, 0, READ_AHEAD);
	bufferevent_set_timeouts(client->stream, NULL, &write_timeout);
	bufferevent_enable(client->stream, EV_READ | EV_WRITE);
	set_timer(client, TIMER_IDLE);
	if (server->counters.connections > most)
	{
		server->counters.rejected++;
		refuse(client, 503, "As many clients as FACTORYD_MAX_CONNECTIONS are connected.");
		advance(client);
	}
}

static void
accept_again(evutil_socket_t fd, short what, void *context)
{
	HttpServer *server = context;

	(void) fd;
	(void) what;
	if (server->listener)
		evconnlistener_enable(server->listener);
}

/* Out of file descriptors, most likely: trying again at once would spin. */
static void
accept_failed(struct evconnlistener *listener, void *context)
{
	HttpServer *server = context;
	struct timeval pause = {ACCEPT_PAUSE_MS / 1000, 0};

	log_error("could not accept a client: %s",
			  evutil_socket_error_to_string(EVUTIL_SOCKET_ERROR()));
	evconnlistener_disable(listener);
	evtimer_add(server->accept_pause, &pause);
}

HttpServer *
http_listen(struct event_base *base, const Config *config, HttpHandler handler)
{
	struct sockaddr_storage address;
	int length = sizeof(address);
	HttpServer *server;

	memset(&address, 0, sizeof(address));
	if (evutil_parse_sockaddr_port(config->listen, (struct sockaddr *) &address,
								   &length) < 0)
	{
		log_error("FACTORYD_LISTEN \"%s\" is not an address and a port", config->listen);
		log_hint("Write it like 127.0.0.1:8080, 0.0.0.0:8080 or [::1]:8080.");
		return NULL;
	}
	server = memory_new(sizeof(HttpServer));
	server->base = base;
	server->config = config;
	server->handler = handler;
	TAILQ_INIT(&server->clients);
	server->listener =
		evconnlistener_new_bind(base, client_came, server,
								LEV_OPT_CLOSE_ON_FREE | LEV_OPT_REUSEABLE |
									LEV_OPT_CLOSE_ON_EXEC,
								1024, (struct sockaddr *) &address, length);
	if (server->listener == NULL)
	{
		log_error("could not listen on %s: %s", config->listen, strerror(errno));
		if (errno == EADDRINUSE)
			log_hint(
				"Another program has that port; choose another with FACTORYD_LISTEN.");
		free(server);
		return NULL;
	}
	evconnlistener_set_error_cb(server->listener, accept_failed);
	server->accept_pause = evtimer_new(base, accept_again, server);
	return server;
}

void
http_drain(HttpServer *server, void (*drained)(void *context), void *context)
{
	Client *client;
	Client *next;

	server->draining = true;
	if (server->listener)
		evconnlistener_free(server->listener);
	server->listener = NULL;
	for (client = TAILQ_FIRST(&server->clients); client; client = next)
	{
		next = TAILQ_NEXT(client, link);
		if (client->state != CLIENT_HEAD || client->timer_kind != TIMER_IDLE)
			continue;
		client->state = CLIENT_CLOSING;
		if (!has_unwritten(client))
			drop_client(client);
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
		drop_client(TAILQ_FIRST(&server->clients));
	if (server->listener)
		evconnlistener_free(server->listener);
	event_free(server->accept_pause);
	free(server);
}
