# Statements made at random from the server's own catalogue: whatever is allowed names
# nothing outside the allow list, leaves nothing behind, and the server lives.
# FACTORY_FUZZ_COUNT and FACTORY_FUZZ_SEED make it longer, or repeat a run.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $count = $ENV{FACTORY_FUZZ_COUNT} // 1000;
my $seed = $ENV{FACTORY_FUZZ_SEED} // 20260115;
srand($seed);
note("seed $seed, $count statements");

my $node = PostgreSQL::Test::Cluster->new('fuzz');
$node->init(extra => [ '--encoding=UTF8', '--locale=C.UTF-8' ]);
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'pg_factory'\nfsync = off\nfactory.question_timeout = '300ms'\nfactory.question_memory = '64MB'\n");
$node->start;
$node->safe_psql('postgres', <<"SQL");
CREATE EXTENSION pg_factory;
\\i $ENV{FACTORY_ROOT}/t/cases/guard/fixture.sql
SQL

sub lines { return split /\n/, $node->safe_psql('postgres', $_[0]) }
sub one_of { return $_[ rand @_ ] }

my %allowed = map { $_ => 1 } lines("SELECT split_part(function, '.', 2) FROM factory.allowed_function WHERE allowed AND strpos(function, '(') = 0");
# name, result type, argument types: all functions that can be called by name, good and bad.
my @functions = map { [ split /\|/, $_, -1 ] } lines(<<'SQL');
SELECT n.nspname, p.proname, format_type(p.prorettype, NULL), coalesce((SELECT string_agg(format_type(t, NULL), ',' ORDER BY i) FROM unnest(p.proargtypes::oid[]) WITH ORDINALITY AS a(t, i)), ''), p.prokind
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname IN ('pg_catalog', 'information_schema', 'factory', 'public') AND p.prokind IN ('f', 'a', 'w') AND p.pronargs <= 3
  AND NOT EXISTS (SELECT FROM unnest(p.proargtypes) t WHERE t IN ('internal'::regtype, 'cstring'::regtype))
  AND p.prorettype NOT IN ('internal'::regtype, 'trigger'::regtype, 'event_trigger'::regtype)
  AND p.proname NOT IN ('pg_terminate_backend', 'pg_reload_conf', 'pg_rotate_logfile')
