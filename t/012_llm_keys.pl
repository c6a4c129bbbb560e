# Keys and egress: a key by file or environment is used and never shown; requests
# go where the server says and nowhere else; TLS is verified.
use strict;
use warnings;
use Cwd qw(abs_path);
use File::Find;
use IPC::Run;
use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use FactoryPeer;

my $canary = 'canary-6f1d0c9a';
my $second_canary = 'canary-77aa31be';
my $keys = abs_path(PostgreSQL::Test::Utils::tempdir());
my $proxy = FactoryPeer->new(chat('from the proxy'));
my $peer = FactoryPeer->new(chat('hello'));
my $url = $peer->url;

# The server's environment: a key for us, and a proxy that is none of our business.
$ENV{FACTORY_TEST_KEY} = $second_canary;
$ENV{http_proxy} = $ENV{https_proxy} = $ENV{ALL_PROXY} = 'http://127.0.0.1:' . $proxy->port;
my $node = PostgreSQL::Test::Cluster->new('keys');
$node->init;
$node->append_conf('postgresql.conf', <<'CONF');
shared_preload_libraries = 'pg_factory'
log_statement = all
log_min_messages = debug2
log_min_error_statement = debug1
log_error_verbosity = verbose
factory.llm_retry_delay = '10ms'
CONF
$node->start;

