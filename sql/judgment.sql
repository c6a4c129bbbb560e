-- A decision is one document; the first judgment comes a statement later.
SET factory.frozen_clock = '2026-01-15 09:00:00+09';
\set VERBOSITY default

SELECT factory.create_decision('defect_rate', '{
  "inputs": {"line_code": "text", "defect_count": "integer", "production_count": "integer"},
  "let": {"defect_rate": "defect_count::float8 / nullif(production_count, 0)"},
  "rules": [
    {"id": "high", "when": "defect_rate >= 0.05", "confidence": 0.95,
     "then": {"status": "HIGH_DEFECT", "severity": "critical", "recommended_actions": ["stop_line", "call_quality"]},
     "because": "defect rate {defect_rate} of {line_code} is at or above 5%"},
    {"id": "moderate", "when": "defect_rate >= 0.02", "confidence": 0.85,
     "then": {"status": "MODERATE_DEFECT", "severity": "warning", "recommended_actions": ["watch"]},
     "because": "defect rate {defect_rate} of {line_code} is at or above 2%"}
  ],
  "default": {"status": "NORMAL", "severity": "info", "confidence": 0.9}
}', 'defects per piece');

-- 5 of 100 is the boundary, and it is high.
SELECT result, status, severity, confidence, recommended_actions, method_used, policy, matched_rules, degraded
FROM factory.judge('defect_rate', '{"line_code": "LINE-A", "defect_count": 5, "production_count": 100}') \gx
SELECT jsonb_pretty(explanation) FROM factory.judge('defect_rate', '{"line_code": "LINE-A", "defect_count": 5, "production_count": 100}');

SELECT d, j.result, j.status, j.matched_rules, j.explanation->>'summary' AS because
FROM unnest(ARRAY[0, 1, 2, 3, 4, 5, 6]) AS d,
  factory.judge('defect_rate', jsonb_build_object('line_code', 'LINE-B', 'defect_count', d, 'production_count', 100)) AS j ORDER BY d;

-- Nothing fails open: without a production there is no rate, and so no verdict.
SELECT result, status, confidence, matched_rules, explanation->'reasoning' AS reasoning
FROM factory.judge('defect_rate', '{"defect_count": 5, "production_count": 0}') \gx
SELECT result, explanation->>'summary' AS because FROM factory.judge('defect_rate', '{"defect_count": 5}');

-- Each was logged, with the input it had.
SELECT count(*), count(*) FILTER (WHERE result = 'critical') AS critical, count(DISTINCT execution_id) AS ids,
       bool_and(created_at = factory.clock_now()) AS at_the_clock
FROM factory.judgment_log WHERE decision = 'defect_rate';
SELECT input, result FROM factory.judgment_log WHERE result = 'unknown' AND decision = 'defect_rate' ORDER BY input::text;

-- Bad input: every offending field in one error, with what was expected and received.
SELECT factory.judge('defect_rat', '{}');
SELECT factory.judge('defect_rate', '[1, 2]');
SELECT factory.judge('defect_rate', '"text"');
SELECT factory.judge('defect_rate', '{"line_code": 7, "defect_count": "five", "production_count": 100.5}');
SELECT factory.judge('defect_rate', '{"line_code": {"a": 1}, "defect_count": 99999999999, "production_count": [1]}');
SELECT factory.judge('defect_rate', NULL);
SELECT factory.judge('defect_rate', '{"defect_count": 1, "production_count": 100}', policy => 'HYBRID');
SELECT factory.judge_row('defect_rate', 5);

SELECT factory.create_decision('strict', '{
  "inputs": {
    "shift": {"type": "text", "enum": ["day", "evening", "night"], "required": true},
    "temperature": {"type": "float8", "min": -50, "max": 200, "on_null": "error"},
    "lot": {"type": "text", "on_null": "no_match"},
    "at": {"type": "timestamptz", "default": "2026-01-15 08:00:00+09"},
    "codes": "int[]"},
  "strict": true,
  "rules": [
    {"id": "hot", "when": "temperature > 70", "then": {"status": "WARNING"}},
    {"id": "lot", "when": "lot LIKE ''L24%''", "then": {"status": "LOT"}},
    {"id": "early", "when": "at < now() - interval ''30 minutes'' AND 7 = ANY (codes)", "then": {"status": "EARLY"}}
  ],
  "default": {"result": "normal"}}');
SELECT factory.judge('strict', '{"shift": "noon", "temperature": 500, "at": "yesterday-ish", "codes": [1, "x"], "colour": "red"}');
SELECT factory.judge('strict', '{"temperature": 1}');
SELECT result, status FROM factory.judge('strict', '{"shift": "day", "temperature": 71}');
SELECT result, status FROM factory.judge('strict', '{"shift": "day", "temperature": 20, "lot": "L2401"}');
SELECT result, status FROM factory.judge('strict', '{"shift": "day", "temperature": 20, "codes": [5, 7]}');
SELECT result, status FROM factory.judge('strict', '{"shift": "day", "temperature": 20, "codes": [5]}');
SELECT factory.judge('strict', '{"shift": "day", "codes": [5]}');
SELECT result, explanation->'reasoning' AS reasoning FROM factory.judge('strict', '{"shift": "day", "temperature": 20}');

