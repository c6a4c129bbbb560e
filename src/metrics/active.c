/*
 * active.c
 *		Gauges of what is going on now, that come back to zero by themselves.
 *
 * Each backend remembers what it has begun, with the depth of the transaction
 * it was begun in.  What is still open when that (sub)transaction or the backend
 * ends is ended for it.
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/tenant.h"
#include "metrics/metrics_int.h"
#include "storage/ipc.h"

/* Deeper nesting than this goes uncounted; stack depth ends it sooner. */
#define METRIC_ACTIVE_LIMIT 64

typedef struct ActiveEntry
{
	MetricId metric;
	MetricSeries *series; /* of the tenant it was begun for */
	int level;            /* of transaction nesting; 0 outside one */
} ActiveEntry;

static ActiveEntry active[METRIC_ACTIVE_LIMIT];
static int active_count = 0;
static bool callbacks_registered = false;

static void
active_remove(int position)
{
	metric_add_double(&active[position].series->sum, -1);
	memmove(&active[position], &active[position + 1],
			(active_count - position - 1) * sizeof(ActiveEntry));
	active_count--;
}

static void
active_remove_from_level(int level)
{
	for (int i = active_count - 1; i >= 0; i--)
		if (active[i].level >= level)
			active_remove(i);
}

static void
active_transaction_ends(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_PARALLEL_COMMIT:
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PARALLEL_ABORT:
		case XACT_EVENT_PREPARE:
			active_remove_from_level(1);
			break;
		default:
			break;
	}
}

static void
active_subtransaction_ends(SubXactEvent event, SubTransactionId subxact,
						   SubTransactionId parent, void *arg)
{
	if (event == SUBXACT_EVENT_ABORT_SUB)
		active_remove_from_level(GetCurrentTransactionNestLevel());
	else if (event == SUBXACT_EVENT_COMMIT_SUB)
		for (int i = 0; i < active_count; i++)
			active[i].level = Min(active[i].level, GetCurrentTransactionNestLevel() - 1);
}

static void
active_backend_exits(int code, Datum arg)
{
	active_remove_from_level(0);
}

/* The series that was asked for last is kept; the tenant's name is one pointer. */
static MetricSeries *
active_series(MetricId metric)
{
	static MetricSeries *last = NULL;
	static const char *last_tenant = NULL;

	if (last == NULL || last->key.metric != metric || last_tenant != tenant_current())
	{
		last = metric_find_series(metric, METRIC_NO_LABELS);
		last_tenant = tenant_current();
	}
	return last;
}

void
metric_active_begin(MetricId metric)
{
	ActiveEntry *entry;

	Assert(metric_table[metric].kind == METRIC_GAUGE);
	if (!callbacks_registered)
	{
		RegisterXactCallback(active_transaction_ends, NULL);
		RegisterSubXactCallback(active_subtransaction_ends, NULL);
		before_shmem_exit(active_backend_exits, (Datum) 0);
		callbacks_registered = true;
	}
	if (active_count == METRIC_ACTIVE_LIMIT)
		return;
	entry = &active[active_count];
	entry->metric = metric;
	entry->series = active_series(metric);
	entry->level = GetCurrentTransactionNestLevel();
	metric_add_double(&entry->series->sum, 1);
	active_count++;
}

void
metric_active_end(MetricId metric)
{
	for (int i = active_count - 1; i >= 0; i--)
	{
		if (active[i].metric == metric)
		{
			active_remove(i);
			return;
		}
	}
}
