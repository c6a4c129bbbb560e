-- Explanations: what nearly was and what would flip it, in English and Korean; and the
-- time that conditions may take.
SET factory.frozen_clock = '2026-01-15 09:00:00+09';
\set VERBOSITY default
SELECT factory.create_decision('why_' || language, jsonb_build_object('language', language,
  'inputs', '{"line": "text", "celsius": "float8", "pieces": "int"}'::jsonb,
  'rules', '[{"id": "hot", "when": "celsius > 70 AND line = ''L01''", "then": {"status": "HOT"}},
             {"id": "warm", "when": "celsius >= 50.5", "then": {"status": "WARM"}},
             {"id": "many", "when": "pieces BETWEEN 10 AND 20", "then": {"status": "MANY"}}]'::jsonb,
  'default', '{"status": "NORMAL"}'::jsonb)) FROM unnest(ARRAY['en', 'ko']) AS language;
SELECT j.status, j.explanation->'reasoning' AS reasoning, j.explanation->'nearest_miss' AS nearest_miss, j.explanation->'flips' AS flips
FROM (VALUES (1, '{"line": "L01", "celsius": 60, "pieces": 5}'::jsonb), (2, '{"line": "L02", "celsius": 80, "pieces": 5}'), (3, '{"line": "L01", "celsius": 20, "pieces": 9}')) AS v(n, input),
  factory.judge('why_en', input) AS j ORDER BY n \gx
-- What the explanation promises is so.
SELECT status FROM factory.judge('why_en', '{"line": "L01", "celsius": 70.5, "pieces": 5}');
SELECT language, j.explanation->'reasoning' AS reasoning, j.explanation->'undecided' AS undecided
FROM unnest(ARRAY['en', 'ko']) AS language, (VALUES (1, '{"line": "L01", "celsius": 60}'::jsonb), (2, '{"line": "L01", "pieces": 1}'), (3, '{"line": "L02", "celsius": 1, "pieces": 1}')) AS v(n, input),
  factory.judge('why_' || language, input) AS j ORDER BY language, n;

-- A regular expression that would go on for years is ended, and says which rule it was.
SET factory.judgment_time_limit = '300ms';
SELECT factory.create_decision('slow', '{"inputs": {"t": "text"}, "rules": [{"id": "greedy", "when": "t ~ ''^(a+)(a+)(a+)(a+)(a+)(a+)\\1\\2\\3\\4\\5\\6b$''", "then": {"status": "X"}}], "default": {"status": "Y"}}');
SELECT factory.judge('slow', jsonb_build_object('t', repeat('a', 101) || 'b'));
SELECT status FROM factory.judge('slow', '{"t": "xx"}');
-- Planning folds what is constant: that is bounded, too, and nothing is left behind.
SELECT count(*) AS errors FROM factory.check_decision(jsonb_build_object('inputs', '{"t": "text"}'::jsonb, 'rules', jsonb_build_array(jsonb_build_object(
  'id', 'greedy', 'when', format('%L ~ %L', repeat('a', 101) || 'b', '^(a+)(a+)(a+)(a+)(a+)(a+)\1\2\3\4\5\6b$'), 'then', '{"status": "X"}'::jsonb)))) WHERE level = 'error';
RESET factory.judgment_time_limit;

-- Numbers are said as the server's own cast says them, whatever their digits are.
SELECT factory.create_decision('number', '{"inputs": {"f": "float8"}, "rules": [{"id": "r", "when": "f > 0", "then": {"status": "P"}, "because": "{f}"}], "default": {"status": "N", "because": "{f}"}}');
SELECT f, j.explanation->'evidence'->>'f' AS evidence, j.explanation->>'summary' AS text
FROM unnest('{0,-0,1,-1.5,0.05,0.1,0.30000000000000004,123456,1234567,999999.5,0.0001,0.00001234,1e15,1e22,1e-20,9007199254740993,3.141592653589793,100000,0.5000001}'::float8[]) WITH ORDINALITY AS v(f, n),
	factory.decide('number', jsonb_build_object('f', f)) AS j ORDER BY n;
SELECT setseed(0.42) \g /dev/null
SELECT count(*) AS numbers, count(*) FILTER (WHERE (j.explanation->'evidence'->>'f') IS DISTINCT FROM f::numeric::text) AS different
FROM (SELECT CASE i % 3 WHEN 0 THEN round((random() * 10 ^ (i % 7))::numeric, i % 8) WHEN 1 THEN (random() * 10 ^ (i % 40 - 20))::numeric ELSE (i / 64.0)::numeric END::float8 AS f
	FROM generate_series(1, 3000) AS i) AS v, factory.decide('number', jsonb_build_object('f', f)) AS j;

