# A model of the extension, written independently of it: requests made at random, the rules of a payment, and the
# receipts that follow from them.
#
# Nothing here asks the server. Amounts are whole numbers of the currency's smallest unit, of any size.
# Times are microseconds since 1970. What is wrong is reported by die.
#
# An operation is a hash: scope, key, payment_id, seq, kind, amount, currency, authorized, captured, released,
# refunded, reference, metadata, created, expires, sqlstate, message. A row of the table also has whole, final,
# prolonged and expired. A receipt also has status, capturable, refundable, replayed and text, but not released.
#
# A request is a hash: kind, scope, key, amount (undef: all that is left), currency, reference, metadata. An
# authorize also has expires_in. Both may have from_account and to_account. A follow-up has payment_id, and a capture also final. An increase may have
# expires_in. The currency of a follow-up is the payment's. It may name another one (names), which is an error.
#
# A post is an operation and a request, too. Its rules are in Posts.pm.
package Model;

use strict;
use warnings;
use utf8;

use Digest::MD5 qw(md5);
use Encode ();
use Math::BigInt;
use Posts;

my %exponent = (USD => 2, EUR => 2, JPY => 0, KWD => 3, CLF => 4, BTC => 8, POINTS => 0);
my @scopes = ('', 'shop "2"');

# How many operations a payment gets, if all goes well: one that starts it, and those that follow.
use constant GROUP => 8;
use constant WEEK => 7 * 86400 * 1_000_000;

# The currencies that are not of ISO 4217.
sub own_currencies { return (BTC => 8, POINTS => 0) }

sub scopes { return @scopes }

# The accounts that payments use: there is one of each in each scope and currency. Nothing is ever paid to "empty". So the
# limits of "empty" and "full" always forbid, and those of "purse" may. Of "tight" there are others: see Till.pm.
my %accounts = (world => {}, shop => {}, purse => { floor => 0 }, empty => { floor => 0 }, full => { ceiling => 0 }, closed => { closed => 1 },
	tight => { floor => -20, ceiling => 60 });

sub accounts
{
	my @list;
	for my $currency (sort keys %exponent)
	{
		push @list, map { { name => "$_ $currency", currency => $currency, %{ $accounts{$_} } } } sort keys %accounts;
	}
	return @list;
}

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
# the number of the request whose key it cancels (cancels). Or it cancels what a cancellation of that key has made, or
# what the cancellation of that has made, and so on (made: how many times).
sub planned
{
	my ($seed, $round, $i) = @_;
	my $g = generator($seed, 'request', $round, $i);
	my $first = $i - $i % GROUP;
	my %request = (key => key($seed, $round, $i));

	if ($i == $first)
	{
		$request{kind} = first_kind($g);
		$request{scope} = scope($seed, $round, $i);
		$request{currency} = $g->pick(sort keys %exponent);
		$request{amount} = $request{kind} eq 'pay' && $g->percent(20) ? number(0)
			: $g->percent(85) ? number(1 + $g->int($g->pick(5, 30, 1000)))
			: number(join('', map { 1 + $g->int(7) } 1 .. 16 + $g->int(2 + exponent($request{currency}))));
		$request{expires_in} = $g->weighted(WEEK() * 7 => 1, 30_000 => 1, 100_000 => 2, 300_000 => 2, 1_000_000 => 2, '' => 4)
			|| WEEK
			if $request{kind} eq 'authorize';
		plan_accounts(\%request, generator($seed, 'accounts', $round, $i)) unless $i % (2 * GROUP);
	}
	else
	{
		@request{qw(start kind)} = follow_up($g, $seed, $round, $i);
		$request{scope} = scope($seed, $round, $request{start});
		return plan_cancel(\%request, $g, $seed, $round, $i) if $request{kind} eq 'cancel';
		my $young = is_young($i, $request{start});
		$request{percent} = $g->pick(1, 5, 10, 10, 20, 20, 30, 40, 50, 100, 120)
			if $request{kind} =~ /^(?:capture|refund)\z/ && $g->percent($young ? 85 : 60);
		$request{final} = $g->percent($young ? 10 : 30) if $request{kind} eq 'capture';
		plan_increase(\%request, $g) if $request{kind} eq 'increase';
	}
	$request{reference} = $g->pick('', "order $i", 'a\'b"c\\d') if $g->percent(30);
	$request{metadata} = $g->pick('{"n": 1}', '[1, "x, (y)"]', '{}') if $g->percent(30);
	return \%request;
}

