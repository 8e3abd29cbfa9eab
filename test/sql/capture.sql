-- Capturing a hold: all of it, a part, or several parts; and releasing the rest.
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/include/step.psql'
\i :include
SET idempotency.scope = 'capture';

-- all that is left; a replay gives the same answer when nothing is left
SELECT pg_temp.step($$idem_authorize('whole', 100, 'EUR')$$);
SELECT pg_temp.step($$idem_capture('whole-c', pg_temp.p('whole'))$$);
SELECT pg_temp.step($$idem_capture('whole-c', pg_temp.p('whole'))$$);
SELECT pg_temp.step($$idem_capture('whole-c', pg_temp.p('whole'), 'Infinity', true, NULL, NULL, NULL, NULL, NULL)$$);
SELECT pg_temp.step($$idem_capture('whole-c', pg_temp.p('whole'), final => true, scope => 'capture')$$);

-- a part: what is left of the hold is released
SELECT pg_temp.step($$idem_authorize('part', 100, 'EUR')$$);
SELECT pg_temp.step($$idem_capture('part-c', pg_temp.p('part'), 30)$$);
SELECT released, captured FROM idempotency.operation WHERE scope = 'capture' AND key = 'part-c';
SELECT pg_temp.step($$idem_capture('part-c2', pg_temp.p('part'), 1)$$);
SELECT pg_temp.step($$idem_void('part-v', pg_temp.p('part'))$$);

-- several parts: the last capture is final
SELECT pg_temp.step($$idem_authorize('parts', 100, 'EUR')$$);
SELECT pg_temp.step($$idem_capture('parts-1', pg_temp.p('parts'), 30, false)$$);
SELECT pg_temp.step($$idem_capture('parts-2', pg_temp.p('parts'), 20.5, false)$$);
SELECT pg_temp.step($$idem_capture('parts-x', pg_temp.p('parts'), 49.51, false)$$);
SELECT pg_temp.step($$idem_capture('parts-x', pg_temp.p('parts'), 49.51)$$);
SELECT pg_temp.step($$idem_capture('parts-3', pg_temp.p('parts'), 0.01)$$);
SELECT released FROM idempotency.operation WHERE scope = 'capture' AND key = 'parts-3';
SELECT pg_temp.step($$idem_capture('parts-4', pg_temp.p('parts'), 1, false)$$);
SELECT pg_temp.step($$idem_capture('parts-4', pg_temp.p('parts'))$$);
-- each part is still replayed as it was
SELECT pg_temp.step($$idem_capture('parts-1', pg_temp.p('parts'), 30.00, false)$$);
SELECT pg_temp.step($$idem_capture('parts-2', pg_temp.p('parts'), 20.50, false)$$);

-- parts that add up to the whole, without a final one: nothing is left
SELECT pg_temp.step($$idem_authorize('sum', 100, 'EUR')$$);
SELECT pg_temp.step($$idem_capture('sum-1', pg_temp.p('sum'), 99.99, false)$$);
SELECT pg_temp.step($$idem_capture('sum-2', pg_temp.p('sum'), final => false)$$);
SELECT pg_temp.step($$idem_capture('sum-3', pg_temp.p('sum'), 0.01, false)$$);
SELECT pg_temp.step($$idem_capture('sum-1', pg_temp.p('sum'), 99.99, false)$$);

-- more than is held
SELECT pg_temp.step($$idem_authorize('more', 100, 'EUR')$$);
SELECT pg_temp.step($$idem_capture('more-c', pg_temp.p('more'), 100.01)$$);
SELECT pg_temp.step($$idem_capture('more-c', pg_temp.p('more'), 999999999999999999.99)$$);
-- the refusal left the key free
SELECT pg_temp.step($$idem_capture('more-c', pg_temp.p('more'), 100.00)$$);

-- a refund between two captures does not make more capturable
SELECT pg_temp.step($$idem_authorize('mixed', 100, 'EUR')$$);
SELECT pg_temp.step($$idem_capture('mixed-1', pg_temp.p('mixed'), 60, false)$$);
SELECT pg_temp.step($$idem_refund('mixed-r', pg_temp.p('mixed'), 50)$$);
SELECT pg_temp.step($$idem_capture('mixed-2', pg_temp.p('mixed'), 40.01)$$);
SELECT pg_temp.step($$idem_capture('mixed-2', pg_temp.p('mixed'))$$);
SELECT pg_temp.step($$idem_refund('mixed-r2', pg_temp.p('mixed'))$$);

