# Two keys with the same lock. The hash of a key has 64 bits, and a client that chooses the keys can make two hashes alike.
# Correctness must not depend on two keys having two locks.

use strict;
use warnings;
use integer;

use Config;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => 'keys are made for little-endian machines of 64 bits' if $Config{byteorder} ne '12345678';

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(extra => [ '--locale=C', '--encoding=UTF8' ]);
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION idempotency');

# Two keys of 24 bytes with the same lock in a table and a scope. The hash (see PostgreSQL's hash_bytes_extended()) takes 12
# bytes at a time, adds them to three numbers, and mixes these. So for any two first parts there are second parts that lead to
# the same sums. We look for a second part that is printable.
sub keys_with_one_lock
{
	my ($table, $scope) = @_;
	my $seed = $node->safe_psql('postgres', "SELECT hashtextextended('$scope', '$table'::regclass::oid::bigint)");
	my $start = sub {
		my ($part) = @_;
		my $init = (0x9e3779b9 + 24 + 3923095) & 0xffffffff;
		my @state = ($init, $init, $init);
		if ($seed != 0)
		{
			$state[0] = ($state[0] + (($seed >> 32) & 0xffffffff)) & 0xffffffff;
			$state[1] = ($state[1] + ($seed & 0xffffffff)) & 0xffffffff;
			@state = mix(@state);
		}
		return mix(add(\@state, [ unpack('V3', $part) ]));
	};

	my $one = 'first key---and its end.';
	my @sum = add([ $start->(substr($one, 0, 12)) ], [ unpack('V3', substr($one, 12)) ]);
	for my $i (0 .. 20_000_000)
	{
		my $part = sprintf('key %08x', $i);
		my @state = $start->($part);
		my $rest = pack('V3', map { ($sum[$_] - $state[$_]) & 0xffffffff } 0 .. 2);
		return ($one, $part . $rest) if $rest =~ /\A[ !#-&(-\[\]-~]+\z/;
	}
	die "no such key\n";
}

sub add
{
	my ($x, $y) = @_;
	return map { ($x->[$_] + $y->[$_]) & 0xffffffff } 0 .. 2;
}

sub rotate
{
	my ($x, $bits) = @_;
	return (($x << $bits) | ($x >> (32 - $bits))) & 0xffffffff;
}

sub mix
{
	my ($p, $q, $r) = @_;
	$p = ($p - $r) & 0xffffffff; $p ^= rotate($r, 4); $r = ($r + $q) & 0xffffffff;
	$q = ($q - $p) & 0xffffffff; $q ^= rotate($p, 6); $p = ($p + $r) & 0xffffffff;
	$r = ($r - $q) & 0xffffffff; $r ^= rotate($q, 8); $q = ($q + $p) & 0xffffffff;
	$p = ($p - $r) & 0xffffffff; $p ^= rotate($r, 16); $r = ($r + $q) & 0xffffffff;
	$q = ($q - $p) & 0xffffffff; $q ^= rotate($p, 19); $p = ($p + $r) & 0xffffffff;
	$r = ($r - $q) & 0xffffffff; $r ^= rotate($q, 4); $q = ($q + $p) & 0xffffffff;
	return ($p, $q, $r);
}

my ($one, $two) = keys_with_one_lock('idempotency.request_0', '');
note("'$one' and '$two'");
isnt($one, $two, 'two keys');
is($node->safe_psql('postgres', qq(
	SELECT hashtextextended('$one', seed) = hashtextextended('$two', seed)
	FROM hashtextextended('', 'idempotency.request_0'::regclass::oid::bigint) AS seed)), 't', 'with one hash');

my $locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'";

# In one transaction
is($node->safe_psql('postgres', qq(
	BEGIN;
	SELECT outcome FROM idem_begin('$one');
	SELECT outcome FROM idem_begin('$two');
	SELECT idem_complete('$one', '1');
	$locks;
	SELECT idem_complete('$two', '2');
	$locks;
	COMMIT;
	SELECT outcome, response FROM idem_begin('$one');
	SELECT outcome, response FROM idem_begin('$two'))),
	"new\nnew\n\n1\n\n0\ncompleted|1\ncompleted|2", 'a request is begun while one with the same lock has not ended');

my ($a, $b) = keys_with_one_lock('idempotency.operation', '');
is($node->safe_psql('postgres', qq(
	SELECT key, outcome FROM idem_pay_batch('{"$a","$b"}', '{1,2}');
	SELECT key, outcome FROM idem_pay_batch('{"$b","$a"}', '{2,1}'))),
	"$a|new\n$b|new\n$b|replayed\n$a|replayed", 'a batch has both');

# One key inside the work on the other: while the batch holds the lock of a key, a trigger pays with the other key.
$node->safe_psql('postgres', q(
	DELETE FROM idempotency.operation;
	CREATE TABLE paid (key text PRIMARY KEY, other text);
	CREATE FUNCTION pay_other() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM idem_pay(p.other, 5) FROM paid p WHERE p.key = NEW.key;
		RETURN NULL;
	END $$;
	CREATE TRIGGER pay_other AFTER INSERT ON idempotency.operation FOR EACH ROW EXECUTE FUNCTION pay_other()));
is($node->safe_psql('postgres', qq(
	INSERT INTO paid VALUES ('$a', '$b');
	SELECT key, outcome, message FROM idem_pay_batch('{"$a"}', '{1}');
	SELECT key, amount FROM idempotency.operation ORDER BY amount)),
	"$a|new|\n$a|1.00\n$b|5.00", 'a trigger pays with the other key');

# A key whose use was rolled back to a savepoint is no longer at work.
($one, $two) = keys_with_one_lock('idempotency.request_0', 'back');
is($node->safe_psql('postgres', qq(
	SET idempotency.scope = 'back';
	BEGIN;
	SAVEPOINT s;
	SELECT outcome FROM idem_begin('$one');
	ROLLBACK TO s;
	SELECT outcome FROM idem_begin('$two');
	SAVEPOINT s;
	SELECT idem_complete('$two', '2');
	SELECT outcome FROM idem_begin('$one');
	ROLLBACK TO s;
	SELECT outcome FROM idem_begin('$one');
	SELECT idem_complete('$one', '1');
	SELECT idem_complete('$two', '2');
	$locks; -- kept: the request was begun in another subtransaction than it ended in
	COMMIT;
	$locks;
	SELECT response FROM idem_begin('$one');
	SELECT response FROM idem_begin('$two'))), "new\nnew\n\nnew\nnew\n\n\n1\n0\n1\n2", 'savepoints');

# The command of idem_execute() uses the other key.
($one, $two) = keys_with_one_lock('idempotency.request_0', 'command');
is($node->safe_psql('postgres', qq(
	SET idempotency.scope = 'command';
	SELECT rows FROM idem_execute('$one', 'SELECT rows, replayed FROM idem_execute(\$1, ''SELECT 1 AS x'')', '["$two"]'))),
	'[{"rows":[{"x":1}],"replayed":false}]', 'a command uses the other key');

done_testing();
