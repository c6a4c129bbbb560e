-- processor_time.sql: how bench/judge and bench/zen take a figure.
-- This backend's processor time in seconds, to the nanosecond.
CREATE FUNCTION bench.processor_time() RETURNS float8 LANGUAGE sql VOLATILE AS
$$ SELECT split_part(pg_read_file('/proc/self/schedstat'), ' ', 1)::float8 / 1e9 $$;

-- Repeats the statement until it took long enough to be told from noise.
CREATE FUNCTION bench.decisions_per_second(expression text) RETURNS float8 LANGUAGE plpgsql AS $$
DECLARE
	least_seconds CONSTANT float8 := 0.4;
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
