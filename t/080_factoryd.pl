# factoryd serves the engine over HTTP: routes, roles, bad input, and a database that comes and goes.
use strict;
use warnings;
use utf8;
use Encode;
use Factoryd;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('factoryd');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'pg_factory'\nlisten_addresses = 'localhost'\n");
$node->start;
$node->safe_psql('postgres', q(
CREATE EXTENSION pg_factory;
CREATE ROLE web LOGIN NOINHERIT;
CREATE ROLE stranger NOLOGIN;
CREATE ROLE operator NOLOGIN IN ROLE factory_operator, factory_analyst, factory_monitor;
CREATE ROLE other NOLOGIN;
CREATE ROLE mighty SUPERUSER NOLOGIN;
CREATE ROLE everybody NOLOGIN IN ROLE factory_admin, factory_operator, factory_analyst, factory_monitor;
GRANT stranger, operator, everybody TO web;
GRANT factory_monitor TO stranger;
SELECT factory.create_decision('wf-001', '{
  "inputs": {"line_code": "text", "defect_count": {"type": "integer", "required": true}, "production_count": "integer"},
  "let": {"defect_rate": "defect_count::float8 / nullif(production_count, 0)"},
  "rules": [{"id": "high", "when": "defect_rate >= 0.05", "confidence": 0.95,
             "then": {"status": "HIGH_DEFECT", "severity": "critical", "recommended_actions": ["stop_line"]},
             "because": "defect rate {defect_rate} is at or above 5%"}],
  "default": {"status": "NORMAL", "severity": "info", "confidence": 0.9}, "policy": "RULE_ONLY"}');

CREATE SCHEMA api;
GRANT USAGE ON SCHEMA api TO PUBLIC;
CREATE FUNCTION api.add(a int, b int = 1) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT a + b';
CREATE FUNCTION api.who() RETURNS json LANGUAGE sql STABLE AS
  $$ SELECT json_build_object('role', current_user, 'claims', current_setting('request.jwt.claims', true)::json,
     'request', current_setting('request.headers')::json -> 'x-request-id', 'secret',
     current_setting('request.headers')::json -> 'authorization', 'method', current_setting('request.method')) $$;
CREATE FUNCTION api.lines(n int) RETURNS TABLE (line text, rank int) LANGUAGE sql STABLE AS
  $$ SELECT 'LINE-' || chr(64 + i), i FROM generate_series(1, n) i $$;
CREATE FUNCTION api.numbers(n int) RETURNS SETOF int LANGUAGE sql STABLE AS 'SELECT generate_series(1, n)';
CREATE FUNCTION api.pair(OUT one int, OUT two text) LANGUAGE sql STABLE AS $$ SELECT 1, 'zwei' $$;
CREATE FUNCTION api.whole(jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS 'SELECT $1';
CREATE FUNCTION api.total(VARIADIC given int[]) RETURNS bigint LANGUAGE sql IMMUTABLE AS 'SELECT sum(g) FROM unnest(given) g';
CREATE FUNCTION api."Odd ""Name"(" key" text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT $1';
CREATE FUNCTION api.nap(seconds float8) RETURNS void LANGUAGE sql AS 'SELECT pg_sleep(seconds)';
CREATE FUNCTION api.nothing() RETURNS text LANGUAGE sql STABLE AS 'SELECT NULL::text';
CREATE FUNCTION api.fail(state text) RETURNS void LANGUAGE plpgsql AS
  $$ BEGIN RAISE EXCEPTION 'as wished' USING ERRCODE = state, DETAIL = 'a detail', HINT = 'a hint'; END $$;
CREATE FUNCTION api.guarded() RETURNS text LANGUAGE sql STABLE AS $$ SELECT 'inside' $$;
REVOKE ALL ON FUNCTION api.guarded() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION api.guarded() TO operator;
CREATE TABLE api.note (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED, by text DEFAULT current_user);
GRANT ALL ON api.note TO PUBLIC;
CREATE FUNCTION api.take_note(id int) RETURNS int LANGUAGE sql AS 'INSERT INTO api.note VALUES ($1) RETURNING id';
));

my $database = 'postgresql:///postgres?host=' . $node->host . '&port=' . $node->port . '&user=web';
our $factoryd = Factoryd->new(FACTORYD_DATABASE => $database, FACTORYD_SCHEMAS => 'api,factory', FACTORYD_POOL => 3, FACTORYD_POOL_OVERFLOW => 0,
	FACTORYD_ANON_ROLE => 'stranger', FACTORYD_POOL_WAIT => '500ms', FACTORYD_REQUEST_TIMEOUT => '3s',
	FACTORYD_CORS_ORIGINS => 'http://localhost:3000, https://plant.example', FACTORYD_MAX_BODY => '2MB', FACTORYD_READ_TIMEOUT => '1s');
my @operator = (Authorization => 'Bearer ' . Factoryd::token(role => 'operator', sub => 'kim', exp => time + 60));
my ($status, $body, $headers);

# --- the routes -------------------------------------------------------------------

($status, $body, $headers) = $factoryd->call(POST => '/api/v1/judgment/execute',
	{ workflow_id => 'wf-001', input_data => { line_code => 'LINE-A', defect_count => 5, production_count => 100 },
		need_explanation => JSON::PP::true }, @operator, 'X-Request-ID' => 'r-1', 'X-Trace-ID' => 't-1', 'X-Skip-Cache' => 'true');
is($status, 200, 'a judgment');
ok($body->{success}, 'succeeds');
is($body->{data}{result}{status}, 'HIGH_DEFECT', 'the boundary is a high rate');
is($body->{data}{result}{severity}, 'critical', 'and critical');
ok($body->{data}{explanation}, 'explained as asked');
is($body->{meta}{request_id}, 'r-1', 'the request keeps its name');
is($headers->{'x-trace-id'}, 't-1', 'and its trace');
like($body->{meta}{timestamp}, qr/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/, 'at a time');
cmp_ok($body->{meta}{duration_ms}, '>', 0, 'that took a while');

($status, $body) = $factoryd->call(POST => '/api/v1/judgment/execute', { workflow_id => 'nobody', input_data => {} }, @operator);
is($status, 404, 'an unknown decision');
is($body->{error}{code}, 'ERR_JUD_WORKFLOW_NOT_FOUND', 'is named so');
ok(!$body->{success}, 'and no success');
($status, $body) = $factoryd->call(POST => '/api/v1/judgment/execute',
	{ workflow_id => 'wf-001', input_data => { defect_count => 'many' } }, @operator);
is($status, 400, 'a mistyped input');
is($body->{error}{code}, 'ERR_VALIDATION', 'is invalid');
like(encode_json($body->{error}), qr/defect_count/, 'and the field is named');
($status, $body) = $factoryd->call(POST => '/api/v1/judgment/execute', { workflow_id => 'wf-001' }, @operator);
is("$status $body->{error}{code}", '400 ERR_VALIDATION', 'a missing input');
($status, $body) = $factoryd->call(POST => '/api/v1/bi/execute-nl-query', {}, @operator);
is("$status $body->{error}{code}", '400 ERR_VALIDATION', 'a missing question');

($status, $body) = $factoryd->call(GET => '/api/v1/dashboard', undef, @operator);
is($status, 200, 'the dashboard');
is($body->{data}{recent_judgments}[0]{decision}, 'wf-001', 'shows the judgment');

($status, $body) = $factoryd->call(GET => '/health');
is($status, 200, 'health without a token');
like($body->{status}, qr/^(ok|degraded)$/, 'has a status');
is($body->{factoryd}{pool}{most}, 3, 'and tells of factoryd');
($status, $body) = $factoryd->call(GET => '/ready');
is($status, 200, 'ready');
($status, $body, $headers) = $factoryd->call(GET => '/metrics');
is($headers->{'content-type'}, 'text/plain; version=0.0.4; charset=utf-8', 'metrics are Prometheus text');
like($body, qr/^judgment_executions_total\{/m, "with the engine's series");
like($body, qr/^factoryd_database_up 1$/m, 'and our own');
like($body, qr/^factoryd_service_requests_total\{service="judgment",status="2xx"\} 1$/m, 'by service');
like($body, qr/^factoryd_service_active\{service="probes"\} 1$/m, 'this one included');
like($body, qr/^factoryd_service_duration_seconds_count\{service="judgment"\} [45]$/m, 'and how long they took');

# What alerts and panels ask for is there; promtool, where it is, finds nothing to complain about.
my %known = map { $_ => 1 } $body =~ /^# TYPE (\w+) /mg;
my $monitoring = "$ENV{FACTORY_ROOT}/monitoring";
for my $file ('rules.yml', 'dashboard.json')
{
	my %asked = map { s/_(bucket|sum|count)$//r => 1 } slurp_file("$monitoring/$file") =~ /\b((?:judgment|llm|bi|refresh|factory|factoryd)_[a-z0-9_]+)(?=[{\[ )<>"]|$)/mg;
	my @unknown = grep { !$known{$_} && !/^(?:judgment_log|refresh_run|llm_call)$/ } sort keys %asked;
	is("@unknown", '', "$file asks for nothing that is not there");
	cmp_ok(scalar(keys %asked), '>=', 10, 'but for much');
}
SKIP:
{
	my ($found) = run_command([ 'sh', '-c', 'command -v promtool' ]);
	skip 'promtool is not installed', 2 unless $found;
	my $text = "$PostgreSQL::Test::Utils::tmp_check/metrics.txt";
	append_to_file($text, $body);
	my ($out, $err) = run_command([ 'sh', '-c', "promtool check metrics < '$text' 2>&1" ]);
	is($out, '', 'promtool check metrics');
	($out) = run_command([ 'sh', '-c', "cd '$monitoring' && promtool check rules rules.yml 2>&1 && promtool test rules rules_test.yml 2>&1" ]);
	like($out, qr/SUCCESS: \d+ rules found.*Unit Testing.*SUCCESS/s, 'promtool test rules');
	unlike($out, qr/FAILED/, 'all of them');
}
($status, $body, $headers) = $factoryd->call(HEAD => '/health');
is("$status '$body'", "200 ''", 'HEAD has no body');
cmp_ok($headers->{'content-length'}, '>', 50, 'but its length');

# --- functions by name ------------------------------------------------------------

sub rpc_is
{
	my ($name, $arguments, $want, $what, @more) = @_;
	my ($got_status, $got) = $factoryd->call(POST => "/rpc/$name", $arguments, @more ? @more : @operator);
	my $json = JSON::PP->new->canonical->allow_nonref;
	is($got_status . ' ' . $json->encode($got), $want, $what);
}

rpc_is(add => { a => 41 }, '200 42', 'a scalar, a default');
rpc_is(add => { a => 40, b => 2 }, '200 42', 'both arguments');
rpc_is(numbers => { n => 3 }, '200 [1,2,3]', 'a set of scalars');
rpc_is(lines => { n => 2 }, '200 [{"line":"LINE-A","rank":1},{"line":"LINE-B","rank":2}]', 'a table');
rpc_is(lines => { n => 0 }, '200 []', 'no rows');
rpc_is(pair => {}, '200 {"one":1,"two":"zwei"}', 'one row');
rpc_is(whole => { any => [ 1, { thing => undef } ] }, '200 {"any":[1,{"thing":null}]}', 'the whole body');
rpc_is(total => { given => [ 1, 2, 3 ] }, '200 6', 'a variadic array');
rpc_is('Odd%20%22Name' => { ' key' => "'; DROP TABLE api.note; --" }, q(200 "'; DROP TABLE api.note; --"), 'odd names');
rpc_is(nothing => {}, '200 null', 'NULL');
rpc_is(nap => { seconds => 0 }, '204 ""', 'void');
($status, $body) = $factoryd->call(GET => '/rpc/add?a=2&b=%33', undef, @operator);
is("$status $body", '200 5', 'GET of an immutable function');
($status, $body, $headers) = $factoryd->call(GET => '/rpc/take_note?id=1', undef, @operator);
is("$status $headers->{allow}", '405 POST', 'GET of one that may write');

rpc_is(ad => { a => 1 }, '404 {"code":"PGRST202","details":"Searched the schemas api,factory for a function of that name with'
		. ' the arguments a.","hint":"Perhaps you meant to call the function api.add(a, [b])",'
		. '"message":"Could not find the function ad(a) in the schema cache"}', 'an unknown function and the nearest');
rpc_is(add => { b => 1 }, '404 {"code":"PGRST202","details":"Searched the schemas api,factory for a function of that name with'
		. ' the arguments b.","hint":"Perhaps you meant to call the function api.add(a, [b])",'
		. '"message":"Could not find the function add(b) in the schema cache"}', 'a missing argument');
($status, $body) = $factoryd->call(POST => '/rpc/add', { a => 'one' }, @operator);
is("$status $body->{code}", '400 22P02', 'a mistyped argument');
for my $case ([ 'P0001', 400 ], [ '23505', 409 ], [ '42501', 403 ], [ '53100', 503 ], [ 'XX001', 500 ],
	[ 'PF103', 404 ], [ 'PF403', 422 ], [ 'PF404', 504 ], [ 'PT429', 429 ])
{
	my ($state, $want) = @$case;
	($status, $body, $headers) = $factoryd->call(POST => '/rpc/fail', { state => $state }, @operator);
	is("$status $body->{code} $body->{details} $body->{hint}", "$want $state a detail a hint", "$state is $want");
	is($headers->{'retry-after'}, $want == 503 ? 1 : undef, 'Retry-After where it helps');
}

# Generated SQL runs as the reader inside the request's transaction.
rpc_is(run_sql => { sql => 'SELECT 40 + 2 AS answer' }, '200 [{"answer":42}]', 'guarded SQL');
($status, $body) = $factoryd->call(POST => '/rpc/run_sql', { sql => 'DROP TABLE api.note' }, @operator);
is("$status $body->{code}", '422 PF403', 'or does not');

# A constraint checked at commit fails the request: nothing is told before it is kept.
rpc_is(take_note => { id => 7 }, '200 7', 'a write');
($status, $body) = $factoryd->call(POST => '/rpc/take_note', { id => 7 }, @operator);
is("$status $body->{code}", '409 23505', 'a deferred constraint');
is($node->safe_psql('postgres', 'SELECT id, by FROM api.note'), '7|operator', 'what was answered is there, by its role');

# A function made after the start is found; one that is gone is missed.
$node->safe_psql('postgres', "CREATE FUNCTION api.late() RETURNS int LANGUAGE sql AS 'SELECT 1'");
$node->poll_query_until('postgres', 'SELECT pg_sleep(1.1) IS NOT NULL');
rpc_is(late => {}, '200 1', 'a late function');
$node->safe_psql('postgres', 'DROP FUNCTION api.late()');
($status, $body) = $factoryd->call(POST => '/rpc/late', {}, @operator);
like("$status $body->{code}", qr{^404 (42883|PGRST202)$}, 'a dropped one');

# --- who asks ------------------------------------------------------------------------

($status, $body) = $factoryd->call(POST => '/rpc/who', {}, @operator, 'X-Request-ID' => 'abc');
is($body->{role}, 'operator', "the token's role");
is($body->{claims}{sub}, 'kim', 'and claims');
is($body->{request}, 'abc', "the request's name");
is($body->{secret}, undef, 'but not the token itself');
is($body->{method}, 'POST', 'and its method');
($status, $body) = $factoryd->call(POST => '/rpc/who', {});
is($body->{role}, 'stranger', 'without a token the anonymous role');
is($body->{claims}{role}, 'stranger', 'as its claims say');
rpc_is(guarded => {}, '200 "inside"', 'the role may');
($status, $body) = $factoryd->call(POST => '/rpc/guarded', {});
is("$status $body->{code}", '401 42501', 'strangers are asked who they are');
($status, $body) = $factoryd->call(POST => '/api/v1/judgment/execute', { workflow_id => 'wf-001', input_data => {} });
is("$status $body->{error}{code}", '401 ERR_UNAUTHORIZED', 'here too');

for my $case (
	[ { role => 'operator', exp => time - 100 }, 401, 'PGRST303', 'expired' ],
	[ { role => 'operator', nbf => time + 100 }, 401, 'PGRST303', 'not yet valid' ],
	[ { role => 'operator', exp => 'soon' }, 401, 'PGRST301', 'exp is no number' ],
	[ { role => 'operator', _secret => 'x' x 32 }, 401, 'PGRST301', 'signed with another secret' ],
	[ { role => 'operator', _alg => 'none' }, 401, 'PGRST301', 'alg none' ],
	[ { role => 'operator', _alg => 'HS512' }, 401, 'PGRST301', 'another alg' ],
	[ { role => 7 }, 401, 'PGRST303', 'role is no string' ],
	[ { role => 'nobody' }, 401, '22023', 'a role that does not exist' ],
	[ { role => 'other' }, 403, '42501', 'a role that web may not take' ],
	[ { role => 'none' }, 401, 'PGRST302', 'role none' ],
	[ { role => 'mighty' }, 403, '42501', 'a superuser' ])
{
	my ($claims, $want, $code, $what) = @$case;
	($status, $body, $headers) = $factoryd->call(POST => '/rpc/who', {}, Authorization => 'Bearer ' . Factoryd::token(%$claims));
	is("$status $body->{code}", "$want $code", $what);
	is($headers->{'www-authenticate'}, $want == 401 ? 'Bearer' : undef, 'and asks for a token where that helps');
}
my @pieces = split /\./, Factoryd::token(role => 'stranger');
my (undef, $claims) = split /\./, Factoryd::token(role => 'operator');
my $tampered = "$pieces[0].$claims.$pieces[2]";
for my $token ('', 'a.b', 'a.b.c', $tampered, Factoryd::token(role => 'operator') . 'A', 'x' x 9000)
{
	($status, $body) = $factoryd->call(POST => '/rpc/who', {}, Authorization => "Bearer $token");
	is("$status $body->{code}", '401 PGRST301', 'no token: ' . substr($token, 0, 20));
}
($status, $body) = $factoryd->call(POST => '/api/v1/judgment/execute', {},
	Authorization => 'Bearer ' . Factoryd::token(role => 'operator', exp => 1));
is("$status $body->{error}{code}", '401 ERR_TOKEN_EXPIRED', 'an expired token on /api');

# --- bad input ------------------------------------------------------------------------

for my $case (
	[ 'nonsense', 400, 'PGRST102', 'no JSON' ],
	[ '[1]', 400, 'PGRST102', 'no object' ],
	[ '{"a":1} x', 400, 'PGRST102', 'something behind' ],
	[ "{\"a\":\"\xff\"}", 400, 'PGRST102', 'no UTF-8' ],
	[ '{"a":"\u0000"}', 400, 'PGRST102', 'a zero character' ],
	[ '{"a":' . '[' x 100000 . ']' x 100000 . '}', 400, 'PGRST102', 'nested deeply' ],
	[ '{"a":"' . 'x' x 2_200_000 . '"}', 413, 'ERR_TOO_LARGE', 'too long' ])
{
	my ($text, $want, $code, $what) = @$case;
	($status, $body) = $factoryd->call(POST => '/rpc/whole', $text, @operator);
	is("$status $body->{code}", "$want $code", $what);
}
($status, $body) = $factoryd->call(POST => '/api/v1/judgment/execute', 'nonsense', @operator);
is("$status $body->{error}{code}", '400 ERR_INVALID_JSON', 'no JSON on /api');
($status, $body) = $factoryd->call(POST => '/rpc/whole', { text => '한' x 350_000 }, @operator);
is($status, 200, 'a megabyte of JSON');
is(length $body->{text}, 350_000, 'comes back whole');
($status, $body) = $factoryd->call(POST => '/rpc/whole', 'a=1', @operator, 'content-type' => 'multipart/form-data');
is("$status $body->{code}", '415 PGRST107', 'a form of another kind');
($status) = $factoryd->call(GET => '/nowhere');
is($status, 404, 'an unknown path');
($status, $body) = $factoryd->call(GET => '/api/v2/nowhere');
is("$status $body->{error}{code}", '404 ERR_NOT_FOUND', 'in the envelope');
($status, $body, $headers) = $factoryd->call(DELETE => '/api/v1/judgment/execute');
is("$status $headers->{allow}", '405 POST', 'a wrong method');
($status, $body, $headers) = $factoryd->call(OPTIONS => '/note', undef, Origin => 'https://plant.example', 'Access-Control-Request-Method' => 'PATCH');
is("$status $headers->{allow}", '200 GET, HEAD, POST, PATCH, PUT, DELETE', 'what a table takes');
is($headers->{'access-control-allow-origin'} . ' ' . $headers->{'access-control-allow-methods'}, 'https://plant.example GET, HEAD, POST, PATCH, PUT, DELETE', 'and that a page may');
($status, $body, $headers) = $factoryd->call(GET => '/ready', undef, Origin => 'https://plant.example');
is("$headers->{'access-control-allow-origin'} $headers->{vary}", 'https://plant.example Origin', 'and read the answer');
($status, $body, $headers) = $factoryd->call(GET => '/ready', undef, Origin => 'https://plant.example.evil');
is($headers->{'access-control-allow-origin'}, undef, 'but no other');
($status, $body, $headers) = $factoryd->call(OPTIONS => '/rpc/add');
is("$status $headers->{allow}", '200 GET, HEAD, POST', 'what a function takes');

my $host = "Host: x\r\n";
for my $case (
	[ "GET /ready HTTP/1.1\r\n\r\n", 400, 'no Host' ],
	[ "GET /ready HTTP/1.1\r\n${host}$host\r\n", 400, 'two Hosts' ],
	[ "GET /ready HTTP/2.0\r\n$host\r\n", 505, 'another HTTP' ],
	[ "GET /ready\r\n\r\n", 400, 'HTTP/0.9' ],
	[ "GET /ready HTTP/1.1\n$host\n", 400, 'bare line feeds' ],
	[ "GET /ready HTTP/1.1\r\nHost : x\r\n\r\n", 400, 'a blank before the colon' ],
	[ "GET /ready HTTP/1.1\r\n$host folded\r\n\r\n", 400, 'a folded header' ],
	[ "POST /rpc/who HTTP/1.1\r\n${host}Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}", 400, 'two lengths' ],
	[ "POST /rpc/who HTTP/1.1\r\n${host}Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}", 400, 'one length twice' ],
	[ "POST /rpc/who HTTP/1.1\r\n${host}Content-Length: +2\r\n\r\n{}", 400, 'a length with a sign' ],
	[ "POST /rpc/who HTTP/1.1\r\n${host}Transfer-Encoding: gzip, chunked\r\n\r\n", 501, 'another encoding' ],
	[ "POST /rpc/who HTTP/1.1\r\n${host}Transfer-Encoding: chunked\r\n\r\n2\r\n{}x\r\n0\r\n\r\n", 400, 'a chunk too long' ],
	[ "POST /rpc/who HTTP/1.1\r\n${host}Transfer-Encoding: chunked\r\n\r\nfffffff\r\n", 413, 'a chunk over the limit' ],
	[ "GET /" . 'x' x 20000 . " HTTP/1.1\r\n$host\r\n", 431, 'a long head' ],
	[ "GET /ready HTTP/1.1\r\n$host" . "A: b\r\n" x 200 . "\r\n", 431, 'many headers' ],
	[ "GET /rea", 408, 'half a request' ],
	[ "POST /rpc/who HTTP/1.1\r\n${host}Content-Length: 20\r\n\r\n{", 408, 'half a body' ])
{
	my ($bytes, $want, $what) = @$case;
	my ($first) = split /\r\n/, $factoryd->raw($bytes);
	like($first // '', qr{^HTTP/1\.1 $want }, $what);
}
my $reply = $factoryd->raw("POST /rpc/add HTTP/1.1\r\n${host}Transfer-Encoding: chunked\r\n\r\n3;x=y\r\n{\"a\r\n5\r\n\":41}\r\n0\r\nT: t\r\n\r\n"
	. "GET /ready HTTP/1.0\r\n\r\n");
like($reply, qr{^HTTP/1\.1 200 .*\r\n\r\n42HTTP/1\.1 200 .*"ready"}s, 'chunks, and two requests at once, answered in order');
$reply = $factoryd->raw("POST /rpc/add HTTP/1.1\r\n${host}Expect: 100-continue\r\nConnection: close\r\nContent-Length: 8\r\n\r\n");
like($reply, qr{^HTTP/1\.1 100 Continue\r\n\r\nHTTP/1\.1 408}, '100-continue');

# --- the documentation's examples ---------------------------------------------------------

# The plant without its facts: a question has an answer of no rows.
my $root = $ENV{FACTORY_ROOT};
my @files = map { ('-f', "$root/demo/$_.sql") } qw(schema views);
$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('postgres'), @files, '-o', '/dev/null' ],
	'the demo plant is there');
$node->safe_psql('postgres', join ';', 'ALTER TABLE api.note DROP CONSTRAINT note_pkey, ADD PRIMARY KEY (id)', 'GRANT SELECT ON ALL TABLES IN SCHEMA public TO factory_reader',
	(map { "REFRESH MATERIALIZED VIEW $_" } qw(mv_oee_daily mv_defect_trend_hourly mv_line_performance_daily mv_inventory_coverage_daily)),
	'SELECT factory.load_catalog($$' . slurp_file("$root/demo/catalog.json") . '$$)',
	q(SELECT factory.create_decision('defect_rate', definition) FROM factory.decision_definition WHERE decision = 'wf-001'));
my @examples;
my $page = slurp_file("$root/docs/http.md");
push @examples, [ $1, $2, $3 // 'null' ] while $page =~ /^```sh\n(curl .*?)(?:   # (\d+))?\n```\n(?:```json\n(.*?)^```$)?/msg;
cmp_ok(scalar(@examples), '>=', 30, 'docs/http.md has examples');

# What is documented and not there: each member, at any depth.
sub lacks
{
	my ($want, $have, $where) = @_;
	return () unless ref $want eq 'HASH';
	return "$where is no object" unless ref $have eq 'HASH';
	return map { exists $have->{$_} ? lacks($want->{$_}, $have->{$_}, "$where.$_") : "$where.$_" } sort keys %$want;
}
($status, $body) = $factoryd->call(POST => '/api/v1/judgment/execute', { workflow_id => 'defect_rate', input_data => { defect_count => 9, production_count => 100 } }, @operator);
local $ENV{ID} = $body->{data}{execution_id};
local $ENV{TOKEN} = 'Bearer ' . Factoryd::token(role => 'everybody');
foreach my $example (@examples)
{
	my ($command, $want, $answer) = @$example;
	$command =~ s/127\.0\.0\.1:8080/127.0.0.1:$factoryd->{port}/g;
	$command =~ s/^curl/curl --noproxy '*' -w '\\n%{http_code}' -H "Authorization: \$TOKEN"/;
	my ($out) = run_command([ 'sh', '-c', $command ]);
	my ($text, $code) = $out =~ /^(.*?)\n?(\d+)$/s;
	my ($title) = $example->[0] =~ m{8080(/[^ '"]*)};
	is($code, $want // 200, "example $title") or diag($text);
	next if $answer eq 'null';
	my $decoded = JSON::PP->new->utf8->allow_nonref->decode($text);
	my $documented = JSON::PP->new->utf8->allow_nonref->decode($answer);
	($decoded, $documented) = ($decoded->[0], $documented->[0]) if ref $documented eq 'ARRAY';
	is(join(', ', lacks($documented, $decoded, '')), '', 'has what it shows') or diag($text);
}
($status, $body) = $factoryd->call(POST => '/api/v1/bi/execute-nl-query', Encode::encode('UTF-8', '{"query_text": "지난 7일간 LINE-A 불량률"}'), @operator);
is($status, 200, 'a question in Korean');
like($body->{data}{sql}, qr/line_code = 'LINE-A'/, 'becomes SQL');
($status, $body) = $factoryd->call(GET => '/api/v1/dashboard', undef, @operator);
cmp_ok(scalar(grep { $_->{answer} } @{ $body->{data}{widgets} }), '>=', 3, 'widgets of the dashboard are answered');

# --- too much, too slow -----------------------------------------------------------------

sub naps { $node->safe_psql('postgres', q(SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%nap%' AND usename = 'web')) }

sub nap_request
{
	my ($seconds) = @_;
	my $socket = $factoryd->connect;
	my $text = "{\"seconds\":$seconds}";
	print $socket "POST /rpc/nap HTTP/1.1\r\n${host}Authorization: $operator[1]\r\nContent-Length: "
		. length($text) . "\r\nContent-Type: application/json\r\n\r\n$text";
	$socket->flush;
	return $socket;
}

# All connections asleep. Clients go to the loops in turn, and one has two connections, the
# other one: where they came the other way round, or a busy machine looked late, anew.
sub sleepers
{
	for (1 .. 50)
	{
		my @asleep = map { nap_request(60) } 1 .. 3;
		for (1 .. 3) { return @asleep if naps() == 3 }
		close $_ for @asleep;
	}
	die 'the pool does not fill';
}

my @sleepers = sleepers();
($status, $body, $headers) = $factoryd->call(POST => '/rpc/add', { a => 1 }, @operator);
is("$status $body->{code} $headers->{'retry-after'}", '503 53300 1', 'a full pool makes wait, then says so');
close $_ for @sleepers;
$node->poll_query_until('postgres', q(SELECT count(*) = 0 FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%nap%' AND usename = 'web'));
is(naps(), 0, 'clients that leave take their statements along');
rpc_is(add => { a => 1 }, '200 2', 'and the pool is free again');
($status, $body) = $factoryd->call(POST => '/rpc/nap', { seconds => 60 }, @operator);
is("$status $body->{code}", '504 57014', 'a statement that takes too long');
rpc_is(add => { a => 2 }, '200 3', 'does not hurt the next');

# --- the database goes and comes -----------------------------------------------------------

my $cut = nap_request(60);
$node->poll_query_until('postgres', q(SELECT count(*) = 1 FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%nap%' AND usename = 'web'));
$node->stop('fast');
my $first = '';
$cut->sysread($first, 65536);
like($first, qr{^HTTP/1\.1 503 .*not known}s, 'a statement cut off: nobody knows what became of it');
my $started = time;
($status, $body, $headers) = $factoryd->call(POST => '/rpc/add', { a => 1 }, @operator);
is("$status $body->{code} $headers->{'retry-after'}", '503 08001 1', 'no database');
cmp_ok(time - $started, '<=', 1, 'is told at once');
($status, $body) = $factoryd->call(GET => '/health');
is("$status $body->{status} $body->{error}{code}", '503 down 08001', 'health says so');
($status, $body) = $factoryd->call(GET => '/metrics');
like($body, qr/^factoryd_database_up 0$/m, 'and metrics');
$node->start;
my ($answer, $in_a_row) = (0, 0);
for (1 .. 400)
{
	($answer) = $factoryd->call(GET => '/ready');
	$in_a_row = $answer == 200 ? $in_a_row + 1 : 0;
	last if $in_a_row == 8;    # each loop has its own connections
	select undef, undef, undef, 0.025;
}
is($answer, 200, 'it comes back by itself');
rpc_is(add => { a => 3 }, '200 4', 'and serves');

# --- the end --------------------------------------------------------------------------------

my $last = nap_request(1.7);
$node->poll_query_until('postgres', q(SELECT count(*) = 1 FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%nap%' AND usename = 'web'));
kill 'TERM', $factoryd->{pid};
my $end = '';
$last->sysread($end, 65536);
like($end, qr{^HTTP/1\.1 204 .*Connection: close}s, 'a running request is finished');
is($factoryd->stop, 0, 'and factoryd ends well');
my $log = $factoryd->log;
unlike($log, qr/\Q$Factoryd::SECRET\E|DROP TABLE|eyJ/, 'its log keeps secrets');
like($log, qr/connected to web\@/, 'and tells where it was connected to');
ok($node->poll_query_until('postgres', q(SELECT count(*) = 0 FROM pg_stat_activity WHERE usename = 'web')), 'no connection stays');

# --- what is refused at the start -------------------------------------------------------------

my ($exit, $said);
for my $case (
	[ { FACTORYD_ANON_ROLE => 'mighty' }, qr/role "mighty" of FACTORYD_ANON_ROLE is a superuser.*HINT/s, 'a superuser for strangers' ],
	[ { FACTORYD_ANON_ROLE => 'nobody' }, qr/role "nobody" of FACTORYD_ANON_ROLE does not exist.*HINT/s, 'a role that is not there' ],
	[ { FACTORYD_ANON_ROLE => 'other' }, qr/not a member of role "other".*HINT/s, 'a role that web may not take' ],
	[ { FACTORYD_JWT_SECRET => 'short' }, qr/FACTORYD_JWT_SECRET has 5 bytes.*HINT/s, 'a short secret' ],
	[ { FACTORYD_POOL => '0' }, qr/outside its limits.*The least is 1/s, 'no pool' ],
	[ { FACTORYD_MAX_BODY => '10 apples' }, qr/invalid value "10 apples".*kB or MB/s, 'odd units' ],
	[ { FACTORYD_LISTEN => 'here' }, qr/FACTORYD_LISTEN "here" is not an address and a port/, 'nowhere to listen' ],
	[ { FACTORYD_DATABASE => 'postgresql://web:pass%word@/x' }, qr/FACTORYD_DATABASE is not a connection string/, 'no connection string' ])
{
	my ($settings, $want, $what) = @$case;
	($exit, $said) = Factoryd->start_and_fail(FACTORYD_DATABASE => $database, %$settings);
	is($exit, 1, "$what ends it");
	like($said, $want, 'with a word');
	unlike($said, qr/pass%word/, 'not with the password');
}

# Without an anonymous role there are no strangers; probes run as the connection's own user.
# This one goes by a name, which is looked up beside the loop.
my $closed = Factoryd->new(FACTORYD_DATABASE => 'postgresql://web@localhost:' . $node->port . '/postgres');
($status, $body) = $closed->call(POST => '/rpc/ready', {});
is("$status $body->{code}", '401 PGRST302', 'no token, no service');
($status, $body) = $closed->call(GET => '/health');
is("$status $body->{error}{code}", '503 42501', 'a user without rights cannot tell its health');
$node->safe_psql('postgres', 'ALTER ROLE web INHERIT; GRANT factory_monitor TO web');
($status, $body) = $closed->call(GET => '/health');
is($status, 200, 'a monitor can');

like($closed->log, qr/connected to web\@localhost:/, 'over the network');
is($closed->stop('INT'), 0, 'an interrupt ends it as well');

# Little room: one connection, no queue, two clients.
my $narrow = Factoryd->new(FACTORYD_DATABASE => $database, FACTORYD_ANON_ROLE => 'operator', FACTORYD_SCHEMAS => 'api',
	FACTORYD_POOL => 1, FACTORYD_POOL_OVERFLOW => 0, FACTORYD_QUEUE => 0, FACTORYD_MAX_CONNECTIONS => 2, FACTORYD_IDLE_TIMEOUT => '2s',
	FACTORYD_CHANNEL => '', FACTORYD_LOOK_INTERVAL => 0);    # nobody else uses that connection
($status, $body) = $narrow->call(POST => '/rpc/add', { a => 1 });
is("$status $body", '200 2', 'one at a time is served');
{
	local $factoryd = $narrow;
	my $sleeper = nap_request(60);
	$node->poll_query_until('postgres', q(SELECT count(*) = 1 FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%nap%' AND usename = 'web'));
	($status, $body) = $narrow->call(POST => '/rpc/add', { a => 1 });
	is("$status $body->{message}", '503 too many requests are waiting for the database', 'a second is refused at once');
	my $idle = $narrow->connect;
	my $third = $narrow->raw("GET /ready HTTP/1.1\r\n${host}\r\n");
	like($third, qr{^HTTP/1\.1 503 .*FACTORYD_MAX_CONNECTIONS}s, 'a third client too');
	my $rest;
	is($idle->sysread($rest, 1), 0, 'one that says nothing is sent away');
}

# A file of settings; the environment goes before it.
my $file = "$PostgreSQL::Test::Utils::tmp_check/factoryd.conf";
append_to_file($file, "# ours\nFACTORYD_POOL = 2\nFACTORYD_SCHEMA = api\n");
my ($out, $err) = run_command([ "$ENV{FACTORY_ROOT}/build/factoryd", '-c', $file ]);
like($err, qr/unknown setting "FACTORYD_SCHEMA" on line 3.*FACTORYD_SCHEMAS/s, 'a misspelt setting');

done_testing();
