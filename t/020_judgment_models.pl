# Rules and a model judge together: the formula, and every way a model can fail.
use strict;
use warnings;
use Encode qw(decode);
use FactoryPeer;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $peer = FactoryPeer->new(status(500));
my $node = PostgreSQL::Test::Cluster->new('judgment');
$node->init;
$node->append_conf('postgresql.conf', qq(
shared_preload_libraries = 'pg_factory'
factory.llm_retry_delay = 10ms
factory.judgment_cache_ttl = 0
));
$node->start;

my $url = $peer->url;
$node->safe_psql('postgres', qq(
CREATE EXTENSION pg_factory;
CREATE SERVER local FOREIGN DATA WRAPPER factory_llm
	OPTIONS (provider 'openai', base_url '$url', allow_http 'true', allow_private 'true');
SELECT factory.create_model('mini', 'local', 'peer-model-1');
SELECT factory.create_decision('d', '{
  "inputs": {"line": "text", "operator": {"type": "text", "pii": true}, "a": "int"},
  "let": {"double": "a * 2"},
  "rules": [
    {"id": "high", "when": "double >= 20", "confidence": 0.85,
     "then": {"status": "HIGH_DEFECT", "severity": "critical", "recommended_actions": ["stop_line", "call_quality"]},
     "because": "twice {a} is {double}"},
    {"id": "unsure", "when": "a = 5", "confidence": 0.5, "then": {"status": "MODERATE_DEFECT"}}],
  "default": {"status": "NORMAL", "confidence": 0.9},
  "statuses": ["NORMAL", "MODERATE_DEFECT", "HIGH_DEFECT"],
  "prompt": {"model": "mini", "user": "line {{ line }} by {{ operator }}: {{ a }}, doubled {{ double }}, rules said {{ rule.status }}"}}');
));

sub answer
{
	my (%changes) = @_;
	return chat_json({ status => 'MODERATE_DEFECT', severity => 'warning', confidence => 0.75,
		explanation => 'looks worn', recommended_actions => [ 'call_quality', 'inspect_die' ], %changes });
}

