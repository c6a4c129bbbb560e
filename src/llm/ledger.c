/*
 * ledger.c
 *		What was called and what it cost: factory.llm_call and the metrics.
 *
 * The row goes to the database's writer, so a rollback does not take it away; what waits
 * there is lost when the server crashes.
 */
#include "postgres.h"

#include <limits.h>
#include <math.h>

#include "access/xact.h"
#include "access/xlog.h"
#include "base/activity.h"
#include "base/base.h"
#include "base/months.h"
#include "base/queue.h"
#include "base/settings.h"
#include "catalog/pg_type.h"
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
	[LLM_SHUT] = "breaker_open",
	[LLM_PACED] = "paced",
	[LLM_OVER_BUDGET] = "over_budget",
};

const char *
outcome_word(LlmFailure failure)
{
	return outcome_words[failure];
}

/* --- the table ----------------------------------------------------------------------------- */

static bool log_prompts = false;
static int retention_minutes;

static const Setting settings[] = {
	{"factory.llm_retention",
	 "Sets how long the ledger of calls to models is kept at least; 0 means for ever.",
	 SETTING_INT, &retention_minutes, .boot = 731 * 24 * 60, .min = 0, .max = INT_MAX,
	 .context = PGC_SIGHUP, .flags = GUC_UNIT_MIN,
	 .detail = "It is kept for 32 days whatever this says: budgets are counted from it."},
	{"factory.log_prompts", "Enables prompts, as they were sent, in the ledger.",
	 SETTING_BOOL, &log_prompts, .boot = 0, .context = PGC_SUSET},
};

static const QueueColumn columns[] = {
	{"tenant_id", TEXTOID},
	{"called_at", TIMESTAMPTZOID},
	{"called_by", NAMEOID},
	{"purpose", TEXTOID},
	{"subject", TEXTOID},
	{"execution_id", UUIDOID},
	{"model", TEXTOID},
	{"provider_model", TEXTOID},
	{"server", TEXTOID},
	{"prompt_tokens", INT8OID},
	{"completion_tokens", INT8OID},
	{"cost_usd", NUMERICOID},
	{"latency_ms", FLOAT8OID},
	{"attempts", INT4OID},
	{"outcome", TEXTOID},
	{"reason", TEXTOID},
	{"prompt", TEXTOID},
};

#define LEDGER_COLUMNS lengthof(columns)

static QueueKind ledger_rows = {"llm_call", columns, LEDGER_COLUMNS};

/* A writer that has to be started first is there in less; a call takes longer. */
#define WRITER_PATIENCE_MS 2000

/* Where none came, nobody waits for one again so soon. */
#define WRITER_IMPATIENCE_MS (60 * 1000)

void
ledger_define(void)
{
	settings_define(settings, lengthof(settings));
	queue_register(&ledger_rows);
	months_keep(&(
		MonthlyLog){"llm_call", "SELECT factory.make_ledger_months()",
					"SELECT factory.drop_ledger_before() "
					"WHERE pg_catalog.current_setting('factory.llm_retention') <> '0'"});
}

typedef struct RowValues
{
	Datum values[LEDGER_COLUMNS];
	bool nulls[LEDGER_COLUMNS];
	int count;
	NameData caller;
} RowValues;

static void
add(RowValues *row, Datum value, bool is_null)
{
	row->values[row->count] = is_null ? (Datum) 0 : value;
	row->nulls[row->count++] = is_null;
}

static void
add_text(RowValues *row, const char *text)
{
	add(row, text ? CStringGetTextDatum(text) : (Datum) 0, text == NULL);
}

/* Exact to a tenth of a millionth of a dollar: one token of the cheapest model. */
static void
add_money(RowValues *row, double amount)
{
	Datum value = (Datum) 0;

	if (!isnan(amount))
		value = DirectFunctionCall2(numeric_round,
									DirectFunctionCall1(float8_numeric,
														Float8GetDatum(amount)),
									Int32GetDatum(10));
	add(row, value, isnan(amount));
}

static const char *
prompt_text(const LlmRequest *request)
{
	if (!log_prompts)
		return NULL;
	return request->system ? psprintf("%s\n\n%s", request->system, request->user)
						   : request->user;
}

