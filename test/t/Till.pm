# What a client does with accounts that no other client uses. It knows exactly what they have. So it knows what becomes of
# each item of a batch, of a post and of a refund, and by how much a limit forbids it.
#
# If an answer is lost, the client does not know what they have any more, and opens others.
package Till;

use strict;
use warnings;

use Caller qw(id);
use Model;
use Posts;

# The accounts of a till: the type and the currency. The first word of an account's name is its type: see Model.pm.
my @own = ([ 'purse', 'USD' ], [ 'tight', 'USD' ], [ 'tight', 'USD' ], [ 'purse', 'EUR' ], [ 'tight', 'EUR' ]);
my %limits = (purse => [ 0, undef ], tight => [ -20, 60 ]);		# in the smallest unit

# One or several steps with the till, alone or in a transaction.
sub till
{
	my ($self, $step, $g) = @_;
	$self->reconnect unless $self->{client};
	return if !$self->{till} && !$self->open_till($g);
	$self->{till}{number} = 0;
	$self->{till}{step} = $step;
	return $self->till_transaction($g) if $g->percent(60);

	for (1 .. 1 + $g->int(3))
	{
		my $failed = $self->till_step($g) // next;
		delete $self->{till};
		$self->again($failed);
		return;
	}
	return;
}

# Opens the accounts. False: that failed.
sub open_till
{
	my ($self, $g) = @_;
	my $n = ++$self->{tills};
	my %till = (scope => $g->pick(Model::scopes()), keys => [], batches => []);
	my @calls;
	for my $i (0 .. $#own)
	{
		my ($type, $currency) = @{ $own[$i] };
		my $name = "$type $self->{round}-$self->{number}-$n-$i $currency";
		my ($floor, $ceiling) = @{ $limits{$type} };
		$till{has}{$name} = { floor => $floor, ceiling => $ceiling, posted => 0 };
		push @calls, 'SELECT name FROM idem_account_open(' . join(', ', $self->quote($name), "'$currency'",
			(map { defined $_ ? money($_, $currency) : 'NULL' } $floor, $ceiling), 'scope => ' . $self->quote($till{scope})) . ')';
	}
	my $answer = $self->ask(join(' UNION ALL ', @calls));
	if ($answer->{state})
	{
		$self->again($self->check_error($answer));
		return 0;
	}
	$self->{till} = \%till;
	return 1;
}

# Steps in a transaction, with savepoints. If it is rolled back, the accounts have what they had.
sub till_transaction
{
	my ($self, $g) = @_;
	my $before = copy($self->{till});
	my $give_up = sub {
		my ($failed) = @_;
		$self->keep_ghosts(0);
		$self->roll_back unless $failed->{lost};
		delete $self->{own};
		$self->{till} = $failed->{lost} ? undef : $before;
		$self->again($failed) unless $failed->{predicted};
		return;
	};
	my $failed = $self->command('BEGIN');
	return $give_up->($failed) if $failed;
	$self->{own} = [];
	$self->{replays} = [];
	for (1 .. 1 + $g->int(4))
	{
		my $savepoint = $g->weighted(none => 6, release => 2, rollback => 2);
		my ($mark, $saved) = (scalar @{ $self->{own} }, copy($self->{till}));
		$failed = $savepoint eq 'none' ? undef : $self->command('SAVEPOINT s');
		return $give_up->($failed) if $failed;
		$failed = $self->till_step($g);
		return $give_up->($failed) if $failed && ($savepoint eq 'none' || $failed->{lost} || $failed->{state} eq '40001');
		next if $savepoint eq 'none';
		my $undo = $failed || $savepoint eq 'rollback';
		$failed = $self->command($undo ? 'ROLLBACK TO s' : 'RELEASE s');
		return $give_up->($failed) if $failed;
		next unless $undo;
		$self->keep_ghosts($mark);
		my $number = $self->{till}{number};		# no key is used for another request
		$self->{till} = { %$saved, number => $number };
	}
	return $give_up->({ predicted => 1 }) if $g->percent(25);

	$failed = $self->command('COMMIT');
	return $self->committed unless $failed;
	return $give_up->($failed) unless $failed->{lost};
	delete $self->{till};
	$self->commit_lost;
	$self->again($failed);
	return;
}

sub copy
{
	my ($till) = @_;
	return { %$till, keys => [ @{ $till->{keys} } ], batches => [ @{ $till->{batches} } ],
		has => { map { $_ => { %{ $till->{has}{$_} } } } keys %{ $till->{has} } } };
}

# Returns the answer if it was an error; in a transaction, also if it was the one that was predicted.
sub till_step
{
	my ($self, $g) = @_;
	my $what = $g->weighted(batch => 5, post => 3, refund => 2, cancel => 1);
	return $self->till_batch($g) if $what eq 'batch' || $what ne 'post' && !@{ $self->{till}{keys} };
	return $self->till_post($g) if $what eq 'post';
	return $self->till_undo($g, $what);
}

sub till_key
{
	my ($self) = @_;
	return "R$self->{round} till $self->{number} $self->{till}{step} " . $self->{till}{number}++;
}

#-----------------------------------------------------------------------------------------------------
# Batches
#-----------------------------------------------------------------------------------------------------

# Sends a batch, or one of the last again.
sub till_batch
{
	my ($self, $g) = @_;
	my $till = $self->{till};
	my @requests = @{ $till->{batches} } && $g->percent(20) ? @{ $g->pick(@{ $till->{batches} }) } : $self->till_requests($g);
	my %item = (batch => \@requests, declines => $g->pick('', 'raise', 'record'));
	my $after = copy($till);
	$item{predicted} = [ $self->predict_batch($after, \%item) ];
	my $failed = $self->call_batch(\%item);
	return $failed if $failed;
	push @{ $after->{batches} }, \@requests;
	shift @{ $after->{batches} } if @{ $after->{batches} } > 3;
	$self->{till} = $after;
	return;
}

sub till_requests
{
	my ($self, $g) = @_;
	my @requests;
	for (1 .. 2 + $g->int(10))
	{
		my ($currency, $from, $to) = $self->till_accounts($g);
		my %request = (kind => 'pay', scope => $self->{till}{scope}, key => $self->till_key, currency => $currency, private => 1,
			amount => Model::number(1 + $g->int(40)), from_account => $from, to_account => $to);
		@request{qw(from_account to_account)} = () if $g->percent(6);
		push @requests, { %{ $g->pick(@requests) }, $g->percent(50) ? (amount => $request{amount}) : () } if @requests && $g->percent(12);
		push @requests, \%request;
	}
	return map { splice(@requests, $g->int(scalar @requests), 1) } 1 .. @requests;
}

# A currency and two accounts, one of them the till's. Now and then, one is closed.
sub till_accounts
{
	my ($self, $g) = @_;
	my $currency = $g->pick('USD', 'USD', 'EUR');
	my @own = grep { /$currency\z/ } sort keys %{ $self->{till}{has} };
	my $one = $g->pick(@own);
	my $other = $g->pick("world $currency", $g->percent(10) ? "closed $currency" : "world $currency", grep { $_ ne $one } @own);
	return $g->percent(50) ? ($currency, $one, $other) : ($currency, $other, $one);
}

# What must become of the items, and of the accounts. The order of the keys decides; of the same key, that of the items.
sub predict_batch
{
	my ($self, $till, $item) = @_;
	my @requests = @{ $item->{batch} };
	my $records = $self->declines({ kind => 'pay', declines => $item->{declines} }) eq 'record';
	my (@predicted, %made);
	for my $i (sort { $requests[$a]{key} cmp $requests[$b]{key} || $a <=> $b } 0 .. $#requests)
	{
		my $request = $requests[$i];
		my $stored = $made{ $request->{key} } // $self->stored(id($request));
		if ($stored)
		{
			my $differs = Model::difference({ expires => undef, %$stored, final => undef }, $request);
			$predicted[$i] = { state => $differs ? 'ID422' : $stored->{sqlstate} // 'replayed' };
			next;
		}
		my @legs = defined $request->{from_account} ? ([ $request->{from_account}, -$request->{amount} ], [ $request->{to_account}, $request->{amount} ]) : ();
		my $refusal = refusal($till, 1, @legs);
		$predicted[$i] = $refusal // { state => 'new' };
		$predicted[$i]{currency} = $request->{currency};
		move($till, @legs) unless $refusal;
		push @{ $till->{keys} }, $request->{key} if !$refusal && @legs;
		$made{ $request->{key} } = { %$request, whole => 0, sqlstate => $refusal ? $refusal->{state} : undef } if !$refusal || $records;
	}
	return @predicted;
}

# Dies unless this is what becomes of an item. A limit says what the account had.
sub check_predicted
{
	my ($predicted, $b) = @_;
	my $is = $b->{outcome} eq 'failed' ? $b->{sqlstate} : $b->{outcome};
	die "it is $is and should be $predicted->{state}: " . ($b->{detail} // '') . "\n" if $is ne $predicted->{state};
	return unless defined $predicted->{has};
	my $has = money($predicted->{has}, $predicted->{currency});
	die "the account has $has: $b->{detail}\n" unless $b->{detail} =~ /(?:at most|which has) \Q$has\E $predicted->{currency}/;
	return;
}

#-----------------------------------------------------------------------------------------------------
# Posts, refunds and cancellations
#-----------------------------------------------------------------------------------------------------

sub till_post
{
	my ($self, $g) = @_;
	my %amounts;
	for (1 .. 1 + $g->int(3))
	{
		my ($currency, $from, $to) = $self->till_accounts($g);
		my $amount = 1 + $g->int(40);
		$amounts{$from} -= $amount;
		$amounts{$to} += $amount;
	}
	my @legs = map { [ $_, $amounts{$_} ] } grep { $amounts{$_} != 0 } sort keys %amounts;
	return unless @legs;
	my $post = Posts::with_amount({ kind => 'post', scope => $self->{till}{scope}, key => $self->till_key, legs => \@legs });
	return $self->till_call($post, @legs);
}

# Refunds a payment of the till, or cancels it.
sub till_undo
{
	my ($self, $g, $what) = @_;
	my $key = $g->pick(@{ $self->{till}{keys} });
	my $start = $self->stored("$self->{till}{scope}\0$key") // return;
	my ($newest) = grep { Caller::payment($_) eq Caller::payment($start) } reverse @{ $self->{own} // [] };
	$newest //= $self->{top}{ Caller::payment($start) };
	my $left = $newest->{captured} - $newest->{refunded};
	return if $left == 0;
	my $amount = $g->percent(50) ? undef : Model::number(1 + $g->int($left));
	my $request = $what eq 'cancel' ? { kind => 'cancel', scope => $start->{scope}, key => $key }
		: { kind => 'refund', scope => $start->{scope}, key => $self->till_key, payment_id => $start->{payment_id}, currency => $start->{currency},
			amount => $amount };
	return if $what eq 'cancel' && $self->stored("$start->{scope}\0idem_cancel:$key");
	my $back = $what eq 'refund' ? $amount // $left : $left;
	return $self->till_call($request, [ $start->{from_account}, $back ], [ $start->{to_account}, -$back ]);
}

# Did a till make this operation? Then nobody else may undo it: the till would not know.
sub made
{
	my ($r) = @_;
	return $r->{key} =~ /^(?:idem_cancel:)*R\d+ till /;
}

# Sends a request that changes the accounts so. It must be refused if an account forbids it, and carried out if not.
sub till_call
{
	my ($self, $request, @legs) = @_;
	my $refusal = refusal($self->{till}, $request->{kind} eq 'post', @legs);
	my $failed = $self->call($request);
	return $failed if $failed && ($failed->{lost} || $failed->{state} !~ /^ID4[01]2\z/);
	my $r = $failed ? undef : $self->stored($request->{kind} eq 'cancel' ? "$request->{scope}\0idem_cancel:$request->{key}" : id($request));
	my $state = $failed ? $failed->{state} : $r->{sqlstate};
	my $message = $failed ? $failed->{message} : $r->{message};
	Caller::about($request, sub {
		Model::expect({ state => $state, message => $message }, map { $_ => $refusal ? $refusal->{$_} : undef } qw(state message));
		1;
	});
	$self->{did}{ $refusal ? 'till refuses' : 'till allows' }++;
	if ($refusal)
	{
		return { %$failed, predicted => 1 } if $failed && $self->{own};
		return;
	}
	move($self->{till}, @legs);
	return;
}

#-----------------------------------------------------------------------------------------------------
# What the accounts have
#-----------------------------------------------------------------------------------------------------

# The refusal of changes of accounts, [ account, amount ], if there is one. An account that is closed comes first. Then the
# first leg counts that passes a limit.
sub refusal
{
	my ($till, $begins, @legs) = @_;
	return { state => 'ID412', message => 'account is closed' } if $begins && grep { $_->[0] =~ /^closed / } @legs;
	for my $leg (@legs)
	{
		my ($name, $amount) = @$leg;
		my $account = $till->{has}{$name} // next;
		my $would = $account->{posted} + $amount;
		return { state => 'ID402', message => 'not enough is available in the account', has => $account->{posted} }
			if $amount < 0 && defined $account->{floor} && $would < $account->{floor};
		return { state => 'ID412', message => 'account would be above its ceiling', has => $account->{posted} }
			if $amount > 0 && defined $account->{ceiling} && $would > $account->{ceiling};
	}
	return;
}

sub move
{
	my ($till, @legs) = @_;
	for my $leg (@legs)
	{
		my $account = $till->{has}{ $leg->[0] } // next;
		$account->{posted} += $leg->[1];
	}
	return;
}

sub money
{
	my ($minor, $currency) = @_;
	return ($minor < 0 ? '-' : '') . Model::major(abs $minor, $currency);
}

1;
