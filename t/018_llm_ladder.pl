# The ladder: the cheapest model first, the next tier where its answer is no answer or not
# sure enough, and no climbing near the end of a budget; each model asked has its row.
use strict;
use warnings;
use FactoryPeer;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('ladder');
$node->init;
$node->append_conf('postgresql.conf', <<'CONF');
shared_preload_libraries = 'pg_factory'
factory.llm_retry_delay = '10ms'
CONF
$node->start;

sub verdict
{
	my ($confidence, $status) = @_;
	return chat_json({ status => $status // 'WARM', severity => 'warning', confidence => $confidence,
		explanation => 'so it is', recommended_actions => [] });
}

# What each model does is said by name.
my $peer = FactoryPeer->new(status(500));

sub models_do
{
	my (%does) = @_;
	$peer->script(sub { return $does{ $_[0]{json}{model} } // status(404) });
}

sub asked { return join ' ', map { $_->{json}{model} } $peer->requests }

my $url = $peer->url;
$node->safe_psql('postgres', <<"SQL");
CREATE EXTENSION pg_factory;
CREATE SERVER peer FOREIGN DATA WRAPPER factory_llm
	OPTIONS (base_url '$url', allow_http 'true', allow_private 'true');
SELECT factory.create_model('big', 'peer', 'big-1', input_price => 30, output_price => 60, tier => 3);
SELECT factory.create_model('mid', 'peer', 'mid-1', input_price => 2.5, output_price => 10, tier => 2);
SELECT factory.create_model('dear', 'peer', 'dear-1', input_price => 3, output_price => 10, tier => 2);
SELECT factory.create_model('mini', 'peer', 'mini-1', input_price => 0.15, output_price => 0.6, tier => 1);
SELECT factory.create_model('loose', 'peer', 'loose-1', input_price => 0, output_price => 0);
SELECT factory.create_decision('climbs', '{"inputs": {"celsius": "int"}, "rules": [],
	"default": {"status": "COLD", "severity": "info"}, "statuses": ["WARM", "COLD"], "policy": "LLM_ONLY", "cache_ttl": "0",
	"prompt": {"model": "mini", "ladder": true, "user": "celsius {{ celsius }}"}}');
SELECT factory.create_decision('strict', '{"inputs": {"celsius": "int"}, "rules": [],
	"default": {"status": "COLD", "severity": "info"}, "statuses": ["WARM", "COLD"], "policy": "LLM_ONLY", "cache_ttl": "0",
	"prompt": {"ladder": true, "ladder_confidence": 0.95, "user": "celsius {{ celsius }}"}}');
SQL

sub sql
{
	my ($statement) = @_;
	my ($code, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\n$statement");
	return $code == 0 ? $out : $err;
}

# One judgment: status, confidence, who answered, and each model asked with what came of it.
my $steps = q{(SELECT string_agg((a->>'model') || ':' || (a->>'step'), ' ' ORDER BY n)
	FROM jsonb_array_elements(components #> '{llm,ladder,asked}') WITH ORDINALITY AS e(a, n))};

sub judge
{
	my ($decision, $first) = @_;
	return sql(($first // '') . "SELECT coalesce(status, result), coalesce(confidence::text, '-'),
		coalesce(components #>> '{llm,ladder,answered}', '-'), $steps
		FROM factory.judge('$decision', '{\"celsius\": 5}')");
}

# --- up ------------------------------------------------------------------------------

models_do('mini-1' => verdict(0.9));
is(judge('climbs'), 'WARM|0.9|mini|mini:sure', 'who is sure is not followed by a dearer one');
is(asked(), 'mini-1', 'and nobody else was asked');

models_do('mini-1' => verdict(0.4), 'mid-1' => verdict(0.8, 'COLD'));
is(judge('climbs'), 'COLD|0.8|mid|mini:unsure mid:sure', 'who is unsure is; of a tier the model with the lowest price');
is(asked(), 'mini-1 mid-1', 'one after the other');
is(sql(q{SELECT components #>> '{llm,ladder,asked,0,reason}', components #>> '{llm,prompt_tokens}', components #>> '{llm,cost_usd}',
	components #>> '{llm,attempts}', components #>> '{llm,model}' FROM factory.judge('climbs', '{"celsius": 5}')}),
	'confidence 0.4 is below 0.7|200|0.000477|2|peer-model-1', 'the result says why, and what both took');

models_do('mini-1' => chat('It is warm.'), 'mid-1' => verdict(0.8));
is(judge('climbs'), 'WARM|0.8|mid|mini:invalid mid:sure', 'what is no answer is followed, too');
is(asked(), 'mini-1 mini-1 mid-1', 'after its one repair');

models_do('mini-1' => verdict(0.1), 'mid-1' => chat('{}'), 'big-1' => verdict(0.6));
is(judge('climbs'), 'WARM|0.6|big|mini:unsure mid:invalid big:top', 'above the highest there is nobody: its answer stands, unsure as it is');
is(judge('climbs', "SET factory.llm_ladder_confidence = 0.1;\n"), 'WARM|0.1|mini|mini:sure', 'how sure is a setting');

models_do('mini-1' => verdict(0.9), 'mid-1' => verdict(0.94), 'big-1' => verdict(0.99));
is(judge('strict'), 'WARM|0.99|big|mini:unsure mid:unsure big:sure', "or the decision's own; a ladder without a model begins at the lowest tier");

# --- a tier that fails ----------------------------------------------------------------

models_do('mini-1' => verdict(0.4), 'mid-1' => status(401));
is(judge('climbs'), 'WARM|0.4|mini|mini:unsure mid:failed', 'a higher tier that fails leaves the answer standing');
models_do('mini-1' => chat('no'), 'mid-1' => status(401));
is(judge('climbs'), 'unknown|-|-|mini:invalid mid:failed', 'where there is none, nothing stands');
models_do('mini-1' => status(401), 'mid-1' => verdict(0.9));
is(judge('climbs'), 'unknown|-|-|mini:failed', 'a model that cannot be had is no reason to ask a dearer one');

# Each has time enough for itself, both together have not.
models_do('mini-1' => { %{ verdict(0.4) }, delay => 1.2 }, 'mid-1' => { %{ verdict(0.9) }, delay => 1.2 });
is(judge('climbs', "SET factory.llm_timeout = '2s';\n"), 'WARM|0.4|mini|mini:unsure mid:failed', 'one deadline holds for all of it');

# --- the ledger and the metric ----------------------------------------------------------

$node->poll_query_until('postgres', 'SELECT sum(records) = 0 FROM factory.queue_status');
is(sql(q{SELECT model, outcome, attempts, cost_usd FROM factory.llm_call
	WHERE execution_id = (SELECT execution_id FROM factory.llm_call WHERE model = 'mid' AND outcome = 'answer_invalid' LIMIT 1) ORDER BY called_at}),
	"mini|ok|1|0.0000270000\nmid|answer_invalid|2|0.0009000000\nbig|ok|1|0.0042000000", 'each model asked has its own row, of one judgment');
my $metrics = sql('SELECT factory.metrics()');
like($metrics, qr/^llm_ladder_steps_total\{tenant_id="default",model="mid",step="failed"\} 3$/m, 'and its step is counted');
like($metrics, qr/^llm_ladder_steps_total\{tenant_id="default",model="big",step="top"\} 1$/m, 'so is the end');

# --- complete, complete_many, jobs, judge_many --------------------------------------------

my $schema = q{'{"type": "object", "required": ["confidence"], "properties": {"confidence": {"type": "number"}}}'};
models_do('mini-1' => chat_json({ confidence => 0.2 }), 'mid-1' => chat_json({ confidence => 0.75 }));
is(sql(qq{SELECT c->'json', c->'ladder'->>'answered', c->'usage'->'total_tokens'
	FROM factory.complete('mini', 'hi', schema => $schema, options => '{"ladder": true}') AS c}),
	'{"confidence": 0.75}|mid|240', 'complete() climbs by option');
is(sql(qq{SELECT c ? 'ladder', c->'json' FROM factory.complete('mini', 'hi', schema => $schema) AS c}),
	'f|{"confidence": 0.2}', 'and not without');
is(sql(qq{SELECT string_agg(answer->'ladder'->>'answered', ',') FROM factory.complete_many('mini', 'VALUES (''a''), (''b'')',
	schema => $schema, options => '{"ladder": true, "ladder_confidence": 0.1}')}), 'mini,mini', 'complete_many() too, as sure as it is told');
sql(q{SELECT factory.alter_model('mini', options => '{"ladder": true, "ladder_confidence": 0.75}')});
is(sql(qq{SELECT c->'ladder'->>'answered', d ? 'ladder' FROM factory.complete('mini', 'hi', schema => $schema) AS c,
	factory.complete('mini', 'hi', schema => $schema, options => '{"ladder": false}') AS d}), 'mid|f', "a model's own options may say so, and a call that it shall not");
sql(q{SELECT factory.alter_model('mini', options => '{}')});
models_do('mini-1' => chat('no'), 'mid-1' => chat('neither'), 'big-1' => chat('nor'));
like(sql(qq{SELECT factory.complete('mini', 'hi', schema => $schema, options => '{"ladder": true}')}),
	qr/PF203: model "big" gave no usable answer: .*It was tried 6 times/s, 'a failure names the model that was last');
like(sql(q{SELECT factory.complete('loose', 'hi', options => '{"ladder": true}')}),
	qr/PF205: model "loose" has no tier.*HINT:  Give it one/s, 'who has no tier is on no ladder');

# Whoever writes a decision is told before.
my $check = q{SELECT message FROM factory.check_decision(jsonb_set('{"inputs": {"celsius": "int"}, "rules": [{"id": "hot", "when": "celsius > 70", "then": {"status": "WARM"}}],
	"default": {"status": "COLD"}, "policy": "LLM_ONLY"}', '{prompt}', '%s')) WHERE level = 'warning' AND message LIKE '%%tier%%'};
like(sql(sprintf $check, '{"model": "loose", "ladder": true, "user": "hi"}'), qr/^model "loose" has no tier, so it has no place on the prompt's ladder/, 'nor in a decision');
is(sql(sprintf $check, '{"model": "mini", "ladder": true, "user": "hi"}') . sql(sprintf $check, '{"ladder": true, "user": "hi"}') . sql(sprintf $check, '{"model": "loose", "user": "hi"}'),
	'', 'which has nothing to say of those who have one, or need none');

# 80, 15 and 5 of 100: the shares of the three, by what a judgment needs.
$peer->script(sub {
	my ($request) = @_;
	my ($n) = $request->{json}{messages}[-1]{content} =~ /celsius (\d+)/;
	my $needs = $n <= 80 ? 'mini-1' : $n <= 95 ? 'mid-1' : 'big-1';
	return verdict($request->{json}{model} eq $needs ? 0.9 : 0.3);
});
is(sql(q{SELECT a, count(*) FROM (SELECT components #>> '{llm,ladder,answered}' AS a
	FROM factory.judge_many('climbs', 'SELECT i AS celsius FROM generate_series(1, 100) i')) AS j GROUP BY 1 ORDER BY 2}),
	"big|5\nmid|15\nmini|80", 'judge_many() climbs, row by row');
my %count;
$count{ $_->{json}{model} }++ for $peer->requests;
is("$count{'mini-1'} $count{'mid-1'} $count{'big-1'}", '100 20 5', 'nobody is asked who need not be');

$peer->script(sub { return verdict($_[0]{json}{model} eq 'mini-1' ? 0.3 : 0.9) });
is(sql(q{SELECT count(*), count(DISTINCT components #> '{llm,ladder}'), min(components #>> '{llm,ladder,answered}')
	FROM factory.judge_many('climbs', 'SELECT 5 AS celsius FROM generate_series(1, 200)')}), '200|1|mid', 'equal rows share a ladder');
is(asked(), 'mini-1 mid-1', 'climbed once');

models_do('mini-1' => verdict(0.4), 'mid-1' => verdict(0.8));
my $job = sql(q{SELECT factory.judge_async('climbs', '{"celsius": 5}')});
$node->poll_query_until('postgres', "SELECT state IN ('done', 'failed') FROM factory.job_status WHERE id = $job");
is(sql("SELECT r->>'status', r #>> '{components,llm,ladder,answered}' FROM factory.job_result($job) AS r"), 'WARM|mid', 'a job climbs');
$job = sql(qq{SELECT factory.complete_async('mini', 'hi', schema => '{"type": "object"}', options => '{"ladder": true}')});
$node->poll_query_until('postgres', "SELECT state IN ('done', 'failed') FROM factory.job_status WHERE id = $job");
is(sql("SELECT r #>> '{ladder,answered}' FROM factory.job_result($job) AS r"), 'mid', 'of complete_async(), too');

# Up there the rules are no others: personal data is masked, and servers are whose they are.
$peer->script(sub { return verdict($_[0]{json}{model} eq 'mini-1' ? 0.3 : 0.9) });
sql(q{SELECT factory.complete('mini', 'ring 010-1234-5678', schema => '{"type": "object"}', options => '{"ladder": true}')});
is(join(', ', map { $_->{json}{messages}[-1]{content} } $peer->requests), 'ring 010-****-5678, ring 010-****-5678', 'each is asked the same');
sql(q{CREATE ROLE analyst IN ROLE factory_analyst; GRANT USAGE ON FOREIGN SERVER peer TO analyst;
	CREATE SERVER closed FOREIGN DATA WRAPPER factory_llm OPTIONS (base_url 'https://models.invalid/v1');
	SELECT factory.create_model('theirs', 'closed', 'theirs-1', input_price => 0.2, output_price => 0.7, tier => 2)});
like(sql(qq{SET ROLE analyst; SELECT c #>> '{ladder,answered}', c #>> '{ladder,asked,1,step}', c #>> '{ladder,asked,1,reason}'
	FROM factory.complete('mini', 'hi', schema => '{"type": "object"}', options => '{"ladder": true}') AS c}),
	qr/^mini\|failed\|.*permission/, 'a ladder leads to no server that one may not use');
sql(q{SELECT factory.drop_model('theirs')});

# --- a budget at 80 % -------------------------------------------------------------------

models_do('mini-1' => verdict(0.4), 'mid-1' => verdict(0.8), 'big-1' => verdict(0.9));
sql(q{SELECT factory.set_budget('model', 'mid', 'day', tokens => 1000000)});
is(judge('climbs'), 'WARM|0.8|mid|mini:unsure mid:sure', 'a budget with room is no matter');
sql(q{SELECT factory.set_budget('model', 'mid', 'day', tokens => tokens_used * 100 / 85) FROM factory.budget_status});
is(judge('climbs'), 'WARM|0.4|mini|mini:budget', "near the end of a model's budget nobody climbs to it");
is(sql(q{SELECT c #>> '{ladder,passed_over}', c #>> '{ladder,answered}'
	FROM factory.complete('mid', 'hi', options => '{"ladder": true}') AS c}),
	q({"model": "mid", "reason": "the day's budget of model \"mid\" is used to 80 %"}|mini), 'and who would begin there begins at the lowest tier');
sql(q{SELECT factory.drop_budget('model', 'mid', 'day'); SELECT factory.set_budget('tenant', period => 'month', tokens => 1000000000)});
is(judge('climbs'), 'WARM|0.8|mid|mini:unsure mid:sure', 'the same of a tenant');
sql(q{SELECT factory.set_budget('tenant', period => 'month', tokens => tokens_used * 100 / 85) FROM factory.budget_status});
is(judge('climbs'), 'WARM|0.4|mini|mini:budget', 'whose models are all its own');
sql(q{SELECT factory.drop_budget('tenant'); SELECT factory.set_budget('role', current_user, 'day', tokens => 1000000000)});
is(judge('climbs'), 'WARM|0.8|mid|mini:unsure mid:sure', 'and of a role');
sql(q{SELECT factory.set_budget('role', current_user, 'day', tokens => tokens_used * 100 / 85) FROM factory.budget_status});
is(judge('climbs'), 'WARM|0.4|mini|mini:budget', 'for whom dear models are too dear then');
is(sql(q{SELECT c #>> '{ladder,passed_over,model}', c #>> '{ladder,answered}' FROM factory.complete('big', 'hi', options => '{"ladder": true}') AS c}),
	'big|mini', 'and who would begin with one begins at the lowest tier');
sql(q{CREATE ROLE thrifty IN ROLE factory_analyst; GRANT USAGE ON FOREIGN SERVER peer TO thrifty});
is(sql(q{SET ROLE thrifty; SELECT c #>> '{ladder,answered}' FROM factory.complete('mid', 'hi', options => '{"ladder": true}') AS c}),
	'mid', "another role's calls are its own");
sql(q{SELECT factory.drop_budget('role', current_user, 'day')});

# An answer that came in time, and was looked at when there was none left for another.
models_do('mini-1' => chat_json({ confidence => 0.4 }), 'mid-1' => chat_json({ confidence => 0.8 }));
is(sql(qq{SELECT answer #>> '{ladder,answered}', answer #>> '{ladder,asked,0,step}', answer->'json', error
	FROM factory.complete_many('mini', \$\$SELECT CASE i WHEN 1 THEN 'early' ELSE 'late' || pg_sleep(4) END FROM generate_series(1, 2) AS i\$\$,
		schema => $schema, options => '{"ladder": true, "timeout": "3s"}') WHERE row_number = 1}),
	'mini|deadline|{"confidence": 0.4}|', 'stands as it is: nobody is asked when there is no time left');

# --- the cache ---------------------------------------------------------------------------

$node->safe_psql('postgres', q{SELECT factory.create_decision('kept', '{"inputs": {"celsius": "int"}, "rules": [],
	"default": {"status": "COLD", "severity": "info"}, "statuses": ["WARM", "COLD"], "policy": "LLM_ONLY",
	"prompt": {"model": "mini", "ladder": true, "user": "celsius {{ celsius }}"}}')});
models_do('mini-1' => verdict(0.4), 'mid-1' => status(401));
judge('kept');
models_do('mini-1' => verdict(0.4), 'mid-1' => verdict(0.8));
is(judge('kept'), 'WARM|0.8|mid|mini:unsure mid:sure', 'an answer that only stands for a better one is not kept');
is(judge('kept'), 'WARM|0.8|mid|mini:unsure mid:sure', 'a good one is');
is(asked(), 'mini-1 mid-1', 'and says the same without asking');

# --- what is no ladder --------------------------------------------------------------------

sub create
{
	my ($prompt) = @_;
	return sql(qq{SELECT factory.create_decision('wrong', '{"inputs": {"celsius": "int"}, "rules": [], "statuses": ["WARM"], "prompt": $prompt}')});
}
like(create('{"user": "x", "ladder": false}'), qr/a prompt needs a model or a ladder/, 'no ladder, no model: nobody to ask');
like(create('{"model": "mini", "user": "x", "ladder": "yes"}'), qr/boolean is wanted/, 'a ladder is true or false');
like(create('{"model": "mini", "user": "x", "ladder": true, "ladder_confidence": 7}'), qr/7 is not between 0 and 1/, 'nobody is so sure');
like(create('{"model": "mini", "user": "x", "ladder_confidence": 0.7}'), qr/without a ladder.*Add "ladder": true/s, 'sure of what');
like(sql(q{SELECT factory.complete('mini', 'hi', options => '{"ladder": 1}')}), qr/invalid value for model option "ladder".*true or false/s, 'an option with a hint');
like(sql(q{SELECT factory.complete('mini', 'hi', options => '{"ladder_confidence": 7}')}),
	qr/invalid value for model option "ladder_confidence".*from 0 to 1/s, 'and its threshold');
sql(q{SELECT factory.drop_model(name) FROM factory.model WHERE tier IS NOT NULL});
like(sql(sprintf $check, '{"ladder": true, "user": "hi"}'), qr/^no model has a tier/, 'where none has a tier there is no ladder');
like(sql(q{SELECT degraded FROM factory.judge('strict', '{"celsius": 5}')}), qr/could not be had: no model has a tier/, 'a ladder without models');

$node->stop;
done_testing();
