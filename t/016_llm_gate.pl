# The gate: a server that fails is left alone by all sessions, models are asked no
# faster than they may be, and what a server says of its limits binds everybody.
use strict;
use warnings;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);
use FactoryPeer;

my $node = PostgreSQL::Test::Cluster->new('gate');
$node->init;
$node->append_conf('postgresql.conf', <<'CONF');
shared_preload_libraries = 'pg_factory'
factory.llm_retry_delay = '1ms'
factory.breaker_open_time = '1h'
CONF
$node->start;

my $peer = FactoryPeer->new(chat('hello'));
my $url = $peer->url;
$node->safe_psql('postgres', <<"SQL");
CREATE EXTENSION pg_factory;
CREATE SERVER peer FOREIGN DATA WRAPPER factory_llm
	OPTIONS (base_url '$url', allow_http 'true', allow_private 'true');
SELECT factory.create_model('mini', 'peer', 'gpt-4o-mini');
SELECT factory.create_decision('hybrid', '{"inputs": {"celsius": "float8"},
	"rules": [{"id": "hot", "when": "celsius > 70", "then": {"status": "HOT", "severity": "critical"}}],
	"default": {"status": "FINE", "severity": "info"}, "statuses": ["HOT", "FINE"],
	"policy": "HYBRID_WEIGHTED", "prompt": {"model": "mini", "user": "{{ celsius }}"}}');
SQL

sub ask
{
	my ($model, %given) = @_;
	my ($code, $out, $err) = $node->psql('postgres',
		"\\set VERBOSITY verbose\n" . ($given{first} // '') . "SELECT factory.complete('$model', 'hi')");
	return $err =~ /ERROR:\s+(\w{5}): (.*)/ ? "$1 $2" : 'ok';
}

sub breaker { return $node->safe_psql('postgres', 'SELECT ' . shift . ' FROM factory.breaker_status') }

sub configure
{
	my (%settings) = @_;
	$node->safe_psql('postgres', "ALTER SYSTEM SET $_ = '$settings{$_}'") for sort keys %settings;
	$node->reload;
	$node->poll_query_until('postgres', "SELECT current_setting('$_') = '$settings{$_}'") for keys %settings;
}

# Five calls that fail, each from a session of its own, open the breaker.
$peer->script(status(500));
like(ask('mini'), qr/^PF201 /, 'a failing server') for 1 .. 4;
is(breaker('state, calls, failures'), 'closed|4|4', 'four calls are too few to judge by');
ask('mini');
is(breaker('state, calls, failures, open_until > now()'), 'open|5|5|t', 'the fifth opens the breaker');
my $asked = $peer->requests;
like(ask('mini'), qr/^PF209 model "mini" is not called: server "peer" kept failing, its breaker is open/,
	'another session is refused');
is(scalar $peer->requests, $asked, 'and nothing is sent');
is(breaker('rejected, opened'), '1|1', 'both are counted');
like($node->safe_psql('postgres', 'SELECT factory.metrics()'),
	qr/circuit_breaker_state\{service="llm",node_id="peer"\} 2\n(.*\n)*.*from_state="closed",to_state="open"\} 1/,
	'and told in the metrics');
is($node->safe_psql('postgres', q{SELECT status, method_used, degraded
		FROM factory.judge('hybrid', '{"celsius": 80}')}),
	'HOT|rule_only|model could not be had: server "peer" kept failing, its breaker is open',
	'a judgment is degraded and says so');

# When its time is over, one call goes: it fails, and the breaker is open again.
configure('factory.breaker_open_time' => '1ms');
is(breaker('state'), 'half_open', 'then a trial is due');
configure('factory.breaker_open_time' => '1h');
$node->safe_psql('postgres', q{ALTER SYSTEM SET factory.breaker_open_time = '1ms'});
$node->reload;
$peer->script({ hang => 1 });
my $trial = $node->background_psql('postgres', on_error_stop => 0);
$trial->query_until(qr/begun/, "\\echo begun\nSELECT factory.complete('mini', 'hi');\n");
$peer->wait_requests(1);
is(breaker('state'), 'half_open', 'one call tries');
like(ask('mini'), qr/^PF209 /, 'no other one does');
is(scalar $peer->requests, 1, 'the server sees only the one');
$node->safe_psql('postgres', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity
	WHERE query LIKE 'SELECT factory.complete%' AND pid <> pg_backend_pid()});
