-- The rule index changes how fast an answer comes, never the answer: random decisions
-- over random inputs, judged with the index, without it, by plain SQL, as JSON, and by
-- functions with typed arguments. scripts/soak runs it for a million answers:
-- PGOPTIONS='-c rule_index.rounds=4000 -c rule_index.seed=0.1'.
SET factory.frozen_clock = '2026-01-15 09:00:00+09';
SET timezone = 'UTC';
CREATE TYPE mood AS ENUM ('calm', 'busy', 'down');
CREATE TEMP TABLE input (row_number int, f float8, g float4, i int, b bigint, s smallint, t text, c varchar, o boolean, d date, z timestamptz,
	n numeric, h char(2), u uuid, w interval, e mood);

CREATE FUNCTION pg_temp.pick(VARIADIC choices text[]) RETURNS text LANGUAGE sql VOLATILE
AS 'SELECT choices[1 + floor(random() * array_length(choices, 1))::int]';

-- One part of a condition: most are tests, some are not, some can raise.
CREATE FUNCTION pg_temp.part(may_raise boolean) RETURNS text LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	compare text := pg_temp.pick('<', '<=', '=', '>=', '>', '<>');
	number text := (floor(random() * 9) - 4)::text;
	float text := pg_temp.pick('-0.0', '0', '0.5', '''NaN''', '''Infinity''', '''-Infinity''', '1e-300', '-2.5');
	decimal text := pg_temp.pick('0.1', '0.10', '-7', '2.5', '1e20', '0.1000000000000000000001', '''NaN''::numeric', '100000000000000000001', '''Infinity''::numeric');
	letter text := pg_temp.pick('''a''', '''b''', '''ab''', '''''', '''가''');
BEGIN
	CASE floor(random() * 34)::int
		WHEN 0, 1 THEN RETURN format('f %s %s', compare, float);
		WHEN 2 THEN RETURN format('%s %s f', number, compare);
		WHEN 3 THEN RETURN format('g %s %s::float8', compare, float);
		WHEN 4, 5 THEN RETURN format('i %s %s', compare, number);
		WHEN 6 THEN RETURN format('b %s %s', compare, pg_temp.pick(number, '9223372036854775807', '-9223372036854775808'));
		WHEN 7 THEN RETURN format('s %s %s', compare, number);
		WHEN 8, 9 THEN RETURN format('t %s %s', pg_temp.pick('=', '<>', '<', '>='), letter);
		WHEN 10 THEN RETURN format('t IN (%s, ''b'', %s)', letter, pg_temp.pick('''a''', 'NULL', '''x'''));
		WHEN 11 THEN RETURN format('c = %s', letter);
		WHEN 12 THEN RETURN format('i IN (%s, 1, 2)', number);
		WHEN 13 THEN RETURN format('i NOT IN (%s, 1)', number);
		WHEN 14 THEN RETURN pg_temp.pick('o', 'NOT o', 'o IS TRUE', 'o IS NOT FALSE', 'o = true');
		WHEN 15 THEN RETURN format('%s IS %s NULL', pg_temp.pick('f', 'i', 't', 'o', 'd'), pg_temp.pick('', 'NOT'));
		WHEN 16 THEN RETURN format('d %s ''2026-01-%s''', compare, lpad((10 + random() * 9)::int::text, 2, '0'));
		WHEN 17 THEN RETURN format('z %s ''2026-01-15 0%s:00+00''', compare, floor(random() * 9));
		WHEN 18 THEN RETURN format('f BETWEEN %s AND %s', number, float);
		WHEN 19 THEN RETURN format('(i %s %s OR t = %s)', compare, number, letter);
		WHEN 20 THEN RETURN format('%s %s %s', CASE WHEN may_raise THEN '10.0 / i' ELSE 'i - s' END, compare, number);
		WHEN 21, 22, 23 THEN RETURN format('n %s %s', compare, decimal);
		WHEN 24 THEN RETURN format('n %s (%s, %s, 3)', pg_temp.pick('IN', 'NOT IN'), decimal, number);
		WHEN 25 THEN RETURN format('i %s %s', compare, pg_temp.pick('2.5', '-0.5', '1e30', '2.0', '0.5::float8', '2::float8', '''NaN''::numeric'));
		WHEN 26 THEN RETURN format('(t %s %s OR t IS NULL OR t > %s)', compare, letter, letter);
		WHEN 27 THEN RETURN format('NOT (i %s %s OR i = %s)', compare, number, number);
		WHEN 28 THEN RETURN format('(f BETWEEN -3 AND %s OR f = ''NaN'') IS %s', number, pg_temp.pick('TRUE', 'NOT TRUE', 'FALSE', 'NOT FALSE', 'UNKNOWN'));
		WHEN 29 THEN RETURN format('%s IS %s DISTINCT FROM %s', pg_temp.pick('i', 'b', 'n', 's'), pg_temp.pick('', 'NOT'), number);
		WHEN 30 THEN RETURN format('e IN (''calm'', %s)', pg_temp.pick('''down''', '''busy'''));
		WHEN 31 THEN RETURN pg_temp.pick(format('h %s ''a''', compare), format('u %s ''00000000-0000-0000-0000-000000000002''', compare), format('w %s ''1 day''', compare), format('w %s ''24:00''', compare));
		WHEN 32 THEN RETURN format('e %s ''busy''', compare);
		ELSE RETURN format('i + s %s %s', compare, number);
	END CASE;
END $$;

-- One of those that leave a version its image: no order of texts, no enum.
CREATE FUNCTION pg_temp.settled_part(may_raise boolean) RETURNS text LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	part text;
BEGIN
	LOOP
		part := pg_temp.part(may_raise);
		EXIT WHEN part !~ '\mt [<>]|\m[eh] ([<=>]|IN)';
	END LOOP;
	RETURN part;
END $$;

CREATE FUNCTION pg_temp.random_decision(rules int, hit_policy text, may_raise boolean, settled boolean) RETURNS jsonb LANGUAGE sql VOLATILE AS $$
	SELECT jsonb_build_object('hit_policy', hit_policy,
		'inputs', '{"f": "float8", "g": "float4", "i": "int", "b": "bigint", "s": "smallint", "t": "text", "c": "varchar", "o": "boolean", "d": "date", "z": "timestamptz",
			"n": "numeric", "h": "char(2)", "u": "uuid", "w": "interval", "e": "public.mood"}'::jsonb,
		'on_null', pg_temp.pick('unknown', 'no_match'),
		'default', '{"status": "NONE"}'::jsonb,
		'rules', jsonb_agg(jsonb_build_object('id', 'r' || r, 'then', jsonb_build_object('status', 'S' || r),
			'when', (SELECT string_agg(CASE WHEN settled THEN pg_temp.settled_part(may_raise) ELSE pg_temp.part(may_raise) END, ' AND ') FROM generate_series(0, floor(random() * 4)::int + r * 0)))))
	FROM generate_series(1, rules) AS r
