-- Hit policies as DMN has them: which of the rules that match answer, in which order, and what they
-- give together.
SET factory.frozen_clock = '2026-01-15 09:00:00+09';
SET factory.log = off;
\set VERBOSITY default

-- A discount in the manner of the standard's tables: every policy over the same rules, of which
-- "loyal" and "large" have one priority and "any" has none.
SELECT factory.create_decision('discount_' || p, jsonb_build_object('hit_policy', p, 'inputs', '{"orders": "int", "amount": "numeric"}'::jsonb,
	'rules', '[{"id": "any",   "when": "amount > 0",    "then": {"status": "BASE", "severity": "info", "percent": 0.1}},
			   {"id": "loyal", "when": "orders >= 10",  "then": {"status": "LOYAL", "severity": "info", "percent": 0.2}, "priority": 5},
			   {"id": "large", "when": "amount > 1000", "then": {"status": "LARGE", "severity": "warning", "percent": 0.2}, "priority": 5},
			   {"id": "huge",  "when": "amount > 9000", "then": {"status": "HUGE", "severity": "warning", "percent": null}, "priority": 9}]'::jsonb,
	'default', '{"status": "NONE"}'::jsonb))
FROM unnest(ARRAY['first', 'unique', 'any', 'priority', 'collect', 'rule_order', 'output_order']) AS p \g /dev/null
SELECT p, i, j.status, j.severity, j.matched_rules, j.outcome -> 'percent' AS percent, jsonb_path_query_array(j.outcome, '$.hits[*].percent') AS all_of_them
FROM unnest(ARRAY['first', 'priority', 'collect', 'rule_order', 'output_order']) WITH ORDINALITY AS v(p, n),
	(VALUES ('nothing', '{"orders": 0, "amount": 0}'::jsonb), ('one', '{"orders": 1, "amount": 10}'), ('two', '{"orders": 12, "amount": 10}'), ('all', '{"orders": 12, "amount": 10000}')) AS w(i, input),
	factory.decide('discount_' || p, input) AS j ORDER BY n, input ->> 'orders' DESC, i;

-- Unique: one may match. Any: all that match say the same.
SELECT status, matched_rules FROM factory.decide('discount_unique', '{"orders": 1, "amount": 10}');
SELECT status FROM factory.decide('discount_unique', '{"orders": 12, "amount": 10}');
SELECT status FROM factory.decide('discount_any', '{"orders": 12, "amount": 10}');
SELECT status FROM factory.decide('discount_unique', '{"orders": 0, "amount": 0}');
SELECT factory.create_decision('agree', '{"hit_policy": "any", "inputs": {"a": "int"}, "rules": [
	{"id": "one", "when": "a > 0", "then": {"status": "YES", "n": 1}}, {"id": "two", "when": "a > 1", "then": {"n": 1.0, "status": "YES"}},
	{"id": "three", "when": "a > 2", "then": {"status": "YES", "n": 2}}]}');
SELECT status, matched_rules FROM factory.decide('agree', '{"a": 2}');
SELECT status FROM factory.decide('agree', '{"a": 3}');

-- Collecting: numbers stay decimal, ties and NULLs are as in SQL; what is computed counts, too.
SELECT factory.create_decision('points', '{"hit_policy": "collect", "inputs": {"a": "int", "b": "numeric"},
	"collect": {"total": "sum", "least": "min", "most": "max", "said": "count", "words": "list", "score": "sum", "best": "max"},
	"rules": [
	{"id": "r1", "when": "a >= 1", "then": {"status": "X", "total": 0.1, "least": 2.50, "most": 7, "said": "x", "words": "one"}, "set": {"score": "b / 3", "best": "b"}},
	{"id": "r2", "when": "a >= 2", "then": {"status": "X", "total": 0.2, "least": 2.5, "most": 7.0, "said": null, "words": null}, "set": {"score": "b", "best": "NULL::numeric"}},
	{"id": "r3", "when": "a >= 3", "then": {"status": "X", "total": null, "least": null, "most": null, "words": ["two", 2]}, "set": {"best": "b + 0.000000000000000000001"}},
	{"id": "r4", "when": "a >= 4", "then": {"status": "X", "total": 1e20, "least": -1, "most": 99999999999999999999, "said": false}, "set": {"best": "1 / (a - 4)"}}],
	"default": {"status": "NONE"}}');
