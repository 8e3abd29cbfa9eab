-- Cancelling a key whose answer was lost: its operation is undone, or the key is kept from being used.
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/include/step.psql'
\i :include
SET idempotency.scope = 'cancel';

-- a key that was never used: the cancellation answers every request with that key
SELECT pg_temp.step($$idem_cancel('unused')$$);
SELECT pg_temp.step($$idem_cancel('unused')$$);
SELECT pg_temp.step($$idem_cancel('unused', NULL)$$);
SELECT pg_temp.step($$idem_cancel('unused', 'cancel')$$);
SELECT pg_temp.step($$idem_pay('unused', 50)$$);
SELECT pg_temp.step($$idem_pay('unused', 50, 'EUR', reference => 'order 7')$$);
SELECT pg_temp.step($$idem_authorize('unused', 50)$$);
SELECT pg_temp.step($$idem_authorize('hold', 100, 'EUR')$$);
SELECT pg_temp.step($$idem_capture('unused', pg_temp.p('hold'))$$);
SELECT pg_temp.step($$idem_void('unused', pg_temp.p('hold'))$$);
SELECT pg_temp.step($$idem_refund('unused', pg_temp.p('hold'))$$);
SELECT pg_temp.step($$idem_refund('unused', '00000000-0000-7000-8000-000000000000', 5)$$);
SELECT pg_temp.step($$idem_lookup('unused')$$);
SELECT currency, reference, metadata, expires_at, sqlstate, message FROM idem_lookup('unused');
SELECT count(*), sum(authorized) FROM idempotency.operation WHERE scope = 'cancel' AND key = 'unused';
-- a malformed request still raises its error
SELECT pg_temp.step($$idem_pay('unused', -1)$$);
SELECT pg_temp.step($$idem_refund('unused', NULL)$$);
-- a cancelled key has no row in the view of payments
SELECT status, seq FROM idem_payment(pg_temp.p('unused'));
SELECT count(*) FROM idempotency.payment WHERE payment_id = pg_temp.p('unused');
-- the same key in another scope is another key
SELECT pg_temp.step($$idem_pay('unused', 50, scope => 'cancel-2')$$);

-- a pay is refunded, under a key of its own
SELECT pg_temp.step($$idem_pay('pay', 50, 'EUR')$$);
SELECT pg_temp.step($$idem_cancel('pay')$$);
SELECT pg_temp.step($$idem_cancel('pay')$$);
SELECT key, payment_id = pg_temp.p('pay') AS same_payment FROM idem_cancel('pay');
SELECT pg_temp.step($$idem_pay('pay', 50, 'EUR')$$);
SELECT pg_temp.step($$idem_lookup('idem_cancel:pay')$$);
SELECT pg_temp.step($$idem_refund('pay-r', pg_temp.p('pay'), 1)$$);
-- only what is not refunded yet is refunded
SELECT pg_temp.step($$idem_pay('part', 50, 'EUR')$$);
SELECT pg_temp.step($$idem_refund('part-r', pg_temp.p('part'), 20)$$);
SELECT pg_temp.step($$idem_cancel('part')$$);
SELECT pg_temp.step($$idem_cancel('part')$$);
-- all is refunded: nothing is left to undo
SELECT pg_temp.step($$idem_pay('back', 50, 'EUR')$$);
SELECT pg_temp.step($$idem_refund('back-r', pg_temp.p('back'))$$);
SELECT pg_temp.step($$idem_cancel('back')$$);
SELECT pg_temp.step($$idem_cancel('back')$$);
SELECT max(seq) FROM idempotency.operation WHERE payment_id = pg_temp.p('back');

-- a hold is voided
SELECT pg_temp.step($$idem_cancel('hold')$$);
SELECT pg_temp.step($$idem_cancel('hold')$$);
SELECT pg_temp.step($$idem_capture('hold-c', pg_temp.p('hold'))$$);
-- a hold of which a part was captured cannot be cancelled
SELECT pg_temp.step($$idem_authorize('captured-part', 100, 'EUR')$$);
SELECT pg_temp.step($$idem_capture('captured-part-c', pg_temp.p('captured-part'), 30, false)$$);
SELECT pg_temp.step($$idem_cancel('captured-part')$$);
SELECT pg_temp.step($$idem_cancel('captured-part')$$);
-- the HINT names what can still be done
SELECT pg_temp.step($$idem_cancel('captured-part-c')$$);
SELECT pg_temp.step($$idem_cancel('captured-part')$$);
-- a hold of which all was captured: cancel the capture instead
SELECT pg_temp.step($$idem_authorize('captured', 100, 'EUR')$$);
SELECT pg_temp.step($$idem_capture('captured-c', pg_temp.p('captured'))$$);
SELECT pg_temp.step($$idem_cancel('captured')$$);
SELECT pg_temp.step($$idem_cancel('captured-c')$$);
SELECT pg_temp.step($$idem_cancel('captured-c')$$);
SELECT pg_temp.step($$idem_cancel('captured')$$);
SELECT pg_temp.step($$idem_authorize('final', 100, 'EUR')$$);
SELECT pg_temp.step($$idem_capture('final-c', pg_temp.p('final'), 30)$$);
SELECT pg_temp.step($$idem_cancel('final')$$);
-- a hold that was voided or has expired: nothing is left to undo
SELECT pg_temp.step($$idem_authorize('voided', 100, 'EUR')$$);
SELECT pg_temp.step($$idem_void('voided-v', pg_temp.p('voided'))$$);
SELECT pg_temp.step($$idem_cancel('voided')$$);
SELECT pg_temp.step($$idem_authorize('short', 100, 'EUR', expires_in => '1 millisecond')$$);
SELECT FROM pg_sleep(0.01);
SELECT pg_temp.step($$idem_cancel('short')$$);
SELECT pg_temp.step($$idem_cancel('short')$$);

