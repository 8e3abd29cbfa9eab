-- idem_statement: the entries of an account in their order, each with the balance after it. And the views of balances
-- and entries.
\pset format unaligned
\pset tuples_only on
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/include/error.psql'
\i :include
SET idempotency.scope = 'statement';
SET timezone = 'UTC';

SELECT name FROM idem_account_open('world', 'USD');
SELECT name FROM idem_account_open('alice', 'USD', 0);
SELECT name FROM idem_account_open('shop', 'USD');
SELECT name FROM idem_account_open('empty', 'JPY');
SELECT * FROM idem_statement('alice');

-- each kind of operation
SELECT status FROM idem_pay('in', 100, 'USD', 'world', 'alice', reference => 'wire 7');
SELECT status FROM idem_pay('lunch', 12.50, 'USD', 'alice', 'shop', reference => 'order 1');
SELECT payment_id AS hold FROM idem_authorize('room', 60, 'USD', 'alice', 'shop') \gset
SELECT status FROM idem_increase('longer', :'hold', 5);
SELECT status FROM idem_capture('minibar', :'hold', 10, false);
SELECT status FROM idem_capture('checkout', :'hold', 40);
SELECT status FROM idem_refund('complaint', :'hold', 15);
SELECT status FROM idem_cancel('complaint');
SELECT status FROM idem_pay('too much', 1000, 'USD', 'alice', 'shop', declines => 'record');
SELECT seq, operation, kind, key, reference, amount, hold, posted, held, available, settled FROM idem_statement('alice');
SELECT seq, kind, amount, hold, posted, held, available, settled FROM idem_statement('shop');
-- the last entry has the balance
SELECT (b.posted, b.held, b.available) = (s.posted, s.held, s.available) AS same
FROM unnest('{alice,shop,world}'::text[]) name, idem_balance(name) b,
	LATERAL (SELECT * FROM idem_statement(name) ORDER BY seq DESC LIMIT 1) s;
-- each entry belongs to an operation, and has its time
SELECT count(*), count(*) FILTER (WHERE o.from_seq = s.seq AND o.created_at = s.created_at AND o.kind = s.kind) AS match
FROM idem_statement('alice') s
JOIN idempotency.operation o ON o.scope = 'statement' AND (o.payment_id, o.seq) = (s.payment_id, s.operation);

-- a post has entries like any other operation
BEGIN;
SELECT status FROM idem_post('tips', ARRAY[('alice', -3), ('shop', 2), ('world', 1)]::idem_entry[], 'may 5');
SELECT seq, operation, kind, key, reference, amount, posted, settled FROM idem_statement('alice', after => 8);
SELECT seq, kind, amount FROM idem_statement('world', after => 1);
ROLLBACK;

-- pages
SELECT seq, posted, held, settled FROM idem_statement('alice', max => 3);
SELECT seq, posted, held, settled FROM idem_statement('alice', max => 3, after => 3);
SELECT seq, posted, held, settled FROM idem_statement('alice', max => 3, after => 6);
SELECT seq, posted, held, settled FROM idem_statement('alice', after => 8);
SELECT seq FROM idem_statement('alice', after => -1, max => 1);
SELECT seq FROM idem_statement('alice', after => 9223372036854775807);

-- a range of time: from "since" on, and before "until"
SELECT created_at AS third FROM idem_statement('alice', after => 2, max => 1) \gset
SELECT created_at AS fifth FROM idem_statement('alice', after => 4, max => 1) \gset
SELECT seq, posted, held FROM idem_statement('alice', :'third', :'fifth');
SELECT seq FROM idem_statement('alice', since => :'fifth');
SELECT seq FROM idem_statement('alice', until => :'third');
SELECT seq FROM idem_statement('alice', :'third', :'fifth', after => 3);
SELECT seq FROM idem_statement('alice', since => :'fifth', until => :'third');
SELECT seq FROM idem_statement('alice', since => :'fifth'::timestamptz + interval '1 microsecond', max => 1);
SELECT count(*) FROM idem_statement('alice', '-infinity', 'infinity');
SELECT count(*) FROM idem_statement('alice', since => 'infinity');
SELECT count(*) FROM idem_statement('alice', until => '-infinity');
-- the balance at a time is that of the last entry up to then
SELECT count(*), count(*) FILTER (WHERE (b.posted, b.held, b.available, b.entries) = (s.posted, s.held, s.available, s.seq)) AS same
FROM idem_statement('alice') s, idem_balance('alice', s.created_at) b;
SELECT * FROM idem_balance('alice', :'third'::timestamptz - interval '1 microsecond');
SELECT * FROM idem_balance('alice', '-infinity');
SELECT * FROM idem_balance('alice', 'infinity');

