/*
 * queue.h
 *		Rows that a session hands over, and a worker writes into their table.
 *
 * A queue belongs to one database: a ring in shared memory, with a writer (a
 * background worker) that puts what is in it into tables, many rows a transaction.
 * A row handed over is not part of the caller's transaction: a rollback does not
 * take it back.  It is lost if the server crashes before the writer has committed it.
 *
 * A room says once which table and columns its rows have:
 *
 *		static const QueueColumn columns[] = {{"execution_id", UUIDOID}, ...};
 *		static QueueKind kind = {"judgment_log", columns, lengthof(columns)};
 *
 *		queue_register(&kind);					(while the library is loaded)
 *		if (!queue_put(&kind, values, nulls))	(in a transaction)
 *			queue_insert(&kind, values, nulls);
 *
 * Columns that are not named get their defaults.  The tenant is a column like others:
 * row security does not bind the writer.
 */
#ifndef FACTORY_QUEUE_H
#define FACTORY_QUEUE_H

#include "access/tupdesc.h"
#include "datatype/timestamp.h"

typedef struct QueueColumn
{
	const char *name;
	Oid type;
} QueueColumn;

typedef struct QueueKind
{
	const char *table; /* of schema factory */
	const QueueColumn *columns;
	int column_count;

	int number;      /* set by queue_register() */
	TupleDesc shape; /* this backend's, made at the first row */
} QueueKind;

extern void queue_register(QueueKind *kind);

/*
 * Hands one row over.  False where that cannot be: no writer serves this database (one
 * is sent for), the row is too long, or there was no room for factory.queue_timeout.
 */
extern bool queue_put(QueueKind *kind, const Datum *values, const bool *nulls);

/* The same, for who has time to wait until the writer sent for has come. */
extern bool queue_put_patiently(QueueKind *kind, const Datum *values, const bool *nulls,
								int patience_ms);

/* Writes one row here and now, in the caller's transaction, as the house. */
extern void queue_insert(QueueKind *kind, const Datum *values, const bool *nulls);

/* Somebody could not write a row either that was not handed over. */
extern void queue_count_dropped(int rows);

/* Since the server started, over all databases; records and bytes are what waits now. */
typedef struct QueueTotals
{
	uint64 records;
	uint64 bytes;
	uint64 put;
	uint64 written;
	uint64 waited;
	uint64 direct;
	uint64 dropped;
} QueueTotals;

extern void queue_totals(QueueTotals *totals);

extern void queue_define_settings(void);
extern void queue_request_shmem(void);
extern void queue_attach_shmem(void);

/* A database's queue, for who looks on. */
typedef struct QueueInfo
{
	Oid database;
	int pid; /* of its writer, 0 where there is none */
	const char *state;
	TimestampTz since;
	uint64 bytes;
	uint64 size;
	QueueTotals totals; /* since the place was taken */
} QueueInfo;

/* False where that place is free; places are 0 .. queue_max_databases - 1. */
extern bool queue_info(int place, QueueInfo *info);

/* --- for the workers -------------------------------------------------------------- */

struct Latch;

extern int queue_max_databases; /* setting factory.queue_databases */
extern int queue_delay_ms;      /* setting factory.queue_delay */

/* Whom to wake when a writer is wanted. */
extern void queue_set_launcher(struct Latch *latch);

/* Whether a writer is to be started at that place, for which database and not before when. */
extern bool queue_wants_writer(int place, Oid *database, TimestampTz *not_before);
extern void queue_start_begins(int place);
extern void queue_start_failed(int place);
/* The database is not there any more. */
extern void queue_forget(int place);

/* Wakes this database's writer, if it has one. */
extern void queue_wake_writer(void);
/* Asks a database's writer to end; false where it has none. */
extern bool queue_ask_to_leave(Oid database);

/* --- for the writer ----------------------------------------------------------------- */

/* The process takes its place, with the door closed; false where it is not meant. */
extern bool queue_attach(int place, Oid database);
/* Opens or closes the door to new rows; what is in stays. */
extern void queue_open_door(bool open);
/* Gives up the place; false where rows are in it. */
extern bool queue_leave(void);
/* The process ends without having left: another one shall go on. */
extern void queue_abandon(void);

extern bool queue_is_empty(void);
extern bool queue_is_half_full(void);

/* Where the rows end that are in now, and whether any before there still is. */
extern uint64 queue_end(void);
extern bool queue_holds_before(uint64 end);

/*
 * Puts the oldest rows into their tables, in the caller's transaction; after its commit
 * queue_batch_done() lets go of them.  With one_by_one each is tried alone, and those
 * that cannot be written are dropped.
 */
extern void queue_write_batch(bool one_by_one);
extern void queue_batch_done(void);

/* Lets go of all that is in the queue: there is nothing to write it into. */
extern int queue_discard(void);

#endif /* FACTORY_QUEUE_H */
