-- A new version is tried on a share of inputs, watched, and rolled back or promoted.
\set SHOW_CONTEXT never
SET factory.frozen_clock = '2026-01-15 09:00:00+09';
SET timezone = 'Asia/Seoul';
SELECT factory.pause_workers('the clock stands still');
\set v1 '{"inputs": {"line": "text", "n": "int"}, "rules": [{"id": "odd", "when": "n % 2 = 1", "then": {"status": "ODD", "severity": "warning"}}], "default": {"status": "EVEN", "severity": "info"}}'
\set v2 '{"inputs": {"line": "text", "n": "int"}, "rules": [{"id": "third", "when": "n % 3 = 1", "then": {"status": "THIRD", "severity": "warning"}}], "default": {"status": "REST", "severity": "info"}}'
SELECT factory.create_decision('tried', :'v1');
SELECT factory.save_version('tried', :'v2', 'thirds, not halves');
SELECT factory.save_version('tried', :'v2', ' ');

-- Ten percent, within a point; the same input always goes the same way.
SELECT factory.deploy('tried', 2, canary_pct => 10);
CREATE TEMP TABLE seen AS SELECT n, j.version, j.status FROM generate_series(1, 10000) AS n, factory.judge('tried', jsonb_build_object('line', 'A', 'n', n)) AS j;
SELECT version, abs(count(*) / 100.0 - CASE version WHEN 2 THEN 10 ELSE 90 END) < 1 AS within_a_point, array_agg(DISTINCT status ORDER BY status) FROM seen GROUP BY version ORDER BY version;
SELECT count(*) AS others FROM seen, factory.judge('tried', jsonb_build_object('n', n, 'line', 'A')) AS j WHERE n <= 1000 AND j.version <> seen.version;
SELECT count(*) AS others FROM seen, LATERAL (SELECT 'A'::text AS line, seen.n) AS t, factory.judge_row('tried', t) AS j WHERE t.n <= 1000 AND j.version <> seen.version;
SELECT count(*) AS others FROM seen JOIN factory.judge_many('tried', $$SELECT 'A' AS line, n FROM generate_series(1, 1000) AS n$$) WITH ORDINALITY AS j ON n = j.ordinality WHERE j.version <> seen.version;
SELECT DISTINCT (factory.decide('tried', jsonb_build_object('n', n))).version AS decided_by FROM generate_series(1, 100) AS n;

-- A larger share keeps what was tried before.
SELECT factory.deploy('tried', 2, canary_pct => 50, changelog => 'looks good');
SELECT count(*) FILTER (WHERE seen.version = 2 AND j.version <> 2) AS given_back, count(*) FILTER (WHERE j.version = 2) BETWEEN 1400 AND 1600 AS half
FROM seen, factory.judge('tried', jsonb_build_object('line', 'A', 'n', n)) AS j WHERE n <= 3000;
SELECT version, status, canary_pct, changelog FROM factory.deployment WHERE decision = 'tried' ORDER BY id;
SELECT decision, version, canary_pct, since, until, judgments > 1000 AS many, error_rate, feedbacks, accuracy, breach FROM factory.canary_status;

-- By the value of one input: a line does not flip between versions.
SELECT factory.save_version('tried', :'v1'::jsonb || '{"canary_key": "line"}', 'by line');
SELECT factory.save_version('tried', :'v1'::jsonb || '{"canary_key": "colour"}', 'by what is not there');
SELECT factory.deploy('tried', 3);
SELECT factory.deploy('tried', 2, canary_pct => 50);
SELECT max(versions) AS versions_of_a_line, count(*) FILTER (WHERE one = 2) BETWEEN 30 AND 70 AS about_half
FROM (SELECT count(DISTINCT version) AS versions, min(version) AS one
	FROM (SELECT line, (factory.judge('tried', jsonb_build_object('line', 'L' || line, 'n', n))).version FROM generate_series(1, 100) AS line, generate_series(1, 5) AS n) AS judged
	GROUP BY line) AS lines;

