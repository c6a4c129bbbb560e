CREATE OR REPLACE FUNCTION factory.wake_scheduler() RETURNS trigger
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'factory_wake_scheduler';
COMMENT ON FUNCTION factory.wake_scheduler() IS
'wakes this database''s scheduler when the transaction commits';
REVOKE ALL ON FUNCTION factory.wake_scheduler() FROM PUBLIC;

-- Whoever changes a schedule, by function, by hand or by restoring a dump.
CREATE OR REPLACE TRIGGER wake_scheduler
	AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON factory.refresh_schedule
	FOR EACH STATEMENT EXECUTE FUNCTION factory.wake_scheduler();
ALTER TABLE factory.refresh_schedule ENABLE ALWAYS TRIGGER wake_scheduler;

CREATE OR REPLACE TRIGGER wake_scheduler
	AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON factory.task
	FOR EACH STATEMENT EXECUTE FUNCTION factory.wake_scheduler();
ALTER TABLE factory.task ENABLE ALWAYS TRIGGER wake_scheduler;

-- Whoever changes a table that a view scheduled on change reads.
CREATE OR REPLACE TRIGGER wake_scheduler AFTER INSERT ON factory.refresh_change
	FOR EACH STATEMENT EXECUTE FUNCTION factory.wake_scheduler();

-- Whoever opens a review, which has a deadline.
CREATE OR REPLACE TRIGGER wake_scheduler AFTER INSERT OR UPDATE ON factory.review
	FOR EACH STATEMENT EXECUTE FUNCTION factory.wake_scheduler();

-- Whoever begins a canary, which is watched.
CREATE OR REPLACE TRIGGER wake_scheduler AFTER INSERT ON factory.deployment
	FOR EACH ROW WHEN (NEW.status = 'canary') EXECUTE FUNCTION factory.wake_scheduler();

-- Whoever lets workers rest or work.
CREATE OR REPLACE TRIGGER wake_scheduler AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON factory.activation
	FOR EACH STATEMENT EXECUTE FUNCTION factory.wake_scheduler();
CREATE OR REPLACE TRIGGER wake_scheduler AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON factory.worker_pause
	FOR EACH STATEMENT EXECUTE FUNCTION factory.wake_scheduler();
ALTER TABLE factory.activation ENABLE ALWAYS TRIGGER wake_scheduler;
ALTER TABLE factory.worker_pause ENABLE ALWAYS TRIGGER wake_scheduler;

CREATE OR REPLACE FUNCTION factory.worker_slots(OUT kind text, OUT database oid, OUT pid int,
	OUT state text, OUT since timestamptz, OUT next_wake timestamptz)
RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL SAFE STRICT
AS 'MODULE_PATHNAME', 'factory_worker_slots';
COMMENT ON FUNCTION factory.worker_slots() IS
'the background workers of this server; read view worker_status instead';
REVOKE ALL ON FUNCTION factory.worker_slots() FROM PUBLIC;

CREATE OR REPLACE VIEW factory.worker_status AS
SELECT w.kind, coalesce(d.datname, w.database::pg_catalog.text) AS database, w.pid, w.state,
	w.since, w.next_wake
FROM factory.worker_slots() AS w
LEFT JOIN pg_catalog.pg_database AS d ON d.oid = w.database;
COMMENT ON VIEW factory.worker_status IS
'the launcher and every scheduler: what they do, since when, and when they wake next';
REVOKE ALL ON factory.worker_status FROM PUBLIC;
GRANT SELECT ON factory.worker_status
	TO factory_admin, factory_author, factory_operator, factory_monitor;
GRANT EXECUTE ON FUNCTION factory.worker_slots()
	TO factory_admin, factory_author, factory_operator, factory_monitor;
