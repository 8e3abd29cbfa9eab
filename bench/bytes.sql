-- Bytes of WAL, heap and indexes for a payment, by single calls and by batches, next to the bare table. 20,000 payments go
-- into empty tables, with the same order of keys for both: random for single calls, sorted within each batch of 8,192.
-- Full-page images are off, since they depend on when a checkpoint happens. Prints what, ours, bare, ours / bare.
\set ON_ERROR_STOP on
ALTER SYSTEM SET full_page_writes = off;
SELECT pg_reload_conf() \g /dev/null
CREATE TEMP TABLE item AS SELECT md5(g::text) AS key, g / 8192 AS batch FROM generate_series(0, 19999) g;
CREATE TEMP TABLE bytes (way text, tab regclass, what text, bytes numeric);
CREATE FUNCTION pg_temp.measure(way text, tab regclass, statement text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	start pg_lsn;
BEGIN
	EXECUTE format('TRUNCATE %s', tab);
	start := pg_current_wal_insert_lsn();
	EXECUTE statement;
	INSERT INTO bytes VALUES (way, tab, 'WAL', pg_current_wal_insert_lsn() - start),
		(way, tab, 'heap', pg_relation_size(tab)), (way, tab, 'indexes', pg_indexes_size(tab));
END
$$;
SELECT pg_temp.measure('one by one', 'idempotency.operation', 'SELECT count(idem_pay(key, 50.00)) FROM item'),
	pg_temp.measure('one by one', 'bare', $$DO $do$
		DECLARE
			k text;
		BEGIN
			FOR k IN SELECT key FROM item LOOP
				INSERT INTO bare (payment_id, created_at, seq, whole, scope, key, kind, amount, currency,
					authorized, captured, released, refunded, role)
				VALUES (uuid7(), now(), 1, false, '', k, 'pay', 50.00, 'USD', 50.00, 50.00, 0.00, 0.00, current_user);
			END LOOP;
		END
		$do$ $$),
	pg_temp.measure('batches', 'idempotency.operation', 'SELECT count(b) FROM (
			SELECT array_agg(key) AS keys, array_agg(50.00) AS amounts FROM item GROUP BY batch) s,
		LATERAL idem_pay_batch(keys, amounts) b'),
	pg_temp.measure('batches', 'bare', $$INSERT INTO bare (payment_id, created_at, seq, whole, scope, key, kind, amount, currency,
			authorized, captured, released, refunded, role)
		SELECT uuid7(), now(), 1, false, '', key, 'pay', 50.00, 'USD', 50.00, 50.00, 0.00, 0.00, current_user
		FROM item ORDER BY batch, key$$) \g /dev/null
SELECT replace(o.what || ', ' || o.way, ' ', '_'), round(o.bytes / 20000, 1), round(b.bytes / 20000, 1), round(o.bytes / b.bytes, 3)
FROM bytes o JOIN bytes b USING (way, what) WHERE o.tab <> 'bare'::regclass AND b.tab = 'bare'::regclass
ORDER BY o.way DESC, o.what;
