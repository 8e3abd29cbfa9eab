# pg_upgrade. Does the new cluster replay every key of the old one, and continue its payments and requests? Does it
# keep the rights, the settings and what an administrator added?
#
# The old cluster is of the PostgreSQL that OLD_PG_CONFIG names; by default, of the same one.
use strict;
use warnings;

use File::Basename;
use FindBin;
use lib $FindBin::RealBin;

use Client;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $old = PostgreSQL::Test::Cluster->new('old',
	$ENV{OLD_PG_CONFIG} ? (install_path => dirname(dirname($ENV{OLD_PG_CONFIG}))) : ());
my $new = PostgreSQL::Test::Cluster->new('new');
diag('pg_upgrade from ' . $old->pg_version->major . ' to ' . $new->pg_version->major);	# test/bin/matrix looks for it

for my $node ($old, $new)
{
	# The default differs between versions, and pg_upgrade requires the same for both clusters.
	$node->init(extra => ['--data-checksums']);
	$node->append_conf('postgresql.conf', <<'CONF');
shared_preload_libraries = 'idempotency'
idempotency.naptime = 1
CONF
}
$old->start;

# A database whose extension was installed without superuser rights
$old->safe_psql('postgres', <<'SQL');
CREATE ROLE installer LOGIN;
CREATE ROLE app LOGIN;
CREATE ROLE clerk LOGIN;
CREATE ROLE office LOGIN IN ROLE app;
CREATE ROLE stranger LOGIN;
CREATE DATABASE shop;
GRANT CREATE ON DATABASE shop TO installer;
ALTER DATABASE shop SET search_path = money, public;
ALTER DATABASE shop SET idempotency.currency = 'EUR';
ALTER ROLE app SET idempotency.declines = 'record';
SQL
my $installer = client($old, 'installer');
$installer->do(<<'SQL');
CREATE SCHEMA money;
CREATE EXTENSION idempotency SCHEMA money;
SELECT idem_grant(r::regrole) FROM unnest('{app,clerk,stranger}'::text[]) r;
SELECT idem_revoke('stranger');
INSERT INTO idempotency.currency VALUES ('COIN', 1), ('JPY', 2);
SQL
$installer->close;
$old->safe_psql('shop', <<'SQL');
CREATE TABLE public.outbox (key text);
CREATE FUNCTION public.to_outbox() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
	INSERT INTO public.outbox VALUES (NEW.key);
	RETURN NULL;
END $$;
CREATE TRIGGER to_outbox AFTER INSERT ON idempotency.operation FOR EACH ROW EXECUTE FUNCTION public.to_outbox();
CREATE INDEX by_reference ON idempotency.operation (reference) WHERE reference IS NOT NULL;
ALTER TABLE idempotency.operation ADD CONSTRAINT no_giant CHECK (amount < 1e15);
CREATE PUBLICATION payments FOR TABLE idempotency.operation;
SQL

# A purge leaves a mark
$old->safe_psql('shop', q(SET idempotency.retention = '1s'; SELECT idem_execute('purged', 'SELECT 1')));
ok($old->poll_query_until('shop', 'SELECT idem_purge() = 1'), 'a table of requests has been purged');

# Payments and requests of all kinds. Sent again, each gives the same, except for the last column, "replayed".
my $payment = q((SELECT payment_id FROM idem_lookup('%s')));
my @payments = (
	q(idem_pay('plain', 50)),
	q(idem_pay('with all', 12.30, 'USD', reference => 'order "1", \\ ' || chr(10), metadata => '{"b": 1.50, "a": [null, "x"]}')),
	q(idem_pay('plain', 60, scope => 'tenant')),
	q(idem_pay('user currency', 1.5, 'COIN')),
	q(idem_pay('overridden currency', 100.25, 'JPY')),
	q(idem_pay('large', 123456789012.34)),
	q(idem_authorize('hold', 100, expires_in => '3 days 0.000001 seconds')),
	sprintf("idem_capture('part', $payment, 30, false, 'order 7', '{\"n\": 1.0}')", 'hold'),
	sprintf("idem_capture('rest', $payment, final => true)", 'hold'),
	sprintf("idem_refund('refund', $payment, 99.99)", 'hold'),
	sprintf("idem_refund('declined', $payment, 0.02)", 'hold'),
	q(idem_authorize('to be voided', 5)),
	sprintf("idem_void('void', $payment)", 'to be voided'),
	q(idem_authorize('open', 100)),
	sprintf("idem_capture('first', $payment, 30, false)", 'open'),
	q(idem_authorize('to expire', 40, expires_in => '1 microsecond')),
	q(idem_cancel('user currency')),
	q(idem_pay('into the wallet', 80, 'USD', 'world', 'wallet')),
	q(idem_pay('out of the wallet', 30, 'USD', 'wallet', 'world')),
	q(idem_authorize('held in the wallet', 20, 'USD', 'wallet', 'world')),
	q(idem_pay('more than the wallet has', 31, 'USD', 'wallet', 'world')),
	q(idem_cancel('never used')));
