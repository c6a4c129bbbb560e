/*
 * metrics.h
 *		Counters, gauges and histograms in shared memory; Prometheus text.
 *
 * A metric is one row of metric_table[] in metrics.c.  Label values are given in
 * the order of that row; the tenant is not given, it is always the first label.
 * Counting costs a hash look-up and an atomic add; it takes no lock (but for the
 * first time that a set of label values is seen) and never raises.
 */
#ifndef FACTORY_METRICS_H
#define FACTORY_METRICS_H

typedef enum MetricId
{
	METRIC_JUDGMENT_EXECUTIONS, /* workflow_id, status, method */
	METRIC_JUDGMENT_DURATION,   /* workflow_id, method */
	METRIC_JUDGMENT_ACTIVE,
	METRIC_JUDGMENT_REQUESTS,
	METRIC_JUDGMENT_CACHE_HITS,   /* workflow_id */
	METRIC_JUDGMENT_CACHE_MISSES, /* workflow_id */
	METRIC_BI_QUERIES,            /* status, source */
	METRIC_BI_PLAN_DURATION,
	METRIC_BI_QUERY_DURATION,
	METRIC_LLM_CALLS,            /* model, status */
	METRIC_LLM_CALL_DURATION,    /* model */
	METRIC_LLM_PARSING_FAILURES, /* model */
	METRIC_LLM_COST_USD,         /* model */
	METRIC_LLM_TOKENS,           /* model, direction */
	METRIC_LLM_JOINED_CALLS,     /* model */
	METRIC_LLM_LADDER_STEPS,     /* model, step */
	METRIC_REFRESH_RUNS,         /* view, status */
	METRIC_REFRESH_DURATION,     /* view */
	METRIC_REFRESH_SKIPPED,      /* view */
	METRIC_REFRESH_UNCHANGED,    /* view */
	METRIC_CACHE_HITS,           /* level, kind */
	METRIC_CACHE_MISSES,         /* level, kind */
	METRIC_L2_HITS,
	METRIC_L2_MISSES,
	METRIC_TASK_RUNS,     /* task, status */
	METRIC_TASK_DURATION, /* task */
	METRIC_COUNT
} MetricId;

/* Label values after the tenant, in the metric's own order: METRIC_LABELS("a", "b"). */
#define METRIC_LABELS(...) ((const char *const[]){__VA_ARGS__})
#define METRIC_NO_LABELS NULL

/* Counters and gauges; amount may be negative for a gauge. */
extern void metric_add(MetricId metric, double amount, const char *const *labels);

/* A gauge: what it stands at, and makes it stand at; 0 where nobody has yet. */
extern double metric_value(MetricId metric, const char *const *labels);
extern void metric_set(MetricId metric, double value, const char *const *labels);

/* Histograms: one observation. */
extern void metric_observe(MetricId metric, double value, const char *const *labels);

/*
 * For who counts often: the series of these label values and this tenant, found
 * once.  It stays as long as the server runs; hold it with the tenant it is for.
 */
struct MetricSeries;
extern struct MetricSeries *metric_series(MetricId metric, const char *const *labels);
extern void metric_series_add(struct MetricSeries *series, double amount);
/* What a counter or a gauge stands at. */
extern double metric_series_value(struct MetricSeries *series);
extern void metric_series_observe(struct MetricSeries *series, double value);

/*
 * A gauge that counts what is going on now: begin adds one, end takes it away;
 * what an error or a backend's exit left open is taken away for it.
 */
extern void metric_active_begin(MetricId metric);
extern void metric_active_end(MetricId metric);

/*
 * What another room counts itself, without a tenant, it tells when the metrics are
 * asked for: a name with its type and help, then a value for each set of labels, given
 * as name, value, name, value, ..., NULL.  A teller that raises is left out, and under
 * the name of its source it is told that it is.
 */
struct StringInfoData;
typedef void (*MetricTeller)(struct StringInfoData *text);

extern void metric_register_teller(const char *source, MetricTeller teller);
extern void metric_tell_name(struct StringInfoData *text, const char *name,
							 const char *type, const char *help);
extern void metric_tell_value(struct StringInfoData *text, const char *name, double value,
							  const char *const *labels);

extern void metrics_define_settings(void);
extern void metrics_request_shmem(void);
extern void metrics_attach_shmem(void);

#endif /* FACTORY_METRICS_H */
