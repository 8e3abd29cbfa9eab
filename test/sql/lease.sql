-- Leases: a living worker keeps its request, and what a dead one leaves is found.
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/include/error.psql'
\i :include
CREATE FUNCTION pg_temp.error_without_time(statement text) RETURNS text LANGUAGE sql AS
	$$SELECT regexp_replace(pg_temp.error(statement), 'until .*$', 'until ...', 'n')$$;

-- a lease is renewed from now on, for longer or for shorter, and keeps all else
SELECT outcome, attempt FROM idem_begin('renew-1', '{"amount": 50}', lease => '20 ms');
SELECT idem_checkpoint('renew-1', 'calling', '{"to": "bank"}', 1);
SELECT pg_sleep(0.03);
-- lapsed, but nobody has taken it over
SELECT idem_renew('renew-1', '1 hour', 1) - clock_timestamp() BETWEEN '59 minutes' AND '1 hour' AS an_hour;
SELECT pg_temp.error_without_time($$SELECT idem_begin('renew-1', '{"amount": 50}', lease => '1 hour')$$);
SELECT idem_renew('renew-1', '1 minute', 1) AS until \gset
SELECT lease_until = :'until' AS returned, lease_until - clock_timestamp() < '2 minutes' AS shorter, attempt, checkpoint, checkpoint_data, begun_at < created_at AS begun_before
FROM idem_lookup_request('renew-1');
SELECT idem_renew('renew-1', '10 ms', 1) IS NOT NULL AS renewed;
SELECT pg_sleep(0.02);
SELECT outcome, attempt, checkpoint_data FROM idem_begin('renew-1', '{"amount": 50}', lease => '1 hour');
-- the worker that was taken over
SELECT pg_temp.error($$SELECT idem_renew('renew-1', '1 hour', 1)$$);
SELECT pg_temp.error($$SELECT idem_renew('renew-1', '1 hour', 3)$$);
SELECT idem_complete('renew-1', '"done"', 2);
SELECT pg_temp.error($$SELECT idem_renew('renew-1', '1 hour', 2)$$);
-- what cannot be renewed
SELECT pg_temp.error($$SELECT idem_renew('renew-2', '1 hour', 1)$$);
SELECT outcome FROM idem_begin('renew-2', lease => '1 hour');
SELECT pg_temp.error($$SELECT idem_renew('renew-2', NULL, 1)$$);
SELECT pg_temp.error($$SELECT idem_renew('renew-2', '1 hour', NULL)$$);
SELECT pg_temp.error($$SELECT idem_renew('renew-2', '0', 1)$$);
SELECT pg_temp.error($$SELECT idem_renew('renew-2', '200 years', 1)$$);
SELECT idem_release('renew-2', 1);
SELECT pg_temp.error($$SELECT idem_renew('renew-2', '1 hour', 1)$$);
BEGIN;
SELECT outcome FROM idem_begin('renew-3');
SELECT pg_temp.error($$SELECT idem_renew('renew-3', '1 hour', 1)$$);
ROLLBACK;
-- a lease beyond the retention keeps the request
SET idempotency.retention = '1s';
SELECT outcome FROM idem_begin('renew-4', lease => '1 second');
SELECT idem_renew('renew-4', '1 day', 1) IS NOT NULL AS renewed;
SELECT lease_until < expires_at AS kept FROM idem_lookup_request('renew-4');
RESET idempotency.retention;

-- one row is left of a request with a lease, however often it is renewed
SELECT outcome FROM idem_begin('renew-5', lease => '1 hour');
SELECT idem_checkpoint('renew-5', 'half', '[1]', 1);
SELECT count(idem_renew('renew-5', '1 hour', 1)) FROM generate_series(1, 1);
SELECT idem_renew('renew-5', '1 hour', 1) IS NOT NULL AS renewed;
CREATE TEMP VIEW rows AS SELECT * FROM idempotency.request_0 UNION ALL SELECT * FROM idempotency.request_1 UNION ALL SELECT * FROM idempotency.request_2;
SELECT seq, status, checkpoint FROM rows WHERE key = 'renew-5';
SELECT idem_complete('renew-5', '1', 1);
SELECT seq, status, checkpoint, lease_until FROM rows WHERE key = 'renew-5';
-- nor if it is resumed without a lease, in a transaction that first rolls back
SELECT outcome FROM idem_begin('renew-6', lease => '1 ms');
SELECT pg_sleep(0.01);
BEGIN;
SELECT outcome FROM idem_begin('renew-6');
SAVEPOINT s;
SELECT idem_complete('renew-6', '1');
ROLLBACK TO s;
SELECT seq, status FROM rows WHERE key = 'renew-6';
SELECT idem_complete('renew-6', '2');
COMMIT;
SELECT seq, status, response FROM rows WHERE key = 'renew-6';
-- one command may write several rows
SELECT outcome, idem_checkpoint('renew-7', 'half', NULL, attempt), idem_renew('renew-7', '1 hour', attempt) IS NOT NULL AS renewed
FROM idem_begin('renew-7', lease => '1 hour');
SELECT status, attempt, checkpoint FROM idem_lookup_request('renew-7');
SELECT idem_complete('renew-7', '1', 1);
SELECT status FROM idem_lookup_request('renew-7');

