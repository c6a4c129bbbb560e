-- The audit log: who did what, and nobody can change it; and the switches.
\set VERBOSITY default
\set SHOW_CONTEXT never
SET timezone = 'UTC';

-- What is written says who, as what, and from where.
CREATE ROLE audit_boss;
GRANT factory_admin TO audit_boss;
SET application_name = 'audit test';
SET factory.trace_id = 'trace 1';
SET ROLE audit_boss;
SELECT factory.pause_workers('stocktaking');
RESET ROLE;
RESET factory.trace_id;
SELECT tenant_id, actor, actor_type, session_role = session_user AS by_session, acting_role, action, object_type, object = current_database() AS here,
	before, after, source_address, application, trace_id, created_at <= clock_timestamp() AS in_time FROM factory.audit_log WHERE application = 'audit test';
-- A request through factoryd names its subject; what the server knows stays beside it.
BEGIN;
SELECT set_config('request.jwt.claims', '{"sub": "mina@plant.example", "role": "audit_boss"}', true) <> '' AS claimed,
	set_config('request.headers', '{"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}', true) <> '' AS traced;
SET LOCAL ROLE audit_boss;
SELECT factory.resume_workers();
COMMIT;
SELECT actor, actor_type, acting_role, action, before - 'paused_at' AS before, trace_id FROM factory.audit_log WHERE action = 'resume';
SELECT factory.resume_workers() AS were_paused;
-- Who does nothing leaves nothing; a rollback takes deed and row.
BEGIN;
SELECT factory.pause_workers();
ROLLBACK;
SELECT count(*) FROM factory.audit_log WHERE action = 'pause';

-- Months are made before they come.
SELECT count(*) AS months FROM pg_inherits WHERE inhparent = 'factory.audit_log'::regclass
	AND inhrelid::regclass::text ~ '^factory.audit_log_[0-9]{4}_[0-9]{2}$';
SELECT count(*) AS rows_of_no_month FROM factory.audit_log_default;
SELECT factory.make_audit_months(5) AS made;
SELECT count(*) AS open_partitions FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
WHERE i.inhparent = 'factory.audit_log'::regclass AND NOT (c.relrowsecurity AND c.relforcerowsecurity AND c.relowner = 'factory_auditor'::regrole
	AND (SELECT count(*) = 2 AND bool_and(t.tgenabled = 'A') FROM pg_trigger AS t WHERE t.tgrelid = c.oid));

-- Nobody changes it: not its reader, not the house, not a superuser, not by the back door.
UPDATE factory.audit_log SET actor = 'somebody else';
\set VERBOSITY terse
DELETE FROM factory.audit_log;
DELETE FROM factory.audit_log WHERE false;
TRUNCATE factory.audit_log;
TRUNCATE factory.audit_log_default;
SELECT inhrelid::regclass AS this_month FROM pg_inherits WHERE inhparent = 'factory.audit_log'::regclass
	AND inhrelid::regclass::text = to_char(clock_timestamp(), '"factory.audit_log_"YYYY_MM') \gset
CREATE PROCEDURE tamper(command text) LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE command;
	RAISE NOTICE 'done';
