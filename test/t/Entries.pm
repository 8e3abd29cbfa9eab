# What must be true of the accounts of some scopes and of their entries, whatever clients did. Tests 010 and 030 check it
# after they have played; faults() holds in every snapshot.
#
# The order of commit is that of the commits' times. So the server needs track_commit_timestamp = on.
package Entries;

use strict;
use warnings;

# What is wrong in the balances, as text. $scopes: an array. $ago: how many seconds before now the balance of a time is
# asked for.
sub faults
{
	my ($client, $scopes, $ago) = @_;
	my $rows = $client->{dbh}->selectall_arrayref(<<'SQL', { Slice => {} }, $scopes, $ago);
WITH t AS (SELECT clock_timestamp() - make_interval(secs => $2) AS t),
sum AS (
	SELECT e.account, sum(e.amount) AS posted, coalesce(sum(e.held), 0) AS held, count(*) AS n,
		coalesce(sum(e.amount) FILTER (WHERE e.created_at <= t.t), 0) AS posted_then,
		coalesce(sum(e.held) FILTER (WHERE e.created_at <= t.t), 0) AS held_then,
		count(*) FILTER (WHERE e.created_at <= t.t) AS n_then
	FROM idempotency.entry e, t GROUP BY e.account),
account AS (
	SELECT a.*, coalesce(s.posted, 0) AS s_posted, coalesce(s.held, 0) AS s_held, coalesce(s.n, 0) AS s_n,
		coalesce(s.posted_then, 0) AS s_posted_then, coalesce(s.held_then, 0) AS s_held_then, coalesce(s.n_then, 0) AS s_n_then
	FROM idempotency.account a LEFT JOIN sum s ON s.account = a.id
	WHERE a.scope = ANY($1))
SELECT a.scope, a.name, 'now' AS what, b.posted, b.held, b.entries, a.s_posted, a.s_held, a.s_n, a.floor, a.ceiling
FROM account a, idem_balance(a.name, scope => a.scope) b
WHERE (b.posted, b.held, b.available, b.entries) IS DISTINCT FROM (a.s_posted, a.s_held, a.s_posted - a.s_held, a.s_n)
	OR b.available < a.floor OR b.posted > a.ceiling
UNION ALL
SELECT a.scope, a.name, 'at ' || t.t, b.posted, b.held, b.entries, a.s_posted_then, a.s_held_then, a.s_n_then, NULL, NULL
FROM account a, t, idem_balance(a.name, t.t, scope => a.scope) b
WHERE (b.posted, b.held, b.entries) IS DISTINCT FROM (a.s_posted_then, a.s_held_then, a.s_n_then)
UNION ALL
SELECT a.scope, a.currency, 'all together', sum(a.s_posted), NULL, NULL, NULL, NULL, NULL, NULL, NULL
FROM account a GROUP BY a.scope, a.currency HAVING sum(a.s_posted) <> 0
SQL
	return join("\n", map { line($_) } @$rows);
}

