# A canary that does badly is rolled back by the scheduler, in every backend, with its
# reason; listeners and the audit log are told.
use strict;
use warnings;

BEGIN { $ENV{PG_TEST_TIMEOUT_DEFAULT} //= 60; }
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('canary');
$node->init;
$node->append_conf('postgresql.conf', q{
shared_preload_libraries = 'pg_factory'
factory.canary_interval = 100ms
});
$node->start;
sub sql { return $node->safe_psql('postgres', $_[0]); }

my $definition = q{{"inputs": {"n": "int"}, "rules": [{"id": "big", "when": "n > %d", "then": {"status": "BIG", "severity": "warning"}}],
	"default": {"status": "SMALL", "severity": "info"}}};
sql('CREATE EXTENSION pg_factory');
sql(sprintf "SELECT factory.create_decision('size', '$definition')", 50);
sql(sprintf "SELECT factory.save_version('size', '$definition', 'bigger')", 90);
my $judge = q{SELECT string_agg(DISTINCT version::text, ' ' ORDER BY version::text)
	FROM (SELECT (factory.judge('size', jsonb_build_object('n', n))).version FROM generate_series(1, 200) AS n) AS judged};

# A session that is there all the time, and one that listens.
my $session = $node->background_psql('postgres');
my $listener = $node->background_psql('postgres');
$listener->query_safe('LISTEN factory_events');
is($session->query_safe($judge), '1', 'one version is in force');

$session->query_safe('BEGIN');
sql(q{SELECT factory.deploy('size', 2, canary_pct => 50)});
is(sql($judge), '1 2', 'a canary judges its share from its commit on');
is($session->query_safe($judge), '1 2', 'in every backend, also within a transaction');
$session->query_safe('COMMIT');

# judge_many() and jobs go the same way with the same inputs.
my $tried = sql(q{SELECT string_agg(n::text, ',' ORDER BY n) FILTER (WHERE j.version = 2) FROM generate_series(1, 40) AS n, factory.judge('size', jsonb_build_object('n', n)) AS j});
is(sql(q{SELECT string_agg(n::text, ',' ORDER BY n) FILTER (WHERE version = 2)
	FROM (SELECT row_number() OVER () AS n, j.version FROM factory.judge_many('size', 'SELECT n FROM generate_series(1, 40) AS n') AS j) AS judged}),
	$tried, 'a share of the rows of judge_many()');
sql(q{SELECT count(factory.judge_async('size', jsonb_build_object('n', n))) FROM generate_series(1, 40) AS n});
ok($node->poll_query_until('postgres', q{SELECT count(*) = 40 FROM factory.job WHERE state = 'done'}), 'jobs are done');
is(sql(q{SELECT string_agg(input ->> 'n', ',' ORDER BY (input ->> 'n')::int) FILTER (WHERE (result ->> 'version')::int = 2) FROM factory.job}),
	$tried, 'the same share by the new version');
sql('DELETE FROM factory.job'); # kept jobs would keep the scheduler
ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM factory.worker_status WHERE kind = 'scheduler' AND state = 'waiting'}),
	'a scheduler watches it');
is(sql('SELECT breach IS NULL FROM factory.canary_status'), 't', 'while it does well, it goes on');

sql(q{SELECT factory.feedback(execution_id, 'incorrect') FROM factory.judgment_log WHERE version = 2 LIMIT 10});
ok($node->poll_query_until('postgres', q{SELECT status = 'rolled_back' FROM factory.deployment WHERE version = 2}),
	'people find it wrong, and it is rolled back');
like(sql('SELECT reason FROM factory.deployment WHERE version = 2'), qr/^accuracy_low: 0\.000 of 10 /, 'with the reason');
is($session->query_safe($judge), '1', 'every backend judges by the version in force again');
like(sql(q{SELECT actor_type || ' ' || (after ->> 'reason') FROM factory.audit_log WHERE action = 'rollback'}),
	qr/^system accuracy_low/, 'the audit log tells that the factory did it');
my $heard = $listener->query_safe('SELECT 1');
like($heard . $listener->{stderr}, qr/rule\.canary.*rule\.rolled_back/s, 'who listens has heard of both');
ok($node->poll_query_until('postgres', q{SELECT count(*) = 0 FROM factory.worker_status WHERE kind = 'scheduler'}),
	'and the scheduler, with nothing left to watch, has gone');

# The time of a good one is over.
$node->append_conf('postgresql.conf', 'factory.canary_window = 1s');
$node->reload;
sql(q{DELETE FROM factory.judgment_feedback});
sql(q{SELECT factory.deploy('size', 2, canary_pct => 50, changelog => 'again')});
sql($judge);
ok($node->poll_query_until('postgres', q{SELECT status = 'active' FROM factory.deployment WHERE version = 2 ORDER BY id DESC LIMIT 1}),
	'a good one is promoted when its time is over');
is($session->query_safe($judge), '2', 'and judges all');
sql(q{SELECT factory.deploy('size', 1, changelog => 'the first after all')});
$heard = $listener->query_safe('SELECT 1');
like($heard . $listener->{stderr}, qr/rule\.canary.*rule\.promoted.*rule\.deployed/s, 'who listens hears of promotion and deployment');
$session->quit;
$listener->quit;
$node->stop('fast');
unlike(slurp_file($node->logfile), qr/PANIC|TRAP:|ERROR:/, 'and nobody has complained');
done_testing();
