# Jobs: submitted in a transaction, run by a worker that holds nothing while a model
# thinks; order, rights, limits, cancels, deadlines, crashes and rest.
use strict;
use warnings;
use FactoryPeer;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('jobs');
$node->init;
$node->append_conf('postgresql.conf', <<'CONF');
shared_preload_libraries = 'pg_factory'
factory.llm_retry_delay = '10ms'
max_worker_processes = 16
CONF
$node->start;
my $warm = chat_json({ status => 'WARM', severity => 'warning', confidence => 0.9,
	explanation => 'seen', recommended_actions => [] });
my $peer = FactoryPeer->new($warm);
my $url = $peer->url;
$node->safe_psql('postgres', <<"SQL");
CREATE EXTENSION pg_factory;
CREATE SERVER peer FOREIGN DATA WRAPPER factory_llm
	OPTIONS (base_url '$url', allow_http 'true', allow_private 'true');
SELECT factory.create_model('mini', 'peer', 'm');
SELECT factory.create_decision('temperature', '{
	"inputs": {"celsius": {"type": "int", "max": 1000}},
	"rules": [{"id": "hot", "when": "celsius > 70", "confidence": 0.95, "then": {"status": "HOT", "severity": "critical"}}],
	"default": {"status": "COLD", "severity": "info", "confidence": 0.4},
	"statuses": ["HOT", "WARM", "COLD"], "policy": "RULE_FALLBACK",
	"prompt": {"model": "mini", "user": "celsius {{ celsius }}"}}');
CREATE ROLE kim LOGIN IN ROLE factory_operator;
CREATE ROLE lee LOGIN IN ROLE factory_analyst;
GRANT USAGE ON FOREIGN SERVER peer TO kim, lee;
SQL

