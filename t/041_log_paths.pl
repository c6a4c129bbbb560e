# The writer puts rows straight into the judgment log where nothing else has a say, and
# by a statement where something has: the same rows come of both.
use strict;
use warnings;

BEGIN { $ENV{PG_TEST_TIMEOUT_DEFAULT} //= 60; }
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('paths');
$node->init;
$node->append_conf('postgresql.conf', q{
shared_preload_libraries = 'pg_factory, auto_explain'
auto_explain.log_min_duration = 0
auto_explain.log_nested_statements = on
factory.log = async
factory.queue_delay = 20ms
});
$node->start;

sub sql { return $node->safe_psql('postgres', $_[0]); }
sub becomes_true { return ok($node->poll_query_until('postgres', $_[0]), $_[1]); }

# How often the log was written by a statement since the last time this was asked.
my $log_read = 0;
sub statements
{
	my @found = slurp_file($node->logfile, $log_read) =~ /INSERT INTO factory\.judgment_log/g;
	$log_read = -s $node->logfile;
	return scalar @found;
}

sql('CREATE EXTENSION pg_factory');
sql(q{SELECT factory.create_decision('heat', '{"inputs": {"celsius": "int", "place": "text"},
	"rules": [{"id": "hot", "when": "celsius > 70", "confidence": 0.9, "then": {"status": "HOT", "severity": "warning", "recommended_actions": ["cool"]}}],
	"default": {"status": "FINE", "severity": "info"}}')});
sql('SELECT factory.make_log_months()');
becomes_true(q{SELECT (factory.judge('heat', '{"celsius": 0}')).components ->> 'log' = 'queued'}, 'a writer comes');
becomes_true('SELECT records = 0 FROM factory.queue_status', 'and has written');
sql('TRUNCATE factory.judgment_log');

# Plain rows, undecided ones, long inputs; of this month, of the next, and of one that has no partition.
my $judge = q{SELECT count(*) FROM (
	SELECT factory.judge('heat', jsonb_strip_nulls(jsonb_build_object('celsius', CASE WHEN n % 7 <> 0 THEN n % 100 END, 'place', 'hall ' || n,
		'note', CASE WHEN n % 100 = 0 THEN (SELECT string_agg(md5((n * i)::text), '') FROM generate_series(1, 300) AS i) END)))
	FROM generate_series(1, 1500) AS n) AS judged};
sub judge_all
{
	my $months = sub { return sql("SELECT to_char(now() + '$_[0]', 'YYYY-MM-15 12:00:00+00')") };
	return join ' ', map { sql("SET factory.frozen_clock = '$_'; $judge") } sql('SELECT now()'), $months->('1 month'), '2020-02-02 02:02:02+00';
}
my $all = q{count(*) = 4500 AND count(DISTINCT (input, created_at)) = 4500};

statements();
is(judge_all(), '1500 1500 1500', 'rows are judged');
becomes_true("SELECT $all FROM factory.judgment_log", 'and written');
is(statements(), 0, 'without a statement');
is(sql('SELECT count(DISTINCT tableoid) FROM factory.judgment_log'), 3, 'each into its month, or where it has none, into the rest');
is(sql(q{SET enable_seqscan = off; SELECT count(*) FROM factory.judgment_log AS l, LATERAL factory.find_judgment(l.execution_id) AS found
	WHERE found.input = l.input}), 4500, 'all are found by the index of their ids');
is(sql(q{SET enable_seqscan = off; SELECT count(*) FROM factory.judgment_log WHERE tenant_id = 'default' AND decision = 'heat' AND created_at < '2021-01-01'}),
	1500, 'and by that of decisions');

# The same by a statement: a check has a say.
sql(q{CREATE TABLE straight AS SELECT * FROM factory.judgment_log; TRUNCATE factory.judgment_log;
	ALTER TABLE factory.judgment_log ADD CONSTRAINT has_a_say CHECK (version > 0)});
is(judge_all(), '1500 1500 1500', 'where a check has a say');
becomes_true("SELECT $all FROM factory.judgment_log", 'the rows are written too');
cmp_ok(statements(), '>', 0, 'by statements');
my $columns = sql(q{SELECT string_agg(attname, ', ' ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'straight'::regclass AND attnum > 0
	AND attname NOT IN ('execution_id', 'execution_time_ms', 'created_at', 'components')});
$columns .= q{, components - 'rule_time_ms', date_trunc('month', created_at)};
is(sql(qq{SELECT count(*) FROM ((SELECT $columns FROM straight EXCEPT ALL
		SELECT $columns FROM factory.judgment_log)) AS other}), 0, 'and are the same');
sql('ALTER TABLE factory.judgment_log DROP CONSTRAINT has_a_say');

# A trigger of somebody's on one partition: that one's rows only.
sql(q{CREATE TABLE seen (n int); CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO public.seen VALUES (1); RETURN NEW; END';
	TRUNCATE factory.judgment_log;
	CREATE TRIGGER see BEFORE INSERT ON factory.judgment_log_default FOR EACH ROW EXECUTE FUNCTION see()});
judge_all();
becomes_true("SELECT $all FROM factory.judgment_log", 'with a trigger on one partition all are written');
is(sql('SELECT count(*) FROM seen'), 1500, 'and it has seen its own');
sql('DROP TRIGGER see ON factory.judgment_log_default; TRUNCATE factory.judgment_log');

# A row that an index refuses loses only itself.
sql('CREATE UNIQUE INDEX once ON factory.judgment_log_default (input)');
is(sql("SET factory.frozen_clock = '2020-02-02 02:02:02+00'; " .
	q{SELECT count(factory.judge('heat', jsonb_build_object('celsius', n % 39))) FROM generate_series(1, 40) AS n}), 40, 'a row that is there already');
becomes_true('SELECT dropped = 1 AND records = 0 FROM factory.queue_status', 'is dropped and counted');
is(sql('SELECT count(*) FROM factory.judgment_log'), 39, 'and the others are written');
like(slurp_file($node->logfile), qr/a queued row of "factory\.judgment_log" was dropped: .*once/, 'the log says why');
$node->stop('fast');
unlike(slurp_file($node->logfile), qr/PANIC|TRAP:|WARNING:/, 'nothing else was to be said');
done_testing();
