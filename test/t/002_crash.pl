# The server crashes while clients pay, authorize, capture and refund. Is every operation that was reported to a
# client still there? Is every other transaction there in whole or not at all? Can all of them be sent again?
#
# fsync is off, as in all tests: the processes crash here, not the machine.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Client;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use constant CLIENTS => 8;
use constant MOST => 100_000;	# of the calls of one client

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', <<'CONF');
log_statement = none
synchronous_commit = on
restart_after_crash = on
max_prepared_transactions = 10
CONF
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION idempotency');

# Two keys in prepared transactions, which survive a crash by PostgreSQL's promise.
my $c = Client->new($node);
my %prepared;
for my $key ('to be committed', 'to be rolled back')
{
	$c->do('BEGIN');
	($prepared{$key}) = $c->pay($key, 5);
	$c->do("PREPARE TRANSACTION '$key'");
}
# One key is in a transaction that is open, and not prepared.
$c->do('BEGIN');
my ($open) = $c->pay('open', 5);

# An immediate stop, which is a crash of all processes at once.
crash_under_load(
	'immediate stop',
	sub {
		$node->stop('immediate');
		$node->start;
	});

$c = Client->new($node);
my ($receipt, $replayed) = $c->pay('open', 5);
is($replayed, 'f', 'the key of a transaction that was open is new again');
isnt($receipt, $open, 'and gets a new receipt');

# Prepared transactions hold their keys across the crash, until they are ended.
for my $key (sort keys %prepared)
{
	$c->do('SET idempotency.in_flight = fail');
	is($c->error_of_pay($key, 5), 'ID409', "key $key: in flight after the crash");
	$c->do('RESET idempotency.in_flight');
	is($c->value('SELECT count(*) FROM idem_lookup($1)', $key), 0, "key $key: not yet there for a look-up");
}

my @waiting = map { Client->new($node) } 1 .. 2;
$waiting[0]->send_pay('to be committed', 5);
$waiting[1]->send_pay('to be rolled back', 5);
ok(Client::wait_till_blocked($c, $_), 'a client waits for a prepared transaction') for @waiting;
$c->do("COMMIT PREPARED 'to be committed'");
$c->do("ROLLBACK PREPARED 'to be rolled back'");

is_deeply([ Client::split_receipt($waiting[0]->answer) ], [ $prepared{'to be committed'}, 't' ],
	'COMMIT PREPARED: who waited replays the receipt from before the crash');
is_deeply([ $c->pay('to be committed', 5) ], [ $prepared{'to be committed'}, 't' ], 'so does everybody else');
($receipt, $replayed) = Client::split_receipt($waiting[1]->answer);
is($replayed, 'f', 'ROLLBACK PREPARED: who waited pays');
isnt($receipt, $prepared{'to be rolled back'}, 'and has a receipt of its own');
is_deeply([ $c->pay('to be rolled back', 5) ], [ $receipt, 't' ], 'which everybody else gets too');
$_->close for @waiting;

# kill -9 of one backend in the middle of a transaction. The postmaster then restarts all backends.
my $victim = Client->new($node);
$victim->do('BEGIN');
my ($ghost) = $victim->pay('victim', 5);
my $before = -s $node->logfile;
crash_under_load(
	'kill -9 of a backend',
	sub {
		is(kill('KILL', $victim->pid), 1, 'kill -9');
	});
like(substr(slurp_file($node->logfile), $before), qr/was terminated by signal 9.*all server processes terminated; reinitializing/s,
	'all backends were restarted');
$c = Client->new($node);
($receipt, $replayed) = $c->pay('victim', 5);
is($replayed, 'f', "the killed backend's key is new again");
isnt($receipt, $ghost, 'and gets a new receipt');

# A client goes away in the middle of a transaction, while another one waits for its key.
my ($gone, $next) = map { Client->new($node) } 1 .. 2;
$gone->do('BEGIN');
($ghost) = $gone->pay('cut', 5);
$next->send_pay('cut', 5);
ok(Client::wait_till_blocked($c, $next), 'a client waits for the key of another one');
$gone->cut;
($receipt, $replayed) = Client::split_receipt($next->answer);
is($replayed, 'f', 'whose connection is cut: the first one pays');
isnt($receipt, $ghost, 'and has a receipt of its own');
is_deeply([ $c->pay('cut', 5) ], [ $receipt, 't' ], 'the key is used once');

$node->stop;
done_testing();

