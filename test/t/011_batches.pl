# Batches. Sixteen clients send the same keys in different orders, and some of the keys one by one. Does it ever
# deadlock, or is a payment made twice? How many locks and how much memory does a large batch take?
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Client;
use List::Util qw(max shuffle sum);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use constant CLIENTS => 16;
use constant KEYS => 1500;
use constant PORTION => 64;
use constant MEGABYTE => 1024 * 1024;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', <<'CONF');
log_statement = none
shared_buffers = 4MB
deadlock_timeout = 10ms
CONF
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION idempotency');
my $observer = Client->new($node);

my @results = Client::finish(Client::start(CLIENTS, \&client));

my (%payers, %errors, %wrong);
for my $result (@results)
{
	$payers{$_}++ for @{ $result->{paid} };
	$errors{$_} += $result->{errors}{$_} for keys %{ $result->{errors} };
	$wrong{$_} += $result->{wrong}{$_} for keys %{ $result->{wrong} };
}
is_deeply(\%errors, {}, 'no batch fails: none deadlocks, none meets a unique violation');
is_deeply(\%wrong, {}, 'every item has the answer that it should have');
is($observer->value('SELECT count(*) FROM idempotency.operation'), KEYS, 'each key is stored');
is(scalar(keys %payers), KEYS, 'each was new to a client');
is(max(values %payers), 1, 'and to one only');
is($observer->value('SELECT bool_and(ok) FROM idem_check()'), 1, 'all invariants hold');

# Locks, counted by a constraint while a row is written.
my $c = Client->new($node);
$c->do(<<'SQL');
CREATE TABLE locks_seen (n bigint);
CREATE FUNCTION see_locks() RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO locks_seen SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid();
	RETURN true;
END $$;
ALTER TABLE idempotency.operation ADD CONSTRAINT see_locks CHECK (see_locks()) NOT VALID;
SQL
my $batch = q(SELECT count(*) FILTER (WHERE outcome = $1) FROM
	(SELECT array_agg('batch ' || i) AS keys, array_agg(i) AS amounts FROM generate_series($2::int, $3::int) i) s,
	idem_pay_batch(keys, amounts));
is($c->value($batch, 'new', 1, 1000), 1000, 'a batch of 1,000');
is($c->value('SELECT max(n) FROM locks_seen'), PORTION, 'holds ' . PORTION . ' locks at a time');
is($observer->value(q(SELECT count(*) FROM pg_locks WHERE locktype = 'advisory')), 0, 'and none after it');
$c->do('ALTER TABLE idempotency.operation DROP CONSTRAINT see_locks');
$c->close;

# Memory. The arrays are stored before, so that making them does not count.
$observer->do(<<'SQL');
CREATE TABLE large AS
SELECT array_agg('a key of some length ' || i) AS keys, array_agg(i + 0.5) AS amounts, array_agg('USD'::text) AS currencies,
	array_agg('order ' || i) AS texts
FROM generate_series(1, 100000) i;
SQL
for my $outcome ('new', 'replayed')
{
	$c = Client->new($node);
	is($c->value(q(SELECT count(*) FILTER (WHERE outcome = $1) FROM large, idem_pay_batch(keys, amounts, currencies, texts)), $outcome),
		100_000, "100,000 items, $outcome");
	my $file = '/proc/' . $c->pid . '/status';
  SKIP:
	{
		skip "no $file", 1 unless -r $file;
		slurp_file($file) =~ /^VmHWM:\s+(\d+) kB/m or die 'no VmHWM';
		note "peak of the process: $1 kB";
		cmp_ok($1 * 1024, '<', 64 * MEGABYTE, 'the process never had 64 MB');
	}
	$c->close;
}

# An index is being made when a batch goes on after a wait: from then on, the table may refuse rows.
$observer->do('CREATE ROLE other');
$observer->do(q(SELECT idem_grant('other')));
my $holder = Client->new($node);
$holder->do('SET ROLE other');
$holder->do('BEGIN');
$holder->pay('index 0100', 1);
$c = Client->new($node);
$c->send(q(SELECT string_agg(format('%s %s', n, outcome), ', ' ORDER BY outcome) FROM (
	SELECT outcome, count(*) AS n FROM (
		SELECT array_agg('index ' || lpad(i::text, 4, '0')) AS keys, array_agg(1) AS amounts FROM generate_series(1, 200) i) s,
	idem_pay_batch(keys, amounts) GROUP BY outcome) o));
