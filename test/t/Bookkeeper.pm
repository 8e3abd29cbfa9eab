# A client of test 030 that moves money at random between the accounts of a round.
#
# A plan is made first, from the seed alone: what a transaction does, and how it ends. Then it is tried, and tried again
# with the same keys while the answer asks for that. What the server may not answer is reported by die.
package Bookkeeper;

use strict;
use warnings;

use Client;
use Model;
use Time::HiRes ();

use constant TRIES => 8;
use constant STRAGGLER => 66;	# entries of others that a straggler waits for
use constant PATIENCE => 1.5;	# seconds, at most

# name => [ currency, floor, ceiling ]. The limits of those that begin with "flex" change, and they are closed and opened
# again.
our %accounts = (
	world => [ 'USD' ],
	shop => [ 'USD' ],
	alice => [ 'USD', 0 ],
	bob => [ 'USD', -50, 400 ],
	till => [ 'USD', 0, 150 ],
	flex1 => [ 'USD', -100, 1000 ],
	flex2 => [ 'USD', -100, 1000 ],
	welt => [ 'EUR' ],
	eve => [ 'EUR', 0, 90 ]);
my @of = map { my $currency = $_; [ grep { $accounts{$_}[0] eq $currency } sort keys %accounts ] } 'USD', 'EUR';

my ($node, $seed);

sub set_up
{
	($node, $seed) = @_;
	return;
}

# Plays until the time is over. Returns what it did and what it knows.
sub play
{
	my ($class, $round, $number, $clients, $end, $storm) = @_;
	my $self = bless {
		round => $round, scope => "round $round", number => $number, clients => $clients, end => $end, storm => $storm,
		count => 0, plans => 0, did => {},
		made => {},			# key => receipt that a committed transaction was answered with
		undone => {},		# key => receipt of a payment that was rolled back
	}, $class;
	my $g = Model::generator($seed, 'client', $round, $number);
	eval {
		while (Time::HiRes::time() < $end)
		{
			my $plan = $self->plan($g);
			$self->carry_out($plan);
			$self->send_again($g) if $g->percent(10);
		}
		1;
	} or $self->{wrong} = "client $number: $@";
	(delete $self->{client})->close if $self->{client};
	return { map { $_ => $self->{$_} } qw(number did made undone wrong) };
}

#-----------------------------------------------------------------------------------------------------
# Plans
#-----------------------------------------------------------------------------------------------------

sub plan
{
	my ($self, $g) = @_;
	return $self->storm($g) if $self->{end} - Time::HiRes::time() < $self->{storm};
	my $straggles = $self->{number} <= 2 && $g->percent(40);
	my %plan = (
		isolation => $straggles ? $g->weighted('read committed' => 3, 'repeatable read' => 2)
			: $g->weighted('read committed' => 5, 'repeatable read' => 3, 'serializable' => 2),
		declines => $g->pick('raise', 'record'),
		lock_timeout => $g->percent(15) ? 5 + $g->int(50) : 0,
		# a client prepares under names of its own; one that prepares leaves the transaction for a while
		end => $g->weighted(COMMIT => 70, ROLLBACK => 12, PREPARE => 6, alone => 30),
		name => "$self->{round} $self->{number} " . $self->{plans}++,
		keep_prepared => $g->percent(30),
		pause => $g->percent(25) ? $g->int(12) : 0);
	$plan{end} = 'COMMIT' if $straggles && $plan{end} eq 'alone';
	if (!$straggles && $g->percent(9))
	{
		$plan{end} = 'COMMIT' if $plan{end} eq 'alone';
		$plan{steps} = [ $self->closing($g), $g->percent(40) ? $self->request($g) : () ];
		return \%plan;
	}
	if ($plan{end} eq 'alone')
	{
		$plan{steps} = [ $g->percent(15) ? $self->batch($g) : $self->request($g) ];
		return \%plan;
	}
	if (!$straggles && $g->percent(3))
	{
		$plan{steps} = [ $self->undone_refund($g) ];
		return \%plan;
	}
	$plan{steps} = [ map { $self->step($g, 0, $straggles) } 1 .. 1 + $g->int($straggles ? 3 : 4) ];
	if ($straggles)
	{
		# entries in a subtransaction, too, that others go by
		my @quiet = map { $self->quiet($g) } 1 .. 2;
		unshift @{ $plan{steps} }, $g->percent(50) ? $quiet[0] : { group => [ $quiet[0] ], savepoint => 'release' }, { wait => 1 };
		push @{ $plan{steps} }, { group => [ $quiet[1], { wait => 1 } ], savepoint => $g->pick('release', 'rollback') }
			if $g->percent(60);
		push @{ $plan{steps} }, $self->quiet($g), { wait => 1 } if $g->percent(40);
	}
	return \%plan;
}

