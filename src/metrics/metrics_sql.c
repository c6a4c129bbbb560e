/*
 * metrics_sql.c
 *		The metrics as SQL sees them: Prometheus' text format.
 */
#include "postgres.h"

#include <math.h>

#include "base/attempt.h"
#include "base/compat.h"
#include "base/house.h"
#include "base/queue.h"
#include "base/tenant.h"
#include "common/shortest_dec.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "metrics/metrics_int.h"
#include "utils/builtins.h"
#include "utils/guc.h"

static const char *const kind_names[] = {
	[METRIC_COUNTER] = "counter",
	[METRIC_GAUGE] = "gauge",
	[METRIC_HISTOGRAM] = "histogram",
};

static void
put_number(StringInfo text, double value)
{
	char buffer[DOUBLE_SHORTEST_DECIMAL_LEN];

	if (value == floor(value) && fabs(value) < 1e15)
	{
		appendStringInfo(text, INT64_FORMAT, (int64) value);
		return;
	}
	double_to_shortest_decimal_buf(value, buffer);
	appendStringInfoString(text, buffer);
}

/* Values are UTF-8; a database of another encoding can show only their ASCII. */
static void
put_label_value(StringInfo text, const char *value)
{
	bool ascii_only = GetDatabaseEncoding() != PG_UTF8;

	for (; *value; value++)
	{
		if (*value == '\n')
			appendStringInfoString(text, "\\n");
		else if (*value == '"' || *value == '\\')
			appendStringInfo(text, "\\%c", *value);
		else if (ascii_only && IS_HIGHBIT_SET(*value))
			appendStringInfoChar(text, '?');
		else
			appendStringInfoChar(text, *value);
	}
}

/* name_suffix{tenant_id="...",...  without the closing brace. */
static void
put_sample_start(StringInfo text, const MetricSeries *series, const char *suffix)
{
	const MetricRow *row = &metric_table[series->key.metric];
	const char *value = series->key.values;
	int count = metric_label_count(row);

	appendStringInfo(text, "%s%s{", row->name, suffix);
	for (int i = 0; i < count; i++)
	{
		appendStringInfo(text, "%s%s=\"", i > 0 ? "," : "",
						 i > 0 ? row->labels[i - 1] : "tenant_id");
		put_label_value(text, value);
		appendStringInfoChar(text, '"');
		value += strlen(value) + 1;
	}
}

static void
put_sample(StringInfo text, const MetricSeries *series, const char *suffix, double value)
{
	put_sample_start(text, series, suffix);
	appendStringInfoString(text, "} ");
	put_number(text, value);
	appendStringInfoChar(text, '\n');
}

static void
put_histogram(StringInfo text, MetricSeries *series)
{
	const MetricRow *row = &metric_table[series->key.metric];
	int bounds = metric_bound_count(row);
	uint64 below = 0;

	for (int i = 0; i <= bounds; i++)
	{
		below += pg_atomic_read_u64(&series->observed[i]);
		put_sample_start(text, series, "_bucket");
		appendStringInfoString(text, ",le=\"");
		if (i < bounds)
			put_number(text, row->bounds[i]);
		else
			appendStringInfoString(text, "+Inf");
		appendStringInfo(text, "\"} " UINT64_FORMAT "\n", below);
	}
	put_sample(text, series, "_sum", metric_read_double(&series->sum));
	put_sample(text, series, "_count", (double) below);
}

static void
put_header(StringInfo text, const char *name, MetricKind kind, const char *help)
{
	appendStringInfo(text, "# HELP %s %s\n# TYPE %s %s\n", name, help, name,
					 kind_names[kind]);
}

static void
put_metric(StringInfo text, MetricId metric)
{
	const MetricRow *row = &metric_table[metric];
	int count = metric_series_count();

	put_header(text, row->name, row->kind, row->help);
	for (int i = 0; i < count; i++)
	{
		MetricSeries *series = metric_series_at(i);

		if (series->key.metric != metric || metric_series_is_unused_reserve(i) ||
			!tenant_may_see(series->key.values))
			continue;
		if (row->kind == METRIC_HISTOGRAM)
			put_histogram(text, series);
		else
			put_sample(text, series, "", metric_read_double(&series->sum));
	}
}

static void
put_own_metric(StringInfo text, const char *name, MetricKind kind, const char *help,
			   double value)
{
	put_header(text, name, kind, help);
	appendStringInfo(text, "%s ", name);
	put_number(text, value);
	appendStringInfoChar(text, '\n');
}

