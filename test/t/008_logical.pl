# Logical replication: does the subscriber know the payments, the currencies and the requests of the publisher?
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

$subscriber->safe_psql('postgres', 'DROP SUBSCRIPTION money');
$_->stop for $subscriber, $publisher;
done_testing();
