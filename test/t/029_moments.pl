# Accounts, when something happens at just the wrong moment. The library is built so that a session stops at a named moment
# (src/pause.h): in the middle of reading an account, between the check and the lock, before an insert. Meanwhile others
# commit, roll back, or change limits. Are the balances right, and is what was answered true?
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Client;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', 'max_prepared_transactions = 5');
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION idempotency');
$node->safe_psql('postgres', sprintf(q(UPDATE pg_proc SET probin = '%s' WHERE probin = '$libdir/idempotency'), build()));
$node->safe_psql('postgres', <<'SQL');
-- The accounts of a scope: what is posted, and available if that differs. Is each balance the sum of the entries, and what
-- each entry stores of those before it, too?
CREATE FUNCTION books(scope text) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(concat_ws('/', concat_ws(' ', name, posted), available), ', ' ORDER BY name)
		|| CASE WHEN bool_and(sound) AND sum(posted) = 0 THEN '' ELSE ' (wrong)' END
	FROM (SELECT a.name, b.posted, nullif(b.available, b.posted) AS available,
			b.posted = coalesce(sum(e.amount), 0) AND b.held = coalesce(sum(e.held), 0) AND b.entries = count(e)
				AND coalesce(bool_and(e.chained), true) AS sound
		FROM idempotency.account a CROSS JOIN idem_balance(a.name, scope => a.scope) b LEFT JOIN (
			SELECT e.*, (e.base, coalesce(e.base_held, 0)) = (
				SELECT coalesce(sum(o.amount), 0) - coalesce(sum(coalesce(o.cum, o.amount)) FILTER (WHERE o.seq = ANY (e.open)), 0),
					coalesce(sum(o.held), 0) - coalesce(sum(CASE WHEN o.cum IS NULL THEN o.held ELSE o.cum_held END) FILTER (WHERE o.seq = ANY (e.open)), 0)
				FROM idempotency.entry o WHERE o.account = e.account AND o.seq < e.seq - e.lag) AS chained
			FROM idempotency.entry e) e ON e.account = a.id
		WHERE a.scope = books.scope
		GROUP BY a.id, b.posted, b.held, b.available, b.entries) x $$;
-- so many payments of 1 to an account, each in a transaction of its own
CREATE PROCEDURE others(account text, n integer) LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1 .. n LOOP
		PERFORM idem_pay(format('%s %s', clock_timestamp(), i), 1, 'USD', 'world', account);
		COMMIT;
	END LOOP;
END $$;
SQL

my $control = Client->new($node);
my $scope;	# of the case that is played

