-- A request that the payment's state does not allow: it raises an error and leaves the key free, or it is stored as
-- a declined operation, which is the key's answer from then on.
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/include/step.psql'
\i :include
SET idempotency.scope = 'decline';

-- raised: the key is free, and works once the state allows it
SELECT pg_temp.step($$idem_authorize('raise', 100, 'EUR')$$);
SELECT current_setting('idempotency.declines');
SELECT pg_temp.step($$idem_refund('raise-r', pg_temp.p('raise'), 10)$$);
SELECT count(*) FROM idem_lookup('raise-r');
SELECT pg_temp.step($$idem_capture('raise-c', pg_temp.p('raise'))$$);
SELECT pg_temp.step($$idem_refund('raise-r', pg_temp.p('raise'), 10)$$);

-- recorded: the answer stays, even when the state would allow the request
SET idempotency.declines = record;
SELECT pg_temp.step($$idem_authorize('record', 100, 'EUR')$$);
SELECT pg_temp.step($$idem_refund('record-r', pg_temp.p('record'), 10, 'return 7', '{"n": 1}')$$);
SELECT pg_temp.step($$idem_refund('record-r', pg_temp.p('record'), 10, 'return 7', '{"n": 1}')$$);
SELECT pg_temp.step($$idem_capture('record-x', pg_temp.p('record'), 100.01)$$);
SELECT pg_temp.step($$idem_capture('record-c1', pg_temp.p('record'), 60, false)$$);
SELECT pg_temp.step($$idem_refund('record-r', pg_temp.p('record'), 10, 'return 7', '{"n": 1}')$$);
SELECT pg_temp.step($$idem_refund('record-r2', pg_temp.p('record'), 60.01)$$);
SELECT pg_temp.step($$idem_refund('record-r3', pg_temp.p('record'), 20)$$);
SELECT pg_temp.step($$idem_capture('record-x2', pg_temp.p('record'), 40.01, false)$$);
SELECT pg_temp.step($$idem_capture('record-c2', pg_temp.p('record'))$$);
-- a request for all that is left, when nothing is left
SELECT pg_temp.step($$idem_capture('record-x3', pg_temp.p('record'))$$);
SELECT pg_temp.step($$idem_capture('record-x3', pg_temp.p('record'))$$);
SELECT pg_temp.step($$idem_void('record-v', pg_temp.p('record'))$$);
SELECT pg_temp.step($$idem_void('record-v', pg_temp.p('record'))$$);
-- the answer is the same with the other setting
SET idempotency.declines = raise;
SELECT pg_temp.step($$idem_refund('record-r', pg_temp.p('record'), 10, 'return 7', '{"n": 1}')$$);
SELECT pg_temp.step($$idem_void('record-v', pg_temp.p('record'))$$);
SELECT pg_temp.step($$idem_void('record-v2', pg_temp.p('record'))$$);
SELECT pg_temp.show(l), l.reference, l.metadata FROM idem_lookup('record-r') l;

-- a declined operation does not change the payment; idem_payment() passes over it
SELECT pg_temp.show(idem_payment(pg_temp.p('record')));
SELECT status, authorized, captured, released, refunded, capturable, refundable
FROM idempotency.payment WHERE payment_id = pg_temp.p('record');
-- the history has declined operations
SELECT pg_temp.show(h) FROM idem_history(pg_temp.p('record')) h;
SELECT key, sqlstate, message FROM idempotency.operation WHERE scope = 'decline' AND sqlstate IS NOT NULL ORDER BY payment_id, seq;

-- the key stands for the declined request
SELECT pg_temp.step($$idem_refund('record-r', pg_temp.p('record'), 11, 'return 7', '{"n": 1}')$$);
SELECT pg_temp.step($$idem_refund('record-r', pg_temp.p('record'), 10, 'return 8', '{"n": 1}')$$);
SELECT pg_temp.step($$idem_capture('record-r', pg_temp.p('record'), 10)$$);
SELECT pg_temp.step($$idem_capture('record-x3', pg_temp.p('record'), 1)$$);
SELECT pg_temp.step($$idem_pay('record-v', 10, 'EUR')$$);

-- an error in the request itself is always raised
SET idempotency.declines = record;
SELECT pg_temp.step($$idem_refund('k', '00000000-0000-7000-8000-000000000000', 5)$$);
SELECT pg_temp.step($$idem_refund('k', NULL, 5)$$);
SELECT pg_temp.step($$idem_refund('k', pg_temp.p('record'), 0)$$);
SELECT pg_temp.step($$idem_refund('k', pg_temp.p('record'), 5.001)$$);
SELECT pg_temp.step($$idem_refund('k', pg_temp.p('record'), 1e18)$$);
SELECT pg_temp.step($$idem_capture('k', pg_temp.p('record'), scope => 'another')$$);
SELECT pg_temp.step($$idem_pay('k', 5, 'XYZ')$$);
SELECT pg_temp.step($$idem_authorize('k', 5, expires_in => '0')$$);
BEGIN READ ONLY;
SELECT pg_temp.step($$idem_refund('k', pg_temp.p('record'), 1000)$$);
COMMIT;
SELECT count(*) FROM idempotency.operation WHERE key = 'k' AND scope IN ('decline', 'another');

-- a hold that has expired, and one that was voided
SELECT pg_temp.step($$idem_authorize('short', 100, 'EUR', expires_in => '1 millisecond')$$);
SELECT pg_temp.step($$idem_authorize('voided', 100, 'EUR', expires_in => '1 second')$$);
SELECT pg_temp.step($$idem_void('voided-v', pg_temp.p('voided'))$$);
SELECT pg_temp.step($$idem_capture('voided-c', pg_temp.p('voided'))$$);
SELECT FROM pg_sleep(1.05);
SELECT pg_temp.step($$idem_capture('short-c', pg_temp.p('short'))$$);
SELECT pg_temp.step($$idem_capture('short-c2', pg_temp.p('short'), 30, false)$$);
SELECT pg_temp.step($$idem_void('short-v', pg_temp.p('short'))$$);
SELECT pg_temp.step($$idem_capture('voided-c2', pg_temp.p('voided'), 10)$$);
SELECT k, pg_temp.show(idem_payment(pg_temp.p(k))) FROM unnest('{short,voided}'::text[]) k;
SELECT status, released FROM idempotency.payment WHERE payment_id IN (pg_temp.p('short'), pg_temp.p('voided')) ORDER BY payment_id;

-- rolled back: nothing is recorded
BEGIN;
SELECT pg_temp.show(idem_void('rolled-back', pg_temp.p('voided')));
ROLLBACK;
SELECT count(*) FROM idem_lookup('rolled-back');

-- any other value is refused
SET idempotency.declines = maybe;
RESET idempotency.declines;

SELECT pg_temp.unlike_at_first();
