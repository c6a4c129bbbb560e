-- zen.sql: what bench/zen runs. Variables: rounds, seed, copies, folder; given where the tables are another's.
SET client_min_messages = warning;
CREATE EXTENSION pg_factory;
SET factory.log = 'off';
CREATE SCHEMA bench;
SELECT setseed(:seed) \g /dev/null

-- The numbers: where they lie, and with how many decimals.
CREATE TABLE bench.number (n int, name text, low float8, high float8, decimals int);
INSERT INTO bench.number VALUES (1, 'defect_rate', 0, 0.2, 4), (2, 'temperature', 10, 120, 2), (3, 'vibration', 0, 20, 3), (4, 'pressure', 0.5, 10, 3), (5, 'count', 0, 5000, 0);
CREATE TABLE bench.rule (id int, line text, product text, defect_rate_min float8, defect_rate_max float8, temperature_min float8, temperature_max float8,
	vibration_min float8, vibration_max float8, pressure_min float8, pressure_max float8, count_min float8, count_max float8, verdict text, severity int);
CREATE TABLE bench.part (id int, line text, product text, defect_rate float8, temperature float8, vibration float8, pressure float8, count int);

\if :{?given}
SELECT format('COPY bench.rule FROM %L (FORMAT csv, HEADER); COPY bench.part FROM %L (FORMAT csv, HEADER)', :'folder' || '/rules.csv', :'folder' || '/rows.csv') AS load \gset
:load;
\else
-- Seven of ten rules name a line, half a product; the less of both a rule names, the more numbers it limits:
-- from both sides, from below or from above, by a tenth to four tenths of where they lie.
CREATE FUNCTION bench.limits(rule int, wanted int) RETURNS jsonb LANGUAGE sql AS $$
	SELECT coalesce(jsonb_object_agg(name || side, round(bound::numeric, decimals)), '{}')
	FROM (SELECT *, (high - low) * (0.1 + 0.3 * random()) AS width, random() AS shape, random() AS at
		FROM bench.number ORDER BY random() + 0 * rule LIMIT wanted) AS n,
		LATERAL (VALUES ('_min', CASE WHEN shape < 0.6 THEN low + (high - low - width) * at WHEN shape < 0.8 THEN high - width END),
			('_max', CASE WHEN shape < 0.6 THEN low + (high - low - width) * at + width WHEN shape >= 0.8 THEN low + width END)) AS b(side, bound)
	WHERE bound IS NOT NULL
$$;
INSERT INTO bench.rule
SELECT r.* FROM (SELECT i, CASE WHEN random() < 0.7 THEN 'L' || 10 + floor(random() * 20)::int END AS line,
		CASE WHEN random() < 0.5 THEN 'P' || 10 + floor(random() * 50)::int END AS product, random() AS more,
		(ARRAY['PASS', 'INSPECT', 'REWORK', 'HOLD', 'SCRAP'])[1 + floor(random() * 5)::int] AS verdict, 1 + floor(random() * 10)::int AS severity
	FROM generate_series(1, 1000) AS i) AS k,
	jsonb_populate_record(NULL::bench.rule, jsonb_build_object('id', i, 'line', line, 'product', product, 'verdict', verdict, 'severity', severity) ||
		bench.limits(i, CASE WHEN line IS NULL AND product IS NULL THEN 5 WHEN line IS NULL THEN 2 + floor(more * 3)::int WHEN product IS NULL THEN 3 + floor(more * 2)::int ELSE 1 + floor(more * 3)::int END)) AS r;
-- Nineteen of twenty rows are made to meet a rule, any of them; one is free.  In one of twenty something is missing.
INSERT INTO bench.part
SELECT r.* FROM (SELECT i, CASE WHEN random() < 0.95 THEN 1 + floor(random() * 1000)::int END AS meets FROM generate_series(1, 10000) AS i) AS k
LEFT JOIN bench.rule AS rule ON rule.id = k.meets,
LATERAL (SELECT jsonb_object_agg(name, round((low_bound + (high_bound - low_bound) * 0.999 * random())::numeric, decimals)) AS numbers
	FROM (SELECT n.*, coalesce((to_jsonb(rule) ->> (name || '_min'))::float8, low) AS low_bound, coalesce((to_jsonb(rule) ->> (name || '_max'))::float8, high) AS high_bound
		FROM bench.number AS n WHERE i > 0) AS n) AS m,
jsonb_populate_record(NULL::bench.part, numbers || jsonb_build_object('id', i, 'line', coalesce(line, 'L' || 10 + floor(random() * 20)::int),
	'product', coalesce(product, 'P' || 10 + floor(random() * 50)::int))) AS r;
UPDATE bench.part SET line = CASE id % 60 WHEN 0 THEN NULL ELSE line END, product = CASE id % 60 WHEN 20 THEN NULL ELSE product END,
	pressure = CASE id % 60 WHEN 40 THEN NULL ELSE pressure END
WHERE id % 20 = 0;
\endif
VACUUM FULL bench.part;
ANALYZE bench.part;

-- The second version has every limit of the temperature five degrees higher.
CREATE VIEW bench.versioned AS
SELECT version, r.* FROM generate_series(1, 2) AS version, bench.rule AS rule,
	jsonb_populate_record(rule, jsonb_build_object('temperature_min', temperature_min + 5 * (version - 1), 'temperature_max', temperature_max + 5 * (version - 1))) AS r;
