# The policies of schedules, at moments that the test names: the clock stands where it is
# told to, and what is due then is done once.
use strict;
use warnings;

BEGIN { $ENV{PG_TEST_TIMEOUT_DEFAULT} //= 60; }
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('policies');
my $file = $node->data_dir . '/clock.conf';
$node->init;
$node->append_conf('postgresql.conf', q{
shared_preload_libraries = 'pg_factory'
include_if_exists = 'clock.conf'
timezone = 'UTC'
log_statement = none
});
sub sql { return $node->safe_psql('postgres', $_[0]); }
sub becomes { my ($query, $what) = @_; return ok($node->poll_query_until('postgres', "SELECT coalesce(($query), false)"), $what); }
sub error_of { my ($code, $out, $err) = $node->psql('postgres', $_[0]); return $err; }

# In place of the file, whole: somebody may be reading it.
sub write_clock
{
	my ($moment) = @_;
	append_to_file("$file.new", "factory.frozen_clock = '$moment'\n");
	rename "$file.new", $file or die $!;
	return;
}

sub clock
{
	my ($moment) = @_;
	write_clock($moment);
	$node->reload;
	$node->poll_query_until('postgres', "SELECT factory.clock_now() = '$moment'") or die 'the clock is not taken over';
	return;
}
sub runs { my ($view) = @_; return qq{(SELECT string_agg(status || ' ' || to_char(scheduled_for, 'DD HH24:MI'), ', ' ORDER BY id) FROM factory.refresh_run WHERE view = 'public.$view')}; }
sub next_due { my ($view) = @_; return qq{(SELECT to_char(next_due, 'DD HH24:MI:SS') FROM factory.refresh_status WHERE view = 'public.$view')}; }

write_clock('2126-03-02 00:00+00');
$node->start;
sql(q{
CREATE EXTENSION pg_factory;
CREATE TABLE gate (n int);
INSERT INTO gate VALUES (1);
CREATE FUNCTION view_named(name text, query text DEFAULT 'SELECT clock_timestamp() AS at') RETURNS void LANGUAGE plpgsql AS
	$$BEGIN EXECUTE format('CREATE MATERIALIZED VIEW %I AS %s', name, query); END$$;
});

# --- catching up ----------------------------------------------------------------------------
sql(q{
SELECT view_named('mv_' || p) FROM unnest('{none,last,late,every}'::text[]) AS p;
SELECT factory.schedule_refresh('mv_none', 'daily at 06:00', catch_up => 'none'),
	factory.schedule_refresh('mv_last', 'daily at 06:00', catch_up => 'last'),
	factory.schedule_refresh('mv_late', 'daily at 06:00', catch_up_window => '5 hours'),
	factory.schedule_refresh('mv_every', 'daily at 06:00', catch_up => 'all')});
$node->stop;
write_clock('2126-03-05 12:00+00');
$node->start;
becomes(runs('mv_every') . q{ = 'succeeded 02 06:00, succeeded 03 06:00, succeeded 04 06:00, succeeded 05 06:00'}, 'what was missed while the server was down is caught up, each of it');
becomes(runs('mv_last') . q{ = 'succeeded 02 06:00'}, 'or once');
becomes(runs('mv_none') . q{ = 'skipped 02 06:00'}, 'or not, and the history says so');
becomes(runs('mv_late') . q{ = 'skipped 02 06:00'}, 'nor what was missed before the window');
is(sql(q{SELECT string_agg(reason, ', ' ORDER BY view) FROM factory.refresh_run WHERE status = 'skipped'}),
	'missed more than its window ago, missed, and the schedule says not to catch up', 'each with its reason');
is(sql(q{SELECT string_agg(DISTINCT to_char(next_due, 'DD HH24:MI'), ' ') FROM factory.refresh_status}), '06 06:00', 'and all wait for the next morning');
sql(q{SELECT factory.unschedule_refresh(view) FROM factory.refresh_schedule});

# --- due again while it runs ---------------------------------------------------------------------
sql(q{
SELECT view_named('mv_' || p, 'SELECT n, clock_timestamp() FROM gate') FROM unnest('{queue,skip}'::text[]) AS p;
SELECT factory.schedule_refresh('mv_queue', 'hourly'), factory.schedule_refresh('mv_skip', 'hourly', overlap => 'skip')});
my $holder = $node->background_psql('postgres');
$holder->query_safe('BEGIN; LOCK TABLE gate');
clock('2126-03-05 13:00+00');
becomes(q{SELECT count(*) = 2 FROM factory.refresh_status WHERE state = 'running'}, 'two refreshes are under way');
clock('2126-03-05 16:30+00');
$holder->query_safe('COMMIT');
becomes(runs('mv_queue') . q{ = 'succeeded 05 13:00, succeeded 05 14:00'}, 'what came due meanwhile runs once more');
becomes(runs('mv_skip') . q{ = 'succeeded 05 13:00'}, 'or waits for the next time, where its schedule says skip');
becomes(next_due('mv_queue') . ' = ' . next_due('mv_skip') . q{ AND } . next_due('mv_skip') . q{ = '05 17:00:00'}, 'which is the same');
sql(q{SELECT factory.unschedule_refresh(view) FROM factory.refresh_schedule});

# --- how long it may take --------------------------------------------------------------------------
$holder->query_safe('BEGIN; LOCK TABLE gate');
sql(q{SELECT factory.schedule_refresh('mv_queue', 'hourly', timeout => '50 ms', retries => 0),
	factory.schedule_refresh('mv_skip', 'hourly', lock_timeout => '50 ms', retries => 0)});
clock('2126-03-05 17:00+00');
becomes(q{SELECT string_agg(view || ' ' || sqlstate, ', ' ORDER BY view) = 'public.mv_queue 57014, public.mv_skip 55P03' FROM factory.refresh_run WHERE status = 'failed'},
	'a schedule has its own timeout, and its own for locks');
$holder->query_safe('COMMIT');
$holder->quit;
sql(q{SELECT factory.unschedule_refresh(view) FROM factory.refresh_schedule});

# --- again, and again later ------------------------------------------------------------------------
sql(q{SELECT view_named('mv_bad', 'SELECT 1 / n AS odd FROM gate'); UPDATE gate SET n = 0;
	SELECT factory.schedule_refresh('mv_bad', 'daily at 20:00', retries => 3, retry_delay => '1 minute', pause_after => 1)});
my $listener = $node->background_psql('postgres');
$listener->query_safe('LISTEN factory_events');
clock('2126-03-05 20:00+00');
becomes(next_due('mv_bad') . q{ = '05 20:01:00'}, 'a failed run is tried again after the delay');
clock('2126-03-05 20:01+00');
becomes(next_due('mv_bad') . q{ = '05 20:03:00'}, 'then after twice that');
clock('2126-03-05 20:03+00');
becomes(next_due('mv_bad') . q{ = '05 20:07:00'}, 'and twice that');
clock('2126-03-05 20:07+00');
becomes(q{SELECT state = 'paused' FROM factory.refresh_status}, 'then it is paused, as that was its last failure');
is(sql(q{SELECT odd FROM mv_bad}), 1, 'its contents are what they were');
like(sql('SELECT factory.metrics()'), qr/refresh_runs_total\{[^}]*view="public.mv_bad",status="failed"\} 4/, 'four failed runs are counted');
like($listener->query_safe('SELECT 1'), qr/"refresh_failed", "view": "public.mv_bad".*"refresh_paused", "view": "public.mv_bad"/s, 'and told');
eval { $listener->quit };
sql(q{SELECT factory.unschedule_refresh('mv_bad')});

