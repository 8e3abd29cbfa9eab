-- Requests: the application's own work, done once.
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/include/error.psql'
\i :include

-- begun and completed in one transaction
BEGIN;
SELECT * FROM idem_begin('w1', '{"do": "it", "n": 1.0}'::json);
SELECT idem_complete('w1', '{"done":  true}');
COMMIT;
SELECT * FROM idem_begin('w1', '{"n": 1, "do":"it"}'::json);
SELECT pg_temp.error($$SELECT idem_begin('w1', '{"n": 2, "do":"it"}'::json)$$);
SELECT pg_temp.error($$SELECT idem_begin('w1')$$);
-- begun and not completed: COMMIT is refused
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
SELECT key, status, attempt, response FROM unnest('{w1,w2,w3,w4}'::text[]) k, idem_lookup_request(k);
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
-- retention: an expired request counts as absent, except that attempts go on counting; a purge empties whole tables
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
-- ending a request twice
BEGIN;
SELECT outcome FROM idem_begin('t1');
SELECT idem_complete('t1', '1');
SELECT idem_complete('t1', '1');
COMMIT;
SELECT idem_complete('t1', '1');
SELECT pg_temp.error($$SELECT idem_complete('t1', '2')$$);
SELECT pg_temp.error($$SELECT idem_release('t1')$$);
-- released after a savepoint, and begun again
BEGIN;
SELECT outcome FROM idem_begin('t2');
SAVEPOINT s;
SELECT idem_release('t2');
RELEASE s;
SELECT outcome FROM idem_begin('t2');
SELECT idem_complete('t2', '2');
COMMIT;
SELECT outcome, response FROM idem_begin('t2');
-- the row that ends a request expires no earlier than the row that began it; otherwise a purge could make that the newest
SET idempotency.retention = '1s';
SELECT outcome FROM idem_begin('t3', lease => '1 hour');
SELECT idem_complete('t3', '"done"', 1);
SELECT outcome FROM idem_begin('t4', lease => '1 ms');
SELECT pg_sleep(1.2);
SELECT outcome, response FROM idem_begin('t3');
-- an expired attempt keeps its number
SELECT outcome, attempt FROM idem_begin('t4', lease => '1 hour');
SELECT pg_temp.error($$SELECT idem_complete('t4', '"stale"', 1)$$);
RESET idempotency.retention;
-- the clock of requests never goes back before the last purge, which is an hour ahead here
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

-- a request belongs to the role that began it: ending and replaying it need the privileges of that role
CREATE ROLE regress_idem_app;
CREATE ROLE regress_idem_office;
SELECT idem_grant('regress_idem_app');
SELECT idem_grant('regress_idem_office');
GRANT regress_idem_app TO regress_idem_office;
CREATE FUNCTION end_it(key text) RETURNS void LANGUAGE sql SECURITY DEFINER AS $$SELECT idem_complete(key, '"ended"')$$;
CREATE FUNCTION begin_it(key text) RETURNS text LANGUAGE sql SECURITY DEFINER AS $$SELECT outcome FROM idem_begin(key)$$;
SET ROLE regress_idem_app;
BEGIN;
SELECT outcome FROM idem_begin('r1');
SELECT end_it('r1');
COMMIT;
SELECT outcome, response FROM idem_begin('r1');
BEGIN;
SELECT begin_it('r2');
SELECT pg_temp.error($$SELECT idem_complete('r2', '"forged"')$$);
SELECT pg_temp.error($$SELECT idem_fail('r2', '"forged"')$$);
SELECT pg_temp.error($$SELECT idem_release('r2')$$);
SELECT end_it('r2');
COMMIT;
SELECT pg_temp.error($$SELECT idem_begin('r2')$$);
-- a role with the privileges of that role can take a request over; it still belongs to the first role
SELECT outcome FROM idem_begin('r3', lease => '10 ms');
SELECT idem_checkpoint('r3', 'half', '[1]', 1);
SELECT pg_sleep(0.02);
SET ROLE regress_idem_office;
BEGIN;
SELECT outcome, attempt, checkpoint FROM idem_begin('r3');
SELECT idem_complete('r3', '"by the office"', 2);
COMMIT;
SET ROLE regress_idem_app;
SELECT outcome, response, checkpoint, checkpoint_data FROM idem_begin('r3');
RESET ROLE;
SELECT key, nullif(role, current_user) AS of FROM idempotency.request WHERE key ~ '^r[123]$' ORDER BY key;
DROP FUNCTION end_it, begin_it;
SELECT idem_revoke('regress_idem_app');
SELECT idem_revoke('regress_idem_office');
DROP ROLE regress_idem_app, regress_idem_office;

