# A client of the model: what it knows, how it sends a request, and which answers the model allows by what it
# knows. What it sends, and when, is in Player.pm.
package Caller;

use strict;
use warnings;
use utf8;

use Client;
use Encode ();
use Exporter qw(import);
use Model;
use Posts;
use Time::HiRes ();

our @EXPORT_OK = qw(about at_one_of check_same id now payment read_receipt COLUMNS);

use constant SLACK => 2_000;	# microseconds that two clocks may differ

# The columns of every answer; times are whole numbers, which Perl can compare.
use constant COLUMNS => 'r::text AS text, r.*, (extract(epoch FROM r.created_at) * 1000000)::bigint AS created,
	(extract(epoch FROM r.expires_at) * 1000000)::bigint AS expires';

#-----------------------------------------------------------------------------------------------------
# What a client knows
#-----------------------------------------------------------------------------------------------------

# What a client knows and keeps. Rows are receipts, under the scope and the key.
sub new
{
	my ($class, $seed, $round, $number) = @_;
	return bless {
		seed => $seed,
		round => $round,
		number => $number,
		known => {},		# id => receipt that is committed
		top => {},			# payment => the newest of these
		new => {},			# id => 1 if the answer said that we made it, and COMMIT returned
		maybe => {},		# id => 1 if we may have made it, and the answer was lost
		sent => {},			# what we asked for => 1
		unknown => [],		# requests whose answer was lost
		lost => [],			# receipts of a transaction whose COMMIT was not answered
		torn => [],			# keys of a statement whose answer was lost, if no other client uses them
		ghosts => [],		# receipts of what was rolled back
		refused => [],		# requests that the payment's state forbade
		differs => [],		# requests that got ID422, for a stored one that we do not know
		did => {},
		own => undef,		# receipts of the transaction that is open
		replays => undef }, $class;	# receipts that were replayed to that transaction
}

sub id { return "$_[0]{scope}\0$_[0]{key}" }

sub payment { return "$_[0]{scope}\0$_[0]{payment_id}" }