sub write_key
{
	my ($text, $name) = @_;
	my $file = "$keys/" . ($name // 'key');
	open my $out, '>', $file or die "could not write $file: $!";
	print $out $text;
	close $out;
	chmod 0600, $file;
	return $file;
}

sub sql
{
	my ($statement, %more) = @_;
	my ($code, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\n$statement", %more);
	return $code == 0 ? $out : $err;
}

my $key_file = write_key("  $canary\n");
$node->safe_psql('postgres', <<"SQL");
CREATE EXTENSION pg_factory;
CREATE ROLE alice LOGIN IN ROLE factory_operator;
CREATE SERVER peer FOREIGN DATA WRAPPER factory_llm
	OPTIONS (base_url '$url', allow_http 'true', allow_private 'true');
GRANT USAGE ON FOREIGN SERVER peer TO alice;
CREATE USER MAPPING FOR PUBLIC SERVER peer OPTIONS (api_key_file '$key_file');
SELECT factory.create_model('mini', 'peer', 'm');
SQL
my $call = q{SELECT factory.complete('mini', 'hi')->>'text'};

# A PUBLIC mapping by file: alice uses the key and cannot read it.
is(sql($call, extra_params => [ '-U', 'alice' ]), 'hello', 'an operator may call');
is(($peer->requests)[-1]{headers}{authorization}, "Bearer $canary", 'the file\'s key is sent, trimmed');
is(sql('SELECT umoptions FROM pg_user_mappings', extra_params => [ '-U', 'alice' ]), '',
	'the mapping is closed to her');

# Rotation without restart.
write_key("$canary-2\n");
sql($call);
is(($peer->requests)[-1]{headers}{authorization}, "Bearer $canary-2", 'a new key is used at once');

# A peer that shows the key to everybody, in every place it can.
my $shout = { error => { code => "invalid_$canary", message => "your key is $canary-2", type => $canary } };
$peer->script(status(401, json => $shout));
like(sql($call), qr/PF204: .*answered 401/, '401 that repeats the key');
$peer->script({ json => $shout });
like(sql($call), qr/PF203/, '200 that repeats the key');
$peer->script({ type => "text/$canary", body => $canary });
like(sql($call), qr/PF203/, 'a content type that is the key');
$peer->script({ raw => "$canary\r\n\r\n" });
like(sql($call), qr/PF201/, 'no HTTP but the key');

# While a call waits, nobody sees the key.
$peer->script({ hang => 1 });
my $session = $node->background_psql('postgres', on_error_stop => 0);
$session->query_until(qr/begun/, "\\echo begun\n$call;\n");
$peer->wait_requests(1);
unlike(sql('SELECT * FROM pg_stat_activity'), qr/$canary/, 'pg_stat_activity shows no key');
sql(q{SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE '%complete%' AND pid <> pg_backend_pid()});
$peer->wait_closed(1);
eval { $session->quit };

# Files that give no key.
for my $case (
	[ 'missing',         sub { unlink $key_file },                             qr/could not be opened/ ],
	[ 'empty',           sub { write_key(" \n") },                             qr/it is empty/ ],
	[ 'of two lines',    sub { write_key("$canary\nX-More: 1\n") },            qr/not visible ASCII/ ],
	[ 'too large',       sub { write_key($canary x 2000) },                    qr/larger than any key/ ],
	[ 'a directory',     sub { unlink $key_file; mkdir $key_file },            qr/not a regular file/ ],
	[ 'a pipe',          sub { rmdir $key_file; POSIX::mkfifo($key_file, 0600) }, qr/not a regular file/ ])
{
	my ($name, $make, $words) = @$case;
	$make->();
	my $got = sql($call);
	like($got, qr/PF205.*$words/, "a key file that is $name");
}
unlink $key_file;

# By environment.
$peer->script(chat('hello'));
$node->safe_psql('postgres', q{DROP USER MAPPING FOR PUBLIC SERVER peer;
	CREATE USER MAPPING FOR PUBLIC SERVER peer OPTIONS (api_key_env 'FACTORY_TEST_KEY')});
is(sql($call), 'hello', 'a key by environment');
is(($peer->requests)[-1]{headers}{authorization}, "Bearer $second_canary", 'is sent');
$node->safe_psql('postgres', q{ALTER USER MAPPING FOR PUBLIC SERVER peer OPTIONS (SET api_key_env 'FACTORY_NO_KEY')});
like(sql($call), qr/PF205.*no such variable/, 'a variable that is not there');

# The owner of a server does not get the machine's key by pointing it elsewhere.
$node->safe_psql('postgres', q{ALTER USER MAPPING FOR PUBLIC SERVER peer OPTIONS (SET api_key_env 'FACTORY_TEST_KEY');
	GRANT USAGE ON FOREIGN DATA WRAPPER factory_llm TO alice; ALTER SERVER peer OWNER TO alice});
my $before = $peer->requests;
like(sql($call), qr/42501: the key of server "peer" is not given/, 'a server of an ordinary owner gets no machine key');
is(scalar($peer->requests), $before, 'and nothing was sent');
$node->safe_psql('postgres', q{ALTER SERVER peer OWNER TO CURRENT_USER; DROP USER MAPPING FOR PUBLIC SERVER peer});

# Without a mapping no header is sent: local servers need no key.
is(sql($call), 'hello', 'no mapping, no key');
ok(!exists(($peer->requests)[-1]{headers}{authorization}), 'and no header');

# Connections are kept from call to call.
$peer->script(chat('hello'));
is(sql("$call;\n$call;\n$call"), "hello\nhello\nhello", 'three calls of one session');
my %connections = map { $_->{connection} => 1 } $peer->requests;
is(scalar(keys %connections), 1, 'share one connection');

# ... but not with a server that may not go there.
$node->safe_psql('postgres', <<"SQL");
CREATE SERVER closed FOREIGN DATA WRAPPER factory_llm OPTIONS (base_url '$url', allow_http 'true');
SELECT factory.create_model('closed', 'closed', 'm');
SQL
$before = $peer->requests;
like(sql("$call;\nSELECT factory.complete('closed', 'hi')"), qr/PF206: .*loopback/,
	'an open connection is no way around the egress rules');
is(scalar($peer->requests), $before + 1, 'and nothing was sent');

# Names are judged by what they resolve to.
my $named = 'http://localhost:' . $peer->port;
$node->safe_psql('postgres', "ALTER SERVER closed OPTIONS (SET base_url '$named')");
like(sql(q{SELECT factory.complete('closed', 'hi')}), qr/PF206: .*loopback/, 'localhost is loopback');

# A redirect is not followed, wherever it leads.
$peer->script(status(307, headers => [ Location => $proxy->url ]));
like(sql($call), qr/PF201: .*answered 307/, 'a redirect is an error');
is(scalar($proxy->requests), 0, 'neither redirect nor proxy was followed');

# The canaries are nowhere.
$node->stop;
my @found;
my $searched = 0;
my @places = ($node->data_dir, $node->logfile);
find(
	{
		no_chdir => 1,
		wanted   => sub {
			return unless -f $_;
			open my $in, '<:raw', $_ or return;
			local $/ = undef;
			my $text = <$in>;
			$searched++;
			push @found, $_ if $text =~ /$canary|$second_canary/;
		} },
	@places);
cmp_ok($searched, '>', 500, 'data directory and log were searched');
is_deeply(\@found, [], 'and there is no key in them');

# TLS: a certificate nobody vouches for, the same with its authority, the wrong name.
$node->start;
SKIP:
{
	skip 'no openssl program', 5 if system('openssl version >/dev/null 2>&1') != 0;
	my ($cert, $private) = ("$keys/cert.pem", "$keys/private.pem");
	system("openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=peer "
		  . "-addext subjectAltName=IP:127.0.0.1 -keyout $private -out $cert 2>/dev/null") == 0
	  or die 'no certificate';
	my $port = PostgreSQL::Test::Cluster::get_free_port();
	my ($in, $out) = ('', '');
	my $tls = IPC::Run::start([ 'openssl', 's_server', '-accept', "127.0.0.1:$port", '-cert', $cert,
			'-key', $private, '-www' ], '<', \$in, '>', \$out, '2>', \$out);
	$tls->pump until $out =~ /ACCEPT/;
	$node->safe_psql('postgres', <<"SQL");
CREATE SERVER tls FOREIGN DATA WRAPPER factory_llm OPTIONS (base_url 'https://127.0.0.1:$port', allow_private 'true');
SELECT factory.create_model('tls', 'tls', 'm', options => '{"timeout": "2s"}');
SQL
	my $tls_call = q{SELECT factory.complete('tls', 'hi')};
	like(sql($tls_call), qr/PF201: .*certificate is not valid/, 'an unknown authority');
	$node->safe_psql('postgres', "ALTER SERVER tls OPTIONS (ADD ca_file '$cert')");
	like(sql($tls_call), qr/PF202: .*waiting for the answer/, 'its own authority by option');
	$node->safe_psql('postgres', "ALTER SERVER tls OPTIONS (SET base_url 'https://localhost:$port')");
	like(sql($tls_call), qr/PF201: .*certificate is not valid/, 'the wrong name');
	$tls->signal('KILL');
	eval { $tls->finish };

	# One that is hung up on says of the next connection whether its session was known.
	my $spoken = '';
	my $talks = IPC::Run::start([ 'openssl', 's_server', '-accept', "127.0.0.1:$port", '-cert', $cert, '-key', $private ],
		'<', \$in, '>', \$spoken, '2>', \$spoken);
	$talks->pump until $spoken =~ /ACCEPT/;
	$node->safe_psql('postgres', "ALTER SERVER tls OPTIONS (SET base_url 'https://127.0.0.1:$port')");
	$node->psql('postgres', "SET factory.llm_timeout = '1s';\n$tls_call;\n$tls_call;\n", on_error_stop => 0);
	$talks->pump until (() = $spoken =~ /CIPHER is/g) >= 2;
	is(scalar(() = $spoken =~ /Reused session-id/g), 1, 'a second connection of a session begins with the TLS session of the first');
	$talks->signal('KILL');
	eval { $talks->finish };

	# Where HTTP/2 is offered, what is asked at once shares a connection.
	skip 'no node to speak HTTP/2', 1 if system('node --version >/dev/null 2>&1') != 0;
	my $said = '';
	my $script = q{
		const fs = require('fs'); let sessions = 0;
		const server = require('http2').createSecureServer({ cert: fs.readFileSync(process.argv[1]), key: fs.readFileSync(process.argv[2]), allowHTTP1: true });
		server.on('session', () => sessions++);
		server.on('request', (request, response) => setTimeout(() => {
			response.setHeader('content-type', 'application/json');
			response.end(JSON.stringify({ model: 'm', choices: [{ index: 0, finish_reason: 'stop', message: { role: 'assistant', content: request.httpVersion + ', connection ' + sessions } }] }));
		}, 200));
		server.listen(Number(process.argv[3]), '127.0.0.1', () => console.log('listening'));
	};
	my $two = IPC::Run::start([ 'node', '-e', $script, $cert, $private, $port ], '<', \$in, '>', \$said, '2>', \$said);
	$two->pump until $said =~ /listening|rror/;
	is(sql(q{SELECT string_agg(DISTINCT coalesce(answer ->> 'text', error), ' ') FROM factory.complete_many('tls', 'SELECT ''prompt '' || i FROM generate_series(1, 20) AS i', concurrency => 20)}),
		'2.0, connection 1', 'twenty calls by HTTP/2 over one connection');
	$two->signal('KILL');
	eval { $two->finish };
}

done_testing();
