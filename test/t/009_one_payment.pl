# Many clients continue the same two payments at the same time. Refunded must not pass captured, and captured must not
# pass authorized. Is every request carried out once, or refused for a reason?
#
# 32 processes refund one payment in parts, and capture one hold in parts. Together they ask for twice what there is.
# Some keys are used by one client, some by all of them. Some requests are sent again, and some are rolled back. Some are
# sent three in a transaction, which stays open for a while. For some, the connection is cut.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Client;
use List::Util qw(min shuffle sum0);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use constant CLIENTS => 32;
use constant OWN => 40;			# requests of each client for each payment
use constant SHARED => 40;		# requests for each payment that all clients send
use constant TOTAL => 700;		# what there is of each payment; the requests come to twice of it

my @isolation = ('read committed', 'repeatable read', 'serializable', 'read committed');

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', <<'CONF');
log_statement = none
max_connections = 100
deadlock_timeout = 20ms
CONF
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION idempotency');

my $observer = Client->new($node);
my %payment = (
	refund => $observer->value(q(SELECT payment_id FROM idem_pay('payment', $1)), TOTAL),
	capture => $observer->value(q(SELECT payment_id FROM idem_authorize('hold', $1)), TOTAL));
my %call = (
	refund => q(SELECT r::text FROM idem_refund($1, $2, $3) r),
	capture => q(SELECT r::text FROM idem_capture($1, $2, $3, false) r));
my %left = (refund => 'refundable', capture => 'capturable');

# A transaction works on both payments when the clients start, so that all of them wait for it.
my $holder = Client->new($node);
$holder->do('BEGIN');
$holder->row($call{$_}, "held $_", $payment{$_}, 1) for sort keys %payment;

my @clients = Client::start(CLIENTS, \&client);
ok(Client::wait_till_blocked($observer, 'client', CLIENTS), 'all clients wait for a payment');
$holder->do('ROLLBACK');

# Meanwhile, no total ever passes its limit or differs from the sum of its parts.
my ($looks, $wrong) = (0, 0);
while (Client::running(@clients))
{
	$looks++;
	$wrong += $observer->value(<<'SQL');
SELECT count(*) FROM (
	SELECT max(seq) <> count(*) OR max(refunded) > max(captured) OR max(captured) > max(authorized)
		OR coalesce(sum(amount) FILTER (WHERE kind = 'refund'), 0) <> max(refunded)
		OR coalesce(sum(amount) FILTER (WHERE kind IN ('pay', 'capture')), 0) <> max(captured) AS wrong
	FROM idempotency.operation GROUP BY payment_id) s
WHERE wrong
SQL
	Time::HiRes::usleep(20_000);
}
my @results = Client::finish(@clients);
is(scalar @results, CLIENTS, 'all clients came to the end');
cmp_ok($looks, '>', 1, 'somebody looked meanwhile');
is($wrong, 0, 'and the totals were right each time');

