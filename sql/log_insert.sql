-- A judgment's row goes straight into the log where nothing but the table and its indexes has a
-- say; whoever adds something that has one finds it asked.
\set SHOW_CONTEXT never
\set VERBOSITY terse
SET factory.frozen_clock = '2031-01-15 09:00:00+09';
SET factory.log = sync;
SELECT factory.create_decision('straight', '{"inputs": {"n": "int", "note": "text"}, "rules": [{"id": "odd", "when": "n % 2 = 1", "then": {"status": "ODD", "severity": "warning"}}], "default": {"status": "EVEN", "severity": "info"}}');
CREATE VIEW logged AS SELECT tableoid::regclass::text AS partition, input ->> 'n' AS n, status, tenant_id, created_by = current_user AS by_me, cardinality(matched_rules) AS rules FROM factory.judgment_log WHERE decision = 'straight' ORDER BY (input ->> 'n')::int;
CREATE FUNCTION count_logged(execution_id uuid) RETURNS bigint LANGUAGE sql VOLATILE AS 'SELECT count(*) FROM factory.judgment_log AS l WHERE l.execution_id = $1';

-- Into the default partition; what comes next sees it, what is rolled back leaves nothing.
BEGIN;
SELECT status, count_logged(execution_id) FROM factory.judge('straight', '{"n": 1}') OFFSET 0;
SAVEPOINT s;
SELECT status FROM factory.judge('straight', '{"n": 2}');
ROLLBACK TO s;
SELECT count(*) FROM generate_series(3, 500) AS n, factory.judge('straight', jsonb_build_object('n', n, 'note', repeat(n::text, 100)));
SELECT partition, n, status, tenant_id, by_me, rules FROM logged LIMIT 2;
-- By each of its indexes.
SET LOCAL enable_seqscan = off;
SELECT count(*) FROM factory.judgment_log WHERE tenant_id = 'default' AND decision = 'straight' AND created_at = '2031-01-15 09:00:00+09';
SELECT sum(count_logged(execution_id)) FROM factory.judgment_log WHERE decision = 'straight';
-- A document too long for a page is kept elsewhere.
SELECT status FROM factory.judge('straight', jsonb_build_object('n', 4, 'note', (SELECT string_agg(md5(i::text), '') FROM generate_series(1, 2000) AS i)));
SELECT max(octet_length(input ->> 'note')) FROM factory.judgment_log WHERE decision = 'straight';
ROLLBACK;

-- Into the month it belongs to, to its edges, whatever the order of its columns.
BEGIN;
CREATE TABLE factory.judgment_log_2031_01 PARTITION OF factory.judgment_log FOR VALUES FROM ('2031-01-01 00:00+00') TO ('2031-02-01 00:00+00');
CREATE TABLE factory.backwards (gone int, components jsonb, explanation jsonb, outcome jsonb, matched_rules text[] NOT NULL, degraded text, created_by text NOT NULL, severity text, policy text NOT NULL,
	input jsonb NOT NULL, status text, result text, method_used text NOT NULL, decision text NOT NULL, tenant_id text NOT NULL, version integer NOT NULL, confidence float8, execution_time_ms float8 NOT NULL, created_at timestamptz NOT NULL, execution_id uuid NOT NULL);
ALTER TABLE factory.backwards DROP COLUMN gone;
ALTER TABLE factory.judgment_log ATTACH PARTITION factory.backwards FOR VALUES FROM ('2031-02-01 00:00+00') TO ('2031-03-01 00:00+00');
SET LOCAL factory.frozen_clock = '2031-01-01 00:00:00+00';
SELECT status FROM factory.judge('straight', '{"n": 1}');
SET LOCAL factory.frozen_clock = '2031-01-31 23:59:59.999999+00';
SELECT status FROM factory.judge('straight', '{"n": 2}');
SET LOCAL factory.frozen_clock = '2031-02-01 00:00:00+00';
SELECT status FROM factory.judge('straight', '{"n": 3}');
SET LOCAL factory.frozen_clock = '2031-03-01 00:00:00+00';
SELECT status FROM factory.judge('straight', '{"n": 4}');
SELECT partition, n, status, rules FROM logged;
ROLLBACK;

-- Triggers, of the log and of a partition.
CREATE FUNCTION notice() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'trigger % %', TG_NAME, NEW.input ->> 'n'; NEW.status := lower(NEW.status); RETURN NEW; END $$;
BEGIN;
CREATE TRIGGER on_log BEFORE INSERT ON factory.judgment_log FOR EACH ROW EXECUTE FUNCTION notice();
SELECT status FROM factory.judge('straight', '{"n": 1}');
SELECT status FROM logged;
ROLLBACK;
BEGIN;
CREATE TRIGGER on_partition BEFORE INSERT ON factory.judgment_log_default FOR EACH ROW EXECUTE FUNCTION notice();
SELECT status FROM factory.judge('straight', '{"n": 1}');
SELECT status FROM logged;
ROLLBACK;
-- A check, a unique index, one of an expression, one of some rows.
BEGIN;
ALTER TABLE factory.judgment_log ADD CONSTRAINT not_seven CHECK (input <> '{"n": 7}');
SELECT status FROM factory.judge('straight', '{"n": 8}');
SELECT status FROM factory.judge('straight', '{"n": 7}');
ROLLBACK;
BEGIN;
CREATE UNIQUE INDEX one_of_each ON factory.judgment_log_default (decision, (input ->> 'n')) WHERE decision = 'straight';
SELECT status FROM factory.judge('straight', '{"n": 7}');
SELECT status FROM factory.judge('straight', '{"n": 7}');
ROLLBACK;
BEGIN;
CREATE TABLE factory.judgment_log_2031_01 PARTITION OF factory.judgment_log FOR VALUES FROM ('2031-01-01 00:00+00') TO ('2031-02-01 00:00+00');
CREATE UNIQUE INDEX one_input ON factory.judgment_log_2031_01 (input);
SELECT status FROM factory.judge('straight', '{"n": 7}');
SELECT status FROM factory.judge('straight', '{"n": 7}');
ROLLBACK;
-- A column of somebody's own, and one that follows from others.
BEGIN;
ALTER TABLE factory.judgment_log ADD COLUMN site text NOT NULL DEFAULT 'north', ADD COLUMN n text GENERATED ALWAYS AS (input ->> 'n') STORED;
SELECT status FROM factory.judge('straight', '{"n": 5}');
SELECT site, n FROM factory.judgment_log WHERE decision = 'straight';
ROLLBACK;
-- Somebody's policy, and somebody's rule.
BEGIN;
CREATE POLICY none_at_all ON factory.judgment_log AS RESTRICTIVE FOR INSERT WITH CHECK (input ->> 'n' <> '9');
SELECT status FROM factory.judge('straight', '{"n": 8}');
SELECT status FROM factory.judge('straight', '{"n": 9}');
ROLLBACK;
BEGIN;
CREATE RULE elsewhere AS ON INSERT TO factory.judgment_log DO INSTEAD NOTHING;
SELECT status FROM factory.judge('straight', '{"n": 8}');
ROLLBACK;

DROP VIEW logged;
DROP FUNCTION notice, count_logged;
