# A client that plays at random against the model. It sends requests in all possible ways. It checks each answer at
# once against the model, by what the client knows, and keeps what must be checked later, by what others know.
#
# How a request is sent, and which answers are allowed, is in Caller.pm. Batches are in Batches.pm. The clients of a round go through one list
# of planned requests (Model.pm) at about the same time.
package Player;

use strict;
use warnings;
use utf8;

use Batches;
use Caller qw(about at_one_of check_same id now payment read_receipt COLUMNS);
use Client;
use List::Util qw(min);
use Model;
use Posts;
use Till;
use Time::HiRes ();

our @ISA = ('Caller', 'Batches', 'Till');

use constant REQUESTS => 960;	# planned in a round
use constant STEPS => 220;		# of each client in a round
use constant WINDOW => 8;		# requests that clients choose from at a time
use constant AHEAD => 3;		# steps that a client may be ahead of the others
use constant PATIENCE => 0.2;	# seconds that it then waits for them, at most
use constant ROUND_LIMIT => 60;	# seconds
use constant TRIES => 6;		# of what may be tried again

# What all players of a process share: the server, the seed, the time of the end, the number of players, and the file
# with each player's step.
my ($node, $seed, $end, $clients, $paces);

sub set_up
{
	($node, $seed, $end, $clients, $paces) = @_;
	return;
}

# Plays a round, and returns what it kept. If there was something that the model does not allow, "wrong" says what.
sub play
{
	my ($class, $round, $number) = @_;
	my $self = $class->new($seed, $round, $number);
	my $last_moment = min($end, Time::HiRes::time() + ROUND_LIMIT);
	for my $step (0 .. STEPS - 1)
	{
		last if Time::HiRes::time() > $last_moment;
		keep_pace($number, $step);
		eval { $self->step($step); 1 } and next;
		$self->{wrong} = "step $step: $@";
		last;
	}
	keep_pace($number, STEPS + AHEAD);
	(delete $self->{client})->close if $self->{client};
	return $self;
}

# Clients that are far apart do not meet. So a client that is ahead waits a little for the others. A file has the
# step of each client.
sub keep_pace
{
	my ($number, $step) = @_;
	open(my $file, '+<', $paces) or die "$paces: $!\n";
	sysseek($file, 4 * ($number - 1), 0);
	syswrite($file, pack('N', $step));
	Client::wait_until(
		sub {
			sysseek($file, 0, 0);
			sysread($file, my $all, 4 * $clients);
			my @steps = unpack('N*', $all);
			@steps == $clients && min(@steps) >= $step - AHEAD;
		},
		PATIENCE);
	return;
}

