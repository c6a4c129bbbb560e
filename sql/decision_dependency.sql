-- What of users' a version's conditions use is known, and is not dropped under them.
SET factory.frozen_clock = '2026-01-15 09:00:00+09';
SET client_min_messages = warning;
\set VERBOSITY default
\set SHOW_CONTEXT never
CREATE SCHEMA line;
CREATE TYPE line.grade AS ENUM ('a', 'b', 'c');
CREATE DOMAIN line.percent AS numeric CHECK (VALUE BETWEEN 0 AND 100);
CREATE FUNCTION line.limit_of(line.grade) RETURNS numeric LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$SELECT CASE $1 WHEN 'a' THEN 5 ELSE 10 END::numeric$$;
CREATE FUNCTION line.bonus() RETURNS numeric LANGUAGE sql IMMUTABLE PARALLEL SAFE AS 'SELECT 1::numeric';
CREATE FUNCTION line.far(numeric, numeric) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE AS 'SELECT abs($1 - $2) > 3';
CREATE OPERATOR line.<~> (FUNCTION = line.far, LEFTARG = numeric, RIGHTARG = numeric);
CREATE COLLATION line.bytes (provider = libc, locale = 'C');
SELECT factory.create_decision('line_scrap', '{"inputs": {"grade": "line.grade", "scrap": "line.percent", "note": "text"},
	"let": {"most": "line.limit_of(grade)"},
	"rules": [{"id": "over", "when": "scrap > most", "then": {"status": "OVER"}, "set": {"score": "scrap + line.bonus()"}},
			  {"id": "far", "when": "scrap OPERATOR(line.<~>) most", "then": {"status": "FAR"}},
			  {"id": "late", "when": "note COLLATE line.bytes > ''x'' AND grade = ANY (''{b,c}''::line.grade[])", "then": {"status": "LATE"}}],
	"default": {"status": "FINE"}}');
SELECT object_type, object_identity FROM factory.decision_dependency WHERE decision = 'line_scrap' ORDER BY 1, 2;

-- Each of them is refused, and so is all at once.
DROP FUNCTION line.limit_of;
DROP FUNCTION line.bonus;
DROP OPERATOR line.<~> (numeric, numeric);
DROP DOMAIN line.percent;
DROP COLLATION line.bytes;
DROP TYPE line.grade;
DROP SCHEMA line;
SELECT status, outcome FROM factory.decide('line_scrap', '{"grade": "a", "scrap": 7}');

-- What no version in force uses goes: of a draft, which is then not deployed, and of one that was replaced.
CREATE FUNCTION line.draft() RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 1';
SELECT factory.save_version('line_scrap', '{"inputs": {"n": "int"}, "rules": [{"id": "one", "when": "n = line.draft()", "then": {"status": "ONE"}}]}', 'tried');
DROP FUNCTION line.draft;
SELECT factory.deploy('line_scrap', 2);
CREATE FUNCTION line.draft() RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 1';
SELECT factory.deploy('line_scrap', 2);
SELECT status FROM factory.decide('line_scrap', '{"n": 1}');
DROP FUNCTION line.bonus;
DROP FUNCTION line.draft;
SELECT factory.save_version('line_scrap', '{"inputs": {"n": "int"}, "rules": [{"id": "one", "when": "n = 1", "then": {"status": "ONE"}}]}', 'on its own');
SELECT factory.deploy('line_scrap', 3, canary_pct => 50);
DROP FUNCTION line.draft;
SELECT factory.promote('line_scrap');
DROP FUNCTION line.draft;

-- With CASCADE it goes, with a warning, and no compiled version outlives it; undone, all is as before.
CREATE FUNCTION line.odd(int) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT $1 % 2 = 1';
SELECT factory.create_decision('line_odd', '{"inputs": {"n": "int", "g": "line.grade"}, "rules": [{"id": "odd", "when": "line.odd(n)", "then": {"status": "ODD"}}], "default": {"status": "EVEN"}}');
SELECT status FROM factory.decide('line_odd', '{"n": 3}');
BEGIN;
DROP FUNCTION line.odd CASCADE;
SELECT status FROM factory.decide('line_odd', '{"n": 3}');
ROLLBACK;
SELECT status FROM factory.decide('line_odd', '{"n": 3}');
BEGIN;
DROP TYPE line.grade CASCADE;
SELECT status FROM factory.decide('line_odd', '{"n": 3}');
ROLLBACK;
SELECT status FROM factory.decide('line_odd', '{"n": 3, "g": "b"}');

