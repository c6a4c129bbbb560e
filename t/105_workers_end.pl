# Workers that are cancelled, terminated, killed, not to be had; a full disk, a standby
# that is away, pg_upgrade's mode: nothing is lost, doubled or stuck.
use strict;
use warnings;

BEGIN { $ENV{PG_TEST_TIMEOUT_DEFAULT} //= 60; }
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

# Places: two of launchers, the scheduler, two for refreshes, one for a task.
my $node = PostgreSQL::Test::Cluster->new('ends');
$node->init(allows_streaming => 1);
$node->append_conf('postgresql.conf', q{
shared_preload_libraries = 'pg_factory'
restart_after_crash = on
factory.canary_interval = 100ms
factory.refresh_retry_delay = 0
log_statement = none
max_worker_processes = 6
});
$node->start;
sub sql { return $node->safe_psql('postgres', $_[0]); }
sub becomes { my ($query, $what) = @_; ok($node->poll_query_until('postgres', "SELECT coalesce(($query), false)"), $what); }
sub set { my ($what) = @_; sql("ALTER SYSTEM SET $what"); sql('SELECT pg_reload_conf()'); }
sub refreshing { my ($view, $by) = @_; return qq{SELECT count(*) = 1 FROM pg_stat_activity WHERE query = 'refreshing public.$view' AND backend_type = 'pg_factory $by'}; }
sub cancel { my ($view) = @_; sql(qq{SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query = 'refreshing public.$view'}); }
sub goes_on { my ($what) = @_; my $before = sql('SELECT coalesce(max(id), 0) FROM factory.refresh_run'); becomes(qq{SELECT count(*) >= 2 FROM factory.refresh_run WHERE id > $before AND view = 'public.mv' AND status = 'succeeded'}, $what); }
sub pid_of { my ($type) = @_; return sql(qq{SELECT pid FROM pg_stat_activity WHERE backend_type = 'pg_factory $type' ORDER BY backend_start DESC LIMIT 1}); }

sql(q{CREATE EXTENSION pg_factory;
	CREATE MATERIALIZED VIEW mv AS SELECT clock_timestamp() AS at;
	CREATE MATERIALIZED VIEW mv_long AS SELECT pg_sleep(120) IS NULL AS slept WITH NO DATA;
	SELECT factory.schedule_refresh('mv', 'every second')});
goes_on('a view is refreshed every second');

# --- overlap ------------------------------------------------------------------------
sql(q{SELECT factory.schedule_refresh('mv_long', 'every 2 seconds', overlap => 'cancel_running', pause_after => 0)});
becomes(q{SELECT count(*) >= 2 FROM factory.refresh_run WHERE view = 'public.mv_long' AND status = 'failed' AND error = 'cancelled, because it came due again'},
	'a refresh makes room for the next, where its schedule says so');
goes_on('and others go on');

# --- what else the scheduler looks after is not held up ---------------------------------
sql(q{SELECT factory.schedule_refresh('mv_long', 'every second')});
cancel('mv_long');
becomes(refreshing('mv_long', 'refresh worker'), 'a long refresh is under way');
becomes(q{SELECT state = 'running' FROM factory.refresh_status WHERE view = 'public.mv_long'}, 'and shown as that');
my $long = sql(q{SELECT max(id) FROM factory.refresh_run WHERE view = 'public.mv_long'});
my $definition = q{{"inputs": {"n": "int"}, "rules": [{"id": "big", "when": "n > %d", "then": {"status": "BIG", "severity": "warning"}}],
	"default": {"status": "SMALL", "severity": "info"}}};
sql(sprintf "SELECT factory.create_decision('size', '$definition')", 50);
sql(sprintf "SELECT factory.save_version('size', '$definition', 'bigger')", 90);
sql(q{SELECT factory.deploy('size', 2, canary_pct => 50);
	SELECT count(*) FROM (SELECT factory.judge('size', jsonb_build_object('n', n)) FROM generate_series(1, 200) AS n) AS judged;
	SELECT factory.feedback(execution_id, 'incorrect') FROM factory.judgment_log WHERE version = 2 LIMIT 10});
becomes(q{SELECT status = 'rolled_back' FROM factory.deployment WHERE version = 2}, 'a canary that does badly is rolled back meanwhile');
is(sql(qq{SELECT status FROM factory.refresh_run WHERE id = $long}), 'running', 'and the long refresh still runs');

# --- settings are taken over while it runs ---------------------------------------------------
set('factory.refresh_workers = 0');
cancel('mv_long');
becomes(refreshing('mv_long', 'scheduler'), 'without workers the scheduler refreshes');
cancel('mv_long');
set('factory.refresh_workers = 2');
cancel('mv_long');
becomes(refreshing('mv_long', 'refresh worker'), 'and with them they do again');
sql(q{SELECT factory.unschedule_refresh('mv_long')});
cancel('mv_long');

# --- no worker to be had --------------------------------------------------------------------
sql(q{CREATE MATERIALIZED VIEW mv_other AS SELECT clock_timestamp() AS at; SELECT factory.schedule_refresh('mv_other', 'every second');
	SELECT factory.schedule_task('hog', 'SELECT pg_sleep(120)', 'daily'), factory.schedule_task('waits', 'SELECT 1', 'daily')});
becomes(q{SELECT count(*) = 2 FROM pg_stat_activity WHERE backend_type = 'pg_factory refresh worker'}, 'two are refreshed side by side');
sql(q{SELECT factory.resume_task('hog')});
becomes(q{SELECT state = 'running' FROM factory.task_status WHERE name = 'hog'}, 'a task has the last place');
sql(q{SELECT factory.resume_task('waits')});
my $due = sql(q{SELECT next_due FROM factory.task_status WHERE name = 'waits'});
ok($node->wait_for_log(qr/no background worker is free for task "waits"/), 'the next finds none, and the log says so') if $node->can('wait_for_log');
is(sql(q{SELECT count(*) FROM factory.task_run WHERE task = 'waits' AND status <> 'running'}), 0, 'its history has no line for each try');
sql(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'pg_factory task worker'});
becomes(qq{SELECT last_status = 'succeeded' AND last_scheduled_for = '$due' FROM factory.task_status WHERE name = 'waits'}, 'it waited, and was not lost');
sql(q{SELECT factory.unschedule_refresh('mv_other')});

