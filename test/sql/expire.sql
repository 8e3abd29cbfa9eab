-- Holds that have run out, and their release by idem_expire(): the same refusals before and after it.
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/include/step.psql'
\i :include
SET idempotency.scope = 'expire';
SET idempotency.currency = 'EUR';

-- those of other tests first
SELECT idem_expire(1000000) >= 0;
SELECT idem_expire();

-- an authorization is listed, a payment is not
SELECT FROM idem_pay('paid', 100);
SELECT payment_id AS untouched FROM idem_authorize('untouched', 100, expires_in => '1 second') \gset
SELECT payment_id AS part FROM idem_authorize('part', 100, expires_in => '1 second') \gset
SELECT payment_id AS given_back FROM idem_authorize('given back', 100, expires_in => '1 second') \gset
SELECT payment_id AS voided FROM idem_authorize('voided', 100, expires_in => '1 second') \gset
SELECT payment_id AS taken FROM idem_authorize('taken', 100, expires_in => '1 second') \gset
SELECT payment_id AS later FROM idem_authorize('later', 100) \gset
SELECT FROM idem_authorize('untouched', 100, expires_in => '1 second');
SELECT h.key, h.scope, h.payment_id = o.payment_id AND h.expires_at = o.expires_at AND h.due_at = o.expires_at AS right
FROM idempotency.hold h LEFT JOIN idempotency.operation o USING (scope, key) WHERE scope = 'expire' ORDER BY key;
BEGIN;
SELECT FROM idem_authorize('rolled back', 100, expires_in => '1 second');
ROLLBACK;

SELECT pg_temp.step($$idem_capture('part 1', pg_temp.p('part'), 30, false)$$);
SELECT pg_temp.step($$idem_capture('given back 1', pg_temp.p('given back'), 30, false)$$);
SELECT pg_temp.step($$idem_void('voided 1', pg_temp.p('voided'))$$);
SELECT pg_temp.step($$idem_capture('taken 1', pg_temp.p('taken'), 30)$$);

-- nothing is released before its time
SELECT idem_expire();
SELECT count(*) FROM idempotency.hold WHERE scope = 'expire';
SELECT FROM pg_sleep(1.05);

-- what is refused between the two is refused in the same words afterwards
CREATE TEMP TABLE answer AS SELECT * FROM (VALUES
	($$idem_capture('too late', pg_temp.p('untouched'))$$),
	($$idem_capture('too late', pg_temp.p('untouched'), 1)$$),
	($$idem_void('too late', pg_temp.p('untouched'))$$),
	($$idem_refund('too late', pg_temp.p('untouched'))$$),
	($$idem_capture('too late', pg_temp.p('part'))$$),
	($$idem_void('too late', pg_temp.p('part'))$$),
	($$idem_refund('too late', pg_temp.p('part'), 31)$$),
	($$idem_capture('too late', pg_temp.p('voided'))$$),
	($$idem_capture('too late', pg_temp.p('taken'))$$)) c (call), pg_temp.step(c.call) a (before);
CREATE TEMP TABLE state AS SELECT key, status, capturable, refundable FROM idempotency.payment WHERE scope = 'expire';

SELECT idem_expire();
SELECT idem_expire();

SELECT call, before FROM answer;
SELECT call, a.after FROM answer, pg_temp.step(call) a (after) WHERE before <> a.after;
SELECT key, status, capturable, refundable FROM state ORDER BY key;
SELECT key, status, capturable, refundable FROM idempotency.payment WHERE scope = 'expire'
EXCEPT SELECT * FROM state;
SELECT key, released FROM idempotency.payment WHERE scope = 'expire' ORDER BY key;
SELECT key FROM idempotency.hold WHERE scope = 'expire';

-- its operation
SELECT pg_temp.show(h) FROM idem_history(:'untouched') h;
SELECT pg_temp.show(h) FROM idem_history(:'part') h;
SELECT pg_temp.show(h) FROM idem_history(:'voided') h;
SELECT pg_temp.show(l) FROM idem_lookup('idem_expire:untouched') l;
SELECT key, whole, final, expired, role = current_user AS by_me, owner, reference, metadata
FROM idempotency.operation WHERE kind = 'expire' AND scope = 'expire' ORDER BY key;
-- goes on being known
SELECT pg_temp.step($$idem_refund('part 2', pg_temp.p('part'), 10)$$);
SELECT pg_temp.step($$idem_refund('given back 2', pg_temp.p('given back'))$$);
SET idempotency.declines = record;
SELECT pg_temp.step($$idem_capture('declined', pg_temp.p('untouched'))$$);
RESET idempotency.declines;
SELECT pg_temp.step($$idem_cancel('untouched')$$);
SELECT pg_temp.show(p) FROM idem_payment(:'untouched') p;
SELECT pg_temp.step($$idem_cancel('voided')$$);
SELECT status FROM idempotency.payment WHERE scope = 'expire' AND key = 'untouched';
-- and the receipts are those of then
SELECT * FROM pg_temp.unlike_at_first();

