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

-- What a person shall look at: one row a judgment, by the judgment's id.
CREATE TABLE factory.review (
	tenant_id text NOT NULL DEFAULT factory.current_tenant(),
	execution_id uuid NOT NULL,
	decision text NOT NULL,
	version integer NOT NULL,
	status text NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'approved', 'rejected', 'expired')),
	reasons text[] NOT NULL,
	result text NOT NULL,
	confidence float8,
	proposal jsonb NOT NULL,
	input jsonb NOT NULL,
	created_by name NOT NULL,
	created_at timestamptz NOT NULL,
	due_at timestamptz,
	reminded_at timestamptz,
	decided_by name,
	decided_at timestamptz,
	comment text,
	PRIMARY KEY (tenant_id, execution_id),
	CONSTRAINT review_decided_by_somebody CHECK ((status IN ('approved', 'rejected')) = (decided_by IS NOT NULL))
);
COMMENT ON TABLE factory.review IS
'judgments that a person shall look at, and what they decided: approve() and reject()';
COMMENT ON COLUMN factory.review.reasons IS
'policy, conflict, low_confidence, critical, dangerous_action';
COMMENT ON COLUMN factory.review.proposal IS
'what was answered, and what rules and model said each';
CREATE INDEX review_open ON factory.review (tenant_id, decision, due_at) WHERE status = 'open';
REVOKE ALL ON factory.review FROM PUBLIC;
GRANT SELECT ON factory.review TO factory_admin, factory_author, factory_operator;
SELECT pg_catalog.pg_extension_config_dump('factory.review', '');
