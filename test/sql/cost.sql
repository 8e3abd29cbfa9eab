-- A replay assigns no transaction id, writes no WAL, uses no sequence value, and takes only the locks of the
-- relations that it reads.

SELECT count(*) FROM (SELECT idem_pay('cost-' || g, 50) FROM generate_series(1, 100) g) s;
-- the first reader of a row may set hint bits, as after any INSERT
SELECT count(*) FILTER (WHERE (r).replayed) AS replayed
FROM (SELECT idem_pay('cost-' || g, 50) AS r FROM generate_series(1, 100) g) s;

-- WAL of one statement, as the server counts it for this backend
CREATE FUNCTION pg_temp.wal_records(statement text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	plan json;
BEGIN
	EXECUTE 'EXPLAIN (ANALYZE, WAL, FORMAT json) ' || statement INTO plan;
	RETURN plan -> 0 -> 'Plan' ->> 'WAL Records';
END
$$;
SELECT pg_temp.wal_records($$SELECT idem_pay('cost-' || g, 50) FROM generate_series(1, 100) g$$) AS replays;
SELECT pg_temp.wal_records($$SELECT idem_lookup('cost-' || g) FROM generate_series(1, 100) g$$) AS lookups;
-- a new payment is measured the same way: its row and two index entries
SELECT pg_temp.wal_records($$SELECT idem_pay('cost-new', 50)$$) >= 3 AS new_payment;

-- no transaction id, and no lock but on relations
BEGIN;
SELECT replayed FROM idem_pay('cost-1', 50);
SELECT amount FROM idem_lookup('cost-2');
SELECT pg_current_xact_id_if_assigned() IS NULL AS no_transaction_id;
SELECT locktype, relation::regclass, mode FROM pg_locks
WHERE pid = pg_backend_pid() AND (relation IS NULL OR relation >= 16384) AND locktype <> 'virtualxid'
ORDER BY relation::regclass::text;
COMMIT;

-- replays of follow-ups and of cancellations cost no more
SELECT payment_id AS p FROM idem_authorize('cost-hold', 50) \gset
SELECT count(*) FROM generate_series(1, 20) g, idem_capture('cost-c-' || g, :'p', 1, false);
SELECT count(*) FROM generate_series(1, 20) g, idem_refund('cost-r-' || g, :'p', 1);
SELECT status FROM idem_void('cost-v', :'p');
SELECT status FROM idem_cancel('cost-2');
SELECT status FROM idem_cancel('cost-unused');
-- the first reader of a row may set hint bits
SELECT count(*) FROM idem_history(:'p');
SELECT count(*) FROM generate_series(1, 20) g, idem_capture('cost-c-' || g, :'p', 1, false), idem_refund('cost-r-' || g, :'p', 1);
SELECT status FROM idem_cancel('cost-2');
SELECT status FROM idem_pay('cost-unused', 50);
SELECT pg_temp.wal_records(format($$SELECT idem_capture('cost-c-' || g, %L, 1, false) FROM generate_series(1, 20) g$$, :'p')) AS captures,
	pg_temp.wal_records(format($$SELECT idem_refund('cost-r-' || g, %L, 1) FROM generate_series(1, 20) g$$, :'p')) AS refunds,
	pg_temp.wal_records(format($$SELECT idem_void('cost-v', %L)$$, :'p')) AS void,
	pg_temp.wal_records($$SELECT idem_authorize('cost-hold', 50)$$) AS hold,
	pg_temp.wal_records($$SELECT idem_cancel('cost-2')$$) AS cancelled,
	pg_temp.wal_records($$SELECT idem_cancel('cost-unused')$$) AS cancelled_unused,
	pg_temp.wal_records(format($$SELECT idem_payment(%L)$$, :'p')) AS payment,
	pg_temp.wal_records(format($$SELECT count(*) FROM idem_history(%L)$$, :'p')) AS history;
BEGIN;
SELECT status FROM idem_capture('cost-c-1', :'p', 1, false);
SELECT status FROM idem_refund('cost-r-1', :'p', 1);
SELECT status FROM idem_void('cost-v', :'p');
SELECT status FROM idem_cancel('cost-2');
SELECT status FROM idem_cancel('cost-unused');
SELECT status FROM idem_payment(:'p');
SELECT pg_current_xact_id_if_assigned() IS NULL AS no_transaction_id;
SELECT locktype, relation::regclass, mode FROM pg_locks
WHERE pid = pg_backend_pid() AND (relation IS NULL OR relation >= 16384) AND locktype <> 'virtualxid'
ORDER BY relation::regclass::text;
COMMIT;

-- in a parallel plan, a known key is answered, and a new key is an error
BEGIN;
CREATE FUNCTION pay_in_parallel(key text) RETURNS boolean LANGUAGE sql PARALLEL SAFE AS
	'SELECT replayed FROM public.idem_pay(key, 50)';
CREATE FUNCTION maintain_in_parallel(what text, key text) RETURNS boolean LANGUAGE plpgsql PARALLEL SAFE AS $$
BEGIN
	CASE what
		WHEN 'expire' THEN PERFORM public.idem_expire();
		WHEN 'purge' THEN PERFORM public.idem_purge();
		WHEN 'grant' THEN PERFORM public.idem_grant(current_user::regrole);
		WHEN 'revoke' THEN PERFORM public.idem_revoke(current_user::regrole);
	END CASE;
	RETURN true;
END $$;
CREATE TABLE cost_parallel AS SELECT 'cost-1' AS key FROM generate_series(1, 10);
SET LOCAL parallel_setup_cost = 0;
SET LOCAL parallel_tuple_cost = 0;
SET LOCAL min_parallel_table_scan_size = 0;
SELECT count(*) FROM cost_parallel WHERE pay_in_parallel(key);
UPDATE cost_parallel SET key = 'cost-parallel';
\set VERBOSITY sqlstate
SAVEPOINT s;
SELECT count(*) FROM cost_parallel WHERE pay_in_parallel(key);
-- so are the functions of maintenance and rights
ROLLBACK TO s;
SELECT count(*) FROM cost_parallel WHERE maintain_in_parallel('expire', key);
ROLLBACK TO s;
SELECT count(*) FROM cost_parallel WHERE maintain_in_parallel('purge', key);
ROLLBACK TO s;
SELECT count(*) FROM cost_parallel WHERE maintain_in_parallel('grant', key);
ROLLBACK TO s;
SELECT count(*) FROM cost_parallel WHERE maintain_in_parallel('revoke', key);
\set VERBOSITY default
ROLLBACK;

-- a different request and a malformed one assign no transaction id
BEGIN;
SAVEPOINT s;
SELECT idem_pay('cost-1', 51);
ROLLBACK TO s;
SELECT idem_pay('cost-1', -1);
ROLLBACK TO s;
SELECT idem_pay('', 50);
ROLLBACK TO s;
SELECT pg_current_xact_id_if_assigned() IS NULL AS no_transaction_id;
COMMIT;

-- a new payment holds the locks of an INSERT, and no advisory lock
BEGIN;
SELECT replayed FROM idem_pay('cost-locks', 50);
SELECT locktype, relation::regclass, mode FROM pg_locks
WHERE pid = pg_backend_pid() AND (relation IS NULL OR relation >= 16384) AND locktype <> 'virtualxid'
ORDER BY relation::regclass::text, mode;
COMMIT;

-- follow-ups hold the same locks, however many there are in the transaction
SELECT payment_id AS p FROM idem_authorize('cost-locks-hold', 50) \gset
BEGIN;
SELECT count(*) FROM generate_series(1, 20) g, idem_capture('cost-locks-c-' || g, :'p', 1, false);
SELECT count(*) FROM generate_series(1, 20) g, idem_refund('cost-locks-r-' || g, :'p', 1);
SELECT count(*) FROM generate_series(1, 20) g, idem_cancel('cost-locks-unused-' || g);
SELECT status FROM idem_void('cost-locks-v', :'p');
SELECT locktype, relation::regclass, mode FROM pg_locks
WHERE pid = pg_backend_pid() AND (relation IS NULL OR relation >= 16384) AND locktype <> 'virtualxid'
ORDER BY relation::regclass::text, mode;
COMMIT;
-- a follow-up that is refused, or has nothing to undo, leaves no advisory lock
SELECT payment_id AS p FROM idem_authorize('cost-voided', 50) \gset
SELECT status FROM idem_void('cost-voided-v', :'p');
BEGIN;
SAVEPOINT s;
\set VERBOSITY sqlstate
SELECT idem_refund('cost-refused', :'p', 1000);
ROLLBACK TO s;
SELECT idem_refund('cost-refused', '00000000-0000-7000-8000-000000000000');
ROLLBACK TO s;
SELECT idem_cancel('cost-voided-v');
ROLLBACK TO s;
\set VERBOSITY default
SELECT status FROM idem_cancel('cost-voided');
SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory';
COMMIT;

-- the planner leaves out arguments at the end that are null; the call means the same without them
EXPLAIN (VERBOSE, COSTS OFF) SELECT * FROM idem_pay('cost-1', 50);
EXPLAIN (VERBOSE, COSTS OFF) SELECT * FROM idem_pay('cost-1', 50, NULL, NULL, NULL, NULL, NULL, NULL);
EXPLAIN (VERBOSE, COSTS OFF) SELECT idem_pay('cost-short', 50, reference => 'bill');
EXPLAIN (VERBOSE, COSTS OFF) SELECT * FROM idem_lookup('cost-1');
SELECT replayed FROM idem_pay('cost-1', 50, NULL, NULL, NULL, NULL, NULL, NULL);
SELECT reference, metadata, replayed FROM idem_pay('cost-short', 50, reference => 'bill');
SELECT reference, metadata, replayed FROM idem_pay('cost-short', 50, NULL, NULL, NULL, 'bill', NULL, '');
PREPARE pay (text, text) AS SELECT reference, replayed FROM idem_pay($1, 50, reference => $2, scope => NULL);
EXECUTE pay ('cost-short', 'bill');
EXECUTE pay ('cost-2-short', NULL);
SET plan_cache_mode = force_generic_plan;
EXECUTE pay ('cost-short', 'bill');
EXECUTE pay ('cost-2-short', NULL);
EXPLAIN (VERBOSE, COSTS OFF) EXECUTE pay ('cost-2-short', NULL);
RESET plan_cache_mode;
CREATE VIEW cost_view AS SELECT r.key, r.replayed FROM idem_pay('cost-1', 50) r;
SELECT * FROM cost_view;
DROP VIEW cost_view;
SELECT idem_pay(NULL, NULL);
SELECT idem_pay('cost-null', NULL);
SELECT idem_cancel(NULL);
SELECT idem_begin(NULL);
SELECT idem_pay_batch(NULL, NULL);
-- the planner may simplify a call twice: in an argument of an inlined function, and for an estimate
CREATE FUNCTION cost_text(a text) RETURNS text LANGUAGE sql AS 'SELECT a';
BEGIN;
SELECT outcome FROM idem_begin('cost-twice');
SELECT cost_text(idem_complete('cost-twice', NULL)::text) IS NOT NULL AS completed;
ROLLBACK;
SELECT cost_text(idem_cancel(NULL)::text);
SELECT FROM idempotency.operation WHERE key = (idem_cancel(NULL)).key;
DROP FUNCTION cost_text;
