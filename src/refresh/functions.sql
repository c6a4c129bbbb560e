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
		  WHERE src.kind = 'm' ORDER BY src.depth DESC, src.relation) AS reads_views
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
		SELECT t.due_at, s.view::oid, s.view_name, 'schedule', 0
		FROM span, factory.refresh_schedule AS s, factory.schedule_next(s.times, span.first, s.timezone, 1000) AS t(due_at)
		WHERE s.times IS NOT NULL AND s.enabled AND s.paused_since IS NULL AND t.due_at < span.last
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