/* What the factory says of itself: no tenant's doing, so no tenant's label. */
static void
put_own_metrics(StringInfo text)
{
	put_header(text, "factory_build_info", METRIC_GAUGE, "What is running; always 1.");
	appendStringInfo(text, "factory_build_info{version=\"%s\",postgresql=\"",
					 FACTORY_VERSION);
	put_label_value(text, GetConfigOption("server_version", false, false));
	appendStringInfoString(text, "\"} 1\n");
	put_own_metric(text, "factory_start_time_seconds", METRIC_GAUGE,
				   "When the server started, in seconds since 1970.",
				   metric_started_at());
	put_own_metric(text, "factory_metric_series", METRIC_GAUGE,
				   "Series of metrics in use.", metric_series_count() - METRIC_COUNT);
	put_own_metric(text, "factory_metric_series_limit", METRIC_GAUGE,
				   "Series of metrics there is room for.", metric_series_limit());
	put_own_metric(text, "factory_metric_series_dropped_total", METRIC_COUNTER,
				   "Countings that found no room and went to the labels \"other\".",
				   metric_series_dropped());
}

/* Rows that sessions hand over, of all databases. */
static void
put_queue_metrics(StringInfo text)
{
	QueueTotals totals;

	queue_totals(&totals);
	put_own_metric(text, "factory_queue_rows", METRIC_GAUGE,
				   "Rows that wait for their database's writer.", totals.records);
	put_own_metric(text, "factory_queue_bytes", METRIC_GAUGE,
				   "Bytes of queues that are in use.", totals.bytes);
	put_own_metric(text, "factory_queue_rows_total", METRIC_COUNTER,
				   "Rows handed over to writers.", totals.put);
	put_own_metric(text, "factory_queue_rows_written_total", METRIC_COUNTER,
				   "Rows that writers have written.", totals.written);
	put_own_metric(text, "factory_queue_waits_total", METRIC_COUNTER,
				   "Rows that found no room at first.", totals.waited);
	put_own_metric(text, "factory_queue_rows_direct_total", METRIC_COUNTER,
				   "Rows that were not taken and that sessions wrote for themselves.",
				   totals.direct);
	put_own_metric(text, "factory_queue_rows_dropped_total", METRIC_COUNTER,
				   "Rows that could not be written.", totals.dropped);
}

/* The tenants that are nearest to a quota; one that has none is not told. */
static const char *const quota_query =
	"SELECT u.tenant_id, u.quota, CASE WHEN u.quota_limit OPERATOR(pg_catalog.=) 0 THEN 1"
	" ELSE u.used::pg_catalog.float8 OPERATOR(pg_catalog./) u.quota_limit END AS share"
	" FROM factory.tenant_usage AS u WHERE u.quota_limit IS NOT NULL"
	" ORDER BY share DESC, u.tenant_id, u.quota LIMIT 1000";

#define QUOTA_METRIC "factory_quota_used_ratio"