static void
collect_row(const LlmLedgerRow *row, RowValues *values)
{
	const LlmRequest *request = row->request;
	const LlmAnswer *answer = row->answer;

	namestrcpy(&values->caller, GetUserNameFromId(GetUserId(), false));
	values->count = 0;
	add_text(values, tenant_current());
	add(values, TimestampTzGetDatum(row->now), false);
	add(values, NameGetDatum(&values->caller), false);
	add_text(values, request->purpose);
	add_text(values, request->subject);
	add(values, UUIDPGetDatum(request->execution_id), request->execution_id == NULL);
	add_text(values, request->model);
	add_text(values, answer->model);
	add_text(values, row->model ? row->model->server : NULL);
	add(values, Int64GetDatum(answer->prompt_tokens), false);
	add(values, Int64GetDatum(answer->completion_tokens), false);
	add_money(values, answer->cost_usd);
	add(values, Float8GetDatum(answer->latency_ms), false);
	add(values, Int32GetDatum(answer->attempts), false);
	add_text(values, outcome_word(answer->failure));
	add_text(values, answer->reason);
	add_text(values, prompt_text(request));
	Assert(values->count == LEDGER_COLUMNS);
}

/* To the writer: a rollback does not take it back.  Else here, with the transaction. */
static void
write_row(const LlmLedgerRow *row)
{
	static TimestampTz impatient_until = 0;
	RowValues values;
	TimestampTz now = row->now;

	collect_row(row, &values);
	if (queue_put_patiently(&ledger_rows, values.values, values.nulls,
							now < impatient_until ? 0 : WRITER_PATIENCE_MS))
		return;
	impatient_until = TimestampTzPlusMilliseconds(now, WRITER_IMPATIENCE_MS);
	queue_insert(&ledger_rows, values.values, values.nulls);
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

typedef enum CallCount
{
	COUNT_SUCCESSES,
	COUNT_DURATION,
	COUNT_COST,
	COUNT_INPUT,
	COUNT_OUTPUT,
	COUNT_KINDS
} CallCount;

/* Of the model that was called last; the tenant's name is one pointer. */
typedef struct ModelSeries
{
	const char *tenant;
	char model[NAMEDATALEN]; /* cut: a longer name is never found again */
	struct MetricSeries *of[COUNT_KINDS];
} ModelSeries;

static ModelSeries counted;

static struct MetricSeries *
series_of(CallCount count, MetricId metric, const char *const *labels)
{
	if (counted.of[count] == NULL)
		counted.of[count] = metric_series(metric, labels);
	return counted.of[count];
}

static void
begin_counting(const char *model)
{
	const char *tenant = tenant_current();

	if (counted.tenant == tenant && strcmp(counted.model, model) == 0)
		return;
	memset(&counted, 0, sizeof(counted));
	counted.tenant = tenant;
	strlcpy(counted.model, model, sizeof(counted.model));
}

static void
count_call(const char *model, const LlmAnswer *answer)
{
	begin_counting(model);
	if (answer->failure == LLM_OK)
		metric_series_add(series_of(COUNT_SUCCESSES, METRIC_LLM_CALLS,
									METRIC_LABELS(model, outcome_word(LLM_OK))),
						  1);
	else
		metric_add(METRIC_LLM_CALLS, 1,
				   METRIC_LABELS(model, outcome_word(answer->failure)));
	metric_series_observe(series_of(COUNT_DURATION, METRIC_LLM_CALL_DURATION,
									METRIC_LABELS(model)),
						  answer->latency_ms / 1000.0);
	if (answer->cost_usd > 0)
		metric_series_add(series_of(COUNT_COST, METRIC_LLM_COST_USD,
									METRIC_LABELS(model)),
						  answer->cost_usd);
	if (answer->prompt_tokens > 0)
		metric_series_add(series_of(COUNT_INPUT, METRIC_LLM_TOKENS,
									METRIC_LABELS(model, "input")),
						  answer->prompt_tokens);
	if (answer->completion_tokens > 0)
		metric_series_add(series_of(COUNT_OUTPUT, METRIC_LLM_TOKENS,
									METRIC_LABELS(model, "output")),
						  answer->completion_tokens);
}

void
ledger_enter(const LlmLedgerRow *row)
{
	const char *reason;

	/* A name that is no model's must not become a label: anybody can invent them. */
	count_call(row->model ? row->model->name : "unknown", row->answer);
	if (ledger_obstacle() != NULL || !house_may_act(&reason))
		return;
	write_row(row);
}