ORDER BY 1, 2, 4
SQL
my @granted = lines(q(SELECT c.oid::regclass FROM pg_class c WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v', 'm', 'p') AND has_any_column_privilege('factory_reader', c.oid, 'SELECT') ORDER BY 1));
my @others = (lines(q(SELECT c.oid::regclass FROM pg_class c WHERE relnamespace IN ('public'::regnamespace, 'factory'::regnamespace) AND relkind IN ('r', 'v', 'm', 'p') AND NOT has_any_column_privilege('factory_reader', c.oid, 'SELECT') ORDER BY 1)),
	qw(pg_class pg_authid pg_proc pg_stat_activity information_schema.tables pg_settings));
my @columns = map { [ split /\|/ ] } lines(q(SELECT c.oid::regclass, a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v', 'm') ORDER BY 1, a.attnum));
cmp_ok(scalar @functions, '>', 1500, scalar(@functions) . ' functions to choose from');

my @literals = ("1", "0", "-5", "'a'", "'2026-01-15'", "NULL", "1.5", "'{1,2}'", "true", "'public.reading'", "'1 day'::interval", "now()", "'{\"a\": 1}'::jsonb", "ARRAY[1,2]", "'x'::text", "1e10", "'/etc/passwd'");
my (@used_functions, @used_relations);

sub function_call
{
	my ($depth) = @_;
	# Half of them from the allowed ones, so that something passes.
	my $function;
	do { $function = one_of(@functions) } while (rand() < 0.85 && !$allowed{ $function->[1] });
	my @arguments = map { my $type = $_; my $value = expression($depth + 1);
		rand() < 0.7 && $type !~ /any|record|"|void/ ? "($value)::$type" : $value } split /,/, $function->[3];
	push @used_functions, $function->[1];
	my $name = '"' . $function->[1] . '"';
	$name = "$function->[0].$name" if rand() < 0.5;
	my $call = "$name(" . join(', ', @arguments) . ')';
	$call .= ' OVER ()' if $function->[4] eq 'w' || ($function->[4] eq 'a' && rand() < 0.2);
	$call .= ' FILTER (WHERE true)' if $function->[4] eq 'a' && $call !~ /OVER/ && rand() < 0.1;
	return $call;
}

sub expression
{
	my ($depth) = @_;
	my $kind = rand();
	return one_of(@literals) if $depth > 3 || $kind < 0.3;
	return one_of('value', 'line', 'r.value', 'r.at', 'at', 'r', '*', 'tenant_id') if $kind < 0.45;
	return function_call($depth) if $kind < 0.75;
	return '(' . expression($depth + 1) . one_of(' + ', ' || ', ' = ', ' * ', ' < ', ' - ', ' ~ ', ' @> ', ' / ', ' AND ', ' IS DISTINCT FROM ') . expression($depth + 1) . ')' if $kind < 0.85;
	return 'CASE WHEN true THEN ' . expression($depth + 1) . ' END' if $kind < 0.9;
	return '(' . statement($depth + 2) . ')' if $kind < 0.94;
	return 'coalesce(' . expression($depth + 1) . ', ' . expression($depth + 1) . ')';
}

sub relation
{
	my ($depth) = @_;
	my $kind = rand();
	return '(' . statement($depth + 1) . ') AS r' if $kind < 0.1 && $depth < 3;
	return function_call($depth + 1) . ' AS r' if $kind < 0.15;
	my $name = rand() < 0.92 ? one_of(@granted) : one_of(@others);
	push @used_relations, $name;
	return "$name AS r" . (rand() < 0.03 ? ' TABLESAMPLE bernoulli (50)' : '');
}

sub statement
{
	my ($depth) = @_;
	my $sql = 'SELECT ' . (rand() < 0.1 ? 'DISTINCT ' : '') . join(', ', map { expression($depth) } 0 .. int rand 3);
	$sql .= ' FROM ' . relation($depth) if rand() < 0.85;
	$sql .= ' WHERE ' . expression($depth) . ' IS NOT NULL' if rand() < 0.4;
	$sql .= ' GROUP BY ' . one_of('1', 'ROLLUP (1)', '()') if rand() < 0.2;
	$sql .= ' ORDER BY 1' if rand() < 0.2;
	$sql .= ' LIMIT 3' if rand() < 0.3;
	$sql = "WITH c AS (" . statement($depth + 2) . ") $sql" if $depth < 2 && rand() < 0.1;
	$sql .= one_of(' UNION ALL ', ' EXCEPT ') . statement($depth + 2) if $depth < 2 && rand() < 0.08;
	$sql .= one_of(' FOR UPDATE', '; SELECT 1', ' INTO x') if $depth == 0 && rand() < 0.03;
	return $sql;
}

sub state_of
{
	return $node->safe_psql('postgres', q(SELECT (SELECT count(*) FROM pg_class WHERE relnamespace NOT IN ('factory'::regnamespace, 'pg_toast'::regnamespace)), (SELECT count(*) FROM pg_largeobject_metadata),
		(SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'), (SELECT md5(string_agg(r::text, ',' ORDER BY r::text)) FROM public.reading r),
		(SELECT count(*) FROM pg_authid), (SELECT count(*) FROM pg_settings WHERE source = 'database')));
}

my $before = state_of();
my (@statements, @functions_of, @relations_of);
for (1 .. $count)
{
	@used_functions = @used_relations = ();
	push @statements, statement(0);
	push @functions_of, [@used_functions];
	push @relations_of, [@used_relations];
}
my $script = join '', map { "SELECT ok, coalesce(layer, '-') FROM factory.check_sql(\$fuzz\$$_\$fuzz\$);\n" } @statements;
my ($status, $out, $err) = $node->psql('postgres', $script, on_error_stop => 0);
is($err, '', 'check_sql judges every one and raises nothing');
my @verdicts = map { [ split /\|/ ] } split /\n/, $out;
is(scalar @verdicts, $count, 'each has a verdict');

my %granted = map { $_ => 1 } @granted;
my (%layers, @passed, @leaks);
for my $i (0 .. $#verdicts)
{
	$layers{ $verdicts[$i][1] }++;
	next if $verdicts[$i][0] ne 't';
	push @passed, $i;
	push @leaks, "function $_: $statements[$i]" for grep { !$allowed{$_} } @{ $functions_of[$i] };
	push @leaks, "relation $_: $statements[$i]" for grep { !$granted{$_} } @{ $relations_of[$i] };
}
is(join("\n", @leaks), '', 'what passes names nothing that is not allowed');
cmp_ok(scalar @passed, '>', $count / 50, scalar(@passed) . " of $count pass");
note("$_: $layers{$_}") for sort keys %layers;

# Run: errors at run time are fine, traces are not.
$script = join '', map { "SELECT count(*) FROM factory.run_sql(\$fuzz\$$statements[$_]\$fuzz\$);\n" } @passed;
($status, $out, $err) = $node->psql('postgres', $script, on_error_stop => 0, timeout => 300);
unlike($err, qr/server closed|connection to server was lost|internal error|cache lookup/, 'the server lives and nothing is confused');
is(state_of(), $before, 'and nothing is left behind');
is($node->safe_psql('postgres', 'SELECT 1'), '1', 'it still answers');
$node->stop;
done_testing();
