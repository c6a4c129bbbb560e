-- Limits of definitions and inputs: what reaches one passes, one more is refused by name.
SET factory.frozen_clock = '2026-01-15 09:00:00+09';
\set VERBOSITY default
CREATE SCHEMA limits;
CREATE FUNCTION limits.rules(count int) RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_build_object('inputs', '{"n": "int"}'::jsonb, 'default', '{"status": "NONE"}'::jsonb,
		'rules', (SELECT jsonb_agg(jsonb_build_object('id', 'r' || i, 'when', 'n = ' || i, 'then', jsonb_build_object('status', 'S' || i)) ORDER BY i)
				  FROM generate_series(1, count) AS i))
$$;
CREATE FUNCTION limits.inputs(inputs int, lets int) RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_build_object('rules', '[]'::jsonb,
		'inputs', (SELECT jsonb_object_agg('i' || i, 'int') FROM generate_series(1, inputs) AS i),
		'let', (SELECT coalesce(jsonb_object_agg('l' || i, 'i1 + ' || i), '{}') FROM generate_series(1, lets) AS i))
$$;
CREATE FUNCTION limits.deep(levels int) RETURNS jsonb LANGUAGE sql AS $$ SELECT (repeat('[', levels) || repeat(']', levels))::jsonb $$;

-- Rules of a version: ten thousand.
SELECT factory.create_decision('large', limits.rules(10000));
SELECT matched_rules, status FROM factory.decide('large', '{"n": 9999}');
SELECT matched_rules, status FROM factory.decide('large', '{"n": 10001}');
SELECT level, rule, message FROM factory.check_decision(limits.rules(10001));
SELECT factory.create_decision('larger', limits.rules(10001));

-- A limit that is lowered, or raised: the version that is in force stays so.
SET factory.judgment_max_rules = 2;
SELECT factory.create_decision('two', limits.rules(2));
SELECT factory.create_decision('three', limits.rules(3));
\c
SET factory.frozen_clock = '2026-01-15 09:00:00+09';
SET factory.judgment_max_rules = 1;
SELECT matched_rules FROM factory.decide('two', '{"n": 2}');
SELECT matched_rules FROM factory.decide('large', '{"n": 2}');
RESET factory.judgment_max_rules;

-- Inputs, and let values.
SELECT factory.create_decision('wide', limits.inputs(500, 500));
SELECT factory.create_decision('wider', limits.inputs(501, 0));
SELECT factory.create_decision('wider', limits.inputs(1, 501));
SET factory.judgment_max_inputs = 1600;
SELECT factory.create_decision('widest', limits.inputs(1600, 1600));
SELECT status, result FROM factory.decide('widest', '{"i1": 1, "i1600": 2}');
-- So large an explanation is stored as the server would store it, byte for byte.
SELECT count(*) AS keys, bool_and(pg_column_size(e) = pg_column_size(e::text::jsonb) AND e = e::text::jsonb) AS same
FROM factory.decide('widest', '{"i1": 1, "i700": 7, "i1600": 2}') AS j, jsonb_path_query(j.explanation, '$.evidence') AS e, jsonb_object_keys(e) AS k
WHERE e @> '{"i1": 1, "i700": 7, "i1600": 2, "i2": null, "l1600": 1601}';
RESET factory.judgment_max_inputs;

-- The length of a condition, a let value, a computed outcome, in bytes.
SET factory.judgment_max_condition = 16;
SELECT factory.create_decision('short', '{"inputs": {"n": "int"}, "let": {"l": "n + 1000000000"}, "rules": [{"id": "a", "when": "n > 100000000000", "set": {"s": "n + 100000000000"}}]}');
SELECT rule, message FROM factory.check_decision('{"inputs": {"n": "int"}, "let": {"l": "n + 1000000000000"},
	"rules": [{"id": "a", "when": "n > 1000000000000", "set": {"s": "n + 1000000000000"}}]}');
SELECT factory.create_decision('longer', '{"inputs": {"n": "int"}, "rules": [{"id": "a", "when": "n > 1000000000000", "then": {"status": "X"}}]}');
RESET factory.judgment_max_condition;

-- The size of a definition.
CREATE TEMP TABLE sized AS SELECT jsonb_build_object('inputs', '{}'::jsonb, 'rules', '[]'::jsonb, 'description', repeat('x', 4096 - 48)) AS definition;
SELECT set_config('factory.judgment_max_definition', pg_column_size(definition || '{}') || 'B', false) <> '' FROM sized;
SELECT factory.create_decision('limit_size', definition) FROM sized;
SELECT set_config('factory.judgment_max_definition', pg_column_size(definition || '{}') - 1 || 'B', false) <> '' FROM sized;
SELECT factory.create_decision('limit_size_over', definition) FROM sized;
RESET factory.judgment_max_definition;

-- Nesting, of definitions and of inputs: the document itself is the first level.
SELECT factory.create_decision('deep', jsonb_build_object('inputs', '{"d": "jsonb"}'::jsonb, 'rules',
	jsonb_build_array(jsonb_build_object('id', 'a', 'when', 'd IS NOT NULL', 'then', jsonb_build_object('status', 'X', 'why', limits.deep(60))))));
SELECT factory.create_decision('deeper', jsonb_build_object('inputs', '{"d": "jsonb"}'::jsonb, 'rules',
	jsonb_build_array(jsonb_build_object('id', 'a', 'when', 'd IS NOT NULL', 'then', jsonb_build_object('status', 'X', 'why', limits.deep(61))))));
SELECT status FROM factory.decide('deep', jsonb_build_object('d', limits.deep(63)));
SELECT status FROM factory.decide('deep', jsonb_build_object('d', limits.deep(64)));
SELECT status FROM factory.judge('deep', jsonb_build_object('a', 'b', 'd', limits.deep(64)));

-- The size of an input.
SET factory.judgment_max_input = 1024;
SELECT status FROM factory.decide('deep', jsonb_build_object('d', repeat('x', 1024 - 17)));
SELECT status FROM factory.decide('deep', jsonb_build_object('d', repeat('x', 1025 - 17)));
RESET factory.judgment_max_input;
DROP FUNCTION limits.rules, limits.inputs, limits.deep;
DROP SCHEMA limits;
