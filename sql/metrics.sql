-- Metrics are text in Prometheus' format, every line of it.
SELECT factory.reset_metrics();
CREATE TEMP VIEW line AS
  SELECT number, text FROM string_to_table(factory.metrics(), E'\n') WITH ORDINALITY AS l(text, number);
SELECT count(*) FILTER (WHERE text !~ '^$|^# (HELP|TYPE) [a-z_]+ |^[a-z_]+(\{[a-z_]+="([^"\\]|\\.)*"(,[a-z_]+="([^"\\]|\\.)*")*\})? -?[0-9.e+-]+$') AS malformed,
       count(*) > 40 AS plenty
FROM line;

-- What is counted, and as what.
SELECT split_part(text, ' ', 3) AS metric, split_part(text, ' ', 4) AS type FROM line WHERE text LIKE '# TYPE %' ORDER BY number;
SELECT regexp_replace(text, 'postgresql="[^"]*"', 'postgresql="..."') AS build FROM line WHERE text LIKE 'factory_build_info{%';

-- The server's numbers are not for everybody.
CREATE ROLE metrics_nobody;
SET ROLE metrics_nobody;
SELECT factory.metrics();
SELECT factory.reset_metrics();
RESET ROLE;
GRANT factory_monitor TO metrics_nobody;
SET ROLE metrics_nobody;
SELECT factory.metrics() LIKE '# HELP factory_build_info %' AS visible;
SELECT factory.reset_metrics();
RESET ROLE;
DROP ROLE metrics_nobody;

-- A judgment is counted under its decision, its outcome and its method.
SET client_min_messages = warning;
SELECT factory.create_decision('metrics "quoted"', '{"inputs": {"n": "integer"},
  "rules": [{"id": "high", "when": "n >= 5", "then": {"status": "HIGH", "severity": "critical"}}],
  "default": {"status": "LOW", "severity": "info"}}');
SELECT factory.reset_metrics();
SELECT judgment.status FROM generate_series(4, 6) AS n, factory.judge('metrics "quoted"', jsonb_build_object('n', n)) AS judgment;
SELECT factory.judge('metrics "quoted"', '{"n": "many"}');
SELECT (factory.judge('metrics "quoted"', '{}')).result;
SELECT text FROM line WHERE text LIKE 'judgment_executions_total{%quoted%' ORDER BY text COLLATE "C";
SELECT text FROM line WHERE text LIKE 'judgment_requests_total{%' OR text LIKE 'judgment_active_executions{%' ORDER BY number;

-- Buckets add up: each holds what is faster, the last one everything.
CREATE TEMP VIEW bucket AS
  SELECT number, substring(text FROM 'le="([^"]*)"') AS le, substring(text FROM ' ([0-9]+)$')::int AS observed
  FROM line WHERE text LIKE 'judgment_duration_seconds_bucket{%quoted%method="rule_only"%';
SELECT string_agg(le, ' ' ORDER BY number) AS bounds, max(observed) AS observed FROM bucket;
SELECT bool_and(observed >= before) AS ascending FROM (SELECT observed, lag(observed, 1, 0) OVER (ORDER BY number) AS before FROM bucket) AS b;
SELECT substring(text FROM ' ([0-9]+)$') AS count FROM line WHERE text LIKE 'judgment_duration_seconds_count{%quoted%method="rule_only"%';
SELECT substring(text FROM ' ([0-9.e-]+)$')::float8 > 0 AS took_time FROM line WHERE text LIKE 'judgment_duration_seconds_sum{%quoted%method="rule_only"%';

-- The longest name a decision may have is whole; an error, caught or not, leaves nothing active.
SELECT factory.create_decision('metrics_' || repeat('판', 30),
  '{"inputs": {"n": "integer"}, "rules": [{"id": "high", "when": "1/n > 0", "then": {"status": "HIGH"}}]}');
SELECT (factory.judge('metrics_' || repeat('판', 30), '{"n": 1}')).status;
SELECT octet_length(label) AS bytes, label = 'metrics_' || repeat('판', 30) AS whole
FROM (SELECT substring(text FROM 'workflow_id="([^"]*)"') AS label FROM line WHERE text LIKE 'judgment_executions_total{%metrics_판%') AS l;
DO $$ BEGIN PERFORM factory.judge('metrics "quoted"', '{"n": "many"}'); EXCEPTION WHEN OTHERS THEN NULL; END $$;
SELECT text FROM line WHERE text LIKE 'judgment_active_executions{%';

-- What waits for a person, of every tenant; a role of a tenant sees its own.
SELECT factory.create_tenant('metrics_acme');
INSERT INTO factory.review (tenant_id, execution_id, decision, version, reasons, result, proposal, input, created_by, created_at)
  SELECT tenant, gen_random_uuid(), 'metrics_press', 1, '{critical}', 'critical', '{}', '{}', current_user, factory.clock_now() - interval '90 seconds'
  FROM unnest(ARRAY['default', 'metrics_acme', 'metrics_acme']) AS tenant;
SELECT text FROM line WHERE text LIKE 'judgment_reviews_pending{%metrics_press%' ORDER BY number;
SELECT bool_and(substring(text FROM ' ([0-9.]+)$')::float8 BETWEEN 90 AND 600) AS waited FROM line WHERE text LIKE 'judgment_review_oldest_seconds{%metrics_press%';
CREATE ROLE metrics_theirs IN ROLE factory_monitor;
SELECT factory.map_tenant_role('metrics_acme', 'metrics_theirs');
GRANT SELECT ON line TO metrics_theirs;
SET ROLE metrics_theirs;
SELECT string_agg(t.text, E'\n') AS theirs FROM string_to_table(factory.metrics(), E'\n') AS t(text) WHERE t.text LIKE 'judgment_reviews_pending{%metrics_press%';
RESET ROLE;

-- What cannot be read is left out alone, and that is told.
BEGIN;
ALTER TABLE factory.review RENAME TO review_away;
SELECT text FROM line WHERE text LIKE 'factory_metric_source_up{%' OR text LIKE '%judgment_reviews_pending%' ORDER BY number;
SELECT count(*) FILTER (WHERE text LIKE '# TYPE factory_quota_used_ratio %') AS quotas,
  count(*) FILTER (WHERE text LIKE 'judgment_requests_total{%') > 0 AS judgments FROM line;
ROLLBACK;
SELECT text FROM line WHERE text LIKE 'factory_metric_source_up{%reviews%';
SELECT factory.unmap_tenant_role('metrics_theirs');
DELETE FROM factory.review WHERE decision = 'metrics_press';
DELETE FROM factory.tenant WHERE tenant_id = 'metrics_acme';
DROP OWNED BY metrics_theirs;
DROP ROLE metrics_theirs;
