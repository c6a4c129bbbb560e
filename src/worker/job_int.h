/*
 * job_int.h
 *		What the files about jobs share: the places of job runners, and a job.
 */
#ifndef FACTORY_JOB_INT_H
#define FACTORY_JOB_INT_H

#include "base/tenant.h"
#include "judgment/judgment.h"
#include "lib/ilist.h"
#include "llm/llm.h"
#include "worker/worker_int.h"

extern int job_concurrency; /* setting factory.job_concurrency */

/* --- job_slots.c: a place for each database that has jobs ---------------------------- */

/* Whether this process is a job runner. */
extern bool worker_is_job_runner;

extern bool job_slot_enter(int place, Oid database);
/* Gives the place up, unless jobs were announced since the last look. */
extern bool job_slot_leave(void);
/* The process ends without having left: another one shall go on. */
extern void job_slot_abandon(void);
/* From now on an announcement is news. */
extern void job_slot_begin_look(void);
extern bool job_slot_announced(void);
extern void job_slot_show(int calls, const char *rest);

/* --- job_table.c: factory.job ------------------------------------------------------------ */

typedef struct Job
{
	dlist_node node;
	MemoryContext context; /* all of it lives here, over transactions */
	int64 id;
	char *tenant;
	char *kind;
	Oid role; /* InvalidOid: it is gone */
	bool allowed;
	TimestampTz deadline; /* DT_NOEND for none */
	JudgmentTask task;    /* of a judgment */
	LlmRequest request;   /* of both, once a model is to be asked */
	bool asks;
	LlmCall *call; /* NULL: not begun, or it follows another's */
	bool is_under_way;
	bool is_woken; /* the one it follows has ended */
} Job;

/* Inside a transaction, as the house. */
extern List *job_table_claim(int places); /* of Job * */
extern void job_table_mark_running(List *jobs);
extern List *job_table_cancelled(void);         /* of int64 *: running ones */
extern void job_table_settle_lost(List *known); /* of Job *: those that are not lost */
/* The type is of the result: factory.judgment or jsonb. */
extern void job_table_done(const Job *job, Datum result, Oid type);
extern void job_table_failed(const Job *job, int sqlstate, const char *message);
extern void job_table_cancel(const Job *job);

/* --- job_piece.c: what is done of a job in one transaction ---------------------------------- */

/* Each is false, with the job's row settled, where it failed. */
extern bool job_begin(Job *job);
extern bool job_start(Job *job);
extern bool job_step(Job *job);
extern bool job_complete(Job *job);

/* --- job_follow.c: one asks, others with the same question wait ---------------------------- */

/* Whether one of those under way asks the same. */
extern bool job_follows(const Job *job, dlist_head *under_way);
/* It ends: whoever follows it is ready. */
extern void job_wake_followers(const Job *job, dlist_head *under_way);
extern TimestampTz job_next_moment(const Job *job);
extern bool job_ready(const Job *job, TimestampTz now);

#endif /* FACTORY_JOB_INT_H */
