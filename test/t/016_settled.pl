# A replay is an acknowledgement. Is what it returns as durable as the session's own commits? The rows are of writers that
# did not wait for the disk, or are not on a standby yet. Waits are cancelled, and some replays must not wait.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Client;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# A writer that does not wait for the disk. The WAL writer is slow, so that no other process flushes what it wrote.
my $alone = PostgreSQL::Test::Cluster->new('alone');
$alone->init;
$alone->append_conf('postgresql.conf', <<'CONF');
wal_writer_delay = 10s
wal_writer_flush_after = 1GB
autovacuum = off
CONF
$alone->start;
$alone->safe_psql('postgres', 'CREATE EXTENSION idempotency');

sub crash
{
	$alone->stop('immediate');
	$alone->start;
	return;
}

$alone->safe_psql('postgres', q(SELECT idem_account_open('world', 'USD')));

# Each way to get an answer: what writes it, and what reads it.
my @ways = (
	[ 'idem_pay', q(SELECT idem_pay('k', 1)), q(SELECT r::text FROM idem_pay('k', 1) r) ],
	[ 'idem_lookup', q(SELECT idem_pay('k', 1)), q(SELECT r::text FROM idem_lookup('k') r) ],
	[ 'idem_cancel of an unused key', q(SELECT idem_cancel('k')), q(SELECT r::text FROM idem_cancel('k') r) ],
	[ 'idem_pay_batch', q(SELECT idem_pay('k', 1)),
		q(SELECT payment_id, outcome FROM idem_pay_batch(ARRAY['k'], ARRAY[1])) ],
	[ 'idem_payment', q(SELECT idem_pay('k', 1)), q(SELECT r::text FROM idem_payment('%s') r) ],
	[ 'idem_history', q(SELECT idem_pay('k', 1)), q(SELECT r::text FROM idem_history('%s') r) ],
	[ 'idem_payments', q(SELECT idem_pay('k', 1)), q(SELECT r::text FROM idem_payments(max => 1000) r WHERE r.key = 'k') ],
	[ 'idem_balance of a new account', q(SELECT idem_account_open('k', 'USD')), q(SELECT posted, entries FROM idem_balance('k')) ],
	[ 'idem_balance', q(SELECT idem_account_open('k', 'USD'), idem_pay('k', 1, 'USD', 'world', 'k')),
		q(SELECT posted, entries FROM idem_balance('k')) ],
	[ 'idem_statement', q(SELECT idem_account_open('k', 'USD'), idem_pay('k', 1, 'USD', 'world', 'k')),
		q(SELECT key, posted, created_at FROM idem_statement('k')) ],
	[ 'idem_begin', q(SELECT idem_begin('k'), idem_complete('k', '"done"')),
		q(SELECT outcome, attempt, response FROM idem_begin('k')) ],
	[ 'idem_execute', q(SELECT idem_execute('k', 'SELECT 1')), q(SELECT rows FROM idem_execute('k', 'SELECT 1')) ],
	[ 'idem_lookup_request', q(SELECT idem_execute('k', 'SELECT 1')), q(SELECT created_at FROM idem_lookup_request('k')) ]);

for my $level ('local', 'on')
{
	for my $way (@ways)
	{
		my ($name, $write, $read) = @$way;
		my $key = "$name $level";
		s/'k'/'$key'/g for $write, $read;
		my $writer = Client->new($alone, set => { synchronous_commit => 'off' });
		my $reader = Client->new($alone, set => { synchronous_commit => $level });
		$writer->row($write);
		my $id = $name =~ /idem_(?:payment|history)/ && $writer->value('SELECT payment_id FROM idem_lookup($1)', $key);
		my $ask = $id ? sprintf($read, $id) : $read;
		my @given = $reader->row($ask);
		crash();
		my $after = Client->new($alone);
		is_deeply([ $after->row($ask) ], \@given, "$name, synchronous_commit = $level: what was answered survives a crash");
	}
}

