# Scheduled tasks: commands that run as their owner, in a session of their own.
use strict;
use warnings;

BEGIN { $ENV{PG_TEST_TIMEOUT_DEFAULT} //= 60; }
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('tasks');
$node->init;
$node->append_conf('postgresql.conf', q{
shared_preload_libraries = 'pg_factory'
timezone = 'UTC'
factory.refresh_retry_delay = 0
log_statement = none
max_worker_processes = 16
factory.refresh_workers = 3
});
$node->start;
sub sql { return $node->safe_psql('postgres', $_[0]); }
sub becomes { my ($query, $what) = @_; ok($node->poll_query_until('postgres', "SELECT coalesce(($query), false)"), $what); }
sub error_of { my ($code, $out, $err) = $node->psql('postgres', $_[0]); return $err; }
sub now { my ($name) = @_; sql("SELECT factory.resume_task('$name')"); }

sql(q{
	CREATE EXTENSION pg_factory;
	CREATE ROLE shift_lead LOGIN IN ROLE factory_author;
	CREATE ROLE stranger LOGIN IN ROLE factory_author;
	GRANT CREATE ON SCHEMA public TO shift_lead;
	CREATE TABLE note (who text, what text);
	GRANT INSERT ON note TO shift_lead;
});

# As its owner, in its own session, by a schedule.
sql(q{SET ROLE shift_lead; SELECT factory.schedule_task('note', $$INSERT INTO note VALUES (session_user, current_setting('application_name'))$$, 'every second')});
becomes(q{SELECT count(*) >= 2 FROM factory.task_run WHERE status = 'succeeded'}, 'a task runs, and again');
is(sql('SELECT DISTINCT who, what FROM note'), 'shift_lead|pg_factory task', 'in a session of its owner');
is(sql(q{SELECT owner || ' ' || enabled FROM factory.task_status}), 'shift_lead true', 'the status tells whose it is');
is(sql(q{SELECT count(*) FROM (SELECT FROM factory.task_run WHERE status <> 'skipped' GROUP BY task, scheduled_for HAVING count(*) > 1) AS twice}), 0, 'no due time is served twice');
like(error_of(q{SET ROLE stranger; SELECT factory.unschedule_task('note')}), qr/must be owner of task "note"/, 'a stranger cannot take it away');
like(error_of(q{SET ROLE stranger; SELECT factory.schedule_task('note', 'SELECT 1', 'hourly')}), qr/must be owner of task "note"\nHINT:  It is of shift_lead/, 'nor replace it');
is(sql(q{SET ROLE stranger; SELECT command IS NULL FROM factory.task_status}), 't', 'nor read its command');
is(sql(q{SET ROLE stranger; SELECT command IS NULL FROM factory.task_status; RESET ROLE; GRANT factory_admin TO stranger; SET ROLE stranger; SELECT command ~ 'INSERT' FROM factory.task_status; RESET ROLE; REVOKE factory_admin FROM stranger}), "t\nt", 'an administrator can');
sql(q{SET ROLE shift_lead; SELECT factory.unschedule_task('note')});

# Nobody schedules in another's name: not by a function that another calls, nor by what maintenance runs.
sql(q{GRANT CREATE ON SCHEMA public TO stranger; SET ROLE stranger;
	CREATE FUNCTION trap() RETURNS int LANGUAGE plpgsql SECURITY DEFINER AS $$BEGIN PERFORM factory.schedule_task('trap', 'SELECT 1', 'daily'); RETURN 1; END$$;
	CREATE FUNCTION keyed(a int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$BEGIN IF current_setting('trap.armed', true) = 'yes' THEN PERFORM factory.schedule_task('key', 'SELECT 1', 'daily'); END IF; RETURN a; END$$;
	CREATE TABLE baited (a int); CREATE INDEX ON baited (keyed(a)); INSERT INTO baited VALUES (1)});
is(sql(q{SELECT trap(); SELECT owner FROM factory.task_status WHERE name = 'trap'; SELECT factory.unschedule_task('trap')}), "1\nstranger\n", 'called by a superuser, the task is still its definer\'s');
like(error_of(q{SET trap.armed = 'yes'; REINDEX TABLE baited}), qr/cannot change tasks within a security-restricted operation/, 'and maintenance schedules nothing');

# The nightly VACUUM; what commits on its own; several statements; what leaves a transaction open.
sql(q{CREATE TABLE worn (a int); INSERT INTO worn SELECT generate_series(1, 100);
	CREATE PROCEDURE in_steps() LANGUAGE plpgsql AS $$BEGIN INSERT INTO note VALUES ('step', '1'); COMMIT; RAISE division_by_zero; END$$;
	SELECT factory.schedule_task('nightly', 'VACUUM (ANALYZE) worn', 'daily at 03:00'),
		factory.schedule_task('steps', 'CALL in_steps()', 'daily', pause_after => 1),
		factory.schedule_task('both', $$INSERT INTO note VALUES ('both', '1'); SELECT 1/0$$, 'daily', retries => 1),
		factory.schedule_task('left open', 'BEGIN; INSERT INTO note VALUES (1, 1)', 'daily'),
		factory.schedule_task('typo', 'SELEC 1', 'daily')});
now($_) foreach ('nightly', 'steps', 'both', 'left open', 'typo');
becomes(q{SELECT vacuum_count > 0 FROM pg_stat_user_tables WHERE relname = 'worn'}, 'VACUUM works');
becomes(q{SELECT count(*) = 6 AND bool_and(status <> 'running') FROM factory.task_run WHERE task IN ('nightly', 'steps', 'both', 'left open', 'typo')}, 'all have run');
is(sql(q{SELECT status || ' ' || reason FROM factory.task_run WHERE task = 'nightly'}), 'succeeded resumed', 'and says so');
is(sql(q{SELECT to_char(next_due AT TIME ZONE 'UTC', 'HH24:MI') FROM factory.task_status WHERE name = 'nightly'}), '03:00', 'it is due next at night');
is(sql(q{SELECT count(*) FROM note WHERE who = 'step'}), 1, 'a procedure can commit');
is(sql(q{SELECT state || ' ' || last_error FROM factory.task_status WHERE name = 'steps'}), 'paused division_by_zero', 'a task that fails is paused');
is(sql(q{SELECT count(*) FROM note WHERE who = 'both'}), 0, 'several statements are one transaction');
is(sql(q{SELECT string_agg(reason, ', ' ORDER BY id) FROM factory.task_run WHERE task = 'both'}), 'resumed, retry 1 of 1', 'it is tried again where it says so');
like(sql(q{SELECT error FROM factory.task_run WHERE task = 'left open'}), qr/left its transaction open/, 'an open transaction is an error');
like(sql(q{SELECT error || sqlstate FROM factory.task_run WHERE task = 'typo'}), qr/syntax error.*42601/, 'so is a typing error');

# An end, by time, by cancel, by terminate, by overlap.
sql(q{SELECT factory.schedule_task('slow', 'SELECT pg_sleep(60)', 'daily', timeout => '100 ms')});
now('slow');
becomes(q{SELECT last_status = 'failed' AND last_error LIKE '%statement timeout%' FROM factory.task_status WHERE name = 'slow'}, 'a task has its timeout');
my $running = q{SELECT count(*) = 1 FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)' AND backend_type = 'pg_factory task worker' AND state = 'active'};
sql(q{SELECT factory.schedule_task('slow', 'SELECT pg_sleep(60)', 'daily')});
now('slow');
becomes($running, 'a long task is under way');
sql(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)' AND backend_type = 'pg_factory task worker'});
becomes(q{SELECT last_error LIKE 'its process ended before it was done%' FROM factory.task_status WHERE name = 'slow'}, 'terminated, it is seen as ended');
now('slow');
becomes($running, 'it runs again');
now('slow');
becomes(q{SELECT EXISTS (SELECT FROM factory.task_run WHERE task = 'slow' AND status = 'skipped' AND reason = 'its last run is still going on')}, 'due again it is skipped');
sql(q{UPDATE factory.task SET overlap = 'cancel_running', next_due = now() WHERE name = 'slow'});
becomes(q{SELECT EXISTS (SELECT FROM factory.task_run WHERE task = 'slow' AND error LIKE 'cancelled, because it came due again%')}, 'or the run is cancelled, where it says so');
becomes($running, 'for the new one');

# The scheduler's end is the end of its processes; a task is not repeated.
sql(q{SELECT pg_terminate_backend(pid) FROM factory.worker_status WHERE kind = 'scheduler'});
becomes(q{SELECT last_error LIKE 'server stopped; how far it came is not known' FROM factory.task_status WHERE name = 'slow'}, 'the end of the scheduler ends it');
becomes(q{SELECT count(*) = 0 FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)'}, 'and it does not run on');
sql(q{SELECT factory.unschedule_task('slow')});

# A dropped owner; a role that may not log in.
sql(q{SET ROLE shift_lead; SELECT factory.schedule_task('orphan', 'SELECT 1', 'daily')});
sql(q{REVOKE ALL ON note FROM shift_lead; DROP OWNED BY shift_lead; DROP ROLE shift_lead; SELECT factory.resume_task('orphan')});
becomes(q{SELECT state = 'owner dropped' AND NOT enabled AND last_reason LIKE 'its owner was dropped%' FROM factory.task_status WHERE name = 'orphan'}, 'a task without owner is taken out');
sql('CREATE ROLE shadow NOLOGIN IN ROLE factory_author');
SKIP:
{
	skip 'a worker can be any role since 17', 1 if $node->pg_version >= 17;
	like(error_of(q{SET ROLE shadow; SELECT factory.schedule_task('shadow', 'SELECT 1', 'daily')}), qr/may not log in.*\nHINT:  ALTER ROLE shadow LOGIN/, 'a role that may not log in is told so');
}

# Bad input.
my %wrong = (
	q{'x', '', 'daily'} => qr/the command of task "x" is empty\nHINT:  Write SQL/,
	q{'', 'SELECT 1', 'daily'} => qr/name must have 1 to 63 bytes/,
	q{'x', 'SELECT 1', 'daily at 25:00'} => qr/schedule "daily at 25:00" is not valid\nDETAIL:  The hour of "25:00" at position 10 is not between 0 and 23/,
	q{'x', 'SELECT 1', '0 0 31 2 *'} => qr/It would never be due/,
	q{'x', 'SELECT 1', 'daily', overlap => 'maybe'} => qr/"overlap" of the task is not valid\nHINT:  It is one of skip, queue_one, cancel_running/,
	q{'x', 'SELECT 1', 'daily', timeout => '-1 s'} => qr/"timeout" of the task is not valid/,
	q{'x', 'SELECT 1', 'daily', timezone => 'Mars/Olympus'} => qr/Mars\/Olympus/,
);
like(error_of("SELECT factory.schedule_task($_)"), $wrong{$_}, "refused: $_") foreach sort keys %wrong;

# From pg_cron.
like(error_of('SELECT factory.import_cron()'), qr/there is no table cron.job/, 'without pg_cron it says so');
sql(q{CREATE SCHEMA cron; CREATE TABLE cron.job (jobid bigint, schedule text, command text, nodename text, nodeport int,
	database text, username text, active bool, jobname text);
	INSERT INTO cron.job VALUES (1, '0 3 * * *', 'VACUUM worn', 'localhost', 5432, 'postgres', current_user, true, 'nightly vacuum'),
		(2, '30 seconds', 'SELECT 2', 'localhost', 5432, 'postgres', current_user, false, NULL),
		(3, '0 0 $ * *', 'SELECT 3', 'localhost', 5432, 'postgres', current_user, false, 'month end'),
		(4, '* * * * *', 'SELECT 4', 'localhost', 5432, 'elsewhere', current_user, true, NULL),
		(5, '* * * * *', 'SELECT 5', 'localhost', 5432, 'postgres', 'nobody', true, NULL)});
is(sql(q{SELECT jobid, name, next_due IS NOT NULL, problem FROM factory.import_cron()}), join("\n",
	'1|nightly vacuum|t|', '2|cron job 2|t|', '3|month end|t|',
	'4|cron job 4|f|it is for database elsewhere: schedule it there',
	'5|cron job 5|f|it is of role nobody: import it as that role'), 'jobs of pg_cron become tasks, or say why not');
is(sql(q{SELECT string_agg(name || ' ' || schedule || ' ' || timezone || ' ' || state, ', ' ORDER BY name) FROM factory.task_status WHERE name IN ('nightly vacuum', 'cron job 2', 'month end')}),
	'cron job 2 every 30 seconds GMT disabled, month end 0 0 L * * GMT disabled, nightly vacuum 0 3 * * * GMT waiting', 'with their schedule and zone');
sql(q{SELECT set_config('cron.timezone', 'Asia/Seoul', false); SELECT factory.import_cron()});
is(sql(q{SELECT DISTINCT timezone FROM factory.task_status WHERE name IN ('nightly vacuum', 'cron job 2', 'month end')}), 'GMT',
	'a setting that pg_cron does not know is not its zone');
sql(q{SELECT factory.import_cron('Asia/Seoul')});
is(sql(q{SELECT DISTINCT timezone FROM factory.task_status WHERE name IN ('nightly vacuum', 'cron job 2', 'month end')}), 'Asia/Seoul',
	'the zone can be named');
like(error_of(q{SELECT factory.import_cron('Mars/Olympus')}) . sql(q{SELECT problem FROM factory.import_cron('Mars/Olympus') LIMIT 1}),
	qr{Mars/Olympus}, 'and a wrong one is each job\'s problem');

# Views are refreshed side by side; what reads another comes after it.
sql(q{CREATE MATERIALIZED VIEW mv_long AS SELECT pg_sleep(30) IS NULL AS slept WITH NO DATA;
	CREATE MATERIALIZED VIEW mv_short AS SELECT clock_timestamp() AS at;
	CREATE MATERIALIZED VIEW mv_above AS SELECT * FROM mv_long WITH NO DATA;
	SELECT factory.schedule_refresh('mv_long', 'every second'), factory.schedule_refresh('mv_above', 'every second')});
becomes(q{SELECT count(*) = 1 FROM pg_stat_activity WHERE query = 'refreshing public.mv_long'}, 'a long refresh is under way');
sql(q{SELECT factory.schedule_refresh('mv_short', 'every second')});
becomes(q{SELECT count(*) >= 2 FROM factory.refresh_run WHERE view = 'public.mv_short' AND status = 'succeeded'}, 'it holds up no other');
is(sql(q{SELECT count(*) FROM factory.refresh_run WHERE view = 'public.mv_above'}), 0, 'but the one that reads it');
my $before = time;
is(($node->psql('postgres', 'CREATE DATABASE spare; DROP DATABASE spare'))[0], 0, 'other databases come and go');
$node->stop('fast');
cmp_ok(time - $before, '<', 8, 'and the server stops in the middle of it');
unlike(slurp_file($node->logfile), qr/PANIC|TRAP:|terminated by signal/, 'nothing went wrong badly');
done_testing();
