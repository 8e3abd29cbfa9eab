-- Many payments in one call: each item is answered by itself.
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/include/error.psql'
\i :include

SELECT payment_id AS p FROM idem_pay('known', 50, reference => 'r') \gset
SELECT item, key, outcome, payment_id = :'p' AS same, status, sqlstate, message, detail FROM idem_pay_batch(
	ARRAY['z', 'a', 'known', 'a', 'a', '', NULL, 'bad', 'bad', 'bad', 'yen', 'known', 'no', E'ctl\n', 'idem_cancel:a', 'nan', 'null', 'deep'],
	ARRAY[1, 2, 50, 2.00, 3, 1, 1, 0, 1.001, 5, 100, 51, 1, 1, 1, 'NaN', NULL, 1.5],
	ARRAY[NULL, NULL, NULL, 'USD', NULL, NULL, NULL, NULL, NULL, 'USD', 'JPY', NULL, 'XYZ', NULL, NULL, NULL, NULL, 'JPY'],
	ARRAY[NULL, NULL, 'r', NULL, NULL, NULL, NULL, NULL, NULL, 'ref', NULL, 'r', NULL, NULL, NULL, NULL, NULL, NULL]);
SELECT key, seq, operation, status, amount, currency, reference, replayed FROM
	unnest('{z,a,bad,yen,no,nan,deep}'::text[]) k, idem_lookup(k);
