-- Accounts: opening and changing them, moving money between them, their balances.
\pset format unaligned
\pset tuples_only on
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/include/error.psql'
\i :include
SET idempotency.scope = 'account';

-- An account is opened once, by its name.
SELECT name, currency, floor, ceiling, closed, metadata FROM idem_account_open('alice', 'USD', 0);
SELECT name, currency, floor, ceiling, closed, metadata FROM idem_account_open('alice', 'USD', 0.00);
SELECT name, currency, floor, ceiling FROM idem_account_open('shop', 'USD');
SELECT name, currency, floor, ceiling FROM idem_account_open('world', 'USD', '-Infinity', 'Infinity');
SELECT pg_temp.error($$SELECT idem_account_open('alice', 'EUR', 0)$$);
SELECT pg_temp.error($$SELECT idem_account_open('alice', 'USD', -5)$$);
SELECT pg_temp.error($$SELECT idem_account_open('bob', 'USD', 5)$$);
SELECT name, currency, floor, ceiling, closed, metadata, owner = current_user AS mine, created_at < now() AS before FROM idem_lookup_account('alice');
SELECT count(*) FROM idem_lookup_account('nobody');
SELECT count(*) FROM idem_lookup_account('alice', '');
SELECT pg_temp.error($$SELECT idem_lookup_account(NULL)$$);
SELECT * FROM idem_balance('alice');
SELECT name, ceiling FROM idem_account_open('yen', 'JPY', ceiling => 0);
SELECT * FROM idem_balance('yen');
SELECT pg_temp.error($$SELECT idem_pay('none', 1, 'USD', 'alice', 'shop')$$);

-- A payment moves money.
SELECT kind, status, from_account, to_account, from_seq, to_seq FROM idem_pay('in 1', 100, 'USD', 'world', 'alice');
SELECT * FROM idem_balance('alice');
SELECT kind, status, from_account, to_account, from_seq, to_seq FROM idem_pay('pay 1', 30, 'USD', 'alice', 'shop');
SELECT kind, status, from_account, to_account, from_seq, to_seq, replayed FROM idem_pay('pay 1', 30, 'USD', 'alice', 'shop');
SELECT * FROM idem_balance('alice');

-- The floor.
SELECT pg_temp.error($$SELECT idem_pay('pay 2', 70.01, 'USD', 'alice', 'shop')$$);
SELECT kind, status, amount, captured, sqlstate, message FROM idem_pay('pay 2', 70.01, 'USD', 'alice', 'shop', declines => 'record');
SELECT kind, status, amount, captured, sqlstate, message, replayed FROM idem_pay('pay 2', 70.01, 'USD', 'alice', 'shop');
SELECT left(pg_temp.error($$SELECT idem_payment((SELECT payment_id FROM idem_lookup('pay 2')))$$), 5);
SELECT status FROM idem_authorize('hold 0', 80, 'USD', 'alice', 'shop', '1 hour', declines => 'record');
SELECT status, replayed FROM idem_authorize('hold 0', 80, 'USD', 'alice', 'shop', '1 hour');
SELECT pg_temp.error($$SELECT idem_authorize('hold 0', 80, 'USD', 'alice', 'shop', '2 hours')$$);

-- A hold, a capture that releases the rest, a refund that did not arrive, and a cancellation.
SELECT status, from_seq, to_seq FROM idem_authorize('hold 1', 60, 'USD', 'alice', 'shop');
SELECT * FROM idem_balance('alice');
SELECT status, from_seq, to_seq FROM idem_capture('capture 1', (SELECT payment_id FROM idem_lookup('hold 1')), 45);
SELECT * FROM idem_balance('alice');
SELECT * FROM idem_balance('shop');
SELECT status, from_seq, to_seq FROM idem_refund('refund 1', (SELECT payment_id FROM idem_lookup('hold 1')), 5);
SELECT status, from_seq, to_seq FROM idem_cancel('refund 1');
SELECT status, from_seq, to_seq FROM idem_cancel('pay 1');
SELECT * FROM idem_balance('alice');
SELECT * FROM idem_balance('shop');
SELECT * FROM idem_balance('world');

-- Several payments in a transaction, one of them rolled back.
BEGIN;
SELECT status, from_seq, to_seq FROM idem_pay('tx 1', 1, 'USD', 'alice', 'shop');
SAVEPOINT a;
SELECT status, from_seq, to_seq FROM idem_pay('tx 2', 2, 'USD', 'alice', 'shop');
ROLLBACK TO a;
SELECT status, from_seq, to_seq FROM idem_pay('tx 3', 3, 'USD', 'alice', 'shop');
SELECT status, from_seq, to_seq FROM idem_pay('tx 4', 4, 'USD', 'alice', 'shop');
SELECT * FROM idem_balance('alice');
COMMIT;
SELECT * FROM idem_balance('alice');

-- Changes of an account.
SELECT name, floor, ceiling, closed FROM idem_account_change('alice', closed => true);
SELECT pg_temp.error($$SELECT idem_pay('pay 3', 1, 'USD', 'alice', 'shop')$$);
SELECT name, floor, ceiling, closed FROM idem_account_change('alice', closed => false, floor => 10);
SELECT pg_temp.error($$SELECT idem_pay('pay 3', 44, 'USD', 'alice', 'shop')$$);
SELECT pg_temp.error($$SELECT idem_account_change('alice', floor => 1000)$$);

