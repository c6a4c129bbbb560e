-- questions.sql: what bench/questions runs in the demo plant. Table question is filled.
-- factory.frozen_clock stands still; clock_timestamp() does not.
CREATE TABLE timing (id int, step text, ms float8);

CREATE FUNCTION since(begun timestamptz) RETURNS float8 LANGUAGE sql AS
'SELECT extract(epoch FROM clock_timestamp() - begun) * 1000';

-- Each question planned, asked for the first time, asked again, and its person's SQL.
-- A transaction that has written is not served from the cache: each step has its own.
DO $$
DECLARE
	q question;
	before jsonb;
	begun timestamptz;
	plan_ms float8;
	ask_ms float8;
	sql_ms float8;
	again_ms float8;
BEGIN
	FOR q IN SELECT * FROM question ORDER BY id LOOP
		PERFORM set_config('factory.question_cache_ttl', '0', false);
		before := CASE WHEN q.before <> '' THEN factory.ask(q.before) END;
		PERFORM factory.plan(q.asked, before);
		begun := clock_timestamp();
		PERFORM factory.plan(q.asked, before);
		plan_ms := since(begun);
		begun := clock_timestamp();
		PERFORM factory.ask(q.asked, before);
		ask_ms := since(begun);
		begun := clock_timestamp();
		PERFORM rows_of(q.answer);
		sql_ms := since(begun);
		PERFORM set_config('factory.question_cache_ttl', '600s', false);
		PERFORM factory.ask(q.asked, before);
		COMMIT;
		begun := clock_timestamp();
		PERFORM factory.ask(q.asked, before);
		again_ms := since(begun);
		INSERT INTO timing VALUES (q.id, 'plan', plan_ms), (q.id, 'ask', ask_ms), (q.id, 'sql', sql_ms), (q.id, 'ask again', again_ms);
		COMMIT;
	END LOOP;
END $$;

\echo
\echo 'Numbers: a person\'s SQL against the answer'
SELECT asked_in AS set, count(*) AS questions, count(*) FILTER (WHERE verdict IS NULL) AS answered,
	   count(*) FILTER (WHERE verdict LIKE 'ASKS%') AS asked_back, count(*) FILTER (WHERE verdict NOT LIKE 'ASKS%') AS wrong
FROM (SELECT asked_in, wrong(asked, before, answer) AS verdict FROM question OFFSET 0) AS judged
GROUP BY 1 ORDER BY 1 DESC;

\echo 'Milliseconds'
SELECT step, count(*), round(percentile_cont(0.5) WITHIN GROUP (ORDER BY ms)::numeric, 3) AS median,
	   round(percentile_cont(0.95) WITHIN GROUP (ORDER BY ms)::numeric, 3) AS p95,
	   CASE step WHEN 'plan' THEN 'p95 <= 5' WHEN 'ask' THEN 'p95 <= 50' WHEN 'ask again' THEN 'p95 <= 2' ELSE 'the peer' END AS target,
	   round((percentile_cont(0.5) WITHIN GROUP (ORDER BY ms) / min(peer))::numeric, 2) AS to_sql
FROM timing, (SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY ms) AS peer FROM timing WHERE step = 'sql') AS sql
GROUP BY step ORDER BY array_position(ARRAY['plan', 'sql', 'ask', 'ask again'], step);
