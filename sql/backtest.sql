-- What versions say to rows: the same as decide() to each of them, by the shortest way.
SET factory.frozen_clock = '2026-01-15 09:00:00+09';
SET timezone = 'Asia/Seoul';
SELECT factory.create_decision('weld', '{"inputs": {"line": "text", "amps": "float8", "spots": "integer"},
  "rules": [{"id": "hot", "when": "amps >= 90 AND line <> ''C''", "then": {"status": "HOT", "severity": "critical"}},
            {"id": "warm", "when": "amps >= 50", "then": {"status": "WARM", "severity": "warning"}},
            {"id": "few", "when": "spots < 3", "then": {"status": "FEW", "severity": "info"}}],
  "default": {"status": "FINE", "severity": "info"}}');
SELECT factory.save_version('weld', replace(definition::text, 'amps >= 50', 'amps >= 60')::jsonb, 'cooler') FROM factory.decision_definition WHERE decision = 'weld' AND version = 1;
-- Of other inputs, checked and computed.
SELECT factory.save_version('weld', '{"inputs": {"line": {"type": "text", "enum": ["A", "B"]}, "amps": {"type": "numeric", "min": 0, "default": 55}},
  "let": {"twice": "amps * 2"}, "rules": [{"id": "much", "when": "twice > 120", "then": {"status": "MUCH", "severity": "critical"}},
  {"id": "divides", "when": "1 / (amps - 7) > 100", "then": {"status": "NEAR"}}], "default": {"status": "FINE", "severity": "info"}}', 'another one');
SELECT factory.save_version('weld', '{"strict": true, "inputs": {"line": "text", "amps": "float8"}, "hit_policy": "collect",
  "rules": [{"id": "a", "when": "amps > 40", "then": {"status": "OVER"}}, {"id": "b", "when": "amps > 80", "then": {"status": "FAR_OVER", "severity": "critical"}}]}', 'all that hit');
CREATE TABLE welded AS SELECT n, (ARRAY['A', 'B', 'C'])[1 + n % 3] AS line, CASE WHEN n % 17 > 0 THEN (n * 37 % 1000) / 10.0::float8 END AS amps, n % 7 AS spots
FROM generate_series(1, 3000) AS n;

-- The report, and what decide() says to each row: no difference.
CREATE FUNCTION compared(versions integer[], query text) RETURNS TABLE (version integer, samples bigint, pairs bigint, differences bigint) LANGUAGE plpgsql AS $$
DECLARE
	counted jsonb;
