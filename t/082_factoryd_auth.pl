# Who may come in to factoryd, as whom, for which tenant, and how often.
use strict;
use warnings;
use Digest::SHA qw(sha256_hex);
use Factoryd;
use IPC::Run ();
use JSON::PP;
use MIME::Base64 qw(encode_base64url);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('auth');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'pg_factory'\nlog_statement = 'all'\nlog_parameter_max_length = -1\n");
$node->start;
$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION pg_factory;
CREATE ROLE web LOGIN NOINHERIT;
CREATE ROLE machine NOLOGIN;
CREATE ROLE mighty NOLOGIN SUPERUSER;
CREATE ROLE chief NOLOGIN IN ROLE factory_admin, machine;
CREATE ROLE boss NOLOGIN IN ROLE factory_admin;
GRANT machine TO web;
CREATE SCHEMA api;
GRANT USAGE ON SCHEMA api TO PUBLIC;
CREATE FUNCTION api.who() RETURNS json LANGUAGE sql STABLE AS
  $$ SELECT json_build_object('role', current_user, 'tenant', factory.current_tenant(), 'claims', current_setting('request.jwt.claims')::json) $$;
GRANT USAGE ON SCHEMA factory TO machine;
GRANT EXECUTE ON FUNCTION factory.current_tenant() TO machine;
GRANT EXECUTE ON FUNCTION factory.api_key_claims(text, text) TO web;
GRANT USAGE ON SCHEMA factory TO web;
SELECT factory.create_tenant('acme');
SELECT factory.create_tenant('umbrella');
SQL

# --- keys ------------------------------------------------------------------------------

my $directory = PostgreSQL::Test::Utils::tempdir;
sub openssl { my @command = @_; my ($out, $err) = run_command([ 'openssl', @command ]); return $out }
sub bytes { my ($file) = @_; open my $handle, '<:raw', $file or die "$file: $!"; local $/; return scalar <$handle> }

openssl('genpkey', '-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:2048', '-out', "$directory/$_.pem") for qw(rsa stranger);
openssl('genpkey', '-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:1024', '-out', "$directory/small.pem");
openssl('genpkey', '-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256', '-out', "$directory/ec.pem");
openssl('genpkey', '-algorithm', 'EC', '-pkeyopt', "ec_paramgen_curve:P-$_", '-out', "$directory/ec$_.pem") for 384, 521;
openssl('genpkey', '-algorithm', 'ED25519', '-out', "$directory/ed.pem");
openssl('pkey', '-in', "$directory/$_.pem", '-pubout', '-outform', 'DER', '-out', "$directory/$_.der") for qw(rsa ec ec384 ec521 ed);
sub modulus { my ($name) = @_; my ($hex) = openssl('rsa', '-in', "$directory/$name.pem", '-noout', '-modulus') =~ /=([0-9A-F]+)/; return encode_base64url(pack 'H*', $hex) }
sub ec_key { my ($file, $curve, $bytes) = @_; my $point = substr bytes("$directory/$file.der"), -2 * $bytes; return (kty => 'EC', crv => $curve, x => encode_base64url(substr $point, 0, $bytes), y => encode_base64url(substr $point, $bytes)) }
my @keys = (
	{ kty => 'RSA', kid => 'r', n => modulus('rsa'), e => 'AQAB', use => 'sig', alg => 'RS256' },
	{ kid => 'e', ec_key('ec', 'P-256', 32) },
	{ kty => 'OKP', kid => 'd', crv => 'Ed25519', x => encode_base64url(substr bytes("$directory/ed.der"), -32) },
	{ kty => 'oct', kid => 'h', k => encode_base64url('k' x 32) },
	{ kty => 'RSA', use => 'enc', n => 'x', e => 'y' },
	{ kid => 'e384', ec_key('ec384', 'P-384', 48) }, { kid => 'e512', ec_key('ec521', 'P-521', 66), alg => 'ES512' },
	(map { { kty => 'RSA', kid => $_, n => modulus('rsa'), e => 'AQAB', alg => $_ } } qw(RS384 RS512 PS256 PS384 PS512)),
	(map { { kty => 'oct', kid => $_, k => encode_base64url('q' x 64), alg => $_ } } qw(HS384 HS512)));
