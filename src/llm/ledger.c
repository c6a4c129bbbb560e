/*
 * ledger.c
 *		What was called and what it cost: factory.llm_call and the metrics.
 *
 * The row is written in the caller's transaction, so a rollback takes it away; the
 * metrics stay.
 */
#include "postgres.h"

#include <math.h>

#include "access/xact.h"
#include "access/xlog.h"
#include "base/activity.h"
#include "base/base.h"
#include "base/house.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "llm/llm_int.h"
#include "metrics/metrics.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

static const char *const outcome_words[] = {
	[LLM_OK] = "ok",
	[LLM_NO_MODEL] = "no_model",
	[LLM_UNREACHABLE] = "unreachable",
	[LLM_TIMEOUT] = "timeout",
	[LLM_REFUSED] = "refused",
	[LLM_ANSWER_INVALID] = "answer_invalid",
	[LLM_DENIED] = "denied",
};

const char *
outcome_word(LlmFailure failure)
{
	return outcome_words[failure];
}

/* --- the table ----------------------------------------------------------------------------- */

#define LEDGER_COLUMNS 15

static const char *const insert_query =
	"INSERT INTO factory.llm_call (called_at, called_by, purpose, subject, execution_id, "
	"model, provider_model, server, prompt_tokens, completion_tokens, cost_usd, "
	"latency_ms, attempts, outcome, reason, tenant_id) "
	"VALUES (pg_catalog.clock_timestamp(), "
	"$1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)";

static SPIPlanPtr
insert_plan(void)
{
	static SPIPlanPtr plan = NULL;
	Oid types[LEDGER_COLUMNS] = {NAMEOID,   TEXTOID, TEXTOID, UUIDOID, TEXTOID,
								 TEXTOID,   TEXTOID, INT8OID, INT8OID, NUMERICOID,
								 FLOAT8OID, INT4OID, TEXTOID, TEXTOID, TEXTOID};

	if (plan == NULL)
	{
		plan = SPI_prepare(insert_query, LEDGER_COLUMNS, types);
		if (plan == NULL)
			elog(ERROR, "could not prepare \"%s\"", insert_query);
		SPI_keepplan(plan);
	}
	return plan;
}

static Datum
text_or_null(const char *text, char *is_null)
{
	*is_null = text ? ' ' : 'n';
	return text ? CStringGetTextDatum(text) : (Datum) 0;
}

/* Exact to a tenth of a millionth of a dollar: one token of the cheapest model. */
static Datum
money_or_null(double amount, char *is_null)
{
	*is_null = isnan(amount) ? 'n' : ' ';
	if (isnan(amount))
		return (Datum) 0;
	return DirectFunctionCall2(numeric_round,
							   DirectFunctionCall1(float8_numeric,
												   Float8GetDatum(amount)),
							   Int32GetDatum(10));
}

static void
insert_row(const LlmLedgerRow *row, const char *tenant, Oid caller)
{
	const LlmRequest *request = row->request;
	const LlmAnswer *answer = row->answer;
	Datum values[LEDGER_COLUMNS];
	char nulls[LEDGER_COLUMNS];
	NameData caller_name;

	namestrcpy(&caller_name, GetUserNameFromId(caller, false));
	memset(nulls, ' ', sizeof(nulls));
	values[0] = NameGetDatum(&caller_name);
	values[1] = CStringGetTextDatum(request->purpose);
	values[2] = text_or_null(request->subject, &nulls[2]);
	values[3] = UUIDPGetDatum(request->execution_id);
	nulls[3] = request->execution_id ? ' ' : 'n';
	values[4] = CStringGetTextDatum(request->model);
	values[5] = text_or_null(answer->model, &nulls[5]);
	values[6] = text_or_null(row->model ? row->model->server : NULL, &nulls[6]);
	values[7] = Int64GetDatum(answer->prompt_tokens);
	values[8] = Int64GetDatum(answer->completion_tokens);
	values[9] = money_or_null(answer->cost_usd, &nulls[9]);
	values[10] = Float8GetDatum(answer->latency_ms);
	values[11] = Int32GetDatum(answer->attempts);
	values[12] = CStringGetTextDatum(outcome_word(answer->failure));
	values[13] = text_or_null(answer->reason, &nulls[13]);
	values[14] = CStringGetTextDatum(tenant);
	if (SPI_execute_plan(insert_plan(), values, nulls, false, 0) != SPI_OK_INSERT)
		elog(ERROR, "could not run \"%s\"", insert_query);
}

const char *
ledger_obstacle(void)
{
	if (RecoveryInProgress())
		return "the server is a standby";
	if (XactReadOnly)
		return "the transaction is read-only";
	if (IsInParallelMode())
		return "the statement runs in parallel";
	return NULL;
}

/* --- the metrics --------------------------------------------------------------------------- */

static void
count_call(const char *model, const LlmAnswer *answer)
{
	metric_add(METRIC_LLM_CALLS, 1, METRIC_LABELS(model, outcome_word(answer->failure)));
	metric_observe(METRIC_LLM_CALL_DURATION, answer->latency_ms / 1000.0,
				   METRIC_LABELS(model));
	if (answer->cost_usd > 0)
		metric_add(METRIC_LLM_COST_USD, answer->cost_usd, METRIC_LABELS(model));
	if (answer->prompt_tokens > 0)
		metric_add(METRIC_LLM_TOKENS, answer->prompt_tokens,
				   METRIC_LABELS(model, "input"));
	if (answer->completion_tokens > 0)
		metric_add(METRIC_LLM_TOKENS, answer->completion_tokens,
				   METRIC_LABELS(model, "output"));
}

void
ledger_enter(const LlmLedgerRow *row)
{
	const char *tenant = tenant_current();
	const char *reason;
	HouseRights saved;

	/* A name that is no model's must not become a label: anybody can invent them. */
	count_call(row->model ? row->model->name : "unknown", row->answer);
	if (ledger_obstacle() != NULL || !house_may_act(&reason))
		return;
	house_enter(&saved);
	SPI_connect();
	insert_row(row, tenant, saved.user);
	SPI_finish();
	house_leave(&saved);
}
