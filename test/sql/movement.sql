-- The view idempotency.movement: its sums are the totals of the payments.
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/include/step.psql'
\i :include
SET idempotency.scope = 'movement';

-- paid, and refunded in part; then cancelled, which refunds the rest; cancelled again, when nothing is left to undo
SELECT payment_id AS p FROM idem_pay('paid', 100, 'EUR', reference => 'order 1', metadata => '{"a": 1}') \gset
SELECT FROM idem_refund('paid-r1', :'p', 30, 'bill 7', '{"why": "late"}'::jsonb);
SELECT FROM idem_refund('paid-r2', :'p', 20);
SELECT FROM idem_cancel('paid');
SELECT payment_id AS p FROM idem_pay('refunded', 100, 'EUR') \gset
SELECT FROM idem_refund('refunded-r', :'p');
SELECT FROM idem_cancel('refunded');
-- captured in parts, of which the last one releases the rest
SELECT payment_id AS p FROM idem_authorize('parts', 100, 'EUR') \gset
SELECT FROM idem_capture('parts-c1', :'p', 30, false);
SELECT FROM idem_capture('parts-c2', :'p', 20, false);
SELECT FROM idem_capture('parts-c3', :'p', 10);
SELECT FROM idem_refund('parts-r', :'p', 15);
SELECT FROM idem_cancel('parts-c1');
-- all of it captured, as a whole and in parts
SELECT payment_id AS p FROM idem_authorize('whole', 100, 'KWD') \gset
SELECT FROM idem_capture('whole-c', :'p');
SELECT payment_id AS p FROM idem_authorize('whole, in parts', 100, 'JPY') \gset
SELECT FROM idem_capture('wp-c1', :'p', 99, false);
SELECT FROM idem_capture('wp-c2', :'p', final => false);
-- voided, as a whole and the rest; by idem_void and by idem_cancel
SELECT payment_id AS p FROM idem_authorize('voided', 100, 'EUR') \gset
SELECT FROM idem_void('voided-v', :'p');
SELECT payment_id AS p FROM idem_authorize('voided, the rest', 100, 'EUR') \gset
SELECT FROM idem_capture('vr-c', :'p', 30, false);
SELECT FROM idem_void('vr-v', :'p');
SELECT FROM idem_authorize('voided, cancelled', 100, 'EUR');
SELECT FROM idem_cancel('voided, cancelled');
-- expired, as a whole and the rest; and one whose expiry nobody has written yet
SELECT FROM idem_authorize('expired', 100, 'EUR', expires_in => '1 millisecond');
SELECT payment_id AS p FROM idem_authorize('expired, the rest', 100, 'EUR', expires_in => '1 second') \gset
SELECT FROM idem_capture('er-c', :'p', 30, false);
SELECT FROM pg_sleep(1.05);
SELECT idem_expire() > 0 AS released;
SELECT FROM idem_authorize('expired, not written', 100, 'EUR', expires_in => '1 millisecond');
-- raised, and prolonged, which moves nothing; then a raise is cancelled, and a final capture releases the rest
SELECT payment_id AS p FROM idem_authorize('raised', 100, 'EUR') \gset
SELECT FROM idem_increase('raised-i1', :'p', 50);
SELECT FROM idem_increase('raised-i2', :'p', 0, '9 days');
SELECT FROM idem_increase('raised-i3', :'p', 7, '10 days');
SELECT FROM idem_cancel('raised-i1');
SELECT FROM idem_capture('raised-c1', :'p', 10, false);
SELECT FROM idem_capture('raised-c2', :'p', 20);
-- a refund that came back, and was made again
SELECT payment_id AS p FROM idem_pay('reversed', 100, 'EUR') \gset
SELECT FROM idem_refund('reversed-r1', :'p', 60);
SELECT FROM idem_cancel('reversed-r1');
SELECT FROM idem_refund('reversed-r2', :'p');
-- a free order
SELECT FROM idem_pay('free', 0, 'EUR');
SELECT FROM idem_cancel('free');
-- declined operations, between others, and a key that was never used
SET idempotency.declines = record;
SELECT payment_id AS p FROM idem_authorize('declined', 100, 'EUR') \gset
SELECT FROM idem_capture('declined-c1', :'p', 101);
SELECT FROM idem_capture('declined-c2', :'p', 40, false);
SELECT FROM idem_refund('declined-r', :'p', 41);
SELECT FROM idem_capture('declined-c3', :'p', 10);
SELECT FROM idem_void('declined-v', :'p');
RESET idempotency.declines;
SELECT FROM idem_cancel('never used');

