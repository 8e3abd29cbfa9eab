# Requests of many clients, through crashes, cut connections, rotation and purges. Is the work of each request done once, and
# does every client get the same response, byte for byte?
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Client;
use List::Util qw(max shuffle sum);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

use constant CLIENTS => 32;
use constant KEYS => 200;
use constant RACES => 10;
use constant PURGED_CLIENTS => 6;
use constant RETENTION => 2;	# seconds
use constant PURGED_FOR => 10;
use constant SLACK => 0.5;		# seconds between the server's clock and ours, at most

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(allows_streaming => 1);
$node->append_conf('postgresql.conf', <<'CONF');
log_statement = none
max_connections = 100
deadlock_timeout = 20ms
restart_after_crash = on
CONF
$node->start;
$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION idempotency;
CREATE TABLE ledger (key text, client integer);
SQL

# A standby, which replays what is answered and begins nothing.
$node->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'backup', has_streaming => 1);
$standby->start;

# JSON that would not survive jsonb
my $odd = qq({ "b" :1.50,\t"a":\n  [ null , "\\u00e9" ],"b": 1e2 } );

killed_worker();
races_for_a_lease();
work_under_keys();
large_response();
elsewhere();
rotation();

$standby->stop;
$node->stop;
done_testing();

# kill -9 of workers between the beginning and the end of their requests. The postmaster then ends all sessions.
sub killed_worker
{
	my ($leased, $other) = map { Client->new($node) } 1 .. 2;
	is(join(' ', $leased->row(q(SELECT outcome, attempt FROM idem_begin('leased', '[1]', lease => '1 ms')))), 'new 1', 'a worker has a lease');
	$leased->row(q(SELECT idem_checkpoint('leased', 'charged', $1, 1)), $odd);
	$leased->do('SET synchronous_commit = off');
	$leased->row(q(SELECT idem_renew('leased', '3 s', 1)));		# on disk, even so
	my $until = time + 3;
	$other->do('BEGIN');
	$other->do(q(INSERT INTO ledger VALUES ('not leased', 0)));
	is($other->value(q(SELECT outcome FROM idem_begin('not leased'))), 'new', 'and another one none');

	is(kill('KILL', $leased->pid), 1, 'kill -9');
	ok(Client::wait_until(sub { !$leased->{dbh}->ping && !$other->{dbh}->ping }), 'both lose their connection');
	ok($node->poll_query_until('postgres', 'SELECT true'), 'the server is back');

	my $next = Client->new($node);
	$next->do('BEGIN');
	is($next->value(q(SELECT outcome FROM idem_begin('not leased'))), 'new', 'without a lease the key is free at once');
	is($next->value('SELECT count(*) FROM ledger'), 0, 'and nothing of the work is left');
	$next->do('ROLLBACK');

	my $take_over = q(SELECT * FROM idem_begin('leased', '[1]', lease => '1 hour'));
	my @resumed;
	my $refused = 0;
	ok(Client::wait_until(
			sub {
				return 1 if defined eval { @resumed = $next->row($take_over); 1 };
				die $@ if $next->state ne 'ID409';
				$refused++;
				return 0;
			}),
		'with a lease it can be had again');
	cmp_ok(time, '>=', $until - SLACK, 'when the lease has lapsed');
	cmp_ok($refused, '>', 0, 'and is in flight till then, as the lease was renewed');
	is_deeply(\@resumed, [ 'resumed', 2, undef, 'charged', $odd ], 'as the second attempt, with the last checkpoint');
	$next->row(q(SELECT idem_complete('leased', $1, 2)), $odd);
	is_deeply([ $next->row($take_over) ], [ 'completed', 2, $odd, 'charged', $odd ], 'which completes it');
	$next->close;
	return;
}

