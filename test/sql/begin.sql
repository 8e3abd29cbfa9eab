-- Requests: work of the application's own, done once.
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/include/error.psql'
\i :include

-- begun and completed in one transaction
BEGIN;
SELECT * FROM idem_begin('w1', '{"do": "it", "n": 1.0}');
SELECT idem_complete('w1', '{"done":  true}');
COMMIT;
SELECT * FROM idem_begin('w1', '{"n": 1, "do":"it"}');
SELECT pg_temp.error($$SELECT idem_begin('w1', '{"n": 2, "do":"it"}')$$);
SELECT pg_temp.error($$SELECT idem_begin('w1')$$);
-- not completed: refused
BEGIN;
SELECT * FROM idem_begin('w2');
COMMIT;
SELECT * FROM idem_begin('w2');
BEGIN;
SELECT * FROM idem_begin('w2');
SELECT pg_temp.error($$SELECT idem_begin('w2')$$);
SAVEPOINT s;
SELECT idem_complete('w2', '1');
ROLLBACK TO s;
SELECT idem_fail('w2', '{"no": "funds"}');
COMMIT;
SELECT * FROM idem_begin('w2');
BEGIN;
SAVEPOINT s;
SELECT * FROM idem_begin('w3');
ROLLBACK TO s;
COMMIT;
BEGIN;
SELECT * FROM idem_begin('w3');
SELECT * FROM idem_begin('w4');
SELECT idem_complete('w4', 'null');
SELECT idem_release('w3');
COMMIT;
SELECT request_key, status, attempt, response FROM unnest('{w1,w2,w3,w4}'::text[]) k, idem_lookup_request(k);
-- leases
SELECT * FROM idem_begin('l1', '{"a": 1}', lease => '1 hour');
SELECT regexp_replace(pg_temp.error($$SELECT idem_begin('l1', '{"a": 1}', lease => '1 hour')$$), 'until .*$', 'until ...', 'n');
SELECT idem_checkpoint('l1', 'charged', '{"charge": "ch_1"}', 1);
SELECT pg_temp.error($$SELECT idem_complete('l1', '{}')$$);
SELECT pg_temp.error($$SELECT idem_complete('l1', '{}', 2)$$);
SELECT idem_complete('l1', '{"ok": 1}', 1);
SELECT idem_complete('l1', '{"ok": 1}', 1);
SELECT pg_temp.error($$SELECT idem_complete('l1', '{"ok": 2}', 1)$$);
SELECT * FROM idem_begin('l1', '{"a": 1}', lease => '1 hour');
SELECT * FROM idem_begin('l2', lease => '1 ms');
SELECT idem_checkpoint('l2', 'half', NULL, 1);
SELECT pg_sleep(0.01);
SELECT * FROM idem_begin('l2', lease => '1 hour', takeover => false);
SELECT * FROM idem_begin('l2', lease => '1 hour');
SELECT pg_temp.error($$SELECT idem_complete('l2', '1', 1)$$);
SELECT idem_release('l2', 2);
SELECT * FROM idem_begin('l2', lease => '1 hour');
SELECT idem_fail('l2', '"no"', 3);
SELECT * FROM idem_begin('l2');
SELECT pg_temp.error($$SELECT idem_complete('never', '1', 1)$$);
-- retention: what has expired is as if it had never been, and is purged a table at a time
SET idempotency.retention = '1s';
SELECT outcome FROM idem_begin('e1', lease => '1 ms');
SELECT idem_complete('e1', '"first"', 1);
SELECT outcome, response FROM idem_begin('e1');
SELECT pg_sleep(1.1);
SELECT count(*) FROM idem_lookup_request('e1');
SELECT outcome, attempt FROM idem_begin('e1', lease => '1 minute');
SELECT idem_complete('e1', '"second"', 2);
SELECT outcome, response FROM idem_begin('e1');
RESET idempotency.retention;
SELECT key, status, attempt, response FROM idempotency.request WHERE key IN ('e1', 'l1', 'w1') ORDER BY key;
SELECT idem_purge() <= 1 AS few_are_empty;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT idem_purge();
ROLLBACK;
-- an end that is said twice
BEGIN;
SELECT outcome FROM idem_begin('t1');
SELECT idem_complete('t1', '1');
SELECT idem_complete('t1', '1');
COMMIT;
SELECT idem_complete('t1', '1');
SELECT pg_temp.error($$SELECT idem_complete('t1', '2')$$);
SELECT pg_temp.error($$SELECT idem_release('t1')$$);
-- released since a savepoint, and begun again
BEGIN;
SELECT outcome FROM idem_begin('t2');
SAVEPOINT s;
SELECT idem_release('t2');
RELEASE s;
SELECT outcome FROM idem_begin('t2');
SELECT idem_complete('t2', '2');
COMMIT;
SELECT outcome, response FROM idem_begin('t2');
-- the end of a request does not expire before its beginning, so that no purge makes that the newest
SET idempotency.retention = '1s';
SELECT outcome FROM idem_begin('t3', lease => '1 hour');
SELECT idem_complete('t3', '"done"', 1);
SELECT outcome FROM idem_begin('t4', lease => '1 ms');
SELECT pg_sleep(1.2);
SELECT outcome, response FROM idem_begin('t3');
-- and an attempt that has expired keeps its number
SELECT outcome, attempt FROM idem_begin('t4', lease => '1 hour');
SELECT pg_temp.error($$SELECT idem_complete('t4', '"stale"', 1)$$);
RESET idempotency.retention;
-- the clock of requests does not go back behind a purge: here one has been an hour ahead
SET idempotency.retention = '1min';
BEGIN;
SELECT outcome FROM idem_begin('c1');
SELECT idem_complete('c1', '1');
COMMIT;
SELECT count(*) FROM idem_lookup_request('c1');
BEGIN;
DELETE FROM idempotency.request_purge;
INSERT INTO idempotency.request_purge VALUES (clock_timestamp() + '1 hour');
SELECT count(*) FROM idem_lookup_request('c1');
SELECT count(*) FROM idempotency.request WHERE key = 'c1';
SELECT outcome FROM idem_begin('c2', lease => '1 minute');
SELECT created_at > clock_timestamp() + '50 minutes' AS later FROM idem_lookup_request('c2');
TRUNCATE idempotency.request_0, idempotency.request_1, idempotency.request_2;
INSERT INTO idempotency.request_0 (created_at, expires_at, seq, attempt, scope, key, status, role)
	VALUES (now(), now(), 1, 1, '', 'c3', 'completed', current_user);
SELECT idem_purge();
SELECT purged_until > clock_timestamp() + '50 minutes' AS not_back FROM idempotency.request_purge;
ROLLBACK;
RESET idempotency.retention;