-- a capture is refunded; other captures and the rest of the hold stay
SELECT pg_temp.step($$idem_authorize('parts', 100, 'EUR')$$);
SELECT pg_temp.step($$idem_capture('parts-1', pg_temp.p('parts'), 30, false)$$);
SELECT pg_temp.step($$idem_capture('parts-2', pg_temp.p('parts'), 20, false)$$);
SELECT pg_temp.step($$idem_cancel('parts-1')$$);
SELECT pg_temp.step($$idem_cancel('parts-1')$$);
SELECT pg_temp.step($$idem_capture('parts-3', pg_temp.p('parts'))$$);
SELECT pg_temp.step($$idem_refund('parts-r', pg_temp.p('parts'), 40)$$);
-- of the 50 of this capture, the payment has 30 left to refund
SELECT pg_temp.step($$idem_cancel('parts-3')$$);
SELECT pg_temp.step($$idem_cancel('parts-2')$$);

-- a void cannot be undone
SELECT pg_temp.step($$idem_cancel('voided-v')$$);

-- a refund that reached nobody is undone, once; then the money can be refunded in another way
SELECT pg_temp.step($$idem_pay('failed', 100, 'EUR')$$);
SELECT pg_temp.step($$idem_refund('failed-r1', pg_temp.p('failed'), 100)$$);
SELECT pg_temp.step($$idem_cancel('failed-r1')$$);
SELECT pg_temp.step($$idem_cancel('failed-r1')$$);
SELECT key FROM idem_cancel('failed-r1');
SELECT pg_temp.step($$idem_refund('failed-r2', pg_temp.p('failed'))$$);
SELECT pg_temp.step($$idem_cancel('failed-r1')$$);
SELECT pg_temp.step($$idem_refund('failed-r1', pg_temp.p('failed'), 100)$$);
-- of several refunds, one
SELECT pg_temp.step($$idem_pay('failed-part', 100, 'EUR')$$);
SELECT pg_temp.step($$idem_refund('failed-part-r1', pg_temp.p('failed-part'), 30)$$);
SELECT pg_temp.step($$idem_refund('failed-part-r2', pg_temp.p('failed-part'))$$);
SELECT pg_temp.step($$idem_cancel('failed-part-r1')$$);
SELECT pg_temp.step($$idem_refund('failed-part-r3', pg_temp.p('failed-part'), 30.01)$$);
SELECT pg_temp.step($$idem_refund('failed-part-r3', pg_temp.p('failed-part'), 20)$$);
SELECT pg_temp.step($$idem_cancel('failed-part-r2')$$);
SELECT pg_temp.step($$idem_cancel('failed-part-r3')$$);
-- the refund of a cancellation: its own key
SELECT pg_temp.step($$idem_pay('sent-back', 50, 'EUR')$$);
SELECT pg_temp.step($$idem_cancel('sent-back')$$);
SELECT pg_temp.step($$idem_cancel('idem_cancel:sent-back')$$);
SELECT pg_temp.step($$idem_cancel('idem_cancel:sent-back')$$);
SELECT key FROM idem_lookup('idem_cancel:idem_cancel:sent-back');
SELECT pg_temp.step($$idem_cancel('sent-back')$$);
SELECT pg_temp.step($$idem_refund('sent-back-r', pg_temp.p('sent-back'))$$);
-- a reversal cannot be undone
SELECT pg_temp.step($$idem_cancel('idem_cancel:failed-r1')$$);
SELECT pg_temp.step($$idem_cancel('idem_cancel:idem_cancel:sent-back')$$);
-- no void is undone by way of its key
SELECT pg_temp.step($$idem_cancel('idem_cancel:hold')$$);
SELECT pg_temp.step($$idem_cancel('idem_cancel:never-used')$$);
SELECT pg_temp.step($$idem_cancel('idem_expire:never-used')$$);

-- a declined operation did nothing, so nothing is undone
SET idempotency.declines = record;
SELECT pg_temp.step($$idem_refund('declined', pg_temp.p('part'), 10)$$);
RESET idempotency.declines;
SELECT pg_temp.step($$idem_cancel('declined')$$);
SELECT count(*) FROM idem_lookup('idem_cancel:declined');

