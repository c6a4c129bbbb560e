# Functions made of decisions come back from a dump whatever order it restores in:
# they carry their version with them.  Definitions that are refused, of decisions and of
# functions alike, say what is wrong, where, and what to do.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'pg_factory'");
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION pg_factory;
	SELECT factory.create_decision('lot', '{
		"inputs": {"defects": "int", "produced": "int"},
		"let": {"rate": "defects::float8 / nullif(produced, 0)"},
		"rules": [{"id": "high", "when": "rate >= 0.05", "then": {"status": "HIGH"}}],
		"default": {"status": "NORMAL"}}');
	-- Dumped before the schema "factory": its data are restored before ours.
	CREATE SCHEMA aaa;
	SELECT factory.create_decision_function('lot', 1, 'aaa.lot_status');
	CREATE TABLE aaa.lot (id int, defects int, produced int,
		status text GENERATED ALWAYS AS (aaa.lot_status(defects, produced)) STORED,
		CHECK (aaa.lot_status(defects, produced) <> 'unknown'));
	CREATE INDEX lot_status_index ON aaa.lot (aaa.lot_status(defects, produced));
	INSERT INTO aaa.lot VALUES (1, 5, 100), (2, 1, 100);
	CREATE SCHEMA zzz;
	CREATE FUNCTION zzz.bound() RETURNS int LANGUAGE sql IMMUTABLE PARALLEL SAFE AS 'SELECT 5';
	SELECT factory.create_decision('bounded', '{"inputs": {"n": "int"},
		"rules": [{"id": "over", "when": "n > zzz.bound()", "then": {"status": "OVER"}}], "default": {"status": "UNDER"}}');
	SELECT factory.create_decision_function('bounded', 1, 'aaa.bounded');
});

for my $case (split /^--\n/m, slurp_file("$ENV{FACTORY_ROOT}/t/cases/definitions/refused.txt"))
{
	my ($definition, @wanted) = split /\n=> /, $case =~ s/\n\z//r;
	my (undef, undef, $error) = $node->psql('postgres', "SELECT factory.create_decision('bad', \$bad\$$definition\$bad\$)");
	my @missing = grep { index($error, $_) < 0 } @wanted;
	is(@wanted && "@missing", '', $definition) or diag $error;
}
is($node->safe_psql('postgres', "SELECT count(*) FROM factory.decision WHERE name = 'bad'"), '0', 'nothing of them stays');

my $dump = "$PostgreSQL::Test::Utils::tmp_check/dump.sql";
$node->command_ok([ 'pg_dump', '--file', $dump, '--dbname', $node->connstr('postgres') ], 'dumped');
$node->safe_psql('postgres', 'CREATE DATABASE restored');
$node->command_ok([ 'psql', '-X', '-v', 'ON_ERROR_STOP=1', '-f', $dump, '-d', $node->connstr('restored') ], 'restored');
is($node->safe_psql('restored', 'SELECT id, status FROM aaa.lot ORDER BY id'), "1|HIGH\n2|NORMAL", 'with what was stored');
is($node->safe_psql('restored', "SET enable_seqscan = off; SELECT id FROM aaa.lot WHERE aaa.lot_status(defects, produced) = 'HIGH'"),
	'1', 'the index answers');
is($node->safe_psql('restored', 'SELECT aaa.lot_status(9, 100)'), 'HIGH', 'and so does the function');

like(($node->psql('restored', 'DROP FUNCTION zzz.bound'))[2], qr/function aaa\.bounded\(integer\) depends on function zzz\.bound\(\)/,
	'a function that its rules use is held by it');
$node->safe_psql('restored', 'DROP FUNCTION aaa.bounded');
like(($node->psql('restored', 'DROP FUNCTION zzz.bound'))[2], qr/cannot drop function zzz\.bound\(\) because decision "bounded" depends on it/,
	'and by the version in force');

my ($status, $out, $errors) = $node->psql('restored', 'DROP EXTENSION pg_factory');
isnt($status, 0, 'the extension is not dropped under them');
like($errors, qr/function aaa\.lot_status.* depends on language factory_decision/, 'and it says why');

# A session that has called one goes on after the extension came back under it.
my $session = $node->background_psql('postgres', on_error_stop => 0);
is($session->query_safe('SELECT aaa.lot_status(9, 100)'), 'HIGH', 'called before');

# What another session redefines, drops or breaks, this one knows at its next judgment.
my $both = q{SELECT (factory.decide('bounded', '{"n": 7}')).status, aaa.bounded(7)};
my $bound = 'FUNCTION zzz.bound() RETURNS int LANGUAGE sql IMMUTABLE PARALLEL SAFE AS';
is($session->query_safe($both), 'OVER|OVER', 'by a function of users');
$node->safe_psql('postgres', "CREATE OR REPLACE $bound 'SELECT 9'");
is($session->query_safe($both), 'UNDER|UNDER', 'redefined elsewhere');
like(($node->psql('postgres', 'ALTER FUNCTION zzz.bound() RENAME TO most'))[2], qr/cannot rename or move function zzz\.bound\(\)/, 'not renamed while a version in force uses it');
is($session->query_safe($both), 'UNDER|UNDER', 'which changes nothing');
like(($node->psql('postgres', 'DROP FUNCTION zzz.bound CASCADE'))[2], qr/WARNING:  decision "bounded" can no longer be judged/, 'dropped with a warning');
$session->query(q{SELECT (factory.decide('bounded', '{"n": 7}')).status});
like($session->{stderr}, qr/function zzz\.bound\(\) does not exist/, 'which holds everywhere');
$session->{stderr} = '';
$node->safe_psql('postgres', "CREATE $bound 'SELECT 6'");
is($session->query_safe(q{SELECT (factory.decide('bounded', '{"n": 7}')).status}), 'OVER', 'until it is there again');
$node->safe_psql('postgres', q{
	DROP EXTENSION pg_factory CASCADE;
	CREATE EXTENSION pg_factory;
	CREATE FUNCTION aaa.lot_status(defects int, produced int) RETURNS text LANGUAGE factory_decision AS
	'{"answer": "status", "definition": {"inputs": {"defects": "int", "produced": "int"},
		"rules": [{"when": "defects > 0", "then": {"status": "ANY"}}]}}';
});
is($session->query_safe('SELECT aaa.lot_status(9, 100)'), 'ANY', 'called after');
$session->quit;
$node->stop;
done_testing();
