# Names of servers: one whose address changes between two calls, one that the resolver
# never answers for.  The resolver is t/lib/resolver.c, preloaded into the server.
#
# FACTORY_CANCEL_COUNT: how often a call that waits for a mute resolver, or for a mute
# peer, is cancelled and terminated (3; scripts/soak asks for 100).
use strict;
use warnings;
use File::Basename qw(dirname);
use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);
use FactoryPeer;

my $cancels = $ENV{FACTORY_CANCEL_COUNT} // 3;
my $directory = PostgreSQL::Test::Utils::tempdir();
my ($library, $names) = ("$directory/resolver.so", "$directory/names");
system('cc', '-shared', '-fPIC', '-O1', '-o', $library, dirname(__FILE__) . '/lib/resolver.c', '-ldl') == 0
  or die 'the resolver does not compile';

sub resolves
{
	my (%address_of) = @_;
	open my $out, '>', "$names.new" or die "could not write $names.new: $!";
	print $out map { "$_.scripted $address_of{$_}\n" } sort keys %address_of;
	close $out;
	rename "$names.new", $names or die "could not rename: $!";
	return;
}

my $node = PostgreSQL::Test::Cluster->new('names');
$node->init;
$node->append_conf('postgresql.conf', <<'CONF');
shared_preload_libraries = 'pg_factory'
factory.llm_retry_delay = '1ms'
CONF
{
	local $ENV{FACTORY_RESOLVER} = $names;
	local $ENV{LD_PRELOAD} = join ' ', grep { defined } $ENV{LD_PRELOAD}, $library;
	$node->start;
}

my $peer = FactoryPeer->new(chat('hello'));
my $port = $peer->port;
$node->safe_psql('postgres', <<"SQL");
CREATE EXTENSION pg_factory;
CREATE SERVER public FOREIGN DATA WRAPPER factory_llm OPTIONS (base_url 'http://public.scripted:$port', allow_http 'true');
CREATE SERVER mute FOREIGN DATA WRAPPER factory_llm OPTIONS (base_url 'http://mute.scripted:$port', allow_http 'true');
CREATE SERVER hanging FOREIGN DATA WRAPPER factory_llm OPTIONS (base_url 'http://127.0.0.1:$port', allow_http 'true', allow_private 'true');
SELECT factory.create_model(server, server, 'm') FROM unnest('{public, mute, hanging}'::text[]) AS server;
SQL

