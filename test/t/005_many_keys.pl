# One transaction pays with 200,000 new keys, as for a payroll or an import. Does it run out of locks or memory? Does it
# cost nothing to send all of them again?
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Client;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use constant FIRST => 50_000;
use constant ALL => 200_000;
use constant MEGABYTE => 1024 * 1024;

# Few shared buffers: the memory of a process is counted with the buffers that it has touched, soon all of them. Nothing
# else may write WAL.
my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', <<'CONF');
shared_buffers = 2MB
max_locks_per_transaction = 64
max_wal_size = 4GB
checkpoint_timeout = 1h
autovacuum = off
CONF
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION idempotency');

my $c = Client->new($node);
my $observer = Client->new($node);
my $advisory_locks = 'SELECT count(*) FROM pg_locks WHERE locktype = $$advisory$$ AND pid = ' . $c->pid;

cmp_ok($c->value(q(SELECT current_setting('max_locks_per_transaction')::int *
		(current_setting('max_connections')::int + current_setting('max_prepared_transactions')::int))),
	'<', FIRST, 'there are fewer locks in all than keys');

# Does the measure of locks work? A key's lock is held while its row is written, so a constraint can see it. It is
# released when triggers fire, since they may do anything.
$c->do(<<'SQL');
CREATE TABLE locks_seen (place text, n bigint);
CREATE FUNCTION see_locks(place text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO locks_seen SELECT place, count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid();
	RETURN true;
END $$;
CREATE FUNCTION see_locks_in_trigger() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	PERFORM see_locks('trigger');
	RETURN NULL;
END $$;
ALTER TABLE idempotency.operation ADD CONSTRAINT see_locks CHECK (see_locks('constraint')) NOT VALID;
CREATE TRIGGER see_locks AFTER INSERT ON idempotency.operation FOR EACH ROW EXECUTE FUNCTION see_locks_in_trigger();
BEGIN;
SELECT idem_pay('seen ' || i, 1) FROM generate_series(1, 3) i;
SQL
is($observer->value($advisory_locks), 0, 'no lock is held after a call, though its transaction is open');
$c->do('COMMIT');
is($c->value(q(SELECT string_agg(n::text, ',') FROM locks_seen WHERE place = 'constraint')), '1,1,1',
	'one lock is held while a row is written');
is($c->value(q(SELECT string_agg(n::text, ',') FROM locks_seen WHERE place = 'trigger')), '0,0,0',
	'and none when triggers fire');
$c->do('DROP TRIGGER see_locks ON idempotency.operation; ALTER TABLE idempotency.operation DROP CONSTRAINT see_locks');

# Pay. Neither the client nor the server keeps the receipts.
$c->do('BEGIN');
is(pay(1, FIRST), FIRST . ' new', FIRST . ' new keys in one transaction');
my ($peak, $contexts) = (peak_memory($c), context_memory($c));
is(pay(FIRST + 1, ALL), (ALL - FIRST) . ' new', ALL . ' new keys in one transaction');
my ($peak_now, $contexts_now) = (peak_memory($c), context_memory($c));

note "memory contexts: $contexts, $contexts_now bytes; peak of the process: $peak, $peak_now bytes";
cmp_ok($peak, '>', MEGABYTE, 'the memory of the process is known');
cmp_ok($contexts_now - $contexts, '<', MEGABYTE / 4, 'the memory contexts have not grown with the number of keys');
cmp_ok($peak_now - $peak, '<', MEGABYTE, 'nor has the process');
is($observer->value($advisory_locks), 0, 'no lock is held for them');
is($observer->value('SELECT count(*) FROM idempotency.operation'), 3, 'others see none of them yet');
$c->do('COMMIT');
is($observer->value('SELECT count(*) FROM idempotency.operation'), ALL + 3, 'and now all');

# Send all of them again. The first readers of a page may write: they set hint bits, which go to the WAL where data
# checksums are on. Later readers write nothing.
is(pay(1, ALL), ALL . ' replayed', 'sent again, all are replayed');
$c->do('CHECKPOINT');
my ($lsn, $lsn_now) = ('', '-');
for (1 .. 5)
{
	last if $lsn eq $lsn_now;
	pay(1, ALL);
	$lsn = $observer->value('SELECT pg_current_wal_insert_lsn()');
	$c->do('BEGIN');
	is(pay(1, ALL), ALL . ' replayed', 'and once more');
	is($c->value('SELECT pg_current_xact_id_if_assigned()'), undef, 'replays need no transaction id');
	is($observer->value($advisory_locks), 0, 'and leave no lock');
	$c->do('COMMIT');
	$lsn_now = $observer->value('SELECT pg_current_wal_insert_lsn()');
}
is($lsn_now, $lsn, 'and write no WAL');

# Does the measure of WAL work?
$c->do('BEGIN');
is(pay(ALL + 1, ALL + 1), '1 new', 'one new key');
isnt($c->value('SELECT pg_current_xact_id_if_assigned()'), undef, 'needs a transaction id');
$c->do('COMMIT');
isnt($observer->value('SELECT pg_current_wal_insert_lsn()'), $lsn, 'and writes WAL');

# The same must hold for one call for each key, and for savepoints that are rolled back.
$c->do('BEGIN');
$c->do(<<'SQL');
DO $$
BEGIN
	FOR i IN 1 .. 20000 LOOP
		PERFORM idem_pay('loop ' || i, 1);
		IF i % 4 = 0 THEN
			BEGIN
				PERFORM idem_pay('given up ' || i, 1);
				RAISE EXCEPTION USING ERRCODE = 'ZZ000';
			EXCEPTION WHEN SQLSTATE 'ZZ000' THEN
			END;
		END IF;
	END LOOP;
END $$
SQL
is($observer->value($advisory_locks), 0, 'no lock is held after 20,000 calls and 5,000 savepoints given up');
$c->do('COMMIT');
is($c->value(q(SELECT count(*) FROM idempotency.operation WHERE key LIKE 'loop %')), 20_000, 'the calls are stored');
is($c->value(q(SELECT count(*) FROM idempotency.operation WHERE key LIKE 'given up %')), 0,
	'and nothing of what was given up');

$node->stop;
done_testing();

# Pays with keys $from to $to in one statement. Returns how many were new, and how many were replayed. The numbers are
# made in a select list, because the executor stores the whole set of a function in FROM. There is no GROUP BY: since
# PostgreSQL 19 the planner may group the numbers first, which takes memory for each.
sub pay
{
	my ($from, $to) = @_;
	return $c->value(<<'SQL', $from, $to);
SELECT concat_ws(', ', nullif(count(*) FILTER (WHERE NOT replayed), 0) || ' new',
	nullif(count(*) FILTER (WHERE replayed), 0) || ' replayed')
FROM (SELECT generate_series($1::int, $2::int) AS i) numbers, LATERAL idem_pay('payroll ' || i, 1 + i % 100)
SQL
}

# The most memory that a server process has had so far, in bytes. Only Linux reports it. Elsewhere this is a constant, and
# the memory contexts must do.
sub peak_memory
{
	my ($client) = @_;
	my $file = '/proc/' . $client->pid . '/status';
	return 2 * MEGABYTE unless -r $file;
	slurp_file($file) =~ /^VmHWM:\s+(\d+) kB/m or die 'no VmHWM';
	return 1024 * $1;
}

# The size of a server process's memory contexts now, in bytes.
sub context_memory
{
	my ($client) = @_;
	return $client->value('SELECT sum(total_bytes) FROM pg_backend_memory_contexts');
}
