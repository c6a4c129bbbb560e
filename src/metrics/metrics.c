/*
 * metrics.c
 *		The metrics we keep, and their series in shared memory.
 *
 * A series is a metric with one set of label values.  Series live in a fixed
 * array and are found through a hash index twice its size.  Neither ever loses
 * an entry, so finding and counting take no lock; the lock is held, exclusive,
 * only while a new series is entered.  The first METRIC_COUNT series are a
 * reserve: where the array is full, a metric counts on in its own one of these,
 * under the label values "other", so that totals stay right.
 */
#include "postgres.h"

#include <math.h>

#include "base/base.h"
#include "base/compat.h"
#include "base/settings.h"
#include "common/hashfn.h"
#include "mb/pg_wchar.h"
#include "metrics/metrics_int.h"
#include "miscadmin.h"
#include "port/pg_bitutils.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/timestamp.h"

#define METRIC_TRANCHE "pg_factory_metrics"

/*
 * The requirement's boundaries (0.1 0.5 1 1.5 2 3 5 10), those between them that
 * its targets need (300, 400, 800, 1200, 2500 and 4000 ms), and two below: rules
 * alone answer in microseconds and would all fall into one bucket.
 */
static const double answer_bounds[] = {0.0001, 0.001, 0.01, 0.05, 0.1, 0.2, 0.3,
									   0.4,    0.5,   0.8,  1,    1.2, 1.5, 2,
									   2.5,    3,     4,    5,    10,  0};
static const double model_bounds[] = {0.05, 0.1, 0.2, 0.5, 1,  1.5, 2,  2.5,
									  3,    4,   5,   8,   10, 15,  30, 0};
static const double query_bounds[] = {0.001, 0.01, 0.05, 0.1, 0.2, 0.5, 1, 1.5,
									  2,     2.5,  3,    5,   10,  30,  0};
static const double refresh_bounds[] = {0.01, 0.1, 0.5, 1,   2,    5,    10, 30,
										60,   120, 300, 600, 1800, 3600, 0};

const MetricRow metric_table[METRIC_COUNT] = {
	[METRIC_JUDGMENT_EXECUTIONS] = {"judgment_executions_total",
									METRIC_COUNTER,
									"Judgments given, by decision, outcome and method.",
									{"workflow_id", "status", "method"}},
	[METRIC_JUDGMENT_DURATION] = {"judgment_duration_seconds",
								  METRIC_HISTOGRAM,
								  "Time from question to judgment.",
								  {"workflow_id", "method"},
								  answer_bounds},
	[METRIC_JUDGMENT_ACTIVE] = {"judgment_active_executions", METRIC_GAUGE,
								"Judgments under way."},
	[METRIC_JUDGMENT_REQUESTS] = {"judgment_requests_total", METRIC_COUNTER,
								  "Judgments asked for, failed ones included."},
	[METRIC_JUDGMENT_CACHE_HITS] = {"judgment_cache_hits_total",
									METRIC_COUNTER,
									"Judgments answered from the cache.",
									{"workflow_id"}},
	[METRIC_JUDGMENT_CACHE_MISSES] = {"judgment_cache_misses_total",
									  METRIC_COUNTER,
									  "Judgments looked for in the cache in vain.",
									  {"workflow_id"}},
	[METRIC_BI_QUERIES] = {"bi_queries_total",
						   METRIC_COUNTER,
						   "Questions asked, by outcome and by what wrote the SQL.",
						   {"status", "source"}},
	[METRIC_BI_PLAN_DURATION] = {"bi_plan_duration_seconds",
								 METRIC_HISTOGRAM,
								 "Time from question to checked SQL.",
								 {NULL},
								 query_bounds},
	[METRIC_BI_QUERY_DURATION] = {"bi_query_duration_seconds",
								  METRIC_HISTOGRAM,
								  "Time that a question's SQL ran.",
								  {NULL},
								  query_bounds},
	[METRIC_LLM_CALLS] = {"llm_calls_total",
						  METRIC_COUNTER,
						  "Calls to models, by outcome.",
						  {"model", "status"}},
	[METRIC_LLM_CALL_DURATION] = {"llm_call_duration_seconds",
								  METRIC_HISTOGRAM,
								  "Time of a call to a model over all its tries.",
								  {"model"},
								  model_bounds},
	[METRIC_LLM_PARSING_FAILURES] = {"llm_parsing_failures_total",
									 METRIC_COUNTER,
									 "Answers of models that did not fit their schema.",
									 {"model"}},
	[METRIC_LLM_COST_USD] = {"llm_cost_usd_total",
							 METRIC_COUNTER,
							 "Cost of calls to models in US dollars.",
							 {"model"}},
	[METRIC_LLM_TOKENS] = {"llm_tokens_total",
						   METRIC_COUNTER,
						   "Tokens sent to and received from models.",
						   {"model", "direction"}},
	[METRIC_LLM_JOINED_CALLS] = {"llm_joined_calls_total",
								 METRIC_COUNTER,
								 "Calls that were given the answer of another's.",
								 {"model"}},
	[METRIC_LLM_LADDER_STEPS] = {"llm_ladder_steps_total",
								 METRIC_COUNTER,
								 "Models asked in a ladder, by what came of it.",
								 {"model", "step"}},
	[METRIC_REFRESH_RUNS] = {"refresh_runs_total",
							 METRIC_COUNTER,
							 "Refresh runs of materialized views, by outcome.",
							 {"view", "status"}},
	[METRIC_REFRESH_DURATION] = {"refresh_duration_seconds",
								 METRIC_HISTOGRAM,
								 "Time that a refresh run took.",
								 {"view"},
								 refresh_bounds},
	[METRIC_REFRESH_SKIPPED] = {"refresh_skipped_total",
								METRIC_COUNTER,
								"Due times at which nothing that the view reads seemed "
								"changed.",
								{"view"}},
	[METRIC_REFRESH_UNCHANGED] = {"refresh_unchanged_timestamp_seconds",
								  METRIC_GAUGE,
								  "When the view last seemed unchanged.",
								  {"view"}},
	[METRIC_CACHE_HITS] = {"cache_hits_total",
						   METRIC_COUNTER,
						   "Looks into the cache that found an answer, by level.",
						   {"level", "kind"}},
	[METRIC_CACHE_MISSES] = {"cache_misses_total",
							 METRIC_COUNTER,
							 "Looks into the cache in vain, by level.",
							 {"level", "kind"}},
	[METRIC_L2_HITS] = {"cache_table_hits_total", METRIC_COUNTER,
						"Looks into the cache's second level that found an answer."},
	[METRIC_L2_MISSES] = {"cache_table_misses_total", METRIC_COUNTER,
						  "Looks into the cache's second level in vain."},
	[METRIC_TASK_RUNS] = {"task_runs_total",
						  METRIC_COUNTER,
						  "Runs of scheduled tasks, by outcome.",
						  {"task", "status"}},
	[METRIC_TASK_DURATION] = {"task_duration_seconds",
							  METRIC_HISTOGRAM,
							  "Time that a run of a scheduled task took.",
							  {"task"},
							  refresh_bounds},
};