sub write_keys { my (@set) = @_; open my $file, '>', "$directory/jwks.json" or die; print $file encode_json({ keys => \@set }); close $file }
write_keys(@keys);

sub raw_ecdsa
{
	my ($der, $bytes) = @_;
	my ($r, $s) = (unpack((ord(substr $der, 1, 1) > 0x80 ? 'x3' : 'x2') . ' x C/a x C/a', $der));
	return join '', map { substr(("\0" x $bytes) . $_, -$bytes) } $r, $s;
}
my %coordinate_bytes = (ES256 => 32, ES384 => 48, ES512 => 66);

# A token signed by the key of that file.
sub signed
{
	my ($algorithm, $file, $kid, %claims) = @_;
	my $text = encode_base64url(encode_json({ alg => $algorithm, defined $kid ? (kid => $kid) : () })) . '.' . encode_base64url(encode_json(\%claims));
	open my $handle, '>', "$directory/text" or die; print $handle $text; close $handle;
	my @how = $algorithm eq 'EdDSA' ? ('pkeyutl', '-sign', '-rawin', '-inkey', "$directory/$file.pem", '-in', "$directory/text", '-out', "$directory/signature")
		: ('dgst', '-sha' . substr($algorithm, 2), '-sign', "$directory/$file.pem", $algorithm =~ /^PS/ ? qw(-sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:digest) : (), '-out', "$directory/signature", "$directory/text");
	openssl(@how);
	my $signature = bytes("$directory/signature");
	$signature = raw_ecdsa($signature, $coordinate_bytes{$algorithm}) if $coordinate_bytes{$algorithm};
	return "$text." . encode_base64url($signature);
}

my $database = 'postgresql:///postgres?host=' . $node->host . '&port=' . $node->port . '&user=web';
my $factoryd = Factoryd->new(FACTORYD_DATABASE => $database, FACTORYD_SCHEMAS => 'api,factory', FACTORYD_POOL => 4,
	FACTORYD_JWKS_FILE => "$directory/jwks.json", FACTORYD_JWT_AUD => 'plant', FACTORYD_JWT_ISSUER => 'idp', FACTORYD_JWT_ROLE_CLAIM => 'db_role');
my ($status, $body, $headers);
my %good = (db_role => 'machine', aud => [ 'office', 'plant' ], iss => 'idp', sub => 'm-1');

sub who
{
	my (@with) = @_;
	($status, $body, $headers) = $factoryd->call(POST => '/rpc/who', {}, @with);
	return $status == 200 ? "$status $body->{role}" : "$status $body->{code}";
}
sub bearer { return (Authorization => "Bearer $_[0]") }