EXCEPTION WHEN OTHERS THEN RAISE NOTICE '% %', SQLSTATE, regexp_replace(SQLERRM, '\d{4}_\d\d', 'MONTH');
END $$;
CALL tamper('UPDATE factory.audit_log SET actor = NULL WHERE false');
CALL tamper('DELETE FROM ' || :'this_month');
CALL tamper('TRUNCATE ' || :'this_month');
CALL tamper('UPDATE ' || :'this_month' || ' SET actor = $x$me$x$');
SET session_replication_role = replica;
CALL tamper('DELETE FROM factory.audit_log');
CALL tamper('DELETE FROM ' || :'this_month');
RESET session_replication_role;
SET ROLE audit_boss;
CALL tamper('DELETE FROM factory.audit_log');
CALL tamper('DELETE FROM ' || :'this_month');
CALL tamper('SELECT factory.audit(''create'', ''lie'', NULL)');
CALL tamper('INSERT INTO factory.audit_log (actor, actor_type, session_role, acting_role, action, object_type)
	VALUES (''a'', ''user'', ''b'', ''c'', ''create'', ''lie'')');
SELECT count(*) > 0 AS may_read FROM factory.audit_log;
SET ROLE factory_owner;
CALL tamper('DELETE FROM factory.audit_log');
CALL tamper('ALTER TABLE factory.audit_log DISABLE TRIGGER ALL');
CALL tamper('DROP TABLE ' || :'this_month');
CALL tamper('DROP TABLE factory.audit_log');
RESET ROLE;
CREATE ROLE audit_guest;
SET ROLE audit_guest;
SELECT count(*) FROM factory.audit_log;
SELECT factory.pause_workers();
SELECT factory.activate();
RESET ROLE;

-- A tenant reads its own rows.
SELECT factory.create_tenant('busan');
CREATE ROLE busan_boss;
GRANT factory_admin TO busan_boss;
SELECT factory.map_tenant_role('busan', 'busan_boss');
SET ROLE busan_boss;
SELECT count(*) FROM factory.audit_log;
SELECT factory.pause_workers();
RESET ROLE;

-- Where nothing can be changed nothing is written, and nothing fails for it.
BEGIN READ ONLY;
SELECT factory.audit('look', 'nothing', NULL);
COMMIT;

-- Retention: whole months, and only old ones.
\set VERBOSITY default
SELECT factory.drop_audit_before('infinity');
SELECT factory.drop_audit_before() AS dropped;
CREATE TABLE factory.audit_log_2020_01 PARTITION OF factory.audit_log FOR VALUES FROM ('2020-01-01 00:00+00') TO ('2020-02-01 00:00+00');
ALTER TABLE factory.audit_log_2020_01 OWNER TO factory_auditor;
INSERT INTO factory.audit_log (tenant_id, created_at, actor, actor_type, session_role, acting_role, action, object_type)
VALUES ('default', '2020-01-15', 'a', 'user', 'a', 'a', 'create', 'old'), ('busan', '2020-03-15', 'a', 'user', 'a', 'a', 'create', 'old');
DELETE FROM factory.audit_log_2020_01;
SELECT count(*) AS of_no_month FROM factory.audit_log_default;
SET ROLE audit_boss;
SELECT factory.drop_audit_before('2020-03-01') AS dropped;
SELECT factory.drop_audit_before() AS dropped;
RESET ROLE;
-- (Of the second a scheduler may have come first.)
SELECT action, object_type, before, after - 'kept_since' AS after FROM factory.audit_log WHERE action = 'drop' AND object_type = 'audit_log';
SELECT count(*) FROM factory.audit_log WHERE created_at < '2021-01-01';
SELECT count(*) AS gap FROM pg_trigger WHERE tgrelid = 'factory.audit_log_default'::regclass AND tgenabled <> 'A';
DELETE FROM factory.audit_log_default;

-- The judgment log's months are made and go in the same way.
SELECT count(*) AS months, bool_and(c.relforcerowsecurity AND c.relowner = 'factory_owner'::regrole
	AND (SELECT count(*) = 2 FROM pg_index AS x WHERE x.indrelid = c.oid)) AS whole
FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid WHERE i.inhparent = 'factory.judgment_log'::regclass AND c.relname ~ '_[0-9]{4}_[0-9]{2}$';
SELECT factory.make_log_months(4) AS made, factory.make_log_months(4) AS again;
CREATE TABLE factory.judgment_log_2020_01 PARTITION OF factory.judgment_log FOR VALUES FROM ('2020-01-01 00:00+00') TO ('2020-02-01 00:00+00');
ALTER TABLE factory.judgment_log_2020_01 OWNER TO factory_owner;
SET ROLE audit_boss;
SELECT factory.drop_log_before('infinity');
SELECT factory.drop_log_before('2020-01-31') AS too_early, factory.drop_log_before('2020-02-01') AS dropped;
RESET ROLE;
SELECT before FROM factory.audit_log WHERE action = 'drop' AND object_type = 'judgment_log';

-- So are those of the ledger of calls to models.
SELECT count(*) > 1 AS months, bool_and(c.relforcerowsecurity AND c.relowner = 'factory_owner'::regrole
	AND (SELECT count(*) = 1 FROM pg_index AS x WHERE x.indrelid = c.oid)) AS whole
FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid WHERE i.inhparent = 'factory.llm_call'::regclass AND c.relname ~ '_[0-9]{4}_[0-9]{2}$';
SELECT factory.make_ledger_months(4) AS made, factory.make_ledger_months(4) AS again;
CREATE TABLE factory.llm_call_2020_01 PARTITION OF factory.llm_call FOR VALUES FROM ('2020-01-01 00:00+00') TO ('2020-02-01 00:00+00');
ALTER TABLE factory.llm_call_2020_01 OWNER TO factory_owner;
SET ROLE audit_boss;
SELECT factory.drop_ledger_before('infinity');
SELECT factory.drop_ledger_before('2020-01-31') AS too_early, factory.drop_ledger_before('2020-02-01') AS dropped;
RESET ROLE;
SELECT before FROM factory.audit_log WHERE action = 'drop' AND object_type = 'llm_call';
-- This month's and the last's are never dropped: budgets are counted from it.
SET test.retention = '1d';
SELECT factory.log_cutoff('the ledger', 'test.retention', now() - interval '2 days', 32);
SELECT factory.log_cutoff('the ledger', 'test.retention', NULL, 32) < now() - interval '31 days' AS kept_longer,
	factory.log_cutoff('the log', 'test.retention', NULL) > now() - interval '2 days' AS kept;
SET test.retention = 0;
SELECT factory.log_cutoff('the ledger', 'test.retention', NULL);

-- Whether the house may act.
SELECT * FROM factory.activity();
SELECT factory.pause_workers('stocktaking');
SELECT * FROM factory.activity();
SELECT factory.resume_workers();
SET factory.enabled = off;
SELECT * FROM factory.activity();
-- Switched off, judgments answer by their rules, and nothing is sent, spent or written.
RESET factory.enabled;
CREATE SERVER switched FOREIGN DATA WRAPPER factory_llm OPTIONS (base_url 'http://127.0.0.1:9', allow_http 'true', allow_private 'true');
CREATE USER MAPPING FOR PUBLIC SERVER switched OPTIONS (api_key_env 'FACTORY_NO_KEY');
SELECT factory.create_model('switched', 'switched', 'm');
SELECT factory.create_decision('switched', '{"inputs": {"n": "integer"}, "policy": "HYBRID_WEIGHTED", "statuses": ["MANY", "OK"],
	"rules": [{"id": "many", "when": "n > 5", "then": {"status": "MANY"}}], "prompt": {"model": "switched", "user": "{{ n }}"}}');
SET factory.enabled = off;
SELECT status, method_used, degraded, components ->> 'log' AS log FROM factory.judge('switched', '{"n": 7}');
SELECT factory.complete('switched', 'hi');
SELECT count(*) AS logged FROM factory.judgment_log WHERE decision = 'switched';
SELECT count(*) AS calls FROM factory.llm_call WHERE model = 'switched';
RESET factory.enabled;
DELETE FROM factory.deployment WHERE decision = 'switched';
DELETE FROM factory.decision_version WHERE decision = 'switched';
DELETE FROM factory.decision WHERE name = 'switched';
SELECT factory.drop_model('switched');
DROP SERVER switched CASCADE;
-- As if it were a copy: of another database, of another server, under another name.
BEGIN;
UPDATE factory.activation SET database = 1;
SELECT * FROM factory.activity();
UPDATE factory.activation SET system_identifier = 1;
SELECT * FROM factory.activity();
DELETE FROM factory.activation;
SELECT * FROM factory.activity();
ROLLBACK;
SELECT may_act FROM factory.activity();
SELECT factory.activate('{elsewhere}');
SELECT factory.activate(ARRAY['elsewhere', current_setting('cluster_name')]);
SELECT may_act FROM factory.activity();
SELECT cluster_names[1] FROM factory.activation;
SELECT action, object_type, jsonb_array_length(before) AS before, after -> 0 -> 'cluster_names' -> 0 AS after
FROM factory.audit_log WHERE action = 'activate';

DROP PROCEDURE tamper;
SELECT factory.drop_tenant('busan');
DROP OWNED BY audit_boss, busan_boss;
DROP ROLE audit_boss, audit_guest, busan_boss;
