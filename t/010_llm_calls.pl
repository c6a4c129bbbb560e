# Calls to models that work: the request, the answer, the ledger, the connection.
use strict;
use warnings;
use JSON::PP;
use IO::Compress::Gzip qw(gzip);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use FactoryPeer;

my $node = PostgreSQL::Test::Cluster->new('llm');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'pg_factory'\n");
$node->start;

my $peer = FactoryPeer->new(chat('hello'));
my $url = $peer->url;
$node->safe_psql('postgres', <<"SQL");
CREATE EXTENSION pg_factory;
CREATE SERVER peer FOREIGN DATA WRAPPER factory_llm
	OPTIONS (base_url '$url', allow_http 'true', allow_private 'true');
CREATE USER MAPPING FOR CURRENT_USER SERVER peer OPTIONS (api_key 'sk-test-key');
SELECT factory.create_model('mini', 'peer', 'gpt-4o-mini', input_price => 0.15, output_price => 0.60,
	options => '{"temperature": 0.2, "max_tokens": 300}');
SQL

# One call: what the peer is asked, what the caller gets.
my $answer = decode_json($node->safe_psql('postgres',
	q{SELECT factory.complete('mini', 'say hi', system => 'be brief')}));
is($answer->{text}, 'hello', 'the words come back');
is($answer->{model}, 'peer-model-1', 'with the provider\'s name of the model');
is_deeply($answer->{usage},
	{ prompt_tokens => 100, completion_tokens => 20, total_tokens => 120 }, 'and the tokens');
is($answer->{attempts}, 1, 'at the first try');
is($answer->{cost_usd}, 0.000027, 'and their price');
my ($request) = $peer->requests;
is("$request->{method} $request->{path}", 'POST /v1/chat/completions', 'the right place was asked');
is($request->{headers}{authorization}, 'Bearer sk-test-key', 'with the key');
is_deeply($request->{json},
	{
		model       => 'gpt-4o-mini',
		temperature => 0.2,
		max_tokens  => 300,
		messages    => [
			{ role => 'system', content => 'be brief' },
			{ role => 'user',   content => 'say hi' } ]
	},
	'and the request');

sub sql
{
	my ($statement, %more) = @_;
	my ($code, $out, $err) =
	  $node->psql($more{database} // 'postgres', "\\set VERBOSITY verbose\n$statement");
	return $code == 0 ? $out : $err;
}

# The ledger: one row a call, no prompt, no answer.
# Rows come by the database's writer.
sub ledger_has { return $node->poll_query_until('postgres', 'SELECT count(*) >= ' . shift . ' FROM factory.llm_call') }
ledger_has(1);
is(sql(q{SELECT called_by = session_user, purpose, subject, model, provider_model, server, prompt_tokens, completion_tokens,
		total_tokens, cost_usd, attempts, success, outcome, reason, latency_ms > 0, prompt FROM factory.llm_call}),
	't|complete||mini|peer-model-1|peer|100|20|120|0.0000270000|1|t|ok||t|', 'the ledger has it, without the prompt');
is(sql(q{SET factory.log_prompts = on; BEGIN; SELECT factory.complete('mini', 'x', system => 'y')->>'text'; ROLLBACK}), 'hello', 'a call');
ledger_has(2);
is(sql(q{SELECT prompt FROM factory.llm_call ORDER BY called_at DESC LIMIT 1}), "y\n\nx",
	'a rollback leaves its row, with the prompt where that is switched on');
is(sql(q{SELECT tenant_id, day = (now() AT TIME ZONE current_setting('TimeZone'))::date, model, role = session_user, decision, calls,
		failures, total_tokens, cost_usd, calls_without_price FROM factory.llm_usage}),
	'default|t|mini|t||2|0|240|0.0000540000|0', 'used by day, model, role and decision');
my ($code, $out, $err) = $node->psql('postgres', q{BEGIN READ ONLY; SELECT factory.complete('mini', 'x')});
like($err, qr/model "mini" must not be called: no ledger can be kept, the transaction is read-only/, 'no ledger, no call');
is(sql(q{DO $$ BEGIN PERFORM factory.complete('mini', 'x', options => '{"timeout": "1ms", "max_tokens": 0}');
		EXCEPTION WHEN OTHERS THEN NULL; END $$; SELECT count(*) FROM factory.llm_call}),
	'2', 'a call that is refused before it leaves writes none');
like(sql('SELECT factory.metrics()'), qr/llm_calls_total\{[^}]*model="mini"[^}]*status="ok"[^}]*\} 2/, 'the metrics count both');
like(sql('SELECT factory.metrics()'), qr/llm_tokens_total\{[^}]*direction="input"[^}]*\} 200/, 'and their tokens');

