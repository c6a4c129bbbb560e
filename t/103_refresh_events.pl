# What makes a view due beside the clock: other views, changes, a target of staleness,
# a failure; and what keeps it from being refreshed: nothing changed, a pause, a holiday.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('events');
$node->init;
$node->append_conf('postgresql.conf', qq(
shared_preload_libraries = 'pg_factory'
factory.refresh_retry_delay = 0
autovacuum = off
));
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION pg_factory;
	CREATE TABLE piece (line text, good bool);
	CREATE MATERIALIZED VIEW mv_line AS SELECT line, count(*) AS pieces FROM piece GROUP BY line;
	CREATE MATERIALIZED VIEW mv_plant AS SELECT sum(pieces) AS pieces FROM mv_line;
	CREATE MATERIALIZED VIEW mv_other AS SELECT count(*) AS lines FROM mv_line;
	CREATE MATERIALIZED VIEW mv_both AS SELECT p.pieces, o.lines FROM mv_plant AS p, mv_other AS o;
	CREATE FUNCTION share(a bigint, b bigint) RETURNS bigint IMMUTABLE LANGUAGE sql AS 'SELECT a / b';
	CREATE MATERIALIZED VIEW mv_broken AS SELECT share(count(*), count(*) FILTER (WHERE good)) AS odd FROM piece WITH NO DATA;
});

sub sql { return $node->safe_psql('postgres', $_[0]); }
sub becomes { my ($query, $what) = @_; ok($node->poll_query_until('postgres', "SELECT ($query)"), $what); }
sub error_of { my ($code, $out, $err) = $node->psql('postgres', $_[0]); return $err; }
my $now = q{SET factory.frozen_clock = '2126-01-15 09:00+09'; SET timezone = 'Asia/Seoul'; SET factory.timezone = 'Asia/Seoul';};

# --- after other views -------------------------------------------------------------

sql(q{SELECT factory.schedule_refresh('mv_line', 'daily at 06:00');
	SELECT factory.schedule_refresh('mv_plant', 'after mv_line'), factory.schedule_refresh('mv_other', 'after mv_line'),
		factory.schedule_refresh('mv_both', 'after mv_plant, mv_other')});
sql(q{INSERT INTO piece VALUES ('A', true), ('A', true), ('B', true)});
sql(q{SELECT factory.refresh_now('mv_line')});
becomes(q{SELECT pieces = 3 AND lines = 2 FROM mv_both}, 'a refresh is followed by those that come after it, to the last');
like(sql(q{SELECT string_agg(view || ' ' || split_part(reason, ';', 1), ', ' ORDER BY id) FROM factory.refresh_run WHERE view = 'public.mv_both'}),
	qr/^public\.mv_both after public\.mv_(plant|other)$/, 'once, and it says why');
is(sql(q{SELECT min(b.started_at) >= max(a.finished_at) FROM factory.refresh_run AS a, factory.refresh_run AS b
	WHERE a.view IN ('public.mv_plant', 'public.mv_other') AND b.view = 'public.mv_both'}), 't', 'when both were there');
is(sql(q{SELECT next_due IS NULL AND state = 'waiting' FROM factory.refresh_status WHERE view = 'public.mv_both'}), 't', 'no time is named for it');
is(sql(q{SELECT reads_views FROM factory.refresh_status WHERE view = 'public.mv_both'}), '{mv_line,mv_plant,mv_other}', 'and what it reads is told, from the bottom');
like(error_of(q{SELECT factory.schedule_refresh('mv_line', 'after mv_both')}),
	qr/the views would wait for each other\nDETAIL:  Already: public.mv_both (after|reads) public.mv_(plant|other) (after|reads) public.mv_line/, 'no circles');
like(error_of(q{SELECT factory.schedule_refresh('mv_line', 'after mv_line')}), qr/would wait for each other/, 'not even of one');
like(error_of(q{CREATE MATERIALIZED VIEW mv_reader AS SELECT count(*) FROM mv_line; SELECT factory.schedule_refresh('mv_line', 'after mv_reader')}),
	qr/the views would wait for each other\nDETAIL:  Already: public.mv_reader reads public.mv_line\./, 'nor after one that reads it');
