# A model's answer given again: across backends, until a deployment, once for all who ask.
use strict;
use warnings;
use FactoryPeer;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $peer = FactoryPeer->new(status(500));
my $node = PostgreSQL::Test::Cluster->new('cache');
$node->init(allows_streaming => 1);
$node->append_conf('postgresql.conf', qq(
shared_preload_libraries = 'pg_factory'
factory.llm_retry_delay = 1ms
factory.cache_entries = 3
factory.review_critical = off
factory.review_confidence = 0
autovacuum = off
));
$node->start;

my $url = $peer->url;
$node->safe_psql('postgres', qq(
CREATE EXTENSION pg_factory;
CREATE SERVER local FOREIGN DATA WRAPPER factory_llm
	OPTIONS (provider 'openai', base_url '$url', allow_http 'true', allow_private 'true');
SELECT factory.create_model('mini', 'local', 'peer-model-1', input_price => 1, output_price => 1);
SELECT factory.create_decision('d', '{
  "inputs": {"line": "text", "who": {"type": "text", "pii": true}, "a": "int"},
  "let": {"who_in_capitals": "upper(who)"},
  "rules": [{"id": "high", "when": "a >= 20", "confidence": 0.85, "then": {"status": "HIGH_DEFECT", "severity": "critical"},
             "because": "{who} has seen {a}"},
            {"id": "unsure", "when": "a = 5", "confidence": 0.5, "then": {"status": "MODERATE_DEFECT"}, "because": "{who} is unsure"}],
  "default": {"status": "NORMAL", "confidence": 0.9}, "statuses": ["NORMAL", "MODERATE_DEFECT", "HIGH_DEFECT"],
  "prompt": {"model": "mini", "user": "line {{ line }} by {{ who }} {{ who_in_capitals }}: {{ a }}, note {{ context.note }}, rules {{ rule.reason }}"}}');
));

sub answer
{
	my (%changes) = @_;
	return chat_json({ status => 'HIGH_DEFECT', severity => 'critical', confidence => 0.75,
		explanation => 'looks worn', recommended_actions => ['inspect_die'] }, %changes);
}

