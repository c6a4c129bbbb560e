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
max_worker_processes = 16
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
SELECT factory.activate(ARRAY['primary', 'standby']);
});

# A job that has ended.
$primary->safe_psql('postgres', q{
CREATE SERVER nowhere FOREIGN DATA WRAPPER factory_llm OPTIONS (base_url 'http://127.0.0.1:9/v1', allow_http 'true', allow_private 'true');
SELECT factory.create_model('mini', 'nowhere', 'm');
SELECT factory.complete_async('mini', 'x', deadline => '1 second');
});
$primary->poll_query_until('postgres', q{SELECT state = 'failed' FROM factory.job_status});

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
($rc, $out, $err) = $standby->psql('postgres', q{SELECT factory.complete_async('mini', 'x')});
like($err, qr/read-only transaction/, 'no job can be submitted');
is($standby->safe_psql('postgres', q{SELECT subject, state FROM factory.job_status}), 'mini|failed', 'those there are can be seen');

# A task and a refresh are under way where the primary ends.
$primary->safe_psql('postgres', q{
CREATE MATERIALIZED VIEW mv_open AS SELECT pg_sleep(120) IS NULL AS slept WITH NO DATA;
SELECT factory.schedule_refresh('mv_open', 'daily at 06:00'), factory.resume_refresh('mv_open');
SELECT factory.schedule_task('open', 'SELECT pg_sleep(120)', 'daily at 06:00'), factory.resume_task('open')});
$primary->poll_query_until('postgres', q{SELECT (SELECT state = 'running' FROM factory.refresh_status WHERE view = 'public.mv_open')
	AND (SELECT state = 'running' FROM factory.task_status WHERE name = 'open')}) or die 'neither runs';
$primary->wait_for_catchup($standby);
is($standby->safe_psql('postgres', q{SELECT string_agg(state, ' ') FROM (SELECT state FROM factory.refresh_status WHERE view = 'public.mv_open'
	UNION ALL SELECT state FROM factory.task_status) AS seen}), 'running running', 'what runs on the primary is seen on the standby');

# Promotion starts the schedulers.
$primary->stop('immediate');
my $last = $standby->safe_psql('postgres', 'SELECT at FROM "Line A".mv');
$standby->promote;
ok($standby->poll_query_until('postgres', qq{SELECT at > '$last' FROM "Line A".mv}), 'promotion starts the refreshes');
is($standby->safe_psql('postgres', q{SELECT count(*) FROM factory.refresh_run AS a JOIN factory.refresh_run AS b
	ON a.view_oid = b.view_oid AND a.scheduled_for = b.scheduled_for AND a.id < b.id AND a.status = 'succeeded'}),
	0, 'and no due time was served twice');

ok($standby->poll_query_until('postgres', q{SELECT string_agg(status || ' ' || error, ', ') = 'failed server stopped; how far it came is not known'
	FROM factory.task_run}), 'a task that was under way is lost, and not repeated');
is($standby->safe_psql('postgres', q{SELECT state FROM factory.task_status}), 'waiting', 'it waits for its next time');
ok($standby->poll_query_until('postgres', q{SELECT string_agg(split_part(reason, ',', 1) || ' ' || status || coalesce(' ' || error, ''), ', ' ORDER BY id)
	= 'resumed; first fill cannot be concurrent failed server stopped, caught up running' FROM factory.refresh_run WHERE view = 'public.mv_open'}),
	'a refresh is lost, too, and made up for');
$standby->safe_psql('postgres', q{SELECT factory.unschedule_task('open'), factory.unschedule_refresh('mv_open');
	SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query = 'refreshing public.mv_open'});

$standby->safe_psql('postgres', q{SELECT factory.complete_async('mini', 'y', deadline => '1 second')});
ok($standby->poll_query_until('postgres', q{SELECT count(*) = 2 FROM factory.job_status WHERE state = 'failed'}), 'and jobs are run');

