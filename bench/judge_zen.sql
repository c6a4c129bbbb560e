-- judge_zen.sql: what bench/judge compares with ZEN, after judge.sql. Variable: folder.
CREATE TABLE bench.zen (i int, first text, collect text);
CREATE TEMP TABLE first (i int, hits text);
CREATE TEMP TABLE collect (i int, hits text);
CREATE TABLE bench.zen_rate (name text, rate float8);
SELECT format('COPY first FROM %L; COPY collect FROM %L; COPY bench.zen_rate FROM %L', :'folder' || '/zen_first.csv', :'folder' || '/zen_collect.csv', :'folder' || '/rates') AS load \gset
:load;
SET factory.log = off;
\pset footer off
SELECT count(*) AS "rows ZEN answered", count(*) FILTER (WHERE array_to_string(f.matched_rules, ' ') <> coalesce(z.hits, '')) AS "first differs",
	count(*) FILTER (WHERE array_to_string(c.matched_rules, ' ') <> coalesce(k.hits, '')) AS "collect differs"
FROM first AS z JOIN collect AS k USING (i) JOIN bench.part AS p USING (i), factory.judge_row('bench_1000', p) AS f, factory.judge_row('bench_collect', p) AS c;
SELECT ours AS "1000 rules", round(1e9 / m.median) AS "ns each", peer, round(1e9 / z.rate) AS "its ns", round((m.median / z.rate)::numeric) AS "times ZEN"
FROM (VALUES ('typed, first: ids and outcome', 'ZEN first'), ('typed, collect: ids and outcome', 'ZEN collect'), ('judge_row, explanation read', 'ZEN first, traced')) AS pair(ours, peer)
JOIN (SELECT name, percentile_cont(0.5) WITHIN GROUP (ORDER BY rate) AS median FROM bench.measured WHERE size = 1000 GROUP BY name) AS m ON m.name = ours
JOIN bench.zen_rate AS z ON z.name = peer;
