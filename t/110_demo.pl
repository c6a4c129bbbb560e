# The steps of scripts/demo, on a server of the test's own: plant, documents, model,
# the four views by the worker, a question; and each step again.
use strict;
use warnings;
use utf8;
use open ':std', ':encoding(UTF-8)';
use FactoryPeer;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $demo = "$ENV{FACTORY_ROOT}/demo";
my $node = PostgreSQL::Test::Cluster->new('demo');
$node->init(extra => [ '--encoding=UTF8', '--locale=C.UTF-8' ]);
$node->append_conf('postgresql.conf', qq(
shared_preload_libraries = 'pg_factory'
factory.timezone = 'Asia/Seoul'
));
$node->start;
$node->safe_psql('postgres', 'CREATE DATABASE plant');
$node->safe_psql('plant', 'CREATE EXTENSION pg_factory');

# A file of demo/ with variables of psql; its output.
sub run_file
{
	my ($file, %variables) = @_;
	my ($out, $err);
	my @arguments = map { ('-v', "$_=$variables{$_}") } sort keys %variables;
	local $ENV{PGCLIENTENCODING} = 'UTF8';
	utf8::encode($_) for @arguments;
	IPC::Run::run([ 'psql', '-X', '-q', '-A', '-t', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('plant'), @arguments,
			'-f', "$demo/$file" ], '>', \$out, '2>', \$err)
		or die "$file: $err";
	utf8::decode($out);
	return $out;
}

sub document { return PostgreSQL::Test::Utils::slurp_file("$demo/$_[0]") }
sub value { return $node->safe_psql('plant', $_[0]) }

run_file('load.sql');
run_file('access.sql');
is(value('SELECT count(DISTINCT date) FROM fact_daily_production'), '90', 'the plant has its 90 days');

# Documents go in once; a changed one is a new version.
my $definition = document('decisions/defect_rate.json');
run_file('decision.sql', name => 'defect_rate', definition => $definition) for 1 .. 2;
is(value("SELECT count(*) FROM factory.decision_version WHERE decision = 'defect_rate'"), '1', 'the same document makes no version');
(my $changed = $definition) =~ s/defect_rate >= 0\.05/defect_rate >= 0.06/;
run_file('decision.sql', name => 'defect_rate', definition => $changed);
is(value(q(SELECT version || ' ' || status FROM factory.judge('defect_rate', '{"defect_count": 5, "production_count": 100}', 'RULE_ONLY'))),
	'2 MODERATE_DEFECT', 'a changed document is judged by at once');
run_file('decision.sql', name => 'defect_rate', definition => $definition);
is(value(q(SELECT version || ' ' || status FROM factory.judge('defect_rate', '{"defect_count": 5, "production_count": 100}', 'RULE_ONLY'))),
	'3 HIGH_DEFECT', 'and back: 5 of 100 is high');

my $catalog = PostgreSQL::Test::Utils::slurp_file("$demo/catalog.json");
utf8::decode($catalog);
run_file('catalog.sql', catalog => $catalog) for 1 .. 2;
is(value('SELECT count(*) FROM factory.catalog'), '1', 'the same catalogue makes no version');

# Without a model the hybrid says so; with one it is asked; without again.
my $judge = q(SELECT method_used || ' ' || (degraded IS NOT NULL)
	FROM factory.judge('defect_rate', '{"defect_count": 31, "production_count": 1000}'));
run_file('model.sql', url => '', model => 'm', key_file => '');
is(value($judge), 'rule_only true', 'no model: the rules alone, and it says so');
my $peer = FactoryPeer->new(chat_json({ status => 'MODERATE_DEFECT', severity => 'warning', confidence => 0.75,
	explanation => 'worn', recommended_actions => [] }));
my $key_file = PostgreSQL::Test::Utils::tempdir() . '/key';
PostgreSQL::Test::Utils::append_to_file($key_file, 'sk-demo');
chmod 0600, $key_file;
run_file('model.sql', url => $peer->url, model => 'm', key_file => $key_file) for 1 .. 2;
is(value($judge), 'hybrid_weighted false', 'a model: rules and model');
is(value('SHOW factory.question_model'), 'demo', 'and questions may ask it');
run_file('model.sql', url => '', model => 'm', key_file => '');
is(value($judge), 'rule_only true', 'taken away again');

# The worker fills the views, then keeps to the plant's hours.
run_file('views_due.sql');
ok($node->poll_query_until('plant', q(SELECT count(DISTINCT view) = 4 FROM factory.refresh_run
	WHERE status = 'succeeded' AND scheduled_for IS NOT NULL)), 'the worker refreshes the four views');
run_file('schedule.sql');
is(value(q(SELECT string_agg(to_char(next_due AT TIME ZONE 'Asia/Seoul', 'HH24:MI'), ' ' ORDER BY schedule)
	FROM factory.refresh_status WHERE view NOT LIKE '%hourly')), '04:00 06:00 06:05', 'next due by Korean time');

my $answer = run_file('show_answer.sql', question => '지난 7일간 LINE-A 불량률');
like($answer, qr/FROM public\.mv_/, 'a question is answered from a view');
is(scalar(() = $answer =~ /█ \d+\.\d\d %/g), 7, 'with a bar for each of the seven days');

like(run_file('show_json.sql', depth => 2, answer => '{"list": [1, 2, 3, 4], "deep": {"a": {"b": {"c": 1}}}}'),
	qr/"deep": \{"a": "\{\.\.\.\}"\}, "list": \[1, 2, "\.\.\. 2 more"\]/, 'JSON is cut where long or deep');

# Another day: everything anew, in place.
run_file('generate.sql', today => '2026-03-04', scale => 2);
is(value('SELECT max(date) FROM fact_daily_production'), '2026-03-04', 'the plant moves to the day it is told');
is(value("SELECT count(*) FROM dim_product"), '8', 'twice the variants');

$node->stop;
done_testing();
