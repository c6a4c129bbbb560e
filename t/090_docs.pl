# The examples in README and docs are run, and print what they say they print.
#
# A block ```sql is run; ```sql outside needs something that no test has (a model's
# server, files of the reader's) and is not.  A bare ``` block right after one that
# was run is its output, compared but for spacing; ```text only illustrates.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $root = $ENV{FACTORY_ROOT};
my $mark = '-- end of block --';

my $node = PostgreSQL::Test::Cluster->new('docs');
$node->init;
$node->append_conf('postgresql.conf', qq(
shared_preload_libraries = 'pg_factory'
timezone = 'Asia/Seoul'
factory.timezone = 'Asia/Seoul'
));
$node->start;
$node->safe_psql('postgres', 'CREATE DATABASE plant');
$node->safe_psql('plant', 'CREATE EXTENSION pg_factory');
$node->command_ok(
	[ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '--single-transaction', '-d', $node->connstr('plant'),
		'-f', "$root/demo/load.sql", '-o', '/dev/null' ],
	'the demo plant is there for the examples');
$node->safe_psql('plant', 'REFRESH MATERIALIZED VIEW ' . $_)
	foreach qw(mv_oee_daily mv_defect_trend_hourly mv_line_performance_daily mv_inventory_coverage_daily);

# Pairs of a block that is run and the output that follows it, if one does.
sub examples
{
	my ($file) = @_;
	my @examples;
	my ($kind, $text, $after) = ('', '', 0);
	foreach my $line (split /\n/, slurp_file($file))
	{
		if ($kind eq '' && $line =~ /^```(.*)$/)
		{
			($kind, $text) = ($1 eq '' ? 'output' : $1, '');
		}
		elsif ($line eq '```')
		{
			push @examples, { sql => $text } if $kind eq 'sql';
			$examples[-1]{output} = $text if $kind eq 'output' && $after;
			($after, $kind) = ($kind eq 'sql', '');
		}
		elsif ($kind ne '') { $text .= "$line\n"; }
		elsif ($line =~ /\S/) { $after = 0; }
	}
	return @examples;
}

sub without_spacing
{
	my ($text) = @_;
	my @lines = grep { /\S/ && !/^[-+ ]+$/ && !/^\(\d+ rows?\)$/ } split /\n/, $text;
	s/\s+/ /g, s/^ | $//g foreach @lines;
	return join "\n", @lines;
}

foreach my $file (grep { -e } "$root/README.md", sort glob("$root/docs/*.md"))
{
	my ($name) = $file =~ m{([^/]+)$};
	my @examples = examples($file);
	next unless @examples;
	my $database = "docs_" . lc($name =~ s/\W/_/gr);
	$node->safe_psql('postgres', "CREATE DATABASE $database TEMPLATE plant");
	# A copy rests until it is told to act; a reader's database is none.
	$node->safe_psql($database, 'SELECT factory.activate()');
	my $script = join '', map { "$_->{sql}\n\\echo $mark\n" } @examples;
	my ($out, $err) = ('', '');
	IPC::Run::run(
		[ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr($database) ],
		'<', \$script, '>', \$out, '2>', \$err);
	my @outputs = split /^\Q$mark\E\n/m, $out, -1;
	is(scalar(@outputs) - 1, scalar(@examples), "$name: every example runs")
	  or diag("block " . scalar(@outputs) . ":\n$examples[$#outputs]{sql}\n$err");
	foreach my $i (grep { defined $examples[$_]{output} && $_ < $#outputs } 0 .. $#examples)
	{
		is(without_spacing($outputs[$i]), without_spacing($examples[$i]{output}), "$name: example " . ($i + 1) . ' prints what it says');
	}
}
$node->stop;
done_testing();
