# Counters of calls, and who works on what: idempotency.stat and idempotency.activity. In a server that preloads the
# library, and from PostgreSQL 17 on in one that does not.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Client;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(allows_streaming => 1);
$node->append_conf('postgresql.conf', <<'CONF');
shared_preload_libraries = 'idempotency'
idempotency.databases = 'worked'
idempotency.naptime = 1
max_prepared_transactions = 5
restart_after_crash = on
CONF
$node->start;
$node->safe_psql('postgres', $_) for 'CREATE EXTENSION idempotency', 'CREATE DATABASE other', 'CREATE DATABASE worked';
$node->safe_psql($_, 'CREATE EXTENSION idempotency') for 'other', 'worked';

# What is counted of a function: "calls new replayed declined in_flight mismatch conflict failed".
sub stat_of
{
	my ($function, $dbname, $server) = @_;
	return ($server // $node)->safe_psql($dbname // 'postgres', qq(SELECT concat_ws(' ', calls, new, replayed, declined, in_flight, mismatch, conflict, failed)
		FROM idempotency.stat WHERE function = '$function'));
}

# Runs a statement whose error, if any, is of no interest.
sub run
{
	my ($sql) = @_;
	$node->psql('postgres', $sql, on_error_stop => 0);
	return;
}

# The rows of idempotency.activity, with the process id of each session replaced by its name.
sub activity
{
	my ($columns, $where, %names) = @_;
	my $rows = $node->safe_psql('postgres', qq(SELECT $columns FROM idempotency.activity WHERE $where ORDER BY kind, state, key, pid));
	$rows =~ s/\b$names{$_}\b/$_/g for keys %names;
	return $rows;
}

# Outcomes
is(stat_of('idem_pay'), '0 0 0 0 0 0 0 0', 'nothing is counted before the first call');
is($node->safe_psql('postgres', 'SELECT count(*), count(DISTINCT function) FROM idempotency.stat'), '23|23', 'each function has a row');
run($_) for ("SELECT idem_pay('a', 50)") x 3, "SELECT idem_pay('a', 60)", "SELECT idem_pay('', 50)", "SELECT idem_pay('b', 50, 'XXX1')";
is(stat_of('idem_pay'), '6 1 2 0 0 1 0 2', 'a payment, two replays, another request, two wrong ones');
run(q(SELECT idem_account_open('purse', 'USD', floor => 0), idem_account_open('shop', 'USD')));
run(q(SELECT idem_account_open('shop', 'USD')));
run(q(SELECT idem_account_open('shop', 'EUR')));
run(q(SELECT idem_account_change('shop', ceiling => -1)));
run(q(SELECT idem_account_change('shop', ceiling => 1000)));
is(stat_of('idem_account_open') . ' ' . stat_of('idem_account_change'), '4 2 1 0 0 1 0 0 2 1 0 1 0 0 0 0', 'accounts, too');
run(q(SELECT idem_pay('c', 50, from_account => 'purse', to_account => 'shop')));
run(q(SELECT idem_pay('c', 50, from_account => 'purse', to_account => 'shop', declines => 'record'))) for 1, 2;
is(stat_of('idem_pay'), '9 1 3 2 0 1 0 2', 'a decline that is raised, one that is recorded, and its replay');
run(q(SELECT idem_refund('d', payment_id, 'Infinity') FROM idem_lookup('a'))) for 1, 2;
run(q(SELECT idem_refund('e', payment_id, 1) FROM idem_lookup('a')));
is(stat_of('idem_refund'), '3 1 1 1 0 0 0 0', 'a refund, its replay, one too much');
run(q(SELECT idem_cancel('f'))) for 1, 2;
is(stat_of('idem_cancel'), '2 1 1 0 0 0 0 0', 'a cancellation and its replay');
run(q(SELECT idem_pay_batch('{a,g,h,h,NULL}', '{50,1,2,3,1}')));
is(stat_of('idem_pay_batch'), '1 2 1 0 0 1 0 1', 'a batch is one call, and its items count each');
run(q(SELECT idem_pay_batch('{}'::text[], '{}'::numeric[])));
run(q(SELECT idem_pay_batch('{too much}', '{1000}', from_accounts => '{purse}', to_accounts => '{shop}', declines => 'record'))) for 1, 2;
run(q(SELECT idem_pay_batch('{f}', '{1}')));
is(stat_of('idem_pay_batch'), '5 2 2 2 0 1 0 1', 'an empty one has none; a decline that is recorded, and its replay; a key that was cancelled');
run(q(SELECT idem_execute('i', 'SELECT idem_pay(''j'', 1)'))) for 1, 2;
run(q(SELECT idem_execute('k', 'SELECT 1 / 0', declines => 'record')));
is(stat_of('idem_execute'), '3 1 1 1 0 0 0 0', 'commands, by their outcome');
is(stat_of('idem_pay'), '10 2 3 2 0 1 0 2', 'a call within a command counts for itself');
run(q(BEGIN; SELECT idem_begin('l', lease => '1 hour'); COMMIT; SELECT idem_begin('l', lease => '1 hour')));
run(q(SELECT idem_complete('l', '1', 1))) for 1, 2;
run(q(SELECT idem_begin('l', lease => '1 hour')));
is(stat_of('idem_begin'), '3 1 1 0 1 0 0 0', 'a request, a retry that is too early, one that has the answer');
is(stat_of('idem_complete'), '2 1 1 0 0 0 0 0', 'and its end');
run(q(SELECT idem_authorize('m' || i, 10, expires_in => '1 microsecond') FROM generate_series(1, 3) i));
run(q(SELECT idem_expire()));
is(stat_of('idem_expire'), '1 3 0 0 0 0 0 0', 'holds that were released');
run(q(SELECT idem_lookup('a')));
run(q(BEGIN; SELECT idem_pay('rolled back', 1); ROLLBACK));
is(stat_of('idem_pay'), '11 3 3 2 0 1 0 2', 'calls are counted, not commits');
is(stat_of('idem_pay', 'other'), '0 0 0 0 0 0 0 0', 'another database counts for itself');

