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
	-- The schedule, taken apart.
	times text,
	after_views regclass[] NOT NULL DEFAULT '{}',
	after_any bool NOT NULL DEFAULT false,
	on_change bool NOT NULL DEFAULT false,
	within interval,
	-- Its policies; null where the setting or the default decides.
	catch_up text CHECK (catch_up IN ('none', 'last', 'all')),
	catch_up_window interval,
	overlap text CHECK (overlap IN ('skip', 'queue_one', 'cancel_running')),
	timeout interval,
	lock_timeout interval,
	retries integer,
	retry_delay interval,
	pause_after integer,
	jitter interval,
	holidays text,
	quiet interval,
	-- What happens to it.
	next_due timestamptz,
	due_why text NOT NULL DEFAULT 'schedule',
	attempts integer NOT NULL DEFAULT 0,
	failures integer NOT NULL DEFAULT 0,
	paused_since timestamptz,
	fresh_as_of timestamptz,
	created_at timestamptz NOT NULL DEFAULT factory.clock_now()
) WITH (fillfactor = 50);
COMMENT ON TABLE factory.refresh_schedule IS
'when each materialized view is refreshed; written by schedule_refresh()';
COMMENT ON COLUMN factory.refresh_schedule.view_name IS
'the view''s name as last seen: what remains when it is dropped';
COMMENT ON COLUMN factory.refresh_schedule.concurrent IS
'true: only concurrently; false: never; null: where a unique index allows';
COMMENT ON COLUMN factory.refresh_schedule.times IS
'the part of the schedule that names times; null where only events make it due';
COMMENT ON COLUMN factory.refresh_schedule.attempts IS
'failed runs since it came due: each makes one retry, up to retries';
COMMENT ON COLUMN factory.refresh_schedule.failures IS
'how often in a row it came due and no run succeeded';
COMMENT ON COLUMN factory.refresh_schedule.fresh_as_of IS
'when the last run that succeeded began: later changes may be missing';

-- Days on which nothing with that calendar is due.
CREATE TABLE factory.holiday (
	tenant_id text NOT NULL DEFAULT factory.current_tenant(),
	calendar text NOT NULL,
	day date NOT NULL,
	description text,
	PRIMARY KEY (tenant_id, calendar, day)
);
COMMENT ON TABLE factory.holiday IS
'days on which schedules with that business calendar rest';
REVOKE ALL ON factory.holiday FROM PUBLIC;
GRANT SELECT, INSERT, UPDATE, DELETE ON factory.holiday TO factory_admin;
GRANT SELECT ON factory.holiday TO factory_author, factory_operator, factory_monitor;
SELECT pg_catalog.pg_extension_config_dump('factory.holiday', '');

-- A base table of a view that is refreshed on change was changed: one row a transaction
-- and table, taken away when the view is due.
CREATE TABLE factory.refresh_change (
	relation oid NOT NULL,
	changed_at timestamptz NOT NULL
);
COMMENT ON TABLE factory.refresh_change IS
'changes that the scheduler has not seen yet; written by trigger note_change';
REVOKE ALL ON factory.refresh_change FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('factory.refresh_change', 'WHERE false');

CREATE TABLE factory.refresh_run (
	tenant_id text NOT NULL DEFAULT factory.current_tenant(),
	id bigint GENERATED ALWAYS AS IDENTITY,
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
	sqlstate text,
	PRIMARY KEY (view_oid, id)
);
COMMENT ON TABLE factory.refresh_run IS
'the last refresh runs, at most factory.refresh_history_runs';
COMMENT ON COLUMN factory.refresh_run.scheduled_for IS
'the due time it was for; null where refresh_now() asked for it';
COMMENT ON COLUMN factory.refresh_run.reason IS
'why this method was chosen, or why there was no run';
CREATE INDEX refresh_run_running_idx ON factory.refresh_run (id) WHERE status = 'running';

REVOKE ALL ON factory.refresh_schedule, factory.refresh_run FROM PUBLIC;
GRANT SELECT ON factory.refresh_schedule, factory.refresh_run
	TO factory_admin, factory_author, factory_operator, factory_monitor;

-- The schedule of a dropped view would be dumped as a bare number, and a number
-- may be another view's where it is restored.
SELECT pg_catalog.pg_extension_config_dump('factory.refresh_schedule',
	'WHERE view::pg_catalog.oid IN (SELECT oid FROM pg_catalog.pg_class)');

-- A command that runs as its owner by a schedule.
CREATE TABLE factory.task (
	tenant_id text NOT NULL DEFAULT factory.current_tenant(),
	id bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
	name text NOT NULL CHECK (pg_catalog.octet_length(name) BETWEEN 1 AND 63),
	command text NOT NULL,
	owner regrole NOT NULL,
	schedule text NOT NULL,
	times text NOT NULL,
	timezone text NOT NULL,
	enabled bool NOT NULL DEFAULT true,
	-- Its policies; null where the setting or the default decides.
	catch_up text CHECK (catch_up IN ('none', 'last', 'all')),
	catch_up_window interval,
	overlap text CHECK (overlap IN ('skip', 'queue_one', 'cancel_running')),
	timeout interval,
	lock_timeout interval,
	retries integer CHECK (retries BETWEEN 0 AND 1000),
	retry_delay interval,
	pause_after integer CHECK (pause_after BETWEEN 0 AND 1000),
	jitter interval,
	holidays text,
	-- What happens to it.
	next_due timestamptz NOT NULL,
	due_why text NOT NULL DEFAULT 'schedule',
	attempts integer NOT NULL DEFAULT 0,
	failures integer NOT NULL DEFAULT 0,
	paused_since timestamptz,
	created_at timestamptz NOT NULL DEFAULT factory.clock_now(),
	PRIMARY KEY (tenant_id, name)
) WITH (fillfactor = 50);
COMMENT ON TABLE factory.task IS
'commands that run as their owner by a schedule; written by schedule_task(), read as task_status';
COMMENT ON COLUMN factory.task.owner IS
'the role that scheduled it: the command runs in a session of that role';
REVOKE ALL ON factory.task FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('factory.task',
	'WHERE owner::pg_catalog.oid IN (SELECT oid FROM pg_catalog.pg_roles)');

CREATE TABLE factory.task_run (
	tenant_id text NOT NULL DEFAULT factory.current_tenant(),
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	task_id bigint NOT NULL,
	task text NOT NULL,
	owner oid NOT NULL,
	scheduled_for timestamptz NOT NULL,
	started_at timestamptz NOT NULL,
	finished_at timestamptz,
	duration_ms float8,
	status text NOT NULL CHECK (status IN ('running', 'succeeded', 'failed', 'skipped')),
	reason text,
	error text,
	sqlstate text
);
COMMENT ON TABLE factory.task_run IS
'the last runs of tasks, at most factory.refresh_history_runs and factory.refresh_history_days old';
COMMENT ON COLUMN factory.task_run.reason IS
'why there was no run, or why it ran at another time than its schedule says';
CREATE INDEX task_run_task_idx ON factory.task_run (task_id, id);
CREATE INDEX task_run_running_idx ON factory.task_run (id) WHERE status = 'running';
REVOKE ALL ON factory.task_run FROM PUBLIC;
GRANT SELECT ON factory.task_run
	TO factory_admin, factory_author, factory_operator, factory_monitor;