-- The entry from which on a limit applies. A looser one applies since the one before it did.
CREATE FUNCTION pg_temp.since(floor numeric DEFAULT NULL, ceiling numeric DEFAULT NULL) RETURNS SETOF record LANGUAGE plpgsql AS $$
BEGIN
	PERFORM idem_account_change('alice', floor, ceiling);
	RETURN QUERY SELECT a.floor, a.floor_from, a.ceiling, a.ceiling_from, (SELECT max(seq) FROM idempotency.entry WHERE account = a.id)
		FROM idempotency.account a WHERE (scope, name) = ('account', 'alice');
END $$;
SELECT * FROM pg_temp.since() s (floor numeric, floor_from bigint, ceiling numeric, ceiling_from bigint, newest bigint);
SELECT * FROM pg_temp.since(ceiling => 900) s (floor numeric, floor_from bigint, ceiling numeric, ceiling_from bigint, newest bigint);
SELECT status, to_seq FROM idem_pay('limits 1', 1, 'USD', 'world', 'alice');
SELECT * FROM pg_temp.since(-5, 1000) s (floor numeric, floor_from bigint, ceiling numeric, ceiling_from bigint, newest bigint);
SELECT * FROM pg_temp.since(0, 900) s (floor numeric, floor_from bigint, ceiling numeric, ceiling_from bigint, newest bigint);
SELECT * FROM pg_temp.since('-Infinity', 'Infinity') s (floor numeric, floor_from bigint, ceiling numeric, ceiling_from bigint, newest bigint);
SELECT * FROM pg_temp.since(0) s (floor numeric, floor_from bigint, ceiling numeric, ceiling_from bigint, newest bigint);
SELECT bool_and(ok) FROM idem_check();

-- A session remembers where it found an account. The row may be gone, another account's may be there, or the table be shorter.
BEGIN;
SELECT count(idem_account_open('place-' || g, 'USD')) FROM generate_series(1, 300) g;
SELECT status FROM idem_pay('place 1', 1, 'USD', 'place-1', 'place-300');
TRUNCATE idempotency.account;
SELECT count(*) FROM (SELECT pg_temp.error($$SELECT idem_pay('place 2', 1, 'USD', 'place-1', 'place-300')$$) AS e) s WHERE e LIKE 'ID404%';
SELECT count(idem_account_open('place-' || g, 'USD')) FROM generate_series(300, 300) g;
SELECT count(*) FROM (SELECT pg_temp.error($$SELECT idem_pay('place 2', 1, 'USD', 'place-1', 'place-300')$$) AS e) s WHERE e LIKE 'ID404%';
SELECT count(idem_account_open('place-' || g, 'USD', floor => 0)) FROM generate_series(1, 1) g;
SELECT status FROM idem_pay('place 2', 2, 'USD', 'place-300', 'place-1');
SELECT floor FROM idem_account_change('place-1', floor => 1);
SELECT pg_temp.error($$SELECT idem_pay('place 3', 2, 'USD', 'place-1', 'place-300')$$);
SELECT name, posted, entries FROM unnest('{place-1,place-300}'::text[]) name, idem_balance(name) ORDER BY name;
ROLLBACK;

-- The numbers of a ceiling are for who may read the balance.
SELECT ceiling FROM idem_account_change('alice', ceiling => 1000);
CREATE ROLE regress_idem_payer;
SELECT idem_grant('regress_idem_payer');
SET ROLE regress_idem_payer;
SELECT name FROM idem_account_open('payer', 'USD');
SELECT pg_temp.error($$SELECT idem_pay('full', 5000, 'USD', 'payer', 'alice')$$);
SELECT outcome, sqlstate, message, detail FROM idem_pay_batch('{full}', '{5000}', '{USD}', from_accounts => '{payer}', to_accounts => '{alice}');
RESET ROLE;
SELECT pg_temp.error($$SELECT idem_pay('full', 5000, 'USD', 'payer', 'alice')$$);
SELECT idem_revoke('regress_idem_payer');
DROP OWNED BY regress_idem_payer;
DROP ROLE regress_idem_payer;
SELECT ceiling FROM idem_account_change('alice', ceiling => 'Infinity');

-- A balance at a time is what the entries up to then add up to.
SELECT count(*), count(*) FILTER (WHERE (b.posted, b.held, b.entries) = (e.posted, e.held, e.n)) AS same
FROM (SELECT created_at, sum(amount) OVER w AS posted, coalesce(sum(held) OVER w, 0) AS held, count(*) OVER w AS n FROM idempotency.entry
	WHERE account = (SELECT id FROM idempotency.account WHERE scope = 'account' AND name = 'alice')
	WINDOW w AS (ORDER BY created_at)) e,
	idem_balance('alice', e.created_at) b;
SELECT * FROM idem_balance('alice', '2020-01-01');

-- What the entries store.
SELECT seq, operation, lag, gaps, cum_entries, amount, base, held, base_held, open, cum, cum_held
FROM idempotency.entry WHERE account = (SELECT id FROM idempotency.account WHERE scope = 'account' AND name = 'alice') ORDER BY seq;
SELECT bool_and(ok) FROM idem_check();
