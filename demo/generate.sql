-- generate.sql: fills the plant with 90 days that look lived in, always the same ones.
--
-- Variables of psql, all optional:
--   today      the plant's last day; the clock's day in Asia/Seoul
--   first_day  generate from this day on and keep what is before (today - 89: everything anew)
--   scale      variants of each product, hence times the rows (1)
--   seed       another number makes another plant (42)
--
-- No random(): every number is a hash of the seed and its own key, so a day that is
-- generated again is the same day.  Today ends with the present minute.  Daily facts
-- are sums of the hourly ones, defects by type sum to the day's.
-- What is hidden in the numbers: demo/README.md.
-- Needs the tables of schema.sql.  Run it in one transaction.

\if :{?today}
\else
SELECT (factory.clock_now() AT TIME ZONE 'Asia/Seoul')::date AS today \gset
\endif
\if :{?first_day}
\else
SELECT :'today'::date - 89 AS first_day \gset
\endif
\if :{?scale}
\else
\set scale 1
\endif
\if :{?seed}
\else
\set seed 42
\endif

-- Compiling these statements takes longer than running them.
SET jit = off;

-- A number in [0, 1) of a key.
CREATE OR REPLACE FUNCTION pg_temp.u(VARIADIC key text[]) RETURNS float8
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT (hashtextextended(array_to_string(key, '|'), 0) & 4294967295) / 4294967296.0::float8;
END;

-- When and where something happens.
CREATE TEMP TABLE scene AS
SELECT :'seed'::text AS seed, :'today'::date AS today, :'first_day'::date AS first_day, :scale::int AS scale,
	   CASE WHEN :'today'::date = (factory.clock_now() AT TIME ZONE 'Asia/Seoul')::date
			THEN factory.clock_now() AT TIME ZONE 'Asia/Seoul'
			ELSE (:'today'::date + 1)::timestamp END AS moment,
	   date_trunc('week', :'today'::date)::date - 7 AS last_week, NULL::date AS die_wear_day, NULL::date AS drive_stop_day,
	   :'today'::date - 21 AS drift_from;

CREATE TEMP TABLE line_profile (line_code text, stations int, defect_rate float8, day_noise float8,
								down_share float8, speed float8, weekend float8);
INSERT INTO line_profile VALUES
	('LINE-A', 1, 0.0132, 0.22, 0.07, 0.93, 0.45),
	('LINE-B', 1, 0.0180, 0.25, 0.09, 0.91, 0.40),
	('LINE-C', 1, 0.0150, 0.15, 0.08, 0.92, 0.40),
	('L01',    3, 0.0280, 0.20, 0.10, 0.90, 0.35),
	('L02',    2, 0.0220, 0.25, 0.12, 0.89, 0.35),
	('L03',    4, 0.0120, 0.25, 0.08, 0.94, 0.50);

SELECT first_day <= today - 89 AS everything FROM scene \gset
\if :everything
TRUNCATE dim_date, dim_line, dim_product, dim_equipment, dim_kpi, dim_shift, fact_daily_production, fact_daily_defect,
		 fact_hourly_production, fact_inventory_snapshot, fact_equipment_event;

INSERT INTO dim_date
SELECT d, extract(year FROM d), extract(quarter FROM d), extract(month FROM d), extract(week FROM d),
	   extract(doy FROM d), extract(day FROM d), extract(dow FROM d),
	   (ARRAY['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday'])[extract(dow FROM d)::int + 1],
	   extract(isodow FROM d) > 5, h.name IS NOT NULL, h.name
