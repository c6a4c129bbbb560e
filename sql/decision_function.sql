-- A function made of a version: typed arguments, pinned, for WHERE, CHECK, indexes,
-- generated columns and parallel scans.
\set VERBOSITY terse
SET factory.frozen_clock = '2026-01-15 09:00:00+09';
SELECT factory.create_decision('lot', '{
  "inputs": {"line": "text", "defects": "integer", "produced": "integer", "weight": "numeric(6,1)"},
  "let": {"rate": "defects::float8 / nullif(produced, 0)"},
  "rules": [
    {"id": "high", "when": "rate >= 0.05", "confidence": 0.95,
     "then": {"status": "HIGH", "severity": "critical", "recommended_actions": ["stop_line"]}},
    {"id": "heavy", "when": "weight > 10.0", "then": {"status": "HEAVY", "severity": "warning"}}],
  "default": {"status": "NORMAL", "severity": "info", "confidence": 0.9}}');

SELECT factory.create_decision_function('lot');
SELECT lot_v1('A', weight => 1, defects => 5, produced => 100) AS high,
       lot_v1(line => 'A', weight => 10.04, defects => 1, produced => 100) AS rounded_like_the_input,
       lot_v1(line => 'A', weight => 10.05, defects => 1, produced => 100) AS heavy,
       lot_v1(line => 'A', weight => 1, defects => NULL, produced => 100) AS undecided;
SELECT provolatile, proparallel, lanname FROM pg_proc JOIN pg_language AS l ON l.oid = prolang WHERE proname = 'lot_v1';

-- Each kind of answer, and all of it.
SELECT factory.create_decision_function('lot', 1, 'lot_' || answer, answer)
FROM unnest(ARRAY['result', 'severity', 'confidence', 'rules', 'outcome', 'verdict']) AS answer \g /dev/null
CREATE TABLE lots (n int, line text, defects int, produced int, weight numeric);
INSERT INTO lots VALUES (1, 'A', 5, 100, 1), (2, 'A', 1, 100, 11), (3, 'B', 1, 100, 1), (4, 'B', NULL, 100, 1), (5, 'B', 1, 0, 20);
SELECT n, lot_result(line, weight, defects, produced) AS result, lot_severity(line, weight, defects, produced) AS severity,
       lot_confidence(line, weight, defects, produced) AS confidence, lot_rules(line, weight, defects, produced) AS rules,
       lot_outcome(line, weight, defects, produced) AS outcome
FROM lots ORDER BY n;
SELECT n, (lot_verdict(line, weight, defects, produced)).* FROM lots ORDER BY n;

-- The same answers as decide() gives.
SELECT count(*) AS different FROM lots, factory.decide('lot', to_jsonb(lots) - 'n') AS d
WHERE (d.status, d.result, d.matched_rules, d.outcome)
	IS DISTINCT FROM (nullif(lot_v1(line, weight, defects, produced), 'unknown'), lot_result(line, weight, defects, produced),
		lot_rules(line, weight, defects, produced), lot_outcome(line, weight, defects, produced));

-- Pinned: a new version in force changes nothing here.
SELECT factory.save_version('lot', '{"inputs": {"line": "text"}, "rules": [{"id": "any", "when": "true", "then": {"status": "ANY"}}]}', 'another');
SELECT factory.deploy('lot', 2);
SELECT lot_v1(line, weight, defects, produced) FROM lots ORDER BY n;
SELECT factory.create_decision_function('lot');
SELECT lot_v2('A'), lot_v2(NULL);

-- Where a value must not change: an index, a generated column, a constraint.
CREATE TABLE stored (line text, weight numeric, defects int, produced int,
	status text GENERATED ALWAYS AS (lot_v1(line, weight, defects, produced)) STORED,
	CHECK (lot_v1(line, weight, defects, produced) <> ALL ('{HEAVY,unknown}')));
CREATE INDEX ON stored (lot_v1(line, weight, defects, produced));
INSERT INTO stored VALUES ('A', 1, 5, 100), ('A', 1, 0, 100);
INSERT INTO stored VALUES ('A', 11, 0, 100);
INSERT INTO stored VALUES ('A', 1, NULL, 100);
SELECT line, status FROM stored ORDER BY status;
DROP FUNCTION lot_v1;
DROP TABLE stored;

-- Parallel workers answer alike.
CREATE TABLE many AS SELECT n, 'A' AS line, n % 9 AS defects, 100 AS produced, n % 13 AS weight FROM generate_series(1, 5000) AS n;
ALTER TABLE many SET (parallel_workers = 2);
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
EXPLAIN (COSTS off) SELECT count(*) FROM many WHERE lot_v1(line, weight, defects, produced) = 'HIGH';
SELECT lot_v1(line, weight, defects, produced) AS status, count(*) FROM many GROUP BY 1 ORDER BY 1;
RESET parallel_setup_cost;
RESET parallel_tuple_cost;
RESET min_parallel_table_scan_size;

