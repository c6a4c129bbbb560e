/*
 * quota.h
 *		How much a tenant has used of what it may use, shared by all sessions.
 */
#ifndef FACTORY_QUOTA_H
#define FACTORY_QUOTA_H

#include "datatype/timestamp.h"

typedef enum Quota
{
	QUOTA_JUDGMENTS, /* judgments that judge() and judge_row() gave this month */
	QUOTA_TOKENS,    /* tokens that models were asked for and answered this month */
	QUOTA_JOBS,      /* jobs that wait or run at this moment */
	QUOTA_COUNT
} Quota;

/*
 * Counts use by the session's tenant.  Raises ERRCODE_FACTORY_QUOTA_EXCEEDED where
 * that would be more than the tenant's quota, and counts nothing then; from 80 % on it
 * warns each session once, and the server's log once.  A rollback does not undo it.  now is clock_now(): callers
 * have it at hand.
 */
extern void quota_take(Quota quota, int64 amount, TimestampTz now);

/*
 * Why nothing is left, and what to do about it; NULL where something is left, with a
 * warning from 80 % on.  Counts nothing.
 */
extern char *quota_obstacle(Quota quota, const char **hint);

/*
 * For who counts in a table of his own, the one to come included: raises and warns as
 * quota_take() does.
 */
extern void quota_check(Quota quota, int64 used, TimestampTz now);

/* The session's tenant's quota; -1 where it has none. */
extern int64 quota_limit(Quota quota);

/* Counts what has been used already, or gives back (negative); never raises. */
extern void quota_add(Quota quota, int64 amount);

/*
 * How a room's own log says what was used: a query of one bigint, its arguments
 * tenant text ($1), since ($2) and until timestamptz ($3), and the quota bigint ($4),
 * beyond which it need not count.  It runs as the house.
 */
extern void quota_count_from(Quota quota, const char *sql);

/*
 * A quota whose use is a count of rows, not what was taken: a query of tenant text and
 * count bigint, for all tenants.  It runs as the server's own user.
 */
extern void quota_counted_by(Quota quota, const char *sql);

extern void quota_define_settings(void);
extern void quota_request_shmem(void);
extern void quota_attach_shmem(void);

#endif /* FACTORY_QUOTA_H */