FROM (SELECT d::date FROM generate_series('2020-01-01'::timestamp, '2030-12-31', '1 day') AS d) AS days
LEFT JOIN (
	SELECT day, string_agg(name, ', ' ORDER BY name) AS name
	FROM (
		SELECT make_date(year, month, day) AS day, name
		FROM generate_series(2020, 2030) AS year,
			 (VALUES (1, 1, '신정'), (3, 1, '삼일절'), (5, 5, '어린이날'), (6, 6, '현충일'), (8, 15, '광복절'),
					 (10, 3, '개천절'), (10, 9, '한글날'), (12, 25, '성탄절')) AS solar(month, day, name)
		UNION ALL
		SELECT day::date + around, name
		FROM (VALUES ('2020-01-25'), ('2021-02-12'), ('2022-02-01'), ('2023-01-22'), ('2024-02-10'), ('2025-01-29'),
					 ('2026-02-17'), ('2027-02-07'), ('2028-01-27'), ('2029-02-13'), ('2030-02-03')) AS lunar(day),
			 generate_series(-1, 1) AS around, (VALUES ('설날')) AS n(name)
		UNION ALL
		SELECT day::date + around, name
		FROM (VALUES ('2020-10-01'), ('2021-09-21'), ('2022-09-10'), ('2023-09-29'), ('2024-09-17'), ('2025-10-06'),
					 ('2026-09-25'), ('2027-09-15'), ('2028-10-03'), ('2029-09-22'), ('2030-09-12')) AS lunar(day),
			 generate_series(-1, 1) AS around, (VALUES ('추석')) AS n(name)
		UNION ALL
		SELECT day::date, '부처님오신날'
		FROM (VALUES ('2020-04-30'), ('2021-05-19'), ('2022-05-08'), ('2023-05-27'), ('2024-05-15'), ('2025-05-05'),
					 ('2026-05-24'), ('2027-05-13'), ('2028-05-02'), ('2029-05-20'), ('2030-05-09')) AS lunar(day)
	) AS holiday
	GROUP BY day
) AS h ON h.day = days.d;

INSERT INTO dim_shift (shift_code, name, start_time, end_time) VALUES
	('day', '주간', '08:00', '16:00'), ('evening', '저녁', '16:00', '24:00'), ('night', '야간', '00:00', '08:00');

INSERT INTO dim_line (line_code, name, category, capacity_per_hour, plant_code, department, manager, attributes)
SELECT v.line_code, v.name, v.category, v.capacity, 'PLANT-1', v.department, v.manager,
	   jsonb_build_object('shift_pattern', '3x8', 'stations', p.stations, 'target_oee', 0.85, 'target_defect_rate', 0.03)
FROM (VALUES
	('LINE-A', 'A라인 조립', 'assembly', 80, '생산1팀', '김민수'),
	('LINE-B', 'B라인 가공', 'processing', 70, '생산1팀', '이서연'),
	('LINE-C', 'C라인 검사', 'inspection', 75, '생산1팀', '박지훈'),
	('L01', '1호기 조립라인', 'assembly', 200, '생산2팀', '최유진'),
	('L02', '2호기 가공라인', 'processing', 150, '생산2팀', '정하늘'),
	('L03', '3호기 포장라인', 'packaging', 300, '생산2팀', '강도윤')
) AS v(line_code, name, category, capacity, department, manager)
JOIN line_profile AS p USING (line_code);

INSERT INTO dim_product (product_code, name, name_en, spec, category, subcategory, standard_cost, target_cycle_time_sec, quality_standard)
SELECT v.code || variant.suffix, v.name || variant.suffix, v.name_en || variant.suffix, v.spec, 'finished', v.code,
	   v.cost, v.cycle, '{"max_defect_rate": 0.03}'
FROM (VALUES
	('P001', '제품A', 'Product A', 'TypeA', 12000, 45),
	('P002', '제품B', 'Product B', 'TypeB', 18500, 60),
	('P003', '제품C', 'Product C', 'TypeA', 9800, 50),
	('PROD-123', '제품 123', 'Product 123', 'TypeC', 15200, 45)
) AS v(code, name, name_en, spec, cost, cycle),
	 (SELECT CASE WHEN n = 1 THEN '' ELSE '-V' || to_char(n, 'FM00') END AS suffix
	  FROM scene, generate_series(1, scale) AS n) AS variant;
COMMENT ON COLUMN dim_product.subcategory IS 'the product of which this is a variant';