# Lets clients pay, calls $crash->() in the middle, and checks what is left.
sub crash_under_load
{
	my ($what, $crash) = @_;
	my $control = Client->new($node);
	my $found = $control->value('SELECT count(*) FROM idempotency.operation');

	my @clients = Client::start(CLIENTS, sub { client($what, @_) });
	ok(Client::wait_until(
			sub { $control->value('SELECT count(*) FROM idempotency.operation') > $found + 2000 }),
		"$what: clients pay");
	$crash->();
	my @results = Client::finish(@clients);
	is(scalar(grep { $_->{lost} } @results), CLIENTS, "$what: all clients lost their connection");
	ok($node->poll_query_until('postgres', 'SELECT true'), "$what: the server is back");

	my $new = Client->new($node);
	is($new->value('SELECT count(*) FROM (SELECT FROM idempotency.operation GROUP BY scope, key HAVING count(*) > 1) twice'),
		0, "$what: no key is there twice");

	# What was reported to clients is stored as it was reported.
	my ($told, $kept) = (0, 0);
	for my $result (@results)
	{
		while (my ($key, $receipt) = each %{ $result->{receipt} })
		{
			$told++;
			my $text = $new->value('SELECT r::text FROM idem_lookup($1) r', $key);
			$kept++ if defined $text && (Client::split_receipt($text))[0] eq $receipt;
		}
	}
	cmp_ok($told, '>', 1000, "$what: clients had receipts");
	is($kept, $told, "$what: every one of them is kept");

	# A transaction whose end was not reported to its client is there in whole or not at all.
	my ($open, $torn) = (0, 0);
	for my $result (@results)
	{
		my @keys = @{ $result->{unknown} };
		my $there = $new->value('SELECT count(*) FROM idempotency.operation WHERE key = ANY($1)', \@keys);
		$open++ if @keys;
		$torn++ if $there != 0 && $there != @keys;
	}
	cmp_ok($open, '>', 0, "$what: there were transactions whose end the client does not know");
	is($torn, 0, "$what: none of them is there in part");

	# Everything is sent again.
	my ($sent, $again, $other) = (0, 0, 0);
	for my $result (@results)
	{
		for my $key (keys %{ $result->{receipt} }, @{ $result->{unknown} })
		{
			my ($receipt, $replayed) = request($new, $key);
			my $known = $result->{receipt}{$key};
			$sent++;
			$again++ if $known && $replayed ne 't';
			$other++ if $known && $receipt ne $known;
		}
	}
	is($again, 0, "$what: sent again, no known payment is made again");
	is($other, 0, "$what: and all have their receipts");
	is($new->value(q(SELECT count(*) FROM idempotency.operation WHERE key ~ ('^' || $1)), $what),
		$sent, "$what: each key is there once");
	is($new->value('SELECT count(*) FROM idem_check() WHERE NOT ok'), 0, "$what: idem_check finds nothing wrong");
	is_deeply(
		$new->{dbh}->selectcol_arrayref(
			q(SELECT DISTINCT kind FROM idempotency.operation WHERE key ~ ('^' || $1) ORDER BY 1), undef, $what),
		[ 'authorize', 'capture', 'pay', 'refund' ], "$what: there were operations of all kinds");
	$new->close;
	return;
}

# The request that belongs to a key. Clients with an odd number pay 2. The others authorize 2, capture 1.5 of it, and
# refund 1 of that; the number at the key's end says which.
sub request
{
	my ($client, $key) = @_;
	my ($number, $payment, $step) = $key =~ /(\d+) (\d+) (\d+)$/ or die "not a key: $key";
	my $hold = $key =~ s/\d+$/1/r;

	return $client->pay($key, 2) if $number % 2;
	return Client::split_receipt($client->value('SELECT r::text FROM idem_authorize($1, 2) r', $key)) if $step == 1;
	return Client::split_receipt(
		$client->value(
			'SELECT r::text FROM idem_lookup($2) h, '
			  . ($step == 2 ? 'idem_capture($1, h.payment_id, 1.5, false)' : 'idem_refund($1, h.payment_id, 1)') . ' r',
			$key, $hold));
}

# One client process: sends requests with new keys until the connection is lost. It returns:
#	receipt		key => receipt, of transactions that were reported as committed
#	unknown		keys of the transaction whose end was not reported
#	lost		whether the connection was lost
sub client
{
	my ($what, $number) = @_;
	my %result = (receipt => {}, unknown => [], lost => 0);
	my $client = Client->new($node);

	for my $i (1 .. MOST)
	{
		# calls that are their own transactions, or three in one
		my @keys = map { "$what $number $i $_" } 1 .. ($number % 2 ? 1 : 3);
		for my $transaction ($number % 4 == 0 ? \@keys : map { [$_] } @keys)
		{
			my %receipt;
			$result{unknown} = $transaction;
			eval {
				$client->do('BEGIN') if @$transaction > 1;
				($receipt{$_}) = request($client, $_) for @$transaction;
				$client->do('COMMIT') if @$transaction > 1;
				1;
			} or do
			{
				my $error = $@;
				die $error if $client->{dbh}->ping;
				$result{lost} = 1;
				return \%result;
			};
			$result{receipt}{$_} = $receipt{$_} for @$transaction;
			$result{unknown} = [];
		}
	}
	return \%result;
}