like(error_of(q{SELECT factory.schedule_refresh('mv_line', 'after 2 minutes')}), qr/"2 minutes" in the schedule is not a materialized view\nHINT:  Write after mv_a/, 'nor after what is no name');
like(error_of(q{SELECT factory.schedule_refresh('mv_line', 'after mv_plant, mv_other (all)')}), qr/"mv_other \(all\)" in the schedule is not a materialized view/, 'or no name all through');
like(error_of(q{SELECT factory.schedule_refresh('mv_line', 'after piece')}), qr/"piece" in the schedule is not a materialized view/, 'nor after a table');
like(error_of(q{SELECT factory.schedule_refresh('mv_line', 'after ')}), qr/"after" in the schedule names no view/, 'nor after nothing');
sql(q{SELECT factory.schedule_refresh('mv_both', 'after any mv_plant, mv_other')});
sql(q{DELETE FROM factory.refresh_run; SELECT factory.refresh_now('mv_plant')});
becomes(q{SELECT count(*) = 1 FROM factory.refresh_run WHERE view = 'public.mv_both' AND status = 'succeeded'}, 'after any of them');

# --- on change ----------------------------------------------------------------------

sql(q{SELECT factory.unschedule_refresh(v) FROM unnest('{mv_plant,mv_other,mv_both}'::regclass[]) AS v});
sql(q{SELECT factory.schedule_refresh('mv_line', 'on change or daily at 06:00', quiet => '10 ms')});
becomes(q{SELECT next_why = 'schedule' AND last_status = 'succeeded' FROM factory.refresh_status}, 'it begins fresh');
sql(q{INSERT INTO piece VALUES ('C', true)});
becomes(q{SELECT count(*) = 3 FROM mv_line}, 'a change is noticed');
like(sql(q{SELECT last_reason FROM factory.refresh_status}), qr/^a table it reads was changed; /, 'and named as the reason');
sql(q{BEGIN; INSERT INTO piece VALUES ('X', true); ROLLBACK;
	BEGIN; SAVEPOINT s; INSERT INTO piece VALUES ('X', true); ROLLBACK TO s; INSERT INTO piece VALUES ('D', true); INSERT INTO piece VALUES ('E', true); COMMIT});
becomes(q{SELECT count(*) = 5 FROM mv_line}, 'also what a transaction does after an undone savepoint');
sql(q{TRUNCATE piece});
becomes(q{SELECT count(*) = 0 FROM mv_line}, 'and that a table was emptied');
is(sql(q{SELECT count(*) FROM factory.refresh_change}), '0', 'nothing is left to look at');
sql(q{CREATE ROLE stranger; GRANT factory_author TO stranger; GRANT SELECT ON piece TO stranger; GRANT CREATE ON SCHEMA public TO stranger;
	SET ROLE stranger; CREATE MATERIALIZED VIEW mv_strange AS SELECT count(*) FROM piece});
sql(q{SELECT factory.unschedule_refresh('mv_line'); DROP TRIGGER factory_note_change ON piece});
like(error_of(q{SET ROLE stranger; SELECT factory.schedule_refresh('mv_strange', 'on change')}), qr/permission denied for table piece|must be owner/,
	'whoever may not put a trigger on the table cannot watch it');
sql('DROP MATERIALIZED VIEW mv_strange');

# --- a target of staleness -----------------------------------------------------------

sql(q{DELETE FROM factory.refresh_run; INSERT INTO piece VALUES ('A', true);
	SELECT factory.schedule_refresh('mv_both', 'within 2 seconds')});
becomes(q{SELECT pieces = 1 AND lines = 1 FROM mv_both}, 'what it reads is refreshed first');
is(sql(q{SELECT string_agg(DISTINCT view, ' ') FROM (SELECT view FROM factory.refresh_run ORDER BY id LIMIT 4) AS wave}),
	'public.mv_both public.mv_line public.mv_other public.mv_plant', 'in one wave, each once');
is(sql(q{SELECT view FROM factory.refresh_run ORDER BY id OFFSET 3 LIMIT 1}), 'public.mv_both', 'and itself last');
like(sql(q{SELECT reason FROM factory.refresh_run ORDER BY id LIMIT 1}), qr/^for public.mv_both, which reads it; /, 'with the reason');
sql(q{INSERT INTO piece VALUES ('Z', true)});
becomes(q{SELECT lines = 2 FROM mv_both}, 'and again before it is too old');
cmp_ok(sql(q{SELECT extract(epoch FROM next_due - fresh_as_of) FROM factory.refresh_status}), '>=', 1, 'not sooner than half of it');
sql(q{SELECT factory.unschedule_refresh('mv_both')});
like(error_of(q{SELECT factory.schedule_refresh('mv_both', 'within 0 seconds')}), qr/must be at least 1 second/, 'now is not a target');

# --- nothing changed ------------------------------------------------------------------

