# Definitions, conditions and images made at random: whatever they are, they are refused
# with an error of ours or the parser's, or taken; no internal error, and the server lives.
# FACTORY_FUZZ_COUNT and FACTORY_FUZZ_SEED make it longer, or repeat a run.
use strict;
use warnings;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $count = $ENV{FACTORY_FUZZ_COUNT} // 300;
my $seed = $ENV{FACTORY_FUZZ_SEED} // 20260115;
srand($seed);
note("seed $seed, $count rounds of each");

my $node = PostgreSQL::Test::Cluster->new('fuzz');
$node->init(extra => [ '--encoding=UTF8', '--locale=C.UTF-8' ]);
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'pg_factory'\nfsync = off\nfactory.log = off\nfactory.judgment_time_limit = '200ms'\n");
$node->start;
$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION pg_factory;
CREATE SCHEMA fuzz;
-- What became of a definition: 'taken', 'refused', or the code of an error. What is taken is judged by.
CREATE FUNCTION fuzz.try(definition text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	document jsonb;
	input jsonb;
	problems int;
BEGIN
	document := definition::jsonb;
	SELECT count(*) FILTER (WHERE level = 'error') INTO problems FROM factory.check_decision(document);
	IF problems > 0 THEN
		PERFORM factory.create_decision('never', document);
		RETURN 'saved in spite of problems';
	END IF;
	PERFORM factory.create_decision('fuzzed', document);
	FOREACH input IN ARRAY ARRAY['{}', '{"n": 1, "t": "x", "f": 2.5, "d": "2026-01-15", "b": true, "m": 7.25, "l": [1, 2]}',
		'{"n": -2147483648, "t": "", "f": 1e300, "d": "infinity", "b": false, "m": 1e-9, "l": []}', '{"n": null, "t": null, "f": null}']::jsonb[] LOOP
		BEGIN
			PERFORM factory.decide('fuzzed', input);
		EXCEPTION WHEN SQLSTATE 'PF102' THEN NULL; -- it does not take such an input
		END;
	END LOOP;
	RAISE EXCEPTION USING ERRCODE = 'FUZZ1';
EXCEPTION
	WHEN SQLSTATE 'FUZZ1' THEN RETURN 'taken';
	WHEN SQLSTATE 'PF101' THEN RETURN 'refused';
	WHEN OTHERS THEN RETURN SQLSTATE || CASE WHEN SQLSTATE ~ '^XX' THEN ' ' || SQLERRM ELSE '' END;
END
$$;
SQL

sub one_of { return $_[ rand @_ ] }

# Runs a script in one session; true where it went through.  On failure, the last word said.
sub run_script
{
	my ($script, $story) = @_;
	my $file = "$PostgreSQL::Test::Utils::tmp_check/fuzz.sql";
	open my $out, '>', $file or die "$file: $!";
	print $out $script;
	close $out;
	my ($status, $said, $errors) = $node->psql('postgres', "SET client_min_messages = error;\n\\i $file\n", timeout => 1800, on_error_stop => 0);
	is($status, 0, "$story: the session went to its end") or diag "last of it:\n", join("\n", (split /\n/, $said)[ -3 .. -1 ]), "\n", substr($errors // '', 0, 2000);
	return split /\n/, $said;
}

# Counts what became of them; none is an internal error.
sub check_ends
{
	my ($story, @ends) = @_;
	my %ends;
	$ends{$_}++ foreach @ends;
	is(scalar @ends, $count, "$story: all were tried");
	is(join("\n", grep { /^XX|^57P|in spite/ } sort keys %ends), '', "$story: no internal error");
	note(join(', ', map { "$_ $ends{$_}" } sort keys %ends));
	return %ends;
}

# --- definitions ---------------------------------------------------------------------------

my @conditions = ('n > 1', "t = 'x' AND f >= 2.5", "d < '2026-02-01' OR b", 'm BETWEEN 1 AND 9.5', "t IN ('a', 'b') AND NOT b", 'high', 'n / nullif(m, 0) > 1', '1 = ANY (l)', "t LIKE 'x%'", 'd > now()::date - 3', 'n IS NULL', 'true');
my $sound = {
	inputs => { n => 'int', t => { type => 'text', enum => [ 'x', 'y' ], required => JSON::PP::false }, f => { type => 'float8', min => 0, max => 1e301, default => 1 }, d => 'date', b => 'boolean', m => 'numeric(10,2)', l => 'int[]' },
	let => { high => 'f > 2 AND twice > 3', twice => 'n * 2' }, hit_policy => 'first', strict => JSON::PP::false, on_null => 'unknown', language => 'ko',
	rules => [ map { { id => "r$_", when => $conditions[ $_ % @conditions ], then => { status => "S$_", severity => 'warning', recommended_actions => ['look'] }, set => { score => 'f * 2' }, because => 'n is {n}', priority => $_, confidence => 0.9 } } 0 .. 15 ],
	collect => { score => 'sum' }, default => { status => 'NONE', because => 'nothing' }, statuses => [ 'S1', 'NONE' ], policy => 'RULE_ONLY', weights => { rule => 0.6, llm => 0.4 }, gate => 0.7, cache_ttl => '300s', canary_key => 't',
};
my $json = JSON::PP->new->canonical->allow_nonref->ascii;
my @values = (undef, 0, -1, 1e308, 0.5, '', 'x', 'unknown', 'unique', 'collect', 'error', 'ko', [], {}, [ [] ], { type => 'int' }, { type => 'nosuch' }, JSON::PP::true, 'int', 'text[]', 'jsonb', 'record', 'anyelement', 'regclass', "'", '{', '{n', "\x{ac00}", 'a' x 300, '9' x 400, 'int[][]', 'varchar(0)', 'n; SELECT 1', 'pg_catalog.int4', '-5s');

# Goes down at random and changes one place.
sub change
{
	my ($at) = @_;
	if (ref $at eq 'HASH' && %$at)
	{
		my $key = one_of(sort keys %$at);
		return change($at->{$key}) if ref $at->{$key} && rand() < 0.75;
		my $kind = rand();
		if ($kind < 0.2) { delete $at->{$key}; }
		elsif ($kind < 0.35) { $at->{ one_of('id', 'when', 'rules', 'inputs', 'n', 'N', '', 'min', 'max', 'enum', 'default', 'nosuch', $key . 'x') } = $at->{$key}; }
		else { $at->{$key} = rand() < 0.2 ? one_of(@conditions) : one_of(@values); }
	}
	elsif (ref $at eq 'ARRAY' && @$at)
	{
		my $i = int rand @$at;
		return change($at->[$i]) if ref $at->[$i] && rand() < 0.75;
		my $kind = rand();
		if ($kind < 0.3) { splice @$at, $i, 1; }
		elsif ($kind < 0.5) { push @$at, $at->[$i]; }
		else { $at->[$i] = one_of(@values); }
	}
	return;
}

is($node->safe_psql('postgres', 'SELECT fuzz.try($fuzz$' . $json->encode($sound) . '$fuzz$)'), 'taken', 'what they are made from is sound');
my $script = '';
foreach my $round (1 .. $count)
{
	my $definition = $json->decode($json->encode($sound));
	change($definition) foreach 1 .. 1 + int rand 3;
	$definition = one_of(@values) if rand() < 0.01;
	$script .= "SELECT fuzz.try(\$fuzz\$" . $json->encode($definition) . "\$fuzz\$);\n";
}
my %ends = check_ends('definitions', run_script($script, 'definitions'));
cmp_ok($ends{taken}, '>', $count / 20, 'some were taken');
cmp_ok($ends{refused}, '>', $count / 20, 'some were refused');

# --- conditions ----------------------------------------------------------------------------

no warnings "qw"; # commas and signs are meant
my @pieces = (qw(n t f d b m l high now() current_date current_user random() count(*) * , ; :: ( ) [ ] = <> < <= > >= + - / % ^ || ~ !~ @> && -> ->> AND OR NOT IS NULL NOT TRUE UNKNOWN DISTINCT FROM IN BETWEEN LIKE ESCAPE CASE WHEN THEN ELSE END
		ARRAY ROW ANY ALL EXISTS SELECT VALUES WITH UNION CAST AS int text numeric date interval jsonb COLLATE "C" AT TIME ZONE OVERLAPS COALESCE NULLIF GREATEST EXTRACT OVER FILTER WITHIN GROUP INTO FOR UPDATE
		1 0 -1 2147483648 1e400 0.5 'x' '' '2026-01-15' 'NaN' 'infinity' $1 :n ? @ -- /* */ \\ E'\\' U&'\00e9' B'1' X'f' $$a$$ {n} "N" n.n factory.judge pg_sleep(9) set_config('a.b','c',false) repeat('x',1000000000) generate_series(1,9)), "\n", "\t", "\x{ac00}");
$script = '';
foreach my $round (1 .. $count)
{
	my @words = split /(?<=\s)|(?=\s)/, one_of(@conditions);
	foreach (1 .. 1 + int rand 6)
	{
		my $kind = rand();
		my $at = int rand(@words + 1);
		if ($kind < 0.55) { splice @words, $at, rand() < 0.3 ? 1 : 0, ' ', one_of(@pieces), ' '; }
		elsif ($kind < 0.7) { splice @words, $at, 1 if @words > 1; }
		elsif ($kind < 0.85) { my $other = one_of(@conditions); @words = ('(', @words, ')', one_of(' AND ', ' OR ', ' = ', ' + ', ' '), $other); }
		else { @words = (('NOT (') x 20, @words, (')') x one_of(19, 20, 20, 20, 21)); }
	}
	my $definition = { %$sound, rules => [ map { { id => "r$_", when => $_ == 3 ? join('', @words) : $conditions[ $_ % @conditions ], then => { status => "S$_" } } } 0 .. 3 ] };
	delete @$definition{qw(collect statuses)};
	# As a dollar-quoted text, whatever is in it.
	$script .= "SELECT fuzz.try(\$fuzz\$" . $json->encode($definition) . "\$fuzz\$);\n";
}
%ends = check_ends('conditions', run_script($script, 'conditions'));
cmp_ok($ends{taken}, '>', $count / 50, 'some were taken');
cmp_ok($ends{refused}, '>', $count / 20, 'some were refused');

# --- images --------------------------------------------------------------------------------

$node->safe_psql('postgres', <<'SQL');
SELECT factory.create_decision('imaged', jsonb_build_object('hit_policy', 'collect', 'on_null', 'no_match',
	'inputs', '{"n": "int", "f": "float8", "m": "numeric", "t": "text", "d": "date", "z": "timestamptz", "b": "boolean"}'::jsonb,
	'rules', (SELECT jsonb_agg(jsonb_build_object('id', 'r' || i, 'then', jsonb_build_object('status', 'S' || i), 'when', CASE i % 8
		WHEN 0 THEN format('n > %s AND n < %s', i, i + 20) WHEN 1 THEN format('f >= %s.5 OR f < -%s', i, i) WHEN 2 THEN format('m BETWEEN %s.25 AND %s.75', i, i + 9)
		WHEN 3 THEN format('t IN (%L, %L)', 'w' || i, 'w' || i + 1) WHEN 4 THEN format('d >= date %L', date '2026-01-01' + i) WHEN 5 THEN format('z < %L', timestamptz '2026-01-01 00:00+00' + i * interval '1 day')
		WHEN 6 THEN 'b AND n <> ' || i ELSE format('NOT b AND t = %L AND m * 2 > %s', 'w' || i, i) END) ORDER BY i) FROM generate_series(1, 64) AS i)));
CREATE TABLE fuzz.input AS SELECT jsonb_build_object('n', i, 'f', i - 30.5, 'm', i * 1.25, 't', 'w' || i, 'd', date '2026-01-01' + i, 'z', timestamptz '2026-01-01 00:00+00' + i * interval '1 day', 'b', i % 2 = 0) AS input
FROM generate_series(-5, 70, 3) AS i UNION ALL SELECT unnest(ARRAY['{}', '{"t": ""}', '{"d": "infinity", "z": "-infinity"}']::jsonb[]);
CREATE FUNCTION fuzz.answers() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	answers text;
BEGIN
	-- Some function is redefined: everything is compiled anew, from the image.
	CREATE OR REPLACE FUNCTION fuzz.tick() RETURNS int LANGUAGE sql AS 'SELECT 1';
	DROP FUNCTION fuzz.tick();
	SELECT md5(string_agg(matched_rules::text, ';' ORDER BY input)) INTO answers FROM fuzz.input, factory.decide('imaged', input);
	RETURN answers;
EXCEPTION WHEN OTHERS THEN RETURN SQLSTATE || ' ' || SQLERRM;
END
$$;
SQL
my $image = pack 'H*', $node->safe_psql('postgres', q(SELECT encode(image, 'hex') FROM factory.rule_index WHERE decision = 'imaged'));
my $answers = $node->safe_psql('postgres', 'SELECT fuzz.answers()');
cmp_ok(length $image, '>', 2000, 'there is an image, of ' . length($image) . ' bytes');
is($node->safe_psql('postgres', q(SELECT fuzz.answers() \gset
SELECT from_image FROM factory.decision_memory WHERE decision = 'imaged')), 't', 'which a session opens');
is($node->safe_psql('postgres', q(SET factory.enable_rule_index = off; SELECT fuzz.answers())), $answers, 'it answers as the rules do');

# The places of its header, in the bytes after the length that every value has: rule_image.c.
use constant { HEADER => 4, CHECKSUM => 4 + 16, SIZE => 4 + 12, BYTES => 4 + 104 };
my @crc = map { my $c = $_; $c = $c & 1 ? ($c >> 1) ^ 0x82F63B78 : $c >> 1 for 1 .. 8; $c } 0 .. 255;

sub checksum
{
	my $c = 0xFFFFFFFF;
	$c = ($c >> 8) ^ $crc[ ($c ^ $_) & 255 ] foreach unpack 'C*', $_[0];
	return $c ^ 0xFFFFFFFF;
}

is(unpack('V', substr $image, CHECKSUM, 4), checksum(substr $image, BYTES), 'its checksum is where we think');

# A change of one byte, or some; of a whole number; a piece moved, lost or added.
sub spoil
{
	my ($bytes, $from) = @_;
	my $at = $from + int rand(length($bytes) - $from);
	my $kind = rand();
	if ($kind < 0.35) { substr($bytes, $at, 1) = chr int rand 256; }
	elsif ($kind < 0.6 && $at + 8 < length $bytes)
	{
		my $word = $at - ($at - HEADER) % 8;
		substr($bytes, $word, 4) = pack 'V', one_of(0, 1, 2, 7, 63, 64, 65, 1000, 0x7FFFFFFF, 0xFFFFFFFF, 0x80000000, 0xFFFFFFFC, int rand 2**32);
	}
	elsif ($kind < 0.75) { substr($bytes, $at, 1) = chr(ord(substr $bytes, $at, 1) ^ (1 << int rand 8)); }
	elsif ($kind < 0.85) { my $length = int rand 64; substr($bytes, $at, $length) = substr $bytes, $from + int rand(length($bytes) - $from), $length; }
	elsif ($kind < 0.93) { $bytes = substr $bytes, 0, $at; }
	else { $bytes .= chr(int rand 256) x (8 * int rand 9); }
	return $bytes;
}

# Half of them have a checksum that is right: by somebody's hand, not by accident.
sub seal
{
	my ($bytes) = @_;
	return $bytes if length $bytes < BYTES;
	substr($bytes, SIZE, 4) = pack 'V', length($bytes) - BYTES;
	substr($bytes, CHECKSUM, 4) = pack 'V', checksum(substr $bytes, BYTES);
	return $bytes;
}

my @sealed;
$script = '';
foreach my $round (1 .. $count)
{
	push @sealed, rand() < 0.7;
	my $bytes = $image;
	$bytes = spoil($bytes, $sealed[-1] ? BYTES : 0) foreach 1 .. 1 + int rand 3;
	$bytes = seal($bytes) if $sealed[-1];
	$script .= "UPDATE factory.rule_index SET image = '\\x" . unpack('H*', $bytes) . "';\nSELECT fuzz.answers();\n";
}
my @ends = run_script($script, 'images');
is(scalar @ends, $count, 'images: all were tried');
is(join("\n", grep { !$sealed[$_] && $ends[$_] ne $answers } 0 .. $#ends), '', 'images: what was damaged by accident is not used');
is(join("\n", grep { $ends[$_] =~ /^XX/ } 0 .. $#ends), '', 'images: no internal error') or diag $ends[ (grep { $ends[$_] =~ /^XX/ } 0 .. $#ends)[0] ];
note(scalar(grep { $_ eq $answers } @ends) . ' answered as before');

# --- again: what crashed once ----------------------------------------------------------------

$node->safe_psql('postgres', q{SELECT factory.create_decision('halved', '{"canary_key": "k", "inputs": {"k": "text"}, "rules": [{"when": "true", "then": {"status": "OLD"}}]}');
	SELECT factory.save_version('halved', '{"canary_key": "k", "inputs": {"k": "text"}, "rules": [{"when": "true", "then": {"status": "NEW"}}]}', 'new');
	SELECT factory.deploy('halved', 2, canary_pct => 50)});
is($node->safe_psql('postgres', q{SELECT (factory.judge('halved', '{"k": null}')).status = (factory.judge('halved', '{}')).status}), 't',
	'a canary takes an input whose key is null as one without it');

$node->stop;
done_testing();
