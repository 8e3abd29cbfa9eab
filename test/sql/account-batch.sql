-- idem_pay_batch with accounts: a decision for each item.
\pset format unaligned
\pset tuples_only on
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/include/error.psql'
\i :include
SET idempotency.scope = 'account-batch';
SET idempotency.currency = 'USD';
SELECT name FROM idem_account_open('world');
SELECT name FROM idem_account_open('shop', ceiling => 100);
SELECT a.name FROM generate_series(1, 3) g, idem_account_open('w-' || g, floor => 0) a;

-- Items see what those before them have changed, in the order of their keys.
SELECT item, key, outcome, sqlstate, detail FROM idem_pay_batch('{b-1,b-2,b-3,b-4,b-5}', '{10,8,3,2,1}', from_accounts => '{world,w-1,w-1,w-1,w-2}',
	to_accounts => '{w-1,shop,shop,w-2,shop}');
SELECT name, b.* FROM unnest('{world,shop,w-1,w-2,w-3}'::text[]) name, idem_balance(name) b;
SELECT key, from_seq, to_seq FROM unnest('{b-1,b-2,b-4,b-5}'::text[]) k, idem_lookup(k);

-- An item that was declined can be paid later, unless its decline was recorded.
SELECT item, outcome, status, sqlstate FROM idem_pay_batch('{c-1,c-2}', '{100,1000}', from_accounts => '{w-3,world}', to_accounts => '{shop,shop}', declines => 'record');
SELECT item, outcome, sqlstate, message FROM idem_pay_batch('{c-1,c-2,b-3}', '{100,1000,3}', from_accounts => '{w-3,world,world}', to_accounts => '{shop,shop,w-1}');
SELECT status, captured, from_seq, sqlstate FROM unnest('{c-1,c-2}'::text[]) k, idem_lookup(k);

-- Items of the same key: the first that is allowed counts.
SELECT item, outcome, sqlstate FROM idem_pay_batch('{d,d,d}', '{50,50,1}', from_accounts => '{w-3,world,w-3}', to_accounts => '{shop,w-3,shop}');

-- Wrong arguments.
SELECT item, outcome, sqlstate, message FROM idem_pay_batch('{e-1,e-2,e-3,e-4,e-5,e-6}', '{1,1,1,1,1,1}', '{NULL,NULL,NULL,NULL,EUR,NULL}',
	from_accounts => '{world,NULL,world,nobody,world,""}', to_accounts => '{NULL,shop,world,shop,shop,shop}');
SELECT pg_temp.error($$SELECT idem_pay_batch('{a}', '{1}', from_accounts => '{world,shop}', to_accounts => '{shop}')$$);
SELECT pg_temp.error($$SELECT idem_pay_batch('{a}', '{1}', declines => 'no')$$);

-- The same refusal as of idem_pay: what is not a matter of limits comes first.
BEGIN;
SELECT closed FROM idem_account_change('w-2', closed => true);
SELECT item, outcome, sqlstate, message FROM idem_pay_batch('{g-1,g-2}', '{1000,1000}', from_accounts => '{w-1,w-1}', to_accounts => '{nobody,w-2}');
SELECT split_part(pg_temp.error(format('SELECT idem_pay(%L, 1000, from_account => ''w-1'', to_account => %L)', key, account)), E'\n', 1)
FROM (VALUES ('g-1', 'nobody'), ('g-2', 'w-2')) v (key, account);
ROLLBACK;
-- A portion that ends early is rolled back, as a CHECK refuses an item, and its items are paid one by one. They are new.
BEGIN;
ALTER TABLE idempotency.operation ADD CONSTRAINT no_13 CHECK (amount <> 13);
WITH item AS (
	SELECT 1 AS n, 'i-1' AS key, 13 AS amount, 'world' AS giver, 'w-1' AS taker
	UNION ALL SELECT 1 + g, 'i-2', 5, 'no ' || g, 'nobody ' || g FROM generate_series(1, 200) g
	UNION ALL VALUES (300, 'i-2', 5, 'world', 'w-1'), (301, 'i-3', 7, 'world', 'w-1'))
SELECT b.item, b.key, b.outcome, b.status, b.sqlstate
FROM (SELECT array_agg(key ORDER BY n) AS keys, array_agg(amount::numeric ORDER BY n) AS amounts, array_agg(giver ORDER BY n) AS givers,
	array_agg(taker ORDER BY n) AS takers FROM item) i, idem_pay_batch(i.keys, i.amounts, from_accounts => i.givers, to_accounts => i.takers) b