for my $case ([ 'RS256', 'rsa', 'r' ], [ 'ES256', 'ec', 'e' ], [ 'EdDSA', 'ed', 'd' ], [ 'ES384', 'ec384', 'e384' ], [ 'ES512', 'ec521', 'e512' ],
	map { [ $_, 'rsa', $_ ] } qw(RS384 RS512 PS256 PS384 PS512))
{
	my ($algorithm, $file, $kid) = @$case;
	my $token = signed($algorithm, $file, $kid, %good);
	is(who(bearer($token)), '200 machine', "$algorithm lets in");
	is(who(bearer($token)), '200 machine', 'again, from memory');
	is(who(bearer(signed($algorithm, $file, undef, %good))), '200 machine', 'also without a key id');
	is(who(bearer(signed($algorithm, $file, 'nobody', %good))), '401 PGRST301', 'not with the id of no key');
	my ($head, $payload, $signature) = split /\./, $token;
	$payload = encode_base64url(encode_json({ %good, db_role => 'mighty' }));
	is(who(bearer("$head.$payload.$signature")), '401 PGRST301', 'nor with other claims');
	substr($signature, 10, 1) = substr($signature, 10, 1) eq 'A' ? 'B' : 'A';
	is(who(bearer("$head." . (split /\./, $token)[1] . ".$signature")), '401 PGRST301', 'nor with another signature');
}
is(who(bearer(Factoryd::token(%good, _secret => 'k' x 32))), '200 machine', 'HS256 by a key of the set');
is(who(bearer(Factoryd::token(%good, _alg => $_, _secret => 'q' x 64))), '200 machine', "$_, too") for 'HS384', 'HS512';
is(who(bearer(Factoryd::token(%good, _alg => 'HS384', _secret => 'k' x 32))), '401 PGRST301', 'not by a key of another algorithm');
is(who(bearer(signed('PS256', 'rsa', 'r', %good))), '401 PGRST301', 'nor as another than the key is for');
is(who(bearer(signed('ES256', 'ec', 'e384', %good))), '401 PGRST301', 'nor by a key of another curve');
is(who(bearer(signed('RS256', 'stranger', 'r', %good))), '401 PGRST301', "a stranger's key");
is(who(bearer(Factoryd::token(%good, _secret => bytes("$directory/rsa.der")))), '401 PGRST301', 'the public key as a secret');
is(who(bearer(signed('RS256', 'rsa', 'r', %good, aud => 'office'))), '401 PGRST303', 'meant for another');
is(who(bearer(signed('RS256', 'rsa', 'r', %good, iss => 'other'))), '401 PGRST303', 'issued by another');
is(who(bearer(signed('RS256', 'rsa', 'r', %good, exp => time - 60))), '401 PGRST303', 'expired');
is(who(bearer(signed('RS256', 'rsa', 'r', %good, db_role => 'mighty'))), '403 42501', 'a role that web may not take');
is(who(), '401 PGRST302', 'nobody');

# A new set counts from SIGHUP on; a bad one leaves the old in force.
write_keys(@keys[ 1 .. 3 ]);
kill 'HUP', $factoryd->{pid};
for (1 .. 100) { last if who(bearer(signed('RS256', 'rsa', 'r', %good))) eq '401 PGRST301'; select undef, undef, undef, 0.05 }
is(who(bearer(signed('RS256', 'rsa', 'r', %good))), '401 PGRST301', 'a key that was taken away') for 1 .. 4;
is(who(bearer(signed('EdDSA', 'ed', 'd', %good))), '200 machine', 'one that stayed');

for my $case (
	[ [ { kty => 'RSA', n => modulus('small'), e => 'AQAB' } ], qr/fewer than 2048 bits/, 'a small key' ],
	[ [ { kty => 'EC', crv => 'P-256', x => 'AAAA', y => 'AAAA' } ], qr/no point of its curve/, 'no point' ],
	[ [ { kty => 'EC', crv => 'P-256', x => encode_base64url('x' x 32), y => encode_base64url('y' x 32) } ], qr/no point of its curve/, 'a point beside the curve' ],
	[ [ { kty => 'oct', k => 'c2hvcnQ' } ], qr/no secret of 32 bytes/, 'a short secret' ],
	[ [ { kty => 'RSA', alg => 'RSA-OAEP', n => modulus('rsa'), e => 'AQAB' } ], qr/an algorithm that is not understood/, 'another algorithm' ],
	[ [ { kty => 'oct', alg => 'RS256', k => encode_base64url('k' x 32) } ], qr/not of its type/, 'a secret as a public key' ],
	[ [ { kty => 'EC', crv => 'secp256k1', x => encode_base64url('x' x 32), y => encode_base64url('y' x 32) } ], qr/a curve that is not understood/, 'another curve' ])
{
	my ($set, $says, $what) = @$case;
	write_keys(@$set);
	my ($exit, $said) = Factoryd->start_and_fail(FACTORYD_DATABASE => $database, FACTORYD_JWKS_FILE => "$directory/jwks.json");
	is($exit, 1, "$what ends it");
	like($said, $says, 'with a word');
}

