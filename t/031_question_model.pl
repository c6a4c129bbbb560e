# Questions beyond the catalogue: a model plans, the guard decides, a failure is said.
use strict;
use warnings;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use FactoryPeer;

my $node = PostgreSQL::Test::Cluster->new('question');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'pg_factory'\nfactory.question_model = 'mini'\n");
$node->start;

my $peer = FactoryPeer->new(chat('hello'));
my $url = $peer->url;
$node->safe_psql('postgres', <<"SQL");
CREATE EXTENSION pg_factory;
CREATE SERVER peer FOREIGN DATA WRAPPER factory_llm
	OPTIONS (base_url '$url', allow_http 'true', allow_private 'true');
CREATE USER MAPPING FOR CURRENT_USER SERVER peer OPTIONS (api_key 'sk-test-key');
SELECT factory.create_model('mini', 'peer', 'gpt-4o-mini');
CREATE TABLE output (tenant_id text DEFAULT 'default', date date, line text, qty integer, note text);
INSERT INTO output (date, line, qty, note) SELECT date '2026-01-01' + n, (ARRAY['A1', 'A2'])[n % 2 + 1], 10 * n, 'row secret' FROM generate_series(0, 9) n;
CREATE TABLE payroll (salary integer);
GRANT SELECT ON output, payroll TO factory_reader;
SELECT factory.load_catalog('{"domain": "output", "timezone": "Asia/Seoul",
	"datasets": {"day": {"relation": "output", "grain": "day", "time": "date", "dimensions": ["line"]}},
	"metrics": {"qty": {"label": "quantity", "sql": "sum(qty)", "datasets": ["day"]}},
	"dimensions": {"line": {"column": "line", "label": "line", "values_query": "SELECT DISTINCT line FROM output"}}}');
SQL

sub ask
{
	my ($question) = @_;
	return decode_json($node->safe_psql('postgres',
		"SET factory.frozen_clock = '2026-01-12 09:00:00+09'; SELECT factory.ask('$question')"));
}

sub answer
{
	return chat_json({ metrics => [], dimensions => [], filters => [], from => undef, until => undef,
		granularity => 'none', sql => undef, question_back => undef, @_ });
}

# In the catalogue's scope nobody is asked.
$peer->script(answer());
is(ask('quantity by line 2026-01-01 ~ 2026-01-10')->{source}, 'catalog', 'the catalogue answers what it can');
is(scalar($peer->requests), 0, 'without a model call');

# A plan: compiled as any other.
$peer->script(answer(metrics => ['qty'], dimensions => ['line'], from => '2026-01-01', until => '2026-01-06'));
my $got = ask('how did the winter campaign go, per line?');
is($got->{source}, 'model', 'a model plans what the catalogue cannot');
is_deeply($got->{rows}, [ [ 'A1', 60 ], [ 'A2', 40 ] ], 'and the numbers are the data\'s');
my ($request) = $peer->requests;
my $prompt = $request->{json}{messages}[0]{content};
like($prompt, qr/- qty: quantity/, 'it was told the metrics');
like($prompt, qr/output\(tenant_id text, date date/, 'and the columns');
unlike($request->{body}, qr/row secret|A1/, 'but no row');

# SQL passes the guard or goes back.
$peer->script(answer(sql => 'DELETE FROM output'), answer(sql => 'SELECT max(qty) AS best FROM output'));
$got = ask('what was the winter record?');
is_deeply($got->{rows}, [ [90] ], 'refused SQL goes back, the next answer runs');
($request) = ($peer->requests)[1];
like($request->{json}{messages}[1]{content}, qr/refused: the statement is not a SELECT/, 'with what was wrong');

$peer->script(answer(sql => 'SELECT salary FROM payroll'));
$got = ask('what does everybody earn in winter?');
is_deeply($got->{rows}, [], 'a table outside of the catalogue is not read');
like($got->{degraded}, qr/no usable answer in 3 rounds.*"payroll" is not in the catalogue/, 'and the answer says why');
is(scalar($peer->requests), 3, 'after three rounds');
ok($got->{clarification}, 'what is left is a question back');

$peer->script(answer(metrics => ['qty'], filters => [ { field => 'line', values => ['A9'] } ]));
like(ask('winter of line nine')->{degraded}, qr/no value "A9"/, 'a value that does not exist is not made up');

$peer->script(answer(question_back => 'Which winter?'));
is(ask('winter?')->{clarification}{question}, 'Which winter?', 'a model may ask back');

# Where its own options say so, a model that gives no usable answer is followed by the next tier.
$node->safe_psql('postgres', q{SELECT factory.alter_model('mini', tier => 1, options => '{"ladder": true}');
	SELECT factory.create_model('big', 'peer', 'gpt-4', tier => 2)});
$peer->script(chat('Winter was long.'), chat('And cold.'), answer(sql => 'SELECT min(qty) AS worst FROM output'));
is_deeply(ask('what was the low of winter?')->{rows}, [ [0] ], 'a question climbs the ladder');
is(join(' ', map { $_->{json}{model} } $peer->requests), 'gpt-4o-mini gpt-4o-mini gpt-4', 'after the repair');
$peer->script(chat('no'), chat('no'), status(401));
like(ask('what was the winter like?')->{degraded}, qr/^model "big": .*401/, 'who failed last is named');
$node->safe_psql('postgres', q{SELECT factory.alter_model('mini', options => '{}')});

# A model that fails costs the model's answer, nothing else.
$peer->script(status(401));
$got = ask('winter again');
like($got->{degraded}, qr/^model "mini": /, 'a refusal degrades');
ok($got->{clarification}, 'to the question back');
$peer->leave;
like(ask('winter once more')->{degraded}, qr/^model "mini": /, 'and so does a peer that is gone');

like($node->safe_psql('postgres', 'SELECT factory.metrics()'), qr/bi_queries_total\{[^}]*status="success",source="model"\} 3/, 'the metrics count');
$node->stop;
done_testing();
