# Objects of others' making, named like ours or like the server's: no search_path, temporary
# schema, operator, event trigger or role of theirs runs with the house's rights.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('hostile');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'pg_factory'\n");
$node->start;

# --- before the extension is there ------------------------------------------------

# Traps in public and in a temporary schema: whoever steps in, is written down.
sub lay_traps
{
	my ($database, $schema, $role) = @_;
	return <<"SQL";
SET ROLE $role;
CREATE FUNCTION $schema.trap(what text) RETURNS boolean LANGUAGE plpgsql AS
	\$\$BEGIN INSERT INTO caught.caught VALUES (what, current_user); RETURN true; END\$\$;
CREATE FUNCTION $schema.text_trap(text, text) RETURNS boolean LANGUAGE sql AS
	\$\$SELECT caught.trap('operator') AND pg_catalog.texteq(\$1, \$2)\$\$;
CREATE FUNCTION $schema.int_trap(int, int) RETURNS boolean LANGUAGE sql AS
	\$\$SELECT caught.trap('operator') AND pg_catalog.int4eq(\$1, \$2)\$\$;
CREATE FUNCTION $schema.name_trap(name, text) RETURNS boolean LANGUAGE sql AS
	\$\$SELECT caught.trap('operator') AND pg_catalog.nameeqtext(\$1, \$2)\$\$;
CREATE OPERATOR $schema.= (LEFTARG = text, RIGHTARG = text, FUNCTION = $schema.text_trap);
CREATE OPERATOR $schema.<> (LEFTARG = text, RIGHTARG = text, FUNCTION = $schema.text_trap);
CREATE OPERATOR $schema.= (LEFTARG = int, RIGHTARG = int, FUNCTION = $schema.int_trap);
CREATE OPERATOR $schema.= (LEFTARG = name, RIGHTARG = text, FUNCTION = $schema.name_trap);
CREATE FUNCTION $schema.json_trap(jsonb, text) RETURNS text LANGUAGE sql AS
	\$\$SELECT CASE WHEN caught.trap('operator') THEN pg_catalog.jsonb_object_field_text(\$1, \$2) END\$\$;
CREATE OPERATOR $schema.->> (LEFTARG = jsonb, RIGHTARG = text, FUNCTION = $schema.json_trap);
SQL
}

# A function of that name for every name and kind of arguments that our SQL may call.
my $overloads = <<'SQL';
SET ROLE %2$s;
DO $$
DECLARE
	target record;
BEGIN
	FOR target IN
		SELECT DISTINCT p.proname, pg_get_function_identity_arguments(p.oid) AS arguments, p.prorettype::regtype AS result
		FROM pg_proc AS p
		WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.prokind = 'f' AND NOT p.proretset AND p.provariadic = 0
		  AND p.proname IN ('now', 'format', 'lower', 'upper', 'max', 'to_jsonb', 'jsonb_build_object', 'current_setting', 'set_config', 'sha256',
			'encode', 'convert_to', 'octet_length', 'quote_ident', 'quote_literal', 'to_regclass', 'to_char', 'date_trunc', 'clock_timestamp',
			'btrim', 'substr', 'length', 'jsonb_typeof', 'to_regprocedure', 'pg_is_in_recovery', 'array_position', 'replace', 'translate', 'concat_ws')
		  AND p.prorettype::regtype::text NOT LIKE 'any%%' AND pg_get_function_identity_arguments(p.oid) NOT LIKE '%%any%%'
		  AND p.prorettype <> 'internal'::regtype AND pg_get_function_identity_arguments(p.oid) NOT LIKE '%%internal%%'
	LOOP
		EXECUTE format('CREATE FUNCTION %1$s.%%I(%%s) RETURNS %%s LANGUAGE sql AS $f$SELECT CASE WHEN caught.trap(%%L) THEN NULL::%%s END$f$',
			target.proname, target.arguments, target.result, target.proname, target.result);
	END LOOP;
END
$$;
SQL

sub traps_of { my ($database, $schema, $role) = @_; return lay_traps($database, $schema, $role) . sprintf($overloads, $schema, $role); }