INSERT INTO dim_equipment (equipment_code, line_code, name, type, vendor, install_date, maintenance_cycle_days,
						   last_maintenance_date, next_maintenance_date, mtbf_hours, mttr_hours)
SELECT v.code, v.line_code, v.name, v.type, v.vendor, v.installed::date, v.cycle, v.last, v.last + v.cycle, v.mtbf, v.mttr
FROM (
	SELECT e.*, s.today - 1 - floor(pg_temp.u(s.seed, 'maintained', e.code) * (e.cycle - 1))::int AS last
	FROM scene AS s, (VALUES
		('EA-M01', 'LINE-A', 'A라인 조립 로봇', 'robot', 'Hanil', '2021-03-15', 30, 420.0, 0.8),
		('EA-I01', 'LINE-A', 'A라인 비전 검사기', 'inspection', 'SeeTech', '2022-06-01', 60, 900.0, 0.5),
		('EB-M01', 'LINE-B', 'B라인 주축 구동부', 'machine', 'Daesung', '2019-09-20', 30, 350.0, 1.6),
		('EB-C01', 'LINE-B', 'B라인 컨베이어', 'conveyor', 'Mirae', '2020-01-10', 45, 600.0, 0.7),
		('EC-M01', 'LINE-C', 'C라인 측정 지그', 'machine', 'Daesung', '2020-11-02', 30, 500.0, 1.0),
		('EC-I01', 'LINE-C', 'C라인 치수 검사기', 'inspection', 'SeeTech', '2021-08-12', 60, 800.0, 0.6),
		('E01-M01', 'L01', '1호기 메인 프레스', 'machine', 'Hanil', '2018-05-30', 30, 320.0, 1.5),
		('E01-M02', 'L01', '1호기 보조 프레스', 'machine', 'Hanil', '2018-05-30', 30, 380.0, 1.2),
		('E02-M01', 'L02', '2호기 가공기', 'machine', 'Daesung', '2019-02-11', 30, 360.0, 1.3),
		('EQ_MIXER_01', 'L02', '2호기 믹서', 'machine', 'Mirae', '2020-07-07', 45, 450.0, 1.1),
		('E03-M01', 'L03', '3호기 포장기', 'machine', 'Packers', '2021-10-25', 30, 480.0, 0.9),
		('E03-C01', 'L03', '3호기 컨베이어', 'conveyor', 'Mirae', '2021-10-25', 45, 700.0, 0.6)
	) AS e(code, line_code, name, type, vendor, installed, cycle, mtbf, mttr)
) AS v;

INSERT INTO dim_kpi (kpi_code, name, category, unit, default_target, green_threshold, yellow_threshold, red_threshold,
					 higher_is_better, aggregation_method) VALUES
	('defect_rate', '불량률', 'quality', 'ratio', 0.03, 0.02, 0.03, 0.05, false, 'ratio'),
	('oee', '종합설비효율', 'efficiency', 'ratio', 0.85, 0.85, 0.75, 0.65, true, 'ratio'),
	('cycle_time', '사이클타임', 'efficiency', 'seconds', 45, 45, 50, 60, false, 'weighted average'),
	('inventory_cov', '재고 커버리지', 'inventory', 'days', 7, 7, 10, 14, false, 'ratio');
\else
DELETE FROM fact_daily_defect AS f USING scene AS s WHERE f.date >= s.first_day;
DELETE FROM fact_daily_production AS f USING scene AS s WHERE f.date >= s.first_day;
DELETE FROM fact_hourly_production AS f USING scene AS s
WHERE f.hour_timestamp >= s.first_day::timestamp AT TIME ZONE 'Asia/Seoul';
DELETE FROM fact_inventory_snapshot AS f USING scene AS s WHERE f.date >= s.first_day;
DELETE FROM fact_equipment_event AS f USING scene AS s WHERE f.date >= s.first_day;
\endif

