/*
 * exchange.h
 *		One request on its way to the database and back.
 */
#ifndef FACTORYD_EXCHANGE_H
#define FACTORYD_EXCHANGE_H

#include <jansson.h>

#include "auth.h"
#include "factoryd.h"
#include "http.h"
#include "json_scan.h"
#include "pool.h"
#include "service.h"
#include "values.h"

typedef struct Exchange Exchange;
struct Rest;

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
	/* Memory that the loop's next exchange takes over; all else begins as zeros. */
	Buffer claims;     /* where they are made for the call */
	Buffer path;       /* decoded */
	Buffer headers;    /* request.headers */
	Buffer extra;      /* header lines of the answer */
	struct Rest *rest; /* of PostgREST's conventions */

	Factoryd *factoryd; /* must be the first that is zeroed */
	HttpRequest *request;
	ReplyStyle style;
	Service service;
	ServiceCounters *counters; /* of the service */
	int answered;              /* the status, once there is an answer */
	long long took_us;         /* until then; a stream, to its end */
	char request_id[IDENTIFIER_LENGTH + 1];
	char trace_id[IDENTIFIER_LENGTH + 1];
	const char *allow; /* methods, of a 405 */
	const char *timeout_code;
	int status; /* of an answer that is fine */
	bool anonymous;
	bool fixed_sql;     /* the statement is a route's own: what it misses is our fault */
	bool reads;         /* may go to the standby */
	bool tried_read;    /* and was away there */
	Token *token;       /* NULL without one */
	char *role;         /* owned, where it is no token's */
	const char *tenant; /* what X-Tenant-ID says, where the database has to know */
	char *sql;          /* owned, where the call's is made for it */
	Values values;      /* of the call's statement */
	json_t *body;       /* parsed, where it was asked for and is not plain */
	JsonPlain plain;    /* the body where it is */
	bool is_plain;
	void (*resume)(Exchange *exchange); /* once the catalogue is there */
	/* Answers a call that is fine; NULL for the result as it is. */
	void (*answer)(Exchange *exchange, CallOutcome *outcome);
	/* Answers one that is not, or says false; NULL for the usual. */
	bool (*answer_failure)(Exchange *exchange, const CallOutcome *outcome);
	const struct Route *route;
	void (*next)(Exchange *exchange); /* once it is known who asks */
	TAILQ_ENTRY(Exchange) waiting;
	Exchange *next_spare; /* of the loop, once it has ended */
	bool waits;           /* for the catalogue */
	bool runs;            /* the call is the pool's */
	bool streams;
	Call call;
};

/* Frees what the loop keeps for exchanges to come. */
extern void exchange_free_spare(Factoryd *factoryd);

/* Takes the request on; the request's owner is the exchange. */
extern Exchange *exchange_begin(Factoryd *factoryd, HttpRequest *request,
								ReplyStyle style, Service service);

/*
 * Calls next once it is known what a machine's key stands for: at once where there is
 * none.  A key that is not in force is answered.
 */
extern void exchange_identify(Exchange *exchange, void (*next)(Exchange *exchange));

/*
 * Who asks: the token's role or the anonymous one.  Where there is neither, false,
 * and the request is answered.
 */
extern bool exchange_authenticate(Exchange *exchange);

/* Runs the call's statement and answers with what comes of it. */
extern void exchange_run(Exchange *exchange);

/* Once more, where nothing of it was run. */
extern void exchange_run_again(Exchange *exchange);

/* Answers and ends the exchange. */
extern void exchange_reply(Exchange *exchange, int status, const char *type,
						   const char *body, size_t length);
extern void exchange_reply_text(Exchange *exchange, int status, const char *type,
								const char *text);
extern void exchange_reply_problem(Exchange *exchange, int status, const char *code,
								   const char *message, const char *detail,
								   const char *hint);

/* Begins an answer in pieces; the exchange's owner ends it. */
extern void exchange_begin_stream(Exchange *exchange, int status, const char *type);
extern void exchange_end_stream(Exchange *exchange);
extern void exchange_cut_stream(Exchange *exchange);

/* The client is gone. */
extern void exchange_abandon(Exchange *exchange);

/* The body that says why a request was refused before it was whole. */
extern void exchange_write_refusal(Buffer *body, int status, const char *why);

#define JSON_TYPE "application/json; charset=utf-8"

#endif /* FACTORYD_EXCHANGE_H */