# --- tenants -----------------------------------------------------------------------------

is(who(bearer(signed('EdDSA', 'ed', 'd', %good, tenant_id => 'acme'))), '403 42501', 'a tenant needs the right to name one');
$node->safe_psql('postgres', 'GRANT SET ON PARAMETER factory.tenant TO web');
who(bearer(signed('EdDSA', 'ed', 'd', %good, tenant_id => 'acme')));
is("$status $body->{tenant}", '200 acme', 'then the token names it');
who(bearer(signed('EdDSA', 'ed', 'd', %good)));
is($body->{tenant}, 'default', 'and the next request on that connection does not have it');
$node->safe_psql('postgres', q(SELECT factory.map_tenant_role('umbrella', 'machine')));
is(who(bearer(signed('EdDSA', 'ed', 'd', %good, tenant_id => 'acme'))), '403 PF002', "a role that belongs to a tenant works for no other");
who(bearer(signed('EdDSA', 'ed', 'd', %good)));
is($body->{tenant}, 'umbrella', 'but for its own');
$node->safe_psql('postgres', q(SELECT factory.unmap_tenant_role('machine')));
is(who(bearer(signed('EdDSA', 'ed', 'd', %good, tenant_id => 7))), '401 PGRST303', 'a tenant that is no string');

# X-Tenant-ID never chooses: it is held against what is verified.
my @acme = bearer(signed('EdDSA', 'ed', 'd', %good, tenant_id => 'acme'));
my @plain = bearer(signed('EdDSA', 'ed', 'd', %good));
is(who(@acme, 'X-Tenant-ID' => 'acme'), '200 machine', "a token's tenant, named once more");
is(who(@acme, 'X-Tenant-ID' => 'umbrella'), '403 42501', 'and another than that');
is(who(@plain, 'X-Tenant-ID' => 'default'), '200 machine', "a role's tenant, named once more") for 1 .. 2;
is(who(@plain, 'X-Tenant-ID' => 'acme'), '403 42501', 'a role cannot take another by the header');
is(who(@plain, 'X-Tenant-ID' => "x' OR 'y"), '403 42501', 'whatever it says');
$node->safe_psql('postgres', q(SELECT factory.map_tenant_role('umbrella', 'machine')));
is(who(@plain, 'X-Tenant-ID' => 'umbrella'), '200 machine', 'a role that is mapped to a tenant, named');
is($body->{tenant}, 'umbrella', 'is of that one');
is(who(@plain, 'X-Tenant-ID' => 'default'), '403 42501', 'and of no other');
($status, $body) = $factoryd->call(GET => '/api/v1/dashboard', undef, @plain, 'X-Tenant-ID' => 'acme');
is("$status $body->{error}{code}", '403 ERR_FORBIDDEN', 'in the envelope, too');
$node->safe_psql('postgres', q(SELECT factory.unmap_tenant_role('machine')));

# --- keys of machines ------------------------------------------------------------------------