# A dump keeps the schedules, by name.
my $file = PostgreSQL::Test::Utils::tempdir() . '/plant.dump';
$standby->command_ok([ 'pg_dump', '-Fc', '-f', $file, '-d', $standby->connstr('postgres') ], 'a database with schedules can be dumped');
$standby->safe_psql('postgres', 'CREATE DATABASE restored');
$standby->command_ok([ 'pg_restore', '--exit-on-error', '-d', $standby->connstr('restored'), $file ], 'and restored');
is($standby->safe_psql('restored', q{SELECT view, schedule, timezone FROM factory.refresh_status}),
	'"Line A".mv|every second|Asia/Seoul', 'with its schedules, but none of a dropped view');
ok($standby->poll_query_until('restored', q{SELECT state LIKE 'resting: this database is a copy or a restored dump%'
	FROM factory.worker_status WHERE kind = 'scheduler' AND database = 'restored'}), 'which rest: what is restored does not act on its own');
is($standby->safe_psql('restored', 'SELECT count(*) FROM factory.refresh_run'), 0, 'nothing has run');
is($standby->safe_psql('restored', q{SELECT string_agg(state, ' ') FROM factory.job_status}), 'failed failed', 'jobs are restored, too');
is($standby->safe_psql('restored', q{SELECT factory.complete_async('mini', 'z') > 2, (SELECT string_agg(DISTINCT state, ' ') FROM factory.job_status)}),
	't|failed', 'new ones can be submitted');
ok($standby->poll_query_until('restored', q{SELECT count(*) = 1 FROM factory.worker_status WHERE kind = 'job_runner' AND database = 'restored'
	AND state LIKE 'resting: this database is a copy or a restored dump%'}), 'and wait until it is activated');
$standby->safe_psql('restored', 'SELECT factory.activate()');
ok($standby->poll_query_until('restored', q{SELECT last_status = 'succeeded' FROM factory.refresh_status}),
	'until somebody activates it');

# A copy of the server under another name does not act, though it has every right to write.
$standby->backup('clone');
my $clone = PostgreSQL::Test::Cluster->new('clone');
$clone->init_from_backup($standby, 'clone');
$clone->start;
ok($clone->poll_query_until('postgres', q{SELECT state LIKE 'resting: cluster_name%' FROM factory.worker_status
	WHERE database = 'postgres'}), 'a clone of the server rests and says why');
is($clone->safe_psql('postgres', q{SELECT may_act FROM factory.activity()}), 'f', 'and calls no model');
$clone->safe_psql('postgres', q{SELECT factory.activate(ARRAY['primary', 'standby', 'clone'])});
ok($clone->poll_query_until('postgres', q{SELECT state NOT LIKE 'resting%' FROM factory.worker_status
	WHERE database = 'postgres'}), 'until it is told to act');
$clone->stop;

# The switches: a pause is the database's, factory.enabled the server's.
$standby->safe_psql('restored', q{SELECT factory.pause_workers('new presses on line 3')});
ok($standby->poll_query_until('restored', q{SELECT state LIKE 'resting: workers are paused by % new presses on line 3'
	FROM factory.worker_status WHERE kind = 'scheduler' AND database = 'restored'}), 'a pause shows by whom and why');
is($standby->safe_psql('restored', 'SELECT factory.resume_workers(), factory.resume_workers()'), 't|f', 'it is ended once');
$last = $standby->safe_psql('restored', 'SELECT at FROM "Line A".mv');
ok($standby->poll_query_until('restored', qq{SELECT at > '$last' FROM "Line A".mv}), 'and the refreshes go on');
$standby->safe_psql('postgres', 'ALTER SYSTEM SET factory.enabled = off');
$standby->reload;
ok($standby->poll_query_until('restored', q{SELECT bool_and(state LIKE 'resting: factory.enabled is off')
	FROM factory.worker_status WHERE kind = 'scheduler'}), 'switched off, all workers rest');
is($standby->safe_psql('restored', q{SELECT count(*) FROM factory.refresh_run WHERE status = 'running'}), 0, 'nothing runs on');
$standby->safe_psql('postgres', 'ALTER SYSTEM RESET factory.enabled');
$standby->reload;
ok($standby->poll_query_until('restored', q{SELECT bool_or(state NOT LIKE 'resting%') FROM factory.worker_status
	WHERE kind = 'scheduler'}), 'switched on, they work again');
$standby->stop;
done_testing();