-- The incidents: Wednesday of last week and Thursday of the week before, or the last workday till then.
UPDATE scene SET
	die_wear_day = coalesce((SELECT max(date) FROM dim_date WHERE date BETWEEN last_week AND last_week + 2 AND NOT is_holiday),
							last_week + 2),
	drive_stop_day = coalesce((SELECT max(date) FROM dim_date WHERE date BETWEEN last_week - 7 AND last_week - 4 AND NOT is_holiday),
							  last_week - 4);

-- What each line makes: its share of the line's time and the seconds a unit takes there.
CREATE TEMP TABLE run AS
SELECT p.line_code, d.product_code, d.subcategory AS family, v.share / s.scale AS share,
	   round(d.target_cycle_time_sec / p.stations, 3) AS takt
FROM scene AS s, line_profile AS p
JOIN (VALUES ('LINE-A', 'PROD-123', 0.6), ('LINE-A', 'P001', 0.4), ('LINE-B', 'PROD-123', 0.45), ('LINE-B', 'P002', 0.55),
			 ('LINE-C', 'P003', 0.7), ('LINE-C', 'PROD-123', 0.3), ('L01', 'P001', 0.65), ('L01', 'P002', 0.35),
			 ('L02', 'P002', 0.5), ('L02', 'P003', 0.5), ('L03', 'P001', 0.55), ('L03', 'P003', 0.45)
	 ) AS v(line_code, family, share) USING (line_code)
JOIN dim_product AS d ON d.subcategory = v.family;

-- One row for an hour, line and product; times first, then what they yield.
CREATE TEMP TABLE hour_row AS
WITH clock AS (
	SELECT s.seed, s.die_wear_day, s.drive_stop_day, d.date, d.is_weekend OR d.is_holiday AS is_off, hour,
		   CASE WHEN hour < 8 THEN 'night' WHEN hour < 16 THEN 'day' ELSE 'evening' END AS shift,
		   least(1, extract(epoch FROM s.moment - (d.date + make_interval(hours => hour))) / 3600)::float8 AS elapsed,
		   greatest(0, least(1, (d.date - s.drift_from)::float8 / (s.today - s.drift_from))) AS drift
	FROM scene AS s
	JOIN dim_date AS d ON d.date BETWEEN s.first_day AND s.today, generate_series(0, 23) AS hour
	WHERE d.date + make_interval(hours => hour) < s.moment
), shop AS (
	SELECT c.*, p.line_code, p.defect_rate, p.day_noise, p.down_share, p.speed,
		   60 * c.elapsed * CASE WHEN c.is_off THEN p.weekend ELSE 1 END
			  * CASE c.shift WHEN 'day' THEN 1 WHEN 'evening' THEN 0.96 ELSE 0.9 END AS line_minutes,
		   pg_temp.u(c.seed, 'down', p.line_code, (c.date - '2000-01-01')::text, c.hour::text) AS u_down,
		   pg_temp.u(c.seed, 'down day', p.line_code, (c.date - '2000-01-01')::text) AS u_down_day,
		   pg_temp.u(c.seed, 'day', p.line_code, (c.date - '2000-01-01')::text) AS u_day,
		   CASE WHEN p.line_code = 'LINE-B' AND c.date = c.drive_stop_day AND c.hour BETWEEN 10 AND 15 THEN 1
				WHEN p.line_code = 'L01' AND c.date = c.die_wear_day + 1 AND c.hour = 5 THEN 1
				WHEN p.line_code = 'L01' AND c.date = c.die_wear_day + 1 AND c.hour = 6 THEN 0.58
				ELSE 0 END AS stopped
	FROM clock AS c, line_profile AS p
), timed AS (
	SELECT h.*, r.product_code, r.takt, h.line_minutes * r.share AS minutes,
		   greatest(h.stopped, h.down_share * (0.6 + 0.8 * h.u_down_day) * 2.5 * h.u_down ^ 1.5) AS down,
		   r.takt / h.speed * (0.97 + 0.06 * pg_temp.u(h.seed, 'cycle', h.line_code, r.product_code,
													   (h.date - '2000-01-01')::text, h.hour::text)) AS cycle,
		   h.line_code = 'L01' AND r.family = 'P001'
			AND h.date + make_interval(hours => h.hour) >= h.die_wear_day + interval '8 hours'
			AND h.date + make_interval(hours => h.hour) < h.die_wear_day + interval '29 hours' AS die_worn
	FROM shop AS h
	JOIN run AS r USING (line_code)
), made AS (
	SELECT t.*, round((t.minutes * t.down)::numeric, 2) AS downtime,
		   round((t.minutes * (1 - t.down))::numeric, 2) AS runtime,
		   floor(t.minutes * (1 - t.down) * 60 / t.cycle
				 + CASE WHEN t.down < 1 THEN pg_temp.u(t.seed, 'unit', t.line_code, t.product_code,
													   (t.date - '2000-01-01')::text, t.hour::text) ELSE 0 END)::int AS total,
		   CASE WHEN t.die_worn THEN 0.12
				ELSE t.defect_rate * (1 + t.day_noise * (2 * t.u_day - 1))
					 * CASE t.shift WHEN 'day' THEN 0.9 WHEN 'evening' THEN 1 ELSE 1.12 END
					 * CASE WHEN t.line_code = 'LINE-C' THEN 1 + 1.4 * t.drift ELSE 1 END END AS rate
	FROM timed AS t
), counted AS (
	-- Rounding the running total, not each hour, keeps the day's rate.
	SELECT m.*, sum(m.total * m.rate) OVER day AS defects_to_here,
		   pg_temp.u(m.seed, 'defect', m.line_code, m.product_code, (m.date - '2000-01-01')::text) AS u_defect
	FROM made AS m
	WINDOW day AS (PARTITION BY m.date, m.line_code, m.product_code ORDER BY m.hour)
)
SELECT date, hour, shift, line_code, product_code, takt, total, runtime, downtime, round(cycle::numeric, 3) AS cycle,
	   (floor(defects_to_here + u_defect) - floor(defects_to_here - total * rate + u_defect))::int AS defects,
	   minutes * 60 / takt * 0.82 AS planned, die_worn, line_code = 'LINE-C' AS drifts, drift
