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
