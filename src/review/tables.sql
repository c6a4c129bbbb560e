-- What people say of judgments afterwards.

CREATE TABLE factory.judgment_feedback (
	tenant_id text NOT NULL DEFAULT factory.current_tenant(),
	execution_id uuid NOT NULL,
	id bigint GENERATED ALWAYS AS IDENTITY,
	decision text NOT NULL,
	version integer NOT NULL,
	kind text NOT NULL CHECK (kind IN ('correct', 'incorrect', 'partial', 'correction', 'helpful', 'not_helpful', 'comment')),
	correct_status text,
	correct_result jsonb,
	comment text,
	given_by name NOT NULL,
	given_at timestamptz NOT NULL DEFAULT factory.clock_now(),
	judged_at timestamptz NOT NULL,
	PRIMARY KEY (tenant_id, execution_id, id),
	CONSTRAINT judgment_feedback_correction CHECK (kind <> 'correction' OR correct_status IS NOT NULL)
);
COMMENT ON TABLE factory.judgment_feedback IS
'what people said of a judgment; the last word on it counts';
CREATE INDEX judgment_feedback_version ON factory.judgment_feedback (tenant_id, decision, version, judged_at);
REVOKE ALL ON factory.judgment_feedback FROM PUBLIC;
GRANT SELECT ON factory.judgment_feedback TO factory_admin, factory_author, factory_operator;
SELECT pg_catalog.pg_extension_config_dump('factory.judgment_feedback', '');
SELECT pg_catalog.pg_extension_config_dump('factory.judgment_feedback_id_seq', '');
