-- Two plants in one database: neither learns of the other.
\set SHOW_CONTEXT never
CREATE ROLE north_engineer IN ROLE factory_admin, factory_author, factory_operator, factory_analyst, factory_monitor;
CREATE ROLE south_engineer IN ROLE factory_admin, factory_author, factory_operator, factory_analyst, factory_monitor;
CREATE ROLE house_keeper IN ROLE factory_admin, factory_monitor;
CREATE ROLE plant_north;
CREATE ROLE north_operator IN ROLE plant_north, factory_operator;
CREATE ROLE nobody_yet IN ROLE factory_operator;

-- Everything of ours that holds rows is behind row security, and its owner is bound by it.
SELECT c.oid::regclass AS open_table FROM pg_class AS c
WHERE c.relnamespace = 'factory'::regnamespace AND c.relkind IN ('r', 'p')
  AND NOT (c.relrowsecurity AND c.relforcerowsecurity AND EXISTS (SELECT FROM pg_policy AS p WHERE p.polrelid = c.oid));
SELECT c.oid::regclass AS table_without_tenant FROM pg_class AS c
WHERE c.relnamespace = 'factory'::regnamespace AND c.relkind IN ('r', 'p')
  AND NOT EXISTS (SELECT FROM pg_attribute AS a WHERE a.attrelid = c.oid AND a.attname = 'tenant_id' AND a.attnotnull) ORDER BY c.oid::regclass::text COLLATE "C";
SELECT c.oid::regclass AS with_open_owner, r.rolname FROM pg_class AS c JOIN pg_roles AS r ON r.oid = c.relowner
WHERE c.relnamespace = 'factory'::regnamespace AND c.relkind IN ('r', 'p', 'v') AND (r.rolsuper OR r.rolbypassrls OR r.rolcanlogin);
SELECT p.oid::regprocedure AS definer_with_open_owner, r.rolname FROM pg_proc AS p JOIN pg_roles AS r ON r.oid = p.proowner
WHERE p.pronamespace = 'factory'::regnamespace AND p.prosecdef AND (r.rolsuper OR r.rolbypassrls OR r.rolcanlogin);

-- The house keeper, who belongs to no tenant, makes them.
SET ROLE house_keeper;
SELECT factory.tenant_is_bound(), factory.current_tenant();
SELECT factory.create_tenant('north', description => 'the plant in the north', judgments_per_month => 10);
SELECT factory.create_tenant('south');
SELECT factory.map_tenant_role('north', 'north_engineer');
SELECT factory.map_tenant_role('north', 'plant_north');
SELECT factory.map_tenant_role('south', 'south_engineer');
SELECT tenant_id, role FROM factory.tenant_role ORDER BY tenant_id, role::text;

-- Both have a decision of one name; only the south has one called "secret".
SET ROLE north_engineer;
SELECT factory.current_tenant(), factory.tenant_is_bound();
SELECT factory.create_decision('defects', '{"inputs": {"n": "integer"},
  "rules": [{"id": "many", "when": "n > 5", "then": {"status": "NORTH_MANY"}}], "default": {"status": "NORTH_OK"}}');
SET ROLE south_engineer;
SELECT factory.create_decision('defects', '{"inputs": {"n": "integer"},
  "rules": [{"id": "many", "when": "n > 50", "then": {"status": "SOUTH_MANY"}}], "default": {"status": "SOUTH_OK"}}');
SELECT factory.create_decision('secret', '{"inputs": {"n": "integer"}, "rules": []}');

-- One session, one statement text, two answers: nothing is kept across tenants.
PREPARE judge_one AS SELECT tenant.status FROM factory.judge('defects', '{"n": 7}') AS tenant;
PREPARE count_log AS SELECT count(*), min(tenant_id), max(tenant_id) FROM factory.judgment_log;
EXECUTE judge_one;
EXECUTE count_log;
SET ROLE north_engineer;
EXECUTE judge_one;
EXECUTE judge_one;
EXECUTE count_log;
SET ROLE north_operator;
SELECT factory.current_tenant();
EXECUTE judge_one;

-- What is not the north's, is not there: not by name, not by its nearest name.
SET ROLE north_engineer;
SELECT status FROM factory.judge('secret', '{"n": 1}');
SELECT status FROM factory.judge('secre', '{"n": 1}');
SELECT factory.deploy('secret', 1);
SELECT factory.save_version('secret', '{"inputs": {"n": "integer"}, "rules": []}', 'mine');
SELECT decision, version FROM factory.decision_definition ORDER BY 1, 2;
SELECT name FROM factory.decision ORDER BY 1;
SELECT tenant_id FROM factory.tenant;
SELECT tenant_id, quota, quota_limit, used, state FROM factory.tenant_usage ORDER BY 1, 2;

-- A row of another tenant cannot be written either, nor the tenant be chosen.
INSERT INTO factory.model (tenant_id, name, server, model) VALUES ('south', 'm', 's', 'm');
SELECT factory.create_tenant('west');
SELECT factory.alter_tenant('north', '{"judgments_per_month": null}');
SELECT factory.map_tenant_role('south', 'north_engineer');
UPDATE factory.tenant SET judgments_per_month = NULL;
SET factory.tenant = 'south';
RESET ALL;
SELECT factory.current_tenant();