# VACUUM may freeze a row before its commit is on disk. (The first VACUUM writes the images of the pages. So the second one
# writes little WAL, and none of it is flushed incidentally.)
my $freezer = Client->new($alone, set => { synchronous_commit => 'off' });
my $async = Client->new($alone, set => { synchronous_commit => 'off' });
my $reader = Client->new($alone);
$reader->pay('before', 1);
for my $key ('frozen 1', 'frozen 2')
{
	$async->pay($key, 1);
	$freezer->do('VACUUM FREEZE idempotency.operation');
}
my ($frozen, $replayed_frozen) = $reader->pay('frozen 2', 1);
is($replayed_frozen, 't', 'a frozen row is replayed');
crash();
is_deeply([ Client->new($alone)->pay('frozen 2', 1) ], [ $frozen, 't' ], 'and survives a crash');

# With synchronous_commit = off, a replay is not settled. That it is lost here shows that the rows above did need it.
my $writer = Client->new($alone, set => { synchronous_commit => 'off' });
my ($receipt) = $writer->pay('lost', 1);
is_deeply([ $writer->pay('lost', 1) ], [ $receipt, 't' ], 'a replay with synchronous_commit = off');
crash();
$writer = Client->new($alone);
is(($writer->pay('lost', 1))[1], 'f', 'is lost with what it replayed');
$alone->stop;

# A primary and a synchronous standby
my $primary = PostgreSQL::Test::Cluster->new('primary');
$primary->init(allows_streaming => 1);
$primary->append_conf('postgresql.conf', <<'CONF');
autovacuum = off
max_prepared_transactions = 5
max_connections = 60
CONF
$primary->start;
$primary->safe_psql('postgres', 'CREATE EXTENSION idempotency');
$primary->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'backup', has_streaming => 1);
$standby->start;

sub synchronous
{
	my ($names) = @_;
	$primary->append_conf('postgresql.conf', "synchronous_standby_names = '$names'");
	$primary->reload;
	return;
}

