# Many clients move money between a few accounts, in transactions of all kinds, while sessions are killed and the server
# crashes. Is every balance the sum of its entries, in every snapshot, on a standby, too? Is no limit ever passed?
#
# In a round, clients play random transactions (Bookkeeper.pm) on the accounts of a scope of its own. Meanwhile, a
# session on each server takes snapshots. After the round, the entries are compared with each other, and with the
# operations.
#
# IDEM_SECONDS=n plays for n seconds. SEED=n plays what seed n played; what meets what depends on the machine.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Bookkeeper;
use Client;
use Entries;
use List::Util qw(max);
use Model;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes ();

use constant CLIENTS => 8;
use constant ROUND => 15;		# seconds, about

my $seconds = $ENV{IDEM_SECONDS} || 25;
my $seed = $ENV{SEED} || 1 + int(rand(2**31));
note "seed $seed";

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(allows_streaming => 1);
$node->append_conf('postgresql.conf', <<'CONF');
log_statement = none
log_min_messages = log
log_checkpoints = off
log_min_error_statement = log
log_lock_waits = on
deadlock_timeout = 20ms
max_connections = 60
max_prepared_transactions = 50
synchronous_commit = on
track_commit_timestamp = on
restart_after_crash = on
CONF
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION idempotency');
$node->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'backup', has_streaming => 1);
$standby->start;

my (%did, $scope, $control);
my $log_read = 0;
my $wrong;
my $rounds = max(1, int($seconds / ROUND + 0.5));
Bookkeeper::set_up($node, $seed);
for my $round (1 .. $rounds)
{
	$scope = "round $round";
	eval { play_round($round); 1 } or $wrong = "round $round: $@";
	last if $wrong;
}
ok(!$wrong, 'every balance is the sum of its entries, and no limit is passed') or diag($wrong);
note join(', ', map { "$_: $did{$_}" } sort keys %did);

if (!$wrong)
{
	is($control->value('SELECT count(*) FROM idem_check() WHERE NOT ok'), 0, 'idem_check finds nothing wrong');
	my @missed = grep { !$did{$_} } '40001', 'COMMIT', 'ID402', 'ID412', 'RELEASE', 'ROLLBACK', 'ROLLBACK TO', 'authorize', 'cancel',
		'batch 22023', 'batch ID402', 'batch ID404', 'batch ID412', 'batch ID422', 'batch new', 'batch replayed',
		'capture', 'capture_batch', 'change', 'closed', 'declined ID402', 'declined ID412', 'entries of a subtransaction after others',
		'entries with open', 'expire', 'expired', 'gaps', 'increase', 'killed', 'limits changed', 'look', 'lost', 'missing numbers',
		'pay', 'pay_batch', 'post', 'post 22023', 'prepared', 'refund', 'refund_batch', 'replayed', 'reversal', 'server stopped',
		'several entries of a subtransaction', 'snapshots', 'snapshots of the standby', 'straggled', 'void', 'went on while closed';
	is(join(', ', @missed), '', 'there was all that is to be tried');
	dump_and_restore();
}
diag("To play the same again: make test TESTS=030_accounts SEED=$seed SECONDS=$seconds")
	unless Test::More->builder->is_passing;

$standby->stop;
$node->stop;
done_testing();

