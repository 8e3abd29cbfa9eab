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
		RETURN QUERY SELECT invariant || ': ' || regexp_replace(detail, '''\d{9,}''', '''...''') FROM idem_check() WHERE NOT ok;
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

-- accounts: a payment that is refunded in part, a hold that is captured in two parts, several entries in a transaction
SELECT count(idem_account_open(name, currency, floor, ceiling, scope => scope)) FROM (VALUES ('check-a', 'USD', 0, NULL, ''),
	('check-b', 'USD', NULL, 1000, ''), ('check-world', 'USD', NULL, NULL, ''), ('check-eur', 'EUR', NULL, NULL, ''),
	('check-a', 'USD', NULL, NULL, 'elsewhere'), ('check-out', 'USD', NULL, NULL, 'elsewhere')) v (name, currency, floor, ceiling, scope);
SELECT from_seq, to_seq FROM idem_pay('check-in', 100, 'USD', 'check-world', 'check-a');
SELECT payment_id AS p, from_seq, to_seq FROM idem_pay('check-out', 30, 'USD', 'check-a', 'check-b') \gset
SELECT from_seq, to_seq FROM idem_refund('check-some', :'p', 10);
SELECT payment_id AS p, from_seq, to_seq FROM idem_authorize('check-hold', 40, 'USD', 'check-a', 'check-b') \gset
SELECT from_seq, to_seq FROM idem_capture('check-first', :'p', 15, false);
SELECT from_seq, to_seq FROM idem_capture('check-rest', :'p', 5);
SELECT from_seq, to_seq FROM idem_capture('check-late', :'p', declines => 'record');
BEGIN;
SELECT from_seq, to_seq FROM idem_pay('check-pay-1', 1, 'USD', 'check-a', 'check-b');
SAVEPOINT s;
SELECT from_seq, to_seq FROM idem_pay('check-pay-2', 2, 'USD', 'check-a', 'check-b');
ROLLBACK TO s;
SELECT from_seq, to_seq FROM idem_pay('check-pay-3', 3, 'USD', 'check-a', 'check-b');
SELECT from_seq, to_seq FROM idem_pay('check-pay-4', 4, 'USD', 'check-world', 'check-a');
COMMIT;
SELECT from_seq, to_seq FROM idem_pay('check-else', 5, 'USD', 'check-a', 'check-out', scope => 'elsewhere');
SELECT from_seq, to_seq FROM idem_pay('check-zero', 0, 'USD', 'check-a', 'check-b');
SELECT bool_and(ok) FROM idem_check();
SELECT id AS a FROM idempotency.account WHERE (name, scope) = ('check-a', '') \gset
SELECT id AS b FROM idempotency.account WHERE (name, scope) = ('check-b', '') \gset
SELECT id AS a_else FROM idempotency.account WHERE (name, scope) = ('check-a', 'elsewhere') \gset
-- an entry that was changed, is missing, or is there without an operation
SELECT pg_temp.broken(format($$UPDATE idempotency.entry SET amount = amount - 1 WHERE account = %s AND seq = 2$$, :'a'));
SELECT pg_temp.broken(format($$UPDATE idempotency.entry SET amount = amount - 1 WHERE account = %s AND seq = (SELECT max(seq) FROM idempotency.entry WHERE account = %1$s)$$, :'a'));
SELECT pg_temp.broken(format($$UPDATE idempotency.entry SET held = 39 WHERE account = %s AND seq = 4$$, :'a'));
SELECT pg_temp.broken(format($$DELETE FROM idempotency.entry WHERE account = %s AND seq = 2$$, :'a'));
SELECT pg_temp.broken(format($$DELETE FROM idempotency.entry WHERE account = %s AND seq = (SELECT max(seq) FROM idempotency.entry WHERE account = %1$s)$$, :'a'));
SELECT pg_temp.broken(format($$UPDATE idempotency.entry SET payment_id = '01900000-0000-7000-8000-000000000000' WHERE account = %s AND seq = 2$$, :'a'));
SELECT pg_temp.broken(format($$UPDATE idempotency.entry SET operation = 2 WHERE account = %s AND seq = 2$$, :'a'));
SELECT pg_temp.broken(format($$UPDATE idempotency.entry SET account = %s WHERE account = %s AND seq = 2$$, :'a_else', :'a'));
SELECT pg_temp.broken(format($$UPDATE idempotency.entry SET account = 1 WHERE account = %s AND seq = 2$$, :'a'));
SELECT pg_temp.broken(format($$UPDATE idempotency.entry SET seq = 100 WHERE account = %s AND seq = 2$$, :'a'));
SELECT pg_temp.broken(format($$UPDATE idempotency.entry SET created_at = created_at - interval '1 day' WHERE account = %s AND seq = 3$$, :'a'));
SELECT pg_temp.broken(format($$UPDATE idempotency.entry SET amount = 'NaN' WHERE account = %s AND seq = 2$$, :'a'));
-- what it stores of those before it
SELECT pg_temp.broken(format($$UPDATE idempotency.entry SET base = base + 1 WHERE account = %s AND seq = 3$$, :'a'));
SELECT pg_temp.broken(format($$UPDATE idempotency.entry SET base_held = 1 WHERE account = %s AND seq = 3$$, :'a'));
SELECT pg_temp.broken(format($$UPDATE idempotency.entry SET base_held = NULL WHERE account = %s AND seq = 5$$, :'a'));
SELECT pg_temp.broken(format($$UPDATE idempotency.entry SET lag = lag + 1 WHERE account = %s AND seq = 3$$, :'a'));
SELECT pg_temp.broken(format($$UPDATE idempotency.entry SET lag = -1 WHERE account = %s AND seq = 3$$, :'a'));
SELECT pg_temp.broken(format($$UPDATE idempotency.entry SET gaps = 1 WHERE account = %s AND seq = 3$$, :'a'));
SELECT pg_temp.broken(format($$UPDATE idempotency.entry SET open = '{2}' WHERE account = %s AND seq = 3$$, :'a'));
SELECT pg_temp.broken(format($$UPDATE idempotency.entry SET open = '{3}' WHERE account = %s AND seq = 3$$, :'a'));
SELECT pg_temp.broken(format($$UPDATE idempotency.entry SET cum = NULL WHERE account = %s AND cum_entries = 2$$, :'a'));
SELECT pg_temp.broken(format($$UPDATE idempotency.entry SET cum_entries = 20 WHERE account = %s AND cum_entries = 2$$, :'a'));
SELECT pg_temp.broken(format($$UPDATE idempotency.entry SET open = '{NULL}' WHERE account = %s AND seq = 3$$, :'a'));
SELECT pg_temp.broken(format($$UPDATE idempotency.entry SET open = '{}' WHERE account = %s AND seq = 3$$, :'a'));
-- the entries of one transaction
SELECT pg_temp.broken(format($$UPDATE idempotency.entry SET cum = cum WHERE account = %s
	AND payment_id IN (SELECT payment_id FROM idempotency.operation WHERE key IN ('check-pay-3', 'check-pay-4'))$$, :'a'));