$$;

CREATE FUNCTION pg_temp.random_inputs(count int) RETURNS void LANGUAGE sql VOLATILE AS $$
	TRUNCATE input;
	INSERT INTO input SELECT row_number,
		pg_temp.pick('-4', '-2.5', '-0', '0', '1e-300', '0.5', '3', 'NaN', 'Infinity', '-Infinity', NULL)::float8,
		pg_temp.pick('-2.5', '-0', '0', '0.5', 'NaN', 'Infinity', NULL)::float4,
		pg_temp.pick('-4', '-1', '0', '1', '2', '4', NULL)::int,
		pg_temp.pick('-4', '0', '3', '9223372036854775807', '-9223372036854775808', NULL)::bigint,
		pg_temp.pick('-3', '0', '2', NULL)::smallint,
		pg_temp.pick('a', 'b', 'ab', '', '가', 'z', NULL), pg_temp.pick('a', 'b', 'q', NULL),
		pg_temp.pick('t', 'f', NULL)::boolean,
		pg_temp.pick('2026-01-12', '2026-01-15', '2026-01-19', 'infinity', NULL)::date,
		pg_temp.pick('2026-01-15 03:00+00', '2026-01-15 08:30+00', '-infinity', NULL)::timestamptz,
		pg_temp.pick('-7', '0.1', '0.1000000000000000000001', '0.09999999999999999999999', '100000000000000000000', '100000000000000000001', '2.50', 'NaN', 'Infinity', NULL)::numeric,
		pg_temp.pick('a', 'a ', 'b', NULL)::char(2),
		pg_temp.pick('00000000-0000-0000-0000-000000000001', '00000000-0000-0000-0000-000000000002', 'ffffffff-0000-0000-0000-000000000001', NULL)::uuid,
		pg_temp.pick('1 day', '24:00', '23:59', '-1 day', NULL)::interval,
		pg_temp.pick('calm', 'busy', 'down', NULL)::mood
	FROM generate_series(1, count) AS row_number