-- Redefined, the next judgment knows; no longer immutable, it says what is wrong. Another name is refused.
CREATE OR REPLACE FUNCTION line.odd(int) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT $1 % 2 = 0';
SELECT status FROM factory.decide('line_odd', '{"n": 3}');
ALTER FUNCTION line.odd(int) VOLATILE;
SELECT status FROM factory.decide('line_odd', '{"n": 3}');
ALTER FUNCTION line.odd(int) IMMUTABLE;
ALTER FUNCTION line.odd(int) RENAME TO uneven;
ALTER FUNCTION line.odd(int) SET SCHEMA public;
ALTER TYPE line.grade RENAME TO mark;
ALTER SCHEMA line RENAME TO lane;
ALTER FUNCTION line.limit_of(line.grade) RENAME TO bound_of;
SELECT status FROM factory.decide('line_odd', '{"n": 3}');

-- A decision function depends on what its rules use as a view does.
SELECT factory.create_decision_function('line_odd', 1, 'line.is_odd');
SELECT line.is_odd(n => 3, g => NULL);
SELECT pg_describe_object(refclassid, refobjid, 0) FROM pg_depend
WHERE objid = 'line.is_odd'::regproc AND classid = 'pg_proc'::regclass ORDER BY 1;
DROP FUNCTION line.odd(int);
SELECT factory.save_version('line_odd', '{"inputs": {}, "rules": []}', 'nothing');
SELECT factory.deploy('line_odd', 2);
DROP FUNCTION line.odd(int);
DROP FUNCTION line.odd(int) CASCADE;
SELECT count(*) FROM pg_proc WHERE proname = 'is_odd';

-- A type that a condition only casts to is one it uses: a domain, an array's, a part of a row.
CREATE DOMAIN line.share AS numeric CHECK (VALUE <= 1);
CREATE DOMAIN line.code AS text;
CREATE TYPE line.pair AS (low int, high int);
SELECT factory.create_decision('line_cast', '{"inputs": {"n": "int", "note": "text"},
	"rules": [{"id": "half", "when": "(n / 100.0)::line.share > 0.5", "then": {"status": "HALF"}},
			  {"id": "code", "when": "note::line.code = ANY (''{x,y}''::line.code[])", "then": {"status": "CODE"}},
			  {"id": "pair", "when": "(ROW(n, 5)::line.pair).high > n", "then": {"status": "PAIR"}}], "default": {"status": "FINE"}}');
SELECT object_type, object_identity FROM factory.decision_dependency WHERE decision = 'line_cast' ORDER BY 1, 2;
DROP DOMAIN line.share;
DROP DOMAIN line.code;
DROP TYPE line.pair;
ALTER TYPE line.pair RENAME TO couple;

-- Altered, it counts from the next judgment: a domain's check, the columns of a row, an enum's word.
SELECT status FROM factory.decide('line_cast', '{"n": 80, "note": "z"}');
ALTER DOMAIN line.share ADD CHECK (VALUE < 0.7);
SELECT status, explanation->'undecided' AS undecided FROM factory.decide('line_cast', '{"n": 80, "note": "z"}');
SELECT status FROM factory.decide('line_cast', '{"n": 4, "note": "z"}');
ALTER TYPE line.pair RENAME ATTRIBUTE high TO top;
SELECT status FROM factory.decide('line_cast', '{"n": 4, "note": "z"}');
ALTER TYPE line.pair RENAME ATTRIBUTE top TO high;
SELECT status FROM factory.decide('line_cast', '{"n": 4, "note": "z"}');
SELECT factory.create_decision('line_grade', '{"inputs": {"g": "line.grade"}, "rules": [{"id": "best", "when": "g = ''a''", "then": {"status": "BEST"}}], "default": {"status": "FINE"}}');
SELECT status FROM factory.decide('line_grade', '{"g": "a"}');
ALTER TYPE line.grade RENAME VALUE 'a' TO 'top';
SELECT status FROM factory.decide('line_grade', '{"g": "top"}');
ALTER TYPE line.grade RENAME VALUE 'top' TO 'a';
SELECT status FROM factory.decide('line_grade', '{"g": "a"}');

-- A table's rows are a type, too: neither the table nor a column of it goes unnoticed.
CREATE TABLE line.setting (low int, high int);
SELECT factory.create_decision('line_row', '{"inputs": {"n": "int"}, "rules": [{"id": "over", "when": "n > (ROW(1, 5)::line.setting).high", "then": {"status": "OVER"}}], "default": {"status": "FINE"}}');
SELECT factory.create_decision_function('line_row', name => 'public.line_row_typed');
SELECT status, line_row_typed(7) FROM factory.decide('line_row', '{"n": 7}');
DROP TABLE line.setting;
ALTER TABLE line.setting RENAME TO settings;
DROP FUNCTION line_row_typed;
DROP TABLE line.setting;
ALTER TABLE line.setting DROP COLUMN high;
SELECT status FROM factory.decide('line_row', '{"n": 7}');
DROP TABLE line.setting CASCADE;

-- A version that is gone needs nothing.
DROP SCHEMA line CASCADE;
