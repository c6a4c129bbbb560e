-- Questions in Korean and English over a small plant whose numbers one can check in the head.
\set VERBOSITY terse
\set QUIET on
\pset format unaligned
\pset tuples_only on
SET client_min_messages = warning;
-- A Thursday morning in Korea.
SET factory.frozen_clock = '2026-01-15 09:30:00+09';
SET TimeZone = 'UTC';
CREATE SCHEMA plant;
SET search_path = plant;
SET factory.reader_search_path = 'plant';

CREATE TABLE dim_date (date date PRIMARY KEY);
CREATE TABLE dim_line (tenant_id text DEFAULT 'default', line_code text, name text, category text, department text);
INSERT INTO dim_line (line_code, name, category, department) VALUES ('LINE-A', 'A라인 조립', 'assembly', '생산1팀'),
	('LINE-B', 'B라인 가공', 'processing', '생산1팀'), ('LINE-C', 'C라인 검사', 'inspection', '생산1팀'),
	('L01', '1호기 조립라인', 'assembly', '생산2팀'), ('L02', '2호기 가공라인', 'processing', '생산2팀'), ('L03', '3호기 포장라인', 'packaging', '생산2팀');
CREATE TABLE dim_product (tenant_id text DEFAULT 'default', product_code text, name text, name_en text);
INSERT INTO dim_product (product_code, name, name_en) VALUES ('P001', '제품A', 'Product A'), ('P002', '제품B', 'Product B'),
	('P003', '제품C', 'Product C'), ('PROD-123', '제품 123', 'Product 123');
CREATE TABLE dim_shift (shift_code text);

-- Every line makes 100 a shift on two shifts a day.  Defects by day: on LINE-A as many
-- as the day of the month, on the others their place in the list; by night none.
CREATE TABLE fact_daily_production AS
SELECT tenant_id, d::date AS date, line_code, product_code, shift, 100 AS total_qty, 100 - defect_qty AS good_qty, defect_qty,
	   1 AS rework_qty, 2 AS scrap_qty, 45.0 AS cycle_time_avg, 450 AS runtime_minutes, 50 AS downtime_minutes,
	   125 AS planned_qty, 216.0 AS target_cycle_time
FROM generate_series(date '2025-10-20', date '2026-01-15', '1 day') AS d,
	 (VALUES ('LINE-A', 'P001', 0), ('LINE-B', 'PROD-123', 2), ('LINE-C', 'P003', 3), ('L01', 'P002', 4), ('L02', 'P003', 5),
			 ('L03', 'P001', 6)) AS l(line_code, product_code, place),
	 (VALUES ('day'), ('night')) AS s(shift),
	 (VALUES ('default'), ('other')) AS t(tenant_id),
	 LATERAL (SELECT CASE WHEN shift = 'night' THEN 0 WHEN line_code = 'LINE-A' THEN extract(day FROM d)::int ELSE place END AS defect_qty) q;
CREATE TABLE fact_daily_defect AS
SELECT tenant_id, date, line_code, product_code, shift, k.defect_type, CASE k.defect_type WHEN 'scratch' THEN defect_qty - 1 ELSE 1 END AS defect_qty,
	   1000 AS defect_cost
FROM fact_daily_production, (VALUES ('scratch'), ('dimension')) AS k(defect_type) WHERE defect_qty > 0;
CREATE TABLE fact_hourly_production AS
SELECT tenant_id, (date + CASE shift WHEN 'day' THEN interval '9 hours' ELSE interval '21 hours' END) AT TIME ZONE 'Asia/Seoul' AS hour_timestamp,
	   line_code, product_code, total_qty, good_qty, defect_qty, cycle_time_avg, runtime_minutes, downtime_minutes
FROM fact_daily_production;
CREATE TABLE fact_inventory_snapshot AS
SELECT 'default' AS tenant_id, d::date AS date, product_code, location, 100 * extract(day FROM d)::int AS stock_qty, 300 AS safety_stock_qty,
	   50 * extract(day FROM d)::int AS available_qty, 25 AS avg_daily_usage
FROM generate_series(date '2026-01-01', date '2026-01-15', '1 day') AS d, (VALUES ('P001'), ('P002')) AS p(product_code),
	 (VALUES ('WH01'), ('WH02')) AS l(location);
