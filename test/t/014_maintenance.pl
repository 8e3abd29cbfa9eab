# The background worker purges requests and releases holds in the databases of the setting, and in no others. It blocks
# nobody. It survives what may happen to these databases, to itself, and to the server.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Client;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(allows_streaming => 1);
$node->append_conf('postgresql.conf', <<'CONF');
shared_preload_libraries = 'idempotency'
idempotency.naptime = 1
idempotency.databases = 'shop, "Two words" , nowhere,bare'
idempotency.retention = 1
max_prepared_transactions = 5
restart_after_crash = on
CONF
$node->start;
$node->safe_psql('postgres', qq(CREATE DATABASE "$_")) for 'shop', 'Two words', 'bare', 'other';
$node->safe_psql($_, 'CREATE EXTENSION idempotency') for 'shop', 'Two words', 'other';

# Leaves a hold that has expired, and a request that expires soon.
sub leave_work
{
	my ($dbname, $key) = @_;
	$node->safe_psql($dbname, "SELECT idem_authorize('$key', 100, expires_in => '1 microsecond');
		SELECT idem_execute('$key', 'SELECT 1')");
	return;
}

my $nothing_left = q(SELECT count(*) = 0 FROM (SELECT FROM idempotency.hold UNION ALL SELECT FROM idempotency.request_0
	UNION ALL SELECT FROM idempotency.request_1 UNION ALL SELECT FROM idempotency.request_2) s);
my $launchers = q(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'idempotency launcher');

sub done_in
{
	my ($dbname, $what) = @_;
	return ok($node->poll_query_until($dbname, $nothing_left), $what);
}

# Makes holds due again that were put off.
sub try_again
{
	my ($dbname) = @_;
	$node->safe_psql($dbname, 'UPDATE idempotency.hold SET due_at = expires_at');
	return;
}

leave_work($_, 'first') for 'shop', 'Two words', 'other';
done_in('shop', 'requests are purged, and holds released');
done_in('Two words', 'in all databases that are named');
is($node->safe_psql('shop', q(SELECT status || released FROM idempotency.payment)), 'expired100.00', 'as it should be');
is($node->safe_psql('other', 'SELECT count(*) FROM idempotency.hold'), 1, 'not in others');
is($node->safe_psql('postgres', $launchers), 1, 'there is one launcher');
like(slurp_file($node->logfile), qr/WARNING:  database "nowhere" does not exist\n/, 'a database that is not there is told of');
is(() = slurp_file($node->logfile) =~ /database "nowhere"/g, 1, 'once');
unlike(slurp_file($node->logfile), qr/ERROR|FATAL/, 'one without the extension is none of its business');

# Settings
is($node->psql('postgres', q(ALTER SYSTEM SET idempotency.databases = 'a b')), 3, 'what is no list is refused');
is($node->psql('postgres', q(SET idempotency.databases = 'shop')), 3, 'a session cannot set it');
$node->safe_psql('postgres', q(ALTER SYSTEM SET idempotency.databases = 'other'));
$node->reload;
done_in('other', 'a change of the list is followed');
leave_work('shop', 'second');
leave_work('other', 'second');
done_in('other', 'there');
is($node->safe_psql('shop', 'SELECT count(*) FROM idempotency.hold'), 1, 'and what is not on it any more is left');
$node->safe_psql('postgres', q(ALTER SYSTEM RESET idempotency.databases));
$node->reload;
done_in('shop', 'till it is again');

# More holds than a transaction releases; a hold that is in use is left
$node->safe_psql('shop', q(SELECT count(idem_authorize('many ' || i, 100, expires_in => '1 second')) FROM generate_series(1, 2500) i));
my $client = Client->new($node, dbname => 'shop');
$client->do('BEGIN');
$client->do(q(SELECT idem_capture('capture', (SELECT payment_id FROM idem_lookup('many 7')), 10, final => false)));
ok($node->poll_query_until('shop', q(SELECT count(*) = 1 FROM idempotency.hold)), 'thousands are released');
is($node->safe_psql('shop', q(SELECT key FROM idempotency.hold)), 'many 7', 'but one that is in use');
$client->do(q(PREPARE TRANSACTION 'capture'));
$client->close;
leave_work('shop', 'third');
ok($node->poll_query_until('shop', q(SELECT status = 'expired' FROM idempotency.payment WHERE key = 'third')), 'nothing waits for it');
$node->safe_psql('shop', q(COMMIT PREPARED 'capture'));
try_again('shop');
done_in('shop', 'when that has ended, it is released');
is($node->safe_psql('shop', q(SELECT status || captured || released FROM idempotency.payment WHERE key = 'many 7')), 'succeeded10.0090.00', 'as far as it is held then');
is($node->safe_psql('shop', 'SELECT count(*) FROM idem_check() WHERE NOT ok'), 0, 'idem_check() finds nothing wrong');

# Settings of a database do not matter to the worker
$node->safe_psql('postgres', "ALTER DATABASE shop SET $_")
	for 'default_transaction_read_only = on', q(default_transaction_isolation = 'serializable'), q(statement_timeout = '1ms'),
	q(idempotency.in_flight = 'fail');
{
	local $ENV{PGOPTIONS} = '-c default_transaction_read_only=off -c statement_timeout=0';
	leave_work('shop', 'fourth');
	done_in('shop', 'it does not depend on the settings of the database');
}
$node->safe_psql('postgres', 'ALTER DATABASE shop RESET ALL');

# If one of the two tasks fails, the other is done all the same, and the first is tried again
$node->safe_psql('shop', q(CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'not today'; END$$;
	CREATE TRIGGER fail AFTER INSERT ON idempotency.operation FOR EACH ROW WHEN (NEW.kind = 'expire') EXECUTE FUNCTION fail()));
leave_work($_, 'fifth') for 'shop', 'Two words';
my $no_requests = $nothing_left =~ s/SELECT FROM idempotency.hold UNION ALL//r;
ok($node->poll_query_until('shop', $no_requests), 'requests are purged though a hold cannot be released');
done_in('Two words', 'and another database has its turn');
like(slurp_file($node->logfile), qr/WARNING:  could not release 1 of 1 holds that are due\n.*The first failure was that of payment [-0-9a-f]{36}, with SQLSTATE P0001 and message "not today"\.\n.*CONTEXT:.*maintenance of database "shop"/s,
	'which is logged');
$node->safe_psql('shop', q(DROP TRIGGER fail ON idempotency.operation; ALTER TABLE idempotency.hold ADD COLUMN mine text;
	SELECT idem_execute('fifth and a half', 'SELECT 1')));
ok($node->poll_query_until('shop', $no_requests), 'not even if nothing of it can be done');
like(slurp_file($node->logfile), qr/ERROR:  table "idempotency.hold" does not have the columns that the library expects/, 'which is logged, too');
$node->safe_psql('shop', 'ALTER TABLE idempotency.hold DROP COLUMN mine');
try_again('shop');
done_in('shop', 'it goes on when it can');

# An administrator's triggers fire as in any transaction, also if they are deferred
$node->safe_psql('shop', q(CREATE TABLE seen (key text);
	CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN INSERT INTO public.seen VALUES (NEW.key); RETURN NULL; END$$;
	CREATE CONSTRAINT TRIGGER see AFTER INSERT ON idempotency.operation DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION see()));
leave_work('shop', 'seen');
done_in('shop', 'a deferred trigger is in nobody\'s way');
is($node->safe_psql('shop', q(SELECT count(*) FROM seen WHERE key = 'idem_expire:seen')), 1, 'and fires');
$node->safe_psql('shop', 'DROP TRIGGER see ON idempotency.operation');

# The owner of a database gains no rights by setting traps for the worker: first, functions with those names that are made
# members of the extension; then, without the extension, a schema with its name, and tables like its own
$node->safe_psql('postgres', 'CREATE ROLE owner; CREATE DATABASE trap OWNER owner');
$node->safe_psql('trap', <<'SQL');
SET SESSION AUTHORIZATION owner;
CREATE SCHEMA s;
CREATE TABLE s.ran (as_role name);
CREATE FUNCTION s.run() RETURNS integer LANGUAGE plpgsql AS $$BEGIN INSERT INTO s.ran VALUES (current_user); RETURN 0; END $$;
CREATE FUNCTION s.idem_expire(x text) RETURNS integer LANGUAGE sql AS 'SELECT s.run()';
CREATE FUNCTION s.idem_purge(VARIADIC x integer[]) RETURNS integer LANGUAGE sql AS 'SELECT s.run()';
CREATE EXTENSION idempotency SCHEMA s;
ALTER EXTENSION idempotency ADD FUNCTION s.idem_expire(text);
ALTER EXTENSION idempotency ADD FUNCTION s.idem_purge(VARIADIC integer[]);
SELECT s.idem_authorize('trap', 100, expires_in => '1 microsecond');
SQL
$node->append_conf('postgresql.conf', q(idempotency.databases = 'trap, "Two words"'));
$node->reload;
ok($node->poll_query_until('trap', 'SELECT count(*) = 0 FROM idempotency.hold'), 'what is done is the extension\'s');
my @columns = map { $node->safe_psql('trap', "SELECT string_agg(format('%I %s %s', attname, format_type(atttypid, NULL), CASE WHEN attnotnull THEN 'NOT NULL' END), ', '
	ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'idempotency.$_'::regclass AND attnum > 0") } 'operation', 'hold';
$node->safe_psql('trap', <<"SQL");
SET SESSION AUTHORIZATION owner;
ALTER EXTENSION idempotency DROP FUNCTION s.idem_expire(text);
ALTER EXTENSION idempotency DROP FUNCTION s.idem_purge(VARIADIC integer[]);
DROP EXTENSION idempotency;
CREATE SCHEMA idempotency;
CREATE TABLE idempotency.operation ($columns[0], PRIMARY KEY (scope, payment_id, seq), UNIQUE (key, scope));
CREATE TABLE idempotency.hold ($columns[1], PRIMARY KEY (due_at, payment_id, scope));
CREATE FUNCTION s.note() RETURNS trigger LANGUAGE plpgsql AS \$\$BEGIN PERFORM s.run(); RETURN NULL; END \$\$;
CREATE TRIGGER note AFTER INSERT ON idempotency.operation FOR EACH ROW EXECUTE FUNCTION s.note();
INSERT INTO idempotency.operation (payment_id, created_at, seq, whole, scope, key, kind, amount, currency, authorized, captured, released, refunded, expires_at, role)
	VALUES ('01900000-0000-7000-8000-00000000000a', '2001-01-01', 1, false, '', 'k', 'authorize', 1, 'USD', 1, 0, 0, 0, '2001-01-02', 'owner');
DELETE FROM s.ran;
INSERT INTO idempotency.hold VALUES ('2001-01-02', '2001-01-02', '01900000-0000-7000-8000-00000000000a', '', 'k');
SQL
leave_work('Two words', 'after the trap');
done_in('Two words', 'a round has been made');
leave_work('Two words', 'once more');
done_in('Two words', 'and another one');
is($node->safe_psql('trap', 'SELECT count(*) FROM s.ran'), 0, 'nothing of the owner\'s has been run');
is($node->safe_psql('trap', 'SELECT count(*) FROM idempotency.hold'), 1, 'nor have his tables been touched');

# A worker that hangs times out, here even before it is connected, and the other databases have their turn
my $renamer = Client->new($node, dbname => 'postgres');
$node->append_conf('postgresql.conf', q(idempotency.databases = 'shop, "Two words"'));
$renamer->do('BEGIN');
$renamer->do('ALTER DATABASE shop RENAME TO elsewhere');
$node->reload;
my $from = -s $node->logfile;
leave_work('Two words', 'in spite of the other');
ok(Client::wait_until(sub { slurp_file($node->logfile, $from) =~ /maintenance of database "shop" timed out/ }),
	'a worker that hangs times out');
done_in('Two words', 'the next database has its turn');
$renamer->do('ROLLBACK');
$renamer->close;
leave_work('shop', 'after the other');
done_in('shop', 'and it itself, when it can be had');

# No process stays connected to a database
$node->append_conf('postgresql.conf', q(idempotency.databases = 'trap'));
$node->reload;
ok(!$node->psql('postgres', 'DROP DATABASE trap'), 'a database on the list can be dropped');
is($node->safe_psql('postgres', $launchers), 1, 'which the launcher outlives');

# Crashes: of the launcher, and of the server
$node->append_conf('postgresql.conf', q(idempotency.databases = 'shop'));
$node->reload;
my $pid = $node->safe_psql('postgres', q(SELECT pid FROM pg_stat_activity WHERE backend_type = 'idempotency launcher'));
is(kill('KILL', $pid), 1, 'kill -9 of the launcher');
ok($node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'idempotency launcher' AND pid <> $pid"),
	'there is another one');
leave_work('shop', 'sixth');
done_in('shop', 'which does the work');
$node->stop('immediate');
$node->start;
leave_work('shop', 'seventh');
done_in('shop', 'so it does after a crash');

# A standby has no launcher until it is promoted
$node->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'backup', has_streaming => 1);
$standby->start;
is($standby->safe_psql('postgres', $launchers), 0, 'there is no launcher on a standby');
$node->append_conf('postgresql.conf', q(idempotency.databases = ''));
$node->reload;
leave_work('shop', 'eighth');
$node->wait_for_catchup($standby);
$node->stop('immediate');
$standby->promote;
ok($standby->poll_query_until('shop', $nothing_left), 'once it is promoted, there is one at work');
unlike(slurp_file($standby->logfile), qr/ERROR|PANIC|TRAP/, 'without an error');

# The launcher does not delay a shutdown
$standby->stop('fast');
ok(!-e $standby->data_dir . '/postmaster.pid', 'and stops with the server');
unlike(slurp_file($standby->logfile), qr/FATAL:  terminating background worker "idempotency launcher/, 'which is no failure');
done_testing();