-- what a savepoint took back has no entry
BEGIN;
SAVEPOINT a;
SELECT from_seq FROM idem_pay('tx 2', 1, 'USD', 'alice', 'shop');
ROLLBACK TO a;
SELECT from_seq FROM idem_pay('tx 3', 2, 'USD', 'alice', 'shop');
-- own entries are there, but not those of the same statement
SELECT seq, amount, posted, settled FROM idem_statement('alice', after => 7);
SELECT p.from_seq, s.seq, s.settled FROM idem_pay('tx 4', 3, 'USD', 'alice', 'shop') p, idem_statement('alice', after => 8) s;
SELECT seq, amount, posted, settled FROM idem_statement('alice', after => 8);
COMMIT;

-- more entries than one page
DO $$
BEGIN
	FOR i IN 1..250 LOOP
		PERFORM idem_pay('many ' || i, i, 'USD', 'world', 'shop');
	END LOOP;
END $$;
SELECT count(*) FROM idem_statement('shop');
WITH RECURSIVE page AS (
	SELECT 0::bigint AS last, 0::bigint AS entries, 0::numeric AS posted
	UNION ALL
	SELECT s.last, page.entries + s.entries, s.posted
	FROM page, LATERAL (SELECT max(seq) AS last, count(*) AS entries, (array_agg(t.posted ORDER BY seq DESC))[1] AS posted
		FROM idem_statement('shop', after => page.last, max => 60) t) s
	WHERE s.entries > 0)
SELECT page.entries, page.posted, page.posted = b.posted AND page.entries = b.entries AS same
FROM page, idem_balance('shop') b ORDER BY page.entries DESC LIMIT 1;
SELECT bool_and(total = posted) FROM (SELECT posted, sum(amount) OVER (ORDER BY seq) AS total FROM idem_statement('shop', max => 1000)) s;

-- arguments
SELECT pg_temp.error($$SELECT * FROM idem_statement('alice', max => 0)$$);
SELECT pg_temp.error($$SELECT * FROM idem_statement('alice', max => 1001)$$);
SELECT pg_temp.error($$SELECT * FROM idem_statement('alice', max => NULL)$$);
SELECT pg_temp.error($$SELECT * FROM idem_statement(NULL)$$);
SELECT pg_temp.error($$SELECT * FROM idem_statement('')$$);
SELECT pg_temp.error($$SELECT * FROM idem_statement('nobody')$$);
SELECT pg_temp.error($$SELECT * FROM idem_statement('alice', scope => 'another')$$);
-- an operation that somebody deleted by hand
BEGIN;
DELETE FROM idempotency.operation WHERE scope = 'statement' AND key = 'lunch';
SELECT seq, kind, key, reference, amount, posted FROM idem_statement('alice', after => 1, max => 1);
ROLLBACK;

-- it takes the privileges of the account's owner
CREATE ROLE regress_idem_teller;
SELECT idem_grant('regress_idem_teller');
SET ROLE regress_idem_teller;
SELECT pg_temp.error($$SELECT * FROM idem_statement('alice')$$);
SELECT pg_temp.error($$SELECT * FROM idem_balance('alice')$$);
SELECT pg_temp.error($$SELECT * FROM idem_lookup_account('alice')$$);
SELECT name FROM idem_account_open('teller', 'USD');
SELECT count(*) FROM idem_statement('teller');
RESET ROLE;
SELECT has_function_privilege('regress_idem_teller', 'idempotency.entry_balance(bigint)', 'EXECUTE') AS "all balances";
SELECT seq FROM idem_statement('teller');
SELECT idem_revoke('regress_idem_teller');

-- an auditor reads all accounts
CREATE ROLE regress_idem_auditor;
SELECT idem_grant('regress_idem_auditor', 'auditor');
SET ROLE regress_idem_auditor;
SELECT name, currency, posted, held, available, entries, floor, ceiling, closed
FROM idempotency.account_balance WHERE scope = 'statement' ORDER BY name COLLATE "C";
SELECT account, seq, operation, kind, key, reference, currency, amount, hold
FROM idempotency.account_entry WHERE scope = 'statement' AND account = 'alice' ORDER BY seq;
SELECT currency, sum(amount) FROM idempotency.account_entry WHERE scope = 'statement' GROUP BY currency;
SELECT pg_temp.error($$SELECT * FROM idem_statement('alice')$$);
RESET ROLE;
SELECT idem_revoke('regress_idem_auditor');
SET ROLE regress_idem_auditor;
SELECT pg_temp.error($$SELECT * FROM idempotency.account_balance$$);
RESET ROLE;
SELECT idempotency.entry_balance(NULL);
SELECT idempotency.entry_balance(-1);
DROP ROLE regress_idem_teller, regress_idem_auditor;