# --- jitter --------------------------------------------------------------------------------------
my $spread = q{SELECT string_agg(to_char(next_due, 'DD HH24:MI:SS.US'), ' ' ORDER BY view) FROM factory.refresh_status};
sql(q{SELECT view_named('mv_j' || i) FROM generate_series(1, 5) AS i;
	SELECT factory.schedule_refresh(format('mv_j%s', i)::regclass, 'hourly', jitter => '10 minutes') FROM generate_series(1, 5) AS i});
my $first = sql($spread);
is(sql(q{SELECT count(DISTINCT next_due) || ' ' || (min(next_due) >= '2126-03-05 21:00+00' AND max(next_due) < '2126-03-05 21:10+00') FROM factory.refresh_status}), '5 true', 'jitter spreads what is due together');
is(sql(q{SELECT count(*) FROM factory.refresh_plan(until => '2126-03-05 22:00+00') AS p JOIN factory.refresh_status AS s ON s.view = p.view AND abs(extract(epoch FROM s.next_due - p.due_at)) < 0.001}), 5, 'as the plan says');
clock('2126-03-05 21:10+00');
becomes(q{SELECT count(*) = 5 AND min(next_due) >= '2126-03-05 22:00+00' FROM factory.refresh_status WHERE last_status = 'succeeded'}, 'all have run');
is(sql($spread), $first =~ s/05 21:/05 22:/gr, 'and each has the same share the next time');
sql(q{SELECT factory.unschedule_refresh(view) FROM factory.refresh_schedule});

