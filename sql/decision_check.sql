-- check_decision: what rules do together, before anybody is judged by them.
SET factory.frozen_clock = '2026-01-15 09:00:00+09';
\set VERBOSITY default

-- Overlaps with different outcomes, a rule behind another, a rule that never holds, a
-- gap: each with an input that shows it, and counted over the rows of a query.
CREATE TABLE reading AS
SELECT i::float8 AS celsius, CASE WHEN i % 2 = 0 THEN 'L01' ELSE 'L02' END AS line FROM generate_series(1, 60) AS i;
SELECT level, rule, message, witness, rows FROM factory.check_decision('{
  "inputs": {"celsius": {"type": "float8", "required": true}, "line": "text"},
  "rules": [
    {"id": "cold", "when": "celsius < 10", "then": {"status": "COLD"}},
    {"id": "mild", "when": "celsius >= 5 AND celsius < 20", "then": {"status": "MILD"}},
    {"id": "masked", "when": "celsius BETWEEN 6 AND 15 AND line = ''L01''", "then": {"status": "X"}},
    {"id": "never", "when": "celsius > 20 AND celsius < 10", "then": {"status": "X"}},
    {"id": "hot", "when": "celsius >= 30", "then": {"status": "HOT"}}]}', 'SELECT * FROM reading');

-- The answer to each witness is what the message says.
SELECT factory.create_decision('meetings', '{"hit_policy": "unique",
  "inputs": {"a": {"type": "int", "required": true}, "t": {"type": "text", "enum": ["r", "g", "b"], "required": true}, "d": "date", "n": "numeric"},
  "rules": [
    {"id": "one", "when": "a > 3 AND t = ''r''", "then": {"status": "X"}},
    {"id": "two", "when": "a < 10 AND t IN (''r'', ''g'') AND n > 2.5", "then": {"status": "Y"}},
    {"id": "three", "when": "a >= 10 AND d BETWEEN ''2026-01-01'' AND ''2026-03-31''", "then": {"status": "Z"}}]}');
SELECT level, rule, message, witness FROM factory.check_decision((SELECT definition FROM factory.decision_definition WHERE decision = 'meetings'));
SELECT factory.decide('meetings', witness)
FROM factory.check_decision((SELECT definition FROM factory.decision_definition WHERE decision = 'meetings')) WHERE level = 'warning' AND rule = 'two';

-- A union of rules hides one, too; NULL is left to it unless the input is required.
SELECT level, rule, message, witness FROM factory.check_decision('{"inputs": {"a": {"type": "int", "required": true}},
  "rules": [{"id": "low", "when": "a < 5", "then": {"status": "L"}}, {"id": "high", "when": "a >= 5", "then": {"status": "H"}},
            {"id": "rest", "when": "true", "then": {"status": "R"}}]}');
SELECT level, rule, message, witness FROM factory.check_decision('{"inputs": {"a": "int"},
  "rules": [{"id": "low", "when": "a < 5", "then": {"status": "L"}}, {"id": "high", "when": "a >= 5", "then": {"status": "H"}},
            {"id": "rest", "when": "true", "then": {"status": "R"}}]}');

-- What only evaluation decides is tried at a witness, or said to be open.
SELECT level, rule, message, witness FROM factory.check_decision('{"inputs": {"t": "text", "a": "int", "b": "int"},
  "rules": [{"id": "like", "when": "t LIKE ''x%'' AND a > 0", "then": {"status": "L"}}, {"id": "x1", "when": "t = ''x1''", "then": {"status": "X"}},
            {"id": "sum", "when": "a + b = 7", "then": {"status": "S"}}], "default": {"status": "NONE"}}');

-- Oddities of single conditions; and a document as the query's one column.
SELECT level, rule, message FROM factory.check_decision('{"inputs": {"t": "text", "a": "int"},
  "rules": [{"id": "r", "when": "t > ''10'' OR a / 2 > 0.5", "then": {"status": "X"}}], "default": {"status": "Y"}}') WHERE level = 'warning';
SELECT level, message, witness, rows FROM factory.check_decision('{"inputs": {"a": {"type": "int", "max": 9}}, "rules": [{"id": "r", "when": "a = 1", "then": {"status": "X"}}]}',
  'SELECT jsonb_build_object(''a'', nullif(i, 0)) FROM generate_series(0, 10) AS i') WHERE rows IS NOT NULL;
SELECT * FROM factory.check_decision('{"inputs": {"a": "int"}, "rules": []}', 'SELEKT 1');
SELECT * FROM factory.check_decision('{"inputs": {"a": "int"}, "rules": []}', 'DELETE FROM reading');
SELECT * FROM factory.check_decision('{"inputs": {"a": "int"}, "rules": []}', 'WITH gone AS (DELETE FROM reading RETURNING *) SELECT * FROM gone');