sql(q{DELETE FROM factory.refresh_run; SELECT factory.schedule_refresh('mv_line', 'every 1 second')});
becomes(q<SELECT factory.metrics() ~ 'refresh_skipped_total\{[^}]*view="public.mv_line"\} [2-9]'>, 'a due time without a change is skipped and counted');
my $runs = sql(q{SELECT count(*) FROM factory.refresh_run});
my $due = sql(q{SELECT next_due FROM factory.refresh_schedule});
becomes(q<SELECT factory.metrics() ~ 'refresh_skipped_total\{[^}]*view="public.mv_line"\} ([5-9]|[1-9]\d)'>, 'again and again');
is(sql(q{SELECT count(*) FROM factory.refresh_run}), $runs, 'no run is recorded');
is(sql(q{SELECT next_due FROM factory.refresh_schedule}), $due, 'no row is written');
is(sql(q{SELECT seems_fresh_as_of > fresh_as_of AND seems_fresh_as_of <= now() FROM factory.refresh_status}), 't', 'but the status tells the hint beside what is sure');
sql(q{INSERT INTO piece VALUES ('NEW', true)});
becomes(q{SELECT EXISTS (SELECT FROM mv_line WHERE line = 'NEW')}, 'a change ends that');
becomes(q{SELECT fresh_as_of > now() - interval '1 minute' AND last_status = 'succeeded' FROM factory.refresh_status}, 'and what is sure is new');
sql(q{CREATE VIEW plain AS SELECT line FROM piece; CREATE FUNCTION doubled(bigint) RETURNS bigint IMMUTABLE LANGUAGE sql RETURN $1 * 2;
	CREATE TABLE by_line (line text) PARTITION BY LIST (line); CREATE TABLE by_line_a PARTITION OF by_line FOR VALUES IN ('A');
	CREATE TABLE by_line_b (line text); INSERT INTO by_line_b VALUES ('B'), ('B');
	CREATE MATERIALIZED VIEW mv_made AS SELECT doubled(count(*)) AS n, (SELECT count(*) FROM by_line) AS parts FROM plain;
	SELECT factory.schedule_refresh('mv_made', 'every 1 second'), factory.unschedule_refresh('mv_line')});
my $made = 0;
# Skipped for a while, so that only what is done now makes it anew.
sub makes_anew
{
	my ($statement, $answer, $what) = @_;
	$made = sql(q{SELECT count(*) FROM factory.refresh_run WHERE view = 'public.mv_made'});
	my $skips = q<(SELECT coalesce(substring(factory.metrics() FROM 'refresh_skipped_total\{[^}]*view="public.mv_made"\} (\d+)')::int, 0))>;
	my $before = sql("SELECT $skips");
	$node->poll_query_until('postgres', "SELECT $skips >= $before + 2") or die 'it is not skipped';
	sql($statement);
	becomes($answer, $what);
}
makes_anew('CREATE OR REPLACE VIEW plain AS SELECT line FROM piece LIMIT 2', 'SELECT n = 4 FROM mv_made', 'another definition of a view that it reads ends that, too');
makes_anew('CREATE OR REPLACE FUNCTION doubled(bigint) RETURNS bigint IMMUTABLE LANGUAGE sql RETURN $1 * 20', 'SELECT n = 40 FROM mv_made', 'and of a function that it calls');
makes_anew(q{ALTER TABLE by_line ATTACH PARTITION by_line_b FOR VALUES IN ('B')}, 'SELECT parts = 2 FROM mv_made', 'and a partition that comes');
makes_anew(q{INSERT INTO by_line VALUES ('B')}, 'SELECT parts = 3 FROM mv_made', 'with its rows');
makes_anew('TRUNCATE by_line_b', 'SELECT parts = 0 FROM mv_made', 'and that it is emptied');
sql(q{SELECT factory.unschedule_refresh('mv_made'); DROP MATERIALIZED VIEW mv_made; DROP VIEW plain});
sql(q{CREATE MATERIALIZED VIEW mv_today AS SELECT current_date AS day, count(*) FROM piece;
	SELECT factory.schedule_refresh('mv_today', 'every 1 second')});
becomes(q{SELECT count(*) >= 3 FROM factory.refresh_run WHERE view = 'public.mv_today' AND status = 'succeeded'}, 'what depends on the day is never unchanged');
sql(q{SELECT factory.unschedule_refresh('mv_today')});

# --- failures --------------------------------------------------------------------------