my $key = $node->safe_psql('postgres', q(SET ROLE chief; SELECT factory.create_api_key('press 4', 'machine', '{"line": "LINE-A"}')));
like($key, qr/^fk\.default\.[0-9a-f]{64}$/, 'a key is given once');
my $theirs = $node->safe_psql('postgres', q(SET factory.tenant = 'acme'; SELECT factory.create_api_key('press 4', 'machine')));
is(who('X-API-Key' => $key), '200 machine', 'and lets in');
is("$body->{claims}{api_key} $body->{claims}{line} $body->{tenant}", 'press 4 LINE-A default', 'as whom it was made for');
who('X-API-Key' => $theirs);
is("$body->{role} $body->{tenant}", 'machine acme', 'each for its tenant');
is(who('X-API-Key' => $theirs, 'X-Tenant-ID' => 'acme') . ' ' . who('X-API-Key' => $key, 'X-Tenant-ID' => 'default'), '200 machine 200 machine', 'which may be named');
is(who('X-API-Key' => $theirs, 'X-Tenant-ID' => 'default') . ' ' . who('X-API-Key' => $key, 'X-Tenant-ID' => 'acme'), '403 42501 403 42501', 'but not another');
is($node->safe_psql('postgres', q(SET ROLE chief; SELECT count(*) FROM factory.api_key)), 1, 'and each tenant sees its own');
is($node->safe_psql('postgres', q(SELECT key_hash FROM factory.api_key WHERE tenant_id = 'default')), sha256_hex($key), 'only a hash is kept');
is(who('X-API-Key' => $_), '401 PGRST301', 'no key: ' . substr($_, 0, 12)) for "fk.default." . '0' x 64, 'fk.acme.' . substr($key, -64), 'nonsense', 'fk..x', 'fk.' . 'x' x 400 . '.y';
$node->psql('postgres', q(SET ROLE chief; SELECT factory.create_api_key('press 4', 'machine')), stderr => \my $said);
like($said, qr/already exists/, 'a name is used once');
$node->psql('postgres', q(SET ROLE boss; SELECT factory.create_api_key('x', 'machine')), stderr => \$said);
like($said, qr/permission denied to make a key/, 'nobody hands on a role that is not his');
$node->psql('postgres', q(SELECT factory.create_api_key('x', 'mighty')), stderr => \$said);
like($said, qr/is not for a key/, 'nor one of a superuser');
$node->psql('postgres', q(SET ROLE machine; SELECT factory.create_api_key('x', 'machine')), stderr => \$said);
like($said, qr/permission denied/, 'nor without the right');
my $short = $node->safe_psql('postgres', q(SELECT factory.create_api_key('short', 'machine', expires_at => now() - interval '1 second')));
is(who('X-API-Key' => $short), '401 PGRST301', 'an expired key');
my $gone = $node->safe_psql('postgres', q(SELECT factory.create_api_key('gone', 'machine')));
$node->safe_psql('postgres', q(SELECT factory.revoke_api_key('gone')));
is(who('X-API-Key' => $gone), '401 PGRST301', 'a revoked key');
is($node->safe_psql('postgres', q(SELECT string_agg(action, ',' ORDER BY created_at) FROM factory.audit_log WHERE object_type = 'api_key' AND object = 'gone')),
	'create,revoke', 'both were noted down');
unlike(slurp_file($node->logfile), qr/\Q@{[ substr $key, -64 ]}\E/, "the server's log never saw the key");
is($factoryd->stop, 0, 'it ends well');

# --- claims in claims ---------------------------------------------------------------------

$factoryd = Factoryd->new(FACTORYD_DATABASE => $database, FACTORYD_SCHEMAS => 'api', FACTORYD_JWT_ROLE_CLAIM => '.app."db.roles"[1]');
is(who(bearer(Factoryd::token(app => { 'db.roles' => [ 'nobody', 'machine' ] }, sub => 'm'))), '200 machine', 'a role in a list in another claim');
is(who(bearer(Factoryd::token(app => { 'db.roles' => [ 'machine', 'mighty' ] }, sub => 'm'))), '403 42501', 'that and no other');
for my $claims ({ role => 'machine' }, { app => 'machine' }, { app => { 'db.roles' => 'machine' } }, { app => { 'db.roles' => ['machine'] } }, { 'app."db.roles"[1]' => 'machine' })
{
	is(who(bearer(Factoryd::token(%$claims, sub => 'm'))), '401 PGRST302', 'no role: ' . encode_json($claims));
}
is(who(bearer(Factoryd::token(app => { 'db.roles' => [ 'nobody', 7 ] }, sub => 'm'))), '401 PGRST303', 'a role that is no name');
is($factoryd->stop, 0, 'it ends well');
for my $way ('.', '.app.', '.app[x]', '.app[1', '.app"x"', '."app', '..role')
{
	my ($exit, $said) = Factoryd->start_and_fail(FACTORYD_DATABASE => $database, FACTORYD_JWT_ROLE_CLAIM => $way);
	is($exit, 1, "$way ends it");
	like($said, qr/FACTORYD_JWT_ROLE_CLAIM "\Q$way\E" is no way to a claim.*HINT/s, 'with a word');
}

