/*
 * http.c
 *		The HTTP/1.1 server: connections in, requests out, replies back.
 *
 * Our own, on libevent's events alone: evhttp is lenient where two parsers could
 * disagree and has no deadline for a whole request, and a bufferevent asks the kernel
 * how much there is before each read and allocates for each reply.  Here a request
 * that comes whole costs one read, one write, no allocation and no timer.
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
#include <event2/event_struct.h>
#include <event2/util.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "log.h"
#include "text.h"
#include "tls.h"

#define HEAD_LIMIT 16384
#define CHUNK_LINE_LIMIT 4096
#define READ_AHEAD 65536
#define READ_SIZE 16384

/* A client that does not read its replies gets no more of them. */
#define UNREAD_REPLIES_LIMIT (256 * 1024)
#define UNREAD_REPLIES_RESUME (64 * 1024)

/* Memory that a client keeps from one request to the next. */
#define KEEP_MEMORY 1024

#define WRITE_TIMEOUT_MS 60000
#define LINGER_MS 2000

/* Clients beyond the limit that are told so; still more are cut off. */
#define REFUSALS_MOST 64

typedef enum ClientState
{
	CLIENT_HANDSHAKE,  /* TLS is being agreed on */
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
	TIMER_LINGER,
	TIMER_KINDS
} ClientTimer;

typedef struct Client
{
	HttpRequest request; /* must be first: a request leads to its client */
	HttpServer *server;
	TAILQ_ENTRY(Client) link;
	int fd;
	Tls *tls; /* NULL where it speaks plainly */
	struct event readable;
	struct event writable;
	struct event timer;
	ClientTimer timer_kind;
	ClientState state;
	long long rests_since; /* the idle timer is not touched for each request */
	Buffer input;
	Buffer output;       /* what the socket did not take yet */
	Buffer head;         /* what request.head points into */
	Buffer body;         /* request.body */
	size_t head_scanned; /* bytes of input known to hold no end of head */
	uint64_t body_left;  /* of the body or chunk being read */
	size_t trailer_bytes;
	bool advancing;    /* advance() is on the stack */
	bool ended;        /* the client sends no more */
	bool broken;       /* nor does it take anything */
	bool reading;      /* readable is added */
	bool streaming;    /* its reply is sent in pieces */
	bool chunked;      /* and they are chunks */
	bool stream_waits; /* the handler waits to be called writable */
	bool keep_alive;   /* after the stream */
} Client;

struct HttpServer
{
	struct event_base *base;
	const Config *config;
	struct TlsContext *tls;
	HttpHandler handler;
	const struct timeval *durations[TIMER_KINDS];
	struct timeval plain_durations[TIMER_KINDS]; /* TIMER_NONE's: write_timeout */
	const struct timeval *write_timeout;
	long *clients_of_all; /* shared between loops */
	TAILQ_HEAD(, Client) clients;
	HttpCounters counters;
	Buffer scratch; /* the head of the reply being written */
	time_t date_second;
	char date[40];
	bool draining;
	void (*drained)(void *context);
	void *drained_context;
};

static void advance(Client *client);
static void input_came(evutil_socket_t fd, short what, void *context);

static const struct
{
	int status;
	const char *phrase;
} reasons[] = {
	{200, "OK"},
	{201, "Created"},
	{204, "No Content"},
	{206, "Partial Content"},
	{300, "Multiple Choices"},
	{400, "Bad Request"},
	{401, "Unauthorized"},
	{403, "Forbidden"},
	{404, "Not Found"},
	{405, "Method Not Allowed"},
	{406, "Not Acceptable"},
	{408, "Request Timeout"},
	{409, "Conflict"},
	{413, "Content Too Large"},
	{415, "Unsupported Media Type"},
	{416, "Range Not Satisfiable"},
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
	client->rests_since = text_clock_ms();
	if (client->timer_kind == kind)
		return;
	client->timer_kind = kind;
	if (kind == TIMER_NONE)
		event_del(&client->timer);
	else
		event_add(&client->timer, client->server->durations[kind]);
}