# The accounts of a payment. Some always refuse it.
sub plan_accounts
{
	my ($request, $g) = @_;
	my $from = $g->weighted(world => 10, purse => 4, empty => 2, closed => 1);
	# from "world" only: of two limits, either may be the one that forbids
	my $to = $from ne 'world' ? 'shop' : $g->weighted(shop => 6, purse => 8, full => 5, closed => 2);
	@$request{qw(from_account to_account)} = map { "$_ $request->{currency}" } $from, $to;
	return;
}

# The kind of a request that starts a payment, which its generator draws first.
sub first_kind { return $_[0]->percent(30) ? 'pay' : 'authorize' }

# The payment of follow-up $i, by the number of its start, and its kind, which its generator draws first.
sub follow_up
{
	my ($g, $seed, $round, $i) = @_;
	my $group = CORE::int($i / GROUP);
	my $start = GROUP * ($group - $g->int($group ? 2 : 1));
	my $kind = first_kind(generator($seed, 'request', $round, $start)) eq 'pay'
		? $g->weighted(capture => 7, increase => 5, refund => 50, void => 3, cancel => 35)
		: is_young($i, $start)
		? $g->weighted(capture => 31, increase => 36, refund => 16, void => 1, cancel => 16)
		: $g->weighted(capture => 26, increase => 20, refund => 26, void => 5, cancel => 23);
	return ($start, $kind);
}

# Payments are increased at first, and captured in parts. What ends them comes later.
sub is_young
{
	my ($i, $start) = @_;
	return $i - $start < GROUP / 2;
}

# An increase: how much, until when, or both.
sub plan_increase
{
	my ($request, $g) = @_;
	my $what = $g->weighted(amount => 3, time => 3, both => 4);
	# not so much that a payment could get too large
	$request->{percent} = $what eq 'time' ? 0 : $g->pick(1, 5, 10, 20, 50);
	$request->{expires_in} = $g->pick(50_000, 200_000, 500_000, 1_500_000, WEEK, 8 * WEEK()) if $what ne 'amount';
	return;
}

