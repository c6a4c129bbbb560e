/*
 * model.c
 *		Models as factory.model has them, and the options they take.
 */
#include "postgres.h"

#include <math.h>

#include "base/base.h"
#include "base/document.h"
#include "base/errors.h"
#include "base/house.h"
#include "base/nearest.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "llm/llm_int.h"
#include "utils/builtins.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

#define MODEL_MAX_TEMPERATURE 10.0
#define MODEL_MAX_TOKENS 10000000
#define MODEL_MAX_TIMEOUT_MS (60 * 60 * 1000)
#define MODEL_MAX_PER_MINUTE 1000000000

/* --- options ------------------------------------------------------------------------ */

static void
refuse_option(const char *key, const char *wanted)
{
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("invalid value for model option \"%s\"", key),
					errhint("%s", wanted)));
}

static double
number_between(const char *key, const JsonbValue *value, double low, double high,
			   const char *wanted)
{
	double number = value->type == jbvNumeric ? doc_value_number(value) : NAN;

	if (!(number >= low && number <= high))
		refuse_option(key, wanted);
	return number;
}

static void
read_temperature(LlmOptions *options, const char *key, const JsonbValue *value)
{
	options->temperature = number_between(key, value, 0, MODEL_MAX_TEMPERATURE,
										  "Write a number from 0 to 10, such as 0.2.");
}

static void
read_max_tokens(LlmOptions *options, const char *key, const JsonbValue *value)
{
	const char *wanted = "Write a whole number from 1 to 10000000, such as 500.";
	double number = number_between(key, value, 1, MODEL_MAX_TOKENS, wanted);

	if (number != floor(number))
		refuse_option(key, wanted);
	options->max_tokens = (int) number;
}

static void
read_timeout(LlmOptions *options, const char *key, const JsonbValue *value)
{
	const char *wanted = "Write an interval of up to one hour, such as \"15s\".";
	char *text;
	Interval *interval;
	double timeout_ms;

	if (value->type != jbvString)
		refuse_option(key, wanted);
	text = doc_value_text(value);
	interval = DatumGetIntervalP(DirectFunctionCall3(interval_in, CStringGetDatum(text),
													 ObjectIdGetDatum(InvalidOid),
													 Int32GetDatum(-1)));
	timeout_ms = interval->time / 1000.0;
	if (interval->month != 0 || interval->day != 0 ||
		!(timeout_ms >= 1 && timeout_ms <= MODEL_MAX_TIMEOUT_MS))
		refuse_option(key, wanted);
	options->timeout_ms = (int) timeout_ms;
}

static int
read_per_minute(const char *key, const JsonbValue *value)
{
	const char *wanted = "Write a whole number from 1 to 1000000000, such as 500.";
	double number = number_between(key, value, 1, MODEL_MAX_PER_MINUTE, wanted);

	if (number != floor(number))
		refuse_option(key, wanted);
	return (int) number;
}

static void
read_requests_per_minute(LlmOptions *options, const char *key, const JsonbValue *value)
{
	options->requests_per_minute = read_per_minute(key, value);
}

static void
read_tokens_per_minute(LlmOptions *options, const char *key, const JsonbValue *value)
{
	options->tokens_per_minute = read_per_minute(key, value);
}

static void
read_ladder(LlmOptions *options, const char *key, const JsonbValue *value)
{
	if (value->type != jbvBool)
		refuse_option(key, "Write true or false.");
	options->ladder = value->val.boolean;
}

static void
read_ladder_confidence(LlmOptions *options, const char *key, const JsonbValue *value)
{
	options->ladder_confidence =
		number_between(key, value, 0, 1, "Write a number from 0 to 1, such as 0.8.");
}

typedef void (*OptionReader)(LlmOptions *options, const char *key,
							 const JsonbValue *value);

static const char *const option_names[] = {
	"ladder",      "ladder_confidence", "max_tokens",        "requests_per_minute",
	"temperature", "timeout",           "tokens_per_minute",
};
static const OptionReader option_readers[] = {
	read_ladder,
	read_ladder_confidence,
	read_max_tokens,
	read_requests_per_minute,
	read_temperature,
	read_timeout,
	read_tokens_per_minute,
};

