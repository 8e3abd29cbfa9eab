# What drivers make of JSON, amounts and null, and what a pooler makes of settings. The programs are in test/drivers.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('drivers');
$node->init;
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION idempotency');
$ENV{PGHOST} = $node->host;
$ENV{PGPORT} = $node->port;
$ENV{PGDATABASE} = 'postgres';
chomp($ENV{PGUSER} = $node->safe_psql('postgres', 'SELECT current_user'));

# Runs a program and compares its lines with these.
sub prints
{
	my ($command, $expected) = @_;
	my ($stdout, $stderr);
	my $ok = IPC::Run::run($command, '<', \undef, '>', \$stdout, '2>', \$stderr, IPC::Run::timeout(120));
	ok($ok, "$command->[1] ends well") or diag $stderr;
	is($stdout, $expected, "$command->[1] prints what is expected");
	return;
}

my $python = $ENV{PYTHON} // '/usr/bin/python3';

prints([ $python, 'test/drivers/drivers.py' ], <<'LINES');
psycopg, request as Json: new
psycopg, request as Jsonb: new
psycopg, request as str: new
psycopg, request as bytes: new
psycopg, response as Jsonb: 
psycopg, response as Json: 
psycopg, the response: true
psycopg, metadata as Json: 1
psycopg, metadata as Jsonb: True
psycopg, args as a list: Bob
psycopg, amount as Decimal: 1234567.89
psycopg, amount as str: 1234567.89
psycopg, amount as float: 42883
psycopg, amount as None: 22004
asyncpg, amount as Decimal: 50.00
asyncpg, amount as float: 22003
asyncpg, amount as None: 22004
asyncpg, metadata as str: 1
asyncpg, another amount: ID422 (called fatal)
asyncpg, the connection is not lost: 50.00
LINES

prints([ 'node', 'test/drivers/drivers.mjs' ], <<'LINES');
pg, request as text: new
pg, another request: 
pg, request {} is not []: ID422
pg, response as text: 
pg, the response: [1]
pg, args as an array: [{"room":8,"guest":"Bob"}]
pg, args as no array: [{"one":1}]
pg, numbers as numbers: [{"id":9007199254740992,"amount":0.1}]
pg, numbers as text: [{"id":"9007199254740993","amount":"0.10"}]
pg, amount as text: 1234567.89
pg, amount as a number: 22003
pg, amount undefined: 22004
pg, metadata as an object: {"a":1}
postgres.js, request as sql.json(): new
postgres.js, the same request: ID409
postgres.js, request as an object: 22023
postgres.js, response as sql.json(): 
postgres.js, metadata as sql.json(): {"a":1}
postgres.js, amount as text: 1234567.89
postgres.js, amount null: 22004
LINES

# PgBouncer gives one server connection to both clients. Its settings are those that a client left.
SKIP:
{
	my $pgbouncer = (grep { -x } map { "$_/pgbouncer" } split(/:/, $ENV{PATH}), '/usr/sbin')[0];
	skip 'there is no pgbouncer', 2 unless $pgbouncer;

	my $dir = PostgreSQL::Test::Utils::tempdir_short;
	my $port = PostgreSQL::Test::Cluster::get_free_port();
	append_to_file("$dir/users", qq("$ENV{PGUSER}" ""\n));
	append_to_file("$dir/ini", <<"INI");
[databases]
postgres = host=$ENV{PGHOST} port=$ENV{PGPORT} dbname=postgres
[pgbouncer]
listen_addr =
listen_port = $port
unix_socket_dir = $dir
auth_type = trust
auth_file = $dir/users
pool_mode = transaction
default_pool_size = 1
logfile = $dir/log
pidfile = $dir/pid
INI
	$node->safe_psql('postgres', 'ALTER DATABASE postgres SET idempotency.require_scope = on');
	is(system($pgbouncer, '-q', '-d', "$dir/ini"), 0, 'pgbouncer starts');
	local $ENV{PGHOST} = $dir;
	local $ENV{PGPORT} = $port;
	prints([ $python, 'test/drivers/pooler.py' ], <<'LINES');
no scope: 22004
a scope: False
too large a refund: ID412
no scope, another setting: 22004
a scope, another setting: True
the key of the refund: 0
LINES
	chomp(my $pid = slurp_file("$dir/pid"));
	kill 'INT', $pid;
}

$node->stop;
done_testing();
