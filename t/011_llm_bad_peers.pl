# Peers that misbehave: each ends in a clean error that says what was wrong, with
# the tries that make sense and no more; and no wait outlives a cancel.
use strict;
use warnings;
use IO::Compress::Gzip qw(gzip);
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use FactoryPeer;

my $node = PostgreSQL::Test::Cluster->new('bad_peers');
$node->init;
$node->append_conf('postgresql.conf', <<'CONF');
shared_preload_libraries = 'pg_factory'
factory.llm_retry_delay = '10ms'
factory.llm_retry_burst = 1000
CONF
$node->start;

my $peer = FactoryPeer->new(chat('hello'));
my $url = $peer->url;
$node->safe_psql('postgres', <<"SQL");
CREATE EXTENSION pg_factory;
CREATE SERVER peer FOREIGN DATA WRAPPER factory_llm
	OPTIONS (base_url '$url', allow_http 'true', allow_private 'true');
SELECT factory.create_model('mini', 'peer', 'gpt-4o-mini', input_price => 0.15, output_price => 0.60);
SQL

my $schema = encode_json(
	{
		type                 => 'object',
		required             => [ 'status', 'confidence' ],
		additionalProperties => JSON::PP::false,
		properties           => {
			status     => { enum => [ 'NORMAL', 'HIGH_DEFECT' ] },
			confidence => { type => 'number', minimum => 0, maximum => 1 } } });