CREATE TABLE fact_equipment_event (tenant_id text, date date, equipment_code text, event_type text, event_count int);
CREATE MATERIALIZED VIEW mv_oee_daily AS
SELECT tenant_id, date, line_code, shift, sum(total_qty) AS total_qty, sum(good_qty) AS good_qty, sum(defect_qty) AS defect_qty,
	   sum(runtime_minutes) AS runtime_minutes, sum(downtime_minutes) AS downtime_minutes, sum(total_qty * target_cycle_time) / 60 AS ideal_minutes
FROM fact_daily_production WHERE date > date '2025-10-17' AND date < date '2026-01-15' GROUP BY 1, 2, 3, 4;
CREATE MATERIALIZED VIEW mv_line_performance_daily AS
SELECT tenant_id, date, line_code, sum(total_qty) AS total_qty, sum(good_qty) AS good_qty, sum(defect_qty) AS defect_qty, sum(scrap_qty) AS scrap_qty,
	   sum(rework_qty) AS rework_qty, sum(planned_qty) AS planned_qty, sum(runtime_minutes) AS runtime_minutes,
	   sum(downtime_minutes) AS downtime_minutes, sum(total_qty * target_cycle_time) / 60 AS ideal_minutes
FROM fact_daily_production WHERE date > date '2025-10-17' AND date < date '2026-01-15' GROUP BY 1, 2, 3;
CREATE MATERIALIZED VIEW mv_defect_trend_hourly AS
SELECT *, CASE extract(hour FROM hour_timestamp AT TIME ZONE 'Asia/Seoul') WHEN 9 THEN 'day' ELSE 'night' END AS shift FROM fact_hourly_production;
CREATE MATERIALIZED VIEW mv_inventory_coverage_daily AS SELECT * FROM fact_inventory_snapshot;
GRANT USAGE ON SCHEMA plant TO factory_reader;
GRANT SELECT ON ALL TABLES IN SCHEMA plant TO factory_reader;

-- Without a catalogue there is nothing to ask.
SELECT factory.ask('OEE');
\getenv srcdir PG_ABS_SRCDIR
\set file :srcdir '/demo/catalog.json'
\set document `cat :'file'`
SELECT factory.load_catalog(:'document'::jsonb);
SELECT factory.load_catalog(:'document'::jsonb);
SELECT domain, version FROM factory.catalog ORDER BY version;

