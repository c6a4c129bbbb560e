/*
 * queue_write.c
 *		What the writer does with a queue's rows: straight into their table, or one
 *		INSERT a kind and batch.
 *
 * The INSERT reads the ring through a function of ours, so that a row becomes one in
 * the table by all that a statement does: defaults, generated columns, triggers, checks.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "base/attempt.h"
#include "base/compat.h"
#include "base/house.h"
#include "base/queue_int.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/tuplestore.h"

/* A transaction writes no more than this, so that a lock of it is short. */
#define BATCH_ROWS 2000
#define BATCH_BYTES (1024 * 1024)

typedef struct Batch
{
	uint64 from; /* positions in the ring */
	uint64 to;
	int rows;
	int dropped;
	uint32 kinds; /* a bit each */
} Batch;

static Batch batch;

/* The part of it that the statement under way reads. */
static uint64 reading_from;
static uint64 reading_to;

static RingRecord *
next_record(uint64 *position, uint64 end)
{
	return ring_read(queue_ring(queue_my_place()), position, end);
}

/* What is in the ring now, as far as a batch goes. */
static void
begin_batch(void)
{
	Ring *ring = queue_ring(queue_my_place());
	uint64 end;

	memset(&batch, 0, sizeof(batch));
	batch.from = batch.to = pg_atomic_read_u64(&ring->tail);
	end = pg_atomic_read_u64(&ring->head);
	pg_read_barrier();
	while (batch.rows < BATCH_ROWS && batch.to - batch.from < BATCH_BYTES)
	{
		RingRecord *record = next_record(&batch.to, end);

		if (record == NULL)
			break;
		batch.rows++;
		batch.kinds |= 1U << record->kind;
	}
}

/* --- writing -------------------------------------------------------------------------------- */

static char *
insert_text(const QueueKind *kind)
{
	StringInfoData names, types, text;

	initStringInfo(&names);
	initStringInfo(&types);
	initStringInfo(&text);
	for (int i = 0; i < kind->column_count; i++)
	{
		const char *name = quote_identifier(kind->columns[i].name);
		const char *comma = i > 0 ? ", " : "";

		appendStringInfo(&names, "%s%s", comma, name);
		appendStringInfo(&types, "%s%s %s", comma, name,
						 format_type_be_qualified(kind->columns[i].type));
	}
	appendStringInfo(&text,
					 "INSERT INTO factory.%s (%s) SELECT %s "
					 "FROM factory.queued_rows(%d) AS queued(%s)",
					 quote_identifier(kind->table), names.data, names.data, kind->number,
					 types.data);
	return text.data;
}

static SPIPlanPtr
insert_plan(const QueueKind *kind)
{
	static SPIPlanPtr plans[QUEUE_MAX_KINDS];

	if (plans[kind->number] == NULL)
	{
		char *text = insert_text(kind);
		SPIPlanPtr plan = SPI_prepare(text, 0, NULL);

		if (plan == NULL)
			elog(ERROR, "could not prepare \"%s\"", text);
		SPI_keepplan(plan);
		plans[kind->number] = plan;
	}
	return plans[kind->number];
}

static void
write_kind(const QueueKind *kind)
{
	HouseRights saved;

	house_enter_for_all(&saved);
	SPI_connect();
	if (SPI_execute_plan(insert_plan(kind), NULL, NULL, false, 0) != SPI_OK_INSERT)
		elog(ERROR, "could not write rows into \"factory.%s\"", kind->table);
	SPI_finish();
	house_leave(&saved);
}

static void
write_record(void *argument)
{
	write_kind(argument);
}

