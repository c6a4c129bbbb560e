-- The schema is ours and new: one that was there before could be somebody's.  As a
-- member of the extension it comes and goes with it, and no dump repeats it.
CREATE SCHEMA factory;

-- Everything of ours is closed until it is opened, function by function.
REVOKE ALL ON SCHEMA factory FROM PUBLIC;
GRANT USAGE ON SCHEMA factory TO PUBLIC;

-- Group roles, and factory_owner, whom all of this belongs to.  They outlive the
-- extension, like any role.  One that is there already and can do more than a group
-- is somebody's, not ours.
DO $$
DECLARE
	wanted text;
	theirs pg_catalog.pg_roles;
BEGIN
	FOREACH wanted IN ARRAY ARRAY['factory_admin', 'factory_author', 'factory_operator',
								  'factory_analyst', 'factory_reader', 'factory_monitor', 'factory_owner']
	LOOP
		SELECT * INTO theirs FROM pg_catalog.pg_roles WHERE rolname = wanted;
		IF NOT FOUND THEN
			EXECUTE pg_catalog.format('CREATE ROLE %I NOLOGIN', wanted);
		ELSIF wanted = 'factory_owner' AND (theirs.rolcanlogin OR theirs.rolsuper OR theirs.rolbypassrls) THEN
			RAISE EXCEPTION 'role "%" can log in, is a superuser or bypasses row security', wanted
				USING ERRCODE = 'invalid_role_specification',
					HINT = 'Run: ALTER ROLE factory_owner NOLOGIN NOSUPERUSER NOBYPASSRLS; and see that nobody is a member of it.';
		END IF;
	END LOOP;
END
$$;

-- Nobody but superusers chooses a tenant, and the house for them; grant it to the
-- role that factoryd logs in as.
GRANT SET ON PARAMETER factory.tenant TO factory_owner;

-- Whose rows are whose.  The quotas follow the name, as base/tenant_int.h says.
CREATE TABLE factory.tenant (
	tenant_id text PRIMARY KEY CHECK (pg_catalog.octet_length(tenant_id) BETWEEN 1 AND 63),
	judgments_per_month bigint CHECK (judgments_per_month >= 0),
	tokens_per_month bigint CHECK (tokens_per_month >= 0),
	concurrent_jobs bigint CHECK (concurrent_jobs >= 0),
	description text,
	created_at timestamptz NOT NULL DEFAULT pg_catalog.now()
);
COMMENT ON TABLE factory.tenant IS
'tenants, and how much each may use; a quota that is null has no limit';

CREATE TABLE factory.tenant_role (
	tenant_id text NOT NULL REFERENCES factory.tenant,
	role regrole NOT NULL UNIQUE,
	PRIMARY KEY (tenant_id, role)
);
COMMENT ON TABLE factory.tenant_role IS
'the tenant that a role and its members work for; a role''s own row wins';

REVOKE ALL ON factory.tenant, factory.tenant_role FROM PUBLIC;
GRANT SELECT ON factory.tenant, factory.tenant_role TO factory_admin, factory_monitor;

-- Tenant "default" is there without a row; it has one when it has quotas or roles.
SELECT pg_catalog.pg_extension_config_dump('factory.tenant', '');
SELECT pg_catalog.pg_extension_config_dump('factory.tenant_role', '');

CREATE FUNCTION factory.tenant_changed() RETURNS trigger
LANGUAGE c AS 'MODULE_PATHNAME', 'factory_tenant_changed';
REVOKE ALL ON FUNCTION factory.tenant_changed() FROM PUBLIC;
-- Row by row: changes that are replicated fire no other triggers.
CREATE TRIGGER tenant_changed AFTER INSERT OR UPDATE OR DELETE
	ON factory.tenant FOR EACH ROW EXECUTE FUNCTION factory.tenant_changed();
CREATE TRIGGER tenants_truncated AFTER TRUNCATE
	ON factory.tenant FOR EACH STATEMENT EXECUTE FUNCTION factory.tenant_changed();
CREATE TRIGGER tenant_changed AFTER INSERT OR UPDATE OR DELETE
	ON factory.tenant_role FOR EACH ROW EXECUTE FUNCTION factory.tenant_changed();
CREATE TRIGGER tenants_truncated AFTER TRUNCATE
	ON factory.tenant_role FOR EACH STATEMENT EXECUTE FUNCTION factory.tenant_changed();
