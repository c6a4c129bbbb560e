/*
 * judgment_log.c
 *		One row a judgment, in the caller's transaction.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "base/activity.h"
#include "base/base.h"
#include "base/house.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "judgment/judgment_int.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

int judgment_log_mode = LOG_SYNC;

static const char insert_sql[] =
	"INSERT INTO factory.judgment_log (execution_id, tenant_id, decision, version, "
	"policy, method_used, result, status, severity, confidence, matched_rules, input, "
	"outcome, explanation, components, degraded, execution_time_ms, created_at, "
	"created_by) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, "
	"$15, $16, $17, $18, $19)";

typedef struct LogValue
{
	Oid type;
	Datum value;
	bool isnull;
} LogValue;

#define LOG_COLUMNS 19

static LogValue
text_value(const char *text)
{
	return (LogValue){TEXTOID, text ? CStringGetTextDatum(text) : (Datum) 0, !text};
}

static LogValue
doc_value(Jsonb *doc)
{
	return (LogValue){JSONBOID, doc ? JsonbPGetDatum(doc) : (Datum) 0, !doc};
}

Datum
judgment_matched_rules(const Judgment *judgment)
{
	if (judgment->evaluation != NULL)
		return evaluation_matched_rules(judgment->evaluation);
	return PointerGetDatum(construct_empty_array(TEXTOID));
}

static void
collect_values(Judgment *judgment, Jsonb *input, LogValue *row)
{
	const Decision *decision = judgment->decision;
	bool known = judgment->known;
	int n = 0;

	row[n++] = (LogValue){UUIDOID, UUIDPGetDatum(&judgment->execution_id), false};
	row[n++] = text_value(tenant_current());
	row[n++] = text_value(decision->name);
	row[n++] = (LogValue){INT4OID, Int32GetDatum(decision->version), false};
	row[n++] = text_value(judgment_policy_names[judgment->policy]);
	row[n++] = text_value(judgment->method);
	row[n++] = text_value(judgment->result);
	row[n++] = text_value(known ? judgment->verdict.status : NULL);
	row[n++] = text_value(known ? severity_name(judgment->verdict.severity) : NULL);
	row[n++] =
		(LogValue){FLOAT8OID, Float8GetDatum(judgment->verdict.confidence), !known};
	row[n++] = (LogValue){TEXTARRAYOID, judgment_matched_rules(judgment), false};
	row[n++] = doc_value(input);
	row[n++] =
		doc_value(judgment->evaluation ? evaluation_outcome(judgment->evaluation) : NULL);
	row[n++] = doc_value(judgment_explain(judgment));
	row[n++] = doc_value(judgment_components(judgment));
	row[n++] = text_value(judgment->degraded);
	row[n++] = (LogValue){FLOAT8OID, Float8GetDatum(judgment->elapsed_ms), false};
	row[n++] =
		(LogValue){TIMESTAMPTZOID, TimestampTzGetDatum(judgment->created_at), false};
	row[n++] = text_value(GetUserNameFromId(GetUserId(), false));
	Assert(n == LOG_COLUMNS);
}

/* The plan is kept for the session; the server replans it when the table changes. */
static SPIPlanPtr
insert_plan(const Oid *types)
{
	static SPIPlanPtr plan = NULL;

	if (plan == NULL)
	{
		SPIPlanPtr fresh = SPI_prepare(insert_sql, LOG_COLUMNS, unconstify(Oid *, types));

		if (fresh == NULL)
			elog(ERROR, "could not prepare the log's insert");
		SPI_keepplan(fresh);
		plan = fresh;
	}
	return plan;
}

static void
insert_row(const LogValue *row)
{
	Oid types[LOG_COLUMNS];
	Datum values[LOG_COLUMNS];
	char nulls[LOG_COLUMNS];
	HouseRights saved;

	for (int i = 0; i < LOG_COLUMNS; i++)
	{
		types[i] = row[i].type;
		values[i] = row[i].value;
		nulls[i] = row[i].isnull ? 'n' : ' ';
	}
	house_enter(&saved);
	SPI_connect();
	if (SPI_execute_plan(insert_plan(types), values, nulls, false, 0) != SPI_OK_INSERT)
		elog(ERROR, "could not write the judgment log");
	SPI_finish();
	house_leave(&saved);
}

void
judgment_log(Judgment *judgment, Jsonb *input)
{
	LogValue row[LOG_COLUMNS];

	if (judgment_log_mode == LOG_OFF)
		judgment->log = "off";
	else if (!house_is_enabled())
		judgment->log = "not written: factory.enabled is off";
	else if (RecoveryInProgress())
		judgment->log = "not written: the server is a standby";
	else if (XactReadOnly)
		judgment->log = "not written: the transaction is read-only";
	else
	{
		judgment->log = "written";
		if (input == NULL)
			input = decision_values(judgment->decision, false);
		collect_values(judgment, input, row);
		insert_row(row);
	}
}