SELECT pg_temp.broken(format($$UPDATE idempotency.entry SET cum = cum + 1 WHERE account = %s
	AND payment_id IN (SELECT payment_id FROM idempotency.operation WHERE key IN ('check-pay-3', 'check-pay-4'))$$, :'a'));
SELECT pg_temp.broken(format($$UPDATE idempotency.entry SET cum_held = CASE WHEN cum_entries > 1 THEN 1 END WHERE account = %s
	AND payment_id IN (SELECT payment_id FROM idempotency.operation WHERE key IN ('check-pay-3', 'check-pay-4'))$$, :'a'));
-- an entry that was in progress for long: what is in "open" counts by its cum
SELECT pg_temp.broken(format($$UPDATE idempotency.entry SET base = base + 30, open = '{2}', gaps = 1 WHERE account = %s AND seq = 5$$, :'a'));
SELECT pg_temp.broken(format($$UPDATE idempotency.entry SET base = base + 30, open = '{2}', gaps = 1, cum = CASE seq WHEN 2 THEN -31 END,
	cum_entries = CASE seq WHEN 2 THEN 2 END WHERE account = %s AND seq IN (2, 5)$$, :'a'));
-- an operation
SELECT pg_temp.broken($$UPDATE idempotency.operation SET from_seq = NULL WHERE key = 'check-out'$$);
SELECT pg_temp.broken($$UPDATE idempotency.operation SET from_seq = 3 WHERE key = 'check-out'$$);
SELECT pg_temp.broken($$UPDATE idempotency.operation SET to_seq = 3 WHERE key = 'check-hold'$$);
SELECT pg_temp.broken($$UPDATE idempotency.operation SET from_seq = 1 WHERE key = 'check-zero'$$);
SELECT pg_temp.broken($$UPDATE idempotency.operation SET from_seq = 1 WHERE key = 'check-late'$$);
SELECT pg_temp.broken($$UPDATE idempotency.operation SET from_seq = 1, to_seq = 1 WHERE key = 'check-free'$$);
SELECT pg_temp.broken($$UPDATE idempotency.operation SET to_account = NULL WHERE key = 'check-zero'$$);
SELECT pg_temp.broken($$UPDATE idempotency.operation SET to_account = 'nowhere' WHERE key = 'check-pay-1'$$);
SELECT pg_temp.broken($$UPDATE idempotency.operation SET to_account = 'check-eur' WHERE key = 'check-zero'$$);
SELECT pg_temp.broken($$UPDATE idempotency.operation SET to_account = 'check-out' WHERE key = 'check-pay-1'$$);
SELECT pg_temp.broken($$DELETE FROM idempotency.operation WHERE key = 'check-pay-4'$$);
SELECT pg_temp.broken(format($$DELETE FROM idempotency.entry WHERE payment_id = (SELECT payment_id FROM idempotency.operation WHERE key = 'check-pay-4')$$));
-- an account
SELECT pg_temp.broken(format($$DELETE FROM idempotency.account WHERE id = %s$$, :'a_else'));
SELECT pg_temp.broken(format($$UPDATE idempotency.account SET currency = 'EUR' WHERE id = %s$$, :'a_else'));
SELECT pg_temp.broken(format($$UPDATE idempotency.account SET scope = 'nowhere' WHERE id = %s$$, :'a_else'));
SELECT pg_temp.broken(format($$UPDATE idempotency.account SET name = '' WHERE id = %s$$, :'a_else'));
SELECT pg_temp.broken(format($$UPDATE idempotency.account SET floor = 100, floor_from = 100 WHERE id = %s$$, :'a'));
SELECT pg_temp.broken(format($$UPDATE idempotency.account SET ceiling = 1, ceiling_from = 100 WHERE id = %s$$, :'b'));
SELECT pg_temp.broken(format($$UPDATE idempotency.account SET ceiling = -1, ceiling_from = 100 WHERE id = %s$$, :'a'));
-- a limit applies from the entry on that it was set at: of the account's balances, the fourth and the fifth are 40, and the first is 100
SELECT pg_temp.broken(format($$UPDATE idempotency.account SET floor = 50, floor_from = 6 WHERE id = %s$$, :'a'));
SELECT pg_temp.broken(format($$UPDATE idempotency.account SET floor = 50, floor_from = 5 WHERE id = %s$$, :'a'));
SELECT pg_temp.broken(format($$UPDATE idempotency.account SET ceiling = 90, ceiling_from = 2 WHERE id = %s$$, :'a'));
SELECT pg_temp.broken(format($$UPDATE idempotency.account SET ceiling = 90, ceiling_from = 1 WHERE id = %s$$, :'a'));
SELECT pg_temp.broken(format($$UPDATE idempotency.account SET floor_from = NULL WHERE id = %s$$, :'a'));
SELECT pg_temp.broken(format($$UPDATE idempotency.account SET floor = NULL WHERE id = %s$$, :'a'));
-- what is held counts, too
SELECT pg_temp.broken($$SELECT idem_authorize('check-held', 20, 'USD', 'check-a', 'check-b'); UPDATE idempotency.account SET floor = 41, floor_from = 100 WHERE (name, scope) = ('check-a', '')$$);

BEGIN;
ALTER TABLE idempotency.account DROP CONSTRAINT account_name_scope_key;
ALTER TABLE idempotency.entry DROP CONSTRAINT entry_pkey;
SELECT pg_temp.broken(format($$INSERT INTO idempotency.account SELECT 5, created_at, floor_from, ceiling_from, closed, scope, name, currency, floor, ceiling, owner, metadata
	FROM idempotency.account WHERE id = %s$$, :'a_else'));
SELECT pg_temp.broken(format($$INSERT INTO idempotency.entry SELECT * FROM idempotency.entry WHERE account = %s AND seq = 3$$, :'a'));
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
GRANT SELECT ON idempotency.operation, idempotency.payment, idempotency.account, idempotency.entry TO regress_idem_auditor;
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