-- Against every input there is: random rules over inputs of few values.
CREATE FUNCTION pg_temp.pick(VARIADIC choices text[]) RETURNS text LANGUAGE sql VOLATILE
AS 'SELECT choices[1 + floor(random() * array_length(choices, 1))::int]';
CREATE FUNCTION pg_temp.part() RETURNS text LANGUAGE sql VOLATILE AS $$
	SELECT pg_temp.pick(
		'a ' || pg_temp.pick('<', '<=', '=', '>=', '>', '<>') || ' ' || floor(random() * 6), 'a BETWEEN 1 AND ' || floor(random() * 5),
		't ' || pg_temp.pick('=', '<>') || pg_temp.pick('''x''', '''y''', '''z'''), 't IN (''x'', ' || pg_temp.pick('''y''', '''w''') || ')',
		'o', 'NOT o', 'n ' || pg_temp.pick('<', '>=') || pg_temp.pick('0.5', '1', '2.5'), '(a = 1 OR a = ' || floor(random() * 6) || ')', 'a <> 3')
$$;
CREATE TEMP TABLE every AS SELECT a, t, o, n FROM generate_series(0, 4) AS a, unnest(ARRAY['x', 'y', 'z']) AS t, unnest(ARRAY[true, false]) AS o, unnest(ARRAY[0, 1, 2, 3]::numeric[]) AS n;
DO $$
DECLARE
	definition jsonb;
	different int := 0;
	meetings int := 0;
	hidden int := 0;
	gaps int := 0;
	n int;
	is_gap bool;
BEGIN
	PERFORM setseed(0.42);
	FOR round IN 1 .. 60 LOOP
		SELECT jsonb_build_object('inputs', '{"a": {"type": "int", "min": 0, "max": 4, "required": true}, "t": {"type": "text", "enum": ["x", "y", "z"], "required": true},
				"o": {"type": "boolean", "required": true}, "n": {"type": "numeric", "enum": [0, 1, 2, 3], "required": true}}'::jsonb,
			'rules', jsonb_agg(jsonb_build_object('id', r::text, 'then', jsonb_build_object('status', 'S' || r),
				'when', (SELECT string_agg(pg_temp.part(), ' AND ') FROM generate_series(0, floor(random() * 3)::int + r * 0)))))
		INTO definition FROM generate_series(1, 8) AS r;
		CREATE TEMP TABLE found ON COMMIT DROP AS SELECT * FROM factory.check_decision(definition);
		CREATE TEMP TABLE truth (a int, t text, o bool, n numeric, r int) ON COMMIT DROP;
		EXECUTE (SELECT string_agg(format('INSERT INTO truth SELECT *, %s FROM every WHERE %s', rule->>'id', rule->>'when'), ';')
			FROM jsonb_array_elements(definition->'rules') AS rule);
		-- Pairs that both hold somewhere.
		SELECT count(*) INTO n FROM (
			(SELECT DISTINCT format('rules "%s" and "%s" overlap with different outcomes: "%s" answers', l.r, g.r, l.r) FROM truth AS l JOIN truth AS g USING (a, t, o, n) WHERE l.r < g.r)
			EXCEPT SELECT message FROM found
			UNION ALL
			(SELECT message FROM found WHERE message LIKE '%overlap%' EXCEPT
			SELECT format('rules "%s" and "%s" overlap with different outcomes: "%s" answers', l.r, g.r, l.r) FROM truth AS l JOIN truth AS g USING (a, t, o, n) WHERE l.r < g.r)) AS x;
		different := different + n;
		meetings := meetings + (SELECT count(*) FROM found WHERE message LIKE '%overlap%');
		-- Rules that are never the first to hold.
		SELECT count(*) INTO n FROM (
			SELECT rule FROM found WHERE level = 'warning' AND rule IS NOT NULL AND message ~ 'never|masked' GROUP BY 1
			EXCEPT SELECT r::text FROM generate_series(1, 8) AS r WHERE r NOT IN (SELECT min(truth.r) FROM truth GROUP BY a, t, o, truth.n)) AS x;
		different := different + n;
		SELECT count(*) INTO n FROM (
			SELECT r::text FROM generate_series(1, 8) AS r WHERE r NOT IN (SELECT min(truth.r) FROM truth GROUP BY a, t, o, truth.n)
			EXCEPT SELECT rule FROM found WHERE level = 'warning' AND rule IS NOT NULL AND message ~ 'never|masked') AS x;
		different := different + n;
		hidden := hidden + (SELECT count(DISTINCT rule) FROM found WHERE message ~ 'never|masked');
		-- Inputs that no rule holds for, and those that witnesses show.
		is_gap := EXISTS (SELECT FROM every WHERE NOT EXISTS (SELECT FROM truth WHERE (truth.a, truth.t, truth.o, truth.n) = (every.a, every.t, every.o, every.n)));
		SELECT count(*) INTO n FROM found WHERE message LIKE 'no rule matches%';
		different := different + (is_gap <> (n > 0))::int + (SELECT count(*) FROM found JOIN truth ON found.message LIKE 'no rule matches%'
			AND coalesce((witness->>'a')::int = truth.a, true) AND coalesce(witness->>'t' = truth.t, true)
			AND coalesce((witness->>'o')::bool = truth.o, true) AND coalesce((witness->>'n')::numeric = truth.n, true));
		gaps := gaps + n;
		DROP TABLE found, truth;
	END LOOP;
	RAISE NOTICE 'findings that differ from trying every input: %; there was something to find: %', different, meetings > 300 AND hidden > 30 AND gaps > 30;
END $$;
DROP TABLE reading;
