-- A decision is one document; the first judgment comes a statement later.
SET factory.frozen_clock = '2026-01-15 09:00:00+09';
\set VERBOSITY default

SELECT factory.create_decision('defect_rate', '{
  "inputs": {"line_code": "text", "defect_count": "integer", "production_count": "integer"},
  "let": {"defect_rate": "defect_count::float8 / nullif(production_count, 0)"},
  "rules": [
    {"id": "high", "when": "defect_rate >= 0.05", "confidence": 0.95,
     "then": {"status": "HIGH_DEFECT", "severity": "critical", "recommended_actions": ["stop_line", "call_quality"]},
     "because": "defect rate {defect_rate} of {line_code} is at or above 5%"},
    {"id": "moderate", "when": "defect_rate >= 0.02", "confidence": 0.85,
     "then": {"status": "MODERATE_DEFECT", "severity": "warning", "recommended_actions": ["watch"]},
     "because": "defect rate {defect_rate} of {line_code} is at or above 2%"}
  ],
  "default": {"status": "NORMAL", "severity": "info", "confidence": 0.9}
}', 'defects per piece');

-- 5 of 100 is the boundary, and it is high.
SELECT result, status, severity, confidence, recommended_actions, method_used, policy, matched_rules, degraded
FROM factory.judge('defect_rate', '{"line_code": "LINE-A", "defect_count": 5, "production_count": 100}') \gx
SELECT jsonb_pretty(explanation) FROM factory.judge('defect_rate', '{"line_code": "LINE-A", "defect_count": 5, "production_count": 100}');

SELECT d, j.result, j.status, j.matched_rules, j.explanation->>'summary' AS because
FROM unnest(ARRAY[0, 1, 2, 3, 4, 5, 6]) AS d,
  factory.judge('defect_rate', jsonb_build_object('line_code', 'LINE-B', 'defect_count', d, 'production_count', 100)) AS j ORDER BY d;

-- Nothing fails open: without a production there is no rate, and so no verdict.
SELECT result, status, confidence, matched_rules, explanation->'reasoning' AS reasoning
FROM factory.judge('defect_rate', '{"defect_count": 5, "production_count": 0}') \gx
SELECT result, explanation->>'summary' AS because FROM factory.judge('defect_rate', '{"defect_count": 5}');

-- Each was logged, with the input it had.
SELECT count(*), count(*) FILTER (WHERE result = 'critical') AS critical, count(DISTINCT execution_id) AS ids,
       bool_and(created_at = factory.clock_now()) AS at_the_clock
FROM factory.judgment_log;
SELECT input, result FROM factory.judgment_log WHERE result = 'unknown' ORDER BY input::text;