-- What it is measured by: accuracy.
SELECT factory.tend_canaries() AS looks_again;
SELECT factory.feedback(execution_id, CASE WHEN row_number() OVER (ORDER BY execution_id) <= 8 THEN 'correct' ELSE 'incorrect' END)
FROM (SELECT execution_id FROM factory.judgment_log WHERE decision = 'tried' AND version = 2 ORDER BY execution_id LIMIT 10) AS ten;
SELECT breach FROM factory.canary_status;
SELECT factory.tend_canaries() AS looks_again;
SELECT version, status, reason FROM factory.deployment WHERE decision = 'tried' ORDER BY id DESC LIMIT 2;
SELECT DISTINCT (factory.judge('tried', jsonb_build_object('line', n::text, 'n', n))).version AS in_force FROM generate_series(1, 100) AS n;

-- Unknown results; by hand, with a reason.
SELECT factory.save_version('tried', '{"inputs": {"line": "text", "n": "int"}, "rules": [{"id": "raises", "when": "1 / (n % 50) > 0", "then": {"status": "ONE"}}], "default": {"status": "REST", "severity": "info"}}', 'divides');
SELECT factory.deploy('tried', 4, canary_pct => 90);
SELECT count(*) FROM generate_series(1, 500) AS n, factory.judge('tried', jsonb_build_object('line', n::text, 'n', n));
SELECT regexp_replace(breach, '[0-9.]+ % of [0-9]+', 'X % of N') AS breach FROM factory.canary_status;
SELECT factory.rollback('tried', 'it divides by zero') AS in_force;
SELECT factory.promote('tried');

-- Its time is over and all is well.
SELECT factory.save_version('tried', :'v1', 'back to halves');
SELECT factory.deploy('tried', 5, canary_pct => 20);
SELECT count(*) FROM generate_series(1, 500) AS n, factory.judge('tried', jsonb_build_object('line', n::text, 'n', n));
SET factory.frozen_clock = '2026-01-15 09:59:59+09';
SELECT factory.tend_canaries() AS looks_again;
SET factory.frozen_clock = '2026-01-15 10:00:00+09';
SELECT factory.tend_canaries() AS looks_again;
SELECT version, status, reason FROM factory.deployment WHERE decision = 'tried' ORDER BY id DESC LIMIT 1;
SELECT factory.rollback('tried') AS in_force;
SELECT factory.deploy('tried', 5, canary_pct => 20);
SELECT factory.promote('tried') AS in_force;

-- What is wrong.
SELECT factory.deploy('tried', 5, canary_pct => 10);
SELECT factory.deploy('tried', 1, canary_pct => 100);
SELECT factory.deploy('tried', 1, canary_pct => 0);
SELECT factory.deploy('tried', 1, changelog => '');
SELECT factory.deploy('tried', NULL);
SELECT factory.deploy('tried', 99);
SELECT factory.deploy('tired', 1);

-- Two persons.
SET factory.require_second_person = on;
SELECT factory.create_decision('four_eyes', :'v1');
SELECT count(*) AS in_force FROM factory.deployment WHERE decision = 'four_eyes';
\set VERBOSITY sqlstate
SELECT factory.deploy('four_eyes', 1);
CREATE ROLE canary_colleague IN ROLE factory_author;
SET ROLE canary_colleague;
SELECT factory.deploy('four_eyes', 1);
SET SESSION AUTHORIZATION canary_colleague;
SELECT factory.deploy('four_eyes', 1, changelog => 'checked on the line');
SELECT factory.save_version('four_eyes', :'v1', 'mine');
SELECT factory.deploy('four_eyes', 2, canary_pct => 10);
RESET SESSION AUTHORIZATION;
\set VERBOSITY default
SELECT version, status, deployed_by FROM factory.deployment WHERE decision = 'four_eyes';
RESET factory.require_second_person;

-- What was told: to the audit log and to listeners.
SELECT action, before, after FROM factory.audit_log WHERE object_type = 'decision' AND object = 'tried' AND action <> 'create' ORDER BY created_at;

DELETE FROM factory.judgment_log WHERE decision = 'tried';
DELETE FROM factory.deployment WHERE decision = 'four_eyes';
DELETE FROM factory.decision_version WHERE decision = 'four_eyes';
DELETE FROM factory.decision WHERE name = 'four_eyes';
DROP ROLE canary_colleague;
SELECT factory.resume_workers();