sub play_round
{
	my ($round) = @_;
	$control = Client->new($node);
	while (my ($name, $account) = each %Bookkeeper::accounts)
	{
		$control->row('SELECT name FROM idem_account_open($1, $2, $3, $4, scope => $5)', $name, @$account[0 .. 2], $scope);
	}
	my $end = Time::HiRes::time() + $seconds / $rounds;
	my @clients = Client::start(CLIENTS, sub { Bookkeeper->play($round, @_, CLIENTS, $end, $seconds / $rounds / 5) }, $seed);
	my @monitors = map {
		my $server = $_;
		Client::start(1, sub { watch($server, $end) }, $seed);
	} $node, $standby;
	if (!eval { make_trouble($round, $end, @clients); 1 })
	{
		my $error = $@;
		kill('TERM', map { $_->{pid} } @clients, @monitors);
		die $error;
	}
	my @results = Client::finish(@clients);
	my @watched = Client::finish(@monitors);
	for my $result (@results, @watched)
	{
		die $result->{wrong} if defined $result->{wrong};
		$did{$_} += $result->{did}{$_} for keys %{ $result->{did} };
	}

	end_prepared(Model::generator($seed, 'prepared', $round), 0);
	my $sessions = q(SELECT count(*) FROM pg_stat_activity WHERE application_name = 'client');
	Client::wait_until(sub { !$control->value($sessions) }) or die "sessions are left\n";
	die "locks are left\n" if $control->value(q(SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'));
	check_answers(@results);
	check_entries();
	check_standby();

	my $log = slurp_file($node->logfile, $log_read);
	$log_read += length $log;
	die "a process of the server crashed\n" if $log =~ /PANIC|TRAP:|terminated by signal (?!9)/;
	die "there is a warning: $1\n" if $log =~ /(WARNING:  (?!terminating connection|worker took too long).*)/;
	return;
}

#-----------------------------------------------------------------------------------------------------
# While the clients play
#-----------------------------------------------------------------------------------------------------

# Cancels and kills sessions, ends prepared transactions, and has the server crash twice.
sub make_trouble
{
	my ($round, $end, @clients) = @_;
	my $g = Model::generator($seed, 'trouble', $round);
	my $third = ($end - Time::HiRes::time()) / 3;
	my @crashes = map { $end - $_ * $third } 1, 2;
	my $name = q(application_name = 'client');

	while (Client::running(@clients))
	{
		Time::HiRes::usleep(30_000 + $g->int(100_000));
		if (@crashes && Time::HiRes::time() > $crashes[-1])
		{
			pop @crashes;
			if (@crashes)
			{
				$node->stop('immediate');
				$node->start;
				$did{'server stopped'}++;
			}
			else
			{
				my $pid = $control->value("SELECT pid FROM pg_stat_activity WHERE $name ORDER BY random() LIMIT 1");
				$did{killed} += kill('KILL', $pid) if $pid;
			}
			Client::wait_until(sub { $control = eval { my $c = Client->new($node); $c->do('SELECT 1'); $c } }) or die "the server is not back\n";
		}
		# the connection may be that of the moment before the crash
		eval {
			# it waits for an account that somebody changes, maybe in a transaction that we have to end
			$control->do('SET lock_timeout = 100');
			eval { $control->value('SELECT idem_expire(30)'); 1 } or $control->state =~ /^(?:40P01|55P03)\z/ or die $@ if $g->percent(40);
			$control->do('RESET lock_timeout');
			end_prepared($g, 1);
			my $how = $g->weighted(none => 6, pg_cancel_backend => 2, pg_terminate_backend => 1);
			$did{$how} += $control->value(
				"SELECT count($how(pid)) FROM (SELECT pid FROM pg_stat_activity WHERE $name AND state <> 'idle' ORDER BY random() LIMIT 1) s")
				if $how ne 'none';
			1;
		} or do {
			die $@ if $control->{dbh}->ping;
			Client::wait_until(sub { $control = eval { Client->new($node) } }) or die "the server is not back\n";
		};
	}
	return;
}

# Ends transactions that were prepared: some, or all.
sub end_prepared
{
	my ($g, $some) = @_;
	for my $gid (@{ $control->{dbh}->selectcol_arrayref('SELECT gid FROM pg_prepared_xacts ORDER BY gid') })
	{
		next if $some && $g->percent(80);
		# its client may end it first
		eval { $control->do(($g->percent(60) ? 'COMMIT' : 'ROLLBACK') . " PREPARED '$gid'"); 1 }
			or $control->state =~ /^(?:42704|55000)\z/ or die $@;
	}
	return;
}

# Takes snapshots of a server until the end. In each, every balance must be the sum of its entries, now and at a time
# before; all balances of a currency together must be zero; and every account must be within its limits.
sub watch
{
	my ($server, $end) = @_;
	my $name = $server == $node ? 'snapshots' : 'snapshots of the standby';
	my %result = (did => {});
	my $client;
	while (Time::HiRes::time() < $end)
	{
		my $failed = eval {
			$client //= Client->new($server);
			$client->do('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
			my $faults = Entries::faults($client, [ $scope ], rand(3));
			$client->do('COMMIT');
			$result{did}{$name}++;
			$result{wrong} = "$name: $faults" if $faults;
			1;
		};
		return \%result if $result{wrong};
		if (!$failed)
		{
			my $error = $@;
			if ($client && $client->{dbh}->ping && $client->state !~ /^(?:57|40001)/)	# a conflict with recovery
			{
				$result{wrong} = "$name: $error";
				return \%result;
			}
			$client = undef;
		}
		Time::HiRes::usleep(rand(60_000));
	}
	$client->close if $client;
	return \%result;
}

#-----------------------------------------------------------------------------------------------------
# After a round
#-----------------------------------------------------------------------------------------------------

# What clients were answered with is stored, and what they rolled back is not.
sub check_answers
{
	for my $result (@_)
	{
		my $stored = $control->{dbh}->selectall_hashref(
			'SELECT k.key, r::text AS text FROM unnest($1::text[]) k(key), idem_lookup(k.key, $2) r', 'key', undef,
			[ keys %{ { %{ $result->{made} }, %{ $result->{undone} } } } ], $scope);
		my $text = sub { $stored->{ $_[0] } ? (Client::split_receipt($stored->{ $_[0] }{text}))[0] : 'nothing' };
		for my $key (sort keys %{ $result->{made} })
		{
			die "client $result->{number} was answered for $key with\n$result->{made}{$key}\nand stored is\n" . $text->($key) . "\n"
				if $text->($key) ne $result->{made}{$key};
		}
		for my $key (grep { !$result->{made}{$_} } sort keys %{ $result->{undone} })
		{
			die "client $result->{number} rolled back\n$result->{undone}{$key}\nand it is there\n" if $text->($key) eq $result->{undone}{$key};
		}
	}
	return;
}

# Compares all entries of the round with each other, and with the operations.
sub check_entries
{
	Entries::check($control, [ $scope ], 'flex');
	check_closed();
	my $n = $control->{dbh}->selectrow_hashref(<<'SQL', undef, $scope);
SELECT count(*) AS entries, count(open) AS "entries with open", count(*) FILTER (WHERE cum_entries > 1) AS "several entries of a subtransaction",
	count(*) FILTER (WHERE gaps > 0) AS gaps, count(*) FILTER (WHERE lag > 0) AS "entries with lag", count(*) FILTER (WHERE cum_entries > 1 AND after_others) AS "entries of a subtransaction after others",
	(SELECT sum(m - c) FROM (SELECT max(seq) AS m, count(*) AS c FROM e GROUP BY account) s) AS "missing numbers",
	(SELECT count(*) FROM idempotency.operation WHERE kind = 'expire' AND scope = $1) AS expired,
	(SELECT count(*) FROM idempotency.operation WHERE kind = 'reversal' AND scope = $1) AS reversal,
	(SELECT count(*) FROM idempotency.account WHERE name ~ 'flex' AND scope = $1 AND (floor, ceiling) IS DISTINCT FROM (-100, 1000)) AS "limits changed"
FROM e
SQL
	$did{$_} += $n->{$_} // 0 for keys %$n;
	return;
}

# Nothing new enters an account while it is closed. Whoever closes an account, or opens it again, pays 0.01 from or to it
# while he has its lock. So these two entries enclose those of the time in which it is closed.
sub check_closed
{
	my $rows = $control->{dbh}->selectall_arrayref(<<'SQL', { Slice => {} }, $scope);
WITH mark AS (
	SELECT e.name, e.seq, o.reference AS becomes
	FROM e JOIN idempotency.operation o ON (o.scope, o.payment_id, o.seq) = (e.scope, e.payment_id, e.operation)
	WHERE o.scope = $1 AND o.seq = 1 AND o.reference IN (e.name || ' closed', e.name || ' open'))
SELECT o.kind, o.key, o.seq = 1 OR o.kind = 'increase' AS is_new, e.name, e.seq,
	closed.seq AS closed_at
FROM e
JOIN idempotency.operation o ON (o.scope, o.payment_id, o.seq) = (e.scope, e.payment_id, e.operation),
LATERAL (SELECT m.* FROM mark m WHERE m.name = e.name AND m.seq < e.seq ORDER BY m.seq DESC LIMIT 1) closed
WHERE closed.becomes = e.name || ' closed'
	AND NOT EXISTS (SELECT FROM mark m WHERE m.name = e.name AND m.seq = e.seq AND m.becomes = e.name || ' open')
SQL
	for my $r (@$rows)
	{
		die "something new entered a closed account: " . Entries::line($r) . "\n" if $r->{is_new};
		$did{'went on while closed'}++;
	}
	$did{closed} += $control->value(q(SELECT count(*) FROM idempotency.operation WHERE scope = $1 AND reference ~ ' closed$' AND sqlstate IS NULL), $scope);
	return;
}

# The standby has the same balances.
sub check_standby
{
	$node->wait_for_catchup($standby, 'replay', $node->lsn('insert'));
	my $s = Client->new($standby);
	is(balances($s), balances($control), "$scope: the standby has the same balances");
	my $faults = Entries::faults($s, [ $scope ], 1);
	die "on the standby: $faults\n" if $faults;
	$s->close;
	return;
}

sub balances
{
	my ($client) = @_;
	return $client->value(q(SELECT string_agg(concat_ws(' ', a.scope, a.name, b), E'\n' ORDER BY a.scope, a.name)
		FROM idempotency.account a, idem_balance(a.name, scope => a.scope) b));
}

# A restored database has the same balances, and accounts that can be used.
sub dump_and_restore
{
	my $file = PostgreSQL::Test::Utils::tempdir . '/dump';
	my $before = balances($control);
	$node->command_ok([ 'pg_dump', '-F', 'custom', '-f', $file, 'postgres' ], 'dump');
	$node->safe_psql('postgres', 'CREATE DATABASE restored TEMPLATE template0');
	$node->command_ok([ 'pg_restore', '--exit-on-error', '-d', 'restored', $file ], 'restore');
	$control = Client->new($node, dbname => 'restored');
	is(balances($control), $before, 'the restored database has the same balances');
	for my $name (sort grep { $_ !~ /flex/ } keys %Bookkeeper::accounts)
	{
		my $old = $control->value('SELECT posted FROM idem_balance($1, scope => $2)', $name, $scope);
		my $world = $Bookkeeper::accounts{$name}[0] eq 'USD' ? 'world' : 'welt';
		next if $name eq $world;
		$control->do('BEGIN');
		$control->do("SELECT idem_pay('out', $old, '$Bookkeeper::accounts{$name}[0]', '$name', '$world', scope => '$scope', declines => 'record')") if $old > 0;
		$control->do("SELECT idem_pay('in $_', 0.5, '$Bookkeeper::accounts{$name}[0]', '$world', '$name', scope => '$scope')") for 1 .. 2;
		$control->do('COMMIT');
		last;
	}
	is(Entries::faults($control, [ $scope ], 1), '', 'payments move money there, too');
	is($control->value('SELECT count(*) FROM idem_check() WHERE NOT ok'), 0, 'and idem_check finds nothing wrong');
	return;
}
