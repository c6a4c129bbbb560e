-- zen_answers.sql: what bench/zen compares, after zen.sql and the peer. Variable: folder; given where the tables are another's.
CREATE TEMP TABLE first (i int, hits text);
CREATE TEMP TABLE collect (i int, hits text);
CREATE TEMP TABLE first2 (i int, hits text);
CREATE TEMP TABLE rate (name text, rate float8);
CREATE TEMP TABLE rate2 (name text, rate float8);
SELECT format('COPY first FROM %L; COPY collect FROM %L; COPY rate FROM %L; COPY first2 FROM %L; COPY rate2 FROM %L',
	:'folder' || '/zen_first.csv', :'folder' || '/zen_collect.csv', :'folder' || '/rates', :'folder' || '/2/zen_first.csv', :'folder' || '/2/rates') AS load \gset
:load;
SET factory.log = off;
\pset footer off
SELECT count(*) AS rows, count(*) FILTER (WHERE f.matched_rules <> '{}') AS "a rule hit",
	count(*) FILTER (WHERE array_to_string(f.matched_rules, ' ') <> coalesce(z.hits, '')) AS "first differs",
	count(*) FILTER (WHERE array_to_string(c.matched_rules, ' ') <> coalesce(k.hits, '')) AS "collect differs",
	count(*) FILTER (WHERE (factory.decide_brief('zen_first', to_jsonb(p) - 'id', 2))[1] <> coalesce(r.verdict, 'NONE')) AS "second version differs"
FROM first2 AS z2 LEFT JOIN bench.rule AS r ON r.id = nullif(z2.hits, '')::int JOIN first AS z USING (i) JOIN collect AS k USING (i) JOIN bench.part AS p ON p.id = z.i, factory.judge_row('zen_first', p) AS f, factory.judge_row('zen_collect', p) AS c;
\if :{?given}
CREATE TEMP TABLE expected (id int, rule_id int, verdict text, severity int);
CREATE TEMP TABLE expected_all (id int, n int, rule_ids text, sum_severity int);
SELECT format('COPY expected FROM %L (FORMAT csv, HEADER); COPY expected_all FROM %L (FORMAT csv, HEADER)', :'folder' || '/expected_first.csv', :'folder' || '/expected_collect.csv') AS load \gset
:load;
SELECT count(*) AS "answers expected", count(*) FILTER (WHERE f.matched_rules::text <> concat('{', e.rule_id, '}') OR f.status <> coalesce(e.verdict, 'NONE')) AS "first differs",
	count(*) FILTER (WHERE array_to_string(c.matched_rules, '|') <> coalesce(a.rule_ids, '')) AS "collect differs"
FROM expected AS e JOIN expected_all AS a USING (id) JOIN bench.part AS p USING (id), factory.judge_row('zen_first', p) AS f, factory.judge_row('zen_collect', p) AS c;
\endif
INSERT INTO rate SELECT 'ZEN first, by both', 1 / (1 / a.rate + 1 / b.rate) FROM rate AS a JOIN rate2 AS b USING (name) WHERE name = 'ZEN first';
INSERT INTO rate SELECT 'ZEN first, by the second', rate FROM rate2 WHERE name = 'ZEN first';
SELECT ours AS "1000 rules", round(1e9 / m.median) AS "ns each", peer, round(1e9 / r.rate) AS "its ns", round((m.median / r.rate)::numeric) AS "times ZEN"
FROM bench.contender AS c JOIN (SELECT ours, percentile_cont(0.5) WITHIN GROUP (ORDER BY rate) AS median FROM bench.measured GROUP BY ours) AS m USING (ours)
JOIN rate AS r ON r.name = c.peer ORDER BY c.peer DESC, ours;
