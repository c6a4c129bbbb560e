-- What a prompt costs: the example of C-4 5.2.1, and what is left of it.
SELECT factory.create_decision('reported_defects', '{
  "inputs": {"line": "text", "defects": "int", "produced": "int", "operator": {"type": "text", "pii": true}, "note": "text"},
  "rules": [{"id": "high", "when": "defects > produced * 0.03", "confidence": 0.9, "then": {"status": "HIGH", "severity": "critical"}}],
  "default": {"status": "NORMAL", "severity": "info"},
  "statuses": ["HIGH", "NORMAL"],
  "prompt": {"model": "mini", "system": "Manufacturing quality expert. Analyze defect data.",
             "user": "Line: {{ line }}\nDefect: {{ defects }}/{{ produced }}"}}');

SELECT decision, version, tokens_before, tokens_after, saved_pct, saved_pct >= 60 AS enough, prompt_after
FROM factory.prompt_report('reported_defects', '{"line": "LINE-A", "defects": 5, "produced": 100}', before => $$
You are an expert manufacturing quality analyst with 20 years of experience in defect detection and root cause analysis. You have extensive knowledge of production lines, equipment maintenance, and quality control processes.

Please analyze the following production data and provide a detailed judgment including status, severity, recommended actions, and explanation. Consider historical trends, similar cases, and industry best practices.

Input Data:
- Line: LINE-A
- Defect Count: 5
- Production Count: 100

Provide your analysis in the following JSON format: {"status": "HIGH or NORMAL", "severity": "info, warning or critical", "confidence": 0.0, "recommended_actions": ["..."], "explanation": "..."}
$$);

-- Without another prompt to compare: what the economies are worth.  A field that no template names costs nothing.
SELECT tokens_before - tokens_after > 100 AS less, prompt_before LIKE '%"note": "seen twice"%' AS whole,
  prompt_after LIKE '%seen twice%' AS named
FROM factory.prompt_report('reported_defects', '{"line": "LINE-A", "defects": 5, "produced": 100, "note": "seen twice"}');

-- It is what would be sent, masks included.
SELECT prompt_before LIKE '%010-1234-5678%' OR prompt_after LIKE '%010-1234-5678%' AS leaks
FROM factory.prompt_report('reported_defects', '{"line": "call 010-1234-5678", "defects": 5, "produced": 100}');

-- With the rules' result where the policy tells it.
SELECT factory.create_decision('reported_rules', '{"inputs": {"a": "int"}, "policy": "RULE_FALLBACK",
  "rules": [{"id": "r", "when": "a > 1", "confidence": 0.5, "then": {"status": "S"}}], "statuses": ["S", "N"],
  "prompt": {"model": "mini", "user": "a {{ a }}, rules say {{ rule.status }}"}}');
SELECT split_part(prompt_after, E'\n', 3) AS user_prompt FROM factory.prompt_report('reported_rules', '{"a": 2}');

-- Without a text of one's own: a line for each value that is there, and the rules' result.
SELECT factory.create_decision('reported_all', '{"inputs": {"line": "text", "defects": "int", "produced": "int", "note": "text", "operator": {"type": "text", "pii": true}},
  "let": {"rate": "round(defects::numeric / nullif(produced, 0), 4)"}, "policy": "RULE_FALLBACK",
  "rules": [{"id": "high", "when": "rate > 0.03", "confidence": 0.5, "then": {"status": "HIGH"}}], "statuses": ["HIGH", "NORMAL"],
  "prompt": {"model": "mini"}}');
SELECT saved_pct > 50 AS halved, split_part(prompt_after, E'\n', 1) AS system, substr(prompt_after, strpos(prompt_after, 'line: ')) AS user_prompt
FROM factory.prompt_report('reported_all', '{"line": "LINE-A", "defects": 5, "produced": 100, "operator": "Kim"}');
SELECT factory.render_template('{{ . }}', '{"a": 1, "b": null, "c": "two", "d": {"e": [1, 2]}}');

-- Without an input: that of the last judgment in the log.
SELECT result FROM factory.judge('reported_rules', '{"a": 7}', policy => 'RULE_ONLY');
SELECT split_part(prompt_after, E'\n', 3) AS user_prompt FROM factory.prompt_report('reported_rules');

-- What cannot be reported.
SELECT factory.prompt_report(NULL);
SELECT factory.prompt_report('reported_defects');
SELECT factory.prompt_report('nothing', '{}');
SELECT factory.prompt_report('reported_defects', '{"defects": "many"}');
SELECT factory.create_decision('reported_silent', '{"inputs": {"a": "int"}, "rules": [], "default": {"status": "N"}}');
SELECT factory.prompt_report('reported_silent', '{"a": 1}');
