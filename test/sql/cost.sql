-- What a replay does not do: assign a transaction id, write WAL, take any lock but those of the relations it
-- reads, burn a sequence value.

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
-- the same measure does see a new payment: its row and two index entries
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

-- a parallel operation gets the answer of a known key, and cannot do the work of a new one
CREATE FUNCTION pay_in_parallel(key text) RETURNS boolean LANGUAGE sql PARALLEL SAFE AS
	'SELECT replayed FROM public.idem_pay(key, 50)';
BEGIN;
CREATE TABLE cost_parallel AS SELECT 'cost-1' AS key FROM generate_series(1, 10);
SET LOCAL parallel_setup_cost = 0;
SET LOCAL parallel_tuple_cost = 0;
SET LOCAL min_parallel_table_scan_size = 0;
SELECT count(*) FROM cost_parallel WHERE pay_in_parallel(key);
UPDATE cost_parallel SET key = 'cost-parallel';
\set VERBOSITY sqlstate
SELECT count(*) FROM cost_parallel WHERE pay_in_parallel(key);
\set VERBOSITY default
ROLLBACK;

-- refused: a different request, a malformed one, none costs a transaction id either
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