static int
option_number(const char *key)
{
	const char *nearest;

	for (int i = 0; i < lengthof(option_names); i++)
		if (strcmp(option_names[i], key) == 0)
			return i;
	nearest = nearest_name(key, option_names, lengthof(option_names));
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("model option \"%s\" is not known", key),
			 nearest ? errhint("Perhaps you meant \"%s\".", nearest)
					 : errhint("Options are ladder, ladder_confidence, max_tokens, "
							   "requests_per_minute, temperature, timeout and "
							   "tokens_per_minute.")));
}

void
options_read(LlmOptions *options, Jsonb *document)
{
	ListCell *cell;

	if (!JB_ROOT_IS_OBJECT(document))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("options of a model must be a JSON object, not %s",
							   doc_kind(document)),
						errhint("Write them like {\"temperature\": 0.2}.")));
	foreach (cell, doc_keys(document))
	{
		const char *key = lfirst(cell);
		int number = option_number(key);

		option_readers[number](options, key, doc_get(document, key));
	}
}

/* --- the table ------------------------------------------------------------------------- */

#define MODELS \
	"SELECT name, server, model, input_price::pg_catalog.float8, " \
	"output_price::pg_catalog.float8, options, tier FROM factory.model " \
	"WHERE tenant_id OPERATOR(pg_catalog.=) $1 AND "

static const char *const find_query = MODELS "name OPERATOR(pg_catalog.=) $2";

static const char *const above_query =
	MODELS "tier OPERATOR(pg_catalog.>) $2 "
		   "ORDER BY tier, input_price OPERATOR(pg_catalog.+) output_price, name LIMIT 1";

static double
price_or_unknown(HeapTuple tuple, TupleDesc desc, int column)
{
	bool is_null;
	Datum value = SPI_getbinval(tuple, desc, column, &is_null);

	return is_null ? NAN : DatumGetFloat8(value);
}

static LlmModel *
model_from_row(HeapTuple tuple, TupleDesc desc)
{
	LlmModel *model = palloc0(sizeof(LlmModel));
	bool is_null;
	Datum tier;
	Jsonb *options;

	model->name = SPI_getvalue(tuple, desc, 1);
	model->server = SPI_getvalue(tuple, desc, 2);
	model->provider_model = SPI_getvalue(tuple, desc, 3);
	model->input_price = price_or_unknown(tuple, desc, 4);
	model->output_price = price_or_unknown(tuple, desc, 5);
	tier = SPI_getbinval(tuple, desc, 7, &is_null);
	model->tier = is_null ? MODEL_NO_TIER : DatumGetInt32(tier);
	model->options.temperature = NAN;
	model->options.ladder_confidence = NAN;
	options = DatumGetJsonbP(SPI_getbinval(tuple, desc, 6, &is_null));
	options_read(&model->options, options);
	return model;
}

/* The one model that a query finds by a key of that type, or NULL. */
static LlmModel *
one_model(SPIPlanPtr *plan, const char *query, Datum key, Oid key_type)
{
	MemoryContext caller = CurrentMemoryContext;
	HouseRights saved;
	LlmModel *model = NULL;
	/* The tenant is the caller's, so it is asked for before acting as the house. */
	Datum arguments[] = {CStringGetTextDatum(tenant_current()), key};

	house_enter(&saved);
	SPI_connect();
	if (*plan == NULL)
	{
		*plan = SPI_prepare(query, 2, (Oid[]){TEXTOID, key_type});
		if (*plan == NULL)
			elog(ERROR, "could not prepare \"%s\"", query);
		SPI_keepplan(*plan);
	}
	if (SPI_execute_plan(*plan, arguments, NULL, true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not run \"%s\"", query);
	if (SPI_processed == 1)
	{
		MemoryContext inner = MemoryContextSwitchTo(caller);

		model = model_from_row(SPI_tuptable->vals[0], SPI_tuptable->tupdesc);
		MemoryContextSwitchTo(inner);
	}
	SPI_finish();
	house_leave(&saved);
	return model;
}

LlmModel *
model_find(const char *name)
{
	static SPIPlanPtr plan = NULL;

	return one_model(&plan, find_query, CStringGetTextDatum(name), TEXTOID);
}

LlmModel *
model_above(int tier)
{
	static SPIPlanPtr plan = NULL;

	return one_model(&plan, above_query, Int32GetDatum(tier), INT4OID);
}
