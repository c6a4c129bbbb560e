/*
 * queue_insert.c
 *		Writing a row where it arises, for who does not hand it over.
 */
#include "postgres.h"

#include "base/house.h"
#include "base/queue_int.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"

static char *
insert_text(const QueueKind *kind)
{
	StringInfoData names, values;

	initStringInfo(&names);
	initStringInfo(&values);
	for (int i = 0; i < kind->column_count; i++)
	{
		appendStringInfo(&names, "%s%s", i > 0 ? ", " : "",
						 quote_identifier(kind->columns[i].name));
		appendStringInfo(&values, "%s$%d", i > 0 ? ", " : "", i + 1);
	}
	return psprintf("INSERT INTO factory.%s (%s) VALUES (%s)",
					quote_identifier(kind->table), names.data, values.data);
}

/* The plan is kept for the session; the server replans it when the table changes. */
static SPIPlanPtr
insert_plan(const QueueKind *kind)
{
	static SPIPlanPtr plans[QUEUE_MAX_KINDS];
	Oid *types;
	SPIPlanPtr plan;

	if (plans[kind->number] != NULL)
		return plans[kind->number];
	types = palloc(sizeof(Oid) * kind->column_count);
	for (int i = 0; i < kind->column_count; i++)
		types[i] = kind->columns[i].type;
	plan = SPI_prepare(insert_text(kind), kind->column_count, types);
	if (plan == NULL)
		elog(ERROR, "could not prepare the insert into \"factory.%s\"", kind->table);
	SPI_keepplan(plan);
	return plans[kind->number] = plan;
}

void
queue_insert(QueueKind *kind, const Datum *values, const bool *nulls)
{
	char *marks;
	HouseRights saved;

	if (queue_insert_directly(kind, values, nulls))
		return;
	marks = palloc(kind->column_count);
	for (int i = 0; i < kind->column_count; i++)
		marks[i] = nulls[i] ? 'n' : ' ';
	house_enter(&saved);
	SPI_connect();
	if (SPI_execute_plan(insert_plan(kind), unconstify(Datum *, values), marks, false,
						 0) != SPI_OK_INSERT)
		elog(ERROR, "could not write into \"factory.%s\"", kind->table);
	SPI_finish();
	house_leave(&saved);
}
