# Judgments handed to a writer: factory.log = 'async', from the first row to kill -9.
use strict;
use warnings;

BEGIN { $ENV{PG_TEST_TIMEOUT_DEFAULT} //= 60; }
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('queue');
$node->init;
$node->append_conf('postgresql.conf', q{
shared_preload_libraries = 'pg_factory'
factory.log = async
factory.queue_size = 64kB
factory.queue_databases = 2
factory.queue_delay = 20ms
restart_after_crash = on
});
$node->start;

sub sql { return $node->safe_psql('postgres', $_[0]); }
sub becomes_true { return ok($node->poll_query_until('postgres', $_[0]), $_[1]); }

my $next = 1;
my $judge = q{SELECT (factory.judge('heat', jsonb_build_object('celsius', n))).components ->> 'log' FROM generate_series(%d, %d) AS n};

# Judges so many times, each a number of its own; returns what became of the rows.
sub judge
{
	my ($count, $before, $after) = @_;
	my $text = sprintf $judge, $next, $next + $count - 1;
	$next += $count;
	return sql(($before // '') . "SELECT string_agg(DISTINCT log, ' ' ORDER BY log) FROM ($text) AS judged(log);" . ($after // ''));
}

sub all_are_there
{
	my ($story) = @_;
	return becomes_true('SELECT count(*) = ' . ($next - 1) . " AND count(DISTINCT input -> 'celsius') = count(*) FROM factory.judgment_log", $story);
}

# Judges until a writer has the door open.
sub opens
{
	my ($story) = @_;
	return becomes_true(q{SELECT (factory.judge('heat', '{"celsius": 0}')).components ->> 'log' = 'queued'}, $story)
	  && becomes_true('SELECT records = 0 FROM factory.queue_status', '... and the writer writes')
	  && sql(q{DELETE FROM factory.judgment_log WHERE input ->> 'celsius' = '0'});
}

my $setup = q{CREATE EXTENSION IF NOT EXISTS pg_factory;
SELECT factory.create_decision('heat', '{"inputs": {"celsius": "int"},
	"rules": [{"id": "hot", "when": "celsius > 70", "then": {"status": "HOT", "severity": "warning"}}],
	"default": {"status": "FINE", "severity": "info"}}')};
sql($setup);

# A writer comes when it is needed; until then sessions write for themselves.
is(sql(q{SELECT count(*) FROM factory.queue_status}), 0, 'no queue before there is a row');
opens('a writer comes for the first row');
is(judge(30), 'queued', 'rows are handed over');
all_are_there('and written');
is(sql(q{SELECT kind || ' ' || database || ' ' || state FROM factory.worker_status WHERE kind = 'writer'}),
	'writer postgres open', 'the writer is among the workers');
is(sql(q{SELECT status, severity, matched_rules, created_by = session_user, tenant_id, explanation ->> 'summary' <> ''
	FROM factory.judgment_history WHERE input = '{"celsius": 30}'}), 'FINE|info|{}|t|default|t', 'with all columns');

# A row is the judgment's, not the transaction's.
is(judge(5, 'BEGIN; ', 'ROLLBACK'), 'queued', 'a transaction that is rolled back');
all_are_there('leaves its judgments in the log');
is(judge(5, 'BEGIN READ ONLY; ', 'COMMIT'), 'queued', 'and a read-only one logs, too');
all_are_there('what it judged');

# Whose rows they are is said by who judged.
sql(q{SELECT factory.create_tenant('acme'); CREATE ROLE acme_operator IN ROLE factory_author;
	SELECT factory.map_tenant_role('acme', 'acme_operator')});
sql('SET ROLE acme_operator; ' . $setup =~ s/.*?;//sr);
is(sql(q{SET ROLE acme_operator; SELECT (factory.judge('heat', '{"celsius": 99}')).components ->> 'log'}), 'queued', 'a tenant judges');
becomes_true(q{SELECT count(*) = 1 FROM factory.judgment_log WHERE tenant_id = 'acme' AND created_by = 'acme_operator'}, 'and its row is its own');
is(sql(q{SET ROLE acme_operator; SELECT count(*) FROM factory.judgment_log}), 1, 'which is all it sees');
sql(q{DELETE FROM factory.judgment_log WHERE tenant_id = 'acme'});

# A full queue: who does not wait writes for himself; who waits gets room.
my $held = 'BEGIN; LOCK TABLE factory.judgment_log IN ACCESS EXCLUSIVE MODE; ';
is(judge(500, $held . 'SET factory.queue_timeout = 0; ', 'COMMIT'), 'queued written', 'while the writer is held up rows are written directly');
all_are_there('and none is lost');
ok(sql('SELECT direct > 50 AND dropped = 0 AND bytes <= size FROM factory.queue_status'), 'and that was counted');
is(judge(1000), 'queued', 'faster than the writer: sessions wait for room');
all_are_there('and none is lost');
like(sql('SELECT factory.metrics()'), qr/^factory_queue_rows_total (?!0)\d+\n.*^factory_queue_waits_total \d+\n.*^factory_queue_rows_dropped_total 0$/ms, 'the metrics say so');
is(sql(q{SELECT (factory.judge('heat', jsonb_build_object('celsius', 0, 'note', (SELECT string_agg(md5(i::text), '') FROM generate_series(1, 1000) AS i)))).components ->> 'log'}), 'written',
	'a row longer than a quarter of the queue is written directly');
sql(q{DELETE FROM factory.judgment_log WHERE input ->> 'celsius' = '0'});

# A row that no table takes does not hold up the others.
sql(q{ALTER TABLE factory.judgment_log ADD CONSTRAINT not_13 CHECK (input <> '{"celsius": -13}')});
is(sql(q{SELECT (factory.judge('heat', '{"celsius": -13}')).components ->> 'log'}), 'queued', 'a row that cannot be written');
is(judge(10), 'queued', 'and others behind it');
all_are_there('the others are written');
becomes_true('SELECT dropped = 1 AND records = 0 FROM factory.queue_status', 'it is counted as dropped');
like(slurp_file($node->logfile), qr/a queued row of "factory\.judgment_log" was dropped: .*not_13/, 'and the log says why');
sql('ALTER TABLE factory.judgment_log DROP CONSTRAINT not_13');

# Workers that rest.
sql(q{SELECT factory.pause_workers('test')});
becomes_true(q{SELECT state = 'closed' FROM factory.queue_status}, 'a pause shuts the door');
is(judge(3), 'written', 'and sessions write for themselves');
sql('SELECT factory.resume_workers()');
opens('afterwards rows are handed over again');
all_are_there('none is lost');

# Nobody else reads the queue.
my ($rc, $out, $err) = $node->psql('postgres', 'SELECT * FROM factory.queued_rows(0) AS q(x int)');
like($err, qr/only a database's writer reads its queue/, 'a session cannot read it');

# The writer goes, with what is in.
is(judge(20, '', q{SELECT pg_terminate_backend(pid) IS NULL FROM factory.queue_status}), "queued\nf", 'a writer that is terminated');
all_are_there('writes what it has');
opens('and another comes');
is(judge(40), 'queued', 'a fast shutdown');
$node->restart;
all_are_there('loses nothing');

# kill -9: what waited is lost, what was written is not, and it goes on.
opens('after a restart a writer comes');
is(judge(10), 'queued', 'rows are handed over');
all_are_there('and written');
my $pid = sql('SELECT pid FROM factory.queue_status');
kill 'KILL', $pid;
ok($node->poll_query_until('postgres', "SELECT count(*) = 0 FROM factory.worker_status WHERE pid = $pid"), 'the writer is killed and the server recovers');
all_are_there('what was written is there');
opens('and another writer comes');

# DROP EXTENSION and DROP DATABASE do not wait for it.
sql('DROP EXTENSION pg_factory CASCADE');
$node->safe_psql('postgres', $setup);
$next = 1;
opens('made again, it works again');
is(judge(5), 'queued', 'rows are handed over');
all_are_there('and written');
$node->safe_psql('postgres', 'CREATE DATABASE plant');
$node->safe_psql('plant', $setup);
ok($node->poll_query_until('plant', q{SELECT (factory.judge('heat', '{"celsius": 0}')).components ->> 'log' = 'queued'}), 'another database has a writer of its own');
sql('DROP DATABASE plant');
becomes_true(q{SELECT count(*) = 1 FROM factory.queue_status}, 'and gives up its place when it is dropped');

# Off is off.
is(sql(q{SET factory.log = off; SELECT (factory.judge('heat', '{"celsius": 0}')).components ->> 'log'}), 'off', 'off writes none');
$node->stop('fast');
unlike(slurp_file($node->logfile), qr/PANIC|TRAP:|queued rows of database .* are lost/, 'no rows were lost but by kill -9');
done_testing();