-- Texts that are said again and again are made once, but not where a setting writes them; and an
-- explanation lies as the server would store it, byte for byte.
SELECT factory.create_decision('why_day', '{"inputs": {"d": "date", "n": "numeric", "t": "text", "i": "int"}, "default": {"status": "NORMAL"},
  "rules": [{"id": "late", "when": "d >= ''2026-03-02'' AND i IN (1, 5, 9)", "then": {"status": "LATE"}}, {"id": "much", "when": "n > 12.50 AND t IN (''a'', ''b'', ''c'', ''d'')", "then": {"status": "MUCH"}},
            {"id": "none", "when": "i IS NULL", "then": {"status": "NONE"}}]}');
CREATE VIEW why_day AS SELECT n, j.explanation->'nearest_miss' AS nearest_miss, j.explanation->'flips' AS flips
FROM (VALUES (1, '{"d": "2026-03-01", "i": 5, "n": 1, "t": "x"}'::jsonb), (2, '{"d": "2026-03-02", "i": 3, "n": 13, "t": "가"}')) AS v(n, input), factory.judge('why_day', input) AS j;
SELECT * FROM why_day ORDER BY n \gx
SET datestyle = 'German';
SELECT * FROM why_day ORDER BY n \gx
RESET datestyle;
SELECT count(*) AS explanations, count(*) FILTER (WHERE pg_column_size(e) <> pg_column_size(e::text::jsonb) OR e <> e::text::jsonb) AS different
FROM generate_series(0, 5) AS i, unnest('{0,12.5,12.51,-3e-7,123456789012}'::numeric[]) AS n, unnest('{a,d,"",x,한국어}'::text[]) AS t, unnest('{2026-03-01,2026-03-02,infinity}'::date[]) AS d,
  LATERAL (SELECT explanation AS e FROM factory.judge('why_day', jsonb_strip_nulls(jsonb_build_object('i', nullif(i, 4), 'n', n, 't', t, 'd', d)))) AS j;
DROP VIEW why_day;

-- Of random rules: each flip is the nearest value, of that column alone, by which another rule
-- answers, and none is missing; of a text it is one by which the rule it names does.
SELECT setseed(0.42) \g /dev/null
SELECT factory.create_decision('why_any', jsonb_build_object('inputs', '{"a": "int", "b": "int", "c": "text"}'::jsonb, 'default', '{"status": "NONE"}'::jsonb,
	'rules', (SELECT jsonb_agg(jsonb_build_object('id', i::text, 'then', jsonb_build_object('status', 'S' || i % 5), 'when', concat_ws(' AND ', 'a < 50',
		CASE i % 3 WHEN 0 THEN format('a IN (%s, %s, %s, %s)', v[1], v[1] + 1, v[2], v[3] + 6) WHEN 1 THEN 'a < ' || v[1] WHEN 2 THEN format('a BETWEEN %s AND %s', v[1], v[1] + 5) END,
		CASE i % 5 WHEN 0 THEN format('(b < %s OR b >= %s)', v[3], v[3] + v[4]) WHEN 1 THEN format('b <> %s AND b > 3', v[3]) WHEN 2 THEN format('b BETWEEN %s AND %s', v[3], v[3] + 9) END,
		CASE WHEN i % 3 > 0 THEN format('c IN (%L, %L)', chr(97 + v[2] % 4), chr(97 + v[4] % 4)) END)) ORDER BY i)
		FROM (SELECT i, array_agg(1 + floor(random() * 30)::int) AS v FROM generate_series(1, 16) AS i, generate_series(1, 4) GROUP BY i) AS r)));
