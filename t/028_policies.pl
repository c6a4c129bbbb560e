# Who is asked: each policy at the edge of its threshold; and what listeners hear of reviews.
use strict;
use warnings;
use FactoryPeer;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $peer = FactoryPeer->new(status(500));
my $node = PostgreSQL::Test::Cluster->new('policies');
$node->init;
$node->append_conf('postgresql.conf', qq(
shared_preload_libraries = 'pg_factory'
factory.llm_retry_delay = 10ms
factory.judgment_cache_ttl = 0
factory.review_confidence = 0
));
$node->start;
sub sql { return $node->safe_psql('postgres', $_[0]); }

my $url = $peer->url;
sql(qq(
CREATE EXTENSION pg_factory;
CREATE SERVER local FOREIGN DATA WRAPPER factory_llm
	OPTIONS (provider 'openai', base_url '$url', allow_http 'true', allow_private 'true');
SELECT factory.create_model('mini', 'local', 'peer-model-1')));

# The rule's confidence is the input; what is wanted beside it is said in the definition.
my @confidences = (0.6999, 0.7, 0.7001, 0.8999, 0.9, 1, 0);
my $rules = join ', ', map { qq({"id": "c$_", "when": "c = $_", "confidence": $_, "then": {"status": "BAD", "severity": "warning"}}) } @confidences;
sub create
{
	my ($name, $more) = @_;
	sql(qq(SELECT factory.create_decision('$name', '{"inputs": {"c": "numeric"}, $more "rules": [$rules, {"id": "raises", "when": "1 / (c - 5) > 100", "then": {"status": "BAD"}}],
		"statuses": ["BAD", "GOOD"], "prompt": {"model": "mini", "user": "{{ c }}, {{ rule.status }}"}}')));
	return;
}
create('plain', '');
create('own', '"gate": 0.9, "fallback_confidence": 0.9, "weights": {"rule": 0.25, "llm": 0.75},');

# [how, how often the model was asked, confidence, status]
sub judge
{
	my ($decision, $policy, $input) = @_;
	$peer->script(chat_json({ status => 'GOOD', severity => 'info', confidence => 0.5, explanation => 'fine', recommended_actions => [] }));
	my $answer = sql(qq(SELECT method_used, trim_scale(round(confidence::numeric, 4)), status FROM factory.judge('$decision', '{"c": $input}', '$policy')));
	return scalar($peer->requests) . " $answer";
}

# --- thresholds ------------------------------------------------------------------------

foreach my $case (
	[ 'plain', 'HYBRID_GATE',   0.7,    '0 rule_only|0.7|BAD',         'a gate of 0.7, where none is named, is satisfied by 0.7' ],
	[ 'plain', 'HYBRID_GATE',   0.6999, '1 hybrid_gate|0.6199|BAD',    '... and not by less' ],
	[ 'own',   'HYBRID_GATE',   0.9,    '0 rule_only|0.9|BAD',         "a decision's own gate of 0.9 is satisfied by 0.9" ],
	[ 'own',   'HYBRID_GATE',   0.8999, '1 hybrid_gate|0.6|BAD',       '... and not by less, and weighs by its own weights' ],
	[ 'plain', 'RULE_FALLBACK', 0.7,    '0 rule_only|0.7|BAD',         'rules fall back below 0.7, not at it' ],
	[ 'plain', 'RULE_FALLBACK', 0.6999, '1 rule_fallback|0.6199|BAD',  '... below it both are weighed' ],
	[ 'own',   'RULE_FALLBACK', 0.9,    '0 rule_only|0.9|BAD',         'a threshold of its own, likewise' ],
	[ 'own',   'RULE_FALLBACK', 0.8999, '1 rule_fallback|0.6|BAD',     '... at its edge' ],
	[ 'plain', 'RULE_FALLBACK', 5,      '1 llm_only|0.5|GOOD',         'rules that failed leave the model alone, with its full word' ],
	[ 'plain', 'HYBRID_GATE',   5,      '1 llm_only|0.2|GOOD',         'below a gate it has its share' ],
	[ 'plain', 'RULE_FIRST',    0.6999, '1 rule_fallback|0.6199|BAD',  'RULE_FIRST is RULE_FALLBACK' ],
	[ 'plain', 'RULE_ONLY',     0,      '0 rule_only|0|BAD',           'rules only, however unsure' ],
	[ 'plain', 'RULE_ONLY',     5,      '0 rule_only||',               '... or undecided' ],
	[ 'plain', 'ESCALATE',      1,      '0 escalate||',                'a person, and no model' ],
	[ 'plain', 'LLM_ONLY',      1,      '1 llm_only|0.5|GOOD',         'the model only, however sure the rules' ],
	[ 'plain', 'LLM_FALLBACK',  1,      '1 llm_only|0.5|GOOD',         'the model first' ],
	[ 'plain', 'HYBRID_WEIGHTED', 1,    '1 hybrid_weighted|0.8|BAD',   'both, however sure the rules: 1 * 0.6 + 0.5 * 0.4' ],
	[ 'own',   'HYBRID_WEIGHTED', 1,    '1 hybrid_weighted|0.625|BAD', '... by its own weights' ],
	[ 'own',   'HYBRID_WEIGHTED', 0,    '1 hybrid_weighted|0.375|GOOD', '... the surer gives the status' ])
{
	my ($decision, $policy, $input, $expected, $story) = @$case;
	is(judge($decision, $policy, $input), $expected, "$policy: $story");
}
is(sql(q{SELECT string_agg(DISTINCT policy, ' ' ORDER BY policy) FROM factory.judgment_log}),
	'ESCALATE HYBRID_GATE HYBRID_WEIGHTED LLM_FALLBACK LLM_ONLY RULE_FALLBACK RULE_ONLY', 'seven policies, an alias is none');

# --- what opens a review, at its edge ----------------------------------------------------

sql(q{DELETE FROM factory.review});
foreach my $case ([ 0.7, '' ], [ 0.6999, 'low_confidence' ])
{
	my ($input, $reasons) = @$case;
	sql(qq(SET factory.review_confidence = 0.7; SELECT factory.judge('plain', '{"c": $input}', 'RULE_ONLY')));
	is(sql(q{SELECT coalesce(string_agg(array_to_string(reasons, ','), ' '), '') FROM factory.review}), $reasons, "a confidence of $input");
}

# --- what listeners hear of it ---------------------------------------------------------------

my $session = $node->background_psql('postgres');
$session->query_safe(q{LISTEN factory_events; SELECT factory.pause_workers('the clock stands still'); SET factory.review_confidence = 0.7});
sub heard
{
	my ($statement) = @_;
	my $text = $session->query_safe($statement) . "\n" . $session->query_safe('SELECT 1') . $session->{stderr};
	$session->{stderr} = '';
	return join ' ', $text =~ /"event": ?"([^"]+)"/g;
}
my $judge = q{SELECT execution_id FROM factory.judge('plain', '{"c": 0}', 'RULE_ONLY')};
is(heard(q{SET factory.frozen_clock = '2026-01-15 09:00+00'; DELETE FROM factory.review; } . $judge), 'review.opened', 'a review is opened');
is(heard("BEGIN; $judge; ROLLBACK"), '', 'of one that is rolled back nobody hears');
is(heard($judge), 'review.opened', 'of the next again');
is(heard(q{SET factory.frozen_clock = '2026-01-15 11:59:59+00'; SELECT factory.tend_reviews()}), '', 'four hours less one: nothing yet');
is(heard(q{SET factory.frozen_clock = '2026-01-15 12:00:00+00'; SELECT factory.tend_reviews()}), 'review.reminder review.reminder', 'an hour before the deadline: a reminder of each');
is(heard(q{SELECT factory.tend_reviews()}), '', 'one is enough');
is(heard(q{SELECT factory.approve(execution_id) FROM factory.review ORDER BY execution_id LIMIT 1}), 'review.approved', 'one is approved');
is(heard(q{SET factory.frozen_clock = '2026-01-15 13:00:00+00'; SELECT factory.tend_reviews()}), 'review.expired', 'the other expires');
is(heard(q{SELECT factory.reject(execution_id, 'too late') FROM factory.review WHERE status = 'expired'}), 'review.rejected', 'and is rejected all the same');
is(sql(q{SELECT string_agg(action, ' ' ORDER BY created_at) FROM factory.audit_log WHERE object_type = 'review'}), 'approve reject', 'the audit log has both verdicts');
$session->quit;

