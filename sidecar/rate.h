/*
 * rate.h
 *		How many requests one caller may make.
 */
#ifndef FACTORYD_RATE_H
#define FACTORYD_RATE_H

#include "exchange.h"

typedef struct RateLimits RateLimits;

/* Shared by all loops.  NULL where the text cannot be read, and the log says why. */
extern RateLimits *rate_open(const char *text);
extern void rate_close(RateLimits *limits);

/* Counts a request; answers it with 429 where its caller has made enough: false. */
extern bool rate_allows(Exchange *exchange);

#endif /* FACTORYD_RATE_H */
