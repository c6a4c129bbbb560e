/*
 * metrics_int.h
 *		What the files of this room share: the metrics' rows and their series.
 */
#ifndef FACTORY_METRICS_INT_H
#define FACTORY_METRICS_INT_H

#include "metrics/metrics.h"
#include "port/atomics.h"

#define METRIC_MAX_LABELS 4        /* the tenant's among them */
#define METRIC_LABEL_BYTES 128     /* of one value; longer ones are cut at a character */
#define METRIC_MAX_BOUNDS 20       /* upper bounds of one histogram, without +Inf */
#define METRIC_OTHER_LABEL "other" /* every label of a series that found no room */

typedef enum MetricKind
{
	METRIC_COUNTER,
	METRIC_GAUGE,
	METRIC_HISTOGRAM
} MetricKind;

typedef struct MetricRow
{
	const char *name;
	MetricKind kind;
	const char *help;
	const char *labels[METRIC_MAX_LABELS]; /* names after tenant_id, in order */
	const double *bounds;                  /* of a histogram: ascending, 0-terminated */
} MetricRow;

extern const MetricRow metric_table[METRIC_COUNT];

/* Which series: the metric and its label values, each with its NUL, tenant first. */
typedef struct MetricKey
{
	MetricId metric;
	int length; /* of the values */
	char values[METRIC_MAX_LABELS * METRIC_LABEL_BYTES];
} MetricKey;

/*
 * One series.  The key is written once, before the series can be found; the
 * numbers are atomics and need no lock.
 */
typedef struct MetricSeries
{
	MetricKey key;
	pg_atomic_uint64 sum; /* a double's bits: the value, or a histogram's sum */
	pg_atomic_uint64 observed[METRIC_MAX_BOUNDS + 1]; /* per bucket, the last is +Inf */
} MetricSeries;

/* Of this tenant and these label values; made if new.  Never NULL, never raises. */
extern MetricSeries *metric_find_series(MetricId metric, const char *const *labels);

extern void metric_add_double(pg_atomic_uint64 *cell, double amount);
extern double metric_read_double(pg_atomic_uint64 *cell);

extern int metric_bound_count(const MetricRow *row);
extern int metric_label_count(const MetricRow *row);

/* The series known now: 0 .. count - 1.  They are never taken away. */
extern int metric_series_count(void);
extern MetricSeries *metric_series_at(int position);

/* A series that nothing was ever counted in: the reserve for a full table. */
extern bool metric_series_is_unused_reserve(int position);

extern int metric_series_limit(void);
extern int64 metric_series_dropped(void);
extern double metric_started_at(void);

/* Counters and histograms start from nothing again; gauges keep their value. */
extern void metric_reset_all(void);

#endif /* FACTORY_METRICS_INT_H */