typedef struct MetricShared
{
	LWLock *lock;             /* exclusive to enter a series */
	TimestampTz started;      /* set once */
	pg_atomic_uint64 dropped; /* countings that found no series of their own */
	pg_atomic_uint32 count;   /* series in use; grows under lock */
	uint32 limit;             /* series there are; set once */
	uint32 index_mask;        /* set once */
	pg_atomic_uint32 *index;  /* series' position + 1, or 0; set under lock */
	MetricSeries series[FLEXIBLE_ARRAY_MEMBER];
} MetricShared;

static int max_series = 2000;
static MetricShared *shared = NULL;

static const Setting settings[] = {
	{"factory.max_metric_series",
	 "Sets how many series of metrics are kept, over all databases.", SETTING_INT,
	 &max_series, .boot = 2000, .min = 100, .max = 1000000, .context = PGC_POSTMASTER,
	 .detail =
		 "A series is a metric with one set of label values and takes about 730 bytes "
		 "of shared memory."},
};

void
metrics_define_settings(void)
{
	settings_define(settings, lengthof(settings));
}

static uint32
metric_series_total(void)
{
	return METRIC_COUNT + max_series;
}

static uint32
metric_index_size(void)
{
	return pg_nextpower2_32(metric_series_total() * 2);
}

static Size
metric_index_offset(void)
{
	return MAXALIGN(offsetof(MetricShared, series) +
					metric_series_total() * sizeof(MetricSeries));
}

static Size
metric_shmem_size(void)
{
	return metric_index_offset() + metric_index_size() * sizeof(pg_atomic_uint32);
}

void
metrics_request_shmem(void)
{
	RequestAddinShmemSpace(metric_shmem_size());
	RequestNamedLWLockTranche(METRIC_TRANCHE, 1);
}

/* --- keys -------------------------------------------------------------------- */

int
metric_label_count(const MetricRow *row)
{
	int count = 0;

	while (count < METRIC_MAX_LABELS - 1 && row->labels[count] != NULL)
		count++;
	return count + 1;
}