my @requests = (
	q(idem_begin('completed', '{"a": 1.0}')),
	q(idem_begin('failed', NULL)),
	q(idem_begin('leased and completed', '{"a": 1.0}', lease => '1 hour')),
	q(idem_begin('lapsed', NULL, lease => '1 hour', takeover => false)),
	q(idem_lookup_request('leased')),
	q(idem_lookup_request('released')));
my $app = client($old, 'app');
my $opened = q(SELECT idem_account_open('world', 'USD')::text || idem_account_open('wallet', 'USD', 0, 1000, '{"a": 1.0}')::text);
my $balances = q(SELECT string_agg(concat_ws(' ', name, posted, held, available, entries), ', ')
	FROM unnest(ARRAY['wallet', 'world']) name, idem_balance(name));
my $accounts = $app->value($opened);
my @receipts = map { [ Client::split_receipt($app->value("SELECT r::text FROM $_ r")) ] } @payments;
is(scalar(grep { $_->[1] eq 'f' } @receipts), @payments, 'all payments are new in the old cluster');
is($app->value(q(SELECT string_agg(outcome, ' ') FROM idem_pay_batch('{b1,b2}', '{1,2}'))), 'new new', 'a batch, too');
my $executed = q(SELECT rows, sqlstate, message FROM idem_execute('%s', '%s'));
my @executed = (
	sprintf($executed, 'executed', 'SELECT 1.50 AS price, clock_timestamp()'),
	sprintf($executed, 'not executed', 'SELECT 1 / 0'));
my @rows = map { [ $app->row($_) ] } @executed;
$app->do($_) for <<'SQL',
BEGIN;
SELECT idem_begin('completed', '{"a": 1.0}');
SELECT idem_complete('completed', '{"b" :  1.50}');
COMMIT;
BEGIN;
SELECT idem_begin('failed', NULL);
SELECT idem_fail('failed', '"no"');
COMMIT;
SQL
	q(SELECT idem_begin('leased and completed', '{"a": 1.0}', lease => '1 hour')),
	q(SELECT idem_complete('leased and completed', '[ ]', 1)),
	q(SELECT idem_begin('lapsed', NULL, lease => '1 microsecond')),
	q(SELECT idem_begin('leased', NULL, lease => '1 hour')),
	q(SELECT idem_checkpoint('leased', 'charged', '{"n" : 1}', 1)),
	q(SELECT idem_begin('released', NULL, lease => '1 hour')),
	q(SELECT idem_checkpoint('released', 'charged', '{"n" : 2}', 1)),
	q(SELECT idem_release('released', 1));
