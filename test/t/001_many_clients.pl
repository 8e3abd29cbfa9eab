# Many clients send the same keys at the same time, through bad connections. Is every payment made once,
# and does every client get the same receipt?
#
# 32 processes send the same 1,000 keys, each in its own order. Some lose the connection after sending
# COMMIT, and cannot know whether it happened. Some lose it before. Some roll back. Some pay several keys
# in one transaction. All of them send again until they have a receipt.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Client;
use List::Util qw(shuffle sum);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use constant CLIENTS => 32;
use constant KEYS => 1000;

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

# Two more keys are in flight here when the clients start. The first transaction commits. The second rolls
# back, so one of the clients that wait for it has to pay.
my $observer = Client->new($node);
my ($committer, $quitter) = map { Client->new($node) } 1 .. 2;
$_->do('BEGIN') for $committer, $quitter;
my ($gate_receipt) = $committer->pay('gate that commits', 1);
my ($gate_ghost) = $quitter->pay('gate that rolls back', 1);

my @clients = Client::start(CLIENTS, \&client);

ok(Client::wait_till_blocked($observer, 'client', CLIENTS), 'all clients wait for a key in flight');
$committer->do('COMMIT');
ok(Client::wait_till_blocked($observer, 'client', CLIENTS), 'and for the next');
$quitter->do('ROLLBACK');

my @results = Client::finish(@clients);
is(scalar @results, CLIENTS, 'all clients came to the end');

my %did;
for my $result (@results)
{
	$did{$_} += $result->{did}{$_} for keys %{ $result->{did} };
}
note "$_: $did{$_}" for sort keys %did;

# What is in the table?
my %amount = map { ("key $_" => amount($_)) } 1 .. KEYS;
$amount{'gate that commits'} = $amount{'gate that rolls back'} = 1;
my $stored = $observer->{dbh}->selectall_hashref('SELECT key, amount FROM idempotency.operation', 'key');
is($observer->value('SELECT count(*) FROM idempotency.operation'), KEYS + 2, 'one row for each key, no more');
is(scalar(grep { $stored->{$_} && $stored->{$_}{amount} == $amount{$_} } keys %amount),
	KEYS + 2, 'with the amount that belongs to it');
cmp_ok($observer->value('SELECT sum(amount) FROM idempotency.operation'), '==', sum(values %amount), 'the total is right');

# What did the clients get?
my ($missing, $different, $not_stored) = (0, 0, 0);
my (%payers, %lost);
for my $key (keys %amount)
{
	my ($receipt) = Client::split_receipt($observer->value('SELECT r::text FROM idem_lookup($1) r', $key));
	for my $result (@results)
	{
		my $got = $result->{receipt}{$key};
		$missing++ unless $got;
		$different++ if $got && $got ne $receipt;
		$payers{$key} += $result->{paid}{$key} // 0;
		$lost{$key} += $result->{lost}{$key} // 0;
	}
}
is($missing, 0, 'every client has a receipt for every key');
is($different, 0, 'all receipts of a key are the same, and the one that is stored');
is(scalar(grep { $payers{$_} > 1 } keys %payers), 0, 'no key was answered twice as a new payment');

my @unheard = grep { $payers{$_} == 0 && $_ ne 'gate that commits' } keys %payers;
is(scalar(grep { !$lost{$_} } @unheard), 0, 'a key that nobody was told to have paid is one whose answer was lost');
cmp_ok(scalar @unheard, '>', 0, 'and such answers were lost');

# A client that waited through a commit replays; one that waited through a rollback pays.
is($payers{'gate that commits'}, 0, 'of those who waited for a payment that committed, none paid again');
is($results[0]{receipt}{'gate that commits'}, $gate_receipt, 'they have its receipt');
is($payers{'gate that rolls back'}, 1, 'of those who waited for a payment that rolled back, one paid');

# The connections were cut, and the server noticed.
cmp_ok($did{'cut after COMMIT'}, '>', 0, 'connections were cut after COMMIT');
is(sum(map { $_->{changed} } @results), 0, 'COMMIT was done though its answer was lost: the receipt stands');
cmp_ok($did{'cut after the call'}, '>', 0, 'connections were cut after a call that is its own transaction');
cmp_ok($did{'cut before COMMIT'}, '>', 0, 'connections were cut before COMMIT');
my $eof = qr/unexpected EOF on client connection with an open transaction/;
my $found;
Client::wait_until(
	sub {
		$found = () = slurp_file($node->logfile) =~ /$eof/g;
		$found >= $did{'cut before COMMIT'};
	});
is($found, $did{'cut before COMMIT'}, 'the server found open transactions without a client');

