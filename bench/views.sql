-- views.sql: for bench/views; needs the loaded plant and the variable rounds.
\set ON_ERROR_STOP 1
SET client_min_messages = warning;
VACUUM ANALYZE;

-- All of a view: what its query computes, and every dashboard that shows it would compute
-- again.  A line's last seven days: of that the facts' own indexes find the few rows, so
-- there is less to save, and nothing where a view has a row for each of its facts.
CREATE TEMP TABLE question (n int GENERATED ALWAYS AS IDENTITY, view regclass, asked text, condition text);
INSERT INTO question (view, asked, condition)
SELECT view, 'all', 'true'
FROM unnest('{mv_oee_daily,mv_defect_trend_hourly,mv_line_performance_daily,mv_inventory_coverage_daily}'::regclass[]) AS view;
INSERT INTO question (view, asked, condition)
SELECT view, format('a %s, 7 days', split_part(thing, '_', 1)),
	format($$tenant_id = 'default' AND %I = %L AND date > (factory.clock_now() AT TIME ZONE 'Asia/Seoul')::date - 7$$, thing, name)
FROM (VALUES ('mv_oee_daily'::regclass, 'line_code', 'L01'), ('mv_defect_trend_hourly', 'line_code', 'L01'),
	('mv_line_performance_daily', 'line_code', 'L01'), ('mv_inventory_coverage_daily', 'product_code', 'P001')) AS narrow (view, thing, name);
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

SELECT format('each view answers at least %s times faster than the query it stands for; 11 are wanted: %s',
	round(min(times)::numeric, 1), CASE WHEN min(times) >= 11 THEN 'so it is' ELSE 'MISSED' END) AS verdict
FROM (SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY ms) FILTER (WHERE way = 'direct')
		/ percentile_cont(0.5) WITHIN GROUP (ORDER BY ms) FILTER (WHERE way = 'view') AS times
	FROM timing JOIN question USING (n) WHERE asked = 'all' GROUP BY n) AS t;