# Whoever looks for the cause of a mismatch finds the key in the log, however the client sends it.
my $client = Client->new($node, dbname => 'postgres');
$client->row(q(SELECT idem_begin($1, '[1]', lease => '1 hour')), 'a');
for my $call (q(SELECT idem_pay($1, 60)), q(SELECT idem_begin($1, '[2]', lease => '1 hour')), q(SELECT idem_account_open('shop', $1)))
{
	is($client->error_of($call, $call =~ /open/ ? 'EUR' : 'a'), 'ID422', $call);
	unlike($client->{dbh}->errstr, qr/The (key|account) is/, 'the client gets no more');
}
$client->row(q(SELECT idem_complete($1, '1', 1)), 'a');
$client->close;
like(slurp_file($node->logfile), qr/DETAIL:  Field "amount" differs: it was 50.00, and now it is 60. The key is "a", in the scope ""./, 'the log names a key');
like(slurp_file($node->logfile), qr/DETAIL:  Field "request" differs. The key is "a", in the scope ""./, 'that of a request, too');
like(slurp_file($node->logfile), qr/DETAIL:  Field "currency" differs: .* The account is "shop", in the scope ""./, 'or an account');

# Waiting, and who waits for whom
my $holder = $node->background_psql('postgres', on_error_stop => 0);
my $waiter = $node->background_psql('postgres', on_error_stop => 0);
my %pids = (holder => $holder->query_safe('SELECT pg_backend_pid()'), waiter => $waiter->query_safe('SELECT pg_backend_pid()'));
$node->safe_psql('postgres', 'SELECT idem_stat_reset()');
$holder->query(q(BEGIN; SELECT idem_pay('wait', 50, scope => 'tenant')));
$waiter->query_until(qr/go/, qq(\\echo go\nSELECT replayed FROM idem_pay('wait', 50, scope => 'tenant');\n));
$node->poll_query_until('postgres', qq(SELECT count(*) = 1 FROM pg_locks WHERE pid = $pids{waiter} AND NOT granted AND waitstart IS NOT NULL))
	or die 'nobody waits';
is(activity('kind, state, pid, scope, key, blocked_by, since IS NOT NULL', "kind = 'key'", %pids),
	"key|held|holder|tenant|wait||t\nkey|waiting|waiter|tenant|wait|{holder}|t", 'who holds a key, and who waits for it');
