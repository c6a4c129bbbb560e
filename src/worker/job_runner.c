/*
 * job_runner.c
 *		One process in a database that has jobs: asks models for all of them at once.
 *
 * A job goes through three short transactions, and nothing but memory and a connection
 * is held between them:
 *
 *		look		jobs are claimed and their rules run; what needs no model is done
 *		start		the models are asked, now that "running" is committed
 *		answer		the answer is combined, logged, entered into the ledger, and told
 *
 * A crash after the look leaves "running" rows that nobody runs: the next look finds
 * them and does what each job asked for.
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/activity.h"
#include "base/compat.h"
#include "base/errors.h"
#include "base/house.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/interrupt.h"
#include "refresh/refresh.h"
#include "storage/ipc.h"
#include "storage/lock.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "worker/job_int.h"

/* Without a job for so long it gives up its place. */
#define RUNNER_IDLE_MS (60 * 1000L)

/* A transaction that failed is tried again after this. */
#define RUNNER_RETRY_MS 1000L

/* Claimed at once at most, so that a transaction stays short. */
#define CLAIM_MAX 256

/* Key of the lock that keeps a second runner out; SQL cannot reach class 3. */
#define RUNNER_LOCK_KEY 0x50466163
#define RUNNER_LOCK_NUMBER 1
#define RUNNER_LOCK_CLASS 3

static MemoryContext scratch = NULL;

/* Jobs whose models think, and how many; and those claimed that are not so far yet. */
static dlist_head under_way = DLIST_STATIC_INIT(under_way);
static int call_count = 0;
static dlist_head fresh = DLIST_STATIC_INIT(fresh);

/* There may be rows that say "running" and nobody runs. */
static bool unsettled = true;

/* The queue had more than there were places for. */
static bool backlog = false;

/* Why it does nothing; empty where it works. */
static char rest[REST_SIZE];

static bool extension_is_gone = false;
static Oid job_relation = InvalidOid;
static TimestampTz not_before = 0; /* after a failure */
static TimestampTz idle_since = 0;
static bool had_work = false;

/* --- jobs in memory --------------------------------------------------------------------------- */

/* The memory's end is the call's, too. */
static void
forget(Job *job)
{
	dlist_delete(&job->node);
	job_wake_followers(job, &under_way);
	if (job->is_under_way)
		call_count--;
	MemoryContextDelete(job->context);
}

static void
forget_every(dlist_head *jobs)
{
	while (!dlist_is_empty(jobs))
		forget(dlist_head_element(Job, node, jobs));
}

static void
set_under_way(Job *job)
{
	dlist_delete(&job->node);
	dlist_push_tail(&under_way, &job->node);
	job->is_under_way = true;
	call_count++;
}

static void
forget_all(List *jobs)
{
	ListCell *cell;

	foreach (cell, jobs)
		forget(lfirst(cell));
}

static List *
known_jobs(void)
{
	List *jobs = NIL;
	dlist_iter iter;

	dlist_foreach(iter, &under_way) jobs =
		lappend(jobs, dlist_container(Job, node, iter.cur));
	return jobs;
}

/* --- transactions ------------------------------------------------------------------------------- */

/* An extension that was created again has other jobs, by the same ids. */
static void
notice_new_extension(void)
{
	Oid relation = house_relation_if_exists("job");

	extension_is_gone = !refresh_is_installed() || !OidIsValid(relation);
	if (OidIsValid(job_relation) && relation != job_relation)
		forget_every(&under_way);
	job_relation = relation;
}

static bool
begin_transaction(void)
{
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	notice_new_extension();
	PushActiveSnapshot(GetTransactionSnapshot());
	MemoryContextSwitchTo(scratch);
	return !extension_is_gone;
}

static void
end_transaction(void)
{
	PopActiveSnapshot();
	CommitTransactionCommand();
	MemoryContextSwitchTo(scratch);
	pgstat_report_stat(false);
}

/* --- look ------------------------------------------------------------------------------------------ */

/* Why a claimed job is not even begun, or NULL. */
static char *
obstacle(const Job *job, int *sqlstate)
{
	*sqlstate = ERRCODE_INSUFFICIENT_PRIVILEGE;
	if (!OidIsValid(job->role))
		return "the role that submitted it does not exist any more";
	if (!job->allowed)
		return "the role that submitted it may not any more";
	*sqlstate = ERRCODE_QUERY_CANCELED;
	if (job->deadline <= GetCurrentTimestamp())
		return "its deadline came before it was begun";
	return NULL;
}