int
metric_bound_count(const MetricRow *row)
{
	int count = 0;

	while (row->bounds[count] > 0)
		count++;
	return count;
}

/*
 * Labels are UTF-8 for every reader.  A database of another encoding keeps the
 * ASCII of its values: converting could raise, and counting must not.
 */
static void
key_put_value(MetricKey *key, const char *value)
{
	char *target = key->values + key->length;
	int length = value ? strlen(value) : 0;

	if (length >= METRIC_LABEL_BYTES)
		length = pg_mbcliplen(value, length, METRIC_LABEL_BYTES - 1);
	if (length > 0)
		memcpy(target, value, length);
	if (GetDatabaseEncoding() != PG_UTF8)
		for (int i = 0; i < length; i++)
			if (IS_HIGHBIT_SET(target[i]))
				target[i] = '?';
	target[length] = '\0';
	key->length += length + 1;
}

static void
key_fill(MetricKey *key, MetricId metric, const char *tenant, const char *const *labels)
{
	int count = metric_label_count(&metric_table[metric]);

	key->metric = metric;
	key->length = 0;
	key_put_value(key, tenant);
	for (int i = 1; i < count; i++)
		key_put_value(key, labels ? labels[i - 1] : NULL);
}

static uint32
key_hash(const MetricKey *key)
{
	return hash_combine(hash_bytes((const unsigned char *) key->values, key->length),
						murmurhash32(key->metric));
}

static bool
key_equal(const MetricKey *one, const MetricKey *other)
{
	return one->metric == other->metric && one->length == other->length &&
		   memcmp(one->values, other->values, one->length) == 0;
}

/* --- series ------------------------------------------------------------------ */

static void
series_init(MetricSeries *series)
{
	pg_atomic_init_u64(&series->sum, 0);
	for (int i = 0; i <= METRIC_MAX_BOUNDS; i++)
		pg_atomic_init_u64(&series->observed[i], 0);
}

static void
series_init_reserve(MetricSeries *series, MetricId metric)
{
	const char *other[METRIC_MAX_LABELS];

	for (int i = 0; i < METRIC_MAX_LABELS; i++)
		other[i] = METRIC_OTHER_LABEL;
	key_fill(&series->key, metric, METRIC_OTHER_LABEL, other);
}

void
metrics_attach_shmem(void)
{
	bool found;

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	shared = ShmemInitStruct("pg_factory metrics", metric_shmem_size(), &found);
	if (!found)
	{
		shared->lock = &GetNamedLWLockTranche(METRIC_TRANCHE)->lock;
		shared->started = GetCurrentTimestamp();
		pg_atomic_init_u64(&shared->dropped, 0);
		pg_atomic_init_u32(&shared->count, METRIC_COUNT);
		shared->limit = metric_series_total();
		shared->index_mask = metric_index_size() - 1;
		shared->index = (pg_atomic_uint32 *) ((char *) shared + metric_index_offset());
		for (int i = 0; i <= shared->index_mask; i++)
			pg_atomic_init_u32(&shared->index[i], 0);
		for (int i = 0; i < shared->limit; i++)
			series_init(&shared->series[i]);
		for (int i = 0; i < METRIC_COUNT; i++)
			series_init_reserve(&shared->series[i], i);
	}
	LWLockRelease(AddinShmemInitLock);
}

/*
 * The series of that key, or NULL with the index slot where it belongs.  The
 * index is never more than half full, so the walk ends.
 */
static MetricSeries *
series_look_up(const MetricKey *key, uint32 *slot)
{
	*slot = key_hash(key) & shared->index_mask;
	for (;;)
	{
		uint32 position = pg_atomic_read_u32(&shared->index[*slot]);

		if (position == 0)
			return NULL;
		pg_read_barrier(); /* the series was written before its index entry */
		if (key_equal(&shared->series[position - 1].key, key))
			return &shared->series[position - 1];
		*slot = (*slot + 1) & shared->index_mask;
	}
}

/* Enters the key unless another backend was faster; NULL where there is no room. */
static MetricSeries *
series_enter(const MetricKey *key)
{
	MetricSeries *series;
	uint32 slot;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	series = series_look_up(key, &slot);
	if (series == NULL)
	{
		uint32 position = pg_atomic_read_u32(&shared->count);

		if (position < shared->limit)
		{
			series = &shared->series[position];
			series->key = *key;
			pg_write_barrier();
			pg_atomic_write_u32(&shared->count, position + 1);
			pg_atomic_write_u32(&shared->index[slot], position + 1);
		}
	}
	LWLockRelease(shared->lock);
	return series;
}