# --- a business calendar ---------------------------------------------------------------------------
sql(q{INSERT INTO factory.holiday (calendar, day) VALUES ('korea', '2126-03-06'), ('korea', '2126-03-08');
	SELECT factory.schedule_refresh('mv_last', 'daily at 06:00', timezone => 'Asia/Seoul', holidays => 'korea'),
		factory.schedule_refresh('mv_none', 'daily at 06:00', timezone => 'Asia/Seoul', enabled => false, holidays => 'korea');
	SELECT factory.schedule_task('books', 'SELECT 1', 'daily at 06:00', timezone => 'Asia/Seoul', holidays => 'korea')});
is(sql('SELECT ' . next_due('mv_last')), '06 21:00:00', 'the first due time is no holiday, by the days of its zone');
is(sql(q{SELECT to_char(next_due, 'DD HH24:MI') FROM factory.task_status}), '06 21:00', 'nor is a task\'s');
# A holiday that is declared when the due time is known.
sql(q{INSERT INTO factory.holiday (calendar, day) VALUES ('korea', '2126-03-07')});
clock('2126-03-06 21:00+00');
becomes(next_due('mv_last') . q{ = '08 21:00:00'}, 'a new holiday is kept');
becomes(q{SELECT to_char(next_due, 'DD HH24:MI') = '08 21:00' FROM factory.task_status}, 'by tasks, too');
clock('2126-03-08 21:00+00');
becomes(runs('mv_last') . q{ LIKE '%, succeeded 08 21:00'}, 'the day after, work goes on');
becomes(q{SELECT string_agg(status || to_char(scheduled_for, ' DD'), ', ') = 'succeeded 08' FROM factory.task_run}, 'the task\'s, too');
is(sql('SELECT ' . runs('mv_last')), 'succeeded 02 06:00, succeeded 08 21:00', 'and nothing ran on a holiday');
is(sql(q{SELECT state || ' ' || (SELECT count(*) FROM factory.refresh_run WHERE view = 'public.mv_none') FROM factory.refresh_status WHERE view = 'public.mv_none'}), 'disabled 1', 'what is disabled did not run at all');
like(error_of(q{INSERT INTO factory.holiday (calendar, day) SELECT 'never', '2126-01-01'::date + i FROM generate_series(0, 1100) AS i;
	SELECT factory.schedule_refresh('mv_last', 'daily at 06:00', holidays => 'never')}), qr/has only holidays ahead\nHINT:  Table factory.holiday lists the days/, 'a calendar without a working day is refused');
sql(q{SELECT factory.unschedule_refresh(view) FROM factory.refresh_schedule; SELECT factory.unschedule_task('books')});

# --- changes, and the quiet after them ----------------------------------------------------------------
sql(q{SELECT view_named('mv_sum', 'SELECT sum(n) AS n FROM gate'); SELECT factory.schedule_refresh('mv_sum', 'on change', quiet => '10 minutes')});
becomes(runs('mv_sum') . q{ = 'succeeded 08 21:00'}, 'a view begins fresh');
sql('INSERT INTO gate VALUES (10)');
becomes(next_due('mv_sum') . q{ = '08 21:10:00'}, 'a change makes it due, after the quiet time');
clock('2126-03-08 21:05+00');
sql('INSERT INTO gate VALUES (100)');
becomes('SELECT count(*) = 0 FROM factory.refresh_change', 'another is noticed');
is(sql('SELECT ' . next_due('mv_sum')), '08 21:10:00', 'and does not put it off');
clock('2126-03-08 21:10+00');
becomes(q{SELECT n = 110 FROM mv_sum}, 'both are there');
is(sql('SELECT ' . runs('mv_sum')), 'succeeded 08 21:00, succeeded 08 21:10', 'in one run');
sql(q{SELECT factory.unschedule_refresh('mv_sum'); DROP TRIGGER factory_note_change ON gate});

