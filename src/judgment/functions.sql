-- Judging.

CREATE OR REPLACE FUNCTION factory.judge(decision text, input jsonb, policy text DEFAULT NULL,
	need_explanation boolean DEFAULT true, context jsonb DEFAULT NULL, skip_cache boolean DEFAULT false)
RETURNS factory.judgment
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'factory_judge';
COMMENT ON FUNCTION factory.judge(text, jsonb, text, boolean, jsonb, boolean) IS
'judges one input by the version in force, with rules, model or both as the policy says, and logs it';

CREATE OR REPLACE FUNCTION factory.judge_row(decision text, input anyelement, policy text DEFAULT NULL,
	need_explanation boolean DEFAULT true)
RETURNS factory.judgment
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'factory_judge_row';
COMMENT ON FUNCTION factory.judge_row(text, anyelement, text, boolean) IS
'judges a table''s row: columns are inputs by name';

CREATE OR REPLACE FUNCTION factory.judge_many(decision text, query text, concurrency integer DEFAULT 16,
	policy text DEFAULT NULL, skip_cache boolean DEFAULT false)
RETURNS SETOF factory.judgment
LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 1000
AS 'MODULE_PATHNAME', 'factory_judge_many';
COMMENT ON FUNCTION factory.judge_many(text, text, integer, text, boolean) IS
'judges each row of a query, many models asked at once, equal prompts once; rows in order, an error is its row''s own: unknown, with components -> error';

CREATE OR REPLACE FUNCTION factory.prompt_report(INOUT decision text, input jsonb DEFAULT NULL, before text DEFAULT NULL,
	OUT version integer, OUT tokens_before bigint, OUT tokens_after bigint, OUT saved_pct numeric,
	OUT prompt_before text, OUT prompt_after text)
LANGUAGE c STABLE PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'factory_prompt_report';
COMMENT ON FUNCTION factory.prompt_report(text, jsonb, text) IS
'estimated tokens of a judgment''s prompt, and of one without economies (before, or the whole input and the answer''s JSON schema, indented); without an input, for that of its last judgment in the log; no model is asked';

CREATE OR REPLACE FUNCTION factory.decide(decision text, input jsonb, version integer DEFAULT NULL)
RETURNS factory.judgment
LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'factory_decide';
COMMENT ON FUNCTION factory.decide(text, jsonb, integer) IS
'judges by rules alone, writing nothing: for WHERE, reports and backtests';

REVOKE ALL ON FUNCTION
	factory.judge(text, jsonb, text, boolean, jsonb, boolean),
	factory.judge_row(text, anyelement, text, boolean),
	factory.judge_many(text, text, integer, text, boolean),
	factory.prompt_report(text, jsonb, text),
	factory.decide(text, jsonb, integer)
FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
	factory.judge(text, jsonb, text, boolean, jsonb, boolean),
	factory.judge_row(text, anyelement, text, boolean),
	factory.judge_many(text, text, integer, text, boolean),
	factory.prompt_report(text, jsonb, text),
	factory.decide(text, jsonb, integer)
TO factory_admin, factory_author, factory_operator;

-- The log stores no reasons that rules give again; only who reads these columns pays for them.
CREATE OR REPLACE VIEW factory.judgment_history AS
SELECT l.execution_id, l.tenant_id, l.decision, l.version, l.policy, l.method_used, l.result, l.status, l.severity,
	l.confidence, l.matched_rules, l.input,
	CASE WHEN l.outcome = '{}' AND l.status IS NOT NULL
		THEN jsonb_build_object('status', l.status, 'severity', l.severity, 'confidence', l.confidence)
		ELSE l.outcome END AS outcome,
	coalesce(l.explanation, (factory.decide(l.decision, l.input, l.version)).explanation) AS explanation,
	coalesce(l.components, (factory.decide(l.decision, l.input, l.version)).components
		|| jsonb_build_object('log', 'written', 'rule_time_ms', l.execution_time_ms)) AS components,
	l.degraded, l.execution_time_ms, l.created_at, l.created_by
FROM factory.judgment_log AS l
WHERE l.tenant_id = factory.current_tenant();
COMMENT ON VIEW factory.judgment_history IS 'the judgment log with all of each judgment: reasons that are not stored are worked out by the version of that day';

REVOKE ALL ON factory.decision_definition, factory.decision_status, factory.decision_memory,
	factory.judgment_history FROM PUBLIC;
GRANT SELECT ON factory.decision_definition, factory.decision_status, factory.decision_memory,
	factory.judgment_history
	TO factory_admin, factory_author, factory_operator;

-- The judgment log is kept by the month, as the audit log is.

-- A new month needs the default partition for itself: a long report shall not hold up a deployment.
CREATE OR REPLACE FUNCTION factory.make_log_months(ahead integer DEFAULT 3) RETURNS integer
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s'
AS $$
DECLARE
	made CONSTANT text[] := factory.make_months('judgment_log', ahead);
	name text;
BEGIN
	FOREACH name IN ARRAY made LOOP
		EXECUTE format('CREATE INDEX ON factory.%I (tenant_id, decision, created_at)', name);
		EXECUTE format('CREATE INDEX ON factory.%I (execution_id)', name);
	END LOOP;
	RETURN cardinality(made);
END
$$;
COMMENT ON FUNCTION factory.make_log_months(integer) IS
'makes the judgment log''s partitions of this month and those ahead, where they are missing';
REVOKE ALL ON FUNCTION factory.make_log_months(integer) FROM PUBLIC;

CREATE OR REPLACE FUNCTION factory.drop_log_before(before timestamptz DEFAULT NULL) RETURNS integer
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	cutoff CONSTANT timestamptz := factory.log_cutoff('the judgment log', 'factory.log_retention', before);
	dropped CONSTANT text[] := factory.drop_months('judgment_log', cutoff);
BEGIN
	IF dropped <> '{}' THEN
		PERFORM factory.audit('drop', 'judgment_log', NULL,
			jsonb_build_object('months', to_jsonb(dropped)), jsonb_build_object('kept_since', cutoff));
	END IF;
	RETURN cardinality(dropped);
END
$$;
COMMENT ON FUNCTION factory.drop_log_before(timestamptz) IS
'drops the judgment log''s months that are older than that, or than factory.log_retention; returns how many';
REVOKE ALL ON FUNCTION factory.drop_log_before(timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION factory.drop_log_before(timestamptz) TO factory_admin;
