# Answers kept on Redis: found there by every server that shares a database's tokens, gone
# with a deployment, and never in the way when Redis is down, slow or not to be trusted.
use strict;
use warnings;
use FactoryPeer;
use IO::Socket::INET;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $directory = PostgreSQL::Test::Utils::tempdir();
my $program = '/usr/bin/redis-check-rdb';    # the server itself, where it is called so
my ($password, $other) = ('first-secret', 'second-secret');
my %running;

sub slurp_text { my ($path) = @_; open my $in, '<', $path or die "$path: $!"; local $/ = undef; return <$in> }
sub write_text { my ($path, $text) = @_; open my $out, '>', $path or die "$path: $!"; print $out $text; close $out; chmod 0644, $path; return $path }

# A Redis of ours by its name; "mode" sentinel makes it one.
sub start_redis
{
	my ($name, $port, @lines) = @_;
	my $mode = $name eq 'sentinel' ? 'redis-sentinel' : 'redis-server';
	mkdir "$directory/$name";
	my $conf = write_text("$directory/$name.conf", join "\n", "dir $directory/$name", 'bind 127.0.0.1', 'daemonize no',
		"logfile $directory/$name.log", ($mode eq 'redis-server' ? ('save ""', 'appendonly no') : ()), @lines, '');
	chmod 0666, $conf;
	my $child = fork() // die "could not fork: $!";
	exec { $program } $mode, $conf or POSIX::_exit(1) if $child == 0;
	$running{$name} = $child;
	for (1 .. 400)
	{
		return if IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port);
		select undef, undef, undef, 0.025;
	}
	die "$name does not come: " . slurp_text("$directory/$name.log");
}

# Whoever connects is told these bytes, whatever he says; its port.
sub liar
{
	my ($bytes) = @_;
	my $listener = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 5) or die "could not listen: $!";
	my $child = fork() // die "could not fork: $!";
	if ($child == 0)
	{
		my @clients;
		local $SIG{PIPE} = 'IGNORE';
		while (my $client = $listener->accept) { syswrite $client, $bytes; push @clients, $client }
		POSIX::_exit(0);
	}
	$running{ 'liar ' . $listener->sockport } = $child;
	return $listener->sockport;
}

# A Redis that has nothing, and answers each command after so many seconds; its port, and the
# file that it writes a byte to for each command.
sub slow_redis
{
	my ($seconds) = @_;
	my $listener = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 5) or die "could not listen: $!";
	my ($port, $count) = ($listener->sockport, write_text("$directory/commands." . $listener->sockport, ''));
	my $child = fork() // die "could not fork: $!";
	if ($child == 0)
	{
		local $SIG{CHLD} = 'IGNORE';
		while (my $client = $listener->accept)
		{
			next if fork();
			my $said = '';
			while (sysread $client, my $bytes, 65536)
			{
				$said .= $bytes;
				while ($said =~ s/^\*\d+\r\n\$\d+\r\n(ROLE|GET|SET)\r\n//)
				{
					my $reply = { ROLE => "*1\r\n\$6\r\nmaster\r\n", GET => "\$-1\r\n", SET => "+OK\r\n" }->{$1};
					$said = '';
					open my $out, '>>', $count;
					print $out 'x' if $1 ne 'ROLE';
					close $out;
					select undef, undef, undef, $seconds;
					syswrite $client, $reply;
				}
			}
			POSIX::_exit(0);
		}
		POSIX::_exit(0);
	}
	$running{"slow $port"} = $child;
	return ($port, $count);
}

sub stop_redis
{
	my ($name) = @_;
	my $child = delete $running{$name} // return;
	kill 'KILL', $child;
	waitpid $child, 0;
	return;
}
END { local $?; stop_redis($_) for keys %running }

sub cli
{
	my ($port, @words) = @_;
	my ($out, $err) = run_command([ 'redis-cli', '-h', '127.0.0.1', '-p', $port, '--no-auth-warning', '-a', $password, @words ]);
	return $out;
}

plan skip_all => "there is no $program (Debian: redis-tools)" unless -x $program;

my ($port, $tls_port, $sentinel_port) = map { PostgreSQL::Test::Cluster::get_free_port() } 1 .. 3;
my $file = write_text("$directory/password", "$password\n");
start_redis('plain', $port, "port $port", "requirepass $password");

