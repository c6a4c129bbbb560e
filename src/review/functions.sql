-- When a judgment was given: its id begins with that, in milliseconds since 1970.
CREATE OR REPLACE FUNCTION factory.execution_time(execution_id uuid) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT 'epoch'::timestamptz + interval '1 millisecond'
		* ('x' || substr(translate(execution_id::text, '-', ''), 1, 12))::bit(48)::bigint
$$;
COMMENT ON FUNCTION factory.execution_time(uuid) IS
'when a judgment was given, to the millisecond: with it a look-up reads one partition of the log';

CREATE OR REPLACE FUNCTION factory.find_judgment(execution_id uuid) RETURNS factory.judgment_log
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	judged CONSTANT timestamptz := factory.execution_time(execution_id);
	logged factory.judgment_log;
BEGIN
	SELECT * INTO logged FROM factory.judgment_log AS l
	WHERE l.execution_id = find_judgment.execution_id AND l.tenant_id = factory.current_tenant()
		AND l.created_at >= judged AND l.created_at < judged + interval '1 millisecond';
	IF NOT FOUND THEN
		RAISE EXCEPTION 'no judgment % is in the log', execution_id
			USING ERRCODE = 'no_data_found',
				HINT = 'Judgments are logged unless factory.log is off or the transaction was rolled back; old ones are dropped.';
	END IF;
	RETURN logged;
END
$$;
COMMENT ON FUNCTION factory.find_judgment(uuid) IS
'one row of the judgment log';

CREATE OR REPLACE FUNCTION factory.acting_role() RETURNS name
LANGUAGE c STABLE PARALLEL SAFE STRICT
AS 'MODULE_PATHNAME', 'factory_acting_role';
COMMENT ON FUNCTION factory.acting_role() IS
'the role that the session acts as, also within a function that runs as its owner';
REVOKE ALL ON FUNCTION factory.acting_role() FROM PUBLIC;

-- Feedback.

CREATE OR REPLACE FUNCTION factory.feedback(execution_id uuid, kind text, correct_result jsonb DEFAULT NULL, comment text DEFAULT NULL)
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	known CONSTANT text[] := ARRAY['correct', 'incorrect', 'partial', 'correction', 'helpful', 'not_helpful', 'comment'];
	meant CONSTANT text := CASE kind WHEN 'thumbs_up' THEN 'correct' WHEN 'thumbs_down' THEN 'incorrect' ELSE kind END;
	judged factory.judgment_log;
	answer text := correct_result ->> 'status';
BEGIN
	IF execution_id IS NULL OR meant IS NULL OR meant <> ALL (known) THEN
		RAISE EXCEPTION 'no feedback of kind "%"', kind
			USING ERRCODE = 'invalid_parameter_value',
				HINT = format('Kinds are %s; thumbs_up and thumbs_down mean correct and incorrect.', array_to_string(known, ', '));
	END IF;
	IF meant = 'correction' AND answer IS NULL THEN
		RAISE EXCEPTION 'a correction says what would have been right'
			USING ERRCODE = 'invalid_parameter_value',
				HINT = 'Give it as correct_result => ''{"status": "NORMAL"}''.';
	END IF;
	IF meant = 'comment' AND comment IS NULL THEN
		RAISE EXCEPTION 'a comment has a text'
			USING ERRCODE = 'invalid_parameter_value', HINT = 'Give it as comment => ''...''.';
	END IF;
	judged := factory.find_judgment(execution_id);
	INSERT INTO factory.judgment_feedback (execution_id, decision, version, kind, correct_status,
		correct_result, comment, given_by, judged_at)
	VALUES (feedback.execution_id, judged.decision, judged.version, meant,
		CASE WHEN meant = 'correct' THEN judged.status ELSE answer END,
		feedback.correct_result, feedback.comment, factory.acting_role(), judged.created_at);
END
$$;
COMMENT ON FUNCTION factory.feedback(uuid, text, jsonb, text) IS
'says of a judgment whether it was right: correct, incorrect, partial, correction with {"status": ...}, helpful, not_helpful or comment';

-- The last word on each judgment that says whether it was right.
CREATE OR REPLACE VIEW factory.judgment_truth AS
SELECT DISTINCT ON (f.execution_id) f.execution_id, f.decision, f.version, f.judged_at,
	f.kind = 'correct' AS was_right, f.correct_status, f.given_by, f.given_at
FROM factory.judgment_feedback AS f
WHERE f.tenant_id = factory.current_tenant() AND f.kind IN ('correct', 'incorrect', 'partial', 'correction')
ORDER BY f.execution_id, f.id DESC;
COMMENT ON VIEW factory.judgment_truth IS
'what people last said of judgments: right or not, and what would have been right';

CREATE OR REPLACE VIEW factory.version_accuracy AS
SELECT t.decision, t.version, count(*) AS feedbacks,
	count(*) FILTER (WHERE t.was_right) AS correct,
	CASE WHEN count(*) < 10 THEN 1.0
		ELSE count(*) FILTER (WHERE t.was_right)::float8 / count(*) END AS accuracy,
	count(*) < 10 AS assumed
FROM (SELECT *, row_number() OVER (PARTITION BY decision, version ORDER BY judged_at DESC, execution_id DESC) AS recent
	FROM factory.judgment_truth) AS t
WHERE t.recent <= 100
GROUP BY t.decision, t.version;
COMMENT ON VIEW factory.version_accuracy IS
'how often a version was right, over its last 100 judgments that people spoke of; fewer than 10 count as 1.0 and say assumed';

CREATE OR REPLACE VIEW factory.rule_coverage AS
WITH defined AS (
	SELECT v.decision, v.version, r.rule ->> 'id' AS rule, r.position
	FROM factory.decision_version AS v,
		jsonb_array_elements(v.definition -> 'rules') WITH ORDINALITY AS r(rule, position)
	WHERE v.tenant_id = factory.current_tenant()
), judged AS (
	SELECT l.decision, l.version, count(*) AS judgments
	FROM factory.judgment_log AS l
	WHERE l.tenant_id = factory.current_tenant() AND l.created_at >= factory.clock_now() - interval '30 days'
	GROUP BY 1, 2
), hit AS (
	SELECT l.decision, l.version, m.rule, count(*) AS hits, max(l.created_at) AS last_hit
	FROM factory.judgment_log AS l, unnest(l.matched_rules) AS m(rule)
	WHERE l.tenant_id = factory.current_tenant() AND l.created_at >= factory.clock_now() - interval '30 days'
	GROUP BY 1, 2, 3
)
SELECT d.decision, d.version, d.position, d.rule, coalesce(h.hits, 0) AS hits,
	coalesce(h.hits, 0)::float8 / nullif(j.judgments, 0) AS share, h.last_hit
FROM defined AS d
JOIN judged AS j ON j.decision = d.decision AND j.version = d.version
LEFT JOIN hit AS h ON h.decision = d.decision AND h.version = d.version AND h.rule = d.rule;
COMMENT ON VIEW factory.rule_coverage IS
'how often each rule of a version matched in the last 30 days, of what share of judgments, and when last';

