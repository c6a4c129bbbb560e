#include "postgres.h"

#include "metrics/metrics.h"

void
metrics_define_settings(void)
{
}

void
metrics_request_shmem(void)
{
}

void
metrics_attach_shmem(void)
{
}

void
metric_add(MetricId metric, double amount, const char *const *labels)
{
}

void
metric_observe(MetricId metric, double value, const char *const *labels)
{
}

void
metric_active_begin(MetricId metric)
{
}

void
metric_active_end(MetricId metric)
{
}