$holder->query('COMMIT');
$waiter->query('SELECT 1');
is(activity('*', "kind = 'key'"), '', 'nobody does any more');
is($node->safe_psql('postgres', q(SELECT waits, wait_time > 0, wait_time < 600, new, replayed FROM idempotency.stat WHERE function = 'idem_pay')),
	'1|t|t|1|1', 'a call that waited, and for how long');

$holder->query(q(BEGIN; SELECT idem_begin('begun')));
is(activity('kind, state, pid, key', "kind = 'key'", %pids), 'key|held|holder|begun', 'who has begun a request');
my ($status, $out, $error) = $node->psql('postgres', q(SET idempotency.in_flight = 'fail'; SELECT idem_begin('begun')));
like($error, qr/ID409|in flight/, 'others get ID409');
$waiter->query(q(SET lock_timeout = '10ms'; SELECT idem_begin('begun'); RESET lock_timeout));
is(stat_of('idem_begin'), '3 1 0 0 2 0 0 0', 'which is counted, and lock_timeout with it');
is($node->safe_psql('postgres', q(SELECT waits, wait_time > 0 FROM idempotency.stat WHERE function = 'idem_begin')), '1|t', 'an error ends a wait');
is(activity('kind, state, pid, key', "kind = 'key'", %pids), 'key|held|holder|begun', 'and nobody waits any more');
$holder->query('ROLLBACK');
$node->safe_psql('postgres', q(BEGIN; SELECT idem_pay('two-phase', 1); PREPARE TRANSACTION 'p'));
$waiter->query_until(qr/go/, qq(\\echo go\nSELECT replayed FROM idem_pay('two-phase', 1);\n));
$node->poll_query_until('postgres', qq(SELECT count(*) = 1 FROM pg_locks WHERE pid = $pids{waiter} AND NOT granted)) or die 'nobody waits';
is(activity('state, pid, key, message', "kind = 'key' AND state = 'held'"), 'held||two-phase|a prepared transaction', 'a prepared transaction holds a key');
$node->safe_psql('postgres', q(COMMIT PREPARED 'p'));
$waiter->query('SELECT 1');

# Who waits, and who holds keys. Between two of the short waits for an account, nobody seems to wait.
sub waiters_are
{
	my ($expected, $what) = @_;
	my $got = '';
	for (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		$got = activity('kind, state, pid, key, blocked_by', "state = 'waiting' OR kind = 'key'", %pids);
		last if $got eq $expected;
		sleep 0.1;
	}
	return is($got, $expected, $what);
}

# A call that waits for an account makes many short waits. What counts is when it began.
$node->safe_psql('postgres', q(SELECT idem_pay('fund', 80, from_account => 'shop', to_account => 'purse')));
$holder->query(q(BEGIN; SELECT idem_pay('first', 50, from_account => 'purse', to_account => 'shop')));
$waiter->query_until(qr/go/, qq(\\echo go\nSELECT idem_pay('second', 50, from_account => 'purse', to_account => 'shop');\n));
ok($node->poll_query_until('postgres', qq(SELECT count(*) > 0 FROM pg_locks l JOIN idempotency.activity a USING (pid)
	WHERE pid = $pids{waiter} AND NOT l.granted AND a.state = 'waiting' AND a.kind = 'account' AND l.waitstart > a.since + interval '0.5 seconds')),
	'a wait for an account is as long as it is');
waiters_are('account|waiting|waiter|second|{holder}', 'and is none for a key, which nobody holds');
$holder->query('ROLLBACK');
$waiter->query('SELECT 1');

# Who waits for what else
sub waits
{
	my ($held, $wanted, $expected, $what) = @_;
	$holder->query("BEGIN; $held");
	$waiter->query_until(qr/go/, qq(\\echo go\n$wanted;\n));
	waiters_are($expected, $what);
	$holder->query('ROLLBACK');
	$waiter->query('SELECT 1');
	return;
}
waits(q(SELECT idem_pay('item 5', 1)), q(SELECT idem_pay_batch(ARRAY(SELECT 'item ' || i FROM generate_series(1, 9) i), array_fill(1::numeric, '{9}'))),
	"key|held|holder|item 5|\nkey|waiting|waiter|item 5|{holder}", 'a batch waits for one of its keys');
