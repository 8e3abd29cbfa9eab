-- idem_payments: the payments of a scope in the order of time, page by page.
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/include/error.psql'
\i :include
SET idempotency.scope = 'payments';

-- one row for each payment, with its state now, as idem_payment gives it
SELECT payment_id AS paid FROM idem_pay('paid', 10, 'EUR', reference => 'order 1', metadata => '{"a": 1}') \gset
SELECT payment_id AS held FROM idem_authorize('held', 20, 'EUR') \gset
SELECT payment_id AS captured FROM idem_authorize('captured', 30, 'EUR') \gset
SELECT payment_id AS expired FROM idem_authorize('expired', 40, 'EUR', expires_in => '1 millisecond') \gset
SELECT FROM idem_cancel('never used');
SELECT payment_id AS last FROM idem_pay('last', 50, 'JPY') \gset
SELECT FROM idem_capture('captured-1', :'captured', 10, false);
SELECT FROM idem_refund('paid-1', :'paid', 4);
SELECT FROM idem_capture('captured-2', :'captured', 5);
SET idempotency.declines = record;
SELECT FROM idem_refund('paid-2', :'paid', 7);
SELECT FROM idem_refund('paid-3', :'paid', 8);
RESET idempotency.declines;
SELECT FROM pg_sleep(0.01);
SELECT key, seq, kind, status, amount, currency, captured, refunded, capturable, refundable, reference, replayed FROM idem_payments();
SELECT count(*), count(*) FILTER (WHERE p::text <> one::text) AS differ FROM idem_payments() p, idem_payment(p.payment_id) one;
-- they are the payments of the view, in the order in which they were started
SELECT array_agg(p.payment_id) = (SELECT array_agg(v.payment_id ORDER BY v.created_at) FROM idempotency.payment v WHERE v.scope = 'payments') AS same
FROM idem_payments() p;
SELECT key FROM idem_payments(scope => 'payments-other');
SELECT key FROM idem_payments(scope => 'payment');
-- before and after maintenance has released the hold
SELECT seq, kind, status, capturable FROM idem_payments() WHERE payment_id = :'expired';
SELECT idem_expire() > 0 AS released;
SELECT seq, kind, status, capturable FROM idem_payments() WHERE payment_id = :'expired';

-- pages: "after" is the last payment of the page before
SELECT key FROM idem_payments(max => 2);
SELECT key FROM idem_payments(max => 2, after => :'held');
SELECT key FROM idem_payments(max => 2, after => :'expired');
SELECT key FROM idem_payments(max => 2, after => :'last');
-- it need not be a payment, nor one of this scope
SELECT key FROM idem_payments(after => '00000000-0000-0000-0000-000000000000', max => 1);
SELECT key FROM idem_payments(after => 'ffffffff-ffff-ffff-ffff-ffffffffffff');
SELECT key FROM idem_payments(after => (SELECT payment_id FROM idem_lookup('never used')));

-- the time when the payment was started decides, not that of its newest operation
SELECT created_at AS start FROM idem_lookup('captured') \gset
SELECT key FROM idem_payments(since => :'start');
SELECT key FROM idem_payments(until => :'start');
SELECT key FROM idem_payments(:'start', :'start'::timestamptz + interval '1 microsecond');
SELECT key FROM idem_payments(since => :'start', until => :'start');
SELECT key FROM idem_payments(since => now(), until => :'start');
SELECT key FROM idem_payments(since => :'start', after => :'paid', max => 1);
SELECT key FROM idem_payments(since => :'start', after => :'captured', max => 1);
SELECT key FROM idem_payments(until => :'start', after => :'captured');

-- to the microsecond, though ids are compared by their milliseconds; and at the ends of time
CREATE FUNCTION pg_temp.id(at timestamptz, n integer) RETURNS uuid LANGUAGE sql AS $$
	SELECT (lpad(to_hex((floor(extract(epoch FROM at) * 1000))::bigint), 12, '0') || '7000' || lpad(to_hex(n), 16, '8'))::uuid
