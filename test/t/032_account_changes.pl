# Payments while their accounts are changed, again and again: an account that exists is always found.
#
# A change replaces the account's row. A payment that looks for it at that moment could come too early for the new row, and too
# late for the old one. Many dead rows of the account make that moment longer, so nothing is vacuumed.
use strict;
use warnings FATAL => 'all';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('changes');
$node->init;
$node->append_conf('postgresql.conf', "autovacuum = off\nsynchronous_commit = off\nlog_statement = none");
$node->start;
$node->safe_psql('postgres', q(
	CREATE EXTENSION idempotency;
	SELECT count(idem_account_open(name, 'USD')) FROM (VALUES ('world'), ('a')) v (name)));

$node->pgbench('--client=5 --jobs=2 --transactions=1500 --protocol=prepared --no-vacuum', 0,
	[qr/number of failed transactions: 0/], [],
	'payments find their accounts while these are changed',
	{
		'032_change@1' => q(SELECT idem_account_change('a', metadata => floor(random() * 1000)::text)),
		'032_pay@4' => q(SELECT idem_pay(gen_random_uuid()::text, 1, 'USD', 'world', 'a')),
	});

is($node->safe_psql('postgres', 'SELECT bool_and(ok) FROM idem_check()'), 't', 'and the books are right');
$node->stop;
done_testing();
