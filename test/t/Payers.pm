# Clients that pay through routers, while something happens to partitions. Each keeps what it was answered.
#
# They do what docs/guarantees.md asks of them. They wait a few seconds for an answer. When the answer or the connection is
# lost, they send the same call again, until it is answered.
package Payers;

use strict;
use warnings;

use Client;
use PostgreSQL::Test::Utils ();
use Test::More;
use Time::HiRes qw(time usleep);

use constant MOST => 20_000;	# of the rounds of one client
use constant LIFE => 400;	# how long it may last, in seconds
use constant PAUSE => 10_000;	# between two calls, in microseconds, about
use constant ANSWER_LIMIT => 4;	# how long a client waits for an answer, in seconds
use constant SCOPES => 3;	# on each partition
use constant BATCH => 500;	# of receipts that are asked for again at a time

# After these a client sends the same call again. It gives up on others.
my $retry = qr/^(?:08...|57P0.)$/;

# The calls that clients make, and what they keep of the answers. Made again, a call must give the same text, and be a
# replay.
my %calls = (
	pay => receipt_of('idem_pay(key, 2, scope => scope)'),
	transfer => receipt_of(q(idem_pay(key, 1, 'USD', 'world', 'shop', scope => scope))),
	authorize => receipt_of('idem_authorize(key, 2, scope => scope)'),
	capture => receipt_of('idem_capture(key, payment_id, 1.5, false, scope => scope)'),
	refund => receipt_of('idem_refund(key, payment_id, 1, scope => scope)'),
	lookup => receipt_of('idem_lookup(key, scope)'),
	batch => q(SELECT u.key, string_agg(concat_ws(' ', b.key, b.payment_id, b.status), ', ' ORDER BY item),
			bool_and(outcome = 'replayed')
		FROM %s, idem_pay_batch(ARRAY[key || ' b', key || ' a', key || ' c'], ARRAY[1, 2, 3], scopes => scopes) b GROUP BY u.key));

sub receipt_of
{
	my ($call) = @_;
	return "SELECT r.key, regexp_replace(r::text, ',[tf]\\)\$', ''), r.replayed FROM %s, $call r";
}

