/*
 * exchange.h
 *		One request on its way to the database and back.
 */
#ifndef FACTORYD_EXCHANGE_H
#define FACTORYD_EXCHANGE_H

#include <jansson.h>

#include "factoryd.h"
#include "http.h"
#include "pool.h"

typedef struct Exchange Exchange;

/* How answers and errors look. */
typedef enum ReplyStyle
{
	STYLE_API,    /* {success, data, meta} and {success, error, meta} */
	STYLE_REST,   /* the result itself; {code, message, details, hint} */
	STYLE_HEALTH, /* the result itself; {status: "down", error} with 503 */
	STYLE_METRICS /* Prometheus text; ours alone where the database gives none */
} ReplyStyle;

#define IDENTIFIER_LENGTH 128

struct Exchange
{
	Factoryd *factoryd;
	HttpRequest *request;
	ReplyStyle style;
	char request_id[IDENTIFIER_LENGTH + 1];
	char trace_id[IDENTIFIER_LENGTH + 1];
	const char *allow; /* methods, of a 405 */
	const char *timeout_code;
	bool anonymous;
	bool fixed_sql; /* the statement is a route's own: what it misses is our fault */
	bool no_content;
	json_t *claims; /* NULL without a token */
	char *claims_text;
	char *headers_text;
	char *sql;                          /* owned, where the call's is made for it */
	char *value;                        /* owned, where the call's is made for it */
	json_t *body;                       /* parsed, where it was asked for */
	void (*resume)(Exchange *exchange); /* once the catalogue is there */
	TAILQ_ENTRY(Exchange) waiting;
	bool waits; /* for the catalogue */
	bool runs;  /* the call is the pool's */
	Call call;
};

/* Takes the request on; the request's owner is the exchange. */
extern Exchange *exchange_begin(Factoryd *factoryd, HttpRequest *request,
								ReplyStyle style);

/*
 * Who asks: the token's role or the anonymous one.  Where there is neither, false,
 * and the request is answered.
 */
extern bool exchange_authenticate(Exchange *exchange);

/* Runs the call's statement and answers with what comes of it. */
extern void exchange_run(Exchange *exchange);

/* Answers and ends the exchange. */
extern void exchange_reply_text(Exchange *exchange, int status, const char *type,
								const char *text);
extern void exchange_reply_problem(Exchange *exchange, int status, const char *code,
								   const char *message, const char *detail,
								   const char *hint);

/* The client is gone. */
extern void exchange_abandon(Exchange *exchange);

/* The body that says why a request was refused before it was whole. */
extern void exchange_write_refusal(struct evbuffer *body, int status, const char *why);

#endif /* FACTORYD_EXCHANGE_H */