# What was paid in a transaction that did not commit is gone.
my @ghosts = ($gate_ghost, map { @{ $_->{ghosts} } } @results);
cmp_ok(scalar @ghosts, '>', 1, 'payments were rolled back');
is($observer->value('SELECT count(*) FROM idempotency.operation WHERE payment_id = ANY($1)',
		[ map { Client::payment_id($_) } @ghosts ]),
	0, 'none of them is stored');

cmp_ok($did{'retried 40001'}, '>=', CLIENTS / 2,
	'clients at REPEATABLE READ and SERIALIZABLE had to run a transaction again');
is($observer->value(q(SELECT count(*) FROM pg_locks WHERE locktype = 'advisory')), 0, 'no lock is left');

$node->stop;
done_testing();

sub amount
{
	my ($i) = @_;
	return 1 + $i % 97 + 0.25 * ($i % 4);
}

# One client process. It returns:
#	receipt		key => receipt
#	paid		key => 1 if an answer said that this client paid
#	lost		key => 1 if an answer was lost
#	ghosts		receipts of payments in transactions that did not commit
#	changed		number of keys whose receipt differed after the answer to COMMIT was lost
#	did			what it did => how often
sub client
{
	my ($number) = @_;
	my %result = (receipt => {}, paid => {}, lost => {}, ghosts => [], changed => 0, did => {});
	my @connect = ($node, set => {
		application_name => 'client',
		default_transaction_isolation => $isolation[ $number % @isolation ] });
	my $client = Client->new(@connect);

	# Runs a piece of work, again and again while it fails with 40001 or 40P01.
	my $retry = sub {
		my ($work) = @_;
		for my $try (1 .. 1000)
		{
			my @answer = eval { $work->() };
			return @answer unless $@;
			die $@ unless $client->state =~ /^(40001|40P01)$/;
			$result{did}{"retried $1"}++;
			$client->do('ROLLBACK');
		}
		die 'too many retries';
	};
	my $reconnect = sub {
		$client->cut;
		$client = Client->new(@connect);
	};
	my $pay = sub {
		my ($key, $amount) = @{ $_[0] };
		my ($receipt, $replayed) = $retry->(sub { $client->pay($key, $amount) });
		$result{receipt}{$key} = $receipt;
		$result{paid}{$key} = 1 if $replayed eq 'f';
	};
	my $pay_in_transaction = sub {
		my ($key, $amount) = @{ $_[0] };
		return $retry->(sub { $client->do('BEGIN'); $client->pay($key, $amount) });
	};

	my %ways = (
		'cut after the call' => sub {
			my ($request) = @_;
			$client->send_pay(@$request);
			$reconnect->();
			$result{lost}{ $request->[0] } = 1;
			$pay->($request);
		},
		'cut after COMMIT' => sub {
			my ($request) = @_;
			my ($receipt) = $pay_in_transaction->($request);
			$client->send('COMMIT');
			$reconnect->();
			$result{lost}{ $request->[0] } = 1;
			$pay->($request);
			$result{changed}++ if $receipt ne $result{receipt}{ $request->[0] };
		},
		'cut before COMMIT' => sub {
			my ($request) = @_;
			my ($receipt, $replayed) = $pay_in_transaction->($request);
			push @{ $result{ghosts} }, $receipt if $replayed eq 'f';
			$reconnect->();
			$pay->($request);
		},
		'rolled back' => sub {
			my ($request) = @_;
			my ($receipt, $replayed) = $pay_in_transaction->($request);
			push @{ $result{ghosts} }, $receipt if $replayed eq 'f';
			$client->do('ROLLBACK');
			$pay->($request);
		},
		'three at once' => sub {
			my @three = @_;
			my @answers = $retry->(
				sub {
					$client->do('BEGIN');
					my @got = map { [ $client->pay(@$_) ] } @three;
					$client->do('COMMIT');
					@got;
				});
			for my $i (0 .. $#three)
			{
				$result{receipt}{ $three[$i][0] } = $answers[$i][0];
				$result{paid}{ $three[$i][0] } = 1 if $answers[$i][1] eq 'f';
			}
		});
	my @ways = sort keys %ways;

	$pay->([ $_, 1 ]) for 'gate that commits', 'gate that rolls back';

	# Most keys are new only while the clients send their first hundred, so most trouble happens there.
	my @requests = map { [ "key $_", amount($_) ] } shuffle(1 .. KEYS);
	while (my $request = shift @requests)
	{
		my $way = rand() < (@requests > KEYS - 100 ? 0.4 : 0.02) ? $ways[ rand @ways ] : 'plain';
		$result{did}{$way}++;
		if ($way eq 'plain')
		{
			$pay->($request);
		}
		else
		{
			$ways{$way}->($request, $way eq 'three at once' ? splice(@requests, 0, 2) : ());
		}
	}
	return \%result;
}
