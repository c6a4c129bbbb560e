-- backtest_zen.sql: what bench/backtest compares with ZEN, after backtest.sql. Variable: folder.
CREATE TEMP TABLE answer1 (i int, rule text);
CREATE TEMP TABLE answer2 (i int, rule text);
CREATE TEMP TABLE rate1 (name text, rate float8);
CREATE TEMP TABLE rate2 (name text, rate float8);
SELECT format('COPY answer1 FROM %L; COPY answer2 FROM %L; COPY rate1 FROM %L; COPY rate2 FROM %L',
	:'folder' || '/1/zen_first.csv', :'folder' || '/2/zen_first.csv', :'folder' || '/1/rates', :'folder' || '/2/rates') AS load \gset
:load;
UPDATE answer1 SET rule = nullif(rule, '');
UPDATE answer2 SET rule = nullif(rule, '');
\pset footer off
SELECT count(*) AS "rows ZEN answered",
	count(*) FILTER (WHERE (factory.decide_brief('bench', to_jsonb(p) - 'i', 1))[1] <> coalesce('S' || a.rule, 'NONE')
		OR (factory.decide_brief('bench', to_jsonb(p) - 'i', 2))[1] <> coalesce('S' || b.rule, 'NONE')) AS "differ",
	count(*) FILTER (WHERE a.rule IS DISTINCT FROM b.rule) AS "change between versions"
FROM bench.part AS p JOIN answer1 AS a USING (i) JOIN answer2 AS b USING (i);
-- For backtest() ZEN answers by both versions; for replay(), which has the first one's answers
-- in the log, by the second.
SELECT m.name, round(m.rate::numeric) AS "rows a processor second", round(z.rate::numeric) AS "ZEN's best", round((m.rate / z.rate)::numeric, 1) AS "times ZEN",
	round(m.wall_rate::numeric) AS "rows a second, two processes", round((m.wall_rate / z.rate)::numeric, 1) AS "times one process of ZEN"
FROM (SELECT name, percentile_cont(0.5) WITHIN GROUP (ORDER BY rate) AS rate, percentile_cont(0.5) WITHIN GROUP (ORDER BY wall_rate) AS wall_rate FROM bench.measured GROUP BY name) AS m
JOIN (SELECT 'backtest', 1 / (1 / max(rate1.rate) + 1 / max(rate2.rate)) FROM rate1, rate2
	UNION ALL SELECT 'replay', max(rate) FROM rate2) AS z(name, rate) USING (name)
ORDER BY 1;