static void
put_quota_metrics(StringInfo text)
{
	HouseRights saved;

	put_header(text, QUOTA_METRIC, METRIC_GAUGE, "How much of a tenant's quota is used.");
	house_enter(&saved);
	SPI_connect();
	if (SPI_execute(quota_query, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read how much of the quotas is used");
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		TupleDesc desc = SPI_tuptable->tupdesc;
		HeapTuple row = SPI_tuptable->vals[i];
		bool isnull;

		metric_tell_value(text, QUOTA_METRIC,
						  DatumGetFloat8(SPI_getbinval(row, desc, 3, &isnull)),
						  (const char *const[]){"tenant_id", SPI_getvalue(row, desc, 1),
												"quota", SPI_getvalue(row, desc, 2),
												NULL});
	}
	SPI_finish();
	house_leave(&saved);
}

/* Reviews that wait, of every tenant that may be seen: each is asked as itself. */
static const char *const tenant_query =
	"SELECT t.tenant_id FROM factory.tenant AS t UNION SELECT 'default'"
	" ORDER BY 1 LIMIT 1000";
static const char *const review_query =
	"SELECT r.decision, pg_catalog.count(*)::pg_catalog.float8,"
	" pg_catalog.date_part('epoch', factory.clock_now() OPERATOR(pg_catalog.-)"
	" pg_catalog.min(r.created_at)) FROM factory.review AS r"
	" WHERE r.status OPERATOR(pg_catalog.=) 'open' GROUP BY r.decision"
	" ORDER BY r.decision LIMIT 1000";

#define REVIEW_METRIC "judgment_reviews_pending"
#define REVIEW_AGE_METRIC "judgment_review_oldest_seconds"

static void
put_tenant_reviews(StringInfo counts, StringInfo ages, const char *tenant)
{
	int settings_level = NewGUCNestLevel();

	tenant_act_for(tenant);
	if (SPI_execute(review_query, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read the reviews of tenant \"%s\"", tenant);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		TupleDesc desc = SPI_tuptable->tupdesc;
		HeapTuple row = SPI_tuptable->vals[i];
		const char *decision = SPI_getvalue(row, desc, 1);
		const char *const *labels =
			METRIC_LABELS("tenant_id", tenant, "workflow_id", decision, NULL);
		bool isnull;

		metric_tell_value(counts, REVIEW_METRIC,
						  DatumGetFloat8(SPI_getbinval(row, desc, 2, &isnull)), labels);
		metric_tell_value(ages, REVIEW_AGE_METRIC,
						  DatumGetFloat8(SPI_getbinval(row, desc, 3, &isnull)), labels);
	}
	AtEOXact_GUC(true, settings_level);
}

static void
put_review_metrics(StringInfo text)
{
	StringInfoData ages;
	HouseRights saved;
	List *tenants = NIL;
	ListCell *cell;

	initStringInfo(&ages);
	put_header(text, REVIEW_METRIC, METRIC_GAUGE,
			   "Judgments that wait for a person's decision.");
	put_header(&ages, REVIEW_AGE_METRIC, METRIC_GAUGE,
			   "How long the oldest of them has waited.");
	house_enter(&saved);
	SPI_connect();
	if (SPI_execute(tenant_query, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read the tenants");
	for (uint64 i = 0; i < SPI_processed; i++)
		tenants = lappend(tenants,
						  SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1));
	foreach (cell, tenants)
		if (tenant_may_see(lfirst(cell)))
			put_tenant_reviews(text, &ages, lfirst(cell));
	SPI_finish();
	house_leave(&saved);
	appendStringInfoString(text, ages.data);
	pfree(ages.data);
}

/* --- what may fail alone ------------------------------------------------------------ */

#define MAX_SOURCES 8

typedef struct MetricSource
{
	const char *name;
	MetricTeller tell;
} MetricSource;

static MetricSource sources[MAX_SOURCES] = {
	{"quotas", put_quota_metrics},
	{"reviews", put_review_metrics},
};
static int source_count = 2;

void
metric_register_teller(const char *source, MetricTeller teller)
{
	if (source_count == MAX_SOURCES)
		elog(ERROR, "too many tellers of metrics");
	sources[source_count++] = (MetricSource){source, teller};
}

typedef struct Telling
{
	const MetricSource *source;
	StringInfo text;
} Telling;

static void
tell_source(void *argument)
{
	Telling *telling = argument;

	telling->source->tell(telling->text);
}

/*
 * What reads tables can fail: an operator needs the rest all the more then.  Its series
 * are left out, and one says that they are.
 */
#define SOURCE_METRIC "factory_metric_source_up"

static void
put_sources(StringInfo text)
{
	StringInfoData told;

	initStringInfo(&told);
	put_header(text, SOURCE_METRIC, METRIC_GAUGE,
			   "Whether these series could be told; the server's log says why not.");
	for (int i = 0; i < source_count; i++)
	{
		Telling telling = {&sources[i], &told};
		int before = told.len;
		ErrorData *error = attempt(tell_source, &telling);

		if (error != NULL)
		{
			told.len = before;
			told.data[before] = '\0';
			ereport(LOG, (errcode(error->sqlerrcode),
						  errmsg("metrics of \"%s\" are left out: %s", sources[i].name,
								 error->message)));
			FreeErrorData(error);
		}
		metric_tell_value(text, SOURCE_METRIC, error == NULL,
						  (const char *const[]){"source", sources[i].name, NULL});
	}
	appendBinaryStringInfo(text, told.data, told.len);
	pfree(told.data);
}

/* --- what other rooms tell ------------------------------------------------------- */

void
metric_tell_name(StringInfo text, const char *name, const char *type, const char *help)
{
	appendStringInfo(text, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

void
metric_tell_value(StringInfo text, const char *name, double value,
				  const char *const *labels)
{
	appendStringInfo(text, "%s{", name);
	for (int i = 0; labels[i] != NULL; i += 2)
	{
		appendStringInfo(text, "%s%s=\"", i > 0 ? "," : "", labels[i]);
		put_label_value(text, labels[i + 1]);
		appendStringInfoChar(text, '"');
	}
	appendStringInfoString(text, "} ");
	put_number(text, value);
	appendStringInfoChar(text, '\n');
}

FACTORY_FUNCTION(factory_metrics);

Datum
factory_metrics(PG_FUNCTION_ARGS)
{
	StringInfoData text;

	initStringInfo(&text);
	put_own_metrics(&text);
	put_queue_metrics(&text);
	put_sources(&text);
	for (int i = 0; i < METRIC_COUNT; i++)
		put_metric(&text, i);
	PG_RETURN_TEXT_P(cstring_to_text_with_len(text.data, text.len));
}

FACTORY_FUNCTION(factory_reset_metrics);

Datum
factory_reset_metrics(PG_FUNCTION_ARGS)
{
	if (tenant_is_bound())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to reset metrics"),
				 errdetail("They are all tenants'; this session works for tenant \"%s\".",
						   tenant_current()),
				 errhint("A role that belongs to no tenant may reset them.")));
	metric_reset_all();
	PG_RETURN_VOID();
}
