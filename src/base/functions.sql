CREATE OR REPLACE FUNCTION factory.current_tenant() RETURNS text
LANGUAGE c STABLE PARALLEL SAFE STRICT
AS 'MODULE_PATHNAME', 'factory_current_tenant';
COMMENT ON FUNCTION factory.current_tenant() IS
'the tenant this session works for';

CREATE OR REPLACE FUNCTION factory.tenant_is_bound() RETURNS boolean
LANGUAGE c STABLE PARALLEL SAFE STRICT
AS 'MODULE_PATHNAME', 'factory_tenant_is_bound';
COMMENT ON FUNCTION factory.tenant_is_bound() IS
'whether this session''s tenant was chosen for it, by its role or by factory.tenant; who is not bound administers all tenants';

CREATE OR REPLACE FUNCTION factory.quota_usage(OUT tenant_id text, OUT quota text, OUT used bigint,
	OUT month_start timestamptz, OUT counted_since timestamptz)
RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL SAFE STRICT
AS 'MODULE_PATHNAME', 'factory_quota_usage';
COMMENT ON FUNCTION factory.quota_usage() IS
'what tenants have used; read view tenant_usage instead';

CREATE OR REPLACE VIEW factory.tenant_usage AS
SELECT t.tenant_id, q.quota, q.quota_limit, coalesce(u.used, 0) AS used,
	CASE WHEN q.quota_limit IS NULL THEN 'unlimited'
		WHEN coalesce(u.used, 0) >= q.quota_limit THEN 'exhausted'
		WHEN coalesce(u.used, 0) >= q.quota_limit * 0.8 THEN 'warning'
		ELSE 'ok' END AS state,
	u.month_start, u.counted_since
FROM (SELECT tenant_id, judgments_per_month, tokens_per_month, concurrent_jobs FROM factory.tenant
	UNION ALL
	SELECT 'default', NULL, NULL, NULL
	WHERE NOT EXISTS (SELECT FROM factory.tenant WHERE tenant_id = 'default')
		AND (factory.current_tenant() = 'default' OR NOT factory.tenant_is_bound())) AS t
CROSS JOIN LATERAL (VALUES ('judgments_per_month', t.judgments_per_month),
	('tokens_per_month', t.tokens_per_month),
	('concurrent_jobs', t.concurrent_jobs)) AS q(quota, quota_limit)
LEFT JOIN factory.quota_usage() AS u ON u.tenant_id = t.tenant_id AND u.quota = q.quota;
COMMENT ON VIEW factory.tenant_usage IS
'each tenant''s quotas and what it has used of them; counted_since says since when, where a quota has not been asked for';

-- Only who is bound to no tenant may make and change tenants.
CREATE OR REPLACE FUNCTION factory.require_house_administrator() RETURNS void
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF factory.tenant_is_bound() THEN
		RAISE EXCEPTION 'permission denied for tenants'
			USING ERRCODE = 'insufficient_privilege',
				DETAIL = format('This session works for tenant "%s".', factory.current_tenant()),
				HINT = 'A role that belongs to no tenant administers tenants.';
	END IF;
END
$$;
COMMENT ON FUNCTION factory.require_house_administrator() IS
'raises where the session is bound to a tenant';

CREATE OR REPLACE FUNCTION factory.create_tenant(name text, description text DEFAULT NULL,
	judgments_per_month bigint DEFAULT NULL, tokens_per_month bigint DEFAULT NULL,
	concurrent_jobs bigint DEFAULT NULL)
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM factory.require_house_administrator();
	INSERT INTO factory.tenant (tenant_id, description, judgments_per_month, tokens_per_month, concurrent_jobs)
	VALUES (create_tenant.name, create_tenant.description, create_tenant.judgments_per_month,
		create_tenant.tokens_per_month, create_tenant.concurrent_jobs);
EXCEPTION
	WHEN unique_violation THEN
		RAISE EXCEPTION 'tenant "%" already exists', name
			USING ERRCODE = 'duplicate_object', HINT = 'Change it with factory.alter_tenant().';
	WHEN check_violation OR not_null_violation THEN
		RAISE EXCEPTION 'invalid tenant'
			USING ERRCODE = 'invalid_parameter_value',
				DETAIL = 'A name has 1 to 63 bytes; a quota is null or not negative.';
END
$$;
COMMENT ON FUNCTION factory.create_tenant(text, text, bigint, bigint, bigint) IS
'makes a tenant; map roles to it with map_tenant_role()';

