/*
 * prompt_report.c
 *		prompt_report(): what a judgment's prompt costs, beside one without economies.
 *
 * After is what a model would be sent: the templates with the values they name, and the
 * answer's shape in words.  Before is what the caller says was sent until now; else the
 * same instructions with the whole input and the answer's JSON schema, indented.
 */
#include "postgres.h"

#include "base/compat.h"
#include "base/document.h"
#include "base/errors.h"
#include "base/house.h"
#include "base/tenant.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "judgment/judgment_int.h"
#include "rules/limits.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/numeric.h"

typedef enum ReportColumn
{
	COLUMN_DECISION,
	COLUMN_VERSION,
	COLUMN_TOKENS_BEFORE,
	COLUMN_TOKENS_AFTER,
	COLUMN_SAVED_PCT,
	COLUMN_PROMPT_BEFORE,
	COLUMN_PROMPT_AFTER,
	COLUMN_COUNT
} ReportColumn;

static char *
indented(Jsonb *document)
{
	return TextDatumGetCString(
		DirectFunctionCall1(jsonb_pretty, JsonbPGetDatum(document)));
}

static char *
as_sent(const char *text)
{
	return llm_masks_personal() ? llm_mask_personal(text) : pstrdup(text);
}

static char *
prompt_without_economies(const LlmRequest *request, Jsonb *input)
{
	return as_sent(psprintf("%s\n%s\n%s\n%s", request->system, request->user,
							indented(input), indented(request->schema)));
}

static const char *const last_input_query =
	"SELECT input FROM factory.judgment_log WHERE tenant_id OPERATOR(pg_catalog.=) $1 "
	"AND decision OPERATOR(pg_catalog.=) $2 ORDER BY created_at DESC LIMIT 1";

/* Of the last judgment in the log; whoever may judge may read it there. */
static Jsonb *
last_input(const char *decision)
{
	Datum arguments[] = {CStringGetTextDatum(tenant_current()),
						 CStringGetTextDatum(decision)};
	MemoryContext caller = CurrentMemoryContext;
	HouseRights saved;
	bool is_null = true;
	Datum value = (Datum) 0;
	Jsonb *input = NULL;

	house_enter(&saved);
	SPI_connect();
	if (SPI_execute_with_args(last_input_query, 2, (Oid[]){TEXTOID, TEXTOID}, arguments,
							  NULL, true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not run \"%s\"", last_input_query);
	if (SPI_processed == 1)
		value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &is_null);
	if (!is_null)
	{
		MemoryContext before = MemoryContextSwitchTo(caller);

		input = DatumGetJsonbPCopy(value);
		MemoryContextSwitchTo(before);
	}
	SPI_finish();
	house_leave(&saved);
	if (input == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_NO_DATA_FOUND),
				 errmsg("no judgment of decision \"%s\" is in the log", decision),
				 errhint("Give prompt_report() an input that the decision takes.")));
	return input;
}

static char *
required_decision(FunctionCallInfo fcinfo)
{
	if (PG_ARGISNULL(0))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("argument \"decision\" of prompt_report must not be null"),
						errhint("Give it a text.")));
	return text_to_cstring(PG_GETARG_TEXT_PP(0));
}

FACTORY_FUNCTION(factory_prompt_report);

Datum
factory_prompt_report(PG_FUNCTION_ARGS)
{
	Decision *decision = decision_lookup(required_decision(fcinfo), 0);
	Jsonb *input;
	Judgment *judgment;
	LlmRequest request;
	char *before, *after;
	int64 tokens_before, tokens_after;
	double saved;
	TupleDesc shape;
	Datum values[COLUMN_COUNT];
	bool nulls[COLUMN_COUNT] = {false};

	if (decision->prompt_user == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("decision \"%s\" has no prompt", decision->name),
				 errhint("Give its definition a member \"prompt\" with a \"model\".")));
	if (get_call_result_type(fcinfo, NULL, &shape) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	input = PG_ARGISNULL(1) ? last_input(decision->name) : PG_GETARG_JSONB_P(1);
	limit_input(decision->name, input);
	inputs_from_json(decision, input);
	judgment = judgment_begin(decision, decision->policy);
	request = model_request(judgment, judgment_rules_told(judgment), NULL);
	after = as_sent(psprintf("%s\n%s", request.system, request.user));
	before = PG_ARGISNULL(2) ? prompt_without_economies(&request, input)
							 : text_to_cstring(PG_GETARG_TEXT_PP(2));
	tokens_before = llm_estimated_tokens(before);
	tokens_after = llm_estimated_tokens(after);
	saved =
		tokens_before > 0 ? 100.0 * (tokens_before - tokens_after) / tokens_before : 0;

	values[COLUMN_DECISION] = CStringGetTextDatum(decision->name);
	values[COLUMN_VERSION] = Int32GetDatum(decision->version);
	values[COLUMN_TOKENS_BEFORE] = Int64GetDatum(tokens_before);
	values[COLUMN_TOKENS_AFTER] = Int64GetDatum(tokens_after);
	values[COLUMN_SAVED_PCT] =
		DirectFunctionCall2(numeric_round,
							DirectFunctionCall1(float8_numeric, Float8GetDatum(saved)),
							Int32GetDatum(1));
	values[COLUMN_PROMPT_BEFORE] = CStringGetTextDatum(before);
	values[COLUMN_PROMPT_AFTER] = CStringGetTextDatum(after);
	PG_RETURN_DATUM(
		HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(shape), values, nulls)));
}
