# A drill: primaries are killed while clients pay, and pg_auto_failover promotes the standby. Is any receipt lost that a
# client has got? Does one change? Is anything booked twice?
#
# Clients do what docs/guarantees.md asks of them. They look for the primary among both nodes, and wait a few seconds for an
# answer. Then they drop the connection and send the same call again, until COMMIT has returned.
#
# fsync is off, as in all tests: the processes die here, not the machines.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use AutoFailover;
use Client;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

use constant CLIENTS => 8;
use constant MOST => 20_000;	# of the calls of one client
use constant PAUSE => 20_000;	# between two of them, in microseconds, about
use constant ANSWER_LIMIT => 4;	# how long a client waits for an answer, in seconds
use constant DRILL_LIMIT => 330;	# how long all may take, in seconds
use constant ENOUGH => 400;	# operations between two kills
use constant BATCH => 500;	# of receipts that are asked for again at a time

# What happens to the primary, in this order.
my @rounds = (
	[ 'its server dies, by SIGQUIT' => \&kill_server, 'QUIT' ],
	[ 'its server dies, by SIGKILL' => \&kill_server, 'KILL' ],
	[ 'its server and its keeper die' => \&kill_all ],
	[ 'its server dies, and again with its keeper, while the standby hears nothing' => \&kill_unheard ],
	[ 'its server and its keeper die' => \&kill_all ],
	[ 'a planned switch' => \&switch_over ],
	[ 'its server dies, and again with its keeper, while the standby hears nothing' => \&kill_unheard ]);

# The calls that clients make, and what they keep of the answers. A call has a key, and a payment_id if it is about a
# payment. Made again, it must give the same text, and be a replay.
my %calls = (
	pay => receipt_of('idem_pay(key, 2)'),
	order => receipt_of('idem_pay(key, 3)'),
	authorize => receipt_of('idem_authorize(key, 2)'),
	capture => receipt_of('idem_capture(key, payment_id, 1.5, false)'),
	refund => receipt_of('idem_refund(key, payment_id, 1)'),
	lookup => receipt_of('idem_lookup(key)'),
	batch => q(SELECT u.key, string_agg(concat_ws(' ', b.key, b.payment_id, b.status), ', ' ORDER BY item),
			bool_and(outcome = 'replayed')
		FROM %s, idem_pay_batch(ARRAY[key || ' b', key || ' a', key || ' c'], ARRAY[1, 2, 3]) b GROUP BY u.key),
	execute => q(SELECT key, rows, replayed FROM %s,
		idem_execute(key, 'INSERT INTO booking VALUES ($1, gen_random_uuid()) RETURNING *', jsonb_build_array(key))),
	begin => q(SELECT key, response, outcome = 'completed' FROM %s, idem_begin(key, '{"room": 7}')));

# IDEM_FAILOVER: test/bin/setup sets it where pg_auto_failover must be installed.
my $missing = AutoFailover::missing();
plan skip_all => $missing if $missing && !$ENV{IDEM_FAILOVER};
die "$missing\n" if $missing;

my $began = time();
my $cluster = AutoFailover->start;
my ($primary, $standby) = $cluster->ready;
my $p = $primary->client;
$p->do('CREATE EXTENSION idempotency');
# No unique constraint, so that a second row would show.
$p->do('CREATE TABLE shipment (key text, payment_id uuid)');
$p->do('CREATE TABLE booking (key text, id uuid)');
note sprintf('primary and standby after %.0f s', time() - $began);