-- A condition that fails is undecided; a later match stands, and the failure is told.
SELECT factory.create_decision('fails', '{"inputs": {"a": "int", "b": "int"},
  "rules": [
    {"id": "quotient", "when": "a / b > 1", "then": {"status": "BIG"}},
    {"id": "negative", "when": "a < 0", "then": {"status": "NEGATIVE", "severity": "warning"}}],
  "default": {"status": "SMALL", "severity": "info"}}');
SELECT a, b, j.result, j.status, j.explanation->'reasoning' AS reasoning
FROM (VALUES (4, 2), (1, 1), (-1, 0), (1, 0)) AS v(a, b), factory.judge('fails', jsonb_build_object('a', a, 'b', b)) AS j;

-- Rows are judged as they are, of any shape that fits; decide() judges without a trace.
CREATE TABLE production (line_code text, defect_count bigint, production_count numeric, note text);
INSERT INTO production VALUES ('LINE-A', 5, 100, 'boundary'), ('LINE-B', 1, 100, NULL), ('LINE-C', NULL, 100, 'silent');
SELECT p.line_code, j.result, j.matched_rules, j.explanation->'evidence' AS evidence
FROM production AS p, factory.judge_row('defect_rate', p) AS j ORDER BY 1;
SELECT input FROM factory.judgment_log WHERE decision = 'defect_rate' AND input ? 'line_code' ORDER BY created_at, input::text DESC LIMIT 1;
ALTER TABLE production ALTER note TYPE varchar(20), DROP COLUMN production_count;
SELECT p.line_code, j.result FROM production AS p, factory.judge_row('defect_rate', p) AS j ORDER BY 1;
ALTER TABLE production DROP COLUMN defect_count, ADD COLUMN defect_count text;
SELECT factory.judge_row('defect_rate', p) FROM production AS p;
DROP TABLE production;
SELECT count(*) AS logged FROM factory.judgment_log \gset
SELECT n, (factory.decide('defect_rate', jsonb_build_object('line_code', 'L01', 'defect_count', n, 'production_count', 100))).result
FROM generate_series(4, 5) AS n;
SELECT count(*) - :logged AS written_by_decide FROM factory.judgment_log;
SELECT status FROM factory.decide('defect_rate', '{}', version => 3);

-- The log keeps no reasons that rules give again; the history has them as they were given.
CREATE TEMP TABLE given AS SELECT j.* FROM generate_series(3, 6) AS n,
	factory.judge('defect_rate', jsonb_build_object('line_code', 'LINE-A', 'defect_count', n, 'production_count', 100)) AS j;
SELECT count(*), count(l.explanation) AS explanations, count(l.components) FILTER (WHERE l.severity <> 'critical') AS components
FROM given JOIN factory.judgment_log AS l USING (execution_id);
SELECT count(*), bool_and(h.explanation = g.explanation) AS explanations, bool_and(h.outcome = g.outcome) AS outcomes,
	bool_and(h.components - 'rule_time_ms' = g.components - 'rule_time_ms') AS components, bool_and(h.matched_rules = g.matched_rules) AS rules
FROM given AS g JOIN factory.judgment_history AS h USING (execution_id);
-- Reasons of the moment are kept: by the clock, or undecided.
SELECT factory.create_decision('dated', '{"inputs": {"day": "date"},
  "rules": [{"id": "past", "when": "day < now()", "then": {"status": "PAST"}}], "default": {"status": "COMING"}}');
TRUNCATE given;
INSERT INTO given SELECT j.* FROM factory.judge('dated', '{"day": "2020-01-01"}') AS j;
INSERT INTO given SELECT j.* FROM factory.judge('fails', '{"a": 1, "b": 0}') AS j;
SELECT g.decision, g.result, g.status, l.explanation = g.explanation AS kept, l.components ->> 'rule_reason' AS because
FROM given AS g JOIN factory.judgment_log AS l USING (execution_id) ORDER BY 1;
-- A long input is stored compressed.
SELECT factory.create_decision('wordy', '{"inputs": {"note": "text"}, "rules": [], "default": {"status": "READ"}}');
SELECT status FROM factory.judge('wordy', jsonb_build_object('note', repeat('checked ', 60)));
SELECT input ->> 'note' = repeat('checked ', 60) AS same, pg_column_compression(input) IN ('lz4', 'pglz') AS compressed,
	pg_column_size(input) < 120 AS small
FROM factory.judgment_log WHERE decision = 'wordy';
DROP TABLE given;

