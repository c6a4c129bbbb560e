/*
 * http_int.h
 *		What http.c, http_read.c and http_reply.c share: a client.
 */
#ifndef FACTORYD_HTTP_INT_H
#define FACTORYD_HTTP_INT_H

#include <event2/event_struct.h>
#include <sys/queue.h>
#include <sys/uio.h>
#include <time.h>

#include "http.h"
#include "tls.h"

#define READ_SIZE 16384

/* A client that does not read its replies gets no more of them. */
#define UNREAD_REPLIES_LIMIT (256 * 1024)
#define UNREAD_REPLIES_RESUME (64 * 1024)

/* Memory that a client keeps from one request to the next. */
#define KEEP_MEMORY 1024

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
	Buffer scratch;          /* the head of the reply being written */
	char arrived[READ_SIZE]; /* what was read last: clients keep what they need of it */
	time_t date_second;
	char date[40];
	bool draining;
	void (*drained)(void *context);
	void *drained_context;
};

static inline bool
client_has_unwritten(const Client *client)
{
	return client->output.length > 0 && !client->broken;
}

/* http.c: a client's life */
extern void client_set_timer(Client *client, ClientTimer kind);
extern void client_want_input(Client *client, bool wanted);

/* What the request before left behind. */
extern void client_forget_request(Client *client);

/* The last reply is written: say that nothing follows, and wait for the client. */
extern void client_linger(Client *client);
extern void client_drop(Client *client);

/* http_read.c: does what its input allows; it may be gone after this. */
extern void client_advance(Client *client);

/* http_reply.c: writes what the socket takes now, and keeps the rest. */
extern void client_send(Client *client, const struct iovec *pieces, int count);

/* What the socket takes of these now; -1 where the client is gone. */
extern ssize_t client_write_some(Client *client, const struct iovec *pieces, int count);

/* Answers what is no request, and closes. */
extern void client_refuse(Client *client, int status, const char *why);

#endif /* FACTORYD_HTTP_INT_H */
