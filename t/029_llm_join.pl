# Sessions that ask a model the same at once: one is asked for all of them, and nothing is
# kept for who comes later.
use strict;
use warnings;
use FactoryPeer;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $peer = FactoryPeer->new(status(500));
my $node = PostgreSQL::Test::Cluster->new('join');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'pg_factory'\nfactory.llm_retry_delay = '10ms'\n");
$node->start;
my $url = $peer->url;
$node->safe_psql('postgres', <<"SQL");
CREATE EXTENSION pg_factory;
CREATE SERVER peer FOREIGN DATA WRAPPER factory_llm OPTIONS (base_url '$url', allow_http 'true', allow_private 'true');
CREATE ROLE analyst IN ROLE factory_analyst;
GRANT USAGE ON FOREIGN SERVER peer TO analyst;
SELECT factory.create_model('mini', 'peer', 'mini-1', input_price => 1, output_price => 1);
SQL

# The sessions begin one after the other; the first has asked before the second begins.
sub begin
{
	my (@statements) = @_;
	my @sessions;
	for my $statement (@statements)
	{
		my $session = $node->background_psql('postgres', on_error_stop => 0);
		my $pid = $session->query_safe('SELECT pg_backend_pid()');
		$session->query_until(qr/begun/, "\\echo begun\n$statement;\n\\echo through\n");
		$node->poll_query_until('postgres', "SELECT wait_event_type = 'Extension' FROM pg_stat_activity WHERE pid = $pid");
		push @sessions, { psql => $session, pid => $pid };
	}
	return @sessions;
}

# What each was told, in their order.
sub told
{
	my @said;
	for my $session (map { $_->{psql} } @_)
	{
		$session->{run}->pump until $session->{stdout} =~ /through/;
		push @said, $session->{stderr} =~ /ERROR:\s+(.*)/ ? $1 : $session->{stdout} =~ /^(\S+\|.*)$/m ? $1 : '?';
		eval { $session->quit };
	}
	return join ' ; ', @said;
}

sub asked { return scalar($peer->requests) }

my $say = q{SELECT c->>'text', c->'joined', c->'attempts', c->'cost_usd', c->'usage'->'total_tokens' FROM factory.complete('mini', 'hi') AS c};

$peer->script(chat('hello', delay => 4));
is(told(begin(($say) x 3)), 'hello||1|0.00012|120 ; hello|true|0|0|0 ; hello|true|0|0|0', 'three ask: two are given what the first was told, for nothing');
is(asked(), 1, 'by the model, once');
$node->poll_query_until('postgres', 'SELECT sum(records) = 0 FROM factory.queue_status');
is($node->safe_psql('postgres', 'SELECT count(*) FROM factory.llm_call'), 1, 'one call, one row in the ledger');
like($node->safe_psql('postgres', 'SELECT factory.metrics()'), qr/^llm_joined_calls_total\{tenant_id="default",model="mini"\} 2$/m, 'and two in the metric');

$peer->script(chat('again'));
is($node->safe_psql('postgres', $say), 'again||1|0.00012|120', 'who comes later asks: nothing was kept');

# What is not the same.
$peer->script(chat('hello', delay => 4));
is(told(begin($say, "SET ROLE analyst; $say", "SET factory.llm_join = off; $say", $say =~ s/'hi'/'ho'/r, $say =~ s/'hi'/'hi', options => '{"temperature": 1}'/r)),
	join(' ; ', ('hello||1|0.00012|120') x 5), 'another role, another prompt, other options, and who will not join');
is(asked(), 5, 'are asked for by themselves');

# Prompts that are too long to be compared whole.
my ($long, $other) = map { $say =~ s/'hi'/"repeat('hi', 5000) || $_"/er } 1, 2;
$peer->script(chat('hello', delay => 4));
is(told(begin($long, $long, $other)), 'hello||1|0.00012|120 ; hello|true|0|0|0 ; hello||1|0.00012|120', 'long prompts are told apart by their last sign');

# Whoever is waited for may fail or be cancelled.
$peer->script(sub { return $_[0]{number} == 1 ? { %{ status(401) }, delay => 4 } : chat('hello') });
like(told(begin($say, $say)), qr/^model "mini" did not take the request: .* ; hello\|\|1\|/, 'the first fails: the next asks for himself');
$peer->script(sub { return $_[0]{number} == 1 ? { hang => 1 } : chat('hello') });
my @two = begin($say, $say);
$node->safe_psql('postgres', "SELECT pg_cancel_backend($two[0]{pid})");
is(told(@two), 'canceling statement due to user request ; hello||1|0.00012|120', 'so he does where it is cancelled');

# Who waits is cancelled, or has less time.
$peer->script(chat('hello', delay => 4));
my @three = begin($say, $say, $say);
$node->safe_psql('postgres', "SELECT pg_cancel_backend($three[1]{pid})");
is(told(@three), 'hello||1|0.00012|120 ; canceling statement due to user request ; hello|true|0|0|0', 'who is cancelled while he waits is no matter to the others');
@two = begin($say, $say);
$node->safe_psql('postgres', "SELECT pg_terminate_backend($two[1]{pid}, 10000)");
is(told($two[0]), 'hello||1|0.00012|120', 'nor is who ends');
$peer->script({ hang => 1 });
my ($one) = begin($say);
my ($code, $out, $err) = $node->psql('postgres', "SET factory.llm_timeout = '300ms'; $say");
like($err, qr/model "mini" did not answer in time/, 'each keeps to his own deadline');
$node->safe_psql('postgres', "SELECT pg_cancel_backend($one->{pid})");
is(told($one), 'canceling statement due to user request', 'and the first goes on');

done_testing();
