-- Refresh schedules: declaring, seeing, running by hand, and what is refused.
-- The clock stands far ahead, so that the scheduler finds nothing due meanwhile.
\set VERBOSITY default
SET timezone = 'UTC';
SET datestyle = 'ISO';
SET factory.frozen_clock = '2126-01-15 09:00:00+09';

CREATE TABLE production (line text, good int, defects int);
INSERT INTO production VALUES ('A', 95, 5), ('B', 100, 0);
CREATE MATERIALIZED VIEW mv_rate AS
	SELECT line, defects::float8 / (good + defects) AS rate FROM production;

-- From nothing to a scheduled view: it says when it is due first.
SELECT factory.schedule_refresh('mv_rate', 'daily at 06:00', 'Asia/Seoul');
SELECT view, state, schedule, timezone, enabled, next_due, last_status FROM factory.refresh_status;

-- Another schedule takes its place.
SELECT factory.schedule_refresh('mv_rate', schedule => '0 * * * *');
SELECT view, schedule, timezone, next_due FROM factory.refresh_status;
SET factory.timezone = 'Europe/Berlin';
SELECT factory.schedule_refresh('mv_rate', 'weekdays at 07:30');
RESET factory.timezone;
SELECT view, timezone, next_due FROM factory.refresh_status;

-- By hand: the method is chosen for this run, and the reason is kept.
CREATE FUNCTION last_run() RETURNS TABLE (view text, status text, method text, reason text, scheduled_for timestamptz)
LANGUAGE sql AS $$ SELECT view, status, method, reason, scheduled_for FROM factory.refresh_run ORDER BY id DESC LIMIT 1 $$;
UPDATE production SET defects = 10 WHERE line = 'B';
SELECT factory.refresh_now('mv_rate') > 0 AS ran;
SELECT * FROM mv_rate WHERE line = 'B';
SELECT * FROM last_run();
-- Indexes that the server cannot use to tell rows apart.
CREATE UNIQUE INDEX mv_rate_some ON mv_rate (line) WHERE rate > 0;
CREATE UNIQUE INDEX mv_rate_lower ON mv_rate (lower(line));
CREATE INDEX mv_rate_plain ON mv_rate (line);
SELECT factory.refresh_now('mv_rate') > 0 AS ran;
SELECT method, reason FROM last_run();
-- One that it can.
CREATE UNIQUE INDEX mv_rate_line ON mv_rate (line);
SELECT factory.refresh_now('mv_rate') > 0 AS ran;
SELECT method, reason FROM last_run();
-- The first fill is never concurrent.
CREATE MATERIALIZED VIEW "MV empty" AS SELECT line FROM production WITH NO DATA;
CREATE UNIQUE INDEX ON "MV empty" (line);
SELECT factory.schedule_refresh('"MV empty"', 'hourly', concurrently => true);
SELECT view, state FROM factory.refresh_status ORDER BY view COLLATE "C";
SELECT factory.refresh_now('"MV empty"') > 0 AS ran;
SELECT view, method, reason FROM last_run();
SELECT view, state, last_status, last_method FROM factory.refresh_status ORDER BY view COLLATE "C";
-- Concurrently gives what plain gives.
TRUNCATE production;
INSERT INTO production VALUES ('C', 1, 1);
SELECT factory.refresh_now('mv_rate') > 0 AS ran;
SELECT * FROM mv_rate;

-- A run by hand belongs to its transaction.
BEGIN;
SELECT factory.refresh_now('mv_rate') > 0 AS ran;
ROLLBACK;
SELECT count(*) FROM factory.refresh_run;
INSERT INTO production VALUES ('D', 0, 0);
SELECT factory.refresh_now('mv_rate');
SELECT count(*) FROM factory.refresh_run;

-- A renamed view keeps its schedule.
ALTER MATERIALIZED VIEW mv_rate RENAME TO mv_defect_rate;
SELECT view FROM factory.refresh_status ORDER BY view COLLATE "C";
-- A dropped one is shown as such, and can be taken away.
DROP MATERIALIZED VIEW "MV empty";
SELECT view, state FROM factory.refresh_status ORDER BY view COLLATE "C";
SELECT factory.unschedule_refresh(view) FROM factory.refresh_schedule WHERE view_name LIKE '%empty%';

-- What is refused.
SELECT factory.schedule_refresh('mv_defect_rate', 'daily at 25:00');
SELECT factory.schedule_refresh('mv_defect_rate', '* * *');
SELECT factory.schedule_refresh('mv_defect_rate', '0 0 31 2 *');
SELECT factory.schedule_refresh('mv_defect_rate', 'hourly', 'Mars/Olympus');
SELECT factory.schedule_refresh('production', 'hourly');
SELECT factory.schedule_refresh('no_such_view', 'hourly');
SELECT factory.schedule_refresh(0, 'hourly');
SELECT factory.schedule_refresh(NULL, 'hourly');
SELECT factory.schedule_refresh('mv_defect_rate', NULL);
DROP INDEX mv_rate_line;
SELECT factory.schedule_refresh('mv_defect_rate', 'hourly', concurrently => true);
SELECT factory.refresh_now('production');
SELECT factory.unschedule_refresh('mv_defect_rate');
SELECT factory.unschedule_refresh('mv_defect_rate');

-- Who may: authors, and only with their own views.
CREATE ROLE refresh_author IN ROLE factory_author;
CREATE ROLE refresh_watcher IN ROLE factory_monitor;
GRANT CREATE ON SCHEMA public TO refresh_author;
SET ROLE refresh_author;
SELECT factory.schedule_refresh('mv_defect_rate', 'hourly');
SELECT factory.refresh_now('mv_defect_rate');
SELECT factory.unschedule_refresh('mv_defect_rate');
CREATE MATERIALIZED VIEW mv_mine AS SELECT 1 AS one;
SELECT factory.schedule_refresh('mv_mine', 'hourly');
SELECT factory.refresh_now('mv_mine') > 0 AS ran;
DELETE FROM factory.refresh_schedule;
SET ROLE refresh_watcher;
SELECT view, last_status FROM factory.refresh_status;
SELECT kind, state FROM factory.worker_status WHERE kind = 'launcher';
SELECT factory.schedule_refresh('mv_mine', 'hourly');
RESET ROLE;
CREATE ROLE refresh_nobody;
SET ROLE refresh_nobody;
SELECT * FROM factory.refresh_status;
SELECT factory.refresh_now('mv_mine');
RESET ROLE;

-- In a read-only transaction the status can be read and nothing else is done.
BEGIN READ ONLY;
SELECT count(*) FROM factory.refresh_status;
SELECT factory.schedule_refresh('mv_mine', 'daily');
ROLLBACK;

DELETE FROM factory.refresh_schedule;
DROP MATERIALIZED VIEW mv_mine, mv_defect_rate;
DROP TABLE production;
DROP FUNCTION last_run();
REVOKE CREATE ON SCHEMA public FROM refresh_author;
DROP OWNED BY refresh_author;
DROP ROLE refresh_author, refresh_watcher, refresh_nobody;
