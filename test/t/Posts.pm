# The model's posts: several legs, of accounts in one currency or two, that add up to zero in each. Nothing here asks the
# server.
#
# The legs of a request are an array of [ account, amount ]: a whole number of the smallest unit, below zero for what the
# account gives. Those of an operation are the text that the server sent.
package Posts;

use strict;
use warnings;

use JSON::PP ();
use Model ();

# Number $n of the round's posts. All clients send it at about the same time.
sub planned
{
	my ($seed, $round, $n) = @_;
	my $g = Model::generator($seed, 'post', $round, $n);
	my @currencies = ($g->pick(qw(USD JPY BTC)), $g->percent(40) ? 'EUR' : ());
	my %post = (kind => 'post', scope => $g->pick(Model::scopes()), key => "R$round post $n");
	my @legs = map { legs($g, $_) } @currencies;
	$post{legs} = [ $g->percent(50) ? @legs : reverse @legs ];
	$post{reference} = "post $n" if $g->percent(30);
	$post{metadata} = '{"n": 1}' if $g->percent(30);
	return with_amount(\%post);
}

# Legs in a currency. Nothing is given to "empty", and "full" gives nothing: see Model.pm.
sub legs
{
	my ($g, $currency) = @_;
	my @names = ('world', 'shop', 'purse', 'purse');
	my %amount;
	for (1 .. 1 + $g->int(2))
	{
		my $name = splice(@names, $g->int(scalar @names), 1);
		$amount{$name} += $g->pick(-1, 1, $name eq 'purse' ? 1 : -1) * (1 + $g->int($g->pick(5, 300)));
	}
	$amount{ $g->pick(qw(empty closed)) } = -1 - $g->int(9) if $g->percent(6);
	$amount{full} = 1 + $g->int(9) if $g->percent(6);
	my $rest = (grep { !exists $amount{$_} } qw(shop world purse))[0];
	$amount{$rest} = 0;
	$amount{$rest} -= $amount{$_} for grep { $_ ne $rest } keys %amount;
	my @used = grep { $amount{$_} != 0 } sort keys %amount;
	return map { [ "$_ $currency", $amount{$_} ] } @used if @used;
	return ([ "world $currency", -3 ], [ "shop $currency", 3 ]);
}

# Sets the amount and the currency of a post. It has those only if its legs are in one currency.
sub with_amount
{
	my ($post) = @_;
	my %currencies = map { (currency($_->[0]) => 1) } @{ $post->{legs} };
	my ($currency, $other) = keys %currencies;
	my $given = 0;
	$given += $_->[1] for grep { $_->[1] > 0 } @{ $post->{legs} };
	@$post{qw(currency amount)} = $other ? (undef, Model::number(0)) : ($currency, Model::number($given));
	return $post;
}

sub currency { return (split / /, $_[0])[-1] }

# The legs of a request or an operation as [ account, amount, seq ], in the order given.
sub read_legs
{
	my ($legs) = @_;
	if (!ref $legs)
	{
		$legs = [ map { [ $_->{account}, signed($_->{amount}, currency($_->{account})), $_->{seq} ] }
				@{ JSON::PP->new->allow_bignum->decode($legs) } ];
	}
	return @$legs;
}

# An amount that may be below zero, in the smallest unit.
sub signed
{
	my ($amount, $currency) = @_;
	my $text = ref $amount ? $amount->bstr : "$amount";
	my ($sign, $digits) = $text =~ /^(-?)(.*)\z/;
	my $decimals = Model::exponent($currency);
	my ($whole, $part) = split /\./, $digits;
	return 0 + ($sign . $whole . substr(($part // '') . '0' x $decimals, 0, $decimals));
}

# What a post asks for, as a text. The order of the legs does not matter.
sub text { return join(', ', sort map { "$_->[0] $_->[1]" } read_legs($_[0])) }

sub spec
{
	my ($post) = @_;
	return join("\0", 'post', $post->{scope}, $post->{key}, text($post->{legs}),
		map { defined $post->{$_} ? "=$post->{$_}" : '' } qw(reference metadata));
}

# The legs as an argument. The order and the number of decimals may be any.
sub sql
{
	my ($legs, $quote) = @_;
	return 'ARRAY['
		. join(', ', map {
			my ($account, $amount) = @$_;
			'(' . $quote->($account) . ', ' . ($amount < 0 ? '-' : '') . Model::major(abs $amount, currency($account)) . ')' } @$legs)
		. ']::idem_entry[]';
}

# Another request with the same key. Or the same one with its legs in another order.
sub altered
{
	my ($post, $g) = @_;
	my %other = (%$post, legs => [ map { [@$_] } @{ $post->{legs} } ]);
	my $what = $g->weighted(order => 4, amounts => 4, account => 3, reference => 1, kind => 1);
	my @legs = @{ $other{legs} };
	if ($what eq 'order')
	{
		@{ $other{legs} } = (@legs[ 1 .. $#legs ], $legs[0]);
	}
	elsif ($what eq 'kind' && defined $post->{currency})
	{
		return { %$post, kind => 'pay', legs => undef };
	}
	elsif ($what eq 'reference')
	{
		$other{reference} = 'another';
	}
	elsif ($what eq 'account')
	{
		# "world" and "shop" of the same currency
		my ($leg) = grep { $_->[0] =~ /^(?:world|shop) / } @legs;
		my $name = $leg ? ($leg->[0] =~ /^world/ ? 'shop ' : 'world ') . currency($leg->[0]) : undef;
		$leg->[0] = $name if $name && !grep { $_->[0] eq $name } @legs;
	}
	else
	{
		$_->[1] *= 2 for @legs;
	}
	return with_amount(\%other);
}

# Posts that can never be carried out, and the SQLSTATE of each. $key: quoted.
sub malformed
{
	my ($key) = @_;
	my @bad = (
		[ "('world USD', -1)", '22023' ],
		[ "('world USD', -1), ('shop USD', 1), ('world USD', 1), ('purse USD', -1)", '22023' ],
		[ "('world USD', -1), ('shop USD', 1.01)", '22023' ],
		[ "('world USD', -1), ('shop EUR', 1)", '22023' ],
		[ "('world USD', -1), ('shop USD', 1), ('world EUR', 2), ('shop EUR', -3)", '22023' ],
		[ "('world EUR', 2), ('world USD', -1), ('shop USD', 2), ('shop EUR', -2)", '22023' ],
		[ "('world USD', -1.001), ('shop USD', 1.001)", '22003' ],
		[ "('world USD', 0), ('shop USD', 0)", '22003' ],
		[ "('world USD', -1), (NULL, 1)", '22004' ],
		[ "('world USD', -1), ('nowhere', 1)", 'ID404' ]);
	return map { [ "idem_post($key, ARRAY[$_->[0]]::idem_entry[])", $_->[1] ] } @bad;
}

# Dies unless the row of a post is as its legs ask for.
sub check
{
	my ($row) = @_;
	my @legs = read_legs($row->{legs});
	my %sum;
	for my $leg (@legs)
	{
		$sum{ currency($leg->[0]) } += $leg->[1];
		die "its leg of $leg->[0] has " . (defined $leg->[2] ? 'an entry' : 'no entry') . "\n" if defined $leg->[2] == defined $row->{sqlstate};
	}
	die "its legs do not add up to zero\n" if grep { $_ != 0 } values %sum;
	my $as = with_amount({ legs => \@legs });
	Model::expect($row, amount => $as->{amount}, currency => $as->{currency}, from_account => undef, to_account => undef,
		from_seq => undef, to_seq => undef, expires => undef);
	return;
}

1;