WHERE b.sqlstate IS DISTINCT FROM 'ID404';
ROLLBACK;
-- Above READ COMMITTED, a transaction can pay more often than SCAN_MAX_NEWER: its own entries are not newer than its snapshot.
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT status FROM idem_pay('many', 1000, from_account => 'world', to_account => 'w-3');
SELECT outcome, sqlstate, count(*) FROM idem_pay_batch((SELECT array_agg('many-' || g) FROM generate_series(1, 10500) g), array_fill(0.01, ARRAY[10500]),
	from_accounts => array_fill('w-3'::text, ARRAY[10500]), to_accounts => array_fill('world'::text, ARRAY[10500])) GROUP BY 1, 2;
ROLLBACK;
-- Nearly all accounts are different: each item locks its own.
BEGIN;
SELECT count(idem_account_open('d-' || g, floor => 0, ceiling => 50)) FROM generate_series(1, 60) g;
SELECT outcome, status, sqlstate, count(*) FROM idem_pay_batch((SELECT array_agg('in-' || g) FROM generate_series(1, 60) g), array_fill(10, ARRAY[60]),
	from_accounts => array_fill('world'::text, ARRAY[60]), to_accounts => (SELECT array_agg('d-' || g) FROM generate_series(1, 60) g)) GROUP BY 1, 2, 3;
SELECT outcome, status, sqlstate, count(*), min(detail) FROM idem_pay_batch((SELECT array_agg('over-' || g) FROM generate_series(1, 32) g),
	(SELECT array_agg(CASE WHEN g % 3 = 0 THEN 10.01 ELSE 9 END) FROM generate_series(1, 32) g),
	from_accounts => (SELECT array_agg('d-' || g) FROM generate_series(1, 32) g),
	to_accounts => (SELECT array_agg(CASE WHEN g > 30 THEN 'nobody' ELSE 'd-' || 61 - g END) FROM generate_series(1, 32) g), declines => 'record')
GROUP BY 1, 2, 3 ORDER BY 3 NULLS FIRST;
SELECT posted, count(*), sum(entries) FROM generate_series(1, 60) g, idem_balance('d-' || g) GROUP BY 1 ORDER BY 1;
SELECT status, replayed, count(*) FROM generate_series(1, 30) g, idem_lookup('over-' || g) GROUP BY 1, 2 ORDER BY 1;
SELECT bool_and(ok) FROM idem_check();
ROLLBACK;
-- Many items into and out of a few accounts.
SELECT outcome, sqlstate, count(*) FROM idem_pay_batch((SELECT array_agg('lots-' || g) FROM generate_series(1, 1000) g), array_fill(0.01, ARRAY[1000]),
	from_accounts => (SELECT array_agg(CASE WHEN g % 10 = 0 THEN 'world' ELSE 'w-' || g % 3 + 1 END) FROM generate_series(1, 1000) g),
	to_accounts => (SELECT array_agg(CASE WHEN g % 10 = 0 THEN 'w-' || g % 3 + 1 ELSE 'shop' END) FROM generate_series(1, 1000) g)) GROUP BY 1, 2 ORDER BY 1, 2;
SELECT name, b.* FROM unnest('{world,shop,w-1,w-2,w-3}'::text[]) name, idem_balance(name) b;
SELECT max(lag) FROM idempotency.entry e JOIN idempotency.account a ON a.id = e.account WHERE a.scope = 'account-batch';

-- After something was held in the same transaction, each entry stores what that and the items before it add up to.
BEGIN;
SELECT status FROM idem_authorize('hold', 12.34, 'USD', 'world', 'w-1');
SELECT item, outcome FROM idem_pay_batch('{g-1,g-2,g-3,g-4}', '{0.25,40.6,7.25,0.75}', from_accounts => '{w-1,world,world,world}', to_accounts => '{world,w-1,w-2,w-3}');
COMMIT;
SELECT e.amount, e.held, e.cum, e.cum_held FROM idempotency.entry e JOIN idempotency.account a ON a.id = e.account
WHERE a.scope = 'account-batch' AND a.name = 'world' ORDER BY e.seq DESC LIMIT 5;

-- A trigger that refuses some entries.
CREATE FUNCTION refuse_entry() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF NEW.amount = 0.07 THEN
		RAISE 'no sevens' USING ERRCODE = 'ZZ007';
	END IF;
	RETURN NULL;
END
$$;
CREATE TRIGGER refuse AFTER INSERT ON idempotency.entry FOR EACH ROW EXECUTE FUNCTION refuse_entry();
SELECT item, outcome, sqlstate, message FROM idem_pay_batch('{f-1,f-2,f-3,f-4}', '{0.06,0.07,0.08,5000}', from_accounts => '{world,world,world,w-1}', to_accounts => '{w-1,w-1,w-1,shop}');
SELECT * FROM idem_balance('w-1');
DROP TRIGGER refuse ON idempotency.entry;
DROP FUNCTION refuse_entry();
SELECT bool_and(ok) FROM idem_check();
