# A machine without a battery starts in 1970, and a clock may jump. Whatever the time, nothing crashes, no key is run twice, and
# no answer changes.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Client;
use Clock;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use constant YEAR_2000 => 946_684_800;

my $clock = Clock->new;
my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', "autovacuum = off\nrestart_after_crash = off\n");
$clock->set(300);
$clock->start($node);
$node->safe_psql('postgres', 'CREATE EXTENSION idempotency; CREATE TABLE ran (key text)');
my $c = Client->new($node);
is($c->value('SELECT extract(year FROM clock_timestamp())'), 1970, 'the server is in 1970');

# Calls idem_execute() with a key, and returns whether the command was run now.
sub execute
{
	my ($key) = @_;
	my ($replayed, $rows) = $c->row("SELECT replayed, rows FROM idem_execute('$key', 'INSERT INTO ran VALUES (''$key'') RETURNING key')");
	is($rows, qq([{"key":"$key"}]), "$key: its answer");
	return $replayed ? 'replayed' : 'run';
}

# A key that was run at one of these times is known at the following times. A clock that is set back makes no key expire, and
# neither does a clock that moves on by less than the retention.
my $day = 24 * 60 * 60;
my @times = (0, 300, 2 * $day / 3, YEAR_2000 - 5, YEAR_2000 + 5, YEAR_2000 + 2 * $day / 3, YEAR_2000 - 5, 300, YEAR_2000 + $day / 3);
my @known;
for my $i (0 .. $#times)
{
	# after each jump ahead by more than the retention, all earlier keys have expired
	@known = () if $i > 0 && $times[$i] > $times[ $i - 1 ] + $day && !grep { $_->{time} > $times[$i] - $day } @known;
	$clock->set($times[$i]);
	is(execute($_->{key}), 'replayed', "clock $i: $_->{key} is replayed") for grep { $_->{time} > $times[$i] - $day } @known;
	is(execute("key $i"), 'run', "clock $i: a new key is run");
	is(execute("key $i"), 'replayed', "clock $i: once");
	push @known, { key => "key $i", time => $times[$i] };
}
is($c->value('SELECT count(*) FROM (SELECT FROM ran GROUP BY key HAVING count(*) > 1) twice'), 0, 'no key was run twice');

# The tables take turns, also before 2000, and each is emptied when its rows have expired.
$c->do(q(SET idempotency.retention = '1s'));
for my $second (-4 .. 4)
{
	$clock->set(YEAR_2000 + $second);
	is(execute("second $second"), 'run', "a key at second $second around 2000");
	is(execute("second $second"), 'replayed', 'is known');
}
cmp_ok($c->value(q(SELECT count(*) FROM (SELECT 0 FROM idempotency.request_0 WHERE key ~ '^second' HAVING count(*) > 0
	UNION ALL SELECT 1 FROM idempotency.request_1 WHERE key ~ '^second' HAVING count(*) > 0
	UNION ALL SELECT 2 FROM idempotency.request_2 WHERE key ~ '^second' HAVING count(*) > 0) t)), '==', 3, 'all three tables are used');
$c->do('RESET idempotency.retention');
$clock->set(YEAR_2000 + 4 * $day);
is($c->value('SELECT idem_purge()'), 3, 'a purge finds that all have expired');
is($c->value('SELECT count(*) FROM idempotency.request'), 0, 'nothing is left');

# A lease, a payment and a hold of 1970
$clock->set(300);
is(join(' ', $c->row(q(SELECT outcome, attempt FROM idem_begin('lease', lease => '1 hour')))), 'new 1', 'a lease in 1970, after a purge in 2000');
is($c->error_of(q(SELECT idem_begin('lease', lease => '1 hour'))), 'ID409', 'is one');
$c->row(q(SELECT idem_complete('lease', '"done"', 1)));
is($c->value(q(SELECT response FROM idem_begin('lease', lease => '1 hour'))), '"done"', 'and ends as one');
my ($receipt) = $c->pay('payment', 5);
my ($hold) = $c->row(q(SELECT payment_id FROM idem_authorize('hold', 7, expires_in => '1 minute')));
$clock->set(600);
is($c->value('SELECT idem_expire()'), 1, 'a hold runs out in 1970');
$clock->off_by(0);
is_deeply([ $c->pay('payment', 5) ], [ $receipt, 't' ], 'today a payment of 1970 is replayed');
is($c->value('SELECT status FROM idem_payment($1)', $hold), 'expired', 'and the hold has expired');
is($c->value('SELECT count(*) FROM idem_check() WHERE NOT ok'), 0, 'idem_check finds nothing wrong');
unlike(slurp_file($node->logfile), qr/terminated by signal|PANIC|TRAP/, 'nothing has crashed');

$node->stop;
done_testing();