# SQLSTATE, the error's words, how often the peer was asked, and what the breaker makes
# of it: "calls|failures".
sub outcome
{
	my (%call) = @_;
	my $arguments = "'mini', 'judge'" . ($call{schema} ? ", schema => '$schema'" : '');
	my ($code, $out, $err) = $node->psql('postgres', <<"SQL", on_error_stop => 0);
SELECT factory.reset_breaker('peer');
${\($call{first} // '')}
\\set VERBOSITY verbose
SELECT factory.complete($arguments);
RESET statement_timeout;
SELECT 'breaker ' || calls || '|' || failures FROM factory.breaker_status;
SQL
	my ($state, $words) = $err =~ /ERROR:\s+(\w{5}): (.*)/;
	my ($breaker) = $out =~ /breaker (.*)/;
	return ($state // 'ok', $words // $out, scalar $peer->requests, $breaker);
}

my $good = { status => 'NORMAL', confidence => 0.9 };
my $fenced = "```json\n" . encode_json($good) . "\n```\n";

# A body with headers of our own, as an honest peer would not send it.
sub raw
{
	my ($body, @headers) = @_;
	return { raw => join("\r\n", 'HTTP/1.1 200 OK', 'Content-Type: application/json', @headers, '', $body) };
}

my $whole = encode_json(chat('hello')->{json});
my $zeros = '"' . "\0" x 60_000_000;
gzip(\$zeros => \my $bomb) or die 'could not pack';
gzip(\$whole => \my $packed) or die 'could not pack';

# name, script, whether a schema is asked for, SQLSTATE, words, requests
my @cases = (
	# one bad answer, then a good one: the call succeeds
	[ 'a 500, then an answer', [ status(500), chat('ok') ], 0, 'ok', qr/"attempts": 2/, 2 ],
	[ 'a 429 that says when to come back', [ status(429, headers => [ 'Retry-After' => 0 ]), chat('ok') ],
		0, 'ok', qr/"attempts": 2/, 2 ],
	[ 'a connection closed without an answer', [ { close => 1 }, chat('ok') ], 0, 'ok', qr/ok/, undef ],
	[ 'no JSON, then JSON', [ chat('I think so'), chat_json($good) ], 1, 'ok', qr/"attempts": 2/, 2 ],
	[ 'JSON in a fence', [ chat($fenced) ], 1, 'ok', qr/"confidence": 0.9/, 1 ],
	[ 'a server that does not know schemas', [ status(400), chat_json($good) ], 1, 'ok', qr/"attempts": 2/, 2 ],
	[ 'one byte at a time', [ chat('ok', pieces => 1) ], 0, 'ok', qr/"text": "ok"/, 1 ],
	# bad to the end
	[ '500', [ status(500) ], 0, 'PF201', qr/could not be reached: the server answered 500/, 3 ],
	[ '503', [ status(503) ], 0, 'PF201', qr/answered 503/, 3 ],
	[ '429', [ status(429) ], 0, 'PF204', qr/answered 429 \(too many requests\)/, 3 ],
	[ '429 beyond the deadline', [ status(429, headers => [ 'Retry-After' => 3600 ]) ], 0, 'PF204', qr/answered 429/, 1 ],
	[ 'an empty account', [ status(429, json => { error => { code => 'insufficient_quota' } }) ],
		0, 'PF204', qr/insufficient_quota/, 1 ],
	[ '400', [ status(400) ], 0, 'PF204', qr/answered 400 \(bad request\)/, 1 ],
	[ '401', [ status(401) ], 0, 'PF204', qr/answered 401/, 1 ],
	[ '403', [ status(403) ], 0, 'PF204', qr/answered 403/, 1 ],
	[ '404 with the provider\'s word', [ status(404, json => { error => { code => 'model_not_found' } }) ],
		0, 'PF204', qr/answered 404 \(model_not_found\)/, 1 ],
	[ 'a redirect', [ status(302, headers => [ Location => 'http://169.254.169.254/latest/meta-data' ]) ],
		0, 'PF201', qr/answered 302 \(redirects are not followed\)/, 1 ],
	[ 'HTML with 200', [ html() ], 0, 'PF203', qr/the answer is not JSON but text\/html/, 2 ],
	[ 'an error body with 200', [ { json => { error => { message => 'oops' } } } ], 0, 'PF203', qr/is an error message/, 2 ],
	[ 'no choices', [ { json => { choices => [] } } ], 0, 'PF203', qr/has no choices/, 2 ],
	[ 'no object', [ { json => [1, 2] } ], 0, 'PF203', qr/has no choices/, 2 ],
	[ 'an empty message', [ chat('') ], 0, 'PF203', qr/the answer is empty/, 2 ],
	[ 'a refusal', [ completion(message => { content => undef, refusal => 'I cannot' }) ], 0, 'PF204', qr/declined/, 1 ],
	[ 'a content filter', [ completion(content => 'x', finish_reason => 'content_filter') ], 0, 'PF204', qr/content filter/, 1 ],
	[ 'the token limit', [ completion(content => '{"status": "NOR', finish_reason => 'length') ], 1, 'PF203', qr/cut at the token limit/, 1 ],
	[ 'a tool call', [ completion(message => { content => undef, tool_calls => [ { id => 1 } ] }, finish_reason => 'tool_calls') ],
		0, 'PF203', qr/called a tool/, 2 ],
	[ 'invalid UTF-8', [ { body => qq({"choices": [{"message": {"content": "\xff\xfe"}}]}) } ], 0, 'PF203', qr/not valid JSON/, 2 ],
	[ 'a NUL in the words', [ { body => '{"choices": [{"message": {"content": "a\u0000b"}}]}' } ], 0, 'PF203', qr/not valid JSON/, 2 ],
	[ 'half a document', [ { body => '{"choices": [{"mess' } ], 0, 'PF203', qr/not valid JSON/, 2 ],
	[ 'nothing', [ { body => '' } ], 0, 'PF203', qr/not valid JSON/, 2 ],
	[ 'very deep JSON', [ { body => '[' x 100_000 } ], 0, 'PF203', qr/not valid JSON/, 2 ],
	[ 'cut in the body', [ chat('hello', cut => 150) ], 0, 'PF201', qr/receiving the answer: the connection was closed in the middle/, 3 ],
	[ 'cut in the headers', [ chat('hello', cut => 20) ], 0, 'PF201', qr/closed/, 3 ],
	[ 'a Content-Length of more than there is', [ raw($whole, 'Content-Length: ' . (50 + length $whole)) ],
		0, 'PF201', qr/receiving the answer: the connection was closed in the middle/, 3 ],
	[ 'a Content-Length of less than there is', [ raw($whole, 'Content-Length: ' . (length($whole) - 50)) ], 0, 'PF203', qr/not valid JSON/, 2 ],
	[ 'a Content-Length that is none', [ raw($whole, 'Content-Length: many') ], 0, 'PF201', qr/the answer is not HTTP/, 3 ],
	[ 'closed at once', [ { close => 1 } ], 0, 'PF201', qr/closed without an answer/, undef ],
	[ 'garbage', [ { raw => "\x00\x01\x02 not HTTP at all\r\n\r\n" } ], 0, 'PF201', qr/the answer is not HTTP/, 3 ],
	[ 'a huge answer', [ { body => '"', huge => 30_000_000 } ], 0, 'PF203', qr/over the limit of 4194304 bytes/, 1 ],
	[ 'a small body that unpacks to a huge one', [ { body => $bomb, headers => [ 'Content-Encoding' => 'gzip' ] } ],
		0, 'PF203', qr/over the limit of 4194304 bytes/, 1 ],
	[ 'a packed body that is cut', [ { body => substr($packed, 0, length($packed) / 2), headers => [ 'Content-Encoding' => 'gzip' ] } ],
		0, 'PF203', qr/not valid JSON/, 2 ],
	[ 'a body that is not packed as it says', [ { body => $whole, headers => [ 'Content-Encoding' => 'gzip' ] } ],
		0, 'PF201', qr/the answer's compression is broken/, 3 ],
	[ 'a packing nobody knows', [ { body => $whole, headers => [ 'Content-Encoding' => 'rot13' ] } ], 0, 'PF201', qr/compression/, 3 ],
	[ 'huge headers', [ chat('x', headers => [ map { ("X-$_" => 'y' x 1000) } 1 .. 100 ]) ], 0, 'PF203', qr/headers are over the limit/, 1 ],
	# JSON that is not what was asked for
	[ 'confidence 7', [ chat_json({ %$good, confidence => 7 }) ], 1, 'PF203', qr/\$\.confidence: must be at most 1, not 7/, 2 ],
	[ 'confidence "high"', [ chat_json({ %$good, confidence => 'high' }) ], 1, 'PF203', qr/\$\.confidence: must be of type "number", not "high"/, 2 ],
	[ 'confidence NaN', [ chat('{"status": "NORMAL", "confidence": NaN}') ], 1, 'PF203', qr/are not JSON/, 2 ],
	[ 'a status outside the list', [ chat_json({ %$good, status => 'FINE' }) ], 1, 'PF203', qr/\$\.status: "FINE" is not one of/, 2 ],
	[ 'a missing key', [ chat_json({ status => 'NORMAL' }) ], 1, 'PF203', qr/\$: key "confidence" is missing/, 2 ],
	[ 'a key too many', [ chat_json({ %$good, more => 1 }) ], 1, 'PF203', qr/\$: key "more" is not expected/, 2 ],
	[ 'a list', [ chat_json([$good]) ], 1, 'PF203', qr/\$: must be of type "object", not/, 2 ],
);

my %ledger_of = (ok => 'ok', unreachable => 'PF201', timeout => 'PF202', answer_invalid => 'PF203', refused => 'PF204');
my @ledger;

for my $case (@cases)
{
	my ($name, $script, $with_schema, $state, $words, $count) = @$case;
	$peer->script(@$script);
	my ($got_state, $got_words, $got_count, $breaker) = outcome(schema => $with_schema);
	my ($kind) = grep { $ledger_of{$_} eq $state } keys %ledger_of;
	push @ledger, $kind;
	# What is wrong with the server counts against it; a 429 says nothing of its health.
	is($breaker, $name =~ /429|empty account/ && $state ne 'ok' ? '0|0' : $state eq 'PF201' ? '1|1' : '1|0', "$name: the breaker's count");
	is($got_state, $state, "$name: SQLSTATE");
	like($got_words, $words, "$name: words");
	is($got_count, $count, "$name: requests") if defined $count;
}

# A row a call, though all but a few were rolled back; and the metric counts the same.
is($node->poll_query_until('postgres', 'SELECT count(*) = ' . @ledger . ' FROM factory.llm_call'), 1, 'all are in the ledger');
is($node->safe_psql('postgres', q{SELECT string_agg(outcome, ' ' ORDER BY called_at) FROM factory.llm_call}),
	join(' ', @ledger), 'each with its outcome');
my %counts;
$counts{$_}++ for @ledger;
my $metrics = $node->safe_psql('postgres', 'SELECT factory.metrics()');
like($metrics, qr/llm_calls_total\{[^}]*status="$_"\} $counts{$_}$/m, "and in the metric: $_") for sort keys %counts;

# JSON is read by us where it is plain, and by the server where it is not: to the same end.
my @plain = ('{}', '[]', '[[], {}, [{}]]', ' { "a" : 1 , "b" : [ 1 , 2 ] } ', "\n[\t1,\r2]\n", '{"a": 1, "b": 2, "a": 3}', '{"": 0}',
	'[0, -0, 1, -1, 0.0, -0.0, 1.50, -12.340, 0.000001, 100, 10000, 20001, 12345678901234567, 0.1234567890123456, 99999999.99999999]',
	'[123456789012345678]', '[1234567890123456789012]', '[0.12345678901234567]', '[0.123456789012345678]',
	'[1e3, 1E-7, -2.5e+10, 1e400]', '[true, false, null]', '["", "a", "\\"\\\\\\/\\b\\f\\n\\r\\t", "불량률", "😀"]', '["\\ubd88\\ud83d\\ude00"]',
	'{"long key ' . 'x' x 300 . '": "' . 'y' x 5000 . '"}', '[' x 60 . ']' x 60, '[' x 70 . ']' x 70, '[' . join(',', 1 .. 500) . ']',
	'{' . join(',', map { qq("k$_": {"v": [$_, "$_", $_.5]}) } 1 .. 100) . '}');
my @broken = ('{"a": 1,}', '{"a" 1}', '[1 2]', '[1,]', '[,1]', '[', '{', '{"a"', '{"a":', '["a', '["a\\', '{"a": 01}', '[-]', '[.5]', '[1.]', '[1.2.3]', '[+1]', '[NaN]', '[1e]',
	'{a: 1}', "{'a': 1}", '[1] x', '[1]]', '{"a": tru}', '[nul]', '[truely]', '["\\x"]', '["\\u12"]', "[\"a\tb\"]", '{1: 2}', '{"a": 1 "b": 2}', '[1}', '{"a": 1]', '[1] []', '');
for my $words (@plain, @broken) { utf8::decode($words) unless utf8::is_utf8($words) }
$peer->script(sub { my ($number) = $_[0]{json}{messages}[1]{content} =~ /^read (\d+)/ ? $1 : 0; return chat((@plain, @broken)[$number]) });
sub readings
{
	my ($from, $to, $what) = @_;
	return $node->safe_psql('postgres', qq(SELECT $what FROM factory.complete_many('mini', 'SELECT ''read '' || i FROM generate_series($from, $to) AS i', system => 's', schema => '{}', concurrency => 16)));
}
is(readings(0, $#plain, q{string_agg(row_number::text, ' ') FILTER (WHERE answer ->> 'text' IS NULL OR (answer -> 'json')::text <> ((answer ->> 'text')::jsonb)::text)}), '', 'plain or not, JSON is what the server makes of it');
is(readings(0, $#plain, 'count(answer)'), scalar @plain, 'all of it');
is(readings(scalar @plain, $#plain + @broken, q{count(*) FILTER (WHERE sqlstate = 'PF203')}), scalar @broken, 'what is none is refused');

# The usual answer is read at a glance.  Whatever the glance makes of one, a document makes, too:
# an escape anywhere keeps it from being read that way.
my $message = '{"role": "assistant", "content": "first \"one\""}';
my $choice = qq({"index": 0, "message": $message, "finish_reason": "stop"});
my $usage = '"usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}';
my @answers = (
	qq({"model": "m1", "choices": [$choice], $usage}),
	qq({$usage, "error": null, "choices": [$choice, {"message": {"content": "second"}, "finish_reason": "stop"}], "model": "m1"}),
	qq({"model": "m1", "choices": [{"message": {"content": "lost"}, "finish_reason": "stop"}], $usage, "choices": [$choice]}),
	qq({"model": "m1", "choices": [$choice], $usage, "choices": []}),
	qq({"model": "m1", "choices": [$choice], $usage, "usage": {}}),
	qq({"model": "m1", "choices": [$choice], $usage, "usage": 5}),
	qq({"model": "m1", "model": 4, "choices": [$choice], $usage}),
	qq({"choices": [$choice]}),
	qq({"model": "m1", "choices": [$choice], "usage": {"prompt_tokens": 7.5, "completion_tokens": -3}}),
	qq({"model": "m1", "choices": [$choice], "usage": {"prompt_tokens": 1000000000000, "completion_tokens": "3"}}),
	qq({"model": "m1", "choices": [{"message": $message, "finish_reason": null}], $usage}),
	qq({"model": "m1", "choices": [{"message": $message, "finish_reason": "length"}], $usage}),
	qq({"model": "m1", "choices": [{"message": $message, "finish_reason": "content_filter"}], $usage}),
	qq({"model": "m1", "choices": [{"message": {"content": "x", "refusal": "no"}, "finish_reason": "stop"}], $usage}),
	qq({"model": "m1", "choices": [{"message": {"content": "x", "refusal": ""}, "finish_reason": "stop"}], $usage}),
	qq({"model": "m1", "choices": [{"message": {"content": [{"text": "a"}, {"text": "b"}]}, "finish_reason": "stop"}], $usage}),
	qq({"model": "m1", "choices": [{"message": {"content": ""}, "finish_reason": "stop"}], $usage}),
	qq({"model": "m1", "choices": {"\\n": $choice}, $usage}),
	qq({"model": "m1", "choices": [[$choice]], $usage}),
	qq({"model": "m1", "choices": [$choice], $usage, "error": {"code": "x"}}),
	qq({"model": "m1", "choices": [$choice], $usage} x),
	qq({"model": "m1", "choices": [$choice], $usage));
sub reading
{
	my ($body) = @_;
	$peer->script({ body => $body, type => 'application/json' });
	my ($code, $out, $err) = $node->psql('postgres', "SELECT factory.complete('mini', 'hi') - 'latency_ms'");
	return $code == 0 ? $out : $err =~ s/^psql:<stdin>:\d+: //r;
}
for my $body (@answers) { is(reading($body), reading($body =~ s/^\{/{"id": "\\u0041", /r), "at a glance or not: $body") }
like(reading($answers[1]), qr/"text": "first \\"one\\"".*"total_tokens": 10/, 'the first choice is taken');
like(reading($answers[2]), qr/"text": "first /, 'of two the last counts');

# A peer that never answers: the deadline ends the call, and the peer sees it.
$peer->script({ hang => 1 });
my ($state, $words) = outcome(first => "SET factory.llm_timeout = '200ms';\n");
is($state, 'PF202', 'a mute peer: timeout');
like($words, qr/did not answer in time: timed out while waiting for the answer/, 'in that phase');
ok($peer->wait_closed(1), 'the peer saw the connection close');

# So is one that answers in small pieces with long pauses.
$peer->script(chat('slow', pieces => 60, pause => 1));
($state, $words) = outcome(first => "SET factory.llm_timeout = '1s';\n");
is($state, 'PF202', 'a dripping peer: timeout');
like($words, qr/timed out while receiving the answer/, 'in that phase');

# Limits of a phase are named, with their setting.
$peer->script({ hang => 1 });
($state, $words) = outcome(first => "SET factory.http_first_byte_timeout = '200ms';\n");
like($words, qr/timed out while waiting for the answer, after the 200 ms of "factory.http_first_byte_timeout"/, 'by the limit of the first byte');
my $secure = $url =~ s/^http:/https:/r;
$node->safe_psql('postgres', "ALTER SERVER peer OPTIONS (SET base_url '$secure')");
($state, $words) = outcome(first => "SET factory.http_connect_timeout = '200ms';\n");
is($state, 'PF202', 'a peer that does not speak TLS, nor anything');
like($words, qr/timed out while agreeing on TLS, after the 200 ms of "factory.http_connect_timeout"/, 'by the limit of connecting');
my $nobody = PostgreSQL::Test::Cluster::get_free_port();
$node->safe_psql('postgres', "ALTER SERVER peer OPTIONS (SET base_url 'http://127.0.0.1:$nobody/v1')");
($state, $words) = outcome();
is($state, 'PF201', 'a port where nobody listens');
like($words, qr/failed while connecting: connection refused or no route/, 'is refused');
$node->safe_psql('postgres', "ALTER SERVER peer OPTIONS (SET base_url '$url')");

# statement_timeout ends the wait.
$peer->script({ hang => 1 });
($state, $words) = outcome(first => "SET statement_timeout = '200ms';\n");
is($state, '57014', 'statement_timeout ends the wait');
ok($peer->wait_closed(1), 'and closes the connection');

# pg_cancel_backend and pg_terminate_backend end it.
for my $end (qw(cancel terminate))
{
	$peer->script({ hang => 1 });
	my $session = $node->background_psql('postgres', on_error_stop => 0);
	my $pid = $session->query_safe('SELECT pg_backend_pid()');
	$session->query_until(qr/begun/, "\\echo begun\nSELECT factory.complete('mini', 'hi');\n");
	$peer->wait_requests(1);
	$node->safe_psql('postgres', "SELECT pg_${end}_backend($pid)");
	ok($peer->wait_closed(1), "pg_${end}_backend ends the wait and closes the connection");
	eval { $session->quit };
}

# So does a fast shutdown; the extension and the peer are there afterwards.
$peer->script({ hang => 1 });
my $session = $node->background_psql('postgres', on_error_stop => 0);
$session->query_until(qr/begun/, "\\echo begun\nSELECT factory.complete('mini', 'hi');\n");
$peer->wait_requests(1);
$node->stop('fast');
ok($peer->wait_closed(1), 'a fast shutdown ends the wait');
eval { $session->quit };
$node->start;
$peer->script(chat('back'));
like((outcome())[1], qr/back/, 'after a restart, calls work');

done_testing();
