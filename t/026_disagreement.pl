# Rules and a model that disagree, a model that fails below the gate, and a replay on several processes.
use strict;
use warnings;
use FactoryPeer;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $peer = FactoryPeer->new(status(500));
my $node = PostgreSQL::Test::Cluster->new('disagreement');
$node->init;
$node->append_conf('postgresql.conf', qq(
shared_preload_libraries = 'pg_factory'
session_preload_libraries = 'auto_explain'
factory.llm_retry_delay = 10ms
factory.judgment_cache_ttl = 0
));
$node->start;

my $url = $peer->url;
$node->safe_psql('postgres', qq(
CREATE EXTENSION pg_factory;
CREATE SERVER local FOREIGN DATA WRAPPER factory_llm
	OPTIONS (provider 'openai', base_url '$url', allow_http 'true', allow_private 'true');
SELECT factory.create_model('mini', 'local', 'peer-model-1')));

sub sql { return $node->safe_psql('postgres', $_[0]); }

# The same rules, with one word of the definition of its own.
sub create
{
	my ($name, $policy, $more) = @_;
	sql(qq(SELECT factory.create_decision('$name', '{"inputs": {"a": "int"}, "policy": "$policy", $more
		"rules": [{"id": "high", "when": "a >= 10", "confidence": 0.85, "then": {"status": "HIGH_DEFECT", "severity": "critical"}},
			{"id": "unsure", "when": "a = 5", "confidence": 0.5, "then": {"status": "MODERATE_DEFECT", "severity": "warning"}}],
		"default": {"status": "NORMAL", "severity": "info", "confidence": 0.9},
		"statuses": ["NORMAL", "MODERATE_DEFECT", "HIGH_DEFECT"],
		"prompt": {"model": "mini", "user": "{{ a }}"}}')));
	return;
}

sub answer
{
	my (%changes) = @_;
	return chat_json({ status => 'NORMAL', severity => 'info', confidence => 0.95, explanation => 'within limits', recommended_actions => [], %changes });
}

sub judge
{
	my ($decision, $input) = @_;
	return sql(qq(SELECT result, status, severity, trim_scale(round(confidence::numeric, 4)), method_used,
		components ->> 'rule_status', components ->> 'llm_status' FROM factory.judge('$decision', '$input')));
}

# --- who gives the status where they disagree -------------------------------------

create('surer', 'HYBRID_WEIGHTED', '');
create('rules_first', 'HYBRID_WEIGHTED', '"conflict_resolution": "rule_priority",');
create('model_first', 'HYBRID_WEIGHTED', '"conflict_resolution": "llm_priority",');
create('people_first', 'HYBRID_WEIGHTED', '"conflict_resolution": "human_escalate",');

# The model is surer than the rules, and says otherwise.
$peer->script(answer());
is(judge('surer', '{"a": 10}'), 'critical|NORMAL|critical|0.89|hybrid_weighted|HIGH_DEFECT|NORMAL', 'nothing said: the surer side gives the status, the graver severity stays');
is(judge('rules_first', '{"a": 10}'), 'critical|HIGH_DEFECT|critical|0.89|hybrid_weighted|HIGH_DEFECT|NORMAL', 'rule_priority: the rules, though the model is surer');
is(judge('people_first', '{"a": 10}'), 'unknown||||escalate|HIGH_DEFECT|NORMAL', 'human_escalate: nobody, and both are told');
is(sql(q{SELECT decision, status, array_to_string(reasons, ',') FROM factory.review WHERE decision = 'people_first'}), 'people_first|open|conflict', 'a person is asked');
is(sql(q{SELECT result, status, confidence, method_used, outcome, explanation ->> 'summary' FROM factory.judgment_history WHERE decision = 'people_first'}),
	'unknown|||escalate||a person decides; rules and model disagree', 'the log has no verdict, but the reason');

# The model is less sure than the rules.
$peer->script(answer(confidence => 0.3));
is(judge('surer', '{"a": 10}'), 'critical|HIGH_DEFECT|critical|0.63|hybrid_weighted|HIGH_DEFECT|NORMAL', 'nothing said: the surer side, now the rules');
is(judge('model_first', '{"a": 10}'), 'critical|NORMAL|critical|0.63|hybrid_weighted|HIGH_DEFECT|NORMAL', 'llm_priority: the model, though the rules are surer');

# Where they agree there is nothing to resolve.
$peer->script(answer(status => 'HIGH_DEFECT', severity => 'warning', confidence => 0.75));
is(judge($_, '{"a": 10}'), 'critical|HIGH_DEFECT|critical|0.81|hybrid_weighted|HIGH_DEFECT|HIGH_DEFECT', "$_: agreement is weighed")
  foreach qw(surer rules_first model_first people_first);
is(sql(q{SELECT count(*) FROM factory.review WHERE 'conflict' = ANY (reasons)}), 1, 'and asks nobody');

# What was said is kept, not worked out again.
is(sql(q{SELECT count(*), bool_and(l.explanation IS NOT NULL AND l.components ? 'llm_status'),
		bool_and((factory.explain_judgment(execution_id) -> 'explanation') = l.explanation)
	FROM factory.judgment_log AS l WHERE decision = 'surer'}), '3|t|t', 'what a model said is in the log, and explained by that');

# --- every way to fail below the gate ---------------------------------------------

create('gated', 'HYBRID_GATE', '"gate": 0.7,');
my @failures = (
	[ 'an error of the server', status(500), qr/500/ ],
	[ 'too many requests', status(429), qr/429/ ],
	[ 'a refused key', status(401), qr/401/ ],
	[ 'a model nobody has', status(404), qr/404/ ],
	[ 'HTML', html('<p>hello</p>'), qr/not JSON but text/ ],
	[ 'no JSON', chat('I think it is fine'), qr/words are not JSON/ ],
	[ 'half an answer', { %{ answer() }, cut => 150 }, qr/closed in the middle/ ],
	[ 'bytes that are no HTTP', { raw => "\x01\x02\x03" }, qr/not HTTP/ ],
	[ 'a closed connection', { close => 1 }, qr/closed without an answer/ ],
	[ 'a status nobody knows', answer(status => 'SUPERB'), qr/SUPERB/ ],
	[ 'a confidence of 7', answer(confidence => 7), qr/at most 1/ ],
	[ 'a confidence in words', answer(confidence => 'high'), qr/type "number"/ ],
	[ 'a missing confidence', chat_json({ status => 'NORMAL', severity => 'info' }), qr/"confidence" is missing/ ],
	[ 'an empty answer', chat(''), qr/answer is empty/ ],
	[ 'an answer cut for its length', completion(content => '{"status": "NOR', finish_reason => 'length'), qr/token limit/ ],
	[ 'an answer longer than may be', { huge => 64 * 1024 * 1024 }, qr/over the limit/ ],
	[ 'silence', { hang => 1 }, qr/timed out/ ]);
foreach my $failure (@failures)
{
	my ($name, $behaviour, $reason) = @$failure;
	$peer->script($behaviour);
	my $wait = $behaviour->{hang} ? "SET factory.llm_timeout = '300ms'; " : '';
	my ($verdict, $parts, $why) = split /\n/, sql(qq($wait SELECT result, status, confidence, method_used, degraded = components ->> 'llm_failure',
			E'\\n' || (components -> 'llm_confidence')::text, components ? 'llm_status', components ->> 'rule_status', components ->> 'rule_confidence',
			E'\\n' || degraded FROM factory.judge('gated', '{"a": 5}')));
	is($verdict, 'warning|MODERATE_DEFECT|0.5|rule_only|t|', "$name: the rules' verdict stands, as unsure as it was");
	is($parts, 'null|f|MODERATE_DEFECT|0.5|', '... the model has no confidence and no status, not 0');
	like($why, qr/^model could not be had: .*$reason/, '... and the reason is its own');
}
$peer->script(status(500));
is(sql(q(SELECT result, status, confidence, matched_rules, components -> 'llm_confidence' FROM factory.judge('gated', '{}'))), 'unknown|||{}|null',
	'where the rules cannot decide either, nobody does');
$peer->leave;
like(sql(q(SELECT status, degraded FROM factory.judge('gated', '{"a": 5}'))), qr/^MODERATE_DEFECT\|model could not be had: \S/, 'a server that is gone: the rules');
is(sql(q(SELECT status, degraded FROM factory.judge('gated', '{"a": 10}'))), 'HIGH_DEFECT|', 'a satisfied gate does not notice');

# --- a replay on several processes -------------------------------------------------

create('replayed', 'RULE_ONLY', '');
sql(q(SELECT count(factory.judge('replayed', jsonb_build_object('a', n % 12))) FROM generate_series(1, 3000) AS n));
sql(q(SELECT factory.save_version('replayed', '{"inputs": {"a": "int"}, "rules": [{"id": "high", "when": "a >= 9", "then": {"status": "HIGH_DEFECT", "severity": "critical"}}],
	"default": {"status": "NORMAL", "severity": "info"}}', 'stricter')));
sql('CREATE ROLE shift_lead IN ROLE factory_operator; ANALYZE factory.judgment_log');

# Replays as that role; returns what was found, and what the server wrote of its plans.
sub replay
{
	my ($workers) = @_;
	my $offset = -s $node->logfile;
	my $found = sql(qq(SET auto_explain.log_min_duration = 0; SET auto_explain.log_analyze = on; SET auto_explain.log_nested_statements = on;
		SET min_parallel_table_scan_size = 0; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0;
		SET max_parallel_workers_per_gather = $workers; SET ROLE shift_lead;
		SELECT found -> 'total_samples', found -> 'changed', found -> 'alarms' ->> 'saved', found -> 'alarms' ->> 'added'
		FROM factory.replay('replayed', 2, 'yesterday', 'tomorrow') AS found));
	return ($found, slurp_file($node->logfile, $offset));
}
my ($alone, $plan) = replay(0);
unlike($plan, qr/Workers Launched: [1-9]/, 'one process, where there shall be no more');
(my $shared, $plan) = replay(2);
like($plan, qr/replayed_pairs.*Workers Launched: [1-9].*Parallel Seq Scan on judgment_log/s, 'a replay is shared by parallel workers');
is($shared, $alone, 'and finds the same');
is($shared, '3000|500|250|250', 'to the last judgment');
is(sql(q{SELECT count(*) FROM factory.judgment_log WHERE decision = 'replayed'}), 3000, 'and writes nothing');

done_testing();
