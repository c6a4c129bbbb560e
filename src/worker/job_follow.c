/*
 * job_follow.c
 *		Jobs that ask what another job asks just now: they wait for its answer.
 *
 * Only where answers are kept: whoever follows is woken when the one who asks is
 * forgotten, looks into the cache, and else asks for himself.  He keeps to his own
 * deadline.  A job that wants a fresh answer is followed, but does not follow.
 */
#include "postgres.h"

#include "worker/job_int.h"

static bool
asks_the_same(const Job *one, const Job *other)
{
	return one->task.keeps && other->task.keeps &&
		   memcmp(one->task.keeping.ticket.digest, other->task.keeping.ticket.digest,
				  CACHE_DIGEST_BYTES) == 0;
}

bool
job_follows(const Job *job, dlist_head *under_way)
{
	dlist_iter iter;

	if (!job->task.keeps || job->task.skip_cache)
		return false;
	dlist_foreach(iter, under_way)
	{
		const Job *other = dlist_container(Job, node, iter.cur);

		if (other->call != NULL && asks_the_same(job, other))
			return true;
	}
	return false;
}

void
job_wake_followers(const Job *job, dlist_head *under_way)
{
	dlist_iter iter;

	if (job->call == NULL)
		return;
	dlist_foreach(iter, under_way)
	{
		Job *other = dlist_container(Job, node, iter.cur);

		if (other->call == NULL && asks_the_same(job, other))
			other->is_woken = true;
	}
}

TimestampTz
job_next_moment(const Job *job)
{
	if (job->call != NULL)
		return llm_next_moment(job->call);
	return job->is_woken ? 0 : job->deadline;
}

bool
job_ready(const Job *job, TimestampTz now)
{
	return job->call != NULL ? llm_ready(job->call)
							 : job->is_woken || job->deadline <= now;
}
