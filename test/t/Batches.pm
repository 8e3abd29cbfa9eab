# The batches of a client that plays against the model (Player.pm): which payments they have, and how their outcomes are
# compared with what is allowed.
package Batches;

use strict;
use warnings;
use utf8;

use Caller qw(about id read_receipt COLUMNS);
use Model;
use Till;

# An item of the play: payments for a batch, all in one scope. Some many batches have, some are planned ones that a batch
# can express, and the rest are private. Of some, we know how they fail (expect).
sub batch
{
	my ($self, $step, $g) = @_;
	my $scope = $g->pick(Model::scopes());
	my $group = CORE::int($step * Player::REQUESTS() / Player::STEPS() / Model::GROUP);
	my @requests;
	for my $n (1 .. 2 + $g->int(12))
	{
		my $i = Model::GROUP * ($group + $g->int(3) - 1);
		my $planned = $i >= 0 && $i < Player::REQUESTS() ? Model::planned($self->{seed}, $self->{round}, $i) : undef;
		if ($g->percent(40))
		{
			my $common = 8 * CORE::int($step / 4) + $g->int(12);
			push @requests, { %{ payment($self, "common $common", $scope) }, private => 0 };
		}
		elsif ($planned && $planned->{scope} eq $scope && ($planned->{kind} eq 'pay' || $g->percent(20)))
		{
			push @requests, { kind => 'pay', map { $_ => $planned->{$_} } qw(scope key amount currency reference metadata from_account to_account) };
		}
		else
		{
			push @requests, payment($self, "own $self->{number} $step batch $n", $scope);
			push @requests, failing($self, "own $self->{number} $step failing $n", $scope) if $g->percent(15);
		}
	}
	@requests = map { splice(@requests, $g->int(scalar @requests), 1) } 1 .. @requests if $g->percent(50);
	push @requests, $requests[0] if $g->percent(30);
	return (batch => \@requests, declines => $g->pick('', 'raise', 'record'));
}

# A payment of a batch, by its name. Half of them are between accounts.
sub payment
{
	my ($self, $name, $scope) = @_;
	my $key = "R$self->{round} $name";
	my $g = Model::generator($self->{seed}, 'payment', $key);
	my %payment = %{ Player::private_payment($key, $scope) };
	$payment{amount} = Model::number($g->int(40));
	Model::plan_accounts(\%payment, $g) if $g->percent(50);
	return \%payment;
}

# A payment that fails because of its accounts, whatever the limits are.
sub failing
{
	my ($self, $name, $scope) = @_;
	my $payment = payment($self, $name, $scope);
	my $g = Model::generator($self->{seed}, 'failing', $payment->{key});
	my @how = (
		[ 'nowhere', 'world EUR', 'ID404' ], [ 'world USD', 'shop USD', '22023' ], [ 'world EUR', 'shop USD', '22023' ],
		[ 'world EUR', 'world EUR', '22023' ], [ 'world EUR', undef, '22023' ], [ 'world EUR', 'nowhere', 'ID404' ]);
	@$payment{qw(from_account to_account expect)} = @{ $g->pick(@how) };
	$payment->{amount} = Model::number(7);
	return $payment;
}

