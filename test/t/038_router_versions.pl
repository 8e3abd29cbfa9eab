# A router and its partitions may have different versions of PostgreSQL. The other one is that which OLD_PG_CONFIG names; by
# default, it is the same.
use strict;
use warnings;

use File::Basename;
use FindBin;
use lib $FindBin::RealBin;

use Client;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Router;
use Test::More;

my $missing = Router::missing();
plan skip_all => $missing if $missing;

my $old_config = $ENV{OLD_PG_CONFIG};
my $new = PostgreSQL::Test::Cluster->new('new');
my $old = PostgreSQL::Test::Cluster->new('old', $old_config ? (install_path => dirname(dirname($old_config))) : ());
for ($new, $old)
{
	$_->init;
	$_->append_conf('postgresql.conf', "timezone = 'UTC'");
	$_->start;
}

my @pairs = ([ $new, $old ]);
chomp(my $old_share = $old_config ? `$old_config --sharedir` : '');
push @pairs, [ $old, $new ] if $old_config && -e "$old_share/extension/plproxy.control";
for my $pair (@pairs)
{
	my ($node, $other) = @$pair;
	my $what = 'router on ' . $node->pg_version->major . ', partition on ' . $other->pg_version->major;
	diag($what);
	my $router = Router->new($node, $other, $node);
	my $client = $router->client;
	my $scope = $router->scope_on(0);
	is($client->value('SELECT payment_id::text || metadata || replayed FROM idem_pay($1, 5, metadata => $2, scope => $3)', 'k', '{"a": 1.50}', $scope) =~ s/^[0-9a-f-]{36}//r,
		'{"a": 1.50}false', "$what: a payment");
	is($client->value('SELECT r.replayed FROM idem_pay($1, 5, metadata => $2, scope => $3) r', 'k', '{"a": 1.50}', $scope), 1, 'again');
	is($client->error_of('SELECT r.key FROM idem_pay($1, 6, scope => $2) r', 'k', $scope), 'ID422', 'an error');
	is($client->value('SELECT rows FROM idem_execute($1, $2, ARRAY[4], scope => $3)', 'e', 'SELECT $1::int + 1 AS n', $scope), '[{"n":5}]', 'a command');
	is($client->value('SELECT outcome FROM idem_begin($1, $2::bytea, $3, scope => $4)', 'b', '\x01ff', '1 minute', $scope), 'new', 'a request');
	my @scopes = ($scope, $router->scope_on(1));
	is($client->value('SELECT string_agg(outcome, $1 ORDER BY item) FROM idem_pay_batch($2, $3, scopes => $4)', ' ', [ 'x', 'y', 'z' ], [ 1, 2, 3 ], [ @scopes, $scope ]),
		'new new new', 'a batch on both');
	is($client->value('SELECT r.status FROM idem_account_open($1, scope => $3) a, idem_account_open($2, scope => $3) b, idem_post($4, ARRAY[(a.name, 1.25), (b.name, -1.25)]::idem_entry[], scope => $3) r',
		'a', 'b', $scope, 'p'), 'succeeded', 'a posting');
	is($client->value('SELECT bool_and(ok) FROM idem_check()'), 1, 'and all is well');
	undef $client;
	$router->drop;
}

$_->stop for $new, $old;
done_testing();
