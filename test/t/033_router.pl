# A router: does a client get from it what it gets from a server that has everything?
use strict;
use warnings;
use utf8;

use FindBin;
use lib $FindBin::RealBin;

use Client;
use Encode ();
use IO::Select;
use IO::Socket::UNIX;
use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Router;
use Test::More;

my $missing = Router::missing();
plan skip_all => $missing if $missing;

my ($node, $other) = map { PostgreSQL::Test::Cluster->new($_) } qw(main other);
for ($node, $other)
{
	$_->init;
	$_->append_conf('postgresql.conf', "timezone = 'UTC'\nlog_min_error_statement = panic\nshared_preload_libraries = 'idempotency'");
	$_->start;
}
my $router = Router->new($node, $node, $node, $other, $other);
$node->safe_psql('postgres', 'CREATE EXTENSION idempotency; CREATE EXTENSION idempotency_remit');

my $user = $node->safe_psql('postgres', 'SELECT current_user');
for my $database ('postgres', 'router')
{
	$node->safe_psql($database, 'CREATE DOMAIN own_json AS json; CREATE DOMAIN own_own_json AS own_json; CREATE DOMAIN own_bytes AS bytea');
}
my $plain = Client->new($node);		# a server that has everything
my $client = $router->client;
my @scopes = map { $router->scope_on($_) } 0 .. 3;	# one on each partition

