# Life in PostgreSQL: dump and restore, by whom; replication, physical and logical;
# DROP EXTENSION with users' objects on it; a server that did not load the library.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $decision = q{SELECT factory.create_decision('defects', '{"inputs": {"n": "integer"},
	"rules": [{"id": "many", "when": "n > 5", "then": {"status": "MANY", "severity": "critical"}}], "default": {"status": "OK"}}')};
my $judge = q{SELECT status FROM factory.judge('defects', '{"n": 7}')};

my $node = PostgreSQL::Test::Cluster->new('life');
$node->init(allows_streaming => 'logical');
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'pg_factory'\n");
$node->start;
my @where = ('-h', $node->host, '-p', $node->port);

# --- dump and restore ----------------------------------------------------------

# Everything that a dump could keep or lose, as rows.
sub contents
{
	my ($on, $database) = @_;
	my $tables = $on->safe_psql($database, q{
		SELECT c.oid::regclass FROM pg_class AS c WHERE c.relnamespace = 'factory'::regnamespace AND c.relkind = 'r'
		  AND c.oid::regclass::text NOT IN ('factory.activation', 'factory.allowed_function', 'factory.cache_generation', 'factory.refresh_run') ORDER BY c.relname});
	my $all = '';
	foreach my $table (split /\n/, $tables)
	{
		$all .= "$table\n" . $on->safe_psql($database, "SELECT r::text FROM $table AS r ORDER BY 1") . "\n";
	}
	return $all;
}

sub dump_and_restore
{
	my ($from, $to, $story, @options) = @_;
	my $file = $node->basedir . "/$to.dump";
	$node->safe_psql('postgres', "CREATE DATABASE $to");
	$node->command_ok([ 'pg_dump', '-Fc', '-f', $file, @where, $from ], "$story is dumped");
	$node->command_ok([ 'pg_restore', '--exit-on-error', '-d', $to, @options, @where, $file ], 'and restored');
	is(contents($node, $to), contents($node, $from), 'with all its rows');
	my $token = q{SELECT generation FROM factory.cache_generation WHERE subject = '' AND kind = ''};
	isnt($node->safe_psql($to, $token), $node->safe_psql($from, $token), 'and a token of its own for what is kept elsewhere');
	return;
}

$node->safe_psql('postgres', 'CREATE DATABASE fresh');
$node->safe_psql('fresh', 'CREATE EXTENSION pg_factory');
dump_and_restore('fresh', 'fresh_copy', 'a database without a row');
is($node->safe_psql('fresh_copy', "$decision; $judge"), "1\nMANY", 'which works');

$node->safe_psql('postgres', 'CREATE DATABASE plant');
$node->safe_psql('plant', <<"SQL");
CREATE EXTENSION pg_factory;
CREATE ROLE engineer IN ROLE factory_author, factory_operator;
CREATE ROLE north_engineer IN ROLE factory_author, factory_operator;
SELECT factory.create_tenant('north', judgments_per_month => 1000);
SELECT factory.map_tenant_role('north', 'north_engineer');
SET ROLE engineer;
$decision;
SELECT factory.judge('defects', jsonb_build_object('n', n)) FROM generate_series(1, 20) AS n;
SELECT factory.feedback(execution_id, 'correct') FROM factory.judgment_log LIMIT 3;
SELECT factory.save_version('defects', '{"inputs": {"n": "integer"}, "rules": [{"id": "few", "when": "n < 5", "then": {"status": "FEW"}}]}', 'turned round');
SET ROLE north_engineer;
$decision;
SELECT factory.judge('defects', '{"n": 7}');
RESET ROLE;
CREATE TABLE production AS SELECT n, 'LINE-A' AS line FROM generate_series(1, 100) AS n;
CREATE MATERIALIZED VIEW daily AS SELECT line, sum(n) AS total FROM production GROUP BY 1;
SELECT factory.schedule_refresh('daily', 'daily at 06:00');
CREATE SERVER peer FOREIGN DATA WRAPPER factory_llm OPTIONS (base_url 'https://example.org/v1');
SELECT factory.create_model('mini', 'peer', 'm', input_price => 1, output_price => 2);
CREATE VIEW judged AS SELECT n, (factory.decide('defects', jsonb_build_object('n', n))).status FROM production;
ALTER TABLE production ADD CONSTRAINT known_line CHECK (line LIKE 'LINE-%');
SQL
dump_and_restore('plant', 'plant_copy', 'a database with all kinds of rows and partitions');
is($node->safe_psql('plant_copy', 'SELECT count(*) FROM judged WHERE status = $$MANY$$'), 95, 'a view on our functions came along');
is($node->safe_psql('plant_copy', "SET ROLE north_engineer; $judge"), 'MANY', 'a tenant judges on');
is($node->safe_psql('plant_copy', q{SELECT factory.deploy('defects', 2); SELECT status FROM factory.judge('defects', '{"n": 1}')}),
	"\nFEW", 'and versions go on from where they were');