-- The north has ten judgments a month.
SELECT count(*) FROM generate_series(1, 5) AS n, factory.judge('defects', jsonb_build_object('n', n));
SELECT status AS the_ninth FROM factory.judge('defects', '{"n": 7}');
SELECT status AS the_tenth FROM factory.judge('defects', '{"n": 7}');
SELECT status AS the_eleventh FROM factory.judge('defects', '{"n": 7}');
SELECT status FROM factory.decide('defects', '{"n": 7}') AS not_counted;
SELECT tenant_id, quota, quota_limit, used, state FROM factory.tenant_usage ORDER BY 1, 2;
SET ROLE house_keeper;
SELECT factory.alter_tenant('north', '{"judgments_per_month": 20}');
SELECT factory.alter_tenant('north', '{"judgements": 20}');
SELECT factory.alter_tenant('nort', '{"judgments_per_month": 20}');
SET ROLE north_engineer;
SELECT status AS the_eleventh FROM factory.judge('defects', '{"n": 7}');
SET ROLE house_keeper;
SELECT tenant_id, quota, quota_limit, used, state FROM factory.tenant_usage WHERE tenant_id <> 'default' ORDER BY 1, 2;

-- Whoever is mapped nowhere works for the default tenant, or for none.
SET ROLE nobody_yet;
SELECT factory.current_tenant();
EXECUTE judge_one;
RESET ROLE;
SET factory.default_tenant = '';
SET ROLE nobody_yet;
SELECT factory.current_tenant();
RESET ROLE;
RESET factory.default_tenant;

-- A role of two tenants belongs to neither until it is said which.
CREATE ROLE two_faced IN ROLE north_engineer, south_engineer;
SET ROLE two_faced;
SELECT factory.current_tenant();
SET ROLE house_keeper;
SELECT factory.map_tenant_role('south', 'two_faced');
SET ROLE two_faced;
SELECT factory.current_tenant();
RESET ROLE;

-- A service's role may be granted the choice; a mapped role keeps its own.
SET factory.tenant = 'south';
SELECT factory.current_tenant();
SELECT status FROM factory.judge('defects', '{"n": 70}');
SET ROLE north_engineer;
SELECT factory.current_tenant();
RESET ROLE;
SET factory.tenant = 'west';
SELECT factory.current_tenant();
RESET factory.tenant;
SELECT factory.map_tenant_role('north', 'postgres');
SELECT factory.map_tenant_role('north', 'factory_admin');
CREATE ROLE service;
GRANT SET ON PARAMETER factory.tenant TO service;
SET ROLE service;
SET factory.tenant = 'north';
SELECT factory.current_tenant();
RESET factory.tenant;
RESET ROLE;

-- Row-level grants: columns by GRANT, rows by a restrictive policy of the DBA's on top of ours.
SELECT tenant_id, decision, status, count(*) FROM factory.judgment_log WHERE tenant_id <> 'default' GROUP BY 1, 2, 3 ORDER BY 1, 2, 3;
CREATE ROLE visitor;
GRANT USAGE ON SCHEMA factory TO visitor;
GRANT EXECUTE ON FUNCTION factory.current_tenant() TO visitor;
GRANT SELECT (tenant_id, decision, status) ON factory.judgment_log TO visitor;
SELECT factory.map_tenant_role('north', 'visitor');
SET ROLE visitor;
SELECT tenant_id, decision, status, count(*) FROM factory.judgment_log GROUP BY 1, 2, 3 ORDER BY 1, 2, 3;
SELECT input FROM factory.judgment_log;
RESET ROLE;
CREATE POLICY some_rows ON factory.judgment_log AS RESTRICTIVE FOR SELECT TO visitor USING (status = 'NORTH_MANY');
SET ROLE visitor;
SELECT tenant_id, decision, status, count(*) FROM factory.judgment_log GROUP BY 1, 2, 3 ORDER BY 1, 2, 3;
RESET ROLE;
DROP POLICY some_rows ON factory.judgment_log;
SELECT factory.unmap_tenant_role('visitor');
DROP OWNED BY visitor;
DROP ROLE visitor;

-- A tenant with rows stays; without, it goes.
SELECT factory.drop_tenant('north');
SELECT factory.create_tenant('north');
SELECT factory.create_tenant('');
SELECT factory.drop_tenant('default');
SELECT factory.create_tenant('empty');
SELECT factory.drop_tenant('empty');
SELECT factory.drop_tenant('empty');
SELECT factory.unmap_tenant_role('two_faced');
SELECT factory.unmap_tenant_role('two_faced');

-- A superuser is bound by nothing, and sees all.
SELECT tenant_id, count(*) FROM factory.judgment_log WHERE tenant_id <> 'default' GROUP BY 1 ORDER BY 1;

DELETE FROM factory.judgment_log WHERE tenant_id <> 'default';
DELETE FROM factory.deployment WHERE tenant_id <> 'default';
DELETE FROM factory.decision_version WHERE tenant_id <> 'default';
DELETE FROM factory.decision WHERE tenant_id <> 'default';
DELETE FROM factory.tenant_role;
DELETE FROM factory.tenant;
REVOKE SET ON PARAMETER factory.tenant FROM service;
DROP ROLE north_engineer, south_engineer, house_keeper, plant_north, north_operator, nobody_yet, two_faced, service;
