-- What the factory takes of the server, for those who run it.
\set VERBOSITY terse
CREATE ROLE resource_watch;
GRANT factory_monitor TO resource_watch;
SET ROLE resource_watch;
-- Every room's shared memory, with a size.
SELECT name, used > 1000 AS has_size, unit FROM factory.resource_usage WHERE resource = 'shared memory'
	AND name IN ('pg_factory metrics', 'pg_factory quotas', 'pg_factory workers') ORDER BY name;
-- The launcher is one of the server's worker processes.
SELECT name, used, resource_limit = current_setting('max_worker_processes')::bigint AS of_all, unit
FROM factory.resource_usage WHERE resource = 'worker' AND name = 'server';
-- A partitioned table is one row with all its partitions.
SELECT name, used > 0 AS has_size FROM factory.resource_usage
WHERE resource = 'table' AND name IN ('audit_log', 'judgment_log', 'model', 'audit_log_default') ORDER BY name;
SELECT count(*) AS unsized FROM factory.resource_usage WHERE used IS NULL OR unit IS NULL;
RESET ROLE;
-- A decision that this session has used is in its memory.
SELECT factory.create_decision('small', '{"inputs": {"x": {"type": "float8"}}, "rules": [{"id": "R1", "when": "x > 1", "then": {"status": "high"}}]}');
SELECT (factory.decide('small', '{"x": 2}')).matched_rules;
SELECT name, used > 0 AS has_size FROM factory.resource_usage WHERE resource = 'backend memory' AND name = 'pg_factory decision';
-- Sizes speak of all tenants: a tenant's own administrator does not see them.
CREATE ROLE resource_tenant;
GRANT factory_monitor TO resource_tenant;
SELECT factory.create_tenant('ulsan');
SELECT factory.map_tenant_role('ulsan', 'resource_tenant');
SET ROLE resource_tenant;
SELECT count(*) FROM factory.resource_usage;
SELECT count(*) FROM factory.resource_use();
RESET ROLE;
CREATE ROLE resource_guest;
SET ROLE resource_guest;
SELECT count(*) FROM factory.resource_usage;
RESET ROLE;
-- The names mean what they say whatever the caller has in the way.
CREATE SCHEMA trap;
CREATE VIEW trap.pg_stat_activity AS SELECT 1 / 0 AS trapped;
SET search_path = trap, pg_catalog;
SELECT count(*) > 5 AS still_there FROM factory.resource_usage;
RESET search_path;
DROP SCHEMA trap CASCADE;
SELECT factory.unmap_tenant_role('resource_tenant');
SELECT factory.drop_tenant('ulsan');
DROP ROLE resource_watch, resource_tenant, resource_guest;