CREATE TABLE why_any AS SELECT a, b, c, j.status, j.matched_rules[1] AS rule, j.explanation->'flips' AS flips
FROM generate_series(-2, 70) AS a, generate_series(-2, 70) AS b, unnest('{a,b,c,d}'::text[]) AS c, factory.judge('why_any', jsonb_build_object('a', a, 'b', b, 'c', c)) AS j;
CREATE INDEX ON why_any (b, c, a);
CREATE INDEX ON why_any (a, c, b);
CREATE VIEW why_flip AS SELECT a, b, c, f->>'name' AS name, substring(f->>'with' FROM '-?[0-9]+')::int AS value, f->>'status' AS status, f->>'rule' AS rule
FROM (SELECT * FROM why_any WHERE a BETWEEN 0 AND 40 AND b BETWEEN 0 AND 40 AND (a + b) % 3 = 0) AS w, jsonb_array_elements(flips) AS f WHERE f->>'name' <> 'c';
CREATE VIEW why_nearest AS SELECT a, b, c, n.name, n.value, n.status, n.rule
FROM (SELECT * FROM why_any WHERE a BETWEEN 0 AND 40 AND b BETWEEN 0 AND 40 AND (a + b) % 3 = 0) AS w, LATERAL (
	(SELECT 'a' AS name, a AS value, status, rule FROM why_any AS o WHERE o.b = w.b AND o.c = w.c AND o.a > w.a AND o.rule IS DISTINCT FROM w.rule ORDER BY a LIMIT 1) UNION ALL
	(SELECT 'a', a, status, rule FROM why_any AS o WHERE o.b = w.b AND o.c = w.c AND o.a < w.a AND o.rule IS DISTINCT FROM w.rule ORDER BY a DESC LIMIT 1) UNION ALL
	(SELECT 'b', b, status, rule FROM why_any AS o WHERE o.a = w.a AND o.c = w.c AND o.b > w.b AND o.rule IS DISTINCT FROM w.rule ORDER BY b LIMIT 1) UNION ALL
	(SELECT 'b', b, status, rule FROM why_any AS o WHERE o.a = w.a AND o.c = w.c AND o.b < w.b AND o.rule IS DISTINCT FROM w.rule ORDER BY b DESC LIMIT 1)) AS n
WHERE n.status <> w.status;
SELECT count(*) > 1000 AS many FROM why_nearest;
(TABLE why_nearest EXCEPT TABLE why_flip) UNION ALL (TABLE why_flip EXCEPT TABLE why_nearest) LIMIT 5;
SELECT count(*) > 500 AS many, count(*) FILTER (WHERE o.rule IS DISTINCT FROM f->>'rule' OR o.status <> f->>'status') AS different
FROM why_any AS w, jsonb_array_elements(w.flips) AS f, why_any AS o
WHERE f->>'name' = 'c' AND o.a = w.a AND o.b = w.b AND o.c = substring(f->>'with' FROM '[a-d]$');
DROP VIEW why_flip, why_nearest;
DROP TABLE why_any;

-- Not a number is a value, too, and above all others.
SELECT factory.create_decision('why_nan', '{"inputs": {"f": "float8"}, "rules": [{"id": "nan", "when": "f = ''NaN''", "then": {"status": "NAN"}}, {"id": "hot", "when": "f > 70", "then": {"status": "HOT"}}], "default": {"status": "NORMAL"}}');
SELECT f, j.status, j.explanation->'flips' AS flips FROM (VALUES (1, 71), (2, 1e308), (3, 'NaN'::float8), (4, 70)) AS v(n, f), factory.judge_row('why_nan', v) AS j ORDER BY n;

-- So does one of more members than jsonb keeps lengths of: seventy inputs, and as many hits and
-- undecided rules in a list.
SELECT factory.create_decision('why_wide', jsonb_build_object('hit_policy', 'collect', 'default', '{"status": "NONE"}'::jsonb,
	'inputs', (SELECT jsonb_object_agg('input_' || i, CASE WHEN i % 2 = 0 THEN 'numeric' ELSE 'text' END) FROM generate_series(1, 70) AS i),
	'rules', (SELECT jsonb_agg(jsonb_build_object('id', i::text, 'then', '{"status": "S"}'::jsonb, 'when', format('input_%s %s', i, CASE WHEN i % 2 = 0 THEN '> 1' ELSE '<> ''''' END)) ORDER BY i) FROM generate_series(1, 70) AS i)));
SELECT missing, jsonb_array_length(e->'reasoning') AS reasons, jsonb_array_length(e->'references') AS hits, jsonb_array_length(e->'undecided') AS undecided,
	pg_column_size(e) = pg_column_size(e::text::jsonb) AND e = e::text::jsonb AS is_stored_alike,
	(SELECT count(*) FROM jsonb_each_text(e->'evidence') AS v WHERE v.value = regexp_replace(v.key, '\D', '', 'g')) AS evidence, e->'evidence'->>'input_70' AS last
FROM unnest('{0,1,40,70}'::int[]) AS missing, LATERAL (SELECT explanation AS e FROM factory.judge('why_wide',
	(SELECT coalesce(jsonb_object_agg('input_' || i, CASE WHEN i % 2 = 0 THEN to_jsonb(i) ELSE to_jsonb(i::text) END), '{}') FROM generate_series(missing + 1, 70) AS i))) AS j ORDER BY missing;
SELECT factory.create_decision('why_bare', '{"inputs": {}, "rules": [{"id": "r", "when": "true", "then": {"status": "S"}}]}');
SELECT explanation, pg_column_size(explanation) = pg_column_size(explanation::text::jsonb) AS is_stored_alike FROM factory.judge('why_bare', '{}');
