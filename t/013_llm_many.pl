# Many calls at once in one backend: order, errors a row, equal rows once, the
# connections, and the end of all of them by a cancel.
use strict;
use warnings;
use FactoryPeer;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $node = PostgreSQL::Test::Cluster->new('many');
$node->init;
$node->append_conf('postgresql.conf', <<'CONF');
shared_preload_libraries = 'pg_factory'
factory.llm_retry_delay = '10ms'
CONF
$node->start;

# Answers with the prompt's number, the even ones later than the odd ones.
my $peer = FactoryPeer->new(
	sub {
		my ($request) = @_;
		my ($number) = $request->{json}{messages}[-1]{content} =~ /(\d+)/;
		return status(401) if $number == 7;
		return chat("answer $number", delay => $number % 2 ? 0.01 : 0.1);
	});
my $url = $peer->url;
$node->safe_psql('postgres', <<"SQL");
CREATE EXTENSION pg_factory;
CREATE SERVER peer FOREIGN DATA WRAPPER factory_llm
	OPTIONS (base_url '$url', allow_http 'true', allow_private 'true');
SELECT factory.create_model('mini', 'peer', 'm');
SQL

sub sql
{
	my ($statement) = @_;
	my ($code, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\n$statement");
	return $code == 0 ? $out : $err;
}

my $rows = join "\n", map { $_ == 7 ? '7||PF204' : "$_|answer $_|" } 1 .. 20;
is(sql(q{SELECT row_number, answer->>'text', sqlstate
		FROM factory.complete_many('mini', 'SELECT ''number '' || i FROM generate_series(1, 20) i')}),
	$rows, 'answers come in the order of the rows, an error is its row\'s own');
like(sql(q{SELECT error FROM factory.complete_many('mini', 'SELECT ''7''')}),
	qr/model "mini" did not take the request: the server answered 401/, 'and says why');
$node->poll_query_until('postgres', 'SELECT count(*) = 21 FROM factory.llm_call');
is(sql(q{SELECT count(*) FILTER (WHERE success), count(*) FROM factory.llm_call}), '19|21', 'each is in the ledger');

# A template, filled by each row's columns.
is(sql(q{SELECT string_agg(answer->>'text', ',') FROM factory.complete_many('mini',
		$$SELECT * FROM (VALUES (1, 'LINE-A', now()), (2, NULL, now())) v(number, line, at) ORDER BY number$$, prompt => '{{ line }}: {{ number }}')}),
	'answer 1,answer 2', 'rows fill a template');

# Equal rows are asked once; a null prompt is an error of its row.
$peer->script(chat('same'));
is(sql(q{SELECT row_number, answer->>'text', sqlstate, same_as
		FROM factory.complete_many('mini', $$SELECT * FROM (VALUES ('a'), ('b'), ('a'), (NULL), ('a')) v$$)}),
	"1|same||\n2|same||\n3|same||1\n4||22004|\n5|same||1", 'equal rows share an answer');
is(scalar($peer->requests), 2, 'and are asked once');

# What is refused.
like(sql(q{SELECT * FROM factory.complete_many('mini', 'SELECT 1, 2')}), qr/22023: .*has 2 columns, not one/, 'two columns');
like(sql(q{SELECT * FROM factory.complete_many('mini', 'VACUUM')}), qr/22023: .*is not a query/, 'no query');
like(sql(q{SELECT * FROM factory.complete_many('mini', 'SELECT 1/0')}), qr/22012/, 'a query that fails');
like(sql(q{SELECT * FROM factory.complete_many('mini', 'SELECT 1', concurrency => 257)}), qr/must be 1 to 256/, 'too many at once');
like(sql(q{SELECT * FROM factory.complete_many(NULL, 'SELECT 1')}), qr/"model" of complete_many must not be null/, 'no model');
is(sql(q{SELECT error FROM factory.complete_many('nobody', 'SELECT 1')}), 'model "nobody" does not exist', 'an unknown model');

# Many at once are not slower than their number allows; connections are used again.
$peer->script(sub { chat('x', delay => 0.2) });
my $many = q{SELECT count(*) FROM factory.complete_many('mini', 'SELECT i::text FROM generate_series(1, %d) i', concurrency => %d) WHERE error IS NULL};
my $begun = time;
is(sql(sprintf $many, 100, 32), '100', '100 rows of 200 ms, 32 at once');
my $took = time - $begun;
cmp_ok($took, '<', 18, sprintf 'take %.2f s, not 20', $took);
my %connections = map { $_->{connection} => 1 } $peer->requests;
cmp_ok(scalar(keys %connections), '<=', 32, 'over no more connections than are under way at once');
$peer->script(sub { chat('x', delay => 0.5) });
# The scripted peer is slower than 256 callers.
is(sql("SET factory.llm_timeout = '120s';" . sprintf $many, 256, 256), '256', '256 at once');
$peer->script(sub { chat('x', delay => 0.05) });
sql("ALTER SERVER peer OPTIONS (ADD max_connections '4')");
is(sql(sprintf $many, 40, 40), '40', 'with four at once by the server\'s option, all are answered');
%connections = map { $_->{connection} => 1 } $peer->requests;
cmp_ok(scalar(keys %connections), '<=', 4, 'by four connections');
sql('ALTER SERVER peer OPTIONS (DROP max_connections)');

# One call after another in a session needs one connection.
$peer->script(chat('x'));
sql(join ';', (q{SELECT factory.complete('mini', 'x')}) x 5);
%connections = map { $_->{connection} => 1 } $peer->requests;
is(scalar(keys %connections), 1, 'a session keeps its connection');

# A pause that one call is asked for is its own, and that of those not yet sent.
$peer->script(
	sub {
		my ($request) = @_;
		return status(429, headers => [ 'Retry-After' => 1 ]) if $request->{number} == 1;
		return chat('x');
	});
is(sql(sprintf $many, 10, 10), '10', 'one of ten is told to come back in a second');
my @asked = map { $_->{json}{messages}[0]{content} } $peer->requests;
is(scalar(@asked), 11, 'it alone is asked again');
is(scalar(grep { $_ eq $asked[0] } @asked), 2, 'and nobody twice but it');

# Behind a row whose model thinks, no more rows wait than a limit, however few are asked.
$peer->script(sub { return $_[0]{json}{messages}[-1]{content} eq 'slow' ? { hang => 1 } : chat('quick') });
sql(q{CREATE SEQUENCE fetched;
	SET statement_timeout = '2s';
	SELECT count(*) FROM factory.complete_many('mini', $$SELECT CASE WHEN nextval('fetched') = 1 THEN 'slow' ELSE 'quick' END FROM generate_series(1, 100000)$$)});
is(sql('SELECT last_value FROM fetched'), 10000, 'rows behind a slow one are not fetched without end');

# A server that restarts leaves many dead connections behind: they do not eat up a call's tries.
$peer->script(chat('before', delay => 0.3));
my $session = $node->background_psql('postgres', on_error_stop => 0);
is($session->query(sprintf $many, 40, 40), '40', 'forty connections are open');
$peer->script(chat('after'));
is($session->query(q{SELECT factory.complete('mini', 'again') ->> 'text'}), 'after', 'the next call finds the server that came back');
$session->quit;

# A cancel ends them all at once.
$peer->script({ hang => 1 });
$session = $node->background_psql('postgres', on_error_stop => 0);
my $pid = $session->query_safe(q{SET factory.llm_timeout = '300s'; SELECT pg_backend_pid()});
$session->query_until(qr/begun/, "\\echo begun\n" . sprintf("$many;\n", 100, 100));
$peer->wait_requests(100);
$begun = time;
$node->safe_psql('postgres', "SELECT pg_cancel_backend($pid)");
$peer->wait_closed($_) for 1 .. 100;
$took = time - $begun;
cmp_ok($took, '<', 200, sprintf 'a cancel, not the deadline, closes all 100: the last after %.2f s', $took);
is($session->query('SELECT 1'), '1', 'the session lives on');
eval { $session->quit };

done_testing();