# The library, built to stop at moments, in a directory of its own.
sub build
{
	my $dir = PostgreSQL::Test::Utils::tempdir;
	my $root = "$FindBin::RealBin/../..";
	my $options = join(' ', grep { $_ } $ENV{COPT}, '-DIDEM_PAUSE');
	local @ENV{qw(MAKEFLAGS MAKELEVEL MFLAGS)};
	delete @ENV{qw(MAKEFLAGS MAKELEVEL MFLAGS)};
	system_or_bail('cp', '-r', "$root/src", "$root/Makefile", "$root/idempotency.control", $dir);
	system_or_bail('find', $dir, '-name', '*.o', '-delete');
	system_or_bail('make', '-s', '-j2', '-C', $dir, 'PG_CONFIG=' . ($ENV{PG_CONFIG} // 'pg_config'), "COPT=$options", 'idempotency.so');
	return "$dir/idempotency.so";
}

# Begins a case, with accounts in a scope of its own: name => [ floor, ceiling, what it has ].
sub accounts
{
	my ($name, %accounts) = @_;
	$scope = $name;
	my $c = session();
	for my $account ('world', sort keys %accounts)
	{
		my ($floor, $ceiling, $posted) = @{ $accounts{$account} // [] };
		$c->row('SELECT idem_account_open($1, $2, $3, $4)', $account, 'USD', $floor, $ceiling);
		$c->row(pay("first $account", $posted, 'world', $account)) if $posted;
	}
	$c->close;
	return;
}

sub session
{
	my ($level) = @_;
	return Client->new($node, set => {
		'idempotency.scope' => $scope,
		'idempotency.declines' => 'record',
		default_transaction_isolation => $level // 'read committed' });
}

sub pay
{
	my ($key, $amount, $from, $to) = @_;
	return "SELECT concat_ws(' ', status, sqlstate) FROM idem_pay('$key', $amount, 'USD', '$from', '$to')";
}

# Sends a command that stops at a moment.
sub stop
{
	my ($session, $moment, $sql) = @_;
	$control->row('SELECT pg_advisory_lock(29, $1)', $session->pid);
	$session->do("SET application_name = '$moment'");
	$session->send($sql);
	ok(Client::wait_until(sub {
		$control->value('SELECT count(*) FROM pg_locks WHERE classid = 29 AND objid = $1 AND objsubid = 2 AND NOT granted', $session->pid)
	}), "$scope: a session stops at \"$moment\"");
	return;
}

# Lets it go on.
sub go_on
{
	my ($session) = @_;
	$control->row('SELECT pg_advisory_unlock(29, $1)', $session->pid);
	return;
}

# The answer, or the SQLSTATE of the error.
sub outcome
{
	my ($session) = @_;
	my $answer = eval { $session->answer };
	return defined $answer ? $answer : $session->state;
}

sub books
{
	return $control->value('SELECT books($1)', $scope);
}

# (a) A transaction ends while an account is read that has several of its entries. One of them is in "open", the other one
# gets there, as it is more than 64 behind. If the first counted as ended, it would be counted twice.
for my $end ('COMMIT', 'ROLLBACK')
{
	accounts("open, $end", a => []);
	my ($straggler, $many, $others, $reader) = map { session() } 1 .. 4;
	$straggler->do('BEGIN');
	$straggler->row(pay('s1', 1000, 'world', 'a'));
	$others->do(q(CALL others('a', 70)));
	$straggler->row(pay('s2', 500, 'world', 'a'));
	$many->do('BEGIN');
	$many->row(pay("m$_", 1, 'world', 'a')) for 1 .. 70;
	stop($reader, 'scan 71', pay('r', 10, 'world', 'a'));	# it has seen s2
	$straggler->do($end);
	go_on($reader);
	is(outcome($reader), 'succeeded', 'a payment is made');
	$many->do('COMMIT');
	my $posted = 70 + 70 + 10 + ($end eq 'COMMIT' ? 1500 : 0);
	is(books(), "a $posted.00, world -$posted.00", 'nothing is counted twice, and nothing lost');
	$others->do(q(CALL others('a', 1)));
	$posted++;
	is(books(), "a $posted.00, world -$posted.00", 'nor by the next one');
}

# The same with both in the window, one just 64 behind.
for my $behind (63, 64, 65)
{
	accounts("window, $behind", a => []);
	my ($straggler, $many, $others, $reader) = map { session() } 1 .. 4;
	$others->do(q(CALL others('a', 3)));
	$straggler->do('BEGIN');
	$straggler->row(pay('s1', 1000, 'world', 'a'));
	$straggler->row(pay('s2', 500, 'world', 'a'));
	$others->do(q(CALL others('a', 3)));
	$many->do('BEGIN');
	$many->row(pay("m$_", 1, 'world', 'a')) for 1 .. $behind - 3;
	stop($reader, 'scan ' . ($behind + 1), pay('r', 10, 'world', 'a'));	# it has seen s2
	$straggler->do('COMMIT');
	go_on($reader);
	is(outcome($reader), 'succeeded', 'a payment is made');
	$many->do('COMMIT');
	my $posted = 3 + 1500 + 3 + $behind - 3 + 10;
	is(books(), "a $posted.00, world -$posted.00", 'the sums are right');
	$others->do(q(CALL others('a', 1)));
	$posted++;
	is(books(), "a $posted.00, world -$posted.00", 'and those of the next one');
}

# It ends after the walk, before its entry in "open" is looked up; and a floor is decided. What it gives does not count in part.
for my $case ([ 'COMMIT', 'declined ID402' ], [ 'ROLLBACK', 'declined ID402' ])
{
	my ($end, $expected) = @$case;
	accounts("decided, $end", a => [ 0 ]);
	my ($straggler, $others, $reader) = map { session() } 1 .. 3;
	$straggler->do('BEGIN');
	$straggler->row(pay('s1', 1000, 'world', 'a'));
	$others->do(q(CALL others('a', 70)));
	$straggler->row(pay('s2', 970, 'a', 'world'));	# leaves 30
	stop($reader, 'open 1', pay('r', 101, 'a', 'world'));
	$straggler->do($end);
	go_on($reader);
	is(outcome($reader), $expected, 'a debit is decided by all of it, or by nothing');
	my $posted = $end eq 'COMMIT' ? 100 : 70;
	is(books(), "a $posted.00, world -$posted.00", 'and the floor holds');
}

# (b) Entries of several subtransactions, one of which is rolled back while the account is read; then they become stragglers.
accounts('subtransactions', a => []);
{
	my ($straggler, $others, $reader) = map { session() } 1 .. 3;
	$straggler->do('BEGIN');
	$straggler->row(pay('top', 1, 'world', 'a'));
	$straggler->do('SAVEPOINT s');
	$straggler->row(pay('s1', 10, 'world', 'a'));
	$straggler->do('RELEASE s; SAVEPOINT t');
	$straggler->row(pay('t1', 100, 'world', 'a'));
	$others->do(q(CALL others('a', 1)));
	$straggler->row(pay('t2', 1000, 'world', 'a'));
	stop($reader, 'scan 2', pay('r', 5, 'world', 'a'));	# it has seen t2, not t1
	$straggler->do('ROLLBACK TO t');
	go_on($reader);
	is(outcome($reader), 'succeeded', 'a payment is made');
	is(books(), 'a 6.00, world -6.00', 'while the subtransactions are in progress');
	$straggler->row(pay('top again', 2, 'world', 'a'));
	$others->do(q(CALL others('a', 70)));
	is(books(), 'a 76.00, world -76.00', 'and stragglers');
	stop($reader, 'open 1', pay('r2', 5, 'world', 'a'));
	$straggler->do('COMMIT');
	go_on($reader);
	is(outcome($reader), 'succeeded', 'another one, while the transaction commits');
	is(books(), 'a 94.00, world -94.00', 'the rest of it counts');
}

# (c) At REPEATABLE READ and SERIALIZABLE, others commit while the account is read. The own entry stands on what is outside the
# snapshot, and is no base for a decision.
for my $level ('repeatable read', 'serializable')
{
	for my $case ([ 159, 'declined ID402' ], [ 151, '40001' ], [ 150, 'succeeded' ])
	{
		my ($amount, $expected) = @$case;
		accounts("$level, $amount", a => [ 0, undef, 100 ]);
		my ($reader, $other, $writer) = (session($level), session(), session());
		$reader->do('BEGIN');
		is($reader->value(q(SELECT posted FROM idem_balance('a'))), '100.00', 'a snapshot');
		$other->row(pay('o', 1, 'world', 'a'));
		$writer->do('BEGIN');
		$writer->row(pay('w', 7, 'world', 'a'));
		$reader->row(pay('own', 50, 'world', 'a'));
		stop($reader, 'scan 1', pay('r', $amount, 'a', 'world'));
		$writer->do('COMMIT');
		go_on($reader);
		is(outcome($reader), $expected, 'only what the snapshot has is spent');
		$reader->do($expected eq '40001' ? 'ROLLBACK' : 'COMMIT');
		my $posted = $expected eq '40001' ? 108 : $expected eq 'succeeded' ? 8 : 158;
		is(books(), "a $posted.00, world -$posted.00", 'and the books are right');
	}
}

# (d) The second leg decides, and waits: nothing is inserted for the first one. Otherwise its account could not get a floor now.
for my $end ('COMMIT', 'ROLLBACK')
{
	accounts("second leg, $end", from => [ undef, undef, 100 ], to => [ undef, 100, 0 ]);
	my ($other, $reader, $changer) = map { session() } 1 .. 3;
	$other->do('BEGIN');
	$other->row(pay('o', 80, 'world', 'to'));
	$reader->send(pay('r', 30, 'from', 'to'));
	ok(Client::wait_till_blocked($control, $reader), 'a payment waits for room below a ceiling');
	$changer->do(q(SET lock_timeout = '10s'));
	$changer->do('BEGIN');
	is($changer->value(q(SELECT floor FROM idem_account_change('from', floor => 100))), '100.00', 'nothing is taken from the first account yet');
	$changer->do('ROLLBACK');
	$other->do($end);
	is(outcome($reader), $end eq 'COMMIT' ? 'declined ID412' : 'succeeded', 'it is decided by how the other one ends');
	is(books(), $end eq 'COMMIT' ? 'from 100.00, to 80.00, world -180.00' : 'from 70.00, to 30.00, world -100.00', 'the books are right');
}

# (e) Limits change after the check that takes no lock
my @changes = (
	# the account, its limits and money, the change, and what a payment of 50 from it is told
	[ 'a floor is raised', [ 0, undef, 100 ], 'floor => 60', 'declined ID402' ],
	[ 'a floor is lowered', [ 0, undef, 20 ], 'floor => -100', 'succeeded' ],
	[ 'a floor is taken away', [ 0, undef, 20 ], q(floor => '-Infinity'), 'succeeded' ],
	[ 'an account gets a floor', [ undef, undef, 100 ], 'floor => 60', 'declined ID402' ],
	[ 'an account is closed', [ 0, undef, 100 ], 'closed => true', 'declined ID412' ],
	[ 'one without limits is closed', [ undef, undef, 100 ], 'closed => true', 'declined ID412' ]);
for my $change (@changes)
{
	my ($name, $account, $what, $expected) = @$change;
	accounts($name, a => $account);
	my ($reader, $changer) = (session(), session());
	stop($reader, 'checked 1', pay('r', 50, 'a', 'world'));
	$changer->row("SELECT idem_account_change('a', $what)");
	go_on($reader);
	is(outcome($reader), $expected, 'it is decided by what is there when it is decided');
	my $posted = $account->[2] - ($expected eq 'succeeded' ? 50 : 0);
	is(books(), "a $posted.00, world " . -$posted . '.00', 'and the books are right');
}

# Between the legs: the transaction has to be run again, and nothing is declined.
for my $what ('ceiling => 10', 'ceiling => 1000', 'closed => true')
{
	accounts("between the legs, $what", a => [ 0, undef, 100 ], b => []);
	my ($reader, $changer) = (session(), session());
	stop($reader, 'leg 2', pay('r', 50, 'a', 'b'));
	$changer->row("SELECT idem_account_change('b', $what)");
	go_on($reader);
	is(outcome($reader), '40001', 'it fails with 40001');
	is($reader->value(q(SELECT count(*) FROM idem_lookup('r'))), 0, 'nothing is recorded');
	is(books(), 'a 100.00, b 0.00, world -100.00', 'and nothing was paid');
	is($reader->value(pay('r', 50, 'a', 'b')), $what eq 'ceiling => 1000' ? 'succeeded' : 'declined ID412', 'it is decided when it is sent again');
}

# A change of limits commits just when its rows are read: the new one was not there yet, and the old one is gone.
for my $change ('floor => -100', 'closed => false', 'floor => 60')
{
	accounts("while it is found, $change", a => [ 0, undef, 100 ]);
	my ($reader, $changer) = (session(), session());
	$changer->do('BEGIN');
	$changer->row("SELECT idem_account_change('a', $change)");
	stop($reader, 'account 1', pay('r', 50, 'a', 'world'));
	$changer->do('COMMIT');
	go_on($reader);
	is(outcome($reader), $change =~ /60/ ? 'declined ID402' : 'succeeded', 'the account is found');
	is(books(), $change =~ /60/ ? 'a 100.00, world -100.00' : 'a 50.00, world -50.00', 'and the books are right');
}

# (f) A floor is raised while a debit is in progress: decided, but not inserted yet; and inserted.
for my $moment ('insert 1', 'leg 2')
{
	for my $end ('COMMIT', 'ROLLBACK')
	{
		accounts("a floor at \"$moment\", $end", a => [ 0, undef, 100 ]);
		my ($payer, $changer) = (session(), session());
		$payer->do('BEGIN');
		stop($payer, $moment, pay('p', 80, 'a', 'world'));
		$changer->send(q(SELECT floor FROM idem_account_change('a', floor => 50)));
		ok(Client::wait_till_blocked($control, $changer), 'the change waits');
		go_on($payer);
		is(outcome($payer), 'succeeded', 'the debit goes on');
		$payer->do($end);
		is(outcome($changer), $end eq 'COMMIT' ? 'ID412' : '50.00', 'then it decides');
		is(books(), $end eq 'COMMIT' ? 'a 20.00, world -20.00' : 'a 100.00, world -100.00', 'and the books are right');
	}
}

# (g) Two holds for one account with a ceiling, which has room for one of them. While the capture of the second one waits for
# that of the first, the second one expires.
for my $end ('COMMIT', 'ROLLBACK')
{
	accounts("a ceiling and holds, $end", a => [ 0, undef, 100 ], b => [ undef, 60 ]);
	my ($one, $two) = (session(), session());
	my $capture = q(SELECT concat_ws(' ', c.status, c.sqlstate, c.message) FROM idem_lookup('%1$s') l, idem_capture('c %1$s', l.payment_id) c);
	$one->row(q(SELECT idem_authorize('h1', 50, 'USD', 'a', 'b')));
	$one->row(q(SELECT idem_authorize('h2', 50, 'USD', 'a', 'b', expires_in => '1 second')));
	is(books(), 'a 100.00/0.00, b 0.00, world -100.00', 'all is held');
	$one->do('BEGIN');
	like($one->value(sprintf($capture, 'h1')), qr/^succeeded/, 'the first hold is captured');
	$two->send(sprintf($capture, 'h2'));
	# It is sent before the hold expires, as a rule; if not, the test sees less.
	$control->row('SELECT pg_sleep(1.1)');
	$one->do($end);
	like(outcome($two), $end eq 'COMMIT' ? qr/^declined ID412/ : qr/^declined ID412 authorization has expired/, 'the second one is not');
	ok($control->value('SELECT idem_expire() > 0'), 'it is released');
	is(books(), $end eq 'COMMIT' ? 'a 50.00, b 50.00, world -100.00' : 'a 100.00/50.00, b 0.00, world -100.00', 'and can be spent');
}

is($control->value('SELECT bool_and(ok) FROM idem_check()'), 1, 'all invariants hold');
is($control->value(q(SELECT count(*) FROM pg_locks WHERE locktype = 'advisory')), 0, 'no lock is left');

$node->stop;
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|was terminated by signal/, 'without a crash');
done_testing();
