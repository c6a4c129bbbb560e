package FactoryPeer;

# FactoryPeer: a scripted HTTP peer on 127.0.0.1 for TAP tests.
#
#   use FactoryPeer;
#   my $peer = FactoryPeer->new(chat('hello'), status(503), chat_json({ok => 1}));
#   $peer->url            'http://127.0.0.1:PORT/v1', the base_url of a server
#   $peer->script(...)    other behaviours from now on, same port, records forgotten
#   $peer->requests       what was asked, in order: hashes with number, connection,
#                         method, path, headers (lower-case names), body, json, at
#   $peer->closed         numbers of the requests whose client closed before the end
#   $peer->wait_requests($n)  waits until there are n requests
#   $peer->wait_closed($n)    waits until request n's client has closed
#   $peer->stop           answers nobody until the next script; also when the object
#                         goes away
#   $peer->leave          gives up the port: connections are refused
#
# A script is a list of behaviours, one a request, the last one for ever; or one
# sub that gets the request (as in requests) and returns a behaviour.  A behaviour
# is a hash:
#   status   200            headers  [name => value, ...]
#   json     document       or  body  bytes, sent as they are
#   type     content type   delay    seconds before the first byte
#   cut      n: only n bytes of the whole answer, then close
#   pieces   n: the answer in pieces of n bytes, with pause seconds in between
#   raw      bytes instead of an HTTP answer
#   hang     1: never answers     close  1: closes without an answer
#   huge     n: a body of n bytes, made as it is sent
#   keep     0: close after the answer (default 1)
# chat, chat_json, completion, status and html make the common ones.
#
# Each connection is served by a process of its own, all in one process group, so
# that any number of requests may be under way.  As a program:
#   perl -It/lib -MFactoryPeer -e 'FactoryPeer::serve(8080, chat("hello"))'

use strict;
use warnings;
use Exporter 'import';
use Fcntl qw(:flock);
use File::Temp;
use IO::Select;
use IO::Socket::INET;
use JSON::PP;
use POSIX ();
use Time::HiRes qw(time sleep);

our @EXPORT = qw(chat chat_json completion status html);

my $json = JSON::PP->new->utf8->canonical->allow_nonref;
my $patience = 30;    # seconds that a wait may take before the test gives up

# --- behaviours ----------------------------------------------------------------

# A chat completion of OpenAI's shape; what is given replaces the choice's parts.
sub completion
{
	my (%choice) = @_;
	my $message = delete $choice{message}
	  // { role => 'assistant', content => delete $choice{content} };
	return {
		json => {
			id      => 'chatcmpl-1',
			object  => 'chat.completion',
			model   => delete $choice{model} // 'peer-model-1',
			usage   => delete $choice{usage}
			  // { prompt_tokens => 100, completion_tokens => 20, total_tokens => 120 },
			choices => [ { index => 0, finish_reason => 'stop', message => $message, %choice } ] } };
}

sub chat
{
	my ($text, %behaviour) = @_;
	return { %{ completion(content => $text) }, %behaviour };
}

sub chat_json
{
	my ($document, %behaviour) = @_;
	return chat(JSON::PP->new->canonical->allow_nonref->encode($document), %behaviour);
}

sub status
{
	my ($status, %behaviour) = @_;
	return { status => $status, json => { error => { message => "status $status" } }, %behaviour };
}

sub html
{
	return { type => 'text/html', body => '<html><body>It works!</body></html>', @_ };
}

# --- the object -------------------------------------------------------------------

sub new
{
	my ($class, @script) = @_;
	my $self = bless { file => File::Temp->new, owner => $$ }, $class;
	$self->{listener} = listen_on(0);
	$self->script(@script);
	return $self;
}

sub listen_on
{
	my ($port) = @_;
	return IO::Socket::INET->new(
		LocalAddr => '127.0.0.1',
		LocalPort => $port,
		Proto     => 'tcp',
		Listen    => 128,
		ReuseAddr => 1) || die "could not listen: $!";
}

