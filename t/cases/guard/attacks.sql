DELETE FROM reading
--
UPDATE reading SET value = 0
--
INSERT INTO reading VALUES ('default', 1)
--
TRUNCATE reading
--
DROP TABLE reading
--
CREATE TABLE mine AS SELECT 1
--
SELECT 1 INTO mine
--
SELECT 1 UNION SELECT 2 INTO mine
--
WITH gone AS (DELETE FROM reading RETURNING *) SELECT * FROM gone
--
SELECT * FROM (WITH gone AS (UPDATE reading SET value = 0 RETURNING *) SELECT * FROM gone) AS x
--
SELECT 1; SELECT 2
--
SELECT 1; DROP TABLE reading
--
COMMIT
--
RESET ROLE
--
SET ROLE postgres
--
COPY reading TO PROGRAM 'id'
--
COPY (SELECT 1) TO '/tmp/out'
--
DO $$ BEGIN PERFORM 1; END $$
--
CALL something()
--
EXPLAIN ANALYZE SELECT 1
--
LISTEN channel
--
NOTIFY channel, 'x'
--
LOCK TABLE reading
--
VACUUM reading
--
SELECT * FROM reading FOR UPDATE
--
SELECT * FROM (SELECT * FROM reading FOR SHARE) AS x
--
SELECT 1 WHERE EXISTS (SELECT FROM reading FOR UPDATE)
--
SELECT pg_sleep(10)
--
SELECT * FROM reading WHERE pg_sleep(1) IS NULL
--
SELECT (value).pg_sleep FROM reading
--
SELECT value FROM reading ORDER BY pg_sleep(value)::text
--
SELECT count(*) FILTER (WHERE pg_sleep(1) IS NULL) FROM reading
--
SELECT sum(value) OVER (ORDER BY pg_sleep(1)::text) FROM reading
--
SELECT value FROM reading LIMIT (SELECT 1 FROM pg_sleep(1))
--
SELECT CASE WHEN true THEN pg_sleep(1) END
--
SELECT COALESCE(NULL, pg_sleep(1)::text)
--
SELECT * FROM LATERAL pg_sleep(1)
--
SELECT * FROM ROWS FROM (generate_series(1, 2), pg_sleep(1))
--
VALUES (pg_sleep(1))
--
SELECT value FROM reading GROUP BY value HAVING pg_sleep(1) IS NULL
--
SELECT ARRAY[pg_sleep(1)::text]
--
SELECT ROW(pg_sleep(1))
--
SELECT pg_read_file('/etc/passwd')
--
SELECT pg_read_binary_file('/etc/passwd')
--
SELECT pg_ls_dir('/')
--
SELECT lo_create(0)
--
SELECT lo_import('/etc/passwd')
--
SELECT lo_from_bytea(0, 'x')
--
SELECT pg_advisory_lock(1)
--
SELECT pg_try_advisory_xact_lock(1)
--
SELECT pg_notify('channel', 'x')
--
SELECT pg_logical_emit_message(false, 'a', 'b')
--
SELECT pg_export_snapshot()
--
SELECT pg_terminate_backend(1)
--
SELECT pg_cancel_backend(pg_backend_pid())
--
SELECT pg_reload_conf()
--
SELECT set_config('role', 'postgres', false)
--
SELECT set_config('statement_timeout', '0', false)
--
SELECT current_setting('data_directory')
--
SELECT current_user
--
SELECT session_user
--
SELECT version()
--
SELECT inet_server_addr()
--
SELECT query_to_xml('DELETE FROM reading', true, true, '')
--
SELECT table_to_xml('secret', true, true, '')
--
SELECT database_to_xml(true, true, '')
--
SELECT cursor_to_xml('c', 1, true, true, '')
--
SELECT xmlparse(document '<a/>')
--
SELECT * FROM XMLTABLE('/a' PASSING '<a/>' COLUMNS a text DEFAULT pg_sleep(1)::text)
--
SELECT ts_stat('SELECT 1')
--
SELECT * FROM ts_stat('SELECT to_tsvector(''a'')')
--
SELECT nextval('counter')
--
SELECT setval('counter', 1)
--
SELECT * FROM counter
--
SELECT format('%1000000000s', 'x')
--
SELECT repeat('x', 1000000000)
--
SELECT repeat('x', value) FROM reading
--
SELECT lpad('x', 1000000000, 'y')
--
SELECT rpad('x', 900000000)
--
SELECT count(*) FROM generate_series(1, 1000000000)
--
SELECT count(*) FROM generate_series(1, (SELECT max(value) FROM reading))
--
SELECT generate_series(1::bigint, 9000000000000)
--
SELECT generate_series(timestamp '2000-01-01', 'infinity', interval '1 second')
--
SELECT generate_series(now() - interval '100 years', now(), interval '1 second')
--
SELECT generate_series(1, 10, 0)
--
SELECT 9.9 ^ 100000.0
--
SELECT power(10::numeric, 131071)
--
WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM t) SELECT count(*) FROM t
--
WITH RECURSIVE t(n) AS (SELECT 1 UNION SELECT n + 1 FROM t WHERE n < 10) SELECT * FROM t
--
SELECT * FROM pg_authid
--
SELECT * FROM pg_class
--
SELECT * FROM pg_catalog.pg_stat_activity
--
SELECT * FROM pg_settings
--
SELECT * FROM information_schema.tables
--
SELECT 1 WHERE EXISTS (SELECT FROM pg_shadow)
--
SELECT (SELECT rolname FROM pg_roles LIMIT 1)
--
SELECT * FROM pg_stats
--
SELECT * FROM pg_largeobject
--
SELECT 'secret'::regclass
--
SELECT 'pg_sleep'::regproc
--
SELECT value::text::regclass FROM reading
--
SELECT * FROM secret
--
SELECT * FROM reading WHERE value IN (SELECT value FROM secret)
--
SELECT * FROM reading JOIN secret USING (value)
--
TABLE secret
--
SELECT * FROM public.secret
--
SELECT * FROM hidden.thing
--
SELECT * FROM factory.catalog
--
SELECT * FROM factory.allowed_function
--
SELECT * FROM shadow
--
SELECT * FROM sleepy_view
--
SELECT * FROM catalog_view
--
SELECT sneaky(1)
--
SELECT 1 === 2
--
SELECT value FROM reading ORDER BY value USING <<<
--
SELECT strange_sum(value) FROM reading
--
SELECT 5::positive
--
SELECT '{5}'::positive[]
--
SELECT ('{' || value || '}')::positive[] FROM reading
--
SELECT '[{"a": 5}]'::jsonb -> 0 ->> 'a' FROM reading WHERE value = '5'::positive
--
SELECT factory.ask('OEE')
--
SELECT factory.run_sql('SELECT 1')
--
SELECT factory.load_catalog('{}')
--
SELECT random()
--
SELECT gen_random_uuid()
--
SELECT clock_timestamp()
--
SELECT txid_current()
--
SELECT pg_current_wal_lsn()
--
SELECT pg_relation_size('reading')
--
SELECT has_table_privilege('secret', 'SELECT')
--
SELECT obj_description(1)
--
SELECT pg_get_viewdef('sleepy_view')
--
SELECT col_description(1, 1)
--
SELECT to_regclass('secret')
--
SELECT dblink('host=/tmp', 'SELECT 1')
--
SELECT * FROM jsonb_to_recordset('[{"a": "pg_class"}]') AS x(a regclass)
--
SELECT * FROM jsonb_to_record('{"a": 5}') AS x(a positive)
--
SELECT * FROM reading TABLESAMPLE SYSTEM (pg_sleep(1)::text::real)
--
SELECT 1 FROM
--
SELECT nothing FROM reading
--
SELECT $1
--