# At the end of a round: most clients have several entries of a transaction in progress behind many of others, and commit
# while others look at the same account.
sub storm
{
	my ($self, $g) = @_;
	my $pay = sub { return { kind => 'pay', key => $self->key, from => 'world', to => 'shop', currency => 'USD', amount => '0.01' } };
	my %plan = (isolation => 'read committed', declines => 'raise', lock_timeout => 0, pause => 0, end => 'alone');
	return { %plan, steps => [ $pay->() ] } if $self->{number} > $self->{clients} - 3;
	return { %plan, end => 'COMMIT', steps => [ (map { $pay->() } 1 .. 2 + $g->int(2)), { wait => 1 }, $g->percent(30) ? $pay->() : () ] };
}

# A request, or several in a savepoint, which may have savepoints themselves.
sub step
{
	my ($self, $g, $depth) = @_;
	return $self->batch($g) if $g->percent(8);
	return $self->request($g) if $depth > 2 || $g->percent(55);
	return {
		group => [ map { $self->step($g, $depth + 1) } 1 .. 1 + $g->int(3) ],
		savepoint => $g->weighted(release => 3, rollback => 2) };
}

sub key
{
	my ($self) = @_;
	return "$self->{number}-" . ++$self->{count};
}

# The key of a request that this client, or another one, may have sent.
sub other_key
{
	my ($self, $g) = @_;
	return $g->pick(@{ $self->{begun} }) if $self->{begun} && $g->percent(15);
	my $number = $g->percent(70) ? $self->{number} : 1 + $g->int($self->{clients});
	my $i = $self->{count} - $g->int($g->pick(4, 4, 30, 30, 200));
	return "$number-" . ($i > 0 ? $i : 1);
}

sub accounts
{
	my ($self, $g) = @_;
	my @names = @{ $of[ $g->percent(85) ? 0 : 1 ] };
	# many from world, so that there is something to take
	my $from = $g->percent(35) ? $names[-1] : $g->pick(@names);
	my $to = $g->pick(grep { $_ ne $from } @names);
	return ($from, $to, $accounts{$from}[0]);
}

sub amount
{
	my ($g) = @_;
	return sprintf('%d.%02d', $g->int($g->pick(3, 20, 60)), 1 + $g->int(99));
}

sub request
{
	my ($self, $g) = @_;
	my $kind = $g->weighted(pay => 38, authorize => 18, capture => 13, void => 3, refund => 9, cancel => 7, increase => 5,
		post => 6, change => 3, expire => 2, look => 8);
	my %request = (kind => $kind);
	return { kind => 'look', accounts => [ $g->pick(sort keys %accounts), $g->pick('world', 'shop', 'alice') ] } if $kind eq 'look';
	return { kind => 'expire', most => 1 + $g->int(20) } if $kind eq 'expire';
	return $self->change($g) if $kind eq 'change';
	return $self->post($g) if $kind eq 'post';

	$request{of} = $self->other_key($g) unless $kind =~ /^(?:pay|authorize)\z/;
	$request{of} = $self->{last_refund} if $kind eq 'cancel' && $self->{last_refund} && $g->percent(30);
	$request{key} = $self->key unless $kind eq 'cancel';
	$self->{last_refund} = $request{key} if $kind eq 'refund';
	$request{amount} = $g->percent($kind eq 'increase' ? 10 : 25) ? undef : amount($g) unless $kind =~ /^(?:void|cancel)\z/;
	if ($kind =~ /^(?:pay|authorize)\z/)
	{
		$request{amount} //= $kind eq 'pay' && $g->percent(10) ? 0 : amount($g);
		@request{qw(from to currency)} = $self->accounts($g);
		$request{look} = $g->percent(40);	# at what is left
		$request{expires_in} = $g->pick('30 milliseconds', '200 milliseconds', '7 days') if $kind eq 'authorize';
	}
	$request{final} = $g->pick('true', 'false') if $kind eq 'capture';
	$request{expires_in} = $g->pick('1 second', '8 days') if $kind eq 'increase' && ($g->percent(30) || !defined $request{amount});
	return \%request;
}