sub port { return $_[0]{listener}->sockport; }
sub url { return 'http://127.0.0.1:' . $_[0]->port . '/v1'; }

sub script
{
	my ($self, @script) = @_;
	$self->stop;
	truncate($self->{file}->filename, 0) or die "could not empty the record: $!";
	my $child = fork() // die "could not fork: $!";
	if ($child == 0)
	{
		setpgrp(0, 0);
		$SIG{$_} = 'DEFAULT' for qw(INT TERM CHLD ALRM);
		accept_connections($self->{listener}, $self->{file}->filename, \@script);
		POSIX::_exit(0);
	}
	setpgrp($child, $child);    # whoever of the two comes first
	$self->{child} = $child;
	return $self;
}

sub stop
{
	my ($self) = @_;
	return unless $self->{child} && $self->{owner} == $$;
	my $status = $?;
	kill 'KILL', -$self->{child};
	waitpid $self->{child}, 0;
	$self->{child} = undef;
	$? = $status;
	return;
}

# Nobody listens at the port any more: connections are refused.
sub leave
{
	my ($self) = @_;
	$self->stop;
	close $self->{listener};
	return;
}

sub DESTROY { $_[0]->stop; return; }

sub records
{
	my ($self) = @_;
	open my $in, '<:raw', $self->{file}->filename or die "could not read the record: $!";
	return map { $json->decode($_) } grep { /\n\z/ } <$in>;
}

sub requests
{
	my ($self) = @_;
	return grep { exists $_->{method} } $self->records;
}

sub closed
{
	my ($self) = @_;
	return map { $_->{closed} } grep { exists $_->{closed} } $self->records;
}

sub wait_until
{
	my ($what, $holds) = @_;
	my $end = time + $patience;
	until ($holds->())
	{
		die "the peer waited $patience seconds in vain for $what" if time > $end;
		sleep 0.01;
	}
	return 1;
}

sub wait_requests
{
	my ($self, $count) = @_;
	return wait_until("$count requests", sub { $self->requests >= $count });
}

sub wait_closed
{
	my ($self, $number) = @_;
	return wait_until("the end of request $number",
		sub { grep { $_ == $number } $self->closed });
}

# --- the server's side ---------------------------------------------------------------

# In this process, for ever: for trying things by hand.
sub serve
{
	my ($port, @script) = @_;
	my $file = File::Temp->new;
	accept_connections(listen_on($port), $file->filename, \@script);
	return;
}

sub accept_connections
{
	my ($listener, $file, $script) = @_;
	local $SIG{CHLD} = 'IGNORE';
	local $SIG{PIPE} = 'IGNORE';
	my $connection = 0;
	while (1)
	{
		my $socket = $listener->accept or next;
		$connection++;
		my $child = fork();
		if (defined $child && $child == 0)
		{
			close $listener;
			eval { serve_connection($socket, $connection, $file, $script); 1 }
			  or print STDERR "peer: $@";
			POSIX::_exit(0);
		}
		close $socket;
	}
	return;
}

sub serve_connection
{
	my ($socket, $connection, $file, $script) = @_;
	my $buffer = '';
	while (my $request = read_request($socket, \$buffer))
	{
		$request->{connection} = $connection;
		note_request($file, $request);
		my $behaviour = behaviour_for($script, $request);
		last unless answer($socket, $file, $request, $behaviour);
	}
	return;
}

sub read_request
{
	my ($socket, $buffer) = @_;
	until ($$buffer =~ /\r\n\r\n/)
	{
		sysread($socket, $$buffer, 65536, length $$buffer) or return;
	}
	my ($head, $rest) = split /\r\n\r\n/, $$buffer, 2;
	my ($line, @lines) = split /\r\n/, $head;
	my ($method, $path) = split / /, $line;
	my %headers = map { my ($name, $value) = split /:\s*/, $_, 2; (lc $name => $value) } @lines;
	my $length = $headers{'content-length'} // 0;
	while (length $rest < $length)
	{
		sysread($socket, $rest, 65536, length $rest) or return;
	}
	$$buffer = substr $rest, $length;
	my $body = substr $rest, 0, $length;
	return {
		method  => $method,
		path    => $path,
		headers => \%headers,
		body    => $body,
		json    => scalar eval { $json->decode($body) },
		at      => time };
}