ALTER TABLE factory.tenant ENABLE ALWAYS TRIGGER tenant_changed, ENABLE ALWAYS TRIGGER tenants_truncated;
ALTER TABLE factory.tenant_role ENABLE ALWAYS TRIGGER tenant_changed, ENABLE ALWAYS TRIGGER tenants_truncated;

-- What was done, by whom.  It belongs to a role of its own, so that neither the house
-- nor its administrators can change it.  No key and no index on the parent, and no month
-- made by this script: months are made when needed, and dump and restore stay clean.
DO $$
DECLARE
	theirs pg_catalog.pg_roles;
BEGIN
	SELECT * INTO theirs FROM pg_catalog.pg_roles WHERE rolname = 'factory_auditor';
	IF NOT FOUND THEN
		CREATE ROLE factory_auditor NOLOGIN;
	ELSIF theirs.rolcanlogin OR theirs.rolsuper OR theirs.rolbypassrls THEN
		RAISE EXCEPTION 'role "factory_auditor" can log in, is a superuser or bypasses row security'
			USING ERRCODE = 'invalid_role_specification',
				HINT = 'Run: ALTER ROLE factory_auditor NOLOGIN NOSUPERUSER NOBYPASSRLS; and see that nobody is a member of it.';
	END IF;
END
$$;

CREATE TABLE factory.audit_log (
	tenant_id text NOT NULL,
	created_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
	actor text NOT NULL,
	actor_type text NOT NULL CHECK (actor_type IN ('user', 'system', 'api', 'webhook')),
	session_role name NOT NULL,
	acting_role name NOT NULL,
	action text NOT NULL,
	object_type text NOT NULL,
	object text,
	before jsonb,
	after jsonb,
	source_address inet,
	application text,
	trace_id text
) PARTITION BY RANGE (created_at);
COMMENT ON TABLE factory.audit_log IS
'what was changed, by whom and from where; nobody can change what is written';
COMMENT ON COLUMN factory.audit_log.actor IS
'the acting role, or the subject that a request claims; session_role and acting_role are what the server knows';
CREATE TABLE factory.audit_log_default PARTITION OF factory.audit_log DEFAULT;
CREATE INDEX ON factory.audit_log_default (tenant_id, created_at);

GRANT USAGE, CREATE ON SCHEMA factory TO factory_auditor;
ALTER TABLE factory.audit_log OWNER TO factory_auditor;
ALTER TABLE factory.audit_log_default OWNER TO factory_auditor;
REVOKE ALL ON factory.audit_log, factory.audit_log_default FROM PUBLIC;
GRANT SELECT, INSERT ON factory.audit_log TO factory_owner;
GRANT SELECT ON factory.audit_log TO factory_admin;
SELECT pg_catalog.pg_extension_config_dump('factory.audit_log', '');
SELECT pg_catalog.pg_extension_config_dump('factory.audit_log_default', '');

-- Where the house may act: this database of this server, under these names.  A copy
-- brings rows that do not fit the place it is in; what a dump is restored into has no
-- row of its own (pg_dump's scripts run with row_security off).
CREATE TABLE factory.activation (
	system_identifier bigint NOT NULL,
	database oid NOT NULL,
	cluster_names text[] NOT NULL,
	activated_by name NOT NULL DEFAULT SESSION_USER,
	activated_at timestamptz NOT NULL DEFAULT pg_catalog.now()
);
COMMENT ON TABLE factory.activation IS
'where the factory may act on its own; written by activate()';
INSERT INTO factory.activation (system_identifier, database, cluster_names)
SELECT s.system_identifier, d.oid, ARRAY[pg_catalog.current_setting('cluster_name')]
FROM pg_catalog.pg_control_system() AS s, pg_catalog.pg_database AS d
WHERE d.datname = pg_catalog.current_database() AND pg_catalog.current_setting('row_security') = 'on';

CREATE TABLE factory.worker_pause (
	only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),
	reason text,
	paused_by name NOT NULL,
	paused_at timestamptz NOT NULL DEFAULT pg_catalog.now()
);
COMMENT ON TABLE factory.worker_pause IS
'a row while this database''s workers are paused; written by pause_workers()';

REVOKE ALL ON factory.activation, factory.worker_pause FROM PUBLIC;
GRANT SELECT ON factory.activation, factory.worker_pause TO factory_admin, factory_monitor;
SELECT pg_catalog.pg_extension_config_dump('factory.activation', '');
SELECT pg_catalog.pg_extension_config_dump('factory.worker_pause', '');
