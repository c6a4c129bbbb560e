-- measuring.sql: how bench/judge, bench/zen and bench/backtest take a figure.
-- This backend's processor time in seconds, to the nanosecond.
CREATE FUNCTION bench.processor_time() RETURNS float8 LANGUAGE sql VOLATILE AS
$$ SELECT split_part(pg_read_file('/proc/self/schedstat'), ' ', 1)::float8 / 1e9 $$;

-- Repeats the statement until it took long enough to be told from noise.
CREATE FUNCTION bench.decisions_per_second(expression text) RETURNS float8 LANGUAGE plpgsql AS $$
DECLARE
	least_seconds CONSTANT float8 := 0.2;
	begun float8;
	taken float8 := 0;
	decided bigint := 0;
	n bigint;
BEGIN
	-- Compiling is another question.
	EXECUTE format('SELECT %s FROM bench.part AS p LIMIT 1', expression);
	begun := bench.processor_time();
	WHILE taken < least_seconds LOOP
		EXECUTE format('SELECT count(%s), count(*) FROM bench.part AS p', expression) INTO STRICT n, n;
		decided := decided + n;
		taken := bench.processor_time() - begun;
	END LOOP;
	RETURN decided / taken;
END $$;

-- Rows a second of a report over that many: of one process's processor time, and of the clock,
-- with one more process beside it.
CREATE FUNCTION bench.report(statement text, rows bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	report jsonb;
BEGIN
	EXECUTE statement INTO report;
	IF coalesce(report -> 'total_samples', report #> '{comparisons,0,total_samples}') IS DISTINCT FROM to_jsonb(rows) THEN
		RAISE EXCEPTION 'not all rows were seen: %', report;
	END IF;
END $$;
CREATE FUNCTION bench.report_rates(statement text, rows bigint, OUT rate float8, OUT wall_rate float8) LANGUAGE plpgsql AS $$
DECLARE
	cpu float8 := bench.processor_time();
	clock timestamptz;
BEGIN
	PERFORM set_config('max_parallel_workers_per_gather', '0', true);
	PERFORM bench.report(statement, rows);
	rate := rows / (bench.processor_time() - cpu);
	PERFORM set_config('max_parallel_workers_per_gather', '1', true);
	clock := clock_timestamp();
	PERFORM bench.report(statement, rows);
	wall_rate := rows / extract(epoch FROM clock_timestamp() - clock);
END $$;