# By schema: asked for as such, checked, and where the server does not know schemas, in words.
my $schema = '{"type": "object", "required": ["status"], "properties": {"status": {"enum": ["NORMAL", "BAD"]}}}';
$peer->script(status(400), chat_json({ status => 'BAD' }));
$answer = decode_json(sql(qq{SELECT factory.complete('mini', 'judge', schema => '$schema')}));
is_deeply($answer->{json}, { status => 'BAD' }, 'the answer comes as JSON');
my ($first, $second) = $peer->requests;
is_deeply($first->{json}{response_format},
	{ type => 'json_schema', json_schema => { name => 'answer', schema => decode_json($schema) } },
	'the schema is asked for');
is_deeply($second->{json}{response_format}, { type => 'json_object' }, 'then JSON alone');
like($second->{json}{messages}[0]{content}, qr/by this JSON schema: \{.*"NORMAL"/, 'with the schema in words');
is($answer->{attempts}, 2, 'which is a try');

# A session remembers that of a model, and does not pay the try again.
$peer->script(status(400), chat_json({ status => 'BAD' }));
sql(join ';', (qq{SELECT factory.complete('mini', 'judge', schema => '$schema')}) x 3);
is_deeply([ map { $_->{json}{response_format}{type} } $peer->requests ],
	[qw(json_schema json_object json_object json_object)], 'once a session');

# Options of the call go before those of the model.
$peer->script(chat('hello'));
sql(q{SELECT factory.complete('mini', 'x', options => '{"temperature": 0}')});
my $sent = ($peer->requests)[-1]{json};
is_deeply([ @$sent{qw(temperature max_tokens)} ], [ 0, 300 ], 'the call\'s option wins, the model\'s others stay');

# Tries that were paid for are counted, prices that are not known are not made up.
$peer->script(chat('no JSON'), chat_json({ status => 'BAD' }));
sql(q{SELECT factory.create_model('free', 'peer', 'llama')});
$answer = decode_json(sql(qq{SELECT factory.complete('free', 'x', schema => '$schema')}));
is($answer->{usage}{total_tokens}, 240, 'the tokens of both tries');
is($answer->{cost_usd}, undef, 'no price, no cost');

# Retry-After is waited for; without it the pause is the setting's.
sub pause_between_tries
{
	$peer->script(status(429, headers => [ 'Retry-After' => 1 ]), chat('later'));
	is(sql(q{SET factory.llm_retry_delay = 0; SELECT factory.complete('mini', 'x')->>'text'}), 'later', 'a second try');
	my ($before, $after) = map { $_->{at} } $peer->requests;
	return $after - $before;
}
my @pauses = pause_between_tries();
push @pauses, pause_between_tries() while $pauses[-1] > 1.1 && @pauses < 5;    # a busy machine may be late
is(scalar(grep { $_ < 0.95 } @pauses), 0, 'not before the server wants it');
cmp_ok($pauses[-1], '<=', 1.1, 'nor a tenth of a second later');

# Compressed answers are read, bombs are not.
my $plain = encode_json(chat('from gzip')->{json});
gzip(\$plain => \my $packed);
$peer->script({ body => $packed, headers => [ 'Content-Encoding' => 'gzip' ] });
is(sql(q{SELECT factory.complete('mini', 'x')->>'text'}), 'from gzip', 'gzip');
$plain = '"' . 'x' x 50_000_000;
gzip(\$plain => \$packed);
$peer->script({ body => $packed, headers => [ 'Content-Encoding' => 'gzip' ] });
like(sql(q{SELECT factory.complete('mini', 'x')}), qr/PF203: .*over the limit of 4194304 bytes/, 'a bomb');

# A base URL with a slash and a query, as Azure has them.
$peer->script(chat('hello'));
$node->safe_psql('postgres', "ALTER SERVER peer OPTIONS (SET base_url '$url/deployments/x/?api-version=1')");
sql(q{SELECT factory.complete('mini', 'x')});
is(($peer->requests)[-1]{path}, '/v1/deployments/x/chat/completions?api-version=1', 'the query stays at the end');

# Dump and restore keep servers, keys, models and the ledger.
my $dump = "$PostgreSQL::Test::Utils::tmp_check/llm.sql";
$node->poll_query_until('postgres', 'SELECT sum(records) = 0 FROM factory.queue_status');
my $kept = q{SELECT (SELECT count(*) FROM factory.llm_call), (SELECT string_agg(name, ',' ORDER BY name) FROM factory.model),
	(SELECT umoptions::text FROM pg_user_mappings), factory.complete('mini', 'x')->>'text'};
$node->command_ok([ 'pg_dump', '--no-sync', '-p', $node->port, '-h', $node->host, '-f', $dump, 'postgres' ], 'pg_dump');
$node->safe_psql('postgres', 'CREATE DATABASE restored');
$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-p', $node->port, '-h', $node->host, '-f', $dump, 'restored' ],
	'restore');
