-- The extension, and a bare table with the same columns, the same indexes and the same 100,000 rows.
CREATE EXTENSION idempotency;
CREATE TABLE bare (LIKE idempotency.operation INCLUDING ALL);
CREATE FUNCTION uuid7() RETURNS uuid LANGUAGE C AS '$libdir/idempotency', 'idem_uuid7';
SELECT count(*) FROM (SELECT idem_pay('r' || g, 50.00) FROM generate_series(1, 100000) g) s;
INSERT INTO bare SELECT * FROM idempotency.operation;
VACUUM ANALYZE bare;
VACUUM ANALYZE idempotency.operation;
\ir meter.sql