# What limits hardly ever forbid: a straggler is to have something in progress.
sub quiet
{
	my ($self, $g) = @_;
	my ($from, $to) = @{ $g->pick([ 'world', 'shop' ], [ 'world', 'shop' ], [ 'shop', 'world' ], [ 'world', 'alice' ], [ 'world', 'flex1' ], [ 'alice', 'world' ]) };
	return { kind => $g->percent(75) ? 'pay' : 'authorize', key => $self->key, from => $from, to => $to, currency => 'USD',
		amount => sprintf('%d.50', $g->int(3)), expires_in => '7 days' };
}

# A payment, a refund, and its cancellation: the refund did not arrive.
sub undone_refund
{
	my ($self, $g) = @_;
	my $pay = { %{ $self->quiet($g) }, kind => 'pay', amount => '3.50' };
	my $refund = { kind => 'refund', key => $self->key, of => $pay->{key}, amount => $g->percent(50) ? undef : '0.75' };
	return ($pay, $refund, { kind => 'cancel', of => $refund->{key} });
}

# New limits, or none.
sub change
{
	my ($self, $g) = @_;
	my %change = (kind => 'change', name => $g->pick('flex1', 'flex2'));
	my $what = $g->weighted(floor => 4, ceiling => 4, both => 2);
	$change{floor} = $g->percent(20) ? '-Infinity' : $g->pick(-200, -100, -20, 0, 5, 50) if $what =~ /floor|both/;
	$change{ceiling} = $g->percent(20) ? 'Infinity' : $g->pick(60, 100, 300, 1000) if $what =~ /ceiling|both/;
	# limits so tight that a payment that goes by the old ones passes them
	$change{tight} = 1 if $g->percent(50);
	return \%change;
}

# Closes an account, or opens it again. A change keeps the account's lock to the commit, even one that changes nothing. So
# the entry of the payment, which says what the account becomes, is the last before it is closed, or the first after it is
# opened. If a limit forbids that payment, nothing is closed or opened. What is begun just before it is closed goes on later.
#
# Each try makes a payment of its own. If the answer to a COMMIT was lost, others may have closed the account again by the
# next try, which opens it once more: then a replay would mark nothing.
sub closing
{
	my ($self, $g) = @_;
	my $name = $g->pick('flex1', 'flex2');
	my $closes = $g->percent(30);
	my ($from, $to) = $g->percent(50) ? ('world', $name) : ($name, 'world');
	my $change = sub { return { kind => 'change', name => $name, @_ } };
	my $mark = { kind => 'pay', key => $self->key, from => $from, to => $to, currency => 'USD', amount => '0.01',
		reference => $name . ($closes ? ' closed' : ' open'), declines => 'raise', each_try => 1 };
	my %begun = (from => $name, to => 'world', currency => 'USD', expires_in => $g->pick('200 milliseconds', '7 days'));
	my @begun = map { { %begun, kind => $_, key => $self->key, amount => '0.50' } } $closes ? ('authorize', 'pay') : ();
	$self->{begun} = [ map { $_->{key} } @begun ] if $closes;
	my @steps = $closes ? ($change->(), @begun, $mark, $change->(closed => 'true')) : ($change->(closed => 'false'), $mark);
	return $g->percent(60) ? @steps : { group => \@steps, savepoint => $g->weighted(release => 3, rollback => 1) };
}