# Appends a line; a request gets the next number under the same lock.
sub note
{
	my ($file, $record, $numbered) = @_;
	open my $out, '+>>:raw', $file or die "could not write the record: $!";
	flock $out, LOCK_EX;
	if ($numbered)
	{
		seek $out, 0, 0;
		$record->{number} = 1 + grep { /"method":/ } <$out>;
	}
	print $out $json->encode($record), "\n";
	close $out;
	return;
}

sub note_request { return note($_[0], $_[1], 1); }

sub behaviour_for
{
	my ($script, $request) = @_;
	return $script->[0]->($request) if ref $script->[0] eq 'CODE';
	my $number = $request->{number};
	return $script->[ $number <= @$script ? $number - 1 : -1 ];
}

# Waits; false when the client closed meanwhile.
sub stays
{
	my ($socket, $seconds) = @_;
	my $end = time + $seconds;
	my $select = IO::Select->new($socket);
	while ((my $left = $end - time) > 0)
	{
		next unless $select->can_read($left);
		my $got = recv $socket, my $byte, 1, 2;    # MSG_PEEK
		return 0 if !defined $got || length $byte == 0;
		sleep 0.01;    # a pipelined request waits its turn
	}
	return 1;
}

sub whole_answer
{
	my ($behaviour) = @_;
	return $behaviour->{raw} if defined $behaviour->{raw};
	my $body = $behaviour->{body} // $json->encode($behaviour->{json});
	my $type = $behaviour->{type} // 'application/json';
	my $length = length($body) + ($behaviour->{huge} // 0);
	my @headers = ('Content-Type' => $type, 'Content-Length' => $length,
		@{ $behaviour->{headers} // [] });
	my $head = sprintf "HTTP/1.1 %d Scripted\r\n", $behaviour->{status} // 200;
	while (my ($name, $value) = splice @headers, 0, 2)
	{
		$head .= "$name: $value\r\n";
	}
	return "$head\r\n$body";
}

# True when the connection goes on.
sub answer
{
	my ($socket, $file, $request, $behaviour) = @_;
	return 0 if $behaviour->{close};
	my $sent = stays($socket, $behaviour->{hang} ? 1e9 : $behaviour->{delay} // 0)
	  && send_answer($socket, $behaviour);
	note($file, { closed => $request->{number} }) unless $sent;
	return
		 $sent
	  && !defined $behaviour->{raw}
	  && !defined $behaviour->{cut}
	  && ($behaviour->{keep} // 1);
}

sub send_answer
{
	my ($socket, $behaviour) = @_;
	my $answer = whole_answer($behaviour);
	$answer = substr $answer, 0, $behaviour->{cut} if defined $behaviour->{cut};
	my $size = $behaviour->{pieces} // length $answer;
	while (length $answer)
	{
		send_all($socket, substr($answer, 0, $size, '')) or return 0;
		return 0 if $behaviour->{pause} && !stays($socket, $behaviour->{pause});
	}
	my $left = $behaviour->{huge} // 0;
	while ($left > 0)
	{
		my $piece = $left < 65536 ? $left : 65536;
		send_all($socket, 'x' x $piece) or return 0;
		$left -= $piece;
	}
	return 1;
}

sub send_all
{
	my ($socket, $bytes) = @_;
	while (length $bytes)
	{
		my $sent = syswrite $socket, $bytes;
		return 0 unless $sent;
		substr $bytes, 0, $sent, '';
	}
	return 1;
}

1;