$node->safe_psql('postgres', q(SELECT idem_authorize('held', 10)));
waits(q(SELECT idem_capture('half', payment_id, 5) FROM idem_lookup('held')), q(SELECT idem_capture('other half', payment_id, 5) FROM idem_lookup('held')),
	'payment|waiting|waiter|other half|{holder}', 'a capture waits for its payment');
waits(q(SELECT idem_account_open('new', 'USD')), q(SELECT idem_account_open('new', 'USD')),
	"key|held|holder|new|\nkey|waiting|waiter|new|{holder}", 'who opens an account waits for its name');
$node->safe_psql('postgres', q(SELECT idem_account_open('world', 'USD')));
waits(q(SELECT idem_pay('more', 900, from_account => 'world', to_account => 'shop')), q(SELECT idem_account_change('shop', ceiling => 100)),
	'account|waiting|waiter|shop|{holder}', 'who changes an account waits for payments of it');

# A wait that ends with an error ends, though the error is caught and the call around it goes on.
$node->safe_psql('postgres', q(CREATE FUNCTION try_lock() RETURNS int LANGUAGE plpgsql AS $$
	BEGIN PERFORM idem_account_open('taken', 'USD'); RETURN 1; EXCEPTION WHEN lock_not_available THEN RETURN 0; END$$));
$holder->query(q(BEGIN; SELECT idem_account_open('taken', 'USD')));
$waiter->query(q(SET lock_timeout = '100ms'; SELECT idem_execute('tries', 'SELECT try_lock() + try_lock() AS n'); RESET lock_timeout));
is(activity('kind, pid, key', "state = 'waiting'", %pids), '', 'a wait whose error is caught has ended');
$holder->query('ROLLBACK');
$node->safe_psql('postgres', 'SELECT idem_stat_reset()');

# The longest keys do not reach the places of other sessions. Some of these are next to each other.
{
	my @sessions = map { $node->background_psql('postgres', on_error_stop => 0) } 1 .. 4;
	my ($scope, $key) = ('s' x 255, 'idem_cancel:idem_cancel:' . 'k' x 255);
	$_->query(q(BEGIN; SELECT idem_pay('k' || pg_backend_pid(), 1))) for @sessions;
	for my $session (@sessions)
	{
		$session->query(qq(SAVEPOINT s; SELECT idem_cancel('$key', scope => '$scope'); ROLLBACK TO s));
		is($node->safe_psql('postgres', qq(SELECT count(*) FILTER (WHERE key = 'k' || pid), count(*) FILTER (WHERE scope = '$scope' AND key ~ 'k{255}')
			FROM idempotency.session_keys())), '3|1', 'a long key stays in its place');
		$session->query(q(SELECT idem_pay('k' || pg_backend_pid(), 1, scope => 'again')));
	}
	$sessions[0]->query(qq(SAVEPOINT s; SELECT idem_cancel('$key', scope => '$scope'); ROLLBACK TO s));
	$_->quit for @sessions;
}
is($node->safe_psql('postgres', q(SELECT count(*) FROM idempotency.session_keys() WHERE length(key) > 200)), '0', 'a session that has ended has none');
my $gone = $node->background_psql('postgres', on_error_stop => 0);
my $gone_pid = $gone->query('SELECT pg_backend_pid()');
$holder->query(q(BEGIN; SELECT idem_pay('terminated', 1)));
$gone->query_until(qr/go/, qq(\\echo go\nSELECT idem_pay('terminated', 1);\n));
$node->poll_query_until('postgres', qq(SELECT count(*) = 1 FROM idempotency.session_keys() WHERE pid = $gone_pid AND waiting_since IS NOT NULL)) or die 'nobody waits';
$node->safe_psql('postgres', "SELECT pg_terminate_backend($gone_pid, 10000)");
is($node->safe_psql('postgres', "SELECT count(*) FROM idempotency.session_keys() WHERE pid = $gone_pid"), '0', 'nor has one that was terminated while it waited');
$holder->query('ROLLBACK');