# One judgment as a '|'-separated row.
sub judge
{
	my ($input, $policy) = @_;
	$policy = defined $policy ? "'$policy'" : 'NULL';
	return $node->safe_psql('postgres',
		"SELECT result, status, trim_scale(round(confidence::numeric, 4)), recommended_actions, method_used,
			coalesce(degraded, '-') FROM factory.judge('d', '$input', $policy)");
}

# --- together ------------------------------------------------------------------

$peer->script(answer());
is(judge('{"a": 10, "line": "LINE-A", "operator": "Kim"}'),
	'critical|HIGH_DEFECT|0.81|[{"action": "stop_line", "requires_approval": true}, "call_quality", "inspect_die"]|hybrid_weighted|-',
	'0.85 and 0.75 weigh 0.81; the surer side gives the status, both give actions');
my ($request) = $peer->requests;
like($request->{body}, qr/line LINE-A by \*\*\*: 10, doubled 20/, 'the prompt has inputs and let values, no personal data');
unlike($request->{body}, qr/Kim/, 'a personal input does not leave');
like($request->{body}, qr/rules said null/, 'asked beside the rules, the prompt cannot have their result');

$peer->script(answer(confidence => 0.85));
is(judge('{"a": 10}'), 'critical|MODERATE_DEFECT|0.85|[{"action": "stop_line", "requires_approval": true}, "call_quality", "inspect_die"]|hybrid_weighted|-',
	'a tie goes to the model, the graver severity stays');
$peer->script(answer(status => 'NORMAL', severity => 'info', confidence => 0.7, recommended_actions => []));
is(judge('{"a": 1}'), 'normal|NORMAL|0.82|[]|hybrid_weighted|-', '0.90 and 0.70 weigh 0.82');
is(judge('{}'), 'normal|NORMAL|0.28|[]|llm_only|-', 'rules that cannot decide leave the model its share');

# The model is asked while the rules run: this rule waits until the request has come.
my $record = $peer->{file}->filename;
$peer->script(answer());
$node->safe_psql('postgres', qq(
CREATE FUNCTION public.model_was_asked(a int) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS \$\$
BEGIN
	FOR i IN 1 .. 3000 LOOP
		IF pg_read_file('$record') LIKE '%"method":%' THEN RETURN true; END IF;
		PERFORM pg_sleep(0.01);
	END LOOP;
	RETURN false;
END \$\$;
SELECT factory.create_decision('waits', '{"inputs": {"a": "int"},
  "rules": [{"id": "asked", "when": "public.model_was_asked(a)", "confidence": 0.85, "then": {"status": "MODERATE_DEFECT"}}],
  "prompt": {"model": "mini", "user": "{{ a }}"}}')));
is($node->safe_psql('postgres', q(SELECT matched_rules, method_used, components->>'rule_reason' FROM factory.judge('waits', '{"a": 1}'))),
	'{asked}|hybrid_weighted|', 'the request has reached the model before the rules are through');

$node->poll_query_until('postgres', 'SELECT sum(records) = 0 FROM factory.queue_status');
is($node->safe_psql('postgres', 'SELECT count(*) FROM factory.llm_call JOIN factory.judgment_log USING (execution_id)'), '5',
	'the ledger says which judgment each call was for');
like($node->safe_psql('postgres', q(BEGIN READ ONLY; SELECT degraded, components->>'log' FROM factory.judge('d', '{"a": 10}'))),
	qr/no ledger can be kept, the transaction is read-only\|not written: the transaction is read-only/, 'where nothing can be written, no model is called');

# --- one after the other ---------------------------------------------------------

$peer->script(answer());
is(judge('{"a": 10}', 'HYBRID_GATE'), 'critical|HIGH_DEFECT|0.85|[{"action": "stop_line", "requires_approval": true}, "call_quality"]|rule_only|-',
	'a satisfied gate');
is(judge('{"a": 10}', 'RULE_FALLBACK'), 'critical|HIGH_DEFECT|0.85|[{"action": "stop_line", "requires_approval": true}, "call_quality"]|rule_only|-',
	'rules that are sure');
is(scalar($peer->requests), 0, 'neither asks the model');
is(judge('{"a": 5}', 'HYBRID_GATE'), 'warning|MODERATE_DEFECT|0.6|["call_quality", "inspect_die"]|hybrid_gate|-',
	'below the gate the model is asked');
like(($peer->requests)[0]{body}, qr/rules said MODERATE_DEFECT/, 'and is told what the rules said');
is(judge('{"a": 5}', 'RULE_FALLBACK'), 'warning|MODERATE_DEFECT|0.6|["call_quality", "inspect_die"]|rule_fallback|-',
	'rules below 0.7 fall back on the model');
is(judge('{}', 'RULE_FALLBACK'), 'warning|MODERATE_DEFECT|0.75|["call_quality", "inspect_die"]|llm_only|-',
	'rules that failed leave it to the model');
is(judge('{"a": 10}', 'LLM_ONLY'), 'warning|MODERATE_DEFECT|0.75|["call_quality", "inspect_die"]|llm_only|-', 'the model alone');
is(judge('{"a": 10}', 'LLM_FALLBACK'), 'warning|MODERATE_DEFECT|0.75|["call_quality", "inspect_die"]|llm_only|-', 'the model first');

# --- what it says of a model's answer, in the decision's language -------------------

$node->safe_psql('postgres', q(SELECT factory.create_decision('ko', '{"language": "ko", "inputs": {"a": "int"},
  "rules": [{"id": "high", "when": "a >= 10", "confidence": 0.85, "then": {"status": "HIGH_DEFECT"}, "because": "a 값이 {a}"}],
  "default": {"status": "NORMAL", "confidence": 0.9}, "statuses": ["NORMAL", "MODERATE_DEFECT", "HIGH_DEFECT"],
  "prompt": {"model": "mini", "user": "{{ a }}"}}')));

# Summary and reasoning, a line each.
sub told
{
	my ($input, $policy) = @_;
	return $node->safe_psql('postgres', qq(SELECT explanation->>'summary', r.words
		FROM factory.judge('ko', '$input', '$policy'), jsonb_array_elements_text(explanation->'reasoning') WITH ORDINALITY AS r (words, n) ORDER BY n));
}

my ($because, $holds) = ('a 값이 10', '규칙 "high" 성립: a >= 10, 값 a = 10');
$peer->script(answer(explanation => decode('UTF-8', '마모로 보임')));
is(told('{"a": 10}', 'HYBRID_WEIGHTED'),
	"$because; 모델: 마모로 보임|$holds\n$because; 모델: 마모로 보임|모델 \"peer-model-1\"의 답: MODERATE_DEFECT, 신뢰도 0.75", 'rules and model, in Korean');
is(told('{"a": 1}', 'HYBRID_WEIGHTED'),
	'규칙 1개 중 해당하는 것 없음; 모델: 마모로 보임|규칙 1개 중 해당하는 것 없음' . "\n" .
	'규칙 1개 중 해당하는 것 없음; 모델: 마모로 보임|모델 "peer-model-1"의 답: MODERATE_DEFECT, 신뢰도 0.75', 'no rule and a model');
is(told('{"a": 10}', 'LLM_ONLY'), '마모로 보임|모델 "peer-model-1"의 답: MODERATE_DEFECT, 신뢰도 0.75', 'a model alone says it in its own words');
$peer->script(answer(explanation => ''));
is(told('{"a": 10}', 'LLM_ONLY'), '모델이 이유를 말하지 않음|모델 "peer-model-1"의 답: MODERATE_DEFECT, 신뢰도 0.75', 'a model that gives no reason');
$peer->script(status(500));
like(told('{"a": 10}', 'LLM_ONLY'), qr/^모델이 답하지 않음: model could not be had: [^|]+\|모델: \S/, 'a model that does not answer');
like(told('{"a": 10}', 'HYBRID_WEIGHTED'), qr/^\Q$because|$holds\E\n\Q$because\E\|모델: \S/, 'beside rules that do');
$peer->script(answer(status => 'SUPERB'));
like(told('{"a": 10}', 'LLM_ONLY'), qr/^모델이 답하지 않음: /, 'an answer that is none');

# --- every way to fail degrades the answer and says why -----------------------------

my $rules = 'critical|HIGH_DEFECT|0.85|[{"action": "stop_line", "requires_approval": true}, "call_quality"]|rule_only|';
my @failures = (
	[ 'an error of the server', status(500) ],
	[ 'a refused key', status(401) ],
	[ 'HTML', html('<p>hello</p>') ],
	[ 'no JSON', chat('I think it is fine') ],
	[ 'half an answer', { %{ answer() }, cut => 150 } ],
	[ 'a closed connection', { close => 1 } ],
	[ 'a status nobody knows', answer(status => 'SUPERB') ],
	[ 'a confidence of 7', answer(confidence => 7) ],
	[ 'a confidence in words', answer(confidence => 'high') ],
	[ 'a missing confidence', chat_json({ status => 'NORMAL' }) ],
	[ 'an empty answer', chat('') ]);
foreach my $failure (@failures)
{
	my ($name, $behaviour) = @$failure;
	$peer->script($behaviour);
	like(judge('{"a": 10}'), qr/^\Q$rules\Emodel could not be had: \S/, "$name: the rules' answer, degraded");
}
like(judge('{"a": 10}', 'LLM_ONLY'), qr/^unknown\|\|\|\|llm_only\|model could not be had/, 'alone, a failing model leaves unknown');
like(judge('{"a": 10}', 'LLM_FALLBACK'), qr/^\Q$rules\Emodel could not be had/, 'first, it leaves the rules');

# A model that is slow runs into the deadline; a cancel does not wait for it.
$peer->script({ hang => 1 });
$node->safe_psql('postgres', "ALTER DATABASE postgres SET factory.llm_timeout = '300ms'");
like(judge('{"a": 10}'), qr/^\Q$rules\Emodel could not be had: .*(time|deadline)/i, 'a silent model: degraded after the deadline');
$node->safe_psql('postgres', 'ALTER DATABASE postgres RESET factory.llm_timeout');
my ($code, $out, $err) = $node->psql('postgres', q(SET statement_timeout = '300ms'; SELECT factory.judge('d', '{"a": 10}')));
like($err, qr/canceling statement due to statement timeout/, 'a cancel ends the wait');
my $active = $node->safe_psql('postgres', 'SELECT factory.metrics()');
like($active, qr/^judgment_active_executions\{[^}]*\} 0$/m, 'nothing is counted as running after it');

$peer->leave;
like(judge('{"a": 10}'), qr/^\Q$rules\Emodel could not be had: \S/, 'a model that is gone: degraded');

# --- what the log and the counters say ------------------------------------------------

is($node->safe_psql('postgres', "SELECT count(*) > 10, bool_and(degraded IS NULL OR method_used <> 'hybrid_weighted') FROM factory.judgment_log"),
	't|t', 'each judgment was logged');
my $metrics = $node->safe_psql('postgres', 'SELECT factory.metrics()');
like($metrics, qr/^judgment_executions_total\{tenant_id="default",workflow_id="d",status="success",method="hybrid_weighted"\} 3$/m, 'success counted');
like($metrics, qr/^judgment_executions_total\{tenant_id="default",workflow_id="d",status="error",method="hybrid_weighted"\} 1$/m, 'the cancelled one counted as an error');
like($metrics, qr/^judgment_duration_seconds_bucket\{tenant_id="default",workflow_id="d",method="hybrid_weighted",le="0.5"\} \d\n(?:.*\n)*?judgment_duration_seconds_bucket\{tenant_id="default",workflow_id="d",method="hybrid_weighted",le="\+Inf"\} 3$/m,
	"C-4's buckets, whatever time they took");

# --- many backends see a deployment at its commit ----------------------------------------

my $other = $node->background_psql('postgres', on_error_stop => 0);
is($other->query(q(SELECT version FROM factory.judge('d', '{"a": 1}', 'RULE_ONLY'))), '1', 'another session judges by version 1');
$node->safe_psql('postgres', q(SELECT factory.save_version('d', '{"inputs": {"a": "int"}, "rules": [], "default": {"status": "NEW"}}', 'new');
	SELECT factory.deploy('d', 2, changelog => 'new')));
is($other->query(q(SELECT version FROM factory.judge('d', '{"a": 1}', 'RULE_ONLY'))), '2', 'and by version 2 after it was deployed here');
$other->quit;

$node->restart;
is($node->safe_psql('postgres', q(SELECT status, version FROM factory.judge('d', '{"a": 1}'))), 'NEW|2', 'after a restart too');
$node->stop;
done_testing();
