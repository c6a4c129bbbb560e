-- views.sql: for bench/views; needs the loaded plant and the variable rounds.
\set ON_ERROR_STOP 1
SET client_min_messages = warning;
VACUUM ANALYZE;

CREATE TEMP TABLE question (n int GENERATED ALWAYS AS IDENTITY, view regclass, asked text, condition text);
INSERT INTO question (view, asked, condition) VALUES
	('mv_oee_daily', 'a line, 7 days', $$line_code = 'L01' AND date > (factory.clock_now() AT TIME ZONE 'Asia/Seoul')::date - 7$$),
	('mv_defect_trend_hourly', 'a line, 7 days', $$line_code = 'L01' AND date > (factory.clock_now() AT TIME ZONE 'Asia/Seoul')::date - 7$$),
	('mv_line_performance_daily', 'a line, 7 days', $$line_code = 'L01' AND date > (factory.clock_now() AT TIME ZONE 'Asia/Seoul')::date - 7$$),
	('mv_inventory_coverage_daily', 'a product, 7 days', $$product_code = 'P001' AND date > (factory.clock_now() AT TIME ZONE 'Asia/Seoul')::date - 7$$),
	('mv_oee_daily', 'all', 'true'), ('mv_defect_trend_hourly', 'all', 'true'),
	('mv_line_performance_daily', 'all', 'true'), ('mv_inventory_coverage_daily', 'all', 'true');
REFRESH MATERIALIZED VIEW mv_oee_daily;
REFRESH MATERIALIZED VIEW mv_defect_trend_hourly;
REFRESH MATERIALIZED VIEW mv_line_performance_daily;
REFRESH MATERIALIZED VIEW mv_inventory_coverage_daily;
VACUUM ANALYZE mv_oee_daily, mv_defect_trend_hourly, mv_line_performance_daily, mv_inventory_coverage_daily;

CREATE FUNCTION pg_temp.time_of(query text) RETURNS float8 LANGUAGE plpgsql AS $$
DECLARE
	told json;
BEGIN
	EXECUTE 'EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) ' || query INTO told;
	RETURN (told -> 0 ->> 'Planning Time')::float8 + (told -> 0 ->> 'Execution Time')::float8;
END $$;

CREATE TEMP TABLE timing (n int, way text, ms float8);
SELECT set_config('bench.rounds', :'rounds', false) \g /dev/null
DO $$
DECLARE
	q record;
	by_view text;
	directly text;
	differ bigint;
BEGIN
	FOR q IN SELECT * FROM question LOOP
		by_view := format('SELECT * FROM %s WHERE %s', q.view, q.condition);
		directly := format('SELECT * FROM (%s) AS direct WHERE %s', rtrim(pg_get_viewdef(q.view), ';'), q.condition);
		EXECUTE format('SELECT count(*) FROM ((%s EXCEPT %s) UNION ALL (%2$s EXCEPT %1$s)) AS other', by_view, directly) INTO differ;
		IF differ > 0 THEN
			RAISE EXCEPTION '% rows of % are not what its query says', differ, q.view;
		END IF;
		FOR round IN 1 .. current_setting('bench.rounds')::int LOOP
			INSERT INTO timing VALUES (q.n, 'view', pg_temp.time_of(by_view)), (q.n, 'direct', pg_temp.time_of(directly));
		END LOOP;
	END LOOP;
END $$;

SELECT relname AS facts, n_live_tup AS rows FROM pg_stat_user_tables WHERE relname LIKE 'fact%' ORDER BY 1;
SELECT q.view, q.asked, round(t.direct::numeric, 2) AS direct_ms, round(t.view::numeric, 3) AS view_ms,
	round((t.direct / t.view)::numeric, 1) AS times_faster
FROM question AS q, LATERAL (SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY ms) FILTER (WHERE way = 'direct') AS direct,
	percentile_cont(0.5) WITHIN GROUP (ORDER BY ms) FILTER (WHERE way = 'view') AS view FROM timing AS t WHERE t.n = q.n) AS t
ORDER BY q.n;