# Several legs that add up to zero, or should have.
sub post
{
	my ($self, $g) = @_;
	my @entries = legs($g, 0, 2 + $g->int(4));
	push @entries, legs($g, 1, 2) if $g->percent(30);
	my %post = (kind => 'post', key => $self->key, entries => \@entries);
	if ($g->percent(6))
	{
		$entries[-1]{amount} += $g->pick(1, -1, 100);
		$entries[-1]{amount} ||= 7;
		$post{expect} = '22023';
	}
	return \%post;
}

# Legs between accounts of a currency, in hundredths.
sub legs
{
	my ($g, $of, $n) = @_;
	my @names = @{ $of[$of] };
	my @legs = map { { account => splice(@names, $g->int(scalar @names), 1), amount => $g->pick(-1, 1) * (1 + $g->int($g->pick(100, 3000))) } } 2 .. $n;
	my $sum = 0;
	$sum += $_->{amount} for @legs;
	if ($sum == 0)
	{
		$legs[0]{amount} += $legs[0]{amount};
		$sum = $legs[0]{amount} / 2;
	}
	return (@legs, { account => $g->pick(@names), amount => -$sum });
}

# A batch of captures, refunds or payments.
sub batch
{
	my ($self, $g) = @_;
	return $self->pay_batch($g) if $g->percent(60);
	my @items = map { { key => $self->key, of => $self->other_key($g), amount => $g->percent(50) ? 'Infinity' : amount($g) } } 1 .. 2 + $g->int(4);
	return { kind => $g->pick('capture_batch', 'refund_batch'), items => \@items, final => $g->pick('true', 'false') };
}

# A batch of payments, most between accounts. Of some, we know how they fail.
sub pay_batch
{
	my ($self, $g) = @_;
	my @items;
	for (1 .. 2 + $g->int($g->pick(5, 20)))
	{
		my %item = (key => $self->key, amount => amount($g));
		@item{qw(from to currency)} = $self->accounts($g);
		my $what = $g->weighted(normal => 80, none => 8, again => 8, foreign => 3, unknown => 3);
		%item = (key => $item{key}, amount => $item{amount}, currency => 'USD') if $what eq 'none';
		@item{qw(currency expect)} = ($item{currency} eq 'USD' ? 'EUR' : 'USD', '22023') if $what eq 'foreign';
		@item{qw(from expect)} = ('nobody', 'ID404') if $what eq 'unknown';
		if ($what eq 'again' && @items)
		{
			%item = %{ $g->pick(@items) };
			$item{amount} = amount($g) if $g->percent(40);
		}
		splice(@items, $g->int(1 + @items), 0, \%item);
	}
	return { kind => 'pay_batch', items => \@items, declines => $g->pick(undef, 'raise', 'record') };
}

#-----------------------------------------------------------------------------------------------------
# Carrying them out
#-----------------------------------------------------------------------------------------------------

sub carry_out
{
	my ($self, $plan) = @_;
	for my $try (1 .. TRIES)
	{
		return if Time::HiRes::time() > $self->{end} + 5;
		$self->{answers} = {};
		$self->{ours} = {};		# the texts of the answers that were no replays
		my $result = $self->attempt($plan);
		if ($result eq 'done')
		{
			$self->{made}{$_} = $self->{answers}{$_} for keys %{ $self->{answers} };
			return;
		}
		if ($result eq 'undone')
		{
			$self->note_undone(keys %{ $self->{answers} });
		}
		return if $result =~ /^(?:refused|undone|left)\z/;
	}
	$self->{did}{'gave up'}++;
	return;
}

