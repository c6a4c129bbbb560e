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

-- Jobs.

CREATE OR REPLACE FUNCTION factory.wake_job_runner() RETURNS trigger
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'factory_wake_job_runner';
COMMENT ON FUNCTION factory.wake_job_runner() IS
'wakes this database''s job runner when the transaction commits';
REVOKE ALL ON FUNCTION factory.wake_job_runner() FROM PUBLIC;
CREATE OR REPLACE TRIGGER wake_job_runner AFTER INSERT OR UPDATE ON factory.job
	FOR EACH STATEMENT EXECUTE FUNCTION factory.wake_job_runner();
ALTER TABLE factory.job ENABLE ALWAYS TRIGGER wake_job_runner;

CREATE OR REPLACE FUNCTION factory.admit_job() RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'factory_admit_job';
COMMENT ON FUNCTION factory.admit_job() IS
'raises where the queue of jobs is full, or the tenant has as many as it may';
REVOKE ALL ON FUNCTION factory.admit_job() FROM PUBLIC;

CREATE OR REPLACE FUNCTION factory.submit_job(kind text, subject text, input jsonb, policy text,
	deadline interval, priority int, on_unknown text, skip_cache boolean DEFAULT false)
RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
	job bigint;
BEGIN
	IF current_setting('transaction_read_only')::boolean THEN
		RAISE EXCEPTION 'a job cannot be submitted in a read-only transaction'
			USING ERRCODE = 'read_only_sql_transaction',
				HINT = 'Submit it in a transaction that may write, on the primary.';
	END IF;
	IF deadline <= interval '0' THEN
		RAISE EXCEPTION 'the deadline is not in the future'
			USING ERRCODE = 'invalid_parameter_value', HINT = 'It counts from now, such as ''5 minutes''.';
	END IF;
	IF coalesce(on_unknown, '') NOT IN ('retry', 'fail', 'ask') THEN
		RAISE EXCEPTION 'argument "on_unknown" must be retry, fail or ask'
			USING ERRCODE = 'invalid_parameter_value',
				HINT = 'It says what happens where a crash came while a model was thinking.';
	END IF;
	PERFORM factory.admit_job();
	INSERT INTO factory.job AS j (kind, subject, input, policy, skip_cache, priority, on_unknown, submitted_by, deadline)
	VALUES (kind, subject, input, policy, coalesce(skip_cache, false), coalesce(priority, 0), on_unknown,
		factory.acting_role(), clock_timestamp() + deadline)
	RETURNING j.id INTO job;
	RETURN job;
END
$$;
COMMENT ON FUNCTION factory.submit_job(text, text, jsonb, text, interval, int, text, boolean) IS
'puts a job into the queue; call judge_async() or complete_async() instead';
REVOKE ALL ON FUNCTION factory.submit_job(text, text, jsonb, text, interval, int, text, boolean) FROM PUBLIC;

CREATE OR REPLACE FUNCTION factory.judge_async(decision text, input jsonb, policy text DEFAULT NULL,
	deadline interval DEFAULT NULL, priority int DEFAULT 0, on_unknown text DEFAULT 'retry',
	skip_cache boolean DEFAULT false)
RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
BEGIN
	IF decision IS NULL OR input IS NULL THEN
		RAISE EXCEPTION 'arguments "decision" and "input" of judge_async must not be null'
			USING ERRCODE = 'null_value_not_allowed', HINT = 'Name a decision and give it a document.';
	END IF;
	IF NOT EXISTS (SELECT FROM factory.deployment AS d WHERE d.decision = decision AND d.status = 'active') THEN
		RAISE EXCEPTION 'decision "%" does not exist', decision
			USING ERRCODE = 'PF103', HINT = 'View factory.decision_status lists those in force.';
	END IF;
	RETURN factory.submit_job('judgment', decision, input, policy, deadline, priority, on_unknown, skip_cache);
