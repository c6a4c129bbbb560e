-- What people say of judgments decides which versions somebody shall look at.
SET factory.frozen_clock = '2026-01-15 09:00:00+09';
SET factory.timezone = 'Asia/Seoul';
SET timezone = 'Asia/Seoul';
SELECT factory.pause_workers('the clock stands still');
\set mine '{listed,better,seldom}'
\set rules '{"inputs": {"n": "int"}, "rules": [{"id": "odd", "when": "n % 2 = 1", "then": {"status": "ODD", "severity": "warning"}}], "default": {"status": "EVEN", "severity": "info"}}'
SELECT factory.create_decision(name, :'rules') FROM unnest('{listed,better}'::text[]) AS name;

-- A judgment a second, the oldest first.
CREATE FUNCTION judge_at(decision text, n int) RETURNS uuid LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('factory.frozen_clock', ('2026-01-15 09:00:00+09'::timestamptz + n * interval '1 second')::text, false);
	RETURN (factory.judge(decision, jsonb_build_object('n', n))).execution_id;
END $$;
CREATE TABLE asked AS SELECT d.decision, n, judge_at(d.decision, n) AS id FROM (VALUES ('listed'), ('better')) AS d(decision), generate_series(1, 101) AS n;
SET factory.frozen_clock = '2026-01-15 10:00:00+09';
CREATE FUNCTION say(kind text, decision text, numbers int4range) RETURNS void LANGUAGE sql AS $$
	SELECT factory.feedback(id, kind) FROM asked WHERE asked.decision = say.decision AND n <@ numbers ORDER BY n $$;

-- Nine wrong ones say nothing; the tenth does.
SELECT say('incorrect', 'listed', '[2,10]');
SELECT feedbacks, accuracy, assumed FROM factory.version_accuracy WHERE decision = 'listed';
SELECT count(*) AS listed FROM factory.review_list WHERE decision = ANY (:'mine');
SELECT say('correct', 'listed', '[11,11]');
SELECT feedbacks, accuracy, assumed FROM factory.version_accuracy WHERE decision = 'listed';
SELECT * FROM factory.review_list WHERE decision = ANY (:'mine');

-- Right so far, and better than the other: four of five.
SELECT say('incorrect', 'better', '[1,2]'), say('correct', 'better', '[3,10]');
SELECT decision, accuracy, reasons FROM factory.review_list WHERE decision = ANY (:'mine');
SELECT say('not_helpful', 'better', '[3,3]');
SELECT decision, accuracy, week_negative, reasons FROM factory.review_list WHERE decision = ANY (:'mine');
SET factory.review_accuracy = 0.85;
SELECT decision, reasons FROM factory.review_list WHERE decision = ANY (:'mine');
RESET factory.review_accuracy;

-- The hundredth last counts, the one before it does not; the last word on each does.
SELECT say('correct', 'listed', '[2,101]'), say('incorrect', 'listed', '[1,1]');
SELECT feedbacks, correct, accuracy FROM factory.version_accuracy WHERE decision = 'listed';
SELECT say('incorrect', 'listed', '[2,2]');
SELECT feedbacks, correct, accuracy FROM factory.version_accuracy WHERE decision = 'listed';
-- It is the same for a canary.
SELECT feedbacks, accuracy FROM factory.measure_canary((SELECT d FROM factory.deployment AS d WHERE decision = 'listed'));
SELECT decision, reasons FROM factory.review_list WHERE decision = ANY (:'mine');

-- A week later nobody has spoken of the week.
SET factory.frozen_clock = '2026-01-22 09:01:42+09';
SELECT say('incorrect', 'listed', '[3,101]');
SET factory.frozen_clock = '2026-01-30 10:00:00+09';
SELECT decision, reasons, accuracy, week_accuracy, week_negative, week_judgments FROM factory.review_list WHERE decision = ANY (:'mine');

-- What rules seldom decide.
SELECT factory.create_decision('seldom', '{"inputs": {"n": "int"}, "rules": [{"id": "one", "when": "n = 1", "then": {"status": "ONE"}}], "default": {"status": "OTHER"}}');
SELECT result, count(*) FROM generate_series(1, 10) AS n, factory.judge('seldom', jsonb_build_object('n', CASE WHEN n < 6 THEN 1 END)) GROUP BY 1 ORDER BY 1;
SELECT decision FROM factory.review_list WHERE decision = 'seldom';
SELECT result, status FROM factory.judge('seldom', '{}');
SELECT decision, reasons, round(week_hit_rate::numeric, 3) AS hit_rate, week_judgments FROM factory.review_list WHERE decision = 'seldom';

-- What is not in use is not listed, nor what another tenant uses.
SELECT factory.save_version('listed', :'rules', 'again') AS draft;
SELECT factory.deploy('listed', 2);
SELECT decision FROM factory.review_list WHERE decision = ANY (:'mine') ORDER BY 1;
SELECT factory.create_tenant('elsewhere');
SET factory.tenant = 'elsewhere';
SELECT count(*) FROM factory.review_list;
RESET factory.tenant;

DROP FUNCTION judge_at, say;
DROP TABLE asked;
DELETE FROM factory.judgment_feedback WHERE decision IN ('listed', 'better');
DELETE FROM factory.judgment_log WHERE decision IN ('listed', 'better', 'seldom');
SELECT factory.drop_tenant('elsewhere');
SELECT factory.resume_workers();
