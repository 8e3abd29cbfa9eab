# pgaudit records what the functions write, as it records an INSERT: in its class WRITE, and for its role on the tables.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

chomp(my $library = `pg_config --pkglibdir`);
plan skip_all => 'pgaudit is not installed' if !-e "$library/pgaudit.so";

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', <<'CONF');
shared_preload_libraries = 'pgaudit, idempotency'
pgaudit.log = 'write, ddl'
pgaudit.log_client = on
pgaudit.log_level = notice
CONF
$node->start;
$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION idempotency;
CREATE ROLE app LOGIN;
CREATE ROLE auditor;
SELECT idem_grant('app');
GRANT USAGE ON SCHEMA idempotency TO auditor;
GRANT INSERT ON idempotency.operation, idempotency.request_0, idempotency.request_1, idempotency.request_2 TO auditor;
SQL

# The records that statements leave, without their numbers, their parameters and a last semicolon; and the errors.
sub records
{
	my ($sql, @options) = @_;
	my ($stdout, $stderr);
	$node->psql('postgres', $sql, stdout => \$stdout, stderr => \$stderr, on_error_stop => 0, extra_params => \@options);
	my @records;
	for (split /\n/, $stderr)
	{
		push @records, /(ERROR: .*)/ ? $1 : /AUDIT: (\w+),\d+,\d+,(.*?);?,<not logged>/ ? "$1,$2" =~ s/request_\d/request/gr : ();
	}
	return \@records;
}

sub written
{
	return map { "SESSION,WRITE,INSERT,,,INSERT INTO idempotency.$_" } @_;
}

# Session auditing

is_deeply(records(q(SELECT idem_pay('pay', 10))), [ written('operation') ], 'a payment is a write');
is_deeply(records(q(SELECT idem_pay('pay', 10))), [], 'a replay is none');
is_deeply(records(q(SELECT idem_pay('app', 10)), '-U', 'app'), [ written('operation') ], 'no right on the table is needed');
is_deeply(records(q(SELECT idem_pay('no-money', -10))), ['ERROR:  amount must not be negative'], 'a refused call writes nothing');
is_deeply(records(q(SELECT idem_authorize('hold', 10))), [ written('operation', 'hold') ], 'a hold, too');
is_deeply(records(q(SELECT count(*) FROM idem_pay_batch(array(SELECT 'b' || g FROM generate_series(1, 200) g), array_fill(1.0, '{200}')))),
	[ written('operation') ], 'a batch is one write');
is_deeply(records(q(SELECT idem_pay('each-' || g, 10) FROM generate_series(1, 3) g)), [ written(('operation') x 3) ],
	'of three calls in a statement, each is one');
is_deeply(records(q(SELECT idem_begin('request', lease => '1 hour'))), [ written('request') ], 'so is a request');
is_deeply(records(q(BEGIN; SELECT idem_begin('r'); SELECT idem_pay('in-r', 1); SELECT idem_complete('r', '{}'); COMMIT)),
	[ written('operation', 'request') ], 'and one whose row is written at its end');

# The same in the places where pgaudit may have a statement on its stack, several, or none

is_deeply(records(q(DO $$ DECLARE r idem_receipt; BEGIN r := idem_pay('expression', 10); END $$)), [ written('operation') ],
	'in an expression of PL/pgSQL');
is_deeply(records(q(BEGIN; DECLARE c CURSOR FOR SELECT idem_pay('cursor-' || g, 10) FROM generate_series(1, 3) g;
	FETCH 1 FROM c; SET work_mem = '5MB'; FETCH 1 FROM c; CREATE TEMP TABLE t (); COMMIT)),
	[ written(('operation') x 2), 'SESSION,DDL,CREATE TABLE,,,CREATE TEMP TABLE t ()' ], 'in a cursor, with commands between');
$node->safe_psql('postgres', q(
	CREATE PROCEDURE twice() LANGUAGE plpgsql AS $$ BEGIN
		PERFORM idem_pay('procedure-1', 10); COMMIT; PERFORM idem_pay('procedure-2', 10); END $$;
	CREATE TABLE cart (id int);
	CREATE FUNCTION pay_cart() RETURNS trigger LANGUAGE plpgsql AS $$ DECLARE r idem_receipt; BEGIN
		r := idem_pay('cart-' || NEW.id, 10); RETURN NULL; END $$;
	CREATE CONSTRAINT TRIGGER pay_cart AFTER INSERT ON cart DEFERRABLE INITIALLY DEFERRED
		FOR EACH ROW EXECUTE FUNCTION pay_cart()));
is_deeply(records('CALL twice()'), [ written(('operation') x 2) ], 'in a procedure that commits');
is_deeply(records('INSERT INTO cart VALUES (1)'), [ 'SESSION,WRITE,INSERT,,,INSERT INTO cart VALUES (1)', written('operation') ],
	'in a trigger at the end of a transaction');
