/*
 * http.h
 *		The HTTP/1.1 server: connections in, requests out, replies back.
 */
#ifndef FACTORYD_HTTP_H
#define FACTORYD_HTTP_H

#include <event2/event.h>
#include <time.h>

#include "buffer.h"
#include "config.h"
#include "http_parse.h"

typedef struct HttpServer HttpServer;
typedef struct HttpRequest HttpRequest;
struct TlsContext;

/* A whole request.  It lives until it is answered or its client is gone. */
struct HttpRequest
{
	HttpHead head;
	char *body; /* with a zero byte behind it; never NULL */
	size_t body_length;
	struct timespec received;
	void *owner; /* the handler's own */
};

typedef struct HttpHandler
{
	/* Answers now or later with http_reply or a stream, exactly once. */
	void (*request)(HttpRequest *request, void *context);
	/* The client left before the answer: the request is gone after this. */
	void (*gone)(HttpRequest *request, void *context);
	/* A stream that was told to wait may go on. */
	void (*writable)(HttpRequest *request, void *context);
	/* A request was refused before it was whole: writes the body that says why. */
	void (*refused)(Buffer *body, int status, const char *why, void *context);
	void *context;
} HttpHandler;

/* A server for one loop.  clients_of_all counts those of all loops. */
extern HttpServer *http_open(struct event_base *base, const Config *config,
							 struct TlsContext *tls, long *clients_of_all,
							 HttpHandler handler);

/* From now on by these; a client that is there keeps its way of speaking. */
extern void http_change(HttpServer *server, const Config *config, struct TlsContext *tls);

/* Serves a client that was accepted; it is one of that many. */
extern void http_adopt(HttpServer *server, int fd, long clients);

/*
 * Answers.  headers holds whole header lines (CR LF each) beyond Date, Content-Length
 * and Connection.  The request is gone after this.
 */
extern void http_reply(HttpRequest *request, int status, const Buffer *headers,
					   const char *body, size_t length);

/*
 * Answers in pieces.  http_stream_add is false where the client has enough to read for
 * now: the handler's writable says when to go on.  http_stream_cut ends it so that the
 * client sees that it is not whole.  The request is gone after either end.
 */
extern void http_stream_begin(HttpRequest *request, int status, const Buffer *headers);
extern bool http_stream_add(HttpRequest *request, const char *data, size_t length);
extern void http_stream_end(HttpRequest *request);
extern void http_stream_cut(HttpRequest *request);

/* The reason phrase of a status. */
extern const char *http_reason(int status);

/* The client's address, written to target. */
extern const char *http_peer(const HttpRequest *request, char *target, size_t size);

/* Closes what rests and calls back when the last client is gone. */
extern void http_drain(HttpServer *server, void (*drained)(void *context), void *context);
extern bool http_is_draining(const HttpServer *server);
extern void http_free(HttpServer *server);

/* Written by the server's own loop; other loops may read them. */
typedef struct HttpCounters
{
	long connections;       /* open */
	long requests;          /* being answered */
	long long accepted;     /* connections ever */
	long long rejected;     /* connections refused for want of room */
	long long answered[6];  /* replies by the first digit of their status */
	long long disconnected; /* clients gone before their answer */
} HttpCounters;

extern const HttpCounters *http_counters(const HttpServer *server);

/*
 * One loop writes a counter, others read it: no lock, no locked instruction, and never
 * half a number.
 */
#define COUNT(counter, by) \
	__atomic_store_n(&(counter), (counter) + (by), __ATOMIC_RELAXED)
#define COUNTED(counter) __atomic_load_n(&(counter), __ATOMIC_RELAXED)

#endif /* FACTORYD_HTTP_H */