ok(Client::wait_till_blocked($observer, $c), 'a batch waits for one of its keys');
my $builder = Client->new($node);
$builder->send('CREATE INDEX CONCURRENTLY made_meanwhile ON idempotency.operation (reference)');
ok(Client::wait_till_blocked($observer, $builder), 'an index is made meanwhile');
$holder->do('COMMIT');
is($c->answer, '199 new, 1 replayed', 'the batch pays the rest');
$builder->rows;
unlike(slurp_file($node->logfile), qr/reference leak|was not closed/, 'and leaves nothing open');
$observer->do('DROP INDEX idempotency.made_meanwhile');
$_->close for $holder, $builder, $c;

# A batch that is cancelled in the middle leaves nothing.
$c = Client->new($node);
$c->do('BEGIN');
$c->send(q(SELECT count(*) FROM (SELECT array_agg('cancelled ' || i) AS keys, array_agg(i) AS amounts
	FROM generate_series(1, 100000) i) s, idem_pay_batch(keys, amounts)));
Client::wait_until(sub { $observer->value('SELECT count(*) FROM pg_locks WHERE locktype = $$advisory$$ AND pid = ' . $c->pid) });
$observer->value('SELECT pg_cancel_backend($1)', $c->pid);
is($c->error_of_answer, '57014', 'a batch can be cancelled');
is($observer->value(q(SELECT count(*) FROM pg_locks WHERE locktype = 'advisory')), 0, 'it holds no lock any more');
$c->do('ROLLBACK');
is($observer->value(q(SELECT count(*) FROM idempotency.operation WHERE key LIKE 'cancelled %')), 0, 'and paid nothing');
$c->close;

$node->stop;
done_testing();

# Sends all keys in portions of random size and order, in transactions of one or two batches. All keys of a second batch come
# after those of the first, since a client must keep that order to avoid deadlocks. Some keys are sent one by one.
sub client
{
	my ($i) = @_;
	my $c = Client->new($node);
	my %result = (paid => [], errors => {}, wrong => {});
	my @keys = shuffle(1 .. KEYS);

	while (@keys)
	{
		my @portion = splice(@keys, 0, 1 + int(rand(300)));
		my $rollback = rand() < 0.2;
		my @paid;
		my $ok = eval {
			$c->do('BEGIN');
			if (@portion < 10)
			{
				for my $key (@portion)
				{
					$c->do('COMMIT');
					$c->do('BEGIN');
					my (undef, $replayed) = $c->pay("key $key", amount($key));
					push @{ $rollback ? [] : \@paid }, $key if $replayed eq 'f';
					$c->do($rollback ? 'ROLLBACK' : 'COMMIT');
					$c->do('BEGIN');
				}
			}
			else
			{
				my $rows = $c->{dbh}->selectall_arrayref(
					'SELECT item, key, outcome, sqlstate FROM idem_pay_batch($1, $2)',
					{ Slice => {} }, [ map { "key $_" } @portion ], [ map { amount($_) } @portion ]);
				$result{wrong}{'number of rows'}++ unless @$rows == @portion;
				for my $n (0 .. $#portion)
				{
					my $row = $rows->[$n];
					$result{wrong}{order}++ unless $row->{item} == $n + 1 && $row->{key} eq "key $portion[$n]";
					$result{wrong}{"outcome $row->{outcome}"}++ unless $row->{outcome} =~ /^(new|replayed)$/;
					push @paid, $portion[$n] if $row->{outcome} eq 'new';
				}
			}
			$c->do($rollback ? 'ROLLBACK' : 'COMMIT');
			1;
		};
		if (!$ok)
		{
			$result{errors}{ $c->state }++;
			eval { $c->do('ROLLBACK') };
		}
		if (!$ok || $rollback && @portion >= 10)
		{
			push @keys, @portion;
			next;
		}
		push @keys, @portion if $rollback;
		push @{ $result{paid} }, @paid;
	}
	$c->close;
	return \%result;
}

sub amount { return $_[0] / 2 + 0.5 }