# None starves: one place, two tasks that are always due.
set('factory.task_workers = 1');
sql(q{SELECT factory.schedule_task('left', 'SELECT pg_sleep(0.6)', 'every second'), factory.schedule_task('right', 'SELECT pg_sleep(0.6)', 'every second')});
becomes(q{SELECT count(*) >= 2 AND count(DISTINCT task) = 2 FROM (SELECT task FROM factory.task_run WHERE task IN ('left', 'right') AND status = 'succeeded' GROUP BY task HAVING count(*) >= 2) AS ran}, 'two tasks take turns at one place');
sql(q{SELECT factory.unschedule_task('left'), factory.unschedule_task('right')});
set('factory.task_workers = 2');

set('factory.refresh_workers = 1');
sql(q{CREATE MATERIALIZED VIEW mv_greedy AS SELECT pg_sleep(0.7) IS NULL AS slept WITH NO DATA; CREATE MATERIALIZED VIEW mv_modest AS SELECT clock_timestamp() AS at;
	SELECT factory.schedule_refresh('mv_greedy', 'every second'), factory.schedule_refresh('mv_modest', 'every 2 seconds')});
becomes(q{SELECT count(*) = 3 FROM (SELECT view FROM factory.refresh_run WHERE status = 'succeeded' AND started_at > now() - interval '1 minute' AND view IN ('public.mv', 'public.mv_greedy', 'public.mv_modest') GROUP BY view HAVING count(*) >= 2) AS ran},
	'a view that is always due starves no other, where there is one worker');
sql(q{SELECT factory.unschedule_refresh('mv_greedy'), factory.unschedule_refresh('mv_modest')});
set('factory.refresh_workers = 2');

# A dropped role's task that is not even enabled.
sql(q{CREATE ROLE leaver LOGIN IN ROLE factory_author; SET ROLE leaver; SELECT factory.schedule_task('left over', 'SELECT 1', 'every second', enabled => false)});
my $scheduler = pid_of('scheduler');
sql(q{DROP OWNED BY leaver; DROP ROLE leaver});
goes_on('a role that had a task can be dropped');
is(pid_of('scheduler'), $scheduler, 'and the scheduler does not stumble');

# --- every worker's end ---------------------------------------------------------------------
# (Of launcher and scheduler, 100_refresh.pl has the others.)
foreach my $signal ('TERM', 'KILL')
{
	foreach my $type ($signal eq 'KILL' ? 'launcher' : (), 'refresh worker', 'task worker')
	{
		sql(q{SELECT factory.resume_task('hog') WHERE NOT EXISTS (SELECT FROM factory.task_run WHERE task = 'hog' AND status = 'running')});
		becomes(q{SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'pg_factory task worker'}, "before $signal of a $type all are there");
		my ($pid, $start) = (pid_of($type), time);
		if ($signal eq 'KILL') { kill 'KILL', $pid; }
		else { sql("SELECT pg_terminate_backend($pid)"); }
		# A session that the end of all takes away before it has read is no answer.
		my $ended = eval { $node->poll_query_until('postgres', qq{SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = $pid}) }
			// $node->poll_query_until('postgres', qq{SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = $pid});
		ok($ended, 'it ends');
		goes_on("after $signal of a $type the view is refreshed again");
		note sprintf 'that took %.1f s', time - $start;
	}
}
is(sql(q{SELECT count(*) FROM (SELECT FROM factory.refresh_run WHERE status = 'succeeded' AND scheduled_for IS NOT NULL GROUP BY view, scheduled_for HAVING count(*) > 1) AS twice}), 0, 'no due time was served twice');
is(sql(q{SELECT count(*) FROM factory.task_run WHERE task = 'hog' AND reason LIKE 'caught up%'}), 0, 'and no task was repeated');
sql(q{SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE backend_type = 'pg_factory task worker'});
sql(q{SELECT factory.unschedule_task('hog')});