my $peer = FactoryPeer->new(chat_json({ status => 'HIGH', severity => 'critical', confidence => 0.75, explanation => 'worn', recommended_actions => [] }));
my $node = PostgreSQL::Test::Cluster->new('redis');
$node->init(allows_streaming => 1);
$node->append_conf('postgresql.conf', qq(
shared_preload_libraries = 'pg_factory'
factory.cache_entries = 0
factory.review_critical = off
factory.cache_redis = 'redis://127.0.0.1:$port/3'
factory.cache_redis_password_file = '$file'
factory.cache_redis_timeout = '2s'
));
$node->start;
my $url = $peer->url;
$node->safe_psql('postgres', qq(
CREATE EXTENSION pg_factory;
CREATE SERVER local FOREIGN DATA WRAPPER factory_llm OPTIONS (base_url '$url', allow_http 'true', allow_private 'true');
SELECT factory.create_model('mini', 'local', 'm');
SELECT factory.create_decision('d', '{"inputs": {"a": "int"}, "rules": [{"id": "high", "when": "a >= 20", "confidence": 0.85, "then": {"status": "HIGH"}}],
	"default": {"status": "NORMAL", "confidence": 0.9}, "statuses": ["NORMAL", "HIGH"], "policy": "LLM_ONLY", "prompt": {"model": "mini", "user": "{{ a }}"}}');
));

sub sql { my ($statement) = @_; return $node->safe_psql('postgres', $statement) }
sub judge { my ($a) = @_; return sql("SELECT status, coalesce(components #>> '{cache,level}', '-'), degraded IS NOT NULL FROM factory.judge('d', '{\"a\": $a}')") }
sub asked { return scalar($peer->requests) }
sub set { my (%to) = @_; sql("ALTER SYSTEM SET $_ = '$to{$_}'") for keys %to; sql('SELECT pg_reload_conf()');
	$node->poll_query_until('postgres', 'SELECT ' . join ' AND ', map { "current_setting('$_') = '$to{$_}'" } sort keys %to); return }

# --- kept and found -------------------------------------------------------------------