# A conflict
$holder->query(q(BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class));
$node->safe_psql('postgres', q(SELECT idem_pay('conflict', 1)));
$holder->query(q(SELECT idem_pay('conflict', 1)));
$holder->query('ROLLBACK');
like(stat_of('idem_pay'), qr/ 1 0$/, '40001 is a conflict');

# Leases, holds, the worker
$node->safe_psql('postgres', q(SELECT idem_begin('running', lease => '1 hour'); SELECT idem_begin('lapsed', lease => '1 microsecond');
	SELECT idem_begin('ended', lease => '1 hour'); SELECT idem_complete('ended', '1', 1);
	SELECT idem_authorize('overdue', 10, expires_in => '1 microsecond')));
is(activity('kind, state, key, until IS NOT NULL, payment_id IS NOT NULL', "kind IN ('lease', 'hold')"),
	"hold|overdue|overdue|t|t\nlease|lapsed|lapsed|t|f\nlease|running|running|t|f", 'leases, and a hold that is overdue');

# What is neither is not read, however much there is of it.
$node->safe_psql('other', q(
	INSERT INTO idempotency.hold SELECT t, t, gen_random_uuid(), '', 'h' || t FROM generate_series(now() + interval '2 days', now() + interval '7 days', interval '20 seconds') t;
	INSERT INTO idempotency.request_0 (created_at, expires_at, begun_at, seq, attempt, scope, key, status, role)
		SELECT now(), now() + interval '1 day', now(), 1, 1, '', 'r' || i, 'completed', 'postgres' FROM generate_series(1, 20000) i;
	SELECT idem_begin('leased', lease => '1 hour')));
$node->safe_psql('other', "VACUUM ANALYZE idempotency.$_") for qw(hold request_0 request_1 request_2);
is($node->safe_psql('other', q(BEGIN; SELECT kind, key FROM idempotency.activity;
	SELECT sum(seq_tup_read + idx_tup_fetch) < 100 FROM pg_stat_xact_all_tables WHERE schemaname = 'idempotency'; COMMIT)),
	"lease|leased\nt", 'idempotency.activity reads only what it shows');

# The worker, in a database of its own
sub worker_is
{
	my ($condition, $what) = @_;
	return ok($node->poll_query_until('worked', "SELECT count(*) = 1 FROM idempotency.activity WHERE kind = 'worker' AND $condition"), $what);
}
worker_is("state = 'done' AND message IS NULL AND message_at IS NULL AND since <= until", 'the last run of the worker');
$node->safe_psql('worked', q(CREATE FUNCTION stop() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN IF NEW.kind = ''expire'' THEN RAISE EXCEPTION USING ERRCODE = ''53200'', MESSAGE = ''no room''; END IF; RETURN NEW; END';
	CREATE TRIGGER stop AFTER INSERT ON idempotency.operation FOR EACH ROW EXECUTE FUNCTION stop();
	SELECT idem_authorize('stuck', 10, expires_in => '1 microsecond')));
worker_is("state = 'failed' AND message = 'no room' AND message_at >= since", 'and its error');
is($node->safe_psql('worked', "SELECT state, key FROM idempotency.activity WHERE kind = 'hold'"), 'overdue|stuck', 'the hold is overdue');
$node->safe_psql('worked', 'DROP FUNCTION stop() CASCADE');
worker_is("state = 'done' AND message = 'no room' AND message_at < since", 'which stays there once it works again, with its time');
$node->safe_psql('worked', q(CREATE FUNCTION pause() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN IF NEW.kind = ''expire'' THEN PERFORM pg_sleep(60); END IF; RETURN NEW; END';
	CREATE TRIGGER pause AFTER INSERT ON idempotency.operation FOR EACH ROW EXECUTE FUNCTION pause();
	SELECT idem_authorize('slow', 10, expires_in => '1 microsecond')));
$node->poll_query_until('worked', "SELECT count(pg_terminate_backend(pid)) = 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND backend_type ~ '^idempotency'") or die 'the worker does not work';
worker_is("message = 'the worker was terminated'", 'a worker that is terminated has failed');
$node->safe_psql('worked', 'DROP FUNCTION pause() CASCADE');
is($node->safe_psql('worked', "SELECT new, failed > 0 FROM idempotency.stat WHERE function = 'idem_expire'"), '1|t', 'its work is counted');

