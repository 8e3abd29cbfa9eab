# A model of the extension, written independently of it: requests made at random, the rules of a payment, and the
# receipts that follow from them.
#
# Nothing here asks the server. Amounts are whole numbers of the currency's smallest unit, of any size.
# Times are microseconds since 1970. What is wrong is reported by die.
#
# An operation is a hash: scope, key, payment_id, seq, kind, amount, currency, authorized, captured, released,
# refunded, reference, metadata, created, expires, sqlstate, message. A row of the table also has whole, final and
# expired. A receipt also has status, capturable, refundable, replayed and text, but not released.
#
# A request is a hash: kind, scope, key, amount (undef: all that is left), currency, reference, metadata. An
# authorize also has expires_in. A follow-up has payment_id, and a capture also final.
package Model;

use strict;
use warnings;
use utf8;

use Digest::MD5 qw(md5);
use Encode ();
use Math::BigInt;

my %exponent = (USD => 2, EUR => 2, JPY => 0, KWD => 3, CLF => 4, BTC => 8, POINTS => 0);
my @scopes = ('', 'shop "2"');

# How many operations a payment gets, if all goes well: one that starts it, and those that follow.
use constant GROUP => 8;
use constant WEEK => 7 * 86400 * 1_000_000;

# The currencies that are not of ISO 4217.
sub own_currencies { return (BTC => 8, POINTS => 0) }

sub scopes { return @scopes }

#-----------------------------------------------------------------------------------------------------
# Random numbers that depend on nothing but the names given here.
#-----------------------------------------------------------------------------------------------------

sub generator
{
	my (@name) = @_;
	return bless { name => join(' ', @name), drawn => 0 }, 'Model';
}

# 0 to $n - 1
sub int
{
	my ($self, $n) = @_;
	return unpack('N', md5("$self->{name} " . $self->{drawn}++)) % $n;
}

# true in $percent cases of a hundred
sub percent
{
	my ($self, $percent) = @_;
	return $self->int(100) < $percent;
}

sub pick
{
	my ($self, @list) = @_;
	return $list[ $self->int(scalar @list) ];
}

# weighted(a => 3, b => 1) is a in three of four cases.
sub weighted
{
	my ($self, @list) = @_;
	my ($sum, $i) = (0, 0);
	for (my $k = 1; $k < @list; $k += 2) { $sum += $list[$k] }
	my $at = $self->int($sum);
	$i += 2 while ($at -= $list[ $i + 1 ]) >= 0;
	return $list[$i];
}

sub uuid
{
	my ($self) = @_;
	return join('-', unpack('H8 H4 H4 H4 H12', md5("$self->{name} " . $self->{drawn}++)));
}

#-----------------------------------------------------------------------------------------------------
# Money
#-----------------------------------------------------------------------------------------------------

sub number { return Math::BigInt->new($_[0]) }

sub exponent
{
	my ($currency) = @_;
	return 0 unless defined $currency;
	return $exponent{$currency} // die "unknown currency $currency\n";
}

