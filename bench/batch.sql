-- The same 8,192 new keys by idem_pay_batch(), by INSERT ... ON CONFLICT DO NOTHING and by COPY, in an order that changes
-- from round to round. Prints the rows a second of each. Variables: round; pattern of the keys, sequential or random;
-- copy, the file to use.
\set ON_ERROR_STOP on
CREATE TEMP TABLE batch AS
SELECT array_agg(key ORDER BY g) AS keys, array_agg(50.00 ORDER BY g) AS amounts, array_agg(copy_key ORDER BY g) AS copy_keys
FROM (SELECT g, CASE :'pattern' WHEN 'random' THEN md5(:'round' || ' ' || g)
		ELSE to_char(:round, 'FM"s"000000') || to_char(g, 'FM00000') END AS key,
	CASE :'pattern' WHEN 'random' THEN md5('copy ' || :'round' || ' ' || g)
		ELSE to_char(:round, 'FM"t"000000') || to_char(g, 'FM00000') END AS copy_key
	FROM generate_series(1, 8192) g) s;
COPY (SELECT uuid7(), clock_timestamp(), 1, false, NULL, NULL, '', key, 'pay', amount, 'USD', amount, amount, 0.00, 0.00,
		NULL, NULL, NULL, NULL, NULL, current_user, NULL, NULL, NULL
	FROM batch, unnest(copy_keys, amounts) AS u(key, amount)) TO :'copy';
CHECKPOINT;

SELECT set_config('bench.round', :'round', false), set_config('bench.copy', :'copy', false) \g /dev/null
CREATE TEMP TABLE rate (way integer, rate numeric);
DO $$
DECLARE
	ways text[] := ARRAY[
		'SELECT count(*) FROM batch, idem_pay_batch(keys, amounts) WHERE outcome = ''new''',
		'INSERT INTO bare SELECT uuid7(), clock_timestamp(), 1, false, NULL, NULL, '''', key, ''pay'', amount, ''USD'', amount, amount,
				0.00, 0.00, NULL, NULL, NULL, NULL, NULL, current_user, NULL, NULL, NULL
			FROM batch, unnest(keys, amounts) AS u(key, amount) ON CONFLICT DO NOTHING',
		format('COPY bare FROM %L', current_setting('bench.copy'))];
	way integer;
	start timestamptz;
BEGIN
	FOR i IN 0 .. 2 LOOP
		way := (current_setting('bench.round')::integer + i) % 3 + 1;
		start := clock_timestamp();
		EXECUTE ways[way];
		INSERT INTO rate VALUES (way, 8192 / extract(epoch FROM clock_timestamp() - start));
	END LOOP;
END
$$;
SELECT round(max(rate) FILTER (WHERE way = 1)), round(max(rate) FILTER (WHERE way = 2)), round(max(rate) FILTER (WHERE way = 3))
FROM rate;
