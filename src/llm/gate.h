/*
 * gate.h
 *		What all sessions together know of servers and models, in shared memory:
 *		whether a server is worth a try, and how many requests a model still takes.
 *
 * Every try passes the gate before a byte is sent, and tells it what came back.
 */
#ifndef FACTORY_GATE_H
#define FACTORY_GATE_H

#include "datatype/timestamp.h"

typedef enum BreakerState
{
	BREAKER_CLOSED,
	BREAKER_HALF_OPEN, /* one call tries whether the server is back */
	BREAKER_OPEN
} BreakerState;

/* How a call ended, as far as its server is to blame. */
typedef enum GateOutcome
{
	GATE_UNCLEAR, /* not sent, or the server's health had no part in it */
	GATE_WORKS,
	GATE_FAILS
} GateOutcome;

typedef enum GateVerdict
{
	GATE_GO,
	GATE_WAIT, /* until GatePass.moment */
	GATE_SHUT  /* the breaker is open until GatePass.moment */
} GateVerdict;

/* What one call has at the gate. */
typedef struct GatePass
{
	Oid server;
	uint64 address; /* of the server: another one begins anew */
	const char *server_name;
	uint64 account; /* of the model: its name there, and the key */
	const char *model_name;
	int requests_per_minute; /* as the model's options say; 0: no limit */
	int tokens_per_minute;
	TimestampTz deadline;
	int64 tokens; /* that this try is expected to take */
	bool knocked; /* the call was counted */
	bool on_trial;
	TimestampTz counted_at; /* when the last try was counted */
	TimestampTz moment;
} GatePass;

struct HttpAnswer;

/* May a try be sent now?  Counts it where it may. */
extern GateVerdict gate_ask(GatePass *pass);

/* May a call that failed for the server's sake be tried again?  Takes from the allowance. */
extern bool gate_allows_retry(const GatePass *pass);

/*
 * A try was answered: so many tokens it took, and so long a pause was asked for with a
 * 429 (-1: none).  What the server says of its limits is in the answer's headers.
 */
extern void gate_learn(GatePass *pass, const struct HttpAnswer *got, int64 tokens,
					   double pause_ms, TimestampTz now);

/* False where a server, by its name, is left alone or on trial. */
extern bool gate_is_trusted(const char *server);

/* The call is over. */
extern void gate_end(GatePass *pass, GateOutcome outcome, TimestampTz now);

/* The least time a call is given before its running out counts against the server. */
extern int gate_min_timeout_ms;

extern void gate_define_settings(void);
extern void gate_request_shmem(void);
extern void gate_attach_shmem(void);

#endif /* FACTORY_GATE_H */
