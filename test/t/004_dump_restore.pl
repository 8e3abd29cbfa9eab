# pg_dump and restore. Does the new database replay every key of the old one, with currencies and rights? This must
# work where a role is missing, and for a superuser or any other role that installs and restores.
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
my $dir = PostgreSQL::Test::Utils::tempdir;

# A database with operations of all kinds, made by an application's role.
$node->safe_psql('postgres', <<'SQL');
CREATE ROLE app LOGIN;
CREATE ROLE clerk LOGIN;
CREATE ROLE stranger LOGIN;
CREATE DATABASE old;
SQL
$node->safe_psql('old', <<'SQL');
CREATE SCHEMA money;
CREATE EXTENSION idempotency SCHEMA money;
SELECT money.idem_grant('app');
SELECT money.idem_grant('clerk');
SELECT money.idem_grant('stranger');
SELECT money.idem_revoke('stranger');
INSERT INTO idempotency.currency VALUES ('COIN', 1), ('JPY', 2);
SQL

my $payment = q((SELECT payment_id FROM idem_lookup('%s')));
my @requests = (
	q(idem_pay('plain', 50)),
	q(idem_pay('with all', 12.30, 'EUR', reference => 'order "1", \\ ' || chr(10), metadata => '{"b": 1.50, "a": [null, "x"]}')),
	q(idem_pay('plain', 60, scope => 'tenant')),
	q(idem_pay('user currency', 1.5, 'COIN')),
	q(idem_pay('overridden currency', 100.25, 'JPY')),
	q(idem_pay('large', 123456789012.34)),
	q(idem_authorize('hold', 100, 'EUR', expires_in => '3 days 0.000001 seconds')),
	sprintf("idem_capture('part', $payment, 30, false, 'order 7', '{\"n\": 1.0}')", 'hold'),
	sprintf("idem_capture('rest', $payment, final => true)", 'hold'),
	sprintf("idem_refund('refund', $payment, 99.99)", 'hold'),
	sprintf("idem_refund('declined', $payment, 0.02)", 'hold'),
	q(idem_authorize('to expire', 40, expires_in => '1 microsecond')),
	q(idem_authorize('to be voided', 5)),
	sprintf("idem_void('void', $payment)", 'to be voided'),
	q(idem_cancel('user currency')),
	q(idem_pay('into the wallet', 80, 'USD', 'world', 'wallet')),
	q(idem_pay('out of the wallet', 30, 'USD', 'wallet', 'world')),
	q(idem_authorize('held in the wallet', 20, 'USD', 'wallet', 'world')),
	q(idem_pay('more than the wallet has', 31, 'USD', 'wallet', 'world')),
	q(idem_cancel('never used')));
my $old = Client->new($node, dbname => 'old', user => 'app', set => { search_path => 'money', 'idempotency.declines' => 'record' });
my $opened = q(SELECT idem_account_open('world', 'USD')::text || idem_account_open('wallet', 'USD', 0, 1000, '{"a": 1.0}')::text);
my $balances = q(SELECT string_agg(concat_ws(' ', name, posted, held, available, entries), ', ')
	FROM unnest(ARRAY['wallet', 'world']) name, idem_balance(name));
my $accounts = $old->value($opened);
my @receipts = map { [ Client::split_receipt($old->value("SELECT r::text FROM $_ r")) ] } @requests;
is(scalar(grep { $_->[1] eq 'f' } @receipts), @requests, 'all are new in the old database');
is($old->value($balances), 'wallet 50.00 20.00 30.00 3, world -50.00 0.00 -50.00 2', 'money was moved and held');
$old->close;

# A role whose name is not valid in this database's encoding: it was made in a database of another encoding. A row
# with it could be stored and dumped, but never restored.
$node->safe_psql('postgres', q(CREATE DATABASE bytes ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0));
$node->safe_psql('bytes', q(DO $$ BEGIN EXECUTE E'CREATE ROLE "caf\\351" LOGIN SUPERUSER'; END $$));
my $misnamed = Client->new($node, dbname => 'old', user => "caf\351", set => { search_path => 'money' });
is($misnamed->error_of_pay('misnamed', 1, 'USD'), '22021', 'a role whose name is not valid in the encoding pays nothing');
$misnamed->close;