CREATE OR REPLACE FUNCTION factory.alter_tenant(name text, changes jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	known CONSTANT text[] := ARRAY['description', 'judgments_per_month', 'tokens_per_month', 'concurrent_jobs'];
	unknown text;
BEGIN
	PERFORM factory.require_house_administrator();
	IF jsonb_typeof(changes) IS DISTINCT FROM 'object' THEN
		RAISE EXCEPTION 'changes of a tenant are not an object'
			USING ERRCODE = 'invalid_parameter_value',
				HINT = 'Write them like {"judgments_per_month": 100000, "tokens_per_month": null}.';
	END IF;
	SELECT key INTO unknown FROM jsonb_object_keys(changes) AS key WHERE key <> ALL (known) LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION 'a tenant has no "%"', unknown
			USING ERRCODE = 'invalid_parameter_value',
				HINT = format('Known are %s.', array_to_string(known, ', '));
	END IF;
	IF name = 'default' THEN
		INSERT INTO factory.tenant (tenant_id) VALUES (name) ON CONFLICT DO NOTHING;
	END IF;
	UPDATE factory.tenant AS t SET
		description = CASE WHEN changes ? 'description' THEN changes ->> 'description' ELSE t.description END,
		judgments_per_month = CASE WHEN changes ? 'judgments_per_month'
			THEN (changes ->> 'judgments_per_month')::bigint ELSE t.judgments_per_month END,
		tokens_per_month = CASE WHEN changes ? 'tokens_per_month'
			THEN (changes ->> 'tokens_per_month')::bigint ELSE t.tokens_per_month END,
		concurrent_jobs = CASE WHEN changes ? 'concurrent_jobs'
			THEN (changes ->> 'concurrent_jobs')::bigint ELSE t.concurrent_jobs END
	WHERE t.tenant_id = name;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'tenant "%" does not exist', name
			USING ERRCODE = 'PF003', HINT = 'Table factory.tenant lists the tenants.';
	END IF;
END
$$;
COMMENT ON FUNCTION factory.alter_tenant(text, jsonb) IS
'changes quotas and description of a tenant: {"judgments_per_month": 100000}; null takes a quota away';

CREATE OR REPLACE FUNCTION factory.drop_tenant(name text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	held record;
	rows bigint;
BEGIN
	PERFORM factory.require_house_administrator();
	IF name = 'default' THEN
		RAISE EXCEPTION 'tenant "default" cannot be dropped'
			USING ERRCODE = 'object_not_in_prerequisite_state',
				HINT = 'Set factory.default_tenant to '''' so that roles without a tenant have none.';
	END IF;
	-- Its rows are counted as it sees them.
	PERFORM set_config('factory.tenant', name, true);
	FOR held IN
		SELECT c.oid::regclass AS relation FROM pg_class AS c
		JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped
		WHERE c.relnamespace = 'factory'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
			AND c.oid NOT IN ('factory.tenant'::regclass, 'factory.tenant_role'::regclass)
		ORDER BY 1
	LOOP
		EXECUTE format('SELECT count(*) FROM %s WHERE tenant_id = $1', held.relation) INTO rows USING name;
		IF rows > 0 THEN
			RAISE EXCEPTION 'tenant "%" still has rows', name
				USING ERRCODE = 'dependent_objects_still_exist',
					DETAIL = format('%s holds %s of them.', held.relation, rows),
					HINT = 'Keep the tenant without roles, or delete or archive its rows first.';
		END IF;
	END LOOP;
	DELETE FROM factory.tenant_role AS r WHERE r.tenant_id = name;
	DELETE FROM factory.tenant AS t WHERE t.tenant_id = name;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'tenant "%" does not exist', name
			USING ERRCODE = 'PF003', HINT = 'Table factory.tenant lists the tenants.';
	END IF;
	PERFORM set_config('factory.tenant', '', true);
END
$$;
COMMENT ON FUNCTION factory.drop_tenant(text) IS
'drops a tenant that has no rows left, with its roles'' mapping';

CREATE OR REPLACE FUNCTION factory.map_tenant_role(tenant text, role regrole) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM factory.require_house_administrator();
	IF (SELECT rolsuper FROM pg_roles WHERE oid = map_tenant_role.role) THEN
		RAISE EXCEPTION 'superuser "%" cannot belong to a tenant', role
			USING ERRCODE = 'invalid_role_specification',
				DETAIL = 'Row security does not bind superusers.',
				HINT = 'Map a role without superuser.';
	END IF;
	IF tenant = 'default' THEN
		INSERT INTO factory.tenant (tenant_id) VALUES (tenant) ON CONFLICT DO NOTHING;
	END IF;
	INSERT INTO factory.tenant_role AS r (tenant_id, role) VALUES (tenant, map_tenant_role.role)
	ON CONFLICT ON CONSTRAINT tenant_role_role_key DO UPDATE SET tenant_id = excluded.tenant_id;
EXCEPTION WHEN foreign_key_violation THEN
	RAISE EXCEPTION 'tenant "%" does not exist', tenant
		USING ERRCODE = 'PF003', HINT = 'Run factory.create_tenant() first.';
END
$$;
COMMENT ON FUNCTION factory.map_tenant_role(text, regrole) IS
'from its next statement on, a role and its members work for that tenant';

CREATE OR REPLACE FUNCTION factory.unmap_tenant_role(role regrole) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM factory.require_house_administrator();
	DELETE FROM factory.tenant_role AS r WHERE r.role = unmap_tenant_role.role;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'role "%" belongs to no tenant', role
			USING ERRCODE = 'undefined_object', HINT = 'Table factory.tenant_role lists the roles.';
	END IF;
END
$$;
COMMENT ON FUNCTION factory.unmap_tenant_role(regrole) IS
'takes a role out of its tenant; it then works for factory.default_tenant';

REVOKE ALL ON FUNCTION factory.quota_usage(), factory.require_house_administrator(),
	factory.create_tenant(text, text, bigint, bigint, bigint), factory.alter_tenant(text, jsonb),
	factory.drop_tenant(text), factory.map_tenant_role(text, regrole),
	factory.unmap_tenant_role(regrole) FROM PUBLIC;
REVOKE ALL ON factory.tenant_usage FROM PUBLIC;
GRANT EXECUTE ON FUNCTION factory.create_tenant(text, text, bigint, bigint, bigint),
	factory.alter_tenant(text, jsonb), factory.drop_tenant(text),
	factory.map_tenant_role(text, regrole), factory.unmap_tenant_role(regrole) TO factory_admin;
GRANT EXECUTE ON FUNCTION factory.quota_usage() TO factory_admin, factory_monitor;
GRANT SELECT ON factory.tenant_usage TO factory_admin, factory_monitor;

-- What every table of ours is behind: its tenant's rows and no others, for its owner
-- too.  A table without tenant_id is everybody's.
CREATE OR REPLACE FUNCTION factory.protect_table(protected regclass) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	-- Who administers all tenants sees all of them.
	condition text := CASE
		WHEN protected IN ('factory.tenant'::regclass, 'factory.tenant_role'::regclass)
			THEN 'tenant_id = factory.current_tenant() OR NOT factory.tenant_is_bound()'
		WHEN EXISTS (SELECT FROM pg_attribute WHERE attrelid = protected
				AND attname = 'tenant_id' AND NOT attisdropped)
			THEN 'tenant_id = factory.current_tenant()'
		ELSE 'true' END;
BEGIN
	EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', protected);
	EXECUTE format('DROP POLICY IF EXISTS tenant ON %s', protected);
	EXECUTE format('CREATE POLICY tenant ON %s USING (%s)', protected, condition);
END
$$;
COMMENT ON FUNCTION factory.protect_table(regclass) IS
'puts a table of the extension behind row security by tenant';
REVOKE ALL ON FUNCTION factory.protect_table(regclass) FROM PUBLIC;

CREATE OR REPLACE FUNCTION factory.clock_now() RETURNS timestamptz
LANGUAGE c STABLE PARALLEL SAFE STRICT
AS 'MODULE_PATHNAME', 'factory_clock_now';
COMMENT ON FUNCTION factory.clock_now() IS
'the time as the factory sees it: the wall clock, or factory.frozen_clock';

CREATE OR REPLACE FUNCTION factory.schedule_next(schedule text, after timestamptz DEFAULT NULL,
	timezone text DEFAULT NULL, count int DEFAULT 1)
RETURNS SETOF timestamptz
LANGUAGE c STABLE PARALLEL SAFE ROWS 1
AS 'MODULE_PATHNAME', 'factory_schedule_next';
COMMENT ON FUNCTION factory.schedule_next(text, timestamptz, text, int) IS
'the next due times of a schedule: after now, in the plant''s time zone, unless said otherwise';
REVOKE ALL ON FUNCTION factory.schedule_next(text, timestamptz, text, int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION factory.schedule_next(text, timestamptz, text, int)
	TO factory_admin, factory_author, factory_operator, factory_analyst, factory_monitor;
