/*
 * pool_int.h
 *		What pool.c, pool_connect.c and pool_call.c share.
 */
#ifndef FACTORYD_POOL_INT_H
#define FACTORYD_POOL_INT_H

#include <time.h>

#include "errand.h"
#include "pool.h"

/* Statements remembered; those beyond are planned anew each time. */
#define STATEMENTS_MOST 1024
#define STATEMENT_SLOTS (STATEMENTS_MOST * 2)

typedef enum ConnectionState
{
	CONNECTION_CONNECTING,
	CONNECTION_IDLE,
	CONNECTION_RUNNING,
	CONNECTION_DEAD
} ConnectionState;

/* What the server answers next, in the order it was sent. */
typedef enum Step
{
	STEP_PREPARE_SETTINGS,
	STEP_SETTINGS,
	STEP_PREPARE_CALL,
	STEP_CALL,
	STEP_SYNC
} Step;

#define STEPS_MOST 5

struct PoolConnection
{
	Pool *pool;
	LIST_ENTRY(PoolConnection) link;
	TAILQ_ENTRY(PoolConnection) idle_link;
	PGconn *conn;
	ConnectionState state;
	struct event *readable;
	struct event *writable;
	struct event *timer; /* connecting, or waiting for a cancelled statement */
	struct timespec born;
	bool prepared[STATEMENTS_MOST];
	bool on_errand; /* a thread is busy for it */

	Call *call; /* NULL where nobody waits for it */
	Step steps[STEPS_MOST];
	int step_count;
	int step;
	int statement;    /* of the call, or -1 */
	PGresult *result; /* of the call */
	PGresult *error;  /* the first one */
	bool refused_role;
};

struct Pool
{
	struct event_base *base;
	const Config *config;
	void (*connected)(void *context);
	void *connected_context;
	char *search_path;
	char statement_timeout[24];
	char *target;
	LIST_HEAD(, PoolConnection) connections;
	TAILQ_HEAD(, PoolConnection) idle; /* last used first: its caches are warm */
	TAILQ_HEAD(, Call) queue;
	long connecting;
	struct event *retry;
	long retry_ms;   /* 0 after a success */
	bool resting;    /* the last attempt failed; retry is set */
	bool complained; /* and the log has said so */
	Errands *errands;
	bool resolves;                     /* names have to be looked up to connect */
	char *statements[STATEMENTS_MOST]; /* "role\nsql" */
	int statement_count;
	short statement_slots[STATEMENT_SLOTS]; /* index + 1 */
	PoolCounters counters;
	bool closing;
};

/* pool.c */
extern void pool_arm(struct event *timer, long ms);
extern void pool_tell(Call *call, CallFault fault);
extern void pool_forget_timer(Call *call);
extern void pool_leave_queue(Pool *pool, Call *call);
extern void pool_fail_queue(Pool *pool);
extern int pool_statement_number(Pool *pool, const char *role, const char *sql);

/* Gives idle connections the calls that wait, and makes more where some still wait. */
extern void pool_balance(Pool *pool);

/* pool_connect.c */
extern void connection_start(Pool *pool);
extern void connection_close(PoolConnection *connection);
extern void connection_lose(PoolConnection *connection);
extern void connection_free(PoolConnection *connection);

/* pool_call.c */
extern const char pool_settings_sql[];
extern void call_start(PoolConnection *connection, Call *call);
extern void call_take_away(Call *call);
extern void call_socket_readable(evutil_socket_t fd, short what, void *context);
extern void call_socket_writable(evutil_socket_t fd, short what, void *context);

#endif /* FACTORYD_POOL_INT_H */
