-- The whole payment: authorize, capture, void, refund.
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/include/error.psql'
\i :include

-- what a step leaves: the columns of a receipt that tell
CREATE FUNCTION pg_temp.step(r idem_receipt) RETURNS text LANGUAGE sql AS $$
	SELECT format('%s %s %s %s: authorized %s, captured %s, refunded %s; capturable %s, refundable %s%s',
		r.seq, r.operation, coalesce(r.amount::text, '-'), r.status, r.authorized, r.captured, r.refunded,
		r.capturable, r.refundable, CASE WHEN r.replayed THEN ', replayed' END)
$$;
SELECT payment_id AS p, expires_at - created_at AS hold FROM idem_authorize('a', 100, 'EUR', reference => 'order 7') \gset
SELECT :'hold' AS hold;
SELECT pg_temp.step(idem_authorize('a', 100, 'EUR', reference => 'order 7'));
SELECT pg_temp.step(idem_capture('c1', :'p', 30, false));
SELECT pg_temp.step(idem_capture('c1', :'p', 30, false));
SELECT pg_temp.step(idem_capture('c2', :'p', 20.5));
SELECT pg_temp.step(idem_capture('c2', :'p', 20.50, true));
SELECT pg_temp.step(idem_refund('r1', :'p', 10));
SELECT pg_temp.step(idem_refund('r2', :'p'));
SELECT pg_temp.step(idem_refund('r2', :'p'));
SELECT pg_temp.error(format('SELECT idem_refund(%L, %L, 40.50)', 'r2', :'p'));
SELECT pg_temp.error(format('SELECT idem_refund(%L, %L)', 'r3', :'p'));
SELECT pg_temp.error(format('SELECT idem_capture(%L, %L)', 'c3', :'p'));
SELECT pg_temp.error(format('SELECT idem_void(%L, %L)', 'v1', :'p'));
SELECT pg_temp.error(format('SELECT idem_capture(%L, %L, 30, true)', 'c1', :'p'));
SELECT pg_temp.step(h) FROM idem_history(:'p') h;
SELECT pg_temp.step(idem_payment(:'p'));
SELECT scope, status, currency, authorized, captured, released, refunded, capturable, refundable, owner FROM idempotency.payment WHERE payment_id = :'p';
SELECT pg_temp.step(idem_cancel('a'));
SELECT pg_temp.step(idem_cancel('unused'));
SELECT pg_temp.step(idem_cancel('unused'));
SELECT pg_temp.step(idem_pay('unused', 50));
SELECT payment_id AS q FROM idem_pay('q', 70) \gset
SELECT pg_temp.step(idem_refund('q-r', :'q', 10));
SELECT key, pg_temp.step(c) FROM idem_cancel('q') c;
SELECT key, pg_temp.step(c) FROM idem_cancel('q') c;
SET idempotency.declines = record;
SELECT pg_temp.step(r), sqlstate, reason FROM idem_refund('q-r2', :'q', 10) r;
SELECT pg_temp.step(r), sqlstate, reason FROM idem_refund('q-r2', :'q', 10) r;
SELECT pg_temp.step(idem_payment(:'q'));
RESET idempotency.declines;