-- keys of up to 255 bytes, without idem_cancel's own prefix
SELECT pg_temp.step($$idem_pay(repeat('k', 255), 50, 'EUR')$$);
SELECT pg_temp.step($$idem_cancel(repeat('k', 255))$$);
SELECT pg_temp.step($$idem_cancel(repeat('k', 255))$$);
SELECT octet_length(key), status FROM idem_lookup('idem_cancel:' || repeat('k', 255));
SELECT pg_temp.step($$idem_cancel('idem_cancel:' || repeat('k', 255))$$);
SELECT octet_length(key), kind FROM idem_lookup('idem_cancel:idem_cancel:' || repeat('k', 255));
SELECT pg_temp.step($$idem_lookup('idem_cancel:' || repeat('k', 268))$$);
SELECT pg_temp.step($$idem_lookup(repeat('k', 256))$$);
SELECT pg_temp.step($$idem_cancel(repeat('u', 255))$$);
SELECT pg_temp.step($$idem_cancel(repeat('k', 256))$$);
SELECT pg_temp.step($$idem_cancel(NULL)$$);
SELECT pg_temp.step($$idem_cancel('')$$);
SELECT pg_temp.step($$idem_cancel(E'\n')$$);
SELECT pg_temp.step($$idem_cancel('k', E'\n')$$);
SELECT pg_temp.step($$idem_cancel('idem_cancel:')$$);
SELECT pg_temp.step($$idem_pay('idem_cancel:pay', 50, 'EUR')$$);
SELECT pg_temp.step($$idem_authorize('idem_cancel:k', 50)$$);
SELECT pg_temp.step($$idem_refund('idem_cancel:pay', pg_temp.p('pay'), 50)$$);
SELECT pg_temp.step($$idem_pay('idem_cancel', 50)$$);
SELECT pg_temp.step($$idem_cancel('idem_cancel')$$);
SELECT pg_temp.step($$idem_pay('IDEM_CANCEL:pay', 50)$$);
SELECT count(*) FROM idem_lookup('idem_cancel:never');

-- a cancellation lives and dies with the caller's transaction
BEGIN;
SELECT pg_temp.show(idem_pay('tx', 50));
SELECT pg_temp.show(idem_cancel('tx'));
SELECT pg_temp.show(idem_cancel('tx'));
SELECT pg_temp.show(idem_cancel('tx-unused'));
SELECT pg_temp.show(idem_pay('tx-unused', 50));
ROLLBACK;
SELECT count(*) FROM idempotency.operation WHERE scope = 'cancel' AND key LIKE '%tx%';
SELECT pg_temp.step($$idem_pay('tx-unused', 50)$$);
BEGIN;
SAVEPOINT s;
SELECT pg_temp.show(idem_cancel('tx-unused'));
ROLLBACK TO s;
SELECT pg_temp.show(idem_payment(pg_temp.p('tx-unused')));
COMMIT;
-- twice in one statement
SELECT c.seq, c.refunded, c.replayed FROM generate_series(1, 3) i, idem_cancel(left('tx-unused' || i, 9)) c;

-- read-only: cancelled keys are answered, others are refused
BEGIN READ ONLY;
SELECT pg_temp.step($$idem_cancel('pay')$$);
SELECT pg_temp.step($$idem_cancel('unused')$$);
SELECT pg_temp.step($$idem_cancel('never-used')$$);
SELECT pg_temp.step($$idem_cancel('idem_cancel')$$);
SELECT pg_temp.step($$idem_cancel('IDEM_CANCEL:pay')$$);
COMMIT;

SELECT pg_temp.unlike_at_first();

-- a cancellation that found nothing to undo is always replayed, even if there is something to undo later
SELECT payment_id AS p FROM idem_authorize('again', 100, scope => 'cancel-again') \gset
SELECT seq FROM idem_capture('again-1', :'p', 30, false, scope => 'cancel-again');
SELECT seq FROM idem_refund('again-r', :'p', 30, scope => 'cancel-again');
SELECT key, seq, kind, amount, refunded, replayed FROM idem_cancel('again-1', 'cancel-again');
SELECT seq FROM idem_capture('again-2', :'p', 50, false, scope => 'cancel-again');
SELECT key, seq, kind, amount, refunded, replayed FROM idem_cancel('again-1', 'cancel-again');
SELECT captured, refunded, refundable FROM idem_payment(:'p', 'cancel-again');
SELECT bool_and(ok) FROM idem_check();
-- a hold that was voided in time stays voided, also if it is cancelled after its expiry
SELECT payment_id AS p FROM idem_authorize('late', 100, expires_in => '1 second', scope => 'cancel-again') \gset
SELECT status FROM idem_void('late-v', :'p', scope => 'cancel-again');
SELECT pg_sleep(1.05);
SELECT status, amount FROM idem_cancel('late', 'cancel-again');
SELECT status FROM idem_payment(:'p', 'cancel-again');
