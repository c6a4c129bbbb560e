-- A quality engineer changes a threshold: what would have been, what people say, and
-- why a part was stopped.
\set SHOW_CONTEXT never
SET factory.frozen_clock = '2026-01-15 09:00:00+09';
SET factory.timezone = 'Asia/Seoul';
SET timezone = 'Asia/Seoul';
SELECT factory.create_decision('line_defects', '{
  "inputs": {"line": "text", "defects": "integer", "produced": "integer"},
  "let": {"rate": "defects::float8 / nullif(produced, 0)"},
  "rules": [
    {"id": "high", "when": "rate >= 0.05 AND line IN (''A'', ''B'')", "confidence": 0.95, "because": "rate {rate} is high, \"really\"",
     "then": {"status": "HIGH_DEFECT", "severity": "critical", "recommended_actions": ["stop_line", "call_quality"]}},
    {"id": "moderate", "when": "rate >= 0.02", "then": {"status": "MODERATE_DEFECT", "severity": "warning"}}],
  "default": {"status": "NORMAL", "severity": "info", "confidence": 0.9}}');
-- A hundred inputs of every rate from 0 to 9.9 %, on both lines.
CREATE TABLE judged AS
SELECT n, j.* FROM generate_series(0, 99) AS n,
  factory.judge('line_defects', jsonb_build_object('line', CASE n % 2 WHEN 0 THEN 'A' ELSE 'C' END, 'defects', n, 'produced', 1000)) AS j;
SELECT status, count(*) FROM judged GROUP BY 1 ORDER BY 1;

-- The rules as a table, to be changed in a spreadsheet.
SELECT factory.rules_as_table('line_defects');
SELECT factory.rules_from_csv('line_defects', replace(factory.rules_as_table('line_defects'), '>= 0.02', '>= 0.03'), 'fewer warnings') AS draft;
SELECT path, change, was, becomes FROM factory.diff_versions('line_defects', 1, 2);
-- A table that was not changed gives the rules that it was made of.
SELECT factory.rules_from_csv('line_defects', factory.rules_as_table('line_defects'), 'nothing') AS draft;
SELECT count(*) AS differences FROM factory.diff_versions('line_defects', 1, 3);
-- Order, removal, addition; a byte order mark and line ends as spreadsheets write them.
SELECT factory.rules_from_csv('line_defects', E'\uFEFFid,rate,line,when,status\r\nnew,> 0.5,,produced > 10,VERY\r\nmoderate,>= 0.02,,,MODERATE_DEFECT\r\n', 'other rules') AS draft;
SELECT path, change, was, becomes FROM factory.diff_versions('line_defects', 1, 4);
SELECT jsonb_pretty(definition -> 'rules') FROM factory.decision_definition WHERE decision = 'line_defects' AND version = 4;
-- What cannot be read says where.
SELECT factory.rules_from_csv('line_defects', E'id,speed\nx,> 3\n', 'x');
SELECT factory.rules_from_csv('line_defects', E'id,rate\nx,> 3,4\n', 'x');
SELECT factory.rules_from_csv('line_defects', E'id,rate\nx,"> 3\n', 'x');
SELECT factory.rules_from_csv('line_defects', E'id,rate\nx,"> 3"4\n', 'x');
SELECT factory.rules_from_csv('line_defects', E'id,confidence\nx,much\n', 'x');
SELECT factory.rules_from_csv('line_defects', E'rate\n> 3\n', 'x');
SELECT factory.rules_from_csv('line_defects', '', 'x');
SELECT factory.rules_from_csv('line_defects', E'id,rate\nx,>> 3\n', 'x');
SELECT factory.rule_from_cells(ARRAY['id', 'a', 'b', 'when', 'status'], ARRAY['x', '> 1 OR a < 0', '= 2', 'c > 1 OR d', 'S'], 2) ->> 'when' AS bracketed;
SELECT max(version) AS nothing_saved FROM factory.decision_definition WHERE decision = 'line_defects';
-- What a spreadsheet is hard on comes back as it was: quotes, commas, lines, formulas, blanks, actions that are objects.
SELECT factory.create_decision('hostile', $$
{"inputs": {"line": "text", "n": "integer", "größe": "numeric"},
 "rules": [
  {"id": "a,\"b\"", "when": "line = 'x,\"y\"\r\n, AND' AND n >= 1", "then": {"status": "=1+1", "severity": "warning"}, "because": "line {line},\n\"quoted\", is;odd"},
  {"id": "actions", "when": "größe BETWEEN 1 AND 2 OR n IS NULL", "then": {"status": "Ünïcode 불량", "recommended_actions": [{"action_type": "halt_equipment", "target": "P1"}, "call; wait"]}},
  {"id": "plain", "when": "n IN (1, 2) AND \"größe\" > 0", "confidence": 0.70, "priority": -2.5, "then": {"status": "A", "recommended_actions": ["call", "wait a bit"]}},
  {"id": " blanks ", "when": "n > 5 -- a comment", "then": {"status": " B ", "severity": "info", "score": 7, "note": null}, "because": ""},
  {"id": "empty", "when": "n > 6 AND n < 9", "then": {"recommended_actions": []}},
  {"id": "1", "when": "line LIKE '%\t;' AND line <> ''", "then": {"status": "\tC"}},
  {"id": "formulas", "when": "n = -1 AND line = 'x' AND größe = 2", "then": {"status": "@SUM", "recommended_actions": ["-call"]}, "because": "+1"}]}$$) AS version;
