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
