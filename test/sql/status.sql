-- The states of a payment: on receipts, by idem_payment, in its history and in the view idempotency.payment.
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/include/step.psql'
\i :include
SET idempotency.scope = 'status';
-- the scopes of this test and of those before it
\set scopes '{authorize,cancel,capture,decline,followup,free,increase,refund,status}'

-- one payment in each state, named after it
SELECT payment_id AS p FROM idem_authorize('authorized', 100, 'EUR') \gset
SELECT payment_id AS p FROM idem_authorize('partially_captured', 100, 'EUR') \gset
SELECT FROM idem_capture('pc-1', :'p', 30, false);
SELECT payment_id AS p FROM idem_pay('succeeded', 100, 'EUR') \gset
SELECT payment_id AS p FROM idem_authorize('succeeded, in part', 100, 'EUR') \gset
SELECT FROM idem_capture('s-1', :'p', 30);
SELECT payment_id AS p FROM idem_authorize('succeeded, the rest voided', 100, 'EUR') \gset
SELECT FROM idem_capture('sv-1', :'p', 30, false);
SELECT FROM idem_void('sv-2', :'p');
SELECT payment_id AS p FROM idem_authorize('voided', 100, 'EUR') \gset
SELECT FROM idem_void('v-1', :'p');
SELECT payment_id AS p FROM idem_pay('partially_refunded', 100, 'EUR') \gset
SELECT FROM idem_refund('pr-1', :'p', 99.99);
SELECT payment_id AS p FROM idem_authorize('partially_refunded, more is held', 100, 'EUR') \gset
SELECT FROM idem_capture('prh-1', :'p', 30, false);
SELECT FROM idem_refund('prh-2', :'p');
SELECT payment_id AS p FROM idem_pay('refunded', 100, 'JPY') \gset
SELECT FROM idem_refund('r-1', :'p', 40);
SELECT FROM idem_refund('r-2', :'p', 60);
SELECT payment_id AS p FROM idem_pay('refunded, by cancelling', 100, 'KWD') \gset
SELECT FROM idem_cancel('refunded, by cancelling');
-- payments whose state changes when the hold expires
SELECT payment_id AS p FROM idem_authorize('expired', 100, 'EUR', expires_in => '1 millisecond') \gset
SELECT payment_id AS p FROM idem_authorize('succeeded, the rest expired', 100, 'EUR', expires_in => '1 second') \gset
SELECT FROM idem_capture('se-1', :'p', 30, false);
SELECT payment_id AS p FROM idem_authorize('partially_refunded, the rest expired', 100, 'EUR', expires_in => '1 second') \gset
SELECT FROM idem_capture('pre-1', :'p', 30, false);
SELECT FROM idem_refund('pre-2', :'p', 10);
SELECT payment_id AS p FROM idem_authorize('refunded, the rest expired', 100, 'EUR', expires_in => '1 second') \gset
SELECT FROM idem_capture('re-1', :'p', 30, false);
SELECT FROM idem_refund('re-2', :'p');
SELECT payment_id AS p FROM idem_authorize('voided, before it could expire', 100, 'EUR', expires_in => '1 second') \gset
SELECT FROM idem_void('ve-1', :'p');
SELECT payment_id AS p FROM idem_authorize('succeeded, in time', 100, 'EUR', expires_in => '1 second') \gset
SELECT FROM idem_capture('st-1', :'p', 30);
SELECT key, status, capturable FROM idempotency.payment p
WHERE scope = 'status' AND expires_at - created_at = '1 second' ORDER BY key;
SELECT FROM pg_sleep(1.05);
-- declined operations, which change nothing
SET idempotency.declines = record;
SELECT payment_id AS p FROM idem_pay('succeeded, with a decline', 100, 'EUR') \gset
SELECT FROM idem_refund('d-1', :'p', 100.01);
SELECT payment_id AS p FROM idem_lookup('expired') \gset
SELECT FROM idem_capture('d-2', :'p');
SELECT payment_id AS p FROM idem_lookup('voided, before it could expire') \gset
SELECT FROM idem_void('d-3', :'p');
RESET idempotency.declines;
SELECT FROM idem_cancel('cancelled');

