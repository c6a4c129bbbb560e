-- Answers given again: which, and when not any more.  Models and tenants are in t/024_cache.pl.
\set VERBOSITY terse
SET factory.log = sync;
SET factory.review_critical = off;
SET factory.frozen_clock = '2026-11-23 09:00:00+09';
SELECT factory.create_decision('kept', '{
  "inputs": {"a": "int", "b": "text"},
  "rules": [{"id": "big", "when": "a > 10", "then": {"status": "HIGH", "severity": "critical"}, "because": "{a} is big"}],
  "default": {"status": "LOW", "severity": "info"}, "cache_ttl": "300s"}');
-- Rules alone are not kept unless the decision asks; this one does.
SELECT from_cache, status, explanation ->> 'summary' AS because, components ->> 'log' AS log FROM factory.judge('kept', '{"a": 12, "b": "x"}');
SELECT from_cache, status, matched_rules, explanation ->> 'summary' AS because, components -> 'cache' AS cache,
	components ->> 'rules_evaluated' AS rules, components ->> 'log' AS log
FROM factory.judge('kept', '{"b": "x", "a": 12}');
-- A judgment given again has the id of the first, whose row is in the log.
SELECT count(*), count(DISTINCT j.execution_id) FROM factory.judge('kept', '{"a": 12, "b": "x"}') AS j JOIN factory.judgment_log USING (execution_id);
-- Other inputs, another policy's name and fields that are no inputs.
SELECT from_cache FROM factory.judge('kept', '{"a": 13, "b": "x"}');
SELECT from_cache FROM factory.judge('kept', '{"a": 12, "b": "x", "c": 1}');
SELECT from_cache FROM factory.judge_row('kept', (SELECT t FROM (SELECT 12 AS a, 'x' AS b) AS t));
-- skip_cache looks for nothing, and keeps what it found out.
SELECT from_cache FROM factory.judge('kept', '{"a": 12, "b": "x"}', skip_cache => true);
SELECT from_cache FROM factory.judge('kept', '{"a": 12, "b": "x"}');
-- decide() has no cache.
SELECT from_cache FROM factory.decide('kept', '{"a": 12, "b": "x"}');
-- What could not be decided is not kept.
SELECT from_cache, result FROM factory.judge('kept', '{}'), generate_series(1, 2);
-- The memory keeps it for a minute, the table for five.
SET factory.frozen_clock = '2026-11-23 09:02:00+09';
SELECT from_cache, components #>> '{cache,level}' AS level FROM factory.judge('kept', '{"a": 12, "b": "x"}');
SELECT from_cache, components #>> '{cache,level}' AS level FROM factory.judge('kept', '{"a": 12, "b": "x"}');
SET factory.frozen_clock = '2026-11-23 09:05:01+09';
SELECT from_cache FROM factory.judge('kept', '{"a": 12, "b": "x"}');
-- A row in the log each time, if it is wanted.
SET factory.log_cached = on;
SELECT from_cache, components ->> 'log' AS log FROM factory.judge('kept', '{"a": 12, "b": "x"}');
RESET factory.log_cached;

-- A deployment empties at commit, one that is rolled back does not.
SELECT factory.save_version('kept', '{"inputs": {"a": "int", "b": "text"}, "rules": [{"id": "big", "when": "a > 11", "then": {"status": "HIGH"}}], "cache_ttl": "300s"}', 'higher');
BEGIN;
SELECT factory.deploy('kept', 2);
SELECT version, from_cache FROM factory.judge('kept', '{"a": 12, "b": "x"}');
ROLLBACK;
SELECT version, from_cache FROM factory.judge('kept', '{"a": 12, "b": "x"}');
BEGIN;
SAVEPOINT s;
SELECT factory.deploy('kept', 2);
ROLLBACK TO s;
COMMIT;
SELECT version, from_cache FROM factory.judge('kept', '{"a": 12, "b": "x"}');
SELECT factory.deploy('kept', 2);
SELECT version, from_cache FROM factory.judge('kept', '{"a": 12, "b": "x"}');
SELECT factory.rollback('kept', 'was better');
SELECT version, from_cache FROM factory.judge('kept', '{"a": 12, "b": "x"}');
SELECT version, from_cache FROM factory.judge('kept', '{"a": 12, "b": "x"}');

-- By hand.
SELECT factory.flush_cache('kept');
SELECT from_cache FROM factory.judge('kept', '{"a": 12, "b": "x"}');
SELECT factory.flush_cache('nothing'), factory.flush_cache(kind => 'question');
SELECT from_cache FROM factory.judge('kept', '{"a": 12, "b": "x"}');
SELECT factory.flush_cache(kind => 'judgement');
SELECT factory.flush_cache() > 0 AS all_of_it;
SELECT level, kind, capacity, entries, hits > 0 AS hits, misses > 0 AS misses, hit_rate BETWEEN 0 AND 1 AS rate
FROM factory.cache_stats WHERE kind = 'judgment' ORDER BY level;
SELECT from_cache FROM factory.judge('kept', '{"a": 12, "b": "x"}');
SELECT level, entries, bytes FROM factory.cache_stats WHERE kind = 'judgment' ORDER BY level;

-- Without the table.
SET factory.cache_table = off;
SET factory.frozen_clock = '2026-11-23 09:07:00+09';
SELECT from_cache FROM factory.judge('kept', '{"a": 12, "b": "x"}');
SELECT components #>> '{cache,level}' AS level FROM factory.judge('kept', '{"a": 12, "b": "x"}');
RESET factory.cache_table;

-- Decisions that ask for nothing to be kept, or do not ask.
SET factory.frozen_clock = '2026-11-23 09:10:00+09';
SELECT factory.create_decision('fresh', '{"inputs": {"a": "int"}, "rules": [{"id": "r", "when": "true", "then": {"status": "S"}}], "cache_ttl": "0"}');
SELECT from_cache FROM factory.judge('fresh', '{"a": 1}');
SELECT from_cache FROM factory.judge('fresh', '{"a": 1}');
SELECT factory.create_decision('plain', '{"inputs": {"a": "int"}, "rules": [{"id": "r", "when": "true", "then": {"status": "S"}}]}');
SELECT from_cache FROM factory.judge('plain', '{"a": 1}');
SELECT from_cache FROM factory.judge('plain', '{"a": 1}');
SELECT message FROM factory.check_decision('{"inputs": {"a": "int"}, "rules": [], "cache_ttl": "soon"}');

-- Where rules look at the clock, what they said is given again, in a row of its own.
SELECT factory.create_decision('clock', '{"inputs": {"a": "int"}, "rules": [{"id": "r", "when": "extract(minute FROM now()) < 11", "then": {"status": "EARLY"}}], "default": {"status": "LATE"}, "cache_ttl": "5min"}');
SELECT from_cache, status, components ->> 'log' AS log FROM factory.judge('clock', '{"a": 1}');
SELECT from_cache, status, components ->> 'log' AS log FROM factory.judge('clock', '{"a": 1}');

SELECT factory.flush_cache() > 0 AS cleaned;
DELETE FROM factory.judgment_log WHERE decision IN ('kept', 'fresh', 'plain', 'clock');
