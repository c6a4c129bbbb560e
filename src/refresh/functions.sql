CREATE OR REPLACE FUNCTION factory.schedule_refresh(view regclass, schedule text,
	timezone text DEFAULT NULL, concurrently bool DEFAULT NULL)
RETURNS timestamptz
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'factory_schedule_refresh';
COMMENT ON FUNCTION factory.schedule_refresh(regclass, text, text, bool) IS
'refreshes a materialized view on a schedule; returns when it is due first';

CREATE OR REPLACE FUNCTION factory.unschedule_refresh(view regclass) RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE STRICT
AS 'MODULE_PATHNAME', 'factory_unschedule_refresh';
COMMENT ON FUNCTION factory.unschedule_refresh(regclass) IS
'takes a materialized view off its schedule';

CREATE OR REPLACE FUNCTION factory.refresh_now(view regclass) RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE STRICT
AS 'MODULE_PATHNAME', 'factory_refresh_now';
COMMENT ON FUNCTION factory.refresh_now(regclass) IS
'refreshes a materialized view in this transaction; returns the id of its refresh_run';

CREATE OR REPLACE VIEW factory.refresh_status AS
SELECT s.tenant_id,
	coalesce(pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname),
		s.view_name) AS view,
	CASE WHEN c.oid IS NULL THEN 'dropped'
		 WHEN r.status = 'running' THEN 'running'
		 WHEN NOT s.enabled THEN 'disabled'
		 WHEN NOT c.relispopulated THEN 'never filled'
		 ELSE 'waiting' END AS state,
	s.schedule, s.timezone, s.enabled, s.next_due,
	r.status AS last_status, r.scheduled_for AS last_scheduled_for,
	r.started_at AS last_started_at, r.duration_ms AS last_duration_ms,
	r.method AS last_method, r.reason AS last_reason, r.error AS last_error
FROM factory.refresh_schedule AS s
LEFT JOIN pg_catalog.pg_class AS c ON c.oid = s.view::pg_catalog.oid AND c.relkind = 'm'
LEFT JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
LEFT JOIN LATERAL (SELECT * FROM factory.refresh_run AS run
				   WHERE run.view_oid = s.view::pg_catalog.oid
				   ORDER BY run.id DESC LIMIT 1) AS r ON true;
COMMENT ON VIEW factory.refresh_status IS
'every scheduled materialized view: when it is due next and how its last run went';

REVOKE ALL ON FUNCTION factory.schedule_refresh(regclass, text, text, bool),
	factory.unschedule_refresh(regclass), factory.refresh_now(regclass) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION factory.schedule_refresh(regclass, text, text, bool),
	factory.unschedule_refresh(regclass), factory.refresh_now(regclass)
	TO factory_admin, factory_author;
REVOKE ALL ON factory.refresh_status FROM PUBLIC;
GRANT SELECT ON factory.refresh_status
	TO factory_admin, factory_author, factory_operator, factory_monitor;

-- Not of what every run changes.
CREATE OR REPLACE TRIGGER audit_change
	AFTER INSERT OR DELETE OR UPDATE OF schedule, timezone, concurrent, enabled ON factory.refresh_schedule
	FOR EACH ROW EXECUTE FUNCTION factory.audit_change('schedule', 'view_name', 'next_due');
