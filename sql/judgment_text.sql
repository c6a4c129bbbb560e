-- A judgment that goes to a client as text is written by us, not by record_out(): every
-- byte of it is to be what record_out() writes, which a cast to text still calls.
SET factory.log = off;
\pset format unaligned
\pset tuples_only on

SELECT factory.create_decision('odd "words", (here)', $json$ {
  "inputs": {"word": "text", "n": "numeric", "flag": "boolean", "at": "timestamptz", "codes": "text[]", "more": "jsonb"},
  "hit_policy": "collect",
  "rules": [
    {"id": "plain", "when": "n > 0", "then": {"status": "PLAIN", "recommended_actions": ["stop"]}},
    {"id": "a \"quoted\" id", "when": "n > 1", "then": {"status": "two words", "recommended_actions": ["(a), b", "tab\there"]}},
    {"id": "back\\slash {x}", "when": "word LIKE '%\\\\%'", "then": {"status": "\\", "line\nbreak": "\u0001\b\f\r\u007f", "deep": {"": [[], {}, [1, -2.50, 1e3, null, true, false, "한글 \"따옴표\""]]}}},
    {"id": "empty", "when": "flag", "then": {"status": "EMPTY", "list": [], "object": {}, "number": 12345678901234567890.0987654321}}]} $json$) \g /dev/null
SELECT factory.create_decision('worded', '{"inputs": {"n": "integer"}, "rules": [{"id": "high", "when": "n > 5", "then": {"status": "HIGH"}}, {"id": "none", "when": "n < 0", "then": {"status": ""}}]}') \g /dev/null
-- The session knows the type once it has made a value of it.
SELECT (factory.judge('worded', '{"n": 1}')).result;

-- Shown is what the client is given, written what record_out() makes of the same value.
CREATE FUNCTION pg_temp.same(shown text, written text) RETURNS text LANGUAGE sql AS $$
  SELECT CASE WHEN shown IS DISTINCT FROM written THEN 'shown: ' || shown || E'\nwritten: ' || written
              ELSE 'same, ' || sign(length(written))::text END $$;
\set compare '\\unset shown \\\\ SELECT j AS shown, j::text AS written FROM (SELECT factory.judge(:\'decision\', :\'input\') AS j OFFSET 0) AS s \\gset \\\\ SELECT pg_temp.same(:\'shown\', :\'written\');'

\set decision worded
\set input '{"n": 1}'
:compare
\set input '{"n": 7}'
:compare
\set input '{"n": -1}'
:compare
\set input '{}'
:compare
\set decision 'odd "words", (here)'
\set input '{"n": 1}'
:compare
\set input '{"word": "back\\\\slash \\"and\\" (quote), comma", "n": 2.50, "flag": true, "at": "2026-01-15 09:00:00+09", "codes": ["a b", "", "c,d", "\\"", null], "more": {"b": [1, {"c": "\\u0007"}], "a": " "}}'
:compare
\set input '{"word": "한글\\n\\t\\\\", "n": -0.000, "flag": false, "codes": [], "more": []}'
:compare
\set input '{"word": "", "n": 1e30, "more": "a string"}'
:compare
\set input '{"word": "\\\\", "n": 12345678901234567890123.000001, "more": {}}'
:compare
SELECT repeat('long "word" \', 3000) AS word \gset
SELECT jsonb_build_object('word', :'word', 'n', 3) AS input \gset
:compare

-- Without an explanation, of a row, of the rules alone, and of one that failed.
SELECT j AS shown, j::text AS written FROM (SELECT factory.judge('worded', '{"n": 9}', need_explanation => false) AS j OFFSET 0) AS s \gset
SELECT pg_temp.same(:'shown', :'written');
SELECT j AS shown, j::text AS written FROM (SELECT factory.judge_row('worded', t) AS j FROM (VALUES (8)) AS t(n) OFFSET 0) AS s \gset
SELECT pg_temp.same(:'shown', :'written');
SELECT j AS shown, j::text AS written FROM (SELECT factory.decide('worded', '{"n": 6}') AS j OFFSET 0) AS s \gset
SELECT pg_temp.same(:'shown', :'written');
SELECT j AS shown, j::text AS written FROM factory.judge_many('worded', $$SELECT 0, '{"n": "x"}'::jsonb$$) AS m(i, j) \gset
SELECT pg_temp.same(:'shown', :'written');

-- Beside other columns, twice, absent, and from where it was stored.
SELECT 1 AS one, a AS shown, 'x, "y"'::text AS word, NULL::factory.judgment AS absent, a::text AS written, b AS shown_too, b::text AS written_too
FROM (SELECT factory.decide('worded', '{"n": 6}') AS a, factory.decide('worded', '{"n": 1}') AS b OFFSET 0) AS s \gset
SELECT pg_temp.same(:'shown', :'written'), pg_temp.same(:'shown_too', :'written_too'), :one, :'word', :{?absent};
CREATE TEMPORARY TABLE kept AS SELECT factory.decide('worded', '{"n": 6}') AS j;
SELECT j AS shown, j::text AS written FROM kept \gset
SELECT pg_temp.same(:'shown', :'written');
SELECT max(j::text) AS written FROM kept \gset
BEGIN;
DECLARE c CURSOR FOR SELECT j FROM kept;
FETCH c \gset
COMMIT;
SELECT pg_temp.same(:'j', :'written');
DROP TABLE kept;