static bool
has_unwritten(const Client *client)
{
	return client->output.length > 0 && !client->broken;
}

static void
forget_request(Client *client)
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

static void
drop_client(Client *client)
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

static void
want_input(Client *client, bool wanted)
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
static void
linger(Client *client)
{
	if (client->ended || client->state == CLIENT_LINGERING)
	{
		drop_client(client);
		return;
	}
	client->state = CLIENT_LINGERING;
	if (client->tls)
		tls_shutdown(client->tls);
	shutdown(client->fd, SHUT_WR);
	want_input(client, true);
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

/* What the socket takes of these now; -1 where the client is gone. */
static ssize_t
write_some(Client *client, const struct iovec *pieces, int count)
{
	struct msghdr message = {.msg_iov = (struct iovec *) pieces, .msg_iovlen = count};
	ssize_t written = 0;

	if (client->tls)
	{
		for (int i = 0; i < count; i++)
		{
			ssize_t taken = tls_write(client->tls, pieces[i].iov_base, pieces[i].iov_len);

			if (taken < 0)
				return -1;
			written += taken;
			if ((size_t) taken < pieces[i].iov_len)
				break;
		}
		return written;
	}
	do
		written = sendmsg(client->fd, &message, MSG_NOSIGNAL);
	while (written < 0 && errno == EINTR);
	if (written < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
		return 0;
	return written;
}

/* The client takes nothing any more; what is left to do is done from the loop. */
static void
break_client(Client *client)
{
	client->broken = true;
	client->ended = true;
	buffer_clear(&client->output, 0);
	event_active(&client->writable, EV_WRITE, 0);
}

/*
 * Writes at once what the socket takes: most replies never see the event loop.  Only
 * the rest is copied and waits.
 */
static void
send_pieces(Client *client, const struct iovec *pieces, int count)
{
	ssize_t written = 0;

	if (client->broken)
		return;
	if (client->output.length == 0)
		written = write_some(client, pieces, count);
	if (written < 0)
	{
		break_client(client);
		return;
	}
	for (int i = 0; i < count; i++)
	{
		size_t gone =
			(size_t) written < pieces[i].iov_len ? (size_t) written : pieces[i].iov_len;

		buffer_add(&client->output, (char *) pieces[i].iov_base + gone,
				   pieces[i].iov_len - gone);
		written -= gone;
	}
	if (client->output.length > 0)
		event_add(&client->writable, client->server->write_timeout);
}

/* The lines that every reply has, into the server's scratch. */
static Buffer *
begin_head(Client *client, int status, bool keep_alive)
{
	HttpServer *server = client->server;
	Buffer *head = &server->scratch;

	COUNT(server->counters.answered[status / 100], 1);
	buffer_clear(head, READ_SIZE);
	buffer_add(head, "HTTP/1.1 ", 9);
	buffer_add_number(head, status);
	buffer_add_char(head, ' ');
	buffer_add_text(head, http_reason(status));
	buffer_add(head, "\r\nDate: ", 8);
	buffer_add_text(head, date_now(server));
	buffer_add(head, "\r\n", 2);
	if (!keep_alive)
		buffer_add_text(head, "Connection: close\r\n");
	else if (client->request.head.minor == 0)
		buffer_add_text(head, "Connection: keep-alive\r\n");
	return head;
}

static void
end_reply(Client *client, bool keep_alive)
{
	forget_request(client);
	client->state = keep_alive && !client->broken ? CLIENT_HEAD : CLIENT_CLOSING;
	set_timer(client, client->state == CLIENT_HEAD ? TIMER_IDLE : TIMER_NONE);
}

static void
write_reply(Client *client, int status, const Buffer *headers, const char *body,
			size_t length, bool keep_alive, bool head_only)
{
	Buffer *head = begin_head(client, status, keep_alive);
	struct iovec pieces[2];

	if (status != 204)
	{
		buffer_add_text(head, "Content-Length: ");
		buffer_add_number(head, (long long) length);
		buffer_add(head, "\r\n", 2);
	}
	if (headers)
		buffer_add(head, buffer_bytes(headers), headers->length);
	buffer_add(head, "\r\n", 2);
	pieces[0] = (struct iovec){buffer_bytes(head), head->length};
	pieces[1] = (struct iovec){(void *) body, length};
	send_pieces(client, pieces, head_only || status == 204 || length == 0 ? 1 : 2);
	end_reply(client, keep_alive);
}

void
http_reply(HttpRequest *request, int status, const Buffer *headers, const char *body,
		   size_t length)
{
	Client *client = (Client *) request;
	HttpServer *server = client->server;
	bool head_only = strcmp(request->head.method, "HEAD") == 0;

	COUNT(server->counters.requests, -1);
	write_reply(client, status, headers, body, length,
				request->head.keep_alive && !server->draining, head_only);
	if (!client->advancing)
		advance(client);
}

void
http_stream_begin(HttpRequest *request, int status, const Buffer *headers)
{
	Client *client = (Client *) request;
	Buffer *head;
	struct iovec piece;

	client->chunked = request->head.minor > 0;
	client->keep_alive =
		client->chunked && request->head.keep_alive && !client->server->draining;
	client->streaming = true;
	head = begin_head(client, status, client->keep_alive);
	if (client->chunked)
		buffer_add_text(head, "Transfer-Encoding: chunked\r\n");
	buffer_add(head, buffer_bytes(headers), headers->length);
	buffer_add(head, "\r\n", 2);
	piece = (struct iovec){buffer_bytes(head), head->length};
	send_pieces(client, &piece, 1);
}

bool
http_stream_add(HttpRequest *request, const char *data, size_t length)
{
	Client *client = (Client *) request;
	char size[24];
	struct iovec pieces[3] = {{size, 0}, {(void *) data, length}, {"\r\n", 2}};

	if (length > 0 && client->chunked)
	{
		pieces[0].iov_len = snprintf(size, sizeof(size), "%zx\r\n", length);
		send_pieces(client, pieces, 3);
	}
	else if (length > 0)
		send_pieces(client, pieces + 1, 1);
	client->stream_waits = client->output.length > UNREAD_REPLIES_LIMIT;
	return !client->stream_waits;
}

void
http_stream_end(HttpRequest *request)
{
	Client *client = (Client *) request;
	struct iovec piece = {"0\r\n\r\n", 5};
	bool keep_alive = client->keep_alive;

	if (client->chunked)
		send_pieces(client, &piece, 1);
	COUNT(client->server->counters.requests, -1);
	end_reply(client, keep_alive);
	if (!client->advancing)
		advance(client);
}

void
http_stream_cut(HttpRequest *request)
{
	Client *client = (Client *) request;

	COUNT(client->server->counters.requests, -1);
	forget_request(client);
	client->state = CLIENT_CLOSING;
	break_client(client);
}

/* Refuses a request that is not whole: where the next one begins is unknown. */
static void
refuse(Client *client, int status, const char *why)
{
	HttpServer *server = client->server;
	Buffer headers = {0};
	Buffer body = {0};

	client->request.head.minor = 1;
	server->handler.refused(&body, status, why, server->handler.context);
	buffer_add_text(&headers, "Content-Type: application/json\r\n");
	if (status == 503)
		buffer_add_text(&headers, "Retry-After: 1\r\n");
	write_reply(client, status, &headers, buffer_bytes(&body), body.length, false, false);
	buffer_free(&headers);
	buffer_free(&body);
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
	client->request.body = buffer_text(&client->body);
	client->request.body_length = client->body.length;
	client->state = CLIENT_ANSWERING;
	if (client->timer_kind == TIMER_READ)
		set_timer(client, TIMER_NONE);
	COUNT(server->counters.requests, 1);
	server->handler.request(&client->request, server->handler.context);
	return true;
}

/* Whether the body may have that much more; refuses it where not. */
static bool
body_may_grow(Client *client, uint64_t more)
{
	uint64_t most = client->server->config->max_body;

	if (more <= most && client->body.length + more <= most)
		return true;
	refuse(client, 413, "The body is longer than FACTORYD_MAX_BODY allows.");
	return false;
}

static bool
begin_body(Client *client)
{
	HttpHead *head = &client->request.head;
	struct iovec piece = {"HTTP/1.1 100 Continue\r\n\r\n", 25};

	client->body_left = head->body == HTTP_BODY_LENGTH ? head->body_length : 0;
	if (!body_may_grow(client, client->body_left))
		return false;
	if (head->body == HTTP_BODY_NONE)
		return hand_over(client);
	if (head->expects_continue && client->input.length == 0)
		send_pieces(client, &piece, 1);
	client->state = head->body == HTTP_BODY_LENGTH ? CLIENT_BODY : CLIENT_CHUNK_SIZE;
	return true;
}

/* Whether the input's first line is ended by a bare LF: no end of head would come. */
static bool
ends_line_wrongly(const Buffer *input)
{
	const char *bytes = buffer_bytes(input);
	const char *end = memchr(bytes, '\n', input->length);

	return end && (end == bytes || end[-1] != '\r');
}

static bool
read_head(Client *client)
{
	Buffer *input = &client->input;
	const char *end;
	const char *why;
	size_t length;
	int status;

	/* A client that does not read gets no more replies to leave unread. */
	if (client->output.length > UNREAD_REPLIES_LIMIT)
		return false;
	while (input->length >= 2 && memcmp(buffer_bytes(input), "\r\n", 2) == 0)
		buffer_take(input, 2);
	if (input->length == 0)
		return false;
	end = memmem(buffer_bytes(input) + client->head_scanned,
				 input->length - client->head_scanned, "\r\n\r\n", 4);
	if (end == NULL)
	{
		set_timer(client, TIMER_READ);
		client->head_scanned = input->length > 3 ? input->length - 3 : 0;
		if (input->length > HEAD_LIMIT)
			refuse(client, 431, "The head is longer than 16 kB.");
		else if (ends_line_wrongly(input))
			refuse(client, 400, "A line of the head is not ended by CR LF.");
		return false;
	}
	length = end + 4 - buffer_bytes(input);
	if (length > HEAD_LIMIT)
	{
		refuse(client, 431, "The head is longer than 16 kB.");
		return false;
	}
	client->head_scanned = 0;
	buffer_add(&client->head, buffer_bytes(input), length);
	buffer_take(input, length);
	status =
		http_parse_head(buffer_text(&client->head), length, &client->request.head, &why);
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
	Buffer *input = &client->input;
	size_t length = input->length;

	if (length > client->body_left)
		length = client->body_left;
	buffer_add(&client->body, buffer_bytes(input), length);
	buffer_take(input, length);
	client->body_left -= length;
	return client->body_left == 0;
}

/* More has to come: from now on the whole request has its deadline. */
static bool
wait_for_more(Client *client)
{
	set_timer(client, TIMER_READ);
	return false;
}

static bool
read_body(Client *client)
{
	return take_body(client) ? hand_over(client) : wait_for_more(client);
}

/* The next line, cut off the input; NULL where it is not whole yet. */
static char *
next_line(Client *client, size_t *length)
{
	Buffer *input = &client->input;
	char *line = buffer_bytes(input);
	char *end = input->length ? memmem(line, input->length, "\r\n", 2) : NULL;

	if (end == NULL)
	{
		if (input->length > CHUNK_LINE_LIMIT)
			refuse(client, 400, "A line of the chunked body is too long.");
		else
			wait_for_more(client);
		return NULL;
	}
	*end = '\0';
	*length = end - line;
	/* The bytes stay where they are until more is read. */
	buffer_take(input, *length + 2);
	return line;
}

static bool
read_chunk_size(Client *client)
{
	size_t length;
	char *line = next_line(client, &length);

	if (line == NULL)
		return false;
	if (strlen(line) != length || !http_parse_chunk_size(line, &client->body_left))
	{
		refuse(client, 400, "A chunk does not begin with its size.");
		return false;
	}
	if (client->body_left > 0 && !body_may_grow(client, client->body_left))
		return false;
	client->state = client->body_left > 0 ? CLIENT_CHUNK : CLIENT_TRAILERS;
	return true;
}

static bool
read_chunk(Client *client)
{
	if (!take_body(client))
		return wait_for_more(client);
	client->state = CLIENT_CHUNK_END;
	return true;
}

static bool
read_chunk_end(Client *client)
{
	Buffer *input = &client->input;

	if (input->length < 2)
		return wait_for_more(client);
	if (memcmp(buffer_bytes(input), "\r\n", 2) != 0)
	{
		refuse(client, 400, "A chunk is longer than its size.");
		return false;
	}
	buffer_take(input, 2);
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
	buffer_clear(&client->input, 0);
	return false;
}

static bool
shake_hands(Client *client)
{
	TlsProgress progress = tls_handshake(client->tls);

	if (progress == TLS_WANTS_WRITE)
		event_add(&client->writable, client->server->write_timeout);
	if (progress == TLS_FAILED)
	{
		client->state = CLIENT_CLOSING;
		client->ended = true;
	}
	if (progress != TLS_DONE)
		return false;
	client->state = CLIENT_HEAD;
	if (tls_has_input(client->tls))
		event_active(&client->readable, EV_READ, 0);
	return true;
}

static bool (*const readers[])(Client *) = {
	[CLIENT_HANDSHAKE] = shake_hands,  [CLIENT_HEAD] = read_head,
	[CLIENT_BODY] = read_body,         [CLIENT_CHUNK_SIZE] = read_chunk_size,
	[CLIENT_CHUNK] = read_chunk,       [CLIENT_CHUNK_END] = read_chunk_end,
	[CLIENT_TRAILERS] = read_trailers, [CLIENT_ANSWERING] = wait_for_handler,
	[CLIENT_CLOSING] = discard_input,  [CLIENT_LINGERING] = discard_input,
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
	{
		linger(client);
		return;
	}
	want_input(client, client->input.length < READ_AHEAD && !client->ended);
}

/* --- events ------------------------------------------------------------------- */

static void
input_ended(Client *client)
{
	client->ended = true;
	want_input(client, false);
	/* It may read its last replies though it sends no more. */
	if (has_unwritten(client) && client->state != CLIENT_ANSWERING)
		client->state = CLIENT_CLOSING;
	else
		drop_client(client);
}

static void
input_came(evutil_socket_t fd, short what, void *context)
{
	Client *client = context;
	char *place;
	ssize_t length;

	(void) what;
	if (client->state == CLIENT_HANDSHAKE)
	{
		advance(client);
		return;
	}
	place = buffer_reserve(&client->input, READ_SIZE);
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
	client->input.length += length;
	if (client->tls && tls_has_input(client->tls))
		event_active(&client->readable, EV_READ, 0);
	advance(client);
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
		drop_client(client);
		return;
	}
	if (client->state == CLIENT_HANDSHAKE)
	{
		advance(client);
		return;
	}
	piece = (struct iovec){buffer_bytes(output), output->length};
	written = output->length ? write_some(client, &piece, 1) : 0;
	if (written < 0)
	{
		client->broken = true;
		drop_client(client);
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
		drop_client(client);
	else
		advance(client);
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
		refuse(client, 408, "The request was not whole within FACTORYD_READ_TIMEOUT.");
		advance(client);
	}
	else if (kind == TIMER_IDLE &&
			 (has_unwritten(client) || client->state == CLIENT_ANSWERING ||
			  rested + 10 < client->server->config->idle_timeout))
	{
		long left = client->server->config->idle_timeout - rested;
		struct timeval delay = {left / 1000, left % 1000 * 1000};

		client->timer_kind = TIMER_IDLE;
		event_add(&client->timer,
				  left > 0 ? &delay : client->server->durations[TIMER_IDLE]);
	}
	else
		drop_client(client);
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
	want_input(client, true);
	set_timer(client, server->tls ? TIMER_READ : TIMER_IDLE);
	if (clients > most)
	{
		COUNT(server->counters.rejected, 1);
		client->state = CLIENT_HEAD;
		refuse(client, 503, "As many clients as FACTORYD_MAX_CONNECTIONS are connected.");
		advance(client);
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
	buffer_free(&server->scratch);
	free(server);
}
