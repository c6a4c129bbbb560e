# Many callers on one connection: what one leaves behind, the next does not find.
use strict;
use warnings;
use Encode qw(decode);
use Factoryd;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('session');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'pg_factory'\n");
$node->start;
my $superuser = $node->safe_psql('postgres', 'SELECT current_user');
$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION pg_factory;
CREATE ROLE web LOGIN NOINHERIT;
CREATE ROLE visitor NOLOGIN IN ROLE factory_monitor;
CREATE ROLE worker NOLOGIN;
CREATE ROLE chief NOLOGIN;
GRANT visitor, worker, chief TO web;
GRANT SET ON PARAMETER factory.tenant TO web;
SELECT factory.create_tenant('acme');
CREATE SCHEMA api;
CREATE SCHEMA trap;
GRANT USAGE ON SCHEMA api, trap TO PUBLIC;
CREATE TABLE api.note (id int PRIMARY KEY);
GRANT ALL ON api.note TO visitor, worker;
CREATE FUNCTION trap.note_count() RETURNS bigint LANGUAGE sql STABLE AS 'SELECT -1::bigint';
CREATE FUNCTION api.note_count() RETURNS bigint LANGUAGE sql STABLE AS 'SELECT count(*) FROM api.note';

-- All that a request's transaction begins with, as a function of the caller's sees it.
CREATE FUNCTION api.seen() RETURNS json LANGUAGE sql STABLE AS $$
	SELECT json_build_object('user', current_user, 'role', current_setting('role'),
		'claims', current_setting('request.jwt.claims')::json -> 'sub', 'method', current_setting('request.method'),
		'path', current_setting('request.path'), 'agent', current_setting('request.headers')::json -> 'x-agent',
		'search_path', current_setting('search_path'), 'timeout', current_setting('statement_timeout'),
		'tenant', factory.current_tenant(), 'read_only', current_setting('transaction_read_only'),
		'pid', pg_backend_pid()) $$;
CREATE FUNCTION api.plain() RETURNS json LANGUAGE sql STABLE AS $$
	SELECT json_build_object('user', current_user, 'claims', current_setting('request.jwt.claims')::json -> 'sub') $$;
CREATE FUNCTION api.written() RETURNS json LANGUAGE sql VOLATILE AS 'SELECT api.seen()';

-- What a hostile one can do to the session that it runs in.
CREATE FUNCTION api.spoil() RETURNS text LANGUAGE plpgsql STABLE AS $$
BEGIN
	PERFORM set_config('role', 'none', false);
	PERFORM set_config('factory.tenant', 'acme', false);
	PERFORM set_config('role', 'chief', false);
	PERFORM set_config('search_path', 'trap, pg_catalog', false);
	PERFORM set_config('statement_timeout', '1', false);
	PERFORM set_config('request.jwt.claims', '{"sub": "forged"}', false);
	PERFORM set_config('request.method', 'FORGED', false);
	PERFORM set_config('request.path', '/forged', false);
	PERFORM set_config('request.headers', '{"x-agent": "forged"}', false);
	RETURN current_user;
END $$;
CREATE FUNCTION api.spoil_and_fail() RETURNS text LANGUAGE plpgsql STABLE AS $$
BEGIN
	PERFORM api.spoil();
	RAISE EXCEPTION 'on purpose';
END $$;
SQL

my %settings = (FACTORYD_DATABASE => 'postgresql:///postgres?host=' . $node->host . '&port=' . $node->port . '&user=web',
	FACTORYD_SCHEMAS => 'api', FACTORYD_ANON_ROLE => 'visitor', FACTORYD_POOL => 1, FACTORYD_POOL_OVERFLOW => 0, FACTORYD_LOOPS => 1);
my $factoryd = Factoryd->new(%settings);
my ($status, $body, $pid);

