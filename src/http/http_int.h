/*
 * http_int.h
 *		Between the files of the http room.
 */
#ifndef FACTORY_HTTP_INT_H
#define FACTORY_HTTP_INT_H

#include <curl/curl.h>
#include <sys/socket.h>

#include "http/http.h"
#include "lib/ilist.h"

#if LIBCURL_VERSION_NUM < 0x075500
#error "pg_factory needs libcurl 7.85 or later"
#endif

/* --- a transfer ------------------------------------------------------------------ */

/* How far a transfer has come. */
typedef enum HttpPhase
{
	PHASE_QUEUE,
	PHASE_RESOLVE,
	PHASE_CONNECT,
	PHASE_TLS,
	PHASE_SEND,
	PHASE_WAIT,
	PHASE_RECEIVE
} HttpPhase;

typedef struct HttpHandle HttpHandle;

struct HttpTransfer
{
	dlist_node node; /* in under_way or queued, once there is a handle */
	bool is_queued;
	char *group;
	int group_limit;
	HttpHandle *handle; /* NULL once ended */
	MemoryContextCallback on_reset;
	MemoryContext context;
	TimestampTz started;
	TimestampTz handed_over; /* to curl; 0 while queued */
	TimestampTz deadline;
	int connect_ms;
	int first_byte_ms; /* 0 for no limit of its own */
	const char *keep_headers;
	size_t request_length;
	bool is_tls;
	bool allow_private;
	size_t max_answer;

	/* written in curl's callbacks */
	HttpPhase phase;
	bool is_resolving;
	const char *denial; /* of the last address refused */
	bool no_descriptor;
	bool too_large;
	size_t header_bytes;
	bool says_retry;  /* a header tells when to come again */
	bool says_wanted; /* a header's name has keep_headers in it */
	char *body;       /* malloc'd */
	size_t body_length;
	size_t body_room;

	/* once ended */
	HttpOutcome outcome;
	TimestampTz ended;
	long status;
	int retry_after_ms;
	List *headers;
	char *content_type;
	char *reason;
};

extern int http_spin_us; /* setting factory.http_spin */

/* --- engine.c: one multi handle a process -------------------------------------- */

/* Called once for every transfer that curl has ended. */
typedef void (*EngineEndCallback)(CURL *easy, CURLcode result);

/* Raises only when out of memory or file descriptors. */
extern void engine_begin(EngineEndCallback on_end);

/* TLS sessions, for a later connection to begin with; NULL where curl has none. */
extern CURLSH *engine_share(void);

extern bool engine_add(CURL *easy);

/* Also ends the connection, where the transfer was under way. */
extern void engine_drop(CURL *easy);

/* Does all that can be done without waiting; false when nothing could. */
extern bool engine_turn(void);

/* Whether curl has sent all it has to, as far as it told last, and waits to be answered. */
extern bool engine_is_reading(void);

/* Waits until something can be done or the moment comes; raises on interrupts. */
extern void engine_wait(TimestampTz until);

/* From curl's callbacks: a name is about to be resolved, or is; a socket is closed. */
extern void engine_resolver_starts(void);
extern void engine_resolver_ends(void);
extern void engine_socket_closes(curl_socket_t socket);

/* --- handle.c: what curl is told of a request, and what it tells us ---------------- */

extern bool http_has_proxy(void);
extern const char *http_proxy_url(void);

/* Whether a request like this was sent before, so that its URL is known to be good. */
extern bool handle_is_known(const HttpRequest *request);

/* One that did the like before, or NULL. */
extern HttpHandle *handle_find(const HttpRequest *request);

/* NULL where curl cannot. */
extern HttpHandle *handle_make(const HttpRequest *request);

/* What differs from one request to the next; false where curl cannot. */
extern bool handle_prepare(HttpHandle *handle, HttpTransfer *transfer,
						   const HttpRequest *request);

extern CURL *handle_easy(const HttpHandle *handle);

/* NULL where curl acts for itself. */
extern HttpTransfer *handle_transfer(CURL *easy);

/* Out of the engine; it is kept for the next request where its own has ended well. */
extern void handle_release(HttpHandle *handle, bool keep);

/* --- outcome.c: what came of a transfer ------------------------------------------------- */

/* As far as the callbacks know it, refined by what curl has counted. */
extern const char *phase_text(HttpTransfer *transfer);

/* Gives back what curl holds; harmless when that is done already. */
extern void release_curl(HttpTransfer *transfer, bool keep);
extern void end_transfer(HttpTransfer *transfer, HttpOutcome outcome, char *reason);

/* An EngineEndCallback. */
extern void on_engine_end(CURL *easy, CURLcode result);

/* --- egress.c: where a request may go ------------------------------------------- */

/* NULL where the address may be spoken to, else what it is: "a loopback address". */
extern const char *egress_denial(const struct sockaddr *address);

#define EGRESS_NOT_AN_ADDRESS "not an internet address"

/* The same for an address as text, as curl reports a connection's peer. */
extern const char *egress_denial_text(const char *address);

/* All header lines of an answer together. */
#define HTTP_MAX_HEADER_BYTES (64 * 1024)

#endif /* FACTORY_HTTP_INT_H */