FROM counted
WHERE minutes > 0;

INSERT INTO fact_hourly_production (hour_timestamp, line_code, product_code, total_qty, good_qty, defect_qty,
									cycle_time_avg, runtime_minutes, downtime_minutes)
SELECT (date + make_interval(hours => hour)) AT TIME ZONE 'Asia/Seoul', line_code, product_code,
	   total, total - defects, defects, CASE WHEN total > 0 THEN cycle END, runtime, downtime
FROM hour_row;

INSERT INTO fact_daily_production (date, line_code, product_code, shift, total_qty, good_qty, defect_qty, rework_qty, scrap_qty,
								   cycle_time_avg, cycle_time_std, runtime_minutes, downtime_minutes, setup_time_minutes,
								   planned_qty, target_cycle_time, work_order_count, operator_count)
SELECT date, line_code, product_code, shift, total, total - defects, defects, rework, defects - rework,
	   cycle, round(cycle * 0.04, 3), runtime, downtime, round(downtime * 0.3, 2), planned, takt,
	   1 + total / 400, stations * 2
FROM (
	SELECT s.seed, h.date, h.line_code, h.product_code, h.shift, min(h.takt) AS takt, sum(h.total)::int AS total,
		   sum(h.defects)::int AS defects, sum(h.runtime) AS runtime, sum(h.downtime) AS downtime,
		   round(sum(h.cycle * h.total) / nullif(sum(h.total), 0), 3) AS cycle, round(sum(h.planned)) AS planned,
		   floor(sum(h.defects) * 0.6 + pg_temp.u(s.seed, 'rework', h.line_code, h.product_code, h.shift,
												  (h.date - '2000-01-01')::text))::int AS rework
	FROM scene AS s, hour_row AS h
	GROUP BY s.seed, h.date, h.line_code, h.product_code, h.shift
) AS day
JOIN line_profile USING (line_code);

