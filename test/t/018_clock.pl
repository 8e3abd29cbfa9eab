# Somebody sets the server's clock by an hour, forward and back. The background processes go on: the launcher does not sleep
# until the clock catches up, does not wait that long for a worker that hangs, and does not stop a worker that works.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Client;
use Clock;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use constant HOUR => 3600;

my $clock = Clock->new;
my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', <<'CONF');
shared_preload_libraries = 'idempotency'
idempotency.naptime = 2
idempotency.databases = 'shop, other'
CONF
$clock->start($node);
for my $dbname ('shop', 'other')
{
	$node->safe_psql('postgres', "CREATE DATABASE $dbname");
	$node->safe_psql($dbname, 'CREATE EXTENSION idempotency');
}

sub leave_work
{
	my ($dbname, $key) = @_;
	$node->safe_psql($dbname, "SELECT idem_authorize('$key', 100, expires_in => '1 microsecond')");
	return;
}

sub done_in
{
	my ($dbname, $what) = @_;
	return ok($node->poll_query_until($dbname, 'SELECT count(*) = 0 FROM idempotency.hold'), $what);
}

# Some time passes, so that the launcher and the worker read the clock. If it is too short, the test sees less, but does not
# fail.
sub pass_time
{
	return sleep 3;
}

# While the launcher sleeps
my $hours = 0;
for my $to (-1, 0, 1, 0)
{
	my $step = $to < $hours ? 'back' : 'forward';
	$node->poll_query_until('postgres', q(SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'idempotency worker'));
	$clock->off_by($to * HOUR);
	leave_work($_, "from $hours to $to") for 'shop', 'other';
	done_in('shop', "the clock is set $step: the launcher wakes up");
	done_in('other', 'for all databases');
	$hours = $to;
}

# While a worker waits for a lock that we hold, and release later
my $gate = Client->new($node, dbname => 'shop');
$gate->do(q(CREATE TABLE worker (pid integer);
	CREATE FUNCTION gate() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN
		PERFORM pg_advisory_xact_lock_shared(1);
		INSERT INTO public.worker VALUES (pg_backend_pid());
		RETURN NULL;
	END$$;
	CREATE TRIGGER gate AFTER INSERT ON idempotency.operation FOR EACH ROW WHEN (NEW.kind = 'expire') EXECUTE FUNCTION gate()));
my $waiting = q(SELECT count(*) = 1 FROM pg_locks WHERE NOT granted);

my $from = -s $node->logfile;
$gate->do('SELECT pg_advisory_lock(1)');
leave_work('shop', 'forward');
ok($node->poll_query_until('postgres', $waiting), 'a worker is at work');
$clock->off_by(HOUR);
pass_time();
$gate->do('SELECT pg_advisory_unlock(1)');
done_in('shop', 'the clock is set forward: the worker goes on');
unlike(slurp_file($node->logfile, $from), qr/timed out/, 'and does not time out');

# Holds that have expired at both times, more than a transaction releases
$clock->off_by(-2 * HOUR);
$gate->do('SELECT pg_advisory_lock(1)');
$gate->do('TRUNCATE worker');
$gate->do('BEGIN');
$gate->do(q(SELECT count(idem_authorize('back ' || i, 100, expires_in => '1 microsecond')) FROM generate_series(1, 1500) i));
$clock->off_by(0);
$gate->do('COMMIT');
ok($node->poll_query_until('postgres', $waiting), 'a worker is at much work');
$clock->off_by(-1 * HOUR);
pass_time();
$gate->do('SELECT pg_advisory_unlock(1)');
done_in('shop', 'the clock is set back: the work is done');
cmp_ok($gate->value('SELECT count(DISTINCT pid) FROM worker'), '>', 1, 'not by one worker that is at it for an hour');
$clock->off_by(0);
$gate->close;

# While a worker hangs
my $renamer = Client->new($node, dbname => 'postgres');
$renamer->do('BEGIN');
$renamer->do('ALTER DATABASE shop RENAME TO elsewhere');
$from = -s $node->logfile;
ok($node->poll_query_until('other', $waiting), 'a worker hangs');
$clock->off_by(HOUR);
pass_time();
unlike(slurp_file($node->logfile, $from), qr/timed out/, 'the clock is set forward: the worker has its time');
$clock->off_by(-1 * HOUR);
leave_work('other', 'in spite of the other');
ok(Client::wait_until(sub { slurp_file($node->logfile, $from) =~ /maintenance of database "shop" timed out/ }),
	'the clock is set back: the worker times out');
done_in('other', 'the next database has its turn');
$renamer->do('ROLLBACK');
$renamer->close;
leave_work('shop', 'after the other');
done_in('shop', 'and it itself, when it can be had');

$node->stop;
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|was terminated by signal/, 'without a crash');
done_testing();