$node->safe_psql('postgres', <<'SQL');
CREATE ROLE attacker LOGIN;
CREATE ROLE mapped_one;
CREATE SCHEMA caught AUTHORIZATION attacker;
SET ROLE attacker;
CREATE TABLE caught.caught (what text, as_whom name);
GRANT USAGE ON SCHEMA caught TO PUBLIC;
GRANT INSERT ON caught.caught TO PUBLIC;
RESET ROLE;
GRANT CREATE ON SCHEMA public TO attacker;
SQL
$node->safe_psql('postgres', traps_of('postgres', 'caught', 'attacker'));
$node->safe_psql('postgres', q{
SET ROLE attacker;
CREATE TABLE public.decision (name text);
CREATE TABLE public.tenant (tenant_id text);
CREATE FUNCTION public.current_tenant() RETURNS text LANGUAGE sql AS 'SELECT caught.trap(''current_tenant'')::text';
RESET ROLE;});
sub caught { return $node->safe_psql('postgres', q{SELECT DISTINCT what, as_whom FROM caught.caught WHERE as_whom <> 'attacker' ORDER BY 1, 2}); }

# The extension is made with the traps in front of everything, also by ALTER DATABASE.
$node->safe_psql('postgres', 'ALTER DATABASE postgres SET search_path = caught, public, pg_catalog');
$node->safe_psql('postgres', 'SET search_path = caught, public, pg_catalog; CREATE EXTENSION pg_factory');
is(caught(), '', 'the extension is made without a step into a trap');
$node->safe_psql('postgres', 'ALTER DATABASE postgres RESET search_path');

# A schema of our name that was there before is not moved into.
$node->safe_psql('postgres', 'CREATE DATABASE squatted');
$node->safe_psql('squatted', 'CREATE SCHEMA factory AUTHORIZATION attacker');
my ($code, $out, $err) = $node->psql('squatted', 'CREATE EXTENSION pg_factory');
like($err, qr/schema "factory" already exists/, 'a schema of our name is a reason to stop');

# So is a role of the owner's name that is somebody's.
foreach my $role ('factory_owner', 'factory_auditor')
{
	foreach my $power ('LOGIN', 'SUPERUSER', 'BYPASSRLS')
	{
		$node->safe_psql('postgres', "ALTER ROLE $role $power");
		$node->safe_psql('postgres', 'CREATE DATABASE other');
		($code, $out, $err) = $node->psql('other', 'CREATE EXTENSION pg_factory');
		like($err, qr/role "$role" can log in, is a superuser or bypasses row security.*HINT:.*ALTER ROLE $role/s, "$role with $power is refused");
		$node->safe_psql('postgres', "ALTER ROLE $role NO$power; DROP DATABASE other");
	}
}

# --- with the extension there ----------------------------------------------------------

$node->safe_psql('postgres', q{
GRANT factory_admin, factory_author, factory_operator, factory_analyst, factory_monitor TO attacker;
CREATE TABLE public.production AS SELECT n, 'LINE-A' AS line FROM generate_series(1, 100) AS n;
CREATE MATERIALIZED VIEW public.daily AS SELECT line, sum(n) AS total FROM production GROUP BY 1;
ALTER MATERIALIZED VIEW public.daily OWNER TO attacker;
GRANT SELECT ON production TO attacker, factory_reader;
CREATE SERVER peer FOREIGN DATA WRAPPER factory_llm OPTIONS (base_url 'http://127.0.0.1:9', allow_http 'true', allow_private 'true');
GRANT USAGE ON FOREIGN SERVER peer TO attacker;});

