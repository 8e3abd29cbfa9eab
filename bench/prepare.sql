-- The extension, and a bare table of the same shape with the same 100,000 rows.
CREATE EXTENSION idempotency;
CREATE TABLE bare (LIKE idempotency.operation INCLUDING ALL);
CREATE FUNCTION uuid7() RETURNS uuid LANGUAGE C AS '$libdir/idempotency', 'idem_uuid7';
SELECT count(*) FROM (SELECT idem_pay('r' || g, 50.00) FROM generate_series(1, 100000) g) s;
INSERT INTO bare SELECT * FROM idempotency.operation;
VACUUM ANALYZE bare;
VACUUM ANALYZE idempotency.operation;

-- What the backend that looks here has used of a processor, in nanoseconds (Linux says so), and the time.
CREATE VIEW meter AS
SELECT split_part(pg_read_file('/proc/self/schedstat'), ' ', 1)::bigint AS cpu, clock_timestamp() AS clock;
-- What a block of statements took, of ours and of the bare ones.
CREATE UNLOGGED TABLE measured (
	pair text, round integer, statements integer, ours_cpu bigint, bare_cpu bigint, ours_elapsed interval, bare_elapsed interval);