$$;
BEGIN;
SET LOCAL timezone = 'UTC';
SET LOCAL datestyle = ISO;
INSERT INTO idempotency.operation (payment_id, created_at, seq, scope, key, kind, amount, currency, authorized, captured, released, refunded, role)
SELECT pg_temp.id(at, n::int), at, 1, 'edges', at::text, 'pay', 1, 'JPY', 1, 1, 0, 0, current_user
FROM unnest('{1970-01-01 00:00:00,1970-01-01 00:00:00.000999,1970-01-01 00:00:00.001,2026-03-01 12:00:00.123,2026-03-01 12:00:00.123001,
	2026-03-01 12:00:00.123999,2026-03-01 12:00:00.124,10889-08-02 05:31:50.655,10889-08-02 05:31:50.655999}'::timestamptz[]) WITH ORDINALITY t(at, n);
SELECT since, until, (SELECT string_agg(ltrim(key, '-'), ', ') FROM idem_payments(since, until, scope => 'edges')) AS keys
FROM (VALUES
	('2026-03-01 12:00:00.123'::timestamptz, '2026-03-01 12:00:00.124'::timestamptz),
	('2026-03-01 12:00:00.123001', '2026-03-01 12:00:00.123002'),
	('2026-03-01 12:00:00.123002', '2026-03-01 12:00:00.123999'),
	('2026-03-01 12:00:00.123002', '2026-03-01 12:00:00.124001'),
	('-infinity', '1970-01-01 00:00:00.001'),
	('4000-01-01 BC', '1970-01-01'),
	('4000-01-01 BC', '1970-01-01 00:00:00.000001'),
	('1969-12-31 23:59:59.999999', '1970-01-01 00:00:00.000999'),
	('3000-01-01', '10889-08-02 05:31:50.655999'),
	('10889-08-02 05:31:50.655999', 'infinity'),
	('10889-08-02 05:31:50.656', 'infinity'),
	('200000-01-01', '294276-01-01'),
	('10889-08-02 05:31:50.6559', '294276-12-31 23:59:59.999999'),
	('infinity', NULL),
	('infinity', 'infinity'),
	(NULL, '-infinity'),
	('-infinity', '-infinity'),
	('infinity', '-infinity')) v(since, until);
SELECT count(*) FROM idem_payments('-infinity', 'infinity', scope => 'edges');
SELECT count(*) FROM idem_payments(NULL, NULL, NULL, 1000, 'edges');
-- a payment that does not begin with the operation of number 1, and one of which all is declined: written by hand
UPDATE idempotency.operation SET seq = 2 WHERE scope = 'edges' AND key LIKE '%123001+00';
UPDATE idempotency.operation SET sqlstate = 'ID412' WHERE scope = 'edges' AND key LIKE '%123999+00';
SELECT seq, key FROM idem_payments('2026-03-01 12:00:00', '2026-03-01 12:00:01', scope => 'edges');
ROLLBACK;

-- errors
SELECT pg_temp.error($$SELECT idem_payments(max => 0)$$);
SELECT pg_temp.error($$SELECT idem_payments(max => -1)$$);
SELECT pg_temp.error($$SELECT idem_payments(max => 1001)$$);
SELECT pg_temp.error($$SELECT idem_payments(max => 2147483647)$$);
SELECT pg_temp.error($$SELECT idem_payments(max => NULL)$$);
SELECT pg_temp.error($$SELECT idem_payments(NULL, NULL, NULL, NULL, NULL)$$);
SELECT pg_temp.error($$SELECT idem_payments(since => 'infinity', max => NULL)$$);
SELECT pg_temp.error($$SELECT idem_payments(scope => E'\n')$$);
SELECT pg_temp.error($$SELECT idem_payments(scope => repeat('s', 256))$$);
SELECT pg_temp.error($$SELECT idem_payments('yesterday evening')$$);
SELECT pg_temp.error($$SELECT idem_payments(after => 'a')$$);
-- a null in a plan that does not know it
PREPARE page (integer) AS SELECT count(*) FROM idem_payments(max => $1);
SET plan_cache_mode = force_generic_plan;
EXECUTE page (3);
SELECT pg_temp.error('EXECUTE page (NULL)');
RESET plan_cache_mode;

