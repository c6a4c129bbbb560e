-- judge.sql: what bench/judge runs. Variables: rows, rounds, seed.
SET client_min_messages = warning;
CREATE EXTENSION pg_factory;
SET factory.log = 'off';
CREATE SCHEMA bench;
SELECT setseed(:seed) \g /dev/null

CREATE TABLE bench.part AS
SELECT i, 'LINE-' || chr(65 + floor(random() * 26)::int) AS line_code, 'P' || floor(random() * 40)::int AS product_code,
       (ARRAY['day', 'evening', 'night'])[1 + floor(random() * 3)::int] AS shift,
       round((random() * 200)::numeric, 1)::float8 AS temperature, round((random() * 10)::numeric, 2)::float8 AS pressure,
       floor(random() * 100)::int AS defect_count, 100 + floor(random() * 900)::int AS production_count
FROM generate_series(1, :rows) AS i;
-- Of each row in twenty one input is missing.
UPDATE bench.part SET product_code = CASE i % 60 WHEN 0 THEN NULL ELSE product_code END, shift = CASE i % 60 WHEN 20 THEN NULL ELSE shift END,
	pressure = CASE i % 60 WHEN 40 THEN NULL ELSE pressure END
WHERE i % 20 = 0;
VACUUM FULL bench.part;
ANALYZE bench.part;

-- A rule names a line, and limits two or three of the other inputs; one of eight has, in
-- the set "residue", a part that no index knows.
CREATE TABLE bench.rule AS
SELECT size, i, 'LINE-' || chr(65 + floor(random() * 26)::int) AS line_code,
	CASE WHEN random() < 0.5 THEN ARRAY['P' || floor(random() * 40), 'P' || floor(random() * 40), 'P' || floor(random() * 40), 'P' || floor(random() * 40)] END AS products,
	CASE WHEN random() < 0.5 THEN (ARRAY['day', 'evening', 'night'])[1 + floor(random() * 3)::int] END AS shift,
	low, low + 20 + floor(random() * 60) AS high,
	CASE WHEN random() < 0.5 THEN round((random() * 9)::numeric, 1) END AS pressure,
	CASE WHEN random() < 0.5 THEN floor(random() * 90)::int END AS defects
FROM unnest(ARRAY[10, 100, 1000, 10000]) AS size, generate_series(1, size) AS i, LATERAL (SELECT floor(random() * 180) + 0 * i AS low) AS limits
ORDER BY size, i;
ALTER TABLE bench.rule ADD condition text;
UPDATE bench.rule SET condition = concat_ws(' AND ', format('line_code = %L', line_code),
	format('product_code IN (%s)', (SELECT string_agg(quote_literal(p), ', ') FROM unnest(products) AS p)), format('shift = %L', shift),
	format('temperature >= %s AND temperature < %s', low, high), 'pressure > ' || pressure, 'defect_count >= ' || defects);
UPDATE bench.rule SET condition = replace(replace(condition, 'product_code IN () AND ', ''), 'shift = NULL AND ', '');

CREATE FUNCTION bench.make(name text, size int, hit_policy text, residue boolean) RETURNS void LANGUAGE sql AS $$
	SELECT factory.create_decision(name, jsonb_build_object('hit_policy', hit_policy, 'on_null', 'no_match',
		'inputs', '{"line_code": "text", "product_code": "text", "shift": "text", "temperature": "float8", "pressure": "float8",
			"defect_count": "integer", "production_count": "integer"}'::jsonb,
		'rules', jsonb_agg(jsonb_build_object('id', i::text, 'when', condition || CASE WHEN residue AND i % 8 = 0 THEN ' AND (production_count % 3 > 0 OR shift LIKE ''n%'')' ELSE '' END,
			'then', jsonb_build_object('status', 'S' || i)) ORDER BY i),
		'default', '{"status": "NONE"}'::jsonb))
	FROM bench.rule AS r WHERE r.size = make.size
$$;
SELECT bench.make('bench_' || size, size, 'first', false) FROM unnest(ARRAY[10, 100, 1000, 10000]) AS size \g /dev/null
SELECT bench.make('bench_collect', 1000, 'collect', false), bench.make('bench_residue', 1000, 'first', true) \g /dev/null

SELECT factory.create_decision_function('bench_' || size, name => 'bench.typed_' || size) FROM unnest(ARRAY[10, 100, 1000, 10000]) AS size \g /dev/null
SELECT factory.create_decision_function('bench_residue', name => 'bench.typed_residue'),
	factory.create_decision_function('bench_1000', name => 'bench.verdict_first', answer => 'verdict'),
	factory.create_decision_function('bench_collect', name => 'bench.verdict_collect', answer => 'verdict') \g /dev/null

