# Logical replication: does the subscriber know the payments, the currencies, the requests and the accounts of the publisher?
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Client;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $publisher = PostgreSQL::Test::Cluster->new('publisher');
$publisher->init(allows_streaming => 'logical');
my $subscriber = PostgreSQL::Test::Cluster->new('subscriber');
$subscriber->init;
for my $node ($publisher, $subscriber)
{
	$node->start;
	$node->safe_psql('postgres', 'CREATE EXTENSION idempotency');
}
$publisher->safe_psql('postgres',
	'CREATE PUBLICATION money FOR TABLES IN SCHEMA idempotency');

my $p = Client->new($publisher);
my ($early) = $p->pay('early', 50);
my $connection = $publisher->connstr . q( dbname=postgres);
$subscriber->safe_psql('postgres', "CREATE SUBSCRIPTION money CONNECTION '$connection' PUBLICATION money");
$subscriber->wait_for_subscription_sync($publisher, 'money');

sub catch_up
{
	$publisher->wait_for_catchup('money');
	return;
}

# One session for the whole test: it has looked up tables and currencies before anything changes.
my $s = Client->new($subscriber);
is_deeply([ $s->pay('early', 50) ], [ $early, 't' ], 'a payment from before the subscription is replayed');
is($s->error_of_pay('coin', 1.5, 'COIN'), '22023', 'a currency is unknown');

my ($receipt) = $p->pay('published', 7);
catch_up();
is_deeply([ $s->pay('published', 7) ], [ $receipt, 't' ], 'a payment that came by replication is replayed');
is($s->error_of_pay('published', 8), 'ID422', 'another request with its key is refused');

$p->do(q(INSERT INTO idempotency.currency VALUES ('COIN', 1), ('USD', 4)));
catch_up();
is(($s->pay('coin', 1.5, 'COIN'))[1], 'f', 'a currency that came by replication is known to a running session');
is(($s->pay('fine dollars', 1.2345))[1], 'f', 'so is one that overrides ISO 4217');
$p->do(q(UPDATE idempotency.currency SET exponent = 0 WHERE code = 'COIN'));
catch_up();
is($s->error_of_pay('coin 2', 1.5, 'COIN'), '22003', 'a changed one has its new number of decimals');
$p->do(q(DELETE FROM idempotency.currency WHERE code = 'USD'));
catch_up();
is($s->error_of_pay('fine dollars 2', 1.2345), '22003', 'a deleted one no longer overrides');
$p->do('TRUNCATE idempotency.currency');
catch_up();
is($s->error_of_pay('coin 3', 1, 'COIN'), '22023', 'and after TRUNCATE there is none');

# DELETE and TRUNCATE at the publisher reach the subscriber, too.
$p->do(q(SET idempotency.retention = '1s'));
$p->do(q(SELECT idem_authorize('held', 100, expires_in => '1 microsecond'), idem_authorize('held on', 100)));
$p->do(q(SELECT FROM idem_execute('request', 'SELECT 1')));
catch_up();
is($s->value(q(SELECT count(*) FROM idempotency.hold)), 2, 'holds are listed');
is($s->value(q(SELECT replayed FROM idem_execute('request', 'SELECT 1'))), 1, 'a request that came by replication is replayed');
is($p->value('SELECT idem_expire()'), 1, 'a hold is released');
Client::wait_until(sub { $p->value('SELECT idem_purge()') }) or die "nothing is purged\n";
catch_up();
is($s->value(q(SELECT string_agg(key, ' ') FROM idempotency.hold)), 'held on', 'and listed no longer');
is($s->value(q(SELECT status || released FROM idempotency.payment WHERE key = 'held')), 'expired100.00', 'but told of');
is($s->value('SELECT count(*) FROM idempotency.request_purge'), 1, 'requests are purged');
is($s->value('SELECT idem_expire()'), 0, 'nothing is left to do there');
is($s->value('SELECT count(*) FROM idem_check() WHERE NOT ok'), 0, 'idem_check() finds nothing wrong');

# Accounts. Entries come in the order of their commits, so the subscriber inserts none before it has all of them.
$p->do(q(SELECT idem_account_open('wallet', 'USD', 0), idem_account_open('world', 'USD')));
$p->do(q(SELECT idem_pay('in', 100, 'USD', 'world', 'wallet')));
my $straggler = Client->new($publisher);
$straggler->do('BEGIN');
$straggler->do(q(SELECT idem_pay('straggler', 10, 'USD', 'wallet', 'world')));
$p->do(qq(SELECT idem_pay('pay $_', 1, 'USD', 'wallet', 'world'))) for 1 .. 70;
$p->do(q(SELECT idem_account_change('wallet', floor => 5)));
catch_up();
my $balance = q(SELECT concat_ws(' ', posted, held, available, entries) FROM idem_balance('wallet'));
is($s->value($balance), '30.00 0.00 30.00 71', 'a balance without what is in progress');
is($s->value($balance), $p->value($balance), 'that of the publisher');
$straggler->do('COMMIT');
catch_up();
is($s->value($balance), '20.00 0.00 20.00 72', 'and with it');
is($s->error_of(q(SELECT idem_pay('early bird', 1, 'USD', 'wallet', 'world'))), '55000', 'the subscriber moves no money');
is($s->value(q(SELECT status FROM idem_pay('pay 1', 1, 'USD', 'wallet', 'world'))), 'succeeded', 'but replays');
$s->do('ALTER SUBSCRIPTION money DISABLE');
is($s->error_of(q(SELECT idem_pay('too much', 15.01, 'USD', 'wallet', 'world'))), 'ID402', 'without the subscription it does, with the limits');
is($s->value(q(SELECT from_seq FROM idem_pay('enough', 15, 'USD', 'wallet', 'world'))), 73, 'and goes on');
is($s->value($balance), '5.00 0.00 5.00 73', 'from the balance');

$subscriber->safe_psql('postgres', 'ALTER SUBSCRIPTION money SET (slot_name = NONE)');
$subscriber->safe_psql('postgres', 'DROP SUBSCRIPTION money');
$publisher->safe_psql('postgres', q(SELECT pg_drop_replication_slot('money')));
$_->stop for $subscriber, $publisher;
done_testing();