# A setting that is not valid in this database's encoding. Only calls that need it raise an error.
$node->safe_psql('bytes', q(CREATE ROLE missetter LOGIN SUPERUSER; DO $$ BEGIN EXECUTE E'ALTER ROLE missetter SET idempotency.currency = "\\351"'; END $$));
my $missetter = Client->new($node, dbname => 'old', user => 'missetter', set => { search_path => 'money' });
is($missetter->error_of(q(SELECT idem_pay('misset', 1))), '22021', 'a currency that is not valid in the encoding is refused');
is($missetter->error_of(q(SELECT idem_pay_batch('{misset}', '{1}'))), '22021', 'a batch refuses it, too');
$node->safe_psql('old', q(BEGIN; SELECT money.idem_pay_batch('{misset}', '{1}', '{USD}'); ROLLBACK), extra_params => [ '-U', 'missetter' ]);
$missetter->close;

dump_and_restore('plain', $node, 'plain');
dump_and_restore('custom', $node, 'custom');

for my $dbname ('plain', 'custom')
{
	my $app = Client->new($node, dbname => $dbname, user => 'app', set => { search_path => 'money' });
	check_replays($app, "$dbname: the role that paid");

	# Rights: of idem_grant, of idem_revoke, of the install script
	is($node->safe_psql($dbname, 'SELECT money.idem_expire()'), 1, "$dbname: a hold that has expired is known");
	is($app->value(sprintf("SELECT status FROM idem_payment($payment)", 'to expire')), 'expired', "$dbname: and is released");
	is($app->error_of(sprintf("SELECT idem_refund('too much', $payment, 0.02)", 'hold')), 'ID412',
		"$dbname: no more can be refunded than before");
	is($app->value(sprintf("SELECT status FROM idem_refund('the last', $payment, 0.01)", 'hold')), 'refunded',
		"$dbname: and as much");
	is($app->value($opened), $accounts, "$dbname: the accounts are known");
	is($app->value($balances), 'wallet 50.00 20.00 30.00 3, world -50.00 0.00 -50.00 2', "$dbname: with their balances");
	is($app->error_of(q(SELECT idem_pay('too much money', 30.01, 'USD', 'wallet', 'world', declines => 'raise'))), 'ID402', "$dbname: and limits");
	is($app->value(q(SELECT from_seq FROM idem_pay('all there is', 30, 'USD', 'wallet', 'world'))), 4, "$dbname: they go on from there");
	is($app->value($balances), 'wallet 20.00 20.00 0.00 4, world -20.00 0.00 -20.00 3', "$dbname: and add up");
	my ($receipt, $replayed) = $app->pay('new', 2.5, 'COIN');
	is($replayed, 'f', "$dbname: a new key works, in a currency of the user's own");
	is($app->error_of_pay('new too', 2.55, 'COIN'), '22003', "$dbname: which has its number of decimals");
	is($app->error_of('SELECT FROM idempotency.operation'), '42501', "$dbname: the role has no right on the table");

	my $clerk = Client->new($node, dbname => $dbname, user => 'clerk', set => { search_path => 'money' });
	is($clerk->error_of_pay('plain', 50), 'ID403', "$dbname: another role with EXECUTE may not see the key");
	is(($clerk->pay('of the clerk', 1))[1], 'f', "$dbname: but it may pay");

	my $stranger = Client->new($node, dbname => $dbname, user => 'stranger', set => { search_path => 'money' });
	is($stranger->error_of_pay('plain', 50), '42501', "$dbname: a role whose rights were revoked still has none");
	$_->close for $app, $clerk, $stranger;
}

# A dump of the restored database says the same as a dump of the old one.
dump_and_restore('again', $node, 'plain', from => 'plain');
is($node->safe_psql('again', 'SELECT count(*) FROM idempotency.operation'), @requests + 5, 'a restored database can be dumped and restored');
is($node->safe_psql('again', 'SELECT count(*) FROM money.idem_check() WHERE NOT ok'), 0, 'idem_check finds nothing wrong in it');

