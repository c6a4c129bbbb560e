# The scheduler lives through weeks of a clock that the test sets: changes to and from
# summer time in twelve zones, steps of an hour back, ends of the scheduler and of the
# server.  No due time is lost, none is served twice.
#   FACTORY_CLOCK_DAYS=730    two years, more than 10000 due times (scripts/soak)
use strict;
use warnings;

BEGIN { $ENV{PG_TEST_TIMEOUT_DEFAULT} //= 60; }
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $days = $ENV{FACTORY_CLOCK_DAYS} // 33;
my $start = '2026-03-05 00:10+00';
my $node = PostgreSQL::Test::Cluster->new('clock');
my $file = $node->data_dir . '/clock.conf';
$node->init;
$node->append_conf('postgresql.conf', q{
shared_preload_libraries = 'pg_factory'
include_if_exists = 'clock.conf'
timezone = 'UTC'
log_statement = none
factory.refresh_history_runs = 1000000
factory.refresh_history_days = 36500
});
append_to_file($file, "factory.frozen_clock = '$start'\n");
$node->start;
sub sql { return $node->safe_psql('postgres', $_[0]); }

sql(q{
CREATE EXTENSION pg_factory;
CREATE TABLE place (n serial, zone text);
INSERT INTO place (zone) VALUES ('Asia/Seoul'), ('Europe/Berlin'), ('America/New_York'), ('America/Los_Angeles'), ('Australia/Sydney'),
	('Australia/Lord_Howe'), ('Africa/Cairo'), ('America/Santiago'), ('Pacific/Chatham'), ('Atlantic/Azores'), ('Europe/London'), ('Asia/Kathmandu');
DO $$
DECLARE p record;
BEGIN
	FOR p IN SELECT * FROM place LOOP
		EXECUTE format('CREATE MATERIALIZED VIEW mv_%s AS SELECT clock_timestamp() AS at', p.n);
		PERFORM factory.schedule_refresh(format('mv_%s', p.n), 'daily at 02:30', timezone => p.zone);
	END LOOP;
	CREATE MATERIALIZED VIEW mv_all AS SELECT clock_timestamp() AS at;
	PERFORM factory.schedule_refresh('mv_all', 'every 6 hours', timezone => 'UTC', catch_up => 'all');
END $$;

-- Sets the clock and waits until everything that is due by it is done.
CREATE PROCEDURE walk(file text, INOUT moment timestamptz, last timestamptz) LANGUAGE plpgsql AS $$
DECLARE
	stride int := 0;
BEGIN
	WHILE moment < last LOOP
		stride := stride + 1;
		-- Three to nine hours on; sometimes an hour back before.
		FOR step IN 1 .. CASE WHEN stride % 5 = 0 THEN 2 ELSE 1 END LOOP
			moment := CASE WHEN stride % 5 = 0 AND step = 1 THEN moment - interval '1 hour'
				ELSE least(last, moment + interval '3 hours' + interval '1 minute' * (stride * 7919 % 360)) END;
			EXECUTE format('COPY (SELECT %L) TO PROGRAM %L', 'factory.frozen_clock = ''' || moment || '''',
				format('cat > %1$s.new && mv %1$s.new %1$s', file));
			PERFORM pg_reload_conf(), pg_sleep(0.01);
			LOOP
				COMMIT;
				EXIT WHEN NOT EXISTS (SELECT FROM factory.refresh_schedule WHERE next_due <= moment)
					AND NOT EXISTS (SELECT FROM factory.refresh_run WHERE status = 'running');
				PERFORM pg_sleep(0.002);
			END LOOP;
		END LOOP;
		IF stride % 40 = 7 THEN
			PERFORM pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'pg_factory scheduler';
		END IF;
	END LOOP;
END $$});

# In parts, with the server's end between: what is due while it is down is not lost.
my ($moment, $parts) = ($start, 3);
foreach my $part (1 .. $parts)
{
	my $last = sql(qq{SELECT timestamptz '$start' + interval '1 hour' * ($days * 24 * $part / $parts)});
	$moment = sql(qq{CALL walk('$file', '$moment', '$last')});
	next if $part == $parts;
	$node->stop($part % 2 ? 'immediate' : 'fast');
	$moment = $last =~ s/\n//r;
	$node->start;
}
my $due = qq{due AS (SELECT s.view_name AS view, d.at FROM factory.refresh_schedule AS s,
	factory.schedule_next(s.times, '$start', s.timezone, 3000) AS d(at) WHERE d.at <= '$moment')};
my $served = q{served AS (SELECT view, scheduled_for AS at, count(*) AS times FROM factory.refresh_run WHERE status = 'succeeded' GROUP BY 1, 2)};
note sql("WITH $due SELECT count(*) || ' due times' FROM due");
is(sql("WITH $due, $served SELECT count(*) FROM due LEFT JOIN served USING (view, at) WHERE served.at IS NULL"), 0, 'no due time is lost');
is(sql("WITH $due, $served SELECT count(*) FROM served WHERE times > 1"), 0, 'none is served twice');
is(sql("WITH $due, $served SELECT count(*) FROM served LEFT JOIN due USING (view, at) WHERE due.at IS NULL"), 0, 'and nothing else is');
is(sql(q{SELECT count(*) FROM factory.refresh_run WHERE status NOT IN ('succeeded') AND error IS DISTINCT FROM 'server stopped'}), 0, 'nothing failed or was skipped');
# By PostgreSQL's own calendar: each local day once.
is(sql(qq{SELECT count(*) FROM place AS p WHERE (SELECT array_agg(DISTINCT (r.scheduled_for AT TIME ZONE p.zone)::date) FROM factory.refresh_run AS r WHERE r.view = 'public.mv_' || p.n AND r.status = 'succeeded')
	IS DISTINCT FROM (SELECT array_agg(d::date) FROM generate_series(((timestamptz '$start' AT TIME ZONE p.zone)::date + CASE WHEN (timestamptz '$start' AT TIME ZONE p.zone)::time >= '02:30' THEN 1 ELSE 0 END)::timestamp, ((timestamptz '$moment' AT TIME ZONE p.zone)::date - CASE WHEN (timestamptz '$moment' AT TIME ZONE p.zone)::time < '02:30' THEN 1 ELSE 0 END)::timestamp, '1 day') AS d)}),
	0, 'each day of each zone has its run');
$node->stop('fast');
unlike(slurp_file($node->logfile), qr/PANIC|TRAP:/, 'nothing went wrong badly');
done_testing();
