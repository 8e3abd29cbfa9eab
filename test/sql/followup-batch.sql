-- Many captures, or refunds, in one call: each item is answered by itself.
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/include/error.psql'
\i :include
SET idempotency.scope = 'followup_batch';

SELECT payment_id AS a FROM idem_authorize('a', 100, 'EUR') \gset
SELECT payment_id AS b FROM idem_authorize('b', 100, 'EUR') \gset
SELECT payment_id AS c FROM idem_pay('c', 100, 'JPY') \gset
SELECT seq FROM idem_capture('known', :'b', 10, false, 'r') \gset

-- each outcome; the items of a payment in the order of their keys
SELECT item, key, outcome, status, sqlstate, message, detail FROM idem_capture_batch(
	ARRAY['a-2', 'a-1', 'b-1', 'known', 'known', 'more', 'none', NULL, '', 'no id', 'null', 'nan', 'gbp', 'all', 'decimals'],
	ARRAY[:'a', :'a', :'b', :'b', :'b', :'b', '00000000-0000-7000-8000-000000000000', :'a', :'a', NULL, :'a', :'a', :'a', :'b', :'a']::uuid[],
	ARRAY[30, 20, 20.00, 10, 11, 1000, 1, 1, 1, 1, NULL, 'NaN', 1, 'Infinity', 1.001],
	false,
	ARRAY['x', NULL, NULL, 'r', 'r', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL],
	currencies => ARRAY['EUR', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'GBP', NULL, NULL]);
SELECT key, seq, amount, status, reference FROM unnest('{a-1,a-2,b-1,all}'::text[]) k, idem_lookup(k) ORDER BY payment_id, seq;

-- again: all that was done is replayed, also by single calls
SELECT item, key, outcome, status FROM idem_capture_batch(ARRAY['a-2', 'a-1'], ARRAY[:'a', :'a']::uuid[], ARRAY[30, 20], false, ARRAY['x', NULL]);
SELECT replayed FROM idem_capture('a-2', :'a', 30, false, 'x');
SELECT item, outcome, sqlstate, detail FROM idem_capture_batch(ARRAY['a-2', 'a-1'], ARRAY[:'a', :'a']::uuid[], ARRAY[30, 20]);
-- final is that of all
SELECT outcome, status FROM idem_capture_batch(ARRAY['a-3'], ARRAY[:'a']::uuid[], ARRAY[10]);
SELECT captured, capturable, status FROM idem_payment(:'a');

-- refunds: parts, what is left, more than is left, the same key twice, another's key
SELECT item, key, outcome, status, sqlstate, message FROM idem_refund_batch(
	ARRAY['r-1', 'r-2', 'r-2', 'r-3', 'r-4', 'c', 'r-5'],
	ARRAY[:'a', :'a', :'a', :'a', :'c', :'c', :'c']::uuid[],
	ARRAY[1, 'Infinity', 'Infinity', 1, 40, 100, 0]::numeric[],
	metadatas => ARRAY['{"n": 1}', NULL, NULL, NULL, '[]', NULL, NULL]::json[]);
SELECT metadata FROM idem_lookup('r-1');
SELECT refunded, status FROM idem_payment(:'c');
-- metadata that is no JSON fails its item
SELECT item, outcome, sqlstate FROM idem_refund_batch(ARRAY['m-1', 'm-2'], ARRAY[:'c', :'c']::uuid[], ARRAY[1, 1], metadatas => '{x,1}');

-- a refusal that is stored is a failure, now and later
SELECT outcome, status, sqlstate, message FROM idem_refund_batch(ARRAY['d-1', 'd-1'], ARRAY[:'c', :'c']::uuid[], ARRAY[1000, 1000], declines => 'record');
SELECT outcome, sqlstate, message FROM idem_refund_batch(ARRAY['d-1'], ARRAY[:'c']::uuid[], ARRAY[1000]);
SELECT status, sqlstate FROM idem_lookup('d-1');
-- so is a key that was cancelled unused
SELECT status FROM idem_cancel('d-2');
SELECT outcome, sqlstate, message FROM idem_refund_batch(ARRAY['d-2'], ARRAY[:'c']::uuid[], ARRAY[1]);
-- another role's payment
CREATE ROLE regress_idem_batch;
SELECT idem_grant('regress_idem_batch');
SET ROLE regress_idem_batch;
SELECT outcome, sqlstate, message FROM idem_refund_batch(ARRAY['d-3', 'r-1'], ARRAY[:'c', :'a']::uuid[], ARRAY[1, 1]);
RESET ROLE;
SELECT idem_revoke('regress_idem_batch');
DROP OWNED BY regress_idem_batch;
DROP ROLE regress_idem_batch;