# --- no room on the disk: files may not grow over 24 MB -----------------------------------------
SKIP:
{
	skip 'needs prlimit', 5 if system('which prlimit > /dev/null 2>&1') != 0;
	sql(q{CREATE TABLE wide (n int); INSERT INTO wide VALUES (1);
		CREATE MATERIALIZED VIEW mv_wide AS SELECT repeat(n::text, 1000) AS text FROM wide, generate_series(1, CASE WHEN n = 1 THEN 1 ELSE 40000 END)});
	sql(q{UPDATE wide SET n = 2});
	my $postmaster = slurp_file($node->data_dir . '/postmaster.pid');
	$postmaster =~ s/\n.*//s;
	is(system("prlimit --fsize=25165824:unlimited --pid $postmaster"), 0, 'files may not grow for ever');
	sql(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type IN ('pg_factory scheduler', 'pg_factory refresh worker')});
	sql(q{SELECT factory.schedule_refresh('mv_wide', 'every second', retries => 1, pause_after => 1)});
	becomes(q{SELECT state = 'paused' FROM factory.refresh_status WHERE view = 'public.mv_wide'}, 'a view that finds no room is paused');
	is(sql(q{SELECT string_agg(status, ' ') FROM factory.refresh_run WHERE view = 'public.mv_wide'}), 'failed failed', 'after its retry');
	like(sql(q{SELECT last_error FROM factory.refresh_status WHERE view = 'public.mv_wide'}), qr/could not (extend|write)/, 'with the error');
	is(sql(q{SELECT count(*) FROM mv_wide}), 1, 'and keeps its contents');
	system("prlimit --fsize=unlimited:unlimited --pid $postmaster");
	sql(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type IN ('pg_factory scheduler', 'pg_factory refresh worker')});
	sql(q{SELECT factory.resume_refresh('mv_wide')});
	becomes(q{SELECT count(*) = 40000 FROM mv_wide}, 'with room it goes on');
	sql(q{SELECT factory.unschedule_refresh('mv_wide')});
}

# --- months of the logs ------------------------------------------------------------------------
sql(qq{CREATE TABLE factory.$_->[0]_2020_01 PARTITION OF factory.$_->[0] FOR VALUES FROM ('2020-01-01 00:00+00') TO ('2020-02-01 00:00+00');
	ALTER TABLE factory.$_->[0]_2020_01 OWNER TO $_->[1]}) for [ 'audit_log', 'factory_auditor' ], [ 'judgment_log', 'factory_owner' ], [ 'llm_call', 'factory_owner' ];
my $reader = $node->background_psql('postgres');
$reader->query_safe('BEGIN; SELECT count(*) FROM factory.audit_log');
sql(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'pg_factory scheduler'});
becomes(q{SELECT to_regclass('factory.judgment_log_2020_01') IS NULL}, 'a scheduler drops an old month of the judgment log');
becomes(q{SELECT to_regclass('factory.llm_call_2020_01') IS NULL}, 'and of the ledger of calls to models');
is(sql(q{SELECT to_regclass('factory.audit_log_2020_01') IS NOT NULL}), 't', 'while somebody reads the audit log, which keeps its own');
like(slurp_file($node->logfile), qr/could not drop old months: canceling statement due to lock timeout/, 'and the log says so');
$reader->quit;
goes_on('refreshes do');

# --- a synchronous standby that is away --------------------------------------------------------
sql(q{CREATE TABLE told (at timestamptz); SELECT factory.schedule_task('tells', 'INSERT INTO told VALUES (now())', 'daily')});
set(q{synchronous_standby_names = 'away'});
sql(q{SET synchronous_commit = local; SELECT factory.resume_task('tells')});
becomes(q{SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'pg_factory task worker' AND wait_event = 'SyncRep'}, 'a task waits for the standby');
goes_on('refreshes do not');
my $start = time;
$node->stop('fast');
cmp_ok(time - $start, '<', 5, 'and the server stops fast');

# --- pg_upgrade's binary mode -----------------------------------------------------------------------
$node->append_conf('postgresql.conf', q{synchronous_standby_names = ''});
unlink $node->data_dir . '/postgresql.auto.conf';
$node->command_ok([ 'pg_ctl', '-w', '-D', $node->data_dir, '-l', $node->logfile, '-o', '-b', 'start' ], 'the server starts as pg_upgrade starts it');
is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'pg_factory%'}), 0, 'no worker is there');
my $runs = $node->safe_psql('postgres', 'SELECT max(id) FROM factory.refresh_run');
$node->command_ok([ 'pg_dump', '--schema-only', '--binary-upgrade', '-f', $node->basedir . '/upgrade.sql', '-d', $node->connstr('postgres') ], 'and can be dumped for it');
is($node->safe_psql('postgres', 'SELECT max(id) FROM factory.refresh_run'), $runs, 'nothing ran');
$node->command_ok([ 'pg_ctl', '-w', '-D', $node->data_dir, '-m', 'fast', 'stop' ], 'it stops');
unlike(slurp_file($node->logfile), qr/PANIC|TRAP:/, 'nothing went wrong badly');
done_testing();
