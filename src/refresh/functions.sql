-- What a view reads, with the longest way to it; "through" materialized views, or not.
CREATE OR REPLACE FUNCTION factory.view_sources(view oid, through boolean,
	OUT relation oid, OUT kind "char", OUT depth integer)
RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
	WITH RECURSIVE source (relation, kind, depth) AS (
		SELECT view_sources.view, 'm'::"char", 0
		UNION
		SELECT d.refobjid, c.relkind, s.depth + 1
		FROM source AS s
		JOIN pg_rewrite AS r ON r.ev_class = s.relation
		JOIN pg_depend AS d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
			AND d.refclassid = 'pg_class'::regclass AND d.refobjid <> s.relation
		JOIN pg_class AS c ON c.oid = d.refobjid AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
		WHERE s.depth < 64 AND (s.depth = 0 OR s.kind = 'v' OR (s.kind = 'm' AND view_sources.through))
	)
	SELECT s.relation, s.kind, max(s.depth) FROM source AS s WHERE s.depth > 0 GROUP BY s.relation, s.kind
$$;
COMMENT ON FUNCTION factory.view_sources(oid, boolean) IS
'the tables and views that a view reads, as the catalogue knows them; depth counts the views between';
REVOKE ALL ON FUNCTION factory.view_sources(oid, boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION factory.view_sources(oid, boolean)
	TO factory_admin, factory_author, factory_operator, factory_monitor;

CREATE OR REPLACE FUNCTION factory.note_change() RETURNS trigger
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'factory_note_change';
COMMENT ON FUNCTION factory.note_change() IS
'a trigger on tables that views scheduled "on change" read: tells the scheduler';
REVOKE ALL ON FUNCTION factory.note_change() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION factory.note_change() TO factory_admin, factory_author;

CREATE OR REPLACE FUNCTION factory.schedule_refresh(view regclass, schedule text,
	timezone text DEFAULT NULL, concurrently bool DEFAULT NULL,
	catch_up text DEFAULT NULL, catch_up_window interval DEFAULT NULL, overlap text DEFAULT NULL,
	timeout interval DEFAULT NULL, lock_timeout interval DEFAULT NULL,
	retries integer DEFAULT NULL, retry_delay interval DEFAULT NULL, pause_after integer DEFAULT NULL,
	jitter interval DEFAULT NULL, holidays text DEFAULT NULL, quiet interval DEFAULT NULL,
	enabled bool DEFAULT true)
RETURNS timestamptz
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'factory_schedule_refresh';
COMMENT ON FUNCTION factory.schedule_refresh(regclass, text, text, bool, text, interval, text, interval, interval,
	integer, interval, integer, interval, text, interval, bool) IS
'refreshes a materialized view by times, after others, on change, or to a target of staleness; returns when it is due first';

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

CREATE OR REPLACE FUNCTION factory.unchanged_at(view_name text) RETURNS timestamptz
LANGUAGE c VOLATILE PARALLEL SAFE STRICT
AS 'MODULE_PATHNAME', 'factory_unchanged_at';
COMMENT ON FUNCTION factory.unchanged_at(text) IS
'when the scheduler found last that nothing which that view reads seemed changed, since the server started';
REVOKE ALL ON FUNCTION factory.unchanged_at(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION factory.unchanged_at(text)
	TO factory_admin, factory_author, factory_operator, factory_monitor;

CREATE OR REPLACE VIEW factory.refresh_status AS
SELECT s.tenant_id,
	coalesce(pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname),
		s.view_name) AS view,
	CASE WHEN c.oid IS NULL THEN 'dropped'
		 WHEN r.status = 'running' THEN 'running'
		 WHEN NOT s.enabled THEN 'disabled'
		 WHEN s.paused_since IS NOT NULL THEN 'paused'
		 WHEN NOT c.relispopulated THEN 'never filled'
		 ELSE 'waiting' END AS state,
	s.schedule, s.timezone, s.enabled, s.next_due,
	r.status AS last_status, r.scheduled_for AS last_scheduled_for,
	r.started_at AS last_started_at, r.duration_ms AS last_duration_ms,
	r.method AS last_method, r.reason AS last_reason, r.error AS last_error,
	s.due_why AS next_why, s.fresh_as_of,
	CASE WHEN s.fresh_as_of IS NOT NULL THEN factory.clock_now() - s.fresh_as_of END AS staleness,
	s.attempts, s.failures, s.paused_since,
	ARRAY(SELECT src.relation::pg_catalog.regclass FROM factory.view_sources(s.view::pg_catalog.oid, true) AS src
		  WHERE src.kind = 'm' ORDER BY src.depth DESC, src.relation) AS reads_views,
	nullif(greatest(factory.unchanged_at(s.view_name), s.fresh_as_of), s.fresh_as_of) AS seems_fresh_as_of
FROM factory.refresh_schedule AS s
LEFT JOIN pg_catalog.pg_class AS c ON c.oid = s.view::pg_catalog.oid AND c.relkind = 'm'
LEFT JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
LEFT JOIN LATERAL (SELECT * FROM factory.refresh_run AS run
				   WHERE run.view_oid = s.view::pg_catalog.oid
				   ORDER BY run.id DESC LIMIT 1) AS r ON true;
COMMENT ON VIEW factory.refresh_status IS
'every scheduled materialized view: when it is due next and how its last run went';

CREATE OR REPLACE FUNCTION factory.resume_refresh(view regclass) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF NOT EXISTS (SELECT FROM pg_class AS c WHERE c.oid = resume_refresh.view
			AND pg_has_role(factory.acting_role(), c.relowner, 'USAGE')) THEN
		RAISE EXCEPTION 'must be owner of materialized view %', view USING ERRCODE = 'insufficient_privilege';
	END IF;
	UPDATE factory.refresh_schedule AS s SET paused_since = NULL, attempts = 0, failures = 0, enabled = true,
		next_due = factory.clock_now(), due_why = 'resumed'
	WHERE s.view = resume_refresh.view;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'materialized view "%" has no schedule', view
			USING ERRCODE = 'PF302', HINT = 'View factory.refresh_status lists what is scheduled.';
	END IF;
END
$$;
COMMENT ON FUNCTION factory.resume_refresh(regclass) IS
'takes up a schedule that failures paused or that was disabled: the view is due at once';

CREATE OR REPLACE FUNCTION factory.refresh_plan(since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL,
	OUT due_at timestamptz, OUT view text, OUT why text)
RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
	WITH RECURSIVE span (first, last) AS (
		SELECT coalesce(since, factory.clock_now()), coalesce(until, coalesce(since, factory.clock_now()) + interval '1 day')
	), due (due_at, view, name, why, depth) AS (
		SELECT t.due_at + j.later, s.view::oid, s.view_name, 'schedule', 0
		-- Each view's share of its jitter is as the scheduler has it.
		FROM span, factory.refresh_schedule AS s,
			LATERAL (SELECT coalesce(s.jitter, '0') * ((hashtext(s.view_name) & 4294967295) / 4294967295.0) AS later) AS j,
			factory.schedule_next(s.times, span.first - j.later, s.timezone, 1000) AS t(due_at)
		WHERE s.times IS NOT NULL AND s.enabled AND s.paused_since IS NULL AND t.due_at + j.later < span.last
			AND NOT EXISTS (SELECT FROM factory.holiday AS h WHERE h.calendar = s.holidays AND h.day = (t.due_at AT TIME ZONE s.timezone)::date)
		UNION ALL
		SELECT s.next_due, s.view::oid, s.view_name, s.due_why, 0
		FROM span, factory.refresh_schedule AS s
		WHERE s.enabled AND s.paused_since IS NULL AND s.next_due >= span.first AND s.next_due < span.last
			AND (s.times IS NULL OR s.due_why <> 'schedule')
		UNION ALL
		SELECT d.due_at, s.view::oid, s.view_name, 'after ' || d.name, d.depth + 1
		FROM due AS d JOIN factory.refresh_schedule AS s ON d.view = ANY (s.after_views::oid[])
		WHERE s.enabled AND s.paused_since IS NULL AND d.depth < 64
	)
	SELECT d.due_at, d.name, d.why FROM due AS d ORDER BY d.due_at, d.depth, d.name
$$;
COMMENT ON FUNCTION factory.refresh_plan(timestamptz, timestamptz) IS
'what is due between the two, as far as it is known: times (1000 a view at most), retries, and what follows them; changes are not';

REVOKE ALL ON FUNCTION factory.schedule_refresh(regclass, text, text, bool, text, interval, text, interval, interval,
	integer, interval, integer, interval, text, interval, bool), factory.unschedule_refresh(regclass),
	factory.refresh_now(regclass), factory.resume_refresh(regclass), factory.refresh_plan(timestamptz, timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION factory.schedule_refresh(regclass, text, text, bool, text, interval, text, interval, interval,
	integer, interval, integer, interval, text, interval, bool), factory.unschedule_refresh(regclass),
	factory.refresh_now(regclass), factory.resume_refresh(regclass) TO factory_admin, factory_author;
GRANT EXECUTE ON FUNCTION factory.refresh_plan(timestamptz, timestamptz)
	TO factory_admin, factory_author, factory_operator, factory_monitor;
REVOKE ALL ON factory.refresh_status FROM PUBLIC;
GRANT SELECT ON factory.refresh_status
	TO factory_admin, factory_author, factory_operator, factory_monitor;

-- Not of what every run changes.
CREATE OR REPLACE TRIGGER audit_change
	AFTER INSERT OR DELETE OR UPDATE OF schedule, timezone, concurrent, enabled, paused_since ON factory.refresh_schedule
	FOR EACH ROW EXECUTE FUNCTION factory.audit_change('schedule', 'view_name', 'next_due', 'due_why', 'attempts', 'failures',
		'fresh_as_of', 'times', 'after_views', 'after_any', 'on_change', 'within');
CREATE OR REPLACE TRIGGER audit_change AFTER INSERT OR UPDATE OR DELETE ON factory.holiday
	FOR EACH ROW EXECUTE FUNCTION factory.audit_change('holiday', 'calendar');

-- Whoever schedules a task is its owner; only he and members of his role change it.  Who
-- calls is known for sure only where nothing of ours stands between: so these three are C,
-- with the caller's rights, and call those below.
CREATE OR REPLACE FUNCTION factory.schedule_task(name text, command text, schedule text, timezone text DEFAULT NULL,
	catch_up text DEFAULT NULL, catch_up_window interval DEFAULT NULL, overlap text DEFAULT NULL,
	timeout interval DEFAULT NULL, lock_timeout interval DEFAULT NULL,
	retries integer DEFAULT NULL, retry_delay interval DEFAULT NULL, pause_after integer DEFAULT NULL,
	jitter interval DEFAULT NULL, holidays text DEFAULT NULL, enabled bool DEFAULT true)
RETURNS timestamptz
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'factory_schedule_task';
COMMENT ON FUNCTION factory.schedule_task(text, text, text, text, text, interval, text, interval, interval,
	integer, interval, integer, interval, text, bool) IS
'runs SQL by a schedule, in a session of its own as the role that scheduled it; returns when it is due first';

CREATE OR REPLACE FUNCTION factory.unschedule_task(name text) RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE STRICT
AS 'MODULE_PATHNAME', 'factory_unschedule_task';
COMMENT ON FUNCTION factory.unschedule_task(text) IS 'takes a task away; a run that is going on goes on';

CREATE OR REPLACE FUNCTION factory.resume_task(name text) RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE STRICT
AS 'MODULE_PATHNAME', 'factory_resume_task';
COMMENT ON FUNCTION factory.resume_task(text) IS
'takes up a task that failures paused or that was disabled: it is due at once';

CREATE OR REPLACE FUNCTION factory.store_task(me regrole, name text, command text, schedule text, timezone text,
	catch_up text, catch_up_window interval, overlap text, timeout interval, lock_timeout interval,
	retries integer, retry_delay interval, pause_after integer, jitter interval, holidays text, enabled bool)
RETURNS timestamptz
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	zone text := coalesce(store_task.timezone, nullif(pg_catalog.current_setting('factory.timezone', true), ''),
		pg_catalog.current_setting('TimeZone'));
	first_due timestamptz;
	theirs regrole;
	span record;
BEGIN
	IF store_task.name IS NULL OR octet_length(store_task.name) NOT BETWEEN 1 AND 63 THEN
		RAISE EXCEPTION 'a task''s name must have 1 to 63 bytes' USING ERRCODE = 'invalid_parameter_value';
	ELSIF store_task.command IS NULL OR btrim(store_task.command, E' \n\t;') = '' THEN
		RAISE EXCEPTION 'the command of task "%" is empty', store_task.name USING ERRCODE = 'invalid_parameter_value',
			HINT = 'Write SQL, like CALL a_procedure() or VACUUM ANALYZE a_table.';
	ELSIF store_task.schedule IS NULL THEN
		RAISE EXCEPTION 'schedule must not be null' USING ERRCODE = 'null_value_not_allowed',
			HINT = 'Write "daily at 03:00", "every 15 minutes" or cron, "0 3 * * *".';
	ELSIF store_task.catch_up NOT IN ('none', 'last', 'all') THEN
		RAISE EXCEPTION '"catch_up" of the task is not valid' USING ERRCODE = 'invalid_parameter_value',
			HINT = 'It is one of none, last, all.';
	ELSIF store_task.overlap NOT IN ('skip', 'queue_one', 'cancel_running') THEN
		RAISE EXCEPTION '"overlap" of the task is not valid' USING ERRCODE = 'invalid_parameter_value',
			HINT = 'It is one of skip, queue_one, cancel_running.';
	ELSIF store_task.retries NOT BETWEEN 0 AND 1000 OR store_task.pause_after NOT BETWEEN 0 AND 1000 THEN
		RAISE EXCEPTION '"retries" or "pause_after" of the task is not valid' USING ERRCODE = 'invalid_parameter_value',
			HINT = 'It is a number from 0 to 1000.';
	END IF;
	FOR span IN VALUES ('catch_up_window', store_task.catch_up_window), ('timeout', store_task.timeout),
			('lock_timeout', store_task.lock_timeout), ('retry_delay', store_task.retry_delay),
			('jitter', store_task.jitter) LOOP
		IF span.column2 < interval '0' THEN
			RAISE EXCEPTION '"%" of the task is not valid', span.column1 USING ERRCODE = 'invalid_parameter_value',
				HINT = 'It is a span of time, not negative.';
		END IF;
	END LOOP;
	IF current_setting('server_version_num')::int < 170000
			AND NOT (SELECT r.rolcanlogin FROM pg_roles AS r WHERE r.oid = me) THEN
		RAISE EXCEPTION 'role % may not log in, so no task can run as it', me
			USING ERRCODE = 'object_not_in_prerequisite_state',
			HINT = format('ALTER ROLE %s LOGIN (it needs no password), or use PostgreSQL 17.', me);
	END IF;
	SELECT d + coalesce(store_task.jitter, '0') * ((hashtext(store_task.name) & 4294967295) / 4294967295.0) INTO first_due
	FROM factory.schedule_next(store_task.schedule, NULL, zone, CASE WHEN store_task.holidays IS NULL THEN 1 ELSE 1000 END) AS d
	WHERE NOT EXISTS (SELECT FROM factory.holiday AS h WHERE h.tenant_id = factory.current_tenant()
		AND h.calendar = store_task.holidays AND h.day = (d AT TIME ZONE zone)::date)
	ORDER BY d LIMIT 1;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'the schedule of task "%" has only holidays ahead', store_task.name USING ERRCODE = 'PF301',
			HINT = format('Table factory.holiday lists the days of calendar %L.', store_task.holidays);
	END IF;
	SELECT t.owner INTO theirs FROM factory.task AS t
	WHERE t.tenant_id = factory.current_tenant() AND t.name = store_task.name FOR UPDATE;
	IF FOUND THEN
		IF EXISTS (SELECT FROM pg_roles AS r WHERE r.oid = theirs) AND NOT pg_has_role(me, theirs, 'USAGE') THEN
			RAISE EXCEPTION 'must be owner of task "%"', store_task.name USING ERRCODE = 'insufficient_privilege',
				HINT = format('It is of %s. Choose another name.', theirs);
		END IF;
		RAISE NOTICE 'task "%" is replaced', store_task.name;
	END IF;
	INSERT INTO factory.task AS t (name, command, owner, schedule, times, timezone, enabled, catch_up, catch_up_window,
		overlap, timeout, lock_timeout, retries, retry_delay, pause_after, jitter, holidays, next_due)
	VALUES (store_task.name, store_task.command, me, store_task.schedule, store_task.schedule, zone,
		coalesce(store_task.enabled, true), store_task.catch_up, store_task.catch_up_window,
		store_task.overlap, store_task.timeout, store_task.lock_timeout, store_task.retries,
		store_task.retry_delay, store_task.pause_after, store_task.jitter, store_task.holidays, first_due)
	ON CONFLICT (tenant_id, name) DO UPDATE SET command = excluded.command, owner = excluded.owner,
		schedule = excluded.schedule, times = excluded.times, timezone = excluded.timezone, enabled = excluded.enabled,
		catch_up = excluded.catch_up, catch_up_window = excluded.catch_up_window, overlap = excluded.overlap,
		timeout = excluded.timeout, lock_timeout = excluded.lock_timeout, retries = excluded.retries,
		retry_delay = excluded.retry_delay, pause_after = excluded.pause_after, jitter = excluded.jitter,
		holidays = excluded.holidays, next_due = excluded.next_due, due_why = 'schedule', attempts = 0, failures = 0,
		paused_since = NULL;
	RETURN first_due;
END
$$;
COMMENT ON FUNCTION factory.store_task(regrole, text, text, text, text, text, interval, text, interval, interval,
	integer, interval, integer, interval, text, bool) IS 'for the house: schedule_task() of that role';
REVOKE ALL ON FUNCTION factory.store_task(regrole, text, text, text, text, text, interval, text, interval, interval,
	integer, interval, integer, interval, text, bool) FROM PUBLIC;

-- Raises unless that role may change that task.
CREATE OR REPLACE FUNCTION factory.require_own_task(me regrole, name text) RETURNS void
LANGUAGE plpgsql STABLE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	theirs oid;
BEGIN
	SELECT t.owner INTO theirs FROM factory.task AS t
	WHERE t.tenant_id = factory.current_tenant() AND t.name = require_own_task.name;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'there is no task "%"', name USING ERRCODE = 'PF302', HINT = 'View factory.task_status lists tasks.';
	ELSIF EXISTS (SELECT FROM pg_roles AS r WHERE r.oid = theirs) AND NOT pg_has_role(me, theirs, 'USAGE') THEN
		RAISE EXCEPTION 'must be owner of task "%"', name USING ERRCODE = 'insufficient_privilege';
	END IF;
END
$$;
COMMENT ON FUNCTION factory.require_own_task(regrole, text) IS
'for the house: raises unless that role may change that task';
REVOKE ALL ON FUNCTION factory.require_own_task(regrole, text) FROM PUBLIC;

CREATE OR REPLACE FUNCTION factory.remove_task(me regrole, name text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM factory.require_own_task(me, name);
	DELETE FROM factory.task AS t WHERE t.tenant_id = factory.current_tenant() AND t.name = remove_task.name;
END
$$;
COMMENT ON FUNCTION factory.remove_task(regrole, text) IS 'for the house: unschedule_task() of that role';
REVOKE ALL ON FUNCTION factory.remove_task(regrole, text) FROM PUBLIC;

CREATE OR REPLACE FUNCTION factory.take_up_task(me regrole, name text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM factory.require_own_task(me, name);
	UPDATE factory.task AS t SET paused_since = NULL, attempts = 0, failures = 0, enabled = true,
		next_due = factory.clock_now(), due_why = 'resumed'
	WHERE t.tenant_id = factory.current_tenant() AND t.name = take_up_task.name;
END
$$;
COMMENT ON FUNCTION factory.take_up_task(regrole, text) IS 'for the house: resume_task() of that role';
REVOKE ALL ON FUNCTION factory.take_up_task(regrole, text) FROM PUBLIC;

CREATE OR REPLACE VIEW factory.task_status AS
SELECT t.tenant_id, t.name,
	CASE WHEN a.oid IS NULL THEN 'owner dropped'
		 WHEN r.status = 'running' THEN 'running'
		 WHEN NOT t.enabled THEN 'disabled'
		 WHEN t.paused_since IS NOT NULL THEN 'paused'
		 ELSE 'waiting' END AS state,
	coalesce(a.rolname, t.owner::pg_catalog.text) AS owner, t.schedule, t.timezone, t.enabled,
	t.next_due, t.due_why AS next_why,
	r.status AS last_status, r.scheduled_for AS last_scheduled_for, r.started_at AS last_started_at,
	r.duration_ms AS last_duration_ms, r.reason AS last_reason, r.error AS last_error,
	t.attempts, t.failures, t.paused_since,
	CASE WHEN pg_catalog.pg_has_role('factory_admin', 'USAGE')
		   OR (a.oid IS NOT NULL AND pg_catalog.pg_has_role(a.oid, 'USAGE')) THEN t.command END AS command
FROM factory.task AS t
LEFT JOIN pg_catalog.pg_roles AS a ON a.oid = t.owner::pg_catalog.oid
LEFT JOIN LATERAL (SELECT * FROM factory.task_run AS run WHERE run.task_id = t.id
				   ORDER BY run.id DESC LIMIT 1) AS r ON true;
COMMENT ON VIEW factory.task_status IS
'every task: when it is due next and how its last run went; its command for its owner and administrators';
REVOKE ALL ON factory.task_status FROM PUBLIC;
GRANT SELECT ON factory.task_status TO factory_admin, factory_author, factory_operator, factory_monitor;

-- As the caller: he sees of cron.job what pg_cron lets him see, and owns what he imports.
CREATE OR REPLACE FUNCTION factory.import_cron(timezone text DEFAULT NULL, OUT jobid bigint, OUT name text,
	OUT next_due timestamptz, OUT problem text)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	job record;
	zone text := import_cron.timezone;
	text_of text;
BEGIN
	IF to_regclass('cron.job') IS NULL THEN
		RAISE EXCEPTION 'there is no table cron.job in this database' USING ERRCODE = 'undefined_table',
			HINT = 'pg_cron keeps it in the database that cron.database_name names; call import_cron() there.';
	END IF;
	-- Before 1.5 it had no such setting, and GMT whatever a file says; since then not everybody may read it.
	IF zone IS NULL THEN
		BEGIN
			zone := current_setting('cron.timezone', true);
		EXCEPTION WHEN insufficient_privilege THEN
			RAISE EXCEPTION 'the time zone of pg_cron may not be read' USING ERRCODE = 'insufficient_privilege',
				HINT = 'Name it, as in import_cron(''Asia/Seoul''), or have pg_read_all_settings granted.';
		END;
		IF zone IS NULL OR NOT EXISTS (SELECT FROM pg_settings AS s WHERE s.name = 'cron.timezone') THEN
			zone := 'GMT';
		END IF;
	END IF;
	FOR job IN EXECUTE 'SELECT j.jobid, to_jsonb(j) ->> ''jobname'' AS jobname, j.schedule, j.command, j.database, '
			'j.username, j.active FROM cron.job AS j ORDER BY j.jobid' LOOP
		jobid := job.jobid;
		name := coalesce(job.jobname, 'cron job ' || job.jobid);
		next_due := NULL;
		problem := NULL;
		-- pg_cron's own words: "30 seconds", and $ for the last day of the month.
		text_of := regexp_replace(job.schedule, '^\s*(\d+)\s+seconds?\s*$', 'every \1 seconds');
		text_of := replace(text_of, '$', 'L');
		IF job.database::text IS DISTINCT FROM current_database()::text THEN
			problem := format('it is for database %I: schedule it there', job.database);
		ELSIF job.username::text IS DISTINCT FROM current_user::text THEN
			problem := format('it is of role %I: import it as that role', job.username);
		ELSE
			BEGIN
				next_due := factory.schedule_task(name, job.command, text_of, zone, enabled => job.active);
			EXCEPTION WHEN OTHERS THEN
				problem := SQLERRM;
			END;
		END IF;
		RETURN NEXT;
	END LOOP;
END
$$;
COMMENT ON FUNCTION factory.import_cron(text) IS
'makes tasks of the caller''s jobs of pg_cron in this database, in its time zone unless one is named; unschedule them there afterwards';

REVOKE ALL ON FUNCTION factory.schedule_task(text, text, text, text, text, interval, text, interval, interval,
	integer, interval, integer, interval, text, bool), factory.unschedule_task(text), factory.resume_task(text),
	factory.import_cron(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION factory.schedule_task(text, text, text, text, text, interval, text, interval, interval,
	integer, interval, integer, interval, text, bool), factory.unschedule_task(text), factory.resume_task(text),
	factory.import_cron(text) TO factory_admin, factory_author;

CREATE OR REPLACE TRIGGER audit_change
	AFTER INSERT OR DELETE OR UPDATE OF command, owner, schedule, timezone, enabled, paused_since ON factory.task
	FOR EACH ROW EXECUTE FUNCTION factory.audit_change('task', 'name', 'next_due', 'due_why', 'attempts', 'failures', 'times');
