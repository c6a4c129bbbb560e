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

/* Statements that go before the call's own, in its transaction. */
#define CALL_ASIDES_MOST 2

typedef struct Pool Pool;
typedef struct Call Call;
typedef struct PoolConnection PoolConnection;

typedef enum CallFault
{
	CALL_FINE,
	CALL_FAILED,      /* the database said no: sqlstate and message are its own */
	CALL_NOT_ALLOWED, /* it said no already to the role or the tenant */
	CALL_AWAY,        /* no database; nothing was run */
	CALL_LOST,    /* the connection broke while it ran: nobody knows what became of it */
	CALL_CROWDED, /* the queue is full; nothing was run */
	CALL_WAITED,  /* no connection became free in time; nothing was run */
	CALL_TOOK_TOO_LONG, /* no answer in time; cancelled */
	CALL_FAULT_COUNT
} CallFault;

typedef struct CallOutcome
{
	CallFault fault;
	PGresult *result; /* of a call that is fine; the callback may take it, leaving NULL */
	const char *sqlstate;
	const char *message;
	const char *detail; /* or NULL */
	const char *hint;   /* or NULL */
} CallOutcome;

/*
 * Its values are $2 and so on: $1 is whose request it is, which the pool binds, and which
 * no statement needs to name.
 */
typedef struct CallStatement
{
	const char *sql;
	const char *const *values;
	int value_count;
} CallStatement;

/*
 * One statement in one transaction, with what it may know of the request that asked
 * for it.  The caller keeps all that is pointed to until done is called; done may
 * free the call.
 */
struct Call
{
	CallStatement main;
	CallStatement
		check; /* by the role, before all else: raises what forbids it; or none */
	CallStatement asides[CALL_ASIDES_MOST];
	int aside_count;
	const char *role;     /* "none" for the connection's own user */
	const char *tenant;   /* factory.tenant, or NULL: what follows from the role */
	const char *claims;   /* request.jwt.claims, JSON */
	const char *method;   /* request.method */
	const char *path;     /* request.path */
	const char *headers;  /* request.headers, JSON */
	const char *timezone; /* of its transaction, or NULL for the server's */
	bool read_only;
	bool rolls_back; /* what it did is undone before it is answered */
	bool urgent;     /* goes to the head of the queue and waits URGENT_WAIT at most */

	/* Where set, it is given the rows one by one; false pauses until pool_resume. */
	bool (*row)(Call *call, PGresult *row);
	void (*done)(Call *call, CallOutcome *outcome);
	void *owner;
	long *waiting; /* one more while the call is queued; or NULL */

	/* What the asides gave: their first value, or "".  For done and row. */
	char aside_values[CALL_ASIDES_MOST][32];

	/* The pool's own. */
	TAILQ_ENTRY(Call) link;
	Pool *pool;
	PoolConnection *connection; /* NULL while queued */
	long long deadline;
	bool repeated;
	int number;      /* of its main statement, while the generation is the pool's */
	long generation; /* 0 where it has no number yet */
};

/*
 * A pool that connects at once, keeps up to lasting connections and makes up to most
 * where calls have to wait.  connected is called whenever the first connection after
 * none is there.
 */
typedef struct PoolPlan
{
	const char *database;
	long lasting;
	long most;
	long queue; /* calls that may wait */
	void (*connected)(void *context);
	void *context;
} PoolPlan;

extern Pool *pool_open(struct event_base *base, const Config *config,
					   const PoolPlan *plan);

/*
 * From now on by these.  Connections to another database end when they are idle; a plan
 * for none lets all end so, and what waits is told that there is no database.
 */
extern void pool_change(Pool *pool, const Config *config, const PoolPlan *plan);

/* Whether it is a connection string; the log says where not. */
extern bool pool_database_is_good(const char *database);

/* Runs a call as soon as a connection is free.  done may be called before this returns. */
extern void pool_submit(Pool *pool, Call *call);

/* Nobody waits for the call any more: cancels it; done is not called. */
extern void pool_abandon(Pool *pool, Call *call);

/* The owner of a call whose row said false takes more. */
extern void pool_resume(Pool *pool, Call *call);

/* The database is there again, as another pool knows: does not wait to try. */
extern void pool_hurry(Pool *pool);

/* Drops all connections; calls still there are abandoned by their owners before. */
extern void pool_close(Pool *pool);

/* Written by the pool's own loop; other loops may read them. */
typedef struct PoolCounters
{
	long open; /* connections that are up */
	long busy; /* of these, running a call */
	long queued;
	long long calls;
	long long reconnects; /* failed attempts to connect */
	long long cancelled;
	long long refused; /* calls that found no room or no connection in time */
	long away;
} PoolCounters;

extern const PoolCounters *pool_counters(const Pool *pool);

/* Where the database is, without secrets: "user@host:port/dbname". */
extern const char *pool_target(const Pool *pool);

#endif /* FACTORYD_POOL_H */