-- abandoned requests: those whose lease has lapsed, and which have not ended
SET idempotency.scope = 'abandoned';
SELECT count(*) FROM idem_abandoned();
SELECT outcome FROM idem_begin('a-late', lease => '1 ms');
BEGIN;
SELECT outcome FROM idem_begin('a-early', '{"n": 1}'::json, lease => '1 ms');
SELECT idem_checkpoint('a-early', 'begun', '{"n":  1}', 1);
COMMIT;
SELECT idem_renew('a-late', '1 ms', 1) IS NOT NULL AS renewed;
SELECT outcome FROM idem_begin('a-alive', lease => '1 hour');
SELECT outcome FROM idem_begin('a-renewed', lease => '1 ms');
SELECT idem_renew('a-renewed', '1 hour', 1) IS NOT NULL AS renewed;
SELECT outcome FROM idem_begin('a-done', lease => '1 ms');
SELECT idem_complete('a-done', '1', 1);
SELECT outcome FROM idem_begin('a-failed', lease => '1 ms');
SELECT idem_fail('a-failed', '1', 1);
SELECT outcome FROM idem_begin('a-released', lease => '1 ms');
SELECT idem_release('a-released', 1);
SELECT outcome FROM idem_begin('a-again', lease => '1 ms');
SELECT pg_sleep(0.01);
SELECT outcome, attempt FROM idem_begin('a-again', lease => '1 ms');
SELECT outcome, attempt FROM idem_begin('a-other', lease => '1 ms', scope => 'another scope');
SELECT outcome, idem_complete('a-at-once', '1', attempt) FROM idem_begin('a-at-once', lease => '1 ms');
SELECT pg_sleep(0.01);
SELECT key, attempt, checkpoint, checkpoint_data, lease_until < clock_timestamp() AS lapsed, begun_at < lease_until AS begun FROM idem_abandoned() ORDER BY key;
SELECT key FROM idem_abandoned(scope => 'another scope');
-- in the order in which they lapsed
SELECT (SELECT array_agg(lease_until) FROM idem_abandoned()) = array_agg(lease_until ORDER BY lease_until) AS in_order FROM idem_abandoned();
SELECT key FROM idem_abandoned(1);
SELECT count(*) FROM idem_abandoned(2);
SELECT pg_temp.error($$SELECT idem_abandoned(NULL)$$);
SELECT pg_temp.error($$SELECT idem_abandoned(NULL, NULL)$$);
SELECT pg_temp.error($$SELECT idem_abandoned(0)$$);
SELECT pg_temp.error($$SELECT idem_abandoned(1, E'\t')$$);
-- who takes one over takes it off the list
SELECT outcome, attempt, checkpoint_data FROM idem_begin('a-early', '{"n": 1}'::json, lease => '1 hour');
SELECT count(*) FROM idem_abandoned() WHERE key = 'a-early';
-- a transaction that is read-only sees the list; a row whose end is rolled back is still on it
BEGIN;
SELECT idem_complete('a-late', '1', 1);
SELECT count(*) FROM idem_abandoned() WHERE key = 'a-late';
ROLLBACK;
BEGIN READ ONLY;
SELECT count(*) FROM idem_abandoned() WHERE key = 'a-late';
COMMIT;
-- a request that has expired is on it no more; a restart of it has its own beginning
SET idempotency.retention = '1s';
SELECT outcome FROM idem_begin('a-expired', lease => '1 ms');
SELECT pg_sleep(1.1);
SELECT count(*) FROM idem_abandoned() WHERE key = 'a-expired';
SELECT clock_timestamp() AS before \gset
SELECT outcome, attempt FROM idem_begin('a-expired', lease => '1 ms');
SELECT pg_sleep(0.01);
SELECT attempt, begun_at > :'before' AS begun_again FROM idem_abandoned() WHERE key = 'a-expired';
SELECT count(*) FROM rows WHERE key = 'a-expired';
RESET idempotency.retention;
-- only what the current role may take over
CREATE ROLE regress_idem_worker;
CREATE ROLE regress_idem_stranger;
SELECT idem_grant('regress_idem_worker');
SELECT idem_grant('regress_idem_stranger');
SET ROLE regress_idem_worker;
SELECT outcome FROM idem_begin('a-worker', lease => '1 ms');
SELECT pg_sleep(0.01);
SELECT key FROM idem_abandoned();
SET ROLE regress_idem_stranger;
SELECT key FROM idem_abandoned();
RESET ROLE;
SELECT key FROM idem_abandoned() WHERE key IN ('a-worker', 'a-late') ORDER BY key;
SELECT idem_revoke('regress_idem_worker'), idem_revoke('regress_idem_stranger');
DROP ROLE regress_idem_worker, regress_idem_stranger;
RESET idempotency.scope;
-- it looks for leases in their index
DROP INDEX idempotency.request_1_scope_lease_until_idx;
SELECT pg_temp.error($$SELECT idem_abandoned()$$);
SELECT outcome FROM idem_begin('no index', lease => '1 hour');
CREATE INDEX wrong ON idempotency.request_1 (scope, lease_until);
SELECT pg_temp.error($$SELECT idem_abandoned()$$);
DROP INDEX idempotency.wrong;
CREATE INDEX leases ON idempotency.request_1 (scope, lease_until) WHERE lease_until IS NOT NULL;
SELECT count(*) FROM idem_abandoned(scope => 'no such scope');
ALTER INDEX idempotency.leases RENAME TO request_1_scope_lease_until_idx;
