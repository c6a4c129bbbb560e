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

-- Queues: rows that sessions hand over to a database's writer.

CREATE OR REPLACE FUNCTION factory.queued_rows(kind integer) RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL UNSAFE STRICT
AS 'MODULE_PATHNAME', 'factory_queued_rows';
COMMENT ON FUNCTION factory.queued_rows(integer) IS
'rows of this database''s queue, for its writer alone';

CREATE OR REPLACE FUNCTION factory.queue_places(OUT database oid, OUT pid int, OUT state text, OUT since timestamptz,
	OUT records bigint, OUT bytes bigint, OUT size bigint, OUT put bigint, OUT written bigint,
	OUT waited bigint, OUT direct bigint, OUT dropped bigint)
RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL SAFE STRICT
AS 'MODULE_PATHNAME', 'factory_queue_places';
COMMENT ON FUNCTION factory.queue_places() IS
'the queues of this server; read view queue_status instead';

CREATE OR REPLACE VIEW factory.queue_status AS
SELECT coalesce(d.datname, q.database::pg_catalog.text) AS database, q.pid, q.state, q.since,
	q.records, q.bytes, q.size, q.put, q.written, q.waited, q.direct, q.dropped
FROM factory.queue_places() AS q
LEFT JOIN pg_catalog.pg_database AS d ON d.oid = q.database;
COMMENT ON VIEW factory.queue_status IS
'the queues of databases whose sessions hand rows over: how much waits, and what became of the rest since its writer came';
REVOKE ALL ON factory.queue_status FROM PUBLIC;
REVOKE ALL ON FUNCTION factory.queued_rows(integer), factory.queue_places() FROM PUBLIC;
GRANT SELECT ON factory.queue_status
	TO factory_admin, factory_author, factory_operator, factory_monitor;
GRANT EXECUTE ON FUNCTION factory.queue_places()
	TO factory_admin, factory_author, factory_operator, factory_monitor;

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
	SELECT 'default' AS tenant_id, NULL::bigint AS judgments_per_month, NULL::bigint AS tokens_per_month,
		NULL::bigint AS concurrent_jobs
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
	own CONSTANT text := current_setting('factory.tenant');
	held record;
	rows bigint;
