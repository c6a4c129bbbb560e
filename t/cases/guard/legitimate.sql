SELECT 1
--
SELECT count(*), sum(value), avg(value), min(value), max(value) FROM reading
--
SELECT line_code, round(sum(defect_qty)::numeric / nullif(sum(total_qty), 0), 4) AS rate FROM production GROUP BY line_code ORDER BY rate DESC NULLS LAST
--
SELECT date_trunc('week', date)::date AS week, sum(total_qty) FROM production GROUP BY 1 ORDER BY 1
--
SELECT line_code, date, sum(total_qty) OVER (PARTITION BY line_code ORDER BY date ROWS BETWEEN 6 PRECEDING AND CURRENT ROW) FROM production
--
SELECT date, total_qty - lag(total_qty) OVER (ORDER BY date) AS change, first_value(total_qty) OVER w, ntile(4) OVER w FROM production WINDOW w AS (ORDER BY date)
--
SELECT date, avg(total_qty) OVER (ORDER BY date RANGE BETWEEN interval '7 days' PRECEDING AND CURRENT ROW) FROM production
--
SELECT rank() OVER (ORDER BY sum(total_qty) DESC), line_code FROM production GROUP BY line_code
--
WITH daily AS (SELECT date, sum(total_qty) AS qty FROM production GROUP BY date), ranked AS (SELECT *, row_number() OVER (ORDER BY qty DESC) AS place FROM daily) SELECT * FROM ranked WHERE place <= 3
--
SELECT line_code, shift, sum(total_qty) FROM production GROUP BY GROUPING SETS ((line_code, shift), (line_code), ())
--
SELECT line_code, shift, grouping(line_code, shift), sum(total_qty) FROM production GROUP BY CUBE (line_code, shift)
--
SELECT line_code, sum(total_qty) FROM production GROUP BY ROLLUP (line_code)
--
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY total_qty), percentile_disc(ARRAY[0.25, 0.75]) WITHIN GROUP (ORDER BY total_qty), mode() WITHIN GROUP (ORDER BY shift) FROM production
--
SELECT stddev(total_qty), variance(total_qty), corr(total_qty, defect_qty), regr_slope(defect_qty, total_qty) FROM production
--
SELECT sum(total_qty) FILTER (WHERE shift = 'day') AS day, sum(total_qty) FILTER (WHERE shift = 'night') AS night FROM production
--
SELECT CASE WHEN defect_qty > 10 THEN 'bad' ELSE 'good' END AS grade, count(*) FROM production GROUP BY 1
--
SELECT DISTINCT ON (line_code) line_code, date, total_qty FROM production ORDER BY line_code, date DESC
--
SELECT a.line_code, a.total_qty, b.total_qty FROM production a LEFT JOIN production b ON b.line_code = a.line_code AND b.date = a.date - 7
--
SELECT p.line_code, best.date FROM (SELECT DISTINCT line_code FROM production) p CROSS JOIN LATERAL (SELECT date FROM production q WHERE q.line_code = p.line_code ORDER BY total_qty DESC LIMIT 1) best
--
SELECT line_code FROM production WHERE total_qty > (SELECT avg(total_qty) FROM production)
--
SELECT line_code FROM production UNION SELECT name FROM reading_view
--
SELECT line_code FROM production EXCEPT SELECT 'L01' INTERSECT SELECT 'L02'
--
SELECT d::date, coalesce(sum(total_qty), 0) FROM generate_series(date '2026-01-01', date '2026-01-31', interval '1 day') d LEFT JOIN production ON date = d::date GROUP BY 1
--
SELECT generate_series(1, 100)
--
SELECT d FROM generate_series(current_date - 6, current_date, '1 day') AS d
--
SELECT extract(dow FROM date), extract(hour FROM now()), date_part('month', date), age(date), to_char(date, 'YYYY-MM') FROM production
--
SELECT now() AT TIME ZONE 'Asia/Seoul', current_date, current_timestamp, localtimestamp
--
SELECT make_date(2026, 1, 1), date '2026-01-01' + 7, date '2026-01-01' - interval '1 month', make_interval(days => 3)
--
SELECT string_agg(DISTINCT line_code, ', ' ORDER BY line_code), array_agg(date ORDER BY date) FROM production
--
SELECT upper(line_code) || '-' || lower(shift), length(shift), substring(line_code FROM 1 FOR 2), split_part(line_code, '-', 2), trim(shift), replace(shift, 'a', 'b'), left(shift, 2) FROM production
--
SELECT lpad(extract(hour FROM now())::text, 2, '0'), repeat('*', 5)
--
SELECT * FROM production WHERE line_code LIKE 'LINE-%' AND shift ~ '^d' AND line_code IN ('LINE-A', 'LINE-B') AND date BETWEEN '2026-01-01' AND '2026-12-31' AND shift SIMILAR TO '(day|night)' AND shift ILIKE 'D%'
--
SELECT regexp_replace(line_code, '[^0-9]', '', 'g'), regexp_match(line_code, '(\d+)') FROM production
--
SELECT jsonb_build_object('line', line_code, 'qty', total_qty), attributes ->> 'speed', attributes #>> '{a,b}', attributes @> '{"a": 1}', attributes['speed'] FROM production
--
SELECT key, value FROM production, jsonb_each_text(attributes)
--
SELECT x.a, x.b FROM jsonb_to_recordset('[{"a": 1, "b": "x"}]') AS x(a integer, b text)
--
SELECT unnest(ARRAY['a', 'b']), (ARRAY[1, 2, 3])[1:2], cardinality(ARRAY[1, 2]), 1 = ANY (ARRAY[1, 2])
--
SELECT greatest(total_qty, defect_qty), least(1, 2), nullif(total_qty, 0), coalesce(defect_qty, 0) FROM production
--
SELECT round(avg(total_qty), 2), ceil(1.5), floor(1.5), abs(-1), mod(5, 2), sqrt(4), ln(2.0), power(avg(total_qty)::float8, 2), 2 ^ 10, width_bucket(5, 0, 10, 5) FROM production GROUP BY ()
--
SELECT * FROM production TABLESAMPLE SYSTEM (10) REPEATABLE (1)
--
SELECT count(*) FROM production WHERE (date, line_code) > ('2026-01-01', 'L01')
--
SELECT line_code, date FROM production ORDER BY line_code COLLATE "C", date DESC LIMIT 10 OFFSET 5
--
SELECT line_code, total_qty FROM production ORDER BY total_qty DESC FETCH FIRST 3 ROWS WITH TIES
--
SELECT name, value FROM reading_view WHERE value IS NOT NULL AND NOT (value IS DISTINCT FROM 5)
--
SELECT * FROM (VALUES (1, 'a'), (2, 'b')) AS v(n, t)
--
TABLE production
--
SELECT daterange(min(date), max(date)) @> date '2026-01-15', bool_and(total_qty > 0), every(defect_qty >= 0) FROM production
--
SELECT array_to_string(array_agg(DISTINCT shift), ','), jsonb_agg(line_code), jsonb_object_agg(line_code, total_qty) FROM production
--
SELECT EXISTS (SELECT 1 FROM production WHERE defect_qty > 100), ARRAY(SELECT line_code FROM production)
--
SELECT '3.5'::numeric, '42'::int, total_qty::text, date::timestamp, 'a'::varchar(10), 1.25::numeric(4, 1) FROM production
--
SELECT tenant_id, factory.current_tenant(), date_bin('15 minutes', now(), timestamptz '2026-01-01') FROM production
--
SELECT line_code, date, total_qty, sum(total_qty) OVER (PARTITION BY line_code ORDER BY date) AS running, cume_dist() OVER (ORDER BY total_qty), percent_rank() OVER (ORDER BY total_qty), dense_rank() OVER (ORDER BY total_qty) FROM production
--
SELECT line_code, nth_value(total_qty, 2) OVER (PARTITION BY line_code ORDER BY date), last_value(total_qty) OVER (PARTITION BY line_code ORDER BY date ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING), lead(total_qty, 1, 0) OVER (ORDER BY date) FROM production
--
SELECT date, total_qty FROM production WHERE total_qty > ALL (SELECT defect_qty FROM production) ORDER BY 1
--
SELECT p.line_code, count(*) FROM production p WHERE NOT EXISTS (SELECT FROM production q WHERE q.line_code = p.line_code AND q.total_qty > 10000) GROUP BY 1
--
SELECT line_code, to_char(sum(total_qty), 'FM999,999,999') FROM production GROUP BY 1
--
SELECT to_date('2026-01-15', 'YYYY-MM-DD'), to_timestamp(0), to_number('12,454.8', '99G999D9')
--
SELECT extract(epoch FROM now() - timestamptz '2026-01-01 00:00+09') / 3600, extract(isoyear FROM date), extract(week FROM date) FROM production
--
SELECT date, date + interval '1 day' * 3, date - 7, justify_hours(interval '27 hours') FROM production
--
SELECT line_code, round(100.0 * sum(total_qty) / sum(sum(total_qty)) OVER (), 1) AS share FROM production GROUP BY line_code
--
SELECT covar_pop(total_qty, defect_qty), regr_intercept(defect_qty, total_qty), regr_r2(defect_qty, total_qty), stddev_pop(total_qty), var_samp(total_qty) FROM production
--
SELECT concat(line_code, '/', shift), concat_ws('-', line_code, shift), initcap(shift), reverse(shift), strpos(line_code, '-'), position('-' IN line_code), starts_with(line_code, 'LINE') FROM production
--
SELECT coalesce(attributes -> 'a' ->> 'b', 'none'), attributes ? 'speed', jsonb_typeof(attributes), jsonb_array_length('[1, 2]') FROM production
--
SELECT jsonb_path_query_first(attributes, '$.a.b'), (attributes ->> 'speed')::int FROM production
--
SELECT array_length(array_agg(total_qty), 1), array_position(ARRAY['a', 'b'], 'b'), ARRAY[1, 2] || 3, ARRAY[1, 2] && ARRAY[2] FROM production
--
SELECT trunc(avg(total_qty), 1), sign(-2), pi(), degrees(1), radians(180), sin(1), cos(1), exp(1.0), log(10.0), cbrt(27) FROM production
--
SELECT 7 / 2, 7 % 2, 7.0 / 2, -7, +7, 5 # 3, 5 & 3, 5 | 3, ~5, 1 << 4, @ -5
--
SELECT total_qty IS NOT NULL AND (defect_qty = 0 OR defect_qty > 3) AND NOT (shift = 'day') FROM production
--
SELECT line_code, max(date) FILTER (WHERE defect_qty > 2), count(DISTINCT shift) FROM production GROUP BY 1 HAVING count(*) > 5 ORDER BY 2 DESC NULLS LAST
--
SELECT d.day, p.total_qty FROM (SELECT generate_series(timestamp '2026-01-01', timestamp '2026-01-31', interval '1 day')::date AS day) d LEFT JOIN production p ON p.date = d.day ORDER BY 1
--
SELECT tstzrange(now() - interval '1 day', now()) && tstzrange(now(), NULL), int4range(1, 5) * int4range(3, 8), upper(daterange('2026-01-01', '2026-02-01'))
--
SELECT width_bucket(total_qty, 100, 130, 3) AS bucket, count(*) FROM production GROUP BY bucket ORDER BY bucket
--
SELECT md5(line_code), ascii('a'), chr(65) FROM production
--
SELECT a.date, a.total_qty, b.total_qty FROM production a FULL JOIN production b USING (date, line_code) WHERE a.date IS NULL OR b.date IS NULL OR true
--
SELECT * FROM (SELECT line_code, total_qty, row_number() OVER (PARTITION BY line_code ORDER BY total_qty DESC) AS n FROM production) AS ranked WHERE n <= 3
--
SELECT date, sum(total_qty) FROM production WHERE date >= date_trunc('month', now())::date - interval '1 month' GROUP BY date UNION ALL SELECT NULL, sum(total_qty) FROM production ORDER BY 1 NULLS LAST LIMIT 50