SELECT o.key, p.status, p.currency, p.authorized, p.captured, p.released, p.refunded, p.capturable, p.refundable
FROM idempotency.payment p JOIN idempotency.operation o USING (scope, payment_id)
WHERE scope = 'status' AND o.seq = 1 ORDER BY o.key;
SELECT o.key FROM idempotency.payment p JOIN idempotency.operation o USING (scope, payment_id)
WHERE scope = 'status' AND o.seq = 1 AND o.key !~ ('^' || p.status);

-- idem_payment agrees with the view, also about the other tests' payments
SELECT count(*) > 0 AS payments, count(*) FILTER (WHERE
	(v.status, v.currency, v.authorized, v.captured, v.refunded, v.capturable, v.refundable, v.from_account, v.to_account,
	 v.expires_at, v.changed_at)
	IS DISTINCT FROM
	(p.status, p.currency, p.authorized, p.captured, p.refunded, p.capturable, p.refundable, p.from_account, p.to_account,
	 p.expires_at, p.created_at)) AS differ
FROM idempotency.payment v, idem_payment(v.payment_id, v.scope) p WHERE v.scope = ANY(:'scopes');
-- they agree to the last decimal
SELECT count(*) AS differ FROM idempotency.payment v, idem_payment(v.payment_id, v.scope) p
WHERE v.scope = ANY(:'scopes') AND concat_ws(' ', v.authorized, v.captured, v.refunded, v.capturable, v.refundable) <>
	concat_ws(' ', p.authorized, p.captured, p.refunded, p.capturable, p.refundable);
-- the view has every payment, except keys that were cancelled unused
SELECT count(*) AS missing FROM idempotency.operation o
WHERE scope = ANY(:'scopes') AND kind <> 'cancel' AND NOT EXISTS (SELECT FROM idempotency.payment v WHERE (v.scope, v.payment_id) = (o.scope, o.payment_id));
SELECT count(*) AS too_many FROM idempotency.payment v WHERE v.scope = ANY(:'scopes') AND NOT EXISTS
	(SELECT FROM idempotency.operation o WHERE (v.scope, v.payment_id) = (o.scope, o.payment_id) AND kind IN ('pay', 'authorize'));
SELECT count(*) = count(DISTINCT (scope, payment_id)) AS once FROM idempotency.payment WHERE scope = ANY(:'scopes');

-- the laws of the amounts hold in every row
SELECT count(*) AS outlaws FROM idempotency.operation
WHERE scope = ANY(:'scopes') AND NOT (0 <= refunded AND refunded <= captured AND 0 <= released AND captured + released <= authorized);
-- each operation changes its own total, by its amount
SELECT count(*) AS wrong FROM (
	SELECT *, lag(captured) OVER w AS c, lag(refunded) OVER w AS r, lag(released) OVER w AS l, lag(seq) OVER w AS s,
		lag(authorized) OVER w AS a, lag(currency) OVER w AS cu, lag(expires_at) OVER w AS e
	FROM idempotency.operation WHERE scope = ANY(:'scopes') WINDOW w AS (PARTITION BY scope, payment_id ORDER BY seq)) o
WHERE CASE
	WHEN seq = 1 THEN s IS NOT NULL OR kind NOT IN ('pay', 'authorize', 'cancel')
		OR authorized <> amount OR refunded <> 0 OR released <> 0
		OR captured <> CASE kind WHEN 'pay' THEN amount ELSE 0 END
	WHEN s IS DISTINCT FROM seq - 1 OR cu IS DISTINCT FROM currency THEN true
	WHEN kind = 'increase' AND sqlstate IS NULL THEN authorized <> a + amount OR e > expires_at OR (captured, refunded, released) <> (c, r, l)
	WHEN (a, e) IS DISTINCT FROM (authorized, expires_at) THEN true
	WHEN sqlstate IS NOT NULL OR key ^@ 'idem_cancel:' AND amount = 0 THEN (captured, refunded, released) <> (c, r, l)
	WHEN kind = 'capture' THEN captured <> c + amount OR refunded <> r
		OR released <> CASE WHEN final THEN authorized - captured ELSE l END
	WHEN kind IN ('void', 'expire') THEN captured <> c OR refunded <> r OR released <> l + amount OR whole AND released <> authorized - captured
	WHEN kind IN ('refund', 'reversal') THEN captured <> c OR released <> l
		OR refunded <> r + CASE kind WHEN 'refund' THEN amount ELSE -amount END
	ELSE true END;

