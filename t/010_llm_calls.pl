# Calls to models that work: the request, the answer, the ledger, the connection.
use strict;
use warnings;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use FactoryPeer;

my $node = PostgreSQL::Test::Cluster->new('llm');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'pg_factory'\n");
$node->start;

my $peer = FactoryPeer->new(chat('hello'));
my $url = $peer->url;
$node->safe_psql('postgres', <<"SQL");
CREATE EXTENSION pg_factory;
CREATE SERVER peer FOREIGN DATA WRAPPER factory_llm
	OPTIONS (base_url '$url', allow_http 'true', allow_private 'true');
CREATE USER MAPPING FOR CURRENT_USER SERVER peer OPTIONS (api_key 'sk-test-key');
SELECT factory.create_model('mini', 'peer', 'gpt-4o-mini', input_price => 0.15, output_price => 0.60,
	options => '{"temperature": 0.2, "max_tokens": 300}');
SQL

# One call: what the peer is asked, what the caller gets.
my $answer = decode_json($node->safe_psql('postgres',
	q{SELECT factory.complete('mini', 'say hi', system => 'be brief')}));
is($answer->{text}, 'hello', 'the words come back');
is($answer->{model}, 'peer-model-1', 'with the provider\'s name of the model');
is_deeply($answer->{usage},
	{ prompt_tokens => 100, completion_tokens => 20, total_tokens => 120 }, 'and the tokens');
is($answer->{attempts}, 1, 'at the first try');
is($answer->{cost_usd}, 0.000027, 'and their price');
my ($request) = $peer->requests;
is("$request->{method} $request->{path}", 'POST /v1/chat/completions', 'the right place was asked');
is($request->{headers}{authorization}, 'Bearer sk-test-key', 'with the key');
is_deeply($request->{json},
	{
		model       => 'gpt-4o-mini',
		temperature => 0.2,
		max_tokens  => 300,
		messages    => [
			{ role => 'system', content => 'be brief' },
			{ role => 'user',   content => 'say hi' } ]
	},
	'and the request');
done_testing();
