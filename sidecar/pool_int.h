/*
 * pool_int.h
 *		What pool.c, pool_connect.c, pool_call.c and pool_send.c share.
 */
#ifndef FACTORYD_POOL_INT_H
#define FACTORYD_POOL_INT_H

#include <stdint.h>

#include "buffer.h"
#include "errand.h"
#include "http.h"
#include "pool.h"

/* Statements remembered; where there are more, all are forgotten. */
#define STATEMENTS_MOST 1024
#define STATEMENT_SLOTS (STATEMENTS_MOST * 2)

/* Deadlines are kept to within this. */
#define TICK_MS 50

/* Calls on one connection at the same time, and how quick their statements must be. */
#define SLOTS_MOST 8
#define QUICK_US 1000

/* Statements as quick as this share connections although others are idle. */
#define SWIFT_US 150

/* A statement that runs so long has nobody sent behind it, and loses who is. */
#define STALLED_US 20000

typedef enum ConnectionState
{
	CONNECTION_CONNECTING,
	CONNECTION_IDLE,
	CONNECTION_RUNNING,
	CONNECTION_DEAD
} ConnectionState;

/* What the server answers next, in the order it was sent. */
typedef enum StepKind
{
	STEP_PREPARE,
	STEP_SETTINGS,
	STEP_CHECK,
	STEP_UNDO,
	STEP_ASIDE,
	STEP_MAIN,
	STEP_PROBE,
	STEP_SYNC
} StepKind;

typedef struct Step
{
	StepKind kind;
	short statement; /* prepared or run; -1 where it has no number */
} Step;

#define STEPS_MOST (2 * (6 + CALL_ASIDES_MOST) + 1)

/* Statements that a transaction may begin with; their numbers never change. */
typedef enum SettingsKind
{
	SETTINGS_OURS,
	SETTINGS_PLAIN,
	SETTINGS_PLAIN_TENANT,
	SETTINGS_KINDS
} SettingsKind;

/* A call on its connection. */
typedef struct Slot
{
	Call *call; /* NULL where nobody waits for it, and for a probe */
	Step steps[STEPS_MOST];
	int step_count;
	int step;
	int statement;    /* of the call's main one */
	PGresult *result; /* of the call */
	PGresult *error;  /* the first one */
	bool carries;     /* the first statement has what the call begins with */
	bool refused_settings;
	bool shares; /* reads, and is expected to be quick */
	uint64_t began_us;
} Slot;

typedef enum Prepared
{
	PREPARED_NOT,
	PREPARED_SENT,
	PREPARED_YES
} Prepared;

struct PoolConnection
{
	Pool *pool;
	LIST_ENTRY(PoolConnection) link;
	TAILQ_ENTRY(PoolConnection) idle_link;
	PGconn *conn;
	ConnectionState state;
	struct event *readable;
	struct event *writable;
	struct event *timer; /* connecting */
	long long born;
	long long used;            /* when last */
	long long cancel_deadline; /* 0, or when a cancelled statement has had its time */
	long generation;           /* of the statements it knows */
	Oid request_type;          /* factory.request, or 0 where the extension is missing */
	long long asked;           /* when, about that */
	unsigned char prepared[STATEMENTS_MOST];
	bool on_errand; /* a thread is busy for it */
	bool held;      /* its answers are being read */
	bool hit;       /* a cancel was sent since it was last idle */
	bool paused;    /* a row was not taken on */
	bool probing;   /* asked whether it lives, and about the extension */
	bool greeted;   /* has answered that once */
	bool unwritten; /* it is in the pool's list of those */
	TAILQ_ENTRY(PoolConnection) unwritten_link;
	Buffer gathered; /* what libpq has written, and the socket has not got */

	Slot slots[SLOTS_MOST];
	int first;
	int slot_count;
};

