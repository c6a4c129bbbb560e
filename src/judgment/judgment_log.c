/*
 * judgment_log.c
 *		One row a judgment: in the caller's transaction, or handed to the writer.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "base/activity.h"
#include "base/base.h"
#include "base/queue.h"
#include "catalog/pg_type.h"
#include "judgment/judgment_int.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"

int judgment_log_mode = LOG_SYNC;
bool judgment_log_cached;

static const QueueColumn columns[] = {
	{"execution_id", UUIDOID},
	{"tenant_id", TEXTOID},
	{"decision", TEXTOID},
	{"version", INT4OID},
	{"policy", TEXTOID},
	{"method_used", TEXTOID},
	{"result", TEXTOID},
	{"status", TEXTOID},
	{"severity", TEXTOID},
	{"confidence", FLOAT8OID},
	{"matched_rules", TEXTARRAYOID},
	{"input", JSONBOID},
	{"outcome", JSONBOID},
	{"explanation", JSONBOID},
	{"components", JSONBOID},
	{"degraded", TEXTOID},
	{"execution_time_ms", FLOAT8OID},
	{"created_at", TIMESTAMPTZOID},
	{"created_by", TEXTOID},
};

#define LOG_COLUMNS lengthof(columns)

static QueueKind log_rows = {"judgment_log", columns, LOG_COLUMNS};

typedef struct LogRow
{
	Datum values[LOG_COLUMNS];
	bool nulls[LOG_COLUMNS];
	int count;
} LogRow;

void
judgment_log_register(void)
{
	queue_register(&log_rows);
}

/* --- the row ------------------------------------------------------------------------------ */

static void
add(LogRow *row, Datum value, bool isnull)
{
	row->values[row->count] = value;
	row->nulls[row->count++] = isnull;
}

static void
add_text(LogRow *row, const char *text)
{
	add(row, text ? CStringGetTextDatum(text) : (Datum) 0, text == NULL);
}

static void
add_doc(LogRow *row, Jsonb *doc)
{
	add(row, doc ? JsonbPGetDatum(doc) : (Datum) 0, doc == NULL);
}

Datum
judgment_matched_rules(const Judgment *judgment)
{
	if (judgment->evaluation != NULL)
		return evaluation_matched_rules(judgment->evaluation);
	return PointerGetDatum(construct_empty_array(TEXTOID));
}

static void
collect_row(Judgment *judgment, Jsonb *input, LogRow *row)
{
	const Decision *decision = judgment->decision;
	bool known = judgment->known;

	row->count = 0;
	add(row, UUIDPGetDatum(&judgment->execution_id), false);
	add_text(row, tenant_current());
	add_text(row, decision->name);
	add(row, Int32GetDatum(decision->version), false);
	add_text(row, judgment_policy_names[judgment->policy]);
	add_text(row, judgment->method);
	add_text(row, judgment->result);
	add_text(row, known ? judgment->verdict.status : NULL);
	add_text(row, known ? severity_name(judgment->verdict.severity) : NULL);
	add(row, Float8GetDatum(judgment->verdict.confidence), !known);
	add(row, judgment_matched_rules(judgment), false);
	add_doc(row, input ? input : decision_values(judgment->decision, false));
	add_doc(row, judgment->evaluation && judgment->done != POLICY_ESCALATE
					 ? evaluation_outcome(judgment->evaluation)
					 : NULL);
	add_doc(row, judgment_explain(judgment));
	add_doc(row, judgment_components(judgment));
	add_text(row, judgment->degraded);
	add(row, Float8GetDatum(judgment->elapsed_ms), false);
	add(row, TimestampTzGetDatum(judgment->created_at), false);
	add_text(row, GetUserNameFromId(GetUserId(), false));
	Assert(row->count == LOG_COLUMNS);
}

/* --- writing ------------------------------------------------------------------------------ */

static void
write_now(Judgment *judgment, Jsonb *input)
{
	LogRow row;

	judgment->log = "written";
	collect_row(judgment, input, &row);
	queue_insert(&log_rows, row.values, row.nulls);
}

/* Not part of the caller's transaction: it stays when that is rolled back. */
static bool
hand_over(Judgment *judgment, Jsonb *input)
{
	LogRow row;
	const char *reason;

	if (!house_may_act(&reason) || IsInParallelMode())
		return false;
	judgment->log = "queued";
	collect_row(judgment, input, &row);
	if (queue_put(&log_rows, row.values, row.nulls))
		return true;
	/* What is to be written now tells of itself that it was. */
	judgment->components = NULL;
	return false;
}

/*
 * What rules say by the clock, or by tables, may not be what they said before; and a
 * review needs its own judgment.
 */
static bool
repeats_unlogged(const Judgment *judgment)
{
	const Decision *decision = judgment->decision;

	return judgment->recalled != NULL && !judgment_log_cached && !decision->uses_time &&
		   !decision->is_mutable && judgment->review == NIL;
}

static void
log_row(Judgment *judgment, Jsonb *input)
{
	bool async = judgment_log_mode == LOG_ASYNC;

	if (judgment_log_mode == LOG_OFF)
		judgment->log = "off";
	else if (!house_is_enabled())
		judgment->log = "not written: factory.enabled is off";
	else if (repeats_unlogged(judgment))
	{
		judgment->execution_id = *recall_first(judgment);
		judgment->log = "not written: given again from the cache";
	}
	else if (RecoveryInProgress())
		judgment->log = "not written: the server is a standby";
	else if (async && hand_over(judgment, input))
		return;
	else if (XactReadOnly)
	{
		judgment->log = "not written: the transaction is read-only";
		if (async)
			queue_count_dropped(1);
	}
	else
		write_now(judgment, input);
}

void
judgment_log(Judgment *judgment, Jsonb *input)
{
	escalation_consider(judgment);
	log_row(judgment, input);
	escalation_open(judgment, input);
}