static void
write_one_by_one(void)
{
	uint64 position = batch.from;

	for (;;)
	{
		RingRecord *record;
		QueueKind *kind;
		ErrorData *error;

		CHECK_FOR_INTERRUPTS();
		reading_from = position;
		record = next_record(&position, batch.to);
		if (record == NULL)
			break;
		reading_to = position;
		kind = queue_kinds[record->kind];
		error = attempt(write_record, kind);
		if (error == NULL)
			continue;
		batch.dropped++;
		ereport(LOG, (errmsg("a queued row of \"factory.%s\" was dropped: %s",
							 kind->table, error->message)));
	}
}

void
queue_write_batch(bool one_by_one)
{
	begin_batch();
	if (one_by_one)
	{
		write_one_by_one();
		return;
	}
	reading_to = batch.to;
	for (int i = 0; i < queue_kind_count; i++)
	{
		if ((batch.kinds & (1U << i)) == 0)
			continue;
		reading_from = queue_write_directly(queue_kinds[i], batch.from, batch.to);
		if (reading_from < batch.to)
			write_kind(queue_kinds[i]);
	}
}

static void
let_go(int written)
{
	QueuePlace *place = queue_my_place();

	pg_atomic_fetch_add_u64(&place->written, written);
	pg_atomic_fetch_add_u64(&place->dropped, batch.rows - written);
	pg_atomic_fetch_sub_u64(&place->records, batch.rows);
	ring_release(queue_ring(place), batch.to);
	ConditionVariableBroadcast(&place->moved);
}

void
queue_batch_done(void)
{
	let_go(batch.rows - batch.dropped);
}

int
queue_discard(void)
{
	int rows = 0;

	while (!queue_is_empty())
	{
		begin_batch();
		rows += batch.rows;
		let_go(0);
	}
	return rows;
}

bool
queue_is_empty(void)
{
	return ring_used(queue_ring(queue_my_place())) == 0;
}

bool
queue_is_half_full(void)
{
	Ring *ring = queue_ring(queue_my_place());

	return ring_used(ring) > ring->size / 2;
}

uint64
queue_end(void)
{
	return pg_atomic_read_u64(&queue_ring(queue_my_place())->head);
}

bool
queue_holds_before(uint64 end)
{
	return pg_atomic_read_u64(&queue_ring(queue_my_place())->tail) < end;
}

/* --- for SQL --------------------------------------------------------------------------------- */

FACTORY_FUNCTION(factory_queued_rows);

/* The rows of one kind that the batch has, as they were handed over. */
Datum
factory_queued_rows(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	uint32 kind = PG_GETARG_INT32(0);
	RingRecord *record;
	uint64 position = reading_from;

	if (queue_my_place() == NULL)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("only a database's writer reads its queue"),
						errhint("View factory.queue_status shows the queues.")));
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	while ((record = next_record(&position, reading_to)) != NULL)
	{
		HeapTupleData row = {.t_len = record->length,
							 .t_data = (HeapTupleHeader) record->data};

		if (record->kind == kind)
			tuplestore_puttuple(result->setResult, &row);
	}
	return (Datum) 0;
}

static void
put_queue(ReturnSetInfo *result, const QueueInfo *info)
{
	const QueueTotals *totals = &info->totals;
	Datum values[] = {ObjectIdGetDatum(info->database), Int32GetDatum(info->pid),
					  CStringGetTextDatum(info->state), TimestampTzGetDatum(info->since),
					  Int64GetDatum(totals->records),   Int64GetDatum(totals->bytes),
					  Int64GetDatum(info->size),        Int64GetDatum(totals->put),
					  Int64GetDatum(totals->written),   Int64GetDatum(totals->waited),
					  Int64GetDatum(totals->direct),    Int64GetDatum(totals->dropped)};
	bool nulls[lengthof(values)] = {false, info->pid == 0};

	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

FACTORY_FUNCTION(factory_queue_places);

Datum
factory_queue_places(PG_FUNCTION_ARGS)
{
	QueueInfo info;

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < queue_max_databases; i++)
		if (queue_info(i, &info))
			put_queue((ReturnSetInfo *) fcinfo->resultinfo, &info);
	return (Datum) 0;
}
