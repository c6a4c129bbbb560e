# Each layer of the guard by itself: what the one before it would have refused is
# allowed on purpose, and the next still holds.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('layers');
$node->init(extra => [ '--encoding=UTF8', '--locale=C.UTF-8' ]);
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'pg_factory'\nfsync = off\nmax_prepared_transactions = 2\n");
$node->start;
$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION pg_factory;
CREATE TABLE reading (tenant_id text DEFAULT 'default', value integer);
INSERT INTO reading (value) SELECT generate_series(1, 5);
INSERT INTO reading VALUES ('other', 100);
CREATE TABLE secret (value integer);
INSERT INTO secret VALUES (42);
CREATE SEQUENCE counter;
GRANT SELECT ON reading TO factory_reader;
GRANT USAGE ON SEQUENCE counter TO factory_reader;
CREATE FUNCTION writes() RETURNS integer LANGUAGE sql VOLATILE AS 'INSERT INTO public.reading (value) VALUES (9) RETURNING value';
CREATE FUNCTION writes_as_owner() RETURNS integer LANGUAGE sql VOLATILE SECURITY DEFINER AS 'INSERT INTO public.reading (value) VALUES (9) RETURNING value';
CREATE FUNCTION reads_secret() RETURNS integer LANGUAGE sql AS 'SELECT value FROM public.secret';
CREATE FUNCTION makes_table() RETURNS integer LANGUAGE plpgsql AS 'BEGIN CREATE TABLE public.made (x int); RETURN 1; END';
CREATE FUNCTION becomes(role text) RETURNS text LANGUAGE plpgsql AS 'BEGIN EXECUTE format(''SET ROLE %I'', role); RETURN current_user; END';
CREATE FUNCTION whoami() RETURNS text LANGUAGE sql AS 'SELECT current_user::text';
CREATE FUNCTION undoes_read_only() RETURNS integer LANGUAGE plpgsql AS
	'BEGIN SET LOCAL transaction_read_only = off; INSERT INTO public.reading (value) VALUES (9); RETURN 1; END';
CREATE FUNCTION takes_number() RETURNS bigint LANGUAGE sql AS 'SELECT pg_catalog.nextval(''public.counter'')';
CREATE FUNCTION speaks() RETURNS integer LANGUAGE plpgsql AS 'BEGIN NOTIFY spoken; RETURN 1; END';
CREATE FUNCTION swallows() RETURNS integer LANGUAGE plpgsql AS
	'BEGIN BEGIN PERFORM pg_catalog.pg_sleep(1); EXCEPTION WHEN query_canceled THEN RETURN 1; END; RETURN 2; END';
CREATE ROLE analyst LOGIN;
GRANT factory_analyst TO analyst;
SQL

# What run_sql says of a statement: its rows, or the error's text.
sub run_sql
{
	my ($sql, %settings) = @_;
	my $set = join '', map { "SET $_ = '$settings{$_}';\n" } sort keys %settings;
	my ($status, $out, $err) = $node->psql('postgres', "${set}SELECT * FROM factory.run_sql(\$sql\$$sql\$sql\$)");
	$err =~ s/^psql:<stdin>:\d+: //mg;
	return $status == 0 ? $out : $err;
}

my @probes = (
	[ 'SELECT writes()', qr/read-only transaction|permission denied/, 'a write as the reader' ],
	[ 'SELECT writes_as_owner()', qr/read-only transaction/, 'a write as its owner' ],
	[ 'SELECT reads_secret()', qr/permission denied for table secret/, 'a table that was not granted' ],
	[ 'SELECT makes_table()', qr/read-only transaction|permission denied/, 'a new table' ],
	[ "SELECT becomes('postgres')", qr/cannot set parameter "role"|permission denied/, 'another role' ],
	[ "SELECT pg_catalog.set_config('session_authorization', 'postgres', true)", qr/cannot set parameter/, 'another session user' ],
	[ 'SELECT undoes_read_only()', qr/transaction_read_only|read-write mode|cannot set|read-only transaction/, 'an end of read-only' ],
	[ 'SELECT takes_number()', qr/read-only transaction/, 'a sequence' ],
	[ "SELECT pg_catalog.pg_read_file('postgresql.conf')", qr/permission denied/, "the server's files" ],
	[ 'SELECT pg_catalog.pg_terminate_backend(pg_catalog.pg_backend_pid())', qr/permission denied|terminating|must be|lost/, 'the end of a session' ],
	[ "SELECT pg_catalog.current_setting('data_directory')", qr/permission denied|must be|pg_read_all_settings/, 'a setting that only superusers see' ]);

# 1. The allow list alone.
for my $probe (@probes)
{
	like(run_sql($probe->[0]), qr/not on the allow list|refused/, "the list refuses $probe->[2]");
}

# 2. Without the allow list: the run itself, as the reader, read-only, undone.
$node->safe_psql('postgres', q(INSERT INTO factory.allowed_function (function)
	SELECT DISTINCT quote_ident(n.nspname) || '.' || quote_ident(p.proname) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
	WHERE n.nspname IN ('public', 'pg_catalog')));