my $dir = PostgreSQL::Test::Utils::tempdir();
my $stop = "$dir/stop";
my $parent = $$;
my @clients = Client::start(CLIENTS, \&client);
# If this test dies, the clients must end, too.
END
{
	kill('KILL', map { $_->{pid} } grep { !defined $_->{status} } @clients);
}
my ($failovers, $unheard) = (0, 0);
for my $round (@rounds)
{
	my ($what, $do, @arguments) = @$round;
	($primary, $standby) = $cluster->wait_till_ready(left());
	my $found = operations();
	Client::wait_until(sub { (operations() // 0) > $found + ENOUGH }, left()) or die "$what: clients do not pay\n";
	($primary, $standby) = $cluster->wait_till_ready(left());
	note sprintf('%.0f s: the primary is %s; %s', time() - $began, $primary->name, $what);
	$do->(@arguments);
	my ($now) = $cluster->wait_till_ready(left());
	$failovers++ if $now != $primary;
}
($primary) = $cluster->wait_till_ready(left());
my $found = operations();
ok(Client::wait_until(sub { (operations() // 0) > $found + ENOUGH }, left()), 'after all of it, clients pay');
append_to_file($stop, '');
my @results = Client::finish(@clients);
cmp_ok($failovers, '>=', @rounds / 2, 'the standby has taken over, again and again');
cmp_ok($unheard, '>=', 1, 'also while clients waited on a primary that was started again, and the standby heard nothing');

# what the clients met
my (%acknowledged, %refused, %errors);
my ($retries, $timeouts, $changed) = (0, 0, 0);
for my $result (@results)
{
	push @{ $acknowledged{$_} }, @{ $result->{acknowledged}{$_} } for keys %{ $result->{acknowledged} };
	$refused{$_}++ for @{ $result->{refused} };
	$errors{$_} += $result->{errors}{$_} for keys %{ $result->{errors} };
	$retries += $result->{retries};
	$timeouts += $result->{timeouts};
	$changed += $result->{changed};
}
my $count = 0;
$count += @$_ for values %acknowledged;
note "$count answers, $retries retries, $timeouts for want of an answer, $failovers failovers; "
	. join(', ', map { "$errors{$_} times $_" } sort keys %errors);
is_deeply([ sort grep { $_ ne 'lookup' } keys %acknowledged ], [ sort grep { $_ ne 'lookup' } keys %calls ], 'clients had answers to calls of all kinds');
cmp_ok($retries, '>=', CLIENTS * @rounds / 2, 'calls were sent again');
if ($cluster->went_alone)
{
	# Receipts may be lost, and what clients asked for again was booked anew. But nothing is there twice.
	note 'pg_auto_failover has let the primary go on alone';
	my $left = Client->new($primary);
	is($left->value('SELECT count(*) - count(DISTINCT key) FROM idempotency.operation'), 0, 'no key has two operations');
	is($left->value('SELECT count(*) - count(DISTINCT key) FROM shipment'), 0, 'no order is shipped twice');
	is($left->value('SELECT count(*) - count(DISTINCT key) FROM booking'), 0, 'no request has two bookings');
	is($left->value('SELECT count(*) FROM idem_check() c WHERE NOT ok'), 0, 'idem_check finds nothing wrong');
	$left->close;
	$cluster->stop;
	done_testing();
	exit;
}
is_deeply(\%refused, {}, 'no call was refused');
is($changed, 0, 'no answer that a client asked for again in the meantime was another one');

# All calls are made again, on the primary that is left.
my $c = Client->new($primary);
my ($lost, $other) = (0, 0);
for my $kind (sort keys %acknowledged)
{
	my @left = @{ $acknowledged{$kind} };
	while (my @some = splice(@left, 0, BATCH))
	{
		my $answers = again($c, $kind, @some);
		for my $known (@some)
		{
			my ($text, $replayed) = @{ $answers->{ $known->{key} } // [ 'no answer', '' ] };
			next if $replayed && $text eq $known->{text};
			$replayed ? $other++ : $lost++;
			diag "$kind $known->{key}: was\n  $known->{text}\nand is\n  " . ($text // 'none');
		}
	}
}
is($lost, 0, "no acknowledged answer of $count is lost");
is($other, 0, 'none is another one now');

# each key once, with the other work of the client's transaction
my @keys = map { my $kind = $_; map { payment_keys($kind, $_->{key}) } @{ $acknowledged{$kind} } } keys %acknowledged;
is($c->value('SELECT count(*) FROM idempotency.operation'), scalar @keys, 'there are as many operations as keys');
is($c->value('SELECT count(DISTINCT key) FROM idempotency.operation WHERE key = ANY($1)', \@keys), scalar @keys,
	'one for each of them');
my $orders = grep { /^order / } @keys;
is($c->value(q(SELECT count(DISTINCT key) FROM shipment JOIN idempotency.operation USING (key, payment_id))), $orders,
	'each order that was paid is shipped');
is($c->value('SELECT count(*) FROM shipment'), $orders, 'once');
my $requests = @{ $acknowledged{execute} } + @{ $acknowledged{begin} };
is($c->value('SELECT count(DISTINCT key) FROM booking'), $requests, 'each request has made its booking');
is($c->value('SELECT count(*) FROM booking'), $requests, 'once');
is($c->value('SELECT string_agg(c::text, $1) FROM idem_check() c WHERE NOT ok', "\n"), undef, 'idem_check finds nothing wrong');

$c->close;
note sprintf('%.0f s in all', time() - $began);
$cluster->stop;
done_testing();

# How long a wait may still take, in seconds. Each wait has a limit, and all of them together, too.
sub left
{
	my $left = $began + DRILL_LIMIT - time();
	die "the drill takes too long\n" if $left <= 0;
	return $left < AutoFailover::READY_LIMIT ? $left : AutoFailover::READY_LIMIT;
}

sub operations { return $primary->value('SELECT count(*) FROM idempotency.operation') }

#-----------------------------------------------------------------------------------------------------
# What happens to the primary
#-----------------------------------------------------------------------------------------------------

# The keeper starts the server again, or the monitor is faster and promotes the standby.
sub kill_server
{
	my ($signal) = @_;
	my $was = $primary->up_since;
	$primary->kill_server($signal);
	ok(Client::wait_until(sub { ($primary->up_since // $was) ne $was }, left()), 'the keeper has started it again');
	return;
}

sub kill_all
{
	$primary->kill_all;
	take_over();
	return;
}

# The standby is promoted, and then the other node comes back. If the monitor takes the standby for unhealthy at that
# moment, it waits for the other node instead.
sub take_over
{
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

# Payments that wait for the standby are committed on the primary only. The primary is started again, and clients send
# these payments again. Then it dies for good, and the standby takes over without them.
sub kill_unheard
{
	my $receiver = $standby->value('SELECT pid FROM pg_stat_wal_receiver') // die "no walreceiver\n";
	my $waiting = sub {
		my $count = $primary->value(q(SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'));
		return defined $count && $count >= CLIENTS / 2;
	};

	kill('STOP', $receiver);
	my $ok = eval {
		ok(Client::wait_until($waiting, left()), 'clients wait for the standby');
		my $was = $primary->up_since;
		$primary->kill_server('QUIT');
		Client::wait_until(sub { ($primary->up_since // $was) ne $was }, 20) or note 'it is not started again';
		Client::wait_until($waiting, 20) ? $unheard++ : note 'no clients wait again';
		$primary->kill_all;
		1;
	};
	my $error = $@;
	# What was sent to the standby, and not read by it, is lost, as on a network.
	kill('TERM', $receiver);
	kill('CONT', $receiver);
	die $error unless $ok;
	take_over();
	return;
}

#-----------------------------------------------------------------------------------------------------
# Clients
#-----------------------------------------------------------------------------------------------------

sub receipt_of
{
	my ($call) = @_;
	return "SELECT r.key, regexp_replace(r::text, ',[tf]\\)\$', ''), r.replayed FROM %s, $call r";
}

# A client process. It returns:
#	acknowledged	kind => list of calls whose COMMIT has returned: key, payment_id, text
#	refused			errors that a retry cannot change
#	errors			SQLSTATE => how often the call was sent again after it
#	retries, timeouts	how many calls were sent again, and how many of these because there was no answer
#	changed			how many answers differed when the call was made again
sub client
{
	my ($number) = @_;
	my $self = {
		acknowledged => {}, refused => [], errors => {}, retries => 0, timeouts => 0, changed => 0, client => undef };
	alarm DRILL_LIMIT + 60;

	for my $i (1 .. MOST)
	{
		last if -e $stop || getppid() != $parent;
		my $key = "$number $i";
		call($self, 'pay', "pay $key");
		call($self, 'order', "order $key", \&ship);
		hold($self, "hold $key", $number % 2);
		call($self, 'batch', "batch $key");
		call($self, 'execute', "execute $key");
		call($self, 'begin', "begin $key", \&book);
		ask_again($self);
	}
	drop($self);
	delete $self->{client};
	return $self;
}

# One call in a transaction, with $work, if given, in the same transaction. The work is done if the call is new.
sub call
{
	my ($self, $kind, $key, $work) = @_;
	my $tries = 0;
	transaction($self, sub {
		# A client that sends a call again may look the key up first.
		if ($tries++ && $kind =~ /^(?:pay|order)$/ && rand() < 0.5)
		{
			my ($row) = @{ ask($self, sql('lookup', { key => $key })) };
			return { kind => 'lookup', key => $key, text => $row->[1] } if $row;
		}
		my ($key, $text, $replayed) = @{ ask($self, sql($kind, { key => $key }))->[0] };
		$text = $work->($self, $key, $text) if $work && !$replayed;
		return { kind => $kind, key => $key, text => $text };
	}, $work ? 1 : 0);
	return;
}

sub ship
{
	my ($self, $key, $text) = @_;
	ask($self, "INSERT INTO shipment VALUES ('$key', '" . Client::payment_id($text) . "')");
	return $text;
}

sub book
{
	my ($self, $key) = @_;
	my $text = ask($self, "INSERT INTO booking VALUES ('$key', gen_random_uuid()) RETURNING to_json(id)")->[0][0];
	ask($self, "SELECT idem_complete('$key', '$text')");
	return $text;
}

# A hold, a capture and a refund: each in its own transaction, or all in one.
sub hold
{
	my ($self, $key, $together) = @_;
	my $payment_id;
	my @steps = map {
		my $kind = $_;
		sub {
			my $call = { key => "$key $kind", payment_id => $payment_id };
			my ($key, $text) = @{ ask($self, sql($kind, $call))->[0] };
			$payment_id = Client::payment_id($text);
			return { %$call, kind => $kind, text => $text };
		}
	} qw(authorize capture refund);

	if ($together)
	{
		transaction($self, sub { return map { $_->() } @steps }, 1);
		return;
	}
	for my $step (@steps)
	{
		transaction($self, $step, 0) or last;
	}
	return;
}

# Runs a transaction, or a statement that is a transaction by itself, again and again until it is committed. Keeps its
# answers. False: it was refused.
sub transaction
{
	my ($self, $work, $several) = @_;

	usleep(rand(2 * PAUSE));
	for (;;)
	{
		my @answers = eval {
			$self->{client} //= Client->new($cluster);
			ask($self, 'BEGIN') if $several;
			my @made = $work->();
			ask($self, 'COMMIT') if $several;
			@made;
		};
		if (@answers)
		{
			push @{ $self->{acknowledged}{ $_->{kind} } }, $_ for @answers;
			return 1;
		}
		retry_or_refuse($self, $@) or return 0;
	}
}

# After an error: can the same call be sent again? The connection is dropped after every error. If the client cancelled the
# statement instead, the server would send the receipt, although the standby does not have it.
sub retry_or_refuse
{
	my ($self, $error) = @_;
	my $state = $self->{client} ? $self->{client}->state : $DBI::state;

	drop($self);
	if ($error =~ /^no answer/)
	{
		$self->{timeouts}++;
	}
	# the connection is lost or impossible, or the server is no longer the primary
	elsif ($state =~ /^(?:08...|57014|57P0.|53300|25006)$/ || $error =~ /server closed the connection/)
	{
		$self->{errors}{$state}++;
	}
	else
	{
		push @{ $self->{refused} }, $error;
		return 0;
	}
	$self->{retries}++;
	usleep(50_000 + rand(150_000));
	return 1;
}

# The rows of a query, as lists. Dies if there is no answer in time.
sub ask
{
	my ($self, $sql) = @_;
	my ($client, $end) = ($self->{client}, time() + ANSWER_LIMIT);
	my $dbh = $client->{dbh};

	$client->send($sql);
	until ($dbh->pg_ready)
	{
		my $left = $end - time();
		die "no answer\n" if $left <= 0;
		last if $dbh->{pg_socket} < 0;
		vec(my $socket = '', $dbh->{pg_socket}, 1) = 1;
		select($socket, undef, undef, $left);
	}
	return $client->rows;
}

# Cuts the connection, as the server may not answer.
sub drop
{
	my ($self) = @_;
	my $client = delete $self->{client};
	eval { $client->cut } if $client;
	return;
}

# Makes calls again, in a transaction that is rolled back, so that a lost payment is not made again. Returns
# key => [ text, replayed ].
sub again
{
	my ($client, $kind, @known) = @_;
	my $rows = eval {
		$client->do('BEGIN');
		$client->{dbh}->selectall_arrayref(sql($kind, @known));
	};
	my $error = $@;
	$client->do('ROLLBACK');
	return { map { $_->[0] => [ $_->[1], $_->[2] ] } @$rows } if $rows;
	# If one is lost, the others may fail, too: make each call by itself.
	return { map { %{ again($client, $kind, $_) } } @known } if @known > 1;
	return { $known[0]{key} => [ $error, '' ] };
}

# Makes one of the client's calls again, while primaries die. If there is no answer, it is not tried again.
sub ask_again
{
	my ($self) = @_;
	my @kinds = keys %{ $self->{acknowledged} };
	my @of_kind = @{ $self->{acknowledged}{ $kinds[ rand @kinds ] } };
	my $known = $of_kind[ rand @of_kind ];
	my $row = eval {
		$self->{client} //= Client->new($cluster);
		ask($self, 'BEGIN');
		my $rows = ask($self, sql($known->{kind}, $known));
		ask($self, 'ROLLBACK');
		$rows->[0] // [ $known->{key}, 'no row', '' ];
	};
	return retry_or_refuse($self, $@) unless $row;
	$self->{changed}++ if !$row->[2] || $row->[1] ne $known->{text};
	return;
}

# The keys that a call has used for payments.
sub payment_keys
{
	my ($kind, $key) = @_;
	return if $kind eq 'execute' || $kind eq 'begin';
	return $kind eq 'batch' ? map { "$key $_" } qw(a b c) : $key;
}

# The query for calls of one kind.
sub sql
{
	my ($kind, @of) = @_;
	my $list = join(', ', map { "('$_->{key}', " . (defined $_->{payment_id} ? "'$_->{payment_id}'" : 'NULL') . '::uuid)' } @of);
	return sprintf($calls{$kind}, "(VALUES $list) u (key, payment_id)");
}
