# Clients do at random whatever a client can do, while sessions are cancelled and killed and the server
# crashes. Does a model of the extension allow every answer, and all rows of the table in the end?
#
# In a round, the clients go through one list of requests at about the same time. Each sends many of them:
# alone, in transactions, several in one statement. They roll back, cut the connection, and send other
# requests with used keys. What they send follows from the seed, as far as it does not depend on answers. The
# timing depends on the server.
#
# The model says which answers a client may get, by what the client knows. Every answer is checked at once,
# and kept. After the round, all answers of all clients are compared with the table, and the table with the
# rules. Then the next round begins, with new payments, until the time is up.
#
# Batches and posts move money between accounts that all clients share, and between those of a client alone (Till.pm),
# where the model knows all. In the end, the entries are compared with each other, and with the operations (Entries.pm).
#
# IDEM_SECONDS=n plays for n seconds. SEED=n plays what seed n played.
use strict;
use warnings;
use utf8;

use FindBin;
use lib $FindBin::RealBin;

use Caller;
use Client;
use Entries;
use Model;
use Player;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes ();

use constant CLIENTS => 12;
use constant KEPT => 200;		# receipts that are looked at again in all later rounds

my $seconds = $ENV{IDEM_SECONDS} || 60;
my $seed = $ENV{SEED} || 1 + int(rand(2**31));
note "seed $seed";

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', <<'CONF');
log_statement = none
log_min_messages = log
log_checkpoints = off
log_min_error_statement = panic
timezone = 'UTC'
deadlock_timeout = 20ms
max_connections = 100
synchronous_commit = on
track_commit_timestamp = on
CONF
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION idempotency');
{
	my %own = Model::own_currencies();
	$node->safe_psql('postgres', "INSERT INTO idempotency.currency VALUES ('$_', $own{$_})") for sort keys %own;
}
my $control = Client->new($node);
for my $account (Model::accounts())
{
	for my $scope (Model::scopes())
	{
		$control->row('SELECT name FROM idem_account_open($1, $2, $3, $4, scope => $5)', @$account{qw(name currency floor ceiling)}, $scope);
		$control->row('SELECT name FROM idem_account_change($1, closed => true, scope => $2)', $account->{name}, $scope) if $account->{closed};
	}
}
my $role = $control->value('SELECT current_user');

# What becomes of payments: see note_paths().
my @paths = ('account is closed', 'account would be above its ceiling', 'capture declined by a limit', 'moved between accounts',
	'not enough is available in the account', 'captured after the first expiry', 'expired after it was prolonged', 'free', 'free and cancelled', 'increased',
	'increased after a capture', 'increase cancelled', 'increase cancelled in part', 'increase declined', 'refunded after a reversal',
	'post', 'post in two currencies', 'reversal of a cancellation', 'reversal of a free one', 'reversal of a refund', 'reversal of a reversal refused',
	'time alone', 'time declined');

my (%did, @kept);
my $paces = PostgreSQL::Test::Utils::tempdir . '/paces';
my $log_read = 0;
my $rounds = 0;
my $end = Time::HiRes::time() + $seconds;
my $wrong;
Player::set_up($node, $seed, $end, CLIENTS, $paces);
until ($wrong || Time::HiRes::time() > $end)
{
	$rounds++;
	eval { play_round($rounds); 1 } or $wrong = "round $rounds: $@";
}
ok(!$wrong, 'the model allows every answer and every row') or diag($wrong);

