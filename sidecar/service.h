/*
 * service.h
 *		The services that routes belong to, and what each is at.
 */
#ifndef FACTORYD_SERVICE_H
#define FACTORYD_SERVICE_H

#include "buffer.h"
#include "factoryd.h"

typedef enum Service
{
	SERVICE_JUDGMENT,
	SERVICE_BI,
	SERVICE_LEARNING,
	SERVICE_REST,
	SERVICE_PROBES, /* health, metrics: never limited; also what has no route */
	SERVICE_COUNT
} Service;

extern const char *const service_names[SERVICE_COUNT];

/* Why a request was sent away without having been tried. */
typedef enum Rejection
{
	REJECTED_RATE,     /* its caller makes too many */
	REJECTED_QUEUE,    /* too many wait, or it waited too long */
	REJECTED_DATABASE, /* there is no database */
	REJECTION_COUNT
} Rejection;

/* The last one is for all that took longer. */
#define SERVICE_BOUNDS 16

/* Written by one loop; others may read. */
typedef struct ServiceCounters
{
	long active;  /* requests being answered */
	long waiting; /* of these, for a connection to the database */
	long long rejected[REJECTION_COUNT];
	long long answered[6]; /* by the first digit of the status */
	long long took[SERVICE_BOUNDS];
	long long took_us; /* in all */
} ServiceCounters;

/* Notes that a request was answered with that status, after so long. */
extern void service_note_answer(ServiceCounters *counters, int status, long long us);

/* All of factoryd's own series, of all loops, in Prometheus' text format. */
extern void service_add_metrics(Buffer *body, const Factoryd *factoryd);

#endif /* FACTORYD_SERVICE_H */