-- Time and settings are not immutable; nor is what calls a function that says so.
SELECT factory.create_decision('due', '{"inputs": {"at": "timestamptz"}, "rules": [{"id": "late", "when": "at < now()", "then": {"status": "LATE"}}], "default": {"status": "FINE"}}');
SELECT factory.create_decision_function('due');
SELECT provolatile FROM pg_proc WHERE proname = 'due_v1';
SELECT due_v1('2026-01-01 00:00+09'), due_v1('2026-02-01 00:00+09');
-- A let value may ask for the time too, and another for that.
SELECT factory.create_decision('shift', '{"inputs": {"at": "timestamptz"}, "let": {"present": "now()", "age": "present - at"},
	"rules": [{"id": "old", "when": "age > interval ''1 day''", "then": {"status": "OLD"}}], "default": {"status": "NEW"}}');
SELECT factory.create_decision_function('shift');
SELECT shift_v1('2026-01-14 08:00+09'), shift_v1('2026-01-14 10:00+09');

-- A rule's own function, redefined: the next statement knows.
CREATE FUNCTION public.bound() RETURNS int LANGUAGE sql IMMUTABLE PARALLEL SAFE AS 'SELECT 5';
SELECT factory.create_decision('bounded', '{"inputs": {"n": "int"}, "rules": [{"id": "over", "when": "n > public.bound()", "then": {"status": "OVER"}}], "default": {"status": "UNDER"}}');
SELECT factory.create_decision_function('bounded');
SELECT bounded_v1(7);
CREATE OR REPLACE FUNCTION public.bound() RETURNS int LANGUAGE sql IMMUTABLE PARALLEL SAFE AS 'SELECT 9';
SELECT bounded_v1(7);

-- Checks of the inputs hold here too, all at once.
SELECT factory.create_decision('checked', '{"inputs": {"a": {"type": "int", "min": 1, "max": 9}, "b": {"type": "text", "required": true, "enum": ["x", "y"]}, "c": {"type": "int", "default": 3}},
	"rules": [{"id": "three", "when": "c = 3", "then": {"status": "THREE"}}]}');
SELECT factory.create_decision_function('checked');
SELECT checked_v1(5, 'x', NULL);
\set VERBOSITY default
\set SHOW_CONTEXT never
SELECT checked_v1(0, NULL, 4);
\set VERBOSITY terse

-- What is refused when it is made.
SELECT factory.create_decision_function('lot', 1);
SELECT factory.create_decision_function('lot', 9);
SELECT factory.create_decision_function('lott');
SELECT factory.create_decision_function('lot', 1, 'x', 'statsu');
SELECT factory.create_decision_function('lot', 1, 'nowhere.x');
CREATE FUNCTION broken(a int) RETURNS text LANGUAGE factory_decision AS 'no document';
CREATE FUNCTION broken(a int) RETURNS text LANGUAGE factory_decision AS '{"answer": "status"}';
CREATE FUNCTION broken(a int) RETURNS text LANGUAGE factory_decision AS '{"answer": "status", "definition": {"inputs": {"a": "int"}, "rules": [{"when": "b > 1"}]}}';
CREATE FUNCTION broken(b int) RETURNS text LANGUAGE factory_decision AS '{"answer": "status", "definition": {"inputs": {"a": "int"}, "rules": []}}';
CREATE FUNCTION broken(a int) RETURNS int LANGUAGE factory_decision AS '{"answer": "status", "definition": {"inputs": {"a": "int"}, "rules": []}}';
CREATE FUNCTION broken(at timestamptz) RETURNS text IMMUTABLE LANGUAGE factory_decision AS '{"answer": "status", "definition": {"inputs": {"at": "timestamptz"}, "rules": [{"when": "at < now()", "then": {"status": "LATE"}}]}}';
-- By hand: arguments in an order of one's own, and of types that can be assigned.
CREATE FUNCTION by_hand(b int, a smallint) RETURNS text IMMUTABLE LANGUAGE factory_decision AS
	'{"answer": "status", "definition": {"inputs": {"a": "int", "b": "float8", "c": "text"}, "rules": [{"when": "a < b AND c IS NULL", "then": {"status": "LESS"}}], "default": {"status": "NOT"}}}';
SELECT by_hand(2, 1::smallint), by_hand(1, 2::smallint);

-- Nobody but the owner may call it until granted; only authors may make one.
CREATE ROLE function_author; CREATE ROLE function_caller;
GRANT factory_author TO function_author;
CREATE SCHEMA authored AUTHORIZATION function_author;
GRANT USAGE ON SCHEMA authored TO function_caller;
SET ROLE function_author;
SELECT factory.create_decision_function('lot', 1, 'authored.lot');
SET ROLE function_caller;
SELECT authored.lot('A', 1, 5, 100);
SELECT factory.create_decision_function('lot', 1, 'authored.mine');
CREATE FUNCTION pg_temp.mine(a int) RETURNS text LANGUAGE factory_decision AS '{}';
RESET ROLE;
GRANT EXECUTE ON FUNCTION authored.lot TO function_caller;
SET ROLE function_caller;
SELECT authored.lot('A', 1, 5, 100);
RESET ROLE;
DROP SCHEMA authored CASCADE;
DROP OWNED BY function_author, function_caller;
DROP ROLE function_author, function_caller;
