# Each provider: what it is asked, what its answers mean, how it fails.
use strict;
use warnings;
use FactoryPeer;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('providers');
$node->init;
$node->append_conf('postgresql.conf', <<'CONF');
shared_preload_libraries = 'pg_factory'
factory.llm_retry_delay = '10ms'
CONF
$node->start;
my $peer = FactoryPeer->new(chat('hello'));
my $url = $peer->url;
$node->safe_psql('postgres', 'CREATE EXTENSION pg_factory');
foreach my $provider (qw(openai azure anthropic gemini))
{
	$node->safe_psql('postgres', <<"SQL");
CREATE SERVER $provider FOREIGN DATA WRAPPER factory_llm
	OPTIONS (provider '$provider', base_url '$url', allow_http 'true', allow_private 'true');
CREATE USER MAPPING FOR PUBLIC SERVER $provider OPTIONS (api_key 'sk-$provider');
SELECT factory.create_model('$provider', '$provider', 'model-1', options => '{"temperature": 0.2, "max_tokens": 300}');
SQL
}

sub sql
{
	my ($statement) = @_;
	my ($code, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\n$statement");
	return $code == 0 ? $out : $err;
}

sub complete
{
	my ($model, $arguments) = @_;
	my $out = sql("SELECT factory.complete('$model', 'say hi'" . ($arguments ? ", $arguments" : '') . ')');
	return $out =~ /^\{/ ? decode_json($out) : $out;
}

my $schema = '{"type": "object", "required": ["status"], "properties": {"status": {"enum": ["GOOD", "BAD"]}}}';
my $document = decode_json($schema);

sub is_failure
{
	my ($model, $name, $behaviour, $words, $count) = @_;
	$peer->script($behaviour);
	like(complete($model), $words, "$model: $name");
	is(scalar($peer->requests), $count, "$model: $name: requests");
	return;
}

# --- azure: openai with a key header of its own ------------------------------------

complete('azure');
my ($request) = $peer->requests;
is($request->{headers}{'api-key'}, 'sk-azure', 'azure: the key\'s header');
is($request->{headers}{authorization}, undef, 'azure: and no other');
is($request->{path}, '/v1/chat/completions', 'azure: the path');

# --- a repair: the model is told what was wrong, once -------------------------------

$peer->script(chat('I would say GOOD'), chat_json({ status => 'GOOD' }));
is_deeply(complete('openai', "schema => '$schema'")->{json}, { status => 'GOOD' }, 'a repaired answer');
is_deeply([ map { $_->{content} } @{ ($peer->requests)[1]{json}{messages} } ],
	[ 'say hi', 'I would say GOOD',
		'This answer cannot be used: the model\'s words are not JSON. Answer again, with JSON alone.' ],
	'the model sees its words and the fault');

# --- anthropic ------------------------------------------------------------------------

sub message
{
	my (%changes) = @_;
	return {
		json => {
			id => 'msg_1', type => 'message', role => 'assistant', model => 'claude-x',
			stop_reason => 'end_turn',
			content => [ { type => 'text', text => 'hel' }, { type => 'text', text => 'lo' } ],
			usage => { input_tokens => 60, cache_read_input_tokens => 40, output_tokens => 20 },
			%changes } };
}

$peer->script(message());
my $answer = complete('anthropic', "system => 'be brief'");
is_deeply([ @$answer{qw(text model)}, $answer->{usage}{prompt_tokens}, $answer->{usage}{completion_tokens} ],
	[ 'hello', 'claude-x', 100, 20 ], 'anthropic: an answer');
($request) = $peer->requests;
is($request->{path}, '/v1/messages', 'anthropic: the path');
is_deeply([ @{ $request->{headers} }{qw(x-api-key anthropic-version)} ], [ 'sk-anthropic', '2023-06-01' ], 'anthropic: the headers');
is_deeply($request->{json},
	{ model => 'model-1', system => 'be brief', max_tokens => 300, temperature => 0.2,
		messages => [ { role => 'user', content => 'say hi' } ] }, 'anthropic: the request');

$peer->script(message(stop_reason => 'tool_use',
	content => [ { type => 'tool_use', id => 't', name => 'answer', input => { status => 'GOOD' } } ]));
is_deeply(complete('anthropic', "schema => '$schema'")->{json}, { status => 'GOOD' }, 'anthropic: JSON comes as a tool\'s input');
($request) = $peer->requests;
is_deeply([ $request->{json}{tools}[0]{input_schema}, $request->{json}{tool_choice} ],
	[ $document, { type => 'tool', name => 'answer' } ], 'anthropic: the schema is the tool\'s');
$peer->script(message(content => [ { type => 'text', text => '["a"]' } ]));
is_deeply(complete('anthropic', q{schema => '{"type": "array"}'})->{json}, ['a'], 'anthropic: a schema of no object');
like(($peer->requests)[0]{json}{system}, qr/by this JSON schema/, 'anthropic: is told in words');
$peer->script(message(stop_reason => 'tool_use',
		content => [ { type => 'tool_use', id => 't', name => 'answer', input => { status => 'FINE' } } ]),
	message(stop_reason => 'tool_use',
		content => [ { type => 'tool_use', id => 't', name => 'answer', input => { status => 'BAD' } } ]));
is_deeply(complete('anthropic', "schema => '$schema'")->{json}, { status => 'BAD' }, 'anthropic: a repair');

is_failure('anthropic', 'a refusal', message(stop_reason => 'refusal', content => []), qr/PF204: .*declined/, 1);
is_failure('anthropic', 'the token limit', message(stop_reason => 'max_tokens'), qr/PF203: .*cut at the token limit/, 1);
is_failure('anthropic', 'another tool', message(stop_reason => 'tool_use', content => [ { type => 'tool_use', name => 'x', input => {} } ]),
	qr/PF203: .*called a tool/, 2);
is_failure('anthropic', 'nothing', message(content => []), qr/PF203: .*empty/, 2);
is_failure('anthropic', 'no content', { json => { type => 'message' } }, qr/PF203: .*no content/, 2);
is_failure('anthropic', 'an error with 200', { json => { type => 'error', error => { type => 'api_error' } } }, qr/PF203: .*error message/, 2);
is_failure('anthropic', 'overloaded', status(529, json => { type => 'error', error => { type => 'overloaded_error' } }),
	qr/PF201: .*529 \(overloaded_error\)/, 3);
is_failure('anthropic', 'an unknown model', status(404, json => { type => 'error', error => { type => 'not_found_error' } }),
	qr/PF204: .*404 \(not_found_error\)/, 1);

# --- gemini -----------------------------------------------------------------------------

sub candidate
{
	my (%changes) = @_;
	return {
		json => {
			modelVersion  => 'gemini-x',
			usageMetadata => { promptTokenCount => 100, candidatesTokenCount => 15, thoughtsTokenCount => 5 },
			candidates    => [
				{
					finishReason => 'STOP',
					content => { role => 'model', parts => [ { text => 'hmm', thought => JSON::PP::true }, { text => 'hello' } ] },
					%changes } ] } };
}

$peer->script(candidate());
$answer = complete('gemini', "system => 'be brief'");
is_deeply([ @$answer{qw(text model)}, $answer->{usage}{prompt_tokens}, $answer->{usage}{completion_tokens} ],
	[ 'hello', 'gemini-x', 100, 20 ], 'gemini: an answer, without its thoughts');
($request) = $peer->requests;
is($request->{path}, '/v1/models/model-1:generateContent', 'gemini: the path');
is($request->{headers}{'x-goog-api-key'}, 'sk-gemini', 'gemini: the key');
is_deeply($request->{json},
	{ systemInstruction => { parts => [ { text => 'be brief' } ] },
		contents => [ { role => 'user', parts => [ { text => 'say hi' } ] } ],
		generationConfig => { temperature => 0.2, maxOutputTokens => 300 } }, 'gemini: the request');
$peer->script(candidate(content => { parts => [ { text => '{"status": "GOOD"}' } ] }));
is_deeply(complete('gemini', "schema => '$schema'")->{json}, { status => 'GOOD' }, 'gemini: JSON');
is_deeply([ @{ ($peer->requests)[0]{json}{generationConfig} }{qw(responseMimeType responseJsonSchema)} ],
	[ 'application/json', $document ], 'gemini: the schema is asked for');
$node->safe_psql('postgres', q{SELECT factory.alter_model('gemini', model => '../x?y=1')});
complete('gemini');
is(($peer->requests)[-1]{path}, '/v1/models/..%2Fx%3Fy%3D1:generateContent', 'gemini: a model\'s name stays in its place');

is_failure('gemini', 'the token limit', candidate(finishReason => 'MAX_TOKENS'), qr/PF203: .*cut at the token limit/, 1);
is_failure('gemini', 'safety', candidate(finishReason => 'SAFETY', content => {}), qr/PF204: .*content filter held the answer/, 1);
is_failure('gemini', 'a blocked prompt', { json => { promptFeedback => { blockReason => 'OTHER' } } }, qr/PF204: .*content filter held the prompt/, 1);
is_failure('gemini', 'a function call', candidate(content => { parts => [ { functionCall => { name => 'x' } } ] }), qr/PF203: .*called a tool/, 2);
is_failure('gemini', 'no candidates', { json => {} }, qr/PF203: .*no candidates/, 2);
is_failure('gemini', 'nothing', candidate(content => {}), qr/PF203: .*empty/, 2);
is_failure('gemini', 'an unknown model', status(404, json => { error => { code => 404, status => 'NOT_FOUND' } }), qr/PF204: .*404 \(not_found\)/, 1);

done_testing();
