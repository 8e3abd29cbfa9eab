# A streaming standby. Which calls does it answer, which does it refuse, and what is there after it is
# promoted?
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Client;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use constant READ_ONLY => '25006';

my $primary = PostgreSQL::Test::Cluster->new('primary');
$primary->init(allows_streaming => 1);
$primary->append_conf('postgresql.conf', 'autovacuum = off');
$primary->start;
$primary->safe_psql('postgres', 'CREATE EXTENSION idempotency');
$primary->backup('backup');

my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'backup', has_streaming => 1);
$standby->start;

# One session on each, for the whole test. A call that hangs ends with an error that is not the expected one.
my $p = Client->new($primary);
my $s = Client->new($standby);

# Makes a call; its receipt, and whether it is a replay.
sub one
{
	my ($client, $call) = @_;
	return Client::split_receipt($client->value("SELECT r::text FROM $call r"));
}

sub catch_up
{
	$primary->wait_for_catchup($standby, 'replay', $primary->lsn('insert'));
	return;
}

my %receipt = map { ("old $_" => ($p->pay("old $_", $_))[0]) } 1 .. 3;

# Follow-ups: a hold that is captured in part, a payment that is refunded in part, a cancelled key, a declined
# request.
my ($hold) = one($p, q(idem_authorize('hold', 100)));
my ($paid) = $p->pay('paid', 50);
my ($hold_id, $paid_id) = map { Client::payment_id($_) } $hold, $paid;
$p->do('SET idempotency.declines = record');
$p->do(q(SELECT idem_account_open('world', 'USD'), idem_account_open('wallet', 'USD', 0), idem_account_open('pension', 'USD'), idem_account_open('tax', 'USD')));
my @calls = (
	q(idem_pay('into the wallet', 80, 'USD', 'world', 'wallet')),
	q(idem_authorize('held in the wallet', 20, 'USD', 'wallet', 'world')),
	q(idem_pay('more than the wallet has', 61, 'USD', 'wallet', 'world')),
	q(idem_post('salary', ARRAY[('world', -3), ('pension', 1), ('tax', 2)]::idem_entry[])),
	q(idem_post('too much for the wallet', ARRAY[('wallet', -61), ('pension', 61)]::idem_entry[])),
	q(idem_authorize('hold', 100)),
	"idem_capture('capture', '$hold_id', 30, false)",
	"idem_refund('refund', '$paid_id', 20)",
	q(idem_cancel('never used')),
	q(idem_pay('metadata', 5, metadata => '{"a": 1}')),
	q(idem_cancel('old 2')),
	"idem_refund('declined', '$paid_id', 1000)");
my @answers = map { (one($p, $_))[0] } @calls;
$p->do('RESET idempotency.declines');
catch_up();

# Known keys
is($s->value('SELECT pg_is_in_recovery()'), 1, 'the standby is one');
is_deeply([ $s->pay('old 1', 1) ], [ $receipt{'old 1'}, 't' ], 'idem_pay replays a known key');
is_deeply([ $s->pay('old 1', 1) ], [ $receipt{'old 1'}, 't' ], 'and does it again');
is_deeply([ Client::split_receipt($s->value(q(SELECT r::text FROM idem_lookup('old 2') r))) ],
	[ $receipt{'old 2'}, 't' ], 'idem_lookup finds it');
is_deeply([ Client::split_receipt($s->value('SELECT idem_payment($1)::text', Client::payment_id($receipt{'old 3'}))) ],
	[ $receipt{'old 3'}, 't' ], 'idem_payment shows the payment');
is_deeply([ map { [ one($s, $_) ] } @calls ], [ map { [ $_, 't' ] } @answers ],
	'captures, refunds, cancellations and declined requests are replayed');
is(join(' ', $s->row('SELECT status, captured, capturable FROM idem_payment($1)', $hold_id)), 'partially_captured 30.00 70.00',
	'idem_payment shows what became of the hold');
is($s->value('SELECT count(*) FROM idem_history($1)', $paid_id), 3, 'idem_history has all its operations');
is($s->value('SELECT refunded FROM idempotency.payment WHERE payment_id = $1', $paid_id), '20.00', 'so has the view');
is($s->value('SELECT sum(moved) FROM idempotency.movement WHERE payment_id = $1', $paid_id), '30.00', 'and the view of movements');
is($s->value('SELECT array_agg(key)::text FROM idem_payments()'), $p->value('SELECT array_agg(key)::text FROM idem_payments()'),
	'idem_payments lists the payments');
