# factoryd: forms that requests and answers may have, time zones, and what is described to whom.
use strict;
use warnings;
use Factoryd;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('forms');
$node->init;
$node->append_conf('postgresql.conf', "timezone = 'UTC'\n");
$node->start;
$node->safe_psql('postgres', <<'SQL');
CREATE ROLE web LOGIN NOINHERIT;
CREATE ROLE clerk NOLOGIN;
CREATE ROLE guest NOLOGIN;
GRANT clerk, guest TO web;
CREATE SCHEMA api;
CREATE SCHEMA closed;
GRANT USAGE ON SCHEMA api TO PUBLIC;
GRANT USAGE ON SCHEMA closed TO clerk;
CREATE TABLE api.note (id int PRIMARY KEY, by text, tags text[], at timestamptz DEFAULT '2026-01-01 00:00+00');
CREATE TABLE api.plan (id int PRIMARY KEY, secret text);
CREATE TABLE closed.box (id int);
GRANT ALL ON api.note, closed.box TO clerk;
GRANT SELECT (id), UPDATE (id) ON api.plan TO guest;
CREATE FUNCTION api.add(a int, b int DEFAULT 1) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT a + b';
CREATE FUNCTION api.words(VARIADIC w text[]) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT array_to_string(w, '+') $$;
CREATE FUNCTION api.say(v text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT coalesce(v, 'nothing') $$;
CREATE FUNCTION api.echo(j json) RETURNS json LANGUAGE sql IMMUTABLE AS 'SELECT j';
CREATE FUNCTION api.picture() RETURNS bytea LANGUAGE sql IMMUTABLE AS $$ SELECT '\x00ff0d0a41'::bytea $$;
CREATE FUNCTION api.page() RETURNS xml LANGUAGE sql IMMUTABLE AS $$ SELECT '<p>&amp;</p>'::xml $$;
CREATE FUNCTION api.nothing() RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT NULL::text';
CREATE FUNCTION api.most() RETURNS bigint LANGUAGE sql IMMUTABLE AS 'SELECT 9223372036854775807';
CREATE FUNCTION api.no_number() RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT NULL::int';
CREATE FUNCTION api.not_a_number() RETURNS float8 LANGUAGE sql IMMUTABLE AS $$ SELECT 'NaN'::float8 $$;
CREATE FUNCTION api.yes() RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT true';
CREATE FUNCTION api.list() RETURNS SETOF int LANGUAGE sql IMMUTABLE AS 'SELECT generate_series(1, 2)';
CREATE FUNCTION api.zone() RETURNS text LANGUAGE sql STABLE AS $$ SELECT current_setting('TimeZone') $$;
CREATE FUNCTION api.hidden() RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 1';
REVOKE ALL ON FUNCTION api.hidden() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION api.hidden() TO clerk;
SQL
my $factoryd = Factoryd->new(FACTORYD_DATABASE => 'postgresql:///postgres?host=' . $node->host . '&port=' . $node->port . '&user=web',
	FACTORYD_SCHEMAS => 'api,closed', FACTORYD_POOL => 2, FACTORYD_ANON_ROLE => 'clerk', FACTORYD_LOOK_INTERVAL => 0);
my ($status, $body, $headers);
my $json = JSON::PP->new->canonical->allow_nonref;

sub answer_is
{
	my ($want, $what, @request) = @_;
	($status, $body, $headers) = $factoryd->call(@request);
	is("$status " . (ref $body ? $json->encode($body) : $body), $want, $what);
}
my @form = ('content-type' => 'application/x-www-form-urlencoded');
my @rows = (Prefer => 'return=representation');

# --- JSON: what is read at a glance and what a parser reads are answered alike ------------

my %said = ('{"v":"plain"}' => 'plain', " { \"v\" :\t\"a b\"}\r\n" => 'a b', '{"v":null}' => 'nothing', '{"v":"null"}' => 'null',
	'{"v":true}' => 'true', '{"v":1.10}' => '1.10', '{"v":-0}' => '-0', '{"v":1e2}' => '1e2', '{"v":' . '12' x 30 . '}' => '12' x 30,
	'{"v":1,"v":"last"}' => 'last', '{"\u0076":"name"}' => 'name', '{"v":"\u0041\"\\\\"}' => 'A"\\',
	"{\"v\":\"\xea\xb2\x80\"}" => "\xea\xb2\x80");
answer_is("200 $said{$_}", "JSON: $_", POST => '/rpc/say', $_, Accept => 'text/plain') for sort keys %said;
answer_is('200 {"a":"x","b":1}', 'a member that is JSON', POST => '/rpc/echo', '{"j":{"a":"x","b":1}}');
answer_is('200 x', 'a string is JSON, too', POST => '/rpc/echo', '{"j":"x"}');
answer_is('200 7', 'two arguments', POST => '/rpc/add', '{"b":"4","a":3}');
answer_is('200 4', 'and a default', POST => '/rpc/add', '{"a":3}');
answer_is('200 1', 'none', POST => '/rpc/hidden', ' {} ');
for my $sent ('{"c":1,"a":2}', '{"c":[],"a":2}')
{
	($status, $body) = $factoryd->call(POST => '/rpc/add', $sent);
	is("$status $body->{message}", '404 Could not find the function add(c, a) in the schema cache', "no such arguments: $sent");
}
for my $broken ('{"a":3,}', '{"a":3 , }', '{,}', '{"a":03}', '{"a":3.}', '{"a":-}', '{"a":1e400}', '{"a":3}x', '{"a":3', '{"a" 3}', '{"a":tru}',
	'{a:3}', "{'a':3}", "{\"a\":\"\x01\"}", "{\"a\":\"\xff\"}", "{\"a\":3}\0", '{"a":"\u0000"}', '[' x 3000, '[{"a":3}]', '3')
{
	($status, $body) = $factoryd->call(POST => '/rpc/add', $broken);
	is("$status $body->{code}", '400 PGRST102', 'no JSON object: ' . substr($broken, 0, 20));
}

# --- forms ------------------------------------------------------------------------------

answer_is('200 7', 'a function with arguments of a form', POST => '/rpc/add', 'a=3&b=4', @form);
answer_is('200 4', 'whose charset is said, and a default', POST => '/rpc/add', 'a=3', 'content-type' => 'application/x-www-form-urlencoded; charset=utf-8');
answer_is('200 a+b c+d&e+', 'escapes, and one argument several times', POST => '/rpc/words', 'w=a&w=b+c&w=d%26e&w=', @form, Accept => 'text/plain');
answer_is('200 {"x":[1,2]}', 'JSON in a field', POST => '/rpc/echo', 'j=%7B%22x%22%3A%5B1%2C2%5D%7D', @form);
answer_is('400 ' . $json->encode({ code => '22P02', details => undef, hint => undef, message => 'invalid input syntax for type integer: "x\'; --"' }), 'a value is never spliced', POST => '/rpc/add', "a=x'%3B+--", @form);
is(($factoryd->call(POST => '/rpc/add', 'c=1', @form))[0], 404, 'a field that is no argument');
for my $broken ('a=%zz', 'a=%00', 'a=%ff', '%ff=1')
{
	($status, $body) = $factoryd->call(POST => '/rpc/add', $broken, @form);
	is("$status $body->{code}", '400 PGRST102', "a form that is none: $broken");
}
answer_is('201 [{"at":"2026-01-01T00:00:00+00:00","by":"lee & son","id":1,"tags":["x","y"]}]', 'a row', POST => '/note', 'id=1&by=lee+%26+son&tags=%7Bx,y%7D', @form, @rows);
answer_is('200 [{"by":"kim"}]', 'a change; the last of two fields counts', PATCH => '/note?id=eq.1&select=by', 'by=park&by=kim', @form, @rows);
($status, $body) = $factoryd->call(PATCH => '/note?id=eq.1', 'by=%ff', @form);
is("$status $body->{code}", '400 PGRST102', 'a form that cannot be read');
($status, $body) = $factoryd->call(POST => '/note', 'x', 'content-type' => 'multipart/form-data');
is($status, 415, 'another kind of form');

# What the server's own text of a value is, and what JSON it is, is not always the same.
my %as_sent = (most => '9223372036854775807', no_number => 'null', not_a_number => '"NaN"', yes => 'true');
for my $name (sort keys %as_sent)
{
	my ($sent) = $factoryd->raw("GET /rpc/$name HTTP/1.0\r\n\r\n") =~ /\r\n\r\n(.*)/s;
	is($sent, $as_sent{$name}, "the JSON of $name");
}

# --- single values --------------------------------------------------------------------------

answer_is('200 a', 'text', GET => '/rpc/words?w=a', undef, Accept => 'text/plain');
is($headers->{'content-type'}, 'text/plain; charset=utf-8', 'as what it is');
answer_is("200 \0\xff\r\nA", 'bytes', GET => '/rpc/picture', undef, Accept => 'application/octet-stream');
is($headers->{'content-type'}, 'application/octet-stream', 'as what they are');
answer_is('200 3', 'bytes of what has none', GET => '/rpc/add?a=2', undef, Accept => 'application/octet-stream');
answer_is('200 <p>&amp;</p>', 'XML', GET => '/rpc/page', undef, Accept => 'text/xml');
is(($factoryd->call(GET => '/rpc/add?a=2', undef, Accept => 'text/xml'))[0], 406, 'of what is XML');
answer_is('200 ', 'NULL', GET => '/rpc/nothing', undef, Accept => 'text/plain');
answer_is('200 [1,2]', 'a set has no such form, but another that was asked for', GET => '/rpc/list', undef, Accept => 'text/plain, application/json');
for my $request ([ GET => '/rpc/list' ], [ GET => '/note' ], [ POST => '/note', { id => 9 } ])
{
	($status, $body) = $factoryd->call($request->[0], $request->[1], $request->[2], Accept => 'text/plain');
	is("$status $body->{code}", '406 PGRST107', "$request->[0] $request->[1] has no single value");
}
answer_is('200 []', 'and nothing was written', GET => '/note?id=eq.9');

# --- time zones --------------------------------------------------------------------------------

answer_is('200 Asia/Seoul', 'a time zone', GET => '/rpc/zone', undef, Prefer => 'timezone=Asia/Seoul');
is($headers->{'preference-applied'}, 'timezone=Asia/Seoul', 'is said to count');
answer_is('200 UTC', 'for that request', GET => '/rpc/zone');
answer_is('200 [{"at":"2026-01-01T09:00:00+09:00"}]', 'rows in it', GET => '/note?select=at', undef, Prefer => 'timezone=Asia/Seoul');
answer_is('201 [{"at":"2025-12-31T19:00:00-05:00"}]', 'and what is written', POST => '/note?select=at', { id => 2 }, Prefer => 'timezone=EST, return=representation');
answer_is('200 UTC', 'one that there is not is none', GET => '/rpc/zone', undef, Prefer => 'timezone=Mars/Olympus');
is($headers->{'preference-applied'}, undef, 'which is not said to count');
answer_is('201 [{"id":3}]', 'for what writes, once', POST => '/note?select=id', { id => 3 }, Prefer => "timezone=x'; --, return=representation");
($status, $body) = $factoryd->call(POST => '/note', { id => 4 }, Prefer => 'handling=strict, timezone=Mars/Olympus');
is("$status $body->{code} $body->{details}", '400 PGRST122 Invalid preferences: timezone=Mars/Olympus', 'unless that is refused');
answer_is('200 []', 'and nothing was written', GET => '/note?id=eq.4');

# --- what is described, to whom --------------------------------------------------------------------

sub described
{
	my ($role, @headers) = @_;
	my ($its_status, $document) = $factoryd->call(GET => '/', undef, Authorization => 'Bearer ' . Factoryd::token(role => $role), @headers);
	my %paths = map { $_ => join ',', sort keys %{ $document->{paths}{$_} } } grep { !m{^/(api|health|ready|metrics)} } keys %{ $document->{paths} };
	return (\%paths, join ',', sort keys %{ $document->{definitions} });
}
my ($paths, $definitions) = described('clerk');
is_deeply([ @{$paths}{qw(/note /plan /rpc/hidden /rpc/add)} ], [ 'delete,get,patch,post', undef, 'get,post', 'get,post' ], 'to each what it may do');
is($definitions, 'note', 'and the tables it may see');
($paths, $definitions) = described('guest');
is_deeply([ @{$paths}{qw(/note /plan /rpc/hidden /rpc/add)} ], [ undef, 'get,patch', undef, 'get,post' ], 'by columns, too');
is($definitions, 'plan', 'no other');
is((described('clerk', 'Accept-Profile' => 'closed'))[1], 'box', 'a schema');
is((described('guest', 'Accept-Profile' => 'closed'))[1], '', 'that is closed to the other');

is($factoryd->stop, 0, 'it ends well');
$node->stop;
done_testing();
