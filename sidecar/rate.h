/*
 * rate.h
 *		How many requests one caller may make.
 */
#ifndef FACTORYD_RATE_H
#define FACTORYD_RATE_H

#include <stdbool.h>

typedef struct RateLimits RateLimits;
typedef struct RateCounts RateCounts;
struct Exchange;

/* Limits as they are written; NULL where they cannot be read, and the log says why. */
extern RateLimits *rate_open(const char *text);
extern void rate_close(RateLimits *limits); /* NULL is none */

/* What callers have used up: shared by all loops, and the same whatever the limits. */
extern RateCounts *rate_counts_new(void);
extern void rate_counts_free(RateCounts *counts); /* NULL is none */

/* Counts a request; answers it with 429 where its caller has made enough: false. */
extern bool rate_allows(struct Exchange *exchange);

#endif /* FACTORYD_RATE_H */