note "$rounds rounds; " . join(', ', map { "$_: $did{$_}" } sort keys %did);
if (!$wrong)
{
	is($control->value('SELECT count(*) FROM idempotency.operation'), $did{'rows in the table'},
		'no row is there but those of the rounds');
	if ($control->value(q(SELECT count(*) FROM pg_proc WHERE proname = 'idem_check')))
	{
		$control->do('SET statement_timeout = 0');
		my $failed = $control->{dbh}->selectall_arrayref('SELECT * FROM idem_check() c WHERE c.ok IS NOT TRUE');
		is(scalar @$failed, 0, 'idem_check() finds nothing wrong') or diag(explain($failed));
	}
	ok(eval { Entries::check($control, [ Model::scopes() ], '^$'); 1 }, 'the entries are right, and no limit is passed') or diag($@);
	is($control->value(q(SELECT count(*) FROM e WHERE name ~ '^closed ')), 0, 'and none is in a closed account');
	my @missed = grep { !$did{$_} } '40001', '55P03', '57014', 'ID402', 'ID404', 'ID409', 'ID412', 'ID422', 'declined', 'entries differ', 'lost',
		'lost COMMIT done', 'holds released', 'new', 'nothing to undo', 'pg_terminate_backend', 'replayed', 'rolled back', 'server stopped',
		'sweep rolled back', 'swept by a client', 'till allows', 'till refuses', 'wrong currency', 'batch 22023', 'batch ID402', 'batch ID404',
		@paths;
	is("@missed", '', 'there was all that is to be tried') if $rounds > 3;
}
diag("To play the same again: make test TESTS=010_model SEED=$seed SECONDS=$seconds")
	unless Test::More->builder->is_passing;

$node->stop;
done_testing();

#-----------------------------------------------------------------------------------------------------
# A round
#-----------------------------------------------------------------------------------------------------

sub play_round
{
	my ($round) = @_;
	PostgreSQL::Test::Utils::append_to_file($paces, '');
	truncate($paces, 0) or die "$paces: $!\n";
	my @clients = Client::start(CLIENTS, sub { Player->play($round, @_) }, $seed);
	if (!eval { make_trouble($round, @clients); 1 })
	{
		my $error = $@;
		kill('TERM', map { $_->{pid} } @clients);
		die $error;
	}
	my @logs = Client::finish(@clients);
	for my $log (grep { defined $_->{wrong} } @logs)
	{
		die "client $log->{number}: $log->{wrong}";
	}
	my $sessions = q(SELECT count(*) FROM pg_stat_activity WHERE application_name = 'client');
	Client::wait_until(sub { !$control->value($sessions) })
		or die "sessions are left\n";

	# Check what happened to requests whose answer was lost, and send them again.
	my $resender = Player->new($seed, $round, 0);
	$resender->{client} = $control;
	$resender->{mode} = { isolation => 'read committed', in_flight => 'wait', declines => 'raise', lock_timeout => 0,
		scope => '', currency => 'USD' };
	check_torn(@logs);
	resend($resender, @logs);
	my $swept = $control->value('SELECT clock_timestamp()');
	# Release what will expire soon, too: otherwise the next round would find rows of this one.
	$control->do('UPDATE idempotency.hold SET due_at = expires_at');
	Client::wait_until(sub {
		$did{'holds released'} += $control->value('SELECT idem_expire()');
		return !$control->value("SELECT count(*) FROM idempotency.hold WHERE expires_at < now() + '1 hour'");
	}) or die "holds are left\n";
	check_round($round, $swept, @logs, $resender);

	my $server_log = slurp_file($node->logfile, $log_read);
	$log_read += length $server_log;
	die "a process of the server crashed\n" if $server_log =~ /PANIC|TRAP:|was terminated by signal/;

	for my $log (@logs, $resender)
	{
		$did{$_} += $log->{did}{$_} for keys %{ $log->{did} };
	}
	return;
}

# Stops sessions and statements while the clients work. In one round of three, stops the server, too.
sub make_trouble
{
	my ($round, @clients) = @_;
	my $g = Model::generator($seed, 'trouble', $round);
	my $start = Time::HiRes::time();
	my $crash = $round % 3 == 2 ? $start + (500 + $g->int(2000)) / 1000 : undef;

	while (Client::running(@clients))
	{
		Time::HiRes::usleep(20_000 + $g->int(80_000));
		if (defined $crash && Time::HiRes::time() > $crash)
		{
			$node->stop('immediate');
			$node->start;
			$control = Client->new($node);
			$crash = undef;
			$did{'server stopped'}++;
		}
		$did{'holds released'} += $control->value('SELECT idem_expire(10)') if $g->percent(30);
		my $how = $g->weighted(none => 5, pg_cancel_backend => 3, pg_terminate_backend => 1);
		next if $how eq 'none';
		$did{$how} += $control->value(
			"SELECT count($how(pid)) FROM (SELECT pid FROM pg_stat_activity
			 WHERE application_name = 'client' AND state <> 'idle' ORDER BY random() LIMIT 1) s");
	}
	return;
}

