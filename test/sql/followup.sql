-- What capture, void and refund have in common: the payment that they name, the request that a key stands for, and
-- that they live and die with the caller's transaction.
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/include/step.psql'
\i :include
SET idempotency.scope = 'followup';

-- malformed arguments
SELECT pg_temp.step($$idem_authorize('a', 100, 'EUR')$$);
SELECT pg_temp.step(replace($$idem_capture(%, pg_temp.p('a'))$$, '%', k)) FROM unnest('{"NULL","''''","E''\\n''"}'::text[]) k;
SELECT pg_temp.step(replace($$idem_void(%, pg_temp.p('a'))$$, '%', k)) FROM unnest('{"NULL","''''","E''\\n''"}'::text[]) k;
SELECT pg_temp.step(replace($$idem_refund(%, pg_temp.p('a'))$$, '%', k)) FROM unnest('{"NULL","''''","E''\\n''"}'::text[]) k;
SELECT pg_temp.step($$idem_capture(repeat('k', 256), pg_temp.p('a'))$$);
SELECT pg_temp.step($$idem_capture('k', NULL)$$);
SELECT pg_temp.step($$idem_void('k', NULL)$$);
SELECT pg_temp.step($$idem_refund('k', NULL)$$);
SELECT amount, pg_temp.step(format($$idem_capture('k', pg_temp.p('a'), %L)$$, amount))
FROM unnest('{NULL,0,-1,NaN,-Infinity,1e18,10.001}'::numeric[]) amount;
SELECT amount, pg_temp.step(format($$idem_refund('k', pg_temp.p('a'), %L)$$, amount))
FROM unnest('{NULL,0,-1,NaN,-Infinity,1e18,10.001}'::numeric[]) amount;
SELECT pg_temp.step($$idem_capture('k', pg_temp.p('a'), scope => E'\n')$$);

SELECT pg_temp.step($$idem_capture('k', pg_temp.p('a'), final => NULL)$$);
-- also where the planner knows of the null: it must not become the default
PREPARE lost AS SELECT * FROM idem_refund('k', pg_temp.p('a'), $1, NULL, NULL::text, NULL, NULL, NULL);
SET plan_cache_mode = force_custom_plan;
EXECUTE lost(NULL);
RESET plan_cache_mode;

-- payments that do not exist: never made, in another scope, or of a key that was cancelled unused
SELECT pg_temp.step($$idem_capture('k', '00000000-0000-7000-8000-000000000000')$$);
SELECT pg_temp.step($$idem_void('k', '00000000-0000-7000-8000-000000000000')$$);
SELECT pg_temp.step($$idem_refund('k', '00000000-0000-7000-8000-000000000000', 5)$$);
SELECT pg_temp.step($$idem_capture('k', pg_temp.p('a'), scope => 'another')$$);
SELECT pg_temp.step($$idem_void('k', pg_temp.p('a'), scope => 'another')$$);
SELECT pg_temp.step($$idem_refund('k', pg_temp.p('a'), scope => 'another')$$);
SELECT pg_temp.step($$idem_cancel('cancelled')$$);
SELECT pg_temp.step($$idem_capture('k', pg_temp.p('cancelled'))$$);
SELECT pg_temp.step($$idem_void('k', pg_temp.p('cancelled'))$$);
SELECT pg_temp.step($$idem_refund('k', pg_temp.p('cancelled'))$$);
-- a payment of a transaction that was rolled back
BEGIN;
SELECT payment_id AS ghost FROM idem_pay('ghost', 50) \gset
ROLLBACK;
SELECT pg_temp.step(format($$idem_refund('k', %L)$$, :'ghost'));
-- the same key in another scope is another key
SELECT pg_temp.step($$idem_pay('elsewhere', 7, 'EUR', scope => 'another')$$);
SELECT pg_temp.step($$idem_refund('a', pg_temp.p('elsewhere', 'another'), scope => 'another')$$);

-- a key stands for one request: DETAIL names the first field that differs
SELECT pg_temp.step($$idem_authorize('b', 100, 'EUR')$$);
SELECT pg_temp.step($$idem_capture('c', pg_temp.p('a'), 30, false, 'order 7', '{"n": 1.0}')$$);
SELECT pg_temp.step($$idem_capture('c-all', pg_temp.p('b'))$$);
SELECT pg_temp.step($$idem_refund('ref', pg_temp.p('a'), 10, 'return 7', '{"n": 1.0}')$$);
SELECT pg_temp.step($$idem_refund('ref-all', pg_temp.p('b'))$$);
SELECT pg_temp.step($$idem_void('v', pg_temp.p('a'), 'order 7', '{"n": 1.0}')$$);
-- kind
SELECT pg_temp.step($$idem_refund('c', pg_temp.p('a'), 30, 'order 7', '{"n": 1.0}')$$);
SELECT pg_temp.step($$idem_void('c', pg_temp.p('a'), 'order 7', '{"n": 1.0}')$$);
SELECT pg_temp.step($$idem_pay('c', 30, 'EUR')$$);
SELECT pg_temp.step($$idem_authorize('c', 30, 'EUR')$$);
SELECT pg_temp.step($$idem_capture('ref', pg_temp.p('a'), 10, true, 'return 7', '{"n": 1.0}')$$);
SELECT pg_temp.step($$idem_capture('v', pg_temp.p('a'))$$);
SELECT pg_temp.step($$idem_capture('a', pg_temp.p('a'), 100)$$);
SELECT pg_temp.step($$idem_refund('a', pg_temp.p('a'))$$);
-- payment_id, also if there is no such payment
SELECT pg_temp.step($$idem_capture('c', pg_temp.p('b'), 30, false, 'order 7', '{"n": 1.0}')$$);
SELECT pg_temp.step($$idem_refund('ref', pg_temp.p('b'), 10, 'return 7', '{"n": 1.0}')$$);
SELECT pg_temp.step($$idem_void('v', '00000000-0000-7000-8000-000000000000', 'order 7', '{"n": 1.0}')$$);
-- amount: another one; one instead of all that is left, or the other way round, even if both come to the same
SELECT pg_temp.step($$idem_capture('c', pg_temp.p('a'), 31, false, 'order 7', '{"n": 1.0}')$$);
SELECT pg_temp.step($$idem_capture('c', pg_temp.p('a'), 'Infinity', false, 'order 7', '{"n": 1.0}')$$);
SELECT pg_temp.step($$idem_capture('c-all', pg_temp.p('b'), 100)$$);
SELECT pg_temp.step($$idem_refund('ref', pg_temp.p('a'), 10.01, 'return 7', '{"n": 1.0}')$$);
SELECT pg_temp.step($$idem_refund('ref', pg_temp.p('a'), 'Infinity', 'return 7', '{"n": 1.0}')$$);
SELECT pg_temp.step($$idem_refund('ref-all', pg_temp.p('b'), 100)$$);
SELECT pg_temp.step($$idem_refund('ref', pg_temp.p('a'), 10.001, 'return 7', '{"n": 1.0}')$$);
-- final
SELECT pg_temp.step($$idem_capture('c', pg_temp.p('a'), 30, true, 'order 7', '{"n": 1.0}')$$);
SELECT pg_temp.step($$idem_capture('c-all', pg_temp.p('b'), final => false)$$);
-- reference, metadata: named, but not shown
SELECT pg_temp.step($$idem_capture('c', pg_temp.p('a'), 30, false, 'order 8', '{"n": 1.0}')$$);
SELECT pg_temp.step($$idem_capture('c', pg_temp.p('a'), 30, false, 'order 7', '{"n": 2}')$$);
SELECT pg_temp.step($$idem_capture('c', pg_temp.p('a'), 30, false)$$);
SELECT pg_temp.step($$idem_void('v', pg_temp.p('a'), 'order 8', '{"n": 1.0}')$$);
SELECT pg_temp.step($$idem_void('v', pg_temp.p('a'), 'order 7')$$);
SELECT pg_temp.step($$idem_refund('ref', pg_temp.p('a'), 10, NULL, '{"n": 1.0}')$$);
SELECT pg_temp.step($$idem_refund('ref', pg_temp.p('a'), 10, 'return 7', '{"m": 1.0}')$$);
-- several fields: the first that differs
SELECT pg_temp.step($$idem_capture('c', pg_temp.p('b'), 31, true, 'order 8')$$);
-- the same, written differently
SELECT pg_temp.step($$idem_capture('c', pg_temp.p('a'), 30.00, false, 'order 7', '{"n": 1}')$$);
SELECT pg_temp.step($$idem_refund('ref', pg_temp.p('a'), 1e1, 'return 7', '{"n": 1.00}')$$);

-- a currency, if it is named, must be the payment's
SELECT payment_id AS p FROM idem_pay('inr', 98633, 'INR') \gset
SELECT pg_temp.step(format($$idem_refund('inr-r', %L, 1000, currency => 'GBP')$$, :'p'));
SELECT pg_temp.step(format($$idem_refund('inr-r', %L, 1000, currency => 'inr')$$, :'p'));
SELECT pg_temp.step(format($$idem_refund('inr-r', %L, 1000, currency => repeat('x', 1000))$$, :'p'));
SELECT pg_temp.step(format($$idem_refund('inr-r', %L, 1000, currency => '')$$, :'p'));
SELECT pg_temp.step(format($$idem_refund('inr-r', %L, 1000, currency => 'INR')$$, :'p'));
SELECT pg_temp.step(format($$idem_refund('inr-r', %L, 1000, currency => 'GBP')$$, :'p'));
SELECT pg_temp.step(format($$idem_refund('inr-r', %L, 1000)$$, :'p'));
SELECT pg_temp.step(format($$idem_capture('k', %L, currency => 'GBP')$$, :'p'));
SELECT pg_temp.step(format($$idem_void('k', %L, currency => 'GBP')$$, :'p'));
SELECT pg_temp.step(format($$idem_increase('k', %L, 5, currency => 'GBP')$$, :'p'));

-- declines: the argument comes before the setting
SET idempotency.declines = record;
SELECT pg_temp.step(format($$idem_refund('k', %L, 1e9, declines => 'raise')$$, :'p'));
SELECT pg_temp.step(format($$idem_void('k', %L, declines => 'raise')$$, :'p'));
RESET idempotency.declines;
SELECT pg_temp.step(format($$idem_refund('inr-r2', %L, 1e9, declines => 'record')$$, :'p'));
SELECT pg_temp.step(format($$idem_refund('inr-r2', %L, 1e9)$$, :'p'));
SELECT pg_temp.step(format($$idem_void('inr-v', %L, declines => 'record')$$, :'p'));
SELECT pg_temp.step(format($$idem_capture('inr-c', %L, declines => 'record')$$, :'p'));
SELECT pg_temp.step(format($$idem_capture('k', %L, declines => 'maybe')$$, :'p'));
SELECT pg_temp.step(format($$idem_capture('k', %L, declines => '')$$, :'p'));

-- the same key twice in one statement: one effect
SELECT payment_id AS p FROM idem_pay('twice', 50, 'EUR') \gset
SELECT x.replayed, y.replayed, x.seq, y.seq FROM idem_refund('twice-r', :'p', 20) x, idem_refund('twice-r', :'p', 20) y;
-- many keys in one statement: each call sees what the call before it left
SELECT pg_temp.show(r) FROM generate_series(1, 3) i, idem_refund('in-a-row-' || i, :'p', 10) r;
SELECT pg_temp.step(format($$generate_series(1, 3) i, idem_refund('over-' || i, %L, 1)$$, :'p'));
SELECT refunded, seq FROM idem_payment(:'p');

-- rolled back, in whole or to a savepoint: the key and the amount are free again
SELECT payment_id AS p FROM idem_authorize('rollback', 100, 'EUR') \gset
BEGIN;
SELECT pg_temp.show(idem_capture('rollback-c', :'p', 60, false));
ROLLBACK;
SELECT pg_temp.show(idem_payment(:'p'));
BEGIN;
SELECT pg_temp.show(idem_capture('rollback-c', :'p', 70, false));
SAVEPOINT s;
SELECT pg_temp.show(idem_capture('rollback-c2', :'p', 30));
SELECT pg_temp.show(idem_refund('rollback-r', :'p', 100));
ROLLBACK TO s;
SELECT pg_temp.show(idem_payment(:'p'));
SELECT pg_temp.show(idem_refund('rollback-r', :'p', 5));
SAVEPOINT s;
SELECT pg_temp.show(idem_capture('rollback-c2', :'p', 31));
ROLLBACK TO s;
SELECT pg_temp.show(idem_capture('rollback-c2', :'p', 30, false));
SELECT pg_temp.show(idem_refund('rollback-r', :'p', 5));
COMMIT;
SELECT pg_temp.show(h) FROM idem_history(:'p') h;

-- read-only: known keys are answered; new ones are refused with 25006, also if the payment's state forbids them
BEGIN READ ONLY;
SELECT pg_temp.step($$idem_capture('c-all', pg_temp.p('b'))$$);
SELECT pg_temp.step($$idem_refund('ref-all', pg_temp.p('b'))$$);
SELECT pg_temp.step($$idem_void('v', pg_temp.p('a'), 'order 7', '{"n": 1}')$$);
SELECT pg_temp.step($$idem_refund('k', pg_temp.p('a'), 1)$$);
SELECT pg_temp.step($$idem_refund('k', pg_temp.p('a'), 1000)$$);
SELECT pg_temp.step($$idem_capture('k', pg_temp.p('a'))$$);
SELECT pg_temp.step($$idem_void('k', pg_temp.p('a'))$$);
SELECT pg_temp.step($$idem_authorize('k', 1)$$);
SELECT pg_temp.step($$idem_refund('ref-all', pg_temp.p('b'), 1)$$);
COMMIT;

-- the higher isolation levels, without other sessions
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT payment_id AS p FROM idem_authorize('rr', 100, 'EUR') \gset
SELECT pg_temp.show(idem_capture('rr-c', :'p', 60, false));
SELECT pg_temp.show(idem_refund('rr-r', :'p', 60));
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT pg_temp.show(idem_void('rr-v', :'p'));
SELECT pg_temp.show(idem_void('rr-v', :'p'));
COMMIT;

SELECT pg_temp.unlike_at_first();
-- no refused call stored a row
SELECT count(*) FROM idempotency.operation WHERE key IN ('k', '') AND scope IN ('followup', 'another');