is_deeply(records(q(PREPARE p AS SELECT idem_pay($1, 10); EXECUTE p('prepared'); EXECUTE p('prepared'); EXPLAIN ANALYZE EXECUTE p('explained'))),
	[ written(('operation') x 2) ], 'in a prepared statement, and in EXPLAIN ANALYZE');
is_deeply(records(q(SELECT idem_execute('x', $$SELECT idem_pay('executed', 10)$$))), [ written('operation', 'request') ],
	'in a command of idem_execute');

# An error after the record leaves pgaudit as it was.
$node->safe_psql('postgres', q(ALTER TABLE idempotency.operation ADD CHECK (key <> 'refused')));
is_deeply(records(q(BEGIN; SAVEPOINT s; SELECT idem_pay('refused', 10); ROLLBACK TO s; SELECT idem_pay('after', 10); COMMIT;
	SELECT outcome FROM idem_pay_batch('{refused, accepted}', '{1, 1}'); SELECT idem_pay('last', 10))),
	[
		written('operation'), 'ERROR:  new row for relation "operation" violates check constraint "operation_key_check"',
		written(('operation') x 3)
	],
	'after an error it goes on');

# Object auditing

is_deeply(records(q(SET pgaudit.log = 'none'; SET pgaudit.role = 'auditor';
	SELECT idem_pay('object', 10); SELECT idem_authorize('object-hold', 10); SELECT outcome FROM idem_pay_batch('{object-b}', '{10}');
	SELECT idem_begin('object', lease => '1 hour'))),
	[ map { "OBJECT,WRITE,INSERT,TABLE,idempotency.$_,INSERT INTO idempotency.$_" } ('operation') x 3, 'request' ],
	'the tables on which the role of pgaudit has INSERT are audited');

# Other settings of pgaudit

is_deeply(records(q(SET pgaudit.log = 'all, -misc'; SELECT idem_pay('all', 10))),
	[
		q(SESSION,READ,SELECT,,,"SELECT idem_pay('all', 10)"),
		q(SESSION,FUNCTION,EXECUTE,FUNCTION,public.idem_pay,"SELECT idem_pay('all', 10)"),
		written('operation')
	],
	'the call itself is recorded as ever');
is_deeply(records(q(SET pgaudit.log_relation = on; SELECT idem_pay('relation', 10))),
	[ 'SESSION,WRITE,INSERT,TABLE,idempotency.operation,INSERT INTO idempotency.operation' ], 'with the name of the table');
is_deeply(records(q(SET pgaudit.log_rows = on; SELECT idem_pay('rows', 10); SELECT idem_authorize('rows-2', 10))),
	[ written('operation', 'operation', 'hold') ], 'with the number of rows');

# pgaudit leaves out what a role does in a function that runs as another one.
$node->safe_psql('postgres', q(CREATE FUNCTION pay_as_owner(key text) RETURNS idem_receipt LANGUAGE sql SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp AS 'SELECT public.idem_pay(key, 10)'));
is_deeply(records(q(SELECT pay_as_owner('definer')), '-U', 'app'), [], 'nothing that is written by SECURITY DEFINER is recorded');
$node->safe_psql('postgres', q(ALTER ROLE app SET pgaudit.log = 'function'));
is_deeply(records(q(SELECT pay_as_owner('definer-2')), '-U', 'app'),
	[
		q(SESSION,FUNCTION,EXECUTE,FUNCTION,public.pay_as_owner,SELECT pay_as_owner('definer-2')),
		q(SESSION,FUNCTION,EXECUTE,FUNCTION,public.idem_pay,"SELECT public.idem_pay(key, 10)")
	],
	'but its call is');

# The worker has no statement at all.
my $offset = -s $node->logfile;
$node->append_conf('postgresql.conf', "pgaudit.log_client = off\nidempotency.databases = 'postgres'\nidempotency.naptime = 1\n");
$node->reload;
$node->safe_psql('postgres', q(SELECT idem_authorize('expired', 10, expires_in => '1 microsecond')));
ok($node->poll_query_until('postgres', q(SELECT count(*) = 0 FROM idempotency.hold WHERE key = 'expired')), 'the worker works');
my $log = slurp_file($node->logfile, $offset);
like($log, qr/AUDIT: SESSION,\d+,\d+,WRITE,INSERT,,,INSERT INTO idempotency.operation,/, 'its inserts are recorded');
like($log, qr/AUDIT: SESSION,\d+,\d+,WRITE,DELETE,,,DELETE FROM idempotency.hold,/, 'and its deletes');
is_deeply([ $log =~ /(?:ERROR|FATAL|PANIC|WARNING): .*/g ], [], 'without an error');

$node->stop;
done_testing();
