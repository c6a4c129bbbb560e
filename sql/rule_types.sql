-- Conditions over types that no index knows, and texts whose equality is no equality of bytes:
-- evaluated, and the same by every way in, with the index and without it, as SQL says it.
SET factory.frozen_clock = '2026-01-15 09:00:00+00';
SET factory.log = off;
SET client_min_messages = warning;
\set VERBOSITY default

-- Ranges: bounds in and out, none, empty, infinite, NULL.
CREATE TABLE span (n int, low int, q int4range, v numrange, d daterange, t tstzrange, m int4multirange, at date, x numeric);
INSERT INTO span VALUES
	(1, 1, '[1,5)', '[1.5,2.5)', '[2026-01-01,2026-02-01)', '[2026-01-15 08:00+00,2026-01-15 10:00+00)', '{[1,3),[7,9)}', '2026-01-15', 2.5),
	(2, 2, 'empty', 'empty', 'empty', 'empty', '{}', '2026-01-15', 2.5),
	(3, 3, '(,5]', '(,)', '[2026-01-15,)', '(,2026-01-15 09:00+00)', '{(,0),[10,)}', 'infinity', 'NaN'),
	(4, 5, '[5,)', '[2.5,2.5]', '[2026-01-15,infinity)', '[-infinity,infinity]', '{[5,5]}', '-infinity', 2.50),
	(5, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
	(6, 5, '(4,6)', '(2.5,1e30]', '(,infinity]', '[2026-01-15 09:00+00,2026-01-15 09:00+00]', '{[4,6)}', '2026-02-01', 1.5);
CREATE TABLE span_rule (id text, condition text);
INSERT INTO span_rule VALUES ('has 5', 'q @> 5'), ('has low', 'q @> low AND low < 5'), ('meets', 'q && ''[4,6)'''), ('within', 'q <@ ''[1,10)'''),
	('not within', 'NOT q <@ ''[1,10)'''), ('empty', 'isempty(q)'), ('five alone', 'q = ''[5,5]'''), ('above', 'upper(q) > 5'), ('unbounded below', 'lower_inf(q)'),
	('no upper bound', 'upper(q) IS NULL'), ('left of 6', 'q << ''[6,)'''), ('less', 'q < ''[2,3)'''), ('next to', 'q -|- ''[5,7)'''), ('any', 'q = ANY (''{empty,"[1,5)"}''::int4range[])'),
	('x in it', 'x <@ v'), ('x in one', 'x <@ ''[1.5,2.5)''::numrange'), ('upper bound in', 'upper_inc(v)'), ('shared', 'shared = ''[4,5)'' AND low = 1'),
	('day in it', 'd @> at'), ('this day', 'd @> ''2026-01-15''::date AND at = ''2026-01-15'''), ('for ever', 'upper(d) = ''infinity'''), ('without end', 'upper_inf(d)'),
	('zoned', 't @> ''2026-01-15 18:00+09''::timestamptz'), ('later', 't && tstzrange(''2026-01-15 10:00+00'', NULL)'), ('all time', 't = ''[-infinity,infinity]'''),
	('now', 't @> now()'), ('8 of many', 'm @> 8'), ('meet many', 'm && q'), ('miss many', 'NOT m && ''[5,9)''::int4range AND low IS NOT NULL');

CREATE FUNCTION definition_of(inputs jsonb, rules regclass) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
	listed jsonb;
BEGIN
	EXECUTE format('SELECT jsonb_agg(jsonb_build_object(''id'', id, ''when'', condition, ''then'', ''{"status": "S"}''::jsonb) ORDER BY id) FROM %s', rules) INTO listed;
	RETURN jsonb_build_object('hit_policy', 'collect', 'on_null', 'no_match', 'inputs', inputs, 'rules', listed);
END $$;
SELECT factory.create_decision('span', definition_of('{"low": "int", "q": "int4range", "v": "numrange", "d": "daterange", "t": "tstzrange", "m": "int4multirange", "at": "date", "x": "numeric"}', 'span_rule')
	|| '{"let": {"shared": "q * int4range(4, 100)"}}');
SELECT factory.create_decision_function('span', name => 'span_typed', answer => 'rules');
SELECT n, array_to_string(j.matched_rules, ', ') AS rules FROM span AS s, factory.judge_row('span', s) AS j ORDER BY n;

-- Every way in, against SQL. JSON has no NaN.
CREATE FUNCTION by_sql(listed_in regclass, from_table text) RETURNS TABLE (n int, hits text[]) LANGUAGE plpgsql AS $$
DECLARE
	listed text;
BEGIN
	EXECUTE format('SELECT string_agg(format(''CASE WHEN %%s THEN %%L END'', condition, id), '', '' ORDER BY id) FROM %s', listed_in) INTO listed;
	RETURN QUERY EXECUTE format('SELECT n, array_remove(ARRAY[%s], NULL) FROM %s', replace(listed, 'now()', '''2026-01-15 09:00+00''::timestamptz'), from_table);
END $$;
CREATE VIEW span_differs AS SELECT count(*) AS rows,
	count(*) FILTER (WHERE j.matched_rules IS DISTINCT FROM w.hits) AS by_row,
	count(*) FILTER (WHERE span_typed(low => s.low, q => s.q, v => s.v, d => s.d, t => s.t, m => s.m, at => s.at, x => s.x) IS DISTINCT FROM w.hits) AS typed,
	count(*) FILTER (WHERE s.x IS DISTINCT FROM 'NaN' AND (factory.judge('span', to_jsonb(s))).matched_rules IS DISTINCT FROM w.hits) AS by_document
FROM span AS s JOIN by_sql('span_rule', 'span CROSS JOIN LATERAL (SELECT q * int4range(4, 100)) AS l (shared)') AS w USING (n), factory.judge_row('span', s) AS j;
SELECT * FROM span_differs;
SET factory.enable_rule_index = off;
SELECT * FROM span_differs;
RESET factory.enable_rule_index;
-- A NULL range leaves its rules undecided, and what is no range is an offending field.
SELECT factory.create_decision('span_null', '{"inputs": {"q": "int4range"}, "rules": [{"id": "has 5", "when": "q @> 5", "then": {"status": "FIVE"}}], "default": {"status": "NONE"}}');
SELECT q, status, result, j.explanation->'undecided' AS undecided FROM unnest('{NULL,empty,"[5,6)"}'::int4range[]) AS q, factory.judge('span_null', jsonb_build_object('q', q)) AS j ORDER BY q;
SELECT factory.judge('span_null', '{"q": "[7,5)"}');
SELECT level, rule, message FROM factory.check_decision('{"inputs": {"q": "int4range"}, "rules": [{"id": "odd", "when": "q @> ''[7,5)''::int4range", "then": {"status": "X"}}]}');

-- A collation that says Line-a equals LINE-A: whole rules are evaluated, whatever the bytes are;
-- the same column by the input's own collation is still equality of bytes.
CREATE COLLATION no_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE DOMAIN any_case AS text COLLATE no_case;
CREATE TABLE line (n int, a any_case, b text);
INSERT INTO line VALUES (1, 'line-a', 'line-a'), (2, 'LINE-A', 'LINE-A'), (3, 'Line-B', 'line-b'), (4, NULL, NULL), (5, '', ''), (6, 'line-ä', 'LINE-Ä'), (7, 'é', U&'e\0301');
CREATE TABLE line_rule (id text, condition text);
INSERT INTO line_rule VALUES ('a', 'a = ''LINE-A'''), ('a in', 'a IN (''LINE-B'', ''Line-Ä'')'), ('a not', 'a <> ''line-a'''), ('a null or', 'a IS NULL OR a = ''LINE-B'''),
	('b', 'b = ''LINE-A'''), ('b as a', 'b COLLATE public.no_case = ''line-A'''), ('b in', 'b COLLATE public.no_case IN (''LINE-B'', ''LINE-ä'')'), ('b less', 'b COLLATE public.no_case < ''LINE-B'''),
	('accent', 'a = U&''e\0301'''), ('accent b', 'b = ''é'''), ('accent b as a', 'b COLLATE public.no_case = ''É''');
SELECT factory.create_decision('line_case', definition_of('{"a": "public.any_case", "b": "text"}', 'line_rule'));
SELECT factory.create_decision_function('line_case', name => 'line_typed', answer => 'rules');
SELECT n, array_to_string(j.matched_rules, ', ') AS rules FROM line AS l, factory.judge_row('line_case', l) AS j ORDER BY n;
CREATE VIEW line_differs AS SELECT count(*) AS rows, count(*) FILTER (WHERE j.matched_rules IS DISTINCT FROM w.hits) AS by_row,
	count(*) FILTER (WHERE line_typed(a => l.a, b => l.b) IS DISTINCT FROM w.hits) AS typed,
	count(*) FILTER (WHERE (factory.judge('line_case', to_jsonb(l))).matched_rules IS DISTINCT FROM w.hits) AS by_document
FROM line AS l JOIN by_sql('line_rule', 'line') AS w USING (n), factory.judge_row('line_case', l) AS j;
SELECT * FROM line_differs;
SET factory.enable_rule_index = off;
SELECT * FROM line_differs;
RESET factory.enable_rule_index;
-- From an image, in a new session, too.
\c
SET factory.frozen_clock = '2026-01-15 09:00:00+00';
SET factory.log = off;
SELECT * FROM line_differs;
SELECT * FROM span_differs;
DROP VIEW line_differs, span_differs;
DROP FUNCTION span_typed, line_typed, by_sql, definition_of;
DROP TABLE span, span_rule, line, line_rule;
