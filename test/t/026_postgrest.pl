# Users of PostgREST share a role; examples/postgrest gives each of them a scope. A second user sees and changes nothing of
# the first one. Each request has the role and the settings that PostgREST gives it.
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
$node->start;

# As Supabase has it: what is created later is for the users' role, too.
my $setup = slurp_file('examples/postgrest/setup.sql');
$setup =~ s/(CREATE SCHEMA billing;)/$1\nALTER DEFAULT PRIVILEGES IN SCHEMA billing GRANT EXECUTE ON FUNCTIONS TO anon, authenticated;/;
$node->safe_psql('postgres', $setup);

my $client = Client->new($node, user => 'authenticator');

# A request: its transaction, and what the query in it gives, or the SQLSTATE and the message of its error.
sub request
{
	my ($claims, $key, $query, %options) = @_;
	my $dbh = $client->{dbh};
	my $row = eval {
		$dbh->begin_work;
		$dbh->do('SET TRANSACTION READ ONLY') if $options{get};
		$dbh->selectrow_array(q(SELECT set_config('search_path', '"api", "public"', true), set_config('role', $1, true),
			set_config('request.jwt.claims', $2, true), set_config('request.headers', $3, true)), {},
			$options{role} // 'authenticated', $claims, defined $key ? qq({"idempotency-key": "$key"}) : '{}');
		my $rows = $dbh->selectall_arrayref($query, {}, @{ $options{args} // [] });
		$dbh->commit;
		join ' ', map { join '|', @$_ } @$rows;
	};
	return $row if defined $row;
	my $error = $dbh->state . ' ' . ($dbh->errstr =~ /^ERROR:\s+(.*)/)[0];
	$dbh->rollback;
	return $error;
}

my $alice = '{"role": "authenticated", "sub": "alice"}';
my $mallory = '{"role": "authenticated", "sub": "mallory"}';
my $pay = q(SELECT amount, status, replayed::text FROM api.pay(50, 'USD', metadata => '{"iban": "DE89"}'));

# What the first user gets

is(request($alice, 'order-17', $pay), '50.00|succeeded|false', 'a user pays');
is(request($alice, 'order-17', $pay), '50.00|succeeded|true', 'a retry has the receipt');
is(request($alice, undef, q(SELECT metadata->>'iban' FROM api.receipt('order-17')), get => 1), 'DE89', 'GET finds it by its key');
my $id = request($alice, undef, q(SELECT payment_id FROM api.receipt('order-17')));
like($id, qr/^[0-9a-f-]{36}$/, 'it has an id');
is(request($alice, undef, 'SELECT status FROM api.payment($1::uuid)', get => 1, args => [$id]), 'succeeded', 'and by its id');

# Errors have the class of which PostgREST makes an HTTP status.

is(request($alice, 'order-17', q(SELECT api.pay(60, 'USD'))), 'PT422 idempotency key was used with a different request', '422');
is(request($alice, undef, q(SELECT api.pay(60, 'USD'))), 'PT400 idempotency key must not be null', '400');
is(request($alice, 'too-much', 'SELECT api.refund($1::uuid, 51)', args => [$id]), 'PT412 amount is more than can be refunded', '412');

like(request($alice, 'lost', q(SELECT api.pay(60, NULL))), qr/^22023 /, 'a currency that was lost is no currency');
like(request($alice, 'lost', q(SELECT api.pay(NULL, 'USD'))), qr/^22004 /, 'and no amount is lost');

# What the second user gets

is(request($mallory, undef, q(SELECT key FROM api.receipt('order-17'))), '', 'another user does not find the key');
is(request($mallory, undef, 'SELECT api.payment($1::uuid)', args => [$id]), "PT404 payment $id does not exist", 'nor the payment');
is(request($mallory, 'r', 'SELECT api.refund($1::uuid, 50)', args => [$id]), "PT404 payment $id does not exist", 'and cannot refund it');
is(request($mallory, undef, q(SELECT kind, status FROM api.cancel('order-17'))), 'cancel|cancelled', 'a cancel of the key is of their own key');
is(request($mallory, 'order-18', $pay), '50.00|succeeded|false', 'they pay under keys of their own');
is(request($alice, 'order-18', $pay), '50.00|succeeded|false', 'which do not keep the first one from using the same');
is(request($alice, undef, 'SELECT status, refunded FROM api.payment($1::uuid)', args => [$id]), 'succeeded|0.00', 'the first payment is as it was');
is(request($alice, 'refund-17', 'SELECT status FROM api.refund($1::uuid, 50)', args => [$id]), 'refunded', 'and its user can refund it');

# Without a user

for ([ 'without claims', '' ], [ 'without a user', '{"role": "authenticated"}' ], [ 'with an empty one', '{"sub": ""}' ], [ 'with null', '{"sub": null}' ])
{
	my ($name, $claims) = @$_;
	is(request($claims, 'order-17', $pay), 'PT401 not logged in', "$name: pay");
	is(request($claims, undef, q(SELECT api.receipt('order-17'))), 'PT401 not logged in', "$name: receipt");
}
is(request($alice, 'order-17', $pay, role => 'anon'), '42501 permission denied for schema api',
	'who is not logged in has no access');
my $session = Client->new($node, user => 'authenticator');
is($session->{dbh}->selectrow_array(q(SELECT count(*) FROM pg_settings WHERE name = 'request.jwt.claims')), 0, 'a session without the setting');
eval { $session->{dbh}->do('SET ROLE authenticated'); $session->{dbh}->do($pay) };
is($session->{dbh}->state, 'PT401', 'is nobody, too');

# Around the functions

like(request($alice, undef, q(SELECT billing.idem_lookup('order-17', 'user:bob'))), qr/^42501 permission denied for schema billing/,
	'the users\' role cannot call the extension');
like(request($alice, undef, 'SELECT * FROM idempotency.operation'), qr/^42501 /, 'nor read its tables');
like(request($alice, undef, 'SELECT payments.scope()'), qr/^42501 /, 'nor call what the functions are made of');
is($node->safe_psql('postgres', q(
	SELECT count(*) FROM pg_proc p, unnest(ARRAY['anon', 'authenticated', 'authenticator']) role
	WHERE p.pronamespace = 'billing'::regnamespace AND has_function_privilege(role, p.oid, 'EXECUTE'))), 0,
	'it has no right on a function of the extension, not even one from default privileges');
is($node->safe_psql('postgres', q(
	SELECT count(*) FILTER (WHERE prosecdef AND proconfig = '{"search_path=pg_catalog, pg_temp"}'), count(*)
	FROM pg_proc WHERE pronamespace = 'api'::regnamespace)), '5|5', 'all functions have a pinned search_path');
is($node->safe_psql('postgres', 'SELECT DISTINCT role FROM idempotency.operation'), 'payments', 'keys belong to the owner of the functions');

# A function that forgets the scope
$node->safe_psql('postgres', q(SET ROLE payments;
	CREATE FUNCTION api.careless() RETURNS numeric LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
		AS 'SELECT amount FROM billing.idem_pay(payments.key(), 1)';
	GRANT EXECUTE ON FUNCTION api.careless() TO authenticated));
is(request($alice, 'careless', 'SELECT api.careless()'), '22004 scope must not be null or left out', 'fails');

$node->stop;
done_testing();