# --- how often ----------------------------------------------------------------------------

$factoryd = Factoryd->new(FACTORYD_DATABASE => $database, FACTORYD_SCHEMAS => 'api', FACTORYD_RATE_LIMITS => 'rest 3/h, judgment 1/min burst 1');
my @one = bearer(Factoryd::token(role => 'machine', sub => 'one'));
is(who(@one), '200 machine', "request $_") for 1 .. 3;
is($headers->{'x-ratelimit-remaining'}, 0, 'none is left');
is(who(@one), '429 ERR_RATE_LIMIT', 'one too many');
cmp_ok($headers->{'retry-after'}, '>', 0, 'says when to come again');
is($headers->{'x-ratelimit-limit'}, 3, 'and what the limit is');
is($headers->{'x-ratelimit-retryafter'}, $headers->{'retry-after'}, 'twice');
is(who(bearer(Factoryd::token(role => 'machine', sub => 'two'))), '200 machine', 'another caller is another matter');
($status) = $factoryd->call(GET => '/ready');
isnt($status, 429, 'probes are never limited');
($status, $body) = Factoryd->start_and_fail(FACTORYD_DATABASE => $database, FACTORYD_RATE_LIMITS => 'rest 3/fortnight');
is($status, 1, 'a limit that cannot be read ends it');
like($body, qr/FACTORYD_RATE_LIMITS "rest 3\/fortnight" cannot be read.*HINT/s, 'with a word');

# --- TLS -----------------------------------------------------------------------------------

openssl('req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-keyout', "$directory/tls.key", '-out', "$directory/tls.crt", '-days', '2', '-subj', '/CN=localhost');
my $private = Factoryd->new(FACTORYD_DATABASE => $database, FACTORYD_SCHEMAS => 'api',
	FACTORYD_TLS_CERT_FILE => "$directory/tls.crt", FACTORYD_TLS_KEY_FILE => "$directory/tls.key", FACTORYD_IDLE_TIMEOUT => '2s');
my @curl = ('curl', '-s', '--noproxy', '*', '--cacert', "$directory/tls.crt", '--resolve', "localhost:$private->{port}:127.0.0.1");
my ($out) = run_command([ @curl, '-w', ' %{http_code}', '-H', "Authorization: $one[1]", '-d', '{}', '-H', 'Content-Type: application/json', map { "https://localhost:$private->{port}/rpc/who" } 1 .. 2 ]);
like($out, qr/"role" : "machine".* 200.*"role" : "machine".* 200/s, 'TLS, twice on one connection');
($out) = run_command([ @curl, '--tls-max', '1.1', '--ciphers', 'DEFAULT@SECLEVEL=0', '-o', '/dev/null', '-w', '%{http_code}', "https://localhost:$private->{port}/ready" ]);
is($out, '000', 'not of the last century');
my $plain = $private->raw("GET /ready HTTP/1.1\r\nHost: x\r\n\r\n");
unlike($plain, qr/HTTP/, 'nothing in the clear');
($status, $body) = Factoryd->start_and_fail(FACTORYD_DATABASE => $database, FACTORYD_TLS_CERT_FILE => "$directory/tls.crt", FACTORYD_TLS_KEY_FILE => "$directory/rsa.pem");
is($status, 1, 'a key of another certificate ends it');
like($body, qr/could not use FACTORYD_TLS_KEY_FILE/, 'with a word');
is($private->stop, 0, 'it ends well');

# --- settings that change while it runs --------------------------------------------------------

sub write_file { my ($name, @lines) = @_; open my $file, '>', "$directory/$name" or die; print $file "$_\n" for @lines; close $file; return "$directory/$name" }
my ($taken, $refused) = (qr/new settings are in force/, qr/the old ones stay in force/);