$peer->wait_closed(1);
eval { $trial->quit };
$peer->script(status(500), chat('back'));
$node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE query LIKE '%complete%'});
like(ask('mini'), qr/^PF201 /, 'the trial that vanished has left its place; the next one fails');
is(scalar $peer->requests, 1, 'without a second try');
is(breaker('opened'), '2', 'the breaker is open again');
$node->poll_query_until('postgres', q{SELECT state = 'half_open' FROM factory.breaker_status});
is(ask('mini'), 'ok', 'a trial that works');
is(breaker('state, calls'), 'closed|0', 'closes it, and counting begins anew');

# Half of the last ten is not more than half; what the caller did wrong is no failure.
$peer->script(map { (chat('ok'), status(500)) } 1 .. 5);
my $once = "SET factory.llm_timeout = '2s'; SET factory.llm_retry_delay = '10s';\n";
ask('mini', first => $once) for 1 .. 10;
is(breaker('state, calls, failures'), 'closed|10|5', 'half is not more than half');
$peer->script(status(401));
ask('mini') for 1 .. 10;
is(breaker('state, calls, failures'), 'closed|10|0', 'a wrong key says that the server works');
$peer->script({ hang => 1 });
ask('mini', first => "SET factory.llm_timeout = '50ms';\n") for 1 .. 6;
is(breaker('state, failures'), 'closed|0', 'nor has who did not wait shut it for others');

# Retries are rationed: all sessions together do so many more than a share of their calls.
configure('factory.llm_retry_burst' => 3, 'factory.llm_retry_percent' => 0, 'factory.breaker_window' => 0);
$node->safe_psql('postgres', q{SELECT factory.reset_breaker('peer')});
$peer->script(status(500));
ask('mini') for 1 .. 5;
is(scalar $peer->requests, 8, 'five calls, three retries');
is(breaker('state, retries_left'), 'closed|0', 'and none is left');
configure('factory.llm_retry_burst' => 1000, 'factory.breaker_window' => 10);
$node->safe_psql('postgres', q{SELECT factory.reset_breaker('peer')});

# A pace that the model states: two requests a minute, whoever asks.
$node->safe_psql('postgres', q{SELECT factory.create_model('slow', 'peer', 'slow-1',
	options => '{"requests_per_minute": 2, "timeout": "1s"}')});
$peer->script(chat('ok'));
is(ask('slow'), 'ok', 'the first of two a minute');
is(ask('slow'), 'ok', 'the second');
like(ask('slow'), qr/^PF210 model "slow" cannot be called in time/, 'the third would be too late');
is(scalar $peer->requests, 2, 'and is not sent');
is($node->safe_psql('postgres', q{SELECT requests_last_minute, tokens_last_minute FROM factory.pace_status
		WHERE provider_model = 'slow-1'}), '2|240', 'tokens are those that the model told');
$node->safe_psql('postgres', q{SELECT factory.create_model('few', 'peer', 'few-1',
	options => '{"tokens_per_minute": 300, "timeout": "1s"}')});
is(ask('few'), 'ok', 'tokens: the first 120 of 300');
like(ask('few'), qr/^PF210 /, 'another 120 and a little more may be too many');

# Two sessions share what a 429 asks for; and what headers say.
$peer->script(status(429, headers => [ 'Retry-After' => 2 ]), chat('ok'));
my $begun = time;
my $first = $node->background_psql('postgres', on_error_stop => 0);
$first->query_until(qr/begun/, "\\echo begun\nSELECT factory.complete('mini', 'hi') ->> 'text';\n");
$peer->wait_requests(1);
$node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM factory.pace_status WHERE paused_until > now()});
is(ask('mini', first => "SET factory.llm_timeout = '20s';\n"), 'ok', 'another session waits, too');
$first->quit;
my @requests = $peer->requests;
cmp_ok($requests[1]{at} - $requests[0]{at}, '>=', 1.9, 'nobody asks before the time is over');
$peer->script(chat('ok', headers => [ 'x-ratelimit-limit-requests' => 60, 'x-ratelimit-remaining-requests' => 0,
	'x-ratelimit-reset-requests' => '1m0s' ]));
is(ask('mini'), 'ok', 'a server that says nothing is left');
like(ask('mini', first => "SET factory.llm_timeout = '200ms';\n"), qr/^PF210 /, 'is not asked by another session');
is($node->safe_psql('postgres', q{SELECT learned_requests FROM factory.pace_status WHERE provider_model = 'gpt-4o-mini'}),
	60, 'the limit is remembered');

done_testing();
