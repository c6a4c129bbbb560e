# A key given by file or by environment is found nowhere (but where the server itself
# logs its environment); one given in a user mapping is
# found where PostgreSQL keeps user mappings, and nowhere else.
use strict;
use warnings;
use File::Find;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use FactoryPeer;

my %canary = (file => 'canary-file-5d1f', environment => 'canary-env-90ab', mapping => 'canary-map-c3d7');
my $key_file = PostgreSQL::Test::Utils::tempdir() . '/key';
append_to_file($key_file, "$canary{file}\n");
chmod 0600, $key_file;
$ENV{FACTORY_CANARY_KEY} = $canary{environment};

# Every peer answers first well, then with the key it was sent, wherever it can put it.
sub peer
{
	my ($key) = @_;
	return FactoryPeer->new(chat('hello'), status(401, json => { error => { message => "bad key $key", code => $key } }),
		chat("I was called with $key"), html($key), chat_json({ status => $key, confidence => 7 }), status(500, json => { error => { message => $key } }));
}

my $node = PostgreSQL::Test::Cluster->new('secrets');
$node->init(allows_streaming => 1);
my $has_statements = $node->config_data('--sharedir') && -e $node->config_data('--sharedir') . '/extension/pg_stat_statements.control';
my $libraries = $has_statements ? 'pg_stat_statements, pg_factory' : 'pg_factory';
$node->append_conf('postgresql.conf', <<"CONF");
shared_preload_libraries = '$libraries'
log_statement = all
log_min_messages = debug5
log_min_error_statement = debug5
log_error_verbosity = verbose
log_parameter_max_length_on_error = -1
track_activity_query_size = 100kB
factory.llm_retry_delay = '10ms'
factory.log = sync
CONF
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION pg_factory');
$node->safe_psql('postgres', 'CREATE EXTENSION pg_stat_statements') if $has_statements;

my %mapping = (
	file => "api_key_file '$key_file'",
	environment => "api_key_env 'FACTORY_CANARY_KEY'",
	mapping => "api_key '$canary{mapping}'");