SELECT key, seq, kind, currency, held, moved FROM idempotency.movement WHERE scope = 'movement' ORDER BY payment_id, seq;
SELECT key, reference, metadata, from_account, to_account, role = current_user AS role, owner = current_user AS owner
FROM idempotency.movement WHERE payment_id = pg_temp.p('paid') ORDER BY seq;

-- the sums of a payment are its totals, whatever other tests have left; each payment has movements
SELECT count(*) > 0 AS payments, count(*) FILTER (WHERE m.held IS DISTINCT FROM v.authorized - v.captured - v.released) AS held_differs,
	count(*) FILTER (WHERE m.moved IS DISTINCT FROM v.captured - v.refunded) AS moved_differs
FROM (SELECT * FROM idempotency.payment WHERE authorized > 0) v
FULL JOIN (SELECT scope, payment_id, sum(held) AS held, sum(moved) AS moved FROM idempotency.movement GROUP BY scope, payment_id) m USING (scope, payment_id);
-- what is summed up to any moment are the totals of that moment: those of the newest operation then
SELECT count(*) > 0 AS moments, count(*) FILTER (WHERE (coalesce(held, 0), coalesce(moved, 0)) <> (authorized - captured - released, captured - refunded)) AS differ
FROM (SELECT o.*, sum(m.held) OVER w AS held, sum(m.moved) OVER w AS moved
	FROM idempotency.operation o LEFT JOIN idempotency.movement m USING (scope, payment_id, seq)
	WHERE o.scope = 'movement' AND o.kind <> 'cancel' WINDOW w AS (PARTITION BY o.scope, o.payment_id ORDER BY o.seq)) s;
-- no row without movement, and none without a currency
SELECT count(*) FROM idempotency.movement WHERE held = 0 AND moved = 0 OR currency IS NULL OR held IS NULL OR moved IS NULL;
-- amounts have the decimals of the currency
SELECT currency, array_agg(DISTINCT scale(held)) AS held, array_agg(DISTINCT scale(moved)) AS moved
FROM idempotency.movement WHERE scope = 'movement' GROUP BY currency ORDER BY currency;

-- a role's own movements, and whose payment it is
CREATE ROLE regress_idem_shop;
CREATE ROLE regress_idem_support;
CREATE ROLE regress_idem_auditor;
GRANT regress_idem_shop TO regress_idem_support;
SELECT idem_grant(r) FROM unnest('{regress_idem_shop,regress_idem_support}'::regrole[]) r;
SELECT idem_grant('regress_idem_auditor', 'auditor');
SET idempotency.scope = 'movement, team';
SET ROLE regress_idem_shop;
SELECT payment_id AS p FROM idem_pay('team', 100, 'EUR') \gset
SET ROLE regress_idem_support;
SELECT FROM idem_refund('team-r', :'p', 10);
-- an application role reads nothing; an auditor reads all, and needs the rights of the table, too
\set VERBOSITY sqlstate
SELECT count(*) FROM idempotency.movement;
RESET ROLE;
GRANT USAGE ON SCHEMA idempotency TO regress_idem_support;
GRANT SELECT ON idempotency.movement TO regress_idem_support;
SET ROLE regress_idem_support;
SELECT count(*) FROM idempotency.movement;
\set VERBOSITY default
SET ROLE regress_idem_auditor;
SELECT key, kind, moved, role, owner FROM idempotency.movement WHERE scope = 'movement, team' ORDER BY seq;
RESET ROLE;
DROP OWNED BY regress_idem_shop, regress_idem_support, regress_idem_auditor;
DROP ROLE regress_idem_shop, regress_idem_support, regress_idem_auditor;

-- one payment is found by the index; "moved" alone reads each row once
SET enable_seqscan = off;
SET enable_bitmapscan = off;
CREATE FUNCTION pg_temp.plan(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	plan json;
BEGIN
	EXECUTE 'EXPLAIN (COSTS OFF, FORMAT json) ' || query INTO plan;
	RETURN (SELECT count(*) FROM regexp_matches(plan::text, '"Index Cond": "[^\n]*payment_id', 'g'))
		|| ' of ' || (SELECT count(*) FROM regexp_matches(plan::text, 'Relation Name', 'g'));
END
$$;
SELECT pg_temp.plan($$SELECT * FROM idempotency.movement WHERE scope = '' AND payment_id = '00000000-0000-7000-8000-000000000000'$$);
RESET enable_seqscan;
RESET enable_bitmapscan;
SELECT pg_temp.plan($$SELECT sum(moved) FROM idempotency.movement WHERE created_at > now()$$);
RESET idempotency.scope;