# All clients want the lease of a request when it runs out, again and again. Each attempt has one worker.
sub races_for_a_lease
{
	my $observer = Client->new($node);
	$observer->row(q(SELECT idem_begin('raced', lease => '1 ms')));

	my @results = Client::finish(
		Client::start(
			CLIENTS,
			sub {
				my $client = Client->new($node, set => { 'idempotency.in_flight' => $_[0] % 2 ? 'wait' : 'fail' });
				my %result = (attempts => [], ended => 0, stale => 0);
				my $attempt = 0;
				while ($attempt < RACES)
				{
					my @got = eval { $client->row(q(SELECT outcome, attempt FROM idem_begin('raced', lease => '100 ms'))) };
					if (!@got)
					{
						die $@ unless $client->state eq 'ID409';
						$attempt = $client->value(q(SELECT attempt FROM idem_lookup_request('raced'))) // 0;
						usleep(rand 20_000);
						next;
					}
					die "outcome $got[0]" unless $got[0] eq 'resumed';
					$attempt = $got[1];
					push @{ $result{attempts} }, $attempt;

					# every other one lets it lapse, and finds that it is too late
					next if $attempt % 2 || $attempt >= RACES;
					usleep(200_000);
					my $current = $client->value(q(SELECT attempt FROM idem_lookup_request('raced')));
					next if $current == $attempt;
					my $state;
					do
					{
						$state = $client->error_of(q(SELECT idem_complete('raced', '"late"', $1)), $attempt);
					} while $state eq 'ID409';
					$result{ $state eq 'ID412' ? 'stale' : 'ended' }++;
				}
				return \%result;
			}));
	my @attempts = sort { $a <=> $b } map { @{ $_->{attempts} } } @results;
	is_deeply(\@attempts, [ 2 .. max(@attempts) ], 'each attempt has exactly one worker');
	cmp_ok(scalar @attempts, '>=', RACES - 1, 'and there were several');
	cmp_ok(sum(map { $_->{stale} } @results), '>', 0, 'workers came too late');
	is(sum(map { $_->{ended} } @results), 0, 'and could not complete');
	$observer->close;
	return;
}

