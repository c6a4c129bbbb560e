# Schedulers stand in nobody's way: DROP, CREATE and ALTER DATABASE, DROP EXTENSION.
use strict;
use warnings;

BEGIN { $ENV{PG_TEST_TIMEOUT_DEFAULT} //= 60; }
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $node = PostgreSQL::Test::Cluster->new('databases');
$node->init;
$node->append_conf('postgresql.conf', q{
shared_preload_libraries = 'pg_factory'
factory.max_databases = 3
log_statement = none
});
$node->start;

# The database has a view that is refreshed every second.
sub plan_refresh
{
	my ($database) = @_;
	return $node->safe_psql($database, q{
CREATE EXTENSION IF NOT EXISTS pg_factory;
CREATE MATERIALIZED VIEW IF NOT EXISTS mv AS SELECT clock_timestamp() AS at;
SELECT factory.schedule_refresh('mv', 'every second');
});
}

sub is_served
{
	my ($database, $story) = @_;
	my $before = $node->safe_psql($database, 'SELECT at FROM mv');
	return ok($node->poll_query_until($database, "SELECT at > '$before' FROM mv"), $story);
}

# The command works, and soon.
sub works
{
	my ($database, $command, $story) = @_;
	my $start = time;
	my ($rc, $out, $err) = $node->psql($database, $command);
	is($rc, 0, $story) or diag($err);
	cmp_ok(time - $start, '<', 5, '... without hanging');
	return;
}

$node->safe_psql('postgres', "CREATE DATABASE $_") for qw(seoul busan);
plan_refresh('seoul');
plan_refresh('busan');
is_served('seoul', 'a scheduler serves one database');
is_served('busan', 'and another serves another');
$node->safe_psql('postgres', 'CREATE EXTENSION pg_factory');
is($node->safe_psql('postgres', q{SELECT string_agg(database, ' ' ORDER BY database) FROM factory.worker_status
	WHERE kind = 'scheduler' AND pid IS NOT NULL}), 'busan seoul', 'none sits where there is nothing to do');

# What needs the database empty.
works('postgres', 'ALTER DATABASE busan RENAME TO pusan', 'a served database can be renamed');
is_served('pusan', 'and is served again');
works('postgres', 'CREATE DATABASE incheon TEMPLATE pusan', 'it can be copied');
is_served('pusan', 'and is served again');
like($node->safe_psql('incheon', 'SELECT reason FROM factory.activity()'), qr/is a copy or a restored dump of the one that was activated/,
	'the copy rests, as nobody has asked for two');
$node->safe_psql('incheon', 'SELECT factory.activate()');
is_served('incheon', 'and is served when it is activated');
is($node->safe_psql('postgres', q{SELECT count(*) FROM factory.worker_status WHERE kind = 'scheduler'}), 3,
	'all places are taken now');

my $place = PostgreSQL::Test::Utils::tempdir();
$node->safe_psql('postgres', "CREATE TABLESPACE elsewhere LOCATION '$place'");
works('postgres', 'ALTER DATABASE pusan SET TABLESPACE elsewhere', 'it can be moved');
is_served('pusan', 'and is served again');
works('postgres', 'ALTER DATABASE pusan IS_TEMPLATE true', 'it can become a template');
works('postgres', 'CREATE DATABASE daejeon TEMPLATE pusan; DROP DATABASE daejeon', 'of which copies are made');
works('postgres', 'ALTER DATABASE pusan IS_TEMPLATE false ALLOW_CONNECTIONS false', 'and can be closed to everybody');
works('postgres', 'ALTER DATABASE pusan ALLOW_CONNECTIONS true', 'and opened');
is_served('pusan', 'and is served again');

unlike(slurp_file($node->logfile), qr/"pg_factory launcher" .* exited with exit code 1/, 'the launcher of a new server has lived since its first start');

# Whoever is quick is not overlooked: the launcher may be finding just then that it is closed.
for my $round (1 .. 15)
{
	$node->safe_psql('postgres', 'ALTER DATABASE pusan ALLOW_CONNECTIONS false');
	$node->safe_psql('postgres', 'ALTER DATABASE pusan ALLOW_CONNECTIONS true');
}
is_served('pusan', 'closed and opened again and again, it is served');

# One database more than there are places.
$node->safe_psql('postgres', 'CREATE DATABASE daegu');
my ($rc, $out, $err) = $node->psql('daegu', q{
CREATE EXTENSION pg_factory;
CREATE MATERIALIZED VIEW mv AS SELECT clock_timestamp() AS at;
SELECT factory.schedule_refresh('mv', 'every second');
});
like($err, qr/WARNING:  no scheduler can be started for this database.*All 3 places.*factory\.max_databases/s,
	'one database too many is told so');

# A refused command changes nothing.
$node->safe_psql('postgres', 'CREATE ROLE guest LOGIN');
my $pid = $node->safe_psql('postgres', q{SELECT pid FROM factory.worker_status WHERE database = 'seoul'});
($rc, $out, $err) = $node->psql('postgres', 'SET ROLE guest; DROP DATABASE seoul');
like($err, qr/must be owner of database/, 'a guest cannot drop a database');
is($node->safe_psql('postgres', q{SELECT pid FROM factory.worker_status WHERE database = 'seoul'}), $pid,
	'nor stop its scheduler by trying');
($rc, $out, $err) = $node->psql('postgres', 'BEGIN; DROP DATABASE seoul');
like($err, qr/cannot run inside a transaction block/, 'nor can a transaction block');
is_served('seoul', 'and the database is served on');

works('postgres', 'DROP DATABASE incheon', 'a served database can be dropped');
is_served('daegu', 'and its place goes to the one that waited');
works('postgres', 'DROP DATABASE pusan WITH (FORCE)', 'by force, too');
ok($node->poll_query_until('postgres', q{SELECT count(*) = 2 FROM factory.worker_status WHERE kind = 'scheduler'}),
	'and its place is free again');

# DROP EXTENSION while the worker runs; and back again.
$node->safe_psql('seoul', 'BEGIN; DROP EXTENSION pg_factory CASCADE; ROLLBACK');
is_served('seoul', 'a DROP EXTENSION rolled back changes nothing');
for my $round (1 .. 2)
{
	works('seoul', 'DROP EXTENSION pg_factory CASCADE', "the extension can be dropped ($round)");
	ok($node->poll_query_until('postgres', q{SELECT count(*) = 0 FROM pg_stat_activity
		WHERE datname = 'seoul' AND backend_type = 'pg_factory scheduler'}), 'and its scheduler goes');
	plan_refresh('seoul');
	is_served('seoul', 'made again, it works again');
}

# Even while a refresh is going on.
$node->safe_psql('seoul', q{CREATE MATERIALIZED VIEW mv_slow AS SELECT pg_sleep(30) IS NULL AS slept WITH NO DATA;
SELECT factory.schedule_refresh('mv_slow', 'every second')});
ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_activity
	WHERE query = 'refreshing public.mv_slow'}), 'a long refresh is under way');
works('seoul', 'DROP EXTENSION pg_factory CASCADE', 'the extension can be dropped meanwhile');
works('postgres', 'DROP DATABASE seoul', 'and the database');

# Fast shutdown in the middle of it.
$node->safe_psql('daegu', q{CREATE MATERIALIZED VIEW mv_slow AS SELECT pg_sleep(30) IS NULL AS slept WITH NO DATA;
SELECT factory.schedule_refresh('mv_slow', 'every second')});
ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_activity
	WHERE query = 'refreshing public.mv_slow'}), 'a long refresh is under way');
my $start = time;
$node->stop('fast');
cmp_ok(time - $start, '<', 5, 'the server stops all the same');
unlike(slurp_file($node->logfile), qr/PANIC|TRAP:|terminated by signal|ERROR:  (?!must be owner|DROP DATABASE cannot|canceling)/,
	'and no worker has complained');
done_testing();
