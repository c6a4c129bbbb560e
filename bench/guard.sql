-- guard.sql: what bench/questions runs for the guard. Table statement is filled.
CREATE TABLE verdict (corpus text, ok bool, ms float8);

DO $$
DECLARE
	s statement;
	verdict bool;
	begun timestamptz;
BEGIN
	FOR round IN 0..3 LOOP
		FOR s IN SELECT * FROM statement LOOP
			begun := clock_timestamp();
			SELECT ok INTO verdict FROM factory.check_sql(s.body);
			-- The first round fills the session's caches.
			IF round > 0 THEN
				INSERT INTO verdict VALUES (s.corpus, verdict, extract(epoch FROM clock_timestamp() - begun) * 1000);
			END IF;
		END LOOP;
	END LOOP;
END $$;

\echo 'The guard'
SELECT corpus, count(*) / 3 AS statements, count(*) FILTER (WHERE ok) / 3 AS let_through,
	   round(percentile_cont(0.5) WITHIN GROUP (ORDER BY ms)::numeric, 3) AS median_ms,
	   round(percentile_cont(0.95) WITHIN GROUP (ORDER BY ms)::numeric, 3) AS p95_ms, 'p95 <= 1' AS target
FROM verdict GROUP BY 1 ORDER BY 1;
