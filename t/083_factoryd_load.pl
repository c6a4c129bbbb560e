# factoryd under strain: strange bytes, many clients, a standby, shared connections.
use strict;
use warnings;
use Factoryd;
use IO::Select;
use IPC::Open2;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# --- bytes of strangers -----------------------------------------------------------------

my $root = $ENV{FACTORY_ROOT};
my @corpus = glob "$root/t/fuzz/corpus/*/*";
cmp_ok(scalar(@corpus), '>=', 20, 'there is a corpus');
my ($made) = run_command([ 'make', '-s', '-C', "$root/sidecar", "PG_CONFIG=" . ($ENV{PG_CONFIG} // 'pg_config'), "BUILD=$root/build", "$root/build/replay_corpus" ]);
my ($said, $err) = run_command([ "$root/build/replay_corpus", @corpus ]);
is("$said$err", scalar(@corpus) . ' files', 'the parsers stand it, cut anywhere, under ASan and UBSan');

# --- a primary and a standby --------------------------------------------------------------

my $node = PostgreSQL::Test::Cluster->new('primary');
$node->init(allows_streaming => 1);
$node->append_conf('postgresql.conf', "max_connections = 60\n");
$node->start;
$node->safe_psql('postgres', <<'SQL');
CREATE ROLE web LOGIN NOINHERIT;
CREATE ROLE clerk NOLOGIN;
GRANT clerk TO web;
CREATE SCHEMA api;
GRANT USAGE ON SCHEMA api TO PUBLIC;
CREATE TABLE api.note (id int);
GRANT ALL ON api.note TO clerk;
CREATE VIEW api.place AS SELECT pg_is_in_recovery() AS standby;
CREATE FUNCTION api.place_now() RETURNS bool LANGUAGE sql STABLE AS 'SELECT pg_is_in_recovery()';
CREATE FUNCTION api.add(a int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT a + 1';
CREATE FUNCTION api.nap(seconds float8) RETURNS text LANGUAGE sql STABLE AS $$SELECT pg_sleep(seconds)::text$$;
GRANT SELECT ON api.place TO clerk;
SQL
$node->backup('b');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'b', has_streaming => 1);
$standby->start;
sub uri { my ($server) = @_; return 'postgresql:///postgres?host=' . $server->host . '&port=' . $server->port . '&user=web' }

my $factoryd = Factoryd->new(FACTORYD_DATABASE => uri($node), FACTORYD_DATABASE_READ => uri($standby), FACTORYD_SCHEMAS => 'api',
	FACTORYD_ANON_ROLE => 'clerk', FACTORYD_POOL => 2, FACTORYD_POOL_OVERFLOW => 2, FACTORYD_LOOPS => 2, FACTORYD_MAX_CONNECTIONS => 11000);
my ($status, $body);
sub place { ($status, $body) = $factoryd->call(GET => '/place'); return "$status " . (ref $body eq 'ARRAY' ? ($body->[0]{standby} ? 'standby' : 'primary') : $body->{code}) }
for (1 .. 100) { last if place() eq '200 standby' && place() eq '200 standby'; select undef, undef, undef, 0.05 }
is(place(), '200 standby', 'what only reads goes to the standby') for 1 .. 2;
($status, $body) = $factoryd->call(POST => '/rpc/place_now', {});
is("$status $body", '200 1', 'a stable function too');
($status) = $factoryd->call(POST => '/note', { id => 1 });
is($status, 201, 'a write goes to the primary');
$standby->stop('immediate');
is(place(), '200 primary', 'without the standby the primary answers') for 1 .. 4;
$standby->start;
my $back = 0;
for (1 .. 400) { $back = place() eq '200 standby' ? $back + 1 : 0; last if $back == 4; select undef, undef, undef, 0.05 }
is($back, 4, 'until it is back');

# --- more requests than connections ------------------------------------------------------------

sub send_add { my ($socket, $n) = @_; my $text = "{\"a\":$n}"; syswrite $socket, "POST /rpc/add HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: " . length($text) . "\r\n\r\n$text" }
sub answer
{
	my ($socket) = @_;
	my $text = '';
	while ($text !~ /\r\n\r\n(.+)$/s) { sysread($socket, $text, 4096, length $text) or return "closed: $text" }
	return $text =~ /^HTTP\/1\.1 200 .*\r\n\r\n(\d+)$/s ? $1 : $text;
}
$factoryd->call(POST => '/rpc/add', { a => 1 }) for 1 .. 4;
my @clients = map { $factoryd->connect } 1 .. 200;
my $wrong = 0;
for my $round (1 .. 10)
{
	send_add($clients[$_], $_ * $round) for 0 .. $#clients;
	for (0 .. $#clients) { $wrong++ if answer($clients[$_]) ne $_ * $round + 1 }
}
is($wrong, 0, '2000 answers over four connections, each to its own client');

# Clients that leave while theirs and others' statements share a connection hurt nobody.
my ($left, $bad) = (0, 0);
for my $round (1 .. 10)
{
	send_add($clients[$_], $_) for 0 .. $#clients;
	for (grep { $_ % 7 == 0 } 0 .. $#clients) { close $clients[$_]; $left++ }
	for (grep { $_ % 7 != 0 } 0 .. $#clients) { $bad++ if answer($clients[$_]) ne $_ + 1 }
	for (grep { $_ % 7 == 0 } 0 .. $#clients) { $clients[$_] = $factoryd->connect }
}
is($bad, 0, "$left clients that left took nobody's answer along");
close $_ for @clients;

# A statement that is quick as a rule and has met a lock holds nobody up.
$node->safe_psql('postgres', 'CREATE FUNCTION api.peek() RETURNS bigint LANGUAGE sql STABLE AS $$SELECT count(*) FROM api.note$$');
for (1 .. 100) { ($status) = $factoryd->call(POST => '/rpc/peek', {}); last if $status == 200; select undef, undef, undef, 0.05 }
$factoryd->call(POST => '/rpc/peek', {}) for 1 .. 8;
my $locker = $node->background_psql('postgres');
$locker->query_safe('BEGIN; LOCK TABLE api.note');
my ($stuck, @behind) = map { $factoryd->connect } 0 .. 40;
syswrite $stuck, "POST /rpc/peek HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
send_add($behind[$_], $_) for 0 .. $#behind;
is(scalar(grep { answer($behind[$_]) eq $_ + 1 } 0 .. $#behind), 40, 'forty are answered while one waits for a lock');
$locker->query_safe('COMMIT');
is(answer($stuck), 1, 'and then that one');
$locker->quit;
close $_ for $stuck, @behind;

# A pool under pressure makes more connections, and only as many as it may.
my @naps = map { my $socket = $factoryd->connect; syswrite $socket, "GET /rpc/nap?seconds=30 HTTP/1.1\r\nHost: x\r\n\r\n"; $socket } 1 .. 4;
ok($standby->poll_query_until('postgres', q(SELECT count(*) = 4 FROM pg_stat_activity WHERE usename = 'web' AND query LIKE '%nap%' AND state = 'active')), 'overflow: four run where two are kept');
close $_ for @naps;
ok($standby->poll_query_until('postgres', q(SELECT count(*) = 0 FROM pg_stat_activity WHERE usename = 'web' AND query LIKE '%nap%' AND state = 'active')), 'and end with their clients');

# --- a connection that died without a word --------------------------------------------------------

# A backend that is stopped stands for a peer behind a firewall that forgot the connection.
{
	my $careful = Factoryd->new(FACTORYD_DATABASE => uri($node), FACTORYD_SCHEMAS => 'api', FACTORYD_ANON_ROLE => 'clerk', FACTORYD_POOL => 2, FACTORYD_LOOPS => 1,
		FACTORYD_POOL_OVERFLOW => 0, FACTORYD_POOL_PROBE => '100ms', FACTORYD_READ_TIMEOUT => '30s', FACTORYD_CHANNEL => '', FACTORYD_LOOK_INTERVAL => 0);
	$node->safe_psql('postgres', 'CREATE FUNCTION api.pid(seconds float8) RETURNS int LANGUAGE sql STABLE AS $$SELECT CASE WHEN pg_sleep(seconds) IS NOT NULL THEN pg_backend_pid() END$$; NOTIFY pgrst');
	my $pid;
	for (1 .. 200) { ($status, $pid) = $careful->call(POST => '/rpc/pid', { seconds => 0 }); last if $status == 200; select undef, undef, undef, 0.02 }
	kill 'STOP', $pid;
	$node->poll_query_until('postgres', 'SELECT pg_sleep(0.2) IS NOT NULL');
	($status, my $other) = $careful->call(POST => '/rpc/pid', { seconds => 0 });
	is($status, 200, 'a connection that does not answer is found out before it is used');
	isnt($other, $pid, 'another one answers');
	kill 'CONT', $pid;
	is($careful->stop, 0, 'it ends well');
}

# --- many that say nothing --------------------------------------------------------------------

SKIP:
{
	my $wanted = 10_000;
	my ($limit) = run_command([ 'sh', '-c', 'ulimit -Hn' ]);
	skip "only $limit file descriptors, and 10,200 are needed", 4 if $limit ne 'unlimited' && $limit < 10_200;

	# They are another process's, whose limit may be other than ours; each has asked once.
	my $holder = <<'PERL';
use IO::Socket::INET;
my ($port, $wanted, @resting) = @ARGV;
while (@resting < $wanted)
{
	my $socket = IO::Socket::INET->new("127.0.0.1:$port") or last;
	syswrite $socket, "GET /rpc/add?a=1 HTTP/1.1\r\nHost: x\r\n\r\n";
	last unless sysread $socket, my $reply, 4096;
	last unless $reply =~ /^HTTP\/1.1 200 /;
	push @resting, $socket;
}
syswrite STDOUT, scalar(@resting) . "\n";
<STDIN>;
PERL
	my $resting = open2(my $count, my $until, 'sh', '-c', 'ulimit -n 10200 && exec "$@"', 'sh', $^X, '-e', $holder, $factoryd->{port}, $wanted);
	is(<$count>, "$wanted\n", 'ten thousand clients');
	my $there = 0;
	for (1 .. 200)
	{
		my ($ok, $text) = $factoryd->call(GET => '/metrics');
		($there) = $text =~ /^factoryd_clients (\d+)/m;
		last if $there >= $wanted;
		select undef, undef, undef, 0.05;
	}
	cmp_ok($there, '>=', $wanted, "$wanted clients rest");
	my ($memory) = slurp_file("/proc/$factoryd->{pid}/status") =~ /VmRSS:\s+(\d+)/;
	cmp_ok($memory, '<', $ENV{FACTORY_SANITIZE} ? 1024 * 1024 : 200 * 1024, "in $memory kB");
	($status, $body) = $factoryd->call(POST => '/rpc/add', { a => 1 });
	is("$status $body", '200 2', 'and another is served meanwhile');
	close $until;
	waitpid($resting, 0);
}
# Slices of a thread are asked for since Linux 6.12; what tells them is not in every kernel.
SKIP:
{
	my ($usual) = (-r '/proc/self/sched' ? slurp_file('/proc/self/sched') : '') =~ /^se\.slice\s*:\s*(\d+)/m;
	my ($major, $minor) = slurp_file('/proc/sys/kernel/osrelease') =~ /^(\d+)\.(\d+)/;
	skip 'this kernel has no slices of a thread', 1 if !$usual || $major < 6 || ($major == 6 && $minor < 12);
	my @slices = map { slurp_file($_) =~ /^se\.slice\s*:\s*(\d+)/m } glob "/proc/$factoryd->{pid}/task/*/sched";
	ok(@slices && !grep({ $_ > 200_000 } @slices), "every loop has short slices: @slices ns");
}
is($factoryd->stop, 0, 'it ends well');
done_testing();