CREATE FUNCTION bench.condition(r bench.versioned) RETURNS text LANGUAGE sql AS $$
	SELECT concat_ws(' AND ', 'line = ' || quote_literal(r.line), 'product = ' || quote_literal(r.product),
		(SELECT string_agg(concat_ws(' AND ', name || ' >= ' || least, name || ' < ' || most), ' AND ' ORDER BY n)
		 FROM bench.number, LATERAL (SELECT to_jsonb(r) ->> (name || '_min') AS least, to_jsonb(r) ->> (name || '_max') AS most) AS b WHERE least IS NOT NULL OR most IS NOT NULL))
$$;
CREATE FUNCTION bench.definition(version int, hit_policy text) RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_build_object('hit_policy', hit_policy, 'on_null', 'no_match',
		'inputs', '{"line": "text", "product": "text", "defect_rate": "float8", "temperature": "float8", "vibration": "float8", "pressure": "float8", "count": "integer"}'::jsonb,
		'rules', jsonb_agg(jsonb_build_object('id', id::text, 'when', bench.condition(r), 'then', jsonb_build_object('status', verdict)) ORDER BY id),
		'default', '{"status": "NONE"}'::jsonb)
	FROM bench.versioned AS r WHERE r.version = definition.version
$$;
SELECT factory.create_decision('zen_' || hit_policy, bench.definition(1, hit_policy)),
	factory.create_decision_function('zen_' || hit_policy, name => 'bench.' || hit_policy, answer => 'verdict')
FROM unnest(ARRAY['first', 'collect']) AS hit_policy \g /dev/null
SELECT factory.save_version('zen_first', bench.definition(2, 'first'), 'five degrees higher') \g /dev/null

-- For the peer: bench/zen_peer.mjs.
CREATE FUNCTION bench.table_of(version int) RETURNS json LANGUAGE sql AS $$
	SELECT json_agg(json_build_object('i', id, 'status', verdict, 'cells', jsonb_build_object('line', quote_literal(line), 'product', quote_literal(product)) ||
		(SELECT jsonb_object_agg(name, CASE WHEN least IS NOT NULL AND most IS NOT NULL THEN format('[%s..%s)', least, most) WHEN least IS NOT NULL THEN '>= ' || least ELSE '< ' || most END)
		 FROM bench.number, LATERAL (SELECT to_jsonb(r) ->> (name || '_min') AS least, to_jsonb(r) ->> (name || '_max') AS most) AS b)) ORDER BY id)
	FROM bench.versioned AS r WHERE r.version = table_of.version
$$;
SELECT bench.table_of(1) \g (format=unaligned tuples_only=on) :folder/rules.json
SELECT bench.table_of(2) \g (format=unaligned tuples_only=on) :folder/rules2.json
SELECT json_agg(jsonb_set(to_jsonb(p) - 'id', '{i}', to_jsonb(id)) ORDER BY id) FROM bench.part AS p \g (format=unaligned tuples_only=on) :folder/rows.json

\ir measuring.sql
CREATE TABLE bench.contender (ours text, peer text, expression text);
INSERT INTO bench.contender VALUES
	('typed function, first: ids and outcome', 'ZEN first', 'bench.first(line => p.line, product => p.product, defect_rate => p.defect_rate, temperature => p.temperature, vibration => p.vibration, pressure => p.pressure, count => p.count)'),
	('typed function, collect: ids and outcome', 'ZEN collect', 'bench.collect(line => p.line, product => p.product, defect_rate => p.defect_rate, temperature => p.temperature, vibration => p.vibration, pressure => p.pressure, count => p.count)'),
	('judge_row, its explanation read', 'ZEN first, traced', '(factory.judge_row(''zen_first'', p)).explanation ->> ''summary''');
CREATE TABLE bench.measured (round int, ours text, rate float8);
SELECT format('INSERT INTO bench.measured SELECT %s, ours, bench.decisions_per_second(expression) FROM bench.contender WHERE ours = %L', round, ours)
FROM generate_series(1, :rounds) AS round, bench.contender ORDER BY round, ours \gexec

-- backtest() and replay() are whole reports: rows read, decided, compared and summed up; by one
-- process, and by the clock with one more beside it.
CREATE TABLE bench.many AS SELECT p.* FROM bench.part AS p, generate_series(1, :copies);
ANALYZE bench.many;
INSERT INTO bench.contender SELECT name || by_clock, peer, NULL
FROM (VALUES ('backtest() of two versions', 'ZEN first, by both'), ('replay() by the second', 'ZEN first, by the second')) AS r(name, peer), (VALUES (''), (', two processes by the clock')) AS c(by_clock);
SET factory.log = sync;
SELECT count(factory.judge_row('zen_first', p, need_explanation => false)) FROM bench.many AS p WHERE id <= 200000 / :copies + 1 \g /dev/null
SET factory.log = off;
VACUUM ANALYZE factory.judgment_log;
\o /dev/null
SELECT format('INSERT INTO bench.measured SELECT %s, v.* FROM bench.report_rates(%L, %s) AS r, LATERAL (VALUES (%L, r.rate), (%L, r.wall_rate)) AS v', round, statement, rows, name, name || ', two processes by the clock')
FROM generate_series(1, :rounds) AS round, (VALUES
	('backtest() of two versions', $$SELECT factory.backtest('zen_first', ARRAY[1, 2], 'SELECT line, product, defect_rate, temperature, vibration, pressure, count FROM bench.many')$$, (SELECT count(*) FROM bench.many)),
	('replay() by the second', $$SELECT factory.replay('zen_first', 2, now() - interval '1 day', now() + interval '1 day')$$, (SELECT count(*) FROM factory.judgment_log))) AS c(name, statement, rows)
ORDER BY round, name \gexec
\o
