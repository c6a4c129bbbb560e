/*
 * model.c
 *		Models as factory.model has them, and the options they take.
 */
#include "postgres.h"

#include <math.h>

#include "access/xact.h"
#include "base/base.h"
#include "base/document.h"
#include "base/errors.h"
#include "base/house.h"
#include "base/lookup.h"
#include "base/nearest.h"
#include "base/number.h"
#include "base/watch.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "llm/llm_int.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
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

/* Columns of factory.model. */
enum
{
	MODEL_TENANT = 1,
	MODEL_NAME,
	MODEL_SERVER,
	MODEL_PROVIDER_MODEL,
	MODEL_INPUT_PRICE,
	MODEL_OUTPUT_PRICE,
	MODEL_TIER,
	MODEL_OPTIONS
};

static const char *const above_query =
	"SELECT name FROM factory.model "
	"WHERE tenant_id OPERATOR(pg_catalog.=) $1 AND tier OPERATOR(pg_catalog.>) $2 "
	"ORDER BY tier, input_price OPERATOR(pg_catalog.+) output_price, name LIMIT 1";

static char *
text_of(const Lookup *lookup, HeapTuple row, int column)
{
	bool is_null;

	return TextDatumGetCString(lookup_column(lookup, row, column, &is_null));
}

static double
price_or_unknown(const Lookup *lookup, HeapTuple row, int column)
{
	bool is_null;
	Datum value = lookup_column(lookup, row, column, &is_null);

	return is_null ? NAN : number_to_double(value);
}

static LlmModel *
model_from_row(const Lookup *lookup, HeapTuple row)
{
	LlmModel *model = palloc0(sizeof(LlmModel));
	bool is_null;
	Datum value;

	model->name = text_of(lookup, row, MODEL_NAME);
	model->server = text_of(lookup, row, MODEL_SERVER);
	model->provider_model = text_of(lookup, row, MODEL_PROVIDER_MODEL);
	model->input_price = price_or_unknown(lookup, row, MODEL_INPUT_PRICE);
	model->output_price = price_or_unknown(lookup, row, MODEL_OUTPUT_PRICE);
	value = lookup_column(lookup, row, MODEL_TIER, &is_null);
	model->tier = is_null ? MODEL_NO_TIER : DatumGetInt32(value);
	model->options.temperature = NAN;
	model->options.ladder_confidence = NAN;
	value = lookup_column(lookup, row, MODEL_OPTIONS, &is_null);
	options_read(&model->options, DatumGetJsonbPCopy(value));
	return model;
}

static LlmModel *
read_model(const char *name)
{
	ScanKeyData keys[2];
	Lookup lookup;
	HeapTuple row;
	LlmModel *model;

	lookup_text_key(&keys[0], MODEL_TENANT, tenant_current());
	lookup_text_key(&keys[1], MODEL_NAME, name);
	lookup_begin(&lookup, "model");
	row = lookup_row(&lookup, "model_pkey", keys, 2);
	model = HeapTupleIsValid(row) ? model_from_row(&lookup, row) : NULL;
	lookup_end(&lookup);
	return model;
}

/* --- what is kept of the table ------------------------------------------------------------ */

#define MODEL_MAX_KEPT 64

typedef struct KeptModel
{
	char *tenant;
	LlmModel *model;
} KeptModel;

static TableWatch watch = {"model"};
static MemoryContext kept_context = NULL;
static List *kept = NIL; /* of KeptModel * */

static LlmModel *
copy_model(const LlmModel *model)
{
	LlmModel *copy = palloc(sizeof(LlmModel));

	*copy = *model;
	copy->name = pstrdup(model->name);
	copy->server = pstrdup(model->server);
	copy->provider_model = pstrdup(model->provider_model);
	return copy;
}

static void
forget_models(void)
{
	if (kept_context == NULL)
		kept_context = AllocSetContextCreate(CacheMemoryContext, "pg_factory models",
											 ALLOCSET_SMALL_SIZES);
	kept = NIL;
	MemoryContextReset(kept_context);
	watch_begin(&watch);
}

static const LlmModel *
kept_model(const char *tenant, const char *name)
{
	ListCell *cell;

	foreach (cell, kept)
	{
		const KeptModel *one = lfirst(cell);

		if (strcmp(one->model->name, name) == 0 && strcmp(one->tenant, tenant) == 0)
			return one->model;
	}
	return NULL;
}

static void
keep_model(const char *tenant, const LlmModel *model)
{
	MemoryContext before;
	KeptModel *one;

	/* A parallel worker reads by its leader's snapshot, which may be old. */
	if (list_length(kept) >= MODEL_MAX_KEPT || IsInParallelMode())
		return;
	before = MemoryContextSwitchTo(kept_context);
	one = palloc(sizeof(KeptModel));
	one->tenant = pstrdup(tenant);
	one->model = copy_model(model);
	kept = lappend(kept, one);
	MemoryContextSwitchTo(before);
}

const LlmModel *
model_glance(const char *name)
{
	const char *tenant = tenant_current();
	const LlmModel *known;
	LlmModel *model;

	if (!watch_holds(&watch))
		forget_models();
	known = kept_model(tenant, name);
	if (known != NULL)
		return known;
	model = read_model(name);
	if (model != NULL)
		keep_model(tenant, model);
	return model;
}

LlmModel *
model_find(const char *name)
{
	const LlmModel *model = model_glance(name);

	return model ? copy_model(model) : NULL;
}

LlmModel *
model_above(int tier)
{
	MemoryContext caller = CurrentMemoryContext;
	HouseRights saved;
	char *name = NULL;
	Oid types[] = {TEXTOID, INT4OID};
	/* The tenant is the caller's, so it is asked for before acting as the house. */
	Datum arguments[] = {CStringGetTextDatum(tenant_current()), Int32GetDatum(tier)};

	house_enter(&saved);
	SPI_connect();
	if (SPI_execute_with_args(above_query, 2, types, arguments, NULL, true, 1) !=
		SPI_OK_SELECT)
		elog(ERROR, "could not run \"%s\"", above_query);
	if (SPI_processed == 1)
		name = MemoryContextStrdup(caller, SPI_getvalue(SPI_tuptable->vals[0],
														SPI_tuptable->tupdesc, 1));
	SPI_finish();
	house_leave(&saved);
	return name ? model_find(name) : NULL;
}