-- its key is nobody's
SELECT pg_temp.step($$idem_pay('idem_expire:untouched', 1)$$);
SELECT pg_temp.step($$idem_cancel('idem_expire:untouched')$$);
SELECT octet_length(key) FROM idem_authorize(repeat('k', 255), 100, expires_in => '1 microsecond');
SELECT idem_expire();
SELECT octet_length(key) FROM idem_lookup('idem_expire:' || repeat('k', 255));
SELECT pg_temp.step($$idem_lookup('idem_expire:' || repeat('k', 256))$$);

-- so many at a time, the oldest first
SELECT count(idem_authorize('many ' || i, i, expires_in => '1 microsecond')) FROM generate_series(1, 5) i;
SELECT idem_expire(2);
SELECT key FROM idempotency.operation WHERE kind = 'expire' AND key ^@ 'idem_expire:many' ORDER BY key;
SELECT idem_expire(3), idem_expire(NULL);
SELECT idem_expire(0);
SELECT idem_expire(-1);

-- those that cannot be released are reported, and not in the way of others
SELECT count(idem_authorize('broken ' || i, i, expires_in => '1 microsecond')) FROM generate_series(1, 4) i;
SELECT FROM idem_pay('in the way', 1);
UPDATE idempotency.operation SET key = 'idem_expire:broken 2' WHERE key = 'in the way';
UPDATE idempotency.hold SET key = (SELECT string_agg(md5(i::text), '') FROM generate_series(1, 400) i) WHERE key = 'broken 3';
\set VERBOSITY terse
SELECT idem_expire();
SELECT length(key) FROM idempotency.hold WHERE scope = 'expire' AND key <> 'later' ORDER BY 1;
UPDATE idempotency.operation SET key = 'in the way' WHERE key = 'idem_expire:broken 2';
UPDATE idempotency.hold SET key = 'broken 3' WHERE length(key) > 1000;
SELECT idem_expire();
UPDATE idempotency.hold SET due_at = expires_at;
SELECT idem_expire();

-- each call looks at so many, those that cannot be released among them, gives one warning, and the next goes on from there
CREATE FUNCTION pg_temp.refuse() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'not this one'; END$$;
CREATE TRIGGER refuse AFTER INSERT ON idempotency.operation FOR EACH ROW WHEN (NEW.key ^@ 'idem_expire:refused') EXECUTE FUNCTION pg_temp.refuse();
SELECT count(idem_authorize(CASE WHEN i <= 200 THEN 'refused ' ELSE 'allowed ' END || i, 100, expires_in => '1 microsecond')) FROM generate_series(1, 300) i;
SELECT idem_expire(100);
SELECT idem_expire(100);
SELECT idem_expire(100);
SELECT idem_expire(100);
SELECT split_part(key, ' ', 1) AS payments, status, released, count(*) FROM idempotency.payment
WHERE scope = 'expire' AND key ~ '^(refused|allowed) ' GROUP BY 1, 2, 3 ORDER BY 1;
-- in a minute
SELECT count(*), bool_and(due_at BETWEEN now() AND now() + interval '1 minute') AS soon, bool_and(expires_at < now()) AS expired
FROM idempotency.hold WHERE scope = 'expire' AND key ^@ 'refused ';
SELECT invariant, detail FROM idem_check() WHERE NOT ok;
-- who fails for longer is looked at more rarely, but every day
UPDATE idempotency.hold SET due_at = expires_at, expires_at = now() - CASE key WHEN 'refused 1' THEN interval '5 hours' ELSE '5 days' END
WHERE key IN ('refused 1', 'refused 2');
SELECT idem_expire();
SELECT key, due_at - now() BETWEEN '4 hours' AND '6 hours' AS in_5_hours, due_at - now() BETWEEN '23 hours' AND '1 day' AS in_a_day
FROM idempotency.hold WHERE key IN ('refused 1', 'refused 2') ORDER BY key;
-- and is released when it can be
DROP TRIGGER refuse ON idempotency.operation;
SELECT idem_expire();
UPDATE idempotency.hold SET due_at = expires_at;
SELECT idem_expire();
SELECT key FROM idempotency.hold WHERE scope = 'expire';
\set VERBOSITY default

-- one that is held for longer than it is listed for is not released before
BEGIN;
SELECT payment_id AS p FROM idem_authorize('prolonged', 100, expires_in => '1 microsecond') \gset
UPDATE idempotency.operation SET expires_at = expires_at + interval '1 hour' WHERE payment_id = :'p';
SELECT idem_expire();
SELECT idem_expire();
SELECT h.due_at = o.expires_at AS due, h.expires_at = o.expires_at AS right FROM idempotency.hold h JOIN idempotency.operation o USING (scope, payment_id)
WHERE payment_id = :'p';
SELECT status FROM idem_capture('prolonged 1', :'p');
UPDATE idempotency.hold SET due_at = now() WHERE payment_id = :'p';
SELECT idem_expire();
SELECT FROM idempotency.hold WHERE payment_id = :'p';
ROLLBACK;

