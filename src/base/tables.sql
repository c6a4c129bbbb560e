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
CREATE TRIGGER tenant_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE
	ON factory.tenant FOR EACH STATEMENT EXECUTE FUNCTION factory.tenant_changed();
CREATE TRIGGER tenant_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE
	ON factory.tenant_role FOR EACH STATEMENT EXECUTE FUNCTION factory.tenant_changed();
ALTER TABLE factory.tenant ENABLE ALWAYS TRIGGER tenant_changed;
ALTER TABLE factory.tenant_role ENABLE ALWAYS TRIGGER tenant_changed;