sub step
{
	my ($self, $step) = @_;
	my $g = Model::generator($seed, 'step', $self->{round}, $self->{number}, $step);
	$self->set_mode($g) if $step % 10 == 0;

	return $self->go_on_with_story if @{ $self->{story} // [] } && $g->percent(60);
	my $way = $g->weighted('single' => 40, 'cut after the call' => 4, 'transaction' => 26, 'statement' => 12, 'batch' => 5,
		'story' => 5, 'till' => 7, 'look-up' => 6, 'payment' => 6, 'sweep' => 3, 'malformed' => 6);
	my %ways = (
		'single' => sub { $self->single(item($step, $g)) },
		'cut after the call' => sub {
			my $item = item($step, $g);
			$self->send_and_cut($item);
			$self->single($item) if $g->percent(70);
		},
		'transaction' => sub { $self->transaction($step, $g) },
		'statement' => sub { $self->statement($step, $g) },
		'batch' => sub { $self->single({ $self->batch($step, $g) }) },
		'story' => sub { $self->story($step, $g) },
		'till' => sub { $self->till($step, $g) },
		'look-up' => sub { $self->look_up($self->id_of_item(item($step, $g))) },
		'payment' => sub { $self->look_at_payment(item($step, $g)) },
		'sweep' => sub { $self->sweep($g) },
		'malformed' => sub { $self->malformed($step, $g) });
	$way = 'batch' if $step % 11 == 10;		# all clients at the same time
	$self->{did}{$way}++;
	$ways{$way}->();
	return;
}

# Chooses settings for the next steps.
sub set_mode
{
	my ($self, $g) = @_;
	$self->{mode} = {
		isolation => $g->weighted('read committed' => 5, 'repeatable read' => 2, 'serializable' => 2),
		in_flight => $g->weighted(wait => 4, fail => 1),
		declines => $g->weighted(raise => 3, record => 2),
		lock_timeout => $g->weighted(0 => 4, 1 => 1) ? 2 + $g->int(30) : 0,
		scope => $g->pick(Model::scopes()),
		currency => $g->pick('USD', 'JPY', 'BTC') };
	$self->apply_mode if $self->{client};
	return;
}

sub apply_mode
{
	my ($self) = @_;
	my $mode = $self->{mode};
	my $sql = "SET default_transaction_isolation = '$mode->{isolation}'; SET lock_timeout = $mode->{lock_timeout}; "
		. join(' ', map { "SET idempotency.$_ = '$mode->{$_}';" } qw(in_flight declines scope currency));
	for (1 .. TRIES)
	{
		my $failed = $self->command($sql) // return;
		return $self->reconnect if $failed->{lost};
	}
	die "settings: cannot be set\n";
}

sub reconnect
{
	my ($self) = @_;
	delete $self->{own};
	(delete $self->{client})->close if $self->{client};
	my $set = { application_name => 'client' };
	Client::wait_until(sub { $self->{client} = eval { Client->new($node, set => $set) } }) or die "cannot connect: $@";
	return $self->apply_mode;
}

# One of the planned requests; if $private is given, a payment with a key that no other client uses.
sub item
{
	my ($step, $g, $private) = @_;
	my $i = CORE::int($step * REQUESTS / STEPS) + $g->int(WINDOW);
	return {
		i => $i < REQUESTS ? $i : REQUESTS - 1,
		name => $g->uuid,
		private => $private,
		post => $g->percent(14) ? CORE::int($step / 2) + $g->int(3) : undef,	# instead of the request: a post
		wrong => $g->percent(6),	# the key with another request
		declines => $g->weighted('' => 7, raise => 1, record => 2),	# the argument, if any
		savepoint => $g->weighted(none => 5, release => 3, rollback => 2),
		# milliseconds of waiting: in the statement, before the call; before the statement
		sleep => $g->percent(20) ? 2 + $g->int(20) : 0,
		pause => $g->percent(20) ? $g->int(15) : 0 };
}

# The request of an item. If the request that starts its payment had to be sent first, and failed: undef, and that
# answer.
sub request
{
	my ($self, $item) = @_;
	return $item->{request} if $item->{request};
	return private_payment("R$self->{round} own $item->{private}", '') if $item->{private};

	my $request = $item->{planned} // (defined $item->{post} ? $self->post($item) : Model::planned($seed, $self->{round}, $item->{i}));
	return $request if $request->{kind} eq 'cancel' && defined $request->{key};
	if (defined $request->{cancels})
	{
		$request->{key} = Model::cancelled_key($seed, $self->{round}, $request);
		return $request;
	}
	if (defined $request->{start})
	{
		my $start = ref $request->{start} ? $request->{start} : Model::planned($seed, $self->{round}, $request->{start});
		my $failed = $self->stored(id($start)) ? undef : $self->call($start);
		if ($failed && $failed->{state} eq 'ID422' && !$self->{own})
		{
			$self->look_up(id($start));
			$failed = undef if $self->stored(id($start));
		}
		return (undef, $failed) if $failed;
		my $stored = $self->stored(id($start));
		$request = Model::resolve($request, $stored);
		$request->{absent} = 1 if $stored->{kind} eq 'cancel' || defined $stored->{sqlstate};
	}
	if ($item->{wrong} && !$request->{absent})
	{
		my @others = map { $_->{payment_id} }
			grep { defined $request->{payment_id} && $_->{payment_id} ne $request->{payment_id}
				&& !($_->{seq} == 1 && defined $_->{sqlstate}) && $_->{kind} ne 'post' && !Till::made($_)
				&& $_->{scope} eq $request->{scope} && ($_->{currency} // '') eq $request->{currency} }
			map { $self->{top}{$_} } sort keys %{ $self->{top} };
		$request = Model::altered($request, Model::generator($item->{name}), @others);
	}
	return $request;
}

# The post of an item, or its cancellation, which is refused if there is one.
sub post
{
	my ($self, $item) = @_;
	my $post = Posts::planned($seed, $self->{round}, $item->{post});
	return $post unless Model::generator($item->{name}, 'cancel')->percent(6);
	return { kind => 'cancel', scope => $post->{scope}, key => $post->{key} };
}

# A payment with a key that no other client uses.
sub private_payment
{
	my ($key, $scope) = @_;
	return {
		kind => 'pay', scope => $scope, key => $key, amount => Model::number(5), currency => 'EUR', private => 1 };
}

# A key to look up: that of a request, of its cancellation, or of the release of its hold.
sub id_of_item
{
	my ($self, $item) = @_;
	my $request = Model::planned($seed, $self->{round}, $item->{i});
	return "$request->{scope}\0idem_expire:$request->{key}" if $request->{kind} eq 'authorize' && $item->{savepoint} ne 'none';
	return id($request) unless defined $request->{cancels};
	return "$request->{scope}\0idem_cancel:" . Model::cancelled_key($seed, $self->{round}, $request);
}

# Sends a request, and sends it again while the answer asks for a retry.
sub single
{
	my ($self, $item) = @_;
	for my $try (1 .. TRIES)
	{
		$self->reconnect unless $self->{client};
		my $failed = $self->perform($item) // return;
		return unless $self->again($failed);
	}
	$self->{did}{'gave up'}++;
	return;
}

# Should the request be sent again? A refusal by the payment's state is an answer, though a retry might get another one.
sub again
{
	my ($self, $failed) = @_;
	$self->{did}{ $failed->{lost} ? 'lost' : $failed->{state} }++;
	$self->reconnect if $failed->{lost};
	return $failed->{lost} || $failed->{state} =~ /^(?:40001|40P01|55P03|57014|ID409)\z/;
}

# Sends the request of an item. Returns the answer if it was an error.
sub perform
{
	my ($self, $item) = @_;
	return $self->call_batch($item) if $item->{batch};
	my ($request, $failed) = $self->request($item);
	return $failed if $failed;
	Time::HiRes::usleep(1000 * $item->{pause}) if $item->{pause};
	return $self->call({ %$request, map { $_ => $item->{$_} } qw(sleep declines) });
}

sub send_and_cut
{
	my ($self, $item) = @_;
	$self->reconnect unless $self->{client};
	my ($request, $failed) = $self->request($item);
	if ($failed)
	{
		$self->again($failed);
		return;
	}
	$self->note_sent($request);
	eval { $self->{client}->send($self->sql_of($request)) };
	$self->{client}->cut;
	delete $self->{client};
	$self->note_unknown($request);
	return;
}

# Several requests in one statement.
sub statement
{
	my ($self, $step, $g) = @_;
	my $private = $g->percent(20);
	my @items = map { item($step, $g, $private ? "$self->{number} $step $_" : undef) } 1 .. 2 + $g->int(3);
	push @items, $items[0] if $g->percent(30);

	for my $try (1 .. TRIES)
	{
		$self->reconnect unless $self->{client};
		my (@requests, $failed);
		for my $item (@items)
		{
			(my $request, $failed) = $self->request($item);
			last if $failed;
			push @requests, { %$request, map { $_ => $item->{$_} } qw(sleep declines) };
		}
		$failed //= $self->call(@requests) // return;
		push @{ $self->{torn} }, [ keys %{ { map { ($_->{key} => 1) } @requests } } ] if $private && $failed->{lost};
		return if !$self->again($failed) || $private && $failed->{lost};
	}
	$self->{did}{'gave up'}++;
	return;
}

# Begins a story, or goes through it in one transaction. Other clients are at the same story.
sub story
{
	my ($self, $step, $g) = @_;
	my @items = map {
		{
			planned => $_, name => $g->uuid, wrong => $g->percent(5), pause => 0, sleep => 0,
			declines => $g->weighted('' => 5, raise => 1, record => 3),
			savepoint => $g->weighted(none => 2, release => 6, rollback => 1) }
	} Model::story($seed, $self->{round}, CORE::int($step / 10));
	if ($g->percent(85))
	{
		$self->{story} = \@items;
		return $self->go_on_with_story;
	}
	my $end_of_it = $g->percent(75) ? 'COMMIT' : 'ROLLBACK';
	for my $try (1 .. TRIES)
	{
		$self->reconnect unless $self->{client};
		last if $self->try_transaction($end_of_it, 1, 0, @items) ne 'again';
	}
	return;
}

# Sends the next requests of the story, up to one that is to come later.
sub go_on_with_story
{
	my ($self) = @_;
	my $items = $self->{story};
	do { $self->single(shift @$items) } while @$items && !$items->[0]{planned}{later};
	return;
}

sub transaction
{
	my ($self, $step, $g) = @_;
	my $private = $g->percent(10);
	my @items = map { item($step, $g, $private ? "$self->{number} $step $_" : undef) } 1 .. 1 + $g->int(5);
	push @items, $items[0] if $g->percent(20);
	push @items, { $self->batch($step, $g), savepoint => 'none' } if $g->percent(8);
	my $end_of_it = $g->weighted('COMMIT' => 68, 'ROLLBACK' => 18, 'cut after COMMIT' => 8, 'cut before COMMIT' => 6);
	my $pause = $g->percent(40) ? $g->int(25) : 0;	# so that others have to wait for it
	my $look = $g->percent(40);
	my $once_more = $g->percent(70);

	for my $try (1 .. TRIES)
	{
		$self->reconnect unless $self->{client};
		my $result = $self->try_transaction($end_of_it, $look, $pause, @items);
		next if $result eq 'again';
		$self->single($_) for $result eq 'lost' && $once_more ? @items : ();
		return;
	}
	$self->{did}{'gave up'}++;
	return;
}

sub try_transaction
{
	my ($self, $end_of_it, $look, $pause, @items) = @_;
	my $give_up = sub {
		my ($failed) = @_;
		$self->keep_ghosts(0);
		$self->roll_back unless $failed->{lost};
		delete $self->{own};
		return $self->again($failed) ? 'again' : 'done';
	};

	my $failed = $self->command('BEGIN');
	return $give_up->($failed) if $failed;
	$self->{own} = [];
	$self->{replays} = [];
	for my $item (@items)
	{
		my $mark = @{ $self->{own} };
		my $savepoint = $item->{savepoint} ne 'none';
		$failed = $savepoint ? $self->command('SAVEPOINT s') : undef;
		return $give_up->($failed) if $failed;
		$failed = $self->perform($item);
		return $give_up->($failed) if $failed && (!$savepoint || $failed->{lost} || $failed->{state} eq '40001');
		if ($failed || $item->{savepoint} eq 'rollback')
		{
			$self->{did}{ $failed->{state} }++ if $failed;
			$self->{did}{'ROLLBACK TO'}++;
			$failed = $self->command('ROLLBACK TO s');
			return $give_up->($failed) if $failed;
			$self->keep_ghosts($mark);
		}
		elsif ($savepoint)
		{
			$failed = $self->command('RELEASE s');
			return $give_up->($failed) if $failed;
		}
	}

	$failed = $look ? $self->check_sight : undef;
	return $give_up->($failed) if $failed;
	Time::HiRes::usleep(1000 * $pause) if $pause;
	$self->{did}{$end_of_it}++;
	if ($end_of_it eq 'ROLLBACK')
	{
		$self->keep_ghosts(0);
		$self->roll_back;
		delete $self->{own};
		return 'done';
	}
	if ($end_of_it eq 'cut before COMMIT')
	{
		$self->{client}->cut;
		$self->keep_ghosts(0);
		delete @$self{qw(own client)};
		return 'lost';
	}
	if ($end_of_it eq 'cut after COMMIT')
	{
		eval { $self->{client}->send('COMMIT') };
		$self->{client}->cut;
		delete $self->{client};
		$self->commit_lost;
		return 'lost';
	}

	$failed = $self->command('COMMIT');
	return $self->committed unless $failed;
	return $give_up->($failed) unless $failed->{lost};
	$self->commit_lost;
	$self->again($failed);
	return 'lost';
}

# The transaction must see what it was answered with: the receipts, and all operations before one of its own in the same
# payment.
sub check_sight
{
	my ($self) = @_;
	my %last = map { (payment($_) => $_) } @{ $self->{own} };
	for my $r (@{ $self->{own} }, @{ $self->{replays} })
	{
		my $where = join(', ', map { $self->quote($r->{$_}) } qw(key scope));
		my $answer = $self->ask("SELECT r::text AS text FROM idem_lookup($where) r");
		return $self->check_error($answer) if $answer->{state};
		about($r, sub {
			my $found = $answer->{rows}[0] // die "the transaction does not see it\n";
			check_same($r, { text => (Client::split_receipt($found->{text}))[0] });
		});
	}
	for my $r (map { $last{$_} } sort keys %last)
	{
		my $where = join(', ', map { $self->quote($r->{$_}) } qw(payment_id scope));
		my $answer = $self->ask("SELECT count(*) AS n FROM idem_history($where)");
		return $self->check_error($answer) if $answer->{state};
		my ($n) = $answer->{rows}[0]{n};
		about($r, sub { die "the transaction sees $n operations of the payment\n" }) if $n != $r->{seq};
	}
	return;
}

sub roll_back
{
	my ($self) = @_;
	for (1 .. TRIES)
	{
		my $failed = $self->command('ROLLBACK') // return;
		return $self->reconnect if $failed->{lost};
	}
	die "cannot roll back\n";
}

sub commit_lost
{
	my ($self) = @_;
	my $own = delete $self->{own};
	$self->{maybe}{ id($_) } = 1 for @$own;
	push @{ $self->{lost} }, $own if @$own;
	return;
}

# Keeps what the open transaction made, from the given place on, as rolled back.
sub keep_ghosts
{
	my ($self, $from) = @_;
	my @own = @{ $self->{own} // return };
	my %payments = map { (payment($_) => 1) } @own[ $from .. $#own ];
	for my $payment (sort keys %payments)
	{
		my @rows = grep { payment($own[$_]) eq $payment } 0 .. $#own;
		my ($first) = grep { $rows[$_] >= $from } 0 .. $#rows;
		push @{ $self->{ghosts} }, { from => $first, rows => [ @own[@rows] ] };
		$self->{did}{'rolled back'} += @rows - $first;
	}
	$#own = $from - 1;
	$self->{own} = \@own;
	return;
}

sub look_up
{
	my ($self, $id) = @_;
	$self->reconnect unless $self->{client};
	my ($scope, $key) = split /\0/, $id, 2;
	my $where = join(', ', map { $self->quote($_) } $key, $scope);
	my $answer = $self->ask('SELECT ' . COLUMNS . " FROM idem_lookup($where) r");
	return $self->again($self->check_error($answer)) if $answer->{state};

	my $known = $self->{known}{$id};
	my ($r) = @{ $answer->{rows} };
	my $what = { scope => $scope, key => $key };
	about($what, sub { die "it is not there any more\n" }) if $known && !$r;
	return unless $r;
	$r->{scope} = $scope;
	about($r, sub {
		read_receipt($r);
		die "it is not a replay\n" unless $r->{replayed};
		die "the key is another\n" if $r->{key} ne $key;
		Model::check_receipt($r);
		check_same($known, $r) if $known;
	});
	$self->learn($r);
	return;
}

# Looks at a payment in all three ways, with one snapshot.
sub look_at_payment
{
	my ($self, $item) = @_;
	$self->reconnect unless $self->{client};
	my $planned = Model::planned($seed, $self->{round}, $item->{i});
	my $first = $planned->{start} // $item->{i} - $item->{i} % Model::GROUP;
	my $start = $self->{known}{ id(Model::planned($seed, $self->{round}, $first)) };
	return if !$start || defined $start->{sqlstate};		# what was declined started no payment
	my $where = join(', ', $self->quote($start->{payment_id}), $self->quote($start->{scope}));
	my %query = (
		history => 'SELECT ' . COLUMNS . " FROM idem_history($where) r",
		payment => 'SELECT ' . COLUMNS . " FROM idem_payment($where) r",
		view => "SELECT v.*, (extract(epoch FROM v.expires_at) * 1000000)::bigint AS expires
			FROM idempotency.payment v WHERE (v.payment_id, v.scope) = ($where)");
	my %got;

	my $failed = $self->command('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
	for my $what (qw(history payment view))
	{
		last if $failed;
		$got{$what} = $self->ask($query{$what});
		$failed = $self->check_error($got{$what}) if $got{$what}{state};
	}
	$failed //= $self->command('COMMIT');
	if ($failed)
	{
		$self->again($failed);
		$self->roll_back if $self->{client};
		return;
	}

	about($start, sub {
		my $top = $self->{top}{ payment($start) };
		my @rows = @{ $got{history}{rows} };
		for my $i (0 .. $#rows)
		{
			my $r = $rows[$i];
			$r->{scope} = $start->{scope};
			read_receipt($r);
			Model::expect($r, seq => $i + 1, payment_id => $start->{payment_id}, replayed => 1);
			Model::check_receipt($r);
			check_same($self->{known}{ id($r) }, $r) if $self->{known}{ id($r) };
			$self->learn($r);
		}
		die "its history is shorter than it was\n" if @rows < $top->{seq};

		my ($newest) = grep { !defined $_->{sqlstate} } reverse @rows;
		my $r = read_receipt($got{payment}{rows}[0]);
		Model::expect($r, map { $_ => $newest->{$_} }
			qw(key payment_id seq kind amount currency authorized captured refunded refundable reference metadata created expires));
		my ($v) = @{ $got{view}{rows} };
		return if $newest->{kind} eq 'cancel' && !$v;
		Model::operation($v // die "it is not in the view\n");
		Model::expect($v, map { $_ => $newest->{$_} } qw(currency authorized captured refunded refundable expires));
		for ([ $r, $got{payment} ], [ $v, $got{view} ])
		{
			my ($seen, $answer) = @$_;
			at_one_of([ $answer->{sent}, $answer->{got} ], sub {
				my $row = { %$newest, released => $v->{released}, expired => scalar grep { $_->{kind} eq 'expire' } @rows };
				Model::expect($seen, status => Model::status($row, $_[0]),
					capturable => Model::expired($row, $_[0]) ? 0 : Model::left($row));
			});
		}
		Model::check_invariants($v);
	});
	return;
}

# Releases expired holds, and sometimes rolls that back.
sub sweep
{
	my ($self, $g) = @_;
	$self->reconnect unless $self->{client};
	my $undo = $g->percent(40);
	my $most = 1 + $g->int(20);
	my $failed = $self->command('BEGIN');
	if (!$failed)
	{
		my $answer = $self->ask("SELECT idem_expire($most) AS n");
		$failed = $self->check_error($answer) if $answer->{state};
		die "it dealt with $answer->{rows}[0]{n} of $most\n" if !$failed && $answer->{rows}[0]{n} > $most;
		Time::HiRes::usleep(1000 * $g->int(15));	# so that others meet these rows
		$failed //= $self->command($undo ? 'ROLLBACK' : 'COMMIT');
		$self->{did}{ $undo ? 'sweep rolled back' : 'swept by a client' } += $answer->{rows}[0]{n} unless $failed;
	}
	return unless $failed;
	$self->again($failed);
	$self->roll_back if $self->{client};
	return;
}

# A request that can never be carried out.
sub malformed
{
	my ($self, $step, $g) = @_;
	$self->reconnect unless $self->{client};
	my $key = $self->quote("R$self->{round} malformed $self->{number} $step");
	my ($known) = map { $self->{known}{$_} } (sort keys %{ $self->{known} })[0];
	my $nobody = "'" . $g->uuid . "'";
	my $elsewhere = $known ? $self->quote($known->{payment_id}) : $nobody;
	my @bad = (
		[ "idem_authorize($key, 0, 'USD')", '22003' ],
		[ "idem_authorize($key, 'Infinity', 'USD')", '22003' ],
		[ "idem_pay($key, -1, 'USD')", '22003' ],
		[ "idem_pay($key, 'NaN', 'USD')", '22003' ],
		[ "idem_pay($key, 'Infinity', 'USD')", '22003' ],
		[ "idem_pay($key, 1000000000000000000, 'USD')", '22003' ],
		[ "idem_pay($key, 1.001, 'USD')", '22003' ],
		[ "idem_pay($key, 0.5, 'JPY')", '22003' ],
		[ "idem_authorize($key, 1.0001, 'KWD')", '22003' ],
		[ "idem_pay($key, NULL, 'USD')", '22004' ],
		[ "idem_pay($key, 1, 'usd')", '22023' ],
		[ "idem_authorize($key, 1, 'USD', expires_in => '0')", '22023' ],
		[ "idem_authorize($key, 1, 'USD', expires_in => '-1 s')", '22023' ],
		[ "idem_authorize($key, 1, 'USD', expires_in => NULL)", '22004' ],
		[ "idem_pay($key, 1, 'USD', scope => E'a\\tb')", '22023' ],
		[ "idem_pay($key, 1, 'USD', from_account => 'a')", '22023' ],
		[ "idem_pay($key, 1, 'USD', from_account => 'a', to_account => 'a')", '22023' ],
		[ "idem_authorize($key, 1, 'USD', from_account => 'a', to_account => 'b')", 'ID404' ],
		[ "idem_pay($key, 1, 'USD', 'nowhere', 'world USD')", 'ID404' ],
		[ "idem_pay($key, 1, 'USD', 'world USD', 'world EUR')", '22023' ],
		[ "idem_pay('', 1, 'USD')", 'ID400' ],
		[ "idem_pay(NULL, 1, 'USD')", 'ID400' ],
		[ "idem_pay(repeat('k', 256), 1, 'USD')", 'ID400' ],
		[ "idem_capture(E'a\\nb', $nobody)", 'ID400' ],
		[ "idem_pay('idem_cancel:' || $key, 1, 'USD')", 'ID400' ],
		[ "idem_cancel('idem_cancel:' || $key)", 'ID400' ],
		[ "idem_cancel('idem_cancel:idem_cancel:' || $key)", 'ID400' ],
		[ "idem_cancel('idem_expire:' || $key)", 'ID400' ],
		[ "idem_authorize('idem_expire:' || $key, 1, 'USD')", 'ID400' ],
		[ "idem_expire(0)", '22023' ],
		[ "idem_capture($key, NULL)", '22004' ],
		[ "idem_increase($key, NULL, 1)", '22004' ],
		[ "idem_increase($key, $nobody, 1)", 'ID404' ],
		[ "idem_refund($key, $nobody, currency => 'EUR')", 'ID404' ],
		[ "idem_refund($key, $nobody, 0)", '22003' ],
		[ "idem_capture($key, $nobody, 1)", 'ID404' ],
		[ "idem_void($key, $nobody)", 'ID404' ],
		[ "idem_refund($key, $elsewhere, scope => 'elsewhere')", 'ID404' ],
		[ "idem_payment($nobody)", 'ID404' ],
		[ "idem_history($nobody)", 'ID404' ]);
	push @bad, $self->malformed_follow_ups($key, $g);
	@bad = Posts::malformed($key) if $g->percent(15);
	my ($call, $state) = @{ $g->pick(@bad) };
	my $answer = $self->ask("SELECT * FROM $call");
	my $got = $answer->{state} // 'no error';
	return if $got eq $state;
	die "$call: $got, not $state\n" unless $answer->{lost} || $got =~ /^(?:57014|55P03|40001|ID409)\z/;
	$self->again($self->check_error($answer));
	return;
}

# Malformed requests that go on with a payment that is there, so that something could happen. One is a retry whose amount
# is lost.
sub malformed_follow_ups
{
	my ($self, $key, $g) = @_;
	my ($post) = grep { $_->{kind} eq 'post' && !defined $_->{sqlstate} } map { $self->{top}{$_} } sort keys %{ $self->{top} };
	return map { [ "idem_$_($key, '$post->{payment_id}', scope => " . $self->quote($post->{scope}) . ')', 'ID412' ] } qw(capture void refund)
		if $post && $g->percent(5);
	my @live = grep { $_->{kind} ne 'cancel' && $_->{authorized} > 0 } map { $self->{top}{$_} } sort keys %{ $self->{top} };
	return unless @live;
	my $live = $g->pick(@live);
	my ($of, $in) = map { $self->quote($live->{$_}) } qw(payment_id scope);
	my $most = Model::major(Model::number(10)->bpow(18 + Model::exponent($live->{currency}))->bsub(1), $live->{currency});
	my $other = $live->{currency} eq 'EUR' ? 'USD' : 'EUR';

	my @bad = (
		(map { [ "idem_$_($key, $of, NULL, scope => $in)", '22004' ] } qw(increase capture refund)),
		(map { [ "idem_$_($key, $of, (SELECT NULL::numeric), scope => $in)", '22004' ] } qw(increase capture refund)),
		(map { [ "idem_$_($key, $of, 'NaN', scope => $in)", '22003' ] } qw(increase capture refund)),
		(map { [ "idem_$_($key, $of, -1, scope => $in)", '22003' ] } qw(increase capture refund)),
		(map { [ "idem_$_($key, $of, 0, scope => $in)", '22003' ] } qw(capture refund)),
		(map { [ "idem_$_($key, $of, currency => '$other', scope => $in)", '22023' ] } qw(capture void refund)),
		(map { [ "idem_$_($key, $of, currency => '', scope => $in)", '22023' ] } qw(capture void refund)),
		(map { [ "idem_$_($key, $of, declines => 'maybe', scope => $in)", '22023' ] } qw(capture void refund)),
		[ "idem_increase($key, $of, 1, currency => '$other', scope => $in)", '22023' ],
		[ "idem_increase($key, $of, 1, declines => '', scope => $in)", '22023' ],
		[ "idem_increase($key, $of, NULL, '1 hour', scope => $in)", '22004' ],
		[ "idem_increase($key, $of, scope => $in)", '22023' ],
		[ "idem_increase($key, $of, 0, NULL, scope => $in)", '22023' ],
		[ "idem_increase($key, $of, 1, '0', scope => $in)", '22023' ],
		[ "idem_increase($key, $of, 1, '-1 s', scope => $in)", '22023' ],
		[ "idem_increase($key, $of, 'Infinity', scope => $in)", '22003' ],
		[ "idem_increase($key, $of, '$most', scope => $in)", '22003' ],
		[ "idem_refund($key, $of, NULL, NULL, NULL::text, $in, NULL, NULL)", '22004' ],
		[ "idem_capture($key, $of, final => NULL, scope => $in)", '22004' ],
		[ "idem_capture($key, $of, 'Infinity', (SELECT NULL::boolean), scope => $in)", '22004' ]);
	if ($live->{kind} =~ /^(?:increase|capture|refund)\z/ && $live->{key} !~ /^idem_/)
	{
		my $used = $self->quote($live->{key});
		push @bad, ([ "idem_$live->{kind}($used, $of, NULL, scope => $in)", '22004' ]) x 4;
	}
	return @bad;
}

1;
