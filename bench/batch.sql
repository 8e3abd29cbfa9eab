-- Writes 8,192 new keys by idem_pay_batch(), by INSERT ... ON CONFLICT DO NOTHING and by COPY, in rounds. Each round has other
-- keys, and another order of the three. Each way has a table of its own, with the same rows and indexes. Each begins after a
-- CHECKPOINT of its own, so it writes its own full-page images. The arrays and the file of COPY are made before.
-- The first round only warms up. Variables: pair, the title; rounds; rows, the number of rows before; pattern of the keys,
-- sequential or random; file, for COPY.
\set ON_ERROR_STOP on
\o /dev/null
CREATE FUNCTION pg_temp.key(pattern text, g integer) RETURNS text
RETURN CASE pattern WHEN 'random' THEN md5(g::text) ELSE to_char(g, 'FM"k"000000000') END;
TRUNCATE idempotency.operation;
SET client_min_messages = warning;
DROP TABLE IF EXISTS by_insert, by_copy;
CREATE TABLE by_insert (LIKE idempotency.operation INCLUDING ALL);
CREATE TABLE by_copy (LIKE idempotency.operation INCLUDING ALL);
SELECT count(b) FROM (
	SELECT array_agg(pg_temp.key(:'pattern', g) ORDER BY g) AS keys, array_agg(50.00) AS amounts
	FROM generate_series(1, :rows) g GROUP BY g / 8192) s,
LATERAL idem_pay_batch(keys, amounts) b;
INSERT INTO by_insert SELECT * FROM idempotency.operation;
INSERT INTO by_copy SELECT * FROM idempotency.operation;
VACUUM ANALYZE idempotency.operation, by_insert, by_copy;

CREATE TEMP TABLE batch (keys text[], amounts numeric[]);
CREATE TEMP TABLE reading (round integer, way integer, cpu bigint, clock timestamptz);
CREATE TEMP TABLE way (way integer, statement text);
INSERT INTO way VALUES
	(0, $$SELECT count(*) FROM batch, idem_pay_batch(keys, amounts) WHERE outcome = 'new'$$),
	(1, $$INSERT INTO by_insert (payment_id, created_at, seq, whole, scope, key, kind, amount, currency,
			authorized, captured, released, refunded, role)
		SELECT uuid7(), clock_timestamp(), 1, false, '', key, 'pay', amount, 'USD', amount, amount, 0.00, 0.00, current_user
		FROM batch, unnest(keys, amounts) AS u(key, amount) ON CONFLICT DO NOTHING$$),
	(2, format('COPY by_copy (payment_id, created_at, seq, whole, scope, key, kind, amount, currency,
			authorized, captured, released, refunded, role) FROM %L', :'file'));

-- \gexec runs the statements that this SELECT returns, each in a transaction of its own.
SELECT s.statement
FROM generate_series(0, :rounds) AS round, way,
	LATERAL (VALUES
		(way = 0, 1, 'TRUNCATE batch'),
		(way = 0, 2, format('INSERT INTO batch SELECT array_agg(pg_temp.key(%1$L, g) ORDER BY g), array_agg(50.00)
			FROM generate_series(%2$s + 1, %2$s + 8192) g', :'pattern', :rows + round * 8192)),
		(way = 0, 3, format('COPY (SELECT uuid7(), clock_timestamp(), 1, false, '''', key, ''pay'', amount, ''USD'', amount, amount, 0.00, 0.00, current_user
			FROM batch, unnest(keys, amounts) AS u(key, amount)) TO %L', :'file')),
		(true, 4 + (way + round) % 3 * 4, 'CHECKPOINT'),
		(true, 5 + (way + round) % 3 * 4, format('INSERT INTO reading SELECT %s, %s, * FROM meter', round, way)),
		(true, 6 + (way + round) % 3 * 4, way.statement),
		(true, 7 + (way + round) % 3 * 4, format('INSERT INTO reading SELECT %s, %s, * FROM meter', round, way))
	) AS s(wanted, step, statement)
WHERE s.wanted
ORDER BY round, s.step \gexec

WITH taken AS (
	SELECT round, way, max(cpu) - min(cpu) AS cpu, max(clock) - min(clock) AS elapsed
	FROM reading WHERE round > 0 GROUP BY round, way
)
INSERT INTO measured
SELECT :'pair' || CASE bare.way WHEN 1 THEN 'INSERT ON CONFLICT' ELSE 'COPY' END, round, 8192,
	ours.cpu, bare.cpu, ours.elapsed, bare.elapsed
FROM taken AS ours JOIN taken AS bare USING (round)
WHERE ours.way = 0 AND bare.way > 0;
