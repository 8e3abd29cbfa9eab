-- idem_check: the invariants hold for what the earlier tests have left, and what is broken is found.
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/include/error.psql'
\i :include

SELECT * FROM idem_check();

-- operations to break
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
SELECT pg_temp.broken($$UPDATE idempotency.operation SET kind = 'gift' WHERE key = 'check-refund'$$);
SELECT pg_temp.broken($$UPDATE idempotency.operation SET created_at = expires_at WHERE key = 'check-capture'$$);
SELECT pg_temp.broken($$UPDATE idempotency.operation SET key = '' WHERE key = 'check-capture'$$);

-- a hold that is raised, prolonged and captured in part; a refund that is reversed; an increase that is cancelled
SELECT payment_id AS p FROM idem_authorize('check-h', 100) \gset
SELECT seq, authorized FROM idem_increase('check-more', :'p', 50);
SELECT seq, authorized FROM idem_increase('check-long', :'p', expires_in => '8 days');
SELECT seq FROM idem_capture('check-part', :'p', 60, final => false);
SELECT seq, refunded FROM idem_refund('check-back', :'p', 30);
SELECT seq, refunded FROM idem_cancel('check-back');
SELECT seq, capturable FROM idem_cancel('check-more');
SELECT seq, status FROM idem_increase('check-less', :'p', 5, '1 day', declines => 'record');
SELECT seq, status FROM idem_pay('check-free', 0);
SELECT seq, status FROM idem_cancel('check-free');
SELECT bool_and(ok) FROM idem_check();
-- an increase: its amount, its times, and what belongs to its kind
SELECT pg_temp.broken($$UPDATE idempotency.operation SET amount = 49.00 WHERE key = 'check-more'$$);
SELECT pg_temp.broken($$UPDATE idempotency.operation SET authorized = 151.00 WHERE key = 'check-long'$$);
SELECT pg_temp.broken($$UPDATE idempotency.operation SET prolonged = false WHERE key = 'check-long'$$);
SELECT pg_temp.broken($$UPDATE idempotency.operation SET prolonged = NULL WHERE key = 'check-more'$$);
SELECT pg_temp.broken($$UPDATE idempotency.operation SET prolonged = false WHERE key = 'check-part'$$);
SELECT pg_temp.broken($$UPDATE idempotency.operation SET whole = true WHERE key = 'check-more'$$);
SELECT pg_temp.broken($$UPDATE idempotency.operation SET expires_at = expires_at + interval '1 day' WHERE key = 'check-more'$$);
SELECT pg_temp.broken($$UPDATE idempotency.operation SET expires_at = expires_at - interval '1 day' WHERE key = 'check-long'$$);
SELECT pg_temp.broken(format($$UPDATE idempotency.operation SET expires_at = expires_at - interval '2 days' WHERE payment_id = %L AND seq >= 3$$, :'p'));
SELECT pg_temp.broken($$UPDATE idempotency.operation SET created_at = expires_at WHERE key = 'check-more'$$);
SELECT pg_temp.broken($$UPDATE idempotency.operation SET expires_at = expires_at + interval '1 day' WHERE key = 'check-less'$$);
SELECT pg_temp.broken($$UPDATE idempotency.operation SET authorized = 155.00 WHERE key = 'check-less'$$);
SELECT pg_temp.broken($$DELETE FROM idempotency.operation WHERE key = 'check-h'$$);
-- a reversal: its amount is that of the refund that its key names
SELECT pg_temp.broken($$UPDATE idempotency.operation SET refunded = 30.00 WHERE key = 'idem_cancel:check-back'$$);
SELECT pg_temp.broken(format($$UPDATE idempotency.operation SET amount = CASE WHEN kind = 'reversal' THEN 29.00 ELSE amount END, refunded = 1.00
	WHERE payment_id = %L AND seq >= 6$$, :'p'));
SELECT pg_temp.broken($$UPDATE idempotency.operation SET key = 'check-other' WHERE key = 'idem_cancel:check-back'$$);
SELECT pg_temp.broken($$UPDATE idempotency.operation SET key = 'idem_cancel:check-part' WHERE key = 'idem_cancel:check-back'$$);
SELECT pg_temp.broken($$UPDATE idempotency.operation SET sqlstate = 'ID412', message = 'no' WHERE key = 'idem_cancel:check-back'$$);
-- a cancelled increase: its amount, as far as it is left
SELECT pg_temp.broken(format($$UPDATE idempotency.operation SET amount = CASE seq WHEN 7 THEN 90.00 ELSE amount END, released = 90.00
	WHERE payment_id = %L AND seq >= 7$$, :'p'));
