# Who asks a model the same at once, sessions, rows of complete_many() and jobs: it is asked
# once for all of them, and nothing is kept for who comes later.
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
		$node->poll_query_until('postgres', "SELECT wait_event_type IN ('Extension', 'Lock') FROM pg_stat_activity WHERE pid = $pid");
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

# From here on the peer answers with the prompt, once that is released; the first request,
# where it is given an answer of its own, once "first" is.
my $released = PostgreSQL::Test::Utils::tempdir();
sub prompt { return $_[0]{json}{messages}[-1]{content} }
sub prompts { return join ' ', sort map { prompt($_) } $peer->requests }
sub release { append_to_file("$released/$_", 'now') for @_; return }
sub hold
{
	my ($first) = @_;
	unlink glob "$released/*";
	$peer->script(sub {
		my ($request) = @_;
		my $is_first = $first && $request->{number} == 1;
		my $wanted = $is_first ? 'first' : prompt($request);
		select undef, undef, undef, 0.01 until -e "$released/$wanted";
		return $is_first ? $first : chat($wanted);
	});
	return;
}

# The answers of complete_many(), with a plus where another's call brought it.
my $texts = q{string_agg(coalesce((answer ->> 'text') || CASE WHEN answer ? 'joined' THEN '+' ELSE '' END, error), ',' ORDER BY row_number)};
sub many { return "SELECT $texts, '' FROM factory.complete_many('mini', \$\$$_[0]\$\$)" }
sub words { return many("SELECT unnest(string_to_array('$_[0]', ' '))") }
sub joined { return ($node->safe_psql('postgres', 'SELECT factory.metrics()') =~ /^llm_joined_calls_total\{.*\} (\d+)$/m)[0] }

# complete_many() follows and is followed.
my $joined = joined();
hold();
@two = begin(words('a b c a'), words('b d c'));
$peer->wait_requests(4);
release('a' .. 'd');
is(told(@two), 'a,b,c,a| ; b+,d,c+|', 'of two statements the second follows the first where it asks the same');
is(prompts(), 'a b c d', 'and the model was asked for each prompt once');
is(joined() - $joined, 2, 'two calls were joined');
hold();
@three = begin(words('hi'), $say, words('hi ho'));
$peer->wait_requests(2);
release('hi', 'ho');
is(told(@three), 'hi| ; hi|true|0|0|0 ; hi+,ho|', 'so do complete() and a third');
is(prompts(), 'hi ho', 'for one request');
hold();
@two = begin(words('hi'), 'SET factory.llm_join = off; ' . words('hi'));
$peer->wait_requests(2);
release('hi');
is(told(@two), 'hi| ; hi|', 'who will not join asks');
hold();
@two = begin($say, many(q{SELECT 'x' UNION ALL SELECT 'joined' || coalesce(factory.complete('mini', 'hi') ->> 'joined', '')}));
$peer->wait_requests(3);
release('hi', 'x', 'joined');
is(told(@two), 'hi||1|0.00012|120 ; x,joined|', 'so does a call that a row makes: the rows before it would wait, too');

# A row whose first fails, is cancelled, ends or is held up is asked for.
my %ends = (
	'fails' => sub { release('first') },
	'is cancelled' => sub { $node->safe_psql('postgres', "SELECT pg_cancel_backend($_[0]{pid})") },
	'ends' => sub { $node->safe_psql('postgres', "SELECT pg_terminate_backend($_[0]{pid})") });
for my $how (sort keys %ends)
{
	hold(status(401));
	($one) = begin(words('hi'));
	$peer->wait_requests(1);
	my ($other) = begin(words('hi ho'));
	$peer->wait_requests(2);
	is(prompts(), 'hi ho', 'a row follows a row');
	release('hi', 'ho');
	$ends{$how}->($one);
	is(told($other), 'hi,ho|', "and is asked for when that $how");
	eval { $one->{psql}->quit };
}
my $lock = $node->background_psql('postgres');
$lock->query_safe('SELECT pg_advisory_lock(1)');
hold();
release('hi');
my $hurry = "SET factory.llm_timeout = '300ms'";
($one) = begin("$hurry; " . many(q{SELECT 'hi' UNION ALL SELECT 'ho' FROM (SELECT pg_advisory_lock(1)) AS l}));
is($node->safe_psql('postgres', "$hurry; $say"), 'hi||1|0.00012|120', 'a statement that is held up by its query holds nobody up for long');
$lock->quit;
told($one);

# Jobs do, too.
sub submit { return $node->safe_psql('postgres', qq{SELECT factory.complete_async('mini', w) FROM unnest(string_to_array('$_[0]', ' ')) AS w}) =~ /\d+/g }
sub ends { return $node->poll_query_until('postgres', q{SELECT count(*) = 0 FROM factory.job WHERE state IN ('queued', 'running')}) }
sub results { return join ' ', map { $node->safe_psql('postgres', qq{SELECT concat_ws(':', state, result ->> 'text', result ->> 'joined') FROM factory.job WHERE id = $_}) } @_ }

hold();
my @jobs = submit('hi ho');
$peer->wait_requests(2);
($one) = begin($say);
release('hi', 'ho');
is(told($one), 'hi|true|0|0|0', 'a session follows a job');
ends();
is(results(@jobs), 'done:hi done:ho', 'which has its answer');
hold();
($one) = begin(words('hi'));
@jobs = submit('hi hi ho');
$peer->wait_requests(2);
release('hi', 'ho');
is(told($one), 'hi|', 'a session that is followed');
ends();
is(results(@jobs), 'done:hi:true done:hi:true done:ho', 'by jobs');
is(prompts(), 'hi ho', 'has asked for them');
hold(status(401));
@jobs = submit('hi');
$peer->wait_requests(1);
push @jobs, submit('hi ho');
$peer->wait_requests(2);
is(prompts(), 'hi ho', 'a job follows a job');
release('hi', 'ho');
$node->safe_psql('postgres', "SELECT factory.cancel_job($jobs[0])");
ends();
is(results(@jobs), 'cancelled done:hi done:ho', 'and asks when that is cancelled');
hold(status(401));
submit('hi');
$peer->wait_requests(1);
($one) = begin($say);
is(prompts(), 'hi', 'a session follows a job');
release('hi');
$node->safe_psql('postgres', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'pg_factory job runner'});
is(told($one), 'hi||1|0.00012|120', 'and asks when the runner ends');
ends();

done_testing();