-- What one look over a week of feedback and log says of each version; fewer than ten say nothing.
CREATE OR REPLACE VIEW factory.review_list AS
WITH used AS (
	SELECT p.decision, p.version, p.status
	FROM factory.deployment AS p
	WHERE p.tenant_id = factory.current_tenant() AND p.status IN ('active', 'canary')
), week AS (
	SELECT t.decision, t.version, count(*) AS feedbacks, avg(t.was_right::int::float8) AS accuracy
	FROM factory.judgment_truth AS t
	WHERE t.judged_at >= factory.clock_now() - interval '7 days'
	GROUP BY 1, 2
), opinion AS (
	SELECT f.decision, f.version, count(*) AS feedbacks,
		avg((f.kind IN ('incorrect', 'correction', 'not_helpful'))::int::float8) AS negative
	FROM factory.judgment_feedback AS f
	WHERE f.tenant_id = factory.current_tenant() AND f.kind <> 'comment' AND f.given_at >= factory.clock_now() - interval '7 days'
	GROUP BY 1, 2
), judged AS (
	SELECT l.decision, l.version, count(*) AS judgments,
		avg((l.matched_rules <> '{}' OR (l.method_used = 'rule_only' AND l.status IS NOT NULL))::int::float8) AS hit_rate
	FROM factory.judgment_log AS l
	WHERE l.tenant_id = factory.current_tenant() AND l.created_at >= factory.clock_now() - interval '7 days'
	GROUP BY 1, 2
), waiting AS (
	SELECT r.decision, r.version, count(*) AS reviews
	FROM factory.review AS r
	WHERE r.tenant_id = factory.current_tenant() AND r.status = 'open'
	GROUP BY 1, 2
)
SELECT u.decision, u.version, u.status, why.reasons, coalesce(a.accuracy, 1) AS accuracy, coalesce(a.assumed, true) AS assumed,
	w.accuracy AS week_accuracy, o.negative AS week_negative, j.hit_rate AS week_hit_rate,
	coalesce(j.judgments, 0) AS week_judgments, coalesce(r.reviews, 0) AS open_reviews
FROM used AS u
LEFT JOIN factory.version_accuracy AS a ON a.decision = u.decision AND a.version = u.version
LEFT JOIN week AS w ON w.decision = u.decision AND w.version = u.version AND w.feedbacks >= 10
LEFT JOIN opinion AS o ON o.decision = u.decision AND o.version = u.version AND o.feedbacks >= 10
LEFT JOIN judged AS j ON j.decision = u.decision AND j.version = u.version
LEFT JOIN waiting AS r ON r.decision = u.decision AND r.version = u.version,
LATERAL (SELECT array_remove(ARRAY[
	CASE WHEN a.accuracy < current_setting('factory.review_accuracy')::float8 THEN 'accuracy_low' END,
	CASE WHEN w.accuracy < current_setting('factory.review_accuracy')::float8 THEN 'week_accuracy_low' END,
	CASE WHEN o.negative > current_setting('factory.review_negative')::float8 THEN 'negative_feedback' END,
	CASE WHEN j.judgments >= 10 AND j.hit_rate < current_setting('factory.review_hit_rate')::float8 THEN 'rules_seldom_decide' END],
	NULL) AS reasons) AS why
WHERE why.reasons <> '{}'
ORDER BY accuracy, week_accuracy, week_negative DESC NULLS LAST, u.decision, u.version;
COMMENT ON VIEW factory.review_list IS
'versions in use that somebody shall look at and why, the least accurate first';

-- Reviews.

-- Who listens is told that something happened, and looks it up with his own rights.
CREATE OR REPLACE FUNCTION factory.tell(event text, about jsonb) RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT pg_notify('factory_events', (jsonb_build_object('event', event) || jsonb_strip_nulls(about))::text)
$$;
COMMENT ON FUNCTION factory.tell(text, jsonb) IS
'tells listeners of channel factory_events, when the transaction commits';
REVOKE ALL ON FUNCTION factory.tell(text, jsonb) FROM PUBLIC;

CREATE OR REPLACE FUNCTION factory.tell_reviews() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM factory.tell('review.opened', jsonb_build_object('tenant_id', n.tenant_id, 'decision', n.decision,
		'count', count(*), 'execution_id', CASE WHEN count(*) = 1 THEN min(n.execution_id::text) END))
	FROM opened AS n GROUP BY n.tenant_id, n.decision;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION factory.tell_reviews() IS
'a trigger: listeners hear of reviews that were opened, once a statement and decision';
REVOKE ALL ON FUNCTION factory.tell_reviews() FROM PUBLIC;
CREATE OR REPLACE TRIGGER tell_reviews AFTER INSERT ON factory.review
	REFERENCING NEW TABLE AS opened FOR EACH STATEMENT EXECUTE FUNCTION factory.tell_reviews();

CREATE OR REPLACE FUNCTION factory.close_review(execution_id uuid, verdict text, comment text) RETURNS factory.review
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	reviewed factory.review;
	me CONSTANT name := factory.acting_role();
BEGIN
	SELECT * INTO reviewed FROM factory.review AS r
	WHERE r.tenant_id = factory.current_tenant() AND r.execution_id = close_review.execution_id FOR UPDATE;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'judgment % awaits no review', close_review.execution_id
			USING ERRCODE = 'no_data_found', HINT = 'Table factory.review has the judgments that do.';
	END IF;
	IF reviewed.status IN ('approved', 'rejected') THEN
		RAISE EXCEPTION 'judgment % was % already', close_review.execution_id, reviewed.status
			USING ERRCODE = 'object_not_in_prerequisite_state',
				DETAIL = format('By %s on %s.', reviewed.decided_by, reviewed.decided_at);
	END IF;
	IF current_setting('factory.require_second_person')::boolean AND reviewed.created_by IN (me, session_user) THEN
		RAISE EXCEPTION '"%" had this judged and may not decide on it', reviewed.created_by
			USING ERRCODE = 'PF106', HINT = 'Another person decides, as factory.require_second_person asks.';
	END IF;
	UPDATE factory.review AS r SET status = verdict, decided_by = me, decided_at = factory.clock_now(),
		comment = close_review.comment
	WHERE r.tenant_id = reviewed.tenant_id AND r.execution_id = reviewed.execution_id
	RETURNING r.* INTO reviewed;
	PERFORM factory.audit(CASE verdict WHEN 'approved' THEN 'approve' ELSE 'reject' END, 'review',
		reviewed.execution_id::text, NULL, jsonb_build_object('decision', reviewed.decision, 'comment', reviewed.comment));
	PERFORM factory.tell('review.' || verdict, jsonb_build_object('tenant_id', reviewed.tenant_id,
		'decision', reviewed.decision, 'execution_id', reviewed.execution_id));
	RETURN reviewed;
END
$$;
COMMENT ON FUNCTION factory.close_review(uuid, text, text) IS
'what approve() and reject() have in common';
REVOKE ALL ON FUNCTION factory.close_review(uuid, text, text) FROM PUBLIC;

-- A judgment that was not logged (factory.log is off, or its row is still queued) has no
-- feedback either.
CREATE OR REPLACE FUNCTION factory.try_feedback(execution_id uuid, kind text, correct_result jsonb, comment text) RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM factory.feedback(execution_id, kind, correct_result, comment);
	RETURN true;
EXCEPTION WHEN no_data_found THEN
	RETURN false;
END
$$;
COMMENT ON FUNCTION factory.try_feedback(uuid, text, jsonb, text) IS
'feedback() on a judgment that may not be in the log; false where it is not';
REVOKE ALL ON FUNCTION factory.try_feedback(uuid, text, jsonb, text) FROM PUBLIC;

CREATE OR REPLACE FUNCTION factory.approve(execution_id uuid, comment text DEFAULT NULL) RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	reviewed factory.review;
	released jsonb;
BEGIN
	reviewed := factory.close_review(execution_id, 'approved', comment);
	released := coalesce(reviewed.proposal -> 'answer', reviewed.proposal -> 'rules', reviewed.proposal -> 'model', '{}');
	-- What was proposed is right; where nothing was answered there is nothing to be right.
	IF reviewed.proposal ? 'answer' THEN
		PERFORM factory.try_feedback(execution_id, 'correct', NULL, comment);
	END IF;
	RETURN released || jsonb_build_object('approved_by', reviewed.decided_by, 'recommended_actions',
		(SELECT coalesce(jsonb_agg(CASE WHEN jsonb_typeof(a) <> 'object' THEN a
				WHEN a - 'requires_approval' - 'action' = '{}' THEN a -> 'action'
				ELSE a - 'requires_approval' END ORDER BY position), '[]')
		 FROM jsonb_array_elements(released -> 'recommended_actions') WITH ORDINALITY AS action(a, position)));