# Reset, restart, crash
$node->safe_psql('postgres', 'SELECT idem_stat_reset()');
is(stat_of('idem_pay'), '0 0 0 0 0 0 0 0', 'a reset sets all to zero');
ok($node->safe_psql('postgres', q(SELECT bool_and(stats_reset > now() - interval '1 hour') FROM idempotency.stat)), 'and says when');
run("SELECT idem_pay('again', 50)") for 1 .. 3;
$_->quit for $holder, $waiter;
$node->append_conf('postgresql.conf', "idempotency.databases = ''");
$node->restart;
is(stat_of('idem_pay'), '3 1 2 0 0 0 0 0', 'the counters survive a restart');
is($node->safe_psql('worked', "SELECT count(*) FROM idempotency.activity WHERE kind = 'worker'"), '0', 'the run of a worker does not: it may never run again');
run("SELECT idem_pay('again', 50)");
is(stat_of('idem_pay'), '4 1 3 0 0 0 0 0', 'and go on');
my $victim = $node->background_psql('postgres', on_error_stop => 0);
kill 'KILL', $victim->query('SELECT pg_backend_pid()') + 0;
$node->poll_query_until('postgres', "SELECT stats_reset > pg_postmaster_start_time() FROM idempotency.stat LIMIT 1") or die 'it has not crashed';
is(stat_of('idem_pay'), '0 0 0 0 0 0 0 0', 'but not a crash');
run("SELECT idem_pay('again', 50)");
$node->stop;
my $file = $node->data_dir . '/pg_stat/idempotency.stat';
ok(-s $file, 'they are in a file');
append_to_file($file, 'x' x 100);
my $hba = $node->data_dir . '/pg_hba.conf';
my $rules = slurp_file($hba);
append_to_file($hba, "nonsense\n");
ok(!$node->start(fail_ok => 1), 'a start fails');
unlink $hba;
append_to_file($hba, $rules);
$node->start;
is(stat_of('idem_pay'), '1 0 1 0 0 0 0 0', 'and the next one reads the file; what cannot be read of it is left out');
ok(!-e $file, 'which is gone when the server runs');
$node->stop;
unlink $file;
append_to_file($file, 'no such format');
$node->start;
is(stat_of('idem_pay'), '0 0 0 0 0 0 0 0', 'and so is a file of another format');

# Many sessions count at the same time
run('SELECT idem_stat_reset()');
my $script = $node->basedir . '/pay.sql';
append_to_file($script, "\\set k random(1, 100)\nSELECT idem_pay('many ' || :k, 1);\n");
$node->command_ok([ 'pgbench', '-n', '-c', 8, '-t', 250, '-f', $script, 'postgres' ], 'eight sessions pay');
is($node->safe_psql('postgres', q(SELECT calls, new + replayed, new = (SELECT count(*) FROM idempotency.payment WHERE key LIKE 'many %'), failed FROM idempotency.stat WHERE function = 'idem_pay')),
	'2000|2000|t|0', 'all calls are counted');

# A database that has been dropped gives its place to another one
$node->safe_psql('postgres', "CREATE DATABASE d$_ TEMPLATE other STRATEGY file_copy"), $node->safe_psql("d$_", q(SELECT idem_pay('a', 1))),
	$node->safe_psql('postgres', "DROP DATABASE d$_") for 1 .. 3;
is(stat_of('idem_pay', 'other'), '0 0 0 0 0 0 0 0', 'others are not mixed up');

# A standby counts its replays
$node->backup('standby');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'standby', has_streaming => 1);
$standby->start;
$node->wait_for_catchup($standby);
$standby->safe_psql('postgres', "SELECT idem_pay('again', 50)");
is(stat_of('idem_pay', 'postgres', $standby), '1 0 1 0 0 0 0 0', 'a standby counts its replays');
is($standby->safe_psql('postgres', q(SELECT kind, state, key FROM idempotency.activity WHERE kind IN ('lease', 'hold') ORDER BY kind, state)),
	"hold|overdue|overdue\nlease|lapsed|lapsed\nlease|running|running", 'and shows leases and overdue holds');
