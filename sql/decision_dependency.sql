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

-- What no version in force uses goes: of a draft, and of one that was replaced.
CREATE FUNCTION line.draft() RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 1';
SELECT factory.save_version('line_scrap', '{"inputs": {"n": "int"}, "rules": [{"id": "one", "when": "n = line.draft()", "then": {"status": "ONE"}}]}', 'tried');
DROP FUNCTION line.draft;
SELECT factory.deploy('line_scrap', 2);
SELECT factory.decide('line_scrap', '{"n": 1}');
CREATE FUNCTION line.draft() RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 1';
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

-- Redefined, the next judgment knows; renamed, or no longer immutable, it says what is wrong.
CREATE OR REPLACE FUNCTION line.odd(int) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT $1 % 2 = 0';
SELECT status FROM factory.decide('line_odd', '{"n": 3}');
ALTER FUNCTION line.odd(int) VOLATILE;
SELECT status FROM factory.decide('line_odd', '{"n": 3}');
ALTER FUNCTION line.odd(int) IMMUTABLE;
ALTER FUNCTION line.odd(int) RENAME TO uneven;
SELECT status FROM factory.decide('line_odd', '{"n": 3}');
ALTER FUNCTION line.uneven(int) RENAME TO odd;
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

-- A version that is gone needs nothing.
DROP SCHEMA line CASCADE;