END
$$;
COMMENT ON FUNCTION factory.judge_async(text, jsonb, text, interval, int, text, boolean) IS
'has a worker judge one input when this transaction has committed; returns the job''s id';

CREATE OR REPLACE FUNCTION factory.complete_async(model text, prompt text, system text DEFAULT NULL,
	schema jsonb DEFAULT NULL, options jsonb DEFAULT NULL, deadline interval DEFAULT NULL,
	priority int DEFAULT 0, on_unknown text DEFAULT 'retry')
RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
BEGIN
	IF model IS NULL OR prompt IS NULL THEN
		RAISE EXCEPTION 'arguments "model" and "prompt" of complete_async must not be null'
			USING ERRCODE = 'null_value_not_allowed', HINT = 'Give each a text.';
	END IF;
	IF NOT EXISTS (SELECT FROM factory.model AS m WHERE m.name = model) THEN
		RAISE EXCEPTION 'model "%" does not exist', model
			USING ERRCODE = 'PF205', HINT = 'Create it with factory.create_model(); table factory.model lists those there are.';
	END IF;
	RETURN factory.submit_job('completion', model, jsonb_strip_nulls(jsonb_build_object('prompt', prompt,
		'system', system)) || jsonb_build_object('schema', schema, 'options', options),
		NULL, deadline, priority, on_unknown);
END
$$;
COMMENT ON FUNCTION factory.complete_async(text, text, text, jsonb, jsonb, interval, int, text) IS
'has a worker ask a model when this transaction has committed; returns the job''s id';

-- The job as far as the caller may touch it: its own, or any of the tenant for operators.
CREATE OR REPLACE FUNCTION factory.job_of_caller(id bigint) RETURNS factory.job
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
	found factory.job;
BEGIN
	SELECT * INTO found FROM factory.job AS j
	WHERE j.id = id AND (pg_has_role(factory.acting_role(), 'factory_operator', 'MEMBER')
		OR pg_has_role(factory.acting_role(), 'factory_admin', 'MEMBER')
		OR j.submitted_by = factory.acting_role());
	IF found.id IS NULL THEN
		RAISE EXCEPTION 'job % does not exist', id
			USING ERRCODE = 'undefined_object',
				HINT = 'View factory.job_status lists those there are; finished ones go after factory.job_retention.';
	END IF;
	RETURN found;
END
$$;
COMMENT ON FUNCTION factory.job_of_caller(bigint) IS
'a job that the caller may touch: its own, or for operators any of the tenant';
REVOKE ALL ON FUNCTION factory.job_of_caller(bigint) FROM PUBLIC;

CREATE OR REPLACE FUNCTION factory.job_result(id bigint) RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
	job factory.job := factory.job_of_caller(id);
BEGIN
	IF job.state = 'failed' THEN
		RAISE EXCEPTION 'job % failed: %', id, job.error
			USING ERRCODE = coalesce(job.sqlstate, 'XX000'), HINT = 'factory.retry_job(id) puts it into the queue again.';
	ELSIF job.state = 'cancelled' THEN
		RAISE EXCEPTION 'job % was cancelled', id
			USING ERRCODE = 'query_canceled', HINT = 'factory.retry_job(id) puts it into the queue again.';
	ELSIF job.state = 'unknown' THEN
		RAISE EXCEPTION 'nobody knows what became of job %', id
			USING ERRCODE = 'PF501', DETAIL = 'A model was asked, and the worker ended before the answer came.',
				HINT = 'factory.retry_job(id) asks again, factory.cancel_job(id) gives it up.';
	END IF;
	RETURN job.result;
END
$$;
COMMENT ON FUNCTION factory.job_result(bigint) IS
'what a job brought: a judgment or a completion as a document; NULL while it waits or runs; raises where it failed';

CREATE OR REPLACE FUNCTION factory.cancel_job(id bigint) RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
	job factory.job := factory.job_of_caller(id);
