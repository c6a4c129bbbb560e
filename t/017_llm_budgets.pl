# Budgets: what a tenant, a role or a model may take a day or a month is reserved before a
# byte is sent, settled after, and refused when it is used up.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use FactoryPeer;

my $node = PostgreSQL::Test::Cluster->new('budgets');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'pg_factory'\n");
$node->start;

my $peer = FactoryPeer->new(chat('hello'));
my $url = $peer->url;
$node->safe_psql('postgres', <<"SQL");
CREATE EXTENSION pg_factory;
CREATE SERVER peer FOREIGN DATA WRAPPER factory_llm
	OPTIONS (base_url '$url', allow_http 'true', allow_private 'true');
CREATE ROLE planner IN ROLE factory_analyst;
GRANT USAGE ON FOREIGN SERVER peer TO planner;
SELECT factory.create_model('mini', 'peer', 'gpt-4o-mini', input_price => 1000, output_price => 5000);
SELECT factory.create_model('free', 'peer', 'free-1');
SELECT factory.create_decision('hybrid', '{"inputs": {"celsius": "float8"},
	"rules": [{"id": "hot", "when": "celsius > 70", "then": {"status": "HOT", "severity": "critical"}}],
	"default": {"status": "FINE", "severity": "info"}, "statuses": ["HOT", "FINE"],
	"policy": "HYBRID_WEIGHTED", "prompt": {"model": "mini", "user": "{{ celsius }}"}}');
SQL