-- nothing is written after the transaction became read-only
BEGIN;
SELECT outcome FROM idem_begin('ro');
SET TRANSACTION READ ONLY;
SELECT idem_complete('ro', '1');
ROLLBACK;

-- a cursor that fails: what its first rows began is kept, and so is the lock of that table
BEGIN;
DECLARE c CURSOR FOR SELECT outcome FROM unnest('{f1,f2}'::text[]) k, LATERAL idem_begin(k, lease => CASE k WHEN 'f2' THEN '-1 s' ELSE '1 hour' END::interval);
FETCH c;
SAVEPOINT s;
FETCH c;
ROLLBACK TO s;
SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND relation::regclass::text ~ 'request_.$' AND mode = 'RowExclusiveLock';
COMMIT;
SELECT status FROM idem_lookup_request('f1');

-- the number of locks does not grow if each request ends in a subtransaction of its own
DO $$
BEGIN
	FOR i IN 1 .. 100 LOOP
		PERFORM idem_begin('pile ' || i);
		BEGIN
			PERFORM idem_complete('pile ' || i, '1');
		EXCEPTION WHEN OTHERS THEN
			RAISE;
		END;
	END LOOP;
	RAISE NOTICE 'locks: %', (SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory');
END
$$;
SELECT count(*) FROM idempotency.request WHERE key ~ '^pile ';

-- it does not grow if each request begins and ends in subtransactions, or is rolled back
BEGIN;
DO $$
BEGIN
	FOR i IN 1 .. 100 LOOP
		BEGIN
			PERFORM idem_begin('deep ' || i);
			BEGIN
				PERFORM idem_complete('deep ' || i, '1');
				IF i % 2 = 0 THEN
					RAISE 'undone';
				END IF;
			EXCEPTION WHEN raise_exception THEN
				PERFORM idem_release('deep ' || i);
			END;
		EXCEPTION WHEN division_by_zero THEN
			RAISE;
		END;
	END LOOP;
	RAISE NOTICE 'locks: %', (SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory');
END
$$;
COMMIT;
SELECT count(*) FROM idempotency.request WHERE key ~ '^deep ';

-- the result of a look-up stays valid after its table was emptied
SELECT outcome FROM idem_execute('big', $$SELECT string_agg(md5(i::text), '') AS big FROM generate_series(1, 3000) i$$) e, LATERAL (SELECT 'done' AS outcome) o;
BEGIN;
DECLARE c CURSOR FOR SELECT i, length(response::text) FROM generate_series(1, 2) i, idem_lookup_request('big');
FETCH c;
TRUNCATE idempotency.request_0, idempotency.request_1, idempotency.request_2;
FETCH c;
ROLLBACK;
-- a look-up in a parallel plan
SELECT set_config(name, 'on', false) AS forced FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query');
SELECT status FROM idem_lookup_request('big');
SELECT set_config(name, 'off', false) AS forced FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query');

-- leases go by the system clock, even if the clock of requests stands still
BEGIN;
DELETE FROM idempotency.request_purge;
INSERT INTO idempotency.request_purge VALUES (clock_timestamp() + '1 hour');
SELECT outcome FROM idem_begin('still', lease => '10 ms');
SELECT pg_sleep(0.02);
SELECT outcome, attempt FROM idem_begin('still', lease => '10 ms');
ROLLBACK;

-- a new run expires no earlier than the run before it, whatever the clock does
BEGIN;
SELECT outcome FROM idem_begin('again');
SELECT idem_complete('again', '"first"');
COMMIT;
BEGIN;
INSERT INTO idempotency.request_purge VALUES (clock_timestamp() + '25 hours') ON CONFLICT DO NOTHING;
SET LOCAL idempotency.retention = '1s';
SELECT outcome FROM idem_begin('again');
DELETE FROM idempotency.request_purge;
SELECT idem_complete('again', '"second"');
SELECT outcome, response FROM idem_begin('again');
SELECT seq, response, expires_at > clock_timestamp() + '1 hour' AS for_hours FROM (
	SELECT * FROM idempotency.request_0 UNION ALL SELECT * FROM idempotency.request_1 UNION ALL SELECT * FROM idempotency.request_2) r
WHERE key = 'again' ORDER BY seq;
ROLLBACK;

-- a row that expires late keeps its table from being emptied; the expired rows beside it are deleted
BEGIN;
TRUNCATE idempotency.request_0, idempotency.request_1, idempotency.request_2;
INSERT INTO idempotency.request_0 (created_at, expires_at, seq, attempt, scope, key, status, role)
	SELECT now() - i * interval '6 hours' - interval '24 hours', now() - i * interval '6 hours', 1, 1, '', 'old ' || i, 'completed', current_user FROM generate_series(1, 10) i;
SELECT outcome FROM idem_begin('long', lease => '1000 days');
INSERT INTO idempotency.request_0 SELECT * FROM idempotency.request_1 WHERE key = 'long' UNION ALL SELECT * FROM idempotency.request_2 WHERE key = 'long';
TRUNCATE idempotency.request_1, idempotency.request_2;
SELECT idem_purge();
SELECT key FROM idempotency.request_0;
-- nothing is deleted while the oldest row has not been expired for long
INSERT INTO idempotency.request_0 (created_at, expires_at, seq, attempt, scope, key, status, role)
	VALUES (now() - interval '40 hours', now() - interval '16 hours', 1, 1, '', 'not so old', 'completed', current_user);
SELECT idem_purge();
SELECT count(*) FROM idempotency.request_0;
ROLLBACK;

-- no more rows or attempts after the largest number, here written by hand
INSERT INTO idempotency.request_0 (created_at, expires_at, lease_until, seq, attempt, scope, key, status, role)
VALUES (now(), now() + interval '1 day', now() + interval '1 hour', 2147483647, 1, '', 'last row', 'started', current_user),
	(now(), now() + interval '1 day', now() - interval '1 hour', 1, 2147483647, '', 'last attempt', 'started', current_user),
	(now(), now() - interval '1 hour', NULL, 2147483647, 1, '', 'last and expired', 'completed', current_user);
SELECT pg_temp.error($$SELECT idem_complete('last row', '1', 1)$$);
SELECT pg_temp.error($$SELECT idem_checkpoint('last row', 'half', '1', 1)$$);
SELECT pg_temp.error($$SELECT idem_begin('last attempt')$$);
SELECT pg_temp.error($$SELECT idem_begin('last and expired')$$);
DELETE FROM idempotency.request_0 WHERE key ~ '^last ';

-- takeover is never null: a default would take the request over
SELECT pg_temp.error($$SELECT idem_begin('null', takeover => NULL)$$);
SELECT pg_temp.error($$SELECT idem_begin('null', NULL, NULL, NULL, NULL)$$);
-- a response, a checkpoint or rows beyond the limit are refused, and not stored
SET idempotency.response_limit = '1kB';
BEGIN;
SELECT outcome FROM idem_begin('limit-1');
SELECT pg_temp.error($$SELECT idem_complete('limit-1', to_json(repeat('x', 1023)))$$);
SELECT pg_temp.error($$SELECT idem_fail('limit-1', to_json(repeat('x', 1023)))$$);
SELECT idem_complete('limit-1', to_json(repeat('x', 1022)));
COMMIT;
SELECT length(response::text) FROM idem_begin('limit-1');
SELECT outcome FROM idem_begin('limit-2', lease => '1 hour');
SELECT pg_temp.error($$SELECT idem_checkpoint('limit-2', repeat('n', 4), to_json(repeat('x', 1019)), 1)$$);
SELECT pg_temp.error($$SELECT idem_checkpoint('limit-2', repeat('n', 1025), NULL, 1)$$);
SELECT idem_checkpoint('limit-2', repeat('n', 4), to_json(repeat('x', 1018)), 1);
SELECT pg_temp.error($$SELECT idem_execute('limit-3', 'SELECT repeat(''x'', 1020) AS a')$$);
SELECT pg_temp.error($$SELECT idem_execute('limit-3', 'SELECT i FROM generate_series(1, 1000) i')$$);
SELECT length(rows::text) FROM idem_execute('limit-3', 'SELECT repeat(''x'', 1014) AS a');
SET idempotency.declines = record;
SELECT pg_temp.error($$SELECT idem_execute('limit-4', 'SELECT repeat(''x'', 1020) AS a')$$);
RESET idempotency.declines;
-- what is stored stays valid under a smaller limit
SELECT length(response::text) FROM idem_lookup_request('limit-3');
\set VERBOSITY sqlstate
SET idempotency.response_limit = '129MB';
\set VERBOSITY default
RESET idempotency.response_limit;
SHOW idempotency.response_limit;