is(judge(1), 'HIGH|-|f', 'a model is asked');
is(judge(1), 'HIGH|redis|f', 'another session finds its answer on Redis');
is(asked(), 1, 'without asking');
is(cli($port, '-n', 3, 'DBSIZE'), 1, 'in the database that the address names');
is(sql('SELECT count(*) FROM factory.cache_entry'), 0, 'and not in the table');
is(sql(q{SELECT level, kind, entries IS NULL, hits, misses FROM factory.cache_stats WHERE level = 'redis' AND kind = 'judgment'}), 'redis|judgment|t|1|1', 'cache_stats counts the looks');
my ($key) = split /\n/, cli($port, '-n', 3, 'KEYS', '*');
like($key, qr/^pg_factory:[0-9a-f]{64}$/, 'a key says nothing of what was asked');
cmp_ok(cli($port, '-n', 3, 'PTTL', $key), '>', 0, 'and goes by itself');
is($node->safe_psql('postgres', q{BEGIN READ ONLY; SELECT components #>> '{cache,level}' FROM factory.judge('d', '{"a": 1}')}), 'redis', 'found in a read-only transaction, too');

# --- emptied ------------------------------------------------------------------------------

sql(q{SELECT factory.save_version('d', definition, 'the same again') FROM factory.decision_version; BEGIN; SELECT factory.deploy('d', 2); ROLLBACK});
is(judge(1), 'HIGH|redis|f', 'a deployment that is rolled back empties nothing');
sql(q{SELECT factory.deploy('d', 2); SELECT factory.rollback('d')});
is(judge(1), 'HIGH|-|f', 'there and back again: the answer of the first time is found no more');
is(judge(1), 'HIGH|redis|f', 'the new one is');
my $session = $node->background_psql('postgres');
my $ask = q{SELECT components #>> '{cache,level}' FROM factory.judge('d', '{"a": 1}')};
is($session->query_safe($ask), 'redis', 'in a session');
sql('SELECT factory.flush_cache()');
is($session->query_safe($ask), '', 'flush_cache() reaches it');
is($session->query_safe($ask), 'redis', 'which keeps a new one');
sql(q{SELECT factory.alter_model('mini', model => 'm2')});
is($session->query_safe($ask), '', 'so does another model');
$session->quit;

# Emptied while Redis is away: what comes back with it is not given again.
judge(1);
stop_redis('plain');
is(judge(1), 'HIGH|-|f', 'without Redis the model is asked');
sql('SELECT factory.flush_cache()');
start_redis('plain', $port, "port $port", "requirepass $password");
is(judge(1), 'HIGH|-|f', 'Redis is there again');
is(judge(1), 'HIGH|redis|f', 'and of use');
like(slurp_text($node->logfile), qr/LOG:  no Redis for the cache at "127.0.0.1": .*\n.*DETAIL:  Answers are computed/, 'the log says what was the matter');

# --- what is not ours ------------------------------------------------------------------------

sub tamper { my ($change) = @_; my ($one) = split /\n/, cli($port, '-n', 3, 'KEYS', '*'); cli($port, '-n', 3, @{ $change->($one) }); return }
for my $change (
	[ 'cut short', sub { [ 'SETRANGE', $_[0], 40, "\x01\x02\x03\x04\x05" ] } ],
	[ 'another answer', sub { [ 'SET', $_[0], 'x' x 200 ] } ],
	[ 'nothing', sub { [ 'SET', $_[0], '' ] } ],
	[ 'another type', sub { [ 'EVAL', "redis.call('DEL', KEYS[1]); redis.call('LPUSH', KEYS[1], 'x')", 1, $_[0] ] } ])
{
	cli($port, 'FLUSHALL');
	judge(1);
	tamper($change->[1]);
	is(judge(1), 'HIGH|-|f', "what somebody wrote there is not believed: $change->[0]");
}

# One that answers nonsense, one that is mute, one that wants another password.
cli($port, 'FLUSHALL');
set('factory.cache_redis_password_file' => '');
for my $lie ("HTTP/1.1 400 Bad Request\r\n\r\n", "*1000000000\r\n\$5\r\nhello\r\n", "\$900000000\r\n" . 'x' x 5_000_000, "*1\r\n" x 100, ":1\r\n")
{
	my $liar = liar($lie);
	set('factory.cache_redis' => "redis://127.0.0.1:$liar");
	is(judge(1), 'HIGH|-|f', 'a peer that is no Redis, but says ' . substr($lie, 0, 8) =~ s/\r\n/ /gr);
	stop_redis("liar $liar");
}
my $mute = FactoryPeer->new({ hang => 1 });
set('factory.cache_redis' => 'redis://127.0.0.1:' . $mute->port, 'factory.cache_redis_timeout' => '50ms');
is(judge(1), 'HIGH|-|f', 'one that says nothing');
set('factory.cache_redis' => 'redis://nowhere.invalid');
is(judge(1), 'HIGH|-|f', 'one that is nowhere');
set('factory.cache_redis' => "redis://127.0.0.1:$port", 'factory.cache_redis_timeout' => '2s');
is(judge(1), 'HIGH|-|f', 'one that wants a password');
like(slurp_text($node->logfile), qr/no Redis for the cache at "127.0.0.1": it says: NOAUTH/, 'and says so');

# One that answers in time, but slowly: many rows do not pay for each.
sub rows { my ($from) = @_; return sql("SELECT count(*), min(status), bool_or(from_cache) FROM factory.judge_many('d', 'SELECT i AS a FROM generate_series($from, $from + 39) AS i', 16)") }
for my $pace ([ 0, '5s', 80, 80 ], [ 0.1, '1s', 2, 30 ])
{
	my ($seconds, $limit, $least, $most) = @$pace;
	my ($slow, $count) = slow_redis($seconds);
	set('factory.cache_redis' => "redis://127.0.0.1:$slow", 'factory.cache_redis_timeout' => $limit);
	is(rows(1000), '40|HIGH|f', "forty rows, and a Redis that answers after $seconds s");
	my $asked = length slurp_text($count);
	cmp_ok($asked, '>=', $least, 'is asked') && cmp_ok($asked, '<=', $most, "and not for every row if that takes long: $asked times");
	judge(1000);
	cmp_ok(length slurp_text($count), '>', $asked, 'the next session asks it');
	$asked = length slurp_text($count);
	is(sql(q{SELECT count(factory.judge_async('d', jsonb_build_object('a', 2000 + i))) FROM generate_series(1, 40) AS i}), 40, 'forty jobs');
	$node->poll_query_until('postgres', q{SELECT count(*) = 0 FROM factory.job WHERE state <> 'done'});
	$asked = length(slurp_text($count)) - $asked;
	cmp_ok($asked, '>=', $least, 'ask it') && cmp_ok($asked, '<=', $most, "and not each if that takes long: $asked times");
	stop_redis("slow $slow");
	sql('DELETE FROM factory.job');
}
like(slurp_text($node->logfile), qr/no Redis for the cache at "127.0.0.1": its slow answers took 1\d\d\d ms of one statement/, 'the log says why');
set('factory.cache_redis' => "redis://127.0.0.1:$port", 'factory.cache_redis_timeout' => '2s');
set('factory.cache_redis_password_file' => $file);
judge(2);
is(judge(2), 'HIGH|redis|f', 'with its password');

# Another password in the same file: the next session has it.
cli($port, 'CONFIG', 'SET', 'requirepass', $other);
$password = $other;
write_text($file, "$other\n");
judge(3);
is(judge(3), 'HIGH|redis|f', 'a password is changed without a restart');
my $log = slurp_text($node->logfile);
unlike($log, qr/first-secret|second-secret/, 'and is in no log');

# --- a standby reads along ------------------------------------------------------------------

$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;
$node->wait_for_catchup($standby);
is($standby->safe_psql('postgres', q{SELECT components #>> '{cache,level}' FROM factory.judge('d', '{"a": 3}')}), 'redis', 'a standby finds what its primary has kept');
sql('SELECT factory.flush_cache()');
$node->wait_for_catchup($standby);
is($standby->safe_psql('postgres', q{SELECT degraded IS NOT NULL FROM factory.judge('d', '{"a": 3}')}), 't', 'until it is emptied there');
$standby->stop;

# --- settings, TLS, sentinels ------------------------------------------------------------------

sub refused { my ($value) = @_; my (undef, undef, $err) = $node->psql('postgres', "ALTER SYSTEM SET factory.cache_redis = '$value'"); return $err }
like(refused('http://x'), qr/invalid value.*\n.*does not begin with redis:.*\n.*HINT:  Write redis:/, 'an address of something else');
like(refused('redis://lee:secret@x'), qr/a password has no place here/, 'a password in the address');
like(refused('redis://x:port'), qr/the port is not a number/, 'a port that is none');
like(refused('redis://x/one'), qr/the database is not a number/, 'a database that is none');
like(refused('redis://'), qr/the host is missing/, 'no host');

SKIP:
{
	skip 'no openssl program', 2 if system('openssl version >/dev/null 2>&1') != 0;
	system("openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=redis -addext subjectAltName=IP:127.0.0.1 "
		  . "-keyout $directory/tls.key -out $directory/tls.crt 2>/dev/null") == 0 or die 'no certificate';
	chmod 0644, "$directory/tls.key";
	start_redis('tls', $tls_port, 'port 0', "tls-port $tls_port", "tls-cert-file $directory/tls.crt", "tls-key-file $directory/tls.key",
		'tls-auth-clients no', "user lee on >$password ~* +\@all", 'user default off');
	set('factory.cache_redis' => "rediss://lee\@127.0.0.1:$tls_port");
	judge(4);
	is(judge(4), 'HIGH|-|f', 'a certificate nobody vouches for is not accepted');
	set('factory.cache_redis_ca_file' => "$directory/tls.crt");
	judge(4);
	is(judge(4), 'HIGH|redis|f', 'with its authority, and as a user of its own');
}

start_redis('sentinel', $sentinel_port, "port $sentinel_port", "sentinel monitor line 127.0.0.1 $port 1", "sentinel auth-pass line $password");
set('factory.cache_redis' => "redis://127.0.0.1:1, redis://127.0.0.1:$sentinel_port", 'factory.cache_redis_master' => 'line');
judge(5);
is(judge(5), 'HIGH|redis|f', 'the master is found by the second of two sentinels, the first is away');
set('factory.cache_redis_master' => 'other');
is(judge(5), 'HIGH|-|f', 'a master that no sentinel knows');

$node->stop;
done_testing();
