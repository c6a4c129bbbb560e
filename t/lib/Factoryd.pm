# Factoryd.pm: a factoryd of our own, spoken to over HTTP.
package Factoryd;
use strict;
use warnings;
use Digest::SHA qw(hmac_sha256 hmac_sha384 hmac_sha512);
use HTTP::Tiny;
use IO::Socket::INET;
use JSON::PP;
use MIME::Base64 qw(encode_base64url);
use POSIX ':sys_wait_h';
use PostgreSQL::Test::Utils;
use Time::HiRes qw(usleep);

our $SECRET = 'the secret of the tests has 32 bytes or more';
my $count = 0;

# A factoryd that runs; settings as FACTORYD_NAME => value, which are its environment;
# file => PATH is its file of settings.
sub new
{
	my ($class, %settings) = @_;
	my $port = PostgreSQL::Test::Cluster::get_free_port();
	my $file = delete $settings{file};
	my $self = bless {
		port => $port,
		file => $file,
		log => "$PostgreSQL::Test::Utils::log_path/factoryd_" . ++$count . '.log',
		settings => { FACTORYD_LISTEN => "127.0.0.1:$port", FACTORYD_JWT_SECRET => $SECRET, %settings }
	}, $class;
	$self->start;
	return $self;
}

sub spawn
{
	my ($self) = @_;
	my $pid = fork() // die "fork: $!";
	return $pid if $pid;
	delete @ENV{ grep { /^FACTORYD_/ } keys %ENV };
	%ENV = (%ENV, %{ $self->{settings} });
	open STDERR, '>>', $self->{log} or die;
	exec "$ENV{FACTORY_ROOT}/build/factoryd", $self->{file} ? ('-c', $self->{file}) : () or die "factoryd: $!";
}

sub start
{
	my ($self) = @_;
	$self->{pid} = $self->spawn;
	for (1 .. 500)
	{
		return if $self->connect;
		die "factoryd did not start: " . $self->log if waitpid($self->{pid}, WNOHANG) > 0;
		usleep(20_000);
	}
	die 'factoryd does not listen';
}

# Runs one that must give up: its exit status and what it said.
sub start_and_fail
{
	my ($class, %settings) = @_;
	my $port = PostgreSQL::Test::Cluster::get_free_port();
	my $self = bless {
		log => "$PostgreSQL::Test::Utils::log_path/factoryd_" . ++$count . '.log',
		settings => { FACTORYD_LISTEN => "127.0.0.1:$port", %settings }
	}, $class;
	my $pid = $self->spawn;
	for (1 .. 500)
	{
		return ($? >> 8, $self->log) if waitpid($pid, WNOHANG) > 0;
		usleep(20_000);
	}
	kill 'KILL', $pid;
	waitpid $pid, 0;
	return (-1, $self->log);
}

# Stops it; the exit status.
sub stop
{
	my ($self, $signal) = @_;
	return unless $self->{pid};
	kill $signal // 'TERM', $self->{pid};
	waitpid $self->{pid}, 0;
	$self->{pid} = 0;
	return $? >> 8;
}

# Tells it to read its settings anew; waits until it has said what it makes of them.
sub reload
{
	my ($self, $want) = @_;
	my $before = length $self->log;
	kill 'HUP', $self->{pid};
	for (1 .. 500)
	{
		my $said = substr $self->log, $before;
		return $said if $said =~ $want;
		usleep(20_000);
	}
	return substr $self->log, $before;
}

sub log { return slurp_file($_[0]{log}) }

sub connect
{
	return IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $_[0]{port}, Timeout => 5);
}

# What comes back for these very bytes, until the peer closes or the reply is whole.
sub raw
{
	my ($self, $bytes) = @_;
	my $socket = $self->connect or return 'no connection';
	my ($reply, $buffer) = ('', '');
	local $SIG{PIPE} = 'IGNORE';
	print $socket $bytes;
	$socket->flush;
	while ($socket->sysread($buffer, 65536)) { $reply .= $buffer; }
	return $reply;
}

sub token
{
	my (%claims) = @_;
	my $algorithm = delete $claims{_alg} // 'HS256';
	my $secret = delete $claims{_secret} // $SECRET;
	my $text = encode_base64url(encode_json({ alg => $algorithm, typ => 'JWT' })) . '.'
		. encode_base64url(encode_json(\%claims));
	my %sign = (HS384 => \&hmac_sha384, HS512 => \&hmac_sha512);
	return $text . '.' . encode_base64url(($sign{$algorithm} // \&hmac_sha256)->($text, $secret));
}

# (status, body as Perl data or text, headers)
sub call
{
	my ($self, $method, $path, $body, %headers) = @_;
	my %options = (headers => {%headers});
	if (defined $body)
	{
		$options{content} = ref $body ? encode_json($body) : $body;
		$options{headers}{'content-type'} //= 'application/json';
	}
	my $reply = HTTP::Tiny->new(timeout => 60)->request($method, "http://127.0.0.1:$self->{port}$path", \%options);
	my $data = $reply->{content} // '';
	$data = JSON::PP->new->utf8->allow_nonref->decode($data)
		if length $data && ($reply->{headers}{'content-type'} // '') =~ /json/;
	return ($reply->{status}, $data, $reply->{headers});
}

sub DESTROY { local $?; $_[0]->stop('KILL') if $_[0]{pid} }

1;
