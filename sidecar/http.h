/*
 * http.h
 *		The HTTP/1.1 server: connections in, requests out, replies back.
 */
#ifndef FACTORYD_HTTP_H
#define FACTORYD_HTTP_H

#include <event2/buffer.h>
#include <event2/event.h>

#include "config.h"
#include "http_parse.h"

typedef struct HttpServer HttpServer;
typedef struct HttpRequest HttpRequest;

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
	/* Answers now or later with http_reply, exactly once. */
	void (*request)(HttpRequest *request, void *context);
	/* The client left before the answer: the request is gone after this. */
	void (*gone)(HttpRequest *request, void *context);
	/* A request was refused before it was whole: writes the body that says why. */
	void (*refused)(struct evbuffer *body, int status, const char *why, void *context);
	void *context;
} HttpHandler;

/* Listens; NULL where it cannot, and the log says why. */
extern HttpServer *http_listen(struct event_base *base, const Config *config,
							   HttpHandler handler);

/*
 * Answers.  headers holds whole header lines (CR LF each) beyond Date, Content-Length
 * and Connection; both buffers are emptied.  The request is gone after this.
 */
extern void http_reply(HttpRequest *request, int status, struct evbuffer *headers,
					   struct evbuffer *body);

/* The reason phrase of a status. */
extern const char *http_reason(int status);

/* Accepts no more, closes what rests; calls back when the last client is gone. */
extern void http_drain(HttpServer *server, void (*drained)(void *context), void *context);
extern bool http_is_draining(const HttpServer *server);
extern void http_free(HttpServer *server);

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

#endif /* FACTORYD_HTTP_H */
