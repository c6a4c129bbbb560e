-- Decisions: a name, its immutable numbered versions, and which one is in force.

CREATE TABLE factory.decision (
	tenant_id text NOT NULL DEFAULT factory.current_tenant(),
	name text NOT NULL CHECK (octet_length(name) BETWEEN 1 AND 100),
	description text,
	created_by regrole NOT NULL DEFAULT current_user::regrole,
	created_at timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (tenant_id, name)
);
COMMENT ON TABLE factory.decision IS 'decisions by name';

CREATE TABLE factory.decision_version (
	tenant_id text NOT NULL DEFAULT factory.current_tenant(),
	decision text NOT NULL,
	version integer NOT NULL CHECK (version > 0),
	definition jsonb NOT NULL,
	definition_hash text NOT NULL,
	owner regrole NOT NULL DEFAULT current_user::regrole,
	changelog text,
	created_at timestamptz NOT NULL DEFAULT now(),
	saved_by name NOT NULL DEFAULT session_user,
	PRIMARY KEY (tenant_id, decision, version),
	FOREIGN KEY (tenant_id, decision) REFERENCES factory.decision
);
COMMENT ON TABLE factory.decision_version IS 'immutable versions: one JSON document each';
COMMENT ON COLUMN factory.decision_version.saved_by IS 'who was logged in';
COMMENT ON COLUMN factory.decision_version.owner IS 'whose rights the conditions run with';
COMMENT ON COLUMN factory.decision_version.definition_hash IS 'sha256 of the definition''s text, in hex';

-- Made when a version is saved; what is not there, or of other software, is made again
-- in memory. So it is not dumped.
CREATE TABLE factory.rule_index (
	tenant_id text NOT NULL DEFAULT factory.current_tenant(),
	decision text NOT NULL,
	version integer NOT NULL,
	image bytea NOT NULL,
	PRIMARY KEY (tenant_id, decision, version),
	FOREIGN KEY (tenant_id, decision, version) REFERENCES factory.decision_version ON DELETE CASCADE
);
ALTER TABLE factory.rule_index ALTER COLUMN image SET STORAGE EXTERNAL;
COMMENT ON TABLE factory.rule_index IS 'what the conditions of a version come to for its index, so that a first judgment need not compile them';

-- By names, which a dump keeps; OIDs are of one database.
CREATE TABLE factory.decision_dependency (
	tenant_id text NOT NULL DEFAULT factory.current_tenant(),
	decision text NOT NULL,
	version integer NOT NULL,
	object_type text NOT NULL,
	object_identity text NOT NULL,
	PRIMARY KEY (tenant_id, decision, version, object_type, object_identity),
	FOREIGN KEY (tenant_id, decision, version) REFERENCES factory.decision_version ON DELETE CASCADE
);
COMMENT ON TABLE factory.decision_dependency IS 'functions, operators, types and collations that the expressions of a version use, but for the server''s own';
COMMENT ON COLUMN factory.decision_dependency.object_identity IS 'as pg_identify_object writes it';
CREATE INDEX decision_dependency_object ON factory.decision_dependency (object_identity);

CREATE TABLE factory.deployment (
	id bigint GENERATED ALWAYS AS IDENTITY,
	tenant_id text NOT NULL DEFAULT factory.current_tenant(),
	decision text NOT NULL,
	version integer NOT NULL,
	status text NOT NULL CHECK (status IN ('active', 'superseded', 'rolled_back', 'canary', 'withdrawn')),
	canary_pct numeric(5,2) CHECK (canary_pct > 0 AND canary_pct < 100),
	changelog text,
	reason text,
	deployed_by regrole NOT NULL DEFAULT current_user::regrole,
	deployed_at timestamptz NOT NULL DEFAULT now(),
	ended_at timestamptz,
	PRIMARY KEY (tenant_id, decision, id),
	FOREIGN KEY (tenant_id, decision, version) REFERENCES factory.decision_version
);
COMMENT ON TABLE factory.deployment IS 'which version is and was in force, and since when';

CREATE UNIQUE INDEX deployment_active ON factory.deployment (tenant_id, decision)
	WHERE status = 'active';
CREATE UNIQUE INDEX deployment_canary ON factory.deployment (tenant_id, decision)
	WHERE status = 'canary';

-- Whatever changes what is in force reaches every backend at commit.
CREATE FUNCTION factory.deployment_changed() RETURNS trigger
LANGUAGE c AS 'MODULE_PATHNAME', 'factory_deployment_changed';
REVOKE ALL ON FUNCTION factory.deployment_changed() FROM PUBLIC;
-- Row by row: changes that are replicated fire no other triggers.
CREATE TRIGGER deployment_changed AFTER INSERT OR UPDATE OR DELETE
	ON factory.deployment FOR EACH ROW EXECUTE FUNCTION factory.deployment_changed();
CREATE TRIGGER deployments_truncated AFTER TRUNCATE
	ON factory.deployment FOR EACH STATEMENT EXECUTE FUNCTION factory.deployment_changed();
ALTER TABLE factory.deployment ENABLE ALWAYS TRIGGER deployment_changed, ENABLE ALWAYS TRIGGER deployments_truncated;

SELECT pg_catalog.pg_extension_config_dump('factory.decision', '');
SELECT pg_catalog.pg_extension_config_dump('factory.decision_version', '');
SELECT pg_catalog.pg_extension_config_dump('factory.decision_dependency', '');
SELECT pg_catalog.pg_extension_config_dump('factory.deployment', '');
SELECT pg_catalog.pg_extension_config_dump('factory.deployment_id_seq', '');

REVOKE ALL ON factory.decision, factory.decision_version, factory.deployment, factory.rule_index, factory.decision_dependency
	FROM PUBLIC;
GRANT SELECT ON factory.decision, factory.decision_version, factory.decision_dependency, factory.deployment
	TO factory_admin, factory_author, factory_operator;

CREATE TYPE factory.verdict AS (
	status text,
	result text,
	severity text,
	confidence float8,
	matched_rules text[],
	outcome jsonb
);
COMMENT ON TYPE factory.verdict IS 'what rules alone say: the answer of decision functions that are asked for all of it';