# A cluster that has none of the roles. A restore there leaves out owners and grants.
my $other = PostgreSQL::Test::Cluster->new('other');
$other->init;
$other->start;
dump_and_restore('moved', $other, 'custom', options => [ '--no-owner', '--no-acl' ]);

my $superuser = Client->new($other, dbname => 'moved', set => { search_path => 'money' });
is($superuser->value(q(SELECT count(*) FROM pg_roles WHERE rolname = 'app')), 0, 'the role that paid is missing here');
check_replays($superuser, 'without the role, a superuser');

$superuser->do('CREATE ROLE clerk LOGIN');
$superuser->do(q(SELECT idem_grant('clerk')));
my $clerk = Client->new($other, dbname => 'moved', user => 'clerk', set => { search_path => 'money' });
is($clerk->error_of_pay('plain', 50), 'ID403', 'without the role, nobody else');
is($clerk->error_of(q(SELECT idem_lookup('plain'))), 'ID403', 'not by idem_lookup either');

$superuser->do('CREATE ROLE app LOGIN');
$superuser->do(q(SELECT idem_grant('app')));
check_replays(Client->new($other, dbname => 'moved', user => 'app', set => { search_path => 'money' }),
	'once it is there, the role that paid');
is($clerk->error_of_pay('plain', 50), 'ID403', 'and still nobody else');
$other->stop;

# A role without superuser rights installs, dumps and restores.
$node->safe_psql('postgres', <<'SQL');
CREATE ROLE installer LOGIN;
CREATE DATABASE installed;
GRANT CREATE ON DATABASE installed TO installer;
SQL
my $installer = Client->new($node, dbname => 'installed', user => 'installer');
is($installer->value('SELECT usesuper FROM pg_user WHERE usename = current_user'), 0, 'the installer is no superuser');
$installer->do('CREATE SCHEMA money');
$installer->do('CREATE EXTENSION idempotency SCHEMA money');
$installer->do(q(SELECT money.idem_grant('app')));
$installer->do(q(INSERT INTO idempotency.currency VALUES ('COIN', 1), ('JPY', 2)));
my $app = Client->new($node, dbname => 'installed', user => 'app',
	set => { search_path => 'money', 'idempotency.declines' => 'record' });
$app->do($opened);
@receipts = map { [ Client::split_receipt($app->value("SELECT r::text FROM $_ r")) ] } @requests;

for my $format ('plain', 'custom')
{
	my $dbname = "reinstalled_$format";
	dump_and_restore($dbname, $node, $format, from => 'installed', user => 'installer');
	is($node->safe_psql($dbname, q(SELECT extowner::regrole FROM pg_extension WHERE extname = 'idempotency')),
		'installer', "$dbname: the extension is the installer's");
	my $client = Client->new($node, dbname => $dbname, user => 'app', set => { search_path => 'money' });
	check_replays($client, "$dbname: the role that paid");
	is(($client->pay('new', 1))[1], 'f', "$dbname: new keys work");
	$client->close;
	my $new_installer = Client->new($node, dbname => $dbname, user => 'installer');
	is($new_installer->error_of('UPDATE idempotency.operation SET amount = 0'), '42501',
		"$dbname: not even the installer can change a payment");
	$new_installer->close;
}

# Rights. A superuser and the owner of the database, who is no superuser, install and restore, in all combinations.
# The new database is dumped and restored again, by each of them.
$node->safe_psql('postgres', <<'SQL');
CREATE ROLE owner LOGIN;
CREATE ROLE cron LOGIN;
CREATE ROLE auditor LOGIN;
CREATE ROLE newcomer LOGIN;
SQL
my $super = $node->safe_psql('postgres', 'SELECT current_user');
for my $installer ($super, 'owner')
{
	my $source = "by_$installer";
	install($source, $installer);
	give_rights($source, $installer);
	pay_first($source);
	for my $restorer ($super, 'owner')
	{
		for my $format ('plain', 'custom')
		{
			my $dbname = "${source}_${restorer}_$format";
			dump_and_restore($dbname, $node, $format, from => $source, user => $restorer, owner => 'owner');
			check_rights($dbname, 'owner');
			for my $next ($format eq 'plain' ? ($super, 'owner') : ())
			{
				dump_and_restore("${dbname}_$next", $node, 'custom', from => $dbname, user => $next, owner => 'owner');
				check_rights("${dbname}_$next", 'owner');
			}
		}
	}
}

