-- A view has one schedule, whoever made it: so the view alone is the key, and
-- tenant_id only says whose it is.  next_due changes with every run and has no
-- index, so that the change stays on its page.
CREATE TABLE factory.refresh_schedule (
	tenant_id text NOT NULL DEFAULT factory.current_tenant(),
	view regclass PRIMARY KEY,
	view_name text NOT NULL,
	schedule text NOT NULL,
	timezone text NOT NULL,
	concurrent bool,
	enabled bool NOT NULL DEFAULT true,
	next_due timestamptz NOT NULL,
	created_at timestamptz NOT NULL DEFAULT factory.clock_now()
) WITH (fillfactor = 50);
COMMENT ON TABLE factory.refresh_schedule IS
'when each materialized view is refreshed; written by schedule_refresh()';
COMMENT ON COLUMN factory.refresh_schedule.view_name IS
'the view''s name as last seen: what remains when it is dropped';
COMMENT ON COLUMN factory.refresh_schedule.concurrent IS
'true: only concurrently; false: never; null: where a unique index allows';

CREATE TABLE factory.refresh_run (
	tenant_id text NOT NULL DEFAULT factory.current_tenant(),
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	view_oid oid NOT NULL,
	view text NOT NULL,
	scheduled_for timestamptz,
	started_at timestamptz NOT NULL,
	finished_at timestamptz,
	duration_ms float8,
	status text NOT NULL CHECK (status IN ('running', 'succeeded', 'failed', 'skipped')),
	method text CHECK (method IN ('full', 'concurrent')),
	reason text NOT NULL,
	error text,
	sqlstate text
);
COMMENT ON TABLE factory.refresh_run IS
'the last refresh runs, at most factory.refresh_history_runs';
COMMENT ON COLUMN factory.refresh_run.scheduled_for IS
'the due time it was for; null where refresh_now() asked for it';
COMMENT ON COLUMN factory.refresh_run.reason IS
'why this method was chosen, or why there was no run';
CREATE INDEX refresh_run_view_idx ON factory.refresh_run (view_oid, id);
CREATE INDEX refresh_run_running_idx ON factory.refresh_run (id) WHERE status = 'running';

REVOKE ALL ON factory.refresh_schedule, factory.refresh_run FROM PUBLIC;
GRANT SELECT ON factory.refresh_schedule, factory.refresh_run
	TO factory_admin, factory_author, factory_operator, factory_monitor;

-- The schedule of a dropped view would be dumped as a bare number, and a number
-- may be another view's where it is restored.
SELECT pg_catalog.pg_extension_config_dump('factory.refresh_schedule',
	'WHERE view::pg_catalog.oid IN (SELECT oid FROM pg_catalog.pg_class)');
