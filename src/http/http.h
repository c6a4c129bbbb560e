/*
 * http.h
 *		Requests to the outside world: many at once, cancellable, never blocking
 *		a signal.
 *
 * One libcurl multi handle a process, driven by the process latch.  A transfer
 * is started, goes on whenever the engine is pumped, and is waited for or
 * abandoned.  Transfers belong to the memory context they were started in: its
 * reset or deletion abandons them, so an error leaves nothing behind.
 */
#ifndef FACTORY_HTTP_H
#define FACTORY_HTTP_H

#include "datatype/timestamp.h"
#include "nodes/pg_list.h"

typedef enum HttpOutcome
{
	HTTP_PENDING,
	HTTP_ANSWERED, /* status and body are there, whatever the status */
	HTTP_TIMED_OUT,
	HTTP_UNREACHABLE, /* name not resolved, refused, TLS failed, cut */
	HTTP_DENIED,      /* egress rules forbid the address or scheme */
	HTTP_TOO_LARGE
} HttpOutcome;

typedef struct HttpRequest
{
	const char *method; /* "GET", "POST" */
	const char *url;
	List *headers;    /* of char *, "Name: value" */
	const char *body; /* NULL for none */
	size_t body_length;
	TimestampTz deadline;     /* the transfer ends by then */
	int connect_ms;           /* to be connected, TLS included; 0: the setting's */
	int first_byte_ms;        /* to the answer's first byte; 0: the setting's */
	size_t max_answer;        /* bytes after decompression */
	bool is_anew;             /* on a new connection: an open one may be dead */
	bool allow_http;          /* plain http */
	bool allow_private;       /* loopback, link-local, private addresses */
	const char *ca_file;      /* NULL: the system's authorities */
	const char *keep_headers; /* the answer's headers with this in their names are kept */
	const char *group;        /* requests that are counted together, or NULL */
	int group_limit; /* of that group, this many at once; more wait; 0: no limit */
} HttpRequest;

typedef struct HttpTransfer HttpTransfer;

typedef struct HttpAnswer
{
	HttpOutcome outcome;
	long status; /* of HTTP_ANSWERED */
	char *body;  /* NUL-terminated */
	size_t body_length;
	char *content_type; /* as the peer says it, or NULL */
	int retry_after_ms; /* from the answer's header; -1 for none */
	List *headers;      /* of char *, "name: value", as keep_headers says; names lower */
	char *reason;       /* of every other outcome: one phrase, no secrets */
	double elapsed_ms;
} HttpAnswer;

/* Sends as much as goes without waiting. */
extern HttpTransfer *http_start(const HttpRequest *request);

/*
 * For many transfers at once: turn, ask each whether it has ended, wait until the
 * nearest of their moments.  Only the wait raises, on cancel and shutdown, and it
 * needs no transaction.
 */
extern void http_turn(void);
extern bool http_ended(HttpTransfer *transfer);
extern void http_wait(TimestampTz until);

/* When a transfer under way must be looked at again, even if nothing comes. */
extern TimestampTz http_next_moment(const HttpTransfer *transfer);

/* What a transfer that has ended brought; to be called once. */
extern HttpAnswer *http_take_answer(HttpTransfer *transfer);

/* One turn of the engine without waiting; true when the transfer has ended. */
extern bool http_pump(HttpTransfer *transfer);

/* Waits for the end; raises only on cancel and shutdown. */
extern HttpAnswer *http_finish(HttpTransfer *transfer);

extern void http_abandon(HttpTransfer *transfer);

/* NULL where this is an absolute http or https URL without user or fragment, else why. */
extern char *http_url_error(const char *url);

/* A path below a base URL, in front of its query: base/path?query. */
extern char *http_url_join(const char *base, const char *path);

/* The host of a URL, an IPv6 address without brackets; NULL where there is none. */
extern char *http_url_host(const char *url);

/* A text as one piece of a path. */
extern char *http_url_escape(const char *text);

extern void http_define_settings(void);

#endif /* FACTORY_HTTP_H */