# Waits until a session waits for the standby.
sub waits_for_standby
{
	my ($control, $client) = @_;
	return Client::wait_until(
		sub { ($control->value('SELECT wait_event FROM pg_stat_activity WHERE pid = $1', $client->pid) // '') eq 'SyncRep' });
}

synchronous('standby');
ok($primary->poll_query_until('postgres', q(SELECT sync_state = 'sync' FROM pg_stat_replication)), 'there is a synchronous standby');
my $control = Client->new($primary, set => { synchronous_commit => 'local' });
my $old = Client->new($primary);
my ($old_receipt) = $old->pay('old', 1);
is_deeply([ $old->pay('old', 1) ], [ $old_receipt, 't' ], 'with its standby, a replay is answered');
# All WAL there is gets to the standby, and so does what the session has noted: the next replay is the last that looks.
Client->new($primary)->row("SELECT pg_logical_emit_message(true, 'test', '')");
$old->pay('old', 1);

# The standby goes away. A payment waits for it, and the server crashes meanwhile.
$standby->stop;
my $payer = Client->new($primary);
$payer->send_pay('in doubt', 5);
ok(waits_for_standby($control, $payer), 'a payment waits for the standby that is away');
is($control->value(q(SELECT count(*) FROM idem_lookup('in doubt'))), 0, 'and is not seen by others');

# What was settled before is replayed without the standby, and without a transaction id.
is_deeply([ $old->pay('old', 1) ], [ $old_receipt, 't' ], 'a key that was settled is answered without the standby');
is($old->value('SELECT pg_current_xact_id_if_assigned()'), undef, 'without a transaction id');

$primary->stop('immediate');
$primary->start;
$control = Client->new($primary, set => { synchronous_commit => 'local' });
is($control->value(q(SELECT count(*) FROM idem_lookup('in doubt'))), 1, 'after the crash the payment is there');

# A request whose lease has run out is answered with what is known of it, and that is settled, too. The page is released
# before the wait, so it may change meanwhile. It is released earlier if an administrator's triggers may make an insert wait.
my $worker = Client->new($primary, set => { synchronous_commit => 'local' });
for my $key ('before', 'lapsed 0', 'lapsed 1')
{
	$worker->row(q(SELECT idem_begin($1, lease => '1 hour')), $key);
	$worker->row(q(SELECT idem_checkpoint($1, 'half', '{"paid": "in part"}', 1)), $key);
}
for my $n (0 .. 2)
{
	$control->do("UPDATE idempotency.request_$n SET lease_until = created_at");
	$control->do("VACUUM FREEZE idempotency.request_$n");
	$control->do("DELETE FROM idempotency.request_$n WHERE key = 'before'");
}
$control->do('CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$');
my @lapsed;
for my $i (0, 1)
{
	my $client = Client->new($primary);
	$client->send(qq(SELECT concat_ws(' | ', outcome, checkpoint, checkpoint_data)
		FROM idem_begin('lapsed $i', lease => '1 hour', takeover => false)));
	ok(waits_for_standby($control, $client), 'the state of a lapsed request waits for the standby' . ($i ? ', with triggers' : ''));
	push @lapsed, $client;
	next if $i;
	$control->do("CREATE TRIGGER nothing AFTER INSERT ON idempotency.request_$_ FOR EACH ROW EXECUTE FUNCTION nothing()") for 0 .. 2;
}
$control->do("VACUUM idempotency.request_$_") for 0 .. 2;
$worker->row(q(SELECT idem_begin('after', lease => '1 hour')));

# Every way to get the answer waits as the payment did.
my $id = $control->value(q(SELECT payment_id FROM idem_lookup('in doubt')));
my %asking = map { $_ => Client->new($primary) } (
	q(SELECT r::text FROM idem_pay('in doubt', 5) r),
	q(SELECT r::text FROM idem_lookup('in doubt') r),
	q(SELECT outcome FROM idem_pay_batch(ARRAY['in doubt'], ARRAY[5])),
	"SELECT r::text FROM idem_payment('$id') r",
	"SELECT r::text FROM idem_history('$id') r",
	q(SELECT r::text FROM idem_payments(max => 1000) r WHERE r.key = 'in doubt'));
for my $call (sort keys %asking)
{
	$asking{$call}->send($call);
	ok(waits_for_standby($control, $asking{$call}), "$call waits for the standby");
}
is($control->value("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"), 0, 'they hold no key');

# Meanwhile no page is pinned. Otherwise VACUUM would wait without end.
ok(eval { $control->do('VACUUM (FREEZE, DISABLE_PAGE_SKIPPING) idempotency.operation'); 1 }, 'VACUUM does not wait for them');

# A wait that is cancelled is an error, and gives no receipt. A frozen row is no exception.
my ($replay) = grep { /idem_pay\(/ } keys %asking;
$control->row('SELECT pg_cancel_backend($1)', $asking{$replay}->pid);
is($asking{$replay}->error_of_answer, '57014', 'a wait that is cancelled is an error');
$asking{$replay}->do(q(SET statement_timeout = '300ms'));
is($asking{$replay}->error_of_pay('in doubt', 5), '57014', 'so is one that runs out of time');
$asking{$replay}->do('BEGIN');
is($asking{$replay}->error_of_pay('in doubt', 5), '57014', 'in a transaction too');
$asking{$replay}->do('ROLLBACK');
my $died = Client->new($primary);
$died->send_pay('in doubt', 5);
ok(waits_for_standby($control, $died), 'another one waits');
$control->row('SELECT pg_terminate_backend($1)', $died->pid);
isnt($died->error_of_answer, 'none', 'and is terminated: it has no receipt');

# Sessions that do not ask for a standby do not wait for it.
for my $level ('local', 'off')
{
	my $client = Client->new($primary, set => { synchronous_commit => $level });
	is(($client->pay('in doubt', 5))[1], 't', "synchronous_commit = $level does not wait for the standby");
	# what it has settled at that level does not count at another one
	$client->do(q(SET synchronous_commit = on));
	$client->do(q(SET statement_timeout = '300ms'));
	is($client->error_of_pay('in doubt', 5), '57014', 'but does so when it is set back');
}

# A prepared transaction whose COMMIT PREPARED did not wait
my $two_phase = Client->new($primary, set => { synchronous_commit => 'local' });
$two_phase->do('BEGIN');
my ($prepared) = $two_phase->pay('prepared', 7);
$two_phase->do(q(PREPARE TRANSACTION 'p'));
$two_phase->do(q(COMMIT PREPARED 'p'));
my $prepared_client = Client->new($primary);
$prepared_client->send_pay('prepared', 7);
ok(waits_for_standby($control, $prepared_client), 'a replay of what was prepared waits too');

# A request that is resumed and released again: nothing is written, but the release waits
$worker->row(q(SELECT idem_begin('job', lease => '1 hour')));
$worker->row(q(SELECT idem_checkpoint('job', 'half', NULL, 1), idem_release('job', 1)));
my $resuming = Client->new($primary);
$resuming->do('BEGIN');
is($resuming->value(q(SELECT checkpoint FROM idem_begin('job'))), 'half', 'a request is resumed');
$resuming->do(q(SET statement_timeout = '300ms'));
is($resuming->error_of(q(SELECT idem_release('job'))), '57014', 'who gives it up again waits too');
$resuming->do('ROLLBACK');

# A transaction's own payment is replayed without a wait: it is not committed yet.
my $own = Client->new($primary);
$own->do('BEGIN');
my ($own_receipt) = $own->pay('own', 3);
is_deeply([ $own->pay('own', 3) ], [ $own_receipt, 't' ], 'nobody waits for what he is about to commit');
$own->do('ROLLBACK');

# Without synchronous standbys there is nothing to wait for, and sessions that wait go on.
delete $asking{$replay};
my $last = Client->new($primary, set => { synchronous_commit => 'off' });
$last->pay('in doubt', 5);
$last->do('SET synchronous_commit = on');
# This flushes all WAL, also as far as the session could note it as settled.
$control->row("SELECT pg_logical_emit_message(true, 'test', '')");
$last->send_pay('in doubt', 5);
ok(waits_for_standby($control, $last), 'one more waits');
synchronous('');
ok($last->answer, 'it goes on when the setting is taken back');
$asking{$_}->answer for keys %asking;
is($_->answer, 'unknown | half | {"paid": "in part"}', 'and the state of the request is what it was') for @lapsed;
is_deeply([ Client::split_receipt($prepared_client->answer) ], [ $prepared, 't' ], 'so do the others');

# With synchronous standbys again, the session waits: what was settled without them is on none of them.
synchronous('standby');
ok($primary->poll_query_until('postgres', q(SELECT setting = 'standby' FROM pg_settings WHERE name = 'synchronous_standby_names')), 'a standby is asked for again');
my $again = $last;
$again->send_pay('in doubt', 5);
ok(waits_for_standby($control, $again), 'the same session waits now');

# The standby is back: all sessions get their answers, which are on both servers.
$standby->start;
($receipt) = Client::split_receipt($again->answer);
$primary->wait_for_catchup($standby);
my $s = Client->new($standby);
is_deeply([ $s->pay('in doubt', 5) ], [ $receipt, 't' ], 'the standby gives the same receipt');
for my $level ('remote_write', 'on', 'remote_apply')
{
	my $client = Client->new($primary, set => { synchronous_commit => $level });
	is_deeply([ $client->pay('in doubt', 5) ], [ $receipt, 't' ], "synchronous_commit = $level: the standby has it");
	my $apart = Client->new($primary, set => { synchronous_commit => 'local' });
	my ($new) = $apart->pay("new $level", 1);
	is_deeply([ $client->pay("new $level", 1) ], [ $new, 't' ], "$level: so has a row of one who did not wait");
	is($s->value(q(SELECT count(*) FROM idem_lookup($1)), "new $level"), 1, 'the standby shows it') if $level eq 'remote_apply';
}

# A crash, a replay and a failover lose nothing.
$standby->stop;
$payer = Client->new($primary);
$payer->send_pay('failover', 9);
ok(waits_for_standby($control, $payer), 'a payment waits');
$primary->stop('immediate');
$primary->start;
my $retry = Client->new($primary);
$retry->do(q(SET statement_timeout = '1s'));
is($retry->error_of_pay('failover', 9), '57014', 'after the crash, whoever asks again is told nothing');
$primary->stop('immediate');
$standby->start;
$standby->promote;
$retry = Client->new($standby);
my $replayed;
($receipt, $replayed) = $retry->pay('failover', 9);
is($replayed, 'f', 'the new primary does not know the key, and nobody was told that it was paid');
is_deeply([ $retry->pay('in doubt', 5) ], [ (Client->new($standby)->pay('in doubt', 5))[0], 't' ], 'what was acknowledged is there');
is($retry->value('SELECT count(*) FROM idem_check() WHERE NOT ok'), 0, 'idem_check finds nothing wrong');

$standby->stop;
done_testing();
