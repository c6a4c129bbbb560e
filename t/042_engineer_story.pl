# A quality engineer's month: a threshold rings too often, is changed, tried on a tenth of
# the parts, found wrong by those at the press, and is gone by itself; and somebody asks
# why a part was stopped three weeks ago.
use strict;
use warnings;

BEGIN { $ENV{PG_TEST_TIMEOUT_DEFAULT} //= 60; }
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('story');
$node->init;
$node->append_conf('postgresql.conf', q{
shared_preload_libraries = 'pg_factory'
factory.canary_interval = 100ms
});
$node->start;
sub sql { return $node->safe_psql('postgres', join '; ', @_); }
# The clock is the superuser's; the rest needs no more than to be an author.
sub engineer { return sql('SET ROLE engineer', @_); }

sql('CREATE EXTENSION pg_factory', 'CREATE ROLE engineer IN ROLE factory_author, factory_operator');
engineer(q{SELECT factory.create_decision('press', '{
	"inputs": {"lot": "text", "defects": "integer", "produced": "integer"},
	"let": {"rate": "defects::float8 / nullif(produced, 0)"},
	"rules": [
		{"id": "high", "when": "rate >= 0.05", "confidence": 0.95, "because": "rate {rate} of lot {lot} is at or above 5 %",
		 "then": {"status": "HIGH_DEFECT", "severity": "critical", "recommended_actions": ["stop_line"]}},
		{"id": "moderate", "when": "rate >= 0.02", "confidence": 0.85, "then": {"status": "MODERATE_DEFECT", "severity": "warning"}}],
	"default": {"status": "NORMAL", "severity": "info", "confidence": 0.9}}')});

# Lots of a day, with 0 to 69 defects of 1000.
sub judge_lots
{
	my ($day, $lots) = @_;
	my $clock = $day ? "SET factory.frozen_clock = '" . sql("SELECT now() - interval '$day'") . "'" : 'SELECT';
	return sql($clock, 'SET ROLE engineer', qq{SELECT count(factory.judge('press', jsonb_build_object('lot', 'L' || n, 'defects', n % 70, 'produced', 1000))) FROM generate_series(1, $lots) AS n});
}
judge_lots('21 days', 70);
judge_lots('3 days', 700);

# --- a threshold is changed, in a spreadsheet ---------------------------------------------------

is(engineer(q{SELECT factory.rules_from_csv('press', replace(factory.rules_as_table('press'), '>= 0.02', '>= 0.03'), 'fewer false alarms')}), 2, 'a changed table is a draft');
is(engineer(q{SELECT path, was ->> 0, becomes ->> 0 FROM (SELECT path, jsonb_build_array(was) AS was, jsonb_build_array(becomes) AS becomes FROM factory.diff_versions('press', 1, 2)) AS d}),
	'rules.moderate.when|rate >= 0.02|rate >= 0.03', 'and changes what was meant, nothing else');

# --- what would have changed last week --------------------------------------------------------

is(engineer(q{SELECT report -> 'total_samples', report -> 'changed', report #> '{alarms,saved}', report #> '{alarms,added}', report #> '{alarms,saved_per_day}'
	FROM factory.replay('press', 2, now() - interval '7 days') AS report}), '700|100|100|0|14.29', 'of 700 lots of last week 100 would have rung no more');
is(engineer(q{SELECT c ->> 'was', c ->> 'becomes', c ->> 'count' FROM factory.replay('press', 2, now() - interval '7 days') AS report, jsonb_array_elements(report -> 'changes') AS c}),
	'["MODERATE_DEFECT", "warning"]|["NORMAL", "normal"]|100', 'those with two to three percent');
is(sql('SELECT count(*) FROM factory.judgment_log'), 770, 'and nothing was written');

# --- a tenth of the lots ------------------------------------------------------------------------

engineer(q{SELECT factory.deploy('press', 2, canary_pct => 10)});
judge_lots('', 3000);
my $by_the_new = sql('SELECT count(*) FROM factory.judgment_log WHERE version = 2');
ok($by_the_new > 240 && $by_the_new < 360, "a tenth of 3000 lots goes the new way: $by_the_new");

# --- those at the press find it wrong -------------------------------------------------------------

is(engineer('BEGIN', q{SELECT count(factory.feedback(execution_id, 'correction', '{"status": "MODERATE_DEFECT"}', 'cracked')) FROM (
		SELECT execution_id FROM factory.judgment_log WHERE version = 2 AND (input ->> 'defects')::int BETWEEN 20 AND 29 LIMIT 10) AS cracked},
	'SELECT decision, version, status, accuracy, open_reviews > 0 FROM factory.review_list', 'COMMIT'), "10\npress|2|canary|0|t", 'ten corrections put the version on the list of what to look at');
ok($node->poll_query_until('postgres', q{SELECT status = 'rolled_back' FROM factory.deployment WHERE version = 2}), 'and it is rolled back');
is(engineer(q{SELECT reason FROM factory.deployment WHERE version = 2}), 'accuracy_low: 0.000 of 10 judgments that people spoke of were right, less than 0.85', 'with its reason');
is(engineer(q{SELECT string_agg(DISTINCT (factory.judge('press', jsonb_build_object('lot', 'M' || n, 'defects', 25, 'produced', 1000))).version::text, ' ') FROM generate_series(1, 200) AS n}),
	'1', 'the old version has all lots again');
is(engineer('SELECT count(*) FROM factory.review_list'), 0, 'and nothing is left to look at');

# --- why was lot 60 stopped? ----------------------------------------------------------------------

engineer(q{SELECT factory.deploy('press', 2, changelog => 'the die was changed')});
is(engineer(q{SELECT age > 20, why ->> 'version', why #>> '{recorded,status}', why ->> 'same', why #>> '{explanation,summary}', (factory.decide('press', why -> 'input')).version
	FROM (SELECT extract(day FROM now() - created_at) AS age, factory.explain_judgment(execution_id) AS why FROM factory.judgment_log
		WHERE decision = 'press' AND input ->> 'lot' = 'L60' ORDER BY created_at LIMIT 1) AS asked}),
	't|1|HIGH_DEFECT|true|rate 0.06 of lot L60 is at or above 5 %|2', 'three weeks and a version later it still says why');
$node->stop('fast');
unlike(slurp_file($node->logfile), qr/PANIC|TRAP:|ERROR:/, 'and nobody has complained');
done_testing();
