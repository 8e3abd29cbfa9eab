-- Purging a table in which all requests have expired, next to the usual DELETE in batches with VACUUM. Variable: rows.
-- Prints the number of tables emptied, the seconds of each way, and the dead tuples that each leaves (DELETE before VACUUM).
\set ON_ERROR_STOP on
INSERT INTO idempotency.request_0 (created_at, expires_at, seq, attempt, scope, key, status, role, fingerprint, response)
SELECT now() - interval '2 days', now() - interval '1 day', 1, 1, '', md5(g::text), 'completed', current_user,
	sha256(g::text::bytea), '{"status": "paid", "id": 12345}'
FROM generate_series(1, :rows) g;
CREATE TABLE usual (LIKE idempotency.request_0 INCLUDING ALL);
INSERT INTO usual SELECT * FROM idempotency.request_0;
VACUUM ANALYZE usual;
VACUUM ANALYZE idempotency.request_0;
CHECKPOINT;

SELECT clock_timestamp() AS start \gset
SELECT idem_purge() AS emptied \gset
SELECT extract(epoch FROM clock_timestamp() - :'start') AS ours \gset

CREATE PROCEDURE delete_in_batches() LANGUAGE plpgsql AS $$
DECLARE
	n bigint;
BEGIN
	LOOP
		DELETE FROM usual WHERE ctid = ANY (ARRAY(SELECT ctid FROM usual WHERE expires_at <= now() LIMIT 10000));
		GET DIAGNOSTICS n = ROW_COUNT;
		COMMIT;
		EXIT WHEN n = 0;
	END LOOP;
END
$$;
SELECT clock_timestamp() AS start \gset
CALL delete_in_batches();
SELECT pg_stat_force_next_flush() \g /dev/null
SELECT pg_sleep(0.1) \g /dev/null
SELECT n_dead_tup AS usual_dead FROM pg_stat_user_tables WHERE relname = 'usual' \gset
VACUUM usual;
SELECT extract(epoch FROM clock_timestamp() - :'start') AS usual \gset
SELECT n_dead_tup AS ours_dead FROM pg_stat_user_tables WHERE relname = 'request_0' \gset
SELECT :emptied, round(:ours, 3), round(:usual, 1), :ours_dead, :usual_dead;
