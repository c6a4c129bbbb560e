-- The demo plant: its views add up right on data small enough to check by hand, and
-- its generator is the same every time and consistent to the unit.
\getenv root PG_ABS_SRCDIR
\set schema_file :root '/demo/schema.sql'
\set views_file :root '/demo/views.sql'
\set generate_file :root '/demo/generate.sql'
SET factory.frozen_clock = '2026-01-15 09:30:00+09';
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
CREATE SCHEMA plant;
SET search_path = plant;
\set ECHO none
\i :schema_file
\i :views_file
\set ECHO all
INSERT INTO dim_shift (shift_code, name, start_time, end_time)
VALUES ('day', 'day', '08:00', '16:00'), ('evening', 'evening', '16:00', '24:00'), ('night', 'night', '00:00', '08:00');
INSERT INTO dim_line (line_code, name, category, capacity_per_hour, plant_code)
VALUES ('L1', 'one', 'assembly', 100, 'P'), ('L2', 'two', 'assembly', 100, 'P');
INSERT INTO dim_product (product_code, name, target_cycle_time_sec) VALUES ('X', 'x', 45), ('Y', 'y', 60);
INSERT INTO dim_equipment (equipment_code, line_code, name, type)
VALUES ('M1', 'L1', 'm1', 'machine'), ('M2', 'L1', 'm2', 'robot'), ('M3', 'L2', 'm3', 'machine');
-- 100 units at 45 s and 300 at 60 s are 375 ideal minutes of 840: .446.  The mean of
-- the two targets, 52.5 s, would say .417.
INSERT INTO fact_daily_production (date, line_code, product_code, shift, total_qty, good_qty, defect_qty, rework_qty, scrap_qty,
								   runtime_minutes, downtime_minutes, planned_qty, target_cycle_time)
VALUES ('2026-01-14', 'L1', 'X', 'day', 100, 90, 10, 6, 4, 400, 20, 120, 45),
	   ('2026-01-14', 'L1', 'Y', 'day', 300, 300, 0, 0, 0, 400, 20, 320, 60),
	   ('2026-01-14', 'L1', 'X', 'evening', 0, 0, 0, 0, 0, 0, 0, 10, 45),
	   ('2026-01-14', 'L2', 'X', 'night', 10, 10, 0, 0, 0, 10, 0, 10, 45),
	   ('2025-10-17', 'L1', 'X', 'day', 1, 1, 0, 0, 0, 1, 0, 1, 45),
	   ('2025-10-18', 'L1', 'X', 'day', 2, 2, 0, 0, 0, 2, 0, 2, 45);
INSERT INTO fact_daily_defect (date, line_code, product_code, shift, defect_type, defect_qty)
VALUES ('2026-01-14', 'L1', 'X', 'day', 'dent', 1), ('2026-01-14', 'L1', 'X', 'day', 'scratch', 5),
	   ('2026-01-14', 'L1', 'X', 'day', 'crack', 1), ('2026-01-14', 'L1', 'X', 'day', 'dimension', 3);
INSERT INTO fact_equipment_event (date, equipment_code, event_type, event_count)
VALUES ('2026-01-14', 'M1', 'alarm', 3), ('2026-01-14', 'M2', 'alarm', 4), ('2026-01-14', 'M1', 'breakdown', 1),
	   ('2026-01-14', 'M3', 'alarm', 50), ('2026-01-13', 'M1', 'alarm', 70), ('2026-01-14', 'M1', 'setup', 9);
REFRESH MATERIALIZED VIEW mv_oee_daily;
-- 90 days: 18 October is the first of them.  Nothing made and no time run is zero, not an error.
SELECT date, line_code, shift, total_qty, runtime_minutes + downtime_minutes AS minutes, ideal_minutes,
	   round(availability, 3) AS a, round(performance, 3) AS p, quality AS q, round(oee, 3) AS oee
FROM mv_oee_daily ORDER BY 1, 2, 3;
-- Quality aside, that is the .446.
SELECT round(availability * performance, 3) AS weighted,
	   round((SELECT sum(total_qty) * avg(target_cycle_time) / 60 / 840 FROM fact_daily_production
			  WHERE date = '2026-01-14' AND line_code = 'L1' AND shift = 'day'), 3) AS averaged
