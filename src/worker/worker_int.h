/*
 * worker_int.h
 *		What launcher, schedulers, writers and sessions share: a table of databases.
 *
 * A slot is one database that has, or may have, something to do.  Its life:
 *
 *	FREE -> WANTED		a session announced work, or the launcher wants a look
 *	WANTED -> STARTING	the launcher asked for a scheduler
 *	STARTING -> RUNNING	the scheduler is there
 *	RUNNING -> FREE		it found nothing left to do
 *	RUNNING -> WANTED	it died; the launcher starts another, a little later
 *
 * A barred slot is not served: somebody drops, renames, moves or copies the
 * database, and needs it empty.
 */
#ifndef FACTORY_WORKER_INT_H
#define FACTORY_WORKER_INT_H

#include "postmaster/bgworker.h"
#include "refresh/refresh.h"
#include "storage/condition_variable.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "worker/worker.h"

typedef enum SlotState
{
	SLOT_FREE,
	SLOT_WANTED,
	SLOT_STARTING,
	SLOT_RUNNING
} SlotState;

/* Room for why a scheduler rests. */
#define REST_SIZE 160

/* All of it under WorkerShared.lock. */
typedef struct WorkerSlot
{
	SlotState state;
	Oid database;           /* InvalidOid: the slot is free */
	int pid;                /* of its scheduler; 0 where there is none */
	Latch *latch;           /* of its scheduler */
	bool announced;         /* work came since the scheduler last looked */
	bool busy;              /* a refresh is going on */
	int bars;               /* sessions that need the database empty */
	int failures;           /* schedulers that died one after another */
	TimestampTz since;      /* when the state was reached */
	TimestampTz not_before; /* WANTED: when the launcher may try again */
	TimestampTz next_wake;  /* RUNNING: 0 for not known */
	char rest[REST_SIZE];   /* RUNNING: why it does nothing; empty where it works */
} WorkerSlot;

typedef struct WorkerShared
{
	LWLock *lock;
	ConditionVariable gone; /* a scheduler or writer has left its place */
	int launcher_pid;       /* under lock, like the two below */
	Latch *launcher_latch;
	TimestampTz launcher_since;
	bool overlooked; /* work was announced and no slot was free; under lock */
	WorkerSlot slots[FLEXIBLE_ARRAY_MEMBER]; /* factory.max_databases */
} WorkerShared;

extern WorkerShared *worker_shared;
extern int worker_max_databases;

/* Whether this process is a scheduler. */
extern bool worker_is_scheduler;

/* The caller holds the lock. */
extern WorkerSlot *slot_of_database(Oid database);
extern WorkerSlot *slot_take(Oid database); /* NULL where all are taken */
extern void slot_enter(WorkerSlot *slot, SlotState state);
extern void slot_release(WorkerSlot *slot);
extern void slot_try_later(WorkerSlot *slot); /* WANTED again, but not at once */
extern void launcher_wake(void);

/* Whether somebody needs that database empty. */
extern bool slot_is_barred(Oid database);

/* Whether a database is there and is served at all. */
extern bool launcher_serves(Oid database);

/*
 * writer_start.c, for the launcher.  The second starts what is wanted, and returns how
 * many milliseconds later it shall look again; -1 for never.
 */
extern void writers_prepare(void);
extern long writers_start_wanted(void);

/*
 * Reviews, canaries, the log's months: in the caller's transaction.  Returns when it is
 * to be called again; DT_NOEND where there is nothing to look after.
 */
extern TimestampTz tend(void);

/*
 * performer_pool.c: processes of a scheduler's that do what is due, so that it never waits
 * for them.  A refresh goes to one that is warm; a task gets its own, as its role.
 */

/* How many refreshes can be given now; 0 where all are busy. */
extern int performers_free(void);

/* False where no process can be had. */
extern bool performers_give(const RefreshRun *run);
extern bool performers_start_task(const RefreshTask *task);

/* How many wait for a refresh; and starts some, for so many that are due soon. */
extern int performers_idle(void);
extern void performers_warm(int wanted);

/* What one has done; error is NULL where it worked. */
typedef bool (*PerformedFunction)(RefreshRun *run, bool is_task, const ErrorData *error);

/*
 * Tells of everything that was done since the last forget.  False where one who was told
 * said no: it will be told again.
 */
extern bool performers_tell(PerformedFunction told);

/* Writes down the refreshes that go on for long, and when the next will have. */
extern void performers_mark_long(void);
extern long performers_until_mark(void); /* in milliseconds; -1 for none */

/* What was told is settled: the processes are free again. */
extern void performers_forget_told(void);

/* The ids of what is under way or not yet told of: an array as SQL has it. */
extern Datum performers_runs(bool tasks);

extern int performers_busy(bool tasks);

/* Says of each view that one refreshes that it is busy. */
extern void performers_remember_busy(void);

/* Cancels that run of a task, or what refreshes that view, to make room for the next. */
extern void performers_cancel_task(int64 run);
extern void performers_cancel_refresh(Oid view);

/* Waits until those of a scheduler before us have gone. */
extern void performers_wait_for_old(void);
extern void performers_define_settings(void);
extern int performers_max_tasks;

/* Refreshes in this process; raises as REFRESH does. */
extern void perform_refresh(const RefreshRun *run);

/*
 * start.c: registers a process of that kind for a database, and connects one that has
 * come.  False where no place is free; an old handle is freed.
 */
extern bool worker_register(const char *kind, const char *function, Oid database,
							Datum argument, BackgroundWorkerHandle **handle);
extern void worker_connect(Oid database, const char *name);

/*
 * start.c: processes of one kind that the launcher starts, one a place.  Where one cannot
 * be had, or ended before it could take its place, failed() has it tried later.
 */
typedef struct StartedKind
{
	const char *kind;
	const char *function;
	int places;
	void (*failed)(int place);
	BackgroundWorkerHandle **handles; /* one a place; NULL where none was started */
	bool told; /* the log says already that there is none to be had */
} StartedKind;

extern void started_prepare(StartedKind *started, int places);
extern void started_start(StartedKind *started, int place, Oid database);
extern void started_notice_failed(StartedKind *started);

/* worker.c: this database's scheduler looks, and is started where there is none. */
extern void worker_announce(void);

/*
 * job_slots.c: job runners.  Who asks one to leave holds the lock; wake is for one that
 * is there, want for one that shall be.
 */
extern Size job_slots_size(void);
extern void job_slots_attach(void);
extern void job_runners_prepare(void);
extern long job_runners_start_wanted(void);
extern void job_runner_want(void);
extern bool job_runner_is_wanted(void);
extern void job_runner_wake(void);
extern void job_runner_at_transaction_end(bool committed);
extern bool job_runner_ask_to_leave(Oid database);
extern bool job_runner_info(int place, Oid *database, int *pid, char **state,
							TimestampTz *since);

/* job_table.c: whether there are jobs that wait or run; inside a transaction. */
extern bool jobs_are_waiting(void);
extern void jobs_define_settings(void);

/* database.c: what needs a database empty. */
extern void database_install_hooks(void);

/* Forgets this session's bars at its transaction's end, and wants a look inside. */
extern void database_unbar_all(void);

PGDLLEXPORT void factory_launcher_main(Datum argument);
PGDLLEXPORT void factory_job_runner_main(Datum argument);
PGDLLEXPORT void factory_scheduler_main(Datum argument);
PGDLLEXPORT void factory_performer_main(Datum argument);
PGDLLEXPORT void factory_writer_main(Datum argument);

#endif /* FACTORY_WORKER_INT_H */