like(sql(q{SELECT factory.complete('mini', 'x')}, database => 'restored'), qr/PF005/, 'a restored dump spends nothing');
$node->safe_psql('restored', 'SELECT factory.activate()');
is(sql($kept, database => 'restored'), sql($kept), 'all is there, and calls work');

# The wire is UTF-8, whatever the database is.
$node->safe_psql('postgres', q{CREATE DATABASE korean ENCODING 'EUC_KR' LOCALE 'C' TEMPLATE template0});
$node->safe_psql('korean', <<"SQL");
CREATE EXTENSION pg_factory;
CREATE SERVER peer FOREIGN DATA WRAPPER factory_llm
	OPTIONS (base_url '$url', allow_http 'true', allow_private 'true');
SELECT factory.create_model('mini', 'peer', 'm');
SQL
my $defects = "\x{bd88}\x{b7c9}";
my $utf8 = $defects;
utf8::encode($utf8);
$peer->script(chat($defects), chat_json({ status => $defects }), chat("\x{1f600}"));
my $korean = "SET client_encoding = 'UTF8'; SELECT factory.complete('mini', '$utf8'";
is(sql("$korean)->>'text'", database => 'korean'), $utf8, 'Korean comes back');
is(($peer->requests)[-1]{json}{messages}[0]{content}, $defects, 'as it went out');
is(sql("$korean, schema => '{}')->'json'->>'status'", database => 'korean'), $utf8, 'in JSON, too');
like(sql("$korean)", database => 'korean'), qr/PF203/, 'a letter the database has not got is a clean error');

# A server that answers soon is looked out for, one that does not is slept for.
SKIP:
{
	skip 'no /proc here', 2 unless -r "/proc/$$/status";
	my $session = $node->background_psql('postgres');
	my $pid = $session->query('SELECT pg_backend_pid()');
	my $file = sub { open my $in, '<', "/proc/$pid/$_[0]" or die "cannot read $_[0]: $!"; local $/ = undef; return scalar <$in> };
	my $sleeps = sub { return $file->('status') =~ /^voluntary_ctxt_switches:\s*(\d+)/m ? $1 : die 'no switches' };
	my $ticks = sub { my @fields = split / /, $file->('stat') =~ s/^.*\) //sr; return $fields[11] + $fields[12] };
	my $calls = sub { $session->query("DO \$\$ BEGIN FOR i IN 1 .. $_[0] LOOP PERFORM factory.complete('mini', 'hi'); END LOOP; END \$\$") };
	$peer->script(chat('hello'));
	my $slept = sub {
		$session->query("SET factory.http_spin = $_[0]");
		$calls->(5);
		my $before = $sleeps->();
		$calls->(100);
		return $sleeps->() - $before;
	};
	# The peer may have to wait for a processor: then an answer comes soon another time.
	my ($asleep, $awake) = ($slept->(0));
	for (1 .. 20) { last if ($awake = $slept->(10000)) < $asleep / 2 }
	cmp_ok($awake, '<', $asleep / 2, "of 100 calls fewer sleep ($awake against $asleep)");
	$peer->script(chat('hello', delay => 0.05));
	my $before = $ticks->();
	$calls->(20);
	cmp_ok($ticks->() - $before, '<', 10, 'for an answer that takes longer nobody looks out 20 times');
	$session->quit;
}

# What the ledger can lose: kill -9 takes the rows that wait for the writer, and none that it wrote.
$node->safe_psql('postgres', 'ALTER SYSTEM SET restart_after_crash = on');
$node->safe_psql('postgres', 'SELECT pg_reload_conf()');
$peer->script(chat('hello'));
my $rows = 'SELECT count(*) FROM factory.llm_call';
my $waiting = 'SELECT coalesce(sum(records), 0) FROM factory.queue_status';
my $calls = sub { return $node->safe_psql('postgres', "SELECT count(factory.complete('mini', 'hi ' || i)) FROM generate_series(1, $_[0]) AS i") };
ok($node->poll_query_until('postgres', $waiting, '0'), 'the queue runs empty');
my $written = $node->safe_psql('postgres', $rows);
is($calls->(20), '20', 'calls are answered');
ok($node->poll_query_until('postgres', $rows, $written += 20), 'and written');
is($calls->(5), '5', 'and some more are answered');
my $writer = $node->safe_psql('postgres', q{SELECT pid FROM factory.queue_status WHERE database = 'postgres'});
kill 'KILL', $writer;
ok($node->poll_query_until('postgres', "SELECT count(*) = 0 FROM factory.worker_status WHERE pid = $writer"), 'the writer is killed and the server recovers');
my $left = $node->safe_psql('postgres', $rows);
cmp_ok($left, '>=', $written, 'what was written is there');
cmp_ok($left, '<=', $written + 5, 'what was not yet may be lost');
is($calls->(3), '3', 'calls go on');
ok($node->poll_query_until('postgres', $rows, $left + 3), 'and the ledger with them');

done_testing();