is($s->value('SELECT array_agg(captured)::text FROM idem_payments(after => $1, max => 1)', $hold_id), '{50.00}', 'page by page');
is($s->value(q(SELECT array_agg(coalesce(sqlstate, outcome) ORDER BY item)::text
		FROM idem_pay_batch('{metadata,old 1,no json}', '{5,1,1}', metadatas => '{"{\"a\": 1}",NULL,"{"}'))), '{replayed,replayed,22P02}',
	'a batch with metadata is replayed');
is($s->error_of_pay('never used', 1), 'none', 'a cancelled key is answered');
is($s->value(q(SELECT concat_ws(' ', posted, held, available, entries) FROM idem_balance('wallet'))), '80.00 20.00 60.00 2', 'idem_balance works');
is($s->value(q(SELECT floor FROM idem_account_open('wallet', 'USD', 0))), '0.00', 'an account is opened again');
is($s->error_of("SELECT idem_refund('refund', '$paid_id', 21)"), 'ID422', 'another refund with a known key is refused for what it is');
is($s->error_of_pay('old 1', 2), 'ID422', 'another request with a known key is refused for what it is');
for my $level ('repeatable read', 'serializable')
{
	# a hot standby has no serializable transactions; that is PostgreSQL's own answer
	my $expected = $level eq 'serializable' ? '0A000' : 'none';
	$s->do("SET default_transaction_isolation = '$level'");
	is($s->error_of_pay('old 1', 1), $expected, "a known key at $level");
}
$s->do('RESET default_transaction_isolation');

# New keys
is($s->error_of_pay('new', 1), READ_ONLY, 'a new key is refused');
is($s->value(q(SELECT count(*) FROM idem_lookup('new'))), 0, 'idem_lookup does not find it');
for my $call ("idem_capture('new', '$hold_id')", "idem_void('new', '$hold_id')", "idem_refund('new', '$paid_id')",
	"idem_refund('new', '$paid_id', 1000)", q(idem_cancel('new')), q(idem_cancel('paid')), q(idem_authorize('new', 1)),
	q(idem_pay('new', 1, 'USD', 'wallet', 'world')), q(idem_pay('new', 1000, 'USD', 'wallet', 'world')), q(idem_account_open('new', 'USD')),
	q(idem_account_change('wallet', 1)), q(idem_post('new', ARRAY[('world', -1), ('tax', 1)]::idem_entry[])))
{
	is($s->error_of("SELECT $call"), READ_ONLY, ($call =~ /(\w+)/)[0] . ' with a new key is refused');
}
is($s->error_of(q(SELECT idem_payment('00000000-0000-7000-8000-000000000000'))), 'ID404',
	'idem_payment does not find a payment that is not there');

# A key in flight on the primary. Its row reaches the standby with what is committed later.
my $holder = Client->new($primary);
$holder->do('BEGIN');
my ($held) = $holder->pay('in flight', 7);
$p->pay('after in flight', 1);
catch_up();
is($s->value(q(SELECT count(*) FROM idem_lookup('after in flight'))), 1, 'the standby has what came after it');
is($s->error_of_pay('in flight', 7), READ_ONLY, 'a key in flight on the primary is refused, without waiting');
$s->do('SET idempotency.in_flight = fail');
is($s->error_of_pay('in flight', 7), READ_ONLY, 'in the same way if waiting is off');
$s->do('RESET idempotency.in_flight');
is($s->value(q(SELECT count(*) FROM idem_lookup('in flight'))), 0, 'idem_lookup does not find it');
$holder->do('COMMIT');
catch_up();
is_deeply([ $s->pay('in flight', 7) ], [ $held, 't' ], 'once committed it is replayed');

