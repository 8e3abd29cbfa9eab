-- A payment belongs to the role that started it, whichever role continues it.
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/include/step.psql'
\i :include
SET idempotency.scope = 'team';
CREATE ROLE regress_idem_shop;
CREATE ROLE regress_idem_support;
CREATE ROLE regress_idem_stranger;
GRANT regress_idem_shop TO regress_idem_support;
SELECT idem_grant(r) FROM unnest('{regress_idem_shop,regress_idem_support,regress_idem_stranger}'::regrole[]) r;
GRANT ALL ON step TO PUBLIC;

SET ROLE regress_idem_shop;
SELECT pg_temp.step($$idem_pay('pay', 50, 'EUR')$$);
SELECT pg_temp.step($$idem_authorize('hold', 50, 'EUR')$$);
SELECT pg_temp.step($$idem_cancel('cancelled')$$);
RESET ROLE;
SELECT pg_temp.p('pay') AS pay, pg_temp.p('hold') AS hold \gset

-- a stranger gets ID403 from each function, and learns nothing about the payment
SET ROLE regress_idem_stranger;
SELECT pg_temp.step(format($$idem_refund('x', %L, 1)$$, :'pay'));
SELECT pg_temp.step(format($$idem_refund('x', %L, 1000)$$, :'pay'));
SELECT pg_temp.step(format($$idem_refund('x', %L, 0.001)$$, :'pay'));
SELECT pg_temp.step(format($$idem_capture('x', %L)$$, :'hold'));
SELECT pg_temp.step(format($$idem_capture('x', %L)$$, :'pay'));
SELECT pg_temp.step(format($$idem_void('x', %L)$$, :'hold'));
SELECT pg_temp.step(format($$idem_payment(%L)$$, :'pay'));
SELECT pg_temp.step(format($$idem_history(%L)$$, :'pay'));
SELECT pg_temp.step($$idem_lookup('pay')$$);
SELECT pg_temp.step($$idem_pay('pay', 50, 'EUR')$$);
SELECT pg_temp.step($$idem_pay('pay', 51, 'EUR')$$);
SELECT pg_temp.step($$idem_authorize('hold', 50, 'EUR')$$);
SELECT pg_temp.step(format($$idem_refund('pay', %L, 1)$$, :'pay'));
SELECT pg_temp.step($$idem_cancel('pay')$$);
SELECT pg_temp.step($$idem_cancel('hold')$$);
SELECT pg_temp.step($$idem_cancel('cancelled')$$);
SELECT pg_temp.step($$idem_pay('cancelled', 1)$$);
-- a stranger's requests are never stored as declined
SET idempotency.declines = record;
SELECT pg_temp.step(format($$idem_refund('x', %L, 1000)$$, :'pay'));
RESET idempotency.declines;
RESET ROLE;
SELECT count(*) FROM idempotency.operation WHERE scope = 'team' AND key = 'x';

-- a role with the privileges of the payment's role may continue the payment
SET ROLE regress_idem_support;
SELECT pg_temp.step(format($$idem_refund('r-support', %L, 10)$$, :'pay'));
SELECT pg_temp.step(format($$idem_capture('c-support', %L, 20, false)$$, :'hold'));
SELECT pg_temp.show(idem_payment(:'pay'));
-- the payment's role sees the payment and its history, and may continue it; but it cannot replay the other role's keys
SET ROLE regress_idem_shop;
SELECT pg_temp.show(idem_payment(:'pay'));
SELECT pg_temp.show(h) FROM idem_history(:'pay') h;
SELECT pg_temp.step(format($$idem_refund('r-support', %L, 10)$$, :'pay'));
SELECT pg_temp.step($$idem_lookup('r-support')$$);
SELECT pg_temp.step(format($$idem_refund('r-shop', %L, 10)$$, :'pay'));
SELECT pg_temp.step(format($$idem_capture('c-shop', %L, 5)$$, :'hold'));
SELECT pg_temp.step($$idem_cancel('c-support')$$);
SET ROLE regress_idem_support;
SELECT pg_temp.step(format($$idem_refund('r-shop', %L, 10)$$, :'pay'));
SELECT pg_temp.step($$idem_cancel('pay')$$);
SET ROLE regress_idem_stranger;
SELECT pg_temp.step(format($$idem_refund('x', %L, 1)$$, :'hold'));
SELECT pg_temp.step(format($$idem_payment(%L)$$, :'hold'));
SELECT pg_temp.step(format($$idem_history(%L)$$, :'hold'));
RESET ROLE;
SELECT o.seq, o.key, o.role, o.owner, v.owner AS owner_of_payment
FROM idempotency.operation o JOIN idempotency.payment v USING (scope, payment_id)
WHERE scope = 'team' ORDER BY payment_id, seq;

-- a former member may not continue the payment
REVOKE regress_idem_shop FROM regress_idem_support;
SET ROLE regress_idem_support;
SELECT pg_temp.step(format($$idem_refund('r-late', %L, 1)$$, :'hold'));
SELECT pg_temp.step(format($$idem_payment(%L)$$, :'pay'));
SELECT pg_temp.step($$idem_lookup('r-support')$$);
RESET ROLE;

-- the view and the table need SELECT; EXECUTE on the functions gives none
SET ROLE regress_idem_shop;
SELECT count(*) FROM idempotency.payment;
RESET ROLE;
GRANT SELECT ON idempotency.payment TO regress_idem_stranger;
GRANT USAGE ON SCHEMA idempotency TO regress_idem_stranger;
SET ROLE regress_idem_stranger;
SELECT count(*) FROM idempotency.payment;
RESET ROLE;
GRANT SELECT ON idempotency.operation TO regress_idem_stranger;
SET ROLE regress_idem_stranger;
SELECT status, refunded, owner FROM idempotency.payment WHERE scope = 'team' ORDER BY payment_id;
INSERT INTO idempotency.operation SELECT * FROM idempotency.operation;
RESET ROLE;
REVOKE ALL ON idempotency.operation, idempotency.payment FROM regress_idem_stranger;
REVOKE ALL ON SCHEMA idempotency FROM regress_idem_stranger;

-- without EXECUTE, no function can be called
SELECT idem_revoke('regress_idem_stranger');
SET ROLE regress_idem_stranger;
SELECT pg_temp.step(format($$idem_refund('x', %L)$$, :'pay'));
SELECT pg_temp.step(format($$idem_capture('x', %L)$$, :'pay'));
SELECT pg_temp.step(format($$idem_void('x', %L)$$, :'pay'));
SELECT pg_temp.step($$idem_authorize('x', 1)$$);
SELECT pg_temp.step($$idem_cancel('x')$$);
SELECT pg_temp.step(format($$idem_history(%L)$$, :'pay'));
RESET ROLE;

-- the payment's role was dropped: only a superuser may continue the payment
SELECT idem_revoke(r) FROM unnest('{regress_idem_shop,regress_idem_support}'::regrole[]) r;
REVOKE ALL ON step FROM PUBLIC;
DROP ROLE regress_idem_shop, regress_idem_stranger;
SELECT pg_temp.show(idem_payment(:'hold'));
SELECT pg_temp.step(format($$idem_refund('r-superuser', %L)$$, :'hold'));
SELECT role = current_user AS role, owner FROM idempotency.operation WHERE scope = 'team' AND key = 'r-superuser';
DROP ROLE regress_idem_support;