my (%peer, $shown);
$shown = '';
foreach my $kind (sort keys %canary)
{
	$peer{$kind} = peer($canary{$kind});
	my $url = $peer{$kind}->url;
	# What a DBA is told to do where a key must be written in SQL: keep it from the log.
	$node->safe_psql('postgres', <<"SQL");
SET log_statement = 'none'; SET log_min_messages = 'error'; SET log_min_error_statement = 'panic';
@{[ $has_statements ? "SET pg_stat_statements.track_utility = off;" : '' ]}
CREATE SERVER $kind FOREIGN DATA WRAPPER factory_llm OPTIONS (base_url '$url', allow_http 'true', allow_private 'true');
CREATE USER MAPPING FOR PUBLIC SERVER $kind OPTIONS ($mapping{$kind});
SELECT factory.create_model('model_$kind', '$kind', 'm');
SQL
	$node->safe_psql('postgres', <<"SQL");
SELECT factory.create_decision('asks_$kind', '{"inputs": {"n": "integer"}, "policy": "LLM_ONLY", "rules": [],
	"statuses": ["OK"], "prompt": {"model": "model_$kind", "user": "{{ n }}"}}');
SQL
	foreach my $call (1 .. 3)
	{
		my ($code, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\nSELECT factory.complete('model_$kind', 'hi')", on_error_stop => 0);
		$shown .= "$out\n$err\n" unless $out =~ /I was called with/;
		($code, $out, $err) = $node->psql('postgres', "SELECT j.* FROM factory.judge('asks_$kind', '{\"n\": 1}') AS j");
		$shown .= "$out\n$err\n";
	}
	is(($peer{$kind}->requests)[0]{headers}{authorization}, "Bearer $canary{$kind}", "the key by $kind is sent");
	cmp_ok(scalar $peer{$kind}->requests, '>', 3, 'and the peer had its chances to give it away');
}

# --- where it could be ---------------------------------------------------------------

# Who looks: a superuser, at every table of the catalogue and of ours, and at what views tell.
my $every_relation = q{
	SELECT c.oid::regclass FROM pg_class AS c
	WHERE c.relnamespace IN ('pg_catalog'::regnamespace, 'factory'::regnamespace) AND c.relkind IN ('r', 'v', 'm')
	  AND c.oid::regclass::text NOT IN ('pg_user_mapping', 'pg_user_mappings')
	  AND c.oid::regclass::text !~ 'pg_(hba_file|ident_file|file_settings|largeobject|stat_progress|stat_wal_receiver|stat_recovery)' ORDER BY 1};
my @relations = split /\n/, $node->safe_psql('postgres', $every_relation);
push @relations, 'pg_stat_statements' if $has_statements;
cmp_ok(scalar @relations, '>', 100, 'there are many places to look');
my @found;
foreach my $relation (@relations)
{
	my $rows = $node->safe_psql('postgres', "SELECT string_agg(r::text, chr(10)) FROM $relation AS r WHERE r::text LIKE '%' || 'canary' || '-%'");
	# Tables may name the file and the variable, but not what is in them.
	foreach my $kind (sort keys %canary) { push @found, "$relation: $kind" if index($rows, $canary{$kind}) >= 0; }
}
is("@found", '', 'no table or view of the server or ours holds a key');
foreach my $kind (sort keys %canary)
{
	is(index($shown, $canary{$kind}), -1, "no error and no degraded answer shows the key by $kind");
	is(index($node->safe_psql('postgres', 'SELECT factory.metrics()'), $canary{$kind}), -1, 'no metric');
	my $options = $node->safe_psql('postgres', 'SELECT umoptions FROM pg_user_mapping');
	is(index($options, $canary{$kind}) >= 0, $kind eq 'mapping',
		$kind eq 'mapping' ? 'PostgreSQL keeps the mapping\'s key' : 'the catalogue does not know it');
}

# Who sees the mapping's key: the superuser, and nobody else but by pg_read_all_data (docs/security.md).
$node->safe_psql('postgres', q{CREATE ROLE operator LOGIN IN ROLE factory_admin, factory_operator; CREATE ROLE monitor LOGIN IN ROLE pg_monitor, factory_monitor;
	GRANT USAGE ON FOREIGN SERVER mapping TO operator});
foreach my $role ('operator', 'monitor')
{
	is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_user_mappings WHERE umoptions IS NOT NULL}, extra_params => [ '-U', $role ]), 0,
		"$role sees no mapping's options");
}

# --- files -------------------------------------------------------------------------------

$node->command_ok([ 'pg_dumpall', '-f', $node->basedir . '/all.sql', '-h', $node->host, '-p', $node->port ], 'everything is dumped');
$node->backup('copy');
$node->stop;
my %in;
sub search
{
	my ($where, @directories) = @_;
	find({ no_chdir => 1, wanted => sub {
		return unless -f;
		my $content = slurp_file($_);
		foreach my $kind (keys %canary) { push @{ $in{$where}{$kind} }, $_ if index($content, $canary{$kind}) >= 0; }
	} }, @directories);
	return;
}
search('data', $node->data_dir);
search('backup', $node->backup_dir);
# At debug3 and below the server writes its environment into the log when it starts, before
# it loads any library: docs/security.md says so, and to prefer files.
my $log = slurp_file($node->logfile);
my $environment = $log =~ s/^.*\tFACTORY_CANARY_KEY=.*\n//mg;
is($environment, 1, 'the server itself has logged its environment, once');
open my $searched, '>', $node->basedir . '/searched.log' or die $!;
print $searched $log;
close $searched;
search('log', $node->basedir . '/searched.log');
search('dump', $node->basedir . '/all.sql');
foreach my $where ('data', 'backup', 'log', 'dump')
{
	foreach my $kind ('file', 'environment')
	{
		is(join(' ', @{ $in{$where}{$kind} // [] }), '', "the key by $kind is nowhere in the $where");
	}
}
is(join(' ', @{ $in{log}{mapping} // [] }), '', 'the mapping\'s key is not in the log');
ok($in{data}{mapping}, 'it is in the data directory, as PostgreSQL keeps it');
ok($in{backup}{mapping}, 'and in its backup');
ok($in{dump}{mapping}, 'and in a superuser\'s dump');
unlike(join(' ', @{ $in{data}{mapping} }), qr/pg_stat|pg_replslot/, 'not in statistics');
done_testing();