# An account. The second entry is in progress on the primary, and the third is committed.
my $entries = q(SELECT array_agg(format('%s %s %s', seq, posted, settled) ORDER BY seq)::text FROM idem_statement('shop', after => $1));
$p->do(q(SELECT idem_account_open(name) FROM unnest('{world,shop}'::text[]) name));
$p->do(q(SELECT idem_pay('account 1', 1, from_account => 'world', to_account => 'shop')));
$holder->do('BEGIN');
$holder->do(q(SELECT idem_pay('account 2', 10, from_account => 'world', to_account => 'shop')));
$p->do(q(SELECT idem_pay('account 3', 100, from_account => 'world', to_account => 'shop')));
catch_up();
is($s->value(q(SELECT posted FROM idem_balance('shop'))), '101.00', 'idem_balance counts what is committed');
is($s->value($entries, 0), '{"1 1.00 1"}', 'idem_statement ends before the entry in progress');
$holder->do('COMMIT');
catch_up();
is($s->value(q(SELECT posted FROM idem_balance('shop'))), '111.00', 'idem_balance counts the entry once it is committed');
is($s->value($entries, 1), '{"2 11.00 3","3 111.00 3"}', 'idem_statement goes on');

# A session with an old snapshot does not see the key. It gets the same error as for a new key.
$s->do('BEGIN ISOLATION LEVEL REPEATABLE READ');
$s->row('SELECT 1');
my ($later) = $p->pay('later', 1);
catch_up();
is($s->error_of_pay('later', 1), READ_ONLY, 'a key newer than the snapshot is refused');
$s->do('ROLLBACK');
is_deeply([ $s->pay('later', 1) ], [ $later, 't' ], 'and replayed in the next transaction');

# A currency of the user's own becomes known to a session of the standby that has looked for it before.
is($s->error_of_pay('coin', 1.5, 'COIN'), '22023', 'the standby does not know the currency');
$p->do(q(INSERT INTO idempotency.currency VALUES ('COIN', 1)));
catch_up();
is($s->error_of_pay('coin', 1.5, 'COIN'), READ_ONLY, 'now it does, and refuses the payment because it is new');
is($s->error_of_pay('coin', 1.55, 'COIN'), '22003', 'with its number of decimals');

# The primary dies with a payment in flight and a currency that no session of the standby has asked for yet.
$p->do(q(INSERT INTO idempotency.currency VALUES ('POINTS', 0)));
$holder->do('BEGIN');
my ($ghost) = $holder->pay('never committed', 7);
one($holder, "idem_refund('refund never committed', '$paid_id', 25)");
$p->pay('last', 1);
catch_up();
$primary->stop('immediate');
$standby->promote;

is($s->value('SELECT pg_is_in_recovery()'), 0, 'the standby has taken over');
my $lost = 0;
for my $key (sort keys %receipt)
{
	my ($receipt, $replayed) = $s->pay($key, $key =~ /(\d)/);
	$lost++ if $replayed ne 't' || $receipt ne $receipt{$key};
}
is($lost, 0, 'it replays the old keys, with the receipts of the old primary');
is_deeply([ $s->pay('in flight', 7) ], [ $held, 't' ], 'also the one that it had refused');

is_deeply([ map { [ one($s, $_) ] } @calls ], [ map { [ $_, 't' ] } @answers ],
	'captures, refunds, cancellations and declined requests too');
is(($s->row("SELECT (r).seq, (r).refunded FROM idem_refund('rest', '$paid_id') r"))[1], '50.00',
	'what is left of a payment can be refunded, as if the refund that was in flight had never been');
is(join(' ', $s->row("SELECT status, amount FROM idem_capture('capture the rest', '$hold_id')")), 'succeeded 70.00',
	'and what is left of a hold captured');
is($s->value('SELECT count(*) FROM idem_check() WHERE NOT ok'), 0, 'idem_check finds nothing wrong');

my ($receipt, $replayed) = $s->pay('new', 1);
is($replayed, 'f', 'a new key works');
is_deeply([ $s->pay('new', 1) ], [ $receipt, 't' ], 'and is replayed');
($receipt, $replayed) = $s->pay('never committed', 7);
is($replayed, 'f', 'the key that was in flight on the old primary is new');
isnt($receipt, $ghost, 'and has a receipt of its own');
like(($s->pay('coin', 1.5, 'COIN'))[0], qr/,1\.5,COIN,/, "the user's currency is known to the session");
like(($s->pay('points', 3, 'POINTS'))[0], qr/,3,POINTS,/, 'so is the one that came last');
is($s->value(q(SELECT count(*) FROM idempotency.operation WHERE key IN ('new', 'coin', 'points', 'never committed'))),
	4, 'all are stored');

$standby->stop;
done_testing();