END
$$;
COMMENT ON FUNCTION factory.approve(uuid, text) IS
'a person agrees with a judgment that awaits review; returns its outcome with the actions that are now allowed';

CREATE OR REPLACE FUNCTION factory.reject(execution_id uuid, comment text, correct_result jsonb DEFAULT NULL) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	reviewed factory.review;
BEGIN
	IF coalesce(btrim(comment), '') = '' THEN
		RAISE EXCEPTION 'a rejection says why'
			USING ERRCODE = 'invalid_parameter_value', HINT = 'Give it as comment => ''...''.';
	END IF;
	reviewed := factory.close_review(execution_id, 'rejected', comment);
	IF reviewed.proposal ? 'answer' OR correct_result IS NOT NULL THEN
		PERFORM factory.try_feedback(execution_id, CASE WHEN correct_result IS NULL THEN 'incorrect' ELSE 'correction' END,
			correct_result, comment);
	END IF;
END
$$;
COMMENT ON FUNCTION factory.reject(uuid, text, jsonb) IS
'a person disagrees with a judgment that awaits review, says why, and may say what would have been right';

REVOKE ALL ON FUNCTION factory.approve(uuid, text), factory.reject(uuid, text, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION factory.approve(uuid, text), factory.reject(uuid, text, jsonb)
	TO factory_admin, factory_author, factory_operator;

-- Reminders and deadlines, of all tenants; returns when to look again.
CREATE OR REPLACE FUNCTION factory.tend_reviews() RETURNS timestamptz
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	moment CONSTANT timestamptz := factory.clock_now();
	early CONSTANT interval := current_setting('factory.review_reminder')::interval;
	late factory.review;
BEGIN
	FOR late IN UPDATE factory.review AS r SET status = 'expired'
		WHERE r.status = 'open' AND r.due_at <= moment RETURNING r.*
	LOOP
		PERFORM factory.tell('review.expired', jsonb_build_object('tenant_id', late.tenant_id,
			'decision', late.decision, 'execution_id', late.execution_id));
	END LOOP;
	FOR late IN UPDATE factory.review AS r SET reminded_at = moment
		WHERE r.status = 'open' AND r.reminded_at IS NULL AND early > interval '0' AND r.due_at - early <= moment RETURNING r.*
	LOOP
		PERFORM factory.tell('review.reminder', jsonb_build_object('tenant_id', late.tenant_id,
			'decision', late.decision, 'execution_id', late.execution_id, 'due_at', late.due_at));
	END LOOP;
	RETURN (SELECT min(CASE WHEN r.reminded_at IS NULL AND early > interval '0' THEN r.due_at - early ELSE r.due_at END)
		FROM factory.review AS r WHERE r.status = 'open' AND r.due_at IS NOT NULL);
END
$$;
COMMENT ON FUNCTION factory.tend_reviews() IS
'reminds of reviews and ends those whose time is over, for all tenants; returns when the next is due';
REVOKE ALL ON FUNCTION factory.tend_reviews() FROM PUBLIC;

-- Canaries.

-- How a version has done since a time; fewer than ten judgments say nothing.
CREATE OR REPLACE FUNCTION factory.measure_canary(canary factory.deployment, OUT judgments bigint,
	OUT error_rate float8, OUT latency_p95_ms float8, OUT feedbacks bigint, OUT accuracy float8)
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT j.judgments, j.error_rate, j.latency_p95_ms, coalesce(a.feedbacks, 0), coalesce(a.accuracy, 1)
	FROM (SELECT count(*) AS judgments, avg((l.result = 'unknown' AND l.method_used <> 'escalate')::int::float8) AS error_rate,
			percentile_cont(0.95) WITHIN GROUP (ORDER BY l.execution_time_ms) AS latency_p95_ms
		FROM factory.judgment_log AS l
		WHERE l.tenant_id = canary.tenant_id AND l.decision = canary.decision AND l.version = canary.version
			AND l.created_at >= greatest(canary.deployed_at, factory.clock_now() - current_setting('factory.canary_lookback')::interval)) AS j
	LEFT JOIN (SELECT count(*) AS feedbacks, CASE WHEN count(*) < 10 THEN 1.0 ELSE avg(t.was_right::int::float8) END AS accuracy
		FROM (SELECT f.was_right FROM
				(SELECT DISTINCT ON (f.execution_id) f.execution_id, f.kind = 'correct' AS was_right, f.judged_at
				 FROM factory.judgment_feedback AS f
				 WHERE f.tenant_id = canary.tenant_id AND f.decision = canary.decision AND f.version = canary.version
					AND f.kind IN ('correct', 'incorrect', 'partial', 'correction')
				 ORDER BY f.execution_id, f.id DESC) AS f
			ORDER BY f.judged_at DESC, f.execution_id DESC LIMIT 100) AS t) AS a ON true
$$;
COMMENT ON FUNCTION factory.measure_canary(factory.deployment) IS
'how a canary does: share of unknown results and 95th percentile of time over factory.canary_lookback, accuracy over its last 100 judgments with feedback';
REVOKE ALL ON FUNCTION factory.measure_canary(factory.deployment) FROM PUBLIC;

CREATE OR REPLACE FUNCTION factory.canary_breach(canary factory.deployment) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT CASE
		WHEN m.judgments >= 10 AND m.error_rate > current_setting('factory.canary_error_rate')::float8
			THEN format('error_rate_exceeded: %s %% of %s judgments are unknown, more than %s %%', round((m.error_rate * 100)::numeric, 1),
				m.judgments, current_setting('factory.canary_error_rate')::numeric * 100)
		WHEN m.accuracy < current_setting('factory.canary_accuracy')::float8
			THEN format('accuracy_low: %s of %s judgments that people spoke of were right, less than %s', round(m.accuracy::numeric, 3),
				m.feedbacks, current_setting('factory.canary_accuracy'))
		WHEN m.judgments >= 10 AND m.latency_p95_ms > extract(epoch FROM current_setting('factory.canary_latency')::interval) * 1000
			THEN format('latency_exceeded: 95 %% of %s judgments took up to %s ms, more than %s', m.judgments,
				round(m.latency_p95_ms::numeric, 1), current_setting('factory.canary_latency'))
		END
	FROM factory.measure_canary(canary) AS m
$$;
COMMENT ON FUNCTION factory.canary_breach(factory.deployment) IS
'why a canary is to be rolled back, or null';
REVOKE ALL ON FUNCTION factory.canary_breach(factory.deployment) FROM PUBLIC;
-- Who reads the view calls them: a view's functions run as its reader.
GRANT EXECUTE ON FUNCTION factory.measure_canary(factory.deployment), factory.canary_breach(factory.deployment)
	TO factory_admin, factory_author, factory_operator;

CREATE OR REPLACE VIEW factory.canary_status AS
SELECT p.decision, p.version, p.canary_pct, p.deployed_by, p.deployed_at AS since,
	p.deployed_at + current_setting('factory.canary_window')::interval AS until,
	m.judgments, m.error_rate, m.latency_p95_ms, m.feedbacks, m.accuracy, factory.canary_breach(p) AS breach
FROM factory.deployment AS p, factory.measure_canary(p) AS m
WHERE p.status = 'canary' AND p.tenant_id = factory.current_tenant();
COMMENT ON VIEW factory.canary_status IS
'versions that are tried on a share of inputs, how they do, and why they would be rolled back now';
REVOKE ALL ON factory.canary_status FROM PUBLIC;
GRANT SELECT ON factory.canary_status TO factory_admin, factory_author, factory_operator;

-- Of all tenants; returns when to look again.
CREATE OR REPLACE FUNCTION factory.tend_canaries() RETURNS timestamptz
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	moment CONSTANT timestamptz := factory.clock_now();
	before CONSTANT text := current_setting('factory.tenant');
	canary factory.deployment;
	breach text;
	left_over boolean := false;
BEGIN
	IF NOT current_setting('factory.canary_auto_rollback')::boolean THEN
		RETURN NULL;
	END IF;
	-- One that somebody is ending now is theirs.
	FOR canary IN SELECT * FROM factory.deployment AS p WHERE p.status = 'canary' FOR UPDATE SKIP LOCKED LOOP
		PERFORM set_config('factory.tenant', canary.tenant_id, true);
		breach := factory.canary_breach(canary);
		IF breach IS NOT NULL THEN
			PERFORM factory.end_canary(canary, 'rolled_back', breach);
		ELSIF canary.deployed_at + current_setting('factory.canary_window')::interval <= moment
			AND (SELECT count(*) >= 10 FROM (SELECT FROM factory.judgment_log AS l WHERE l.tenant_id = canary.tenant_id
					AND l.decision = canary.decision AND l.version = canary.version AND l.created_at >= canary.deployed_at LIMIT 10) AS judged)
		THEN
			PERFORM factory.end_canary(canary, 'active', NULL);
		END IF;
	END LOOP;
	PERFORM set_config('factory.tenant', before, true);
	IF EXISTS (SELECT FROM factory.deployment AS p WHERE p.status = 'canary') THEN
		RETURN moment + current_setting('factory.canary_interval')::interval;
	END IF;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION factory.tend_canaries() IS
'rolls back canaries that do badly, promotes those whose time is over; returns when to look again';
REVOKE ALL ON FUNCTION factory.tend_canaries() FROM PUBLIC;

-- What else the scheduler does in this database, besides refreshing.
CREATE OR REPLACE FUNCTION factory.tend() RETURNS timestamptz
LANGUAGE sql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT least(factory.tend_reviews(), factory.tend_canaries(), factory.tend_jobs())
$$;
COMMENT ON FUNCTION factory.tend() IS
'what the scheduler looks after besides refreshing; returns when it is needed next, null for never';
REVOKE ALL ON FUNCTION factory.tend() FROM PUBLIC;

-- Looking back.

CREATE OR REPLACE FUNCTION factory.decide_brief(decision text, input jsonb, version integer) RETURNS text[]
LANGUAGE c STABLE PARALLEL SAFE STRICT
AS 'MODULE_PATHNAME', 'factory_decide_brief';
COMMENT ON FUNCTION factory.decide_brief(text, jsonb, integer) IS
'{status, result} of decide(), without the rest; {invalid, unknown} where the version does not take the input';

CREATE OR REPLACE FUNCTION factory.chi_square_probability(statistic float8, degrees integer) RETURNS float8
LANGUAGE c IMMUTABLE PARALLEL SAFE STRICT
AS 'MODULE_PATHNAME', 'factory_chi_square_probability';
COMMENT ON FUNCTION factory.chi_square_probability(float8, integer) IS
'the probability that chance alone gives a chi-square statistic at least so large';

-- What a comparison of outcome pairs says, as one document.  pairs is an array of
-- {"was": [status, result], "becomes": [status, result], "count"}, and more.
CREATE OR REPLACE FUNCTION factory.summarize_changes(pairs jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
	WITH pair AS (
		SELECT p -> 'was' ->> 0 AS was, p -> 'becomes' ->> 0 AS becomes,
			p -> 'was' ->> 1 IN ('warning', 'critical') AS was_alarm,
			p -> 'becomes' ->> 1 IN ('warning', 'critical') AS becomes_alarm,
			(p ->> 'count')::bigint AS n
		FROM jsonb_array_elements(pairs) AS p
	), total AS (
		SELECT coalesce(sum(n), 0)::float8 AS n,
			coalesce(sum(n) FILTER (WHERE was IS DISTINCT FROM becomes), 0) AS changed,
			coalesce(sum(n) FILTER (WHERE was_alarm), 0)::float8 AS was_alarms,
			coalesce(sum(n) FILTER (WHERE becomes_alarm), 0)::float8 AS becomes_alarms,
			coalesce(sum(n) FILTER (WHERE was_alarm AND NOT becomes_alarm), 0)::float8 AS saved,
			coalesce(sum(n) FILTER (WHERE becomes_alarm AND NOT was_alarm), 0)::float8 AS added
		FROM pair
	), outcome AS (
		SELECT status, sum(was_n) AS was_n, sum(becomes_n) AS becomes_n
		FROM (SELECT was AS status, n AS was_n, 0 AS becomes_n FROM pair
			UNION ALL SELECT becomes, 0, n FROM pair) AS both_sides
		GROUP BY status
	), proportion AS (
		-- Pooled two-proportion test: NIST/SEMATECH e-Handbook 7.3.3.
		SELECT (was_alarms - becomes_alarms) / nullif(sqrt(
				(was_alarms + becomes_alarms) * (1 - (was_alarms + becomes_alarms) / nullif(2 * n, 0))), 0) AS z
		FROM total
	), homogeneity AS (
		-- Chi-square test of homogeneity of two samples of equal size: e-Handbook 7.4.5.
		SELECT sum((was_n - becomes_n)::float8 ^ 2 / (was_n + becomes_n)) AS statistic, count(*)::int - 1 AS degrees
		FROM outcome
	)
	SELECT jsonb_build_object(
		'total_samples', t.n::bigint,
		'changed', t.changed,
		'decision_distribution', jsonb_build_object(
			'baseline', (SELECT jsonb_object_agg(coalesce(status, 'unknown'), was_n) FROM outcome WHERE was_n > 0),
			'modified', (SELECT jsonb_object_agg(coalesce(status, 'unknown'), becomes_n) FROM outcome WHERE becomes_n > 0)),
		'alarms', jsonb_build_object('baseline', t.was_alarms::bigint, 'modified', t.becomes_alarms::bigint,
			'saved', t.saved::bigint, 'added', t.added::bigint),
		'significance', jsonb_build_object(
			'two_proportion', (SELECT jsonb_build_object('z', z,
				'p_value', CASE WHEN z IS NULL THEN 1 ELSE factory.chi_square_probability(z * z, 1) END) FROM proportion),
			'chi_square', (SELECT jsonb_build_object('statistic', coalesce(statistic, 0), 'degrees', greatest(degrees, 0),
				'p_value', CASE WHEN degrees > 0 THEN factory.chi_square_probability(statistic, degrees) ELSE 1 END) FROM homogeneity),
			-- The same inputs judged twice are pairs: McNemar, Psychometrika 12 (1947).
			'mcnemar', jsonb_build_object('statistic', coalesce((t.saved - t.added) ^ 2 / nullif(t.saved + t.added, 0), 0),
				'p_value', CASE WHEN t.saved + t.added = 0 THEN 1
					ELSE factory.chi_square_probability((t.saved - t.added) ^ 2 / (t.saved + t.added), 1) END)))
	FROM total AS t
$$;
COMMENT ON FUNCTION factory.summarize_changes(jsonb) IS
'distributions, alarms and significance of a comparison';

CREATE OR REPLACE FUNCTION factory.require_version(decision text, version integer) RETURNS void
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF NOT EXISTS (SELECT FROM factory.decision_version AS v WHERE v.tenant_id = factory.current_tenant()
			AND v.decision = require_version.decision AND v.version = require_version.version) THEN
		RAISE EXCEPTION 'decision "%" has no version %', decision, version
			USING ERRCODE = 'PF103', HINT = 'View factory.decision_definition lists the versions.';
	END IF;
END
$$;
COMMENT ON FUNCTION factory.require_version(text, integer) IS
'raises where a decision has no such version';

-- Pairs of outcomes, counted: for each comparison an array as summarize_changes() takes it.

CREATE OR REPLACE FUNCTION factory.count_replayed(state internal, decision text, version integer, method_used text,
	status text, result text, judged_version integer, input jsonb, created_at timestamptz, execution_id uuid) RETURNS internal
LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'factory_count_replayed';
COMMENT ON FUNCTION factory.count_replayed(internal, text, integer, text, text, text, integer, jsonb, timestamptz, uuid) IS
'a row for aggregate replayed_pairs';

CREATE OR REPLACE FUNCTION factory.count_backtested(state internal, decision text, versions integer[], given record) RETURNS internal
LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'factory_count_backtested';
COMMENT ON FUNCTION factory.count_backtested(internal, text, integer[], record) IS
'a row for aggregate backtested_pairs';

CREATE OR REPLACE FUNCTION factory.comparison_combine(state internal, other internal) RETURNS internal
LANGUAGE c IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'factory_comparison_combine';
COMMENT ON FUNCTION factory.comparison_combine(internal, internal) IS
'what two parallel workers counted, added up';

CREATE OR REPLACE FUNCTION factory.comparison_serialize(state internal) RETURNS bytea
LANGUAGE c IMMUTABLE PARALLEL SAFE STRICT
AS 'MODULE_PATHNAME', 'factory_comparison_serialize';
COMMENT ON FUNCTION factory.comparison_serialize(internal) IS
'what a parallel worker counted, on its way to the leader';

CREATE OR REPLACE FUNCTION factory.comparison_deserialize(message bytea, state internal) RETURNS internal
LANGUAGE c IMMUTABLE PARALLEL SAFE STRICT
AS 'MODULE_PATHNAME', 'factory_comparison_deserialize';
COMMENT ON FUNCTION factory.comparison_deserialize(bytea, internal) IS
'what a parallel worker counted, as it came to the leader';

CREATE OR REPLACE FUNCTION factory.comparison_pairs(state internal) RETURNS jsonb
LANGUAGE c IMMUTABLE PARALLEL SAFE STRICT
AS 'MODULE_PATHNAME', 'factory_comparison_pairs';
COMMENT ON FUNCTION factory.comparison_pairs(internal) IS
'what replayed_pairs or backtested_pairs counted';

CREATE OR REPLACE AGGREGATE factory.replayed_pairs(decision text, version integer, method_used text, status text, result text,
	judged_version integer, input jsonb, created_at timestamptz, execution_id uuid) (
	SFUNC = factory.count_replayed, STYPE = internal, SSPACE = 65536, FINALFUNC = factory.comparison_pairs,
	COMBINEFUNC = factory.comparison_combine, SERIALFUNC = factory.comparison_serialize,
	DESERIALFUNC = factory.comparison_deserialize, PARALLEL = SAFE);
COMMENT ON AGGREGATE factory.replayed_pairs(text, integer, text, text, text, integer, jsonb, timestamptz, uuid) IS
'rows of the log: what rules said, and what a version''s rules say, as [[{"was", "becomes", "count", "examples"}]]';

CREATE OR REPLACE AGGREGATE factory.backtested_pairs(decision text, versions integer[], given record) (
	SFUNC = factory.count_backtested, STYPE = internal, SSPACE = 65536, FINALFUNC = factory.comparison_pairs,
	COMBINEFUNC = factory.comparison_combine, SERIALFUNC = factory.comparison_serialize,
	DESERIALFUNC = factory.comparison_deserialize, PARALLEL = SAFE);
COMMENT ON AGGREGATE factory.backtested_pairs(text, integer[], record) IS
'rows of a query: what the first version''s rules say and what each other''s do, as [[], [{"was", "becomes", "count", "examples"}], ...]; of one version, what it says';

CREATE OR REPLACE FUNCTION factory.pairs_in_order(pairs jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT coalesce(jsonb_agg(p ORDER BY (p -> 'count')::bigint DESC, p -> 'was', p -> 'becomes'), '[]')
	FROM jsonb_array_elements(pairs) AS p
$$;
COMMENT ON FUNCTION factory.pairs_in_order(jsonb) IS
'pairs of outcomes, the most frequent first';

-- What was judged by rules alone is compared as it was logged; where a model had a say,
-- the rules of that day are asked again, so that rules are compared with rules.
CREATE OR REPLACE FUNCTION factory.replay(decision text, version integer, since timestamptz, until timestamptz DEFAULT NULL)
RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	till CONSTANT timestamptz := coalesce(until, factory.clock_now());
	days CONSTANT float8 := greatest(extract(epoch FROM till - since) / 86400, 1.0 / 24);
	pairs jsonb;
	changes jsonb;
	confusion jsonb;
	report jsonb;
BEGIN
	IF since IS NULL OR since >= till THEN
		RAISE EXCEPTION 'no time to replay between % and %', since, till
			USING ERRCODE = 'invalid_parameter_value', HINT = 'Give "since" as a time before "until".';
	END IF;
	PERFORM factory.require_version(decision, version);
	-- By EXECUTE, so that parallel workers can share it.
	EXECUTE $query$
		SELECT factory.pairs_in_order(factory.replayed_pairs($1, $2, l.method_used, l.status, l.result, l.version,
			l.input, l.created_at, l.execution_id) -> 0)
		FROM factory.judgment_log AS l
		WHERE l.tenant_id = $5 AND l.decision = $1 AND l.created_at >= $3 AND l.created_at < $4
	$query$ INTO pairs USING decision, version, since, till, factory.current_tenant();
	SELECT coalesce(jsonb_agg(p ORDER BY position), '[]') INTO changes
	FROM jsonb_array_elements(pairs) WITH ORDINALITY AS pair(p, position)
	WHERE p -> 'was' -> 0 <> p -> 'becomes' -> 0;
	SELECT jsonb_build_object('judged', count(*),
			'baseline_accuracy', avg((was = correct)::int::float8),
			'modified_accuracy', avg((becomes = correct)::int::float8),
			'matrix', (SELECT coalesce(jsonb_agg(jsonb_build_object('correct', m.correct, 'becomes', m.becomes, 'count', m.n)), '[]')
				FROM (SELECT t.correct_status AS correct, (factory.decide_brief(l.decision, l.input, replay.version))[1] AS becomes, count(*) AS n
					FROM factory.judgment_truth AS t, factory.find_judgment(t.execution_id) AS l
					WHERE t.decision = replay.decision AND t.correct_status IS NOT NULL AND t.judged_at >= replay.since AND t.judged_at < till
					GROUP BY 1, 2 ORDER BY 1, 2) AS m))
	INTO confusion
	FROM (SELECT l.status AS was, (factory.decide_brief(l.decision, l.input, replay.version))[1] AS becomes, t.correct_status AS correct
		FROM factory.judgment_truth AS t, factory.find_judgment(t.execution_id) AS l
		WHERE t.decision = replay.decision AND t.correct_status IS NOT NULL AND t.judged_at >= replay.since AND t.judged_at < till) AS truth;
	report := factory.summarize_changes(pairs);
	RETURN jsonb_build_object('decision', decision, 'version', version, 'since', since, 'until', till)
		|| report
		|| jsonb_build_object('changes', changes,
			'alarms', report -> 'alarms' || jsonb_build_object(
				'saved_per_day', round(((report -> 'alarms' ->> 'saved')::float8 / days)::numeric, 2),
				'added_per_day', round(((report -> 'alarms' ->> 'added')::float8 / days)::numeric, 2)),
			'feedback', confusion);
END
$$;
COMMENT ON FUNCTION factory.replay(text, integer, timestamptz, timestamptz) IS
'judges what was judged in that time again by a version''s rules, writing nothing: what changes, for whom, how many alarms, and whether that is chance';

CREATE OR REPLACE FUNCTION factory.backtest(decision text, versions integer[], query text) RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	most CONSTANT integer := 5;
	baseline CONSTANT integer := versions[1];
	comparisons jsonb := '[]';
	counted jsonb;
	pairs jsonb;
	version integer;
BEGIN
	IF coalesce(cardinality(versions), 0) NOT BETWEEN 1 AND most OR array_position(versions, NULL) IS NOT NULL THEN
		RAISE EXCEPTION 'a backtest takes 1 to % versions', most
			USING ERRCODE = 'invalid_parameter_value', HINT = 'Give them as ARRAY[1, 2]; the first is what the others are compared with.';
	END IF;
	FOREACH version IN ARRAY versions LOOP
		PERFORM factory.require_version(decision, version);
	END LOOP;
	EXECUTE format('SELECT factory.backtested_pairs($1, $2, given.*) FROM (%s) AS given', query)
	INTO counted USING decision, versions;
	FOR i IN CASE WHEN cardinality(versions) = 1 THEN 1 ELSE 2 END .. cardinality(versions) LOOP
		pairs := factory.pairs_in_order(counted -> i - 1);
		comparisons := comparisons || (jsonb_build_object('version', versions[i])
			|| factory.summarize_changes(pairs)
			|| jsonb_build_object('changes', (SELECT coalesce(jsonb_agg(p), '[]') FROM jsonb_array_elements(pairs) AS p
				WHERE p -> 'was' -> 0 <> p -> 'becomes' -> 0)));
	END LOOP;
	RETURN jsonb_build_object('decision', decision, 'baseline', baseline, 'comparisons', comparisons);
END
$$;
COMMENT ON FUNCTION factory.backtest(text, integer[], text) IS
'judges the rows of a query by the rules of several versions, and compares each with the first';

CREATE OR REPLACE FUNCTION factory.explain_judgment(execution_id uuid) RETURNS jsonb
LANGUAGE plpgsql STABLE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	judged CONSTANT factory.judgment_log := factory.find_judgment(execution_id);
	again factory.judgment;
BEGIN
	again := factory.decide(judged.decision, judged.input, judged.version);
	RETURN jsonb_build_object('execution_id', execution_id, 'decision', judged.decision, 'version', judged.version,
		'judged_at', judged.created_at, 'judged_by', judged.created_by, 'input', judged.input,
		'recorded', jsonb_build_object('result', judged.result, 'status', judged.status, 'severity', judged.severity,
			'confidence', judged.confidence, 'method_used', judged.method_used, 'matched_rules', judged.matched_rules,
			'degraded', judged.degraded,
			'components', coalesce(judged.components, again.components - 'log' - 'rule_time_ms')),
		'rules_today', jsonb_build_object('result', again.result, 'status', again.status, 'severity', again.severity,
			'confidence', again.confidence, 'matched_rules', again.matched_rules),
		'same', again.status IS NOT DISTINCT FROM judged.status AND again.matched_rules IS NOT DISTINCT FROM judged.matched_rules,
		'explanation', coalesce(judged.explanation, again.explanation));
END
$$;
COMMENT ON FUNCTION factory.explain_judgment(uuid) IS
'a judgment from the log, and what the rules of the version of that day say to its input, with their reasons';

-- Versions as tables.

CREATE OR REPLACE FUNCTION factory.condition_parts(condition text) RETURNS text[]
LANGUAGE c IMMUTABLE PARALLEL SAFE STRICT
AS 'MODULE_PATHNAME', 'factory_condition_parts';
COMMENT ON FUNCTION factory.condition_parts(text) IS
'the conditions that a condition joins by AND; null where it does more than that';

CREATE OR REPLACE FUNCTION factory.csv_lines(csv text, OUT line integer, OUT fields text[]) RETURNS SETOF record
LANGUAGE c IMMUTABLE PARALLEL SAFE STRICT
AS 'MODULE_PATHNAME', 'factory_csv_lines';
COMMENT ON FUNCTION factory.csv_lines(text) IS
'the lines of a CSV text with their fields (RFC 4180)';

CREATE OR REPLACE FUNCTION factory.find_definition(decision text, version integer, OUT found_version integer, OUT definition jsonb)
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	SELECT v.version, v.definition INTO found_version, definition
	FROM factory.decision_version AS v
	WHERE v.tenant_id = factory.current_tenant() AND v.decision = find_definition.decision
		AND v.version = coalesce(find_definition.version,
			(SELECT p.version FROM factory.deployment AS p WHERE p.tenant_id = factory.current_tenant()
				AND p.decision = find_definition.decision AND p.status = 'active'));
	IF NOT FOUND THEN
		RAISE EXCEPTION 'decision "%" has no version %', decision, coalesce(version::text, 'in force')
			USING ERRCODE = 'PF103', HINT = 'View factory.decision_definition lists the versions.';
	END IF;
END
$$;
COMMENT ON FUNCTION factory.find_definition(text, integer) IS
'a version''s document; of the version in force where none is named';

-- A cell that begins with "=" is a formula to a spreadsheet.  What IS asks, it asks of all before it.
CREATE OR REPLACE FUNCTION factory.condition_cell(part text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT CASE WHEN part ~* '\m(is|isnull|notnull)\M' THEN part
		ELSE regexp_replace(part, '^=\s*(?!\m(?:any|all|some)\M)([[:alnum:]_(''".+-].*)$', 'IN (\1)', 'i') END
$$;
COMMENT ON FUNCTION factory.condition_cell(text) IS
'what of a condition stands in the cell of the input that it begins with: "= 5" as "IN (5)"';

-- A rule's condition in cells: "defect_rate >= 0.05 AND line = 'A'" is ">= 0.05" in column
-- defect_rate and "IN ('A')" in column line.  What does not begin with a name, names one a
-- second time or is still a formula stays in column "when".
CREATE OR REPLACE FUNCTION factory.condition_cells(condition text, names text[]) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	cells jsonb := '{}';
	rest text[] := '{}';
	part text;
	name text;
	cell text;
BEGIN
	IF factory.condition_parts(condition) IS NULL THEN
		RETURN jsonb_build_object('when', condition);
	END IF;
	FOREACH part IN ARRAY factory.condition_parts(condition) LOOP
		name := (regexp_match(part, '^([[:alpha:]_][[:alnum:]_]*)\s*(?=[<>=!]|\m(?:in|between|is|like|ilike|not)\M)', 'i'))[1];
		cell := factory.condition_cell(btrim(substr(part, length(name) + 1)));
		IF name = ANY (names) AND NOT cells ? name AND cell NOT LIKE '=%' THEN
			cells := cells || jsonb_build_object(name, cell);
		ELSIF part <> '' THEN
			rest := rest || part;
		END IF;
	END LOOP;
	RETURN cells || CASE WHEN rest = '{}' THEN '{}' ELSE jsonb_build_object('when', array_to_string(rest, ' AND ')) END;
END
$$;
COMMENT ON FUNCTION factory.condition_cells(text, text[]) IS
'a condition taken apart into one cell an input';

CREATE OR REPLACE FUNCTION factory.is_cell(value jsonb) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT jsonb_typeof(value) = 'string' AND value #>> '{}' = btrim(value #>> '{}') AND value #>> '{}' ~ '^[^=+@[:cntrl:]-]'
$$;
COMMENT ON FUNCTION factory.is_cell(jsonb) IS
'whether a value is a text that a cell of a table gives back as it is, and no formula to a spreadsheet';

CREATE OR REPLACE FUNCTION factory.rule_table(definition jsonb, OUT columns text[], OUT cells text[])
RETURNS SETOF record
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	names CONSTANT text[] := ARRAY(
		SELECT key FROM jsonb_object_keys(definition -> 'inputs') AS key
		UNION SELECT key FROM jsonb_object_keys(coalesce(definition -> 'let', '{}')) AS key);
	rule jsonb;
	outcome jsonb;
	conditions jsonb[] := '{}';
	used text[];
	told text[];
	told_of_outcome text[];
	i integer;
BEGIN
	FOR rule IN SELECT * FROM jsonb_array_elements(definition -> 'rules') LOOP
		conditions := conditions || factory.condition_cells(rule ->> 'when', names);
	END LOOP;
	used := ARRAY(SELECT name FROM unnest(names) AS name
		WHERE EXISTS (SELECT FROM unnest(conditions) AS c WHERE c ? name) ORDER BY name);
	columns := ARRAY['id'] || used || ARRAY['when', 'status', 'severity', 'confidence', 'priority', 'recommended_actions', 'because', 'rest'];
	FOR i IN 1 .. coalesce(cardinality(conditions), 0) LOOP
		rule := definition -> 'rules' -> (i - 1);
		outcome := coalesce(rule -> 'then', '{}');
		-- What a cell would not give back as it is stays in "rest".
		told := ARRAY(SELECT key FROM jsonb_each(rule) AS e(key, value)
			WHERE key IN ('id', 'because') AND factory.is_cell(value) OR key IN ('confidence', 'priority') AND jsonb_typeof(value) = 'number');
		told_of_outcome := ARRAY(SELECT key FROM jsonb_each(outcome) AS e(key, value)
			WHERE key IN ('status', 'severity') AND factory.is_cell(value)
				OR key = 'recommended_actions' AND jsonb_typeof(value) = 'array' AND value <> '[]'
					AND NOT EXISTS (SELECT FROM jsonb_array_elements(value) AS action WHERE NOT factory.is_cell(action) OR action #>> '{}' LIKE '%;%'));
		cells := ARRAY[rule ->> 'id']
			|| ARRAY(SELECT coalesce(conditions[i] ->> name, '') FROM unnest(used) AS name ORDER BY name)
			|| ARRAY[coalesce(conditions[i] ->> 'when', ''),
				CASE WHEN 'status' = ANY (told_of_outcome) THEN outcome ->> 'status' ELSE '' END,
				CASE WHEN 'severity' = ANY (told_of_outcome) THEN outcome ->> 'severity' ELSE '' END,
				CASE WHEN 'confidence' = ANY (told) THEN rule ->> 'confidence' ELSE '' END,
				CASE WHEN 'priority' = ANY (told) THEN rule ->> 'priority' ELSE '' END,
				CASE WHEN 'recommended_actions' = ANY (told_of_outcome)
					THEN (SELECT string_agg(action, '; ') FROM jsonb_array_elements_text(outcome -> 'recommended_actions') AS action) ELSE '' END,
				CASE WHEN 'because' = ANY (told) THEN rule ->> 'because' ELSE '' END,
				coalesce(nullif((rule - 'when' - 'then' - told
					|| CASE WHEN outcome - told_of_outcome = '{}' AND (rule -> 'then' IS NULL OR told_of_outcome <> '{}') THEN '{}'
						ELSE jsonb_build_object('then', outcome - told_of_outcome) END)::text, '{}'), '')];
		RETURN NEXT;
	END LOOP;
END
$$;
COMMENT ON FUNCTION factory.rule_table(jsonb) IS
'the rules of a document as rows of cells';

CREATE OR REPLACE FUNCTION factory.rules_as_table(decision text, version integer DEFAULT NULL) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
	WITH rules AS (
		SELECT t.columns, t.cells, row_number() OVER () AS position
		FROM factory.find_definition(decision, version) AS d, factory.rule_table(d.definition) AS t
	), lines AS (
		SELECT columns AS fields, 0 AS position FROM (SELECT columns FROM rules LIMIT 1) AS head
		UNION ALL SELECT cells, position FROM rules
	)
	SELECT string_agg((SELECT string_agg(CASE WHEN field ~ '[",\r\n]|^\s|\s$'
				THEN '"' || replace(field, '"', '""') || '"' ELSE field END, ',' ORDER BY place)
			FROM unnest(fields) WITH ORDINALITY AS f(field, place)), E'\n' ORDER BY position) || E'\n'
	FROM lines
$$;
COMMENT ON FUNCTION factory.rules_as_table(text, integer) IS
'the rules of a version (the one in force where none is named) as CSV: one row a rule, one column an input';

CREATE OR REPLACE FUNCTION factory.rule_from_cells(columns text[], cells text[], line integer) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	own CONSTANT text[] := ARRAY['id', 'when', 'status', 'severity', 'confidence', 'priority', 'recommended_actions', 'because', 'rest'];
	cell CONSTANT jsonb := (SELECT coalesce(jsonb_object_agg(c, btrim(v)), '{}') FROM unnest(columns, cells) AS u(c, v) WHERE btrim(v) <> '');
	conditions CONSTANT text[] := ARRAY(
		-- What is no plain AND is put in brackets, on a line of their own for a comment's sake.
		SELECT CASE WHEN factory.condition_parts(c.condition) IS NULL AND count(*) OVER () > 1
			THEN '(' || c.condition || E'\n)' ELSE c.condition END
		FROM (SELECT CASE u.c WHEN 'when' THEN btrim(u.v) ELSE u.c || ' ' || btrim(u.v) END AS condition, u.c = 'when' AS last, u.place
			FROM unnest(columns, cells) WITH ORDINALITY AS u(c, v, place)
			WHERE (u.c = 'when' OR u.c <> ALL (own)) AND btrim(u.v) <> '') AS c
		ORDER BY c.last, c.place);
	rest CONSTANT jsonb := coalesce((cell ->> 'rest')::jsonb, '{}');
	outcome jsonb := coalesce(rest -> 'then', '{}');
	rule jsonb := rest - 'then';
BEGIN
	outcome := outcome || jsonb_strip_nulls(jsonb_build_object('status', cell -> 'status', 'severity', cell -> 'severity'));
	IF cell ? 'recommended_actions' THEN
		outcome := outcome || jsonb_build_object('recommended_actions',
			to_jsonb(regexp_split_to_array(cell ->> 'recommended_actions', '\s*;\s*')));
	END IF;
	rule := jsonb_build_object('id', cell -> 'id') || rule
		|| jsonb_build_object('when', coalesce(array_to_string(conditions, ' AND '), ''))
		|| jsonb_strip_nulls(jsonb_build_object('because', cell -> 'because',
			'confidence', (cell ->> 'confidence')::numeric, 'priority', (cell ->> 'priority')::numeric));
	IF outcome <> '{}' OR rest ? 'then' THEN
		rule := rule || jsonb_build_object('then', outcome);
	END IF;
	RETURN rule;
EXCEPTION WHEN invalid_text_representation THEN
	RAISE EXCEPTION 'line % of the table: %', line, SQLERRM
		USING ERRCODE = 'PF101', HINT = '"confidence" and "priority" are numbers, "rest" is JSON.';
END
$$;
COMMENT ON FUNCTION factory.rule_from_cells(text[], text[], integer) IS
'a rule from a row of cells';

CREATE OR REPLACE FUNCTION factory.rules_from_csv(decision text, csv text, changelog text) RETURNS integer
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	own CONSTANT text[] := ARRAY['id', 'when', 'status', 'severity', 'confidence', 'priority', 'recommended_actions', 'because', 'rest'];
	base CONSTANT jsonb := (SELECT d.definition FROM factory.find_definition(decision, NULL) AS d);
	names CONSTANT text[] := own || ARRAY(
		SELECT key FROM jsonb_object_keys(base -> 'inputs') AS key
		UNION SELECT key FROM jsonb_object_keys(coalesce(base -> 'let', '{}')) AS key);
	columns text[];
	rules jsonb := '[]';
	rule jsonb;
	old text;
	row record;
	unknown text;
BEGIN
	FOR row IN SELECT * FROM factory.csv_lines(csv) LOOP
		IF columns IS NULL THEN
			columns := ARRAY(SELECT btrim(field) FROM unnest(row.fields) WITH ORDINALITY AS f(field, place) ORDER BY place);
			SELECT c INTO unknown FROM unnest(columns) AS c WHERE c <> ALL (names) LIMIT 1;
			IF FOUND THEN
				RAISE EXCEPTION 'the table has a column "%" that decision "%" does not know', unknown, decision
					USING ERRCODE = 'PF101', DETAIL = format('Known are %s.', array_to_string(names, ', ')),
						HINT = 'Columns are inputs, let values and the rules'' own keys; take the table from rules_as_table().';
			END IF;
			IF NOT 'id' = ANY (columns) THEN
				RAISE EXCEPTION 'the table has no column "id"'
					USING ERRCODE = 'PF101', HINT = 'Take the table from rules_as_table().';
			END IF;
			CONTINUE;
		END IF;
		IF cardinality(row.fields) <> cardinality(columns) THEN
			RAISE EXCEPTION 'line % of the table has % fields, its head has %', row.line, cardinality(row.fields), cardinality(columns)
				USING ERRCODE = 'PF101', HINT = 'A field with a comma stands in quotes.';
		END IF;
		rule := factory.rule_from_cells(columns, row.fields, row.line);
		-- A condition that says the same keeps its words.
		SELECT r ->> 'when' INTO old FROM jsonb_array_elements(base -> 'rules') AS r WHERE r -> 'id' = rule -> 'id';
		IF FOUND AND factory.condition_cells(old, names) = factory.condition_cells(rule ->> 'when', names) THEN
			rule := rule || jsonb_build_object('when', old);
		END IF;
		rules := rules || rule;
	END LOOP;
	IF rules = '[]' THEN
		RAISE EXCEPTION 'the table has no rules'
			USING ERRCODE = 'PF101', HINT = 'Take the table from rules_as_table().';
	END IF;
	RETURN factory.save_version(decision, base || jsonb_build_object('rules', rules), changelog);
END
$$;
COMMENT ON FUNCTION factory.rules_from_csv(text, text, text) IS
'saves a draft with the rules of a table as rules_as_table() gives it, all else as in the version in force; returns the version';

CREATE OR REPLACE FUNCTION factory.diff_versions(decision text, version integer, other integer,
	OUT path text, OUT change text, OUT was jsonb, OUT becomes jsonb)
RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
	WITH old AS (SELECT d.definition AS doc FROM factory.find_definition(decision, version) AS d),
	new AS (SELECT d.definition AS doc FROM factory.find_definition(decision, other) AS d),
	old_rule AS (SELECT rule ->> 'id' AS id, rule, place FROM old, jsonb_array_elements(doc -> 'rules') WITH ORDINALITY AS r(rule, place)),
	new_rule AS (SELECT rule ->> 'id' AS id, rule, place FROM new, jsonb_array_elements(doc -> 'rules') WITH ORDINALITY AS r(rule, place)),
	same_rule AS (
		SELECT o.id, o.rule AS was, n.rule AS becomes, o.place AS was_place, n.place AS becomes_place,
			-- Its place among the rules that both have.
			rank() OVER (ORDER BY o.place) AS was_rank, rank() OVER (ORDER BY n.place) AS becomes_rank
		FROM old_rule AS o JOIN new_rule AS n ON n.id = o.id
	)
	SELECT coalesce(o.key, n.key), CASE WHEN o.key IS NULL THEN 'added' WHEN n.key IS NULL THEN 'removed' ELSE 'changed' END,
		o.value, n.value
	FROM (SELECT e.* FROM old, jsonb_each(doc - 'rules') AS e) AS o
	FULL JOIN (SELECT e.* FROM new, jsonb_each(doc - 'rules') AS e) AS n ON n.key = o.key
	WHERE o.value IS DISTINCT FROM n.value
	UNION ALL
	SELECT 'rules.' || coalesce(o.id, n.id), CASE WHEN o.id IS NULL THEN 'added' ELSE 'removed' END, o.rule, n.rule
	FROM old_rule AS o FULL JOIN new_rule AS n ON n.id = o.id
	WHERE o.id IS NULL OR n.id IS NULL
	UNION ALL
	SELECT 'rules.' || s.id || '.' || k.key,
		CASE WHEN NOT s.was ? k.key THEN 'added' WHEN NOT s.becomes ? k.key THEN 'removed' ELSE 'changed' END,
		s.was -> k.key, s.becomes -> k.key
	FROM same_rule AS s, LATERAL (SELECT key FROM jsonb_object_keys(s.was || s.becomes) AS key) AS k
	WHERE s.was -> k.key IS DISTINCT FROM s.becomes -> k.key
	UNION ALL
	SELECT 'rules.' || id, 'moved', to_jsonb(was_place), to_jsonb(becomes_place) FROM same_rule WHERE was_rank <> becomes_rank
	ORDER BY 1, 2
$$;
COMMENT ON FUNCTION factory.diff_versions(text, integer, integer) IS
'what another version adds, removes, changes and moves, key by key and rule by rule';

REVOKE ALL ON FUNCTION factory.count_replayed(internal, text, integer, text, text, text, integer, jsonb, timestamptz, uuid),
	factory.count_backtested(internal, text, integer[], record), factory.comparison_combine(internal, internal),
	factory.comparison_serialize(internal), factory.comparison_deserialize(bytea, internal),
	factory.comparison_pairs(internal) FROM PUBLIC;
REVOKE ALL ON FUNCTION factory.execution_time(uuid), factory.find_judgment(uuid),
	factory.feedback(uuid, text, jsonb, text), factory.decide_brief(text, jsonb, integer),
	factory.chi_square_probability(float8, integer), factory.summarize_changes(jsonb), factory.pairs_in_order(jsonb),
	factory.replayed_pairs(text, integer, text, text, text, integer, jsonb, timestamptz, uuid),
	factory.backtested_pairs(text, integer[], record),
	factory.require_version(text, integer), factory.replay(text, integer, timestamptz, timestamptz),
	factory.backtest(text, integer[], text), factory.explain_judgment(uuid),
	factory.condition_parts(text), factory.csv_lines(text), factory.find_definition(text, integer),
	factory.condition_cell(text), factory.condition_cells(text, text[]), factory.is_cell(jsonb), factory.rule_table(jsonb), factory.rules_as_table(text, integer),
	factory.rule_from_cells(text[], text[], integer), factory.rules_from_csv(text, text, text),
	factory.diff_versions(text, integer, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION factory.execution_time(uuid), factory.find_judgment(uuid),
	factory.feedback(uuid, text, jsonb, text), factory.decide_brief(text, jsonb, integer),
	factory.chi_square_probability(float8, integer), factory.summarize_changes(jsonb), factory.pairs_in_order(jsonb),
	factory.replayed_pairs(text, integer, text, text, text, integer, jsonb, timestamptz, uuid),
	factory.backtested_pairs(text, integer[], record),
	factory.require_version(text, integer), factory.replay(text, integer, timestamptz, timestamptz),
	factory.backtest(text, integer[], text), factory.explain_judgment(uuid),
	factory.find_definition(text, integer) TO factory_admin, factory_author, factory_operator;
GRANT EXECUTE ON FUNCTION factory.condition_parts(text), factory.csv_lines(text),
	factory.condition_cell(text), factory.condition_cells(text, text[]), factory.is_cell(jsonb), factory.rule_table(jsonb), factory.rules_as_table(text, integer),
	factory.rule_from_cells(text[], text[], integer), factory.rules_from_csv(text, text, text),
	factory.diff_versions(text, integer, integer) TO factory_admin, factory_author;
REVOKE ALL ON factory.judgment_truth, factory.version_accuracy, factory.review_list, factory.rule_coverage FROM PUBLIC;
GRANT SELECT ON factory.judgment_truth, factory.version_accuracy, factory.review_list, factory.rule_coverage
	TO factory_admin, factory_author, factory_operator;

-- Who said what of which judgment; his words and the corrected result are in the table.
CREATE OR REPLACE TRIGGER audit_change AFTER INSERT OR UPDATE OR DELETE ON factory.judgment_feedback
	FOR EACH ROW EXECUTE FUNCTION factory.audit_change('feedback', 'execution_id', 'id', 'comment', 'correct_result', 'given_at', 'judged_at');
