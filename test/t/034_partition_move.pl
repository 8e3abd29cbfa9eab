# Partitions are moved to another server by idempotency-move-partition, while clients pay through two routers. Is any
# receipt lost that a client has got? Does one change? Is anything booked twice?
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Client;
use IPC::Run;
use Payers;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Router;
use Test::More;

use constant CLIENTS => 8;
use constant ENOUGH => 60;	# operations between two steps
use constant MOVE_LIMIT => 100;	# how long the program may take, in seconds

my $missing = Router::missing();
plan skip_all => $missing if $missing;

# Partition 0 is on one server; 1, 2 and 3 are on another. 1 and 3 will move to its standby.
my ($home, $old) = map { PostgreSQL::Test::Cluster->new($_) } qw(home old);
for ($home, $old)
{
	$_->init(allows_streaming => 1);
	$_->append_conf('postgresql.conf', "max_connections = 200\nmax_prepared_transactions = 5\nlog_statement = none\nlog_min_error_statement = panic");
	$_->start;
}
my $router = Router->new($home, $home, $old, $old, $old);
my $second = $router->another('router2');
my ($staying, @moving) = (2, 1, 3);

$old->backup('backup');
my $new = PostgreSQL::Test::Cluster->new('new');
$new->init_from_backup($old, 'backup', has_streaming => 1);
$new->append_conf('postgresql.conf', "cluster_name = 'new'");
$new->start;

my @routers = map { $home->connstr($_) } qw(router router2);
my %sessions = map { $_->name => Client->new($_) } $home, $old, $new;

# The program's arguments. Those that are given replace these.
sub command
{
	my (%given) = @_;
	my %is = (from => $old->connstr('postgres'), to => $new->connstr('postgres'), connection => place(), %given);
	my $more = delete $is{more} // [];
	my $partitions = delete $is{partitions} // [ map { "$_=pay$_" } @moving ];
	my $routers = delete $is{routers} // \@routers;
	return ('idempotency-move-partition', (map { ("--$_", $is{$_}) } sort keys %is), (map { ('--router', $_) } @$routers), @$more, @$partitions);
}

# How routers connect to the new server.
sub place { return 'host=' . $new->host . ' port=' . $new->port }

# Runs the program: its status, and what it writes.
sub move
{
	my @command = command(@_);
	my ($out, $err) = ('', '');
	IPC::Run::run(\@command, '<', \undef, '>', \$out, '2>', \$err, IPC::Run::timeout(MOVE_LIMIT));
	note "$out$err";
	return ($? >> 8, "$out$err");
}

sub databases
{
	my ($server) = @_;
	return $sessions{$server}->value(q(SELECT string_agg(datname || CASE WHEN datallowconn THEN '' ELSE ' closed' END, ', ' ORDER BY datname)
		FROM pg_database WHERE datname ~ 'pay'));
}

# What a router knows: partition, and where it is.
sub places { return $_[0]->client->value('SELECT string_agg(p::text, $1 ORDER BY p) FROM idempotency_router.partitions() p', "\n") }

#-----------------------------------------------------------------------------------------------------
# What is refused
#-----------------------------------------------------------------------------------------------------

my $before = join("\n", databases('old'), places($router), places($second));
sub unchanged { return is(join("\n", databases('old'), places($router), places($second)), $before, 'and nothing is changed') }