FROM mv_oee_daily WHERE date = '2026-01-14' AND line_code = 'L1' AND shift = 'day';
REFRESH MATERIALIZED VIEW mv_line_performance_daily;
-- Four types of defect and six rows of events multiply nothing; L2's alarms stay with L2.
SELECT line_code, total_qty, good_qty, defect_qty, rework_qty, scrap_qty, planned_qty, defect_rate, ideal_minutes,
	   product_variety, alarm_count, breakdown_count
FROM mv_line_performance_daily WHERE date = '2026-01-14' ORDER BY 1;
-- Hours of the plant: 15:30 UTC is half past midnight in Seoul, a night shift of the next day.
-- The first hour is 168 hours before the last of X: it has left the 7 days, whatever rows are between.
INSERT INTO fact_hourly_production (hour_timestamp, line_code, product_code, total_qty, good_qty, defect_qty)
VALUES ('2026-01-07 10:00+09', 'L1', 'X', 1000, 0, 1000), ('2026-01-07 11:00+09', 'L1', 'X', 100, 90, 10),
	   ('2026-01-14 09:00+09', 'L1', 'X', 60, 57, 3), ('2026-01-14 10:00+09', 'L1', 'X', 40, 33, 7),
	   ('2026-01-14 10:00+09', 'L1', 'Y', 300, 300, 0), ('2026-01-14 11:00+09', 'L1', 'Y', 0, 0, 0),
	   ('2026-01-15 00:00+09', 'L1', 'Y', 20, 19, 1);
REFRESH MATERIALIZED VIEW mv_defect_trend_hourly;
SELECT to_char(hour_timestamp AT TIME ZONE 'Asia/Seoul', 'DD HH24') AS hour, date, product_code AS product, shift,
	   total_qty, defect_qty, defect_rate, defect_rate_7d, top_defect_types
FROM mv_defect_trend_hourly ORDER BY hour_timestamp, product_code;
SELECT sum(total_qty) AS in_view, (SELECT sum(total_qty) FROM fact_hourly_production) AS in_fact FROM mv_defect_trend_hourly;
INSERT INTO fact_inventory_snapshot (date, product_code, location, stock_qty, safety_stock_qty, reserved_qty, available_qty, avg_daily_usage)
VALUES ('2026-01-15', 'X', 'a', 99, 100, 9, 90, 30), ('2026-01-15', 'X', 'b', 100, 100, 0, 100, 0),
	   ('2026-01-15', 'X', 'c', 150, 100, 0, 150, 30), ('2026-01-15', 'X', 'd', 300, 100, 0, 300, 30),
	   ('2026-01-15', 'X', 'e', 301, 100, 0, 301, 30), ('2025-12-16', 'X', 'a', 1, 1, 0, 1, 1);
REFRESH MATERIALIZED VIEW mv_inventory_coverage_daily;
SELECT location, stock_qty, coverage_days, stock_status FROM mv_inventory_coverage_daily ORDER BY 1;
-- Each view can be refreshed while it is read.
REFRESH MATERIALIZED VIEW CONCURRENTLY mv_oee_daily;
REFRESH MATERIALIZED VIEW CONCURRENTLY mv_defect_trend_hourly;
REFRESH MATERIALIZED VIEW CONCURRENTLY mv_line_performance_daily;
REFRESH MATERIALIZED VIEW CONCURRENTLY mv_inventory_coverage_daily;
-- The generator, on the clock's day: everything is replaced.
\set ECHO none
\i :generate_file
\set ECHO all
SELECT min(date), max(date), count(DISTINCT date) AS days FROM fact_daily_production;
-- Today ends with the present half hour.
SELECT max(hour_timestamp) AT TIME ZONE 'Asia/Seoul' AS last_hour,
	   max(runtime_minutes + downtime_minutes) FILTER (WHERE hour_timestamp = '2026-01-15 09:00+09') < 30 AS half_an_hour
FROM fact_hourly_production;
-- The days are the sums of their hours, and the types the sums of the days: no row differs.
SELECT count(*) AS differ
FROM (SELECT (hour_timestamp AT TIME ZONE 'Asia/Seoul')::date AS date, line_code, product_code,
			 CASE WHEN extract(hour FROM hour_timestamp AT TIME ZONE 'Asia/Seoul') < 8 THEN 'night'
				  WHEN extract(hour FROM hour_timestamp AT TIME ZONE 'Asia/Seoul') < 16 THEN 'day' ELSE 'evening' END AS shift,
			 sum(total_qty) AS total, sum(good_qty) AS good, sum(defect_qty) AS defect,
			 sum(runtime_minutes) AS runtime, sum(downtime_minutes) AS downtime
	  FROM fact_hourly_production GROUP BY 1, 2, 3, 4) AS h