-- What is compared: an expression over a row p of bench.part that gives the status.
CREATE TABLE bench.contender AS
SELECT size, 'CASE' AS name, format('CASE %s ELSE ''NONE'' END', string_agg(format('WHEN %s THEN ''S%s''', condition, i), ' ' ORDER BY i)) AS expression
FROM bench.rule WHERE size <= 1000 GROUP BY size
UNION ALL
SELECT size, 'judge_row', format('(factory.judge_row(''bench_%s'', p)).status', size) FROM unnest(ARRAY[10, 100, 1000]) AS size
UNION ALL
SELECT size, 'typed function', format('bench.typed_%1$s(line_code => p.line_code, product_code => p.product_code, shift => p.shift, temperature => p.temperature, pressure => p.pressure, defect_count => p.defect_count, production_count => p.production_count)', size)
FROM unnest(ARRAY[10, 100, 1000, 10000]) AS size
UNION ALL
SELECT size, 'judge_row, unexplained', format('(factory.judge_row(''bench_%s'', p, need_explanation => false)).status', size)
FROM unnest(ARRAY[10, 100, 1000]) AS size
UNION ALL
SELECT 1000, 'judge_row, explanation read', '(factory.judge_row(''bench_1000'', p)).explanation->>''summary'''
UNION ALL
SELECT 1000, 'typed, ' || kind, format('bench.%s(line_code => p.line_code, product_code => p.product_code, shift => p.shift, temperature => p.temperature, pressure => p.pressure, defect_count => p.defect_count, production_count => p.production_count)', name)
FROM (VALUES ('12 % residue', 'typed_residue'), ('first: ids and outcome', 'verdict_first'), ('collect: ids and outcome', 'verdict_collect')) AS k(kind, name);

\ir measuring.sql

-- Equal answers first: a faster wrong answer is no answer.
DO $$
DECLARE
	contender record;
	different bigint;
BEGIN
	FOR contender IN SELECT c.*, base.expression AS wanted FROM bench.contender AS c JOIN bench.contender AS base USING (size)
		WHERE base.name = 'CASE' AND c.name IN ('judge_row', 'judge_row, unexplained', 'typed function') LOOP
		EXECUTE format('SELECT count(*) FROM bench.part AS p WHERE %s IS DISTINCT FROM %s', contender.wanted, contender.expression) INTO different;
		IF different > 0 THEN
			RAISE EXCEPTION '% with % rules differs from CASE in % rows', contender.name, contender.size, different;
		END IF;
	END LOOP;
END $$;

-- What CASE cannot say: with the index and without it, on a few rows.
CREATE FUNCTION bench.answers(decision text) RETURNS text LANGUAGE sql AS
$$ SELECT md5(string_agg(j.matched_rules::text || j.status, ',' ORDER BY p.i)) FROM bench.part AS p, factory.judge_row(decision, p) AS j WHERE p.i <= 500 $$;
CREATE TABLE bench.answered AS SELECT name, bench.answers(name) AS indexed FROM unnest(ARRAY['bench_10000', 'bench_residue', 'bench_collect']) AS name;
SET factory.enable_rule_index = off;
DO $$
BEGIN
	IF EXISTS (SELECT FROM bench.answered WHERE indexed IS DISTINCT FROM bench.answers(name)) THEN
		RAISE EXCEPTION 'the index changes an answer';
	END IF;
END $$;
RESET factory.enable_rule_index;

-- In turns, so that a slower minute of the machine meets all alike.
CREATE TABLE bench.measured (round int, size int, name text, rate float8);
SELECT format('INSERT INTO bench.measured SELECT %s, size, name, bench.decisions_per_second(expression) FROM bench.contender WHERE size = %s AND name = %L',
	round, size, name)
FROM generate_series(1, :rounds) AS round, bench.contender ORDER BY round, size, name \gexec

\pset footer off
SELECT size AS rules, name, round(median)::bigint AS "decisions per CPU second", round((1e9 / median)::numeric) AS "ns each",
       round(times::numeric, 2) AS "times CASE of its round"
FROM (SELECT m.size, m.name, percentile_cont(0.5) WITHIN GROUP (ORDER BY m.rate) AS median,
             percentile_cont(0.5) WITHIN GROUP (ORDER BY m.rate / base.rate) AS times
      FROM bench.measured AS m LEFT JOIN bench.measured AS base ON (base.round, base.size, base.name) = (m.round, m.size, 'CASE')
      GROUP BY m.size, m.name) AS m
ORDER BY size, name;

-- What check_decision() takes for 7 inputs: all pairs of rules, hidden rules, gaps, each with a witness.
CREATE FUNCTION bench.check_definition(decision text, OUT findings bigint, OUT taken float8) LANGUAGE plpgsql AS $$
DECLARE
	begun float8 := bench.processor_time();
BEGIN
	SELECT count(*) INTO findings FROM factory.check_decision((SELECT d.definition FROM factory.decision_definition AS d WHERE d.decision = check_definition.decision));
	taken := bench.processor_time() - begun;
END $$;
SELECT size AS rules, findings AS "check_decision: findings", round((taken * 1000)::numeric) AS "CPU ms"
FROM unnest(ARRAY[10, 100, 1000]) AS size, bench.check_definition('bench_' || size) ORDER BY size;

-- For the peer: bench/zen_peer.mjs.
\if :{?folder}
SELECT json_agg(json_build_object('i', i, 'line_code', line_code, 'products', products, 'shift', shift, 'low', low, 'high', high, 'pressure', pressure, 'defects', defects) ORDER BY i) AS rules
FROM bench.rule WHERE size = 1000 \g (format=unaligned tuples_only=on) :folder/rules.json
SELECT json_agg(json_build_object('i', i, 'line_code', line_code, 'product_code', product_code, 'shift', shift, 'temperature', temperature, 'pressure', pressure, 'defect_count', defect_count) ORDER BY i)
FROM bench.part WHERE i <= 4000 \g (format=unaligned tuples_only=on) :folder/rows.json
\endif