# The rows of a query, as text.
sub rows
{
	my ($c, $sql, @values) = @_;
	return join("\n", map { join('|', map { $_ // 'null' } @$_) } @{ $c->{dbh}->selectall_arrayref($sql, undef, @values) });
}

# The error of a query: its SQLSTATE, message, DETAIL and HINT; or its rows.
sub outcome
{
	my ($c, $sql) = @_;
	my $rows = eval { rows($c, $sql) } // return $c->state . ' ' . ($c->{dbh}->errstr =~ s/\n(?:CONTEXT|LINE):.*//sr);
	return $rows;
}

#-----------------------------------------------------------------------------------------------------
# The functions are the same
#-----------------------------------------------------------------------------------------------------

my $functions = q(
	SELECT p.proname || '(' || pg_get_function_arguments(p.oid) || ') -> ' || pg_get_function_result(p.oid) || ' ' || p.prorows || ' ' || obj_description(p.oid)
		|| CASE WHEN p.proacl IS NULL OR array_to_string(p.proacl, ' ') ~ '(^| )=' THEN ' for PUBLIC' ELSE '' END
	FROM pg_proc p JOIN pg_depend d ON d.objid = p.oid AND d.classid = 'pg_proc'::regclass AND d.deptype = 'e'
	WHERE p.pronamespace = 'public'::regnamespace AND p.proname ~ '^idem_'
	ORDER BY 1);
my @of_router = grep { !/^idem_(?:partition|create_partitions|claim_partitions|move_partition|grant|revoke|check|expire|purge|relay|relay_check|stat_reset)\(/ } split /\n/, rows($client, $functions);
my @of_extension = grep { !/^idem_(?:grant|grant_remit|revoke|revoke_remit|check|expire|purge|stat_reset)\(/ } split /\n/, rows($plain, $functions);
is(scalar(grep { s/, scopes text\[\] DEFAULT NULL::text\[\]// } @of_router), 3, 'three functions have an argument "scopes"');
is_deeply(\@of_router, \@of_extension, 'the others have the names, arguments, types, defaults and results of the extension, and none is for PUBLIC');

my $types = q(
	SELECT t.typname, a.attname, format_type(a.atttypid, a.atttypmod), (SELECT collname FROM pg_collation c WHERE c.oid = a.attcollation)
	FROM pg_type t JOIN pg_attribute a ON a.attrelid = t.typrelid
	WHERE t.typnamespace = 'public'::regnamespace AND t.typname ~ '^idem_' ORDER BY t.typname, a.attnum);
is(rows($client, $types), rows($plain, $types), 'so do the types');

my $signature = q(SELECT p.proname || '(' || pg_get_function_arguments(p.oid) || ') -> ' || pg_get_function_result(p.oid)
	FROM pg_proc p WHERE p.proname IN ('idem_grant', 'idem_revoke', 'idem_check', 'idem_expire', 'idem_purge', 'idem_stat_reset') AND p.pronamespace = 'public'::regnamespace ORDER BY 1);
is(rows($client, $signature), rows($plain, $signature), 'and the functions for administrators');

#-----------------------------------------------------------------------------------------------------
# Where scopes are
#-----------------------------------------------------------------------------------------------------

{
	my @some = ('', 'a', 'shop 1', 'Müller & Söhne', '商店', "it's", map { "scope $_" } 1 .. 40);
	my %is = map { $_ => $client->value('SELECT partition FROM idem_partition($1)', $_) } @some;
	is_deeply(\%is, { map { $_ => $router->partition_of($_) } @some }, 'the partition of a scope is its SHA-256, modulo their number');
	my %used = map { ($_ => 1) } values %is;
	is(scalar(keys %used), 4, 'all partitions are used');
	is($client->value('SELECT connection FROM idem_partition($1)', $scopes[2]), Router::connection($other, 2), 'and it says how to connect');

	$client->row('SELECT key FROM idem_pay($1, 1, scope => $2)', "where $_", $_) for @some;
	my %kept = map { my $i = $_; map { ($_ => $i) } split /\n/, rows($router->partition($i), q(SELECT scope FROM idempotency.operation WHERE key ~ '^where')) } 0 .. 3;
	is_deeply(\%kept, \%is, 'a payment is on the partition of its scope, and nowhere else');
}

#-----------------------------------------------------------------------------------------------------
# The same answers
#-----------------------------------------------------------------------------------------------------

# Calls, with SCOPE for the scope. What differs from call to call is left out.
my @calls = (
	q(SELECT (r).* FROM (SELECT idem_pay('k', 5, scope => SCOPE) r) s),
	q(idem_pay('k', 5, scope => SCOPE)),
	q(idem_pay('k', 6, scope => SCOPE)),
	q(idem_pay('k2', 5, 'JPY', reference => 'order "1"', metadata => '{"a": 1.50, "b": [null]}'::jsonb, scope => SCOPE)),
	q(idem_pay('k2', 5, 'JPY', reference => 'order "1"', metadata => '{"b": [null], "a": 1.50}'::json, scope => SCOPE)),
	q(idem_pay('k2', 5, 'JPY', reference => 'order "1"', metadata => '{"a": 1.50, "b": [null]}', scope => SCOPE)),
	q(idem_pay('k3', 5, metadata => '{', scope => SCOPE)),
	q(idem_pay('k3', 5, metadata => 5, scope => SCOPE)),
	q(idem_pay('k3', 5.001, scope => SCOPE)),
	q(idem_pay('k3', NULL, scope => SCOPE)),
	q(idem_pay(NULL, 5, scope => SCOPE)),
	q(idem_pay('k3', 5, declines => 'perhaps', scope => SCOPE)),
	q(idem_pay('k3', 5, scope => repeat('x', 300))),
	q(idem_authorize('h', 100, expires_in => '3 days', scope => SCOPE)),
	q(idem_increase('h i', (SELECT payment_id FROM idem_lookup('h', SCOPE)), 10, scope => SCOPE)),
	q(idem_capture('h c', (SELECT payment_id FROM idem_lookup('h', SCOPE)), 30, false, scope => SCOPE)),
	q(idem_capture('h c2', (SELECT payment_id FROM idem_lookup('h', SCOPE)), 300, scope => SCOPE)),
	q(idem_capture('h c2', (SELECT payment_id FROM idem_lookup('h', SCOPE)), 300, scope => SCOPE, declines => 'record')),
	q(idem_capture('h c3', (SELECT payment_id FROM idem_lookup('h', SCOPE)), scope => SCOPE)),
	q(idem_void('h v', (SELECT payment_id FROM idem_lookup('h', SCOPE)), scope => SCOPE)),
	q(idem_refund('h r', (SELECT payment_id FROM idem_lookup('h', SCOPE)), 7, scope => SCOPE)),
	q(idem_refund('h r2', (SELECT payment_id FROM idem_lookup('h', SCOPE)), currency => 'EUR', scope => SCOPE)),
	q(idem_cancel('h r', SCOPE)),
	q(idem_cancel('never', SCOPE)),
	q(idem_pay('never', 1, scope => SCOPE)),
	q(idem_lookup('k', SCOPE)),
	q(idem_lookup('nothing', SCOPE)),
	q(idem_payment((SELECT payment_id FROM idem_lookup('h', SCOPE)), SCOPE)),
	q(idem_payment('01a21857-a1ee-7ee1-a501-fed44b6a0fa9', SCOPE)),
	q(idem_history((SELECT payment_id FROM idem_lookup('h', SCOPE)), SCOPE)),
	q(idem_payments(max => 2, scope => SCOPE)),
	q(idem_account_open('alice', 'USD', floor => 0, metadata => '{"n": 1}', scope => SCOPE)),
	q(idem_account_open('shop', 'USD', scope => SCOPE)),
	q(idem_account_change('shop', ceiling => 1000, scope => SCOPE)),
	q(idem_lookup_account('shop', SCOPE)),
	q(idem_post('p', ARRAY[('alice', 20), ('shop', -20)]::idem_entry[], scope => SCOPE)),
	q(idem_post('p2', ARRAY[('alice', 20), ('shop', -21)]::idem_entry[], scope => SCOPE)),
	q(idem_pay('a', 15, from_account => 'alice', to_account => 'shop', scope => SCOPE)),
	q(idem_pay('a2', 15, from_account => 'alice', to_account => 'shop', scope => SCOPE)),
	q(idem_pay('a2', 15, from_account => 'alice', to_account => 'shop', scope => SCOPE, declines => 'record')),
	q(idem_balance('alice', scope => SCOPE)),
	q(idem_balance('nobody', scope => SCOPE)),
	q(idem_statement('alice', scope => SCOPE)),
	q(idem_pay_batch(ARRAY['b1', 'b2', 'b1', 'k'], ARRAY[1, 2, 1, 9], scope => SCOPE)),
	q(idem_pay_batch(ARRAY['b1', 'b3'], ARRAY[1, 2], ARRAY['EUR', NULL], ARRAY['r', NULL], ARRAY['{"a": 1}', NULL]::jsonb[], SCOPE)),
	q(idem_pay_batch(ARRAY['b4', 'b5'], ARRAY[1, 2], from_accounts => ARRAY['alice', NULL], to_accounts => ARRAY['shop', NULL], scope => SCOPE, declines => 'record')),
	q(idem_pay_batch(ARRAY['b6'], ARRAY[1, 2], scope => SCOPE)),
	q(idem_pay_batch(ARRAY['b6'], ARRAY[1], metadatas => ARRAY[5], scope => SCOPE)),
	q(idem_pay_batch('{}', '{}', scope => SCOPE)),
	q(idem_refund_batch(ARRAY['b7'], ARRAY[(SELECT payment_id FROM idem_lookup('k', SCOPE))], ARRAY[2], scope => SCOPE)),
	q(idem_capture_batch(ARRAY['b8'], ARRAY[(SELECT payment_id FROM idem_lookup('k', SCOPE))], ARRAY[2], scope => SCOPE)),
	q(idem_begin('q', '{"a": 1}'::jsonb, '1 minute', scope => SCOPE)),
	q(idem_begin('q', '{"a": 1.0}'::json, '1 minute', scope => SCOPE)),
	q(idem_checkpoint('q', 'half', '{"x": 1}'::json, 1, SCOPE)),
	q(idem_checkpoint('q', 'half', '{"x": 1}', 2, SCOPE)),
	q(idem_complete('q', '{"b":  1}'::json, 1, SCOPE)),
	q(idem_begin('q', '{"a": 1}'::json, '1 minute', scope => SCOPE)),
	q(idem_begin('q', '{"a": 2}'::json, '1 minute', scope => SCOPE)),
	q(idem_begin('q2', 'café', '1 minute', scope => SCOPE)),
	q(idem_fail('q2', '["no"]'::jsonb, 1, SCOPE)),
	q(idem_begin('q2', convert_to('café', 'UTF8'), '1 minute', scope => SCOPE)),
	q(idem_begin('q3', '[object Object]', '1 minute', scope => SCOPE)),
	q(idem_begin('q3', 5, '1 minute', scope => SCOPE)),
	q(idem_begin('q3', NULL, '1 minute', scope => SCOPE)),
	q(idem_release('q3', 1, SCOPE)),
	q(idem_renew('q3', '1 minute', 1, SCOPE)),
	q(idem_abandoned(scope => SCOPE)),
	q(idem_execute('e', 'SELECT $1::int + 1 AS n, $2::text AS t', '[4, "x"]'::jsonb, scope => SCOPE)),
	q(idem_execute('e', 'SELECT $1::int + 1 AS n, $2::text AS t', '[4, "x"]', scope => SCOPE)),
	q(idem_execute('e2', 'SELECT $1::int + 1 AS n', ARRAY[4], scope => SCOPE)),
	q(idem_execute('e2', 'SELECT $1::int + 1 AS n', '{4}', scope => SCOPE)),
	q(idem_execute('e3', 'SELECT 1 / 0', scope => SCOPE)),
	q(idem_execute('e3', 'SELECT 1', '\x01'::bytea, scope => SCOPE)),
	q(idem_execute('e4', 'SELECT 1.5 AS n', numbers => 'text', scope => SCOPE)),
	q(idem_execute('e5', 'SELECT $1::int + $2::int AS n', '[0:1]={4,5}'::int[], scope => SCOPE)),
	q(idem_execute('e6', 'SELECT $1::int + $2::int AS n', '{{4,5}}'::int[], scope => SCOPE)),
	q(idem_execute('e7', 'SELECT 1 AS n', '{}'::text[], scope => SCOPE)),
	q(idem_begin('d1', '{"a": 1}'::own_json, '1 minute', scope => SCOPE)),
	q(idem_begin('d1', '{"a":1}'::jsonb, '1 minute', scope => SCOPE)),
	q(idem_begin('d2', 'x'::char(4), '1 minute', scope => SCOPE)),
	q(idem_begin('d2', 'x   '::text, '1 minute', scope => SCOPE)),
	q(idem_begin('d3', '\\x01'::own_bytes, '1 minute', scope => SCOPE)),
	q(idem_pay('d4', 1, metadata => '{"a": 1}'::own_own_json, scope => SCOPE)),
	q(idem_pay('d5', 1, metadata => '{"a": 1}'::varchar(40), scope => SCOPE)),
	q(idem_pay('d6', 1, metadata => ARRAY['{}'], scope => SCOPE)));

# Without what differs each time.
sub masked
{
	my ($text, $scope) = @_;
	my %ids;
	$text =~ s/scope "\Q$scope\E"/scope "it"/g;
	$text =~ s/\b([0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12})\b/$ids{$1} \/\/= 'id' . keys %ids/ge;
	$text =~ s/\b20\d\d-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?\+00/time/g;
	return $text;
}

my $same = $router->scope_on(2, 1);
for my $call (@calls)
{
	my $sql = $call =~ /^SELECT/ ? $call : "SELECT r.* FROM $call r";
	my @outcomes = map { my $scope = $_->[1]; masked(outcome($_->[0], $sql =~ s/SCOPE/'$scope'/gr), $scope) } [ $plain, 'plain' ], [ $client, $same ];
	is($outcomes[1], $outcomes[0], Encode::encode("UTF-8", $call));
}

#-----------------------------------------------------------------------------------------------------
# Settings
#-----------------------------------------------------------------------------------------------------

is($client->error_of(q(SELECT idem_pay('n', 1))), '22004', 'there is no default scope');
like($client->{dbh}->errstr, qr/scope must not be null.*which partition.*Pass the argument/s, 'and the error says why');
{
	my $set = $router->client(set => { 'idempotency.scope' => $scopes[1], 'idempotency.currency' => 'EUR', 'idempotency.declines' => 'record' });
	is($set->value(q(SELECT r.currency FROM idem_pay('set', 1) r)), 'EUR', 'the settings of a session count: currency');
	is($router->partition(1)->value(q(SELECT scope FROM idempotency.operation WHERE key = 'set')), $scopes[1], 'scope');
	is($set->value(q(SELECT c.sqlstate FROM idem_lookup('set') p, LATERAL idem_capture('set 2', p.payment_id, 9) c)), 'ID412', 'declines');
	is(rows($set, q(SELECT idem_pay_batch(ARRAY['set 3', 'set 4'], ARRAY[1, 1], ARRAY['USD', NULL])) ) =~ tr/\n//, 1, 'a batch');
	is(rows($set, q(SELECT currency FROM idem_lookup('set 3') UNION ALL SELECT currency FROM idem_lookup('set 4'))), "USD\nEUR", 'has the currency of the setting, too');
	is($set->value(q(SELECT currency FROM idem_account_open('in euros'))), 'EUR', 'and so has an account');
	is($set->value(q(SELECT r.replayed FROM idem_lookup('set 3') p, LATERAL idem_refund('set 5', p.payment_id) r)), 0, 'but a refund has that of its payment');
	my $strict = $router->client(set => { 'idempotency.scope' => $scopes[1], 'idempotency.require_scope' => 'on' });
	is($strict->error_of(q(SELECT idem_pay('set', 1, 'EUR'))), '22004', 'an administrator can require a scope');
	like($strict->{dbh}->errstr, qr/scope must not be null.*require_scope" is on.*does not count/s, 'and the error says so');
	is($strict->value(q(SELECT r.replayed FROM idem_pay('set', 1, 'EUR', scope => $1) r), $scopes[1]), 1, 'a scope that is given counts');
}
{
	# times are sent as text
	my %odd = (set => { datestyle => 'SQL, DMY', intervalstyle => 'sql_standard', timezone => 'Asia/Kolkata', bytea_output => 'escape' });
	my @both = ([ Client->new($node, %odd), 'plain' ], [ $router->client(%odd), $same ]);
	for my $call (q(SELECT expires_at - created_at, created_at::text ~ '^[0-9]{2}/[0-9]{2}/20[0-9]{2} .*IST$' FROM idem_authorize('odd', 1, expires_in => '1 day 02:03:04', scope => SCOPE)),
		q(SELECT count(*) FROM idem_payments(since => now() - interval '1 hour', until => now() + interval '1 hour', scope => SCOPE) WHERE key = 'odd'),
		q(SELECT attempt FROM idem_begin('odd', '\x00ff'::bytea, '1 day 01:00:00', scope => SCOPE)),
		q(SELECT rows FROM idem_execute('odd args', 'SELECT $1::date + 1 AS day', ARRAY['2026-11-26'::date], scope => SCOPE)))
	{
		my @rows = map { my $scope = $_->[1]; rows($_->[0], $call =~ s/SCOPE/'$scope'/gr) } @both;
		is($rows[1], $rows[0], "odd styles of times: $call");
	}
}
is($client->error_of(qq(SELECT outcome FROM idem_begin('lease', scope => '$scopes[0]'))), '0A000', 'a request needs a lease');
like($client->{dbh}->errstr, qr/lease.*each call is a transaction.*idem_execute/s, 'and the error says why');

#-----------------------------------------------------------------------------------------------------
# Batches over several partitions
#-----------------------------------------------------------------------------------------------------

{
	my @items = map { { key => "many $_", amount => $_, scope => $scopes[ $_ * 7 % 4 ] } } 1 .. 50;
	push @items, { key => 'many 1', amount => 1, scope => $items[0]{scope} }, { key => 'many 2', amount => 99, scope => $items[1]{scope} };
	push @items, map { { key => 'many 3', amount => 3, scope => $router->scope_on($_, 1) } } 0 .. 3;
	my @columns = map { my $c = $_; [ map { $_->{$c} } @items ] } qw(key amount scope);
	my $sql = 'SELECT item, key, outcome, sqlstate FROM idem_pay_batch($1, $2, scopes => $3)';
	my @expected = map { [ $_ + 1, $items[$_]{key}, $_ == 51 ? ('failed', 'ID422') : ($_ == 50 ? 'replayed' : 'new', undef) ] } 0 .. $#items;
	is_deeply($client->{dbh}->selectall_arrayref($sql, undef, @columns), \@expected, 'a batch over four partitions: one row an item, in the order given');
	$_->[2] =~ s/new/replayed/ for @expected;
	is_deeply($client->{dbh}->selectall_arrayref($sql, undef, @columns), \@expected, 'again, it is replayed');
	is_deeply([ map { $client->value('SELECT amount FROM idem_lookup($1, $2)', $_->{key}, $_->{scope}) + 0 } @items[ 0 .. 49 ] ], [ 1 .. 50 ],
		'each payment is in its scope');

	my $ids = 'ARRAY(SELECT l.payment_id FROM unnest($1::text[], $2::text[]) WITH ORDINALITY u(k, s, n), idem_lookup(k, s) l ORDER BY n)';
	my @some = ([ map { $_->{key} } @items[ 4 .. 11 ] ], [ map { $_->{scope} } @items[ 4 .. 11 ] ]);
	is(rows($client, "SELECT string_agg(concat(item, outcome), ' ' ORDER BY n) FROM idem_refund_batch(ARRAY(SELECT 'back ' || k FROM unnest(\$1::text[]) k), $ids,
			array_fill(1, ARRAY[8]), scopes => \$2) WITH ORDINALITY r(item, key, outcome, payment_id, status, sqlstate, message, detail, n)", @some),
		join(' ', map { "${_}new" } 1 .. 8), 'so are refunds');
	$client->row('SELECT key FROM idem_authorize($1, 9, scope => $2)', "hold $_", $scopes[$_]) for 0 .. 3;
	is(rows($client, 'SELECT outcome, status FROM idem_capture_batch(ARRAY[$1, $2], ARRAY[(SELECT payment_id FROM idem_lookup($3, $4)), (SELECT payment_id FROM idem_lookup($5, $6))],
			ARRAY[1, 2], false, scopes => ARRAY[$4, $6])', 'take 3', 'take 0', 'hold 3', $scopes[3], 'hold 0', $scopes[0]),
		"new|partially_captured\nnew|partially_captured", 'and captures');

	my %errors = (
		q(ARRAY['x', 'y'], ARRAY[1, 2], scopes => ARRAY['a']) => '2202E',
		q(ARRAY['x', 'y'], ARRAY[1], scopes => ARRAY['a', 'b']) => '2202E',
		q(ARRAY['x', 'y'], ARRAY[1, 2], scopes => ARRAY['a', NULL]) => '22004',
		q(ARRAY['x', 'y'], NULL, scopes => ARRAY['a', 'b']) => '22004',
		q(NULL, ARRAY[1], scopes => ARRAY['a']) => '22004',
		q(ARRAY['x'], ARRAY[1], scopes => ARRAY[ARRAY['a']]) => '2202E');
	is_deeply({ map { $_ => $client->error_of("SELECT idem_pay_batch($_)") } keys %errors }, \%errors, 'arrays that do not fit');
	is(rows($client, "SELECT * FROM idem_pay_batch('{}', '{}', scopes => '{}')"), '', 'no items, no rows');
	is(rows($client, 'SELECT outcome, message FROM idem_pay_batch($1, $2, from_accounts => $3, to_accounts => $4, scopes => $5)',
			[ 'acc 1', 'acc 2' ], [ 2, 3 ], [ 'alice', undef ], [ 'shop', undef ], [ $same, $scopes[1] ]),
		"new|null\nnew|null", 'some items have accounts');
}

#-----------------------------------------------------------------------------------------------------
# Roles
#-----------------------------------------------------------------------------------------------------

for my $n ($node, $other)
{
	$n->safe_psql('postgres', "CREATE ROLE $_ LOGIN") for qw(app app2 stranger keeper watcher);
}
for my $i (0 .. 3)
{
	$router->{nodes}[$i]->safe_psql("pay$i", q(SELECT idem_grant('app'); SELECT idem_grant('app2'); SELECT idem_grant('keeper', 'maintenance'); SELECT idem_grant('watcher', 'monitor')));
}
$node->safe_psql('router', q(SELECT idem_grant('app'); SELECT idem_grant('app2'); SELECT idem_grant('keeper', 'maintenance'); SELECT idem_grant('watcher', 'monitor')));
$router->map_role($_) for qw(app app2 keeper watcher);
{
	my ($app, $app2, $stranger, $keeper, $watcher) = map { $router->client(user => $_) } qw(app app2 stranger keeper watcher);
	my $pay = "SELECT r.key FROM idem_pay('mine', 5, scope => '$scopes[3]') r";
	is($app->error_of($pay), 'none', 'a role pays');
	is($router->partition(3)->value(q(SELECT role FROM idempotency.operation WHERE key = 'mine')), 'app', 'as the role of that name');
	is($app2->error_of($pay), 'ID403', q(another one does not get its payment));
	is($stranger->error_of($pay), '42501', 'a role without rights pays nothing');
	is($stranger->error_of(q(SELECT idem_partition('a'))), '42501', 'and sees nothing');
	$node->safe_psql('router', q(SELECT idem_grant('stranger')));
	is($stranger->error_of($pay), '42704', 'nor does one without a user mapping');
	is($app->error_of(q(SELECT idem_expire())), '42501', 'an application does not do maintenance');
	is($keeper->value(q(SELECT idem_expire() + idem_purge())), 0, 'who maintains does');
	is($keeper->error_of($pay), '42501', 'and pays nothing');
	is($watcher->value(q(SELECT string_agg(DISTINCT partition::text, ' ') FROM idempotency_router.stat)), '0 1 2 3', 'who monitors sees the counters of all partitions');
	cmp_ok($watcher->value(q(SELECT sum(new) FROM idempotency_router.stat WHERE function = 'idem_pay')), '>', 0, 'with what was paid through the router');
	ok($watcher->value('SELECT count(*) >= 0 FROM idempotency_router.activity'), 'and who works on what');
	is($watcher->error_of('SELECT idem_stat_reset()'), '42501', 'but sets nothing to zero');
	is($app->error_of('SELECT calls FROM idempotency_router.stat'), '42501', 'an application sees none of it');
	$keeper->do('SELECT idem_stat_reset()');
	is($watcher->value('SELECT sum(calls) FROM idempotency_router.stat'), 0, 'who maintains does');
	is($app->error_of("SELECT idem_grant('app2')"), '42501', 'rights are an administrator\'s');
	is($app->error_of("SELECT idem_move_partition(0, 'host=elsewhere')"), '42501', 'and so are partitions');
	is($app->error_of("ALTER USER MAPPING FOR app SERVER idempotency OPTIONS (SET user '$user')"), '42501', 'nobody says as whom he connects');
	is($stranger->error_of("CREATE USER MAPPING FOR stranger SERVER idempotency OPTIONS (user '$user')"), '42501', 'nor makes a mapping');
	my $both = $router->client;
	$both->do('SET ROLE app');
	is($both->error_of($pay), 'none', 'SET ROLE counts');
	$node->safe_psql('router', q(SELECT idem_revoke('app')));
	is($app->error_of($pay), '42501', 'rights can be revoked');
}

#-----------------------------------------------------------------------------------------------------
# Administration
#-----------------------------------------------------------------------------------------------------

{
	my %errors = (
		q(idem_create_partitions('dbname=x%s', 3)) => '22023',
		q(idem_create_partitions('dbname=x', 4)) => '22023',
		q(idem_create_partitions('dbname=x%s', 4)) => '42710',
		q(idem_create_partitions(NULL)) => '22004',
		q(idem_move_partition(4, 'dbname=x')) => '22023',
		q(idem_move_partition(NULL, 'dbname=x')) => '22023',
		q(idem_move_partition(1, 'dbname=x user=postgres')) => '22023',
		q(idem_move_partition(1, 'postgres://u:p@h/x')) => '22023');
	is_deeply({ map { $_ => $client->error_of("SELECT $_") } keys %errors }, \%errors, 'partitions that cannot be');
	is($plain->error_of('CREATE EXTENSION idempotency_router CASCADE'), '55000', 'a database is a router or a partition');

	# A router that looks elsewhere would let a key pay twice.
	is($client->error_of('SELECT idem_move_partition(0, $1)', Router::connection($other, 2)), '55000', 'a partition is not taken for another one');
	is($client->value('SELECT connection FROM idem_partition($1)', $scopes[0]), Router::connection($node, 0), 'and stays where it is');
	is($client->value('SELECT idem_claim_partitions()'), 0, 'all are claimed');
	$node->safe_psql('postgres', 'CREATE DATABASE wrong');
	my $wrong = Client->new($node, dbname => 'wrong');
	$wrong->do('CREATE EXTENSION idempotency_router CASCADE');
	$wrong->row('SELECT idem_create_partitions($1, 2)', 'host=' . $node->host . ' port=' . $node->port . ' dbname=pay%s');
	$wrong->do("CREATE USER MAPPING FOR CURRENT_USER SERVER idempotency OPTIONS (user '$user')");
	is($wrong->error_of('SELECT idem_claim_partitions()'), '55000', 'a router with another number of partitions cannot claim them');
	like($wrong->{dbh}->errstr, qr/takes it for 0 of 2, and it is 0 of 4/, 'and the error says why');
	is($wrong->error_of('SELECT idempotency_router.set_mark($1, 0)', '0 of 2'), 'ID422', 'not even at the same time');
	$wrong->do("ALTER SERVER idempotency OPTIONS (SET p1 '" . Router::connection($node, 0) . " connect_timeout=10')");
	is($wrong->value(q(SELECT string_agg(DISTINCT partition::text, ' ') FROM idempotency_router.stat)), '0 1', 'partitions are told apart even if their databases have one name');
	$wrong->close;

	my $invariants = $plain->value('SELECT count(*) FROM idem_check()');
	is($client->value('SELECT count(*) FILTER (WHERE ok) FROM idem_check()'), $invariants, 'idem_check() looks at all partitions');
	$router->partition(2)->do(q(UPDATE idempotency.operation SET captured = 4, refunded = 5 WHERE key = 'k2'));
	my $detail = rows($client, 'SELECT detail FROM idem_check() WHERE NOT ok');
	like($detail, qr/^partition 2: broken in 1 of the operations, such as key 'k2'/m, 'and says which of them breaks an invariant');
	is($client->value('SELECT count(*) FROM idem_check()'), $invariants, 'each has one row');
}

#-----------------------------------------------------------------------------------------------------
# Cancelled statements and lost partitions
#-----------------------------------------------------------------------------------------------------

{
	# a key that somebody else is just using
	my $owner = $router->partition(2);
	$owner->do('BEGIN');
	$owner->row('SELECT key FROM idem_pay($1, 1, scope => $2)', 'busy', $scopes[2]);
	my $pay = "SELECT r.replayed FROM idem_pay('busy', 1, scope => '$scopes[2]') r";
	my $sessions = q(SELECT count(*) FROM pg_stat_activity WHERE datname = 'pay2' AND state = 'active' AND query ~ 'idem_pay' AND pid <> pg_backend_pid());
	my $watch = $router->partition(2);

	my $hurried = $router->client(set => { statement_timeout => '300ms' });
	is($hurried->error_of($pay), '57014', 'a timeout on the router');
	ok(Client::wait_until(sub { !$watch->value($sessions) }), 'ends the call on the partition');
	is($hurried->value("SELECT r.replayed FROM idem_pay('free', 1, scope => '$scopes[2]') r"), 0, 'and the session goes on');

	my $cancelled = $router->client;
	$cancelled->send($pay);
	ok(Client::wait_until(sub { $watch->value($sessions) }), 'a call waits');
	$client->row('SELECT pg_cancel_backend($1)', $cancelled->pid);
	is($cancelled->error_of_answer, '57014', 'and is cancelled');
	ok(Client::wait_until(sub { !$watch->value($sessions) }), 'on the partition, too');

	my $lost = $router->client;
	$lost->send($pay);
	ok(Client::wait_until(sub { $watch->value($sessions) }), 'a call waits again');
	$watch->row('SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND state = $2 AND query ~ $3 AND pid <> pg_backend_pid()', 'pay2', 'active', 'idem_pay');
	is($lost->error_of_answer, '57P01', 'the session on the partition is ended');
	$owner->do('COMMIT');
	is($lost->value($pay), 1, 'a retry gets the answer');

	$node->safe_psql('router', q(ALTER SERVER idempotency OPTIONS (ADD query_timeout '1')));
	$owner->do('BEGIN');
	$owner->row('SELECT key FROM idem_pay($1, 1, scope => $2)', 'busy 2', $scopes[2]);
	# PL/Proxy looks at the clock only when something happens, such as the end of statement_timeout.
	my $late = $router->client(set => { statement_timeout => '2s' });
	is($late->error_of("SELECT r.key FROM idem_pay('busy 2', 1, scope => '$scopes[2]') r"), '08006', 'a partition that does not answer is given up');
	like($late->{dbh}->errstr, qr/lost the answer.*query timeout.*same key/s, 'and the error says what to do');
	$owner->do('COMMIT');
	is($late->value("SELECT r.replayed FROM idem_pay('busy 2', 1, scope => '$scopes[2]') r"), 1, 'a retry gets the answer');
	$node->safe_psql('router', 'ALTER SERVER idempotency OPTIONS (DROP query_timeout)');

	$client->row('SELECT r.key FROM idem_pay($1, 1, scope => $2) r', 'before', $scopes[3]);
	$other->stop('immediate');
	like($client->error_of("SELECT r.key FROM idem_pay('down', 1, scope => '$scopes[3]') r"), qr/^(?:08006|57P0[12])$/, 'a partition is lost');
	is($client->error_of("SELECT r.key FROM idem_pay('down', 1, scope => '$scopes[3]') r"), '08001', 'then there is no connection');
	like($client->{dbh}->errstr, qr/could not connect to partition "pay3".*same key/s, 'and the error says so');
	is($client->value("SELECT r.replayed FROM idem_pay('up', 1, scope => '$scopes[$_]') r"), 0, "partition $_ does not mind") for 0, 1;
	is($client->error_of('SELECT idem_pay_batch($1, $2, scopes => $3)', [ 'x1', 'x2' ], [ 1, 2 ], [ @scopes[ 0, 3 ] ]), '08001', 'a batch fails if one of its partitions does');
	$other->start;
	is($client->value("SELECT r.replayed FROM idem_pay('down', 1, scope => '$scopes[3]') r"), 0, 'the partition is back');
	is(rows($client, 'SELECT count(*) FROM idem_pay_batch($1, $2, scopes => $3) WHERE outcome IN ($4, $5)', [ 'x1', 'x2' ], [ 1, 2 ], [ @scopes[ 0, 3 ] ], 'new', 'replayed'), 2,
		'and the batch, sent again, is done');
}

# Something between router and partition answers with nonsense. Then libpq reports an error without an SQLSTATE.
{
	my $dir = PostgreSQL::Test::Utils::tempdir_short();
	my $name = '.s.PGSQL.' . $other->port;
	my $listener = IO::Socket::UNIX->new(Local => "$dir/$name", Listen => 5) or die "$dir/$name: $!";
	my $pid = fork() // die "fork: $!";
	if ($pid == 0)
	{
		alarm Client::PROCESS_LIMIT;
		my $from = $listener->accept;
		my $to = IO::Socket::UNIX->new(Peer => $other->host . "/$name");
		my $select = IO::Select->new($from, $to);
		while (my ($side) = $select->can_read)
		{
			sysread($side, my $data, 65536) or last;
			$data = "X\0\0\0\0" if $side == $to && $data =~ /nonsense/;
			syswrite($side == $to ? $from : $to, $data);
		}
		POSIX::_exit(0);
	}
	# It serves one connection, so the router must not look whose it is.
	$node->safe_psql('router', "ALTER SERVER idempotency OPTIONS (SET p3 'host=$dir port=" . $other->port . " dbname=pay3')");
	my $garbled = $router->client;
	is($garbled->error_of("SELECT r.key FROM idem_pay('nonsense', 1, scope => '$scopes[3]') r"), '08006', 'an answer that makes no sense is a lost one');
	like($garbled->{dbh}->errstr, qr/lost the answer of partition "pay3".*same key/s, 'and the error says what to do');
	$router->tell(3);
	is($garbled->value("SELECT r.replayed FROM idem_pay('nonsense', 1, scope => '$scopes[3]') r"), 1, 'a retry gets the answer');
	kill 'KILL', $pid;
	waitpid $pid, 0;
}

# A transaction that is rolled back on the router takes nothing back.
$client->do('BEGIN');
$client->row('SELECT r.key FROM idem_pay($1, 1, scope => $2) r', 'rolled back', $scopes[1]);
$client->do('ROLLBACK');
is($client->value('SELECT r.replayed FROM idem_pay($1, 1, scope => $2) r', 'rolled back', $scopes[1]), 1, 'each call commits by itself');

# Connections that get old are replaced.
$node->safe_psql('router', q(ALTER SERVER idempotency OPTIONS (ADD connection_lifetime '1')));
my $backend = q(SELECT rows->0->>'pid' FROM idem_execute(gen_random_uuid()::text, 'SELECT pg_backend_pid() AS pid', scope => $1));
my $first = $client->value($backend, $scopes[0]);
sleep 2;
isnt($client->value($backend, $scopes[0]), $first, 'connection_lifetime');
$node->safe_psql('router', q(ALTER SERVER idempotency OPTIONS (DROP connection_lifetime)));

#-----------------------------------------------------------------------------------------------------
# PgBouncer in between, on both sides
#-----------------------------------------------------------------------------------------------------

SKIP:
{
	my $pgbouncer = (grep { -x } map { "$_/pgbouncer" } split(/:/, $ENV{PATH}), '/usr/sbin')[0];
	skip 'there is no pgbouncer', 4 unless $pgbouncer;
	my $dir = PostgreSQL::Test::Utils::tempdir_short;
	my $port = PostgreSQL::Test::Cluster::get_free_port();
	append_to_file("$dir/users", qq("$user" ""\n));
	append_to_file("$dir/ini", "[databases]\n" . join('', map { "pay$_ = " . Router::connection($router->{nodes}[$_], $_) . "\n" } 0 .. 3)
		. 'router = host=' . $node->host . ' port=' . $node->port . " dbname=router\n" . <<"INI");
[pgbouncer]
listen_addr =
listen_port = $port
unix_socket_dir = $dir
auth_type = trust
auth_file = $dir/users
pool_mode = transaction
default_pool_size = 2
ignore_startup_parameters = extra_float_digits
logfile = $dir/log
pidfile = $dir/pid
INI
	is(system($pgbouncer, '-q', '-d', "$dir/ini"), 0, 'pgbouncer starts');
	$router->tell($_, "host=$dir port=$port dbname=pay$_") for 0 .. 3;
	my $pooled = DBI->connect("dbi:Pg:dbname=router;host=$dir;port=$port", undef, undef, { RaiseError => 1, PrintError => 0, pg_server_prepare => 0 });
	my @answers = map { my $s = $_; map { $pooled->selectrow_array("SELECT r.replayed FROM idem_pay('pooled', 1, scope => '$s') r") } 1, 2 } @scopes;
	is("@answers", '0 1 0 1 0 1 0 1', 'pays through PgBouncer');
	ok(!eval { $pooled->do("SELECT r.key FROM idem_pay('pooled', 2, scope => '$scopes[0]') r"); 1 } && $pooled->state eq 'ID422', 'with the same errors');
	is($pooled->selectrow_array("SELECT r.replayed FROM idem_pay('pooled', 1, scope => '$scopes[0]') r"), 1, 'and goes on');
	$pooled->disconnect;
	chomp(my $pid = slurp_file("$dir/pid"));
	kill 'INT', $pid;
}

$_->stop for $node, $other;
done_testing();
