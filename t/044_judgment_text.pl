# A judgment's text is the same over the extended protocol, prepared and not, and a client
# that wants it binary, piece by piece or copied gets what the server makes of it.
use strict;
use warnings;

BEGIN { $ENV{PG_TEST_TIMEOUT_DEFAULT} //= 60; }
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use IO::Socket::UNIX;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('text');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'pg_factory'\nfactory.log = off\n");
$node->start;

sub sql { return $node->safe_psql('postgres', $_[0]); }

sql('CREATE EXTENSION pg_factory');
sql(q{SELECT factory.create_decision('heat', '{"inputs": {"celsius": "int", "place": "text"},
	"rules": [{"id": "hot, (very)", "when": "celsius > 70", "then": {"status": "HOT \"HOT\"", "recommended_actions": ["cool"]}}],
	"default": {"status": "FINE"}}')});

# The first statement of a session is written by the server, for the type is not known yet.
my $script = <<'SQL';
\set celsius random(1, 140)
SELECT j AS shown, j::text AS written FROM (SELECT factory.judge('heat', jsonb_build_object('celsius', :celsius::int, 'place', E'\\ "x"')) AS j OFFSET 0) AS s \gset
SELECT 1 / (:shown::text = :written::text)::int;
SQL
for my $mode (qw(simple extended prepared))
{
	my $file = $node->basedir . "/$mode.pgbench";
	append_to_file($file, $mode eq 'simple' ? $script =~ s/:(shown|written)::text/\$q\$:$1\$q\$/gr : $script);
	$node->command_checks_all(
		[qw(pgbench -n -t 40 -M), $mode, '-f', $file, 'postgres'],
		0, [qr/actually processed: 40\/40/], [qr/^$/], "the same text, $mode");
}

# The cast to text is the server's own, and made from a value that was stored.
sql(q{CREATE TABLE kept AS SELECT factory.decide('heat', '{"celsius": 80}') AS j});
my $written = sql('SELECT j::text FROM kept');
is(sql('SELECT j FROM kept'), $written, 'of a table');
is(sql("SELECT (factory.decide('heat', '{\"celsius\": 1}')).status; SELECT j FROM kept"), "FINE\n$written", 'of a table, the type known');
is(sql("SELECT (factory.decide('heat', '{\"celsius\": 1}')).status; BEGIN; DECLARE c CURSOR FOR SELECT j FROM kept; FETCH c; COMMIT"),
	"FINE\n$written", 'by a cursor');
my $binary = sql(<<'SQL');
SELECT (factory.decide('heat', '{"celsius": 1}')).status;
COPY (SELECT factory.decide('heat', '{"celsius": 80}') FROM generate_series(1, 3)) TO STDOUT (FORMAT binary);
SQL
like($binary, qr/PGCOPY/, 'binary');
unlike($binary, qr/\(,/, 'and that is no text');
sql(q{SELECT (factory.decide('heat', '{"celsius": 1}')).status; BEGIN; DECLARE c BINARY CURSOR FOR SELECT factory.decide('heat', '{"celsius": 80}'); FETCH c; COMMIT});

# The protocol itself: psql asks for no pieces, and for nothing binary.
my $socket = IO::Socket::UNIX->new(Peer => $node->host . '/.s.PGSQL.' . $node->port) or die "no socket: $!";
sub send_message { my ($type, $body) = @_; print {$socket} $type, pack('N', 4 + length $body), $body; return; }
sub read_bytes
{
	my ($wanted) = @_;
	my $bytes = '';
	while (length $bytes < $wanted) { sysread($socket, $bytes, $wanted - length $bytes, length $bytes) or die 'the server has gone'; }
	return $bytes;
}

# Messages until the server is ready: letters, and what each row's second column has.
sub read_messages
{
	my ($letters, @rows) = ('');
	while ($letters !~ /Z/)
	{
		my ($type, $length) = unpack('a N', read_bytes(5));
		my $body = read_bytes($length - 4);
		$letters .= $type;
		push @rows, (unpack('n N/a N/a', $body))[2] if $type eq 'D';
		die $body if $type eq 'E';
	}
	return ($letters, @rows);
}

# A statement of two columns in a portal of that name and format, run for so many rows each time.
sub run_portal
{
	my ($portal, $format, $sql, @limits) = @_;
	send_message('P', "\0$sql\0" . pack('n', 0));
	send_message('B', "$portal\0\0" . pack('n4', 0, 0, 1, $format));
	send_message('E', "$portal\0" . pack('N', $_)) for @limits;
	send_message('S', '');
	$socket->flush;
	return read_messages();
}
send_message('', pack('N', 196608) . join("\0", user => getpwuid($<) . '', database => 'postgres', '', ''));
$socket->flush;
read_messages();
my $judged = q{SELECT j::text, j FROM (SELECT factory.decide('heat', '{"celsius": 80}') AS j FROM generate_series(1, 5) OFFSET 0) AS s};
run_portal('', 0, $judged, 0);
for my $case ([ '', 'unnamed' ], [ 'named', 'named' ])
{
	my ($letters, @rows) = run_portal($case->[0], 0, $judged, 1, 2, 0);
	is($letters, '12DsDDsDDCZ', "a portal in three pieces, $case->[1]");
	is(scalar(grep { /^\([0-9a-f-]{36},heat,1,,"HOT ""HOT""",,0\.8,"\[""cool""\]",/ } @rows), 5, 'each row is text');
	($letters, @rows) = run_portal($case->[0], 1, $judged, 0);
	is(scalar(grep { /^\0\0\0\x12/ } @rows), 5, 'or eighteen columns, binary');
}
close $socket;

# The type is another after the extension was made anew, in a session that knew the old one.
my $session = $node->background_psql('postgres');
$session->query_safe("SELECT (factory.judge('heat', '{\"celsius\": 1}')).status");
sql('DROP TABLE kept; DROP EXTENSION pg_factory CASCADE; CREATE EXTENSION pg_factory');
sql(q{SELECT factory.create_decision('heat', '{"inputs": {"celsius": "int"}, "rules": [{"id": "new", "when": "celsius > 70", "then": {"status": "NEW"}}]}')});
like($session->query_safe("SELECT factory.judge('heat', '{\"celsius\": 80}')"), qr/,heat,1,,NEW,/, 'after the extension was made anew');
like($session->query_safe("SELECT factory.judge('heat', '{\"celsius\": 80}')"), qr/,heat,1,,NEW,/, 'and again');
$session->quit;

done_testing();