FULL JOIN fact_daily_production AS d USING (date, line_code, product_code, shift)
WHERE (h.total, h.good, h.defect, h.runtime, h.downtime)
	  IS DISTINCT FROM (d.total_qty, d.good_qty, d.defect_qty, d.runtime_minutes, d.downtime_minutes);
SELECT count(*) AS differ
FROM (SELECT date, line_code, product_code, shift, sum(defect_qty) AS qty FROM fact_daily_defect GROUP BY 1, 2, 3, 4) AS t
FULL JOIN (SELECT * FROM fact_daily_production WHERE defect_qty > 0) AS d USING (date, line_code, product_code, shift)
WHERE t.qty IS DISTINCT FROM d.defect_qty;
REFRESH MATERIALIZED VIEW mv_oee_daily;
REFRESH MATERIALIZED VIEW mv_line_performance_daily;
REFRESH MATERIALIZED VIEW mv_defect_trend_hourly;
REFRESH MATERIALIZED VIEW mv_inventory_coverage_daily;
-- Weekends make less; LINE-A is steady; LINE-C drifts; the two incidents stand out.
SELECT bool_and(defect_rate BETWEEN 0.009 AND 0.018) AS steady, count(*) AS days
FROM mv_line_performance_daily WHERE line_code = 'LINE-A' AND date BETWEEN '2026-01-08' AND '2026-01-14';
SELECT avg(total_qty) FILTER (WHERE is_weekend) < 0.6 * avg(total_qty) FILTER (WHERE NOT is_weekend) AS weekend_is_quiet
FROM mv_line_performance_daily JOIN dim_date USING (date);
SELECT avg(defect_rate) FILTER (WHERE date > '2026-01-10') > 1.6 * avg(defect_rate) FILTER (WHERE date < '2025-12-25') AS drifts
FROM mv_line_performance_daily WHERE line_code = 'LINE-C' AND date < '2026-01-15';
SELECT date, product_code, shift, round(defect_qty::numeric / total_qty, 2) AS rate
FROM fact_daily_production WHERE line_code LIKE 'L0%' AND defect_qty > 0.08 * total_qty AND total_qty > 100 ORDER BY 1, 3;
SELECT DISTINCT date, root_cause FROM fact_daily_defect WHERE root_cause LIKE '%die wear%' ORDER BY 1;
SELECT date, line_code, downtime_minutes > 300 AS long_stop, breakdown_count > 0 AS breakdown
FROM mv_line_performance_daily WHERE downtime_minutes > 300 ORDER BY 1;
SELECT bool_and(performance <= 1 AND availability <= 1 AND oee BETWEEN 0.5 AND 0.95) AS plausible
FROM mv_oee_daily WHERE date < '2026-01-15' AND (line_code, date) <> ('LINE-B', '2025-12-31');
SELECT count(DISTINCT stock_status) AS statuses, bool_or(coverage_days IS NULL) AS some_unused FROM mv_inventory_coverage_daily;
-- Again, and then today alone an hour later: the past stays what it was, today grows.
CREATE TEMP TABLE before AS SELECT * FROM fact_hourly_production;
\set first_day 2026-01-10
\set ECHO none
\i :generate_file
\set ECHO all
SELECT count(*) AS differ FROM (TABLE before EXCEPT TABLE fact_hourly_production) AS d;
SET factory.frozen_clock = '2026-01-15 10:30:00+09';
\set first_day 2026-01-15
\set ECHO none
\i :generate_file
\set ECHO all
SELECT count(*) AS differ FROM (
	SELECT * FROM before WHERE hour_timestamp < '2026-01-15 09:00+09' EXCEPT TABLE fact_hourly_production) AS d;
SELECT sum(n.total_qty) > sum(b.total_qty) AS grew, min(n.total_qty - b.total_qty) >= 0 AS never_shrank, count(*) AS lines
FROM before AS b JOIN fact_hourly_production AS n USING (hour_timestamp, line_code, product_code)
WHERE b.hour_timestamp = '2026-01-15 09:00+09';
SELECT count(*) AS new_rows FROM fact_hourly_production WHERE hour_timestamp = '2026-01-15 10:00+09';
SET client_min_messages = warning;
DROP SCHEMA plant CASCADE;
