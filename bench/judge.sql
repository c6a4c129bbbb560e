-- judge.sql: what bench/judge runs. Variables: rows, rounds, seed.
SET client_min_messages = warning;
CREATE EXTENSION pg_factory;
SET factory.log = 'off';
CREATE SCHEMA bench;
SELECT setseed(:seed) \g /dev/null

CREATE TABLE bench.part AS
SELECT 'LINE-' || chr(65 + floor(random() * 26)::int) AS line_code, 'P' || floor(random() * 40)::int AS product_code,
       (ARRAY['day', 'evening', 'night'])[1 + floor(random() * 3)::int] AS shift,
       round((random() * 200)::numeric, 1)::float8 AS temperature, round((random() * 10)::numeric, 2)::float8 AS pressure,
       floor(random() * 100)::int AS defect_count, 100 + floor(random() * 900)::int AS production_count
FROM generate_series(1, :rows);
VACUUM ANALYZE bench.part;

-- A rule names a line, and limits two or three of the other inputs.
CREATE TABLE bench.rule AS
SELECT size, i, concat_ws(' AND ',
	'line_code = ''LINE-' || chr(65 + floor(random() * 26)::int) || '''',
	CASE WHEN random() < 0.5 THEN format('product_code IN (''P%s'', ''P%s'', ''P%s'', ''P%s'')', floor(random() * 40), floor(random() * 40), floor(random() * 40), floor(random() * 40)) END,
	CASE WHEN random() < 0.5 THEN format('shift = ''%s''', (ARRAY['day', 'evening', 'night'])[1 + floor(random() * 3)::int]) END,
	format('temperature >= %s AND temperature < %s', low, low + 20 + floor(random() * 60)),
	CASE WHEN random() < 0.5 THEN format('pressure > %s', round((random() * 9)::numeric, 1)) END,
	CASE WHEN random() < 0.5 THEN format('defect_count >= %s', floor(random() * 90)) END) AS condition
FROM unnest(ARRAY[10, 100, 1000]) AS size, generate_series(1, size) AS i, LATERAL (SELECT floor(random() * 180) + 0 * i AS low) AS limits
ORDER BY size, i;

SELECT factory.create_decision('bench_' || size, jsonb_build_object(
	'inputs', '{"line_code": "text", "product_code": "text", "shift": "text", "temperature": "float8", "pressure": "float8",
		"defect_count": "integer", "production_count": "integer"}'::jsonb,
	'rules', jsonb_agg(jsonb_build_object('id', 'r' || i, 'when', condition, 'then', jsonb_build_object('status', 'S' || i)) ORDER BY i),
	'default', '{"status": "NONE"}'::jsonb))
FROM bench.rule GROUP BY size ORDER BY size \g /dev/null

SELECT factory.create_decision_function('bench_' || size, name => 'bench.typed_' || size) FROM unnest(ARRAY[10, 100, 1000]) AS size \g /dev/null

-- What is compared: an expression over a row p of bench.part that gives the status.
CREATE TABLE bench.contender AS
SELECT size, 'CASE' AS name, format('CASE %s ELSE ''NONE'' END', string_agg(format('WHEN %s THEN ''S%s''', condition, i), ' ' ORDER BY i)) AS expression
FROM bench.rule GROUP BY size
UNION ALL
SELECT size, 'judge_row', format('(factory.judge_row(''bench_%s'', p)).status', size) FROM unnest(ARRAY[10, 100, 1000]) AS size
UNION ALL
SELECT size, 'typed function', format('bench.typed_%1$s(line_code => p.line_code, product_code => p.product_code, shift => p.shift, temperature => p.temperature, pressure => p.pressure, defect_count => p.defect_count, production_count => p.production_count)', size)
FROM unnest(ARRAY[10, 100, 1000]) AS size
UNION ALL
SELECT size, 'judge_row, unexplained', format('(factory.judge_row(''bench_%s'', p, need_explanation => false)).status', size)
FROM unnest(ARRAY[10, 100, 1000]) AS size;


-- This backend's processor time in seconds, to the nanosecond.
CREATE FUNCTION bench.processor_time() RETURNS float8 LANGUAGE sql VOLATILE AS
$$ SELECT split_part(pg_read_file('/proc/self/schedstat'), ' ', 1)::float8 / 1e9 $$;

-- Repeats the statement until it took long enough to be told from noise.
CREATE FUNCTION bench.decisions_per_second(expression text) RETURNS float8 LANGUAGE plpgsql AS $$
DECLARE
	least_seconds CONSTANT float8 := 0.4;
	begun float8 := bench.processor_time();
	taken float8 := 0;
	decided bigint := 0;
	n bigint;
BEGIN
	WHILE taken < least_seconds LOOP
		EXECUTE format('SELECT count(%s) FROM bench.part AS p', expression) INTO n;
		decided := decided + n;
		taken := bench.processor_time() - begun;
	END LOOP;
	RETURN decided / taken;
END $$;

-- Equal answers first: a faster wrong answer is no answer.
DO $$
DECLARE
	contender record;
	different bigint;
BEGIN
	FOR contender IN SELECT c.*, base.expression AS wanted FROM bench.contender AS c JOIN bench.contender AS base USING (size)
		WHERE base.name = 'CASE' AND c.name <> 'CASE' LOOP
		EXECUTE format('SELECT count(*) FROM bench.part AS p WHERE %s IS DISTINCT FROM %s', contender.wanted, contender.expression) INTO different;
		IF different > 0 THEN
			RAISE EXCEPTION '% with % rules differs from CASE in % rows', contender.name, contender.size, different;
		END IF;
	END LOOP;
END $$;

-- In turns, so that a slower minute of the machine meets all alike.
CREATE TABLE bench.measured (round int, size int, name text, rate float8);
SELECT format('INSERT INTO bench.measured SELECT %s, size, name, bench.decisions_per_second(expression) FROM bench.contender WHERE size = %s AND name = %L',
	round, size, name)
FROM generate_series(1, :rounds) AS round, bench.contender ORDER BY round, size, name \gexec

\pset footer off
SELECT size AS rules, name, round(median)::bigint AS "decisions per CPU second", round((1e9 / median)::numeric) AS "ns each",
       round((median / first_value(median) OVER (PARTITION BY size ORDER BY name <> 'CASE'))::numeric, 2) AS "times CASE"
FROM (SELECT size, name, percentile_cont(0.5) WITHIN GROUP (ORDER BY rate) AS median FROM bench.measured GROUP BY size, name) AS m
ORDER BY size, name;
