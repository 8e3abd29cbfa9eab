-- Expired holds, and their release by idem_expire(): refusals are the same before and after it.
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/include/step.psql'
\i :include
SET idempotency.scope = 'expire';
SET idempotency.currency = 'EUR';

-- release what other tests have left
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

-- nothing is released before it expires
SELECT idem_expire();
SELECT count(*) FROM idempotency.hold WHERE scope = 'expire';
SELECT FROM pg_sleep(1.05);

-- refusals between expiry and release; after the release they are the same, word for word
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

-- the operation that releases a hold
SELECT pg_temp.show(h) FROM idem_history(:'untouched') h;
SELECT pg_temp.show(h) FROM idem_history(:'part') h;
SELECT pg_temp.show(h) FROM idem_history(:'voided') h;
SELECT pg_temp.show(l) FROM idem_lookup('idem_expire:untouched') l;
SELECT key, whole, final, expired, role = current_user AS by_me, owner, reference, metadata
FROM idempotency.operation WHERE kind = 'expire' AND scope = 'expire' ORDER BY key;
-- later operations know that the hold has expired
SELECT pg_temp.step($$idem_refund('part 2', pg_temp.p('part'), 10)$$);
SELECT pg_temp.step($$idem_refund('given back 2', pg_temp.p('given back'))$$);
SET idempotency.declines = record;
SELECT pg_temp.step($$idem_capture('declined', pg_temp.p('untouched'))$$);
RESET idempotency.declines;
SELECT pg_temp.step($$idem_cancel('untouched')$$);
SELECT pg_temp.show(p) FROM idem_payment(:'untouched') p;
SELECT pg_temp.step($$idem_cancel('voided')$$);
SELECT status FROM idempotency.payment WHERE scope = 'expire' AND key = 'untouched';
-- earlier receipts are replayed unchanged
SELECT * FROM pg_temp.unlike_at_first();

-- nobody else can use the key of that operation
SELECT pg_temp.step($$idem_pay('idem_expire:untouched', 1)$$);
SELECT pg_temp.step($$idem_cancel('idem_expire:untouched')$$);
SELECT octet_length(key) FROM idem_authorize(repeat('k', 255), 100, expires_in => '1 microsecond');
SELECT idem_expire();
SELECT octet_length(key) FROM idem_lookup('idem_expire:' || repeat('k', 255));
SELECT pg_temp.step($$idem_lookup('idem_expire:' || repeat('k', 268))$$);

-- at most max_holds at a time, the oldest first
SELECT count(idem_authorize('many ' || i, i, expires_in => '1 microsecond')) FROM generate_series(1, 5) i;
SELECT idem_expire(2);
SELECT key FROM idempotency.operation WHERE kind = 'expire' AND key ^@ 'idem_expire:many' ORDER BY key;
SELECT idem_expire(3), idem_expire();
SELECT idem_expire(NULL);
SELECT idem_expire(0);
SELECT idem_expire(-1);

-- holds that cannot be released are reported, and do not block others
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

-- max_holds counts the holds that cannot be released, too; each call gives one warning, and the next call goes on from there
CREATE FUNCTION pg_temp.refuse() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'not this one'; END$$;
CREATE TRIGGER refuse AFTER INSERT ON idempotency.operation FOR EACH ROW WHEN (NEW.key ^@ 'idem_expire:refused') EXECUTE FUNCTION pg_temp.refuse();
SELECT count(idem_authorize(CASE WHEN i <= 200 THEN 'refused ' ELSE 'allowed ' END || i, 100, expires_in => '1 microsecond')) FROM generate_series(1, 300) i;
SELECT idem_expire(100);
SELECT idem_expire(100);
SELECT idem_expire(100);
SELECT idem_expire(100);
SELECT split_part(key, ' ', 1) AS payments, status, released, count(*) FROM idempotency.payment
WHERE scope = 'expire' AND key ~ '^(refused|allowed) ' GROUP BY 1, 2, 3 ORDER BY 1;
-- they are due again in a minute
SELECT count(*), bool_and(due_at BETWEEN now() AND now() + interval '1 minute') AS soon, bool_and(expires_at < now()) AS expired
FROM idempotency.hold WHERE scope = 'expire' AND key ^@ 'refused ';
SELECT invariant, detail FROM idem_check() WHERE NOT ok;
-- the longer a hold has been expired, the later it is due again, at most a day later
UPDATE idempotency.hold SET due_at = expires_at, expires_at = now() - CASE key WHEN 'refused 1' THEN interval '5 hours' ELSE '5 days' END
WHERE key IN ('refused 1', 'refused 2');
SELECT idem_expire();
SELECT key, due_at - now() BETWEEN '4 hours' AND '6 hours' AS in_5_hours, due_at - now() BETWEEN '23 hours' AND '1 day' AS in_a_day
FROM idempotency.hold WHERE key IN ('refused 1', 'refused 2') ORDER BY key;
-- it is released once that is possible
DROP TRIGGER refuse ON idempotency.operation;
SELECT idem_expire();
UPDATE idempotency.hold SET due_at = expires_at;
SELECT idem_expire();
SELECT key FROM idempotency.hold WHERE scope = 'expire';
\set VERBOSITY default

-- a hold that expires later than the list says is not released before
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

-- the operation belongs to the role that started the payment, which can see it, whoever called idem_expire()
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

-- rows written by hand: a hold that is listed too early, one without a payment, one that is listed again
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

-- an administrator's foreign keys and AFTER triggers on the list of holds work
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
-- BEFORE triggers and statement triggers are refused
CREATE TRIGGER note_gone BEFORE DELETE ON idempotency.hold FOR EACH ROW EXECUTE FUNCTION note_gone();
SELECT status FROM idem_authorize('before', 10, expires_in => '1 microsecond');
DROP TRIGGER note_gone ON idempotency.hold;
CREATE TRIGGER note_gone AFTER DELETE ON idempotency.hold FOR EACH STATEMENT EXECUTE FUNCTION note_gone();
SELECT status FROM idem_authorize('statement', 10, expires_in => '1 microsecond');
DROP TRIGGER note_gone ON idempotency.hold;
DROP FUNCTION note_gone;
DROP TABLE gone;
