-- One row a judgment. No key or index on the parent, so that dump and restore stay clean, and
-- a default partition, so that a missing month never stops a judgment. Columns of fixed width
-- come first: no row has holes; then those that a replay reads. What is not stored, view judgment_history works out.
CREATE TABLE factory.judgment_log (
	execution_id uuid NOT NULL,
	created_at timestamptz NOT NULL,
	execution_time_ms float8 NOT NULL,
	confidence float8,
	version integer NOT NULL,
	tenant_id text NOT NULL DEFAULT factory.current_tenant(),
	decision text NOT NULL,
	method_used text NOT NULL,
	result text,
	status text,
	input jsonb NOT NULL,
	policy text NOT NULL,
	severity text,
	created_by text NOT NULL,
	degraded text,
	matched_rules text[] NOT NULL,
	outcome jsonb,
	explanation jsonb,
	components jsonb
) PARTITION BY RANGE (created_at);
COMMENT ON TABLE factory.judgment_log IS
'one row a judgment: what was asked, what was answered, and of the reasons what cannot be worked out again';
CREATE TABLE factory.judgment_log_default PARTITION OF factory.judgment_log DEFAULT;
CREATE INDEX judgment_log_decision ON factory.judgment_log_default (tenant_id, decision, created_at);
CREATE INDEX judgment_log_execution ON factory.judgment_log_default (execution_id);

SELECT pg_catalog.pg_extension_config_dump('factory.judgment_log', '');
SELECT pg_catalog.pg_extension_config_dump('factory.judgment_log_default', '');

REVOKE ALL ON factory.judgment_log, factory.judgment_log_default FROM PUBLIC;
GRANT SELECT ON factory.judgment_log TO factory_admin, factory_author, factory_operator;

CREATE TYPE factory.judgment AS (
	execution_id uuid,
	decision text,
	version integer,
	result text,
	status text,
	severity text,
	confidence float8,
	recommended_actions jsonb,
	method_used text,
	policy text,
	matched_rules text[],
	outcome jsonb,
	explanation jsonb,
	components jsonb,
	from_cache boolean,
	degraded text,
	execution_time_ms float8,
	created_at timestamptz
);
COMMENT ON TYPE factory.judgment IS 'the answer of judge(), judge_row() and decide()';