my $listener = $node->background_psql('postgres');
$listener->query_safe('LISTEN factory_events');
sql(q{UPDATE piece SET good = false; SELECT factory.schedule_refresh('mv_broken', 'every 1 second', retries => 2, pause_after => 2)});
becomes(q{SELECT state = 'paused' FROM factory.refresh_status}, 'what fails again and again is paused');
is(sql(q{SELECT string_agg(split_part(regexp_replace(reason, '^caught up[^;]*; ', ''), ';', 1), ', ' ORDER BY id) FROM factory.refresh_run WHERE view = 'public.mv_broken'}),
	'first fill cannot be concurrent, retry 1 of 2, retry 2 of 2, first fill cannot be concurrent, retry 1 of 2, retry 2 of 2',
	'after two tries with two retries each');
like(sql(q{SELECT last_error FROM factory.refresh_status}), qr/division by zero/, 'with its error');
my $heard = $listener->query_safe('SELECT 1');
like($heard, qr/"factory_events" with payload "\{"event": "refresh_failed", "view": "public.mv_broken", "run": \d+\}".*"refresh_paused"/s, 'listeners hear of it');
is(sql(q{SELECT action || ' ' || (after ->> 'paused_since' IS NOT NULL)::text FROM factory.audit_log WHERE object_type = 'schedule' ORDER BY created_at DESC LIMIT 1}),
	'alter true', 'the pause is in the audit log');
sql(q{UPDATE piece SET good = true; SELECT factory.resume_refresh('mv_broken')});
becomes(q{SELECT state = 'waiting' AND last_status = 'succeeded' AND failures = 0 FROM factory.refresh_status}, 'mended and resumed it works');
like(error_of(q{SELECT factory.resume_refresh('mv_both')}), qr/materialized view "public.mv_both" has no schedule/, 'what has no schedule cannot be resumed');
like(error_of(q{SET ROLE stranger; SELECT factory.resume_refresh('mv_broken')}), qr/must be owner of materialized view public.mv_broken/, 'nor by a stranger');
sql(q{SELECT factory.unschedule_refresh('mv_broken')});
eval { $listener->quit };

# --- policies and the plan -----------------------------------------------------------------

sql(q{INSERT INTO factory.holiday VALUES ('default', 'korea', '2126-01-16', 'a day off');
	} . $now . q{
	SELECT factory.schedule_refresh('mv_line', 'daily at 06:00', holidays => 'korea');
	SELECT factory.schedule_refresh('mv_plant', 'after mv_line')});
is(sql($now . q{SELECT string_agg(to_char(due_at, 'DD HH24:MI ') || view || ' ' || why, ', ') FROM factory.refresh_plan(until => '2126-01-19')}),
	'17 06:00 public.mv_line schedule, 17 06:00 public.mv_plant after public.mv_line, '
	  . '18 06:00 public.mv_line schedule, 18 06:00 public.mv_plant after public.mv_line', 'the plan knows holidays and what follows');
my %wrong = (
	q{catch_up => 'some'} => qr/"catch_up" of the schedule is not valid\nHINT:  It is one of none, last, all\./,
	q{overlap => ''} => qr/"overlap" of the schedule is not valid/,
	q{timeout => '-1 s'} => qr/"timeout" of the schedule is not valid\nHINT:  It is a span of time, not negative\./,
	q{retries => -1} => qr/"retries" of the schedule is not valid\nHINT:  It is a number from 0 to 1000\./,
);
like(error_of("SELECT factory.schedule_refresh('mv_line', 'hourly', $_)"), $wrong{$_}, "refused: $_") foreach sort keys %wrong;
my %unreadable = (
	'daily at 06:00 or hourly' => qr/says "a time" twice/,
	'on change or on change' => qr/says "on change" twice/,
	'after mv_plant or daily at 25:00' => qr/schedule "daily at 25:00" is not valid\nDETAIL:  The hour of "25:00" at position 10 is not between 0 and 23\.\nHINT:  Write the time like 06:00/,
	'after mv_plant or * * *' => qr/schedule "\* \* \*" is not valid\nDETAIL:  Cron has 5 fields .* this has 3\./,
	'0 0 31 2 *' => qr/It would never be due\./,
	'within many minutes' => qr/"many minutes" behind "within" in the schedule is not a span of time\nHINT:  Write it like: within 5 minutes\./,
	'on changes' => qr/"changes" behind "on" in the schedule is not known\nHINT:  Write "on change"/,
	'after mv_plant, mv_missing' => qr/"mv_missing" in the schedule is not a materialized view\nHINT:  Write after mv_a, mv_b/,
);
like(error_of("SELECT factory.schedule_refresh('mv_line', '$_')"), $unreadable{$_}, "refused: $_") foreach sort keys %unreadable;

$node->stop;
done_testing();