--
/* nothing */
--
SELEC 1
--
SELECT lo_put(1, 0, 'x')
--
SELECT lo_get(1)
--
SELECT lo_unlink(1)
--
SELECT lo_open(1, 131072)
--
SELECT loread(0, 10)
--
SELECT lo_export(1, '/tmp/out')
--
SELECT pg_advisory_lock_shared(1)
--
SELECT pg_advisory_unlock_all()
--
SELECT pg_try_advisory_lock(1, 2)
--
SELECT pg_sleep_for('1 minute')
--
SELECT pg_sleep_until(now() + interval '1 minute')
--
SELECT pg_stat_file('postgresql.conf')
--
SELECT pg_ls_logdir()
--
SELECT pg_ls_waldir()
--
SELECT pg_ls_tmpdir()
--
SELECT pg_current_logfile()
--
SELECT pg_rotate_logfile()
--
SELECT pg_switch_wal()
--
SELECT pg_create_restore_point('x')
--
SELECT pg_promote()
--
SELECT pg_create_physical_replication_slot('x')
--
SELECT pg_create_logical_replication_slot('x', 'test_decoding')
--
SELECT * FROM pg_logical_slot_get_changes('x', NULL, NULL)
--
SELECT pg_drop_replication_slot('x')
--
SELECT pg_replication_origin_create('x')
--
SELECT pg_stat_reset()
--
SELECT pg_stat_get_activity(NULL)
--
SELECT * FROM pg_stat_get_activity(NULL)
--
SELECT pg_stat_get_backend_activity(1)
--
SELECT pg_my_temp_schema()
--
SELECT pg_backend_pid()
--
SELECT pg_postmaster_start_time()
--
SELECT pg_conf_load_time()
--
SELECT current_database(), current_schema
--
SELECT current_schemas(true)
--
SELECT current_catalog
--
SELECT current_role
--
SELECT user
--
SELECT inet_client_addr()
--
SELECT pg_get_functiondef('sneaky(integer)'::regprocedure)
--
SELECT pg_get_userbyid(10)
--
SELECT pg_get_expr(NULL, 0)
--
SELECT pg_describe_object(1259, 1259, 0)
--
SELECT pg_identify_object(1259, 1259, 0)
--
SELECT pg_table_is_visible('secret'::regclass)
--
SELECT pg_total_relation_size('secret')
--
SELECT pg_database_size('postgres')
--
SELECT pg_tablespace_location(1663)
--
SELECT pg_column_size(reading) FROM reading
--
SELECT pg_typeof(value) FROM reading
--
SELECT has_database_privilege('postgres', 'CREATE')
--
SELECT pg_has_role('postgres', 'MEMBER')
--
SELECT to_regrole('postgres')
--
SELECT to_regproc('pg_sleep')
--
SELECT 'postgres'::regrole
--
SELECT 'public'::regnamespace
--
SELECT 'integer'::regtype
--
SELECT 'simple'::regconfig
--
SELECT '+(integer,integer)'::regoperator
--
SELECT CAST('secret' AS regclass)
--
SELECT regclassin('secret')
--
SELECT int4in('5'::cstring)
--
SELECT textin('x'), textout('y')
--
SELECT record_in('(1)', 0, -1)
--
SELECT array_in('{1}', 23, -1)
--
SELECT array_in('{5}', (SELECT max(value) FROM reading), -1)
--
SELECT range_in('[1,2]', 3904, -1)
--
SELECT enum_in('a', 1)
--
SELECT array_out(ARRAY[1])::text
--
SELECT domain_in('5', 0, -1)
--
SELECT domain_recv(NULL, 0, -1)
--
SELECT schema_to_xml('public', true, true, '')
--
SELECT query_to_xmlschema('SELECT 1', true, true, '')
--
SELECT query_to_xml_and_xmlschema('DROP TABLE reading', true, true, '')
--
SELECT xpath('/a', '<a/>')
--
SELECT xmlelement(name a, value) FROM reading
--
SELECT xmlagg(xmlelement(name a, value)) FROM reading
--
SELECT '<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]><a>&e;</a>'::xml
--
SELECT ts_rewrite('a'::tsquery, 'SELECT 1')
--
SELECT to_tsvector('english', 'a')
--
SELECT currval('counter')
--
SELECT lastval()
--
SELECT last_value FROM counter
--
SELECT pg_sequence_last_value('counter')
--
SELECT setseed(0.5)
--
SELECT uuid_generate_v4()
--
SELECT timeofday()
--
SELECT txid_current_snapshot()
--
SELECT pg_current_xact_id()
--
SELECT pg_current_snapshot()
--
SELECT pg_xact_commit_timestamp('1')
--
SELECT pg_last_committed_xact()
--
SELECT pg_lock_status()
--
SELECT * FROM pg_locks
--
SELECT pg_blocking_pids(1)
--
SELECT * FROM pg_ls_archive_statusdir()
--
SELECT pg_import_system_collations('public')
--
SELECT pg_extension_config_dump('reading', '')
--
SELECT pg_log_backend_memory_contexts(1)
--
SELECT * FROM pg_get_backend_memory_contexts()
--
SELECT * FROM pg_hba_file_rules
--
SELECT * FROM pg_file_settings
--
SELECT * FROM pg_user_mappings
--
SELECT * FROM pg_foreign_server
--
SELECT * FROM pg_proc
--
SELECT * FROM pg_toast.pg_toast_1255
--
SELECT * FROM information_schema.role_table_grants
--
SELECT tableoid::regclass FROM reading
--
SELECT ctid, xmin FROM reading
--
SELECT * FROM public.reading, secret
--
SELECT (SELECT value FROM secret LIMIT 1) FROM reading
--
SELECT * FROM reading r, LATERAL (SELECT s.value FROM secret s WHERE s.value = r.value) x
--
WITH s AS (SELECT * FROM secret) SELECT * FROM s
--
WITH reading AS (SELECT * FROM secret) SELECT * FROM reading
--
SELECT value FROM reading UNION ALL SELECT value FROM secret
--
SELECT value FROM reading ORDER BY (SELECT value FROM secret LIMIT 1)
--
SELECT sum((SELECT count(*) FROM secret)) FROM reading
--
SELECT CASE WHEN EXISTS (SELECT FROM secret WHERE value > 5) THEN 1 ELSE 0 END
--
SELECT r FROM secret r
--
SELECT row_to_json(s) FROM secret s
--
SELECT * FROM ONLY secret
--
SELECT * FROM hidden . thing
--
SELECT * FROM "public"."secret"
--
SELECT * FROM postgres.public.secret
--
SELECT * FROM factory.llm_call
--
SELECT * FROM factory.tenant
--
SELECT * FROM factory.judgment_log
--
SELECT factory.judge('x', '{}')
--
SELECT factory.complete('mini', 'say hi')
--
SELECT factory.activate()
--
SELECT factory.metrics()
--
SELECT repeat(repeat(repeat('x', 1000), 1000), 1000)
--
SELECT lpad(repeat('x', 1000), 100000000)
--
SELECT string_agg(repeat('x', 1000000), '') FROM generate_series(1, 1000)
--
SELECT count(*) FROM generate_series(1, 100000, (SELECT 1))
--
SELECT generate_series(1, 9, value) FROM reading
--
SELECT generate_series(1.0, 1e9, 0.001)
--
SELECT generate_series(now(), now() + interval '1000000 days', '1 second')
--
SELECT array_fill(1, ARRAY[1000000000])
--
SELECT factorial(100000)
--
SELECT numeric_power(10, 100000)
--
SELECT 10::numeric ^ (SELECT max(value) * 100000 FROM reading)
--
WITH RECURSIVE a AS (SELECT 1), b AS (SELECT * FROM b) SELECT * FROM b
--
WITH x AS MATERIALIZED (INSERT INTO reading VALUES ('default', 1) RETURNING value) SELECT * FROM x
--
WITH x AS (MERGE INTO reading USING secret s ON false WHEN NOT MATCHED THEN INSERT VALUES ('default', 1)) SELECT 1
--
MERGE INTO reading r USING reading s ON r.value = s.value WHEN MATCHED THEN DELETE
--
SELECT * FROM reading FOR NO KEY UPDATE SKIP LOCKED
--
SELECT * FROM reading FOR KEY SHARE NOWAIT
--
(SELECT * FROM reading FOR UPDATE) UNION ALL SELECT * FROM reading
--
SELECT 1 AS x INTO TEMP TABLE mine
--
SELECT 1 INTO UNLOGGED mine
--
CREATE TEMP TABLE mine (x int)
--
CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'
--
ALTER TABLE reading DISABLE ROW LEVEL SECURITY
--
ALTER ROLE factory_reader SUPERUSER
--
GRANT ALL ON secret TO factory_reader
--
SET SESSION AUTHORIZATION postgres
--
SET LOCAL statement_timeout = 0
--
RESET ALL
--
BEGIN
--
ROLLBACK
--
SAVEPOINT s
--
PREPARE p AS SELECT 1
--
EXECUTE p
--
DEALLOCATE ALL
--
DECLARE c CURSOR FOR SELECT 1
--
FETCH ALL FROM c
--
SHOW data_directory
--
REFRESH MATERIALIZED VIEW reading_view
--
LOAD 'plpgsql'
--
CHECKPOINT
--
DISCARD ALL
--
REINDEX TABLE reading
--
CLUSTER reading
--
ANALYZE reading
--
UNLISTEN *
--
COMMENT ON TABLE reading IS 'x'
--
SECURITY LABEL ON TABLE reading IS 'x'
--
IMPORT FOREIGN SCHEMA public FROM SERVER s INTO public
--
EXPLAIN (ANALYZE, COSTS OFF) DELETE FROM reading
--
SELECT 1;
DELETE FROM reading
--
SELECT 1 /* ; */ ; /* */ SELECT 2
--
SELECT E'\'; DROP TABLE reading; --' ; DROP TABLE reading
--
SELECT U&'\0070g_sleep', pg_sleep(1)
--
SELECT "pg_sleep"(1)
--
SELECT pg_catalog.pg_sleep(1)
--
SELECT PG_SLEEP(1)
--
SELECT pg_catalog . "pg_sleep" ( 1 )
--
SELECT pg_sleep /* */ (1)
--
SELECT 1 WHERE 1 OPERATOR(public.===) 1
--
SELECT value FROM reading WHERE value OPERATOR(public.<<<) 3
--
SELECT strange_sum(value) OVER () FROM reading
--
SELECT array_agg(sneaky(value)) FROM reading
--
SELECT * FROM sneaky(1)
--
SELECT * FROM sneaky(1) WITH ORDINALITY
--
SELECT value FROM reading WHERE sneaky(value) = 1
--
SELECT value FROM reading GROUP BY sneaky(value), value
--
SELECT DISTINCT sneaky(value) FROM reading
--
SELECT value FROM reading ORDER BY sneaky(value)
--
SELECT count(*) OVER (PARTITION BY sneaky(value)) FROM reading
--
SELECT value FROM reading LIMIT sneaky(1)
--
SELECT value FROM reading OFFSET sneaky(1)
--
SELECT (ARRAY[1, 2])[sneaky(1)]
--
SELECT '{"a": 1}'::jsonb[sneaky(1)::text]
--
SELECT value IN (sneaky(1), 2) FROM reading
--
SELECT value BETWEEN sneaky(1) AND 3 FROM reading
--
SELECT NULLIF(sneaky(1), 1)
--
SELECT GREATEST(sneaky(1), 1)
--
SELECT (sneaky(1) IS NULL)::text
--
SELECT ROW(sneaky(1)) = ROW(1)
--
SELECT value = ANY (ARRAY[sneaky(1)]) FROM reading
--
SELECT value = ALL (SELECT sneaky(1)) FROM reading
--
SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY sneaky(value)) FROM reading
--
SELECT string_agg(value::text, ',' ORDER BY sneaky(value)) FROM reading
--
SELECT r.sneaky FROM (SELECT 1 AS x) r, reading WHERE (reading.value).sneaky = 1
