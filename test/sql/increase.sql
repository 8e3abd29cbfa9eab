-- Raising a hold, and prolonging it.
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/include/step.psql'
\i :include
SET idempotency.scope = 'increase';

-- the amount: the payment stays the same, and so does the time
SELECT pg_temp.step($$idem_authorize('hotel', 100, 'EUR')$$);
SELECT pg_temp.step($$idem_increase('hotel-2', pg_temp.p('hotel'), 50)$$);
SELECT pg_temp.step($$idem_increase('hotel-2', pg_temp.p('hotel'), 50.00)$$);
SELECT i.payment_id = a.payment_id AS same_payment, i.expires_at = a.expires_at AS same_time
FROM idem_lookup('hotel') a, idem_lookup('hotel-2') i;
SELECT pg_temp.step($$idem_capture('hotel-c', pg_temp.p('hotel'), 115, false)$$);
SELECT pg_temp.step($$idem_increase('hotel-3', pg_temp.p('hotel'), 10)$$);
SELECT pg_temp.step($$idem_capture('hotel-c2', pg_temp.p('hotel'), 45)$$);
SELECT pg_temp.step($$idem_refund('hotel-r', pg_temp.p('hotel'))$$);
SELECT pg_temp.step($$idem_increase('k', pg_temp.p('hotel'), 10)$$);

-- the time, from now; and both
SELECT pg_temp.step($$idem_authorize('shop', 100, 'EUR', expires_in => '1 hour')$$);
SELECT pg_temp.step($$idem_increase('shop-2', pg_temp.p('shop'), expires_in => '14 days')$$);
SELECT expires_at - created_at AS hold, amount FROM idem_lookup('shop-2');
SELECT pg_temp.step($$idem_increase('shop-3', pg_temp.p('shop'), 5, '15 days')$$);
SELECT expires_at - created_at AS hold FROM idem_lookup('shop-3');
SELECT expires_at = (idem_lookup('shop-3')).expires_at AS newest FROM idem_payment(pg_temp.p('shop'));
SELECT expires_at = (idem_lookup('shop-3')).expires_at AS newest FROM idempotency.payment WHERE payment_id = pg_temp.p('shop');
-- never back
SELECT pg_temp.step($$idem_increase('k', pg_temp.p('shop'), 5, '14 days')$$);
SELECT pg_temp.step($$idem_increase('shop-4', pg_temp.p('shop'), 5, '14 days', declines => 'record')$$);
SELECT pg_temp.step($$idem_increase('shop-4', pg_temp.p('shop'), 5, '13 days')$$);
SELECT expires_at = (idem_lookup('shop-3')).expires_at AS same FROM idem_payment(pg_temp.p('shop'));
-- of what was declined, the key keeps whether it asked for a time
SELECT pg_temp.step($$idem_increase('shop-4', pg_temp.p('shop'), 5)$$);

-- captured until the new time, and released then
SELECT pg_temp.step($$idem_authorize('late', 100, 'EUR', expires_in => '1 second')$$);
SELECT pg_temp.step($$idem_increase('late-2', pg_temp.p('late'), 1, '1 hour')$$);
SELECT pg_temp.step($$idem_authorize('short', 100, 'EUR', expires_in => '1 second')$$);
SELECT pg_temp.step($$idem_increase('short-2', pg_temp.p('short'), 1, '1.1 seconds')$$);
SELECT FROM pg_sleep(1.2);
SELECT idem_expire() > 0 AS looked_at;
SELECT pg_temp.step($$idem_capture('late-c', pg_temp.p('late'), 30, false)$$);
SELECT expires_at = due_at AS put_off FROM idempotency.hold WHERE payment_id = pg_temp.p('late');
SELECT pg_temp.step($$idem_increase('k', pg_temp.p('short'), 1, '1 hour')$$);
SELECT pg_temp.show(h) FROM idem_history(pg_temp.p('short')) h;
SELECT count(*) FROM idempotency.hold WHERE payment_id = pg_temp.p('short');

