# Phrases of time against days worked out by hand: in three zones, at the first and
# the last second of the day, over years' ends, leap days and changes of the clock.
use strict;
use warnings;
use utf8;
use open ':std', ':encoding(UTF-8)';
use Encode qw(decode encode);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('periods');
$node->init(extra => [ '--encoding=UTF8', '--locale=C.UTF-8' ]);
$node->append_conf('postgresql.conf', qq(
shared_preload_libraries = 'pg_factory'
timezone = 'UTC'
fsync = off
));
$node->start;

sub run_script
{
	my ($script) = @_;
	my ($out, $err) = ('', '');
	$script = encode('UTF-8', $script);
	local $ENV{PGCLIENTENCODING} = 'UTF8';
	IPC::Run::run([ 'psql', '-X', '-q', '-A', '-t', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('postgres') ],
		'<', \$script, '>', \$out, '2>', \$err) or die $err;
	return decode('UTF-8', $out);
}

# One row an hour, worth one: a day's sum is its hours.
run_script(<<'SQL');
CREATE EXTENSION pg_factory;
CREATE TABLE hourly AS SELECT t AS hour, 1 AS hours FROM generate_series(timestamptz '2024-01-01 00:00+00', '2028-03-10 00:00+00', '1 hour') AS t;
CREATE INDEX ON hourly (hour);
GRANT SELECT ON hourly TO factory_reader;
SQL

sub use_zone
{
	my ($zone) = @_;
	return <<"SQL";
DO \$\$ BEGIN PERFORM factory.load_catalog('{"domain": "clock", "timezone": "$zone",
 "datasets": {"hourly": {"relation": "hourly", "grain": "hour", "time": "hour"}},
 "metrics": {"hours": {"label": {"ko": "시간합", "en": "Hours"}, "synonyms": ["defects"], "sql": "sum(hours)", "datasets": ["hourly"]}}}'); END \$\$;
SQL
}

my ($today, @cases);
for (split /\n/, decode('UTF-8', slurp_file("$ENV{FACTORY_ROOT}/t/cases/questions/periods.txt")))
{
	$today = $1 if /^today (\d{4}-\S+)$/;
	push @cases, [ $today, $1, $2, $3 ] if /^([^#]*?) \| (\S+) \| (\S+)$/;
}
my %phrases = map { $_->[1] => 1 } @cases;
cmp_ok(scalar keys %phrases, '>=', 60, scalar(keys %phrases) . ' phrases, ' . scalar(@cases) . ' cases');

for my $zone ('Asia/Seoul', 'America/New_York', 'Europe/Berlin')
{
	for my $time ('00:00:00', '23:59:59')
	{
		my $script = use_zone($zone);
		for my $case (@cases)
		{
			my $question = $case->[1] =~ /[가-힣]/ || $case->[1] !~ /[a-z]/i ? "$case->[1] 시간합" : "Hours $case->[1]";
			$question =~ s/^Hours (.*) defects$/defects $1/;
			$script .= "SELECT set_config('factory.frozen_clock', (timestamp '$case->[0] $time' AT TIME ZONE '$zone')::text, false) \\g /dev/null\n"
			  . "SELECT coalesce((a #>> '{period,from}') || ' ' || (a #>> '{period,until}'), '- -') || CASE WHEN a -> 'clarification' <> 'null' THEN ' asked' ELSE '' END FROM factory.plan(\$q\$$question\$q\$) AS a;\n";
		}
		my @got = split /\n/, run_script($script);
		my @wrong;
		for my $i (0 .. $#cases)
		{
			my $expected = $cases[$i][2] eq '-' ? qr/asked$/ : qr/^$cases[$i][2] $cases[$i][3]$/;
			push @wrong, "$cases[$i][0] $cases[$i][1]: $got[$i], expected $cases[$i][2] $cases[$i][3]" if $got[$i] !~ $expected;
		}
		is(join("\n", @wrong), '', "$zone at $time");
	}
}

# A day has the hours that the plant's clock has.
my @days = (
	[ 'Asia/Seoul', '2026-03-09', 24 ], [ 'America/New_York', '2026-03-09', 23 ], [ 'America/New_York', '2026-11-02', 25 ],
	[ 'Europe/Berlin', '2026-03-30', 23 ], [ 'Europe/Berlin', '2026-10-26', 25 ]);
for my $day (@days)
{
	my ($zone, $clock, $hours) = @$day;
	my $out = run_script(use_zone($zone)
		  . "SET factory.frozen_clock = '$clock 12:00 $zone';\nSELECT factory.ask('어제 시간합') #>> '{rows,0,0}';\n"
		  . "SELECT jsonb_array_length(factory.ask('어제 시간별 시간합') -> 'rows');\n");
	my $groups = $hours == 25 ? 24 : $hours;
	is($out, "$hours\n$groups\n", "the day before $clock in $zone has $hours hours");
}

$node->stop;
done_testing();