# The new database may have another owner. That owner need not do anything about the rights that idem_grant gave.
dump_and_restore('of_super', $node, 'custom', from => 'by_owner', user => $super);
check_rights('of_super');

# A restore by a role without superuser rights makes that role the giver, until it calls idem_grant again.
give_rights('by_owner_owner_plain', 'owner');
dump_and_restore('of_super_again', $node, 'plain', from => 'by_owner_owner_plain', user => $super);
check_rights('of_super_again');

# The role that installed the extension was dropped. Before PostgreSQL 17, pg_dump still goes by what the install
# script gave that role, until idem_grant is called again.
$node->safe_psql('postgres', 'CREATE ROLE leaver LOGIN; CREATE DATABASE left_behind OWNER owner; GRANT CREATE ON DATABASE left_behind TO leaver');
$node->safe_psql('left_behind', <<'SQL', extra_params => [ '-U', 'leaver' ]);
CREATE SCHEMA money;
CREATE EXTENSION idempotency SCHEMA money;
SQL
$node->safe_psql('left_behind', 'REASSIGN OWNED BY leaver TO owner; DROP OWNED BY leaver; DROP ROLE leaver');
give_rights('left_behind', 'owner');
pay_first('left_behind');
dump_and_restore('without_leaver', $node, 'custom', from => 'left_behind', user => $super, owner => 'owner');
check_rights('without_leaver', 'owner');

# Rights that were granted by hand are restored, too.
for my $giver ($super, 'owner')
{
	my $source = "by_hand_of_$giver";
	install($source, $giver);
	$node->safe_psql($source, <<'SQL', extra_params => [ '-U', $giver ]);
GRANT USAGE ON SCHEMA money, idempotency TO newcomer;
GRANT EXECUTE ON FUNCTION money.idem_purge() TO newcomer;
GRANT SELECT ON idempotency.currency TO newcomer;
SQL
	for my $restorer ($super, 'owner')
	{
		my $dbname = "${source}_$restorer";
		dump_and_restore($dbname, $node, 'custom', from => $source, user => $restorer, owner => 'owner');
		check_rights_by_hand($dbname);
		for my $next ($super, 'owner')
		{
			dump_and_restore("${dbname}_$next", $node, 'plain', from => $dbname, user => $next, owner => 'owner');
			check_rights_by_hand("${dbname}_$next");
		}
	}
}

$node->stop;
done_testing();