-- One question as one line: what was understood, and the rows.
CREATE FUNCTION pg_temp.say(question text, context jsonb DEFAULT NULL, shown int DEFAULT 2) RETURNS text LANGUAGE sql AS $$
	SELECT question || E'\n  '
		|| CASE WHEN a->'clarification' <> 'null' THEN 'asks: ' || (a#>>'{clarification,question}') || ' ' || coalesce(left(a#>>'{clarification,choices,0}', 40), '')
		   ELSE concat_ws(' ', (SELECT string_agg(m->>'name', '+') FROM jsonb_array_elements(a#>'{plan,metrics}') m),
			'by ' || nullif((SELECT string_agg(d, ',') FROM jsonb_array_elements_text(a#>'{plan,dimensions}') d), ''),
			'where ' || nullif((SELECT string_agg((f->>'field') || '=' || (SELECT string_agg(v, '|') FROM jsonb_array_elements_text(f->'values') v), ',')
				FROM jsonb_array_elements(a->'filters') f), ''),
			'in ' || (a#>>'{period,from}') || '..' || (a#>>'{period,until}') || CASE WHEN (a#>>'{period,assumed}')::bool THEN ' (assumed)' ELSE '' END,
			'from ' || (a->>'dataset'), 'as ' || (a#>>'{chart,usermeta,type}'), '(' || (a->>'source') || ')')
		   || E'\n  ' || (a->>'row_count') || ' rows: '
		   || coalesce((SELECT string_agg(r::text, ' ' ORDER BY n) FROM jsonb_array_elements(a->'rows') WITH ORDINALITY AS x(r, n) WHERE n <= shown), '')
		   || coalesce(E'\n  and ' || (a#>>'{more,0,row_count}') || ' rows: ' || (a#>>'{more,0,rows}') || ' as ' || (a#>>'{more,0,chart,usermeta,type}'), '')
		   || coalesce(E'\n  ' || (a->>'message'), '') END
	FROM factory.ask(question, context) AS a
$$;

-- The 32 sample questions.
SELECT pg_temp.say('지난 7일간 LINE-A 불량률', shown => 7);
SELECT pg_temp.say('지난 7일간 LINE-A의 일별 생산량과 불량률을 보여줘');
SELECT pg_temp.say('오늘 전체 라인 불량률', shown => 6);
SELECT pg_temp.say('지난 달 OEE 트렌드');
SELECT pg_temp.say('라인별 평균 생산량 비교');
SELECT pg_temp.say('PROD-123의 주간 불량 통계', shown => 4);
SELECT pg_temp.say('지난주 L01 불량률 추이 보여줘');
SELECT pg_temp.say('라인별 생산량 비교해줘');
SELECT pg_temp.say('OEE 얼마야?');
SELECT pg_temp.say('지난 30일간 L01 라인의 불량률 추이와 주요 불량 유형별 분포를 보여줘');
SELECT pg_temp.say('어제 LINE-A 생산량 알려줘');
SELECT pg_temp.say('지난주 전체 라인 생산 실적 보여줘');
SELECT pg_temp.say('11월 20일 LINE-B의 PROD-123 생산량은?');
SELECT pg_temp.say('L01 라인 오늘 불량률이 어떻게 되나요?');
SELECT pg_temp.say('지난주 불량률 통계 보여줘');
SELECT pg_temp.say('LINE-B 불량 통계 보여줘');
SELECT pg_temp.say('현재 설비 가동률은?');
SELECT pg_temp.say('L01이랑 L02 불량률 비교해줘');
SELECT pg_temp.say('이번 주 불량 추이 보여줘', shown => 4);
SELECT pg_temp.say('월간 품질 리포트 만들어줘');
SELECT pg_temp.say('오늘 생산량 얼마야?');
SELECT pg_temp.say('A제품 재고 얼마나 있어?');
SELECT pg_temp.say('수율 현황');
SELECT pg_temp.say('전주 대비 어때?');
SELECT pg_temp.say('생산량이랑 불량 같이 보여줘');
SELECT pg_temp.say('L01 불량 상세히 봐줘');
SELECT pg_temp.say('어디가 병목이야?');
SELECT pg_temp.say('지난주 요약해줘');
SELECT pg_temp.say('일일 리포트');
SELECT pg_temp.say('지난 주 생산량을 차트로 보여줘');
SELECT pg_temp.say('데이터 엑셀로 줘');
SELECT pg_temp.say('실적 보여줘');
SELECT pg_temp.say('생산량 알려줘');

-- Spaces, particles, spellings and languages do not matter.
SELECT pg_temp.say('지난7일간 line_a의 불량율은?', shown => 1);
SELECT pg_temp.say('최근 7일 A라인 불량률', shown => 1);
SELECT pg_temp.say('defect rate of line A for the last 7 days', shown => 1);
SELECT pg_temp.say('top 3 lines by defect rate last week', shown => 3);
SELECT pg_temp.say('output by shift yesterday');
SELECT pg_temp.say('지난 3개월 월별 생산량', shown => 3);
SELECT pg_temp.say('2026-01-01 ~ 2026-01-07 라인별 불량수');
SELECT pg_temp.say('2025년 12월 야간 불량수');
SELECT pg_temp.say('어제 시간대별 LINE-A 생산량');
SELECT pg_temp.say('그럼 LINE-B는?', factory.ask('지난 7일간 LINE-A 불량률'), 1);

-- What it does not know, it says.
SELECT pg_temp.say('LINE-D 어제 불량률');
SELECT pg_temp.say('D라인 어제 불량률');
SELECT pg_temp.say('오늘 날씨 어때');
SELECT pg_temp.say('왜 불량이 늘었어?');
SELECT pg_temp.say('불량률 3% 넘으면 알려줘');
SELECT pg_temp.say('제품별 비가동시간 어제');
SELECT pg_temp.say('어제 생산량 vs 그저께 생산량');
SELECT pg_temp.say('2월 30일 생산량');
SELECT pg_temp.say('2031년 3월 생산량');
SELECT pg_temp.say('');
SELECT pg_temp.say('어제 라인 3개 생산량 높은 순', shown => 1);
SELECT pg_temp.say(repeat('라인', 1000));
SELECT pg_temp.say(NULL);
SELECT pg_temp.say('LINE-A''; DROP TABLE dim_line; --');

-- The SQL is there to be read, and runs.
SELECT factory.to_sql('지난주 라인별 불량률 상위 2개');
SELECT factory.to_sql('지난주 라인별 불량률 상위 2개') \gexec
SELECT factory.to_sql('제품별 재고');
SELECT factory.to_sql('어제 시간대별 LINE-A 생산량');
SELECT factory.to_sql('날씨');

-- Charts: two units, two axes.
SELECT jsonb_pretty((factory.ask('지난 2일간 LINE-A 생산량과 불량률') -> 'chart') - 'data');
SELECT factory.ask('어제 라인별 불량수 상위 2개') #> '{chart,data}';

-- One number is shown beside the one before it.
SELECT factory.ask('어제 LINE-A 불량률') -> 'previous';

-- A view that was never filled is not read, nor one that lacks the days asked for.
SELECT factory.ask('어제 LINE-A 생산량') ->> 'dataset', factory.ask('오늘 LINE-A 생산량') ->> 'dataset';
REFRESH MATERIALIZED VIEW mv_line_performance_daily WITH NO DATA;
REFRESH MATERIALIZED VIEW mv_oee_daily WITH NO DATA;
SELECT factory.ask('어제 라인별 OEE') ->> 'dataset';
SELECT factory.ask('2025년 3월 라인별 OEE') -> 'warnings';

-- An analyst may ask, and read nothing else.
CREATE ROLE regress_analyst;
GRANT factory_analyst TO regress_analyst;
SET ROLE regress_analyst;
SELECT factory.ask('어제 LINE-A 불량수') -> 'rows';
BEGIN READ ONLY;
SELECT factory.ask('어제 LINE-A 불량수') -> 'rows';
COMMIT;
SELECT * FROM plant.dim_line;
SELECT * FROM factory.catalog;
SELECT factory.load_catalog('{}');
SET factory.reader_role = 'postgres';
RESET ROLE;
DROP ROLE regress_analyst;

-- A catalogue that is wrong says where.
SELECT factory.load_catalog('[]');
SELECT factory.load_catalog('{"domain": "x", "datasets": {}}');
SELECT factory.load_catalog('{"domain": "x", "datasets": {}, "metrics": {}, "dimension": {}}');
SELECT factory.load_catalog('{"domain": "x", "datasets": {"d": {"relation": "dim_line", "grain": "dya"}}, "metrics": {}}');
SELECT factory.load_catalog('{"domain": "x", "datasets": {"d": {"relation": "nowhere", "grain": "none"}}, "metrics": {}}');
SELECT factory.load_catalog('{"domain": "x", "datasets": {"d": {"relation": "dim_line", "grain": "none"}}, "metrics": {"m": {"sql": "sum(nothing)", "datasets": ["d"]}}}');
SELECT factory.load_catalog('{"domain": "x", "datasets": {"d": {"relation": "dim_line", "grain": "none"}}, "metrics": {"m": {"sql": "line_code", "datasets": ["d"]}}}');
SELECT factory.load_catalog('{"domain": "x", "datasets": {"d": {"relation": "dim_line", "grain": "none"}}, "metrics": {"m": {"sql": "max(pg_read_file(line_code))", "datasets": ["d"]}}}');
SELECT factory.load_catalog('{"domain": "x", "datasets": {"d": {"relation": "dim_line", "grain": "none"}}, "metrics": {"m": {"sql": "count(*)", "datasets": ["e"]}}}');
SELECT factory.load_catalog('{"domain": "x", "timezone": "Mars/Olympus", "datasets": {}, "metrics": {}}');
SELECT factory.load_catalog('{"domain": "x", "datasets": {}, "metrics": {"m": {"sql": 5}}}');
REVOKE SELECT ON dim_line FROM factory_reader;
SELECT factory.load_catalog('{"domain": "x", "datasets": {"d": {"relation": "dim_line", "grain": "none"}}, "metrics": {"m": {"sql": "count(*)", "datasets": ["d"]}}}');

DELETE FROM factory.catalog;
DROP SCHEMA plant CASCADE;