# Work in a table, under keys without a lease.
sub work_under_keys
{
	my $observer = Client->new($node);

	# the first key is in flight when the clients start, so that all of them meet there
	my $gate = Client->new($node);
	$gate->do('BEGIN');
	$gate->row(q(SELECT idem_begin('key 0', '{"key": "key 0"}')));
	my @clients = Client::start(CLIENTS, \&worker);
	ok(Client::wait_till_blocked($observer, 'worker', CLIENTS), 'all clients wait for a request in flight');
	$gate->do('ROLLBACK');
	my @results = Client::finish(@clients);
	$gate->close;

	my %did;
	for my $result (@results)
	{
		$did{$_} += $result->{did}{$_} for keys %{ $result->{did} };
	}
	note "$_: $did{$_}" for sort keys %did;

	my @keys = map { "key $_" } 0 .. KEYS;
	my $done = $observer->{dbh}->selectall_hashref(q(SELECT key, count(*), min(client) AS client FROM ledger WHERE key ~ '^key' GROUP BY key), 'key');
	is(scalar(grep { ($done->{$_}{count} // 0) != 1 } @keys), 0, 'the work of each key is there once');
	is(scalar(keys %$done), scalar @keys, 'and no other');

	my ($missing, $different, $not_stored) = (0, 0, 0);
	for my $key (@keys)
	{
		my $response = response($key, $done->{$key}{client});
		$not_stored++ if $observer->value('SELECT response FROM idem_lookup_request($1)', $key) ne $response;
		for my $result (@results)
		{
			my $got = $result->{response}{$key};
			$missing++ unless defined $got;
			$different++ if defined $got && $got ne $response;
		}
	}
	is($not_stored, 0, 'its response is that of who did it, byte for byte');
	is($missing, 0, 'every client has a response for every key');
	is($different, 0, 'the same as everybody else');

	cmp_ok($did{$_} // 0, '>', 0, "there were clients: $_")
	  for 'cut after COMMIT', 'cut before COMMIT', 'rolled back', 'rolled back to a savepoint', 'released', 'not ended', 'retried 40001';
	is($observer->value(q(SELECT count(*) FROM pg_locks WHERE locktype = 'advisory')), 0, 'no lock is left');
	$observer->close;
	return;
}

sub response
{
	my ($key, $client) = @_;
	return qq({ "key" :"$key",\t"by":  [$client] ,"n": 1.50}\n);
}

# One client process. It returns:
#	response	key => response
#	did			what it did => how often
sub worker
{
	my ($number) = @_;
	my %result = (response => {}, did => {});
	my @connect = ($node, set => {
		application_name => 'worker',
		default_transaction_isolation => $number % 3 ? 'read committed' : $number % 2 ? 'repeatable read' : 'serializable' });
	my $client = Client->new(@connect);

	# Begins a request, and does its work if that is not done. Returns the response, or undef after the work.
	my $work = sub {
		my ($key) = @_;
		my ($outcome, $response) = $client->row('SELECT outcome, response FROM idem_begin($1, $2)', $key, qq({"key": "$key"}));
		return $response if $outcome eq 'completed';
		die "outcome $outcome" if $outcome ne 'new';
		$client->row('INSERT INTO ledger VALUES ($1, $2) RETURNING 1', $key, $number);
		return undef;
	};
	my $complete = sub {
		my ($key) = @_;
		$client->row('SELECT idem_complete($1, $2)', $key, response($key, $number));
		return response($key, $number);
	};
	my $reconnect = sub {
		$client->cut;
		$client = Client->new(@connect);
	};
	my %ways = (
		'plain' => sub {
			my $response = $work->($_[0]) // $complete->($_[0]);
			$client->do('COMMIT');
			$result{response}{ $_[0] } = $response;
		},
		'cut after COMMIT' => sub {
			$work->($_[0]) // $complete->($_[0]);
			$client->send('COMMIT');
			$reconnect->();
		},
		'cut before COMMIT' => sub {
			$work->($_[0]) // $complete->($_[0]);
			$reconnect->();
		},
		'rolled back' => sub {
			$work->($_[0]) // $complete->($_[0]);
			$client->do('ROLLBACK');
		},
		'rolled back to a savepoint' => sub {
			$client->do('SAVEPOINT s');
			$work->($_[0]) // (rand() < 0.5 && $complete->($_[0]));
			$client->do('ROLLBACK TO s');
			$client->do('COMMIT');
		},
		'released' => sub {
			$client->do('SAVEPOINT s');
			my $response = $work->($_[0]);
			$client->do('ROLLBACK TO s') if !defined $response;
			$client->row('SELECT idem_begin($1, $2)', $_[0], qq({"key": "$_[0]"}));
			my $state = $client->error_of('SELECT idem_release($1)', $_[0]);
			$client->do($state eq 'none' ? 'COMMIT' : 'ROLLBACK');
		},
		'not ended' => sub {
			my $response = $work->($_[0]);
			my $committed = eval { $client->do('COMMIT'); 1 };
			die 'a request without an end was committed' if $committed && !defined $response;
			die $@ if !$committed && (defined $response || $client->state ne '2D000');
		});
	my @ways = sort keys %ways;

	for my $key (map { "key $_" } 0, shuffle(1 .. KEYS))
	{
		for my $try (1 .. 1000)
		{
			my $way = rand() < 0.3 ? $ways[ rand @ways ] : 'plain';
			my $ok = eval { $client->do('BEGIN'); $ways{$way}->($key); 1 };
			if (!$ok)
			{
				my $error = $@;
				die $error unless $client->state =~ /^(40001|40P01)$/;
				$result{did}{"retried $1"}++;
				$client->do('ROLLBACK');
				next;
			}
			$result{did}{$way}++;
			last if defined $result{response}{$key};
		}
	}
	return \%result;
}

sub large_response
{
	my $client = Client->new($node);
	my $large = '[ ' . join(",\t", map { qq("$_ ) . ('x' x 1000) . '"' } 1 .. 17_000) . ' ]';
	cmp_ok(length $large, '>', 17_000_000, 'a response of 17 MB');
	$client->do('BEGIN');
	$client->row(q(SELECT idem_begin('large')));
	$client->row(q(SELECT idem_complete('large', $1)), $large);
	$client->do('COMMIT');
	ok($client->value(q(SELECT response FROM idem_begin('large'))) eq $large, 'comes back byte for byte');
	ok($client->value(q(SELECT response FROM idem_lookup_request('large'))) eq $large, 'also when it is looked up');
	$client->close;
	return;
}

# A standby, and a database that is restored from a dump.
sub elsewhere
{
	my $client = Client->new($node);
	$client->row(q(SELECT idem_begin('lease to be kept', '[1]', lease => '1 hour')));
	$client->row(q(SELECT idem_checkpoint('lease to be kept', 'half', $1, 1)), $odd);
	$client->row(q(SELECT idem_begin('abandoned', lease => '1 ms', scope => 'abandoned')));
	$client->row(q(SELECT idem_checkpoint('abandoned', 'half', $1, 1, 'abandoned')), $odd);
	my $abandoned = q(SELECT key, attempt, checkpoint, checkpoint_data, lease_until, begun_at FROM idem_abandoned(10, 'abandoned'));
	ok(Client::wait_until(sub { $client->value(q(SELECT count(*) FROM idem_abandoned(10, 'abandoned'))) == 1 }), 'what is abandoned is listed');
	my $listed = [ $client->row($abandoned) ];
	# a backslash takes two bytes in a dump
	my $slashes = q('"' || repeat('\\', 8000000) || '"');
	$client->row(qq(SELECT idem_begin('slashes', lease => '1 hour')));
	$client->row(qq(SELECT idem_checkpoint('slashes', 'half', $slashes, 1)));
	$client->row(qq(SELECT idem_complete('slashes', $slashes, 1)));
	$node->wait_for_catchup($standby, 'replay', $node->lsn('insert'));

	my @answer = ('completed', 2, $odd, 'charged', $odd);
	my $there = Client->new($standby);
	is_deeply([ $there->row(q(SELECT * FROM idem_begin('leased', '[1]'))) ], \@answer, 'a standby replays a request');
	is($there->error_of(q(SELECT idem_begin('leased', '[2]'))), 'ID422', 'and refuses a different one');
	is($there->error_of(q(SELECT idem_begin('never begun'))), '25006', 'but begins none');
	is($there->error_of(q(SELECT idem_begin('lease to be kept', '[1]', lease => '1 hour'))), '25006', 'nor takes one over');
	is(join(' ', $there->row(q(SELECT status, checkpoint FROM idem_lookup_request('lease to be kept')))), 'started half', 'which can be looked up');
	is_deeply([ $there->row($abandoned) ], $listed, 'as is the list of what is abandoned');
	$there->close;

	my $file = PostgreSQL::Test::Utils::tempdir . '/dump';
	$node->command_ok([ 'pg_dump', '-F', 'custom', '-f', $file, 'postgres' ], 'dump');
	$node->safe_psql('postgres', 'CREATE DATABASE restored TEMPLATE template0');
	$node->command_ok([ 'pg_restore', '--exit-on-error', '-d', 'restored', $file ], 'restore');
	my $restored = Client->new($node, dbname => 'restored');
	is_deeply([ $restored->row(q(SELECT * FROM idem_begin('leased', '[1]'))) ], \@answer, 'a restored database replays a request');
	is($restored->error_of(q(SELECT idem_begin('lease to be kept', '[1]', lease => '1 hour'))), 'ID409', 'in which leases hold');
	$restored->row(q(SELECT idem_complete('lease to be kept', '1', 1)));
	is($restored->value(q(SELECT response FROM idem_begin('lease to be kept', '[1]'))), '1', 'and who has one can complete');
	is($client->value(q(SELECT status FROM idem_lookup_request('lease to be kept'))), 'started', 'there, not here');
	is($restored->value(qq(SELECT response::text = $slashes AND checkpoint_data::text = $slashes FROM idem_lookup_request('slashes'))), 1,
		'what is longer in a dump comes back');
	is_deeply([ $restored->row($abandoned) ], $listed, 'and what is abandoned is listed there, too');
	$_->close for $restored, $client;
	return;
}

# Requests that expire soon, and are purged meanwhile.
sub rotation
{
	$node->safe_psql('postgres', <<'SQL');
TRUNCATE ledger, idempotency.request_0, idempotency.request_1, idempotency.request_2;
ALTER TABLE ledger ADD run_at timestamptz, ADD expires_at timestamptz;
SQL
	my $end = time + PURGED_FOR;
	my @clients = Client::start(PURGED_CLIENTS, sub { fugitive($end, @_) });
	my ($purger, $other) = map { Client->new($node) } 1 .. 2;
	my ($emptied, $purges) = (0, 0);
	while (time < $end)
	{
		$other->send('SELECT idem_purge()');	# never in the other's way
		$emptied += $purger->value('SELECT idem_purge()');
		$emptied += $other->answer;
		$purges++;
		usleep(100_000);
	}
	my @results = Client::finish(@clients);
	my %did;
	for my $result (@results)
	{
		$did{$_} += $result->{did}{$_} for keys %{ $result->{did} };
	}
	note "$_: $did{$_}" for sort keys %did;
	note "$emptied tables emptied in $purges purges";

	cmp_ok($emptied, '>=', 2, 'tables were emptied');
	is($purger->value(<<'SQL'), 0, 'no key that was alive was run again');
SELECT count(*)
FROM (SELECT run_at, lag(expires_at) OVER (PARTITION BY key ORDER BY run_at) AS alive_until FROM ledger) r
WHERE run_at < alive_until
SQL
	is(sum(map { $_->{forgotten} } @results), 0, 'no client found its fresh request forgotten');
	is(sum(map { $_->{different} } @results), 0, 'nor another response than its own');
	cmp_ok($did{completed}, '>', 100, 'requests were replayed');
	cmp_ok($did{new}, '>', 100, 'requests were new');
	cmp_ok($purger->value('SELECT count(*) FROM (SELECT FROM ledger GROUP BY key HAVING count(*) > 1) again'), '>', 0,
		'keys were run again after they had expired');

	Client::wait_until(sub { $purger->value('SELECT idem_purge()'); usleep(200_000);
			$purger->value('SELECT (SELECT count(*) FROM idempotency.request_0) + (SELECT count(*) FROM idempotency.request_1)
				+ (SELECT count(*) FROM idempotency.request_2)') == 0 }, 20);
	is($purger->value('SELECT count(*) FROM idempotency.request'), 0, 'in the end all have expired');
	is($purger->value('SELECT pg_relation_size($1) + pg_relation_size($2) + pg_relation_size($3)',
			map { "idempotency.request_$_" } 0 .. 2), 0, 'and all tables are empty');
	$purger->close;
	return;
}

# One client process: sends fresh keys, each twice, and keys that others send, too. It returns:
#	forgotten	number of fresh keys that were new again when they were sent again
#	different	number of responses that differed from the one given
#	did			what it did => how often
sub fugitive
{
	my ($end, $number) = @_;
	my %result = (forgotten => 0, different => 0, did => {});
	my $client = Client->new($node, set => { 'idempotency.retention' => RETENTION . 's' });
	my $i = 0;

	# Carries out a request, with or without a lease. Returns undef if it is in flight.
	my $request = sub {
		my ($key, $lease) = @_;
		my ($outcome, $attempt, $response);
		my $ok = eval {
			$client->do('BEGIN') if !$lease;
			($outcome, $attempt, $response) =
			  $client->row('SELECT outcome, attempt, response FROM idem_begin($1, $2, lease => $3)', $key, '[1]', $lease);
			if ($outcome eq 'new' || $outcome eq 'resumed')
			{
				$response = qq([ "$number $i" ]);
				$client->do('BEGIN') if $lease;
				$client->row('SELECT idem_complete($1, $2, $3)', $key, $response, $lease ? $attempt : undef);
				$client->row(<<'SQL', $key, $number);
INSERT INTO ledger (key, client, run_at, expires_at)
SELECT $1, $2, created_at, expires_at FROM idem_lookup_request($1) RETURNING 1
SQL
				$client->do('COMMIT') if $lease;
			}
			$client->do('COMMIT') if !$lease;
			1;
		};
		if (!$ok)
		{
			die $@ unless $client->state eq 'ID409';
			$outcome = 'in flight';
			$client->do('ROLLBACK') if !$lease;
		}
		$result{did}{$outcome}++;
		return ($outcome, $response);
	};

	while (time < $end)
	{
		$i++;
		my $lease = rand() < 0.5 ? '1 s' : undef;
		my $key = "fresh $number $i";
		my $start = time;
		my (undef, $given) = $request->($key, $lease);
		my ($outcome, $response) = $request->($key, $lease);
		if (time - $start < RETENTION)
		{
			$result{forgotten}++ if $outcome ne 'completed';
			$result{different}++ if ($response // '') ne $given;
		}
		$request->('shared ' . int(rand 20), $lease);
	}
	return \%result;
}