# By whom: a role that bypasses row security and is a member of the tables' owners.
$node->safe_psql('postgres', q{CREATE ROLE keeper LOGIN BYPASSRLS CREATEDB;
	GRANT pg_read_all_data, factory_owner, factory_auditor TO keeper});
$node->safe_psql('postgres', 'CREATE DATABASE kept OWNER keeper');
$node->safe_psql('kept', 'CREATE EXTENSION pg_factory');
$node->command_ok([ 'pg_dump', '-Fc', '-U', 'keeper', '-f', $node->basedir . '/kept.dump', @where, 'fresh_copy' ],
	'a role without superuser dumps');
$node->command_ok([ 'pg_restore', '--exit-on-error', '--no-comments', '-U', 'keeper', '-d', 'kept', @where, $node->basedir . '/kept.dump' ],
	'and restores, where a superuser has made the extension');
is($node->safe_psql('kept', 'SELECT name FROM factory.decision'), 'defects', 'the rows are there');

# --- users' objects and DROP EXTENSION ---------------------------------------------

my ($code, $out, $err) = $node->psql('plant_copy', 'DROP EXTENSION pg_factory');
like($err, qr/cannot drop extension pg_factory.*view judged depends/s, 'what users built on us keeps the extension');
is($node->safe_psql('plant_copy', q{BEGIN; DROP EXTENSION pg_factory CASCADE; ROLLBACK; SELECT status FROM factory.judge('defects', '{"n": 1}')}), 'FEW',
	'a DROP that is rolled back changes nothing');
$node->safe_psql('plant_copy', 'DROP EXTENSION pg_factory CASCADE');
is($node->safe_psql('plant_copy', q{SELECT count(*) FROM pg_class WHERE relname = 'judged'}), 0, 'CASCADE takes them along');
is($node->safe_psql('plant_copy', q{SELECT count(*) FROM pg_namespace WHERE nspname = 'factory'}), 0, 'nothing of ours is left');
is($node->safe_psql('plant_copy', "CREATE EXTENSION pg_factory; $decision; $judge; DROP EXTENSION pg_factory; CREATE EXTENSION pg_factory; $decision; $judge"),
	"1\nMANY\n1\nMANY", 'made, dropped and made again in one session');

# --- a database renamed, and one made from a template --------------------------------

$node->safe_psql('postgres', 'ALTER DATABASE fresh_copy RENAME TO renamed');
is($node->safe_psql('renamed', $judge), 'MANY', 'a renamed database judges on');
$node->safe_psql('postgres', 'CREATE DATABASE from_template TEMPLATE renamed');
is($node->safe_psql('from_template', $judge), 'MANY', 'so does one made from it as a template');
is($node->safe_psql('from_template', q{SELECT count(*) FROM factory.judgment_log}),
	$node->safe_psql('renamed', q{SELECT count(*) FROM factory.judgment_log}) + 1, 'each with a log of its own');

# --- a standby ------------------------------------------------------------------------

$node->backup('copy');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'copy', has_streaming => 1);
$standby->start;
$node->safe_psql('plant', q{CREATE ROLE standby_reader IN ROLE factory_admin, factory_author, factory_operator, factory_analyst, factory_monitor});
$node->wait_for_catchup($standby);
foreach my $reading (
	[ $judge, 'MANY', 'judge()' ],
	[ q{SELECT j.status FROM (SELECT 7 AS n) AS t, factory.judge_row('defects', t) AS j}, 'MANY', 'judge_row()' ],
	[ q{SELECT status FROM factory.decide('defects', '{"n": 7}')}, 'MANY', 'decide()' ],
	[ q{SELECT components ->> 'log' FROM factory.judge('defects', '{"n": 7}')}, 'not written: the server is a standby', 'which says that it logs nothing' ],
	[ q{SELECT factory.health() ->> 'in_recovery'}, 'true', 'health()' ],
	[ q{SELECT factory.ready() ->> 'read_only'}, 'true', 'ready()' ],
	[ q{SELECT factory.metrics() LIKE '%judgment_requests_total%'}, 't', 'metrics()' ],
	[ q{SELECT count(*) FROM factory.run_sql('SELECT 1 AS one', 10)}, '1', 'run_sql()' ],
	[ q{SELECT ok FROM factory.check_sql('DELETE FROM production')}, 'f', 'check_sql()' ],
	[ q{SELECT factory.replay('defects', 1, now() - interval '1 day', now() + interval '1 day') ->> 'total_samples'}, '20', 'replay()' ])
{
	my ($sql, $expected, $story) = @$reading;
	is($standby->safe_psql('plant', "SET ROLE engineer; RESET ROLE; $sql"), $expected, "on a standby: $story");
}
my $views = $standby->safe_psql('plant', q{SELECT c.oid::regclass FROM pg_class AS c
	WHERE c.relnamespace = 'factory'::regnamespace AND c.relkind = 'v' ORDER BY 1});
