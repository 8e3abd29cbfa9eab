-- Refunding what was captured.
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/include/step.psql'
\i :include
SET idempotency.scope = 'refund';

-- a part, another part, and all that is left
SELECT pg_temp.step($$idem_pay('pay', 50, 'EUR')$$);
SELECT pg_temp.step($$idem_refund('pay-r1', pg_temp.p('pay'), 10)$$);
SELECT pg_temp.step($$idem_refund('pay-r1', pg_temp.p('pay'), 10.0)$$);
SELECT pg_temp.step($$idem_refund('pay-r2', pg_temp.p('pay'), 10)$$);
SELECT pg_temp.step($$idem_refund('pay-r3', pg_temp.p('pay'))$$);
SELECT pg_temp.step($$idem_refund('pay-r3', pg_temp.p('pay'))$$);
SELECT pg_temp.step($$idem_refund('pay-r3', pg_temp.p('pay'), 'Infinity', NULL, NULL, NULL, NULL, NULL)$$);
SELECT pg_temp.step($$idem_refund('pay-r4', pg_temp.p('pay'))$$);
SELECT pg_temp.step($$idem_refund('pay-r4', pg_temp.p('pay'), 0.01)$$);
SELECT pg_temp.step($$idem_refund('pay-r1', pg_temp.p('pay'), 10)$$);
SELECT pg_temp.step($$idem_pay('pay', 50, 'EUR')$$);

-- more than is left
SELECT pg_temp.step($$idem_pay('more', 50, 'EUR')$$);
SELECT pg_temp.step($$idem_refund('more-r', pg_temp.p('more'), 50.01)$$);
SELECT pg_temp.step($$idem_refund('more-r1', pg_temp.p('more'), 20)$$);
SELECT pg_temp.step($$idem_refund('more-r', pg_temp.p('more'), 30.01)$$);
SELECT pg_temp.step($$idem_refund('more-r', pg_temp.p('more'), 30)$$);

-- of a hold, only what was captured can be refunded
SELECT pg_temp.step($$idem_authorize('hold', 100, 'EUR')$$);
SELECT pg_temp.step($$idem_refund('hold-r', pg_temp.p('hold'))$$);
SELECT pg_temp.step($$idem_refund('hold-r', pg_temp.p('hold'), 1)$$);
SELECT pg_temp.step($$idem_capture('hold-c', pg_temp.p('hold'), 30, false)$$);
SELECT pg_temp.step($$idem_refund('hold-r', pg_temp.p('hold'), 30.01)$$);
SELECT pg_temp.step($$idem_refund('hold-r', pg_temp.p('hold'))$$);
SELECT pg_temp.step($$idem_refund('hold-r2', pg_temp.p('hold'))$$);
-- all is refunded, but more can be captured: partially refunded; after the void, the payment is refunded
SELECT pg_temp.step($$idem_void('hold-v', pg_temp.p('hold'))$$);

-- all arguments, by position and by name
SELECT pg_temp.step($$idem_pay('all', 50, 'EUR', scope => 'shop-refund')$$);
SELECT pg_temp.step($$idem_refund('all-r', pg_temp.p('all', 'shop-refund'), 5, 'return 7', '{"why": "late"}', 'shop-refund')$$);
SELECT pg_temp.step($$idem_refund(scope => 'shop-refund', metadata => '{"why":"late"}', reference => 'return 7', amount => 5.00,
	payment_id => pg_temp.p('all', 'shop-refund'), key => 'all-r')$$);
SELECT reference, metadata FROM idem_lookup('all-r', 'shop-refund');

-- an amount has the decimals of the payment's currency
SELECT pg_temp.step($$idem_pay('jpy', 500, 'JPY')$$);
SELECT pg_temp.step($$idem_refund('jpy-r', pg_temp.p('jpy'), 0.5)$$);
SELECT pg_temp.step($$idem_refund('jpy-r', pg_temp.p('jpy'), 1.00)$$);
SELECT pg_temp.step($$idem_refund('jpy-r2', pg_temp.p('jpy'))$$);
SELECT pg_temp.step($$idem_authorize('kwd', 5, 'KWD')$$);
SELECT pg_temp.step($$idem_capture('kwd-c', pg_temp.p('kwd'), 0.0005)$$);
SELECT pg_temp.step($$idem_capture('kwd-c', pg_temp.p('kwd'), 1.005, false)$$);
SELECT pg_temp.step($$idem_refund('kwd-r', pg_temp.p('kwd'), 0.001)$$);
SELECT pg_temp.step($$idem_capture('kwd-c2', pg_temp.p('kwd'))$$);
-- the setting of the currency does not matter
SET idempotency.currency = 'JPY';
SELECT pg_temp.step($$idem_refund('kwd-r2', pg_temp.p('kwd'), 0.004)$$);
SET idempotency.currency = 'nonsense';
SELECT pg_temp.step($$idem_refund('kwd-r3', pg_temp.p('kwd'))$$);
RESET idempotency.currency;

-- a user's own currency is changed, then deleted: its payments keep the decimals that they were made with
INSERT INTO idempotency.currency VALUES ('BTC', 8);
SELECT pg_temp.step($$idem_authorize('btc', 1, 'BTC')$$);
SELECT pg_temp.step($$idem_capture('btc-c', pg_temp.p('btc'), 0.00000001, false)$$);
UPDATE idempotency.currency SET exponent = 2 WHERE code = 'BTC';
SELECT pg_temp.step($$idem_capture('btc-c2', pg_temp.p('btc'), 0.00000002, false)$$);
DELETE FROM idempotency.currency WHERE code = 'BTC';
SELECT pg_temp.step($$idem_capture('btc-c3', pg_temp.p('btc'), 0.000000005, false)$$);
SELECT pg_temp.step($$idem_capture('btc-c3', pg_temp.p('btc'), 0.5)$$);
SELECT pg_temp.step($$idem_refund('btc-r', pg_temp.p('btc'), 0.000000001)$$);
SELECT pg_temp.step($$idem_refund('btc-r', pg_temp.p('btc'), 0.00000003)$$);
SELECT pg_temp.step($$idem_refund('btc-r2', pg_temp.p('btc'))$$);
SELECT pg_temp.step($$idem_authorize('btc-new', 1, 'BTC')$$);
SELECT status, currency, refunded FROM idempotency.payment WHERE scope = 'refund' AND currency = 'BTC';

-- a large amount, to the last cent
SELECT pg_temp.step($$idem_pay('large', 999999999999999999.99)$$);
SELECT pg_temp.step($$idem_refund('large-r', pg_temp.p('large'), 999999999999999999.98)$$);
SELECT pg_temp.step($$idem_refund('large-r2', pg_temp.p('large'), 0.02)$$);
SELECT pg_temp.step($$idem_refund('large-r2', pg_temp.p('large'))$$);

SELECT pg_temp.unlike_at_first();