$standby->stop;

# Synchronous replication: a replay waits until the payment is durable
run('SELECT idem_stat_reset()');
run(q(SET synchronous_commit = off; SELECT idem_pay('late', 1)));
run(q(SELECT idem_pay('late', 1)));
ok($node->safe_psql('postgres', q(SELECT durability_waits <= 1 AND durability_wait_time >= 0 AND waits = 0 FROM idempotency.stat WHERE function = 'idem_pay')),
	'a wait for the disk is none for another transaction');
$node->append_conf('postgresql.conf', "synchronous_standby_names = 'nobody'");
$node->reload;
$node->psql('postgres', q(SET synchronous_commit = local; SELECT idem_pay('unsafe', 1);));
$node->poll_query_until('postgres', "SELECT current_setting('synchronous_standby_names') = 'nobody'") or die;
run('SELECT idem_stat_reset()');
my $replay = $node->background_psql('postgres', on_error_stop => 0);
my $replay_pid = $replay->query('SELECT pg_backend_pid()');
$node->psql('postgres', q(SET synchronous_commit = local; CREATE FUNCTION look() RETURNS int LANGUAGE plpgsql AS $$
	BEGIN PERFORM idem_lookup('unsafe'); RETURN 1; EXCEPTION WHEN query_canceled THEN PERFORM pg_sleep(60); RETURN 0; END$$));
for my $call (q(SELECT idem_pay('unsafe', 1)), q(SELECT idem_lookup('unsafe')), q(SELECT idem_execute('looks', 'SELECT look() AS n')))
{
	$replay->query_until(qr/go/, qq(\\echo go\n$call;\n));
	ok($node->poll_query_until('postgres', "SELECT count(*) = 1 FROM idempotency.activity WHERE kind = 'durability' AND state = 'waiting' AND pid = $replay_pid AND key IS NULL AND blocked_by = '{}'"),
		"$call: who waits for a standby is seen");
	$node->safe_psql('postgres', "SELECT pg_cancel_backend($replay_pid)");
	if ($call =~ /look\(\)/)
	{
		$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity WHERE pid = $replay_pid AND wait_event = 'PgSleep'") or die 'it is not caught';
	}
	else
	{
		$replay->query('SELECT 1');
	}
	is(activity('*', "kind = 'durability'"), '', 'and no more once it is cancelled');
}
$node->safe_psql('postgres', "SELECT pg_cancel_backend($replay_pid)");
$replay->query('SELECT 1');
$replay->quit;
run('SELECT idem_stat_reset()');
run(q(SET statement_timeout = '300ms'; SELECT idem_pay('unsafe', 1)));
is($node->safe_psql('postgres', q(SELECT durability_waits, durability_wait_time > 0.1 FROM idempotency.stat WHERE function = 'idem_pay')), '1|t',
	'a wait for a standby is counted, though it was cancelled');
$node->append_conf('postgresql.conf', "synchronous_standby_names = ''");
$node->stop;

# Without preloading
$node->append_conf('postgresql.conf', "shared_preload_libraries = ''");
$node->start;
if ($node->pg_version >= 17)
{
	run("SELECT idem_pay('again', 50)") for 1, 2;
	is(stat_of('idem_pay'), '2 0 2 0 0 0 0 0', 'from 17 on, all servers count');
}
else
{
	my ($result, $rows, $message) = $node->psql('postgres', 'SELECT * FROM idempotency.stat');
	like($message, qr/calls are not counted/, 'before 17, only a server that preloads the library counts');
	like($message, qr/HINT:  Add "idempotency" to "shared_preload_libraries"/, 'and the error says so');
	($result, $rows, $message) = $node->psql('postgres', 'SELECT idem_stat_reset()');
	like($message, qr/calls are not counted/, 'as a reset does');
}
is($node->safe_psql('postgres', "SELECT replayed FROM idem_pay('again', 50)"), 't', 'payments work all the same');
is(activity('key', "kind = 'lease' AND state = 'running'"), 'running', 'and so does idempotency.activity');
$node->stop;

done_testing();