# The result: done, undone, left (we do not know), refused, or again.
sub attempt
{
	my ($self, $plan) = @_;
	my @begin = ("SET default_transaction_isolation = '$plan->{isolation}'", "SET idempotency.declines = $plan->{declines}",
		"SET lock_timeout = $plan->{lock_timeout}", $plan->{end} eq 'alone' ? () : 'BEGIN');
	my $failed = $self->command(join('; ', @begin)) // $self->run($plan, @{ $plan->{steps} });
	return $self->fail($failed) if $failed;
	return 'done' if $plan->{end} eq 'alone';

	Time::HiRes::usleep(1000 * $plan->{pause}) if $plan->{pause};
	if ($plan->{end} eq 'PREPARE')
	{
		$failed = $self->command("PREPARE TRANSACTION '$plan->{name}'");
		return $failed->{lost} ? $self->lost('left') : $self->fail($failed) if $failed;
		$self->{did}{prepared}++;
		return 'left' if $plan->{keep_prepared};
		Time::HiRes::usleep(3000 * $plan->{pause});
		# the parent may have ended it
		$failed = $self->command("COMMIT PREPARED '$plan->{name}'", '42704', '55000');
		return $failed->{lost} ? $self->lost('left') : 'left' if $failed;
		return 'done';
	}
	$failed = $self->command($plan->{end});
	$self->{did}{ $plan->{end} }++;
	return $plan->{end} eq 'COMMIT' ? 'done' : 'undone' unless $failed;
	return $self->lost('again') if $failed->{lost};
	return $self->fail($failed);
}

sub fail
{
	my ($self, $failed) = @_;
	return $self->lost('again') if $failed->{lost};
	$self->{did}{ $failed->{state} }++;
	my $rolled_back = $self->command('ROLLBACK');
	return $self->lost('again') if $rolled_back;
	return $failed->{state} =~ /^(?:ID|22)/ ? 'refused' : 'again';
}

sub lost
{
	my ($self, $result) = @_;
	$self->{did}{lost}++;
	(delete $self->{client})->close if $self->{client};
	return $result;
}

sub run
{
	my ($self, $plan, @steps) = @_;
	for my $step (@steps)
	{
		if (!$step->{group})
		{
			my $failed = $step->{wait} ? $self->wait_for_others : $self->call($plan, $step);
			return $failed if $failed;
			next;
		}
		my %before = %{ $self->{answers} };
		my $failed = $self->command('SAVEPOINT s');
		return $failed if $failed;
		$failed = $self->run($plan, @{ $step->{group} });
		return $failed if $failed && ($failed->{lost} || $failed->{state} !~ /^(?:ID|22|55P03|40P01)/);
		$self->{did}{ $failed->{state} . ' in a savepoint' }++ if $failed;
		my $undo = $failed || $step->{savepoint} eq 'rollback';
		$self->{did}{ $undo ? 'ROLLBACK TO' : 'RELEASE' }++;
		$failed = $self->command($undo ? 'ROLLBACK TO s; RELEASE s' : 'RELEASE s');
		return $failed if $failed;
		if ($undo)
		{
			$self->note_undone(grep { !$before{$_} } keys %{ $self->{answers} });
			$self->{answers} = \%before;
		}
	}
	return;
}

# Notes what this transaction made under these keys, and rolled back.
sub note_undone
{
	my ($self, @keys) = @_;
	$self->{undone}{$_} = $self->{answers}{$_} for grep { $self->{ours}{ $self->{answers}{$_} } } @keys;
	return;
}

# Waits until others have made so many entries.
sub wait_for_others
{
	my ($self) = @_;
	$self->{looker} = undef if $self->{looker} && !$self->{looker}{dbh}->ping;
	my $newest = sub {
		my $seq = eval {
			$self->{looker} //= Client->new($node);
			$self->{looker}->value(q(SELECT max(seq) FROM idempotency.entry e JOIN idempotency.account a ON a.id = e.account
				WHERE a.scope = $1 AND a.name = 'world'), $self->{scope});
		};
		$self->{looker} = undef unless defined $seq;
		return $seq // 0;
	};
	my $from = $newest->();
	$self->{did}{straggled}++ if Client::wait_until(sub { Time::HiRes::usleep(3_000); $newest->() > $from + STRAGGLER }, PATIENCE);
	return;
}

# Sends a request. Returns the error, if there is one.
sub call
{
	my ($self, $plan, $request) = @_;
	my $kind = $request->{kind};
	$request = { %$request, key => "$request->{key} " . $self->{tries}++ } if $request->{each_try};
	my $failed = $kind eq 'look' ? $self->look($request)
		: $kind eq 'pay_batch' ? $self->call_pay_batch($request)
		: $self->ask($self->sql_of($request), $kind, $request->{expect});
	return $failed if $failed;
	$self->{did}{$kind}++;
	return $self->look({ accounts => [ $request->{from} ] }) if $request->{look};
	return;
}

