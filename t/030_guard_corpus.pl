# The guard against its corpora: no attack passes, no analytic query is refused.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('guard');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'pg_factory'\n");
$node->start;
$node->safe_psql('postgres', <<"SQL");
CREATE EXTENSION pg_factory;
\\i $ENV{FACTORY_ROOT}/t/cases/guard/fixture.sql
CREATE ROLE analyst LOGIN;
GRANT factory_analyst TO analyst;
SQL

# Statements of a corpus, separated by lines of "--".
sub corpus
{
	my ($name) = @_;
	return split /^--\n/m, slurp_file("$ENV{FACTORY_ROOT}/t/cases/guard/$name.sql");
}

# Verdicts of all of them, in one session that has a temporary table of its own.
sub verdicts
{
	my (@statements) = @_;
	my $script = "CREATE TEMP TABLE shadow AS SELECT 1 AS value;\n"
	  . "GRANT SELECT ON shadow TO factory_reader;\n";
	$script .= "SELECT ok, coalesce(layer, '-'), replace(coalesce(reason, '-'), E'\\n', ' ') FROM factory.check_sql(\$guard\$$_\$guard\$);\n"
	  for @statements;
	my $out = $node->safe_psql('postgres', $script);
	return map { [ split /\|/, $_, 3 ] } split /\n/, $out;
}

my @attacks = corpus('attacks');
my @verdicts = verdicts(@attacks);
is(scalar @verdicts, scalar @attacks, scalar(@attacks) . ' attacks are judged');
my @passed = map { $attacks[$_] } grep { $verdicts[$_][0] ne 'f' } 0 .. $#attacks;
is("@passed", '', 'none passes');
my @unnamed = map { $attacks[$_] } grep { $verdicts[$_][1] eq '-' } 0 .. $#attacks;
is("@unnamed", '', 'each verdict names its layer');
my %layer;
$layer{ $_->[1] }++ for @verdicts;
note("$layer{$_} refused by $_") for sort keys %layer;
note("$verdicts[$_][1]: $verdicts[$_][2] <- $attacks[$_]") for 0 .. $#attacks;

# Judged is not run; run, they fail the same way and leave nothing.
my $run = join '', map { "SELECT * FROM factory.run_sql(\$guard\$$_\$guard\$);\n" } @attacks;
my ($status, $out, $err) = $node->psql('postgres', "SET statement_timeout = '20s';\n$run", on_error_stop => 0);
is($out, '', 'run_sql returns nothing for any of them');
my $refused = () = $err =~ /statement refused/g;
is($refused, scalar @attacks, 'and refuses each');
is($node->safe_psql('postgres', 'SELECT count(*), sum(value) FROM reading'), '5|15', 'the data is as it was');
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"), '0', 'no lock is left');

my @legitimate = corpus('legitimate');
@verdicts = verdicts(@legitimate);
my @refused = map { "$legitimate[$_]($verdicts[$_][1]: $verdicts[$_][2])" } grep { $verdicts[$_][0] ne 't' } 0 .. $#legitimate;
is(join("\n", @refused), '', scalar(@legitimate) . ' analytic statements pass');
$run = join '', map { "SELECT count(*) >= 0 FROM factory.run_sql(\$guard\$$_\$guard\$);\n" } @legitimate;
($status, $out, $err) = $node->psql('postgres', "SET ROLE analyst;\n$run", on_error_stop => 0);
is($err, '', 'and run, for an analyst without rights of its own');
is($out, join("\n", ('t') x @legitimate), 'each to its end');

# Limits hold while it runs.
($status, $out, $err) = $node->psql('postgres', <<'SQL');
SET factory.question_timeout = '200ms';
SELECT factory.run_sql('SELECT count(*) FROM production a, production b, production c, production d, production e, production f');
SQL
like($err, qr/ran longer than 200 ms/, 'our own timer ends a statement');
is($node->safe_psql('postgres', "SELECT count(*) FROM factory.run_sql('SELECT generate_series(1, 50)', 7)"), '7', 'rows are capped');
is($node->safe_psql('postgres', "SET factory.question_max_bytes = '1kB'; SELECT count(*) < 100 FROM factory.run_sql('SELECT repeat(''x'', 100), generate_series(1, 1000)')"),
	't', 'and bytes');
($status, $out, $err) = $node->psql('postgres', "SET statement_timeout = '300ms'; SELECT factory.run_sql('SELECT count(*) FROM production a, production b, production c, production d, production e, production f')");
like($err, qr/canceling statement due to statement timeout/, "the caller's own timeout is the caller's");

# Whoever asks, only the reader reads, and only this tenant's rows.
$node->safe_psql('postgres', "INSERT INTO reading VALUES ('other', 1000)");
is($node->safe_psql('postgres', "SELECT factory.run_sql('SELECT sum(value) AS sum FROM reading_view')->>'sum'"), '15', "another tenant's rows are not there, through views neither");
is($node->safe_psql('postgres', 'BEGIN; INSERT INTO secret VALUES (1); SELECT factory.run_sql($$SELECT 1 AS one$$); INSERT INTO secret VALUES (2); COMMIT; SELECT count(*) FROM secret'),
	"{\"one\": 1}\n2", 'the caller\'s transaction stays writable');

# The owner may widen the list, and narrow it.
my $sneaky = "SELECT ok FROM factory.check_sql('SELECT sneaky(1)')";
is($node->safe_psql('postgres', "$sneaky; INSERT INTO factory.allowed_function (function) VALUES ('public.sneaky(integer)'); $sneaky"), "f\nt", 'a function is allowed by a row');
is($node->safe_psql('postgres', "INSERT INTO factory.allowed_function (function, allowed) VALUES ('pg_catalog.md5', false); SELECT ok FROM factory.check_sql('SELECT md5(''x'')')"), 'f', 'and forbidden by one');

$node->stop;
done_testing();
