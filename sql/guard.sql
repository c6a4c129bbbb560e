-- What the guard lets run, what it refuses, and how it says so.
\set VERBOSITY default
\set QUIET on
SET client_min_messages = warning;
SET factory.frozen_clock = '2026-01-15 09:30:00+09';
CREATE SCHEMA guarded;
SET search_path = guarded;
SET factory.reader_search_path = 'guarded';
\getenv srcdir PG_ABS_SRCDIR
\set fixture :srcdir '/t/cases/guard/fixture.sql'
\i :fixture
GRANT USAGE ON SCHEMA guarded TO factory_reader;
CREATE TEMP TABLE shadow AS SELECT 1 AS value;
GRANT SELECT ON shadow TO factory_reader;

-- One refusal a layer.
\x on
SELECT * FROM factory.check_sql('SELECT sum(value) FROM reading');
SELECT * FROM factory.check_sql(repeat('SELECT 1 UNION ALL ', 4000) || 'SELECT 1');
SELECT * FROM factory.check_sql('SELECT 1; DROP TABLE reading');
SELECT * FROM factory.check_sql('DELETE FROM reading');
SELECT * FROM factory.check_sql('SELECT valeu FROM reading');
SELECT * FROM factory.check_sql('SELECT * FROM secret');
SELECT * FROM factory.check_sql('SELECT * FROM pg_authid');
SELECT * FROM factory.check_sql('SELECT * FROM shadow');
SELECT * FROM factory.check_sql('SELECT random()');
SELECT * FROM factory.check_sql('SELECT * FROM sleepy_view');
SELECT * FROM factory.check_sql('SELECT count(*) FROM generate_series(1, 1000000000)');
SELECT * FROM factory.check_sql('WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM t) SELECT n FROM t');
SELECT * FROM factory.check_sql('SELECT xmlforest(value) FROM reading');
SELECT ok, layer FROM factory.check_sql(repeat('(', 20000));
SELECT * FROM factory.check_sql(NULL);
\x off

-- What passes runs, as the reader, and leaves the caller as it was.
SELECT * FROM factory.run_sql('SELECT line_code, sum(total_qty) AS qty FROM production GROUP BY 1 ORDER BY 1');
SELECT count(*) FROM factory.run_sql('SELECT generate_series(1, 50)', 7);
SELECT * FROM factory.run_sql('SELECT 1 / (value - value) FROM reading');
SELECT * FROM factory.run_sql('SELECT 1', -1);
SET factory.question_timeout = '50ms';
SELECT * FROM factory.run_sql('SELECT count(*) FROM production a, production b, production c, production d, production e, production f');
RESET factory.question_timeout;
SET factory.reader_role = 'nobody_of_that_name';
SELECT * FROM factory.run_sql('SELECT 1');
SET factory.reader_role = 'postgres';
SELECT ok, layer, reason FROM factory.check_sql('SELECT 1');
RESET factory.reader_role;
SHOW transaction_read_only;
SELECT current_user = session_user AS same_user, current_setting('search_path') AS search_path;

-- Another tenant's rows are not there, in views and subqueries neither.
INSERT INTO reading VALUES ('other', 1000);
SELECT * FROM factory.run_sql('SELECT (SELECT sum(value) FROM reading) AS t, sum(value) AS v FROM reading_view');
CREATE MATERIALIZED VIEW reading_total AS SELECT tenant_id, sum(value) AS total FROM reading GROUP BY tenant_id;
GRANT SELECT ON reading_total TO factory_reader;
SELECT * FROM factory.run_sql('SELECT * FROM reading_total');
ALTER TABLE reading ENABLE ROW LEVEL SECURITY;
CREATE POLICY small ON reading TO factory_reader USING (value < pg_catalog.current_setting('work_mem')::text::char(1)::int);
SELECT * FROM factory.run_sql('SELECT count(*) < 5 AS fewer FROM reading');
DROP POLICY small ON reading;
CREATE POLICY small ON reading TO factory_reader USING (value < 3);
SELECT * FROM factory.run_sql('SELECT count(*) FROM reading');

-- The corpora: every attack is refused, every analytic statement passes.
\set file :srcdir '/t/cases/guard/attacks.sql'
\set attacks `cat :'file'`
\set file :srcdir '/t/cases/guard/legitimate.sql'
\set legitimate `cat :'file'`
CREATE TEMP TABLE statement AS
SELECT 'attack' AS kind, regexp_split_to_table(:'attacks', E'(^|\n)--\n') AS sql
UNION ALL SELECT 'legitimate', regexp_split_to_table(:'legitimate', E'(^|\n)--\n');
SELECT kind, count(*) FROM statement GROUP BY kind ORDER BY kind;
SELECT sql AS passed FROM statement, factory.check_sql(sql) AS verdict WHERE kind = 'attack' AND ok;
SELECT sql AS refused, layer, reason FROM statement, factory.check_sql(sql) AS verdict WHERE kind = 'legitimate' AND NOT ok;

DROP SCHEMA guarded, hidden CASCADE;