{
	my $holder = $router->partition(3);
	$holder->do('BEGIN');
	$holder->row('SELECT key FROM idem_pay($1, 1, scope => $2)', 'prepared', $router->scope_on(3));
	$holder->do(q(PREPARE TRANSACTION 'a payment'));
	my ($status, $text) = move();
	is($status, 1, 'a database with a prepared transaction is refused');
	like($text, qr/"pay3" has prepared transactions: 'a payment'.*COMMIT PREPARED/s, 'and the error says which');
	unchanged();
	$holder->do(q(ROLLBACK PREPARED 'a payment'));
}
for (
	[ 'a server that is no standby' => qr/not a standby.*pg_basebackup/s, to => $home->connstr('postgres') ],
	[ 'the old server as the new one' => qr/not a standby/, to => $old->connstr('postgres') ],
	[ 'the standby as the old server' => qr/the old server is a standby itself/, from => $new->connstr('postgres') ],
	[ 'a router that does not answer' => qr/router 3 cannot be asked/, routers => [ @routers, $home->connstr('nothing') ] ],
	[ 'the database of another partition' => qr/partition 1 is not in database "pay2"/, partitions => ['1=pay2'] ],
	[ 'a database that is not there' => qr/no database "pay0" on the old server/, partitions => ['0=pay0'] ],
	[ 'a connection that says who connects' => qr/must not say who connects/, connection => place() . ' user=postgres' ])
{
	my ($what, $message, @arguments) = @$_;
	my ($status, $text) = move(@arguments);
	is($status, 1, "$what is refused");
	like($text, $message, 'and the error says why');
	unchanged();
}
is((move(connection => place() . ' dbname=x'))[0], 2, 'a connection with a database is an error');
{
	# The new server is the one that commits wait for.
	$sessions{old}->do(q(ALTER SYSTEM SET synchronous_standby_names = 'new'));
	$sessions{old}->row('SELECT pg_reload_conf()');
	ok(Client::wait_until(sub { $sessions{old}->value(q(SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync')) }), 'the standby is synchronous');
	my ($status, $text) = move();
	is($status, 1, 'then the move is refused');
	like($text, qr/wait for the new server, and for no other/, 'because commits of partitions that stay would wait for ever');
	$sessions{old}->do('ALTER SYSTEM RESET synchronous_standby_names');
	$sessions{old}->row('SELECT pg_reload_conf()');
	ok(Client::wait_until(sub { !$sessions{old}->value(q(SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync')) }), 'it is not any more');

	$sessions{new}->do(q(ALTER SYSTEM SET synchronous_standby_names = '*'));
	$sessions{new}->row('SELECT pg_reload_conf()');
	ok(Client::wait_until(sub { Client->new($new)->value('SHOW synchronous_standby_names') }), 'the new server has synchronous_standby_names');
	($status, $text) = move();
	is($status, 1, 'but no standby, and the move is refused');
	like($text, qr/commits would wait for ever/, 'because its commits would wait for ever');
	$sessions{new}->do('ALTER SYSTEM RESET synchronous_standby_names');
	$sessions{new}->row('SELECT pg_reload_conf()');
	ok(Client::wait_until(sub { !Client->new($new)->value('SHOW synchronous_standby_names') }), 'it has them no more');
}
{
	my ($status, $text) = move(more => ['--dry-run']);
	is($status, 0, 'otherwise a dry run is content');
	unchanged();
}

#-----------------------------------------------------------------------------------------------------
# The move
#-----------------------------------------------------------------------------------------------------

my $payers = Payers->start(CLIENTS, $router, $second);
END { $payers->kill_all if $payers && $payers->{clients} }

# Waits until clients have made some more operations on a partition.
sub progress
{
	my ($i) = @_;
	my $p = $router->partition($i);
	my $found = $p->value('SELECT count(*) FROM idempotency.operation');
	return Client::wait_until(sub { $p->value('SELECT count(*) FROM idempotency.operation') > $found + ENOUGH });
}

# RENAME waits for this lock. Clients that start do not.
sub hold_rename
{
	my ($i) = @_;
	my $holder = Client->new($old);
	$holder->do('BEGIN');
	$holder->do("COMMENT ON DATABASE pay$i IS 'a lock'");
	return $holder;
}

# Starts the program, and waits until it waits for that lock. It writes to a file: if it is killed, a psql of it goes on, and
# would keep a pipe open.
my $run;
my $text_file = PostgreSQL::Test::Utils::tempdir() . '/move';
sub start_move
{
	my @command = command(@_);
	$run = IPC::Run::start(\@command, '<', '/dev/null', '>', $text_file, '2>&1', IPC::Run::timeout(MOVE_LIMIT));
	my $renaming = q(SELECT count(*) FROM pg_stat_activity a WHERE state = 'active' AND query ~ 'RENAME' AND pid <> pg_backend_pid());
	ok(Client::wait_until(sub { $sessions{old}->value($renaming) }), 'the databases are being fenced');
	return;
}

ok(progress($_), "clients pay on partition $_") for 0 .. 3;
{
	my $holder = hold_rename($moving[0]);
	my ($status, $text) = move(timeout => 2);
	is($status, 1, 'a move that cannot go on fails');
	like($text, qr/"pay1" cannot be renamed.*"pay1" is open on the old server again.*"pay3" is open/s, 'and opens the databases again');
	unchanged();
	$holder->do('ROLLBACK');
	ok(progress($_), "clients pay on partition $_ again") for @moving;
	is(Client->new($new)->value('SHOW default_transaction_read_only'), 'off', 'the standby has the settings that it had');
}
{
	# The standby stops replaying at the worst moment.
	my $holder = hold_rename($moving[0]);
	start_move(timeout => 15);
	$sessions{new}->row('SELECT pg_wal_replay_pause()');
	$holder->do('ROLLBACK');
	$run->finish;
	my $text = slurp_file($text_file);
	note $text;
	isnt($run->result(0), 0, 'a move whose fence does not get to the new server fails');
	like($text, qr/has not replayed the fence.*"pay1" is open on the old server again.*"pay3" is open/s, 'and takes the fence back');
	unchanged();
	$sessions{new}->row('SELECT pg_wal_replay_resume()');
	ok(progress($_), "clients pay on partition $_ again") for @moving;
}

# The program is killed, and started again.
my @holders = map { hold_rename($_) } @moving;
start_move();
$run->signal('KILL');
$run->finish;
$holders[0]->do('ROLLBACK');
my $others = q(SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'psql');
ok(Client::wait_until(sub { !$sessions{old}->value($others) }), 'its last statement ends');
start_move();
ok(Client::wait_until(sub { databases('old') eq 'pay1_moved closed, pay2, pay3 closed' }), 'nobody can connect to the databases that move');
ok(progress($_), "meanwhile clients pay on partition $_") for 0, $staying;
{
	my ($status, $text) = move();
	is($status, 1, 'the program does not run twice at a time');
	like($text, qr/somebody else is moving/, 'and says so');
}
# A router that cannot be reached later.
$sessions{home}->do('ALTER DATABASE router2 ALLOW_CONNECTIONS false');
$holders[1]->do('ROLLBACK');
$run->finish;
note slurp_file($text_file);
isnt($run->result(0), 0, 'a router could not be told');
like(slurp_file($text_file), qr/router 2 was not told; its calls to these partitions fail with 08001.*Run the same command again/s, 'and the error says which');
is(databases('old'), 'pay1_moved closed, pay2, pay3_moved closed', 'on the old server, the databases are fenced');
is(databases('new'), 'pay1, pay2 closed, pay3', 'on the new one they are open, and the stale copy is closed');
$router->{nodes}[$_] = $new for @moving;
ok(progress($_), "through the other router, clients pay on partition $_") for @moving;
$sessions{home}->do('ALTER DATABASE router2 ALLOW_CONNECTIONS true');
{
	my ($status, $text) = move();
	is($status, 0, 'run again, the program finishes');
	like(places($second), qr/^\(1,"\Q${\place()}\E dbname=pay1"\)$/m, 'the router has been told');
}
ok(progress($_), "clients pay on partition $_") for 0 .. 3;

$before = join("\n", databases('old'), databases('new'), places($router), places($second));
{
	my ($status, $text) = move();
	is($status, 0, 'run again, the program is content');
	is(join("\n", databases('old'), databases('new'), places($router), places($second)), $before, 'and does nothing');
}
ok(progress($_), "clients still pay on partition $_") for 0 .. 3;
{
	my ($status, $text) = move(partitions => ['2=pay2']);
	is($status, 1, 'a partition that was left behind cannot follow');
	like($text, qr/not a standby/, 'because the new server is no standby any more');
}

#-----------------------------------------------------------------------------------------------------
# What is there now
#-----------------------------------------------------------------------------------------------------

$payers->finish;
$payers->check;
is($payers->errors_of($_), 0, "partition $_ has answered all the time") for 0, $staying;
cmp_ok($payers->errors_of($_), '>', 0, "partition $_ has not") for @moving;

# What is on the old server is on the new one. So nothing was written there after the fence.
for my $i (@moving)
{
	$sessions{old}->do("ALTER DATABASE pay${i}_moved ALLOW_CONNECTIONS true");
	my ($there, $here) = map { { map { ($_ => 1) } @{ $_->{dbh}->selectcol_arrayref('SELECT o::text FROM idempotency.operation o UNION ALL SELECT e::text FROM idempotency.entry e') } } }
		Client->new($old, dbname => "pay${i}_moved"), Client->new($new, dbname => "pay$i");
	cmp_ok(scalar(keys %$there), '<', scalar(keys %$here), "partition $i has gone on on the new server");
	delete @$there{ keys %$here };
	is(scalar(keys %$there), 0, 'and all that the old server has is there, unchanged');
}

$_->stop for $new, $old, $home;
done_testing();
