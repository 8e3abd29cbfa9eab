# A shop charges cards through a processor that fails in all ways: examples/processor. Both, the workers and the
# database are killed at random, or hang; a worker also hangs between its look-up and its call. In the end, is each
# order charged at the processor exactly as often as our books say, and refunded by the same amount? Is no order and no
# request left in between?
#
# IDEM_SECONDS is how long that is played, and SEED=7 plays the same orders, faults and kills.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Client;
use JSON::PP ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $python = $ENV{PYTHON} // '/usr/bin/python3';
my $dir = "$PostgreSQL::Test::Utils::tmp_check/processor";
my $json = JSON::PP->new->utf8;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', "log_statement = none\n");
$node->start;
$node->safe_psql('postgres', slurp_file('examples/processor/setup.sql'));
mkdir $dir or die "$dir: $!";

# Play. The example compares the ledgers itself; that is checked, too.
{
	local $ENV{PGHOST} = $node->host;
	local $ENV{PGPORT} = $node->port;
	local $ENV{PGDATABASE} = 'postgres';
	local $ENV{PGDATA} = $node->data_dir;
	local $ENV{PLAY_DIR} = $dir;
	local $ENV{IDEM_SECONDS} = $ENV{IDEM_SECONDS} || 25;
	my ($output, $errors) = ('', '');
	my $ended_well = IPC::Run::run([ $python, 'examples/processor/play' ],
		'<', '/dev/null', '>', \$output, '2>', \$errors, IPC::Run::timeout($ENV{IDEM_SECONDS} + 150));
	note $output;
	ok($ended_well, 'all is settled, and reconcile.py finds no difference') or diag $output, $errors;
	like($output, qr/faults of the processor: .*pending \d/, 'charges were pending');
	like($output, qr/ killed: database \d.* processor \d.* shop \d.* worker \d/, 'all of them were killed');
}

# What each side says. The processor's ledger is read from its file.
my $client = Client->new($node);
for my $table (qw(charges refunds))
{
	my ($rows, $errors) = ('', '');
	IPC::Run::run([ $python, '-c', <<'END', "$dir/processor.db", $table ], '>', \$rows, '2>', \$errors) or die $errors;
import json, sqlite3, sys
db = sqlite3.connect(sys.argv[1])
db.row_factory = sqlite3.Row
print(json.dumps([dict(row) for row in db.execute("SELECT * FROM " + sys.argv[2])]))
END
	$client->do("CREATE TABLE processor_$table (id text, \"order\" text, charge text, refund text, amount numeric,
		currency text, status text, turns text, turns_at numeric)");
	$client->row("INSERT INTO processor_$table SELECT * FROM json_populate_recordset(NULL::processor_$table, \$1) RETURNING 1", $rows);
}
$client->do(<<'END');
CREATE VIEW processor AS
	SELECT "order" AS order_id, count(*) AS times, min(currency) AS currency, sum(amount) AS charged,
		(SELECT coalesce(sum(r.amount), 0) FROM processor_refunds r JOIN processor_charges c ON c.id = r.charge
			WHERE c."order" = p."order" AND r.status = 'succeeded') AS refunded
	FROM processor_charges p WHERE status = 'succeeded' GROUP BY "order";
CREATE VIEW books AS
	SELECT reference AS order_id, count(*) AS times, min(currency) AS currency, sum(captured) AS charged,
		sum(refunded) AS refunded
	FROM idempotency.payment WHERE captured > 0 GROUP BY reference;
END

# An order was given up, and charged too late. This is the only charge that is not in our books.
is($client->value(<<'END'), 1, 'a charge that came after give-up was given back');
	WITH c AS (DELETE FROM processor_charges WHERE "order" = 'order-stuck' RETURNING id, amount),
		r AS (DELETE FROM processor_refunds USING c WHERE charge = c.id RETURNING processor_refunds.amount)
	SELECT count(*) FROM c WHERE amount = (SELECT sum(amount) FROM r)