SELECT a, j.outcome - 'hits' - 'status' AS outcome, j.explanation -> 'undecided' AS undecided
FROM generate_series(0, 4) AS a, factory.decide('points', jsonb_build_object('a', a, 'b', 0.3)) AS j ORDER BY a;
SELECT factory.create_decision('empty', '{"hit_policy": "collect", "inputs": {"a": "int"}, "collect": {"total": "sum", "least": "min", "most": "max", "said": "count", "words": "list"},
	"rules": [{"id": "r", "when": "a > 0", "then": {"status": "X"}}]}');
SELECT outcome FROM factory.decide('empty', '{"a": 1}');
SELECT factory.create_decision('wordy', '{"hit_policy": "collect", "inputs": {"a": "int"}, "collect": {"total": "sum", "words": "list", "most": "max"},
	"rules": [{"id": "r", "when": "a > 0", "then": {"status": "X", "total": "many", "words": "many", "most": true}}]}');

-- Where NULL keeps a rule from being decided: for the decision, for an input, for a let value.
SELECT factory.create_decision('null_' || o, jsonb_build_object('on_null', o, 'inputs', '{"a": "int", "b": {"type": "int", "on_null": "no_match"}, "c": {"type": "int", "on_null": "error"}}'::jsonb,
	'let', '{"half": "a / 2.0"}'::jsonb,
	'rules', '[{"id": "a", "when": "a > 5", "then": {"status": "A"}}, {"id": "half", "when": "half > 1", "then": {"status": "HALF"}},
			   {"id": "b", "when": "b > 5", "then": {"status": "B"}}, {"id": "c", "when": "c > 5", "then": {"status": "C"}}]'::jsonb, 'default', '{"status": "NONE"}'::jsonb))
FROM unnest(ARRAY['unknown', 'no_match', 'error']) AS o \g /dev/null
SELECT o, input, j.result, j.status, j.explanation -> 'undecided' AS undecided
FROM unnest(ARRAY['unknown', 'no_match']) AS o, (VALUES (1, '{"b": 1, "c": 1}'::jsonb), (2, '{"a": 1, "c": 1}'), (3, '{"b": 9, "c": 1}')) AS v(n, input),
	factory.decide('null_' || o, input) AS j ORDER BY o, n;
SELECT status FROM factory.decide('null_error', '{"a": 1, "c": 1}');
SELECT status FROM factory.decide('null_error', '{"b": 1, "c": 1}');
SELECT status FROM factory.decide('null_no_match', '{"a": 1, "b": 1}');

-- What the rules say of themselves, in both languages: each kind of sentence.
SELECT factory.create_decision('said_' || language || '_' || d, jsonb_build_object('language', language, 'hit_policy', 'collect', 'inputs', '{"a": "int", "t": "text"}'::jsonb,
	'rules', '[{"id": "plain", "when": "a > 1", "then": {"status": "X"}}, {"id": "always", "when": "true", "then": {"status": "X"}, "set": {"bad": "1 / (a - a)"}},
			   {"id": "fails", "when": "10 / (a - 2) > 100", "then": {"status": "X"}}, {"id": "odd", "when": "nullif(1, 1) = 1", "then": {"status": "X"}}]'::jsonb - CASE d WHEN 'none' THEN 1 ELSE 9 END)
	|| CASE d WHEN 'none' THEN '{}' ELSE '{"default": {"status": "NONE"}}'::jsonb END)
FROM unnest(ARRAY['en', 'ko']) AS language, unnest(ARRAY['some', 'none']) AS d \g /dev/null
SELECT d, a, j.explanation ->> 'summary' AS summary, j.explanation -> 'reasoning' AS reasoning
FROM unnest(ARRAY['en', 'ko']) AS language, unnest(ARRAY['some', 'none']) AS d, unnest(ARRAY[2, 0, NULL]) AS a,
	factory.decide('said_' || language || '_' || d, jsonb_build_object('a', a)) AS j ORDER BY language, d, a;
SELECT factory.create_decision('silent_' || language, jsonb_build_object('language', language, 'inputs', '{"a": "int"}'::jsonb, 'rules', '[{"id": "r", "when": "a > 1", "then": {"status": "X"}}]'::jsonb))
FROM unnest(ARRAY['en', 'ko']) AS language \g /dev/null
SELECT language, p, j.explanation ->> 'summary' AS summary
FROM unnest(ARRAY['en', 'ko']) AS language, unnest(ARRAY['RULE_ONLY', 'ESCALATE']) AS p, factory.judge('silent_' || language, '{"a": 0}', policy => p) AS j ORDER BY 1, 2 DESC;
