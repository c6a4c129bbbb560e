# Metrics with many backends at once, a full table, and backends that end early.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use FactoryPeer;

my $node = PostgreSQL::Test::Cluster->new('metrics');
$node->init;
$node->append_conf('postgresql.conf',
	"shared_preload_libraries = 'pg_factory'\nfactory.max_metric_series = 100\n");
$node->start;
my $peer = FactoryPeer->new({ hang => 1 });
my $url = $peer->url;
$node->safe_psql('postgres', <<"SQL");
CREATE EXTENSION pg_factory;
SELECT factory.create_decision('one', '{"inputs": {"n": "integer"},
	"rules": [{"id": "high", "when": "n >= 5", "then": {"status": "HIGH"}}]}');
CREATE SERVER peer FOREIGN DATA WRAPPER factory_llm
	OPTIONS (base_url '$url', allow_http 'true', allow_private 'true');
CREATE USER MAPPING FOR CURRENT_USER SERVER peer OPTIONS (api_key 'sk-test-key');
SELECT factory.create_model('mini', 'peer', 'gpt-4o-mini');
SELECT factory.create_decision('slow', '{"inputs": {"n": "integer"}, "rules": [{"id": "high", "when": "n >= 5", "then": {"status": "HIGH"}}],
	"policy": "LLM_ONLY", "prompt": {"model": "mini", "user": "{{ n }}"}}');
SQL

sub metric
{
	my ($name) = @_;
	my $sum = 0;
	foreach my $line (split /\n/, $node->safe_psql('postgres', 'SELECT factory.metrics()'))
	{
		$sum += $1 if $line =~ /^\Q$name\E(?:\{[^}]*\})? (\S+)$/;
	}
	return $sum;
}

# Nothing is lost between backends.
my $script = $node->basedir . '/judge.sql';
append_to_file($script, "SELECT factory.judge('one', '{\"n\": 7}');\n");
$node->command_ok(
	[ 'pgbench', '-n', '-c', '4', '-t', '100', '-f', $script, '-h', $node->host, '-p', $node->port, 'postgres' ],
	'four backends judge a hundred times each');
is(metric('judgment_executions_total'), 400, 'each judgment is counted once');
is(metric('judgment_requests_total'), 400, 'and so is each request');
is(metric('judgment_duration_seconds_count'), 400, 'and each duration');
is(metric('judgment_active_executions'), 0, 'and none is under way');

# What is under way shows, and a backend that ends takes it along.
foreach my $end ('pg_cancel_backend', 'pg_terminate_backend')
{
	my $judge = $node->background_psql('postgres', on_error_stop => 0);
	my $pid = $judge->query_safe('SELECT pg_backend_pid()');
	$judge->query_until(qr/start/, "\\echo start\nSELECT factory.judge('slow', '{\"n\": 7}');\n");
	$peer->wait_requests($end eq 'pg_cancel_backend' ? 1 : 2);
	is(metric('judgment_active_executions'), 1, 'a judgment that waits for its model is under way');
	$node->safe_psql('postgres', "SELECT $end($pid)");
	ok($node->poll_query_until('postgres',
			q{SELECT factory.metrics() LIKE '%judgment_active_executions{tenant_id="default"} 0%'}),
		"and is no more after $end");
	eval { $judge->quit };
}

# More series than there is room for: the rest is counted together.
my $judged = metric('judgment_executions_total');
$node->safe_psql('postgres', <<'SQL');
DO $$
BEGIN
	FOR i IN 1..60 LOOP
		PERFORM factory.create_decision('d' || i, '{"inputs": {"n": "integer"}, "rules": [{"id": "high", "when": "n >= 5", "then": {"status": "HIGH"}}]}');
		PERFORM factory.judge('d' || i, '{"n": 7}');
	END LOOP;
END $$
SQL
is(metric('factory_metric_series'), 100, 'the table is full');
cmp_ok(metric('factory_metric_series_dropped_total'), '>', 0, 'what found no room is told');
is(metric('judgment_executions_total'), $judged + 60, 'and the total is still right');
like($node->safe_psql('postgres', 'SELECT factory.metrics()'),
	qr/^judgment_executions_total\{tenant_id="other",workflow_id="other",status="other",method="other"\} \d+$/m,
	'under labels that say "other"');

# A second opinion on the format, where there is one.
SKIP:
{
	skip 'promtool is not installed', 1 unless grep { -x "$_/promtool" } split /:/, $ENV{PATH};
	my $text = $node->basedir . '/metrics.txt';
	append_to_file($text, $node->safe_psql('postgres', 'SELECT factory.metrics()') . "\n");
	is(system("promtool check metrics < '$text'"), 0, 'promtool finds nothing to say');
}

# Counting starts anew with the server.
$node->restart;
is(metric('judgment_executions_total'), 0, 'a restart starts from zero');

$node->stop;
done_testing();
