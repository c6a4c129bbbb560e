/*
 * pool.h
 *		Connections to the database, and the calls that are run on them.
 */
#ifndef FACTORYD_POOL_H
#define FACTORYD_POOL_H

#include <event2/event.h>
#include <libpq-fe.h>
#include <stdbool.h>
#include <sys/queue.h>

#include "config.h"

#define CALL_VALUES_MOST 4

typedef struct Pool Pool;
typedef struct Call Call;
typedef struct PoolConnection PoolConnection;

typedef enum CallFault
{
	CALL_FINE,
	CALL_FAILED,      /* the database said no: sqlstate and message are its own */
	CALL_NOT_ALLOWED, /* it said no already to the role */
	CALL_AWAY,        /* no database; nothing was run */
	CALL_LOST,    /* the connection broke while it ran: nobody knows what became of it */
	CALL_CROWDED, /* the queue is full; nothing was run */
	CALL_WAITED,  /* no connection became free in time; nothing was run */
	CALL_TOOK_TOO_LONG /* no answer in time; cancelled */
} CallFault;

typedef struct CallOutcome
{
	CallFault fault;
	PGresult
		*result; /* of a call that is fine; the callback may take it and leave NULL */
	const char *sqlstate;
	const char *message;
	const char *detail; /* or NULL */
	const char *hint;   /* or NULL */
} CallOutcome;

/*
 * One statement in one transaction, with what it may know of the request that asked
 * for it.  The caller keeps all that is pointed to until done is called; done may
 * free the call.
 */
struct Call
{
	const char *sql;
	const char *values[CALL_VALUES_MOST];
	int value_count;
	const char *role;    /* "none" for the connection's own user */
	const char *claims;  /* request.jwt.claims, JSON */
	const char *method;  /* request.method */
	const char *path;    /* request.path */
	const char *headers; /* request.headers, JSON */
	bool read_only;
	bool urgent; /* goes to the head of the queue and waits URGENT_WAIT at most */
	void (*done)(Call *call, CallOutcome *outcome);
	void *owner;

	/* The pool's own. */
	TAILQ_ENTRY(Call) link;
	Pool *pool;
	PoolConnection *connection; /* NULL while queued */
	struct event *timer;
};

/*
 * A pool that connects at once.  connected is called whenever the first connection
 * after none is there.
 */
extern Pool *pool_open(struct event_base *base, const Config *config,
					   void (*connected)(void *context), void *context);

/* Runs a call as soon as a connection is free.  done may be called before this returns. */
extern void pool_submit(Pool *pool, Call *call);

/* Nobody waits for the call any more: cancels it; done is not called. */
extern void pool_abandon(Pool *pool, Call *call);

/* Drops all connections; calls still there are abandoned by their owners before. */
extern void pool_close(Pool *pool);

typedef struct PoolCounters
{
	long open; /* connections that are up */
	long busy; /* of these, running a call */
	long queued;
	long long calls;
	long long reconnects; /* failed attempts to connect */
	long long cancelled;
	bool away;
} PoolCounters;

extern const PoolCounters *pool_counters(const Pool *pool);

/* Where the database is, without secrets: "user@host:port/dbname". */
extern const char *pool_target(const Pool *pool);

#endif /* FACTORYD_POOL_H */
