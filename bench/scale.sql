-- The extension, and a view for the bare statements, so that they use the same table.
CREATE EXTENSION idempotency;
CREATE VIEW bare AS SELECT * FROM idempotency.operation;
CREATE FUNCTION uuid7() RETURNS uuid LANGUAGE C AS '$libdir/idempotency', 'idem_uuid7';
\ir meter.sql
-- Pays with the keys 'r' || 1000000000 and so on: numbers first to last of these keys, counted from 1.
CREATE PROCEDURE fill(first integer, last integer) LANGUAGE plpgsql AS $$
BEGIN
	FOR batch IN first .. last BY 8192 LOOP
		PERFORM count(b) FROM (
			SELECT array_agg('r' || (999999999 + g) ORDER BY g) AS keys, array_agg(50.00) AS amounts
			FROM generate_series(batch, least(batch + 8191, last)) g) s,
		LATERAL idem_pay_batch(keys, amounts) b;
		COMMIT;
	END LOOP;
END
$$;
