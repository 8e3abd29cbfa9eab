# Money for other scopes: sent once, delivered once or returned, while partitions, relays and the router die.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Client;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Router;
use Test::More;
use Time::HiRes ();

use constant CLIENTS => 4;
use constant RELAYS => 2;
use constant SECONDS => 12;		# of play
use constant TRIES => 400;		# of a call whose answer was lost

my $missing = Router::missing();
plan skip_all => $missing if $missing;

my $seed = $ENV{SEED} || 1 + int(rand(2**31));
note "seed $seed";
srand($seed);

my %node = map { ($_ => PostgreSQL::Test::Cluster->new($_)) } qw(router left right);
for (values %node)
{
	$_->init;
	$_->append_conf('postgresql.conf', "timezone = 'UTC'\nlog_min_error_statement = panic\nlog_min_messages = log\nmax_connections = 60\nshared_preload_libraries = 'idempotency'");
	$_->start;
}
my $router = Router->new($node{router}, @node{qw(left left right right)});
$router->{nodes}[$_]->safe_psql("pay$_", 'CREATE EXTENSION idempotency_remit') for 0 .. 3;
my $client = $router->client;
my @scopes = map { my $i = $_; map { $router->scope_on($i, $_) } 0 .. 1 } 0 .. 3;	# two on each partition

