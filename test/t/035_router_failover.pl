# A partition of a router fails over, while clients pay through the router. Is any receipt lost that a client has got? Does
# one change? Is anything booked twice? Do other partitions go on?
#
# The partition is a pair of nodes of pg_auto_failover. The router finds the primary by its connection string.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use AutoFailover;
use Client;
use Payers;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Router;
use Test::More;
use Time::HiRes qw(time);

use constant CLIENTS => 6;
use constant DRILL_LIMIT => 240;	# how long all may take, in seconds
use constant ENOUGH => 100;	# operations between two kills

# What happens to the primary, in this order.
my @rounds = (
	[ 'its server dies, by SIGKILL' => \&kill_server ],
	[ 'its server and its keeper die, while the standby hears nothing' => \&kill_unheard ],
	[ 'a planned switch' => \&switch_over ]);

# IDEM_FAILOVER: test/bin/setup sets it where pg_auto_failover must be installed.
my $missing = Router::missing();
plan skip_all => $missing if $missing;
$missing = AutoFailover::missing();
plan skip_all => $missing if $missing && !$ENV{IDEM_FAILOVER};
die "$missing\n" if $missing;

my $began = time();
my $cluster = AutoFailover->start;
my ($primary, $standby) = $cluster->ready;
$primary->client->do('CREATE EXTENSION idempotency');
note sprintf('primary and standby after %.0f s', time() - $began);

my $home = PostgreSQL::Test::Cluster->new('home');
$home->init;
$home->append_conf('postgresql.conf', "max_connections = 100\nlog_statement = none\nlog_min_error_statement = panic");
$home->start;
my $router = Router->new($home, $cluster, $home);

my $payers = Payers->start(CLIENTS, $router);
END { $payers->kill_all if $payers && $payers->{clients} }

my $failovers = 0;
for my $round (@rounds)
{
	my ($what, $do) = @$round;
	ok(progress(), "clients pay on the partition; $what");
	($primary, $standby) = $cluster->wait_till_ready(left());
	note sprintf('%.0f s: the primary is %s', time() - $began, $primary->name);
	$do->();
	my ($now) = $cluster->wait_till_ready(left());
	$failovers++ if $now != $primary;
	$primary = $now;
}
ok(progress(), 'after all of it, clients pay on the partition');
cmp_ok($failovers, '>=', 1, 'the standby has taken over');

$payers->finish;
if ($cluster->went_alone)
{
	note 'pg_auto_failover has let the primary go on alone, so receipts may be lost';
	is($primary->value('SELECT count(*) FROM idem_check() c WHERE NOT ok'), 0, 'idem_check finds nothing wrong');
	$cluster->stop;
	$home->stop;
	done_testing();
	exit;
}
$payers->check;
is($payers->errors_of(1), 0, 'the other partition has answered all the time');
cmp_ok($payers->errors_of(0), '>', 0, 'this one has not');

note sprintf('%.0f s in all', time() - $began);
$cluster->stop;
$home->stop;
done_testing();

# How long a wait may still take, in seconds. Each wait has a limit, and all of them together, too.
sub left
{
	my $left = $began + DRILL_LIMIT - time();
	die "the drill takes too long\n" if $left <= 0;
	return $left < AutoFailover::READY_LIMIT ? $left : AutoFailover::READY_LIMIT;
}

# Waits until clients have made some more operations on the partition.
sub progress
{
	my $operations = sub { return $primary->value('SELECT count(*) FROM idempotency.operation') };
	($primary) = $cluster->wait_till_ready(left());
	my $found = $operations->();
	return Client::wait_until(sub { ($operations->() // 0) > $found + ENOUGH }, left());
}

#-----------------------------------------------------------------------------------------------------
# What happens to the primary
#-----------------------------------------------------------------------------------------------------

# The keeper starts the server again, or the monitor is faster and promotes the standby. SIGKILL leaves the router no
# message: it finds the end of the connection.
sub kill_server
{
	my $was = $primary->up_since;
	$primary->kill_server('KILL');
	ok(Client::wait_until(sub { ($primary->up_since // $was) ne $was }, left()), 'it is started again');
	return;
}

# Payments wait for the standby, and only the primary has them. Clients give up waiting, and send these payments again. Then
# the primary dies, and the standby takes over without them.
sub kill_unheard
{
	my $receiver = $standby->value('SELECT pid FROM pg_stat_wal_receiver') // die "no walreceiver\n";
	kill('STOP', $receiver);
	my $waiting = sub { ($primary->value(q(SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query ~ 'idem_')) // 0) > CLIENTS };
	my $ok = eval {
		# There are more such sessions than clients: some clients have sent a payment again.
		ok(Client::wait_until($waiting, left()), 'clients send payments again that wait for the standby');
		$primary->kill_all;
		1;
	};
	my $error = $@;
	# What was sent to the standby, and not read by it, is lost, as on a network.
	kill('TERM', $receiver);
	kill('CONT', $receiver);
	die $error unless $ok;
	# If the monitor takes the standby for unhealthy at that moment, it waits for the other node instead.
	Client::wait_until(sub { $cluster->is_primary($standby) }, left() / 2) or note 'the standby does not take over';
	$primary->restart;
	return;
}

# Both nodes live, and the administrator makes the other one the primary.
sub switch_over
{
	$cluster->switch_over;
	ok(Client::wait_until(sub { $cluster->is_primary($standby) }, left()), 'the standby takes over');
	return;
}
