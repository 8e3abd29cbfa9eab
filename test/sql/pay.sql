-- The first call does the work, and every later one gets its answer.

-- the first call, and a replay
SELECT key, seq, kind, status, amount, currency, authorized, captured, refunded, capturable, refundable,
	from_account, to_account, reference, metadata, expires_at, replayed
FROM idem_pay('gitcash-order-123', 50) \gx
CREATE TEMP TABLE first AS SELECT * FROM idem_lookup('gitcash-order-123');
SELECT * FROM idem_pay('gitcash-order-123', 50) \gset
SELECT :'replayed' AS replayed;

-- a replay gives the first receipt, byte for byte
SELECT r::text = f::text AS same FROM idem_pay('gitcash-order-123', 50) r, first f;

-- one row was stored
SELECT count(*) FROM idempotency.operation WHERE key = 'gitcash-order-123';

-- created_at and the payment id have the time of the call
SELECT created_at BETWEEN now() AND clock_timestamp() AS now FROM idem_pay('moment', 1);
SELECT ('x' || substr(replace(payment_id::text, '-', ''), 1, 12))::bit(48)::bigint
	= floor(extract(epoch FROM created_at) * 1000) AS time_of_payment_id,
	substr(payment_id::text, 15, 1) AS version,
	substr(payment_id::text, 20, 1) IN ('8', '9', 'a', 'b') AS variant
FROM idem_lookup('moment');

-- payment ids sort by the time of their payments
SELECT count(*) FROM (SELECT idem_pay('sorted-' || g, 1) FROM generate_series(1, 1000) g) s;
SELECT count(DISTINCT payment_id) AS payments,
	bool_and(payment_id > before OR created_at = created_before) AS sorted
FROM (SELECT payment_id, created_at, lag(payment_id) OVER w AS before, lag(created_at) OVER w AS created_before
	FROM idempotency.operation WHERE key LIKE 'sorted-%'
	WINDOW w AS (ORDER BY substr(key, 8)::integer)) s;

-- all arguments, by position and by name
SELECT key, amount, currency, reference, metadata, replayed
FROM idem_pay('all-arguments', 12.5, 'EUR', NULL, NULL, 'invoice 7', '{"cart": [1, 2]}', 'shop-1');
SELECT key, amount, currency, reference, metadata, replayed
FROM idem_pay(scope => 'shop-1', metadata => '{"cart":[1,2]}', reference => 'invoice 7', currency => 'EUR',
	amount => 12.50, key => 'all-arguments');

-- the default of an argument is NULL, and NULL means the default
SELECT replayed FROM idem_pay('defaults', 5);
SELECT replayed FROM idem_pay('defaults', 5, NULL, NULL, NULL, NULL, NULL, NULL);
SELECT replayed FROM idem_pay('defaults', 5, 'USD', scope => '');

-- idem_lookup: none or one receipt
SELECT key, amount, status, replayed FROM idem_lookup('gitcash-order-123');
SELECT count(*) FROM idem_lookup('never-seen');
SELECT idem_lookup('never-seen');
SELECT (idem_lookup(k)).key FROM unnest('{defaults,never-seen,moment}'::text[]) k;
SELECT k, l.amount FROM unnest('{defaults,never-seen,moment}'::text[]) k LEFT JOIN idem_lookup(k) l ON true;

-- idem_payment: the state now
SELECT p.key, p.seq, p.status, p.amount, p.capturable, p.refundable, p.replayed
FROM first f, idem_payment(f.payment_id) p;

-- in a select list, in PL/pgSQL, and in a prepared statement
SELECT (idem_pay('select-list', 3)).amount;
DO $$
DECLARE
	receipt record;
BEGIN
	FOR i IN 1..3 LOOP
		SELECT * INTO receipt FROM idem_pay('in-a-loop', 3);
		RAISE NOTICE 'replayed: %', receipt.replayed;
	END LOOP;
END
$$;
PREPARE pay(text, numeric) AS SELECT key, amount, replayed FROM idem_pay($1, $2);
EXECUTE pay('prepared', 1);
EXECUTE pay('prepared', 1);
EXECUTE pay('prepared', 1);
EXECUTE pay('prepared', 1);
EXECUTE pay('prepared', 1);
EXECUTE pay('prepared', 1);
EXECUTE pay('prepared-2', 1);

-- large metadata is stored out of line, and comes back whole
SELECT length(metadata::text) AS length, replayed FROM idem_pay('large', 1, metadata =>
	(SELECT jsonb_object_agg(g, md5(g::text)) FROM generate_series(1, 5000) g));
SELECT length(metadata::text) AS length, replayed FROM idem_pay('large', 1, metadata =>
	(SELECT jsonb_object_agg(g, md5(g::text)) FROM generate_series(1, 5000) g));

-- the extension has no sequence
SELECT count(*) FROM pg_class WHERE relkind = 'S' AND relnamespace = 'idempotency'::regnamespace;
