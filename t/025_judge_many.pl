# judge_many(): order, errors a row, equal prompts once, rules-only rows without a call,
# one version, and the end of all calls by a cancel.
use strict;
use warnings;
use FactoryPeer;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('judge_many');
$node->init;
$node->append_conf('postgresql.conf', <<'CONF');
shared_preload_libraries = 'pg_factory'
factory.llm_retry_delay = '10ms'
CONF
$node->start;

# Says WARM with the number's confidence, even numbers later than odd ones.
my $peer = FactoryPeer->new(
	sub {
		my ($request) = @_;
		my ($number) = $request->{json}{messages}[-1]{content} =~ /celsius (\d+)/;
		return status(401) if $number == 7;
		return chat_json({ status => 'WARM', severity => 'warning', confidence => 0.5,
				explanation => "seen $number", recommended_actions => [] },
			delay => $number % 2 ? 0.01 : 0.1);
	});
my $url = $peer->url;
$node->safe_psql('postgres', <<"SQL");
CREATE EXTENSION pg_factory;
CREATE SERVER peer FOREIGN DATA WRAPPER factory_llm
	OPTIONS (base_url '$url', allow_http 'true', allow_private 'true');
SELECT factory.create_model('mini', 'peer', 'm');
SELECT factory.create_decision('temperature', '{
	"inputs": {"celsius": {"type": "int", "max": 1000}, "line": "text"},
	"rules": [{"id": "hot", "when": "celsius > 70", "confidence": 0.95, "then": {"status": "HOT", "severity": "critical"}}],
	"default": {"status": "COLD", "severity": "info", "confidence": 0.4},
	"statuses": ["HOT", "WARM", "COLD"], "policy": "RULE_FALLBACK",
	"prompt": {"model": "mini", "user": "celsius {{ celsius }}"}}');
SQL

sub sql
{
	my ($statement) = @_;
	my ($code, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\n$statement");
	return $code == 0 ? $out : $err;
}

my $rows = join "\n", map {
	$_ == 7 ? 'COLD|rule_only|t' : $_ > 70 ? 'HOT|rule_only|f' : 'WARM|rule_fallback|f'
} 1 .. 8, 71, 72;
is(sql(q{SELECT status, method_used, degraded IS NOT NULL
	FROM factory.judge_many('temperature', 'SELECT i AS celsius FROM unnest(''{1,2,3,4,5,6,7,8,71,72}''::int[]) i')}),
	$rows, 'rows come in their order, those the rules are sure of too');
is(scalar($peer->requests), 8, 'no model was asked for what the rules are sure of');
is(sql(q{SELECT count(*), count(DISTINCT execution_id) FROM factory.judgment_log}), '10|10', 'each is logged');
$node->poll_query_until('postgres', 'SELECT sum(records) = 0 FROM factory.queue_status');
is(sql(q{SELECT count(*) FROM factory.llm_call c JOIN factory.judgment_log j USING (execution_id)}), 8,
	'and calls are in the ledger with their judgments');

# One by one it comes out the same.
is(sql(q{SELECT string_agg(status, ',') FROM factory.judge_many('temperature', 'SELECT 71 AS celsius UNION ALL SELECT 2')}),
	sql(q{SELECT (factory.judge('temperature', '{"celsius": 71}')).status || ',' || (factory.judge('temperature', '{"celsius": 2}')).status}),
	'judge() says the same');

# Equal prompts are asked once, whatever else is in the rows.
$peer->script(chat_json({ status => 'WARM', severity => 'warning', confidence => 0.9,
	explanation => 'same', recommended_actions => [] }));
is(sql(q{SELECT count(*), min(status), count(DISTINCT execution_id)
	FROM factory.judge_many('temperature', $$SELECT 5 AS celsius, 'L' || i AS line FROM generate_series(1, 20) i$$)}),
	'20|WARM|20', 'equal prompts share an answer');
is(scalar($peer->requests), 1, 'and are asked once');

# An error is its row's own.
is(sql(q{SELECT result, status, components #>> '{error,sqlstate}', degraded ~ 'could not be judged'
	FROM factory.judge_many('temperature', 'SELECT i AS celsius FROM unnest(''{71,2000,72}''::int[]) i')}),
	"critical|HOT||\nunknown||PF102|t\ncritical|HOT||", 'a row that does not fit says so');

# A column of documents; policy; concurrency.
is(sql(q{SELECT string_agg(status, ',') FROM factory.judge_many('temperature',
	$$SELECT jsonb_build_object('celsius', i) FROM generate_series(69, 72) i$$, 2, 'RULE_ONLY')}),
	'COLD,COLD,HOT,HOT', 'documents are inputs, the policy can be another');
is(sql(q{SELECT count(*) FROM factory.judge_many('temperature', 'SELECT 1 WHERE false')}), 0, 'no rows, no judgments');
like(sql(q{SELECT * FROM factory.judge_many('temperature', 'SELECT 1', 0)}), qr/22023.*must be 1 to 256/, 'concurrency is checked');
like(sql(q{SELECT * FROM factory.judge_many('temperature', 'DROP TABLE x')}), qr/22023.*is not a query/, 'so is the query');
like(sql(q{SELECT * FROM factory.judge_many('nope', 'SELECT 1')}), qr/PF103/, 'and the decision');
like(sql(q{SELECT * FROM factory.judge_many('temperature', 'SELECT 1', policy => 'nope')}), qr/PF104/, 'and the policy');

# Many under way, ended together by a cancel.
$peer->script({ hang => 1 });
like(sql(q{SET statement_timeout = '1s'; SELECT count(*) FROM factory.judge_many('temperature', 'SELECT i AS celsius FROM generate_series(-256, -1) i', 48)}),
	qr/57014/, 'a cancel ends all calls');
$peer->wait_requests(48);
is(scalar($peer->requests), 48, 'of which as many were under way as asked for');

done_testing();