my @answers = map { $app->value("SELECT r::text FROM $_ r") } @requests;
$app->close;
my $clerk = client($old, 'clerk');
$clerk->pay('of the clerk', 1);
$clerk->close;
my %before = tables($old);
like($before{request_purge}, qr/^\("\d{4}-/, 'the purge has left its mark');
$old->stop;

# Both servers load the library while pg_upgrade runs them. No worker may change anything meanwhile.
$_->append_conf('postgresql.conf', q(idempotency.databases = 'shop')) for $old, $new;
chdir $PostgreSQL::Test::Utils::tmp_check or die $!;
command_ok(
	[ 'pg_upgrade', '--no-sync', '-b', $old->config_data('--bindir'), '-B', $new->config_data('--bindir'),
		'-d', $old->data_dir, '-D', $new->data_dir, '-p', $old->port, '-P', $new->port, '-s', $new->host ],
	'pg_upgrade');
$new->append_conf('postgresql.conf', q(idempotency.databases = ''));
$new->start;

my %after = tables($new);
is_deeply(\%after, \%before, 'the tables are the same');
is($new->safe_psql('shop', 'SELECT count(*) FROM idem_check() WHERE NOT ok'), 0, 'idem_check finds nothing wrong');

# Replays
$app = client($new, 'app');
is_deeply([ map { [ Client::split_receipt($app->value("SELECT r::text FROM $_ r")) ] } @payments ],
	[ map { [ $_->[0], 't' ] } @receipts ], 'the role that paid gets the same receipts, replayed');
is($app->value(q(SELECT string_agg(outcome, ' ') FROM idem_pay_batch('{b1,b2}', '{1,2}'))), 'replayed replayed', 'of a batch, too');
is_deeply([ map { [ $app->row($_) ] } @executed ], \@rows, 'a command gives the same rows, or the same error');
is_deeply([ map { $app->value("SELECT r::text FROM $_ r") } @requests ], \@answers, 'requests have the same answers');
is($app->value(q(SELECT response::text FROM idem_lookup_request('completed'))), '{"b" :  1.50}', 'byte for byte');

is($app->value($opened), $accounts, 'the accounts are known');
is($app->value($balances), 'wallet 50.00 20.00 30.00 3, world -50.00 0.00 -50.00 2', 'with their balances');

# New work
is($app->value(q(SELECT sqlstate FROM idem_pay('too much money', 30.01, 'USD', 'wallet', 'world'))), 'ID402', 'accounts have their limits');
is($app->value(q(SELECT from_seq FROM idem_pay('all there is', 30, 'USD', 'wallet', 'world'))), 4, 'they go on from there');
is($app->value($balances), 'wallet 20.00 20.00 0.00 4, world -20.00 0.00 -20.00 3', 'and add up');
is(($app->pay('new', 2.5, 'COIN'))[1], 'f', q(a new key works, in a currency of the user's own));
is($app->error_of_pay('new too', 2.55, 'COIN'), '22003', 'which has its number of decimals');
is($app->value(q(SELECT currency FROM idem_pay('default currency', 1))), 'EUR', 'the settings are as they were');
is($app->value(q(SELECT outcome FROM idem_pay_batch('{b1,b3}', '{1,3}') WHERE item = 2)), 'new', 'a batch pays what is new');
is($app->value(sprintf("SELECT status FROM idem_capture('rest of it', $payment)", 'open')), 'succeeded', 'a hold is captured');
is($app->value(sprintf("SELECT status FROM idem_refund('too much', $payment, 0.02)", 'hold')), 'declined',
	'no more can be refunded than before');
is($app->value(sprintf("SELECT status FROM idem_refund('the last', $payment, 0.01)", 'hold')), 'refunded', 'and as much');
is($app->error_of(q(SELECT idem_begin('leased', NULL, lease => '1 hour'))), 'ID409', 'a lease is respected');
is($app->error_of(q(SELECT idem_complete('leased', '1', 1))), 'none', 'and its worker completes the request');
is($app->value(q(SELECT idem_begin('released', NULL, lease => '1 hour')::text)), '(resumed,2,,charged,"{""n"" : 2}")',
	'a request that was released is resumed, with its checkpoint');
is($app->value(q(SELECT attempt FROM idem_begin('lapsed', NULL, lease => '1 hour'))), 2, 'so is one whose lease has lapsed');

# Rights
is($app->error_of('SELECT FROM idempotency.operation'), '42501', 'the role has no right on the table');
is(client($new, 'clerk')->error_of_pay('plain', 50), 'ID403', 'another role may not see the key');
is((client($new, 'clerk')->pay('of the clerk', 1))[1], 't', 'but its own');
is($app->error_of_pay('of the clerk', 1), 'ID403', 'which is taken for others');
is((client($new, 'office')->pay('plain', 50))[1], 't', 'a member of the role sees it');
is(client($new, 'stranger')->error_of_pay('plain', 50), '42501', 'a role whose rights were revoked still has none');
$installer = client($new, 'installer');
is($installer->error_of(q(SELECT idem_grant('stranger'))), 'none', 'the installer can grant them');
is(client($new, 'stranger')->error_of_pay('plain', 50), 'ID403', 'and then it has them');
is($installer->error_of('UPDATE idempotency.operation SET amount = 0'), '42501', 'not even the installer can change a payment');

# What an administrator added
is($new->safe_psql('shop', q(SELECT count(*) FROM public.outbox WHERE key = 'new')), 1, 'a trigger on the table fires');
is($app->error_of_pay('giant', 1e15, 'USD'), '23514', 'a constraint is kept');
is($new->safe_psql('shop', q(SELECT indisvalid FROM pg_index WHERE indexrelid = 'idempotency.by_reference'::regclass)), 't',
	'an index is there');
is($new->safe_psql('shop', 'SELECT tablename FROM pg_publication_tables'), 'operation', 'so is a publication');

# The worker
$new->append_conf('postgresql.conf', q(idempotency.databases = 'shop'));
$new->reload;
ok($new->poll_query_until('shop', q(SELECT status = 'expired' FROM idempotency.payment WHERE key = 'to expire')),
	'the worker releases a hold that has expired');

# pg_dump still knows whose rows to dump
my ($dump) = run_command([ 'pg_dump', $new->connstr('shop') ]);
is(() = $dump =~ /^COPY idempotency\.\w+ /mg, keys %after, 'a dump has the rows of all tables');

$new->stop;
done_testing();

sub client
{
	my ($node, $user) = @_;
	return Client->new($node, dbname => 'shop', user => $user);
}

# The rows of each table.
sub tables
{
	my ($node) = @_;
	return map { $_ => $node->safe_psql('shop', "SELECT t FROM idempotency.$_ t ORDER BY t::text") }
		qw(operation hold account entry currency request_0 request_1 request_2 request_purge);
}
