-- views.sql: the four materialized views, each with the unique index that lets it be
-- refreshed concurrently.  Empty until the first refresh.
--
-- Facts of different grain are summed before they are joined, so that no total is
-- multiplied; ratios are sums over sums; days are the plant's (Asia/Seoul).

CREATE MATERIALIZED VIEW mv_oee_daily AS
SELECT tenant_id, date, line_code, shift, total_qty, good_qty, defect_qty,
	   runtime_minutes, downtime_minutes, ideal_minutes,
	   availability, performance, quality,
	   round(availability * performance * quality, 6) AS oee
FROM (
	SELECT tenant_id, date, line_code, shift,
		   sum(total_qty) AS total_qty, sum(good_qty) AS good_qty, sum(defect_qty) AS defect_qty,
		   sum(runtime_minutes) AS runtime_minutes, sum(downtime_minutes) AS downtime_minutes,
		   round(sum(total_qty * target_cycle_time) / 60, 2) AS ideal_minutes,
		   coalesce(round(sum(runtime_minutes) / nullif(sum(runtime_minutes + downtime_minutes), 0), 6), 0) AS availability,
		   coalesce(round(sum(total_qty * target_cycle_time) / 60 / nullif(sum(runtime_minutes), 0), 6), 0) AS performance,
		   coalesce(round(sum(good_qty)::numeric / nullif(sum(total_qty), 0), 6), 0) AS quality
	FROM fact_daily_production
	WHERE date > (factory.clock_now() AT TIME ZONE 'Asia/Seoul')::date - 90
	GROUP BY tenant_id, date, line_code, shift
) AS day
WITH NO DATA;
CREATE UNIQUE INDEX mv_oee_daily_key ON mv_oee_daily (tenant_id, date, line_code, shift);
CREATE INDEX mv_oee_daily_line ON mv_oee_daily (tenant_id, line_code, date);
COMMENT ON MATERIALIZED VIEW mv_oee_daily IS 'OEE and its parts by day, line and shift, last 90 days; ideal minutes are weighted by quantity';

CREATE MATERIALIZED VIEW mv_defect_trend_hourly AS
WITH hourly AS (
	SELECT f.tenant_id, f.hour_timestamp,
		   (f.hour_timestamp AT TIME ZONE 'Asia/Seoul')::date AS date,
		   (f.hour_timestamp AT TIME ZONE 'Asia/Seoul')::time AS time,
		   f.line_code, f.product_code, f.total_qty, f.good_qty, f.defect_qty,
		   -- 168 hours of this clock: an hour without production is no row, yet it counts.
		   sum(f.defect_qty) OVER week AS defect_qty_7d,
		   sum(f.total_qty) OVER week AS total_qty_7d
	FROM fact_hourly_production AS f
	WHERE f.hour_timestamp >= ((factory.clock_now() AT TIME ZONE 'Asia/Seoul')::date - 96)::timestamp AT TIME ZONE 'Asia/Seoul'
	WINDOW week AS (PARTITION BY f.tenant_id, f.line_code, f.product_code ORDER BY f.hour_timestamp
					RANGE BETWEEN interval '167 hours' PRECEDING AND CURRENT ROW)
), top_types AS (
	SELECT tenant_id, date, line_code, product_code, shift,
		   (array_agg(defect_type ORDER BY defect_qty DESC, defect_type))[1:3] AS top_defect_types
	FROM fact_daily_defect
	WHERE defect_qty > 0
	  AND date > (factory.clock_now() AT TIME ZONE 'Asia/Seoul')::date - 90
	GROUP BY tenant_id, date, line_code, product_code, shift
)
SELECT h.tenant_id, h.hour_timestamp, h.date, h.line_code, h.product_code, s.shift_code AS shift,
	   h.total_qty, h.good_qty, h.defect_qty,
	   round(h.defect_qty::numeric / nullif(h.total_qty, 0), 6) AS defect_rate,
	   round(h.defect_qty_7d::numeric / nullif(h.total_qty_7d, 0), 6) AS defect_rate_7d,
	   coalesce(t.top_defect_types, '{}') AS top_defect_types
FROM hourly AS h
JOIN dim_shift AS s ON s.tenant_id = h.tenant_id AND h.time >= s.start_time AND h.time < s.end_time
LEFT JOIN top_types AS t
	   ON t.tenant_id = h.tenant_id AND t.date = h.date AND t.line_code = h.line_code
	  AND t.product_code = h.product_code AND t.shift = s.shift_code
