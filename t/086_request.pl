# A request that comes as a parameter of the statement it is for: what it does, and what
# nobody can do with it.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Protocol;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('request');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'pg_factory'\n");
$node->start;
$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION pg_factory;
CREATE ROLE web LOGIN NOINHERIT;
CREATE ROLE one NOLOGIN;
CREATE ROLE two NOLOGIN;
CREATE ROLE boss NOLOGIN;
GRANT one, two TO web;
GRANT SET ON PARAMETER factory.tenant TO web;
SELECT factory.create_tenant('north');
CREATE TABLE note (owner name);
INSERT INTO note VALUES ('one'), ('two'), ('boss');
ALTER TABLE note ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON note FOR SELECT USING (owner = current_user);
GRANT SELECT ON note TO one, two;
CREATE FUNCTION seen() RETURNS text LANGUAGE sql STABLE AS $$
	SELECT rtrim(concat_ws(' ', current_user, current_setting('request.jwt.claims'), current_setting('request.path'),
		current_setting('statement_timeout'), current_setting('transaction_read_only'), current_setting('factory.tenant'))) $$;
CREATE FUNCTION slow() RETURNS text LANGUAGE sql AS $$ SELECT pg_sleep(60)::text $$;
SQL
my $type = $node->safe_psql('postgres', q{SELECT 'factory.request'::regtype::oid});

sub fields { return join '', map { length($_) . ":$_," } @_ }
sub request { my ($role, %as) = @_; return fields('public', $as{timeout} // 60000, $as{read_only} // 'f', $as{claims} // '{}', 'GET', '/x', '{}', $role, $as{tenant} // ()) }

my $session = Protocol->new($node, 'web');
my %said;

sub rows_are { my ($what, $want, @run) = @_; %said = $session->run(@run); is(join(',', @{ $said{rows} }) . ($said{message} // ''), $want, $what); return }
sub is_refused { my ($what, $code, @run) = @_; %said = $session->run(@run); is($said{code} // 'nothing', $code, $what); return }

$session->prepare('seen', 'SELECT seen()', $type);
$session->prepare('notes', 'SELECT owner FROM note', $type);
$session->prepare('slow', 'SELECT slow()', $type);
$session->prepare('write', "INSERT INTO note VALUES ('x')", $type);

# --- what it does ------------------------------------------------------------------------

rows_are('a statement is its caller\'s', 'one {"a": 1} /x 1min off', 'seen', 1, request('one', claims => '{"a": 1}'));
rows_are('with all that it said', 'two {} /x 9s on north', 'seen', 1, request('two', timeout => 9000, read_only => 't', tenant => 'north'));
rows_are('tenant and reading only end with the transaction', 'one {} /x 1min off', 'seen', 1, request('one'));
rows_are('without one, nothing changes', 'one {} /x 1min off', 'seen', 1, undef);
for my $role (qw(one two one one two))
{
	rows_are("rows are $role\'s, by policies, in one plan", $role, 'notes', 1, request($role));
}
is_refused('a right that the role before had', '42501', 'notes', 1, request('none'));
is_refused('who only reads does not write', '25006', 'write', 1, request('one', read_only => 't'));
is_refused('the limit is that of this very statement', '57014', 'slow', 1, request('one', timeout => 100));
is($said{type}, undef, '... which is not the request\'s fault');
$session->query("SET statement_timeout = '50ms'");
$session->prepare('nap', 'SELECT pg_sleep(0.2)', $type);
rows_are('also where it is longer than the one before', '', 'nap', 1, request('one'));

# --- who may, and what else is refused --------------------------------------------------------

sub state_is { my ($what, $want) = @_; %said = $session->query('SELECT current_user'); is($said{rows}[0], $want, $what); return }

is_refused('a role that is not the session\'s', '42501', 'seen', 1, request('boss'));
is("$said{schema}.$said{type}", 'factory.request', '... the error says that it was the request');
state_is('and it is the one before', 'one');
is_refused('a role that is none', '22023', 'seen', 1, request('nobody'));
is_refused('no request', '22023', 'seen', 1, '');
is_refused('half of one', '22023', 'seen', 1, substr request('two'), 0, 20);
is_refused('more than one', '22023', 'seen', 1, request('two') . request('two'));
is_refused('a length that lies', '22023', 'seen', 1, '99999999999999999999:public,');
is_refused('a zero byte in a field', '22023', 'seen', 1, request('two', claims => "{}\0{}"));
is_refused('bytes that are no UTF-8', '22021', 'seen', 1, request('two', claims => "\xff"));
is_refused('a request written as text', '0A000', 'seen', 0, request('two'));
state_is('none of which has changed who asks', 'one');
$session->prepare('literal', "SELECT '" . request('two') . "'::factory.request", 25);
is_refused('nor does a literal make one', '26000', 'literal', 0, '');
state_is('...', 'one');

$session->query('RESET role');
$node->safe_psql('postgres', 'REVOKE EXECUTE ON FUNCTION factory.request_receive(internal) FROM PUBLIC');
is_refused('one who may not', '42501', 'seen', 1, request('two'));
$node->safe_psql('postgres', 'GRANT EXECUTE ON FUNCTION factory.request_receive(internal) TO web');
rows_are('and who may', 'two {} /x 1min off', 'seen', 1, request('two'));
$node->safe_psql('postgres', 'REVOKE two FROM web');
is_refused('a role that was taken away while the session has it', '42501', 'seen', 1, request('two'));
$node->safe_psql('postgres', 'REVOKE SET ON PARAMETER factory.tenant FROM web');
is_refused('a tenant that is not the session\'s to name', '42501', 'seen', 1, request('one', tenant => 'north'));

# --- nothing in the database can say it ---------------------------------------------------------

my ($code, $out, $err) = $node->psql('postgres', 'SET ROLE one; CREATE TABLE pg_temp.t (r factory.request)');
like($err, qr/permission denied for type factory.request/, 'a column, which COPY could fill');
$node->stop;
done_testing();
