# Cancelled statements and terminated sessions. Does a client leave anything behind if it stops waiting, or if it is
# stopped in the middle of a payment?
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Client;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use constant CLIENTS => 4;
use constant ROUNDS => 50;		# cancelled statements of each client
use constant MOST => 50_000;	# statements of each client

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', <<'CONF');
log_statement = none
log_min_error_statement = panic
CONF
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION idempotency');
my $observer = Client->new($node);

# A call waits in one of two places. The first is the wait for the transaction that has used the key.
my $holder = Client->new($node);
give_up(
	'in a transaction', 'held',
	transactionid => sub {
		my ($key) = @_;
		$holder->do('BEGIN');
		$holder->pay($key, 1);
	},
	sub { $holder->do('ROLLBACK') });

# The second is the wait for the key's lock, while another session is about to write the row. A constraint that
# waits makes that moment last.
$observer->do(<<'SQL');
CREATE FUNCTION be_slow(key text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	IF key = 'slow' THEN
		PERFORM pg_advisory_xact_lock(1);
	END IF;
	RETURN true;
END $$;
ALTER TABLE idempotency.operation ADD CONSTRAINT be_slow CHECK (be_slow(key));
SQL
my $brake = Client->new($node);
give_up(
	'just being made', 'slow',
	advisory => sub {
		my ($key) = @_;
		$brake->do('SELECT pg_advisory_lock(1)');
		$holder->send_pay($key, 1);
		Client::wait_till_blocked($observer, $holder) or die 'the holder does not wait';
	},
	sub {
		$observer->row('SELECT pg_cancel_backend($1)', $holder->pid);
		is($holder->error_of_answer, '57014', 'the payment that was being made is cancelled');
		$brake->do('SELECT pg_advisory_unlock(1)');
	});
$observer->do('ALTER TABLE idempotency.operation DROP CONSTRAINT be_slow');

# Two sessions wait for a key, and the session that holds it is terminated.
my @waiting = map { Client->new($node) } 1 .. 2;
$holder->do('BEGIN');
my ($ghost) = $holder->pay('orphaned', 1);
$_->send_pay('orphaned', 1) for @waiting;
ok(Client::wait_till_blocked($observer, $_), 'a client waits') for @waiting;
$observer->row('SELECT pg_terminate_backend($1)', $holder->pid);
my @answers = map { [ Client::split_receipt($_->answer) ] } @waiting;
is(join(' ', sort map { $_->[1] } @answers), 'f t', 'the holder of a key is terminated: one of the waiting pays, the other replays');
is($answers[0][0], $answers[1][0], 'they have the same receipt');
isnt($answers[0][0], $ghost, 'and not the one of the terminated holder');
$_->close for @waiting;

# Payments are cancelled at random moments. A statement pays with one key or with twenty. Each client sends every
# second cancelled statement again.
my @clients = Client::start(CLIENTS, \&client);
my $sent = 0;
Client::wait_until(
	sub {
		$sent += $observer->value(q(SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity
			WHERE state = 'active' AND query LIKE '%idem_pay%' AND pid <> pg_backend_pid()));
		Client::running(@clients) == 0;
	},
	Client::PROCESS_LIMIT);
my @results = Client::finish(@clients);

my %expected;
my ($cancelled, $resent, $not_new) = (0, 0, 0);
for my $result (@results)
{
	%expected = (%expected, %{ $result->{expected} });
	$cancelled += $result->{cancelled};
	$resent += $result->{resent};
	$not_new += $result->{not_new};
}
note "$sent cancellations were sent, $cancelled statements cancelled";
is($cancelled, CLIENTS * ROUNDS, 'statements were cancelled');
cmp_ok($resent, '>', 0, 'some of them were sent again');
is($not_new, 0, 'and nothing was there of their keys');

my %stored = map { @$_ } @{ $observer->{dbh}->selectall_arrayref(
	q(SELECT key, payment_id FROM idempotency.operation WHERE key LIKE 'client %')) };
is($observer->value(q(SELECT count(*) FROM idempotency.operation WHERE key LIKE 'client %')),
	scalar keys %stored, 'no key is there twice');
is(scalar(grep { $expected{$_} && !$stored{$_} } keys %expected), 0, 'every acknowledged payment is there');
is(scalar(grep { $expected{$_} && $expected{$_} ne ($stored{$_} // '') } keys %expected), 0,
	'as it was acknowledged');
is(scalar(grep { !$expected{$_} } keys %stored), 0, 'no cancelled payment is there');
cmp_ok(scalar(grep { !$expected{$_} } keys %expected), '>', 0, 'and some were cancelled for good');
is($observer->value(q(SELECT count(*) FROM pg_locks WHERE locktype = 'advisory')), 0, 'no lock is left');

# The indexes agree with the table. amcheck sees more, where it is installed.
if ($observer->value(q(SELECT count(*) FROM pg_available_extensions WHERE name = 'amcheck')))
{
	$observer->do('CREATE EXTENSION amcheck');
	my $checked = $observer->value(<<'SQL');
SELECT string_agg(bt_index_parent_check(indexrelid, true)::text, ',')
FROM pg_index WHERE indrelid = 'idempotency.operation'::regclass
SQL
	is($checked, ',', 'amcheck finds both indexes in agreement with the table');
}
my $list = q(SELECT md5(string_agg(payment_id::text, ' ' ORDER BY payment_id)) FROM idempotency.operation);
my $by_table = by_plan($list, qr/Seq Scan/, 'indexscan', 'indexonlyscan', 'bitmapscan');
is(by_plan("$list WHERE key > ''", qr/Index Scan using operation_key_scope/, 'seqscan', 'bitmapscan'),
	$by_table, 'the index on the key has the rows of the table');
is(by_plan("$list WHERE scope = '' AND payment_id IS NOT NULL", qr/Index (Only )?Scan using operation_pkey/, 'seqscan', 'bitmapscan'),
	$by_table, 'so has the index on the payment');

$node->stop;
done_testing();

# Clients stop waiting for a key in every possible way. $hold->($key) has $holder hold the key, so that others wait for a
# lock of $locktype. $release->() ends that without a payment.
sub give_up
{
	my ($what, $key, $locktype, $hold, $release) = @_;
	my $locks = q(SELECT count(*) FROM pg_locks WHERE pid = $1 AND locktype IN ('advisory', 'transactionid'));

	$hold->($key);
	my $client = Client->new($node);
	for my $way ('pg_cancel_backend', 'statement_timeout', 'lock_timeout', 'in_flight = fail')
	{
		if ($way eq 'pg_cancel_backend')
		{
			$client->send_pay($key, 1);
			ok(Client::wait_till_blocked($observer, $client), "$what: a client waits");
			is($observer->value('SELECT count(*) FROM pg_locks WHERE pid = $1 AND locktype = $2 AND NOT granted',
					$client->pid, $locktype), 1, "$what: for a lock on $locktype");
			$observer->row('SELECT pg_cancel_backend($1)', $client->pid);
			is($client->error_of_answer, '57014', "$what: $way");
		}
		elsif ($way =~ /timeout/)
		{
			$client->do("SET $way = '50ms'");
			is($client->error_of_pay($key, 1), $way eq 'lock_timeout' ? '55P03' : '57014', "$what: $way");
			$client->do("RESET $way");
		}
		else
		{
			$client->do('SET idempotency.in_flight = fail');
			is($client->error_of_pay($key, 1), 'ID409', "$what: $way");
			$client->do('RESET idempotency.in_flight');
		}
		is($observer->value($locks, $client->pid), 0, "$what, $way: no lock is left");
		is(($client->pay("$what, after $way", 1))[1], 'f', "$what, $way: the session can pay");
	}

	# in a transaction that survives the error by a savepoint
	$client->do('BEGIN');
	is(($client->pay("$what, before the savepoint", 1))[1], 'f', "$what: a payment");
	$client->do('SAVEPOINT s');
	$client->do(q(SET LOCAL lock_timeout = '50ms'));
	is($client->error_of_pay($key, 1), '55P03', "$what: gives up");
	$client->do('ROLLBACK TO s');
	is($observer->value($locks . q( AND locktype = 'advisory'), $client->pid), 0, "$what: no lock of the key is left");
	$client->do('COMMIT');
	is(($client->pay("$what, before the savepoint", 1))[1], 't', "$what: the transaction went on and committed");

	# the whole session
	my $terminated = Client->new($node);
	my $pid = $terminated->pid;
	$terminated->send_pay($key, 1);
	ok(Client::wait_till_blocked($observer, $terminated), "$what: another client waits");
	$observer->row('SELECT pg_terminate_backend($1)', $pid);
	isnt($terminated->error_of_answer, 'none', "$what: and is terminated");
	ok(Client::wait_until(sub { !$observer->value('SELECT count(*) FROM pg_stat_activity WHERE pid = $1', $pid) }),
		"$what: it is gone");
	is($observer->value('SELECT count(*) FROM pg_locks WHERE pid = $1', $pid), 0, "$what: with its locks");

	is($observer->value('SELECT count(*) FROM idempotency.operation WHERE key = $1', $key), 0,
		"$what: those who gave up have left no row");
	$release->();
	my ($receipt, $replayed) = $client->pay($key, 1);
	is($replayed, 'f', "$what: the session that gave up pays with the key once it is free");
	is_deeply([ $observer->pay($key, 1) ], [ $receipt, 't' ], "$what: others replay that");
	$client->close;
	return;
}

# The value of a query, made by a plan like $plan.
sub by_plan
{
	my ($query, $plan, @off) = @_;
	my $client = Client->new($node, set => { map { ("enable_$_" => 'off') } @off });
	my $explained = join("\n", map { $_->[0] } @{ $client->{dbh}->selectall_arrayref("EXPLAIN $query") });
	like($explained, $plan, 'the plan is the one meant');
	my $value = $client->value($query);
	$client->close;
	return $value;
}

# One client process: pays until it was cancelled often enough. It returns:
#	expected	key => payment_id, or undef if the payment was cancelled
#	cancelled	how many statements were cancelled
#	resent		how many of them were sent again
#	not_new		how many payments of these were not new
sub client
{
	my ($number) = @_;
	my %result = (expected => {}, cancelled => 0, resent => 0, not_new => 0);
	my $client = Client->new($node);

	for my $i (1 .. MOST)
	{
		last if $result{cancelled} == ROUNDS;
		my $keys = rand() < 0.5 ? 1 : 20;
		my $pay = sub {
			my $receipts = eval {
				$client->{dbh}->selectall_arrayref(
					q(SELECT r.key, r.payment_id, r.replayed
					  FROM generate_series(1, $2::int) i, LATERAL idem_pay($1 || ' ' || i, 1) r),
					undef, "client $number $i", $keys);
			};
			die $@ unless $receipts || $client->state eq '57014';
			return $receipts;
		};

		my $receipts = $pay->();
		if (!$receipts)
		{
			$result{cancelled}++;
			if ($result{cancelled} % 2)
			{
				$result{expected}{"client $number $i $_"} = undef for 1 .. $keys;
				next;
			}
			$result{resent}++;
			until ($receipts) { $receipts = $pay->() }
		}
		for my $receipt (@$receipts)
		{
			my ($key, $payment_id, $replayed) = @$receipt;
			$result{expected}{$key} = $payment_id;
			$result{not_new}++ if $replayed;
		}
	}
	return \%result;
}