END
is($client->value('SELECT count(*) FROM processor WHERE times > 1'), 0, 'no order is charged twice');
is($client->value("SELECT times FROM processor WHERE order_id = 'order-late'"), 1, 'nor by a worker that hung before it called');
is($client->value('SELECT count(*) FROM books WHERE times > 1'), 0, 'nor is it booked twice');
is_deeply(
	$client->{dbh}->selectcol_arrayref(
		'SELECT order_id FROM books b FULL JOIN processor p USING (order_id)
		WHERE (b.times, b.currency, b.charged, b.refunded) IS DISTINCT FROM (p.times, p.currency, p.charged, p.refunded)'),
	[], 'our books and the processor agree on each order: currency, charged, refunded');
is_deeply(
	$client->{dbh}->selectcol_arrayref(
		q(SELECT order_id FROM shop.orders o LEFT JOIN processor p USING (order_id)
		WHERE (o.state = 'paid') <> (p.times IS NOT NULL) OR p.charged <> o.amount)),
	[], 'an order is paid if, and only if, it is charged, with its amount');
is_deeply(
	$client->{dbh}->selectcol_arrayref(
		q(SELECT refund_id FROM shop.refunds r FULL JOIN processor_refunds p ON refund = refund_id
		WHERE (r.state = 'done') IS DISTINCT FROM (p.status = 'succeeded') OR r.amount <> p.amount)),
	[], 'so are refunds, each sent once');
is($client->value("SELECT count(*) FROM processor_refunds WHERE refund = 'order-late-refund-1'"), 1,
	'also by a worker that hung before it called');

# Nothing is left in between.
is($client->value(q(SELECT count(*) FROM shop.orders WHERE state IN ('placed', 'charging'))), 0, 'no order is open');
is($client->value(q(SELECT count(*) FROM idempotency.payment WHERE status = 'authorized')), 0, 'nothing is held');
is($client->value(q(SELECT count(*) FROM shop.refunds WHERE state = 'asked')), 0, 'no refund is waiting');
is($client->value(q(SELECT count(*) FROM idempotency.request WHERE status NOT IN ('completed', 'failed'))),
	0, 'no request is left begun');
is($client->value('SELECT count(*) FROM idem_abandoned()'), 0, 'none is abandoned');
is_deeply($client->{dbh}->selectcol_arrayref('SELECT invariant FROM idem_check() WHERE NOT ok'), [],
	'idem_check finds nothing wrong');

# What customers were answered at any time. "shop last" has what they are answered in the end.
my %final = map { $_ => 1 } qw(paid declined expired);
my (%told, %other, $told);
for my $file (glob "'$dir/shop *.log'")
{
	for my $answer (map { eval { $json->decode($_) } // () } split /\n/, slurp_file($file))
	{
		next unless $final{ $answer->{status} // '' };
		my $text = join ' ', map { $_ // '-' } @{$answer}{qw(status amount currency charge)};
		$told++;
		$told{ $answer->{order} } //= $text;
		$other{ $answer->{order} } = 1 if $told{ $answer->{order} } ne $text;
	}
}
is_deeply([ sort keys %other ], [], 'a customer who asks again gets the same answer');
is_deeply(
	{ map { $_ => (split ' ', $told{$_})[0] } keys %told },
	{ map { @$_ } @{ $client->{dbh}->selectall_arrayref('SELECT order_id, state FROM shop.orders') } },
	"which is the order's state");

# There was something to see.
cmp_ok($told, '>', scalar keys %told, 'customers asked again');
cmp_ok($client->value(q(SELECT count(*) FROM shop.orders WHERE state = 'paid')), '>', 5, 'orders were paid');
cmp_ok($client->value('SELECT count(*) FROM idempotency.request WHERE attempt > 1'), '>', 0, 'requests were taken over');

$client->close;
$node->stop;
done_testing();