# Dumps a database of $node, as text or in pg_dump's own format, into a new one of $target.
sub dump_and_restore
{
	my ($dbname, $target, $format, %options) = @_;
	my $user = $options{user} // $node->safe_psql('postgres', 'SELECT current_user');
	my $file = "$dir/$dbname";
	my @extra = @{ $options{options} // [] };

	$node->command_ok(
		[ 'pg_dump', '-U', $user, '-F', $format, '-f', $file, $options{from} // 'old' ],
		"$dbname: dump");
	$target->safe_psql('postgres', "CREATE DATABASE $dbname TEMPLATE template0" . ($options{owner} ? " OWNER $options{owner}" : ''));
	$target->safe_psql('postgres', "GRANT CREATE ON DATABASE $dbname TO $user") if $options{user} && !$options{owner};
	$target->command_ok(
		$format eq 'plain'
		? [ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-U', $user, '-f', $file, $dbname ]
		: [ 'pg_restore', '--exit-on-error', @extra, '-U', $user, '-d', $dbname, $file ],
		"$dbname: restore, without any error");
	return;
}

# Sends all requests again.
sub check_replays
{
	my ($client, $what) = @_;
	my @got = map { [ Client::split_receipt($client->value("SELECT r::text FROM $_ r")) ] } @requests;
	is_deeply(\@got, [ map { [ $_->[0], 't' ] } @receipts ], "$what gets the same receipts, replayed");
	is_deeply(
		[ Client::split_receipt($client->value('SELECT idem_payment($1)::text', Client::payment_id($receipts[0][0]))) ],
		[ $receipts[0][0], 't' ], "$what finds the payment");
	is($client->value(sprintf("SELECT array_agg(status ORDER BY seq)::text FROM idem_history($payment)", 'hold')),
		'{authorized,partially_captured,succeeded,partially_refunded,declined}', "$what finds its history");
	return;
}

# A database of the role owner, in which a role installs the extension.
sub install
{
	my ($dbname, $installer) = @_;
	$node->safe_psql('postgres', "CREATE DATABASE $dbname OWNER owner");
	$node->safe_psql($dbname, <<'SQL', extra_params => [ '-U', $installer ]);
CREATE SCHEMA money AUTHORIZATION owner;
CREATE EXTENSION idempotency SCHEMA money;
SQL
	return;
}

sub pay_first
{
	my ($dbname) = @_;
	my $client = Client->new($node, dbname => $dbname, user => 'app', set => { search_path => 'money' });
	$client->pay('paid', 50);
	$client->close;
	return;
}

sub give_rights
{
	my ($dbname, $giver) = @_;
	$node->safe_psql($dbname, <<'SQL', extra_params => [ '-U', $giver ]);
SELECT money.idem_grant('app');
SELECT money.idem_grant('cron', 'maintenance');
SELECT money.idem_grant('auditor', 'auditor');
SQL
	return;
}

# The roles have the rights that idem_grant gave, and no others. So has the owner of the database, if it is to have
# some.
sub check_rights
{
	my ($dbname, $owner) = @_;
	my %client = map { $_ => Client->new($node, dbname => $dbname, user => $_) } qw(app cron auditor stranger owner newcomer);
	my %call = (
		pay => "SELECT money.idem_pay('paid', 50)",
		expire => 'SELECT money.idem_expire()',
		purge => 'SELECT money.idem_purge()',
		check => 'SELECT money.idem_check()',
		operation => 'SELECT count(*) FROM idempotency.operation',
		payment => 'SELECT count(*) FROM idempotency.payment',
		currency => 'SELECT count(*) FROM idempotency.currency',
		add => q(INSERT INTO idempotency.currency VALUES ('POINTS', 0)),
		delete => 'DELETE FROM idempotency.operation',
		grant => q(SELECT money.idem_grant('stranger')));
	my $able = sub {
		my ($role) = @_;
		return join ' ', grep {
			$client{$role}->do('BEGIN');
			my $state = $client{$role}->error_of($call{$_});
			$client{$role}->do('ROLLBACK');
			$state ne '42501';
		} sort keys %call;
	};

	$client{app}->do('SET search_path = money');
	is(($client{app}->pay('paid', 50))[1], 't', "$dbname: the application gets its receipt again");
	is(($client{app}->pay("new in $dbname", 1))[1], 'f', "$dbname: and pays");
	is($able->('app'), 'pay', "$dbname: no more than that");
	is($able->('cron'), 'expire purge', "$dbname: the role for maintenance");
	is($able->('auditor'), 'check operation payment', "$dbname: the auditor");
	is($able->('stranger'), '', "$dbname: a stranger");
	is($able->('owner'), $owner ? 'add check currency expire grant operation pay payment purge' : '',
		"$dbname: the old owner");
	if ($owner)
	{
		$client{owner}->value(q(SELECT money.idem_grant('newcomer')));
		is($able->('newcomer'), 'pay', "$dbname: the owner gives rights");
		$client{owner}->value(q(SELECT money.idem_revoke('newcomer')));
		is($able->('newcomer'), '', "$dbname: and takes them back");
	}
	$_->close for values %client;
	return;
}

sub check_rights_by_hand
{
	my ($dbname) = @_;
	my $newcomer = Client->new($node, dbname => $dbname, user => 'newcomer');
	is($newcomer->error_of('SELECT money.idem_purge()'), 'none', "$dbname: a function granted by hand");
	is($newcomer->error_of('SELECT count(*) FROM idempotency.currency'), 'none', "$dbname: a table granted by hand");
	is($newcomer->error_of('SELECT count(*) FROM idempotency.operation'), '42501', "$dbname: not the others");
	$newcomer->close;
	return;
}