$$;

CREATE FUNCTION pg_temp.answers(decision text, indexed boolean) RETURNS TABLE (row_number int, answer text) LANGUAGE plpgsql VOLATILE AS $$
BEGIN
	PERFORM set_config('factory.enable_rule_index', indexed::text, true);
	RETURN QUERY SELECT input.row_number, concat_ws(' ', j.result, j.status, j.matched_rules::text, j.explanation->>'reasoning', j.components->>'rules_evaluated')
	FROM input, factory.judge_row(decision, input) AS j;
END $$;

-- What SQL says of each rule: true, false, or NULL for undecided; first true wins.
CREATE FUNCTION pg_temp.by_sql(definition jsonb) RETURNS TABLE (row_number int, hits text) LANGUAGE plpgsql VOLATILE AS $$
BEGIN
	RETURN QUERY EXECUTE format('SELECT row_number, array_to_string(ARRAY[%s], '''') FROM input',
		(SELECT string_agg(format('CASE WHEN %s THEN %L END', rule->>'when', rule->>'id' || ' '), ', ' ORDER BY number)
		 FROM jsonb_array_elements(definition->'rules') WITH ORDINALITY AS r(rule, number)));
END $$;

-- Whether a row can be said in JSON: NaN and infinity cannot.
CREATE FUNCTION pg_temp.is_json(i input) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
	SELECT to_jsonb(i)::text !~ 'NaN|nfinity'
$$;

-- Rows whose rules differ from judge_row()'s: as JSON, and by a typed function.
CREATE FUNCTION pg_temp.differs_elsewhere(decision text) RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	typed regprocedure := factory.create_decision_function(decision, name => 'pg_temp.typed', answer => 'rules');
	differing bigint;
BEGIN
	EXECUTE format('SELECT count(*) FROM input AS sample, factory.judge_row(%L, sample) AS j WHERE j.matched_rules IS DISTINCT FROM pg_temp.typed(%s)
			OR pg_temp.is_json(sample) AND j.matched_rules IS DISTINCT FROM (factory.decide(%L, to_jsonb(sample) - ''row_number'')).matched_rules',
		decision, (SELECT string_agg(format('%1$I => sample.%1$I', argument), ', ') FROM unnest((SELECT proargnames FROM pg_proc WHERE oid = typed)) AS argument), decision)
	INTO differing;
	EXECUTE 'DROP FUNCTION ' || typed;
	RETURN differing;
END $$;

SET factory.log = off;
DO $$
DECLARE
	rounds int := coalesce(current_setting('rule_index.rounds', true), '80');
	definition jsonb;
	name text;
	compared int := 0;
	with_hits int := 0;
	different int := 0;
	elsewhere int := 0;
	wrong int := 0;
	from_image int;
	n int;
	m int;
BEGIN
	PERFORM setseed(coalesce(current_setting('rule_index.seed', true), '0.42')::float8);
	FOR round IN 1 .. rounds LOOP
		name := 'index_' || round;
		definition := pg_temp.random_decision(5 + round % 41 * 3, CASE WHEN round % 4 = 0 THEN 'first' ELSE 'collect' END, round % 2 = 0, round % 3 = 0);
		PERFORM factory.create_decision(name, definition);
		PERFORM pg_temp.random_inputs(250);
		SELECT count(*), count(*) FILTER (WHERE on_answer.answer IS DISTINCT FROM off_answer.answer)
		INTO n, m FROM pg_temp.answers(name, true) AS on_answer JOIN pg_temp.answers(name, false) AS off_answer USING (row_number);
		compared := compared + n;
		different := different + m;
		SET LOCAL factory.enable_rule_index = on;
		elsewhere := elsewhere + pg_temp.differs_elsewhere(name);
		-- Plain SQL cannot go on after a division by zero: compare where none divides.
		CONTINUE WHEN round % 2 = 0;
		SELECT count(*) FILTER (WHERE hits <> ''), count(*) FILTER (WHERE hits <> coalesce((
			SELECT string_agg(r, ' ' ORDER BY number) || ' ' FROM unnest(j.matched_rules) WITH ORDINALITY AS x(r, number)), ''))
		INTO n, m FROM pg_temp.by_sql(definition) JOIN input USING (row_number), factory.judge_row(name, input) AS j;
		with_hits := with_hits + n;
		wrong := wrong + m;
	END LOOP;
	RAISE NOTICE '% answers compared with and without the index, % differ', compared, different;
	RAISE NOTICE 'as JSON and by typed functions % differ', elsewhere;
	SELECT count(*) INTO from_image FROM factory.decision_memory AS d WHERE d.from_image;
	RAISE NOTICE 'at least a tenth of the indexes were read from images: %', from_image * 10 >= rounds;
	RAISE NOTICE 'plain SQL agrees: %, and there was something to agree on: %', wrong = 0, with_hits > 500;
END $$;

-- More bounds than a column may have segments: those are coarse, the answers are not.
SELECT factory.create_decision('index_coarse', jsonb_build_object('hit_policy', 'collect', 'inputs', '{"f": "float8", "n": "numeric"}'::jsonb,
	'rules', jsonb_agg(jsonb_build_object('id', r::text, 'then', '{"status": "S"}'::jsonb,
		'when', format('f >= %s AND f < %s AND n <> %s', r * 0.37 - 300, r * 0.37 - 299.1, r)))))
FROM generate_series(1, 4000) AS r;
SELECT count(*) AS compared, count(*) FILTER (WHERE cardinality(j.matched_rules) > 0) AS with_hits,
	count(*) FILTER (WHERE j.matched_rules IS DISTINCT FROM coalesce((
		SELECT array_agg(r::text ORDER BY r) FROM generate_series(1, 4000) AS r
		WHERE f >= (r * 0.37 - 300)::float8 AND f < (r * 0.37 - 299.1)::float8 AND n <> r), '{}')) AS different
FROM (SELECT (i * 0.185 - 300)::float8 AS f, (i / 2)::numeric AS n FROM generate_series(1, 8000, 40) AS i) AS x,
	factory.judge_row('index_coarse', x) AS j;
RESET factory.log;
SELECT rules, rules_read < rules AS lazy, from_image, index_bytes <= 10 * 1024 * 1024 AS bounded, memory_bytes > index_bytes AS all_of_it
FROM factory.decision_memory WHERE decision = 'index_coarse';

-- An image that is damaged, cut short or of other software is left alone; answers are the same.
SELECT factory.create_decision('index_image', jsonb_build_object('inputs', '{"i": "int", "t": "text", "d": "date", "n": "numeric"}'::jsonb, 'default', '{"status": "NONE"}'::jsonb,
	'rules', jsonb_agg(jsonb_build_object('id', 'r' || r, 'then', jsonb_build_object('status', 'S' || r), 'because', 'i is {i}',
		'when', format('i = %s AND t IN (''a'', ''word %s of more than sixteen bytes'') AND d > ''2026-01-0%s'' AND n <= %s.5', r, r, 1 + r % 9, r)))))
FROM generate_series(1, 40) AS r;
-- What is the same lies the same, byte for byte: nothing of the session's memory is in it.
SELECT count(*) AS findings FROM factory.decision_version, factory.check_decision(replace(definition::text, 'word', repeat('other word', 99))::jsonb) WHERE decision = 'index_image';
SELECT factory.create_decision('index_image_again', definition) FROM factory.decision_version WHERE decision = 'index_image';
SELECT count(*), count(DISTINCT image) AS images FROM factory.rule_index WHERE decision LIKE 'index_image%';
CREATE TABLE sound_image AS SELECT image FROM factory.rule_index WHERE decision = 'index_image';
CREATE VIEW judged AS SELECT string_agg(j.status || coalesce(' ' || (j.explanation->'nearest_miss'->>'rule'), ''), ', ' ORDER BY i) AS statuses
FROM generate_series(0, 41, 7) AS i,
	factory.decide('index_image', jsonb_build_object('i', i, 't', format('word %s of more than sixteen bytes', i), 'd', '2026-02-01', 'n', i)) AS j;
SELECT * FROM judged;
SELECT from_image, rules_read FROM factory.decision_memory WHERE decision = 'index_image';
UPDATE factory.rule_index SET image = set_byte(image, 3000, get_byte(image, 3000) # 255) WHERE decision = 'index_image';
\c -
SELECT * FROM judged;
SELECT from_image, rules_read FROM factory.decision_memory WHERE decision = 'index_image';
UPDATE factory.rule_index SET image = (SELECT substr(s.image, 1, 900) FROM sound_image AS s) WHERE decision = 'index_image';
\c -
SELECT * FROM judged;
SELECT from_image, rules_read FROM factory.decision_memory WHERE decision = 'index_image';
-- The format's number is the second of the header.
UPDATE factory.rule_index SET image = (SELECT set_byte(s.image, 8, 99) FROM sound_image AS s) WHERE decision = 'index_image';
\c -
SELECT * FROM judged;
SELECT from_image, rules_read FROM factory.decision_memory WHERE decision = 'index_image';
UPDATE factory.rule_index SET image = '' WHERE decision = 'index_image';
\c -
SELECT * FROM judged;
UPDATE factory.rule_index SET image = (SELECT s.image FROM sound_image AS s) WHERE decision = 'index_image';
\c -
SELECT * FROM judged;
SELECT from_image, rules_read FROM factory.decision_memory WHERE decision = 'index_image';
-- Constants that are dates were read with settings: with others they are read again.
\c -
SET datestyle = 'ISO, DMY';
SELECT * FROM judged;
SELECT from_image FROM factory.decision_memory WHERE decision = 'index_image';
-- No memory for bitmaps: coarse segments, the same answers.
\c -
SET factory.rule_index_memory = '64kB';
SELECT count(*) FILTER (WHERE cardinality(j.matched_rules) > 0) AS with_hits, count(*) FILTER (WHERE j.matched_rules IS DISTINCT FROM coalesce((
		SELECT array_agg(r::text ORDER BY r) FROM generate_series(1, 4000) AS r
		WHERE f >= (r * 0.37 - 300)::float8 AND f < (r * 0.37 - 299.1)::float8 AND n <> r), '{}')) AS different
FROM (SELECT (i * 0.185 - 300)::float8 AS f, (i / 2)::numeric AS n FROM generate_series(1, 8000, 400) AS i) AS x,
	factory.judge_row('index_coarse', x) AS j;
SELECT from_image, index_bytes < 800 * 1024 AS bounded FROM factory.decision_memory WHERE decision = 'index_coarse';
-- A session that judges on and on takes no more memory: in one statement, in one transaction, and over many.
-- scripts/soak runs it for a million: PGOPTIONS='-c rule_index.judgments=1000000'.
\c -
SET factory.log = off;
CREATE FUNCTION pg_temp.memory_used() RETURNS bigint LANGUAGE sql VOLATILE AS 'SELECT sum(used_bytes)::bigint FROM pg_backend_memory_contexts';
CREATE FUNCTION pg_temp.judge_some(count int) RETURNS bigint LANGUAGE sql VOLATILE AS $$
	SELECT count((factory.judge('index_image', jsonb_build_object('i', i % 42, 't', format('word %s of more than sixteen bytes', i % 50), 'd', '2026-02-01', 'n', i % 60))).status)
	FROM generate_series(1, count) AS i
$$;
CREATE PROCEDURE pg_temp.judge_many_times(times int, count int, commits boolean) LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1 .. times LOOP
		PERFORM pg_temp.judge_some(count);
		IF commits THEN
			COMMIT;
		END IF;
	END LOOP;
END $$;
SELECT coalesce(current_setting('rule_index.judgments', true), '20000')::int AS judgments \gset
CALL pg_temp.judge_many_times(20, 50, true);
CALL pg_temp.judge_many_times(20, 50, false);
SELECT pg_temp.judge_some(1000) FROM generate_series(1, 2);
SELECT pg_temp.memory_used() AS before \gset
SELECT pg_temp.judge_some(:judgments / 2) = :judgments / 2 AS in_one_statement;
CALL pg_temp.judge_many_times(:judgments / 200, 50, false);
CALL pg_temp.judge_many_times(:judgments / 200, 50, true);
SELECT pg_temp.memory_used() - :before < 65536 AS no_growth;
DROP VIEW judged;
DROP TABLE sound_image;
