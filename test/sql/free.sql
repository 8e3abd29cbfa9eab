-- An order that is free is paid with zero: it has a key, a receipt and a replay like any other.
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/include/step.psql'
\i :include
SET idempotency.scope = 'free';

SELECT pg_temp.step($$idem_pay('coupon', 0, 'EUR', reference => 'order 7')$$);
SELECT pg_temp.step($$idem_pay('coupon', 0.00, 'EUR', reference => 'order 7')$$);
SELECT pg_temp.step($$idem_pay('coupon', 0.01, 'EUR', reference => 'order 7')$$);
SELECT pg_temp.step($$idem_pay('yen', 0, 'JPY')$$);
SELECT pg_temp.show(idem_payment(pg_temp.p('coupon')));
SELECT status, authorized, captured, refundable FROM idempotency.payment WHERE payment_id = pg_temp.p('coupon');
-- nothing follows it
SELECT pg_temp.step($$idem_capture('k', pg_temp.p('coupon'))$$);
SELECT pg_temp.step($$idem_void('k', pg_temp.p('coupon'))$$);
SELECT pg_temp.step($$idem_refund('k', pg_temp.p('coupon'))$$);
SELECT pg_temp.step($$idem_refund('k', pg_temp.p('coupon'), 0)$$);
SELECT pg_temp.step($$idem_increase('k', pg_temp.p('coupon'), 5)$$);
SELECT pg_temp.step($$idem_increase('k', pg_temp.p('coupon'), expires_in => '1 hour')$$);
SELECT pg_temp.step($$idem_refund('declined', pg_temp.p('coupon'), declines => 'record')$$);
SELECT pg_temp.show(idem_payment(pg_temp.p('coupon')));
-- but it can be cancelled, and that again undone
SELECT pg_temp.step($$idem_cancel('coupon')$$);
SELECT pg_temp.step($$idem_cancel('coupon')$$);
SELECT pg_temp.show(idem_payment(pg_temp.p('coupon')));
SELECT status FROM idempotency.payment WHERE payment_id = pg_temp.p('coupon');
SELECT pg_temp.step($$idem_cancel('idem_cancel:coupon')$$);
SELECT status FROM idempotency.payment WHERE payment_id = pg_temp.p('coupon');
-- in a batch
SELECT outcome, status FROM idem_pay_batch(ARRAY['batch', 'batch', 'coupon'], ARRAY[0, 0, 0], ARRAY['EUR', 'EUR', 'EUR'], ARRAY[NULL, NULL, 'order 7']);
-- holding nothing is an error
SELECT pg_temp.step($$idem_authorize('k', 0)$$);
SELECT pg_temp.step($$idem_pay('k', -0.01)$$);

SELECT pg_temp.unlike_at_first();
SELECT invariant FROM idem_check() WHERE NOT ok;
