# Two tenants in one server: quotas that hold under load and after a restart, and
# nothing of the one that the other could see, in any place where rows become visible.
use strict;
use warnings;
use FactoryPeer;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $peer = FactoryPeer->new(chat('hello'));
my $url = $peer->url;
my $node = PostgreSQL::Test::Cluster->new('tenants');
$node->init(allows_streaming => 1);
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'pg_factory'\n");
$node->start;
$node->safe_psql('postgres', <<"SQL");
CREATE EXTENSION pg_factory;
CREATE ROLE north LOGIN IN ROLE factory_admin, factory_author, factory_operator, factory_analyst, factory_monitor;
CREATE ROLE south LOGIN IN ROLE factory_admin, factory_author, factory_operator, factory_analyst, factory_monitor;
SELECT factory.create_tenant('north-plant', judgments_per_month => 250);
SELECT factory.create_tenant('south-plant');
SELECT factory.map_tenant_role('north-plant', 'north');
SELECT factory.map_tenant_role('south-plant', 'south');
CREATE SERVER peer FOREIGN DATA WRAPPER factory_llm
	OPTIONS (base_url '$url', allow_http 'true', allow_private 'true');
CREATE USER MAPPING FOR PUBLIC SERVER peer OPTIONS (api_key 'sk-test-key');
GRANT USAGE ON FOREIGN SERVER peer TO north, south;
SQL

sub as
{
	my ($role, $sql) = @_;
	return $node->safe_psql('postgres', $sql, extra_params => [ '-U', $role ]);
}

sub error_of
{
	my ($role, $sql) = @_;
	my ($code, $out, $err) = $node->psql('postgres', $sql, extra_params => [ '-U', $role ]);
	return $err;
}