-- in a transaction, with savepoints
BEGIN;
SELECT payment_id AS p FROM idem_authorize('own', 100, expires_in => '1 microsecond') \gset
SAVEPOINT s;
SELECT idem_expire();
SELECT status FROM idem_payment(:'p');
SELECT seq FROM idem_history(:'p');
ROLLBACK TO s;
SELECT seq FROM idem_history(:'p');
SELECT idem_expire();
COMMIT;
SELECT seq, kind FROM idem_history(:'p');
SELECT idem_expire();

-- the operation is the payment owner's, whoever released the hold, and hides nothing from him
CREATE ROLE regress_idem_shop;
CREATE ROLE regress_idem_sweeper;
SELECT idem_grant('regress_idem_shop');
GRANT EXECUTE ON FUNCTION idem_expire(integer) TO regress_idem_sweeper;
SET ROLE regress_idem_shop;
SELECT payment_id AS p FROM idem_authorize('of the shop', 100, expires_in => '1 microsecond') \gset
SELECT idem_expire();
SET ROLE regress_idem_sweeper;
SELECT idem_expire();
SELECT FROM idempotency.hold;
RESET ROLE;
SELECT role, owner FROM idempotency.operation WHERE payment_id = :'p';
SET ROLE regress_idem_shop;
SELECT pg_temp.show(l) FROM idem_lookup('idem_expire:of the shop') l;
SELECT pg_temp.show(l) FROM idem_payment(:'p') l;
RESET ROLE;
SELECT idem_revoke('regress_idem_shop');
REVOKE ALL ON FUNCTION idem_expire(integer) FROM regress_idem_sweeper;
DROP ROLE regress_idem_shop, regress_idem_sweeper;

-- rows that were meddled with: a hold that is listed too early, one of no payment, one that is listed again
BEGIN;
INSERT INTO idempotency.hold VALUES (now(), now(), :'later', 'expire', 'later'), (now(), now(), '00000000-0000-7000-8000-000000000000', 'expire', 'nothing'),
	(now(), now(), :'untouched', 'expire', 'untouched');
SELECT idem_expire();
SELECT key, due_at = expires_at AND due_at > now() AS in_time FROM idempotency.hold WHERE scope = 'expire';
SELECT seq FROM idem_history(:'later');
ROLLBACK;
BEGIN READ ONLY;
SELECT idem_expire();
ROLLBACK;

SELECT invariant, detail FROM idem_check() WHERE NOT ok;
BEGIN;
DELETE FROM idempotency.hold WHERE scope = 'expire' AND key = 'later';
SELECT invariant, detail FROM idem_check() WHERE NOT ok;
ROLLBACK;
BEGIN;
UPDATE idempotency.hold SET due_at = 'infinity' WHERE scope = 'expire' AND key = 'later';
SELECT invariant, detail FROM idem_check() WHERE NOT ok;
ROLLBACK;
BEGIN;
UPDATE idempotency.operation SET expired = NULL WHERE scope = 'expire' AND key = 'part 2';
SELECT invariant, detail FROM idem_check() WHERE NOT ok;
ROLLBACK;

-- what is on the list of holds for others' sake: foreign keys and AFTER triggers, which a release fires
CREATE TABLE watched (due_at timestamptz, payment_id uuid, scope text, FOREIGN KEY (due_at, payment_id, scope) REFERENCES idempotency.hold);
CREATE TABLE gone (key text);
CREATE FUNCTION note_gone() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO gone VALUES (OLD.key); RETURN NULL; END $$;
CREATE TRIGGER note_gone AFTER DELETE ON idempotency.hold FOR EACH ROW EXECUTE FUNCTION note_gone();
SELECT status FROM idem_authorize('watched', 10, expires_in => '1 microsecond');
INSERT INTO watched SELECT due_at, payment_id, scope FROM idempotency.hold WHERE key = 'watched';
\set VERBOSITY sqlstate
SELECT idem_expire();
\set VERBOSITY default
SELECT count(*) FROM idempotency.hold WHERE key = 'watched';
DELETE FROM watched;
SELECT idem_expire();
SELECT * FROM gone;
DROP TRIGGER note_gone ON idempotency.hold;
DROP TABLE watched;
-- but none that could change what is deleted, or has no statement
CREATE TRIGGER note_gone BEFORE DELETE ON idempotency.hold FOR EACH ROW EXECUTE FUNCTION note_gone();
SELECT status FROM idem_authorize('before', 10, expires_in => '1 microsecond');
DROP TRIGGER note_gone ON idempotency.hold;
CREATE TRIGGER note_gone AFTER DELETE ON idempotency.hold FOR EACH STATEMENT EXECUTE FUNCTION note_gone();
SELECT status FROM idem_authorize('statement', 10, expires_in => '1 microsecond');
DROP TRIGGER note_gone ON idempotency.hold;
DROP FUNCTION note_gone;
DROP TABLE gone;