WHERE h.date > (factory.clock_now() AT TIME ZONE 'Asia/Seoul')::date - 90
WITH NO DATA;
CREATE UNIQUE INDEX mv_defect_trend_hourly_key ON mv_defect_trend_hourly (tenant_id, hour_timestamp, line_code, product_code);
CREATE INDEX mv_defect_trend_hourly_line ON mv_defect_trend_hourly (tenant_id, line_code, date);
COMMENT ON MATERIALIZED VIEW mv_defect_trend_hourly IS 'defects by hour, line and product, last 90 days; sum quantities, never average rates';
COMMENT ON COLUMN mv_defect_trend_hourly.defect_rate IS 'NULL where nothing was made';
COMMENT ON COLUMN mv_defect_trend_hourly.defect_rate_7d IS 'defects over units of the 168 hours that end with this one, same line and product';
COMMENT ON COLUMN mv_defect_trend_hourly.top_defect_types IS 'the three most frequent types of this day, line, product and shift';

CREATE MATERIALIZED VIEW mv_line_performance_daily AS
WITH production AS (
	SELECT tenant_id, date, line_code,
		   sum(total_qty) AS total_qty, sum(good_qty) AS good_qty, sum(defect_qty) AS defect_qty,
		   sum(rework_qty) AS rework_qty, sum(scrap_qty) AS scrap_qty, sum(planned_qty) AS planned_qty,
		   sum(runtime_minutes) AS runtime_minutes, sum(downtime_minutes) AS downtime_minutes,
		   sum(total_qty * target_cycle_time) / 60 AS ideal_minutes,
		   count(DISTINCT product_code) FILTER (WHERE total_qty > 0) AS product_variety
	FROM fact_daily_production
	WHERE date > (factory.clock_now() AT TIME ZONE 'Asia/Seoul')::date - 90
	GROUP BY tenant_id, date, line_code
), events AS (
	SELECT v.tenant_id, v.date, e.line_code,
		   sum(v.event_count) FILTER (WHERE v.event_type = 'alarm') AS alarm_count,
		   sum(v.event_count) FILTER (WHERE v.event_type = 'breakdown') AS breakdown_count
	FROM fact_equipment_event AS v
	JOIN dim_equipment AS e USING (tenant_id, equipment_code)
	WHERE v.date > (factory.clock_now() AT TIME ZONE 'Asia/Seoul')::date - 90
	GROUP BY v.tenant_id, v.date, e.line_code
), parts AS (
	SELECT *,
		   coalesce(round(runtime_minutes / nullif(runtime_minutes + downtime_minutes, 0), 6), 0) AS availability,
		   coalesce(round(ideal_minutes / nullif(runtime_minutes, 0), 6), 0) AS performance,
		   coalesce(round(good_qty::numeric / nullif(total_qty, 0), 6), 0) AS quality
	FROM production
)
SELECT p.tenant_id, p.date, p.line_code, p.total_qty, p.good_qty, p.defect_qty,
	   p.rework_qty, p.scrap_qty, p.planned_qty,
	   round(p.defect_qty::numeric / nullif(p.total_qty, 0), 6) AS defect_rate,
	   p.runtime_minutes, p.downtime_minutes, round(p.ideal_minutes, 2) AS ideal_minutes,
	   p.availability, p.performance, p.quality,
	   round(p.availability * p.performance * p.quality, 6) AS oee,
	   p.product_variety,
	   coalesce(v.alarm_count, 0) AS alarm_count, coalesce(v.breakdown_count, 0) AS breakdown_count
FROM parts AS p
LEFT JOIN events AS v USING (tenant_id, date, line_code)
WITH NO DATA;
CREATE UNIQUE INDEX mv_line_performance_daily_key ON mv_line_performance_daily (tenant_id, date, line_code);
CREATE INDEX mv_line_performance_daily_line ON mv_line_performance_daily (tenant_id, line_code, date);
COMMENT ON MATERIALIZED VIEW mv_line_performance_daily IS 'output, OEE, alarms and breakdowns by day and line, last 90 days';
COMMENT ON COLUMN mv_line_performance_daily.defect_rate IS 'NULL where nothing was made';

CREATE MATERIALIZED VIEW mv_inventory_coverage_daily AS
SELECT tenant_id, date, product_code, location, stock_qty, safety_stock_qty, available_qty, avg_daily_usage,
	   round(available_qty / nullif(avg_daily_usage, 0), 2) AS coverage_days,
	   CASE WHEN stock_qty < safety_stock_qty THEN 'below_safety'
			WHEN stock_qty < 1.5 * safety_stock_qty THEN 'low'
			WHEN stock_qty > 3 * safety_stock_qty THEN 'excess'
			ELSE 'normal' END AS stock_status
FROM fact_inventory_snapshot
WHERE date > (factory.clock_now() AT TIME ZONE 'Asia/Seoul')::date - 30
WITH NO DATA;
CREATE UNIQUE INDEX mv_inventory_coverage_daily_key ON mv_inventory_coverage_daily (tenant_id, date, product_code, location);
CREATE INDEX mv_inventory_coverage_daily_product ON mv_inventory_coverage_daily (tenant_id, product_code, date);
COMMENT ON MATERIALIZED VIEW mv_inventory_coverage_daily IS 'stock against safety stock and usage by day, product and place, last 30 days';