-- what has no hold, or none left
SELECT pg_temp.step($$idem_pay('paid', 100, 'EUR')$$);
SELECT pg_temp.step($$idem_increase('k', pg_temp.p('paid'), 5)$$);
SELECT pg_temp.step($$idem_increase('paid-2', pg_temp.p('paid'), 5, '1 hour', declines => 'record')$$);
SELECT pg_temp.step($$idem_increase('paid-2', pg_temp.p('paid'), 5)$$);
SELECT pg_temp.step($$idem_increase('paid-3', pg_temp.p('paid'), 5, declines => 'record')$$);
SELECT pg_temp.step($$idem_increase('paid-3', pg_temp.p('paid'), 5, '1 hour')$$);
SELECT pg_temp.step($$idem_authorize('voided', 100, 'EUR')$$);
SELECT pg_temp.step($$idem_void('voided-v', pg_temp.p('voided'))$$);
SELECT pg_temp.step($$idem_increase('k', pg_temp.p('voided'), 5, '1 year')$$);
SELECT pg_temp.step($$idem_increase('k', '00000000-0000-7000-8000-000000000000', 5)$$);

-- malformed arguments
SELECT pg_temp.step($$idem_increase('k', pg_temp.p('shop'))$$);
SELECT pg_temp.step($$idem_increase('k', pg_temp.p('shop'), NULL)$$);
SELECT pg_temp.step($$idem_increase('k', pg_temp.p('shop'), NULL, '1 hour')$$);
SELECT amount, pg_temp.step(format($$idem_increase('k', pg_temp.p('shop'), %L)$$, amount))
FROM unnest('{-1,NaN,Infinity,-Infinity,1e18,999999999999999999,10.001}'::numeric[]) amount;
SELECT pg_temp.step($$idem_increase('k', pg_temp.p('shop'), 1, '0')$$);
SELECT pg_temp.step($$idem_increase('k', pg_temp.p('shop'), 1, '-1 day')$$);
SELECT pg_temp.step($$idem_increase('k', NULL, 1)$$);
SELECT pg_temp.step($$idem_increase(NULL, pg_temp.p('shop'), 1)$$);

-- a key stands for one request
SELECT pg_temp.step($$idem_increase('shop-3', pg_temp.p('shop'), 6, '15 days')$$);
SELECT pg_temp.step($$idem_increase('shop-3', pg_temp.p('shop'), 5)$$);
SELECT pg_temp.step($$idem_increase('shop-3', pg_temp.p('shop'), 5, '16 days')$$);
SELECT pg_temp.step($$idem_increase('hotel-2', pg_temp.p('hotel'), 50, '7 days')$$);
SELECT pg_temp.step($$idem_capture('shop-3', pg_temp.p('shop'), 5)$$);

-- cancelled: its amount is released, and the time stays
SELECT pg_temp.step($$idem_authorize('undo', 100, 'EUR')$$);
SELECT pg_temp.step($$idem_increase('undo-2', pg_temp.p('undo'), 50, '8 days')$$);
SELECT pg_temp.step($$idem_cancel('undo-2')$$);
SELECT pg_temp.step($$idem_cancel('undo-2')$$);
SELECT expires_at - (idem_lookup('undo-2')).created_at AS hold FROM idem_payment(pg_temp.p('undo'));
-- what is captured meanwhile is not released
SELECT pg_temp.step($$idem_increase('undo-3', pg_temp.p('undo'), 50)$$);
SELECT pg_temp.step($$idem_capture('undo-c', pg_temp.p('undo'), 120, false)$$);
SELECT pg_temp.step($$idem_cancel('undo-3')$$);
SELECT pg_temp.step($$idem_cancel('idem_cancel:undo-3')$$);
-- the authorization takes its increases with it
SELECT pg_temp.step($$idem_authorize('all', 100, 'EUR')$$);
SELECT pg_temp.step($$idem_increase('all-2', pg_temp.p('all'), 50)$$);
SELECT pg_temp.step($$idem_cancel('all')$$);
SELECT pg_temp.step($$idem_cancel('all-2')$$);
-- an increase of the time alone
SELECT pg_temp.step($$idem_authorize('time', 100, 'EUR')$$);
SELECT pg_temp.step($$idem_increase('time-2', pg_temp.p('time'), expires_in => '8 days')$$);
SELECT pg_temp.step($$idem_cancel('time-2')$$);

SELECT pg_temp.unlike_at_first();
SELECT count(*) FROM idempotency.operation WHERE scope = 'increase' AND key = 'k';
SELECT invariant FROM idem_check() WHERE NOT ok;
