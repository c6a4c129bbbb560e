/*
 * resource.c
 *		What the house takes of the server: shared memory, processes, disk.
 *
 * The server shows some of this only to those who may read all statistics, which the
 * house may not: one fixed query runs as the server's own user instead.
 */
#include "postgres.h"

#include "base/compat.h"
#include "base/house.h"
#include "base/tenant.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#define RESOURCE_COLUMNS 5

static const char *const usage_query =
	"SELECT 'shared memory', name, allocated_size, NULL::bigint, 'bytes' "
	"FROM pg_shmem_allocations WHERE name LIKE 'pg\\_factory %' "
	"UNION ALL "
	"SELECT 'worker', coalesce(datname, 'server'), count(*), "
	"current_setting('max_worker_processes')::bigint, 'processes' "
	"FROM pg_stat_activity WHERE backend_type LIKE 'pg\\_factory %' GROUP BY datname "
	"UNION ALL "
	"SELECT 'connection', application_name, count(*), "
	"current_setting('max_connections')::bigint, 'connections' "
	"FROM pg_stat_activity WHERE application_name = 'factoryd' "
	"AND backend_type = 'client backend' GROUP BY application_name "
	"UNION ALL "
	"SELECT 'table', c.relname, sum(pg_total_relation_size(t.relid))::bigint, NULL, "
	"'bytes' FROM pg_class AS c, LATERAL (SELECT c.oid AS relid WHERE c.relkind = 'r' "
	"UNION ALL SELECT p.relid FROM pg_partition_tree(c.oid) AS p "
	"WHERE c.relkind = 'p') AS t "
	"WHERE c.relnamespace = 'factory'::regnamespace AND c.relkind IN ('r', 'p') "
	"AND NOT c.relispartition GROUP BY c.relname "
	"UNION ALL "
	"SELECT 'backend memory', name, sum(total_bytes)::bigint, NULL, 'bytes' "
	"FROM pg_backend_memory_contexts WHERE name ~ '^(pg_)?factory ' GROUP BY name "
	"ORDER BY 1, 2";

static void
copy_rows(ReturnSetInfo *result)
{
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		Datum values[RESOURCE_COLUMNS];
		bool nulls[RESOURCE_COLUMNS];

		for (int column = 0; column < RESOURCE_COLUMNS; column++)
			values[column] = SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc,
										   column + 1, &nulls[column]);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
}

FACTORY_FUNCTION(factory_resource_use);

Datum
factory_resource_use(PG_FUNCTION_ARGS)
{
	HouseRights saved;

	InitMaterializedSRF(fcinfo, 0);
	/* Sizes and counts speak of all tenants. */
	if (tenant_is_bound())
		return (Datum) 0;
	house_enter_for_all(&saved);
	SPI_connect();
	if (SPI_execute(usage_query, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read what the house uses");
	copy_rows((ReturnSetInfo *) fcinfo->resultinfo);
	SPI_finish();
	house_leave(&saved);
	return (Datum) 0;
}