-- what the table refuses fails alone
CREATE UNIQUE INDEX one_reference ON idempotency.operation (reference) WHERE scope = 'followup_batch' AND kind = 'refund';
ALTER TABLE idempotency.operation ADD CONSTRAINT at_most CHECK (kind <> 'refund' OR amount < 5) NOT VALID;
SELECT item, outcome, status, sqlstate FROM idem_refund_batch(
	ARRAY['t-1', 't-2', 't-3', 't-4'], ARRAY[:'c', :'c', :'c', :'c']::uuid[], ARRAY[1, 5, 2, 3], ARRAY['one', 'two', 'one', 'three']);
SELECT item, outcome, sqlstate FROM idem_refund_batch(
	ARRAY['t-1', 't-2', 't-3', 't-4'], ARRAY[:'c', :'c', :'c', :'c']::uuid[], ARRAY[1, 5, 2, 3], ARRAY['one', 'two', 'one', 'three']);
ALTER TABLE idempotency.operation DROP CONSTRAINT at_most;
DROP INDEX idempotency.one_reference;
SELECT refunded FROM idem_payment(:'c');

-- a trigger that goes on with the same payment works as it does with a single call
CREATE FUNCTION fee() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF NEW.kind = 'refund' AND NEW.key !~ '^fee' THEN
		PERFORM idem_refund('fee-' || NEW.key, NEW.payment_id, 1, scope => NEW.scope);
	END IF;
	RETURN NULL;
END $$;
CREATE TRIGGER fee AFTER INSERT ON idempotency.operation FOR EACH ROW EXECUTE FUNCTION fee();
SELECT item, key, outcome, status, sqlstate FROM idem_refund_batch(ARRAY['f-1', 'f-2', 'f-3'], ARRAY[:'c', :'c', :'c']::uuid[], ARRAY[2, 1000, 3]);
SELECT key, amount, refunded FROM idem_history(:'c') WHERE key ~ 'f-' ORDER BY seq;
DROP TRIGGER fee ON idempotency.operation;
DROP FUNCTION fee;

-- many payments, many items
CREATE TABLE hold AS SELECT g, payment_id FROM generate_series(1, 300) g, idem_authorize('many-' || g, g, 'EUR');
SELECT outcome, status, count(*), min(b.item), max(b.item)
FROM (SELECT array_agg('many-c-' || g || '-' || n ORDER BY md5(g || '-' || n)) AS keys,
		array_agg(payment_id ORDER BY md5(g || '-' || n)) AS ids,
		array_agg(CASE n WHEN 1 THEN 0.5 ELSE 'Infinity' END ORDER BY md5(g || '-' || n)) AS amounts
	FROM hold, generate_series(1, 2) n) h, idem_capture_batch(h.keys, h.ids, h.amounts, false) b GROUP BY 1, 2;
SELECT count(*), sum(captured), min(status), max(status) FROM hold h, idem_payment(h.payment_id);
DROP TABLE hold;

-- malformed calls
SELECT pg_temp.error($$SELECT idem_capture_batch(NULL, '{}', '{}')$$);
SELECT pg_temp.error($$SELECT idem_capture_batch('{}', NULL, '{}')$$);
SELECT pg_temp.error($$SELECT idem_capture_batch('{}', '{}', NULL)$$);
SELECT pg_temp.error($$SELECT idem_capture_batch('{}', '{}', '{}', NULL)$$);
SELECT pg_temp.error($$SELECT idem_refund_batch(NULL, '{}', '{}')$$);
SELECT pg_temp.error($$SELECT idem_refund_batch('{a,b}', '{}', '{1,2}')$$);
SELECT pg_temp.error($$SELECT idem_refund_batch('{a}', '{00000000-0000-7000-8000-000000000000}', '{1,2}')$$);
SELECT pg_temp.error($$SELECT idem_refund_batch('{a}', '{00000000-0000-7000-8000-000000000000}', '{1}', '{{x}}')$$);
SELECT pg_temp.error($$SELECT idem_refund_batch('{}', '{}', '{}', declines => 'maybe')$$);
SELECT pg_temp.error($$SELECT idem_refund_batch(array_fill('k'::text, ARRAY[100001]), array_fill(NULL::uuid, ARRAY[100001]), array_fill(1::numeric, ARRAY[100001]))$$);
SELECT count(*) FROM idem_refund_batch('{}', '{}', '{}');

-- one effect for a key, and one transaction
BEGIN;
SELECT outcome FROM idem_refund_batch(ARRAY['x-1'], ARRAY[:'c']::uuid[], ARRAY[1]);
ROLLBACK;
SELECT count(*) FROM idem_lookup('x-1');
BEGIN READ ONLY;
SELECT outcome FROM idem_refund_batch(ARRAY['r-1'], ARRAY[:'a']::uuid[], ARRAY[1], metadatas => ARRAY['{"n": 1}']);
SELECT outcome FROM idem_refund_batch(ARRAY['x-1'], ARRAY[:'a']::uuid[], ARRAY[1]);
ROLLBACK;
SELECT invariant FROM idem_check() WHERE NOT ok;
SELECT count(*) FROM pg_locks WHERE locktype = 'advisory';
