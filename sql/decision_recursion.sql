-- A decision whose own rules ask for it: refused where it is written, ended where a function hides it.
SET factory.frozen_clock = '2026-01-15 09:00:00+09';
SET factory.log = off;
SET client_min_messages = warning;
\set VERBOSITY default
\set SHOW_CONTEXT never
CREATE SCHEMA ring;

-- judge() and decide() are no functions for conditions, nor is a function that says it is not immutable.
CREATE FUNCTION ring.honest(a int) RETURNS text LANGUAGE sql VOLATILE AS $$ SELECT (factory.judge('ring', jsonb_build_object('a', a))).status $$;
SELECT c.condition, p.message FROM unnest(ARRAY['(factory.judge(''ring'', jsonb_build_object(''a'', a))).status = ''X''', '(factory.decide(''ring'', jsonb_build_object(''a'', a))).status = ''X''',
	'(factory.judge_row(''ring'', ROW(a))).status = ''X''', 'ring.honest(a) = ''X''']) AS c (condition),
	factory.check_decision(jsonb_build_object('inputs', '{"a": "int"}'::jsonb, 'rules', jsonb_build_array(jsonb_build_object('id', 'r', 'when', c.condition, 'then', '{"status": "X"}'::jsonb)))) AS p;

-- Through functions that say they are: the rule is undecided, and the decision goes on judging.
CREATE FUNCTION ring.judged(a int) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT (factory.judge('ring', jsonb_build_object('a', a))).status $$;
CREATE FUNCTION ring.decided(a int) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN (factory.decide('ring', jsonb_build_object('a', a))).status; END $$;
SELECT factory.create_decision('ring', '{"inputs": {"a": "int"}, "let": {"before": "ring.decided(a)"}, "default": {"status": "NONE"},
	"rules": [{"id": "one", "when": "a = 1", "then": {"status": "ONE"}}, {"id": "judged", "when": "ring.judged(a) = ''X''", "then": {"status": "X"}},
			  {"id": "decided", "when": "ring.decided(a) = ''X''", "then": {"status": "X"}}, {"id": "before", "when": "before = ''X''", "then": {"status": "X"}},
			  {"id": "two", "when": "a = 2", "then": {"status": "TWO"}}]}');
SELECT a, status, result, j.explanation->'undecided' AS undecided FROM generate_series(1, 3) AS a, factory.judge('ring', jsonb_build_object('a', a)) AS j ORDER BY a;
SELECT ring.judged(1), ring.decided(2);

-- In a circle of two, and of typed functions.
SELECT factory.create_decision('ring_b', '{"inputs": {"a": "int"}, "rules": [{"id": "b", "when": "ring.decided(a) = ''X''", "then": {"status": "X"}}], "default": {"status": "NONE"}}');
CREATE OR REPLACE FUNCTION ring.judged(a int) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT (factory.judge('ring_b', jsonb_build_object('a', a))).status $$;
SELECT status, result, j.explanation->'undecided' AS undecided FROM factory.judge('ring', '{"a": 3}') AS j;
CREATE FUNCTION ring.through(a int) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN ring.typed(a); END $$;
SELECT factory.create_decision('ring_typed', '{"inputs": {"a": "int"}, "rules": [{"id": "one", "when": "a = 1", "then": {"status": "ONE"}}, {"id": "through", "when": "ring.through(a) = ''X''", "then": {"status": "X"}}]}');
SELECT factory.create_decision_function('ring_typed', name => 'ring.typed');
SELECT a, ring.typed(a) FROM generate_series(1, 2) AS a ORDER BY a;

-- What is constant is evaluated while a version is compiled: that, too, asks once.
CREATE FUNCTION ring.constant(a int) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT (factory.decide('ring_constant', jsonb_build_object('a', a))).status $$;
SELECT factory.create_decision('ring_constant', '{"inputs": {"a": "int"}, "rules": [], "default": {"status": "D"}}');
SELECT factory.save_version('ring_constant', '{"inputs": {"a": "int"}, "rules": [{"id": "r", "when": "ring.constant(1) = ''D''", "then": {"status": "X"}}], "default": {"status": "D"}}', 'asks itself');
SELECT factory.deploy('ring_constant', 2);
SELECT status FROM factory.decide('ring_constant', '{"a": 1}');
SELECT status FROM factory.judge('ring_constant', '{"a": 1}');
SELECT factory.rollback('ring_constant', 'asks itself');
SELECT status, version FROM factory.decide('ring_constant', '{"a": 1}');
DROP SCHEMA ring CASCADE;