-- any number of payments: pages of any size have each payment once, in order
SET idempotency.scope = 'payments, many';
SELECT count(*) FROM generate_series(1, 1500) i, idem_pay('many ' || i, i, 'JPY');
SELECT FROM pg_sleep(0.005);
SELECT created_at AS later FROM idem_pay('many 1501', 1501, 'JPY') \gset
SELECT count(*) FROM generate_series(1502, 2500) i, idem_pay('many ' || i, i, 'JPY');
CREATE FUNCTION pg_temp.pages(size integer) RETURNS SETOF idem_receipt LANGUAGE plpgsql AS $$
DECLARE
	last uuid;
	n integer;
BEGIN
	LOOP
		RETURN QUERY SELECT * FROM idem_payments(after => last, max => size);
		GET DIAGNOSTICS n = ROW_COUNT;
		EXIT WHEN n = 0;
		SELECT p.payment_id INTO last FROM idem_payments(after => last, max => size) WITH ORDINALITY p ORDER BY ordinality DESC LIMIT 1;
	END LOOP;
END
$$;
SELECT size, count(*), count(DISTINCT payment_id) AS payments, bool_and(payment_id > before) AS in_order
FROM (SELECT size, p.payment_id, lag(p.payment_id) OVER (PARTITION BY size ORDER BY n) AS before
	FROM unnest('{1,7,100,1000}'::int[]) size, pg_temp.pages(size) WITH ORDINALITY
		p(key, payment_id, seq, kind, status, amount, currency, authorized, captured, refunded, capturable, refundable, from_account, to_account,
			reference, metadata, expires_at, created_at, sqlstate, message, replayed, n)) pages
GROUP BY size ORDER BY size;
SET work_mem = '64kB';
SELECT count(*), sum(amount) FROM idem_payments(max => 1000);
RESET work_mem;
SELECT key FROM idem_payments(max => 1000) LIMIT 2;
SELECT (idem_payments(max => 3)).key;