# If a statement's answer was lost, and no other statement used its keys, all of it is stored or nothing.
sub check_torn
{
	for my $keys (map { @{ $_->{torn} } } @_)
	{
		my $there = $control->value(q(SELECT count(*) FROM idempotency.operation WHERE scope = '' AND key = ANY($1)), $keys);
		die "$there of " . @$keys . " keys of one statement are there: @$keys\n" if $there != 0 && $there != @$keys;
	}
	return;
}

sub resend
{
	my ($self, @logs) = @_;
	for my $log (@logs)
	{
		$self->{known}{$_} //= $log->{known}{$_} for keys %{ $log->{known} };
	}
	for my $request (map { @{ $_->{unknown} } } @logs)
	{
		$self->single($request) for 1 .. 2;
	}
	return;
}

#-----------------------------------------------------------------------------------------------------
# What was reported to all clients, and the table
#-----------------------------------------------------------------------------------------------------

sub check_round
{
	my ($round, $swept, @logs) = @_;
	my $range = '(' . join(' OR ', map { "o.key >= '$_ ' AND o.key < '$_!'" } "R$round", "idem_cancel:R$round", "idem_cancel:idem_cancel:R$round",
		"idem_expire:R$round") . ')';
	my (%row, %chain, %receipt, %new, %maybe, %sent);

	for my $log (@logs)
	{
		$sent{$_} = 1 for keys %{ $log->{sent} };
		$new{$_}++ for keys %{ $log->{new} };
		$maybe{$_} = 1 for keys %{ $log->{maybe} };
	}

	# the table by itself
	my $rows = $control->{dbh}->selectall_arrayref(
		"SELECT o.*, (extract(epoch FROM o.created_at) * 1000000)::bigint AS created,
			(extract(epoch FROM o.expires_at) * 1000000)::bigint AS expires
		 FROM idempotency.operation o WHERE $range ORDER BY o.scope, o.payment_id, o.seq", { Slice => {} });
	$did{'rows in the table'} += @$rows;
	for my $row (@$rows)
	{
		my $id = Caller::id($row);
		Caller::about($row, sub {
			Model::operation($row);
			die "its key is there twice\n" if $row{$id};
			Model::expect($row, role => $role, owner => undef);
			if ($row->{kind} ne 'expire')
			{
				die "nobody asked for it\n" unless asked_for($row, \%sent);
				die "nobody was told of it\n" unless $new{$id} || $maybe{$id};
			}
			die "two were told that they made it\n" if ($new{$id} // 0) > 1;
		});
		$row{$id} = $row;
		push @{ $chain{"$row->{scope}\0$row->{payment_id}"} }, $row;
	}
	for (values %chain)
	{
		Model::check_chain(@$_);
		note_paths(@$_);
	}
	check_holds($range, $swept);

	# receipts
	my $receipts = $control->{dbh}->selectall_arrayref(
		'SELECT o.scope AS scope, ' . Caller::COLUMNS . " FROM idempotency.operation o, idem_lookup(o.key, o.scope) r WHERE $range",
		{ Slice => {} });
	die @$receipts . ' receipts of ' . @$rows . " rows\n" if @$receipts != @$rows;
	for my $r (@$receipts)
	{
		Caller::about($r, sub {
			Caller::read_receipt($r);
			Model::check_receipt_of_row($r, $row{ Caller::id($r) });
			Model::check_receipt($r);
		});
		$receipt{ Caller::id($r) } = $r->{text};
	}
	check_payments($range, \%chain);

	# what was reported to clients
	for my $log (@logs)
	{
		for my $known (values %{ $log->{known} })
		{
			my $text = $receipt{ Caller::id($known) } // 'nothing';
			Caller::about($known, sub { die "client $log->{number} has the receipt\n$known->{text}\nand stored is\n$text\n" })
				if $text ne $known->{text};
			# what it asked for is what the row was made for, though the receipt does not show it
			Caller::about($known, sub {
				Model::expect($row{ Caller::id($known) },
					map { $_ => $known->{$_} } grep { defined $known->{$_} } qw(whole final prolonged));
			});
		}
		for my $group (@{ $log->{lost} })
		{
			my $there = grep { ($receipt{ Caller::id($_) } // '') eq $_->{text} } @$group;
			die "$there of " . @$group . " operations of a transaction are there: " . join(', ', map { $_->{key} } @$group) . "\n"
				if $there != 0 && $there != @$group;
			$did{ $there ? 'lost COMMIT done' : 'lost COMMIT not done' }++;
		}
		for my $ghosts (@{ $log->{ghosts} })
		{
			my ($first) = @{ $ghosts->{rows} };
			my @before = grep { $_->{seq} < $first->{seq} } @{ $chain{"$first->{scope}\0$first->{payment_id}"} // [] };
			my @rows = @{ $ghosts->{rows} };
			for my $ghost (@rows[ $ghosts->{from} .. $#rows ])
			{
				Caller::about($ghost, sub { die "it was rolled back and is there\n" })
					if ($receipt{ Caller::id($ghost) } // '') eq $ghost->{text};
			}
			fill_in(@before ? $before[-1] : undef, @rows);
			Model::check_chain(@before, @rows);
		}
		check_refused($_, \%row, \%chain) for @{ $log->{refused} };
		for my $differs (@{ $log->{differs} })
		{
			my ($request, $field) = @$differs;
			Caller::about($request, sub {
				my $row = $row{ Caller::id($request) } // die "it was refused for an answer that is not there\n";
				my $right = Model::difference($row, $request) // 'none';
				die "it was told that $field differs, and that is $right\n  " . Model::describe($row) . "\n" if $field ne $right;
			});
		}
	}

	# receipts of the rounds before
	for my $old (@kept)
	{
		my $text = $control->value('SELECT r::text FROM idem_lookup($1, $2) r', $old->{key}, $old->{scope}) // 'nothing';
		Caller::about($old, sub { die "the receipt was\n$old->{text}\nand is\n$text\n" })
			if (Client::split_receipt($text))[0] ne $old->{text};
	}
	my $g = Model::generator($seed, 'keep', $round);
	for (1 .. 10)
	{
		my $r = $receipts->[ $g->int(scalar @$receipts) ];
		splice(@kept, $g->int(scalar @kept), 1) if @kept >= KEPT;
		push @kept, { map { $_ => $r->{$_} } qw(scope key text) };
	}

	die "locks are left\n" if $control->value(q(SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'));
	return;
}

# Counts what payments go through that is not to be missed.
sub note_paths
{
	my ($first, @rows) = @_;
	my %has;
	my $note = sub { $did{ $_[0] }++ };
	if (defined $first->{sqlstate})
	{
		$note->('post declined') if $first->{kind} eq 'post';
		$note->($first->{message});
		return;
	}
	$note->(defined $first->{currency} ? 'post' : 'post in two currencies') if $first->{kind} eq 'post';
	$note->('moved between accounts') if grep { defined $_->{to_seq} } $first, @rows;
	my $free = $first->{kind} eq 'pay' && $first->{authorized} == 0;
	$note->('free') if $free;
	my %by_key = map { $_->{key} => $_ } $first, @rows;
	for my $row (@rows)
	{
		my $is = $row->{kind};
		my $original = $row->{key} =~ /^idem_cancel:(.*)\z/s ? $by_key{$1} : undef;
		if (defined $row->{sqlstate})
		{
			$note->('increase declined') if $is eq 'increase';
			$note->("$is declined by a limit") if $row->{message} =~ /account/;
			$note->('time declined') if $row->{message} eq 'hold expires later already';
			next;
		}
		if ($original && $original->{kind} eq 'increase')
		{
			$note->('increase cancelled') if $row->{amount} > 0;
			$note->('increase cancelled in part') if $row->{amount} > 0 && $row->{amount} < $original->{amount};
		}
		$note->('free and cancelled') if $free && $is eq 'refund';
		$note->('reversal of a free one') if $free && $is eq 'reversal';
		$note->('reversal of a refund') if $is eq 'reversal' && $original->{key} !~ /^idem_/;
		$note->('reversal of a cancellation') if $is eq 'reversal' && $original->{key} =~ /^idem_/ && !$free;
		$note->('refunded after a reversal') if $is eq 'refund' && $has{reversal} && $row->{amount} > 0;
		$note->('increased') if $is eq 'increase';
		$note->('increased after a capture') if $is eq 'increase' && $has{capture};
		$note->('time alone') if $is eq 'increase' && $row->{amount} == 0;
		$note->('captured after the first expiry') if $is eq 'capture' && $row->{created} >= $first->{expires};
		$note->('expired after it was prolonged') if $is eq 'expire' && $row->{expires} != $first->{expires};
		$has{$is} = 1;
	}
	return;
}

# All holds that had expired before the last sweep are released. The list has those that have not expired, and no others.
# A hold that was prolonged is listed with one of its times. It need not be listed any more, if nothing of it was left
# when an earlier one of them came.
sub check_holds
{
	my ($range, $swept) = @_;
	my $wrong = $control->{dbh}->selectall_arrayref(
		"WITH held AS (
			SELECT o.key, o.scope, o.payment_id, o.expires_at AS first_end, v.expires_at AS last_end, v.capturable > 0 AS has_left,
				ARRAY(SELECT s.expires_at FROM idempotency.operation s WHERE (s.scope, s.payment_id) = (o.scope, o.payment_id)) AS ends
			FROM idempotency.operation o, idempotency.payment v
			WHERE $range AND o.kind = 'authorize' AND (v.scope, v.payment_id) = (o.scope, o.payment_id))
		 SELECT key
		 FROM held FULL JOIN (SELECT * FROM idempotency.hold o WHERE $range) h USING (payment_id, scope, key)
		 WHERE CASE WHEN h.expires_at IS NULL THEN first_end > now() OR last_end > now() AND has_left
			ELSE first_end IS NULL OR h.expires_at <> ALL (ends) OR h.expires_at <= \$1 END",
		{ Slice => {} }, $swept);
	die 'wrongly listed as held, or not: ' . join(', ', map { $_->{key} } @$wrong) . "\n" if @$wrong;
	my $held = $control->value("SELECT count(*) FROM idempotency.payment v JOIN idempotency.operation o USING (scope, payment_id)
		WHERE $range AND o.seq = 1 AND v.expires_at <= \$1 AND v.authorized > v.captured + v.released", $swept);
	die "$held payments hold what has expired\n" if $held;
	return;
}

sub asked_for
{
	my ($row, $sent) = @_;
	return $sent->{"cancel\0$row->{scope}\0$row->{key}"} if $row->{kind} eq 'cancel';
	return $sent->{"cancel\0$row->{scope}\0$1"} if $row->{key} =~ /^idem_cancel:(.*)\z/s;
	return $sent->{ Model::spec_of_row($row) };
}

# All payments of the round, seen in all ways.
sub check_payments
{
	my ($range, $chain) = @_;
	# what was declined started no payment
	my $distinct = "(SELECT DISTINCT o.scope, o.payment_id FROM idempotency.operation o WHERE $range AND (o.seq > 1 OR o.sqlstate IS NULL)) o";
	my $before = Caller::now();
	my $payments = $control->{dbh}->selectall_arrayref(
		'SELECT o.scope AS scope, ' . Caller::COLUMNS . " FROM $distinct, idem_payment(o.payment_id, o.scope) r", { Slice => {} });
	my $history = $control->{dbh}->selectall_arrayref(
		'SELECT o.scope AS scope, ' . Caller::COLUMNS . " FROM $distinct, idem_history(o.payment_id, o.scope) r", { Slice => {} });
	# by id: otherwise the view would go through the payments of all rounds
	my $view = $control->{dbh}->selectall_hashref(
		q(SELECT v.scope || ' ' || v.payment_id AS id, v.* FROM idempotency.payment v
		  WHERE v.scope = ANY($1) AND v.payment_id = ANY($2)),
		'id', undef, [ Model::scopes() ], [ map { $_->{payment_id} } @$payments ]);
	my $after = Caller::now();

	my %history;
	push @{ $history{"$_->{scope}\0$_->{payment_id}"} }, $_ for @$history;
	for my $r (@$payments)
	{
		Caller::about($r, sub {
			my $rows = $chain->{"$r->{scope}\0$r->{payment_id}"};
			my @receipts = @{ delete $history{"$r->{scope}\0$r->{payment_id}"} // [] };
			die "its history has " . @receipts . ' of ' . @$rows . " operations\n" if @receipts != @$rows;
			Model::check_receipt_of_row(Caller::read_receipt($receipts[$_]), $rows->[$_]) for 0 .. $#receipts;

			my ($newest) = reverse grep { !defined $_->{sqlstate} } @$rows;
			Caller::read_receipt($r);
			Caller::at_one_of([ $before, $after ], sub { Model::check_receipt_of_row($r, $newest, $_[0]) });

			my $v = delete $view->{"$r->{scope} $r->{payment_id}"};
			return if !$v && $newest->{kind} =~ /^(?:cancel|post)\z/;
			Model::operation($v // die "it is not in the view\n");
			Caller::at_one_of([ $before, $after ], sub { check_view($v, $rows->[0], $newest, $_[0]) });
		});
	}
	die "the view has more\n" if %$view;
	die "a history has no payment\n" if %history;
	check_lists($payments);
	return;
}

# The list of the payments of each scope, read in pages, has those of the round and its posts, in the order of their ids.
# The movements of payments add up to their totals.
sub check_lists
{
	my ($payments) = @_;
	my $rows = $control->{dbh}->selectall_arrayref(
		q(SELECT v.scope, v.payment_id, v.created_at, coalesce(m.held, 0) = v.authorized - v.captured - v.released AS held,
				coalesce(m.moved, 0) = v.captured - v.refunded AS moved
		  FROM (SELECT * FROM idempotency.payment WHERE scope = ANY($1) AND payment_id = ANY($2)) v
		  LEFT JOIN (SELECT scope, payment_id, sum(held) AS held, sum(moved) AS moved FROM idempotency.movement
			WHERE scope = ANY($1) AND payment_id = ANY($2) GROUP BY scope, payment_id) m USING (scope, payment_id)
		  UNION ALL SELECT scope, payment_id, created_at, true, true FROM idempotency.operation
			WHERE scope = ANY($1) AND payment_id = ANY($2) AND kind = 'post'
		  ORDER BY payment_id),
		{ Slice => {} }, [ Model::scopes() ], [ map { $_->{payment_id} } @$payments ]);
	for my $row (@$rows)
	{
		die "the movements of $row->{payment_id} do not add up\n" unless $row->{held} && $row->{moved};
	}
	for my $scope (Model::scopes())
	{
		my @expected = grep { $_->{scope} eq $scope } @$rows;
		next unless @expected;
		my ($since) = sort map { $_->{created_at} } @expected;
		my @listed;
		while (1)
		{
			my $page = $control->{dbh}->selectcol_arrayref('SELECT payment_id FROM idem_payments($1, after => $2, max => 37, scope => $3)',
				undef, $since, $listed[-1], $scope);
			last unless @$page;
			push @listed, @$page;
		}
		die 'listed in scope "' . "$scope\" are\n@listed\nand there are\n@{[ map { $_->{payment_id} } @expected ]}\n"
			if "@listed" ne join(' ', map { $_->{payment_id} } @expected);
	}
	return;
}

sub check_view
{
	my ($v, $first, $newest, $at) = @_;
	Model::expect($v,
		(map { $_ => $first->{$_} } qw(key reference created_at)),
		(map { $_ => $newest->{$_} } qw(currency authorized captured released refunded expires_at)),
		from_account => $first->{from_account}, to_account => $first->{to_account}, changed_at => $newest->{created_at}, owner => $newest->{role},
		refundable => $newest->{captured} - $newest->{refunded},
		capturable => Model::expired($newest, $at) ? 0 : Model::left($newest),
		status => Model::status($newest, $at));
	return;
}

# A request was refused. There must be a state of the payment that refuses it in this way. It is the state that the
# client made in its transaction, or a committed one that is not older than the newest one that the client knew.
sub check_refused
{
	my ($refused, $row, $chain) = @_;
	my $request = $refused->{request};
	Caller::about($request, sub {
		my @states = states($refused, $chain);
		my $original;
		if ($request->{kind} eq 'cancel')
		{
			# the client does not name the payment
			($original) = grep { $_->{key} eq $request->{key} } @{ $refused->{own} };
			$original //= $row->{ Caller::id($request) } // die "nothing is stored under the key\n";
			@states = states({ %$refused, payment => "$original->{scope}\0$original->{payment_id}" }, $chain);
		}
		for my $state (@states)
		{
			for my $at ($refused->{sent}, $refused->{got})
			{
				next unless $original ? undo_refused_so($refused, $original, $state, $at)
					: refused_so($refused, $state, $request, $at);
				$did{'reversal of a reversal refused'}++ if $original && $original->{kind} eq 'reversal';
				return;
			}
		}
		die "it was refused with \"$refused->{message}\", $refused->{detail}, in none of these states:\n"
			. join('', map { '  ' . Model::describe($_) . "\n" } @states);
	});
	return;
}

sub refused_so
{
	my ($refused, $state, $request, $at) = @_;
	my $outcome = Model::outcome($state, $request, $at);
	return 1 if grep { Caller::same_limit($_, $refused) } Model::limits_of_outcome($state, $request->{kind}, $outcome);
	return $refused->{state} eq 'ID412' && ($outcome->{refusal} // '') eq $refused->{message}
		&& substr($refused->{detail}, 0, length $outcome->{detail}) eq $outcome->{detail};
}

sub undo_refused_so
{
	my ($refused, $original, $state, $at) = @_;
	my $undoing = Model::undoing($original, $state);
	return $undoing->{refusal} eq $refused->{message} if defined $undoing->{refusal};
	my $request = $undoing->{request};
	return scalar grep { Caller::same_limit($_, $refused) }
		Model::limits_of_outcome($state, $request->{kind}, Model::outcome($state, $request, $at));
}

# The states that a payment may have had for a client: after each of its committed operations, or after the
# last that the client made in its transaction.
sub states
{
	my ($told, $chain) = @_;
	my @committed = @{ $chain->{ $told->{payment} // '' } // [] };
	my @own = grep { "$_->{scope}\0$_->{payment_id}" eq ($told->{payment} // '') } @{ $told->{own} };
	return grep { $_->{seq} >= $told->{least} && $_->{created} <= $told->{got} } @committed unless @own;

	my @before = grep { $_->{seq} < $own[0]{seq} } @committed;
	fill_in($before[-1], @own);
	return $own[-1];
}

# The totals "released" of receipts that follow a row, by the rules.
sub fill_in
{
	my ($previous, @rows) = @_;
	for my $row (@rows)
	{
		my $released = Model::number(0);
		if ($previous)
		{
			$released = defined $row->{sqlstate} ? $previous->{released}
				: Model::outcome($previous, Model::request_of($row), $row->{created})->{released} // $previous->{released};
		}
		$row->{released} = $released;
		$row->{expired} = $previous->{expired} if $previous;
		$previous = $row;
	}
	return;
}
