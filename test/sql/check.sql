-- idem_check: the invariants, over whatever the tests before have left, and that it finds what is broken.
SELECT * FROM idem_check();

-- a payment of each kind, to break
SELECT payment_id AS p FROM idem_authorize('check', 100) \gset
SELECT seq FROM idem_capture('check-capture', :'p', 60);
SELECT seq FROM idem_refund('check-refund', :'p', 10);
SELECT bool_and(ok) FROM idem_check();

CREATE FUNCTION pg_temp.broken(statement text) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
	BEGIN
		EXECUTE statement;
		RETURN QUERY SELECT invariant || ': ' || detail FROM idem_check() WHERE NOT ok;
		RAISE EXCEPTION USING ERRCODE = 'ZZ000';
	EXCEPTION WHEN SQLSTATE 'ZZ000' THEN
	END;
END
$$;
SELECT pg_temp.broken($$UPDATE idempotency.operation SET captured = 61 WHERE key = 'check-capture'$$);
SELECT pg_temp.broken($$UPDATE idempotency.operation SET refunded = 70 WHERE key = 'check-refund'$$);
SELECT pg_temp.broken($$UPDATE idempotency.operation SET amount = 11, refunded = 11 WHERE key = 'check-refund'$$);
SELECT pg_temp.broken($$UPDATE idempotency.operation SET released = 39 WHERE key = 'check-capture'$$);
SELECT pg_temp.broken($$DELETE FROM idempotency.operation WHERE key = 'check-capture'$$);
SELECT pg_temp.broken($$UPDATE idempotency.operation SET currency = 'EUR' WHERE key = 'check-refund'$$);
SELECT pg_temp.broken($$UPDATE idempotency.operation SET owner = 'somebody' WHERE key = 'check-refund'$$);
SELECT pg_temp.broken($$UPDATE idempotency.operation SET amount = 'NaN' WHERE key = 'check-refund'$$);
SELECT pg_temp.broken($$UPDATE idempotency.operation SET sqlstate = 'ID412' WHERE key = 'check-refund'$$);
SELECT pg_temp.broken($$UPDATE idempotency.operation SET operation = 'gift' WHERE key = 'check-refund'$$);
SELECT pg_temp.broken($$UPDATE idempotency.operation SET created_at = expires_at WHERE key = 'check-capture'$$);
SELECT pg_temp.broken($$UPDATE idempotency.operation SET key = '' WHERE key = 'check-capture'$$);
BEGIN;
ALTER TABLE idempotency.operation DROP CONSTRAINT operation_key_scope_key;
SELECT pg_temp.broken($$UPDATE idempotency.operation SET key = 'check' WHERE key = 'check-capture'$$);
ROLLBACK;
