# What a session keeps of models, servers, mappings and budgets between its calls: every
# change of them, by anybody, holds for its next call.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use FactoryPeer;

my $peer = FactoryPeer->new(chat('hello'));
my $url = $peer->url;

$ENV{FACTORY_TEST_KEY} = 'of-the-machine';
my $node = PostgreSQL::Test::Cluster->new('kept');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'pg_factory'\n");
$node->start;
$node->safe_psql('postgres', <<"SQL");
CREATE EXTENSION pg_factory;
CREATE ROLE alice LOGIN IN ROLE factory_operator;
CREATE ROLE bob IN ROLE pg_read_server_files;
CREATE ROLE eve IN ROLE factory_operator;
GRANT eve TO alice;
CREATE SERVER peer FOREIGN DATA WRAPPER factory_llm
	OPTIONS (base_url '$url', allow_http 'true', allow_private 'true');
GRANT USAGE ON FOREIGN SERVER peer TO alice, eve;
CREATE USER MAPPING FOR PUBLIC SERVER peer OPTIONS (api_key 'of-all');
SELECT factory.create_model('mini', 'peer', 'm');
SQL
my $session =
  $node->background_psql('postgres', on_error_stop => 0, extra_params => [ '-U', 'alice' ]);

# The answer in alice's session, or what was raised.
sub call
{
	$session->query("DO \$\$ BEGIN PERFORM set_config('my.got', factory.complete('mini', 'hi')->>'text', false); "
		  . "EXCEPTION WHEN OTHERS THEN PERFORM set_config('my.got', sqlerrm, false); END \$\$");
	return $session->query(q{SELECT current_setting('my.got')});
}

# ... and with what it was asked.
sub key { return (($peer->requests)[-1]{headers}{authorization} // '') =~ s/^Bearer //r }

sub change
{
	my ($statement) = @_;
	$node->safe_psql('postgres', $statement);
	return call();
}

is(call(), 'hello', 'a call');
is(key(), 'of-all', 'with the key for all');

# Mappings.
change(q{ALTER USER MAPPING FOR PUBLIC SERVER peer OPTIONS (SET api_key 'of-all-2')});
is(key(), 'of-all-2', 'the mapping is altered');
change(q{CREATE USER MAPPING FOR alice SERVER peer OPTIONS (api_key 'of-alice')});
is(key(), 'of-alice', 'one of her own is created');
$session->query('SET ROLE eve');
call();
is(key(), 'of-all-2', 'in another role it is not used');
$session->query('RESET ROLE');
change('DROP USER MAPPING FOR alice SERVER peer');
is(key(), 'of-all-2', 'it is dropped');

# The server.
change("ALTER SERVER peer OPTIONS (SET base_url '$url/elsewhere')");
like(($peer->requests)[-1]{path}, qr{/elsewhere/chat/completions$}, 'the server moves');
like(change("ALTER SERVER peer OPTIONS (DROP allow_http)"), qr/plain http/, 'it is closed');
is(change("ALTER SERVER peer OPTIONS (ADD allow_http 'true')"), 'hello', '... and opened');
like(change('ALTER SERVER peer RENAME TO pier'), qr/there is no model server "peer"/, 'it has another name');
is(change('ALTER SERVER pier RENAME TO peer'), 'hello', '... and its own');
like(change('ALTER FOREIGN DATA WRAPPER factory_llm RENAME TO other'),
	qr/there is no model server/, 'its wrapper is not ours');
is(change('ALTER FOREIGN DATA WRAPPER other RENAME TO factory_llm'), 'hello', '... and is again');

# Who may use it.
like(change('REVOKE USAGE ON FOREIGN SERVER peer FROM alice, eve'),
	qr/permission denied for foreign server peer/, 'the right is revoked');
is(change('GRANT USAGE ON FOREIGN SERVER peer TO eve'), 'hello', 'a role has it that she belongs to');
like(change('REVOKE eve FROM alice'), qr/permission denied for foreign server peer/, 'she belongs to it no more');
is(change('GRANT USAGE ON FOREIGN SERVER peer TO alice'), 'hello', 'it is granted');

# Whose server is given the machine's key.
$node->safe_psql('postgres', 'GRANT USAGE ON FOREIGN DATA WRAPPER factory_llm TO bob; ALTER SERVER peer OWNER TO bob');
change(q{ALTER USER MAPPING FOR PUBLIC SERVER peer OPTIONS (DROP api_key, ADD api_key_env 'FACTORY_TEST_KEY')});
is(key(), 'of-the-machine', 'of an owner who may read files');
like(change('REVOKE pg_read_server_files FROM bob'), qr/is not given to a server of that owner/, 'who may not');
is(change('ALTER ROLE bob SUPERUSER'), 'hello', 'who is a superuser');
like(change('ALTER ROLE bob NOSUPERUSER'), qr/is not given to a server of that owner/, 'who is none');
change(q{ALTER SERVER peer OWNER TO CURRENT_USER; ALTER USER MAPPING FOR PUBLIC SERVER peer OPTIONS (DROP api_key_env, ADD api_key 'of-all')});
is(key(), 'of-all', 'and all is as it was');

# The model, and what may be spent on it.
change(q{SELECT factory.alter_model('mini', model => 'm2')});
is(($peer->requests)[-1]{json}{model}, 'm2', 'the model is altered');
like(change(q{SELECT factory.set_budget('model', 'mini', 'day', tokens => 1)}), qr/budget/, 'it has a budget');
is(change(q{SELECT factory.drop_budget('model', 'mini', 'day')}), 'hello', '... and has none');
like(change(q{SELECT factory.drop_model('mini')}), qr/model "mini" does not exist/, 'it is dropped');

# A change that is rolled back was none.
$node->safe_psql('postgres', q{SELECT factory.create_model('mini', 'peer', 'm')});
my $undone = $node->safe_psql('postgres', <<"SQL");
SELECT factory.complete('mini', 'hi')->>'text';
BEGIN;
ALTER SERVER peer OPTIONS (SET base_url '$url/undone');
SELECT factory.complete('mini', 'hi')->>'text';
ROLLBACK;
SELECT factory.complete('mini', 'hi')->>'text';
SQL
is($undone, "hello\nhello\nhello", 'three calls');
is_deeply([ map { $_->{path} =~ /undone/ ? 1 : 0 } ($peer->requests)[ -3 .. -1 ] ], [ 0, 1, 0 ],
	'the second alone goes where its transaction moved the server');

$session->quit;
$node->stop;
done_testing();