BEGIN
	PERFORM factory.require_house_administrator();
	IF name = 'default' THEN
		RAISE EXCEPTION 'tenant "default" cannot be dropped'
			USING ERRCODE = 'object_not_in_prerequisite_state',
				HINT = 'Set factory.default_tenant to '''' so that roles without a tenant have none.';
	END IF;
	-- Its rows are counted as it sees them.  What the audit log says of it stays.
	PERFORM set_config('factory.tenant', name, true);
	FOR held IN
		SELECT c.oid::regclass AS relation FROM pg_class AS c
		JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped
		WHERE c.relnamespace = 'factory'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
			AND c.oid NOT IN ('factory.tenant'::regclass, 'factory.tenant_role'::regclass,
				'factory.audit_log'::regclass)
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
	PERFORM set_config('factory.tenant', own, true);
	DELETE FROM factory.tenant_role AS r WHERE r.tenant_id = name;
	DELETE FROM factory.tenant AS t WHERE t.tenant_id = name;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'tenant "%" does not exist', name
			USING ERRCODE = 'PF003', HINT = 'Table factory.tenant lists the tenants.';
	END IF;
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
	IF EXISTS (SELECT FROM pg_roles WHERE oid = map_tenant_role.role AND rolname LIKE 'factory\_%') THEN
		RAISE EXCEPTION 'role "%" is everybody''s and cannot belong to a tenant', role
			USING ERRCODE = 'invalid_role_specification',
				DETAIL = 'Its members would all work for that tenant.',
				HINT = 'Map a role of the tenant''s own, and grant it what it needs.';
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

-- The audit log.

ALTER TABLE factory.audit_log ALTER tenant_id SET DEFAULT factory.current_tenant();

CREATE OR REPLACE FUNCTION factory.refuse_audit_change() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	RAISE EXCEPTION 'the audit log cannot be changed'
		USING ERRCODE = 'PF006',
			DETAIL = format('%s on %I.%I was refused.', TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME),
			HINT = 'Old months go by factory.drop_audit_before(), as factory.audit_retention allows.';
END
$$;
COMMENT ON FUNCTION factory.refuse_audit_change() IS
'refuses to change what the audit log says';
ALTER FUNCTION factory.refuse_audit_change() OWNER TO factory_auditor;
REVOKE ALL ON FUNCTION factory.refuse_audit_change() FROM PUBLIC;

-- The row's trigger reaches every partition, also one attached by hand; the
-- statement's speaks up even where there is no row.
CREATE OR REPLACE TRIGGER refuse_row_change BEFORE UPDATE OR DELETE ON factory.audit_log
	FOR EACH ROW EXECUTE FUNCTION factory.refuse_audit_change();
CREATE OR REPLACE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON factory.audit_log
	FOR EACH STATEMENT EXECUTE FUNCTION factory.refuse_audit_change();
CREATE OR REPLACE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON factory.audit_log_default
	FOR EACH STATEMENT EXECUTE FUNCTION factory.refuse_audit_change();
ALTER TABLE factory.audit_log ENABLE ALWAYS TRIGGER refuse_row_change, ENABLE ALWAYS TRIGGER refuse_change;
ALTER TABLE factory.audit_log_default ENABLE ALWAYS TRIGGER refuse_change;

-- Events of the whole server are written also where the session has no tenant.
DROP POLICY IF EXISTS house_writes ON factory.audit_log;
CREATE POLICY house_writes ON factory.audit_log FOR INSERT TO factory_owner WITH CHECK (true);

-- Logs that are kept by the month. Each has a function of its own that calls these as
-- the log's owner and adds its indexes: on the parent they would be made twice at a restore.
CREATE OR REPLACE FUNCTION factory.make_months(log text, ahead integer) RETURNS text[]
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET datestyle = 'ISO'
SET client_min_messages = 'warning'
AS $$
DECLARE
	this_month CONSTANT timestamptz := date_trunc('month', clock_timestamp());
	month timestamptz;
	name text;
	made text[] := '{}';
BEGIN
	-- One session makes months; the others wait for it and find them made.
	EXECUTE format('LOCK TABLE factory.%I IN SHARE UPDATE EXCLUSIVE MODE', log);
	FOR i IN 0 .. ahead LOOP
		month := this_month + make_interval(months => i);
		name := log || to_char(month, '_YYYY_MM');
		CONTINUE WHEN to_regclass('factory.' || name) IS NOT NULL;
		BEGIN
			EXECUTE format('CREATE TABLE factory.%I PARTITION OF factory.%I FOR VALUES FROM (%L) TO (%L)',
				name, log, month, month + interval '1 month');
			PERFORM factory.protect_table(format('factory.%I', name)::regclass);
			made := made || name;
		EXCEPTION WHEN check_violation THEN
			-- The default partition has rows of that month already, and keeps it.
		END;
	END LOOP;
	RETURN made;
END
$$;
COMMENT ON FUNCTION factory.make_months(text, integer) IS
'makes a log''s partitions of this month and those ahead, where they are missing; returns their names';
REVOKE ALL ON FUNCTION factory.make_months(text, integer) FROM PUBLIC;

CREATE OR REPLACE FUNCTION factory.drop_months(log text, cutoff timestamptz) RETURNS text[]
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET datestyle = 'ISO'
AS $$
DECLARE
	old record;
	dropped text[] := '{}';
BEGIN
	FOR old IN
		SELECT c.relname AS name FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
		WHERE i.inhparent = format('factory.%I', log)::regclass AND c.relname ~ ('^' || log || '_[0-9]{4}_[0-9]{2}$')
			AND pg_get_userbyid(c.relowner) = current_user
			AND to_date(right(c.relname, 7), 'YYYY_MM') + interval '1 month' <= cutoff
		ORDER BY c.relname
	LOOP
		EXECUTE format('DROP TABLE factory.%I', old.name);
		dropped := dropped || old.name;
	END LOOP;
	RETURN dropped;
END
$$;
COMMENT ON FUNCTION factory.drop_months(text, timestamptz) IS
'drops the months of a log of the caller''s that ended by that time; returns their names';
REVOKE ALL ON FUNCTION factory.drop_months(text, timestamptz) FROM PUBLIC;
-- Before what a log may be cut, as its setting says.
CREATE OR REPLACE FUNCTION factory.log_cutoff(log text, setting text, before timestamptz,
	at_least_days integer DEFAULT 0) RETURNS timestamptz
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	kept CONSTANT interval := current_setting(setting)::interval;
	at_least CONSTANT interval := make_interval(days => at_least_days);
	latest CONSTANT timestamptz := clock_timestamp() - greatest(kept, at_least);
BEGIN
	IF kept = interval '0' THEN
		RAISE EXCEPTION '% is kept for ever', log
			USING ERRCODE = 'object_not_in_prerequisite_state',
				HINT = format('Set "%s", such as to ''731d''.', setting);
	END IF;
	IF before > latest THEN
		RAISE EXCEPTION '% is kept for %', log, CASE WHEN kept < at_least THEN at_least_days || ' days' ELSE current_setting(setting) END
			USING ERRCODE = 'invalid_parameter_value',
				HINT = CASE WHEN kept <= at_least THEN 'Name an earlier time.' ELSE format('Name an earlier time, or lower "%s".', setting) END;
	END IF;
	RETURN coalesce(before, latest);
END
$$;
COMMENT ON FUNCTION factory.log_cutoff(text, text, timestamptz, integer) IS
'before what a log is cut: the time named, or the end of its retention; an error where that is too late, or never';
REVOKE ALL ON FUNCTION factory.log_cutoff(text, text, timestamptz, integer) FROM PUBLIC;

GRANT EXECUTE ON FUNCTION factory.log_cutoff(text, text, timestamptz, integer), factory.make_months(text, integer), factory.drop_months(text, timestamptz) TO factory_auditor;

CREATE OR REPLACE FUNCTION factory.make_audit_months(ahead integer DEFAULT 3) RETURNS integer
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	made CONSTANT text[] := factory.make_months('audit_log', ahead);
	name text;
BEGIN
	FOREACH name IN ARRAY made LOOP
		EXECUTE format('CREATE INDEX ON factory.%I (tenant_id, created_at)', name);
		EXECUTE format('CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON factory.%I
			FOR EACH STATEMENT EXECUTE FUNCTION factory.refuse_audit_change()', name);
		EXECUTE format('ALTER TABLE factory.%I ENABLE ALWAYS TRIGGER refuse_change', name);
	END LOOP;
	RETURN cardinality(made);
END
$$;
COMMENT ON FUNCTION factory.make_audit_months(integer) IS
'makes the audit log''s partitions of this month and those ahead, where they are missing';
ALTER FUNCTION factory.make_audit_months(integer) OWNER TO factory_auditor;
REVOKE ALL ON FUNCTION factory.make_audit_months(integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION factory.make_audit_months(integer) TO factory_owner;
GRANT EXECUTE ON FUNCTION factory.protect_table(regclass) TO factory_auditor;

CREATE OR REPLACE FUNCTION factory.audit(action text, object_type text, object text,
	before jsonb DEFAULT NULL, after jsonb DEFAULT NULL) RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'factory_audit';
COMMENT ON FUNCTION factory.audit(text, text, text, jsonb, jsonb) IS
'writes one row of the audit log; for functions that run as the house';
REVOKE ALL ON FUNCTION factory.audit(text, text, text, jsonb, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION factory.audit(text, text, text, jsonb, jsonb) TO factory_owner, factory_auditor;

-- Tables whose rows are configuration tell of every change, whichever way it comes:
-- EXECUTE FUNCTION factory.audit_change(OBJECT TYPE, COLUMN THAT NAMES IT, COLUMN TO LEAVE OUT ...).
CREATE OR REPLACE FUNCTION factory.audit_change() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	untold CONSTANT text[] := '{tenant_id}'::text[] || TG_ARGV[2:];
	earlier jsonb := CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) - untold END;
	later jsonb := CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) - untold END;
	object CONSTANT text := coalesce(to_jsonb(NEW), to_jsonb(OLD)) ->> TG_ARGV[1];
BEGIN
	-- A dump that is being restored changes nothing that was not told where it was made.
	IF current_setting('row_security') = 'off' OR earlier = later THEN
		RETURN NULL;
	END IF;
	IF TG_OP = 'UPDATE' THEN
		SELECT jsonb_object_agg(b.key, b.value), jsonb_object_agg(b.key, a.value) INTO earlier, later
		FROM jsonb_each(earlier) AS b JOIN jsonb_each(later) AS a ON a.key = b.key AND a.value <> b.value;
	END IF;
	PERFORM factory.audit(CASE TG_OP WHEN 'INSERT' THEN 'create' WHEN 'UPDATE' THEN 'alter' ELSE 'drop' END,
		TG_ARGV[0], object, CASE WHEN TG_OP = 'UPDATE' THEN earlier ELSE jsonb_strip_nulls(earlier) END,
		CASE WHEN TG_OP = 'UPDATE' THEN later ELSE jsonb_strip_nulls(later) END);
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION factory.audit_change() IS
'a trigger for tables of configuration: one row of the audit log for each row that is changed';
REVOKE ALL ON FUNCTION factory.audit_change() FROM PUBLIC;
CREATE OR REPLACE TRIGGER audit_change AFTER INSERT OR UPDATE OR DELETE ON factory.tenant
	FOR EACH ROW EXECUTE FUNCTION factory.audit_change('tenant', 'tenant_id');
CREATE OR REPLACE TRIGGER audit_change AFTER INSERT OR UPDATE OR DELETE ON factory.tenant_role
	FOR EACH ROW EXECUTE FUNCTION factory.audit_change('tenant_role', 'role');

CREATE OR REPLACE FUNCTION factory.drop_audit_before(before timestamptz DEFAULT NULL) RETURNS integer
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET datestyle = 'ISO'
AS $$
DECLARE
	cutoff CONSTANT timestamptz := factory.log_cutoff('the audit log', 'factory.audit_retention', before);
	dropped text[];
	removed bigint;
BEGIN
	dropped := factory.drop_months('audit_log', cutoff);
	-- What no month was there for.
	ALTER TABLE factory.audit_log_default NO FORCE ROW LEVEL SECURITY;
	ALTER TABLE factory.audit_log_default DISABLE TRIGGER USER;
	DELETE FROM factory.audit_log_default AS a WHERE a.created_at < cutoff;
	GET DIAGNOSTICS removed = ROW_COUNT;
	ALTER TABLE factory.audit_log_default ENABLE ALWAYS TRIGGER refuse_row_change;
	ALTER TABLE factory.audit_log_default ENABLE ALWAYS TRIGGER refuse_change;
	ALTER TABLE factory.audit_log_default FORCE ROW LEVEL SECURITY;
	IF dropped <> '{}' OR removed > 0 THEN
		PERFORM factory.audit('drop', 'audit_log', NULL,
			jsonb_build_object('months', to_jsonb(dropped), 'rows_of_no_month', removed),
			jsonb_build_object('kept_since', cutoff));
	END IF;
	RETURN cardinality(dropped);
END
$$;
COMMENT ON FUNCTION factory.drop_audit_before(timestamptz) IS
'drops the audit log''s months that are older than that, or than factory.audit_retention; returns how many';
ALTER FUNCTION factory.drop_audit_before(timestamptz) OWNER TO factory_auditor;
REVOKE ALL ON FUNCTION factory.drop_audit_before(timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION factory.drop_audit_before(timestamptz) TO factory_admin;

-- Whether the factory may act here.

CREATE OR REPLACE FUNCTION factory.activity_changed() RETURNS trigger
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'factory_activity_changed';
COMMENT ON FUNCTION factory.activity_changed() IS
'tells every backend that activation or pause changed';
REVOKE ALL ON FUNCTION factory.activity_changed() FROM PUBLIC;
CREATE OR REPLACE TRIGGER activity_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE
	ON factory.activation FOR EACH STATEMENT EXECUTE FUNCTION factory.activity_changed();
CREATE OR REPLACE TRIGGER activity_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE
	ON factory.worker_pause FOR EACH STATEMENT EXECUTE FUNCTION factory.activity_changed();
ALTER TABLE factory.activation ENABLE ALWAYS TRIGGER activity_changed;
ALTER TABLE factory.worker_pause ENABLE ALWAYS TRIGGER activity_changed;

CREATE OR REPLACE FUNCTION factory.activity(OUT may_act boolean, OUT workers_may_act boolean,
	OUT reason text, OUT hint text)
LANGUAGE c VOLATILE PARALLEL SAFE STRICT
AS 'MODULE_PATHNAME', 'factory_activity';
COMMENT ON FUNCTION factory.activity() IS
'whether models are called and workers work in this database, and if not, why, and what to do';
REVOKE ALL ON FUNCTION factory.activity() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION factory.activity()
	TO factory_admin, factory_author, factory_operator, factory_analyst, factory_monitor;

CREATE OR REPLACE FUNCTION factory.activate(cluster_names text[] DEFAULT NULL) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	earlier CONSTANT jsonb := (SELECT jsonb_agg(to_jsonb(a)) FROM factory.activation AS a);
	names CONSTANT text[] := coalesce(cluster_names, ARRAY[current_setting('cluster_name')]);
BEGIN
	PERFORM factory.require_house_administrator();
	IF NOT current_setting('cluster_name') = ANY (names) THEN
		RAISE EXCEPTION 'this server''s cluster_name is not among those to activate'
			USING ERRCODE = 'invalid_parameter_value',
				DETAIL = format('It is "%s".', current_setting('cluster_name')),
				HINT = 'Name it too, or call activate() on the server that shall act.';
	END IF;
	DELETE FROM factory.activation;
	INSERT INTO factory.activation (system_identifier, database, cluster_names)
	SELECT s.system_identifier, d.oid, names
	FROM pg_control_system() AS s, pg_database AS d WHERE d.datname = current_database();
	PERFORM factory.audit('activate', 'database', current_database(), earlier,
		(SELECT jsonb_agg(to_jsonb(a)) FROM factory.activation AS a));
END
$$;
COMMENT ON FUNCTION factory.activate(text[]) IS
'lets the factory act in this database: after a restore, in a copy, after pg_upgrade; cluster_names: the servers that may (this one)';

CREATE OR REPLACE FUNCTION factory.pause_workers(reason text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM factory.require_house_administrator();
	INSERT INTO factory.worker_pause AS p (reason, paused_by) VALUES (pause_workers.reason, SESSION_USER)
	ON CONFLICT (only_one) DO UPDATE SET reason = excluded.reason, paused_by = excluded.paused_by,
		paused_at = excluded.paused_at;
	PERFORM factory.audit('pause', 'workers', current_database(), NULL, jsonb_build_object('reason', reason));
END
$$;
COMMENT ON FUNCTION factory.pause_workers(text) IS
'lets this database''s workers rest until resume_workers(); what is under way is finished';

CREATE OR REPLACE FUNCTION factory.resume_workers() RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	pause jsonb;
BEGIN
	PERFORM factory.require_house_administrator();
	DELETE FROM factory.worker_pause AS p RETURNING to_jsonb(p) - 'only_one' INTO pause;
	IF pause IS NULL THEN
		RETURN false;
	END IF;
	PERFORM factory.audit('resume', 'workers', current_database(), pause, NULL);
	RETURN true;
END
$$;
COMMENT ON FUNCTION factory.resume_workers() IS
'lets this database''s workers work again; false where they were not paused';

REVOKE ALL ON FUNCTION factory.activate(text[]), factory.pause_workers(text), factory.resume_workers() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION factory.activate(text[]), factory.pause_workers(text), factory.resume_workers()
	TO factory_admin;

-- What backends keep of a table's rows.

CREATE OR REPLACE FUNCTION factory.rows_changed() RETURNS trigger
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'factory_rows_changed';
COMMENT ON FUNCTION factory.rows_changed() IS
'a trigger: tells every backend, when the change commits, that what it keeps of the table is old';
REVOKE ALL ON FUNCTION factory.rows_changed() FROM PUBLIC;

-- What the factory takes of the server.

CREATE OR REPLACE FUNCTION factory.resource_use(OUT resource text, OUT name text, OUT used bigint,
	OUT resource_limit bigint, OUT unit text)
RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL RESTRICTED STRICT
AS 'MODULE_PATHNAME', 'factory_resource_use';
COMMENT ON FUNCTION factory.resource_use() IS
'what the factory takes of this server; read view resource_usage instead';
CREATE OR REPLACE VIEW factory.resource_usage AS
SELECT u.resource, u.name, u.used, u.resource_limit, u.unit FROM factory.resource_use() AS u;
COMMENT ON VIEW factory.resource_usage IS
'shared memory, worker processes, connections of factoryd, sizes of tables and this session''s own memory; workers share max_worker_processes and connections max_connections with everybody';
REVOKE ALL ON FUNCTION factory.resource_use() FROM PUBLIC;
REVOKE ALL ON factory.resource_usage FROM PUBLIC;
GRANT EXECUTE ON FUNCTION factory.resource_use() TO factory_admin, factory_monitor;
GRANT SELECT ON factory.resource_usage TO factory_admin, factory_monitor;