# Sends a batch. Its answer has no receipts, so they are looked up.
sub call_batch
{
	my ($self, $item) = @_;
	my @predicted = @{ $item->{predicted} // [] };
	my @requests = map { { %$_, declines => $item->{declines}, predicted => shift @predicted } } @{ $item->{batch} };
	my $transaction = $self->{own};
	$self->note_sent($_) for grep { !$_->{expect} } @requests;
	my $answer = $self->ask($self->sql_of_batch($item->{declines}, @requests));
	my $lost = sub {
		return if $transaction;
		$self->note_unknown($_) for grep { !$_->{expect} } @requests;
		# those that no limit can forbid, and no other client uses
		push @{ $self->{torn} }, [ keys %{ { map { ($_->{key} => 1) } grep { $_->{private} && !defined $_->{from_account} } @requests } } ]
			if $requests[0]{scope} eq '';
	};
	if ($answer->{state})
	{
		$lost->() if $answer->{lost};
		$answer->{several} = 1;
		return $self->check_error($answer);
	}

	$self->{own} //= [];
	for my $i (0 .. $#requests)
	{
		my ($request, $b) = ($requests[$i], $answer->{rows}[$i]);
		my $failed;
		about($request, sub {
			Model::expect($b, item => $i + 1, key => $request->{key});
			$failed = $self->check_outcome($request, $b, $transaction);
			1;
		}, $b);
		if ($failed)
		{
			$lost->();
			delete $self->{own} unless $transaction;
			return $failed;
		}
		$self->{did}{ 'batch ' . ($b->{sqlstate} // $b->{outcome}) }++;
	}
	$self->committed unless $transaction;
	return;
}

sub sql_of_batch
{
	my ($self, $declines, @requests) = @_;
	my $array = sub { return 'ARRAY[' . join(', ', @_) . ']' };
	my @accounts = map { my $which = $_; "${which}s => " . $array->(map { $self->quote($_->{$which}) } @requests) . '::text[]' } qw(from_account to_account);
	return 'SELECT b.* FROM idem_pay_batch('
		. join(', ',
			$array->(map { $self->quote($_->{key}) } @requests),
			$array->(map { Model::major($_->{amount}, $_->{currency}) } @requests),
			$array->(map { $self->quote($_->{currency}) } @requests),
			$array->(map { $self->quote($_->{reference}) } @requests) . '::text[]',
			$array->(map { $self->quote($_->{metadata}) } @requests) . '::' . (qw(text json jsonb))[ @requests % 3 ] . '[]',
			$self->quote($requests[0]{scope}),
			(grep { defined $_->{from_account} } @requests) ? @accounts : (),
			$declines ? "declines => '$declines'" : ())
		. ') b ORDER BY b.item';
}

# May an item have this outcome? Returns an answer if the look-up failed.
sub check_outcome
{
	my ($self, $request, $b, $transaction) = @_;
	my $stored = $self->stored(id($request));
	Till::check_predicted($request->{predicted}, $b) if $request->{predicted};
	if ($b->{outcome} ne 'failed')
	{
		die "it was to fail with $request->{expect}\n" if $request->{expect};
		die "it was made a second time\n" if $stored && $b->{outcome} eq 'new';
		my $failed = $self->look_up_made($request, $b->{outcome} eq 'replayed' ? 1 : 0);
		return $failed if $failed;
		Model::expect($self->stored(id($request)), payment_id => $b->{payment_id}, status => $b->{status});
		return;
	}
	if ($request->{expect})
	{
		Model::expect($b, sqlstate => $request->{expect});
		return;
	}
	my %told = (state => $b->{sqlstate}, message => $b->{message}, detail => $b->{detail} // '');
	die "a batch does not fail for one item with $b->{sqlstate}\n" if $b->{sqlstate} !~ /^ID/;
	if ($b->{sqlstate} !~ /^ID4[01]2\z/)
	{
		$self->check_error(\%told, $request);
		return;
	}

	# it was refused, or was declined, now or earlier, or its key was cancelled
	my $failed = $self->look_up_made($request, undef, \my $found);
	return $failed if $failed;
	my $r = $found ? $self->stored(id($request)) : undef;
	if ($r && $r->{kind} eq 'cancel' && $b->{message} eq 'idempotency key has been cancelled')
	{
		return;
	}
	if ($r && defined $r->{sqlstate})
	{
		Model::expect($r, sqlstate => $b->{sqlstate}, message => $b->{message});
		# we may have made it
		$self->{maybe}{ id($r) } = 1 unless $transaction;
		return;
	}
	# if it is there by now, another client has made it since
	die "it should have been stored\n" if $self->declines($request) eq 'record';
	die "it was refused with $b->{message}, and is there\n" if $r && $transaction && grep { id($_) eq id($request) } @{ $self->{own} };
	die "no account forbids that\n" unless grep { Caller::same_limit($_, \%told) } Model::limits_of_start($request);
	return;
}

# Looks up the receipt that is stored under a key, and notes it. $replayed: undef if we do not know whether we have made it;
# then it need not be there (${$found}). Returns the answer if it was an error.
sub look_up_made
{
	my ($self, $request, $replayed, $found) = @_;
	my $where = join(', ', map { $self->quote($request->{$_}) } qw(key scope));
	my $answer = $self->ask('SELECT ' . COLUMNS . ", (SELECT pg_xact_status(o.xmin::text::xid8) FROM idempotency.operation o
		WHERE (o.key, o.scope) = ($where)) AS written FROM idem_lookup($where) r");
	return $self->check_error($answer) if $answer->{state};
	my $r = $answer->{rows}[0];
	return if !$r && $found;
	die "it is not there\n" unless $r;
	$r->{scope} = $request->{scope};
	# what we see and is in progress is our own
	$replayed //= $r->{written} eq 'in progress' && !$self->stored(id($request)) ? 0 : 1;
	$r->{replayed} = $replayed;
	read_receipt($r);
	if ($found)
	{
		# a later item, or another client, may have made something else of the key since
		return if !$self->stored(id($request)) && defined Model::difference($r, $request);
		$$found = 1;
	}
	$self->check_answer($request, $r, { sent => 0, got => $answer->{got} });
	return;
}

1;