BEGIN
	UPDATE factory.job AS j SET
		cancel = true,
		state = CASE WHEN j.state = 'running' THEN j.state ELSE 'cancelled' END,
		finished_at = CASE WHEN j.state = 'running' THEN NULL ELSE clock_timestamp() END
	WHERE j.id = job.id AND j.state IN ('queued', 'running', 'unknown')
	RETURNING j.* INTO job;
	IF job.state = 'cancelled' AND FOUND THEN
		PERFORM pg_notify('factory_events', format('{"event": "job_cancelled", "job": %s}', job.id));
	END IF;
	RETURN job.id IS NOT NULL;
END
$$;
COMMENT ON FUNCTION factory.cancel_job(bigint) IS
'cancels a job that waits or runs; false where it has ended already';

CREATE OR REPLACE FUNCTION factory.retry_job(id bigint) RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
	job factory.job := factory.job_of_caller(id);
BEGIN
	IF job.state NOT IN ('failed', 'cancelled', 'unknown') THEN
		RETURN false;
	END IF;
	PERFORM factory.admit_job();
	UPDATE factory.job AS j SET state = 'queued', cancel = false, deadline = NULL, finished_at = NULL,
		losses = 0, error = NULL, sqlstate = NULL
	WHERE j.id = job.id AND j.state IN ('failed', 'cancelled', 'unknown');
	RETURN FOUND;
END
$$;
COMMENT ON FUNCTION factory.retry_job(bigint) IS
'puts a job that failed, was cancelled or is unknown into the queue again, without its deadline';

-- Those that ended, or of which nobody knows, longer ago than factory.job_retention.
CREATE OR REPLACE FUNCTION factory.tend_jobs() RETURNS timestamptz
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	kept CONSTANT interval := current_setting('factory.job_retention')::interval;
BEGIN
	IF kept = interval '0' THEN
		RETURN NULL;
	END IF;
	DELETE FROM factory.job AS j WHERE j.finished_at < factory.clock_now() - kept;
	-- A little later, so that many go at once.
	RETURN (SELECT min(j.finished_at) + kept + least(kept / 10, interval '1 hour') FROM factory.job AS j WHERE j.finished_at IS NOT NULL);
END
$$;
COMMENT ON FUNCTION factory.tend_jobs() IS
'deletes jobs that ended longer ago than factory.job_retention, for all tenants; returns when the next is due';
REVOKE ALL ON FUNCTION factory.tend_jobs() FROM PUBLIC;

CREATE OR REPLACE VIEW factory.job_status AS
SELECT j.id, j.kind, j.subject, j.state, j.priority, j.on_unknown, j.submitted_by, j.submitted_at, j.deadline,
	j.attempts, j.cancel AS cancel_requested, j.started_at, j.finished_at, j.error, j.sqlstate
FROM factory.job AS j
WHERE j.tenant_id = factory.current_tenant();
COMMENT ON VIEW factory.job_status IS
'this tenant''s jobs, without inputs and results: what waits, runs and has ended';
REVOKE ALL ON factory.job_status FROM PUBLIC;
GRANT SELECT ON factory.job_status
	TO factory_admin, factory_author, factory_operator, factory_analyst, factory_monitor;
REVOKE ALL ON FUNCTION
	factory.judge_async(text, jsonb, text, interval, int, text, boolean),
	factory.complete_async(text, text, text, jsonb, jsonb, interval, int, text),
	factory.job_result(bigint), factory.cancel_job(bigint), factory.retry_job(bigint)
FROM PUBLIC;
GRANT EXECUTE ON FUNCTION factory.judge_async(text, jsonb, text, interval, int, text, boolean)
TO factory_admin, factory_author, factory_operator;
GRANT EXECUTE ON FUNCTION
	factory.complete_async(text, text, text, jsonb, jsonb, interval, int, text),
	factory.job_result(bigint), factory.cancel_job(bigint), factory.retry_job(bigint)
TO factory_admin, factory_author, factory_operator, factory_analyst;

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
