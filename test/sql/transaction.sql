-- Key, effect and answer live and die with the caller's transaction.
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/include/error.psql'
\i :include

-- rolled back: the key was never used
BEGIN;
SELECT replayed FROM idem_pay('rolled-back', 50);
SELECT replayed FROM idem_pay('rolled-back', 50);
ROLLBACK;
SELECT count(*) FROM idem_lookup('rolled-back');
SELECT amount, replayed FROM idem_pay('rolled-back', 60);

-- rolled back to a savepoint, and tried again
BEGIN;
SAVEPOINT s;
SELECT replayed FROM idem_pay('savepoint', 50);
ROLLBACK TO s;
SELECT count(*) FROM idem_lookup('savepoint');
SELECT amount, replayed FROM idem_pay('savepoint', 70);
SAVEPOINT t;
SELECT amount, replayed FROM idem_pay('savepoint', 70);
RELEASE t;
COMMIT;
SELECT amount FROM idem_lookup('savepoint');

-- nested savepoints, with an error between them
BEGIN;
SAVEPOINT a;
SELECT replayed FROM idem_pay('deep-1', 1);
SAVEPOINT b;
SELECT replayed FROM idem_pay('deep-2', 1);
SELECT idem_pay('deep-3', -1);
ROLLBACK TO b;
SELECT replayed FROM idem_pay('deep-2', 2);
RELEASE a;
COMMIT;
SELECT key, amount FROM idempotency.operation WHERE key LIKE 'deep-%' ORDER BY key;

-- an exception block is a subtransaction, too
DO $$
BEGIN
	PERFORM idem_pay('exception', 50);
	RAISE division_by_zero;
EXCEPTION WHEN division_by_zero THEN
	RAISE NOTICE 'replayed: %', (idem_pay('exception', 51)).replayed;
END
$$;
SELECT amount FROM idem_lookup('exception');

-- the same key twice in one statement: one effect
SELECT a.replayed, b.replayed, a.payment_id = b.payment_id AS same
FROM idem_pay('twice', 50) a, idem_pay('twice', 50) b;
SELECT count(*), count(DISTINCT (r).payment_id), count(*) FILTER (WHERE (r).replayed) AS replayed
FROM (SELECT idem_pay('many-times', 50) AS r FROM generate_series(1, 100)) s;
SELECT pg_temp.error($$SELECT idem_pay('twice-differently', a) FROM generate_series(1, 2) a$$);
SELECT count(*) FROM idem_lookup('twice-differently');

-- a statement that fails: no effect
SELECT pg_temp.error($$SELECT idem_pay('fails-later-' || a, 50), 1 / (a - 3) FROM generate_series(1, 5) a$$);
SELECT count(*) FROM idempotency.operation WHERE key LIKE 'fails-later-%';

-- the application's own rows in the same transaction
CREATE TEMP TABLE shipment (order_key text);
CREATE FUNCTION pg_temp.ship(order_key text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	IF NOT (idem_pay(order_key, 20)).replayed THEN
		INSERT INTO shipment VALUES (order_key);
		RETURN true;
	END IF;
	RETURN false;
END
$$;
SELECT pg_temp.ship('order-1'), pg_temp.ship('order-1'), pg_temp.ship('order-2');
BEGIN;
SELECT pg_temp.ship('order-3');
ROLLBACK;
SELECT pg_temp.ship('order-3');
SELECT order_key, count(*) FROM shipment GROUP BY order_key ORDER BY order_key;

-- read-only: known keys are answered, new ones are refused
SET default_transaction_read_only = on;
SELECT amount, replayed FROM idem_pay('savepoint', 70);
SELECT amount, replayed FROM idem_lookup('savepoint');
SELECT pg_temp.error($$SELECT idem_pay('new-in-read-only', 50)$$);
SELECT pg_temp.error($$SELECT idem_pay('savepoint', 71)$$);
RESET default_transaction_read_only;
BEGIN;
SELECT replayed FROM idem_pay('then-read-only', 50);
SET TRANSACTION READ ONLY;
SELECT replayed FROM idem_pay('then-read-only', 50);
COMMIT;

-- the higher isolation levels, without other sessions
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT replayed FROM idem_pay('repeatable-read', 50);
SELECT replayed FROM idem_pay('repeatable-read', 50);
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT replayed FROM idem_pay('serializable', 50);
SELECT replayed FROM idem_pay('serializable', 50);
SELECT replayed FROM idem_pay('repeatable-read', 50);
COMMIT;

-- a cursor WITH HOLD runs its query once
BEGIN;
DECLARE c CURSOR WITH HOLD FOR SELECT key, replayed FROM idem_pay('cursor', 50);
COMMIT;
FETCH ALL FROM c;
CLOSE c;
SELECT replayed FROM idem_pay('cursor', 50);