-- A day's defects are dealt out to the types by their running shares, so none is lost.
INSERT INTO fact_daily_defect (date, line_code, product_code, shift, defect_type, defect_qty, defect_cost, root_cause,
							   countermeasure, responsible_dept)
WITH kind (position, defect_type, usual, worn, cause, cure, department) AS (
	VALUES (1, 'scratch', 0.34, 0.55, '이송 중 접촉', '지그 보호 패드 교체', '생산팀'),
		   (2, 'dimension', 0.26, 0.45, '공구 마모', '공구 보정 및 교체 주기 점검', '설비보전팀'),
		   (3, 'dent', 0.18, 0, '취급 불량', '작업 표준 재교육', '생산팀'),
		   (4, 'crack', 0.08, 0, '소재 결함', '입고 검사 강화', '품질팀'),
		   (5, 'other', 0.14, 0, NULL, NULL, '품질팀')
), batch AS (
	SELECT h.date, h.line_code, h.product_code, h.shift, sum(h.defects) AS defects, bool_or(h.die_worn) AS die_worn,
		   max(CASE WHEN h.drifts THEN 1.4 * h.drift ELSE 0 END) AS extra, p.standard_cost,
		   pg_temp.u(s.seed, 'type', h.line_code, h.product_code, h.shift, (h.date - '2000-01-01')::text) AS u_type
	FROM scene AS s, hour_row AS h
	JOIN dim_product AS p USING (product_code)
	GROUP BY s.seed, h.date, h.line_code, h.product_code, h.shift, p.standard_cost
	HAVING sum(h.defects) > 0
), weighed AS (
	SELECT b.*, k.*, CASE WHEN b.die_worn THEN k.worn
						  ELSE (k.usual + CASE k.defect_type WHEN 'dimension' THEN b.extra ELSE 0 END) / (1 + b.extra) END AS weight
	FROM batch AS b, kind AS k
), dealt AS (
	SELECT w.*, CASE position WHEN 5 THEN 1 ELSE sum(weight) OVER through END AS upper_share,
		   coalesce(sum(weight) OVER (through ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS lower_share
	FROM weighed AS w
	WINDOW through AS (PARTITION BY date, line_code, product_code, shift ORDER BY position)
)
SELECT date, line_code, product_code, shift, defect_type, qty, round(qty * standard_cost * 0.35, 2),
	   CASE WHEN die_worn THEN '금형 마모 (die wear)' ELSE cause END,
	   CASE WHEN die_worn THEN '라인 정지, 금형 교체 후 재가동' ELSE cure END,
	   CASE WHEN die_worn THEN '설비보전팀' ELSE department END
FROM (SELECT *, (floor(upper_share * defects + u_type) - floor(lower_share * defects + u_type))::int AS qty FROM dealt) AS d
WHERE qty > 0;

INSERT INTO fact_equipment_event (date, equipment_code, event_type, event_count, total_duration_minutes,
								  avg_duration_minutes, max_duration_minutes, severity_distribution)
WITH kind (event_type, a_day, minutes, severity) AS (
	VALUES ('alarm', 1.6, 2.0, 'warning'), ('breakdown', 0.03, 24.0, 'critical'), ('maintenance', 0.05, 45.0, 'info'),
		   ('setup', 1.2, 11.0, 'info'), ('idle', 0.8, 7.0, 'info')
), usual AS (
	SELECT d.date, e.equipment_code, k.event_type, k.severity, k.minutes,
		   floor(k.a_day * 2 * pg_temp.u(s.seed, k.event_type, e.equipment_code, (d.date - '2000-01-01')::text)
				 * CASE WHEN d.is_weekend OR d.is_holiday THEN 0.5 ELSE 1 END
				 * least(1, extract(epoch FROM s.moment - d.date::timestamp) / 86400)::float8
				 + pg_temp.u(s.seed, 'more', k.event_type, e.equipment_code, (d.date - '2000-01-01')::text))::int AS count,
		   0.5 + pg_temp.u(s.seed, 'long', k.event_type, e.equipment_code, (d.date - '2000-01-01')::text) AS stretch
	FROM scene AS s
	JOIN dim_date AS d ON d.date BETWEEN s.first_day AND s.today, dim_equipment AS e, kind AS k
	WHERE d.date::timestamp < s.moment
), incident (date, equipment_code, event_type, severity, count, total, longest) AS (
	SELECT die_wear_day, 'E01-M01', 'alarm', 'warning', 14, 35.0, 6.0 FROM scene
	UNION ALL SELECT die_wear_day + 1, 'E01-M01', 'breakdown', 'critical', 1, 95.0, 95.0 FROM scene
	UNION ALL SELECT drive_stop_day, 'EB-M01', 'breakdown', 'critical', 1, 360.0, 360.0 FROM scene
	UNION ALL SELECT drive_stop_day, 'EB-M01', 'alarm', 'warning', 9, 21.0, 5.0 FROM scene
)
SELECT date, equipment_code, event_type, count, total, round(total / count, 2), longest, jsonb_build_object(severity, count)
FROM (
	SELECT date, equipment_code, event_type, severity, count, round((count * minutes * stretch)::numeric, 2) AS total,
		   round((minutes * stretch * CASE WHEN count = 1 THEN 1 ELSE 1.3 END)::numeric, 2) AS longest
	FROM usual AS u
	WHERE count > 0 AND NOT EXISTS (
		SELECT FROM incident AS i
		WHERE (i.date, i.equipment_code, i.event_type) = (u.date, u.equipment_code, u.event_type))
	UNION ALL
	SELECT i.* FROM incident AS i, scene AS s WHERE i.date BETWEEN s.first_day AND s.today
) AS event;

-- Stock falls by what is used and is filled up again, each product in its own rhythm.
INSERT INTO fact_inventory_snapshot (date, product_code, location, stock_qty, safety_stock_qty, reserved_qty, available_qty,
									 in_transit_qty, stock_value, avg_daily_usage, coverage_days)
SELECT date, product_code, location, stock, safety, reserved, stock - reserved,
	   CASE WHEN stock < 1.5 * safety THEN 2 * safety ELSE 0 END, stock * standard_cost, usage,
	   round((stock - reserved) / nullif(usage, 0), 2)
FROM (
	SELECT *, floor(stock * 0.08)::int AS reserved
	FROM (
		SELECT d.date, p.product_code, l.location, p.standard_cost, n.safety,
			   round(n.safety * (3.4 - 2.7 * ((d.date - '2000-01-01' + floor(pg_temp.u(s.seed, 'phase', p.product_code, l.location) * 17)::int)
											  % 17) / 16.0))::int AS stock,
			   CASE WHEN p.subcategory = 'PROD-123' AND l.location = 'WH02' THEN 0
					ELSE round((n.daily * (0.9 + 0.2 * pg_temp.u(s.seed, 'usage', p.product_code, l.location,
																 (d.date - '2000-01-01')::text)))::numeric, 2) END AS usage
		FROM scene AS s
		JOIN dim_date AS d ON d.date BETWEEN s.first_day AND s.today, dim_product AS p,
			 (VALUES ('WH01', 0.7), ('WH02', 0.3)) AS l(location, part),
			 LATERAL (SELECT daily, round(daily * 4)::int AS safety
					  FROM (SELECT sum(r.share * 86400 / r.takt) * 0.7 * l.part AS daily
							FROM run AS r WHERE r.product_code = p.product_code) AS made) AS n
		WHERE d.date::timestamp < s.moment
	) AS filled
) AS stocked;

DROP TABLE scene, line_profile, run, hour_row;
RESET jit;
ANALYZE dim_date, dim_line, dim_product, dim_equipment, dim_kpi, dim_shift, fact_daily_production, fact_daily_defect,
		fact_hourly_production, fact_inventory_snapshot, fact_equipment_event;