sub ask
{
	my ($function, $role, %claims) = @_;
	my @token = $role ? (Authorization => 'Bearer ' . Factoryd::token(role => $role, %claims)) : ();
	($status, $body) = $factoryd->call(POST => "/rpc/$function", {}, 'X-Agent' => $role // 'nobody', @token);
	return $body;
}

# What a request must see, whoever was there before.
sub sees
{
	my ($what, $function, $role, %claims) = @_;
	my $seen = ask($function, $role, %claims);
	my $tenant = $claims{tenant_id} // 'default';
	my $name = $role // 'visitor';
	my $id = delete $seen->{pid};
	is_deeply($seen, { user => $name, role => $name, claims => $claims{sub}, method => 'POST', path => "/rpc/$function",
			agent => $role // 'nobody', search_path => '"api", "public"', timeout => '1min', tenant => $tenant,
			read_only => $function eq 'seen' ? 'on' : 'off' }, $what);
	$pid //= $id;
	is($id, $pid, '... on the one connection') if defined $id;
	return;
}

# --- one after another -------------------------------------------------------------------

sees('a stranger', 'seen', undef);
sees('another role', 'seen', 'worker', sub => 'w');
sees('the same again', 'seen', 'worker', sub => 'w');
sees('the same role for somebody else', 'seen', 'worker', sub => 'x');
sees('one who writes', 'written', 'worker', sub => 'x');
sees('a tenant', 'seen', 'worker', sub => 'x', tenant_id => 'acme');
sees('no tenant any more', 'seen', 'worker', sub => 'x');
sees('a tenant for one who writes', 'written', 'visitor', tenant_id => 'acme');
sees('a stranger again', 'written', undef);
is(ask('seen', 'nobody_knows')->{code}, '22023', 'a role that is none');
sees('does not matter to the next', 'seen', 'worker');
is(ask('seen', $superuser)->{code}, '42501', 'a role that web may not have');
sees('nor does that', 'seen', undef);

# --- one who spoils ------------------------------------------------------------------------

for my $next ([ 'seen', undef ], [ 'written', undef ], [ 'seen', 'worker', sub => 'w' ], [ 'seen', 'chief' ],
	[ 'written', 'worker', tenant_id => 'acme' ])
{
	my ($function, @who) = @$next;
	is(ask('spoil'), 'chief', 'a function of the caller before takes what it can');
	sees('of which nothing is left for ' . ($who[0] // 'a stranger'), $function, @who);
	is(ask('spoil_and_fail')->{message}, 'on purpose', 'or takes it, and fails');
	sees('which leaves as little', $function, @who);
}
ask('spoil');
is(ask('note_count'), 0, 'a path that was laid is not gone down');
ask('spoil');
is(($factoryd->call(GET => '/note'))[0], 200, "a table's rows");
ask('spoil');
is(($factoryd->call(POST => '/note', { id => 1 }))[0], 201, 'and writing, as well');
ask('spoil');
($status, $body) = $factoryd->call(GET => '/health');
is("$status $body->{status}", '200 ok', 'and a probe');

# --- one who spoils, and others close behind -------------------------------------------------

ask('seen', 'worker') for 1 .. 20;
my $socket = $factoryd->connect;
my $other = $factoryd->connect;
my $request = sub { my ($name, $agent) = @_; "POST /rpc/$name HTTP/1.1\r\nHost: x\r\nX-Agent: $agent\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}" };
for my $connection ($socket, $other) { print $connection join '', map { ($request->('spoil', 'bad'), $request->('seen', 'good')) } 1 .. 10; $connection->flush }
for my $connection ($socket, $other)
{
	my $said = '';
	while ((() = $said =~ /"chief"|"agent" : "good"/g) < 20 && $connection->sysread(my $more, 65536)) { $said .= $more }
	is((() = $said =~ /"user" : "visitor", "role" : "visitor".*?"path" : "\/rpc\/seen", "agent" : "good", "search_path" : "\\"api\\", \\"public\\""/g), 10,
		'ten of them are each their own, sent behind one another');
}

# --- rights that change ---------------------------------------------------------------------

sees('a role', 'seen', 'worker');
$node->safe_psql('postgres', 'REVOKE worker FROM web');
is(ask('seen', 'worker')->{code}, '42501', 'is taken away at once, though the connection has it');
$node->safe_psql('postgres', 'GRANT worker TO web');
sees('and given back', 'seen', 'worker');
$node->safe_psql('postgres', 'ALTER ROLE worker RENAME TO labourer');
is(ask('seen', 'worker')->{code}, '22023', 'a name that is none any more');
$node->safe_psql('postgres', 'CREATE ROLE worker; GRANT EXECUTE ON FUNCTION api.seen() TO worker');
is(ask('seen', 'worker')->{code}, '42501', 'nor is it who has it now');
$node->safe_psql('postgres', 'GRANT worker TO web');
sees('unless that one may come, too', 'seen', 'worker');
$node->safe_psql('postgres', 'DROP OWNED BY worker; DROP ROLE worker');
is(ask('seen', 'worker')->{code}, '22023', 'a role that is gone while the connection has it');
sees('which the next does not mind', 'seen', undef);

# --- a database without the extension's help ----------------------------------------------

is(ask('plain')->{user}, 'visitor', 'with it');
$node->safe_psql('postgres', 'DROP EXTENSION pg_factory CASCADE');
is(ask('plain')->{user}, 'visitor', 'without it');
is(ask('plain', 'chief', sub => 'c')->{user} . ' ' . $body->{claims}, 'chief c', 'as whoever asks');
is(ask('plain')->{user}, 'visitor', 'one after another');
$node->safe_psql('postgres', 'INSERT INTO api.note VALUES (7)');
is(($factoryd->call(DELETE => '/note?id=eq.7'))[0], 204, 'and writing, once');
$node->safe_psql('postgres', 'CREATE EXTENSION pg_factory');
is(ask('plain')->{user}, 'visitor', 'and with it again');

is($factoryd->stop, 0, 'it ends well');

# --- a database of another encoding, in which texts have other lengths -------------------------

$node->safe_psql('postgres', q{CREATE DATABASE korean ENCODING 'EUC_KR' LOCALE 'C' TEMPLATE template0});
$node->safe_psql('korean', q{CREATE EXTENSION pg_factory; CREATE SCHEMA api; GRANT USAGE ON SCHEMA api TO PUBLIC;
	CREATE FUNCTION api.claims() RETURNS text LANGUAGE sql STABLE AS $$ SELECT current_setting('request.jwt.claims')::json ->> 'sub' $$});
$factoryd = Factoryd->new(%settings, FACTORYD_DATABASE => $settings{FACTORYD_DATABASE} =~ s{/postgres\?}{/korean?}r);
my $name = decode('UTF-8', "\xea\xb9\x80\xec\xb2\xa0\xec\x88\x98");
is(ask('claims', 'visitor', sub => $name), $name, 'knows a caller by a Korean name');
is(ask('claims', 'visitor', sub => 'Kim'), 'Kim', 'and the next one by another');
is($factoryd->stop, 0, 'it ends well there, too');
$node->stop;
done_testing();
