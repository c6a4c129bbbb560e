# Standby, promotion, and a dump: schedules are read everywhere, run in one place.
use strict;
use warnings;

BEGIN { $ENV{PG_TEST_TIMEOUT_DEFAULT} //= 60; }
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $primary = PostgreSQL::Test::Cluster->new('primary');
$primary->init(allows_streaming => 1);
$primary->append_conf('postgresql.conf', q{
shared_preload_libraries = 'pg_factory'
timezone = 'UTC'
log_statement = none
});
$primary->start;
$primary->safe_psql('postgres', q{
CREATE EXTENSION pg_factory;
CREATE SCHEMA "Line A";
CREATE MATERIALIZED VIEW "Line A".mv AS SELECT clock_timestamp() AS at;
CREATE MATERIALIZED VIEW mv_dropped AS SELECT 1 AS one;
SELECT factory.schedule_refresh('"Line A".mv', 'every second', 'Asia/Seoul');
SELECT factory.schedule_refresh('mv_dropped', 'daily at 06:00');
DROP MATERIALIZED VIEW mv_dropped;
});

# On a standby nothing runs, and the status can be read.
$primary->backup('copy');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'copy', has_streaming => 1);
$standby->start;
$primary->wait_for_catchup($standby);
ok($standby->poll_query_until('postgres', q{SELECT last_status IN ('succeeded', 'running') FROM factory.refresh_status
	WHERE schedule = 'every second'}), 'the status can be read on a standby');
is($standby->safe_psql('postgres', q{SELECT string_agg(kind || ' ' || state, ',') FROM factory.worker_status}),
	'launcher not running', 'where no worker runs');
my ($rc, $out, $err) = $standby->psql('postgres', q{SELECT factory.schedule_refresh('"Line A".mv', 'hourly')});
like($err, qr/read-only transaction/, 'nothing can be scheduled there');

# Promotion starts the schedulers.
$primary->stop('immediate');
my $last = $standby->safe_psql('postgres', 'SELECT at FROM "Line A".mv');
$standby->promote;
ok($standby->poll_query_until('postgres', qq{SELECT at > '$last' FROM "Line A".mv}), 'promotion starts the refreshes');
is($standby->safe_psql('postgres', q{SELECT count(*) FROM factory.refresh_run AS a JOIN factory.refresh_run AS b
	ON a.view_oid = b.view_oid AND a.scheduled_for = b.scheduled_for AND a.id < b.id AND a.status = 'succeeded'}),
	0, 'and no due time was served twice');

# A dump keeps the schedules, by name.
my $file = PostgreSQL::Test::Utils::tempdir() . '/plant.dump';
$standby->command_ok([ 'pg_dump', '-Fc', '-f', $file, '-d', $standby->connstr('postgres') ], 'a database with schedules can be dumped');
$standby->safe_psql('postgres', 'CREATE DATABASE restored');
$standby->command_ok([ 'pg_restore', '--exit-on-error', '-d', $standby->connstr('restored'), $file ], 'and restored');
is($standby->safe_psql('restored', q{SELECT view, schedule, timezone FROM factory.refresh_status}),
	'"Line A".mv|every second|Asia/Seoul', 'with its schedules, but none of a dropped view');
ok($standby->poll_query_until('restored', q{SELECT last_status = 'succeeded' FROM factory.refresh_status}),
	'which run at once, as nobody has to start them');
$standby->stop;
done_testing();