MetricSeries *
metric_find_series(MetricId metric, const char *const *labels)
{
	MetricKey key;
	MetricSeries *series;
	uint32 slot;

	key_fill(&key, metric, tenant_current(), labels);
	series = series_look_up(&key, &slot);
	if (series == NULL && pg_atomic_read_u32(&shared->count) < shared->limit)
		series = series_enter(&key);
	if (series == NULL)
	{
		pg_atomic_fetch_add_u64(&shared->dropped, 1);
		series = &shared->series[metric];
	}
	return series;
}

/* --- counting ---------------------------------------------------------------- */

double
metric_read_double(pg_atomic_uint64 *cell)
{
	uint64 bits = pg_atomic_read_u64(cell);
	double value;

	memcpy(&value, &bits, sizeof(value));
	return value;
}

void
metric_add_double(pg_atomic_uint64 *cell, double amount)
{
	uint64 before = pg_atomic_read_u64(cell);
	uint64 after;
	double value;

	do
	{
		memcpy(&value, &before, sizeof(value));
		value += amount;
		memcpy(&after, &value, sizeof(value));
	} while (!pg_atomic_compare_exchange_u64(cell, &before, after));
}

MetricSeries *
metric_series(MetricId metric, const char *const *labels)
{
	return metric_find_series(metric, labels);
}

double
metric_series_value(MetricSeries *series)
{
	return metric_read_double(&series->sum);
}

double
metric_value(MetricId metric, const char *const *labels)
{
	MetricKey key;
	MetricSeries *series;
	uint32 slot;

	key_fill(&key, metric, tenant_current(), labels);
	series = series_look_up(&key, &slot);
	return series ? metric_series_value(series) : 0;
}

void
metric_set(MetricId metric, double value, const char *const *labels)
{
	MetricSeries *series = metric_find_series(metric, labels);

	metric_series_add(series, value - metric_series_value(series));
}

/* A sum that once was NaN or infinite would stay so: what is no number is not counted. */
void
metric_series_add(MetricSeries *series, double amount)
{
	const MetricRow *row = &metric_table[series->key.metric];

	Assert(row->kind != METRIC_HISTOGRAM);
	if (!isfinite(amount) || (row->kind == METRIC_COUNTER && amount < 0))
		return;
	metric_add_double(&series->sum, amount);
}

void
metric_series_observe(MetricSeries *series, double value)
{
	const MetricRow *row = &metric_table[series->key.metric];
	int bucket = 0;

	Assert(row->kind == METRIC_HISTOGRAM);
	if (!isfinite(value))
		return;
	while (row->bounds[bucket] > 0 && value > row->bounds[bucket])
		bucket++;
	pg_atomic_fetch_add_u64(&series->observed[bucket], 1);
	metric_add_double(&series->sum, value);
}

void
metric_add(MetricId metric, double amount, const char *const *labels)
{
	if (isfinite(amount))
		metric_series_add(metric_find_series(metric, labels), amount);
}

void
metric_observe(MetricId metric, double value, const char *const *labels)
{
	if (isfinite(value))
		metric_series_observe(metric_find_series(metric, labels), value);
}

/* --- for those who read ------------------------------------------------------ */

int
metric_series_count(void)
{
	int count = pg_atomic_read_u32(&shared->count);

	pg_read_barrier();
	return count;
}

MetricSeries *
metric_series_at(int position)
{
	return &shared->series[position];
}

bool
metric_series_is_unused_reserve(int position)
{
	MetricSeries *series = &shared->series[position];

	if (position >= METRIC_COUNT || pg_atomic_read_u64(&series->sum) != 0)
		return false;
	for (int i = 0; i <= METRIC_MAX_BOUNDS; i++)
		if (pg_atomic_read_u64(&series->observed[i]) != 0)
			return false;
	return true;
}

int
metric_series_limit(void)
{
	return shared->limit - METRIC_COUNT;
}

int64
metric_series_dropped(void)
{
	return pg_atomic_read_u64(&shared->dropped);
}

double
metric_started_at(void)
{
	return (double) (shared->started - SetEpochTimestamp()) / USECS_PER_SEC;
}

void
metric_reset_all(void)
{
	int count = metric_series_count();

	for (int i = 0; i < count; i++)
	{
		MetricSeries *series = &shared->series[i];

		if (metric_table[series->key.metric].kind == METRIC_GAUGE)
			continue;
		pg_atomic_write_u64(&series->sum, 0);
		for (int bucket = 0; bucket <= METRIC_MAX_BOUNDS; bucket++)
			pg_atomic_write_u64(&series->observed[bucket], 0);
	}
	pg_atomic_write_u64(&shared->dropped, 0);
}
