# A scheduled view keeps itself fresh, whatever happens to the server.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('plant');
$node->init;
$node->append_conf('postgresql.conf', q{
shared_preload_libraries = 'pg_factory'
timezone = 'UTC'
log_min_messages = warning
});
$node->start;

sub sql { return $node->safe_psql('postgres', shift); }

sub becomes_true
{
	my ($query, $story) = @_;
	return ok($node->poll_query_until('postgres', $query), $story);
}

# Without cron: from nothing to a scheduled view.
sql(q{
CREATE EXTENSION pg_factory;
CREATE TABLE production (line text, good int);
INSERT INTO production VALUES ('A', 1);
CREATE MATERIALIZED VIEW mv_good AS SELECT line, sum(good) AS good FROM production GROUP BY line;
CREATE UNIQUE INDEX mv_good_idx ON mv_good (line);
SELECT factory.schedule_refresh('mv_good', 'every 1 second');
INSERT INTO production VALUES ('A', 41);
});
becomes_true(q{SELECT good = 42 FROM mv_good}, 'a scheduled view is refreshed');
becomes_true(q{SELECT count(*) > 1 FROM factory.refresh_run WHERE status = 'succeeded'
	AND method = 'concurrent' AND reason LIKE '%unique index mv_good_idx'}, 'and again, with its reason');

done_testing();