struct Pool
{
	struct event_base *base;
	const Config *config;
	PoolPlan plan;
	char *search_path;
	char statement_timeout[24]; /* ms */
	char *target;
	Buffer packed;           /* the settings of the call being sent */
	const char **parameters; /* and its statement's, for so many */
	int *formats;
	int parameter_room;
	LIST_HEAD(, PoolConnection) connections;
	TAILQ_HEAD(, PoolConnection) idle; /* last used first: its caches are warm */
	TAILQ_HEAD(, Call) queue;
	TAILQ_HEAD(, PoolConnection) unwritten;
	struct event *writer; /* at the end of the loop's turn */
	long connecting;
	long greeting; /* connected, but not greeted */
	long pressed;  /* connections beyond the lasting that may be made now */
	struct event *retry;
	struct event *ticker;
	bool ticking;
	long retry_ms;   /* 0 after a success */
	bool resting;    /* the last attempt failed; retry is set */
	bool complained; /* and the log has said so */
	Errands *errands;
	bool resolves;                             /* names have to be looked up to connect */
	char *statements[STATEMENTS_MOST];         /* "role\nsql" */
	char statement_names[STATEMENTS_MOST][16]; /* "s" and the number */
	uint32_t statement_us[STATEMENTS_MOST];
	int statement_count;
	long generation;
	short statement_slots[STATEMENT_SLOTS]; /* index + 1 */
	PoolCounters counters;
	bool closing;
};

static inline Slot *
connection_slot(PoolConnection *connection, int index)
{
	return &connection->slots[(connection->first + index) % SLOTS_MOST];
}

/* pool.c */
extern void pool_arm(struct event *timer, long ms);
extern void pool_tell(Call *call, CallFault fault);
extern void pool_leave_queue(Pool *pool, Call *call);
extern void pool_fail_queue(Pool *pool);
extern void pool_queue_again(Pool *pool, Call *call);
extern int pool_statement_number(Pool *pool, const char *role, const char *sql);

/* Forgets all of them: connections learn them anew, those in use once they are idle. */
extern void pool_forget_statements(Pool *pool);
extern void pool_tick(Pool *pool);

/* Gives connections the calls that wait, and makes more where some still wait. */
extern void pool_balance(Pool *pool);

/* pool_connect.c */
extern void connection_start(Pool *pool);
extern void connection_close(PoolConnection *connection);
extern void connection_lose(PoolConnection *connection);
extern void connection_free(PoolConnection *connection);

/* pool_begin.c */
extern const char *const pool_settings_sql[SETTINGS_KINDS];
extern const char pool_type_sql[];
extern void connection_take_type(PoolConnection *connection, const PGresult *answer);
extern bool connection_wants_probe(const PoolConnection *connection);
extern bool connection_begins_at_once(const PoolConnection *connection, const Call *call);
extern bool call_send_beginning(PoolConnection *connection, Slot *slot, Call *call);
extern bool slot_failed_to_begin(const Slot *slot, const PGresult *error);
extern bool slot_misses_extension(const PoolConnection *connection, const Slot *slot);

/* pool_send.c */
extern int call_first_number(Pool *pool, Call *call);
extern bool call_may_share(Pool *pool, Call *call);
extern bool call_is_swift(Pool *pool, Call *call); /* one that may share */
extern bool connection_may_share(const PoolConnection *connection, const Call *call,
								 uint64_t now_us);
extern void call_start(PoolConnection *connection, Call *call);

/* A statement whose parameters are its values, without the request. */
extern bool connection_send_plainly(PoolConnection *connection, Slot *slot, StepKind kind,
									int number, const CallStatement *statement);

/*
 * Asks an idle connection whether it lives, and what the extension's type is; it is idle
 * again when it has said so.
 */
extern void connection_probe(PoolConnection *connection);

/* Writes what the socket takes; the rest when it is writable again. */
extern bool connection_flush(PoolConnection *connection);

/* Of all connections, what was sent since the last time. */
extern void pool_write(evutil_socket_t fd, short what, void *context);

/* Where the connection's statement takes long, those behind it go elsewhere. */
extern void connection_release_stuck(PoolConnection *connection);

/* pool_call.c */
extern void call_take_away(Call *call);
extern void connection_make_idle(PoolConnection *connection);
extern void connection_cancel(PoolConnection *connection);
extern void call_socket_readable(evutil_socket_t fd, short what, void *context);
extern void call_socket_writable(evutil_socket_t fd, short what, void *context);

#endif /* FACTORYD_POOL_INT_H */