# --- two targets over one source ------------------------------------------------------------------------
sql(q{SELECT view_named('mv_base', 'SELECT n, clock_timestamp() FROM gate'), view_named('mv_left', 'SELECT n FROM mv_base'), view_named('mv_right', 'SELECT n + 1 AS n FROM mv_base');
	DELETE FROM factory.refresh_run;
	SELECT factory.schedule_refresh('mv_left', 'within 10 minutes'), factory.schedule_refresh('mv_right', 'within 12 minutes')});
my $wave = q{SELECT string_agg(view, ' ' ORDER BY view) = 'public.mv_base public.mv_left public.mv_right' FROM factory.refresh_run WHERE started_at >= '%s'};
becomes(sprintf($wave, '2126-03-08 21:10+00'), 'two targets are one wave, and what they share is refreshed once');
sql('INSERT INTO gate VALUES (5)');
clock('2126-03-08 21:20+00');
becomes(sprintf($wave, '2126-03-08 21:20+00'), 'and the next, too');
is(sql(q{SELECT count(*) FROM factory.refresh_run AS s, factory.refresh_run AS r WHERE s.view = 'public.mv_base' AND r.view <> s.view AND r.started_at = s.started_at AND r.id < s.id}), 0, 'the source first');
sql('DELETE FROM factory.refresh_run');
sql(q{SELECT factory.unschedule_refresh(view) FROM factory.refresh_schedule});
# A source with a target of its own: refreshed for another, it is as if for itself.
sql(q{SELECT factory.schedule_refresh('mv_base', 'within 15 minutes'), factory.schedule_refresh('mv_left', 'within 10 minutes')});
becomes(q{SELECT count(*) = 2 AND min(next_due) > '2126-03-08 21:20+00' FROM factory.refresh_status WHERE last_status = 'succeeded'}, 'source and view are fresh');
clock('2126-03-08 21:30+00');
becomes(q{SELECT min(next_due) > '2126-03-08 21:30+00' FROM factory.refresh_status}, 'the view comes due');
is(sql('SELECT ' . next_due('mv_base') . q{ >= '08 21:44:50'}), 't', 'its source, refreshed for it, is not due before its own target');
# Nothing changed: the sources are not refreshed either.
sql(q{SELECT factory.unschedule_refresh(view) FROM factory.refresh_schedule; SELECT view_named('mv_still', 'SELECT n FROM gate'), view_named('mv_above', 'SELECT n FROM mv_still');
	SELECT factory.schedule_refresh('mv_above', 'within 10 minutes')});
becomes(q{SELECT last_status = 'succeeded' FROM factory.refresh_status}, 'a view and its source are fresh');
sql('DELETE FROM factory.refresh_run');
clock('2126-03-08 21:45+00');
becomes(q<SELECT factory.metrics() ~ 'refresh_skipped_total\{[^}]*view="public.mv_above"\} 1'>, 'nothing has changed when its target comes due: it is skipped');
is(sql('SELECT count(*) FROM factory.refresh_run'), 0, 'and so is its source');
sql('UPDATE gate SET n = n + 1');
clock('2126-03-08 22:00+00');
becomes(q{SELECT string_agg(view, ' ' ORDER BY id) = 'public.mv_still public.mv_above' FROM factory.refresh_run WHERE status = 'succeeded'}, 'a change at the bottom makes both anew');
sql(q{SELECT factory.unschedule_refresh(view) FROM factory.refresh_schedule});

# --- whose rights ---------------------------------------------------------------------------------------
sql(q{CREATE ROLE keeper; GRANT CREATE ON SCHEMA public TO keeper; SET ROLE keeper;
	CREATE FUNCTION public.whoever() RETURNS text LANGUAGE sql AS 'SELECT current_user::text';
	CREATE MATERIALIZED VIEW mv_kept AS SELECT public.whoever() AS who WITH NO DATA; RESET ROLE;
	SELECT factory.schedule_refresh('mv_kept', 'hourly')});
clock('2126-03-08 23:00+00');
becomes(runs('mv_kept') . q{ = 'succeeded 08 23:00'}, 'somebody\'s view is refreshed');
is(sql('SELECT who FROM mv_kept'), 'keeper', 'in his name, whoever scheduled it');

$node->stop('fast');
unlike(slurp_file($node->logfile), qr/PANIC|TRAP:/, 'nothing went wrong badly');
done_testing();