foreach my $view (split /\n/, $views)
{
	($code, $out, $err) = $standby->psql('plant', "SELECT * FROM $view");
	is($err, '', "on a standby: $view can be read");
}
foreach my $writing (
	$decision, q{SELECT factory.deploy('defects', 1)}, q{SELECT factory.rollback('defects')}, q{SELECT factory.create_tenant('x')},
	q{SELECT factory.save_version('defects', '{"inputs": {}, "rules": []}', 'x')}, q{SELECT factory.unschedule_refresh('daily')})
{
	($code, $out, $err) = $standby->psql('plant', $writing);
	like($err, qr/read-only transaction|recovery/, "on a standby: refused, and said why: $writing");
	($code, $out, $err) = $node->psql('plant', "BEGIN READ ONLY; $writing");
	like($err, qr/read-only transaction/, '... likewise in a read-only transaction');
}
is($node->safe_psql('plant', "BEGIN READ ONLY; $judge; COMMIT"), 'MANY', 'judge() answers in a read-only transaction');
is($node->safe_psql('plant', q{BEGIN READ ONLY; SELECT components ->> 'log' FROM factory.judge('defects', '{"n": 7}')}),
	'not written: the transaction is read-only', 'and says that it logs nothing');
$standby->promote;
is($standby->safe_psql('plant', "$judge; SELECT components ->> 'log' FROM factory.judge('defects', '{\"n\": 7}')"), "MANY\nwritten",
	'after promotion it judges and logs');
$standby->stop;

# --- logical replication -----------------------------------------------------------------

my $reports = PostgreSQL::Test::Cluster->new('reports');
$reports->init;
$reports->append_conf('postgresql.conf', "shared_preload_libraries = 'pg_factory'\n");
$reports->start;
$reports->safe_psql('postgres', 'CREATE EXTENSION pg_factory; CREATE ROLE engineer; CREATE ROLE north_engineer;');
$node->safe_psql('plant', 'CREATE PUBLICATION decisions FOR TABLE factory.decision, factory.decision_version, factory.deployment, factory.judgment_log WITH (publish_via_partition_root = true)');
(my $source = $node->connstr('plant')) =~ s/'//g;
# Since 16 rows arrive as the table's owner unless told otherwise, and him row security binds.
my $as_owner = $reports->pg_version >= 16 ? 'WITH (run_as_owner = true)' : '';
$reports->safe_psql('postgres', "CREATE SUBSCRIPTION decisions CONNECTION '$source' PUBLICATION decisions $as_owner");
$reports->wait_for_subscription_sync($node, 'decisions');
is($reports->safe_psql('postgres', 'SELECT tenant_id, count(*) FROM factory.judgment_log GROUP BY 1 ORDER BY 1'),
	$node->safe_psql('plant', 'SELECT tenant_id, count(*) FROM factory.judgment_log GROUP BY 1 ORDER BY 1'), 'the log is copied, of all tenants');
my $session = $reports->background_psql('postgres');
is($session->query_safe(q{SELECT status FROM factory.decide('defects', '{"n": 1}')}), 'OK', 'the copy decides by the version in force');
$node->safe_psql('plant', q{SELECT factory.deploy('defects', 2)});
$node->wait_for_catchup('decisions');
is($session->query_safe(q{SELECT status FROM factory.decide('defects', '{"n": 1}')}), 'FEW',
	'a deployment that is replicated reaches the sessions that are open there');
$session->quit;
$node->safe_psql('plant', $judge);
$node->wait_for_catchup('decisions');
is($reports->safe_psql('postgres', 'SELECT count(*) FROM factory.judgment_log'), $node->safe_psql('plant', 'SELECT count(*) FROM factory.judgment_log'),
	'and judgments follow');
$reports->stop;

# --- a server that did not load the library ------------------------------------------------

$node->append_conf('postgresql.conf', "shared_preload_libraries = ''\n");
$node->restart;
($code, $out, $err) = $node->psql('plant', $judge);
like($err, qr/pg_factory must be loaded when the server starts.*HINT:.*shared_preload_libraries = 'pg_factory'/s,
	'without the library in the server nothing is judged, and it says what to do');
is($node->safe_psql('plant', 'SELECT count(*) FROM production'), 100, 'while the rest of the database works');
$node->stop;
done_testing();
