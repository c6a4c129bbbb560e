/*
 * gate_int.h
 *		Between the files of the gate: what lies in shared memory, all of it under
 *		one lock that is held for less than a microsecond.
 */
#ifndef FACTORY_GATE_INT_H
#define FACTORY_GATE_INT_H

#include "llm/gate.h"
#include "storage/lwlock.h"

/* Outcomes of calls that a breaker can look at: bits of a word. */
#define BREAKER_MAX_WINDOW 64

/* A minute, and the second that is not over. */
#define PACE_SECONDS 61

typedef struct GateServer
{
	Oid database; /* InvalidOid: free */
	Oid server;
	uint64 address;
	char name[NAMEDATALEN];
	TimestampTz used_at;
	BreakerState state;
	TimestampTz since;
	TimestampTz trial_until; /* half open: nobody else tries before */
	uint64 failures;         /* the latest calls, the last in the lowest bit; 1: failed */
	int calls;               /* how many of those bits count */
	int64 rejected;
	int64 opened;
	double retries;      /* that sessions together may still do */
	int64 changes[3][3]; /* of state, from one to another */
} GateServer;

/* What a server says is left of a limit, and how fast it comes back. */
typedef struct GateAllowance
{
	double limit; /* 0: not known */
	double left;
	double unit_us; /* in which one more is there */
	TimestampTz at;
} GateAllowance;

typedef struct GateModel
{
	Oid database; /* InvalidOid: free */
	Oid server;
	uint64 account;
	char name[NAMEDATALEN];
	TimestampTz used_at;
	TimestampTz paused_until; /* the server asked for it */
	GateAllowance requests;
	GateAllowance tokens;
	int64 second; /* of the slot written last, since 2000 */
	int32 sent[PACE_SECONDS];
	int64 taken[PACE_SECONDS];
} GateModel;

typedef struct GateShared
{
	LWLock *lock;
	GateServer *servers; /* gate_places of each */
	GateModel *models;
} GateShared;

extern GateShared *gate_shared;
extern int gate_places;

/* This database's servers, copied. */
extern GateServer *gate_copy_servers(int *count);

/* A state that was left, to be told outside of the lock. */
typedef struct BreakerChange
{
	bool happened;
	BreakerState from;
	BreakerState to;
} BreakerChange;

/* --- breaker.c; the caller holds the lock --------------------------------------------- */

extern const char *const breaker_state_names[];

/* True where a call may go; makes it the trial where one is due. */
extern bool breaker_admits(GateServer *server, GatePass *pass, TimestampTz now,
						   BreakerChange *change);
extern void breaker_takes(GateServer *server, const GatePass *pass, GateOutcome outcome,
						  TimestampTz now, BreakerChange *change);
extern bool breaker_takes_retry(GateServer *server);
extern void breaker_begin(GateServer *server, TimestampTz now);

/* The state as it shows itself: an open breaker whose time is over awaits a trial. */
extern BreakerState breaker_shown_state(const GateServer *server, TimestampTz now);
extern TimestampTz breaker_open_until(const GateServer *server);
extern int breaker_failures(const GateServer *server);

extern void breaker_define_settings(void);

/* --- pace.c; the caller holds the lock -------------------------------------------------- */

/* When a try may be sent: now or before where it may at once. */
extern TimestampTz pace_moment(GateModel *model, const GatePass *pass, TimestampTz now);
extern void pace_count(GateModel *model, int requests, int64 tokens, TimestampTz now);

/* The tokens of a moment were so many more, or fewer. */
extern void pace_correct(GateModel *model, TimestampTz counted_at, int64 tokens,
						 TimestampTz now);
extern void pace_learn(GateModel *model, const struct HttpAnswer *got, double pause_ms,
					   TimestampTz now);
extern void pace_last_minute(GateModel *model, TimestampTz now, int64 *requests,
							 int64 *tokens);

#endif /* FACTORY_GATE_INT_H */