/* True where a model is to be asked; else the job's row is settled. */
static bool
begin_claimed(Job *job)
{
	int sqlstate;
	char *why = obstacle(job, &sqlstate);

	if (why != NULL)
		job_table_failed(job, sqlstate, why);
	else if (job_begin(job))
	{
		if (job->asks)
			return true;
		(void) job_complete(job);
	}
	return false;
}

static List *
take_cancelled(void)
{
	List *taken = NIL;
	ListCell *cell;

	foreach (cell, job_table_cancelled())
	{
		ListCell *other;

		foreach (other, known_jobs())
		{
			Job *job = lfirst(other);

			if (job->id != *(int64 *) lfirst(cell))
				continue;
			job_table_cancel(job);
			taken = lappend(taken, job);
		}
	}
	return taken;
}

/* Claimed jobs whose models are to be asked, once this is committed. */
static List *
claim(List **settled)
{
	int places = Min(job_concurrency - call_count, CLAIM_MAX);
	List *claimed = places > 0 ? job_table_claim(places) : NIL;
	List *asking = NIL;
	ListCell *cell;

	backlog = places <= 0 || list_length(claimed) == places;
	foreach (cell, claimed)
		dlist_push_tail(&fresh, &((Job *) lfirst(cell))->node);
	foreach (cell, claimed)
	{
		if (begin_claimed(lfirst(cell)))
			asking = lappend(asking, lfirst(cell));
		else
			*settled = lappend(*settled, lfirst(cell));
	}
	job_table_mark_running(asking);
	return asking;
}

static List *
look(void)
{
	const char *reason = NULL;
	List *cancelled = NIL;
	List *settled = NIL;
	List *asking = NIL;

	job_slot_begin_look();
	backlog = false;
	if (begin_transaction())
	{
		cancelled = take_cancelled();
		if (house_may_work(&reason))
		{
			if (unsettled)
				job_table_settle_lost(known_jobs());
			asking = claim(&settled);
		}
		else if (!jobs_are_waiting())
			reason = NULL; /* nobody waits for its rest to end */
		strlcpy(rest, reason ? reason : "", sizeof(rest));
	}
	end_transaction();
	unsettled = unsettled && rest[0] != '\0';
	forget_all(cancelled);
	had_work |= settled != NIL || asking != NIL;
	if (settled != NIL)
		idle_since = 0;
	forget_all(settled);
	return asking;
}

/* --- start ------------------------------------------------------------------------------------------ */

static void
start_calls(List *asking)
{
	List *failed = NIL;
	ListCell *cell;

	if (begin_transaction())
	{
		foreach (cell, asking)
		{
			Job *job = lfirst(cell);

			if (job_follows(job, &under_way) || job_start(job))
				set_under_way(job);
			else
				failed = lappend(failed, job);
		}
	}
	end_transaction();
	forget_all(failed);
}

/* --- answer ----------------------------------------------------------------------------------------- */

static List *
ready_jobs(void)
{
	List *ready = NIL;
	TimestampTz now = GetCurrentTimestamp();
	dlist_iter iter;

	dlist_foreach(iter, &under_way)
	{
		Job *job = dlist_container(Job, node, iter.cur);

		if (job_ready(job, now))
			ready = lappend(ready, job);
	}
	return ready;
}

static void
take_answers(List *ready)
{
	List *ended = NIL;
	ListCell *cell;

	if (begin_transaction())
	{
		foreach (cell, ready)
		{
			Job *job = lfirst(cell);

			if (job_step(job))
			{
				/* It may go on: another try, or a call of its own. */
				if (job->call != NULL && !llm_ready(job->call))
					continue;
				(void) job_complete(job);
			}
			ended = lappend(ended, job);
		}
	}
	end_transaction();
	forget_all(ended);
}

/* --- waiting ---------------------------------------------------------------------------------------- */

static TimestampTz
next_moment(void)
{
	TimestampTz moment = DT_NOEND;
	dlist_iter iter;

	/* At rest it has no reason to leave, and is told when to go on. */
	if (idle_since != 0)
		moment = TimestampTzPlusMilliseconds(idle_since, RUNNER_IDLE_MS);

	dlist_foreach(iter, &under_way) moment =
		Min(moment, job_next_moment(dlist_container(Job, node, iter.cur)));
	return not_before > 0 ? not_before : moment;
}