# Compares all entries with each other, and with the operations. What is wrong is reported by die. The limits of the
# accounts whose names match $flexible have changed; those of the others are what they were opened with.
#
# Leaves a temporary table e, with an entry a row.
sub check
{
	my ($client, $scopes, $flexible) = @_;
	my $faults = faults($client, $scopes, 1);
	die "$faults\n" if $faults;
	make_table($client, $scopes);
	my %broken = (
		'cum is the sum over the entries of the (sub)transaction' => 'SELECT * FROM e WHERE (cum, cum_held, cum_entries) IS DISTINCT FROM (x_posted, x_held, x_n)',
		'times are in the order of seq' => 'SELECT * FROM e WHERE created_at < before',
		'no floor is passed in the order of seq' => "SELECT * FROM e WHERE name !~ '$flexible' AND posted - all_held < floor",
		'no ceiling is passed in the order of seq' => "SELECT * FROM e WHERE name !~ '$flexible' AND posted > ceiling",
		'no floor is passed in the order of commit' => "SELECT * FROM e WHERE name !~ '$flexible' AND committed_posted - committed_held < floor",
		'no ceiling is passed in the order of commit' => "SELECT * FROM e WHERE name !~ '$flexible' AND committed_posted > ceiling",
		'numbers are not larger than they need be' => 'SELECT * FROM e WHERE reach < 0 OR lag < 0 OR seq < 1',
		'base is the sum of what had ended' => <<'SQL',
SELECT e.*, s.n AS s_n, s.posted AS s_posted, s.all_held AS s_held, o.*
FROM e
LEFT JOIN LATERAL (SELECT n, posted, all_held FROM e s WHERE s.account = e.account AND s.seq <= e.reach ORDER BY s.seq DESC LIMIT 1) s ON true,
LATERAL (SELECT coalesce(sum(cum), 0) AS o_cum, coalesce(sum(cum_held), 0) AS o_held, coalesce(sum(cum_entries), 0) AS o_n
	FROM e o WHERE o.account = e.account AND o.seq = ANY (e.open)) o
WHERE (e.base + o_cum, e.base_held + o_held, e.reach - e.gaps + o_n) IS DISTINCT FROM (coalesce(s.posted, 0), coalesce(s.all_held, 0), coalesce(s.n, 0))
	OR EXISTS (SELECT FROM unnest(e.open) k WHERE k > e.reach)
SQL
		'entries are those of the operations' => <<'SQL');
SELECT *
FROM (
	SELECT o.scope, o.payment_id, o.seq AS operation, l.*
	FROM (
		SELECT o.*, o.captured - o.refunded - coalesce(lag(o.captured - o.refunded) OVER p, 0) AS net,
			o.authorized - o.captured - o.released - coalesce(lag(o.authorized - o.captured - o.released) OVER p, 0) AS hold
		FROM idempotency.operation o
		WHERE o.scope IN (SELECT unnest(current_setting('test.scopes')::text[]))
		WINDOW p AS (PARTITION BY o.scope, o.payment_id ORDER BY o.seq)) o,
	LATERAL (
		SELECT o.from_account, o.from_seq, -o.net, o.hold WHERE o.from_account IS NOT NULL
		UNION ALL SELECT o.to_account, o.to_seq, o.net, 0 WHERE o.to_account IS NOT NULL
		UNION ALL SELECT p.account, p.seq, CASE WHEN o.sqlstate IS NULL THEN p.amount ELSE 0 END, 0
			FROM jsonb_to_recordset(o.legs) p(account text, seq bigint, amount numeric)) l(name, seq, amount, held)
	WHERE l.seq IS NOT NULL OR l.amount <> 0 OR l.held <> 0) o
FULL JOIN e ON e.scope = o.scope AND e.name = o.name AND e.seq = o.seq
WHERE (o.payment_id, o.operation, o.amount, o.held) IS DISTINCT FROM (e.payment_id, e.operation, e.amount, e.held)
SQL
	for my $what (sort keys %broken)
	{
		my $rows = $client->{dbh}->selectall_arrayref($broken{$what}, { Slice => {} });
		die "not so in " . @$rows . " cases: $what. One is\n" . line($rows->[0]) . "\n" if @$rows;
	}
	return;
}

# The temporary table e.
sub make_table
{
	my ($client, $scopes) = @_;
	$client->do('DROP TABLE IF EXISTS e');
	$client->row(q(SELECT set_config('test.scopes', $1::text[]::text, false)), $scopes);
	$client->do(<<'SQL');
CREATE TEMP TABLE e AS
SELECT a.scope, a.name, a.currency, a.floor, a.ceiling, e.account, e.seq, e.created_at, e.payment_id, e.operation, e.lag,
	e.seq - 1 - e.lag AS reach, coalesce(e.gaps, 0) AS gaps, e.amount, coalesce(e.held, 0) AS held, e.base, coalesce(e.base_held, 0) AS base_held,
	e.open, coalesce(e.cum_entries, 1) AS cum_entries, CASE WHEN e.cum_entries IS NULL THEN e.amount ELSE e.cum END AS cum,
	coalesce(CASE WHEN e.cum_entries IS NULL THEN e.held ELSE e.cum_held END, 0) AS cum_held,
	e.xmin::text AS xid,
	sum(e.amount) OVER w AS posted, sum(coalesce(e.held, 0)) OVER w AS all_held, count(*) OVER w AS n,
	sum(e.amount) OVER c AS committed_posted, sum(coalesce(e.held, 0)) OVER c AS committed_held,
	lag(e.created_at) OVER w AS before,
	lag(e.xmin::text) OVER w <> e.xmin::text AS after_others,
	sum(e.amount) OVER x AS x_posted, sum(coalesce(e.held, 0)) OVER x AS x_held, count(*) OVER x AS x_n
FROM idempotency.account a JOIN idempotency.entry e ON e.account = a.id
WHERE a.scope IN (SELECT unnest(current_setting('test.scopes')::text[]))
WINDOW w AS (PARTITION BY e.account ORDER BY e.seq), x AS (PARTITION BY e.account, e.xmin::text ORDER BY e.seq),
	c AS (PARTITION BY e.account ORDER BY pg_xact_commit_timestamp(e.xmin))
SQL
	$client->do('CREATE UNIQUE INDEX ON e (account, seq); ANALYZE e');
	return;
}

sub line
{
	my ($r) = @_;
	return join(' ', map { "$_=" . (ref $r->{$_} ? "{@{ $r->{$_} }}" : $r->{$_} // 'null') } sort keys %$r);
}

1;