-- decide() goes with a parallel scan; each worker compiles for itself.
CREATE TABLE pieces AS SELECT i AS defect_count, 100 AS production_count, 'LINE-A' AS line_code FROM generate_series(0, 9999) AS i;
ANALYZE pieces;
BEGIN;
SET LOCAL min_parallel_table_scan_size = 0;
SET LOCAL parallel_setup_cost = 0;
SET LOCAL parallel_tuple_cost = 0;
EXPLAIN (COSTS OFF) SELECT count(*) FROM pieces WHERE (factory.decide('defect_rate', to_jsonb(pieces))).result = 'warning';
SELECT count(*) FROM pieces WHERE (factory.decide('defect_rate', to_jsonb(pieces))).result = 'warning';
COMMIT;
DROP TABLE pieces;

-- In a read-only transaction a judgment answers, and says that it left no row.
BEGIN READ ONLY;
SELECT result, components->>'log' AS log FROM factory.judge('defect_rate', '{"line_code": "LINE-A", "defect_count": 5, "production_count": 100}');
COMMIT;
SET factory.log = off;
SELECT result, components->>'log' AS log FROM factory.judge('defect_rate', '{"line_code": "LINE-A", "defect_count": 5, "production_count": 100}');
RESET factory.log;

-- A wanted model that is not there degrades the answer; the rules' verdict stands.
SELECT factory.create_decision('hybrid', '{
  "inputs": {"line_code": "text", "defect_count": "integer", "production_count": "integer"},
  "let": {"defect_rate": "defect_count::float8 / nullif(production_count, 0)"},
  "rules": [{"id": "high", "when": "defect_rate >= 0.05", "confidence": 0.95, "then": {"status": "HIGH_DEFECT"}}],
  "default": {"status": "NORMAL", "confidence": 0.9},
  "prompt": {"model": "nobody", "user": "line {{ line_code }}: {{ defect_count }} of {{ production_count }}"}}');
SELECT result, status, confidence, method_used, policy, degraded
FROM factory.judge('hybrid', '{"line_code": "LINE-A", "defect_count": 5, "production_count": 100}') \gx
SELECT result, status, confidence, method_used, policy, degraded
FROM factory.judge('hybrid', '{"line_code": "LINE-A", "defect_count": 5, "production_count": 100}', policy => 'llm_only') \gx
-- A satisfied gate asks no model.
SELECT result, method_used, policy, degraded
FROM factory.judge('hybrid', '{"line_code": "LINE-A", "defect_count": 5, "production_count": 100}', policy => 'HYBRID_GATE');

-- Hit policies: one answer, several, or a quarrel that names both rules.
CREATE FUNCTION pg_temp.with_policy(policy text, a integer) RETURNS SETOF record LANGUAGE plpgsql AS $$
BEGIN
  RETURN QUERY SELECT j.status, j.severity, j.matched_rules, j.recommended_actions, j.outcome
  FROM factory.judge('hits_' || policy, jsonb_build_object('a', a)) AS j;
END $$;
SELECT factory.create_decision('hits_' || p, jsonb_build_object('hit_policy', p, 'inputs', '{"a": "int"}'::jsonb,
  'collect', '{"score": "sum", "names": "list"}'::jsonb,
  'rules', '[{"id": "small", "when": "a > 1", "priority": 1, "then": {"status": "S", "severity": "info", "names": "s", "recommended_actions": ["look"]}, "set": {"score": "a * 10"}},
             {"id": "large", "when": "a > 10", "priority": 5, "then": {"status": "L", "severity": "critical", "names": "l", "recommended_actions": ["stop", "look"]}, "set": {"score": "a"}}]'::jsonb))
FROM unnest(ARRAY['first', 'unique', 'any', 'priority', 'collect', 'rule_order', 'output_order']) AS p;
SELECT p, r.* FROM unnest(ARRAY['first', 'priority', 'collect', 'rule_order', 'output_order']) AS p,
  pg_temp.with_policy(p, 11) AS r(status text, severity text, matched_rules text[], actions jsonb, outcome jsonb);
SELECT p, r.status FROM unnest(ARRAY['unique', 'any']) AS p,
  pg_temp.with_policy(p, 5) AS r(status text, severity text, matched_rules text[], actions jsonb, outcome jsonb);
SELECT factory.judge('hits_unique', '{"a": 11}');
SELECT factory.judge('hits_any', '{"a": 11}');

-- Large and deep documents: judged, or refused by the server itself; never a crash.
SELECT result FROM factory.judge('defect_rate', jsonb_build_object('defect_count', 5, 'production_count', 100, 'ballast', repeat('x', 1000000)));
SELECT result FROM factory.judge('defect_rate', jsonb_build_object('defect_count', 5, 'production_count', 100, 'ballast', repeat('x', 1100000)));
DO $$
BEGIN
  PERFORM factory.judge('defect_rate', (repeat('{"a":', 200000) || '1' || repeat('}', 200000))::jsonb);
EXCEPTION WHEN statement_too_complex THEN RAISE NOTICE 'refused: %', SQLERRM;
END $$;