as('north', q{SELECT factory.create_decision('north_only_decision', '{"inputs": {"n": "integer"},
	"rules": [{"id": "north_rule", "when": "n > 5", "then": {"status": "NORTH_STATUS"}}], "default": {"status": "OK"}}')});
as('south', q{SELECT factory.create_decision('zulu_south', '{"inputs": {"n": "integer"},
	"rules": [{"id": "south_rule", "when": "n > 5", "then": {"status": "SOUTH_STATUS"}}], "default": {"status": "OK"}}')});

# The worker does each tenant's work as that tenant's, whoever else has some.
$node->safe_psql('postgres', 'GRANT CREATE ON SCHEMA public TO north, south');
foreach my $plant (qw(north south))
{
	as($plant, qq{CREATE MATERIALIZED VIEW ${plant}_view AS SELECT factory.current_tenant() AS whose;
		SELECT factory.schedule_refresh('${plant}_view', 'every 1 second')});
}
foreach my $plant (qw(north south))
{
	ok($node->poll_query_until('postgres', qq{SELECT EXISTS (SELECT FROM factory.refresh_run
		WHERE tenant_id = '$plant-plant' AND view = 'public.${plant}_view' AND status = 'succeeded')}), "a view of the $plant is refreshed");
	is(as($plant, "SELECT string_agg(DISTINCT view, ',') FROM factory.refresh_run"), "public.${plant}_view", 'and it sees its own runs');
	is(as($plant, "SELECT whose FROM ${plant}_view"), "$plant-plant", 'made with its own rows');
	as($plant, "SELECT factory.unschedule_refresh('${plant}_view')");
}

# A quota is one number for all sessions: exactly so many are given.
my $script = $node->basedir . '/judge.sql';
append_to_file($script,
	"\\set n random(1, 10)\nSELECT count(*) FROM factory.judge('north_only_decision', jsonb_build_object('n', :n));\n");
$node->run_log(
	[ 'pgbench', '-n', '-c', '4', '-t', '100', '-U', 'north', '-f', $script, '-h', $node->host, '-p', $node->port, 'postgres' ]);
is(as('north', 'SELECT count(*) FROM factory.judgment_log'), 250, 'of four hundred judgments the quota gives 250');
like(error_of('north', q{SELECT factory.judge('north_only_decision', '{"n": 1}')}),
	qr/tenant "north-plant" has used all of its 250 judgments of this month\nHINT: .*alter_tenant/,
	'the next is refused, and told what to do');
is(as('south', q{SELECT status FROM factory.judge('zulu_south', '{"n": 7}')}), 'SOUTH_STATUS',
	'the other tenant judges on');

my @warned = slurp_file($node->logfile) =~ /(LOG:  tenant "north-plant" has used \d+ of its 250 judgments of this month)/g;
like("@warned", qr/^LOG:  tenant "north-plant" has used 20\d of its 250 judgments of this month$/, 'of 80 % the log was told, once');

# What was used is known after a restart, clean or not, from the log.
$node->restart;
like(error_of('north', q{SELECT factory.judge('north_only_decision', '{"n": 1}')}),
	qr/has used all of its 250/, 'after a restart the quota is still used up');
$node->safe_psql('postgres', q{SELECT factory.alter_tenant('north-plant', '{"judgments_per_month": 260}')});
is(as('north', q{SELECT count(*) FROM generate_series(1, 5) AS n, factory.judge('north_only_decision', jsonb_build_object('n', n))}),
	5, 'a raised quota counts at once');
$node->stop('immediate');
$node->start;
is(as('north', q{SELECT count(*) FROM generate_series(1, 5) AS n, factory.judge('north_only_decision', jsonb_build_object('n', n))}),
	5, 'after a crash the rest is left');

# Switched off, judgments answer by rules and are neither counted nor refused.
my $used = q{SELECT used FROM factory.tenant_usage WHERE tenant_id = 'north-plant' AND quota = 'judgments_per_month'};
my $before = as('north', $used);
my $off = q{SET factory.tenant = 'north-plant'; SET factory.enabled = off; };
is($node->safe_psql('postgres', $off . q{SELECT status FROM factory.judge('north_only_decision', '{"n": 7}')}),
	'NORTH_STATUS', 'switched off, a tenant without a judgment left is answered');
is($node->safe_psql('postgres', $off . q{SELECT count(*) FROM factory.judge_many('north_only_decision', 'SELECT n FROM generate_series(1, 3) AS n')}),
	3, 'and so are many');
is(as('north', $used), $before, 'which counts for nothing');
my $ratio = 'factory_quota_used_ratio{tenant_id="north-plant",quota="judgments_per_month"} 1';
like(as('north', 'SELECT factory.metrics()'), qr/^\Q$ratio\E$/m, 'metrics tell how much of a quota is used');
like($node->safe_psql('postgres', 'SELECT factory.metrics()'), qr/^\Q$ratio\E$/m, 'the house, too');
unlike($node->safe_psql('postgres', 'SELECT factory.metrics()'), qr/factory_quota_used_ratio\{tenant_id="south-plant"/, 'but of no quota that is not set');
like(error_of('north', q{SELECT factory.judge('north_only_decision', '{"n": 1}')}),
	qr/has used all of its 260/, 'and no more than the rest');
# A new month begins at nothing.
is($node->safe_psql('postgres', q{SET factory.frozen_clock = '2126-01-15 09:00:00+09'; SET ROLE north;
	SELECT count(*) FROM factory.judge('north_only_decision', '{"n": 1}')}), 1, 'a new month begins at nothing');

# Tokens: a call is refused where none are left, and the judgment that wanted it says so.
$node->safe_psql('postgres', q{SELECT factory.alter_tenant('north-plant', '{"judgments_per_month": null, "tokens_per_month": 1}')});
as('north', q{SELECT factory.create_model('mini', 'peer', 'gpt-4o-mini')});
as('north', q{SELECT factory.create_decision('asks', '{"inputs": {"n": "integer"}, "policy": "LLM_ONLY",
	"rules": [], "statuses": ["OK"], "prompt": {"model": "mini", "user": "{{ n }}"}}')});
is(as('north', q{SELECT factory.complete('mini', 'hi') ->> 'text'}), 'hello', 'the first call is within the quota');
my $calls = scalar $peer->requests;
like(error_of('north', q{SELECT factory.complete('mini', 'hi')}), qr/has used all of its 1 model tokens of this month/,
	'the second is refused');
like(as('north', q{SELECT result, degraded FROM factory.judge('asks', '{"n": 1}')}),
	qr/^unknown\|.*has used all of its 1 model tokens/, 'a judgment answers without the model and says why');
is(scalar $peer->requests, $calls, 'and nothing was sent');
is(as('south', q{SELECT factory.create_model('mini', 'peer', 'gpt-4o-mini'); SELECT factory.complete('mini', 'hi') ->> 'text'}),
	"\nhello", 'the other tenant calls on');

# Nothing of the south is anywhere that the north can look, and the other way round.
my $readable = as('north', q{
	SELECT c.oid::regclass FROM pg_class AS c
	WHERE c.relnamespace = 'factory'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm')
	  AND has_table_privilege(c.oid, 'SELECT') ORDER BY 1});
my $seen = 0;
foreach my $relation (split /\n/, $readable)
{
	my $rows = as('north', "SELECT r::text FROM $relation AS r");
	unlike($rows, qr/south/, "nothing of the south in $relation");
	$seen++ if $rows =~ /north/;
	unlike(as('south', "SELECT r::text FROM $relation AS r"), qr/north/, "nothing of the north in $relation");
}
cmp_ok($seen, '>', 5, 'while the north sees its own');
foreach my $call ('factory.health()', 'factory.api_dashboard()', 'factory.describe_catalog()', 'factory.metrics()',
	'(SELECT string_agg(q::text, chr(10)) FROM factory.quota_usage() AS q)')
{
	unlike(as('north', "SELECT $call"), qr/south/, "nothing of the south in $call");
}
foreach my $call (
	q{factory.judge('zulu_south', '{}')}, q{factory.judge('ulu_south', '{}')},
	q{factory.decide('zulu_south', '{}')}, q{factory.deploy('zulu_south', 1)},
	q{factory.rollback('zulu_south')}, q{factory.save_version('zulu_south', '{"inputs": {}, "rules": []}', 'x')})
{
	(my $unknown = $call) =~ s/zulu_south/yankee_1/;
	(my $expected = error_of('north', "SELECT $unknown")) =~ s/yankee_1/zulu_south/g;
	is(error_of('north', "SELECT $call"), $expected, "no telling that there is one: $call");
}

# Nor by how long it takes: one look costs the same rows and pages as the other.
my $touched = q{SELECT pg_stat_force_next_flush();
	SELECT 'touched ' || concat_ws(' ', sum(t.seq_tup_read), sum(t.idx_tup_fetch), sum(io.heap_blks_hit + io.heap_blks_read), sum(io.idx_blks_hit + io.idx_blks_read))
	FROM pg_stat_all_tables AS t JOIN pg_statio_all_tables AS io USING (relid) WHERE t.schemaname = 'factory';};
foreach my $call (qw(judge decide))
{
	my %cost;
	foreach my $name (qw(yankee_1 zulu_south))
	{
		my ($code, $out) = $node->psql('postgres', join("\n", map { "SELECT factory.$call('$name', '{}');\n$touched" } 1 .. 3),
			on_error_stop => 0, extra_params => [ '-U', 'north' ]);
		my @counts = map { [split] } $out =~ /^touched (.*)$/mg;
		$cost{$name} = join ' ', map { $counts[2][$_] - $counts[1][$_] } 0 .. 3;
	}
	is($cost{zulu_south}, $cost{yankee_1}, "an unknown name and another tenant's cost $call() the same rows and pages");
	like($cost{zulu_south}, qr/[1-9]/, 'and some');
}
unlike(error_of('north', "SELECT pg_stats.most_common_vals FROM pg_stats WHERE schemaname = 'factory'"), qr/south/,
	'statistics are silent');
like(error_of('north', 'SELECT factory.reset_metrics()'), qr/permission denied to reset metrics/, 'the counters of all are not for one to reset');
like($node->safe_psql('postgres', 'SELECT factory.metrics()'), qr/north-plant.*south-plant/s, 'the house sees all metrics');
$node->safe_psql('postgres', 'ANALYZE factory.decision, factory.judgment_log');
unlike(as('north', "SELECT s::text FROM pg_stats AS s WHERE schemaname = 'factory'"), qr/south/,
	'and after ANALYZE too');

# A superuser's dump and restore keeps every tenant's rows with their tenant.
my $dump = $node->basedir . '/tenants.sql';
$node->command_ok([ 'pg_dump', '-f', $dump, '-h', $node->host, '-p', $node->port, 'postgres' ], 'dump');
# The months of logs are no members of the extension: they are the dump's to make.
unlike(slurp_file($dump), qr/^(?!.*(?:audit_log|judgment_log|llm_call)_\d{4}_\d\d).*(?:GRANT|REVOKE|ALTER TABLE|OWNER TO|POLICY).*factory\./m,
	'the dump repeats nothing that the extension script does');
$node->safe_psql('postgres', 'CREATE DATABASE restored');
$node->command_ok([ 'psql', '-qX', '-v', 'ON_ERROR_STOP=1', '-f', $dump, '-h', $node->host, '-p', $node->port, 'restored' ], 'restore');
is($node->safe_psql('restored', 'SELECT tenant_id, name FROM factory.decision ORDER BY 1, 2', extra_params => [ '-U', 'south' ]),
	'south-plant|zulu_south', 'a role sees its tenant in the restored database');
is($node->safe_psql('restored', 'SELECT tenant_id, count(*) FROM factory.judgment_log GROUP BY 1 ORDER BY 1'),
	$node->safe_psql('postgres', 'SELECT tenant_id, count(*) FROM factory.judgment_log GROUP BY 1 ORDER BY 1'),
	'and all rows came along');

# On a standby the tenant is the same.
$node->backup('copy');
my $standby = PostgreSQL::Test::Cluster->new('tenants_standby');
$standby->init_from_backup($node, 'copy', has_streaming => 1);
$standby->start;
$node->wait_for_catchup($standby);
is($standby->safe_psql('postgres', q{SELECT status FROM factory.judge('zulu_south', '{"n": 7}')}, extra_params => [ '-U', 'south' ]),
	'SOUTH_STATUS', 'a standby judges for the tenant');
my ($code, $out, $err) = $standby->psql('postgres', q{SELECT factory.judge('zulu_south', '{"n": 7}')}, extra_params => [ '-U', 'north' ]);
like($err, qr/does not exist/, 'and for no other');
$standby->stop;

# Who does not bypass row security dumps nothing rather than a part.
$node->safe_psql('postgres', 'CREATE ROLE dumper LOGIN; GRANT pg_read_all_data TO dumper');
$node->command_fails_like([ 'pg_dump', '-U', 'dumper', '-h', $node->host, '-p', $node->port, 'postgres' ],
	qr/row-level security|permission denied/, 'a dump by a bound role fails and says why');
$node->safe_psql('postgres', 'ALTER ROLE dumper BYPASSRLS');
$node->command_ok([ 'pg_dump', '-U', 'dumper', '-f', $node->basedir . '/dumper.sql', '-h', $node->host, '-p', $node->port, 'postgres' ],
	'with BYPASSRLS it dumps');
like(slurp_file($node->basedir . '/dumper.sql'), qr/zulu_south/, 'all of it');
$node->stop;
done_testing();
