-- What factoryd's routes call, without factoryd.
\set VERBOSITY default
\set SHOW_CONTEXT never
\pset null '(null)'
SELECT factory.create_decision('api_defects', '{
  "inputs": {"line_code": "text", "defect_count": "integer", "production_count": "integer"},
  "let": {"defect_rate": "defect_count::float8 / nullif(production_count, 0)"},
  "rules": [
    {"id": "high", "when": "defect_rate >= 0.05", "confidence": 0.95,
     "then": {"status": "HIGH_DEFECT", "severity": "critical", "recommended_actions": ["stop_line"]},
     "because": "defect rate {defect_rate} is at or above 5%"}],
  "default": {"status": "NORMAL", "severity": "info", "confidence": 0.9},
  "policy": "RULE_ONLY"}');

-- A request as the requirement words it; the boundary is a high rate.
SELECT answer -> 'result' AS result, answer -> 'confidence' AS confidence, answer -> 'method_used' AS method,
	answer -> 'policy_used' AS policy, answer -> 'matched_rules' AS rules, answer ? 'explanation' AS explained,
	answer ->> 'execution_id' = answer ->> 'judgment_id' AS same_id
FROM factory.api_judgment_execute('{"workflow_id": "api_defects",
	"input_data": {"line_code": "LINE-A", "defect_count": 5, "production_count": 100}}') AS answer;

-- Explained when asked.
SELECT answer ? 'explanation' AS explained
FROM factory.api_judgment_execute('{"decision": "api_defects", "need_explanation": true,
	"input": {"line_code": "LINE-A", "defect_count": 0, "production_count": 100}}') AS answer;

-- What is missing is said.
SELECT factory.api_judgment_execute('{}');
SELECT factory.api_judgment_execute('{"workflow_id": "api_defects"}');
SELECT factory.api_judgment_execute('{"workflow_id": "api_defects", "input_data": [1]}');
SELECT factory.api_judgment_execute('{"workflow_id": "api_defects", "input_data": {}, "skip_cache": "perhaps"}');
SELECT factory.api_bi_execute_nl_query('{"query_text": " "}');

-- The dashboard shows what is there.
SELECT jsonb_array_length(dashboard -> 'recent_judgments') > 0 AS judged
FROM factory.api_dashboard() AS dashboard;

-- Health of a server that is well; whoever may not look gets less, never an error.
SELECT health ->> 'status' IN ('ok', 'degraded') AS answers, health -> 'preloaded' AS preloaded, health -> 'in_recovery' AS in_recovery,
	health ->> 'database' = current_database() AS here
FROM factory.health() AS health;
SELECT factory.ready();
SET ROLE factory_analyst;
SELECT health -> 'checks' -> 0 AS first_check FROM factory.health() AS health;
SELECT part ->> 'part' AS part, part ->> 'code' AS code
FROM factory.api_dashboard() AS dashboard, jsonb_array_elements(dashboard -> 'missing') AS part
WHERE part ->> 'part' = 'recent_judgments';
SELECT factory.api_judgment_execute('{}');
RESET ROLE;