# Starts $n clients. They take turns to use these routers, which have the same partitions. The first client uses partition 0
# only, the second partition 1, and so on. So there is one for each partition. The others use all partitions.
sub start
{
	my ($class, $n, @routers) = @_;
	my $self = bless {
		routers => \@routers,
		stop => PostgreSQL::Test::Utils::tempdir() . '/stop',
		parent => $$,
		scopes => [ map { my $p = $_; [ map { $routers[0]->scope_on($p, $_) } 0 .. SCOPES - 1 ] } 0 .. $#{ $routers[0]{nodes} } ] }, $class;
	my $client = $routers[0]->client;
	for my $scope (map { @$_ } @{ $self->{scopes} })
	{
		$client->row('SELECT idem_account_open($1, $2, scope => $3)', $_, 'USD', $scope) for qw(world shop);
	}
	$client->close;
	$self->{clients} = [ Client::start($n, sub { return $self->client($_[0]) }) ];
	return $self;
}

# If the test dies, the clients must end, too.
sub kill_all
{
	my ($self) = @_;
	kill('KILL', map { $_->{pid} } grep { !defined $_->{status} } @{ $self->{clients} });
	return;
}

# Ends the clients, and adds up what they met.
sub finish
{
	my ($self) = @_;
	PostgreSQL::Test::Utils::append_to_file($self->{stop}, '');
	my %sum = (acknowledged => {}, refused => [], errors => {}, timeouts => 0, changed => 0);
	for my $result (Client::finish(@{ $self->{clients} }))
	{
		push @{ $sum{acknowledged}{$_} }, @{ $result->{acknowledged}{$_} } for keys %{ $result->{acknowledged} };
		push @{ $sum{refused} }, @{ $result->{refused} };
		for my $where (keys %{ $result->{errors} })
		{
			$sum{errors}{$where}{$_} += $result->{errors}{$where}{$_} for keys %{ $result->{errors}{$where} };
		}
		$sum{$_} += $result->{$_} for qw(timeouts changed);
	}
	@$self{ keys %sum } = values %sum;
	for my $where (sort keys %{ $sum{errors} })
	{
		note "sent again on $where: " . join(', ', map { "$sum{errors}{$where}{$_} times after $_" } sort keys %{ $sum{errors}{$where} });
	}
	note "no answer in time: $sum{timeouts} times" if $sum{timeouts};
	return;
}

# How many calls were sent again because of an error of this partition.
sub errors_of
{
	my ($self, $partition) = @_;
	my $sum = 0;
	$sum += $_ for values %{ $self->{errors}{"partition $partition"} // {} };
	return $sum;
}

# Is everything as the clients were told? Asks through a router, and looks into the partitions.
sub check
{
	my ($self) = @_;
	my $router = $self->{routers}[0];
	my $c = $router->client;
	my ($count, $lost, $other) = (0, 0, 0);

	is_deeply($self->{refused}, [], 'clients get no error but those after which they send the call again');
	is($self->{changed}, 0, 'a call that was made again meanwhile gave the same answer');
	is(join(' ', sort keys %{ $self->{acknowledged} }), join(' ', sort keys %calls), 'all kinds of calls were answered');
	for my $kind (sort keys %{ $self->{acknowledged} })
	{
		my @left = @{ $self->{acknowledged}{$kind} };
		while (my @some = splice(@left, 0, BATCH))
		{
			my $answers = again($c, $kind, @some);
			for my $known (@some)
			{
				$count++;
				my ($text, $replayed) = @{ $answers->{ $known->{key} } // [ 'no answer', '' ] };
				next if $replayed && $text eq $known->{text};
				$replayed ? $other++ : $lost++;
				diag "$kind $known->{key}: was\n  $known->{text}\nand is\n  " . ($text // 'none');
			}
		}
	}
	is($lost, 0, "no acknowledged answer of $count is lost");
	is($other, 0, 'none is another one now');

	# each key once
	my %keys = map { my $kind = $_; map { map { ($_ => 1) } keys_of($kind, $_) } @{ $self->{acknowledged}{$kind} } } keys %{ $self->{acknowledged} };
	my ($operations, $moved) = (0, 0);
	for my $i (0 .. $#{ $router->{nodes} })
	{
		my $p = $router->partition($i);
		my $stored = $p->{dbh}->selectcol_arrayref(q(SELECT scope || '/' || key FROM idempotency.operation));
		$operations += @$stored;
		delete @keys{@$stored};
		$moved += $p->value(q(SELECT coalesce(sum(b.posted), 0)
			FROM (SELECT DISTINCT scope FROM idempotency.account) s, idem_balance('shop', scope => s.scope) b));
		$p->close;
	}
	is(scalar(keys %keys), 0, 'each key is there');
	is($operations, scalar(map { my $kind = $_; $kind eq 'lookup' ? () : map { keys_of($kind, $_) } @{ $self->{acknowledged}{$kind} } }
		keys %{ $self->{acknowledged} }), 'once');
	cmp_ok($moved, '==', @{ $self->{acknowledged}{transfer} }, 'the accounts have what was paid to them');
	is($c->value('SELECT string_agg(c::text, $1) FROM idem_check() c WHERE NOT ok', "\n"), undef, 'idem_check finds nothing wrong');
	$c->close;
	return;
}

# The keys of payments that a call has used, with their scopes.
sub keys_of
{
	my ($kind, $call) = @_;
	return "$call->{scope}/$call->{key}" unless $kind eq 'batch';
	my @scopes = @{ $call->{scopes} };
	return map { shift(@scopes) . "/$call->{key} $_" } qw(b a c);
}

#-----------------------------------------------------------------------------------------------------
# A client process
#-----------------------------------------------------------------------------------------------------

# It returns:
#	acknowledged	kind => list of calls that were answered: key, scope or scopes, payment_id, text
#	refused			errors after which it has given up
#	errors			where => SQLSTATE => how often the call was sent again after it
#	timeouts		how often there was no answer
#	changed			how many answers differed when the call was made again
sub client
{
	my ($shared, $number) = @_;
	my $self = bless {
		router => $shared->{routers}[ $number % @{ $shared->{routers} } ],
		acknowledged => {}, refused => [], errors => {}, timeouts => 0, changed => 0, client => undef }, ref $shared;
	my @scopes = @{ $shared->{scopes} };
	alarm LIFE;
	my @partitions = $number <= @scopes ? ($number - 1) : (0 .. $#scopes);

	for my $i (1 .. MOST)
	{
		last if -e $shared->{stop} || getppid() != $shared->{parent};
		my $partition = $partitions[ rand @partitions ];
		my $scope = $scopes[$partition][ rand(SCOPES) ];
		my $where = "partition $partition";
		my @last = ($where, { key => "pay $number $i", scope => $scope });
		$self->call(pay => @last) && $self->call(lookup => @last);
		$self->call(transfer => $where, { key => "transfer $number $i", scope => $scope });
		my $hold = $self->call(authorize => $where, { key => "hold $number $i", scope => $scope });
		for my $kind ($hold ? qw(capture refund) : ())
		{
			$self->call($kind => $where,
				{ key => "$kind $number $i", scope => $scope, payment_id => Client::payment_id($hold->{text}) }) or last;
		}
		$self->call(batch => @partitions > 1 ? 'several partitions' : $where,
			{ key => "batch $number $i", scopes => [ map { $scopes[ $partitions[ rand @partitions ] ][ rand(SCOPES) ] } 1 .. 3 ] });
		$self->ask_again;
	}
	$self->drop;
	delete @$self{qw(client router)};
	return {%$self};
}

# Makes a call until it is answered, and keeps the answer. False: it was refused.
sub call
{
	my ($self, $kind, $where, $call) = @_;

	usleep(rand(2 * PAUSE));
	for (;;)
	{
		my $row = eval { $self->ask(sql($kind, $call))->[0] // die "no row\n" };
		if ($row)
		{
			my $answered = { %$call, kind => $kind, where => $where, text => $row->[1] };
			push @{ $self->{acknowledged}{$kind} }, $answered;
			return $answered;
		}
		$self->retry_or_refuse("$kind $call->{key}", $where, $@) or return;
	}
}

# Makes one of the client's calls again.
sub ask_again
{
	my ($self) = @_;
	my @kinds = sort keys %{ $self->{acknowledged} };
	my $of_kind = $self->{acknowledged}{ $kinds[ rand(@kinds) ] };
	my $known = $of_kind->[ rand(@$of_kind) ];
	for (;;)
	{
		my $row = eval { $self->ask(sql($known->{kind}, $known))->[0] // [ $known->{key}, 'no row', '' ] };
		if ($row)
		{
			$self->{changed}++ if !$row->[2] || $row->[1] ne $known->{text};
			return;
		}
		$self->retry_or_refuse("again $known->{key}", $known->{where}, $@) or return;
	}
}

# After an error: can the same call be sent again? The connection to the router is kept, unless it was lost. If there was
# no answer, it is dropped.
sub retry_or_refuse
{
	my ($self, $what, $where, $error) = @_;
	my $state = $self->{client} ? $self->{client}->state : $DBI::state;

	if ($error =~ /^no answer/)
	{
		$self->{timeouts}++;
		$self->drop;
	}
	elsif ($state =~ $retry)
	{
		$self->{errors}{$where}{$state}++;
		$self->drop unless $self->{client} && $self->{client}{dbh}->ping;
	}
	else
	{
		push @{ $self->{refused} }, "$what: $state $error";
		$self->drop;
		return 0;
	}
	usleep(30_000 + rand(100_000));
	return 1;
}

# The rows of a query, as lists. Dies if there is no answer in time.
sub ask
{
	my ($self, $sql) = @_;
	my $client = $self->{client} //= $self->{router}->client;
	my ($dbh, $end) = ($client->{dbh}, time() + ANSWER_LIMIT);

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

sub drop
{
	my ($self) = @_;
	my $client = delete $self->{client};
	eval { $client->cut } if $client;
	return;
}

# Makes calls again. Returns key => [ text, replayed ].
sub again
{
	my ($client, $kind, @known) = @_;
	my $rows = eval { $client->{dbh}->selectall_arrayref(sql($kind, @known)) };
	return { map { $_->[0] => [ $_->[1], $_->[2] ] } @$rows } if $rows;
	my $error = $@;
	# If one is lost, the others may fail, too: make each call by itself.
	return { map { %{ again($client, $kind, $_) } } @known } if @known > 1;
	return { $known[0]{key} => [ $error, '' ] };
}

# The query for calls of one kind.
sub sql
{
	my ($kind, @of) = @_;
	my $list = join(', ', map {
		my $call = $_;
		'(' . join(', ', map { defined $_ ? "'$_'" : 'NULL' } @$call{qw(key payment_id scope)},
			$call->{scopes} && '{' . join(',', @{ $call->{scopes} }) . '}') . ')'
	} @of);
	return sprintf($calls{$kind},
		"(SELECT key, payment_id::uuid, scope, scopes::text[] FROM (VALUES $list) v(key, payment_id, scope, scopes)) u");
}

1;