sub sql
{
	my ($statement) = @_;
	my ($code, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\n$statement");
	return $code == 0 ? $out : $err;
}

my $call = q{SELECT factory.complete('public', 'hi') ->> 'text'};

# A name nobody knows.
resolves();
like(sql($call), qr/PF201: .*resolving the server's name: no such host/, 'a name that does not resolve');

# A public address is spoken to without any option.
resolves(public => '203.0.113.7');
is(sql($call), 'hello', 'a public address');

# Calls of one session ask for a name as often as one call does (newer libcurl: once for each
# kind of address), also where each has a connection of its own.
sub questions { return scalar grep { $_ eq "public.scripted\n" } split /(?<=\n)/, (-e "$names.asked" ? slurp_file("$names.asked") : '') }
my $none = questions();
is(sql($call), 'hello', 'a session of its own asks');
my $once = questions() - $none;
cmp_ok($once, '>', 0, 'what the name means');
for my $keep (1, 0)
{
	my $before = questions();
	$peer->script(chat('hello', keep => $keep));
	is(sql("$call;\n$call;\n$call"), "hello\nhello\nhello", 'three calls of one session');
	my %connections = map { $_->{connection} => 1 } $peer->requests;
	is(scalar(keys %connections), $keep ? 1 : 3, $keep ? 'on one connection' : 'on three connections');
	is(questions() - $before, $once, 'resolve the name once');
}
$peer->script(chat('hello'));

# The name that was public a moment ago leads inside: nothing is sent.
for my $inside (qw(127.0.0.1 169.254.169.254 10.0.0.1 ::1 ::ffff:127.0.0.1))
{
	my $before = $peer->requests;
	resolves(public => $inside);
	like(sql($call), qr/PF206: .*(?:loopback|link-local|private) address/, "then it is $inside");
	is(scalar($peer->requests), $before, 'and nothing was sent');
}

# A resolver that never answers: the phase is named, and no wait outlives its end.
resolves(mute => 'mute');
my $mute = q{SELECT factory.complete('mute', 'hi')};
like(sql("SET factory.llm_timeout = '200ms'; $mute"), qr/PF202: .*timed out while resolving the server's name/, 'a mute resolver: the deadline');
like(sql("SET statement_timeout = '200ms'; $mute"), qr/57014/, 'a mute resolver: statement_timeout');
like(sql("SET factory.http_connect_timeout = '200ms'; $mute"),
	qr/PF202: .*timed out while resolving the server's name, after the 200 ms of "factory.http_connect_timeout"/, 'a mute resolver: the limit of connecting');

# The resolver's thread, of a process that has begun to use libcurl: no signal of the
# server's ends up in it.
SKIP:
{
	skip 'no /proc to look at threads', 3 unless -d "/proc/$$/task";
	my $session = $node->background_psql('postgres', on_error_stop => 0);
	my $pid = $session->query_safe('SELECT pg_backend_pid()');
	my $threads = sub { my ($of) = @_; return grep { $_ != $of } map { m{(\d+)$} } glob "/proc/$of/task/*" };
	is(scalar($threads->($pid)), 0, 'a session that has asked nobody has no thread');
	$session->query_until(qr/begun/, "\\echo begun\n$mute;\n");
	$node->poll_query_until('postgres', "SELECT wait_event_type = 'Extension' FROM pg_stat_activity WHERE pid = $pid");
	my ($thread) = $threads->($pid);
	ok($thread, 'one that waits for a name has');
	my ($blocked) = slurp_file("/proc/$pid/task/$thread/status") =~ /^SigBlk:\s*([0-9a-f]+)/m;
	my @open = grep { !(hex($blocked) >> ($_ - 1) & 1) } (POSIX::SIGHUP, POSIX::SIGINT, POSIX::SIGQUIT, POSIX::SIGUSR1, POSIX::SIGUSR2, POSIX::SIGALRM, POSIX::SIGTERM, 23);
	is("@open", '', 'which takes no signal');
	$node->safe_psql('postgres', "SELECT pg_cancel_backend($pid)");
	eval { $session->quit };
}

# Ends a session's waiting call; seconds until the session is free or gone.
sub end_call
{
	my ($model, $end) = @_;
	my $waits = $node->background_psql('postgres', on_error_stop => 0);
	my $pid = $waits->query_safe('SELECT pg_backend_pid()');
	my $before = $peer->requests;
	$waits->query_until(qr/begun/, "\\echo begun\nSELECT factory.complete('$model', 'hi');\n");
	$node->poll_query_until('postgres', "SELECT wait_event_type = 'Extension' FROM pg_stat_activity WHERE pid = $pid");
	$peer->wait_requests($before + 1) if $model eq 'hanging';
	my $over = $end eq 'cancel' ? "state = 'idle'" : 'false';
	my ($took) = $node->safe_psql('postgres', <<"SQL");
DO \$\$
DECLARE begun timestamptz;
BEGIN
	begun := clock_timestamp();
	PERFORM pg_${end}_backend($pid);
	WHILE EXISTS (SELECT FROM pg_stat_activity WHERE pid = $pid AND NOT $over) LOOP
		PERFORM pg_stat_clear_snapshot(), pg_sleep(0.001);
		IF clock_timestamp() > begun + '20 s' THEN RAISE 'the call goes on'; END IF;
	END LOOP;
	PERFORM set_config('factory_test.took', (1000 * extract(epoch FROM clock_timestamp() - begun))::text, false);
END \$\$;
SELECT current_setting('factory_test.took')::float8;
SQL
	$peer->wait_closed($before + 1) if $model eq 'hanging';
	eval { $waits->quit };
	return $took;
}

$peer->script({ hang => 1 });
for my $model (qw(mute hanging))
{
	for my $end (qw(cancel terminate))
	{
		my @took = sort { $a <=> $b } map { end_call($model, $end) } 1 .. $cancels;
		is(scalar(@took), $cancels, "pg_${end}_backend ends a call to a $model server");
		cmp_ok($took[0], '<', 100, 'within 100 ms');    # all of them, where the machine is not busy
		note(sprintf 'pg_%s_backend, %s server: %d times, slowest %.1f ms', $end, $model, $cancels, $took[-1]);
	}
}

# A fast shutdown does not wait for the resolver either.
my $session = $node->background_psql('postgres', on_error_stop => 0);
my $pid = $session->query_safe('SELECT pg_backend_pid()');
$session->query_until(qr/begun/, "\\echo begun\n$mute;\n");
$node->poll_query_until('postgres', "SELECT wait_event_type = 'Extension' FROM pg_stat_activity WHERE pid = $pid");
$node->stop('fast');
eval { $session->quit };
unlike(slurp_file($node->logfile), qr/terminated by signal|PANIC|TRAP/, 'nothing crashed');

done_testing();
