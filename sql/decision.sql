-- Definitions: what is refused, and how it is said. Everything wrong is said at once.
\set VERBOSITY default

SELECT factory.create_decision('d', '[]');
SELECT factory.create_decision('d', '{}');
SELECT factory.create_decision('d', '{"inputs": {"a": "float8"}, "rulez": [], "rules": []}');
SELECT factory.create_decision('d', '{
  "inputs": {"defect_rate": "float8", "line": "txt", "n": {"type": "int", "min": "low"}, "m": 5},
  "rules": [
    {"id": "one", "when": "defect_rat > 0.05", "then": {"status": "A"}},
    {"id": "one", "when": "defect_rate >", "then": {"severity": "grave"}},
    {"id": "three", "then": {"status": "A", "confidence": 7}},
    {"id": "four", "when": "n + 1", "then": {}, "because": "because {nobody} knows"},
    {"id": "five", "when": "n = 1"},
    17
  ],
  "hit_policy": "frist", "policy": "HYBRID", "weights": {"rule": 0.6, "llm": 0.6}, "gate": 3
}');

-- Let values may build on each other, in any order, but not in a circle.
SELECT factory.create_decision('circle', '{"inputs": {"a": "int"}, "let": {"x": "y + a", "y": "z", "z": "x"}, "rules": []}');
SELECT factory.create_decision('chain', '{"inputs": {"a": "int"}, "let": {"c": "b * 2", "b": "a + 1"},
  "rules": [{"id": "r", "when": "c = 8", "then": {"status": "EIGHT"}}], "default": {"status": "OTHER"}}');
SELECT status FROM factory.judge('chain', '{"a": 3}');

-- Hostile and odd conditions: refused with a plain reason, one and all.
-- (From 19 on the server's hint on operators is shorter.)
SELECT c.condition, replace(p.message, 'No operator matches the given name and argument types. ', '') AS message
FROM unnest(ARRAY[
  '*', 'a.*', '(a).*', 'a, true', 'true) , (true', 'true) FROM pg_class WHERE (true', 'true) UNION SELECT (true',
  'true); DROP TABLE factory.decision; SELECT (true', 'true /* unfinished', '', '(SELECT true)',
  'EXISTS (SELECT FROM pg_class)', 'count(*) > 1', 'row_number() OVER () = 1', 'generate_series(1, 3) = 1', '$1 = 1',
  'random() < 0.5', 'pg_sleep(1) IS NULL', 'set_config(''search_path'', '''', false) = ''''',
  'pg_read_file(''/etc/passwd'') = ''''', 'current_user = ''postgres''', 'current_setting(''port'') = ''1''',
  'query_to_xml(''select 1'', true, true, '''') IS NULL', 'a = 1/0', 'nextval(''x'') = 1', 'a ~ ''x''', 'a IN (SELECT 1)'
]) AS c(condition),
LATERAL (SELECT * FROM factory.check_decision(jsonb_build_object(
  'inputs', jsonb_build_object('a', 'int'),
  'rules', jsonb_build_array(jsonb_build_object('id', 'r', 'when', c.condition, 'then', '{"status": "X"}'::jsonb)))) LIMIT 1) AS p;

-- A trailing comment is no crime, and integers that are divided are warned of.
SELECT level, rule, message FROM factory.check_decision('{"inputs": {"a": "int", "b": "int"},
  "rules": [{"id": "r", "when": "a / b > 0.05 -- the rate", "then": {"status": "X"}}]}');

SELECT factory.create_decision('chain', '{"inputs": {"a": "int"}, "rules": []}');
SELECT factory.create_decision('', '{"inputs": {"a": "int"}, "rules": []}');
SELECT factory.create_decision(NULL, '{"inputs": {"a": "int"}, "rules": []}');

-- Versions: saved, deployed, rolled back; a rollback of the transaction undoes it.
SELECT factory.save_version('chain', '{"inputs": {"a": "int"}, "rules": [], "default": {"status": "TWO"}}', 'always two');
SELECT status FROM factory.judge('chain', '{"a": 3}');
BEGIN;
SELECT factory.deploy('chain', 2, changelog => 'try it');
SELECT status, version FROM factory.judge('chain', '{"a": 3}');
ROLLBACK;
SELECT status, version FROM factory.judge('chain', '{"a": 3}');
SELECT factory.deploy('chain', 2, changelog => 'for good');
SELECT status, version FROM factory.judge('chain', '{"a": 3}');
SELECT factory.rollback('chain', 'we liked eight better');
SELECT status, version FROM factory.judge('chain', '{"a": 3}');
SELECT decision, version, status, changelog, reason FROM factory.deployment WHERE decision = 'chain' ORDER BY id;
SELECT decision, in_force, newest FROM factory.decision_status WHERE decision = 'chain';
-- A running statement sees one version, also when it deploys another itself.
BEGIN;
\set SHOW_CONTEXT never
SELECT n, CASE WHEN n = 2 THEN factory.deploy('chain', 2) IS NULL END AS deployed, (factory.judge('chain', '{"a": 3}')).version
FROM generate_series(1, 3) AS n;
SELECT version FROM factory.judge('chain', '{"a": 3}');
ROLLBACK;
SELECT factory.deploy('chain', 7);
SELECT factory.deploy('chian', 1);
SELECT factory.deploy('chain', 2, canary_pct => 200);
\set SHOW_CONTEXT errors

-- The rights are the version's owner's, whoever asks.
CREATE SCHEMA lab;
CREATE FUNCTION lab.is_odd(n integer) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT n % 2 = 1';
REVOKE ALL ON FUNCTION lab.is_odd(integer) FROM PUBLIC;
SELECT factory.create_decision('odd', '{"inputs": {"a": "int"}, "rules": [{"id": "odd", "when": "lab.is_odd(a)", "then": {"status": "ODD"}}],
  "default": {"status": "EVEN"}}');
CREATE ROLE regress_operator IN ROLE factory_operator;
SET ROLE regress_operator;
SELECT status FROM factory.judge('odd', '{"a": 3}');
SELECT factory.create_decision('mine', '{"inputs": {}, "rules": []}');
SELECT count(*) FROM factory.judgment_log WHERE created_by = 'regress_operator';
INSERT INTO factory.decision (name) VALUES ('smuggled');
RESET ROLE;
CREATE OR REPLACE FUNCTION lab.is_odd(n integer) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT n % 2 <> 0';
SELECT status FROM factory.judge('odd', '{"a": -3}');
CREATE ROLE regress_author IN ROLE factory_author;
SET ROLE regress_author;
SELECT factory.create_decision('theirs', '{"inputs": {"a": "int"}, "rules": [{"id": "odd", "when": "lab.is_odd(a)", "then": {"status": "ODD"}}]}');
RESET ROLE;
DROP ROLE regress_operator;
DROP ROLE regress_author;
DROP SCHEMA lab CASCADE;
SELECT status FROM factory.judge('odd', '{"a": 3}');

-- Constants of an input at the border of its own limits; kept for statements to come.
SELECT factory.create_decision('bordered', '{"inputs": {"n": {"type": "numeric", "min": 1.5, "max": 1.5, "default": 1.5}, "t": {"type": "text", "enum": ["x"], "default": "x"}, "f": {"type": "float8", "default": 2}},
  "rules": [{"id": "same", "when": "n = 1.5 AND t = ''x'' AND f = 2", "then": {"status": "SAME"}}]}');
SELECT repeat('y', 100000) <> '' AS something_else, status FROM factory.decide('bordered', '{}');
SELECT repeat('z', 100000) <> '' AS something_else, status FROM factory.decide('bordered', '{}');
