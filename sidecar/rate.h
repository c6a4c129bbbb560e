/*
 * rate.h
 *		How many requests one caller may make.
 */
#ifndef FACTORYD_RATE_H
#define FACTORYD_RATE_H

#include "exchange.h"

typedef enum RateGroup
{
	RATE_JUDGMENT,
	RATE_BI,
	RATE_LEARNING,
	RATE_REST,
	RATE_NONE /* never limited */
} RateGroup;

typedef struct RateLimits RateLimits;

/* Shared by all loops.  NULL where the text cannot be read, and the log says why. */
extern RateLimits *rate_open(const char *text);
extern void rate_close(RateLimits *limits);

/* Counts a request; answers it with 429 where its caller has made enough: false. */
extern bool rate_allows(Exchange *exchange, RateGroup group);

#endif /* FACTORYD_RATE_H */