BEGIN
	EXECUTE format('SELECT factory.backtested_pairs($1, $2, given.*) FROM (%s) AS given', query) INTO counted USING 'weld'::text, versions;
	FOR i IN least(2, cardinality(versions)) .. cardinality(versions) LOOP
		version := versions[i];
		EXECUTE format($query$
			SELECT (SELECT sum((p -> 'count')::bigint) FROM jsonb_array_elements($1) AS p), count(*),
				count(*) FILTER (WHERE one.n IS DISTINCT FROM other.n)
			FROM (SELECT factory.decide_brief('weld', input, $2) AS was, factory.decide_brief('weld', input, $3) AS becomes, count(*) AS n
				FROM (SELECT to_jsonb(given.*) AS input FROM (%s) AS given) AS inputs GROUP BY 1, 2) AS one
			FULL JOIN (SELECT ARRAY[p #>> '{was,0}', p #>> '{was,1}'] AS was, ARRAY[p #>> '{becomes,0}', p #>> '{becomes,1}'] AS becomes, (p -> 'count')::bigint AS n
				FROM jsonb_array_elements($1) AS p) AS other USING (was, becomes)
		$query$, query) INTO samples, pairs, differences USING counted -> i - 1, versions[1], versions[i];
		RETURN NEXT;
	END LOOP;
END $$;
SELECT * FROM compared(ARRAY[1, 2, 3, 4], 'SELECT * FROM welded');
SELECT * FROM compared(ARRAY[1], 'SELECT * FROM welded');
SELECT * FROM compared(ARRAY[3, 1, 1], 'SELECT line, amps FROM welded');
SELECT * FROM compared(ARRAY[4, 2], 'SELECT line, amps FROM welded');
-- Columns of other types, of which JSON makes what an input takes, or not.
SELECT * FROM compared(ARRAY[1, 2, 3], 'SELECT line::varchar(5), amps::numeric(6,2), spots::smallint FROM welded');
SELECT * FROM compared(ARRAY[1, 2, 3], 'SELECT line::char(4), amps::real / 3 AS amps, spots::bigint FROM welded');
SELECT * FROM compared(ARRAY[1, 2, 3], 'SELECT line, spots::text, n AS amps, ''x'' AS given FROM welded');
SELECT * FROM compared(ARRAY[1, 2], 'SELECT line, amps, spots / 2.0 AS spots FROM welded');
SELECT * FROM compared(ARRAY[1, 2], 'SELECT w.* FROM welded AS w WHERE n < 0');

-- An example of each change.
SELECT c ->> 'was' AS was, c ->> 'becomes' AS becomes, c ->> 'count' AS n, (SELECT count(*) FROM welded AS w WHERE to_jsonb(w) = c -> 'examples' -> 0) AS of_ours
FROM jsonb_array_elements(factory.backtest('weld', ARRAY[1, 2], 'SELECT * FROM public.welded') #> '{comparisons,0,changes}') AS c;

-- Several processes find the same as one.
SET min_parallel_table_scan_size = 0; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0;
CREATE FUNCTION both_ways(query text) RETURNS TABLE (parallel boolean, same boolean) LANGUAGE plpgsql AS $$
DECLARE
	alone jsonb;
	shared jsonb;
	line text;
BEGIN
	SET LOCAL max_parallel_workers_per_gather = 0;
	EXECUTE query INTO alone;
	SET LOCAL max_parallel_workers_per_gather = 2;
	parallel := false;
	FOR line IN EXECUTE 'EXPLAIN ' || query LOOP
		parallel := parallel OR line LIKE '%Partial Aggregate%';
	END LOOP;
	EXECUTE query INTO shared;
	same := (SELECT jsonb_agg(t ORDER BY t) FROM jsonb_array_elements(alone) AS a(t)) = (SELECT jsonb_agg(t ORDER BY t) FROM jsonb_array_elements(shared) AS a(t));
	RETURN NEXT;
END $$;
-- Which example is found first differs. (Version 3 needs a subtransaction, which a worker may not have before 17.)
SELECT * FROM both_ways($$SELECT jsonb_agg(p - 'examples' || jsonb_build_object('has', p ? 'examples'))
	FROM (SELECT factory.backtested_pairs('weld', ARRAY[1, 2, 4], w.*) AS pairs FROM welded AS w) AS counted, jsonb_array_elements(pairs) AS t, jsonb_array_elements(t) AS p$$);

-- The log: the same in several processes to the last example, and nothing is written.
SELECT count(factory.judge('weld', to_jsonb(w) - 'n')) FROM welded AS w WHERE n <= 1000;
ANALYZE factory.judgment_log;
SELECT * FROM both_ways($$SELECT factory.replayed_pairs('weld', 2, method_used, status, result, version, input, created_at, execution_id) -> 0
	FROM factory.judgment_log WHERE decision = 'weld'$$);
SELECT (SELECT count(*) FROM factory.judgment_log) AS judged, (SELECT count(*) FROM factory.audit_log) AS told, (SELECT count(*) FROM factory.review) AS reviews \gset
SELECT r -> 'total_samples' AS judged, r -> 'changed' AS changed, r -> 'alarms' ->> 'saved' AS saved, jsonb_array_length(r -> 'changes') AS pairs,
	(SELECT bool_and(c #>> '{examples,0,execution_id}' < c #>> '{examples,1,execution_id}'
		AND (SELECT l.input = c #> '{examples,0,input}' AND to_jsonb(l.created_at) = c #> '{examples,0,created_at}'
			FROM factory.judgment_log AS l WHERE l.execution_id = (c #>> '{examples,0,execution_id}')::uuid)) FROM jsonb_array_elements(r -> 'changes') AS c) AS examples
FROM factory.replay('weld', 2, '2026-01-15', '2026-01-16') AS r;
SELECT count(*) - :judged AS judged, (SELECT count(*) - :told FROM factory.audit_log) AS told, (SELECT count(*) - :reviews FROM factory.review) AS reviews FROM factory.judgment_log;

-- A rule that looks at the clock sees that of the day.
SELECT factory.create_decision('half_day', '{"inputs": {"n": "int"}, "rules": [{"id": "day", "when": "extract(hour FROM now()) < 12 AND n > 0", "then": {"status": "MORNING"}}], "default": {"status": "LATER"}}');
SELECT factory.save_version('half_day', definition || '{"default": {"status": "AFTERNOON"}}', 'words') FROM factory.decision_definition WHERE decision = 'half_day';
SELECT status FROM factory.judge('half_day', '{"n": 1}');
SET factory.frozen_clock = '2026-01-15 15:00:00+09';
SELECT status FROM factory.judge('half_day', '{"n": 1}');
SELECT report -> 'changed' AS changed, report #> '{changes,0,was}' AS was, report #> '{changes,0,becomes}' AS becomes FROM factory.replay('half_day', 2, '2026-01-15', '2026-01-16') AS report;
DELETE FROM factory.judgment_log WHERE decision IN ('weld', 'half_day');
DELETE FROM factory.review WHERE decision IN ('weld', 'half_day');
DROP FUNCTION compared, both_ways;
DROP TABLE welded;