# A session of its own for each judgment.
sub judge
{
	my ($input, %options) = @_;
	my $arguments = join '', map { ", $_ => $options{$_}" } sort keys %options;
	return $node->safe_psql('postgres', "SELECT from_cache, status, trim_scale(round(confidence::numeric, 4)), coalesce(components #>> '{cache,level}', '-'),
		degraded IS NOT NULL FROM factory.judge('d', '$input'$arguments)");
}
sub asked { return scalar($peer->requests) }

# --- what is kept -----------------------------------------------------------------

is(judge('{"a": 20, "line": "L1"}'), 't|HIGH_DEFECT|0.85|-|t' =~ s/^t/f/r, 'a model that cannot be had degrades the answer');
$peer->script(answer());
is(judge('{"a": 20, "line": "L1"}'), 'f|HIGH_DEFECT|0.81|-|f', 'which is not kept: the model is asked again');
is(judge('{"line": "L1", "a": 20, "unknown": 1}'), 't|HIGH_DEFECT|0.81|l1|f', 'its answer is given to another backend');
is(asked(), 1, 'without asking');
is($node->safe_psql('postgres', q(SELECT explanation ->> 'summary', components #>> '{llm,model}', components #>> '{llm,cost_usd}', recommended_actions
	FROM factory.judge('d', '{"a": 20, "line": "L1", "who": null}'))),
	' has seen 20; model: looks worn|peer-model-1|0.00012|["inspect_die"]' =~ s/^/NULL/r, 'with all that the model said, and what the rules say now');
is(judge('{"a": 20, "line": "L2"}'), 'f|HIGH_DEFECT|0.81|-|f', 'another input is another question');
is(judge('{"a": 20, "line": "L1"}', policy => q('LLM_ONLY')), 'f|HIGH_DEFECT|0.75|-|f', 'and so is another policy');
is(judge('{"a": 20, "line": "L1"}', context => q('{"note": "x"}')), 'f|HIGH_DEFECT|0.81|-|f', 'or context');
is(judge('{"a": 20, "line": "L1"}', skip_cache => 'true'), 'f|HIGH_DEFECT|0.81|-|f', 'or the wish not to be given old answers');
is(asked(), 5, 'the model was asked each time');
is($node->safe_psql('postgres', 'SELECT entries FROM factory.cache_stats WHERE level = $$l1$$ AND kind = $$judgment$$'), 3, 'the memory holds as many as it may');
is(judge('{"a": 20, "line": "L2"}'), 't|HIGH_DEFECT|0.81|table|f', 'what gave way is in the table');
is(judge('{"a": 20, "line": "L2"}'), 't|HIGH_DEFECT|0.81|l1|f', 'and in the memory again');
is(judge('{"a": 1, "line": "L1"}', policy => q('RULE_ONLY')), 'f|NORMAL|0.9|-|f', 'rules alone are quicker than any cache');
is(judge('{"a": 20, "line": "L1"}', policy => q('HYBRID_GATE')), 'f|HIGH_DEFECT|0.85|-|f', 'where the rules are sure there is nothing to give again');
is(judge('{"a": 5}', policy => q('HYBRID_GATE')), 'f|HIGH_DEFECT|0.6|-|f', 'where they are not, the model is asked');
is(judge('{"a": 5}', policy => q('HYBRID_GATE')), 't|HIGH_DEFECT|0.6|l1|f', 'once');
is($node->safe_psql('postgres', "SELECT count(*) FROM factory.judgment_log WHERE components ? 'cache'"), 0, 'answers given again are not logged again');
like($node->safe_psql('postgres', 'SELECT factory.metrics()'), qr/judgment_cache_hits_total\{tenant_id="default",workflow_id="d"\} 5\b/, 'they are counted');

# --- personal data ------------------------------------------------------------------

$peer->script(answer());
judge('{"a": 5, "line": "010-1234-5678", "who": "Hong Gildong"}', policy => q('HYBRID_GATE'), context => q('{"note": "ask 홍길동님, hong@example.com"}'));
is(($peer->requests)[0]{json}{messages}[-1]{content},
	qq(line 010-****-5678 by *** ***: 5, note ask \x{d64d}*\x{b3d9}\x{b2d8}, h***\@example.com, rules *** is unsure), 'no personal data in a prompt, marked, computed, quoted or found');
like($node->safe_psql('postgres', 'SELECT explanation FROM factory.judgment_log ORDER BY created_at DESC LIMIT 1'), qr/Hong Gildong is unsure/, 'the house itself knows');
$peer->script(answer());
is($node->safe_psql('postgres', "SET factory.llm_mask_pii = off; SELECT from_cache FROM factory.judge('d', '{\"a\": 5, \"line\": \"010-1234-5678\", \"who\": \"Hong Gildong\"}', 'HYBRID_GATE', context => '{\"note\": \"ask 홍길동님, hong\@example.com\"}')"), 'f', 'what was answered to a masked question is no answer to the open one');
like(($peer->requests)[0]{json}{messages}[-1]{content}, qr/Hong Gildong HONG GILDONG/, 'masking can be switched off');
$peer->script(chat('hello'));
$node->safe_psql('postgres', q(SELECT factory.complete('mini', 'call 010-1234-5678', 'of hong@example.com'), factory.complete('mini', '불량률과 가동률을 보여줘')));
my @prompts = map { $_->{json}{messages} } $peer->requests;
is("$prompts[0][0]{content} $prompts[0][1]{content}", 'of h***@example.com call 010-****-5678', 'complete() masks, too');
is($prompts[1][0]{content}, "\x{bd88}\x{b7c9}\x{b960}\x{acfc} \x{ac00}\x{b3d9}\x{b960}\x{c744} \x{bcf4}\x{c5ec}\x{c918}", 'and leaves words alone');
throws_like('SET ROLE factory_operator; SET factory.llm_mask_pii = off', qr/permission denied/, 'not everybody may switch it off');

sub throws_like
{
	my ($sql, $error, $what) = @_;
	my (undef, undef, $stderr) = $node->psql('postgres', $sql);
	like($stderr, $error, $what);
}

# --- until a deployment ----------------------------------------------------------------

$peer->script(answer());
$node->safe_psql('postgres', 'SELECT factory.flush_cache()');
judge('{"a": 20}');
is(judge('{"a": 20}'), 't|HIGH_DEFECT|0.81|l1|f', 'kept');
$node->safe_psql('postgres', q(SELECT factory.save_version('d', definition, 'the same again') FROM factory.decision_version; BEGIN; SELECT factory.deploy('d', 2); ROLLBACK));
is(judge('{"a": 20}'), 't|HIGH_DEFECT|0.81|l1|f', 'a deployment that is rolled back empties nothing');
my $deployer = $node->background_psql('postgres');
$deployer->query_safe(q(BEGIN; SELECT factory.deploy('d', 2)));
is(judge('{"a": 20}'), 't|HIGH_DEFECT|0.81|l1|f', 'nor does one under way');
$deployer->query_safe('COMMIT');
is(judge('{"a": 20}'), 'f|HIGH_DEFECT|0.81|-|f', 'one that commits does, in every backend');
$deployer->query_safe(q(SELECT factory.rollback('d')));
is(judge('{"a": 20}'), 'f|HIGH_DEFECT|0.81|-|f', 'and so does going back');
is(judge('{"a": 20}'), 't|HIGH_DEFECT|0.81|l1|f', 'kept again');
$deployer->query_safe(q(SELECT factory.alter_model('mini', model => 'peer-model-2')));
is(judge('{"a": 20}'), 'f|HIGH_DEFECT|0.81|-|f', 'another model gives other answers');
is(judge('{"a": 20}'), 't|HIGH_DEFECT|0.81|l1|f', 'kept once more');
$deployer->query_safe(q(BEGIN; SELECT factory.create_model('dear', 'local', 'peer-model-3', tier => 9)));
is(judge('{"a": 20}'), 't|HIGH_DEFECT|0.81|l1|f', 'a model that is being created changes nothing');
$deployer->query_safe('COMMIT');
is(judge('{"a": 20}'), 'f|HIGH_DEFECT|0.81|-|f', 'one that is there may be the next tier of who was not sure');

# What a model that is being changed says to who changes it is for nobody else.
my $unsure = q(SELECT from_cache FROM factory.judge('d', '{"a": 20, "line": "L9"}'));
$deployer->query_safe(q(BEGIN; SELECT factory.alter_model('mini', model => 'peer-model-4')));
is($deployer->query_safe($unsure) . $deployer->query_safe($unsure), 'ft', 'who changes a model is given its answers');
is($node->safe_psql('postgres', $unsure), 'f', 'others are not, while that may be rolled back');
$deployer->query_safe('ROLLBACK');
is($deployer->query_safe($unsure), 't', 'nor is he afterwards: his are those of the others');
$deployer->quit;

# --- once for all who ask ------------------------------------------------------------------

$peer->script(answer(delay => 1));
my @sessions = map { $node->background_psql('postgres') } 1 .. 5;
$_->{stdin} .= q(SELECT from_cache, status FROM factory.judge('d', '{"a": 20, "line": "crowd"}');) . "\n\\echo through\n" for @sessions;
$_->{run}->pump_nb for @sessions;
for my $session (@sessions) { $session->{run}->pump until $session->{stdout} =~ /through/ }
my @crowd = map { $_->{stdout} =~ /^([tf]\|HIGH_DEFECT)$/m } @sessions;
is(join(' ', sort @crowd), 'f|HIGH_DEFECT' . ' t|HIGH_DEFECT' x 4, 'five ask, four are given what the first was told');
is(asked(), 1, 'by the model, once');

# The first fails: each asks for himself.  The first may be told nothing for long, too.
$peer->script({ hang => 1 });
my $first = $node->background_psql('postgres', on_error_stop => 0);
my $pid = $first->query_safe('SELECT pg_backend_pid()');
$first->{stdin} .= q(SELECT factory.judge('d', '{"a": 20, "line": "first"}');) . "\n";
$first->{run}->pump_nb;
$peer->wait_requests(1);
my $second = $node->background_psql('postgres', on_error_stop => 0);
my $waiter = $second->query_safe('SELECT pg_backend_pid()');
$second->{stdout} = '';
my $statement = q(SELECT from_cache, status FROM factory.judge('d', '{"a": 20, "line": "first"}');) . "\n\\echo through\n";
my $waits = "SELECT count(*) = 1 FROM pg_stat_activity WHERE pid = $waiter AND wait_event IN ('FactoryCache', 'Extension')";
sub let_wait { $second->{stdin} .= $statement; $second->{run}->pump_nb; ok($node->poll_query_until('postgres', $waits), 'the second waits') }
let_wait();
is(asked(), 1, 'for the first, not for the model');
$node->safe_psql('postgres', "SELECT pg_cancel_backend($waiter)");
$second->{run}->pump until $second->{stdout} =~ /through/;
unlike($second->{stdout}, qr/HIGH/, 'waiting can be cancelled');
$second->{stdout} = '';
let_wait();
$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
$peer->wait_requests(2);
$peer->script(answer());
$second->{run}->pump until $second->{stdout} =~ /through/;
like($second->{stdout}, qr/^f\|HIGH_DEFECT$/m, 'who waits in vain asks himself');
$_->{run}->kill_kill for @sessions, $first, $second;

# --- to each his own ------------------------------------------------------------------------------

$peer->script(answer());
judge('{"a": 20, "line": "mine"}');
is($node->safe_psql('postgres', q(
	SELECT factory.create_tenant('other');
	CREATE TEMP TABLE document AS SELECT definition FROM factory.decision_version WHERE version = 1;
	SET factory.tenant = 'other';
	SELECT entries, bytes, hits, misses FROM factory.cache_stats WHERE level = 'l1' AND kind = 'judgment';
	SELECT factory.create_model('mini', 'local', 'peer-model-1'), factory.create_decision('d', definition) FROM document;
	SELECT from_cache FROM factory.judge('d', '{"a": 20, "line": "mine"}');
	SELECT entries FROM factory.cache_stats WHERE level = 'l1' AND kind = 'judgment';
	SELECT factory.flush_cache())), "\n0|0|0|0\n|1\nf\n1\n2", 'another tenant meets nothing of ours, under the same names');
is(judge('{"a": 20, "line": "mine"}'), 't|HIGH_DEFECT|0.81|l1|f', 'and empties nothing of ours');

# --- looking back -------------------------------------------------------------------

# What the cache knows of these very inputs is no business of a replay.
my $looked_up = q(SELECT sum(hits), sum(misses), sum(entries) FROM factory.cache_stats);
my ($before, $asked) = ($node->safe_psql('postgres', $looked_up), asked());
cmp_ok($node->safe_psql('postgres', q(SELECT factory.replay('d', 1, now() - interval '1 day', now() + interval '1 day') ->> 'total_samples')), '>=', 5,
	'judgments that a model had a say in are replayed');
is($node->safe_psql('postgres', q(SELECT factory.backtest('d', '{1}', $$SELECT 20 AS a, 'mine' AS line$$) #>> '{comparisons,0,total_samples}')), 1, 'an input that is cached is backtested');
is($node->safe_psql('postgres', q(SELECT count(factory.explain_judgment(execution_id)) > 0 FROM factory.judgment_log WHERE tenant_id = 'default' AND degraded IS NULL)), 't', 'judgments are explained');
is($node->safe_psql('postgres', $looked_up), $before, 'and the cache was not looked at');
is(asked(), $asked, 'nor the model asked');
like(judge('{"a": 20, "line": "mine"}'), qr/^t\|/, 'while judge() gives what is there');
isnt($node->safe_psql('postgres', $looked_up), $before, 'and that is counted');

# --- where nothing can be written ---------------------------------------------------------------

$node->backup('copy');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'copy', has_streaming => 1);
$standby->start;
$node->wait_for_catchup($standby);
like($standby->safe_psql('postgres', q(SELECT from_cache, status, degraded FROM factory.judge('d', '{"a": 20}'); SELECT count(*) FROM factory.cache_stats)),
	qr/^f\|HIGH_DEFECT\|model could not be had: .*\n4$/, 'a standby judges, keeps nothing and says so');
is($node->safe_psql('postgres', q(BEGIN READ ONLY; SELECT from_cache, degraded IS NULL FROM factory.judge('d', '{"a": 20}'))), 't|t', 'a read-only transaction is given what there is');

$standby->stop;
$node->stop;
done_testing();
