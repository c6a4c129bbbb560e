-- What bench/http asks for: a small function, a decision, a view of a million rows.
CREATE EXTENSION pg_factory;
CREATE ROLE web LOGIN NOINHERIT;
CREATE ROLE visitor NOLOGIN IN ROLE factory_operator, factory_monitor;
GRANT visitor TO web;
CREATE SCHEMA api;
GRANT USAGE ON SCHEMA api TO PUBLIC;
CREATE FUNCTION api.f(a int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT a + 1';
CREATE VIEW api.big AS SELECT i AS id, 'line ' || i AS name, i * 0.5 AS rate FROM generate_series(1, 1000000) AS i;
GRANT SELECT ON api.big TO visitor;
SELECT factory.create_decision('defect_rate', '{
  "inputs": {"line_code": "text", "defect_count": "integer", "production_count": "integer"},
  "let": {"defect_rate": "defect_count::float8 / nullif(production_count, 0)"},
  "rules": [
    {"id": "high", "when": "defect_rate >= 0.05", "confidence": 0.95,
     "then": {"status": "HIGH_DEFECT", "severity": "critical", "recommended_actions": ["stop_line"]}},
    {"id": "moderate", "when": "defect_rate >= 0.02", "confidence": 0.85,
     "then": {"status": "MODERATE_DEFECT", "severity": "warning"}}],
  "default": {"status": "NORMAL", "severity": "info", "confidence": 0.9}, "policy": "RULE_ONLY"}') \g /dev/null