-- void releases all that is held
SELECT pg_temp.step($$idem_authorize('void', 100, 'EUR')$$);
SELECT pg_temp.step($$idem_void('void-v', pg_temp.p('void'))$$);
SELECT pg_temp.step($$idem_void('void-v', pg_temp.p('void'))$$);
SELECT pg_temp.step($$idem_void('void-v', pg_temp.p('void'), NULL, NULL, NULL, NULL, NULL)$$);
SELECT released FROM idempotency.operation WHERE scope = 'capture' AND key = 'void-v';
SELECT pg_temp.step($$idem_void('void-v2', pg_temp.p('void'))$$);
SELECT pg_temp.step($$idem_capture('void-c', pg_temp.p('void'))$$);
SELECT pg_temp.step($$idem_capture('void-c', pg_temp.p('void'), 1)$$);
SELECT pg_temp.step($$idem_refund('void-r', pg_temp.p('void'))$$);
-- void releases what is left after a part was captured
SELECT pg_temp.step($$idem_authorize('void-rest', 100, 'EUR')$$);
SELECT pg_temp.step($$idem_capture('void-rest-c', pg_temp.p('void-rest'), 30, false)$$);
SELECT pg_temp.step($$idem_void('void-rest-v', pg_temp.p('void-rest'))$$);
SELECT pg_temp.step($$idem_void('void-rest-v2', pg_temp.p('void-rest'))$$);
SELECT pg_temp.step($$idem_refund('void-rest-r', pg_temp.p('void-rest'), 30)$$);

-- idem_pay has captured all of its amount
SELECT pg_temp.step($$idem_pay('pay', 50, 'EUR')$$);
SELECT pg_temp.step($$idem_capture('pay-c', pg_temp.p('pay'))$$);
SELECT pg_temp.step($$idem_capture('pay-c', pg_temp.p('pay'), 50)$$);
SELECT pg_temp.step($$idem_void('pay-v', pg_temp.p('pay'))$$);

-- a hold expires by the clock
SELECT pg_temp.step($$idem_authorize('short', 100, 'EUR', expires_in => '1 millisecond')$$);
SELECT pg_temp.step($$idem_authorize('short-c', 100, 'EUR', expires_in => '1 second')$$);
SELECT pg_temp.step($$idem_capture('short-c1', pg_temp.p('short-c'), 30, false)$$);
SELECT FROM pg_sleep(1.05);
SELECT pg_temp.step($$idem_capture('short-1', pg_temp.p('short'))$$);
SELECT pg_temp.step($$idem_capture('short-1', pg_temp.p('short'), 30, false)$$);
SELECT pg_temp.step($$idem_void('short-v', pg_temp.p('short'))$$);
SELECT pg_temp.step($$idem_refund('short-r', pg_temp.p('short'))$$);
SELECT pg_temp.show(idem_payment(pg_temp.p('short')));
-- what was captured before the expiry stays captured; the rest cannot be captured
SELECT pg_temp.show(idem_payment(pg_temp.p('short-c')));
SELECT pg_temp.step($$idem_capture('short-c2', pg_temp.p('short-c'), 30, false)$$);
SELECT pg_temp.step($$idem_void('short-c3', pg_temp.p('short-c'))$$);
SELECT pg_temp.step($$idem_refund('short-c4', pg_temp.p('short-c'), 10)$$);
SELECT pg_temp.step($$idem_refund('short-c5', pg_temp.p('short-c'))$$);
-- a replay gives the state of its time
SELECT pg_temp.step($$idem_authorize('short', 100, 'EUR', expires_in => '1 millisecond')$$);
SELECT pg_temp.step($$idem_capture('short-c1', pg_temp.p('short-c'), 30, false)$$);
-- the clock decides, not the beginning of the transaction
BEGIN;
SELECT pg_temp.step($$idem_authorize('short-t', 100, 'EUR', expires_in => '1 millisecond')$$);
SELECT FROM pg_sleep(0.01);
SELECT pg_temp.step($$idem_capture('short-t1', pg_temp.p('short-t'))$$);
COMMIT;

SELECT pg_temp.unlike_at_first();
-- no refused call stored a row
SELECT count(*) FROM idempotency.operation WHERE scope = 'capture' AND key IN ('part-c2', 'part-v', 'parts-x', 'parts-4', 'sum-3', 'void-v2',
	'void-c', 'void-r', 'void-rest-v2', 'pay-c', 'pay-v', 'short-1', 'short-v', 'short-r', 'short-c2', 'short-c3', 'short-t1');