/* Here is no statement to cancel. */
static void
heed_interrupts(void)
{
	QueryCancelPending = false;
	CHECK_FOR_INTERRUPTS();
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
	}
}

static void
wait(void)
{
	job_slot_show(call_count, rest);
	pgstat_report_activity(STATE_IDLE, rest[0] != '\0' ? psprintf("resting: %s", rest)
									   : call_count > 0
										   ? psprintf("%d calls under way", call_count)
										   : "waiting for jobs");
	pgstat_report_stat(true);
	HOLD_CANCEL_INTERRUPTS();
	llm_wait(next_moment());
	RESUME_CANCEL_INTERRUPTS();
}

/* Whether it has had nothing to do for long enough. */
static bool
is_idle(void)
{
	TimestampTz now = GetCurrentTimestamp();

	if (call_count > 0 || backlog || unsettled || rest[0] != '\0' || job_slot_announced())
		idle_since = 0;
	else if (idle_since == 0)
		idle_since = now;
	/* Without ever a job, it came for nothing: a restored dump, say. */
	return idle_since != 0 && (!had_work || now - idle_since >= RUNNER_IDLE_MS * 1000);
}

/* --- the process --------------------------------------------------------------------------------------- */

static void
turn(void)
{
	List *ready = ready_jobs();
	List *asking = NIL;

	if (ready != NIL)
		take_answers(ready);
	if (job_slot_announced() || unsettled || rest[0] != '\0' ||
		(backlog && call_count < job_concurrency))
		asking = look();
	if (asking != NIL)
		start_calls(asking);
}

static void
rescue(void)
{
	HOLD_INTERRUPTS();
	EmitErrorReport();
	MemoryContextSwitchTo(scratch);
	FlushErrorState();
	AbortCurrentTransaction();
	QueryCancelPending = false;
	/* Their rows are as they were, or say "running" and will be found. */
	forget_every(&fresh);
	RESUME_INTERRUPTS();
}

/* What fails is logged and tried again; it cannot end the process. */
static void
safe_turn(void)
{
	MemoryContextReset(scratch);
	MemoryContextSwitchTo(scratch);
	not_before = 0;
	PG_TRY();
	{
		turn();
	}
	PG_CATCH();
	{
		rescue();
		unsettled = true;
		not_before = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), RUNNER_RETRY_MS);
	}
	PG_END_TRY();
}

/* The runner before us may be on its way out: waits for it. */
static void
lock_out_others(void)
{
	LOCKTAG tag;

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, RUNNER_LOCK_KEY, RUNNER_LOCK_NUMBER,
						 RUNNER_LOCK_CLASS);
	StartTransactionCommand();
	(void) LockAcquire(&tag, ExclusiveLock, true, false);
	CommitTransactionCommand();
}

/* What calls hold of budgets and of a server's trial goes back, however we end. */
static void
let_go_of_calls(int code, Datum argument)
{
	forget_every(&fresh);
	forget_every(&under_way);
}

static void
at_exit(int code, Datum argument)
{
	job_slot_abandon();
}

void
factory_job_runner_main(Datum argument)
{
	Oid database;

	memcpy(&database, MyBgworkerEntry->bgw_extra, sizeof(database));
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	worker_is_job_runner = true;
	if (!job_slot_enter(DatumGetInt32(argument), database))
		proc_exit(0);
	on_shmem_exit(at_exit, (Datum) 0);
	before_shmem_exit(let_go_of_calls, (Datum) 0);
	BackgroundWorkerUnblockSignals();
	worker_connect(database, "pg_factory job runner");
	lock_out_others();
	scratch = AllocSetContextCreate(TopMemoryContext, "factory job runner",
									ALLOCSET_DEFAULT_SIZES);
	for (;;)
	{
		heed_interrupts();
		safe_turn();
		if (extension_is_gone || is_idle())
		{
			if (job_slot_leave())
			{
				/* What has ended is tidied away by the scheduler, when its time comes. */
				if (!extension_is_gone)
					worker_announce();
				proc_exit(0);
			}
		}
		else if (!job_slot_announced())
			wait();
	}
}
