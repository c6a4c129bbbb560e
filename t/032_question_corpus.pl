# Questions against numbers that a person's SQL gives, and questions that must not be
# answered.  Wrong numbers and unwanted refusals are counted apart.
use strict;
use warnings;
use utf8;
use open ':std', ':encoding(UTF-8)';
use Encode qw(decode encode);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $cases = "$ENV{FACTORY_ROOT}/t/cases/questions";
my $node = PostgreSQL::Test::Cluster->new('questions');
$node->init(extra => [ '--encoding=UTF8', '--locale=C.UTF-8' ]);
$node->append_conf('postgresql.conf', qq(
shared_preload_libraries = 'pg_factory'
factory.timezone = 'Asia/Seoul'
factory.frozen_clock = '2026-01-15 09:30:00+09'
fsync = off
));
$node->start;
$node->safe_psql('postgres', 'CREATE DATABASE plant');
$node->safe_psql('plant', 'CREATE EXTENSION pg_factory');

sub run_script
{
	my ($script) = @_;
	my ($out, $err) = ('', '');
	$script = encode('UTF-8', $script);
	local $ENV{PGCLIENTENCODING} = 'UTF8';
	IPC::Run::run([ 'psql', '-X', '-q', '-A', '-t', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('plant') ],
		'<', \$script, '>', \$out, '2>', \$err) or die $err;
	return decode('UTF-8', $out);
}

my $catalog = decode('UTF-8', slurp_file("$ENV{FACTORY_ROOT}/demo/catalog.json"));
run_script("\\i $ENV{FACTORY_ROOT}/demo/load.sql\n\\i $cases/check.sql\n"
	  . join('', map { "REFRESH MATERIALIZED VIEW $_;\n" }
		  qw(mv_oee_daily mv_line_performance_daily mv_defect_trend_hourly mv_inventory_coverage_daily))
	  . "SELECT factory.load_catalog(\$catalog\$$catalog\$catalog\$);\n");

# --- answered -----------------------------------------------------------------------

# What comes of the questions of a file, each with a person's SQL: all of them, those
# with a wrong number, those asked back, and [question, rows written down] of each SQL.
sub judged
{
	my ($file) = @_;
	my (@checks, @results, @wrong, @asked);
	for my $record (grep { /^ask:/m } split /\n\n+/, decode('UTF-8', slurp_file("$cases/$file")))
	{
		my ($before) = $record =~ /^context: (.*)$/m;
		my ($sql) = $record =~ /^sql: (.*)$/m;
		my ($rows) = $record =~ /^rows: (.*)$/m;
		push @results, [ $sql, $rows ];
		push @checks, [ $_, $before // '', $sql ] for $record =~ /^ask: (.*)$/mg;
	}
	my @verdicts = split /\n/, run_script(join '', map { "SELECT coalesce(replace(wrong(\$q\$$_->[0]\$q\$, \$q\$$_->[1]\$q\$, \$q\$$_->[2]\$q\$), E'\\n', ' '), 'ok');\n" } @checks);
	is(scalar @verdicts, scalar @checks, "$file: each of " . @checks . ' questions has a verdict');
	for my $i (0 .. $#checks)
	{
		next if $verdicts[$i] eq 'ok';
		push @{ $verdicts[$i] =~ /^ASKS/ ? \@asked : \@wrong }, "$checks[$i][0]: $verdicts[$i]";
	}
	is(join("\n", @wrong), '', "$file: no number is wrong");
	return (\@checks, \@wrong, \@asked, @results);
}

my ($checks, $wrong, $asked, @results) = judged('answered.txt');
is(join("\n", @$asked), '', 'and none of them is asked back');

# The person's SQL gives what it gave when it was written.
my @shown = split /\n/, run_script(join '', map { "SELECT shown(rows_of(\$q\$$_->[0]\$q\$));\n" } @results);
if ($ENV{FACTORY_CORPUS_WRITE})
{
	my $text = decode('UTF-8', slurp_file("$cases/answered.txt"));
	my $i = 0;
	$text =~ s/^(sql: .*)(?:\nrows: .*)?$/"$1\nrows: " . $shown[$i++]/mge;
	open my $file, '>:encoding(UTF-8)', $ENV{FACTORY_CORPUS_WRITE} or die;
	print $file $text;
	close $file;
}
my @changed = map { "$results[$_][0]: $shown[$_]" } grep { ($results[$_][1] // '') ne $shown[$_] } 0 .. $#results;
is(join("\n", @changed), '', 'the rows written down are what the SQL gives');

# --- not answered -------------------------------------------------------------------

my @back = map { [ /^(.*?) \|\s?(.*)$/ ] } grep { !/^#/ && /\|/ } split /\n/, decode('UTF-8', slurp_file("$cases/asked_back.txt"));
cmp_ok(scalar @back, '>=', 40, scalar(@back) . ' questions must be asked back');
my @answers = split /\n/, run_script(join '', map { "SELECT coalesce(replace(a #>> '{clarification,question}', E'\\n', ' '), 'ANSWERED: ' || replace(a ->> 'sql', E'\\n', ' ')) FROM factory.ask(\$q\$$_->[0]\$q\$) AS a;\n" } @back);
my @guessed = map { "$back[$_][0]: $answers[$_]" } grep { $answers[$_] =~ /^ANSWERED/ } 0 .. $#back;
is(join("\n", @guessed), '', 'and are');
my @unclear = map { "$back[$_][0]: $answers[$_]" } grep { index($answers[$_], $back[$_][1]) < 0 && $answers[$_] !~ /^ANSWERED/ } 0 .. $#back;
is(join("\n", @unclear), '', 'each says what is unclear');
note("$back[$_][0]: $answers[$_]") for 0 .. $#back;
note(sprintf 'own set: %d questions, %d answered, %d asked back, %d wrong; %d to be asked back, %d answered',
	scalar @$checks, @$checks - @$asked, scalar @$asked, scalar @$wrong, scalar @back, scalar @guessed);

# Held out: asking back is counted, and is no failure; a wrong number is.
my ($held, $held_wrong, $held_asked) = judged('held_out.txt');
note(sprintf 'held-out set: %d questions, %d answered, %d asked back, %d wrong',
	scalar @$held, @$held - @$held_asked - @$held_wrong, scalar @$held_asked, scalar @$held_wrong);
note($_) for @$held_asked;
cmp_ok(@$held_asked / @$held, '<', 0.25, 'most of the held-out questions are answered');

$node->stop;
done_testing();
