/*
 * errand.h
 *		Work that blocks, done by a short-lived thread beside the loop.
 */
#ifndef FACTORYD_ERRAND_H
#define FACTORYD_ERRAND_H

#include <event2/event.h>
#include <stdbool.h>

typedef struct Errand Errand;
typedef struct Errands Errands;

/* To be the first member of what the work needs; the runner owns it meanwhile. */
struct Errand
{
	void (*work)(Errand *errand);  /* in the thread: touches the errand, nothing else */
	void (*ended)(Errand *errand); /* in the loop, afterwards */
	Errands *errands;
};

extern Errands *errands_open(struct event_base *base);

/* False where no thread could be had; the errand is the caller's again. */
extern bool errand_start(Errands *errands, Errand *errand);

/* Errands that still run are left to themselves: their ends are not told. */
extern void errands_close(Errands *errands);

#endif /* FACTORYD_ERRAND_H */