# What went wrong or was warned of, "ok" for nothing.
sub ask
{
	my ($model, $first) = @_;
	my ($code, $out, $err) = $node->psql('postgres',
		"\\set VERBOSITY verbose\n" . ($first // '') . "SELECT factory.complete('$model', 'hi')");
	return $err =~ /(?:ERROR|WARNING):\s+(\w{5}: .*)/ ? $1 : 'ok';
}

sub sql { return $node->safe_psql('postgres', shift) }
sub budget { return sql('SELECT ' . shift . ' FROM factory.budget_status ORDER BY kind, name, period') }

# A role's budget, in tokens: a call takes 120.
sql(q{SELECT factory.set_budget('role', 'planner', 'day', tokens => 300)});
is(budget('kind, name, period, tokens, tokens_used, state'), 'role|planner|day|300|0|ok', 'a budget of a role');
my $as_planner = "SET ROLE planner;\n";
is(ask('mini', $as_planner), 'ok', 'the first call of three');
is(ask('mini'), 'ok', 'another role is not under it');
is(budget('tokens_used, tokens_reserved, state'), '120|0|ok', 'settled by what the model says');
is(ask('mini', $as_planner), 'ok', 'the second');
is(budget('tokens_used, state'), '240|warning', 'it is at 80 per cent');
like(ask('mini', $as_planner), qr/^01000: the day's budget of role "planner" is used to 80 %/, 'the third is warned');
is(budget('tokens_used, state'), '360|exhausted', 'and finished');
my $asked = $peer->requests;
like(ask('mini', $as_planner), qr/^PF211: model "mini" is not called: the day's budget of role "planner" is used up/,
	'the fourth is refused');
is(scalar $peer->requests, $asked, 'before a byte is sent');

# It is counted over a restart, from the ledger, where the refused call is, too.
$node->poll_query_until('postgres', q{SELECT count(*) = 5 FROM factory.llm_call});
is(sql(q{SELECT count(*) FROM factory.llm_call WHERE outcome = 'over_budget' AND attempts = 0}), '1', 'a refusal has its row');
$node->restart;
like(ask('mini', $as_planner), qr/^PF211: /, 'after a restart it is still used up');
is(budget('tokens_used, state'), '360|exhausted', 'and shown so');

# The next day begins anew; a budget can be raised, and taken away.
is(ask('mini', "SET factory.frozen_clock = '2099-01-02 12:00';\n" . $as_planner), 'ok', 'another day, another budget');
sql(q{SELECT factory.set_budget('role', 'planner', 'day', tokens => 100000)});
is(ask('mini', $as_planner), 'ok', 'a raised budget');
sql(q{SELECT factory.drop_budget('role', 'planner', 'day')});
is(sql(q{SELECT string_agg(action || ' ' || object, ',' ORDER BY created_at) FROM factory.audit_log WHERE object_type = 'budget'}),
	'create planner,alter planner,drop planner', 'changes are in the audit log');

# Money: a call costs 0.1 + 0.1 dollars; a model without prices cannot be under it.
sql(q{SELECT factory.set_budget('tenant', period => 'month', cost_usd => 0.000001)});
like(ask('mini'), qr/^PF211: .* the month's budget of tenant "default" is used up/, 'money of a tenant, used before it was limited');
sql(q{SELECT factory.set_budget('tenant', period => 'month', cost_usd => 1000)});
is(ask('mini'), 'ok', 'enough money');
like(ask('free'), qr/^PF211: .* is in money, and the model has no prices/, 'no prices, no budget in money');
sql(q{SELECT factory.drop_budget('tenant'); SELECT factory.set_budget('model', 'mini', 'day', tokens => 0)});
is(sql(q{SELECT status, degraded FROM factory.judge('hybrid', '{"celsius": 80}')}),
	q{HOT|model could not be had: the day's budget of model "mini" is used up}, 'a judgment degrades and says so');

# What is under way is reserved; a session that ends gives back, but for the prompt that was sent.
sql(q{SELECT factory.set_budget('model', 'mini', 'day', tokens => 1000000)});
my $used = budget('tokens_used');
$peer->script({ hang => 1 });
my $session = $node->background_psql('postgres', on_error_stop => 0);
my $pid = $session->query_safe('SELECT pg_backend_pid()');
$session->query_until(qr/begun/, "\\echo begun\nSELECT factory.complete('mini', 'hi');\n");
$peer->wait_requests(1);
is(budget('tokens_reserved'), '257', 'reserved: a token of prompt, 256 of an answer');
sql("SELECT pg_terminate_backend($pid, 10000)");
is(budget("tokens_reserved, tokens_used - $used"), '0|1', 'given back by a session that was terminated');
eval { $session->quit };

# What is no budget.
my ($code, $out, $err) = $node->psql('postgres', q{SELECT factory.set_budget('role', 'planner', 'year', tokens => 1)});
like($err, qr/invalid budget/, 'a year is no period');
($code, $out, $err) = $node->psql('postgres', q{SELECT factory.set_budget('role', 'planner')});
like($err, qr/invalid budget/, 'no limit is no budget');
($code, $out, $err) = $node->psql('postgres', q{SELECT factory.drop_budget('role', 'planner', 'day')});
like($err, qr/there is no such budget/, 'there is none to drop');

# A session that has called before keeps models and budgets in mind, and hears of each change.
sql(q{SELECT factory.drop_budget(kind, name, period) FROM factory.llm_budget});
$peer->script(chat('hello'));
$session = $node->background_psql('postgres', on_error_stop => 0);
my $say = q{SELECT factory.complete('mini', 'hi') ->> 'text'};
my $so_far = sub { my ($said) = $session->query($say); return "$said " . join ' ', map { $_->{json}{model} } $peer->requests };
my $told = sub { $session->query($say); my $said = $session->{stderr}; $session->{stderr} = ''; return $said };
is($so_far->(), 'hello gpt-4o-mini', 'a call');
sql(q{SELECT factory.alter_model('mini', model => 'second')});
is($so_far->(), 'hello gpt-4o-mini second', 'another session gives the name to another model');
$session->query(q{BEGIN; SELECT factory.alter_model('mini', model => 'third')});
is($so_far->(), 'hello gpt-4o-mini second third', 'the session itself does');
$session->query('ROLLBACK');
is($so_far->(), 'hello gpt-4o-mini second third second', 'and takes it back');
sql(q{SET session_replication_role = replica; UPDATE factory.model SET model = 'fourth' WHERE name = 'mini'});
is($so_far->(), 'hello gpt-4o-mini second third second fourth', 'changes that are replicated fire few triggers: this one');
sql(q{SELECT factory.set_budget('model', 'mini', 'day', tokens => 1)});
like($told->(), qr/budget of model "mini" is used up/, 'a budget that is new');
sql(q{SELECT factory.drop_budget('model', 'mini', 'day'); SELECT factory.set_budget('role', current_user, 'day', tokens => 1)});
like($told->(), qr/budget of role/, 'another one in its place');
sql(q{TRUNCATE factory.llm_budget});
is($so_far->(), 'hello gpt-4o-mini second third second fourth fourth', 'none');
sql(q{TRUNCATE factory.model});
like($told->(), qr/model "mini" does not exist/, 'nor a model');
$session->quit;

done_testing();