sub quote { return defined $_[1] ? $_[0]{client}{dbh}->quote($_[1]) : 'NULL' }

sub sql_of
{
	my ($self, $r) = @_;
	my $q = sub { return $self->quote($_[0]) };
	my $scope = $q->($self->{scope});
	my $is = $r->{kind};
	my $select = 'SELECT r::text AS text, r.key, r.replayed, r.sqlstate FROM';
	return "SELECT idem_expire($r->{most})" if $is eq 'expire';
	my %tight = (floor => 'b.available - 1', ceiling => 'b.posted + 1');
	return 'SELECT FROM idem_balance(' . $q->($r->{name}) . ", scope => $scope) b, LATERAL idem_account_change("
		. join(', ', $q->($r->{name}), "scope => $scope", map { "$_ => " . ($r->{tight} && $tight{$_} || $q->($r->{$_})) }
			grep { defined $r->{$_} } qw(floor ceiling closed)) . ')' if $is eq 'change';
	return "$select idem_$is(" . join(', ', $q->($r->{key}), $r->{amount}, $q->($r->{currency}), $q->($r->{from}), $q->($r->{to}),
		"scope => $scope", $is eq 'authorize' ? 'expires_in => ' . $q->($r->{expires_in}) : (),
		defined $r->{reference} ? 'reference => ' . $q->($r->{reference}) : (),
		defined $r->{declines} ? 'declines => ' . $q->($r->{declines}) : ()) . ') r' if $is =~ /^(?:pay|authorize)\z/;
	return "$select idem_post(" . $q->($r->{key}) . ', ARRAY['
		. join(', ', map { '(' . $q->($_->{account}) . ", $_->{amount} / 100.0)" } @{ $r->{entries} }) . "]::idem_entry[], scope => $scope) r"
		if $is eq 'post';
	return "$select idem_cancel(" . $q->($r->{of}) . ", $scope) r" if $is eq 'cancel';
	if ($is =~ /_batch\z/)
	{
		my @items = @{ $r->{items} };
		my $final = $is eq 'capture_batch' ? ", final => $r->{final}" : '';
		return "SELECT b.* FROM (SELECT array_agg(i.key ORDER BY i.key) AS keys, array_agg(l.payment_id ORDER BY i.key) AS ids,
				array_agg(i.amount ORDER BY i.key) AS amounts
			FROM (VALUES " . join(', ', map { '(' . join(', ', $q->($_->{key}), $q->($_->{of}), $q->($_->{amount}) . '::numeric') . ')' } @items)
			. ") i(key, of, amount), idem_lookup(i.of, $scope) l) a, idem_$is(a.keys, a.ids, a.amounts, scope => $scope$final) b
			WHERE a.keys IS NOT NULL";
	}
	my @arguments = ($q->($r->{key}), 'l.payment_id', "scope => $scope");
	push @arguments, "amount => $r->{amount}" if defined $r->{amount};
	push @arguments, "final => $r->{final}" if $is eq 'capture';
	push @arguments, 'expires_in => ' . $q->($r->{expires_in}) if $is eq 'increase' && $r->{expires_in};
	return "$select idem_lookup(" . $q->($r->{of}) . ", $scope) l, LATERAL idem_$is(" . join(', ', @arguments) . ') r';
}

# Pays a batch. Returns the error, if there is one.
sub call_pay_batch
{
	my ($self, $request) = @_;
	my @items = @{ $request->{items} };
	my $scope = $self->quote($self->{scope});
	my $array = sub { my ($field, $type) = @_; return 'ARRAY[' . join(', ', map { $self->quote($_->{$field}) } @items) . "]::$type\[]" };
	my $sql = 'SELECT * FROM idem_pay_batch(' . join(', ', $array->(key => 'text'), $array->(amount => 'numeric'), $array->(currency => 'text'),
		"scope => $scope", 'from_accounts => ' . $array->(from => 'text'), 'to_accounts => ' . $array->(to => 'text'),
		$request->{declines} ? "declines => '$request->{declines}'" : ()) . ')';
	my ($failed, $rows) = $self->query($sql, 'pay_batch');
	return $failed if $failed;
	die "$sql: " . @$rows . " rows\n" if @$rows != @items;

	# the same keys have the same answer in this transaction, and afterwards
	($failed, my $stored) = $self->query('SELECT r.key, r::text AS text FROM (SELECT DISTINCT k FROM unnest(' . $array->(key => 'text')
		. ") k) k, idem_lookup(k, $scope) r", 'pay_batch');
	return $failed if $failed;
	my %stored = map { $_->{key} => (Client::split_receipt($_->{text}))[0] } @$stored;
	for my $i (0 .. $#items)
	{
		my ($item, $b) = ($items[$i], $rows->[$i]);
		my $state = $b->{outcome} eq 'failed' ? $b->{sqlstate} : $b->{outcome};
		my $known = $self->{made}{ $item->{key} };
		my $text = $stored{ $item->{key} };
		my $twice = (grep { $_->{key} eq $item->{key} } @items) > 1;
		die "$sql: item " . ($i + 1) . " is $state, " . ($b->{message} // '') . "\n"
			unless $b->{item} == $i + 1 && $b->{key} eq $item->{key} && item_may_be($item, $state, $b->{message}, $text, $twice);
		die "$sql: item " . ($i + 1) . " was made a second time\n" if $known && $state eq 'new';
		die "$sql: the receipt of item " . ($i + 1) . " was\n$known\nand is\n" . ($text // 'nothing') . "\n" if $known && $known ne ($text // '');
		$self->{did}{"batch $state"}++;
		next unless defined $text;
		$self->{answers}{ $item->{key} } = $text;
		$self->{ours}{$text} = 1 if $state eq 'new';
	}
	return;
}

# May an item of a batch have this outcome, or this SQLSTATE and message, if this is the receipt stored under its key?
# $twice: another item of the batch has the same key.
sub item_may_be
{
	my ($item, $state, $message, $text, $twice) = @_;
	return 1 if $state eq 'ID412' && $message eq 'idempotency key has been cancelled' && ($text // '') =~ /,cancelled,/;
	return 1 if $state eq 'ID422' && $twice;
	return $state eq $item->{expect} if $item->{expect};
	return defined $text if $state =~ /^(?:new|replayed)\z/;
	return defined $item->{from} && ($state eq 'ID402' || $state eq 'ID412' && $message =~ /^account/);
}

# Runs a query, and keeps the receipts that it returns. Returns the error, if it is one that there may be. $expect: the
# only one.
sub ask
{
	my ($self, $sql, $kind, $expect) = @_;
	my ($failed, $rows) = $self->query($sql, $kind, $expect);
	return $failed if $failed;
	die "$sql: it should have failed with $expect\n" if $expect && grep { !$_->{replayed} } @$rows;
	for my $r (grep { defined $_->{text} } @$rows)
	{
		$self->{did}{ $r->{replayed} ? 'replayed' : 'new' }++;
		$self->{did}{"declined $r->{sqlstate}"}++ if defined $r->{sqlstate} && !$r->{replayed};
		my ($text) = Client::split_receipt($r->{text});
		my $known = $self->{made}{ $r->{key} };
		die "$sql: the receipt was\n$known\nand is\n$text\n" if $known && $known ne $text;
		die "$sql: it was made a second time\n" if $known && !$r->{replayed};
		$self->{answers}{ $r->{key} } = $text;
		$self->{ours}{$text} = 1 unless $r->{replayed};
	}
	for my $b (grep { defined $_->{message} } @$rows)
	{
		die "$sql: $b->{message}\n" if $b->{message} eq 'account is closed' && goes_on($kind);
	}
	return;
}

# Does it go on with what began before? Then a closed account does not mind.
sub goes_on { return $_[0] =~ /^(?:capture|void|refund|cancel|expire|capture_batch|refund_batch)\z/ }

# Runs a query. Returns the error, if it is one that there may be, or nothing and the rows.
sub query
{
	my ($self, $sql, $kind, $expect) = @_;
	my $rows = eval { $self->{client}{dbh}->selectall_arrayref($sql, { Slice => {} }) };
	return (undef, $rows) if $rows;

	my $failed = $self->failure;
	my $state = $failed->{state};
	die "$sql: $state $failed->{message}\n"
		unless $failed->{lost} || $state =~ /^(?:40001|40P01|55P03|57014)\z/ || ($expect ? $state eq $expect : $state =~ /^(?:ID402|ID404|ID412)\z/)
			|| $kind eq 'change' && $failed->{message} =~ /floor must not be above ceiling/;
	die "$sql: $failed->{message}\n" if $state eq 'ID404' && $failed->{message} =~ /account/;	# all are there
	die "$sql: $failed->{message}\n" if $failed->{message} =~ /account is closed/ && goes_on($kind);
	$self->{did}{"$kind $state"}++ unless $failed->{lost};
	return $failed;
}

# The balance must be the sum of the entries, in one snapshot. At REPEATABLE READ, our own view of an account is within
# its limits, too.
sub look
{
	my ($self, $request) = @_;
	for my $name (@{ $request->{accounts} })
	{
		my $rows = eval { $self->{client}{dbh}->selectall_arrayref(
			q(SELECT b.posted, b.held, b.available, b.entries, s.posted AS s_posted, s.held AS s_held, s.entries AS s_entries,
				current_setting('transaction_isolation') AS level
			  FROM idem_balance($1, scope => $2) b,
				LATERAL (SELECT coalesce(sum(e.amount), 0) AS posted, coalesce(sum(e.held), 0) AS held, count(e.seq) AS entries
					FROM idempotency.account a JOIN idempotency.entry e ON e.account = a.id
					WHERE (a.name, a.scope) = ($1, $2)) s), { Slice => {} }, $name, $self->{scope}) };
		if (!$rows)
		{
			my $failed = $self->failure;
			die "balance: $failed->{state} $failed->{message}\n"
				unless $failed->{lost} || $failed->{state} =~ /^(?:40001|57014|55P03)\z/;
			return $failed;
		}
		my ($b) = @$rows;
		die "$name at $b->{level} has $b->{posted} posted, $b->{held} held, $b->{entries} entries, and should have "
			. "$b->{s_posted}, $b->{s_held}, $b->{s_entries}\n"
			if $b->{posted} != $b->{s_posted} || $b->{held} != $b->{s_held} || $b->{entries} != $b->{s_entries}
				|| abs($b->{posted} - $b->{held} - $b->{available}) > 0.001;
		next if $name =~ /^flex/;
		my ($currency, $floor, $ceiling) = @{ $accounts{$name} };
		die "$name at $b->{level} has $b->{available} available, below $floor\n" if defined $floor && $b->{available} < $floor;
		die "$name at $b->{level} has $b->{posted} posted, above $ceiling\n" if defined $ceiling && $b->{posted} > $ceiling;
	}
	return;
}

# Sends one of the last requests again. Its key is known, or new if it was rolled back.
sub send_again
{
	my ($self, $g) = @_;
	my ($request) = grep { $_->{key} } map { $self->request($g) } 1 .. 5;
	return unless $request;
	$self->carry_out({ isolation => 'read committed', declines => 'raise', lock_timeout => 0, end => 'alone', steps => [ $request ] }) for 1 .. 2;
	return;
}

# Runs commands. Returns the error, if it is one that there may be.
sub command
{
	my ($self, $sql, @allowed) = @_;
	if (!$self->{client})
	{
		Client::wait_until(sub { $self->{client} = eval { Client->new($node, set => { application_name => 'client' }) } })
			or die "cannot connect: $@";
	}
	return if eval { $self->{client}->do($sql); 1 };
	my $failed = $self->failure;
	die "$sql: $failed->{state} $failed->{message}\n"
		unless $failed->{lost} || grep { $_ eq $failed->{state} } '40001', '57014', '55P03', @allowed;
	return $failed;
}

sub failure
{
	my ($self) = @_;
	my $dbh = $self->{client}{dbh};
	my %failed = (state => $dbh->state || 'none', message => $dbh->errstr // '');
	$failed{lost} = $failed{state} !~ /^(?:ID|22|40|23|XX|0A|25|42)/ && !$dbh->ping;
	return \%failed;
}

1;
