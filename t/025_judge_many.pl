# judge_many(): order, errors a row, equal prompts once, rules-only rows without a call,
# one version, the cache, and the end of all calls by a cancel.
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
factory.review_confidence = 0
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

# What was answered is given again: to the same rows, one by one, and beyond a restart.
my $warm = { status => 'WARM', severity => 'warning', confidence => 0.9, explanation => 'seen', recommended_actions => [] };
my $other = { %$warm, status => 'COLD' };
my $range = "SELECT i AS celsius FROM generate_series(11, 30) i";
sub many
{
	my ($query, $options) = @_;
	return sql("SELECT count(*), count(*) FILTER (WHERE from_cache), min(components #>> '{cache,level}'), string_agg(DISTINCT status || version, ' ')
		FROM factory.judge_many('temperature', \$\$$query\$\$" . ($options // '') . ')');
}
sub asked { return scalar($peer->requests) }
sub counted
{
	return sql(q{SELECT hits, misses FROM factory.cache_stats WHERE level = 'l1' AND kind = 'judgment'});
}
my $logged = q{SELECT count(*) FROM factory.judgment_log WHERE (input ->> 'celsius')::int BETWEEN 11 AND 30};
$peer->script(chat_json($warm));
my ($hits, $misses) = split /\|/, counted();
is(many($range), '20|0||WARM1', 'what nobody asked before is asked');
is(many($range), '20|20|l1|WARM1', 'and given again to the same rows');
is(asked(), 20, 'without asking');
is(sql($logged), 20, 'or logging');
is(counted(), ($hits + 20) . '|' . ($misses + 20), 'cache_stats has every look');
like(sql('SELECT factory.metrics()'), qr/judgment_cache_hits_total\{tenant_id="default",workflow_id="temperature"\} 2\d\b/, 'so have the metrics');
is(sql(q{SELECT from_cache, j.status, l.input ->> 'celsius' FROM factory.judge('temperature', '{"celsius": 12}') AS j JOIN factory.judgment_log AS l USING (execution_id)}),
	't|WARM|12', 'judge() is given it, too, and says whose judgment it was');
$node->restart;
is(many($range), '20|20|table|WARM1', 'a restart leaves the table');
$peer->script(chat_json($other));
is(many($range, ', skip_cache => true'), '20|0||COLD1', 'a fresh answer can be had');
is(asked(), 20, 'by asking');
is(many($range), '20|20|l1|COLD1', 'which is given again from then on');

# Rows that share an answer keep it for themselves; no answer is kept by nobody.
my $lines = q{SELECT 40 AS celsius, 'L' || i AS line FROM generate_series(1, 5) i};
$peer->script(chat_json($warm));
is(many($lines), '5|0||WARM1', 'five rows with one prompt');
is(many($lines), '5|5|l1|WARM1', 'are given its answer again');
is(many(q{SELECT 41 AS celsius FROM generate_series(1, 5) i}), '5|0||WARM1', 'equal rows share it, each a judgment of its own');
is(asked(), 2, 'of two questions');
$peer->script(status(401));
is(many('SELECT 42 AS celsius'), '1|0||COLD1', 'a model that fails');
$peer->script(chat_json($warm));
is(many('SELECT 42 AS celsius'), '1|0||WARM1', 'is asked again');
is(sql(q{BEGIN; SELECT count(*) FROM factory.judge_many('temperature', 'SELECT i AS celsius FROM generate_series(-2500, -1001) i', 64);
	SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid(); COMMIT}), "1500\n0", 'many answers need no locks of their own');
is(sql(q{SELECT bool_and(from_cache) FROM factory.judge_many('temperature', 'SELECT i AS celsius FROM generate_series(-2500, -1001) i')}), 't', 'and all are kept');

# Until a deployment; which a statement under way does not notice.
$node->safe_psql('postgres', q{SELECT factory.save_version('temperature', definition, 'the same again') FROM factory.decision_version});
$peer->script(chat_json($other));
is(sql(q{BEGIN; SELECT string_agg(version::text || ' ' || coalesce(explanation #>> '{inputs,line}', ''), ',') FROM factory.judge_many('temperature', $$
	SELECT 80 AS celsius, CASE i WHEN 2 THEN factory.deploy('temperature', 2)::text END AS line FROM generate_series(1, 3) i$$); ROLLBACK}),
	'1 ,1 ,1 ', 'one version for a whole statement');
is(many($range), '20|20|table|COLD1', 'a deployment that is rolled back empties nothing');
$node->safe_psql('postgres', q{SELECT factory.deploy('temperature', 2)});
is(many($range), '20|0||COLD2', 'after one that is not, models are asked again');
is(asked(), 20, 'each once');

# Who comes second waits for who asked first.
$peer->script(chat_json($warm, delay => 1));
my @sessions = map { $node->background_psql('postgres', on_error_stop => 0) } 1 .. 4;
sub begin
{
	my ($session, $query) = @_;
	$session->{stdin} .= "SELECT from_cache, status FROM factory.judge_many('temperature', \$\$$query\$\$);\n\\echo through\n";
	$session->{run}->pump_nb;
}
begin($sessions[0], 'SELECT i AS celsius FROM generate_series(50, 53) i');
$peer->wait_requests(4);
begin($sessions[1], 'SELECT i AS celsius FROM generate_series(50, 53) i');
for my $session (@sessions[0, 1]) { $session->{run}->pump until $session->{stdout} =~ /through/ }
is(join(' ', $sessions[1]{stdout} =~ /^([tf]\|WARM)$/mg), 't|WARM t|WARM t|WARM t|WARM', 'the same rows in another session wait for the answers');
is(asked(), 4, 'of the first');

# But not while others wait for him: two would wait for each other.
$peer->script({ hang => 1 });
my $gate = $node->background_psql('postgres');
$gate->query_safe('SELECT pg_advisory_lock(1)');
my $crossed = 'SELECT CASE WHEN n = 2 THEN (SELECT %d FROM pg_advisory_lock_shared(1)) ELSE %d END AS celsius FROM generate_series(1, 2) AS n';
$_->query_safe("SET statement_timeout = '20s'") for @sessions[2, 3];
begin($sessions[2], sprintf $crossed, 61, 60);
begin($sessions[3], sprintf $crossed, 60, 61);
$peer->wait_requests(2);
$gate->query_safe('SELECT pg_advisory_unlock(1)');
ok($peer->wait_requests(4), 'two that ask the same in another order ask for themselves');
sql(q{SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%judge_many%' AND pid <> pg_backend_pid()});
$_->{run}->kill_kill for @sessions, $gate;

# Many under way, ended together by a cancel.
$peer->script({ hang => 1 });
like(sql(q{SET statement_timeout = '1s'; SELECT count(*) FROM factory.judge_many('temperature', 'SELECT i AS celsius FROM generate_series(-256, -1) i', 48)}),
	qr/57014/, 'a cancel ends all calls');
$peer->wait_requests(48);
is(scalar($peer->requests), 48, 'of which as many were under way as asked for');

done_testing();