# A cancellation: of something that was planned before in the same payment, of what comes later, or of what an earlier
# cancellation made.
sub plan_cancel
{
	my ($request, $g, $seed, $round, $i) = @_;
	my $start = delete $request->{start};
	my $of = $g->weighted(increase => 4, refund => 3, capture => 2, start => 2, follow => 1, later => 1, made => 5);
	delete $request->{key};

	my %before;
	for my $j ($start + 1 .. $i - 1)
	{
		my ($its_start, $kind) = $j % GROUP ? follow_up(generator($seed, 'request', $round, $j), $seed, $round, $j) : next;
		push @{ $before{$kind} }, $j if $its_start == $start;
	}
	if ($of eq 'made' && $before{cancel})
	{
		my $before = planned($seed, $round, $g->pick(@{ $before{cancel} }));
		@$request{qw(cancels scope)} = @$before{qw(cancels scope)};
		$request->{made} = ($before->{made} // 0) + 1;
		return $request;
	}
	$request->{cancels} = $of eq 'start' ? $start
		: $of eq 'later' ? $i + $g->int(2 * GROUP)
		: $before{$of} ? $g->pick(@{ $before{$of} })
		: $start + 1 + $g->int(GROUP - 1);
	$request->{scope} = planned_scope($seed, $round, $request->{cancels});
	return $request;
}

# The key that a planned cancellation names.
sub cancelled_key
{
	my ($seed, $round, $planned) = @_;
	return 'idem_cancel:' x ($planned->{made} // 0) . key($seed, $round, $planned->{cancels});
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
	return scope($seed, $round, $i) if $i % GROUP == 0;
	my ($start) = follow_up(generator($seed, 'request', $round, $i), $seed, $round, $i);
	return scope($seed, $round, $start);
}

# Number $n of the round's stories: the requests of one payment in their order, for what planned requests seldom come to,
# since they come in any order. Where one is to come later, it says so. Some requests are left out.
sub story
{
	my ($seed, $round, $n) = @_;
	my $g = generator($seed, 'story', $round, $n);
	my $of = $g->weighted(prolonged => 4, 'too late' => 2, captured => 2, 'came back' => 3, free => 2);
	my $scope = $g->pick(@scopes);
	my $key = sub { return "R$round story $n" . ($_[0] ? " $_[0]" : '') };
	my $ends = 30 + $g->int(60);
	my %start = (
		scope => $scope, key => $key->(), currency => $g->pick(sort keys %exponent),
		kind => $of =~ /^(?:came back|free)\z/ ? 'pay' : 'authorize',
		amount => number($of eq 'free' ? 0 : 10 + $g->int(1000)));
	$start{expires_in} = $of eq 'captured' ? WEEK : 1000 * $ends if $start{kind} eq 'authorize';
	@start{qw(from_account to_account)} = ("world $start{currency}", "shop $start{currency}")
		if generator($seed, 'accounts of story', $round, $n)->percent(50);

	my $number = 0;
	my $follow = sub {
		my ($kind, %more) = @_;
		return {
			kind => $kind, start => \%start, scope => $scope, key => $key->(++$number),
			$kind eq 'capture' ? (final => 0) : (), %more };
	};
	my $cancel = sub { return { kind => 'cancel', scope => $scope, key => $_[0] } };
	my $made = sub { return 'idem_cancel:' . $_[0] };
	my %requests = (
		prolonged => sub {
			return (
				$follow->('increase', percent => $g->pick(0, 30), expires_in => $g->pick(300_000, 1_500_000, WEEK)),
				$follow->('capture', percent => 20, later => 1),
				$follow->('increase', percent => 40),
				$cancel->($key->($g->pick(1, 3, 3))),
				$follow->('increase', later => 1, percent => 20, $g->percent(50) ? (expires_in => $g->pick(10_000, 1_500_000, 8 * WEEK())) : ()),
				$follow->('capture', percent => $g->pick(30, 90)),
				$cancel->($key->($g->pick(3, 4, 4))),
				$cancel->($made->($key->($g->pick(1, 3, 4)))),
				$follow->('refund', percent => 10));
		},
		'too late' => sub {
			return (
				$follow->('increase', percent => 0, expires_in => 1000 * ($ends + 10)),
				$follow->('capture', percent => 20),
				$follow->('increase', percent => 10, expires_in => 1000 * ($ends + 20)),
				$follow->('capture', percent => 10, later => 1),
				$follow->('increase', percent => 10, expires_in => WEEK, later => 1),
				$cancel->($key->(3)),
				$follow->('refund'));
		},
		captured => sub {
			return (
				$follow->('increase', percent => $g->pick(30, 50)),
				$follow->('capture', percent => $g->pick(110, 125)),
				$cancel->($key->(1)),
				$cancel->($made->($key->(1))),
				$follow->('increase', percent => 10),
				$cancel->($key->(2)),
				$follow->('capture'));
		},
		'came back' => sub {
			return (
				$follow->('refund', percent => $g->pick(40, 100)),
				$cancel->($key->(1)),
				$follow->('refund', percent => 70, later => 1),
				$follow->('refund'),
				$cancel->($key->($g->pick(2, 3))),
				$cancel->($key->()),
				$cancel->($made->($key->($g->pick(1, 2, 3)))),
				$cancel->($made->($key->())),
				$follow->('refund', percent => $g->pick(1, 100), later => 1),
				$cancel->($made->($made->($key->()))));
		},
		free => sub {
			return (
				$follow->('refund'),
				$follow->('increase', percent => 0, expires_in => WEEK),
				$cancel->($key->()),
				$follow->('capture'),
				$cancel->($made->($key->())),
				$cancel->($key->()),
				$cancel->($made->($made->($key->()))));
		});
	return (\%start, grep { !$g->percent(10) } $requests{$of}->());
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
	if (defined $percent)
	{
		$request{amount} = number($start->{authorized})->bmul($percent)->bdiv(100);
		$request{amount} = number(1) if $percent && $request{amount}->is_zero;
	}
	return \%request;
}

sub is_follow_up { return $_[0]{kind} =~ /^(?:increase|capture|void|refund)\z/ }

# Does a follow-up name a currency that is not the payment's?
sub is_misnamed { return defined $_[0]{names} && $_[0]{names} ne $_[0]{currency} }

# Another request with the same key: one field differs. @others: the ids of other payments in the same currency.
sub altered
{
	my ($request, $g, @others) = @_;
	return Posts::altered($request, $g) if $request->{kind} eq 'post';
	my %other = %$request;
	my @fields = qw(kind reference metadata);
	push @fields, 'amount', 'amount' if $request->{kind} ne 'void';
	push @fields, 'currency' if is_follow_up($request) || others_for($request);
	push @fields, 'expires_in' if $request->{kind} eq 'authorize';
	push @fields, ('expires_in') x 4 if $request->{kind} eq 'increase';
	push @fields, 'final' if $request->{kind} eq 'capture';
	push @fields, 'from_account', 'to_account' if defined $request->{from_account};
	push @fields, 'payment_id', 'payment_id' if is_follow_up($request) && @others;
	my $field = $g->pick(@fields);

	if ($field eq 'kind')
	{
		$other{kind} = { pay => 'authorize', authorize => 'pay', capture => $g->pick('refund', 'increase'), refund => 'capture',
			void => 'refund', increase => 'capture' }->{ $request->{kind} };
		delete @other{qw(expires_in final)};
		$other{expires_in} = WEEK if $other{kind} eq 'authorize';
		$other{final} = 1 if $other{kind} eq 'capture';
		# what only some kinds take: no amount, and zero
		$other{amount} = number(1) if $other{kind} =~ /^(?:authorize|increase|capture)\z/ && !($other{amount} // 0);
	}
	elsif ($field eq 'amount')
	{
		$other{amount} = !defined $request->{amount} ? number(1)
			: $request->{kind} =~ /^(?:capture|refund)\z/ && $g->percent(30) ? undef : number($request->{amount})->badd(1);
	}
	elsif ($field eq 'currency' && is_follow_up($request))
	{
		$other{names} = $g->pick(grep { $_ ne ($request->{currency} // '') } sort keys %exponent);
	}
	elsif ($field eq 'currency')
	{
		my $currency = $other{currency} = $g->pick(others_for($request));
		s/\w+\z/$currency/ for grep { defined } @other{qw(from_account to_account)};
	}
	elsif ($field =~ /_account\z/)
	{
		$other{$field} = $g->pick(grep { $_ ne $request->{from_account} && $_ ne $request->{to_account} }
			map { "$_ $request->{currency}" } qw(world shop), $request->{to_account} =~ /^full/ ? () : 'purse');
	}
	elsif ($field eq 'expires_in')
	{
		# an increase may do without, if it has an amount
		$other{expires_in} = !defined $request->{expires_in} ? WEEK
			: $request->{kind} eq 'increase' && $request->{amount} > 0 && $g->percent(50) ? undef
			: $request->{expires_in} + $g->pick(1, 1000, 1_000_000);
	}
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
	return Posts::spec($r) if $r->{kind} eq 'post';
	my $follow = is_follow_up($r);
	return join("\0",
		$r->{kind}, $r->{scope}, $r->{key},
		$follow ? $r->{payment_id} : '',
		defined $r->{amount} ? "$r->{amount}" : 'all',
		$follow ? '' : $r->{currency},
		$r->{kind} eq 'capture' ? ($r->{final} ? 1 : 0) : '',
		$r->{kind} =~ /^(?:authorize|increase)\z/ ? $r->{expires_in} // '' : '',
		$follow && is_misnamed($r) ? 'misnamed' : '',
		map { defined $r->{$_} ? "=$r->{$_}" : '' } qw(reference metadata), $follow ? () : qw(from_account to_account));
}

# Such texts for a request: one, or a second one that fits the row if it was declined.
sub specs
{
	my ($request) = @_;
	return spec($request) unless $request->{kind} eq 'increase' && defined $request->{expires_in};
	return (spec($request), spec({ %$request, expires_in => 'some time' }));
}

# The request of a row as such a text. A declined increase does not say how long the hold was to last.
sub spec_of_row
{
	my ($row) = @_;
	return spec({ %{ request_of($row) }, $row->{prolonged} && defined $row->{sqlstate} ? (expires_in => 'some time') : () });
}

# The request of a row, or of a receipt that has the row's columns. If a declined increase asked for a time, the row does
# not say which. Then it is the shortest one, which is as good as any other that is refused. If an account has refused it,
# the time was not too short.
sub request_of
{
	my ($row) = @_;
	my %request = %$row;
	$request{amount} = undef if $row->{whole};
	my $is_time = $row->{kind} eq 'authorize' || !defined $row->{sqlstate} || $row->{message} =~ /account/;
	$request{expires_in} //= $is_time ? $row->{expires} - $row->{created} : 1
		if $row->{kind} eq 'authorize' || $row->{prolonged};
	return \%request;
}

# The first field in which a request differs from an operation; nothing if none does. A receipt lacks whole, final and
# prolonged; for a receipt, these are not compared.
sub difference
{
	my ($op, $request) = @_;
	my $same = sub { return ($_[0] // "\0") eq ($_[1] // "\0") };

	return if $op->{kind} eq 'cancel';
	return 'kind' if $op->{kind} ne $request->{kind};
	if ($op->{kind} eq 'post')
	{
		return 'entries' if Posts::text($op->{legs}) ne Posts::text($request->{legs});
		return (grep { !$same->($op->{$_}, $request->{$_}) } qw(reference metadata))[0];
	}
	return 'payment_id' if is_follow_up($request) && $op->{payment_id} ne $request->{payment_id};
	my $whole = !defined $request->{amount};
	return 'amount' if defined $op->{whole} && $whole != $op->{whole};
	return 'amount' if !$whole
		&& number($op->{amount})->blsft(18 - exponent($op->{currency}), 10)
		!= number($request->{amount})->blsft(18 - exponent($request->{currency}), 10);
	my $currency = is_follow_up($request) ? $request->{names} : $request->{currency};
	return 'currency' if defined $currency && $op->{currency} ne $currency;
	return 'final' if defined $op->{final} && !!$op->{final} ne !!$request->{final};
	return 'expires_in' if $op->{kind} eq 'authorize' && $op->{expires} - $op->{created} != $request->{expires_in};
	return 'expires_in' if $op->{kind} eq 'increase' && differs_in_time($op, $request->{expires_in});
	for (is_follow_up($request) ? () : qw(from_account to_account))
	{
		return $_ unless $same->($op->{$_}, $request->{$_});
	}
	return 'reference' unless $same->($op->{reference}, $request->{reference});
	return 'metadata' unless $same->($op->{metadata}, $request->{metadata});
	return;
}

# Did an increase ask for another time? If it was declined, all that is known is whether it asked for one.
sub differs_in_time
{
	my ($op, $expires_in) = @_;
	return 1 if defined $op->{prolonged} && !!$op->{prolonged} ne defined $expires_in;
	return 0 if !defined $expires_in || defined $op->{sqlstate};
	return $op->{expires} - $op->{created} != $expires_in;
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
	# an order that was free has succeeded, unless its payment was cancelled
	return $op->{kind} eq 'refund' ? 'refunded' : 'succeeded' if $op->{authorized} == 0;
	my $held = !expired($op, $at) && left($op) > 0;
	if ($op->{refunded} > 0)
	{
		return $held || $op->{refunded} < $op->{captured} ? 'partially_refunded' : 'refunded';
	}
	return $held ? 'partially_captured' : 'succeeded' if $op->{captured} > 0;
	return 'authorized' if $held;
	return $op->{expired} || left($op) > 0 ? 'expired' : 'voided';
}

# The outcome of a follow-up after an operation, at a time: the amount, and either the new totals and the end of the hold,
# or the message of a refusal and its detail.
sub outcome
{
	my ($op, $request, $at) = @_;
	my %totals = map { $_ => $op->{$_} } qw(authorized captured released refunded expires);
	my $is = $request->{kind};
	my $money = sub { return join(' ', major($_[0], $op->{currency}), $op->{currency}) };
	my $done = $is eq 'refund' ? 'refunded' : 'captured';
	my $left = $is eq 'refund' ? $op->{captured} - $op->{refunded} : left($op);
	my $amount = $request->{amount} // $left;
	my $refuse = sub { return { amount => $amount, refusal => $_[0], detail => $_[1] } };

	# money that came back is there again
	return { amount => $amount, %totals, refunded => $op->{refunded} - $amount } if $is eq 'reversal';

	if ($is ne 'refund' && $op->{expired})
	{
		return $refuse->('authorization has expired', sprintf('%s could be %s until', $money->($op->{released}), $is eq 'void' ? 'voided' : 'captured'));
	}
	if ($left == 0)
	{
		return $refuse->($is eq 'increase' ? 'no hold is left to increase' : "nothing is left to $is",
			$is eq 'refund'
			? sprintf('Of the %s captured, %s was refunded.', map { $money->($op->{$_}) } qw(captured refunded))
			: sprintf('Of the %s authorized, %s was captured and %s was released.', map { $money->($op->{$_}) } qw(authorized captured released)));
	}
	if ($is ne 'refund' && expired($op, $at))
	{
		return $refuse->('authorization has expired', sprintf('%s could be %s until', $money->($left), $is eq 'void' ? 'voided' : 'captured'));
	}
	if ($is eq 'increase')
	{
		my $expires = defined $request->{expires_in} ? $at + $request->{expires_in} : $op->{expires};
		return $refuse->('hold expires later already', 'The hold expires at ') if $expires < $op->{expires};
		return { amount => $amount, %totals, authorized => $op->{authorized} + $amount, expires => $expires };
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
		$totals{released} = $op->{released} + $amount;
	}
	else
	{
		$totals{captured} = $op->{captured} + $amount;
		$totals{released} = $op->{released} + $left - $amount if $request->{final};
	}
	return { amount => $amount, %totals };
}

# What an operation changes in its accounts, after the one before it: what is posted in to_account, and what is held in
# from_account.
sub moved
{
	my ($previous, $op) = @_;
	my $net = sub { return $_[0]{captured} - $_[0]{refunded} };
	my @moved = ($net->($op), left($op));
	return $previous ? ($moved[0] - $net->($previous), $moved[1] - left($previous)) : @moved;
}

# The refusals by the accounts that a request of this kind may get, if it changes so much. One that is closed comes first, then
# the limits of from_account, then those of to_account. Each has its state and message, and whether it is certain that there
# is one. After one that is certain, no other is possible.
sub limits
{
	my ($payment, $kind, $net, $hold) = @_;
	return unless defined $payment->{from_account};
	my $begins = $kind =~ /^(?:pay|authorize|increase)\z/;
	return limits_of_legs($begins, [ $payment->{from_account}, -$net - $hold, -$net ], [ $payment->{to_account}, $net, $net ]);
}

# The same for legs: the account, and by how much its available and its posted amount change.
sub limits_of_legs
{
	my ($begins, @legs) = @_;
	return { state => 'ID412', message => 'account is closed', certain => 1 }
		if $begins && grep { $accounts{ (split / /, $_->[0])[0] }{closed} } @legs;
	my @limits;
	for my $leg (@legs)
	{
		my ($name, $available, $posted) = @$leg;
		my ($type) = split / /, $name;
		my $account = $accounts{$type};
		push @limits, { state => 'ID402', message => 'not enough is available in the account', certain => $type eq 'empty' }
			if $available < 0 && defined $account->{floor};
		push @limits, { state => 'ID412', message => 'account would be above its ceiling', certain => $type eq 'full' }
			if $posted > 0 && defined $account->{ceiling};
	}
	my ($first) = grep { $limits[$_]{certain} } 0 .. $#limits;
	$#limits = $first if defined $first;
	return @limits;
}

# The same for a request that starts a payment, or for its row.
sub limits_of_start
{
	my ($start) = @_;
	return limits_of_legs(1, map { [ @$_[ 0, 1, 1 ] ] } Posts::read_legs($start->{legs})) if $start->{kind} eq 'post';
	return limits($start, $start->{kind}, $start->{kind} eq 'pay' ? ($start->{amount}, 0) : (0, $start->{amount}));
}

# The same for a request with this outcome, after an operation.
sub limits_of_outcome
{
	my ($op, $kind, $outcome) = @_;
	return if defined $outcome->{refusal};
	return limits($op, $kind, moved($op, $outcome));
}

# Dies unless an operation has the entries that it should have.
sub check_entries
{
	my ($row, $previous) = @_;
	my ($net, $hold) = defined $row->{from_account} ? moved($previous, $row) : (0, 0);
	for ([ from_seq => $net != 0 || $hold != 0 ], [ to_seq => $net != 0 ])
	{
		my ($seq, $has) = @$_;
		die "$seq is " . ($row->{$seq} // 'null') . "\n" if !defined $row->{$seq} ne !$has;
	}
	expect($row, map { $_ => $previous->{$_} } qw(from_account to_account)) if $previous;
	return;
}

# What cancelling the key of an operation has to do, if another one is the newest: a request, or a refusal. Unlike
# other requests, this one may have an amount of zero.
sub undoing
{
	my ($original, $op) = @_;
	my $is = $original->{kind};

	return { refusal => "cannot cancel a $is" } if $is =~ /^(?:void|reversal|post)\z/;
	return { refusal => 'cannot cancel an operation of kind "expire"' } if $is eq 'expire';
	return { request => { kind => 'reversal', amount => $original->{amount} } } if $is eq 'refund';
	if ($is eq 'authorize')
	{
		return { refusal => 'cannot cancel an authorization that has been captured' } if $op->{captured} > 0;
		return { request => { kind => 'void' } };
	}
	my $left = $is eq 'increase' ? left($op) : $op->{captured} - $op->{refunded};
	return {
		request => {
			kind => $is eq 'increase' ? 'void' : 'refund',
			amount => $original->{amount} < $left ? $original->{amount} : $left } };
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
	die "$is starts no payment\n" unless $is =~ /^(?:pay|authorize|cancel|post)\z/;
	my @limits = $is eq 'cancel' ? () : limits_of_start($row);
	my $refused = defined $row->{sqlstate};
	die "its account forbids it\n" if !$refused && grep { $_->{certain} } @limits;
	die "no account forbids it in this way\n"
		if $refused && !grep { $_->{state} eq $row->{sqlstate} && $_->{message} eq $row->{message} } @limits;
	expect($row,
		whole => 0, final => undef, prolonged => undef, expired => undef, $refused ? () : (message => undef),
		authorized => $refused || $is eq 'post' ? 0 : $amount, captured => $is eq 'pay' && !$refused ? $amount : 0,
		released => 0, refunded => 0);
	$is eq 'post' ? Posts::check($row) : check_entries($row);
	expect($row, currency => undef, amount => 0, reference => undef, metadata => undef) if $is eq 'cancel';
	die "an amount of zero\n" if $is eq 'authorize' && $amount == 0;
	die $is eq 'authorize' ? "no end of the hold\n" : "an end of no hold\n" if ($is eq 'authorize') != defined $row->{expires};
	die "the hold ends before it begins\n" if $is eq 'authorize' && $row->{expires} <= $row->{created};
	return;
}

sub check_next
{
	my ($row, $previous, @before) = @_;
	my $request = request_of($row);
	return check_expire($row, $previous, @before) if $row->{kind} eq 'expire';
	die "$row->{kind} continues no payment\n" unless is_follow_up($row) || $row->{kind} eq 'reversal';
	die "it follows a cancelled key\n" if $previous->{kind} eq 'cancel';

	if ($row->{key} =~ /^idem_cancel:(.*)\z/s)
	{
		my ($original) = grep { $_->{key} eq $1 } @before;
		die "it undoes what is not there\n" unless $original;
		die "it undoes what was declined\n" if defined $original->{sqlstate};
		$request = undoing($original, $previous)->{request} // die "it cannot be undone\n";
		expect($row, kind => $request->{kind}, final => undef, sqlstate => undef, reference => undef, metadata => undef);
		expect($row, whole => defined $request->{amount} ? 0 : 1) if defined $row->{whole};
	}
	elsif ($row->{kind} eq 'reversal')
	{
		die "it undoes nothing\n";
	}
	elsif ($row->{kind} eq 'increase')
	{
		die "it asks for nothing\n" if $row->{amount} == 0 && !$row->{prolonged};
		expect($row, whole => 0);
	}
	my $outcome = outcome($previous, $request, $row->{created});
	my $refusal = $outcome->{refusal};
	my $state = 'ID412';
	if (defined $refusal && $row->{key} =~ /^idem_cancel:/)
	{
		$refusal = undef;
		$outcome = { %$previous, amount => 0 };
	}
	my @limits = limits_of_outcome($previous, $request->{kind}, $outcome);
	my ($limit) = grep { $_->{certain} || ($row->{message} // '') eq $_->{message} } @limits;
	if ($limit)
	{
		die "its account forbids it\n" if $row->{key} =~ /^idem_cancel:/;
		($state, $refusal) = @$limit{qw(state message)};
	}
	expect($row, currency => $previous->{currency}, amount => $outcome->{amount},
		sqlstate => defined $refusal ? $state : undef, message => $refusal,
		map { $_ => $refusal ? $previous->{$_} : $outcome->{$_} } qw(authorized captured released refunded expires));
	expect($row, expired => $previous->{expired});
	check_entries($row, $previous);
	die "final is " . ($row->{final} // 'null') . "\n" if defined $row->{final} != ($row->{kind} eq 'capture');
	die "prolonged is " . ($row->{prolonged} // 'null') . "\n" if defined $row->{prolonged} != ($row->{kind} eq 'increase');
	return;
}

# Like check_next(), for a row that releases an expired hold.
sub check_expire
{
	my ($row, $previous, @before) = @_;
	my $left = left($previous);
	die "nothing was left to expire\n" if $left <= 0;
	die "it was not time\n" if !expired($previous, $row->{created});
	expect($row, key => "idem_expire:$before[0]{key}", whole => 1, final => undef, prolonged => undef, expired => 1, sqlstate => undef,
		reference => undef, metadata => undef, amount => $left, released => $previous->{released} + $left,
		map { $_ => $previous->{$_} } qw(currency expires authorized captured refunded));
	check_entries($row, $previous);
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
		expect($r, status => 'declined');
		die "it cannot be declined with $r->{sqlstate}\n" unless $r->{sqlstate} =~ /^ID4(?:02|12)\z/;
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
			from_account to_account from_seq to_seq legs reference metadata created expires sqlstate message)),
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
		qw(scope key payment_id seq kind status from_account to_account from_seq to_seq legs whole final prolonged amount currency names authorized captured released refunded
		capturable refundable percent expires_in created expires reference metadata declines sqlstate message replayed));
	return Encode::encode('UTF-8', $line);
}

1;