SELECT count(*) AS formulas FROM factory.rule_table((SELECT definition FROM factory.decision_definition WHERE decision = 'hostile')) AS t, unnest(t.cells) AS cell WHERE cell ~ '^[=+@]|^-[^0-9]';
SELECT factory.rules_as_table('hostile');
SELECT factory.rules_from_csv('hostile', factory.rules_as_table('hostile'), 'as it was') AS draft;
SELECT count(*) AS differences FROM factory.diff_versions('hostile', 1, 2);
SELECT factory.rules_from_csv('hostile', replace(factory.rules_as_table('hostile'), E'\n', E'\r\n'), 'other line ends') AS draft;
SELECT path, change FROM factory.diff_versions('hostile', 1, 3);
-- Conditions that are taken apart, and those that are not.
SELECT c, factory.condition_cells(c, ARRAY['a', 'b']) FROM (VALUES
  ('a >= 1'), ('a >= 1 AND b = ''x AND y'''), ('a BETWEEN 1 AND 5 AND b < 2'), ('a > 1 AND a < 5'), ('(a > 1 OR b > 2) AND b IN (1, 2)'),
  ('a > 1 OR b > 2'), ('NOT b AND a IS NULL'), ('a'), ('lower(a) = ''x'' AND a = ''X'''), (''), ('CASE WHEN a > 1 AND b > 1 THEN true END'),
  ('a = E''it\''s AND'' AND b = 1'), ('a = -5 AND b = a IS NULL'), ('a = ANY (''{1,2}'') AND b=(1 + 2)'), ('b =+1'), ('a > 1 -- AND b'), ('android > 1 AND b > 1')) AS t(c);

-- What would have been different last week.
SELECT jsonb_pretty(report #- '{changes}' #- '{significance}') FROM factory.replay('line_defects', 2, '2026-01-14 09:00+09', '2026-01-16 09:00+09') AS report;
SELECT change ->> 'was' AS was, change ->> 'becomes' AS becomes, change ->> 'count' AS n, jsonb_array_length(change -> 'examples') AS examples,
  (change #>> '{examples,0,input,defects}')::int BETWEEN 20 AND 29 AS as_expected
FROM factory.replay('line_defects', 2, '2026-01-14 09:00+09', '2026-01-16 09:00+09') AS report, jsonb_array_elements(report -> 'changes') AS change;
-- 80 and 70 of 100 are alarms: the numbers of the formulas, computed by hand.
SELECT s #>> '{two_proportion,z}' AS z, round((s #>> '{two_proportion,p_value}')::numeric, 6) AS p,
  round((s #>> '{mcnemar,statistic}')::numeric, 6) AS mcnemar, round((s #>> '{mcnemar,p_value}')::numeric, 6) AS mcnemar_p,
  s #>> '{chi_square,degrees}' AS degrees, round((s #>> '{chi_square,statistic}')::numeric, 6) AS chi
FROM (SELECT report -> 'significance' AS s FROM factory.replay('line_defects', 2, '2026-01-14 09:00+09', '2026-01-16 09:00+09') AS report) AS x;
SELECT round(factory.chi_square_probability(3.841458820694124, 1)::numeric, 9) AS one, round(factory.chi_square_probability(18.307038053275146, 10)::numeric, 9) AS ten,
  factory.chi_square_probability(0, 3) AS none, factory.chi_square_probability(1000, 2) < 1e-200 AS far, factory.chi_square_probability('Infinity', 2) AS infinite;
SELECT factory.chi_square_probability(-1, 1);
SELECT factory.replay('line_defects', 9, '2026-01-14 09:00+09');
SELECT factory.replay('line_defects', 2, '2026-01-16 09:00+09');
SELECT report -> 'total_samples' AS none, report -> 'significance' AS significance FROM factory.replay('line_defects', 2, '2025-01-14', '2025-01-15') AS report;
-- An input that the other version does not take is an outcome, not an error.
SELECT factory.save_version('line_defects', '{"inputs": {"line": {"type": "text", "enum": ["A"]}}, "rules": [{"id": "a", "when": "true", "then": {"status": "ONLY_A"}}]}', 'strict') AS version \gset
SELECT report -> 'decision_distribution' -> 'modified' AS modified FROM factory.replay('line_defects', :version, '2026-01-14 09:00+09', '2026-01-16 09:00+09') AS report;

-- A query's rows by several versions.
SELECT jsonb_pretty(factory.backtest('line_defects', ARRAY[1, 2, 4], 'SELECT ''A'' AS line, d AS defects, 1000 AS produced FROM generate_series(0, 60, 10) AS d') #- '{comparisons,0,significance}' #- '{comparisons,1,significance}');
SELECT factory.backtest('line_defects', '{}', 'SELECT 1');
SELECT factory.backtest('line_defects', '{1,99}', 'SELECT 1');
SELECT factory.backtest('line_defects', '{1}', 'DELETE FROM judged RETURNING *');
SELECT count(*) AS nothing_logged FROM factory.judgment_log WHERE decision = 'line_defects';

-- People say what was right.
SELECT factory.feedback(execution_id, 'thumbs_up') FROM judged WHERE n BETWEEN 60 AND 67;
SELECT factory.feedback(execution_id, 'correction', '{"status": "NORMAL"}', 'new die') FROM judged WHERE n IN (20, 22);
SELECT factory.feedback(execution_id, 'thumbs_down') FROM judged WHERE n = 60;
SELECT factory.feedback(execution_id, 'comment', comment => 'odd noise') FROM judged WHERE n = 61;
SELECT * FROM factory.version_accuracy WHERE decision = 'line_defects';
SELECT jsonb_pretty(report -> 'feedback') FROM factory.replay('line_defects', 2, '2026-01-14 09:00+09', '2026-01-16 09:00+09') AS report;
SELECT factory.feedback(execution_id, 'thumbs_sideways') FROM judged WHERE n = 1;
SELECT factory.feedback(execution_id, 'correction') FROM judged WHERE n = 1;
SELECT factory.feedback('00000000-0000-7000-8000-000000000000', 'correct');
SELECT factory.feedback(NULL, 'correct');

-- Why was this part stopped?
SELECT jsonb_pretty(factory.explain_judgment(execution_id) - ARRAY['execution_id', 'judged_by'] #- '{recorded,components}') FROM judged WHERE n = 60;
-- Three weeks and two versions later, by the version of that day.
SELECT factory.deploy('line_defects', 2, changelog => 'fewer warnings'), factory.deploy('line_defects', 4, changelog => 'other rules');
SET factory.frozen_clock = '2026-02-05 09:00:00+09';
SELECT n, why ->> 'version' AS by_version, why ->> 'judged_at' AS judged_at, why #>> '{recorded,status}' AS was, why ->> 'same' AS same, why #>> '{explanation,summary}' AS because,
  (factory.decide('line_defects', why -> 'input')).version AS in_force, (factory.decide('line_defects', why -> 'input')).status AS today
FROM judged, factory.explain_judgment(execution_id) AS why WHERE n IN (25, 60) ORDER BY n;
SET factory.frozen_clock = '2026-01-15 09:00:00+09';
SELECT factory.rollback('line_defects'), factory.rollback('line_defects');
SELECT decision, version, rule, hits, share FROM factory.rule_coverage WHERE decision = 'line_defects' ORDER BY position;
SELECT date_trunc('milliseconds', created_at) = factory.execution_time(execution_id) AS tells_time FROM judged WHERE n = 1;

-- Who may not judge may not look back either.
CREATE ROLE passer_by;
SET ROLE passer_by;
SELECT factory.replay('line_defects', 2, '2026-01-14 09:00+09');
SELECT factory.feedback('00000000-0000-7000-8000-000000000000', 'correct');
RESET ROLE;
DROP ROLE passer_by;
CREATE ROLE line_operator IN ROLE factory_operator;
GRANT SELECT ON judged TO line_operator;
SET ROLE line_operator;
SELECT factory.feedback(execution_id, 'correct') FROM judged WHERE n = 70;
SELECT given_by, kind FROM factory.judgment_feedback WHERE given_by = 'line_operator';
INSERT INTO factory.judgment_feedback (execution_id, decision, version, kind, given_by, judged_at) VALUES (gen_random_uuid(), 'x', 1, 'correct', 'boss', now());
SELECT factory.rules_from_csv('line_defects', E'id,rate\nx,> 3\n', 'x');
RESET ROLE;
DROP OWNED BY line_operator;
DROP ROLE line_operator;
DROP TABLE judged;