my (%did, %error);
for my $result (@results)
{
	$did{$_} += $result->{did}{$_} for keys %{ $result->{did} };
	$error{$_} += $result->{error}{$_} for keys %{ $result->{error} };
}
note "$_: $did{$_}" for sort keys %did;
note "$_: $error{$_}" for sort keys %error;
cmp_ok($did{$_} // 0, '>', 0, "clients did: $_")
	for 'plain', 'again', 'cut', 'rolled back', 'three at once', 'refused', 'retried 40001';
is_deeply([ sort keys %error ], [ 'read committed ID412', 'repeatable read 40001', 'repeatable read ID412',
		'serializable 40001', 'serializable ID412' ],
	'no error but ID412, and above READ COMMITTED 40001');

for my $kind (sort keys %payment)
{
	my %stored = map { $_->[0] => $_->[1] } @{ $observer->{dbh}->selectall_arrayref(
		q(SELECT o.key, l::text FROM idempotency.operation o, idem_lookup(o.key) l WHERE o.payment_id = $1 AND o.seq > 1),
		undef, $payment{$kind}) };
	my ($taken, $rest) = $observer->row(
		"SELECT $kind" . ($kind eq 'refund' ? 'ed' : 'd') . ", $left{$kind} FROM idem_payment(\$1)", $payment{$kind});

	# What was reported to the clients is what is stored.
	my (%told, %doers);
	my ($different, $both) = (0, 0);
	for my $result (@results)
	{
		while (my ($key, $receipt) = each %{ $result->{receipt}{$kind} })
		{
			$told{$key} //= $receipt;
			$different++ if $told{$key} ne $receipt;
			$doers{$key} += $result->{done}{$kind}{$key} // 0;
		}
	}
	is($different, 0, "$kind: all receipts of a key are the same");
	is(scalar(grep { $doers{$_} > 1 } keys %doers), 0, "$kind: no key was answered twice as new");
	is_deeply([ sort keys %told ], [ sort keys %stored ], "$kind: what is stored are the keys that somebody has a receipt for");
	is(scalar(grep { (Client::split_receipt($stored{$_} // '(,f)'))[0] ne $told{$_} } keys %told), 0, "$kind: with these receipts");
	is(scalar(grep { $stored{$_} } map { "client $_ $kind rolled back" } 1 .. CLIENTS), 0, "$kind: what was rolled back is not there");

	# The amounts
	my $amounts = sum0(map { amount_of_key($_) } keys %told);
	cmp_ok(abs($taken - $amounts), '<', 0.001, "$kind: the total is the sum of what was told");
	cmp_ok($taken, '<=', TOTAL, "$kind: it is not more than there was");
	cmp_ok($taken, '>', TOTAL - 3, "$kind: and about all of it");

	# Nothing was refused while enough was left, since what is left never grows. (This looks at calls that are their own
	# transaction. In a transaction of several calls, an earlier one may have left too little, and was rolled back.)
	my @refused = map { @{ $_->{refused}{$kind} } } @results;
	cmp_ok(scalar @refused, '>', 0, "$kind: requests were refused");
	cmp_ok(min(@refused), '>', $rest, "$kind: none of them for less than what is left now");
}

is($observer->value('SELECT count(*) FROM (SELECT FROM idempotency.operation GROUP BY scope, key HAVING count(*) > 1) twice'),
	0, 'no key is there twice');
is($observer->value('SELECT count(*) FROM idem_check() WHERE NOT ok'), 0, 'idem_check finds nothing wrong');
ok(Client::wait_until(sub { $observer->value(q(SELECT count(*) FROM pg_locks WHERE locktype = 'advisory')) == 0 }),
	'no lock is left');
unlike(slurp_file($node->logfile), qr/deadlock detected|duplicate key/, 'the server saw no deadlock and no duplicate key');

# Two wait for the payment with the same key. One of them captures; the other replays, and keeps no lock of a writer.
my ($busy, @same) = map { Client->new($node) } 1 .. 3;
my $payment = $busy->value(q(SELECT payment_id FROM idem_authorize('locks', 100)));
$busy->do('BEGIN');
$busy->value(q(SELECT key FROM idem_capture('locks 1', $1, 1, false)), $payment);
for my $client (@same)
{
	$client->send("SELECT replayed || ' ' || (SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid()
			AND relation = 'idempotency.operation'::regclass AND mode = 'RowExclusiveLock')
		FROM idem_capture('locks 2', '$payment', 1, false)");
	ok(Client::wait_till_blocked($observer, $client), 'a capture waits for another one');
}
$busy->do('COMMIT');
is_deeply([ sort map { $_->answer } @same ], [ 'false 1', 'true 0' ], 'one captures, and the other only reads');
$node->stop;

done_testing();

# The amount that belongs to a key: 0.25 to 2.00, by the number at the key's end.
sub amount_of_key
{
	my ($key) = @_;
	my ($number) = $key =~ /(\d+)$/ or die "no number: $key";
	return 0.25 * (1 + $number % 8);
}

# One client process. It returns, by kind:
#	receipt		key => receipt
#	done		key => 1 if an answer said that this client did it
#	refused		amounts that were refused, of calls that were their own transaction
# and
#	did			what it did => how often
#	error		error => how often
sub client
{
	my ($number) = @_;
	my $level = $isolation[ $number % @isolation ];
	my %result = (did => {}, error => {}, map { $_ => { refund => {}, capture => {} } } 'receipt', 'done');
	$result{refused} = { refund => [], capture => [] };
	my @connect = ($node, set => { application_name => 'client', default_transaction_isolation => $level });
	my $client = Client->new(@connect);

	# Runs a piece of work, again and again while its error asks for a retry. False: it was refused.
	my $try = sub {
		my ($work) = @_;
		for my $try (1 .. 1000)
		{
			my $answer = eval { $work->() };
			return $answer if $answer;
			my $state = $client->state;
			$result{error}{"$level $state"}++;
			die $@ unless $state eq '40001' || $state eq 'ID412';
			$client->do('ROLLBACK');
			return if $state eq 'ID412';
			$result{did}{'retried 40001'}++;
		}
		die 'too many retries';
	};
	my $call = sub {
		my ($kind, $key) = @_;
		return [ Client::split_receipt($client->value($call{$kind}, $key, $payment{$kind}, amount_of_key($key))) ];
	};
	my $note = sub {
		my ($kind, $key, $answer) = @_;
		$result{receipt}{$kind}{$key} = $answer->[0];
		$result{done}{$kind}{$key} = 1 if $answer->[1] eq 'f';
	};
	my $plain = sub {
		my ($kind, $key) = @_;
		my $answer = $try->(sub { $call->($kind, $key) });
		if ($answer)
		{
			$note->($kind, $key, $answer);
		}
		else
		{
			$result{did}{refused}++;
			push @{ $result{refused}{$kind} }, amount_of_key($key);
		}
	};

	my %ways = (
		plain => $plain,
		again => sub {
			my ($kind, $key) = @_;
			$plain->($kind, $key) for 1 .. 3;
		},
		cut => sub {
			my ($kind, $key) = @_;
			$client->send("SELECT FROM idem_$kind('$key', '$payment{$kind}', " . amount_of_key($key)
					. ($kind eq 'capture' ? ', false)' : ')'));
			$client->cut;
			$client = Client->new(@connect);
			$plain->($kind, $key);
		},
		'rolled back' => sub {
			my ($kind, $key) = @_;
			$try->(
				sub {
					$client->do('BEGIN');
					$call->($kind, $key);
					$call->($kind, "client $number $kind rolled back 1");
					$client->do('ROLLBACK');
					1;
				});
			$plain->($kind, $key);
		},
		'three at once' => sub {
			my ($kind, @keys) = @_;
			my $answers = $try->(
				sub {
					$client->do('BEGIN');
					my @got = map { $call->($kind, $_) } @keys;
					Time::HiRes::usleep(2_000);
					$client->do('COMMIT');
					\@got;
				});
			$result{did}{'refused in a transaction'}++ unless $answers;
			$answers ||= [];
			$note->($kind, $keys[$_], $answers->[$_]) for 0 .. $#$answers;
			# the others of a refused transaction are not sent again: nothing was reported about them
		});
	my @ways = sort keys %ways;

	my @requests = shuffle(
		map { my $kind = $_; (map { [ $kind, "client $number $kind $_" ] } 1 .. OWN),
				(map { [ $kind, "shared $kind $_" ] } 1 .. SHARED) } sort keys %payment);
	$plain->(qw(refund capture)[ $number % 2 ], 'client ' . $number . ' first 0');
	while (my $request = shift @requests)
	{
		my ($kind, @keys) = @$request;
		my $way = rand() < 0.3 ? $ways[ rand @ways ] : 'plain';
		push @keys, "client $number more $kind " . (3 * @requests), "client $number more $kind " . (3 * @requests + 1)
			if $way eq 'three at once';
		$result{did}{$way}++;
		$ways{$way}->($kind, @keys);
	}
	return \%result;
}
