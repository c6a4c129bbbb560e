# ALTER EXTENSION UPDATE: from every version that was released, and from one that was
# not, with data in it: afterwards the catalogue is that of a fresh install.
use strict;
use warnings;
use File::Copy;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $root = $ENV{FACTORY_ROOT};
my $sharedir = `pg_config --sharedir`;
chomp $sharedir;
my $extensions = "$sharedir/extension";
my ($version) = slurp_file("$root/pg_factory.control") =~ /^default_version *= *'(.+)'/m;
my @written;

sub install_script
{
	my ($name, $text) = @_;
	open my $file, '>', "$extensions/$name" or die "$extensions/$name: $!";
	print $file $text;
	close $file;
	push @written, "$extensions/$name";
}
END { unlink @written; }

# --- a version that never was -----------------------------------------------------

# This one, but some functions, a view and a trigger are not there yet, one function and
# one view say something else, and one is open to everybody.
my $old = slurp_file("$extensions/pg_factory--$version.sql");
sub earlier
{
	my ($what, $pattern, $instead) = @_;
	my $count = $old =~ s/$pattern/$instead/sg;
	is($count, 1, "earlier: $what");
}
earlier('no view resource_usage', qr/-- What the factory takes of the server\..*?GRANT SELECT ON factory\.resource_usage [^;]*;\n/s, '');
earlier('no trigger on tenants', qr/CREATE TRIGGER audit_change [^;]* ON factory\.tenant\s[^;]*;/, '');
earlier('another body', qr/'the log of judgments is off'|(?<=RAISE EXCEPTION )'permission denied for tenants'/, q{'no'});
earlier('a column less', qr/,\s*w\.since, w\.next_wake(?=\s+FROM factory\.worker_slots)/, ', w.since');
earlier('another comment', qr/'forgets a model; its server and the ledger stay'/, q{'drops a model'});
$old .= "GRANT EXECUTE ON FUNCTION factory.drop_model(text) TO PUBLIC;\n";
install_script('pg_factory--0.0.9.sql', $old);

# Its update script, as make writes one; it has no table changes.
my $parts = `cd '$root' && make -s update-parts`;
install_script("pg_factory--0.0.9--$version.sql", join "\n", map { slurp_file("$root/$_") } split ' ', $parts);

# --- updates ------------------------------------------------------------------------

my $node = PostgreSQL::Test::Cluster->new('upgrade');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'pg_factory'\n");
$node->start;
my $facts = slurp_file("$root/t/lib/catalogue.sql");

sub catalogue
{
	my ($database) = @_;
	return $node->safe_psql($database, $facts);
}

# What one has and the other has not.
sub difference
{
	my ($one, $other) = @_;
	my %known = map { $_ => 1 } split /\n/, $other;
	return join "\n", grep { !$known{$_} } split /\n/, $one;
}

$node->safe_psql('postgres', 'CREATE DATABASE fresh');
$node->safe_psql('fresh', 'CREATE EXTENSION pg_factory');
my $fresh = catalogue('fresh');

my $data = q{
	CREATE MATERIALIZED VIEW counted AS SELECT 1 AS one;
	CREATE SERVER peer FOREIGN DATA WRAPPER factory_llm OPTIONS (base_url 'https://models.example/v1');
	SELECT factory.create_tenant('busan'), factory.create_model('mini', 'peer', 'm'), factory.schedule_refresh('counted', 'hourly'),
		factory.create_decision('defects', '{"inputs": {"n": "integer"}, "rules": [{"id": "many", "when": "n > 5", "then": {"status": "MANY"}}]}');
	SELECT count(factory.judge('defects', jsonb_build_object('n', n))) FROM generate_series(1, 10) AS n;
	CREATE VIEW mine AS SELECT status FROM factory.judgment_log WHERE decision = 'defects';
};
my $rows = q{SELECT (SELECT count(*) FROM mine), (SELECT count(*) FROM factory.tenant), (SELECT max(name) FROM factory.model),
	(SELECT schedule FROM factory.refresh_schedule), (SELECT status FROM factory.judge('defects', '{"n": 7}'))};

my @released = map { /pg_factory--([\d.]+)\.sql$/ } glob "$root/upgrade/pg_factory--*.sql";
foreach my $from ('0.0.9', @released)
{
	(my $database = "from_$from") =~ s/\W/_/g;
	$node->safe_psql('postgres', "CREATE DATABASE $database");
	$node->safe_psql($database, "CREATE EXTENSION pg_factory VERSION '$from'");
	isnt(catalogue($database), $fresh, "$from is another one") if $from eq '0.0.9';
	$node->safe_psql($database, $data);
	my $before = $node->safe_psql($database, $rows);
	$node->safe_psql($database, 'ALTER EXTENSION pg_factory UPDATE');
	is($node->safe_psql($database, q{SELECT extversion FROM pg_extension WHERE extname = 'pg_factory'}), $version, "$from: updated");
	my $updated = catalogue($database);
	is(difference($updated, $fresh), '', "$from: nothing is there that a fresh install has not");
	is(difference($fresh, $updated), '', "$from: nothing is missing");
	$before =~ s/^10/11/;
	is($node->safe_psql($database, $rows), $before, "$from: the rows are there and work");
	$node->safe_psql($database, "ALTER EXTENSION pg_factory UPDATE TO '$version'");
}

# --- what stands in the way ------------------------------------------------------------

# A function that somebody made under a name that the new version brings: not replaced.
$node->safe_psql('postgres', 'CREATE DATABASE squatted');
$node->safe_psql('squatted', q{
	CREATE EXTENSION pg_factory VERSION '0.0.9';
	CREATE FUNCTION factory.resource_use(OUT resource text, OUT name text, OUT used bigint, OUT resource_limit bigint, OUT unit text)
		RETURNS SETOF record LANGUAGE sql AS 'SELECT ''x'', ''y'', 1, 2, ''z''';
});
my ($status, $out, $err) = $node->psql('squatted', 'ALTER EXTENSION pg_factory UPDATE');
isnt($status, 0, 'a stranger under our name stops the update');
like($err, qr/function factory\.resource_use\(\) is not a member of extension "pg_factory"/, 'and is named');
is($node->safe_psql('squatted', q{SELECT extversion FROM pg_extension WHERE extname = 'pg_factory'}), '0.0.9', 'nothing is half done');
$node->safe_psql('squatted', 'DROP FUNCTION factory.resource_use(); ALTER EXTENSION pg_factory UPDATE');
is(difference($fresh, catalogue('squatted')), '', 'once it is gone, it updates');

# A version that is not there.
($status, $out, $err) = $node->psql('fresh', q{ALTER EXTENSION pg_factory UPDATE TO '9.9'});
like($err, qr/no update path/, 'there is no way to a version unknown');

$node->stop;
done_testing();