sub sql
{
	my ($statement, @more) = @_;
	my ($code, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\n$statement", @more);
	return $code == 0 ? $out : $err;
}

sub all_end
{
	my ($story) = @_;
	return ok($node->poll_query_until('postgres', q{SELECT count(*) = 0 FROM factory.job WHERE state IN ('queued', 'running')}), $story);
}

# The ledger's rows come by the database's writer, a moment after the job has ended.
sub ledger_is_written { return $node->poll_query_until('postgres', 'SELECT sum(records) = 0 FROM factory.queue_status') }

sub ends
{
	my ($id, $state, $story) = @_;
	$node->poll_query_until('postgres', "SELECT state NOT IN ('queued', 'running') FROM factory.job_status WHERE id = $id")
		or diag(sql('TABLE factory.job'), sql('TABLE factory.worker_status'));
	return is(sql("SELECT state FROM factory.job_status WHERE id = $id"), $state, $story);
}

# A job commits with its caller.
is(sql(q{BEGIN; SELECT factory.judge_async('temperature', '{"celsius": 1}') > 0; ROLLBACK}), 't', 'a job is rolled back with its transaction');
is(sql('SELECT count(*) FROM factory.job'), 0, 'and is not there');
my $job = sql(q{SELECT factory.judge_async('temperature', '{"celsius": 1}')});
ends($job, 'done', 'a judgment is done by the worker');
is(sql("SELECT r.result, r.status, r.method_used FROM jsonb_populate_record(NULL::factory.judgment, factory.job_result($job)) AS r"),
	'warning|WARM|rule_fallback', 'and brings what judge() says');
ledger_is_written();
is(sql(q{SELECT count(*), bool_and(l.called_by = session_user) FROM factory.llm_call l JOIN factory.judgment_log j USING (execution_id)}), '1|t',
	'logged, and in the ledger');

# Rules alone.
$job = sql(q{SELECT factory.judge_async('temperature', '{"celsius": 99}')});
ends($job, 'done', 'what the rules are sure of is done');
is(scalar($peer->requests), 1, 'without a model');

# The cache: a job is given what is known, and leaves what it was told.
sub judged { return sql("SELECT r.from_cache, r.status, r.version FROM jsonb_populate_record(NULL::factory.judgment, factory.job_result($_[0])) AS r") }
sub judge_again
{
	my ($options, $state) = @_;
	my $id = sql(qq{SELECT factory.judge_async('temperature', '{"celsius": 1}'$options)});
	ends($id, 'done', $state);
	return judged($id);
}
is(judge_again('', 'the same once more'), 't|WARM|1', 'is answered from the cache');
is(scalar($peer->requests), 1, 'without a model');
is(sql(q{SELECT from_cache, status FROM factory.judge('temperature', '{"celsius": 1}')}), 't|WARM', 'as judge() answers it');
is(judge_again(', skip_cache => true', 'one that wants a fresh answer'), 'f|WARM|1', 'gets it');
is(scalar($peer->requests), 2, 'by asking');
sql(q{SELECT factory.judge('temperature', '{"celsius": 3}')});
$job = sql(q{SELECT factory.judge_async('temperature', '{"celsius": 3}')});
ends($job, 'done', 'what a session was told');
is(judged($job), 't|WARM|1', 'a job is given');
$node->safe_psql('postgres', q{SELECT factory.save_version('temperature', definition, 'the same again') FROM factory.decision_version;
	SELECT factory.deploy('temperature', 2)});
is(judge_again('', 'after a deployment'), 'f|WARM|2', 'a model is asked again');
is(scalar($peer->requests), 4, 'once');
$node->safe_psql('postgres', q{SELECT factory.rollback('temperature')});

# Equal jobs: one asks, the others wait for its answer; where it is cancelled, each asks.
my $states = q{SELECT string_agg(state || coalesce(' ' || (result ->> 'from_cache'), ''), ', ' ORDER BY id) FROM factory.job WHERE input ->> 'celsius' = };
sub judge_equal
{
	my ($celsius) = @_;
	return split /\n/, sql(qq{SELECT factory.judge_async('temperature', '{"celsius": $celsius}') FROM generate_series(1, 3)});
}
$peer->script(chat_json({ status => 'WARM', severity => 'warning', confidence => 0.9, explanation => 'seen', recommended_actions => [] }, delay => 0.5));
judge_equal(30);
all_end('three equal jobs end');
is(sql("$states '30'"), 'done false, done true, done true', 'two with the answer of the first');
is(scalar($peer->requests), 1, 'which alone asked');
$peer->script({ hang => 1 });
my ($leader, @followers) = judge_equal(31);
$peer->wait_requests(1);
ok($node->poll_query_until('postgres', q{SELECT count(*) = 3 FROM factory.job WHERE state = 'running' AND input ->> 'celsius' = '31'}), 'of three more two follow');
is(scalar($peer->requests), 1, 'that ask nothing');
sql("SELECT factory.cancel_job($leader)");
ok($peer->wait_requests(3), 'until the first is cancelled: then each asks for itself');
sql("SELECT factory.cancel_job($_)") for @followers;
all_end('and can be cancelled');
is(sql("$states '31'"), 'cancelled, cancelled, cancelled', 'as the first was');
$peer->script($warm);

# Completions; as who submitted them.
$peer->script(chat('hello'));
$job = sql(q{SELECT factory.complete_async('mini', 'say hello', system => 'be kind')}, extra_params => [ '-U', 'lee' ]);
ends($job, 'done', 'a completion is done');
is(sql("SELECT factory.job_result($job) ->> 'text'"), 'hello', 'and brings the text');
ledger_is_written();
is(sql(q{SELECT called_by FROM factory.llm_call ORDER BY called_at DESC LIMIT 1}), 'lee', 'with the rights of who submitted it');
like(sql("SELECT factory.job_result($job)", extra_params => [ '-U', 'lee' ]), qr/hello/, 'who reads it');
my $mine = sql(q{SELECT factory.complete_async('mini', 'mine')});
like(sql("SELECT factory.job_result($mine)", extra_params => [ '-U', 'lee' ]), qr/42704.*does not exist/, 'but not the others\'');
like(sql(q{SELECT factory.judge_async('temperature', '{}')}, extra_params => [ '-U', 'lee' ]), qr/42501/, 'who may not judge may not have it judged');
ends($mine, 'done', 'which is done, too');

# What fails.
like(sql(q{SELECT factory.judge_async('nope', '{}')}), qr/PF103/, 'a decision that is not there is refused at once');
like(sql(q{SELECT factory.complete_async('nope', 'x')}), qr/PF205/, 'so is a model');
like(sql(q{SELECT factory.complete_async('mini', 'x', deadline => '-1 s')}), qr/22023/, 'and a deadline that is over');
like(sql(q{SELECT factory.complete_async('mini', 'x', on_unknown => 'hope')}), qr/22023/, 'and an unknown policy');
$job = sql(q{SELECT factory.judge_async('temperature', '{"celsius": 2000}')});
ends($job, 'failed', 'an input that does not fit fails its job');
like(sql("SELECT factory.job_result($job)"), qr/PF102.*job $job failed/, 'and says so');
$peer->script(status(401));
$job = sql(q{SELECT factory.complete_async('mini', 'x')});
ends($job, 'failed', 'a model that refuses fails a completion');
like(sql("SELECT error, sqlstate FROM factory.job_status WHERE id = $job"), qr/did not take the request.*\|PF204/, 'with the reason');
$peer->script(chat('now'));
is(sql("SELECT factory.retry_job($job)"), 't', 'it can be tried again');
ends($job, 'done', 'and is done then');

# A job whose code raises what else ends a process's work, a cancel: it fails, and the others go on.
$node->safe_psql('postgres', q{
CREATE FUNCTION poison(n int) RETURNS bool IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN
	RAISE EXCEPTION 'poison' USING ERRCODE = CASE n WHEN 1 THEN '57014' ELSE '53200' END; END $$;
SELECT factory.create_decision('poisoned', '{"inputs": {"n": "int"}, "rules": [{"id": "r", "when": "public.poison(n)", "then": {"status": "P"}}],
	"default": {"status": "D"}}');
});
my @poisoned = map { sql("SELECT factory.judge_async('poisoned', '{\"n\": $_}', priority => 1000)") } 1, 2;
$job = sql(q{SELECT factory.judge_async('temperature', '{"celsius": 99}')});
ends($job, 'done', 'beside poison another is done');
ends($poisoned[0], 'failed', 'a cancel that a function raises is its job\'s own');
like(sql("SELECT factory.job_result($poisoned[1])"), qr/53200.*poison|failed/s, 'so is a lack of memory');

# While models think nothing is held.
$peer->script(chat('late', delay => 4));
sql(q{SELECT factory.complete_async('mini', 'wait ' || i) FROM generate_series(1, 20) AS i});
$node->poll_query_until('postgres', q{SELECT count(*) = 20 FROM factory.job_status WHERE state = 'running'});
is(sql(q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pg_factory job runner'}), 1, 'one worker for all');
ok($node->poll_query_until('postgres', q{SELECT state = 'idle' AND backend_xmin IS NULL AND backend_xid IS NULL AND xact_start IS NULL
	FROM pg_stat_activity WHERE backend_type = 'pg_factory job runner'}), 'that has no transaction and no snapshot');
is(sql(q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()}), 0, 'and no backend waits');
like(sql(q{SELECT state FROM factory.worker_status WHERE kind = 'job_runner'}), qr/^\d+ calls under way$/, 'worker_status tells of it');
all_end('all end');
is(sql(q{SELECT count(*) FROM factory.job WHERE result ->> 'text' = 'late'}), 20, 'with what the model said');

# Cancelled, late, and told.
$peer->script({ hang => 1 });
$job = sql(q{SELECT factory.complete_async('mini', 'never')});
$peer->wait_requests(1);
is(sql("SELECT factory.cancel_job($job)"), 't', 'a running job can be cancelled');
ends($job, 'cancelled', 'and ends');
$peer->wait_closed(1);
is(sql("SELECT factory.cancel_job($job)"), 'f', 'once');
like(sql("SELECT factory.job_result($job)"), qr/57014/, 'its result says so');
$job = sql(q{SELECT factory.complete_async('mini', 'late', deadline => '300 ms')});
ends($job, 'failed', 'a deadline ends the call');
like(sql("SELECT sqlstate FROM factory.job_status WHERE id = $job"), qr/PF202|57014/, 'as a timeout');
$peer->script(chat('x'));
my $listener = $node->background_psql('postgres');
$listener->query_safe('LISTEN factory_events');
$job = sql(q{SELECT factory.complete_async('mini', 'secret')});
ends($job, 'done', 'another is done');
like($listener->query('SELECT 1'), qr/notification "factory_events" with payload "\{"event": "job_done", "job": $job\}"/,
	'who listens is told which, and no more');
$listener->quit;

# Rest, and limits.
sql(q{SELECT factory.pause_workers('maintenance')});
$job = sql(q{SELECT factory.complete_async('mini', 'paused')});
ok($node->poll_query_until('postgres', q{SELECT state LIKE 'resting: %' FROM factory.worker_status WHERE kind = 'job_runner'}), 'paused, the worker rests');
is(sql("SELECT state FROM factory.job_status WHERE id = $job"), 'queued', 'and the job waits');
is(sql("SELECT factory.cancel_job($job)"), 't', 'where it can be cancelled');
$node->safe_psql('postgres', q{ALTER SYSTEM SET factory.job_max_queued = 3; SELECT pg_reload_conf()});
ok($node->poll_query_until('postgres', q{SELECT current_setting('factory.job_max_queued') = '3'}), 'a small queue');
sql(q{SELECT factory.complete_async('mini', 'fill ' || i) FROM generate_series(1, 3) AS i});
like(sql(q{SELECT factory.complete_async('mini', 'too much')}), qr/PF502.*queue of jobs is full.*job_max_queued/s, 'is full with three');
$node->safe_psql('postgres', q{ALTER SYSTEM RESET factory.job_max_queued; SELECT pg_reload_conf()});

# Tenants: quota, turns, and not seeing each other.
$node->safe_psql('postgres', q{
SELECT factory.create_tenant('busan', concurrent_jobs => 5);
CREATE ROLE park LOGIN IN ROLE factory_author, factory_operator;
GRANT USAGE ON FOREIGN SERVER peer TO park;
SELECT factory.map_tenant_role('busan', 'park');
SET factory.tenant = 'busan';
SELECT factory.create_model('mini', 'peer', 'm');
});
my @park = (extra_params => [ '-U', 'park' ]);
$node->psql('postgres', q{SELECT count(factory.complete_async('mini', 'b' || i)) FROM generate_series(1, 4) i},
	@park, stderr => \my $told);
like($told, qr/WARNING:  tenant "busan" has used 4 of its 5 concurrent jobs/, 'a tenant is warned at four fifths');
like(sql(q{SELECT factory.complete_async('mini', 'b5')}, @park), qr/^\d+$/, 'submits its share');
like(sql(q{SELECT factory.complete_async('mini', 'b6')}, @park), qr/PF004.*has used all of its 5 concurrent jobs.*HINT/s, 'and no more');
is(sql(q{SELECT used, state FROM factory.tenant_usage WHERE tenant_id = 'busan' AND quota = 'concurrent_jobs'}), '5|exhausted', 'tenant_usage counts them');
is(sql('SELECT count(*) FROM factory.job_status', @park), 5, 'it sees its own');
my $theirs = sql('SELECT max(id) FROM factory.job_status', @park);
my $others = sql('SELECT max(id) FROM factory.job_status');
for my $touch (qw(job_result cancel_job retry_job))
{
	like(sql("SELECT factory.$touch($others)", @park), qr/42704.*job $others does not exist/, "$touch() does not reach another tenant's job");
}
is(sql("SELECT factory.cancel_job($theirs)", @park), 't', 'one is cancelled');
like(sql(q{SELECT factory.complete_async('mini', 'b6', priority => 7)}, @park), qr/^\d+$/, 'which makes room for another');
is(sql("SELECT factory.retry_job($theirs)", @park) =~ /PF004/, 1, 'not for both');
$node->safe_psql('postgres', q{ALTER SYSTEM SET factory.job_concurrency = 1; SELECT pg_reload_conf()});
$node->poll_query_until('postgres', q{SELECT current_setting('factory.job_concurrency') = '1'});
my $runner = sql(q{SELECT pid FROM factory.worker_status WHERE kind = 'job_runner' AND pg_terminate_backend(pid)});
$node->poll_query_until('postgres', "SELECT state LIKE 'resting%' AND pid <> $runner FROM factory.worker_status WHERE kind = 'job_runner'");
sql(q{SELECT factory.resume_workers()});
all_end('resumed, all is done');
ledger_is_written();
is(sql(q{SELECT string_agg(CASE tenant_id WHEN 'busan' THEN 'b' ELSE 'd' END, '' ORDER BY called_at) FROM
	(SELECT tenant_id, called_at FROM factory.llm_call ORDER BY called_at DESC LIMIT 8) AS l}), 'bdbdbdbb', 'tenants took turns, one call at a time');
is(sql(q{SELECT input ->> 'prompt' FROM factory.job WHERE tenant_id = 'busan' ORDER BY started_at LIMIT 1}), 'b6', 'priority comes first');
is(sql(q{SELECT string_agg(DISTINCT tenant_id || ' ' || CASE called_by WHEN session_user THEN 'owner' ELSE called_by END, ', ') FROM factory.llm_call}), 'busan park, default lee, default owner', 'each with its own ledger');
$node->safe_psql('postgres', q{ALTER SYSTEM RESET factory.job_concurrency; SELECT pg_reload_conf()});

# What ended long ago is deleted.
is(sql(q{SELECT factory.tend_jobs() BETWEEN now() + interval '6 days' AND now() + interval '7 days 1 hour'}), 't', 'jobs are kept for a week');
is(sql(q{UPDATE factory.job SET finished_at = now() - interval '8 days' WHERE id = } . $others . q{ RETURNING id}) =~ /^$others/, 1, 'one that is older');
sql(q{SELECT factory.tend_jobs()});
is(sql("SELECT count(*) FROM factory.job WHERE id = $others"), 0, 'goes');

# So it is though nobody submits more, and the worker does not rest.
$node->safe_psql('postgres', q{ALTER SYSTEM SET factory.job_retention = '1s'; SELECT pg_reload_conf()});
$node->poll_query_until('postgres', q{SELECT current_setting('factory.job_retention') = '1s'});
sql(q{SELECT pg_terminate_backend(pid, 10000) FROM factory.worker_status WHERE kind = 'job_runner'});
sql(q{SELECT factory.complete_async('mini', 'short-lived')});
ok($node->poll_query_until('postgres', q{SELECT count(*) = 0 FROM factory.job}), 'the scheduler sees to it');
$node->safe_psql('postgres', q{ALTER SYSTEM RESET factory.job_retention; SELECT pg_reload_conf()});

# A transaction of the worker's that fails is tried again.
sql(q{CREATE FUNCTION public.stumble() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''stumbled''; END';
	CREATE TRIGGER stumble BEFORE UPDATE ON factory.job FOR EACH ROW EXECUTE FUNCTION public.stumble()});
$job = sql(q{SELECT factory.complete_async('mini', 'stumbling')});
$node->wait_for_log(qr/ERROR:  stumbled/);
sql(q{DROP TRIGGER stumble ON factory.job});
ends($job, 'done', 'after a failed transaction it goes on by itself');

# Switched off, nothing is asked.
$node->safe_psql('postgres', q{ALTER SYSTEM SET factory.enabled = off; SELECT pg_reload_conf()});
$node->poll_query_until('postgres', q{SELECT current_setting('factory.enabled') = 'off'});
$job = sql(q{SELECT factory.complete_async('mini', 'off')});
ok($node->poll_query_until('postgres', q{SELECT state LIKE 'resting: %' FROM factory.worker_status WHERE kind = 'job_runner'}), 'switched off, the worker rests');
is(sql("SELECT state FROM factory.job_status WHERE id = $job"), 'queued', 'and the job waits');
$node->safe_psql('postgres', q{ALTER SYSTEM RESET factory.enabled; SELECT pg_reload_conf()});
ends($job, 'done', 'until it is switched on');

# Budgets get back what is not used.
sub reserved { return sql('SELECT sum(reserved_tokens) > 0 FROM factory.budget_usage()'); }
sql(q{SELECT factory.set_budget('model', 'mini', 'day', tokens => 1000000)});
$peer->script({ hang => 1 });
$job = sql(q{SELECT factory.complete_async('mini', 'reserved')});
$peer->wait_requests(1);
is(reserved(), 't', 'a call under way holds of its budget');
sql("SELECT factory.cancel_job($job)");
ends($job, 'cancelled', 'cancelled');
is(reserved(), 'f', 'it gives it back');
$peer->script({ hang => 1 });
$job = sql(q{SELECT factory.complete_async('mini', 'reserved', on_unknown => 'fail')});
$peer->wait_requests(1);
sql(q{SELECT pg_terminate_backend(pid, 10000) FROM factory.worker_status WHERE kind = 'job_runner'});
ends($job, 'failed', 'so does one whose worker ends');
is(reserved(), 'f', 'and nothing stays reserved');
$peer->script(chat('again'));

# A crash between question and answer: as each job asked for.
sub crash_server { $node->stop('immediate'); $peer->script(chat('after')); return $node->start }

# The worker alone is killed: the server restarts by itself.
sub crash_worker
{
	$node->safe_psql('postgres', 'ALTER SYSTEM SET restart_after_crash = on; SELECT pg_reload_conf()');
	my $runner = sql(q{SELECT pid FROM factory.worker_status WHERE kind = 'job_runner'});
	my $begun = sql('SELECT pg_postmaster_start_time()');
	my $session = $node->background_psql('postgres', on_error_stop => 0);
	kill 'KILL', $runner;
	$session->{run}->finish;
	$peer->script(chat('after'));
	$node->poll_query_until('postgres', 'SELECT true');
	is(sql('SELECT pg_postmaster_start_time()'), $begun, 'the postmaster has stayed');
	return;
}

for my $crash ([ 'the server', \&crash_server ], [ 'the worker', \&crash_worker ])
{
	my ($whose, $happens) = @$crash;
	$peer->script({ hang => 1 });
	my ($retry, $fail, $ask) = map { sql("SELECT factory.complete_async('mini', 'crash $_', on_unknown => '$_')") } qw(retry fail ask);
	$peer->wait_requests(3);
	$happens->();
	ends($retry, 'done', "after a crash of $whose one is asked again");
	ends($fail, 'failed', 'one fails');
	ok($node->poll_query_until('postgres', "SELECT state = 'unknown' FROM factory.job_status WHERE id = $ask"), 'one is unknown');
	like(sql("SELECT factory.job_result($ask)"), qr/PF501/, 'and says so');
	is(sql("SELECT factory.retry_job($ask)"), 't', 'until somebody decides');
	ends($ask, 'done', 'and it is done');
}

# A worker that is terminated; a database that is dropped; an extension that goes.
$peer->script(chat('again', delay => 0.5));
$job = sql(q{SELECT factory.complete_async('mini', 'terminated')});
$peer->wait_requests(1);
sql(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'pg_factory job runner'});
ends($job, 'done', 'a worker that is terminated comes again');
$node->safe_psql('postgres', 'CREATE DATABASE other');
$peer->script({ hang => 1 });
$node->safe_psql('other', qq{CREATE EXTENSION pg_factory;
CREATE SERVER peer FOREIGN DATA WRAPPER factory_llm OPTIONS (base_url '$url', allow_http 'true', allow_private 'true');
SELECT factory.create_model('mini', 'peer', 'm'); SELECT factory.complete_async('mini', 'x')});
$peer->wait_requests(1);
my ($code, $out, $err) = $node->psql('postgres', 'DROP DATABASE other');
is($code, 0, 'a database whose jobs run can be dropped') or diag($err);
sql(q{SELECT factory.complete_async('mini', 'last')});
$peer->wait_requests(2);
($code, $out, $err) = $node->psql('postgres', 'DROP EXTENSION pg_factory CASCADE');
is($code, 0, 'and the extension') or diag($err);
ok($node->poll_query_until('postgres', q{SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'pg_factory job runner'}), 'the worker leaves');
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|was terminated by signal (?!3: Quit|9: Killed)/, 'nothing crashed by itself');

done_testing();