# The amount of smallest units in a text, which must have all the currency's decimals and no more.
sub minor
{
	my ($text, $currency) = @_;
	my $decimals = exponent($currency);
	my $pattern = $decimals ? qr/^[0-9]+\.[0-9]{$decimals}\z/ : qr/^[0-9]+\z/;
	die "$text does not have the $decimals decimals of its currency\n" unless $text =~ $pattern;
	return number($text =~ s/\.//r);
}

sub major
{
	my ($minor, $currency) = @_;
	my $decimals = exponent($currency);
	return "$minor" unless $decimals;
	my $digits = length "$minor" > $decimals ? "$minor" : '0' x ($decimals + 1 - length "$minor") . $minor;
	substr($digits, -$decimals, 0) = '.';
	return $digits;
}

#-----------------------------------------------------------------------------------------------------
# Requests
#-----------------------------------------------------------------------------------------------------

# Number $i of the round's planned requests. A follow-up names its payment by the number of the request that
# starts it (start), and its amount by a percentage: see resolve(). A cancellation has no key of its own. It has
# the number of the request whose key it cancels (cancels).
sub planned
{
	my ($seed, $round, $i) = @_;
	my $g = generator($seed, 'request', $round, $i);
	my $first = $i - $i % GROUP;
	my %request = (key => key($seed, $round, $i));

	if ($i == $first)
	{
		$request{kind} = $g->percent(35) ? 'pay' : 'authorize';
		$request{scope} = scope($seed, $round, $i);
		$request{currency} = $g->pick(sort keys %exponent);
		$request{amount} = $g->percent(85) ? number(1 + $g->int(30))
			: number(join('', map { 1 + $g->int(7) } 1 .. 16 + $g->int(2 + exponent($request{currency}))));
		$request{expires_in} = $g->weighted(WEEK() * 7 => 1, 30_000 => 1, 300_000 => 2, 1_500_000 => 2, '' => 6) || WEEK
			if $request{kind} eq 'authorize';
	}
	else
	{
		my $group = $first / GROUP;
		$request{start} = GROUP * ($group - $g->int($group ? 2 : 1));
		$request{scope} = scope($seed, $round, $request{start});
		$request{kind} = $g->weighted(capture => 46, refund => 28, void => 8, cancel => 18);
		if ($request{kind} eq 'cancel')
		{
			my $of = $g->weighted(follow => 7, start => 2, later => 1);
			$request{cancels} = $of eq 'follow' ? $request{start} + 1 + $g->int(GROUP - 1)
				: $of eq 'start' ? $request{start} : $i + $g->int(2 * GROUP);
			delete $request{key};
			delete $request{start};
			$request{scope} = planned_scope($seed, $round, $request{cancels});
			return \%request;
		}
		$request{percent} = $g->pick(1, 5, 10, 10, 20, 20, 30, 40, 50, 100, 120)
			if $request{kind} ne 'void' && $g->percent(70);
		$request{final} = $g->percent(25) if $request{kind} eq 'capture';
	}
	$request{reference} = $g->pick('', "order $i", 'a\'b"c\\d') if $g->percent(30);
	$request{metadata} = $g->pick('{"n": 1}', '[1, "x, (y)"]', '{}') if $g->percent(30);
	return \%request;
}

sub key
{
	my ($seed, $round, $i) = @_;
	return "R$round $i" . generator($seed, 'key', $round, $i)->pick('', '', ' ü€', ', (a,"b")', " '\\");
}

sub scope
{
	my ($seed, $round, $start) = @_;
	return generator($seed, 'scope', $round, $start)->pick(@scopes);
}

# The scope of a planned request. A cancellation has that of the request that would be in its place.
sub planned_scope
{
	my ($seed, $round, $i) = @_;
	my $g = generator($seed, 'request', $round, $i);
	return scope($seed, $round, $i) if $i % GROUP == 0;
	my $group = ($i - $i % GROUP) / GROUP;
	return scope($seed, $round, GROUP * ($group - $g->int($group ? 2 : 1)));
}

# A planned follow-up as it is to be sent. $start: the operation that started its payment.
sub resolve
{
	my ($planned, $start) = @_;
	my %request = %$planned;
	my $percent = delete $request{percent};
	delete $request{start};
	$request{payment_id} = $start->{payment_id};
	$request{currency} = $start->{currency};
	if ($percent)
	{
		$request{amount} = number($start->{authorized})->bmul($percent)->bdiv(100);
		$request{amount} = number(1) if $request{amount}->is_zero;
	}
	return \%request;
}

sub is_follow_up { return $_[0]{kind} =~ /^(?:capture|void|refund)\z/ }

# Another request with the same key: one field differs. @others: the ids of other payments in the same currency.
sub altered
{
	my ($request, $g, @others) = @_;
	my %other = %$request;
	my @fields = qw(kind reference metadata);
	push @fields, 'amount', 'amount' if $request->{kind} ne 'void';
	push @fields, 'currency' if !is_follow_up($request) && others_for($request);
	push @fields, 'expires_in' if $request->{kind} eq 'authorize';
	push @fields, 'final' if $request->{kind} eq 'capture';
	push @fields, 'payment_id', 'payment_id' if is_follow_up($request) && @others;
	my $field = $g->pick(@fields);

	if ($field eq 'kind')
	{
		$other{kind} = { pay => 'authorize', authorize => 'pay', capture => 'refund', refund => 'capture', void => 'refund' }
			->{ $request->{kind} };
		$other{expires_in} = WEEK if $other{kind} eq 'authorize';
		delete $other{expires_in} if $other{kind} eq 'pay';
		delete $other{final};
		$other{final} = 1 if $other{kind} eq 'capture';
	}
	elsif ($field eq 'amount')
	{
		$other{amount} = !defined $request->{amount} ? number(1)
			: is_follow_up($request) && $g->percent(30) ? undef : number($request->{amount})->badd(1);
	}
	elsif ($field eq 'currency') { $other{currency} = $g->pick(others_for($request)) }
	elsif ($field eq 'expires_in') { $other{expires_in} = $request->{expires_in} + 1 }
	elsif ($field eq 'final') { $other{final} = !$request->{final} }
	elsif ($field eq 'payment_id') { $other{payment_id} = $g->pick(@others) }
	else { $other{$field} = defined $request->{$field} && $g->percent(50) ? undef : '{"other": true}' }
	return \%other;
}

# The other currencies in which the request's amount, as a whole number, is not too large.
sub others_for
{
	my ($request) = @_;
	return grep { $_ ne $request->{currency} && length("$request->{amount}") - $exponent{$_} < 18 } sort keys %exponent;
}

# The request as a text: what the key stands for.
sub spec
{
	my ($r) = @_;
	my $follow = is_follow_up($r);
	return join("\0",
		$r->{kind}, $r->{scope}, $r->{key},
		$follow ? $r->{payment_id} : '',
		defined $r->{amount} ? "$r->{amount}" : 'all',
		$follow ? '' : $r->{currency},
		$r->{kind} eq 'capture' ? ($r->{final} ? 1 : 0) : '',
		$r->{kind} eq 'authorize' ? $r->{expires_in} : '',
		map { defined $r->{$_} ? "=$r->{$_}" : '' } qw(reference metadata));
}

# The request of a row as such a text.
sub spec_of_row
{
	my ($row) = @_;
	my %request = %$row;
	$request{amount} = undef if $row->{whole};
	$request{expires_in} = $row->{expires} - $row->{created} if $row->{kind} eq 'authorize';
	return spec(\%request);
}

# The first field in which a request differs from an operation; nothing if none does. A receipt lacks whole and final;
# for a receipt, these are not compared.
sub difference
{
	my ($op, $request) = @_;
	my $same = sub { return ($_[0] // "\0") eq ($_[1] // "\0") };

	return if $op->{kind} eq 'cancel';
	return 'kind' if $op->{kind} ne $request->{kind};
	return 'payment_id' if is_follow_up($request) && $op->{payment_id} ne $request->{payment_id};
	my $whole = !defined $request->{amount};
	return 'amount' if defined $op->{whole} && $whole != $op->{whole};
	return 'amount' if !$whole
		&& number($op->{amount})->blsft(18 - exponent($op->{currency}), 10)
		!= number($request->{amount})->blsft(18 - exponent($request->{currency}), 10);
	return 'currency' if !is_follow_up($request) && $op->{currency} ne $request->{currency};
	return 'final' if defined $op->{final} && !!$op->{final} ne !!$request->{final};
	return 'expires_in' if $op->{kind} eq 'authorize' && $op->{expires} - $op->{created} != $request->{expires_in};
	return 'reference' unless $same->($op->{reference}, $request->{reference});
	return 'metadata' unless $same->($op->{metadata}, $request->{metadata});
	return;
}

#-----------------------------------------------------------------------------------------------------
# The rules
#-----------------------------------------------------------------------------------------------------

sub left { my ($op) = @_; return $op->{authorized} - $op->{captured} - $op->{released} }

sub expired { my ($op, $at) = @_; return defined $op->{expires} && $op->{expires} <= $at }

# The status of a payment after an operation, at a time.
sub status
{
	my ($op, $at) = @_;
	return 'cancelled' if $op->{kind} eq 'cancel';
	my $held = !expired($op, $at) && left($op) > 0;
	if ($op->{refunded} > 0)
	{
		return $held || $op->{refunded} < $op->{captured} ? 'partially_refunded' : 'refunded';
	}
	return $held ? 'partially_captured' : 'succeeded' if $op->{captured} > 0;
	return 'authorized' if $held;
	return $op->{expired} || left($op) > 0 ? 'expired' : 'voided';
}

# The outcome of a capture, void or refund after an operation, at a time: the amount, and either the new totals, or the
# message of a refusal and its detail.
sub outcome
{
	my ($op, $request, $at) = @_;
	my %totals = map { $_ => $op->{$_} } qw(authorized captured released refunded);
	my $is = $request->{kind};
	my $money = sub { return join(' ', major($_[0], $op->{currency}), $op->{currency}) };
	my $done = $is eq 'refund' ? 'refunded' : 'captured';
	my $left = $is eq 'refund' ? $op->{captured} - $op->{refunded} : left($op);
	my $amount = $is ne 'void' && defined $request->{amount} ? $request->{amount} : $left;
	my $refuse = sub { return { amount => $amount, refusal => $_[0], detail => $_[1] } };

	if ($is ne 'refund' && $op->{expired})
	{
		return $refuse->('authorization has expired', sprintf('%s could be %s until', $money->($op->{released}), $is eq 'void' ? 'voided' : 'captured'));
	}
	if ($left == 0)
	{
		return $refuse->("nothing is left to $is",
			$is eq 'refund'
			? sprintf('Of the %s captured, %s was refunded.', map { $money->($op->{$_}) } qw(captured refunded))
			: sprintf('Of the %s authorized, %s was captured and %s was released.', map { $money->($op->{$_}) } qw(authorized captured released)));
	}
	if ($is ne 'refund' && expired($op, $at))
	{
		return $refuse->('authorization has expired', sprintf('%s could be %s until', $money->($left), $is eq 'void' ? 'voided' : 'captured'));
	}
	if ($amount > $left)
	{
		return $refuse->("amount is more than can be $done",
			sprintf('The request is for %s, but only %s of the %s %s can be %s.', $money->($amount), $money->($left),
				$is eq 'refund' ? ($money->($op->{captured}), 'captured') : ($money->($op->{authorized}), 'authorized'),
				$done));
	}

	if ($is eq 'refund')
	{
		$totals{refunded} = $op->{refunded} + $amount;
	}
	elsif ($is eq 'void')
	{
		$totals{released} = $op->{released} + $left;
	}
	else
	{
		$totals{captured} = $op->{captured} + $amount;
		$totals{released} = $op->{released} + $left - $amount if $request->{final};
	}
	return { amount => $amount, %totals };
}

# What cancelling the key of an operation has to do, if another one is the newest: a request, or a refusal. Unlike
# other requests, this one may have an amount of zero.
sub undoing
{
	my ($original, $op) = @_;
	my $is = $original->{kind};

	return { refusal => "cannot cancel a $is" } if $is eq 'void' || $is eq 'refund';
	if ($is eq 'authorize')
	{
		return { refusal => 'cannot cancel an authorization that has been captured' } if $op->{captured} > 0;
		return { request => { kind => 'void' } };
	}
	my $left = $op->{captured} - $op->{refunded};
	return { request => { kind => 'refund', amount => $original->{amount} < $left ? $original->{amount} : $left } };
}

# Dies unless the rows of a payment, in their order, follow from each other.
sub check_chain
{
	my (@rows) = @_;
	for my $i (0 .. $#rows)
	{
		my ($row, $previous) = ($rows[$i], $i ? $rows[ $i - 1 ] : undef);
		eval {
			die "its seq is $row->{seq}, not " . ($i + 1) . "\n" if $row->{seq} != $i + 1;
			$previous ? check_next($row, $previous, @rows[ 0 .. $i - 1 ]) : check_first($row);
			check_invariants($row);
			1;
		} or die "row $row->{seq} of payment $row->{payment_id}: $@" . join('', map { '  ' . describe($_) . "\n" } @rows[ 0 .. $i ]);
	}
	return;
}

sub check_invariants
{
	my ($row) = @_;
	die "not 0 <= refunded <= captured <= authorized\n"
		unless 0 <= $row->{refunded} && $row->{refunded} <= $row->{captured} && $row->{captured} <= $row->{authorized};
	die "not 0 <= released, captured + released <= authorized\n"
		if defined $row->{released} && ($row->{released} < 0 || $row->{captured} + $row->{released} > $row->{authorized});
	return;
}

sub check_first
{
	my ($row) = @_;
	my $is = $row->{kind};
	my $amount = $row->{amount};
	die "$is starts no payment\n" unless $is =~ /^(?:pay|authorize|cancel)\z/;
	expect($row,
		whole => 0, final => undef, expired => undef, sqlstate => undef, message => undef,
		authorized => $amount, captured => $is eq 'pay' ? $amount : 0, released => 0, refunded => 0);
	expect($row, currency => undef, amount => 0, reference => undef, metadata => undef) if $is eq 'cancel';
	die "an amount of zero\n" if $is ne 'cancel' && $amount == 0;
	die $is eq 'authorize' ? "no end of the hold\n" : "an end of no hold\n" if ($is eq 'authorize') != defined $row->{expires};
	die "the hold ends before it begins\n" if $is eq 'authorize' && $row->{expires} <= $row->{created};
	return;
}

sub check_next
{
	my ($row, $previous, @before) = @_;
	my $request = { %$row, amount => $row->{whole} ? undef : $row->{amount} };
	return check_expire($row, $previous, @before) if $row->{kind} eq 'expire';
	die "$row->{kind} continues no payment\n" unless is_follow_up($row);
	die "it follows a cancelled key\n" if $previous->{kind} eq 'cancel';

	if ($row->{key} =~ /^idem_cancel:(.*)\z/s)
	{
		my ($original) = grep { $_->{key} eq $1 } @before;
		die "it undoes what is not there\n" unless $original;
		die "it undoes what was declined\n" if defined $original->{sqlstate};
		$request = undoing($original, $previous)->{request} // die "it cannot be undone\n";
		expect($row, kind => $request->{kind}, whole => defined $request->{amount} ? 0 : 1,
			final => undef, sqlstate => undef, reference => undef, metadata => undef);
	}
	my $outcome = outcome($previous, $request, $row->{created});
	my $refusal = $outcome->{refusal};
	if (defined $refusal && $row->{key} =~ /^idem_cancel:/)
	{
		$refusal = undef;
		$outcome = { %$previous, amount => 0 };
	}
	expect($row, currency => $previous->{currency}, expires => $previous->{expires}, amount => $outcome->{amount},
		sqlstate => defined $refusal ? 'ID412' : undef, message => $refusal,
		map { $_ => $refusal ? $previous->{$_} : $outcome->{$_} } qw(authorized captured released refunded));
	expect($row, expired => $previous->{expired});
	die "final is " . ($row->{final} // 'null') . "\n" if defined $row->{final} != ($row->{kind} eq 'capture');
	return;
}

# Like check_next(), for a row that releases an expired hold.
sub check_expire
{
	my ($row, $previous, @before) = @_;
	my $left = left($previous);
	die "nothing was left to expire\n" if $left <= 0;
	die "it was not time\n" if !expired($previous, $row->{created});
	expect($row, key => "idem_expire:$before[0]{key}", whole => 1, final => undef, expired => 1, sqlstate => undef,
		reference => undef, metadata => undef, amount => $left, released => $previous->{released} + $left,
		map { $_ => $previous->{$_} } qw(currency expires authorized captured refunded));
	return;
}

# Dies unless the fields have these values.
sub expect
{
	my ($row, %expected) = @_;
	for my $field (sort keys %expected)
	{
		my ($is, $should) = map { defined $_ ? "$_" : 'null' } $row->{$field}, $expected{$field};
		die "$field is $is and should be $should\n" if $is ne $should;
	}
	return;
}

# Dies unless a receipt agrees with itself.
sub check_receipt
{
	my ($r) = @_;
	my $expired = expired($r, $r->{created});
	check_invariants($r);
	expect($r, refundable => $r->{captured} - $r->{refunded});
	die "more can be captured than is held\n" if $r->{captured} + $r->{capturable} > $r->{authorized};
	expect($r, capturable => 0) if $expired;
	if (defined $r->{sqlstate})
	{
		expect($r, status => 'declined', sqlstate => 'ID412');
		die "no message\n" unless length($r->{message} // '');
	}
	else
	{
		my $of_cancel = $r->{key} =~ /^idem_cancel:/;
		die "$r->{kind} of what has expired\n" if $expired && $r->{kind} !~ /^(?:refund|expire)\z/ && !$of_cancel;
		die "it was not time\n" if $r->{kind} eq 'expire' && !$expired;

		# voided or expired: the receipt does not say which
		return if $expired && $of_cancel && $r->{captured} == 0 && $r->{amount} == 0;
		expect($r, status => status({ %$r, released => $r->{authorized} - $r->{captured} - $r->{capturable} }, $r->{created}));
	}
	return;
}

# Dies unless a receipt is that of a row. $now: the receipt is that of the payment at this time, as idem_payment()
# returns it.
sub check_receipt_of_row
{
	my ($r, $row, $now) = @_;
	my $at = $now // $row->{created};
	expect($r,
		(map { $_ => $row->{$_} } qw(key payment_id seq kind amount currency authorized captured refunded
			reference metadata created expires sqlstate message)),
		from_account => undef, to_account => undef,
		status => defined $row->{sqlstate} && !defined $now ? 'declined' : status($row, $at),
		capturable => expired($row, $at) ? 0 : left($row),
		refundable => $row->{captured} - $row->{refunded});
	return;
}

# Makes an operation of what the server sent: amounts become numbers. Dies if one is not a valid amount.
sub operation
{
	my ($r) = @_;
	for (qw(amount authorized captured released refunded capturable refundable))
	{
		$r->{$_} = minor($r->{$_}, $r->{currency}) if exists $r->{$_};
	}
	# a receipt says that the hold has expired only if it is that of the expire itself
	$r->{expired} = 1 if ($r->{kind} // '') eq 'expire' && !exists $r->{expired};
	return $r;
}

# One line about an operation or a request, for messages.
sub describe
{
	my ($op) = @_;
	my $line = join(' ', map { "$_=" . ($op->{$_} // 'null') }
		grep { exists $op->{$_} }
		qw(scope key payment_id seq kind status whole final amount currency authorized captured released refunded
		capturable refundable percent expires_in created expires reference metadata sqlstate message replayed));
	return Encode::encode('UTF-8', $line);
}

1;