SELECT pg_temp.broken(format($$UPDATE idempotency.operation SET amount = CASE seq WHEN 7 THEN 90.00 ELSE amount END, released = 90.00,
	whole = seq = 7 WHERE payment_id = %L AND seq >= 7$$, :'p'));
SELECT pg_temp.broken(format($$UPDATE idempotency.operation SET amount = CASE seq WHEN 7 THEN 0.00 ELSE amount END, released = 0.00
	WHERE payment_id = %L AND seq >= 7$$, :'p'));
SELECT pg_temp.broken($$UPDATE idempotency.operation SET key = 'check-other' WHERE key = 'idem_cancel:check-more'$$);
-- zero: only a pay, an increase of the time, and what cancels them
SELECT pg_temp.broken($$UPDATE idempotency.operation SET amount = 0.00, prolonged = false WHERE key = 'check-more'$$);
SELECT pg_temp.broken($$UPDATE idempotency.operation SET key = 'check-other' WHERE key = 'idem_cancel:check-free'$$);
SELECT pg_temp.broken($$UPDATE idempotency.operation SET kind = 'authorize', expires_at = created_at + interval '1 day' WHERE key = 'check-free'$$);
SELECT pg_temp.broken($$UPDATE idempotency.operation SET amount = 1.00 WHERE key = 'idem_cancel:check-free'$$);

BEGIN;
ALTER TABLE idempotency.operation DROP CONSTRAINT operation_key_scope_key;
SELECT pg_temp.broken($$UPDATE idempotency.operation SET key = 'check' WHERE key = 'check-capture'$$);
ROLLBACK;

-- the functions work with amounts that were written by hand
INSERT INTO idempotency.operation (payment_id, created_at, seq, scope, key, kind, amount, currency, authorized, captured, released, refunded, role, expires_at)
	SELECT ('01900000-0000-7000-8000-0000000001' || g)::uuid, now(), 1, 'by hand', 'hold-' || g, 'authorize', a, c, a, 0, 0, 0, current_user, 'infinity'
	FROM (VALUES (10, round(1.0, 477), 'USD'), (11, 'NaN', 'USD'), (12, 5, NULL), (13, 'Infinity', 'USD')) v(g, a, c);
SELECT ok FROM idem_check() WHERE invariant LIKE 'amounts are%';
SELECT length(amount::text) FROM idem_void('void-10', '01900000-0000-7000-8000-000000000110', scope => 'by hand');
SELECT amount FROM idem_void('void-11', '01900000-0000-7000-8000-000000000111', scope => 'by hand');
SELECT amount, currency FROM idem_capture('capture-12', '01900000-0000-7000-8000-000000000112', scope => 'by hand');
SELECT pg_temp.error($$SELECT idem_refund('refund-12', '01900000-0000-7000-8000-000000000112', 6, scope => 'by hand')$$);
SELECT amount FROM idem_void('void-13', '01900000-0000-7000-8000-000000000113', scope => 'by hand');
SHOW idempotency.declines;
DELETE FROM idempotency.operation WHERE scope = 'by hand';
-- a type idem_receipt that was altered is an error, no crash
BEGIN;
ALTER TYPE idem_receipt ALTER ATTRIBUTE seq TYPE text;
SELECT seq FROM idem_lookup('check');
ROLLBACK;
-- a row policy that hides rows makes idem_check fail; it must not report that all is well
CREATE ROLE regress_idem_auditor;
GRANT USAGE ON SCHEMA idempotency TO regress_idem_auditor;
GRANT SELECT ON idempotency.operation, idempotency.payment TO regress_idem_auditor;
GRANT EXECUTE ON FUNCTION idem_check() TO regress_idem_auditor;
ALTER TABLE idempotency.operation ENABLE ROW LEVEL SECURITY;
CREATE POLICY one_scope ON idempotency.operation USING (scope = 'seen');
SELECT count(*) FROM (SELECT idem_pay('policy', 1, scope => s) FROM unnest('{seen,unseen}'::text[]) s) p;
SET ROLE regress_idem_auditor;
SELECT pg_temp.error('SELECT idem_check()');
SELECT scope FROM idempotency.payment WHERE scope LIKE '%seen';
RESET ROLE;
DROP POLICY one_scope ON idempotency.operation;
ALTER TABLE idempotency.operation DISABLE ROW LEVEL SECURITY;
DROP OWNED BY regress_idem_auditor;
DROP ROLE regress_idem_auditor;
