# Protocol.pm: a session that says what no client would: messages of the server's protocol.
package Protocol;
use strict;
use warnings;
use IO::Socket::UNIX;

# A session of a role that needs no password.
sub new
{
	my ($class, $node, $user) = @_;
	my $socket = IO::Socket::UNIX->new(Peer => $node->host . '/.s.PGSQL.' . $node->port) or die "connect: $!";
	my $self = bless { socket => $socket }, $class;
	my $start = pack('N', 196608) . "user\0$user\0database\0postgres\0client_encoding\0UTF8\0\0";
	print $socket pack('N', 4 + length $start), $start;
	$socket->flush;
	my %said = $self->answers;
	die "no session: $said{code}" if $said{code};
	return $self;
}

sub send
{
	my ($self, @messages) = @_;
	my $socket = $self->{socket};
	while (my ($kind, $body) = splice @messages, 0, 2) { print $socket $kind, pack('N', 4 + length $body), $body }
	$socket->flush;
	return;
}

sub take
{
	my ($self, $want) = @_;
	my $bytes = '';
	while (length $bytes < $want)
	{
		$self->{socket}->sysread($bytes, $want - length $bytes, length $bytes) or die 'the server went away';
	}
	return $bytes;
}

# All up to the next ReadyForQuery: the rows' first values, and the fields of the error.
sub answers
{
	my ($self) = @_;
	my %said = (rows => []);
	while (1)
	{
		my ($kind, $length) = unpack 'aN', $self->take(5);
		my $body = $length > 4 ? $self->take($length - 4) : '';
		push @{ $said{rows} }, unpack 'x2 N/a', $body if $kind eq 'D';
		%said = (%said, map { /^(.)(.*)/s ? ({ C => 'code', M => 'message', d => 'type', s => 'schema' }->{$1} // $1, $2) : () } split /\0/, $body)
			if $kind eq 'E';
		return %said if $kind eq 'Z';
	}
}

sub query
{
	my ($self, $sql) = @_;
	$self->send(Q => "$sql\0");
	return $self->answers;
}

# Parse and Sync: a statement whose first parameter is of that type.
sub prepare
{
	my ($self, $name, $sql, $type) = @_;
	$self->send(P => "$name\0$sql\0" . pack('nN', 1, $type), S => '');
	return $self->answers;
}

# Bind, Execute, Sync: one parameter, whose format is 0 for text and 1 for binary.
sub run
{
	my ($self, $name, $format, $value) = @_;
	$self->send(B => "\0$name\0" . pack('nnn', 1, $format, 1) . (defined $value ? pack('N/a', $value) : pack('N', 0xffffffff)) . pack('n', 0),
		E => "\0" . pack('N', 0), S => '');
	return $self->answers;
}

1;
