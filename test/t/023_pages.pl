# A list of payments, read in pages while others pay. Is no payment listed twice, and is none lost that was there before the
# first page? What does it cost to pass over the payments of others?
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Client;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use constant PAYERS => 6;
use constant READERS => 4;
use constant BEFORE => 3000;
use constant READINGS => 5;
use constant MEGABYTE => 1024 * 1024;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', <<'CONF');
log_statement = none
shared_buffers = 4MB
CONF
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION idempotency');
my $control = Client->new($node);

# Each third payment is a hold. Some have many operations, some are keys that were cancelled unused.
my $n = BEFORE;
$control->do(<<"SQL");
SELECT CASE WHEN i % 3 = 0 THEN idem_authorize('before ' || i, 50) ELSE idem_pay('before ' || i, 50) END
FROM generate_series(1, $n) i;
SELECT idem_refund('refund ' || i || ' ' || n, payment_id, 1)
FROM generate_series(1, $n, 100) i, idem_lookup('before ' || i), generate_series(1, 40) n WHERE i % 3 > 0;
SELECT idem_cancel('unused ' || i) FROM generate_series(1, 100) i;
SQL
my %before = map { $_ => 1 } @{ listed(q(SELECT payment_id FROM idempotency.payment)) };
is(scalar keys %before, BEFORE, 'payments before the first page');

# Readers read the whole list several times, each with pages of its own size. Payers go on until the readers are ready.
my @payers = Client::start(PAYERS, \&pay);
my @readings = map { @{ $_->{readings} } } Client::finish(Client::start(READERS, \&read_pages));
$control->do('CREATE TABLE ready ()');
my @paid = map { @{ $_->{paid} } } Client::finish(@payers);

is(scalar @readings, READERS * READINGS, 'the list was read several times');
my ($twice, $disordered, $lost, $new) = (0, 0, 0, 0);
for my $ids (@readings)
{
	my %seen;
	$twice += grep { $seen{$_}++ } @$ids;
	$disordered += grep { $ids->[$_] le $ids->[ $_ - 1 ] } 1 .. $#$ids;
	$lost += grep { !$seen{$_} } keys %before;
	$new += grep { !$before{$_} } @$ids;
}
is($twice, 0, 'no payment is listed twice');
is($disordered, 0, 'they come in order');
is($lost, 0, 'none is lost of those before the first page');
cmp_ok($new, '>', 0, 'others were made meanwhile');

# When all is quiet, the list is what was paid, and nothing that was rolled back.
my %all = (%before, map { $_ => 1 } @paid);
cmp_ok(scalar @paid, '>', 0, 'payers paid');
is_deeply(read_list($control, 1000), [ sort keys %all ], 'in the end, the list has all that was paid');

# Within a transaction at REPEATABLE READ, all pages are of one moment.
my $reader = Client->new($node);
$reader->do('BEGIN ISOLATION LEVEL REPEATABLE READ');
my $first = $reader->{dbh}->selectcol_arrayref('SELECT payment_id FROM idem_payments(max => 100)');
$control->pay("while reading $_", 1) for 1 .. 10;
is(scalar @{ read_list($reader, 100, $first->[-1]) }, keys(%all) - 100, 'a snapshot keeps the list as it is');
$reader->do('COMMIT');
is(scalar @{ read_list($reader, 100) }, keys(%all) + 10, 'and after it, there is more');
$reader->close;

# A role passes over the payments of others, which takes no memory for each.
$control->do('CREATE ROLE stranger LOGIN');
$control->do(q(SELECT idem_grant('stranger')));
$control->do(q(SELECT FROM (SELECT array_agg('other ' || i) AS keys, array_agg(1) AS amounts FROM generate_series(1, 100000) i) s,
	idem_pay_batch(keys, amounts)));
my $stranger = Client->new($node, user => 'stranger');
my ($own) = $stranger->pay('own', 1);
is_deeply($stranger->{dbh}->selectcol_arrayref('SELECT key FROM idem_payments(max => 1)'), ['own'],
	'a role finds its payment behind 100,000 of others');
SKIP:
{
	my $file = '/proc/' . $stranger->pid . '/status';
	skip "no $file", 1 unless -r $file;
	slurp_file($file) =~ /^VmHWM:\s+(\d+) kB/m or die 'no VmHWM';
	note "peak of the process: $1 kB";
	cmp_ok($1 * 1024, '<', 32 * MEGABYTE, 'the process never had 32 MB');
}
$stranger->do(q(SET statement_timeout = '1ms'));
is($stranger->error_of('SELECT key FROM idem_payments(max => 1)'), '57014', 'that can be cancelled');

$node->stop;
done_testing();

sub listed
{
	my ($query) = @_;
	return $control->{dbh}->selectcol_arrayref($query);
}

# The list from a payment on, in pages of this size.
sub read_list
{
	my ($client, $size, $after) = @_;
	my @ids;
	while (1)
	{
		my $page = $client->{dbh}->selectcol_arrayref('SELECT payment_id FROM idem_payments(after => $1, max => $2)', undef,
			$ids[-1] // $after, $size);
		last unless @$page;
		push @ids, @$page;
	}
	return \@ids;
}

sub read_pages
{
	my ($number) = @_;
	my $client = Client->new($node);
	my @readings = map { read_list($client, (7, 50, 333, 1000)[ ($number + $_) % 4 ]) } 1 .. READINGS;
	$client->close;
	return { readings => \@readings };
}

# Pays, refunds what others have paid, and rolls back, until the readers are ready.
sub pay
{
	my ($number) = @_;
	my $client = Client->new($node);
	my @paid;
	for my $i (1 .. 100_000)
	{
		last if $i % 20 == 0 && $client->value(q(SELECT to_regclass('ready') IS NOT NULL));
		my $rollback = rand() < 0.2;
		$client->do('BEGIN');
		my ($receipt) = $client->pay("payer $number $i", 1);
		$client->row('SELECT idem_refund($1, payment_id, 0.01) FROM idem_lookup($2)', "payer $number refund $i",
			'before ' . (1 + 3 * int(rand(BEFORE / 3))));
		$client->do($rollback ? 'ROLLBACK' : 'COMMIT');
		push @paid, Client::payment_id($receipt) unless $rollback;
	}
	$client->close;
	return { paid => \@paid };
}