# A certificate: clients that are there stay, the next ones see the new one.
sub certify { my ($name) = @_; openssl('req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-keyout', "$directory/$name.key", '-out', "$directory/$name.crt", '-days', '2', '-subj', '/CN=localhost') }
sub install { my ($name) = @_; for my $kind ('crt', 'key') { open my $to, '>', "$directory/live.$kind" or die; print $to bytes("$directory/$name.$kind"); close $to } }
certify('second');
install('tls');
my $file = write_file('tls.conf', "FACTORYD_TLS_CERT_FILE = $directory/live.crt", "FACTORYD_TLS_KEY_FILE = $directory/live.key");
my $secure = Factoryd->new(file => $file, FACTORYD_DATABASE => $database, FACTORYD_SCHEMAS => 'api');
sub trusts { my ($name) = @_; my ($out) = run_command([ 'curl', '-s', '--noproxy', '*', '--cacert', "$directory/$name.crt", '--resolve', "localhost:$secure->{port}:127.0.0.1", '-w', '%{http_code}', '-o', '/dev/null', "https://localhost:$secure->{port}/nowhere" ]); return $out }
is(trusts('tls') . ' ' . trusts('second'), '401 000', 'one certificate');
my ($asked, $told) = ('', '');
my $there = IPC::Run::start([ 'openssl', 's_client', '-quiet', '-connect', "127.0.0.1:$secure->{port}" ], '<', \$asked, '>', \$told, '2>', '/dev/null', IPC::Run::timeout(60));
sub ask_there { $told = ''; $asked .= "GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n"; $there->pump until $told =~ /\r\n\r\n.*\}/s; return $told =~ /^HTTP\/1\.1 401 / }
ok(ask_there(), 'a client is there');
install('second');
like($secure->reload($taken), $taken, 'another certificate');
my $seen = '';
for (1 .. 100) { $seen = join ' ', map { trusts('tls') . ' ' . trusts('second') } 1 .. 4; last if $seen eq join ' ', ('000 401') x 4; }
is($seen, join(' ', ('000 401') x 4), 'is what the next ones see');
ok(ask_there(), 'and the one that was there stays');
write_file('live.key', 'no key');
like($secure->reload($refused), qr/could not use FACTORYD_TLS_KEY_FILE.*the old ones stay in force/s, 'a broken one is not taken');
is(trusts('second'), '401', 'and the old one stays');
ok(ask_there(), 'for all');
$there->kill_kill;
is($secure->stop, 0, 'it ends well');

