/*
 * judgment_log.c
 *		One row a judgment: in the caller's transaction, or handed to the writer.
 */
#include "postgres.h"

#include "access/toast_compression.h"
#include "access/toast_internals.h"
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

/* What has a fixed width first, so that no row has holes; then what a replay reads. */
static const QueueColumn columns[] = {
	{"execution_id", UUIDOID},
	{"created_at", TIMESTAMPTZOID},
	{"execution_time_ms", FLOAT8OID},
	{"confidence", FLOAT8OID},
	{"version", INT4OID},
	{"tenant_id", TEXTOID},
	{"decision", TEXTOID},
	{"method_used", TEXTOID},
	{"result", TEXTOID},
	{"status", TEXTOID},
	{"input", JSONBOID},
	{"policy", TEXTOID},
	{"severity", TEXTOID},
	{"created_by", TEXTOID},
	{"degraded", TEXTOID},
	{"matched_rules", TEXTARRAYOID},
	{"outcome", JSONBOID},
	{"explanation", JSONBOID},
	{"components", JSONBOID},
};

#define LOG_COLUMNS lengthof(columns)

/* Shorter documents do not get shorter: the header takes what is won. */
#define PACK_FROM 256

#ifdef USE_LZ4
#define PACK_METHOD TOAST_LZ4_COMPRESSION
#else
#define PACK_METHOD TOAST_PGLZ_COMPRESSION
#endif

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

/*
 * The server compresses only what makes a row longer than 2 kB; a log of many middling
 * inputs is smaller, and no slower to write, where each of them is.
 */
static Datum
packed(Jsonb *doc)
{
	Datum smaller = (Datum) 0;

	if (VARSIZE(doc) >= PACK_FROM)
		smaller = toast_compress_datum(JsonbPGetDatum(doc), PACK_METHOD);
	return DatumGetPointer(smaller) != NULL ? smaller : JsonbPGetDatum(doc);
}

static void
add_doc(LogRow *row, Jsonb *doc)
{
	add(row, doc ? packed(doc) : (Datum) 0, doc == NULL);
}

Datum
judgment_matched_rules(const Judgment *judgment)
{
	if (judgment->evaluation != NULL)
		return evaluation_matched_rules(judgment->evaluation);
	return PointerGetDatum(construct_empty_array(TEXTOID));
}

/*
 * Whether explain_judgment() finds the same reasons again, from the input and the version
 * alone: rules decided all of it, none of them by the clock, by tables or for want of time.
 */
static bool
can_be_retold(const Judgment *judgment)
{
	const Decision *decision = judgment->decision;
	const Evaluation *rules = judgment->evaluation;

	return rules != NULL && judgment->model == NULL && judgment->known &&
		   judgment->done != POLICY_ESCALATE && judgment->degraded == NULL &&
		   judgment->recalled == NULL && rules->undecided == NIL &&
		   !decision->uses_time && !decision->is_mutable;
}

/* Whether the outcome is {status, severity, confidence}, as the verdict has them. */
static bool
says_no_more(const Judgment *judgment, Jsonb *outcome)
{
	const char *status, *severity;

	if (!judgment->known || !JB_ROOT_IS_OBJECT(outcome) || JB_ROOT_COUNT(outcome) != 3)
		return false;
	status = doc_get_string(outcome, "status");
	severity = doc_get_string(outcome, "severity");
	return status != NULL && severity != NULL &&
		   strcmp(status, judgment->verdict.status) == 0 &&
		   strcmp(severity, severity_name(judgment->verdict.severity)) == 0 &&
		   doc_get_number(outcome, "confidence", -1) == judgment->verdict.confidence;
}

/* An empty object where it has nothing beyond the columns; view judgment_history adds those. */
static Jsonb *
outcome_to_keep(const Judgment *judgment)
{
	DocBuilder b;
	Jsonb *outcome;

	if (judgment->evaluation == NULL || judgment->done == POLICY_ESCALATE)
		return NULL;
	outcome = evaluation_outcome(judgment->evaluation);
	if (outcome == NULL || !says_no_more(judgment, outcome))
		return outcome;
	doc_build(&b);
	doc_begin_object(&b, NULL);
	doc_end_object(&b);
	return doc_finish(&b);
}

static void
collect_row(Judgment *judgment, Jsonb *input, LogRow *row)
{
	const Decision *decision = judgment->decision;
	bool known = judgment->known;
	bool retold = can_be_retold(judgment);

	row->count = 0;
	add(row, UUIDPGetDatum(&judgment->execution_id), false);
	add(row, TimestampTzGetDatum(judgment->created_at), false);
	add(row, Float8GetDatum(judgment->elapsed_ms), false);
	add(row, Float8GetDatum(judgment->verdict.confidence), !known);
	add(row, Int32GetDatum(decision->version), false);
	add_text(row, tenant_current());
	add_text(row, decision->name);
	add_text(row, judgment->method);
	add_text(row, judgment->result);
	add_text(row, known ? judgment->verdict.status : NULL);
	add_doc(row, input ? input : decision_values(judgment->decision, false));
	add_text(row, judgment_policy_names[judgment->policy]);
	add_text(row, known ? severity_name(judgment->verdict.severity) : NULL);
	add_text(row, GetUserNameFromId(GetUserId(), false));
	add_text(row, judgment->degraded);
	add(row, judgment_matched_rules(judgment), false);
	add_doc(row, outcome_to_keep(judgment));
	add_doc(row, retold ? NULL : judgment_explain(judgment));
	add_doc(row,
			retold && judgment->review == NIL ? NULL : judgment_components(judgment));
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