sub rows
{
	my ($c, $sql, @values) = @_;
	return join("\n", map { join('|', map { $_ // 'null' } @$_) } @{ $c->{dbh}->selectall_arrayref($sql, undef, @values) });
}

sub open_account
{
	my ($scope, $name, %limits) = @_;
	$client->row('SELECT name FROM idem_account_open($1, $2, $3, $4, scope => $5)', $name, $limits{currency} // 'USD', $limits{floor}, $limits{ceiling}, $scope);
	return;
}

sub balance
{
	my ($scope, $name) = @_;
	return $client->value('SELECT posted FROM idem_balance($1, scope => $2)', $name, $scope);
}

# The text of a remittance, but for its ids and times.
sub remittance
{
	my ($key, $scope) = @_;
	return rows($client, 'SELECT status, from_account, to_scope, to_account, amount, currency, reference, metadata, settled_at IS NOT NULL, sqlstate, message
		FROM idem_lookup_remittance($1, $2)', $key, $scope);
}

for my $scope (@scopes)
{
	open_account($scope, 'world');
	open_account($scope, $_, floor => 0) for qw(alice bob);
	open_account($scope, 'tight', ceiling => 20);
	open_account($scope, 'closed');
	$client->row('SELECT name FROM idem_account_change($1, closed => true, scope => $2)', 'closed', $scope);
	$client->row('SELECT key FROM idem_pay($1, 1000, from_account => $2, to_account => $3, scope => $4)', "start $_", 'world', $_, $scope) for qw(alice bob);
}

#-----------------------------------------------------------------------------------------------------
# One at a time
#-----------------------------------------------------------------------------------------------------

my ($here, $there) = @scopes[ 0, 5 ];
my $remit = 'SELECT r.status, r.replayed FROM idem_remit($1, $2, $3, $4, $5, scope => $6) r';

is(rows($client, 'SELECT r.status, r.amount, r.currency, r.legs->1->>$7 FROM idem_remit($1, $2, $3, $4, $5, reference => $8, metadata => $9, scope => $6) r',
		'one', 'alice', $there, 'bob', 30, $here, 'account', 'rent', '{"flat": 7}'),
	'succeeded|30.00|USD|idem_clearing:USD', 'money is sent');
is(balance($here, 'alice') . ' ' . balance($there, 'bob'), '970.00 1000.00', 'it has left, and has not arrived');
is(remittance('one', $here), "sent|alice|$there|bob|30.00|USD|rent|{\"flat\": 7}|0|null|null", 'the order says so');
is($client->value('SELECT idem_relay()'), 1, 'a relay delivers it');
is(balance($here, 'alice') . ' ' . balance($there, 'bob'), '970.00 1030.00', 'then it has arrived');
is(remittance('one', $here), "delivered|alice|$there|bob|30.00|USD|rent|{\"flat\": 7}|1|null|null", 'the order says so');
is(rows($client, q(SELECT kind, amount, reference FROM idem_statement('bob', scope => $1) ORDER BY seq DESC LIMIT 1), $there), 'post|30.00|rent', 'and so does the statement');
is($client->value('SELECT idem_relay()'), 0, 'there is nothing more to do');
is(rows($client, 'SELECT replayed FROM idem_remit($1, $2, $3, $4, $5, reference => $6, metadata => $7, scope => $8) r', 'one', 'alice', $there, 'bob', 30, 'rent', '{"flat": 7}', $here),
	'1', 'a repeated call is a replay');

# the other side refuses
my %refused = (nobody => 'ID404', tight => 'ID412', closed => 'ID412');
$client->row($remit, "to $_", 'alice', $there, $_, 21, $here) for sort keys %refused;
is(balance($here, 'alice'), '907.00', 'money is sent where it cannot arrive');
is($client->value('SELECT idem_relay()'), 3, 'a relay settles that');
is(balance($here, 'alice'), '970.00', 'and it comes back');
is(rows($client, q(SELECT sum(new), sum(declined), sum(failed) FROM idempotency_router.stat WHERE function = 'idem_relay')), '1|3|0', 'both are counted');
{
	my $strict = Client->new($node{left}, dbname => 'pay0', set => { 'idempotency.scope' => $scopes[0], 'idempotency.require_scope' => 'on' });
	is($strict->error_of(qq(SELECT $_)), '22004', "idempotency.require_scope: $_") for q(idem_lookup_remittance('rent-1')), q(idem_remit('rent-3', 'alice', 'x', 'bob', 1));
}
like(remittance("to $_", $here), qr/^returned\|.*\|$refused{$_}\|/, "to $_: the order says why") for sort keys %refused;
open_account($there, 'nobody');
my $late = q(SELECT d->>'outcome', d->>'message' FROM idempotency_remit.deliver(jsonb_build_array(jsonb_build_object(
	'token', $1::uuid, 'payment_id', $1::uuid, 'scope', $2::text, 'to_scope', $3::text, 'to_account', 'nobody', 'amount', 21, 'currency', 'USD'))) d);
is(rows($router->partition(2), $late, $router->partition(0)->value('SELECT token FROM idempotency_remit.remittance WHERE key = $1', 'to nobody'), $here, $there),
	'refused|the delivery was refused before', 'a late relay does not deliver what was refused');
is(balance($there, 'nobody'), '0.00', 'though there is such an account now');

# the sender has not enough
is($client->error_of($remit, 'much', 'alice', $there, 'bob', 5000, $here), 'ID402', 'not enough');
is(remittance('much', $here), '', 'leaves nothing');
is(rows($client, 'SELECT r.status, r.sqlstate FROM idem_remit($1, $2, $3, $4, $5, scope => $6, declines => $7) r', 'much', 'alice', $there, 'bob', 5000, $here, 'record'),
	'declined|ID402', 'it can be recorded');
like(remittance('much', $here), qr/^declined\|.*ID402/, 'then the order says so');
is($client->error_of('SELECT r.key FROM idem_remit($1, $2, $3, $4, $5, scope => $6, declines => $7) r', 'much', 'alice', $there, 'alice', 5000, $here, 'record'), 'ID422',
	'and is compared');

# other requests with the same key, and wrong arguments
my %errors = (
	"'one', 'alice', '$here', 'bob', 30" => 'ID422',
	"'one', 'alice', '$there', 'alice', 30" => 'ID422',
	"'one', 'alice', '$there', 'bob', 31" => 'ID422',
	"'one', 'bob', '$there', 'bob', 30" => 'ID422',
	"'start alice', 'alice', '$there', 'bob', 30" => 'ID422',
	"'x', 'nobody', '$there', 'bob', 30" => 'ID404',
	"'x', 'closed', '$there', 'bob', 30" => 'ID412',
	"'x', 'alice', '$there', 'bob', 30, 'EUR'" => '22023',
	"'x', 'alice', '$there', 'bob', 30.001" => '22003',
	"'x', 'alice', '$there', 'bob', 0" => '22003',
	"'x', 'alice', '$there', 'bob', -30" => '22003',
	"'x', 'alice', '$there', 'bob', 'NaN'" => '22003',
	"'x', 'alice', '$there', 'bob', 'Infinity'" => '22003',
	"'x', 'alice', '$there', 'bob', NULL" => '22004',
	"'x', 'alice', '$there', NULL, 1" => '22004',
	"'x', 'alice', NULL, 'bob', 1" => '22004',
	"'x', NULL, '$there', 'bob', 1" => '22004',
	"NULL, 'alice', '$there', 'bob', 1" => 'ID400',
	"'x', 'alice', '$there', repeat('x', 256), 1" => '22023',
	"'x', 'alice', '$there', 'bob', 1, reference => repeat('x', 70000)" => '54000',
	"'x', 'alice', '$there', '', 1" => '22023',
	"'x', 'alice', '$there', E'bob\\n', 1" => '22023',
	"'x', 'alice', E'a\\tb', 'bob', 1" => '22023',
	"'x', 'alice', repeat('x', 256), 'bob', 1" => '22023',
	"'x', 'alice', '$there', 'idem_clearing:USD', 1" => '22023',
	"'x', 'idem_clearing:USD', '$there', 'bob', 1" => '22023');
is_deeply({ map { $_ => $client->error_of("SELECT r.key FROM idem_remit($_, scope => '$here') r") } keys %errors }, \%errors, 'wrong arguments');
is(remittance('x', $here), '', 'leave nothing');
$client->row('SELECT key FROM idem_cancel($1, $2)', 'cancelled', $here);
is(rows($client, $remit, 'cancelled', 'alice', $there, 'bob', 1, $here), 'cancelled|1', 'a key that was cancelled has no effect');
is($client->error_of('SELECT key FROM idem_cancel($1, $2)', 'one', $here), 'ID412', 'what was sent cannot be cancelled');
is($client->error_of('SELECT r.key FROM idem_refund($1, (SELECT payment_id FROM idem_lookup($2, $3)), scope => $3) r', 'back', 'one', $here), 'ID412', 'nor refunded');

# on a partition, in a transaction of the application
{
	my $direct = $router->partition(0);
	$direct->do('BEGIN');
	$direct->row($remit, 'rolled back', 'alice', $there, 'bob', 1, $here);
	$direct->do('ROLLBACK');
	$direct->do('BEGIN; SAVEPOINT s');
	$direct->row($remit, 'in a savepoint', 'alice', $there, 'bob', 1, $here);
	$direct->do('RELEASE s; COMMIT');
	is(remittance('rolled back', $here) . remittance('in a savepoint', $here) =~ s/\|.*//r, 'sent', 'the order is there if the transaction commits');
	is($client->value('SELECT idem_relay(0)'), 0, 'a relay does what it may');
	is($client->value('SELECT idem_relay()'), 1, 'and all, if it may');
	$direct->row($remit, 'to itself', 'alice', $here, 'bob', 2, $here);
	is($client->value('SELECT idem_relay()') . ' ' . balance($here, 'bob'), '1 1002.00', 'a scope can send to itself');
}

#-----------------------------------------------------------------------------------------------------
# Roles
#-----------------------------------------------------------------------------------------------------

for my $n (values %node)
{
	$n->safe_psql('postgres', "CREATE ROLE $_ LOGIN") for qw(app thief relay);
}
for my $i (0 .. 3)
{
	$router->{nodes}[$i]->safe_psql("pay$i", q(
		SELECT idem_grant('app'), idem_grant('thief'), idem_grant_remit('app'), idem_grant_remit('thief'), idem_grant_remit('relay', 'relay')));
}
$node{router}->safe_psql('router', q(SELECT idem_grant('app'), idem_grant('thief'), idem_grant('relay', 'maintenance')));
$router->map_role($_) for qw(app thief relay);
{
	my ($app, $thief, $relay) = map { $router->client(user => $_) } qw(app thief relay);
	my ($shop, $den) = ($router->scope_on(0, 3), $router->scope_on(3, 3));
	$app->row('SELECT name FROM idem_account_open($1, $2, scope => $3)', 'purse', 'USD', $shop);
	$thief->row('SELECT name FROM idem_account_open($1, $2, scope => $3)', 'sack', 'USD', $den);
	$thief->row('SELECT name FROM idem_account_open($1, $2, scope => $3)', 'sack', 'USD', $shop);
	is(rows($app, $remit, 'gift', 'purse', $den, 'sack', 5, $shop), 'succeeded|0', 'a role sends from its account');
	is($thief->error_of($remit, 'theft', 'purse', $den, 'sack', 5, $shop), 'ID403', 'and no other one from that');
	is($thief->error_of($remit, 'gift', 'purse', $den, 'sack', 5, $shop), 'ID403', 'nor with its key');
	is(rows($thief, 'SELECT key FROM idem_lookup_remittance($1, $2)', 'gift', $shop), '', 'nor sees it');
	is(rows($app, 'SELECT status FROM idem_lookup_remittance($1, $2)', 'gift', $shop), 'sent', 'as the sender does');
	is($thief->error_of('SELECT key FROM idem_pay($1, 5, from_account => $2, to_account => $3, scope => $4)', 'theft', 'idem_clearing:USD', 'sack', $shop), 'ID403',
		'money that is on its way is nobody\'s');
	is($app->error_of('SELECT idem_relay()'), '42501', 'an application delivers nothing');
	my $near = $router->partition(0, user => 'thief');
	is($near->error_of(q(SELECT idempotency_remit.due(10))), '42501', 'nor takes orders');
	is($near->error_of(q(INSERT INTO idempotency_remit.remittance SELECT * FROM idempotency_remit.remittance)), '42501', 'nor makes them up');

	# a posting to the clearing account without an order: whose was it?
	$app->row('SELECT key FROM idem_post($1, ARRAY[($2, -3), ($3, 3)]::idem_entry[], scope => $4)', 'astray', 'purse', 'idem_clearing:USD', $shop);
	is($near->value('SELECT idempotency_remit.store_order($1, $2, $3, $4, $5)', 'astray', $shop, 'purse', $den, 'sack'), 0, 'nobody gets what another one sent without an order');
	is($app->error_of('SELECT r.key FROM idem_remit($1, $2, $3, $4, 3, scope => $5) r', 'astray', 'purse', $den, 'sack', $shop), 'ID422', 'not even that one, later');
	$router->partition(0)->row('SELECT key FROM idem_post($1, ARRAY[($2, -3), ($3, 3)]::idem_entry[], scope => $4)', 'found', 'idem_clearing:USD', 'purse', $shop);

	# a clearing account of somebody else, who makes an order of his own by hand
	my $fake = $router->scope_on(0, 5);
	$thief->row('SELECT name FROM idem_account_open($1, $2, scope => $3)', $_, 'JPY', $fake) for 'idem_clearing:USD', 'sack';
	$near->do('BEGIN');
	$near->row('SELECT key FROM idem_post($1, ARRAY[($2, -1000000), ($3, 1000000)]::idem_entry[], scope => $4)', 'mint', 'sack', 'idem_clearing:USD', $fake);
	is($near->value('SELECT idempotency_remit.store_order($1, $2, $3, $4, $5)', 'mint', $fake, 'sack', $den, 'sack'), 0, 'who posts to a clearing account of his own sends nothing');
	$near->do('ROLLBACK');

	# the keys of the other side, which he cannot know
	my $id = $app->value('SELECT r.payment_id FROM idem_remit($1, $2, $3, $4, 1, scope => $5) r', 'watched', 'purse', $den, 'nothing', $shop);
	$thief->row('SELECT key FROM idem_cancel($1, $2)', "idem_remit_back:$id", $shop);
	is($relay->value('SELECT idem_relay()') . rows($app, 'SELECT status FROM idem_lookup_remittance($1, $2)', 'watched', $shop), '2returned', 'nobody keeps money from coming back');
	is(rows($router->partition(0), 'SELECT idempotency_remit.settle($1)', '[]'), '0', 'no outcomes, nothing settled');
	is($router->partition(0)->error_of(q(SELECT idempotency_remit.settle(jsonb_build_array(jsonb_build_object('payment_id', payment_id, 'scope', scope))) FROM
		(SELECT * FROM idempotency_remit.remittance WHERE status = 'sent' UNION ALL SELECT * FROM idempotency_remit.remittance LIMIT 1) r)), 'none', 'nor by one that is none');

	my $squat = $router->scope_on(1, 4);
	$thief->row('SELECT name FROM idem_account_open($1, $2, scope => $3)', $_, 'USD', $squat) for 'idem_clearing:USD', 'sack';
	is($thief->error_of($remit, 'squat', 'sack', $den, 'sack', 5, $squat), 'ID403', 'a clearing account of somebody else is not used');
	$app->row($remit, 'to a squat', 'purse', $squat, 'sack', 5, $shop);
	is($relay->value('SELECT idem_relay()'), 0, 'who relays delivers');
	is(rows($app, 'SELECT status FROM idem_lookup_remittance($1, $2)', 'gift', $shop), 'delivered', 'what can be delivered');
	is(rows($app, 'SELECT status, message FROM idem_lookup_remittance($1, $2)', 'to a squat', $shop), 'sent|null', 'and the rest waits');
	is($relay->error_of(q(SELECT key FROM idem_pay('x', 1, scope => 'a'))), '42501', 'and does nothing else');
	$router->partition(1)->do(q(UPDATE idempotency.account SET owner = current_user WHERE name = 'idem_clearing:USD' AND owner = 'thief'));
	$router->partition(0)->do(q(UPDATE idempotency_remit.remittance SET due_at = now() WHERE status = 'sent'));
	is($relay->value('SELECT idem_relay()'), 1, 'until an administrator mends it');
	is(rows($client, 'SELECT currency, sent, orders, ok FROM idem_relay_check()'), 'USD|0|0|1', 'all has arrived');

	# a trigger on one partition that fails in ways that are not caught by OTHERS
	for my $state ('P0004', '57014', '40001')
	{
		$router->partition(3)->do(qq(CREATE OR REPLACE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS
			'BEGIN IF NEW.reference = ''bad'' THEN RAISE ''it fails'' USING ERRCODE = ''$state''; END IF; RETURN NEW; END'));
		$router->partition(3)->do('CREATE OR REPLACE TRIGGER fail AFTER INSERT ON idempotency.operation FOR EACH ROW EXECUTE FUNCTION fail()');
		my $bad = 'SELECT r.key FROM idem_remit($1, $2, $3, $4, 1, reference => $5, scope => $6) r';
		$app->row($bad, "$_ $state", 'purse', $den, 'sack', $_, $shop) for qw(good bad);
		is($relay->value('SELECT idem_relay()'), 1, "an order that fails with $state does not keep the others");
		is(rows($app, 'SELECT string_agg(status, $1 ORDER BY key DESC) FROM unnest($2::text[]) k, idem_lookup_remittance(k, $3)', ' ', [ "good $state", "bad $state" ], $shop), 'delivered sent', 'and waits');
		$router->partition(3)->do('DROP TRIGGER fail ON idempotency.operation');
		$router->partition(0)->do(q(UPDATE idempotency_remit.remittance SET due_at = now() WHERE status = 'sent'));
		is($relay->value('SELECT idem_relay()'), 1, 'until it does not fail any more');
	}
	$router->partition(0)->row('SELECT idem_revoke_remit($1)', 'app');
	is($app->error_of($remit, 'revoked', 'purse', $den, 'sack', 1, $shop), '42501', 'the right to send can be revoked');
}

#-----------------------------------------------------------------------------------------------------
# The worker
#-----------------------------------------------------------------------------------------------------

# Somebody may make a function that looks like a relay.
$client->do(q(CREATE SCHEMA trap; CREATE FUNCTION trap.idem_relay(integer) RETURNS integer LANGUAGE plpgsql AS 'BEGIN RAISE LOG $$trapped$$; RETURN 0; END'));
$node{router}->append_conf('postgresql.conf', "idempotency.databases = 'router'\nidempotency.naptime = 1");
$node{router}->restart;
$client = $router->client;
$client->row($remit, 'by the worker', 'alice', $there, 'bob', 1, $here);
ok(Client::wait_until(sub { remittance('by the worker', $here) =~ /^delivered/ }), 'the worker delivers, too');
unlike(slurp_file($node{router}->logfile), qr/LOG:  trapped/, 'it calls no function of somebody else');
$node{router}->append_conf('postgresql.conf', "idempotency.databases = ''");
$node{router}->restart;
$client = $router->client;

#-----------------------------------------------------------------------------------------------------
# Many at a time, while all kinds of processes die
#-----------------------------------------------------------------------------------------------------

# A call, sent again until it is answered.
sub insist
{
	my ($self, $sql, @values) = @_;
	for (1 .. TRIES)
	{
		$self->{client} //= eval { $router->client(set => { statement_timeout => '5s' }) };
		my @row = eval { $self->{client}->row($sql, @values) };
		return @row if !$@;
		my $state = $self->{client} ? $self->{client}->state : '08001';
		$self->{errors}{$state}++;
		return ($state) if $state =~ /^ID|^22/;
		die "$state: $@" unless $state =~ /^(?:08|57|40|55P03|$)/;
		delete $self->{client} if !$self->{client} || !$self->{client}{dbh}->ping;
		Time::HiRes::usleep(50_000);
	}
	die "no answer after many tries\n";
}

sub play
{
	my ($number) = @_;
	my $self = { sent => {}, errors => {} };
	my $end = Time::HiRes::time() + SECONDS;
	for (my $i = 0; Time::HiRes::time() < $end; $i++)
	{
		my ($from, $to) = map { $scopes[ rand @scopes ] } 1 .. 2;
		my $account = (qw(alice bob alice bob tight nobody closed))[ rand 7 ];
		my $amount = 1 + int(rand(80));
		my @request = ("$number-$i", (qw(alice bob))[ rand 2 ], $to, $account, $amount, $from);
		my ($status) = eval { insist($self, $remit, @request) };
		return { wrong => "@request: $@" } if $@;
		# now and then, as if the answer had been lost
		if ($status eq 'succeeded' && rand() < 0.1)
		{
			my ($again, $replayed) = eval { insist($self, $remit, @request) };
			return { wrong => "@request: first $status, then " . ($again // $@) } if ($again // '') ne $status || !$replayed;
		}
		$self->{sent}{"$from\0$request[0]"} = \@request if $status eq 'succeeded';
		Time::HiRes::usleep(rand(20_000));
	}
	return { sent => $self->{sent}, errors => $self->{errors} };
}

sub relay
{
	my $self = { errors => {} };
	my $end = Time::HiRes::time() + SECONDS;
	my $settled = 0;
	while (Time::HiRes::time() < $end)
	{
		$settled += eval { (insist($self, 'SELECT idem_relay(20)'))[0] } // return { wrong => "relay: $@" };
		Time::HiRes::usleep(rand(100_000));
	}
	return { settled => $settled, errors => $self->{errors} };
}

my %before = map { ($_ => $router->partition($_)->value(q(SELECT count(*) FROM idempotency.operation WHERE key ~ '^idem_remit:'))) } 0 .. 3;
my @workers = Client::start(CLIENTS + RELAYS, sub { my ($n) = @_; srand($seed + $n); return $n > CLIENTS ? relay() : play($n) }, $seed);
my %killed;
my $last = Time::HiRes::time() + SECONDS - 3;
my $crash = Time::HiRes::time() + 2;
my @crashes = qw(right router left right router);
while (Client::running(@workers))
{
	Time::HiRes::usleep(100_000);
	next if Time::HiRes::time() > $last;
	my $victim = (qw(left right right router))[ rand 4 ];
	eval {
		$killed{$victim} += () = $node{$victim}->safe_psql('postgres', q(SELECT pg_terminate_backend(pid) FROM (SELECT pid FROM pg_stat_activity
			WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() ORDER BY random() LIMIT 1) s)) =~ /t/g;
	};
	if (@crashes && Time::HiRes::time() > $crash)
	{
		my $name = shift @crashes;
		$node{$name}->stop('immediate');
		Time::HiRes::usleep(300_000);
		$node{$name}->start;
		$killed{"server $name"}++;
		$crash = Time::HiRes::time() + 1.5;
	}
}
my @results = Client::finish(@workers);
is(join('; ', grep { defined } map { $_->{wrong} } @results), '', 'clients and relays are answered');
my %sent = map { %{ $_->{sent} // {} } } @results;
my %states;
$states{$_->[0]} += $_->[1] for map { my $e = $_->{errors}; map { [ $_, $e->{$_} ] } keys %$e } @results;
note scalar(keys %sent) . ' sent; killed: ' . join(', ', map { "$_: $killed{$_}" } sort keys %killed) . '; errors: ' . join(', ', map { "$_: $states{$_}" } sort keys %states);
cmp_ok(scalar(keys %sent), '>', 100, 'many were sent');

$client = $router->client;
ok(Client::wait_until(sub {
		$router->partition($_)->do(q(UPDATE idempotency_remit.remittance SET due_at = now() WHERE status = 'sent')) for 0 .. 3;
		$client->value('SELECT idem_relay()');
		return !$client->value('SELECT sum(orders) FROM idem_relay_check()');
	}), 'in the end, all is settled');
is(rows($client, 'SELECT currency, clearing, sent, orders, ok FROM idem_relay_check()'), 'USD|0.00|0|0|1', 'and nothing is left on the way');

# Each is delivered once, or not at all and returned once. And nothing else was.
my (%delivered, %returned, %orders);
for my $i (0 .. 3)
{
	my $p = $router->partition($i);
	$delivered{$_->[0]}++ for @{ $p->{dbh}->selectall_arrayref(q(SELECT substr(key, 12) FROM idempotency.operation WHERE key ~ '^idem_remit:' AND kind = 'post' AND sqlstate IS NULL)) };
	$returned{$_->[0]}++ for @{ $p->{dbh}->selectall_arrayref(q(SELECT substr(key, 17) FROM idempotency.operation WHERE key ~ '^idem_remit_back:')) };
	%orders = (%orders, %{ $p->{dbh}->selectall_hashref(q(SELECT scope || E'\1' || key AS id, * FROM idempotency_remit.remittance WHERE key ~ '^\d+-\d+$'), 'id') });
	is(rows($p, 'SELECT * FROM idem_check() WHERE NOT ok'), '', "partition $i: idem_check() finds nothing wrong");
}
my %wrong;
my @all = values %orders;
for my $id (keys %sent)
{
	my $order = delete $orders{ $id =~ s/\0/\x01/r };
	my $what = !$order ? 'lost' : $order->{status} eq 'delivered' ? 'delivered' : $order->{status} eq 'returned' ? 'returned' : "left $order->{status}";
	my ($d, $b) = $order ? ($delivered{ $order->{token} } // 0, $returned{ $order->{token} } // 0) : (0, 0);
	$what .= ", $d deliveries, $b returns" if $what eq 'delivered' && ($d != 1 || $b != 0) || $what eq 'returned' && ($d != 0 || $b != 1);
	$what .= ', to a wrong place' if $what eq 'delivered' && $sent{$id}[3] =~ /nobody|closed/ && $sent{$id}[2] ne $there;
	$wrong{$what}++;
}
my ($good, $back) = (delete $wrong{delivered}, delete $wrong{returned});
is_deeply(\%wrong, {}, 'each that was acknowledged has arrived once, or came back once');
cmp_ok($good // 0, '>', 20, 'some have arrived');
cmp_ok($back // 0, '>', 5, 'some came back');
cmp_ok(scalar(grep { $_->{tries} > 1 } @all), '>', 0, 'some were taken by relays more than once');
is_deeply([ grep { $orders{$_}{status} ne 'declined' } keys %orders ], [], 'and there are no others');
my $sum = 0;
for my $scope (@scopes)
{
	$sum += $client->value('SELECT posted FROM idem_balance($1, scope => $2)', $_, $scope) for qw(world alice bob tight closed);
}
$sum += balance($there, 'nobody');
is(0 + sprintf('%.2f', $sum), 0, 'the accounts of all scopes add up to what they had');

$_->stop for values %node;
done_testing();