-- the history has what the keys replay, in order
SELECT count(*) AS operations, count(*) FILTER (WHERE h::text <> l::text) AS differ, bool_and(h.replayed) AS replayed
FROM idempotency.payment v, idem_history(v.payment_id) h, idem_lookup(h.key) l WHERE v.scope = 'status';
SELECT h.seq, h.key, h.status FROM idem_history(pg_temp.p('succeeded, the rest voided')) h;
SELECT h.seq, h.key, h.status FROM idem_history(pg_temp.p('succeeded, the rest voided'), 'status') h;
SELECT h.seq, h.key, h.status FROM idem_history(pg_temp.p('cancelled')) h;
SELECT pg_temp.step($$idem_history('00000000-0000-7000-8000-000000000000')$$);
SELECT pg_temp.step($$idem_history(NULL)$$);
SELECT pg_temp.step($$idem_history(pg_temp.p('succeeded'), 'another')$$);
SELECT pg_temp.step($$idem_history(pg_temp.p('succeeded'), E'\n')$$);
SELECT pg_temp.step($$idem_payment(pg_temp.p('succeeded'), 'another')$$);
-- a history that does not fit in work_mem
SET work_mem = '64kB';
SELECT payment_id AS p FROM idem_pay('long', 3000, 'EUR') \gset
SELECT count(*) FROM generate_series(1, 2999) i, idem_refund('long-' || i, :'p', 1);
SELECT count(*), sum(amount) FILTER (WHERE seq > 1) AS refunded, bool_and(seq = n) AS in_order
FROM (SELECT seq, amount, row_number() OVER () AS n FROM idem_history(:'p')) h;
RESET work_mem;
SELECT seq, refundable FROM idem_payment(:'p');
-- a history of which only a part is read, in a read-only transaction
BEGIN READ ONLY;
SELECT seq FROM idem_history(:'p') LIMIT 2;
SELECT (idem_history(:'p')).seq LIMIT 2;
COMMIT;

-- the view finds one payment by its index
SET enable_seqscan = off;
SET enable_bitmapscan = off;
CREATE FUNCTION pg_temp.index_condition(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	plan json;
BEGIN
	EXECUTE 'EXPLAIN (COSTS OFF, FORMAT json) ' || query INTO plan;
	RETURN (SELECT count(*) FROM regexp_matches(plan::text, '"Index Cond": "[^\n]*payment_id', 'g'))
		|| ' of ' || (SELECT count(*) FROM regexp_matches(plan::text, 'Relation Name', 'g'));
END
$$;
SELECT pg_temp.index_condition($$SELECT status FROM idempotency.payment
	WHERE scope = '' AND payment_id = '00000000-0000-7000-8000-000000000000'$$);
RESET enable_seqscan;
RESET enable_bitmapscan;

-- the movements add up to the totals of each payment; one of zero has none
SELECT count(*) > 0 AS payments, count(*) FILTER (WHERE (coalesce(m.held, 0), coalesce(m.moved, 0)) IS DISTINCT FROM
	(v.authorized - v.captured - v.released, v.captured - v.refunded)) AS differ
FROM (SELECT * FROM idempotency.payment WHERE scope = ANY(:'scopes')) v
FULL JOIN (SELECT scope, payment_id, sum(held) AS held, sum(moved) AS moved FROM idempotency.movement WHERE scope = ANY(:'scopes')
	GROUP BY scope, payment_id) m USING (scope, payment_id);
