-- What configures is told of in the audit log, whichever way it was changed.
\set VERBOSITY terse
SET timezone = 'UTC';
SELECT clock_timestamp() AS start \gset
-- Tenants, the roles that belong to them, models; also by hand.
CREATE ROLE told_role;
SELECT factory.create_tenant('told');
SELECT factory.map_tenant_role('told', 'told_role');
SELECT factory.unmap_tenant_role('told_role');
SELECT factory.drop_tenant('told');
DROP ROLE told_role;
CREATE SERVER told FOREIGN DATA WRAPPER factory_llm OPTIONS (base_url 'https://models.example/v1');
SELECT factory.create_model('told', 'told', 'm', input_price => 1);
SELECT factory.alter_model('told', input_price => 2);
UPDATE factory.model SET input_price = 3 WHERE name = 'told';
UPDATE factory.model SET input_price = 3 WHERE name = 'told';
SELECT factory.drop_model('told');
DROP SERVER told;
-- Decisions: what was put in force instead of what, and why it was taken back.
SELECT factory.create_decision('told', '{"inputs": {"x": "float8"}, "rules": [{"id": "R1", "when": "x > 1", "then": {"status": "HIGH"}}]}', 'a story');
SELECT factory.save_version('told', '{"inputs": {"x": "float8"}, "rules": [{"id": "R1", "when": "x > 2", "then": {"status": "HIGH"}}]}', 'fewer false alarms');
SELECT factory.deploy('told', 2, changelog => 'as agreed on Monday');
SELECT factory.rollback('told', 'missed three scratches');
-- Schedules: the run that follows is not news.
SET factory.frozen_clock = '2026-01-15 09:00+00';
CREATE MATERIALIZED VIEW told_view AS SELECT 1 AS one;
SELECT factory.schedule_refresh('told_view', 'daily at 06:00');
SELECT factory.schedule_refresh('told_view', 'daily at 07:00');
UPDATE factory.refresh_schedule SET next_due = next_due + interval '1 day' WHERE view_name = 'public.told_view';
SELECT factory.unschedule_refresh('told_view');
DROP MATERIALIZED VIEW told_view;
RESET factory.frozen_clock;
-- What questions may call.
INSERT INTO factory.allowed_function (function, note) VALUES ('public.told', 'ours');
DELETE FROM factory.allowed_function WHERE function = 'public.told';
-- A restored dump is no change.
SET row_security = off;
INSERT INTO factory.allowed_function (function) VALUES ('public.restored');
DELETE FROM factory.allowed_function WHERE function = 'public.restored';
RESET row_security;
SELECT action, object_type, object, before - '{created_at,deployed_at,definition_hash,owner,created_by}'::text[] AS before,
	after - '{created_at,deployed_at,definition_hash,owner,created_by}'::text[] AS after FROM factory.audit_log
WHERE created_at >= :'start' ORDER BY created_at;
-- The server's own commands: settings of the server, of roles and of databases.
CREATE ROLE told_role;
SELECT clock_timestamp() AS start \gset
ALTER SYSTEM SET factory.log = 'off';
ALTER SYSTEM SET factory.http_proxy = 'http://user:password@proxy.example:3128';
ALTER SYSTEM RESET factory.http_proxy;
ALTER SYSTEM RESET factory.log;
ALTER SYSTEM SET work_mem = '5MB';
ALTER SYSTEM RESET work_mem;
ALTER SYSTEM SET factory.log = 'loud';
ALTER ROLE told_role SET factory.llm_timeout = '20s';
ALTER ROLE told_role SET factory.llm_timeout = '30s';
ALTER ROLE told_role SET work_mem = '5MB';
DO $$ BEGIN EXECUTE format('ALTER ROLE told_role IN DATABASE %I SET factory.timezone = %L', current_database(), 'Asia/Seoul'); END $$;
DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET factory.llm_timeout = %L', current_database(), '20s'); END $$;
DO $$ BEGIN EXECUTE format('ALTER DATABASE %I RESET ALL', current_database()); END $$;
BEGIN;
ALTER ROLE told_role RESET ALL;
ROLLBACK;
-- Who may be what, and who may set what.
GRANT factory_operator TO told_role;
REVOKE factory_operator FROM told_role;
GRANT SET ON PARAMETER factory.log TO told_role;
REVOKE SET ON PARAMETER factory.log FROM told_role;
-- Servers of models, and their keys without the keys.
CREATE SERVER told FOREIGN DATA WRAPPER factory_llm OPTIONS (base_url 'https://models.example/v1');
ALTER SERVER told OPTIONS (SET base_url 'https://others.example/v1');
GRANT USAGE ON FOREIGN SERVER told TO told_role;
CREATE USER MAPPING FOR told_role SERVER told OPTIONS (api_key_env 'FACTORY_TOLD');
SET client_min_messages = 'warning';
CREATE USER MAPPING FOR PUBLIC SERVER told OPTIONS (api_key 'sk-first');
ALTER USER MAPPING FOR PUBLIC SERVER told OPTIONS (SET api_key 'sk-second');
RESET client_min_messages;
ALTER USER MAPPING FOR PUBLIC SERVER told OPTIONS (SET api_key 'sk-second');
DROP USER MAPPING FOR PUBLIC SERVER told;
CREATE FOREIGN DATA WRAPPER not_ours;
CREATE SERVER untold FOREIGN DATA WRAPPER not_ours;
DROP FOREIGN DATA WRAPPER not_ours CASCADE;
DROP SERVER told CASCADE;
DROP OWNED BY told_role;
DROP ROLE told_role;
SELECT action, object_type, replace(object, current_database(), 'HERE') AS object, before, after FROM factory.audit_log
WHERE created_at >= :'start' AND NOT (object_type = 'role' AND after -> 'members' ? 'told_role') AND NOT (object_type = 'role' AND before -> 'members' ? 'told_role')
ORDER BY created_at;
SELECT count(*) AS grants FROM factory.audit_log WHERE created_at >= :'start' AND object_type = 'role' AND object = 'factory_operator';
SELECT count(*) AS keys FROM factory.audit_log AS a WHERE a::text ~ 'sk-(first|second)|password';
-- A holiday is configuration, too.
SELECT clock_timestamp() AS start \gset
INSERT INTO factory.holiday (calendar, day, description) VALUES ('told', '2026-05-05', 'children');
DELETE FROM factory.holiday WHERE calendar = 'told';
SELECT action, object_type, object, before, after FROM factory.audit_log WHERE created_at >= :'start' ORDER BY created_at;
-- Tables whose changes are not told row by row: logs, caches, state, and what tells itself by the functions that write it.
SELECT c.oid::regclass AS untold_table FROM pg_class AS c
WHERE c.relnamespace = 'factory'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
  AND NOT EXISTS (SELECT FROM pg_trigger AS t JOIN pg_proc AS p ON p.oid = t.tgfoid WHERE t.tgrelid = c.oid AND p.proname ~ 'audit|deployment')
ORDER BY c.oid::regclass::text COLLATE "C";