my @calls = (
	q{SELECT factory.create_decision('d', '{"inputs": {"n": "integer", "t": "text"}, "rules": [{"id": "a", "when": "n = 5 AND lower(t) = ''x''", "then": {"status": "A"}}], "default": {"status": "B"}}')},
	q{SELECT factory.judge('d', '{"n": 5, "t": "X"}')}, q{SELECT factory.judge_row('d', r) FROM (SELECT 5 AS n, 'x'::text AS t) AS r},
	q{SELECT factory.decide('d', '{"n": 5, "t": "X"}')},
	q{SELECT factory.save_version('d', '{"inputs": {"n": "integer"}, "rules": [{"id": "a", "when": "n = 6", "then": {"status": "A"}}]}', 'x')},
	q{SELECT factory.deploy('d', 2)}, q{SELECT factory.rollback('d')}, q{SELECT count(*) FROM factory.check_decision('{"inputs": {"n": "integer"}, "rules": []}')},
	q{SELECT factory.schedule_refresh('public.daily', 'hourly')}, q{SELECT factory.refresh_now('public.daily')}, q{SELECT factory.unschedule_refresh('public.daily')},
	q{SELECT factory.create_model('m', 'peer', 'x')}, q{SELECT factory.drop_model('m')}, q{SELECT factory.metrics()}, q{SELECT factory.health()}, q{SELECT factory.api_dashboard()},
	q{SELECT factory.check_sql('SELECT count(*) FROM production')}, q{SELECT count(*) FROM factory.run_sql('SELECT line FROM public.production WHERE line = ''LINE-A''', 10)},
	q{SELECT factory.create_tenant('t')}, q{SELECT factory.alter_tenant('t', '{"tokens_per_month": 5}')}, q{SELECT factory.map_tenant_role('t', 'mapped_one')},
	q{SELECT factory.unmap_tenant_role('mapped_one')}, q{SELECT factory.drop_tenant('t')},
	q{SELECT factory.replay('d', 1, '2000-01-01', '2100-01-01')}, q{SELECT factory.backtest('d', '{1,2}', 'SELECT 5 AS n')},
	q{SELECT factory.rules_from_csv('d', factory.rules_as_table('d'), 'x')}, q{SELECT count(*) FROM factory.diff_versions('d', 1, 2)},
	q{SELECT factory.explain_judgment(execution_id) FROM factory.judgment_log LIMIT 1}, q{SELECT factory.feedback(execution_id, 'correct') FROM factory.judgment_log LIMIT 1},
	q{SELECT factory.api_judgment_execute('{"workflow_id": "d", "input_data": {"n": 5}}')},
	(map { "SELECT count(*) FROM $_" } split /\n/, $node->safe_psql('postgres',
		q{SELECT c.oid::regclass FROM pg_class AS c WHERE relnamespace = 'factory'::regnamespace AND relkind = 'v' ORDER BY 1})));
foreach my $path ('caught, public, pg_catalog', 'pg_temp, caught, pg_catalog')
{
	my $temporary = $path =~ /pg_temp/
		? q{CREATE TEMP TABLE decision (name text); CREATE TEMP TABLE decision_version (definition jsonb); CREATE TEMP TABLE tenant_role (role oid);
			CREATE TEMP TABLE pg_class (oid oid, relname name); CREATE TEMP TABLE judgment_log (decision text); CREATE TEMP TABLE audit_log (actor text);}
		: '';
	foreach my $call (@calls)
	{
		($code, $out, $err) = $node->psql('postgres', "$temporary SET search_path = $path; $call", extra_params => [ '-U', 'attacker' ]);
		is($code, 0, "with search_path $path: $call") or diag($err);
	}
	is(caught(), '', 'nobody but the attacker has stepped into a trap');
	$node->safe_psql('postgres', q{DELETE FROM factory.judgment_feedback; DELETE FROM factory.deployment; DELETE FROM factory.decision_version; DELETE FROM factory.decision});
}
$node->safe_psql('postgres', q{SET search_path = caught, pg_catalog; SELECT lower('X'), 'a'::text = 'a'::text}, extra_params => [ '-U', 'attacker' ]);
is($node->safe_psql('postgres', q{SELECT string_agg(what || ' ' || as_whom, ', ' ORDER BY what) FROM caught.caught}), 'lower attacker, operator attacker', 'the traps do work: the attacker steps into them');

# --- event triggers of the database's administrator ------------------------------------------

$node->safe_psql('postgres', q{
CREATE TABLE public.commands (tag text, as_whom name);
GRANT INSERT ON public.commands TO PUBLIC;
CREATE FUNCTION public.note_command() RETURNS event_trigger LANGUAGE plpgsql AS
	$$BEGIN INSERT INTO public.commands VALUES (tg_tag, current_user); END$$;
CREATE EVENT TRIGGER note_command ON ddl_command_end EXECUTE FUNCTION public.note_command();
CREATE EVENT TRIGGER note_drop ON sql_drop EXECUTE FUNCTION public.note_command();});
$node->safe_psql('postgres', 'DROP EXTENSION pg_factory CASCADE');
$node->safe_psql('postgres', 'CREATE EXTENSION pg_factory');
is($node->safe_psql('postgres', q{SELECT DISTINCT as_whom = session_user FROM commands}), 't', 'event triggers run as who gave the command');
$node->safe_psql('postgres', $calls[0]);
is($node->safe_psql('postgres', q{SELECT status FROM factory.judge('d', '{"n": 5, "t": "x"}')}), 'A', 'and the house works with them');
is($node->safe_psql('postgres', q{SELECT DISTINCT as_whom FROM commands WHERE as_whom <> session_user AND as_whom NOT IN ('factory_auditor', 'factory_owner')}), '',
	'our own commands are the house\'s');
$node->stop;
done_testing();
