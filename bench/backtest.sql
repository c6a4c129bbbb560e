-- backtest.sql: what bench/backtest runs before the peer. Variables: rows, log_rows, peer_rows, rules, rounds, seed, folder.
SET client_min_messages = warning;
CREATE EXTENSION pg_factory;
CREATE SCHEMA bench;
SELECT setseed(:seed) \g /dev/null

CREATE TABLE bench.part AS
SELECT i, 'LINE-' || chr(65 + floor(random() * 26)::int) AS line_code, 'P' || floor(random() * 40)::int AS product_code,
	(ARRAY['day', 'evening', 'night'])[1 + floor(random() * 3)::int] AS shift,
	round((random() * 200)::numeric, 1)::float8 AS temperature, round((random() * 10)::numeric, 2)::float8 AS pressure,
	floor(random() * 100)::int AS defect_count
FROM generate_series(1, :rows) AS i;
ANALYZE bench.part;

-- A rule names a line and limits the temperature, and half of them one, two or three of the
-- other inputs; the second version has every temperature limit five degrees higher.
CREATE TABLE bench.rule AS
SELECT version, i, line_code, products, shift, low + 5 * (version - 1) AS low, low + width + 5 * (version - 1) AS high, pressure, defects
FROM (SELECT i, 'LINE-' || chr(65 + floor(random() * 26)::int) AS line_code,
		CASE WHEN random() < 0.5 THEN ARRAY['P' || floor(random() * 40), 'P' || floor(random() * 40), 'P' || floor(random() * 40), 'P' || floor(random() * 40)] END AS products,
		CASE WHEN random() < 0.5 THEN (ARRAY['day', 'evening', 'night'])[1 + floor(random() * 3)::int] END AS shift,
		floor(random() * 180) AS low, 20 + floor(random() * 60) AS width,
		CASE WHEN random() < 0.5 THEN round((random() * 9)::numeric, 1) END AS pressure,
		CASE WHEN random() < 0.5 THEN floor(random() * 90)::int END AS defects
	FROM generate_series(1, :rules) AS i) AS drawn, generate_series(1, 2) AS version;

CREATE FUNCTION bench.definition(version int) RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_build_object('hit_policy', 'first',
		'inputs', '{"line_code": "text", "product_code": "text", "shift": "text", "temperature": "float8", "pressure": "float8", "defect_count": "integer"}'::jsonb,
		'rules', jsonb_agg(jsonb_build_object('id', i::text, 'then', jsonb_build_object('status', 'S' || i), 'when', concat_ws(' AND ',
			format('line_code = %L', line_code),
			CASE WHEN products IS NOT NULL THEN format('product_code IN (%s)', (SELECT string_agg(quote_literal(p), ', ') FROM unnest(products) AS p)) END,
			CASE WHEN shift IS NOT NULL THEN format('shift = %L', shift) END,
			format('temperature >= %s AND temperature < %s', low, high), 'pressure > ' || pressure, 'defect_count >= ' || defects)) ORDER BY i),
		'default', '{"status": "NONE"}'::jsonb)
	FROM bench.rule AS r WHERE r.version = definition.version
$$;
SELECT factory.create_decision('bench', bench.definition(1)), factory.save_version('bench', bench.definition(2), 'five degrees higher') \g /dev/null

-- A day's judgments, as the log has them.
SET factory.log = sync;
SELECT count(factory.judge_row('bench', p, need_explanation => false)) FROM bench.part AS p WHERE i <= :log_rows \g /dev/null
VACUUM ANALYZE factory.judgment_log;

\ir measuring.sql
CREATE TABLE bench.measured (name text, rate float8, wall_rate float8);
\o /dev/null
SELECT format('INSERT INTO bench.measured SELECT %L, r.* FROM bench.report_rates(%L, %s) AS r', name, statement, rows)
FROM generate_series(1, :rounds) AS round, (VALUES
	('backtest', $$SELECT factory.backtest('bench', ARRAY[1, 2], 'SELECT line_code, product_code, shift, temperature, pressure, defect_count FROM bench.part')$$, :rows),
	('replay', $$SELECT factory.replay('bench', 2, now() - interval '1 day', now() + interval '1 day')$$, least(:rows, :log_rows))) AS c(name, statement, rows)
ORDER BY round, name \gexec

\o
\t on
\pset format unaligned
SELECT json_agg(json_build_object('i', i, 'line_code', line_code, 'products', products, 'shift', shift, 'low', low, 'high', high, 'pressure', pressure, 'defects', defects) ORDER BY i)
FROM bench.rule WHERE version = 1 \g :folder/rules1.json
SELECT json_agg(json_build_object('i', i, 'line_code', line_code, 'products', products, 'shift', shift, 'low', low, 'high', high, 'pressure', pressure, 'defects', defects) ORDER BY i)
FROM bench.rule WHERE version = 2 \g :folder/rules2.json
SELECT json_agg(p ORDER BY i) FROM bench.part AS p WHERE i <= :peer_rows \g :folder/rows.json