for my $probe (@probes)
{
	like(run_sql($probe->[0]), $probe->[1], "without the list the run refuses $probe->[2]");
}
is($node->safe_psql('postgres', 'SELECT count(*), sum(value) FROM reading'), '6|115', 'nothing was written');
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_class WHERE relname = 'made'"), '0', 'nothing was made');
is($node->safe_psql('postgres', 'SELECT last_value, is_called FROM counter'), '1|f', 'no number was taken');
is(run_sql('SELECT whoami()'), '{"whoami": "factory_reader"}', 'the reader it is');
my ($status, $out, $err) = $node->psql('postgres', "LISTEN spoken;\nSELECT * FROM factory.run_sql('SELECT speaks()');\nSELECT 1;");
unlike($out . $err, qr/Asynchronous notification/, 'no notification leaves the rolled back run');
is($node->safe_psql('postgres', "SELECT * FROM factory.run_sql('SELECT pg_catalog.set_config(''work_mem'', ''1GB'', false) IS NULL AS x');\nSHOW work_mem"),
	qq({"x": false}\n4MB), 'settings made inside end with it');

# 3. The timer and the memory watch, with everything else allowed.
like(run_sql('SELECT pg_catalog.pg_sleep(20)', 'factory.question_timeout' => '200ms'), qr/ran longer than 200 ms/, 'the timer ends a sleep');
like(run_sql('SELECT count(*) FROM generate_series(1, 100000) a, generate_series(1, 100000) b', 'factory.question_timeout' => '200ms'),
	qr/ran longer than 200 ms/, 'and a loop');
like(run_sql("SELECT length(string_agg(repeat('x', 1000), '')) FROM generate_series(1, 100000) a, generate_series(1, 10) b",
	'factory.question_memory' => '32MB'), qr/took more than 32 MB of memory/, 'memory is watched while a statement runs');
is($node->safe_psql('postgres', "SET factory.question_timeout = '200ms'; SELECT count(*) FROM factory.run_sql('SELECT swallows()'); SELECT 'on'"),
	"1\non", 'a function that swallows the cancel ends late, and leaves no cancel pending');

# 4. Rows and bytes.
is($node->safe_psql('postgres', "SET factory.question_max_rows = 3; SELECT count(*) FROM factory.run_sql('SELECT g FROM generate_series(1, 1000) g')"), '3', 'rows are capped');
cmp_ok($node->safe_psql('postgres', "SET factory.question_max_bytes = '10kB'; SELECT count(*) FROM factory.run_sql('SELECT repeat(''x'', 1000) FROM generate_series(1, 1000) g')"),
	'<', 15, 'bytes are capped');

# 5. Relations: a reader that may read everything is narrowed by the catalogue, and tenants hold.
$node->safe_psql('postgres', 'GRANT pg_read_all_data TO factory_reader');
like(run_sql('SELECT rolpassword FROM pg_authid'), qr/system catalog/, 'no system catalogue, whatever the reader may');
is(run_sql('SELECT value FROM secret'), '{"value": 42}', 'without a catalogue the grants decide');
$node->safe_psql('postgres', q(SELECT factory.load_catalog('{"domain": "x", "datasets": {"reading": {"relation": "reading", "grain": "none"}}, "metrics": {"n": {"sql": "count(*)", "datasets": ["reading"]}}}')));
like(run_sql('SELECT value FROM secret'), qr/not in the catalogue/, 'a catalogue narrows them');
is(run_sql('SELECT sum(value) FROM reading'), '{"sum": 15}', "another tenant's row is not counted");
is(run_sql("SELECT sum(value) FROM reading WHERE tenant_id = 'other'"), '{"sum": null}', 'not even by name');
is(run_sql("SELECT sum(value) FROM reading WHERE tenant_id = 'other' OR true"), '{"sum": 15}', 'nor by a condition that is always true');

# 6. A materialized view has no row security: a barrier stands before it.
$node->safe_psql('postgres', <<'SQL');
CREATE MATERIALIZED VIEW reading_total AS SELECT tenant_id, sum(value) AS value FROM reading GROUP BY tenant_id;
GRANT SELECT ON reading_total TO factory_reader;
SELECT factory.expose_view('reading_total');
REVOKE pg_read_all_data FROM factory_reader;
SQL
is($node->safe_psql('postgres', 'SET ROLE factory_reader; SELECT value FROM reading_total_rows'), '15', 'the reader sees its tenant through the view, without any guard');
($status, $out, $err) = $node->psql('postgres', 'SET ROLE factory_reader; SELECT * FROM reading_total');
like($err, qr/permission denied/, 'and the materialized view no more');
is($node->safe_psql('postgres', "SELECT reloptions FROM pg_class WHERE relname = 'reading_total_rows'"), '{security_barrier=true}', 'it is a barrier');
$node->safe_psql('postgres', q(SELECT factory.load_catalog('{"domain": "y", "datasets": {"total": {"relation": "reading_total_rows", "grain": "none"}}, "metrics": {"total": {"sql": "sum(value)", "datasets": ["total"], "additivity": "none"}}, "defaults": {"period": "today"}}')));
is($node->safe_psql('postgres', "SET ROLE analyst; SELECT * FROM factory.run_sql('SELECT value FROM reading_total_rows')"), '{"value": 15}', 'questions read through it');
($status, $out, $err) = $node->psql('postgres', "SELECT factory.expose_view('reading')");
like($err, qr/is not a materialized view/, 'a table needs none');

$node->stop;
done_testing();