# The receipt that must be stored under this id, from this client's view.
sub stored
{
	my ($self, $id) = @_;
	my ($own) = grep { id($_) eq $id } @{ $self->{own} // [] };
	return $own // $self->{known}{$id};
}

# Notes a receipt that is committed.
sub learn
{
	my ($self, $r) = @_;
	my $known = $self->{known}{ id($r) } //= $r;
	$known->{$_} //= $r->{$_} for qw(whole final prolonged released);
	my $top = $self->{top}{ payment($r) };
	$self->{top}{ payment($r) } = $known if !$top || $top->{seq} < $r->{seq};
	return;
}

sub committed
{
	my ($self) = @_;
	delete $self->{replays};
	for my $r (@{ delete $self->{own} })
	{
		$self->{new}{ id($r) } = 1;
		$self->learn($r);
	}
	return 'done';
}

#-----------------------------------------------------------------------------------------------------
# Sending, and comparing the answer with what is allowed
#-----------------------------------------------------------------------------------------------------

sub now { return CORE::int(Time::HiRes::time() * 1_000_000) }

# Sends a query. Returns the answer: its rows; or the state, message and detail of an error, and whether the
# connection is lost; and when the query was sent and answered.
sub ask
{
	my ($self, $sql) = @_;
	my %answer = (sent => now() - SLACK);
	my $dbh = $self->{client}{dbh};
	$answer{rows} = eval { $dbh->selectall_arrayref($sql, { Slice => {} }) };
	$answer{got} = now() + SLACK;
	return \%answer if $answer{rows};
	return failure(\%answer, $dbh);
}

# Runs a command. Returns nothing if it succeeds, and the answer if it fails with an error that any command can get.
# Dies of other errors.
sub command
{
	my ($self, $sql) = @_;
	my $dbh = $self->{client}{dbh};
	return if eval { $dbh->do($sql); 1 };
	my $failed = failure({}, $dbh);
	my $allowed = $failed->{lost} || $failed->{state} eq '57014'
		|| $failed->{state} eq '40001' && $sql eq 'COMMIT' && $self->{mode}{isolation} eq 'serializable';
	die "$sql: $failed->{state} $failed->{message}\n" unless $allowed;
	return $failed;
}

sub failure
{
	my ($answer, $dbh) = @_;
	my ($state, $text) = ($dbh->state, $dbh->errstr // '');
	$answer->{state} = length($state // '') ? $state : 'none';
	($answer->{message}) = $text =~ /^(?:\w+:\s+)?(.*)/;
	$answer->{detail} = $text =~ /^DETAIL:\s+(.*)/m ? $1 : '';
	$answer->{lost} = $answer->{state} =~ /^(?:ID|22|40|23|XX|0A|25|55)/ ? 0 : !$dbh->ping;
	return $answer;
}

sub quote
{
	my ($self, $text) = @_;
	return $self->{client}{dbh}->quote($text);
}

# The call of a request, in one of the ways to write it.
sub sql_of
{
	my ($self, $request) = @_;
	my $is = $request->{kind};
	my $g = Model::generator($self->{seed}, 'style', $self->{number}, Encode::encode('UTF-8', id($request)));
	my @arguments = 'key => ' . $self->quote($request->{key}) . ($request->{sleep} ? ' || s::text' : '');

	push @arguments, 'payment_id => ' . $self->quote($request->{payment_id}) if Model::is_follow_up($request);
	if ($is eq 'increase' && $request->{amount} == 0 && $g->percent(50))
	{
		# the default is zero
	}
	elsif ($is eq 'post')
	{
		push @arguments, 'entries => ' . Posts::sql($request->{legs}, sub { $self->quote($_[0]) });
	}
	elsif (defined $request->{amount} && $is ne 'void' && $is ne 'cancel')
	{
		my $amount = Model::major($request->{amount}, $request->{currency});
		$amount .= ($amount =~ /\./ ? '' : '.') . '0' x $g->int(4) if $g->percent(20);
		push @arguments, "amount => $amount";
	}
	elsif ($is =~ /^(?:capture|refund)\z/ && $g->percent(50))
	{
		push @arguments, "amount => 'Infinity'";
	}
	push @arguments, 'currency => ' . $self->quote($request->{currency})
		if $is =~ /^(?:pay|authorize)\z/ && ($request->{currency} ne $self->{mode}{currency} || $g->percent(50));
	if (Model::is_follow_up($request))
	{
		my $names = $request->{names} // ($g->percent(25) ? $request->{currency} : undef);
		push @arguments, 'currency => ' . $self->quote($names) if defined $names;
	}
	push @arguments, "declines => '$request->{declines}'" if $request->{declines} && $is ne 'cancel';
	push @arguments, map { "$_ => " . $self->quote($request->{$_}) } grep { defined $request->{$_} } qw(from_account to_account)
		if $is =~ /^(?:pay|authorize)\z/;
	push @arguments, 'expires_in => ' . (defined $request->{expires_in} ? "interval '$request->{expires_in} microseconds'" : 'NULL')
		if $is eq 'authorize' && ($request->{expires_in} != Model::WEEK || $g->percent(50))
		|| $is eq 'increase' && (defined $request->{expires_in} || $g->percent(30));
	push @arguments, 'final => ' . ($request->{final} ? 'true' : 'false')
		if $is eq 'capture' && (!$request->{final} || $g->percent(50));
	push @arguments, map { "$_ => " . $self->quote($request->{$_}) } grep { defined $request->{$_} } qw(reference metadata);
	push @arguments, 'scope => ' . $self->quote($request->{scope})
		if $request->{scope} ne $self->{mode}{scope} || $g->percent(50);

	return 'SELECT ' . COLUMNS . ' FROM ' . ($request->{sleep} ? "pg_sleep($request->{sleep} / 1000.0) s, LATERAL " : '')
		. "idem_$is(" . join(', ', @arguments) . ') r';
}

# What is to become of a refusal. The argument goes before the setting.
sub declines
{
	my ($self, $request) = @_;
	return 'raise' if $request->{kind} eq 'cancel';
	return $request->{declines} || $self->{mode}{declines};
}

sub note_sent
{
	my ($self, $request) = @_;
	$self->{sent}{$_} = 1 for $request->{kind} eq 'cancel' ? "cancel\0" . id($request) : Model::specs($request);
	return;
}

sub note_unknown
{
	my ($self, $request) = @_;
	$self->{maybe}{ id($request) } = 1;
	$self->{maybe}{"$request->{scope}\0idem_cancel:$request->{key}"} = 1 if $request->{kind} eq 'cancel';
	push @{ $self->{unknown} }, { request => { %$request, sleep => 0 } };
	return;
}

# Sends one request, or several in one statement, and compares the answers with what is allowed. Returns the
# answer if it was an error.
sub call
{
	my ($self, @requests) = @_;
	my $transaction = $self->{own};
	my $before = @{ $transaction // [] };
	$self->note_sent($_) for @requests;
	my $answer = $self->ask(join(' UNION ALL ', map { $self->sql_of($_) } @requests));

	if ($answer->{lost})
	{
		$self->note_unknown($_) for $transaction ? () : @requests;
		return $answer;
	}
	if ($answer->{state})
	{
		$answer->{several} = @requests > 1 || $before > 0;
		about($requests[0], sub { $self->check_error($answer, @requests) });
		return $answer;
	}
	die @{ $answer->{rows} } . ' receipts for ' . @requests . " requests\n" if @{ $answer->{rows} } != @requests;
	$self->{own} //= [];
	for my $i (0 .. $#requests)
	{
		my ($request, $r) = ($requests[$i], $answer->{rows}[$i]);
		$r->{scope} = $request->{scope};
		about($request, sub { $self->check_answer($request, read_receipt($r), $answer); 1 }, $r);
	}
	$self->committed unless $transaction;
	return;
}

# May a request be answered with this receipt?
sub check_answer
{
	my ($self, $request, $r, $answer) = @_;
	my $cancel = $request->{kind} eq 'cancel';
	Model::check_receipt($r);
	my $stored = $self->stored(id($r));
	die "the key is another\n"
		if $r->{key} ne $request->{key} && !($cancel && $r->{key} eq "idem_cancel:$request->{key}");
	die "it does not tell of the cancellation\n"
		if $cancel && $r->{key} eq $request->{key} && $r->{status} !~ /^(?:cancelled|declined)\z/;
	if ($stored)
	{
		die "it was made a second time; the first is\n  " . Model::describe($stored) . "\n" unless $r->{replayed};
		check_same($stored, $r);
	}
	my $field = $cancel ? undef : Model::difference($stored // $r, $request);
	die "$field is not what was asked for\n" if defined $field;
	if (!$cancel && $r->{kind} ne 'cancel')
	{
		$r->{whole} = defined $request->{amount} ? 0 : 1;
		$r->{final} = $r->{kind} eq 'capture' ? ($request->{final} ? 1 : 0) : undef;
		$r->{prolonged} = $r->{kind} eq 'increase' ? (defined $request->{expires_in} ? 1 : 0) : undef;
	}
	elsif ($r->{key} =~ /^idem_cancel:/)
	{
		# a void undoes an authorization as a whole, and of an increase its amount; which one it was may be unknown
		my $original = $self->stored(id($request));
		$r->{whole} = $r->{kind} ne 'void' ? 0 : !$original ? undef : $original->{kind} eq 'authorize' ? 1 : 0;
		$r->{final} = undef;
	}
	elsif ($r->{kind} eq 'cancel')
	{
		$r->{whole} = 0;
		$r->{final} = undef;
	}
	$r->{released} = $r->{authorized} - $r->{captured} - $r->{capturable} unless Model::expired($r, $r->{created});

	if ($r->{replayed})
	{
		if (!grep { id($_) eq id($r) } @{ $self->{own} })
		{
			$self->learn($r);
			push @{ $self->{replays} }, $r;
		}
		$self->{did}{'replayed'}++;
		return;
	}
	$self->check_new($request, $r, $answer);
	push @{ $self->{own} }, $r;
	$self->{did}{'new'}++;
	$self->{did}{'nothing to undo'}++ if $r->{key} =~ /^idem_cancel:/ && $r->{amount} == 0;
	$self->{did}{'declined'}++ if defined $r->{sqlstate};
	return;
}

# May this be a new operation, after what we know of the payment?
sub check_new
{
	my ($self, $request, $r, $answer) = @_;
	die "it was not made at that time\n" if $r->{created} < $answer->{sent} || $r->{created} > $answer->{got};
	die "there is no such payment\n" if $request->{absent};
	die "it was declined\n" if defined $r->{sqlstate} && $self->declines($request) ne 'record';
	$r->{expires_in} = $request->{expires_in} if $r->{kind} eq 'increase';
	if ($request->{kind} =~ /^(?:pay|authorize|post)\z/ || $r->{kind} eq 'cancel')
	{
		Model::expect($r, seq => 1);
		Model::check_first({ %$r, released => 0 });
		return;
	}

	my ($previous) = grep { payment($_) eq payment($r) } reverse @{ $self->{own} };
	my $top = $self->{top}{ payment($r) };
	die "its seq does not follow the $previous->{seq} of this transaction\n" if $previous && $r->{seq} != $previous->{seq} + 1;
	die "there is an operation $top->{seq} already\n" if $top && $r->{seq} <= $top->{seq};
	$previous //= $top;
	return unless $previous && $r->{seq} == $previous->{seq} + 1 && defined $previous->{released};

	my @before = grep { defined } $self->stored("$r->{scope}\0$request->{key}");
	return if $request->{kind} eq 'cancel' && !@before;
	$r->{released} //= $previous->{released};
	Model::check_next($r, $previous, @before);
	return;
}

sub check_same
{
	my ($stored, $r) = @_;
	die "the receipt was\n  $stored->{text}\nand is\n  $r->{text}\n" if $stored->{text} ne $r->{text};
	return;
}

# May this error be the answer to these requests? Returns the answer.
sub check_error
{
	my ($self, $answer, @requests) = @_;
	my ($state, $mode) = ($answer->{state}, $self->{mode});
	return $answer if $answer->{lost} || $state eq '57014';
	return $answer if $state eq '40001' && $mode->{isolation} ne 'read committed';
	return $answer if $state eq '40P01' && $answer->{several};
	return $answer if $state eq '55P03' && $mode->{lock_timeout};
	return $answer if $state eq 'ID409' && $mode->{in_flight} eq 'fail';

	# of several requests, we cannot know which one it was
	my @follow_ups = grep { Model::is_follow_up($_) } @requests;
	if (@requests > 1)
	{
		return $answer if $state eq 'ID422'
			|| $state =~ /^ID4[01]2\z/ && grep { $_->{kind} eq 'cancel'
				|| (Model::is_follow_up($_) || Model::limits_of_start($_)) && $self->declines($_) eq 'raise' } @requests;
		return $answer if $state eq 'ID404' && grep { $_->{absent} } @requests;
		return $answer if $state eq 'ID400' && grep { of_cancelled($_) } @requests;
		return $answer if $state eq '22023' && grep { Model::is_misnamed($_) } @follow_ups;
	}
	my ($request) = @requests;
	if (@requests == 1)
	{
		my $stored = $self->stored(id($request));
		return $self->check_refusal($request, $stored, $answer)
			if $state =~ /^ID4[01]2\z/ && (@follow_ups && $self->declines($request) eq 'raise' || $request->{kind} eq 'cancel');
		return $answer if $state =~ /^ID4[01]2\z/ && !@follow_ups && !$stored && $self->declines($request) eq 'raise'
			&& grep { same_limit($_, $answer) } Model::limits_of_start($request);
		return $self->check_differs($request, $stored, $answer) if $state eq 'ID422' && $request->{kind} ne 'cancel';
		return $answer if $state eq 'ID404' && $request->{absent} && !$stored;
		return $answer if $state eq 'ID400' && of_cancelled($request) && !$stored;
		if ($state eq '22023' && @follow_ups && Model::is_misnamed($request) && !$stored)
		{
			$self->{did}{'wrong currency'}++;
			return $answer;
		}
	}
	die "the answer is $state $answer->{message} $answer->{detail}\n";
}

# Is an error the refusal by the limits of accounts?
sub same_limit
{
	my ($limit, $answer) = @_;
	return $limit && $limit->{message} eq $answer->{message} && $limit->{state} eq $answer->{state};
}

# Is the key that a cancellation names one that only a cancellation makes?
sub of_cancelled
{
	my ($request) = @_;
	return $request->{kind} eq 'cancel' && $request->{key} =~ /^idem_cancel:/;
}

sub check_differs
{
	my ($self, $request, $stored, $answer) = @_;
	my ($field) = $answer->{detail} =~ /^Field "(\w+)" differs/ or die "it does not say which field differs\n";
	$self->{did}{'entries differ'}++ if $field eq 'entries';
	if ($stored && defined $stored->{whole})
	{
		my $right = Model::difference($stored, $request) // 'none';
		die "it is told that $field differs, and that is $right; stored is\n  " . Model::describe($stored) . "\n" if $right ne $field;
	}
	else
	{
		push @{ $self->{differs} }, [ $request, $field ];
	}
	return $answer;
}

sub check_refusal
{
	my ($self, $request, $stored, $answer) = @_;
	my $cancel = $request->{kind} eq 'cancel';
	die "the key is used, for\n  " . Model::describe($stored) . "\n" if $stored && !$cancel;
	my $payment = $cancel ? ($stored ? payment($stored) : undef) : payment($request);
	my $top = defined $payment ? $self->{top}{$payment} : undef;
	push @{ $self->{refused} }, {
		request => $request, payment => $payment, state => $answer->{state}, message => $answer->{message}, detail => $answer->{detail},
		sent => $answer->{sent}, got => $answer->{got}, least => $top ? $top->{seq} : 0, own => [ @{ $self->{own} // [] } ] };
	return $answer;
}

# Turns a row that the server sent into a receipt.
sub read_receipt
{
	my ($r) = @_;
	($r->{text}) = Client::split_receipt($r->{text});
	return Model::operation($r);
}

# Runs a check. If it fails, the error names the operation or request that it is about.
sub about
{
	my ($what, $check, $more) = @_;
	return eval { $check->(); 1 } || die $@ . '  ' . Model::describe($what) . "\n" . ($more ? '  ' . Model::describe($more) . "\n" : '');
}

# Runs a check that must hold at one of these times.
sub at_one_of
{
	my ($times, $check) = @_;
	for my $at (@$times)
	{
		return if eval { $check->($at); 1 };
	}
	die $@;
}

1;