# All else that a running factoryd can take over.
$file = write_file('live.conf', 'FACTORYD_POOL = 4', 'FACTORYD_LOOPS = 2');
my $live = Factoryd->new(file => $file, FACTORYD_SCHEMAS => 'api', FACTORYD_POOL_OVERFLOW => 1);
{
	local $ENV{PGOPTIONS};
	my @base = ("FACTORYD_DATABASE = $database", 'FACTORYD_POOL = 4', 'FACTORYD_LOOPS = 2');
	my $resting = $live->connect;
	my $nobody = sub { my @answer = $live->call(POST => '/rpc/who', {}, @_); $headers = $answer[2]; return $answer[0] . ' ' . (ref $answer[1] ? $answer[1]{role} // $answer[1]{code} : $answer[1]) };
	my $all_say = sub { my ($want) = @_; my @said; for (1 .. 200) { @said = map { $nobody->() } 1 .. 4; return $want if !grep { $_ ne $want } @said; select undef, undef, undef, 0.02 } return "@said" };
	write_file('live.conf', @base, 'FACTORYD_ANON_ROLE = machine');
	like($live->reload($taken), $taken, 'another database, and a role for strangers');
	is($all_say->('200 machine'), '200 machine', 'strangers come in');
	write_file('live.conf', @base, 'FACTORYD_ANON_ROLE = mighty');
	like($live->reload($refused), qr/role "mighty" of FACTORYD_ANON_ROLE is a superuser.*the old ones stay in force/s, 'not as a superuser');
	is($all_say->('200 machine'), '200 machine', 'but as before');
	write_file('live.conf', @base, 'FACTORYD_ANON_ROLE = machine', 'FACTORYD_POOL = 0');
	like($live->reload($refused), qr/FACTORYD_POOL is outside its limits.*the old ones stay in force/s, 'a value out of bounds');
	write_file('live.conf', "FACTORYD_DATABASE = $database", 'FACTORYD_ANON_ROLE = machine', 'FACTORYD_POOL = 1');
	like($live->reload($refused), qr/less than the 2 event loops.*the old ones stay in force/s, 'fewer connections than loops');
	write_file('live.conf', @base, 'FACTORYD_ANON_ROLE = machine', 'FACTORYD_JWKS_FILE = /nowhere');
	like($live->reload($refused), qr/FACTORYD_JWKS_FILE "\/nowhere".*the old ones stay in force/s, 'keys that are not there');
	write_file('live.conf', "FACTORYD_DATABASE = $database&application_name=second", 'FACTORYD_ANON_ROLE = machine', 'FACTORYD_POOL = 6',
		'FACTORYD_LOOPS = 3', 'FACTORYD_CORS_ORIGINS = *', 'FACTORYD_MAX_BODY = 2kB', 'FACTORYD_IDLE_TIMEOUT = 1s');
	like($live->reload($taken), qr/FACTORYD_LOOPS changes with the next start.*new settings/s, 'many at once');
	is($all_say->('200 machine'), '200 machine', 'nobody notices');
	ok($node->poll_query_until('postgres', q(SELECT count(*) > 0 AND count(*) FILTER (WHERE application_name LIKE 'factoryd%') = 0 FROM pg_stat_activity WHERE usename = 'web')), 'connections to the database before have ended');
	my $limit = '';
	for (1 .. 200) { my (undef, $text) = $live->call(GET => '/metrics'); ($limit) = $text =~ /^factoryd_pool_connections_limit (\d+)/m; last if $limit == 7; select undef, undef, undef, 0.02 }
	is($limit, 7, 'the pool is larger');
	my $answer = '';
	for (1 .. 200) { ($answer) = $live->call(POST => '/rpc/who', '{"a": "' . 'x' x 3000 . '"}'); last if $answer == 413; select undef, undef, undef, 0.02 }
	is($answer, 413, 'bodies may be shorter');
	print $resting "POST /rpc/who HTTP/1.1\r\nHost: x\r\nOrigin: http://a\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
	$resting->flush;
	$resting->sysread(my $text, 4096);
	like($text, qr{^HTTP/1\.1 200 .*Access-Control-Allow-Origin: \*}s, 'a client that was there before lives on, by the new settings');
	write_file('live.conf', @base, 'FACTORYD_ANON_ROLE = machine', 'FACTORYD_RATE_LIMITS = rest 1/h');
	like($live->reload($taken), $taken, 'limits');
	is($all_say->('429 ERR_RATE_LIMIT'), '429 ERR_RATE_LIMIT', 'are kept');
	write_file('live.conf', @base, 'FACTORYD_ANON_ROLE = machine');
	$live->reload($taken);
	is($all_say->('200 machine'), '200 machine', 'and lifted');

	# A role that becomes one that strangers may not have lets none in; it does not end all.
	$node->safe_psql('postgres', 'ALTER ROLE machine SUPERUSER');
	$live->reload($taken);
	is($all_say->('401 PGRST302'), '401 PGRST302', 'a role that became a superuser is nobody\'s');
	like($live->log, qr/requests without a token are refused until that is mended/, 'as the log says');
	$node->safe_psql('postgres', 'ALTER ROLE machine NOSUPERUSER');
	$live->reload($taken);
	is($all_say->('200 machine'), '200 machine', 'until it is none');
}
is($live->stop, 0, 'it ends well');

done_testing();