-- a page reads its own rows: two of each payment, by two index scans, whatever else there is
SELECT payment_id AS busy FROM idem_pay('busy', 5000, 'JPY') \gset
SELECT count(*) FROM generate_series(1, 2000) i, idem_refund('busy ' || i, :'busy', 1);
SELECT FROM idem_pay('after busy', 1);
CREATE TEMP TABLE work (name text, scans bigint, rows bigint, sequential bigint);
CREATE FUNCTION pg_temp.work(what text, query text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	index regclass := 'idempotency.operation_pkey';
	heap regclass := 'idempotency.operation';
	scans bigint := pg_stat_get_xact_numscans(index);
	rows bigint := pg_stat_get_xact_tuples_fetched(index);
	sequential bigint := pg_stat_get_xact_numscans(heap);
	result bigint;
BEGIN
	EXECUTE 'SELECT count(*) FROM ' || query INTO result;
	INSERT INTO work VALUES (what, pg_stat_get_xact_numscans(index) - scans, pg_stat_get_xact_tuples_fetched(index) - rows,
		pg_stat_get_xact_numscans(heap) - sequential);
	RETURN result;
END
$$;
SELECT pg_temp.work('first page', $$idem_payments(max => 10)$$);
SELECT pg_temp.work('in the middle', format('idem_payments(since => %L, max => 10)', :'later'));
SELECT pg_temp.work('no payment', $$idem_payments(since => '3000-01-01')$$);
SELECT pg_temp.work('time that no id has', $$idem_payments(since => 'infinity')$$);
SELECT pg_temp.work('many operations', format('idem_payments(after => (SELECT payment_id FROM idem_lookup(%L)), max => 1)', 'many 2500'));
SELECT pg_temp.work('after many operations', format('idem_payments(after => %L, max => 10)', :'busy'));
SELECT * FROM work;

-- it assigns no transaction id and takes the locks of a SELECT; it works in a read-only transaction
BEGIN READ ONLY;
SELECT count(*) FROM idem_payments(max => 5);
SELECT pg_current_xact_id_if_assigned() IS NULL AS no_transaction_id;
SELECT locktype, relation::regclass, mode FROM pg_locks
WHERE pid = pg_backend_pid() AND (relation IS NULL OR relation >= 16384) AND locktype <> 'virtualxid'
ORDER BY relation::regclass::text;
COMMIT;
-- it sees what a SELECT sees: its own transaction's rows, and not those of a savepoint that was rolled back
SET idempotency.scope = 'payments, own';
BEGIN;
SELECT FROM idem_pay('own 1', 1);
SAVEPOINT s;
SELECT FROM idem_pay('own 2', 1);
SELECT key FROM idem_payments();
ROLLBACK TO s;
SELECT key FROM idem_payments();
ROLLBACK;
SELECT key FROM idem_payments();
-- at SERIALIZABLE, it locks what it has read, and not the whole table
SET idempotency.scope = 'payments, many';
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT count(*) FROM idem_payments(max => 2);
SELECT DISTINCT relation::regclass, locktype FROM pg_locks WHERE pid = pg_backend_pid() AND mode = 'SIReadLock' ORDER BY 1, 2;
ROLLBACK;

-- a role sees the payments that it may go on with, and nothing of others; those do not count
SET idempotency.scope = 'payments, team';
CREATE ROLE regress_idem_shop;
CREATE ROLE regress_idem_support;
CREATE ROLE regress_idem_stranger;
GRANT regress_idem_shop TO regress_idem_support;
SELECT idem_grant(r) FROM unnest('{regress_idem_shop,regress_idem_support,regress_idem_stranger}'::regrole[]) r;
SET ROLE regress_idem_shop;
SELECT payment_id AS shop FROM idem_pay('shop 1', 10) \gset
SELECT count(*) FROM generate_series(2, 40) i, idem_pay('shop ' || i, 10);
SET ROLE regress_idem_support;
SELECT FROM idem_pay('support', 10);
SELECT FROM idem_refund('by support', :'shop', 1);
SET ROLE regress_idem_stranger;
SELECT FROM idem_pay('stranger', 10);
SELECT key FROM idem_payments(max => 1);
SELECT key FROM idem_payments();
SELECT count(*) FROM idem_payments(scope => 'payments, many');
SELECT key FROM idem_payments(after => :'shop', max => 1);
SET ROLE regress_idem_shop;
SELECT count(*), count(*) FILTER (WHERE key LIKE 'shop%') AS newest_by_shop, count(*) FILTER (WHERE key = 'by support') AS by_support FROM idem_payments();
SELECT key FROM idem_payments(max => 2);
SET ROLE regress_idem_support;
SELECT count(*) FROM idem_payments();
RESET ROLE;
SELECT count(*) FROM idem_payments();
REVOKE regress_idem_shop FROM regress_idem_support;
SET ROLE regress_idem_support;
SELECT key FROM idem_payments();
RESET ROLE;
DROP OWNED BY regress_idem_shop, regress_idem_support, regress_idem_stranger;
DROP ROLE regress_idem_shop, regress_idem_support;
-- payments of a role that is gone: only a superuser sees them
SET ROLE regress_idem_stranger;
SELECT pg_temp.error('SELECT idem_payments()');
RESET ROLE;
SELECT idem_grant('regress_idem_stranger');
SET ROLE regress_idem_stranger;
SELECT count(*) FROM idem_payments();
RESET ROLE;
SELECT count(*) FROM idem_payments();
SELECT idem_revoke('regress_idem_stranger');
DROP OWNED BY regress_idem_stranger;
DROP ROLE regress_idem_stranger;
RESET idempotency.scope;