# --- a canary that is slow ---------------------------------------------------------------------

sql(q{SELECT factory.save_version('plain', definition, 'slower') FROM factory.decision_definition WHERE decision = 'plain';
	SELECT factory.deploy('plain', 2, canary_pct => 50)});
sql(q{SELECT count(factory.judge('plain', jsonb_build_object('c', 1, 'n', n), 'RULE_ONLY')) FROM generate_series(1, 100) AS n});
is(sql(q{SELECT breach IS NULL FROM factory.canary_status}), 't', 'a quick canary is well');
sql(q{UPDATE factory.judgment_log SET execution_time_ms = 2000 WHERE version = 2});
is(sql(q{SELECT breach IS NULL FROM factory.canary_status}), 't', 'two seconds are not more than two seconds');
sql(q{UPDATE factory.judgment_log SET execution_time_ms = 2001 WHERE version = 2});
sql(q{SELECT factory.tend_canaries()});
is(sql(q{SELECT status, split_part(reason, ':', 1) FROM factory.deployment WHERE decision = 'plain' AND version = 2}), 'rolled_back|latency_exceeded', 'and rolled back, with its reason');
is(sql(q{SELECT after ->> 'status' FROM factory.audit_log WHERE action = 'rollback' AND object = 'plain'}), 'rolled_back', 'which the audit log has');
$node->stop;
done_testing();
