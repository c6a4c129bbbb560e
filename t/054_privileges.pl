# docs/reference/privileges.md says what the catalogue says, of every function, table
# and view.  What it should say lies in privileges.md among this test's files: copy it
# over the page, and fill in the locks of what is new.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $page = slurp_file("$ENV{FACTORY_ROOT}/docs/reference/privileges.md");
my $node = PostgreSQL::Test::Cluster->new('privileges');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'pg_factory'\n");
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION pg_factory');
my @rows = map { [ split /\|/, $_, -1 ] } split /\n/, $node->safe_psql('postgres', slurp_file("$ENV{FACTORY_ROOT}/t/lib/privileges.sql"));
$node->stop;

# The page: its prose, and its rows, each with locks that only people know.
my %rows_of_page = map { /^\| `(.+?)` \| (.*) \|$/ ? ($1 => $2) : () } split /\n/, $page;
my %locks = map { $_ => (split / \| /, $rows_of_page{$_})[-1] } grep { /\(/ } keys %rows_of_page;

sub row
{
	my ($kind, $name, @says) = @{ $_[0] };
	return "| `$name` | " . join(' | ', $kind eq 'function' ? (@says, $locks{$name} // '?') : @says[ 0, 1 ]) . ' |';
}

my %wanted = map { $_->[1] => row($_) } @rows;
foreach my $row (@rows)
{
	my ($kind, $name) = @$row;
	my $there = exists $rows_of_page{$name} ? "| `$name` | $rows_of_page{$name} |" : 'nothing';
	is($there, $wanted{$name}, "$kind $name");
}
is(join("\n", grep { !$wanted{$_} } sort keys %rows_of_page), '', 'the page tells of nothing that is not there');
is(join("\n", grep { $locks{$_} eq '?' } sort keys %locks), '', 'the locks of each function are said');

# The page as it should be.
my %section;
push @{ $section{ $_->[0] } }, row($_) foreach @rows;
$page =~ s/(<!-- $_ -->\n(?:\|.*\n){2})(?:\|.*\n)*/$1 . join("\n", @{ $section{$_} }) . "\n"/e foreach keys %section;
my $file = "$PostgreSQL::Test::Utils::tmp_check/privileges.md";
open my $copy, '>', $file or die "$file: $!";
print $copy $page;
close $copy;
done_testing();
