-- What a person decides: the policy ESCALATE, reviews, dangerous actions.
\set SHOW_CONTEXT never
SET factory.frozen_clock = '2026-01-15 09:00:00+09';
SET timezone = 'Asia/Seoul';
-- The scheduler's clock does not stand still.
SELECT factory.pause_workers('the clock stands still');
\set press '{"inputs": {"rate": "float8"}, "rules": [{"id": "high", "when": "rate >= 0.05", "confidence": 0.95, "then": {"status": "HIGH", "severity": "critical", "recommended_actions": ["Stop line", "call_quality", {"action_type": "halt_equipment", "target": "P1"}]}}, {"id": "odd", "when": "rate >= 0.03", "confidence": 0.6, "then": {"status": "ODD", "severity": "warning"}}], "default": {"status": "FINE", "severity": "info", "confidence": 0.9}}'
SELECT factory.create_decision('press', :'press');

-- Dangerous actions are not given out as plain ones, neither in the answer nor in the outcome.
SELECT status, recommended_actions, outcome -> 'recommended_actions' = recommended_actions AS alike, components -> 'review' AS review
FROM factory.judge('press', '{"rate": 0.06}');
SELECT recommended_actions FROM factory.decide('press', '{"rate": 0.06}');
SELECT status, components -> 'review' AS review FROM factory.judge('press', '{"rate": 0.04}');
SELECT status, components -> 'review' AS review FROM factory.judge('press', '{"rate": 0.01}');

-- Reviews wait, with all that is needed to decide.
SELECT decision, version, status, reasons, result, confidence, input, created_at, due_at FROM factory.review WHERE decision = 'press' ORDER BY confidence DESC;
SELECT jsonb_pretty(proposal) FROM factory.review WHERE result = 'critical' AND decision = 'press';

-- The policy that leaves all to a person: no answer, but what the rules would have said.
SELECT result, status, severity, confidence, recommended_actions, outcome, method_used, policy, matched_rules, explanation ->> 'summary' AS because,
  components ->> 'rule_status' AS rule_status
FROM factory.judge('press', '{"rate": 0.01}', policy => 'escalate');
SELECT method_used, result, status FROM factory.judgment_log WHERE policy = 'ESCALATE';

-- What makes a review is the plant's to say.
SET factory.review_critical = off;
SET factory.review_confidence = 0.5;
SET factory.dangerous_actions = '';
SELECT recommended_actions, components -> 'review' AS review FROM factory.judge('press', '{"rate": 0.06}');
SELECT components -> 'review' AS review FROM factory.judge('press', '{"rate": 0.04}');
RESET factory.dangerous_actions;
SELECT recommended_actions FROM factory.judge('press', '{"rate": 0.06}');
RESET factory.review_critical;
RESET factory.review_confidence;
BEGIN READ ONLY;
SELECT components -> 'review' AS review FROM factory.judge('press', '{"rate": 0.06}');
COMMIT;

-- People decide.
CREATE TEMP TABLE waiting AS SELECT row_number() OVER (ORDER BY confidence DESC NULLS LAST, cardinality(reasons) DESC) AS n, execution_id, result, reasons FROM factory.review WHERE decision = 'press';
SELECT n, result, reasons FROM waiting ORDER BY n;
SELECT factory.approve(execution_id, 'seen on the line') - 'approved_by' AS released FROM waiting WHERE n = 1;
\set VERBOSITY sqlstate
SELECT factory.approve(execution_id) FROM waiting WHERE n = 1;
\set VERBOSITY default
SELECT factory.reject(execution_id, ' ') FROM waiting WHERE n = 3;
SELECT factory.reject(execution_id, 'sensor was cleaned', '{"status": "FINE"}') FROM waiting WHERE n = 3;
SELECT factory.approve('00000000-0000-7000-8000-000000000000');
SELECT factory.approve(NULL);
SELECT n, r.status, r.decided_by = session_user AS by_me, r.decided_at, r.comment FROM waiting JOIN factory.review r USING (execution_id) ORDER BY n;
SELECT kind, correct_status, comment FROM factory.judgment_feedback WHERE decision = 'press' ORDER BY id;
SELECT action, before, after FROM factory.audit_log WHERE object_type = 'review' ORDER BY created_at;

-- Not who had it judged, where two persons are asked for.
SET factory.require_second_person = on;
\set VERBOSITY sqlstate
SELECT factory.approve(execution_id) FROM waiting WHERE n = 4;
\set VERBOSITY default
RESET factory.require_second_person;

-- Reminders and deadlines.
SET factory.frozen_clock = '2026-01-15 12:00:00+09';
SELECT count(*) AS tended FROM factory.tend_reviews();
SELECT status, reminded_at FROM factory.review WHERE decision = 'press' ORDER BY status, execution_id;
SET factory.frozen_clock = '2026-01-15 13:00:00+09';
SELECT count(*) AS tended FROM factory.tend_reviews();
SELECT status, count(*) FROM factory.review WHERE decision = 'press' GROUP BY status ORDER BY status;
SELECT factory.approve(execution_id, 'late, but right') ->> 'status' AS status FROM waiting WHERE n = 4;

-- Definitions that are wrong.
SELECT factory.create_decision('x', '{"inputs": {"a": "int"}, "rules": [], "conflict_resolution": "coin"}');

-- Who may not judge may not decide; another tenant sees nothing.
CREATE ROLE passer_by;
SET ROLE passer_by;
SELECT factory.approve('00000000-0000-7000-8000-000000000000');
SELECT count(*) FROM factory.review;
RESET ROLE;
DROP ROLE passer_by;
SELECT factory.create_tenant('review_other');
CREATE ROLE review_other IN ROLE factory_operator;
SELECT factory.map_tenant_role('review_other', 'review_other');
SET ROLE review_other;
SELECT count(*) FROM factory.review;
RESET ROLE;
SELECT factory.unmap_tenant_role('review_other');
SELECT factory.drop_tenant('review_other');
DROP OWNED BY review_other;
DROP ROLE review_other;
SELECT factory.resume_workers();
DELETE FROM factory.judgment_log WHERE decision = 'press';
